/*
 * FastCGI 1.0 records (specification, sections 3 to 5 and 8), for either side of the connection. Pure: bytes in,
 * decisions out. The library for applications (examples/fastcgi) is made of this file too, so it includes nothing but
 * the types.
 */
#ifndef MU_HTTP_FCGI_H
#define MU_HTTP_FCGI_H

#include <muster/types.h>

enum {
    MU_FCGI_VERSION = 1,
    MU_FCGI_HEAD = 8,          /**< bytes of a record's header */
    MU_FCGI_BODY_MAX = 0xffff, /**< of its content */
    MU_FCGI_RESPONDER = 1,
    MU_FCGI_KEEP_CONN = 1,
    MU_FCGI_NAME_HEAD_MAX = 8, /**< bytes in front of a name and its value */
};

enum mu_fcgi_type {
    MU_FCGI_T_BEGIN = 1,
    MU_FCGI_T_ABORT = 2,
    MU_FCGI_T_END = 3,
    MU_FCGI_T_PARAMS = 4,
    MU_FCGI_T_STDIN = 5,
    MU_FCGI_T_STDOUT = 6,
    MU_FCGI_T_STDERR = 7,
    MU_FCGI_T_DATA = 8,
    MU_FCGI_T_GET_VALUES = 9,
    MU_FCGI_T_GET_VALUES_RESULT = 10,
    MU_FCGI_T_UNKNOWN = 11,
    /* Muster's own (docs/fcgi-pass-client.md); sent to nobody who did not send the first. */
    MU_FCGI_T_TAKE_CLIENT = 200, /**< application: the client's socket, please */
    MU_FCGI_T_CLIENT = 201,      /**< server: here it is (or not) */
    MU_FCGI_T_CLIENT_DONE = 202, /**< application: what it sent on it */
};

/** protocolStatus of END_REQUEST. */
enum mu_fcgi_outcome {
    MU_FCGI_COMPLETE = 0,
    MU_FCGI_CANT_MULTIPLEX = 1,
    MU_FCGI_OVERLOADED = 2,
    MU_FCGI_UNKNOWN_ROLE = 3,
};

/* ---- writing ---- */

/** A record's header. */
void mu_fcgi_head(uint8_t out[MU_FCGI_HEAD], enum mu_fcgi_type type, uint16_t id, size_t len);
/** A whole BEGIN_REQUEST. Returns its length. */
size_t mu_fcgi_begin(uint8_t out[16], uint16_t id, bool keeps_conn);
/** A whole END_REQUEST. Returns its length. */
size_t mu_fcgi_end(uint8_t out[16], uint16_t id, uint32_t app_status, enum mu_fcgi_outcome how);
/** A whole CLIENT_DONE: HTTP status and bytes of the answer's body. Returns its length. */
size_t mu_fcgi_client_done(uint8_t out[24], uint16_t id, uint16_t status, uint64_t bytes);
/** The lengths in front of a pair; false when one is longer than the protocol can say (2^31 - 1). */
bool mu_fcgi_pair_head(size_t name_n, size_t value_n, uint8_t out[MU_FCGI_NAME_HEAD_MAX],
                       size_t *len);

struct mu_fcgi_pair {
    struct mu_str name, value;
};

/**
 * Any number of pairs of any length as PARAMS records, written as far as there is room: a pair may be cut by a
 * record's end, and a stream of them ends with an empty record.
 */
struct mu_fcgi_params {
    /** The next pair; false: there is none. Its bytes stay until the pair after it is asked for. */
    bool (*next)(void *arg, struct mu_fcgi_pair *pair);
    void *arg;
    uint16_t id;
    struct mu_fcgi_pair pair; /**< what is being written: head, name, value */
    uint8_t head[MU_FCGI_NAME_HEAD_MAX];
    size_t head_n, at; /**< `at` counts over all three */
    bool has_pair, is_done;
};
void mu_fcgi_params_begin(struct mu_fcgi_params *p, uint16_t id,
                          bool (*next)(void *arg, struct mu_fcgi_pair *pair), void *arg);
