/*
 * FastCGI records as an application might send them. The first byte chooses where the input is cut and whether the
 * extension was offered; events must not depend on the cuts, and never point outside of the input. The same bytes are
 * read as name-value pairs, and what was read is written as PARAMS and read again.
 */
#include "fuzz.h"

#include <muster/buf.h>
#include <muster/str.h>
#include <stdlib.h>

#include "http/fcgi.h"

static void check(bool claim)
{
    if (!claim) {
        abort();
    }
}

struct outcome {
    enum mu_rc rc;
    size_t used;
    struct mu_buf out, err, rest;
};

static void note(struct outcome *o, const struct mu_fcgi_event *e)
{
    switch (e->type) {
    case MU_FCGI_EV_OUT:
        mu_buf_add(&o->out, e->data);
        break;
    case MU_FCGI_EV_ERR:
        mu_buf_add(&o->err, e->data);
        break;
    case MU_FCGI_EV_NONE:
        break;
    default:
        mu_buf_addf(&o->rest, "%d %u %llu %u %d at %zu %zu\n", (int)e->type, e->status,
                    (unsigned long long)e->bytes, e->app_status, (int)e->outcome, o->out.n,
                    o->err.n);
    }
}

static void feed(struct outcome *o, struct mu_fcgi_answer *a, struct mu_str in)
{
    char *piece = malloc(in.n);
    size_t at = 0;

    memcpy(piece, in.p, in.n);
    while (o->rc == MU_OK && at < in.n) {
        struct mu_fcgi_event e;
        size_t used;

        o->rc = mu_fcgi_answer_read(a, piece + at, in.n - at, &e, &used);
        check(used <= in.n - at && (used > 0 || o->rc != MU_OK));
        check(o->rc == MU_OK || (o->rc == MU_BAD && a->why));
        check(e.data.n == 0 ||
              (e.data.p >= piece + at && e.data.p + e.data.n <= piece + at + used));
        if (o->rc == MU_OK) {
            note(o, &e);
        }
        at += used;
    }
    o->used += at;
    free(piece);
}

static struct outcome decode(struct mu_str in, size_t step, bool may_take)
{
    struct mu_fcgi_answer a = { .id = 1, .may_take = may_take };
    struct outcome o = { 0 };

    for (size_t at = 0; at < in.n && o.rc == MU_OK; at += step) {
        feed(&o, &a, mu_str_sub(in, at, at + step));
    }
    return o;
}

static void outcome_fini(struct outcome *o)
{
    mu_buf_fini(&o->out);
    mu_buf_fini(&o->err);
    mu_buf_fini(&o->rest);
}

static void check_answer(struct mu_str in, size_t step, bool may_take)
{
    struct outcome whole = decode(in, in.n, may_take), pieces = decode(in, step, may_take);

    check(whole.rc == pieces.rc);
    check(whole.rc != MU_OK || whole.used == pieces.used);
    check(mu_str_eq(mu_buf_str(&whole.rest), mu_buf_str(&pieces.rest)));
    check(mu_str_eq(mu_buf_str(&whole.out), mu_buf_str(&pieces.out)));
    check(mu_str_eq(mu_buf_str(&whole.err), mu_buf_str(&pieces.err)));
    outcome_fini(&whole);
    outcome_fini(&pieces);
}

static bool next(void *arg, struct mu_fcgi_pair *pair)
{
    return mu_fcgi_pair_read(arg, pair) == MU_OK;
}

static void check_pairs(struct mu_str in, size_t cap)
{
    struct mu_str from = in, back, again = in;
    struct mu_fcgi_pair pair, other;
    struct mu_fcgi_reader d = { 0 };
    struct mu_fcgi_params p;
    struct mu_buf stream = { 0 };
    uint8_t *out = malloc(cap);

    mu_fcgi_params_begin(&p, 1, next, &from);
    while (!p.is_done) {
        size_t n, at = 0, used;

        check(mu_fcgi_params_write(&p, out, cap, &n) == MU_OK && n <= cap);
        for (; at < n; at += used) {
            struct mu_fcgi_piece piece;

            check(mu_fcgi_read(&d, out + at, n - at, &piece, &used) == MU_OK);
            mu_buf_add(&stream, piece.data);
        }
    }
    back = mu_buf_str(&stream);
    while (mu_fcgi_pair_read(&again, &pair) == MU_OK) {
        check(mu_fcgi_pair_read(&back, &other) == MU_OK);
        check(mu_str_eq(pair.name, other.name) && mu_str_eq(pair.value, other.value));
    }
    check(mu_fcgi_pair_read(&back, &other) == MU_EOF && mu_fcgi_is_between(&d));
    mu_buf_fini(&stream);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mu_str in;
    char *copy;

    if (size < 2) {
        return 0;
    }
    copy = malloc(size - 1);
    memcpy(copy, data + 1, size - 1);
    in = mu_str_n(copy, size - 1);
    check_answer(in, data[0] % 32u + 1, data[0] & 0x80);
    check_pairs(in, 2 * MU_FCGI_HEAD + 1 + data[0]);
    free(copy);
    return 0;
}
