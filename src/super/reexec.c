/*
 * reexec: one image of the supervisor gives its place to another, in the same process. All that
 * must live on is written to a memfd and its descriptors stay open across execve. Going forward the
 * new binary gets the descriptor of the old one; going back the old binary gets a state written
 * afresh, since children may have ended meanwhile. Signals stay blocked throughout: the kernel
 * keeps those that arrive, and those taken from it already travel in the state.
 */
#include "super/master.h"
#include "super/state.h"

#include <base/pipelog.h>
#include <errno.h>
#include <muster/log.h>
#include <muster/str.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

char **mu_reexec_argv(const struct mu_super *s, const char *option)
{
    static const struct mu_super_opts no_opts = { .rehearse_fd = -1,
                                                  .takeover_fd = -1,
                                                  .takeover_exe_fd = -1 };
    size_t n = 0, k = 0;
    char **argv;

    while (s->opts->argv[n])
        n++;
    argv = calloc(n + 2, sizeof(*argv));
    if (!argv)
        return NULL;
    argv[k++] = s->exe;
    argv[k++] = (char *)(uintptr_t)option;
    for (size_t i = 1; i < n; i++) {
        struct mu_super_opts scratch = no_opts;

        if (mu_super_option(s->opts->argv[i], &scratch) == MU_NOENT)
            argv[k++] = s->opts->argv[i];
    }
    return argv;
}

static void put_listeners(struct mu_buf *b, const struct mu_super *s)
{
    for (size_t i = 0; i < s->doors_n; i++) {
        struct mu_state_listener l = { .fd = s->doors[i].listener.fd,
                                       .bucket = s->doors[i].listener.bucket };

        mu_state_put(b, MU_STATE_LISTENER, &l, sizeof(l), MU_STR_NULL);
    }
}

static void put_generation(struct mu_buf *b, const struct mu_generation *g)
{
    struct mu_state_board r = {
        .generation = g->number,
        .board_fd = mu_scoreboard_fd(g->board),
        .locks_fd = g->locks ? mu_accept_locks_fd(g->locks) : -1,
        .children = mu_scoreboard_children(g->board),
        .slots = mu_scoreboard_slots(g->board),
        .locks = g->locks ? mu_accept_locks_count(g->locks) : 0,
        .asked = (uint64_t)g->asked,
    };

    mu_state_put(b, MU_STATE_BOARD, &r, sizeof(r), MU_STR_NULL);
}

static void put_kid(struct mu_buf *b, const struct mu_kid *k)
{
    struct mu_state_child r = {
        .pid = k->pid,
        .channel_fd = k->channel,
        .generation = k->generation->number,
        .place = k->place,
        .flags = (k->is_ready ? MU_STATE_CHILD_READY : 0u) |
                 (k->is_leaving ? MU_STATE_CHILD_LEAVING : 0u) |
                 (k->has_term ? MU_STATE_CHILD_TERM : 0u) |
                 (k->has_kill ? MU_STATE_CHILD_KILL : 0u) | (k->is_deaf ? MU_STATE_CHILD_DEAF : 0u),
        .asked = (uint64_t)k->asked,
        .bytes_seen = k->bytes_seen,
        .started_ms = k->started_ms,
        .ready_ms = k->ready_ms,
        .asked_ms = k->asked_ms,
    };

    mu_state_put(b, MU_STATE_CHILD, &r, sizeof(r), MU_STR_NULL);
}

static void put_pipelogs(struct mu_buf *b)
{
    struct mu_pipelog_state p;

    for (size_t it = 0; mu_pipelog_export(&it, &p);) {
        struct mu_state_pipelog r = { .pid = p.pid, .read_fd = p.read_fd, .write_fd = p.write_fd };

        mu_state_put(b, MU_STATE_PIPELOG, &r, sizeof(r), p.spec);
    }
}

