/*
 * HTTP/1 connections: keep-alive, pipelining, how heads arrive, closing, draining, hang-ups,
 * timeouts.
 */
#include "h1_fixture.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define GET_KA(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"
#define GET_CLOSE(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

static bool is_end;

/** The peer has closed and everything was given back. */
static void assert_closed(int fd)
{
    (void)client_read(fd, &is_end);
    assert_true(is_end);
    assert_int_equal(fx->host.connections, 0);
    assert_int_equal(fx->closed, 1);
    close(fd);
}

static void test_keepalive(void **state)
{
    int fd = client_open(false);

    (void)state;
    client_send(fd, GET_KA("/small"));
    assert_string_equal(client_read(fd, &is_end), "HTTP/1.1 200 OK\r\n"
                                                  "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                                                  "Server: Muster\r\n"
                                                  "Content-Length: 6\r\n"
                                                  "Keep-Alive: timeout=5, max=100\r\n"
                                                  "Connection: Keep-Alive\r\n"
                                                  "Content-Type: text/plain\r\n\r\nhello\n");
    assert_false(is_end);
    client_send(fd, GET_KA("/small"));
    assert_non_null(strstr(client_read(fd, &is_end), "Keep-Alive: timeout=5, max=99\r\n"));
    client_send(fd, GET("/small"));
    assert_null(strstr(client_read(fd, &is_end), "onnection"));
    assert_int_equal(fx->log_n, 3);
    assert_int_equal(atomic_load(&fx->score.keepalive), 1);
    client_send(fd, GET_CLOSE("/small"));
    assert_non_null(strstr(client_read(fd, &is_end), "\r\nConnection: close\r\n"));
    assert_true(is_end);
    assert_closed(fd);
    assert_int_equal(fx->log[3].conn_state, '-');
    assert_int_equal(fx->log[2].conn_state, '+');
}

static void test_pipelined(void **state)
{
    char text[80 * 64] = "";
    int fd = client_open(false);

    (void)state;
    for (int i = 0; i < 60; i++)
        strcat(text, GET("/small"));
    client_send(fd, text);
    assert_int_equal(count_of(client_read(fd, &is_end), "\r\n\r\nhello\n"), 60);
    assert_false(is_end);
    assert_int_equal(fx->log_n, 60);
    assert_int_equal(fx->log[59].wire_in, strlen(GET("/small")));
    close(fd);
}

/* The log line is made of the head: what follows the body must not have taken its place by then. */
static void test_log_of_pipelined_bodies(void **state)
{
    static const char *const second[] = { "/small",
                                          "/missing-and-much-longer-than-the-first-request-was" };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(second); i++) {
        char text[16 * 1024], line[128];
        int fd = client_open(false);

        fx->log_n = 0;
        client_send(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        (void)snprintf(text, sizeof(text),
                       "3\r\nabc\r\n0\r\n\r\nGET %s HTTP/1.1\r\nHost: a\r\nX: %0*d\r\n\r\n",
                       second[i], i ? 7000 : 1, 0);
        client_send(fd, text);
        (void)client_read(fd, &is_end);
        assert_int_equal(fx->log_n, 2);
        assert_string_equal(fx->log[0].line, "POST /echo HTTP/1.1");
        (void)snprintf(line, sizeof(line), "GET %s HTTP/1.1", second[i]);
        assert_string_equal(fx->log[1].line, line);
        close(fd);
    }
}

static void test_head_at_every_split(void **state)
{
    static const char text[] = GET(
        "/small") "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde"
                  "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nfgh\r\n2\r\nij\r\n0\r\nT: v\r\n\r\n" GET_CLOSE(
                      "/small");

    (void)state;
    for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
        int fd = client_open(false);
        const char *got;

        fx->body_n = 0;
        fx->log_n = 0;
        client_send_n(fd, text, cut);
        got = client_read(fd, &is_end);
        assert_false(is_end);
        assert_true(count_of(got, "HTTP/1.1 200 OK") <= 3);
        client_send_n(fd, text + cut, sizeof(text) - 1 - cut);
        (void)client_read(fd, &is_end);
        assert_true(is_end);
        assert_int_equal(fx->log_n, 4);
        assert_int_equal(fx->body_n, 10);
        assert_memory_equal(fx->body, "abcdefghij", 10);
        for (int i = 0; i < 4; i++)
            assert_int_equal(fx->log[i].status, 200);
        close(fd);
    }
}

