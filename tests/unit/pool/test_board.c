/* The steps of the queue one by one: what each leaves, and what a sweep finds when somebody dies
 * between two of them. And many threads at once: nobody has a process that another one has. */
#include "pool_test.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

enum { A = 101, B = 102, C = 103 };

static const struct mu_board_who a = { .pid = A, .bell = 1 }, b2 = { .pid = B, .bell = 2 },
                                 c3 = { .pid = C, .bell = 3 };

static struct mu_board *board_of(unsigned idle)
{
    struct mu_board *b = test_board();

    for (uint32_t i = 0; i < idle; i++)
        mu_board_set(b, i, MU_SLOT_IDLE);
    return b;
}

static void claims_and_releases(void **state)
{
    struct mu_board *b = board_of(2);
    struct mu_claim x, y, z;

    (void)state;
    assert_int_equal(mu_board_claim(b, a, &x), MU_OK);
    assert_int_equal(mu_board_claim(b, b2, &y), MU_OK);
    assert_int_equal(x.slot, 0);
    assert_int_equal(y.slot, 1);
    assert_int_equal(mu_board_claim(b, c3, &z), MU_AGAIN);
    assert_int_equal(mu_board_release(b, a, &x, MU_SLOT_IDLE), MU_SLOT_IDLE);
    /* It is x's no longer. */
    assert_int_equal(mu_board_release(b, a, &x, MU_SLOT_IDLE), MU_SLOT_NONE);
    assert_int_equal(mu_board_claim(b, c3, &z), MU_OK);
    assert_int_equal(z.slot, 0);
    assert_int_equal(mu_board_release(b, a, &x, MU_SLOT_IDLE), MU_SLOT_NONE);
    assert_int_equal(mu_board_state(b, 0), MU_SLOT_BUSY);
    assert_int_equal(b->counts.requests, 3);
    test_board_end(b);
}

static void first_come_first_served(void **state)
{
    struct mu_board *b = board_of(1);
    struct mu_claim x, y;
    struct mu_ticket t[3], late;
    int64_t since;

    (void)state;
    assert_int_equal(mu_board_claim(b, a, &x), MU_OK);
    assert_int_equal(mu_board_enqueue(b, a, 10, 1000, &t[0]), MU_OK);
    assert_int_equal(mu_board_enqueue(b, b2, 10, 2000, &t[1]), MU_OK);
    assert_int_equal(mu_board_enqueue(b, c3, 10, 3000, &t[2]), MU_OK);
    assert_int_equal(mu_board_waiting(b, &since), 3);
    assert_int_equal(since, 1000);
    /* The second leaves; its place in the array is free, but not its place in the order. */
    mu_board_leave(b, b2, &t[1]);
    assert_int_equal(mu_board_enqueue(b, b2, 10, 4000, &late), MU_OK);
    assert_int_equal(late.at, t[1].at);
    assert_int_equal(mu_board_look(b, a, &t[0], &y), MU_AGAIN);

    assert_int_equal(mu_board_release(b, a, &x, MU_SLOT_IDLE), MU_SLOT_IDLE);
    assert_int_equal(mu_board_state(b, 0), MU_SLOT_RESERVED);
    assert_int_equal(test_rung(1), 1);
    assert_int_equal(test_rung(2) + test_rung(3), 0);
    assert_false(mu_board_waits(b, &t[0]));
    assert_int_equal(mu_board_look(b, a, &t[0], &x), MU_OK);
    assert_int_equal(mu_board_release(b, a, &x, MU_SLOT_IDLE), MU_SLOT_IDLE);
    assert_int_equal(test_rung(3), 1);
    assert_int_equal(mu_board_look(b, c3, &t[2], &x), MU_OK);
    assert_int_equal(mu_board_look(b, b2, &late, &y), MU_AGAIN);
    assert_int_equal(mu_board_release(b, c3, &x, MU_SLOT_IDLE), MU_SLOT_IDLE);
    assert_int_equal(mu_board_look(b, b2, &late, &x), MU_OK);
    assert_int_equal(mu_board_waiting(b, &since), 0);
    test_board_end(b);
}

