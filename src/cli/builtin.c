/*
 * builtin: the list of modules that are part of the server, in the order in which hooks of equal
 * rank run. The MPMs are in it when they are linked statically; else they are DSOs beside the
 * others. so, http and version are parts of the core that the configuration knows by name.
 */
#include "cli/builtin.h"

#include <pool/group.h>

#define BUILTIN_MODULES(X)                                                                         \
    X(core)                                                                                        \
    X(app)                                                                                         \
    X(pool)                                                                                        \
    X(unixd)                                                                                       \
    X(log_config)                                                                                  \
    X(logio)                                                                                       \
    X(env)                                                                                         \
    X(setenvif)                                                                                    \
    X(mime)                                                                                        \
    X(proxy)                                                                                       \
    X(proxy_fcgi)                                                                                  \
    X(alias)                                                                                       \
    X(actions)                                                                                     \
    X(cgi)                                                                                         \
    X(dir)                                                                                         \
    X(autoindex)                                                                                   \
    X(authz_core)                                                                                  \
    X(reqtimeout)                                                                                  \
    X(status)                                                                                      \
    X(suexec)                                                                                      \
    X(xsendfile)

#ifdef MU_STATIC_MPM
#define STATIC_MPMS(X) X(mpm_event) X(mpm_prefork) X(mpm_worker)
#else
#define STATIC_MPMS(X)
#endif

#define DECLARE(name) extern struct mu_module mu_module_##name;
#define ENTRY(name) &mu_module_##name,

BUILTIN_MODULES(DECLARE)
STATIC_MPMS(DECLARE)

struct mu_module *const mu_builtin_modules[] = { BUILTIN_MODULES(ENTRY) STATIC_MPMS(ENTRY) NULL };

extern const struct mu_group mu_spawn_group;

const struct mu_group *const mu_builtin_groups[] = {
    &mu_spawn_group,
    &mu_pool_group,
    NULL,
};
