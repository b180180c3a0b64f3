/* mu_wait and what is waited for: descriptors, wake-ups, children; watching, closing, stale events,
 * listeners. */
#include "engine_test.h"

#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

static struct trace seen;
static struct mu_io left, right;
static struct mu_wake bell;

static void make_pair(void)
{
    seen.n = 0;
    seen.s[0] = '\0';
    io_pair(&left, &right);
}

static void close_pair(struct mu_reactor *r)
{
    mu_io_close(&left);
    mu_io_close(&right);
    mu_reactor_destroy(r);
}

static void put(struct mu_io *io, const char *s)
{
    assert_int_equal(write(io->fd, s, strlen(s)), strlen(s));
}

static enum mu_rc await(struct mu_io *io, unsigned want, int64_t ms, unsigned *got)
{
    struct mu_wait_item it = { .io = io, .want = want };
    enum mu_rc rc = mu_wait(&it, 1, mu_deadline(ms));

    *got = it.got;
    return rc;
}

static void reads_a_line(void *arg)
{
    char buf[64];
    size_t got;

    (void)arg;
    note(&seen, '<');
    assert_int_equal(mu_read(&left, buf, sizeof(buf), &got, MU_NEVER), MU_OK);
    assert_int_equal(got, 5);
    note(&seen, '>');
    assert_int_equal(mu_read(&left, buf, sizeof(buf), &got, MU_NEVER), MU_EOF);
    note(&seen, '.');
}

static void test_read_waits(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    make_pair();
    run_fiber(r, reads_a_line, NULL);
    turn_n(r, 2);
    assert_string_equal(seen.s, "<");
    put(&right, "hello");
    mu_reactor_turn(r, -1);
    assert_string_equal(seen.s, "<>");
    shutdown(right.fd, SHUT_WR);
    turn_until_idle(r);
    assert_string_equal(seen.s, "<>.");
    close_pair(r);
}

static void times_out(void *arg)
{
    unsigned got;
    char c;
    size_t n;

    (void)arg;
    assert_int_equal(await(&left, MU_READABLE, 5, &got), MU_TIMEOUT);
    assert_int_equal(got, 0);
    assert_int_equal(mu_read(&left, &c, 1, &n, mu_deadline(5)), MU_TIMEOUT);
    assert_int_equal(await(&left, MU_READABLE, 0, &got), MU_TIMEOUT);
    put(&right, "x");
    assert_int_equal(await(&left, MU_READABLE, 0, &got), MU_OK); /* even with no time left */
    assert_int_equal(got, MU_READABLE);
}

static void test_timeout(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    make_pair();
    run_fiber(r, times_out, NULL);
    turn_until_idle(r);
    close_pair(r);
}

static void waits_for_many(void *arg)
{
    struct mu_wait_item it[3] = { { .io = &left, .want = MU_READABLE },
                                  { .io = &right, .want = MU_READABLE },
                                  { .wake = &bell } };

    (void)arg;
    assert_int_equal(mu_wait(it, 3, MU_NEVER), MU_OK);
    assert_int_equal(it[0].got, 0);
    assert_int_equal(it[1].got, 0);
    assert_int_equal(it[2].got, 1);
    note(&seen, 'w');
    assert_int_equal(mu_wait(it, 3, MU_NEVER), MU_OK); /* the wake was consumed */
    assert_int_equal(it[0].got, 0);
    assert_int_equal(it[1].got, MU_READABLE);
    assert_int_equal(it[2].got, 0);
    note(&seen, 'r');
}

static void test_any_of_several(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    make_pair();
    mu_wake_init(&bell);
    mu_wake_raise(&bell); /* raised before anybody waits: kept */
    run_fiber(r, waits_for_many, NULL);
    assert_string_equal(seen.s, "w");
    turn_n(r, 1);
    assert_string_equal(seen.s, "w");
    put(&left, "x");
    turn_until_idle(r);
    assert_string_equal(seen.s, "wr");
    close_pair(r);
}

static void waits_for_bell(void *arg)
{
    struct mu_wait_item it = { .wake = &bell };

    assert_int_equal(mu_wait(&it, 1, MU_NEVER), MU_OK);
    note(&seen, *(const char *)arg);
}

