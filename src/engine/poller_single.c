/*
 * poller_single: the backend of a process or thread that serves one connection. Nothing is
 * registered with the kernel: each wait is one poll(2) over exactly what is waited for. poll is
 * level-triggered; the edge-triggered contract of mu_io is kept by asking only for bits that are
 * not remembered as ready.
 *
 * Listening sockets are shared by many processes, and only epoll can wake one of them alone. They
 * live in a small epoll instance, with the level watches; while nothing else is waited for, an idle
 * child sleeps in epoll_wait on it. A paused listener may stay in there: a process that does not
 * wait takes no wake-up.
 *
 * A connection whose requests come one after the other is waited for in its read (ahead.c).
 */
#include <engine/ahead.h>

#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

/** The eventfd's: no descriptor has this number. */
#define TAG_EVENTFD UINT64_MAX
/**
 * Of a listener or level watch: it is in the small epoll instance (these have no use for the bit
 * otherwise).
 */
#define IN_EPOLL MU_IO_OUT

enum { LISTEN_BATCH = 16, SET_MAX = UINT16_MAX };

static enum mu_rc single_init(struct mu_reactor *r)
{
    r->single = (struct mu_single){ .listen_epfd = -1 };
    return MU_OK;
}

static void single_fini(struct mu_reactor *r)
{
    if (r->single.listen_epfd >= 0)
        close(r->single.listen_epfd);
    free(r->single.set);
    free(r->single.fds);
}

static bool is_active_listener(const struct mu_io *io)
{
    return (io->flags & MU_IO_LISTEN) &&
           !MU_CONTAINER_OF(io, const struct mu_listen_watch, io)->is_paused;
}

static enum mu_rc set_add(struct mu_single *s, struct mu_io *io)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 16;
        struct mu_io **set = realloc(s->set, cap * sizeof(struct mu_io *));
        struct pollfd *fds;

        if (!set)
            return MU_NOMEM;
        s->set = set;
        fds = realloc(s->fds, (cap + 2) * sizeof(*fds)); /* and the eventfd and the small epoll */
        if (!fds)
            return MU_NOMEM;
        s->fds = fds;
        s->cap = cap;
    }
    if (s->n >= SET_MAX)
        return MU_NOMEM;
    io->slot = (uint16_t)s->n;
    s->set[s->n++] = io;
    return MU_OK;
}

/**
 * The small epoll instance, from the first listener on: later there might be no descriptor for it,
 * and a child that waits without it would never wake up.
 */
static enum mu_rc open_epoll(struct mu_reactor *r)
{
    struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = TAG_EVENTFD };
    int fd;

    if (r->single.listen_epfd >= 0)
        return MU_OK;
    fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return MU_EIO;
    if (r->eventfd >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, r->eventfd, &ev) != 0) {
        close(fd);
        return MU_EIO;
    }
    r->single.listen_epfd = fd;
    return MU_OK;
}

static enum mu_rc single_want(struct mu_reactor *r, struct mu_io *io, unsigned want)
{
    enum mu_rc rc = MU_OK;

    (void)want; /* asked of the waiters when the wait call is made */
    if (io->flags & MU_IO_REGISTERED)
        return MU_OK;
    if (io->flags & MU_IO_LISTEN)
        rc = open_epoll(r);
    if (rc == MU_OK)
        rc = set_add(&r->single, io);
    if (rc != MU_OK)
        return rc;
    io->flags |= MU_IO_REGISTERED;
    io->reactor = r;
    return MU_OK;
}

static void single_forget(struct mu_reactor *r, struct mu_io *io, bool is_closing)
{
    if ((io->flags & (MU_IO_LISTEN | MU_IO_LEVEL)) && (io->flags & IN_EPOLL))
        epoll_ctl(r->single.listen_epfd, EPOLL_CTL_DEL, io->fd,
                  &(struct epoll_event){ .events = 0 });
    mu_ahead_forget(&r->single.ahead, io, is_closing);
    r->single.set[io->slot] = NULL;
    r->single.has_holes = true;
    io->flags &= (uint8_t) ~(MU_IO_REGISTERED | IN_EPOLL);
}

/** Places do not move while events are handed out; holes are closed before the next wait. */
static void close_holes(struct mu_single *s)
{
    size_t n = 0;

    if (!s->has_holes)
        return;
    for (size_t i = 0; i < s->n; i++) {
        if (!s->set[i])
            continue;
        s->set[n] = s->set[i];
        s->set[n]->slot = (uint16_t)n;
        n++;
    }
    s->n = n;
    s->has_holes = false;
}

/** What to ask the kernel about io: what somebody wants and nobody knows yet. */
static short events_of(const struct mu_io *io)
{
    unsigned want = 0;
    short events = 0;

    if (io->flags & MU_IO_LISTEN)
        return 0;
    if (io->flags & MU_IO_LEVEL)
        return POLLIN;
    if (io->flags & MU_IO_WATCHED)
        want = MU_READABLE | MU_WRITABLE | MU_HANGUP;
    MU_LIST_FOR(l, &io->waiters)
        want |= MU_CONTAINER_OF(l, struct mu_wait_item, link)->want;
    want &= ~(unsigned)io->ready;
    if (want & MU_READABLE)
        events |= POLLIN | POLLRDHUP;
    if (want & MU_WRITABLE)
        events |= POLLOUT;
    if (want & MU_HANGUP)
        events |= POLLRDHUP;
    return events;
}

/**
 * One whose peer has finished sending, which was told, and may still be torn down, which poll
 * reports without being asked.
 */
static bool may_be_torn(const struct mu_io *io)
{
    return (io->flags & MU_IO_WATCHED) && (io->ready & (MU_HANGUP | MU_IO_TORN)) == MU_HANGUP;
}

