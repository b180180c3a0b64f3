/*
 * control: the socket by which an administrator speaks to the pools of a running server (musterctl
 * pool). One line comes, lines go back, the last of them "ok" or "error: why". It lies in the
 * sockets' folder, is the supervisor's user's alone, and the kernel says who connects. The supervisor
 * waits for nobody: who is slow to ask or to read is dropped.
 */
#include "pool/keeper.h"
#include "pool/web.h"

#include <errno.h>
#include <fcntl.h>
#include <muster/log.h>
#include <muster/str.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CONTROL_NAME "control"

enum { CLIENTS_MAX = 8, LINE_MAX_LEN = 128, PATIENCE_MS = 5000, BACKLOG = 8 };

struct client {
    int fd; /* -1: a free place */
    char line[LINE_MAX_LEN];
    size_t line_n;
    struct mu_buf answer; /* what is left to send */
    bool is_answered;
    int64_t deadline_ms;
};

static struct {
    int fd; /* listens; -1 */
    struct client clients[CLIENTS_MAX];
    bool is_ready;
} control = { .fd = -1 };

/* ---- the socket ---- */

static void prepare(void)
{
    for (size_t i = 0; !control.is_ready && i < CLIENTS_MAX; i++)
        control.clients[i].fd = -1;
    control.is_ready = true;
}

void mu_control_open(void)
{
    struct sockaddr_un sa;
    socklen_t len = mu_pool_address(mu_keeper.dir_fd, CONTROL_NAME, &sa);
    mode_t mask;
    bool is_good;

    prepare();
    control.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mask = umask(0177);
    is_good = control.fd >= 0 && bind(control.fd, (struct sockaddr *)&sa, len) == 0;
    umask(mask);
    if (is_good && listen(control.fd, BACKLOG) == 0)
        return;
    MU_LOG(NULL, "pool", MU_LOG_ERR, "MU0950",
           "no control socket in %s: %s; musterctl pool will not work", mu_keeper.dir,
           strerror(errno));
    if (control.fd >= 0)
        close(control.fd);
    control.fd = -1;
}

static void drop(struct client *c)
{
    close(c->fd);
    mu_buf_fini(&c->answer);
    *c = (struct client){ .fd = -1 };
}

void mu_control_forget(void)
{
    prepare();
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        if (control.clients[i].fd >= 0)
            drop(&control.clients[i]);
    }
    if (control.fd >= 0)
        close(control.fd);
    control.fd = -1;
}

void mu_control_close(void)
{
    if (control.fd >= 0)
        (void)unlinkat(mu_keeper.dir_fd, CONTROL_NAME, 0);
    mu_control_forget();
}

int mu_control_fd(void)
{
    return control.fd;
}

void mu_control_adopt(int fd)
{
    prepare();
    control.fd = fd;
}

/* ---- what is asked ---- */

static const char *state_name(const struct mu_proc *x)
{
    static const char *const names[] = { "none", "starting", "idle",  "busy",
                                         "busy", "in-doubt", "spent", "leaving" };
    enum mu_slot_state s = mu_board_state(x->pool->board, x->slot);

    if (x->state == MU_PROC_STARTING)
        return "starting";
    if (x->state == MU_PROC_LEAVING)
        return "leaving";
    if (x->epoch < x->pool->ready_epoch || x->pool->is_stopped)
        return "finishing";
    return (size_t)s < MU_ARRAY_LEN(names) ? names[s] : "none";
}

static bool is_idle(const struct mu_proc *x)
{
    return x->state == MU_PROC_SERVING && mu_board_state(x->pool->board, x->slot) == MU_SLOT_IDLE;
}

static const char *condition(const struct mu_pool *p)
{
    if (!p->conf)
        return "removed";
    return p->is_stopped ? "stopped" : "running";
}

static void print_list(struct mu_buf *b)
{
    mu_buf_addf(b, "%-20s %-8s %9s %6s %7s\n", "pool", "state", "processes", "idle", "waiting");
    MU_POOL_FOR(p)
    {
        uint32_t idle = 0;
        int64_t since_ms;

        MU_PROC_FOR(x, p)
        idle += is_idle(x);
        mu_buf_addf(b, "%-20s %-8s %9u %6u %7u\n", p->name, condition(p), p->procs_n, idle,
                    mu_board_waiting(p->board, &since_ms));
    }
}

