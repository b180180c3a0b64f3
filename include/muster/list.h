/* Intrusive doubly linked list with a head that is a node of itself. */
#ifndef MUSTER_LIST_H
#define MUSTER_LIST_H

#include <muster/types.h>

struct mu_list {
    struct mu_list *next, *prev;
};

static inline void mu_list_init(struct mu_list *l)
{
    l->next = l->prev = l;
}
static inline bool mu_list_empty(const struct mu_list *l)
{
    return l->next == l;
}
static inline void mu_list_insert_before(struct mu_list *at, struct mu_list *n)
{
    n->prev = at->prev;
    n->next = at;
    at->prev->next = n;
    at->prev = n;
}
static inline void mu_list_append(struct mu_list *head, struct mu_list *n)
{
    mu_list_insert_before(head, n);
}
static inline void mu_list_prepend(struct mu_list *head, struct mu_list *n)
{
    mu_list_insert_before(head->next, n);
}
/** Unlink; the node is left self-linked, so removing twice is harmless. */
static inline void mu_list_remove(struct mu_list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->next = n->prev = n;
}
static inline struct mu_list *mu_list_first(struct mu_list *head)
{
    return mu_list_empty(head) ? NULL : head->next;
}

#define MU_LIST_FOR(pos, head)                                                                     \
    for (struct mu_list *pos = (head)->next; pos != (head); pos = pos->next)
/** Safe against removal of `pos` itself. */
#define MU_LIST_FOR_SAFE(pos, head)                                                                \
    for (struct mu_list *pos = (head)->next, *pos##_n = pos->next; pos != (head);                  \
         pos = pos##_n, pos##_n = pos->next)

#endif
