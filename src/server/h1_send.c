/*
 * h1_send: chunks on their way to the socket. Memory is gathered into one call, a file follows by
 * sendfile behind MSG_MORE. Who may wait, waits for room; the end of an answer, and what is written
 * by who must not wait (h1_keep.c), is left pending instead: the reactor sends it later (state
 * FLUSH), so that a slow client holds neither fiber nor thread.
 */
#include <server/h1_conn.h>

enum {
    IOV_BATCH = 64,
    COPY_MAX = 16 * 1024, /* of borrowed bytes kept for the flush instead of holding the fiber */
    SLICE =
        2 * 1024 *
        1024, /* sent in one go to a client that takes everything; then others have their turn */
};

enum mu_rc mu_h1_give_up(struct mu_h1_exchange *x, enum mu_rc rc)
{
    x->x.is_aborted = true;
    x->x.wants_close = true;
    x->x.is_cut_here = rc != MU_GONE && rc != MU_TIMEOUT;
    return rc;
}

uint64_t mu_h1_chunk_len(const struct mu_chunk *c)
{
    return c->kind == MU_CHUNK_MEM ? c->mem.n : c->kind == MU_CHUNK_FILE ? c->len : 0;
}

/** Send the memory pieces from *i on in one call. */
static enum mu_rc send_mem(struct mu_h1_exchange *x, struct mu_chunk *v, size_t n, size_t *i)
{
    struct iovec iov[IOV_BATCH];
    size_t k = *i, sent = 0;
    bool has_file_next;
    enum mu_rc rc;
    int iovs = 0;

    for (; k < n && v[k].kind == MU_CHUNK_MEM && iovs < IOV_BATCH; k++) {
        iov[iovs].iov_base = (void *)(uintptr_t)v[k].mem.p;
        iov[iovs++].iov_len = v[k].mem.n;
    }
    has_file_next = k < n && v[k].kind == MU_CHUNK_FILE;
    rc = mu_stream_writev(&x->x.conn->stream, iov, iovs, has_file_next, &sent);
    x->x.wire_out += sent;
    for (; *i < n && v[*i].kind == MU_CHUNK_MEM && sent >= v[*i].mem.n && *i < k; ++*i)
        sent -= v[*i].mem.n;
    if (sent > 0) {
        v[*i].mem.p += sent;
        v[*i].mem.n -= sent;
    }
    return rc;
}

/** Send from the file piece at *i: what the socket takes in one call. */
static enum mu_rc send_file(struct mu_h1_exchange *x, struct mu_chunk *v, size_t *i)
{
    struct mu_chunk *f = &v[*i];
    off_t off = (off_t)f->off;
    size_t sent = 0;
    enum mu_rc rc;

    rc = mu_stream_sendfile(&x->x.conn->stream, f->fd, &off,
                            f->len < SLICE ? (size_t)f->len : SLICE, &sent);
    x->x.wire_out += sent;
    f->off += sent;
    f->len -= sent;
    if (f->len == 0)
        ++*i;
    if (rc != MU_EOF)
        return rc;
    MU_LOG(
        &x->x.req.log, "core", MU_LOG_ERR, "MU0530",
        "file of \"%.*s\" became shorter while it was sent (%llu bytes missing); the connection is closed. "
        "Replace files by renaming a new one over the old",
        MU_FMT(x->x.req.path), (unsigned long long)f->len);
    return MU_EIO;
}

enum mu_rc mu_h1_send_some(struct mu_h1_exchange *x, struct mu_chunk *v, size_t n, size_t *i)
{
    uint64_t end = x->x.wire_out + SLICE;
    enum mu_rc rc;

    while (*i < n && x->x.wire_out < end) {
        if (v[*i].kind == MU_CHUNK_FILE && v[*i].len > 0)
            rc = send_file(x, v, i);
        else if (v[*i].kind == MU_CHUNK_MEM)
            rc = send_mem(x, v, n, i);
        else
            rc = (++*i, MU_OK);
        if (rc != MU_OK)
            return rc;
        if (*i < n && !(x->x.conn->stream.io.ready & MU_WRITABLE))
            return MU_AGAIN;
    }
    return MU_OK;
}

/** Wait until the socket takes more. */
static enum mu_rc wait_for_room(struct mu_h1_exchange *x)
{
    struct mu_wait_item it = { .io = &x->x.conn->stream.io, .want = MU_WRITABLE };

    return mu_wait(&it, 1, mu_deadline(mu_core_of(x->x.req.vhost->base)->timeout_ms));
}

