/*
 * keeper: the pools as a group of processes of the supervisor (super/group.h). Here the parts meet:
 * what begins with a configuration, which descriptors are watched, what happens when a process or a
 * web child has ended, and what is due. Web children speak to it in one way alone: they ring, and it
 * has a look at the slots; how often, it decides.
 */
#include "pool/keeper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <muster/log.h>
#include <muster/str.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    TICK_MS = 1000,
    MUTE_MS = 2, /* between two looks that children ask for */
};

int64_t mu_keeper_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- the folder ---- */

/* Sockets of a server that was killed. */
static void remove_sockets(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *e;
    struct stat st;

    if (!d) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((e = readdir(d))) {
        if (fstatat(dir_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode))
            (void)unlinkat(dir_fd, e->d_name, 0);
    }
    closedir(d);
}

/* Web children may go through it, and nobody but the server may put anything in. */
static enum mu_rc open_folder(struct mu_config *config)
{
    const struct mu_identity *web = mu_keeper.env.identity;
    const char *path = mu_pools_dir(config);
    struct stat st;

    mu_keeper.dir = path ? strdup(path) : NULL;
    if (!mu_keeper.dir)
        return mu_config_error(config, "out of memory");
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return mu_config_error(config,
                               "cannot make the folder %s for the sockets of application pools: %s "
                               "(ApplicationPoolDir names another)",
                               path, strerror(errno));
    mu_keeper.dir_fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (mu_keeper.dir_fd < 0 || fstat(mu_keeper.dir_fd, &st) != 0 || st.st_uid != geteuid())
        return mu_config_error(config,
                               "%s, for the sockets of application pools, is no folder of this "
                               "server's own (ApplicationPoolDir names another)",
                               path);
    if (chmod(path, web->user ? 0710 : 0700) != 0 ||
        (web->user && chown(path, (uid_t)-1, web->gid) != 0))
        return mu_config_error(config, "%s: its rights cannot be set: %s", path, strerror(errno));
    remove_sockets(mu_keeper.dir_fd);
    return MU_OK;
}

static bool open_pair(int *hears, int *rings)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return false;
    *hears = pair[0];
    *rings = pair[1];
    return true;
}

static enum mu_rc open_bells(struct mu_config *config)
{
    bool is_good = open_pair(&mu_keeper.poke_fd, &mu_keeper.poker_fd);

    for (size_t i = 0; i < MU_POOL_BELLS && is_good; i++)
        is_good = open_pair(&mu_keeper.bells[i], &mu_keeper.ringers[i]);
    if (!is_good)
        return mu_config_error(config, "application pools: no descriptors: %s", strerror(errno));
    mu_board_ringers(mu_keeper.ringers);
    return MU_OK;
}

/* The server is at its end, and so are all processes. */
static void remove_folder(void)
{
    mu_control_close();
    if (mu_keeper.dir_fd < 0)
        return;
    remove_sockets(mu_keeper.dir_fd);
    close(mu_keeper.dir_fd);
    mu_keeper.dir_fd = -1;
    (void)rmdir(mu_keeper.dir); /* one that holds something else stays */
}

/* ---- beginning ---- */

static enum mu_rc begin_first(struct mu_config *config)
{
    for (size_t i = 0; i < MU_POOL_BELLS; i++)
        mu_keeper.bells[i] = mu_keeper.ringers[i] = -1;
    if (!mu_pools_conf_of(config)->n)
        return MU_OK;
    if (open_folder(config) != MU_OK || open_bells(config) != MU_OK)
        return MU_BAD;
    mu_control_open();
    return MU_OK;
}

static void warn_of_folder(struct mu_config *config)
{
    const char *path = mu_pools_dir(config);

    if (path && strcmp(path, mu_keeper.dir) != 0)
        MU_LOG(NULL, "pool", MU_LOG_WARN, "MU0940",
               "the sockets of application pools stay in %s: another folder (%s) is taken when the "
               "server is stopped and started",
               mu_keeper.dir, path);
}

static enum mu_rc begin(const struct mu_group_env *env, struct mu_str state)
{
    enum mu_rc rc;

    mu_keeper.env = *env;
    if (state.n && mu_pools_restore(state) != MU_OK)
        return mu_config_error(env->config,
                               "application pools: what the binary before wrote is not understood");
    rc = state.n ? MU_OK : begin_first(env->config);
    if (rc == MU_OK)
        rc = mu_pools_configure(env->config);
    if (rc != MU_OK) {
        mu_pools_forget();
        return rc;
    }
    if (state.n)
        warn_of_folder(env->config);
    if (mu_list_empty(&mu_keeper.pools))
        return MU_OK;
    if (env->is_single)
        return mu_single_begin();
    mu_pools_renew(mu_keeper_now());
    return MU_OK;
}

/* ---- descriptors ---- */

