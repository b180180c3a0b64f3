/* talk: a script and its client, both directions and standard error at once, on one fiber.
 *
 * The body is read when the script's pipe has room, the output when the client takes it: whoever is
 * slow holds the other one back, and the server keeps no more than a buffer. One case would hold
 * both for ever: a script that answers while it reads, and a client that reads only when it has sent
 * everything. So what is answered before the body is through does not wait for the client.
 */
#include "cgi.h"

#include <muster/clock.h>
#include <stdlib.h>

enum {
    BODY_BUF = 32 * 1024,
    OUT_BUF = 64 * 1024,
    ERR_BUF = 8 * 1024, /* with PIECES: all that a pipe holds */
    WATCHED = 3,        /* its output, standard error and end */
    PIECES = 8,         /* moved in one direction before the others have their turn */
    ASK_MS = 250,       /* a script that answers at once need not be asked for */
    FLUSH_MS = 4,       /* output is sent so long after it was written, unless there is more */
    TAIL_MS = 1000,     /* for a script that has ended its output and not itself */
};

/* ---- to the script ---- */

static void stop_feeding(struct cgi_run *c)
{
    mu_io_close(&c->in);
    free(c->body);
    c->body = NULL;
    c->body_at = c->body_n = 0;
    c->awaits_body = false;
}

static void fail_client(struct cgi_run *c, enum mu_rc rc)
{
    c->client_rc = rc;
    c->end = CGI_CLIENT;
}

/* More of the body. False: there is none, now or ever. */
static bool refill(struct cgi_run *c)
{
    size_t got = 0;
    enum mu_rc rc;

    c->body_at = c->body_n = 0;
    if (!c->body)
        c->body = malloc(BODY_BUF);
    if (!c->body) {
        c->end = CGI_NO_MEMORY;
        return false;
    }
    rc = mu_body_try_read(c->r, c->body, BODY_BUF, &got, &c->body_item, &c->body_deadline_ms);
    c->body_n = got;
    c->awaits_body = rc == MU_AGAIN;
    cgi_record_body(c, mu_str_n(c->body, got));
    if (got > 0)
        return true;
    if (rc == MU_EOF)
        stop_feeding(c);
    else if (rc != MU_AGAIN)
        fail_client(c, rc);
    return false;
}

/* Returns the bytes that moved. */
static size_t feed(struct cgi_run *c)
{
    size_t moved = 0;

    if (c->body && !(c->in.ready & MU_WRITABLE))
        return 0;
    for (int i = 0; i < PIECES && c->in.fd >= 0 && c->end == CGI_ON; i++) {
        struct iovec iov;
        size_t sent;
        enum mu_rc rc;

        if (c->body_at == c->body_n && !refill(c))
            break;
        iov = (struct iovec){ c->body + c->body_at, c->body_n - c->body_at };
        rc = mu_try_writev(&c->in, &iov, 1, false, &sent);
        c->body_at += sent;
        moved += sent;
        if (rc == MU_AGAIN)
            break;
        if (rc != MU_OK) /* it does not read, which is its own affair */
            stop_feeding(c);
    }
    if (c->body_at == c->body_n) {
        free(c->body);
        c->body = NULL;
    }
    return moved;
}

/* ---- from it ---- */

static void note_rc(struct cgi_run *c, enum mu_rc rc)
{
    switch (rc) {
    case MU_OK:
        break;
    case MU_EOF:
        c->end = CGI_ENOUGH;
        break;
    case MU_BAD:
        c->end = CGI_BAD_HEAD;
        break;
    case MU_NOMEM:
        c->end = CGI_NO_MEMORY;
        break;
    default:
        fail_client(c, rc);
        break;
    }
}

