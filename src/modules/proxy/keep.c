/*
 * keep: connections that have served and may serve again (enablereuse=on). A kept connection keeps a process of the
 * application from everybody else, so a process of the server keeps few (max) and not for long (ttl).
 *
 * A connection belongs to the thread that made it. Each thread has a cache, which is never freed: its timer may outlive
 * the last connection, and the thread. All caches hang from one list, so that child_stop finds them when the other
 * threads have ended.
 */
#include "proxy.h"

#include <muster/clock.h>
#include <stdlib.h>
#include <unistd.h>

struct idle {
    struct mu_list link;
    const struct proxy_worker *worker;
    char *path; /* of the Unix socket; NULL: by address */
    int fd;
    int64_t until_ms;
};

struct cache {
    struct mu_list link;  /* in `all` */
    struct mu_list idles; /* the one used last comes first */
    struct mu_timer timer;
};

static _Thread_local struct cache *mine;
static struct mu_mutex lock = MU_MUTEX_INIT; /* of `all` */
static struct mu_list all = { &all, &all };

static void drop(struct idle *i)
{
    /* Relaxed: a number that others compare with a limit, nothing hangs on it. */
    atomic_fetch_sub_explicit(&i->worker->state->kept, 1, memory_order_relaxed);
    mu_list_remove(&i->link);
    close(i->fd);
    free(i->path);
    free(i);
}

static void arm(struct cache *c)
{
    int64_t first = INT64_MAX, now = mu_now_ms();

    MU_LIST_FOR(l, &c->idles) {
        const struct idle *i = MU_CONTAINER_OF(l, struct idle, link);

        first = i->until_ms < first ? i->until_ms : first;
    }
    if (first != INT64_MAX)
        mu_timer_arm(&c->timer, first > now ? first - now : 1);
}

static void on_time(struct mu_timer *t)
{
    struct cache *c = MU_CONTAINER_OF(t, struct cache, timer);
    int64_t now = mu_now_ms();

    MU_LIST_FOR_SAFE(l, &c->idles) {
        struct idle *i = MU_CONTAINER_OF(l, struct idle, link);

        if (i->until_ms <= now)
            drop(i);
    }
    arm(c);
}

static struct cache *cache_of_thread(void)
{
    struct cache *c = mine;

    if (c)
        return c;
    c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    mu_list_init(&c->idles);
    mu_timer_init(&c->timer, on_time);
    mu_mutex_lock(&lock);
    mu_list_append(&all, &c->link);
    mu_mutex_unlock(&lock);
    mine = c;
    return c;
}

static bool fits(const struct idle *i, const struct proxy_call *call)
{
    struct mu_str path = call->url.unix_path;

    return i->worker == call->worker &&
           (path.p ? i->path && strcmp(i->path, path.p) == 0 : !i->path);
}

/* Nothing to read, and not closed. */
static bool is_alive(struct mu_io *io)
{
    char byte;
    size_t got;

    return mu_try_read(io, &byte, 1, &got) == MU_AGAIN;
}

bool proxy_kept_take(const struct proxy_call *call, struct mu_io *io)
{
    if (!mine || !call->worker)
        return false;
    MU_LIST_FOR_SAFE(l, &mine->idles) {
        struct idle *i = MU_CONTAINER_OF(l, struct idle, link);
        int fd = -1;

        if (!fits(i, call))
            continue;
        if (i->until_ms > mu_now_ms()) {
            fd = i->fd;
            i->fd = -1;
        }
        drop(i);
        if (fd < 0)
            continue;
        mu_io_init_socket(io, fd);
        if (is_alive(io))
            return true;
        mu_io_close(io);
    }
    return false;
}

/* A place for one more; it is given back by drop(). */
static bool reserve(struct proxy_state *s, int64_t max)
{
    unsigned n = atomic_load_explicit(&s->kept, memory_order_relaxed);

    do {
        if (n >= (uint64_t)max)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&s->kept, &n, n + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

void proxy_keep(const struct proxy_call *call, struct mu_io *io)
{
    struct cache *c = cache_of_thread();
    struct idle *i = c && call->worker ? calloc(1, sizeof(*i)) : NULL;
    struct mu_str path = call->url.unix_path;

    if (!i || (path.p && !(i->path = strndup(path.p, path.n))) ||
        !reserve(call->worker->state, call->p->max)) {
        free(i ? i->path : NULL);
        free(i);
        mu_io_close(io);
        return;
    }
    i->worker = call->worker;
    i->until_ms = mu_deadline(call->p->ttl_ms);
    i->fd = mu_io_release(io);
    mu_list_prepend(&c->idles, &i->link);
    arm(c);
}

void proxy_kept_drop(const struct proxy_call *call)
{
    if (!mine)
        return;
    MU_LIST_FOR_SAFE(l, &mine->idles) {
        struct idle *i = MU_CONTAINER_OF(l, struct idle, link);

        if (fits(i, call))
            drop(i);
    }
}

void proxy_kept_stop(struct mu_config *config)
{
    (void)config;
    MU_LIST_FOR(l, &all) {
        struct cache *c = MU_CONTAINER_OF(l, struct cache, link);

        MU_LIST_FOR_SAFE(k, &c->idles)
            drop(MU_CONTAINER_OF(k, struct idle, link));
    }
}
