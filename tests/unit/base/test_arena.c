/*
 * Arenas: alignment, growth, reuse after reset, deferred functions and their order, out of memory
 * at each allocation, and the poison that AddressSanitizer sees.
 */
#include "unit.h"

#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif
#ifdef HAS_ASAN
#include <sanitizer/asan_interface.h>
#endif

static void test_alloc_is_aligned_and_disjoint(void **state)
{
    struct mu_arena *a = mu_arena_create(128);
    char *last = NULL;

    (void)state;
    assert_non_null(a);
    for (size_t n = 0; n < 3000; n = n * 2 + 1) {
        char *p = mu_arena_alloc(a, n);

        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        assert_ptr_not_equal(p, last);
        memset(p, 0xee, n);
        if (last)
            assert_int_equal((unsigned char)last[0], n > 1 ? 0xee : (unsigned char)last[0]);
        last = n ? p : last;
    }
    mu_arena_destroy(a);
}

static void test_contents_survive_growth(void **state)
{
    struct mu_arena *a = mu_arena_create(64);
    uint32_t *v[2000];

    (void)state;
    for (uint32_t i = 0; i < 2000; i++) {
        v[i] = mu_new_n(a, uint32_t, 1 + i % 40);
        assert_non_null(v[i]);
        for (uint32_t k = 0; k < 1 + i % 40; k++) {
            assert_int_equal(v[i][k], 0);
            v[i][k] = i;
        }
    }
    for (uint32_t i = 0; i < 2000; i++)
        for (uint32_t k = 0; k < 1 + i % 40; k++)
            assert_int_equal(v[i][k], i);
    mu_arena_destroy(a);
}

static void test_used_counts_what_was_handed_out(void **state)
{
    struct mu_arena *a = mu_arena_create(256);
    size_t sum = 0;

    (void)state;
    assert_int_equal(mu_arena_used(a), 0);
    for (size_t n = 16; n < 100000; n *= 2) {
        size_t before = mu_arena_used(a);

        assert_non_null(mu_arena_alloc(a, n));
        sum += n;
        assert_true(mu_arena_used(a) >= before + n);
        assert_true(mu_arena_used(a) <= before + n + 32);
    }
    assert_true(mu_arena_used(a) >= sum);
    mu_arena_reset(a);
    assert_int_equal(mu_arena_used(a), 0);
    mu_arena_destroy(a);
}

static void test_reset_reuses_the_first_block(void **state)
{
    struct mu_arena *a = mu_arena_create(1024);
    void *first = mu_arena_alloc(a, 100);

    (void)state;
    for (int round = 0; round < 3; round++) {
        assert_non_null(mu_arena_alloc(a, 5000));
        mu_arena_reset(a);
        assert_ptr_equal(mu_arena_alloc(a, 100), first);
    }
    /* A round that fits needs no memory from the heap at all. */
    mu_arena_reset(a);
    mu_alloc_fail_after(0);
    assert_non_null(mu_arena_alloc(a, 500));
    mu_arena_reset(a);
    assert_non_null(mu_arena_alloc(a, 500));
    mu_alloc_fail_after(-1);
    mu_arena_destroy(a);
}

static void test_too_large_is_refused(void **state)
{
    struct mu_arena *a = mu_arena_create(0);

    (void)state;
    assert_null(mu_arena_alloc(a, SIZE_MAX));
    assert_null(mu_arena_alloc(a, SIZE_MAX - 14));
    assert_null(mu_arena_alloc(a, SIZE_MAX / 2 + 1));
    assert_null(mu_arena_zalloc(a, SIZE_MAX / 2, 3));
    assert_null(mu_new_n(a, uint64_t, SIZE_MAX / 8 + 2));
    assert_null(mu_arena_create(SIZE_MAX));
    assert_non_null(mu_arena_alloc(a, 1));
    mu_arena_destroy(a);
}

static char trace[64];
static size_t n_trace;

static void note(void *arg)
{
    trace[n_trace++] = *(const char *)arg;
}

struct chain {
    struct mu_arena *a;
};

static void note_and_defer(void *arg)
{
    struct chain *c = arg;

    trace[n_trace++] = 'n';
    assert_int_equal(mu_defer(c->a, note, (void *)"m"), MU_OK);
}

static void test_defers_run_last_first(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    struct chain c = { a };

    (void)state;
    n_trace = 0;
    assert_int_equal(mu_defer(a, note, (void *)"a"), MU_OK);
    assert_int_equal(mu_defer(a, note_and_defer, &c), MU_OK);
    assert_int_equal(mu_defer(a, note, (void *)"c"), MU_OK);
    mu_arena_reset(a);
    check_str(__LINE__, mu_str_n(trace, n_trace), MU_S("cnma"));
    mu_arena_reset(a); /* once, not again */
    assert_int_equal(n_trace, 4);
    assert_int_equal(mu_defer(a, note, (void *)"z"), MU_OK);
    mu_arena_destroy(a);
    check_str(__LINE__, mu_str_n(trace, n_trace), MU_S("cnmaz"));
    mu_arena_destroy(NULL);
}

