/* Timers: order, many durations at once, arming and cancelling from callbacks, no wake-up when
 * there is none. */
#include "engine_test.h"

#include <engine/internal.h>

static struct trace seen;

struct lettered {
    struct mu_timer t;
    char c;
    int64_t again_ms;
    struct mu_timer *victim;
};

static void fire(struct mu_timer *t)
{
    struct lettered *l = MU_CONTAINER_OF(t, struct lettered, t);

    note(&seen, l->c);
    if (l->victim)
        mu_timer_cancel(l->victim);
    if (l->again_ms >= 0) {
        mu_timer_arm(t, l->again_ms);
        l->again_ms = -1;
    }
}

static struct lettered make(char c)
{
    struct lettered l = { .c = c, .again_ms = -1 };

    return l;
}

static void arm(struct lettered *l, int64_t ms)
{
    mu_timer_init(&l->t, fire);
    mu_timer_arm(&l->t, ms);
    assert_true(mu_timer_is_armed(&l->t));
}

static void turn_until(struct mu_reactor *r, size_t n)
{
    while (seen.n < n)
        mu_reactor_turn(r, -1);
}

static void test_order(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct lettered a = make('a'), b = make('b'), c = make('c'), d = make('d');

    seen.n = 0;
    arm(&c, 30);
    arm(&a, 10);
    arm(&b, 20);
    arm(&d, 30);
    turn_until(r, 4);
    assert_string_equal(seen.s, "abcd");
    assert_false(mu_timer_is_armed(&a.t));
    mu_reactor_destroy(r);
}

static void test_cancel_and_rearm(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct lettered a = make('a'), b = make('b'), c = make('c');

    seen.n = 0;
    arm(&a, 5);
    arm(&b, 5);
    arm(&c, 10);
    mu_timer_cancel(&a.t);
    mu_timer_cancel(&a.t);
    assert_false(mu_timer_is_armed(&a.t));
    mu_timer_arm(&b.t, 20); /* re-armed: later than c now */
    turn_until(r, 2);
    assert_string_equal(seen.s, "cb");
    mu_reactor_destroy(r);
}

static int count_of(char c)
{
    int n = 0;

    for (size_t i = 0; i < seen.n; i++)
        n += seen.s[i] == c;
    return n;
}

static void test_from_callbacks(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct lettered a = make('a'), b = make('b'), c = make('c'), z = make('z');

    seen.n = 0;
    a.victim = &b.t; /* the next of the same queue */
    a.again_ms = 0;  /* must not spin, and must come again */
    c.again_ms = 5;
    arm(&a, 5);
    arm(&b, 5);
    arm(&c, 10);
    arm(&z, 60);
    turn_until(r, 5);
    assert_int_equal(seen.s[0],
                     'a'); /* the rest may fall into one late turn, in any order but b's */
    assert_null(strchr(seen.s, 'b'));
    assert_int_equal(count_of('a'), 2);
    assert_int_equal(count_of('c'), 2);
    mu_reactor_destroy(r);
}

enum { N = 5000 };
static struct mu_timer many[N];
static int64_t fired_at[N], wheel_now;
static size_t unfired;

static void note_time(struct mu_timer *t)
{
    fired_at[t - many] = wheel_now;
    unfired--;
}

/**
 * Far more durations than there are exact queues: none fires before its time, all fire in order.
 */
static void test_many_durations(void **state)
{
    static struct mu_timers ts;
    int64_t now = 1000;

    (void)state;
    unfired = N;
    mu_timers_init(&ts);
    for (int i = 0; i < N; i++) {
        mu_timer_init(&many[i], note_time);
        mu_timers_arm(&ts, &many[i], now, (i * 7919) % 100003);
    }
    while (unfired > 0) {
        int64_t next = mu_timers_next(&ts, now);

        assert_true(next >= 0);
        now += next;
        wheel_now = now;
        mu_timers_expire(&ts, now);
    }
    for (int i = 0; i < N; i++)
        assert_int_equal(fired_at[i], many[i].deadline_ms);
    assert_int_equal(mu_timers_next(&ts, now), -1);
}

static int fired;

static void count(struct mu_timer *t)
{
    (void)t;
    fired++;
}

/** The real loop over the same load, with a clock that is moved by hand. */
static void test_expire(void **state)
{
    static struct mu_timers ts;
    static struct mu_timer t[N];
    int64_t now = 5;

    (void)state;
    fired = 0;
    mu_timers_init(&ts);
    for (int i = 0; i < N; i++) {
        mu_timer_init(&t[i], count);
        mu_timers_arm(&ts, &t[i], now, 1 + (i * 31) % 4001);
    }
    for (int i = 0; i < N; i += 2)
        mu_list_remove(&t[i].link);
    while (fired < N / 2) {
        int64_t next = mu_timers_next(&ts, now);
        int before = fired;

        assert_true(next > 0);
        mu_timers_expire(&ts, now + next - 1);
        assert_int_equal(fired, before);
        now += next;
        mu_timers_expire(&ts, now);
    }
    for (int i = 0; i < N; i++)
        assert_false(mu_timer_is_armed(&t[i]));
}

static void test_huge_spans(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct lettered a = make('a'), b = make('b');

    seen.n = 0;
    arm(&a, INT64_MAX);
    arm(&b, -5);
    assert_true(a.t.deadline_ms > mu_now_ms());
    turn_until(r, 1);
    assert_string_equal(seen.s, "b");
    mu_timer_cancel(&a.t);
    assert_int_equal(mu_deadline(-1), MU_NEVER);
    assert_int_equal(mu_deadline(MU_NEVER), MU_NEVER);
    mu_reactor_destroy(r);
}

static void sleeper(void *arg)
{
    const char *s = arg;

    assert_int_equal(mu_sleep(s[0] - '0'), MU_OK);
    note(&seen, s[1]);
}

static void test_sleep(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    seen.n = 0;
    run_fiber(r, sleeper, "9c");
    run_fiber(r, sleeper, "5b");
    run_fiber(r, sleeper, "0a");
    turn_until_idle(r);
    assert_string_equal(seen.s, "abc");
    mu_reactor_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_order),
        BOTH(test_cancel_and_rearm),
        BOTH(test_from_callbacks),
        cmocka_unit_test(test_many_durations),
        cmocka_unit_test(test_expire),
        BOTH(test_huge_spans),
        BOTH(test_sleep),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
