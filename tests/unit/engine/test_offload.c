/* Offload in both forms, calls home, nesting, cancellation; file reads; posts and wakes from other
 * threads. */
#include "engine_test.h"

#include <errno.h>
#include <muster/clock.h>
#include <pthread.h>
#include <semaphore.h>

static struct trace seen;
static pthread_t home;
static struct mu_io left, right;
static struct mu_fiber *the_fiber;

/** The state says how blocking work is done: on threads or in place, under which backend. */
enum { THREADS = 2 };
#define FORMS(fn)                                                                                  \
    { #fn "/epoll+threads", fn, NULL, NULL, (void *)(uintptr_t)(MU_BACKEND_EPOLL | THREADS) },     \
        { #fn "/epoll+in place", fn, NULL, NULL, (void *)(uintptr_t)MU_BACKEND_EPOLL },            \
        { #fn "/single+threads", fn, NULL, NULL,                                                   \
          (void *)(uintptr_t)(MU_BACKEND_SINGLE | THREADS) },                                      \
    {                                                                                              \
#fn "/single+in place", fn, NULL, NULL, (void *)(uintptr_t)MU_BACKEND_SINGLE               \
    }

struct rig {
    struct mu_reactor *r;
    struct mu_worker_pool *workers, *files;
    bool has_threads;
};

static struct rig rig_of(void **state)
{
    uintptr_t form = (uintptr_t)*state;
    struct rig g = { .has_threads = form & THREADS };
    struct mu_reactor_opts o = { .backend = (enum mu_backend)(form & 1) };

    if (g.has_threads) {
        o.workers = g.workers = mu_worker_pool_create(2, 256 * 1024);
        o.files = g.files = mu_worker_pool_create(1, 0);
        assert_non_null(g.workers);
        assert_non_null(g.files);
    }
    o.big_stack_size = 2 * 1024 * 1024;
    g.r = mu_reactor_create(&o);
    assert_non_null(g.r);
    home = pthread_self();
    seen.n = 0;
    return g;
}

static void rig_down(struct rig *g)
{
    mu_worker_pool_destroy(g->workers);
    mu_worker_pool_destroy(g->files);
    mu_reactor_destroy(g->r);
}

static bool is_home(void)
{
    return pthread_equal(pthread_self(), home);
}

static void blocks(void *arg)
{
    const struct rig *g = arg;

    assert_int_equal(mu_is_offloaded(), g->has_threads);
    assert_int_equal(is_home(), !g->has_threads);
    assert_ptr_equal(mu_fiber_self(), the_fiber);
    usleep(1000);
    note(&seen, 'b');
}

static void offloads(void *arg)
{
    the_fiber = mu_fiber_self();
    note(&seen, '(');
    mu_offload(blocks, arg);
    assert_true(is_home());
    assert_false(mu_is_offloaded());
    note(&seen, ')');
}

static void test_offload(void **state)
{
    struct rig g = rig_of(state);

    run_fiber(g.r, offloads, &g);
    turn_until_idle(g.r);
    assert_string_equal(seen.s, "(b)");
    rig_down(&g);
}

__attribute__((noinline)) static size_t recurse(size_t left_bytes)
{
    volatile char frame[4096];

    memset((char *)frame, 1, sizeof(frame));
    if (left_bytes > sizeof(frame))
        left_bytes = recurse(left_bytes - sizeof(frame));
    return left_bytes + (size_t)frame[17];
}

static void needs_much_stack(void *arg)
{
    const struct rig *g = arg;

    assert_true(recurse(g->has_threads ? 100 * 1024 : 1024 * 1024) > 0);
}

static void offloads_deep(void *arg)
{
    for (int i = 0; i < 3; i++) {
        mu_offload(needs_much_stack, arg);
        note(&seen, 'd');
    }
}

static void test_big_stack(void **state)
{
    struct rig g = rig_of(state);

    run_fiber(g.r, offloads_deep, &g);
    run_fiber(g.r, offloads_deep, &g);
    turn_until_idle(g.r);
    assert_string_equal(seen.s, "dddddd");
    rig_down(&g);
}

static void says_where(void *arg)
{
    assert_true(is_home());
    assert_false(mu_is_offloaded());
    note(&seen, *(const char *)arg);
    errno = EXDEV;
}

static void inner(void *arg)
{
    const struct rig *g = arg;

    assert_int_equal(is_home(), !g->has_threads);
    note(&seen, 'i');
    mu_call_home(says_where, "h");
    note(&seen, 'i');
}

static void home_that_blocks(void *arg)
{
    assert_true(is_home());
    note(&seen, '[');
    mu_offload(inner,
               arg); /* blocking work in a call home goes back to the worker that waits for it */
    note(&seen, ']');
}

static void nests(void *arg)
{
    pthread_t me = pthread_self();

    mu_offload(inner, arg); /* a direct call */
    assert_true(pthread_equal(me, pthread_self()));
    errno = 0;
    mu_call_home(says_where, "H");
    assert_int_equal(errno, EXDEV);
    mu_call_home(home_that_blocks, arg);
    assert_int_equal(mu_yield(), MU_OK);
    note(&seen, 'e');
}

static void offloads_nest(void *arg)
{
    mu_offload(nests, arg);
    note(&seen, ')');
}

static void test_nested(void **state)
{
    struct rig g = rig_of(state);

    run_fiber(g.r, offloads_nest, &g);
    turn_until_idle(g.r);
    assert_string_equal(seen.s, "ihiH[ihi]e)");
    rig_down(&g);
}

static void timer_fires(struct mu_timer *t)
{
    (void)t;
    assert_true(is_home());
    note(&seen, 't');
}

/** Everything that waits or touches the reactor, from blocking code. */
static void talks(void *arg)
{
    struct mu_wait_item it = { .io = &left, .want = MU_READABLE };
    struct iovec iov[2] = { { "ab", 2 }, { "cd", 2 } };
    struct mu_timer t;
    struct mu_wake w;
    char buf[16];
    size_t n;

    (void)arg;
    assert_int_equal(mu_try_read(&left, buf, sizeof(buf), &n), MU_AGAIN);
    assert_int_equal(mu_wait(&it, 1, mu_deadline(2)), MU_TIMEOUT);
    assert_int_equal(mu_write_all(&right, "hello", 5, MU_NEVER), MU_OK);
    assert_int_equal(mu_wait(&it, 1, MU_NEVER), MU_OK);
    assert_int_equal(mu_read(&left, buf, sizeof(buf), &n, MU_NEVER), MU_OK);
    assert_int_equal(n, 5);
    assert_int_equal(mu_writev_all(&left, iov, 2, MU_NEVER), MU_OK);
    assert_int_equal(mu_try_read(&right, buf, sizeof(buf), &n), MU_OK);
    assert_memory_equal(buf, "abcd", 4);
    mu_timer_init(&t, timer_fires);
    mu_timer_arm(&t, 1);
    assert_int_equal(mu_sleep(5), MU_OK);
    mu_timer_arm(&t, 1000000);
    mu_timer_cancel(&t);
    mu_wake_init(&w);
    mu_wake_raise(&w);
    it = (struct mu_wait_item){ .wake = &w };
    assert_int_equal(mu_wait(&it, 1, MU_NEVER), MU_OK);
    mu_io_close(&left);
    assert_int_equal(mu_read(&right, buf, sizeof(buf), &n, MU_NEVER), MU_EOF);
    assert_int_equal(close(mu_io_release(&right)), 0);
    note(&seen, 'k');
}

static void offloads_talk(void *arg)
{
    io_pair(&left, &right);
    mu_offload(talks, arg);
}

static void test_waiting_from_blocking_code(void **state)
{
    struct rig g = rig_of(state);

    run_fiber(g.r, offloads_talk, &g);
    turn_until_idle(g.r);
    assert_string_equal(seen.s, "tk");
    rig_down(&g);
}

static sem_t reached, proceed;

static void is_cancelled_inside(void *arg)
{
    const struct rig *g = arg;
    char c;
    size_t n;

    if (g->has_threads) {
        sem_post(&reached);
        while (sem_wait(&proceed) != 0)
            continue;
    } else {
        mu_fiber_cancel(mu_fiber_self());
    }
    assert_true(mu_is_cancelled());
    assert_int_equal(mu_read(&left, &c, 1, &n, MU_NEVER), MU_GONE);
    assert_int_equal(mu_sleep(1000000), MU_GONE);
    assert_int_equal(mu_yield(), MU_GONE);
    note(&seen, 'c');
}

static void offloads_cancelled(void *arg)
{
    io_pair(&left, &right);
    the_fiber = mu_fiber_self();
    mu_offload(is_cancelled_inside, arg);
    note(&seen, ')'); /* joined, though cancelled long before the work was done */
    mu_io_close(&left);
    mu_io_close(&right);
}

static void test_cancel_while_offloaded(void **state)
{
    struct rig g = rig_of(state);

    sem_init(&reached, 0, 0);
    sem_init(&proceed, 0, 0);
    run_fiber(g.r, offloads_cancelled, &g);
    if (g.has_threads) {
        while (sem_wait(&reached) != 0)
            continue;
        mu_fiber_cancel(the_fiber);
        turn_n(g.r, 3);
        assert_int_equal(seen.n, 0);
        assert_int_equal(mu_reactor_fibers(g.r), 1);
        sem_post(&proceed);
    }
    turn_until_idle(g.r);
    assert_string_equal(seen.s, "c)");
    rig_down(&g);
}

static void cancelled_in_a_wait(void *arg)
{
    (void)arg;
    assert_int_equal(mu_sleep(1000000), MU_GONE);
    note(&seen, 'c');
}

static void offloads_a_wait(void *arg)
{
    the_fiber = mu_fiber_self();
    mu_offload(cancelled_in_a_wait, arg);
    note(&seen, ')');
}

static void cancel_soon(struct mu_timer *t)
{
    (void)t;
    mu_fiber_cancel(the_fiber);
}

static void test_cancel_in_a_wait_of_blocking_code(void **state)
{
    struct rig g = rig_of(state);
    struct mu_timer t;

    run_fiber(g.r, offloads_a_wait, &g);
    mu_timer_init(&t, cancel_soon);
    mu_timer_arm(&t, 10);
    turn_until_idle(g.r);
    assert_string_equal(seen.s, "c)");
    rig_down(&g);
}

enum { MANY = 200 };
static int done, called_home;

static void count_home(void *arg)
{
    (void)arg;
    assert_true(is_home());
    called_home++;
}

static void short_work(void *arg)
{
    mu_call_home(count_home, arg);
}

static void offloads_often(void *arg)
{
    for (int i = 0; i < 5; i++)
        mu_offload(short_work, arg);
    done++;
}

static void test_more_work_than_workers(void **state)
{
    struct rig g = rig_of(state);

    done = called_home = 0;
    for (int i = 0; i < MANY; i++)
        run_fiber(g.r, offloads_often, NULL);
    turn_until_idle(g.r);
    assert_int_equal(done, MANY);
    assert_int_equal(called_home, 5 * MANY);
    if (g.has_threads) {
        uint32_t queued, busy;

        mu_worker_pool_load(g.workers, &queued, &busy);
        assert_int_equal(queued, 0);
    }
    rig_down(&g);
}

static void reads_a_file(void *arg)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    char buf[16];
    size_t n;

    (void)arg;
    assert_int_equal(mu_file_pread(fd, buf, sizeof(buf), 0, &n), MU_OK);
    assert_memory_equal(buf, "\177ELF", 4);
    assert_int_equal(mu_file_pread(fd, buf, sizeof(buf), 1 << 30, &n), MU_EOF);
    close(fd);
    fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC); /* knows no RWF_NOWAIT */
    assert_int_equal(mu_file_pread(fd, buf, 4, 0, &n), MU_OK);
    assert_memory_equal(buf, "Name", 4);
    close(fd);
    assert_int_equal(mu_file_pread(fd, buf, sizeof(buf), 0, &n), MU_EIO);
    assert_int_equal(errno, EBADF);
    note(&seen, 'f');
}

