/*
 * mod_proxy: requests that backends answer. What leads to one (ProxyPass, SetHandler "proxy:…"), what is said about it
 * (<Proxy>, ProxySet), and which module speaks its protocol: mod_proxy_fcgi so far. Pools of applications are backends
 * by ProxyPass too; their handler is mod_pool's.
 */
#include "proxy.h"

/** ProxyErrorOverride. */
struct proxy_override {
    bool is_on;
    size_t n; /* 0: all errors */
    enum mu_status v[];
};

/* ---- directives ---- */

static enum mu_rc set_override(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct proxy_override *o =
        mu_arena_zalloc(cmd->arena, 1, sizeof(*o) + n * sizeof(enum mu_status));
    uint64_t status;

    if (!o)
        return MU_NOMEM;
    if (!mu_parse_flag(args[0], &o->is_on) || (!o->is_on && n > 1))
        return mu_cmd_error(cmd, "found '%.*s', expected On, On and statuses, or Off",
                            MU_FMT(args[0]));
    for (size_t i = 1; i < n; i++) {
        if (!mu_str_u64(args[i], &status) || status < 400 || status > 599)
            return mu_cmd_error(cmd, "found '%.*s', expected a status from 400 to 599",
                                MU_FMT(args[i]));
        o->v[o->n++] = (enum mu_status)status;
    }
    ((struct proxy_conf *)conf)->override = o;
    return MU_OK;
}

static enum mu_rc only_off(struct mu_cmd *cmd, const struct mu_str *args, const char *why)
{
    bool is_on;

    if (mu_parse_flag(args[0], &is_on) && !is_on)
        return MU_OK;
    return mu_cmd_error(cmd, "found '%.*s', and only Off is possible: %s", MU_FMT(args[0]), why);
}

static enum mu_rc set_requests(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    (void)conf;
    (void)n;
    return only_off(cmd, args, "this server is no forward proxy");
}

static enum mu_rc set_interpolate(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                  size_t n)
{
    (void)conf;
    (void)n;
    return only_off(cmd, args, "addresses of backends are fixed; write them out");
}

/* ---- merging ---- */

/* Both lists behind each other, in `a`; NULL: out of memory. */
static void *join(struct mu_arena *a, const void *first, size_t first_n, const void *then,
                  size_t then_n)
{
    const void **v = mu_new_n(a, const void *, first_n + then_n);

    if (!v)
        return NULL;
    memcpy(v, first, first_n * sizeof(*v));
    memcpy(v + first_n, then, then_n * sizeof(*v));
    return v;
}

/* *out holds what is in force; `first` (n == 0: nothing) and `then` are joined in it. */
#define JOIN(a, out, first, then)                                                                  \
    ((first).n == 0  ? ((out) = (then), true)                                                      \
     : (then).n == 0 ? ((out) = (first), true)                                                     \
                     : ((out).v = join((a), (first).v, (first).n, (then).v, (then).n),             \
                        (out).n = (first).n + (then).n, (out).v != NULL))

static enum mu_rc merge(struct mu_arena *a, const void *base, const void *over, void *out)
{
    const struct proxy_conf *b = base, *o = over;
    struct proxy_conf *c = out;

    if (!JOIN(a, c->passes, b->passes, o->passes) || !JOIN(a, c->workers, o->workers, b->workers) ||
        !JOIN(a, c->rules, b->rules, o->rules))
        return MU_NOMEM;
    if (o->here)
        c->here = o->here;
    return MU_OK;
}

static void init(void *conf)
{
    struct proxy_conf *c = conf;

    c->inherits = c->buffers_requests = true;
}

/* What ProxyPass at server level leads to must be there. */
static enum mu_rc check_passes(struct mu_config *config, const struct mu_vhost *v, bool has_fcgi)
{
    const struct proxy_passes *l =
        &((const struct proxy_conf *)mu_vhost_conf(v, &mu_module_proxy))->passes;
    enum mu_rc rc = MU_OK;

