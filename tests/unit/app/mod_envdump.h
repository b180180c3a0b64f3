/* A module of the tests: shows environments, leads elsewhere, knows a user. */
#ifndef MOD_ENVDUMP_H
#define MOD_ENVDUMP_H

#include <muster/module.h>

struct envdump_conf {
    struct mu_str to, user, notes;
};
extern struct mu_module mu_module_envdump;

#endif
