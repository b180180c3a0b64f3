/* mod_app: the directives that hold for applications whatever way they are run. */
#include <muster/cgi.h>
#include <muster/module.h>

extern struct mu_module mu_module_app;

static const struct mu_directive directives[] = { MU_DIR_END };

MU_MODULE(app, .conf_size = sizeof(int), .directives = directives);
