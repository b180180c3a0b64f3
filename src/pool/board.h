/* The queue in front of a pool's processes: shared memory in which the web children arbitrate among
 * themselves, without the supervisor.
 *
 * Two arrays of 64-bit words. A slot is a place for a process; its word says whether it is idle, and
 * whose it is. A ticket is a request that waits; its word says since when in the order, and whose it
 * is. Every step is one compare-and-swap of one word, and whatever it leaves behind names its owner:
 * so a child can be killed between any two steps, and mu_board_sweep() finds all it held. There is
 * no lock, because a lock is held by somebody: a child that is stopped (SIGSTOP, a debugger, a full
 * machine) would stop every other one with it, and one that is killed would need to be found out
 * before anything goes on. Neighbours: an idle slot and a waiting ticket are brought together by
 * mu_board_match(), which whoever made one of the two calls; all orders are sequentially consistent,
 * so of two that make one each at the same time at least one sees the other's.
 *
 * The supervisor maps it as well. It keeps its own table of processes; a word here is a hint to it,
 * and no number found here is used without being checked against the size of what it indexes. */
#ifndef MU_POOL_BOARD_H
#define MU_POOL_BOARD_H

#include <muster/types.h>
#include <stdatomic.h>

enum {
    MU_POOL_SLOTS = 2048,    /**< twice the most processes: old ones finish beside new ones */
    MU_POOL_CHILDREN = 1000, /**< MaxChildren, at most */
    MU_POOL_TICKETS = 16384, /**< QueueLength, at most */
    MU_POOL_BELLS = 64,      /**< socket pairs by which waiters are woken */
    MU_BOARD_PID_BITS = 22,  /**< the kernel's own limit */
};

/** What a slot's word says. */
enum mu_slot_state {
    MU_SLOT_NONE,     /**< no process */
    MU_SLOT_STARTING, /**< there is one; it does not accept yet */
    MU_SLOT_IDLE,     /**< the next request may have it */
    MU_SLOT_RESERVED, /**< by a child, for a ticket: nothing was sent to the process */
    MU_SLOT_BUSY,     /**< a child's */
    MU_SLOT_DOUBT,    /**< nobody's, perhaps still at work: the supervisor finds out */
    MU_SLOT_SPENT,    /**< nobody's, and to be ended */
    MU_SLOT_LEAVING,  /**< it was told to end */
};

/** Of the texts in a slot, in words of eight bytes. */
enum { MU_BOARD_REQUEST = 24, MU_BOARD_SCRIPT = 16, MU_BOARD_CLIENT = 6 };

struct mu_slot_info {
    _Alignas(64) _Atomic uint32_t pid; /**< the supervisor's, as all to is_retired */
    _Atomic uint32_t is_retired;       /**< takes no more requests */
    _Atomic uint64_t serial;           /**< of the process; part of its socket's name */
    _Atomic int64_t started_ms;
    _Atomic uint64_t late;     /**< word of the request that RequestTimeout ended */
    _Atomic uint64_t requests; /**< the children's, as all below */
    _Atomic int64_t begun_ms;  /**< of the present request; monotonic */
    _Atomic int64_t ended_ms;  /**< of the last one */
    _Atomic uint64_t request[MU_BOARD_REQUEST], script[MU_BOARD_SCRIPT], client[MU_BOARD_CLIENT];
};

/** Counters for display. */
struct mu_board_counts {
    _Atomic uint64_t requests;            /**< claims */
    _Atomic uint64_t queued;              /**< tickets taken */
    _Atomic uint64_t refused, late, left; /**< queue full, QueueTimeout, client gone */
    _Atomic uint64_t broken;              /**< a process broke off */
    _Atomic uint64_t started, crashed;    /**< the supervisor's */
};

struct mu_board {
    _Alignas(64) _Atomic uint64_t next_seq;
    _Atomic uint32_t slots_end;   /**< slots from here on were never used */
    _Atomic uint32_t tickets_end; /**< likewise */
    _Atomic uint32_t is_closed;   /**< stopped: requests are refused at once */
    _Alignas(64) struct mu_board_counts counts;
    _Alignas(64) _Atomic uint64_t slot[MU_POOL_SLOTS];
    _Alignas(64) _Atomic uint64_t ticket[MU_POOL_TICKETS];
    _Alignas(64) _Atomic int64_t since_ms[MU_POOL_TICKETS]; /**< of tickets, for display */
    struct mu_slot_info info[MU_POOL_SLOTS];
};

/** A process that a request has to itself. */
struct mu_claim {
    uint32_t slot;
    uint64_t word; /**< of the slot while it is held: unique to this use of it */
};

/** A place in the queue. */
struct mu_ticket {
    uint32_t at;
    uint64_t word; /**< while it waits */
};

/** Who acts: a process, and the bell that wakes the part of it that waits. */
struct mu_board_who {
    uint32_t pid;
    uint8_t bell;
};

/** An empty board in a sealed memfd, mapped; *fd is the caller's. NULL and errno on failure. */
struct mu_board *mu_board_create(int *fd);
/** Map one that another image made. NULL when `fd` is not of that size or not sealed. */
struct mu_board *mu_board_adopt(int fd);
void mu_board_unmap(struct mu_board *b);
/** The sockets that ring the bells (MU_POOL_BELLS of them), before anybody waits. Borrowed. */
void mu_board_ringers(const int *fds);
/**
 * Who waits in the calling thread: `wake` wakes the owner of a ticket and returns true, or returns
 * false when it is not one of this thread; then its bell is rung.
 */
