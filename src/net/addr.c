/*
 * addr: one compact value for every kind of peer and listener. IPv4 mapped into IPv6 never leaves
 * this file: a dual-stack listener shows its IPv4 clients as what they are, so that logs,
 * `Require ip` and virtual hosts see one spelling.
 */
#include "net/addr.h"

#include <muster/str.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>

static size_t ip_len(const struct mu_addr *addr)
{
    return addr->family == AF_INET ? 4 : addr->family == AF_INET6 ? 16 : 0;
}

/* ::ffff:1.2.3.4 to 1.2.3.4 */
static void unmap(struct mu_addr *addr)
{
    static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

    if (addr->family != AF_INET6 || memcmp(addr->ip, prefix, sizeof(prefix)))
        return;
    addr->family = AF_INET;
    addr->scope = 0;
    memcpy(addr->ip, addr->ip + 12, 4);
    memset(addr->ip + 4, 0, 12);
}

bool mu_addr_from_sa(struct mu_addr *addr, const struct sockaddr *sa, socklen_t len)
{
    const struct sockaddr_in *in = (const void *)sa;
    const struct sockaddr_in6 *in6 = (const void *)sa;
    const struct sockaddr_un *un = (const void *)sa;

    *addr = (struct mu_addr){ 0 };
    if (len < sizeof(sa->sa_family))
        return false;
    if (sa->sa_family == AF_INET && len >= sizeof(*in)) {
        addr->port = ntohs(in->sin_port);
        memcpy(addr->ip, &in->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6 && len >= sizeof(*in6)) {
        addr->port = ntohs(in6->sin6_port);
        addr->scope = in6->sin6_scope_id;
        memcpy(addr->ip, &in6->sin6_addr, 16);
    } else if (sa->sa_family == AF_UNIX) {
        if (len > offsetof(struct sockaddr_un, sun_path) && un->sun_path[0])
            addr->path = un->sun_path;
    } else {
        return false;
    }
    addr->family = sa->sa_family;
    unmap(addr);
    return true;
}

static socklen_t unix_to_sa(const struct mu_addr *addr, struct sockaddr_storage *sa)
{
    struct sockaddr_un *un = (void *)sa;
    size_t n = addr->path ? strlen(addr->path) : 0;

    if (n >= sizeof(un->sun_path))
        return 0;
    un->sun_family = AF_UNIX;
    if (n)
        memcpy(un->sun_path, addr->path, n);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (n > 0));
}

socklen_t mu_addr_to_sa(const struct mu_addr *addr, struct sockaddr_storage *sa)
{
    struct sockaddr_in *in = (void *)sa;
    struct sockaddr_in6 *in6 = (void *)sa;

    memset(sa, 0, sizeof(*sa));
    switch (addr->family) {
    case AF_INET:
        in->sin_family = AF_INET;
        in->sin_port = htons(addr->port);
        memcpy(&in->sin_addr, addr->ip, 4);
        return sizeof(*in);
    case AF_INET6:
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(addr->port);
        in6->sin6_scope_id = addr->scope;
        memcpy(&in6->sin6_addr, addr->ip, 16);
        return sizeof(*in6);
    case AF_UNIX:
        return unix_to_sa(addr, sa);
    default:
        return 0;
    }
}

/* inet_ntop is slow for the one family that is in every log line. */
static size_t ip4_text(const uint8_t ip[4], char *buf)
{
    char *p = buf;

    for (int i = 0; i < 4; i++) {
        char dec[20];
        size_t n = mu_u64_dec(ip[i], dec);

        if (i)
            *p++ = '.';
        memcpy(p, dec, n);
        p += n;
    }
    *p = '\0';
    return (size_t)(p - buf);
}

struct mu_str mu_addr_host(const struct mu_addr *addr, char buf[MU_ADDR_TEXT])
{
    char name[IF_NAMESIZE];
    size_t n;

