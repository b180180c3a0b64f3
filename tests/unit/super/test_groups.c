/* A toy group (a process that waits for end of file on a pipe) through a real execve: adopted by an
 * image that has it, ended by one that does not, handed back by one that fails. */
#include "super_test.h"

#include <conf/priv.h>
#include <fcntl.h>
#include <muster/str.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <super/group.h>
#include <super/master.h>
#include <super/state.h>
#include <sys/wait.h>
#include <unistd.h>

struct toy_state {
    int64_t pid, fd;
};

static struct toy_state toy = { .fd = -1 };
static const struct mu_group_env *env;
static unsigned begun, adopted, heard, ticks, told, kids_ended;
static bool begin_fails;

static void toy_start(void)
{
    int pair[2];
    pid_t pid;

    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        char c;

        env->leave_supervisor();
        close(pair[1]);
        _exit(read(pair[0], &c, 1) == 0 ? 7 : 8);
    }
    close(pair[0]);
    toy = (struct toy_state){ .pid = pid, .fd = pair[1] };
}

static enum mu_rc toy_begin(const struct mu_group_env *e, struct mu_str state)
{
    env = e;
    begun++;
    if (begin_fails)
        return MU_BAD;
    if (!mu_state_head(&state, &toy, sizeof(toy)))
        toy_start();
    else
        adopted++;
    return MU_OK;
}

static size_t toy_watch(struct pollfd *fds, size_t room)
{
    if (room)
        fds[0] = (struct pollfd){ .fd = (int)toy.fd, .events = POLLOUT };
    return 1;
}

static void toy_hear(const struct pollfd *fds, size_t n, int64_t now_ms)
{
    (void)now_ms;
    heard += n == 1 && (fds[0].revents & POLLOUT);
}

static bool toy_child_ended(pid_t pid, int status, int64_t now_ms)
{
    (void)now_ms;
    (void)status;
    if (pid != toy.pid)
        return false;
    toy.pid = 0;
    return true;
}

static void toy_kid_ended(pid_t pid, int64_t now_ms)
{
    (void)pid;
    (void)now_ms;
    kids_ended++;
}

static int64_t toy_tick(int64_t now_ms)
{
    ticks++;
    return now_ms + 1000;
}

static void toy_stop(enum mu_stop how, int64_t now_ms)
{
    (void)now_ms;
    told = (unsigned)how;
    close((int)toy.fd);
    toy.fd = -1;
}

static bool toy_is_empty(void)
{
    return toy.pid == 0;
}

static void toy_holds(void (*visit)(void *arg, pid_t pid, int fd), void *arg)
{
    visit(arg, (pid_t)toy.pid, (int)toy.fd);
}

static enum mu_rc toy_save(struct mu_buf *out)
{
    mu_buf_add(out, mu_str_n((const char *)&toy, sizeof(toy)));
    return MU_OK;
}

static void toy_keep(bool is_kept)
{
    if (toy.fd >= 0)
        mu_set_cloexec((int)toy.fd, !is_kept);
}

static void toy_in_child(void)
{
    close((int)toy.fd);
}

static const struct mu_group toy_group = { .name = "toy",
                                           .begin = toy_begin,
                                           .watch = toy_watch,
                                           .hear = toy_hear,
                                           .child_ended = toy_child_ended,
                                           .kid_ended = toy_kid_ended,
                                           .tick = toy_tick,
                                           .stop = toy_stop,
                                           .is_empty = toy_is_empty,
                                           .holds = toy_holds,
                                           .save = toy_save,
                                           .keep = toy_keep,
                                           .in_child = toy_in_child };

static const struct mu_group *const with_toy[] = { &toy_group, NULL };
static const struct mu_group *const without[] = { NULL };

static struct mu_generation generation = { .number = 3 };
static unsigned reported;

static void report(void *arg, bool is_error, const char *text)
{
    (void)arg;
    (void)text;
    reported += is_error;
}

/* As much of a configuration as it takes to report errors to. */
static struct mu_config *make_config(void)
{
    static struct mu_config_priv priv;
    static struct mu_config config;

    priv.report = report;
    priv.is_published = true;
    config.arena = mu_arena_create(0);
    config.priv = &priv;
    return &config;
}

static struct mu_super make(const struct mu_super_opts *opts)
{
    struct mu_super s = { .opts = opts,
                          .config = make_config(),
                          .now = &generation,
                          .parent_fd = -1,
                          .terminal_fd = -1,
                          .signal_fd = -1,
                          .exe_fd = -1,
                          .state_fd = -1,
                          .back_exe_fd = -1 };

    s.rehearsal.fd = s.rehearsal.tree_fd = -1;
    return s;
}

/* Leaving would close the boards of the present generation, of which there are none here. */
static void begin(struct mu_super *s)
{
    s->now = &generation;
    generation.board = mu_scoreboard_create(1, 1);
    mu_list_init(&s->generations);
    assert_int_equal(mu_groups_begin(s), MU_OK);
}

static void execute(const char *what, int fd)
{
    char number[16];
    char self[] = "/proc/self/exe";
    char *argv[] = { self, (char *)(uintptr_t)what, number, NULL };

    snprintf(number, sizeof(number), "%d", fd);
    execv(self, argv);
    _exit(99);
}

static int save(struct mu_super *s)
{
    struct mu_buf b = { 0 };
    int fd;

    mu_state_begin(&b);
    assert_true(mu_groups_save(s, &b));
    mu_state_put(&b, MU_STATE_END, NULL, 0, MU_STR_NULL);
    fd = mu_state_to_fd(mu_buf_str(&b));
    mu_buf_fini(&b);
    mu_groups_keep(s, true);
    return fd;
}

