/*
 * spawn_group: the helpers that start programs, as the supervisor owns them. Each generation has a
 * socket for the server's own user's programs and, under root, one for suexec's. The supervisor holds
 * both ends: web children inherit the one, and a helper is started on the other when a request lies
 * there, at first as much as after a helper has died, so nothing that waits is lost and a server that
 * runs no program has no helper. Without children the socket hangs up, and its helper ends.
 */
#include "app/spawn.h"

#include <conf/config.h>
#include <errno.h>
#include <muster/log.h>
#include <muster/module.h>
#include <muster/str.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <super/group.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    STATE_VERSION = 1,
    QUEUE_BYTES = 4 * 1024 * 1024, /* of requests that wait for the helper */
    AGAIN_FIRST_MS = 100,          /* after a helper that ended at once; doubles with each */
    AGAIN_MAX_MS = 5000,
    STEADY_MS = 2000,
};

enum helper_kind { HELPER_PLAIN, HELPER_SUEXEC, HELPER_KINDS };

/** A helper's socket, with or without a helper. */
struct helper {
    struct mu_list link;
    uint64_t generation;
    enum helper_kind kind;
    bool is_ours;  /* this image has the configuration that its children have */
    pid_t pid;     /* 0: none runs */
    int web_fd;    /* the children's end; -1: no child of it will be started any more */
    int helper_fd; /* the helper's end */
    uid_t uid;     /* whom a plain one runs as */
    gid_t gid;
    int64_t started_ms, again_ms; /* not before that */
    int64_t pause_ms;
};

/** As it is written into the state. */
struct saved {
    uint64_t generation;
    int64_t kind, pid, web_fd, helper_fd, uid, gid;
};
struct saved_head {
    uint32_t version, n;
    int64_t slots_fd, event_fd;
};

