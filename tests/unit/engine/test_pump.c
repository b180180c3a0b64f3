/* The pump: both ways at once, peers that both write first, half-closing, peers that leave, idle
 * time. */
#include "engine_test.h"

#include <poll.h>

/** What a simulated peer does: it writes `to_send` bytes, and reads only then, or all the time. */
struct peer {
    int fd;
    size_t to_send, sent, received;
    bool reads_last, has_shut, has_eof;
    uint8_t out, in; /* running byte values: order and content are checked */
};

static struct trace seen;

static void peer_write(struct peer *p)
{
    uint8_t block[8192];
    size_t n = p->to_send - p->sent;
    ssize_t done;

    n = n < sizeof(block) ? n : sizeof(block);
    for (size_t i = 0; i < n; i++)
        block[i] = (uint8_t)(p->out + i * 7);
    done = n ? write(p->fd, block, n) : 0;
    if (done > 0) {
        p->sent += (size_t)done;
        p->out = (uint8_t)(p->out + (size_t)done * 7);
    }
    if (p->sent == p->to_send && !p->has_shut) {
        p->has_shut = true;
        shutdown(p->fd, SHUT_WR);
    }
}

static void peer_read(struct peer *p)
{
    uint8_t block[8192];
    ssize_t n;

    if (p->reads_last && !p->has_shut)
        return;
    n = read(p->fd, block, sizeof(block));
    for (ssize_t i = 0; i < n; i++) {
        assert_int_equal(block[i], p->in);
        p->in = (uint8_t)(p->in + 7);
    }
    p->received += n > 0 ? (size_t)n : 0;
    p->has_eof |= n == 0;
}

static struct mu_io io[2];
static struct mu_pipe_dir dir[2];
static enum mu_rc result;
static int64_t idle_ms;

static void pumps(void *arg)
{
    (void)arg;
    dir[0] = (struct mu_pipe_dir){ .from = &io[0],
                                   .to = &io[1],
                                   .may_close_early = dir[0].may_close_early };
    dir[1] = (struct mu_pipe_dir){ .from = &io[1],
                                   .to = &io[0],
                                   .may_close_early = dir[1].may_close_early };
    result = mu_pump(&dir[0], &dir[1], idle_ms);
    note(&seen, 'p');
}

static void set_up(struct peer peers[2])
{
    seen.n = 0;
    idle_ms = -1;
    dir[0].may_close_early = dir[1].may_close_early = false;
    for (int i = 0; i < 2; i++) {
        int fd[2];

        socket_pair(fd);
        mu_io_init_socket(&io[i], fd[0]);
        peers[i].fd = fd[1];
    }
}

static void tear_down(struct mu_reactor *r, struct peer peers[2])
{
    for (int i = 0; i < 2; i++) {
        mu_io_close(&io[i]);
        close(peers[i].fd);
    }
    mu_reactor_destroy(r);
}

/** Let the peers and the pump take turns until the pump has ended. */
static void play(struct mu_reactor *r, struct peer peers[2])
{
    run_fiber(r, pumps, NULL);
    while (mu_reactor_fibers(r) > 0) {
        for (int i = 0; i < 2; i++) {
            peer_write(&peers[i]);
            peer_read(&peers[i]);
        }
        mu_reactor_turn(r, 0);
    }
    for (int i = 0; i < 2; i++) {
        while (!peers[i].has_eof)
            peer_read(&peers[i]);
    }
}

static void check_moved(const struct peer peers[2])
{
    assert_int_equal(result, MU_OK);
    assert_int_equal(dir[0].end, MU_EOF);
    assert_int_equal(dir[1].end, MU_EOF);
    assert_int_equal(dir[0].bytes, peers[0].to_send);
    assert_int_equal(dir[1].bytes, peers[1].to_send);
    assert_int_equal(peers[0].received, peers[1].to_send);
    assert_int_equal(peers[1].received, peers[0].to_send);
}

static void test_both_ways(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct peer peers[2] = { { .to_send = 300000 }, { .to_send = 1234567 } };

    set_up(peers);
    play(r, peers);
    check_moved(peers);
    tear_down(r, peers);
}

