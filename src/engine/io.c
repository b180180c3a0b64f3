/*
 * io: reading and writing descriptors. The mu_try_ calls make one system call, keep the remembered
 * readiness true, and turn errno into a result code on the spot; the others loop over them with
 * mu_wait. EAGAIN and EINTR end here. A transfer shorter than asked on a stream socket means that
 * it is exhausted (epoll(7)), which spares the call that would say EAGAIN, except for reads after a
 * hang-up: there the end must still be read. A socket is asked not to wait by each call itself:
 * O_NONBLOCK belongs to whoever else has the socket, too (mu_client_lend clears it).
 */
#include <engine/internal.h>
#include <engine/sys.h>

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <sys/sendfile.h>
#include <unistd.h>

/** Calls on one io, made by the parked fiber for a worker thread. */
enum op {
    OP_TRY_READ,
    OP_TRY_WRITEV,
    OP_TRY_SENDFILE,
    OP_TRY_SEND_FDS,
    OP_READ,
    OP_WRITEV_ALL,
    OP_CONNECT
};

struct call {
    enum op op;
    struct mu_io *io;
    void *buf;
    struct iovec *iov;
    int n;
    size_t len;
    size_t *moved;
    const int *fds;
    size_t fds_n;
    bool more;
    int file_fd;
    off_t *off;
    int64_t deadline_ms;
    enum mu_rc rc;
};

static void call_run(void *arg)
{
    struct call *c = arg;

    switch (c->op) {
    case OP_TRY_READ:
        c->rc = mu_try_read(c->io, c->buf, c->len, c->moved);
        break;
    case OP_TRY_WRITEV:
        c->rc = mu_try_writev(c->io, c->iov, c->n, c->more, c->moved);
        break;
    case OP_TRY_SENDFILE:
        c->rc = mu_try_sendfile(c->io, c->file_fd, c->off, c->len, c->moved);
        break;
    case OP_TRY_SEND_FDS:
        c->rc = mu_try_send_fds(c->io, c->buf, c->len, c->fds, c->fds_n, c->moved);
        break;
    case OP_READ:
        c->rc = mu_read(c->io, c->buf, c->len, c->moved, c->deadline_ms);
        break;
    case OP_WRITEV_ALL:
        c->rc = mu_writev_all(c->io, c->iov, c->n, c->deadline_ms);
        break;
    case OP_CONNECT:
        c->rc = mu_connect(c->io, c->buf, (socklen_t)c->len, c->deadline_ms);
        break;
    }
}

static enum mu_rc from_worker(struct call *c)
{
    mu_call_home(call_run, c);
    return c->rc;
}

static bool on_worker(void)
{
    return MU_UNLIKELY(mu_tl.job != NULL);
}

/** What errno means for the conversation. */
static enum mu_rc rc_of_errno(void)
{
    switch (errno) {
    case ECONNRESET:
    case EPIPE:
    case ETIMEDOUT:
    case ECONNABORTED:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENOTCONN:
    case ESHUTDOWN:
        return MU_GONE;
    default:
        return MU_EIO;
    }
}

static bool is_again(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

/** A write did not fit: from now on be told when there is room. */
static void want_room(struct mu_io *io)
{
    io->ready &= (uint8_t)~MU_WRITABLE;
    if (io->flags & MU_IO_OUT)
        return;
    if (io->flags & MU_IO_REGISTERED)
        (void)io->reactor->poller->want(io->reactor, io,
                                        MU_WRITABLE); /* a change cannot run out of memory */
    else
        io->flags |= MU_IO_OUT;
}

static ssize_t read_once(struct mu_io *io, void *buf, size_t cap)
{
    size_t ahead = mu_ahead_take(io, buf, cap);

    if (ahead > 0)
        return (ssize_t)ahead;
    return (io->flags & MU_IO_SOCKET) ? mu_sys_recv(io->fd, buf, cap, MSG_DONTWAIT)
                                      : read(io->fd, buf, cap);
}

enum mu_rc mu_try_read(struct mu_io *io, void *buf, size_t cap, size_t *got)
{
    ssize_t n;

    *got = 0;
    if (on_worker())
        return from_worker(
            &(struct call){ .op = OP_TRY_READ, .io = io, .buf = buf, .len = cap, .moved = got });
    if (io->fd < 0)
        return MU_GONE;
    assert(cap > 0);
    do
        n = read_once(io, buf, cap);
    while (n < 0 && errno == EINTR);
    if (MU_LIKELY(n > 0)) {
        *got = (size_t)n;
        if ((size_t)n < cap && (io->flags & MU_IO_STREAM) && !(io->ready & MU_HANGUP))
            io->ready &= (uint8_t)~MU_READABLE;
        return MU_OK;
    }
    if (n == 0) {
        io->ready |= MU_READABLE | MU_HANGUP;
        return MU_EOF;
    }
    if (!is_again())
        return rc_of_errno();
    io->ready &= (uint8_t)~MU_READABLE;
    return MU_AGAIN;
}

/** One gathered write, whatever the descriptor is. */
static ssize_t write_once(const struct mu_io *io, const struct iovec *iov, int n, bool more)
{
    struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n };
    int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0);

    if (!(io->flags & MU_IO_SOCKET))
        return n == 1 ? write(io->fd, iov->iov_base, iov->iov_len) : writev(io->fd, iov, n);
    return n == 1 ? mu_sys_send(io->fd, iov->iov_base, iov->iov_len, flags)
                  : sendmsg(io->fd, &msg, flags);
}

