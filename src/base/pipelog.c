/*
 * pipelog: the supervisor's piped loggers. A logger is known by what the directive says;
 * directives that say the same share it, also across a re-exec. The supervisor keeps both ends of
 * the pipe, so writers never meet a closed one and lines outlive a logger's death. A pipe's write
 * end is blocking: a logger that cannot keep up slows the server down, it does not lose lines.
 */
#include "base/pipelog.h"

#include "base/fault.h"
#include "base/proc.h"

#include <muster/clock.h>
#include <muster/list.h>
#include <muster/log.h>
#include <muster/str.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RESTART_PAUSE_MS = 1000 };

struct logger {
    struct mu_list node;
    char *spec;
    int write_fd; /* -1: retired */
    int read_fd;
    pid_t pid; /* 0: not running */
    int64_t started_ms;
    int64_t due_ms; /* when pid is 0 */
    bool is_claimed;
};

static struct mu_list loggers = { &loggers, &loggers };

static struct logger *logger_of(struct mu_list *node)
{
    return MU_CONTAINER_OF(node, struct logger, node);
}

static void close_ends(struct logger *l)
{
    if (l->write_fd >= 0)
        close(l->write_fd);
    if (l->read_fd >= 0)
        close(l->read_fd);
    l->write_fd = l->read_fd = -1;
}

static void destroy(struct logger *l)
{
    mu_list_remove(&l->node);
    close_ends(l);
    free(l->spec);
    free(l);
}

static struct logger *create(struct mu_str spec)
{
    struct logger *l = mu_alloc_fails() ? NULL : calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    mu_list_init(&l->node);
    l->write_fd = l->read_fd = -1;
    l->spec = mu_alloc_fails() ? NULL : strndup(spec.p, spec.n);
    if (!l->spec) {
        free(l);
        return NULL;
    }
    mu_list_append(&loggers, &l->node);
    return l;
}

/* Words to execute: the shell for "|$", else what stands behind the bars. */
static char **make_argv(struct mu_arena *a, const char *spec)
{
    if (spec[1] == '$') {
        char **argv = mu_new_n(a, char *, 4);

        if (argv) {
            argv[0] = (char *)"/bin/sh";
            argv[1] = (char *)"-c";
            argv[2] = (char *)spec + 2;
        }
        return argv;
    }
    return mu_argv_split(a, mu_str_c(spec + (spec[1] == '|' ? 2 : 1)));
}

/* In the forked child: the pipe becomes standard input and `report` descriptor 3. */
static _Noreturn void exec_logger(char **argv, int read_fd, int report)
{
    int failure;

    /* Both are 3 or more, because 0, 1 and 2 are open in every process of the server. */
    if (dup2(read_fd, STDIN_FILENO) < 0 || dup2(report, 3) < 0)
        _exit(127);
    mu_close_from(4);
    mu_set_cloexec(3, true);
    setsid();
    mu_signals_default();
    execvp(argv[0], argv);
    failure = errno;
    while (write(3, &failure, sizeof(failure)) < 0 && errno == EINTR)
        ;
    _exit(127);
}

/* errno of the child's exec, or 0: the report's other end closes when exec succeeds. */
static int read_report(int fd)
{
    int failure = 0;
    ssize_t n;

    do
        n = read(fd, &failure, sizeof(failure));
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(failure) ? failure : 0;
}

/* Returns 0 or an errno. */
static int spawn(struct logger *l, int64_t now_ms)
{
    struct mu_arena *a = mu_arena_create(0);
    char **argv = a ? make_argv(a, l->spec) : NULL;
    int report[2];
    int failure = 0;
    pid_t pid;

    l->started_ms = now_ms;
    if (!argv || !argv[0] || pipe2(report, O_CLOEXEC)) {
        failure = !argv ? ENOMEM : !argv[0] ? EINVAL : errno;
        mu_arena_destroy(a);
        return failure;
    }
    pid = fork();
    if (pid == 0)
        exec_logger(argv, l->read_fd, report[1]);
    failure = pid < 0 ? errno : 0;
    close(report[1]);
    if (pid > 0)
        failure = read_report(report[0]);
    close(report[0]);
    mu_arena_destroy(a);
    if (failure == 0)
        l->pid = pid;
    else if (pid > 0)
        waitpid(pid, NULL, 0);
    return failure;
}

static enum mu_rc refuse(struct mu_arena *a, struct logger *l, int failure, struct mu_str *err)
{
    *err = mu_fmt(a, "cannot start the piped logger \"%s\": %s%s", l->spec, strerror(failure),
                  failure == EINVAL ? " (it names no program)" : "");
    destroy(l);
    return failure == ENOMEM ? MU_NOMEM : failure == EINVAL ? MU_BAD : MU_EIO;
}

static bool is_well_formed(struct mu_arena *a, struct mu_str spec)
{
    const char *text = mu_cstr(a, spec);
    char **argv = text && spec.n > 1 ? make_argv(a, text) : NULL;
    bool is_shell = text && text[1] == '$';

    return argv && argv[0] && argv[0][0] && !(is_shell && mu_str_trim(mu_str_c(argv[2])).n == 0);
}

