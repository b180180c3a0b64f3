/* Answers that do not wait for the client (mu_resp_spool), and request bodies that are read ahead
 * (mu_body_spool), on fibers: nobody waits for a slow client but the reactor. */
#include "h1_fixture.h"

#include <server/h1_conn.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define POST(path, fields) "POST " path " HTTP/1.1\r\nHost: localhost\r\n" fields "\r\n"

static bool is_end;
static char all[4 << 20];
static size_t all_n;

/** Add to `all` what there is to read. */
static void read_more(int fd)
{
    for (int idle = 0; idle < 20;) {
        ssize_t got = recv(fd, all + all_n, sizeof(all) - 1 - all_n, 0);

        idle = got > 0 ? 0 : idle + 1;
        all_n += got > 0 ? (size_t)got : 0;
        settle();
    }
    all[all_n] = '\0';
}

/** The chunked body in `all`, as far as it goes, without its framing. Returns its length. */
static size_t unchunk(bool *has_ended)
{
    char *in = strstr(all, "\r\n\r\n") + 4, *end = all + all_n, *out = all;

    *has_ended = false;
    while (in < end) {
        size_t n = strtoul(in, &in, 16);

        assert_memory_equal(in, "\r\n", 2);
        in += 2;
        *has_ended = n == 0;
        if (n == 0)
            break;
        memmove(out, in, n);
        out += n;
        in += n;
        assert_memory_equal(in, "\r\n", 2);
        in += 2;
    }
    return (size_t)(out - all);
}

static int begin(const char *request)
{
    int fd = client_open(true);

    all_n = 0;
    client_send(fd, request);
    return fd;
}

static void wake_up(void)
{
    assert_non_null(fx->parked);
    mu_wake_raise(fx->parked);
    settle();
}

static void test_the_writer_does_not_wait(void **state)
{
    int fd = begin(GET("/spool") GET("/small"));
    bool has_ended;

    (void)state;
    assert_non_null(fx->parked); /* all is written, and nothing was read */
    read_more(fd);
    assert_non_null(
        fx->parked); /* and now all was read, while the fiber waits for something else */
    assert_int_equal(fx->log_n, 0);
    wake_up();
    assert_int_equal(fx->write_rc, MU_OK);
    assert_int_equal(fx->log_n, 2);
    read_more(fd);
    assert_non_null(strstr(all + all_n - 200, "\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"));
    assert_int_equal(unchunk(&has_ended), sizeof(fx->big));
    assert_true(has_ended);
    assert_memory_equal(all, fx->big, sizeof(fx->big));
    close(fd);
}

static void test_the_rest_is_sent_without_a_fiber(void **state)
{
    int fd = begin(GET("/spool"));
    bool has_ended;

    (void)state;
    wake_up();
    assert_int_equal(mu_reactor_fibers(fx->reactor), 0);
    assert_int_equal(fx->log_n, 0);
    read_more(fd);
    assert_int_equal(fx->log_n, 1);
    assert_int_equal(fx->log[0].body, sizeof(fx->big));
    assert_int_equal(unchunk(&has_ended), sizeof(fx->big));
    assert_true(has_ended);
    assert_memory_equal(all, fx->big, sizeof(fx->big));
    close(fd);
}

/** What was spooled and sent makes room for what comes next, and bytes on their way stay. */
static void test_twice(void **state)
{
    int fd = begin(GET("/spool-twice"));
    bool has_ended;

    (void)state;
    read_more(fd);
    wake_up();
    wake_up();
    read_more(fd);
    assert_int_equal(unchunk(&has_ended), 2 * sizeof(fx->big));
    assert_true(has_ended);
    assert_memory_equal(all, fx->big, sizeof(fx->big));
    assert_memory_equal(all + sizeof(fx->big), fx->big, sizeof(fx->big));
    close(fd);
}

static void test_above_the_limit_it_waits(void **state)
{
    uint64_t before = mu_h1_keep_max;
    int fd;
    bool has_ended;

    (void)state;
    mu_h1_keep_max = 100000;
    fd = begin(GET("/spool"));
    assert_null(fx->parked);
    assert_int_equal(mu_reactor_fibers(fx->reactor), 1);
    read_more(fd);
    wake_up();
    read_more(fd);
    assert_int_equal(unchunk(&has_ended), sizeof(fx->big));
    assert_true(has_ended);
    assert_memory_equal(all, fx->big, sizeof(fx->big));
    close(fd);
    mu_h1_keep_max = before;
}

static void test_a_flush_waits(void **state)
{
    int fd = begin(GET("/spool-flush"));

    (void)state;
    assert_null(fx->parked);
    read_more(fd);
    assert_non_null(fx->parked);
    wake_up();
    close(fd);
}

static void test_the_body_is_awaited_meanwhile(void **state)
{
    int fd = begin(POST("/spool-read", "Content-Length: 3\r\n"));
    bool has_ended;

    (void)state;
    read_more(fd);
    assert_int_equal(fx->body_n, 0);
    assert_int_equal(unchunk(&has_ended),
                     sizeof(fx->big)); /* all, though the fiber waits for input */
    assert_false(has_ended);
    client_send(fd, "abc");
    assert_int_equal(fx->body_n, 3);
    assert_int_equal(fx->log_n, 1);
    close(fd);
}

