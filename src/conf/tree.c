/*
 * tree: nodes of the resolved configuration. The root is a node without a name; a section's nodes
 * hang below it in the order they were read. All of it lies in the configuration's arena and is
 * never changed after reading.
 */
#include <muster/str.h>

#include "conf/tree.h"

struct mu_node *mu_node_add(struct mu_arena *a, struct mu_node *parent, struct mu_str name,
                            struct mu_str args)
{
    struct mu_node *n = mu_new(a, struct mu_node);

    if (!n)
        return NULL;
    n->name = mu_str_dup(a, name);
    n->args = mu_str_dup(a, args);
    n->parent = parent;
    if (!n->name.p || !n->args.p)
        return NULL;
    if (parent->last)
        parent->last->next = n;
    else
        parent->first = n;
    parent->last = n;
    return n;
}

const struct mu_node *mu_node_within(const struct mu_node *n, struct mu_str name)
{
    for (n = n->parent; n; n = n->parent)
        if (mu_str_ieq(n->name, name))
            return n;
    return NULL;
}
