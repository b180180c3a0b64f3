/* The directives that all MPMs share, and User and Group, as the supervisor uses them. */
#ifndef MU_SUPER_SETTINGS_H
#define MU_SUPER_SETTINGS_H

#include <base/proc.h>
#include <conf/config.h>

/** unixd's conf, with its defaults. */
struct mu_super_conf {
    struct mu_str user, group;
    struct mu_str pid_file,
        core_dump_dir; /**< resolved against ServerRoot; core_dump_dir may be unset */
    int64_t listen_backlog;
    int64_t send_buffer, receive_buffer; /**< 0: the kernel's */
    int64_t buckets_ratio;               /**< ListenCoresBucketsRatio */
    int64_t graceful_timeout_ms;         /**< GracefulShutdownTimeout, 0: for ever */
    int64_t thread_stack_size;
    bool has_accept_lock; /**< Mutex … mpm-accept with a mechanism of its own */
};

const struct mu_super_conf *mu_super_conf_of(const struct mu_config *config);

/**
 * Who the children become, by User and Group.
 * Returns: MU_OK (id->user is NULL when the server was not started as root: nothing changes); an
 *          error after reporting it to the configuration.
 */
MU_NODISCARD enum mu_rc mu_super_identity(struct mu_config *config, struct mu_identity *id);

#endif
