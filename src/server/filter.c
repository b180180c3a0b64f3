/*
 * filter: the output chain, from handler to protocol, and the gathering of small writes in front of
 * it. A filter is given chunks and calls the next; behind the last one stands the exchange's
 * protocol. Offloaded handlers run the chain on their worker thread; the protocol is always called
 * at home, on the exchange's fiber.
 */
#include <server/exchange.h>

#include <base/fault.h>
#include <muster/wait.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { GATHER = 8 * 1024, FEW_CHUNKS = 8 };

/** One write on its way through the chain, for where it changes threads. */
struct call {
    struct mu_filter *f;
    struct mu_req *r;
    const struct mu_chunk *chunks;
    size_t n;
    bool is_last;
    enum mu_rc rc;
};

enum mu_rc mu_filter_add(struct mu_req *r, const struct mu_filter_type *type, void *ctx)
{
    struct mu_filter **at = &r->output;
    struct mu_filter *f = mu_new(r->arena, struct mu_filter);

    if (!f)
        return MU_NOMEM;
    while (*at && (*at)->type->level < type->level)
        at = &(*at)->next;
    *f = (struct mu_filter){ .type = type, .next = *at, .r = r, .ctx = ctx };
    *at = f;
    return MU_OK;
}

static uint64_t body_bytes(const struct mu_chunk *chunks, size_t n)
{
    uint64_t total = 0;

    for (size_t i = 0; i < n; i++)
        total += chunks[i].kind == MU_CHUNK_MEM    ? chunks[i].mem.n
                 : chunks[i].kind == MU_CHUNK_FILE ? chunks[i].len
                                                   : 0;
    return total;
}

/** A head that must not be sent: the answer is an error page instead, and complete. */
static void refuse_answer(struct call *c, struct mu_req *r)
{
    struct mu_exchange *x = mu_exchange_of(r);
    struct mu_chunk page = { .kind = MU_CHUNK_MEM, .is_exchange_owned = true, .fd = -1 };

    mu_answer_forget(r);
    page.mem = mu_error_page(r);
    r->content_length = (int64_t)page.mem.n;
    c->rc = x->ops->write(x, &page, 1, true);
    r->body_sent = x->req.body_sent = r->is_head ? 0 : page.mem.n;
    if (c->rc == MU_OK)
        c->rc = MU_BAD;
}

/** The end of the chain: into the protocol. On the exchange's fiber. */
static void to_protocol(void *arg)
{
    struct call *c = arg;
    struct mu_exchange *x = mu_exchange_of(c->r);
    uint64_t bytes = body_bytes(c->chunks, c->n);
    struct mu_req *r = mu_exchange_answer(x);
    bool has_body;

    if (!x->is_head_sent && MU_UNLIKELY(!mu_answer_is_sane(r))) {
        refuse_answer(c, r);
        return;
    }
    /* A body that is known in full before the head has a length, whoever made it. */
    has_body = !r->is_head && !mu_status_has_no_body(r->status);
    if (!x->is_head_sent && c->is_last && r->content_length < 0 && has_body)
        r->content_length = (int64_t)bytes;
    c->rc = x->ops->write(x, c->chunks, c->n, c->is_last);
    if (has_body && c->rc == MU_OK) {
        r->body_sent += bytes;
        if (r != &x->req)
            x->req.body_sent += bytes;
    }
}

static bool has_flush(const struct mu_chunk *chunks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (chunks[i].kind == MU_CHUNK_FLUSH)
            return true;
    }
    return false;
}

static enum mu_rc chain_end(struct mu_req *r, const struct mu_chunk *chunks, size_t n, bool is_last)
{
    /* A sub-request's end is not the end of what its body is part of. */
    struct call c = { .r = r, .chunks = chunks, .n = n, .is_last = is_last && !r->main };
    struct mu_exchange *x = mu_exchange_of(r);

    if (n == 0 && !c.is_last)
        return MU_OK;
    /* A worker thread is not to be held by a slow client, nor is who asked for spooling, but to
     * flush. */
    x->must_not_wait = mu_is_offloaded() || (x->is_spooling && !has_flush(chunks, n));
    mu_call_home(to_protocol, &c);
    x->must_not_wait = false;
    return c.rc;
}

static void filter_run(void *arg)
{
    struct call *c = arg;

    c->rc = c->f->type->write(c->f, c->chunks, c->n, c->is_last);
}

