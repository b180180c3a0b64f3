/*
 * modules: which modules are on. Built-in ones are all on until a LoadModule line names one of
 * them; then the reading starts again with exactly the named ones on, besides those that Debian's
 * httpd always has. The identifier decides; a path only says where a DSO lies. Conditions see the
 * state at their own line.
 */
#include <muster/str.h>

#include <dlfcn.h>

#include "base/path.h"
#include "conf/priv.h"

/* On in every server, whether or not Muster has them as modules of their own. */
static const char *const always_on[] = { "core",  "so",      "watchdog", "http", "log_config",
                                         "logio", "version", "unixd",    "app",  "pool" };

static bool is_always_on(struct mu_str name)
{
    for (size_t i = 0; i < MU_ARRAY_LEN(always_on); i++)
        if (mu_str_eq(mu_str_c(always_on[i]), name))
            return true;
    return false;
}

bool mu_module_is_mpm(struct mu_str name)
{
    return mu_str_starts(name, MU_S("mpm_"));
}

/* What httpd has in two editions, one for each kind of MPM, is one module here. Conditions still see
 * the name that was loaded. */
static struct mu_str edition_of(struct mu_str name)
{
    return mu_str_eq(name, MU_S("cgid")) ? MU_S("cgi") : name;
}

static struct mu_module *builtin_find(const struct mu_config *c, struct mu_str name)
{
    struct mu_module *const *b = c->priv->opts->builtin;

    name = edition_of(name);
    for (; b && *b; b++)
        if (mu_str_eq(mu_str_c((*b)->name), name))
            return *b;
    return NULL;
}

const struct mu_loaded *mu_modules_find(const struct mu_config *c, struct mu_str name)
{
    for (size_t i = 0; i < c->priv->loaded.n; i++) {
        const struct mu_loaded *l = c->priv->loaded.v[i];

        if (mu_str_eq(l->name, name))
            return l;
    }
    return NULL;
}

/* Enter the directives of a module that has just been put on. */
static enum mu_rc know_directives(struct mu_config *c, struct mu_module *m,
                                  const struct mu_directive *d)
{
    for (; d && d->name; d++) {
        struct mu_known *k = mu_map_get(c->priv->known, mu_str_c(d->name));

        if (k && !k->module && k->directive->kind == MU_K_REFUSED) {
            *k =
                (struct mu_known){ .directive = d, .module = m }; /* a module brings it after all */
            continue;
        }
        if (k) { /* the conf room's own and earlier modules come first */
            if (k->module && k->module != m)
                mu_conf_error(c, MU_STR_NULL, 0, "mod_%s and mod_%s both define %s",
                              k->module->name, m->name, d->name);
            continue;
        }
        k = mu_new(c->arena, struct mu_known);
        if (!k || mu_map_set(c->priv->known, mu_str_c(d->name), k) != MU_OK)
            return mu_conf_nomem(c);
        *k = (struct mu_known){ .directive = d, .module = m };
    }
    return MU_OK;
}

static struct mu_loaded *put_on(struct mu_config *c, struct mu_str name, struct mu_module *m)
{
    struct mu_loaded *l = mu_new(c->arena, struct mu_loaded);

    if (!l || !(l->name = mu_str_dup(c->arena, name)).p ||
        mu_vec_push(c->arena, &c->priv->loaded, l) != MU_OK) {
        mu_conf_nomem(c);
        return NULL;
    }
    l->m = m;
    return m && know_directives(c, m, m->directives) != MU_OK ? NULL : l;
}

static bool abi_is_right(struct mu_config *c, const struct mu_module *m)
{
    if (m->abi == MU_MODULE_ABI)
        return true;
    mu_conf_error(c, MU_STR_NULL, 0, "mod_%s is built in with ABI %u, this is %u", m->name, m->abi,
                  MU_MODULE_ABI);
    return false;
}

enum mu_rc mu_modules_prepare(struct mu_config *c)
{
    return know_directives(c, NULL, mu_conf_directives);
}

enum mu_rc mu_modules_begin(struct mu_config *c)
{
    struct mu_module *const *b = c->priv->opts->builtin;

    for (; b && *b; b++) {
        struct mu_str name = mu_str_c((*b)->name);
        bool is_on =
            mu_module_is_mpm(name) ? false : !c->priv->facts.is_exact || is_always_on(name);

        if (is_on && abi_is_right(c, *b) && !put_on(c, name, *b))
            return MU_NOMEM;
    }
    for (size_t i = 0; i < MU_ARRAY_LEN(always_on); i++)
        if (!mu_modules_find(c, mu_str_c(always_on[i])) && !put_on(c, mu_str_c(always_on[i]), NULL))
            return MU_NOMEM;
    if (c->priv->facts.has_no_mpm)
        (void)mu_modules_restore(c, MU_S("mpm_event"), MU_STR_NULL); /* it reports */
    return c->priv->is_out_of_memory ? MU_NOMEM : MU_OK;
}

