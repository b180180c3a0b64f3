/* What a child process of the server is given, and what an MPM must supply. */
#ifndef MU_SUPER_CHILD_H
#define MU_SUPER_CHILD_H

#include <conf/config.h>
#include <engine/reactor.h>
#include <net/addr.h>
#include <net/listener.h>
#include <super/scoreboard.h>

/** How a child shall end. */
enum mu_stop { MU_STOP_NONE, MU_STOP_GRACEFUL /**< finish what is held */, MU_STOP_NOW };

/**
 * Exit status of a child that cannot ever serve (no privileges to drop, no memory for its threads).
 */
#define MU_CHILD_FAILED 15

struct mu_accept_lock; /**< acceptlock.h */

/** The numbers of one MPM after clamping and warnings, for the supervisor's arithmetic. */
struct mu_mpm_limits {
    uint32_t
        children_max; /**< processes at most (ServerLimit / MaxRequestWorkers / ThreadsPerChild) */
    uint32_t slots_per_child;      /**< scoreboard slots of one child */
    uint32_t start;                /**< children at first */
    uint32_t min_spare, max_spare; /**< in workers (prefork: processes; threaded: summed threads) */
    uint32_t workers_per_child;
    uint32_t max_connections_per_child;
    uint32_t server_limit, thread_limit; /**< as configured; for display */
    uint32_t listeners_per_child;        /**< async: listener threads of a child; 0 elsewhere */
};

/** In the child process, from fork to exit. */
struct mu_child {
    struct mu_config *config;
    const struct mu_mpm_limits *limits;
    struct mu_scoreboard *scoreboard;
    uint32_t index; /**< place in the scoreboard */
    uint64_t generation;
    struct mu_listener *const *listeners; /**< those of this child's bucket */
    size_t listeners_n;
    /** readable when a stop is requested, and for ever after: see mu_child_stop_requested */
    int stop_fd;
    struct mu_accept_lock *accept_lock; /**< NULL without Mutex mpm-accept */
};

/**
 * Which stop is requested now; one cheap system call; never loses one. A supervisor that died means
 * graceful.
 */
enum mu_stop mu_child_stop_requested(const struct mu_child *child);
/** Tell the supervisor that this child is ready to serve (it counts as started from then on). */
void mu_child_ready(const struct mu_child *child);
/**
 * Tell the supervisor that this child takes no more connections, asked or by its own decision: it
 * may be replaced.
 */
void mu_child_leaving(const struct mu_child *child);
/**
 * Take the accept lock; blocks. A holder that died is recovered from.
 * Returns: MU_OK when held (or when there is none); MU_GONE when a stop is requested meanwhile.
 */
MU_NODISCARD enum mu_rc mu_accept_lock_take(const struct mu_child *child);
void mu_accept_lock_release(const struct mu_child *child);
/**
 * Close this process's copies of the listening sockets (at the begin of a drain); repeating is
 * harmless.
 */
void mu_child_close_listeners(const struct mu_child *child);

/** What the MPMs share of their settings (unixd's directives), merged and clamped. */
struct mu_mpm_common {
    size_t thread_stack_size; /**< 0: the system's default */
};
struct mu_mpm_common mu_mpm_common_of(const struct mu_config *config);

/** An MPM: a policy over processes and reactors. Named by `.mpm` of its struct mu_module. */
struct mu_mpm {
    const char *name;
    bool is_threaded, is_async;
    /** Resolve the configured numbers; adjustments are reported through mu_config_warn. */
    void (*limits)(struct mu_config *config, struct mu_mpm_limits *out);
    /** The child's life; returns its exit status. Privileges are dropped already. */
    int (*child_main)(struct mu_child *child);
};

#endif
