/*
 * Conditional requests by RFC 9110 section 13, in the order of 13.2.2. httpd lets a date field undo
 * what an entity tag field decided; the RFC forbids that, and so does this file: If-Match silences
 * If-Unmodified-Since, If-None-Match silences If-Modified-Since.
 */
#include "range.h"

#include <muster/clock.h>
#include <muster/str.h>

#include "chars.h"

/*
 * A date less than this old could still name two versions of a file (RFC 9110 section 8.8.2.2);
 * httpd's minute.
 */
#define STRONG_AFTER_SEC 60

struct tag {
    struct mu_str opaque; /* with its quotes; p == NULL: none */
    bool is_weak;
};

/* An entity tag at the start of s, advanced past it. */
static struct tag take_tag(struct mu_str *s)
{
    struct tag tag = { MU_STR_NULL, false };
    const char *close;

    if (s->n >= 2 && memcmp(s->p, "W/", 2) == 0) {
        tag.is_weak = true;
        *s = mu_str_sub(*s, 2, s->n);
    }
    close = s->n > 1 && *s->p == '"' ? memchr(s->p + 1, '"', s->n - 1) : NULL;
    if (close) {
        tag.opaque = (struct mu_str){ s->p, (size_t)(close - s->p) + 1 };
        *s = mu_str_sub(*s, tag.opaque.n, s->n);
    }
    return tag;
}

static bool tags_match(struct tag a, struct tag b, bool is_strong)
{
    if (!a.opaque.p || !b.opaque.p || (is_strong && (a.is_weak || b.is_weak))) {
        return false;
    }
    return mu_str_eq(a.opaque, b.opaque);
}

/* Does the list of entity tags hold `wanted`? An element with junk in it matches nothing. */
static bool list_matches(struct mu_str list, struct tag wanted, bool is_strong)
{
    while (list.n > 0) {
        struct tag tag;
        ssize_t comma;

        list = mu_ch_trim_ows(list);
        tag = take_tag(&list);
        list = mu_ch_trim_ows(list);
        comma = mu_str_chr(list, ',');
        if ((comma == 0 || list.n == 0) && tags_match(tag, wanted, is_strong)) {
            return true;
        }
        list = comma < 0 ? MU_STR_NULL : mu_str_sub(list, (size_t)comma + 1, list.n);
    }
    return false;
}

/* Is any field of that id "*" (and something there), or does it name the entity tag? */
static bool any_matches(const struct mu_headers *in, enum mu_header_id id,
                        const struct mu_validators *v, bool is_strong)
{
    struct mu_str etag = v->etag;
    struct tag wanted = take_tag(&etag);

    for (uint32_t i = 0; i < in->n; i++) {
        if (in->v[i].id != id) {
            continue;
        }
        if (mu_str_eq(mu_ch_trim_ows(in->v[i].value), MU_S("*"))
                ? v->exists
                : list_matches(in->v[i].value, wanted, is_strong)) {
            return true;
        }
    }
    return false;
}

/* Old clients append "; length=123" to the date; httpd lets them. */
static bool date_of(const struct mu_headers *in, enum mu_header_id id, int64_t *sec)
{
    struct mu_str value = mu_headers_get_id(in, id);
    ssize_t end = mu_str_chr(value, ';');

    if (end >= 0) {
        value = mu_ch_trim_ows(mu_str_sub(value, 0, (size_t)end));
    }
    return value.p && mu_http_date_parse(value, sec);
}

static bool has(const struct mu_headers *in, enum mu_header_id id)
{
    return mu_headers_get_id(in, id).p != NULL;
}

static bool is_unmodified_since(const struct mu_headers *in, const struct mu_validators *v)
{
    int64_t since;

    return v->last_modified < 0 || !date_of(in, MU_H_IF_UNMODIFIED_SINCE, &since) ||
           v->last_modified <= since;
}

/*
 * A date in the future is not valid (RFC 9110 section 13.1.3 leaves that open; httpd ignores the
 * field).
 */
static bool is_not_modified_since(const struct mu_headers *in, const struct mu_validators *v,
                                  int64_t now)
{
    int64_t since;

    return v->last_modified >= 0 && date_of(in, MU_H_IF_MODIFIED_SINCE, &since) && since <= now &&
           v->last_modified <= since;
}

enum mu_status mu_conditions(const struct mu_headers *in, enum mu_method m,
                             const struct mu_validators *v, int64_t now)
{
    static const uint64_t all = UINT64_C(1) << MU_H_IF_MATCH | UINT64_C(1) << MU_H_IF_NONE_MATCH |
                                UINT64_C(1) << MU_H_IF_MODIFIED_SINCE |
                                UINT64_C(1) << MU_H_IF_UNMODIFIED_SINCE;
    bool is_read = m == MU_M_GET || m == MU_M_HEAD;

    /* These select no representation, so there is nothing to compare (section 13.2.1). */
    if (MU_LIKELY(!(in->seen & all)) || m == MU_M_OPTIONS || m == MU_M_CONNECT || m == MU_M_TRACE) {
        return MU_STATUS_NONE;
    }
    if (has(in, MU_H_IF_MATCH)) {
        if (!any_matches(in, MU_H_IF_MATCH, v, true)) {
            return MU_412_PRECONDITION_FAILED;
        }
    } else if (!is_unmodified_since(in, v)) {
        return MU_412_PRECONDITION_FAILED;
    }
    if (has(in, MU_H_IF_NONE_MATCH)) {
        if (any_matches(in, MU_H_IF_NONE_MATCH, v, false)) {
            return is_read ? MU_304_NOT_MODIFIED : MU_412_PRECONDITION_FAILED;
        }
    } else if (is_read && is_not_modified_since(in, v, now)) {
        return MU_304_NOT_MODIFIED;
    }
    return MU_STATUS_NONE;
}

static bool is_repeated(const struct mu_headers *in, enum mu_header_id id)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < in->n; i++) {
        n += in->v[i].id == id;
    }
    return n > 1;
}

bool mu_if_range(const struct mu_headers *in, const struct mu_validators *v)
{
    struct mu_str value = mu_headers_get_id(in, MU_H_IF_RANGE), etag = v->etag;
    struct tag tag;
    int64_t date;

    if (!value.p) {
        return true;
    }
    if (is_repeated(in, MU_H_IF_RANGE)) {
        return false; /* it is no list: which one counts? */
    }
    value = mu_ch_trim_ows(value);
    if (mu_http_date_parse(value, &date)) {
        return v->last_modified >= 0 && date == v->last_modified &&
               (v->now == 0 || v->now - v->last_modified >= STRONG_AFTER_SEC);
    }
    tag = take_tag(&value);
    return value.n == 0 && tags_match(tag, take_tag(&etag), true);
}
