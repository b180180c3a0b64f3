/*
 * handover: pools over a re-exec. The text names everything by descriptor and pid: folder, bells,
 * each pool's memory, each process with its sockets. It is read by the next image, or by the one
 * before when the next one fails; so reading changes nothing but memory, and who cannot use what it
 * reads leaves every descriptor as it was.
 */
#include "pool/keeper.h"

#include <limits.h>
#include <muster/str.h>
#include <stdlib.h>

#define VERSION "pools 2"

/* ---- writing ---- */

static void save_proc(struct mu_buf *b, const struct mu_proc *x)
{
    mu_buf_addf(b, "proc %d %u %llu %llu %d %d %d %d %d %lld %lld %lld\n", (int)x->pid, x->slot,
                (unsigned long long)x->serial, (unsigned long long)x->epoch, (int)x->state,
                x->has_kill, x->listen_fd, x->log_fd, x->probe_fd, (long long)x->started_ms,
                (long long)x->ready_ms, (long long)x->kill_ms);
}

static void save_pool(struct mu_buf *b, struct mu_pool *p)
{
    struct mu_str definition = mu_str_c(p->definition);

    mu_buf_addf(b, "pool %s %d %llu %llu %llu %d %u %u %lld %zu\n%.*s", p->name, p->board_fd,
                (unsigned long long)p->epoch, (unsigned long long)p->ready_epoch,
                (unsigned long long)p->next_serial, p->is_stopped + p->is_draining, p->wanted,
                p->failures, (long long)p->hold_until_ms, definition.n, MU_FMT(definition));
    MU_PROC_FOR(x, p)
    save_proc(b, x);
}

enum mu_rc mu_pools_save(struct mu_buf *out)
{
    if (mu_keeper.dir_fd < 0)
        return MU_OK; /* there never was a pool */
    mu_buf_addf(out, VERSION "\ndir %zu %s\nfds %d %d %d %d\nbells", strlen(mu_keeper.dir),
                mu_keeper.dir, mu_keeper.dir_fd, mu_keeper.poke_fd, mu_keeper.poker_fd,
                mu_control_fd());
    for (size_t i = 0; i < MU_POOL_BELLS; i++)
        mu_buf_addf(out, " %d %d", mu_keeper.bells[i], mu_keeper.ringers[i]);
    mu_buf_addc(out, '\n');
    MU_POOL_FOR(p)
    save_pool(out, p);
    return out->is_failed ? MU_NOMEM : MU_OK;
}

void mu_pools_holds(void (*visit)(void *arg, pid_t pid, int fd), void *arg)
{
    if (mu_keeper.dir_fd < 0)
        return;
    visit(arg, 0, mu_keeper.dir_fd);
    visit(arg, 0, mu_keeper.poke_fd);
    visit(arg, 0, mu_keeper.poker_fd);
    visit(arg, 0, mu_control_fd());
    for (size_t i = 0; i < MU_POOL_BELLS; i++) {
        visit(arg, 0, mu_keeper.bells[i]);
        visit(arg, 0, mu_keeper.ringers[i]);
    }
    MU_POOL_FOR(p)
    {
        visit(arg, 0, p->board_fd);
        MU_PROC_FOR(x, p)
        {
            visit(arg, x->pid, x->listen_fd);
            visit(arg, 0, x->log_fd);
            visit(arg, 0, x->probe_fd);
        }
    }
}

/* ---- reading ---- */

struct reader {
    struct mu_str rest;
    bool is_bad;
};

static struct mu_str take_word(struct reader *r)
{
    size_t n = 0;
    struct mu_str word;

    while (n < r->rest.n && r->rest.p[n] != ' ' && r->rest.p[n] != '\n')
        n++;
    word = mu_str_sub(r->rest, 0, n);
    r->is_bad |= n == r->rest.n;
    r->rest = mu_str_sub(r->rest, n + 1, r->rest.n);
    return word;
}

static int64_t take_number(struct reader *r, int64_t min, int64_t max)
{
    int64_t v = min;

    if (!mu_str_i64(take_word(r), &v) || v < min || v > max)
        r->is_bad = true;
    return r->is_bad ? min : v;
}

static int take_fd(struct reader *r)
{
    return (int)take_number(r, -1, INT_MAX);
}

static struct mu_str take_text(struct reader *r, size_t n)
{
    struct mu_str text = mu_str_sub(r->rest, 0, n);

