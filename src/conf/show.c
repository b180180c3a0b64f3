/*
 * show: what a configuration came to, printed in httpd's form for -M, -S and -D DUMP_…: modules,
 * defines, the files that were read, and the directives that are in force. Scripts read these, so
 * the words and columns are httpd's.
 */
#include <muster/str.h>

#include <stdio.h>

#include "conf/priv.h"

/* The order of httpd's own list for what is always there; the others follow in the order they were
 * loaded. */
static const char *const first_modules[] = { "core",       "so",    "watchdog", "http",
                                             "log_config", "logio", "version",  "unixd" };

static bool is_first(struct mu_str name)
{
    for (size_t i = 0; i < MU_ARRAY_LEN(first_modules); i++)
        if (mu_str_eq(name, mu_str_c(first_modules[i])))
            return true;
    return false;
}

static void print_module(const struct mu_loaded *l)
{
    printf(" %.*s_module (%s)\n", MU_FMT(l->name), l->handle ? "shared" : "static");
}

void mu_config_print_modules(const struct mu_config *c)
{
    const struct mu_vec *loaded = &c->priv->loaded;

    puts("Loaded Modules:");
    for (size_t i = 0; i < MU_ARRAY_LEN(first_modules); i++) {
        const struct mu_loaded *l = mu_modules_find(c, mu_str_c(first_modules[i]));

        if (l)
            print_module(l);
    }
    for (size_t i = 0; i < loaded->n; i++) {
        const struct mu_loaded *l = loaded->v[i];

        if (!is_first(l->name))
            print_module(l);
    }
}

void mu_config_print_defines(const struct mu_config *c)
{
    struct mu_str name;
    void *value;
    size_t it = 0;

    while (mu_map_next(c->priv->defines, &it, &name, &value)) {
        const struct mu_str *v = value;

        if (v->p)
            printf("Define: %.*s=%.*s\n", MU_FMT(name), MU_FMT(*v));
        else
            printf("Define: %.*s\n", MU_FMT(name));
    }
}

void mu_config_print_includes(const struct mu_config *c)
{
    puts("Included configuration files:");
    for (size_t i = 0; i < c->priv->includes.n; i++) {
        const struct mu_included *f = c->priv->includes.v[i];

        if (f->line)
            printf("%*s(%u) %.*s\n", (int)(2 * f->depth), "", f->line, MU_FMT(f->file));
        else
            printf("%*s(*) %.*s\n", (int)(2 * f->depth), "", MU_FMT(f->file));
    }
}

/* Nesting is limited while reading, hence here. */
static void print_nodes(const struct mu_node *first, unsigned depth, struct mu_str *file)
{
    int indent = (int)(2 * depth);

    for (const struct mu_node *n = first; n; n = n->next) {
        bool is_section = mu_node_is_section(n);

        if (!mu_str_eq(n->file, *file)) {
            *file = n->file;
            printf("%*s# In file: %.*s\n", indent, "", MU_FMT(n->file));
        }
        printf("%*s# %3u:\n%*s%.*s%s%.*s%s\n", indent, "", n->line, indent, "", MU_FMT(n->name),
               n->args.n ? " " : "", MU_FMT(n->args), is_section ? ">" : "");
        if (!is_section)
            continue;
        print_nodes(n->first, depth + 1, file);
        printf("%*s</%.*s>\n", indent, "", MU_FMT(mu_str_sub(n->name, 1, n->name.n)));
    }
}

void mu_config_print_tree(const struct mu_config *c)
{
    struct mu_str file = MU_STR_NULL;

    print_nodes(c->tree->first, 0, &file);
}

/* The nodes of `v`: those of its <VirtualHost>, or of the main server. */
static const struct mu_node *nodes_of(const struct mu_config *c, const struct mu_vhost *v)
{
    if (v->is_main)
        return c->tree->first;
    for (const struct mu_node *n = c->tree->first; n; n = n->next)
        if (n->line == v->line && mu_str_ieq(n->name, MU_S("<VirtualHost")) &&
            mu_str_eq(n->file, v->file))
            return n->first;
    return NULL;
}

bool mu_config_where(const struct mu_config *c, const struct mu_vhost *v, struct mu_str directive,
                     struct mu_str *file, unsigned *line)
{
    bool is_found = false;

    for (const struct mu_node *n = nodes_of(c, v); n; n = n->next) {
        if (!mu_str_ieq(n->name, directive))
            continue;
        *file = n->file;
        *line = n->line;
        is_found = true;
    }
    return is_found;
}
