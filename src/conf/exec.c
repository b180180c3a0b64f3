/*
 * exec: the conf room's own directives, and what those do that act while the files are read:
 * Include, Define, LoadModule and ServerRoot shape what comes after them, in the order of the
 * lines.
 */
#include <muster/str.h>

#include "base/path.h"
#include "conf/lexer.h"
#include "conf/priv.h"

#define ANYWHERE (MU_IN_SERVER | MU_IN_DIR)
#define ON_READ(n, w, lo, hi, h)                                                                   \
    {                                                                                              \
        .name = n, .kind = MU_K_CUSTOM, .where = (w) | MU_EXEC_ON_READ, .min_args = (lo),          \
        .max_args = (hi), .help = h                                                                \
    }
#define SECTION(n, w, h)                                                                           \
    {                                                                                              \
        .name = n, .kind = MU_K_RAW, .where = (w), .help = h                                       \
    }
#define CONDITION(n, h) SECTION(n, ANYWHERE | MU_OVR_ALL | MU_EXEC_ON_READ, h)
#define NOT_YET(n, h)                                                                              \
    {                                                                                              \
        .name = n, .kind = MU_K_REFUSED, .where = ANYWHERE, .max_args = -1, .help = h              \
    }

const struct mu_directive mu_conf_directives[] = {
    SECTION("<Directory", MU_IN_SERVER, "Directives for a directory and what lies below it"),
    SECTION("<DirectoryMatch", MU_IN_SERVER,
            "Directives for directories that match a regular expression"),
    SECTION("<Files", ANYWHERE | MU_OVR_ALL, "Directives for files whose name matches"),
    SECTION("<FilesMatch", ANYWHERE | MU_OVR_ALL,
            "Directives for files whose name matches a regular expression"),
    SECTION("<Location", MU_IN_SERVER, "Directives for URL paths"),
    SECTION("<LocationMatch", MU_IN_SERVER,
            "Directives for URL paths that match a regular expression"),
    SECTION("<VirtualHost", MU_IN_GLOBAL, "Directives for the named addresses, or hosts on them"),
    SECTION("<Limit", MU_IN_DIR | MU_OVR_AUTHCFG | MU_OVR_LIMIT,
            "Access control for the named methods"),
    SECTION("<LimitExcept", MU_IN_DIR | MU_OVR_AUTHCFG | MU_OVR_LIMIT,
            "Access control for all other methods"),
    CONDITION("<IfModule", "Directives for when a module is on"),
    CONDITION("<IfDefine", "Directives for when a name is defined (-D or Define)"),
    CONDITION("<IfVersion", "Directives for versions of httpd; Muster counts as 2.4.71"),
    CONDITION("<IfFile", "Directives for when a file exists"),
    CONDITION("<IfDirective", "Directives for when there is a directive of that name"),
    CONDITION("<IfSection", "Directives for when there is a section of that name"),
    ON_READ("Include", ANYWHERE, 1, 1,
            "File, folder or pattern to read here; a pattern must match something"),
    ON_READ("IncludeOptional", ANYWHERE, 1, 1,
            "File, folder or pattern to read here if there is one"),
    ON_READ("Define", ANYWHERE, 1, 2,
            "Name to define as -D does, with the value ${NAME} stands for"),
    ON_READ("UnDefine", ANYWHERE, 1, 1, "Name that is defined no longer"),
    ON_READ("LoadModule", MU_IN_GLOBAL, 2, 2, "Identifier and file of a module to switch on"),
    ON_READ("LoadFile", MU_IN_GLOBAL, 1, -1, "Shared objects or libraries to load"),
    ON_READ("ServerRoot", MU_IN_GLOBAL, 1, 1, "Folder that relative file names start from"),
    { .name = "Listen",
      .kind = MU_K_RAW,
      .where = MU_IN_GLOBAL,
      .help = "[address:]port to accept connections on, with an optional protocol" },
    { .name = "Error",
      .kind = MU_K_RAW,
      .where = ANYWHERE | MU_OVR_ALL,
      .help = "Stop reading with this message" },
    NOT_YET("<RequireAll", "use Require all granted or Require all denied"),
    NOT_YET("<RequireAny", "use Require all granted or Require all denied"),
    NOT_YET("<RequireNone", "use Require all granted or Require all denied"),
    NOT_YET("<If", "write the directives into <Directory>, <Files> or <Location>"),
    NOT_YET("<ElseIf", "write the directives into <Directory>, <Files> or <Location>"),
    NOT_YET("<Else", "write the directives into <Directory>, <Files> or <Location>"),
    NOT_YET("<Proxy", "there is no proxy"),
    NOT_YET("<ProxyMatch", "there is no proxy"),
    NOT_YET("<Macro", "write the directives out, or Include a file with ${NAME} in it"),
    NOT_YET("Use", "write the macro's directives out, or Include a file with ${NAME} in it"),
    NOT_YET("UndefMacro", "there are no macros"),
    NOT_YET("<AuthnProviderAlias", "there is no authentication"),
    NOT_YET("<AuthzProviderAlias", "use Require all granted or Require all denied"),
    NOT_YET("<MDomainSet", "certificates are not managed"),
    MU_DIR_END
};