/* Who comes now does not overtake who waits, whatever is idle. */
static void nobody_overtakes(void **state)
{
    struct mu_board *b = board_of(0);
    struct mu_ticket t;
    struct mu_claim x;

    (void)state;
    assert_int_equal(mu_board_enqueue(b, a, 10, 0, &t), MU_OK);
    mu_board_set(b, 0, MU_SLOT_IDLE); /* and whoever made it idle was stopped right there */
    assert_int_equal(mu_board_claim(b, b2, &x), MU_AGAIN);
    assert_int_equal(mu_board_enqueue(b, b2, 10, 0, &(struct mu_ticket){ 0 }), MU_OK);
    assert_int_equal(mu_board_look(b, a, &t, &x), MU_OK);
    test_board_end(b);
}

static void the_queue_has_an_end(void **state)
{
    struct mu_board *b = board_of(0);
    struct mu_ticket t[3];

    (void)state;
    assert_int_equal(mu_board_enqueue(b, a, 0, 0, &t[0]), MU_LIMIT);
    assert_int_equal(mu_board_enqueue(b, a, 2, 0, &t[0]), MU_OK);
    assert_int_equal(mu_board_enqueue(b, b2, 2, 0, &t[1]), MU_OK);
    assert_int_equal(mu_board_enqueue(b, c3, 2, 0, &t[2]), MU_LIMIT);
    mu_board_leave(b, a, &t[0]);
    assert_int_equal(mu_board_enqueue(b, c3, 2, 0, &t[2]), MU_OK);
    assert_int_equal(b->counts.refused, 2);
    test_board_end(b);
}

/* A process is granted to who leaves in this moment: the next one gets it. */
static void leaving_passes_on(void **state)
{
    struct mu_board *b = board_of(1);
    struct mu_ticket t[2];
    struct mu_claim x;

    (void)state;
    assert_int_equal(mu_board_claim(b, c3, &x), MU_OK);
    assert_int_equal(mu_board_enqueue(b, a, 10, 0, &t[0]), MU_OK);
    assert_int_equal(mu_board_enqueue(b, b2, 10, 0, &t[1]), MU_OK);
    assert_int_equal(mu_board_release(b, c3, &x, MU_SLOT_IDLE), MU_SLOT_IDLE);
    assert_false(mu_board_waits(b, &t[0]));
    mu_board_leave(b, a, &t[0]);
    assert_int_equal(test_rung(2), 1);
    assert_int_equal(mu_board_look(b, b2, &t[1], &x), MU_OK);
    assert_int_equal(b->counts.requests, 2); /* a's was none */
    test_board_end(b);
}

static void retired_ones_are_not_given_out(void **state)
{
    struct mu_board *b = board_of(2);
    struct mu_claim x, y;

    (void)state;
    assert_int_equal(mu_board_claim(b, a, &x), MU_OK);
    atomic_store(&b->info[0].is_retired, 1);
    atomic_store(&b->info[1].is_retired, 1);
    assert_int_equal(mu_board_claim(b, a, &y), MU_AGAIN);
    assert_int_equal(mu_board_release(b, a, &x, MU_SLOT_IDLE), MU_SLOT_SPENT);
    assert_int_equal(mu_board_state(b, 0), MU_SLOT_SPENT);
    assert_true(mu_board_swap(b, 1, MU_SLOT_IDLE, MU_SLOT_LEAVING));
    assert_false(mu_board_swap(b, 1, MU_SLOT_IDLE, MU_SLOT_LEAVING));
    test_board_end(b);
}

static void cutting_short(void **state)
{
    struct mu_board *b = board_of(2);
    struct mu_claim x, y;

    (void)state;
    assert_int_equal(mu_board_claim(b, a, &x), MU_OK);
    assert_int_equal(mu_board_claim(b, a, &y), MU_OK);
    assert_true(mu_board_cut(b, x.slot, x.word));
    assert_true(mu_board_was_late(b, &x));
    assert_false(mu_board_was_late(b, &y));
    assert_int_equal(mu_board_release(b, a, &x, MU_SLOT_DOUBT), MU_SLOT_NONE);
    /* Too late to be late. */
    assert_int_equal(mu_board_release(b, a, &y, MU_SLOT_IDLE), MU_SLOT_IDLE);
    assert_false(mu_board_cut(b, y.slot, y.word));
    assert_int_equal(mu_board_state(b, y.slot), MU_SLOT_IDLE);
    test_board_end(b);
}