static void test_defer_close_closes(void **state)
{
    struct mu_arena *a = mu_arena_create(64);
    int fd = open("/dev/null", O_RDONLY);

    (void)state;
    assert_int_equal(mu_defer_close(a, fd), MU_OK);
    assert_true(fcntl(fd, F_GETFD) >= 0);
    mu_arena_reset(a);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(errno, EBADF);

    /* Out of memory: closed at once. */
    fd = open("/dev/null", O_RDONLY);
    mu_alloc_fail_after(0);
    while (mu_arena_alloc(a, 16))
        ;
    assert_int_equal(mu_defer_close(a, fd), MU_NOMEM);
    mu_alloc_fail_after(-1);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    mu_arena_destroy(a);
}

static void test_out_of_memory_is_null(void **state)
{
    struct mu_arena *a;

    (void)state;
    mu_alloc_fail_after(0);
    assert_null(mu_arena_create(0));
    mu_alloc_fail_after(1);
    a = mu_arena_create(64);
    assert_non_null(a);
    assert_null(mu_arena_alloc(a, 4000)); /* a block of its own */
    while (mu_arena_alloc(a, 16))
        ;
    assert_null(mu_new(a, int));
    assert_null(mu_cstr(a, MU_S("a text of some length, so that it does not fit")));
    assert_null(mu_fmt(a, "%d%200s", 1, "x").p);
    assert_null(mu_str_cat(a, MU_S("0123456789abcdef"), MU_S("0123456789abcdef")).p);
    assert_null(mu_str_dup_lower(a, MU_S("0123456789ABCDEF")).p);
    mu_alloc_fail_after(-1);
    assert_non_null(mu_arena_alloc(a, 4000));
    mu_arena_destroy(a);
}

static void test_strings(void **state)
{
    struct mu_arena *a = mu_arena_create(64);
    struct mu_str s = mu_str_dup(a, MU_S("Hello"));
    char big[2000];

    (void)state;
    check_str(__LINE__, s, MU_S("Hello"));
    assert_int_equal(s.p[5], '\0');
    s = mu_str_dup(a, MU_STR_NULL);
    assert_non_null(s.p);
    assert_int_equal(s.n, 0);
    check_str(__LINE__, mu_str_dup_lower(a, MU_S("MiXed-\xC4Z")), MU_S("mixed-\xC4z"));
    check_str(__LINE__, mu_str_cat(a, MU_S("a"), MU_STR_NULL, MU_S("bc"), MU_S("")), MU_S("abc"));
    assert_int_equal(mu_str_cat(a, MU_S("a"), MU_S("b")).p[2], '\0');
    assert_null(mu_str_cat_n(a, (struct mu_str[]){ { "", SIZE_MAX }, { "", 2 } }, 2).p);
    check_str(__LINE__, mu_fmt(a, "%s-%d", "x", 42), MU_S("x-42"));
    memset(big, 'q', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    s = mu_fmt(a, "<%s>", big);
    assert_int_equal(s.n, sizeof(big) + 1);
    assert_int_equal(s.p[0], '<');
    assert_int_equal(s.p[s.n - 1], '>');
    assert_int_equal(s.p[s.n], '\0');
    assert_string_equal(mu_cstr(a, mu_str_n("abcdef", 3)), "abc");
    mu_arena_destroy(a);
}

#ifdef HAS_ASAN
static void test_poison(void **state)
{
    struct mu_arena *a = mu_arena_create(256);
    char *p = mu_arena_alloc(a, 20);
    char *big = mu_arena_alloc(a, 100000);

    (void)state;
    assert_false(__asan_address_is_poisoned(p));
    assert_false(__asan_address_is_poisoned(p + 19));
    assert_true(__asan_address_is_poisoned(p + 20));
    assert_true(__asan_address_is_poisoned(p + 40));
    assert_false(__asan_address_is_poisoned(big + 99999));
    assert_true(__asan_address_is_poisoned(big + 100000));
    mu_arena_reset(a);
    assert_true(__asan_address_is_poisoned(p));
    mu_arena_destroy(a);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc_is_aligned_and_disjoint),
        cmocka_unit_test(test_contents_survive_growth),
        cmocka_unit_test(test_used_counts_what_was_handed_out),
        cmocka_unit_test(test_reset_reuses_the_first_block),
        cmocka_unit_test(test_too_large_is_refused),
        cmocka_unit_test(test_defers_run_last_first),
        cmocka_unit_test(test_defer_close_closes),
        cmocka_unit_test(test_out_of_memory_is_null),
        cmocka_unit_test(test_strings),
#ifdef HAS_ASAN
        cmocka_unit_test(test_poison),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
