/* mod_stillborn: children that cannot start, for the tests. The configuration is good; each child
 * fails. */
#include <muster/module.h>

static enum mu_rc child_start(struct mu_config *config)
{
    (void)config;
    return MU_BAD;
}

MU_MODULE(stillborn, .child_start = child_start);
