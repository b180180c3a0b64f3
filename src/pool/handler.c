/*
 * handler: SetHandler "pool:NAME". A request takes a process of the pool, speaks FastCGI with it over
 * a connection of its own (app/fcgi_run.c), and gives it back. A process that answered in order is
 * idle at once; about any other one the supervisor has to find out.
 */
#include "pool/keeper.h"
#include "pool/web.h"

#include <errno.h>
#include <muster/fcgi.h>
#include <muster/log.h>
#include <muster/str.h>
#include <sys/un.h>

enum {
    CONNECT_MS = 1000,     /* it listens, and its queue is empty: this never takes time */
    CONNECTS_MAX = 3,      /* processes that ended between two steps */
    BEYOND_MS = 10 * 1000, /* the supervisor ends a process that is late, before we give it up */
};

/** One request's. */
struct run {
    struct mu_held held;
    bool is_late; /* RequestTimeout */
};

static enum mu_rc connect_to(const struct mu_held *h, struct mu_io *io)
{
    struct mu_board *b = h->pool->board;
    uint64_t serial = atomic_load(&b->info[h->claim.slot].serial);
    struct sockaddr_un sa;
    socklen_t len;
    char name[64];

    if (mu_board_word(b, h->claim.slot) != h->claim.word) { /* it may be its successor's */
        errno = ECONNREFUSED;
        return MU_EIO;
    }
    mu_proc_socket_name(name, sizeof(name), h->pool->name, h->claim.slot, serial);
    len = mu_pool_address(mu_keeper.dir_fd, name, &sa);
    return mu_connect(io, (struct sockaddr *)&sa, len, mu_deadline(CONNECT_MS));
}

static enum mu_rc open_process(struct mu_req *r, struct mu_fcgi_conn *c, void *arg,
                               enum mu_status *status)
{
    struct run *run = arg;
    struct mu_pool *p = run->held.pool;

    *status = MU_504_GATEWAY_TIMEOUT;
    if (run->is_late)
        return MU_TIMEOUT; /* it is not tried again */
    for (unsigned i = 0; i < CONNECTS_MAX; i++) {
        enum mu_rc rc = mu_pool_take(&run->held, r, status);

        if (rc != MU_OK)
            return rc;
        rc = connect_to(&run->held, &c->io);
        if (rc == MU_OK)
            return MU_OK;
        MU_LOG(&r->log, "pool", MU_LOG_INFO, "MU0970",
               "pool %s: a process ended before it was given the request: %s; taking another",
               p->name, strerror(errno));
        mu_pool_give_back(&run->held, MU_SLOT_DOUBT);
        if (rc == MU_GONE)
            return rc;
    }
    MU_LOG(&r->log, "pool", MU_LOG_ERR, "MU0971",
           "pool %s: its processes end as soon as they are free; the lines of the pool in this log "
           "say why",
           p->name);
    *status = MU_502_BAD_GATEWAY;
    return MU_EIO;
}

static void close_process(struct mu_req *r, struct mu_fcgi_conn *c, void *arg, enum mu_fcgi_end how)
{
    struct run *run = arg;
    struct mu_board *b = run->held.pool->board;
    bool is_in_order = how == MU_FCGI_CLOSE || how == MU_FCGI_KEEP;

    (void)r;
    mu_io_close(&c->io);
    run->is_late = !is_in_order && mu_board_was_late(b, &run->held.claim);
    if (how == MU_FCGI_BROKEN)
        atomic_fetch_add_explicit(&b->counts.broken, 1, memory_order_relaxed);
    mu_pool_give_back(&run->held, is_in_order ? MU_SLOT_IDLE : MU_SLOT_DOUBT);
}

/* What names a file does so as the application sees it, inside its Chroot. */
static enum mu_rc see_from_inside(struct mu_req *r, struct mu_cgi_env *env, void *arg)
{
    static const struct mu_str names[] = { MU_S("SCRIPT_FILENAME"), MU_S("DOCUMENT_ROOT"),
                                           MU_S("CONTEXT_DOCUMENT_ROOT"), MU_S("PATH_TRANSLATED") };
    const struct run *run = arg;
    struct mu_str root = run->held.pool->conf->chroot;
    enum mu_rc rc = MU_OK;

    (void)r;
    while (root.n && root.p[root.n - 1] == '/')
        root.n--;
    for (size_t i = 0; root.n && rc == MU_OK && i < MU_ARRAY_LEN(names); i++) {
        struct mu_str path = mu_cgi_env_get(env, names[i]), rest = mu_str_sub(path, root.n, path.n);

        if (path.p && mu_str_starts(path, root) && (!rest.n || rest.p[0] == '/'))
            rc = mu_cgi_env_set(env, names[i], rest.n ? rest : MU_S("/"));
    }
    return rc;
}

static enum mu_status serve(struct mu_req *r, const void *conf)
{
    struct mu_str name = mu_str_sub(r->handler, 5, r->handler.n);
    struct run run = { .held.pool = mu_pool_find(name) };
    const struct mu_pool_conf *c = run.held.pool ? run.held.pool->conf : NULL;
    struct mu_fcgi_opts o;
    enum mu_status status;

    (void)conf;
    if (!c) {
        MU_LOG(&r->log, "pool", MU_LOG_ERR, "MU0972",
               "there is no <ApplicationPool %.*s> in the configuration of the server; the handler "
               "is \"%.*s\"",
               MU_FMT(name), MU_FMT(r->handler));
        return MU_500_INTERNAL_SERVER_ERROR;
    }
    if (r->path_info.n && !mu_req_accepts_path_info(r, true))
        return MU_404_NOT_FOUND;
    o = (struct mu_fcgi_opts){
        .name = mu_str_cat(r->arena, MU_S("pool "), c->name),
        .io_ms = c->request_timeout_ms ? c->request_timeout_ms + BEYOND_MS : -1,
        .streams_body = c->is_streaming,
        .flushes = c->flushes,
        .passes_client = c->passes_client,
        .may_retry = true,
        .adjust = see_from_inside,
        .open = open_process,
        .close = close_process,
        .arg = &run,
    };
    if (!o.name.p)
        return MU_503_SERVICE_UNAVAILABLE;
    status = mu_fcgi_run(r, &o);
    return run.is_late && status == MU_502_BAD_GATEWAY ? MU_504_GATEWAY_TIMEOUT : status;
}

const struct mu_handler mu_pool_handlers[] = {
    { .name = "pool:", .fn = serve, .methods = MU_ANY_METHOD },
    { .name = NULL },
};
