/* How many processes a pool has: what it tells the supervisor's arithmetic, and what comes out; the
 * pauses between starts that fail. */
#include "pool_fake.h"

/* A process for each letter: what the keeper knows of it, and what its slot says. */
static void put(struct mu_pool *p, char letter)
{
    struct mu_proc *x;

    switch (letter) {
    case 's':
        x = fake_proc(p, MU_PROC_STARTING, MU_SLOT_STARTING);
        break;
    case 'i':
        x = fake_proc(p, MU_PROC_SERVING, MU_SLOT_IDLE);
        break;
    case 'b':
        x = fake_proc(p, MU_PROC_SERVING, MU_SLOT_BUSY);
        break;
    case 'r':
        x = fake_proc(p, MU_PROC_SERVING, MU_SLOT_RESERVED);
        break;
    case 'd':
        x = fake_proc(p, MU_PROC_SERVING, MU_SLOT_DOUBT);
        break;
    case 'p':
        x = fake_proc(p, MU_PROC_SERVING, MU_SLOT_SPENT);
        break;
    case 'l':
        x = fake_proc(p, MU_PROC_LEAVING, MU_SLOT_LEAVING);
        break;
    case 'o': /* of the epoch before */
        x = fake_proc(p, MU_PROC_SERVING, MU_SLOT_BUSY);
        x->epoch--;
        break;
    case 'L': /* a child wrote that it is busy where the keeper knows better */
        x = fake_proc(p, MU_PROC_LEAVING, MU_SLOT_IDLE);
        break;
    default: /* and here that it is something which does not exist */
        x = fake_proc(p, MU_PROC_SERVING, (enum mu_slot_state)15);
        break;
    }
}

static struct mu_spare_plan plan_of(struct mu_pool *p, const char *processes, unsigned waiting,
                                    bool is_tick)
{
    struct mu_spare_plan plan;
    struct mu_ticket t;

    for (; *processes; processes++)
        put(p, *processes);
    for (unsigned i = 0; i < waiting; i++) {
        /* Written as it is: no match may take place. */
        t.word = (uint64_t)(i + 1) << 30 | 1;
        atomic_store(&p->board->ticket[i], t.word);
        atomic_store(&p->board->tickets_end, i + 1);
    }
    assert_true(mu_pool_plan(p, is_tick, &plan));
    return plan;
}

static const struct {
    int line, manager;
    const char *processes;
    unsigned waiting, wanted;
    bool is_tick;
    unsigned start;
    int stop;
    bool is_at_limit;
} plans[] = {
    /* All of them, always. */
    { __LINE__, MU_POOL_STATIC, "", 0, 0, false, 4, -1, false },
    { __LINE__, MU_POOL_STATIC, "ib", 0, 0, false, 2, -1, false },
    { __LINE__, MU_POOL_STATIC, "iiii", 0, 0, true, 0, -1, false },
    { __LINE__, MU_POOL_STATIC, "bbbb", 3, 0, true, 0, -1, true },
    { __LINE__, MU_POOL_STATIC, "iipl", 0, 0, false, 2, -1, false },
    { __LINE__, MU_POOL_STATIC, "iiiooooL", 0, 0, false, 1, -1, false },
    { __LINE__, MU_POOL_STATIC, "bibiib", 0, 0, true, 0, 4, false },
    { __LINE__, MU_POOL_STATIC, "xxxx", 0, 0, true, 0, -1, false },
    /* MinSpare 1, MaxSpare 2. */
    { __LINE__, MU_POOL_DYNAMIC, "", 0, 0, false, 1, -1, false },
    { __LINE__, MU_POOL_DYNAMIC, "i", 0, 0, true, 0, -1, false },
    { __LINE__, MU_POOL_DYNAMIC, "s", 0, 0, true, 0, -1, false },
    { __LINE__, MU_POOL_DYNAMIC, "b", 0, 0, false, 1, -1, false },
    { __LINE__, MU_POOL_DYNAMIC, "r", 0, 0, false, 1, -1, false },
    { __LINE__, MU_POOL_DYNAMIC, "d", 0, 0, false, 1, -1, false },
    { __LINE__, MU_POOL_DYNAMIC, "ip", 0, 0, true, 0, -1, false },
    { __LINE__, MU_POOL_DYNAMIC, "b", 2, 0, false, 2, -1, false },
    { __LINE__, MU_POOL_DYNAMIC, "b", 500, 0, false, 3, -1, false },
    { __LINE__, MU_POOL_DYNAMIC, "bbbb", 1, 0, false, 0, -1, true },
    { __LINE__, MU_POOL_DYNAMIC, "bii", 0, 0, true, 0, -1, false },
    { __LINE__, MU_POOL_DYNAMIC, "biii", 0, 0, false, 0, -1, false },
    { __LINE__, MU_POOL_DYNAMIC, "biii", 0, 0, true, 0, 3, false },
    /* StartServers, or as many as before a reload. */
    { __LINE__, MU_POOL_DYNAMIC, "", 0, 3, false, 3, -1, false },
    { __LINE__, MU_POOL_DYNAMIC, "ioo", 0, 3, false, 2, -1, false },
    { __LINE__, MU_POOL_DYNAMIC, "iii", 0, 3, true, 0, 2, false },
    /* None, until somebody waits; idle ones end by their own time alone. */
    { __LINE__, MU_POOL_ONDEMAND, "", 0, 0, true, 0, -1, false },
    { __LINE__, MU_POOL_ONDEMAND, "", 1, 0, false, 1, -1, false },
    { __LINE__, MU_POOL_ONDEMAND, "b", 2, 0, false, 2, -1, false },
    { __LINE__, MU_POOL_ONDEMAND, "bs", 2, 0, false, 1, -1, false },
    { __LINE__, MU_POOL_ONDEMAND, "s", 1, 0, true, 0, -1, false },
    { __LINE__, MU_POOL_ONDEMAND, "bb", 9, 0, false, 2, -1, false },
    { __LINE__, MU_POOL_ONDEMAND, "bbbb", 9, 0, false, 0, -1, true },
    { __LINE__, MU_POOL_ONDEMAND, "iiii", 0, 0, true, 0, -1, false },
};

