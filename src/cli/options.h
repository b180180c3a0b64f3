/* The command line of muster: httpd's options and the hidden ones of a restart. */
#ifndef MU_CLI_OPTIONS_H
#define MU_CLI_OPTIONS_H

#include <super/super.h>

/** What shall be done instead of, or before, running the server. */
enum mu_cli_action {
    MU_CLI_RUN,
    MU_CLI_TEST,     /**< -t */
    MU_CLI_VERSION,  /**< -v */
    MU_CLI_SETTINGS, /**< -V */
    MU_CLI_USAGE,    /**< -h, or what is no option */
};

enum mu_cli_control {
    MU_CTL_NONE, /**< no -k */
    MU_CTL_START,
    MU_CTL_STOP,
    MU_CTL_RESTART,
    MU_CTL_GRACEFUL,
    MU_CTL_GRACEFUL_STOP,
};

struct mu_cli {
    enum mu_cli_action action;
    enum mu_cli_control control;
    struct mu_super_opts super; /**< config.before, after and defines point into `lists` */
    const char **lists;         /**< owned: three NULL-terminated vectors */
    bool is_wrong;              /**< the command line cannot be understood: exit status 1 */
};

/**
 * Parse. `argv` is permuted by nobody and kept as it is.
 * Returns: MU_OK; MU_NOMEM. What is wrong with the command line was printed.
 */
MU_NODISCARD enum mu_rc mu_cli_parse(struct mu_cli *cli, int argc, char **argv);
void mu_cli_fini(struct mu_cli *cli);

#endif
