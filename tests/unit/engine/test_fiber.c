/* Fibers: starting, nesting, yielding, limits, cancellation, what a switch preserves, stacks given
 * back. */
#include "engine_test.h"

#include <fenv.h>
#include <muster/mutex.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

static struct trace seen;
static struct mu_fiber *parked;

static void letter(void *arg)
{
    note(&seen, *(const char *)arg);
}

static void letter_yield_letter(void *arg)
{
    const char *s = arg;

    note(&seen, s[0]);
    assert_int_equal(mu_yield(), MU_OK);
    note(&seen, s[1]);
}

static void test_runs_at_once(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    seen.n = 0;
    run_fiber(r, letter, "a");
    note(&seen, '.');
    run_fiber(r, letter, "b");
    assert_string_equal(seen.s, "a.b");
    assert_int_equal(mu_reactor_fibers(r), 0);
    mu_reactor_destroy(r);
}

static void test_yield_is_fair(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    seen.n = 0;
    run_fiber(r, letter_yield_letter, "ax");
    run_fiber(r, letter_yield_letter, "by");
    run_fiber(r, letter_yield_letter, "cz");
    assert_int_equal(mu_reactor_fibers(r), 3);
    turn_until_idle(r);
    assert_string_equal(seen.s, "abcxyz");
    mu_reactor_destroy(r);
}

static void outer(void *arg)
{
    struct mu_reactor *r = arg;

    note(&seen, '(');
    run_fiber(r, letter_yield_letter, "in");
    note(&seen, '|');
    assert_int_equal(mu_yield(), MU_OK);
    note(&seen, ')');
}

static void test_nested_start(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    seen.n = 0;
    run_fiber(r, outer, r);
    turn_until_idle(r);
    assert_string_equal(seen.s, "(i|n)");
    mu_reactor_destroy(r);
}

static void wait_for_cancel(void *arg)
{
    (void)arg;
    parked = mu_fiber_self();
    assert_int_equal(mu_sleep(1000000), MU_GONE);
    assert_true(mu_is_cancelled());
    assert_int_equal(mu_sleep(1), MU_GONE);
    assert_int_equal(mu_yield(), MU_GONE);
    assert_int_equal(mu_wait(NULL, 0, MU_NEVER), MU_GONE);
    note(&seen, 'c');
}

static void test_cancel(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    seen.n = 0;
    run_fiber(r, wait_for_cancel, NULL);
    mu_fiber_cancel(parked);
    mu_fiber_cancel(parked);
    assert_int_equal(mu_reactor_fibers(r), 1); /* marked, not run, not freed */
    turn_until_idle(r);
    assert_string_equal(seen.s, "c");
    run_fiber(r, wait_for_cancel, NULL);
    run_fiber(r, wait_for_cancel, NULL);
    mu_reactor_cancel_all(r);
    turn_until_idle(r);
    assert_string_equal(seen.s, "ccc");
    mu_reactor_destroy(r);
}

static void not_cancelled(void *arg)
{
    (void)arg;
    assert_false(mu_is_cancelled());
    assert_int_equal(mu_sleep(0), MU_OK);
    assert_null(mu_fiber_local(mu_fiber_self()));
}

static void leaves_things_behind(void *arg)
{
    (void)arg;
    mu_fiber_set_local(mu_fiber_self(), arg);
    assert_ptr_equal(mu_fiber_local(mu_fiber_self()), arg);
    mu_fiber_cancel(mu_fiber_self());
    assert_int_equal(mu_sleep(0), MU_GONE);
}

static void test_reused_stack_is_fresh(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    run_fiber(r, leaves_things_behind, r);
    run_fiber(r, not_cancelled, NULL);
    turn_until_idle(r);
    mu_reactor_destroy(r);
}

static void test_limit(void **state)
{
    struct mu_reactor *r =
        mu_reactor_create(&(struct mu_reactor_opts){ .backend = BACKEND(state), .max_fibers = 2 });

    assert_non_null(r);
    seen.n = 0;
    run_fiber(r, letter_yield_letter, "ax");
    run_fiber(r, letter_yield_letter, "by");
    assert_int_equal(mu_fiber_run(r, letter, "!"), MU_NOMEM);
    turn_until_idle(r);
    run_fiber(r, letter, "c");
    assert_string_equal(seen.s, "abxyc");
    mu_reactor_destroy(r);
}

static void round_up(void *arg)
{
    (void)arg;
    assert_int_equal(fegetround(), FE_TONEAREST);
    fesetround(FE_UPWARD);
    assert_int_equal(mu_yield(), MU_OK);
    assert_int_equal(fegetround(), FE_UPWARD);
    fesetround(FE_TONEAREST);
}

/** Rounding is part of a fiber's state. valgrind knows one mode only, so it is not asked. */
static void test_control_words(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    if (getenv("UNDER_VALGRIND") == NULL) {
        run_fiber(r, round_up, NULL);
        assert_int_equal(fegetround(), FE_TONEAREST);
        turn_until_idle(r);
        assert_int_equal(fegetround(), FE_TONEAREST);
    }
    mu_reactor_destroy(r);
}

static uintptr_t low_address;

__attribute__((noinline, no_sanitize("address"))) static void dig(int depth)
{
    volatile char frame[1024];

    memset((char *)frame, depth, sizeof(frame));
    low_address = (uintptr_t)frame;
    if (depth > 1)
        dig(depth - 1);
    __asm__ volatile("" : : "r"(frame) : "memory"); /* not a tail call */
}

