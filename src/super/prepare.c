/*
 * prepare: from the command line to a configuration the supervisor can run, and the start of a
 * generation. The same steps serve a first start, a rehearsal, a take-over and a test of the
 * configuration, so what one of them accepts the others accept.
 */
#include "super/master.h"

#include <errno.h>
#include <muster/str.h>
#include <time.h>

int64_t mu_super_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

const char *mu_super_module(const struct mu_super *s)
{
    return s->config && s->config->mpm ? s->config->mpm->name : "core";
}

/* A module that cannot bear threads is refused before it meets them. */
static enum mu_rc check_threads(struct mu_config *c, const struct mu_mpm *mpm)
{
    enum mu_rc rc = MU_OK;

    for (size_t i = 0; mpm->is_threaded && i < c->modules_n; i++) {
        if (c->modules[i]->threads == MU_THREADS_NONE)
            rc = mu_config_error(
                c,
                "module %s cannot run in the threads of MPM %s: load mpm_prefork_module instead, or take "
                "%s_module out and run the application in processes of its own (an <ApplicationPool>; "
                "for PHP also php-fpm)",
                c->modules[i]->name, mpm->name, c->modules[i]->name);
    }
    return rc;
}

enum mu_rc mu_super_configure(const struct mu_config_opts *opts,
                              enum mu_rc (*prepare)(struct mu_config *config),
                              struct mu_config **out, struct mu_mpm_limits *limits)
{
    const struct mu_mpm *mpm;
    struct mu_config *c;

    *out = NULL;
    if (mu_config_load(opts, &c) != MU_OK)
        return MU_BAD;
    mpm = mu_config_mpm(c);
    if (!mpm) {
        mu_config_error(c, "module %s is no MPM", c->mpm_name ? c->mpm_name : "(none)");
        mu_config_destroy(c);
        return MU_BAD;
    }
    memset(limits, 0, sizeof(*limits));
    mpm->limits(c, limits);
    if (check_threads(c, mpm) != MU_OK || (prepare && prepare(c) != MU_OK)) {
        mu_config_destroy(c);
        return MU_BAD;
    }
    *out = c;
    return MU_OK;
}

enum mu_rc mu_super_load(struct mu_super *s, struct mu_str tree,
                         void (*report)(void *arg, bool is_error, const char *text), void *arg)
{
    struct mu_config_opts opts = s->opts->config;

    opts.tree = tree.p;
    opts.tree_len = tree.n;
    opts.report = report;
    opts.report_arg = arg;
    if (mu_super_configure(&opts, s->opts->prepare, &s->config, &s->limits) != MU_OK)
        return MU_BAD;
    s->mpm = mu_config_mpm(s->config);
    s->settings = mu_super_conf_of(s->config);
    s->config_time = (int64_t)time(NULL);
    if (mu_groups_check(s->opts, s->config) != MU_OK)
        return MU_BAD;
    return mu_super_identity(s->config, &s->identity);
}

enum mu_rc mu_super_begin(struct mu_super *s, uint64_t number)
{
    for (size_t i = 0; i < s->config->modules_n; i++) {
        struct mu_module *m = s->config->modules[i];

        if (m->server_start && m->server_start(s->config) != MU_OK)
            return mu_config_error(
                s->config, "module %s could not start; the lines above or the error log say why",
                m->name);
    }
    s->now = mu_generation_find(s, number);
    if (!s->now)
        s->now = mu_generation_create(s, number);
    if (!s->now)
        return mu_config_error(s->config, "cannot make the scoreboard: %s", strerror(errno));
    return MU_OK;
}