static size_t total_of(const struct iovec *iov, int n)
{
    size_t total = 0;

    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    return total;
}

enum mu_rc mu_try_writev(struct mu_io *io, const struct iovec *iov, int n, bool more, size_t *sent)
{
    size_t total;
    ssize_t moved;

    *sent = 0;
    if (on_worker())
        return from_worker(&(struct call){ .op = OP_TRY_WRITEV,
                                           .io = io,
                                           .iov = (struct iovec *)iov,
                                           .n = n,
                                           .more = more,
                                           .moved = sent });
    if (io->fd < 0)
        return MU_GONE;
    n = n < IOV_MAX ? n : IOV_MAX;
    total = total_of(iov, n);
    if (total == 0)
        return MU_OK;
    do
        moved = write_once(io, iov, n, more);
    while (moved < 0 && errno == EINTR);
    if (MU_LIKELY(moved >= 0)) {
        *sent = (size_t)moved;
        if (*sent < total && (io->flags & MU_IO_STREAM))
            want_room(io);
        return MU_OK;
    }
    if (!is_again())
        return rc_of_errno();
    want_room(io);
    return MU_AGAIN;
}

enum mu_rc mu_try_send_fds(struct mu_io *io, const void *buf, size_t n, const int *fds,
                           size_t fds_n, size_t *sent)
{
    union {
        char bytes[CMSG_SPACE(MU_SEND_FDS_MAX * sizeof(int))];
        struct cmsghdr head;
    } control = { .bytes = { 0 } };
    struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = n };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t moved;

    *sent = 0;
    if (on_worker())
        return from_worker(&(struct call){ .op = OP_TRY_SEND_FDS,
                                           .io = io,
                                           .buf = (void *)(uintptr_t)buf,
                                           .len = n,
                                           .fds = fds,
                                           .fds_n = fds_n,
                                           .moved = sent });
    if (io->fd < 0)
        return MU_GONE;
    assert(fds_n <= MU_SEND_FDS_MAX);
    if (fds_n > 0) {
        control.head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                                         .cmsg_type = SCM_RIGHTS,
                                         .cmsg_len = CMSG_LEN(fds_n * sizeof(int)) };
        memcpy(CMSG_DATA(&control.head), fds, fds_n * sizeof(int));
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(fds_n * sizeof(int));
    }
    do
        moved = sendmsg(io->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (moved < 0 && errno == EINTR);
    if (moved >= 0) {
        *sent = (size_t)moved;
        return MU_OK;
    }
    if (!is_again())
        return rc_of_errno();
    want_room(io);
    return MU_AGAIN;
}

enum mu_rc mu_try_sendfile(struct mu_io *io, int file_fd, off_t *off, size_t n, size_t *sent)
{
    ssize_t moved;

    *sent = 0;
    if (on_worker())
        return from_worker(&(struct call){ .op = OP_TRY_SENDFILE,
                                           .io = io,
                                           .file_fd = file_fd,
                                           .off = off,
                                           .len = n,
                                           .moved = sent });
    if (io->fd < 0)
        return MU_GONE;
    if (n == 0)
        return MU_OK;
    mu_ahead_unblock(io);
    do
        moved = sendfile(io->fd, file_fd, off, n);
    while (moved < 0 && errno == EINTR);
    if (moved > 0) {
        *sent = (size_t)moved;
        return MU_OK;
    }
    if (moved == 0)
        return MU_EOF;
    if (!is_again())
        return rc_of_errno();
    want_room(io);
    return MU_AGAIN;
}

static enum mu_rc wait_for(struct mu_io *io, unsigned want, int64_t deadline_ms)
{
    struct mu_wait_item it = { .io = io, .want = want };

    return mu_wait(&it, 1, deadline_ms);
}

/** Is it known, without asking the kernel, that nothing has arrived? */
static bool is_known_empty(const struct mu_io *io)
{
    return (io->flags & MU_IO_REGISTERED) && !(io->ready & MU_READABLE) && io->fd >= 0 &&
           io->reactor->backend == MU_BACKEND_EPOLL;
}

enum mu_rc mu_read(struct mu_io *io, void *buf, size_t cap, size_t *got, int64_t deadline_ms)
{
    enum mu_rc rc;

