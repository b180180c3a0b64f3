/*
 * groups: the processes that the supervisor owns beside its web children, each kind behind the
 * vtable of group.h. What a restart hands over of a group is its own text, and beside it a list of
 * its processes and descriptors, so that an image which lacks the group, or a start that fails, can
 * end and close what nobody would look after any more. A group's state is passed on as it came until
 * the group has begun.
 */
#include "super/group.h"

#include "super/master.h"
#include "super/state.h"

#include <errno.h>
#include <muster/log.h>
#include <muster/str.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PATIENCE_MS = 10000,       /* after MU_STOP_NOW, and for processes of no group */
    FINISH_PATIENCE_MS = 5000, /* where nothing else is left to do */
    FINISH_STEP_MS = 20,
    BLIND_FDS = 64,
};

static struct mu_super *owner; /* for leave(): there is one supervisor in a process */

static const struct mu_group *group_at(const struct mu_super *s, size_t i)
{
    return s->opts->groups[i];
}

/* Groups whose name the state gives: NULL when this image has none. */
static const struct mu_group *find(const struct mu_super *s, struct mu_str name)
{
    for (size_t i = 0; i < s->groups.n; i++) {
        if (mu_str_eq(mu_str_c(group_at(s, i)->name), name))
            return group_at(s, i);
    }
    return NULL;
}

static bool has_begun(const struct mu_super *s, struct mu_str name)
{
    for (size_t i = 0; i < s->groups.begun; i++) {
        if (mu_str_eq(mu_str_c(group_at(s, i)->name), name))
            return true;
    }
    return false;
}

static void count(struct mu_super *s)
{
    s->groups.n = 0;
    while (s->opts->groups && s->opts->groups[s->groups.n])
        s->groups.n++;
}

enum mu_rc mu_groups_check(const struct mu_super_opts *opts, struct mu_config *config)
{
    enum mu_rc rc = MU_OK;

    for (size_t i = 0; opts->groups && opts->groups[i]; i++) {
        if (opts->groups[i]->check && opts->groups[i]->check(config) != MU_OK)
            rc = MU_BAD;
    }
    return rc;
}

enum mu_rc mu_super_check_groups(const struct mu_super_opts *opts, struct mu_config *config)
{
    return mu_groups_check(opts, config);
}

static void leave(void)
{
    struct mu_super *s = owner;

    mu_super_leave(s);
    for (size_t i = 0; i < s->groups.begun; i++) {
        if (group_at(s, i) != s->groups.caller)
            group_at(s, i)->in_child();
    }
}

static bool has_older_kids(void)
{
    for (size_t i = 0; i < owner->kids_n; i++) {
        if (owner->kids[i].generation != owner->now)
            return true;
    }
    return false;
}

static struct mu_str state_of(const struct mu_super *s, const struct mu_group *g)
{
    for (size_t i = 0; i < s->groups.given_n; i++) {
        if (mu_str_eq(s->groups.given[i].name, mu_str_c(g->name)))
            return s->groups.given[i].state;
    }
    return MU_STR_NULL;
}

enum mu_rc mu_groups_begin(struct mu_super *s)
{
    static struct mu_group_env env; /* as long as the supervisor */

    owner = s;
    env = (struct mu_group_env){ .config = s->config,
                                 .identity = &s->identity,
                                 .generation = s->now->number,
                                 .is_single = s->is_single,
                                 .leave_supervisor = leave,
                                 .has_older_kids = has_older_kids };
    count(s);
    while (s->groups.begun < s->groups.n) {
        const struct mu_group *g = group_at(s, s->groups.begun);
        enum mu_rc rc;

        s->groups.caller = g;
        rc = g->begin(&env, state_of(s, g));
        s->groups.caller = NULL;
        if (rc != MU_OK)
            return mu_config_error(s->config,
                                   "%s: could not start; the lines above or the error log say why",
                                   g->name);
        s->groups.begun++;
        g->keep(false);
    }
    return MU_OK;
}

/* What the image before gave. */

