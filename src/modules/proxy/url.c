/*
 * url: addresses of backends as httpd writes them: "fcgi://host:port/path", behind "unix:/path/of/socket|" when a Unix
 * socket leads there, and "pool:NAME". They are read when the configuration is, and once for each request that a
 * SetHandler sends to one.
 */
#include "proxy.h"

#include <sys/un.h>

enum { FCGI_PORT = 8000 /* httpd's */ };

static const char *parse_unix(struct mu_arena *a, struct mu_str *text, struct proxy_url *u)
{
    ssize_t bar = mu_str_chr(*text, '|');
    struct mu_str path;

    if (bar < 0)
        return "behind unix:PATH a '|' and the address are missing, such as |fcgi://localhost/";
    path = mu_str_sub(*text, 5, (size_t)bar);
    *text = mu_str_sub(*text, (size_t)bar + 1, text->n);
    if (!mu_str_starts(path, MU_S("/")))
        return "the path of a Unix socket must be absolute, not relative";
    if (path.n >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return "the path of the Unix socket is too long: 107 bytes is all that the system can take";
    u->unix_path = mu_str_dup(a, path);
    return u->unix_path.p ? NULL : "out of memory";
}

static bool parse_port(struct mu_str s, uint16_t *port)
{
    uint64_t v;

    if (!mu_str_u64(s, &v) || v < 1 || v > 65535)
        return false;
    *port = (uint16_t)v;
    return true;
}

/* "host", "host:port", "[v6]", "[v6]:port" */
static const char *parse_host(struct mu_arena *a, struct mu_str s, struct proxy_url *u)
{
    struct mu_str host = s, port = MU_STR_NULL;
    ssize_t end;

    u->port = FCGI_PORT;
    if (mu_str_starts(s, MU_S("["))) {
        end = mu_str_chr(s, ']');
        if (end < 0)
            return "the ']' behind an IPv6 address is missing";
        host = mu_str_sub(s, 1, (size_t)end);
        s = mu_str_sub(s, (size_t)end + 1, s.n);
        if (s.n && s.p[0] != ':')
            return "behind an IPv6 address in brackets stands nothing or a port";
        port = s.n ? mu_str_sub(s, 1, s.n) : MU_STR_NULL;
    } else if ((end = mu_str_chr(s, ':')) >= 0) {
        host = mu_str_sub(s, 0, (size_t)end);
        port = mu_str_sub(s, (size_t)end + 1, s.n);
    }
    if (mu_str_chr(port, ':') >= 0)
        return "an IPv6 address stands in brackets: fcgi://[::1]:9000";
    if (port.p && !parse_port(port, &u->port))
        return "the port is no number from 1 to 65535";
    if (!host.n && !u->unix_path.p)
        return "the host is missing";
    u->host = host.n ? mu_str_dup_lower(a, host) : MU_S("localhost");
    return u->host.p ? NULL : "out of memory";
}

static bool is_pool_name(struct mu_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '/' || s.p[i] == '|' || (unsigned char)s.p[i] <= ' ')
            return false;
    return s.n > 0;
}

const char *proxy_url_parse(struct mu_arena *a, struct mu_str text, struct proxy_url *u)
{
    const char *wrong = NULL;
    struct mu_str host;
    ssize_t at;

    *u = (struct proxy_url){ .scheme = PROXY_OTHER };
    if (mu_str_istarts(text, MU_S("pool:"))) {
        *u = (struct proxy_url){ .scheme = PROXY_POOL,
                                 .scheme_name = MU_S("pool"),
                                 .path = mu_str_sub(text, 5, text.n) };
        return is_pool_name(u->path) ? NULL : "behind pool: stands the name of an ApplicationPool";
    }
    if (mu_str_istarts(text, MU_S("unix:")))
        wrong = parse_unix(a, &text, u);
    if (wrong)
        return wrong;
    at = mu_str_find(text, MU_S("://"));
    if (at <= 0)
        return "that is no address: fcgi://host:port/, unix:/path|fcgi://localhost/ or pool:NAME";
    u->scheme_name = mu_str_dup_lower(a, mu_str_sub(text, 0, (size_t)at));
    if (mu_str_eq(u->scheme_name, MU_S("fcgi")))
        u->scheme = PROXY_FCGI;
    host = mu_str_sub(text, (size_t)at + 3, text.n);
    at = mu_str_chr(host, '/');
    if (at >= 0)
        u->path = mu_str_sub(host, (size_t)at, host.n);
    host = mu_str_sub(host, 0, at >= 0 ? (size_t)at : host.n);
    if (mu_str_chr(host, '$') >= 0)
        return "the host cannot be taken from the request";
    return parse_host(a, host, u);
}

struct mu_str proxy_url_base(struct mu_arena *a, const struct proxy_url *u)
{
    bool is_v6 = mu_str_chr(u->host, ':') >= 0;
    struct mu_str port = u->port == FCGI_PORT ? MU_S("") : mu_fmt(a, ":%u", u->port);

    return mu_str_cat(a, u->scheme_name, is_v6 ? MU_S("://[") : MU_S("://"), u->host,
                      is_v6 ? MU_S("]") : MU_S(""), port);
}

struct mu_str proxy_url_name(struct mu_arena *a, const struct proxy_url *u)
{
    if (u->unix_path.p)
        return mu_str_cat(a, MU_S("unix:"), u->unix_path);
    if (u->scheme == PROXY_POOL)
        return mu_str_cat(a, MU_S("pool:"), u->path);
    return mu_fmt(a, "%.*s://%s%.*s%s:%u", MU_FMT(u->scheme_name),
                  mu_str_chr(u->host, ':') >= 0 ? "[" : "", MU_FMT(u->host),
                  mu_str_chr(u->host, ':') >= 0 ? "]" : "", u->port);
}

const char *proxy_scheme_complaint(const struct proxy_url *u)
{
    static const struct {
        struct mu_str name;
        const char *why;
    } schemes[] = {
        { MU_S("http"), "HTTP backends come with a later version; FastCGI ones work: fcgi://" },
        { MU_S("https"), "HTTP backends come with a later version; FastCGI ones work: fcgi://" },
        { MU_S("h2"), "HTTP backends come with a later version; FastCGI ones work: fcgi://" },
        { MU_S("h2c"), "HTTP backends come with a later version; FastCGI ones work: fcgi://" },
        { MU_S("ws"), "WebSocket backends come with a later version" },
        { MU_S("wss"), "WebSocket backends come with a later version" },
        { MU_S("balancer"), "balancers come with a later version; name one backend" },
        { MU_S("ajp"), "AJP backends come with a later version" },
        { MU_S("scgi"), "SCGI backends come with a later version; most applications of that kind "
                        "speak FastCGI too: fcgi://" },
        { MU_S("uwsgi"), "uwsgi backends come with a later version; uWSGI speaks FastCGI too "
                         "(--fastcgi-socket): fcgi://" },
        { MU_S("ftp"), "FTP backends are not supported" },
    };

    for (size_t i = 0; i < MU_ARRAY_LEN(schemes); i++)
        if (mu_str_eq(u->scheme_name, schemes[i].name))
            return schemes[i].why;
    return u->scheme == PROXY_OTHER ? "the scheme is not known; fcgi:// is, and pool:NAME" : NULL;
}
