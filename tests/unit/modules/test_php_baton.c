/*
 * One request at a time in a process: who wants the baton of mod_php waits in line on its fiber, its
 * holder is told so, and a fiber that is cancelled while it waits takes nothing along.
 */
#include "../engine/engine_test.h"

#include "php/php.h"

#include <muster/wait.h>

static struct trace events;
static struct mu_fiber *fibers[8];

/* "take"s under its name, waits a turn or more while it has it, gives. Capitals: it has it. */
struct user {
    char name;
    int turns;
    enum mu_rc rc;
};

static void use(void *arg)
{
    struct user *u = arg;

    fibers[u->name - 'a'] = mu_fiber_self();
    note(&events, u->name);
    u->rc = mu_php_baton_take(u);
    if (u->rc != MU_OK) {
        note(&events, '!');
        return;
    }
    note(&events, (char)(u->name - 'a' + 'A'));
    assert_int_equal(mu_php_baton_take(u), MU_LIMIT);
    for (int i = 0; i < u->turns; i++)
        (void)mu_yield();
    note(&events, '-');
    mu_php_baton_give();
}

static int reset(void **state)
{
    (void)state;
    events = (struct trace){ .n = 0 };
    return 0;
}

static void test_in_line(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct user a = { 'a', 3, MU_OK }, b = { 'b', 2, MU_OK }, c = { 'c', 0, MU_OK };

    run_fiber(r, use, &a);
    run_fiber(r, use, &b);
    run_fiber(r, use, &c);
    turn_until_idle(r);
    assert_string_equal(events.s, "aAbc-B-C-");
    run_fiber(r, use, &c); /* it lies there again */
    turn_until_idle(r);
    assert_string_equal(events.s, "aAbc-B-C-cC-");
    mu_reactor_destroy(r);
}

static void test_cancelled_in_line(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct user a = { 'a', 3, MU_OK }, b = { 'b', 0, MU_OK }, c = { 'c', 0, MU_OK };

    run_fiber(r, use, &a);
    run_fiber(r, use, &b);
    run_fiber(r, use, &c);
    mu_fiber_cancel(fibers[1]);
    turn_until_idle(r);
    assert_int_equal(b.rc, MU_GONE);
    assert_string_equal(events.s, "aAbc!-C-");
    mu_reactor_destroy(r);
}

/* It is given to b, which is cancelled before it has run: c gets it all the same. */
static void test_cancelled_at_the_last_moment(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct user b = { 'b', 0, MU_OK }, c = { 'c', 0, MU_OK };
    int other;

    assert_int_equal(mu_php_baton_take(&other), MU_OK);
    run_fiber(r, use, &b);
    run_fiber(r, use, &c);
    mu_php_baton_give();
    mu_fiber_cancel(fibers[1]);
    turn_until_idle(r);
    assert_int_equal(b.rc, MU_GONE);
    assert_int_equal(c.rc, MU_OK);
    assert_string_equal(events.s, "bc!C-");
    assert_int_equal(mu_php_baton_take(&other), MU_OK);
    mu_php_baton_give();
    mu_reactor_destroy(r);
}

int main(void)
{
    struct CMUnitTest tests[] = { BOTH(test_in_line), BOTH(test_cancelled_in_line),
                                  BOTH(test_cancelled_at_the_last_moment) };

    for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++)
        tests[i].setup_func = reset;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