static void test_bytewise(void **state)
{
    static const char text[] =
        "POST /bytewise HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nfgh\r\n2\r\nij\r\n0\r\n\r\n" GET_CLOSE("/small");
    int fd = client_open(false);

    (void)state;
    for (size_t i = 0; i < sizeof(text) - 1; i++)
        client_send_n(fd, text + i, 1);
    assert_non_null(strstr(client_read(fd, &is_end), "\r\n\r\nfghijHTTP/1.1 200"));
    assert_int_equal(fx->log_n, 2);
    assert_closed(fd);
}

static void test_large_head(void **state)
{
    static char text[200000];
    int fd = client_open(false);
    size_t n = (size_t)snprintf(text, sizeof(text), "GET /small HTTP/1.1\r\nHost: a\r\n");

    (void)state;
    for (int i = 0; i < 20; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "X-%d: ", i);
        memset(text + n, 'x', 8000);
        n += 8000;
        n += (size_t)snprintf(text + n, sizeof(text) - n, "\r\n");
    }
    n += (size_t)snprintf(text + n, sizeof(text) - n, "\r\n" GET_CLOSE("/small"));
    client_send_n(fd, text, n);
    assert_int_equal(count_of(client_read(fd, &is_end), "HTTP/1.1 200 OK"), 2);
    assert_closed(fd);
}

/** Many unfinished heads: those that go on growing are refused, small ones and whole ones are not. */
static void test_unfinished_heads_are_bounded(void **state)
{
    enum { GROWN = 8 };
    char text[3200];
    int fd[GROWN], small = client_open(false);
    int n = snprintf(text, sizeof(text), "GET /small HTTP/1.1\r\nX: %03000d\r\n", 0);

    (void)state;
    fx->core.head_memory = 5 * 3072 + 1024; /* of five such heads, and something small */
    client_send(small, "GET /small HTTP/1.1\r\n");
    for (int i = 0; i < GROWN; i++) {
        fd[i] = client_open(false);
        client_send_n(fd[i], text, (size_t)n);
        if (i < 5)
            assert_string_equal(client_read(fd[i], &is_end), "");
        else
            assert_non_null(strstr(client_read(fd[i], &is_end), "HTTP/1.1 503 "));
        assert_int_equal(is_end, i >= 5);
    }
    client_send(small, "Host: a\r\n");
    client_send(small, "\r\n");
    assert_non_null(strstr(client_read(small, &is_end), "hello\n"));
    client_send_n(small, text, (size_t)n - 1); /* too much more */
    assert_non_null(strstr(client_read(small, &is_end), "HTTP/1.1 503 "));
    close(small);
    client_send(fd[0], "Host: a\r\n\r\n");
    assert_non_null(strstr(client_read(fd[0], &is_end), "hello\n"));
    small = client_open(false); /* what was finished made room */
    client_send_n(small, text, (size_t)n);
    assert_string_equal(client_read(small, &is_end), "");
    assert_false(is_end);
    close(small);
    for (int i = 0; i < GROWN; i++)
        close(fd[i]);
}

static struct mu_post room;
static bool is_room_posted;

static void go_on(void *arg)
{
    (void)arg;
    is_room_posted = false;
    mu_conn_host_go_on(&fx->host);
}

static void on_room(struct mu_request_limit *l)
{
    (void)l;
    room.fn = go_on;
    if (!is_room_posted)
        mu_reactor_post(fx->reactor, &room);
    is_room_posted = true;
}

