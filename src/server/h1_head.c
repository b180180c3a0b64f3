/*
 * h1_head: the head of an answer: how its body is delimited, whether the connection stays, and the
 * fields in httpd's order. Everything is formatted in one pass into arena memory whose size is
 * added up first. That nothing in it can end or split the head was checked before (head_check.c).
 */
#include <server/h1_conn.h>

#include <muster/str.h>

/** Where the head is written; `p` never passes the end that was added up. */
struct out {
    char *p;
};

static void put(struct out *o, struct mu_str s)
{
    if (s.n > 0)
        memcpy(o->p, s.p, s.n);
    o->p += s.n;
}

static void put_field(struct out *o, struct mu_str name, struct mu_str value)
{
    put(o, name);
    put(o, MU_S(": "));
    put(o, value);
    put(o, MU_S("\r\n"));
}

/** What is said about the connection and the body, decided before formatting. */
struct plan {
    struct mu_str ctype, languages;
    struct mu_str said; /**< Connection as the handler set it (Upgrade) */
    bool has_content;   /**< the fields that describe a body are sent */
    bool keeps;
    bool says_keepalive;
    int64_t left; /**< requests that may still follow; 0: no limit is announced */
    int64_t timeout_s;
};

/** Statuses after which httpd closes: the request may not have been understood or read in full. */
static bool drops_connection(enum mu_status s)
{
    return s == MU_400_BAD_REQUEST || s == MU_408_REQUEST_TIMEOUT || s == MU_411_LENGTH_REQUIRED ||
           s == MU_413_CONTENT_TOO_LARGE || s == MU_414_URI_TOO_LONG ||
           s == MU_431_REQUEST_HEADER_FIELDS_TOO_LARGE || s == MU_500_INTERNAL_SERVER_ERROR ||
           s == MU_501_NOT_IMPLEMENTED || s == MU_503_SERVICE_UNAVAILABLE;
}

static enum mu_h1_delimiter choose_delimiter(const struct mu_h1_exchange *x, const struct mu_req *r)
{
    if (r->is_head || mu_status_has_no_body(r->status))
        return MU_H1_NO_BODY;
    if (r->content_length >= 0)
        return MU_H1_BY_LENGTH;
    return r->version >= 1001 && x->x.bad == MU_STATUS_NONE ? MU_H1_BY_CHUNKS : MU_H1_BY_CLOSE;
}

static bool is_set(const struct mu_req *r, struct mu_str name)
{
    return mu_req_env(r, name).p != NULL;
}

static bool may_keep(const struct mu_h1_exchange *x, const struct mu_req *r,
                     const struct mu_core_conf *core, struct mu_str said)
{
    const struct mu_conn *c = x->x.conn;

    return x->is_persistent && !x->x.wants_close && !x->x.host->is_draining &&
           x->delimiter != MU_H1_BY_CLOSE && core->keepalive && core->keepalive_timeout_ms > 0 &&
           (core->max_keepalive_requests == 0 || c->keepalives < core->max_keepalive_requests) &&
           !drops_connection(r->status) && !(x->x.expects_continue && !x->body.is_done) &&
           !(x->x.is_body_dropped && !mu_h1_body_is_skippable(x)) &&
           !(said.n > 0 && mu_list_has_token(said, MU_S("close"))) &&
           !is_set(r, MU_S("nokeepalive"));
}

/** Decide. Afterwards x->delimiter, x->x.wants_close and the connection's keep-alive time stand. */
static void make_plan(struct mu_h1_exchange *x, const struct mu_req *r, struct plan *p)
{
    const struct mu_core_conf *core = mu_core_of(r->vhost->base);

    x->delimiter = choose_delimiter(x, r);
    if (x->delimiter == MU_H1_BY_LENGTH)
        x->body_left = (uint64_t)r->content_length;
    p->said = mu_headers_get_id(&r->out, MU_H_CONNECTION);
    p->keeps = may_keep(x, r, core, p->said);
    p->says_keepalive = p->keeps && x->has_keepalive_token;
    p->timeout_s = core->keepalive_timeout_ms / 1000;
    p->left =
        core->max_keepalive_requests > 0 ? core->max_keepalive_requests - x->x.conn->keepalives : 0;
    p->has_content = !mu_status_has_no_body(r->status);
    p->ctype = p->has_content ? r->content_type : MU_STR_NULL;
    if (!p->keeps)
        x->x.wants_close = true;
    mu_h1_of(x->x.conn)->keepalive_ms = (uint32_t)core->keepalive_timeout_ms;
}

/** The server's own fields, and of an answer without a body what only describes the body. */
static bool is_left_out(const struct plan *p, const struct mu_header *f)
{
    if (f->id == MU_H_CONNECTION || f->id == MU_H_KEEP_ALIVE || f->id == MU_H_TRANSFER_ENCODING ||
        f->id == MU_H_CONTENT_LENGTH || f->id == MU_H_DATE || f->id == MU_H_SERVER)
        return true; /* the server's own to say */
    if (p->has_content)
        return false;
    if (f->id == MU_H_CONTENT_TYPE || f->id == MU_H_CONTENT_ENCODING ||
        f->id == MU_H_CONTENT_LANGUAGE)
        return true;
    return f->id == MU_H_CONTENT_RANGE;
}

/** Bytes of the fields of a table; those that are not written are cut out of it. */
static size_t table_size(const struct plan *p, struct mu_headers *t)
{
    size_t need = 0;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < t->n; i++) {
        const struct mu_header *f = &t->v[i];

        if (is_left_out(p, f))
            continue;
        need += f->name.n + f->value.n + 4;
        t->v[kept++] = *f;
    }
    t->n = kept;
    return need;
}

