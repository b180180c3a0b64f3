/* A request's way: server, path, phases, handler, and whatever answer its status needs.
 *
 * Hooks return MU_STATUS_NONE to go on; anything else ends the phases. Handlers send their answer,
 * or return a status that is answered here: an error or redirect by errordoc.c, anything else with
 * an empty body. When mu_process_exchange returns, the exchange is answered or aborted.
 */
#include "room.h"

#include <engine/reactor.h>
#include <muster/str.h>
#include <muster/wait.h>

/** A hook or handler on its way through mu_offload. */
struct call {
    struct mu_req *r;
    mu_hook_fn *fn;
    const void *conf;
    enum mu_status status;
};

static void call_run(void *arg)
{
    struct call *c = arg;

    c->status = c->fn(c->r, c->conf);
}

static enum mu_status call_offloaded(struct mu_req *r, mu_hook_fn *fn, const void *conf)
{
    struct call c = { r, fn, conf, MU_STATUS_NONE };

    mu_offload(call_run, &c);
    return c.status;
}

enum mu_status mu_req_hooks(struct mu_req *r, enum mu_phase phase)
{
    for (const struct mu_phase_call *c = mu_core_req(r)->phases->phase[phase]; c->fn; c++) {
        enum mu_status status;

        mu_reactor_note_module(c->module->name);
        status = MU_UNLIKELY(c->may_block) ? call_offloaded(r, c->fn, c->conf) : c->fn(r, c->conf);
        if (status != MU_STATUS_NONE)
            return status;
    }
    return MU_STATUS_NONE;
}

enum mu_rc mu_req_begin(struct mu_req *r)
{
    struct mu_req_core *core = mu_new(r->arena, struct mu_req_core);

    if (!core)
        return MU_NOMEM;
    core->path_fd = -1;
    r->priv = core;
    r->log.request = r;
    return mu_req_use(r, r->vhost->base);
}

enum mu_rc mu_req_use(struct mu_req *r, const struct mu_dirconf *conf)
{
    const struct mu_phases *p = mu_phases_of(conf, r->vhost);

    if (!p)
        return MU_NOMEM;
    r->conf = conf;
    mu_core_req(r)->phases = p;
    r->log.levels = p->core->log_levels;
    return MU_OK;
}

/* ---- the phases ---- */

static enum mu_status translate(struct mu_req *r)
{
    struct mu_str root = mu_routing_of(r->vhost)->docroot;
    struct mu_req_core *core = mu_core_req(r);

    /* The first hook that names a file ends the phase. */
    for (const struct mu_phase_call *c = core->phases->phase[MU_PHASE_TRANSLATE]; c->fn; c++) {
        enum mu_status status;

        mu_reactor_note_module(c->module->name);
        status = c->may_block ? call_offloaded(r, c->fn, c->conf) : c->fn(r, c->conf);
        if (status != MU_STATUS_NONE)
            return status;
        if (r->filename.n)
            return MU_STATUS_NONE;
    }
    r->filename = mu_str_cat(r->arena, root, r->path);
    return r->filename.p ? MU_STATUS_NONE : MU_503_SERVICE_UNAVAILABLE;
}

/* ForceType and SetHandler override what the type phase found; they stand in front of the fix-ups,
 * as in httpd. */
static void override_type(struct mu_req *r)
{
    const struct mu_core_conf *core = mu_core_req(r)->phases->core;

    if (core->forced_type.n)
        r->content_type = core->forced_type;
    if (core->handler.n)
        r->handler = core->handler;
    if (core->default_charset.n)
        mu_resp_default_charset(r);
}

enum mu_status mu_req_phases_walked(struct mu_req *r)
{
    enum mu_status status = mu_walk_locations(r, r->conf);

    for (int phase = MU_PHASE_MAP; status == MU_STATUS_NONE && phase <= MU_PHASE_TYPE; phase++)
        status = mu_req_hooks(r, (enum mu_phase)phase);
    if (status != MU_STATUS_NONE)
        return status;
    override_type(r);
    return mu_req_hooks(r, MU_PHASE_FIXUP);
}

/* TraceEnable extended: the request's body comes back too. */
static enum mu_status trace_body(struct mu_req *r, struct mu_buf *b)
{
    enum { MOST = 64 * 1024 }; /* httpd's limit */
    char piece[4096];
    size_t got = 0, total = 0;
    enum mu_rc rc = r->has_body ? MU_OK : MU_EOF;

    while (rc == MU_OK && total <= MOST) {
        rc = mu_body_read(r, piece, sizeof(piece), &got);
        if (rc == MU_OK)
            mu_buf_add(b, mu_str_n(piece, got));
        total += rc == MU_OK ? got : 0;
    }
    if (total > MOST)
        return MU_413_CONTENT_TOO_LARGE;
    return rc == MU_EOF ? MU_STATUS_NONE : mu_body_status(rc);
}

