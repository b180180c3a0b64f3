/* The state of a re-exec: what is written is read, what is cut short or unknown is refused. */
#include "super_test.h"

#include <muster/str.h>
#include <super/state.h>
#include <unistd.h>

static struct mu_buf sample(void)
{
    struct mu_buf b = { 0 };
    struct mu_state_listener l = { .fd = 7, .bucket = 1 };

    mu_state_begin(&b);
    mu_state_put_u64(&b, MU_STATE_GENERATION, 42);
    mu_state_put(&b, MU_STATE_LISTENER, &l, sizeof(l), MU_STR_NULL);
    mu_state_put(&b, MU_STATE_TREE_OLD, NULL, 0, MU_S("Listen 80\n"));
    mu_state_put(&b, MU_STATE_END, NULL, 0, MU_STR_NULL);
    return b;
}

static void round_trip(void **state)
{
    struct mu_buf b = sample(), back = { 0 };
    int fd = mu_state_to_fd(mu_buf_str(&b));
    struct mu_state_listener l;
    struct mu_str at, v;
    uint64_t generation;
    uint32_t key;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(lseek(fd, 0, SEEK_END), b.n);
    assert_int_equal(write(fd, "because", 7), 7);
    assert_int_equal(mu_state_from_fd(fd, &back), MU_OK);
    assert_int_equal(mu_state_open(mu_buf_str(&back), &at), MU_OK);
    assert_int_equal(mu_state_next(&at, &key, &v), MU_OK);
    assert_int_equal(key, MU_STATE_GENERATION);
    assert_true(mu_state_head(&v, &generation, sizeof(generation)));
    assert_int_equal(generation, 42);
    assert_false(mu_state_head(&v, &generation, sizeof(generation)));
    assert_int_equal(mu_state_next(&at, &key, &v), MU_OK);
    assert_true(mu_state_head(&v, &l, sizeof(l)));
    assert_int_equal(l.fd, 7);
    assert_int_equal(l.bucket, 1);
    assert_int_equal(mu_state_next(&at, &key, &v), MU_OK);
    assert_true(mu_str_eq(v, MU_S("Listen 80\n")));
    assert_int_equal(mu_state_next(&at, &key, &v), MU_EOF);
    assert_true(mu_str_eq(at, MU_S("because")));
    close(fd);
    mu_buf_fini(&back);
    mu_buf_fini(&b);
}

/* Cut anywhere, it is refused before its end. */
static void cut_short(void **state)
{
    struct mu_buf b = sample();

    (void)state;
    for (size_t n = 0; n < b.n; n++) {
        struct mu_str at, v;
        uint32_t key;
        enum mu_rc rc = mu_state_open(mu_str_n(b.p, n), &at);

        while (rc == MU_OK)
            rc = mu_state_next(&at, &key, &v);
        assert_int_equal(rc, MU_BAD);
    }
    mu_buf_fini(&b);
}

static void other_version(void **state)
{
    struct mu_buf b = sample();
    struct mu_str at;

    (void)state;
    b.p[8]++;
    assert_int_equal(mu_state_open(mu_buf_str(&b), &at), MU_BAD);
    b.p[8]--;
    b.p[0]++;
    assert_int_equal(mu_state_open(mu_buf_str(&b), &at), MU_BAD);
    mu_buf_fini(&b);
}

/* A length that would reach beyond the end, or overflow. */
static void huge_length(void **state)
{
    struct mu_buf b = { 0 };
    uint64_t h[2] = { MU_STATE_TREE_OLD, UINT64_MAX };
    struct mu_str at, v;
    uint32_t key;

    (void)state;
    mu_state_begin(&b);
    mu_buf_add(&b, mu_str_n((const char *)h, sizeof(h)));
    assert_int_equal(mu_state_open(mu_buf_str(&b), &at), MU_OK);
    assert_int_equal(mu_state_next(&at, &key, &v), MU_BAD);
    mu_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(cut_short),
        cmocka_unit_test(other_version),
        cmocka_unit_test(huge_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
