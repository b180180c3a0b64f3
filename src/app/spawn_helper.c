/*
 * spawn_helper: a process with one thread that does nothing but start programs, know their ends and
 * end them. It waits for requests, for the exit of each program (pidfd) and for each reply socket to
 * hang up, which means that nobody wants the program any more: if it runs, its process group gets
 * TERM, and KILL after three seconds. The helper ends when the last process that could ask has gone and the
 * last program has ended. suexec's helper is the same, with root and a list of targets.
 */
#include "app/spawn.h"

#include <errno.h>
#include <muster/log.h>
#include <muster/str.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    KILL_AFTER_MS = 3000,
    EVENTS = 64,
    TURN_REQUESTS = 16, /* before looking at ends again */
    FDS_PLAIN = 4,      /* reply, 0, 1, 2 */
    FDS_MEMFD = 5,
    FDS_ROOM = 16, /* more than anybody may send; the kernel closes what is beyond */
};

enum source_kind { SOURCE_REPLY, SOURCE_START, SOURCE_EXIT };

struct program;
struct source {
    enum source_kind kind;
    struct program *of;
};

struct program {
    struct mu_list link; /* helper.programs, or .done */
    pid_t pid;           /* and process group */
    int pidfd, reply_fd; /* -1: closed */
    int start_fd;        /* tells whether it runs; -1: it does, or never will */
    bool has_ended;      /* and was reaped */
    int64_t kill_ms;     /* its group was sent TERM: when it is sent KILL; 0: it was not */
    const struct mu_identity *target;
    struct source exit, start, reply;
};

struct target {
    bool is_known, is_good;
    struct mu_suexec_target t;
};

struct helper {
    const struct mu_spawn_helper_opts *o;
    int epoll_fd;
    bool is_closed; /* nobody is left who could ask */
    struct mu_list programs, done;
    struct mu_arena *arena;
    struct target *targets; /* suexec's list */
    size_t targets_n;
    pid_t *errands; /* processes that signal as somebody; on the heap */
    size_t errands_n;
};

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ---- requests ---- */

static void close_all(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
}

static size_t descriptors_of(struct msghdr *m, int *fds)
{
    size_t n = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        size_t k = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        memcpy(fds + n, CMSG_DATA(c), k * sizeof(int)); /* no more than there was room for */
        n += k;
    }
    return n;
}

/* One that can hang up; above all not the asking end of the helper's own socket. */
static bool is_reply_socket(int fd)
{
    int type = 0, domain = 0;
    socklen_t n = sizeof(type);

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 && domain == AF_UNIX;
}

/* MU_EOF: nobody is left; MU_AGAIN: nothing is there; MU_BAD: what came was none, and is gone. */
static enum mu_rc receive(struct helper *h, char *text, struct mu_spawn_request *rq)
{
    union {
        char bytes[CMSG_SPACE(FDS_ROOM * sizeof(int))];
        struct cmsghdr head;
    } control;
    struct iovec iov[2] = { { &rq->head, sizeof(rq->head) }, { text, MU_SPAWN_INLINE_MAX } };
    struct msghdr m = {
        .msg_iov = iov, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof(control)
    };
    ssize_t n = recvmsg(h->o->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    int fds[FDS_ROOM];
    size_t fds_n = n >= 0 ? descriptors_of(&m, fds) : 0;

    if (n < 0)
        return MU_AGAIN;
    if (n >= (ssize_t)sizeof(rq->head) && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) &&
        (fds_n == FDS_PLAIN || fds_n == FDS_MEMFD) &&
        mu_spawn_head_is_good(&rq->head, (size_t)n - sizeof(rq->head), fds_n == FDS_MEMFD) &&
        is_reply_socket(fds[0])) {
        rq->text = fds_n == FDS_PLAIN ? text : NULL;
        rq->text_fd = fds_n == FDS_PLAIN ? -1 : fds[FDS_PLAIN];
        rq->reply_fd = fds[0];
        memcpy(rq->fd, fds + 1, sizeof(rq->fd));
        return MU_OK;
    }
    close_all(fds, fds_n);
    if (n == 0 && fds_n == 0) { /* an empty packet looks like the end, and is not */
        struct pollfd p = { .fd = h->o->fd };

        if (poll(&p, 1, 0) > 0 && (p.revents & POLLHUP))
            return MU_EOF;
    }
    return MU_BAD;
}

