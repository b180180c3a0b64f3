/* An exchange: one request and its answer, over whatever protocol. HTTP/1 has one at a time, HTTP/2
 * many.
 *
 * The protocol side (conn.c, h1_conn.c) makes it, feeds the body, takes the answer; the request
 * side (process.c and what it calls) runs on the exchange's fiber. They meet here and nowhere else.
 */
#ifndef MU_SERVER_EXCHANGE_H
#define MU_SERVER_EXCHANGE_H

#include <engine/fiber.h>
#include <server/conn.h>

struct mu_exchange;

/**
 * What a protocol does for its exchanges. Called on the exchange's fiber (offloaded code is brought
 * home first).
 */
struct mu_exchange_ops {
    /**
     * Take body bytes of the answer; the first call (or end) sends the head made from
     * mu_exchange_answer(x). The last in the filter chain. Borrowed chunks (not is_exchange_owned)
     * are used up before it returns. With is_last the protocol may return MU_OK with owned chunks
     * unsent: it flushes them by itself. With x->must_not_wait it keeps what the client does not
     * take (memory, then a temporary file) and sends it while the caller is elsewhere.
     * Returns: MU_OK, MU_GONE, MU_TIMEOUT, MU_NOMEM.
     */
    enum mu_rc (*write)(struct mu_exchange *x, const struct mu_chunk *chunks, size_t n,
                        bool is_last);
    /** As mu_body_read, without the limit. */
    enum mu_rc (*body_read)(struct mu_exchange *x, void *buf, size_t cap, size_t *got);
    /** As mu_body_try_read, without the limit. NULL: it waits as body_read does. */
    enum mu_rc (*body_try_read)(struct mu_exchange *x, void *buf, size_t cap, size_t *got,
                                struct mu_wait_item *item, int64_t *deadline_ms);
    /** An interim answer (100, 103). */
    enum mu_rc (*interim)(struct mu_exchange *x, enum mu_status status, const struct mu_headers *h);
    /** mu_client_ask. NULL: nothing can be said in between. */
    enum mu_rc (*ask)(struct mu_exchange *x);
    /**
     * mu_client_lend and the end of it: returns the bytes sent since, as the kernel counts them.
     * NULL: a request has no socket of its own.
     */
    enum mu_rc (*lend)(struct mu_exchange *x, int *fd);
    uint64_t (*take_back)(struct mu_exchange *x);
};

struct mu_exchange {
    struct mu_req req; /**< first: a mu_req of the main request is its exchange */
    const struct mu_exchange_ops *ops;
    struct mu_conn *conn;
    struct mu_conn_host *host;
    struct mu_fiber *fiber;
    struct mu_score_slot *slot;
    struct mu_str raw_path; /**< as in the target, still encoded; "*" for OPTIONS * */
    enum mu_status bad;     /**< set when the head was refused: answer this and close */
    const char *bad_reason; /**< for the log */
    bool expects_continue;  /**< 100 Continue is awaited and was not sent */
    bool expects_unknown;   /**< something else is expected, which nobody here knows: 417 */
    bool is_head_sent;
    bool is_ended;        /**< the last chunk was taken */
    bool is_aborted;      /**< the client left or an error cut the answer short */
    bool wants_close;     /**< no further request on this connection */
    bool is_cut_here;     /**< aborted by us: the client may still be there to see it */
    bool is_lent;         /**< a program writes to the client: nobody else may */
    bool is_field_lost;   /**< there was no memory for a field of the answer */
    bool is_body_dropped; /**< nobody is going to read the request's body */
    bool is_limited;      /**< it has a place under the host's limit */
    bool is_busy;         /**< the scoreboard counts it as a busy worker */
    bool is_spooling;     /**< mu_resp_spool was called */
    bool is_raw;          /**< mu_resp_raw was: the handler makes the head, too */
    bool must_not_wait;   /**< of a write: a slow client must not hold the writer */
    /**
     * The protocol knows that the request had begun to arrive when this turn of the reactor began
     * (its readiness was reported, and it is the first since): what was seen of the file system in
     * this turn is then no older than it.
     */
    bool was_waiting;
    uint64_t wire_in, wire_out; /**< bytes of this exchange, framing included */
    int64_t first_byte_us;      /**< monotonic, 0 = not sent yet; only when timing is asked for */
    uint64_t body_taken;        /**< request body bytes given to the handler (LimitRequestBody) */
    struct mu_buf gather;       /**< small writes of mu_resp_write */
    struct mu_req *gather_req;  /**< whose filters they go through */
    struct mu_peer peer;        /**< what req.peer points to; its texts are in peer_text */
    char peer_text[2][56];
    struct mu_collected_body *collected; /**< the request body, once it was read ahead */
    /**
     * Raised when the client has finished sending. It may still want its answer; but a request that
     * waits in a queue is not begun for it (mu_exchange_has_client).
     */
    struct mu_wake *client_ends;
};

static inline struct mu_exchange *mu_exchange_of(struct mu_req *r)
{
    while (r->main)
        r = r->main;
    while (r->prev) /* an internal redirect keeps its exchange */
        r = r->prev;
    return MU_CONTAINER_OF(r, struct mu_exchange, req);
}

