/*
 * spawn: from the supervisor to a child. Between fork and the MPM's child_main a child gives up
 * everything that is the supervisor's: its descriptors (above all the ends of its siblings'
 * channels, so that each of them sees the supervisor hang up), its signal mask, and root. From then
 * on only its own channel connects the two.
 */
#include "super/channel.h"
#include "super/master.h"

#include <base/pipelog.h>
#include <errno.h>
#include <muster/log.h>
#include <muster/str.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* A child whose supervisor was killed ends when it is empty; after this time it ends however busy
 * it is. */
enum { ORPHAN_GRACE_S = 60 };

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_boards(struct mu_super *s)
{
    MU_LIST_FOR(at, &s->generations) {
        struct mu_generation *g = MU_CONTAINER_OF(at, struct mu_generation, link);

        if (g == s->now)
            mu_scoreboard_forget_fd(g->board);
        else
            mu_scoreboard_freeze(g->board);
        if (g->locks && g != s->now) {
            mu_accept_locks_destroy(g->locks);
            g->locks = NULL;
        }
    }
}

/* A rehearsal may be running, and have opened sockets that its configuration wants. */
static void close_rehearsal(struct mu_super *s)
{
    struct mu_rehearsal *r = &s->rehearsal;

    close_fd(&r->fd);
    close_fd(&r->tree_fd);
    for (size_t i = 0; i < r->doors_n; i++)
        close_fd(&r->doors[i].listener.fd);
}

/* What is the supervisor's. The channels of siblings matter most: whoever held one could stop a
 * sibling. */
static void close_supervisors(struct mu_super *s)
{
    for (size_t i = 0; i < s->kids_n; i++)
        close_fd(&s->kids[i].channel);
    close_fd(&s->signal_fd);
    close_fd(&s->exe_fd);
    close_fd(&s->parent_fd);
    close_fd(&s->terminal_fd);
    close_fd(&s->state_fd);
    close_fd(&s->back_exe_fd);
    close_rehearsal(s);
    close_boards(s);
    mu_pipelog_child();
}

void mu_super_leave(struct mu_super *s)
{
    close_supervisors(s);
    for (size_t i = 0; i < s->doors_n; i++)
        close_fd(&s->doors[i].listener.fd);
    if (s->now) {
        mu_scoreboard_freeze(s->now->board);
        mu_accept_locks_destroy(s->now->locks);
        s->now->locks = NULL;
    }
    mu_terminal_leave();
    mu_signals_default();
}

static void orphaned(int sig)
{
    (void)sig;
    alarm(ORPHAN_GRACE_S);
}

/* TERM ends a child that hangs; what a terminal sends to the whole group is the supervisor's to act
 * on. */
