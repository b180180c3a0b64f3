/* The command line of muster: httpd's options and the hidden ones of a restart. */
#ifndef MU_CLI_OPTIONS_H
#define MU_CLI_OPTIONS_H

#include <muster/log.h>
#include <super/super.h>

/** What shall be done instead of, or before, running the server. */
enum mu_cli_action {
    MU_CLI_RUN,
    MU_CLI_TEST, /**< -t: also what -S, -M and -D DUMP_… begin with; `dumps` says what to print */
    MU_CLI_VERSION,    /**< -v */
    MU_CLI_SETTINGS,   /**< -V */
    MU_CLI_MODULES,    /**< -l */
    MU_CLI_DIRECTIVES, /**< -L */
    MU_CLI_USAGE,      /**< -h */
    MU_CLI_HELP,       /**< --help, which is asked for and therefore no error */
};

enum mu_cli_control {
    MU_CTL_NONE, /**< no -k */
    MU_CTL_START,
    MU_CTL_STOP,
    MU_CTL_RESTART,
    MU_CTL_GRACEFUL,
    MU_CTL_GRACEFUL_STOP,
};

/** What is printed about a configuration: a set of these. */
enum {
    MU_DUMP_VHOSTS = 1,
    MU_DUMP_RUN_CFG = 2,
    MU_DUMP_MODULES = 4,
    MU_DUMP_INCLUDES = 8,
    MU_DUMP_CONFIG = 16,
};

struct mu_cli {
    enum mu_cli_action action;
    enum mu_cli_control control;
    unsigned dumps;
    struct mu_super_opts super; /**< config.before, after and defines point into `lists` */
    const char **lists;         /**< owned: three NULL-terminated vectors */
    enum mu_log_level level;    /**< -e: start-up messages down to this level are shown */
    const char *error_file;     /**< -E, or NULL */
    bool wants_syntax_ok;       /**< -t itself was given */
    bool skips_document_roots;  /**< -T */
    bool is_wrong;              /**< the command line cannot be understood: exit status 1 */
};

/**
 * Parse. `argv` is permuted by nobody and kept as it is.
 * Returns: MU_OK; MU_NOMEM. What is wrong with the command line was printed.
 */
MU_NODISCARD enum mu_rc mu_cli_parse(struct mu_cli *cli, int argc, char **argv);
void mu_cli_fini(struct mu_cli *cli);

/**
 * Take the hidden options out of `argv` into `super`. `rest` has room for argc + 1.
 * Returns: how many are left in `rest`, which ends with NULL; -1 when one of them is malformed.
 */
int mu_cli_take_hidden(struct mu_super_opts *super, int argc, char **argv, char **rest);

/** The name the program was called by, without folders: what messages begin with. */
const char *mu_cli_name(char *const *argv);

#endif
