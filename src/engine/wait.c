/*
 * wait: mu_wait, the one suspension primitive, and what is ready to be waited for: descriptors and
 * wake-ups. An item that got something is taken off its list at once, so that whatever it waited on
 * may be closed and freed before the fiber runs again; the fiber looks at items, never back at what
 * they waited on.
 */
#include <engine/internal.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

/** Item `it` got `bits`: detach it and let its fiber run. */
static void item_hit(struct mu_wait_item *it, unsigned bits)
{
    it->got = bits;
    mu_list_remove(&it->link);
    mu_fiber_make_runnable(it->fiber);
}

/** Bits of `ready` that satisfy `want`, with the hang-up shown beside them. */
static unsigned matching(unsigned ready, unsigned want)
{
    return (ready & want) ? ready & (want | MU_HANGUP) : 0;
}

void mu_io_event(struct mu_io *io, unsigned bits)
{
    unsigned taken = 0;

    if (!(io->flags & MU_IO_LEVEL))
        io->ready |= (uint8_t)bits;
    MU_LIST_FOR_SAFE(l, &io->waiters) {
        struct mu_wait_item *it = MU_CONTAINER_OF(l, struct mu_wait_item, link);
        unsigned got = matching(io->ready | bits, it->want);

        if (got) {
            taken |= it->want | MU_HANGUP;
            item_hit(it, got);
        }
    }
    bits &= ~taken;
    if (bits && io->on_ready && (io->flags & MU_IO_WATCHED))
        io->on_ready(io, bits);
}

void mu_wake_init(struct mu_wake *w)
{
    *w = (struct mu_wake){ .reactor = mu_tl.job ? mu_tl.job->fiber->reactor : mu_tl.reactor };
    mu_list_init(&w->waiters);
}

static void raise_here(struct mu_wake *w)
{
    struct mu_list *l = mu_list_first(&w->waiters);

    if (l)
        item_hit(MU_CONTAINER_OF(l, struct mu_wait_item, link), 1);
    else
        w->is_raised = true;
}

static void raise_posted(void *arg)
{
    struct mu_wake *w = arg;

    /* Before the raise: whoever runs because of it may free the wake. Release: the node is free for
     * another post. */
    atomic_store_explicit(&w->is_posted, false, memory_order_release);
    raise_here(w);
}

void mu_wake_raise_remote(struct mu_wake *w)
{
    /* acq_rel: the one who turns it on owns the node, after raise_posted() let go of it. */
    if (atomic_exchange_explicit(&w->is_posted, true, memory_order_acq_rel))
        return;
    w->post.fn = raise_posted;
    w->post.arg = w;
    mu_reactor_post(w->reactor, &w->post);
}

void mu_wake_raise(struct mu_wake *w)
{
    if (mu_tl.reactor == w->reactor)
        raise_here(w);
    else
        mu_wake_raise_remote(w);
}

/** What `it` has without waiting. */
static unsigned item_probe(struct mu_wait_item *it)
{
    if (it->wake) {
        bool is_raised = it->wake->is_raised;

        it->wake->is_raised = false;
        return is_raised;
    }
    if (it->io->fd < 0)
        return MU_HANGUP;
    return matching(it->io->ready, it->want);
}

static bool probe_all(struct mu_wait_item *items, size_t n)
{
    bool any = false;

    for (size_t i = 0; i < n; i++) {
        items[i].got = item_probe(&items[i]);
        any |= items[i].got != 0;
    }
    return any;
}

static bool any_got(const struct mu_wait_item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (items[i].got)
            return true;
    }
    return false;
}

/**
 * Put each item on the list of what it waits for. MU_AGAIN: one turned out to be ready on the way.
 */
static enum mu_rc attach(struct mu_fiber *f, struct mu_wait_item *items, size_t n)
{
    enum mu_rc result = MU_OK;

