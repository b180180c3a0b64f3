/* muster serve DIR: a folder on the web without a configuration file. */
#ifndef MU_CLI_SERVE_H
#define MU_CLI_SERVE_H

/**
 * Parse `muster serve DIR …` and run the server in the foreground.
 * Returns: the exit status.
 */
int mu_serve(int argc, char **argv, const char *module_dir);

#endif
