/*
 * The error log: levels, httpd's default line, the format language and its vanishing fields,
 * escaping, many writers, syslog, and the pid after fork.
 */
#include "tmpdir.h"

#include "base/errorlog.h"
#include "base/logout.h"

#include <muster/log.h>
#include <muster/regex.h>

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

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

static struct mu_log *open_log(const char *name)
{
    struct mu_log *log = mu_errorlog_create(arena);
    struct mu_str err = MU_STR_NULL;

    unlink(name);
    assert_non_null(log);
    assert_int_equal(mu_errorlog_open(arena, log, mu_str_c(name), mu_str_c(tmpdir), &err), MU_OK);
    return log;
}

/* Fail unless `text` matches the pattern. */
static void check_match(int line, struct mu_str text, const char *pattern)
{
    struct mu_str err = MU_STR_NULL;
    struct mu_regex *re = mu_regex_compile(arena, mu_str_c(pattern), 0, &err);

    check_str(line, err, MU_STR_NULL);
    if (mu_regex_match(re, text, NULL) == MU_OK)
        return;
    print_error("row at line %d: \"%.*s\" does not match %s\n", line, MU_FMT(text), pattern);
    fail();
}

static void test_default_format(void **state)
{
    struct mu_log *log = open_log("default.log");
    struct mu_log_ctx ctx = { .log = log, .client = MU_S("72.15.99.187:1234") };
    uint8_t levels[MU_LOG_MODULES];
    char want[512];

    (void)state;
    mu_log_levels_init(levels);
    assert_int_equal(mu_log_levels_add(levels, MU_S("debug")), MU_OK);
    mu_errorlog_set_levels(log, levels);
    MU_LOG(&ctx, "core", MU_LOG_ERR, "MU9001", "File does not exist: %s", "/x");
    MU_LOG(&(struct mu_log_ctx){ .log = log }, "ssl", MU_LOG_DEBUG, "MU9002", "hello");
    snprintf(
        want, sizeof(want),
        "^\\[(Sun|Mon|Tue|Wed|Thu|Fri|Sat) [A-Z][a-z]{2} \\d\\d \\d\\d:\\d\\d:\\d\\d\\.\\d{6} "
        "\\d{4}\\] \\[core:error\\] \\[pid %ld:tid %ld\\] \\[client 72\\.15\\.99\\.187:1234\\] "
        "MU9001: File does not exist: /x\n"
        "\\[[^]]*\\] \\[ssl:debug\\] \\[pid \\d+:tid \\d+\\] test_errorlog\\.c\\(\\d+\\): "
        "MU9002: hello\n$",
        (long)getpid(), (long)gettid());
    check_match(__LINE__, slurp(arena, "default.log"), want);
}

static size_t item_of_request(const struct mu_log_ctx *ctx, char item, struct mu_str arg, char *buf,
                              size_t cap)
{
    if (!ctx->request)
        return 0;
    if (item == 'i' && mu_str_eq(arg, MU_S("Referer")))
        return (size_t)snprintf(buf, cap, "http://r/\n");
    if (item == 'k')
        return (size_t)snprintf(buf, cap, "3");
    return 0;
}

