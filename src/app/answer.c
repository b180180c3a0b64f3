/* The answer of an application (RFC 3875 section 6): its head is parsed and checked, its body goes
 * through the request's filters.
 *
 * Fields are put where httpd puts them: what describes the body goes with it, everything else is
 * sent with error and redirect answers too. What concerns the connection is the server's own to say
 * and is dropped. What the head asks for instead of a body (a redirect, X-Sendfile) is done when the
 * output has ended; what is written meanwhile is dropped. An answer that ends too early is never
 * made to look complete.
 */
#include "app_conf.h"

#include <http/cgi_head.h>
#include <muster/clock.h>
#include <muster/str.h>
#include <server/room.h>

enum { DROP_MAX = 1024 * 1024 }; /**< of output that nobody wants, before the end is called for */

/** What the head asks for. */
enum wanted {
    WANTS_BODY,
    WANTS_NOTHING, /**< it has been answered without one */
    WANTS_PATH,    /**< a local redirect */
    WANTS_URL,     /**< a redirect for the client */
    WANTS_FILE,    /**< X-Sendfile */
    WANTS_ERROR,   /**< the core's page for its status */
};

struct state {
    struct mu_cgi_head_parser parser;
    enum wanted wanted;
    struct mu_str file; /**< X-Sendfile */
    uint64_t left;      /**< of Content-Length */
    uint64_t given;     /**< body bytes passed on */
    uint64_t dropped;
    bool has_length, has_excess, has_news;
};

void mu_cgi_answer_begin(struct mu_cgi_answer *a, struct mu_req *r, struct mu_str source,
                         bool flushes)
{
    struct state *s = mu_new(r->arena, struct state);

    *a = (struct mu_cgi_answer){ .r = r, .source = source, .flushes = flushes, .priv = s };
    if (s)
        mu_cgi_head_init(&s->parser, r->arena);
}

/* ---- the head ---- */

/* The connection and how the message is framed are the server's own to speak of. */
static bool is_servers_own(const struct mu_header *f)
{
    switch (f->id) {
    case MU_H_CONNECTION:
    case MU_H_KEEP_ALIVE:
    case MU_H_TRANSFER_ENCODING:
    case MU_H_TRAILER:
    case MU_H_UPGRADE:
    case MU_H_DATE:
    case MU_H_SERVER:
        return true;
    default:
        return f->id == MU_H_OTHER && mu_str_ieq(f->name, MU_S("Proxy-Connection"));
    }
}

static void take_last_modified(struct mu_req *r, struct mu_str value)
{
    int64_t now = r->time_us / 1000000, at;

    if (mu_http_date_parse(value, &at))
        r->last_modified = at < now ? at : now; /* RFC 9110 section 8.8.2.1 */
    else
        MU_LOG(&r->log, "app", MU_LOG_INFO, "MU1200",
               "an application's Last-Modified is no date and is left out: '%.*s'", MU_FMT(value));
}

/* Fields of one name become one (RFC 9110 section 5.3), where the first of them stands. */
static enum mu_rc merge_row(struct mu_req *r, struct mu_headers *to, const struct mu_headers *from,
                            uint32_t row)
{
    struct mu_str all;

    if (mu_headers_first_row(from, row) != row)
        return MU_OK;
    all = mu_headers_join_row(r->arena, from, row, MU_S(", "));
    return all.p ? mu_headers_merge(r->arena, to, from->v[row].name, all) : MU_NOMEM;
}

static enum mu_rc take_field(struct mu_cgi_answer *a, const struct mu_headers *fields, uint32_t row)
{
    const struct mu_header *f = &fields->v[row];
    struct state *s = a->priv;
    struct mu_req *r = a->r;