/* ---- DSOs ---- */

/* Where the file is as given. {NULL,0}: nowhere. */
static struct mu_str given_path(struct mu_config *c, struct mu_str path)
{
    const struct mu_conf_fs *fs = c->priv->fs;
    struct mu_str found = mu_conf_path(c, path);

    return found.p && fs->kind(fs->arg, found.p) == MU_FS_FILE ? found : MU_STR_NULL;
}

/* The file of that name in the module folder. {NULL,0}: there is none. */
static struct mu_str own_path(struct mu_config *c, struct mu_str file)
{
    const struct mu_conf_fs *fs = c->priv->fs;
    struct mu_str found;

    if (!c->priv->opts->module_dir)
        return MU_STR_NULL;
    found = mu_path_join(c->arena, mu_str_c(c->priv->opts->module_dir), file);
    return found.p && fs->kind(fs->arg, found.p) == MU_FS_FILE ? found : MU_STR_NULL;
}

static struct mu_str own_file(struct mu_config *c, struct mu_str name)
{
    return mu_str_cat(c->arena, MU_S("mod_"), name, MU_S(".so"));
}

/*
 * The file that is named, else the one of that name in the module folder, else the one there that is
 * named for the identifier. Those are also taken when the named one is httpd's: Debian's
 * mods-available names its own mod_mpm_event.so, and libphp8.2.so for php_module.
 */
static struct mu_str dso_path(struct mu_config *c, struct mu_str name, struct mu_str path)
{
    struct mu_str given = given_path(c, path), own = own_path(c, mu_path_base(path));

    if (given.p && mu_dso_is_ours(c->arena, c->priv->fs, given, name))
        return given;
    if (!own.p)
        own = own_path(c, own_file(c, name));
    return own.p ? own : given;
}

static bool load_dso(struct mu_config *c, struct mu_str name, struct mu_str path,
                     struct mu_str *why)
{
    struct mu_str found = dso_path(c, name, path);
    void *handle = NULL;
    struct mu_module *m;
    struct mu_loaded *l;

    if (!found.p) {
        *why = mu_fmt(c->arena, "there is no file %.*s%s%s", MU_FMT(path),
                      c->priv->opts->module_dir ? ", nor one of that name in " : "",
                      c->priv->opts->module_dir ? c->priv->opts->module_dir : "");
        return false;
    }
    m = mu_dso_open(c->arena, c->priv->fs, found, name, &handle, why);
    l = m ? put_on(c, name, m) : NULL;
    if (!l)
        return false;
    m->is_shared = true;
    l->path = found;
    l->handle = handle;
    return true;
}

static bool is_on_already(const struct mu_config *c, const struct mu_module *m)
{
    for (size_t i = 0; i < c->priv->loaded.n; i++) {
        if (((const struct mu_loaded *)c->priv->loaded.v[i])->m == m)
            return true;
    }
    return false;
}

/* Load what is named, built in or not, without a word about why it cannot be. */
static bool load(struct mu_config *c, struct mu_str name, struct mu_str path, struct mu_str *why)
{
    struct mu_module *m = builtin_find(c, name);

    if (m) /* on already: as another edition */
        return abi_is_right(c, m) && put_on(c, name, is_on_already(c, m) ? NULL : m) != NULL;
    if (is_always_on(name))
        return put_on(c, name, NULL) != NULL;
    if (!path.p)
        path = own_file(c, name);
    return load_dso(c, name, path, why);
}

bool mu_modules_restore(struct mu_config *c, struct mu_str name, struct mu_str path)
{
    struct mu_str why = MU_S("out of memory");

    if (mu_modules_find(c, name) || load(c, name, path, &why))
        return true;
    if (mu_module_is_mpm(name) && !c->priv->opts->module_dir && !path.p)
        return true; /* a program that brings no MPM needs none */
    mu_conf_error(c, MU_STR_NULL, 0, "Cannot load the module %.*s: %.*s", MU_FMT(name),
                  MU_FMT(why));
    return false;
}

/* ---- LoadModule ---- */

static const struct mu_loaded *loaded_mpm(const struct mu_config *c)
{
    for (size_t i = 0; i < c->priv->loaded.n; i++) {
        const struct mu_loaded *l = c->priv->loaded.v[i];

        if (mu_module_is_mpm(l->name))
            return l;
    }
    return NULL;
}