/** Fill the pollfd array. Returns how many descriptors of connections are in it. */
static size_t build(struct mu_single *s)
{
    size_t busy = 0;

    close_holes(s);
    s->listeners = 0;
    for (size_t i = 0; i < s->n; i++) {
        struct mu_io *io = s->set[i];
        short events = events_of(io);
        bool is_asked = events || may_be_torn(io);

        s->fds[i] = (struct pollfd){ .fd = is_asked ? io->fd : -1, .events = events };
        if (is_asked && !(io->flags & MU_IO_LEVEL))
            busy++;
        if (is_active_listener(io))
            s->listeners++;
    }
    return busy;
}

static void join_epoll(struct mu_reactor *r, struct mu_io *io)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.u64 = (uint32_t)io->fd };

    if (io->flags & MU_IO_LISTEN)
        ev.events |= (uint32_t)EPOLLEXCLUSIVE;
    if (epoll_ctl(r->single.listen_epfd, EPOLL_CTL_ADD, io->fd, &ev) == 0)
        io->flags |= IN_EPOLL;
}

/**
 * Before the small epoll instance is waited for: exactly the active listeners and the level watches
 * are in it.
 */
static void sync_epoll(struct mu_reactor *r)
{
    struct mu_single *s = &r->single;

    for (size_t i = 0; i < s->n; i++) {
        struct mu_io *io = s->set[i];
        bool belongs = is_active_listener(io) || (io->flags & MU_IO_LEVEL);

        if (!(io->flags & (MU_IO_LISTEN | MU_IO_LEVEL)) || belongs == !!(io->flags & IN_EPOLL))
            continue;
        if (belongs) {
            join_epoll(r, io);
        } else {
            epoll_ctl(s->listen_epfd, EPOLL_CTL_DEL, io->fd, &(struct epoll_event){ .events = 0 });
            io->flags &= (uint8_t)~IN_EPOLL;
        }
    }
}

static struct mu_io *find(const struct mu_single *s, int fd)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->set[i] && s->set[i]->fd == fd)
            return s->set[i];
    }
    return NULL;
}

/** Wait on the small epoll instance; `mask`: the kinds of io to tell. */
static void wait_epoll(struct mu_reactor *r, int timeout_ms, unsigned mask, bool is_first)
{
    struct epoll_event events[LISTEN_BATCH];
    int n = epoll_wait(r->single.listen_epfd, events, LISTEN_BATCH, timeout_ms);

    if (is_first)
        mu_reactor_woke(r);
    for (int i = 0; i < n; i++) {
        struct mu_io *io;

        if (events[i].data.u64 == TAG_EVENTFD)
            continue;
        io = find(&r->single, (int)events[i].data.u64);
        if (io && (io->flags & mask) && (!(io->flags & MU_IO_LISTEN) || is_active_listener(io)))
            mu_io_event(io, MU_READABLE);
    }
}

static unsigned ready_of(short revents)
{
    unsigned bits = 0;

    if (revents & (POLLIN | POLLPRI))
        bits |= MU_READABLE;
    if (revents & POLLOUT)
        bits |= MU_WRITABLE;
    if (revents & POLLRDHUP)
        bits |= MU_READABLE | MU_HANGUP;
    if (revents & (POLLHUP | POLLERR | POLLNVAL))
        bits |= MU_READABLE | MU_WRITABLE | MU_HANGUP | MU_IO_TORN;
    return bits;
}

static void wait_poll(struct mu_reactor *r, int timeout_ms, bool with_listeners)
{
    struct mu_single *s = &r->single;
    struct pollfd *extra[2] = { NULL, NULL }; /* the eventfd, the small epoll */
    size_t known = s->n, n = known;
    struct pollfd none[2];
    struct pollfd *fds = s->fds ? s->fds : none;
    int hits;

    if (r->eventfd >= 0) {
        extra[0] = &fds[n++];
        *extra[0] = (struct pollfd){ .fd = r->eventfd, .events = POLLIN };
    }
    if (with_listeners) {
        extra[1] = &fds[n++];
        *extra[1] = (struct pollfd){ .fd = s->listen_epfd, .events = POLLIN };
    }
    hits = poll(fds, n, timeout_ms);
    mu_ahead_note(&s->ahead, mu_reactor_woke(r), hits > 0);
    s->ahead.polled_ms = mu_now_ms();
    if (hits <= 0)
        return;
    if (extra[0] && extra[0]->revents) {
        uint64_t count;
        ssize_t got = read(r->eventfd, &count, sizeof(count));

        (void)got; /* only resets the counter */
    }
    with_listeners = extra[1] && extra[1]->revents;
    for (size_t i = 0; i < known; i++) {
        /* Callbacks close and add: a hole is skipped, what is added lies beyond `known`; the array
         * may move. */
        short revents = s->fds[i].revents;

        if (revents && s->set[i])
            mu_io_event(s->set[i], ready_of(revents));
    }
    if (with_listeners)
        wait_epoll(r, 0, MU_IO_LISTEN, false);
}

static void single_wait(struct mu_reactor *r, int timeout_ms)
{
    size_t busy = build(&r->single);
    bool with_listeners = r->single.listeners > 0;

    if (with_listeners)
        sync_epoll(r);
    if (with_listeners && busy == 0)
        wait_epoll(r, timeout_ms, MU_IO_LISTEN | MU_IO_LEVEL, true);
    else if (busy == 1 && !with_listeners && mu_ahead_may_wait(r, timeout_ms))
        mu_ahead_wait(r);
    else
        wait_poll(r, timeout_ms, with_listeners);
}

const struct mu_poller_ops mu_poller_single = {
    .init = single_init,
    .fini = single_fini,
    .want = single_want,
    .forget = single_forget,
    .wait = single_wait,
};