/* What the pollfds of the last watch() stand for. */
struct seat {
    enum { SEAT_POKE, SEAT_OUTPUT, SEAT_PROBE } kind;
    struct mu_pool *pool;
    pid_t pid;
};

static struct {
    struct seat *v;
    size_t cap, n, control_at;
} seats;

static bool seat_room(size_t n)
{
    struct seat *v;

    if (n <= seats.cap)
        return true;
    v = reallocarray(seats.v, n * 2, sizeof(*v));
    if (!v)
        return false;
    seats.v = v;
    seats.cap = n * 2;
    return true;
}

static void sit(struct pollfd *fds, size_t room, struct seat seat, int fd)
{
    if (seats.n < room && seats.n < seats.cap) {
        seats.v[seats.n] = seat;
        fds[seats.n] = (struct pollfd){ .fd = fd, .events = POLLIN };
    }
    seats.n++;
}

size_t mu_keeper_watch(struct pollfd *fds, size_t room)
{
    size_t most = 1;

    MU_POOL_FOR(p)
    most += 2 * (size_t)p->procs_n;
    if (!seat_room(most))
        room = 0;
    seats.n = 0;
    if (mu_keeper.poke_fd >= 0 && mu_keeper_now() >= mu_keeper.mute_until_ms)
        sit(fds, room, (struct seat){ .kind = SEAT_POKE }, mu_keeper.poke_fd);
    MU_POOL_FOR(p)
    {
        MU_PROC_FOR(x, p)
        {
            if (x->log_fd >= 0)
                sit(fds, room, (struct seat){ SEAT_OUTPUT, p, x->pid }, x->log_fd);
            if (x->probe_fd >= 0 && !x->accepted_ms)
                sit(fds, room, (struct seat){ SEAT_PROBE, p, x->pid }, x->probe_fd);
        }
    }
    seats.control_at = seats.n;
    return seats.n + (seats.n <= room ? mu_control_watch(fds + seats.n, room - seats.n)
                                      : mu_control_watch(NULL, 0));
}

static struct mu_proc *find_proc(struct mu_pool *p, pid_t pid)
{
    MU_PROC_FOR(x, p)
    {
        if (x->pid == pid)
            return x;
    }
    return NULL;
}

static void hear_poke(int64_t now_ms)
{
    char pokes[256];

    if (recv(mu_keeper.poke_fd, pokes, sizeof(pokes), MSG_DONTWAIT) == 0) {
        MU_LOG(
            NULL, "pool", MU_LOG_ERR, "MU0942",
            "a web child has shut what all of them ask for processes by: it is broken, or in the "
            "wrong hands; pools are looked at every second from now on");
        close(mu_keeper.poke_fd);
        mu_keeper.poke_fd = -1;
    }
    mu_keeper.mute_until_ms = now_ms + MUTE_MS;
    MU_POOL_FOR(p)
    {
        mu_pool_look(p, now_ms);
        mu_pool_manage(p, now_ms, false);
    }
}

void mu_keeper_hear(const struct pollfd *fds, size_t n, int64_t now_ms)
{
    size_t own = seats.control_at < n ? seats.control_at : n;

    for (size_t i = 0; i < own && i < seats.cap; i++) {
        const struct seat *s = &seats.v[i];
        struct mu_proc *x = s->pool ? find_proc(s->pool, s->pid) : NULL;

        if (!fds[i].revents)
            continue;
        if (s->kind == SEAT_POKE) {
            hear_poke(now_ms);
        } else if (x && s->kind == SEAT_PROBE) {
            mu_proc_probe_look(x, now_ms);
        } else if (x && !mu_proc_output(x)) {
            close(x->log_fd);
            x->log_fd = -1;
        }
    }
    if (n > own)
        mu_control_hear(fds + own, n - own, now_ms);
}

/* ---- ends ---- */

static bool is_running(void)
{
    MU_POOL_FOR(p)
    {
        if (p->procs_n)
            return true;
    }
    return false;
}

bool mu_keeper_child_ended(pid_t pid, int status, int64_t now_ms)
{
    MU_POOL_FOR(p)
    {
        struct mu_proc *x = find_proc(p, pid);

        if (!x)
            continue;
        mu_proc_ended(x, status, now_ms);
        if (mu_keeper.stopping != MU_STOP_NONE && !is_running())
            remove_folder();
        return true;
    }
    return false;
}

static void kid_ended(pid_t pid, int64_t now_ms)
{
    MU_POOL_FOR(p)
    {
        mu_board_sweep(p->board, (uint32_t)pid);
        mu_pool_look(p, now_ms);
    }
}

/* ---- time ---- */

/*
 * A pool that the configuration no longer has: children of older configurations may still send it
 * requests. Returns: is it gone?
 */
