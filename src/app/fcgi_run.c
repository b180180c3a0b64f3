/*
 * fcgi_run: a request answered by a FastCGI application, whoever knows the way to it (mod_proxy_fcgi, a pool). The body
 * is collected first unless it is to be streamed, and the answer goes to a spool if the client is slow, so that an
 * application is busy only while it computes. What was not answered at all may be asked once more: always on a fresh
 * connection when a kept one turned out to be dead, and where the caller allows it when the application died.
 */
#include "fcgi_talk.h"

#include <muster/str.h>

/* Repeating these changes nothing (RFC 9110 section 9.2.2). */
static bool is_idempotent(const struct mu_req *r)
{
    static const uint32_t methods = MU_GET | MU_HEAD | MU_METHOD_BIT(MU_M_OPTIONS) |
                                    MU_METHOD_BIT(MU_M_TRACE) | MU_METHOD_BIT(MU_M_PUT) |
                                    MU_METHOD_BIT(MU_M_DELETE) | MU_METHOD_BIT(MU_M_PROPFIND) |
                                    MU_METHOD_BIT(MU_M_REPORT);

    return methods & MU_METHOD_BIT(r->method);
}

/* ---- what goes in ---- */

static enum mu_status collect_body(struct mu_req *r)
{
    uint64_t len;
    enum mu_rc rc = mu_body_spool(r, &len);

    return rc == MU_OK ? MU_STATUS_NONE : mu_body_status(rc);
}

static enum mu_status make_env(struct mu_req *r, const struct mu_fcgi_opts *o,
                               struct mu_cgi_env *env)
{
    enum mu_rc rc = mu_cgi_env_make(r, env);

    if (rc == MU_OK)
        rc = mu_php_settings(r, env);
    if (rc == MU_OK && o->adjust)
        rc = o->adjust(r, env, o->arg);
    if (rc == MU_OK)
        rc = mu_pass_offer(r, o, env);
    if (rc == MU_OK)
        return MU_STATUS_NONE;
    return rc == MU_NOMEM ? MU_503_SERVICE_UNAVAILABLE : MU_500_INTERNAL_SERVER_ERROR;
}

/* ---- what comes out ---- */

/* Was nothing answered, so that the application may be asked once more? */
static bool is_unanswered(const struct mu_talk *t)
{
    return t->end == MU_TALK_BROKEN && !t->has_answer && !t->has_client;
}

/* It was dead before the request came. */
static bool is_stale(const struct mu_talk *t)
{
    return t->c.is_reused && is_unanswered(t) && !t->in.has_bytes;
}

static enum mu_fcgi_end how_ended(const struct mu_talk *t)
{
    switch (t->end) {
    case MU_TALK_DONE:
    case MU_TALK_REFUSED:
        return t->may_keep ? MU_FCGI_KEEP : MU_FCGI_CLOSE;
    case MU_TALK_BROKEN:
        return is_stale(t) ? MU_FCGI_STALE : MU_FCGI_BROKEN;
    case MU_TALK_NONSENSE:
        return MU_FCGI_BROKEN;
    case MU_TALK_LATE:
        return MU_FCGI_LATE;
    default:
        return MU_FCGI_ABORT;
    }
}

/* How it ended, for the answer that was begun; *broken is the status if it has no head yet. */
static enum mu_rc answer_rc(const struct mu_talk *t, enum mu_status *broken)
{
    *broken = MU_502_BAD_GATEWAY;
    switch (t->end) {
    case MU_TALK_DONE:
    case MU_TALK_ENOUGH:
        return MU_EOF;
    case MU_TALK_LATE:
        return MU_TIMEOUT;
    case MU_TALK_BAD_HEAD:
        return MU_BAD;
    case MU_TALK_NO_MEMORY:
        return MU_NOMEM;
    case MU_TALK_CLIENT:
        *broken = mu_body_status(t->client_rc);
        return MU_GONE;
    default:
        return MU_EIO;
    }
}

