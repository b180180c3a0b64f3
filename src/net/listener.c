/*
 * listener: from a Listen directive to a listening socket, opened afresh or taken over from the
 * server before it. A message about a socket that cannot be had names the address, the system's
 * reason and the way out, because it is the first thing an administrator sees of a server that
 * does not start.
 */
#include "net/listener.h"

#include "base/proc.h"

#include <muster/str.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BACKLOG_DEFAULT = 511, PORT_PRIVILEGED = 1024 };

bool mu_has_ipv6(void)
{
    static int has = -1;
    int fd;

    if (has < 0) {
        struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };

        /*
         * A kernel may know the family and still have it switched off: an address must be
         * bindable.
         */
        fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        has = fd >= 0 && bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0;
        if (fd >= 0)
            close(fd);
    }
    return has;
}

static enum mu_rc bad_listen(struct mu_arena *a, struct mu_str where, struct mu_str *err,
                             const char *why)
{
    *err =
        mu_fmt(a, "Listen \"%.*s\": %s; allowed are \"port\", \"1.2.3.4:port\" and \"[::1]:port\"",
               MU_FMT(where), why);
    return MU_BAD;
}

static enum mu_rc parse_port(struct mu_arena *a, struct mu_str where, struct mu_str text,
                             struct mu_addr *addr, struct mu_str *err)
{
    uint64_t port;

    if (!mu_str_u64(text, &port) || port == 0 || port > UINT16_MAX)
        return bad_listen(a, where, err, "a port is a number from 1 to 65535");
    addr->port = (uint16_t)port;
    return MU_OK;
}

enum mu_rc mu_listen_parse(struct mu_arena *a, struct mu_str where, struct mu_str protocol,
                           struct mu_listen *want, struct mu_str *err)
{
    ssize_t colon = mu_str_rchr(where, ':');
    struct mu_str host = colon < 0 ? MU_STR_NULL : mu_str_sub(where, 0, (size_t)colon);
    struct mu_str port = mu_str_sub(where, (size_t)(colon + 1), where.n);

    *want = (struct mu_listen){ 0 };
    if (where.n && where.p[where.n - 1] == ']')
        return bad_listen(a, where, err, "the port is missing");
    if (host.n && host.p[0] != '[' && mu_str_chr(host, ':') >= 0)
        return bad_listen(a, where, err, "an IPv6 address stands in brackets");
    if (host.n == 0 || mu_str_eq(host, MU_S("*"))) {
        want->is_wildcard = true;
        want->addr.family = mu_has_ipv6() ? AF_INET6 : AF_INET;
    } else if (!mu_addr_parse_ip(host, &want->addr)) {
        return bad_listen(a, where, err, "this is no address (host names are not allowed here)");
    }
    if (parse_port(a, where, port, &want->addr, err) != MU_OK)
        return MU_BAD;
    if (protocol.n)
        want->protocol = mu_str_dup_lower(a, protocol);
    else
        want->protocol = want->addr.port == 443 ? MU_S("https") : MU_S("http");
    return want->protocol.p ? MU_OK : MU_NOMEM;
}

bool mu_listen_is_dup(const struct mu_listen *a, const struct mu_listen *b)
{
    return a->is_wildcard == b->is_wildcard && mu_addr_eq(&a->addr, &b->addr);
}

static bool set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

static bool apply_options(int fd, const struct mu_listen_options *o)
{
    if (o->send_buffer && !set_int(fd, SOL_SOCKET, SO_SNDBUF, o->send_buffer))
        return false;
    if (o->receive_buffer && !set_int(fd, SOL_SOCKET, SO_RCVBUF, o->receive_buffer))
        return false;
    if (!set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1))
        return false;
    /*
     * httpd wakes up for a connection only when its first bytes are there. Muster leaves that
     * off: under event an idle connection costs no thread, connections that say nothing would be
     * invisible to status and timeouts, and one that is deferred is lost when its socket closes.
     */
    return set_int(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, (int)o->defer_accept_s);
}

static bool prepare(int fd, const struct mu_listen *want, const struct mu_listen_options *o)
{
    if (!set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1))
        return false;
    if (o->has_reuseport && !set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1))
        return false;
    if (want->addr.family == AF_INET6 &&
        !set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, !want->is_wildcard))
        return false;
    return apply_options(fd, o);
}

/* Inode of the listening socket at `port` in one of the kernel's tables; 0: none. */
static unsigned long listening_inode(const char *table, unsigned port)
{
    FILE *f = fopen(table, "re");
    char line[256];
    unsigned long found = 0;

    while (f && !found && fgets(line, sizeof(line), f)) {
        unsigned at;
        unsigned state;
        unsigned long inode;

        /* "sl: local:PORT remote:port ST queues timer retransmits uid timeout inode" */
        if (sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*u %lu", &at,
                   &state, &inode) == 3 &&
            at == port && state == TCP_LISTEN)
            found = inode;
    }
    if (f)
        fclose(f);
    return found;
}

