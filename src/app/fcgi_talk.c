/*
 * fcgi_talk: one request on one connection to an application, both directions at once: neither side can make the
 * other wait for what it does not read. Buffers are borrowed from the reactor while there is something in them, so a
 * request that only waits for its application holds none. Whether to try again, and what the client is told, is decided
 * in fcgi_run.c.
 */
#include "fcgi_talk.h"

#include <engine/reactor.h>
#include <errno.h>
#include <muster/clock.h>

enum {
    PIECES = 8,   /* moved in one direction before the other has its turn */
    ASK_MS = 250, /* an application that answers sooner is not disturbed */
};

/* ---- to the application ---- */

static bool next_pair(void *arg, struct mu_fcgi_pair *pair)
{
    struct mu_talk *t = arg;

    if (t->env_at == t->env->n)
        return false;
    *pair = (struct mu_fcgi_pair){ t->env->v[t->env_at].name, t->env->v[t->env_at].value };
    t->env_at++;
    return true;
}

static void put_head(struct mu_talk *t, enum mu_fcgi_type type, size_t len)
{
    mu_fcgi_head(t->out + t->out_n, type, MU_FCGI_ID, len);
    t->out_n += MU_FCGI_HEAD + len;
}

static enum mu_rc read_body(struct mu_talk *t, void *buf, size_t cap, size_t *got)
{
    enum mu_rc rc;

    t->awaits_body = false;
    if (!t->o->streams_body)
        return mu_body_read(t->r, buf, cap, got);
    rc = mu_body_try_read(t->r, buf, cap, got, &t->body_item, &t->body_deadline_ms);
    t->has_lost_body |= *got > 0;
    return rc;
}

/* Records of stdin behind what `out` holds already. */
static void put_body(struct mu_talk *t)
{
    while (t->stage == MU_TALK_BODY && t->out_cap - t->out_n > 2 * MU_FCGI_HEAD) {
        size_t room = t->out_cap - t->out_n - 2 * MU_FCGI_HEAD, got = 0;
        enum mu_rc rc;

        if (room > MU_FCGI_BODY_MAX)
            room = MU_FCGI_BODY_MAX;
        rc = read_body(t, t->out + t->out_n + MU_FCGI_HEAD, room, &got);
        if (got > 0)
            put_head(t, MU_FCGI_T_STDIN, got);
        if (rc == MU_OK)
            continue;
        if (rc == MU_EOF) {
            put_head(t, MU_FCGI_T_STDIN, 0);
            t->stage = MU_TALK_SENT;
        } else if (rc == MU_AGAIN) {
            t->awaits_body = true;
            return;
        } else {
            t->client_rc = rc;
            t->end = MU_TALK_CLIENT;
            return;
        }
    }
}

/* Put into `out`, which is empty, what comes next. */
static void fill(struct mu_talk *t)
{
    size_t n;

    t->out_at = t->out_n = 0;
    if (!t->out) {
        t->out = (uint8_t *)mu_reactor_buf_borrow(mu_reactor_self(), &t->out_cap);
        if (!t->out) {
            t->end = MU_TALK_NO_MEMORY;
            return;
        }
    }
    if (t->stage == MU_TALK_BEGIN) {
        t->out_n = mu_fcgi_begin(t->out, MU_FCGI_ID, t->o->wants_keep);
        t->stage = MU_TALK_PARAMS;
    }
    if (t->stage == MU_TALK_PARAMS) {
        if (mu_fcgi_params_write(&t->params, t->out + t->out_n, t->out_cap - t->out_n, &n) !=
            MU_OK) {
            t->end = MU_TALK_TOO_MUCH;
            return;
        }
        t->out_n += n;
        if (t->params.is_done)
            t->stage = MU_TALK_BODY;
    }
    put_body(t);
}

static void drop_out(struct mu_talk *t)
{
    if (t->out)
        mu_reactor_buf_give_back(mu_reactor_self(), (char *)t->out);
    t->out = NULL;
    t->out_at = t->out_n = 0;
}

/* It takes nothing more; what it has to say is read all the same. */
static void stop_sending(struct mu_talk *t)
{
    t->is_deaf = true;
    t->stage = MU_TALK_SENT;
    t->awaits_body = false;
    drop_out(t);
}

/* One write of what is there. MU_AGAIN: no room, or nothing to send. */
static enum mu_rc send_piece(struct mu_talk *t)
{
    struct iovec iov;
    size_t sent;
    enum mu_rc rc;

    if (t->out_at == t->out_n) {
        if (t->wants_client)
            return mu_pass_answer(t);
        if (t->stage == MU_TALK_SENT)
            return MU_AGAIN;
        fill(t);
        if (t->end != MU_TALK_ON || t->out_n == 0)
            return MU_AGAIN;
    }
    iov = (struct iovec){ t->out + t->out_at, t->out_n - t->out_at };
    rc = mu_try_writev(&t->c.io, &iov, 1, false, &sent);
    t->out_at += sent;
    t->has_sent |= sent > 0;
    return rc;
}