static void test_file_reads(void **state)
{
    struct rig g = rig_of(state);

    run_fiber(g.r, reads_a_file, NULL);
    turn_until_idle(g.r);
    assert_string_equal(seen.s, "f");
    rig_down(&g);
}

/* ---- other threads ---- */

enum { POSTS = 20000, POSTERS = 3 };
struct poster {
    struct mu_reactor *r;
    struct mu_post node[POSTS];
    int next; /* the reactor's: posts of one thread arrive in order */
    pthread_t thread;
};
static int posted;

static void on_post(void *arg)
{
    struct poster *p = arg;

    assert_true(p->node[p->next].fn == on_post);
    p->next++;
    posted++;
}

static void *post_all(void *arg)
{
    struct poster *p = arg;

    for (int i = 0; i < POSTS; i++) {
        p->node[i].fn = on_post;
        p->node[i].arg = p;
        mu_reactor_post(p->r, &p->node[i]);
        if (i % 64 == 0)
            usleep(50); /* so that the reactor falls asleep now and then */
    }
    return NULL;
}

static void test_posts(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    static struct poster p[POSTERS];

    posted = 0;
    memset(p, 0, sizeof(p));
    for (int i = 0; i < POSTERS; i++) {
        p[i].r = r;
        assert_int_equal(pthread_create(&p[i].thread, NULL, post_all, &p[i]), 0);
    }
    while (posted < POSTS * POSTERS)
        mu_reactor_turn(r, -1); /* a lost wake-up would hang here */
    for (int i = 0; i < POSTERS; i++)
        pthread_join(p[i].thread, NULL);
    mu_reactor_destroy(r);
}