    if (is_servers_own(f))
        return MU_OK;
    switch (f->id) {
    case MU_H_ETAG:
        r->etag = f->value;
        return MU_OK;
    case MU_H_LAST_MODIFIED:
        take_last_modified(r, f->value);
        return MU_OK;
    case MU_H_SET_COOKIE: /* the one field that cannot be joined: RFC 9110 section 5.3 */
        return mu_headers_add_id(r->arena, &r->out_always, f->id, f->name, f->value);
    case MU_H_CONTENT_ENCODING:
        r->content_encoding = MU_STR_NULL;
        return merge_row(r, &r->out, fields, row);
    case MU_H_CONTENT_LANGUAGE:
        r->languages = (struct mu_strs){ NULL, 0 };
        return merge_row(r, &r->out, fields, row);
    case MU_H_CONTENT_RANGE:
    case MU_H_ACCEPT_RANGES:
        return mu_headers_set(r->arena, &r->out, f->name, f->value);
    default:
        break;
    }
    if (f->id == MU_H_OTHER && mu_str_ieq(f->name, MU_S("X-Sendfile"))) {
        s->file = f->value; /* never passed on: it tells where files are */
        return MU_OK;
    }
    return merge_row(r, &r->out_always, fields, row);
}

/* Media types are told apart without case; what their parameters say is not ours to change. */
static struct mu_str lower_type(struct mu_arena *a, struct mu_str type)
{
    ssize_t end = mu_str_chr(type, ';');

    if (end < 0)
        return mu_str_dup_lower(a, type);
    return mu_str_cat(a, mu_str_dup_lower(a, mu_str_sub(type, 0, (size_t)end)),
                      mu_str_sub(type, (size_t)end, type.n));
}

static void take_status(struct mu_cgi_answer *a, const struct mu_cgi_head *h)
{
    struct mu_req *r = a->r;

    if (h->is_status_bad) {
        MU_LOG(&r->log, "app", MU_LOG_ERR, "MU1201",
               "%.*s: its Status is none from 200 to 599; answered with 500", MU_FMT(a->source));
        r->status = MU_500_INTERNAL_SERVER_ERROR;
    } else if (h->has_status) {
        r->status = h->status;
        r->status_reason = h->reason;
    }
}

static enum mu_rc take_fields(struct mu_cgi_answer *a, const struct mu_cgi_head *h)
{
    struct mu_req *r = a->r;
    enum mu_rc rc = MU_OK;

    take_status(a, h);
    for (uint32_t i = 0; i < h->fields.n && rc == MU_OK; i++)
        rc = take_field(a, &h->fields, i);
    if (rc == MU_OK && h->has_type) {
        struct mu_str type = lower_type(r->arena, h->type);

        mu_resp_type(r, type);
        rc = type.p ? MU_OK : MU_NOMEM;
    }
    if (rc == MU_OK && h->location.n)
        rc = mu_headers_set(r->arena, &r->out, MU_S("Location"), h->location);
    return rc;
}

static bool may_send_file(struct mu_cgi_answer *a)
{
    const struct state *s = a->priv;

    if (!s->file.n)
        return false;
    if (app_conf_of(a->r)->sends_files)
        return true;
    MU_LOG(&a->r->log, "app", MU_LOG_WARN, "MU1202",
           "%.*s: X-Sendfile has no effect here; XSendFile On and XSendFilePath allow it",
           MU_FMT(a->source));
    return false;
}

/* Answered now: nobody has to wait until the application is through. */
static void answer_without_body(struct mu_cgi_answer *a, enum mu_status status)
{
    struct state *s = a->priv;

    s->wanted = WANTS_NOTHING;
    a->has_begun = true;
    if (a->r->main)
        a->r->status = status;
    else
        mu_resp_empty(a->r, status);
}

static void take_length(struct mu_cgi_answer *a, const struct mu_cgi_head *h)
{
    struct state *s = a->priv;

    if (h->is_length_bad)
        MU_LOG(&a->r->log, "app", MU_LOG_WARN, "MU1203",
               "%.*s: its Content-Length is no number, or there are two that differ; ignored",
               MU_FMT(a->source));
    if (h->length < 0)
        return;
    s->has_length = true;
    s->left = (uint64_t)h->length;
    if (!a->r->output) /* filters may change it */
        a->r->content_length = h->length;
}