static const struct {
    int line;
    const char *format;
    bool has_request;
    enum mu_log_level level;
    const char *want; /* pattern of the whole line, without its newline */
} formats[] = {
    { __LINE__, "%M", false, MU_LOG_ERR, "T1: text" },
    { __LINE__, "[%l] %m|%M%%", false, MU_LOG_WARN, "\\[warn\\] core\\|T1: text%" },
    { __LINE__, "%l %M", false, MU_LOG_EMERG, "emerg T1: text" },
    { __LINE__, "[%t] %M", false, MU_LOG_ERR,
      "\\[\\w{3} \\w{3} \\d\\d \\d\\d:\\d\\d:\\d\\d \\d{4}\\] T1: text" },
    { __LINE__, "%{cu}t %M", false, MU_LOG_ERR,
      "\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d\\.\\d{6} T1: text" },
    { __LINE__, "%{c}t %M", false, MU_LOG_ERR,
      "\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d T1: text" },
    { __LINE__, "%{m}t", false, MU_LOG_ERR, ".*:\\d\\d\\.\\d{3} \\d{4}" },
    /* A field whose item says nothing goes, with the blank before it. */
    { __LINE__, "a [client %a] %M", false, MU_LOG_ERR, "a \\[client 1\\.2\\.3\\.4:5\\] T1: text" },
    { __LINE__, "a [k%k] %M", false, MU_LOG_ERR, "a T1: text" },
    { __LINE__, "a [k %k] %M", false, MU_LOG_ERR, "a \\[k T1: text" }, /* two fields */
    { __LINE__, "a [k %k] %M", true, MU_LOG_ERR, "a \\[k 3\\] T1: text" },
    { __LINE__, "a [k %-k] %M", false, MU_LOG_ERR, "a \\[k -\\] T1: text" },
    { __LINE__, "a %+k %M", true, MU_LOG_ERR, "a 3 T1: text" },
    { __LINE__, "a %+k %M", false, MU_LOG_ERR, NULL }, /* no line at all */
    { __LINE__, "[k\\ %k] %M", true, MU_LOG_ERR, "\\[k 3\\] T1: text" },
    { __LINE__, "x [k\\ %k] %M", false, MU_LOG_ERR, "x T1: text" },
    { __LINE__, "%M% ,\\ referer\\ %{Referer}i", false, MU_LOG_ERR, "T1: text" },
    { __LINE__, "%M% ,\\ referer\\ %{Referer}i", true, MU_LOG_ERR,
      "T1: text, referer http://r/\\\\n" },
    { __LINE__, "a %7F: %M", false, MU_LOG_INFO, "a T1: text" },
    { __LINE__, "a %7F: %M", false, MU_LOG_DEBUG, "a test_errorlog\\.c\\(\\d+\\): T1: text" },
    { __LINE__, "a %E: %M", false, MU_LOG_ERR, "a T1: text" },
    { __LINE__, "a\\tb %M", false, MU_LOG_ERR, "a\tb T1: text" },
    { __LINE__, "%{g}T %M", false, MU_LOG_ERR, "\\d+ T1: text" },
    { __LINE__, MU_ERRORLOG_FORMAT, false, MU_LOG_ERR,
      "\\[[^]]*\\] \\[core:error\\] \\[pid \\d+:tid \\d+\\] \\[client 1\\.2\\.3\\.4:5\\] T1: text" },
};

static void check_format(size_t i, const uint8_t *levels)
{
    struct mu_log *log = open_log("format.log");
    struct mu_log_ctx ctx = { .log = log,
                              .client = MU_S("1.2.3.4:5"),
                              .request = formats[i].has_request ? log : NULL };
    struct mu_str err = MU_STR_NULL;
    int line = formats[i].line;
    char want[512];

    mu_errorlog_set_levels(log, levels);
    check_int(line, mu_errorlog_set_format(arena, log, mu_str_c(formats[i].format), &err), MU_OK);
    MU_LOG(&ctx, "core", formats[i].level, "T1", "text");
    snprintf(want, sizeof(want), formats[i].want ? "^%s\n$" : "^$", formats[i].want);
    check_match(line, slurp(arena, "format.log"), want);
}

static void test_format(void **state)
{
    uint8_t levels[MU_LOG_MODULES];

    (void)state;
    mu_log_levels_init(levels);
    assert_int_equal(mu_log_levels_add(levels, MU_S("debug")), MU_OK);
    mu_errorlog_set_items(item_of_request);
    for (size_t i = 0; i < MU_ARRAY_LEN(formats); i++)
        check_format(i, levels);
    mu_errorlog_set_items(NULL);
}