static bool drain(struct mu_pool *p)
{
    int64_t since_ms;

    if (!p->is_stopped && !(mu_keeper.env.has_older_kids && mu_keeper.env.has_older_kids()) &&
        mu_board_waiting(p->board, &since_ms) == 0) {
        p->is_draining = true;
        mu_pool_stop(p);
    }
    if (!p->is_stopped || p->procs_n)
        return false;
    MU_LOG(NULL, "pool", MU_LOG_INFO, "MU0941", "pool %s, which was removed, has ended", p->name);
    mu_pool_destroy(p);
    return true;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t mu_keeper_tick(int64_t now_ms)
{
    bool is_tick = now_ms >= mu_keeper.next_tick_ms;
    int64_t next = mu_control_tick(now_ms);

    if (mu_list_empty(&mu_keeper.pools))
        return next;
    if (is_tick)
        mu_keeper.next_tick_ms = now_ms + TICK_MS;
    MU_POOL_FOR(p)
    {
        if (!p->conf && drain(p))
            continue;
        if (is_tick)
            mu_pool_mend(p);
        mu_pool_look(p, now_ms);
        mu_pool_manage(p, now_ms, is_tick);
        next = earlier(next, mu_pool_limits(p, now_ms));
        next = earlier(next, mu_pool_press(p, now_ms));
    }
    if (mu_keeper.mute_until_ms > now_ms)
        next = earlier(next, mu_keeper.mute_until_ms);
    return earlier(next, mu_keeper.next_tick_ms);
}

void mu_keeper_stop(enum mu_stop how, int64_t now_ms)
{
    mu_keeper.stopping = how;
    mu_control_close();
    MU_POOL_FOR(p)
    {
        mu_pool_stop(p);
        /* Nobody is left to answer, or nobody may be: what is at work still is told as well. */
        MU_PROC_FOR(x, p)
        mu_proc_leave(x, now_ms, mu_pool_grace_ms(p));
    }
    if (!is_running())
        remove_folder();
}

bool mu_keeper_is_empty(void)
{
    return !is_running();
}

static void keep_one(void *arg, pid_t pid, int fd)
{
    const bool *is_kept = arg;

    (void)pid;
    if (fd >= 0)
        mu_set_cloexec(fd, !*is_kept);
}

static void keep(bool is_kept)
{
    mu_pools_holds(keep_one, &is_kept);
}

void mu_keeper_in_child(void)
{
    mu_control_forget();
    if (mu_keeper.poke_fd >= 0)
        close(mu_keeper.poke_fd);
    mu_keeper.poke_fd = -1;
    MU_POOL_FOR(p)
    {
        if (p->board_fd >= 0)
            close(p->board_fd);
        p->board_fd = -1;
        MU_PROC_FOR(x, p)
        {
            const int fds[] = { x->listen_fd, x->log_fd, x->probe_fd };

            for (size_t i = 0; i < MU_ARRAY_LEN(fds); i++) {
                if (fds[i] >= 0)
                    close(fds[i]);
            }
            x->listen_fd = x->log_fd = x->probe_fd = -1;
        }
    }
}

/* ---- the group; under -X another process does the work ---- */

static size_t watch(struct pollfd *fds, size_t room)
{
    return mu_keeper.single_fd >= 0 ? 0 : mu_keeper_watch(fds, room);
}

static void hear(const struct pollfd *fds, size_t n, int64_t now_ms)
{
    if (mu_keeper.single_fd < 0)
        mu_keeper_hear(fds, n, now_ms);
}

static bool child_ended(pid_t pid, int status, int64_t now_ms)
{
    if (!mu_keeper.single_pid)
        return mu_keeper_child_ended(pid, status, now_ms);
    if (pid != mu_keeper.single_pid)
        return false;
    mu_keeper.single_pid = 0;
    return true;
}

static int64_t tick(int64_t now_ms)
{
    return mu_keeper.single_fd >= 0 ? INT64_MAX : mu_keeper_tick(now_ms);
}

static void stop(enum mu_stop how, int64_t now_ms)
{
    if (mu_keeper.single_fd < 0) {
        mu_keeper_stop(how, now_ms);
        return;
    }
    (void)shutdown(mu_keeper.single_fd, SHUT_RDWR); /* end of file is what it waits for */
}

static bool is_empty(void)
{
    return mu_keeper.single_fd >= 0 ? mu_keeper.single_pid == 0 : mu_keeper_is_empty();
}

static void holds(void (*visit)(void *arg, pid_t pid, int fd), void *arg)
{
    if (mu_keeper.single_pid)
        visit(arg, mu_keeper.single_pid, -1);
    else
        mu_pools_holds(visit, arg);
}

const struct mu_group mu_pool_group = { .name = "pool",
                                        .begin = begin,
                                        .watch = watch,
                                        .hear = hear,
                                        .child_ended = child_ended,
                                        .kid_ended = kid_ended,
                                        .tick = tick,
                                        .stop = stop,
                                        .is_empty = is_empty,
                                        .holds = holds,
                                        .save = mu_pools_save,
                                        .keep = keep,
                                        .in_child = mu_keeper_in_child };