static void take(struct mu_super *s, int fd)
{
    struct mu_str at, value;
    uint32_t key;

    assert_int_equal(mu_state_from_fd(fd, &s->state), MU_OK);
    assert_int_equal(mu_state_open(mu_buf_str(&s->state), &at), MU_OK);
    while (mu_state_next(&at, &key, &value) == MU_OK)
        assert_int_equal(mu_groups_take(s, key, value), MU_OK);
    mu_groups_keep(s, false);
    close(fd);
}

/* Each image's part; what it asserts ends the process with a status of its own. */
#define CHECK(n, condition)                                                                        \
    do {                                                                                           \
        if (!(condition))                                                                          \
            _exit(n);                                                                              \
    } while (0)

static bool is_alive(pid_t pid)
{
    return waitpid(pid, NULL, WNOHANG) == 0;
}

static int adopting_image(int fd)
{
    struct mu_super_opts opts = { .groups = with_toy };
    struct mu_super s = make(&opts);
    struct pollfd p;

    take(&s, fd);
    begin(&s);
    mu_groups_settle(&s);
    CHECK(20, adopted == 1 && s.groups.strays_n == 0 && s.groups.given_n == 0);
    CHECK(21, toy.pid > 0 && is_alive((pid_t)toy.pid));
    CHECK(22, fcntl((int)toy.fd, F_GETFD) == FD_CLOEXEC);
    CHECK(23, mu_groups_watch(&s, 0, &p, 0) == 1 && mu_groups_watch(&s, 0, &p, 1) == 1);
    CHECK(24, poll(&p, 1, 0) == 1);
    mu_groups_hear(&s, 0, &p, 1);
    CHECK(25, heard == 1);
    mu_groups_kid_ended(&s, 1);
    CHECK(26, kids_ended == 1 && mu_groups_tick(&s, 5) == 1005 && ticks == 1);
    mu_groups_stop(&s, MU_STOP_GRACEFUL);
    CHECK(27, told == MU_STOP_GRACEFUL && !mu_groups_are_empty(&s));
    mu_groups_finish(&s);
    CHECK(28, mu_groups_are_empty(&s) && told == MU_STOP_NOW);
    mu_buf_fini(&s.state);
    return 0;
}

/* It lacks the group: the state must not be refused, the process ended, the descriptor closed. */
static int lacking_image(int fd)
{
    struct mu_super_opts opts = { .groups = without };
    struct mu_super s = make(&opts);
    pid_t pid;
    int held;

    take(&s, fd);
    begin(&s);
    CHECK(30, s.groups.holds_n == 1);
    pid = s.groups.holds[0].pid;
    held = s.groups.holds[0].fd;
    CHECK(31, pid > 0 && is_alive(pid));
    CHECK(32, fcntl(held, F_GETFD) == FD_CLOEXEC);
    mu_groups_settle(&s);
    CHECK(33, fcntl(held, F_GETFD) < 0 && s.groups.strays_n == 1 && !mu_groups_are_empty(&s));
    mu_groups_finish(&s);
    CHECK(34, mu_groups_are_empty(&s) && kill(pid, 0) != 0);
    mu_buf_fini(&s.state);
    return 0;
}

/* Its begin fails: the image before gets back what it wrote, word for word. */
static int failing_image(int fd)
{
    struct mu_super_opts opts = { .groups = with_toy };
    struct mu_super s = make(&opts);

    take(&s, fd);
    s.now = &generation;
    mu_list_init(&s.generations);
    begin_fails = true;
    CHECK(40, mu_groups_begin(&s) == MU_BAD && reported == 1 && begun == 1 && toy.pid == 0);
    execute("adopt", save(&s));
    return 41;
}

static void restart_as(const char *image)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        struct mu_super_opts opts = { .groups = with_toy };
        struct mu_super s = make(&opts);

        begin(&s);
        CHECK(10, begun == 1 && adopted == 0 && is_alive((pid_t)toy.pid));
        execute(image, save(&s));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void survives_a_restart(void **state)
{
    (void)state;
    restart_as("adopt");
}

static void is_ended_by_an_image_without_it(void **state)
{
    (void)state;
    restart_as("lack");
}

static void goes_back_after_a_failure(void **state)
{
    (void)state;
    restart_as("fail");
}

static void broken_records_are_refused(void **state)
{
    struct mu_super_opts opts = { .groups = with_toy };
    struct mu_super s = make(&opts);
    uint64_t too_long = 99;
    struct mu_state_hold wrong = { .pid = -5, .fd = -1 };

    (void)state;
    assert_int_equal(
        mu_groups_take(&s, MU_STATE_GROUP, mu_str_n((const char *)&too_long, sizeof(too_long))),
        MU_BAD);
    assert_int_equal(mu_groups_take(&s, MU_STATE_GROUP, MU_S("abc")), MU_BAD);
    assert_int_equal(
        mu_groups_take(&s, MU_STATE_GROUP_HOLD, mu_str_n((const char *)&wrong, sizeof(wrong))),
        MU_BAD);
    assert_int_equal(s.groups.given_n + s.groups.holds_n, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_a_restart),
        cmocka_unit_test(is_ended_by_an_image_without_it),
        cmocka_unit_test(goes_back_after_a_failure),
        cmocka_unit_test(broken_records_are_refused),
    };

    if (argc == 3 && strcmp(argv[1], "adopt") == 0)
        return adopting_image(atoi(argv[2]));
    if (argc == 3 && strcmp(argv[1], "lack") == 0)
        return lacking_image(atoi(argv[2]));
    if (argc == 3 && strcmp(argv[1], "fail") == 0)
        return failing_image(atoi(argv[2]));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