static void test_wake_one_at_a_time(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    make_pair();
    mu_wake_init(&bell);
    run_fiber(r, waits_for_bell, "a");
    run_fiber(r, waits_for_bell, "b");
    mu_wake_raise(&bell);
    turn_n(r, 2);
    assert_string_equal(seen.s, "a");
    mu_wake_raise(&bell);
    turn_until_idle(r);
    assert_string_equal(seen.s, "ab");
    close_pair(r);
}

static void waits_on_left(void *arg)
{
    unsigned got;

    (void)arg;
    assert_int_equal(await(&left, MU_READABLE, -1, &got), MU_OK);
    assert_true(got & MU_HANGUP);
    note(&seen, 'h');
}

static void test_close_under_a_waiter(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    unsigned char *where;

    make_pair();
    run_fiber(r, waits_on_left, NULL);
    turn_n(r, 1);
    mu_io_close(&left);
    where = (unsigned char *)&left; /* what embeds it may be freed now */
    memset(where, 0xee, sizeof(left));
    turn_until_idle(r);
    assert_string_equal(seen.s, "h");
    mu_io_init_socket(&left, -1);
    run_fiber(r, waits_on_left, NULL); /* closed before the wait */
    assert_string_equal(seen.s, "hh");
    close_pair(r);
}

static void waits_for_hangup(void *arg)
{
    unsigned got;

    (void)arg;
    assert_int_equal(await(&left, MU_HANGUP, -1, &got), MU_OK);
    assert_int_equal(got, MU_HANGUP);
    note(&seen, 'h');
}

static void test_hangup_alone(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    make_pair();
    run_fiber(r, waits_for_hangup, NULL);
    put(&right, "data is not what it waits for");
    turn_n(r, 3);
    assert_string_equal(seen.s, "");
    mu_io_close(&right);
    turn_until_idle(r);
    assert_string_equal(seen.s, "h");
    close_pair(r);
}

static void fills_and_waits(void *arg)
{
    static char block[64 * 1024];
    struct iovec iov[3] = { { block, sizeof(block) }, { block, 0 }, { block, sizeof(block) } };

    (void)arg;
    for (int i = 0; i < 8; i++) {
        iov[0] = (struct iovec){ block, sizeof(block) };
        iov[2] = (struct iovec){ block, sizeof(block) };
        assert_int_equal(mu_writev_all(&left, iov, 3, MU_NEVER), MU_OK);
    }
    note(&seen, 'w');
}

static size_t drain_some(struct mu_io *io)
{
    static char sink[32 * 1024];
    ssize_t n = read(io->fd, sink, sizeof(sink));

    return n > 0 ? (size_t)n : 0;
}

/** A half-closed peer that still reads must not make a writer spin or fail. */
static void test_write_waits_for_room(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    size_t total = 0;

    make_pair();
    shutdown(right.fd, SHUT_WR);
    run_fiber(r, fills_and_waits, NULL);
    while (mu_reactor_fibers(r) > 0) {
        size_t n;

        while ((n = drain_some(&right)) > 0)
            total += n;
        mu_reactor_turn(r, mu_reactor_fibers(r) ? 100 : 0);
    }
    assert_string_equal(seen.s, "w");
    for (size_t n; (n = drain_some(&right)) > 0;)
        total += n;
    assert_int_equal(total, 8 * 2 * 64 * 1024);
    close_pair(r);
}

static void writes_to_nobody(void *arg)
{
    (void)arg;
    assert_int_equal(mu_write_all(&left, "x", 1, MU_NEVER), MU_GONE);
    note(&seen, 'g');
}

static void test_peer_gone(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    make_pair();
    mu_io_close(&right);
    run_fiber(r, writes_to_nobody, NULL); /* and no SIGPIPE */
    assert_string_equal(seen.s, "g");
    close_pair(r);
}

/* ---- callbacks ---- */

static unsigned last_events;

static void note_ready(struct mu_io *io, unsigned events)
{
    (void)io;
    last_events = events;
    if (events & MU_READABLE)
        note(&seen, 'R');
    if ((events & MU_WRITABLE) && !(events & MU_READABLE))
        note(&seen, 'W');
}

