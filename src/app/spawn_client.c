/*
 * spawn_client: a process of the server asks for a program to be started. The request goes out with
 * descriptors over the socket that all of them share; what comes back comes on a socket of the
 * request's own, whose end is also how the helper knows that nobody waits any more.
 */
#include "app/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <muster/clock.h>
#include <muster/str.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FDS_MAX = 5,
    CROWDED_MS = 10, /* too many descriptors are on their way: nothing tells when there are fewer */
    PROC_EXITING = 4, /* PF_EXITING in the flags of proc(5) */
};

/* A packet and its descriptors. */
struct packet {
    struct mu_buf bytes;
    int fds[FDS_MAX];
    size_t fds_n;
    int memfd, reply_fd; /* ours to close when it is sent; -1 */
};

static void packet_fini(struct packet *p)
{
    mu_buf_fini(&p->bytes);
    if (p->memfd >= 0)
        close(p->memfd);
    if (p->reply_fd >= 0)
        close(p->reply_fd);
}

/* MU_EIO: errno. */
static enum mu_rc packet_make(struct packet *p, const struct mu_spawn *s)
{
    struct mu_spawn_head head;
    struct mu_buf text = { 0 };
    enum mu_rc rc = mu_spawn_encode(s, &head, &text);

    if (rc == MU_OK)
        mu_buf_add(&p->bytes, mu_str_n((const char *)&head, sizeof(head)));
    if (rc == MU_OK && text.n <= MU_SPAWN_INLINE_MAX) {
        mu_buf_add(&p->bytes, mu_buf_str(&text));
    } else if (rc == MU_OK) {
        p->memfd = mu_spawn_text_to_fd(mu_buf_str(&text));
        rc = p->memfd < 0 ? MU_EIO : MU_OK;
    }
    mu_buf_fini(&text);
    if (rc == MU_LIMIT) {
        errno = E2BIG;
        return MU_EIO;
    }
    if (rc != MU_OK || p->bytes.is_failed)
        return rc == MU_OK ? MU_NOMEM : rc;
    p->fds[p->fds_n++] = p->reply_fd;
    for (int i = 0; i < 3; i++)
        p->fds[p->fds_n++] = s->fd[i];
    if (p->memfd >= 0)
        p->fds[p->fds_n++] = p->memfd;
    return MU_OK;
}

static enum mu_rc try_send(struct mu_io *io, const struct packet *p)
{
    size_t sent;

    return mu_try_send_fds(io, p->bytes.p, p->bytes.n, p->fds, p->fds_n, &sent);
}

/* The helper has much to do. Waiting wants a descriptor of one's own. */
static enum mu_rc send_late(int fd, const struct packet *p, int64_t deadline_ms)
{
    struct mu_io io;
    enum mu_rc rc;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

    if (copy < 0)
        return MU_EIO;
    mu_io_init_socket(&io, copy);
    mu_io_share(&io);
    for (;;) {
        struct mu_wait_item it = { .io = &io, .want = MU_WRITABLE };

        rc = try_send(&io, p);
        if (rc == MU_EIO && errno == ETOOMANYREFS)
            rc = mu_now_ms() >= deadline_ms      ? MU_TIMEOUT
                 : mu_sleep(CROWDED_MS) == MU_OK ? MU_OK
                                                 : MU_GONE;
        else if (rc != MU_AGAIN)
            break;
        else
            rc = mu_wait(&it, 1, deadline_ms);
        if (rc != MU_OK)
            break;
    }
    mu_io_close(&io);
    return rc;
}

static enum mu_rc send_packet(int fd, const struct packet *p, int64_t deadline_ms)
{
    struct mu_io io; /* never registered, never closed */
    enum mu_rc rc;

    if (fd < 0) {
        errno = ENOSYS;
        return MU_EIO;
    }
    mu_io_init_socket(&io, fd);
    rc = try_send(&io, p);
    if (rc == MU_AGAIN || (rc == MU_EIO && errno == ETOOMANYREFS))
        rc = send_late(fd, p, deadline_ms);
    if (rc == MU_GONE && !mu_is_cancelled()) {
        errno = ECONNREFUSED; /* there is no helper any more, and will be none */
        return MU_EIO;
    }
    return rc;
}

