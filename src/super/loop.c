/*
 * loop: the life of the supervisor. One poll over the signal descriptor, the children's channels
 * and a rehearsal; what happened becomes bits in s->pending, and each bit is acted on when its time
 * has come, so nothing that arrives during a restart is lost. All signals are blocked for the whole
 * life of the process (and across execve), which leaves no handler and no moment between check and
 * sleep.
 */
#include "super/master.h"

#include <base/pipelog.h>
#include <errno.h>
#include <muster/log.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TICK_MS = 1000,
    READY_PATIENCE_MS = 30000, /* for the children of the start: to serve at all, and to be all */
    BLIND_MS = 100,            /* between looks at the channels while out of memory */
    RELIEF_PATIENCE_MS = 5000, /* for the old children to say that they take no more connections */
    LOGGER_PATIENCE_MS = 5000, /* for piped loggers at a full stop */
    REHEARSAL_PATIENCE_MS = 60000,
};

static void fill_signals(sigset_t *set)
{
    static const int handled[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGWINCH, SIGCHLD };

    sigemptyset(set);
    for (size_t i = 0; i < MU_ARRAY_LEN(handled); i++)
        sigaddset(set, handled[i]);
}

bool mu_super_signals(struct mu_super *s)
{
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    sigset_t set;

    fill_signals(&set);
    sigaction(SIGPIPE, &ignore, NULL);
    mu_pipelog_keep();
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return false;
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signal_fd >= 0;
}

/* A terminal that is resized sends WINCH to its foreground group; that is no request to stop. */
static unsigned pending_of(const struct signalfd_siginfo *si)
{
    switch (si->ssi_signo) {
    case SIGTERM:
    case SIGINT:
        return MU_PEND_STOP;
    case SIGWINCH:
        return si->ssi_code == SI_KERNEL ? 0 : MU_PEND_GRACEFUL_STOP;
    case SIGHUP:
        return MU_PEND_RESTART;
    case SIGUSR1:
        return MU_PEND_GRACEFUL;
    default:
        return MU_PEND_CHILD;
    }
}

static void take_signals(struct mu_super *s)
{
    struct signalfd_siginfo si[16];
    ssize_t n;

    while ((n = read(s->signal_fd, si, sizeof(si))) > 0) {
        for (size_t i = 0; i < (size_t)n / sizeof(si[0]); i++)
            s->pending |= pending_of(&si[i]);
    }
}

void mu_super_reap(struct mu_super *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct mu_kid *k = mu_kid_find(s, pid);

        if (k)
            mu_super_child_ended(s, k, status);
        else if (pid == s->rehearsal.pid)
            mu_rehearsal_ended(s, status);
        else if (!mu_groups_child_ended(s, pid, status))
            (void)mu_pipelog_on_exit(pid, status, mu_super_now());
    }
}

enum { GROUPS_MAX = 8 };

/* Descriptors to wait for: [0] signals, [1] the rehearsal, then channels, whose kids are found by
 * pid, then those of each group. */
struct watch {
    struct pollfd *fds;
    pid_t *pids;
    size_t n, cap, kids_end;
    size_t group_end[GROUPS_MAX];
};

static bool watch_grow(struct watch *w, size_t wanted)
{
    size_t cap = wanted * 2;
    struct pollfd *fds;
    pid_t *pids;

    if (w->cap >= wanted)
        return true;
    fds = reallocarray(w->fds, cap, sizeof(*fds));
    pids = reallocarray(w->pids, cap, sizeof(*pids));
    if (fds)
        w->fds = fds;
    if (pids)
        w->pids = pids;
    if (!fds || !pids)
        return false;
    w->cap = cap;
    return true;
}

static bool watch_groups(struct watch *w, struct mu_super *s)
{
    for (size_t i = 0; i < mu_groups_count(s) && i < GROUPS_MAX; i++) {
        size_t wanted = mu_groups_watch(s, i, w->fds + w->n, w->cap - w->n);

        if (wanted > w->cap - w->n) {
            if (!watch_grow(w, w->n + wanted))
                return false;
            wanted = mu_groups_watch(s, i, w->fds + w->n, w->cap - w->n);
        }
        w->n += wanted;
        w->group_end[i] = w->n;
    }
    return true;
}

