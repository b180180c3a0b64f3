/*
 * gate: accepting connections, once for all MPMs. What an accept may fail with is sorted here: a
 * client that left meanwhile is nothing; a lack of descriptors or memory closes the gate until a
 * connection ends (a level-triggered socket would otherwise spin); all else is logged and tried
 * again a little later.
 */
#include "mpm/gate.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <muster/clock.h>
#include <muster/log.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    STARVED_RETRY_MS = 500, /* the descriptors may be lacking in the whole system */
    STARVED_LOG_MS = 10000,
    RESERVE_MIN =
        8, /* descriptors that connections leave to files and backends: an eighth, within these */
    RESERVE_MAX = 512,
    ERROR_REST_MS = 100,
    STOP_AGAIN_MS = 200,
};

static const char NEARLY_OUT[] = "the process is about to run out of descriptors";

static const char *name_of(const struct mu_gate *g)
{
    return g->child->config->mpm->name;
}

static void doors_pause(struct mu_gate *g)
{
    for (size_t i = 0; i < g->n; i++)
        mu_listen_pause(&g->doors[i].watch);
}

static void doors_follow(struct mu_gate *g)
{
    if (g->is_closed)
        return;
    if (g->is_paused || g->is_starved) {
        doors_pause(g);
        return;
    }
    for (size_t i = 0; i < g->n; i++)
        mu_listen_resume(&g->doors[i].watch);
}

void mu_gate_pause(struct mu_gate *g)
{
    if (g->is_paused)
        return;
    g->is_paused = true;
    doors_follow(g);
}

void mu_gate_resume(struct mu_gate *g)
{
    if (!g->is_paused)
        return;
    g->is_paused = false;
    doors_follow(g);
}

static void retry(struct mu_timer *t)
{
    struct mu_gate *g = MU_CONTAINER_OF(t, struct mu_gate, retry);

    g->is_starved = false;
    doors_follow(g);
}

void mu_gate_rest(struct mu_gate *g, int64_t ms)
{
    if (g->is_starved || g->is_closed)
        return;
    g->is_starved = true;
    doors_follow(g);
    mu_timer_arm(&g->retry, ms);
}

void mu_gate_relieve(struct mu_gate *g)
{
    if (!g->is_starved)
        return;
    mu_timer_cancel(&g->retry);
    retry(&g->retry);
}

static void starve(struct mu_gate *g, const struct mu_listener *l, const char *why)
{
    char text[MU_ADDR_TEXT];

    if (!g->logged_ms || mu_now_ms() - g->logged_ms >= STARVED_LOG_MS) {
        g->logged_ms = mu_now_ms();
        MU_LOG(
            NULL, name_of(g), MU_LOG_ERR, "MU0800",
            "cannot accept more connections on %.*s: %s; waiting until one is closed (raise LimitNOFILE= or ulimit -n)",
            MU_FMT(mu_addr_text(&l->want.addr, text)), why);
    }
    mu_gate_rest(g, STARVED_RETRY_MS);
}

static int high_mark(void)
{
    struct rlimit limit;
    rlim_t reserve;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT_MAX)
        return INT_MAX;
    reserve = limit.rlim_cur / 8;
    reserve = reserve < RESERVE_MIN ? RESERVE_MIN : reserve > RESERVE_MAX ? RESERVE_MAX : reserve;
    return limit.rlim_cur > 2 * reserve ? (int)(limit.rlim_cur - reserve) : INT_MAX;
}

static void accept_failed(struct mu_gate *g, const struct mu_listener *l)
{
    int error = errno;
    char text[MU_ADDR_TEXT];

    switch (error) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM: /* a packet filter */
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case ETIMEDOUT:
        return;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
        starve(g, l, strerror(error));
        return;
    default:
        MU_LOG(NULL, name_of(g), MU_LOG_ERR, "MU0801", "cannot accept a connection on %.*s: %s",
               MU_FMT(mu_addr_text(&l->want.addr, text)), strerror(error));
        mu_gate_rest(g, ERROR_REST_MS);
        return;
    }
}