    switch (addr->family) {
    case AF_INET:
        return mu_str_n(buf, ip4_text(addr->ip, buf));
    case AF_INET6:
        inet_ntop(AF_INET6, addr->ip, buf, MU_ADDR_TEXT);
        n = strlen(buf);
        if (addr->scope && if_indextoname(addr->scope, name))
            n += (size_t)snprintf(buf + n, MU_ADDR_TEXT - n, "%%%s", name);
        else if (addr->scope)
            n += (size_t)snprintf(buf + n, MU_ADDR_TEXT - n, "%%%u", addr->scope);
        return mu_str_n(buf, n);
    case AF_UNIX:
        snprintf(buf, MU_ADDR_TEXT, "%s", addr->path ? addr->path : "unix:");
        return mu_str_c(buf);
    default:
        buf[0] = '\0';
        return mu_str_n(buf, 0);
    }
}

struct mu_str mu_addr_text(const struct mu_addr *addr, char buf[MU_ADDR_TEXT])
{
    char host[MU_ADDR_TEXT];
    struct mu_str h;
    size_t digits;
    size_t n;

    if (addr->family != AF_INET && addr->family != AF_INET6)
        return mu_addr_host(addr, buf);
    if (addr->family == AF_INET6) {
        h = mu_addr_host(addr, host);
        n = (size_t)snprintf(buf, MU_ADDR_TEXT, "[%.*s]:", (int)(h.n < 70 ? h.n : 70), h.p);
    } else {
        n = ip4_text(addr->ip, buf);
        buf[n++] = ':';
    }
    digits = mu_u64_dec(addr->port, host);
    memcpy(buf + n, host, digits);
    buf[n + digits] = '\0';
    return mu_str_n(buf, n + digits);
}

static bool parse_scope(struct mu_str text, uint32_t *scope)
{
    char name[IF_NAMESIZE];
    uint64_t v;

    if (mu_str_u64(text, &v) && v > 0 && v <= UINT32_MAX) {
        *scope = (uint32_t)v;
        return true;
    }
    if (text.n == 0 || text.n >= sizeof(name))
        return false;
    memcpy(name, text.p, text.n);
    name[text.n] = '\0';
    *scope = if_nametoindex(name);
    return *scope != 0;
}

bool mu_addr_parse_ip(struct mu_str text, struct mu_addr *addr)
{
    char buf[INET6_ADDRSTRLEN];
    ssize_t percent;

    *addr = (struct mu_addr){ 0 };
    if (text.n >= 2 && text.p[0] == '[') {
        if (text.p[text.n - 1] != ']')
            return false;
        text = mu_str_sub(text, 1, text.n - 1);
        if (mu_str_chr(text, ':') < 0)
            return false;
    }
    percent = mu_str_chr(text, '%');
    if (percent >= 0) {
        if (!parse_scope(mu_str_sub(text, (size_t)percent + 1, text.n), &addr->scope))
            return false;
        text = mu_str_sub(text, 0, (size_t)percent);
    }
    if (text.n == 0 || text.n >= sizeof(buf) || memchr(text.p, '\0', text.n))
        return false;
    memcpy(buf, text.p, text.n);
    buf[text.n] = '\0';
    if (percent < 0 && inet_pton(AF_INET, buf, addr->ip) == 1)
        addr->family = AF_INET;
    else if (inet_pton(AF_INET6, buf, addr->ip) == 1)
        addr->family = AF_INET6;
    unmap(addr);
    return addr->family != AF_UNSPEC;
}

bool mu_addr_parse(struct mu_str text, struct mu_addr *addr)
{
    ssize_t colon = mu_str_rchr(text, ':');
    struct mu_str host;
    uint64_t port;

    *addr = (struct mu_addr){ 0 };
    if (colon < 0 || !mu_str_u64(mu_str_sub(text, (size_t)colon + 1, text.n), &port) ||
        port > UINT16_MAX)
        return false;
    host = mu_str_sub(text, 0, (size_t)colon);
    if (mu_str_chr(host, ':') >= 0 && host.p[0] != '[')
        return false; /* "::1" is an address, not "::" and a port */
    if (!mu_addr_parse_ip(host, addr))
        return false;
    addr->port = (uint16_t)port;
    return true;
}

static int sign(int64_t v)
{
    return (v > 0) - (v < 0);
}

