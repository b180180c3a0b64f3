/* mod_alias: maps URL prefixes and patterns to files (Alias…, ScriptAlias…) or to other URLs
 * (Redirect…). What a ScriptAlias leads to is a program, whatever Options say there.
 *
 * Written at server level an entry is tried in the translate phase, redirects before aliases; a Redirect in a
 * directory or location is tried among the fix-ups, and an Alias in a <Location> maps just that location.
 * A virtual host's entries come before those of the main server, as in httpd.
 */
#include <muster/buf.h>
#include <muster/module.h>

enum alias_kind { ALIAS_FILE, ALIAS_REDIRECT };

struct alias_entry {
    struct mu_str from; /**< prefix; unset with regex */
    struct mu_regex *regex;
    struct mu_str to;      /**< unset for a redirect status without a target */
    enum mu_status status; /**< redirects */
    bool is_script;        /**< ScriptAlias */
};

struct alias_list {
    const struct alias_entry **v;
    size_t n;
};

struct alias_conf {
    struct alias_list aliases;               /**< server level */
    struct alias_list redirects;             /**< server level */
    struct alias_list dir_redirects;         /**< directories and locations */
    const struct alias_entry *here_alias;    /**< Alias in a <Location> */
    const struct alias_entry *here_redirect; /**< Redirect in a <Location> */
    struct mu_str here_prefix;               /**< the location here_alias was written in */
    bool is_relative;                        /**< RedirectRelative */
    bool keeps_path;                         /**< AliasPreservePath */
};

extern struct mu_module mu_module_alias;

static enum mu_rc list_push(struct mu_arena *a, struct alias_list *l, const struct alias_entry *e)
{
    const struct alias_entry **v = mu_new_n(a, const struct alias_entry *, l->n + 1);

    if (!v)
        return MU_NOMEM;
    if (l->n)
        memcpy(v, l->v, l->n * sizeof(*v));
    v[l->n++] = e;
    l->v = v;
    return MU_OK;
}

/* `first` in front of `then`: the inner scope wins. */
static enum mu_rc list_join(struct mu_arena *a, const struct alias_list *first,
                            const struct alias_list *then, struct alias_list *out)
{
    const struct alias_entry **v;

    if (!first->n || !then->n) {
        *out = first->n ? *first : *then;
        return MU_OK;
    }
    v = mu_new_n(a, const struct alias_entry *, first->n + then->n);
    if (!v)
        return MU_NOMEM;
    memcpy(v, first->v, first->n * sizeof(*v));
    memcpy(v + first->n, then->v, then->n * sizeof(*v));
    *out = (struct alias_list){ v, first->n + then->n };
    return MU_OK;
}

static struct alias_entry *entry_new(struct mu_cmd *cmd)
{
    struct alias_entry *e = mu_new(cmd->arena, struct alias_entry);

    if (!e)
        mu_cmd_error(cmd, "out of memory");
    return e;
}

static enum mu_rc entry_regex(struct mu_cmd *cmd, struct alias_entry *e, struct mu_str pattern)
{
    struct mu_str err;

    e->regex = mu_regex_compile(cmd->arena, pattern, MU_REGEX_DOLLAR_ENDONLY, &err);
    if (!e->regex)
        return mu_cmd_error(cmd, "the regular expression '%.*s' does not compile: %.*s",
                            MU_FMT(pattern), MU_FMT(err));
    return MU_OK;
}

static void warn_if_shadowed(struct mu_cmd *cmd, const struct alias_list *l,
                             const struct alias_entry *e)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct alias_entry *o = l->v[i];
        bool is_hidden = o->regex
                             ? mu_regex_match(o->regex, e->from, &(struct mu_match){ 0 }) == MU_OK
                             : mu_uri_covers(e->from, o->from) > 0;

        if (is_hidden) {
            mu_cmd_warn(cmd, "%s %.*s will probably never match: it overlaps an earlier %s",
                        cmd->directive->name, MU_FMT(e->from), o->regex ? "AliasMatch" : "Alias");
            return;
        }
    }
}

static bool is_script_form(const struct mu_cmd *cmd)
{
    return mu_str_istarts(mu_str_c(cmd->directive->name), MU_S("Script"));
}

