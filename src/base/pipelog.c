/*
 * pipelog: the supervisor's piped loggers. A logger is known by what the directive says;
 * directives that say the same share it, also across a re-exec. The supervisor keeps both ends of
 * the pipe, so writers never meet a closed one and lines outlive a logger's death. A pipe's write
 * end is blocking: a logger that cannot keep up slows the children down, it does not lose lines. The
 * supervisor alone must never wait for a logger, since it is who starts a dead one again: it writes
 * through a non-blocking descriptor of its own, and holds what found the pipe full.
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
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    RESTART_PAUSE_MS = 1000,
    HELD_MAX = 65536,    /* bytes of the supervisor's lines that wait for room in a pipe */
    HELD_RETRY_MS = 100, /* when there is no room yet */
};

struct logger {
    struct mu_list node;
    char *spec;
    int write_fd; /* -1: retired */
    int read_fd;
    int own_fd; /* the write end once more, non-blocking, for the supervisor's lines; or -1 */
    pid_t pid;  /* 0: not running */
    int64_t started_ms;
    int64_t due_ms; /* when pid is 0 */
    char *held;     /* HELD_MAX bytes, once a line found the pipe full */
    size_t n_held;
    size_t n_lost; /* lines that found this full as well */
    bool is_claimed;
    bool is_retired; /* let go of: no new lines, and not started again */
};

static struct mu_list loggers = { &loggers, &loggers };
static bool is_keeper; /* this process is the supervisor of the loggers */

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
    if (l->own_fd >= 0)
        close(l->own_fd);
    l->write_fd = l->read_fd = l->own_fd = -1;
}

static void write_stderr(struct mu_str s)
{
    while (s.n) {
        ssize_t w = write(STDERR_FILENO, s.p, s.n);

        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return; /* there is nobody left to tell */
        s = mu_str_sub(s, (size_t)w, s.n);
    }
}

/* A last place for lines that no logger will take. */
static void spill(struct logger *l)
{
    if (l->n_held)
        write_stderr(mu_str_n(l->held, l->n_held));
    l->n_held = 0;
}

static void destroy(struct logger *l)
{
    mu_list_remove(&l->node);
    spill(l);
    close_ends(l);
    free(l->held);
    free(l->spec);
    free(l);
}

static struct logger *create(struct mu_str spec)
{
    struct logger *l = mu_alloc_fails() ? NULL : calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    mu_list_init(&l->node);
    l->write_fd = l->read_fd = l->own_fd = -1;
    l->spec = mu_alloc_fails() ? NULL : strndup(spec.p, spec.n);
    if (!l->spec) {
        free(l);
        return NULL;
    }
    mu_list_append(&loggers, &l->node);
    return l;
}

/*
 * O_NONBLOCK belongs to the open file, which all writers share: a non-blocking end takes an open
 * file of its own, and /proc gives one.
 */
static void open_own(struct logger *l)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", l->write_fd);
    l->own_fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
}

/* Write one piece of at most PIPE_BUF bytes, whole or not at all. Returns false when the pipe is
 * full. */
static bool put(const struct logger *l, struct mu_str piece)
{
    struct pollfd room = { .fd = l->write_fd, .events = POLLOUT };
    ssize_t n;

    if (l->own_fd < 0 && poll(&room, 1, 0) != 1)
        return false;
    do
        n = write(l->own_fd >= 0 ? l->own_fd : l->write_fd, piece.p, piece.n);
    while (n < 0 && errno == EINTR);
    return n >= 0 || errno != EAGAIN;
}

/* As many of the held lines as the pipe takes, oldest first. */
static void flush_held(struct logger *l)
{
    struct mu_str rest = mu_str_n(l->held, l->n_held);
    size_t n_lost = l->n_lost;

    while (rest.n) {
        struct mu_str piece = rest;

        if (piece.n > PIPE_BUF) /* every line fits, so there is a newline */
            piece =
                mu_str_sub(rest, 0, (size_t)mu_str_rchr(mu_str_sub(rest, 0, PIPE_BUF), '\n') + 1);
        if (!put(l, piece))
            break;
        rest = mu_str_sub(rest, piece.n, rest.n);
    }
    if (rest.n)
        memmove(l->held, rest.p, rest.n);
    l->n_held = rest.n;
    if (rest.n || !n_lost)
        return;
    l->n_lost = 0;
    MU_LOG(
        NULL, "core", MU_LOG_WARN, "MU0003",
        "piped logger \"%s\" took no lines for a while: %zu of the supervisor's went to standard "
        "error",
        l->spec, n_lost);
}