/* ---- somebody dies ---- */

static void dies_while_it_waits(void **state)
{
    struct mu_board *b = board_of(0);
    struct mu_ticket t[2];
    struct mu_claim x;

    (void)state;
    assert_int_equal(mu_board_enqueue(b, a, 10, 0, &t[0]), MU_OK);
    assert_int_equal(mu_board_enqueue(b, b2, 10, 0, &t[1]), MU_OK);
    mu_board_sweep(b, A);
    mu_board_set(b, 0, MU_SLOT_IDLE);
    mu_board_match(b, 0);
    assert_int_equal(mu_board_look(b, b2, &t[1], &x), MU_OK);
    assert_int_equal(mu_board_look(b, a, &t[0], &x), MU_BAD);
    test_board_end(b);
}

static void dies_with_a_process(void **state)
{
    struct mu_board *b = board_of(2);
    struct mu_claim x, y;

    (void)state;
    assert_int_equal(mu_board_claim(b, a, &x), MU_OK);
    assert_int_equal(mu_board_claim(b, b2, &y), MU_OK);
    mu_board_sweep(b, A);
    assert_int_equal(mu_board_state(b, x.slot), MU_SLOT_DOUBT);
    assert_int_equal(mu_board_state(b, y.slot), MU_SLOT_BUSY);
    assert_int_equal(mu_board_claim(b, b2, &x), MU_AGAIN);
    test_board_end(b);
}

static void dies_before_it_takes_its_grant(void **state)
{
    struct mu_board *b = board_of(1);
    struct mu_ticket t[2];
    struct mu_claim x;

    (void)state;
    assert_int_equal(mu_board_claim(b, c3, &x), MU_OK);
    assert_int_equal(mu_board_enqueue(b, a, 10, 0, &t[0]), MU_OK);
    assert_int_equal(mu_board_enqueue(b, b2, 10, 0, &t[1]), MU_OK);
    assert_int_equal(mu_board_release(b, c3, &x, MU_SLOT_IDLE), MU_SLOT_IDLE);
    mu_board_sweep(b, A);
    assert_int_equal(mu_board_look(b, b2, &t[1], &x), MU_OK);
    test_board_end(b);
}

/* The matcher dies behind its grant, before it rings: the sweep rings, and the process, which was
 * reserved in its name, is had in spite of that. */
static void dies_behind_its_grant(void **state)
{
    struct mu_board *b = board_of(1);
    struct mu_ticket t;
    struct mu_claim x;

    (void)state;
    assert_int_equal(mu_board_claim(b, c3, &x), MU_OK);
    assert_int_equal(mu_board_enqueue(b, a, 10, 0, &t), MU_OK);
    mu_board_ringers(NULL);
    assert_int_equal(mu_board_release(b, c3, &x, MU_SLOT_IDLE), MU_SLOT_IDLE);
    mu_board_ringers(test_ringers);
    assert_int_equal(test_rung(1), 0);
    mu_board_sweep(b, C);
    assert_true(test_rung(1) > 0);
    /* The first look finds the process taken back and goes to its old place; it is the next. */
    while (mu_board_look(b, a, &t, &x) == MU_AGAIN)
        continue;
    assert_int_equal(mu_board_state(b, 0), MU_SLOT_BUSY);
    assert_int_equal(mu_board_release(b, a, &x, MU_SLOT_IDLE), MU_SLOT_IDLE);
    test_board_end(b);
}

static struct mu_ticket of_this_thread;

static bool is_mine(const struct mu_board *b, const struct mu_ticket *t)
{
    (void)b;
    return t->at == of_this_thread.at && t->word == of_this_thread.word;
}

/* Who waits in the granter's own thread is told directly; all others by their bell, also one that
 * has the place in the table which a ticket of this thread had before. */
