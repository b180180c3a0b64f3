/*
 * Answers over HTTP/1: how bodies are delimited, slow clients, files that change, broken promises,
 * request bodies.
 */
#include "h1_fixture.h"

#include <sys/mman.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define GET_CLOSE(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
#define POST(path, fields) "POST " path " HTTP/1.1\r\nHost: localhost\r\n" fields "\r\n"

static bool is_end;

static void test_chunked(void **state)
{
    int fd = client_open(false);
    const char *got;

    (void)state;
    client_send(fd, GET("/stream") GET("/small"));
    got = client_read(fd, &is_end);
    assert_non_null(strstr(got, "Transfer-Encoding: chunked\r\n"));
    assert_null(strstr(got, "Content-Length: 35"));
    assert_non_null(strstr(
        got,
        "\r\n\r\n15\r\npart 0\npart 1\npart 2\n\r\ne\r\npart 3\npart 4\n\r\n0\r\n\r\nHTTP/1.1 200"));
    assert_false(is_end);
    assert_int_equal(fx->log[0].body, 35);
    close(fd);
}

static void test_offloaded(void **state)
{
    int fd = client_open(false);

    (void)state;
    client_send(fd, GET("/offload"));
    assert_non_null(strstr(client_read(fd, &is_end), "part 4\n\r\n0\r\n\r\n"));
    assert_int_equal(fx->offloads, 1);
    close(fd);
}

static void test_head_and_204(void **state)
{
    int fd = client_open(false);
    const char *got;

    (void)state;
    client_send(fd, "HEAD /small HTTP/1.1\r\nHost: a\r\n\r\n");
    got = client_read(fd, &is_end);
    assert_non_null(strstr(got, "Content-Length: 6\r\n"));
    assert_string_equal(strstr(got, "\r\n\r\n"), "\r\n\r\n");
    client_send(fd, "HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    got = client_read(fd, &is_end);
    assert_null(strstr(got, "chunked"));
    assert_string_equal(strstr(got, "\r\n\r\n"), "\r\n\r\n");
    client_send(fd, GET("/204"));
    got = client_read(fd, &is_end);
    assert_non_null(strstr(got, "HTTP/1.1 204 No Content\r\n"));
    assert_null(strstr(got, "Content-"));
    assert_string_equal(strstr(got, "\r\n\r\n"), "\r\n\r\n");
    assert_false(is_end);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fx->log[i].body, 0);
    close(fd);
}

/** The answer's end goes out from the reactor, without a fiber; then the connection goes on. */
static void test_flush(void **state)
{
    int fd = client_open(true);
    char head[4096];

    (void)state;
    client_send(fd, GET("/big") GET("/small"));
    settle();
    assert_int_equal(mu_reactor_fibers(fx->reactor), 0);
    assert_int_equal(fx->write_rc, MU_OK);
    assert_int_equal(fx->log_n, 0); /* logged when it is out */
    assert_int_equal(atomic_load(&fx->score.writing), 1);
    assert_true(client_drain(fd, head, &is_end) > sizeof(fx->big));
    assert_false(is_end);
    assert_int_equal(fx->log_n, 2);
    assert_int_equal(fx->log[0].body, sizeof(fx->big));
    assert_true(fx->log[0].wire_out > sizeof(fx->big));
    assert_int_equal(fx->log[0].conn_state, '+');
    close(fd);
}

/** Borrowed bytes hold the fiber until they are out. */
static void test_borrowed(void **state)
{
    int fd = client_open(true);
    char head[4096];

    (void)state;
    client_send(fd, GET("/borrowed"));
    assert_int_equal(mu_reactor_fibers(fx->reactor), 1);
    assert_true(client_drain(fd, head, &is_end) > sizeof(fx->big));
    assert_int_equal(mu_reactor_fibers(fx->reactor), 0);
    assert_int_equal(fx->log_n, 1);
    close(fd);
}

/** Empty the socket once. */
static void take_some(int fd)
{
    char piece[4096];
    size_t n = 0;

    for (ssize_t got; (got = recv(fd, piece, sizeof(piece), 0)) > 0;)
        n += (size_t)got;
    assert_true(n > 0 && n < 100000);
}