/* Returns the bytes that moved. */
static size_t send_some(struct mu_talk *t)
{
    size_t moved = 0;
    enum mu_rc rc = MU_OK;

    for (int i = 0; i < PIECES && rc == MU_OK && t->end == MU_TALK_ON; i++) {
        size_t before = t->out_at == t->out_n ? 0 : t->out_at;

        rc = send_piece(t);
        if (rc == MU_OK)
            moved += t->out_at > before ? t->out_at - before : 1;
    }
    if (rc != MU_OK && rc != MU_AGAIN)
        stop_sending(t);
    else if (t->out_at == t->out_n)
        drop_out(t);
    return moved;
}

/* ---- from it ---- */

void mu_talk_begin_answer(struct mu_talk *t)
{
    mu_cgi_answer_begin(&t->answer, t->r, t->o->name, t->o->flushes);
    t->answer.replaces_error = t->o->replaces_error;
    t->answer.arg = t->o->arg;
    t->has_answer = true;
}

static void note_answer_rc(struct mu_talk *t, enum mu_rc rc)
{
    if (rc == MU_OK)
        return;
    t->client_rc = rc;
    t->end = rc == MU_EOF     ? MU_TALK_ENOUGH
             : rc == MU_BAD   ? MU_TALK_BAD_HEAD
             : rc == MU_NOMEM ? MU_TALK_NO_MEMORY
                              : MU_TALK_CLIENT;
}

static void take_output(struct mu_talk *t, struct mu_str bytes)
{
    if (t->has_client || t->wants_client) {
        t->in.why = "output after it had asked for the client";
        t->end = MU_TALK_NONSENSE;
        return;
    }
    if (!t->has_answer)
        mu_talk_begin_answer(t);
    note_answer_rc(t, mu_cgi_answer_bytes(&t->answer, bytes));
}

static void take_event(struct mu_talk *t, const struct mu_fcgi_event *e)
{
    switch (e->type) {
    case MU_FCGI_EV_OUT:
        take_output(t, e->data);
        break;
    case MU_FCGI_EV_ERR:
        mu_talk_stderr(t, e->data);
        break;
    case MU_FCGI_EV_TAKE:
        mu_pass_asked(t);
        break;
    case MU_FCGI_EV_DONE:
        mu_pass_report(t, e);
        break;
    case MU_FCGI_EV_END:
        t->outcome = e->outcome;
        t->end = e->outcome == MU_FCGI_COMPLETE ? MU_TALK_DONE : MU_TALK_REFUSED;
        if (e->app_status)
            MU_LOG(&t->r->log, "proxy_fcgi", MU_LOG_DEBUG, "MU1400",
                   "%.*s ended the request with status %u", MU_FMT(t->o->name), e->app_status);
        break;
    case MU_FCGI_EV_NONE:
        break;
    }
}

static void take_bytes(struct mu_talk *t, const char *buf, size_t n)
{
    size_t at = 0;

    for (; t->first_n < sizeof(t->first) && t->first_n < n && !t->in.has_bytes; t->first_n++)
        t->first[t->first_n] = buf[t->first_n];
    while (at < n && t->end == MU_TALK_ON) {
        struct mu_fcgi_event e;
        size_t used;
        enum mu_rc rc = mu_fcgi_answer_read(&t->in, buf + at, n - at, &e, &used);

        at += used;
        if (rc == MU_OK)
            take_event(t, &e);
        else
            t->end = MU_TALK_NONSENSE;
    }
    if (t->in.is_ended && at < n) { /* the padding of the end, or something that belongs nowhere */
        struct mu_fcgi_event e;
        size_t used;

        t->has_junk = mu_fcgi_answer_read(&t->in, buf + at, n - at, &e, &used) != MU_OK;
    }
}

/* Returns the bytes that moved. */
static size_t receive_some(struct mu_talk *t)
{
    struct mu_reactor *reactor = mu_reactor_self();
    size_t cap, got = 0, moved = 0;
    enum mu_rc rc = MU_OK;
    char *buf;

    if (!(t->c.io.ready & MU_READABLE))
        return 0;
    buf = mu_reactor_buf_borrow(reactor, &cap);
    if (!buf) {
        t->end = MU_TALK_NO_MEMORY;
        return 0;
    }
    for (int i = 0; i < PIECES && rc == MU_OK && t->end == MU_TALK_ON; i++) {
        rc = mu_try_read(&t->c.io, buf, cap, &got);
        moved += got;
        if (rc == MU_OK)
            take_bytes(t, buf, got);
        if (!(t->c.io.ready & MU_READABLE))
            break;
    }
    mu_reactor_buf_give_back(reactor, buf);
    if (rc != MU_OK && rc != MU_AGAIN && t->end == MU_TALK_ON)
        /* Without an END_REQUEST, but with the end of its output, nothing is missing. */
        t->end = t->in.is_out_closed ? MU_TALK_DONE : MU_TALK_BROKEN;
    return moved;
}

/* ---- both ---- */

