/* The scoreboard: its bounds, its seals, and what survives children and images. */
#include "super_test.h"

#include <fcntl.h>
#include <super/scoreboard.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void bounds(void **state)
{
    struct mu_scoreboard *sb = mu_scoreboard_create(3, 4);

    (void)state;
    assert_non_null(sb);
    assert_int_equal(mu_scoreboard_children(sb), 3);
    assert_int_equal(mu_scoreboard_slots(sb), 4);
    assert_non_null(mu_scoreboard_child(sb, 2));
    assert_null(mu_scoreboard_child(sb, 3));
    assert_non_null(mu_scoreboard_slot(sb, 2, 3));
    assert_null(mu_scoreboard_slot(sb, 2, 4));
    assert_null(mu_scoreboard_slot(sb, 3, 0));
    assert_int_equal(mu_scoreboard_slot(sb, 1, 1)->state, '.');
    assert_ptr_equal(mu_scoreboard_slot(sb, 1, 0), mu_scoreboard_slot(sb, 0, 3) + 1);
    mu_scoreboard_destroy(sb);
    assert_null(mu_scoreboard_create(0, 1));
    assert_null(mu_scoreboard_create(1, 0));
    assert_null(mu_scoreboard_create(UINT32_MAX, UINT32_MAX));
}

/* No process that has the descriptor can make another one's access fault. */
static void sealed(void **state)
{
    struct mu_scoreboard *sb = mu_scoreboard_create(1, 1);
    int fd = mu_scoreboard_fd(sb);

    (void)state;
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(ftruncate(fd, 1 << 20), -1);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    mu_scoreboard_destroy(sb);
}

static void life_of_a_child(void **state)
{
    struct mu_scoreboard *sb = mu_scoreboard_create(2, 2);
    struct mu_score_slot *slot = mu_scoreboard_slot(sb, 1, 0);
    struct mu_score_child *child = mu_scoreboard_child(sb, 1);

    (void)state;
    mu_scoreboard_begin_child(sb, 1, 4711, 3);
    assert_int_equal(child->pid, 4711);
    assert_int_equal(slot->pid, 4711);
    assert_int_equal(slot->generation, 3);
    assert_int_equal(slot->state, 'S');
    assert_int_equal(mu_scoreboard_slot(sb, 0, 0)->state, '.');
    slot->accesses = slot->child_accesses = 7;
    slot->bytes = 100;
    child->busy = 2;
    child->over_accesses = 5;
    mu_scoreboard_end_child(sb, 1);
    assert_int_equal(child->pid, 0);
    assert_int_equal(child->busy, 0);
    assert_int_equal(slot->state, '.');
    assert_int_equal(mu_scoreboard_sum(sb).accesses, 12);
    mu_scoreboard_begin_child(sb, 1, 4712, 3);
    assert_int_equal(slot->child_accesses, 0);
    assert_int_equal(slot->accesses, 7);
    mu_scoreboard_begin_child(sb, 2, 4713, 3); /* there is no such place: nothing happens */
    mu_scoreboard_end_child(sb, 2);
    assert_int_equal(mu_scoreboard_sum(sb).bytes, 100);
    mu_scoreboard_destroy(sb);
}

static void base_is_carried(void **state)
{
    struct mu_scoreboard *sb = mu_scoreboard_create(1, 1);
    struct mu_score_totals base = { .accesses = 10, .bytes = 20, .duration_us = 30 };

    (void)state;
    mu_scoreboard_set_base(sb, &base);
    mu_scoreboard_slot(sb, 0, 0)->accesses = 1;
    assert_int_equal(mu_scoreboard_base(sb).accesses, 10);
    assert_int_equal(mu_scoreboard_base(sb).duration_us, 30);
    assert_int_equal(mu_scoreboard_sum(sb).accesses, 1);
    mu_scoreboard_destroy(sb);
}

/* Another image maps the same memory, if it is what the state says it is. */
static void adopted(void **state)
{
    struct mu_scoreboard *sb = mu_scoreboard_create(2, 3), *other;
    int plain;

    (void)state;
    other = mu_scoreboard_adopt(dup(mu_scoreboard_fd(sb)), 2, 3);
    assert_non_null(other);
    mu_scoreboard_slot(sb, 1, 2)->accesses = 9;
    assert_int_equal(mu_scoreboard_slot(other, 1, 2)->accesses, 9);
    mu_scoreboard_destroy(other);
    assert_null(mu_scoreboard_adopt(dup(mu_scoreboard_fd(sb)), 2, 4)); /* another size */
    plain = memfd_create("plain", MFD_CLOEXEC);
    assert_int_equal(ftruncate(plain, 1 << 20), 0);
    assert_null(mu_scoreboard_adopt(plain, 2, 3)); /* not sealed */
    assert_int_equal(close(plain), -1);            /* and taken over all the same */
    mu_scoreboard_destroy(sb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds),          cmocka_unit_test(sealed),
        cmocka_unit_test(life_of_a_child), cmocka_unit_test(base_is_carried),
        cmocka_unit_test(adopted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
