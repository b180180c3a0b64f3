/*
 * pass: ProxyPass and ProxyPassMatch, and the translate hook that makes addresses of them: r->filename becomes
 * "proxy:" and the backend's address with the rest of the path, encoded as httpd does it. Entries are tried in order,
 * that of a <Location> first, the main server's before a virtual host's; "!" ends the search.
 */
#include "proxy.h"

/* ---- reading ---- */

static enum mu_rc passes_push(struct mu_arena *a, struct proxy_passes *l,
                              const struct proxy_pass *e)
{
    const struct proxy_pass **v = mu_new_n(a, const struct proxy_pass *, l->n + 1);

    if (!v)
        return MU_NOMEM;
    if (l->n)
        memcpy(v, l->v, l->n * sizeof(*v));
    v[l->n++] = e;
    l->v = v;
    return MU_OK;
}

static enum mu_rc set_params(struct mu_cmd *cmd, struct proxy_conf *c, const struct proxy_pass *e,
                             const struct mu_str *args, size_t n)
{
    struct proxy_worker *w;
    bool is_new;

    if (e->url.scheme == PROXY_POOL)
        return n == 0 ? MU_OK
                      : mu_cmd_error(cmd, "a pool takes no parameters here; they belong into its "
                                          "<ApplicationPool>");
    w = proxy_worker_get(cmd, &c->workers, &e->url, &is_new);
    if (!w)
        return MU_NOMEM;
    if (!is_new && n > 0) {
        mu_cmd_warn(cmd,
                    "the parameters have no effect: those of line %u of %.*s hold for this backend",
                    w->line, MU_FMT(w->file));
        return MU_OK;
    }
    for (size_t i = 0; i < n; i++)
        if (proxy_param_set(cmd, &w->p, args[i]) != MU_OK)
            return MU_BAD;
    return MU_OK;
}

/* Words in front of the parameters. Returns how many; (size_t)-1 after an error. */
static size_t take_words(struct mu_cmd *cmd, struct proxy_pass *e, const struct mu_str *args,
                         size_t n)
{
    size_t i = 0;

    for (; i < n && mu_str_chr(args[i], '=') < 0; i++) {
        if (mu_str_ieq(args[i], MU_S("nocanon"))) {
            e->is_raw = true;
        } else if (mu_str_ieq(args[i], MU_S("interpolate"))) {
            mu_cmd_error(cmd, "interpolate is not supported: write the address out");
            return (size_t)-1;
        } else if (!mu_str_ieq(args[i], MU_S("noquery"))) { /* the query never is part of it */
            mu_cmd_error(cmd,
                         "found '%.*s', expected nocanon, noquery or a parameter in the form "
                         "key=value",
                         MU_FMT(args[i]));
            return (size_t)-1;
        }
    }
    return i;
}

/* Address, words, parameters. */
static enum mu_rc add_target(struct mu_cmd *cmd, struct proxy_conf *c, struct proxy_pass *e,
                             const struct mu_str *args, size_t n)
{
    const char *wrong;
    size_t words;

    e->vhost = cmd->vhost;
    e->file = cmd->file;
    e->line = cmd->line;
    if (mu_str_eq(args[0], MU_S("!"))) {
        e->is_exclusion = true;
        if (n > 1)
            return mu_cmd_error(cmd, "behind '!' nothing is expected");
    } else {
        wrong = proxy_url_parse(cmd->arena, args[0], &e->url);
        if (!wrong)
            wrong = proxy_scheme_complaint(&e->url);
        if (wrong)
            return mu_cmd_error(cmd, "'%.*s': %s", MU_FMT(args[0]), wrong);
        words = take_words(cmd, e, args + 1, n - 1);
        if (words == (size_t)-1 || set_params(cmd, c, e, args + 1 + words, n - 1 - words) != MU_OK)
            return MU_BAD;
    }
    if (cmd->where != MU_IN_DIR)
        return passes_push(cmd->arena, &c->passes, e);
    c->here = e;
    return MU_OK;
}

static enum mu_rc compile(struct mu_cmd *cmd, struct proxy_pass *e, struct mu_str pattern)
{
    struct mu_str err;