    *got = 0;
    if (on_worker())
        return from_worker(&(struct call){ .op = OP_READ,
                                           .io = io,
                                           .buf = buf,
                                           .len = cap,
                                           .moved = got,
                                           .deadline_ms = deadline_ms });
    if (mu_is_cancelled())
        return MU_GONE;
    if (is_known_empty(io)) {
        rc = wait_for(io, MU_READABLE, deadline_ms);
        if (rc != MU_OK)
            return rc;
    }
    for (;;) {
        rc = mu_try_read(io, buf, cap, got);
        if (rc == MU_OK)
            (void)mu_spent(
                *got); /* cancelled meanwhile: the bytes are the caller's, the next call says so */
        if (rc != MU_AGAIN)
            return rc;
        rc = wait_for(io, MU_READABLE, deadline_ms);
        if (rc != MU_OK)
            return rc;
    }
}

/** Drop the first `sent` bytes. Returns the entries left. */
static int iov_advance(struct iovec **iov, int n, size_t sent)
{
    while (n > 0 && sent >= (*iov)->iov_len) {
        sent -= (*iov)->iov_len;
        ++*iov;
        n--;
    }
    if (n > 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + sent;
        (*iov)->iov_len -= sent;
    }
    return n;
}

enum mu_rc mu_writev_all(struct mu_io *io, struct iovec *iov, int n, int64_t deadline_ms)
{
    if (on_worker())
        return from_worker(&(struct call){
            .op = OP_WRITEV_ALL, .io = io, .iov = iov, .n = n, .deadline_ms = deadline_ms });
    n = iov_advance(&iov, n, 0);
    while (n > 0) {
        size_t sent;
        enum mu_rc rc = mu_is_cancelled() ? MU_GONE : mu_try_writev(io, iov, n, false, &sent);

        if (rc == MU_OK) {
            n = iov_advance(&iov, n, sent);
            (void)mu_spent(sent);
            if (n == 0 || (io->ready & MU_WRITABLE))
                continue;
        } else if (rc != MU_AGAIN) {
            return rc;
        }
        rc = wait_for(io, MU_WRITABLE, deadline_ms);
        if (rc != MU_OK)
            return rc;
    }
    return MU_OK;
}

enum mu_rc mu_write_all(struct mu_io *io, const void *buf, size_t n, int64_t deadline_ms)
{
    struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = n };

    return mu_writev_all(io, &iov, 1, deadline_ms);
}

/**
 * A Unix socket whose backlog is full says EAGAIN and offers nothing to wait for: look again now
 * and then.
 */
static enum mu_rc connect_unix(int fd, const struct sockaddr *sa, socklen_t len,
                               int64_t deadline_ms)
{
    for (int64_t pause_ms = 1;; pause_ms = pause_ms < 32 ? pause_ms * 2 : pause_ms) {
        if (connect(fd, sa, len) == 0 || errno == EISCONN)
            return MU_OK;
        if (errno == EINTR)
            continue;
        if (!is_again())
            return MU_EIO;
        if (mu_now_ms() >= deadline_ms)
            return MU_TIMEOUT;
        if (mu_sleep(pause_ms) != MU_OK)
            return MU_GONE;
    }
}

static enum mu_rc connect_inet(struct mu_io *io, const struct sockaddr *sa, socklen_t len,
                               int64_t deadline_ms)
{
    int err = 0;
    enum mu_rc rc;

    if (connect(io->fd, sa, len) == 0)
        return MU_OK;
    if (errno != EINPROGRESS && errno != EINTR) /* interrupted, it goes on in the background */
        return MU_EIO;
    io->ready = 0;
    rc = wait_for(io, MU_WRITABLE, deadline_ms);
    if (rc != MU_OK)
        return rc;
    if (getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &err, &(socklen_t){ sizeof(err) }) != 0)
        return MU_EIO;
    errno = err;
    return err ? MU_EIO : MU_OK;
}

enum mu_rc mu_connect(struct mu_io *io, const struct sockaddr *sa, socklen_t len,
                      int64_t deadline_ms)
{
    enum mu_rc rc;
    int fd, err;

    if (on_worker())
        return from_worker(&(struct call){ .op = OP_CONNECT,
                                           .io = io,
                                           .buf = (void *)(uintptr_t)sa,
                                           .len = len,
                                           .deadline_ms = deadline_ms });
    mu_io_reset(io, -1, 0);
    if (mu_is_cancelled())
        return MU_GONE;
    fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return MU_EIO;
    mu_io_init_socket(io, fd);
    rc = sa->sa_family == AF_UNIX ? connect_unix(fd, sa, len, deadline_ms)
                                  : connect_inet(io, sa, len, deadline_ms);
    if (rc != MU_OK) {
        err = errno;
        mu_io_close(io);
        errno = err;
    }
    return rc;
}