static void test_a_client_that_stands_still(void **state)
{
    int fd = begin(GET("/spool"));

    (void)state;
    advance_clock(59000);
    assert_non_null(fx->parked);
    advance_clock(2000);
    assert_null(fx->parked);
    assert_int_equal(fx->park_rc, MU_GONE);
    assert_int_equal(fx->log_n, 1);
    assert_int_equal(fx->log[0].conn_state, 'X');
    assert_int_equal(fx->host.connections, 0);
    close(fd);
}

static void test_a_client_that_reads_in_time(void **state)
{
    int fd = begin(GET("/spool"));
    char piece[20000];

    (void)state;
    for (int i = 0; i < 5; i++) {
        advance_clock(40000);
        for (size_t n = 0; n < 150000 && fx->parked;) {
            ssize_t got = recv(fd, piece, sizeof(piece), 0);

            n += got > 0 ? (size_t)got : 0;
            settle();
        }
        assert_non_null(fx->parked);
    }
    wake_up();
    close(fd);
}

static void test_a_client_that_leaves(void **state)
{
    int fd = begin(GET("/spool"));

    (void)state;
    assert_non_null(fx->parked);
    close(fd);
    settle();
    assert_null(fx->parked);
    assert_int_equal(fx->park_rc, MU_GONE);
    assert_int_equal(fx->log_n, 1);
    assert_int_equal(fx->log[0].conn_state, 'X');
}

static void test_bodies_are_read_ahead(void **state)
{
    int fd = client_open(false);

    (void)state;
    client_send(fd, POST("/read-ahead", "Content-Length: 6\r\nExpect: 100-continue\r\n"));
    assert_string_equal(client_read(fd, &is_end), "HTTP/1.1 100 Continue\r\n\r\n");
    client_send(fd, "abc");
    assert_int_equal(fx->spool_len, 0);
    client_send(fd, "def");
    assert_non_null(strstr(client_read(fd, &is_end), "\r\n\r\nabcdef"));
    assert_int_equal(fx->spool_len, 6);
    fx->body_n = 0;
    client_send(
        fd,
        POST("/read-ahead", "Transfer-Encoding: chunked\r\n") "3\r\nghi\r\n1\r\nj\r\n0\r\n\r\n" GET(
            "/read-ahead"));
    assert_non_null(strstr(client_read(fd, &is_end), "\r\n\r\nghij"));
    assert_int_equal(fx->spool_rc, MU_EOF); /* of the last, which has none */
    assert_int_equal(fx->spool_len, 0);
    close(fd);
}

static void test_a_large_body_is_read_ahead(void **state)
{
    static char body[69999];
    int fd = client_open(false);

    (void)state;
    fx->core.limit_body = 0;
    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = (char)('A' + i % 19);
    client_send(fd, POST("/read-ahead", "Content-Length: 69999\r\n"));
    client_send_n(fd, body, sizeof(body));
    all_n = 0;
    read_more(fd);
    assert_int_equal(fx->spool_len, sizeof(body));
    assert_memory_equal(strstr(all, "\r\n\r\n") + 4, body, sizeof(body));
    close(fd);
}

static void test_bad_bodies(void **state)
{
    static const char *const bad[] = {
        POST("/read-ahead", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\nzz\r\n",
        POST("/read-ahead", "Content-Length: 60001\r\n"),
        POST("/read-ahead", "Content-Length: 3\r\n") "ab",
    };
    static const char *const answers[] = { "HTTP/1.1 400 ", "HTTP/1.1 413 ", "HTTP/1.1 408 " };

    (void)state;
    fx->read_timeouts = (struct mu_read_timeouts){ .body_ms = 1000 };
    for (size_t i = 0; i < MU_ARRAY_LEN(bad); i++) {
        int fd = client_open(false);

        fx->body_n = 0;
        client_send(fd, bad[i]);
        advance_clock(1001);
        assert_non_null(strstr(client_read(fd, &is_end), answers[i]));
        close(fd);
    }
    assert_int_equal(fx->spool_rc, MU_TIMEOUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_the_writer_does_not_wait),
        BOTH(test_the_rest_is_sent_without_a_fiber),
        BOTH(test_twice),
        BOTH(test_above_the_limit_it_waits),
        BOTH(test_a_flush_waits),
        BOTH(test_the_body_is_awaited_meanwhile),
        BOTH(test_a_client_that_stands_still),
        BOTH(test_a_client_that_reads_in_time),
        BOTH(test_a_client_that_leaves),
        BOTH(test_bodies_are_read_ahead),
        BOTH(test_a_large_body_is_read_ahead),
        BOTH(test_bad_bodies),
    };

    return cmocka_run_group_tests_name("h1_spool", tests, NULL, NULL);
}
