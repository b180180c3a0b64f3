/* Processes share a board and are killed at any moment, as web children may be: nothing is lost,
 * nobody has a process that another one has, and everybody who waits comes to his turn. This test's
 * parent does what the supervisor does: it reaps, sweeps, and finds out about processes in doubt. */
#include "pool_test.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum { WORKERS = 6, SLOTS = 3, LIMIT = 16, KILLS = 400, PATIENCE_MS = 30000 };

/* Beside the board, and like it shared. */
struct notes {
    _Atomic uint32_t holder[SLOTS]; /* pid that uses the "process" now */
    _Atomic uint32_t trouble;       /* line of the first thing that must not be */
    _Atomic uint64_t turns[WORKERS];
};

static struct mu_board *board;
static struct notes *notes;

#define MUST(x)                                                                                    \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            uint32_t none_ = 0;                                                                    \
            atomic_compare_exchange_strong(&notes->trouble, &none_, (uint32_t)__LINE__);           \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static bool wait_turn(struct mu_board_who who, const struct mu_ticket *t, struct mu_claim *c)
{
    enum mu_rc rc;

    while ((rc = mu_board_look(board, who, t, c)) == MU_AGAIN) {
        struct pollfd p = { .fd = test_bells[who.bell], .events = POLLIN };

        MUST(poll(&p, 1, PATIENCE_MS) == 1);
        (void)test_rung(who.bell);
    }
    MUST(rc == MU_OK);
    return true;
}

static void one_turn(struct mu_board_who who, uint64_t i)
{
    uint32_t none = 0, me = who.pid;
    struct mu_claim c;
    struct mu_ticket t;

    if (mu_board_claim(board, who, &c) != MU_OK) {
        MUST(mu_board_enqueue(board, who, LIMIT, 0, &t) == MU_OK);
        if (i % 13 == 0) {
            mu_board_leave(board, who, &t);
            return;
        }
        (void)wait_turn(who, &t, &c);
    }
    MUST(c.slot < SLOTS);
    MUST(atomic_compare_exchange_strong(&notes->holder[c.slot], &none, who.pid));
    if (i % 2)
        sched_yield();
    MUST(atomic_compare_exchange_strong(&notes->holder[c.slot], &me, 0));
    MUST(mu_board_release(board, who, &c, i % 50 ? MU_SLOT_IDLE : MU_SLOT_DOUBT) != MU_SLOT_NONE);
}

static pid_t start(unsigned index)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    for (uint64_t i = 0;; i++) {
        one_turn((struct mu_board_who){ .pid = (uint32_t)getpid(), .bell = (uint8_t)index }, i);
        atomic_fetch_add(&notes->turns[index], 1);
    }
}

/* A "process" nobody holds any more: it accepts again. */
static void settle_doubts(pid_t dead)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        uint32_t was = (uint32_t)dead;

        if (mu_board_state(board, i) != MU_SLOT_DOUBT)
            continue;
        (void)atomic_compare_exchange_strong(&notes->holder[i], &was, 0);
        assert_int_equal(atomic_load(&notes->holder[i]), 0);
        assert_true(mu_board_swap(board, i, MU_SLOT_DOUBT, MU_SLOT_IDLE));
        mu_board_match(board, 0);
    }
}

static uint64_t turns(void)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < WORKERS; i++)
        n += atomic_load(&notes->turns[i]);
    return n;
}

/* They must get on: `n` turns more. */
static void watch_them(uint64_t n)
{
    uint64_t until = turns() + n;

    for (unsigned i = 0; turns() < until; i++) {
        struct timespec ms = { .tv_nsec = 200000 };

        assert_int_equal(atomic_load(&notes->trouble), 0);
        assert_true(i < PATIENCE_MS * 5);
        settle_doubts(0);
        nanosleep(&ms, NULL);
    }
}

static void killed_at_any_moment(void **state)
{
    pid_t pids[WORKERS];
    int64_t since;

    (void)state;
    for (unsigned i = 0; i < WORKERS; i++)
        pids[i] = start(i);
    for (unsigned k = 0; k < KILLS; k++) {
        unsigned victim = (unsigned)random() % WORKERS;
        struct timespec pause = { .tv_nsec = random() % 2000000 };
        int status;

        nanosleep(&pause, NULL);
        kill(pids[victim], SIGKILL);
        assert_int_equal(waitpid(pids[victim], &status, 0), pids[victim]);
        assert_int_equal(atomic_load(&notes->trouble), 0);
        assert_true(WIFSIGNALED(status));
        mu_board_sweep(board, (uint32_t)pids[victim]);
        settle_doubts(pids[victim]);
        pids[victim] = start(victim);
        if (k % 20 == 0)
            watch_them(50);
    }
    watch_them(500);
    for (unsigned i = 0; i < WORKERS; i++) {
        kill(pids[i], SIGKILL);
        assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
        mu_board_sweep(board, (uint32_t)pids[i]);
        settle_doubts(pids[i]);
    }
    /* All came back. */
    assert_int_equal(mu_board_waiting(board, &since), 0);
    for (uint32_t i = 0; i < SLOTS; i++)
        assert_int_equal(mu_board_state(board, i), MU_SLOT_IDLE);
    for (uint32_t i = 0; i < mu_board_tickets_end(board); i++)
        assert_int_equal(atomic_load(&board->ticket[i]), 0);
}

/* One that is stopped in the middle of anything holds nobody up but itself. */
static void stopped_at_any_moment(void **state)
{
    pid_t pids[WORKERS];

    (void)state;
    for (unsigned i = 0; i < WORKERS; i++)
        pids[i] = start(i);
    for (unsigned k = 0; k < 60; k++) {
        unsigned first = (unsigned)random() % WORKERS;
        struct timespec pause = { .tv_nsec = random() % 500000 };

        nanosleep(&pause, NULL);
        /* Two of them, so that one process of three at least is nobody's. */
        for (unsigned i = 0; i < SLOTS - 1; i++)
            kill(pids[(first + i) % WORKERS], SIGSTOP);
        watch_them(20);
        for (unsigned i = 0; i < SLOTS - 1; i++)
            kill(pids[(first + i) % WORKERS], SIGCONT);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        kill(pids[i], SIGKILL);
        assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
        mu_board_sweep(board, (uint32_t)pids[i]);
        settle_doubts(pids[i]);
    }
}

static int set_up(void **state)
{
    (void)state;
    board = test_board();
    notes = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(notes, MAP_FAILED);
    for (uint32_t i = 0; i < SLOTS; i++)
        mu_board_set(board, i, MU_SLOT_IDLE);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    munmap(notes, sizeof(*notes));
    test_board_end(board);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(killed_at_any_moment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stopped_at_any_moment, set_up, tear_down),
    };

    srandom(4711);
    return cmocka_run_group_tests_name("pool/board_kill", tests, NULL, NULL);
}