/** A kept connection's request waits until another one ends, in turn; who leaves is forgotten. */
static void test_requests_are_limited(void **state)
{
    struct mu_request_limit limit = { .most = 1, .on_room = on_room };
    int fd[5];

    (void)state;
    fx->host.limit = &limit;
    for (int i = 0; i < 5; i++) {
        fd[i] = client_open(true);
        client_send(fd[i], GET("/small"));
        assert_non_null(strstr(client_read(fd[i], &is_end), "hello\n"));
    }
    client_send(fd[0], GET("/park"));
    for (int i = 1; i < 5; i++) {
        client_send(fd[i], i == 4 ? GET("/big") GET("/small") : GET("/small"));
        assert_string_equal(client_read(fd[i], &is_end), "");
        assert_int_equal(atomic_load(&fx->host.held_n), i);
    }
    assert_int_equal(fx->log_n, 5);
    close(fd[2]);
    settle();
    assert_int_equal(atomic_load(&fx->host.held_n), 3);
    assert_int_equal(mu_reactor_fibers(fx->reactor), 1);
    mu_wake_raise(fx->parked);
    settle();
    assert_non_null(strstr(client_read(fd[0], &is_end), "woken\n"));
    assert_non_null(strstr(client_read(fd[1], &is_end), "hello\n"));
    assert_non_null(strstr(client_read(fd[3], &is_end), "hello\n"));
    assert_int_equal(atomic_load(&limit.running), 0); /* what is only being sent does not count */
    assert_int_equal(atomic_load(&limit.waiting), 0);
    client_send(fd[0], GET("/park"));
    client_send(fd[1], GET("/small"));
    advance_clock(60001);
    assert_non_null(strstr(client_read(fd[1], &is_end), "HTTP/1.1 503 "));
    assert_true(is_end);
    mu_conn_host_abort(&fx->host);
    settle();
    assert_int_equal(atomic_load(&limit.running), 0);
    assert_int_equal(atomic_load(&limit.waiting), 0);
    for (int i = 0; i < 5; i++) {
        if (i != 2)
            close(fd[i]);
    }
    fx->host.limit = NULL;
}