/* Percent-encode what is appended to a URL: unlike a path of its own it needs no "./" in front of a colon. */
static struct mu_str encode_rest(struct mu_arena *a, struct mu_str s)
{
    struct mu_buf b = { 0 };
    struct mu_str out;

    mu_buf_add_uri(&b, s);
    out = mu_str_dup(a, mu_buf_str(&b));
    mu_buf_fini(&b);
    return out;
}

/* The path of a target, which begins behind `from` bytes, with its query and fragment as written. */
static struct mu_str encode_path(struct mu_arena *a, struct mu_str target, size_t from)
{
    size_t end = from;

    while (end < target.n && target.p[end] != '?' && target.p[end] != '#')
        end++;
    return mu_str_cat(a, mu_str_sub(target, 0, from), encode_rest(a, mu_str_sub(target, from, end)),
                      mu_str_sub(target, end, target.n));
}

/* In a <Location> httpd takes what is written for an expression. */
static enum mu_rc refuse_expression(struct mu_cmd *cmd, struct mu_str s)
{
    ssize_t dollar = mu_str_chr(s, '$');
    bool is_group =
        dollar >= 0 && (size_t)dollar + 1 < s.n && s.p[dollar + 1] >= '0' && s.p[dollar + 1] <= '9';

    if (mu_str_find(s, MU_S("%{")) < 0 && !is_group)
        return MU_OK;
    return mu_cmd_error(cmd,
                        "found '%.*s': expressions are not in this version; AliasMatch and "
                        "RedirectMatch know $1",
                        MU_FMT(s));
}

static enum mu_rc set_alias_here(struct mu_cmd *cmd, struct alias_conf *c, struct mu_str to)
{
    struct alias_entry *e = entry_new(cmd);

    if (!e || refuse_expression(cmd, to) != MU_OK)
        return MU_BAD;
    e->to = mu_cmd_path(cmd, to);
    e->is_script = is_script_form(cmd);
    c->here_alias = e;
    c->here_prefix = cmd->section;
    return MU_OK;
}

static enum mu_rc set_alias(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct alias_conf *c = conf;
    struct alias_entry *e;

    if (cmd->where == MU_IN_DIR && !cmd->section_is_location)
        return mu_cmd_error(cmd, "%s is allowed in <Location> and at server level, not here",
                            cmd->directive->name);
    if (n == 1) {
        if (cmd->where != MU_IN_DIR)
            return mu_cmd_error(cmd,
                                "%s takes a URL path and a file path; with the file path alone it "
                                "belongs into a <Location>",
                                cmd->directive->name);
        return set_alias_here(cmd, c, args[0]);
    }
    if (cmd->where == MU_IN_DIR)
        return mu_cmd_error(cmd, "in a <Location>, %s takes the file path alone",
                            cmd->directive->name);
    e = entry_new(cmd);
    if (!e)
        return MU_BAD;
    e->from = args[0];
    e->to = mu_cmd_path(cmd, args[1]);
    e->is_script = is_script_form(cmd);
    warn_if_shadowed(cmd, &c->aliases, e);
    return list_push(cmd->arena, &c->aliases, e);
}

static enum mu_rc set_alias_match(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                  size_t n)
{
    struct alias_conf *c = conf;
    struct alias_entry *e = entry_new(cmd);

    (void)n;
    if (!e || entry_regex(cmd, e, args[0]) != MU_OK)
        return MU_BAD;
    e->to = args[1];
    e->is_script = is_script_form(cmd);
    return list_push(cmd->arena, &c->aliases, e);
}

static bool status_word(struct mu_str s, enum mu_status *status)
{
    static const struct {
        const char *word;
        enum mu_status status;
    } words[] = {
        { "permanent", MU_301_MOVED_PERMANENTLY },
        { "temp", MU_302_FOUND },
        { "seeother", MU_303_SEE_OTHER },
        { "gone", MU_410_GONE },
    };
    uint64_t v;

    for (size_t i = 0; i < MU_ARRAY_LEN(words); i++) {
        if (mu_str_ieq(s, mu_str_c(words[i].word))) {
            *status = words[i].status;
            return true;
        }
    }
    if (!mu_str_u64(s, &v) || v < 300 || v > 599)
        return false;
    *status = (enum mu_status)v;
    return true;
}

