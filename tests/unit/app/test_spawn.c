/* Programs started by a real helper for a fiber: what they get, how they end, and what becomes of
 * them when nobody waits any more, when the helper dies, and when many ask at once. */
#include "spawn_test.h"

#include <muster/clock.h>
#include <sys/resource.h>

/* A script that is run, and what came of it. */
struct job {
    const char *script; /* for sh -c */
    const char *path, *dir;
    char *const *envp;
    struct mu_app_limits limits;
    int out[2]; /* its standard output */
    struct mu_script s;
    enum mu_rc rc, end;
    int err, status;
    const char *begun; /* a file that is made when it has been started */
    bool is_left;      /* not waited for */
    bool is_killed;
};

static char *const no_env[] = { NULL };

static void run(void *arg)
{
    struct job *j = arg;
    char sh[] = "sh", c[] = "-c";
    char *argv[] = { sh, c, (char *)(uintptr_t)j->script, NULL };
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct mu_spawn s = { .path = j->path ? j->path : "/bin/sh",
                          .argv = argv,
                          .envp = j->envp ? j->envp : no_env,
                          .dir = j->dir ? j->dir : "/",
                          .limits = j->limits,
                          .suexec = -1 };

    s.fd[0] = s.fd[2] = null;
    s.fd[1] = j->out[1];
    j->rc = mu_spawn(&s, &j->s, MU_NEVER, &j->err);
    close(null);
    close(j->out[1]);
    if (j->rc != MU_OK)
        return;
    if (j->begun)
        close(open(j->begun, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    if (!j->is_left)
        j->end = mu_script_wait(&j->s, &j->status, MU_NEVER);
    if (j->is_killed)
        mu_script_kill(&j->s);
    else
        mu_script_end(&j->s);
}

static void prepare(struct job *j)
{
    assert_int_equal(pipe2(j->out, O_CLOEXEC), 0);
}

/* Run it to its end; what it wrote goes to buf. */
static size_t run_whole(struct job *j, char *buf, size_t cap)
{
    size_t n;

    prepare(j);
    on_fiber(MU_BACKEND_EPOLL, run, j);
    n = read_end(j->out[0], buf, cap);
    close(j->out[0]);
    return n;
}

static int setup(void **state)
{
    (void)state;
    helper_open();
    helper_start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    helper_finish();
    return 0;
}

static void runs_and_tells_its_end(void **state)
{
    struct job j = { .script = "echo hello; exit 7" };
    char buf[64];

    (void)state;
    run_whole(&j, buf, sizeof(buf));
    assert_int_equal(j.rc, MU_OK);
    assert_string_equal(buf, "hello\n");
    assert_int_equal(j.end, MU_OK);
    assert_true(WIFEXITED(j.status));
    assert_int_equal(WEXITSTATUS(j.status), 7);
    j = (struct job){ .script = "kill -9 $$" };
    run_whole(&j, buf, sizeof(buf));
    assert_true(WIFSIGNALED(j.status));
    assert_int_equal(WTERMSIG(j.status), SIGKILL);
}

/* Three descriptors and no more, no signal ignored or blocked, a group of its own, its folder. */
static void is_given_a_clean_process(void **state)
{
    struct job j = {
        .script =
            "ls /proc/$$/fd; grep -E '^Sig(Blk|Ign)' /proc/$$/status "
            "| tr -d '\\n\\t'; echo; pwd; ps -o pgid= -o sid= -p $$ | tr -s ' ' | sed 's/^ //'; echo $$",
        .dir = "/usr"
    };
    char *env[] = { (char *)(uintptr_t) "PATH=/usr/bin:/bin", NULL };
    char buf[512], want[256];
    struct mu_script *s = &j.s;

    (void)state;
    j.envp = env;
    run_whole(&j, buf, sizeof(buf));
    snprintf(want, sizeof(want),
             "0\n1\n2\nSigBlk:0000000000000000SigIgn:0000000000000000\n/usr\n%d %d\n%d\n",
             (int)s->pid, (int)s->pid, (int)s->pid);
    assert_string_equal(buf, want);
}

static void limits_are_in_force(void **state)
{
    struct job j = { .script =
                         "ulimit -S -t; ulimit -H -t; ulimit -S -v; ulimit -H -v; ulimit -S -p" };
    struct rlimit l;
    char buf[256], want[256];

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NPROC, &l), 0);
    j.limits.cpu_s = (struct mu_app_limit){ true, 5, 9 };
    j.limits.mem_bytes = (struct mu_app_limit){ true, UINT64_C(1) << 30, UINT64_C(1) << 31 };
    j.limits.nproc = (struct mu_app_limit){ true, 77, UINT64_MAX };
    run_whole(&j, buf, sizeof(buf));
    snprintf(want, sizeof(want), "5\n9\n%u\n%u\n%d\n", 1u << 20, 1u << 21, 77);
    assert_string_equal(buf, want);
}

