/* Facts about a request that modules ask for: names and ports of its server, environment, notes,
 * byte counts. */
#include "room.h"

#include <muster/clock.h>
#include <muster/str.h>
#include <muster/wait.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/utsname.h>

struct mu_str mu_req_scheme(const struct mu_req *r)
{
    struct mu_str scheme = mu_core_of(r->vhost->base)->server_scheme;

    if (scheme.n)
        return scheme;
    return r->peer && r->peer->is_tls ? MU_S("https") : MU_S("http");
}

struct mu_str mu_req_protocol(const struct mu_req *r)
{
    switch (r->version) {
    case 9:
        return MU_S("HTTP/0.9");
    case 1000:
        return MU_S("HTTP/1.0");
    case 2000:
        return MU_S("HTTP/2.0");
    default:
        return MU_S("HTTP/1.1");
    }
}

struct mu_str mu_req_server_name(const struct mu_req *r)
{
    const struct mu_core_conf *core = mu_core_of(r->conf);

    if (core->use_canonical_name == MU_CANON_OFF && r->host.n)
        return r->host;
    return mu_vhost_server_name(r->vhost);
}

static uint16_t default_port(const struct mu_req *r)
{
    return mu_str_eq(mu_req_scheme(r), MU_S("https")) ? 443 : 80;
}

uint16_t mu_vhost_server_port(const struct mu_vhost *v)
{
    const struct mu_core_conf *core = mu_core_of(v->base);

    if (core->server_port)
        return core->server_port;
    return mu_str_eq(core->server_scheme, MU_S("https")) ? 443 : 80;
}

/* The order is that of the documentation of UseCanonicalPhysicalPort. */
uint16_t mu_req_server_port(const struct mu_req *r)
{
    const struct mu_core_conf *core = mu_core_of(r->conf);
    uint16_t named = mu_core_of(r->vhost->base)->server_port;
    uint16_t physical = core->use_canonical_port && r->peer ? r->peer->local_port : 0;

    if (core->use_canonical_name == MU_CANON_OFF) {
        if (r->host_port)
            return r->host_port;
        if (physical)
            return physical;
        return named ? named : default_port(r);
    }
    if (named)
        return named;
    return physical ? physical : default_port(r);
}

struct mu_str mu_req_url(struct mu_req *r, struct mu_str encoded_path)
{
    struct mu_str scheme = mu_req_scheme(r), name = mu_req_server_name(r);
    uint16_t port = mu_req_server_port(r);

    if (MU_UNLIKELY(mu_str_chr(name, ':') >= 0) && name.p[0] != '[')
        name = mu_str_cat(r->arena, MU_S("["), name, MU_S("]"));
    if (port == default_port(r))
        return mu_str_cat(r->arena, scheme, MU_S("://"), name, encoded_path);
    return mu_fmt(r->arena, "%.*s://%.*s:%u%.*s", MU_FMT(scheme), MU_FMT(name), port,
                  MU_FMT(encoded_path));
}

struct mu_str mu_req_server_tokens(const struct mu_req *r)
{
    static const char version[] = MU_VERSION; /* "0.1.0" */
    static const struct mu_str full = { "Muster/" MU_VERSION " (Unix)",
                                        sizeof("Muster/" MU_VERSION " (Unix)") - 1 };
    const size_t name = 7;
    size_t major = strcspn(version, "."), minor = major;

    if (version[major])
        minor += 1 + strcspn(version + major + 1, ".");
    switch (mu_core_of(r->vhost->config->main->base)->server_tokens) {
    case MU_TOKENS_PROD:
        return mu_str_sub(full, 0, name - 1);
    case MU_TOKENS_MAJOR:
        return mu_str_sub(full, 0, name + major);
    case MU_TOKENS_MINOR:
        return mu_str_sub(full, 0, name + minor);
    case MU_TOKENS_MIN:
        return mu_str_sub(full, 0, name + sizeof(version) - 1);
    }
    return full;
}

struct mu_str mu_req_signature(struct mu_req *r, struct mu_str before)
{
    const struct mu_core_conf *core = mu_core_of(r->conf);
    struct mu_str name, tokens = mu_req_server_tokens(r), admin = mu_req_admin(r);

    if (core->server_signature == MU_SIGNATURE_OFF)
        return MU_S("");
    name = mu_html_escape(r->arena, mu_req_server_name(r));
    if (core->server_signature == MU_SIGNATURE_EMAIL)
        return mu_fmt(r->arena,
                      "%.*s<address>%.*s Server at <a href=\"%s%.*s\">%.*s</a> Port %u</address>\n",
                      MU_FMT(before), MU_FMT(tokens), mu_uri_is_absolute(admin) ? "" : "mailto:",
                      MU_FMT(mu_html_escape(r->arena, admin)), MU_FMT(name), mu_req_server_port(r));
    return mu_fmt(r->arena, "%.*s<address>%.*s Server at %.*s Port %u</address>\n", MU_FMT(before),
                  MU_FMT(tokens), MU_FMT(name), mu_req_server_port(r));
}

int64_t mu_req_timeout_ms(const struct mu_req *r)
{
    return mu_core_of(r->vhost->base)->timeout_ms;
}

