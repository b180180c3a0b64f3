/* The accept lock (Mutex pthread mpm-accept): process-shared, robust against the holder's death.
 *
 * One 32-bit word in shared memory of its own (not the scoreboard's): 0, or the holder's pid with a
 * flag for waiters. It is not a pthread mutex, because glibc's robust ones link pointers through
 * the shared memory: a child that scribbles over it could make the others follow them. Here the
 * worst a scribbler achieves, by writing again and again, is that nobody accepts.
 */
#ifndef MU_SUPER_ACCEPTLOCK_H
#define MU_SUPER_ACCEPTLOCK_H

#include <muster/types.h>
#include <stdatomic.h>

struct mu_accept_lock {
    _Alignas(64) _Atomic uint32_t word;
};

/** The locks of a generation, one a bucket, in a sealed memfd. */
struct mu_accept_locks;

/** NULL and errno on failure. */
struct mu_accept_locks *mu_accept_locks_create(uint32_t n);
/** Map those of another image. Takes over `fd`; NULL when it is not of that size or not sealed. */
struct mu_accept_locks *mu_accept_locks_adopt(int fd, uint32_t n);
void mu_accept_locks_destroy(struct mu_accept_locks *l);
int mu_accept_locks_fd(const struct mu_accept_locks *l);
uint32_t mu_accept_locks_count(const struct mu_accept_locks *l);
struct mu_accept_lock *mu_accept_locks_at(struct mu_accept_locks *l, uint32_t i);

/**
 * Lock for process `pid`. Blocks while another live process holds it, looking at `is_over` at least
 * every quarter of a second. Returns: false when is_over(arg) said so.
 */
MU_NODISCARD bool mu_accept_lock_acquire(struct mu_accept_lock *l, uint32_t pid,
                                         bool (*is_over)(const void *arg), const void *arg);
void mu_accept_lock_drop(struct mu_accept_lock *l, uint32_t pid);
/**
 * The supervisor has reaped `pid`: free what it held. Before the pid can be given to another
 * process.
 */
void mu_accept_locks_recover(struct mu_accept_locks *l, uint32_t pid);
/**
 * The supervisor, now and then: free each lock whose word names a process that is_holder(arg, pid)
 * does not know. Only rubbish does: holders are children, and what a dead one held was recovered.
 */
void mu_accept_locks_check(struct mu_accept_locks *l,
                           bool (*is_holder)(const void *arg, uint32_t pid), const void *arg);
/** Let the waiters look at their stop request now. */
void mu_accept_locks_wake(struct mu_accept_locks *l);

#endif
