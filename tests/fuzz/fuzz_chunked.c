/*
 * Chunked bodies. The first byte chooses where the input is cut; body, trailers and the place where
 * it ends must not depend on that. What was decoded, encoded again in one chunk, decodes to the
 * same.
 */
#include "fuzz.h"

#include <muster/buf.h>
#include <muster/str.h>
#include <stdlib.h>

#include "http/h1.h"

struct outcome {
    enum mu_rc rc;
    size_t used;
    struct mu_buf body;
};

static void check(bool claim)
{
    if (!claim) {
        abort();
    }
}

static void feed(struct outcome *o, struct mu_chunked *c, struct mu_str in, struct mu_arena *a,
                 struct mu_headers *trailers)
{
    char *piece = malloc(in.n);
    size_t at = 0;

    memcpy(piece, in.p, in.n);
    do {
        struct mu_str data;
        size_t used;

        o->rc = mu_chunked_decode(c, piece + at, in.n - at, &data, &used, a, trailers);
        check(used > 0 && used <= in.n - at);
        check(data.n == 0 ||
              (o->rc == MU_OK && data.p >= piece + at && data.p + data.n == piece + at + used));
        mu_buf_add(&o->body, data);
        at += used;
    } while (o->rc == MU_OK && at < in.n);
    o->used += at;
    free(piece);
}

static struct outcome decode(struct mu_str in, size_t step)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_headers trailers = { 0 };
    struct mu_chunked c = { 0 };
    struct outcome o = { 0 };

    for (size_t at = 0; at < in.n && o.rc == MU_OK; at += step) {
        feed(&o, &c, mu_str_sub(in, at, at + step), a, &trailers);
    }
    for (uint32_t i = 0; i < trailers.n; i++) {
        check(mu_h1_field_is_sane(trailers.v[i].name, trailers.v[i].value));
        check(trailers.v[i].id != MU_H_CONTENT_LENGTH && trailers.v[i].id != MU_H_HOST);
        mu_buf_addf(&o.body, "|%.*s=%.*s", MU_FMT(trailers.v[i].name), MU_FMT(trailers.v[i].value));
    }
    mu_arena_destroy(a);
    return o;
}

static void check_round_trip(struct mu_str body)
{
    struct mu_buf text = { 0 };
    struct outcome o;
    char head[18];

    if (body.n > 0) {
        mu_buf_add(&text, mu_str_n(head, mu_chunk_head(body.n, head)));
        mu_buf_add(&text, body);
        mu_buf_add(&text, MU_S("\r\n"));
    }
    mu_buf_add(&text, MU_S("0\r\n\r\n"));
    o = decode(mu_buf_str(&text), text.n);
    check(o.rc == MU_EOF && o.used == text.n && mu_str_eq(mu_buf_str(&o.body), body));
    mu_buf_fini(&o.body);
    mu_buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mu_str in;
    struct outcome whole, pieces;

    if (size < 2) {
        return 0;
    }
    in = mu_str_n((const char *)data + 1, size - 1);
    whole = decode(in, in.n);
    pieces = decode(in, data[0] % 16u + 1);
    check(whole.rc == pieces.rc && whole.used == pieces.used);
    check(mu_str_eq(mu_buf_str(&whole.body), mu_buf_str(&pieces.body)));
    check_round_trip(mu_buf_str(&whole.body));
    mu_buf_fini(&whole.body);
    mu_buf_fini(&pieces.body);
    return 0;
}
