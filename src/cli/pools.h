/* muster pool: speaks to the application pools of a running server. */
#ifndef MU_CLI_POOLS_H
#define MU_CLI_POOLS_H

#include "cli/options.h"

/** Words of `muster pool VERB [NAME]`, which stand in front of the options. */
struct mu_pool_words {
    const char *verb, *name; /**< NULL: not given */
};

/**
 * Is it `muster pool …`? Then the words are taken out of argv (which stays NULL-terminated).
 * Returns: the new argc; 0 when it is not.
 */
int mu_cli_pool_words(int argc, char **argv, struct mu_pool_words *words);
/** Ask the server of this configuration. Returns the exit status. */
int mu_cli_pool(const struct mu_cli *cli, const struct mu_pool_words *words);

#endif