static void test_format_errors(void **state)
{
    static const struct {
        int line;
        const char *format, *in_message;
    } rows[] = {
        { __LINE__, "%M %q", "\"%q\"" },
        { __LINE__, "%{Referer", "lacks a \"}\"" },
        { __LINE__, "100%", "\"%\"" },
        { __LINE__, "%-", "\"%-\"" },
    };
    struct mu_log *log = open_log("bad.log");

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_str err = MU_STR_NULL;

        check_int(rows[i].line, mu_errorlog_set_format(arena, log, mu_str_c(rows[i].format), &err),
                  MU_BAD);
        if (mu_str_find(err, mu_str_c(rows[i].in_message)) < 0)
            check_str(rows[i].line, err, mu_str_c(rows[i].in_message));
    }
}

static void test_escaping_and_length(void **state)
{
    struct mu_log *log = open_log("escape.log");
    struct mu_log_ctx ctx = { .log = log, .client = MU_S("x]\n[client y") };
    struct mu_str err;
    struct mu_str text;
    char big[10000];

    (void)state;
    assert_int_equal(mu_errorlog_set_format(arena, log, MU_S("%a %M"), &err), MU_OK);
    MU_LOG(&ctx, "core", MU_LOG_ERR, "", "a\nb\r\t\b\v\\\"\x01\x7f\xc3%s", "\x1b[1m");
    check_str(__LINE__, slurp(arena, "escape.log"),
              MU_S("x]\\n[client y a\\nb\\r\\t\\b\\v\\\\\"\\x01\\x7f\\xc3\\x1b[1m\n"));

    log = open_log("long.log");
    memset(big, '\n', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    errno = ENOENT;
    MU_LOG(&(struct mu_log_ctx){ .log = log }, "core", MU_LOG_ERR, "T", "%s", big);
    assert_int_equal(errno, ENOENT);
    text = slurp(arena, "long.log");
    assert_int_equal(text.n, 8192);
    assert_int_equal(mu_str_chr(text, '\n'), 8191);
}

static void test_levels(void **state)
{
    struct mu_log *log = open_log("levels.log");
    struct mu_log_ctx ctx = { .log = log };
    uint8_t server[MU_LOG_MODULES];
    uint8_t dir[MU_LOG_MODULES];
    enum mu_log_level level;

    (void)state;
    /* Without any table: warn, and notices, which nothing keeps out of a file. */
    assert_true(mu_log_is_on(&ctx, "core", MU_LOG_WARN));
    assert_true(mu_log_is_on(&ctx, "core", MU_LOG_NOTICE));
    assert_false(mu_log_is_on(&ctx, "core", MU_LOG_INFO));

    mu_log_levels_init(server);
    assert_int_equal(mu_log_levels_add(server, MU_S("error")), MU_OK);
    assert_int_equal(mu_log_levels_add(server, MU_S("mod_rewrite.c:TRACE3")), MU_OK);
    assert_int_equal(mu_log_levels_add(server, MU_S("ssl_module:warn")), MU_OK);
    mu_errorlog_set_levels(log, server);
    assert_false(mu_log_is_on(&ctx, "core", MU_LOG_WARN));
    assert_true(mu_log_is_on(&ctx, "core", MU_LOG_ERR));
    assert_true(mu_log_is_on(&ctx, "ssl", MU_LOG_WARN));
    assert_false(mu_log_is_on(&ctx, "ssl", MU_LOG_INFO));
    assert_true(mu_log_is_on(&ctx, "rewrite", MU_LOG_TRACE3));
    assert_false(mu_log_is_on(&ctx, "rewrite", MU_LOG_TRACE4));
    assert_false(mu_log_is_on(&ctx, "never-heard-of", MU_LOG_WARN));

    /* A directory's levels come first; what they leave unset is the server's. */
    mu_log_levels_init(dir);
    assert_int_equal(mu_log_levels_add(dir, MU_S("ssl:debug")), MU_OK);
    ctx.levels = dir;
    assert_true(mu_log_is_on(&ctx, "ssl", MU_LOG_DEBUG));
    assert_true(mu_log_is_on(&ctx, "rewrite", MU_LOG_TRACE3));
    assert_false(mu_log_is_on(&ctx, "core", MU_LOG_WARN));

    mu_log_levels_merge(dir, server, dir);
    assert_int_equal(mu_log_levels_get(dir, mu_log_module_find("ssl")), MU_LOG_DEBUG);
    assert_int_equal(mu_log_levels_get(dir, mu_log_module_find("rewrite")), MU_LOG_TRACE3);
    assert_int_equal(mu_log_levels_get(dir, 0), MU_LOG_ERR);

    /* A level for everything forgets those for modules. */
    assert_int_equal(mu_log_levels_add(server, MU_S("crit")), MU_OK);
    ctx.levels = NULL;
    assert_false(mu_log_is_on(&ctx, "rewrite", MU_LOG_ERR));

    assert_int_equal(mu_log_levels_add(server, MU_S("loud")), MU_BAD);
    assert_int_equal(mu_log_levels_add(server, MU_S("ssl:loud")), MU_BAD);
    assert_int_equal(mu_log_levels_add(server, MU_S(":warn")), MU_BAD);
    assert_int_equal(mu_log_module_index(MU_S("mod_ssl.c")), mu_log_module_index(MU_S("ssl")));
    assert_int_equal(mu_log_module_index(MU_S("ssl_module")), mu_log_module_index(MU_S("ssl")));
    assert_int_equal(mu_log_module_index(MU_S("mod_cgid.c")), mu_log_module_index(MU_S("cgi")));
    assert_int_equal(mu_log_module_find("unknown"), 0);
    assert_true(mu_log_level_parse(MU_S("Trace8"), &level));
    assert_string_equal(mu_log_level_name(level), "trace8");
}

enum { WRITERS = 4, LINES = 500 };

static void *write_lines(void *arg)
{
    struct mu_log_ctx ctx = { .log = arg };
    char text[300];

    for (int i = 0; i < LINES; i++) {
        memset(text, 'a' + i % 26, sizeof(text));
        text[100 + i % 200 - 1] = '\0';
        MU_LOG(&ctx, "core", MU_LOG_ERR, "T", "%s", text);
    }
    return NULL;
}

static void test_writers_do_not_interleave(void **state)
{
    struct mu_log *log = open_log("many.log");
    pthread_t threads[WRITERS];
    struct mu_str err;
    struct mu_str rest;
    struct mu_str line;
    int status;
    size_t n = 0;

    (void)state;
    assert_int_equal(mu_errorlog_set_format(arena, log, MU_S("%M"), &err), MU_OK);
    pid_t pid = fork();
    if (pid == 0) {
        write_lines(log);
        _exit(0);
    }
    for (size_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, log), 0);
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    rest = slurp(arena, "many.log");
    while (mu_str_split(&rest, '\n', &line)) {
        if (line.n == 0)
            continue;
        n++;
        assert_true(mu_str_starts(line, MU_S("T: ")));
        for (size_t i = 4; i < line.n; i++)
            assert_int_equal(line.p[i], line.p[3]);
    }
    assert_int_equal(n, (WRITERS + 1) * LINES);
}

