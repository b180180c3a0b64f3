/*
 * maintain: how many children there are. Each second, and whenever one has ended, the table is
 * counted and the spare arithmetic asked. Children that end as soon as they are started are started
 * again at growing distances; when none ever became ready the server gives up (or, in a take-over,
 * gives the server back to the binary before it).
 */
#include "super/master.h"

#include <errno.h>
#include <muster/log.h>
#include <muster/str.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    HOLD_FIRST_MS = 100, /* after the first child that ends at once; doubles with each */
    HOLD_MAX_MS = 15000,
    FAILURES_FATAL = 3, /* when no child was ever ready */
    STEADY_MS = 3000,   /* a child that serves that long ends a series of failures */
    AT_ONCE_MS = 1000,  /* a child that crashes within that time has failed to start */
};

static uint32_t peek(const _Atomic uint32_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

/* One row for each child of the present generation; `index` leads back to the table. */
static size_t census(struct mu_super *s, struct mu_spare_process *rows, size_t *index)
{
    size_t n = 0;

    for (size_t i = 0; i < s->kids_n; i++) {
        const struct mu_kid *k = &s->kids[i];
        const struct mu_score_child *c;

        if (k->generation != s->now)
            continue;
        c = mu_scoreboard_child(s->now->board, k->place);
        index[n] = i;
        rows[n++] = (struct mu_spare_process){
            .is_starting = !k->is_ready,
            .is_stopping = k->asked != MU_STOP_NONE || k->is_leaving,
            .busy = peek(&c->busy),
            .queued = peek(&c->offload_queued),
            .busy_permille = peek(&c->busy_permille),
        };
    }
    return n;
}

static void note_limit(struct mu_super *s, const struct mu_spare_plan *plan)
{
    bool is_at_limit = plan->is_at_limit && plan->idle == 0;

    if (is_at_limit && !s->was_at_limit)
        MU_LOG(NULL, mu_super_module(s), MU_LOG_ERR, "MU0740",
               "server reached MaxRequestWorkers (%u children of %u workers): consider raising it",
               s->limits.children_max, s->limits.workers_per_child);
    s->was_at_limit = is_at_limit;
}

static void start_children(struct mu_super *s, uint32_t n, int64_t now_ms)
{
    if (now_ms < s->hold_until_ms)
        return;
    while (n--) {
        enum mu_rc rc = mu_super_spawn(s);

        if (rc == MU_LIMIT)
            return;
        if (rc != MU_OK) { /* no process to be had: do not spin on it */
            s->hold_until_ms = now_ms + 1000;
            return;
        }
    }
}

static void end_failures(struct mu_super *s, int64_t now_ms)
{
    for (size_t i = 0; s->failures && i < s->kids_n; i++) {
        const struct mu_kid *k = &s->kids[i];

        if (k->generation == s->now && k->is_ready && k->started_ms >= s->last_failure_ms &&
            now_ms - k->ready_ms >= STEADY_MS)
            s->failures = 0;
    }
}

static void arithmetic(struct mu_super *s, int64_t now_ms, bool is_tick)
{
    struct mu_spare_limits limits = {
        .processes_max = s->limits.children_max,
        .processes_min = 1,
        .min_spare = s->limits.min_spare,
        .max_spare = s->limits.max_spare,
        .workers_per_process = s->limits.workers_per_child,
        .listeners_per_process = s->limits.listeners_per_child,
        .cores = s->limits.listeners_per_child ? mu_core_count() : 0,
    };
    struct mu_spare_process *rows = calloc(s->kids_n + 1, sizeof(*rows));
    size_t *index = calloc(s->kids_n + 1, sizeof(*index));
    struct mu_spare_plan plan;

    if (rows && index) {
        plan = mu_spare_plan(&limits, rows, census(s, rows, index), &s->rate, is_tick);
        note_limit(s, &plan);
        if (plan.stop >= 0)
            mu_kid_ask(&s->kids[index[plan.stop]], MU_STOP_GRACEFUL, now_ms);
        start_children(s, plan.start, now_ms);
    }
    free(rows);
    free(index);
}

/* Before the server is up there are StartServers children to start, not spares to count. */
static void begin(struct mu_super *s, int64_t now_ms)
{
    uint32_t serving = 0;

    for (size_t i = 0; i < s->kids_n; i++)
        serving += s->kids[i].generation == s->now && s->kids[i].asked == MU_STOP_NONE &&
                   !s->kids[i].is_leaving;
    if (serving < s->limits.start)
        start_children(s, s->limits.start - serving, now_ms);
}

void mu_super_maintain(struct mu_super *s, int64_t now_ms, bool is_tick)
{
    end_failures(s, now_ms);
    if (s->is_up)
        arithmetic(s, now_ms, is_tick);
    else
        begin(s, now_ms);
}

static bool has_other_kid(const struct mu_super *s, const struct mu_kid *k)
{
    for (size_t i = 0; i < s->kids_n; i++) {
        if (&s->kids[i] != k && s->kids[i].generation == k->generation)
            return true;
    }
    return false;
}

/* Into s->last_end, for the log and for the message that gives up. */
static void describe(struct mu_super *s, const struct mu_kid *k, int status)
{
    const char *dir =
        s->settings->core_dump_dir.n ? mu_cstr(s->config->arena, s->settings->core_dump_dir) : NULL;
    size_t cap = sizeof(s->last_end);

    if (!WIFSIGNALED(status))
        snprintf(s->last_end, cap, "child pid %d exited with status %d", (int)k->pid,
                 WEXITSTATUS(status));
    else if (!WCOREDUMP(status))
        snprintf(s->last_end, cap, "child pid %d exit signal %s (%d)", (int)k->pid,
                 strsignal(WTERMSIG(status)), WTERMSIG(status));
    else
        snprintf(s->last_end, cap, "child pid %d exit signal %s (%d), possible coredump in %s",
                 (int)k->pid, strsignal(WTERMSIG(status)), WTERMSIG(status),
                 dir ? dir : "its working directory");
}

static void note_end(struct mu_super *s, const struct mu_kid *k, int status)
{
    bool is_ours = WIFSIGNALED(status) && (k->has_term || k->has_kill);

    describe(s, k, status);
    if (status == 0 || is_ours)
        MU_LOG(NULL, mu_super_module(s), MU_LOG_DEBUG, "MU0741", "%s", s->last_end);
    else if (WIFSIGNALED(status))
        MU_LOG(NULL, mu_super_module(s), MU_LOG_NOTICE, "MU0742", "%s", s->last_end);
    else
        MU_LOG(NULL, mu_super_module(s), MU_LOG_ERR, "MU0743", "%s", s->last_end);
}

/* Count a failed start: the next one waits a little longer each time. */
static void hold_back(struct mu_super *s, int64_t now_ms)
{
    int64_t hold = HOLD_FIRST_MS;

    s->failures++;
    s->last_failure_ms = now_ms;
    for (uint32_t i = 1; i < s->failures && hold < HOLD_MAX_MS; i++)
        hold *= 2;
    s->hold_until_ms = now_ms + (hold > HOLD_MAX_MS ? HOLD_MAX_MS : hold);
}

/*
 * Children that end while the pause lasts were started before it, and belong to the failure that began it; but the last
 * of them may be the one without which there is no hope.
 */
static void note_failure(struct mu_super *s, const struct mu_kid *k, int64_t now_ms)
{
    bool is_new = !s->failures || now_ms >= s->hold_until_ms;

    if (is_new)
        hold_back(s, now_ms);
    if (!k->generation->has_been_ready && s->failures >= FAILURES_FATAL && !has_other_kid(s, k))
        mu_super_fail(s, "no child ever became ready to serve");
    else if (is_new)
        MU_LOG(NULL, mu_super_module(s), MU_LOG_ERR, "MU0744",
               "%s as soon as it was started; the next one starts in %d ms", s->last_end,
               (int)(s->hold_until_ms - now_ms));
}

void mu_super_child_ended(struct mu_super *s, struct mu_kid *k, int status)
{
    int64_t now_ms = mu_super_now();
    bool has_crashed = status != 0 && !k->has_term && !k->has_kill;
    bool has_failed = k->generation == s->now && k->asked == MU_STOP_NONE && !k->is_leaving &&
                      (!k->is_ready || (has_crashed && now_ms - k->ready_ms < AT_ONCE_MS));

    if (k->channel >= 0 && !k->is_deaf)
        mu_kid_hear(s, k); /* it may have said that it was ready a moment ago */
    if (has_failed && k->is_ready && !has_crashed)
        has_failed = false;
    note_end(s, k, status);
    if (k->generation->locks)
        mu_accept_locks_recover(k->generation->locks, (uint32_t)k->pid);
    mu_scoreboard_end_child(k->generation->board, k->place);
    mu_groups_kid_ended(s, k->pid);
    if (has_failed && s->phase == MU_SUPER_RUNNING)
        note_failure(s, k, now_ms);
    mu_kid_remove(s, k);
}

/* The children of a take-over that fails: nothing of them may be left for the binary that goes
 * on. */
static void kill_new(struct mu_super *s)
{
    for (size_t i = 0; i < s->kids_n; i++) {
        struct mu_kid *k = &s->kids[i];

        if (k->generation != s->now)
            continue;
        if (waitpid(k->pid, NULL, WNOHANG) == 0) {
            kill(k->pid, SIGKILL);
            while (waitpid(k->pid, NULL, 0) < 0 && errno == EINTR)
                continue;
        }
        mu_groups_kid_ended(s, k->pid);
    }
}

void mu_super_fail(struct mu_super *s, const char *why)
{
    char text[512];

    snprintf(text, sizeof(text), "%s%s%s", why, s->last_end[0] ? "; the last one: " : "",
             s->last_end);
    MU_LOG(NULL, mu_super_module(s), MU_LOG_EMERG, "MU0745", "%s", text);
    if (!s->is_up)
        (void)!dprintf(s->terminal_fd >= 0 ? s->terminal_fd : STDERR_FILENO, "muster: %s\n", text);
    if (s->state_fd >= 0) {
        kill_new(s);
        mu_reexec_back(s, text);
    }
    s->exit_status = 1;
    s->pending |= MU_PEND_STOP;
}
