/*
 * h1_sink: where an answer leaves. The first write sends the head together with the first bytes; memory is gathered into one call, a file
 * follows by sendfile behind MSG_MORE. When the client is slow the fiber waits, except at the end of the answer: what is
 * left then stays with the exchange and the reactor sends it (state FLUSH), so that a slow client holds no fiber.
 */
#include <server/h1_conn.h>

#include <limits.h>

enum {
    IOV_BATCH = 64,
    SEGS_ON_STACK = 12,
    COPY_MAX = 16 * 1024, /* of borrowed bytes kept for the flush instead of holding the fiber */
    JOIN_MAX = 4096,      /* a body that is copied behind its head: one buffer is sent faster than two */
    FRAME_ROOM = 32,
};

/** The answer cannot be completed: nothing that follows on this connection would be understood. */
static enum mu_rc give_up(struct mu_h1_exchange *x, enum mu_rc rc)
{
    x->x.is_aborted = true;
    x->x.wants_close = true;
    return rc;
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

    rc = mu_stream_sendfile(&x->x.conn->stream, f->fd, &off, f->len, &sent);
    x->x.wire_out += sent;
    f->off += sent;
    f->len -= sent;
    if (f->len == 0)
        ++*i;
    if (rc != MU_EOF)
        return rc;
    MU_LOG(&x->x.req.log, "core", MU_LOG_ERR, "MU0530",
           "file of \"%.*s\" became shorter while it was sent (%llu bytes missing); the connection is closed. "
           "Replace files by renaming a new one over the old",
           MU_FMT(x->x.req.path), (unsigned long long)f->len);
    return MU_EIO;
}

/** As much as goes without waiting. MU_OK: everything; MU_AGAIN: the socket is full. */
static enum mu_rc send_some(struct mu_h1_exchange *x, struct mu_chunk *v, size_t n, size_t *i)
{
    enum mu_rc rc;