    for (size_t i = 0; i < l->n; i++) {
        const struct proxy_pass *e = l->v[i];

        if (e->vhost != v || e->is_exclusion)
            continue; /* the main server's have been looked at */
        if (e->url.scheme == PROXY_POOL && !mu_config_has_pool(config, e->url.path))
            rc =
                mu_config_error(config,
                                "%.*s:%u: ProxyPass to \"pool:%.*s\": there is no "
                                "<ApplicationPool %.*s>",
                                MU_FMT(e->file), e->line, MU_FMT(e->url.path), MU_FMT(e->url.path));
        else if (e->url.scheme == PROXY_FCGI && !has_fcgi)
            mu_config_warn(config,
                           "%.*s:%u: ProxyPass leads to a FastCGI backend, and mod_proxy_fcgi is "
                           "not loaded: LoadModule proxy_fcgi_module modules/mod_proxy_fcgi.so",
                           MU_FMT(e->file), e->line);
    }
    return rc;
}

static enum mu_rc check(struct mu_config *config, struct mu_arena *a)
{
    bool has_fcgi = mu_config_has_module(config, MU_S("proxy_fcgi"));
    const struct mu_vhost *v;
    enum mu_rc rc = MU_OK;

    (void)a;
    for (size_t i = 0; (v = mu_config_vhost(config, i)) != NULL; i++) {
        struct proxy_conf *c = (struct proxy_conf *)(uintptr_t)mu_vhost_conf(v, &mu_module_proxy);

        c->has_fcgi = has_fcgi;
        if (check_passes(config, v, has_fcgi) != MU_OK)
            rc = MU_BAD;
    }
    return rc;
}

/* ---- requests ---- */

static bool is_proxied(const struct mu_req *r)
{
    return mu_str_starts(r->filename, MU_S("proxy:"));
}

/* Whatever the type phase found by the name's end, ProxyPass decides. */
static enum mu_status fixup(struct mu_req *r, const void *conf)
{
    (void)conf;
    if (!is_proxied(r))
        return MU_STATUS_NONE;
    r->content_type = r->content_encoding = MU_STR_NULL;
    r->languages = (struct mu_strs){ NULL, 0 };
    if (!mu_str_starts(r->filename, MU_S("proxy:pool:"))) {
        r->handler = MU_S("proxy-server");
        return MU_STATUS_NONE;
    }
    r->handler = mu_str_sub(r->filename, 6, r->filename.n);
    r->filename = mu_str_cat(r->arena, mu_req_document_root(r),
                             mu_str_sub(r->path, 0, r->path.n - r->path_info.n));
    return r->filename.p ? MU_STATUS_NONE : MU_503_SERVICE_UNAVAILABLE;
}

static bool replaces_error(struct mu_req *r, enum mu_status status, void *arg)
{
    const struct proxy_override *o = ((const struct proxy_call *)arg)->conf->override;

    if (!o || !o->is_on || r->main || r->prev)
        return false;
    for (size_t i = 0; i < o->n; i++)
        if (o->v[i] == status)
            return true;
    return o->n == 0;
}

static int64_t io_ms(const struct mu_req *r, const struct proxy_call *call)
{
    if (call->p->timeout_ms >= 0)
        return call->p->timeout_ms;
    return call->conf->timeout_ms > 0 ? call->conf->timeout_ms : mu_req_timeout_ms(r);
}

static enum mu_status refuse(struct mu_req *r, const struct proxy_call *call, const char *why)
{
    MU_LOG(&r->log, "proxy", MU_LOG_ERR, "MU1436", "cannot ask '%.*s': %s",
           MU_FMT(call->is_handler ? r->handler : r->filename), why);
    return MU_500_INTERNAL_SERVER_ERROR;
}

