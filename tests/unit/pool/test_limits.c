/* What may take only so long: measured by the supervisor's own clock, whatever a web child says; and
 * what a process's crash leads to. The processes are real ones that wait to be ended. */
#include "pool_fake.h"

static const struct mu_board_who who = { .pid = 77, .bell = 1 };

static struct mu_claim claim(struct mu_pool *p)
{
    struct mu_claim c;

    assert_int_equal(mu_board_claim(p->board, who, &c), MU_OK);
    return c;
}

static void request_timeout(void **state)
{
    struct mu_pool *p = fake_pool("t");
    struct mu_proc *x = fake_proc(p, MU_PROC_SERVING, MU_SLOT_IDLE);
    struct mu_claim c;

    (void)state;
    fake_run(x);
    fake_conf.request_timeout_ms = 100;
    (void)mu_pool_limits(p, 1000);
    c = claim(p);
    atomic_store(&p->board->info[x->slot].begun_ms, 1020); /* between two looks: believed */
    (void)mu_pool_limits(p, 1050);
    (void)mu_pool_limits(p, 1119);
    assert_int_equal(x->state, MU_PROC_SERVING);
    assert_false(mu_board_was_late(p->board, &c));
    (void)mu_pool_limits(p, 1120);
    assert_int_equal(x->state, MU_PROC_LEAVING);
    assert_true(mu_board_was_late(p->board, &c));
    assert_int_equal(mu_board_release(p->board, who, &c, MU_SLOT_IDLE), MU_SLOT_NONE);
    assert_int_equal(fake_end_of(x), SIGTERM);
    fake_pool_end(p);
}

/* A child says that a request began long ago, or will begin: it counts from when it was seen. */
static void lies_about_time(void **state)
{
    static const int64_t claims[] = { 0, 1, 999, INT64_MIN, 1050, 5000, INT64_MAX };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(claims); i++) {
        struct mu_pool *p = fake_pool("t");
        struct mu_proc *x = fake_proc(p, MU_PROC_SERVING, MU_SLOT_IDLE);

        fake_run(x);
        fake_conf.request_timeout_ms = 100;
        (void)mu_pool_limits(p, 1000);
        (void)claim(p);
        atomic_store(&p->board->info[x->slot].begun_ms, claims[i]);
        (void)mu_pool_limits(p, 1050);
        (void)mu_pool_limits(p, 1149);
        assert_int_equal(x->state, MU_PROC_SERVING);
        (void)mu_pool_limits(p, 1150);
        assert_int_equal(x->state, MU_PROC_LEAVING);
        assert_int_equal(fake_end_of(x), SIGTERM);
        fake_pool_end(p);
    }
}

/* Its web child died: the request goes on, and its time with it. */
static void an_orphan_is_measured_from_its_beginning(void **state)
{
    struct mu_pool *p = fake_pool("t");
    struct mu_proc *x = fake_proc(p, MU_PROC_SERVING, MU_SLOT_IDLE);

    (void)state;
    fake_run(x);
    fake_conf.request_timeout_ms = 100;
    (void)mu_pool_limits(p, 1000);
    (void)claim(p);
    (void)mu_pool_limits(p, 1010);
    mu_board_sweep(p->board, who.pid);
    assert_int_equal(mu_board_state(p->board, x->slot), MU_SLOT_DOUBT);
    (void)mu_pool_limits(p, 1109);
    assert_int_equal(x->state, MU_PROC_SERVING);
    (void)mu_pool_limits(p, 1110);
    assert_int_equal(x->state, MU_PROC_LEAVING);
    assert_int_equal(fake_end_of(x), SIGTERM);
    fake_pool_end(p);
}

static void next_request_has_its_own_time(void **state)
{
    struct mu_pool *p = fake_pool("t");
    struct mu_proc *x = fake_proc(p, MU_PROC_SERVING, MU_SLOT_IDLE);
    struct mu_claim c;

    (void)state;
    fake_run(x);
    fake_conf.request_timeout_ms = 100;
    (void)mu_pool_limits(p, 1000);
    for (int64_t now = 1000; now < 2000; now += 90) {
        c = claim(p);
        (void)mu_pool_limits(p, now + 5);
        (void)mu_pool_limits(p, now + 85);
        assert_int_equal(mu_board_release(p->board, who, &c, MU_SLOT_IDLE), MU_SLOT_IDLE);
    }
    assert_int_equal(x->state, MU_PROC_SERVING);
    kill(x->pid, SIGKILL);
    (void)fake_end_of(x);
    fake_pool_end(p);
}

static void idle_timeout(void **state)
{
    struct mu_pool *p = fake_pool("t");
    struct mu_proc *x = fake_proc(p, MU_PROC_SERVING, MU_SLOT_IDLE);
    struct mu_claim c;

    (void)state;
    fake_run(x);
    fake_conf.manager = MU_POOL_ONDEMAND;
    (void)mu_pool_limits(p, 1000);
    c = claim(p);
    (void)mu_pool_limits(p, 5000);
    assert_int_equal(x->state, MU_PROC_SERVING); /* busy is not idle */
    assert_int_equal(mu_board_release(p->board, who, &c, MU_SLOT_IDLE), MU_SLOT_IDLE);
    (void)mu_pool_limits(p, 6000);
    (void)mu_pool_limits(p, 6999);
    assert_int_equal(x->state, MU_PROC_SERVING);
    (void)mu_pool_limits(p, 7000);
    assert_int_equal(x->state, MU_PROC_LEAVING);
    assert_int_equal(mu_board_claim(p->board, who, &c), MU_AGAIN);
    assert_int_equal(fake_end_of(x), SIGTERM);
    fake_pool_end(p);
}

