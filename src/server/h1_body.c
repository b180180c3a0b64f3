/*
 * h1_body: the source of a request body, by length or chunked, read by the exchange's fiber alone.
 * Bytes that came with the head are used first. A body by length is then read straight into the
 * caller's memory and never beyond its end; a chunked one through the rest of the head's buffer,
 * whose bytes behind the end are the next request's.
 */
#include <server/h1_conn.h>

enum {
    AREA_MIN = 2048,       /* what chunked reading wants behind the head */
    AREA_SIZE = 16 * 1024, /* and what it gets elsewhere when that is not there */
};

void mu_h1_body_begin(struct mu_h1_exchange *x, const struct mu_h1_head *head)
{
    x->body.framing = head->framing;
    x->body.left = head->framing == MU_BODY_LENGTH ? head->content_length : 0;
    x->body.is_done = head->framing == MU_BODY_NONE ||
                      (head->framing == MU_BODY_LENGTH && head->content_length == 0);
}

/** Remember a failure: the connection's input is in no known state any more. */
static enum mu_rc fail(struct mu_h1_exchange *x, enum mu_rc rc)
{
    x->body.failed = rc;
    x->x.wants_close = true;
    return rc;
}

/** When the body, or the next piece of it, is too late; nothing has come since `quiet_ms`. */
static int64_t deadline(struct mu_h1_exchange *x, int64_t quiet_ms)
{
    struct mu_h1_body *b = &x->body;
    const struct mu_req *r = &x->x.req;
    int64_t at = quiet_ms + mu_core_of(r->vhost->base)->timeout_ms;

    if (b->since_ms == 0) {
        b->since_ms = mu_now_ms();
        b->timeouts = mu_conn_read_timeouts(x->x.conn, r->vhost);
    }
    if (b->timeouts && b->timeouts->body_ms > 0) {
        int64_t late =
            b->since_ms + mu_rate_limit_ms(b->timeouts->body_ms, b->timeouts->body_max_ms,
                                           b->timeouts->body_rate, b->received);

        at = late < at ? late : at;
    }
    return at;
}

/**
 * Read from the peer, waiting when `may_wait`. The end of the stream within a body is the peer's
 * leaving.
 */
static enum mu_rc receive(struct mu_h1_exchange *x, void *buf, size_t cap, size_t *got,
                          bool may_wait)
{
    struct mu_conn *c = x->x.conn;
    struct mu_wait_item it = { .io = &c->stream.io, .want = MU_READABLE };
    int64_t at = may_wait ? deadline(x, mu_now_ms()) : 0;
    enum mu_rc rc;

    *got = 0;
    for (;;) {
        if (may_wait && mu_is_cancelled())
            return fail(x, MU_GONE);
        rc = mu_stream_read(&c->stream, buf, cap, got);
        if (rc != MU_AGAIN)
            break;
        if (!may_wait)
            return MU_AGAIN;
        rc = mu_wait(&it, 1, at);
        if (rc != MU_OK)
            return fail(x, rc);
    }
    if (rc != MU_OK)
        return fail(x, MU_GONE);
    x->body.received += *got;
    x->x.wire_in += *got;
    if (may_wait)
        (void)mu_spent(*got); /* cancelled meanwhile: the next read says so */
    return MU_OK;
}

static enum mu_rc done(struct mu_h1_exchange *x)
{
    x->body.is_done = true;
    return MU_EOF;
}

static enum mu_rc read_by_length(struct mu_h1_exchange *x, void *buf, size_t cap, size_t *got,
                                 bool may_wait)
{
    struct mu_h1 *h = mu_h1_of(x->x.conn);
    size_t want = cap < x->body.left ? cap : (size_t)x->body.left;
    enum mu_rc rc = MU_OK;

    if (h->n > h->start) {
        *got = want < h->n - h->start ? want : h->n - h->start;
        memcpy(buf, h->buf + h->start, *got);
        h->start += (uint32_t)*got;
        x->x.wire_in += *got;
    } else {
        rc = receive(x, buf, want, got, may_wait);
    }
    x->body.left -= *got;
    if (rc == MU_OK && x->body.left == 0)
        x->body.is_done = true;
    return rc;
}

