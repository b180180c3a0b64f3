/* Asking the pools of a running server, from another program. */
#ifndef MU_POOL_ASK_H
#define MU_POOL_ASK_H

#include <conf/config.h>

/** Where the sockets of `config`'s pools are; in its arena, NULL when out of memory. */
const char *mu_pools_dir(const struct mu_config *config);
/**
 * Send `line` ("reload blog\n") to the server whose sockets are in `dir`; *answer is what comes
 * back. Blocks. Returns MU_OK; MU_EIO with errno.
 */
MU_NODISCARD enum mu_rc mu_pool_ask(const char *dir, const char *line, struct mu_buf *answer);

#endif
