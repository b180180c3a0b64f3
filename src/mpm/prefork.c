/*
 * prefork: one process serves one connection at a time. Its reactor has the single-connection
 * backend; while a connection is served the listening sockets are left alone, so other processes
 * get what arrives. With Mutex mpm-accept the lock is held from waiting to accepting. Blocking work
 * runs in place, on a big stack.
 */
#include "mpm/gate.h"
#include "mpm/numbers.h"

#include <muster/module.h>
#include <server/conn.h>

enum {
    SERVER_LIMIT = 256,
    SERVER_LIMIT_MAX = 200000,
    START_SERVERS = 5,
    MIN_SPARE = 5,
    MAX_SPARE = 10,
};

struct prefork {
    struct mu_child *child;
    struct mu_conn_host host;
    struct mu_gate gate;
    struct mu_stop_watch stop;
    struct mu_score_child *score;
    struct mu_score_slot *slot;
    bool is_serving, is_stopping, is_leaving;
    uint64_t served;
};

static const struct mu_directive directives[] = {
    MU_MPM_DIRECTIVES(struct mu_mpm_numbers),
    MU_DIR_INT("MinSpareServers", struct mu_mpm_numbers, min_spare, MU_IN_GLOBAL, INT32_MIN,
               INT32_MAX, "Idle child processes below which more are started"),
    MU_DIR_INT("MaxSpareServers", struct mu_mpm_numbers, max_spare, MU_IN_GLOBAL, INT32_MIN,
               INT32_MAX, "Idle child processes above which some are stopped"),
    MU_DIR_END
};

static void init(void *conf)
{
    mu_mpm_numbers_init(conf);
}

static const struct mu_mpm mpm;
MU_MODULE(mpm_prefork, .conf_size = sizeof(struct mu_mpm_numbers), .directives = directives,
          .init = init, .mpm = &mpm);

static void limits(struct mu_config *config, struct mu_mpm_limits *out)
{
    const struct mu_mpm_numbers *n = mu_vhost_conf(config->main, &mu_module_mpm_prefork);

    out->server_limit =
        mu_mpm_number(config, "ServerLimit", n->server_limit, SERVER_LIMIT, 1, SERVER_LIMIT_MAX);
    out->children_max = mu_mpm_number(config, "MaxRequestWorkers", n->max_workers, SERVER_LIMIT, 1,
                                      out->server_limit);
    out->slots_per_child = out->workers_per_child = 1;
    out->start =
        mu_mpm_number(config, "StartServers", n->start_servers, START_SERVERS, 1, INT32_MAX);
    if (out->start > out->children_max)
        out->start = out->children_max;
    out->min_spare =
        mu_mpm_number(config, "MinSpareServers", n->min_spare, MIN_SPARE, 1, INT32_MAX);
    out->max_spare = n->max_spare == MU_UNSET ? MAX_SPARE
                     : n->max_spare < 0       ? 0
                                              : (uint32_t)n->max_spare;
    if (out->max_spare <= out->min_spare)
        out->max_spare = out->min_spare + 1;
    out->max_connections_per_child = mu_mpm_connections(n);
}

static void show(struct prefork *p, bool is_busy)
{
    p->is_serving = is_busy;
    atomic_store_explicit(&p->score->busy, is_busy, memory_order_relaxed);
    atomic_store_explicit(&p->score->idle, !is_busy, memory_order_relaxed);
    if (!is_busy)
        mu_score_state(p->slot, '_');
}

static void on_closed(struct mu_conn_host *h)
{
    struct prefork *p = h->mpm;

    show(p, false);
    mu_gate_relieve(&p->gate);
}

static void on_accept(struct mu_gate *g, int fd, const struct mu_listener *l,
                      const struct mu_addr *peer)
{
    struct prefork *p = g->mpm;

    mu_gate_pause(g);
    mu_accept_lock_release(p->child);
    p->served++;
    show(p, true);
    if (mu_conn_open(&p->host, fd, l, peer) != MU_OK)
        show(p, false);
}

/* No connection comes any more: said once, so that a restart need not wait for the one it has. */
static void leave(struct prefork *p)
{
    mu_gate_close(&p->gate);
    mu_child_close_listeners(p->child);
    if (!p->is_leaving)
        mu_child_leaving(p->child);
    p->is_leaving = true;
}

static void on_stop(struct mu_stop_watch *w, enum mu_stop how)
{
    struct prefork *p = MU_CONTAINER_OF(w, struct prefork, stop);

    p->is_stopping = true;
    atomic_store_explicit(&p->score->is_stopping, true, memory_order_relaxed);
    if (how == MU_STOP_GRACEFUL)
        mu_gate_last_call(&p->gate);
    leave(p);
    if (how == MU_STOP_NOW)
        mu_conn_host_abort(&p->host);
    else
        mu_conn_host_drain(&p->host);
}

/* While the gate rests the accept lock is another process's, which may have descriptors. */
static void serve(struct prefork *p)
{
    uint64_t most = p->child->limits->max_connections_per_child;

    while (!p->is_stopping && (!most || p->served < most)) {
        uint64_t before = p->served;

        if (mu_accept_lock_take(p->child) != MU_OK)
            break;
        mu_gate_resume(&p->gate);
        while (p->served == before && !p->is_stopping && !p->gate.is_starved)
            mu_reactor_turn(p->host.reactor, -1);
        if (p->served == before) {
            mu_gate_pause(&p->gate);
            mu_accept_lock_release(p->child);
        }
        while (p->is_serving || (p->gate.is_starved && !p->is_stopping))
            mu_reactor_turn(p->host.reactor, -1);
    }
}

static bool start(struct prefork *p, struct mu_reactor *r)
{
    p->score = mu_scoreboard_child(p->child->scoreboard, p->child->index);
    p->slot = mu_scoreboard_slot(p->child->scoreboard, p->child->index, 0);
    p->host = (struct mu_conn_host){ .reactor = r,
                                     .config = p->child->config,
                                     .score = p->score,
                                     .slots = p->slot,
                                     .slots_n = 1,
                                     .is_single = true,
                                     .mpm = p,
                                     .on_closed = on_closed };
    p->gate = (struct mu_gate){ .child = p->child, .mpm = p, .on_accept = on_accept };
    return mu_conn_host_init(&p->host) == MU_OK && mu_gate_open(&p->gate, r) == MU_OK &&
           mu_stop_watch(&p->stop, r, p->child, on_stop) == MU_OK;
}

static int child_main(struct mu_child *child)
{
    struct mu_mpm_common common = mu_mpm_common_of(child->config);
    const struct mu_mpm_numbers *numbers =
        mu_vhost_conf(child->config->main, &mu_module_mpm_prefork);
    struct mu_reactor_opts opts = { .backend = MU_BACKEND_SINGLE,
                                    .max_fibers = mu_mpm_fibers(numbers, 1),
                                    .big_stack_size = common.thread_stack_size,
                                    .is_alone = true };
    static struct prefork p;
    struct mu_reactor *r;

    p.child = child;
    if (mu_server_child_start(child->config, child->scoreboard) != MU_OK)
        return MU_CHILD_FAILED;
    r = mu_reactor_create(&opts);
    if (!r || !start(&p, r))
        return MU_CHILD_FAILED;
    show(&p, false);
    mu_child_ready(child);
    serve(&p);
    leave(&p);
    mu_stop_unwatch(&p.stop);
    mu_conn_host_fini(&p.host);
    mu_server_child_stop(child->config);
    mu_reactor_destroy(r);
    return 0;
}

static const struct mu_mpm mpm = { .name = "prefork", .limits = limits, .child_main = child_main };
