/* HTTP vocabulary: methods, status phrases, and the pure functions modules share (URI, lists,
 * quoting). */
#ifndef MUSTER_HTTP_H
#define MUSTER_HTTP_H

#include <muster/arena.h>
#include <muster/headers.h>
#include <muster/types.h>

/* clang-format off */
#define MU_METHOD_LIST(X)                                                                          \
    X(GET) X(HEAD) X(POST) X(PUT) X(DELETE) X(CONNECT) X(OPTIONS) X(TRACE) X(PATCH) X(PROPFIND)    \
    X(PROPPATCH) X(MKCOL) X(COPY) X(MOVE) X(LOCK) X(UNLOCK) X(REPORT)
/* clang-format on */

enum mu_method {
    MU_M_OTHER = 0,
#define X(m) MU_M_##m,
    MU_METHOD_LIST(X)
#undef X
        MU_M_COUNT
};

/** Method sets: bit (1 << method). */
#define MU_METHOD_BIT(m) (1u << (m))
#define MU_GET MU_METHOD_BIT(MU_M_GET)
#define MU_HEAD MU_METHOD_BIT(MU_M_HEAD)
#define MU_POST MU_METHOD_BIT(MU_M_POST)
#define MU_ANY_METHOD (~0u)

enum mu_method mu_method_parse(struct mu_str name);
struct mu_str mu_method_name(enum mu_method m);
/** Room for an Allow value that names every method. */
#define MU_ALLOW_MAX 160
/** Write an Allow value such as "GET,HEAD,OPTIONS" for a method set. Returns its length. */
size_t mu_method_allow(unsigned mask, char buf[MU_ALLOW_MAX]);
/** "Not Found" for 404, static storage; "Unknown Reason" for what has no phrase, never empty. */
struct mu_str mu_status_reason(enum mu_status s);
/** "404 Not Found", static storage; p == NULL for a status without a phrase. */
struct mu_str mu_status_line(enum mu_status s);
/** Does the status forbid a body (1xx, 204, 304)? */
bool mu_status_has_no_body(enum mu_status s);

/**
 * Decode %XX in place of a copy and remove dot segments, once, before any check (RFC 3986 section
 * 5.2.4). `merge_slashes` folds "//". An encoded slash is kept encoded, decoded or refused as
 * `slashes` says.
 * Returns: MU_OK, *path is a copy with a NUL behind it; MU_BAD: bad escape, above the root, not
 *          starting with '/' (400); MU_NOENT: an encoded NUL or an encoded slash that is refused
 *          (404, as httpd); MU_NOMEM.
 */
enum mu_encoded_slashes { MU_SLASHES_REFUSE, MU_SLASHES_DECODE, MU_SLASHES_KEEP };
MU_NODISCARD enum mu_rc mu_uri_path_decode(struct mu_arena *a, struct mu_str raw,
                                           bool merge_slashes, enum mu_encoded_slashes slashes,
                                           struct mu_str *path);
/** Percent-encode a path for a Location or href (httpd's ap_os_escape_path). */
struct mu_str mu_uri_encode_path(struct mu_arena *a, struct mu_str path);
/** HTML-escape (& < > and the double quote, as httpd) into the arena. */
struct mu_str mu_html_escape(struct mu_arena *a, struct mu_str s);
/** Is it "scheme://..." (or "scheme:" with a known scheme)? */
bool mu_uri_is_absolute(struct mu_str s);
/**
 * Bytes of `path` that the prefix `from` covers, 0 when it does not match. Runs of slashes count as one, and a prefix ends at
 * a slash or at the end of the path.
 */
size_t mu_uri_covers(struct mu_str path, struct mu_str from);

#endif
