/* Places for scripts, shared by processes: as many as there are, first come first served, given back
 * by the living and taken back from the dead. */
#include "spawn_test.h"

#include <muster/clock.h>

static struct mu_spawn_slots *table;

static int setup(void **state)
{
    (void)state;
    table = mu_spawn_slots_open(-1, -1);
    assert_non_null(table);
    mu_spawn_slots_use(table);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mu_spawn_slots_close(table);
    return 0;
}

/* A fiber that takes a place, holds it for a while, and gives it back. */
struct taker {
    struct mu_script_limits limits;
    int64_t patience_ms, hold_ms;
    enum mu_rc rc;
    uint32_t slot;
    unsigned order; /* in which they got it */
};
static unsigned served;

static void take(void *arg)
{
    struct taker *t = arg;

    t->rc = mu_script_slot_take(&t->limits, NULL, mu_deadline(t->patience_ms), &t->slot);
    if (t->rc != MU_OK)
        return;
    t->order = ++served;
    (void)!mu_sleep(t->hold_ms);
    mu_script_slot_give(t->slot);
}

static void run_all(struct taker *t, size_t n)
{
    struct mu_reactor *r =
        mu_reactor_create(&(struct mu_reactor_opts){ .backend = MU_BACKEND_EPOLL });

    served = 0;
    for (size_t i = 0; i < n; i++)
        assert_int_equal(mu_fiber_run(r, take, &t[i]), MU_OK);
    while (mu_reactor_fibers(r) > 0)
        mu_reactor_turn(r, -1);
    mu_reactor_destroy(r);
}

static void first_come_first_served(void **state)
{
    enum { N = 20 };
    struct taker t[N];

    (void)state;
    for (size_t i = 0; i < N; i++)
        t[i] = (struct taker){ .limits = { 2, 100 }, .patience_ms = 60000, .hold_ms = 1 };
    run_all(t, N);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(t[i].rc, MU_OK);
        assert_true(t[i].slot < 2);
        assert_int_equal(t[i].order, i + 1);
    }
}

static void queue_is_bounded(void **state)
{
    struct taker t[4];

    (void)state;
    for (size_t i = 0; i < 4; i++)
        t[i] = (struct taker){ .limits = { 1, 2 }, .patience_ms = 60000, .hold_ms = 1 };
    run_all(t, 4);
    assert_int_equal(t[0].rc, MU_OK);
    assert_int_equal(t[1].rc, MU_OK);
    assert_int_equal(t[2].rc, MU_OK);
    assert_int_equal(t[3].rc, MU_LIMIT);
}

static void deadlines_pass(void **state)
{
    struct taker t[3] = { { .limits = { 1, 9 }, .patience_ms = 60000, .hold_ms = 100 },
                          { .limits = { 1, 9 }, .patience_ms = 5, .hold_ms = 0 },
                          { .limits = { 1, 9 }, .patience_ms = 60000, .hold_ms = 0 } };

    (void)state;
    run_all(t, 3);
    assert_int_equal(t[0].rc, MU_OK);
    assert_int_equal(t[1].rc, MU_TIMEOUT);
    assert_int_equal(t[2].rc, MU_OK); /* who stood behind the one that left */
    assert_int_equal(t[2].order, 2);
}

/* Another process, which takes `n` places of 2 and says so; `lives`: it gives them back when told. */
static pid_t other(int n, int *told, int *tell)
{
    int up[2], down[2];
    pid_t pid;

    assert_int_equal(pipe(up), 0);
    assert_int_equal(pipe(down), 0);
    pid = fork();
    if (pid == 0) {
        struct mu_reactor *r =
            mu_reactor_create(&(struct mu_reactor_opts){ .backend = MU_BACKEND_EPOLL });
        uint32_t slot[2] = { 0 };
        char c;

        (void)r;
        close(down[1]);
        for (int i = 0; i < n; i++) {
            struct mu_script_limits l = { 2, 9 };

            if (mu_script_slot_take(&l, NULL, MU_NEVER, &slot[i]) != MU_OK)
                _exit(1);
        }
        if (write(up[1], "t", 1) != 1 || read(down[0], &c, 1) != 1)
            _exit(2);
        for (int i = 0; i < n; i++)
            mu_script_slot_give(slot[i]);
        _exit(0);
    }
    close(up[1]);
    close(down[0]);
    *told = up[0];
    *tell = down[1];
    return pid;
}

