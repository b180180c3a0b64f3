/* Spare arithmetic: how many processes to start, which to stop. Pure; the same for processes,
 * threaded children, pools.
 *
 * Asked once a second, and at once when a process has ended. While spare workers are short, 1
 * process is started, then 2, 4 … up to 32 a second; a second without shortage puts the rate back
 * to 1. What waits in a queue of the pool's needs a process now, and does not wait for the rate.
 * While there are too many, one a second is stopped.
 */
#ifndef MU_SUPER_SPARE_H
#define MU_SUPER_SPARE_H

#include <muster/types.h>

#define MU_SPARE_RATE_MAX 32u

/** The numbers of the administrator. */
struct mu_spare_limits {
    uint32_t processes_max;        /**< serving at the same time, at most */
    uint32_t processes_min;        /**< kept whatever the spares say (at least 1) */
    uint32_t min_spare, max_spare; /**< idle workers, summed over all processes */
    uint32_t workers_per_process;
    /**
     * Async only (0 elsewhere): listener threads of one process, and cores. A process whose
     * listeners are saturated counts as having no idle worker while more listener threads would
     * still find a core.
     */
    uint32_t listeners_per_process, cores;
    /**
     * Pools: there may be no process at all (processes_min counts as it is); requests that wait in
     * one queue for a process each, as claimed; and the most to start at a time (0:
     * MU_SPARE_RATE_MAX).
     */
    bool may_be_empty;
    uint32_t waiting, start_max;
};

/**
 * One process as its supervisor knows it; busy and the like are claims of the process, clamped
 * here.
 */
struct mu_spare_process {
    bool is_starting; /**< not ready yet: counts as idle throughout */
    bool is_stopping; /**< told to stop, or on its own way out: counts for nothing */
    uint32_t busy;
    uint32_t queued;        /**< work that waits for a worker */
    uint32_t busy_permille; /**< of its busiest listener */
};

/** Memory between two calls. Zero-initialised is valid. */
struct mu_spare_rate {
    uint32_t step; /**< to start next time; 0 means 1 */
};

struct mu_spare_plan {
    uint32_t start;
    ptrdiff_t stop;      /**< index of the process to stop, or -1 */
    uint32_t idle, busy; /**< as counted */
    bool is_at_limit;    /**< more were wanted than processes_max allows */
};

/**
 * Decide. `is_tick` is true once a second: only then the rate doubles and a process may be stopped.
 * Context: any; no side effect but on *rate.
 */
struct mu_spare_plan mu_spare_plan(const struct mu_spare_limits *limits,
                                   const struct mu_spare_process *p, size_t n,
                                   struct mu_spare_rate *rate, bool is_tick);

#endif
