/*
 * What a process does to itself: command words, pid files, directories, systemd's notifications,
 * and the way from root to another user, which is shown in a child by trying to get back.
 */
#include "tmpdir.h"

#include "base/proc.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

static void test_argv(void **state)
{
    static const struct {
        int line;
        const char *command;
        const char *want[6]; /* NULL first: refused */
    } rows[] = {
        { __LINE__,
          "/usr/bin/rotatelogs -l /var/log/x 86400",
          { "/usr/bin/rotatelogs", "-l", "/var/log/x", "86400" } },
        { __LINE__, "  a\t b  ", { "a", "b" } },
        { __LINE__, "a 'b c' \"d e\" f\\ g", { "a", "b c", "d e", "f g" } },
        { __LINE__, "a b'c d'\"e\"f", { "a", "bc def" } },
        { __LINE__, "a '' \"\"", { "a", "", "" } },
        { __LINE__, "a '\\' \"\\\"\" \\\\", { "a", "\\", "\"", "\\" } },
        { __LINE__, "a 'b", { NULL } },
        { __LINE__, "a \"b", { NULL } },
    };
    struct mu_arena *a = mu_arena_create(0);

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        char **argv = mu_argv_split(a, mu_str_c(rows[i].command));
        size_t n = 0;

        check_int(rows[i].line, argv != NULL, rows[i].want[0] != NULL);
        for (; argv && rows[i].want[n]; n++)
            check_str(rows[i].line, mu_str_c(argv[n]), mu_str_c(rows[i].want[n]));
        if (argv)
            check_int(rows[i].line, argv[n] == NULL, true);
    }
    assert_null(mu_argv_split(a, MU_S(" "))[0]);
    mu_arena_destroy(a);
}

