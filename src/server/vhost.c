/* Which server answers: by the address a connection came to, then by the name the request is for.
 *
 * Everything is prepared once: an address set for each distinct (address, port) of <VirtualHost>
 * lines, in it the exact names in a hash map and the wild ones in order. A request costs one or two
 * look-ups, none at all when there are no virtual hosts. The first host of a set answers for names
 * that nobody claims, and the main server for addresses that nobody claims.
 */
#include "room.h"

#include <muster/buf.h>
#include <muster/str.h>
#include <netdb.h>
#include <stdio.h>

/** A name with wildcards. */
struct wild_name {
    struct mu_str pattern;
    const struct mu_vhost *vhost;
    size_t order;
};

/** What an exact name leads to. */
struct exact_name {
    const struct mu_vhost *vhost;
    size_t order;
};

/** Hosts that share an address and port. */
struct name_set {
    struct mu_str ip; /**< text; p == NULL: any */
    uint16_t port;    /**< 0: any */
    struct mu_vec hosts;
    struct mu_map *exact;
    struct wild_name *wild;
    size_t wild_n;
};

struct mu_name_table {
    struct mu_vec sets;      /**< in order of appearance */
    struct mu_map *specific; /**< "ip:port" → set */
    struct mu_vec any;       /**< sets of any address */
};

/** What one argument of <VirtualHost> says. */
struct vhost_addr {
    struct mu_str host; /**< p == NULL: any */
    bool has_port;
    uint16_t port;
};

static bool parse_port(struct mu_str s, struct vhost_addr *out)
{
    uint64_t v = 0;

    if (!mu_str_eq(s, MU_S("*")) && (!mu_str_u64(s, &v) || v < 1 || v > 65535))
        return false;
    out->has_port = true;
    out->port = (uint16_t)v;
    return true;
}

static bool parse_arg(struct mu_str s, struct vhost_addr *out)
{
    ssize_t bracket = mu_str_rchr(s, ']'), colon = mu_str_rchr(s, ':');

    *out = (struct vhost_addr){ 0 };
    if (colon > bracket && mu_str_chr(mu_str_sub(s, 0, (size_t)colon), ':') >= 0 && bracket < 0)
        colon = -1; /* an IPv6 address without brackets has no port */
    if (colon > bracket) {
        if (!parse_port(mu_str_sub(s, (size_t)colon + 1, s.n), out))
            return false;
        s = mu_str_sub(s, 0, (size_t)colon);
    }
    if (s.n >= 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
        s = mu_str_sub(s, 1, s.n - 1);
    if (!mu_str_eq(s, MU_S("*")) && !mu_str_ieq(s, MU_S("_default_")))
        out->host = s;
    return out->host.p == NULL || s.n > 0;
}

static struct mu_str set_key(char buf[96], struct mu_str ip, uint16_t port)
{
    int n;
    ssize_t scope = mu_str_chr(ip, '%');

    if (scope >= 0)
        ip.n = (size_t)scope;
    n = snprintf(buf, 96, "%.*s:%u", MU_FMT(ip), port);
    return mu_str_n(buf, n < 96 ? (size_t)n : 95);
}

static struct name_set *set_find(const struct mu_name_table *t, struct mu_str ip, uint16_t port)
{
    char buf[96];

    if (ip.p)
        return mu_map_get(t->specific, set_key(buf, ip, port));
    for (size_t i = 0; i < t->any.n; i++) {
        struct name_set *s = t->any.v[i];

        if (s->port == port)
            return s;
    }
    return NULL;
}

static struct name_set *set_get(struct mu_name_table *t, struct mu_arena *a, struct mu_str ip,
                                uint16_t port)
{
    struct name_set *s = set_find(t, ip, port);
    char buf[96];

    if (s)
        return s;
    s = mu_new(a, struct name_set);
    if (!s)
        return NULL;
    s->ip = ip;
    s->port = port;
    s->exact = mu_map_create(a, true);
    if (!s->exact || mu_vec_push(a, &t->sets, s) != MU_OK)
        return NULL;
    if (!ip.p)
        return mu_vec_push(a, &t->any, s) == MU_OK ? s : NULL;
    return mu_map_set(t->specific, mu_str_dup(a, set_key(buf, ip, port)), s) == MU_OK ? s : NULL;
}

static enum mu_rc host_add(struct mu_name_table *t, struct mu_arena *a, struct mu_str ip,
                           uint16_t port, struct mu_vhost *v)
{
    struct name_set *s = set_get(t, a, ip, port);

    if (!s)
        return MU_NOMEM;
    if (s->hosts.n && s->hosts.v[s->hosts.n - 1] == v)
        return MU_OK; /* two arguments that mean the same */
    return mu_vec_push(a, &s->hosts, v);
}

static enum mu_rc add_resolved(struct mu_server *s, struct mu_arena *a, struct mu_vhost *v,
                               const struct vhost_addr *addr, uint16_t port)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list, *ai;
    const char *host = mu_cstr(a, addr->host);
    char text[MU_ADDR_TEXT];
    struct mu_addr parsed;
    enum mu_rc rc = MU_OK;

    if (!host)
        return MU_NOMEM;
    if (mu_addr_parse_ip(addr->host, &parsed)) {
        if (mu_addr_is_any(&parsed))
            return host_add(s->names, a, MU_STR_NULL, port, v);
        return host_add(s->names, a, mu_str_dup(a, mu_addr_host(&parsed, text)), port, v);
    }
    if (getaddrinfo(host, NULL, &hints, &list) != 0) {
        mu_config_warn((struct mu_config *)(uintptr_t)s->config,
                       "%.*s:%u: <VirtualHost %s>: the name has no address; ignored",
                       MU_FMT(v->file), v->line, host);
        return MU_OK;
    }
    for (ai = list; ai && rc == MU_OK; ai = ai->ai_next) {
        if (mu_addr_from_sa(&parsed, ai->ai_addr, ai->ai_addrlen))
            rc = host_add(s->names, a, mu_str_dup(a, mu_addr_host(&parsed, text)), port, v);
    }
    freeaddrinfo(list);
    return rc;
}

