/* -k: signals to a server that runs, found by its PidFile. */
#ifndef MU_CLI_CONTROL_H
#define MU_CLI_CONTROL_H

#include "cli/options.h"

/**
 * Do what -k says, with a configuration that has been checked.
 * Returns: the exit status; -1 when the server shall be started now.
 */
int mu_cli_control(const struct mu_cli *cli, const struct mu_config *config);

#endif