static void test_pidfile(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    struct stat st;
    pid_t pid = 0;
    FILE *f;

    (void)state;
    assert_int_equal(mu_pidfile_read("none.pid", &pid), MU_NOENT);
    assert_int_equal(mu_pidfile_write("x.pid", 4711), MU_OK);
    check_str(__LINE__, slurp(a, "x.pid"), MU_S("4711\n"));
    assert_int_equal(mu_pidfile_read("x.pid", &pid), MU_OK);
    assert_int_equal(pid, 4711);
    assert_int_equal(mu_pidfile_write("x.pid", 12), MU_OK);
    assert_int_equal(mu_pidfile_read("x.pid", &pid), MU_OK);
    assert_int_equal(pid, 12);

    /* A link that somebody laid is replaced; its target is not written to. */
    assert_int_equal(symlink("target", "link.pid"), 0);
    assert_int_equal(mu_pidfile_write("link.pid", 13), MU_OK);
    assert_int_equal(lstat("link.pid", &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(access("target", F_OK), -1);

    assert_int_equal(mu_pidfile_write("no/such/x.pid", 1), MU_EIO);
    assert_int_equal(errno, ENOENT);
    static const char *const bad[] = { "", "abc", "-5", "0", "99999999999", "12 13" };
    for (size_t i = 0; i < MU_ARRAY_LEN(bad); i++) {
        f = fopen("bad.pid", "w");
        assert_non_null(f);
        fputs(bad[i], f);
        fclose(f);
        check_int((int)i, mu_pidfile_read("bad.pid", &pid), MU_BAD);
    }
    mu_arena_destroy(a);
}

static void test_mkdir_all(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(mu_mkdir_all("d/e/f", 0755), MU_OK);
    assert_int_equal(stat("d/e/f", &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(mu_mkdir_all("d/e/f", 0755), MU_OK);
    assert_int_equal(mu_mkdir_all("d/e/g/", 0755), MU_OK);
    assert_int_equal(stat("d/e/g", &st), 0);
    close(open("d/file", O_CREAT | O_WRONLY, 0644));
    assert_int_equal(mu_mkdir_all("d/file", 0755), MU_EIO);
    assert_int_equal(errno, ENOTDIR);
    assert_int_equal(mu_mkdir_all("d/file/x", 0755), MU_EIO);
}

static void test_descriptors(void **state)
{
    int a = open("/dev/null", O_RDONLY);
    int status;
    pid_t pid;

    (void)state;
    assert_true(mu_set_cloexec(a, true));
    assert_int_equal(fcntl(a, F_GETFD), FD_CLOEXEC);
    assert_true(mu_set_cloexec(a, false));
    assert_int_equal(fcntl(a, F_GETFD), 0);
    assert_false(mu_set_cloexec(9999, true));
    pid = fork();
    if (pid == 0) {
        sigset_t set;
        struct sigaction sa;

        sigfillset(&set);
        sigprocmask(SIG_BLOCK, &set, NULL);
        signal(SIGPIPE, SIG_IGN);
        mu_signals_default();
        sigprocmask(SIG_BLOCK, NULL, &set);
        sigaction(SIGPIPE, NULL, &sa);
        mu_close_from(a);
        _exit(fcntl(a, F_GETFD) == -1 && fcntl(a - 1, F_GETFD) >= 0 &&
                      !sigismember(&set, SIGTERM) && sa.sa_handler == SIG_DFL
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(a);
}

static int notify_socket(const char *name, bool is_abstract)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    memcpy(sa.sun_path, name, strlen(name));
    if (is_abstract)
        sa.sun_path[0] = '\0';
    assert_int_equal(bind(fd, (const struct sockaddr *)&sa, len), 0);
    return fd;
}

static void test_sd_notify(void **state)
{
    char path[128];
    char text[256];
    char want[256];
    ssize_t n;
    int fd;

    (void)state;
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(mu_sd_ready("x"), MU_NOENT);

    snprintf(path, sizeof(path), "%s/notify", tmpdir);
    fd = notify_socket(path, false);
    setenv("NOTIFY_SOCKET", path, 1);
    assert_int_equal(mu_sd_ready("3 children"), MU_OK);
    n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
    snprintf(want, sizeof(want), "READY=1\nMAINPID=%ld\nSTATUS=3 children", (long)getpid());
    check_str(__LINE__, mu_str_n(text, (size_t)n), mu_str_c(want));
    assert_int_equal(mu_sd_reloading(), MU_OK);
    n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
    assert_true(mu_str_starts(mu_str_n(text, (size_t)n), MU_S("RELOADING=1\nMONOTONIC_USEC=")));
    close(fd);
    assert_int_equal(mu_sd_stopping(), MU_EIO);
    assert_int_equal(errno, ECONNREFUSED);

    snprintf(path, sizeof(path), "@muster-unit-%ld", (long)getpid());
    fd = notify_socket(path, true);
    setenv("NOTIFY_SOCKET", path, 1);
    assert_int_equal(mu_sd_stopping(), MU_OK);
    n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
    check_str(__LINE__, mu_str_n(text, (size_t)n), MU_S("STOPPING=1"));
    close(fd);
    setenv("NOTIFY_SOCKET", "relative", 1);
    assert_int_equal(mu_sd_stopping(), MU_EIO);
    unsetenv("NOTIFY_SOCKET");
}

static void test_identity_resolve(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_identity id;
    struct mu_str err = MU_STR_NULL;

    (void)state;
    assert_int_equal(mu_identity_resolve(a, MU_S("nobody"), MU_STR_NULL, &id, &err), MU_OK);
    assert_int_equal(id.uid, 65534);
    assert_string_equal(id.user, "nobody");
    assert_true(id.n_groups >= 1);
    assert_int_equal(id.groups[0], id.gid);
    assert_int_equal(mu_identity_resolve(a, MU_S("#12345"), MU_S("#23456"), &id, &err), MU_OK);
    assert_int_equal(id.uid, 12345);
    assert_int_equal(id.gid, 23456);
    assert_int_equal(id.n_groups, 1);
    assert_int_equal(mu_identity_resolve(a, MU_S("no-such-user"), MU_STR_NULL, &id, &err),
                     MU_NOENT);
    assert_true(mu_str_find(err, MU_S("no-such-user")) >= 0);
    assert_int_equal(mu_identity_resolve(a, MU_S("nobody"), MU_S("no-such-group"), &id, &err),
                     MU_NOENT);
    assert_true(mu_str_find(err, MU_S("no-such-group")) >= 0);
    assert_int_equal(mu_identity_resolve(a, MU_S("#54321"), MU_STR_NULL, &id, &err), MU_NOENT);
    assert_int_equal(mu_identity_resolve(a, MU_S("#4294967295"), MU_S("#1"), &id, &err), MU_NOENT);
    assert_int_equal(mu_identity_resolve(a, MU_S("root"), MU_S("daemon"), &id, &err), MU_OK);
    assert_int_equal(id.uid, 0);
    mu_arena_destroy(a);
}

/* In a child: 0 when it has become nobody and can do nothing about it. */
static int become_nobody(const struct mu_identity *id)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { { 0 }, { 0 } };
    gid_t groups[64];
    char err[256];
    int n;

    if (mu_identity_assume(id, err, sizeof(err)) != MU_OK)
        return 1;
    if (getuid() != 65534 || geteuid() != 65534 || getegid() != id->gid)
        return 2;
    n = getgroups(64, groups);
    for (int i = 0; i < n; i++)
        if (groups[i] == 0)
            return 3;
    if (syscall(SYS_capget, &head, data))
        return 4;
    for (int i = 0; i < 2; i++)
        if (data[i].effective | data[i].permitted | data[i].inheritable)
            return 5;
    for (unsigned long cap = 0; cap < 64; cap++)
        if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) > 0)
            return 6;
    if (setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0)
        return 7;
    if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1 || !mu_allow_core_dumps() ||
        prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 1)
        return 8;
    /* To become what one is already: fine. To become another: refused. */
    if (mu_identity_assume(id, err, sizeof(err)) != MU_OK)
        return 9;
    if (mu_identity_assume(&(struct mu_identity){ .uid = 1, .gid = 1, .user = "daemon" }, err,
                           sizeof(err)) != MU_DENIED)
        return 10;
    return strstr(err, "daemon") ? 0 : 11;
}

static void test_identity_assume(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_identity id;
    struct mu_str err;
    char text[256];
    int status;
    pid_t pid;

    (void)state;
    if (getuid() != 0) { /* only the refusal can be shown */
        id = (struct mu_identity){ .uid = 1, .gid = 1, .user = "daemon" };
        assert_int_equal(mu_identity_assume(&id, text, sizeof(text)), MU_DENIED);
        mu_arena_destroy(a);
        return;
    }
    assert_int_equal(mu_identity_resolve(a, MU_S("nobody"), MU_STR_NULL, &id, &err), MU_OK);
    pid = fork();
    if (pid == 0)
        _exit(become_nobody(&id));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    mu_arena_destroy(a);
}

static int raise_and_restore(rlim_t soft)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) != 0)
        return 1;
    l.rlim_cur = soft;
    if (setrlimit(RLIMIT_NOFILE, &l) != 0)
        return 2;
    mu_descriptors_raise();
    if (getrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur != l.rlim_max)
        return 3;
    mu_descriptors_raise(); /* as the next image of the server does */
    mu_descriptors_restore();
    return getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur == soft ? 0 : 4;
}

static void test_descriptor_limit(void **state)
{
    int status = -1;
    pid_t pid = fork();

    (void)state;
    if (pid == 0)
        _exit(raise_and_restore(77));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(WIFEXITED(status));
    mu_descriptors_restore(); /* nothing was noted: nothing changes */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_argv),
        cmocka_unit_test(test_pidfile),
        cmocka_unit_test(test_mkdir_all),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_descriptor_limit),
        cmocka_unit_test(test_sd_notify),
        cmocka_unit_test(test_identity_resolve),
        cmocka_unit_test(test_identity_assume),
    };

    return cmocka_run_group_tests(tests, tmpdir_setup, tmpdir_teardown);
}