struct mu_str mu_req_admin(const struct mu_req *r)
{
    struct mu_str admin = mu_core_of(r->vhost->base)->server_admin;

    return admin.n ? admin : MU_S("[no address given]");
}

struct mu_str mu_req_document_root(const struct mu_req *r)
{
    return mu_core_of(r->vhost->base)->document_root;
}

bool mu_req_has_handler(const struct mu_req *r, struct mu_str name)
{
    return mu_handler_find(mu_routing_of(r->vhost)->server, name) != NULL;
}

uint32_t mu_req_options(const struct mu_req *r)
{
    return mu_core_of(r->conf)->options;
}

/* ---- environment and notes ---- */

struct mu_str mu_req_env(const struct mu_req *r, struct mu_str name)
{
    return r->env.n ? mu_headers_get(&r->env, name) : MU_STR_NULL;
}

static void table_set(struct mu_req *r, struct mu_headers *h, struct mu_str name,
                      struct mu_str value)
{
    if (mu_headers_set(r->arena, h, name, value.p ? value : MU_S("")) != MU_OK)
        MU_LOG(&r->log, "core", MU_LOG_ERR, "MU0660", "out of memory for '%.*s'", MU_FMT(name));
}

void mu_req_env_set(struct mu_req *r, struct mu_str name, struct mu_str value)
{
    table_set(r, &r->env, name, value);
}

void mu_req_note_set(struct mu_req *r, struct mu_str name, struct mu_str value)
{
    table_set(r, &r->notes, name, value);
}

struct mu_str mu_req_note(const struct mu_req *r, struct mu_str name)
{
    return r->notes.n ? mu_headers_get(&r->notes, name) : MU_STR_NULL;
}

/* ---- the wire ---- */

void mu_req_wire_bytes(const struct mu_req *r, uint64_t *in, uint64_t *out)
{
    const struct mu_exchange *x = mu_exchange_of((struct mu_req *)(uintptr_t)r);

    *in = x->wire_in;
    *out = x->wire_out;
}

int64_t mu_req_first_byte_us(const struct mu_req *r)
{
    const struct mu_exchange *x = mu_exchange_of((struct mu_req *)(uintptr_t)r);

    return x->first_byte_us && r->mono_us ? x->first_byte_us - r->mono_us : -1;
}

char mu_req_conn_state(const struct mu_req *r)
{
    const struct mu_exchange *x = mu_exchange_of((struct mu_req *)(uintptr_t)r);

    if (x->is_aborted)
        return 'X';
    return x->wants_close ? '-' : '+';
}

/* ---- names of clients ---- */

/** A reverse look-up, on a worker. */
struct name_lookup {
    struct mu_str ip;
    bool is_double;
    char host[NI_MAXHOST];
};

static bool forward_agrees(const char *host, const struct mu_addr *addr)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list;
    struct mu_addr other;
    bool agrees = false;

    if (getaddrinfo(host, NULL, &hints, &list) != 0)
        return false;
    for (const struct addrinfo *ai = list; ai && !agrees; ai = ai->ai_next)
        agrees =
            mu_addr_from_sa(&other, ai->ai_addr, ai->ai_addrlen) && mu_addr_eq_host(&other, addr);
    freeaddrinfo(list);
    return agrees;
}

static void name_lookup(void *arg)
{
    struct name_lookup *l = arg;
    struct sockaddr_storage sa;
    struct mu_addr addr;
    socklen_t len;

    l->host[0] = '\0';
    if (!mu_addr_parse_ip(l->ip, &addr))
        return;
    len = mu_addr_to_sa(&addr, &sa);
    if (getnameinfo((struct sockaddr *)&sa, len, l->host, sizeof(l->host), NULL, 0, NI_NAMEREQD) !=
            0 ||
        (l->is_double && !forward_agrees(l->host, &addr)))
        l->host[0] = '\0';
}

/* Looked up for this request, or for one it came from. */
static struct mu_str known_name(const struct mu_req *r)
{
    struct mu_str name = MU_STR_NULL;

    for (; r && !name.p; r = r->prev ? r->prev : r->main)
        name = mu_req_note(r, MU_S("remote-host"));
    return name;
}

struct mu_str mu_req_remote_host(struct mu_req *r)
{
    int lookups = mu_core_of(r->conf)->hostname_lookups;
    struct mu_str known = known_name(r);
    struct name_lookup l = { .ip = r->peer->client_ip, .is_double = lookups == MU_LOOKUP_DOUBLE };

    if (lookups == MU_LOOKUP_OFF)
        return r->peer->client_ip;
    if (known.p)
        return known;
    mu_offload(name_lookup, &l);
    known = l.host[0] ? mu_str_dup_lower(r->arena, mu_str_c(l.host)) : r->peer->client_ip;
    mu_req_note_set(r, MU_S("remote-host"), known);
    return known;
}

const struct mu_status_provider *mu_req_status_provider(const struct mu_req *r, size_t i)
{
    const struct mu_config *c = r->vhost->config;

    for (size_t k = 0; k < c->modules_n; k++) {
        if (c->modules[k]->status && i-- == 0)
            return c->modules[k]->status;
    }
    return NULL;
}
