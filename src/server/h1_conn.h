/*
 * HTTP/1 on a connection: what h1_conn.c, h1_buf.c, h1_read.c, h1_body.c, h1_skip.c, h1_head.c,
 * h1_sink.c, h1_send.c, h1_keep.c, h1_lend.c and linger.c share.
 */
#ifndef MU_SERVER_H1_CONN_H
#define MU_SERVER_H1_CONN_H

#include <server/conn_internal.h>
#include <server/spool.h>

enum mu_h1_state {
    MU_H1_HEAD,   /**< a request head is awaited or has arrived in part; no fiber */
    MU_H1_IDLE,   /**< between requests: nothing is held */
    MU_H1_HELD,   /**< a request is there, and waits until it may begin (EventRequestLimit) */
    MU_H1_RUN,    /**< a fiber answers */
    MU_H1_SKIP,   /**< answered; the reactor drops what is left of the request's body */
    MU_H1_FLUSH,  /**< the fiber went home; the reactor sends what is left */
    MU_H1_LINGER, /**< our side is shut; input is dropped until the client closes */
};

/** An idle connection waits no longer for a request while the child ends. */
enum { MU_H1_DRAIN_IDLE_MS = 5000 };

/** An unread body longer than this costs the connection. */
enum { MU_H1_SKIP_MAX = 256 * 1024 };

enum mu_h1_buf { MU_H1_NO_BUF, MU_H1_LENT /**< the reactor's */, MU_H1_HEAP };

struct mu_h1_exchange;

/** The state of an HTTP/1 connection. */
struct mu_h1 {
    struct mu_h1_exchange *x; /**< MU_H1_RUN and MU_H1_FLUSH */
    struct mu_h1_skip *skip;  /**< MU_H1_SKIP */
    char *buf;                /**< input: [start, n) is not used up yet */
    uint32_t cap, start, n;
    uint8_t state;         /**< enum mu_h1_state */
    uint8_t buf_kind;      /**< enum mu_h1_buf */
    bool wants_turn;       /**< the timer means "go on", not "too late" (not of heads) */
    bool is_aborted : 1;   /**< the server aborts; the fiber is on its way home */
    bool has_place : 1;    /**< under the host's limit, for the next request */
    uint32_t keepalive_ms; /**< of the server that answered last */
    union {
        struct mu_h1_parser parser;
        struct mu_limit_wait wait; /**< MU_H1_HELD */
    };
    int64_t since_ms; /**< when the head began, or lingering */
};

/** Where the request body stands. */
struct mu_h1_body {
    enum mu_framing framing;
    bool is_done;      /**< all of it was read (true without a body) */
    enum mu_rc failed; /**< MU_OK, or what every later read answers */
    uint64_t left;     /**< MU_BODY_LENGTH: bytes not read yet */
    uint64_t received; /**< since since_ms, for MinRate */
    uint64_t skipped;  /**< of what nobody wanted to read */
    int64_t since_ms;  /**< of the first read; 0: none yet */
    int64_t quiet_ms;  /**< since when mu_h1_body_try_read has found nothing; 0: it has */
    const struct mu_read_timeouts *timeouts;
    struct mu_chunked chunked;
    char *area; /**< chunked: where input is read to once the head's buffer is full; NULL: there */
    uint32_t area_cap, area_start, area_n;
};

/** How the answer's body is delimited. */
enum mu_h1_delimiter { MU_H1_NO_BODY, MU_H1_BY_LENGTH, MU_H1_BY_CHUNKS, MU_H1_BY_CLOSE };

struct mu_h1_exchange {
    struct mu_exchange x; /**< first */
    struct mu_h1_body body;

    enum mu_h1_delimiter delimiter;
    bool is_persistent;       /**< the request's version and Connection ask for it */
    bool has_keepalive_token; /**< Connection: keep-alive was said: the answer says it too */
    bool has_pending;         /**< `out` holds bytes that the client has not taken */
    bool is_busy;    /**< the writer is at `out`, or waits for the client: the reactor keeps away */
    enum mu_rc lost; /**< why the reactor could not send on while the writer was elsewhere */
    uint64_t body_left; /**< MU_H1_BY_LENGTH: bytes the head promised and that were not taken yet */
    char frame[24];     /**< size line of the present chunk */
    struct mu_chunk *out; /**< what is left to flush: [out_i, out_n) */
    size_t out_n, out_i, out_cap;
    char *kept;            /**< bytes of `out` that were only lent, in memory */
    uint32_t kept_n;       /**< and how many; they are used again once nothing is pending */
    struct mu_spool spool; /**< the same, in a file */
    uint64_t lent_at;      /**< bytes the kernel had sent when the socket was lent */
    bool was_lent;         /**< others may have had the socket */
    bool has_asked;        /**< mu_client_ask: once is enough */
};

