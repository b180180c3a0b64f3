/*
 * h1_sink: where an answer leaves. The first write sends the head together with the first bytes;
 * bodies are framed by length, by chunks or by the connection's end, and held to what the head
 * promised: too much is cut, too little ends the connection.
 */
#include <server/h1_conn.h>

enum {
    SEGS_ON_STACK = 12,
    JOIN_MAX = 4096, /* a body that is copied behind its head: one buffer is sent faster than two */
    FRAME_ROOM = 32,
};

static struct mu_chunk owned(struct mu_str s)
{
    return (struct mu_chunk){ .kind = MU_CHUNK_MEM, .is_exchange_owned = true, .mem = s };
}

/** Cut `c` so that the body keeps to the length its head promised. */
static void cut(struct mu_h1_exchange *x, struct mu_chunk *c)
{
    uint64_t len = mu_h1_chunk_len(c);

    if (MU_LIKELY(len <= x->body_left)) {
        x->body_left -= len;
        return;
    }
    MU_LOG(
        &x->x.req.log, "core", MU_LOG_ERR, "MU0531",
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
        if (mu_h1_chunk_len(&chunks[i]) == 0)
            continue;
        v[at] = chunks[i];
        if (x->delimiter == MU_H1_BY_LENGTH)
            cut(x, &v[at]);
        total += mu_h1_chunk_len(&v[at]);
        if (mu_h1_chunk_len(&v[at]) > 0)
            at++;
    }
    if (x->delimiter != MU_H1_BY_CHUNKS)
        return at;
    v[frame_at] = owned(MU_STR_NULL);
    if (total > 0) {
        v[frame_at].mem = (struct mu_str){ x->frame, mu_chunk_head(total, x->frame) };
        v[frame_at].is_exchange_owned = !x->x.must_not_wait; /* the next write uses it again */
        v[at] = owned(is_last ? MU_S("\r\n0\r\n\r\n") : MU_S("\r\n"));
        v[at++].is_exchange_owned = !x->x.must_not_wait; /* may join its neighbours in the spool */
    } else if (is_last) {
        v[frame_at] = owned(MU_S("0\r\n\r\n"));
    } else {
        at = frame_at; /* an empty chunk would end the body */
    }
    return at;
}

/** HTTP/0.9 knows none; of a raw answer it is the handler's. */
static bool has_no_head(const struct mu_h1_exchange *x)
{
    return x->x.req.version == 9 || x->x.is_raw;
}

static enum mu_rc put_head(struct mu_h1_exchange *x, struct mu_chunk *v, size_t *at, size_t room)
{
    struct mu_str head = MU_STR_NULL;

    x->x.is_head_sent = true;
    if (has_no_head(x)) {
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

/**
 * Did the body keep its promise? A short one must not look like a complete answer on a connection
 * that goes on.
 */
static enum mu_rc check_complete(struct mu_h1_exchange *x)
{
    if (x->delimiter != MU_H1_BY_LENGTH || x->body_left == 0)
        return MU_OK;
    MU_LOG(
        &x->x.req.log, "core", MU_LOG_ERR, "MU0532",
        "the handler of \"%.*s\" wrote %llu bytes less than the Content-Length it announced; the connection is closed",
        MU_FMT(x->x.req.path), (unsigned long long)x->body_left);
    return mu_h1_give_up(x, MU_OK);
}

enum mu_rc mu_h1_write(struct mu_exchange *mx, const struct mu_chunk *chunks, size_t n,
                       bool is_last)
{
    struct mu_h1_exchange *x = mu_h1_exchange_of(mx);
    struct mu_chunk on_stack[SEGS_ON_STACK], *v = on_stack;
    size_t at = 0, i = 0, room = 0;
    enum mu_rc rc = MU_OK;

    if (mx->is_ended || mx->is_aborted || mx->is_lent)
        return MU_GONE;
    if (x->lost != MU_OK)
        return mu_h1_give_up(x, x->lost);
    if (n + 3 > SEGS_ON_STACK)
        v = mu_arena_alloc(mx->req.arena, (n + 3) * sizeof(*v));
    if (!v)
        return mu_h1_give_up(x, MU_NOMEM);
    if (!mx->is_head_sent) {
        room = join_room(chunks, n);
        rc = put_head(x, v, &at, room);
    }
    if (rc != MU_OK)
        return mu_h1_give_up(x, rc);
    at = frame_body(x, v, at, chunks, n, is_last);
    if (room > 0 && at > 1 && !has_no_head(x))
        at = join(v, at);
    if (is_last)
        (void)check_complete(x);
    mu_h1_sink_enter(x);
    if (mx->must_not_wait)
        rc = mu_h1_send_or_leave(x, v, at);
    else if (x->has_pending)
        rc = mu_h1_send_behind(x, v, at, is_last);
    else
        rc = is_last ? mu_h1_send_last(x, v, at) : mu_h1_send_all(x, v, at, &i);
    mx->is_ended = is_last;
    if (rc != MU_OK)
        (void)mu_h1_give_up(x, rc);
    mu_h1_sink_leave(x);
    return rc;
}

enum mu_rc mu_h1_interim(struct mu_exchange *mx, enum mu_status status, const struct mu_headers *h)
{
    struct mu_h1_exchange *x = mu_h1_exchange_of(mx);
    static const struct mu_headers none;
    size_t cap = 128, len = 0, i = 0;
    struct mu_chunk seg;
    char *buf;
    enum mu_rc rc;

    if (mx->is_head_sent || mx->is_lent || mx->req.version < 1001)
        return MU_OK;
    for (uint32_t k = 0; h && k < h->n; k++) {
        if (!mu_h1_field_is_sane(h->v[k].name, h->v[k].value))
            return MU_BAD;
        cap += h->v[k].name.n + h->v[k].value.n + 4;
    }
    buf = mu_arena_alloc(mx->req.arena, cap);
    if (buf)
        len = mu_h1_format_head(buf, cap, 1001, status, MU_STR_NULL, h ? h : &none);
    if (len == 0)
        return MU_NOMEM;
    seg = owned((struct mu_str){ buf, len });
    rc = mu_h1_send_all(x, &seg, 1, &i);
    return rc == MU_OK ? MU_OK : mu_h1_give_up(x, rc);
}

/** RFC 9112 section 7.1: a chunk's size may begin with zeros, that of the last chunk as well. */
static enum mu_rc say_zero(struct mu_h1_exchange *x)
{
    struct mu_chunk seg = owned(MU_S("0"));
    size_t i = 0;
    enum mu_rc rc;

    if (x->delimiter != MU_H1_BY_CHUNKS || x->has_pending || x->lost != MU_OK)
        return MU_OK;
    mu_h1_sink_enter(x);
    rc = mu_h1_send_all(x, &seg, 1, &i);
    if (rc != MU_OK)
        (void)mu_h1_give_up(x, rc);
    mu_h1_sink_leave(x);
    return rc;
}

enum mu_rc mu_h1_ask(struct mu_exchange *mx)
{
    struct mu_h1_exchange *x = mu_h1_exchange_of(mx);

    if (x->has_asked)
        return MU_OK;
    x->has_asked = true;
    return mx->is_head_sent ? say_zero(x) : mu_h1_interim(mx, MU_100_CONTINUE, NULL);
}
