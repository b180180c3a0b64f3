/* Header fields of a message: ordered, names compared without case. Also used for notes and
 * environment tables. */
#ifndef MUSTER_HEADERS_H
#define MUSTER_HEADERS_H

#include <muster/arena.h>
#include <muster/types.h>

/**
 * Fields the server itself looks at; others are MU_H_OTHER. Order is free, the parser assigns them.
 */
/* clang-format off */
#define MU_HEADER_LIST(X)                                                                          \
    X(ACCEPT, "Accept") X(ACCEPT_CHARSET, "Accept-Charset") X(ACCEPT_ENCODING, "Accept-Encoding")  \
    X(ACCEPT_LANGUAGE, "Accept-Language") X(ACCEPT_RANGES, "Accept-Ranges") X(ALLOW, "Allow")      \
    X(AUTHORIZATION, "Authorization") X(CACHE_CONTROL, "Cache-Control")                            \
    X(CONNECTION, "Connection") X(CONTENT_ENCODING, "Content-Encoding")                            \
    X(CONTENT_LANGUAGE, "Content-Language") X(CONTENT_LENGTH, "Content-Length")                    \
    X(CONTENT_LOCATION, "Content-Location") X(CONTENT_RANGE, "Content-Range")                      \
    X(CONTENT_TYPE, "Content-Type") X(COOKIE, "Cookie") X(DATE, "Date") X(ETAG, "ETag")            \
    X(EXPECT, "Expect") X(EXPIRES, "Expires") X(HOST, "Host") X(IF_MATCH, "If-Match")              \
    X(IF_MODIFIED_SINCE, "If-Modified-Since") X(IF_NONE_MATCH, "If-None-Match")                    \
    X(IF_RANGE, "If-Range") X(IF_UNMODIFIED_SINCE, "If-Unmodified-Since")                          \
    X(KEEP_ALIVE, "Keep-Alive") X(LAST_MODIFIED, "Last-Modified") X(LOCATION, "Location")          \
    X(PROXY_AUTHORIZATION, "Proxy-Authorization") X(RANGE, "Range") X(REFERER, "Referer")          \
    X(RETRY_AFTER, "Retry-After") X(SERVER, "Server") X(SET_COOKIE, "Set-Cookie") X(TE, "TE")      \
    X(TRAILER, "Trailer") X(TRANSFER_ENCODING, "Transfer-Encoding") X(UPGRADE, "Upgrade")          \
    X(USER_AGENT, "User-Agent") X(VARY, "Vary") X(WWW_AUTHENTICATE, "WWW-Authenticate")
/* clang-format on */

enum mu_header_id {
    MU_H_OTHER = 0,
#define X(id, name) MU_H_##id,
    MU_HEADER_LIST(X)
#undef X
        MU_H_COUNT
};

struct mu_header {
    struct mu_str name;
    struct mu_str value;
    enum mu_header_id id;
};

/**
 * Zero-initialised is a valid empty table; storage comes from the arena given to each call that
 * adds.
 */
struct mu_headers {
    struct mu_header *v;
    uint32_t n;
    uint32_t cap;
    /** bit id is set when a field of that id may be present (fast negative answer) */
    uint64_t seen;
};

static_assert(MU_H_COUNT <= 64, "mu_headers.seen is one word");

/** The id of a field name, MU_H_OTHER when unknown. */
enum mu_header_id mu_header_id(struct mu_str name);
/** Canonical spelling of an id. */
struct mu_str mu_header_name(enum mu_header_id id);

/** Append, even if there is one of that name. Bytes are borrowed. */
MU_NODISCARD enum mu_rc mu_headers_add(struct mu_arena *a, struct mu_headers *h, struct mu_str name,
                                       struct mu_str value);
/** Append when the id is known already (the parser, the writer). */
MU_NODISCARD enum mu_rc mu_headers_add_id(struct mu_arena *a, struct mu_headers *h,
                                          enum mu_header_id id, struct mu_str name,
                                          struct mu_str value);
/** Replace all of that name by one. */
MU_NODISCARD enum mu_rc mu_headers_set(struct mu_arena *a, struct mu_headers *h, struct mu_str name,
                                       struct mu_str value);
/** Append to the first of that name after ", ", or add (httpd's merge). */
MU_NODISCARD enum mu_rc mu_headers_merge(struct mu_arena *a, struct mu_headers *h,
                                         struct mu_str name, struct mu_str value);
/** Remove all of that name. */
void mu_headers_unset(struct mu_headers *h, struct mu_str name);
/** First value by name; p == NULL when absent. */
struct mu_str mu_headers_get(const struct mu_headers *h, struct mu_str name);
/** First field by id, or NULL. */
const struct mu_header *mu_headers_find(const struct mu_headers *h, enum mu_header_id id);
/** First value by id; p == NULL when absent. */
static inline struct mu_str mu_headers_get_id(const struct mu_headers *h, enum mu_header_id id)
{
    const struct mu_header *f = (h->seen >> id & 1) ? mu_headers_find(h, id) : NULL;

    return f ? f->value : MU_STR_NULL;
}
/** All values of that id joined by ", " (RFC 9110 section 5.3); p == NULL when absent. */
struct mu_str mu_headers_join(struct mu_arena *a, const struct mu_headers *h, enum mu_header_id id);
/** The first row with the name of row `row`: `row` itself unless that is a repetition. */
uint32_t mu_headers_first_row(const struct mu_headers *h, uint32_t row);
/**
 * The value of row `row` and those of all rows of its name behind it, with `between` between them: one
 * piece of memory however many there are. p == NULL: out of memory.
 */
struct mu_str mu_headers_join_row(struct mu_arena *a, const struct mu_headers *h, uint32_t row,
                                  struct mu_str between);
/** Does the comma-separated list value hold `token` (ASCII case folded)? */
bool mu_list_has_token(struct mu_str list, struct mu_str token);
/** Keep the capacity, drop the content. */
static inline void mu_headers_clear(struct mu_headers *h)
{
    h->n = 0;
    h->seen = 0;
}

#endif