static inline struct mu_h1 *mu_h1_of(struct mu_conn *c)
{
    return (struct mu_h1 *)c->state;
}
static inline struct mu_h1_exchange *mu_h1_exchange_of(struct mu_exchange *x)
{
    return MU_CONTAINER_OF(x, struct mu_h1_exchange, x);
}
static inline struct mu_conn *mu_h1_conn(struct mu_h1 *h)
{
    return MU_CONTAINER_OF((char(*)[])h, struct mu_conn, state);
}

/* h1_read.c: input until a head is complete. */

enum mu_h1_got {
    MU_H1_READY /**< an exchange was begun */,
    MU_H1_PARKED /**< the reactor goes on */,
    MU_H1_CLOSED /**< c is gone */
};
/**
 * Use what is buffered and what can be read without waiting. Afterwards c is parked, gone, or has
 * an exchange to run.
 */
enum mu_h1_got mu_h1_next(struct mu_conn *c);
/**
 * Begin an exchange for a head that never came or cannot be served: answered by `status`, then
 * closed.
 */
enum mu_h1_got mu_h1_refuse_head(struct mu_conn *c, enum mu_status status, const char *why);
/** Milliseconds until the present head is too late; <= 0: it is. */
int64_t mu_h1_head_ms_left(struct mu_conn *c);

/** Let c wait no more (MU_H1_HELD): its request may begin, or c ends. */
void mu_h1_unhold(struct mu_conn *c);
/** To be called when it may begin, with a place taken for it: h1_conn.c. */
void mu_h1_go(struct mu_limit_wait *w);

/* h1_buf.c */

/** A head ends here, even where LimitRequestFields is 0. */
enum { MU_H1_HEAD_MAX = 1024 * 1024 };

/** Make room for a read behind the bytes there are. False: too many, or out of memory. */
bool mu_h1_make_room(struct mu_conn *c);
/** Drop the input buffer. */
void mu_h1_drop_buf(struct mu_conn *c);
/** Move the unused input to a buffer of its own of `cap` bytes. False: out of memory. */
bool mu_h1_buf_to_heap(struct mu_conn *c, size_t cap);
/** Let `n` bytes from elsewhere be the input, in a buffer of `cap` bytes. False: out of memory. */
bool mu_h1_buf_set(struct mu_conn *c, const char *in, uint32_t n, size_t cap);
/** May c keep `cap` bytes of an unfinished head? False: all together keep too many (logged). */
bool mu_h1_buf_may_grow(struct mu_conn *c, size_t cap);

/* h1_body.c */

/** Prepare x->body from the parsed framing. */
void mu_h1_body_begin(struct mu_h1_exchange *x, const struct mu_h1_head *head);
/** exchange ops.body_read */
enum mu_rc mu_h1_body_read(struct mu_exchange *x, void *buf, size_t cap, size_t *got);
/** exchange ops.body_try_read */
enum mu_rc mu_h1_body_try_read(struct mu_exchange *x, void *buf, size_t cap, size_t *got,
                               struct mu_wait_item *item, int64_t *deadline_ms);
/** As far as is known: can what is left of the body be skipped, for the connection to go on? */
bool mu_h1_body_is_skippable(const struct mu_h1_exchange *x);
/**
 * Before the next request: skip what is there of what the handler left of the body.
 * Returns: MU_OK: it is done with; MU_AGAIN: more is to come; else too much or something broken is
 *          left: the connection must close.
 */
enum mu_rc mu_h1_body_skip(struct mu_h1_exchange *x);
/** Is what was read and not used up yet of the body, all of it? */
bool mu_h1_body_covers_input(const struct mu_h1_exchange *x);
/** Bytes the body's reads took that belong to the next request. */
uint32_t mu_h1_body_excess(const struct mu_h1_exchange *x);
/**
 * Put them where the head reader looks: over this exchange's head, so it must have been logged. x's arena still
 * lives. False: out of memory.
 */
bool mu_h1_body_end(struct mu_h1_exchange *x);

/* h1_skip.c: the rest of a body that nobody wants, after its exchange is over. */

/** What is to be skipped, taken from x. NULL: out of memory. */
struct mu_h1_skip *mu_h1_skip_make(const struct mu_h1_exchange *x);
/**
 * Begin to skip with what has been read behind the exchange. True: done, look for the next request;
 * else the reactor goes on, or c is gone.
 */
bool mu_h1_skip_begin(struct mu_conn *c, struct mu_h1_skip *s);
/** More input, or the timer. True as above. */
bool mu_h1_skip_ready(struct mu_conn *c);
bool mu_h1_skip_timeout(struct mu_conn *c);
/** Whatever becomes of c: it is not skipping any more. */
void mu_h1_skip_end(struct mu_h1 *h);

