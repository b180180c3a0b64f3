/* Fault injection for the unit tests: lets the n-th allocation of the base room fail. */
#ifndef MU_BASE_FAULT_H
#define MU_BASE_FAULT_H

#include <muster/types.h>

/**
 * Allocations left until one fails; negative: never. A thread's own, so tests do not disturb
 * other threads.
 */
extern __thread int64_t mu_alloc_countdown;

/**
 * Let `n` allocations from the heap (arena blocks, buffers, loggers) of this thread succeed and
 * every later one fail.
 * Units:   allocations; -1 switches it off again.
 * Context: tests only.
 */
void mu_alloc_fail_after(int64_t n);

/** Shall this allocation fail? What allocates in src/base asks first: one predictable branch. */
static inline bool mu_alloc_fails(void)
{
    if (MU_LIKELY(mu_alloc_countdown < 0))
        return false;
    if (mu_alloc_countdown == 0)
        return true;
    mu_alloc_countdown--;
    return false;
}

#endif
