/*
 * control: -k start, stop, restart, graceful, graceful-stop. The configuration has been read and
 * found good before anything is signalled, so a mistake is reported here, on the administrator's
 * terminal, and not only in a log. Words, stream and exit status are httpd's: that a server runs
 * already, or not at all, is no failure.
 */
#include "cli/control.h"

#include <base/proc.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* A line for "there is no server", as httpd words it. */
static void say_not_running(const char *path, enum mu_rc rc, pid_t pid)
{
    if (rc == MU_OK)
        printf("muster (pid %d?) not running\n", (int)pid);
    else if (rc == MU_NOENT)
        printf("muster (no pid file) not running\n");
    else
        printf("muster (no pid in %s) not running\n", path);
}

static int signal_server(pid_t pid, int signal_number)
{
    if (kill(pid, signal_number) == 0)
        return 0;
    fprintf(stderr, "muster: cannot signal pid %d: %s\n", (int)pid, strerror(errno));
    return 1;
}

int mu_cli_control(const struct mu_cli *cli, const struct mu_config *config)
{
    const char *path = mu_super_pid_path(config);
    pid_t pid = 0;
    enum mu_rc rc = path ? mu_pidfile_read(path, &pid) : MU_NOMEM;
    bool is_running = rc == MU_OK && mu_super_is_running(pid);

    switch (cli->control) {
    case MU_CTL_START:
        if (!is_running)
            return -1;
        printf("muster (pid %d) already running\n", (int)pid);
        return 0;
    case MU_CTL_STOP:
    case MU_CTL_GRACEFUL_STOP:
        if (is_running)
            return signal_server(pid, cli->control == MU_CTL_STOP ? SIGTERM : SIGWINCH);
        say_not_running(path, rc, pid);
        return 0;
    case MU_CTL_RESTART:
    case MU_CTL_GRACEFUL:
        if (is_running)
            return signal_server(pid, cli->control == MU_CTL_RESTART ? SIGHUP : SIGUSR1);
        printf("muster not running, trying to start\n");
        return -1;
    case MU_CTL_NONE:
        break;
    }
    return -1;
}