    while (*i < n) {
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

/** Send all, waiting as long as the client takes. */
static enum mu_rc send_all(struct mu_h1_exchange *x, struct mu_chunk *v, size_t n, size_t *i)
{
    for (;;) {
        uint64_t before = x->x.wire_out;
        enum mu_rc rc = mu_is_cancelled() ? MU_GONE : send_some(x, v, n, i);

        if (rc == MU_OK)
            return mu_spent(x->x.wire_out - before);
        if (rc != MU_AGAIN)
            return rc;
        rc = wait_for_room(x);
        if (rc != MU_OK)
            return rc;
    }
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

/** Keep what is left for the reactor to send. Few borrowed bytes are copied; MU_LIMIT when they are many. */
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
    x->out_n = n;
    x->out_i = 0;
    x->has_pending = true;
    return MU_OK;
}

/** The end of the answer: what does not fit now is kept for the reactor, or waited for when it cannot be kept. */
static enum mu_rc send_last(struct mu_h1_exchange *x, struct mu_chunk *v, size_t n)
{
    size_t i = 0;
    enum mu_rc rc = mu_is_cancelled() ? MU_GONE : send_some(x, v, n, &i);

    if (rc != MU_AGAIN)
        return rc;
    rc = keep_rest(x, v + i, n - i);
    return rc == MU_LIMIT || rc == MU_NOMEM ? send_all(x, v, n, &i) : rc;
}

enum mu_rc mu_h1_flush(struct mu_h1_exchange *x)
{
    enum mu_rc rc = send_some(x, x->out, x->out_n, &x->out_i);

    if (rc == MU_OK)
        x->has_pending = false;
    else if (rc != MU_AGAIN)
        (void)give_up(x, rc);
    return rc;
}

static uint64_t chunk_len(const struct mu_chunk *c)
{
    return c->kind == MU_CHUNK_MEM ? c->mem.n : c->kind == MU_CHUNK_FILE ? c->len : 0;
}

static struct mu_chunk owned(struct mu_str s)
{
    return (struct mu_chunk){ .kind = MU_CHUNK_MEM, .is_exchange_owned = true, .mem = s };
}

/** Cut `c` so that the body keeps to the length its head promised. */
static void cut(struct mu_h1_exchange *x, struct mu_chunk *c)
{
    uint64_t len = chunk_len(c);

    if (MU_LIKELY(len <= x->body_left)) {
        x->body_left -= len;
        return;
    }
    MU_LOG(&x->x.req.log, "core", MU_LOG_ERR, "MU0531",
           "the handler of \"%.*s\" wrote more than the Content-Length it announced; the rest is cut off",
           MU_FMT(x->x.req.path));
    if (c->kind == MU_CHUNK_MEM)
        c->mem.n = (size_t)x->body_left;
    else
        c->len = x->body_left;
    x->body_left = 0;
    x->x.wants_close = true;
}

/** Body pieces as they go on the wire, behind v[0..at). Returns the new count. */
static size_t frame_body(struct mu_h1_exchange *x, struct mu_chunk *v, size_t at,
                         const struct mu_chunk *chunks, size_t n, bool is_last)
{
    size_t frame_at = at;
    uint64_t total = 0;

    if (x->delimiter == MU_H1_NO_BODY)
        return at;
    if (x->delimiter == MU_H1_BY_CHUNKS)
        at++;
    for (size_t i = 0; i < n; i++) {
        if (chunk_len(&chunks[i]) == 0)
            continue;
        v[at] = chunks[i];
        if (x->delimiter == MU_H1_BY_LENGTH)
            cut(x, &v[at]);
        total += chunk_len(&v[at]);
        if (chunk_len(&v[at]) > 0)
            at++;
    }
    if (x->delimiter != MU_H1_BY_CHUNKS)
        return at;
    v[frame_at] = owned(MU_STR_NULL);
    if (total > 0) {
        v[frame_at] = owned((struct mu_str){ x->frame, mu_chunk_head(total, x->frame) });
        v[at++] = owned(is_last ? MU_S("\r\n0\r\n\r\n") : MU_S("\r\n"));
    } else if (is_last) {
        v[frame_at] = owned(MU_S("0\r\n\r\n"));
    } else {
        at = frame_at; /* an empty chunk would end the body */
    }
    return at;
}

static enum mu_rc put_head(struct mu_h1_exchange *x, struct mu_chunk *v, size_t *at, size_t room)
{
    struct mu_str head = MU_STR_NULL;

    x->x.is_head_sent = true;
    if (x->x.req.version == 9) { /* HTTP/0.9 knows no head */
        x->delimiter = MU_H1_BY_CLOSE;
        x->x.wants_close = true;
        return MU_OK;
    }
    head = mu_h1_head_make(x, room);
    if (!head.p)
        return MU_NOMEM;
    if (x->x.req.mono_us)
        x->x.first_byte_us = mu_mono_us();
    v[(*at)++] = owned(head);
    return MU_OK;
}

/** Room to copy these behind the head, or 0 when they are better sent from where they are. */
static size_t join_room(const struct mu_chunk *chunks, size_t n)
{
    size_t total = FRAME_ROOM;

    for (size_t i = 0; i < n; i++) {
        if (chunks[i].kind == MU_CHUNK_FILE || chunks[i].mem.n > JOIN_MAX)
            return 0;
        if (chunks[i].kind == MU_CHUNK_MEM)
            total += chunks[i].mem.n;
    }
    return total <= JOIN_MAX ? total : 0;
}

/** Copy v[1..n) behind the head in v[0], which has room for it. Returns the new count. */
static size_t join(struct mu_chunk *v, size_t n)
{
    char *end = (char *)(uintptr_t)v[0].mem.p + v[0].mem.n;

    for (size_t i = 1; i < n; i++) {
        if (v[i].kind != MU_CHUNK_MEM || v[i].mem.n == 0)
            continue;
        memcpy(end, v[i].mem.p, v[i].mem.n);
        end += v[i].mem.n;
    }
    v[0].mem.n = (size_t)(end - v[0].mem.p);
    return 1;
}

/** Did the body keep its promise? A short one must not look like a complete answer on a connection that goes on. */
static enum mu_rc check_complete(struct mu_h1_exchange *x)
{
    if (x->delimiter != MU_H1_BY_LENGTH || x->body_left == 0)
        return MU_OK;
    MU_LOG(&x->x.req.log, "core", MU_LOG_ERR, "MU0532",
           "the handler of \"%.*s\" wrote %llu bytes less than the Content-Length it announced; the connection is closed",
           MU_FMT(x->x.req.path), (unsigned long long)x->body_left);
    return give_up(x, MU_OK);
}

enum mu_rc mu_h1_write(struct mu_exchange *mx, const struct mu_chunk *chunks, size_t n, bool is_last)
{
    struct mu_h1_exchange *x = mu_h1_exchange_of(mx);
    struct mu_chunk on_stack[SEGS_ON_STACK], *v = on_stack;
    size_t at = 0, i = 0, room = 0;
    enum mu_rc rc = MU_OK;

    if (mx->is_ended || mx->is_aborted)
        return MU_GONE;
    if (n + 3 > SEGS_ON_STACK)
        v = mu_arena_alloc(mx->req.arena, (n + 3) * sizeof(*v));
    if (!v)
        return give_up(x, MU_NOMEM);
    if (!mx->is_head_sent) {
        room = join_room(chunks, n);
        rc = put_head(x, v, &at, room);
    }
    if (rc != MU_OK)
        return give_up(x, rc);
    at = frame_body(x, v, at, chunks, n, is_last);
    if (room > 0 && at > 1 && x->x.req.version != 9)
        at = join(v, at);
    if (is_last)
        (void)check_complete(x);
    rc = is_last ? send_last(x, v, at) : send_all(x, v, at, &i);
    mx->is_ended = is_last;
    return rc == MU_OK ? MU_OK : give_up(x, rc);
}

enum mu_rc mu_h1_interim(struct mu_exchange *mx, enum mu_status status, const struct mu_headers *h)
{
    struct mu_h1_exchange *x = mu_h1_exchange_of(mx);
    static const struct mu_headers none;
    size_t cap = 128, len = 0, i = 0;
    struct mu_chunk seg;
    char *buf;
    enum mu_rc rc;

    if (mx->is_head_sent || mx->req.version < 1001)
        return MU_OK;
    for (uint32_t k = 0; h && k < h->n; k++)
        cap += h->v[k].name.n + h->v[k].value.n + 4;
    buf = mu_arena_alloc(mx->req.arena, cap);
    if (buf)
        len = mu_h1_format_head(buf, cap, 1001, status, MU_STR_NULL, h ? h : &none);
    if (len == 0)
        return MU_NOMEM;
    seg = owned((struct mu_str){ buf, len });
    rc = send_all(x, &seg, 1, &i);
    return rc == MU_OK ? MU_OK : give_up(x, rc);
}