static void answer(int fd, enum mu_spawn_word word, int value)
{
    struct mu_spawn_reply r = { .word = word, .value = value };

    /* There is room: nothing but two replies is ever written. */
    (void)!send(fd, &r, sizeof(r), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static bool has_hung_up(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLRDHUP };

    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

static bool watch(struct helper *h, int fd, uint32_t events, struct source *s)
{
    struct epoll_event e = { .events = events, .data = { .ptr = s } };

    return epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, fd, &e) == 0;
}

/* NULL with the reason in *why. */
static const struct mu_suexec_target *target_of(struct helper *h, int32_t index,
                                                struct mu_spawn_reply *why)
{
    struct target *t;

    *why = (struct mu_spawn_reply){ .word = MU_SPAWN_REFUSED };
    if (index < 0 || (size_t)index >= h->targets_n)
        return NULL;
    t = &h->targets[index];
    if (!t->is_known)
        t->is_good = mu_suexec_resolve(h->o->config, index, h->arena, &t->t) == MU_OK;
    t->is_known = true;
    return t->is_good ? &t->t : NULL;
}

/* Taken out by name: a process on its way to execve has a copy, with which closing leaves it in. */
static void unwatch(struct helper *h, int *fd)
{
    if (*fd >= 0)
        epoll_ctl(h->epoll_fd, EPOLL_CTL_DEL, *fd, NULL);
    close_fd(fd);
}

static void forget(struct helper *h, struct program *p)
{
    unwatch(h, &p->pidfd);
    unwatch(h, &p->start_fd);
    unwatch(h, &p->reply_fd);
    mu_list_remove(&p->link);
    mu_list_append(&h->done, &p->link); /* events that name it may be in hand still */
}

static bool watch_program(struct helper *h, struct program *p)
{
    p->exit = (struct source){ SOURCE_EXIT, p };
    p->start = (struct source){ SOURCE_START, p };
    p->reply = (struct source){ SOURCE_REPLY, p };
    return p->pidfd >= 0 && watch(h, p->pidfd, EPOLLIN, &p->exit) &&
           watch(h, p->reply_fd, EPOLLRDHUP, &p->reply) &&
           (p->start_fd < 0 || watch(h, p->start_fd, EPOLLIN, &p->start));
}

/* It was forked: from now on there is somebody who knows its end. */
static void adopt(struct helper *h, struct mu_spawn_request *rq, struct program *made,
                  const struct mu_suexec_target *t)
{
    struct program *p = malloc(sizeof(*p));
    pid_t pid = made->pid;

    made->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    made->target = t ? &t->id : NULL;
    if (p) {
        *p = *made;
        p->reply_fd = rq->reply_fd;
        mu_list_append(&h->programs, &p->link);
        if (watch_program(h, p)) {
            if (p->start_fd < 0)
                answer(rq->reply_fd, MU_SPAWN_STARTED, pid);
            rq->reply_fd = -1;
            return;
        }
        epoll_ctl(h->epoll_fd, EPOLL_CTL_DEL, p->reply_fd, NULL);
        p->reply_fd = -1; /* the request's to answer and close */
        forget(h, p);
    } else {
        close_fd(&made->pidfd);
        close_fd(&made->start_fd);
    }
    kill(-pid, SIGKILL);
    kill(pid, SIGKILL); /* it may lead no group yet */
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    answer(rq->reply_fd, MU_SPAWN_FAILED, EMFILE);
}

static void carry_out(struct helper *h, struct mu_spawn_request *rq)
{
    const struct mu_suexec_target *t = NULL;
    struct mu_spawn_reply why = { .word = MU_SPAWN_FAILED, .value = ECANCELED };
    struct program made = { .pid = 0, .start_fd = -1 };

    /* Whoever gave up while the request waited wants nothing any more. */
    if (!has_hung_up(rq->reply_fd)) {
        if (!h->o->config || (t = target_of(h, rq->head.suexec, &why)) != NULL)
            made.pid = mu_spawn_process(rq, t, &why, &made.start_fd);
    }
    if (made.pid)
        adopt(h, rq, &made, t);
    else
        answer(rq->reply_fd, (enum mu_spawn_word)why.word, why.value);
    close_all(rq->fd, 3);
    close_fd(&rq->text_fd);
    close_fd(&rq->reply_fd);
}

static void take_requests(struct helper *h)
{
    static char text[MU_SPAWN_INLINE_MAX];
    struct mu_spawn_request rq;

    for (int i = 0; i < TURN_REQUESTS; i++) {
        switch (receive(h, text, &rq)) {
        case MU_OK:
            carry_out(h, &rq);
            break;
        case MU_BAD:
            MU_LOG(NULL, "spawn", MU_LOG_ERR, "MU1310",
                   "a process of the server sent nonsense instead of a request: ignored");
            break;
        case MU_EOF:
            h->is_closed = true;
            epoll_ctl(h->epoll_fd, EPOLL_CTL_DEL, h->o->fd, NULL);
            return;
        default:
            return;
        }
    }
}

/* ---- ends ---- */

static void reap_errands(struct helper *h)
{
    size_t left = 0;

    for (size_t i = 0; i < h->errands_n; i++) {
        if (waitpid(h->errands[i], NULL, WNOHANG) == 0)
            h->errands[left++] = h->errands[i];
    }
    h->errands_n = left;
}

/*
 * With the rights of the user alone: a number that has become somebody else's is out of reach. Nobody
 * waits for the process that does it, since its user can stop it.
 */
static void signal_as(struct helper *h, const struct program *p, int sig)
{
    pid_t *v = reallocarray(h->errands, h->errands_n + 1, sizeof(*v));
    uid_t uid = p->target->uid;
    pid_t pid;

    if (!v)
        return;
    h->errands = v;
    pid = fork();
    if (pid == 0)
        _exit(setresuid(uid, uid, uid) == 0 && kill(-p->pid, sig) == 0 ? 0 : 1);
    if (pid > 0)
        v[h->errands_n++] = pid;
}

/* Signal its process group; suexec's as its user. Returns: is there such a group? */
static bool signal_group(struct helper *h, const struct program *p, int sig)
{
    /* The number of a leader that was reaped belongs to its group as long as that has members. A
     * process of that number is another one, and so is its group. */
    if (p->has_ended && (kill(p->pid, 0) == 0 || errno != ESRCH))
        return false;
    if (kill(-p->pid, p->target ? 0 : sig) != 0 && errno != EPERM)
        return false;
    if (p->target && sig)
        signal_as(h, p, sig);
    return true;
}

/* Is it known whether it runs? Then whoever asked is told. */
static void look_at_start(struct helper *h, struct program *p)
{
    struct mu_spawn_reply why;
    enum mu_rc rc = p->start_fd >= 0 ? mu_spawn_has_begun(p->start_fd, &why) : MU_AGAIN;

    if (rc == MU_AGAIN)
        return;
    unwatch(h, &p->start_fd);
    if (p->reply_fd < 0)
        return;
    if (rc == MU_OK) {
        answer(p->reply_fd, MU_SPAWN_STARTED, p->pid);
    } else {
        answer(p->reply_fd, (enum mu_spawn_word)why.word, why.value);
        unwatch(h, &p->reply_fd);
    }
}

static void has_exited(struct helper *h, struct program *p)
{
    int status = 0;

    if (p->has_ended || waitpid(p->pid, &status, WNOHANG) == 0)
        return;
    look_at_start(h, p); /* with the process gone, the pipe has an end */
    p->has_ended = true;
    unwatch(h, &p->pidfd);
    unwatch(h, &p->start_fd);
    if (p->reply_fd >= 0)
        answer(p->reply_fd, MU_SPAWN_ENDED, status);
    /* Its group may still be told to end, unless that was done. */
    if (p->reply_fd < 0 && (!p->kill_ms || !signal_group(h, p, 0)))
        forget(h, p);
}

/* Was it said, before the end, that nothing of it is to live on? */
static bool is_killed(const struct program *p)
{
    char word;

    return recv(p->reply_fd, &word, 1, MSG_DONTWAIT) == 1 && word == MU_SPAWN_KILL;
}

/* Nobody waits for it any more. */
static void is_unwanted(struct helper *h, struct program *p)
{
    bool has_left;

    if (p->reply_fd < 0)
        return;
    has_left = p->has_ended && !is_killed(p);
    unwatch(h, &p->reply_fd);
    look_at_start(h, p);
    if (p->start_fd >= 0)
        kill(p->pid, SIGKILL); /* it leads no group yet, and is not reaped: the number is its own */
    if (has_left || (!signal_group(h, p, SIGTERM) && p->has_ended))
        forget(h, p);
    else
        p->kill_ms = now_ms() + KILL_AFTER_MS;
}

/* Returns how long until the next one is due, -1: none is. */
static int end_stubborn(struct helper *h)
{
    int64_t now = now_ms(), next = -1;

    MU_LIST_FOR_SAFE(at, &h->programs) {
        struct program *p = MU_CONTAINER_OF(at, struct program, link);

        if (!p->kill_ms)
            continue;
        if (p->kill_ms > now) {
            next = next < 0 || p->kill_ms - now < next ? p->kill_ms - now : next;
            continue;
        }
        (void)signal_group(h, p, SIGKILL);
        p->kill_ms = 0;
        if (p->has_ended)
            forget(h, p); /* else its end is awaited still */
    }
    return (int)next;
}

static void free_done(struct helper *h)
{
    MU_LIST_FOR_SAFE(at, &h->done) {
        mu_list_remove(at);
        free(MU_CONTAINER_OF(at, struct program, link));
    }
}

/* ---- its life ---- */

static void handle(struct helper *h, const struct epoll_event *e)
{
    const struct source *s = e->data.ptr;

    if (!s)
        take_requests(h);
    else if (s->kind == SOURCE_EXIT)
        has_exited(h, s->of);
    else if (s->kind == SOURCE_START)
        look_at_start(h, s->of);
    else
        is_unwanted(h, s->of);
}

static bool helper_init(struct helper *h, const struct mu_spawn_helper_opts *o)
{
    sigset_t all;
    char err[256];

    *h = (struct helper){ .o = o };
    mu_list_init(&h->programs);
    mu_list_init(&h->done);
    prctl(PR_SET_NAME, o->config ? "muster-suexec" : "muster-cgi");
    /* A terminal's signals are for the supervisor; TERM and what a fault raises are let through. */
    sigfillset(&all);
    sigdelset(&all, SIGTERM);
    sigprocmask(SIG_SETMASK, &all, NULL);
    if (o->identity && mu_identity_become(o->identity, err, sizeof(err)) != MU_OK) {
        MU_LOG(NULL, "spawn", MU_LOG_EMERG, "MU1311", "the helper that starts scripts %s", err);
        return false;
    }
    if (!o->identity && !o->config && !mu_capabilities_drop())
        return false;
    if (chdir("/") != 0)
        return false;
    h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return h->epoll_fd >= 0 && watch(h, o->fd, EPOLLIN, NULL);
}

static bool list_targets(struct helper *h)
{
    while (h->o->config && mu_config_suexec(h->o->config, (int)h->targets_n))
        h->targets_n++;
    h->arena = mu_arena_create(0);
    h->targets = calloc(h->targets_n + 1, sizeof(*h->targets));
    return h->arena && h->targets;
}

int mu_spawn_helper(const struct mu_spawn_helper_opts *o)
{
    struct epoll_event events[EVENTS];
    struct helper h;
    int wait_ms = -1;

    if (!helper_init(&h, o) || !list_targets(&h))
        return 1;
    while (!h.is_closed || !mu_list_empty(&h.programs)) {
        int n = epoll_wait(h.epoll_fd, events, EVENTS, wait_ms);

        for (int i = 0; i < n; i++)
            handle(&h, &events[i]);
        wait_ms = end_stubborn(&h);
        reap_errands(&h);
        free_done(&h);
    }
    close(h.epoll_fd);
    free(h.targets);
    free(h.errands);
    mu_arena_destroy(h.arena);
    return 0;
}
