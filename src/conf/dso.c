/*
 * dso: one shared object and the module in it. The file is looked into before it is loaded, so that
 * a module of httpd, whose initialisers know nothing of this server, is told apart without running
 * any of its code.
 */
#include <muster/str.h>

#include <dlfcn.h>

#include "conf/priv.h"

/* Is `symbol` named anywhere in the file, as its string table would have it? */
static bool file_names(const struct mu_conf_fs *fs, struct mu_str path, struct mu_str symbol)
{
    struct mu_buf text = { 0 };
    struct mu_str zero_ended = { symbol.p, symbol.n + 1 };
    bool is_found = fs->read(fs->arg, path.p, &text) == MU_OK &&
                    mu_str_find(mu_buf_str(&text), zero_ended) >= 0;

    mu_buf_fini(&text);
    return is_found;
}

bool mu_dso_is_ours(struct mu_arena *a, const struct mu_conf_fs *fs, struct mu_str path,
                    struct mu_str name)
{
    struct mu_str symbol = mu_str_cat(a, MU_S("mu_module_"), name);

    return symbol.p && file_names(fs, path, symbol);
}

struct mu_module *mu_dso_open(struct mu_arena *a, const struct mu_conf_fs *fs, struct mu_str path,
                              struct mu_str name, void **handle, struct mu_str *why)
{
    struct mu_str symbol = mu_str_cat(a, MU_S("mu_module_"), name);
    struct mu_module *m;

    if (!symbol.p)
        return NULL;
    if (!fs->may_load || !file_names(fs, path, symbol)) {
        *why = mu_fmt(a, "%.*s is not a module for Muster: it has no %.*s", MU_FMT(path),
                      MU_FMT(symbol));
        return NULL;
    }
    *handle = dlopen(path.p, RTLD_NOW | RTLD_LOCAL);
    if (!*handle) {
        *why = mu_str_dup(a, mu_str_c(dlerror()));
        return NULL;
    }
    m = dlsym(*handle, symbol.p);
    if (!m)
        *why = mu_fmt(a, "%.*s does not export %.*s", MU_FMT(path), MU_FMT(symbol));
    else if (m->abi != MU_MODULE_ABI)
        *why = mu_fmt(
            a, "%.*s was built for ABI %u of Muster's modules, this server has %u: build it again",
            MU_FMT(path), m->abi, MU_MODULE_ABI);
    else if (!mu_str_eq(mu_str_c(m->name), name))
        *why = mu_fmt(a, "%.*s calls itself %s_module", MU_FMT(path), m->name);
    else
        return m;
    dlclose(*handle);
    *handle = NULL;
    return NULL;
}