static void test_pid_after_fork(void **state)
{
    struct mu_log *log = open_log("fork.log");
    struct mu_log_ctx ctx = { .log = log };
    struct mu_str err;
    char want[64];
    int status;
    pid_t pid;

    (void)state;
    assert_int_equal(mu_errorlog_set_format(arena, log, MU_S("%P:%T"), &err), MU_OK);
    MU_LOG(&ctx, "core", MU_LOG_ERR, "T", "x");
    pid = fork();
    if (pid == 0) {
        MU_LOG(&ctx, "core", MU_LOG_ERR, "T", "x");
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    snprintf(want, sizeof(want), "%ld:%ld\n%ld:%ld\n", (long)getpid(), (long)gettid(), (long)pid,
             (long)pid);
    check_str(__LINE__, slurp(arena, "fork.log"), mu_str_c(want));
}

static void test_main_log_and_stderr(void **state)
{
    struct mu_log *log = open_log("main.log");
    struct mu_log *err_log;
    struct mu_str err;
    int kept = dup(STDERR_FILENO);
    int fd;

    (void)state;
    mu_errorlog_set_main(log);
    MU_LOG(NULL, "core", MU_LOG_ERR, "T", "to the main log");
    mu_errorlog_set_main(NULL);
    assert_true(mu_str_ends(slurp(arena, "main.log"), MU_S("T: to the main log\n")));

    fd = open("stderr.log", O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
    dup2(fd, STDERR_FILENO);
    MU_LOG(NULL, "core", MU_LOG_ERR, "T", "one");
    err_log = mu_errorlog_create(arena);
    assert_int_equal(mu_errorlog_open(arena, err_log, MU_S("/dev/stderr"), MU_S("/"), &err), MU_OK);
    MU_LOG(&(struct mu_log_ctx){ .log = err_log }, "core", MU_LOG_ERR, "T", "two");
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(fd);
    check_match(__LINE__, slurp(arena, "stderr.log"), "T: one\n.*T: two\n$");
}

static void test_open_errors(void **state)
{
    static const struct {
        int line;
        const char *dest, *in_message;
        enum mu_rc rc;
    } rows[] = {
        { __LINE__, "no/such/dir.log", "create its directory", MU_EIO },
        { __LINE__, "", "empty", MU_BAD },
        { __LINE__, "syslog:nowhere", "no syslog facility \"nowhere\"", MU_BAD },
        { __LINE__, "|", "names no program", MU_BAD },
        { __LINE__, "|/no/such/program", "No such file", MU_EIO },
    };
    struct mu_log *log = open_log("errors.log");

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_str err = MU_STR_NULL;

        check_int(rows[i].line,
                  mu_errorlog_open(arena, log, mu_str_c(rows[i].dest), mu_str_c(tmpdir), &err),
                  rows[i].rc);
        if (mu_str_find(err, mu_str_c(rows[i].in_message)) < 0)
            check_str(rows[i].line, err, mu_str_c(rows[i].in_message));
    }
    MU_LOG(&(struct mu_log_ctx){ .log = log }, "core", MU_LOG_ERR, "T", "goes on as before");
    assert_true(mu_str_ends(slurp(arena, "errors.log"), MU_S("goes on as before\n")));
}

static void test_syslog(void **state)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct mu_log *log = mu_errorlog_create(arena);
    struct mu_log_ctx ctx = { .log = log };
    struct mu_str err = MU_STR_NULL;
    char text[512];
    char want[256];
    ssize_t n;

    (void)state;
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/syslog", tmpdir);
    assert_int_equal(bind(fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
    mu_logout_set_syslog_path(sa.sun_path);
    assert_int_equal(mu_errorlog_open(arena, log, MU_S("syslog:user:web"), MU_S("/"), &err), MU_OK);
    MU_LOG(&ctx, "core", MU_LOG_ERR, "T", "message");
    n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
    snprintf(want, sizeof(want),
             "^<11>[A-Z][a-z]{2} [ \\d]\\d \\d\\d:\\d\\d:\\d\\d web\\[%ld\\]: \\[core:error\\] "
             "\\[pid %ld:tid %ld\\] T: message$",
             (long)getpid(), (long)getpid(), (long)gettid());
    check_match(__LINE__, mu_str_n(text, n > 0 ? (size_t)n : 0), want);
    assert_false(mu_log_is_on(&ctx, "core", MU_LOG_NOTICE)); /* syslog may do without notices */

    assert_int_equal(mu_errorlog_open(arena, log, MU_S("syslog"), MU_S("/"), &err), MU_OK);
    MU_LOG(&ctx, "core", MU_LOG_CRIT, "T", "message");
    n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
    check_match(__LINE__, mu_str_n(text, n > 0 ? (size_t)n : 0), "^<186>.* muster\\[");
    close(fd);
    MU_LOG(&ctx, "core", MU_LOG_CRIT, "T", "nobody listens: no harm");
    mu_logout_set_syslog_path("/dev/log");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_default_format),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_format_errors),
        cmocka_unit_test(test_escaping_and_length),
        cmocka_unit_test(test_writers_do_not_interleave),
        cmocka_unit_test(test_pid_after_fork),
        cmocka_unit_test(test_main_log_and_stderr),
        cmocka_unit_test(test_open_errors),
        cmocka_unit_test(test_syslog),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