/* Everything but generation `without` and its children; `tree_new` may be empty. */
static bool write_state(struct mu_super *s, struct mu_buf *b, const struct mu_generation *without,
                        uint64_t number, bool is_hard, struct mu_str tree_old,
                        struct mu_str tree_new)
{
    mu_state_begin(b);
    mu_state_put_u64(b, MU_STATE_GENERATION, number);
    mu_state_put_u64(b, MU_STATE_START_TIME, (uint64_t)s->start_time);
    mu_state_put_u64(b, MU_STATE_IS_HARD, is_hard);
    mu_state_put_u64(b, MU_STATE_IS_DAEMON, s->is_daemon);
    mu_state_put_u64(b, MU_STATE_PENDING, s->pending);
    mu_state_put(b, MU_STATE_TREE_OLD, NULL, 0, tree_old);
    mu_state_put(b, MU_STATE_TREE_NEW, NULL, 0, tree_new);
    if (s->pid_path)
        mu_state_put(b, MU_STATE_PIDFILE, NULL, 0, mu_str_c(s->pid_path));
    put_listeners(b, s);
    /* Oldest first: adopting puts each in front. */
    for (struct mu_list *at = s->generations.prev; at != &s->generations; at = at->prev) {
        const struct mu_generation *g = MU_CONTAINER_OF(at, struct mu_generation, link);

        if (g != without)
            put_generation(b, g);
    }
    for (size_t i = 0; i < s->kids_n; i++) {
        if (s->kids[i].generation != without)
            put_kid(b, &s->kids[i]);
    }
    put_pipelogs(b);
    if (!mu_groups_save(s, b))
        return false;
    mu_state_put(b, MU_STATE_END, NULL, 0, MU_STR_NULL);
    return !b->is_failed;
}

static void keep(int fd, bool is_kept)
{
    if (fd >= 0)
        mu_set_cloexec(fd, !is_kept);
}

void mu_reexec_keep_loggers(bool is_kept)
{
    struct mu_pipelog_state p;

    for (size_t it = 0; mu_pipelog_export(&it, &p);) {
        keep(p.read_fd, is_kept);
        keep(p.write_fd, is_kept);
    }
}

void mu_reexec_keep(struct mu_super *s, bool is_kept)
{
    for (size_t i = 0; i < s->doors_n; i++)
        keep(s->doors[i].listener.fd, is_kept);
    MU_LIST_FOR(at, &s->generations) {
        const struct mu_generation *g = MU_CONTAINER_OF(at, struct mu_generation, link);

        keep(mu_scoreboard_fd(g->board), is_kept);
        keep(g->locks ? mu_accept_locks_fd(g->locks) : -1, is_kept);
    }
    for (size_t i = 0; i < s->kids_n; i++)
        keep(s->kids[i].channel, is_kept);
    mu_reexec_keep_loggers(is_kept);
    mu_groups_keep(s, is_kept);
}

/* The sockets that the rehearsal opened join the others; returns how many there were before. */
static size_t take_new_doors(struct mu_super *s)
{
    struct mu_rehearsal *r = &s->rehearsal;
    size_t before = s->doors_n;

    while (r->doors_n) {
        struct mu_door *d = &r->doors[r->doors_n - 1];

        if (!mu_doors_add(&s->doors, &s->doors_n, d->listener.fd, d->listener.bucket))
            break;
        r->doors_n--;
    }
    return before;
}

/* What the new image needs, in a descriptor. -1: logged nothing yet. */
static int state_forward(struct mu_super *s)
{
    struct mu_buf tree_old = { 0 }, tree_new = { 0 }, b = { 0 };
    int fd = -1;

    mu_config_dump_tree(s->config, &tree_old);
    if (mu_state_from_fd(s->rehearsal.tree_fd, &tree_new) == MU_OK && !tree_old.is_failed &&
        write_state(s, &b, NULL, s->now->number, s->rehearsal.is_hard, mu_buf_str(&tree_old),
                    mu_buf_str(&tree_new)))
        fd = mu_state_to_fd(mu_buf_str(&b));
    mu_buf_fini(&tree_old);
    mu_buf_fini(&tree_new);
    mu_buf_fini(&b);
    return fd;
}

