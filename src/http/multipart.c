/*
 * The frame of a multipart/byteranges body. The pieces are formatted before the first byte is sent,
 * so that Content-Length is known: add up the heads, the ranges and the end.
 */
#include "multipart.h"

#include <inttypes.h>

void mu_boundary_format(uint64_t seed, char buf[MU_BOUNDARY_LEN])
{
    static const char digits[] = "0123456789abcdef";

    for (unsigned i = MU_BOUNDARY_LEN; i-- > 0; seed >>= 4) {
        buf[i] = digits[seed & 15];
    }
}

struct mu_str mu_multipart_head(struct mu_arena *a, struct mu_str boundary, struct mu_str type,
                                struct mu_range r, uint64_t len)
{
    return mu_fmt(
        a, "\r\n--%.*s%s%.*s\r\nContent-range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n\r\n",
        MU_FMT(boundary), type.p ? "\r\nContent-type: " : "", MU_FMT(type), r.first, r.last, len);
}

struct mu_str mu_multipart_end(struct mu_arena *a, struct mu_str boundary)
{
    return mu_str_cat(a, MU_S("\r\n--"), boundary, MU_S("--\r\n"));
}

struct mu_str mu_multipart_type(struct mu_arena *a, struct mu_str boundary)
{
    return mu_str_cat(a, MU_S("multipart/byteranges; boundary="), boundary);
}

struct mu_str mu_content_range(struct mu_arena *a, const struct mu_range *r, uint64_t len)
{
    if (!r) {
        return mu_fmt(a, "bytes */%" PRIu64, len);
    }
    return mu_fmt(a, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, r->first, r->last, len);
}