static void decide(struct mu_cgi_answer *a, const struct mu_cgi_head *h)
{
    struct state *s = a->priv;
    struct mu_req *r = a->r;
    enum mu_status condition = MU_STATUS_NONE;

    if (h->location.n && r->status == MU_200_OK) {
        s->wanted = h->location.p[0] == '/' ? WANTS_PATH : WANTS_URL;
        return;
    }
    if (may_send_file(a)) {
        s->wanted = WANTS_FILE;
        return;
    }
    if (r->status >= 400 && a->replaces_error && a->replaces_error(r, r->status, a->arg)) {
        s->wanted = WANTS_ERROR;
        return;
    }
    /* Who names a status means it; else the answer is held against the request's conditions. */
    if (!h->has_status && r->method == MU_M_GET)
        condition = mu_req_conditions(r);
    if (condition != MU_STATUS_NONE)
        answer_without_body(a, condition);
    else if (mu_status_has_no_body(r->status))
        answer_without_body(a, r->status);
    else
        take_length(a, h);
}

/* For an ErrorDocument: REDIRECT_ERROR_NOTES, as in httpd. */
static void note(struct mu_req *r, struct mu_str text)
{
    struct mu_str safe = mu_html_escape(r->arena, text);

    if (safe.p)
        mu_req_note_set(r, MU_S("error-notes"), safe);
}

static enum mu_rc bad_head(struct mu_cgi_answer *a)
{
    const struct state *s = a->priv;

    MU_LOG(
        &a->r->log, "app", MU_LOG_ERR, "MU1204",
        "%.*s: malformed head, %s: '%.*s'; an answer begins with fields such as Content-Type and "
        "an empty line",
        MU_FMT(a->source), s->parser.problem, MU_FMT(s->parser.line));
    note(a->r, mu_fmt(a->r->arena, "malformed header from script: %s", s->parser.problem));
    return MU_BAD;
}

/* ---- the body ---- */

static enum mu_rc drop(struct state *s, size_t n)
{
    s->dropped += n;
    return s->dropped > DROP_MAX ? MU_EOF : MU_OK;
}

static void say_excess(struct mu_cgi_answer *a)
{
    struct state *s = a->priv;

    if (!s->has_excess)
        MU_LOG(&a->r->log, "app", MU_LOG_WARN, "MU1205",
               "%.*s: it writes more than its Content-Length says; the rest is dropped",
               MU_FMT(a->source));
    s->has_excess = true;
}

static enum mu_rc take_body(struct mu_cgi_answer *a, struct mu_str bytes)
{
    struct state *s = a->priv;
    size_t n = bytes.n;
    enum mu_rc rc;

    if (n == 0)
        return MU_OK;
    if (s->wanted != WANTS_BODY)
        return drop(s, n);
    if (s->has_length && n > s->left) {
        say_excess(a);
        bytes.n = (size_t)s->left;
    }
    if (bytes.n) {
        a->has_begun = true;
        s->has_news = true;
        rc = mu_resp_write(a->r, bytes);
        if (rc != MU_OK)
            return rc;
    }
    s->given += bytes.n;
    if (s->has_length)
        s->left -= bytes.n;
    return drop(s, n - bytes.n);
}

/* Bytes of the head off the front of *bytes. MU_OK: it is complete and carried out. */
static enum mu_rc take_head(struct mu_cgi_answer *a, struct mu_str *bytes)
{
    struct state *s = a->priv;
    size_t used = 0;
    enum mu_rc rc = mu_cgi_head_feed(&s->parser, *bytes, &used);

    *bytes = mu_str_sub(*bytes, used, bytes->n);
    if (rc == MU_BAD || rc == MU_LIMIT)
        return bad_head(a);
    if (rc == MU_OK)
        rc = take_fields(a, &s->parser.head);
    if (rc != MU_OK)
        return rc;
    decide(a, &s->parser.head);
    a->is_head_done = true;
    s->has_news = true;
    return MU_OK;
}