static const struct mu_group_env *env;
static struct mu_list helpers = { &helpers, &helpers };
static struct mu_spawn_slots *slots;
static int web_fds[HELPER_KINDS] = { -1, -1 }; /* of the present generation */
static bool is_root, is_stopping;

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct helper *helper_at(struct mu_list *at)
{
    return MU_CONTAINER_OF(at, struct helper, link);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void drop(struct helper *h)
{
    close_fd(&h->web_fd);
    close_fd(&h->helper_fd);
    mu_list_remove(&h->link);
    free(h);
}

/* ---- starting ---- */

static const char *name_of(const struct helper *h)
{
    return h->kind == HELPER_PLAIN ? "that starts scripts" : "of suexec";
}

/* What is in the new process: its own socket. */
static int run(struct helper *mine)
{
    struct mu_spawn_helper_opts o = { .fd = mine->helper_fd };

    if (mine->kind == HELPER_SUEXEC)
        o.config = env->config;
    else if (env->identity->user)
        o.identity = env->identity;
    env->leave_supervisor();
    MU_LIST_FOR(at, &helpers) {
        struct helper *h = helper_at(at);

        close_fd(&h->web_fd);
        if (h != mine)
            close_fd(&h->helper_fd);
    }
    mu_spawn_slots_close(slots);
    slots = NULL;
    return mu_spawn_helper(&o);
}

static void start(struct helper *h, int64_t now_ms)
{
    h->started_ms = now_ms;
    fflush(NULL);
    h->pid = fork();
    if (h->pid == 0)
        exit(run(h));
    if (h->pid > 0)
        return;
    MU_LOG(NULL, "spawn", MU_LOG_ERR, "MU1330", "the helper %s cannot be started: %s", name_of(h),
           strerror(errno));
    h->pid = 0;
    h->again_ms = now_ms + AGAIN_MAX_MS;
}

/* Would a helper started now be what its children's requests are for? */
static bool may_start(const struct helper *h)
{
    if (h->pid || is_stopping)
        return false;
    if (h->is_ours)
        return true;
    return h->kind == HELPER_PLAIN && h->uid == env->identity->uid && h->gid == env->identity->gid;
}

/* Room for many requests: a few hundred scripts are nothing unusual. */
static void make_room(int fd)
{
    int bytes = QUEUE_BYTES;

    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

static struct helper *create(enum helper_kind kind)
{
    struct helper *h = calloc(1, sizeof(*h));
    int pair[2];

    if (!h || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        free(h);
        return NULL;
    }
    make_room(pair[0]);
    *h = (struct helper){ .generation = env->generation,
                          .kind = kind,
                          .is_ours = true,
                          .web_fd = pair[0],
                          .helper_fd = pair[1],
                          .uid = env->identity->uid,
                          .gid = env->identity->gid };
    mu_list_append(&helpers, &h->link);
    return h;
}

/* ---- begin ---- */

static bool take(struct mu_str *text, void *out, size_t n)
{
    if (text->n < n)
        return false;
    memcpy(out, text->p, n);
    *text = mu_str_n(text->p + n, text->n - n);
    return true;
}

static enum mu_rc adopt_one(struct mu_str *state)
{
    struct helper *h = calloc(1, sizeof(*h));
    struct saved s;

    if (!h || !take(state, &s, sizeof(s))) {
        free(h);
        return MU_BAD;
    }
    *h = (struct helper){ .generation = s.generation,
                          .kind = s.kind == HELPER_PLAIN ? HELPER_PLAIN : HELPER_SUEXEC,
                          .is_ours = s.generation == env->generation,
                          .pid = (pid_t)s.pid,
                          .web_fd = (int)s.web_fd,
                          .helper_fd = (int)s.helper_fd,
                          .uid = (uid_t)s.uid,
                          .gid = (gid_t)s.gid,
                          .started_ms = now() };
    mu_list_append(&helpers, &h->link);
    /* Of an image that failed after this one: it has no children left, and gets none. */
    if (h->generation > env->generation)
        close_fd(&h->web_fd);
    return MU_OK;
}

static enum mu_rc adopt(struct mu_str state, int *slots_fd, int *event_fd)
{
    struct saved_head head;

    *slots_fd = *event_fd = -1;
    if (!state.n)
        return MU_OK;
    if (!take(&state, &head, sizeof(head)) || head.version != STATE_VERSION)
        return MU_BAD;
    for (uint32_t i = 0; i < head.n; i++) {
        if (adopt_one(&state) != MU_OK)
            return MU_BAD;
    }
    *slots_fd = (int)head.slots_fd;
    *event_fd = (int)head.event_fd;
    return MU_OK;
}

/* Forget what was adopted, without touching it: somebody else gets it back. */
static void unadopt(void)
{
    MU_LIST_FOR_SAFE(at, &helpers) {
        mu_list_remove(at);
        free(helper_at(at));
    }
}

static struct helper *find_present(enum helper_kind kind)
{
    MU_LIST_FOR(at, &helpers) {
        struct helper *h = helper_at(at);

        if (h->kind == kind && h->generation == env->generation && h->web_fd >= 0)
            return h;
    }
    return NULL;
}

static enum mu_rc open_present(enum helper_kind kind)
{
    struct helper *h = find_present(kind);

    if (!h)
        h = create(kind);
    if (!h)
        return MU_EIO;
    web_fds[kind] = h->web_fd;
    /* Later nobody would start it. */
    if (env->is_single && !h->pid)
        start(h, now());
    return MU_OK;
}

static bool wants_suexec(void)
{
    if (!mu_config_suexec(env->config, 0))
        return false;
    if (!is_root)
        mu_config_warn(env->config, "SuexecUserGroup has no effect: the server was not started as "
                                    "root, and scripts run as its own user");
    return is_root;
}

static enum mu_rc begin(const struct mu_group_env *e, struct mu_str state)
{
    int slots_fd, event_fd;

    env = e;
    is_root = geteuid() == 0;
    if (adopt(state, &slots_fd, &event_fd) != MU_OK) {
        unadopt();
        return mu_config_error(e->config,
                               "the helpers that start scripts cannot be taken over: the "
                               "binary before this one wrote something else");
    }
    slots = mu_spawn_slots_open(slots_fd, event_fd);
    if (!slots || open_present(HELPER_PLAIN) != MU_OK ||
        (wants_suexec() && open_present(HELPER_SUEXEC) != MU_OK)) {
        unadopt();
        return mu_config_error(e->config, "no script could be started: %s", strerror(errno));
    }
    mu_spawn_slots_use(slots);
    return MU_OK;
}

/* ---- the loop ---- */

static size_t watch_helpers(struct pollfd *fds, size_t room)
{
    int64_t now_ms = now();
    size_t n = 0;

    MU_LIST_FOR(at, &helpers) {
        const struct helper *h = helper_at(at);

        if (h->pid || h->again_ms > now_ms)
            continue;
        if (n < room)
            fds[n] = (struct pollfd){ .fd = h->helper_fd, .events = POLLIN };
        n++;
    }
    return n;
}

static struct helper *find_fd(int helper_fd)
{
    MU_LIST_FOR(at, &helpers) {
        if (helper_at(at)->helper_fd == helper_fd)
            return helper_at(at);
    }
    return NULL;
}

static void hear(const struct pollfd *fds, size_t n, int64_t now_ms)
{
    for (size_t i = 0; i < n; i++) {
        struct helper *h = fds[i].revents ? find_fd(fds[i].fd) : NULL;

        if (!h)
            continue;
        if ((fds[i].revents & POLLHUP) || !may_start(h))
            drop(h); /* nobody is left to answer, or nobody is left who could */
        else
            start(h, now_ms);
    }
}

static void note_end(const struct helper *h, int status)
{
    if (WIFSIGNALED(status))
        MU_LOG(NULL, "spawn", MU_LOG_ERR, "MU1331",
               "the helper %s, pid %d, was ended by signal %d: its scripts are ended, another one "
               "is started for the next",
               name_of(h), (int)h->pid, WTERMSIG(status));
    else if (WEXITSTATUS(status))
        MU_LOG(NULL, "spawn", MU_LOG_ERR, "MU1332", "the helper %s, pid %d, failed with status %d",
               name_of(h), (int)h->pid, WEXITSTATUS(status));
}

static bool child_ended(pid_t pid, int status, int64_t now_ms)
{
    MU_LIST_FOR(at, &helpers) {
        struct helper *h = helper_at(at);

        if (h->pid != pid)
            continue;
        note_end(h, status);
        h->pid = 0;
        if (is_stopping) {
            drop(h);
            return true;
        }
        if (now_ms - h->started_ms >= STEADY_MS)
            h->pause_ms = 0;
        else
            h->pause_ms = h->pause_ms ? h->pause_ms * 2 : AGAIN_FIRST_MS;
        if (h->pause_ms > AGAIN_MAX_MS)
            h->pause_ms = AGAIN_MAX_MS;
        h->again_ms = now_ms + (h->pause_ms > AGAIN_FIRST_MS ? h->pause_ms : 0);
        return true;
    }
    return false;
}

static void kid_ended(pid_t pid, int64_t now_ms)
{
    (void)now_ms;
    mu_spawn_slots_forget(slots, pid);
}

static int64_t tick(int64_t now_ms)
{
    int64_t next = INT64_MAX;

    MU_LIST_FOR(at, &helpers) {
        const struct helper *h = helper_at(at);

        if (!h->pid && h->again_ms > now_ms && h->again_ms < next)
            next = h->again_ms;
    }
    return next;
}

/* They end by themselves, when the last child has. */
static void stop(enum mu_stop how, int64_t now_ms)
{
    (void)how;
    (void)now_ms;
    is_stopping = true;
    MU_LIST_FOR_SAFE(at, &helpers) {
        struct helper *h = helper_at(at);

        close_fd(&h->web_fd);
        if (!h->pid)
            drop(h);
    }
}

static bool is_empty(void)
{
    MU_LIST_FOR(at, &helpers) {
        if (helper_at(at)->pid)
            return false;
    }
    return true;
}

static void settled(void)
{
    MU_LIST_FOR(at, &helpers) {
        if (helper_at(at)->generation != env->generation)
            close_fd(&helper_at(at)->web_fd);
    }
}

/* ---- a restart ---- */

static void holds(void (*visit)(void *arg, pid_t pid, int fd), void *arg)
{
    int fd, event_fd;

    MU_LIST_FOR(at, &helpers) {
        visit(arg, helper_at(at)->pid, helper_at(at)->web_fd);
        visit(arg, 0, helper_at(at)->helper_fd);
    }
    mu_spawn_slots_fds(slots, &fd, &event_fd);
    visit(arg, 0, fd);
    visit(arg, 0, event_fd);
}

static enum mu_rc save(struct mu_buf *out)
{
    struct saved_head head = { .version = STATE_VERSION };
    int fd, event_fd;

    MU_LIST_FOR(at, &helpers)
        head.n++;
    mu_spawn_slots_fds(slots, &fd, &event_fd);
    head.slots_fd = fd;
    head.event_fd = event_fd;
    mu_buf_add(out, mu_str_n((const char *)&head, sizeof(head)));
    MU_LIST_FOR(at, &helpers) {
        const struct helper *h = helper_at(at);
        struct saved s = { .generation = h->generation,
                           .kind = h->kind,
                           .pid = h->pid,
                           .web_fd = h->web_fd,
                           .helper_fd = h->helper_fd,
                           .uid = h->uid,
                           .gid = h->gid };

        mu_buf_add(out, mu_str_n((const char *)&s, sizeof(s)));
    }
    return out->is_failed ? MU_NOMEM : MU_OK;
}

static void keep_one(void *arg, pid_t pid, int fd)
{
    (void)pid;
    if (fd >= 0)
        mu_set_cloexec(fd, !*(const bool *)arg);
}

static void keep(bool is_kept)
{
    holds(keep_one, &is_kept);
}

static void in_child(void)
{
    MU_LIST_FOR(at, &helpers) {
        struct helper *h = helper_at(at);

        close_fd(&h->helper_fd);
        if (h->web_fd != web_fds[h->kind])
            close_fd(&h->web_fd);
    }
}

int mu_spawn_socket(bool is_suexec)
{
    return web_fds[is_suexec ? HELPER_SUEXEC : HELPER_PLAIN];
}

bool mu_spawn_has_suexec(void)
{
    return web_fds[HELPER_SUEXEC] >= 0;
}

const struct mu_group mu_spawn_group = { .name = "spawn",
                                         .begin = begin,
                                         .watch = watch_helpers,
                                         .hear = hear,
                                         .child_ended = child_ended,
                                         .kid_ended = kid_ended,
                                         .tick = tick,
                                         .stop = stop,
                                         .is_empty = is_empty,
                                         .holds = holds,
                                         .settled = settled,
                                         .save = save,
                                         .keep = keep,
                                         .in_child = in_child };