void mu_board_own_waiters(bool (*wake)(const struct mu_board *b, const struct mu_ticket *t));

/* ---- web children ---- */

/**
 * An idle process at once, when nobody waits for one.
 * Returns: MU_OK; MU_AGAIN: take a ticket.
 */
MU_NODISCARD enum mu_rc mu_board_claim(struct mu_board *b, struct mu_board_who who,
                                       struct mu_claim *c);
/**
 * Wait in the queue behind everybody who does, at most `limit` together.
 * Returns: MU_OK; MU_LIMIT: the queue is full.
 */
MU_NODISCARD enum mu_rc mu_board_enqueue(struct mu_board *b, struct mu_board_who who,
                                         uint32_t limit, int64_t now_ms, struct mu_ticket *t);
/**
 * Is it t's turn? Then the ticket is gone, and *c the process.
 * Returns: MU_OK; MU_AGAIN: not yet; MU_BAD: somebody scribbled over the ticket; it is lost.
 */
MU_NODISCARD enum mu_rc mu_board_look(struct mu_board *b, struct mu_board_who who,
                                      const struct mu_ticket *t, struct mu_claim *c);
/** Does t still wait (one load; false: look)? */
static inline bool mu_board_waits(struct mu_board *b, const struct mu_ticket *t)
{
    return atomic_load(&b->ticket[t->at]) == t->word;
}
/** Leave the queue; a process that was granted meanwhile goes to the next. */
void mu_board_leave(struct mu_board *b, struct mu_board_who who, const struct mu_ticket *t);
/**
 * Done with a process. `to` is MU_SLOT_IDLE, _DOUBT or _SPENT; one that is retired becomes _SPENT
 * instead of idle. Returns what it became; MU_SLOT_NONE when it was no longer c's.
 */
enum mu_slot_state mu_board_release(struct mu_board *b, struct mu_board_who who,
                                    const struct mu_claim *c, enum mu_slot_state to);
/** Bring idle processes and those who wait together. Any process. */
void mu_board_match(struct mu_board *b, uint32_t pid);
/** Was c's request ended by RequestTimeout? */
bool mu_board_was_late(struct mu_board *b, const struct mu_claim *c);

/* ---- the supervisor ---- */

/** Give back what the dead process `pid` held: tickets vanish, its processes are in doubt. */
void mu_board_sweep(struct mu_board *b, uint32_t pid);
/** Whatever the word said, it says `to` now. */
void mu_board_set(struct mu_board *b, uint32_t slot, enum mu_slot_state to);
/** From `from` to `to`. False when it is not, or no longer, `from`. */
bool mu_board_swap(struct mu_board *b, uint32_t slot, enum mu_slot_state from,
                   enum mu_slot_state to);
/** End the use that `word` (of a busy slot) stands for. False when it is over already. */
bool mu_board_cut(struct mu_board *b, uint32_t slot, uint64_t word);
/**
 * What `word` says of a slot cannot be, or its owner is gone: it says `to` from now on, unless it
 * has changed.
 */
bool mu_board_mend(struct mu_board *b, uint32_t slot, uint64_t word, enum mu_slot_state to);
/** Remove tickets that are none, or whose owner does not live. Returns how many. */
uint32_t mu_board_audit(struct mu_board *b, bool (*lives)(uint32_t pid));
/** Wake everybody who waits. */
void mu_board_wake_all(struct mu_board *b);

/* ---- both ---- */

static inline uint64_t mu_board_word(struct mu_board *b, uint32_t slot)
{
    return atomic_load(&b->slot[slot]);
}
static inline enum mu_slot_state mu_board_state_of(uint64_t word)
{
    return (enum mu_slot_state)(word & 15);
}
/** Whose a busy or reserved slot is; 0: the supervisor's. */
static inline uint32_t mu_board_owner_of(uint64_t word)
{
    return (uint32_t)(word >> 4 & ((1u << MU_BOARD_PID_BITS) - 1));
}
static inline enum mu_slot_state mu_board_state(struct mu_board *b, uint32_t slot)
{
    return mu_board_state_of(mu_board_word(b, slot));
}
/** What has passed since `since_ms`, which a child claims; 0 when that cannot be. */
static inline int64_t mu_board_elapsed(int64_t since_ms, int64_t now_ms)
{
    return since_ms > 0 && since_ms < now_ms ? now_ms - since_ms : 0;
}
/** How many wait, and since when the first one (INT64_MAX: nobody). */
uint32_t mu_board_waiting(struct mu_board *b, int64_t *since_ms);
/** How far slots and tickets may be in use; never more than there are. */
uint32_t mu_board_slots_end(struct mu_board *b);
uint32_t mu_board_tickets_end(struct mu_board *b);

/** Text that may be torn; control bytes and what is not ASCII become '?'. */
void mu_board_put_text(_Atomic uint64_t *words, size_t n, struct mu_str text);
/** Terminated; `out` has n * 8 + 1 bytes. */
void mu_board_get_text(const _Atomic uint64_t *words, size_t n, char *out);

#endif
