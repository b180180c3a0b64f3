/*
 * super: the supervisor's entry. Whatever way it is started (by an administrator, as a rehearsal,
 * as the next image of a running server, or as the one before it again), the order is fixed:
 * signals are blocked, the configuration is read, sockets are opened, modules start, the PidFile is
 * written, and the loop begins.
 */
#include "super/super.h"

#include "super/master.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <muster/log.h>
#include <muster/str.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static bool parse_fd(struct mu_str text, int *fd)
{
    uint64_t v;

    if (!mu_str_u64(text, &v) || v > INT_MAX)
        return false;
    *fd = (int)v;
    return true;
}

static enum mu_rc parse_pair(struct mu_str text, struct mu_super_opts *opts)
{
    ssize_t colon = mu_str_chr(text, ':');

    if (colon < 0 || !parse_fd(mu_str_sub(text, 0, (size_t)colon), &opts->takeover_fd) ||
        !parse_fd(mu_str_sub(text, (size_t)colon + 1, text.n), &opts->takeover_exe_fd))
        return MU_BAD;
    return MU_OK;
}

enum mu_rc mu_super_option(const char *arg, struct mu_super_opts *opts)
{
    struct mu_str a = mu_str_c(arg);
    struct mu_str rehearse = MU_S("--rehearse="), takeover = MU_S("--takeover="),
                  fallback = MU_S("--fallback=");

    if (mu_str_starts(a, rehearse))
        return parse_fd(mu_str_sub(a, rehearse.n, a.n), &opts->rehearse_fd) ? MU_OK : MU_BAD;
    if (mu_str_starts(a, takeover))
        return parse_pair(mu_str_sub(a, takeover.n, a.n), opts);
    if (!mu_str_starts(a, fallback))
        return MU_NOENT;
    opts->is_fallback = true;
    return parse_pair(mu_str_sub(a, fallback.n, a.n), opts);
}

static char *join(const char *dir, size_t dir_len, const char *name)
{
    char *path;

    if (asprintf(&path, "%.*s/%s", (int)dir_len, dir, name) < 0)
        return NULL;
    return path;
}

/* By `name`, absolute, links not followed; NULL: nowhere. */
static char *find_named(const char *name, const char *cwd)
{
    if (name[0] == '/')
        return strdup(name);
    if (strchr(name, '/'))
        return join(cwd, strlen(cwd), name);
    for (const char *path = getenv("PATH"); path && *path;) {
        size_t len = strcspn(path, ":");
        char *full = join(path, len, name);

        if (full && full[0] == '/' && access(full, X_OK) == 0)
            return full;
        free(full);
        path += len + (path[len] == ':');
    }
    return NULL;
}

