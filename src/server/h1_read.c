/*
 * h1_read: from bytes to a request head. A head that is complete is parsed where it lies, and the
 * exchange keeps the buffer while it runs; one that is not is kept as small as it is until more
 * comes. An idle connection holds nothing.
 */
#include <server/h1_conn.h>

enum { HEAD_ROUND = 256 /* a partial head's allocation is a multiple of it */ };

static const struct mu_exchange_ops h1_ops = {
    .write = mu_h1_write,
    .body_read = mu_h1_body_read,
    .body_try_read = mu_h1_body_try_read,
    .interim = mu_h1_interim,
    .ask = mu_h1_ask,
    .lend = mu_h1_lend,
    .take_back = mu_h1_take_back,
};

int64_t mu_h1_head_ms_left(struct mu_conn *c)
{
    const struct mu_h1 *h = mu_h1_of(c);
    const struct mu_read_timeouts *t = mu_conn_read_timeouts(c, mu_conn_vhost(c));
    int64_t limit = mu_conn_core(c)->timeout_ms;

    if (t && t->header_ms > 0)
        limit = mu_rate_limit_ms(t->header_ms, t->header_max_ms, t->header_rate, h->n - h->start);
    return h->since_ms + limit - mu_now_ms();
}

/** Where a thread has one connection, that keeps the buffer, and may wait in reading into it. */
static bool expects_here(struct mu_conn *c)
{
    return c->host->is_single && !c->stream.ops && mu_h1_of(c)->buf_kind == MU_H1_LENT;
}

/** Nothing more to read now: keep as little as possible and let the reactor go on. */
static enum mu_h1_got park(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);
    uint32_t n = h->n - h->start;
    int64_t ms;

    if (n == 0) {
        if (expects_here(c))
            h->start = h->n = 0;
        else
            mu_h1_drop_buf(c);
        h->state = c->keepalives > 0 ? MU_H1_IDLE : MU_H1_HEAD;
    } else {
        size_t cap = (n + HEAD_ROUND - 1) / HEAD_ROUND * HEAD_ROUND;

        if (!mu_h1_buf_may_grow(c, cap))
            return mu_h1_refuse_head(c, MU_503_SERVICE_UNAVAILABLE,
                                     "too many bytes of unfinished request heads");
        if (h->buf_kind == MU_H1_LENT && !mu_h1_buf_to_heap(c, cap))
            goto fail;
        h->state = MU_H1_HEAD;
        if (h->since_ms == 0) /* on a new connection a head's time begins with the connection */
            h->since_ms = mu_now_ms();
    }
    if (!mu_conn_watch(c))
        goto fail;
    if (n == 0 && h->buf)
        mu_io_expect(&c->stream.io, h->buf, h->cap);
    if (h->state == MU_H1_IDLE) {
        ms = h->keepalive_ms;
        mu_conn_count(c, MU_CONN_KEEPALIVE, 'K');
    } else {
        ms = mu_h1_head_ms_left(c);
        mu_conn_count(c, MU_CONN_READING, 'R');
    }
    if (n == 0 && c->host->is_draining && ms > MU_H1_DRAIN_IDLE_MS)
        ms = MU_H1_DRAIN_IDLE_MS;
    mu_timer_arm(&c->timer, ms > 0 ? ms : 1);
    return MU_H1_PARKED;
fail:
    mu_h1_drop_buf(c);
    mu_conn_close(c);
    return MU_H1_CLOSED;
}

/**
 * The exchange that `head` began, or failed to begin, with what lies in the buffer up to
 * `head_len`.
 */
static struct mu_h1_exchange *begin(struct mu_conn *c, struct mu_arena *a,
                                    const struct mu_h1_head *head, size_t head_len)
{
    struct mu_h1 *h = mu_h1_of(c);
    struct mu_exchange *x = mu_exchange_create(c, a, sizeof(struct mu_h1_exchange), &h1_ops);
    struct mu_h1_exchange *hx;

    if (!x || mu_exchange_take_head(x, head) != MU_OK)
        return NULL;
    hx = mu_h1_exchange_of(x);
    mu_spool_init(&hx->spool, a);
    hx->is_persistent = head->is_persistent;
    hx->has_keepalive_token =
        (head->headers.seen >> MU_H_CONNECTION & 1) &&
        mu_list_has_token(mu_headers_join(a, &head->headers, MU_H_CONNECTION), MU_S("keep-alive"));
    mu_h1_body_begin(hx, head);
    x->wire_in = head_len;
    h->start += (uint32_t)head_len;
    h->x = hx;
    h->state = MU_H1_RUN;
    h->parser = (struct mu_h1_parser){ 0 };
    c->present = x;
    mu_timer_cancel(&c->timer);
    x->is_limited = h->has_place;
    h->has_place = false;
    mu_exchange_score_begin(x);
    return hx;
}

static void give_place(struct mu_conn *c)
{
    if (mu_h1_of(c)->has_place)
        mu_limit_give(c->host);
    mu_h1_of(c)->has_place = false;
}

/** May c's request begin? */
static bool take_place(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);

    if (MU_LIKELY(!c->host->limit) || h->has_place)
        return true;
    h->has_place = mu_limit_take(c->host);
    return h->has_place;
}

/**
 * Keep the whole request that is in the buffer until it may begin; it is parsed anew then. Nobody
 * waits longer than TimeOut.
 */
static enum mu_h1_got hold(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);

    if (!mu_conn_watch(c) ||
        (h->buf_kind == MU_H1_LENT && !mu_h1_buf_to_heap(c, h->n - h->start))) {
        mu_h1_drop_buf(c);
        mu_conn_close(c);
        return MU_H1_CLOSED;
    }
    h->state = MU_H1_HELD;
    mu_conn_count(c, MU_CONN_READING, 'R');
    mu_timer_arm(&c->timer, mu_conn_core(c)->timeout_ms);
    mu_limit_wait(c->host, &h->wait, mu_h1_go);
    return MU_H1_PARKED;
}

