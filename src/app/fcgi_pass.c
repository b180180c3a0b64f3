/*
 * fcgi_pass: the client's socket for an application that wants to answer by itself (docs/fcgi-pass-client.md). The
 * application learns by a parameter that it may ask; only one that asks sees anything of the extension.
 */
#include "fcgi_talk.h"

#include <muster/str.h>

#define OFFER MU_S("MUSTER_PASS_CLIENT")

/* The connection of a request that a proxy has sent carries other clients' requests too. */
static bool is_from_proxy(const struct mu_req *r)
{
    return mu_headers_get(&r->in, MU_S("Via")).p || mu_headers_get(&r->in, MU_S("Forwarded")).p ||
           mu_headers_get(&r->in, MU_S("X-Forwarded-For")).p;
}

enum mu_rc mu_pass_offer(struct mu_req *r, const struct mu_fcgi_opts *o, struct mu_cgi_env *env)
{
    /* What certainly cannot be lent is not offered; the rest is seen when it is asked for. */
    bool may_be =
        o->passes_client && !r->main && r->version < 2000 && !r->peer->is_tls && !is_from_proxy(r);

    if (may_be)
        return mu_cgi_env_set(env, OFFER, MU_S("1"));
    mu_cgi_env_unset(env, OFFER);
    return MU_OK;
}

void mu_pass_asked(struct mu_talk *t)
{
    enum mu_rc rc = MU_DENIED;

    if (t->wants_client || t->has_client || t->has_answer) {
        t->in.why = "a request for the client after an answer, or a second one";
        t->end = MU_TALK_NONSENSE;
        return;
    }
    if (!t->is_client_denied)
        rc = mu_client_lend(t->r, &t->client_fd);
    if (rc == MU_OK) {
        t->wants_client = true;
    } else if (rc == MU_DENIED) {
        t->client_fd = -1;
        t->is_client_denied = true;
        t->wants_client = true;
    } else {
        t->client_rc = rc;
        t->end = MU_TALK_CLIENT;
    }
}

enum mu_rc mu_pass_answer(struct mu_talk *t)
{
    uint8_t record[2 * MU_FCGI_HEAD] = { 0 };
    size_t sent;
    enum mu_rc rc;

    mu_fcgi_head(record, MU_FCGI_T_CLIENT, MU_FCGI_ID, 8);
    record[MU_FCGI_HEAD] = t->client_fd >= 0;
    rc = mu_try_send_fds(&t->c.io, record, sizeof(record), &t->client_fd, t->client_fd >= 0, &sent);
    if (rc != MU_OK)
        return rc;
    t->wants_client = false;
    t->has_client = t->client_fd >= 0;
    if (sent < sizeof(record)) /* so little goes whole or not at all */
        return MU_EIO;
    if (t->has_client)
        MU_LOG(&t->r->log, "proxy_fcgi", MU_LOG_DEBUG, "MU1410",
               "%.*s has the client's socket and answers by itself", MU_FMT(t->o->name));
    return MU_OK;
}

void mu_pass_report(struct mu_talk *t, const struct mu_fcgi_event *e)
{
    if (!t->has_client || t->has_report || e->status < 200 || e->status > 599) {
        t->in.why = !t->has_client  ? "a report about a client that it was not given"
                    : t->has_report ? "a second report about the client"
                                    : "a report about the client with an impossible status";
        t->end = MU_TALK_NONSENSE;
        return;
    }
    t->has_report = true;
    t->client_status = e->status;
    t->client_bytes = e->bytes;
}

void mu_pass_take_back(struct mu_talk *t)
{
    if (t->client_fd < 0 || t->has_client)
        return;
    t->client_fd = -1;
    (void)mu_client_returned(t->r, MU_STATUS_NONE, 0);
}

enum mu_status mu_pass_end(struct mu_talk *t)
{
    int64_t bytes = t->client_bytes > INT64_MAX ? INT64_MAX : (int64_t)t->client_bytes;

    if (t->has_report)
        return mu_client_returned(t->r, (enum mu_status)t->client_status, bytes);
    if (t->end == MU_TALK_DONE)
        return mu_client_returned(t->r, MU_200_OK, -1);
    return mu_resp_abort(t->r);
}