static enum mu_rc add_arg(struct mu_server *s, struct mu_arena *a, struct mu_vhost *v,
                          struct mu_str arg)
{
    struct vhost_addr addr;
    uint16_t port;

    if (!parse_arg(arg, &addr))
        return mu_config_error(
            (struct mu_config *)(uintptr_t)s->config,
            "%.*s:%u: <VirtualHost %.*s>: found '%.*s', allowed is address[:port], "
            "*[:port] or _default_[:port]",
            MU_FMT(v->file), v->line, MU_FMT(arg), MU_FMT(arg));
    port = addr.has_port ? addr.port : mu_core_of(s->config->main->base)->server_port;
    if (!addr.host.p)
        return host_add(s->names, a, MU_STR_NULL, port, v);
    return add_resolved(s, a, v, &addr, port);
}

static bool is_wild(struct mu_str name)
{
    return mu_str_chr(name, '*') >= 0 || mu_str_chr(name, '?') >= 0;
}

static enum mu_rc name_add(struct mu_arena *a, struct name_set *s, const struct mu_vhost *v,
                           size_t order, struct mu_str name)
{
    struct exact_name *e;

    if (is_wild(name)) {
        s->wild[s->wild_n++] = (struct wild_name){ mu_str_dup_lower(a, name), v, order };
        return MU_OK;
    }
    if (!name.n || mu_map_get(s->exact, name))
        return MU_OK;
    e = mu_new(a, struct exact_name);
    if (!e)
        return MU_NOMEM;
    *e = (struct exact_name){ v, order };
    return mu_map_set(s->exact, mu_str_dup_lower(a, name), e);
}

static enum mu_rc set_names(struct mu_arena *a, struct name_set *s)
{
    size_t aliases = 0;

    for (size_t i = 0; i < s->hosts.n; i++)
        aliases += mu_core_of(((struct mu_vhost *)s->hosts.v[i])->base)->server_aliases.n;
    s->wild = mu_new_n(a, struct wild_name, aliases + s->hosts.n + 1);
    if (!s->wild)
        return MU_NOMEM;
    for (size_t i = 0; i < s->hosts.n; i++) {
        const struct mu_vhost *v = s->hosts.v[i];
        const struct mu_core_conf *c = mu_core_of(v->base);

        if (name_add(a, s, v, i, c->server_name) != MU_OK)
            return MU_NOMEM;
        for (size_t k = 0; k < c->server_aliases.n; k++) {
            if (name_add(a, s, v, i, c->server_aliases.v[k]) != MU_OK)
                return MU_NOMEM;
        }
    }
    return MU_OK;
}

enum mu_rc mu_names_prepare(struct mu_server *s, struct mu_arena *a)
{
    const struct mu_config *c = s->config;
    bool is_bad = false;

    s->names = mu_new(a, struct mu_name_table);
    if (!s->names || !(s->names->specific = mu_map_create(a, true)))
        return MU_NOMEM;
    for (size_t i = 1; i < c->vhosts_n; i++) {
        for (size_t k = 0; k < c->vhosts[i]->addrs_n; k++) {
            enum mu_rc rc = add_arg(s, a, c->vhosts[i], c->vhosts[i]->addrs[k]);

            if (rc == MU_NOMEM)
                return rc;
            is_bad = is_bad || rc != MU_OK;
        }
    }
    for (size_t i = 0; i < s->names->sets.n; i++) {
        if (set_names(a, s->names->sets.v[i]) != MU_OK)
            return MU_NOMEM;
    }
    return is_bad ? MU_BAD : MU_OK;
}