static bool is_second_mpm(struct mu_reader *r, struct mu_str name)
{
    const struct mu_loaded *mpm = loaded_mpm(r->c);

    if (!mu_module_is_mpm(name) || !mpm || mu_str_eq(mpm->name, name))
        return false;
    if (mpm->file.p)
        mu_read_error(r,
                      "More than one MPM loaded: %.*s_module here, %.*s_module on line %u of %.*s",
                      MU_FMT(name), MU_FMT(mpm->name), mpm->line, MU_FMT(mpm->file));
    else
        mu_read_error(r,
                      "More than one MPM loaded: %.*s_module stands in a section for %.*s_module",
                      MU_FMT(name), MU_FMT(mpm->name));
    return true;
}

/* The nearest identifier there is, or {NULL,0}. */
static struct mu_str nearest_module(struct mu_config *c, struct mu_str name)
{
    struct mu_suggest s = mu_suggest_begin(name);
    struct mu_module *const *b = c->priv->opts->builtin;

    for (; b && *b; b++)
        mu_suggest_try(&s, mu_str_c((*b)->name));
    for (size_t i = 0; i < MU_ARRAY_LEN(always_on); i++)
        mu_suggest_try(&s, mu_str_c(always_on[i]));
    mu_suggest_try(&s, MU_S("mpm_prefork"));
    mu_suggest_try(&s, MU_S("mpm_worker"));
    mu_suggest_try(&s, MU_S("mpm_event"));
    return s.best;
}

static void explain_failure(struct mu_reader *r, struct mu_str name, struct mu_str path,
                            struct mu_str why)
{
    const struct mu_httpd_module *h = mu_httpd_module_find(name);
    struct mu_str near = nearest_module(r->c, name);
    struct mu_str *key = mu_new(r->a, struct mu_str);

    if (!key || mu_map_set(r->c->priv->failed, name, key) != MU_OK)
        mu_conf_nomem(r->c);
    if (h && !mu_module_is_mpm(name) && !builtin_find(r->c, name) &&
        !own_path(r->c, own_file(r->c, name)).p)
        mu_read_error(
            r,
            "LoadModule %.*s_module: this version of Muster does not have httpd's mod_%s (%s)%s%s",
            MU_FMT(name), h->name, h->what, h->instead ? "; " : "", h->instead ? h->instead : "");
    else if (near.p && !mu_str_eq(near, name))
        mu_read_error(
            r,
            "Cannot load %.*s into server as %.*s_module: %.*s; the nearest module there is: "
            "%.*s_module",
            MU_FMT(path), MU_FMT(name), MU_FMT(why), MU_FMT(near));
    else
        mu_read_error(r, "Cannot load %.*s into server as %.*s_module: %.*s", MU_FMT(path),
                      MU_FMT(name), MU_FMT(why));
}

/* Does this line make the list of built-in modules an exact one, which it was not taken for? */
static bool changes_facts(struct mu_config *c, struct mu_str name)
{
    bool is_builtin = !mu_module_is_mpm(name) && (builtin_find(c, name) || is_always_on(name));

    if (!is_builtin || c->priv->facts.is_exact)
        return false;
    c->priv->facts.is_exact = true;
    c->priv->wants_restart = true;
    return true;
}

void mu_modules_load(struct mu_reader *r, struct mu_str identifier, struct mu_str path)
{
    struct mu_str name = mu_str_sub(identifier, 0, identifier.n - 7);
    struct mu_str why = MU_S("out of memory");
    struct mu_loaded *l;

    if (!mu_str_ends(identifier, MU_S("_module")) || identifier.n == 7) {
        mu_read_error(r, "LoadModule: \"%.*s\" is no module identifier: those end in _module",
                      MU_FMT(identifier));
        return;
    }
    if (changes_facts(r->c, name) || is_second_mpm(r, name))
        return;
    l = (struct mu_loaded *)(uintptr_t)mu_modules_find(r->c, name);
    if (l) {
        if (l->file.p)
            mu_read_warn(r, "module %.*s is already loaded, skipping", MU_FMT(identifier));
    } else if (load(r->c, name, path, &why)) {
        l = r->c->priv->loaded.v[r->c->priv->loaded.n - 1];
    } else {
        explain_failure(r, name, path, why);
        return;
    }
    if (!l->file.p) {
        l->file = r->file;
        l->line = r->line;
    }
}

static bool open_file(struct mu_config *c, struct mu_str path, struct mu_str *why)
{
    if (!c->priv->fs->may_load) {
        *why = MU_S("loading is switched off");
        return false;
    }
    if (dlopen(path.p, RTLD_NOW | RTLD_GLOBAL))
        return true;
    *why = mu_str_dup(c->arena, mu_str_c(dlerror()));
    return false;
}

void mu_modules_load_file(struct mu_reader *r, struct mu_str path)
{
    struct mu_str full = mu_conf_path(r->c, path);
    struct mu_str why = MU_S("out of memory");

    if (!full.p || !open_file(r->c, full, &why))
        mu_read_error(r, "Cannot load %.*s into server: %.*s", MU_FMT(path), MU_FMT(why));
    else if (mu_vec_push(r->a, &r->c->priv->load_files, (void *)(uintptr_t)full.p) != MU_OK)
        mu_conf_nomem(r->c);
}

