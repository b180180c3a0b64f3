/*
 * takeover: a new image of the supervisor finds itself in the process of the old one. It reads the
 * state, puts every descriptor and child back into its tables, applies the tree that the rehearsal
 * resolved, and starts a generation of its own beside the old one. Until that one serves,
 * everything can still be given back to the old binary; the old generation is told to go only
 * afterwards, so there is never a moment without someone who accepts. After HUP the old children
 * are told to go as soon as the modules have started.
 */
#include "super/master.h"
#include "super/state.h"

#include <base/pipelog.h>
#include <errno.h>
#include <fcntl.h>
#include <muster/log.h>
#include <muster/str.h>
#include <stdlib.h>
#include <unistd.h>

/* What the records said, beside what went into the tables. */
struct taken {
    uint64_t number;
    bool is_hard;
    struct mu_str tree_old, tree_new, reason;
};

static bool take_u64(struct mu_str v, uint64_t *out)
{
    return mu_state_head(&v, out, sizeof(*out));
}

static enum mu_rc adopt_listener(struct mu_super *s, struct mu_str v)
{
    struct mu_state_listener l;

    if (!mu_state_head(&v, &l, sizeof(l)))
        return MU_BAD;
    return mu_doors_add(&s->doors, &s->doors_n, (int)l.fd, (uint32_t)l.bucket) ? MU_OK : MU_NOMEM;
}