static enum mu_rc take_state(struct mu_groups *g, struct mu_str value)
{
    uint64_t len;
    struct mu_given_group *v;

    if (!mu_state_head(&value, &len, sizeof(len)) || len > value.n)
        return MU_BAD;
    v = reallocarray(g->given, g->given_n + 1, sizeof(*v));
    if (!v)
        return MU_NOMEM;
    g->given = v;
    v[g->given_n++] = (struct mu_given_group){ .name = mu_str_sub(value, 0, (size_t)len),
                                               .state = mu_str_sub(value, (size_t)len, value.n) };
    return MU_OK;
}

static enum mu_rc take_hold(struct mu_groups *g, struct mu_str value)
{
    struct mu_state_hold h;
    struct mu_given_hold *v;

    if (!mu_state_head(&value, &h, sizeof(h)) || h.pid < 0 || h.pid > INT32_MAX || h.fd < -1 ||
        h.fd > INT32_MAX)
        return MU_BAD;
    v = reallocarray(g->holds, g->holds_n + 1, sizeof(*v));
    if (!v)
        return MU_NOMEM;
    g->holds = v;
    v[g->holds_n++] = (struct mu_given_hold){ .name = value, .pid = (pid_t)h.pid, .fd = (int)h.fd };
    return MU_OK;
}

enum mu_rc mu_groups_take(struct mu_super *s, uint32_t key, struct mu_str value)
{
    return key == MU_STATE_GROUP ? take_state(&s->groups, value) : take_hold(&s->groups, value);
}

static void add_stray(struct mu_super *s, const struct mu_given_hold *h)
{
    struct mu_groups *g = &s->groups;
    struct mu_stray *v = reallocarray(g->strays, g->strays_n + 1, sizeof(*v));

    MU_LOG(NULL, mu_super_module(s), MU_LOG_WARN, "MU0791",
           "process %d of \"%.*s\" has nobody to look after it any more: it is sent SIGTERM",
           (int)h->pid, MU_FMT(h->name));
    kill(h->pid, SIGTERM);
    if (!v) /* it is reaped all the same, and gets no SIGKILL */
        return;
    g->strays = v;
    v[g->strays_n++] = (struct mu_stray){ .pid = h->pid, .since_ms = mu_super_now() };
}

static void drop_given(struct mu_groups *g)
{
    free(g->given);
    free(g->holds);
    g->given = NULL;
    g->holds = NULL;
    g->given_n = g->holds_n = 0;
}

void mu_groups_settle(struct mu_super *s)
{
    for (size_t i = 0; i < s->groups.holds_n; i++) {
        const struct mu_given_hold *h = &s->groups.holds[i];

        if (find(s, h->name))
            continue;
        if (h->fd >= 0)
            close(h->fd);
        if (h->pid > 0)
            add_stray(s, h);
    }
    drop_given(&s->groups);
    for (size_t i = 0; i < s->groups.begun; i++) {
        if (group_at(s, i)->settled)
            group_at(s, i)->settled();
    }
}

/* What the next image is given. */

static void put_group(struct mu_buf *b, struct mu_str name, struct mu_str state)
{
    struct mu_buf value = { 0 };
    uint64_t len = name.n;

    mu_buf_add(&value, mu_str_n((const char *)&len, sizeof(len)));
    mu_buf_add(&value, name);
    mu_buf_add(&value, state);
    b->is_failed |= value.is_failed;
    mu_state_put(b, MU_STATE_GROUP, NULL, 0, mu_buf_str(&value));
    mu_buf_fini(&value);
}

static void put_hold(struct mu_buf *b, struct mu_str name, pid_t pid, int fd)
{
    struct mu_state_hold h = { .pid = pid, .fd = fd };

    mu_state_put(b, MU_STATE_GROUP_HOLD, &h, sizeof(h), name);
}

struct putting {
    struct mu_buf *b;
    struct mu_str name;
};

static void put_visited(void *arg, pid_t pid, int fd)
{
    const struct putting *p = arg;

    put_hold(p->b, p->name, pid, fd);
}

