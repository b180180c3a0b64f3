/* What the engine asks of the kernel: counted system calls (the linker wraps them, see
 * meson.build). */
#include "engine_test.h"

#include <muster/clock.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/rseq.h>

static struct {
    int polls, epoll_waits, epoll_ctls, maps, advices, recvs, last_timeout_ms;
    nfds_t polled;
} calls;

int __real_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __real_epoll_wait(int epfd, struct epoll_event *events, int n, int timeout_ms);
int __wrap_epoll_wait(int epfd, struct epoll_event *events, int n, int timeout_ms);
int __real_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
void *__real_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t off);
void *__wrap_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t off);
int __real_madvise(void *at, size_t n, int advice);
int __wrap_madvise(void *at, size_t n, int advice);
ssize_t __real_mu_sys_recv(int fd, void *buf, size_t n, int flags);
ssize_t __wrap_mu_sys_recv(int fd, void *buf, size_t n, int flags);

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    calls.polls++;
    calls.polled = 0;
    for (nfds_t i = 0; i < n; i++)
        calls.polled += fds[i].fd >= 0;
    calls.last_timeout_ms = timeout_ms;
    return __real_poll(fds, n, timeout_ms);
}

int __wrap_epoll_wait(int epfd, struct epoll_event *events, int n, int timeout_ms)
{
    calls.epoll_waits++;
    calls.last_timeout_ms = timeout_ms;
    return __real_epoll_wait(epfd, events, n, timeout_ms);
}

int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    calls.epoll_ctls++;
    return __real_epoll_ctl(epfd, op, fd, event);
}

void *__wrap_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
    calls.maps++;
    return __real_mmap64(at, n, prot, flags, fd, off);
}

int __wrap_madvise(void *at, size_t n, int advice)
{
    calls.advices++;
    return __real_madvise(at, n, advice);
}

ssize_t __wrap_mu_sys_recv(int fd, void *buf, size_t n, int flags)
{
    calls.recvs++;
    return __real_mu_sys_recv(fd, buf, n, flags);
}

static void forget_calls(void)
{
    memset(&calls, 0, sizeof(calls));
}

static struct mu_io left, right;

static void put(const char *s)
{
    assert_int_equal(write(right.fd, s, strlen(s)), strlen(s));
}

static void answer_n(void *arg)
{
    char buf[64];
    size_t n;

    for (int i = 0; i < *(int *)arg; i++) {
        assert_int_equal(mu_read(&left, buf, sizeof(buf), &n, MU_NEVER), MU_OK);
        assert_int_equal(mu_write_all(&left, buf, n, MU_NEVER), MU_OK);
    }
}

/** One connection, alone: data that is there costs no wait call, data that is not costs one. */
static void test_single_waits_once(void **state)
{
    struct mu_reactor *r = mu_reactor_create(
        &(struct mu_reactor_opts){ .backend = MU_BACKEND_SINGLE, .is_alone = true });
    int times = 1, stop_pipe[2];
    struct mu_io stop;

    (void)state;
    assert_int_equal(pipe2(stop_pipe, O_CLOEXEC), 0);
    assert_int_equal(mu_level_watch(r, &stop, stop_pipe[0], NULL), MU_OK);
    io_pair(&left, &right);
    put("there");
    forget_calls();
    run_fiber(r, answer_n, &times);
    assert_int_equal(mu_reactor_fibers(r), 0);
    assert_int_equal(calls.polls + calls.epoll_waits + calls.epoll_ctls, 0);
    times = 3;
    run_fiber(r, answer_n, &times);
    for (int i = 0; i < times; i++) {
        put("more");
        mu_reactor_turn(r, -1);
    }
    assert_int_equal(mu_reactor_fibers(r), 0);
    assert_int_equal(calls.polls, 3);
    assert_int_equal(calls.polled, 2); /* the client and the stop request, nothing else */
    assert_int_equal(calls.epoll_waits + calls.epoll_ctls, 0);
    mu_io_close(&left);
    mu_io_close(&right);
    mu_io_close(&stop);
    close(stop_pipe[1]);
    mu_reactor_destroy(r);
}

static int accepted;

static void accept_one(struct mu_io *io, unsigned events)
{
    int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)events;
    assert_true(fd >= 0);
    close(fd);
    accepted++;
}

static int listen_on(struct sockaddr_in *sa)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    *sa = (struct sockaddr_in){ .sin_family = AF_INET };
    sa->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)sa, sizeof(*sa)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)sa, &(socklen_t){ sizeof(*sa) }), 0);
    return fd;
}

