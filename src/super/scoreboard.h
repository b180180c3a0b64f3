/* The scoreboard: shared memory, one slot a worker, written by that worker alone; display and
 * arithmetic only.
 *
 * The supervisor acts on no pid, index, size or pointer in here; it keeps its own table. A
 * generation has its own. It lies in a memfd sealed against resizing, so no child can make another
 * one's access fault.
 */
#ifndef MU_SUPER_SCOREBOARD_H
#define MU_SUPER_SCOREBOARD_H

#include <muster/types.h>
#include <stdatomic.h>

/**
 * One worker (prefork: the process; worker: a thread; event: a request slot). Cache-line aligned.
 */
struct mu_score_slot {
    _Alignas(64) _Atomic char state; /**< _ S R W K D C L G I . */
    _Atomic uint32_t pid;
    _Atomic uint64_t generation;
    _Atomic uint64_t accesses, bytes, duration_us; /**< of the slot's life */
    _Atomic uint64_t conn_accesses, conn_bytes;
    _Atomic uint64_t child_accesses, child_bytes;
    _Atomic int64_t start_us, stop_us; /**< monotonic; of the present or last request */
    _Atomic int64_t cpu_us;
    char client[64], vhost[64], request[128],
        protocol[16]; /**< may be torn; readers copy and terminate */
};

/** One child. */
struct mu_score_child {
    _Alignas(64) _Atomic uint32_t pid;
    _Atomic uint64_t generation;
    _Atomic uint8_t is_stopping, is_accepting; /**< not bool: rubbish in it must not be undefined */
    _Atomic uint32_t busy, idle; /**< workers or request slots; what the spare arithmetic reads */
    _Atomic uint32_t connections, writing, keepalive, closing;
    _Atomic uint32_t offload_queued; /**< event: work waiting for a worker thread */
    _Atomic uint32_t
        busy_permille; /**< event: utilisation of the busiest listener in the last second */
    _Atomic uint64_t over_accesses, over_bytes,
        over_duration_us; /**< requests beyond the shown slots */
};

/**
 * Sums over slots; `base` in the scoreboard's header carries those of generations that are over.
 */
struct mu_score_totals {
    uint64_t accesses, bytes, duration_us;
};

struct
    /** mapping of [header | children | slots]; sizes kept outside the shared memory */
    mu_scoreboard;

/**
 * Make one for `children` × `slots`; in a memfd, so that it can be passed on. NULL and errno on
 * failure.
 */
struct mu_scoreboard *mu_scoreboard_create(uint32_t children, uint32_t slots);
/**
 * Map one that another image of the supervisor made. Takes over `fd`, also when it fails.
 * Returns: NULL when the file is not of that size or not sealed.
 */
struct mu_scoreboard *mu_scoreboard_adopt(int fd, uint32_t children, uint32_t slots);
void mu_scoreboard_destroy(struct mu_scoreboard *sb);
/** The memfd; the scoreboard keeps it. */
int mu_scoreboard_fd(const struct mu_scoreboard *sb);
/**
 * In a child: keep the board for reading alone, without its descriptor (it belongs to another
 * generation).
 */
void mu_scoreboard_freeze(struct mu_scoreboard *sb);
/** In a child: forget the descriptor; the mapping stays. */
void mu_scoreboard_forget_fd(struct mu_scoreboard *sb);
struct mu_score_child *mu_scoreboard_child(struct mu_scoreboard *sb, uint32_t child);
struct mu_score_slot *mu_scoreboard_slot(struct mu_scoreboard *sb, uint32_t child, uint32_t slot);
uint32_t mu_scoreboard_children(const struct mu_scoreboard *sb);
uint32_t mu_scoreboard_slots(const struct mu_scoreboard *sb);
/**
 * A child begins in place `child`: its slots show `state`, its counters of a child's life are zero.
 */
void mu_scoreboard_begin_child(struct mu_scoreboard *sb, uint32_t child, uint32_t pid,
                               uint64_t generation);
/** It has ended: its slots are open ('.'); what they served stays counted. */
void mu_scoreboard_end_child(struct mu_scoreboard *sb, uint32_t child);
/** What generations before this one served. */
struct mu_score_totals mu_scoreboard_base(const struct mu_scoreboard *sb);
void mu_scoreboard_set_base(struct mu_scoreboard *sb, const struct mu_score_totals *base);
/** Sum over all slots and the requests beyond them, without the base. */
struct mu_score_totals mu_scoreboard_sum(const struct mu_scoreboard *sb);
/** Set the state of a slot (relaxed store: nothing is published through it). */
static inline void mu_score_state(struct mu_score_slot *s, char state)
{
    if (s)
        atomic_store_explicit(&s->state, state, memory_order_relaxed);
}

#endif
