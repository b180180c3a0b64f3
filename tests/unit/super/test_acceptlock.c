/* The accept lock among processes: exclusion, death of the holder, rubbish in the word. */
#include "super_test.h"

#include <signal.h>
#include <stdlib.h>
#include <super/acceptlock.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 4, ROUNDS = 500 };

static bool never(const void *arg)
{
    (void)arg;
    return false;
}

static bool is_set(const void *arg)
{
    return atomic_load((const _Atomic int *)arg);
}

static int *shared_page(void)
{
    int *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(p, MAP_FAILED);
    return p;
}

static void reap(pid_t pid, int want)
{
    int status = -1;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, want);
}

static void count_under_lock(struct mu_accept_lock *lock, volatile int *counter)
{
    for (int i = 0; i < ROUNDS; i++) {
        int seen;

        if (!mu_accept_lock_acquire(lock, (uint32_t)getpid(), never, NULL))
            _exit(1);
        seen = *counter; /* not atomic: that is what the lock is for */
        if (i % 50 == 0)
            usleep(50);
        *counter = seen + 1;
        mu_accept_lock_drop(lock, (uint32_t)getpid());
    }
    _exit(0);
}

static void excludes(void **state)
{
    struct mu_accept_locks *locks = mu_accept_locks_create(2);
    int *counter = shared_page();
    pid_t pids[PROCESSES];

    (void)state;
    assert_int_equal(mu_accept_locks_count(locks), 2);
    assert_null(mu_accept_locks_at(locks, 2));
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            count_under_lock(mu_accept_locks_at(locks, 1), counter);
    }
    for (int i = 0; i < PROCESSES; i++)
        reap(pids[i], 0);
    assert_int_equal(*counter, PROCESSES * ROUNDS);
    munmap(counter, 4096);
    mu_accept_locks_destroy(locks);
}

/* A child that takes the lock, says so, and is killed. */
static pid_t start_holder(struct mu_accept_lock *lock)
{
    int fds[2];
    char said;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        if (!mu_accept_lock_acquire(lock, (uint32_t)getpid(), never, NULL))
            _exit(1);
        (void)!write(fds[1], "x", 1);
        pause();
        _exit(0);
    }
    assert_int_equal(read(fds[0], &said, 1), 1);
    close(fds[0]);
    close(fds[1]);
    return pid;
}

/* The supervisor reaps the holder and frees what it held. */
static void recovered_by_the_supervisor(void **state)
{
    struct mu_accept_locks *locks = mu_accept_locks_create(1);
    struct mu_accept_lock *lock = mu_accept_locks_at(locks, 0);
    pid_t holder = start_holder(lock);

    (void)state;
    assert_int_equal(lock->word, holder);
    mu_accept_locks_recover(locks, (uint32_t)getpid()); /* somebody else: nothing happens */
    assert_int_equal(lock->word, holder);
    kill(holder, SIGKILL);
    reap(holder, SIGKILL);
    mu_accept_locks_recover(locks, (uint32_t)holder);
    assert_int_equal(lock->word, 0);
    assert_true(mu_accept_lock_acquire(lock, (uint32_t)getpid(), never, NULL));
    mu_accept_lock_drop(lock, (uint32_t)getpid());
    assert_int_equal(lock->word, 0);
    mu_accept_locks_destroy(locks);
}

/* With no supervisor left, a waiter finds out by itself. */
static void recovered_by_a_waiter(void **state)
{
    struct mu_accept_locks *locks = mu_accept_locks_create(1);
    struct mu_accept_lock *lock = mu_accept_locks_at(locks, 0);
    pid_t holder = start_holder(lock);

    (void)state;
    kill(holder, SIGKILL);
    reap(holder, SIGKILL);
    assert_true(mu_accept_lock_acquire(lock, (uint32_t)getpid(), never, NULL));
    mu_accept_lock_drop(lock, (uint32_t)getpid());
    mu_accept_locks_destroy(locks);
}

/* A waiter gives up when it is asked to, and the lock stays the holder's. */
static void given_up(void **state)
{
    struct mu_accept_locks *locks = mu_accept_locks_create(1);
    struct mu_accept_lock *lock = mu_accept_locks_at(locks, 0);
    _Atomic int is_over = 1;

    (void)state;
    lock->word = (uint32_t)getppid();
    assert_false(mu_accept_lock_acquire(lock, (uint32_t)getpid(), is_set, &is_over));
    assert_int_equal(lock->word & 0x7fffffffu, getppid());
    mu_accept_locks_destroy(locks);
}

/* Rubbish names no process, so it is a dead holder like any other. */
static void rubbish(void **state)
{
    static const uint32_t words[] = { 0xffffffffu, 0x80000000u, 0x7fffffffu, 0x7ffffffeu };
    struct mu_accept_locks *locks = mu_accept_locks_create(1);
    struct mu_accept_lock *lock = mu_accept_locks_at(locks, 0);

    (void)state;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        lock->word = words[i];
        assert_true(mu_accept_lock_acquire(lock, (uint32_t)getpid(), never, NULL));
        mu_accept_lock_drop(lock, (uint32_t)getpid());
        assert_int_equal(lock->word, 0);
    }
    mu_accept_locks_destroy(locks);
}

static bool is_pid(const void *arg, uint32_t pid)
{
    return pid == *(const uint32_t *)arg;
}

/* A word that names a live process is freed by the supervisor, unless that is a child of its. */
static void checked(void **state)
{
    struct mu_accept_locks *locks = mu_accept_locks_create(2);
    _Atomic uint32_t *word = &mu_accept_locks_at(locks, 1)->word;
    uint32_t child = (uint32_t)getpid();
    const uint32_t words[] = { 1, (uint32_t)getppid(), 1 | 0x80000000u, 0x80000000u, UINT32_MAX };

    (void)state;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        *word = words[i];
        mu_accept_locks_check(locks, is_pid, &child);
        assert_int_equal(*word, 0);
    }
    *word = child | 0x80000000u;
    mu_accept_locks_check(locks, is_pid, &child);
    assert_int_equal(*word, child | 0x80000000u);
    mu_accept_locks_destroy(locks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(excludes),
        cmocka_unit_test(recovered_by_the_supervisor),
        cmocka_unit_test(recovered_by_a_waiter),
        cmocka_unit_test(given_up),
        cmocka_unit_test(rubbish),
        cmocka_unit_test(checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
