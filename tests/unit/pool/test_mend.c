/* A web child has written over all of a board: what the supervisor makes of it, and that it leaves a
 * sound one as it is. */
#include "pool_fake.h"

enum { ROUNDS = 20 };

static const enum mu_proc_state states[] = { MU_PROC_STARTING, MU_PROC_SERVING, MU_PROC_LEAVING };

static void scribble(struct mu_board *b)
{
    uint64_t *w = (uint64_t *)(void *)b;

    for (size_t i = 0; i < sizeof(*b) / sizeof(*w); i++)
        w[i] = (uint64_t)random() << 42 ^ (uint64_t)random() << 21 ^ (uint64_t)random();
}

static bool may_be(const struct mu_proc *x)
{
    enum mu_slot_state s = mu_board_state(x->pool->board, x->slot);

    if (x->state == MU_PROC_STARTING)
        return s == MU_SLOT_STARTING;
    if (x->state == MU_PROC_LEAVING)
        return s == MU_SLOT_LEAVING;
    return s >= MU_SLOT_IDLE && s <= MU_SLOT_SPENT;
}

static void check(struct mu_pool *p)
{
    uint32_t n = 0;

    MU_PROC_FOR(x, p)
    {
        const struct mu_slot_info *i = &p->board->info[x->slot];

        assert_true(may_be(x));
        assert_int_equal(i->pid, x->pid);
        assert_int_equal(i->serial, x->serial);
        if (x->state == MU_PROC_SERVING)
            assert_int_equal(i->is_retired, 0);
    }
    assert_true(mu_board_slots_end(p->board) >= p->procs_n);
    for (uint32_t i = p->procs_n; i < mu_board_slots_end(p->board); i++)
        assert_int_equal(mu_board_state(p->board, i), MU_SLOT_NONE);
    /* Of 4 million numbers a few hundred are processes. */
    for (uint32_t i = 0; i < mu_board_tickets_end(p->board); i++)
        n += p->board->ticket[i] != 0;
    assert_true(n < 100);
    assert_int_equal(p->board->is_closed, 0);
}

static void rubbish(void **state)
{
    struct mu_pool *p = fake_pool("t");

    (void)state;
    srandom(4711);
    for (size_t i = 0; i < 30; i++)
        fake_proc(p, states[i % MU_ARRAY_LEN(states)], MU_SLOT_IDLE)->pid = 1000 + (pid_t)i;
    for (unsigned round = 0; round < ROUNDS; round++) {
        scribble(p->board);
        mu_pool_mend(p);
        check(p);
    }
    memset(p->board, 0, sizeof(*p->board));
    mu_pool_mend(p);
    check(p);
    memset(p->board, 0xff, sizeof(*p->board));
    mu_pool_mend(p);
    check(p);
    fake_pool_end(p);
}

/* Everything that may be is there, and of a process that lives. */
static void what_is_sound_is_left_alone(void **state)
{
    const struct mu_board_who self = { .pid = (uint32_t)getpid(), .bell = 3 };
    struct mu_pool *p = fake_pool("t");
    struct mu_board *copy = malloc(sizeof(*copy));
    struct mu_ticket t;
    struct mu_claim c;

    (void)state;
    for (size_t i = 0; i < 3; i++)
        (void)fake_proc(p, MU_PROC_SERVING, MU_SLOT_IDLE);
    assert_int_equal(mu_board_claim(p->board, self, &c), MU_OK);
    assert_int_equal(mu_board_claim(p->board, self, &c), MU_OK);
    assert_int_equal(mu_board_release(p->board, self, &c, MU_SLOT_DOUBT), MU_SLOT_DOUBT);
    assert_int_equal(mu_board_claim(p->board, self, &c), MU_OK);
    assert_int_equal(mu_board_enqueue(p->board, self, 10, 1, &t), MU_OK);
    assert_int_equal(mu_board_enqueue(p->board, self, 10, 1, &t), MU_OK);
    assert_int_equal(mu_board_release(p->board, self, &c, MU_SLOT_IDLE), MU_SLOT_IDLE);
    assert_int_equal(mu_board_state(p->board, c.slot), MU_SLOT_RESERVED);
    (void)fake_proc(p, MU_PROC_STARTING, MU_SLOT_STARTING);
    (void)fake_proc(p, MU_PROC_LEAVING, MU_SLOT_LEAVING);
    (void)fake_proc(p, MU_PROC_SERVING, MU_SLOT_SPENT);
    MU_PROC_FOR(x, p)
    atomic_store(&p->board->info[x->slot].serial, x->serial);
    memcpy(copy, p->board, sizeof(*copy));
    mu_pool_mend(p);
    assert_memory_equal(copy, p->board, sizeof(*copy));
    free(copy);
    fake_pool_end(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rubbish),
        cmocka_unit_test(what_is_sound_is_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
