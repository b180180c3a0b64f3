/*
 * A scripted conversation that suspends in every way there is, cancelled at each of its suspension
 * points in turn: it must return normally, and leave no descriptor, timer, buffer or memory behind.
 */
#include "engine_test.h"

#include <dirent.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/wait.h>

static struct mu_reactor *reactor;
static struct mu_fiber *hero;
static int parks, cancel_at; /* of the hero */
static bool hero_done, was_cancelled;
static struct mu_wake bell;
static struct sockaddr_in echo_at;

static void on_park(struct mu_fiber *f)
{
    if (f == hero && ++parks == cancel_at) {
        was_cancelled = true;
        mu_fiber_cancel(f);
    }
}

/* ---- the other side: an echo server whose fibers are not cancelled ---- */

static void echo(void *arg)
{
    struct mu_io io;
    char buf[4096];
    size_t n;

    mu_io_init_socket(&io, (int)(intptr_t)arg);
    while (mu_read(&io, buf, sizeof(buf), &n, MU_NEVER) == MU_OK) {
        if (mu_sleep(1) != MU_OK || mu_write_all(&io, buf, n, MU_NEVER) != MU_OK)
            break;
    }
    mu_io_close(&io);
}

static void on_accept(struct mu_io *io, unsigned events)
{
    int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)events;
    if (fd >= 0)
        run_fiber(reactor, echo, (void *)(intptr_t)fd);
}

/* ---- the conversation ---- */

struct talk {
    struct mu_io io;
    struct mu_io near, far; /* for the pump */
    char *memory;
};

static enum mu_rc ask(struct talk *t, const char *what)
{
    char buf[64];
    size_t got = 0, n;
    enum mu_rc rc = mu_write_all(&t->io, what, strlen(what), mu_deadline(60000));

    while (rc == MU_OK && got < strlen(what)) {
        rc = mu_read(&t->io, buf + got, sizeof(buf) - got, &n, mu_deadline(60000));
        got += n;
    }
    return rc;
}

static enum mu_rc ring(void)
{
    struct mu_wait_item it = { .wake = &bell };

    return mu_wait(&it, 1, MU_NEVER);
}

struct in_worker {
    struct talk *t;
    enum mu_rc rc;
};

static void ask_offloaded(void *arg)
{
    struct in_worker *w = arg;

    usleep(200);
    w->rc = ask(w->t, "from a worker");
    if (w->rc == MU_OK)
        w->rc = mu_sleep(1);
    if (w->rc == MU_OK)
        w->rc = mu_yield();
}

static enum mu_rc wait_for_child(void)
{
    pid_t pid = fork();
    struct mu_io child;
    struct mu_wait_item it = { .io = &child, .want = MU_READABLE };
    enum mu_rc rc;

    if (pid == 0) {
        usleep(1000);
        _exit(0);
    }
    assert_int_equal(mu_io_init_child(&child, pid), MU_OK);
    rc = mu_wait(&it, 1, MU_NEVER);
    mu_io_close(&child);
    if (rc != MU_OK)
        kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return rc;
}

static enum mu_rc pump_echo(struct talk *t)
{
    struct mu_pipe_dir there = { .from = &t->near, .to = &t->io };
    struct mu_pipe_dir back = { .from = &t->io, .to = &t->near };

    return mu_pump(&there, &back, 60000);
}

static enum mu_rc read_a_file(void)
{
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC); /* never without a thread */
    char buf[16];
    size_t n;
    enum mu_rc rc = mu_file_pread(fd, buf, sizeof(buf), 0, &n);

    close(fd);
    return rc;
}

static enum mu_rc converse(struct talk *t)
{
    struct in_worker w = { .t = t };
    enum mu_rc rc = mu_connect(&t->io, (struct sockaddr *)&echo_at, sizeof(echo_at), MU_NEVER);

    if (rc == MU_OK)
        rc = ask(t, "hello");
    if (rc == MU_OK)
        rc = mu_yield();
    if (rc == MU_OK)
        rc = mu_sleep(1);
    if (rc == MU_OK)
        rc = ring();
    if (rc == MU_OK && getenv("UNDER_VALGRIND") == NULL) /* which knows no pidfd_open */
        rc = wait_for_child();
    if (rc == MU_OK) {
        mu_offload(ask_offloaded, &w);
        rc = w.rc;
    }
    if (rc == MU_OK)
        rc = read_a_file();
    if (rc == MU_OK)
        rc = pump_echo(t);
    return rc;
}

static void far_side(struct mu_timer *timer)
{
    mu_wake_raise(&bell);
    mu_timer_arm(timer, 2);
}

static void play_hero(void *arg)
{
    struct talk t;
    enum mu_rc rc;
    int fd[2];

    (void)arg;
    hero = mu_fiber_self();
    socket_pair(fd);
    mu_io_init_socket(&t.near, fd[0]);
    mu_io_init_socket(&t.far, fd[1]);
    assert_int_equal(write(fd[1], "some words for the pump", 23), 23);
    shutdown(fd[1], SHUT_WR);
    t.memory = malloc(100);
    rc = converse(&t);
    assert_true(rc == MU_OK || (rc == MU_GONE && was_cancelled));
    free(t.memory);
    mu_io_close(&t.io);
    mu_io_close(&t.near);
    mu_io_close(&t.far);
    hero_done = true;
}

static int open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/** One performance. Returns how often the hero parked. */
static int perform(const struct mu_reactor_opts *opts, int at)
{
    struct mu_listen_watch door;
    struct mu_timer timer;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    reactor = mu_reactor_create(opts);
    assert_non_null(reactor);
    echo_at = (struct sockaddr_in){ .sin_family = AF_INET };
    echo_at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&echo_at, sizeof(echo_at)), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&echo_at, &(socklen_t){ sizeof(echo_at) }),
                     0);
    assert_int_equal(mu_listen_watch(reactor, &door, fd, on_accept), MU_OK);
    mu_wake_init(&bell);
    mu_timer_init(&timer, far_side);
    mu_timer_arm(&timer, 2);
    parks = 0;
    cancel_at = at;
    hero_done = was_cancelled = false;
    run_fiber(reactor, play_hero, NULL);
    turn_until_idle(reactor);
    assert_true(hero_done);
    mu_timer_cancel(&timer);
    mu_listen_unwatch(&door);
    close(fd);
    mu_reactor_destroy(reactor);
    return parks;
}

static void at_every_point(const struct mu_reactor_opts *opts)
{
    int before = open_descriptors();
    int at = 0, points;

    mu_fiber_on_park(on_park);
    do {
        at++;
        points = perform(opts, at);
        assert_int_equal(open_descriptors(), before);
    } while (was_cancelled);
    assert_true(points >= 7); /* connect, reads, yield, sleeps, wake, child, offload, pump */
    assert_true(at > points);
    print_message("cancelled at each of %d suspension points\n", points);
    mu_fiber_on_park(NULL);
}

static void test_in_place(void **state)
{
    at_every_point(&(struct mu_reactor_opts){ .backend = BACKEND(state), .is_alone = true });
}

static void test_on_threads(void **state)
{
    struct mu_worker_pool *workers = mu_worker_pool_create(2, 0);
    struct mu_worker_pool *files = mu_worker_pool_create(1, 0);

    at_every_point(
        &(struct mu_reactor_opts){ .backend = BACKEND(state), .workers = workers, .files = files });
    mu_worker_pool_destroy(workers);
    mu_worker_pool_destroy(files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_in_place),
        BOTH(test_on_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
