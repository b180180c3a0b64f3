/*
 * body: a request's body as handlers read it, whatever protocol delivers it: 100 Continue before
 * the first byte, LimitRequestBody on the announced length and on what really comes, and home from
 * a worker thread when the handler is offloaded.
 */
#include <server/core_conf.h>
#include <server/exchange.h>
#include <server/spool.h>

#include <muster/wait.h>

enum { COLLECT_BLOCK = 64 * 1024 };

/** A body read ahead of its handler: the first block in memory, the rest in a file. */
struct mu_collected_body {
    char *mem;
    size_t mem_n;
    struct mu_spool file;
    uint64_t off;   /**< the handler has had so much */
    enum mu_rc end; /**< what follows the last byte: MU_EOF, or what went wrong */
};

struct call {
    struct mu_req *r;
    void *buf;
    size_t cap;
    size_t *got;
    enum mu_rc rc;
};

static enum mu_rc over_limit(struct mu_req *r, uint64_t limit)
{
    MU_LOG(&r->log, "core", MU_LOG_ERR, "MU0550",
           "the request body is larger than LimitRequestBody allows (%llu bytes)",
           (unsigned long long)limit);
    mu_exchange_of(r)->wants_close = true;
    return MU_LIMIT;
}

/** Tell a client that waits for it to go on. */
static enum mu_rc say_continue(struct mu_exchange *x)
{
    x->expects_continue = false;
    return x->ops->interim ? x->ops->interim(x, MU_100_CONTINUE, NULL) : MU_OK;
}

/** What to wait for when nothing is there, or NULL: the protocol waits by itself. */
struct beside {
    struct mu_wait_item *item;
    int64_t *deadline_ms;
};

static enum mu_rc read_some(struct mu_req *r, void *buf, size_t cap, size_t *got,
                            const struct beside *beside)
{
    struct mu_exchange *x = mu_exchange_of(r);
    uint64_t limit = (uint64_t)mu_core_of(r->conf)->limit_body;
    enum mu_rc rc;

    *got = 0;
    if (limit > 0 &&
        (x->body_taken > limit || (x->req.body_len > 0 && (uint64_t)x->req.body_len > limit)))
        return over_limit(r, limit);
    if (x->expects_continue) {
        rc = say_continue(x);
        if (rc != MU_OK)
            return rc;
    }
    if (beside && x->ops->body_try_read)
        rc = x->ops->body_try_read(x, buf, cap, got, beside->item, beside->deadline_ms);
    else
        rc = x->ops->body_read(x, buf, cap, got);
    x->body_taken += *got;
    if (rc == MU_OK && limit > 0 && x->body_taken > limit) {
        *got = 0;
        return over_limit(r, limit);
    }
    return rc;
}

static enum mu_rc read_home(struct mu_req *r, void *buf, size_t cap, size_t *got)
{
    return read_some(r, buf, cap, got, NULL);
}

/** Reads the file from where the handler runs; it may be waited for on a worker thread. */
static enum mu_rc read_collected(struct mu_collected_body *b, void *buf, size_t cap, size_t *got)
{
    enum mu_rc rc = MU_OK;

    if (b->off < b->mem_n) {
        *got = b->mem_n - b->off < cap ? (size_t)(b->mem_n - b->off) : cap;
        memcpy(buf, b->mem + b->off, *got);
    } else if (b->off < b->mem_n + b->file.len) {
        uint64_t left = b->mem_n + b->file.len - b->off;

        rc = mu_file_pread(b->file.fd, buf, left < cap ? (size_t)left : cap,
                           (off_t)(b->off - b->mem_n), got);
        rc = rc == MU_EOF ? MU_EIO : rc;
    } else {
        return b->end;
    }
    b->off += *got;
    return rc;
}

struct spool_call {
    struct mu_spool *file;
    struct mu_str data;
    enum mu_rc rc;
};