enum mu_rc mu_modules_restore_file(struct mu_config *c, struct mu_str path)
{
    struct mu_str full = mu_str_dup(c->arena, path);
    struct mu_str why = MU_S("out of memory");

    if (full.p && open_file(c, full, &why))
        return mu_vec_push(c->arena, &c->priv->load_files, (void *)(uintptr_t)full.p);
    mu_conf_error(c, MU_STR_NULL, 0, "Cannot load %.*s into server: %.*s", MU_FMT(path),
                  MU_FMT(why));
    return MU_BAD;
}

/* ---- questions ---- */

/* "mod_x.c", "x_module" or one of httpd's odd file names, to "x". */
static struct mu_str name_of(struct mu_str arg)
{
    static const struct {
        struct mu_str file, name;
    } odd[] = {
        { MU_S("core.c"), MU_S("core") },           { MU_S("http_core.c"), MU_S("http") },
        { MU_S("prefork.c"), MU_S("mpm_prefork") }, { MU_S("worker.c"), MU_S("mpm_worker") },
        { MU_S("event.c"), MU_S("mpm_event") },
    };

    for (size_t i = 0; i < MU_ARRAY_LEN(odd); i++)
        if (mu_str_eq(odd[i].file, arg))
            return odd[i].name;
    if (mu_str_ends(arg, MU_S("_module")))
        return mu_str_sub(arg, 0, arg.n - 7);
    if (mu_str_starts(arg, MU_S("mod_")) && mu_str_ends(arg, MU_S(".c")))
        return mu_str_sub(arg, 4, arg.n - 2);
    return MU_STR_NULL;
}

bool mu_modules_is_on(struct mu_config *c, struct mu_str arg)
{
    struct mu_str name = name_of(arg);

    if (mu_module_is_mpm(name))
        c->priv->asked_for_mpm = true;
    return name.n && mu_modules_find(c, name);
}

const struct mu_known *mu_directive_find(struct mu_config *c, struct mu_str name)
{
    return mu_map_get(c->priv->known, name);
}

bool mu_config_has_module(const struct mu_config *config, struct mu_str name)
{
    return mu_modules_find(config, name) != NULL;
}

bool mu_config_module_name(const struct mu_config *config, size_t i, struct mu_str *name)
{
    const struct mu_vec *loaded = &config->priv->loaded;

    if (i >= loaded->n)
        return false;
    *name = ((const struct mu_loaded *)loaded->v[i])->name;
    return true;
}

void *mu_config_module_handle(const struct mu_config *c, const struct mu_module *m)
{
    const struct mu_loaded *l = mu_modules_find(c, mu_str_c(m->name));

    return l ? l->handle : NULL;
}

/* ---- the end of reading ---- */

static enum mu_rc number(struct mu_config *c)
{
    struct mu_vec *loaded = &c->priv->loaded;

    c->modules = mu_new_n(c->arena, struct mu_module *, loaded->n + 1);
    if (!c->modules)
        return mu_conf_nomem(c);
    for (size_t i = 0; i < loaded->n; i++) {
        struct mu_loaded *l = loaded->v[i];

        if (!l->m)
            continue;
        l->m->index = (uint16_t)c->modules_n;
        c->modules[c->modules_n++] = l->m;
    }
    return MU_OK;
}

static void refuse_unsafe(struct mu_config *c)
{
    if (strcmp(c->mpm_name, "worker") != 0 && strcmp(c->mpm_name, "event") != 0)
        return; /* of a foreign MPM only the supervisor knows */
    for (size_t i = 0; i < c->modules_n; i++) {
        const struct mu_module *m = c->modules[i];
        const struct mu_loaded *l = mu_modules_find(c, mu_str_c(m->name));

        if (m->threads == MU_THREADS_NONE)
            mu_conf_error(
                c, l->file, l->line,
                "mod_%s serves one request at a time in a process, and the %s MPM has threads: load "
                "mpm_prefork_module, or take the module out and run the application in processes of its "
                "own (an <ApplicationPool>; for PHP also php-fpm)",
                m->name, c->mpm_name);
    }
}

enum mu_rc mu_modules_end(struct mu_config *c)
{
    const struct mu_loaded *mpm = loaded_mpm(c);

    if (!mpm && !c->priv->facts.has_no_mpm && mu_modules_restore(c, MU_S("mpm_event"), MU_STR_NULL))
        mpm = loaded_mpm(c);
    c->mpm_name = mpm ? mpm->name.p + strlen("mpm_") : "event";
    c->mpm = mpm ? mpm->m : NULL;
    if (number(c) != MU_OK)
        return MU_NOMEM;
    refuse_unsafe(c);
    return MU_OK;
}
