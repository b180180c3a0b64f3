/*
 * Request heads. The first two bytes choose options and cuts, the rest is what a client sends.
 * However it is cut, the outcome is the same; and what is accepted in strict mode, written down
 * again from the parsed parts, is understood the same way, so no two readers of it can disagree.
 */
#include "fuzz.h"

#include "../unit/http/h1_check.h"

static void check(bool claim)
{
    if (!claim) {
        abort();
    }
}

static void check_accepted(const struct mu_h1_limits *limits, const struct mu_h1_head *h)
{
    uint32_t hosts = 0, lengths = 0, codings = 0;

    for (uint32_t i = 0; i < h->headers.n; i++) {
        const struct mu_header *f = &h->headers.v[i];

        check(limits->is_unsafe || mu_h1_field_is_sane(f->name, f->value));
        check(f->value.n == 0 ||
              (!memchr(f->value.p, '\r', f->value.n) && !memchr(f->value.p, '\n', f->value.n) &&
               !memchr(f->value.p, '\0', f->value.n)));
        check(f->id == mu_header_id(f->name));
        hosts += f->id == MU_H_HOST;
        lengths += f->id == MU_H_CONTENT_LENGTH;
        codings += f->id == MU_H_TRANSFER_ENCODING;
    }
    check(hosts <= 1 && lengths <= 1 && !(lengths && codings));
    check(h->version != 1001 || (hosts == 1 && h->host.n > 0));
    check((h->framing == MU_BODY_CHUNKED) == (codings > 0));
    check(h->framing != MU_BODY_LENGTH || (lengths == 1 && h->content_length > 0));
    check(h->path.n > 0 &&
          (*h->path.p == '/' || h->method == MU_M_OPTIONS || h->method == MU_M_CONNECT));
}

/* The request as it would be sent on. */
static struct mu_buf rewrite(const struct mu_h1_head *h)
{
    struct mu_buf out = { 0 };

    mu_buf_add(&out, h->method_name);
    mu_buf_add(&out, MU_S(" "));
    mu_buf_add(&out, h->target);
    mu_buf_add(&out, h->version == 1000 ? MU_S(" HTTP/1.0\r\n") : MU_S(" HTTP/1.1\r\n"));
    for (uint32_t i = 0; i < h->headers.n; i++) {
        mu_buf_add(&out, h->headers.v[i].name);
        mu_buf_add(&out, MU_S(": "));
        mu_buf_add(&out, h->headers.v[i].value);
        mu_buf_add(&out, MU_S("\r\n"));
    }
    mu_buf_add(&out, MU_S("\r\n"));
    return out;
}

static void check_rewritten(const struct mu_h1_head *h)
{
    const struct mu_h1_limits wide = { UINT32_MAX / 2, UINT32_MAX / 2, 0, true, false, false };
    struct mu_arena *a = mu_arena_create(0);
    struct mu_buf text = rewrite(h);
    struct mu_h1_parser p = { 0 };
    struct mu_h1_head again;
    enum mu_status status;
    size_t head_len;

    check(mu_h1_parse(&p, &wide, a, text.p, text.n, &again, &head_len, &status) == MU_OK);
    check(head_len == text.n && again.headers.n == h->headers.n);
    check(again.framing == h->framing && again.content_length == h->content_length);
    check(mu_str_eq(again.path, h->path) && mu_str_eq(again.query, h->query) &&
          mu_str_eq(again.host, h->host) && again.host_port == h->host_port);
    check(again.is_persistent == h->is_persistent);
    mu_buf_fini(&text);
    mu_arena_destroy(a);
}

static void check_whole(const struct mu_h1_limits *limits, struct mu_str in)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_h1_parser p = { 0 };
    struct mu_h1_head head;
    enum mu_status status;
    size_t head_len;
    enum mu_rc rc = mu_h1_parse(&p, limits, a, in.p, in.n, &head, &head_len, &status);

    if (rc == MU_OK) {
        check(head_len > 0 && head_len <= in.n && status == MU_STATUS_NONE);
        check_accepted(limits, &head);
        if (head.version != 9) {
            check_rewritten(&head);
        }
    } else {
        check(rc == MU_AGAIN || (status >= 400 && status <= 505 && p.problem));
    }
    mu_arena_destroy(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mu_h1_limits limits = { .max_line = 8190, .max_field = 8190, .max_fields = 100 };
    size_t cuts[3];
    struct mu_str in;

    if (size < 3) {
        return 0;
    }
    in = mu_str_n((const char *)data + 2, size - 2);
    limits.is_unsafe = data[0] & 1;
    limits.wants_registered_methods = data[0] & 2;
    limits.may_09 = data[0] & 4;
    if (data[0] & 8) {
        limits = (struct mu_h1_limits){ 30, 20, 3, limits.is_unsafe, false, limits.may_09 };
    }
    check_whole(&limits, in);
    cuts[0] = data[1] % in.n;
    cuts[1] = cuts[0] + (size_t)(data[0] >> 4) % (in.n - cuts[0]);
    cuts[2] = in.n - 1;
    check(h1_cuts_do_not_matter(&limits, in, cuts, 3));
    if (in.n <= 300) {
        size_t all[300];

        for (size_t i = 0; i < in.n; i++) {
            all[i] = i;
        }
        check(h1_cuts_do_not_matter(&limits, in, all, in.n));
    }
    return 0;
}
