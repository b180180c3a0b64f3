/* 10,000 fibers that wait at once: within 400 MB and the kernel's limit of mappings, and all come
 * back. */
#include "engine_test.h"

#include <muster/clock.h>
#include <sys/resource.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_THREAD__
enum { MANY = 400 }; /* it keeps a megabyte a fiber */
#else
enum { MANY = 10000 };
#endif

static struct mu_wake gate[MANY];
static int passed;

static void waits(void *arg)
{
    struct mu_wait_item it = { .wake = arg };
    char path[256]; /* as a handler would have */

    snprintf(path, sizeof(path), "/srv/www/%p/index.html", arg);
    assert_int_equal(mu_wait(&it, 1, mu_deadline(600000)), MU_OK);
    assert_int_equal(path[0], '/');
    passed++;
}

static long resident_kib(void)
{
    long size, resident;
    FILE *f = fopen("/proc/self/statm", "re");

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
    fclose(f);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void test_many(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    for (int round = 0; round < 2; round++) {
        passed = 0;
        for (int i = 0; i < MANY; i++) {
            mu_wake_init(&gate[i]);
            run_fiber(r, waits, &gate[i]);
        }
        turn_n(r, 1);
        assert_int_equal(mu_reactor_fibers(r), MANY);
        assert_int_equal(passed, 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        print_message("%ld KiB resident\n", resident_kib());
        assert_true(resident_kib() < 400 * 1024);
#else
        (void)resident_kib;
#endif
        for (int i = MANY; i-- > 0;)
            mu_wake_raise(&gate[i]);
        turn_until_idle(r);
        assert_int_equal(passed, MANY);
    }
    mu_reactor_destroy(r);
}

static struct mu_io in[MANY / 4], out[MANY / 4];
static int wanted;

static void reads(void *arg)
{
    char c;
    size_t n;

    assert_int_equal(mu_read(arg, &c, 1, &n, MU_NEVER), MU_OK);
    passed++;
}

static void test_many_descriptors(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct rlimit rl;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
    rl.rlim_cur = rl.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
    wanted = rl.rlim_cur < MANY / 2 + 64 ? (int)rl.rlim_cur / 2 - 64 : MANY / 4;
    passed = 0;
    for (int i = 0; i < wanted; i++) {
        io_pair(&in[i], &out[i]);
        run_fiber(r, reads, &in[i]);
    }
    turn_n(r, 2);
    for (int i = 0; i < wanted; i += 2)
        assert_int_equal(write(out[i].fd, "x", 1), 1);
    while (passed < wanted / 2)
        mu_reactor_turn(r, -1);
    for (int i = 1; i < wanted; i += 2)
        assert_int_equal(write(out[i].fd, "x", 1), 1);
    turn_until_idle(r);
    assert_int_equal(passed, wanted);
    for (int i = 0; i < wanted; i++) {
        mu_io_close(&in[i]);
        mu_io_close(&out[i]);
    }
    mu_reactor_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_many),
        BOTH(test_many_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
