/* mod_mime: type, character set, encoding, language and handler of a file, by the extensions of its name.
 *
 * TypesConfig gives the site-wide table; Add… and Remove… change it for a server or directory. What a scope adds
 * is kept apart until scopes are merged: its removals apply to the outer scope, its additions come after.
 */
#include "types.h"

#include <errno.h>

extern struct mu_module mu_module_mime;

enum mime_attr { MIME_TYPE, MIME_CHARSET, MIME_ENCODING, MIME_LANGUAGE, MIME_HANDLER, MIME_ATTRS };

/** What is said about one extension. */
struct mime_ext {
    struct mu_str attr[MIME_ATTRS]; /**< p == NULL: nothing */
    bool is_removed[MIME_ATTRS];    /**< Remove… in this scope */
};

struct mime_conf {
    struct mu_map *exts; /**< extension (no dot, any case) → struct mime_ext *; NULL: none */
    struct mu_str types_config;
    struct mu_str default_language;
    bool uses_path_info;
};

/* The site-wide table of the configuration in force; a process has exactly one. */
static const struct mu_map *site_types;

static struct mime_ext *ext_get(struct mu_cmd *cmd, struct mime_conf *c, struct mu_str ext)
{
    struct mime_ext *e;

    if (mu_str_starts(ext, MU_S(".")))
        ext = mu_str_sub(ext, 1, ext.n);
    if (!c->exts)
        c->exts = mu_map_create(cmd->arena, true);
    if (!c->exts)
        return NULL;
    e = mu_map_get(c->exts, ext);
    if (!e) {
        e = mu_new(cmd->arena, struct mime_ext);
        if (!e || mu_map_set(c->exts, ext, e) != MU_OK)
            return NULL;
    }
    return e;
}

static enum mu_rc add_attr(struct mu_cmd *cmd, struct mime_conf *c, const struct mu_str *args,
                           size_t n, enum mime_attr attr)
{
    /* "pool:Blog" and "proxy:unix:/run/My.sock" are more than names of handlers. */
    bool is_more = attr == MIME_HANDLER && mu_str_chr(args[0], ':') >= 0;
    struct mu_str value =
        is_more ? mu_str_dup(cmd->arena, args[0]) : mu_str_dup_lower(cmd->arena, args[0]);

    for (size_t i = 1; i < n; i++) {
        struct mime_ext *e = ext_get(cmd, c, args[i]);

        if (!e || !value.p)
            return mu_cmd_error(cmd, "out of memory");
        e->attr[attr] = value;
    }
    return MU_OK;
}

static enum mu_rc set_type(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    return add_attr(cmd, conf, args, n, MIME_TYPE);
}
static enum mu_rc set_charset(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    return add_attr(cmd, conf, args, n, MIME_CHARSET);
}
static enum mu_rc set_encoding(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    return add_attr(cmd, conf, args, n, MIME_ENCODING);
}
static enum mu_rc set_language(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    return add_attr(cmd, conf, args, n, MIME_LANGUAGE);
}
static enum mu_rc set_handler(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    return add_attr(cmd, conf, args, n, MIME_HANDLER);
}

static enum mu_rc remove_attr(struct mu_cmd *cmd, struct mime_conf *c, const struct mu_str *args,
                              size_t n, enum mime_attr attr)
{
    for (size_t i = 0; i < n; i++) {
        struct mime_ext *e = ext_get(cmd, c, args[i]);

        if (!e)
            return mu_cmd_error(cmd, "out of memory");
        e->is_removed[attr] = true;
    }
    return MU_OK;
}

static enum mu_rc remove_type(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    return remove_attr(cmd, conf, args, n, MIME_TYPE);
}
static enum mu_rc remove_charset(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                 size_t n)
{
    return remove_attr(cmd, conf, args, n, MIME_CHARSET);
}
static enum mu_rc remove_encoding(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                  size_t n)
{
    return remove_attr(cmd, conf, args, n, MIME_ENCODING);
}
static enum mu_rc remove_language(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                  size_t n)
{
    return remove_attr(cmd, conf, args, n, MIME_LANGUAGE);
}
static enum mu_rc remove_handler(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                 size_t n)
{
    return remove_attr(cmd, conf, args, n, MIME_HANDLER);
}

static bool is_compression(struct mu_str name)
{
    static const char *const names[] = { "DEFLATE", "INFLATE", "BROTLI_COMPRESS" };

    for (size_t i = 0; i < MU_ARRAY_LEN(names); i++) {
        if (mu_str_ieq(name, mu_str_c(names[i])))
            return true;
    }
    return false;
}