/* What is spooled waits for nobody, and so does this: the client gets as much as it takes. */
static enum mu_rc hand_on(struct mu_req *r)
{
    const struct mu_chunk nothing = { .kind = MU_CHUNK_MEM, .fd = -1, .mem = MU_S("") };

    if (mu_exchange_of(r)->is_spooling)
        return mu_resp_chunks(r, &nothing, 1, false);
    return mu_resp_flush(r);
}

enum mu_rc mu_cgi_answer_flush(struct mu_cgi_answer *a)
{
    struct state *s = a->priv;

    if (!s || !a->is_head_done || s->wanted != WANTS_BODY || !s->has_news)
        return MU_OK;
    s->has_news = false;
    a->has_begun = true;
    return hand_on(a->r);
}

enum mu_rc mu_cgi_answer_bytes(struct mu_cgi_answer *a, struct mu_str bytes)
{
    enum mu_rc rc = MU_OK;

    if (!a->priv)
        return MU_NOMEM;
    if (!a->is_head_done)
        rc = take_head(a, &bytes);
    if (rc == MU_AGAIN)
        return MU_OK;
    if (rc == MU_OK)
        rc = take_body(a, bytes);
    if (rc == MU_OK && a->flushes)
        rc = mu_cgi_answer_flush(a);
    return rc;
}

/* ---- the end ---- */

/* What the application saw is what the next request sees under REDIRECT_ names, as in httpd. */
static void leave_env(struct mu_req *r)
{
    struct mu_cgi_env env;

    if (mu_cgi_env_make(r, &env) != MU_OK)
        return;
    for (size_t i = 0; i < env.n; i++)
        mu_req_env_set(r, env.v[i].name, env.v[i].value);
}

/* The core makes the answer, of which the head said nothing that still counts. */
static enum mu_status answer_page(struct mu_req *r, enum mu_status status)
{
    r->status = MU_200_OK;
    r->status_reason = MU_STR_NULL;
    r->content_length = -1;
    r->etag = MU_STR_NULL;
    r->last_modified = -1;
    return status;
}

static enum mu_status answer_error(struct mu_req *r, enum mu_status status)
{
    leave_env(r);
    return answer_page(r, status);
}

static enum mu_status go_to_path(struct mu_cgi_answer *a)
{
    const struct state *s = a->priv;
    struct mu_req *r = a->r;
    const struct mu_core_conf *core = mu_core_of(r->vhost->base);
    struct mu_str to = s->parser.head.location, query = MU_STR_NULL, path;
    ssize_t end = mu_str_chr(to, '#');
    enum mu_rc rc;

    if (end >= 0)
        to = mu_str_sub(to, 0, (size_t)end);
    end = mu_str_chr(to, '?');
    if (end >= 0) {
        query = mu_str_sub(to, (size_t)end + 1, to.n);
        to = mu_str_sub(to, 0, (size_t)end);
    }
    rc = mu_uri_path_decode(r->arena, to, core->merge_slashes,
                            (enum mu_encoded_slashes)core->encoded_slashes, &path);
    if (rc != MU_OK) {
        MU_LOG(&r->log, "app", MU_LOG_ERR, "MU1206", "%.*s: its Location is no path: '%.*s'",
               MU_FMT(a->source), MU_FMT(s->parser.head.location));
        return answer_error(r, rc == MU_NOENT ? MU_404_NOT_FOUND : MU_500_INTERNAL_SERVER_ERROR);
    }
    leave_env(r);
    mu_resp_unset(r, MU_S("Location"));
    r->method = MU_M_GET; /* whatever was asked; the body was the application's */
    r->method_name = MU_S("GET");
    r->has_body = false;
    r->body_len = 0;
    r->status_reason = MU_STR_NULL;
    return mu_internal_redirect(r, path, query);
}