static bool has_socket(const char *pid, unsigned long inode)
{
    char dir[300];
    char want[64];
    DIR *d;
    const struct dirent *e;
    bool is_found = false;

    snprintf(dir, sizeof(dir), "/proc/%s/fd", pid);
    snprintf(want, sizeof(want), "socket:[%lu]", inode);
    d = opendir(dir);
    while (d && !is_found && (e = readdir(d)) != NULL) {
        char target[64];
        ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof(target));

        is_found = mu_str_eq(mu_str_n(target, n > 0 ? (size_t)n : 0), mu_str_c(want));
    }
    if (d)
        closedir(d);
    return is_found;
}

/* "name (pid n)" of a process that listens at `port`, as far as we may see; empty otherwise. */
static struct mu_str who_listens(struct mu_arena *a, unsigned port)
{
    unsigned long inode = listening_inode("/proc/net/tcp", port);
    DIR *d = opendir("/proc");
    const struct dirent *e;
    struct mu_str who = MU_S("");

    if (!inode)
        inode = listening_inode("/proc/net/tcp6", port);
    while (d && inode && !who.n && (e = readdir(d)) != NULL) {
        char path[300];
        char name[64] = "?";
        FILE *f;

        if (e->d_name[0] < '1' || e->d_name[0] > '9' || !has_socket(e->d_name, inode))
            continue;
        snprintf(path, sizeof(path), "/proc/%s/comm", e->d_name);
        f = fopen(path, "re");
        if (f && fgets(name, sizeof(name), f))
            name[strcspn(name, "\n")] = '\0';
        if (f)
            fclose(f);
        who = mu_fmt(a, "%s (pid %s)", name, e->d_name);
    }
    if (d)
        closedir(d);
    return who;
}

static struct mu_str advice(struct mu_arena *a, const struct mu_listen *want, int failure)
{
    struct mu_str who;

    switch (failure) {
    case EACCES:
        if (want->addr.port < PORT_PRIVILEGED)
            return MU_S(
                ": ports below 1024 need root (or CAP_NET_BIND_SERVICE); start as root, the "
                "children drop to User and Group");
        break;
    case EADDRINUSE:
        who = who_listens(a, want->addr.port);
        if (who.n)
            return mu_str_cat(a, MU_S(": it is held by "), who,
                              MU_S("; stop that, or Listen elsewhere"));
        return MU_S(": another process has it; stop that, or Listen elsewhere");
    case EADDRNOTAVAIL:
        return MU_S(": no interface of this machine has this address; see `ip address`");
    case EAFNOSUPPORT:
        return MU_S(": this machine has no IPv6; give an IPv4 address");
    default:
        break;
    }
    return MU_S("");
}

static int refuse(struct mu_arena *a, const struct mu_listen *want, const char *step, int fd,
                  struct mu_str *err)
{
    int failure = errno;
    char text[MU_ADDR_TEXT];
    struct mu_str what = advice(a, want, failure);
    struct mu_str place = MU_S("");

    if (want->file)
        place = mu_fmt(a, "%s:%u: ", want->file, want->line);
    mu_addr_text(&want->addr, text);
    *err = mu_fmt(a, "%.*scannot listen at %s: %s: %s%.*s", MU_FMT(place), text, step,
                  strerror(failure), MU_FMT(what));
    if (fd >= 0)
        close(fd);
    errno = failure;
    return -1;
}

static int listen_at(int fd, const struct mu_listen_options *o)
{
    return listen(fd, o->backlog ? o->backlog : BACKLOG_DEFAULT);
}

int mu_listener_open(struct mu_arena *a, const struct mu_listen *want,
                     const struct mu_listen_options *options, struct mu_str *err)
{
    struct sockaddr_storage sa;
    socklen_t len = mu_addr_to_sa(&want->addr, &sa);
    int fd = socket(want->addr.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return refuse(a, want, "socket", fd, err);
    if (!prepare(fd, want, options))
        return refuse(a, want, "setsockopt", fd, err);
    if (bind(fd, (const struct sockaddr *)&sa, len))
        return refuse(a, want, "bind", fd, err);
    if (listen_at(fd, options))
        return refuse(a, want, "listen", fd, err);
    return fd;
}

static int get_int(int fd, int level, int name)
{
    int value = 0;
    socklen_t len = sizeof(value);

    return getsockopt(fd, level, name, &value, &len) == 0 ? value : -1;
}

bool mu_listener_is(int fd, const struct mu_listen *want)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    struct mu_addr addr;

    if (getsockname(fd, (struct sockaddr *)&sa, &len) ||
        !mu_addr_from_sa(&addr, (const struct sockaddr *)&sa, len))
        return false;
    if (get_int(fd, SOL_SOCKET, SO_ACCEPTCONN) != 1 || !mu_addr_eq(&addr, &want->addr))
        return false;
    return addr.family != AF_INET6 ||
           get_int(fd, IPPROTO_IPV6, IPV6_V6ONLY) == (int)!want->is_wildcard;
}

enum mu_rc mu_listener_adopt(int fd, const struct mu_listen_options *options)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) || !mu_set_cloexec(fd, true))
        return MU_EIO;
    if (!apply_options(fd, options) || listen_at(fd, options))
        return MU_EIO;
    return MU_OK;
}
