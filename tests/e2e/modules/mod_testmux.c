/*
 * mod_testmux: a toy protocol that runs several exchanges on one connection, for the tests. It uses
 * what HTTP/2 will use and nothing else: the protocol vtable, exchanges on fibers of their own,
 * bounded queues in both directions with credit per stream, cancellation of one stream, a drain
 * that lets running streams end. `Listen address:port testmux`.  A frame: stream (4 bytes, big
 * endian), type (1), length (3), payload. client: OPEN head, POST head (a body follows), DATA
 * bytes, END, CANCEL, CREDIT count server: HEAD "status length", DATA bytes, END, RESET, CREDIT
 * count, GOAWAY Either side may send WINDOW bytes on a stream before it is given credit.
 */
#include <server/conn_internal.h>

#include <muster/module.h>
#include <stdio.h>

enum frame_type { OPEN, POST, DATA, END, CANCEL, CREDIT, HEAD, RESET, GOAWAY };
enum {
    FRAME_HEAD = 8,
    FRAME_MAX = 4096,
    WINDOW = 16 * 1024,
    WIRE_MAX = 16 * 1024, /* bytes made ready for the socket at a time */
    MAX_STREAMS = 32,
    IN_CAP = FRAME_HEAD + FRAME_MAX,
};

/** A FIFO of bytes. */
struct queue {
    struct mu_buf b;
    size_t off;
};

/** The protocol's part of a connection. */
struct mux {
    struct mu_list streams;
    uint32_t streams_n;
    uint32_t busy; /**< calls on the stack that use c: it is not closed under them */
    bool is_eof;   /**< the client will say no more */
    bool is_dead;  /**< the connection is lost; streams are on their way home */
    bool has_said_goaway;
    struct queue wire;
    uint32_t in_n;
    char in[IN_CAP];
};

/** One request and its answer. */
struct stream {
    struct mu_exchange x; /**< first */
    struct mu_list link;
    uint32_t id;
    struct queue body, answer;
    struct mu_wake has_body, has_room;
    uint64_t credit; /**< answer bytes the client is ready to take */
    bool body_ended, answer_ended, end_said, is_home /**< its fiber is done */, is_cancelled;
};

static struct mux *mux_of(struct mu_conn *c)
{
    return (struct mux *)c->state;
}

static struct stream *stream_of(struct mu_exchange *x)
{
    return MU_CONTAINER_OF(x, struct stream, x);
}

static size_t queue_len(const struct queue *q)
{
    return q->b.n - q->off;
}

static void queue_add(struct queue *q, struct mu_str s)
{
    if (q->off > 0 && q->off == q->b.n) {
        q->off = 0;
        q->b.n = 0;
    } else if (q->off >= WINDOW) {
        mu_buf_consume(&q->b, q->off);
        q->off = 0;
    }
    mu_buf_add(&q->b, s);
}

static struct mu_str queue_front(const struct queue *q, size_t max)
{
    size_t n = queue_len(q);

    return (struct mu_str){ q->b.p + q->off, n < max ? n : max };
}

static void put_frame(struct mux *m, uint32_t id, enum frame_type type, struct mu_str payload)
{
    const char head[FRAME_HEAD] = {
        (char)(id >> 24), (char)(id >> 16),        (char)(id >> 8),        (char)id,
        (char)type,       (char)(payload.n >> 16), (char)(payload.n >> 8), (char)payload.n
    };

    queue_add(&m->wire, (struct mu_str){ head, sizeof(head) });
    queue_add(&m->wire, payload);
}

