/*
 * rehearse: a restart is tried out before anything of the running server changes. A child executes
 * the installed binary with --rehearse: it reads the configuration, finds its MPM, opens the
 * listening sockets that are new, and hands back the resolved tree and those sockets over a socket
 * pair. Whatever goes wrong there costs a log entry; the server goes on. Only a rehearsal that is
 * complete and ended well is followed by the re-exec, with the very tree that was tried.
 */
#include "super/master.h"
#include "super/state.h"

#include <errno.h>
#include <fcntl.h>
#include <muster/log.h>
#include <muster/str.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Records on the socket pair (SOCK_SEQPACKET, so each arrives whole): a letter, then its
 * content. */
enum {
    SAY_DOORS = 'D',   /* to the rehearsal: {int64 fd, bucket}…, inherited descriptors */
    SAY_DOOR = 'L',    /* back: a socket it has opened, with int64 bucket */
    SAY_TREE = 'T',    /* back: a memfd with the resolved tree; the last record */
    SAY_WARNING = 'W', /* back: a message */
    SAY_ERROR = 'E',
    RECORD_MAX = 32768,
};

static bool say(int fd, char what, const void *p, size_t n, int pass)
{
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec iov[2] = { { .iov_base = &what, .iov_len = 1 },
                            { .iov_base = (void *)(uintptr_t)p, .iov_len = n } };
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

    if (pass >= 0) {
        struct cmsghdr *c;

        memset(control, 0, sizeof(control));
        m.msg_control = control;
        m.msg_controllen = sizeof(control);
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &pass, sizeof(int));
    }
    return sendmsg(fd, &m, MSG_NOSIGNAL) >= 0;
}

/* One record. Returns its length, 0 at the end, -1 with errno; *pass is a descriptor or -1. */
static ssize_t hear(int fd, char *buf, size_t cap, int flags, int *pass)
{
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec iov = { .iov_base = buf, .iov_len = cap };
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
    };
    ssize_t n = recvmsg(fd, &m, flags | MSG_CMSG_CLOEXEC);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

    *pass = -1;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
        c->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(pass, CMSG_DATA(c), sizeof(int));
    return n;
}

/* The rehearsing side. */

static void report_back(void *arg, bool is_error, const char *text)
{
    const struct mu_super *s = arg;
    size_t n = strlen(text);

    (void)say(s->opts->rehearse_fd, is_error ? SAY_ERROR : SAY_WARNING, text,
              n < RECORD_MAX ? n : RECORD_MAX - 1, -1);
}

static bool inherit_doors(struct mu_super *s)
{
    char buf[RECORD_MAX];
    struct mu_state_listener l;
    int pass;
    ssize_t n = hear(s->opts->rehearse_fd, buf, sizeof(buf), 0, &pass);
    struct mu_str rest;

    if (n < 1 || buf[0] != SAY_DOORS)
        return false;
    rest = mu_str_n(buf + 1, (size_t)n - 1);
    while (mu_state_head(&rest, &l, sizeof(l))) {
        if (!mu_doors_add(&s->doors, &s->doors_n, (int)l.fd, (uint32_t)l.bucket))
            return false;
        mu_set_cloexec((int)l.fd, true);
    }
    return true;
}

static bool answer(struct mu_super *s, size_t inherited)
{
    struct mu_buf tree = { 0 };
    bool is_good = true;
    int fd;

    for (size_t i = inherited; is_good && i < s->doors_n; i++) {
        int64_t bucket = s->doors[i].listener.bucket;

        is_good =
            say(s->opts->rehearse_fd, SAY_DOOR, &bucket, sizeof(bucket), s->doors[i].listener.fd);
    }
    mu_config_dump_tree(s->config, &tree);
    fd = is_good && !tree.is_failed ? mu_state_to_fd(mu_buf_str(&tree)) : -1;
    is_good = fd >= 0 && say(s->opts->rehearse_fd, SAY_TREE, NULL, 0, fd);
    if (fd >= 0)
        close(fd);
    mu_buf_fini(&tree);
    return is_good;
}

int mu_rehearse(struct mu_super *s)
{
    size_t inherited;

    if (!inherit_doors(s))
        return 1;
    inherited = s->doors_n;
    if (mu_super_load(s, MU_STR_NULL, report_back, s) != MU_OK || mu_doors_open(s) != MU_OK)
        return 1;
    return answer(s, inherited) ? 0 : 1;
}

/* The running server's side. */

static void fini(struct mu_rehearsal *r)
{
    if (r->fd >= 0)
        close(r->fd);
    if (r->tree_fd >= 0)
        close(r->tree_fd);
    for (size_t i = 0; i < r->doors_n; i++)
        close(r->doors[i].listener.fd);
    free(r->doors);
    mu_buf_fini(&r->messages);
    *r = (struct mu_rehearsal){ .fd = -1, .tree_fd = -1 };
}

/* In the forked child: the installed binary, as it was called first, with one option more. */
static void become_rehearsal(struct mu_super *s, int fd)
{
    char option[64], text[512];
    char **argv;

    mu_signals_default();
    snprintf(option, sizeof(option), "--rehearse=%d", fd);
    argv = mu_reexec_argv(s, option);
    if (argv && chdir(s->cwd) != 0) {
        snprintf(text, sizeof(text), "cannot change to the directory of the start, %s: %s", s->cwd,
                 strerror(errno));
    } else {
        mu_set_cloexec(fd, false);
        for (size_t i = 0; i < s->doors_n; i++)
            mu_set_cloexec(s->doors[i].listener.fd, false);
        if (argv)
            execv(s->exe, argv);
        snprintf(text, sizeof(text), "cannot execute %s: %s", s->exe, strerror(errno));
    }
    (void)say(fd, SAY_ERROR, text, strlen(text), -1);
    _exit(1);
}