/** An idle child sleeps in one call; serving with the listener paused changes no registration. */
static void test_single_idle_child(void **state)
{
    struct mu_reactor *r = mu_reactor_create(
        &(struct mu_reactor_opts){ .backend = MU_BACKEND_SINGLE, .is_alone = true });
    struct mu_listen_watch door;
    struct sockaddr_in at;
    int fd = listen_on(&at), stop_pipe[2];
    struct mu_io stop;

    (void)state;
    accepted = 0;
    assert_int_equal(pipe2(stop_pipe, O_CLOEXEC), 0);
    assert_int_equal(mu_level_watch(r, &stop, stop_pipe[0], NULL), MU_OK);
    assert_int_equal(mu_listen_watch(r, &door, fd, accept_one), MU_OK);
    turn_n(r, 1);
    forget_calls();
    for (int i = 0; i < 3; i++) {
        int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(connect(client, (struct sockaddr *)&at, sizeof(at)), 0);
        mu_reactor_turn(r, -1);
        assert_int_equal(accepted, i + 1);
        mu_listen_pause(&door);
        io_pair(&left, &right);
        run_fiber(r, answer_n, &(int){ 1 });
        put("x");
        mu_reactor_turn(r, -1);
        mu_io_close(&left);
        mu_io_close(&right);
        mu_listen_resume(&door);
        close(client);
    }
    assert_int_equal(calls.epoll_waits, 3);
    assert_int_equal(calls.polls, 3);
    assert_int_equal(calls.epoll_ctls, 0);
    mu_listen_unwatch(&door);
    mu_io_close(&stop);
    close(stop_pipe[1]);
    close(fd);
    mu_reactor_destroy(r);
}

/** Accepted, read, answered, closed: never registered. Kept alive: registered once. */
static void test_epoll_registers_once(void **state)
{
    struct mu_reactor *r = reactor_of(MU_BACKEND_EPOLL);
    int times = 100;

    (void)state;
    io_pair(&left, &right);
    put("question");
    forget_calls();
    run_fiber(r, answer_n, &(int){ 1 });
    assert_int_equal(mu_reactor_fibers(r), 0);
    mu_io_close(&left);
    mu_io_close(&right);
    assert_int_equal(calls.epoll_ctls, 0);
    io_pair(&left, &right);
    run_fiber(r, answer_n, &times);
    calls.recvs = 0;
    for (int i = 0; i < times; i++) {
        put("again");
        while (left.ready & MU_READABLE)
            turn_n(r, 1);
        mu_reactor_turn(r, -1);
    }
    assert_int_equal(mu_reactor_fibers(r), 0);
    assert_int_equal(calls.epoll_ctls, 1);
    assert_int_equal(calls.recvs,
                     times); /* a short read says that there is no more: none in vain */
    mu_io_close(&left);
    mu_io_close(&right);
    mu_reactor_destroy(r);
}

static void nothing(void *arg)
{
    (void)arg;
}

static void test_starting_a_fiber_is_free(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    for (int i = 0; i < 3; i++)
        run_fiber(r, nothing, NULL);
    forget_calls();
    for (int i = 0; i < 1000; i++)
        run_fiber(r, nothing, NULL);
    assert_int_equal(calls.maps + calls.advices, 0);
    mu_reactor_destroy(r);
}

static void on_timer(struct mu_timer *t)
{
    (void)t;
}

/** Sleeps as long as the next timer allows, and for ever without one. */
static void test_no_idle_wakeups(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct mu_timer t;

    io_pair(&left, &right);
    run_fiber(r, answer_n, &(int){ 1 });
    put("x");
    mu_reactor_turn(r, -1);
    assert_int_equal(calls.last_timeout_ms, -1);
    mu_timer_init(&t, on_timer);
    mu_timer_arm(&t, 30000);
    run_fiber(r, answer_n, &(int){ 1 });
    put("x");
    mu_reactor_turn(r, -1);
    assert_in_range(calls.last_timeout_ms, 20000, 30000);
    mu_timer_cancel(&t);
    run_fiber(r, answer_n, &(int){ 1 });
    put("x");
    mu_reactor_turn(r, -1);
    assert_int_equal(calls.last_timeout_ms, -1);
    mu_io_close(&left);
    mu_io_close(&right);
    mu_reactor_destroy(r);
}

/** A switch to a thread with a reactor writes nothing into it; libc finds the processor all the same. */
static void test_switches_write_nothing(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    const struct rseq *area =
        (const struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);

    if (__rseq_size > 0)
        assert_true((int32_t)area->cpu_id < 0);
    assert_true(sched_getcpu() >= 0);
    mu_reactor_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_waits_once),
        cmocka_unit_test(test_single_idle_child),
        cmocka_unit_test(test_epoll_registers_once),
        BOTH(test_starting_a_fiber_is_free),
        BOTH(test_no_idle_wakeups),
        BOTH(test_switches_write_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