/** Neither peer reads a byte before it has written all of its own. */
static void test_both_write_first(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct peer peers[2] = { { .to_send = 5 * 1024 * 1024, .reads_last = true },
                             { .to_send = 3 * 1024 * 1024, .reads_last = true } };

    set_up(peers);
    play(r, peers);
    check_moved(peers);
    tear_down(r, peers);
}

static void test_nothing_to_say(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct peer peers[2] = { { .to_send = 0 }, { .to_send = 10 } };

    set_up(peers);
    play(r, peers);
    check_moved(peers);
    tear_down(r, peers);
}

/** One direction only: the writer is held back, nothing is taken in beyond the buffer. */
static void test_back_pressure(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct peer peers[2] = { { .to_send = 64 * 1024 * 1024 }, { .to_send = 0 } };
    size_t before;

    set_up(peers);
    run_fiber(r, pumps, NULL);
    peer_write(&peers[1]); /* its side ends at once */
    do {
        before = peers[0].sent;
        for (int i = 0; i < 50; i++)
            peer_write(&peers[0]);
        turn_n(r, 5);
    } while (peers[0].sent > before); /* nobody reads at the other end */
    assert_true(peers[0].sent < 4 * 1024 * 1024);
    mu_reactor_cancel_all(r);
    turn_until_idle(r);
    assert_int_equal(result, MU_GONE);
    tear_down(r, peers);
}

static void test_reader_that_leaves(void **state)
{
    for (int may = 0; may < 2; may++) {
        struct mu_reactor *r = reactor_of(BACKEND(state));
        struct peer peers[2] = { { .to_send = 1024 * 1024 }, { .to_send = 100 } };

        set_up(peers);
        dir[0].may_close_early = may;
        peer_write(&peers[1]);
        close(peers[1].fd); /* has answered without reading the question */
        peers[1].fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        run_fiber(r, pumps, NULL);
        while (mu_reactor_fibers(r) > 0) {
            peer_write(&peers[0]);
            peer_read(&peers[0]);
            mu_reactor_turn(r, 0);
        }
        assert_int_equal(result, may ? MU_OK : MU_GONE);
        assert_int_equal(dir[0].end, may ? MU_EOF : MU_GONE);
        if (may)
            assert_int_equal(dir[1].bytes, 100);
        tear_down(r, peers);
    }
}

static void test_idle(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct peer peers[2] = { { .to_send = 10 }, { .to_send = 0 } };

    set_up(peers);
    idle_ms = 20;
    run_fiber(r, pumps, NULL);
    assert_int_equal(write(peers[0].fd, "0123456789", 10), 10);
    turn_until_idle(r);
    assert_int_equal(result, MU_TIMEOUT);
    assert_int_equal(dir[0].bytes, 10);
    assert_int_equal(dir[0].end, MU_TIMEOUT);
    tear_down(r, peers);
}

static void pumps_to_a_pipe(void *arg)
{
    struct mu_pipe_dir d = { .from = &io[0], .to = &io[1] };

    (void)arg;
    assert_int_equal(mu_pump(&d, NULL, -1), MU_OK);
    assert_int_equal(io[1].fd, -1); /* the end is passed on by closing the pipe */
    assert_int_equal(d.bytes, 3);
    note(&seen, 'p');
}

static void test_one_way_to_a_pipe(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    int s[2], p[2];
    char buf[8];

    seen.n = 0;
    socket_pair(s);
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    mu_io_init_socket(&io[0], s[0]);
    mu_io_init(&io[1], p[1]);
    run_fiber(r, pumps_to_a_pipe, NULL);
    assert_int_equal(write(s[1], "abc", 3), 3);
    close(s[1]);
    turn_until_idle(r);
    assert_string_equal(seen.s, "p");
    assert_int_equal(read(p[0], buf, sizeof(buf)), 3);
    assert_int_equal(read(p[0], buf, sizeof(buf)), 0);
    close(p[0]);
    mu_io_close(&io[0]);
    mu_reactor_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_both_ways),         BOTH(test_both_write_first),   BOTH(test_nothing_to_say),
        BOTH(test_back_pressure),     BOTH(test_reader_that_leaves), BOTH(test_idle),
        BOTH(test_one_way_to_a_pipe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