    r->is_bad |= text.n != n;
    r->rest = mu_str_sub(r->rest, n, r->rest.n);
    return text;
}

static bool take_key(struct reader *r, struct mu_str key)
{
    if (!mu_str_starts(r->rest, key))
        return false;
    r->rest = mu_str_sub(r->rest, key.n, r->rest.n);
    return true;
}

static void restore_proc(struct reader *r, struct mu_pool *p)
{
    pid_t pid = (pid_t)take_number(r, 1, INT_MAX);
    uint32_t slot = (uint32_t)take_number(r, 0, MU_POOL_SLOTS - 1);
    uint64_t serial = (uint64_t)take_number(r, 0, INT64_MAX);
    struct mu_proc *x = r->is_bad ? NULL : mu_proc_create(p, slot, serial);

    if (!x) {
        r->is_bad = true;
        return;
    }
    x->pid = pid;
    x->epoch = (uint64_t)take_number(r, 0, INT64_MAX);
    x->state = (enum mu_proc_state)take_number(r, MU_PROC_STARTING, MU_PROC_LEAVING);
    x->has_kill = take_number(r, 0, 1) != 0;
    x->listen_fd = take_fd(r);
    x->log_fd = take_fd(r);
    x->probe_fd = take_fd(r);
    x->started_ms = take_number(r, 0, INT64_MAX);
    x->ready_ms = take_number(r, 0, INT64_MAX);
    x->kill_ms = take_number(r, 0, INT64_MAX);
    /* Its time is measured from now on: a little too long at worst. */
    x->seen_word = mu_board_word(p->board, slot);
    x->seen_ms = mu_keeper_now();
}

static void restore_pool(struct reader *r)
{
    struct mu_str name = take_word(r), text;
    int board_fd = take_fd(r);
    int64_t stopped;
    struct mu_pool *p = r->is_bad || board_fd < 0 || name.n > MU_POOL_NAME_MAX
                            ? NULL
                            : mu_pool_create(name, board_fd);

    if (!p) {
        r->is_bad = true;
        return;
    }
    p->epoch = (uint64_t)take_number(r, 0, INT64_MAX);
    p->ready_epoch = (uint64_t)take_number(r, 0, INT64_MAX);
    p->next_serial = (uint64_t)take_number(r, 0, INT64_MAX);
    stopped = take_number(r, 0, 2);
    p->is_stopped = stopped > 0;
    p->is_draining = stopped > 1;
    p->wanted = (uint32_t)take_number(r, 0, MU_POOL_CHILDREN);
    p->failures = (uint32_t)take_number(r, 0, UINT32_MAX);
    p->hold_until_ms = take_number(r, 0, INT64_MAX);
    text = take_text(r, (size_t)take_number(r, 0, INT_MAX));
    p->definition = strndup(text.p ? text.p : "", text.n);
    while (!r->is_bad && take_key(r, MU_S("proc ")))
        restore_proc(r, p);
}

static void restore_folder(struct reader *r)
{
    struct mu_str dir;

    if (!take_key(r, MU_S(VERSION "\ndir "))) {
        r->is_bad = true;
        return;
    }
    dir = take_text(r, (size_t)take_number(r, 0, INT_MAX));
    mu_keeper.dir = strndup(dir.p ? dir.p : "", dir.n);
    r->is_bad |= !mu_keeper.dir || !take_key(r, MU_S("\nfds "));
    mu_keeper.dir_fd = take_fd(r);
    mu_keeper.poke_fd = take_fd(r);
    mu_keeper.poker_fd = take_fd(r);
    mu_control_adopt(take_fd(r));
    r->is_bad |= !take_key(r, MU_S("bells "));
    for (size_t i = 0; i < MU_POOL_BELLS; i++) {
        mu_keeper.bells[i] = take_fd(r);
        mu_keeper.ringers[i] = take_fd(r);
    }
    mu_board_ringers(mu_keeper.ringers);
}

enum mu_rc mu_pools_restore(struct mu_str state)
{
    struct reader r = { .rest = state };

    restore_folder(&r);
    while (!r.is_bad && take_key(&r, MU_S("pool ")))
        restore_pool(&r);
    if (!r.is_bad && !r.rest.n)
        return MU_OK;
    mu_pools_forget();
    mu_control_adopt(-1);
    free(mu_keeper.dir);
    mu_keeper.dir = NULL;
    mu_keeper.dir_fd = mu_keeper.poke_fd = mu_keeper.poker_fd = -1;
    return MU_BAD;
}
