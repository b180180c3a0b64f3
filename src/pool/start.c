/*
 * start: one process of a pool, from fork to exec. It gets a listening socket of its own on
 * descriptor 0, a pipe to the error log on 1 and 2, and nothing else: its own process group, the
 * pool's user, limits and environment. The socket lies in a folder of the server's and is the web
 * children's user's alone (mode 0600), so nobody else can talk to the application. What goes wrong
 * between fork and exec is a line on the pipe, since the supervisor waits for nothing.
 */
#include "pool/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <muster/log.h>
#include <muster/str.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BACKLOG = 16, /* one request at a time, and a probe */
    EXIT_NO_START = 127,
};

void mu_proc_socket_name(char *out, size_t cap, const char *pool, uint32_t slot, uint64_t serial)
{
    snprintf(out, cap, "%s.%u.%llu", pool, slot, (unsigned long long)serial);
}

socklen_t mu_pool_address(int dir_fd, const char *name, void *sockaddr_un)
{
    struct sockaddr_un *sa = sockaddr_un;

    /* Through the descriptor: short however deep the folder lies, and no matter who may go there. */
    *sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
    snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
    return (socklen_t)sizeof(*sa);
}

int mu_pool_connect(int dir_fd, const char *name)
{
    struct sockaddr_un sa;
    socklen_t len = mu_pool_address(dir_fd, name, &sa);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), saved;

    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, len) == 0)
        return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* By its path if that is short enough: it is what ss and lsof show. */
static socklen_t own_address(const char *name, struct sockaddr_un *sa)
{
    *sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if ((size_t)snprintf(sa->sun_path, sizeof(sa->sun_path), "%s/%s", mu_keeper.dir, name) <
        sizeof(sa->sun_path))
        return (socklen_t)sizeof(*sa);
    return mu_pool_address(mu_keeper.dir_fd, name, sa);
}

/* The listening socket; only the web children's user may connect. -1 and errno. */
static int open_socket(const char *name)
{
    const struct mu_identity *web = mu_keeper.env.identity;
    struct sockaddr_un sa;
    socklen_t len = own_address(name, &sa);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), saved;
    mode_t mask = umask(0177);
    bool is_good = fd >= 0 && bind(fd, (struct sockaddr *)&sa, len) == 0;

    umask(mask);
    is_good = is_good && (!web->user || fchownat(mu_keeper.dir_fd, name, web->uid, web->gid,
                                                 AT_SYMLINK_NOFOLLOW) == 0);
    if (is_good && listen(fd, BACKLOG) == 0)
        return fd;
    saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    return -1;
}

/* ---- in the child ---- */

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    fflush(stderr);
    _exit(EXIT_NO_START);
}

static void set_limit(int what, const char *name, int64_t value)
{
    struct rlimit l = { .rlim_cur = (rlim_t)value, .rlim_max = (rlim_t)value };

    if (value != MU_POOL_UNSET && setrlimit((__rlimit_resource_t)what, &l) != 0)
        fail(name);
}

static void enter_place(const struct mu_pool_conf *c)
{
    char path[4096];

    if (c->chroot.n) {
        snprintf(path, sizeof(path), "%.*s", MU_FMT(c->chroot));
        if (chroot(path) != 0)
            fail("Chroot");
    }
    snprintf(path, sizeof(path), "%.*s", MU_FMT(c->directory));
    if (chdir(c->directory.n ? path : "/") != 0)
        fail("WorkingDirectory");
}