static void test_http10(void **state)
{
    int fd = client_open(false);

    (void)state;
    client_send(fd, "GET /small HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert_non_null(strstr(client_read(fd, &is_end), "max=100\r\nConnection: Keep-Alive\r\n"));
    assert_false(is_end);
    client_send(fd, "GET /stream HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert_non_null(strstr(client_read(fd, &is_end), "Connection: close\r\n\r\npart 0\n"));
    assert_true(is_end);   /* no length was known: the end is the length */
    shutdown(fd, SHUT_WR); /* the client had not asked for the end */
    assert_closed(fd);
}

static void test_http09(void **state)
{
    int fd;

    (void)state;
    fx->core.h1.may_09 = true;
    fd = client_open(false);
    client_send(fd, "GET /small\r\n");
    assert_string_equal(client_read(fd, &is_end), "hello\n");
    assert_closed(fd);
}

static void test_max_requests(void **state)
{
    int fd = client_open(false);

    (void)state;
    fx->core.max_keepalive_requests = 2;
    client_send(fd, GET_KA("/small"));
    assert_non_null(strstr(client_read(fd, &is_end), "max=2\r\n"));
    client_send(fd, GET_KA("/small"));
    assert_non_null(strstr(client_read(fd, &is_end), "max=1\r\n"));
    assert_false(is_end);
    client_send(fd, GET_KA("/small"));
    assert_non_null(strstr(client_read(fd, &is_end), "Connection: close\r\n"));
    assert_true(is_end);
    assert_int_equal(fx->closed, 0); /* lingering: the client had not asked for it */
    shutdown(fd, SHUT_WR);
    assert_closed(fd);
}

static void test_keepalive_off(void **state)
{
    int fd = client_open(false);

    (void)state;
    fx->core.keepalive = false;
    client_send(fd, GET_KA("/small"));
    assert_non_null(strstr(client_read(fd, &is_end), "Connection: close\r\n"));
    assert_true(is_end);
    close(fd);
    settle();
    assert_int_equal(fx->closed, 1);
}

static void test_half_close_is_answered(void **state)
{
    int fd = client_open(false);

    (void)state;
    client_send(fd, GET("/park"));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    settle();
    assert_non_null(fx->parked);
    mu_wake_raise(fx->parked);
    assert_non_null(strstr(client_read(fd, &is_end), "woken\n"));
    assert_int_equal(fx->park_rc, MU_OK);
    assert_closed(fd);
}

/* A head that is cut short is answered once its request line was there. */
static void test_half_a_head(void **state)
{
    static const char *const silent[] = { "", "\r\n", "GET /sm", "\r\nGET /small HTTP/1.1\r" };
    int fd;

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(silent); i++) {
        fd = client_open(false);
        client_send(fd, silent[i]);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        assert_string_equal(client_read(fd, &is_end), "");
        assert_true(is_end);
        close(fd);
        assert_int_equal(fx->log_n, 0);
    }
    fd = client_open(false);
    client_send(fd, "\r\nHEAD /small HTTP/1.1\r\nHo");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_non_null(strstr(client_read(fd, &is_end), "HTTP/1.1 400 Bad Request\r\n"));
    assert_true(is_end);
    close(fd);
    settle();
    assert_int_equal(fx->host.connections, 0);
    assert_int_equal(fx->log[0].status, 400);
    assert_string_equal(fx->log[0].line, "HEAD /small HTTP/1.1");
    assert_int_equal(fx->log[0].wire_in, 26);
}

static void test_hangup_cancels(void **state)
{
    int fd = client_open(false);

    (void)state;
    client_send(fd, GET("/park"));
    assert_non_null(fx->parked);
    assert_int_equal(atomic_load(&fx->slots[0].state), 'W');
    assert_int_equal(atomic_load(&fx->score.writing), 1);
    close(fd);
    settle();
    assert_null(fx->parked);
    assert_int_equal(fx->park_rc, MU_GONE);
    assert_int_equal(fx->closed, 1);
    assert_int_equal(fx->log[0].conn_state, 'X');
}

static void test_abort(void **state)
{
    int park = client_open(false), idle = client_open(false), flush = client_open(true);
    int head = client_open(false);

    (void)state;
    client_send(park, GET("/park"));
    client_send(idle, GET("/small"));
    client_send(flush, GET("/big"));
    client_send(head, "GET /sm");
    assert_int_equal(fx->host.connections, 4);
    mu_conn_host_abort(&fx->host);
    settle();
    assert_int_equal(fx->host.connections, 0);
    assert_int_equal(fx->closed, 4);
    assert_int_equal(fx->park_rc, MU_GONE);
    assert_int_equal(fx->log_n, 3);
    close(park);
    close(idle);
    close(flush);
    close(head);
}

static void test_drain(void **state)
{
    int busy = client_open(false), idle = client_open(false), head = client_open(false);
    int quiet = client_open(false);

    (void)state;
    fx->core.keepalive_timeout_ms = 100000;
    client_send(busy, GET("/park"));
    client_send(idle, GET_KA("/small"));
    (void)client_read(idle, &is_end);
    client_send(head, "GET /small HT");
    mu_conn_host_drain(&fx->host);
    mu_conn_host_drain(&fx->host);
    settle();
    assert_int_equal(fx->closed, 0);
    mu_wake_raise(fx->parked);
    assert_non_null(strstr(client_read(busy, &is_end), "Connection: close\r\n"));
    assert_true(is_end);
    client_send(idle, GET_KA("/small"));
    assert_non_null(strstr(client_read(idle, &is_end), "Connection: close\r\n"));
    assert_true(is_end);
    client_send(head, "TP/1.1\r\nHost: a\r\n\r\n");
    assert_non_null(strstr(client_read(head, &is_end), "Connection: close\r\n"));
    assert_true(is_end);
    close(busy);
    close(idle);
    close(head);
    settle();
    assert_int_equal(fx->closed, 3);
    advance_clock(6000); /* the one that says nothing */
    (void)client_read(quiet, &is_end);
    assert_true(is_end);
    close(quiet);
    settle();
    assert_int_equal(fx->host.connections, 0);
}

static void test_idle_timeout(void **state)
{
    int fd = client_open(false);

    (void)state;
    client_send(fd, GET("/small"));
    (void)client_read(fd, &is_end);
    advance_clock(4900);
    assert_int_equal(fx->closed, 0);
    client_send(fd, GET("/small"));
    (void)client_read(fd, &is_end);
    advance_clock(4900);
    assert_int_equal(fx->closed, 0);
    advance_clock(200);
    assert_string_equal(client_read(fd, &is_end), "");
    assert_closed(fd);
}

static void test_header_timeout(void **state)
{
    int silent = client_open(false), slow;

    (void)state;
    fx->read_timeouts =
        (struct mu_read_timeouts){ .header_ms = 20000, .header_max_ms = 40000, .header_rate = 500 };
    close(silent);
    settle();
    silent = client_open(false);
    slow = client_open(false);
    client_send(slow, "GET /small HTTP/1.1\r\nX: ");
    for (int s = 0; s < 19; s++) {
        advance_clock(1000);
        client_send(slow, "0123456789012345678901234567890123456789012345678901234567890123456789");
    }
    assert_int_equal(fx->log_n, 0);
    advance_clock(2000); /* 19 * 70 bytes at 500 a second: 2.66 seconds more than 20 */
    assert_string_equal(client_read(silent, &is_end), "");
    assert_true(is_end); /* nothing was said: nothing is answered */
    assert_int_equal(fx->log_n, 0);
    advance_clock(2000);
    assert_non_null(strstr(client_read(slow, &is_end), "HTTP/1.1 408 Request Timeout\r\n"));
    assert_true(is_end);
    assert_int_equal(fx->log[0].status, 408);
    assert_string_equal(fx->log[0].line, "GET /small HTTP/1.1"); /* what had come is logged */
    close(silent);
    close(slow);
    settle();
    assert_int_equal(fx->host.connections, 0);
}

static void test_bad_head(void **state)
{
    int fd = client_open(false);

    (void)state;
    client_send(fd, "GET /small HTTP/1.1\r\nHost : a\r\n\r\n" GET("/small"));
    assert_non_null(strstr(client_read(fd, &is_end), "HTTP/1.1 400 Bad Request\r\n"));
    assert_true(is_end);
    assert_int_equal(fx->log_n, 1); /* what follows a head that was refused is not looked at */
    assert_int_equal(fx->closed, 0);
    client_send(fd, "more that nobody reads");
    advance_clock(2100);
    assert_closed(fd);
}

static void test_linger_ends(void **state)
{
    int fd = client_open(false);

    (void)state;
    client_send(fd, "junk\r\n\r\n");
    (void)client_read(fd, &is_end);
    assert_true(is_end);
    for (int i = 0; i < 35 && fx->closed == 0; i++) {
        (void)send(fd, "x", 1, MSG_NOSIGNAL);
        advance_clock(1000);
        assert_true(i > 20 || fx->closed == 0);
    }
    assert_int_equal(fx->closed, 1); /* however lively the client is */
    close(fd);
}

static void test_early_close(void **state)
{
    static const char text[] = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc";

    (void)state;
    for (size_t cut = 0; cut < sizeof(text); cut++) {
        int fd = client_open(false);

        client_send_n(fd, text, cut);
        close(fd);
        settle();
        assert_int_equal(fx->host.connections, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_keepalive),
        BOTH(test_pipelined),
        BOTH(test_log_of_pipelined_bodies),
        BOTH(test_head_at_every_split),
        BOTH(test_bytewise),
        BOTH(test_large_head),
        BOTH(test_unfinished_heads_are_bounded),
        BOTH(test_requests_are_limited),
        BOTH(test_http10),
        BOTH(test_http09),
        BOTH(test_max_requests),
        BOTH(test_keepalive_off),
        BOTH(test_half_close_is_answered),
        BOTH(test_half_a_head),
        BOTH(test_hangup_cancels),
        BOTH(test_abort),
        BOTH(test_drain),
        BOTH(test_idle_timeout),
        BOTH(test_header_timeout),
        BOTH(test_bad_head),
        BOTH(test_linger_ends),
        BOTH(test_early_close),
    };

    return cmocka_run_group_tests_name("h1_conn", tests, NULL, NULL);
}
