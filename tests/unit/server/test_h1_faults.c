/* One scripted conversation, broken in every way at every point: the fiber cancelled, the client
 * gone, memory out, fibers out. Whatever happens, nothing leaks, every exchange is logged once, and
 * every connection ends. */
#include "h1_fixture.h"

#include <base/fault.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"

static const char *const script[] = {
    GET("/small") "GET /st",
    "ream HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n",
    "abc",
    "def",
    "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r",
    "\nxyz\r\n",
    "0\r\nT: v\r\n\r\n" GET("/offload"),
    "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n",
    "sk",
    "ip" GET("/borrowed"),
    GET("/big") GET("/small"),
    GET("/204"),
    "BAD\r\n",
};

enum { EXCHANGES = 11 /* of the whole script */ };

static unsigned parks, cancel_at;

static void cancel_on_park(struct mu_fiber *f)
{
    if (++parks == cancel_at)
        mu_fiber_cancel(f);
}

static size_t read_some(int fd)
{
    char piece[65536];
    size_t n = 0;

    for (ssize_t got; (got = recv(fd, piece, sizeof(piece), 0)) > 0; n += (size_t)got)
        settle();
    return n;
}

/**
 * Talk until the end of the script, the server's hang-up, or after `steps` steps. Returns the steps
 * made.
 */
static size_t talk(int fd, size_t steps)
{
    size_t i;

    for (i = 0; i < sizeof(script) / sizeof(*script) && i < steps; i++) {
        if (send(fd, script[i], strlen(script[i]), MSG_NOSIGNAL) < 0)
            break;
        settle();
        for (int k = 0; k < 3; k++)
            (void)read_some(fd);
    }
    return i;
}

static void finish(int fd)
{
    close(fd);
    settle();
    advance_clock(100000);
    assert_int_equal(fx->host.connections, 0);
    assert_int_equal(mu_reactor_fibers(fx->reactor), 0);
    assert_int_equal(fx->host.requests_running, 0);
    fx->log_n = 0;
    fx->body_n = 0;
}

static void test_cancel_at_every_park(void **state)
{
    unsigned reached = 0;

    (void)state;
    mu_fiber_on_park(cancel_on_park);
    for (cancel_at = 1; reached == cancel_at - 1; cancel_at++) {
        int fd = client_open(true);

        parks = 0;
        (void)talk(fd, SIZE_MAX);
        reached = parks >= cancel_at ? cancel_at : reached;
        if (parks >= cancel_at)
            assert_true(fx->log_n < EXCHANGES); /* a cancelled fiber serves nothing more */
        else
            assert_int_equal(fx->log_n, EXCHANGES);
        finish(fd);
    }
    mu_fiber_on_park(NULL);
    assert_true(reached > 5);
}

static void test_hangup_after_every_step(void **state)
{
    (void)state;
    for (size_t steps = 0; steps <= sizeof(script) / sizeof(*script); steps++) {
        int fd = client_open(steps % 2 != 0);

        assert_int_equal(talk(fd, steps), steps);
        finish(fd);
    }
}

static void test_abort_after_every_step(void **state)
{
    (void)state;
    for (size_t steps = 0; steps <= sizeof(script) / sizeof(*script); steps++) {
        int fd = client_open(true);

        (void)talk(fd, steps);
        mu_conn_host_abort(&fx->host);
        settle();
        assert_int_equal(fx->host.connections, 0);
        fx->host.is_draining = false;
        finish(fd);
    }
}

static void test_memory_runs_out(void **state)
{
    size_t answered = 0;
    int64_t n;

    (void)state;
    for (n = 0; answered < EXCHANGES && n < 400; n++) {
        int fd[2];
        struct mu_addr peer = { .family = AF_INET };

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
        mu_alloc_fail_after(n);
        if (mu_conn_open(&fx->host, fd[0], NULL, &peer) == MU_OK)
            (void)talk(fd[1], SIZE_MAX);
        mu_alloc_fail_after(-1);
        answered = fx->log_n;
        finish(fd[1]);
        mu_conn_host_fini(&fx->host); /* let the next round allocate anew */
        assert_int_equal(mu_conn_host_init(&fx->host), MU_OK);
    }
    assert_int_equal(answered, EXCHANGES);
    assert_true(n > 2);
}

/**
 * More requests wait than there may be fibers: the others are told so, and the connections in
 * order.
 */
static void test_fibers_run_out(void **state)
{
    int fd[4];
    bool is_end;
    unsigned overload = 0;

    (void)state;
    mu_conn_host_fini(&fx->host);
    mu_reactor_destroy(fx->reactor);
    fx->reactor = mu_reactor_create(&(struct mu_reactor_opts){ .max_fibers = 2 });
    assert_non_null(fx->reactor);
    fx->host.reactor = fx->reactor;
    assert_int_equal(mu_conn_host_init(&fx->host), MU_OK);
    for (int i = 0; i < 4; i++) {
        fd[i] = client_open(true);
        client_send(fd[i], GET("/borrowed"));
    }
    for (int i = 0; i < 4; i++)
        overload +=
            strstr(client_read(fd[i], &is_end), "HTTP/1.1 503 Service Unavailable\r\n") != NULL;
    assert_int_equal(overload, 2);
    for (int i = 0; i < 4; i++)
        close(fd[i]);
    settle();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_cancel_at_every_park),
        BOTH(test_hangup_after_every_step),
        BOTH(test_abort_after_every_step),
        BOTH(test_memory_runs_out),
        cmocka_unit_test_setup_teardown(test_fibers_run_out, fixture_setup_epoll, fixture_teardown),
    };

    return cmocka_run_group_tests_name("h1_faults", tests, NULL, NULL);
}