static void test_watch_is_edge_triggered(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    char buf[8];
    size_t n;

    make_pair();
    left.on_ready = note_ready;
    assert_int_equal(mu_io_watch(&left), MU_OK);
    turn_n(r, 3);
    assert_string_equal(seen.s, "");
    put(&right, "abc");
    turn_n(r, 3);
    assert_string_equal(seen.s, "R"); /* told once, remembered since */
    assert_true(left.ready & MU_READABLE);
    assert_int_equal(mu_try_read(&left, buf, 3, &n), MU_OK); /* as much as asked: may be more */
    assert_true(left.ready & MU_READABLE);
    assert_int_equal(mu_try_read(&left, buf, 3, &n), MU_AGAIN);
    assert_false(left.ready & MU_READABLE);
    put(&right, "d");
    turn_n(r, 3);
    assert_string_equal(seen.s, "RR");
    assert_int_equal(mu_try_read(&left, buf, 8, &n), MU_OK); /* short: exhausted */
    assert_int_equal(n, 1);
    assert_false(left.ready & MU_READABLE);
    mu_io_close(&right);
    turn_n(r, 3);
    assert_string_equal(seen.s, "RRR");
    assert_true(last_events & MU_HANGUP);
    assert_int_equal(mu_try_read(&left, buf, 8, &n), MU_EOF);
    turn_n(r, 3);
    assert_string_equal(seen.s, "RRR");
    close_pair(r);
}

/* The peer finishes sending, and later goes: each is told once. */
static void test_watch_tells_of_the_end_after_the_hangup(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    make_pair();
    left.on_ready = note_ready;
    assert_int_equal(mu_io_watch(&left), MU_OK);
    assert_int_equal(shutdown(right.fd, SHUT_WR), 0);
    turn_n(r, 3);
    assert_string_equal(seen.s, "R");
    assert_true(last_events & MU_HANGUP);
    mu_io_close(&right);
    turn_n(r, 3);
    assert_string_equal(seen.s, "RR");
    assert_true(last_events & MU_HANGUP);
    close_pair(r);
}

static void test_watch_tells_of_room(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    static char block[256 * 1024];
    struct iovec iov = { block, sizeof(block) };
    size_t n;
    enum mu_rc rc;

    make_pair();
    left.on_ready = note_ready;
    assert_int_equal(mu_io_watch(&left), MU_OK);
    do
        rc = mu_try_writev(&left, &iov, 1, false, &n);
    while (rc == MU_OK && n == sizeof(block));
    assert_false(left.ready & MU_WRITABLE);
    turn_n(r, 2);
    assert_string_equal(seen.s, "");
    while (drain_some(&right) > 0)
        continue;
    turn_n(r, 3);
    assert_string_equal(seen.s, "W");
    assert_true(left.ready & MU_WRITABLE);
    close_pair(r);
}

static void read_one(void *arg)
{
    char buf[8];
    size_t n;

    (void)arg;
    assert_int_equal(mu_read(&left, buf, sizeof(buf), &n, MU_NEVER), MU_OK);
    note(&seen, buf[0]);
}

static void test_a_waiting_fiber_comes_first(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    make_pair();
    left.on_ready = note_ready;
    assert_int_equal(mu_io_watch(&left), MU_OK);
    run_fiber(r, read_one, NULL);
    put(&right, "f");
    turn_n(r, 2);
    assert_string_equal(seen.s, "f");
    put(&right, "g");
    turn_n(r, 2);
    assert_string_equal(seen.s, "fR");
    close_pair(r);
}

static void close_both(struct mu_io *io, unsigned events)
{
    (void)io;
    (void)events;
    note(&seen, 'x');
    mu_io_close(&left);
    mu_io_close(&right);
    memset((void *)&left, 0xee, sizeof(left));
    memset((void *)&right, 0xee, sizeof(right));
}

/**
 * Two descriptors are ready in one batch; the first callback closes and frees both, and reuses a
 * number.
 */
