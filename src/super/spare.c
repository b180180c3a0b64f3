/*
 * spare: one piece of arithmetic for prefork's processes, the threaded MPMs' children and
 * application pools. It knows neither pids nor time: what is counted comes in, what to do goes out,
 * so a table of cases tests all of it. Claims of the processes are clamped; a process that lies
 * about being busy can bring about some more processes, never more than the limit, and one that
 * lies about being idle is no worse than one that is.
 */
#include "super/spare.h"

#define SATURATED_PERMILLE 900

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* How many processes it takes for `workers` workers. */
static uint32_t processes_for(uint32_t workers, uint32_t per_process)
{
    return per_process ? (uint32_t)(((uint64_t)workers + per_process - 1) / per_process) : 0;
}

struct census {
    uint32_t serving; /* starting or ready */
    uint64_t idle, busy;
    uint32_t starting;
    ptrdiff_t least_busy;
};

/* Would another listener thread find a core, and is the present one at its end? */
static bool is_saturated(const struct mu_spare_limits *l, const struct mu_spare_process *p,
                         uint32_t serving)
{
    return l->listeners_per_process && (uint64_t)serving * l->listeners_per_process < l->cores &&
           p->busy_permille >= SATURATED_PERMILLE;
}

static void count_one(const struct mu_spare_limits *l, const struct mu_spare_process *p,
                      struct census *c)
{
    uint32_t workers = l->workers_per_process;
    uint32_t busy = min_u32(p->busy, workers);
    uint32_t taken = (uint32_t)(busy + min_u32(p->queued, workers - busy));

    if (p->is_starting) {
        c->starting++;
        c->idle += workers;
        return;
    }
    c->busy += busy;
    c->idle += is_saturated(l, p, c->serving) ? 0 : workers - taken;
}

static struct census take_census(const struct mu_spare_limits *l, const struct mu_spare_process *p,
                                 size_t n)
{
    struct census c = { .least_busy = -1 };

    for (size_t i = 0; i < n; i++)
        c.serving += !p[i].is_stopping;
    for (size_t i = 0; i < n; i++) {
        if (p[i].is_stopping)
            continue;
        count_one(l, &p[i], &c);
        /* Of equals the last one: places fill from the front, so the table stays dense. */
        if (!p[i].is_starting && (c.least_busy < 0 || p[i].busy <= p[c.least_busy].busy))
            c.least_busy = (ptrdiff_t)i;
    }
    return c;
}

static uint32_t start_max(const struct mu_spare_limits *l)
{
    return l->start_max ? l->start_max : MU_SPARE_RATE_MAX;
}

/* What is left of `need` idle workers, in processes. */
static uint32_t missing(const struct mu_spare_limits *l, const struct census *c, uint64_t need)
{
    uint64_t workers = need > c->idle ? need - c->idle : 0;

    return processes_for(workers > UINT32_MAX ? UINT32_MAX : (uint32_t)workers,
                         l->workers_per_process);
}

/* Too few idle ones: the rate's number, but not so many that they would be stopped again at
 * once; and one for each that waits, at once. */
static uint32_t wanted(const struct mu_spare_limits *l, const struct census *c,
                       const struct mu_spare_rate *rate)
{
    uint32_t step = rate->step ? rate->step : 1;
    uint32_t useful = missing(l, c, (uint64_t)l->max_spare + l->waiting);
    uint32_t now = min_u32(missing(l, c, l->waiting), start_max(l));
    uint32_t n = min_u32(step, useful ? useful : 1);

    return n > now ? n : now;
}

/* How many are kept whatever the spares say. */
static uint32_t kept(const struct mu_spare_limits *l)
{
    if (!l->processes_min && !l->may_be_empty)
        return 1;
    return min_u32(l->processes_min, l->processes_max);
}

struct mu_spare_plan mu_spare_plan(const struct mu_spare_limits *l,
                                   const struct mu_spare_process *p, size_t n,
                                   struct mu_spare_rate *rate, bool is_tick)
{
    struct census c = take_census(l, p, n);
    struct mu_spare_plan plan = { .start = 0, .stop = -1 };
    uint32_t keep = kept(l);
    uint32_t room = l->processes_max > c.serving ? l->processes_max - c.serving : 0;
    bool is_short = c.idle < (uint64_t)l->min_spare + l->waiting;

    plan.idle = (uint32_t)(c.idle > UINT32_MAX ? UINT32_MAX : c.idle);
    plan.busy = (uint32_t)(c.busy > UINT32_MAX ? UINT32_MAX : c.busy);
    if (is_short || c.serving < keep) {
        uint32_t want = is_short ? wanted(l, &c, rate) : 0;

        if (c.serving < keep && want < keep - c.serving)
            want = keep - c.serving;
        plan.start = min_u32(want, room);
        plan.is_at_limit = room == 0;
        if (is_tick && plan.start)
            rate->step = min_u32((rate->step ? rate->step : 1) * 2, start_max(l));
        return plan;
    }
    if (!is_tick)
        return plan;
    rate->step = 1;
    if (c.idle > l->max_spare && c.serving > keep && !c.starting)
        plan.stop = c.least_busy;
    if (c.serving > l->processes_max)
        plan.stop = c.least_busy;
    return plan;
}