/* Compression may be left out; a filter that turns source into pages may not. */
static enum mu_rc set_filter(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct mu_str rest = args[0], name;

    (void)conf;
    (void)n;
    while (mu_str_split(&rest, ';', &name)) {
        if (!is_compression(name))
            return mu_cmd_error(cmd,
                                "there is no filter '%.*s' in this version, and sending such "
                                "files unfiltered would show their source",
                                MU_FMT(name));
    }
    return MU_OK;
}

static void ext_merge(struct mime_ext *e, const struct mime_ext *over)
{
    for (int i = 0; i < MIME_ATTRS; i++) {
        if (over->is_removed[i])
            e->attr[i] = MU_STR_NULL;
        if (over->attr[i].p)
            e->attr[i] = over->attr[i];
        /* A removed type must also hide the site-wide table's. */
        e->is_removed[i] = e->is_removed[i] || over->is_removed[i];
        if (over->attr[i].p)
            e->is_removed[i] = false;
    }
}

static enum mu_rc map_merge_into(struct mu_arena *a, struct mu_map *to, const struct mu_map *from)
{
    struct mu_str key;
    void *value;
    size_t it = 0;

    while (from && mu_map_next(from, &it, &key, &value)) {
        struct mime_ext *e = mu_map_get(to, key);

        if (!e) {
            e = mu_new(a, struct mime_ext);
            if (!e || mu_map_set(to, key, e) != MU_OK)
                return MU_NOMEM;
        }
        ext_merge(e, value);
    }
    return MU_OK;
}

static enum mu_rc merge(struct mu_arena *a, const void *base, const void *over, void *out)
{
    const struct mime_conf *b = base, *o = over;
    struct mime_conf *c = out;

    if (!o->exts)
        return MU_OK;
    c->exts = mu_map_create(a, true);
    if (!c->exts || map_merge_into(a, c->exts, b->exts) != MU_OK ||
        map_merge_into(a, c->exts, o->exts) != MU_OK)
        return MU_NOMEM;
    return MU_OK;
}

/* ---- requests ---- */

struct found {
    struct mu_str type, charset;
};

static enum mu_rc push_language(struct mu_req *r, struct mu_str lang)
{
    struct mu_str *v = mu_new_n(r->arena, struct mu_str, r->languages.n + 1);

    if (!v)
        return MU_NOMEM;
    if (r->languages.n)
        memcpy(v, r->languages.v, r->languages.n * sizeof(*v));
    v[r->languages.n] = lang;
    r->languages = (struct mu_strs){ v, r->languages.n + 1 };
    return MU_OK;
}

static enum mu_rc apply_ext(struct mu_req *r, const struct mime_conf *c, struct mu_str ext,
                            struct found *f)
{
    const struct mime_ext *e = c->exts ? mu_map_get(c->exts, ext) : NULL;
    const struct mu_str *type = NULL;

    if (!e || (!e->attr[MIME_TYPE].p && !e->is_removed[MIME_TYPE]))
        type = site_types ? mu_map_get(site_types, ext) : NULL;
    if (type)
        f->type = *type;
    if (!e)
        return MU_OK;
    if (e->attr[MIME_TYPE].p)
        f->type = e->attr[MIME_TYPE];
    if (e->attr[MIME_CHARSET].p)
        f->charset = e->attr[MIME_CHARSET];
    if (e->attr[MIME_LANGUAGE].p && push_language(r, e->attr[MIME_LANGUAGE]) != MU_OK)
        return MU_NOMEM;
    if (e->attr[MIME_ENCODING].p)
        r->content_encoding = r->content_encoding.n ? mu_str_cat(r->arena, r->content_encoding,
                                                                 MU_S(", "), e->attr[MIME_ENCODING])
                                                    : e->attr[MIME_ENCODING];
    if (e->attr[MIME_HANDLER].p)
        r->handler =
            mu_str_ieq(e->attr[MIME_HANDLER], MU_S("none")) ? MU_STR_NULL : e->attr[MIME_HANDLER];
    return MU_OK;
}

static struct mu_str base_name(struct mu_str path)
{
    ssize_t slash = mu_str_rchr(path, '/');

    return slash < 0 ? path : mu_str_sub(path, (size_t)slash + 1, path.n);
}

static void set_content_type(struct mu_req *r, const struct found *f)
{
    struct mu_str type = f->type;

    if (!type.n)
        return;
    if (f->charset.n && mu_str_find(type, MU_S("charset=")) < 0)
        type = mu_str_cat(r->arena, type, MU_S("; charset="), f->charset);
    r->content_type = type;
}

static enum mu_status type(struct mu_req *r, const void *conf)
{
    const struct mime_conf *c = conf;
    struct found f = { .type = MU_STR_NULL };
    struct mu_str rest, ext;