enum mu_rc mu_pipelog_open(struct mu_arena *a, struct mu_str spec, int *fd, struct mu_str *err)
{
    struct logger *l;
    int ends[2];
    int failure;

    MU_LIST_FOR(node, &loggers) {
        l = logger_of(node);
        if (l->write_fd >= 0 && mu_str_eq(mu_str_c(l->spec), spec)) {
            l->is_claimed = true;
            *fd = l->write_fd;
            return MU_OK;
        }
    }
    if (!is_well_formed(a, spec)) {
        *err = mu_fmt(a, "\"%.*s\" names no program, or leaves a quote open", MU_FMT(spec));
        return MU_BAD;
    }
    l = create(spec);
    if (!l) {
        *err = MU_S("out of memory");
        return MU_NOMEM;
    }
    if (pipe2(ends, O_CLOEXEC))
        return refuse(a, l, errno, err);
    l->read_fd = ends[0];
    l->write_fd = ends[1];
    l->is_claimed = true;
    failure = spawn(l, mu_mono_us() / 1000);
    if (failure)
        return refuse(a, l, failure, err);
    *fd = l->write_fd;
    return MU_OK;
}

static void restart(struct logger *l, int64_t now_ms)
{
    int failure = spawn(l, now_ms);

    if (failure) {
        l->due_ms = now_ms + RESTART_PAUSE_MS;
        MU_LOG(
            NULL, "core", MU_LOG_ERR, "MU0001",
            "cannot start the piped logger \"%s\" again: %s; its lines wait in the pipe, the next "
            "try is in a second",
            l->spec, strerror(failure));
    }
}

bool mu_pipelog_on_exit(pid_t pid, int status, int64_t now_ms)
{
    MU_LIST_FOR(node, &loggers) {
        struct logger *l = logger_of(node);

        if (l->pid != pid)
            continue;
        l->pid = 0;
        if (l->write_fd < 0) { /* retired: this is how it should end */
            destroy(l);
            return true;
        }
        MU_LOG(NULL, "core", MU_LOG_ERR, "MU0002",
               "piped logger \"%s\" (pid %ld) %s %d; starting it again", l->spec, (long)pid,
               WIFSIGNALED(status) ? "was ended by signal" : "ended with status",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        l->due_ms = l->started_ms + RESTART_PAUSE_MS;
        if (l->due_ms <= now_ms)
            restart(l, now_ms);
        return true;
    }
    return false;
}

int64_t mu_pipelog_tick(int64_t now_ms)
{
    int64_t next = -1;

    MU_LIST_FOR(node, &loggers) {
        struct logger *l = logger_of(node);

        if (l->pid || l->write_fd < 0)
            continue;
        if (l->due_ms <= now_ms)
            restart(l, now_ms);
        if (l->pid == 0 && (next < 0 || l->due_ms - now_ms < next))
            next = l->due_ms - now_ms;
    }
    return next;
}

void mu_pipelog_child(void)
{
    MU_LIST_FOR(node, &loggers) {
        struct logger *l = logger_of(node);

        if (l->read_fd >= 0)
            close(l->read_fd);
        l->read_fd = -1;
        l->pid = 0;
    }
}

bool mu_pipelog_export(size_t *it, struct mu_pipelog_state *state)
{
    size_t i = 0;

    MU_LIST_FOR(node, &loggers) {
        const struct logger *l = logger_of(node);

        if (i++ != *it)
            continue;
        ++*it;
        *state = (struct mu_pipelog_state){
            .spec = mu_str_c(l->spec), .write_fd = l->write_fd, .read_fd = l->read_fd, .pid = l->pid
        };
        return true;
    }
    return false;
}

enum mu_rc mu_pipelog_import(const struct mu_pipelog_state *state)
{
    struct logger *l = create(state->spec);

    if (!l)
        return MU_NOMEM;
    l->write_fd = state->write_fd;
    l->read_fd = state->read_fd;
    l->pid = state->pid;
    if (l->write_fd >= 0)
        mu_set_cloexec(l->write_fd, true);
    if (l->read_fd >= 0)
        mu_set_cloexec(l->read_fd, true);
    return MU_OK;
}

/*
 * Without our ends of the pipe the logger sees the end of its input when the last writer is gone.
 * One that died and left lines in the pipe is started once more for them.
 */
static void retire(struct logger *l)
{
    int n_left = 0;

    if (l->pid == 0 && l->read_fd >= 0 && ioctl(l->read_fd, FIONREAD, &n_left) == 0 && n_left > 0)
        restart(l, mu_mono_us() / 1000);
    close_ends(l);
    if (l->pid == 0)
        destroy(l);
}

void mu_pipelog_retire_unclaimed(void)
{
    MU_LIST_FOR_SAFE(node, &loggers) {
        struct logger *l = logger_of(node);

        if (!l->is_claimed && l->write_fd >= 0)
            retire(l);
    }
}

size_t mu_pipelog_close_all(void)
{
    size_t n = 0;

    MU_LIST_FOR_SAFE(node, &loggers)
        retire(logger_of(node));
    MU_LIST_FOR(node, &loggers)
        n++;
    return n;
}

pid_t mu_pipelog_any_pid(void)
{
    return mu_list_empty(&loggers) ? 0 : logger_of(mu_list_first(&loggers))->pid;
}