/* h1_head.c */

/**
 * Decide delimiter and persistence, and format the answer's head into x's arena, with `room` free
 * bytes behind it. {NULL, 0}: out of memory.
 */
struct mu_str mu_h1_head_make(struct mu_h1_exchange *x, size_t room);

/* h1_sink.c */

enum mu_rc mu_h1_write(struct mu_exchange *x, const struct mu_chunk *chunks, size_t n,
                       bool is_last);
enum mu_rc mu_h1_interim(struct mu_exchange *x, enum mu_status status, const struct mu_headers *h);
enum mu_rc mu_h1_ask(struct mu_exchange *x);

/* h1_send.c: chunks to the socket. They are used up: v[0..n) is changed. */

uint64_t mu_h1_chunk_len(const struct mu_chunk *c);
/**
 * The answer cannot be completed: nothing that follows on this connection would be understood.
 * Returns rc.
 */
enum mu_rc mu_h1_give_up(struct mu_h1_exchange *x, enum mu_rc rc);
/** Send all from v[*i] on, waiting as long as the client takes. */
MU_MAY_SUSPEND enum mu_rc mu_h1_send_all(struct mu_h1_exchange *x, struct mu_chunk *v, size_t n,
                                         size_t *i);
/**
 * The end of the answer: what does not fit now is kept for the reactor, or waited for when it
 * cannot be kept.
 */
MU_MAY_SUSPEND enum mu_rc mu_h1_send_last(struct mu_h1_exchange *x, struct mu_chunk *v, size_t n);
/**
 * As much as goes without waiting. MU_OK: everything (*i == n) or a slice; MU_AGAIN: the socket is
 * full.
 */
enum mu_rc mu_h1_send_some(struct mu_h1_exchange *x, struct mu_chunk *v, size_t n, size_t *i);
/** One slice from the fiber, then its turn may be over. MU_AGAIN as in mu_h1_send_some. */
MU_MAY_SUSPEND enum mu_rc mu_h1_send_slice(struct mu_h1_exchange *x, struct mu_chunk *v, size_t n,
                                           size_t *i);
/** Send of what is pending until `left` bytes are left, waiting as long as the client takes. */
MU_MAY_SUSPEND enum mu_rc mu_h1_send_down(struct mu_h1_exchange *x, uint64_t left);
/**
 * On the fiber again, behind what a worker thread left: the end joins it for the reactor, all else
 * waits for it.
 */
MU_MAY_SUSPEND enum mu_rc mu_h1_send_behind(struct mu_h1_exchange *x, struct mu_chunk *v, size_t n,
                                            bool is_last);
/**
 * Send on without waiting. MU_OK: all is out; MU_AGAIN; MU_LIMIT: others' turn first; else it
 * failed and x is aborted.
 */
enum mu_rc mu_h1_flush(struct mu_h1_exchange *x);

/* h1_keep.c: what the client did not take of an answer whose writer must not wait. */

/** Bytes that a slow client may leave in the temporary folder: 1 GiB (tests lower it). */
extern uint64_t mu_h1_keep_max;

/** Bytes of x->out not sent yet. */
uint64_t mu_h1_pending(const struct mu_h1_exchange *x);
/** Behind what is pending already, if anything is: v[0..n), as it is at this moment. MU_NOMEM. */
enum mu_rc mu_h1_append(struct mu_h1_exchange *x, const struct mu_chunk *v, size_t n);
/**
 * For who must not wait: send what goes, keep the rest (memory, then a file). Only what is above
 * mu_h1_keep_max is waited for.
 */
MU_MAY_SUSPEND enum mu_rc mu_h1_send_or_leave(struct mu_h1_exchange *x, struct mu_chunk *v,
                                              size_t n);
/** The writer is at x->out; it has gone, and the reactor sends on what is pending. */
void mu_h1_sink_enter(struct mu_h1_exchange *x);
void mu_h1_sink_leave(struct mu_h1_exchange *x);
/** In the reactor, while the writer is elsewhere: send on; its timer struck. */
void mu_h1_send_beside(struct mu_h1_exchange *x);
void mu_h1_beside_timeout(struct mu_h1_exchange *x);

/* h1_lend.c */

/** exchange ops.lend, ops.take_back */
enum mu_rc mu_h1_lend(struct mu_exchange *x, int *fd);
uint64_t mu_h1_take_back(struct mu_exchange *x);

/* linger.c */

/**
 * Close c at once when nothing unread can be there, else shut our side and drop input for a while.
 */
void mu_h1_end(struct mu_conn *c, bool needs_linger);
/** More input to drop. */
void mu_h1_linger_ready(struct mu_conn *c);
void mu_h1_linger_timeout(struct mu_conn *c);

#endif
