/*
 * apply: the tree becomes blocks. Each section's directives are looked up in the tables of the
 * modules that are on and set in that section's blocks, one after the other; an error never keeps
 * the next one from being found.
 */
#include <muster/str.h>

#include "conf/priv.h"

static bool belongs_to_failed(struct mu_config *c, struct mu_str name)
{
    const struct mu_httpd_module *h = mu_httpd_directive_find(name);

    return h && mu_map_get(c->priv->failed, mu_str_c(h->name));
}

static void unknown(struct mu_config *c, const struct mu_node *n)
{
    struct mu_str text;

    if (belongs_to_failed(c, n->name))
        return; /* the LoadModule line's error says it all */
    text = mu_explain_unknown(c, n->name);
    if (text.p)
        mu_conf_error(c, n->file, n->line, "%.*s", MU_FMT(text));
    else
        mu_conf_nomem(c);
}

/* The directives of a section that has a table of its own. */
static void inner_nodes(struct mu_config *c, const struct mu_node *section,
                        const struct mu_known *of, void *block, const struct mu_scope *s)
{
    for (const struct mu_node *n = section->first; n && !c->priv->is_out_of_memory; n = n->next) {
        struct mu_suggest near = mu_suggest_begin(n->name);
        struct mu_known k = { .module = of->module, .block = block };

        for (const struct mu_directive *d = of->directive->inner; d->name; d++) {
            mu_suggest_try(&near, mu_str_c(d->name));
            if (mu_str_ieq(n->name, mu_str_c(d->name)))
                k.directive = d;
        }
        if (k.directive && !mu_node_is_section(n))
            mu_apply_directive(c, n, &k, s, NULL);
        else if (near.best.p)
            mu_conf_error(c, n->file, n->line,
                          "'%.*s' is no directive of %.*s>; the nearest one is '%.*s'",
                          MU_FMT(n->name), MU_FMT(section->name), MU_FMT(near.best));
        else
            mu_conf_error(c, n->file, n->line, "'%.*s' is no directive of %.*s>", MU_FMT(n->name),
                          MU_FMT(section->name));
    }
}

/*
 * A section that a module declares: "<Name" when it is opened, its directives, "</Name" (if there
 * is one) at its end.
 */
static void module_section(struct mu_config *c, const struct mu_node *n, const struct mu_known *k,
                           const struct mu_scope *s)
{
    uint32_t errors = c->errors;
    const struct mu_known *end;
    void *inner_conf = NULL;
    struct mu_str name;

    mu_apply_directive(c, n, k, s, &inner_conf);
    if (c->errors != errors || k->directive->kind == MU_K_REFUSED ||
        k->directive->kind == MU_K_IGNORED)
        return;
    if (k->directive->inner)
        inner_nodes(c, n, k, inner_conf, s);
    else
        mu_apply_nodes(c, n->first, s);
    name = mu_str_cat(c->arena, MU_S("</"), mu_str_sub(n->name, 1, n->name.n));
    end = mu_directive_find(c, name);
    if (end)
        mu_apply_directive(c, n, end, s, &inner_conf);
}

void mu_apply_nodes(struct mu_config *c, const struct mu_node *first, const struct mu_scope *s)
{
    for (const struct mu_node *n = first; n && !c->priv->is_out_of_memory; n = n->next) {
        const struct mu_known *k;

        if (mu_node_is_section(n) && mu_apply_section(c, n, s))
            continue;
        k = mu_directive_find(c, n->name);
        if (!k)
            unknown(c, n);
        else if (mu_node_is_section(n))
            module_section(c, n, k, s);
        else
            mu_apply_directive(c, n, k, s, NULL);
    }
}
