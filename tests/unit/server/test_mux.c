/* Several exchanges on one connection, over the toy protocol of the end-to-end tests: what HTTP/2
 * will need of the exchange, the fibers and the queues, under both backends. */
#include "h1_fixture.h"

#include <server/conn_internal.h>

extern struct mu_module mu_module_testmux;

enum { OPEN, POST, DATA, END, CANCEL, CREDIT, HEAD, RESET, GOAWAY, TYPES };
enum { STREAMS = 40, WINDOW = 16 * 1024 };

/** What the client has been told about a stream. */
struct seen {
    unsigned frames[TYPES];
    size_t bytes, credit;
    char head[32];
};

static struct seen seen[STREAMS];
static char order[4096]; /* streams of DATA frames as they came, 'a' + id */
static size_t order_n;
static char in[1 << 20];
static size_t in_n;
static bool is_end;

static int mux_client(bool has_small_buffers)
{
    static const struct mu_listener listener = {
        .want = { .protocol = { "testmux", 7 },
                  .addr = { .family = AF_INET, .port = 80, .ip = { 127, 0, 0, 1 } } }
    };
    struct mu_addr peer = { .family = AF_INET, .port = 4711, .ip = { 192, 0, 2, 1 } };
    int fd[2], size = 4096;

    assert_int_equal(mu_module_testmux.child_start(NULL), MU_OK);
    memset(seen, 0, sizeof(seen));
    order_n = in_n = 0;
    is_end = false;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    if (has_small_buffers) {
        assert_int_equal(setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
        assert_int_equal(setsockopt(fd[1], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
    }
    assert_int_equal(mu_conn_open(&fx->host, fd[0], &listener, &peer), MU_OK);
    return fd[1];
}

static void send_frame(int fd, unsigned id, unsigned type, const void *p, size_t n)
{
    char f[8 + 4096] = { (char)(id >> 24), (char)(id >> 16), (char)(id >> 8), (char)id,
                         (char)type,       (char)(n >> 16),  (char)(n >> 8),  (char)n };

    if (n > 0)
        memcpy(f + 8, p, n);
    client_send_n(fd, f, n + 8);
}

static void send_open(int fd, unsigned id, unsigned type, const char *path)
{
    char head[128];
    int n = snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);

    send_frame(fd, id, type, head, (size_t)n);
}

static void send_credit(int fd, unsigned id, size_t n)
{
    const char count[4] = { (char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n };

    send_frame(fd, id, CREDIT, count, 4);
}

static void take_frame(unsigned id, unsigned type, const char *p, size_t n)
{
    struct seen *s = &seen[id];

    assert_true(id < STREAMS && type < TYPES);
    assert_int_equal(s->frames[END] + s->frames[RESET],
                     0); /* nothing follows the end of a stream */
    s->frames[type]++;
    if (type == DATA) {
        assert_int_equal(s->frames[HEAD], 1);
        s->bytes += n;
        if (order_n < sizeof(order))
            order[order_n++] = (char)('a' + id);
    } else if (type == CREDIT) {
        s->credit += (size_t)(uint8_t)p[2] << 8 | (uint8_t)p[3];
    } else if (type == HEAD) {
        memcpy(s->head, p, n < 31 ? n : 31);
    }
}

static void read_frames(int fd)
{
    for (int idle = 0; idle < 5;) {
        ssize_t got = recv(fd, in + in_n, sizeof(in) - in_n, 0);
        size_t at = 0;

        is_end |= got == 0;
        idle = got > 0 ? 0 : idle + 1;
        in_n += got > 0 ? (size_t)got : 0;
        while (in_n - at >= 8) {
            const uint8_t *u = (const uint8_t *)in + at;
            size_t len = (size_t)u[5] << 16 | (size_t)u[6] << 8 | u[7];

            if (in_n - at < 8 + len)
                break;
            take_frame((unsigned)u[2] << 8 | u[3], u[4], in + at + 8, len);
            at += 8 + len;
        }
        in_n -= at;
        memmove(in, in + at, in_n);
        settle();
    }
}

static void test_several_at_once(void **state)
{
    int fd = mux_client(false);

    (void)state;
    send_open(fd, 1, OPEN, "/park");
    send_open(fd, 2, OPEN, "/small");
    send_open(fd, 3, POST, "/echo");
    send_open(fd, 4, OPEN, "/stream");
    read_frames(fd);
    assert_int_equal(seen[1].frames[HEAD], 0);
    assert_string_equal(seen[2].head, "200 6");
    assert_int_equal(seen[2].frames[END], 1);
    assert_int_equal(seen[4].frames[END], 1);
    assert_int_equal(seen[4].bytes, 35);
    assert_int_equal(fx->host.requests_running, 2);
    send_frame(fd, 3, DATA, "abc", 3);
    send_frame(fd, 3, END, NULL, 0);
    mu_wake_raise(fx->parked);
    read_frames(fd);
    assert_int_equal(seen[3].credit, 3); /* what was consumed may be sent again */
    assert_int_equal(seen[3].bytes, 3);
    assert_int_equal(seen[1].frames[END], 1);
    assert_int_equal(fx->log_n, 4);
    assert_int_equal(fx->host.requests_running, 0);
    close(fd);
    settle();
    assert_int_equal(fx->host.connections, 0);
}

/** A stream without credit waits; the others go on, in turn. */
static void test_backpressure(void **state)
{
    int fd = mux_client(true);

    (void)state;
    send_open(fd, 1, OPEN, "/borrowed");
    send_open(fd, 2, OPEN, "/borrowed");
    read_frames(fd);
    assert_int_equal(seen[1].bytes, WINDOW);
    assert_int_equal(seen[2].bytes, WINDOW);
    assert_non_null(memchr(order, 'b', order_n));
    assert_int_equal(mu_reactor_fibers(fx->reactor), 2);
    send_open(fd, 3, OPEN, "/small");
    read_frames(fd);
    assert_int_equal(seen[3].frames[END], 1); /* not held up */
    order_n = 0;
    send_credit(fd, 1, sizeof(fx->big));
    read_frames(fd);
    assert_int_equal(seen[1].bytes, sizeof(fx->big));
    assert_int_equal(seen[1].frames[END], 1);
    assert_int_equal(seen[2].bytes, WINDOW);
    assert_int_equal(mu_reactor_fibers(fx->reactor), 1);
    send_credit(fd, 2, sizeof(fx->big) - 2 * WINDOW);
    read_frames(fd);
    assert_int_equal(mu_reactor_fibers(fx->reactor), 0); /* the rest needs no fiber */
    assert_int_equal(seen[2].frames[END], 0);
    assert_int_equal(fx->log_n, 2);
    send_credit(fd, 2, WINDOW);
    read_frames(fd);
    assert_int_equal(seen[2].bytes, sizeof(fx->big));
    assert_int_equal(fx->log_n, 3);
    close(fd);
}

/** With both at work their frames take turns. */
static void test_fair_turns(void **state)
{
    int fd = mux_client(true);
    size_t longest = 0, run = 0;

    (void)state;
    send_open(fd, 1, OPEN, "/borrowed");
    send_open(fd, 2, OPEN, "/borrowed");
    send_credit(fd, 1, sizeof(fx->big));
    send_credit(fd, 2, sizeof(fx->big));
    order_n = 0;
    read_frames(fd);
    assert_true(order_n > 400);
    for (size_t i = 1; i < 300; i++) {
        run = order[i] == order[i - 1] ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    assert_true(longest <= 8); /* what was ready before the other had credit */
    assert_int_equal(seen[1].bytes, sizeof(fx->big));
    assert_int_equal(seen[2].bytes, sizeof(fx->big));
    close(fd);
}

static void test_cancel_one(void **state)
{
    int fd = mux_client(false);

    (void)state;
    send_open(fd, 1, OPEN, "/park");
    send_open(fd, 2, OPEN, "/borrowed");
    send_open(fd, 3, POST, "/echo");
    read_frames(fd);
    send_frame(fd, 1, CANCEL, NULL, 0);
    read_frames(fd);
    assert_int_equal(fx->park_rc, MU_GONE);
    assert_int_equal(seen[1].frames[RESET], 1);
    assert_int_equal(fx->log_n, 1);
    assert_int_equal(fx->log[0].conn_state, 'X');
    send_frame(fd, 2, CANCEL, NULL, 0);
    read_frames(fd);
    assert_int_equal(seen[2].frames[RESET], 1);
    send_frame(fd, 3, DATA, "still here", 10); /* the others go on */
    send_frame(fd, 3, END, NULL, 0);
    read_frames(fd);
    assert_int_equal(seen[3].bytes, 10);
    assert_int_equal(seen[3].frames[END], 1);
    assert_false(is_end);
    close(fd);
}

static void test_rules(void **state)
{
    static const char zeros[4096];
    int fd = mux_client(false);

    (void)state;
    send_open(fd, 1, POST, "/park");
    for (int i = 0; i < 5; i++) /* beyond the window nobody opened */
        send_frame(fd, 1, DATA, zeros, sizeof(zeros));
    read_frames(fd);
    assert_int_equal(seen[1].frames[RESET], 1);
    for (unsigned i = 2; i < 2 + 33; i++)
        send_open(fd, i, POST, "/echo");
    read_frames(fd);
    assert_int_equal(seen[2 + 31].frames[RESET], 0);
    assert_int_equal(seen[2 + 32].frames[RESET], 1); /* one too many */
    assert_int_equal(mu_reactor_fibers(fx->reactor), 32);
    send_frame(fd, 0, DATA, zeros, 4096);
    client_send_n(fd, "\0\0\0\1\2\xff\xff\xff",
                  8); /* a frame that is too long ends the connection */
    read_frames(fd);
    assert_true(is_end);
    assert_int_equal(fx->host.connections, 0);
    assert_int_equal(mu_reactor_fibers(fx->reactor), 0);
    close(fd);
}

static void test_hangup_and_half_close(void **state)
{
    int fd = mux_client(false);

    (void)state;
    send_open(fd, 1, OPEN, "/park");
    send_open(fd, 2, OPEN, "/borrowed");
    close(fd);
    settle();
    assert_int_equal(fx->host.connections, 0);
    assert_int_equal(fx->log_n, 2);
    fd = mux_client(false);
    send_open(fd, 1, OPEN, "/park");
    shutdown(fd, SHUT_WR);
    settle();
    mu_wake_raise(fx->parked);
    read_frames(fd);
    assert_int_equal(seen[1].frames[END], 1);
    assert_true(is_end);
    close(fd);
    assert_int_equal(fx->host.connections, 0);
}

static void test_drain_and_idle(void **state)
{
    int fd = mux_client(false), idle;

    (void)state;
    send_open(fd, 1, OPEN, "/park");
    mu_conn_host_drain(&fx->host);
    send_open(fd, 2, OPEN, "/small");
    read_frames(fd);
    assert_int_equal(seen[0].frames[GOAWAY], 1);
    assert_int_equal(seen[2].frames[RESET], 1);
    assert_false(is_end);
    mu_wake_raise(fx->parked);
    read_frames(fd);
    assert_int_equal(seen[1].frames[END], 1);
    assert_true(is_end);
    close(fd);
    fx->host.is_draining = false;
    idle = mux_client(false);
    settle();
    advance_clock(5100);
    read_frames(idle);
    assert_true(is_end);
    close(idle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_several_at_once), BOTH(test_backpressure), BOTH(test_fair_turns),
        BOTH(test_cancel_one),      BOTH(test_rules),        BOTH(test_hangup_and_half_close),
        BOTH(test_drain_and_idle),
    };

    return cmocka_run_group_tests_name("mux", tests, NULL, NULL);
}
