/*
 * config: from options to a published configuration. The steps are read (again, when reading found
 * out which modules are on only on the way), apply, merge, check; messages of all of them are
 * handed over together. A configuration owns one arena; the merged confs that come later lie in a
 * second one, under a lock.
 */
#include <muster/str.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "conf/priv.h"

#ifndef MU_SERVER_ROOT
#define MU_SERVER_ROOT "/usr/local/muster"
#endif

static struct mu_config *create(const struct mu_config_opts *opts, const struct mu_conf_fs *fs,
                                struct mu_conf_facts facts)
{
    struct mu_arena *a = mu_arena_create(64 * 1024);
    struct mu_config *c = a ? mu_new(a, struct mu_config) : NULL;
    struct mu_config_priv *p = a ? mu_new(a, struct mu_config_priv) : NULL;

    if (!c || !p || !(p->merge_arena = mu_arena_create(0))) {
        mu_arena_destroy(a);
        return NULL;
    }
    pthread_mutex_init(&p->merge_lock, NULL);
    c->arena = a;
    c->priv = p;
    p->opts = opts;
    p->fs = fs;
    p->facts = facts;
    p->report = opts->report;
    p->report_arg = opts->report_arg;
    p->defines = mu_map_create(a, false);
    p->files = mu_map_create(a, false);
    p->failed = mu_map_create(a, false);
    p->known = mu_map_create(a, true);
    if (!p->defines || !p->files || !p->failed || !p->known) {
        mu_config_destroy(c);
        return NULL;
    }
    return c;
}

void mu_config_destroy(struct mu_config *c)
{
    if (!c)
        return;
    pthread_mutex_destroy(&c->priv->merge_lock);
    mu_arena_destroy(c->priv->merge_arena);
    mu_arena_destroy(c->arena);
}

/* ---- reading ---- */

/*
 * Relative names on the command line start from the current directory for the root, from the root
 * for the file.
 */
static struct mu_str absolute_root(struct mu_arena *a, const char *root)
{
    struct mu_str given = mu_str_c(root ? root : MU_SERVER_ROOT);
    struct mu_str result;
    char *cwd;

    if (mu_path_is_abs(given))
        return mu_path_normalise(a, given);
    cwd = getcwd(NULL, 0);
    if (!cwd)
        return MU_STR_NULL;
    result = mu_path_rooted(a, mu_str_c(cwd), given);
    free(cwd);
    return result;
}

static enum mu_rc find_file(struct mu_config *c)
{
    static const char *const names[] = { "conf/muster.conf", "conf/httpd.conf" };
    const struct mu_conf_fs *fs = c->priv->fs;

    if (c->priv->opts->file) {
        c->config_file = mu_conf_path(c, mu_str_c(c->priv->opts->file));
        return c->config_file.p ? MU_OK : mu_conf_nomem(c);
    }
    for (size_t i = 0; i < MU_ARRAY_LEN(names); i++) {
        c->config_file = mu_conf_path(c, mu_str_c(names[i]));
        if (!c->config_file.p)
            return mu_conf_nomem(c);
        if (fs->kind(fs->arg, c->config_file.p) != MU_FS_NONE)
            break;
    }
    return MU_OK;
}

static enum mu_rc begin(struct mu_config *c)
{
    const char *const *d = c->priv->opts->defines;

    c->tree = mu_new(c->arena, struct mu_node);
    c->server_root = absolute_root(c->arena, c->priv->opts->server_root);
    if (!c->tree || !c->server_root.p || find_file(c) != MU_OK)
        return mu_conf_nomem(c);
    for (; d && *d; d++)
        if (mu_define(c, mu_str_c(*d), MU_STR_NULL) != MU_OK)
            return MU_NOMEM;
    return mu_modules_prepare(c) == MU_OK ? mu_modules_begin(c) : MU_NOMEM;
}

static void read_lines(struct mu_config *c, const char *const *lines)
{
    struct mu_reader r = { .c = c, .a = c->arena, .at = c->tree, .file = MU_CONF_CMDLINE };

    for (; lines && *lines && !mu_read_is_over(&r); lines++) {
        struct mu_str line = mu_str_trim(mu_str_c(*lines));

        if (line.n && line.p[0] != '#')
            mu_read_line(&r, line);
    }
    if (!mu_read_is_over(&r))
        mu_read_end(&r);
}

static void read_main(struct mu_config *c)
{
    /* nobody includes the first file: an error about it has no place */
    struct mu_reader r = { .c = c, .a = c->arena, .at = c->tree };
    const struct mu_conf_fs *fs = c->priv->fs;
    struct mu_str dir;

    if (!c->priv->opts->file && fs->kind(fs->arg, c->config_file.p) == MU_FS_NONE) {
        dir = mu_path_dir(c->config_file);
        mu_read_error(&r,
                      "Could not open configuration file %.*s/muster.conf, nor httpd.conf there: "
                      "No such file or directory",
                      MU_FMT(dir));
        return;
    }
    mu_include(&r, c->config_file, false);
}