static void await_other(int told)
{
    char c;

    assert_int_equal(read(told, &c, 1), 1);
    close(told);
}

struct helper_fiber {
    int tell;
    pid_t pid;
    bool dies;
};

/* While the taker waits: the other process gives back what it has, or dies and is swept. */
static void let_go(void *arg)
{
    struct helper_fiber *h = arg;

    (void)!mu_sleep(10);
    if (h->dies) {
        kill(h->pid, SIGKILL);
        assert_int_equal(waitpid(h->pid, NULL, 0), h->pid);
        mu_spawn_slots_forget(table, h->pid);
    } else {
        assert_int_equal(write(h->tell, "x", 1), 1);
    }
    close(h->tell);
}

static void another_process_has_them(bool dies)
{
    struct taker t = { .limits = { 2, 9 }, .patience_ms = 60000 };
    struct helper_fiber h = { .dies = dies };
    struct mu_reactor *r;
    int told;

    h.pid = other(2, &told, &h.tell);
    await_other(told);
    r = mu_reactor_create(&(struct mu_reactor_opts){ .backend = MU_BACKEND_EPOLL });
    assert_int_equal(mu_fiber_run(r, take, &t), MU_OK);
    assert_int_equal(mu_fiber_run(r, let_go, &h), MU_OK);
    while (mu_reactor_fibers(r) > 0)
        mu_reactor_turn(r, -1);
    mu_reactor_destroy(r);
    assert_int_equal(t.rc, MU_OK);
    if (!dies)
        assert_int_equal(waitpid(h.pid, NULL, 0), h.pid);
}

static void another_process_gives_back(void **state)
{
    (void)state;
    another_process_has_them(false);
}

static void another_process_dies(void **state)
{
    (void)state;
    another_process_has_them(true);
}

/* Only its own places are taken from a dead one. */
static void the_living_keep_theirs(void **state)
{
    struct taker t = { .limits = { 2, 0 }, .patience_ms = 1 };
    int told, tell;
    pid_t pid = other(1, &told, &tell);
    uint32_t mine;

    (void)state;
    await_other(told);
    /* With the other's one and this one, two are taken. */
    assert_int_equal(mu_script_slot_take(&t.limits, NULL, 0, &mine), MU_OK);
    mu_spawn_slots_forget(table, getpid() + 100000);
    run_all(&t, 1);
    assert_int_equal(t.rc, MU_LIMIT);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    mu_spawn_slots_forget(table, pid);
    close(tell);
    t = (struct taker){ .limits = { 2, 0 }, .patience_ms = 1 };
    run_all(&t, 1);
    assert_int_equal(t.rc, MU_OK);
    mu_script_slot_give(mine);
}

/* The table over a restart: what runs still counts. */
static void survives_being_mapped_again(void **state)
{
    struct taker t = { .limits = { 1, 0 }, .patience_ms = 1 };
    struct mu_spawn_slots *before = table;
    int fd, event_fd;
    uint32_t slot;

    (void)state;
    assert_int_equal(mu_script_slot_take(&t.limits, NULL, 0, &slot), MU_OK);
    mu_spawn_slots_fds(table, &fd, &event_fd);
    table = mu_spawn_slots_open(dup(fd), dup(event_fd));
    assert_non_null(table);
    mu_spawn_slots_use(table);
    run_all(&t, 1);
    assert_int_equal(t.rc, MU_LIMIT);
    mu_script_slot_give(slot);
    /* One of another size is not believed: a new one is made. */
    mu_spawn_slots_close(table);
    table = mu_spawn_slots_open(open("/dev/null", O_RDWR), open("/dev/null", O_RDWR));
    assert_non_null(table);
    mu_spawn_slots_use(table);
    assert_int_equal(mu_script_slot_take(&t.limits, NULL, 0, &slot), MU_OK);
    mu_spawn_slots_close(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(first_come_first_served, setup, teardown),
        cmocka_unit_test_setup_teardown(queue_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(deadlines_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(another_process_gives_back, setup, teardown),
        cmocka_unit_test_setup_teardown(another_process_dies, setup, teardown),
        cmocka_unit_test_setup_teardown(the_living_keep_theirs, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_being_mapped_again, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