static struct mu_str join_languages(struct mu_req *r)
{
    struct mu_str s = r->languages.n > 0 ? r->languages.v[0] : MU_STR_NULL;

    for (size_t i = 1; i < r->languages.n && s.p; i++)
        s = mu_str_cat(r->arena, s, MU_S(","), r->languages.v[i]);
    return s;
}

static void put_status(struct out *o, const struct mu_req *r)
{
    struct mu_str line = r->status_reason.n > 0 ? MU_STR_NULL : mu_status_line(r->status);
    char digits[20];

    put(o, mu_req_env(r, MU_S("force-response-1.0")).p ? MU_S("HTTP/1.0 ") : MU_S("HTTP/1.1 "));
    if (!line.p) {
        put(o, (struct mu_str){ digits, mu_u64_dec((uint64_t)r->status, digits) });
        put(o, MU_S(" "));
        line = r->status_reason.n > 0 ? r->status_reason : mu_status_reason(r->status);
    }
    put(o, line);
    put(o, MU_S("\r\nDate: "));
    put(o, mu_http_date_now());
    put(o, MU_S("\r\nServer: "));
    put(o, mu_req_server_tokens(r));
    put(o, MU_S("\r\n"));
}

static void put_table(struct out *o, const struct mu_headers *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        put_field(o, t->v[i].name, t->v[i].value);
}

static void put_length(struct out *o, uint64_t n)
{
    char digits[20];

    put_field(o, MU_S("Content-Length"), (struct mu_str){ digits, mu_u64_dec(n, digits) });
}

/** The length stands behind Accept-Ranges, as httpd's file handler leaves it, else at the end. */
static void put_out_table(struct out *o, const struct mu_req *r, const struct plan *p)
{
    bool has_length = p->has_content && r->content_length >= 0;

    for (uint32_t i = 0; i < r->out.n; i++) {
        put_field(o, r->out.v[i].name, r->out.v[i].value);
        if (has_length && r->out.v[i].id == MU_H_ACCEPT_RANGES) {
            put_length(o, (uint64_t)r->content_length);
            has_length = false;
        }
    }
    if (has_length)
        put_length(o, (uint64_t)r->content_length);
}

static void put_validators(struct out *o, const struct mu_req *r)
{
    char date[29];

    if (r->last_modified >= 0 && !mu_headers_find(&r->out, MU_H_LAST_MODIFIED)) {
        mu_http_date(r->last_modified, date);
        put_field(o, MU_S("Last-Modified"), (struct mu_str){ date, sizeof(date) });
    }
    if (r->etag.n > 0 && !mu_headers_find(&r->out, MU_H_ETAG))
        put_field(o, MU_S("ETag"), r->etag);
}

static void put_keepalive(struct out *o, const struct plan *p)
{
    char digits[20];

    put(o, MU_S("Keep-Alive: timeout="));
    put(o, (struct mu_str){ digits, mu_u64_dec((uint64_t)p->timeout_s, digits) });
    if (p->left > 0) {
        put(o, MU_S(", max="));
        put(o, (struct mu_str){ digits, mu_u64_dec((uint64_t)p->left, digits) });
    }
    put(o, MU_S("\r\n"));
}

static void put_connection(struct out *o, const struct mu_h1_exchange *x, const struct plan *p)
{
    struct mu_str ours = p->says_keepalive ? MU_S("Keep-Alive")
                         : !p->keeps && !mu_list_has_token(p->said, MU_S("close")) ? MU_S("close")
                                                                                   : MU_STR_NULL;

    if (p->says_keepalive)
        put_keepalive(o, p);
    if (p->said.n > 0 || ours.n > 0) {
        put(o, MU_S("Connection: "));
        put(o, p->said);
        if (p->said.n > 0 && ours.n > 0)
            put(o, MU_S(", "));
        put(o, ours);
        put(o, MU_S("\r\n"));
    }
    if (x->delimiter == MU_H1_BY_CHUNKS)
        put(o, MU_S("Transfer-Encoding: chunked\r\n"));
}

static void put_content(struct out *o, const struct mu_req *r, const struct plan *p)
{
    if (!p->has_content)
        return;
    if (p->ctype.n > 0)
        put_field(o, MU_S("Content-Type"), p->ctype);
    if (r->content_encoding.n > 0)
        put_field(o, MU_S("Content-Encoding"), r->content_encoding);
    if (p->languages.n > 0)
        put_field(o, MU_S("Content-Language"), p->languages);
}

struct mu_str mu_h1_head_make(struct mu_h1_exchange *x, size_t room)
{
    /*
     * Fixed texts: status line, Date, Last-Modified, ETag, lengths, Keep-Alive, Connection,
     * Transfer-Encoding, names.
     */
    enum { FIXED = 512 };
    struct mu_req *r = mu_exchange_answer(&x->x);
    struct plan p = { .languages = join_languages(r) };
    size_t need;
    struct out o;
    char *buf;

    make_plan(x, r, &p);
    need = FIXED + p.said.n + table_size(&p, &r->out_always) + table_size(&p, &r->out) + r->etag.n +
           mu_req_server_tokens(r).n + p.ctype.n + r->content_encoding.n + p.languages.n +
           r->status_reason.n;
    buf = o.p = mu_arena_alloc(r->arena, need + room);
    if (!buf)
        return MU_STR_NULL;
    put_status(&o, r);
    put_table(&o, &r->out_always);
    put_validators(&o, r);
    put_out_table(&o, r, &p);
    put_connection(&o, x, &p);
    put_content(&o, r, &p);
    put(&o, MU_S("\r\n"));
    assert((size_t)(o.p - buf) <= need);
    return (struct mu_str){ buf, (size_t)(o.p - buf) };
}
