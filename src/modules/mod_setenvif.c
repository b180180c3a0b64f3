/* mod_setenvif: SetEnvIf, BrowserMatch and their kin: variables by what a request looks like.
 *
 * What stands at server level acts when the request has been read, what stands in sections when the
 * file is known; outer lines before inner ones. Of lines in a row that look at the same thing the
 * first one's look counts for all of them, as in httpd.
 */
#include <muster/module.h>

enum source {
    FROM_FIELD,  /**< of the request, else a variable */
    FROM_FIELDS, /**< the last one whose name matches */
    FROM_REMOTE_ADDR,
    FROM_REMOTE_HOST,
    FROM_SERVER_ADDR,
    FROM_METHOD,
    FROM_PROTOCOL,
    FROM_URI,
};

/** What a line does when it matches. */
struct feature {
    struct mu_str name, value; /**< value.p == NULL: the variable goes */
};

struct line {
    enum source source;
    struct mu_str name;     /**< of the field or variable, as written */
    struct mu_regex *names; /**< FROM_FIELDS */
    struct mu_regex *regex;
    struct feature *features;
    size_t features_n;
};

struct lines {
    const struct line **v;
    size_t n;
};

struct setenvif_conf {
    struct lines server, dir;
};

extern struct mu_module mu_module_setenvif;

/* ---- the configuration ---- */

static enum mu_rc push(struct mu_arena *a, struct lines *list, const struct line *l)
{
    const struct line **v = mu_new_n(a, const struct line *, list->n + 1);

    if (!v)
        return MU_NOMEM;
    if (list->n)
        memcpy(v, list->v, list->n * sizeof(*v));
    v[list->n] = l;
    *list = (struct lines){ v, list->n + 1 };
    return MU_OK;
}

static enum source special(struct mu_str name)
{
    static const struct {
        const char *name;
        enum source source;
    } words[] = {
        { "remote_addr", FROM_REMOTE_ADDR },   { "remote_host", FROM_REMOTE_HOST },
        { "server_addr", FROM_SERVER_ADDR },   { "request_method", FROM_METHOD },
        { "request_protocol", FROM_PROTOCOL }, { "request_uri", FROM_URI },
    };

    for (size_t i = 0; i < MU_ARRAY_LEN(words); i++) {
        if (mu_str_ieq(name, mu_str_c(words[i].name)))
            return words[i].source;
    }
    return FROM_FIELD;
}

/* Anything else in it makes the name a regular expression. */
static bool is_plain_name(struct mu_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = mu_lower(s.p[i]);

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
            return false;
    }
    return true;
}

static struct mu_regex *compile(struct mu_cmd *cmd, struct mu_str pattern, unsigned flags)
{
    struct mu_str err;
    struct mu_regex *re = mu_regex_compile(cmd->arena, pattern, flags, &err);

    if (!re)
        mu_cmd_error(cmd, "the regular expression '%.*s' does not compile: %.*s", MU_FMT(pattern),
                     MU_FMT(err));
    return re;
}

/* "name=value", "name" (its value is 1), "!name". A value that begins with '!' unsets too. */
static struct feature feature_of(struct mu_str s)
{
    ssize_t eq = mu_str_chr(s, '=');
    struct mu_str name = eq < 0 ? s : mu_str_sub(s, 0, (size_t)eq);
    struct mu_str value = eq < 0 ? MU_S("") : mu_str_sub(s, (size_t)eq + 1, s.n);

    if (value.n)
        return (struct feature){ name, value.p[0] == '!' ? MU_STR_NULL : value };
    if (mu_str_starts(name, MU_S("!")))
        return (struct feature){ mu_str_sub(name, 1, name.n), MU_STR_NULL };
    return (struct feature){ name, MU_S("1") };
}

static enum mu_rc add(struct mu_cmd *cmd, struct setenvif_conf *c, struct line *l,
                      const struct mu_str *args, size_t n)
{
    l->features = mu_new_n(cmd->arena, struct feature, n);
    if (!l->features)
        return mu_cmd_error(cmd, "out of memory");
    for (size_t i = 0; i < n; i++) {
        struct feature f = feature_of(args[i]);

        if (!f.name.n)
            return mu_cmd_error(cmd, "found '%.*s', expected [!]variable[=value]", MU_FMT(args[i]));
        l->features[l->features_n++] = f;
    }
    if (push(cmd->arena, cmd->where == MU_IN_DIR ? &c->dir : &c->server, l) != MU_OK)
        return mu_cmd_error(cmd, "out of memory");
    return MU_OK;
}

static unsigned flags_of(const struct mu_cmd *cmd)
{
    return mu_str_ends(mu_str_c(cmd->directive->name), MU_S("NoCase")) ? MU_REGEX_ICASE : 0u;
}

static enum mu_rc set_env_if(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct line *l = mu_new(cmd->arena, struct line);

    if (!l)
        return mu_cmd_error(cmd, "out of memory");
    l->source = special(args[0]);
    l->name = args[0];
    if (l->source == FROM_FIELD && !is_plain_name(args[0])) {
        l->source = FROM_FIELDS;
        l->names = compile(cmd, args[0], flags_of(cmd));
        if (!l->names)
            return MU_BAD;
    }
    l->regex = compile(cmd, args[1], flags_of(cmd));
    return l->regex ? add(cmd, conf, l, args + 2, n - 2) : MU_BAD;
}