enum mu_rc mu_h1_send_slice(struct mu_h1_exchange *x, struct mu_chunk *v, size_t n, size_t *i)
{
    uint64_t before = x->x.wire_out;
    enum mu_rc rc = mu_is_cancelled() ? MU_GONE : mu_h1_send_some(x, v, n, i);

    if (rc != MU_OK)
        return rc;
    rc = mu_spent((size_t)(x->x.wire_out - before));
    return *i < n ? rc : MU_OK; /* cancelled with everything out: the next call says so */
}

enum mu_rc mu_h1_send_all(struct mu_h1_exchange *x, struct mu_chunk *v, size_t n, size_t *i)
{
    enum mu_rc rc = MU_OK;

    while (*i < n && rc == MU_OK) {
        rc = mu_h1_send_slice(x, v, n, i);
        if (rc == MU_AGAIN)
            rc = wait_for_room(x);
    }
    return rc;
}

static size_t borrowed_bytes(const struct mu_chunk *v, size_t n)
{
    size_t bytes = 0;

    for (size_t i = 0; i < n; i++) {
        if (v[i].is_exchange_owned)
            continue;
        if (v[i].kind == MU_CHUNK_FILE)
            return SIZE_MAX;
        bytes += v[i].mem.n;
    }
    return bytes;
}

/**
 * Keep what is left for the reactor to send. Few borrowed bytes are copied; MU_LIMIT when they are
 * many.
 */
static enum mu_rc keep_rest(struct mu_h1_exchange *x, const struct mu_chunk *v, size_t n)
{
    struct mu_arena *a = x->x.req.arena;
    struct mu_chunk *out;

    if (borrowed_bytes(v, n) > COPY_MAX)
        return MU_LIMIT;
    out = mu_new_n(a, struct mu_chunk, n);
    if (!out)
        return MU_NOMEM;
    for (size_t i = 0; i < n; i++) {
        out[i] = v[i];
        if (v[i].kind != MU_CHUNK_MEM || v[i].is_exchange_owned || v[i].mem.n == 0)
            continue;
        out[i].mem = mu_str_dup(a, v[i].mem);
        if (!out[i].mem.p)
            return MU_NOMEM;
    }
    x->out = out;
    x->out_n = x->out_cap = n;
    x->out_i = 0;
    x->has_pending = true;
    return MU_OK;
}

enum mu_rc mu_h1_send_last(struct mu_h1_exchange *x, struct mu_chunk *v, size_t n)
{
    size_t i = 0;
    enum mu_rc rc = MU_OK;

    while (i < n && rc == MU_OK)
        rc = mu_h1_send_slice(x, v, n, &i);
    if (rc != MU_AGAIN)
        return rc;
    rc = keep_rest(x, v + i, n - i);
    return rc == MU_LIMIT || rc == MU_NOMEM ? mu_h1_send_all(x, v, n, &i) : rc;
}

enum mu_rc mu_h1_send_down(struct mu_h1_exchange *x, uint64_t left)
{
    enum mu_rc rc = MU_OK;

    while (rc == MU_OK && x->out_i < x->out_n &&
           (x->spool.cannot_free || mu_h1_pending(x) > left)) {
        rc = mu_h1_send_slice(x, x->out, x->out_n, &x->out_i);
        if (rc == MU_AGAIN)
            rc = wait_for_room(x);
    }
    return rc;
}

enum mu_rc mu_h1_send_behind(struct mu_h1_exchange *x, struct mu_chunk *v, size_t n, bool is_last)
{
    size_t i = 0;
    enum mu_rc rc;

    if (is_last && borrowed_bytes(v, n) == 0)
        return mu_h1_append(x, v, n);
    rc = mu_h1_send_all(x, x->out, x->out_n, &x->out_i);
    x->has_pending = false;
    if (rc != MU_OK)
        return rc;
    return is_last ? mu_h1_send_last(x, v, n) : mu_h1_send_all(x, v, n, &i);
}

enum mu_rc mu_h1_flush(struct mu_h1_exchange *x)
{
    enum mu_rc rc = mu_h1_send_some(x, x->out, x->out_n, &x->out_i);

    if (rc == MU_OK && x->out_i < x->out_n)
        return MU_LIMIT;
    if (rc == MU_OK)
        x->has_pending = false;
    else if (rc != MU_AGAIN)
        (void)mu_h1_give_up(x, rc);
    return rc;
}
