/*
 * single: -X makes the supervisor itself the one web child, so somebody else has to look after the
 * pools: a process that does what the supervisor would do, and ends them when the server is gone.
 */
#include "pool/keeper.h"

#include <errno.h>
#include <muster/log.h>
#include <muster/str.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FDS_MAX = 2 * MU_POOL_SLOTS };

static void reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        (void)mu_keeper_child_ended(pid, status, mu_keeper_now());
}

static int timeout_of(int64_t next_ms, int64_t now_ms)
{
    if (next_ms <= now_ms)
        return 0;
    return next_ms - now_ms > 1000 ? 1000 : (int)(next_ms - now_ms);
}

static void turn(struct pollfd *fds, int signals, int server)
{
    int64_t now_ms = mu_keeper_now();
    int64_t next_ms = mu_keeper_tick(now_ms);
    struct signalfd_siginfo si[8];
    size_t n;

    fds[0] = (struct pollfd){ .fd = signals, .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = server, .events = POLLIN };
    n = mu_keeper_watch(fds + 2, FDS_MAX - 2);
    if (n > FDS_MAX - 2)
        n = FDS_MAX - 2;
    if (poll(fds, n + 2, timeout_of(next_ms, now_ms)) < 0)
        return;
    if (fds[0].revents)
        (void)!read(signals, si, sizeof(si));
    mu_keeper_hear(fds + 2, n, mu_keeper_now());
    reap();
    if (fds[1].revents && mu_keeper.stopping == MU_STOP_NONE)
        mu_keeper_stop(MU_STOP_NOW, mu_keeper_now());
}

static int keep_pools(int server)
{
    static struct pollfd fds[FDS_MAX];
    sigset_t child;
    int signals;

    mu_keeper.env.leave_supervisor();
    setpgid(0, 0); /* Ctrl-C is for the server; this one sees it end */
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0)
        return 1;
    mu_pools_renew(mu_keeper_now());
    do
        turn(fds, signals, server);
    while (mu_keeper.stopping == MU_STOP_NONE || !mu_keeper_is_empty());
    return 0;
}

enum mu_rc mu_single_begin(void)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return mu_config_error(mu_keeper.env.config, "application pools: %s", strerror(errno));
    fflush(NULL);
    mu_keeper.single_pid = fork();
    if (mu_keeper.single_pid == 0) {
        close(pair[0]);
        _exit(keep_pools(pair[1]));
    }
    close(pair[1]);
    if (mu_keeper.single_pid < 0) {
        close(pair[0]);
        mu_keeper.single_pid = 0;
        return mu_config_error(mu_keeper.env.config, "application pools: cannot fork: %s",
                               strerror(errno));
    }
    mu_keeper.single_fd = pair[0];
    mu_keeper_in_child();
    return MU_OK;
}
