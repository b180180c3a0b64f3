/* Waiting in the read: when the single-connection backend does it, what it must not lose, and what
 * it leaves behind. recv and poll are counted (the linker wraps them, see meson.build). */
#include "engine_test.h"

#include <muster/clock.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/sendfile.h>

static struct {
    int polls, sleeps; /* recv without MSG_DONTWAIT */
} calls;

int __real_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
ssize_t __real_mu_sys_recv(int fd, void *buf, size_t n, int flags);
ssize_t __wrap_mu_sys_recv(int fd, void *buf, size_t n, int flags);

static void (*before_sleep)(void);

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    calls.polls++;
    return __real_poll(fds, n, timeout_ms);
}

ssize_t __wrap_mu_sys_recv(int fd, void *buf, size_t n, int flags)
{
    if (!(flags & MSG_DONTWAIT)) {
        calls.sleeps++;
        if (before_sleep)
            before_sleep();
    }
    return __real_mu_sys_recv(fd, buf, n, flags);
}

/** A connection that reads where it said it would, and expects more. */
static struct {
    struct mu_io io;
    struct mu_reactor *r;
    int peer;
    char buf[64], got[256];
    size_t got_n;
    enum mu_rc rc;
    bool expects;
} conn;

static void on_ready(struct mu_io *io, unsigned events)
{
    size_t n;

    (void)events;
    for (;;) {
        conn.rc = mu_try_read(io, conn.buf, sizeof(conn.buf), &n);
        if (conn.rc != MU_OK)
            break;
        assert_true(conn.got_n + n < sizeof(conn.got));
        memcpy(conn.got + conn.got_n, conn.buf, n);
        conn.got_n += n;
        if (!(io->ready & MU_READABLE))
            break;
    }
    if (conn.expects && conn.rc != MU_EOF)
        mu_io_expect(io, conn.buf, sizeof(conn.buf));
}

static void put(const char *s)
{
    assert_int_equal(write(conn.peer, s, strlen(s)), strlen(s));
}

static bool is_nonblocking(void)
{
    return (fcntl(conn.io.fd, F_GETFL) & O_NONBLOCK) != 0;
}

/** Two requests that come soon: from then on the backend waits in the read. */
static int open_quick(void **state)
{
    int fd[2];

    (void)state;
    before_sleep = NULL;
    memset(&conn, 0, sizeof(conn));
    conn.r = mu_reactor_create(&(struct mu_reactor_opts){ .backend = MU_BACKEND_SINGLE });
    assert_non_null(conn.r);
    socket_pair(fd);
    mu_io_init_socket(&conn.io, fd[0]);
    conn.peer = fd[1];
    conn.io.on_ready = on_ready;
    conn.expects = true;
    assert_int_equal(mu_io_watch(&conn.io), MU_OK);
    mu_io_expect(&conn.io, conn.buf, sizeof(conn.buf));
    for (int i = 0; i < 2; i++) {
        put("a");
        mu_reactor_turn(conn.r, -1);
    }
    assert_string_equal(conn.got, "aa");
    assert_int_equal(calls.sleeps, 0);
    assert_true(is_nonblocking());
    memset(&calls, 0, sizeof(calls));
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    mu_io_close(&conn.io);
    close(conn.peer);
    mu_reactor_destroy(conn.r);
    memset(&calls, 0, sizeof(calls));
    return 0;
}

static void test_waits_in_the_read(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        put("b");
        mu_reactor_turn(conn.r, -1);
    }
    assert_string_equal(conn.got, "aabbb");
    assert_int_equal(calls.sleeps, 3);
    assert_int_equal(calls.polls, 0);
    assert_false(is_nonblocking());
}

static void test_end_of_stream(void **state)
{
    (void)state;
    put("last");
    assert_int_equal(shutdown(conn.peer, SHUT_WR), 0);
    mu_reactor_turn(conn.r, -1);
    assert_string_equal(conn.got, "aalast");
    mu_reactor_turn(conn.r, -1);
    assert_int_equal(conn.rc, MU_EOF);
}

