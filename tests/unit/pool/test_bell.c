/* A bell and those who listen to it: everybody is told of every ring, whoever comes first. */
#include "pool_test.h"

#include "pool/bell.h"

#include <poll.h>

enum { EARS = 3 };

static int hears, rings, ear[EARS];

static int set_up(void **state)
{
    int pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    hears = pair[0];
    rings = pair[1];
    for (int i = 0; i < EARS; i++) {
        ear[i] = mu_bell_listen(hears);
        assert_true(ear[i] >= 0);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < EARS; i++)
        close(ear[i]);
    close(hears);
    close(rings);
    return 0;
}

static bool is_told(int i)
{
    struct pollfd p = { .fd = ear[i], .events = POLLIN };

    return poll(&p, 1, 0) == 1;
}

static void hear(int i)
{
    mu_bell_hear(ear[i], hears, rings);
}

/* Until it has heard everything. */
static void hear_all(int i)
{
    for (int n = 0; is_told(i); n++) {
        assert_true(n < 10);
        hear(i);
    }
}

static void each_is_told_once(void **state)
{
    (void)state;
    for (int i = 0; i < EARS; i++)
        assert_false(is_told(i));
    for (int n = 0; n < 1000; n++) {
        mu_bell_ring(rings);
        for (int i = 0; i < EARS; i++) {
            assert_true(is_told((i + n) % EARS)); /* those before have heard it already */
            hear_all((i + n) % EARS);
        }
        for (int i = 0; i < EARS; i++)
            hear_all(i); /* who has emptied it rings once more */
    }
}

static void many_rings_are_one(void **state)
{
    (void)state;
    for (int n = 0; n < 5; n++)
        mu_bell_ring(rings);
    hear(0);
    assert_false(is_told(0));
    assert_true(is_told(1));
}

/* Nobody has listened for a long time: it is full, and heard all the same, also what is rung then. */
static void a_full_bell_is_heard(void **state)
{
    (void)state;
    for (int n = 0; n < 10000; n++)
        mu_bell_ring(rings);
    for (int i = 0; i < EARS; i++) {
        assert_true(is_told(i));
        hear_all(i);
    }
    for (int i = 0; i < EARS; i++)
        hear_all(i);
    mu_bell_ring(rings);
    for (int i = 0; i < EARS; i++)
        assert_true(is_told(i));
}

static void who_comes_late_looks_once(void **state)
{
    int late;

    (void)state;
    mu_bell_ring(rings);
    hear_all(0);
    late = mu_bell_listen(hears);
    assert_true(late >= 0);
    ear[2] = (close(ear[2]), late);
    hear_all(2);
    mu_bell_ring(rings);
    assert_true(is_told(2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_is_told_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_rings_are_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_bell_is_heard, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_comes_late_looks_once, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