/* The user last: limits, root directory and groups need what it gives up. */
static _Noreturn void become(const struct mu_pool_conf *c, pid_t supervisor)
{
    char err[256];

    set_limit(RLIMIT_CPU, "LimitCPU", c->limit_cpu_s);
    set_limit(RLIMIT_AS, "LimitMemory", c->limit_memory);
    set_limit(RLIMIT_NOFILE, "LimitFiles", c->limit_files);
    set_limit(RLIMIT_NPROC, "LimitProcesses", c->limit_processes);
    enter_place(c);
    umask(022);
    if (c->identity.user && mu_identity_assume(&c->identity, err, sizeof(err)) != MU_OK) {
        fprintf(stderr, "%s\n", err);
        fflush(stderr);
        _exit(EXIT_NO_START);
    }
    /* After the change of user, which clears it: no application outlives the server. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != supervisor)
        _exit(EXIT_NO_START);
    execve(c->argv[0], c->argv, c->envp);
    fail(c->argv[0]);
}

static _Noreturn void run(const struct mu_pool_conf *c, int listen_fd, int log_fd, pid_t parent)
{
    mu_keeper.env.leave_supervisor();
    setpgid(0, 0);
    /* All are 3 or more, because 0, 1 and 2 are open in every process of the server. */
    if (dup2(listen_fd, STDIN_FILENO) < 0 || dup2(log_fd, STDOUT_FILENO) < 0 ||
        dup2(log_fd, STDERR_FILENO) < 0)
        _exit(EXIT_NO_START);
    mu_close_from(STDERR_FILENO + 1);
    become(c, parent);
}

/* ---- in the supervisor ---- */

static bool is_taken(struct mu_pool *p, uint32_t slot)
{
    MU_PROC_FOR(x, p)
    {
        if (x->slot == slot)
            return true;
    }
    return false;
}

static uint32_t free_slot(struct mu_pool *p)
{
    uint32_t slot = 0;

    while (slot < MU_POOL_SLOTS && is_taken(p, slot))
        slot++;
    return slot;
}

static void announce(struct mu_proc *x)
{
    struct mu_slot_info *i = &x->pool->board->info[x->slot];

    atomic_store(&i->pid, (uint32_t)x->pid);
    atomic_store(&i->serial, x->serial);
    atomic_store(&i->is_retired, 0);
    atomic_store(&i->started_ms, x->started_ms);
    atomic_store(&i->requests, 0);
    atomic_store(&i->begun_ms, 0);
    atomic_store(&i->ended_ms, 0);
    mu_board_put_text(i->request, MU_BOARD_REQUEST, MU_STR_NULL);
    mu_board_put_text(i->script, MU_BOARD_SCRIPT, MU_STR_NULL);
    mu_board_put_text(i->client, MU_BOARD_CLIENT, MU_STR_NULL);
    mu_board_set(x->pool->board, x->slot, MU_SLOT_STARTING);
    atomic_fetch_add_explicit(&x->pool->board->counts.started, 1, memory_order_relaxed);
}

static bool spawn(struct mu_proc *x, const char *name)
{
    int log[2];
    pid_t parent = getpid();

    x->listen_fd = open_socket(name);
    if (x->listen_fd < 0 || pipe2(log, O_CLOEXEC) != 0)
        return false;
    x->log_fd = log[0];
    fflush(NULL);
    x->pid = fork();
    if (x->pid == 0)
        run(x->pool->conf, x->listen_fd, log[1], parent);
    close(log[1]);
    if (x->pid < 0)
        return false;
    (void)fcntl(x->log_fd, F_SETFL, O_NONBLOCK);
    /* In both: it must be so before the first signal goes to the group. */
    (void)setpgid(x->pid, x->pid);
    return true;
}

enum mu_rc mu_proc_start(struct mu_pool *p, int64_t now_ms)
{
    uint32_t slot = free_slot(p);
    struct mu_proc *x = slot < MU_POOL_SLOTS ? mu_proc_create(p, slot, ++p->next_serial) : NULL;
    char name[64];

    if (slot == MU_POOL_SLOTS)
        return MU_LIMIT;
    if (!x)
        return MU_NOMEM;
    x->epoch = p->epoch;
    x->started_ms = now_ms;
    mu_proc_socket_name(name, sizeof(name), p->name, slot, x->serial);
    if (!spawn(x, name)) {
        MU_LOG(NULL, "pool", MU_LOG_ERR, "MU0900", "pool %s: cannot start a process: %s", p->name,
               strerror(errno));
        mu_proc_destroy(x);
        return MU_EIO;
    }
    MU_LOG(NULL, "pool", MU_LOG_DEBUG, "MU0901", "pool %s: process %d started", p->name,
           (int)x->pid);
    announce(x);
    mu_proc_probe(x, now_ms);
    return MU_OK;
}