static bool has_mpm(const struct mu_config *c)
{
    for (size_t i = 0; i < c->priv->loaded.n; i++)
        if (mu_module_is_mpm(((const struct mu_loaded *)c->priv->loaded.v[i])->name))
            return true;
    return false;
}

/* One reading. Afterwards wants_restart says whether c is to be thrown away. */
static enum mu_rc read_all(struct mu_config *c)
{
    struct mu_config_priv *p = c->priv;
    enum mu_rc rc = begin(c);

    if (rc != MU_OK)
        return rc;
    read_lines(c, p->opts->before);
    if (!p->wants_restart)
        read_main(c);
    if (!p->wants_restart)
        read_lines(c, p->opts->after);
    if (!p->wants_restart && !p->is_stopped && p->asked_for_mpm && !p->facts.has_no_mpm &&
        !has_mpm(c)) {
        p->facts.has_no_mpm = true;
        p->wants_restart = true;
    }
    return p->is_out_of_memory ? MU_NOMEM : MU_OK;
}

/* Facts only ever become true, so this ends after three readings. NULL when out of memory. */
static struct mu_config *read_until_settled(const struct mu_config_opts *opts,
                                            const struct mu_conf_fs *fs)
{
    struct mu_conf_facts facts = { false, false };

    for (;;) {
        struct mu_config *c = create(opts, fs, facts);

        if (!c || read_all(c) != MU_OK || !c->priv->wants_restart)
            return c;
        facts = c->priv->facts;
        mu_config_destroy(c);
    }
}

static struct mu_config *restore(const struct mu_config_opts *opts, const struct mu_conf_fs *fs)
{
    struct mu_config *c = create(opts, fs, (struct mu_conf_facts){ true, true });

    if (c && !(c->tree = mu_new(c->arena, struct mu_node)))
        mu_conf_nomem(c);
    else if (c && mu_modules_prepare(c) == MU_OK)
        (void)!mu_tree_restore(c, mu_str_n(opts->tree, opts->tree_len));
    return c;
}

/* ---- the rest of the way ---- */

static enum mu_rc apply(struct mu_config *c)
{
    const struct mu_node here = { .file = c->config_file };
    struct mu_vhost_lists *v = mu_vhost_new(c, &here);
    struct mu_scope s;

    if (!v)
        return MU_NOMEM;
    c->main = &v->pub;
    s = (struct mu_scope){
        .vhost = c->main, .blocks = c->main->conf, .where = MU_IN_GLOBAL, .methods = MU_ANY_METHOD
    };
    mu_apply_nodes(c, c->tree->first, &s);
    return mu_sections_end(c);
}

static void check(struct mu_config *c)
{
    for (size_t i = 0; i < c->modules_n; i++) {
        uint32_t errors = c->errors;

        if (!c->modules[i]->check || c->modules[i]->check(c, c->arena) == MU_OK)
            continue;
        if (c->errors == errors)
            mu_config_error(c, "mod_%s refuses the configuration", c->modules[i]->name);
    }
}

static void finish(struct mu_config *c)
{
    if (c->priv->is_out_of_memory || c->priv->is_stopped || mu_modules_end(c) != MU_OK ||
        apply(c) != MU_OK || c->errors)
        return;
    if (mu_merge_bases(c) != MU_OK)
        return;
    check(c);
    if (!c->errors)
        mu_merge_derive_bases(c);
}

enum mu_rc mu_config_load_fs(const struct mu_config_opts *opts, const struct mu_conf_fs *fs,
                             struct mu_config **out)
{
    struct mu_config *c = opts->tree ? restore(opts, fs) : read_until_settled(opts, fs);

    *out = NULL;
    if (!c)
        return MU_NOMEM;
    finish(c);
    mu_conf_report_flush(c);
    if (c->errors || c->priv->is_out_of_memory) {
        mu_config_destroy(c);
        return MU_BAD;
    }
    c->priv->opts = NULL;
    c->priv->fs = NULL;
    *out = c;
    return MU_OK;
}

enum mu_rc mu_config_load(const struct mu_config_opts *opts, struct mu_config **out)
{
    return mu_config_load_fs(opts, &mu_conf_fs_real, out);
}

const struct mu_vhost *mu_config_vhost(const struct mu_config *config, size_t i)
{
    return i < config->vhosts_n ? config->vhosts[i] : NULL;
}
