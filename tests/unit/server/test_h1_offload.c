/* Handlers on worker threads: whatever the client does, it holds no thread. Bodies are there before
 * the handler starts, and what the client does not take is kept, in order, in memory and in a
 * file. */
#include "h1_fixture.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define POST(path, fields) "POST " path " HTTP/1.1\r\nHost: localhost\r\n" fields "\r\n"

static bool is_end;
static char all[4 << 20];

/** Everything there is to read. */
static size_t read_all(int fd)
{
    size_t n = 0;

    for (int idle = 0; idle < 20;) {
        ssize_t got = recv(fd, all + n, sizeof(all) - 1 - n, 0);

        idle = got > 0 ? 0 : idle + 1;
        n += got > 0 ? (size_t)got : 0;
        settle();
    }
    all[n] = '\0';
    return n;
}

/**
 * Take the chunked framing out of `all`, in place. Returns the body's length; *end is what stands
 * behind it.
 */
static size_t unchunk(char **end)
{
    char *in = strstr(all, "\r\n\r\n") + 4, *out = all;

    for (;;) {
        size_t n = strtoul(in, &in, 16);

        assert_memory_equal(in, "\r\n", 2);
        memmove(out, in + 2, n);
        in += n + 2;
        assert_memory_equal(in, "\r\n", 2);
        in += 2;
        if (n == 0) {
            *end = in;
            return (size_t)(out - all);
        }
        out += n;
    }
}

static void test_a_slow_client_holds_no_thread(void **state)
{
    int fd[6];
    char *end;

    (void)state;
    for (int i = 0; i < 6; i++) { /* more of them than threads; none reads */
        fd[i] = client_open(true);
        client_send(fd[i], GET("/offload-big") GET("/small"));
    }
    wait_offloads(6);
    assert_int_equal(mu_reactor_fibers(fx->reactor), 0);
    assert_int_equal(fx->log_n, 0);
    for (int i = 0; i < 6; i++) {
        assert_true(read_all(fd[i]) > sizeof(fx->big));
        assert_int_equal(unchunk(&end), sizeof(fx->big));
        assert_memory_equal(all, fx->big, sizeof(fx->big));
        assert_non_null(strstr(end, "\r\n\r\nhello\n"));
        close(fd[i]);
    }
    settle();
    assert_int_equal(fx->log_n, 12);
    assert_int_equal(fx->log[0].conn_state, '+');
}

static void test_a_fast_client_is_served_directly(void **state)
{
    int fd = client_open(false);
    char *end;

    (void)state;
    client_send(fd, GET("/offload") GET("/offload-big"));
    while (fx->log_n < 2) {
        mu_reactor_turn(fx->reactor, 10);
        if (fx->offloads == 2)
            break;
    }
    (void)read_all(fd);
    assert_int_equal(unchunk(&end), 35);
    memmove(all, end, strlen(end) + 1);
    assert_int_equal(unchunk(&end), sizeof(fx->big));
    assert_memory_equal(all, fx->big, sizeof(fx->big));
    close(fd);
}

static void test_a_client_that_leaves(void **state)
{
    int fd = client_open(true);

    (void)state;
    client_send(fd, GET("/offload-big"));
    close(fd);
    wait_offloads(1);
    while (fx->host.connections > 0)
        mu_reactor_turn(fx->reactor, 10);
    assert_int_equal(fx->log_n, 1);
    assert_int_equal(fx->log[0].conn_state, 'X');
}

static void test_the_body_comes_first(void **state)
{
    int fd = client_open(false), other = client_open(false);

    (void)state;
    client_send(fd, POST("/offload-echo", "Content-Length: 6\r\nExpect: 100-continue\r\n"));
    assert_string_equal(client_read(fd, &is_end), "HTTP/1.1 100 Continue\r\n\r\n");
    client_send(fd, "abc");
    assert_int_equal(fx->offloads, 0);
    client_send(other, GET("/offload"));
    wait_offloads(1); /* the threads are free */
    client_send(fd, "def");
    wait_offloads(2);
    assert_non_null(strstr(client_read(fd, &is_end), "\r\n\r\nabcdef"));
    close(fd);
    close(other);
}

/** More than the block that stays in memory. */
static void test_a_large_body(void **state)
{
    static char body[70000];
    int fd = client_open(false);

    (void)state;
    fx->core.limit_body = 0;
    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = (char)('A' + i % 19);
    client_send(fd, POST("/offload-echo", "Content-Length: 69999\r\n"));
    client_send_n(fd, body, 69999);
    wait_offloads(1);
    (void)read_all(fd);
    assert_non_null(strstr(all, "Content-Length: 69999\r\n"));
    assert_memory_equal(strstr(all, "\r\n\r\n") + 4, body, 69999);
    close(fd);
}

static void test_a_broken_body(void **state)
{
    int fd = client_open(false);

    (void)state;
    client_send(fd, POST("/offload-echo", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\nzz\r\n");
    wait_offloads(1);
    assert_non_null(strstr(client_read(fd, &is_end), "HTTP/1.1 400 "));
    assert_int_equal(fx->body_rc, MU_BAD);
    assert_memory_equal(fx->body, "abc", 3);
    assert_true(is_end);
    close(fd);
    fd = client_open(false);
    client_send(fd, POST("/offload-echo", "Content-Length: 60001\r\n"));
    wait_offloads(2);
    assert_non_null(strstr(client_read(fd, &is_end), "HTTP/1.1 413 "));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_slow_client_holds_no_thread, fixture_setup_workers,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(test_a_fast_client_is_served_directly,
                                        fixture_setup_workers, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_a_client_that_leaves, fixture_setup_workers,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(test_the_body_comes_first, fixture_setup_workers,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(test_a_large_body, fixture_setup_workers, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_a_broken_body, fixture_setup_workers,
                                        fixture_teardown),
    };

    return cmocka_run_group_tests_name("h1_offload", tests, NULL, NULL);
}
