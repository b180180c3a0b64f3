/* Preparing a configuration for serving, and the server room's part of a child's beginning and end.
 *
 * mu_server_prepare runs once after loading, before anything is merged for a request: names,
 * handlers and document roots are derived here, and nothing changes afterwards.
 */
#include "room.h"
#include "watch.h"

#include <base/errorlog.h>
#include <base/path.h>
#include <muster/str.h>
#include <netdb.h>
#include <stdlib.h>
#include <super/child.h>
#include <unistd.h>

static struct mu_core_conf *core_of(const struct mu_vhost *v)
{
    return (struct mu_core_conf *)(uintptr_t)mu_core_of(v->base);
}

static uint32_t depth_of(struct mu_str pattern)
{
    uint32_t n = 0;

    if (pattern.n <= 1)
        return 0;
    for (size_t i = 0; i < pattern.n; i++)
        n += pattern.p[i] == '/' && i + 1 < pattern.n;
    return n;
}

/* Sorted already by the conf room; a stable insertion keeps it so if it counts otherwise. */
static enum mu_rc routing_dirs(struct mu_routing *routing, const struct mu_vhost *v,
                               struct mu_arena *a)
{
    routing->dirs = mu_new_n(a, struct mu_walk_dir, v->dirs_n + 1);
    if (!routing->dirs)
        return MU_NOMEM;
    for (size_t i = 0; i < v->dirs_n; i++) {
        struct mu_walk_dir d = { v->dirs[i], depth_of(v->dirs[i]->pattern) };
        size_t k = routing->dirs_n++;

        for (; k > 0 && routing->dirs[k - 1].depth > d.depth; k--)
            routing->dirs[k] = routing->dirs[k - 1];
        routing->dirs[k] = d;
    }
    return MU_OK;
}

static bool has_names(struct mu_section *const *v, size_t n)
{
    struct mu_str name;
    int group;

    for (size_t i = 0; i < n; i++) {
        if (v[i]->regex && mu_regex_name(v[i]->regex, 0, &name, &group))
            return true;
        if (has_names(v[i]->files, v[i]->files_n))
            return true;
    }
    return false;
}

static enum mu_rc routing_make(struct mu_server *s, struct mu_vhost *v, struct mu_arena *a)
{
    struct mu_routing *routing = mu_new(a, struct mu_routing);
    struct mu_str root = core_of(v)->document_root;

    if (!routing)
        return MU_NOMEM;
    while (root.n && root.p[root.n - 1] == '/')
        root.n--;
    routing->server = s;
    routing->docroot = root;
    routing->is_match_pure = !has_names(v->dir_matches, v->dir_matches_n) &&
                             !has_names(v->files, v->files_n) && !has_names(v->dirs, v->dirs_n);
    v->routing = routing;
    return routing_dirs(routing, v, a);
}

/* The machine's name where ServerName says nothing, as httpd does it. */
static struct mu_str machine_name(struct mu_config *config, struct mu_arena *a)
{
    struct addrinfo hints = { .ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM }, *ai = NULL;
    char host[256] = "";
    struct mu_str name;

    if (gethostname(host, sizeof(host) - 1) != 0 || !host[0])
        return MU_S("localhost");
    if (!strchr(host, '.') && getaddrinfo(host, NULL, &hints, &ai) == 0 && ai->ai_canonname)
        name = mu_str_dup(a, mu_str_c(ai->ai_canonname));
    else
        name = mu_str_dup(a, mu_str_c(host));
    if (ai)
        freeaddrinfo(ai);
    mu_config_warn(config,
                   "could not reliably determine the server's fully qualified domain name, using "
                   "%.*s; set ServerName globally to suppress this message",
                   MU_FMT(name));
    return name.p ? name : MU_S("localhost");
}

static void server_defaults(struct mu_config *config, struct mu_arena *a)
{
    struct mu_str name = core_of(config->main)->server_name;
    struct mu_str htdocs = mu_path_rooted(a, config->server_root, MU_S("htdocs"));

    if (!name.n)
        name = machine_name(config, a);
    for (size_t i = 0; i < config->vhosts_n; i++) {
        struct mu_core_conf *c = core_of(config->vhosts[i]);

        if (!c->server_name.n)
            c->server_name = name;
        if (!c->document_root.n)
            c->document_root = htdocs;
        mu_core_derive(c);
    }
}

static bool any_wants_timing(const struct mu_config *config)
{
    for (size_t i = 0; i < config->modules_n; i++) {
        if (config->modules[i]->wants_timing)
            return true;
    }
    return core_of(config->main)->extended_status && mu_config_has_module(config, MU_S("status"));
}

bool mu_server_wants_timing(const struct mu_config *config)
{
    const struct mu_routing *routing = mu_routing_of(config->main);

    return routing && routing->server->wants_timing;
}

struct mu_str mu_vhost_server_name(const struct mu_vhost *v)
{
    return mu_core_of(v->base)->server_name;
}

enum mu_rc mu_server_prepare(struct mu_config *config)
{
    struct mu_arena *a = config->arena;
    struct mu_server *s = mu_new(a, struct mu_server);
    enum mu_rc rc;

    if (!s)
        return mu_config_error(config, "out of memory");
    s->config = config;
    server_defaults(config, a);
    s->wants_timing = any_wants_timing(config);
    rc = mu_handlers_prepare(s, a);
    for (size_t i = 0; rc == MU_OK && i < config->vhosts_n; i++)
        rc = routing_make(s, config->vhosts[i], a);
    if (rc == MU_OK)
        rc = mu_names_prepare(s, a);
    if (rc == MU_NOMEM)
        return mu_config_error(config, "out of memory");
    mu_file_cache_configure(core_of(config->main));
    if (config->mpm && config->mpm->mpm && !((const struct mu_mpm *)config->mpm->mpm)->is_async)
        mu_watch_open();
    else
        mu_watch_close();
    return rc == MU_OK && !config->errors ? MU_OK : MU_BAD;
}

enum mu_rc mu_server_child_start(struct mu_config *config, struct mu_scoreboard *sb)
{
    (void)sb;
    for (size_t i = 0; i < config->modules_n; i++) {
        struct mu_module *m = config->modules[i];

        if (m->child_start && m->child_start(config) != MU_OK) {
            MU_LOG(NULL, "core", MU_LOG_CRIT, "MU0600",
                   "module %s could not start in this child; the lines above say why", m->name);
            return MU_BAD;
        }
    }
    return MU_OK;
}

void mu_server_child_abandon(const struct mu_config *config)
{
    mu_server_logs_flush(config);
}

void mu_server_child_stop(struct mu_config *config)
{
    for (size_t i = config->modules_n; i-- > 0;) {
        if (config->modules[i]->child_stop)
            config->modules[i]->child_stop(config);
    }
    mu_server_logs_flush(config);
}