/** Give to filter `f`, or to the protocol when there is none. */
static enum mu_rc give(struct mu_filter *f, struct mu_req *r, const struct mu_chunk *chunks,
                       size_t n, bool is_last)
{
    struct call c = { .f = f, .r = r, .chunks = chunks, .n = n, .is_last = is_last };

    if (!f)
        return chain_end(r, chunks, n, is_last);
    if ((f->type->may_block || f->type->is_costly) && !mu_is_offloaded())
        mu_offload(filter_run, &c);
    else
        filter_run(&c);
    return c.rc;
}

enum mu_rc mu_filter_next(struct mu_filter *f, const struct mu_chunk *chunks, size_t n,
                          bool is_last)
{
    return give(f->next, f->r, chunks, n, is_last);
}

/**
 * Take what was gathered for `r`'s chain as a chunk. The bytes stay in place until the next
 * gathering.
 */
static bool take_gathered(struct mu_exchange *x, struct mu_chunk *chunk)
{
    if (x->gather.n == 0)
        return false;
    *chunk = (struct mu_chunk){ .kind = MU_CHUNK_MEM, .mem = mu_buf_str(&x->gather) };
    x->gather.n = 0;
    return true;
}

/** Send what was gathered through the chain it was meant for. */
static enum mu_rc flush_gathered(struct mu_exchange *x)
{
    struct mu_chunk chunk;

    if (!take_gathered(x, &chunk))
        return MU_OK;
    return give(x->gather_req->output, x->gather_req, &chunk, 1, false);
}

/** The gathered bytes and `chunks` in one piece, so that a small answer is one call. */
static enum mu_rc send_joined(struct mu_req *r, const struct mu_chunk *chunks, size_t n,
                              bool is_last)
{
    struct mu_exchange *x = mu_exchange_of(r);
    struct mu_chunk all[FEW_CHUNKS + 1];

    (void)take_gathered(x, &all[0]);
    /* The buffer is the exchange's, and behind the last chunk nothing is gathered any more. */
    all[0].is_exchange_owned = is_last && !r->main;
    if (n > 0)
        memcpy(all + 1, chunks, n * sizeof(*chunks));
    return give(r->output, r, all, n + 1, is_last);
}

enum mu_rc mu_resp_chunks(struct mu_req *r, const struct mu_chunk *chunks, size_t n, bool is_last)
{
    struct mu_exchange *x = mu_exchange_of(r);
    enum mu_rc rc;

    if (MU_LIKELY(x->gather.n == 0))
        return give(r->output, r, chunks, n, is_last);
    if (x->gather_req == r && n <= FEW_CHUNKS)
        return send_joined(r, chunks, n, is_last);
    rc = flush_gathered(x);
    return rc == MU_OK ? give(r->output, r, chunks, n, is_last) : rc;
}

/** Make `r` the one whose bytes are gathered, with room for `n` more. */
static enum mu_rc gather_begin(struct mu_exchange *x, struct mu_req *r, size_t n)
{
    enum mu_rc rc = MU_OK;

    if (x->gather_req != r || x->gather.n + n > GATHER)
        rc = flush_gathered(x);
    x->gather_req = r;
    if (rc != MU_OK || n > GATHER || x->gather.cap >= GATHER)
        return rc;
    return mu_buf_reserve(&x->gather, GATHER) ? MU_OK : MU_NOMEM;
}

enum mu_rc mu_resp_write(struct mu_req *r, struct mu_str data)
{
    struct mu_exchange *x = mu_exchange_of(r);
    struct mu_chunk chunk = { .kind = MU_CHUNK_MEM, .mem = data };
    enum mu_rc rc;

    if (x->is_aborted)
        return MU_GONE;
    if (data.n == 0)
        return MU_OK;
    if (data.n > GATHER / 2)
        return mu_resp_chunks(r, &chunk, 1, false);
    rc = gather_begin(x, r, data.n);
    if (rc == MU_OK)
        mu_buf_add(&x->gather, data);
    return rc;
}

enum mu_rc mu_resp_printf(struct mu_req *r, const char *fmt, ...)
{
    char text[512], *long_text = NULL;
    enum mu_rc rc;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0)
        return MU_BAD;
    if ((size_t)n >= sizeof(text)) {
        long_text = mu_alloc_fails() ? NULL : malloc((size_t)n + 1);
        if (!long_text)
            return MU_NOMEM;
        va_start(ap, fmt);
        (void)vsnprintf(long_text, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    rc = mu_resp_write(r, (struct mu_str){ long_text ? long_text : text, (size_t)n });
    free(long_text);
    return rc;
}

enum mu_rc mu_resp_flush(struct mu_req *r)
{
    const struct mu_chunk flush = { .kind = MU_CHUNK_FLUSH };

    return mu_resp_chunks(r, &flush, 1, false);
}