static void what_fails_is_named(void **state)
{
    struct {
        const char *path, *dir;
        int err;
    } rows[] = {
        { "/bin/there-is-no-such-program", "/", ENOENT },
        { "/etc/passwd", "/", EACCES },
        { "/bin/sh", "/there-is-no-such-folder", ENOENT },
        { "/dev", "/", EACCES },
    };
    char buf[16];

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct job j = { .script = "echo", .path = rows[i].path, .dir = rows[i].dir };

        run_whole(&j, buf, sizeof(buf));
        assert_int_equal(j.rc, MU_EIO);
        assert_int_equal(j.err, rows[i].err);
        assert_string_equal(buf, "");
    }
}

/* More than a packet takes, and more than anybody takes. */
static void large_environments(void **state)
{
    enum { VALUE = 100000 };
    char *value = malloc(VALUE + 3), *huge = malloc(MU_SPAWN_TEXT_MAX + 3);
    char *env[] = { value, NULL }, *too_much[] = { huge, NULL };
    struct job j = { .script = "printf %s \"$V\" | wc -c", .envp = env };
    char buf[64];

    (void)state;
    memset(value, 'x', VALUE + 2);
    memset(huge, 'x', MU_SPAWN_TEXT_MAX + 2);
    memcpy(value, "V=", 2);
    memcpy(huge, "V=", 2);
    value[VALUE + 2] = huge[MU_SPAWN_TEXT_MAX + 2] = '\0';
    run_whole(&j, buf, sizeof(buf));
    assert_int_equal(j.rc, MU_OK);
    assert_string_equal(buf, "100000\n");
    j = (struct job){ .script = "echo", .envp = too_much };
    run_whole(&j, buf, sizeof(buf));
    assert_int_equal(j.rc, MU_EIO);
    assert_int_equal(j.err, E2BIG);
    free(value);
    free(huge);
}

/* Left by whoever asked: TERM for the whole group, one of which does not obey. */
static void group_is_ended(void **state)
{
    struct job j = { .script = "sh -c 'trap \"\" TERM; echo ready; while :; do sleep 0.01; done' & "
                               "echo up; wait",
                     .is_left = true };
    char buf[64] = "";
    size_t n = 0;

    (void)state;
    prepare(&j);
    /* It is left the moment it was started; that is long before both have written. */
    on_fiber(MU_BACKEND_SINGLE, run, &j);
    assert_int_equal(j.rc, MU_OK);
    n = read_end(j.out[0], buf, sizeof(buf)); /* the end: nobody of the group is left */
    assert_true(n < sizeof(buf));
    await_gone(-j.s.pid);
    close(j.out[0]);
}

/* The leader ended in order; what it left behind in its group is ended when nobody wants it. */
static void leftovers_are_ended(void **state)
{
    struct job j = { .script = "sleep 1000 & echo started", .is_killed = true };
    char buf[64];

    (void)state;
    prepare(&j);
    on_fiber(MU_BACKEND_EPOLL, run, &j);
    assert_int_equal(j.end, MU_OK);
    assert_int_equal(j.status, 0);
    read_end(j.out[0], buf, sizeof(buf));
    assert_string_equal(buf, "started\n");
    await_gone(-j.s.pid);
    close(j.out[0]);
}

/* The same, but the program was wanted: what it began goes on, as long as it likes. */
static void leftovers_live_on(void **state)
{
    struct job j = { .script = "(read x < go; echo done; sleep 0) & echo started", .dir = "/tmp" };
    char folder[] = "/tmp/muster-spawn-XXXXXX", fifo[sizeof(folder) + 3], buf[64];
    int go;

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chmod(folder, 0755), 0);
    snprintf(fifo, sizeof(fifo), "%s/go", folder);
    assert_int_equal(mkfifo(fifo, 0666), 0);
    assert_int_equal(chmod(fifo, 0666), 0);
    j.dir = folder;
    prepare(&j);
    on_fiber(MU_BACKEND_EPOLL, run, &j);
    assert_int_equal(j.end, MU_OK);
    /* Another program behind it: the helper has seen to the first one's end. */
    run_whole(&(struct job){ .script = ":" }, buf, sizeof(buf));
    assert_int_equal(kill(-j.s.pid, 0), 0);
    go = open(fifo, O_WRONLY | O_CLOEXEC); /* ends when it is read */
    assert_true(go >= 0);
    assert_int_equal(write(go, "\n", 1), 1);
    close(go);
    read_end(j.out[0], buf, sizeof(buf));
    assert_string_equal(buf, "started\ndone\n");
    close(j.out[0]);
    unlink(fifo);
    rmdir(folder);
}

/* A helper that was killed: its program is told, the request knows, the next helper takes what
 * waits. */
