/* The numbers of the MPM directives: unset, clamped as httpd clamps them, with its warnings. */
#ifndef MU_MPM_NUMBERS_H
#define MU_MPM_NUMBERS_H

#include <muster/directive.h>
#include <super/child.h>

/** In a field of MU_K_INT: no directive said anything. */
#define MU_UNSET INT64_MIN

enum {
    /**
     * MaxFibers at most: a stack and its guard page are two of the 65,530 mappings the kernel
     * allows (vm.max_map_count).
     */
    MU_MAX_FIBERS = 30000,
    MU_MAX_FIBERS_DEFAULT = 16000,
};

/** Directives that all three have. `T` is the MPM's conf. */
#define MU_MPM_DIRECTIVES(T)                                                                       \
    MU_DIR_INT("StartServers", T, start_servers, MU_IN_GLOBAL, INT32_MIN, INT32_MAX,               \
               "Child processes at first"),                                                        \
        MU_DIR_INT("ServerLimit", T, server_limit, MU_IN_GLOBAL, INT32_MIN, INT32_MAX,             \
                   "Upper limit of child processes; a graceful restart changes it"),               \
        MU_DIR_INT("MaxRequestWorkers", T, max_workers, MU_IN_GLOBAL, INT32_MIN, INT32_MAX,        \
                   "Workers of all child processes together"),                                     \
        MU_DIR_INT("MaxClients", T, max_workers, MU_IN_GLOBAL, INT32_MIN, INT32_MAX,               \
                   "Old name of MaxRequestWorkers"),                                               \
        MU_DIR_INT("MaxConnectionsPerChild", T, max_connections, MU_IN_GLOBAL, INT32_MIN,          \
                   INT32_MAX,                                                                      \
                   "Connections after which a child process is replaced; 0 or less: never"),       \
        MU_DIR_INT("MaxRequestsPerChild", T, max_connections, MU_IN_GLOBAL, INT32_MIN, INT32_MAX,  \
                   "Old name of MaxConnectionsPerChild"),                                          \
        MU_DIR_INT(                                                                                \
            "MaxFibers", T, max_fibers, MU_IN_GLOBAL, 1, MU_MAX_FIBERS,                            \
            "Requests that a child process may have begun and not ended, in all its threads; more are answered 503")

/** Directives of the threaded ones. */
#define MU_MPM_THREAD_DIRECTIVES(T)                                                                \
    MU_DIR_INT("ThreadsPerChild", T, threads, MU_IN_GLOBAL, INT32_MIN, INT32_MAX,                  \
               "Worker threads of a child process"),                                               \
        MU_DIR_INT("ThreadLimit", T, thread_limit, MU_IN_GLOBAL, INT32_MIN, INT32_MAX,             \
                   "Upper limit of ThreadsPerChild; a graceful restart changes it"),               \
        MU_DIR_INT("MinSpareThreads", T, min_spare, MU_IN_GLOBAL, INT32_MIN, INT32_MAX,            \
                   "Idle workers below which child processes are started"),                        \
        MU_DIR_INT("MaxSpareThreads", T, max_spare, MU_IN_GLOBAL, INT32_MIN, INT32_MAX,            \
                   "Idle workers above which child processes are stopped")

struct mu_mpm_numbers {
    int64_t start_servers, server_limit, max_workers, max_connections;
    int64_t threads, thread_limit, min_spare, max_spare;
    int64_t max_fibers; /**< of a process */
};

/** All unset, but what has 0 as its default. */
void mu_mpm_numbers_init(struct mu_mpm_numbers *n);

/**
 * What a number becomes: `unset` when nothing was said, else within [lo, hi], with a warning when
 * it was not.
 */
uint32_t mu_mpm_number(struct mu_config *config, const char *directive, int64_t written,
                       uint32_t unset, uint32_t lo, uint32_t hi);

/** MaxConnectionsPerChild as a limit; 0: never. httpd takes a negative number as never, too. */
uint32_t mu_mpm_connections(const struct mu_mpm_numbers *n);

/** What one of a process's `reactors` gets of MaxFibers; one at least. */
uint32_t mu_mpm_fibers(const struct mu_mpm_numbers *n, uint32_t reactors);

/**
 * The limits of worker and event; `thread_limit_max` is the MPM's own upper bound of ThreadLimit.
 */
void mu_mpm_thread_limits(struct mu_config *config, const struct mu_mpm_numbers *n,
                          uint32_t thread_limit_max, struct mu_mpm_limits *out);

#endif
