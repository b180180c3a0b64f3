/*
 * dso: a module in a shared object, built several times: as it should be (mod_tiny, mod_mpm_event),
 * with another ABI, under another name than its symbol says, and with a symbol that nobody has.
 */
#include <muster/module.h>

struct tiny_conf {
    int64_t number;
};

static const struct mu_directive directives[] = {
    MU_DIR_INT(DSO_DIRECTIVE, struct tiny_conf, number, MU_IN_SERVER, 1, 9, "A digit"), MU_DIR_END
};

#ifdef DSO_BROKEN
void mu_nobody_has_this(void *conf);
#define DSO_INIT .init = mu_nobody_has_this,
#else
#define DSO_INIT
#endif

#define SYMBOL_(ident) mu_module_##ident
#define SYMBOL(ident) SYMBOL_(ident)

extern struct mu_module SYMBOL(DSO_IDENT);
__attribute__((visibility("default"))) struct mu_module SYMBOL(DSO_IDENT) = {
    .abi = DSO_ABI,
    .name = DSO_NAME,
    .conf_size = sizeof(struct tiny_conf),
    .directives = directives,
    DSO_INIT
};