static void test_stale_event(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    make_pair();
    left.on_ready = right.on_ready = close_both;
    assert_int_equal(mu_io_watch(&left), MU_OK);
    assert_int_equal(mu_io_watch(&right), MU_OK);
    put(&left, "1");
    put(&right, "2");
    turn_n(r, 3);
    assert_string_equal(seen.s, "x");
    mu_reactor_destroy(r);
}

static struct mu_io fresh;

static void close_and_reopen(struct mu_io *io, unsigned events)
{
    int fd[2], at = left.fd, bt = right.fd;

    (void)io;
    (void)events;
    note(&seen, 'x');
    mu_io_close(&left);
    mu_io_close(&right);
    socket_pair(fd);
    assert_true((fd[0] == at || fd[0] == bt) && (fd[1] == at || fd[1] == bt));
    mu_io_init_socket(&fresh, fd[0] == io->fd ? fd[1] : fd[0]);
    mu_io_init_socket(&right, fresh.fd == fd[0] ? fd[1] : fd[0]);
    fresh.on_ready = note_ready;
    assert_int_equal(mu_io_watch(&fresh), MU_OK);
}

static void test_stale_event_of_a_reused_number(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    make_pair();
    left.on_ready = right.on_ready = close_and_reopen;
    assert_int_equal(mu_io_watch(&left), MU_OK);
    assert_int_equal(mu_io_watch(&right), MU_OK);
    put(&left, "1");
    put(&right, "2");
    turn_n(r, 3);
    assert_string_equal(seen.s, "x"); /* the new one has no data */
    put(&right, "3");
    turn_n(r, 2);
    assert_string_equal(seen.s, "xR");
    mu_io_close(&fresh);
    mu_io_close(&right);
    mu_reactor_destroy(r);
}

/**
 * Somebody holds a copy of a closed descriptor: its events must not reach whoever has the number
 * now.
 */
static void test_copy_survives_the_close(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    int copy, number;

    for (int is_shared = 0; is_shared < 2; is_shared++) {
        make_pair();
        left.on_ready = note_ready;
        assert_int_equal(mu_io_watch(&left), MU_OK);
        turn_n(r, 1);
        copy = dup(left.fd);
        number = left.fd;
        if (is_shared)
            mu_io_share(&left);
        mu_io_close(&left);
        assert_int_equal(dup2(right.fd, number), number); /* the number means something else now */
        put(&right, "late");
        turn_n(r, 3);
        assert_string_equal(seen.s, "");
        close(copy);
        close(number);
        mu_io_close(&right);
    }
    mu_reactor_destroy(r);
}

static void test_release(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    int fd, number;

    make_pair();
    number = left.fd;
    left.on_ready = note_ready;
    assert_int_equal(mu_io_watch(&left), MU_OK);
    turn_n(r, 1);
    fd = mu_io_release(&left);
    assert_int_equal(fd, number);
    put(&right, "x");
    turn_n(r, 2);
    assert_string_equal(seen.s, "");
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    mu_io_init(&left, fd); /* and it can be taken over again */
    left.on_ready = note_ready;
    assert_int_equal(mu_io_watch(&left), MU_OK);
    turn_n(r, 2);
    assert_string_equal(seen.s, "R");
    close_pair(r);
}

static void test_level_watch(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct mu_io stop;
    int fd[2];

    seen.n = 0;
    assert_int_equal(pipe2(fd, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(mu_level_watch(r, &stop, fd[0], note_ready), MU_OK);
    turn_n(r, 2);
    assert_int_equal(seen.n, 0);
    assert_int_equal(write(fd[1], "s", 1), 1);
    turn_n(r, 3);
    assert_string_equal(seen.s, "RRR"); /* never read: told each turn until it is released */
    assert_int_equal(mu_io_release(&stop), fd[0]);
    turn_n(r, 3);
    assert_string_equal(seen.s, "RRR");
    close(fd[0]);
    close(fd[1]);
    mu_reactor_destroy(r);
}

/* ---- listeners ---- */

static struct mu_listen_watch door[2];

static void accept_one(struct mu_io *io, unsigned events)
{
    int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)events;
    assert_true(fd >= 0);
    close(fd);
    note(&seen, io == &door[0].io ? 'a' : 'b');
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

static int dial(const struct sockaddr_in *sa)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (const struct sockaddr *)sa, sizeof(*sa)), 0);
    return fd;
}