static void child_signals(void)
{
    static const int ignored[] = { SIGINT, SIGHUP, SIGUSR1, SIGWINCH, SIGPIPE };
    struct sigaction ignore = { .sa_handler = SIG_IGN }, dfl = { .sa_handler = SIG_DFL };
    struct sigaction orphan = { .sa_handler = orphaned, .sa_flags = SA_RESTART };
    sigset_t none;

    for (size_t i = 0; i < MU_ARRAY_LEN(ignored); i++)
        sigaction(ignored[i], &ignore, NULL);
    sigaction(SIGTERM, &dfl, NULL);
    sigaction(SIGALRM, &dfl, NULL);
    sigaction(SIGCHLD, &dfl, NULL);
    sigaction(SIGUSR2, &orphan, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool drop_privileges(struct mu_super *s)
{
    char err[256];

    if (!s->identity.user) { /* not root, which may have been given capabilities all the same */
        if (mu_capabilities_drop())
            return true;
        MU_LOG(NULL, mu_super_module(s), MU_LOG_EMERG, "MU0733",
               "child cannot give up its capabilities: %s", strerror(errno));
        return false;
    }
    if (mu_identity_assume(&s->identity, err, sizeof(err)) == MU_OK)
        return true;
    MU_LOG(NULL, mu_super_module(s), MU_LOG_EMERG, "MU0730", "child cannot become user %s: %s",
           s->identity.user, err);
    return false;
}

static void core_dumps(struct mu_super *s)
{
    const char *dir =
        s->settings->core_dump_dir.n ? mu_cstr(s->config->arena, s->settings->core_dump_dir) : NULL;

    if (!dir)
        return;
    if (chdir(dir) != 0 || !mu_allow_core_dumps())
        MU_LOG(NULL, mu_super_module(s), MU_LOG_WARN, "MU0731",
               "CoreDumpDirectory %s cannot be used: %s", dir, strerror(errno));
}

/* The listeners of a bucket, in the process's own memory. The others are closed. */
static bool take_listeners(struct mu_super *s, struct mu_child *child, uint32_t bucket)
{
    struct mu_listener **mine = calloc(s->doors_n ? s->doors_n : 1, sizeof(struct mu_listener *));

    if (!mine)
        return false;
    for (size_t i = 0; i < s->doors_n; i++) {
        struct mu_door *d = &s->doors[i];

        if (d->is_wanted && d->listener.bucket == bucket)
            mine[child->listeners_n++] = &d->listener;
        else
            close_fd(&d->listener.fd);
    }
    child->listeners = mine;
    return true;
}

static bool child_init(struct mu_super *s, struct mu_child *child, uint32_t place, int channel)
{
    uint32_t bucket = s->buckets ? place % s->buckets : 0;

    *child = (struct mu_child){
        .config = s->config,
        .limits = &s->limits,
        .scoreboard = s->now->board,
        .index = place,
        .generation = s->now->number,
        .stop_fd = channel,
        .accept_lock = s->now->locks ? mu_accept_locks_at(s->now->locks, bucket) : NULL,
    };
    return take_listeners(s, child, bucket);
}

static int child_run(struct mu_super *s, uint32_t place, int channel)
{
    static struct mu_child child; /* reachable to the end: leak checkers see what hangs on it */
    pid_t supervisor = getppid();

    close_supervisors(s);
    mu_groups_in_child(s);
    mu_terminal_leave();
    child_signals();
    if (!drop_privileges(s))
        return MU_CHILD_FAILED;
    core_dumps(s);
    /* After the change of user, which clears it. The channel's hang-up says the same to a child
     * that listens. */
    prctl(PR_SET_PDEATHSIG, SIGUSR2);
    if (getppid() != supervisor)
        return 0;
    if (!child_init(s, &child, place, channel))
        return MU_CHILD_FAILED;
    mu_scoreboard_begin_child(child.scoreboard, place, (uint32_t)getpid(), child.generation);
    return s->mpm->child_main(&child);
}

void mu_child_close_listeners(const struct mu_child *child)
{
    for (size_t i = 0; i < child->listeners_n; i++)
        close_fd(&child->listeners[i]->fd);
}

static bool find_place(const struct mu_super *s, uint32_t *place)
{
    uint32_t n = mu_scoreboard_children(s->now->board);

    for (uint32_t i = 0; i < n; i++) {
        if (!s->now->taken[i]) {
            *place = i;
            return true;
        }
    }
    return false;
}

enum mu_rc mu_super_spawn(struct mu_super *s)
{
    uint32_t place;
    int pair[2];
    struct mu_kid *k;

    if (!find_place(s, &place))
        return MU_LIMIT;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        goto failed;
    k = mu_kid_add(s, s->now, place);
    if (!k) {
        close(pair[0]);
        close(pair[1]);
        return MU_NOMEM;
    }
    k->channel = pair[0];
    k->started_ms = mu_super_now();
    fflush(NULL);
    k->pid = fork();
    if (k->pid == 0)
        exit(child_run(s, place, pair[1]));
    close(pair[1]);
    if (k->pid > 0)
        return MU_OK;
    mu_kid_remove(s, k);
failed:
    MU_LOG(NULL, mu_super_module(s), MU_LOG_ERR, "MU0732", "cannot start a child: %s",
           strerror(errno));
    return MU_EIO;
}

/* -X: signals go into the channel, as the supervisor's requests would. */
static int single_channel = -1;

static void single_stop(int sig)
{
    static const char now[2] = { MU_CHANNEL_STOP, MU_CHANNEL_STOP };
    int saved = errno;

    (void)!send(single_channel, now, sig == SIGWINCH || sig == SIGUSR1 ? 1 : 2,
                MSG_DONTWAIT | MSG_NOSIGNAL);
    errno = saved;
}

int mu_super_single(struct mu_super *s)
{
    static const int stopping[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };
    static struct mu_child child;
    struct sigaction stop = { .sa_handler = single_stop, .sa_flags = SA_RESTART };
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    int pair[2];
    sigset_t none;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 ||
        !child_init(s, &child, 0, pair[1]))
        return 1;
    single_channel = pair[0];
    for (size_t i = 0; i < MU_ARRAY_LEN(stopping); i++)
        sigaction(stopping[i], &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (!drop_privileges(s))
        return 1;
    mu_scoreboard_begin_child(child.scoreboard, 0, (uint32_t)getpid(), child.generation);
    return s->mpm->child_main(&child);
}