/* "scheme:…", whatever the scheme: the client may know more of them than the server. */
static bool has_scheme(struct mu_str url)
{
    ssize_t colon = mu_str_chr(url, ':');

    for (ssize_t i = 0; i < colon; i++) {
        char c = mu_lower(url.p[i]);

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '+' && c != '-' && c != '.')
            return false;
    }
    return colon > 0;
}

static bool is_redirect(enum mu_status s)
{
    return s >= MU_300_MULTIPLE_CHOICES && s < MU_400_BAD_REQUEST;
}

/* Redirect in a <Location>: all of it leads to the one target, whose path is encoded as httpd does it. */
static enum mu_rc set_redirect_here(struct mu_cmd *cmd, struct alias_conf *c, struct alias_entry *e,
                                    struct mu_str to)
{
    ssize_t scheme = mu_str_find(to, MU_S("://"));
    size_t path = scheme < 0 ? 0 : (size_t)scheme + 3;

    if (refuse_expression(cmd, to) != MU_OK)
        return MU_BAD;
    while (scheme >= 0 && path < to.n && !strchr("/?#", to.p[path]))
        path++;
    if (to.p)
        e->to = encode_path(cmd->arena, to, path);
    c->here_redirect = e;
    return MU_OK;
}

/* [status] [from] [to], of which `from` is missing in a <Location> and `to` when the status is no redirect. */
static enum mu_rc add_redirect(struct mu_cmd *cmd, struct alias_conf *c, enum mu_status status,
                               const struct mu_str *args, size_t n, bool is_regex)
{
    struct alias_entry *e = entry_new(cmd);
    bool is_here = cmd->where == MU_IN_DIR && cmd->section_is_location && !is_regex &&
                   n == (is_redirect(status) ? 1u : 0u);
    size_t wanted = is_redirect(status) ? 2 : 1;

    if (!e)
        return MU_BAD;
    e->status = status;
    if (is_here)
        return set_redirect_here(cmd, c, e, n ? args[0] : MU_STR_NULL);
    if (n != wanted)
        return mu_cmd_error(
            cmd, "%s with status %d takes %s, found %zu", cmd->directive->name, (int)status,
            wanted == 2 ? "a URL path and a target" : "a URL path and no target", n);
    if (is_regex) {
        if (entry_regex(cmd, e, args[0]) != MU_OK)
            return MU_BAD;
    } else {
        if (!mu_str_starts(args[0], MU_S("/")))
            return mu_cmd_error(cmd, "the path to redirect must begin with '/', found '%.*s'",
                                MU_FMT(args[0]));
        e->from = args[0];
    }
    if (n == 2) {
        e->to = args[1];
        if (!is_regex && !has_scheme(e->to) && !mu_str_starts(e->to, MU_S("/")))
            return mu_cmd_error(cmd, "'%.*s' is neither a URL nor a path that begins with '/'",
                                MU_FMT(e->to));
    }
    return list_push(cmd->arena, cmd->where == MU_IN_DIR ? &c->dir_redirects : &c->redirects, e);
}

static enum mu_rc set_redirect(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    enum mu_status status = MU_302_FOUND;
    bool is_regex = mu_str_ieq(mu_str_c(cmd->directive->name), MU_S("RedirectMatch"));

    if (status_word(args[0], &status)) {
        args++;
        n--;
    } else if (n == 3) {
        return mu_cmd_error(cmd,
                            "'%.*s' is no redirect status: permanent, temp, seeother, gone or "
                            "a number from 300 to 599",
                            MU_FMT(args[0]));
    }
    return add_redirect(cmd, conf, status, args, n, is_regex);
}

static enum mu_rc set_redirect_temp(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                    size_t n)
{
    return add_redirect(cmd, conf, MU_302_FOUND, args, n, false);
}

static enum mu_rc set_redirect_permanent(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                         size_t n)
{
    return add_redirect(cmd, conf, MU_301_MOVED_PERMANENTLY, args, n, false);
}