    for (size_t i = 0; i < n; i++) {
        mu_list_init(&items[i].link);
        items[i].fiber = f;
    }
    for (size_t i = 0; i < n; i++) {
        struct mu_wait_item *it = &items[i];
        enum mu_rc rc;

        if (it->wake) {
            mu_list_append(&it->wake->waiters, &it->link);
            continue;
        }
        assert(!(it->io->flags & MU_IO_REGISTERED) || it->io->reactor == f->reactor);
        rc = f->reactor->poller->want(f->reactor, it->io, it->want);
        if (rc != MU_OK)
            return rc;
        it->got = matching(it->io->ready,
                           it->want); /* what the poller refuses to watch is always ready */
        if (it->got)
            result = MU_AGAIN;
        else
            mu_list_append(&it->io->waiters, &it->link);
    }
    return result;
}

static void detach(struct mu_wait_item *items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mu_list_remove(&items[i].link);
}

static enum mu_rc park_until(struct mu_fiber *f, struct mu_wait_item *items, size_t n,
                             int64_t deadline_ms)
{
    int64_t now = mu_now_ms();

    f->is_timed_out = false;
    if (deadline_ms != MU_NEVER)
        mu_timers_arm(&f->reactor->timers, &f->timer, now, deadline_ms - now);
    do
        mu_fiber_park(f);
    while (!any_got(items, n) && !f->is_timed_out && !mu_is_cancelled());
    mu_list_remove(&f->timer.link);
    if (mu_is_cancelled())
        return MU_GONE;
    return any_got(items, n) ? MU_OK : MU_TIMEOUT;
}

struct wait_call {
    struct mu_wait_item *items;
    size_t n;
    int64_t deadline_ms;
    enum mu_rc rc;
};

static void wait_home(void *arg)
{
    struct wait_call *c = arg;

    c->rc = mu_wait(c->items, c->n, c->deadline_ms);
}

enum mu_rc mu_wait(struct mu_wait_item *items, size_t n, int64_t deadline_ms)
{
    struct mu_fiber *f = mu_tl.fiber;
    enum mu_rc rc;

    if (MU_UNLIKELY(mu_tl.job != NULL)) {
        struct wait_call c = { items, n, deadline_ms, MU_GONE };

        mu_call_home(wait_home, &c);
        return c.rc;
    }
    assert(f);
    if (mu_is_cancelled())
        return MU_GONE;
    if (probe_all(items, n))
        return mu_spent(0);
    rc = attach(f, items, n);
    if (rc == MU_OK)
        rc = park_until(f, items, n, deadline_ms);
    detach(items, n);
    return rc == MU_AGAIN ? mu_spent(0) : rc;
}

void mu_wait_joined(struct mu_wake *w, struct mu_wait_item *it)
{
    struct mu_fiber *f = mu_tl.fiber;

    *it = (struct mu_wait_item){ .wake = w, .fiber = f };
    it->got = item_probe(it);
    if (it->got)
        return;
    mu_list_append(&w->waiters, &it->link);
    while (!it->got)
        mu_fiber_park(f); /* a cancelled fiber is made runnable, and parks again */
}

enum mu_rc mu_sleep(int64_t ms)
{
    enum mu_rc rc = mu_wait(NULL, 0, mu_deadline(ms < 0 ? 0 : ms));

    return rc == MU_TIMEOUT ? MU_OK : rc;
}

void mu_io_reset(struct mu_io *io, int fd, unsigned flags)
{
    *io = (struct mu_io){ .fd = fd, .ready = MU_WRITABLE, .flags = (uint8_t)flags };
    mu_list_init(&io->waiters);
}

void mu_io_init_socket(struct mu_io *io, int fd)
{
    mu_io_reset(io, fd, MU_IO_SOCKET | MU_IO_STREAM);
}

void mu_io_init(struct mu_io *io, int fd)
{
    int mode = fcntl(fd, F_GETFL);
    int type = 0;
    unsigned flags = 0;

    if (mode >= 0 && !(mode & O_NONBLOCK))
        (void)fcntl(fd, F_SETFL, mode | O_NONBLOCK);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){ sizeof(type) }) == 0)
        flags = MU_IO_SOCKET | (type == SOCK_STREAM ? MU_IO_STREAM : 0);
    mu_io_reset(io, fd, flags);
}

enum mu_rc mu_io_init_child(struct mu_io *io, pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by itself */

    mu_io_reset(io, fd, 0);
    return fd < 0 ? MU_EIO : MU_OK;
}