/**
 * Write whole records into out[0..cap), cap more than 2 * MU_FCGI_HEAD.
 * Returns: MU_OK, *n bytes were written, and p->is_done tells whether they are the last; MU_LIMIT: a name or value is
 *          too long for the protocol.
 */
MU_NODISCARD enum mu_rc mu_fcgi_params_write(struct mu_fcgi_params *p, uint8_t *out, size_t cap,
                                             size_t *n);

/* ---- reading ---- */

/** Where the reader stands; zero-initialised: between records. */
struct mu_fcgi_reader {
    uint8_t head[MU_FCGI_HEAD];
    uint8_t head_n;
    uint8_t pad;    /**< padding still to come */
    uint32_t left;  /**< content still to come */
    bool is_inside; /**< the header is complete, the content is not */
};

/** Part of a record's content. */
struct mu_fcgi_piece {
    bool is_there; /**< false: the input is used up, there is no piece */
    uint8_t type;  /**< as received */
    uint16_t id;
    uint32_t len;       /**< of the whole content */
    struct mu_str data; /**< in the input */
    bool is_first, is_last;
};

/**
 * Take the next piece of in[0..n). Input may be cut anywhere; an empty record is a piece without data.
 * Returns: MU_OK, *used bytes were taken; MU_BAD: another version than 1.
 */
MU_NODISCARD enum mu_rc mu_fcgi_read(struct mu_fcgi_reader *d, const void *in, size_t n,
                                     struct mu_fcgi_piece *piece, size_t *used);
/** Is nothing of a record outstanding, its padding included? */
bool mu_fcgi_is_between(const struct mu_fcgi_reader *d);

/**
 * The next pair of a name-value stream in *rest, and *rest behind it.
 * Returns: MU_OK; MU_AGAIN: it is not complete; MU_EOF: *rest is empty.
 */
MU_NODISCARD enum mu_rc mu_fcgi_pair_read(struct mu_str *rest, struct mu_fcgi_pair *pair);

/* ---- what an application may answer to a request ---- */

enum mu_fcgi_event_type {
    MU_FCGI_EV_NONE, /**< the input is used up */
    MU_FCGI_EV_OUT,  /**< data of stdout */
    MU_FCGI_EV_ERR,  /**< data of stderr */
    MU_FCGI_EV_TAKE, /**< TAKE_CLIENT */
    MU_FCGI_EV_DONE, /**< CLIENT_DONE: status and bytes */
    MU_FCGI_EV_END,  /**< END_REQUEST: app_status and outcome */
};

struct mu_fcgi_event {
    enum mu_fcgi_event_type type;
    struct mu_str data;
    uint16_t status;
    uint64_t bytes;
    uint32_t app_status;
    enum mu_fcgi_outcome outcome;
};

/** The application's side of one request. Zero-initialised but for id and may_take. */
struct mu_fcgi_answer {
    uint16_t id;
    bool may_take; /**< TAKE_CLIENT and CLIENT_DONE are understood */
    struct mu_fcgi_reader reader;
    uint8_t small[16]; /**< content of a record that is needed whole */
    uint8_t small_n;
    bool has_bytes;     /**< anything was read */
    bool is_out_closed; /**< stdout has ended */
    bool is_ended;      /**< END_REQUEST was read */
    const char *why;    /**< of MU_BAD */
};

/**
 * The next event of in[0..n).
 * Returns: MU_OK, *used bytes were taken; MU_BAD: no application speaks like this; a->why says what was wrong.
 */
MU_NODISCARD enum mu_rc mu_fcgi_answer_read(struct mu_fcgi_answer *a, const void *in, size_t n,
                                            struct mu_fcgi_event *e, size_t *used);

#endif