/* The backend that `text` names, and what is configured for it. Returns NULL or a complaint. */
static const char *choose(struct mu_req *r, struct proxy_call *call, struct mu_str text)
{
    const char *wrong = proxy_url_parse(r->arena, text, &call->url);

    if (!wrong)
        wrong = proxy_scheme_complaint(&call->url);
    if (wrong)
        return wrong;
    call->worker = proxy_worker_find(&call->conf->workers, &call->url);
    call->p = call->worker ? &call->worker->p : &proxy_default_params;
    if (call->worker && !call->url.unix_path.p)
        call->url.unix_path = call->worker->url.unix_path;
    call->name = proxy_url_name(r->arena, &call->url);
    call->io_ms = io_ms(r, call);
    call->connect_ms = call->p->connect_ms >= 0 ? call->p->connect_ms : call->io_ms;
    return call->name.p ? NULL : "out of memory";
}

static enum mu_status handle(struct mu_req *r, const void *conf)
{
    bool is_handler = !is_proxied(r);
    struct mu_str text = is_handler ? r->handler : r->filename, url;
    struct proxy_call call = { .conf = conf,
                               .is_handler = is_handler,
                               .replaces_error = replaces_error };
    const char *wrong;

    if (!mu_str_starts(text, MU_S("proxy:")))
        return MU_STATUS_NONE; /* SetHandler proxy-server, and nothing to ask */
    wrong = choose(r, &call, mu_str_sub(text, 6, text.n));
    if (wrong)
        return refuse(r, &call, wrong);
    url = mu_str_cat(r->arena, proxy_url_base(r->arena, &call.url), call.url.path);
    if (!url.p)
        return MU_503_SERVICE_UNAVAILABLE;
    if (!is_handler &&
        proxy_is_denied(&call.conf->rules, url)) { /* a handler's access is its file's */
        MU_LOG(&r->log, "proxy", MU_LOG_ERR, "MU1437", "a <Proxy> section denies '%.*s'",
               MU_FMT(url));
        return MU_403_FORBIDDEN;
    }
    if (!call.conf->has_fcgi)
        return refuse(r, &call,
                      "no module speaks its protocol: LoadModule proxy_fcgi_module "
                      "modules/mod_proxy_fcgi.so");
    if (!is_handler)
        r->filename = mu_str_cat(r->arena, MU_S("proxy:"), url);
    return r->filename.p ? proxy_fcgi_run(r, &call) : MU_503_SERVICE_UNAVAILABLE;
}

/* ---- the module ---- */

