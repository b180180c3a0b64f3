/* The supervisor's entry: from a parsed command line to the end of the server. */
#ifndef MU_SUPER_SUPER_H
#define MU_SUPER_SUPER_H

#include <conf/config.h>
#include <super/child.h>

struct mu_group;

struct mu_super_opts {
    char **argv; /**< as main() got it, NULL-terminated: what a re-exec runs again */
    struct mu_config_opts config; /**< `tree` and `report` are set by the supervisor when it runs */
    /**
     * The room above completes a loaded configuration (routing, derived data); MU_BAD after
     * reporting errors.
     */
    enum mu_rc (*prepare)(struct mu_config *config);
    /** Further processes that the supervisor owns (group.h); NULL-terminated, or NULL. */
    const struct mu_group *const *groups;
    bool is_foreground; /**< -DFOREGROUND: do not become a daemon */
    bool is_single;     /**< -X: one child, in this very process, no fork */
    /* Hidden options, by which the images of a graceful restart call each other; -1 when absent. */
    int rehearse_fd; /**< --rehearse=FD: read the configuration, answer there, exit */
    int takeover_fd,
        takeover_exe_fd; /**< --takeover=FD:FD, --fallback=FD:FD: state, previous binary */
    bool is_fallback;    /**< this is the previous binary again */
};

/**
 * Run the server.
 * Returns: the exit status of the process (of the parent, when it becomes a daemon: 0 once the
 *          server runs and the PidFile is there).
 */
int mu_super_run(const struct mu_super_opts *opts);

/**
 * The hidden options, for the parser of the command line. Returns: was `arg` one? MU_BAD: one that
 * is malformed.
 */
MU_NODISCARD enum mu_rc mu_super_option(const char *arg, struct mu_super_opts *opts);

/**
 * Load a configuration and check all that can be checked without running it: what -t does, and
 * every start.
 * Returns: MU_OK with *out (mu_config_destroy) and the MPM's numbers; MU_BAD after reporting
 *          through opts->report.
 */
MU_NODISCARD enum mu_rc mu_super_configure(const struct mu_config_opts *opts,
                                           enum mu_rc (*prepare)(struct mu_config *config),
                                           struct mu_config **out, struct mu_mpm_limits *limits);

/** What the groups of the server (opts->groups) say of a loaded configuration. MU_BAD: reported. */
MU_NODISCARD enum mu_rc mu_super_check_groups(const struct mu_super_opts *opts,
                                              struct mu_config *config);

/** The MPM of a loaded configuration, or NULL when its module is none. */
const struct mu_mpm *mu_config_mpm(const struct mu_config *config);

/** What PidFile says, resolved; in the configuration's arena. */
const char *mu_super_pid_path(const struct mu_config *config);

/** Is `pid`'s process alive and a running server (the PidFile's owner), as far as can be told? */
bool mu_super_is_running(pid_t pid);

/**
 * The module of this room, for the list of built-in ones: User, Group, and the directives that all
 * MPMs share.
 */
extern struct mu_module mu_module_unixd;

#endif