struct mu_str mu_conf_path(struct mu_config *c, struct mu_str path)
{
    return mu_path_rooted(c->arena, c->server_root, path);
}

static void exec_include(struct mu_reader *r, const struct mu_strs *args)
{
    mu_include(r, args->v[0], false);
}

static void exec_include_optional(struct mu_reader *r, const struct mu_strs *args)
{
    mu_include(r, args->v[0], true);
}

static void exec_define(struct mu_reader *r, const struct mu_strs *args)
{
    bool has_value = args->n > 1 && args->v[1].n;

    if (mu_str_chr(args->v[0], ':') >= 0)
        mu_read_error(r, "Define: the name \"%.*s\" must not contain ':'", MU_FMT(args->v[0]));
    else if (mu_define(r->c, args->v[0], has_value ? args->v[1] : MU_STR_NULL) != MU_OK)
        mu_conf_nomem(r->c);
}

static void exec_undefine(struct mu_reader *r, const struct mu_strs *args)
{
    if (mu_str_chr(args->v[0], ':') >= 0)
        mu_read_error(r, "UnDefine: the name \"%.*s\" must not contain ':'", MU_FMT(args->v[0]));
    else
        mu_map_remove(r->c->priv->defines, args->v[0]);
}

static void exec_load_module(struct mu_reader *r, const struct mu_strs *args)
{
    mu_modules_load(r, args->v[0], args->v[1]);
}

static void exec_load_file(struct mu_reader *r, const struct mu_strs *args)
{
    for (size_t i = 0; i < args->n; i++)
        mu_modules_load_file(r, args->v[i]);
}

static void exec_server_root(struct mu_reader *r, const struct mu_strs *args)
{
    const struct mu_conf_fs *fs = r->c->priv->fs;
    struct mu_str root = mu_path_normalise(r->a, args->v[0]);

    if (!root.p)
        mu_conf_nomem(r->c);
    else if (!mu_path_is_abs(root) || fs->kind(fs->arg, root.p) != MU_FS_DIR)
        mu_read_error(r, "ServerRoot must be a valid directory, which \"%.*s\" is not",
                      MU_FMT(args->v[0]));
    else
        r->c->server_root = root;
}

static const struct {
    const char *name;
    void (*fn)(struct mu_reader *r, const struct mu_strs *args);
} execs[] = {
    { "Include", exec_include },        { "IncludeOptional", exec_include_optional },
    { "Define", exec_define },          { "UnDefine", exec_undefine },
    { "LoadModule", exec_load_module }, { "LoadFile", exec_load_file },
    { "ServerRoot", exec_server_root },
};

static const struct mu_directive *own_directive(const char *name)
{
    const struct mu_directive *d = mu_conf_directives;

    while (strcmp(d->name, name) != 0)
        d++;
    return d;
}

/* The innermost real section around the line, also across Include. */
static const struct mu_node *section_around(const struct mu_reader *r)
{
    return r->at->name.n ? r->at : NULL;
}

static bool may_stand_here(struct mu_reader *r, const struct mu_directive *d)
{
    const struct mu_node *around = section_around(r);

    if (!around || (d->where & MU_IN_DIR))
        return true;
    if (mu_str_ieq(around->name, MU_S("<VirtualHost")))
        mu_read_error(r, "%s cannot occur within <VirtualHost> section", d->name);
    else
        mu_read_error(r, "%s not allowed in %.*s> context", d->name, MU_FMT(around->name));
    return false;
}

static bool has_right_count(struct mu_reader *r, const struct mu_directive *d,
                            const struct mu_strs *args)
{
    size_t n = args->n;

    if (n >= (size_t)d->min_args && (d->max_args < 0 || n <= (size_t)d->max_args) && args->v[0].n)
        return true;
    mu_read_error(r, "%s takes %s, but %zu %s found (%s)", d->name,
                  d->max_args < 0              ? "at least one argument"
                  : d->min_args != d->max_args ? "1-2 arguments"
                  : d->min_args == 1           ? "one argument"
                                               : "two arguments",
                  n, n == 1 ? "was" : "were", d->help);
    return false;
}

bool mu_exec_directive(struct mu_reader *r, struct mu_str name, struct mu_str args)
{
    for (size_t i = 0; i < MU_ARRAY_LEN(execs); i++) {
        const struct mu_directive *d;
        struct mu_strs words;

        if (!mu_str_ieq(mu_str_c(execs[i].name), name))
            continue;
        d = own_directive(execs[i].name);
        if (mu_words(r->a, args, &words) != MU_OK)
            mu_conf_nomem(r->c);
        else if (may_stand_here(r, d) && has_right_count(r, d, &words))
            execs[i].fn(r, &words);
        return true;
    }
    return false;
}
