/*
 * resolve: from a backend's host to addresses. Numbers need no look-up; names are looked up where it may block, and
 * remembered by the worker for a while (addressttl).
 */
#include "proxy.h"

#include <arpa/inet.h>
#include <muster/clock.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>

static void add_v4(struct proxy_addresses *out, struct in_addr a, uint16_t port)
{
    struct proxy_address *at = &out->v[out->n++];
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = a };

    *at = (struct proxy_address){ .len = sizeof(in) };
    memcpy(&at->room, &in, sizeof(in));
}

static void add_v6(struct proxy_addresses *out, struct in6_addr a, uint16_t port)
{
    struct proxy_address *at = &out->v[out->n++];
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = a };

    *at = (struct proxy_address){ .len = sizeof(in6) };
    memcpy(&at->room, &in6, sizeof(in6));
}

/* What needs no look-up. */
static bool resolve_plainly(const struct proxy_url *u, struct proxy_addresses *out)
{
    char host[INET6_ADDRSTRLEN + 1];
    struct in6_addr v6;
    struct in_addr v4;

    if (mu_str_eq(u->host, MU_S("localhost"))) { /* RFC 6761 section 6.3 */
        add_v4(out, (struct in_addr){ htonl(INADDR_LOOPBACK) }, u->port);
        add_v6(out, (struct in6_addr)IN6ADDR_LOOPBACK_INIT, u->port);
        return true;
    }
    if (u->host.n >= sizeof(host))
        return false;
    memcpy(host, u->host.p, u->host.n);
    host[u->host.n] = 0;
    if (inet_pton(AF_INET, host, &v4) == 1)
        add_v4(out, v4, u->port);
    else if (inet_pton(AF_INET6, host, &v6) == 1)
        add_v6(out, v6, u->port);
    return out->n > 0;
}

struct lookup {
    const struct proxy_url *url;
    struct proxy_addresses *out;
    int err;
};

static void look_up(void *arg)
{
    struct lookup *l = arg;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *found;
    char host[256], port[8];

    l->err = EAI_NONAME;
    if (l->url->host.n >= sizeof(host))
        return;
    snprintf(host, sizeof(host), "%.*s", MU_FMT(l->url->host));
    snprintf(port, sizeof(port), "%u", l->url->port);
    l->err = getaddrinfo(host, port, &hints, &found);
    if (l->err != 0)
        return;
    for (struct addrinfo *a = found; a && l->out->n < PROXY_ADDRESSES; a = a->ai_next) {
        struct proxy_address *at = &l->out->v[l->out->n];

        if (a->ai_addrlen > sizeof(at->room))
            continue;
        *at = (struct proxy_address){ .len = a->ai_addrlen };
        memcpy(&at->room, a->ai_addr, a->ai_addrlen);
        l->out->n++;
    }
    freeaddrinfo(found);
}

static bool remembered(struct proxy_state *s, struct proxy_addresses *out)
{
    bool is_there;

    mu_mutex_lock(&s->lock);
    is_there = s->addresses.n > 0 && s->addresses_until_ms > mu_now_ms();
    if (is_there)
        *out = s->addresses;
    mu_mutex_unlock(&s->lock);
    return is_there;
}

static void remember(const struct proxy_call *call, const struct proxy_addresses *found)
{
    struct proxy_state *s = call->worker->state;

    mu_mutex_lock(&s->lock);
    s->addresses = *found;
    s->addresses_until_ms = mu_deadline(call->p->address_ms);
    mu_mutex_unlock(&s->lock);
}

enum mu_rc proxy_resolve(const struct proxy_call *call, struct proxy_addresses *out,
                         const char **why)
{
    struct lookup l = { .url = &call->url, .out = out };

    out->n = 0;
    if (resolve_plainly(&call->url, out) || (call->worker && remembered(call->worker->state, out)))
        return MU_OK;
    mu_offload(look_up, &l);
    if (l.err == 0 && out->n > 0) {
        if (call->worker)
            remember(call, out);
        return MU_OK;
    }
    if (mu_is_cancelled())
        return MU_GONE;
    *why = l.err ? gai_strerror(l.err) : "it has no address";
    return MU_EIO;
}
