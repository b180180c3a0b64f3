/* Application pools as the configuration writes them. */
#ifndef MU_POOL_CONF_H
#define MU_POOL_CONF_H

#include <base/proc.h>
#include <conf/config.h>
#include <pool/ask.h>

extern struct mu_module mu_module_pool;

enum mu_pool_manager { MU_POOL_STATIC, MU_POOL_DYNAMIC, MU_POOL_ONDEMAND };

enum { MU_POOL_NAME_MAX = 32, MU_POOL_UNSET = -1 };

/** One <ApplicationPool>. */
struct mu_pool_conf {
    struct mu_str name; /**< letters, digits, '-', '_'; looked for without regard to case */
    struct mu_str file;
    unsigned line;

    /* The processes. What stands here is the pool's definition: when it changes they are replaced. */
    char **argv;
    bool has_command; /**< there was a line, right or wrong */
    struct mu_str user, group;
    struct mu_identity identity; /**< user NULL: the supervisor's own (it is not root) */
    struct mu_str chroot, directory;
    struct mu_strs environment; /**< as written */
    char **envp;
    int64_t limit_cpu_s, limit_memory, limit_files, limit_processes; /**< MU_POOL_UNSET */
    int64_t max_requests;                                            /**< 0: no end */
    struct mu_str definition;                                        /**< all of it as text */

    /* Their number. */
    int manager; /**< enum mu_pool_manager */
    int64_t max_children, start_servers, min_spare, max_spare, spawn_rate;
    int64_t idle_timeout_ms, start_timeout_ms, stop_timeout_ms;
    int64_t emergency_threshold, emergency_interval_ms;

    /* Requests. */
    int64_t queue_length, queue_timeout_ms;
    int64_t request_timeout_ms, slow_timeout_ms; /**< 0: none */
    struct mu_str slow_log;
    bool flushes, is_streaming, passes_client;
};

/** The module's conf of the main server. */
struct mu_pools_conf {
    struct mu_pool_conf **v;
    size_t n;
    struct mu_str dir; /**< ApplicationPoolDir, resolved */
};

const struct mu_pools_conf *mu_pools_conf_of(const struct mu_config *config);
/** NULL: there is none. */
const struct mu_pool_conf *mu_pool_conf_find(const struct mu_pools_conf *all, struct mu_str name);
/**
 * What can be said of all pools together: handlers that name one, users that must not be the web
 * children's. Errors by mu_config_error.
 */
enum mu_rc mu_pools_check(struct mu_config *config);

/* complete.c: what the section's end does. */
/** Cross-checks and derived members. MU_BAD after mu_cmd_error. */
enum mu_rc mu_pool_complete(struct mu_cmd *cmd, struct mu_pool_conf *p);

#endif