static void spool_block(void *arg)
{
    struct spool_call *c = arg;
    uint64_t off;

    c->rc = mu_spool_append(c->file, c->data, &off);
}

/** Fill `buf`; fewer bytes mean that *end is what follows. */
static size_t read_block(struct mu_req *r, char *buf, enum mu_rc *end)
{
    size_t n = 0, got;

    *end = MU_OK;
    while (n < COLLECT_BLOCK && *end == MU_OK) {
        *end = read_home(r, buf + n, COLLECT_BLOCK - n, &got);
        n += got;
    }
    return n;
}

void mu_body_collect(struct mu_req *r)
{
    struct mu_exchange *x = mu_exchange_of(r);
    struct mu_collected_body *b;
    struct spool_call c;
    char *block;

    if (r->main || !x->req.has_body || x->body_taken > 0 || x->collected || x->host->is_single)
        return;
    b = mu_new(x->req.arena, struct mu_collected_body);
    block = mu_arena_alloc(x->req.arena, COLLECT_BLOCK);
    if (!b || !block)
        return; /* it is read the slow way */
    mu_spool_init(&b->file, x->req.arena);
    b->mem = block;
    b->mem_n = read_block(r, block, &b->end);
    block = b->end == MU_OK ? mu_arena_alloc(x->req.arena, COLLECT_BLOCK) : NULL;
    if (b->end == MU_OK && !block)
        b->end = MU_NOMEM;
    while (b->end == MU_OK) {
        c = (struct spool_call){ .file = &b->file,
                                 .data = { block, read_block(r, block, &b->end) } };
        mu_offload_file(spool_block, &c);
        if (c.rc != MU_OK)
            b->end = c.rc;
    }
    x->collected = b;
}

static void read_call(void *arg)
{
    struct call *c = arg;

    c->rc = read_home(c->r, c->buf, c->cap, c->got);
}

enum mu_rc mu_body_read(struct mu_req *r, void *buf, size_t cap, size_t *got)
{
    struct call c = { .r = r, .buf = buf, .cap = cap, .got = got };

    *got = 0;
    if (r->main || !mu_exchange_of(r)->req.has_body)
        return MU_EOF; /* a sub-request has no body of its own */
    if (mu_exchange_of(r)->collected)
        return read_collected(mu_exchange_of(r)->collected, buf, cap, got);
    if (mu_is_offloaded())
        mu_call_home(read_call, &c);
    else
        read_call(&c);
    return c.rc;
}

enum mu_rc mu_body_try_read(struct mu_req *r, void *buf, size_t cap, size_t *got,
                            struct mu_wait_item *item, int64_t *deadline_ms)
{
    struct beside beside = { .item = item, .deadline_ms = deadline_ms };

    *got = 0;
    *deadline_ms = MU_NEVER;
    if (r->main || !mu_exchange_of(r)->req.has_body)
        return MU_EOF;
    if (mu_exchange_of(r)->collected)
        return read_collected(mu_exchange_of(r)->collected, buf, cap, got);
    return read_some(r, buf, cap, got, &beside);
}

enum mu_rc mu_body_discard(struct mu_req *r)
{
    char scrap[8192];
    enum mu_rc rc;
    size_t got;

    do
        rc = mu_body_read(r, scrap, sizeof(scrap), &got);
    while (rc == MU_OK);
    return rc == MU_EOF ? MU_OK : rc;
}

enum mu_status mu_body_status(enum mu_rc rc)
{
    switch (rc) {
    case MU_OK:
    case MU_EOF:
        return MU_STATUS_NONE;
    case MU_TIMEOUT:
        return MU_408_REQUEST_TIMEOUT;
    case MU_LIMIT:
        return MU_413_CONTENT_TOO_LARGE;
    case MU_NOMEM:
        return MU_503_SERVICE_UNAVAILABLE;
    case MU_GONE:
    case MU_BAD:
        return MU_400_BAD_REQUEST;
    default:
        return MU_500_INTERNAL_SERVER_ERROR;
    }
}
