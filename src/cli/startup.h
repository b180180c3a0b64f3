/* What happens on the way to a configuration: where messages go and which are shown (-e, -E), and
 * checks of its own. */
#ifndef MU_CLI_STARTUP_H
#define MU_CLI_STARTUP_H

#include <cli/options.h>

/**
 * Set cli->super.config's reporting and cli->super.prepare, and carry out -e and -E. Once, before
 * anything is read. `cli` must live as long as the process.
 */
void mu_startup_begin(struct mu_cli *cli);
/**
 * Keep warnings back, because the configuration may be read a second time by the server itself.
 * mu_startup_release prints what was kept, or forgets it. Errors are never kept, and warnings that
 * came before one are printed with it.
 */
void mu_startup_hold(void);
void mu_startup_release(bool is_printed);

#endif