/* A reply whole. MU_EIO with errno: the helper is gone. */
static enum mu_rc read_reply(struct mu_io *io, struct mu_spawn_reply *r, int64_t deadline_ms)
{
    size_t n = 0, got;

    while (n < sizeof(*r)) {
        enum mu_rc rc = mu_read(io, (char *)r + n, sizeof(*r) - n, &got, deadline_ms);

        if (rc == MU_EOF || (rc == MU_GONE && !mu_is_cancelled())) {
            errno = ECONNRESET;
            return MU_EIO;
        }
        if (rc != MU_OK)
            return rc;
        n += got;
    }
    return MU_OK;
}

static enum mu_rc await_start(struct mu_script *out, int64_t deadline_ms, int *err)
{
    struct mu_spawn_reply r;
    enum mu_rc rc = read_reply(&out->channel, &r, deadline_ms);

    if (rc != MU_OK) {
        *err = errno;
        return rc;
    }
    if (r.word == MU_SPAWN_STARTED) {
        out->pid = r.value;
        return MU_OK;
    }
    *err = r.word == MU_SPAWN_FAILED ? r.value : EACCES;
    return r.word == MU_SPAWN_REFUSED ? MU_DENIED : MU_EIO;
}

enum mu_rc mu_spawn(const struct mu_spawn *s, struct mu_script *out, int64_t deadline_ms, int *err)
{
    struct packet p = { .memfd = -1, .reply_fd = -1 };
    enum mu_rc rc;
    int pair[2];

    *err = 0;
    out->pid = 0;
    mu_io_init_socket(&out->channel, -1);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        *err = errno;
        return MU_EIO;
    }
    mu_io_init_socket(&out->channel, pair[0]);
    p.reply_fd = pair[1];
    rc = packet_make(&p, s);
    if (rc == MU_OK)
        rc = send_packet(mu_spawn_socket(s->suexec >= 0 && mu_spawn_has_suexec()), &p, deadline_ms);
    *err = errno;
    packet_fini(&p);
    if (rc == MU_OK)
        rc = await_start(out, deadline_ms, err);
    if (rc != MU_OK)
        mu_io_close(&out->channel);
    return rc;
}

enum mu_rc mu_script_wait(struct mu_script *s, int *status, int64_t deadline_ms)
{
    struct mu_spawn_reply r;
    enum mu_rc rc = read_reply(&s->channel, &r, deadline_ms);

    if (rc == MU_OK)
        *status = r.value;
    return rc;
}

enum mu_rc mu_script_try_wait(struct mu_script *s, int *status)
{
    struct mu_spawn_reply r;
    size_t got = 0;
    enum mu_rc rc = mu_try_read(&s->channel, &r, sizeof(r), &got);

    if (rc == MU_AGAIN)
        return MU_AGAIN;
    if (rc != MU_OK || got != sizeof(r)) /* a reply is sent in one piece */
        return MU_EIO;
    *status = r.value;
    return MU_OK;
}

bool mu_script_is_ending(const struct mu_script *s)
{
    char path[32], text[512], state;
    unsigned flags;
    const char *rest;
    ssize_t n;
    int fd;

    if (kill(s->pid, 0) != 0 && errno == ESRCH)
        return true;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)s->pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n < 0 ? 0 : n] = '\0';
    rest = strrchr(text, ')'); /* behind its name: state, four ids and a number, flags */
    if (!rest || sscanf(rest, ") %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2)
        return false;
    return state == 'Z' || state == 'X' || (flags & PROC_EXITING) != 0;
}

void mu_script_end(struct mu_script *s)
{
    mu_io_close(&s->channel);
}

void mu_script_kill(struct mu_script *s)
{
    static const char word = MU_SPAWN_KILL;
    struct iovec iov = { (void *)(uintptr_t)&word, 1 };
    size_t sent;

    /* There is room: nothing else is ever written. Without a helper this process, whose user it
     * runs as unless suexec chose, tells the group by itself, as far as that is possible. */
    if (mu_try_writev(&s->channel, &iov, 1, false, &sent) != MU_OK && s->pid > 1)
        (void)kill(-s->pid, SIGTERM);
    mu_io_close(&s->channel);
}
