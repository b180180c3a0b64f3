/*
 * h1_conn: HTTP/1 on a connection: one exchange at a time. HEAD, IDLE, SKIP, FLUSH and LINGER are
 * driven by reactor callbacks and hold no fiber; RUN is a fiber that answers, and goes on to the next
 * request while one is there already. When the fiber is done the connection is parked, flushing,
 * lingering, or gone.
 */
#include <server/h1_conn.h>

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IN_A_ROW = 16 /* requests answered before others get their turn */ };

/** Cut off: the client must not take a truncated answer for a whole one. */
static void reset_on_close(struct mu_conn *c)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };

    (void)setsockopt(c->stream.io.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

/** Close behind the exchange, which is over and logged; `x` is still readable. */
static void close_after(struct mu_conn *c, const struct mu_h1_exchange *x)
{
    struct mu_h1 *h = mu_h1_of(c);
    bool client_closes = !x->is_persistent && x->x.bad == MU_STATUS_NONE && x->body.is_done;
    bool has_input = h->n > h->start || (c->stream.io.ready & MU_READABLE);

    if (x->x.is_lent) { /* somebody may be writing still: nothing but our own copy ends */
        mu_h1_drop_buf(c);
        mu_conn_close(c);
        return;
    }
    if (x->x.is_aborted || h->is_aborted) {
        bool has_end =
            x->delimiter != MU_H1_BY_CLOSE; /* the client can see that something is missing */

        if (!has_end)
            reset_on_close(c);
        mu_h1_end(c, has_end && x->x.is_cut_here && !h->is_aborted);
        return;
    }
    mu_h1_end(c, !client_closes || has_input || x->was_lent);
}

/** What becomes of the request's body, for the connection to go on. */
static enum mu_rc rest_of_body(struct mu_h1_exchange *x, struct mu_h1_skip **skip)
{
    enum mu_rc rc;

    *skip = NULL;
    if (x->x.wants_close || x->x.is_aborted || mu_h1_of(x->x.conn)->is_aborted)
        return MU_GONE;
    rc = mu_h1_body_skip(x);
    if (rc != MU_AGAIN)
        return rc;
    *skip = mu_h1_skip_make(x);
    return *skip ? MU_OK : MU_NOMEM;
}

/**
 * The exchange is over: log it, give back what it held. True when the connection goes on and may
 * have another request.
 */
static bool end_exchange(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);
    struct mu_h1_exchange *x = h->x;
    struct mu_arena *a = x->x.req.arena;
    struct mu_h1_skip *skip;
    bool goes_on = rest_of_body(x, &skip) == MU_OK;

    x->x.wants_close |= !goes_on; /* also for the log */
    x->x.wire_in -= mu_h1_body_excess(x);
    mu_exchange_finish(&x->x);
    /* Only now: the log line is made of the head, and what the body's reads found behind it takes its place. */
    goes_on = goes_on && mu_h1_body_end(x);
    h->x = NULL;
    c->keepalives++;
    h->since_ms = 0;
    h->wants_turn = false;
    if (!goes_on) {
        free(skip);
        skip = NULL;
        close_after(c, x);
    }
    mu_reactor_arena_give_back(mu_reactor_self(), a);
    return goes_on && skip ? mu_h1_skip_begin(c, skip) : goes_on;
}

static void log_late(const struct mu_h1_exchange *x)
{
    MU_LOG(
        &x->x.req.log, "core", MU_LOG_INFO, "MU0541",
        "the client took nothing of its answer for the time TimeOut allows; the connection is closed");
}

/** What is left of the answer goes to the reactor. */
static void begin_flush(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);

    h->state = MU_H1_FLUSH;
    h->x->x.fiber = NULL;
    mu_exchange_limit_end(&h->x->x);
    mu_conn_count(c, MU_CONN_WRITING, 'W');
    if (!mu_conn_watch(c)) {
        h->x->x.is_aborted = true;
        (void)end_exchange(c);
        return;
    }
    /* Room that came while the fiber still ran was announced to nobody. */
    h->wants_turn = (c->stream.io.ready & MU_WRITABLE) != 0;
    mu_timer_arm(&c->timer, h->wants_turn ? 0 : mu_core_of(h->x->x.req.vhost->base)->timeout_ms);
}

/**
 * The request side is done with c's exchange. True: the connection goes on and may have another
 * request.
 */
static bool answered(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);
    struct mu_h1_exchange *x = h->x;

    if (!x->x.is_ended && !x->x.is_aborted) {
        /*
         * Every path of the request side ends the answer; one cut short by a cancellation may not
         * have.
         */
        x->x.is_aborted = true;
    }
    if (mu_is_cancelled() || h->is_aborted)
        x->x.is_aborted |= x->has_pending || !x->x.is_ended;
    if (x->lost != MU_OK) {
        x->x.is_aborted = true;
        if (x->lost == MU_TIMEOUT)
            log_late(x);
    }
    if (x->has_pending && !x->x.is_aborted) {
        begin_flush(c);
        return false;
    }
    if (mu_is_cancelled())
        x->x.wants_close = true; /* this fiber cannot wait any more, and so cannot serve */
    return end_exchange(c);
}