#define SRVDIR (MU_IN_SERVER | MU_IN_DIR)
#define HTTP_ONLY "accepted without effect: it concerns HTTP backends alone"
#define NO_BALANCER "balancers come with a later version; name one backend"
#define C struct proxy_conf
static const struct mu_directive directives[] = {
    MU_DIR_CALL("ProxyPass", SRVDIR, 1, -1, proxy_set_pass,
                "a path and the address of the backend for it, with parameters"),
    MU_DIR_CALL("ProxyPassMatch", SRVDIR, 1, -1, proxy_set_pass_match,
                "a regular expression for paths and a backend's address with $1 to $9"),
    MU_DIR_CALL("ProxySet", MU_IN_SERVER, 2, -1, proxy_set_set,
                "the address of a backend, and parameters"),
    MU_DIR_SECTION("Proxy", MU_IN_SERVER, 1, -1, proxy_section_open, proxy_section_rows,
                   "the address of a backend, or a pattern for addresses"),
    MU_DIR_SECTION_END("Proxy", MU_IN_SERVER, proxy_section_close),
    MU_DIR_SECTION("ProxyMatch", MU_IN_SERVER, 1, 1, proxy_section_open, proxy_section_rows,
                   "a regular expression for addresses of backends"),
    MU_DIR_SECTION_END("ProxyMatch", MU_IN_SERVER, proxy_section_close),
    MU_DIR_DURATION("ProxyTimeout", C, timeout_ms, MU_IN_SERVER, 1, INT64_MAX,
                    "the longest silence of a backend"),
    MU_DIR_CUSTOM("ProxyErrorOverride", C, override, SRVDIR, 1, -1, set_override,
                  "On: the server's own error pages instead of the backend's"),
    MU_DIR_FLAG("ProxyRequestBuffering", C, buffers_requests, SRVDIR,
                "Off: a request's body goes to the backend as it comes"),
    MU_DIR_FLAG("ProxyPassInherit", C, inherits, MU_IN_SERVER,
                "Off: the main server's ProxyPass does not hold for this virtual host"),
    MU_DIR_CALL("ProxyRequests", MU_IN_SERVER, 1, 1, set_requests, "Off"),
    MU_DIR_CALL("ProxyPassInterpolateEnv", SRVDIR, 1, 1, set_interpolate, "Off"),
    MU_DIR_IGNORED("ProxyPreserveHost", SRVDIR,
                   "accepted without effect: FastCGI applications see the client's Host anyway"),
    MU_DIR_IGNORED("ProxyPassReverse", SRVDIR, HTTP_ONLY),
    MU_DIR_IGNORED("ProxyPassReverseCookieDomain", SRVDIR, HTTP_ONLY),
    MU_DIR_IGNORED("ProxyPassReverseCookiePath", SRVDIR, HTTP_ONLY),
    MU_DIR_IGNORED("ProxyAddHeaders", SRVDIR, HTTP_ONLY),
    MU_DIR_IGNORED("Proxy100Continue", SRVDIR, HTTP_ONLY),
    MU_DIR_IGNORED("ProxyVia", MU_IN_SERVER, HTTP_ONLY),
    MU_DIR_IGNORED("ProxyMaxForwards", MU_IN_SERVER, HTTP_ONLY),
    MU_DIR_IGNORED("ProxyBadHeader", MU_IN_SERVER, HTTP_ONLY),
    MU_DIR_IGNORED("ProxyStatus", MU_IN_SERVER,
                   "accepted without effect: server-status shows none"),
    MU_DIR_IGNORED("ProxyIOBufferSize", MU_IN_SERVER,
                   "accepted without effect: buffers have the size that suits them"),
    MU_DIR_IGNORED("ProxyReceiveBufferSize", MU_IN_SERVER,
                   "accepted without effect: the system finds the size by itself"),
    MU_DIR_IGNORED("ProxyDomain", MU_IN_SERVER, "accepted without effect: for forward proxies"),
    MU_DIR_IGNORED("NoProxy", MU_IN_SERVER, "accepted without effect: for forward proxies"),
    MU_DIR_REFUSED("ProxyBlock", MU_IN_SERVER, "use <Proxy> with Require all denied"),
    MU_DIR_REFUSED("ProxyRemote", MU_IN_SERVER, "this server is no forward proxy"),
    MU_DIR_REFUSED("ProxyRemoteMatch", MU_IN_SERVER, "this server is no forward proxy"),
    MU_DIR_REFUSED("ProxySourceAddress", MU_IN_SERVER,
                   "the system chooses the address that connections to backends come from"),
    MU_DIR_REFUSED("BalancerMember", SRVDIR, NO_BALANCER),
    MU_DIR_REFUSED("BalancerGrowth", MU_IN_SERVER, NO_BALANCER),
    MU_DIR_REFUSED("BalancerInherit", MU_IN_SERVER, NO_BALANCER),
    MU_DIR_REFUSED("BalancerPersist", MU_IN_SERVER, NO_BALANCER),
    MU_DIR_END
};
#undef C

/* In front of mod_alias, as in httpd. */
MU_MODULE(proxy, .conf_size = sizeof(struct proxy_conf), .directives = directives, .init = init,
          .merge = merge, .check = check, .child_stop = proxy_kept_stop,
          .handlers = MU_HANDLERS({ "proxy:", handle, MU_ANY_METHOD, false, false },
                                  { "proxy-server", handle, MU_ANY_METHOD, false, false }),
          .hooks = MU_HOOKS({ MU_PHASE_TRANSLATE, -10, proxy_translate, false,
                              proxy_wants_translate },
                            { MU_PHASE_FIXUP, 100, fixup, false, proxy_wants_translate }));
