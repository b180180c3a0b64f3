/*
 * pump: bytes both ways between two peers on one fiber. Each direction holds at most one buffer, so
 * a slow reader holds back its writer. When both directions are held back at once, as between two
 * peers that both write before they read, nobody would ever move again: then, and only then, what
 * they send is taken in beyond the buffer, into an unlinked temporary file, until one of them
 * starts to read.
 */
#include <engine/internal.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define SPOOL_MAX ((off_t)256 * 1024 * 1024)

struct flow {
    struct mu_pipe_dir *dir;
    struct flow *other;
    char *buf;
    size_t cap;
    size_t at, end; /* buf[at..end) is next to be written, then the spool from `spool_at` */
    int spool_fd;   /* -1: none */
    off_t spool_at, spool_end;
    bool has_eof; /* `from` has ended */
    bool is_done;
    bool has_moved;
};

static bool is_pending(const struct flow *w)
{
    return !w->is_done && w->at < w->end;
}

/** Nothing moves in either direction because neither peer reads. */
static bool is_jammed(const struct flow *w)
{
    return is_pending(w) && is_pending(w->other) && !(w->dir->to->ready & MU_WRITABLE) &&
           !(w->other->dir->to->ready & MU_WRITABLE);
}

static bool may_take_in(const struct flow *w)
{
    return is_jammed(w) && !w->has_eof && w->spool_end - w->spool_at < SPOOL_MAX;
}

static void end_flow(struct flow *w)
{
    struct mu_io *to = w->dir->to;
    const struct mu_io *back = w->other->dir ? w->other->dir->from : NULL;

    w->is_done = true;
    w->dir->end = MU_EOF;
    if (to->fd < 0)
        return;
    if (shutdown(to->fd, SHUT_WR) != 0 && errno == ENOTSOCK && to != back)
        mu_io_close(to); /* a pipe's end is passed on by closing it */
}

/** Get something to write. MU_AGAIN: nothing there yet; MU_EOF: there never will be. */
static enum mu_rc fill(struct flow *w)
{
    size_t got = 0;
    enum mu_rc rc;

    w->at = w->end = 0;
    if (w->spool_at < w->spool_end) {
        ssize_t n = pread(w->spool_fd, w->buf, w->cap, w->spool_at);

        if (n <= 0)
            return MU_EIO;
        w->spool_at += n;
        w->end = (size_t)n;
        if (w->spool_at == w->spool_end)
            w->spool_at = w->spool_end = 0;
        return MU_OK;
    }
    if (w->has_eof)
        return MU_EOF;
    rc = mu_try_read(w->dir->from, w->buf, w->cap, &got);
    w->end = got;
    w->has_eof = rc == MU_EOF;
    w->has_moved |= got > 0 || w->has_eof;
    return rc;
}

static enum mu_rc drain(struct flow *w)
{
    struct iovec iov = { .iov_base = w->buf + w->at, .iov_len = w->end - w->at };
    size_t sent = 0;
    enum mu_rc rc = mu_try_writev(w->dir->to, &iov, 1, false, &sent);

    w->at += sent;
    w->dir->bytes += sent;
    w->has_moved |= sent > 0;
    if (rc == MU_GONE && w->dir->may_close_early) {
        w->is_done = true;
        w->dir->end = MU_EOF;
        return MU_EOF;
    }
    return rc;
}

/** Move what moves without waiting, a slice at most. Returns MU_OK, or why the direction failed. */
static enum mu_rc move(struct flow *w)
{
    w->has_moved = false;
    for (int i = 0; i < 8 && !w->is_done; i++) {
        enum mu_rc rc = MU_OK;

        if (w->at == w->end)
            rc = fill(w);
        if (rc == MU_EOF) {
            end_flow(w);
            return MU_OK;
        }
        if (rc == MU_OK)
            rc = drain(w);
        if (rc == MU_AGAIN || rc == MU_EOF)
            return MU_OK;
        if (rc != MU_OK)
            return rc;
    }
    return MU_OK;
}

