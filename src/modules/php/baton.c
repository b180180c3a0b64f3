/*
 * baton: PHP serves one request at a time in a process. Whoever wants to run a script takes the
 * baton and gives it back at the end; others wait in line on their fibers (streams of one
 * connection), and who has it already is told so: a page that includes a page by a sub-request
 * would wait for itself. All is on one thread, so it needs no lock.
 */
#include "php.h"

struct waiter {
    struct mu_list link;
    struct mu_wake wake;
    const void *root;
    bool is_granted;
};

static struct mu_list waiters = { &waiters, &waiters };
static const void *holder; /* its root; NULL: it lies there */

enum mu_rc mu_php_baton_take(const void *root)
{
    struct waiter w = { .root = root };
    struct mu_wait_item item = { .wake = &w.wake };
    enum mu_rc rc = MU_OK;

    if (MU_LIKELY(!holder)) {
        holder = root;
        return MU_OK;
    }
    if (holder == root)
        return MU_LIMIT;
    mu_wake_init(&w.wake);
    mu_list_append(&waiters, &w.link);
    while (rc == MU_OK && !w.is_granted)
        rc = mu_wait(&item, 1, MU_NEVER);
    mu_list_remove(&w.link);
    if (rc != MU_OK && w.is_granted)
        mu_php_baton_give(); /* it came and the fiber was cancelled in the same turn */
    return rc;
}

void mu_php_baton_give(void)
{
    struct mu_list *first = mu_list_first(&waiters);
    struct waiter *w;

    holder = NULL;
    if (!first)
        return;
    w = MU_CONTAINER_OF(first, struct waiter, link);
    mu_list_remove(first);
    holder = w->root;
    w->is_granted = true;
    mu_wake_raise(&w->wake);
}