static void take_output(struct cgi_run *c, struct mu_str bytes)
{
    if (c->in.fd >= 0 && !c->is_spooling) {
        mu_resp_spool(c->r);
        c->is_spooling = true;
    }
    if (!c->answer.is_head_done)
        cgi_record_out(c, bytes);
    if (!c->flush_ms)
        c->flush_ms = mu_deadline(FLUSH_MS);
    if (c->nph)
        note_rc(c, cgi_nph_bytes(c, bytes));
    else
        note_rc(c, mu_cgi_answer_bytes(&c->answer, bytes));
}

/* Returns the bytes that moved. Once the conversation has ended they are dropped. */
static size_t receive(struct cgi_run *c)
{
    size_t got = 0, moved = 0;
    enum mu_rc rc = MU_OK;
    char *buf;

    if (c->out.fd < 0 || !(c->out.ready & MU_READABLE))
        return 0;
    buf = malloc(OUT_BUF);
    if (!buf) {
        c->end = CGI_NO_MEMORY;
        return 0;
    }
    for (int i = 0; i < PIECES && rc == MU_OK; i++) {
        rc = mu_try_read(&c->out, buf, OUT_BUF, &got);
        moved += got;
        if (c->end == CGI_ON && got > 0)
            take_output(c, mu_str_n(buf, got));
        if (c->end != CGI_ON && c->end != CGI_BAD_HEAD)
            break;
    }
    free(buf);
    if (rc != MU_OK && rc != MU_AGAIN) {
        mu_io_close(&c->out);
        if (c->end == CGI_ON)
            c->end = CGI_DONE;
    }
    return moved;
}

size_t cgi_hear(struct cgi_run *c)
{
    char buf[ERR_BUF];
    enum mu_rc rc = MU_OK;
    size_t got, moved = 0;

    for (int i = 0; i < PIECES && rc == MU_OK && c->err.fd >= 0; i++) {
        rc = mu_try_read(&c->err, buf, sizeof(buf), &got);
        moved += got;
        if (got > 0)
            cgi_stderr(c, mu_str_n(buf, got));
    }
    if (rc != MU_OK && rc != MU_AGAIN) {
        cgi_stderr_end(c);
        mu_io_close(&c->err);
    }
    return moved;
}

static void learn_exit(struct cgi_run *c)
{
    enum mu_rc rc = c->has_exited ? MU_AGAIN : mu_script_try_wait(&c->script, &c->exit_status);

    if (rc == MU_AGAIN)
        return;
    if (rc != MU_OK && c->end == CGI_ON)
        c->end = CGI_BROKEN;
    c->is_lost = rc != MU_OK;
    c->has_exited = true;
}

/* ---- both ---- */

static int64_t deadline(const struct cgi_run *c)
{
    int64_t at = c->timeout_ms < 0 ? MU_NEVER : c->heard_ms + c->timeout_ms;

    if (c->has_client)
        at = MU_NEVER; /* it talks to somebody else */
    if (c->awaits_body)
        at = c->body_deadline_ms;
    return at;
}

static size_t watch_outputs(struct cgi_run *c, struct mu_wait_item *items)
{
    size_t n = 0;

    if (c->out.fd >= 0)
        items[n++] = (struct mu_wait_item){ .io = &c->out, .want = MU_READABLE };
    if (c->err.fd >= 0)
        items[n++] = (struct mu_wait_item){ .io = &c->err, .want = MU_READABLE };
    if (!c->has_exited)
        items[n++] = (struct mu_wait_item){ .io = &c->script.channel, .want = MU_READABLE };
    return n;
}

static enum mu_rc flush(struct cgi_run *c)
{
    c->flush_ms = 0;
    return c->nph && c->nph->is_raw ? mu_resp_flush(c->r) : mu_cgi_answer_flush(&c->answer);
}

/* Room for what there is of the body, or more of it; or that the client has finished sending, and perhaps left, which
 * reading tells where the body is awaited. That one is the last item. */
static size_t watch_client(struct cgi_run *c, struct mu_wait_item *items)
{
    size_t n = 0;

    if (c->awaits_body)
        items[n++] = c->body_item;
    else if (c->body)
        items[n++] = (struct mu_wait_item){ .io = &c->in, .want = MU_WRITABLE };
    if (!c->awaits_body && !c->has_asked && !c->ask_ms)
        items[n++] = (struct mu_wait_item){ .wake = &c->leaves };
    return n;
}

