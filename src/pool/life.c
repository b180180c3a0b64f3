/*
 * life: what becomes of a process between its start and its end. Whether it accepts is found out by
 * a connection that says nothing: while it stands in the socket's queue the process is starting or
 * at work, and when the process has taken it and closed it, it is back at accept. So the supervisor
 * believes no child that a process is free, and needs nothing of the application but that it takes
 * connections one after the other. A process is told to end only when no request has it, and its
 * slot is out of the children's reach before the signal goes out.
 */
#include "pool/keeper.h"

#include <errno.h>
#include <muster/log.h>
#include <muster/str.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ACCEPTED_MS = 200,   /* it took the probe and neither closed it nor ended: it serves */
    HOLD_FIRST_MS = 100, /* after a process that ended at once; doubles with each */
    HOLD_MAX_MS = 15000,
    AT_ONCE_MS = 1000,   /* a process that crashes within that time has failed to start */
    STEADY_MS = 3000,    /* one that serves so long ends a series of failures */
    SERIES_MS = 60000,   /* and so does a time without any, behind what a start may take */
    GRACE_MS = 5000,     /* StopTimeout of a pool that is in no configuration any more */
    GRACE_MAX_MS = 8000, /* when the server stops: before the supervisor's own patience ends */
};

int64_t mu_pool_grace_ms(const struct mu_pool *p)
{
    int64_t ms = p->conf ? p->conf->stop_timeout_ms : GRACE_MS;

    return mu_keeper.stopping != MU_STOP_NONE && ms > GRACE_MAX_MS ? GRACE_MAX_MS : ms;
}

/* ---- probing ---- */

static void end_probe(struct mu_proc *x)
{
    if (x->probe_fd >= 0)
        close(x->probe_fd);
    x->probe_fd = -1;
    x->accepted_ms = 0;
}

void mu_proc_probe(struct mu_proc *x, int64_t now_ms)
{
    char name[64];

    (void)now_ms;
    if (x->probe_fd >= 0)
        return;
    mu_proc_socket_name(name, sizeof(name), x->pool->name, x->slot, x->serial);
    x->accepted_ms = 0;
    x->probe_fd = mu_pool_connect(mu_keeper.dir_fd, name);
    if (x->probe_fd >= 0) /* else it is tried again with the next tick */
        (void)shutdown(x->probe_fd, SHUT_WR);
}

bool mu_proc_is_old(const struct mu_proc *x)
{
    return x->pool->is_stopped || mu_keeper.stopping != MU_STOP_NONE ||
           x->epoch < x->pool->ready_epoch;
}

static void retire(struct mu_proc *x, int64_t now_ms)
{
    struct mu_board *b = x->pool->board;

    if (x->state == MU_PROC_LEAVING)
        return;
    atomic_store(&b->info[x->slot].is_retired, 1);
    if (x->state == MU_PROC_STARTING || mu_board_swap(b, x->slot, MU_SLOT_IDLE, MU_SLOT_LEAVING) ||
        mu_board_state(b, x->slot) == MU_SLOT_SPENT)
        mu_proc_leave(x, now_ms, mu_pool_grace_ms(x->pool));
}

static void begin_serving(struct mu_proc *x, int64_t now_ms)
{
    struct mu_pool *p = x->pool;

    x->state = MU_PROC_SERVING;
    x->ready_ms = now_ms;
    MU_LOG(NULL, "pool", MU_LOG_INFO, "MU0902", "pool %s: process %d serves", p->name, (int)x->pid);
    if (x->epoch <= p->ready_epoch)
        return;
    p->ready_epoch = x->epoch;
    MU_PROC_FOR(old, p)
    {
        if (old->epoch < p->ready_epoch)
            retire(old, now_ms);
    }
}

/* It is back at accept: the next request may have it. */
static void is_back(struct mu_proc *x, int64_t now_ms)
{
    struct mu_board *b = x->pool->board;
    bool was_starting = x->state == MU_PROC_STARTING;

    end_probe(x);
    if (was_starting) {
        begin_serving(x, now_ms);
        mu_board_set(b, x->slot, MU_SLOT_IDLE);
    } else if (!mu_board_swap(b, x->slot, MU_SLOT_DOUBT, MU_SLOT_IDLE)) {
        return;
    }
    x->seen_word = mu_board_word(b, x->slot);
    x->seen_ms = now_ms;
    if (mu_proc_is_old(x))
        retire(x, now_ms);
    else
        mu_board_match(b, 0);
}

