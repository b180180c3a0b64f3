/* A take-over that fails while the state is read: whatever the state names is still open in the
 * binary that gets it back, which here is this very test. */
#include "super_test.h"

#include <fcntl.h>
#include <muster/str.h>
#include <stdlib.h>
#include <string.h>
#include <super/master.h>
#include <super/state.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 2, NAMED = 6 };

/* One of each kind that a state can name. */
struct named {
    int fds[NAMED]; /* listener, board, locks, channel, ends of a logger's pipe */
};

static void open_named(struct named *d)
{
    int pair[2];

    d->fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    d->fds[1] = mu_scoreboard_fd(mu_scoreboard_create(CHILDREN, 1));
    d->fds[2] = mu_accept_locks_fd(mu_accept_locks_create(1));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    d->fds[3] = pair[0];
    assert_int_equal(pipe(pair), 0);
    d->fds[4] = pair[0];
    d->fds[5] = pair[1];
    for (size_t i = 0; i < NAMED; i++)
        assert_true(mu_set_cloexec(d->fds[i], false));
}

/* Good records of all kinds, and then a child of a generation that there is not. */
static int write_broken(const struct named *d)
{
    struct mu_state_listener l = { .fd = d->fds[0] };
    struct mu_state_board board = { .generation = 3,
                                    .board_fd = d->fds[1],
                                    .locks_fd = d->fds[2],
                                    .children = CHILDREN,
                                    .slots = 1,
                                    .locks = 1 };
    struct mu_state_child child = { .pid = getpid(), .channel_fd = d->fds[3], .generation = 3 };
    struct mu_state_pipelog logger = { .read_fd = d->fds[4], .write_fd = d->fds[5] };
    struct mu_buf b = { 0 };
    int fd;

    mu_state_begin(&b);
    mu_state_put_u64(&b, MU_STATE_GENERATION, 3);
    mu_state_put(&b, MU_STATE_LISTENER, &l, sizeof(l), MU_STR_NULL);
    mu_state_put(&b, MU_STATE_BOARD, &board, sizeof(board), MU_STR_NULL);
    mu_state_put(&b, MU_STATE_CHILD, &child, sizeof(child), MU_STR_NULL);
    mu_state_put(&b, MU_STATE_PIPELOG, &logger, sizeof(logger), MU_S("|/bin/cat"));
    child.generation = 4;
    mu_state_put(&b, MU_STATE_CHILD, &child, sizeof(child), MU_STR_NULL);
    mu_state_put(&b, MU_STATE_END, NULL, 0, MU_STR_NULL);
    fd = mu_state_to_fd(mu_buf_str(&b));
    mu_buf_fini(&b);
    return fd;
}

/* In a process of its own. Does not come back unless going back failed. */
static void take_over(void)
{
    static char name[] = "muster", root[] = "/";
    static char *argv[] = { name, NULL };
    static struct mu_super s;
    struct named d;
    struct mu_super_opts opts = { .argv = argv, .rehearse_fd = -1 };
    char list[128] = "";

    open_named(&d);
    for (size_t i = 0, at = 0; i < NAMED; i++)
        at += (size_t)snprintf(list + at, sizeof(list) - at, "%d ", d.fds[i]);
    setenv("MU_TEST_NAMED", list, 1);
    opts.takeover_fd = write_broken(&d);
    opts.takeover_exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    s = (struct mu_super){ .opts = &opts, .exe = name, .cwd = root };
    s.rehearsal.fd = s.rehearsal.tree_fd = -1;
    mu_list_init(&s.generations);
    _exit(mu_takeover(&s) == MU_OK ? 10 : 11);
}

/* The binary before: how many of the descriptors are missing? */
static int count_missing(void)
{
    const char *list = getenv("MU_TEST_NAMED");
    int missing = 0, n = 0;

    for (char *end = NULL; list; list = end, n++) {
        long fd = strtol(list, &end, 10);

        if (end == list)
            break;
        missing += fcntl((int)fd, F_GETFD) != 0;
    }
    return n == NAMED ? missing : 100;
}

static void nothing_is_lost(void **state)
{
    int status = -1;
    pid_t pid = fork();

    (void)state;
    if (pid == 0)
        take_over();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost),
    };

    if (argc > 1 && strncmp(argv[1], "--fallback=", 11) == 0)
        return count_missing();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