/* The target of a RedirectMatch: path escaped, query and fragment as written. */
static struct mu_str redirect_subst(struct mu_req *r, const struct alias_entry *e,
                                    const struct mu_match *m)
{
    return encode_path(r->arena, mu_regex_subst(r->arena, e->to, r->path, m), 0);
}

/* Where `e` leads r; false when it does not match. */
static bool entry_target(struct mu_req *r, const struct alias_entry *e, enum alias_kind kind,
                         struct mu_str *target, size_t *covered)
{
    struct mu_match m;

    if (e->regex) {
        if (mu_regex_match(e->regex, r->path, &m) != MU_OK)
            return false;
        *covered = 0;
        if (!e->to.p)
            *target = MU_S("");
        else
            *target = kind == ALIAS_REDIRECT ? redirect_subst(r, e, &m)
                                             : mu_regex_subst(r->arena, e->to, r->path, &m);
        return true;
    }
    *covered = mu_uri_covers(r->path, e->from);
    if (!*covered)
        return false;
    *target = mu_str_sub(r->path, *covered, r->path.n);
    if (kind == ALIAS_REDIRECT)
        *target = encode_rest(r->arena, *target);
    *target = mu_str_cat(r->arena, e->to, *target);
    return true;
}

static enum mu_status answer_redirect(struct mu_req *r, const struct alias_conf *c,
                                      enum mu_status status, struct mu_str to)
{
    if (!is_redirect(status))
        return status;
    if (!mu_str_starts(to, MU_S("/")) && !has_scheme(to)) {
        MU_LOG(
            &r->log, "alias", MU_LOG_ERR, "MU1000",
            "cannot redirect '%.*s' to '%.*s': that is neither a URL nor a path that begins with '/'",
            MU_FMT(r->path), MU_FMT(to));
        return MU_500_INTERNAL_SERVER_ERROR;
    }
    if (mu_str_starts(to, MU_S("/")) && !c->is_relative)
        to = mu_req_url(r, to);
    if (r->query.p && mu_str_chr(to, '?') < 0)
        to = mu_str_cat(r->arena, to, MU_S("?"), r->query);
    mu_resp_set(r, MU_S("Location"), to);
    return status;
}

static enum mu_status try_redirects(struct mu_req *r, const struct alias_conf *c,
                                    const struct alias_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        struct mu_str to;
        size_t covered;

        if (entry_target(r, l->v[i], ALIAS_REDIRECT, &to, &covered))
            return answer_redirect(r, c, l->v[i]->status, to);
    }
    return MU_STATUS_NONE;
}

/* By the name of its handler and a note: the first may be replaced by what sections say of the
 * file, the second tells mod_cgi that Options ExecCGI is not needed. */
static void force_script(struct mu_req *r)
{
    r->handler = MU_S("cgi-script");
    mu_req_note_set(r, MU_S("alias-forced-type"), r->handler);
}

static void alias_here(struct mu_req *r, const struct alias_conf *c)
{
    struct mu_str to = c->here_alias->to;

    if (c->keeps_path) {
        size_t covered = mu_uri_covers(r->path, c->here_prefix); /* 0: by a pattern */

        if (covered)
            to = mu_str_cat(r->arena, to, mu_str_sub(r->path, covered, r->path.n));
    }
    r->filename = mu_str_dup(r->arena, to);
    if (c->here_alias->is_script)
        force_script(r);
}

static enum mu_status translate(struct mu_req *r, const void *conf)
{
    const struct alias_conf *c = conf;
    enum mu_status s;

    if (!mu_str_starts(r->path, MU_S("/")))
        return MU_STATUS_NONE;
    if (c->here_redirect) /* in front of access control, as in httpd */
        return answer_redirect(r, c, c->here_redirect->status, c->here_redirect->to);
    s = try_redirects(r, c, &c->redirects);
    if (s != MU_STATUS_NONE)
        return s;
    if (c->here_alias) {
        alias_here(r, c);
        return MU_STATUS_NONE;
    }
    for (size_t i = 0; i < c->aliases.n; i++) {
        const struct alias_entry *e = c->aliases.v[i];
        struct mu_str to;
        size_t covered;

        if (!entry_target(r, e, ALIAS_FILE, &to, &covered))
            continue;
        r->filename = e->regex ? mu_str_dup(r->arena, to) : to;
        if (!e->regex) {
            r->context_prefix = e->from;
            r->context_root = e->to;
        }
        if (e->is_script)
            force_script(r);
        break;
    }
    return MU_STATUS_NONE;
}