static int cmp_host(const struct mu_addr *a, const struct mu_addr *b)
{
    int d;

    if (a->family != b->family)
        return sign((int64_t)a->family - b->family);
    if (a->family == AF_UNIX)
        return strcmp(a->path ? a->path : "", b->path ? b->path : "");
    d = memcmp(a->ip, b->ip, ip_len(a));
    return d ? d : sign((int64_t)a->scope - b->scope);
}

int mu_addr_cmp(const struct mu_addr *a, const struct mu_addr *b)
{
    int d = cmp_host(a, b);

    return d ? d : sign((int64_t)a->port - b->port);
}

bool mu_addr_eq_host(const struct mu_addr *a, const struct mu_addr *b)
{
    return cmp_host(a, b) == 0;
}

bool mu_addr_eq(const struct mu_addr *a, const struct mu_addr *b)
{
    return mu_addr_cmp(a, b) == 0;
}

bool mu_addr_is_any(const struct mu_addr *addr)
{
    static const uint8_t zero[16];
    size_t n = ip_len(addr);

    return n && memcmp(addr->ip, zero, n) == 0;
}

/* Bits of a mask such as 255.255.240.0; false when its ones are not in front. */
static bool mask_bits(const uint8_t mask[4], uint8_t *bits)
{
    uint32_t v =
        (uint32_t)mask[0] << 24 | (uint32_t)mask[1] << 16 | (uint32_t)mask[2] << 8 | mask[3];
    uint32_t inverse = ~v;

    if (inverse & (inverse + 1))
        return false;
    *bits = (uint8_t)__builtin_popcount(v);
    return true;
}

/* "10", "10.1.", "10.1.2": the first one to three bytes of an IPv4 address. */
static enum mu_rc parse_partial(struct mu_str text, struct mu_cidr *net)
{
    struct mu_str rest = text;
    struct mu_str part;

    *net = (struct mu_cidr){ .addr.family = AF_INET };
    if (mu_str_ends(rest, MU_S(".")))
        rest.n--;
    while (mu_str_split(&rest, '.', &part)) {
        uint64_t v;

        if (net->bits == 24 || part.n > 3 || !mu_str_u64(part, &v) || v > 255)
            return MU_BAD;
        net->addr.ip[net->bits / 8] = (uint8_t)v;
        net->bits = (uint8_t)(net->bits + 8);
    }
    return net->bits ? MU_OK : MU_BAD;
}

enum mu_rc mu_cidr_parse(struct mu_str text, struct mu_cidr *net)
{
    ssize_t slash = mu_str_chr(text, '/');
    struct mu_addr mask;
    uint64_t bits;
    uint8_t max;

    *net = (struct mu_cidr){ 0 };
    if (slash < 0) {
        if (!mu_addr_parse_ip(text, &net->addr))
            return parse_partial(text, net);
        net->bits = (uint8_t)(ip_len(&net->addr) * 8);
        return MU_OK;
    }
    if (!mu_addr_parse_ip(mu_str_sub(text, 0, (size_t)slash), &net->addr)) {
        if (parse_partial(mu_str_sub(text, 0, (size_t)slash), net) != MU_OK)
            return MU_BAD;
    }
    max = (uint8_t)(ip_len(&net->addr) * 8);
    text = mu_str_sub(text, (size_t)slash + 1, text.n);
    if (mu_str_u64(text, &bits) && bits <= max)
        net->bits = (uint8_t)bits;
    else if (net->addr.family != AF_INET || !mu_addr_parse_ip(text, &mask) ||
             mask.family != AF_INET || !mask_bits(mask.ip, &net->bits))
        return MU_BAD;
    return MU_OK;
}

bool mu_cidr_has(const struct mu_cidr *net, const struct mu_addr *addr)
{
    size_t bytes = net->bits / 8;
    unsigned rest = net->bits % 8;

    if (net->addr.family != addr->family || ip_len(addr) == 0)
        return false;
    if (memcmp(net->addr.ip, addr->ip, bytes))
        return false;
    return rest == 0 || ((net->addr.ip[bytes] ^ addr->ip[bytes]) >> (8 - rest)) == 0;
}