static bool watch_fill(struct watch *w, struct mu_super *s)
{
    if (!watch_grow(w, s->kids_n + 2))
        return false;
    w->fds[0] = (struct pollfd){ .fd = s->signal_fd, .events = POLLIN };
    w->fds[1] = (struct pollfd){ .fd = s->rehearsal.fd, .events = POLLIN };
    w->n = 2;
    for (size_t i = 0; i < s->kids_n; i++) {
        if (s->kids[i].is_deaf)
            continue;
        w->pids[w->n] = s->kids[i].pid;
        w->fds[w->n++] = (struct pollfd){ .fd = s->kids[i].channel, .events = POLLIN };
    }
    w->kids_end = w->n;
    return watch_groups(w, s);
}

static void watch_hear(const struct watch *w, struct mu_super *s)
{
    size_t at = w->kids_end;

    for (size_t i = 2; i < w->kids_end; i++) {
        struct mu_kid *k = w->fds[i].revents ? mu_kid_find(s, w->pids[i]) : NULL;

        if (k)
            mu_kid_hear(s, k);
    }
    if (w->fds[1].revents)
        mu_rehearsal_hear(s);
    for (size_t i = 0; i < mu_groups_count(s) && i < GROUPS_MAX; at = w->group_end[i++])
        mu_groups_hear(s, i, w->fds + at, w->group_end[i] - at);
}

/* Everybody is asked, when there is no memory to find out who has something to say. */
static void hear_all(struct mu_super *s)
{
    for (size_t i = 0; i < s->kids_n; i++) {
        if (!s->kids[i].is_deaf)
            mu_kid_hear(s, &s->kids[i]);
    }
    mu_rehearsal_hear(s);
    mu_groups_hear_all(s);
}