/**
 * More chunked input, into the connection's buffer behind the head or into an area of the exchange.
 */
static enum mu_rc refill(struct mu_h1_exchange *x, bool may_wait)
{
    struct mu_h1 *h = mu_h1_of(x->x.conn);
    struct mu_h1_body *b = &x->body;
    enum mu_rc rc;
    size_t got;

    if (!b->area) {
        bool has_room = h->cap - h->n >= AREA_MIN;

        b->area = has_room ? h->buf + h->n : mu_arena_alloc(x->x.req.arena, AREA_SIZE);
        b->area_cap = has_room ? h->cap - h->n : AREA_SIZE;
        if (!b->area)
            return fail(x, MU_NOMEM);
    }
    rc = receive(x, b->area, b->area_cap, &got, may_wait);
    b->area_start = 0;
    b->area_n = (uint32_t)got;
    return rc;
}

/** Decode at most `cap` input bytes, so that what comes out fits as well. */
static enum mu_rc decode(struct mu_h1_exchange *x, const char *in, size_t n, struct mu_str *data,
                         size_t *used)
{
    enum mu_rc rc =
        mu_chunked_decode(&x->body.chunked, in, n, data, used, x->x.req.arena, &x->x.req.trailers);

    if (rc == MU_OK || rc == MU_EOF)
        return rc;
    MU_LOG(&x->x.req.log, "core", MU_LOG_INFO, "MU0515",
           "chunked request body refused: %s; the connection is closed",
           rc == MU_LIMIT ? "a line is too long" : "malformed framing");
    return fail(x, rc == MU_LIMIT ? MU_BAD : rc); /* 413 is for the body's length */
}

static enum mu_rc read_chunked(struct mu_h1_exchange *x, void *buf, size_t cap, size_t *got,
                               bool may_wait)
{
    struct mu_h1 *h = mu_h1_of(x->x.conn);
    struct mu_h1_body *b = &x->body;
    struct mu_str data;
    enum mu_rc rc;

    for (;;) {
        bool is_first = h->n > h->start && !b->area;
        const char *in = is_first ? h->buf + h->start : b->area + b->area_start;
        size_t have = is_first ? h->n - h->start : b->area_n - b->area_start;
        size_t used = 0;

        if (have == 0) {
            rc = refill(x, may_wait);
            if (rc != MU_OK)
                return rc;
            continue;
        }
        rc = decode(x, in, have < cap ? have : cap, &data, &used);
        if (is_first) {
            h->start += (uint32_t)used;
            x->x.wire_in += used;
        } else {
            b->area_start += (uint32_t)used;
        }
        if (rc != MU_OK && rc != MU_EOF)
            return rc;
        if (data.n > 0)
            memcpy(buf, data.p, data.n);
        *got = data.n;
        if (rc == MU_EOF)
            (void)done(x);
        if (data.n > 0)
            return MU_OK;
        if (rc == MU_EOF)
            return MU_EOF;
    }
}

static enum mu_rc read_some(struct mu_h1_exchange *x, void *buf, size_t cap, size_t *got,
                            bool may_wait)
{
    struct mu_h1_body *b = &x->body;

    *got = 0;
    if (b->failed != MU_OK)
        return b->failed;
    if (b->is_done)
        return MU_EOF;
    return b->framing == MU_BODY_CHUNKED ? read_chunked(x, buf, cap, got, may_wait)
                                         : read_by_length(x, buf, cap, got, may_wait);
}

enum mu_rc mu_h1_body_read(struct mu_exchange *x, void *buf, size_t cap, size_t *got)
{
    *got = 0;
    if (cap == 0)
        return MU_BAD;
    return read_some(mu_h1_exchange_of(x), buf, cap, got, true);
}