static void helper_may_die(void **state)
{
    struct job j = { .script = "echo $$; until [ -e begun ]; do sleep 0.01; done; "
                               "kill -9 $PPID; exec sleep 1000" };
    char folder[] = "/tmp/muster-spawn-XXXXXX", begun[sizeof(folder) + 6], buf[64];

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chmod(folder, 0755), 0);
    snprintf(begun, sizeof(begun), "%s/begun", folder);
    j.dir = folder;
    j.begun = begun;
    prepare(&j);
    on_fiber(MU_BACKEND_EPOLL, run, &j);
    assert_int_equal(j.rc, MU_OK);
    assert_int_equal(j.end, MU_EIO);
    assert_int_equal(waitpid(helper.pid, NULL, 0), helper.pid);
    read_end(j.out[0], buf, sizeof(buf));
    assert_int_equal(atoi(buf), j.s.pid);
    close(j.out[0]);
    unlink(begun);
    rmdir(folder);
    helper_start();
    j = (struct job){ .script = "echo again" };
    run_whole(&j, buf, sizeof(buf));
    assert_string_equal(buf, "again\n");
}

/* Asked while there is no helper: the request waits for one. */
static void start_later(void *arg)
{
    (void)arg;
    (void)!mu_sleep(20);
    helper_start();
}

static void requests_wait_for_a_helper(void **state)
{
    struct job j = { .script = "echo patient" };
    struct mu_reactor *r;
    char buf[64];

    (void)state;
    helper_open();
    prepare(&j);
    r = mu_reactor_create(&(struct mu_reactor_opts){ .backend = MU_BACKEND_EPOLL });
    assert_int_equal(mu_fiber_run(r, run, &j), MU_OK);
    assert_int_equal(mu_fiber_run(r, start_later, NULL), MU_OK);
    while (mu_reactor_fibers(r) > 0)
        mu_reactor_turn(r, -1);
    mu_reactor_destroy(r);
    read_end(j.out[0], buf, sizeof(buf));
    close(j.out[0]);
    assert_string_equal(buf, "patient\n");
    helper_finish();
}

/* More requests than the socket holds, from one thread: all are answered. */
enum { CROWD = 400 };

static void many_at_once(void **state)
{
    static struct job jobs[CROWD];
    struct mu_reactor *r;
    int small = 4096;

    (void)state;
    helper_open();
    setsockopt(helper.web_fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    r = mu_reactor_create(&(struct mu_reactor_opts){ .backend = MU_BACKEND_EPOLL });
    for (size_t i = 0; i < CROWD; i++) {
        jobs[i] = (struct job){ .script = "exit 3" };
        prepare(&jobs[i]);
        assert_int_equal(mu_fiber_run(r, run, &jobs[i]), MU_OK);
    }
    helper_start();
    while (mu_reactor_fibers(r) > 0)
        mu_reactor_turn(r, -1);
    mu_reactor_destroy(r);
    for (size_t i = 0; i < CROWD; i++) {
        assert_int_equal(jobs[i].rc, MU_OK);
        assert_int_equal(jobs[i].end, MU_OK);
        assert_int_equal(WEXITSTATUS(jobs[i].status), 3);
        close(jobs[i].out[0]);
    }
    helper_finish();
}

/* A deadline passes while nobody answers. */
static void run_late(void *arg)
{
    struct job *j = arg;
    char sh[] = "sh";
    char *argv[] = { sh, NULL };
    struct mu_spawn s = {
        .path = "/bin/sh", .argv = argv, .envp = no_env, .dir = "/", .fd = { 0, 1, 2 }, .suexec = -1
    };

    j->rc = mu_spawn(&s, &j->s, mu_deadline(30), &j->err);
}

static void deadline_passes(void **state)
{
    struct job j = { .script = NULL };

    (void)state;
    helper_open();
    on_fiber(MU_BACKEND_EPOLL, run_late, &j);
    assert_int_equal(j.rc, MU_TIMEOUT);
    assert_true(j.s.channel.fd < 0);
    helper_start(); /* the request is there still, and nobody wants it */
    helper_finish();
}

int main(void)
{
    const struct CMUnitTest with_helper[] = {
        cmocka_unit_test(runs_and_tells_its_end), cmocka_unit_test(is_given_a_clean_process),
        cmocka_unit_test(limits_are_in_force),    cmocka_unit_test(what_fails_is_named),
        cmocka_unit_test(large_environments),     cmocka_unit_test(group_is_ended),
        cmocka_unit_test(leftovers_are_ended),    cmocka_unit_test(leftovers_live_on),
        cmocka_unit_test(helper_may_die),
    };
    const struct CMUnitTest alone[] = {
        cmocka_unit_test(requests_wait_for_a_helper),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(deadline_passes),
    };

    return cmocka_run_group_tests(with_helper, setup, teardown) +
           cmocka_run_group_tests(alone, NULL, NULL);
}