/* Is the next descriptor below the mark? A gate that only looked behind each accept would let in one
 * too many for every connection that is closed. */
static bool has_room(const struct mu_gate *g, const struct mu_listener *l)
{
    int next;

    if (!g->is_tight)
        return true;
    next = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
    if (next >= 0)
        close(next);
    return next >= 0 && next < g->fd_high;
}

static void on_ready(struct mu_io *io, unsigned events)
{
    struct mu_gate_door *d = MU_CONTAINER_OF(io, struct mu_gate_door, watch.io);
    struct mu_gate *g = d->gate;
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    struct mu_addr peer;
    int fd;

    (void)events;
    if (g->is_paused || g->is_starved || g->is_closed || (g->may_accept && !g->may_accept(g)))
        return;
    if (!has_room(g, d->listener)) {
        starve(g, d->listener, NEARLY_OUT);
        return;
    }
    fd = accept4(d->listener->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        accept_failed(g, d->listener);
        return;
    }
    if (!mu_addr_from_sa(&peer, (const struct sockaddr *)&sa, len))
        memset(&peer, 0, sizeof(peer));
    if (fd >= g->fd_high) {
        g->is_tight = true;
        starve(g, d->listener, NEARLY_OUT);
    }
    g->on_accept(g, fd, d->listener, &peer);
}

enum mu_rc mu_gate_open(struct mu_gate *g, struct mu_reactor *r)
{
    size_t n = g->child->listeners_n;

    g->doors = calloc(n ? n : 1, sizeof(*g->doors));
    if (!g->doors)
        return MU_NOMEM;
    mu_timer_init(&g->retry, retry);
    g->is_paused = true;
    g->fd_high = high_mark();
    for (g->n = 0; g->n < n; g->n++) {
        struct mu_gate_door *d = &g->doors[g->n];

        d->gate = g;
        d->listener = g->child->listeners[g->n];
        if (mu_listen_watch(r, &d->watch, d->listener->fd, on_ready) != MU_OK)
            return MU_NOMEM;
        mu_listen_pause(&d->watch);
    }
    return MU_OK;
}

void mu_gate_last_call(struct mu_gate *g)
{
    for (size_t i = 0; i < g->n; i++)
        on_ready(&g->doors[i].watch.io, MU_READABLE);
}

void mu_gate_close(struct mu_gate *g)
{
    if (g->is_closed)
        return;
    g->is_closed = true;
    mu_timer_cancel(&g->retry);
    for (size_t i = 0; i < g->n; i++)
        mu_listen_unwatch(&g->doors[i].watch);
    free(g->doors);
    g->doors = NULL;
    g->n = 0;
}

static void look(struct mu_stop_watch *w)
{
    enum mu_stop how = mu_child_stop_requested(w->child);

    if (how > w->seen) {
        w->seen = how;
        w->on_stop(w, how);
    }
}

static void look_again(struct mu_timer *t)
{
    struct mu_stop_watch *w = MU_CONTAINER_OF(t, struct mu_stop_watch, again);

    mu_timer_arm(&w->again, STOP_AGAIN_MS);
    look(w);
}

static void on_request(struct mu_io *io, unsigned events)
{
    struct mu_stop_watch *w = MU_CONTAINER_OF(io, struct mu_stop_watch, io);

    (void)events;
    mu_stop_unwatch(w);
    mu_timer_arm(&w->again, STOP_AGAIN_MS);
    look(w);
}

enum mu_rc mu_stop_watch(struct mu_stop_watch *w, struct mu_reactor *r,
                         const struct mu_child *child,
                         void (*on_stop)(struct mu_stop_watch *w, enum mu_stop how))
{
    w->child = child;
    w->seen = MU_STOP_NONE;
    w->on_stop = on_stop;
    mu_timer_init(&w->again, look_again);
    return mu_level_watch(r, &w->io, child->stop_fd, on_request);
}

void mu_stop_unwatch(struct mu_stop_watch *w)
{
    mu_timer_cancel(&w->again);
    if (w->io.fd >= 0)
        (void)mu_io_release(&w->io);
    w->io.fd = -1;
}
