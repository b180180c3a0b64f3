/* What the command line prints instead of running a server, in httpd's form. */
#ifndef MU_CLI_INFO_H
#define MU_CLI_INFO_H

#include <cli/options.h>
#include <stdio.h>

/** -h and --help: the options. `name` is how the program was called. */
void mu_info_usage(const char *name, FILE *to);
/** -v */
void mu_info_version(void);
/** -V; `config` names the MPM, NULL when it cannot be read. */
void mu_info_settings(const struct mu_config *config);
/** -l: the modules compiled in, of a NULL-terminated list. */
void mu_info_modules(struct mu_module *const *builtin);
/**
 * -L: the directives of the configuration's modules, or of those compiled in when there is none.
 */
void mu_info_directives(const struct mu_config *config, struct mu_module *const *builtin);
/** -S, -M and -D DUMP_…: what `dumps` asks for. */
void mu_info_dump(struct mu_config *config, unsigned dumps);

#endif
