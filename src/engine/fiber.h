/* Fibers: small stacks that run sequential code and park in their thread's reactor. */
#ifndef MU_ENGINE_FIBER_H
#define MU_ENGINE_FIBER_H

#include <muster/types.h>

struct mu_fiber;
struct mu_reactor;

/**
 * Take a stack from the reactor's free list and run fn(arg) on it at once, until it first parks or
 * returns.
 * Returns: MU_NOMEM when MaxFibers is reached or memory is out (fn has not run).
 * Context: the reactor's own thread; from a callback or from another fiber (which then waits in
 *          line).
 */
MU_NODISCARD enum mu_rc mu_fiber_run(struct mu_reactor *r, void (*fn)(void *arg), void *arg);
/**
 * The running fiber, or NULL in a reactor callback; for offloaded code the fiber it was handed over
 * by.
 */
struct mu_fiber *mu_fiber_self(void);
/**
 * Mark cancelled and make it runnable: its present and every later mu_wait returns MU_GONE. Never
 * frees.
 * Context: the fiber's own thread. Repeating is harmless.
 */
void mu_fiber_cancel(struct mu_fiber *f);
/** Reactor-local slot for the room above (the exchange). */
void mu_fiber_set_local(struct mu_fiber *f, void *p);
void *mu_fiber_local(const struct mu_fiber *f);
/**
 * Tests: call `hook` each time a fiber of any reactor is about to park (NULL: none), so that a test
 * can cancel it at every suspension point in turn. Set it while no fiber runs.
 */
void mu_fiber_on_park(void (*hook)(struct mu_fiber *f));

#endif
