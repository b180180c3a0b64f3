/*
 * Byte ranges. Parsing, merging and counting follow httpd, because clients and tests know it:
 * neighbours that touch or overlap become one, one bad element spoils the field, and a set that
 * adds up to more than the whole is answered with the whole. Unlike httpd, white space around a
 * comma is allowed, as RFC 9110 section 5.6.1 wants it.
 */
#include "range.h"

#include <muster/str.h>

#include "chars.h"

struct range_set {
    struct mu_range *v;
    size_t n, cap;
    struct mu_arena *arena;
    uint32_t overlaps, reversals;
    uint64_t sum;
};

enum element { RANGE, UNSATISFIABLE, MALFORMED };

static bool is_offset(struct mu_str s, uint64_t *value)
{
    return mu_str_u64(s, value) && *value <= INT64_MAX;
}

static enum element parse_element(struct mu_str s, uint64_t len, struct mu_range *r)
{
    ssize_t dash = mu_str_chr(s, '-');
    struct mu_str first, last;
    uint64_t suffix;

    if (dash < 0) {
        return MALFORMED;
    }
    first = mu_str_sub(s, 0, (size_t)dash);
    last = mu_str_sub(s, (size_t)dash + 1, s.n);
    if (first.n == 0) {
        /* "-0" can never be satisfied; httpd takes it for an error. */
        if (!is_offset(last, &suffix) || suffix == 0) {
            return MALFORMED;
        }
        *r = (struct mu_range){ suffix < len ? len - suffix : 0, len - 1 };
        return RANGE;
    }
    r->last = len - 1;
    if (!is_offset(first, &r->first) || (last.n > 0 && !is_offset(last, &r->last)) ||
        (last.n > 0 && r->first > r->last)) {
        return MALFORMED;
    }
    if (r->last >= len) {
        r->last = len - 1;
    }
    return r->first < len ? RANGE : UNSATISFIABLE;
}

/* Widen `old` by `r` when they touch or overlap. */
static bool merge(struct range_set *set, struct mu_range *old, struct mu_range r)
{
    if (r.first > old->last + 1 || r.last + 1 < old->first) {
        return false;
    }
    set->overlaps++;
    if (r.first < old->first) {
        old->first = r.first;
        set->reversals++;
    }
    if (r.last > old->last) {
        old->last = r.last;
    }
    return true;
}

static enum mu_rc add(struct range_set *set, struct mu_range r)
{
    if (set->n > 0 && merge(set, &set->v[set->n - 1], r)) {
        return MU_OK;
    }
    if (set->n == set->cap) {
        size_t cap = set->cap ? set->cap * 2 : 4;
        struct mu_range *v = mu_new_n(set->arena, struct mu_range, cap);

        if (!v) {
            return MU_NOMEM;
        }
        if (set->n > 0) {
            memcpy(v, set->v, set->n * sizeof(*v));
        }
        set->v = v;
        set->cap = cap;
    }
    set->v[set->n++] = r;
    return MU_OK;
}

/* Empty elements are skipped, but not in front (httpd). */
static enum mu_rc parse_set(struct range_set *set, struct mu_str rest, uint64_t len)
{
    bool is_first = true, is_unsatisfiable = false;
    struct mu_str piece;

    while (mu_str_split(&rest, ',', &piece)) {
        struct mu_range r;

        /* The unit and the first element stand together. */
        piece =
            is_first && piece.n > 0 && mu_ch_is_ows(*piece.p) ? MU_STR_NULL : mu_ch_trim_ows(piece);
        if (piece.n == 0 && !is_first) {
            continue;
        }
        is_first = false;
        switch (parse_element(piece, len, &r)) {
        case MALFORMED:
            return MU_NOENT;
        case UNSATISFIABLE:
            is_unsatisfiable = true;
            break;
        case RANGE:
            if (add(set, r) != MU_OK) {
                return MU_NOMEM;
            }
        }
    }
    if (set->n > 0) {
        return MU_OK;
    }
    return is_unsatisfiable ? MU_LIMIT : MU_NOENT;
}

enum mu_rc mu_range_parse(struct mu_arena *a, struct mu_str value, uint64_t len,
                          const struct mu_range_limits *limits, struct mu_range **out, size_t *n)
{
    static const struct mu_str unit = { "bytes=", 6 };
    struct range_set set = { .arena = a };
    enum mu_rc rc;

    *out = NULL;
    *n = 0;
    if (len == 0 || len > INT64_MAX || limits->max_ranges == 0 || !mu_str_istarts(value, unit)) {
        return MU_NOENT;
    }
    rc = parse_set(&set, mu_str_sub(value, unit.n, value.n), len);
    if (rc != MU_OK) {
        return rc;
    }
    if (set.n > limits->max_ranges || set.overlaps > limits->max_overlaps ||
        set.reversals > limits->max_reversals) {
        return MU_NOENT;
    }
    for (size_t i = 0; i < set.n; i++) {
        set.sum += set.v[i].last - set.v[i].first + 1;
        if (set.sum > len) {
            return MU_NOENT;
        }
    }
    *out = set.v;
    *n = set.n;
    return MU_OK;
}