    if (r->finfo.type == MU_FT_DIR) {
        r->content_type = MU_S("httpd/unix-directory");
        return MU_STATUS_NONE;
    }
    rest = base_name(r->filename);
    if (c->uses_path_info && r->path_info.n)
        rest = base_name(mu_str_cat(r->arena, r->filename, r->path_info));
    while (rest.n && rest.p[0] == '.') /* a hidden file's first dots begin no extension */
        rest = mu_str_sub(rest, 1, rest.n);
    if (!mu_str_split(&rest, '.', &ext))
        return MU_STATUS_NONE;
    while (mu_str_split(&rest, '.', &ext)) {
        if (ext.n && apply_ext(r, c, ext, &f) != MU_OK)
            return MU_503_SERVICE_UNAVAILABLE;
    }
    set_content_type(r, &f);
    if (!r->languages.n && c->default_language.n && push_language(r, c->default_language) != MU_OK)
        return MU_503_SERVICE_UNAVAILABLE;
    return MU_STATUS_NONE;
}

/* ---- start ---- */

static enum mu_rc load_types(struct mu_config *config, struct mu_arena *a)
{
    const struct mime_conf *c = mu_vhost_conf(mu_config_vhost(config, 0), &mu_module_mime);
    bool is_default = mu_str_eq(c->types_config, MU_S("/etc/mime.types"));
    struct mu_map *types = mu_map_create(a, true);
    const char *path = mu_cstr(a, c->types_config);
    enum mu_rc rc;

    if (!types || !path)
        return mu_config_error(config, "out of memory");
    rc = mime_types_load(a, path, types);
    if (rc == MU_NOENT && is_default)
        rc = mime_types_builtin(a, types); /* machines without the media-types package */
    if (rc != MU_OK)
        return mu_config_error(config, "TypesConfig: cannot read %s: %s", path, strerror(errno));
    site_types = types;
    return MU_OK;
}

static void init(void *conf)
{
    ((struct mime_conf *)conf)->types_config = MU_S("/etc/mime.types");
}

#define MIME_WHERE (MU_IN_SERVER | MU_IN_DIR | MU_OVR_FILEINFO)

static const struct mu_directive directives[] = {
    MU_DIR_CALL("AddType", MIME_WHERE, 2, -1, set_type, "a media type and extensions"),
    MU_DIR_CALL("AddCharset", MIME_WHERE, 2, -1, set_charset, "a character set and extensions"),
    MU_DIR_CALL("AddEncoding", MIME_WHERE, 2, -1, set_encoding,
                "a content encoding and extensions"),
    MU_DIR_CALL("AddLanguage", MIME_WHERE, 2, -1, set_language, "a language and extensions"),
    MU_DIR_CALL("AddHandler", MIME_WHERE, 2, -1, set_handler, "a handler and extensions"),
    MU_DIR_CALL("AddOutputFilter", MIME_WHERE, 2, -1, set_filter,
                "filters (separated by ;) and extensions"),
    MU_DIR_CALL("AddInputFilter", MIME_WHERE, 2, -1, set_filter,
                "filters (separated by ;) and extensions"),
    MU_DIR_CALL("RemoveType", MIME_WHERE, 1, -1, remove_type, "extensions"),
    MU_DIR_CALL("RemoveCharset", MIME_WHERE, 1, -1, remove_charset, "extensions"),
    MU_DIR_CALL("RemoveEncoding", MIME_WHERE, 1, -1, remove_encoding, "extensions"),
    MU_DIR_CALL("RemoveLanguage", MIME_WHERE, 1, -1, remove_language, "extensions"),
    MU_DIR_CALL("RemoveHandler", MIME_WHERE, 1, -1, remove_handler, "extensions"),
    MU_DIR_IGNORED("RemoveOutputFilter", MIME_WHERE, "no extension has a filter in this version"),
    MU_DIR_IGNORED("RemoveInputFilter", MIME_WHERE, "no extension has a filter in this version"),
    MU_DIR_IGNORED("MultiviewsMatch", MIME_WHERE,
                   "there is no content negotiation in this version"),
    MU_DIR_STR("DefaultLanguage", struct mime_conf, default_language, MIME_WHERE,
               "language of files whose name gives none"),
    MU_DIR_FLAG("ModMimeUsePathInfo", struct mime_conf, uses_path_info, MU_IN_DIR,
                "look for extensions in the path info too"),
    MU_DIR_PATH("TypesConfig", struct mime_conf, types_config, MU_IN_GLOBAL,
                "the file of media types and extensions"),
    MU_DIR_END
};

MU_MODULE(mime, .conf_size = sizeof(struct mime_conf), .directives = directives, .init = init,
          .merge = merge, .check = load_types,
          .hooks = MU_HOOKS({ MU_PHASE_TYPE, 0, type, false, NULL }));