static enum mu_rc set_browser(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct line *l = mu_new(cmd->arena, struct line);

    if (!l)
        return mu_cmd_error(cmd, "out of memory");
    l->name = MU_S("User-Agent");
    l->regex = compile(cmd, args[0], flags_of(cmd));
    return l->regex ? add(cmd, conf, l, args + 1, n - 1) : MU_BAD;
}

static enum mu_rc join(struct mu_arena *a, const struct lines *base, const struct lines *over,
                       struct lines *out)
{
    *out = *base;
    for (size_t i = 0; i < over->n; i++) {
        if (push(a, out, over->v[i]) != MU_OK)
            return MU_NOMEM;
    }
    return MU_OK;
}

static enum mu_rc merge(struct mu_arena *a, const void *base, const void *over, void *out)
{
    const struct setenvif_conf *b = base, *o = over;
    struct setenvif_conf *c = out;

    if (join(a, &b->server, &o->server, &c->server) != MU_OK)
        return MU_NOMEM;
    return join(a, &b->dir, &o->dir, &c->dir);
}

/* ---- requests ---- */

/* All fields of the name, else the variable. */
static struct mu_str field_or_variable(struct mu_req *r, struct mu_str name)
{
    for (uint32_t i = 0; i < r->in.n; i++) {
        if (mu_str_ieq(r->in.v[i].name, name))
            return mu_headers_join_row(r->arena, &r->in, i, MU_S(", "));
    }
    return mu_req_env(r, name);
}

static struct mu_str last_field(const struct mu_req *r, const struct mu_regex *names)
{
    struct mu_str value = MU_STR_NULL;
    struct mu_match m;

    for (uint32_t i = 0; i < r->in.n; i++) {
        if (mu_regex_match(names, r->in.v[i].name, &m) == MU_OK)
            value = r->in.v[i].value;
    }
    return value;
}

static struct mu_str look(struct mu_req *r, const struct line *l)
{
    switch (l->source) {
    case FROM_FIELD:
        return field_or_variable(r, l->name);
    case FROM_FIELDS:
        return last_field(r, l->names);
    case FROM_REMOTE_ADDR:
        return r->peer->client_ip;
    case FROM_REMOTE_HOST:
        return mu_req_remote_host(r);
    case FROM_SERVER_ADDR:
        return r->peer->local_ip;
    case FROM_METHOD:
        return r->method_name;
    case FROM_PROTOCOL:
        return mu_req_protocol(r);
    case FROM_URI:
        return r->path;
    }
    return MU_STR_NULL;
}

static void set_features(struct mu_req *r, const struct line *l, struct mu_str value,
                         const struct mu_match *m)
{
    for (size_t i = 0; i < l->features_n; i++) {
        const struct feature *f = &l->features[i];

        if (f->value.p)
            mu_req_env_set(r, f->name, mu_regex_subst(r->arena, f->value, value, m));
        else
            mu_headers_unset(&r->env, f->name);
    }
}

static void apply(struct mu_req *r, const struct lines *list)
{
    const struct line *before = NULL;
    struct mu_str value = MU_STR_NULL;
    struct mu_match m;

    for (size_t i = 0; i < list->n; i++) {
        const struct line *l = list->v[i];

        if (!before || !mu_str_ieq(before->name, l->name))
            value = look(r, l);
        before = l;
        if (!value.p)
            value = MU_S("");
        if (mu_regex_match(l->regex, value, &m) == MU_OK)
            set_features(r, l, value, &m);
    }
}

static enum mu_status post_read(struct mu_req *r, const void *conf)
{
    apply(r, &((const struct setenvif_conf *)conf)->server);
    return MU_STATUS_NONE;
}

static enum mu_status map(struct mu_req *r, const void *conf)
{
    const struct setenvif_conf *c = conf;

    if (r->main)
        return MU_STATUS_NONE; /* it has what the request it belongs to has */
    if (r->prev)
        apply(r, &c->server); /* led here without having been read */
    apply(r, &c->dir);
    return MU_STATUS_NONE;
}

static bool has_server(const void *conf)
{
    return ((const struct setenvif_conf *)conf)->server.n != 0;
}

static bool has_any(const void *conf)
{
    const struct setenvif_conf *c = conf;

    return c->server.n != 0 || c->dir.n != 0;
}

#define EVERYWHERE (MU_IN_SERVER | MU_IN_DIR | MU_OVR_FILEINFO)

static const struct mu_directive directives[] = {
    MU_DIR_CALL("SetEnvIf", EVERYWHERE, 3, -1, set_env_if,
                "a field or property of requests, a regular expression, [!]variable[=value] …"),
    MU_DIR_CALL("SetEnvIfNoCase", EVERYWHERE, 3, -1, set_env_if, "the same without regard to case"),
    MU_DIR_CALL("BrowserMatch", EVERYWHERE, 2, -1, set_browser,
                "a regular expression for User-Agent, [!]variable[=value] …"),
    MU_DIR_CALL("BrowserMatchNoCase", EVERYWHERE, 2, -1, set_browser,
                "the same without regard to case"),
    MU_DIR_REFUSED("SetEnvIfExpr", EVERYWHERE,
                   "there are no expressions in this version; SetEnvIf may do"),
    MU_DIR_END
};

MU_MODULE(setenvif, .conf_size = sizeof(struct setenvif_conf), .directives = directives,
          .merge = merge,
          .hooks = MU_HOOKS({ MU_PHASE_POST_READ, 0, post_read, false, has_server },
                            { MU_PHASE_MAP, 0, map, false, has_any }));