/* What came for groups that have not begun, or are not known here, goes on as it came. */
static void pass_on(const struct mu_super *s, struct mu_buf *b)
{
    for (size_t i = 0; i < s->groups.given_n; i++) {
        if (!has_begun(s, s->groups.given[i].name))
            put_group(b, s->groups.given[i].name, s->groups.given[i].state);
    }
    for (size_t i = 0; i < s->groups.holds_n; i++) {
        const struct mu_given_hold *h = &s->groups.holds[i];

        if (!has_begun(s, h->name))
            put_hold(b, h->name, h->pid, h->fd);
    }
    for (size_t i = 0; i < s->groups.strays_n; i++)
        put_hold(b, MU_STR_NULL, s->groups.strays[i].pid, -1);
}

bool mu_groups_save(struct mu_super *s, struct mu_buf *b)
{
    for (size_t i = 0; i < s->groups.begun; i++) {
        const struct mu_group *g = group_at(s, i);
        struct putting p = { .b = b, .name = mu_str_c(g->name) };
        struct mu_buf state = { 0 };
        bool is_good = g->save(&state) == MU_OK && !state.is_failed;

        if (is_good)
            put_group(b, p.name, mu_buf_str(&state));
        mu_buf_fini(&state);
        if (!is_good)
            return false;
        if (g->holds)
            g->holds(put_visited, &p);
    }
    pass_on(s, b);
    return !b->is_failed;
}

void mu_groups_keep(struct mu_super *s, bool is_kept)
{
    for (size_t i = 0; i < s->groups.begun; i++)
        group_at(s, i)->keep(is_kept);
    for (size_t i = 0; i < s->groups.holds_n; i++) {
        const struct mu_given_hold *h = &s->groups.holds[i];

        if (h->fd >= 0 && !has_begun(s, h->name))
            mu_set_cloexec(h->fd, !is_kept);
    }
}

/* The loop's. */

size_t mu_groups_count(const struct mu_super *s)
{
    return s->groups.begun;
}

size_t mu_groups_watch(struct mu_super *s, size_t i, struct pollfd *fds, size_t room)
{
    return group_at(s, i)->watch(fds, room);
}

void mu_groups_hear(struct mu_super *s, size_t i, const struct pollfd *fds, size_t n)
{
    s->groups.caller = group_at(s, i);
    s->groups.caller->hear(fds, n, mu_super_now());
    s->groups.caller = NULL;
}

void mu_groups_hear_all(struct mu_super *s)
{
    static struct pollfd fds[BLIND_FDS];

    for (size_t i = 0; i < s->groups.begun; i++) {
        size_t n = mu_groups_watch(s, i, fds, BLIND_FDS);

        n = n < BLIND_FDS ? n : BLIND_FDS;
        if (poll(fds, n, 0) > 0)
            mu_groups_hear(s, i, fds, n);
    }
}

static bool is_stray(struct mu_groups *g, pid_t pid)
{
    for (size_t i = 0; i < g->strays_n; i++) {
        if (g->strays[i].pid == pid) {
            g->strays[i] = g->strays[--g->strays_n];
            if (g->strays_n == 0) {
                free(g->strays);
                g->strays = NULL;
            }
            return true;
        }
    }
    return false;
}

bool mu_groups_child_ended(struct mu_super *s, pid_t pid, int status)
{
    bool is_ours = is_stray(&s->groups, pid);

    for (size_t i = 0; !is_ours && i < s->groups.begun; i++) {
        s->groups.caller = group_at(s, i);
        is_ours = s->groups.caller->child_ended(pid, status, mu_super_now());
    }
    s->groups.caller = NULL;
    return is_ours;
}

void mu_groups_kid_ended(struct mu_super *s, pid_t pid)
{
    for (size_t i = 0; i < s->groups.begun; i++) {
        if (group_at(s, i)->kid_ended)
            group_at(s, i)->kid_ended(pid, mu_super_now());
    }
}

