/* The head of an application's output (RFC 3875 section 6): CGI, FastCGI and everything like them.
 * Pure and incremental: no I/O, no configuration. */
#ifndef MU_HTTP_CGI_HEAD_H
#define MU_HTTP_CGI_HEAD_H

#include <muster/headers.h>

enum {
    MU_CGI_LINE_MAX = 16 * 1024,  /**< longest line */
    MU_CGI_HEAD_MAX = 128 * 1024, /**< all of it */
    MU_CGI_FIELDS_MAX = 1000,
};

/** What the lines said. Bytes are the arena's. */
struct mu_cgi_head {
    enum mu_status status; /**< 200 to 599; MU_STATUS_NONE without a (good) Status field */
    bool has_status;       /**< there was one */
    bool is_status_bad;    /**< the last one was none that can be sent */
    struct mu_str reason;  /**< behind the number, may be empty */
    bool has_type;
    struct mu_str type;     /**< Content-Type; may be empty */
    struct mu_str location; /**< p == NULL: none */
    int64_t length;         /**< Content-Length; -1: none, junk, or two that differ */
    bool is_length_bad;
    struct mu_headers fields; /**< all the others, in order; names are tokens, values clean */
};

struct mu_cgi_head_parser {
    struct mu_arena *arena;
    struct mu_cgi_head head;
    const char *problem; /**< after MU_BAD and MU_LIMIT: what is wrong, for the log */
    struct mu_str line;  /**< … and with which line; its beginning, in the arena or in `in` */
    char *kept;          /**< of a line that came in pieces */
    uint32_t kept_n, kept_cap;
    uint32_t bytes, lines;
};

void mu_cgi_head_init(struct mu_cgi_head_parser *p, struct mu_arena *a);
/**
 * Take the next bytes. Lines end in LF or CRLF. Of Status, Content-Type and Location the last one
 * counts, as in httpd.
 * Returns: MU_OK: p->head is complete, the body begins at in.p + *used; MU_AGAIN: all of `in` was
 *          used, more is needed; MU_BAD: a line that is no field, or holds a control character;
 *          MU_LIMIT; MU_NOMEM. Do not call it again after anything but MU_AGAIN.
 */
MU_NODISCARD enum mu_rc mu_cgi_head_feed(struct mu_cgi_head_parser *p, struct mu_str in,
                                         size_t *used);

#endif