static void table(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(plans); i++) {
        struct mu_pool *p = fake_pool("t");
        struct mu_spare_plan plan;

        fake_conf.manager = plans[i].manager;
        p->wanted = plans[i].wanted;
        plan = plan_of(p, plans[i].processes, plans[i].waiting, plans[i].is_tick);
        if (plan.start != plans[i].start || plan.stop != plans[i].stop ||
            plan.is_at_limit != plans[i].is_at_limit)
            fail_msg("line %d: start %u, stop %d, limit %d", plans[i].line, plan.start,
                     (int)plan.stop, plan.is_at_limit);
        fake_pool_end(p);
    }
}

/* Many wait: not more at a time than SpawnRate. */
static void spawn_rate(void **state)
{
    struct mu_pool *p = fake_pool("t");

    (void)state;
    fake_conf.manager = MU_POOL_ONDEMAND;
    fake_conf.max_children = 100;
    fake_conf.spawn_rate = 7;
    assert_int_equal(plan_of(p, "", 50, false).start, 7);
    fake_pool_end(p);
}

/* What is to be there first is asked for until it is there, and not again when one has ended. */
static void first_ones(void **state)
{
    struct mu_pool *p = fake_pool("t");

    (void)state;
    fake_conf.manager = MU_POOL_STATIC;
    assert_int_equal(mu_pool_first(p), 0);
    fake_conf.manager = MU_POOL_DYNAMIC;
    fake_conf.start_servers = 3;
    p->wanted = mu_pool_first(p);
    assert_int_equal(p->wanted, 3);
    assert_int_equal(plan_of(p, "ss", 0, false).start, 1);
    assert_int_equal(p->wanted, 3);
    assert_int_equal(plan_of(p, "s", 0, false).start, 0);
    assert_int_equal(p->wanted, 0);
    fake_pool_end(p);
}

static void pauses(void **state)
{
    static const int64_t expected[] = { 100, 200, 400, 800, 1600, 3200, 6400, 12800, 15000, 15000 };
    struct mu_pool *p = fake_pool("t");
    int64_t now = 1000000;

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(expected); i++) {
        assert_int_equal(mu_pool_failed(p, now), expected[i]);
        assert_int_equal(p->hold_until_ms, now + expected[i]);
        assert_int_equal(mu_pool_failed(p, now + 1), 0); /* another one of the same attempt */
        assert_int_equal(mu_pool_failed(p, now + expected[i] - 1), 0);
        assert_int_equal(p->hold_until_ms, now + expected[i]);
        now += expected[i];
    }
    /* A start may take until StartTimeout; that is the same series still. */
    assert_int_equal(mu_pool_failed(p, now + 30000), 15000);
    /* And after a time without any it is a new one. */
    assert_int_equal(mu_pool_failed(p, p->hold_until_ms + 90001), 100);
    fake_pool_end(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(spawn_rate),
        cmocka_unit_test(first_ones),
        cmocka_unit_test(pauses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