static bool spool_open(struct flow *w)
{
    if (w->spool_fd >= 0)
        return true;
    w->spool_fd = open(P_tmpdir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (w->spool_fd < 0)
        w->spool_fd = memfd_create("muster-pump", MFD_CLOEXEC);
    return w->spool_fd >= 0;
}

/** Take in a buffer's worth beyond what is pending. */
static enum mu_rc take_in(struct flow *w)
{
    struct mu_reactor *r = mu_tl.reactor;
    size_t cap, got = 0;
    char *buf = mu_reactor_buf_borrow(r, &cap);
    enum mu_rc rc = MU_NOMEM;

    if (buf && spool_open(w))
        rc = mu_try_read(w->dir->from, buf, cap, &got);
    for (size_t done = 0; done < got;) {
        ssize_t n = pwrite(w->spool_fd, buf + done, got - done, w->spool_end);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            rc = MU_EIO;
            break;
        }
        done += (size_t)n;
        w->spool_end += n;
    }
    mu_reactor_buf_give_back(r, buf);
    w->has_eof |= rc == MU_EOF;
    w->has_moved |= got > 0;
    return rc == MU_AGAIN || rc == MU_EOF ? MU_OK : rc;
}

static size_t add_items(struct flow *w, struct mu_wait_item *items, size_t n)
{
    if (w->is_done)
        return n;
    if (is_pending(w))
        items[n++] = (struct mu_wait_item){ .io = w->dir->to, .want = MU_WRITABLE };
    if (!is_pending(w) || may_take_in(w))
        items[n++] = (struct mu_wait_item){ .io = w->dir->from, .want = MU_READABLE };
    return n;
}

static enum mu_rc turn(struct flow *a, struct flow *b, int64_t idle_ms)
{
    struct mu_wait_item items[4];
    size_t n;
    enum mu_rc rc = move(a);

    if (rc == MU_OK)
        rc = move(b);
    if (rc == MU_OK && may_take_in(a))
        rc = take_in(a);
    if (rc == MU_OK && may_take_in(b))
        rc = take_in(b);
    if (rc != MU_OK || (a->is_done && b->is_done))
        return rc;
    if (a->has_moved || b->has_moved)
        return mu_spent(MU_BUF_SIZE);
    n = add_items(b, items, add_items(a, items, 0));
    return mu_wait(items, n, mu_deadline(idle_ms));
}

static enum mu_rc pump(struct flow *a, struct flow *b, int64_t idle_ms)
{
    enum mu_rc rc = MU_OK;

    while (rc == MU_OK && !(a->is_done && b->is_done))
        rc = mu_is_cancelled() ? MU_GONE : turn(a, b, idle_ms);
    return rc;
}

static bool flow_init(struct flow *w, struct mu_pipe_dir *d, struct flow *other)
{
    *w = (struct flow){ .dir = d, .other = other, .spool_fd = -1, .is_done = d == NULL };
    if (!d)
        return true;
    d->bytes = 0;
    d->end = MU_GONE;
    w->buf = mu_reactor_buf_borrow(mu_tl.reactor, &w->cap);
    return w->buf != NULL;
}

static void flow_fini(struct flow *w, enum mu_rc rc)
{
    if (w->dir && !w->is_done)
        w->dir->end = rc;
    if (w->spool_fd >= 0)
        close(w->spool_fd);
    if (w->buf)
        mu_reactor_buf_give_back(mu_tl.reactor, w->buf);
}

struct pump_call {
    struct mu_pipe_dir *a, *b;
    int64_t idle_ms;
    enum mu_rc rc;
};

static void pump_home(void *arg)
{
    struct pump_call *c = arg;

    c->rc = mu_pump(c->a, c->b, c->idle_ms);
}

enum mu_rc mu_pump(struct mu_pipe_dir *a, struct mu_pipe_dir *b, int64_t idle_ms)
{
    struct flow fa, fb;
    bool has_memory;
    enum mu_rc rc = MU_NOMEM;

    if (mu_tl.job) {
        struct pump_call c = { a, b, idle_ms, MU_GONE };

        mu_call_home(pump_home, &c);
        return c.rc;
    }
    has_memory = flow_init(&fa, a, &fb);
    has_memory &= flow_init(&fb, b, &fa);
    if (has_memory)
        rc = pump(&fa, &fb, idle_ms);
    flow_fini(&fa, rc);
    flow_fini(&fb, rc);
    return rc;
}