static unsigned long long counted(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

static void print_proc(struct mu_buf *b, const struct mu_proc *x, int64_t now_ms)
{
    const struct mu_slot_info *i = &x->pool->board->info[x->slot];
    char line[MU_BOARD_REQUEST * 8 + 1] = "";

    if (mu_board_state(x->pool->board, x->slot) == MU_SLOT_BUSY)
        mu_board_get_text(i->request, MU_BOARD_REQUEST, line);
    mu_buf_addf(b, "  process %d %s, up %lld s, %lld KiB, %llu requests%s%s\n", (int)x->pid,
                state_name(x), (long long)((now_ms - x->started_ms) / 1000),
                (long long)(mu_pool_memory_of((uint32_t)x->pid) / 1024), counted(&i->requests),
                line[0] ? ": " : "", line);
}

static void print_status(struct mu_buf *b, struct mu_pool *p, int64_t now_ms)
{
    const struct mu_board_counts *c = &p->board->counts;
    int64_t since_ms;
    uint32_t waiting = mu_board_waiting(p->board, &since_ms);

    mu_buf_addf(b, "pool %s: %s, %u processes", p->name, condition(p), p->procs_n);
    if (p->conf)
        mu_buf_addf(b, " of %lld", (long long)p->conf->max_children);
    mu_buf_addf(b, "\n  requests %llu, queued %llu, waiting %u", counted(&c->requests),
                counted(&c->queued), waiting);
    if (waiting)
        mu_buf_addf(b, " (longest %lld ms)", (long long)mu_board_elapsed(since_ms, now_ms));
    mu_buf_addf(b,
                "\n  refused %llu (queue full), %llu (QueueTimeout), %llu clients left the queue\n"
                "  broken answers %llu, processes started %llu, crashed %llu\n",
                counted(&c->refused), counted(&c->late), counted(&c->left), counted(&c->broken),
                counted(&c->started), counted(&c->crashed));
    MU_PROC_FOR(x, p)
    print_proc(b, x, now_ms);
}

static void note(const char *verb, const struct mu_pool *p)
{
    MU_LOG(NULL, "pool", MU_LOG_NOTICE, "MU0951", "pool %s: %s, by musterctl", p->name, verb);
}

static void act(struct mu_buf *b, struct mu_str verb, struct mu_pool *p, int64_t now_ms)
{
    if (mu_str_eq(verb, MU_S("status"))) {
        print_status(b, p, now_ms);
    } else if (!p->conf) {
        mu_buf_addf(b, "error: pool %s is no longer in the configuration\n", p->name);
        return;
    } else if (mu_str_eq(verb, MU_S("reload"))) {
        note("reload", p);
        mu_pool_reload(p, now_ms);
    } else if (mu_str_eq(verb, MU_S("stop"))) {
        note("stop", p);
        mu_pool_stop(p);
    } else if (mu_str_eq(verb, MU_S("start"))) {
        note("start", p);
        if (p->is_stopped)
            mu_pool_start(p);
    } else {
        mu_buf_addf(b, "error: \"%.*s\": allowed are list, status, reload, stop and start\n",
                    MU_FMT(verb));
        return;
    }
    mu_buf_add(b, MU_S("ok\n"));
}

static void reply(struct mu_buf *b, struct mu_str line, int64_t now_ms)
{
    struct mu_str verb = MU_STR_NULL, name;
    struct mu_pool *p;

    (void)mu_str_split(&line, ' ', &verb);
    name = mu_str_trim(line);
    p = name.n ? mu_pool_find(name) : NULL;
    if (p) {
        act(b, verb, p, now_ms);
    } else if (name.n) {
        mu_buf_addf(b, "error: there is no pool \"%.*s\"\n", MU_FMT(name));
    } else if (mu_str_eq(verb, MU_S("list"))) {
        print_list(b);
        mu_buf_add(b, MU_S("ok\n"));
    } else if (mu_str_eq(verb, MU_S("status"))) {
        MU_POOL_FOR(each)
        print_status(b, each, now_ms);
        mu_buf_add(b, MU_S("ok\n"));
    } else {
        mu_buf_addf(b, "error: %.*s needs the name of a pool\n", MU_FMT(verb));
    }
}

/* ---- clients ---- */

/* Who may stop an application: root, and who has started the server. */
static bool is_allowed(int fd)
{
    struct ucred who;
    socklen_t len = sizeof(who);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 &&
           (who.uid == 0 || who.uid == geteuid());
}

static void accept_one(int64_t now_ms)
{
    int fd = accept4(control.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    for (size_t i = 0; i < CLIENTS_MAX && is_allowed(fd); i++) {
        struct client *c = &control.clients[i];

        if (c->fd >= 0)
            continue;
        *c = (struct client){ .fd = fd, .deadline_ms = now_ms + PATIENCE_MS };
        return;
    }
    close(fd);
}

static void send_on(struct client *c)
{
    ssize_t n = send(c->fd, c->answer.p, c->answer.n, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n > 0)
        mu_buf_consume(&c->answer, (size_t)n);
    if (!c->answer.n || (n < 0 && errno != EAGAIN && errno != EINTR))
        drop(c);
}

static void hear_client(struct client *c, int64_t now_ms)
{
    char *end;
    ssize_t n;

    if (c->is_answered) {
        send_on(c);
        return;
    }
    n = recv(c->fd, c->line + c->line_n, sizeof(c->line) - c->line_n, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    c->line_n += n > 0 ? (size_t)n : 0;
    end = memchr(c->line, '\n', c->line_n);
    if (!end && (n <= 0 || c->line_n == sizeof(c->line))) {
        drop(c);
        return;
    }
    if (!end)
        return;
    c->is_answered = true;
    reply(&c->answer, mu_str_n(c->line, (size_t)(end - c->line)), now_ms);
    send_on(c);
}

size_t mu_control_watch(struct pollfd *fds, size_t room)
{
    size_t n = 0;

    if (control.fd < 0)
        return 0;
    if (n < room)
        fds[n] = (struct pollfd){ .fd = control.fd, .events = POLLIN };
    n++;
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        const struct client *c = &control.clients[i];

        if (c->fd < 0)
            continue;
        if (n < room)
            fds[n] = (struct pollfd){ .fd = c->fd, .events = c->is_answered ? POLLOUT : POLLIN };
        n++;
    }
    return n;
}

void mu_control_hear(const struct pollfd *fds, size_t n, int64_t now_ms)
{
    for (size_t i = 0; i < n; i++) {
        if (!fds[i].revents)
            continue;
        if (fds[i].fd == control.fd)
            accept_one(now_ms);
        for (size_t k = 0; k < CLIENTS_MAX; k++) {
            if (control.clients[k].fd == fds[i].fd && control.clients[k].fd >= 0)
                hear_client(&control.clients[k], now_ms);
        }
    }
}

int64_t mu_control_tick(int64_t now_ms)
{
    int64_t next = INT64_MAX;

    for (size_t i = 0; control.is_ready && i < CLIENTS_MAX; i++) {
        struct client *c = &control.clients[i];

        if (c->fd < 0)
            continue;
        if (now_ms >= c->deadline_ms)
            drop(c);
        else if (c->deadline_ms < next)
            next = c->deadline_ms;
    }
    return next;
}

/* ---- the other end ---- */

static bool exchange(int fd, const char *line, struct mu_buf *to)
{
    char bytes[4096];
    ssize_t n;

    if (send(fd, line, strlen(line), MSG_NOSIGNAL) != (ssize_t)strlen(line))
        return false;
    while ((n = recv(fd, bytes, sizeof(bytes), 0)) != 0) {
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            mu_buf_add(to, mu_str_n(bytes, (size_t)n));
    }
    return !to->is_failed;
}

enum mu_rc mu_pool_ask(const char *dir, const char *line, struct mu_buf *answer)
{
    int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = dir_fd >= 0 ? mu_pool_connect(dir_fd, CONTROL_NAME) : -1;
    enum mu_rc rc = MU_EIO;
    int saved;

    if (fd >= 0 && fcntl(fd, F_SETFL, 0) == 0 && exchange(fd, line, answer))
        rc = MU_OK;
    saved = errno;
    if (fd >= 0)
        close(fd);
    if (dir_fd >= 0)
        close(dir_fd);
    errno = saved;
    return rc;
}
