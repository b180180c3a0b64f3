/*
 * connect: a connection to a backend for one request, kept or new, and what becomes of it afterwards. A backend that
 * could not be reached is left alone for a while (retry=), by each process of the server for itself, as far as the
 * configuration says anything about it; every failure is one log line that says what to look at.
 */
#include "proxy.h"

#include <errno.h>
#include <muster/clock.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <unistd.h>

#define LOG(r, level, tag, ...) MU_LOG(&(r)->log, "proxy", level, tag, __VA_ARGS__)

/* ---- the error state ---- */

static void retry_after(struct mu_req *r, int64_t ms)
{
    struct mu_str s = mu_fmt(r->arena, "%lld", (long long)((ms + 999) / 1000));

    if (s.p && mu_headers_set(r->arena, &r->out_always, MU_S("Retry-After"), s) != MU_OK)
        return; /* a courtesy */
}

static enum mu_status check_state(struct mu_req *r, const struct proxy_call *call)
{
    int64_t until;

    if (call->p->is_disabled) {
        LOG(r, MU_LOG_ERR, "MU1430", "%.*s is disabled by status=", MU_FMT(call->name));
        return MU_503_SERVICE_UNAVAILABLE;
    }
    if (!call->worker)
        return MU_STATUS_NONE;
    /* Relaxed: a moment more or less makes no difference. */
    until = atomic_load_explicit(&call->worker->state->blocked_ms, memory_order_relaxed);
    if (until <= mu_now_ms())
        return MU_STATUS_NONE;
    LOG(r, MU_LOG_INFO, "MU1431",
        "%.*s could not be reached a moment ago: it is asked again in %lld s "
        "(retry=)",
        MU_FMT(call->name), (long long)((until - mu_now_ms() + 999) / 1000));
    retry_after(r, until - mu_now_ms());
    return MU_503_SERVICE_UNAVAILABLE;
}

static void set_state(struct mu_req *r, const struct proxy_call *call, bool is_good)
{
    int64_t until = is_good ? 0 : mu_deadline(call->p->retry_ms);

    if (!call->worker || call->p->ignores_errors || call->p->retry_ms == 0)
        return;
    atomic_store_explicit(&call->worker->state->blocked_ms, until, memory_order_relaxed);
    if (!is_good)
        retry_after(r, call->p->retry_ms);
}

/* ---- why it failed ---- */

static const char *unix_hint(int err)
{
    switch (err) {
    case ENOENT:
        return "there is no such socket: is the application running, and is this the path it listens on?";
    case EACCES:
    case EPERM:
        return "the User of the server may not connect: look at owner and mode of the socket (php-fpm: "
               "listen.owner, listen.group, listen.mode) and of the folders above it";
    case ECONNREFUSED:
        return "the socket is there, but nobody listens on it: the application has ended";
    case EPROTOTYPE:
        return "that is no stream socket";
    case EMFILE:
    case ENFILE:
        return "the server is out of descriptors: raise the limit (LimitNOFILE, ulimit -n)";
    default:
        return "see the application's own log";
    }
}

static const char *inet_hint(int err)
{
    switch (err) {
    case ECONNREFUSED:
        return "nobody listens there: is the application running, and is this its address?";
    case EHOSTUNREACH:
    case ENETUNREACH:
        return "there is no way to that address";
    case EACCES:
    case EPERM:
        return "a firewall forbids it";
    case EMFILE:
    case ENFILE:
        return "the server is out of descriptors: raise the limit (LimitNOFILE, ulimit -n)";
    case EADDRNOTAVAIL:
        return "the system is out of ports for that address: use a Unix socket, or enablereuse=on";
    default:
        return "see the application's own log";
    }
}

