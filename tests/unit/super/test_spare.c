/* The spare arithmetic as a table, and as the series it makes over several seconds. */
#include "super_test.h"

#include <super/spare.h>

enum { MOST = 64 };

static const struct mu_spare_limits prefork = { .processes_max = 20,
                                                .processes_min = 1,
                                                .min_spare = 5,
                                                .max_spare = 10,
                                                .workers_per_process = 1 };
static const struct mu_spare_limits threaded = { .processes_max = 16,
                                                 .processes_min = 1,
                                                 .min_spare = 75,
                                                 .max_spare = 250,
                                                 .workers_per_process = 25 };
static const struct mu_spare_limits event = { .processes_max = 16,
                                              .processes_min = 1,
                                              .min_spare = 25,
                                              .max_spare = 100,
                                              .workers_per_process = 25,
                                              .listeners_per_process = 1,
                                              .cores = 4 };

struct row {
    int line;
    const struct mu_spare_limits *limits;
    uint32_t idle, busy; /* processes that are ready: `busy` ones are wholly busy */
    uint32_t starting, stopping;
    uint32_t step;
    bool is_tick;
    uint32_t want_start;
    bool wants_stop, wants_limit;
    uint32_t want_step;
};

static const struct row rows[] = {
    /* enough of everything */
    { __LINE__, &prefork, 5, 3, 0, 0, 0, true, 0, false, false, 1 },
    { __LINE__, &prefork, 10, 3, 0, 0, 4, true, 0, false, false, 1 },
    /* short: the rate doubles at a tick, and only then */
    { __LINE__, &prefork, 4, 3, 0, 0, 0, true, 1, false, false, 2 },
    { __LINE__, &prefork, 4, 3, 0, 0, 2, true, 2, false, false, 4 },
    { __LINE__, &prefork, 4, 3, 0, 0, 4, false, 4, false, false, 4 },
    { __LINE__, &prefork, 0, 1, 0, 0, 32, true, 10, false, false, 32 },
    /* those that are starting count as idle */
    { __LINE__, &prefork, 2, 3, 3, 0, 2, true, 0, false, false, 1 },
    /* those that are stopping count for nothing */
    { __LINE__, &prefork, 4, 3, 0, 6, 1, true, 1, false, false, 2 },
    /* the limit */
    { __LINE__, &prefork, 2, 17, 0, 0, 8, true, 1, false, false, 16 },
    { __LINE__, &prefork, 2, 18, 0, 0, 8, true, 0, false, true, 8 },
    /* too many idle: one a tick, none between ticks, none while some are starting */
    { __LINE__, &prefork, 11, 1, 0, 0, 0, true, 0, true, false, 1 },
    { __LINE__, &prefork, 11, 1, 0, 0, 0, false, 0, false, false, 0 },
    { __LINE__, &prefork, 11, 1, 1, 0, 0, true, 0, false, false, 1 },
    /* nothing left: processes_min even without a need for spares */
    { __LINE__, &prefork, 0, 0, 0, 0, 0, false, 1, false, false, 0 },
    /* threaded: workers are counted, processes are started */
    { __LINE__, &threaded, 3, 0, 0, 0, 0, true, 0, false, false, 1 },
    { __LINE__, &threaded, 2, 1, 0, 0, 0, true, 1, false, false, 2 },
    { __LINE__, &threaded, 0, 3, 0, 0, 16, true, 10, false, false, 32 },
    { __LINE__, &threaded, 0, 14, 0, 0, 16, true, 2, false, false, 32 },
    { __LINE__, &threaded, 11, 0, 0, 0, 0, true, 0, true, false, 1 },
    { __LINE__, &threaded, 10, 0, 0, 0, 0, true, 0, false, false, 1 },
    { __LINE__, &event, 1, 0, 0, 0, 0, true, 0, false, false, 1 },
    { __LINE__, &event, 5, 0, 0, 0, 0, true, 0, true, false, 1 },
};