static enum mu_status end_without_head(struct mu_cgi_answer *a, enum mu_rc why,
                                       enum mu_status broken)
{
    const struct state *s = a->priv;

    switch (why) {
    case MU_TIMEOUT:
        return answer_error(a->r, MU_504_GATEWAY_TIMEOUT);
    case MU_NOMEM:
        return answer_error(a->r, MU_503_SERVICE_UNAVAILABLE);
    case MU_GONE:
    case MU_EIO:
        return answer_error(a->r, broken);
    case MU_BAD: /* logged already */
        return answer_error(a->r, MU_500_INTERNAL_SERVER_ERROR);
    default:
        break;
    }
    if (s->parser.bytes)
        MU_LOG(&a->r->log, "app", MU_LOG_ERR, "MU1207",
               "%.*s: premature end of the head: there was no empty line behind it",
               MU_FMT(a->source));
    else
        MU_LOG(&a->r->log, "app", MU_LOG_ERR, "MU1208",
               "%.*s: end of output before the head; see what it said on its standard error",
               MU_FMT(a->source));
    note(a->r, MU_S("premature end of script headers"));
    return answer_error(a->r, MU_500_INTERNAL_SERVER_ERROR);
}

static void say_cut_off(const struct mu_cgi_answer *a, enum mu_rc why, bool was_sent)
{
    const struct state *s = a->priv;

    MU_LOG(&a->r->log, "app", MU_LOG_ERR, "MU1209", "%.*s: %s after %llu bytes of the body; %s",
           MU_FMT(a->source),
           why == MU_TIMEOUT ? "too slow"
           : why == MU_EOF   ? "less than its Content-Length says:"
                             : "broke off",
           (unsigned long long)s->given,
           was_sent ? "the connection is closed, so that nobody takes it for the whole"
                    : "nothing of it was sent");
}

static enum mu_status cut_off(struct mu_cgi_answer *a, enum mu_rc why, enum mu_status broken)
{
    struct mu_exchange *x = mu_exchange_of(a->r);
    bool was_sent = x->is_head_sent || x->is_ended;

    if (why != MU_GONE)
        say_cut_off(a, why, was_sent);
    if (was_sent)
        return mu_resp_abort(a->r);
    return answer_error(a->r, why == MU_TIMEOUT ? MU_504_GATEWAY_TIMEOUT
                              : why == MU_NOMEM ? MU_503_SERVICE_UNAVAILABLE
                                                : broken);
}

static enum mu_status end_body(struct mu_cgi_answer *a, enum mu_rc why, enum mu_status broken)
{
    const struct state *s = a->priv;
    bool is_short = s->has_length && s->left > 0 && !a->r->is_head;
    bool is_through = s->has_length && s->left == 0; /* how it ends then matters to nobody */

    if (is_short || (why != MU_EOF && !is_through))
        return cut_off(a, why, broken);
    a->has_begun = true;
    if (!a->r->main)
        mu_req_end(a->r);
    return a->r->status;
}

enum mu_status mu_cgi_answer_end(struct mu_cgi_answer *a, enum mu_rc why, enum mu_status broken)
{
    const struct state *s = a->priv;
    struct mu_req *r = a->r;

    if (!s)
        return MU_503_SERVICE_UNAVAILABLE;
    if (mu_exchange_of(r)->is_aborted) /* the client left */
        return r->status;
    if (!a->is_head_done)
        return end_without_head(a, why, broken);
    switch (s->wanted) {
    case WANTS_NOTHING:
        return r->status;
    case WANTS_PATH:
        return go_to_path(a);
    case WANTS_URL:
        return answer_page(r, MU_302_FOUND);
    case WANTS_ERROR:
        return answer_error(r, r->status);
    case WANTS_FILE:
        return mu_app_send_file(r, s->file, s->parser.head.has_type, a->source);
    case WANTS_BODY:
        break;
    }
    return end_body(a, why, broken);
}