    e->regex = mu_regex_compile(cmd->arena, pattern, 0, &err);
    if (!e->regex)
        return mu_cmd_error(cmd, "the regular expression '%.*s' does not compile: %.*s",
                            MU_FMT(pattern), MU_FMT(err));
    return MU_OK;
}

/* In a <Location> the path is the section's. */
static enum mu_rc take_from(struct mu_cmd *cmd, struct mu_str *from, const struct mu_str **args,
                            size_t *n)
{
    if (cmd->where == MU_IN_DIR) {
        if (!cmd->section_is_location || cmd->is_htaccess)
            return mu_cmd_error(cmd, "%s is allowed in <Location> and at server level, not here",
                                cmd->directive->name);
        if (mu_str_starts((*args)[0], MU_S("/")))
            return mu_cmd_error(cmd, "in a <Location>, %s takes the address alone",
                                cmd->directive->name);
        *from = cmd->section;
        return MU_OK;
    }
    if (*n < 2)
        return mu_cmd_error(cmd,
                            "%s takes a path and an address; with the address alone it belongs "
                            "into a <Location>",
                            cmd->directive->name);
    *from = (*args)[0];
    (*args)++;
    (*n)--;
    return MU_OK;
}

enum mu_rc proxy_set_pass(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct proxy_pass *e = mu_new(cmd->arena, struct proxy_pass);

    if (!e)
        return MU_NOMEM;
    if (take_from(cmd, &e->from, &args, &n) != MU_OK)
        return MU_BAD;
    if (!mu_str_starts(e->from, MU_S("/")))
        return mu_cmd_error(cmd, "the path must begin with '/', found '%.*s'%s", MU_FMT(e->from),
                            cmd->where == MU_IN_DIR ? "; in a <LocationMatch> use ProxyPassMatch"
                                                    : "; for patterns there is ProxyPassMatch");
    return add_target(cmd, conf, e, args, n);
}

enum mu_rc proxy_set_pass_match(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct proxy_pass *e = mu_new(cmd->arena, struct proxy_pass);
    struct mu_str pattern = MU_STR_NULL;

    if (!e)
        return MU_NOMEM;
    if (take_from(cmd, &pattern, &args, &n) != MU_OK || compile(cmd, e, pattern) != MU_OK)
        return MU_BAD;
    return add_target(cmd, conf, e, args, n);
}

/* ProxySet at server level: an address and parameters. */
enum mu_rc proxy_set_set(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct proxy_conf *c = conf;
    struct proxy_worker *w;
    struct proxy_url url;
    const char *wrong;
    bool is_new;

    if (mu_str_find(args[0], MU_S("://")) < 0)
        return mu_cmd_error(cmd, "outside of <Proxy>, ProxySet takes an address and parameters");
    wrong = proxy_url_parse(cmd->arena, args[0], &url);
    if (!wrong)
        wrong = proxy_scheme_complaint(&url);
    if (wrong)
        return mu_cmd_error(cmd, "'%.*s': %s", MU_FMT(args[0]), wrong);
    w = proxy_worker_get(cmd, &c->workers, &url, &is_new);
    if (!w)
        return MU_NOMEM;
    for (size_t i = 1; i < n; i++)
        if (proxy_param_set(cmd, &w->p, args[i]) != MU_OK)
            return MU_BAD;
    return MU_OK;
}

/* ---- requests ---- */

/* The path as the client wrote it, still encoded. */
static struct mu_str raw_path(const struct mu_req *r)
{
    struct mu_str t = r->target;
    ssize_t at = mu_str_find(t, MU_S("://"));

    if (!mu_str_starts(t, MU_S("/")) && at > 0) {
        t = mu_str_sub(t, (size_t)at + 3, t.n);
        at = mu_str_chr(t, '/');
        t = at < 0 ? MU_S("/") : mu_str_sub(t, (size_t)at, t.n);
    }
    at = mu_str_chr(t, '?');
    return at < 0 ? t : mu_str_sub(t, 0, (size_t)at);
}

static struct mu_str encode(struct mu_req *r, struct mu_str s)
{
    struct mu_buf b = { 0 };
    struct mu_str out;

