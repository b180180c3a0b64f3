/*
 * The tree: what is left of the files when Include, Define and the conditional sections are done.
 */
#ifndef MU_CONF_TREE_H
#define MU_CONF_TREE_H

#include <muster/arena.h>

/** One directive or section. */
struct mu_node {
    struct mu_node *next;
    struct mu_node *parent;
    struct mu_node *first, *last; /**< of what stands inside a section */
    struct mu_str name;           /**< as written; a section's begins with '<': "<Directory" */
    struct mu_str
        args; /**< the rest of the line, variables replaced; a section's without its '>' */
    struct mu_str file;
    unsigned line;
};

/**
 * Append a node below `parent`. Names and arguments are copied, `file` is kept. NULL when out of
 * memory.
 */
struct mu_node *mu_node_add(struct mu_arena *a, struct mu_node *parent, struct mu_str name,
                            struct mu_str args);
static inline bool mu_node_is_section(const struct mu_node *n)
{
    return n->name.n && n->name.p[0] == '<';
}
/**
 * The innermost section around (and not counting) `n` whose name is `name` ("<VirtualHost"); or
 * NULL.
 */
const struct mu_node *mu_node_within(const struct mu_node *n, struct mu_str name);

#endif
