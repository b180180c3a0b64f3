/* The pools as the cli room lists them. */
#ifndef MU_POOL_GROUP_H
#define MU_POOL_GROUP_H

#include <super/group.h>

extern const struct mu_group mu_pool_group;

#endif
