/*
 * exchange: one request's beginning and end, whatever protocol carries it: addresses and defaults
 * put in place, the parsed head taken over, the scoreboard kept, the log phase run. Peer texts are
 * formatted here, into the exchange, because a connection between requests keeps none.
 */
#include <server/conn_internal.h>

#include <muster/str.h>

/** "a.b.c.d" without the generality of mu_addr_host: it is made for every request. */
static size_t ipv4_text(const uint8_t ip[4], char *buf)
{
    char *p = buf;

    for (int i = 0; i < 4; i++) {
        if (i > 0)
            *p++ = '.';
        p += mu_u64_dec(ip[i], p);
    }
    return (size_t)(p - buf);
}

static size_t host_text(const struct mu_addr *a, char buf[56])
{
    char text[MU_ADDR_TEXT];
    struct mu_str s;

    if (MU_LIKELY(a->family == AF_INET))
        return ipv4_text(a->ip, buf);
    s = mu_addr_host(a, text);
    if (s.n > 48)
        s.n = 48; /* a socket path: only shown */
    memcpy(buf, s.p, s.n);
    return s.n;
}

/** req.peer, and "address:port" for the error log. */
static void fill_peer(struct mu_exchange *x)
{
    struct mu_conn *c = x->conn;
    const struct mu_addr *local = mu_conn_local(c);
    char *text = x->peer_text[0];
    size_t n = host_text(&c->remote, text);

    x->peer.client_ip = (struct mu_str){ text, n };
    x->peer.client_port = c->remote.port;
    text[n++] = ':';
    n += mu_u64_dec(c->remote.port, text + n);
    x->req.log.client = (struct mu_str){ text, n };
    x->peer.local_ip = (struct mu_str){ x->peer_text[1], host_text(local, x->peer_text[1]) };
    x->peer.local_port = local->port;
    x->peer.conn_id = c->id;
    x->peer.keepalives = c->keepalives;
    x->peer.is_tls = false;
    x->req.peer = &x->peer;
}

struct mu_exchange *mu_exchange_create(struct mu_conn *c, struct mu_arena *a, size_t size,
                                       const struct mu_exchange_ops *ops)
{
    struct mu_exchange *x = mu_arena_zalloc(a, 1, size);
    const struct mu_vhost *v;

    if (!x)
        return NULL;
    v = mu_conn_vhost(c);
    x->ops = ops;
    x->conn = c;
    x->host = c->host;
    x->req.arena = a;
    x->req.vhost = v;
    x->req.conf = v->base;
    x->req.log.request = &x->req;
    x->req.status = MU_200_OK;
    x->req.last_modified = -1;
    x->req.content_length = -1;
    if (mu_host_priv(c->host)->wants_timing) {
        x->req.time_us = mu_real_us();
        x->req.mono_us = mu_mono_us();
    } else {
        x->req.time_us = mu_real_sec() * 1000000;
    }
    fill_peer(x);
    return x;
}

/**
 * The Host in lower case, which it nearly always is already; of an IPv6 address without the
 * brackets.
 */
static enum mu_rc take_host(struct mu_exchange *x, struct mu_str host)
{
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = mu_str_sub(host, 1, host.n - 1);
    x->req.host = host;
    for (size_t i = 0; i < host.n; i++) {
        if (mu_lower(host.p[i]) != host.p[i]) {
            x->req.host = mu_str_dup_lower(x->req.arena, host);
            return x->req.host.p ? MU_OK : MU_NOMEM;
        }
    }
    return MU_OK;
}

/** The host in the target counts, whatever Host says (RFC 9112 section 3.2.2): nobody is to see another one. */
static enum mu_rc replace_host(struct mu_exchange *x, const struct mu_h1_head *head)
{
    struct mu_str host = head->host;

    if (head->host_port)
        host = mu_fmt(x->req.arena, "%.*s:%u", MU_FMT(host), head->host_port);
    if (!host.p)
        return MU_NOMEM;
    return mu_headers_set(x->req.arena, &x->req.in, MU_S("Host"), host);
}

enum mu_rc mu_exchange_take_head(struct mu_exchange *x, const struct mu_h1_head *head)
{
    struct mu_req *r = &x->req;

    r->method = head->method;
    r->version = head->version;
    r->is_head = head->method == MU_M_HEAD;
    r->has_body = head->framing != MU_BODY_NONE;
    r->body_len = head->framing == MU_BODY_CHUNKED ? -1 : (int64_t)head->content_length;
    r->method_name = head->method_name;
    r->request_line = head->request_line;
    r->target = head->target;
    r->host_port = head->host_port;
    r->query = head->query;
    r->in = head->headers;
    x->raw_path = head->path;
    x->expects_continue = head->expects_continue;
    x->expects_unknown = head->expects_unknown;
    if (MU_UNLIKELY(head->has_target_host) && replace_host(x, head) != MU_OK)
        return MU_NOMEM;
    return take_host(x, head->host);
}

/**
 * Copy into a scoreboard text, whose room is a multiple of words. Others may be reading it: relaxed stores, which
 * cost nothing; what they get may be torn, and they terminate it themselves.
 */
static void put_text(char *to, size_t cap, struct mu_str s)
{
    size_t n = s.n < cap - 1 ? s.n : cap - 1;
    size_t i = 0;
    uint64_t word;

    for (; n - i >= sizeof(word); i += sizeof(word)) {
        memcpy(&word, s.p + i, sizeof(word));
        __atomic_store_n((uint64_t *)(void *)(to + i), word, __ATOMIC_RELAXED);
    }
    word = 0;
    if (n > i)
        memcpy(&word, s.p + i, n - i);
    __atomic_store_n((uint64_t *)(void *)(to + i), word, __ATOMIC_RELAXED);
}
static_assert(offsetof(struct mu_score_slot, client) % sizeof(uint64_t) == 0,
              "put_text stores words");