static void test_other_buffer(void **state)
{
    char small[3];
    size_t n;

    (void)state;
    conn.io.on_ready = NULL; /* what was read stays for whoever asks */
    put("tail");
    mu_reactor_turn(conn.r, -1);
    assert_int_equal(calls.sleeps, 1);
    assert_int_equal(mu_try_read(&conn.io, small, sizeof(small), &n), MU_OK);
    assert_memory_equal(small, "tai", 3);
    assert_int_equal(mu_try_read(&conn.io, small, sizeof(small), &n), MU_OK);
    assert_int_equal(n, 1);
    assert_int_equal(small[0], 'l');
    assert_int_equal(mu_try_read(&conn.io, small, sizeof(small), &n), MU_AGAIN);
}

static void test_silence_goes_back_to_poll(void **state)
{
    (void)state;
    mu_reactor_turn(conn.r, -1); /* nothing comes: the read ends by itself */
    assert_int_equal(calls.sleeps, 1);
    assert_int_equal(calls.polls, 0);
    mu_reactor_turn(conn.r, 200);
    assert_int_equal(calls.sleeps, 1);
    assert_int_equal(calls.polls, 1);
}

static int stop_pipe[2];
static bool was_stopped;

static void on_stop(struct mu_io *io, unsigned events)
{
    (void)io;
    (void)events;
    was_stopped = true;
}

static void request_stop(void)
{
    assert_int_equal(write(stop_pipe[1], "x", 1), 1);
}

/* It comes just before the thread sleeps in the read, where nobody sees it. */
static void test_stop_request_is_seen(void **state)
{
    struct mu_io stop;

    (void)state;
    was_stopped = false;
    assert_int_equal(pipe2(stop_pipe, O_CLOEXEC), 0);
    assert_int_equal(mu_level_watch(conn.r, &stop, stop_pipe[0], on_stop), MU_OK);
    before_sleep = request_stop;
    mu_reactor_turn(conn.r, -1);
    assert_int_equal(calls.sleeps, 1);
    mu_reactor_turn(conn.r, -1); /* sleeps no more: it asks for everything */
    assert_true(was_stopped);
    assert_int_equal(calls.sleeps, 1);
    assert_int_equal(mu_io_release(&stop), stop_pipe[0]);
    close(stop_pipe[0]);
    close(stop_pipe[1]);
}

/* A client that always has its next request ready must not keep it from being seen. */
static void test_stop_request_beside_a_busy_client(void **state)
{
    struct mu_io stop;
    int sent = 0;

    (void)state;
    was_stopped = false;
    assert_int_equal(pipe2(stop_pipe, O_CLOEXEC), 0);
    assert_int_equal(mu_level_watch(conn.r, &stop, stop_pipe[0], on_stop), MU_OK);
    put("z");
    mu_reactor_turn(conn.r, -1);
    assert_int_equal(calls.sleeps, 1); /* the watch alone keeps nobody from waiting in the read */
    request_stop();
    while (!was_stopped && sent++ < 10000) {
        conn.got_n = 0;
        put("y");
        mu_reactor_turn(conn.r, -1);
        assert_int_equal(conn.got_n, 1); /* none of them waits for the next */
        usleep(1000);
    }
    assert_true(was_stopped);
    assert_true(calls.sleeps > calls.polls);
    assert_int_equal(mu_io_release(&stop), stop_pipe[0]);
    close(stop_pipe[0]);
    close(stop_pipe[1]);
}

static bool was_posted;
static struct mu_post note_post;

static void posted(void *arg)
{
    (void)arg;
    was_posted = true;
}

static void *post_from_thread(void *arg)
{
    mu_reactor_post(arg, &note_post);
    return NULL;
}

static void post_before_sleep(void)
{
    pthread_t t;

    assert_int_equal(pthread_create(&t, NULL, post_from_thread, conn.r), 0);
    assert_int_equal(pthread_join(t, NULL), 0);
}