/* TRACE is answered before anybody is asked who may see what: it shows the client its own words
 * alone. */
static enum mu_status answer_trace(struct mu_req *r)
{
    const struct mu_core_conf *core = mu_core_of(r->vhost->base);
    struct mu_buf b = { 0 };
    enum mu_status status;
    struct mu_str text;

    if (core->trace_enable == MU_TRACE_OFF)
        return MU_405_METHOD_NOT_ALLOWED;
    if (r->has_body && core->trace_enable != MU_TRACE_EXTENDED)
        return MU_413_CONTENT_TOO_LARGE;
    mu_buf_add(&b, r->request_line);
    mu_buf_add(&b, MU_S("\r\n"));
    for (uint32_t i = 0; i < r->in.n; i++) {
        mu_buf_add(&b, r->in.v[i].name);
        mu_buf_add(&b, MU_S(": "));
        mu_buf_add(&b, r->in.v[i].value);
        mu_buf_add(&b, MU_S("\r\n"));
    }
    mu_buf_add(&b, MU_S("\r\n"));
    status = trace_body(r, &b);
    text = b.is_failed ? MU_STR_NULL : mu_str_dup(r->arena, mu_buf_str(&b));
    mu_buf_fini(&b);
    if (status != MU_STATUS_NONE)
        return status;
    if (!text.p)
        return MU_503_SERVICE_UNAVAILABLE;
    mu_resp_type(r, MU_S("message/http"));
    r->is_no_range = true;
    return mu_resp_send(r, MU_200_OK, text);
}

enum mu_status mu_req_phases(struct mu_req *r)
{
    enum mu_status status = mu_walk_locations(r, r->vhost->base);

    if (status == MU_STATUS_NONE)
        status = translate(r);
    if (status != MU_STATUS_NONE)
        return status;
    if (MU_UNLIKELY(r->method == MU_M_TRACE))
        return answer_trace(r);
    if (MU_LIKELY(!mu_str_starts(r->filename, MU_S("proxy:"))))
        status = mu_walk_directories(r);
    else if (mu_req_use(r, r->vhost->base) != MU_OK)
        status = MU_503_SERVICE_UNAVAILABLE;
    return status == MU_STATUS_NONE ? mu_req_phases_walked(r) : status;
}

/* ---- the handler ---- */

/* AddType application/x-httpd-php is how many configurations name a handler. Without it a script's
 * source would be sent under that type; httpd does so. */
static bool is_type_of_scripts(struct mu_str type)
{
    return mu_str_starts(type, MU_S("application/x-httpd-"));
}

static const struct mu_handler_entry *choose_handler(struct mu_req *r)
{
    const struct mu_server *s = mu_routing_of(r->vhost)->server;
    const struct mu_phases *p = mu_core_req(r)->phases;

    if (r->handler.n) {
        if (p->handler && r->handler.p == p->core->handler.p)
            return p->handler;
        return mu_handler_find(s, r->handler);
    }
    if (MU_UNLIKELY(s->has_type_handlers) && r->content_type.n) {
        const struct mu_handler_entry *e = mu_map_get(s->handlers, r->content_type);

        if (e)
            return e;
    }
    if (MU_UNLIKELY(is_type_of_scripts(r->content_type))) {
        r->handler = r->content_type;
        return NULL;
    }
    if (r->finfo.type == MU_FT_DIR && s->directory_handlers)
        return s->directory_handlers;
    return s->default_handlers;
}

static enum mu_status answer_options(struct mu_req *r)
{
    mu_resp_set(r, MU_S("Allow"), mu_req_allow(r));
    return mu_resp_empty(r, MU_200_OK);
}

static enum mu_status run_handlers(struct mu_req *r, const struct mu_handler_entry *e)
{
    uint32_t bit = MU_METHOD_BIT(r->method);

    for (; e; e = e->next) {
        const void *conf = r->conf->v[e->module->index];
        enum mu_status status;

        r->methods_allowed |= e->handler->methods;
        if (!(e->handler->methods & bit))
            continue;
        mu_reactor_note_module(e->module->name);
        if (MU_UNLIKELY(e->handler->may_block || e->handler->is_costly)) {
            mu_body_collect(r); /* a slow client must not hold the worker */
            status = call_offloaded(r, e->handler->fn, conf);
        } else
            status = e->handler->fn(r, conf);
        if (status != MU_STATUS_NONE)
            return status;
    }
    return MU_STATUS_NONE;
}

