/* suexec's checks of a script, on real files that belong to somebody; and its environment. */
#include "spawn_test.h"

enum { ID = 54321 };

static char top[64]; /* a folder of root's; docroot is below it */
static char docroot[128], home[128];
static const char *roots[3];
static struct mu_suexec_target target;

static const char *path(const char *name)
{
    static char buf[256];

    snprintf(buf, sizeof(buf), "%s/%s", docroot, name);
    return buf;
}

static void make_dir(const char *p, mode_t mode, uid_t id)
{
    assert_int_equal(mkdir(p, 0700), 0);
    assert_int_equal(chmod(p, mode), 0);
    assert_int_equal(chown(p, id, id), 0);
}

static void make_file(const char *p, mode_t mode, uid_t uid, gid_t gid)
{
    int fd = open(p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);

    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(chown(p, uid, gid), 0);
    assert_int_equal(chmod(p, mode), 0);
}

static int setup(void **state)
{
    (void)state;
    if (geteuid() != 0)
        return 0;
    snprintf(top, sizeof(top), "/tmp/muster-suexec-XXXXXX");
    assert_non_null(mkdtemp(top));
    assert_int_equal(chmod(top, 0755), 0);
    snprintf(docroot, sizeof(docroot), "%s/www", top);
    snprintf(home, sizeof(home), "%s/home/public_html", top);
    make_dir(docroot, 0755, 0);
    make_dir(path("bin"), 0755, ID);
    make_dir(path("bin2"), 0775, ID);
    make_dir(path("other"), 0755, ID + 1);
    make_file(path("bin/ok"), 0755, ID, ID);
    make_file(path("bin/private"), 0700, ID, ID);
    make_file(path("bin/group-writable"), 0775, ID, ID);
    make_file(path("bin/world-writable"), 0757, ID, ID);
    make_file(path("bin/setuid"), 04755, ID, ID);
    make_file(path("bin/setgid"), 02755, ID, ID);
    make_file(path("bin/not-executable"), 0644, ID, ID);
    make_file(path("bin/of-root"), 0755, 0, 0);
    make_file(path("bin/other-group"), 0755, ID, ID + 1);
    make_file(path("bin2/ok"), 0755, ID, ID);
    make_file(path("other/ok"), 0755, ID, ID);
    make_file(path("ok-in-root"), 0755, ID, ID);
    make_dir(path("bin/folder"), 0755, ID);
    assert_int_equal(symlink("ok", path("bin/link")), 0);
    assert_int_equal(symlink("/usr/bin", path("out")), 0);
    assert_int_equal(symlink("bin", path("in")), 0);
    snprintf(docroot, sizeof(docroot), "%s/home", top);
    make_dir(docroot, 0755, ID);
    make_dir(home, 0755, ID);
    snprintf(docroot, sizeof(docroot), "%s/www", top);
    roots[0] = docroot;
    roots[1] = home;
    target =
        (struct mu_suexec_target){ .id = { .uid = ID, .gid = ID, .user = "test" }, .roots = roots };
    return 0;
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", top);
    return top[0] ? system(command) : 0;
}

static void check_all(void **state)
{
    static const struct {
        int line;
        const char *name;
        const char *reason; /* a part of it; NULL: it may run */
    } rows[] = {
        { __LINE__, "bin/ok", NULL },
        { __LINE__, "bin/private", NULL },
        { __LINE__, "in/ok", NULL },
        { __LINE__, "bin/group-writable", "writable by group" },
        { __LINE__, "bin/world-writable", "writable by group" },
        { __LINE__, "bin/setuid", "setuid" },
        { __LINE__, "bin/setgid", "setuid" },
        { __LINE__, "bin/not-executable", "may not execute" },
        { __LINE__, "bin/of-root", "another user" },
        { __LINE__, "bin/other-group", "another user" },
        { __LINE__, "bin2/ok", "directory is writable" },
        { __LINE__, "other/ok", "directory belongs" },
        { __LINE__, "ok-in-root", "directory belongs" },
        { __LINE__, "bin/folder", "no regular file" },
        { __LINE__, "bin/link", "no regular file" },
        { __LINE__, "out/true", "leads out" },
        { __LINE__, "bin/missing", "no such file" },
        { __LINE__, "nowhere/ok", "cannot reach" },
        { __LINE__, "bin/../bin/ok", "'..'" },
        { __LINE__, "bin/..", "'..'" },
        { __LINE__, "bin/", "'..'" },
        { __LINE__, "../www/bin/ok", "'..'" },
    };
    struct mu_suexec_checked c;

    (void)state;
    if (geteuid() != 0)
        skip();
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        mu_suexec_check(&target, path(rows[i].name), &c);
        if (c.dir_fd >= 0)
            close(c.dir_fd);
        if (!rows[i].reason != !c.reason || (c.reason && !strstr(c.reason, rows[i].reason)))
            fail_msg("line %d: %s", rows[i].line, c.reason ? c.reason : "may run");
    }
}

