/*
 * conn: a client's connection, whatever it speaks: opened on an accepted socket, counted, watched,
 * closed. It knows its peer in the compact form; texts are made for each exchange. Readiness and
 * the one timer go to the protocol. A short connection whose input is there and whose output fits
 * is never registered with the poller.
 */
#include <server/conn_internal.h>
#include <server/host_alloc.h>

#include <poll.h>
#include <stdatomic.h>
#include <unistd.h>

static void on_ready(struct mu_io *io, unsigned events)
{
    struct mu_conn *c = MU_CONTAINER_OF(io, struct mu_conn, stream.io);

    c->proto->ready(c, events);
}

static void on_timer(struct mu_timer *t)
{
    struct mu_conn *c = MU_CONTAINER_OF(t, struct mu_conn, timer);

    c->proto->timeout(c);
}

/** The child's counter of a class; reading has none of its own. */
static _Atomic uint32_t *class_counter(struct mu_score_child *s, unsigned as)
{
    switch (as) {
    case MU_CONN_WRITING:
        return &s->writing;
    case MU_CONN_KEEPALIVE:
        return &s->keepalive;
    case MU_CONN_CLOSING:
        return &s->closing;
    default:
        return NULL;
    }
}

/** Relaxed: numbers for display and for arithmetic that tolerates being late. */
static void counter_add(_Atomic uint32_t *n, uint32_t by)
{
    if (n)
        atomic_fetch_add_explicit(n, by, memory_order_relaxed);
}

void mu_conn_count(struct mu_conn *c, enum mu_conn_class as, char state)
{
    if (c->host->is_single && c->host->slots_n > 0)
        mu_score_state(&c->host->slots[0], state);
    if (c->counted == (uint8_t)as)
        return;
    if (c->host->score) {
        counter_add(class_counter(c->host->score, c->counted), UINT32_MAX);
        counter_add(class_counter(c->host->score, as), 1);
    }
    c->counted = (uint8_t)as;
}

static uint64_t next_id(void)
{
    static _Atomic uint64_t last;

    /* Relaxed: only uniqueness matters. */
    return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

enum mu_rc mu_conn_open(struct mu_conn_host *h, int fd, const struct mu_listener *l,
                        const struct mu_addr *peer)
{
    const struct mu_protocol *proto = mu_protocol_find(l ? l->want.protocol : MU_STR_NULL);
    struct mu_conn *c = mu_host_conn_alloc(h, proto);

    if (!c) {
        MU_LOG(
            NULL, "core", MU_LOG_ERR, "MU0500",
            "no memory for a connection; it is closed. Lower the number of connections or add memory");
        close(fd);
        return MU_NOMEM;
    }
    mu_stream_init(&c->stream, fd);
    c->stream.io.on_ready = on_ready;
    mu_timer_init(&c->timer, on_timer);
    c->host = h;
    c->proto = proto;
    c->listener = l;
    c->id = next_id();
    c->remote = *peer;
    mu_list_append(&h->conns, &c->link);
    h->connections++;
    if (h->score)
        counter_add(&h->score->connections, 1);
    mu_conn_count(c, MU_CONN_READING, 'R');
    proto->open(c);
    return MU_OK;
}

void mu_conn_close(struct mu_conn *c)
{
    struct mu_conn_host *h = c->host;
    struct mu_host_priv *p = mu_host_priv(h);

    if (p->starting == c)
        p->starting = NULL;
    mu_timer_cancel(&c->timer);
    mu_stream_close(&c->stream);
    mu_conn_count(c, MU_CONN_READING, '_');
    mu_list_remove(&c->link);
    h->connections--;
    if (h->score)
        counter_add(&h->score->connections, UINT32_MAX);
    mu_host_conn_free(h, c);
    if (h->on_closed)
        h->on_closed(h);
}

bool mu_conn_watch(struct mu_conn *c)
{
    bool wants_room = !(c->stream.io.ready & MU_WRITABLE);

    if (c->is_watched && !wants_room)
        return true;
    c->is_watched = mu_io_watch(&c->stream.io) == MU_OK;
    return c->is_watched;
}

bool mu_conn_is_torn(const struct mu_conn *c)
{
    struct pollfd p = { .fd = c->stream.io.fd };

    return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

bool mu_exchange_has_client(struct mu_exchange *x)
{
    struct pollfd p = { .fd = x->conn ? x->conn->stream.io.fd : -1, .events = POLLRDHUP };

    return poll(&p, 1, 0) <= 0;
}

const struct mu_addr *mu_conn_remote(const struct mu_conn *c)
{
    return &c->remote;
}

const struct mu_addr *mu_conn_local(struct mu_conn *c)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);

    if (c->local.family != AF_UNSPEC)
        return &c->local;
    if (c->listener && !mu_addr_is_any(&c->listener->want.addr))
        return &c->listener->want.addr;
    if (getsockname(c->stream.io.fd, (struct sockaddr *)&ss, &len) != 0 ||
        !mu_addr_from_sa(&c->local, (const struct sockaddr *)&ss, len) || c->local.path) {
        /*
         * A closed or unnamed socket: what was listened on is the best there is. A path would point
         * into ss.
         */
        c->local = c->listener ? c->listener->want.addr : (struct mu_addr){ .family = AF_UNIX };
    }
    return &c->local;
}

const struct mu_vhost *mu_conn_vhost(struct mu_conn *c)
{
    const struct mu_addr *at;

    if (c->vhost)
        return c->vhost;
    if (c->host->config->vhosts_n == 1)
        return c->vhost = c->host->config->main;
    /* When no server names an address the port alone decides, and that is the listener's. */
    at = mu_host_priv(c->host)->is_by_address || !c->listener ? mu_conn_local(c)
                                                              : &c->listener->want.addr;
    return c->vhost = mu_vhost_for_addr(c->host->config, at);
}

const struct mu_core_conf *mu_conn_core(struct mu_conn *c)
{
    return mu_core_of(mu_conn_vhost(c)->base);
}

const struct mu_peer *mu_conn_peer(struct mu_conn *c)
{
    return c->present ? &c->present->peer : NULL;
}
