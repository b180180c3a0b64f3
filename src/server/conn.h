/* Connections, seen from an MPM: open one on a reactor, be told when it is over, drain. */
#ifndef MU_SERVER_CONN_H
#define MU_SERVER_CONN_H

#include <conf/config.h>
#include <engine/reactor.h>
#include <net/addr.h>
#include <net/listener.h>
#include <super/scoreboard.h>

struct mu_conn;

/**
 * How many requests a child works on at once (EventRequestLimit, AsyncRequestWorkerFactor): shared by
 * its hosts. A request counts from its beginning until nothing but sending is left of it.
 */
struct mu_request_limit {
    uint32_t most;
    _Atomic uint32_t running, waiting;
    /**
     * There is a place and somebody waits: see to it that mu_conn_host_go_on is called for a host
     * whose held_n is not 0. Any reactor of the child.
     */
    void (*on_room)(struct mu_request_limit *l);
};

/** One a reactor: what its connections share. The MPM owns it and fills the upper part. */
struct mu_conn_host {
    struct mu_reactor *reactor;
    const struct mu_config *config;
    struct mu_score_child *score;
    /** worker, prefork: this worker's one; event: the child's array */
    struct mu_score_slot *slots;
    uint32_t slots_n;
    bool is_single; /**< one connection at a time: its state is the slot's state */
    void *mpm;      /**< the MPM's own */
    void (*on_closed)(struct mu_conn_host *h); /**< a connection ended (reactor context) */
    struct mu_request_limit *limit;            /**< NULL: none */

    /* The server room's own: counts, lists, the drain flag. */
    uint32_t connections;
    uint32_t requests_running;
    bool is_draining;
    struct mu_list conns;
    struct mu_list held;     /**< what waits for the limit */
    _Atomic uint32_t held_n; /**< and how many; others read it */
    void *priv;
};

/** Prepare the server room's part; once a reactor, on its thread. */
MU_NODISCARD enum mu_rc mu_conn_host_init(struct mu_conn_host *h);
void mu_conn_host_fini(struct mu_conn_host *h);

/**
 * Serve an accepted socket: a first read is tried at once, then the reactor goes on.
 * Returns: MU_NOMEM (the descriptor is closed) or MU_OK; h->on_closed is called exactly once later
 *          (or during the call) when MU_OK was or will be returned.
 * Context: reactor thread, no fiber.
 */
MU_NODISCARD enum mu_rc mu_conn_open(struct mu_conn_host *h, int fd, const struct mu_listener *l,
                                     const struct mu_addr *peer);
/** Begin requests that wait for the limit, as many as there is room for. Reactor thread, no fiber. */
void mu_conn_host_go_on(struct mu_conn_host *h);
/**
 * Graceful end: idle connections are closed (once nothing more arrived on them), running requests
 * are answered with Connection: close, unfinished heads may finish. Repeating is harmless.
 */
void mu_conn_host_drain(struct mu_conn_host *h);
/** Abort everything now: fibers are cancelled, sockets closed. */
void mu_conn_host_abort(struct mu_conn_host *h);

/**
 * Once in the supervisor after mu_config_load: vhost routing, derived data. Reports errors; MU_BAD
 * when there were.
 */
MU_NODISCARD enum mu_rc mu_server_prepare(struct mu_config *config);
/** Once in each child before serving (after privileges are dropped), and at its end. */
MU_NODISCARD enum mu_rc mu_server_child_start(struct mu_config *config, struct mu_scoreboard *sb);
void mu_server_child_stop(struct mu_config *config);
/** Instead, where threads of it may still run: the logs are written out, nothing is torn down. */
void mu_server_child_abandon(const struct mu_config *config);

#endif