static enum mu_status failed(struct mu_req *r, const struct proxy_call *call, enum mu_rc rc,
                             int err)
{
    bool is_unix = call->url.unix_path.p;

    if (rc == MU_EIO &&
        err == ECONNRESET) { /* it is there, and so quick that connecting saw the end */
        MU_LOG(
            &r->log, "proxy_fcgi", MU_LOG_ERR, "MU1438",
            "%.*s took the connection and reset it without a word; it may have crashed or been stopped (see its "
            "own log), or accept connections from other addresses alone",
            MU_FMT(call->name));
        return MU_502_BAD_GATEWAY;
    }
    set_state(r, call, false);
    if (rc == MU_TIMEOUT && is_unix) {
        LOG(r, MU_LOG_ERR, "MU1432",
            "%.*s takes no connection: its queue is full because all its processes are busy; give it "
            "more of them, or a longer queue (php-fpm: pm.max_children, listen.backlog)",
            MU_FMT(call->name));
        return MU_503_SERVICE_UNAVAILABLE;
    }
    if (rc == MU_TIMEOUT) {
        LOG(r, MU_LOG_ERR, "MU1433",
            "no connection to %.*s within %lld s (connectiontimeout=): the machine or the network is "
            "down, or a firewall drops what is sent",
            MU_FMT(call->name), (long long)(call->connect_ms / 1000));
        return MU_504_GATEWAY_TIMEOUT;
    }
    LOG(r, MU_LOG_ERR, "MU1434", "cannot connect to %.*s: %s (%s)", MU_FMT(call->name),
        strerror(err), is_unix ? unix_hint(err) : inet_hint(err));
    return MU_503_SERVICE_UNAVAILABLE;
}

/* ---- a new connection ---- */

static enum mu_rc connect_unix(const struct proxy_call *call, struct mu_io *io)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };

    memcpy(un.sun_path, call->url.unix_path.p, call->url.unix_path.n); /* the length was checked */
    return mu_connect(io, (const struct sockaddr *)&un, sizeof(un), mu_deadline(call->connect_ms));
}

static enum mu_rc connect_inet(struct mu_req *r, const struct proxy_call *call, struct mu_io *io,
                               bool *is_known)
{
    int64_t deadline = mu_deadline(call->connect_ms);
    struct proxy_addresses addresses;
    const char *why = "";
    enum mu_rc rc = proxy_resolve(call, &addresses, &why);

    *is_known = rc == MU_OK;
    if (rc == MU_EIO) {
        LOG(r, MU_LOG_ERR, "MU1435", "cannot find the address of %.*s: %s", MU_FMT(call->name),
            why);
        set_state(r, call, false);
    }
    if (rc != MU_OK)
        return rc;
    for (size_t i = 0; i < addresses.n; i++) {
        rc = mu_connect(io, &addresses.v[i].sa, addresses.v[i].len, deadline);
        if (rc != MU_EIO)
            break;
    }
    if (rc == MU_OK) {
        int on = 1;

        setsockopt(io->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (call->p->has_keepalive)
            setsockopt(io->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    }
    return rc;
}

enum mu_rc proxy_open(struct mu_req *r, struct mu_fcgi_conn *c, void *arg, enum mu_status *status)
{
    const struct proxy_call *call = arg;
    bool is_known = true;
    enum mu_rc rc;

    *status = check_state(r, call);
    if (*status != MU_STATUS_NONE)
        return MU_DENIED;
    if (call->p->reuses && proxy_kept_take(call, &c->io)) {
        c->is_reused = true;
        return MU_OK;
    }
    errno = 0;
    rc = call->url.unix_path.p ? connect_unix(call, &c->io)
                               : connect_inet(r, call, &c->io, &is_known);
    if (rc == MU_OK)
        set_state(r, call, true);
    else if (rc != MU_GONE)
        *status = is_known ? failed(r, call, rc, errno) : MU_502_BAD_GATEWAY;
    return rc;
}

void proxy_close(struct mu_req *r, struct mu_fcgi_conn *c, void *arg, enum mu_fcgi_end how)
{
    const struct proxy_call *call = arg;

    (void)r;
    if (how == MU_FCGI_KEEP && call->p->reuses) {
        proxy_keep(call, &c->io);
        return;
    }
    mu_io_close(&c->io);
    if (how == MU_FCGI_STALE)
        proxy_kept_drop(call);
}