void mu_proc_probe_look(struct mu_proc *x, int64_t now_ms)
{
    struct pollfd queue = { .fd = x->listen_fd, .events = POLLIN };
    char bytes[64];
    ssize_t n;

    if (x->state == MU_PROC_LEAVING || x->probe_fd < 0)
        return;
    do
        n = recv(x->probe_fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    while (n > 0 || (n < 0 && errno == EINTR));
    if (n < 0 && errno == EAGAIN) {
        if (poll(&queue, 1, 0) != 0)
            return; /* it stands in the queue */
        if (!x->accepted_ms)
            x->accepted_ms = now_ms;
        if (now_ms - x->accepted_ms < ACCEPTED_MS)
            return;
    }
    is_back(x, now_ms);
}

/* ---- ending ---- */

void mu_proc_leave(struct mu_proc *x, int64_t now_ms, int64_t grace_ms)
{
    end_probe(x);
    if (x->state != MU_PROC_LEAVING) {
        mu_board_set(x->pool->board, x->slot, MU_SLOT_LEAVING);
        kill(-x->pid, SIGTERM);
        x->kill_ms = now_ms + grace_ms;
    } else if (now_ms + grace_ms < x->kill_ms) {
        x->kill_ms = now_ms + grace_ms;
    }
    x->state = MU_PROC_LEAVING;
}

int64_t mu_pool_press(struct mu_pool *p, int64_t now_ms)
{
    int64_t next = INT64_MAX;

    MU_PROC_FOR(x, p)
    {
        if (x->state != MU_PROC_LEAVING || x->has_kill)
            continue;
        if (now_ms >= x->kill_ms) {
            MU_LOG(NULL, "pool", MU_LOG_NOTICE, "MU0903",
                   "pool %s: process %d does not end when asked: sending it SIGKILL", p->name,
                   (int)x->pid);
            x->has_kill = true;
            kill(-x->pid, SIGKILL);
        } else if (x->kill_ms < next) {
            next = x->kill_ms;
        }
    }
    return next;
}

static void describe(char *out, size_t cap, int status)
{
    if (WIFSIGNALED(status))
        snprintf(out, cap, "ended by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(out, cap, "exited with status %d", WEXITSTATUS(status));
}

int64_t mu_pool_failed(struct mu_pool *p, int64_t now_ms)
{
    int64_t hold = HOLD_FIRST_MS;

    if (p->failures && now_ms < p->hold_until_ms)
        return 0;
    if (now_ms - p->hold_until_ms > SERIES_MS + (p->conf ? p->conf->start_timeout_ms : 0))
        p->failures = 0;
    for (uint32_t i = 0; i < p->failures && hold < HOLD_MAX_MS; i++)
        hold *= 2;
    if (hold > HOLD_MAX_MS)
        hold = HOLD_MAX_MS;
    p->failures++;
    p->hold_until_ms = now_ms + hold;
    return hold;
}

static void note_failure(struct mu_pool *p, pid_t pid, const char *how, int64_t now_ms)
{
    int64_t hold = mu_pool_failed(p, now_ms);

    if (hold)
        MU_LOG(NULL, "pool", MU_LOG_ERR, "MU0904",
               "pool %s: process %d %s as soon as it was started; the next one starts in %d ms "
               "(what it said stands above)",
               p->name, (int)pid, how, (int)hold);
    else
        MU_LOG(NULL, "pool", MU_LOG_INFO, "MU0908", "pool %s: so did process %d: it %s", p->name,
               (int)pid, how);
}

/* EmergencyRestartThreshold crashes within EmergencyRestartInterval. */
static void note_crash(struct mu_pool *p, int64_t now_ms)
{
    size_t most = p->conf ? (size_t)p->conf->emergency_threshold : 0;

    atomic_fetch_add_explicit(&p->board->counts.crashed, 1, memory_order_relaxed);
    if (!most || !p->crashes)
        return;
    if (p->crashes_n >= most) {
        p->crashes_n = most - 1;
        memmove(p->crashes, p->crashes + 1, p->crashes_n * sizeof(*p->crashes));
    }
    p->crashes[p->crashes_n++] = now_ms;
    if (p->crashes_n < most || now_ms - p->crashes[0] > p->conf->emergency_interval_ms)
        return;
    MU_LOG(NULL, "pool", MU_LOG_ERR, "MU0905",
           "pool %s: %zu crashes within %lld s: emergency restart, all its processes are replaced",
           p->name, most, (long long)(p->conf->emergency_interval_ms / 1000));
    p->crashes_n = 0;
    mu_pool_reload(p, now_ms);
}

/* Returns: was it a crash? */
static bool note_end(struct mu_pool *p, const struct mu_proc *x, int status, int64_t now_ms)
{
    uint64_t requests = atomic_load(&p->board->info[x->slot].requests);
    bool was_asked = x->state == MU_PROC_LEAVING;
    bool has_crashed = !was_asked && (WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
    bool is_young = x->state == MU_PROC_STARTING ||
                    (x->state == MU_PROC_SERVING && now_ms - x->ready_ms < AT_ONCE_MS);
    char how[96];

    describe(how, sizeof(how), status);
    if (!was_asked && is_young && (has_crashed || !requests))
        note_failure(p, x->pid, how, now_ms);
    else if (has_crashed)
        MU_LOG(NULL, "pool", MU_LOG_ERR, "MU0906", "pool %s: process %d %s; it is replaced",
               p->name, (int)x->pid, how);
    else
        MU_LOG(NULL, "pool", MU_LOG_DEBUG, "MU0907", "pool %s: process %d %s", p->name, (int)x->pid,
               how);
    if (x->state == MU_PROC_SERVING && now_ms - x->ready_ms >= STEADY_MS)
        p->failures = 0;
    return has_crashed;
}

void mu_proc_ended(struct mu_proc *x, int status, int64_t now_ms)
{
    struct mu_pool *p = x->pool;
    bool has_crashed;

    mu_proc_output_end(x);
    has_crashed = note_end(p, x, status, now_ms);
    /* What it has started itself ends with it. */
    kill(-x->pid, SIGKILL);
    mu_board_set(p->board, x->slot, MU_SLOT_NONE);
    mu_proc_destroy(x);
    if (has_crashed)
        note_crash(p, now_ms);
    mu_pool_manage(p, now_ms, false);
}

/* ---- what children left, and what the administrator wants ---- */

void mu_pool_look(struct mu_pool *p, int64_t now_ms)
{
    MU_PROC_FOR(x, p)
    {
        enum mu_slot_state s = mu_board_state(p->board, x->slot);

        if (x->state != MU_PROC_SERVING)
            continue;
        if (s == MU_SLOT_SPENT)
            mu_proc_leave(x, now_ms, mu_pool_grace_ms(p));
        else if (mu_proc_is_old(x))
            retire(x, now_ms);
        if (x->state == MU_PROC_SERVING && s == MU_SLOT_DOUBT)
            mu_proc_probe(x, now_ms);
    }
}

/* How many of the present epoch there are. */
static uint32_t present(struct mu_pool *p)
{
    uint32_t n = 0;

    MU_PROC_FOR(x, p)
    n += x->state != MU_PROC_LEAVING && x->epoch == p->epoch;
    return n;
}

void mu_pool_reload(struct mu_pool *p, int64_t now_ms)
{
    uint32_t n = present(p);

    p->epoch++;
    p->failures = 0;
    p->hold_until_ms = 0;
    if (!p->conf || p->is_stopped)
        return;
    /*
     * The old ones go as soon as a new one serves, so a program that cannot start any more leaves
     * the pool as it is. On demand there is no new one yet: those that are idle go at once.
     */
    if (p->conf->manager == MU_POOL_ONDEMAND || !n)
        p->ready_epoch = p->epoch;
    else
        p->wanted = n;
    mu_pool_look(p, now_ms);
    mu_pool_manage(p, now_ms, false);
}

void mu_pool_stop(struct mu_pool *p)
{
    p->is_stopped = true;
    atomic_store(&p->board->is_closed, 1);
    mu_board_wake_all(p->board);
    MU_PROC_FOR(x, p)
    retire(x, mu_keeper_now());
}

void mu_pool_start(struct mu_pool *p)
{
    p->is_stopped = false;
    p->epoch++;
    p->ready_epoch = p->epoch;
    p->wanted = mu_pool_first(p);
    p->failures = 0;
    p->hold_until_ms = 0;
    atomic_store(&p->board->is_closed, 0);
    mu_pool_manage(p, mu_keeper_now(), false);
}