enum mu_status mu_req_handle(struct mu_req *r)
{
    const struct mu_server *s = mu_routing_of(r->vhost)->server;
    const struct mu_handler_entry *e = choose_handler(r);
    enum mu_status status = run_handlers(r, e);

    if (status == MU_STATUS_NONE && e != s->default_handlers && !r->handler.n)
        status = run_handlers(r, s->default_handlers);
    if (status != MU_STATUS_NONE)
        return status;
    if (e && !(r->methods_allowed & MU_METHOD_BIT(r->method))) {
        if (r->method == MU_M_OPTIONS)
            return answer_options(r);
        return r->method == MU_M_OTHER ? MU_501_NOT_IMPLEMENTED : MU_405_METHOD_NOT_ALLOWED;
    }
    /* A script's source must not be shown because the handler that would run it is missing. */
    MU_LOG(&r->log, "core", MU_LOG_ERR, "MU0620",
           "handler \"%.*s\" not found for: %.*s; load the module that provides it",
           MU_FMT(r->handler), MU_FMT(r->filename));
    return MU_500_INTERNAL_SERVER_ERROR;
}

/* ---- the answer ---- */

bool mu_req_is_answered(struct mu_req *r)
{
    const struct mu_exchange *x = mu_exchange_of(r);

    return x->is_head_sent || x->is_ended || x->is_aborted || x->is_lent;
}

void mu_req_end(struct mu_req *r)
{
    struct mu_exchange *x = mu_exchange_of(r);

    if (!x->is_ended && !x->is_aborted && mu_resp_chunks(r, NULL, 0, true) != MU_OK)
        x->is_aborted = true;
}

static bool needs_page(enum mu_status status)
{
    return status >= 300 && status != MU_304_NOT_MODIFIED;
}

/* What a hook or handler returned becomes an answer unless it has sent one. */
static enum mu_status answer_status(struct mu_req *r, enum mu_status status)
{
    struct mu_exchange *x = mu_exchange_of(r);

    if (needs_page(status) && r->status != status && !mu_req_is_answered(r))
        x->gather.n = 0; /* the beginning of an answer that did not come about */
    if (mu_req_is_answered(r) || x->gather.n) {
        /* An error behind the head: what was sent so far must not look like the whole answer. */
        if (x->is_head_sent && !x->is_ended && status >= 400 &&
            status != mu_exchange_answer(x)->status)
            (void)mu_resp_abort(r);
        mu_req_end(mu_exchange_answer(x));
        return mu_exchange_answer(x)->status;
    }
    if (needs_page(status))
        return mu_error_answer(r, status);
    return mu_resp_empty(r, status == MU_STATUS_NONE ? MU_200_OK : status);
}

enum mu_status mu_req_answer(struct mu_req *r)
{
    enum mu_status status = mu_req_phases(r);

    if (status == MU_STATUS_NONE)
        status = mu_req_handle(r);
    return answer_status(r, status);
}

/* ---- the beginning ---- */

static enum mu_status choose_server(struct mu_req *r)
{
    const struct mu_config *c = r->vhost->config;
    const struct mu_core_conf *core = mu_core_of(r->vhost->base);
    bool is_named = mu_exchange_of(r)->bad == MU_STATUS_NONE;

    if (r->host.n && r->host.p[r->host.n - 1] == '.')
        r->host.n--; /* the root of the name space need not be said */
    if (c->vhosts_n > 1 || core->is_strict_host)
        r->vhost = mu_vhost_for_host(c, r->peer, r->vhost, r->host, &is_named);
    core = mu_core_of(r->vhost->base);
    if (mu_exchange_of(r)->bad != MU_STATUS_NONE && !is_named)
        r->host = MU_STR_NULL; /* whatever it holds, it is not shown to anybody */
    if (core->is_strict_host && r->host.n && !is_named) {
        MU_LOG(&r->log, "core", MU_LOG_ERR, "MU0621", "StrictHostCheck: no server is called '%.*s'",
               MU_FMT(r->host));
        return MU_400_BAD_REQUEST;
    }
    return MU_STATUS_NONE;
}

/* The common path needs no decoding: nothing encoded, no dot segment, no double slash. */
static bool is_plain_path(struct mu_str s)
{
    char before = 0;

    if (!s.n || s.p[0] != '/')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '%' || (before == '/' && (c == '/' || c == '.')))
            return false;
        before = c;
    }
    return true;
}

static enum mu_status decode_path(struct mu_exchange *x)
{
    struct mu_req *r = &x->req;
    const struct mu_core_conf *core = mu_core_of(r->vhost->base);
    struct mu_str raw = x->raw_path;
    enum mu_rc rc;

