/*
 * ahead: waiting in the read itself. A thread that serves one connection, and has nothing else to
 * wait for but the stop request and posts, spends more on poll(2) and the read behind it than on
 * the request. When a connection's last requests came soon, its socket is made blocking and the
 * next wait is a recv(2) straight into the buffer where the request belongs. The rest of the room
 * does not notice: its calls say MSG_DONTWAIT, and sendfile(2), which cannot, takes the flag back.
 * What else is waited for is asked by a poll: the wait behind a read in vain is one, and so is one
 * in WAIT_MS however lively the client. So it is late by twice that at most, lost never, no signal.
 * Whoever is given the socket by others finds it as if all this had not been (mu_ahead_share).
 */
#include <engine/ahead.h>
#include <engine/sys.h>
#include <muster/clock.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/time.h>

enum {
    WAIT_MS = 100, /* in a read */
    SOON_MS = 50,  /* a wait that ended within it was short */
    QUICK_MAX = 2, /* short waits before reads take their place */
};

static void set_mode(struct mu_ahead *a, int fd, bool is_blocking)
{
    /* Of the modes that F_SETFL changes a connected socket has no other. */
    if (fcntl(fd, F_SETFL, is_blocking ? 0 : O_NONBLOCK) == 0)
        a->is_blocking = is_blocking;
}

static bool set_timeout(struct mu_ahead *a, int fd, int ms)
{
    struct timeval tv = { .tv_usec = ms * 1000 };

    a->has_timeout = setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0 && ms > 0;
    return a->has_timeout;
}

void mu_ahead_expect(struct mu_reactor *r, struct mu_io *io, void *buf, size_t cap)
{
    struct mu_ahead *a = &r->single.ahead;

    if (!buf && a->io != io)
        return;
    assert(a->got == 0);
    a->io = buf ? io : NULL;
    a->buf = buf;
    a->cap = cap;
    if (buf && a->known != io) {
        a->known = io;
        a->quick = 0;
        a->has_timeout = a->is_blocking = a->is_refused = false;
    }
}

/** The state of io's reactor, if it is about io. */
static struct mu_ahead *ahead_of(const struct mu_io *io)
{
    struct mu_reactor *r = io->reactor;

    if (!r || r->backend != MU_BACKEND_SINGLE || r->single.ahead.known != io)
        return NULL;
    return &r->single.ahead;
}

size_t mu_ahead_take(struct mu_io *io, void *buf, size_t cap)
{
    struct mu_ahead *a = ahead_of(io);
    size_t n;

    if (!a || a->io != io)
        return 0;
    n = cap < a->got ? cap : a->got;
    if (n > 0 && buf != a->buf)
        memmove(buf, a->buf, n);
    a->buf += n;
    a->got -= n;
    if (a->got == 0)
        a->io = NULL;
    return n;
}

void mu_ahead_unblock(const struct mu_io *io)
{
    struct mu_ahead *a = ahead_of(io);

    if (!a)
        return;
    if (a->is_blocking)
        set_mode(a, io->fd, false);
    a->is_refused = true; /* taking it back and forth costs more than it spares */
}

void mu_ahead_share(const struct mu_io *io)
{
    struct mu_ahead *a = ahead_of(io);

    mu_ahead_unblock(io);
    if (a && a->has_timeout)
        (void)set_timeout(a, io->fd, 0);
}

void mu_ahead_forget(struct mu_ahead *a, const struct mu_io *io, bool is_closing)
{
    if (a->known != io)
        return;
    if (!is_closing && a->has_timeout)
        (void)set_timeout(a, io->fd, 0);
    if (!is_closing && a->is_blocking)
        set_mode(a, io->fd, false);
    *a = (struct mu_ahead){ 0 };
}

void mu_ahead_note(struct mu_ahead *a, int64_t ms, bool has_hits)
{
    if (!has_hits || ms >= SOON_MS)
        a->quick = 0;
    else if (a->io && a->quick < QUICK_MAX)
        a->quick++;
}

bool mu_ahead_may_wait(struct mu_reactor *r, int timeout_ms)
{
    struct mu_ahead *a = &r->single.ahead;
    struct mu_io *io = a->io;

    if (!io || a->quick < QUICK_MAX || a->is_refused || r->fibers_n > 0 ||
        (timeout_ms >= 0 && timeout_ms < WAIT_MS) || mu_now_ms() - a->polled_ms >= WAIT_MS)
        return false;
    if (io->ready != MU_WRITABLE || !(io->flags & MU_IO_WATCHED) || !(io->flags & MU_IO_STREAM) ||
        !mu_list_empty(&io->waiters))
        return false;
    if (!a->has_timeout && !set_timeout(a, io->fd, WAIT_MS))
        return false;
    if (!a->is_blocking)
        set_mode(a, io->fd, true);
    return a->is_blocking;
}

void mu_ahead_wait(struct mu_reactor *r)
{
    struct mu_ahead *a = &r->single.ahead;
    struct mu_io *io = a->io;
    ssize_t n = mu_sys_recv(io->fd, a->buf, a->cap, 0);
    int error = n < 0 ? errno : 0;
    int64_t ms = mu_reactor_woke(r);

    mu_ahead_note(a, ms, n > 0);
    if (n > 0) {
        a->got = (size_t)n;
        mu_io_event(io, MU_READABLE);
    } else if (error == EAGAIN || error == EWOULDBLOCK) {
        a->is_refused = ms < SOON_MS; /* somebody has made it non-blocking */
    } else if (error != EINTR) {
        mu_io_event(io, MU_READABLE | MU_WRITABLE | MU_HANGUP); /* the next read says what it is */
    }
}
