/* The client's socket in other hands, and answers that are cut short. */
#include "h1_fixture.h"

#include <errno.h>
#include <fcntl.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define POST(path, fields) "POST " path " HTTP/1.1\r\nHost: localhost\r\n" fields "\r\n"
#define ANSWER "HTTP/1.1 207 Mine\r\n\r\nall mine\n"

static bool is_end;

static void write_lent(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void wake_up(void)
{
    assert_non_null(fx->parked);
    mu_wake_raise(fx->parked);
    settle();
}

/** The program's own copy, as a descriptor that was passed to it. */
static int copy_of_lent(void)
{
    int fd = fcntl(fx->lent, F_DUPFD_CLOEXEC, 0);

    assert_true(fd >= 0);
    return fd;
}

static void test_the_program_answers(void **state)
{
    int fd = client_open_tcp(), own;

    (void)state;
    fx->lent_status = (enum mu_status)207;
    client_send(fd, GET("/small") GET("/lend"));
    assert_non_null(strstr(client_read(fd, &is_end), "hello\n"));
    assert_int_equal(fx->lend_rc, MU_OK);
    assert_int_equal(fcntl(fx->lent, F_GETFL) & O_NONBLOCK, 0);
    own = copy_of_lent();
    write_lent(own, ANSWER);
    assert_string_equal(client_read(fd, &is_end), ANSWER);
    assert_false(is_end);
    wake_up();
    assert_true(fcntl(own, F_GETFL) & O_NONBLOCK);
    assert_string_equal(client_read(fd, &is_end), "");
    assert_true(is_end); /* though the program has kept its copy */
    assert_int_equal(fx->log_n, 2);
    assert_int_equal(fx->log[1].status, 207);
    assert_int_equal(fx->log[1].body, strlen(ANSWER)); /* of this request alone */
    assert_int_equal(fx->log[1].wire_out, strlen(ANSWER));
    assert_int_equal(fx->log[1].conn_state, '-');
    assert_int_equal(fx->host.connections, 1); /* it lingers */
    close(fd);
    settle();
    assert_int_equal(fx->host.connections, 0);
    close(own);
}

static void test_the_program_knows_its_bytes(void **state)
{
    int fd = client_open(false);

    (void)state;
    fx->lent_bytes = 12345;
    client_send(fd, GET("/lend"));
    wake_up();
    assert_int_equal(fx->log[0].body, 12345);
    close(fd);
}

/** It writes while the body arrives, which is read without O_NONBLOCK. */
static void test_the_body_is_read_meanwhile(void **state)
{
    int fd = client_open_tcp();

    (void)state;
    client_send(fd, POST("/lend", "Content-Length: 6\r\nExpect: 100-continue\r\n"));
    assert_string_equal(client_read(fd, &is_end), "HTTP/1.1 100 Continue\r\n\r\n");
    wake_up(); /* and reads on: nothing there yet, and the thread is not held */
    assert_int_equal(fx->body_n, 0);
    assert_int_equal(fx->log_n, 0);
    write_lent(fx->lent, ANSWER);
    assert_string_equal(client_read(fd, &is_end), ANSWER);
    client_send(fd, "abc");
    assert_int_equal(fx->body_n, 3);
    assert_int_equal(fx->log_n, 1);
    assert_string_equal(client_read(fd, &is_end), "");
    assert_true(is_end);
    close(fd);
}

static void test_a_body_cut_short(void **state)
{
    int fd = client_open_tcp();

    (void)state;
    client_send(fd, POST("/lend", "Content-Length: 6\r\n") "ab");
    wake_up();
    assert_int_equal(fx->body_n, 2);
    close(fd);
    settle();
    assert_int_equal(fx->log_n, 1);
    assert_int_equal(fx->host.connections, 0);
}

static void test_the_client_leaves(void **state)
{
    const struct linger now = { .l_onoff = 1, .l_linger = 0 };
    int fd = client_open_tcp();

    (void)state;
    client_send(fd, GET("/lend"));
    assert_non_null(fx->parked);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    close(fd);
    settle();
    assert_null(fx->parked);
    assert_int_equal(fx->park_rc, MU_GONE);
    assert_int_equal(fx->log[0].conn_state, 'X');
    assert_int_equal(fx->host.connections, 0);
}

/** Nobody shuts down what the program may still be writing to. */
static void test_not_returned(void **state)
{
    int fd = client_open_tcp(), own;

    (void)state;
    client_send(fd, GET("/lend"));
    own = copy_of_lent();
    mu_conn_host_abort(&fx->host);
    settle();
    assert_int_equal(fx->host.connections, 0);
    assert_int_equal(fx->log[0].conn_state, 'X');
    write_lent(own, ANSWER);
    assert_string_equal(client_read(fd, &is_end), ANSWER);
    assert_false(is_end);
    close(own);
    (void)client_read(fd, &is_end);
    assert_true(is_end);
    close(fd);
}

static void test_given_back_unused(void **state)
{
    int fd = client_open_tcp();

    (void)state;
    fx->lent_status = MU_STATUS_NONE;
    client_send(fd, GET("/lend"));
    wake_up();
    assert_non_null(strstr(client_read(fd, &is_end),
                           "\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\nby myself\n"));
    assert_true(is_end);
    close(fd);
}

static void test_not_lent(void **state)
{
    static const char *const requests[] = {
        GET("/lend") GET("/small"),
        POST("/lend", "Content-Length: 3\r\n") "abc" GET("/small"),
        POST("/lend", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\n0\r\n\r\n" GET("/small"),
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(requests); i++) {
        int fd = client_open(false);

        client_send(fd, requests[i]);
        assert_int_equal(fx->lend_rc, MU_DENIED);
        assert_int_equal(count_of(client_read(fd, &is_end), "relayed\n"), 1);
        close(fd);
    }
}

static void test_lent_with_the_beginning_of_a_body(void **state)
{
    static const char *const requests[] = {
        POST("/lend", "Content-Length: 4\r\n") "abc",
        POST("/lend", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\n0\r\n",
        POST("/lend", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\n0\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(requests); i++) {
        int fd = client_open(false);

        fx->body_n = 0;
        client_send(fd, requests[i]);
        assert_int_equal(fx->lend_rc, MU_OK);
        wake_up();
        assert_int_equal(fx->body_n, 3);
        close(fd);
    }
}

static void test_cut_short(void **state)
{
    int fd = client_open(false);
    const char *got;

    (void)state;
    client_send(fd, GET("/cut"));
    got = client_read(fd, &is_end);
    assert_non_null(strstr(got, "\r\na\r\nhalf of it\r\n"));
    assert_null(strstr(got, "\r\n0\r\n"));
    assert_true(is_end);
    assert_int_equal(fx->log[0].conn_state, 'X');
    close(fd);
}

/* It has merely finished sending: it is asked, and takes no notice. */
static void test_asked_and_there(void **state)
{
    static const struct {
        const char *path, *before, *behind;
    } rows[] = {
        { GET("/ask"), "HTTP/1.1 100 Continue\r\n\r\n", "\r\n\r\nstill here\n" },
        { GET("/ask-behind"), "\r\n\r\n6\r\nfirst\n\r\n0", "b\r\nstill here\n\r\n0\r\n\r\n" },
        { "GET /ask HTTP/1.0\r\n\r\n", "", "\r\n\r\nstill here\n" },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        int fd = client_open_tcp();
        const char *got, *at;

        client_send(fd, rows[i].path);
        assert_int_equal(fx->asked, i);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        settle();
        assert_int_equal(fx->asked, i + 1);
        got = client_read(fd, &is_end);
        at = strstr(got, rows[i].before);
        assert_non_null(at);
        assert_string_equal(at, rows[i].before);
        wake_up();
        got = client_read(fd, &is_end);
        at = strstr(got, rows[i].behind);
        assert_non_null(at);
        assert_string_equal(at, rows[i].behind);
        assert_true(is_end);
        close(fd);
        settle();
    }
}

/* It has left: what it is asked is answered by a reset. */
static void test_asked_and_gone(void **state)
{
    static const char *const requests[] = { GET("/ask"), GET("/ask-behind") };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(requests); i++) {
        int fd = client_open_tcp();

        client_send(fd, requests[i]);
        (void)client_read(fd, &is_end);
        close(fd);
        for (int k = 0; k < 1000 && fx->log_n == i; k++)
            settle();
        assert_null(fx->parked);
        assert_int_equal(fx->park_rc, MU_GONE);
        assert_int_equal(fx->log[i].conn_state, 'X');
        assert_int_equal(fx->host.connections, 0);
    }
}

static void test_raw(void **state)
{
    static const char *const requests[] = { GET("/raw"), GET("/raw") GET("/small"),
                                            "HEAD /raw HTTP/1.0\r\n\r\n" };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(requests); i++) {
        int fd = client_open(false);

        client_send(fd, requests[i]);
        assert_string_equal(client_read(fd, &is_end), "HTTP/1.1 299 Raw\r\nX: y\n\nraw");
        assert_true(is_end);
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_the_program_answers),
        BOTH(test_the_program_knows_its_bytes),
        BOTH(test_the_body_is_read_meanwhile),
        BOTH(test_a_body_cut_short),
        BOTH(test_the_client_leaves),
        BOTH(test_not_returned),
        BOTH(test_given_back_unused),
        BOTH(test_not_lent),
        BOTH(test_lent_with_the_beginning_of_a_body),
        BOTH(test_cut_short),
        BOTH(test_asked_and_there),
        BOTH(test_asked_and_gone),
        BOTH(test_raw),
    };

    return cmocka_run_group_tests_name("h1_lend", tests, NULL, NULL);
}