static enum mu_status fixup(struct mu_req *r, const void *conf)
{
    const struct alias_conf *c = conf;

    if (c->here_redirect)
        return answer_redirect(r, c, c->here_redirect->status, c->here_redirect->to);
    return try_redirects(r, c, &c->dir_redirects);
}

static bool wants_translate(const void *conf)
{
    const struct alias_conf *c = conf;

    return c->aliases.n || c->redirects.n || c->here_alias || c->here_redirect;
}

static bool wants_fixup(const void *conf)
{
    const struct alias_conf *c = conf;

    return c->dir_redirects.n || c->here_redirect;
}

static enum mu_rc merge(struct mu_arena *a, const void *base, const void *over, void *out)
{
    const struct alias_conf *b = base, *o = over;
    struct alias_conf *c = out;

    if (list_join(a, &o->aliases, &b->aliases, &c->aliases) != MU_OK ||
        list_join(a, &o->redirects, &b->redirects, &c->redirects) != MU_OK ||
        list_join(a, &o->dir_redirects, &b->dir_redirects, &c->dir_redirects) != MU_OK)
        return MU_NOMEM;
    if (o->here_alias) {
        c->here_alias = o->here_alias;
        c->here_prefix = o->here_prefix;
    }
    if (o->here_redirect)
        c->here_redirect = o->here_redirect;
    return MU_OK;
}

static const struct mu_directive directives[] = {
    MU_DIR_CALL("Alias", MU_IN_SERVER | MU_IN_DIR, 1, 2, set_alias,
                "a URL path and the file or directory it leads to"),
    MU_DIR_CALL("AliasMatch", MU_IN_SERVER, 2, 2, set_alias_match,
                "a regular expression for URL paths and a file name with $1 to $9"),
    MU_DIR_CALL("Redirect", MU_IN_SERVER | MU_IN_DIR | MU_OVR_FILEINFO, 1, 3, set_redirect,
                "an optional status, a URL path and the URL it is redirected to"),
    MU_DIR_CALL("RedirectMatch", MU_IN_SERVER | MU_IN_DIR | MU_OVR_FILEINFO, 1, 3, set_redirect,
                "an optional status, a regular expression and a URL with $1 to $9"),
    MU_DIR_CALL("RedirectTemp", MU_IN_SERVER | MU_IN_DIR | MU_OVR_FILEINFO, 2, 2, set_redirect_temp,
                "a URL path and the URL it is temporarily redirected to"),
    MU_DIR_CALL("RedirectPermanent", MU_IN_SERVER | MU_IN_DIR | MU_OVR_FILEINFO, 2, 2,
                set_redirect_permanent, "a URL path and the URL it is permanently redirected to"),
    MU_DIR_FLAG("RedirectRelative", struct alias_conf, is_relative, MU_IN_SERVER | MU_IN_DIR,
                "On: a Location that begins with '/' is sent as it is"),
    MU_DIR_FLAG("AliasPreservePath", struct alias_conf, keeps_path, MU_IN_SERVER | MU_IN_DIR,
                "On: an Alias in a <Location> keeps the rest of the path"),
    MU_DIR_CALL("ScriptAlias", MU_IN_SERVER | MU_IN_DIR, 1, 2, set_alias,
                "a URL path and the program, or the directory of programs, it leads to"),
    MU_DIR_CALL("ScriptAliasMatch", MU_IN_SERVER, 2, 2, set_alias_match,
                "a regular expression for URL paths and the name of a program with $1 to $9"),
    MU_DIR_END
};

MU_MODULE(alias, .conf_size = sizeof(struct alias_conf), .directives = directives, .merge = merge,
          .hooks = MU_HOOKS({ MU_PHASE_TRANSLATE, 0, translate, false, wants_translate },
                            { MU_PHASE_FIXUP, 0, fixup, false, wants_fixup }));