static void put_credit(struct mux *m, uint32_t id, size_t n)
{
    const char count[4] = { (char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n };

    put_frame(m, id, CREDIT, (struct mu_str){ count, sizeof(count) });
}

/** The stream is over on both sides: log it and forget it. */
static void stream_finish(struct mu_conn *c, struct stream *s)
{
    struct mux *m = mux_of(c);
    struct mu_arena *a = s->x.req.arena;

    if (!s->end_said) {
        s->x.is_aborted = true;
        put_frame(m, s->id, RESET, MU_STR_NULL);
    }
    mu_list_remove(&s->link);
    m->streams_n--;
    c->keepalives++;
    mu_buf_fini(&s->body.b);
    mu_buf_fini(&s->answer.b);
    mu_exchange_finish(&s->x);
    mu_reactor_arena_give_back(c->host->reactor, a);
}

/**
 * Move a stream's answer towards the socket as far as its credit reaches. True when something was
 * moved.
 */
static bool stream_pump(struct mu_conn *c, struct stream *s)
{
    struct mux *m = mux_of(c);
    struct mu_str piece =
        queue_front(&s->answer, s->credit < FRAME_MAX ? (size_t)s->credit : FRAME_MAX);

    if (piece.n > 0 && !s->is_cancelled) {
        put_frame(m, s->id, DATA, piece);
        s->x.wire_out += FRAME_HEAD + piece.n;
        s->credit -= piece.n;
        s->answer.off += piece.n;
        mu_wake_raise(&s->has_room);
        return true;
    }
    if (s->answer_ended && !s->end_said && queue_len(&s->answer) == 0) {
        s->end_said = true;
        put_frame(m, s->id, END, MU_STR_NULL);
        return true;
    }
    if (s->is_home && (s->end_said || s->is_cancelled || m->is_dead)) {
        stream_finish(c, s);
        return true;
    }
    return false;
}

/** The connection is of no use any more: everybody goes home. */
static void lose(struct mu_conn *c)
{
    struct mux *m = mux_of(c);

    m->is_dead = true;
    m->wire.off = m->wire.b.n;
    MU_LIST_FOR(l, &m->streams) {
        struct stream *s = MU_CONTAINER_OF(l, struct stream, link);

        if (s->x.fiber && !s->is_home)
            mu_fiber_cancel(s->x.fiber);
    }
}

/** Send what is ready. MU_AGAIN: the socket is full. */
static enum mu_rc wire_send(struct mu_conn *c)
{
    struct mux *m = mux_of(c);

    while (queue_len(&m->wire) > 0 && !m->is_dead) {
        struct mu_str s = queue_front(&m->wire, SIZE_MAX);
        struct iovec iov = { (void *)(uintptr_t)s.p, s.n };
        size_t sent;
        enum mu_rc rc = mu_stream_writev(&c->stream, &iov, 1, false, &sent);

        m->wire.off += sent;
        if (rc == MU_AGAIN && mu_conn_watch(c))
            return MU_AGAIN;
        if (rc != MU_OK)
            lose(c);
    }
    return MU_OK;
}

/** Each stream in turn, a frame at a time, so that a large answer does not hold up a small one. */
static void pump(struct mu_conn *c)
{
    struct mux *m = mux_of(c);
    bool has_moved = true;

    m->busy++;
    while (has_moved && wire_send(c) == MU_OK) {
        has_moved = false;
        MU_LIST_FOR_SAFE(l, &m->streams) {
            if (queue_len(&m->wire) < WIRE_MAX || m->is_dead)
                has_moved |= stream_pump(c, MU_CONTAINER_OF(l, struct stream, link));
            else
                has_moved = true;
        }
    }
    m->busy--;
}

/**
 * Close when nothing more can come of it; else say how long it may wait. The last thing a call does
 * with c.
 */
static void settle(struct mu_conn *c)
{
    struct mux *m = mux_of(c);
    bool is_quiet = m->streams_n == 0 && queue_len(&m->wire) == 0;

    if (m->busy > 0)
        return;
    if (m->streams_n == 0 && (m->is_dead || (is_quiet && (m->is_eof || m->has_said_goaway)))) {
        mu_buf_fini(&m->wire.b);
        mu_conn_close(c);
        return;
    }
    if (m->is_dead)
        return;
    if (is_quiet) {
        mu_conn_count(c, MU_CONN_KEEPALIVE, 'K');
        mu_timer_arm(&c->timer, mu_conn_core(c)->keepalive_timeout_ms);
    } else {
        mu_conn_count(c, MU_CONN_WRITING, 'W');
        mu_timer_cancel(&c->timer);
    }
}

static enum mu_rc wait_wake(struct mu_exchange *x, struct mu_wake *w)
{
    struct mu_wait_item it = { .wake = w };
    enum mu_rc rc = mu_wait(&it, 1, mu_deadline(mu_conn_core(x->conn)->timeout_ms));

    return stream_of(x)->is_cancelled || mux_of(x->conn)->is_dead ? MU_GONE : rc;
}

/** Wait until the answer's queue has room. */
static enum mu_rc make_room(struct mu_exchange *x, size_t *room)
{
    struct stream *s = stream_of(x);

    for (;;) {
        enum mu_rc rc;

        pump(x->conn);
        if (s->is_cancelled || mux_of(x->conn)->is_dead)
            return MU_GONE;
        *room = WINDOW - queue_len(&s->answer);
        if (*room > 0)
            return MU_OK;
        rc = wait_wake(x, &s->has_room);
        if (rc != MU_OK)
            return rc;
    }
}

static enum mu_rc put_mem(struct mu_exchange *x, struct mu_str data)
{
    while (data.n > 0) {
        size_t room;
        enum mu_rc rc = make_room(x, &room);

        if (rc != MU_OK)
            return rc;
        room = room < data.n ? room : data.n;
        queue_add(&stream_of(x)->answer, (struct mu_str){ data.p, room });
        data.p += room;
        data.n -= room;
    }
    return MU_OK;
}

static enum mu_rc put_file(struct mu_exchange *x, const struct mu_chunk *f)
{
    char piece[4096];

    for (uint64_t done = 0; done < f->len;) {
        uint64_t left = f->len - done;
        size_t got;
        enum mu_rc rc =
            mu_file_pread(f->fd, piece, left < sizeof(piece) ? (size_t)left : sizeof(piece),
                          (off_t)(f->off + done), &got);

        if (rc != MU_OK)
            return MU_EIO;
        rc = put_mem(x, (struct mu_str){ piece, got });
        if (rc != MU_OK)
            return rc;
        done += got;
    }
    return MU_OK;
}

static void put_head(struct mu_exchange *x)
{
    const struct mu_req *r = mu_exchange_answer(x);
    char text[64];
    int n = snprintf(text, sizeof(text), "%d %lld", (int)r->status, (long long)r->content_length);

    x->is_head_sent = true;
    put_frame(mux_of(x->conn), stream_of(x)->id, HEAD, (struct mu_str){ text, (size_t)n });
}

static enum mu_rc mux_write(struct mu_exchange *x, const struct mu_chunk *chunks, size_t n,
                            bool is_last)
{
    enum mu_rc rc = MU_OK;

    if (x->is_ended || x->is_aborted || stream_of(x)->is_cancelled || mux_of(x->conn)->is_dead)
        return MU_GONE;
    if (!x->is_head_sent)
        put_head(x);
    for (size_t i = 0; i < n && rc == MU_OK && !x->req.is_head; i++) {
        if (chunks[i].kind == MU_CHUNK_MEM)
            rc = put_mem(x, chunks[i].mem);
        else if (chunks[i].kind == MU_CHUNK_FILE)
            rc = put_file(x, &chunks[i]);
    }
    if (rc != MU_OK) {
        x->is_aborted = true;
        stream_of(x)->is_cancelled = true;
        return rc;
    }
    if (is_last)
        stream_of(x)->answer_ended = x->is_ended =
            true; /* what is queued goes out without the fiber */
    pump(x->conn);
    return MU_OK;
}

static enum mu_rc mux_body_read(struct mu_exchange *x, void *buf, size_t cap, size_t *got)
{
    struct stream *s = stream_of(x);
    struct mu_str piece;

    *got = 0;
    while (queue_len(&s->body) == 0) {
        enum mu_rc rc;

        if (s->is_cancelled || mux_of(x->conn)->is_dead)
            return MU_GONE;
        if (s->body_ended)
            return MU_EOF;
        rc = wait_wake(x, &s->has_body);
        if (rc != MU_OK)
            return rc;
    }
    piece = queue_front(&s->body, cap);
    memcpy(buf, piece.p, piece.n);
    s->body.off += piece.n;
    *got = piece.n;
    put_credit(mux_of(x->conn), s->id, piece.n); /* what was consumed may be sent again */
    pump(x->conn);
    return MU_OK;
}

static const struct mu_exchange_ops mux_ops = { .write = mux_write, .body_read = mux_body_read };

/** A stream's fiber. */
static void serve(void *arg)
{
    struct stream *s = arg;
    struct mu_conn *c = s->x.conn;

    s->x.fiber = mu_fiber_self();
    mux_of(c)->busy++;
    mu_process_exchange(&s->x);
    mux_of(c)->busy--;
    s->is_home = true;
    s->is_cancelled |= !s->answer_ended;
    pump(c);
    settle(c);
}

/**
 * The exchange of an OPEN or POST frame; its head is copied, since slices of it stay with the
 * request.
 */
static struct stream *stream_make(struct mu_conn *c, struct mu_arena *a, struct mu_str text,
                                  bool has_body)
{
    struct mu_exchange *x = mu_exchange_create(c, a, sizeof(struct stream), &mux_ops);
    struct mu_h1_parser parser = { 0 };
    struct mu_h1_head head;
    enum mu_status status;
    size_t len;
    enum mu_rc rc;

    text = mu_str_dup(a, text);
    if (!x || !text.p)
        return NULL;
    rc = mu_h1_parse(&parser, &mu_conn_core(c)->h1, a, text.p, text.n, &head, &len, &status);
    if (rc == MU_OK)
        head.framing = has_body ? MU_BODY_CHUNKED : MU_BODY_NONE;
    if (mu_exchange_take_head(x, &head) != MU_OK)
        return NULL;
    if (rc != MU_OK)
        x->bad = status ? status : MU_400_BAD_REQUEST;
    return stream_of(x);
}

static void stream_open(struct mu_conn *c, uint32_t id, struct mu_str head, bool has_body)
{
    struct mux *m = mux_of(c);
    struct mu_arena *a = NULL;
    struct stream *s = NULL;

    if (m->streams_n < MAX_STREAMS && !m->has_said_goaway)
        a = mu_reactor_arena_borrow(c->host->reactor);
    if (a)
        s = stream_make(c, a, head, has_body);
    if (!s) {
        mu_reactor_arena_give_back(c->host->reactor, a);
        put_frame(m, id, RESET, MU_STR_NULL);
        return;
    }
    s->id = id;
    s->credit = WINDOW;
    s->body_ended = !has_body;
    mu_wake_init(&s->has_body);
    mu_wake_init(&s->has_room);
    mu_list_append(&m->streams, &s->link);
    m->streams_n++;
    mu_exchange_score_begin(&s->x);
    if (mu_fiber_run(c->host->reactor, serve, s) != MU_OK)
        s->is_home = s->is_cancelled = true; /* no fiber to be had: pump resets it */
}

static struct stream *stream_find(struct mux *m, uint32_t id)
{
    MU_LIST_FOR(l, &m->streams) {
        struct stream *s = MU_CONTAINER_OF(l, struct stream, link);

        if (s->id == id)
            return s;
    }
    return NULL;
}

static void stream_cancel(struct stream *s)
{
    /* s->x may be a worker thread's at this moment: it is told by the cancellation alone. */
    s->is_cancelled = true;
    if (s->x.fiber && !s->is_home)
        mu_fiber_cancel(s->x.fiber);
}

static uint32_t be32(const char *p)
{
    const uint8_t *u = (const uint8_t *)p;

    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static void frame_take(struct mu_conn *c, uint32_t id, unsigned type, struct mu_str payload)
{
    struct stream *s = stream_find(mux_of(c), id);

    if ((type == OPEN || type == POST) && !s) {
        stream_open(c, id, payload, type == POST);
    } else if (!s) {
        return; /* of a stream that is over: it crossed our END */
    } else if (type == DATA && !s->body_ended && queue_len(&s->body) + payload.n <= WINDOW) {
        queue_add(&s->body, payload);
        mu_wake_raise(&s->has_body);
    } else if (type == END) {
        s->body_ended = true;
        mu_wake_raise(&s->has_body);
    } else if (type == CREDIT && payload.n == 4) {
        s->credit += be32(payload.p);
    } else {
        stream_cancel(s); /* CANCEL, or a client that breaks the rules */
    }
}

static void frames_take(struct mu_conn *c)
{
    struct mux *m = mux_of(c);
    size_t at = 0;

    while (m->in_n - at >= FRAME_HEAD) {
        uint32_t len = be32(m->in + at + 4) & 0xffffff;

        if (len > FRAME_MAX) {
            lose(c);
            return;
        }
        if (m->in_n - at < FRAME_HEAD + len)
            break;
        frame_take(c, be32(m->in + at), (uint8_t)m->in[at + 4],
                   (struct mu_str){ m->in + at + FRAME_HEAD, len });
        at += FRAME_HEAD + len;
    }
    m->in_n -= (uint32_t)at;
    memmove(m->in, m->in + at, m->in_n);
}

static void mux_ready(struct mu_conn *c, unsigned events)
{
    struct mux *m = mux_of(c);
    enum mu_rc rc = MU_OK;
    size_t got;

    m->busy++;
    if ((events & MU_HANGUP) && mu_conn_is_torn(c))
        lose(c);
    while (rc == MU_OK && !m->is_dead && !m->is_eof) {
        rc = mu_stream_read(&c->stream, m->in + m->in_n, IN_CAP - m->in_n, &got);
        m->in_n += (uint32_t)got;
        if (rc == MU_OK)
            frames_take(c);
        else if (rc == MU_EOF)
            m->is_eof = true;
        else if (rc != MU_AGAIN)
            lose(c);
    }
    if (!m->is_dead && !mu_conn_watch(c))
        lose(c);
    pump(c);
    m->busy--;
    settle(c);
}

static void mux_open(struct mu_conn *c)
{
    mu_list_init(&mux_of(c)->streams);
    mux_ready(c, 0);
}

/** Nothing was asked for the keep-alive time. */
static void mux_timeout(struct mu_conn *c)
{
    mux_of(c)->is_eof = true;
    settle(c);
}

static void mux_drain(struct mu_conn *c)
{
    put_frame(mux_of(c), 0, GOAWAY, MU_STR_NULL);
    mux_of(c)->has_said_goaway = true;
    pump(c);
    settle(c);
}

static void mux_abort(struct mu_conn *c)
{
    lose(c);
    pump(c);
    settle(c);
}

static const struct mu_protocol mux_protocol = {
    .name = "testmux",
    .conn_size = sizeof(struct mux),
    .open = mux_open,
    .ready = mux_ready,
    .timeout = mux_timeout,
    .drain = mux_drain,
    .abort = mux_abort,
};

/** SetHandler mux-echo: the body, as it comes. */
static enum mu_status echo(struct mu_req *r, const void *conf)
{
    char piece[4096];
    enum mu_rc rc;
    size_t got;

    (void)conf;
    while ((rc = mu_body_read(r, piece, sizeof(piece), &got)) == MU_OK) {
        rc = mu_resp_write(r, (struct mu_str){ piece, got });
        if (rc == MU_OK)
            rc = mu_resp_flush(r);
        if (rc != MU_OK)
            break;
    }
    return rc == MU_EOF ? MU_200_OK : mu_body_status(rc);
}

/** SetHandler mux-wait: says so, then waits until it is cancelled. */
static enum mu_status wait_for_ever(struct mu_req *r, const void *conf)
{
    (void)conf;
    if (mu_resp_write(r, MU_S("waiting\n")) == MU_OK && mu_resp_flush(r) == MU_OK &&
        mu_wait(NULL, 0, MU_NEVER) == MU_GONE)
        MU_LOG(&r->log, "testmux", MU_LOG_NOTICE, "MU1990", "cancelled: %.*s", MU_FMT(r->path));
    return MU_200_OK;
}

static enum mu_rc child_start(struct mu_config *config)
{
    (void)config;
    mu_protocol_register(&mux_protocol);
    return MU_OK;
}

MU_MODULE(testmux,
          .handlers =
              MU_HANDLERS({ .name = "mux-echo", .fn = echo, .methods = MU_GET | MU_POST },
                          { .name = "mux-wait", .fn = wait_for_ever, .methods = MU_GET | MU_POST }),
          .child_start = child_start);
