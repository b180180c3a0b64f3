/*
 * mend: a web child has the board mapped and may write over it, by a fault or on purpose. The
 * supervisor is not harmed by that, since it has tables of its own; here it writes what it knows back
 * into the board once a second, so that the pool is not lost either: what its processes are, which of
 * their states cannot be, and who waits without being there. What is left to be believed is what only
 * a child can know.
 */
#include "pool/keeper.h"

#include <errno.h>
#include <muster/log.h>
#include <signal.h>

static bool lives(uint32_t pid)
{
    return pid && (kill((pid_t)pid, 0) == 0 || errno == EPERM);
}

static bool put_u32(_Atomic uint32_t *at, uint32_t v)
{
    return atomic_load(at) != v && atomic_exchange(at, v) != v;
}

static bool put_u64(_Atomic uint64_t *at, uint64_t v)
{
    return atomic_load(at) != v && atomic_exchange(at, v) != v;
}

/* What the slot of such a process says when it does not say what it may. */
static enum mu_slot_state repaired(const struct mu_proc *x, uint64_t word)
{
    enum mu_slot_state s = mu_board_state_of(word);

    if (x->state == MU_PROC_STARTING)
        return MU_SLOT_STARTING;
    if (x->state == MU_PROC_LEAVING)
        return MU_SLOT_LEAVING;
    if (s == MU_SLOT_IDLE || s == MU_SLOT_RESERVED || s == MU_SLOT_DOUBT || s == MU_SLOT_SPENT)
        return s;
    return s == MU_SLOT_BUSY && lives(mu_board_owner_of(word)) ? s : MU_SLOT_DOUBT;
}

static uint32_t mend_proc(struct mu_proc *x)
{
    struct mu_board *b = x->pool->board;
    struct mu_slot_info *i = &b->info[x->slot];
    uint64_t word = mu_board_word(b, x->slot);
    enum mu_slot_state s = repaired(x, word);
    uint32_t n = put_u32(&i->pid, (uint32_t)x->pid);

    n += put_u64(&i->serial, x->serial);
    if (x->state == MU_PROC_SERVING)
        n += put_u32(&i->is_retired, mu_proc_is_old(x));
    if (s != mu_board_state_of(word) || x->slot >= mu_board_slots_end(b))
        n += mu_board_mend(b, x->slot, word, s);
    return n;
}

/* Slots without a process. */
static uint32_t mend_rest(struct mu_pool *p)
{
    static bool is_taken[MU_POOL_SLOTS];
    uint32_t n = 0;

    memset(is_taken, 0, sizeof(is_taken));
    MU_PROC_FOR(x, p)
    is_taken[x->slot] = true;
    for (uint32_t i = 0; i < mu_board_slots_end(p->board); i++) {
        uint64_t word = mu_board_word(p->board, i);

        if (!is_taken[i] && mu_board_state_of(word) != MU_SLOT_NONE)
            n += mu_board_mend(p->board, i, word, MU_SLOT_NONE);
    }
    return n;
}

void mu_pool_mend(struct mu_pool *p)
{
    uint32_t n = put_u32(&p->board->is_closed, p->is_stopped);

    MU_PROC_FOR(x, p)
    n += mend_proc(x);
    n += mend_rest(p);
    n += mu_board_audit(p->board, lives);
    if (!n)
        return;
    MU_LOG(NULL, "pool", MU_LOG_WARN, "MU0909",
           "pool %s: %u entries of its queue said what cannot be, and were set right: a web child "
           "has written over memory that is not its own; lines about children that crashed may "
           "say which module did",
           p->name, n);
    mu_board_wake_all(p->board);
}