/* Until when this is worth waiting for. */
static int64_t deadline(const struct mu_talk *t)
{
    if (t->has_client)
        return MU_NEVER; /* it talks to somebody else */
    if (t->awaits_body)
        return t->body_deadline_ms;
    return t->o->io_ms < 0 ? MU_NEVER : t->heard_ms + t->o->io_ms;
}

static size_t watch_application(struct mu_talk *t, struct mu_wait_item *items)
{
    items[0] = (struct mu_wait_item){ .io = &t->c.io, .want = MU_READABLE };
    if (t->out_at == t->out_n && !t->wants_client)
        return 1;
    items[1] = (struct mu_wait_item){ .io = &t->c.io, .want = MU_WRITABLE };
    return 2;
}

/* The client has finished sending, and perhaps left: in the middle of a body reading it tells. */
static size_t watch_client(struct mu_talk *t, struct mu_wait_item *item)
{
    if (t->awaits_body)
        *item = t->body_item;
    else if (!t->has_client && !t->has_asked && !t->ask_ms)
        *item = (struct mu_wait_item){ .wake = &t->leaves };
    else
        return 0;
    return 1;
}

/* A client that has finished sending is asked once whether it is there. */
static void ask_client(struct mu_talk *t)
{
    t->ask_ms = 0;
    if (t->awaits_body || t->has_client || mu_client_is_sending(t->r))
        return;
    t->has_asked = true;
    t->client_rc = mu_client_ask(t->r);
    if (t->client_rc != MU_OK)
        t->end = MU_TALK_CLIENT;
}

/* Nothing has happened: what is due now? */
static void time_passed(struct mu_talk *t)
{
    if (t->ask_ms && t->ask_ms <= mu_now_ms()) {
        ask_client(t);
    } else if (deadline(t) <= mu_now_ms()) {
        t->client_rc = MU_TIMEOUT;
        t->end = t->awaits_body ? MU_TALK_CLIENT : MU_TALK_LATE;
    }
}

static void wait_for_more(struct mu_talk *t)
{
    struct mu_wait_item items[3];
    size_t n = watch_application(t, items);
    int64_t until = deadline(t);
    enum mu_rc rc;

    n += watch_client(t, items + n);
    if (t->ask_ms && t->ask_ms < until)
        until = t->ask_ms;
    rc = mu_wait(items, n, until);
    if (rc == MU_TIMEOUT) {
        time_passed(t);
    } else if (rc != MU_OK) {
        t->client_rc = rc;
        t->end = rc == MU_NOMEM ? MU_TALK_NO_MEMORY : MU_TALK_CLIENT;
    } else if (items[n - 1].wake && items[n - 1].got) {
        t->ask_ms = mu_deadline(ASK_MS);
    }
}

static void turn(struct mu_talk *t)
{
    size_t moved = send_some(t);

    if (t->end == MU_TALK_ON)
        moved += receive_some(t);
    if (t->end != MU_TALK_ON)
        return;
    if (moved == 0) {
        if (t->o->flushes_pauses && t->has_answer)
            note_answer_rc(t, mu_cgi_answer_flush(&t->answer));
        if (t->end == MU_TALK_ON)
            wait_for_more(t);
        return;
    }
    t->heard_ms = mu_now_ms();
    if (mu_spent(moved) != MU_OK) {
        t->client_rc = MU_GONE;
        t->end = MU_TALK_CLIENT;
    }
}

/* What is told it when it may be at work still. */
static void tell_to_stop(struct mu_talk *t)
{
    uint8_t record[MU_FCGI_HEAD];
    struct iovec iov = { record, sizeof(record) };
    size_t sent;

    if ((t->out_at > 0 && t->out_at < t->out_n) || t->is_deaf || !t->has_sent)
        return; /* in the middle of another record it would not be understood */
    mu_fcgi_head(record, MU_FCGI_T_ABORT, MU_FCGI_ID, 0);
    (void)!mu_try_writev(&t->c.io, &iov, 1, false, &sent); /* it is closed in any case */
}

static bool may_keep(const struct mu_talk *t)
{
    return t->o->wants_keep && t->end == MU_TALK_DONE && t->in.is_ended && !t->is_deaf &&
           !t->has_junk && t->stage == MU_TALK_SENT && t->out_at == t->out_n &&
           mu_fcgi_is_between(&t->in.reader);
}

void mu_talk_run(struct mu_talk *t)
{
    mu_fcgi_params_begin(&t->params, MU_FCGI_ID, next_pair, t);
    t->heard_ms = mu_now_ms();
    mu_wake_init(&t->leaves);
    mu_client_watch(t->r, &t->leaves);
    t->ask_ms = mu_deadline(ASK_MS); /* it may have finished before there was anybody to be told */
    while (t->end == MU_TALK_ON)
        turn(t);
    mu_client_watch(t->r, NULL);
    mu_talk_stderr_end(t);
    t->may_keep = may_keep(t);
    if (t->end == MU_TALK_CLIENT || t->end == MU_TALK_ENOUGH || t->end == MU_TALK_LATE ||
        t->end == MU_TALK_BAD_HEAD || t->end == MU_TALK_NO_MEMORY)
        tell_to_stop(t);
    drop_out(t);
}
