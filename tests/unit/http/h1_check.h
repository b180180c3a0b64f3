/*
 * Running the head parser over an input in pieces, for the unit tests and the fuzzer: the cuts must
 * never matter.
 */
#ifndef MU_TESTS_H1_CHECK_H
#define MU_TESTS_H1_CHECK_H

#include <muster/buf.h>
#include <muster/str.h>
#include <stdlib.h>

#include "http/h1.h"

/** What a parse came to, as comparable text. */
struct h1_outcome {
    enum mu_rc rc;
    enum mu_status status;
    size_t head_len;
    const char *problem; /**< static text, comparable as a pointer */
    struct mu_buf text;
};

static inline void h1_describe(struct mu_buf *out, const struct mu_h1_head *h)
{
    mu_buf_addf(out, "%u '%.*s' '%.*s' v%u path '%.*s'", (unsigned)h->method,
                MU_FMT(h->method_name), MU_FMT(h->target), (unsigned)h->version, MU_FMT(h->path));
    mu_buf_addf(out, " query %s'%.*s' host '%.*s':%u", h->query.p ? "+" : "-", MU_FMT(h->query),
                MU_FMT(h->host), (unsigned)h->host_port);
    mu_buf_addf(out, " body %d %llu %d%d%d%d", (int)h->framing,
                (unsigned long long)h->content_length, h->is_persistent, h->expects_continue,
                h->expects_unknown, h->has_target_host);
    mu_buf_addf(out, " line '%.*s' seen %llx", MU_FMT(h->request_line),
                (unsigned long long)h->headers.seen);
    for (uint32_t i = 0; i < h->headers.n; i++) {
        const struct mu_header *f = &h->headers.v[i];

        mu_buf_addf(out, "\n%u ", (unsigned)f->id);
        mu_buf_add(out, f->name);
        mu_buf_add(out, MU_S("="));
        mu_buf_add(out, f->value);
    }
}

/**
 * Parse `in`, given first its first cuts[0] bytes, then its first cuts[1] and so on, and all of it
 * last. Each time the bytes lie in a fresh allocation of exactly their size, and what was allocated
 * from the arena before is gone.
 */
static inline void h1_run(struct h1_outcome *o, const struct mu_h1_limits *limits, struct mu_str in,
                          const size_t *cuts, size_t n_cuts)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_h1_parser p = { 0 };

    *o = (struct h1_outcome){ .rc = MU_AGAIN };
    for (size_t i = 0; i <= n_cuts && o->rc == MU_AGAIN; i++) {
        size_t n = cuts && i < n_cuts ? cuts[i] : in.n;
        char *piece = malloc(n ? n : 1);
        struct mu_h1_head head;

        if (n > 0) {
            memcpy(piece, in.p, n);
        }
        mu_arena_reset(a);
        memset(&head, 0xa5, sizeof(head));
        o->rc = mu_h1_parse(&p, limits, a, piece, n, &head, &o->head_len, &o->status);
        if (o->rc != MU_AGAIN) {
            h1_describe(&o->text, &head);
        }
        free(piece);
    }
    o->problem = p.problem;
    mu_arena_destroy(a);
}

static inline bool h1_same(const struct h1_outcome *a, const struct h1_outcome *b)
{
    return a->rc == b->rc && a->status == b->status && a->head_len == b->head_len &&
           a->problem == b->problem && mu_str_eq(mu_buf_str(&a->text), mu_buf_str(&b->text));
}

/** Is the outcome the same in one piece and with these cuts? */
static inline bool h1_cuts_do_not_matter(const struct mu_h1_limits *limits, struct mu_str in,
                                         const size_t *cuts, size_t n_cuts)
{
    struct h1_outcome whole, pieces;
    bool is_same;

    h1_run(&whole, limits, in, NULL, 0);
    h1_run(&pieces, limits, in, cuts, n_cuts);
    is_same = h1_same(&whole, &pieces);
    mu_buf_fini(&whole.text);
    mu_buf_fini(&pieces.text);
    return is_same;
}

#endif
