/*
 * poller_epoll: the backend for many connections. A descriptor is registered once, edge-triggered,
 * when it is first waited for; writability is added the first time a write did not fit, so most
 * connections make one registration call in their life and short ones none. Interest therefore
 * changes so rarely that there is nothing to queue. Events carry the descriptor and a tag; one
 * whose tag is not that of the io registered now is stale (closed earlier in the batch, or a copy
 * of the descriptor survives in another process).
 */
#include <engine/internal.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

/** The eventfd's: no descriptor has this number. */
#define TAG_EVENTFD UINT64_MAX

static enum mu_rc epoll_init(struct mu_reactor *r)
{
    struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = TAG_EVENTFD };

    r->epoll = (struct mu_epoll){ .tag = 0 };
    r->epoll.events = malloc(MU_EPOLL_BATCH * sizeof(*r->epoll.events));
    r->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (!r->epoll.events || r->epfd < 0 ||
        (r->eventfd >= 0 && epoll_ctl(r->epfd, EPOLL_CTL_ADD, r->eventfd, &ev) != 0)) {
        free(r->epoll.events);
        if (r->epfd >= 0)
            close(r->epfd);
        return MU_NOMEM;
    }
    return MU_OK;
}

static void epoll_fini(struct mu_reactor *r)
{
    close(r->epfd);
    free(r->epoll.events);
    free(r->epoll.table);
}

static bool table_reserve(struct mu_epoll *e, size_t fd)
{
    size_t n = e->table_n ? e->table_n : 64;
    struct mu_io **t;

    if (MU_LIKELY(fd < e->table_n))
        return true;
    while (n <= fd)
        n *= 2;
    t = realloc(e->table, n * sizeof(struct mu_io *));
    if (!t)
        return false;
    memset(t + e->table_n, 0, (n - e->table_n) * sizeof(struct mu_io *));
    e->table = t;
    e->table_n = n;
    return true;
}

static uint32_t interest_of(const struct mu_io *io)
{
    if (io->flags & MU_IO_LISTEN)
        return EPOLLIN | EPOLLEXCLUSIVE;
    if (io->flags & MU_IO_LEVEL)
        return EPOLLIN;
    return EPOLLIN | EPOLLRDHUP | EPOLLET | ((io->flags & MU_IO_OUT) ? (uint32_t)EPOLLOUT : 0);
}

static int control(struct mu_reactor *r, int op, struct mu_io *io)
{
    struct epoll_event ev = { .events = interest_of(io) };

    ev.data.u64 = (uint64_t)(uint32_t)io->fd | (uint64_t)io->slot << 32;
    return epoll_ctl(r->epfd, op, io->fd, &ev);
}

static enum mu_rc epoll_want(struct mu_reactor *r, struct mu_io *io, unsigned want)
{
    bool wants_more = (want & MU_WRITABLE) && !(io->flags & MU_IO_OUT);

    if (want & MU_WRITABLE)
        io->flags |= MU_IO_OUT;
    if (io->flags & MU_IO_REGISTERED) {
        if (wants_more && control(r, EPOLL_CTL_MOD, io) != 0)
            return MU_EIO;
        return MU_OK;
    }
    if (!table_reserve(&r->epoll, (size_t)io->fd))
        return MU_NOMEM;
    io->slot = ++r->epoll.tag;
    if (control(r, EPOLL_CTL_ADD, io) != 0) {
        if (errno != EPERM)
            return MU_NOMEM;
        io->ready |= MU_READABLE | MU_WRITABLE; /* a regular file: always ready */
        return MU_OK;
    }
    io->flags |= MU_IO_REGISTERED;
    io->reactor = r;
    r->epoll.table[io->fd] = io;
    return MU_OK;
}

static void epoll_forget(struct mu_reactor *r, struct mu_io *io, bool is_closing)
{
    /* Closing removes the registration, unless somebody holds a copy of the descriptor. */
    if (!is_closing || (io->flags & MU_IO_SHARED))
        epoll_ctl(r->epfd, EPOLL_CTL_DEL, io->fd, &(struct epoll_event){ .events = 0 });
    r->epoll.table[io->fd] = NULL;
    io->flags &= (uint8_t)~MU_IO_REGISTERED;
}

static unsigned ready_of(uint32_t events)
{
    unsigned bits = 0;

    if (events & (EPOLLIN | EPOLLPRI))
        bits |= MU_READABLE;
    if (events & EPOLLOUT)
        bits |= MU_WRITABLE;
    if (events & EPOLLRDHUP)
        bits |= MU_READABLE | MU_HANGUP;
    if (events & (EPOLLHUP | EPOLLERR))
        bits |= MU_READABLE | MU_WRITABLE | MU_HANGUP;
    return bits;
}

static void epoll_wait_events(struct mu_reactor *r, int timeout_ms)
{
    int n = epoll_wait(r->epfd, r->epoll.events, MU_EPOLL_BATCH, timeout_ms);

    mu_reactor_woke(r);
    for (int i = 0; i < n; i++) {
        uint64_t tag = r->epoll.events[i].data.u64;
        uint32_t fd = (uint32_t)tag;
        struct mu_io *io;

        if (tag == TAG_EVENTFD)
            continue; /* edge-triggered: need not be read; posts are looked at in any case */
        io = r->epoll.table[fd];
        if (MU_LIKELY(io && io->slot == (uint16_t)(tag >> 32)))
            mu_io_event(io, ready_of(r->epoll.events[i].events));
    }
}

const struct mu_poller_ops mu_poller_epoll = {
    .init = epoll_init,
    .fini = epoll_fini,
    .want = epoll_want,
    .forget = epoll_forget,
    .wait = epoll_wait_events,
};