/** A fiber's whole life: answer, and go on as long as complete requests are there. */
static void serve(void *arg)
{
    struct mu_conn *c = arg;
    struct mu_fiber *self = mu_fiber_self();
    enum mu_h1_got next = MU_H1_READY;

    for (unsigned i = 1; next == MU_H1_READY; i++) {
        struct mu_exchange *x = &mu_h1_of(c)->x->x;

        x->fiber = self;
        mu_fiber_set_local(self, x);
        if (i % IN_A_ROW == 0)
            (void)mu_yield();
        mu_process_exchange(x);
        next = answered(c) ? mu_h1_next(c) : MU_H1_PARKED;
    }
    mu_fiber_set_local(self, NULL);
}

/** No fiber can be had: say so without one, in the log as well. */
static void answer_overload(struct mu_conn *c)
{
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                               "Retry-After: 1\r\nConnection: close\r\n\r\n";
    struct iovec iov = { .iov_base = (void *)(uintptr_t)text, .iov_len = sizeof(text) - 1 };
    struct mu_h1_exchange *x = mu_h1_of(c)->x;
    size_t sent;

    mu_exchange_unserved(&x->x, MU_503_SERVICE_UNAVAILABLE);
    x->x.wants_close = true;
    x->x.is_head_sent = x->x.is_ended = true;
    if (mu_stream_writev(&c->stream, &iov, 1, false, &sent) != MU_OK)
        x->x.is_aborted = true;
    x->x.wire_out = sent;
    MU_LOG(&x->x.req.log, "core", MU_LOG_ERR, "MU0540",
           "no fiber for a request, answered 503: MaxFibers is reached or memory is short");
    (void)end_exchange(c);
}

/** Run the exchange that was begun. In the reactor. */
static void start(struct mu_conn *c)
{
    struct mu_host_priv *p = mu_host_priv(c->host);
    struct mu_conn *outer = p->starting;
    struct mu_h1 *h = mu_h1_of(c);
    enum mu_rc rc;

    p->starting = c;
    rc = mu_fiber_run(c->host->reactor, serve, c);
    if (p->starting == NULL) { /* closed already: c is gone */
        p->starting = outer;
        return;
    }
    p->starting = outer;
    if (rc != MU_OK) {
        answer_overload(c);
        return;
    }
    if (h->state != MU_H1_RUN)
        return;
    /* It waits: for the client, or for something else while the client may leave. */
    mu_exchange_score_parked(&h->x->x);
    mu_conn_count(c, MU_CONN_WRITING, 'W');
    if (!mu_conn_watch(c) && h->x->x.fiber)
        mu_fiber_cancel(h->x->x.fiber);
}

static void read_on(struct mu_conn *c)
{
    if (mu_h1_next(c) == MU_H1_READY)
        start(c);
}

static void flush_on(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);
    uint64_t before = h->x->x.wire_out;
    enum mu_rc rc = mu_h1_flush(h->x);

    h->wants_turn = rc == MU_LIMIT;
    if (rc == MU_LIMIT) {
        mu_timer_arm(&c->timer, 0);
    } else if (rc == MU_AGAIN) {
        if (h->x->x.wire_out != before || !mu_timer_is_armed(&c->timer))
            mu_timer_arm(&c->timer, mu_core_of(h->x->x.req.vhost->base)->timeout_ms);
    } else {
        mu_timer_cancel(&c->timer);
        if (end_exchange(c))
            read_on(c);
    }
}

void mu_h1_go(struct mu_limit_wait *w)
{
    struct mu_h1 *h = MU_CONTAINER_OF(w, struct mu_h1, wait);
    struct mu_conn *c = mu_h1_conn(h);

    mu_h1_unhold(c);
    h->has_place = true;
    read_on(c);
}

static void h1_open(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);

    h->state = MU_H1_HEAD;
    h->since_ms = mu_now_ms();
    c->stream.io.ready |= MU_READABLE; /* perhaps: one read tells */
    read_on(c);
}

/**
 * Read on after the poller announced bytes: what comes first had begun to arrive when this turn
 * began.
 */
static void read_announced(struct mu_conn *c)
{
    if (mu_h1_next(c) != MU_H1_READY)
        return;
    mu_h1_of(c)->x->x.was_waiting = true;
    start(c);
}