    mu_buf_add_uri(&b, s);
    out = b.is_failed ? MU_STR_NULL : mu_str_dup(r->arena, mu_buf_str(&b));
    mu_buf_fini(&b);
    return out;
}

/* The path at the backend; false: the entry does not match. */
static bool path_there(struct mu_req *r, const struct proxy_pass *e, struct mu_str path,
                       struct mu_str *out)
{
    struct mu_match m;
    size_t covered;

    if (!e->regex) {
        covered = mu_uri_covers(path, e->from);
        *out = mu_str_cat(r->arena, e->url.path, mu_str_sub(path, covered, path.n));
        return covered > 0;
    }
    if (mu_regex_match(e->regex, path, &m) != MU_OK)
        return false;
    *out = mu_regex_subst(r->arena, e->url.path, path, &m);
    if (mu_str_eq(*out, e->url.path)) /* no $1 in it: the whole path is appended */
        *out = mu_str_cat(r->arena, e->url.path, path);
    return true;
}

static enum mu_status to_backend(struct mu_req *r, const struct proxy_pass *e, struct mu_str path,
                                 bool is_raw)
{
    struct mu_str base = proxy_url_base(r->arena, &e->url);

    if (!mu_str_starts(path, MU_S("/")))
        path = mu_str_cat(r->arena, MU_S("/"), path);
    if (!is_raw)
        path = encode(r, path);
    if (!path.p || !base.p)
        return MU_503_SERVICE_UNAVAILABLE;
    if (e->url.unix_path.p)
        base = mu_str_cat(r->arena, MU_S("unix:"), e->url.unix_path, MU_S("|"), base);
    r->filename = mu_str_cat(r->arena, MU_S("proxy:"), base, path);
    return r->filename.p ? MU_STATUS_NONE : MU_503_SERVICE_UNAVAILABLE;
}

/*
 * ProxyPass "/app" names an application, like a script that is called so: the rest of the path is its PATH_INFO.
 * ProxyPass "/app/" names a folder of scripts: the application finds out which one is meant, as behind fcgi://.
 */
static enum mu_status to_pool(struct mu_req *r, const struct proxy_pass *e)
{
    bool is_script = !e->regex && !mu_str_ends(e->from, MU_S("/"));

    if (is_script)
        r->path_info = mu_str_sub(r->path, mu_uri_covers(r->path, e->from), r->path.n);
    r->filename = mu_str_cat(r->arena, MU_S("proxy:pool:"), e->url.path);
    return r->filename.p ? MU_STATUS_NONE : MU_503_SERVICE_UNAVAILABLE;
}

/* MU_404_NOT_FOUND: the entry does not match. */
static enum mu_status try_entry(struct mu_req *r, const struct proxy_pass *e)
{
    struct mu_str raw = e->is_raw ? raw_path(r) : MU_STR_NULL;
    struct mu_str path = MU_STR_NULL;

    if (!path_there(r, e, r->path, &path))
        return MU_404_NOT_FOUND;
    if (e->is_exclusion)
        return MU_STATUS_NONE;
    if (e->url.scheme == PROXY_POOL)
        return to_pool(r, e);
    if (e->is_raw && path_there(r, e, raw, &path))
        return to_backend(r, e, path, true);
    return to_backend(r, e, path, false);
}

enum mu_status proxy_translate(struct mu_req *r, const void *conf)
{
    const struct proxy_conf *c = conf;
    enum mu_status status = MU_404_NOT_FOUND;

    if (!mu_str_starts(r->path, MU_S("/")) || mu_headers_get(&r->env, MU_S("no-proxy")).p)
        return MU_STATUS_NONE;
    if (c->here)
        status = try_entry(r, c->here);
    for (size_t i = 0; i < c->passes.n && status == MU_404_NOT_FOUND; i++)
        if (c->inherits || c->passes.v[i]->vhost == r->vhost)
            status = try_entry(r, c->passes.v[i]);
    return status == MU_404_NOT_FOUND ? MU_STATUS_NONE : status;
}

bool proxy_wants_translate(const void *conf)
{
    const struct proxy_conf *c = conf;

    return c->here || c->passes.n;
}