static void test_listen(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct sockaddr_in at[2];
    int fd[2], client[4];

    make_pair();
    left.on_ready = note_ready;
    assert_int_equal(mu_io_watch(&left),
                     MU_OK); /* so that the single backend polls both kinds at once */
    for (int i = 0; i < 2; i++) {
        fd[i] = listen_on(&at[i]);
        assert_int_equal(mu_listen_watch(r, &door[i], fd[i], accept_one), MU_OK);
    }
    client[0] = dial(&at[0]);
    client[1] = dial(&at[0]);
    turn_n(r, 1);
    assert_string_equal(seen.s, "a"); /* one a wake-up */
    turn_n(r, 2);
    assert_string_equal(seen.s, "aa");
    mu_listen_pause(&door[0]);
    mu_listen_pause(&door[0]);
    client[2] = dial(&at[0]);
    client[3] = dial(&at[1]);
    turn_n(r, 3);
    assert_string_equal(seen.s, "aab");
    mu_io_close(&left); /* the single backend sleeps in epoll_wait now */
    turn_n(r, 2);
    assert_string_equal(seen.s, "aab");
    mu_listen_resume(&door[0]);
    turn_n(r, 3);
    assert_string_equal(seen.s, "aaba");
    mu_listen_unwatch(&door[0]);
    mu_listen_unwatch(&door[0]);
    mu_listen_unwatch(&door[1]);
    for (int i = 0; i < 4; i++)
        close(client[i]);
    close(fd[0]);
    close(fd[1]);
    close_pair(r);
}

/** An idle child of the single backend hears both its listener and its stop descriptor. */
static void test_listen_and_stop(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct sockaddr_in at;
    struct mu_io stop;
    int fd = listen_on(&at), client, event = eventfd(0, EFD_CLOEXEC);

    seen.n = 0;
    assert_int_equal(mu_listen_watch(r, &door[0], fd, accept_one), MU_OK);
    assert_int_equal(mu_level_watch(r, &stop, event, note_ready), MU_OK);
    client = dial(&at);
    mu_reactor_turn(r, -1);
    assert_string_equal(seen.s, "a");
    assert_int_equal(eventfd_write(event, 1), 0);
    mu_reactor_turn(r, -1);
    assert_string_equal(seen.s, "aR");
    mu_io_close(&stop);
    mu_listen_unwatch(&door[0]);
    close(client);
    close(fd);
    mu_reactor_destroy(r);
}

/* ---- children, connecting, odd descriptors ---- */

static void waits_for_child(void *arg)
{
    int hold[2], status;
    struct mu_io child;
    unsigned got;
    pid_t pid;

    (void)arg;
    assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        char c;

        close(hold[1]);
        _exit(read(hold[0], &c, 1) == 0 ? 7 : 1);
    }
    assert_int_equal(mu_io_init_child(&child, pid), MU_OK);
    assert_int_equal(await(&child, MU_READABLE, 5, &got), MU_TIMEOUT);
    close(hold[0]);
    close(hold[1]);
    assert_int_equal(await(&child, MU_READABLE, -1, &got), MU_OK);
    assert_int_equal(await(&child, MU_READABLE, -1, &got), MU_OK); /* stays ended */
    assert_int_equal(waitpid(pid, &status, WNOHANG), pid);
    assert_int_equal(WEXITSTATUS(status), 7);
    mu_io_close(&child);
    assert_int_equal(mu_io_init_child(&child, pid), MU_EIO);
    note(&seen, 'c');
}

static void test_child(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    seen.n = 0;
    if (getenv("UNDER_VALGRIND") == NULL) { /* which knows no pidfd_open */
        run_fiber(r, waits_for_child, NULL);
        turn_until_idle(r);
        assert_string_equal(seen.s, "c");
    }
    mu_reactor_destroy(r);
}