/**
 * Claim a free slot ('_') of the child's array; several reactors of a child share it. The search is
 * bounded: a child with more running requests than slots counts the rest in `over_`.
 */
static struct mu_score_slot *claim_slot(struct mu_conn_host *h)
{
    struct mu_host_priv *p = mu_host_priv(h);
    uint32_t tries = h->slots_n < 64 ? h->slots_n : 64;

    while (tries-- > 0) {
        struct mu_score_slot *s = &h->slots[p->slot_hint];
        char free_state = '_';

        if (atomic_load_explicit(&s->state, memory_order_relaxed) == '_' &&
            atomic_compare_exchange_strong_explicit(&s->state, &free_state, 'W',
                                                    memory_order_acquire, memory_order_relaxed))
            return s; /* acquire: after what the last claimant stored (its release) */
        p->slot_hint = p->slot_hint + 1 < h->slots_n ? p->slot_hint + 1 : 0;
    }
    return NULL;
}

static int64_t now_us(const struct mu_exchange *x)
{
    return x->req.mono_us ? mu_mono_us() : mu_now_ms() * 1000;
}

static void describe(struct mu_exchange *x)
{
    struct mu_score_slot *s = x->slot;
    struct mu_str name = mu_vhost_server_name(x->req.vhost);

    put_text(s->client, sizeof(s->client), x->peer.client_ip);
    put_text(s->vhost, sizeof(s->vhost), name);
    put_text(s->request, sizeof(s->request), x->req.request_line);
    put_text(s->protocol, sizeof(s->protocol),
             x->req.version == 1000 ? MU_S("http/1.0") : MU_S("http/1.1"));
    atomic_store_explicit(&s->start_us, x->req.mono_us ? x->req.mono_us : mu_now_ms() * 1000,
                          memory_order_relaxed);
    if (x->conn->keepalives == 0) {
        atomic_store_explicit(&s->conn_accesses, 0, memory_order_relaxed);
        atomic_store_explicit(&s->conn_bytes, 0, memory_order_relaxed);
    }
}

/** Under event a request that takes longer is a busy worker, wherever it runs. */
static void count_busy(struct mu_exchange *x)
{
    if (x->is_busy || x->host->is_single || !x->host->score)
        return;
    x->is_busy = true;
    atomic_fetch_add_explicit(&x->host->score->busy, 1, memory_order_relaxed);
}

void mu_exchange_limit_end(struct mu_exchange *x)
{
    if (!x->is_limited)
        return;
    x->is_limited = false;
    mu_limit_give(x->host);
}

void mu_exchange_score_begin(struct mu_exchange *x)
{
    struct mu_conn_host *h = x->host;

    h->requests_running++;
    if (h->is_single) {
        x->slot = h->slots_n > 0 ? &h->slots[0] : NULL;
        mu_score_state(x->slot, 'W');
    } else if (mu_host_priv(h)->wants_status) {
        x->slot = claim_slot(h);
        count_busy(x);
    }
    if (x->slot && mu_host_priv(h)->wants_status)
        describe(x);
}

void mu_exchange_score_parked(struct mu_exchange *x)
{
    if (!x->slot && !x->host->is_single)
        x->slot = claim_slot(x->host);
    count_busy(x);
}

/** One writer, so a plain addition in two halves; relaxed: display only. */
static void slot_add(_Atomic uint64_t *n, uint64_t by)
{
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

static void slot_account(struct mu_exchange *x)
{
    struct mu_score_slot *s = x->slot;
    int64_t stop = now_us(x);
    int64_t start = atomic_load_explicit(&s->start_us, memory_order_relaxed);
    uint64_t bytes = x->req.body_sent;

    slot_add(&s->accesses, 1);
    slot_add(&s->conn_accesses, 1);
    slot_add(&s->child_accesses, 1);
    slot_add(&s->bytes, bytes);
    slot_add(&s->conn_bytes, bytes);
    slot_add(&s->child_bytes, bytes);
    slot_add(&s->duration_us, stop > start ? (uint64_t)(stop - start) : 0);
    atomic_store_explicit(&s->stop_us, stop, memory_order_relaxed);
}

/** A request that found no free slot: the child's sums still count it. */
static void over_account(struct mu_exchange *x)
{
    struct mu_score_child *s = x->host->score;

    if (!s)
        return;
    atomic_fetch_add_explicit(&s->over_accesses, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->over_bytes, x->req.body_sent, memory_order_relaxed);
    if (x->req.mono_us)
        atomic_fetch_add_explicit(&s->over_duration_us, (uint64_t)(mu_mono_us() - x->req.mono_us),
                                  memory_order_relaxed);
}

void mu_exchange_finish(struct mu_exchange *x)
{
    struct mu_conn_host *h = x->host;
    bool wants_status = mu_host_priv(h)->wants_status;

    h->requests_running--;
    mu_exchange_limit_end(x);
    if (x->is_busy)
        atomic_fetch_sub_explicit(&h->score->busy, 1, memory_order_relaxed);
    mu_score_state(x->slot, 'L');
    mu_log_exchange(x);
    if (wants_status && x->slot)
        slot_account(x);
    else if (wants_status)
        over_account(x);
    if (x->slot && !h->is_single)
        atomic_store_explicit(&x->slot->state, '_',
                              memory_order_release); /* pairs with claim_slot */
    x->slot = NULL;
    mu_buf_fini(&x->gather);
    if (x->conn->present == x)
        x->conn->present = NULL;
}
