/*
 * Heads of applications. The first byte chooses cuts, the rest is what an application writes.
 * However it is cut, the outcome is the same; what is accepted can be written into a head as it is,
 * and is understood the same way when it is read once more.
 */
#include "fuzz.h"

#include <http/cgi_head.h>
#include <http/h1.h>
#include <muster/arena.h>
#include <muster/buf.h>
#include <muster/str.h>
#include <stdlib.h>

static void check(bool claim)
{
    if (!claim) {
        abort();
    }
}

struct outcome {
    enum mu_rc rc;
    size_t used;
    struct mu_cgi_head_parser p;
};

/* In pieces of `step` bytes, each in memory of its own that is gone afterwards. */
static void feed(struct outcome *o, struct mu_arena *a, struct mu_str in, size_t step)
{
    mu_cgi_head_init(&o->p, a);
    o->rc = MU_AGAIN;
    o->used = 0;
    while (o->rc == MU_AGAIN && o->used < in.n) {
        size_t n = in.n - o->used < step ? in.n - o->used : step, used = 0;
        char *piece = malloc(n);

        check(piece != NULL);
        memcpy(piece, in.p + o->used, n);
        o->rc = mu_cgi_head_feed(&o->p, mu_str_n(piece, n), &used);
        check(used <= n && (o->rc != MU_AGAIN || used == n));
        o->p.line = MU_STR_NULL; /* may have pointed into the piece */
        free(piece);
        o->used += used;
    }
}

static void check_same(const struct mu_cgi_head *a, const struct mu_cgi_head *b)
{
    check(a->status == b->status && a->is_status_bad == b->is_status_bad &&
          a->has_status == b->has_status && a->has_type == b->has_type && a->length == b->length &&
          a->is_length_bad == b->is_length_bad && a->fields.n == b->fields.n);
    check(mu_str_eq(a->reason, b->reason) && mu_str_eq(a->type, b->type) &&
          mu_str_eq(a->location, b->location) && !a->location.p == !b->location.p);
    for (uint32_t i = 0; i < a->fields.n; i++) {
        check(mu_str_eq(a->fields.v[i].name, b->fields.v[i].name) &&
              mu_str_eq(a->fields.v[i].value, b->fields.v[i].value));
    }
}

static void check_accepted(const struct mu_cgi_head *h)
{
    check(h->status == MU_STATUS_NONE || (h->status >= 200 && h->status <= 599));
    check(h->length >= -1 && h->fields.n <= MU_CGI_FIELDS_MAX);
    check(mu_h1_field_is_sane(MU_S("Status"), h->reason) &&
          mu_h1_field_is_sane(MU_S("Content-Type"), h->type) &&
          mu_h1_field_is_sane(MU_S("Location"), h->location));
    for (uint32_t i = 0; i < h->fields.n; i++) {
        check(mu_h1_field_is_sane(h->fields.v[i].name, h->fields.v[i].value));
        check(h->fields.v[i].id == mu_header_id(h->fields.v[i].name));
    }
}

static void add(struct mu_buf *b, struct mu_str name, struct mu_str value)
{
    mu_buf_add(b, name);
    mu_buf_add(b, MU_S(": "));
    mu_buf_add(b, value);
    mu_buf_add(b, MU_S("\r\n"));
}

static void check_rewritten(struct mu_arena *a, const struct mu_cgi_head *h)
{
    struct mu_buf b = { 0 };
    struct outcome o;

    if (h->status != MU_STATUS_NONE) {
        mu_buf_addf(&b, "Status: %d %.*s\r\n", (int)h->status, MU_FMT(h->reason));
    }
    if (h->has_type) {
        add(&b, MU_S("Content-Type"), h->type);
    }
    if (h->location.p) {
        add(&b, MU_S("Location"), h->location);
    }
    if (h->length >= 0) {
        mu_buf_addf(&b, "Content-Length: %lld\r\n", (long long)h->length);
    }
    for (uint32_t i = 0; i < h->fields.n; i++) {
        add(&b, h->fields.v[i].name, h->fields.v[i].value);
    }
    mu_buf_add(&b, MU_S("\r\n"));
    feed(&o, a, mu_buf_str(&b), b.n);
    if (!h->is_status_bad && !h->is_length_bad && b.n < MU_CGI_LINE_MAX) {
        check(o.rc == MU_OK && o.used == b.n);
        o.p.head.has_status = h->has_status;
        check_same(h, &o.p.head);
    }
    mu_buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mu_arena *a;
    struct outcome whole, cut;
    struct mu_str in;

    if (size < 2) {
        return 0;
    }
    a = mu_arena_create(0);
    check(a != NULL);
    in = mu_str_n((const char *)data + 1, size - 1);
    feed(&whole, a, in, in.n);
    feed(&cut, a, in, (size_t)data[0] % 64 + 1);
    check(whole.rc == cut.rc);
    if (whole.rc == MU_OK) {
        check(whole.used == cut.used);
        check_same(&whole.p.head, &cut.p.head);
        check_accepted(&whole.p.head);
        check_rewritten(a, &whole.p.head);
    } else {
        check(whole.rc == MU_AGAIN || (whole.p.problem && cut.p.problem));
    }
    mu_arena_destroy(a);
    return 0;
}
