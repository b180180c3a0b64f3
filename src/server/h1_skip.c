/*
 * h1_skip: a request's body that nobody read, behind an answer that is out and logged. The reactor
 * drops it as it comes, for as long as a body may take, so that thousands of clients that send slowly
 * what is not wanted hold neither fibers nor exchanges; then the next request is looked for. What
 * turns out to be too long, too late or broken costs the connection.
 */
#include <server/h1_conn.h>

#include <base/fault.h>
#include <stdlib.h>

enum { READS_A_TURN = 16 };

struct mu_h1_skip {
    enum mu_framing framing;
    uint64_t left; /**< MU_BODY_LENGTH */
    struct mu_chunked chunked;
    uint64_t skipped, received;
    int64_t since_ms, read_ms; /**< of the body's first read; of the last */
    int64_t timeout_ms;
    const struct mu_read_timeouts *timeouts;
};

struct mu_h1_skip *mu_h1_skip_make(const struct mu_h1_exchange *x)
{
    const struct mu_h1_body *b = &x->body;
    struct mu_h1_skip *s = mu_alloc_fails() ? NULL : malloc(sizeof(*s));

    if (!s)
        return NULL;
    *s = (struct mu_h1_skip){
        .framing = b->framing,
        .left = b->left,
        .chunked = b->chunked,
        .skipped = b->skipped,
        .received = b->received,
        .since_ms = b->since_ms ? b->since_ms : mu_now_ms(),
        .read_ms = mu_now_ms(),
        .timeout_ms = mu_core_of(x->x.req.vhost->base)->timeout_ms,
        .timeouts = mu_conn_read_timeouts(x->x.conn, x->x.req.vhost),
    };
    return s;
}

void mu_h1_skip_end(struct mu_h1 *h)
{
    free(h->skip);
    h->skip = NULL;
}

static int64_t ms_left(const struct mu_h1_skip *s)
{
    int64_t late = s->read_ms + s->timeout_ms, at;

    if (s->timeouts && s->timeouts->body_ms > 0) {
        at = s->since_ms + mu_rate_limit_ms(s->timeouts->body_ms, s->timeouts->body_max_ms,
                                            s->timeouts->body_rate, s->received);
        late = at < late ? at : late;
    }
    return late - mu_now_ms();
}

/** Drop of the buffer what belongs to the body. MU_OK: more is to come; MU_EOF: that was all. */
static enum mu_rc drop(struct mu_h1 *h)
{
    struct mu_h1_skip *s = h->skip;
    enum mu_rc rc = MU_OK;

    while (h->start < h->n && rc == MU_OK) {
        size_t have = h->n - h->start, used = have;
        struct mu_str data = { NULL, 0 };

        if (s->framing == MU_BODY_LENGTH) {
            used = data.n = have < s->left ? have : (size_t)s->left;
            s->left -= used;
            rc = s->left == 0 ? MU_EOF : MU_OK;
        } else {
            rc = mu_chunked_decode(&s->chunked, h->buf + h->start, have, &data, &used, NULL, NULL);
        }
        h->start += (uint32_t)used;
        s->skipped += data.n;
        if (rc == MU_OK && s->skipped > MU_H1_SKIP_MAX)
            rc = MU_LIMIT;
    }
    return rc;
}

static enum mu_rc receive(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);
    enum mu_rc rc;
    size_t got;

    if (!mu_h1_make_room(c))
        return MU_NOMEM;
    rc = mu_stream_read(&c->stream, h->buf + h->n, h->cap - h->n, &got);
    if (rc != MU_OK)
        return rc == MU_AGAIN ? rc : MU_GONE;
    h->n += (uint32_t)got;
    h->skip->received += got;
    h->skip->read_ms = mu_now_ms();
    return MU_OK;
}

/** Nothing more to read now (MU_AGAIN), or others have their turn first (MU_OK). */
static enum mu_rc park(struct mu_conn *c, enum mu_rc why)
{
    struct mu_h1 *h = mu_h1_of(c);
    int64_t ms = ms_left(h->skip);

    mu_h1_drop_buf(c);
    if (ms <= 0)
        return MU_TIMEOUT;
    if (!mu_conn_watch(c))
        return MU_NOMEM;
    h->wants_turn = why == MU_OK;
    mu_timer_arm(&c->timer, h->wants_turn ? 0 : ms);
    return MU_AGAIN;
}

/** MU_EOF: done; MU_AGAIN: the reactor goes on; else the connection cannot. */
static enum mu_rc skip(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);
    enum mu_rc rc = drop(h);

    for (int i = 0; rc == MU_OK && i < READS_A_TURN; i++) {
        rc = (c->stream.io.ready & (MU_READABLE | MU_HANGUP)) ? receive(c) : MU_AGAIN;
        if (rc == MU_OK)
            rc = drop(h);
    }
    return rc == MU_OK || rc == MU_AGAIN ? park(c, rc) : rc;
}

static bool go_on(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);
    enum mu_rc rc = skip(c);

    if (rc == MU_AGAIN)
        return false;
    mu_timer_cancel(&c->timer);
    mu_h1_skip_end(h);
    h->wants_turn = false;
    h->state = MU_H1_IDLE;
    if (rc != MU_EOF)
        mu_h1_end(c, rc != MU_GONE); /* the answer may be on its way still */
    return rc == MU_EOF;
}

bool mu_h1_skip_begin(struct mu_conn *c, struct mu_h1_skip *s)
{
    struct mu_h1 *h = mu_h1_of(c);

    h->skip = s;
    h->state = MU_H1_SKIP;
    mu_conn_count(c, MU_CONN_READING, 'R');
    return go_on(c);
}

bool mu_h1_skip_ready(struct mu_conn *c)
{
    return go_on(c);
}

bool mu_h1_skip_timeout(struct mu_conn *c)
{
    return go_on(c); /* its turn, or nothing comes and park() finds that it is too late */
}