static size_t fill(const struct row *r, struct mu_spare_process *p)
{
    size_t n = 0;

    for (uint32_t i = 0; i < r->busy; i++)
        p[n++] = (struct mu_spare_process){ .busy = r->limits->workers_per_process };
    for (uint32_t i = 0; i < r->idle; i++)
        p[n++] = (struct mu_spare_process){ 0 };
    for (uint32_t i = 0; i < r->starting; i++)
        p[n++] = (struct mu_spare_process){ .is_starting = true };
    for (uint32_t i = 0; i < r->stopping; i++)
        p[n++] = (struct mu_spare_process){ .is_stopping = true };
    return n;
}

static void table(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        struct mu_spare_process p[MOST];
        struct mu_spare_rate rate = { .step = r->step };
        struct mu_spare_plan plan = mu_spare_plan(r->limits, p, fill(r, p), &rate, r->is_tick);

        if (plan.start != r->want_start || (plan.stop >= 0) != r->wants_stop ||
            rate.step != r->want_step || plan.is_at_limit != r->wants_limit)
            fail_msg("row at line %d: start %u, stop %td, step %u, limit %d", r->line, plan.start,
                     plan.stop, rate.step, plan.is_at_limit);
    }
}

/* From one process under full load: 1, 2, 4 … each second until the limit. */
static void doubles_each_second(void **state)
{
    static const struct mu_spare_limits wide = { .processes_max = 200,
                                                 .processes_min = 1,
                                                 .min_spare = 50,
                                                 .max_spare = 500,
                                                 .workers_per_process = 1 };
    static const uint32_t want[] = { 1, 2, 4, 8, 16, 32, 32, 32, 32, 32, 8, 0 };
    struct mu_spare_process p[256] = { { .busy = 1 } };
    struct mu_spare_rate rate = { 0 };
    size_t n = 1;

    (void)state;
    n = 1;
    for (size_t second = 0; second < MU_ARRAY_LEN(want); second++) {
        struct mu_spare_plan plan = mu_spare_plan(&wide, p, n, &rate, true);
        uint32_t expected = want[second] < wide.processes_max - (uint32_t)n
                                ? want[second]
                                : wide.processes_max - (uint32_t)n;

        assert_int_equal(plan.start, expected);
        for (uint32_t i = 0; i < plan.start; i++)
            p[n++] = (struct mu_spare_process){ .busy = 1 }; /* taken at once */
    }
    assert_int_equal(n, wide.processes_max);
}

/* The one that is stopped serves least, and of equals it is the last. */
static void stops_the_least_busy(void **state)
{
    struct mu_spare_process p[] = {
        { .busy = 0 }, { .busy = 20 }, { .busy = 0 }, { .busy = 3 }, { .is_stopping = true }
    };
    struct mu_spare_limits limits = threaded;
    struct mu_spare_rate rate = { 0 };

    (void)state;
    limits.min_spare = 10;
    limits.max_spare = 40;
    assert_int_equal(mu_spare_plan(&limits, p, MU_ARRAY_LEN(p), &rate, true).stop, 2);
}

/* A lower limit after a restart is reached one by one, however busy they are. */
static void shrinks_to_the_limit(void **state)
{
    struct mu_spare_process p[] = { { .busy = 25 }, { .busy = 24 }, { .busy = 25 } };
    struct mu_spare_limits limits = threaded;
    struct mu_spare_rate rate = { 0 };

    (void)state;
    limits.processes_max = 2;
    limits.min_spare = 1;
    assert_int_equal(mu_spare_plan(&limits, p, MU_ARRAY_LEN(p), &rate, true).stop, 1);
}