static void hold(struct logger *l, struct mu_str lines)
{
    if (!l->held)
        l->held = mu_alloc_fails() ? NULL : malloc(HELD_MAX);
    if (!l->held || lines.n > HELD_MAX - l->n_held) {
        l->n_lost++;
        write_stderr(lines);
        return;
    }
    memcpy(l->held + l->n_held, lines.p, lines.n);
    l->n_held += lines.n;
}

void mu_pipelog_keep(void)
{
    is_keeper = true;
}

bool mu_pipelog_take(int fd, struct mu_str piece)
{
    if (!is_keeper)
        return false;
    MU_LIST_FOR(node, &loggers) {
        struct logger *l = logger_of(node);

        if (l->write_fd != fd)
            continue;
        flush_held(l);
        if (l->n_held || !put(l, piece))
            hold(l, piece);
        return true;
    }
    return false;
}

void mu_pipelog_spill(void)
{
    MU_LIST_FOR(node, &loggers) {
        flush_held(logger_of(node));
        spill(logger_of(node));
    }
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
            l->is_retired = false;
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
    open_own(l);
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

/*
 * Without our ends of the pipe the logger sees the end of its input when the last writer is gone.
 * One that died and left lines in the pipe is started once more for them. Held lines are written
 * before: while there is no room for them the ends stay open, and this is to be repeated.
 */
static void retire(struct logger *l)
{
    int n_left = 0;

    l->is_retired = true;
    flush_held(l);
    if (l->read_fd >= 0)
        (void)ioctl(l->read_fd, FIONREAD, &n_left);
    if (l->pid == 0 && n_left > 0)
        restart(l, mu_mono_us() / 1000);
    if (l->pid && l->n_held)
        return;
    close_ends(l);
    if (l->pid == 0)
        destroy(l);
}

bool mu_pipelog_on_exit(pid_t pid, int status, int64_t now_ms)
{
    MU_LIST_FOR(node, &loggers) {
        struct logger *l = logger_of(node);

        if (l->pid != pid)
            continue;
        l->pid = 0;
        if (l->is_retired) { /* this is how it should end */
            destroy(l);
            return true;
        }
        l->due_ms = l->started_ms + RESTART_PAUSE_MS;
        if (l->due_ms <= now_ms)
            restart(l, now_ms);
        flush_held(l);
        MU_LOG(NULL, "core", MU_LOG_ERR, "MU0002",
               "piped logger \"%s\" (pid %ld) %s %d; starting it again", l->spec, (long)pid,
               WIFSIGNALED(status) ? "was ended by signal" : "ended with status",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        return true;
    }
    return false;
}

int64_t mu_pipelog_tick(int64_t now_ms)
{
    int64_t next = -1;

    MU_LIST_FOR_SAFE(node, &loggers) {
        struct logger *l = logger_of(node);
        int64_t wait = HELD_RETRY_MS;

        if (l->write_fd < 0)
            continue;
        if (l->is_retired) {
            retire(l);
            next = HELD_RETRY_MS;
            continue;
        }
        if (l->pid == 0 && l->due_ms <= now_ms)
            restart(l, now_ms);
        flush_held(l);
        if (l->pid == 0)
            wait = l->due_ms - now_ms;
        if ((l->pid == 0 || l->n_held) && (next < 0 || wait < next))
            next = wait;
    }
    return next;
}

void mu_pipelog_child(void)
{
    MU_LIST_FOR(node, &loggers) {
        struct logger *l = logger_of(node);

        if (l->read_fd >= 0)
            close(l->read_fd);
        if (l->own_fd >= 0)
            close(l->own_fd);
        l->read_fd = l->own_fd = -1;
        l->pid = 0;
        l->n_held = 0; /* the supervisor writes them */
    }
    is_keeper = false;
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
    l->is_retired = l->write_fd < 0;
    if (l->write_fd >= 0) {
        mu_set_cloexec(l->write_fd, true);
        open_own(l);
    }
    if (l->read_fd >= 0)
        mu_set_cloexec(l->read_fd, true);
    return MU_OK;
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