static void test_slow_client_times_out(void **state)
{
    int flush = client_open(true), fiber = client_open(true);

    (void)state;
    client_send(flush, GET("/big"));
    client_send(fiber, GET("/borrowed"));
    advance_clock(50000);
    take_some(flush); /* progress: the time begins anew */
    take_some(fiber);
    settle();
    advance_clock(50000);
    assert_int_equal(fx->log_n, 0);
    advance_clock(11000);
    assert_int_equal(fx->log_n, 2);
    assert_int_equal(fx->log[0].conn_state, 'X');
    assert_int_equal(fx->log[1].conn_state, 'X');
    assert_int_equal(fx->write_rc, MU_TIMEOUT);
    assert_int_equal(fx->host.connections, 0);
    close(flush);
    close(fiber);
}

static void test_flush_hangup(void **state)
{
    int fd = client_open(true);

    (void)state;
    client_send(fd, GET("/big"));
    assert_int_equal(fx->log_n, 0);
    close(fd);
    settle();
    assert_int_equal(fx->log_n, 1);
    assert_int_equal(fx->log[0].conn_state, 'X');
    assert_int_equal(fx->host.connections, 0);
}

static void file_of(uint64_t real, uint64_t announced)
{
    fx->file_fd = memfd_create("body", MFD_CLOEXEC);
    assert_true(fx->file_fd >= 0);
    assert_int_equal(ftruncate(fx->file_fd, (off_t)real), 0);
    fx->file_len = announced;
}

static void test_file(void **state)
{
    int fast = client_open(false), slow = client_open(true);
    char head[4096];

    (void)state;
    file_of(300000, 300000);
    client_send(fast, GET("/file"));
    assert_true(client_drain(fast, head, &is_end) > 300000);
    assert_false(is_end);
    client_send(slow, GET("/file"));
    assert_int_equal(mu_reactor_fibers(fx->reactor), 0);
    assert_true(client_drain(slow, head, &is_end) > 300000);
    assert_non_null(strstr(head, "Content-Length: 300000\r\n"));
    assert_int_equal(fx->log[1].body, 300000);
    close(fast);
    close(slow);
}

/** A file that shrank never leaves a client waiting, nor takes the next answer for its rest. */
static void test_file_shrinks(void **state)
{
    int fast = client_open(false), slow = client_open(true);
    char head[4096];

    (void)state;
    file_of(1000, 5000);
    client_send(fast, GET("/file") GET("/small"));
    assert_true(client_drain(fast, head, &is_end) < 5000);
    assert_true(is_end);
    assert_int_equal(fx->log_n, 1);
    assert_int_equal(fx->log[0].conn_state, 'X');
    assert_int_equal(ftruncate(fx->file_fd, 400000), 0);
    fx->file_len = 400000;
    client_send(slow, GET("/file"));
    assert_int_equal(ftruncate(fx->file_fd, 100), 0);
    assert_true(client_drain(slow, head, &is_end) < 400000);
    assert_true(is_end);
    assert_int_equal(fx->log[1].conn_state, 'X');
    close(fast);
    close(slow);
    settle();
    assert_int_equal(fx->host.connections, 0);
}

static void test_broken_promises(void **state)
{
    int more = client_open(false), less = client_open(false);
    const char *got;

    (void)state;
    client_send(more, GET("/more") GET("/small"));
    got = client_read(more, &is_end);
    assert_string_equal(strstr(got, "\r\n\r\n"), "\r\n\r\nabcdefghij");
    assert_true(is_end);
    client_send(less, GET("/less") GET("/small"));
    got = client_read(less, &is_end);
    assert_string_equal(strstr(got, "\r\n\r\n"), "\r\n\r\nabcdefghij");
    assert_true(is_end);
    assert_int_equal(fx->log_n, 2);
    close(more);
    close(less);
}

