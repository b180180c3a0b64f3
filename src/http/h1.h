/*
 * HTTP/1 request heads and body framing. Pure: no I/O, no reactor; the server room feeds it bytes.
 */
#ifndef MU_HTTP_H1_H
#define MU_HTTP_H1_H

#include <muster/http.h>

/** What is configured for the virtual host the connection arrived at. */
struct mu_h1_limits {
    uint32_t max_line;   /**< LimitRequestLine, 8190; like httpd's it lets one byte more pass */
    uint32_t max_field;  /**< LimitRequestFieldSize, 8190; likewise */
    uint32_t max_fields; /**< LimitRequestFields, 100; 0 = unlimited */
    bool is_unsafe;      /**< HttpProtocolOptions Unsafe: lenient white space, never framing */
    bool wants_registered_methods; /**< HttpProtocolOptions RegisteredMethods: others are 501 */
    bool may_09;                   /**< HttpProtocolOptions Allow0.9, httpd's default */
};

enum mu_framing { MU_BODY_NONE, MU_BODY_LENGTH, MU_BODY_CHUNKED };

/** A parsed head. All slices point into the buffer given to the parser. */
struct mu_h1_head {
    struct mu_str request_line; /**< without CRLF, as received */
    struct mu_str method_name;
    struct mu_str target;
    enum mu_method method;
    uint16_t version;          /**< 1001 for HTTP/1.1, 1000, 9 for HTTP/0.9 */
    struct mu_headers headers; /**< storage from the arena; names as received, ids set */
    enum mu_framing framing;
    uint64_t content_length; /**< with MU_BODY_LENGTH */
    bool is_persistent;      /**< what version and Connection ask for */
    bool expects_continue;
    bool expects_unknown; /**< an Expect other than 100-continue: 417 is the server's decision */
    bool has_target_host; /**< `host` is from the target, which overrides the Host field */
    struct mu_str host;   /**< of the Host field or the absolute-form target, without port */
    uint16_t host_port;   /**< 0: none given */
    struct mu_str path;   /**< raw path of the target; "*" for OPTIONS *, host:port for CONNECT */
    struct mu_str query;  /**< raw, without '?'; p == NULL when there is no '?' */
};

/** Resumable state; zero it for a new request. */
struct mu_h1_parser {
    size_t scanned;       /**< bytes of the buffer already looked at */
    size_t line_start;    /**< offset of the line being read */
    uint32_t fields;      /**< empty lines before the request line, then fields */
    uint32_t field_bytes; /**< of the last field, with its continuation lines */
    uint8_t state;
    bool may_fold;       /**< a continuation line may follow (Unsafe only) */
    const char *problem; /**< static text for the log after an error */
};

/**
 * Look at buf[0..n), which always starts at the first byte of the request (leading empty lines
 * included). The buffer may have moved or grown since the last call; the parser keeps offsets only.
 * Returns: MU_OK: *head filled, *head_len bytes consumed (the body starts there); MU_AGAIN: more
 *          bytes are needed, *head holds nothing and the arena may be reset; MU_BAD or MU_LIMIT:
 *          *status says what to answer (400, 414, 431, 501, 505), then close; parser->problem says
 *          why. On an error *head holds what was understood, for the access log.
 * Spec:    RFC 9112 sections 2 to 6
 */
MU_NODISCARD enum mu_rc mu_h1_parse(struct mu_h1_parser *p, const struct mu_h1_limits *limits,
                                    struct mu_arena *a, const char *buf, size_t n,
                                    struct mu_h1_head *head, size_t *head_len,
                                    enum mu_status *status);

/**
 * Longest chunk-size line and trailer line; all trailers and all chunk extensions of a body
 * together.
 */
#define MU_CHUNK_LINE_MAX 8190u
#define MU_CHUNK_EXTRA_MAX 65536u

/** Chunked decoder state; zero it for a new body. */
struct mu_chunked {
    uint64_t left;          /**< bytes left of the present chunk */
    uint32_t line;          /**< length of the size or trailer line so far */
    uint32_t digits;        /**< of the present chunk size */
    uint32_t trailer_bytes; /**< of trailers and chunk extensions so far */
    uint8_t state;
    char *kept; /**< copy of the trailer line being read, in the arena */
    uint32_t kept_cap;
    uint32_t name_len; /**< of the trailer line being read */
};
/**
 * Decode from in[0..n) without copying: *data is set to the next run of body bytes inside `in`
 * (possibly empty, then all of `in` was framing) and *used to the bytes consumed. Call again with
 * the rest. Trailer fields are copied into `a` and go to `trailers` (may be NULL: checked and
 * skipped); those that frame or route a message or describe its content are dropped (RFC 9110
 * section 6.5.1).
 * Returns: MU_OK (more may follow), MU_EOF (end of the body, *data empty; *used includes the final
 *          CRLF), MU_BAD (junk, overflow), MU_LIMIT (line or trailer too long), MU_NOMEM.
 * Spec:    RFC 9112 section 7.1
 */
MU_NODISCARD enum mu_rc mu_chunked_decode(struct mu_chunked *c, const char *in, size_t n,
                                          struct mu_str *data, size_t *used, struct mu_arena *a,
                                          struct mu_headers *trailers);
/** "1a2b\r\n" for a chunk of n > 0 bytes. Returns the length, at most 18. */
size_t mu_chunk_head(uint64_t n, char buf[18]);

/**
 * Format a response head: status line, fields in order, empty line. `version` 1000 gives HTTP/1.0,
 * all others HTTP/1.1; reason.p == NULL gives the standard phrase. Fields are copied as they are,
 * see mu_h1_field_is_sane.
 * Returns: length; 0 when it does not fit into cap (call again with more).
 */
size_t mu_h1_format_head(char *buf, size_t cap, uint16_t version, enum mu_status status,
                         struct mu_str reason, const struct mu_headers *headers);
/**
 * May this field be written: a token as its name, no control character in its value? For what
 * others supply.
 */
bool mu_h1_field_is_sane(struct mu_str name, struct mu_str value);
/**
 * Split an authority as in Host: "host[:port]", a registered name, an IPv4 or a bracketed IPv6
 * address.
 * Returns: false when it is none of these. *port is 0 when none is given; brackets stay, the dot
 *          behind the last label goes; an empty host is allowed.
 * Spec:    RFC 9110 section 7.2, RFC 3986 section 3.2.2
 */
bool mu_h1_authority(struct mu_str s, struct mu_str *host, uint16_t *port);

#endif
