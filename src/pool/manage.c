/*
 * manage: how many processes a pool has. The arithmetic is the supervisor's own (super/spare.c); a
 * pool gives it one row for each process, the length of its queue, and its numbers. What children
 * say in the slots is a hint here as it is for web children: it can bring about some processes more
 * or fewer within the administrator's limits, and nothing else.
 */
#include "pool/keeper.h"

#include <muster/log.h>
#include <stdlib.h>

static struct mu_spare_limits limits_of(struct mu_pool *p, uint32_t waiting)
{
    const struct mu_pool_conf *c = p->conf;
    struct mu_spare_limits l = { .processes_max = (uint32_t)c->max_children,
                                 .max_spare = (uint32_t)c->max_children,
                                 .workers_per_process = 1,
                                 .waiting = waiting,
                                 .start_max = (uint32_t)c->spawn_rate };

    if (c->manager == MU_POOL_STATIC) {
        l.processes_min = l.processes_max;
    } else if (c->manager == MU_POOL_ONDEMAND) {
        l.may_be_empty = true;
    } else {
        l.min_spare = (uint32_t)c->min_spare;
        l.max_spare = (uint32_t)c->max_spare;
    }
    if (p->wanted > l.processes_min)
        l.processes_min = p->wanted;
    return l;
}

/* Rows of the processes, in the order of the list. Returns how many serve or are about to. */
static uint32_t census(struct mu_pool *p, struct mu_spare_process *rows)
{
    uint32_t n = 0;

    MU_PROC_FOR(x, p)
    {
        enum mu_slot_state s = mu_board_state(p->board, x->slot);
        bool is_gone = x->state == MU_PROC_LEAVING || x->epoch < p->epoch ||
                       (x->state == MU_PROC_SERVING && s == MU_SLOT_SPENT);

        *rows++ = (struct mu_spare_process){
            .is_starting = x->state == MU_PROC_STARTING,
            .is_stopping = is_gone,
            .busy = s == MU_SLOT_BUSY || s == MU_SLOT_RESERVED || s == MU_SLOT_DOUBT,
        };
        n += !is_gone;
    }
    return n;
}

/* The `at`-th process of the list; it goes unless a request has just taken it. */
static void end_one(struct mu_pool *p, size_t at, int64_t now_ms)
{
    MU_PROC_FOR(x, p)
    {
        if (at-- != 0)
            continue;
        if (x->state == MU_PROC_SERVING &&
            mu_board_swap(p->board, x->slot, MU_SLOT_IDLE, MU_SLOT_LEAVING))
            mu_proc_leave(x, now_ms, mu_pool_grace_ms(p));
        return;
    }
}

static void start_some(struct mu_pool *p, uint32_t n, int64_t now_ms)
{
    if (now_ms - p->second_ms >= 1000) {
        p->second_ms = now_ms;
        p->started = 0;
    }
    while (n-- && p->started < (uint32_t)p->conf->spawn_rate) {
        enum mu_rc rc = mu_proc_start(p, now_ms);

        if (rc == MU_OK) {
            p->started++;
            continue;
        }
        if (rc != MU_LIMIT) /* no process to be had: do not spin on it */
            p->hold_until_ms = now_ms + 1000;
        return;
    }
}

static void note_limit(struct mu_pool *p, const struct mu_spare_plan *plan)
{
    int64_t since_ms;
    bool is_at_limit = plan->is_at_limit && mu_board_waiting(p->board, &since_ms);

    if (is_at_limit && !p->was_at_limit)
        MU_LOG(NULL, "pool", MU_LOG_WARN, "MU0910",
               "pool %s reached MaxChildren (%lld), and requests wait: consider raising it",
               p->name, (long long)p->conf->max_children);
    if (is_at_limit || plan->idle)
        p->was_at_limit = is_at_limit;
}

uint32_t mu_pool_first(const struct mu_pool *p)
{
    return p->conf->manager == MU_POOL_DYNAMIC ? (uint32_t)p->conf->start_servers : 0;
}

bool mu_pool_plan(struct mu_pool *p, bool is_tick, struct mu_spare_plan *plan)
{
    struct mu_spare_process *rows = calloc(p->procs_n + 1, sizeof(*rows));
    struct mu_spare_limits limits;
    int64_t since_ms;

    if (!rows)
        return false;
    if (census(p, rows) >= p->wanted)
        p->wanted = 0;
    limits = limits_of(p, mu_board_waiting(p->board, &since_ms));
    *plan = mu_spare_plan(&limits, rows, p->procs_n, &p->rate, is_tick);
    free(rows);
    return true;
}

void mu_pool_manage(struct mu_pool *p, int64_t now_ms, bool is_tick)
{
    struct mu_spare_plan plan;

    if (!p->conf || p->is_stopped || mu_keeper.stopping != MU_STOP_NONE ||
        !mu_pool_plan(p, is_tick, &plan))
        return;
    note_limit(p, &plan);
    if (plan.stop >= 0)
        end_one(p, (size_t)plan.stop, now_ms);
    if (plan.start && now_ms >= p->hold_until_ms)
        start_some(p, plan.start, now_ms);
}
