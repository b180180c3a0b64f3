/*
 * What the files of the protocol side share: the connection, its host's private part, exchange
 * begin and end.
 */
#ifndef MU_SERVER_CONN_INTERNAL_H
#define MU_SERVER_CONN_INTERNAL_H

#include <muster/clock.h>
#include <muster/wait.h>
#include <net/stream.h>
#include <server/core_conf.h>
#include <server/exchange.h>

/** What a connection counts as while the reactor holds it. */
enum mu_conn_class { MU_CONN_READING, MU_CONN_WRITING, MU_CONN_KEEPALIVE, MU_CONN_CLOSING };

/** A client's connection. Idle, it is all there is: no buffer, no arena, no fiber, no texts. */
struct mu_conn {
    struct mu_stream stream;
    struct mu_timer timer; /**< the only one: what it means depends on the protocol's state */
    struct mu_list link;   /**< host->conns, or next on the free list */
    struct mu_conn_host *host;
    const struct mu_protocol *proto;
    const struct mu_listener *listener;
    const struct mu_vhost *vhost; /**< of the address; NULL until asked for */
    struct mu_exchange *present;  /**< the exchange whose peer texts mu_conn_peer hands out */
    uint64_t id;
    struct mu_addr remote;
    struct mu_addr local;      /**< AF_UNSPEC until asked for */
    uint32_t keepalives;       /**< requests answered before */
    uint8_t counted;           /**< enum mu_conn_class the scoreboard knows it as */
    bool is_watched;           /**< the reactor tells of readiness */
    _Alignas(16) char state[]; /**< the protocol's own: proto->conn_size bytes */
};

struct mu_conn_slab;

/** The server room's part of a host. */
struct mu_host_priv {
    struct mu_conn *free_conns;
    struct mu_conn_slab *slabs; /**< what the structs were cut from */
    struct mu_conn *starting;   /**< whose fiber is in its first stretch; NULL once it was closed */
    const struct mu_module **read_limiters; /**< modules with a read_timeouts hook */
    size_t read_limiters_n;
    uint32_t slot_hint;
    bool wants_timing;
    bool wants_status;  /**< each request is shown in the scoreboard */
    bool is_by_address; /**< virtual hosts differ by address: ask which one was connected to */
};

/** The server room's part of h. */
static inline struct mu_host_priv *mu_host_priv(const struct mu_conn_host *h)
{
    return h->priv;
}

/** Who waits for a place under the host's limit. Embed it. */
struct mu_limit_wait {
    struct mu_list link;
    void (*go)(struct mu_limit_wait *w);
};
/** Take a place under h's limit, which it has. False: there is none, or others wait for one. */
bool mu_limit_take(struct mu_conn_host *h);
void mu_limit_give(struct mu_conn_host *h);
/** Wait for one: `go` is called in the reactor, with the place taken and `w` off the list. */
void mu_limit_wait(struct mu_conn_host *h, struct mu_limit_wait *w,
                   void (*go)(struct mu_limit_wait *w));
/** Wait no more. */
void mu_limit_leave(struct mu_conn_host *h, struct mu_limit_wait *w);

/** The protocol of a Listen line; HTTP/1 when nobody registered the name. */
const struct mu_protocol *mu_protocol_find(struct mu_str name);
extern const struct mu_protocol mu_protocol_http1;

/**
 * End it: closes the socket, tells the MPM, frees c. Nothing of c may run or be used afterwards.
 */
void mu_conn_close(struct mu_conn *c);
/**
 * Let the reactor tell of readiness from now on; writability too when a write just did not fit.
 * False: out of memory.
 */
MU_NODISCARD bool mu_conn_watch(struct mu_conn *c);
/** Say what c counts as now; `state` is the scoreboard's letter for a host of one connection. */
void mu_conn_count(struct mu_conn *c, enum mu_conn_class as, char state);
/** Has the peer torn the connection down (not merely finished sending)? One system call. */
bool mu_conn_is_torn(const struct mu_conn *c);

/**
 * A new exchange of `size` bytes (a struct that begins with mu_exchange) in `a`: addresses, time,
 * defaults.
 * Returns: NULL when out of memory (the arena stays the caller's).
 */
struct mu_exchange *mu_exchange_create(struct mu_conn *c, struct mu_arena *a, size_t size,
                                       const struct mu_exchange_ops *ops);
/** Take over a parsed head, or what was understood of it. MU_NOMEM. */
MU_NODISCARD enum mu_rc mu_exchange_take_head(struct mu_exchange *x, const struct mu_h1_head *head);
/**
 * Account for it in the scoreboard: at the start, when it was found to take longer, and at the end.
 */
void mu_exchange_score_begin(struct mu_exchange *x);
void mu_exchange_score_parked(struct mu_exchange *x);
/** Nothing but sending is left of it: its place under the host's limit is free. */
void mu_exchange_limit_end(struct mu_exchange *x);
/** Log and account; what the exchange holds besides its arena is freed. Then the arena may go. */
void mu_exchange_finish(struct mu_exchange *x);

/** How slowly a request may arrive on this connection; NULL: TimeOut alone counts. */
const struct mu_read_timeouts *mu_conn_read_timeouts(struct mu_conn *c, const struct mu_vhost *v);
/**
 * `first_ms`, extended by a second for each `rate` bytes, up to `max_ms` (0: no end). 0 rate: never
 * extended.
 */
int64_t mu_rate_limit_ms(int64_t first_ms, int64_t max_ms, uint32_t rate, uint64_t bytes);

/** Core settings of the address's server, before a request is known. */
const struct mu_core_conf *mu_conn_core(struct mu_conn *c);

#endif