void mu_io_expect(struct mu_io *io, void *buf, size_t cap)
{
    if (mu_tl.reactor->backend == MU_BACKEND_SINGLE)
        mu_ahead_expect(mu_tl.reactor, io, buf, cap);
}

void mu_io_share(struct mu_io *io)
{
    io->flags |= MU_IO_SHARED;
    mu_ahead_share(io);
}

struct io_call {
    struct mu_io *io;
    int fd;
    enum mu_rc rc;
};

static void watch_home(void *arg)
{
    struct io_call *c = arg;

    c->rc = mu_io_watch(c->io);
}

static void release_home(void *arg)
{
    struct io_call *c = arg;

    c->fd = mu_io_release(c->io);
}

static void close_home(void *arg)
{
    mu_io_close(arg);
}

enum mu_rc mu_io_watch(struct mu_io *io)
{
    struct mu_reactor *r = mu_tl.reactor;
    unsigned want = MU_READABLE;

    if (MU_UNLIKELY(mu_tl.job != NULL)) {
        struct io_call c = { .io = io };

        mu_call_home(watch_home, &c);
        return c.rc;
    }
    if (io->fd < 0)
        return MU_GONE;
    if (!(io->ready & MU_WRITABLE))
        want |= MU_WRITABLE;
    io->flags |= MU_IO_WATCHED;
    return r->poller->want(r, io, want);
}

/** Everybody who waits for `io` is told that it is over. */
static void dismiss_waiters(struct mu_io *io)
{
    MU_LIST_FOR_SAFE(l, &io->waiters)
        item_hit(MU_CONTAINER_OF(l, struct mu_wait_item, link), MU_HANGUP);
}

static int io_detach(struct mu_io *io, bool is_closing)
{
    int fd = io->fd;

    if (fd < 0)
        return -1;
    dismiss_waiters(io);
    if (io->flags & MU_IO_REGISTERED)
        io->reactor->poller->forget(io->reactor, io, is_closing);
    io->fd = -1;
    io->ready = 0;
    io->flags = 0;
    io->reactor = NULL;
    return fd;
}

int mu_io_release(struct mu_io *io)
{
    if (MU_UNLIKELY(mu_tl.job != NULL)) {
        struct io_call c = { .io = io };

        mu_call_home(release_home, &c);
        return c.fd;
    }
    return io_detach(io, false);
}

void mu_io_close(struct mu_io *io)
{
    int fd;

    if (MU_UNLIKELY(mu_tl.job != NULL)) {
        mu_call_home(close_home, io);
        return;
    }
    fd = io_detach(io, true);
    if (fd >= 0)
        close(fd);
}

enum mu_rc mu_level_watch(struct mu_reactor *r, struct mu_io *io, int fd,
                          void (*on_ready)(struct mu_io *io, unsigned events))
{
    mu_io_reset(io, fd, MU_IO_LEVEL | MU_IO_WATCHED);
    io->on_ready = on_ready;
    return r->poller->want(r, io, MU_READABLE);
}

enum mu_rc mu_listen_watch(struct mu_reactor *r, struct mu_listen_watch *w, int fd,
                           void (*on_ready)(struct mu_io *io, unsigned events))
{
    w->is_paused = false;
    mu_io_reset(&w->io, fd, MU_IO_LEVEL | MU_IO_LISTEN | MU_IO_WATCHED);
    w->io.on_ready = on_ready;
    w->io.reactor = r;
    return r->poller->want(r, &w->io, MU_READABLE);
}

void mu_listen_pause(struct mu_listen_watch *w)
{
    struct mu_io *io = &w->io;

    if (w->is_paused || io->fd < 0)
        return;
    w->is_paused = true;
    /* Under the single-connection backend the flag is enough: it looks at it before each wait. */
    if (io->reactor->backend == MU_BACKEND_EPOLL && (io->flags & MU_IO_REGISTERED))
        io->reactor->poller->forget(io->reactor, io, false);
}

void mu_listen_resume(struct mu_listen_watch *w)
{
    struct mu_io *io = &w->io;

    if (!w->is_paused || io->fd < 0)
        return;
    w->is_paused = io->reactor->poller->want(io->reactor, io, MU_READABLE) != MU_OK;
}

void mu_listen_unwatch(struct mu_listen_watch *w)
{
    (void)mu_io_release(&w->io);
}