/* Of a request that was not answered with a single byte. */
static enum mu_status failure(const struct mu_talk *t)
{
    switch (t->end) {
    case MU_TALK_CLIENT:
        return mu_body_status(t->client_rc);
    case MU_TALK_LATE:
        return MU_504_GATEWAY_TIMEOUT;
    case MU_TALK_REFUSED:
        return t->outcome == MU_FCGI_OVERLOADED ? MU_503_SERVICE_UNAVAILABLE : MU_502_BAD_GATEWAY;
    case MU_TALK_TOO_MUCH:
        return MU_500_INTERNAL_SERVER_ERROR;
    case MU_TALK_NO_MEMORY:
        return MU_503_SERVICE_UNAVAILABLE;
    default:
        return MU_502_BAD_GATEWAY;
    }
}

static enum mu_status answer(struct mu_talk *t)
{
    enum mu_status broken;
    enum mu_rc rc;

    if (t->has_client)
        return mu_pass_end(t);
    if (!t->has_answer && t->end == MU_TALK_DONE)
        mu_talk_begin_answer(t); /* an answer without a byte has no head */
    if (!t->has_answer)
        return failure(t);
    rc = answer_rc(t, &broken);
    return mu_cgi_answer_end(&t->answer, rc, broken);
}

/* ---- attempts ---- */

/* One conversation; *again: it came to nothing and is worth another one. */
static enum mu_status attempt(struct mu_req *r, const struct mu_fcgi_opts *o,
                              const struct mu_cgi_env *env, uint32_t *left, bool *again)
{
    struct mu_talk t = { .r = r, .o = o, .env = env, .client_fd = -1 };
    enum mu_status status = MU_502_BAD_GATEWAY;
    enum mu_fcgi_end how;
    enum mu_rc rc = o->open(r, &t.c, o->arg, &status);

    *again = false;
    if (rc != MU_OK)
        return rc == MU_GONE ? mu_body_status(rc) : status;
    t.in = (struct mu_fcgi_answer){ .id = MU_FCGI_ID, .may_take = o->passes_client };
    mu_talk_run(&t);
    how = how_ended(&t);
    if (is_unanswered(&t) && !t.has_lost_body) {
        *again = how == MU_FCGI_STALE || *left > 0;
        *left -= how != MU_FCGI_STALE && *left > 0;
    }
    mu_talk_explain(&t, *again);
    mu_pass_take_back(&t);
    o->close(r, &t.c, o->arg, how); /* first of all: the process is free */
    return *again ? MU_STATUS_NONE : answer(&t);
}

static enum mu_status run(struct mu_req *r, const struct mu_fcgi_opts *o)
{
    uint32_t left = o->may_retry && is_idempotent(r) ? 1 : 0;
    struct mu_fcgi_opts opts = *o;
    struct mu_cgi_env env;
    enum mu_status status = MU_STATUS_NONE;
    bool again;

    /* Applications read as much as CONTENT_LENGTH says: a body of unknown length is collected all the same. */
    if (r->has_body && r->body_len < 0 && !mu_req_env(r, MU_S("proxy-sendchunked")).p)
        opts.streams_body = false;
    if (!opts.streams_body)
        status = collect_body(r);
    if (status == MU_STATUS_NONE)
        status = make_env(r, &opts, &env);
    if (status != MU_STATUS_NONE)
        return status;
    if (!opts.flushes && !opts.flushes_pauses)
        mu_resp_spool(r);
    for (;;) {
        status = attempt(r, &opts, &env, &left, &again);
        if (again && !opts.streams_body)
            status = collect_body(r); /* from its beginning */
        if (!again || status != MU_STATUS_NONE)
            return status;
    }
}

struct run_call {
    struct mu_req *r;
    const struct mu_fcgi_opts *o;
    enum mu_status status;
};

static void run_home(void *arg)
{
    struct run_call *c = arg;

    c->status = run(c->r, c->o);
}

enum mu_status mu_fcgi_run(struct mu_req *r, const struct mu_fcgi_opts *o)
{
    struct run_call c = { r, o, MU_500_INTERNAL_SERVER_ERROR };

    mu_call_home(run_home, &c); /* a handler that may block can be behind this one */
    return c.status;
}