/* Whatever processes claim, they count for no more than what they have. */
static void clamps_claims(void **state)
{
    struct mu_spare_process p[] = { { .busy = UINT32_MAX, .queued = UINT32_MAX },
                                    { .busy = 1, .queued = UINT32_MAX },
                                    { .queued = 5 },
                                    { .busy_permille = UINT32_MAX } };
    struct mu_spare_rate rate = { 0 };
    struct mu_spare_plan plan = mu_spare_plan(&threaded, p, MU_ARRAY_LEN(p), &rate, true);

    (void)state;
    assert_int_equal(plan.busy, 26);
    assert_int_equal(plan.idle, 20 + 25);
    assert_int_equal(plan.start, 1);
}

/* Event: a saturated listener is no spare while another one would find a core, and is one when all
 * cores have one. */
static void saturated_listeners(void **state)
{
    struct mu_spare_process p[] = { { .busy_permille = 990 },
                                    { .busy_permille = 950 },
                                    { .busy_permille = 900 },
                                    { .busy_permille = 1000 } };
    struct mu_spare_rate rate = { 0 };

    (void)state;
    assert_int_equal(mu_spare_plan(&event, p, 3, &rate, true).start, 1);
    assert_int_equal(mu_spare_plan(&event, p, 4, &rate, true).start, 0);
}

/* A pool on demand: nothing while nothing waits, one for each request that does, up to the limit. */
static void on_demand(void **state)
{
    struct mu_spare_limits l = {
        .processes_max = 6, .max_spare = 6, .workers_per_process = 1, .may_be_empty = true
    };
    struct mu_spare_process p[] = { { .is_starting = true }, { .busy = 1 }, { 0 } };
    struct mu_spare_rate rate = { 0 };

    (void)state;
    assert_int_equal(mu_spare_plan(&l, p, 0, &rate, true).start, 0);
    assert_int_equal(mu_spare_plan(&l, p, 0, &rate, true).stop, -1);
    l.waiting = 1;
    assert_int_equal(mu_spare_plan(&l, p, 0, &rate, false).start, 1);
    assert_int_equal(mu_spare_plan(&l, p, 1, &rate, false).start, 0); /* one is on its way */
    l.waiting = 3;
    assert_int_equal(mu_spare_plan(&l, p, 1, &rate, false).start, 2);
    assert_int_equal(mu_spare_plan(&l, p, 2, &rate, false).start, 2);
    l.waiting = UINT32_MAX;
    assert_int_equal(mu_spare_plan(&l, p, 2, &rate, false).start, 4);
    l.start_max = 3;
    assert_int_equal(mu_spare_plan(&l, p, 2, &rate, false).start, 3);
    l.waiting = 0;
    assert_int_equal(mu_spare_plan(&l, p, 3, &rate, true).start, 0);
}

/* Spares are kept above what waits; who waits does not wait for the rate. */
static void queue_of_a_pool(void **state)
{
    struct mu_spare_limits l = { .processes_max = 50,
                                 .processes_min = 1,
                                 .min_spare = 2,
                                 .max_spare = 4,
                                 .workers_per_process = 1,
                                 .waiting = 10 };
    struct mu_spare_process p[] = { { .busy = 1 }, { .busy = 1 } };
    struct mu_spare_rate rate = { 0 };

    (void)state;
    assert_int_equal(mu_spare_plan(&l, p, 2, &rate, true).start, 10);
    assert_int_equal(rate.step, 2);
    l.waiting = 0;
    assert_int_equal(mu_spare_plan(&l, p, 2, &rate, true).start, 2);
    /* All kept, as a static pool has it, and at once. */
    l.processes_min = 50;
    l.min_spare = 0;
    assert_int_equal(mu_spare_plan(&l, p, 2, &rate, false).start, 48);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(doubles_each_second),
        cmocka_unit_test(stops_the_least_busy),
        cmocka_unit_test(clamps_claims),
        cmocka_unit_test(saturated_listeners),
        cmocka_unit_test(shrinks_to_the_limit),
        cmocka_unit_test(on_demand),
        cmocka_unit_test(queue_of_a_pool),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