static void no_bell_for_ones_own(void **state)
{
    struct mu_board *b = board_of(1);
    struct mu_claim x;
    struct mu_ticket other;

    (void)state;
    mu_board_own_waiters(is_mine);
    assert_int_equal(mu_board_claim(b, c3, &x), MU_OK);
    assert_int_equal(mu_board_enqueue(b, a, 10, 0, &of_this_thread), MU_OK);
    assert_int_equal(mu_board_release(b, c3, &x, MU_SLOT_IDLE), MU_SLOT_IDLE);
    assert_int_equal(test_rung(1), 0);
    assert_int_equal(mu_board_look(b, a, &of_this_thread, &x), MU_OK);
    assert_int_equal(mu_board_enqueue(b, b2, 10, 0, &other), MU_OK);
    assert_int_equal(other.at, of_this_thread.at);
    assert_int_equal(mu_board_release(b, a, &x, MU_SLOT_IDLE), MU_SLOT_IDLE);
    assert_true(test_rung(2) > 0);
    assert_int_equal(mu_board_look(b, b2, &other, &x), MU_OK);
    assert_int_equal(mu_board_release(b, b2, &x, MU_SLOT_IDLE), MU_SLOT_IDLE);
    mu_board_own_waiters(NULL);
    test_board_end(b);
}

/* The process ends between grant and answer: who was granted it keeps its place in the order. */
static void the_process_dies_behind_the_grant(void **state)
{
    struct mu_board *b = board_of(1);
    struct mu_ticket t[2];
    struct mu_claim x;

    (void)state;
    assert_int_equal(mu_board_claim(b, c3, &x), MU_OK);
    assert_int_equal(mu_board_enqueue(b, a, 10, 0, &t[0]), MU_OK);
    assert_int_equal(mu_board_enqueue(b, b2, 10, 0, &t[1]), MU_OK);
    assert_int_equal(mu_board_release(b, c3, &x, MU_SLOT_IDLE), MU_SLOT_IDLE);
    mu_board_set(b, 0, MU_SLOT_NONE);
    assert_int_equal(mu_board_look(b, a, &t[0], &x), MU_AGAIN);
    assert_true(mu_board_waits(b, &t[0]));
    mu_board_set(b, 0, MU_SLOT_IDLE);
    mu_board_match(b, 0);
    assert_int_equal(mu_board_look(b, b2, &t[1], &x), MU_AGAIN);
    assert_int_equal(mu_board_look(b, a, &t[0], &x), MU_OK);
    test_board_end(b);
}

/* ---- rubbish ---- */

static void rubbish_is_no_harm(void **state)
{
    struct mu_board *b = board_of(4);
    struct mu_claim x;
    int64_t since;
    char text[MU_BOARD_REQUEST * 8 + 1];

    (void)state;
    srandom(7);
    for (unsigned round = 0; round < 200; round++) {
        uint64_t *words = (uint64_t *)(void *)b;

        for (unsigned i = 0; i < 4000; i++)
            words[(size_t)random() % (sizeof(*b) / sizeof(*words))] =
                (uint64_t)random() << 33 ^ (uint64_t)random() << 2 ^ (uint64_t)random();
        atomic_store(&b->slots_end, (uint32_t)random());
        atomic_store(&b->tickets_end, (uint32_t)random() % (round % 2 ? 64 : UINT32_MAX));
        mu_board_sweep(b, (uint32_t)random() % 4000000);
        (void)mu_board_waiting(b, &since);
        assert_in_range(mu_board_claim(b, a, &x), MU_OK, MU_AGAIN);
        mu_board_set(b, (uint32_t)random() % MU_POOL_SLOTS, MU_SLOT_IDLE);
        mu_board_get_text(b->info[random() % MU_POOL_SLOTS].request, MU_BOARD_REQUEST, text);
    }
    test_board_end(b);
}

static void text(void **state)
{
    _Atomic uint64_t words[3];
    char out[25];

    (void)state;
    mu_board_put_text(words, 3, MU_S("GET /\x01\xff HTTP"));
    mu_board_get_text(words, 3, out);
    assert_string_equal(out, "GET /?? HTTP");
    mu_board_put_text(words, 3, MU_S("exactly twenty-four byte"));
    mu_board_get_text(words, 3, out);
    assert_string_equal(out, "exactly twenty-four byte");
    mu_board_put_text(words, 3, MU_S("this is longer than there is room for"));
    mu_board_get_text(words, 3, out);
    assert_string_equal(out, "this is longer than ther");
    mu_board_put_text(words, 3, MU_STR_NULL);
    mu_board_get_text(words, 3, out);
    assert_string_equal(out, "");
}

