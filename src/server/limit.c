/*
 * limit: how many requests a child works on at once, when the administrator bounds them. The listeners of
 * a child share the number; a request that finds no place waits with its connection, in the reactor,
 * first come first served on each listener. Whoever gives a place back while somebody waits lets one
 * listener look. A waiter says that it waits before it looks once more, and a place is given back before
 * it is asked whether anybody waits: so one of the two sees the other.
 */
#include <server/conn_internal.h>

/** Take a place if there is one. */
static bool take(struct mu_request_limit *l)
{
    uint32_t n = atomic_load_explicit(&l->running, memory_order_relaxed);

    while (n < l->most) {
        if (atomic_compare_exchange_weak_explicit(&l->running, &n, n + 1, memory_order_seq_cst,
                                                  memory_order_relaxed))
            return true;
    }
    return false;
}

bool mu_limit_take(struct mu_conn_host *h)
{
    /* Behind those who wait here already. */
    return mu_list_empty(&h->held) && take(h->limit);
}

void mu_limit_give(struct mu_conn_host *h)
{
    struct mu_request_limit *l = h->limit;

    atomic_fetch_sub_explicit(&l->running, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&l->waiting, memory_order_seq_cst) > 0)
        l->on_room(l);
}

static void count_held(struct mu_conn_host *h, uint32_t by)
{
    atomic_fetch_add_explicit(&h->held_n, by, memory_order_seq_cst);
    atomic_fetch_add_explicit(&h->limit->waiting, by, memory_order_seq_cst);
}

void mu_limit_wait(struct mu_conn_host *h, struct mu_limit_wait *w,
                   void (*go)(struct mu_limit_wait *w))
{
    struct mu_request_limit *l = h->limit;

    w->go = go;
    mu_list_append(&h->held, &w->link);
    count_held(h, 1);
    if (atomic_load_explicit(&l->running, memory_order_seq_cst) < l->most)
        l->on_room(l);
}

void mu_limit_leave(struct mu_conn_host *h, struct mu_limit_wait *w)
{
    mu_list_remove(&w->link);
    count_held(h, UINT32_MAX);
}

void mu_conn_host_go_on(struct mu_conn_host *h)
{
    struct mu_request_limit *l = h->limit;

    while (!mu_list_empty(&h->held) && take(l)) {
        struct mu_limit_wait *w =
            MU_CONTAINER_OF(mu_list_first(&h->held), struct mu_limit_wait, link);

        mu_limit_leave(h, w);
        w->go(w);
    }
    /* Those who waited here have left: the place is somebody else's. */
    if (mu_list_empty(&h->held) && atomic_load_explicit(&l->waiting, memory_order_seq_cst) > 0 &&
        atomic_load_explicit(&l->running, memory_order_seq_cst) < l->most)
        l->on_room(l);
}