static void h1_ready(struct mu_conn *c, unsigned events)
{
    struct mu_h1 *h = mu_h1_of(c);

    switch ((enum mu_h1_state)h->state) {
    case MU_H1_HEAD:
    case MU_H1_IDLE:
        if (events & (MU_READABLE | MU_HANGUP))
            read_announced(c);
        return;
    case MU_H1_HELD:
        if ((events & MU_HANGUP) && mu_conn_is_torn(c)) {
            mu_limit_leave(c->host, &h->wait);
            mu_h1_unhold(c);
            mu_h1_end(c, false);
        }
        return;
    case MU_H1_RUN:
        /* A client that has merely finished sending still gets its answer. */
        if ((events & MU_HANGUP) && h->x->x.fiber && mu_conn_is_torn(c))
            mu_fiber_cancel(h->x->x.fiber); /* no more: a worker thread may own the exchange now */
        else if ((events & MU_HANGUP) && h->x->x.client_ends)
            mu_wake_raise(h->x->x.client_ends);
        else if (events & MU_WRITABLE)
            mu_h1_send_beside(h->x);
        return;
    case MU_H1_SKIP:
        if ((events & (MU_READABLE | MU_HANGUP)) && mu_h1_skip_ready(c))
            read_on(c);
        return;
    case MU_H1_FLUSH:
        if (events & (MU_WRITABLE | MU_HANGUP))
            flush_on(c);
        return;
    case MU_H1_LINGER:
        mu_h1_linger_ready(c);
        return;
    }
}

/** A head that does not come: an answer when it was begun, else just the end. */
static void head_timeout(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);
    int64_t left = mu_h1_head_ms_left(c);

    if (left > 0 && (h->n > h->start || !c->host->is_draining)) {
        mu_timer_arm(&c->timer, left);
    } else if (h->n == h->start) {
        mu_h1_end(c, c->host->is_draining);
    } else if (mu_h1_refuse_head(c, MU_408_REQUEST_TIMEOUT, "head too slow") == MU_H1_READY) {
        start(c);
    }
}

/** The keep-alive time is over. A request that is there already is still answered. */
static void idle_timeout(struct mu_conn *c)
{
    char byte;

    if (recv(c->stream.io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0) {
        c->stream.io.ready |= MU_READABLE;
        read_on(c);
    } else {
        /*
         * While the child ends, clients did not expect this: one whose request crosses must not be
         * reset.
         */
        mu_h1_end(c, c->host->is_draining);
    }
}

static void h1_timeout(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);

    switch ((enum mu_h1_state)h->state) {
    case MU_H1_HEAD:
        head_timeout(c);
        return;
    case MU_H1_IDLE:
        idle_timeout(c);
        return;
    case MU_H1_SKIP:
        if (mu_h1_skip_timeout(c))
            read_on(c);
        return;
    case MU_H1_FLUSH:
        if (h->wants_turn) {
            flush_on(c);
            return;
        }
        log_late(h->x);
        h->x->x.is_aborted = true;
        (void)end_exchange(c);
        return;
    case MU_H1_LINGER:
        mu_h1_linger_timeout(c);
        return;
    case MU_H1_HELD:
        mu_limit_leave(c->host, &h->wait);
        mu_h1_unhold(c);
        if (mu_h1_refuse_head(c, MU_503_SERVICE_UNAVAILABLE,
                              "EventRequestLimit: no request ended within TimeOut") == MU_H1_READY)
            start(c);
        return;
    case MU_H1_RUN:
        mu_h1_beside_timeout(h->x);
        return;
    }
}

static void h1_drain(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);
    bool is_quiet = (h->state == MU_H1_HEAD || h->state == MU_H1_IDLE) && h->n == h->start;

    /* One more request is answered, with Connection: close; none comes within a while: the end. */
    if (is_quiet &&
        (!mu_timer_is_armed(&c->timer) || c->timer.deadline_ms - mu_now_ms() > MU_H1_DRAIN_IDLE_MS))
        mu_timer_arm(&c->timer, MU_H1_DRAIN_IDLE_MS);
}

static void h1_abort(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);

    h->is_aborted = true;
    if (h->state == MU_H1_RUN) {
        if (!h->x->x.is_lent)
            (void)shutdown(c->stream.io.fd, SHUT_RDWR);
        if (h->x->x.fiber)
            mu_fiber_cancel(h->x->x.fiber);
    } else if (h->state == MU_H1_FLUSH) {
        h->x->x.is_aborted = true;
        (void)end_exchange(c);
    } else {
        mu_h1_skip_end(h);
        if (h->state == MU_H1_HELD) {
            mu_limit_leave(c->host, &h->wait);
            mu_h1_unhold(c);
        }
        mu_h1_end(c, false);
    }
}

void mu_exchange_close_after(struct mu_exchange *x)
{
    x->wants_close = true;
}

const struct mu_protocol mu_protocol_http1 = {
    .name = "http",
    .conn_size = sizeof(struct mu_h1),
    .open = h1_open,
    .ready = h1_ready,
    .timeout = h1_timeout,
    .drain = h1_drain,
    .abort = h1_abort,
};