static void test_post_is_seen(void **state)
{
    (void)state;
    was_posted = false;
    note_post = (struct mu_post){ .fn = posted };
    before_sleep = post_before_sleep;
    mu_reactor_turn(conn.r, -1);
    assert_int_equal(calls.sleeps, 1);
    assert_true(was_posted); /* posts are run behind every wait */
}

static void park(void *arg)
{
    struct mu_wait_item it = { .wake = arg };

    assert_int_equal(mu_wait(&it, 1, MU_NEVER), MU_OK);
}

static void test_not_beside_a_fiber(void **state)
{
    struct mu_wake wake;

    (void)state;
    mu_wake_init(&wake);
    run_fiber(conn.r, park, &wake);
    put("c");
    mu_reactor_turn(conn.r, -1);
    assert_int_equal(calls.sleeps, 0);
    assert_int_equal(calls.polls, 1);
    mu_wake_raise(&wake);
    turn_until_idle(conn.r);
}

static void test_timer_is_not_late(void **state)
{
    (void)state;
    put("d");
    mu_reactor_turn(conn.r, 20);
    assert_int_equal(calls.sleeps, 0);
    assert_int_equal(calls.polls, 1);
}

static int64_t receive_timeout_us(int fd)
{
    struct timeval tv;
    socklen_t len = sizeof(tv);

    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len), 0);
    return tv.tv_sec * 1000000 + tv.tv_usec;
}

static void test_released_as_it_came(void **state)
{
    int fd;

    (void)state;
    put("e");
    mu_reactor_turn(conn.r, -1);
    assert_false(is_nonblocking());
    fd = mu_io_release(&conn.io);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_int_equal(receive_timeout_us(fd), 0);
    close(fd);
}

/* Whoever is given a copy may wait in a read of its own for as long as it likes. */
static void test_shared_as_it_came(void **state)
{
    (void)state;
    put("l");
    mu_reactor_turn(conn.r, -1);
    assert_false(is_nonblocking());
    assert_true(receive_timeout_us(conn.io.fd) > 0);
    mu_io_share(&conn.io);
    assert_true(is_nonblocking());
    assert_int_equal(receive_timeout_us(conn.io.fd), 0);
    assert_int_equal(fcntl(conn.io.fd, F_SETFL, 0), 0); /* as lending does */
    for (int i = 0; i < 3; i++) {
        put("m");
        mu_reactor_turn(conn.r, -1);
    }
    assert_int_equal(calls.sleeps, 1);
    assert_int_equal(receive_timeout_us(conn.io.fd), 0);
}

static int timers_fired;

static void on_timer(struct mu_timer *t)
{
    (void)t;
    timers_fired++;
}

/* A timer that is due behind a wait in the read, not before: it is not forgotten for the client. */
static void test_timer_behind_the_read(void **state)
{
    struct mu_timer t;

    (void)state;
    timers_fired = 0;
    mu_timer_init(&t, on_timer);
    mu_timer_arm(&t, 150);
    while (timers_fired == 0) {
        put("n");
        mu_reactor_turn(conn.r, -1);
        conn.got_n = 0;
        usleep(2000);
    }
    assert_true(calls.sleeps > 0);
    mu_timer_arm(&t, 150);
    calls.sleeps = 0;
    while (timers_fired == 1)
        mu_reactor_turn(conn.r, -1); /* nothing comes but the timer */
    assert_int_equal(timers_fired, 2);
    assert_true(calls.sleeps <= 1);
}

/* sendfile cannot say MSG_DONTWAIT: a peer that does not read must not hold the thread. */
static void test_sendfile_does_not_block(void **state)
{
    FILE *f = tmpfile();
    off_t off = 0;
    size_t sent;
    enum mu_rc rc;

    (void)state;
    assert_non_null(f);
    assert_int_equal(ftruncate(fileno(f), 64 << 20), 0);
    put("f");
    mu_reactor_turn(conn.r, -1);
    assert_false(is_nonblocking());
    do
        rc = mu_try_sendfile(&conn.io, fileno(f), &off, 64 << 20, &sent);
    while (rc == MU_OK);
    assert_int_equal(rc, MU_AGAIN);
    assert_true(is_nonblocking());
    fclose(f);
}

