/* What the files of the HTTP/1 head parser share; nobody else includes it. */
#ifndef MU_HTTP_H1_INTERNAL_H
#define MU_HTTP_H1_INTERNAL_H

#include "h1.h"

/** One pass over the lines of a head. */
struct mu_h1_pass {
    const struct mu_h1_limits *limits;
    struct mu_arena *arena; /**< NULL: look at the syntax alone, keep no fields */
    struct mu_h1_head *head;
    char *folded; /**< of the arena: where the value of a field of several lines is put together */
    size_t folded_cap;
    enum mu_status status;
    const char *problem;
};

/** Note why and what to answer. Returns `rc`. */
static inline enum mu_rc mu_h1_refuse(struct mu_h1_pass *pass, enum mu_rc rc, enum mu_status status,
                                      const char *problem)
{
    pass->status = status;
    pass->problem = problem;
    return rc;
}

static inline enum mu_rc mu_h1_bad(struct mu_h1_pass *pass, const char *problem)
{
    return mu_h1_refuse(pass, MU_BAD, MU_400_BAD_REQUEST, problem);
}

/**
 * Split a request line and its target into *pass->head.
 * Returns: MU_OK; MU_BAD with the status set.
 * Spec:    RFC 9112 section 3
 */
MU_NODISCARD enum mu_rc mu_h1_request_line(struct mu_h1_pass *pass, struct mu_str line);
/**
 * Take the request target apart by the form the method allows.
 * Spec:    RFC 9112 section 3.2
 */
MU_NODISCARD enum mu_rc mu_h1_target(struct mu_h1_pass *pass);
/**
 * Check a field line and add it to the head. *may_fold says whether a continuation line may follow
 * (Unsafe only).
 * Spec:    RFC 9112 section 5
 */
MU_NODISCARD enum mu_rc mu_h1_field_line(struct mu_h1_pass *pass, struct mu_str line,
                                         bool *may_fold);
/** Append a continuation line to the last field, as one SP and its text (Unsafe only). */
MU_NODISCARD enum mu_rc mu_h1_fold_line(struct mu_h1_pass *pass, struct mu_str line);
/**
 * After the last field: Host, framing, persistence, Expect.
 * Spec:    RFC 9112 sections 3.2, 6 and 9.3
 */
MU_NODISCARD enum mu_rc mu_h1_finish(struct mu_h1_pass *pass);

#endif