static enum mu_rc ask(struct cgi_run *c)
{
    c->has_asked = true;
    c->ask_ms = 0;
    return mu_client_ask(c->r);
}

/* What is due when nothing happens before `at`. */
static void time_passed(struct cgi_run *c)
{
    int64_t now = mu_now_ms();

    if (c->flush_ms && c->flush_ms <= now)
        note_rc(c, flush(c));
    else if (c->ask_ms && c->ask_ms <= now)
        note_rc(c, ask(c));
    else if (!c->awaits_body && deadline(c) <= now) /* else the next look at the body says so */
        c->end = CGI_LATE;
}

static int64_t earlier(int64_t at, int64_t other)
{
    return other && other < at ? other : at;
}

static void wait_for_more(struct cgi_run *c)
{
    struct mu_wait_item items[WATCHED + 2];
    size_t n = watch_outputs(c, items);
    enum mu_rc rc;

    n += watch_client(c, items + n);
    rc = mu_wait(items, n, earlier(earlier(deadline(c), c->flush_ms), c->ask_ms));
    if (rc == MU_TIMEOUT)
        time_passed(c);
    else if (rc != MU_OK)
        note_rc(c, rc == MU_EIO ? MU_NOMEM : rc);
    else if (n > 0 && items[n - 1].wake == &c->leaves && items[n - 1].got)
        c->ask_ms = mu_deadline(ASK_MS);
}

static void turn(struct cgi_run *c)
{
    size_t moved = feed(c);

    if (c->err.ready & MU_READABLE)
        moved += cgi_hear(c);
    if (c->end == CGI_ON)
        moved += receive(c);
    if (c->end == CGI_ON && (c->script.channel.ready & MU_READABLE))
        learn_exit(c);
    if (c->end == CGI_ON && c->has_client && c->has_exited)
        c->end = CGI_DONE;
    if (c->end != CGI_ON)
        return;
    if (moved == 0) {
        wait_for_more(c);
        return;
    }
    c->heard_ms = mu_now_ms();
    if (mu_spent(moved) != MU_OK)
        fail_client(c, MU_GONE);
}

void cgi_talk(struct cgi_run *c)
{
    c->heard_ms = mu_now_ms();
    while (c->end == CGI_ON)
        turn(c);
    mu_client_watch(c->r, NULL);
    if (c->end == CGI_CLIENT)
        MU_LOG(&c->r->log, "cgi", MU_LOG_INFO, "MU1347",
               "the client left, or sends or takes nothing: %.*s is ended", MU_FMT(c->name));
    if (c->end == CGI_LATE)
        MU_LOG(&c->r->log, "cgi", MU_LOG_ERR, "MU1345",
               "%.*s has said nothing for %lld s and is ended; CGIScriptTimeout gives it more time",
               MU_FMT(c->name), (long long)(c->timeout_ms / 1000));
    if (c->end == CGI_BROKEN)
        MU_LOG(
            &c->r->log, "cgi", MU_LOG_ERR, "MU1346",
            "%.*s is ended: the helper that started it is gone (see the supervisor's line about it)",
            MU_FMT(c->name));
}

void cgi_tail(struct cgi_run *c, int64_t ms)
{
    int64_t until = mu_deadline(ms);
    enum mu_rc rc = MU_OK;

    while (rc == MU_OK) {
        struct mu_wait_item items[WATCHED];
        size_t n;

        (void)receive(c);
        learn_exit(c);
        (void)cgi_hear(c); /* behind the exit: then it is all there */
        n = watch_outputs(c, items);
        if (n == 0 || (c->has_exited && c->out.fd < 0))
            break;
        rc = mu_now_ms() < until ? mu_wait(items, n, until) : MU_TIMEOUT;
    }
}
