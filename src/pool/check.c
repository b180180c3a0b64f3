/*
 * check: what pools say to the rest of the configuration, once all of it has been read. A handler
 * that names a pool which is not there is found here, not by the first visitor, wherever the
 * configuration files say it (.htaccess is read later and answers 500). And no pool may run as the
 * web children do: its processes could signal them, and read what they may read.
 */
#include "pool/conf.h"

#include <muster/fcgi.h>
#include <muster/str.h>
#include <server/core_conf.h>
#include <super/settings.h>
#include <unistd.h>

bool mu_config_has_pool(const struct mu_config *c, struct mu_str name)
{
    return mu_config_has_module(c, MU_S("pool")) && mu_pool_conf_find(mu_pools_conf_of(c), name);
}

static enum mu_rc check_handler(struct mu_config *c, const void *const *blocks, struct mu_str file,
                                unsigned line)
{
    const struct mu_core_conf *core = blocks ? blocks[mu_module_core.index] : NULL;
    struct mu_str name;

    if (!core || !mu_str_istarts(core->handler, MU_S("pool:")))
        return MU_OK;
    name = mu_str_sub(core->handler, 5, core->handler.n);
    if (mu_pool_conf_find(mu_pools_conf_of(c), name))
        return MU_OK;
    return mu_config_error(c, "%.*s:%u: SetHandler \"%.*s\": there is no <ApplicationPool %.*s>",
                           MU_FMT(file), line, MU_FMT(core->handler), MU_FMT(name));
}

/* Sections of one kind. The main server's are in each server's list, too. */
struct list {
    struct mu_section *const *v;
    size_t n;
};

static bool is_in(const struct list *l, const struct mu_section *s)
{
    for (size_t i = 0; l && i < l->n; i++) {
        if (l->v[i] == s)
            return true;
    }
    return false;
}

static enum mu_rc check_list(struct mu_config *c, const struct list *l, const struct list *checked)
{
    enum mu_rc rc = MU_OK;

    for (size_t i = 0; i < l->n; i++) {
        const struct mu_section *s = l->v[i];

        if (is_in(checked, s))
            continue;
        if (check_handler(c, s->conf, s->file, s->line) != MU_OK)
            rc = MU_BAD;
        for (size_t k = 0; k < s->files_n; k++) {
            const struct mu_section *f = s->files[k];

            if (check_handler(c, f->conf, f->file, f->line) != MU_OK)
                rc = MU_BAD;
        }
    }
    return rc;
}

enum { KINDS = 4 };

static void lists_of(const struct mu_vhost *v, struct list out[KINDS])
{
    out[0] = (struct list){ v->dirs, v->dirs_n };
    out[1] = (struct list){ v->dir_matches, v->dir_matches_n };
    out[2] = (struct list){ v->files, v->files_n };
    out[3] = (struct list){ v->locations, v->locations_n };
}

static enum mu_rc check_vhost(struct mu_config *c, const struct mu_vhost *v)
{
    struct list own[KINDS], mains[KINDS];
    enum mu_rc rc = check_handler(c, v->conf, v->file, v->line);

    lists_of(v, own);
    lists_of(c->main, mains);
    for (size_t i = 0; i < KINDS; i++) {
        if (check_list(c, &own[i], v->is_main ? NULL : &mains[i]) != MU_OK)
            rc = MU_BAD;
    }
    return rc;
}

static enum mu_rc check_users(struct mu_config *c)
{
    const struct mu_pools_conf *all = mu_pools_conf_of(c);
    enum mu_rc rc = MU_OK;
    struct mu_identity web;

    if (geteuid() != 0 || !all->n)
        return MU_OK;
    if (mu_super_identity(c, &web) != MU_OK)
        return MU_BAD;
    for (size_t i = 0; i < all->n; i++) {
        const struct mu_pool_conf *p = all->v[i];

        if (p->identity.user && p->identity.uid == web.uid)
            rc = mu_config_error(c,
                                 "%.*s:%u: ApplicationPool %.*s: User \"%.*s\" is the web "
                                 "children's own: give the application a user of its own",
                                 MU_FMT(p->file), p->line, MU_FMT(p->name), MU_FMT(p->user));
    }
    return rc;
}

enum mu_rc mu_pools_check(struct mu_config *c)
{
    enum mu_rc rc = check_users(c);

    for (size_t i = 0; i < c->vhosts_n; i++) {
        if (check_vhost(c, c->vhosts[i]) != MU_OK)
            rc = MU_BAD;
    }
    return rc;
}