void mu_h1_unhold(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);

    mu_timer_cancel(&c->timer);
    h->parser = (struct mu_h1_parser){ 0 };
    h->state = MU_H1_HEAD;
}

/** Out of memory before there is an exchange to say so. */
static enum mu_h1_got no_memory(struct mu_conn *c, struct mu_arena *a)
{
    give_place(c);
    mu_reactor_arena_give_back(c->host->reactor, a);
    MU_LOG(
        NULL, "core", MU_LOG_ERR, "MU0510",
        "no memory for a request; its connection is closed. Lower the number of connections or add memory");
    mu_h1_drop_buf(c);
    mu_conn_close(c);
    return MU_H1_CLOSED;
}

/** The request line, behind empty lines, without its end; {NULL, 0}: it has not come. */
static struct mu_str first_line(const struct mu_h1 *h)
{
    struct mu_str s = { h->buf + h->start, h->n - h->start };
    ssize_t end;

    while (s.n > 0 && (*s.p == '\r' || *s.p == '\n'))
        s = mu_str_sub(s, 1, s.n);
    end = mu_str_chr(s, '\n');
    if (end < 0)
        return MU_STR_NULL;
    s.n = (size_t)end;
    return s.n > 0 && s.p[s.n - 1] == '\r' ? mu_str_sub(s, 0, s.n - 1) : s;
}

/** What the request line alone says, for the log: as if nothing were to follow. */
static void understand_line(struct mu_conn *c, struct mu_arena *a, struct mu_h1_head *head)
{
    struct mu_str line = first_line(mu_h1_of(c)), text = MU_STR_NULL;
    struct mu_h1_parser parser = { 0 };
    enum mu_status status;
    size_t head_len;

    if (line.n > 0)
        text = mu_str_cat(a, line, MU_S("\r\n\r\n"));
    if (text.p)
        (void)!mu_h1_parse(&parser, &mu_conn_core(c)->h1, a, text.p, text.n, head, &head_len,
                           &status);
}

enum mu_h1_got mu_h1_refuse_head(struct mu_conn *c, enum mu_status status, const char *why)
{
    struct mu_arena *a = mu_reactor_arena_borrow(c->host->reactor);
    struct mu_h1_head head = { .version = 1000 };
    struct mu_h1_exchange *hx = NULL;

    if (a) {
        understand_line(c, a, &head);
        hx = begin(c, a, &head, 0);
    }
    if (!hx)
        return no_memory(c, a);
    hx->x.wire_in = mu_h1_of(c)->n - mu_h1_of(c)->start;
    hx->x.bad = status;
    hx->x.bad_reason = why;
    hx->x.wants_close = true;
    return MU_H1_READY;
}

/**
 * Look at the buffer: MU_OK when an exchange was begun, MU_AGAIN when more is needed, MU_LIMIT when
 * it may not begin yet, MU_GONE when c was closed.
 */
static enum mu_rc take_head(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);
    struct mu_arena *a = mu_reactor_arena_borrow(c->host->reactor);
    struct mu_h1_head head;
    struct mu_h1_exchange *hx;
    enum mu_status status;
    const char *problem;
    size_t head_len = 0;
    enum mu_rc rc;

    if (!a) {
        (void)no_memory(c, a);
        return MU_GONE;
    }
    rc = mu_h1_parse(&h->parser, &mu_conn_core(c)->h1, a, h->buf + h->start, h->n - h->start, &head,
                     &head_len, &status);
    if (rc == MU_OK && !take_place(c))
        rc = MU_AGAIN;
    if (rc == MU_AGAIN) {
        mu_reactor_arena_give_back(c->host->reactor, a);
        return head_len > 0 ? MU_LIMIT : rc;
    }
    problem = h->parser.problem;
    hx = rc == MU_NOMEM ? NULL : begin(c, a, &head, head_len);
    if (!hx) {
        (void)no_memory(c, a);
        return MU_GONE;
    }
    if (rc != MU_OK) {
        hx->x.bad = status ? status : MU_400_BAD_REQUEST;
        hx->x.bad_reason = problem;
        hx->x.wants_close = true;
        hx->x.wire_in = h->n - h->start;
    }
    return MU_OK;
}

enum mu_h1_got mu_h1_next(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);
    enum mu_rc rc;
    size_t got;

    for (;;) {
        if (h->n > h->start) {
            rc = take_head(c);
            if (rc == MU_LIMIT)
                return hold(c);
            if (rc != MU_AGAIN)
                return rc == MU_OK ? MU_H1_READY : MU_H1_CLOSED;
        }
        if (!(c->stream.io.ready & (MU_READABLE | MU_HANGUP)))
            return park(c);
        if (!mu_h1_make_room(c)) {
            if (h->cap >= MU_H1_HEAD_MAX)
                return mu_h1_refuse_head(c, MU_431_REQUEST_HEADER_FIELDS_TOO_LARGE,
                                         "head too large");
            break;
        }
        rc = mu_stream_read(&c->stream, h->buf + h->n, h->cap - h->n, &got);
        if (rc == MU_AGAIN)
            return park(c);
        if (rc == MU_EOF && first_line(h).n > 0)
            return mu_h1_refuse_head(c, MU_400_BAD_REQUEST, "head cut short");
        if (rc != MU_OK)
            break;
        h->n += (uint32_t)got;
    }
    mu_h1_drop_buf(c);
    mu_conn_close(c);
    return MU_H1_CLOSED;
}
