/*
 * lend: answers that are not given or do not end in the usual way: by a program that has the client's
 * socket, in words of the handler's own, or cut short; answers that do not wait for the client, and
 * clients that do not wait for their answer. What a protocol does for it stands behind the
 * exchange's operations.
 */
#include <server/exchange.h>

#include <muster/wait.h>

struct lend_call {
    struct mu_exchange *x;
    int *fd;
    enum mu_rc rc;
};

/** Whoever waits for 100 Continue is told now: later it would get into the program's words. */
static enum mu_rc say_continue(struct mu_exchange *x)
{
    if (!x->expects_continue)
        return MU_OK;
    x->expects_continue = false;
    return x->ops->interim ? x->ops->interim(x, MU_100_CONTINUE, NULL) : MU_OK;
}

static void lend_home(void *arg)
{
    struct lend_call *c = arg;
    struct mu_exchange *x = c->x;

    c->rc = say_continue(x);
    if (c->rc == MU_OK)
        c->rc = x->ops->lend(x, c->fd);
    if (c->rc != MU_OK)
        return;
    x->is_lent = true;
    x->wants_close = true;
}

/** Is nothing of the server's own mixed into what the client gets for r? */
static bool is_pure(const struct mu_req *r, const struct mu_exchange *x)
{
    return !r->main && !r->output && x->ops->lend && x->bad == MU_STATUS_NONE && !x->is_head_sent &&
           !x->is_aborted && x->gather.n == 0;
}

enum mu_rc mu_client_lend(struct mu_req *r, int *fd)
{
    struct mu_exchange *x = mu_exchange_of(r);
    struct lend_call c = { .x = x, .fd = fd, .rc = MU_DENIED };

    if (!is_pure(r, x))
        return MU_DENIED;
    mu_call_home(lend_home, &c);
    return c.rc;
}

struct back_call {
    struct mu_exchange *x;
    uint64_t sent;
};

static void take_back_home(void *arg)
{
    struct back_call *c = arg;

    c->sent = c->x->ops->take_back(c->x);
}

enum mu_status mu_client_returned(struct mu_req *r, enum mu_status status, int64_t bytes)
{
    struct mu_exchange *x = mu_exchange_of(r);
    struct mu_req *answer = mu_exchange_answer(x);
    struct back_call c = { .x = x };

    assert(x->is_lent);
    mu_call_home(take_back_home, &c);
    x->is_lent = false;
    if (status == MU_STATUS_NONE)
        return status;
    answer->status = status;
    answer->body_sent = bytes < 0 ? c.sent : (uint64_t)bytes;
    x->req.body_sent = answer->body_sent; /* also the scoreboard's */
    x->wire_out += answer->body_sent;
    x->is_head_sent = x->is_ended = true;
    return status;
}

enum mu_status mu_resp_abort(struct mu_req *r)
{
    struct mu_exchange *x = mu_exchange_of(r);

    x->is_aborted = true;
    x->is_cut_here = true;
    x->wants_close = true;
    return r->status;
}

void mu_resp_spool(struct mu_req *r)
{
    mu_exchange_of(r)->is_spooling = true;
}

enum mu_rc mu_resp_raw(struct mu_req *r)
{
    struct mu_exchange *x = mu_exchange_of(r);

    if (!is_pure(r, x))
        return MU_DENIED;
    x->is_raw = true;
    x->wants_close = true;
    return MU_OK;
}

void mu_client_watch(struct mu_req *r, struct mu_wake *w)
{
    mu_exchange_of(r)->client_ends = w;
}

bool mu_client_is_sending(struct mu_req *r)
{
    return mu_exchange_has_client(mu_exchange_of(r));
}

static void ask_home(void *arg)
{
    struct lend_call *c = arg;

    c->rc = c->x->ops->ask(c->x);
}

enum mu_rc mu_client_ask(struct mu_req *r)
{
    struct lend_call c = { .x = mu_exchange_of(r), .rc = MU_OK };

    if (c.x->ops->ask && !c.x->is_lent && !c.x->is_raw && !c.x->is_ended && !c.x->is_aborted)
        mu_call_home(ask_home, &c);
    return c.rc;
}