static void connects(void *arg)
{
    const struct sockaddr_in *sa = arg;
    struct mu_io io;
    enum mu_rc rc = mu_connect(&io, (const struct sockaddr *)sa, sizeof(*sa), mu_deadline(5000));

    note(&seen, rc == MU_OK ? 'o' : 'e');
    if (rc == MU_OK)
        assert_int_equal(mu_write_all(&io, "hi", 2, MU_NEVER), MU_OK);
    mu_io_close(&io);
}

static void test_connect(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    struct sockaddr_in at;
    int fd = listen_on(&at);

    seen.n = 0;
    run_fiber(r, connects, &at);
    turn_until_idle(r);
    close(fd);
    run_fiber(r, connects, &at); /* refused */
    turn_until_idle(r);
    assert_string_equal(seen.s, "oe");
    mu_reactor_destroy(r);
}

static void reads_file_and_pipe(void *arg)
{
    struct mu_io file, in, out;
    char buf[16];
    size_t n;
    unsigned got;
    int fd[2];

    (void)arg;
    mu_io_init(&file, open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    assert_int_equal(await(&file, MU_READABLE, -1, &got),
                     MU_OK); /* epoll refuses files: always ready */
    assert_int_equal(mu_read(&file, buf, 4, &n, MU_NEVER), MU_OK);
    assert_memory_equal(buf, "\177ELF", 4);
    mu_io_close(&file);
    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    mu_io_init(&in, fd[0]);
    mu_io_init(&out, fd[1]);
    assert_int_equal(await(&in, MU_READABLE, 1, &got), MU_TIMEOUT);
    assert_int_equal(mu_write_all(&out, "pipe", 4, MU_NEVER), MU_OK);
    mu_io_close(&out);
    assert_int_equal(mu_read(&in, buf, sizeof(buf), &n, MU_NEVER), MU_OK);
    assert_int_equal(n, 4);
    assert_int_equal(mu_read(&in, buf, sizeof(buf), &n, MU_NEVER), MU_EOF);
    mu_io_close(&in);
    note(&seen, 'p');
}

static void test_files_and_pipes(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    seen.n = 0;
    run_fiber(r, reads_file_and_pipe, NULL);
    turn_until_idle(r);
    assert_string_equal(seen.s, "p");
    mu_reactor_destroy(r);
}

static void sends_a_file(void *arg)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    off_t end = lseek(fd, 0, SEEK_END), off = 4;
    size_t n;

    (void)arg;
    assert_int_equal(mu_try_sendfile(&left, fd, &off, 8, &n), MU_OK);
    assert_int_equal(n, 8);
    assert_int_equal(off, 12);
    off = end;
    assert_int_equal(mu_try_sendfile(&left, fd, &off, 8, &n), MU_EOF); /* shorter than thought */
    for (off = 0;;) {
        enum mu_rc rc = mu_try_sendfile(&left, fd, &off, (size_t)(end - off), &n);

        if (rc == MU_AGAIN || off == end)
            break;
        assert_int_equal(rc, MU_OK);
    }
    close(fd);
    note(&seen, 's');
}

static void test_sendfile(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    char buf[8];

    make_pair();
    run_fiber(r, sends_a_file, NULL);
    assert_string_equal(seen.s, "s");
    assert_int_equal(read(right.fd, buf, 8), 8);
    close_pair(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_read_waits),
        BOTH(test_timeout),
        BOTH(test_any_of_several),
        BOTH(test_wake_one_at_a_time),
        BOTH(test_close_under_a_waiter),
        BOTH(test_hangup_alone),
        BOTH(test_write_waits_for_room),
        BOTH(test_peer_gone),
        BOTH(test_watch_is_edge_triggered),
        BOTH(test_watch_tells_of_the_end_after_the_hangup),
        BOTH(test_watch_tells_of_room),
        BOTH(test_a_waiting_fiber_comes_first),
        BOTH(test_stale_event),
        BOTH(test_stale_event_of_a_reused_number),
        BOTH(test_copy_survives_the_close),
        BOTH(test_release),
        BOTH(test_level_watch),
        BOTH(test_listen),
        BOTH(test_listen_and_stop),
        BOTH(test_child),
        BOTH(test_connect),
        BOTH(test_files_and_pipes),
        BOTH(test_sendfile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
