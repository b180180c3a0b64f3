/*
 * offload: blocking work, on a worker thread while the fiber is parked, or in place on a big stack.
 * It is a strict hand-over: either the fiber or the worker runs, never both, and the turn passes
 * with the right to touch what the request owns. A worker that must wait for something passes the
 * turn home with a function to call, and the fiber may pass it back the same way (blocking work
 * inside such a call); each side's call ends when the turn comes back empty. What was handed over
 * is always joined, cancelled or not.
 */
#include <engine/pool.h>

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

/** Run what came with the turn. */
static void serve(struct mu_job *j)
{
    j->fn(j->arg);
    j->err = errno;
    j->fn = NULL;
}

/**
 * On the fiber: pass the turn (submitted or woken already), serve calls until it comes back empty.
 */
static void await_worker(struct mu_job *j)
{
    for (;;) {
        mu_wait_joined(&j->wake, &j->item);
        if (!j->fn)
            return;
        serve(j);
        mu_pool_wake_worker(j);
    }
}

static void offload_to(struct mu_worker_pool *p, struct mu_fiber *f, void (*fn)(void *arg),
                       void *arg)
{
    struct mu_job *before = f->job;
    struct mu_job j = { .fn = fn, .arg = arg, .fiber = f };

    mu_wake_init(&j.wake);
    f->job = &j;
    mu_pool_submit(p, &j);
    await_worker(&j);
    f->job = before;
}

void mu_offload(void (*fn)(void *arg), void *arg)
{
    struct mu_fiber *f = mu_tl.fiber;

    if (mu_tl.job || !f || f->is_on_big_stack) {
        fn(arg);
    } else if (f->job) { /* in a call home: the worker that made it is free to work */
        f->job->fn = fn;
        f->job->arg = arg;
        mu_pool_wake_worker(f->job);
        await_worker(f->job);
    } else if (f->reactor->workers) {
        offload_to(f->reactor->workers, f, fn, arg);
    } else {
        if (!mu_fiber_call_big(f, fn, arg))
            fn(arg);     /* no memory for a stack: the small one has to do */
        mu_clock_tick(); /* it may have taken its time */
    }
}

void mu_offload_file(void (*fn)(void *arg), void *arg)
{
    struct mu_fiber *f = mu_tl.job ? NULL : mu_tl.fiber;

    if (!f || !f->reactor->files)
        fn(arg); /* may block here: it would not be any faster elsewhere */
    else
        offload_to(f->reactor->files, f, fn, arg);
}

bool mu_is_offloaded(void)
{
    return mu_tl.job != NULL;
}

void mu_call_home(void (*fn)(void *arg), void *arg)
{
    struct mu_job *j = mu_tl.job;

    if (!j) {
        fn(arg);
        return;
    }
    j->fn = fn;
    j->arg = arg;
    mu_wake_raise_remote(&j->wake);
    for (;;) {
        mu_pool_sleep_worker(j);
        if (!j->fn)
            break;
        serve(j);
        mu_wake_raise_remote(&j->wake);
    }
    errno = j->err;
}

struct file_read {
    int fd;
    void *buf;
    size_t n;
    off_t off;
    ssize_t got;
    int err;
};

static void file_read(void *arg)
{
    struct file_read *c = arg;

    do
        c->got = pread(c->fd, c->buf, c->n, c->off);
    while (c->got < 0 && errno == EINTR);
    c->err = errno;
}

/** From the page cache, without waiting for the disk. Returns false when that is not to be had. */
static bool file_read_cached(struct file_read *c)
{
    struct iovec iov = { .iov_base = c->buf, .iov_len = c->n };

    do
        c->got = preadv2(c->fd, &iov, 1, c->off, RWF_NOWAIT);
    while (c->got < 0 && errno == EINTR);
    c->err = errno;
    return c->got >= 0 ||
           (errno != EAGAIN && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL);
}

enum mu_rc mu_file_pread(int fd, void *buf, size_t n, off_t off, size_t *got)
{
    struct file_read c = { .fd = fd, .buf = buf, .n = n, .off = off };
    struct mu_fiber *f = mu_tl.job ? NULL : mu_tl.fiber;

    *got = 0;
    if (!f || !f->reactor->files || !file_read_cached(&c))
        mu_offload_file(file_read, &c);
    if (c.got > 0) {
        *got = (size_t)c.got;
        (void)mu_spent(*got);
        return MU_OK;
    }
    errno = c.err;
    return c.got == 0 ? MU_EOF : MU_EIO;
}
