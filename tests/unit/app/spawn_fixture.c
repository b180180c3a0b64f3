/* spawn_fixture: see spawn_test.h. */
#include "spawn_test.h"

#include <base/proc.h>

enum { NOBODY = 65534 };

struct helper_fixture helper = { -1, -1, 0 };

/* In place of the supervisor's group. */
int mu_spawn_socket(bool is_suexec)
{
    (void)is_suexec;
    return helper.web_fd;
}

bool mu_spawn_has_suexec(void)
{
    return false;
}

void helper_open(void)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    helper = (struct helper_fixture){ .web_fd = pair[0], .helper_fd = pair[1] };
}

/* With nothing but its socket, and as nobody when the tests have root, as a server's would be. */
static int run(void)
{
    static const gid_t groups[] = { NOBODY };
    static const struct mu_identity nobody = {
        .uid = NOBODY, .gid = NOBODY, .groups = groups, .n_groups = 1, .user = "nobody", .home = "/"
    };
    struct mu_spawn_helper_opts o = { .fd = 3, .identity = geteuid() == 0 ? &nobody : NULL };

    mu_signals_default(); /* as every child of the supervisor */
    if (dup2(helper.helper_fd, o.fd) != o.fd || close_range(4, ~0u, 0) != 0)
        return 99;
    return mu_spawn_helper(&o);
}

void helper_start(void)
{
    fflush(NULL);
    helper.pid = fork();
    if (helper.pid == 0)
        _exit(run());
    assert_true(helper.pid > 0);
}

void helper_finish(void)
{
    int status = -1;

    close(helper.web_fd);
    helper.web_fd = -1;
    assert_int_equal(waitpid(helper.pid, &status, 0), helper.pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    close(helper.helper_fd);
}

void on_fiber(enum mu_backend backend, void (*fn)(void *arg), void *arg)
{
    struct mu_reactor *r = mu_reactor_create(&(struct mu_reactor_opts){ .backend = backend });

    assert_non_null(r);
    assert_int_equal(mu_fiber_run(r, fn, arg), MU_OK);
    while (mu_reactor_fibers(r) > 0)
        mu_reactor_turn(r, -1);
    mu_reactor_destroy(r);
}

size_t read_end(int fd, char *buf, size_t cap)
{
    size_t n = 0;
    ssize_t k;

    while (n < cap - 1 && (k = read(fd, buf + n, cap - 1 - n)) > 0)
        n += (size_t)k;
    buf[n] = '\0';
    return n;
}

void await_gone(pid_t pid)
{
    for (int i = 0; kill(pid, 0) == 0; i++) {
        assert_true(i < 60000);
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(errno, ESRCH);
}