static void adoption(void **state)
{
    int fd, other;
    struct mu_board *b = mu_board_create(&fd), *again;

    (void)state;
    assert_non_null(b);
    mu_board_set(b, 7, MU_SLOT_IDLE);
    again = mu_board_adopt(fd);
    assert_non_null(again);
    assert_int_equal(mu_board_state(again, 7), MU_SLOT_IDLE);
    assert_int_equal(ftruncate(fd, 100), -1);
    mu_board_unmap(again);
    mu_board_unmap(b);
    close(fd);
    other = memfd_create("x", MFD_CLOEXEC);
    assert_int_equal(ftruncate(other, (off_t)sizeof(struct mu_board)), 0);
    assert_null(mu_board_adopt(other)); /* not sealed */
    close(other);
}

/* ---- many at once ---- */

enum { THREADS = 8, TURNS = 4000, SLOTS = 3, LIMIT = 5 };

static _Atomic uint32_t holder[SLOTS];
static _Atomic uint32_t refused, waited;

static void hold(struct mu_board *b, struct mu_board_who who, struct mu_claim *c)
{
    assert_int_equal(atomic_exchange(&holder[c->slot], who.pid), 0);
    if (c->word % 3 == 0)
        sched_yield();
    assert_int_equal(atomic_exchange(&holder[c->slot], 0), who.pid);
    assert_int_equal(mu_board_release(b, who, c, MU_SLOT_IDLE), MU_SLOT_IDLE);
}

/* Until it is granted: by the bell, never by looking again now and then. */
static void wait_turn(struct mu_board *b, struct mu_board_who who, const struct mu_ticket *t,
                      struct mu_claim *c)
{
    enum mu_rc rc;

    while ((rc = mu_board_look(b, who, t, c)) == MU_AGAIN) {
        struct pollfd p = { .fd = test_bells[who.bell], .events = POLLIN };

        assert_int_equal(poll(&p, 1, 30000), 1); /* else a wake-up was lost */
        (void)test_rung(who.bell);
    }
    assert_int_equal(rc, MU_OK);
}

static void *works(void *arg)
{
    struct mu_board *b = arg;
    static _Atomic uint32_t next;
    uint32_t me = atomic_fetch_add(&next, 1);
    struct mu_board_who who = { .pid = 1000 + me, .bell = (uint8_t)me };

    for (unsigned i = 0; i < TURNS; i++) {
        struct mu_claim c;
        struct mu_ticket t;

        if (mu_board_claim(b, who, &c) != MU_OK) {
            if (mu_board_enqueue(b, who, LIMIT, 0, &t) != MU_OK) {
                atomic_fetch_add(&refused, 1);
                continue;
            }
            if (i % 11 == 0) {
                mu_board_leave(b, who, &t);
                continue;
            }
            atomic_fetch_add(&waited, 1);
            wait_turn(b, who, &t, &c);
        }
        hold(b, who, &c);
    }
    return NULL;
}

static void many_threads(void **state)
{
    struct mu_board *b = board_of(SLOTS);
    pthread_t threads[THREADS];
    int64_t since;

    (void)state;
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, works, b), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(waited > 0);
    assert_int_equal(mu_board_waiting(b, &since), 0);
    assert_true(atomic_load(&b->tickets_end) <= LIMIT);
    for (uint32_t i = 0; i < SLOTS; i++)
        assert_int_equal(mu_board_state(b, i), MU_SLOT_IDLE);
    test_board_end(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims_and_releases),
        cmocka_unit_test(first_come_first_served),
        cmocka_unit_test(nobody_overtakes),
        cmocka_unit_test(the_queue_has_an_end),
        cmocka_unit_test(leaving_passes_on),
        cmocka_unit_test(retired_ones_are_not_given_out),
        cmocka_unit_test(cutting_short),
        cmocka_unit_test(dies_while_it_waits),
        cmocka_unit_test(dies_with_a_process),
        cmocka_unit_test(dies_before_it_takes_its_grant),
        cmocka_unit_test(dies_behind_its_grant),
        cmocka_unit_test(no_bell_for_ones_own),
        cmocka_unit_test(the_process_dies_behind_the_grant),
        cmocka_unit_test(rubbish_is_no_harm),
        cmocka_unit_test(text),
        cmocka_unit_test(adoption),
        cmocka_unit_test(many_threads),
    };

    return cmocka_run_group_tests_name("pool/board", tests, NULL, NULL);
}