/* The address itself before any address, the port itself before any port. */
static const struct name_set *set_for(const struct mu_name_table *t, struct mu_str ip,
                                      uint16_t port)
{
    const struct name_set *s = NULL;

    if (mu_map_len(t->specific) && ip.n) {
        s = set_find(t, ip, port);
        if (!s)
            s = set_find(t, ip, 0);
    }
    if (!s)
        s = set_find(t, MU_STR_NULL, port);
    return s ? s : set_find(t, MU_STR_NULL, 0);
}

static const struct mu_name_table *table_of(const struct mu_config *c)
{
    const struct mu_routing *routing = mu_routing_of(c->main);

    return routing && routing->server->names->sets.n ? routing->server->names : NULL;
}

const struct mu_vhost *mu_vhost_for_addr(const struct mu_config *config,
                                         const struct mu_addr *local)
{
    const struct mu_name_table *t = table_of(config);
    const struct name_set *s = NULL;
    char text[MU_ADDR_TEXT];

    if (!t)
        return config->main;
    if (local && (local->family == AF_INET || local->family == AF_INET6))
        s = set_for(t, mu_addr_host(local, text), local->port);
    else
        s = set_find(t, MU_STR_NULL, 0);
    return s ? s->hosts.v[0] : config->main;
}

static const struct mu_vhost *set_match(const struct name_set *s, struct mu_str host)
{
    const struct exact_name *e = mu_map_get(s->exact, host);

    for (size_t i = 0; i < s->wild_n && (!e || s->wild[i].order < e->order); i++) {
        if (mu_str_wild(host, s->wild[i].pattern, true))
            return s->wild[i].vhost;
    }
    return e ? e->vhost : NULL;
}

const struct mu_vhost *mu_vhost_for_host(const struct mu_config *c, const struct mu_peer *peer,
                                         const struct mu_vhost *base, struct mu_str host,
                                         bool *is_named)
{
    const struct mu_name_table *t = table_of(c);
    const struct name_set *s = t ? set_for(t, peer->local_ip, peer->local_port) : NULL;
    const struct mu_vhost *v = s && host.n ? set_match(s, host) : NULL;

    *is_named = v != NULL;
    if (v)
        return v;
    if (!s)
        *is_named = mu_str_ieq(host, mu_core_of(c->main->base)->server_name);
    return s ? s->hosts.v[0] : base;
}

/* ---- -S ---- */

static void print_host(const struct mu_vhost *v, const char *label, uint16_t port)
{
    char text[8] = "*";

    if (port)
        snprintf(text, sizeof(text), "%u", port);
    if (port || strcmp(label, "namevhost") == 0)
        printf("         port %s %s %.*s (%.*s:%u)\n", text, label, MU_FMT(mu_vhost_server_name(v)),
               MU_FMT(v->file), v->line);
    else
        printf("         %s %.*s (%.*s:%u)\n", label, MU_FMT(mu_vhost_server_name(v)),
               MU_FMT(v->file), v->line);
}

static void print_aliases(const struct mu_vhost *v)
{
    const struct mu_strs *aliases = &mu_core_of(v->base)->server_aliases;

    for (int wild = 0; wild < 2; wild++) {
        for (size_t i = 0; i < aliases->n; i++) {
            if (is_wild(aliases->v[i]) == (wild == 1))
                printf("                 %salias %.*s\n", wild ? "wild " : "",
                       MU_FMT(aliases->v[i]));
        }
    }
}

static void print_set(const struct name_set *s)
{
    char where[112], port[8] = "*";
    const struct mu_vhost *first = s->hosts.v[0];
    bool is_v6 = mu_str_chr(s->ip, ':') >= 0;

    if (s->port)
        snprintf(port, sizeof(port), "%u", s->port);
    snprintf(where, sizeof(where), "%s%.*s%s:%s", is_v6 ? "[" : "", s->ip.p ? (int)s->ip.n : 1,
             s->ip.p ? s->ip.p : "*", is_v6 ? "]" : "", port);
    if (s->hosts.n == 1) {
        printf("%-22s %.*s (%.*s:%u)\n", where, MU_FMT(mu_vhost_server_name(first)),
               MU_FMT(first->file), first->line);
        return; /* its aliases decide nothing; httpd does not print them either */
    }
    printf("%-22s is a NameVirtualHost\n", where);
    print_host(first, "default server", 0);
    for (size_t i = 0; i < s->hosts.n; i++) {
        print_host(s->hosts.v[i], "namevhost", s->port);
        print_aliases(s->hosts.v[i]);
    }
}

void mu_server_print_vhosts(const struct mu_config *c)
{
    const struct mu_name_table *t = table_of(c);

    printf("VirtualHost configuration:\n");
    for (int any = 0; t && any < 2; any++) {
        for (size_t i = 0; i < t->sets.n; i++) {
            const struct name_set *s = t->sets.v[i];

            if ((s->ip.p == NULL) == (any == 1))
                print_set(s);
        }
    }
}