/* Adopting takes over a descriptor, and closes it when it fails: so it is given another one. */
static int copy_of(int64_t fd)
{
    return fcntl((int)fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

static enum mu_rc adopt_board(struct mu_super *s, struct mu_str v)
{
    struct mu_state_board r;
    struct mu_scoreboard *board;
    struct mu_accept_locks *locks = NULL;
    enum mu_rc rc;

    if (!mu_state_head(&v, &r, sizeof(r)))
        return MU_BAD;
    board = mu_scoreboard_adopt(copy_of(r.board_fd), (uint32_t)r.children, (uint32_t)r.slots);
    if (r.locks_fd >= 0)
        locks = mu_accept_locks_adopt(copy_of(r.locks_fd), (uint32_t)r.locks);
    if (!board) {
        mu_accept_locks_destroy(locks);
        return MU_BAD;
    }
    rc = mu_generation_adopt(s, r.generation, board, locks);
    if (rc == MU_OK)
        mu_generation_find(s, r.generation)->asked = (enum mu_stop)r.asked;
    return rc;
}

static enum mu_rc adopt_kid(struct mu_super *s, struct mu_str v)
{
    struct mu_state_child r;
    struct mu_generation *g;
    struct mu_kid *k;

    if (!mu_state_head(&v, &r, sizeof(r)))
        return MU_BAD;
    g = mu_generation_find(s, r.generation);
    if (!g || r.place >= mu_scoreboard_children(g->board))
        return MU_BAD;
    k = mu_kid_add(s, g, (uint32_t)r.place);
    if (!k)
        return MU_NOMEM;
    k->pid = (pid_t)r.pid;
    k->channel = (int)r.channel_fd;
    k->is_ready = r.flags & MU_STATE_CHILD_READY;
    k->is_leaving = r.flags & MU_STATE_CHILD_LEAVING;
    k->has_term = r.flags & MU_STATE_CHILD_TERM;
    k->has_kill = r.flags & MU_STATE_CHILD_KILL;
    k->is_deaf = r.flags & MU_STATE_CHILD_DEAF;
    k->asked = (enum mu_stop)r.asked;
    k->bytes_seen = (uint32_t)r.bytes_seen;
    k->started_ms = r.started_ms;
    k->ready_ms = r.ready_ms;
    k->asked_ms = r.asked_ms;
    return MU_OK;
}

static enum mu_rc adopt_pipelog(struct mu_str v)
{
    struct mu_state_pipelog r;
    struct mu_pipelog_state p;

    if (!mu_state_head(&v, &r, sizeof(r)))
        return MU_BAD;
    p = (struct mu_pipelog_state){
        .spec = v, .pid = (pid_t)r.pid, .read_fd = (int)r.read_fd, .write_fd = (int)r.write_fd
    };
    return mu_pipelog_import(&p);
}

static enum mu_rc take_record(struct mu_super *s, uint32_t key, struct mu_str v, struct taken *t)
{
    uint64_t u = 0;

    switch (key) {
    case MU_STATE_GENERATION:
        return take_u64(v, &t->number) ? MU_OK : MU_BAD;
    case MU_STATE_START_TIME:
        s->start_time = take_u64(v, &u) ? (int64_t)u : s->start_time;
        return MU_OK;
    case MU_STATE_IS_HARD:
        t->is_hard = take_u64(v, &u) && u;
        return MU_OK;
    case MU_STATE_IS_DAEMON:
        s->is_daemon = take_u64(v, &u) && u;
        return MU_OK;
    case MU_STATE_PENDING:
        s->pending |= take_u64(v, &u) ? (unsigned)u : 0;
        return MU_OK;
    case MU_STATE_TREE_OLD:
        t->tree_old = v;
        return MU_OK;
    case MU_STATE_TREE_NEW:
        t->tree_new = v;
        return MU_OK;
    case MU_STATE_PIDFILE:
        s->pid_path = strndup(v.p, v.n);
        return s->pid_path ? MU_OK : MU_NOMEM;
    case MU_STATE_LISTENER:
        return adopt_listener(s, v);
    case MU_STATE_BOARD:
        return adopt_board(s, v);
    case MU_STATE_CHILD:
        return adopt_kid(s, v);
    case MU_STATE_PIPELOG:
        return adopt_pipelog(v);
    case MU_STATE_GROUP:
    case MU_STATE_GROUP_HOLD:
        return mu_groups_take(s, key, v);
    default:
        return key >= MU_STATE_OPTIONAL ? MU_OK : MU_BAD;
    }
}

/* All records must be understood before any is acted on: what is refused is then as the old binary
 * left it. */
static enum mu_rc check_keys(struct mu_str at)
{
    uint32_t key;
    struct mu_str value;
    enum mu_rc rc;

    while ((rc = mu_state_next(&at, &key, &value)) == MU_OK) {
        if (key > MU_STATE_LAST && key < MU_STATE_OPTIONAL)
            return MU_BAD;
    }
    return rc == MU_EOF ? MU_OK : MU_BAD;
}

/* The descriptors that the boards' records name, now that the tables have copies of them. */
static void close_originals(struct mu_str at)
{
    struct mu_state_board r;
    struct mu_str value;
    uint32_t key;

    while (mu_state_next(&at, &key, &value) == MU_OK) {
        if (key != MU_STATE_BOARD || !mu_state_head(&value, &r, sizeof(r)))
            continue;
        close((int)r.board_fd);
        if (r.locks_fd >= 0)
            close((int)r.locks_fd);
    }
}

/* All or nothing: when a record fails, every descriptor is as the old binary left it. */
static enum mu_rc adopt_state(struct mu_super *s, struct taken *t)
{
    struct mu_str at, all, value;
    uint32_t key;
    enum mu_rc rc;

    if (mu_state_from_fd(s->state_fd, &s->state) != MU_OK ||
        mu_state_open(mu_buf_str(&s->state), &at) != MU_OK || check_keys(at) != MU_OK)
        return MU_BAD;
    all = at;
    while ((rc = mu_state_next(&at, &key, &value)) == MU_OK) {
        if (take_record(s, key, value, t) != MU_OK) {
            mu_reexec_keep_loggers(true);
            return MU_BAD;
        }
    }
    t->reason = at;
    close_originals(all);
    mu_reexec_keep(s, false);
    s->is_adopted = true;
    return MU_OK;
}

static void gather(void *arg, bool is_error, const char *text)
{
    struct mu_buf *why = arg;

    if (!is_error)
        return;
    if (why->n)
        mu_buf_addc(why, ' ');
    mu_buf_add(why, mu_str_c(text));
}

enum mu_rc mu_super_pid_file(struct mu_super *s)
{
    const char *path = mu_super_pid_path(s->config);
    char *copy;

    if (s->pid_path && strcmp(s->pid_path, path) == 0)
        return MU_OK;
    copy = strdup(path);
    if (!copy || mu_pidfile_write(path, getpid()) != MU_OK) {
        free(copy);
        return mu_config_error(s->config, "cannot write PidFile %s: %s", path, strerror(errno));
    }
    if (s->pid_path)
        unlink(s->pid_path);
    free(s->pid_path);
    s->pid_path = copy;
    return MU_OK;
}

/* The generation of this image: a new one, or in a fall-back the one that went on serving all the
 * time. */
static enum mu_rc begin(struct mu_super *s, const struct taken *t)
{
    struct mu_score_totals base = { 0, 0, 0 };
    struct mu_generation *old = mu_generation_find(s, t->number);
    bool is_new = !s->opts->is_fallback;

    if (mu_super_begin(s, is_new ? t->number + 1 : t->number) != MU_OK ||
        mu_super_pid_file(s) != MU_OK || mu_groups_begin(s) != MU_OK)
        return MU_BAD;
    if (!is_new)
        return MU_OK;
    if (t->is_hard)
        s->start_time = s->config_time;
    else if (old)
        base = mu_scoreboard_base(old->board);
    mu_scoreboard_set_base(s->now->board, &base);
    return MU_OK;
}

/* What a child of the old generation claims to be serving, in workers of the new one. */
static uint64_t in_use(const struct mu_super *s, const struct mu_kid *k)
{
    const struct mu_score_child *c = mu_scoreboard_child(k->generation->board, k->place);

    /* An idle connection needs a worker of its own, but under an async MPM. */
    return atomic_load_explicit(s->mpm->is_async ? &c->busy : &c->connections,
                                memory_order_relaxed);
}

/*
 * Under load the new generation must not begin so small that clients wait for it to grow. The
 * claims of children are believed as far as the administrator's limits go.
 */
static void keep_size(struct mu_super *s)
{
    uint64_t workers = s->limits.min_spare, children;

    for (size_t i = 0; i < s->kids_n; i++) {
        if (s->kids[i].asked == MU_STOP_NONE)
            workers += in_use(s, &s->kids[i]);
    }
    children = (workers + s->limits.workers_per_child - 1) / s->limits.workers_per_child;
    if (children > s->limits.children_max)
        children = s->limits.children_max;
    if (children > s->limits.start)
        s->limits.start = (uint32_t)children;
}

static void stop_old(struct mu_super *s)
{
    MU_LIST_FOR(at, &s->generations) {
        struct mu_generation *g = MU_CONTAINER_OF(at, struct mu_generation, link);

        if (g != s->now)
            mu_generation_stop(s, g, MU_STOP_NOW);
    }
}

static void resume(struct mu_super *s, const struct taken *t)
{
    s->is_up = true;
    mu_doors_close_unwanted(s);
    mu_pipelog_retire_unclaimed();
    MU_LOG(NULL, mu_super_module(s), MU_LOG_ERR, "MU0780",
           "the take-over by the new binary failed, the old one goes on: %.*s", MU_FMT(t->reason));
    mu_takeover_done(s);
    (void)mu_sd_ready(NULL);
}

/* Returns only in vain: the reason is then fatal. */
static enum mu_rc go_back(struct mu_super *s, struct mu_buf *why, const char *what)
{
    if (!why->n)
        mu_buf_add(why, mu_str_c(what));
    mu_buf_addc(why, '\0');
    if (!s->opts->is_fallback)
        mu_reexec_back(s, why->is_failed ? what : why->p);
    MU_LOG(NULL, "core", MU_LOG_EMERG, "MU0781", "cannot take over: %s",
           why->is_failed ? what : why->p);
    mu_buf_fini(why);
    return MU_BAD;
}

enum mu_rc mu_takeover(struct mu_super *s)
{
    static struct mu_buf why; /* the configuration reports into it as long as it lives */
    struct taken t = { 0 };

    s->state_fd = s->opts->takeover_fd;
    s->back_exe_fd = s->opts->takeover_exe_fd;
    if (!mu_super_signals(s))
        return go_back(s, &why, "signals cannot be received");
    if (adopt_state(s, &t) != MU_OK)
        return go_back(s, &why, "the state that the old binary wrote is not understood");
    mu_set_cloexec(s->state_fd, true);
    mu_set_cloexec(s->back_exe_fd, true);
    if (mu_super_load(s, s->opts->is_fallback ? t.tree_old : t.tree_new, gather, &why) != MU_OK)
        return go_back(s, &why, "the configuration cannot be applied");
    if (s->is_daemon)
        (void)!chdir("/");
    if (mu_doors_open(s) != MU_OK)
        return go_back(s, &why, "the listening sockets cannot be had");
    if (!t.is_hard)
        keep_size(s);
    if (begin(s, &t) != MU_OK)
        return go_back(s, &why, "the modules cannot be started");
    if (s->opts->is_fallback)
        resume(s, &t);
    else if (t.is_hard)
        stop_old(s);
    return MU_OK;
}