    while (raw.n > 1 && raw.p[0] == '/' &&
           raw.p[1] == '/') /* whatever MergeSlashes says, as in httpd */
        raw = mu_str_sub(raw, 1, raw.n);
    if (is_plain_path(raw)) {
        r->path = raw;
        return MU_STATUS_NONE;
    }
    rc = mu_uri_path_decode(r->arena, raw, core->merge_slashes,
                            (enum mu_encoded_slashes)core->encoded_slashes, &r->path);
    if (rc == MU_OK)
        return MU_STATUS_NONE;
    r->path = x->raw_path; /* for the log */
    MU_LOG(&r->log, "core", MU_LOG_INFO, "MU0622", "%s in the path of the request: '%.*s'",
           rc == MU_NOENT ? "an encoded slash or NUL" : "a bad escape or segment",
           MU_FMT(x->raw_path));
    return rc == MU_NOENT   ? MU_404_NOT_FOUND
           : rc == MU_NOMEM ? MU_503_SERVICE_UNAVAILABLE
                            : MU_400_BAD_REQUEST;
}

static enum mu_status check_expect(struct mu_req *r)
{
    if (MU_LIKELY(!mu_exchange_of(r)->expects_unknown))
        return MU_STATUS_NONE;
    MU_LOG(&r->log, "core", MU_LOG_INFO, "MU0623", "client sent an unknown Expect: '%.*s'",
           MU_FMT(mu_headers_join(r->arena, &r->in, MU_H_EXPECT)));
    return MU_417_EXPECTATION_FAILED;
}

/* OPTIONS * asks about the server as a whole; nothing else may ask for "*". */
static enum mu_status answer_star(struct mu_req *r)
{
    return r->method == MU_M_OPTIONS ? mu_resp_empty(r, MU_200_OK) : MU_400_BAD_REQUEST;
}

/* No tunnels here: what other methods could do is what Allow says. */
static enum mu_status refuse_connect(struct mu_req *r)
{
    const struct mu_handler_entry *e = mu_routing_of(r->vhost)->server->default_handlers;

    for (; e; e = e->next)
        r->methods_allowed |= e->handler->methods;
    return MU_405_METHOD_NOT_ALLOWED;
}

static enum mu_status begin(struct mu_exchange *x)
{
    struct mu_req *r = &x->req;
    enum mu_status status = choose_server(r);
    bool is_star = mu_str_eq(x->raw_path, MU_S("*")), is_connect = r->method == MU_M_CONNECT;

    r->log.log = mu_vhost_log(r->vhost);
    if (mu_req_begin(r) != MU_OK) {
        x->is_aborted = true;
        return MU_503_SERVICE_UNAVAILABLE;
    }
    if (x->bad != MU_STATUS_NONE) {
        r->path = x->raw_path;
        MU_LOG(&r->log, "core", MU_LOG_INFO, "MU0624", "request refused with %d: %s", (int)x->bad,
               x->bad_reason ? x->bad_reason : "malformed head");
        return x->bad;
    }
    if (is_star || is_connect)
        r->path = x->raw_path;
    else if (status == MU_STATUS_NONE)
        status = decode_path(x);
    if (status == MU_STATUS_NONE)
        status = check_expect(r);
    if (MU_UNLIKELY(mu_core_of(r->conf)->hostname_lookups != MU_LOOKUP_OFF))
        mu_req_remote_host(r); /* now: the log phase cannot wait for it */
    if (status == MU_STATUS_NONE)
        status = mu_req_hooks(r, MU_PHASE_POST_READ);
    if (status == MU_STATUS_NONE && is_star)
        status = answer_star(r);
    if (status == MU_STATUS_NONE && is_connect)
        status = refuse_connect(r);
    return status;
}

void mu_process_exchange(struct mu_exchange *x)
{
    struct mu_req *r = &x->req;
    enum mu_status status = begin(x);

    if (x->is_aborted)
        return;
    if (status == MU_STATUS_NONE)
        mu_req_answer(r);
    else
        answer_status(r, status);
    mu_req_end(mu_exchange_answer(x));
    mu_reactor_note_module(NULL);
}

void mu_exchange_unserved(struct mu_exchange *x, enum mu_status status)
{
    struct mu_req *r = &x->req;

    (void)choose_server(r);
    r->log.log = mu_vhost_log(r->vhost);
    r->path = x->raw_path;
    if (mu_req_begin(r) != MU_OK)
        r->priv = NULL; /* not even for a log line */
    r->status = status;
}

void mu_log_exchange(struct mu_exchange *x)
{
    struct mu_req *r = mu_exchange_answer(x);

    if (!r->priv) /* not even begun */
        return;
    for (const struct mu_phase_call *c = mu_core_req(r)->phases->phase[MU_PHASE_LOG]; c->fn; c++)
        c->fn(r, c->conf);
}