static void dig_deep(void *arg)
{
    (void)arg;
    dig(60);
}

static void dig_after_yield(void *arg)
{
    assert_int_equal(mu_yield(), MU_OK);
    dig_deep(arg);
}

static bool is_resident(uintptr_t p)
{
    unsigned char in_core = 0;
    uintptr_t page = p & ~(uintptr_t)4095;

    assert_int_equal(mincore((void *)page, 1, &in_core), 0);
    return in_core & 1;
}

/**
 * What a finished fiber touched beyond the mark goes back to the kernel, but for a few hot stacks.
 */
static void test_deep_stack_is_trimmed(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    uintptr_t last;

    for (int i = 0; i < 20; i++)
        run_fiber(r, dig_after_yield, NULL);
    turn_until_idle(r); /* the last of them ended while others lay on the free list already */
    last = low_address;
    if (getenv("UNDER_VALGRIND") == NULL)
        assert_false(is_resident(last));
    for (int i = 0; i < 3; i++)
        run_fiber(r, dig_deep, NULL); /* a trimmed stack works again */
    mu_reactor_destroy(r);
}

static void overrun(void *arg)
{
    (void)arg;
    dig(100000);
}

static void test_guard_page(void **state)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        struct mu_reactor *r = reactor_of(BACKEND(state));

        if (!freopen("/dev/null", "w", stderr)) /* what a sanitizer says about it */
            _exit(1);
        _exit(mu_fiber_run(r, overrun, NULL) == MU_OK ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_false(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 2));
}

static struct mu_mutex lock = MU_MUTEX_INIT;

static void park_with_a_lock(void *arg)
{
    (void)arg;
    mu_mutex_lock(&lock);
    (void)mu_yield();
    mu_mutex_unlock(&lock);
}

static void test_no_lock_across_a_suspension(void **state)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        struct mu_reactor *r = reactor_of(BACKEND(state));

        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        _exit(mu_fiber_run(r, park_with_a_lock, NULL) == MU_OK ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_false(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 2));
}

static void slow(void *arg)
{
    (void)arg;
    mu_reactor_note_module("sluggish");
    usleep(40000);
}

static void slow_in_place(void *arg)
{
    mu_offload(slow, arg);
}

/* Run it, and say whether that was logged as the module's doing: a turn during which others had the
 * processor may be logged too, as the core's. */
static bool is_blamed(struct mu_reactor *r, void (*fn)(void *arg))
{
    unsigned before = log_lines;

    run_fiber(r, fn, NULL);
    turn_n(r, 2);
    return log_lines > before && strstr(log_last, "MU0100") && strstr(log_last, "sluggish");
}

static void test_slow_turn_is_logged_once(void **state)
{
    struct mu_reactor *r = reactor_of(MU_BACKEND_EPOLL);
    int runs = 0, logged = 0;
    time_t begun;

    (void)state;
    /* Blocking work in place is what such a reactor is for. */
    assert_false(is_blamed(r, slow_in_place));
    while (!is_blamed(r, slow))
        assert_true(runs++ < 1000); /* the core was blamed within this second */
    begun = time(NULL);
    for (runs = 0; runs < 5; runs++)
        logged += is_blamed(r, slow);
    assert_true(logged <= time(NULL) - begun + 1); /* one a second at most */
    mu_reactor_destroy(r);
}

static void spend(void *arg)
{
    for (int i = 0; i < 64; i++)
        assert_int_equal(mu_spent(1), MU_OK);
    note(&seen, *(const char *)arg);
    assert_int_equal(mu_spent(2 * 1024 * 1024), MU_OK);
    note(&seen, *(const char *)arg);
}

static void test_much_work_yields(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    seen.n = 0;
    run_fiber(r, spend, "a");
    run_fiber(r, spend, "b");
    note(&seen, '.');
    turn_until_idle(r);
    assert_string_equal(seen.s, ".abab");
    mu_reactor_destroy(r);
}

static void test_lent_things_are_reused(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    size_t cap;
    char *b = mu_reactor_buf_borrow(r, &cap), *again;
    struct mu_arena *a = mu_reactor_arena_borrow(r);

    assert_non_null(b);
    assert_non_null(a);
    assert_true(cap >= 16 * 1024);
    mu_reactor_buf_give_back(r, b);
    mu_reactor_arena_give_back(r, a);
    again = mu_reactor_buf_borrow(r, &cap);
    assert_ptr_equal(again, b);
    assert_ptr_equal(mu_reactor_arena_borrow(r), a);
    mu_reactor_buf_give_back(r, again);
    mu_reactor_arena_give_back(r, a);
    mu_reactor_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_runs_at_once),
        BOTH(test_yield_is_fair),
        BOTH(test_nested_start),
        BOTH(test_cancel),
        BOTH(test_reused_stack_is_fresh),
        BOTH(test_limit),
        BOTH(test_control_words),
        BOTH(test_deep_stack_is_trimmed),
        BOTH(test_guard_page),
        BOTH(test_no_lock_across_a_suspension),
        cmocka_unit_test(test_slow_turn_is_logged_once),
        BOTH(test_much_work_yields),
        BOTH(test_lent_things_are_reused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
