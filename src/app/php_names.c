/*
 * php_names: the names that php_value and its kin set anywhere in a configuration. php-fpm keeps what it is told, so
 * whoever talks to it must know what others may have told it (fcgi_php.c).
 */
#include "app_conf.h"

#include <conf/config.h>
#include <muster/str.h>

struct names {
    struct mu_arena *arena;
    struct mu_vec list; /* of struct mu_php_value */
    bool is_failed;
};

static void add_block(struct names *l, const void *const *conf)
{
    const struct app_conf *c = conf[mu_module_app.index];

    for (size_t i = 0; c && i < c->php.n; i++) {
        size_t k = 0;

        while (k < l->list.n &&
               !mu_str_eq(((const struct mu_php_value *)l->list.v[k])->name, c->php.v[i].name))
            k++;
        if (k == l->list.n &&
            mu_vec_push(l->arena, &l->list, (void *)(uintptr_t)&c->php.v[i]) != MU_OK)
            l->is_failed = true;
    }
}

static void add_sections(struct names *l, struct mu_section *const *sections, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        add_block(l, sections[i]->conf);
        for (size_t k = 0; k < sections[i]->files_n; k++)
            add_block(l, sections[i]->files[k]->conf);
    }
}

enum mu_rc app_php_names_collect(struct mu_config *config, struct mu_arena *a,
                                 struct app_conf *first)
{
    struct names l = { .arena = a };

    for (size_t i = 0; i < config->vhosts_n; i++) {
        const struct mu_vhost *v = config->vhosts[i];

        add_block(&l, v->conf);
        add_sections(&l, v->dirs, v->dirs_n);
        add_sections(&l, v->dir_matches, v->dir_matches_n);
        add_sections(&l, v->files, v->files_n);
        add_sections(&l, v->locations, v->locations_n);
    }
    first->php_names = mu_new_n(a, struct mu_str, l.list.n + 1);
    if (!first->php_names || l.is_failed)
        return mu_config_error(config, "out of memory");
    for (size_t i = 0; i < l.list.n; i++)
        first->php_names[i] = ((const struct mu_php_value *)l.list.v[i])->name;
    first->php_names_n = l.list.n;
    return MU_OK;
}

const struct mu_str *mu_php_names(const struct mu_vhost *v, size_t *n)
{
    const struct app_conf *first = mu_vhost_conf(v->config->main, &mu_module_app);

    *n = first->php_names_n;
    return first->php_names;
}