/** The request whose answer is sent: the last of a row of internal redirects. */
static inline struct mu_req *mu_exchange_answer(struct mu_exchange *x)
{
    struct mu_req *r = &x->req;

    while (r->next)
        r = r->next;
    return r;
}

/* ---- request side, called by protocols ---- */

/**
 * Answer x: choose the virtual host, decode the path, run phases and handler, make error answers.
 * When it returns, x->is_ended or x->is_aborted. Context: x's fiber.
 */
MU_MAY_SUSPEND void mu_process_exchange(struct mu_exchange *x);
/** x is answered with `status` by its protocol, without a fiber: only what the log needs is done. */
void mu_exchange_unserved(struct mu_exchange *x, enum mu_status status);
/**
 * Log phase; reactor context or fiber; never suspends. The arena is given back by the caller
 * afterwards.
 */
void mu_log_exchange(struct mu_exchange *x);
/**
 * Could r's head be sent as it is? Nothing in it may end or split it; if something does, the log
 * says what.
 */
bool mu_answer_is_sane(struct mu_req *r);
/** Nothing of r's answer stays: it is an error of the server's now, of status 500. */
void mu_answer_forget(struct mu_req *r);
/** The standard page of r->status. p == NULL: out of memory. */
struct mu_str mu_error_page(struct mu_req *r);
/**
 * The server a connection belongs to before a Host is known (address-based choice, its default).
 */
const struct mu_vhost *mu_vhost_for_addr(const struct mu_config *config,
                                         const struct mu_addr *local);
/** Does any log format or module need exact times (mono_us, first_byte_us)? Decided at prepare. */
bool mu_server_wants_timing(const struct mu_config *config);

/**
 * Is the client there with both of its directions open? One that merely finished sending cannot be
 * told from one that left until something is sent to it. One system call.
 */
bool mu_exchange_has_client(struct mu_exchange *x);

/* ---- protocol side, called by the request side ---- */

/**
 * What a protocol has done when mu_process_exchange is called: req holds everything of "What was
 * asked" but `path` (raw_path is to be decoded), with arena, peer, log.client, in; vhost and conf
 * are those of the address; status is 200, content_length and last_modified are -1. `bad` is set
 * for a refused head.
 *
 * What it does when the head is sent (first ops.write): Date and Server; out_always; Last-Modified
 * and ETag from r->last_modified and r->etag (unless `out` has them); `out` in order with
 * Content-Length behind Accept-Ranges (else last) from r->content_length; Keep-Alive, Connection,
 * Transfer-Encoding; Content-Type, Content-Encoding and Content-Language from r's members. 304 and
 * 204 lose the fields that describe a body. The first write being the last one with content_length
 * < 0, the length is known and set. HEAD: the body is counted and dropped.
 */

/** The peer description of the connection's present exchange. */
const struct mu_peer *mu_conn_peer(struct mu_conn *c);
/**
 * The address the client connected to; asked of the kernel once, when the listener is a wildcard.
 */
const struct mu_addr *mu_conn_local(struct mu_conn *c);
/** The remote address in its compact form (Require ip, mod_remoteip). */
const struct mu_addr *mu_conn_remote(const struct mu_conn *c);
/** The server of that address: what mu_vhost_for_addr said when the connection was opened. */
const struct mu_vhost *mu_conn_vhost(struct mu_conn *c);
/**
 * Read the whole request body into memory or a temporary file, so that a handler on a worker thread
 * never waits for the client; what goes wrong is told to whoever reads it. Nothing happens without
 * a body, when part of it was read, or where handlers run in place. Call it before a handler is
 * offloaded. Context: fiber.
 */
MU_MAY_SUSPEND void mu_body_collect(struct mu_req *r);
/**
 * Nobody is going to read the request's body: it is read and dropped first, so that one that is
 * broken or too large is answered as such. When fibers run short only what has arrived is looked at;
 * the rest is skipped by the protocol behind the answer, as far as that is worth it.
 * Returns: MU_OK; MU_TIMEOUT, MU_LIMIT, MU_BAD, MU_GONE as mu_body_read.
 */
MU_MAY_SUSPEND enum mu_rc mu_body_drop(struct mu_req *r);
/** Wanted by the answer or by policy: this connection closes after x. */
void mu_exchange_close_after(struct mu_exchange *x);

/**
 * How a connection's bytes become exchanges. HTTP/1, HTTP/2 and the test protocol each have one.
 * All are reactor callbacks: no fiber, no suspension.
 */
struct mu_protocol {
    const char *name;
    size_t conn_size;                /**< bytes of protocol state kept in the connection */
    void (*open)(struct mu_conn *c); /**< right after accept: try a first read */
    void (*ready)(struct mu_conn *c, unsigned events);
    void (*timeout)(struct mu_conn *c);
    void (*drain)(struct mu_conn *c);
    void (*abort)(struct mu_conn *c);
};
/**
 * The protocol new connections of a listener start with ("http"); tests register theirs by Listen's
 * protocol name.
 */
void mu_protocol_register(const struct mu_protocol *p);

#endif