static void start_timeout_and_kill(void **state)
{
    struct mu_pool *p = fake_pool("t");
    struct mu_proc *x = fake_proc(p, MU_PROC_STARTING, MU_SLOT_STARTING);

    (void)state;
    fake_run(x);
    x->started_ms = 1000;
    (void)mu_pool_limits(p, 30999);
    assert_int_equal(x->state, MU_PROC_STARTING);
    (void)mu_pool_limits(p, 31000);
    assert_int_equal(x->state, MU_PROC_LEAVING);
    assert_int_equal(p->hold_until_ms, 31100); /* as any start that came to nothing */
    assert_int_equal(mu_pool_press(p, 31499), 31500);
    assert_false(x->has_kill);
    assert_int_equal(mu_pool_press(p, 31500), INT64_MAX);
    assert_true(x->has_kill);
    (void)fake_end_of(x);
    fake_pool_end(p);
}

/* A process that is kept for somebody who does not come goes to the next one, and he keeps his
 * place. */
static void a_grant_is_not_answered(void **state)
{
    static const struct mu_board_who stopped = { .pid = 101, .bell = 2 }, next = { .pid = 102 };
    struct mu_pool *p = fake_pool("t");
    struct mu_proc *x = fake_proc(p, MU_PROC_SERVING, MU_SLOT_BUSY);
    struct mu_ticket first, second;
    struct mu_claim c;

    (void)state;
    assert_int_equal(mu_board_enqueue(p->board, stopped, 10, 1, &first), MU_OK);
    assert_int_equal(mu_board_enqueue(p->board, next, 10, 1, &second), MU_OK);
    mu_board_set(p->board, x->slot, MU_SLOT_IDLE);
    mu_board_match(p->board, 0);
    (void)mu_pool_limits(p, 1000);
    (void)mu_pool_limits(p, 5999);
    assert_int_equal(mu_board_look(p->board, next, &second, &c), MU_AGAIN);
    (void)mu_pool_limits(p, 6000);
    assert_int_equal(mu_board_look(p->board, next, &second, &c), MU_OK);
    assert_int_equal(mu_board_look(p->board, stopped, &first, &(struct mu_claim){ 0 }), MU_AGAIN);
    assert_int_equal(mu_board_release(p->board, next, &c, MU_SLOT_IDLE), MU_SLOT_IDLE);
    assert_int_equal(mu_board_look(p->board, stopped, &first, &c), MU_OK);
    fake_pool_end(p);
}

/* ---- crashes ---- */

static int64_t crash_table[2];

static struct mu_pool *threshold_of_two(void)
{
    struct mu_pool *p = fake_pool("t");

    memset(crash_table, 0, sizeof(crash_table));
    fake_conf.emergency_threshold = 2;
    fake_conf.emergency_interval_ms = 1000;
    fake_conf.manager = MU_POOL_ONDEMAND;
    p->crashes = crash_table;
    return p;
}

/* One that has served for long, and ends by a signal of its own. */
static void crash(struct mu_pool *p, int64_t now)
{
    struct mu_proc *x = fake_proc(p, MU_PROC_SERVING, MU_SLOT_IDLE);

    fake_run(x);
    kill(x->pid, SIGKILL);
    assert_int_equal(fake_end_of(x), SIGKILL);
    x->ready_ms = now - 10000;
    mu_proc_ended(x, SIGKILL, now);
}

static void emergency(void **state)
{
    struct mu_pool *p = threshold_of_two();

    (void)state;
    crash(p, 100000);
    crash(p, 101001); /* too late to count with the first one */
    assert_int_equal(p->epoch, 1);
    crash(p, 102001);
    assert_int_equal(p->epoch, 2);
    crash(p, 102002); /* these count from the beginning */
    assert_int_equal(p->epoch, 2);
    crash(p, 102003);
    assert_int_equal(p->epoch, 3);
    assert_int_equal(p->board->counts.crashed, 5);
    assert_int_equal(p->hold_until_ms, 0); /* none of them failed to start */
    p->crashes = NULL;
    fake_pool_end(p);
}

static void who_was_told_to_end_has_not_crashed(void **state)
{
    struct mu_pool *p = threshold_of_two();

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct mu_proc *x = fake_proc(p, MU_PROC_SERVING, MU_SLOT_IDLE);

        fake_run(x);
        mu_proc_leave(x, 1000, 100);
        assert_int_equal(fake_end_of(x), SIGTERM);
        mu_proc_ended(x, SIGTERM, 1010);
    }
    assert_int_equal(p->epoch, 1);
    assert_int_equal(p->board->counts.crashed, 0);
    p->crashes = NULL;
    fake_pool_end(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_timeout),
        cmocka_unit_test(lies_about_time),
        cmocka_unit_test(an_orphan_is_measured_from_its_beginning),
        cmocka_unit_test(next_request_has_its_own_time),
        cmocka_unit_test(idle_timeout),
        cmocka_unit_test(start_timeout_and_kill),
        cmocka_unit_test(a_grant_is_not_answered),
        cmocka_unit_test(emergency),
        cmocka_unit_test(who_was_told_to_end_has_not_crashed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
