/*
 * Ranges and the conditional fields, which share their small grammars. The first two bytes give the
 * size of the file and the limits; the rest is the value, tried in each of the fields.
 */
#include "fuzz.h"

#include <muster/str.h>
#include <stdlib.h>

#include "http/multipart.h"

static void check(bool claim)
{
    if (!claim) {
        abort();
    }
}

static void check_ranges(struct mu_arena *a, struct mu_str value, uint64_t len,
                         const struct mu_range_limits *limits)
{
    struct mu_range *v;
    uint64_t sum = 0;
    size_t n;
    enum mu_rc rc = mu_range_parse(a, value, len, limits, &v, &n);

    check(rc == MU_OK || rc == MU_NOENT || rc == MU_LIMIT);
    check((rc == MU_OK) == (n > 0));
    check(n <= limits->max_ranges);
    for (size_t i = 0; i < n; i++) {
        check(v[i].first <= v[i].last && v[i].last < len);
        sum += v[i].last - v[i].first + 1;
    }
    check(sum <= len);
}

static struct mu_headers one_field(struct mu_arena *a, enum mu_header_id id, struct mu_str value)
{
    struct mu_headers h = { 0 };

    check(mu_headers_add_id(a, &h, id, mu_header_name(id), value) == MU_OK);
    return h;
}

static void check_conditions(struct mu_arena *a, struct mu_str value)
{
    static const enum mu_header_id ids[] = { MU_H_IF_MATCH, MU_H_IF_NONE_MATCH,
                                             MU_H_IF_MODIFIED_SINCE, MU_H_IF_UNMODIFIED_SINCE };
    const struct mu_validators v = { MU_S("\"1a-2b\""), 1704067200, true, 1704067300 };

    for (size_t i = 0; i < MU_ARRAY_LEN(ids); i++) {
        struct mu_headers h = one_field(a, ids[i], value);
        enum mu_status get = mu_conditions(&h, MU_M_GET, &v, v.now);
        enum mu_status put = mu_conditions(&h, MU_M_PUT, &v, v.now);

        check(get == MU_STATUS_NONE || get == MU_304_NOT_MODIFIED ||
              get == MU_412_PRECONDITION_FAILED);
        check(put == MU_STATUS_NONE || put == MU_412_PRECONDITION_FAILED);
        /* An unsafe method never gets through where a read would have been refused. */
        check(get != MU_412_PRECONDITION_FAILED || put == MU_412_PRECONDITION_FAILED);
    }
    struct mu_headers h = one_field(a, MU_H_IF_RANGE, value);
    bool is_honoured = mu_if_range(&h, &v);
    struct mu_headers match = one_field(a, MU_H_IF_MATCH, value);

    /* What If-Range takes for the entity tag, If-Match takes as well. */
    check(!is_honoured || value.n == 0 || mu_str_chr(value, '"') < 0 ||
          mu_conditions(&match, MU_M_GET, &v, v.now) == MU_STATUS_NONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t lens[] = { 0, 1, 10, 1000, UINT64_C(5000000000), INT64_MAX };
    static const struct mu_range_limits limits[] = {
        { 200, 20, 20 }, { 0, 0, 0 }, { 2, 1, 1 }, { UINT32_MAX, UINT32_MAX, UINT32_MAX }
    };
    struct mu_arena *a;
    struct mu_str value;

    if (size < 2) {
        return 0;
    }
    a = mu_arena_create(0);
    value = mu_str_n((const char *)data + 2, size - 2);
    check_ranges(a, value, lens[data[0] % MU_ARRAY_LEN(lens)], &limits[data[1] % 4]);
    check_conditions(a, value);
    mu_arena_destroy(a);
    return 0;
}