enum mu_rc mu_h1_body_try_read(struct mu_exchange *mx, void *buf, size_t cap, size_t *got,
                               struct mu_wait_item *item, int64_t *deadline_ms)
{
    struct mu_h1_exchange *x = mu_h1_exchange_of(mx);
    enum mu_rc rc;

    *got = 0;
    if (cap == 0)
        return MU_BAD;
    rc = mu_is_cancelled() ? fail(x, MU_GONE) : read_some(x, buf, cap, got, false);
    if (rc != MU_AGAIN) {
        x->body.quiet_ms = 0;
        return rc;
    }
    if (x->body.quiet_ms == 0)
        x->body.quiet_ms = mu_now_ms();
    *item = (struct mu_wait_item){ .io = &mx->conn->stream.io, .want = MU_READABLE };
    *deadline_ms = deadline(x, x->body.quiet_ms);
    return mu_now_ms() >= *deadline_ms ? fail(x, MU_TIMEOUT) : MU_AGAIN;
}

bool mu_h1_body_is_skippable(const struct mu_h1_exchange *x)
{
    /* Nobody told the client to send it, or it is more than a new connection costs. */
    return x->body.is_done || (!x->x.expects_continue && (x->body.framing != MU_BODY_LENGTH ||
                                                          x->body.left <= MU_H1_SKIP_MAX));
}

enum mu_rc mu_h1_body_skip(struct mu_h1_exchange *x)
{
    char scrap[4096];
    enum mu_rc rc = MU_OK;
    size_t got;

    if (x->body.is_done)
        return MU_OK;
    if (!mu_h1_body_is_skippable(x))
        return MU_LIMIT;
    while (rc == MU_OK && x->body.skipped <= MU_H1_SKIP_MAX) {
        rc = read_some(x, scrap, sizeof(scrap), &got, false);
        x->body.skipped += got;
    }
    return rc == MU_OK ? MU_LIMIT : rc == MU_EOF ? MU_OK : rc;
}

/** Does chunked input end before the body does, or exactly there? Nothing is used up. */
static bool is_within_chunks(struct mu_chunked state, const char *in, size_t n)
{
    struct mu_str data;
    size_t used = 0;
    enum mu_rc rc = MU_OK;

    while (n > 0 && rc == MU_OK) {
        rc = mu_chunked_decode(&state, in, n, &data, &used, NULL, NULL);
        in += used;
        n -= used;
    }
    return n == 0 && (rc == MU_OK || rc == MU_EOF);
}

bool mu_h1_body_covers_input(const struct mu_h1_exchange *x)
{
    const struct mu_h1 *h = mu_h1_of(x->x.conn);
    const struct mu_h1_body *b = &x->body;
    size_t in_buf = h->n - h->start, in_area = mu_h1_body_excess(x);

    if (b->is_done)
        return in_buf + in_area == 0;
    if (b->framing == MU_BODY_LENGTH)
        return in_buf <= b->left;
    return in_buf > 0 ? is_within_chunks(b->chunked, h->buf + h->start, in_buf)
                      : is_within_chunks(b->chunked, b->area + b->area_start, in_area);
}

uint32_t mu_h1_body_excess(const struct mu_h1_exchange *x)
{
    return x->body.area ? x->body.area_n - x->body.area_start : 0;
}

bool mu_h1_body_end(struct mu_h1_exchange *x)
{
    struct mu_h1 *h = mu_h1_of(x->x.conn);
    struct mu_h1_body *b = &x->body;
    uint32_t n = mu_h1_body_excess(x);

    if (n == 0)
        return true;
    assert(h->start == h->n);
    if (n > h->cap) {
        if (!mu_h1_buf_set(x->x.conn, b->area + b->area_start, n, n))
            return false;
    } else {
        memmove(h->buf, b->area + b->area_start, n);
        h->start = 0;
        h->n = n;
    }
    b->area = NULL;
    return true;
}
