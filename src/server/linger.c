/*
 * linger: the end of a connection. Closing a socket with unread input makes the kernel send a
 * reset, which can destroy an answer that is still on its way; so when the client may have more to
 * say, our side is shut and its input dropped until it closes or the time is over. A client that
 * asked for the close and was heard out gets a plain close.
 */
#include <server/h1_conn.h>

enum { LINGER_QUIET_MS = 2000, LINGER_TOTAL_MS = 30000 };

/**
 * Wait for more, or (`at_once`) let others have their turn first. False: it has been long enough,
 * however lively the client.
 */
static bool go_on(struct mu_conn *c, bool at_once)
{
    struct mu_h1 *h = mu_h1_of(c);
    int64_t left = h->since_ms + LINGER_TOTAL_MS - mu_now_ms();

    if (left <= 0 || !mu_conn_watch(c))
        return false;
    h->wants_turn = at_once;
    mu_timer_arm(&c->timer, at_once ? 0 : left < LINGER_QUIET_MS ? left : LINGER_QUIET_MS);
    return true;
}

/**
 * Drop what is there. A bounded amount a turn, so that a flooding client does not keep the thread.
 */
static enum mu_rc drop_input(struct mu_conn *c)
{
    size_t cap, got;
    char *buf = mu_reactor_buf_borrow(c->host->reactor, &cap);
    enum mu_rc rc = buf ? MU_OK : MU_NOMEM;

    for (int i = 0; rc == MU_OK && i < 16; i++)
        rc = mu_stream_read(&c->stream, buf, cap, &got);
    mu_reactor_buf_give_back(c->host->reactor, buf);
    return rc;
}

void mu_h1_linger_ready(struct mu_conn *c)
{
    enum mu_rc rc = drop_input(c);

    if ((rc != MU_AGAIN && rc != MU_OK) || !go_on(c, rc == MU_OK))
        mu_conn_close(c);
}

void mu_h1_end(struct mu_conn *c, bool needs_linger)
{
    struct mu_h1 *h = mu_h1_of(c);

    mu_h1_drop_buf(c);
    if (!needs_linger) {
        mu_conn_close(c);
        return;
    }
    mu_stream_end(&c->stream);
    h->state = MU_H1_LINGER;
    h->since_ms = mu_now_ms();
    mu_conn_count(c, MU_CONN_CLOSING, 'C');
    mu_h1_linger_ready(c);
}

void mu_h1_linger_timeout(struct mu_conn *c)
{
    if (mu_h1_of(c)->wants_turn)
        mu_h1_linger_ready(c);
    else
        mu_conn_close(c);
}
