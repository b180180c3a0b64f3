/* The modules that are part of the server's binary. */
#ifndef MU_CLI_BUILTIN_H
#define MU_CLI_BUILTIN_H

#include <muster/module.h>

/** NULL-terminated. */
extern struct mu_module *const mu_builtin_modules[];

struct mu_group;
/** The processes beside the web children (super/group.h); NULL-terminated. */
extern const struct mu_group *const mu_builtin_groups[];

#endif
