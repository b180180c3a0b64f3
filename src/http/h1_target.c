/*
 * The four forms of a request target and the authority in one of them or in Host (RFC 9112 section
 * 3.2). Slices only: decoding the path is the caller's, once it knows the virtual host.
 */
#include "h1_internal.h"

#include <arpa/inet.h>
#include <muster/str.h>

#include "chars.h"

/*
 * "[...]": n counts the brackets. A zone is refused: it means nothing outside the client's machine.
 */
static bool is_ipv6_literal(struct mu_str s)
{
    char text[INET6_ADDRSTRLEN + 1];
    struct in6_addr addr;

    if (s.n < 4 || s.p[s.n - 1] != ']' || s.n - 2 >= sizeof(text)) {
        return false;
    }
    memcpy(text, s.p + 1, s.n - 2);
    text[s.n - 2] = '\0';
    return strlen(text) == s.n - 2 && inet_pton(AF_INET6, text, &addr) == 1;
}

/* A name of digits and dots alone is an IPv4 address: four numbers without leading zeroes. */
static bool is_ipv4(struct mu_str s)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr addr;

    if (s.n >= sizeof(text)) {
        return false;
    }
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return inet_pton(AF_INET, text, &addr) == 1;
}

/*
 * Like httpd narrower than RFC 3986: no sub-delims and no escapes, which no real name has and which
 * reach log lines. The last label of a name begins with no digit (RFC 1123 section 2.1).
 */
static bool is_regname(struct mu_str s)
{
    bool is_numeric = true;
    size_t label = 0; /* where the last one begins; one that is empty ends the name */

    for (size_t i = 0; i < s.n; i++) {
        if (!mu_ch_is(s.p[i], MU_CH_REGNAME) ||
            (s.p[i] == '.' && i + 1 < s.n && s.p[i + 1] == '.')) {
            return false;
        }
        is_numeric = is_numeric && (s.p[i] == '.' || (s.p[i] >= '0' && s.p[i] <= '9'));
        if (s.p[i] == '.' && i + 1 < s.n) {
            label = i + 1;
        }
    }
    if (s.n > 0 && is_numeric) {
        return is_ipv4(s);
    }
    return label == 0 || (s.p[label] >= 'a' && s.p[label] <= 'z') ||
           (s.p[label] >= 'A' && s.p[label] <= 'Z');
}

/* ":80". An empty port would be allowed by RFC 3986 section 3.2.3; httpd refuses it. */
static bool take_port(struct mu_str s, uint16_t *port)
{
    uint64_t value;

    *port = 0;
    if (s.n > 6 || !mu_str_u64((struct mu_str){ s.p + 1, s.n - 1 }, &value) || value == 0 ||
        value > UINT16_MAX) {
        return false;
    }
    *port = (uint16_t)value;
    return true;
}

bool mu_h1_authority(struct mu_str s, struct mu_str *host, uint16_t *port)
{
    bool is_literal = s.n > 0 && *s.p == '[';
    const char *end = s.n > 0 ? memchr(s.p, is_literal ? ']' : ':', s.n) : NULL;
    struct mu_str tail = { NULL, 0 };

    *host = s;
    *port = 0;
    if (is_literal && !end) {
        return false;
    }
    if (end) {
        end += is_literal;
        host->n = (size_t)(end - s.p);
        tail = (struct mu_str){ end, s.n - host->n };
    }
    if (tail.n > 0 && (*tail.p != ':' || !take_port(tail, port))) {
        return false;
    }
    if (is_literal) {
        return is_ipv6_literal(*host);
    }
    if (!is_regname(*host)) {
        return false;
    }
    /* "www.example.org." is the same host; a lone dot is none. */
    if (host->n > 0 && host->p[host->n - 1] == '.') {
        host->n--;
        return host->n > 0;
    }
    return true;
}

/* Path and query of `s`, which starts at the path; an empty path is "/". */
static void split_path(struct mu_h1_head *head, struct mu_str s)
{
    const char *mark = s.n > 0 ? memchr(s.p, '?', s.n) : NULL;

    head->path = s;
    head->query = MU_STR_NULL;
    if (mark) {
        head->path.n = (size_t)(mark - s.p);
        head->query = (struct mu_str){ mark + 1, s.n - head->path.n - 1 };
    }
    if (head->path.n == 0) {
        head->path = MU_S("/");
    }
}

static enum mu_rc absolute_form(struct mu_h1_pass *pass)
{
    struct mu_h1_head *head = pass->head;
    struct mu_str s = head->target;
    size_t scheme_len = mu_ch_span(s, MU_CH_SCHEME);
    struct mu_str scheme = { s.p, scheme_len }, authority, host;
    uint16_t port;

    if (scheme_len + 3 > s.n || memcmp(s.p + scheme_len, "://", 3) != 0 ||
        !(mu_str_ieq(scheme, MU_S("http")) || mu_str_ieq(scheme, MU_S("https")))) {
        return mu_h1_bad(pass, "request target is neither a path nor an http URI");
    }
    s.p += scheme_len + 3;
    s.n -= scheme_len + 3;
    authority = s;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '/' || s.p[i] == '?') {
            authority.n = i;
            break;
        }
    }
    /*
     * User information fails here too: '@' is no character of a host. An empty host is none (RFC
     * 9110 4.2.1).
     */
    if (authority.n == 0 || !mu_h1_authority(authority, &host, &port) || host.n == 0) {
        return mu_h1_bad(pass, "malformed authority in the request target");
    }
    head->host = host;
    head->host_port = port;
    head->has_target_host = true;
    split_path(head, (struct mu_str){ s.p + authority.n, s.n - authority.n });
    return MU_OK;
}

static enum mu_rc authority_form(struct mu_h1_pass *pass)
{
    struct mu_h1_head *head = pass->head;

    if (!mu_h1_authority(head->target, &head->host, &head->host_port) || head->host.n == 0 ||
        head->host_port == 0) {
        return mu_h1_bad(pass, "CONNECT target is not host:port");
    }
    head->has_target_host = true;
    head->path = head->target;
    return MU_OK;
}

/* Strict refuses a fragment; Unsafe drops it, as the client should have done. */
static enum mu_rc drop_fragment(struct mu_h1_pass *pass)
{
    struct mu_str *target = &pass->head->target;
    const char *mark = memchr(target->p, '#', target->n);

    if (MU_LIKELY(!mark)) {
        return MU_OK;
    }
    if (!pass->limits->is_unsafe || mark == target->p) {
        return mu_h1_bad(pass, "fragment in the request target");
    }
    target->n = (size_t)(mark - target->p);
    return MU_OK;
}

enum mu_rc mu_h1_target(struct mu_h1_pass *pass)
{
    struct mu_h1_head *head = pass->head;
    enum mu_rc rc = drop_fragment(pass);

    if (rc != MU_OK) {
        return rc;
    }
    if (head->method == MU_M_CONNECT) {
        return authority_form(pass);
    }
    if (MU_LIKELY(*head->target.p == '/')) {
        split_path(head, head->target);
        return MU_OK;
    }
    if (head->target.n == 1 && *head->target.p == '*') {
        if (head->method != MU_M_OPTIONS) {
            return mu_h1_bad(pass, "'*' as the target of another method than OPTIONS");
        }
        head->path = head->target;
        return MU_OK;
    }
    return absolute_form(pass);
}
