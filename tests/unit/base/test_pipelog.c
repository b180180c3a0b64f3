/*
 * Piped loggers: what is executed, restart on the same pipe without losing a line, the pause
 * between restarts, sharing, retirement, the way across a re-exec, and lines that do not
 * interleave. The clock is the test's own, so nothing here waits for a second to pass.
 */
#include "tmpdir.h"

#include "base/errorlog.h"
#include "base/fault.h"
#include "base/logout.h"
#include "base/pipelog.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <muster/clock.h>

/* Signals 32 and 33 are the C library's own: it lets nobody change them, so a test that was started
 * with one of them ignored hands that on. */
#define LIBC_SIGNALS UINT64_C(0x180000000)

static struct mu_arena *arena;

static int setup(void **state)
{
    arena = mu_arena_create(0);
    return arena ? tmpdir_setup(state) : -1;
}

static int teardown(void **state)
{
    mu_arena_destroy(arena);
    return tmpdir_teardown(state);
}

static int open_logger(const char *spec)
{
    struct mu_str err = MU_STR_NULL;
    int fd = -1;

    if (mu_pipelog_open(arena, mu_str_c(spec), &fd, &err) != MU_OK)
        fail_msg("%s: %.*s", spec, MU_FMT(err));
    return fd;
}

static void put(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static pid_t pid_of(const char *spec)
{
    struct mu_pipelog_state s;

    for (size_t it = 0; mu_pipelog_export(&it, &s);)
        if (mu_str_eq(s.spec, mu_str_c(spec)))
            return s.pid;
    return -1;
}

/* Close everything and see every logger end. */
static void finish(void)
{
    mu_pipelog_close_all();
    for (pid_t pid; (pid = mu_pipelog_any_pid()) != 0;) {
        int status;

        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(mu_pipelog_on_exit(pid, status, 0));
    }
    assert_int_equal(mu_pipelog_close_all(), 0);
}

static void test_commands(void **state)
{
    (void)state;
    put(open_logger("|/bin/sh -c 'cat > plain'"), "one\n");
    put(open_logger("||/bin/sh -c \"cat > twobars\""), "two\n");
    put(open_logger("|$cat > shell; echo done >> shell"), "three\n");
    finish();
    check_str(__LINE__, slurp(arena, "plain"), MU_S("one\n"));
    check_str(__LINE__, slurp(arena, "twobars"), MU_S("two\n"));
    check_str(__LINE__, slurp(arena, "shell"), MU_S("three\ndone\n"));
}

static void test_logger_starts_clean(void **state)
{
    int leaked = open("/dev/null", O_RDONLY); /* not close-on-exec */
    uint64_t blocked, ignored;
    sigset_t set;
    struct mu_str text;

    (void)state;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    open_logger("|$cat; ls /proc/self/fd > fds; grep -E 'Sig(Blk|Ign)' /proc/self/status > sigs; "
                "read -r pid comm state parent group sid rest < /proc/$$/stat; "
                "[ $sid = $$ ] && echo own > sid");
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    finish();
    text = slurp(arena, "fds"); /* 0, 1, 2 and the directory itself */
    check_str(__LINE__, text, MU_S("0\n1\n2\n3\n"));
    text = slurp(arena, "sigs");
    assert_int_equal(
        sscanf(mu_cstr(arena, text), "SigBlk: %" SCNx64 " SigIgn: %" SCNx64, &blocked, &ignored),
        2);
    assert_int_equal(blocked & ~LIBC_SIGNALS, 0);
    assert_int_equal(ignored & ~LIBC_SIGNALS, 0);
    check_str(__LINE__, slurp(arena, "sid"), MU_S("own\n"));
    close(leaked);
}

static void test_restart_loses_no_line(void **state)
{
    static const char spec[] =
        "|$while read -r l; do echo \"$l\" >> lines; [ \"$l\" = die ] && exit 3; done";
    int64_t now = mu_mono_us() / 1000; /* at the latest when the first is started */
    int fd = open_logger(spec);
    int64_t took = mu_mono_us() / 1000 - now, pause;
    pid_t first = pid_of(spec);
    pid_t second;
    int status;

    (void)state;
    assert_false(mu_pipelog_on_exit(getpid(), 0, now));
    put(fd, "1\ndie\n");
    assert_int_equal(waitpid(first, &status, 0), first);
    put(fd, "2\n3\n"); /* nobody reads: they wait in the pipe */
    assert_true(mu_pipelog_on_exit(first, status, now));
    assert_int_equal(pid_of(spec), 0); /* it lived less than a second: a pause first */
    pause = mu_pipelog_tick(now);
    assert_in_range(pause, 1000, 1000 + took);
    assert_int_equal(pid_of(spec), 0);
    assert_int_equal(mu_pipelog_tick(now + pause), -1);
    second = pid_of(spec);
    assert_true(second > 0 && second != first);

    /* One that lived longer is started again at once. */
    put(fd, "die\n");
    assert_int_equal(waitpid(second, &status, 0), second);
    assert_true(mu_pipelog_on_exit(second, status, now + pause + 4000));
    assert_true(pid_of(spec) > 0 && pid_of(spec) != second);
    put(fd, "4\n");
    finish();
    check_str(__LINE__, slurp(arena, "lines"), MU_S("1\ndie\n2\n3\ndie\n4\n"));
}

static void test_restart_that_fails_is_tried_again(void **state)
{
    static const char spec[] = "|./logger.sh";
    FILE *f = fopen("logger.sh", "w");
    int64_t now;
    int status;
    int fd;
    pid_t pid;

    (void)state;
    fputs("#!/bin/sh\nhead -n 1 >> tried\n", f);
    fclose(f);
    assert_int_equal(chmod("logger.sh", 0755), 0);
    fd = open_logger(spec);
    now = mu_mono_us() / 1000;
    put(fd, "1\n");
    pid = pid_of(spec);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(rename("logger.sh", "gone.sh"), 0);
    put(fd, "2\n");
    assert_true(mu_pipelog_on_exit(pid, status, now + 2000)); /* fails, and says so */
    assert_int_equal(pid_of(spec), 0);
    assert_int_equal(mu_pipelog_tick(now + 2500), 500);
    assert_int_equal(rename("gone.sh", "logger.sh"), 0);
    assert_int_equal(mu_pipelog_tick(now + 3000), -1);
    pid = pid_of(spec);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(mu_pipelog_on_exit(pid, status, now + 3001));
    put(fd, "3\n"); /* left in the pipe when all is closed: one more start, for this line */
    finish();
    check_str(__LINE__, slurp(arena, "tried"), MU_S("1\n2\n3\n"));
}

static void test_sharing_and_retirement(void **state)
{
    static const char spec[] = "|$cat >> shared";
    static const char other[] = "|$cat >> other";
    struct mu_pipelog_state s[2];
    struct mu_pipelog_state more;
    int fd = open_logger(spec);
    size_t it = 0;
    int status;
    int writer;

    (void)state;
    assert_int_equal(open_logger(spec), fd);
    open_logger(other);
    assert_true(mu_pipelog_export(&it, &s[0]));
    assert_true(mu_pipelog_export(&it, &s[1]));
    assert_false(mu_pipelog_export(&it, &more));

    /*
     * The way across a re-exec, in one process: the descriptors and pids are handed to a registry
     * that knows nothing yet. The old entries are dropped as a new program would not have them.
     */
    for (size_t i = 0; i < 2; i++) {
        struct mu_pipelog_state copy = s[i];

        copy.spec = mu_str_dup(arena, s[i].spec);
        copy.write_fd = dup(s[i].write_fd);
        copy.read_fd = dup(s[i].read_fd);
        s[i] = copy;
    }
    pid_t pids[2] = { s[0].pid, s[1].pid };
    mu_pipelog_close_all(); /* retires the two; the duplicates keep their pipes open */
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(mu_pipelog_import(&s[i]), MU_OK);
    assert_int_equal(fcntl(s[0].write_fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(s[0].read_fd, F_GETFD), FD_CLOEXEC);

    /* The new configuration names the first only; an old child still writes to the other. */
    writer = dup(s[1].write_fd);
    assert_int_equal(open_logger(spec), s[0].write_fd);
    mu_pipelog_retire_unclaimed();
    put(writer, "late\n");
    put(s[0].write_fd, "kept\n");
    close(writer);
    assert_int_equal(waitpid(pids[1], &status, 0), pids[1]);
    assert_true(WIFEXITED(status));
    /* Both entries of that pid, the old and the imported one, are gone and not started again. */
    assert_true(mu_pipelog_on_exit(pids[1], status, 0));
    assert_true(mu_pipelog_on_exit(pids[1], status, 0));
    assert_false(mu_pipelog_on_exit(pids[1], status, 0));
    mu_pipelog_close_all();
    assert_int_equal(waitpid(pids[0], &status, 0), pids[0]);
    assert_true(mu_pipelog_on_exit(pids[0], status, 0));
    assert_true(mu_pipelog_on_exit(pids[0], status, 0));
    assert_int_equal(mu_pipelog_any_pid(), 0);
    check_str(__LINE__, slurp(arena, "shared"), MU_S("kept\n"));
    check_str(__LINE__, slurp(arena, "other"), MU_S("late\n"));
}

static void test_child_keeps_only_the_write_end(void **state)
{
    struct mu_pipelog_state s;
    size_t it = 0;
    int fd = open_logger("|$cat > child");
    int status;
    pid_t pid;

    (void)state;
    assert_true(mu_pipelog_export(&it, &s));
    pid = fork();
    if (pid == 0) {
        mu_pipelog_child();
        _exit(fcntl(s.read_fd, F_GETFD) == -1 && write(fd, "from the child\n", 15) == 15 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    finish();
    check_str(__LINE__, slurp(arena, "child"), MU_S("from the child\n"));
}

static void test_open_refuses(void **state)
{
    static const struct {
        int line;
        const char *spec;
        enum mu_rc rc;
    } rows[] = {
        { __LINE__, "|", MU_BAD },       { __LINE__, "||", MU_BAD },
        { __LINE__, "| ", MU_BAD },      { __LINE__, "|$", MU_BAD },
        { __LINE__, "|cat 'x", MU_BAD }, { __LINE__, "|/no/such/program", MU_EIO },
        { __LINE__, "|/", MU_EIO },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_str err = MU_STR_NULL;
        int fd;

        check_int(rows[i].line, mu_pipelog_open(arena, mu_str_c(rows[i].spec), &fd, &err),
                  rows[i].rc);
        check_int(rows[i].line, err.n > 0, true);
    }
    for (int64_t n = 0; n < 3; n++) {
        struct mu_str err;
        int fd;

        mu_alloc_fail_after(n);
        check_int((int)n, mu_pipelog_open(arena, MU_S("|cat"), &fd, &err), MU_NOMEM);
        mu_alloc_fail_after(-1);
    }
    assert_int_equal(mu_pipelog_any_pid(), 0); /* nothing is left of them */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

enum { WRITERS = 4, LINES = 200 };

/* Lines longer and shorter than a pipe takes whole, some in bunches as buffered logs write them. */
static void write_lines(const struct mu_logout *out, char name)
{
    char text[3 * PIPE_BUF];

    for (size_t i = 0; i < LINES; i++) {
        size_t n = i % 50 == 0 ? PIPE_BUF + 100 : 200 + i;

        memset(text, name, 2 * n);
        text[n - 1] = text[2 * n - 1] = '\n';
        mu_logout_write(out, MU_LOG_ERR, mu_str_n(text, 2 * n));
    }
}

static void test_lines_do_not_interleave(void **state)
{
    struct mu_logout out;
    struct mu_str err;
    struct mu_str rest;
    struct mu_str line;
    size_t n = 0;
    size_t n_cut = 0;
    int status;
    pid_t pids[WRITERS];

    (void)state;
    assert_int_equal(mu_logout_open(arena, MU_S("|$cat > busy"), MU_S("/"), &out, &err), MU_OK);
    for (int i = 0; i < WRITERS; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            mu_pipelog_child();
            write_lines(&out, (char)('a' + i));
            _exit(0);
        }
    }
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    finish();
    rest = slurp(arena, "busy");
    while (mu_str_split(&rest, '\n', &line)) {
        size_t same = 1;

        if (line.n == 0)
            continue;
        n++;
        while (same < line.n && line.p[same] == line.p[0])
            same++;
        if (same == line.n)
            continue;
        assert_int_equal(line.n, PIPE_BUF - 1);
        check_str(__LINE__, mu_str_sub(line, same, line.n), MU_S("..."));
        n_cut++;
    }
    assert_int_equal(n, WRITERS * LINES * 2);
    assert_int_equal(n_cut, WRITERS * LINES / 50 * 2);
}

/* A supervisor's error log to a logger that has read nothing and is stopped. */
static pid_t stopped_logger(const char *spec)
{
    struct mu_log *log = mu_errorlog_create(arena);
    struct mu_str err;
    int status;
    pid_t pid;

    assert_non_null(log);
    assert_int_equal(mu_errorlog_open(arena, log, mu_str_c(spec), MU_S("/"), &err), MU_OK);
    assert_int_equal(mu_errorlog_set_format(arena, log, MU_S("%M"), &err), MU_OK);
    mu_errorlog_set_main(log);
    mu_pipelog_keep();
    pid = pid_of(spec);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    return pid;
}

enum { LINE_WIDTH = 100 };

/* Lines of 100 bytes with their number in front. */
static void log_lines(int n)
{
    for (int i = 0; i < n; i++)
        mu_log_write(NULL, "core", MU_LOG_ERR, NULL, "%-*d", LINE_WIDTH - 2, i);
}

/* The numbered lines count up from `from`; returns how many there are. */
static int check_numbers(struct mu_str text, int from)
{
    struct mu_str line;
    int n = from;

    while (mu_str_split(&text, '\n', &line)) {
        if (line.n < LINE_WIDTH - 2 || line.p[0] < '0' || line.p[0] > '9')
            continue;
        assert_int_equal(atoi(mu_cstr(arena, line)), n);
        n++;
    }
    return n - from;
}

/* The supervisor's turns until nothing waits any more. */
static void write_held(int64_t now)
{
    while (mu_pipelog_tick(now) >= 0)
        poll(NULL, 0, 1);
}

/* More than a pipe's 64 KiB and less than that with what is held: write(2) would wait for good. */
enum { MANY = 1000 };

static void test_full_pipe_of_a_dead_logger(void **state)
{
    static const char spec[] = "|/bin/sh -c 'exec cat >> dead'";
    pid_t pid = stopped_logger(spec);
    int64_t now = mu_mono_us() / 1000 + 5000;
    struct mu_str text;
    int status;

    (void)state;
    log_lines(MANY);
    assert_true(mu_pipelog_tick(now) > 0); /* there are lines that wait */
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(mu_pipelog_on_exit(pid, status, now)); /* says so in that very log */
    assert_true(pid_of(spec) > 0 && pid_of(spec) != pid);
    write_held(now);
    mu_errorlog_set_main(NULL);
    finish();
    text = slurp(arena, "dead");
    assert_int_equal(check_numbers(text, 0), MANY);
    assert_true(mu_str_find(text, MU_S("MU0002")) > 0);
}

static void test_held_lines_are_written_at_the_end(void **state)
{
    static const char spec[] = "|/bin/sh -c 'exec cat >> end'";
    pid_t pid = stopped_logger(spec);

    (void)state;
    log_lines(MANY);
    mu_errorlog_set_main(NULL);
    assert_int_equal(mu_pipelog_close_all(), 1);
    assert_int_equal(mu_pipelog_any_pid(), pid);
    assert_int_equal(kill(pid, SIGCONT), 0);
    write_held(0); /* the supervisor's turns; the last one closes the pipe */
    finish();
    assert_int_equal(check_numbers(slurp(arena, "end"), 0), MANY);
}

/* What is more than may be held goes to standard error, and the log says how many lines that were. */
static void test_held_lines_have_a_limit(void **state)
{
    static const char spec[] = "|/bin/sh -c 'exec cat >> limit'";
    int stderr_copy = dup(STDERR_FILENO);
    int file = open("stderr", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    pid_t pid = stopped_logger(spec);
    struct mu_str text;
    int n;

    (void)state;
    assert_int_equal(dup2(file, STDERR_FILENO), STDERR_FILENO);
    log_lines(2 * MANY);
    dup2(stderr_copy, STDERR_FILENO);
    close(stderr_copy);
    close(file);
    assert_int_equal(kill(pid, SIGCONT), 0);
    write_held(0);
    mu_errorlog_set_main(NULL);
    finish();
    text = slurp(arena, "limit");
    n = check_numbers(text, 0);
    assert_in_range(n, MANY, 2 * MANY - 1);
    assert_int_equal(check_numbers(slurp(arena, "stderr"), n), 2 * MANY - n);
    assert_true(mu_str_find(text, mu_fmt(arena, "no lines for a while: %d of", 2 * MANY - n)) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_logger_starts_clean),
        cmocka_unit_test(test_restart_loses_no_line),
        cmocka_unit_test(test_restart_that_fails_is_tried_again),
        cmocka_unit_test(test_sharing_and_retirement),
        cmocka_unit_test(test_child_keeps_only_the_write_end),
        cmocka_unit_test(test_open_refuses),
        cmocka_unit_test(test_lines_do_not_interleave),
        cmocka_unit_test(test_full_pipe_of_a_dead_logger),
        cmocka_unit_test(test_held_lines_are_written_at_the_end),
        cmocka_unit_test(test_held_lines_have_a_limit),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
