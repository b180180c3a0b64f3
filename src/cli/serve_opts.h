/* The command line of `muster serve`, and the address it leads to. */
#ifndef MU_CLI_SERVE_OPTS_H
#define MU_CLI_SERVE_OPTS_H

#include <muster/types.h>

struct mu_serve_opts {
    const char *name; /**< argv[0] */
    char *root;       /**< DIR, absolute; owned by the process */
    const char *bind; /**< "127.0.0.1", "::1", or "*" for all addresses */
    const char *mpm;  /**< "event", "worker", "prefork" */
    unsigned port;    /**< 0 until mu_serve_reserve has found one */
    char url[128];    /**< where a browser finds it; set by mu_serve_argv */
    char port_text[8];
    char *
        argv[10]; /**< the command line that leads to the same server again; set by mu_serve_argv */
};

/**
 * Parse, `argv` being "muster serve …" without hidden options.
 * Returns: -1 to go on; else the exit status (usage or what is wrong was printed).
 */
int mu_serve_parse(struct mu_serve_opts *o, int argc, char **argv);
/**
 * For --port 0: take a free port, and hold it by a socket until the server listens on it.
 * Returns: false after saying why there is none.
 */
bool mu_serve_reserve(struct mu_serve_opts *o, int *fd);
/** Fill argv and url, now that the port is known. Always true but for a port that is not. */
bool mu_serve_argv(struct mu_serve_opts *o);

#endif