static void test_continue(void **state)
{
    int fd = client_open(false);

    (void)state;
    client_send(fd, POST("/echo", "Content-Length: 3\r\nExpect: 100-continue\r\n"));
    assert_string_equal(client_read(fd, &is_end), "HTTP/1.1 100 Continue\r\n\r\n");
    client_send(fd, "abc" GET("/small"));
    assert_int_equal(count_of(client_read(fd, &is_end), "HTTP/1.1 200 OK\r\n"), 2);
    assert_false(is_end);
    assert_int_equal(fx->log[0].wire_in,
                     strlen(POST("/echo", "Content-Length: 3\r\nExpect: 100-continue\r\n")) + 3);
    /* Nobody reads it: the client was not told to send it and may or may not do so. */
    client_send(fd, POST("/small", "Content-Length: 3\r\nExpect: 100-continue\r\n"));
    assert_non_null(strstr(client_read(fd, &is_end), "Connection: close\r\n"));
    assert_true(is_end);
    close(fd);
}

static void test_unread_body(void **state)
{
    static char big[300000];
    int fd = client_open(false);

    (void)state;
    client_send(fd, POST("/small", "Content-Length: 8\r\n"));
    assert_non_null(strstr(client_read(fd, &is_end), "hello\n")); /* not held up by the body */
    client_send(fd, "unwanted" GET("/small"));
    assert_non_null(strstr(client_read(fd, &is_end), "hello\n"));
    client_send(
        fd, POST("/small", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\n0\r\n\r\n" GET("/small"));
    assert_int_equal(count_of(client_read(fd, &is_end), "hello\n"), 2);
    assert_false(is_end);
    client_send(fd, POST("/small", "Content-Length: 300000\r\n"));
    (void)client_read(fd, &is_end);
    assert_true(is_end); /* more than it is worth reading */
    assert_int_equal(fx->closed, 0);
    client_send_n(fd, big, sizeof(big)); /* is taken nevertheless: no reset destroys the answer */
    close(fd);
    settle();
    assert_int_equal(fx->closed, 1);
}

/** The answer is out and logged, and what comes of the body is dropped without a fiber. */
static void test_unread_body_comes_slowly(void **state)
{
    static const char *const pieces[] = { "3;x=",     "y\r\nab",
                                          "c\r\n2\r", "\nde\r\n0\r\nT: v",
                                          "w\r\n\r",  "\n" GET("/small") };
    int fd = client_open(false);

    (void)state;
    client_send(fd, POST("/small", "Content-Length: 1000\r\n") "begin");
    for (int i = 0; i < 5; i++) {
        assert_int_equal(count_of(client_read(fd, &is_end), "hello\n"), i == 0);
        assert_int_equal(fx->log_n, 1);
        assert_int_equal(mu_reactor_fibers(fx->reactor), 0);
        client_send_n(fd, fx->big, 199);
    }
    client_send(fd, POST("/small", "Transfer-Encoding: chunked\r\n"));
    for (size_t i = 0; i < MU_ARRAY_LEN(pieces); i++) {
        assert_int_equal(count_of(client_read(fd, &is_end), "hello\n"), i == 0);
        assert_int_equal(fx->log_n, 2);
        client_send(fd, pieces[i]);
    }
    assert_int_equal(count_of(client_read(fd, &is_end), "hello\n"), 1);
    assert_int_equal(fx->log_n, 3);
    assert_false(is_end);
    close(fd);
}

/** It may take as long as any body, no longer; and it must not be broken off, broken or huge. */
static void test_unread_body_that_costs_the_connection(void **state)
{
    int fd = client_open(false);

    (void)state;
    fx->read_timeouts =
        (struct mu_read_timeouts){ .body_ms = 1000, .body_max_ms = 3000, .body_rate = 100 };
    client_send(fd, POST("/small", "Content-Length: 1000\r\n"));
    advance_clock(900);
    client_send_n(fd, fx->big, 500); /* worth more seconds than there are */
    advance_clock(2000);
    (void)client_read(fd, &is_end);
    assert_false(is_end);
    advance_clock(200);
    (void)client_read(fd, &is_end);
    assert_true(is_end);
    close(fd);
    fd = client_open(false);
    client_send(fd, POST("/small", "Transfer-Encoding: chunked\r\n"));
    client_send(fd, "zz\r\n");
    assert_non_null(strstr(client_read(fd, &is_end), "hello\n"));
    assert_true(is_end);
    close(fd);
    fd = client_open(false);
    client_send(fd, POST("/small", "Transfer-Encoding: chunked\r\n"));
    client_send(fd, "fffff\r\n");
    client_send_n(fd, fx->big, 500000);
    (void)client_read(fd, &is_end);
    assert_true(is_end);
    close(fd);
    fd = client_open(false);
    client_send(fd, POST("/small", "Content-Length: 1000\r\n"));
    close(fd);
    settle();
    assert_int_equal(fx->host.connections, 0);
    assert_int_equal(fx->log_n, 4);
}

static void test_large_chunked_body(void **state)
{
    static char chunk[20 + 50000];
    int fd = client_open(false), n;

    (void)state;
    n = snprintf(chunk, sizeof(chunk), "c350\r\n");
    memset(chunk + n, 'z', 50000);
    client_send(fd, POST("/echo", "Transfer-Encoding: chunked\r\n"));
    client_send_n(fd, chunk, (size_t)n + 50000);
    client_send(fd, "\r\n5\r\nlast!\r\n0\r\n\r\n" GET("/small") "GET /sm");
    assert_non_null(strstr(client_read(fd, &is_end), "zzlast!HTTP/1.1 200 OK"));
    assert_int_equal(fx->body_n, 50005);
    client_send(
        fd, "all HTTP/1.1\r\nHost: a\r\n\r\n"); /* what was read too much is the next request's */
    assert_non_null(strstr(client_read(fd, &is_end), "hello\n"));
    assert_int_equal(fx->log_n, 3);
    close(fd);
}

static void test_body_limit(void **state)
{
    static char chunk[7000];
    int fd = client_open(false), n;

    (void)state;
    client_send(fd, POST("/echo", "Content-Length: 60001\r\n"));
    assert_non_null(strstr(client_read(fd, &is_end), "HTTP/1.1 413 "));
    assert_true(is_end);
    close(fd);
    fd = client_open(false);
    client_send(fd, POST("/echo", "Transfer-Encoding: chunked\r\n"));
    n = snprintf(chunk, sizeof(chunk), "1770\r\n");
    memset(chunk + n, 'y', 6000);
    memcpy(chunk + n + 6000, "\r\n", 2);
    for (int i = 0; i < 11; i++)
        client_send_n(fd, chunk, (size_t)n + 6002);
    assert_non_null(strstr(client_read(fd, &is_end), "HTTP/1.1 413 "));
    assert_true(is_end);
    close(fd);
}

static void test_bad_chunk(void **state)
{
    int fd = client_open(false);

    (void)state;
    client_send(
        fd, POST("/echo", "Transfer-Encoding: chunked\r\n") "3\r\nabcd\r\n0\r\n\r\n" GET("/small"));
    assert_non_null(strstr(client_read(fd, &is_end), "HTTP/1.1 400 "));
    assert_true(is_end);
    assert_int_equal(fx->body_rc, MU_BAD);
    assert_int_equal(fx->log_n, 1);
    close(fd);
}

static void test_body_timeout(void **state)
{
    int fd = client_open(false);

    (void)state;
    fx->read_timeouts = (struct mu_read_timeouts){ .body_ms = 20000, .body_rate = 500 };
    client_send(fd, POST("/echo", "Content-Length: 5000\r\n") "abc");
    for (int i = 0; i < 20; i++) {
        advance_clock(1000);
        client_send(fd, "0123456789012345678901234567890123456789012345678901234567890123456789");
    }
    assert_int_equal(fx->log_n, 0);
    advance_clock(3000); /* 1,400 bytes: 2.8 seconds more */
    assert_non_null(strstr(client_read(fd, &is_end), "HTTP/1.1 408 Request Timeout\r\n"));
    assert_true(is_end);
    assert_int_equal(fx->body_rc, MU_TIMEOUT);
    close(fd);
}

static void test_client_leaves_in_body(void **state)
{
    int fd = client_open(false);

    (void)state;
    client_send(fd, POST("/echo", "Content-Length: 5\r\n") "abc");
    shutdown(fd, SHUT_WR);
    settle();
    assert_int_equal(fx->body_rc, MU_GONE);
    assert_int_equal(fx->log_n, 1);
    (void)client_read(fd, &is_end);
    assert_true(is_end);
    close(fd);
}

static void test_wants_small_reads(void **state)
{
    int fd = client_open(false);

    (void)state;
    client_send(
        fd,
        POST("/bytewise", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\na\r\n0123456789\r\n0\r\nX: y\r\n\r\n" POST(
            "/bytewise", "Content-Length: 2\r\n") "zz" GET_CLOSE("/small"));
    assert_int_equal(count_of(client_read(fd, &is_end), "HTTP/1.1 200 OK\r\n"), 3);
    assert_true(is_end);
    assert_memory_equal(fx->body, "abc0123456789zz", 15);
    close(fd);
}

static void spoil_nothing(struct mu_req *r)
{
    (void)r;
}

static void spoil_type(struct mu_req *r)
{
    r->content_type = MU_S("text/html\r\nX: y");
}

static void spoil_encoding(struct mu_req *r)
{
    r->content_encoding = MU_S("gzip\n");
}

static void spoil_language(struct mu_req *r)
{
    static struct mu_str languages[] = { MU_S("de"), MU_S("e\0n") };

    r->languages = (struct mu_strs){ languages, 2 };
}

static void spoil_etag(struct mu_req *r)
{
    r->etag = MU_S("\"\r\"");
}

static void spoil_reason(struct mu_req *r)
{
    r->status_reason = MU_S("OK\r\n\r\n<script>");
}

static void spoil_status(struct mu_req *r)
{
    r->status = (enum mu_status)12345;
}

static void spoil_value(struct mu_req *r)
{
    (void)!mu_headers_add(r->arena, &r->out, MU_S("Location"), MU_S("/a\r\nSet-Cookie: x"));
}

static void spoil_name(struct mu_req *r)
{
    (void)!mu_headers_add(r->arena, &r->out_always, MU_S("X: y\r\nZ"), MU_S("1"));
}

static void spoil_connection(struct mu_req *r)
{
    (void)!mu_headers_set(r->arena, &r->out, MU_S("Connection"), MU_S("a\x01"));
}

/** Whatever part of a head could end or split it: the client gets an error page, and no part of it. */
static void test_insane_heads(void **state)
{
    static void (*const spoils[])(struct mu_req *) = {
        spoil_type,   spoil_encoding, spoil_language, spoil_etag,       spoil_reason,
        spoil_status, spoil_value,    spoil_name,     spoil_connection,
    };

    (void)state;
    fx->spoil = spoil_nothing;
    for (size_t i = 0; i <= MU_ARRAY_LEN(spoils); i++) {
        int fd = client_open(false);

        client_send(fd, GET("/insane"));
        if (i == 0) {
            assert_non_null(strstr(client_read(fd, &is_end), "HTTP/1.1 200 Fine\r\n"));
        } else {
            assert_string_equal(client_read(fd, &is_end),
                                "HTTP/1.1 500 Internal Server Error\r\n"
                                "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: Muster\r\n"
                                "Content-Length: 9\r\nConnection: close\r\n"
                                "Content-Type: text/html; charset=iso-8859-1\r\n\r\nan error\n");
            assert_true(is_end);
            assert_int_equal(fx->write_rc, MU_BAD);
            assert_int_equal(fx->log[i].status, 500);
            assert_int_equal(fx->log[i].body, 9);
        }
        close(fd);
        settle();
        fx->spoil = i < MU_ARRAY_LEN(spoils) ? spoils[i] : NULL;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_chunked),
        BOTH(test_offloaded),
        BOTH(test_head_and_204),
        BOTH(test_flush),
        BOTH(test_borrowed),
        BOTH(test_slow_client_times_out),
        BOTH(test_flush_hangup),
        BOTH(test_file),
        BOTH(test_file_shrinks),
        BOTH(test_broken_promises),
        BOTH(test_continue),
        BOTH(test_unread_body),
        BOTH(test_unread_body_comes_slowly),
        BOTH(test_unread_body_that_costs_the_connection),
        BOTH(test_large_chunked_body),
        BOTH(test_body_limit),
        BOTH(test_bad_chunk),
        BOTH(test_body_timeout),
        BOTH(test_client_leaves_in_body),
        BOTH(test_wants_small_reads),
        BOTH(test_insane_heads),
    };

    return cmocka_run_group_tests_name("h1_answer", tests, NULL, NULL);
}