static void post_from_post(void *arg)
{
    struct mu_post *node = arg;

    note(&seen, 'p');
    if (seen.n < 3)
        mu_reactor_post(mu_reactor_self(), node);
}

static void test_post_from_its_own_thread(void **state)
{
    struct mu_reactor *r =
        mu_reactor_create(&(struct mu_reactor_opts){ .backend = BACKEND(state), .is_alone = true });
    struct mu_post node = { .fn = post_from_post, .arg = &node };

    assert_non_null(r);
    seen.n = 0;
    mu_reactor_post(r, &node);
    while (seen.n < 3)
        mu_reactor_turn(r, -1);
    assert_string_equal(seen.s, "ppp");
    mu_reactor_destroy(r);
}

static struct mu_wake ping, pong;
static sem_t pinged;

static void *answers(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2000; i++) {
        while (sem_wait(&pinged) != 0)
            continue;
        mu_wake_raise_remote(&pong);
        if (i % 2)
            mu_wake_raise_remote(&pong); /* raising twice is raising once or twice, never a crash */
    }
    return NULL;
}

static void plays(void *arg)
{
    struct mu_wait_item it = { .wake = &pong };

    (void)arg;
    for (int i = 0; i < 2000; i++) {
        sem_post(&pinged);
        assert_int_equal(mu_wait(&it, 1, MU_NEVER), MU_OK);
    }
}

