/*
 * host: what the connections of one reactor share, beyond what the MPM filled in: the free list of
 * connection structs (cut from slabs, so that an idle connection carries no allocator overhead),
 * what is asked of the configuration once instead of for each request, and drain and abort.
 */
#include <server/conn_internal.h>
#include <server/host_alloc.h>

#include <base/fault.h>
#include <muster/str.h>
#include <stdlib.h>

/** Structs in one allocation. */
enum { SLAB_CONNS = 64 };

struct mu_conn_slab {
    struct mu_conn_slab *next;
    _Alignas(16) char mem[];
};

/** Connections of HTTP/1 come from slabs; a protocol with more state allocates its own. */
static size_t slab_conn_size(void)
{
    return (sizeof(struct mu_conn) + mu_protocol_http1.conn_size + 15) & ~(size_t)15;
}

static bool is_slab_sized(const struct mu_protocol *p)
{
    return p->conn_size <= mu_protocol_http1.conn_size;
}

static bool slab_add(struct mu_host_priv *p)
{
    size_t size = slab_conn_size();
    struct mu_conn_slab *s = mu_alloc_fails() ? NULL : malloc(sizeof(*s) + SLAB_CONNS * size);

    if (!s)
        return false;
    s->next = p->slabs;
    p->slabs = s;
    for (size_t i = SLAB_CONNS; i-- > 0;) {
        struct mu_conn *c = (struct mu_conn *)(s->mem + i * size);

        c->link.next = (struct mu_list *)p->free_conns;
        p->free_conns = c;
    }
    return true;
}

struct mu_conn *mu_host_conn_alloc(struct mu_conn_host *h, const struct mu_protocol *proto)
{
    struct mu_host_priv *p = mu_host_priv(h);
    struct mu_conn *c;

    if (!is_slab_sized(proto))
        return calloc(1, sizeof(*c) + proto->conn_size);
    if (!p->free_conns && !slab_add(p))
        return NULL;
    c = p->free_conns;
    p->free_conns = (struct mu_conn *)c->link.next;
    return memset(c, 0, slab_conn_size());
}

void mu_host_conn_free(struct mu_conn_host *h, struct mu_conn *c)
{
    struct mu_host_priv *p = mu_host_priv(h);

    if (!is_slab_sized(c->proto)) {
        free(c);
        return;
    }
    c->link.next = (struct mu_list *)p->free_conns;
    p->free_conns = c;
}

/**
 * Does any <VirtualHost> name an address? "*", "_default_" and "*:port" need no look at the
 * socket's own.
 */
static bool has_address_hosts(const struct mu_config *config)
{
    for (size_t i = 1; i < config->vhosts_n; i++) {
        for (size_t k = 0; k < config->vhosts[i]->addrs_n; k++) {
            struct mu_str a = config->vhosts[i]->addrs[k];

            if (!mu_str_starts(a, MU_S("*")) && !mu_str_istarts(a, MU_S("_default_")))
                return true;
        }
    }
    return false;
}

static enum mu_rc find_read_limiters(struct mu_host_priv *p, const struct mu_config *config)
{
    const struct mu_module **v;

    v = calloc(config->modules_n + 1, sizeof(*v));
    if (!v)
        return MU_NOMEM;
    for (size_t i = 0; i < config->modules_n; i++) {
        if (config->modules[i] && config->modules[i]->read_timeouts)
            v[p->read_limiters_n++] = config->modules[i];
    }
    p->read_limiters = v;
    return MU_OK;
}

enum mu_rc mu_conn_host_init(struct mu_conn_host *h)
{
    struct mu_host_priv *p = calloc(1, sizeof(*p));

    if (!p)
        return MU_NOMEM;
    mu_list_init(&h->conns);
    mu_list_init(&h->held);
    h->held_n = 0;
    h->connections = 0;
    h->requests_running = 0;
    h->is_draining = false;
    h->priv = p;
    p->wants_timing = mu_server_wants_timing(h->config);
    p->wants_status = mu_core_of(h->config->main->base)->extended_status &&
                      mu_config_has_module(h->config, MU_S("status"));
    p->is_by_address = has_address_hosts(h->config);
    if (find_read_limiters(p, h->config) == MU_OK)
        return MU_OK;
    free(p);
    h->priv = NULL;
    return MU_NOMEM;
}

void mu_conn_host_fini(struct mu_conn_host *h)
{
    struct mu_host_priv *p = mu_host_priv(h);

    if (!p)
        return;
    assert(h->connections == 0 && mu_list_empty(&h->conns));
    while (p->slabs) {
        struct mu_conn_slab *s = p->slabs;

        p->slabs = s->next;
        free(s);
    }
    free(p->read_limiters);
    free(p);
    h->priv = NULL;
}

/**
 * Call `fn` for each connection there is now. It may close the one it is called for, and by that
 * alone no other; those opened meanwhile stand behind and are not visited.
 */
static void for_each_conn(struct mu_conn_host *h, void (*fn)(struct mu_conn *c))
{
    struct mu_list *l = h->conns.next, *last = h->conns.prev;

    while (l != &h->conns) {
        struct mu_list *next = l->next;
        bool is_last = l == last;

        fn(MU_CONTAINER_OF(l, struct mu_conn, link));
        if (is_last)
            return;
        l = next;
    }
}

static void drain_one(struct mu_conn *c)
{
    c->proto->drain(c);
}

static void abort_one(struct mu_conn *c)
{
    c->proto->abort(c);
}

void mu_conn_host_drain(struct mu_conn_host *h)
{
    if (h->is_draining)
        return;
    h->is_draining = true;
    for_each_conn(h, drain_one);
}

void mu_conn_host_abort(struct mu_conn_host *h)
{
    h->is_draining = true;
    for_each_conn(h, abort_one);
}