static int64_t press_strays(struct mu_groups *g, int64_t now_ms)
{
    int64_t next = INT64_MAX;

    for (size_t i = 0; i < g->strays_n; i++) {
        struct mu_stray *p = &g->strays[i];

        if (p->has_kill)
            continue;
        if (now_ms >= p->since_ms + PATIENCE_MS) {
            p->has_kill = true;
            kill(p->pid, SIGKILL);
        } else if (p->since_ms + PATIENCE_MS < next) {
            next = p->since_ms + PATIENCE_MS;
        }
    }
    return next;
}

static void kill_visited(void *arg, pid_t pid, int fd)
{
    const struct mu_group *g = arg;

    (void)fd;
    if (pid <= 0)
        return;
    MU_LOG(NULL, "core", MU_LOG_ERR, "MU0792", "process %d of \"%s\" does not stop: it is killed",
           (int)pid, g->name);
    kill(pid, SIGKILL);
}

static void kill_rest(struct mu_super *s)
{
    s->groups.has_kill = true;
    for (size_t i = 0; i < s->groups.begun; i++) {
        const struct mu_group *g = group_at(s, i);

        if (!g->is_empty() && g->holds)
            g->holds(kill_visited, (void *)(uintptr_t)g);
    }
}

int64_t mu_groups_tick(struct mu_super *s, int64_t now_ms)
{
    int64_t next = press_strays(&s->groups, now_ms);

    for (size_t i = 0; i < s->groups.begun; i++) {
        int64_t at;

        s->groups.caller = group_at(s, i);
        at = s->groups.caller->tick(now_ms);
        next = at < next ? at : next;
    }
    s->groups.caller = NULL;
    if (s->groups.asked == MU_STOP_NOW && !s->groups.has_kill) {
        int64_t due = s->groups.asked_ms + PATIENCE_MS;

        if (now_ms >= due)
            kill_rest(s);
        else if (due < next)
            next = due;
    }
    return next;
}

void mu_groups_stop(struct mu_super *s, enum mu_stop how)
{
    if (how <= s->groups.asked)
        return;
    s->groups.asked = how;
    s->groups.asked_ms = mu_super_now();
    for (size_t i = 0; i < s->groups.begun; i++) {
        s->groups.caller = group_at(s, i);
        s->groups.caller->stop(how, s->groups.asked_ms);
    }
    s->groups.caller = NULL;
}

bool mu_groups_are_empty(struct mu_super *s)
{
    for (size_t i = 0; i < s->groups.begun; i++) {
        if (!group_at(s, i)->is_empty())
            return false;
    }
    return s->groups.strays_n == 0;
}

/* Those that never began: their processes were the image's before, and nobody will come back. */
static void end_given(struct mu_super *s)
{
    for (size_t i = 0; i < s->groups.holds_n; i++) {
        const struct mu_given_hold *h = &s->groups.holds[i];

        if (h->pid > 0 && !has_begun(s, h->name))
            add_stray(s, h);
    }
    drop_given(&s->groups);
}

void mu_groups_finish(struct mu_super *s)
{
    int64_t end = mu_super_now() + FINISH_PATIENCE_MS;

    end_given(s);
    mu_groups_stop(s, MU_STOP_NOW);
    while (!mu_groups_are_empty(s)) {
        int64_t now_ms = mu_super_now();
        int status;
        pid_t pid;

        if (now_ms >= end && !s->groups.has_kill) {
            end = now_ms + FINISH_PATIENCE_MS;
            kill_rest(s);
        } else if (now_ms >= end) {
            return;
        }
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
            (void)mu_groups_child_ended(s, pid, status);
        (void)mu_groups_tick(s, now_ms);
        (void)poll(NULL, 0, FINISH_STEP_MS);
    }
}

void mu_groups_in_child(struct mu_super *s)
{
    for (size_t i = 0; i < s->groups.begun; i++)
        group_at(s, i)->in_child();
    for (size_t i = 0; i < s->groups.holds_n; i++) {
        struct mu_given_hold *h = &s->groups.holds[i];

        if (h->fd >= 0 && !has_begun(s, h->name))
            close(h->fd);
    }
}