/* Nor must a write, nor a read that finds nothing, of a socket that blocks. */
static void test_sends_do_not_block(void **state)
{
    static char bytes[1 << 20];
    struct iovec iov[2] = { { bytes, sizeof(bytes) / 2 }, { bytes, sizeof(bytes) / 2 } };
    size_t n;
    enum mu_rc rc;

    (void)state;
    put("o");
    mu_reactor_turn(conn.r, -1);
    assert_false(is_nonblocking());
    do
        rc = mu_try_writev(&conn.io, iov, 2, false, &n);
    while (rc == MU_OK && n == sizeof(bytes));
    if (rc == MU_OK)
        rc = mu_try_writev(&conn.io, iov, 1, true, &n);
    assert_int_equal(rc, MU_AGAIN);
    assert_int_equal(mu_try_read(&conn.io, conn.buf, sizeof(conn.buf), &n), MU_AGAIN);
    assert_false(is_nonblocking());
    put("p"); /* a client that has not taken its answer is waited for with poll, for both */
    mu_reactor_turn(conn.r, -1);
    assert_int_equal(calls.sleeps, 1);
}

static void read_offloaded(void *arg)
{
    size_t n;

    (void)arg;
    conn.rc = mu_read(&conn.io, conn.buf, sizeof(conn.buf), &n, mu_deadline(20));
}

static void offload(void *arg)
{
    mu_offload(read_offloaded, arg);
}

/* A handler's own wait ends at its deadline, which is shorter than the socket's. */
static void test_offloaded_read(void **state)
{
    (void)state;
    put("q");
    mu_reactor_turn(conn.r, -1);
    assert_false(is_nonblocking());
    conn.io.on_ready = NULL;
    run_fiber(conn.r, offload, NULL);
    turn_until_idle(conn.r);
    assert_int_equal(conn.rc, MU_TIMEOUT);
    assert_int_equal(calls.sleeps, 1);
}

/* Lent to a program and taken back, the socket has changed its mode behind our back. */
static void test_mode_changed_by_others(void **state)
{
    (void)state;
    put("g");
    mu_reactor_turn(conn.r, -1);
    assert_int_equal(calls.sleeps, 1);
    assert_int_equal(fcntl(conn.io.fd, F_SETFL, O_NONBLOCK), 0);
    mu_reactor_turn(conn.r, -1);
    assert_int_equal(calls.sleeps, 2);
    put("h");
    mu_reactor_turn(conn.r, -1);
    put("i");
    mu_reactor_turn(conn.r, -1);
    put("j");
    mu_reactor_turn(conn.r, -1);
    assert_string_equal(conn.got, "aaghij");
    assert_int_equal(calls.sleeps, 2);
}

static void test_expectation_withdrawn(void **state)
{
    (void)state;
    mu_io_expect(&conn.io, NULL, 0);
    put("k");
    mu_reactor_turn(conn.r, -1);
    assert_string_equal(conn.got, "aak");
    assert_int_equal(calls.sleeps, 0);
}

#define QUICK(fn) cmocka_unit_test_setup_teardown(fn, open_quick, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUICK(test_waits_in_the_read),
        QUICK(test_end_of_stream),
        QUICK(test_other_buffer),
        QUICK(test_silence_goes_back_to_poll),
        QUICK(test_stop_request_is_seen),
        QUICK(test_post_is_seen),
        QUICK(test_not_beside_a_fiber),
        QUICK(test_timer_is_not_late),
        QUICK(test_released_as_it_came),
        QUICK(test_sendfile_does_not_block),
        QUICK(test_mode_changed_by_others),
        QUICK(test_expectation_withdrawn),
        QUICK(test_shared_as_it_came),
        QUICK(test_timer_behind_the_read),
        QUICK(test_stop_request_beside_a_busy_client),
        QUICK(test_sends_do_not_block),
        QUICK(test_offloaded_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
