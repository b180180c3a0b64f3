/*
 * body: a request's body as handlers read it, whatever protocol delivers it: 100 Continue before
 * the first byte, LimitRequestBody on the announced length and on what really comes, and home from
 * a worker thread when the handler is offloaded. On request, and before a handler is offloaded, all
 * of it is read into memory and a temporary file first.
 */
#include <server/core_conf.h>
#include <server/exchange.h>
#include <server/spool.h>

#include <errno.h>
#include <muster/str.h>
#include <muster/wait.h>

enum {
    COLLECT_BLOCK = 64 * 1024,
    DROP_MAX = 64 * 1024, /* of a body that nobody wants, looked at before it is answered */
};

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

/** A sub-request has none of its own, nor has an error page. */
static bool has_body(const struct mu_req *r)
{
    return !r->main && r->has_body;
}

static enum mu_rc over_limit(struct mu_req *r, uint64_t limit)
{
    MU_LOG(&r->log, "core", MU_LOG_ERR, "MU0550",
           "the request body is larger than LimitRequestBody allows (%llu bytes)",
           (unsigned long long)limit);
    mu_exchange_of(r)->wants_close = true;
    return MU_LIMIT;
}

/** By what was announced, or by what has come. */
static bool is_over(const struct mu_exchange *x, uint64_t limit)
{
    return limit > 0 &&
           (x->body_taken > limit || (x->req.body_len > 0 && (uint64_t)x->req.body_len > limit));
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
    if (is_over(x, limit))
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
    int err;
};

static void spool_block(void *arg)
{
    struct spool_call *c = arg;
    uint64_t off;

    c->rc = mu_spool_append(c->file, c->data, &off);
    c->err = errno;
}

static enum mu_rc to_file(struct mu_req *r, struct mu_spool *file, struct mu_str data)
{
    struct spool_call c = { .file = file, .data = data };

    mu_offload_file(spool_block, &c);
    if (c.rc != MU_OK)
        MU_LOG(&r->log, "core", MU_LOG_ERR, "MU0551",
               "cannot keep the request body in the temporary folder: %s; make room there, or set "
               "TMPDIR to another one",
               strerror(c.err));
    return c.rc;
}

/** Fill `buf`; fewer bytes mean that *end is what follows. */
static size_t read_block(struct mu_req *r, char *buf, size_t cap, enum mu_rc *end)
{
    size_t n = 0, got;

    *end = MU_OK;
    while (n < cap && *end == MU_OK) {
        *end = read_home(r, buf + n, cap - n, &got);
        n += got;
    }
    return n;
}

/** What stays in memory: all of a small body, and room to see its end. */
static size_t first_block(const struct mu_exchange *x)
{
    int64_t len = x->req.body_len;

    return len >= 0 && len < COLLECT_BLOCK ? (size_t)len + 1 : COLLECT_BLOCK;
}

/** All that is left of the body. Its end, good or bad, is kept for whoever reads it. */
static enum mu_rc collect(struct mu_req *r)
{
    struct mu_exchange *x = mu_exchange_of(r);
    struct mu_collected_body *b = mu_new(x->req.arena, struct mu_collected_body);
    size_t cap = first_block(x), n;
    char *block = mu_arena_alloc(x->req.arena, cap);

    if (!b || !block)
        return MU_NOMEM;
    mu_spool_init(&b->file, x->req.arena);
    b->mem = block;
    b->mem_n = read_block(r, block, cap, &b->end);
    block = b->end == MU_OK ? mu_arena_alloc(x->req.arena, COLLECT_BLOCK) : NULL;
    if (b->end == MU_OK && !block)
        b->end = MU_NOMEM;
    while (b->end == MU_OK) {
        n = read_block(r, block, COLLECT_BLOCK, &b->end);
        if (n > 0 && to_file(r, &b->file, mu_str_n(block, n)) != MU_OK)
            b->end = MU_EIO;
    }
    x->collected = b;
    return MU_OK;
}

/** Its length is known now, whatever had been announced. */
static void tell_length(struct mu_req *r, uint64_t len)
{
    for (; r; r = r->prev)
        r->body_len = (int64_t)len;
}

static enum mu_rc spool_home(struct mu_req *r, uint64_t *len)
{
    struct mu_exchange *x = mu_exchange_of(r);
    struct mu_collected_body *b;

    *len = 0;
    if (!has_body(r))
        return MU_OK;
    if (!x->collected && collect(r) != MU_OK)
        return MU_NOMEM;
    b = x->collected;
    if (b->end != MU_EOF)
        return b->end;
    b->off = 0;
    *len = b->mem_n + b->file.len;
    tell_length(r, *len);
    return MU_OK;
}

struct len_call {
    struct mu_req *r;
    uint64_t *len;
    enum mu_rc rc;
};

static void spool_call(void *arg)
{
    struct len_call *c = arg;

    c->rc = spool_home(c->r, c->len);
}

enum mu_rc mu_body_spool(struct mu_req *r, uint64_t *len)
{
    struct len_call c = { .r = r, .len = len };

    mu_call_home(spool_call, &c);
    return c.rc;
}

void mu_body_collect(struct mu_req *r)
{
    struct mu_exchange *x = mu_exchange_of(r);

    /* Without memory for it, the handler reads the body the slow way. */
    if (has_body(r) && !x->collected && x->body_taken == 0 && !x->host->is_single)
        (void)!collect(r);
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
    if (!has_body(r))
        return MU_EOF;
    if (mu_exchange_of(r)->collected)
        return read_collected(mu_exchange_of(r)->collected, buf, cap, got);
    mu_call_home(read_call, &c);
    return c.rc;
}

enum mu_rc mu_body_try_read(struct mu_req *r, void *buf, size_t cap, size_t *got,
                            struct mu_wait_item *item, int64_t *deadline_ms)
{
    struct beside beside = { .item = item, .deadline_ms = deadline_ms };

    *got = 0;
    *deadline_ms = MU_NEVER;
    if (!has_body(r))
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

/** What has arrived, as if it had been read; MU_AGAIN: the rest is still to come, or is left. */
static enum mu_rc drop_home(struct mu_req *r)
{
    struct mu_exchange *x = mu_exchange_of(r);
    uint64_t limit = (uint64_t)mu_core_of(r->conf)->limit_body, most = x->body_taken + DROP_MAX;
    enum mu_rc rc = MU_OK;
    struct mu_wait_item item;
    int64_t deadline_ms;
    char scrap[4096];
    size_t got;

    if (is_over(x, limit))
        return over_limit(r, limit);
    x->is_body_dropped = true;
    if (x->expects_continue && x->req.body_len < DROP_MAX)
        rc = say_continue(x);
    while (rc == MU_OK && !x->expects_continue && x->body_taken < most) {
        rc = x->ops->body_try_read(x, scrap, sizeof(scrap), &got, &item, &deadline_ms);
        x->body_taken += got;
        if (is_over(x, limit))
            return over_limit(r, limit);
    }
    return rc;
}

static void drop_call(void *arg)
{
    struct call *c = arg;

    c->rc = drop_home(c->r);
}

enum mu_rc mu_body_drop(struct mu_req *r)
{
    struct mu_exchange *x = mu_exchange_of(r);
    struct call c = { .r = r };

    if (!has_body(r) || x->collected)
        return MU_OK;
    if (!x->ops->body_try_read || mu_reactor_has_fibers(x->host->reactor))
        return mu_body_discard(r);
    mu_call_home(drop_call, &c);
    return c.rc == MU_EOF || c.rc == MU_AGAIN ? MU_OK : c.rc;
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