static bool tell_doors(struct mu_super *s, int fd)
{
    struct mu_state_listener *l = calloc(s->doors_n + 1, sizeof(*l));
    bool is_good;

    if (!l)
        return false;
    for (size_t i = 0; i < s->doors_n; i++)
        l[i] = (struct mu_state_listener){ .fd = s->doors[i].listener.fd,
                                           .bucket = s->doors[i].listener.bucket };
    is_good = say(fd, SAY_DOORS, l, s->doors_n * sizeof(*l), -1);
    free(l);
    return is_good;
}

void mu_rehearsal_start(struct mu_super *s, bool is_hard)
{
    struct mu_rehearsal *r = &s->rehearsal;
    int pair[2];

    mu_rehearsal_give_up(s);
    MU_LOG(NULL, mu_super_module(s), MU_LOG_NOTICE, "MU0760",
           is_hard ? "SIGHUP received: trying the new configuration before restarting"
                   : "Graceful restart requested: trying the new configuration");
    (void)mu_sd_reloading();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        goto failed;
    r->fd = pair[0];
    r->is_hard = is_hard;
    r->started_ms = mu_super_now();
    fflush(NULL);
    r->pid = tell_doors(s, pair[0]) ? fork() : -1;
    if (r->pid == 0)
        become_rehearsal(s, pair[1]);
    close(pair[1]);
    if (r->pid > 0)
        return;
    r->pid = 0;
    fini(r);
failed:
    MU_LOG(NULL, mu_super_module(s), MU_LOG_ERR, "MU0761",
           "cannot restart: %s; the server goes on with the old configuration", strerror(errno));
    (void)mu_sd_ready(NULL);
}

void mu_rehearsal_give_up(struct mu_super *s)
{
    struct mu_rehearsal *r = &s->rehearsal;

    if (r->pid > 0) {
        kill(r->pid, SIGKILL);
        while (waitpid(r->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    fini(r);
}

static void take_message(struct mu_rehearsal *r, bool is_error, struct mu_str text)
{
    if (is_error)
        r->has_failed = true;
    if (r->messages.n)
        mu_buf_addc(&r->messages, '\n');
    mu_buf_add(&r->messages, text);
}

static void take_record(struct mu_rehearsal *r, struct mu_str record, int pass)
{
    struct mu_str rest = mu_str_sub(record, 1, record.n);
    int64_t bucket;

    switch (record.p[0]) {
    case SAY_ERROR:
    case SAY_WARNING:
        take_message(r, record.p[0] == SAY_ERROR, rest);
        break;
    case SAY_DOOR:
        if (pass < 0 || !mu_state_head(&rest, &bucket, sizeof(bucket)) ||
            !mu_doors_add(&r->doors, &r->doors_n, pass, (uint32_t)bucket))
            break;
        return;
    case SAY_TREE:
        if (pass < 0 || r->tree_fd >= 0)
            break;
        r->tree_fd = pass;
        r->is_complete = true;
        return;
    default:
        r->has_failed = true;
        break;
    }
    if (pass >= 0)
        close(pass);
}

void mu_rehearsal_hear(struct mu_super *s)
{
    struct mu_rehearsal *r = &s->rehearsal;
    static char buf[RECORD_MAX + 1];
    ssize_t n;
    int pass;

    while (r->fd >= 0) {
        n = hear(r->fd, buf, sizeof(buf), MSG_DONTWAIT, &pass);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) { /* its side is closed; its exit status comes with SIGCHLD */
            close(r->fd);
            r->fd = -1;
            return;
        }
        take_record(r, mu_str_n(buf, (size_t)n), pass);
    }
}

/* What the rehearsal said, a line each. */
static void log_messages(struct mu_super *s, enum mu_log_level level)
{
    struct mu_str rest = mu_buf_str(&s->rehearsal.messages), line;

    while (rest.n && mu_str_split(&rest, '\n', &line))
        MU_LOG(NULL, mu_super_module(s), level, "MU0762", "%.*s", MU_FMT(line));
}

void mu_rehearsal_ended(struct mu_super *s, int status)
{
    struct mu_rehearsal *r = &s->rehearsal;

    mu_rehearsal_hear(s); /* what it said last is still in the socket */
    r->pid = 0;
    if (status == 0 && r->is_complete && !r->has_failed) {
        log_messages(s, MU_LOG_WARN);
        mu_reexec(s); /* comes back only if it failed, and has said why */
    } else {
        log_messages(s, MU_LOG_ERR);
        if (WIFSIGNALED(status))
            MU_LOG(NULL, mu_super_module(s), MU_LOG_ERR, "MU0763",
                   "trying the new configuration ended with signal %d", WTERMSIG(status));
        MU_LOG(NULL, mu_super_module(s), MU_LOG_ERR, "MU0764",
               "the new configuration cannot be used: the server goes on with the old one");
    }
    fini(r);
    (void)mu_sd_ready(NULL);
}