/* The same file as that of process `proc` ("self" or a number). */
static bool is_exe_of(const char *proc, const char *path)
{
    char link[64];
    struct stat a, b;

    snprintf(link, sizeof(link), "/proc/%s/exe", proc);
    return stat(path, &a) == 0 && stat(link, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/*
 * Where the next version of the server will be installed: argv[0], which root will execute, so at
 * first it must lead to this very binary, whatever PATH and the caller say. Later images get that
 * path as their argv[0], and the file behind it may be another one by then.
 */
static char *find_exe(const struct mu_super_opts *opts, const char *cwd)
{
    bool is_first = opts->rehearse_fd < 0 && opts->takeover_fd < 0;
    char *path = find_named(opts->argv[0], cwd);
    char self[PATH_MAX];
    ssize_t n;

    if (path && (!is_first || is_exe_of("self", path)))
        return path;
    free(path);
    n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    return n > 0 ? strndup(self, (size_t)n) : NULL;
}

static bool super_init(struct mu_super *s, const struct mu_super_opts *opts)
{
    *s = (struct mu_super){
        .opts = opts,
        .parent_fd = -1,
        .terminal_fd = -1,
        .signal_fd = -1,
        .state_fd = -1,
        .back_exe_fd = -1,
        .rehearsal = { .fd = -1, .tree_fd = -1 },
        .start_time = (int64_t)time(NULL),
        .is_single = opts->is_single,
        .buckets = 1,
    };
    mu_list_init(&s->generations);
    s->cwd = getcwd(NULL, 0);
    if (!s->cwd)
        s->cwd = strdup("/");
    s->exe = s->cwd ? find_exe(opts, s->cwd) : NULL;
    s->exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (!s->exe || s->exe_fd < 0) {
        fprintf(stderr, "muster: cannot find the server's own binary: %s\n", strerror(errno));
        return false;
    }
    mu_descriptors_raise(); /* idle connections cost one each */
    return true;
}

bool mu_super_is_running(pid_t pid)
{
    char path[64], number[24], name[32] = "", own[32] = "";
    FILE *f;

    if (pid <= 0 || pid == getpid() || (kill(pid, 0) != 0 && errno == ESRCH))
        return false;
    /* A number that another program was given since is no server of ours. The same binary is one,
     * whatever name it was called by; a binary that was replaced since has its name. */
    snprintf(number, sizeof(number), "%d", (int)pid);
    if (is_exe_of(number, "/proc/self/exe"))
        return true;
    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    f = fopen(path, "re");
    if (!f)
        return true;
    if (!fgets(name, sizeof(name), f))
        name[0] = '\0';
    fclose(f);
    f = fopen("/proc/self/comm", "re");
    if (f) {
        if (!fgets(own, sizeof(own), f))
            own[0] = '\0';
        fclose(f);
    }
    return strcmp(name, own) == 0;
}

/* Two servers with one PidFile would take each other for themselves. */
static enum mu_rc check_pid_file(struct mu_super *s)
{
    const char *path = mu_super_pid_path(s->config);
    pid_t pid = 0;

    if (mu_pidfile_read(path, &pid) != MU_OK || !mu_super_is_running(pid))
        return MU_OK;
    return mu_config_error(s->config, "the server is running already: pid %d, by PidFile %s",
                           (int)pid, path);
}

/* The parent: its exit status says whether the server runs. Whatever went wrong was printed by the
 * child. */
static int await_server(int fd, pid_t child)
{
    char said = 0;
    int status = 0;
    ssize_t n;

    do
        n = read(fd, &said, 1);
    while (n < 0 && errno == EINTR);
    if (n == 1)
        return 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1;
}

/* Returns -1 in the process that goes on, else the parent's exit status. */
static int become_daemon(struct mu_super *s)
{
    int fds[2];
    pid_t child;

    if (pipe2(fds, O_CLOEXEC) != 0)
        return 1;
    fflush(NULL);
    child = fork();
    if (child < 0) {
        fprintf(stderr, "muster: cannot become a daemon: %s\n", strerror(errno));
        return 1;
    }
    if (child > 0) {
        close(fds[1]);
        return await_server(fds[0], child);
    }
    close(fds[0]);
    s->parent_fd = fds[1];
    s->is_daemon = true;
    setsid();
    return -1;
}

/*
 * Before modules start: whatever is forked from here on must not hold the terminal. Its standard
 * error is kept aside until the server runs, so that every reason not to can be read there.
 */
static void leave_terminal(struct mu_super *s)
{
    int null;

    if (!s->is_daemon)
        return;
    (void)!chdir("/");
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return;
    s->terminal_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    close(null);
}

/* Messages about the configuration: to whoever called, or to the terminal that a daemon keeps
 * aside. */
static void report(void *arg, bool is_error, const char *text)
{
    const struct mu_super *s = arg;
    const struct mu_config_opts *o = &s->opts->config;

    if (s->terminal_fd < 0 && o->report)
        o->report(o->report_arg, is_error, text);
    else
        (void)!dprintf(s->terminal_fd >= 0 ? s->terminal_fd : STDERR_FILENO, "%s\n", text);
}

static enum mu_rc open_server(struct mu_super *s)
{
    if (mu_doors_open(s) != MU_OK)
        return MU_BAD;
    leave_terminal(s);
    if (mu_super_begin(s, 0) != MU_OK || mu_super_pid_file(s) != MU_OK)
        return MU_BAD;
    if (mu_groups_begin(s) == MU_OK)
        return MU_OK;
    mu_groups_finish(s);
    unlink(s->pid_path);
    return MU_BAD;
}

static int run_single(struct mu_super *s)
{
    int status;

    mu_view_set(s);
    mu_super_announce(s);
    status = mu_super_single(s);
    mu_groups_finish(s);
    if (s->pid_path && unlink(s->pid_path) != 0)
        MU_LOG(NULL, "core", MU_LOG_INFO, "MU0790", "PidFile %s stays: %s", s->pid_path,
               strerror(errno));
    return status;
}

static int start(struct mu_super *s)
{
    int status;

    if (mu_super_load(s, MU_STR_NULL, report, s) != MU_OK || check_pid_file(s) != MU_OK)
        return 1;
    if (s->is_single) {
        if (open_server(s) != MU_OK)
            return 1;
        return run_single(s);
    }
    status = s->opts->is_foreground ? -1 : become_daemon(s);
    if (status >= 0)
        return status;
    if (!mu_super_signals(s) || open_server(s) != MU_OK)
        return 1;
    mu_view_set(s);
    return mu_super_loop(s);
}

static int take_over(struct mu_super *s)
{
    bool is_good = mu_takeover(s) == MU_OK;

    mu_view_set(s);
    if (is_good)
        return mu_super_loop(s);
    mu_groups_finish(s);
    s->exit_status =
        1; /* nothing to run with: the children see the hang-up and end when they are empty */
    return 1;
}

int mu_super_run(const struct mu_super_opts *opts)
{
    static struct mu_super s; /* for as long as the process: children look into it, too */

    if (!super_init(&s, opts))
        return 1;
    if (opts->rehearse_fd >= 0)
        return mu_rehearse(&s);
    if (opts->takeover_fd >= 0)
        return take_over(&s);
    return start(&s);
}
