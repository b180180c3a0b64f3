/*
 * Ranges and conditional requests: pure decisions over header values (RFC 9110 sections 13 and 14).
 */
#ifndef MU_HTTP_RANGE_H
#define MU_HTTP_RANGE_H

#include <muster/http.h>

struct mu_range {
    uint64_t first, last; /**< inclusive */
};

struct mu_range_limits {
    uint32_t max_ranges;    /**< MaxRanges 200; 0 = none allowed; UINT32_MAX = unlimited */
    uint32_t max_overlaps;  /**< MaxRangeOverlaps 20 */
    uint32_t max_reversals; /**< MaxRangeReversals 20 */
};

/**
 * Parse a Range value against a representation of `len` bytes.
 * Returns: MU_OK: *n ranges in *out (arena), in the order asked for, neighbours merged where they
 *          touch or overlap as httpd does; MU_NOENT: ignore the field (another unit, syntax error,
 *          too many, more than the whole together, len == 0): answer 200; MU_LIMIT: none
 *          satisfiable: 416; MU_NOMEM.
 * Spec:    RFC 9110 section 14
 */
MU_NODISCARD enum mu_rc mu_range_parse(struct mu_arena *a, struct mu_str value, uint64_t len,
                                       const struct mu_range_limits *limits, struct mu_range **out,
                                       size_t *n);

/** The validators of the selected representation. */
struct mu_validators {
    struct mu_str etag;    /**< with quotes (and W/), or p == NULL */
    int64_t last_modified; /**< seconds, or -1 */
    bool exists;
    /** Seconds, for mu_if_range: a date younger than a minute is no strong validator; 0: any is. */
    int64_t now;
};
/**
 * Evaluate If-Match, If-Unmodified-Since, If-None-Match, If-Modified-Since in the order of section
 * 13.2.2.
 * Returns: MU_STATUS_NONE (go on), MU_304_NOT_MODIFIED or MU_412_PRECONDITION_FAILED.
 * Spec:    RFC 9110 section 13.2.2
 */
enum mu_status mu_conditions(const struct mu_headers *in, enum mu_method m,
                             const struct mu_validators *v, int64_t now);
/** Does If-Range allow the Range to be honoured (RFC 9110 13.1.5)? True when there is none. */
bool mu_if_range(const struct mu_headers *in, const struct mu_validators *v);

#endif