void mu_reexec(struct mu_super *s)
{
    size_t before = take_new_doors(s);
    int state_fd = s->rehearsal.doors_n ? -1 : state_forward(s);
    char option[64];
    char **argv;
    int saved;

    snprintf(option, sizeof(option), "--takeover=%d:%d", state_fd, s->exe_fd);
    argv = mu_reexec_argv(s, option);
    if (state_fd >= 0 && argv && chdir(s->cwd) == 0) {
        fflush(NULL);
        mu_pipelog_spill();
        mu_reexec_keep(s, true);
        keep(s->exe_fd, true);
        execv(s->exe, argv);
    }
    saved = errno;
    mu_reexec_keep(s, false);
    keep(s->exe_fd, false);
    if (s->is_daemon)
        (void)!chdir("/");
    free(argv);
    if (state_fd >= 0)
        close(state_fd);
    while (s->doors_n > before)
        close(s->doors[--s->doors_n].listener.fd);
    MU_LOG(NULL, mu_super_module(s), MU_LOG_ERR, "MU0770",
           "cannot execute %s: %s; the server goes on with the old one", s->exe, strerror(saved));
}

/* The old tree out of the state this image was given. */
static struct mu_str find_old_tree(struct mu_super *s)
{
    struct mu_str at, value;
    uint32_t key;

    if (mu_state_open(mu_buf_str(&s->state), &at) != MU_OK)
        return MU_STR_NULL;
    while (mu_state_next(&at, &key, &value) == MU_OK) {
        if (key == MU_STATE_TREE_OLD)
            return value;
    }
    return MU_STR_NULL;
}

/* What the state does not speak of is not to live on: nobody would ever close it. */
static void drop_generation(struct mu_super *s, const struct mu_generation *g)
{
    keep(mu_scoreboard_fd(g->board), false);
    keep(g->locks ? mu_accept_locks_fd(g->locks) : -1, false);
    for (size_t i = 0; i < s->kids_n; i++) {
        if (s->kids[i].generation == g)
            keep(s->kids[i].channel, false);
    }
}

/* Children may have come and gone since the state was written: the tables say what is true now. */
static void refresh_state(struct mu_super *s)
{
    uint64_t number = s->now ? s->now->number - 1 : mu_generations_newest(s);
    struct mu_buf b = { 0 };
    int fd = -1;

    if (write_state(s, &b, s->now, number, false, find_old_tree(s), MU_STR_NULL))
        fd = mu_state_to_fd(mu_buf_str(&b));
    mu_buf_fini(&b);
    if (fd < 0)
        return;
    close(s->state_fd);
    s->state_fd = fd;
    mu_reexec_keep(s, true);
    if (s->now)
        drop_generation(s, s->now);
}

void mu_reexec_back(struct mu_super *s, const char *why)
{
    char option[64];
    char **argv;
    extern char **environ;

    if (s->is_adopted)
        refresh_state(s);
    if (lseek(s->state_fd, 0, SEEK_END) >= 0)
        (void)!write(s->state_fd, why, strlen(why));
    keep(s->state_fd, true);
    keep(s->back_exe_fd, true);
    snprintf(option, sizeof(option), "--fallback=%d:%d", s->state_fd, s->back_exe_fd);
    argv = mu_reexec_argv(s, option);
    if (argv && chdir(s->cwd) == 0) {
        fflush(NULL);
        mu_pipelog_spill();
        fexecve(s->back_exe_fd, argv, environ);
    }
    MU_LOG(NULL, mu_super_module(s), MU_LOG_EMERG, "MU0771",
           "cannot go back to the binary before this one: %s", strerror(errno));
    free(argv);
}

void mu_takeover_done(struct mu_super *s)
{
    mu_groups_settle(s);
    if (s->state_fd >= 0)
        close(s->state_fd);
    if (s->back_exe_fd >= 0)
        close(s->back_exe_fd);
    s->state_fd = s->back_exe_fd = -1;
    mu_buf_fini(&s->state);
}
