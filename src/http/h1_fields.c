/*
 * Field lines, and what the fields that frame a request mean. This is where request smuggling is
 * stopped: whatever two recipients could read in two ways (RFC 9112 section 11.2) is refused, in
 * Unsafe as well, never repaired.
 */
#include "h1_internal.h"

#include <muster/str.h>

#include "chars.h"

/* One allocation holds the fields of nearly every request. */
#define FIRST_SLOTS 20u

#define BIT(id) (UINT64_C(1) << (id))
/* Fields that decide where the message goes or ends: a continuation line must not touch them. */
#define UNFOLDABLE                                                                                 \
    (BIT(MU_H_HOST) | BIT(MU_H_CONTENT_LENGTH) | BIT(MU_H_TRANSFER_ENCODING) |                     \
     BIT(MU_H_CONNECTION) | BIT(MU_H_EXPECT) | BIT(MU_H_UPGRADE) | BIT(MU_H_TE) |                  \
     BIT(MU_H_TRAILER))

static enum mu_rc out_of_memory(struct mu_h1_pass *pass)
{
    return mu_h1_refuse(pass, MU_NOMEM, MU_503_SERVICE_UNAVAILABLE, "out of memory");
}

static enum mu_rc store(struct mu_h1_pass *pass, enum mu_header_id id, struct mu_str name,
                        struct mu_str value)
{
    struct mu_headers *h = &pass->head->headers;

    if (h->cap == 0) {
        h->v = mu_arena_alloc(pass->arena, FIRST_SLOTS * sizeof(*h->v));
        if (!h->v) {
            return out_of_memory(pass);
        }
        h->cap = FIRST_SLOTS;
    }
    if (h->n == h->cap) {
        return mu_headers_add_id(pass->arena, h, id, name, value) == MU_OK ? MU_OK
                                                                           : out_of_memory(pass);
    }
    h->v[h->n++] = (struct mu_header){ .name = name, .value = value, .id = id };
    h->seen |= BIT(id);
    return MU_OK;
}

/* Unsafe takes any value that cannot be mistaken for a line end or cut by a C string. */
static bool is_unsafe_value(struct mu_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '\0' || (c >= '\n' && c <= '\r')) {
            return false;
        }
    }
    return true;
}

static bool is_value(const struct mu_h1_pass *pass, struct mu_str s)
{
    return mu_ch_is_field_value(s) || (pass->limits->is_unsafe && is_unsafe_value(s));
}

static const char *name_problem(struct mu_str line, size_t name_len)
{
    if (name_len == line.n) {
        return "header field without a colon";
    }
    if (mu_ch_is_ows(line.p[name_len])) {
        return "white space before the colon of a header field";
    }
    return "malformed header field name";
}

enum mu_rc mu_h1_field_line(struct mu_h1_pass *pass, struct mu_str line, bool *may_fold)
{
    struct mu_str name = { line.p, mu_ch_span(line, MU_CH_TOKEN) };
    enum mu_header_id id = MU_H_OTHER;
    struct mu_str value;

    if (name.n == 0 || name.n == line.n || line.p[name.n] != ':') {
        return mu_h1_bad(pass, name_problem(line, name.n));
    }
    value = mu_ch_trim_ows((struct mu_str){ line.p + name.n + 1, line.n - name.n - 1 });
    if (MU_UNLIKELY(!is_value(pass, value))) {
        return mu_h1_bad(pass, "control character in a header field");
    }
    if (pass->arena || pass->limits->is_unsafe) {
        id = mu_header_id(name);
    }
    *may_fold = pass->limits->is_unsafe && !(UNFOLDABLE & BIT(id));
    return pass->arena ? store(pass, id, name, value) : MU_OK;
}

/*
 * One SP and `text` behind `value`. The room doubles, so that a field of thousands of short lines
 * costs little more memory than it has bytes.
 */
static enum mu_rc append_text(struct mu_h1_pass *pass, struct mu_str *value, struct mu_str text)
{
    size_t n = value->n + (value->n > 0), need = n + text.n;

    if (value->p != pass->folded || need > pass->folded_cap) {
        char *p = mu_arena_alloc(pass->arena, 2 * need);

        if (!p) {
            return out_of_memory(pass);
        }
        memcpy(p, value->p, value->n);
        pass->folded = p;
        pass->folded_cap = 2 * need;
    }
    if (value->n > 0) {
        pass->folded[value->n] = ' ';
    }
    memcpy(pass->folded + n, text.p, text.n);
    *value = (struct mu_str){ pass->folded, need };
    return MU_OK;
}

enum mu_rc mu_h1_fold_line(struct mu_h1_pass *pass, struct mu_str line)
{
    struct mu_headers *h = &pass->head->headers;
    struct mu_str text = mu_ch_trim_ows(line);

    if (text.n == 0) {
        return mu_h1_bad(pass, "empty continuation line");
    }
    if (!is_value(pass, text)) {
        return mu_h1_bad(pass, "control character in a header field");
    }
    return pass->arena ? append_text(pass, &h->v[h->n - 1].value, text) : MU_OK;
}

/* What the special fields said, gathered over the whole head. */
struct sums {
    uint32_t hosts, lengths;
    bool has_close, has_keep_alive;
    bool has_te, ends_in_chunked, has_other_coding, has_unknown_coding, is_te_malformed;
};