static void only_below_the_roots(void **state)
{
    static const char *const outside[] = { "/bin/true", "/", "relative", "" };
    struct mu_suexec_checked c;
    char buf[256];

    (void)state;
    if (geteuid() != 0)
        skip();
    for (size_t i = 0; i < MU_ARRAY_LEN(outside); i++) {
        mu_suexec_check(&target, outside[i], &c);
        assert_non_null(c.reason);
        assert_true(c.dir_fd < 0);
    }
    /* A folder whose name begins with that of the root is another one. */
    snprintf(buf, sizeof(buf), "%sother/ok", docroot);
    mu_suexec_check(&target, buf, &c);
    assert_non_null(strstr(c.reason, "neither below"));
    /* The user's own. */
    snprintf(buf, sizeof(buf), "%s/mine", home);
    make_file(buf, 0755, ID, ID);
    mu_suexec_check(&target, buf, &c);
    assert_null(c.reason);
    assert_string_equal(c.name, "mine");
    close(c.dir_fd);
}

static void environment_is_clean(void **state)
{
    char *text[] = { (char *)(uintptr_t) "LD_PRELOAD=/tmp/evil.so",
                     (char *)(uintptr_t) "HTTP_HOST=a",
                     (char *)(uintptr_t) "PATH=/tmp",
                     (char *)(uintptr_t) "QUERY_STRING=x=y",
                     (char *)(uintptr_t) "QUERY_STRINGS=no",
                     (char *)(uintptr_t) "IFS=x",
                     (char *)(uintptr_t) "TZ=UTC",
                     (char *)(uintptr_t) "SSL_CIPHER=z",
                     NULL,
                     NULL };

    (void)state;
    mu_suexec_clean_env(text);
    assert_string_equal(text[0], "HTTP_HOST=a");
    assert_string_equal(text[1], "QUERY_STRING=x=y");
    assert_string_equal(text[2], "TZ=UTC");
    assert_string_equal(text[3], "SSL_CIPHER=z");
    assert_string_equal(text[4], "PATH=/usr/local/bin:/usr/bin:/bin");
    assert_null(text[5]);
}

/* A request for docroot's `name`, in `text`. Its descriptors are the caller's to close. */
static struct mu_spawn_request request(const char *name, char *text, size_t cap)
{
    int n = snprintf(text, cap, "%s%c/%cscript", path(name), 0, 0) + 1;
    struct mu_spawn_request rq = {
        .head = { .magic = MU_SPAWN_MAGIC, .argc = 1, .text_n = (uint32_t)n },
        .text = text,
        .text_fd = -1,
        .reply_fd = -1,
    };

    for (size_t i = 0; i < MU_ARRAY_LEN(rq.fd); i++)
        rq.fd[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
    return rq;
}

static pid_t start(const char *name, int *start_fd)
{
    struct mu_spawn_reply why;
    char text[512];
    struct mu_spawn_request rq = request(name, text, sizeof(text));
    pid_t pid = mu_spawn_process(&rq, &target, &why, start_fd);

    for (size_t i = 0; i < MU_ARRAY_LEN(rq.fd); i++)
        close(rq.fd[i]);
    assert_true(pid > 0 && *start_fd >= 0);
    return pid;
}

static enum mu_rc await_begin(int start_fd, struct mu_spawn_reply *why)
{
    struct pollfd p = { .fd = start_fd, .events = POLLIN };
    enum mu_rc rc;

    assert_int_equal(poll(&p, 1, 60000), 1);
    rc = mu_spawn_has_begun(start_fd, why);
    close(start_fd);
    return rc;
}

static int end_of(pid_t pid)
{
    int status = 0;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/*
 * A user may have a lease on a script of his own: whoever executes it waits until it is given back.
 * Other users' scripts do not.
 */
static void nobody_waits_for_anothers_script(void **state)
{
    struct mu_spawn_reply why;
    int held, leased, other, refused;
    pid_t first, second, third;

    (void)state;
    if (geteuid() != 0)
        skip();
    held = open(path("bin/private"), O_RDWR | O_CLOEXEC);
    assert_true(write(held, "#!/bin/sh\nexit 7\n", 17) == 17);
    signal(SIGIO, SIG_IGN);
    close(held);
    held = open(path("bin/private"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(fcntl(held, F_SETLEASE, F_WRLCK), 0);
    first = start("bin/private", &leased);
    second = start("bin/missing", &refused);
    assert_int_equal(await_begin(refused, &why), MU_BAD);
    assert_int_equal(why.word, MU_SPAWN_REFUSED);
    assert_int_equal(end_of(second), 127);
    other = open(path("bin/ok"), O_WRONLY | O_CLOEXEC);
    assert_true(write(other, "#!/bin/sh\nexit 5\n", 17) == 17);
    close(other);
    third = start("bin/ok", &other);
    assert_int_equal(await_begin(other, &why), MU_OK);
    assert_int_equal(end_of(third), 5);
    assert_int_equal(mu_spawn_has_begun(leased, &why), MU_AGAIN);
    assert_int_equal(fcntl(held, F_SETLEASE, F_UNLCK), 0);
    assert_int_equal(await_begin(leased, &why), MU_OK);
    assert_int_equal(end_of(first), 7);
    close(held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_all),
        cmocka_unit_test(only_below_the_roots),
        cmocka_unit_test(environment_is_clean),
        cmocka_unit_test(nobody_waits_for_anothers_script),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