static void test_remote_wake(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    pthread_t t;

    sem_init(&pinged, 0, 0);
    mu_wake_init(&ping);
    mu_wake_init(&pong);
    assert_int_equal(pthread_create(&t, NULL, answers, NULL), 0);
    run_fiber(r, plays, NULL);
    turn_until_idle(r);
    pthread_join(t, NULL);
    turn_n(r, 2);
    mu_reactor_destroy(r);
}

static void stop_it(void *arg)
{
    mu_reactor_stop(arg);
}

static void *stops(void *arg)
{
    struct mu_post *node = arg;

    mu_reactor_post(node->arg, node);
    return NULL;
}

static void test_stop_from_a_thread(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct mu_post node = { .fn = stop_it, .arg = r };
    uint64_t busy, turns;
    pthread_t t;

    assert_int_equal(pthread_create(&t, NULL, stops, &node), 0);
    mu_reactor_run(r);
    pthread_join(t, NULL);
    mu_reactor_load(r, &busy, &turns);
    assert_true(turns >= 1);
    mu_reactor_destroy(r);
}

static atomic_uint threads_started, threads_ended;

static void on_start(uint32_t index)
{
    atomic_fetch_or(&threads_started, 1u << index);
}

static void on_end(uint32_t index)
{
    atomic_fetch_or(&threads_ended, 1u << index);
}

static void test_thread_hooks(void **state)
{
    struct mu_worker_pool *p;

    (void)state;
    mu_worker_pool_on_thread(on_start, on_end);
    p = mu_worker_pool_create(3, 0);
    assert_non_null(p);
    mu_worker_pool_destroy(p);
    mu_worker_pool_on_thread(NULL, NULL);
    assert_int_equal(atomic_load(&threads_started), 7);
    assert_int_equal(atomic_load(&threads_ended), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FORMS(test_offload),
        FORMS(test_big_stack),
        FORMS(test_nested),
        FORMS(test_waiting_from_blocking_code),
        FORMS(test_cancel_while_offloaded),
        FORMS(test_cancel_in_a_wait_of_blocking_code),
        FORMS(test_more_work_than_workers),
        FORMS(test_file_reads),
        BOTH(test_posts),
        BOTH(test_post_from_its_own_thread),
        BOTH(test_remote_wake),
        BOTH(test_stop_from_a_thread),
        cmocka_unit_test(test_thread_hooks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