static bool is_known_coding(struct mu_str s)
{
    static const struct mu_str known[] = { { "gzip", 4 },        { "x-gzip", 6 },
                                           { "deflate", 7 },     { "compress", 8 },
                                           { "x-compress", 10 }, { "identity", 8 } };

    for (size_t i = 0; i < MU_ARRAY_LEN(known); i++) {
        if (mu_str_ieq(s, known[i])) {
            return true;
        }
    }
    return false;
}

static void take_connection(struct sums *s, struct mu_str list)
{
    struct mu_str piece;

    while (mu_str_split(&list, ',', &piece)) {
        piece = mu_ch_trim_ows(piece);
        s->has_close |= piece.n == 5 && mu_str_ieq(piece, MU_S("close"));
        s->has_keep_alive |= piece.n == 10 && mu_str_ieq(piece, MU_S("keep-alive"));
    }
}

/*
 * Several fields continue one list. Empty elements, parameters and a second "chunked" are refused,
 * not skipped.
 */
static void take_transfer_encoding(struct sums *s, struct mu_str list)
{
    struct mu_str piece;

    s->has_te = true;
    if (list.n == 0) {
        s->is_te_malformed = true;
        return;
    }
    while (mu_str_split(&list, ',', &piece)) {
        piece = mu_ch_trim_ows(piece);
        /* chunked must be applied once, and last (RFC 9112 section 6.1). */
        s->is_te_malformed |= s->ends_in_chunked || piece.n == 0;
        s->ends_in_chunked = mu_str_ieq(piece, MU_S("chunked"));
        if (!s->ends_in_chunked) {
            s->is_te_malformed |= mu_ch_span(piece, MU_CH_TOKEN) != piece.n;
            s->has_other_coding = true;
            s->has_unknown_coding |= !is_known_coding(piece);
        }
    }
}

static enum mu_rc take_special(struct mu_h1_pass *pass, struct sums *s, const struct mu_header *f)
{
    struct mu_h1_head *head = pass->head;
    struct mu_str host;
    uint16_t port;

    switch (f->id) {
    case MU_H_HOST:
        if (s->hosts++ > 0) {
            return mu_h1_bad(pass, "several Host fields");
        }
        if (!mu_h1_authority(f->value, &host, &port) ||
            (host.n == 0 && head->version >= 1001 && !head->has_target_host)) {
            return mu_h1_bad(pass, "malformed Host");
        }
        if (!head->has_target_host) {
            head->host = host;
            head->host_port = port;
        }
        return MU_OK;
    case MU_H_CONTENT_LENGTH:
        /*
         * Equal values might be folded (RFC 9110 section 8.6); like httpd this server refuses any
         * second one.
         */
        if (s->lengths++ > 0 || !mu_str_u64(f->value, &head->content_length) ||
            head->content_length > INT64_MAX) {
            return mu_h1_bad(pass, "malformed or repeated Content-Length");
        }
        return MU_OK;
    case MU_H_TRANSFER_ENCODING:
        take_transfer_encoding(s, f->value);
        return MU_OK;
    case MU_H_CONNECTION:
        take_connection(s, f->value);
        return MU_OK;
    case MU_H_EXPECT:
        /*
         * HTTP/1.0 gets no 100 (RFC 9110 section 10.1.1), but like httpd a 417 for what nobody
         * knows.
         */
        if (mu_str_ieq(f->value, MU_S("100-continue"))) {
            head->expects_continue = head->version > 1000;
        } else {
            head->expects_unknown |= f->value.n > 0;
        }
        return MU_OK;
    default:
        return MU_OK;
    }
}

static enum mu_rc decide_framing(struct mu_h1_pass *pass, const struct sums *s)
{
    struct mu_h1_head *head = pass->head;

    if (!s->has_te) {
        head->framing = s->lengths > 0 && head->content_length > 0 ? MU_BODY_LENGTH : MU_BODY_NONE;
        return MU_OK;
    }
    if (s->lengths > 0) {
        return mu_h1_bad(pass, "Content-Length beside Transfer-Encoding");
    }
    if (head->version < 1001) {
        return mu_h1_bad(pass, "Transfer-Encoding in HTTP/1.0");
    }
    if (s->is_te_malformed) {
        return mu_h1_bad(pass, "malformed Transfer-Encoding");
    }
    if (!s->ends_in_chunked && !s->has_unknown_coding) {
        return mu_h1_bad(pass, "Transfer-Encoding does not end in chunked");
    }
    if (s->has_other_coding) {
        return mu_h1_refuse(pass, MU_BAD, MU_501_NOT_IMPLEMENTED, "unknown transfer coding");
    }
    head->framing = MU_BODY_CHUNKED;
    return MU_OK;
}

enum mu_rc mu_h1_finish(struct mu_h1_pass *pass)
{
    static const uint64_t special = BIT(MU_H_HOST) | BIT(MU_H_CONTENT_LENGTH) |
                                    BIT(MU_H_TRANSFER_ENCODING) | BIT(MU_H_CONNECTION) |
                                    BIT(MU_H_EXPECT);
    struct mu_h1_head *head = pass->head;
    struct sums s = { 0 };
    enum mu_rc rc;

    for (uint32_t i = 0; i < head->headers.n; i++) {
        if (BIT(head->headers.v[i].id) & special) {
            rc = take_special(pass, &s, &head->headers.v[i]);
            if (rc != MU_OK) {
                return rc;
            }
        }
    }
    if (s.hosts == 0 && head->version >= 1001) {
        return mu_h1_bad(pass, "HTTP/1.1 request without Host");
    }
    head->is_persistent = !s.has_close && (head->version >= 1001 || s.has_keep_alive);
    return decide_framing(pass, &s);
}