/* Sleep until something happens, at most so long, and take in what did. */
static void watch_wait(struct watch *w, struct mu_super *s, int timeout_ms)
{
    struct pollfd signals = { .fd = s->signal_fd, .events = POLLIN };
    bool is_full = watch_fill(w, s);

    if (is_full && poll(w->fds, w->n, timeout_ms) < 0)
        return;
    if (!is_full)
        (void)poll(&signals, 1, timeout_ms < BLIND_MS ? timeout_ms : BLIND_MS);
    take_signals(s);
    if (is_full)
        watch_hear(w, s);
    else
        hear_all(s);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int timeout_of(struct mu_super *s, int64_t now_ms)
{
    int64_t until = earlier(s->next_tick_ms, mu_kids_press(s, now_ms));
    int64_t logger = mu_pipelog_tick(now_ms);

    until = earlier(until, mu_groups_tick(s, now_ms));
    if (s->phase == MU_SUPER_GRACEFUL_STOP && s->phase_deadline_ms)
        until = earlier(until, s->phase_deadline_ms);
    if (s->relief_deadline_ms)
        until = earlier(until, s->relief_deadline_ms);
    if (s->hold_until_ms > now_ms)
        until = earlier(until, s->hold_until_ms);
    if (logger >= 0)
        until = earlier(until, now_ms + logger);
    return until <= now_ms ? 0 : (int)earlier(until - now_ms, TICK_MS);
}

static void stop_all(struct mu_super *s, enum mu_stop how)
{
    MU_LIST_FOR(at, &s->generations) {
        mu_generation_stop(s, MU_CONTAINER_OF(at, struct mu_generation, link), how);
    }
}

static void forget_pid_file(struct mu_super *s)
{
    if (!s->pid_path)
        return;
    MU_LOG(NULL, "core", MU_LOG_INFO, "MU0750", "removed PidFile %s (pid=%d)", s->pid_path,
           (int)getpid());
    unlink(s->pid_path);
    free(s->pid_path);
    s->pid_path = NULL;
}

static void begin_stop(struct mu_super *s)
{
    s->pending &= ~(unsigned)(MU_PEND_STOP | MU_PEND_GRACEFUL_STOP);
    mu_rehearsal_give_up(s);
    (void)mu_sd_stopping();
    MU_LOG(NULL, mu_super_module(s), MU_LOG_NOTICE, "MU0751", "caught SIGTERM, shutting down");
    s->phase = MU_SUPER_STOPPING;
    mu_doors_close_all(s);
    stop_all(s, MU_STOP_NOW);
    mu_groups_stop(s, MU_STOP_NOW);
}

static void begin_graceful_stop(struct mu_super *s)
{
    s->pending &= ~(unsigned)MU_PEND_GRACEFUL_STOP;
    mu_rehearsal_give_up(s);
    (void)mu_sd_stopping();
    MU_LOG(NULL, mu_super_module(s), MU_LOG_NOTICE, "MU0752",
           "caught SIGWINCH, shutting down gracefully");
    s->phase = MU_SUPER_GRACEFUL_STOP;
    if (s->settings->graceful_timeout_ms)
        s->phase_deadline_ms = mu_super_now() + s->settings->graceful_timeout_ms;
    mu_doors_close_all(s); /* the children close theirs, so a new server can start at once */
    forget_pid_file(s);
    stop_all(s, MU_STOP_GRACEFUL);
}

void mu_super_announce(const struct mu_super *s)
{
    MU_LOG(NULL, mu_super_module(s), MU_LOG_NOTICE, "MU0753",
           "Muster/" MU_VERSION " configured -- resuming normal operations");
    MU_LOG(NULL, "core", MU_LOG_NOTICE, "MU0754",
           "generation %llu: MPM %s, at most %u children of %u workers",
           (unsigned long long)s->now->number, s->mpm->name, s->limits.children_max,
           s->limits.workers_per_child);
}

/* The children of the start are there (or as many as there will be): the old ones can go. */
static void come_up(struct mu_super *s, int64_t now_ms)
{
    s->is_up = true;
    s->relief_deadline_ms = now_ms + RELIEF_PATIENCE_MS;
    MU_LIST_FOR(at, &s->generations) {
        struct mu_generation *g = MU_CONTAINER_OF(at, struct mu_generation, link);

        if (g != s->now)
            mu_generation_stop(s, g, MU_STOP_GRACEFUL);
    }
    mu_doors_close_unwanted(s);
    mu_takeover_done(s);
    mu_pipelog_retire_unclaimed();
}

/* An old child that has not said so may still accept; one that runs blocking work cannot, but
 * cannot say so either. */
static bool may_old_ones_accept(const struct mu_super *s)
{
    for (size_t i = 0; i < s->kids_n; i++) {
        const struct mu_kid *k = &s->kids[i];

        if (k->generation != s->now && !k->is_leaving && !k->is_deaf)
            return true;
    }
    return false;
}

/* From now on every new connection meets the new configuration: say so to whoever waits for it. */
static void look_whether_relieved(struct mu_super *s, int64_t now_ms)
{
    if (!s->is_up || !s->relief_deadline_ms ||
        (may_old_ones_accept(s) && now_ms < s->relief_deadline_ms))
        return;
    s->relief_deadline_ms = 0;
    mu_super_announce(s);
    (void)mu_sd_ready(NULL);
    if (s->parent_fd >= 0) {
        (void)!write(s->parent_fd, "+", 1);
        close(s->parent_fd);
        s->parent_fd = -1;
    }
    if (s->terminal_fd >= 0)
        close(s->terminal_fd);
    s->terminal_fd = -1;
}

/* While nobody serves, a child that does not become ready has failed as much as one that ends. */
static void give_up_stuck(struct mu_super *s, int64_t now_ms)
{
    for (size_t i = 0; i < s->kids_n; i++) {
        struct mu_kid *k = &s->kids[i];

        if (k->generation != s->now || k->has_kill || now_ms - k->started_ms < READY_PATIENCE_MS)
            continue;
        MU_LOG(NULL, mu_super_module(s), MU_LOG_ERR, "MU0757",
               "child pid %d was not ready to serve within %d seconds: sending it SIGKILL",
               (int)k->pid, READY_PATIENCE_MS / 1000);
        k->has_kill = k->has_term = true;
        kill(k->pid, SIGKILL);
    }
}

static void look_whether_up(struct mu_super *s, int64_t now_ms)
{
    uint32_t ready = 0, starting = 0;

    if (s->is_up || s->phase != MU_SUPER_RUNNING)
        return;
    for (size_t i = 0; i < s->kids_n; i++) {
        const struct mu_kid *k = &s->kids[i];

        if (k->generation != s->now)
            continue;
        ready += k->is_ready;
        starting += !k->is_ready;
    }
    if (!ready) {
        give_up_stuck(s, now_ms);
        return;
    }
    if (!s->up_deadline_ms)
        s->up_deadline_ms = now_ms + READY_PATIENCE_MS;
    if ((!starting && ready >= s->limits.start) || now_ms >= s->up_deadline_ms)
        come_up(s, now_ms);
}

static void act(struct mu_super *s, int64_t now_ms)
{
    if (s->pending & MU_PEND_CHILD) {
        s->pending &= ~(unsigned)MU_PEND_CHILD;
        mu_super_reap(s);
    }
    look_whether_up(s, now_ms);
    look_whether_relieved(s, now_ms);
    if ((s->pending & MU_PEND_STOP) && s->phase != MU_SUPER_STOPPING)
        begin_stop(s);
    if (s->phase != MU_SUPER_RUNNING)
        return;
    if (s->pending & MU_PEND_GRACEFUL_STOP) {
        begin_graceful_stop(s);
    } else if (s->is_up && !s->relief_deadline_ms && !s->rehearsal.pid &&
               (s->pending & (MU_PEND_RESTART | MU_PEND_GRACEFUL))) {
        bool is_hard = s->pending & MU_PEND_RESTART;

        s->pending &= ~(unsigned)(MU_PEND_RESTART | MU_PEND_GRACEFUL);
        mu_rehearsal_start(s, is_hard);
    }
}

static void keep_time(struct mu_super *s, int64_t now_ms)
{
    bool is_tick = now_ms >= s->next_tick_ms;

    if (is_tick) {
        s->next_tick_ms = now_ms + TICK_MS;
        mu_generations_check_locks(s);
    }
    if (s->phase == MU_SUPER_RUNNING)
        mu_super_maintain(s, now_ms, is_tick);
    if (s->phase == MU_SUPER_GRACEFUL_STOP && s->phase_deadline_ms &&
        now_ms >= s->phase_deadline_ms) {
        MU_LOG(NULL, mu_super_module(s), MU_LOG_WARN, "MU0755",
               "GracefulShutdownTimeout is over: stopping the rest at once");
        s->phase_deadline_ms = 0;
        s->phase = MU_SUPER_STOPPING;
        stop_all(s, MU_STOP_NOW);
        mu_groups_stop(s, MU_STOP_NOW);
    }
    if (s->phase == MU_SUPER_GRACEFUL_STOP && !s->kids_n)
        mu_groups_stop(s, MU_STOP_GRACEFUL);
    if (s->rehearsal.pid && now_ms - s->rehearsal.started_ms > REHEARSAL_PATIENCE_MS) {
        MU_LOG(NULL, mu_super_module(s), MU_LOG_ERR, "MU0756",
               "the new configuration was not read within %d seconds: "
               "the server goes on with the old one",
               REHEARSAL_PATIENCE_MS / 1000);
        mu_rehearsal_give_up(s);
        (void)mu_sd_ready(NULL);
    }
    mu_generations_sweep(s);
}

/* Loggers end by end of file, after the last line of the last child. */
static void end_loggers(struct mu_super *s)
{
    int64_t end = mu_super_now() + LOGGER_PATIENCE_MS;
    pid_t pid;

    while (mu_pipelog_close_all() && mu_super_now() < end) {
        struct pollfd p = { .fd = s->signal_fd, .events = POLLIN };

        (void)poll(&p, 1, 100);
        take_signals(s);
        mu_super_reap(s);
    }
    while ((pid = mu_pipelog_any_pid()) > 0) {
        int status;

        kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            continue;
        (void)mu_pipelog_on_exit(pid, 0, mu_super_now());
    }
}

int mu_super_loop(struct mu_super *s)
{
    struct watch w = { 0 };
    int64_t now_ms;

    s->pending |= MU_PEND_CHILD; /* whoever ended while there was no one to be told */
    for (;;) {
        now_ms = mu_super_now();
        act(s, now_ms);
        keep_time(s, now_ms);
        if (s->phase != MU_SUPER_RUNNING && !s->kids_n && mu_groups_are_empty(s))
            break;
        watch_wait(&w, s, timeout_of(s, now_ms));
    }
    free(w.fds);
    free(w.pids);
    forget_pid_file(s);
    end_loggers(s);
    return s->exit_status;
}
