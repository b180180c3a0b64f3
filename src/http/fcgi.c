/*
 * fcgi: FastCGI records, written and read. The reader needs no more than the byte at hand, so input may be cut
 * anywhere, and hands out content in place; nothing it is told makes it allocate or wait for more than a header says.
 * What a record may be in which place (types, ids, lengths) is decided in mu_fcgi_answer_read alone.
 */
#include "fcgi.h"

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, (uint16_t)(v >> 16));
    put16(p + 2, (uint16_t)v);
}

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* ---- writing ---- */

void mu_fcgi_head(uint8_t out[MU_FCGI_HEAD], enum mu_fcgi_type type, uint16_t id, size_t len)
{
    assert(len <= MU_FCGI_BODY_MAX);
    out[0] = MU_FCGI_VERSION;
    out[1] = (uint8_t)type;
    put16(out + 2, id);
    put16(out + 4, (uint16_t)len);
    out[6] = 0; /* padding: nobody needs it on a stream socket */
    out[7] = 0;
}

size_t mu_fcgi_begin(uint8_t out[16], uint16_t id, bool keeps_conn)
{
    mu_fcgi_head(out, MU_FCGI_T_BEGIN, id, 8);
    memset(out + 8, 0, 8);
    put16(out + 8, MU_FCGI_RESPONDER);
    out[10] = keeps_conn ? MU_FCGI_KEEP_CONN : 0;
    return 16;
}

size_t mu_fcgi_end(uint8_t out[16], uint16_t id, uint32_t app_status, enum mu_fcgi_outcome how)
{
    mu_fcgi_head(out, MU_FCGI_T_END, id, 8);
    memset(out + 8, 0, 8);
    put32(out + 8, app_status);
    out[12] = (uint8_t)how;
    return 16;
}

size_t mu_fcgi_client_done(uint8_t out[24], uint16_t id, uint16_t status, uint64_t bytes)
{
    mu_fcgi_head(out, MU_FCGI_T_CLIENT_DONE, id, 16);
    memset(out + 8, 0, 16);
    put16(out + 8, status);
    put32(out + 16, (uint32_t)(bytes >> 32));
    put32(out + 20, (uint32_t)bytes);
    return 24;
}

static size_t put_len(uint8_t *p, size_t n)
{
    if (n < 0x80) {
        p[0] = (uint8_t)n;
        return 1;
    }
    put32(p, (uint32_t)n | 0x80000000u);
    return 4;
}

bool mu_fcgi_pair_head(size_t name_n, size_t value_n, uint8_t out[MU_FCGI_NAME_HEAD_MAX],
                       size_t *len)
{
    size_t n;

    if (name_n > INT32_MAX || value_n > INT32_MAX)
        return false;
    n = put_len(out, name_n);
    *len = n + put_len(out + n, value_n);
    return true;
}

void mu_fcgi_params_begin(struct mu_fcgi_params *p, uint16_t id,
                          bool (*next)(void *arg, struct mu_fcgi_pair *pair), void *arg)
{
    *p = (struct mu_fcgi_params){ .next = next, .arg = arg, .id = id };
}

/* Copy what fits of `part`, which begins at `start` of the pair. Returns the bytes copied. */
static size_t put_part(struct mu_fcgi_params *p, const void *part, size_t part_n, size_t start,
                       uint8_t *out, size_t room)
{
    size_t off = p->at - start;
    size_t n;

    if (p->at < start || off >= part_n)
        return 0;
    n = part_n - off < room ? part_n - off : room;
    memcpy(out, (const uint8_t *)part + off, n);
    p->at += n;
    return n;
}

/* Content of one record. Returns its length; 0 with p->is_done set when there are no more pairs. */
static enum mu_rc put_pairs(struct mu_fcgi_params *p, uint8_t *out, size_t room, size_t *len)
{
    size_t n = 0;

    *len = 0;
    while (n < room) {
        size_t name_n, value_n;

        if (!p->has_pair) {
            if (!p->next(p->arg, &p->pair)) {
                p->is_done = true;
                break;
            }
            if (!mu_fcgi_pair_head(p->pair.name.n, p->pair.value.n, p->head, &p->head_n))
                return MU_LIMIT;
            p->has_pair = true;
            p->at = 0;
        }
        name_n = p->pair.name.n;
        value_n = p->pair.value.n;
        n += put_part(p, p->head, p->head_n, 0, out + n, room - n);
        n += put_part(p, p->pair.name.p, name_n, p->head_n, out + n, room - n);
        n += put_part(p, p->pair.value.p, value_n, p->head_n + name_n, out + n, room - n);
        p->has_pair = p->at < p->head_n + name_n + value_n;
    }
    *len = n;
    return MU_OK;
}

enum mu_rc mu_fcgi_params_write(struct mu_fcgi_params *p, uint8_t *out, size_t cap, size_t *n)
{
    *n = 0;
    assert(cap > 2 * MU_FCGI_HEAD);
    /* Always with room for the empty record that ends the stream. */
    while (!p->is_done && cap - *n > 2 * MU_FCGI_HEAD) {
        size_t room = cap - *n - 2 * MU_FCGI_HEAD, len;
        enum mu_rc rc = put_pairs(p, out + *n + MU_FCGI_HEAD,
                                  room < MU_FCGI_BODY_MAX ? room : MU_FCGI_BODY_MAX, &len);
        if (rc != MU_OK)
            return rc;
        if (len > 0) {
            mu_fcgi_head(out + *n, MU_FCGI_T_PARAMS, p->id, len);
            *n += MU_FCGI_HEAD + len;
        }
        if (p->is_done) {
            mu_fcgi_head(out + *n, MU_FCGI_T_PARAMS, p->id, 0);
            *n += MU_FCGI_HEAD;
        }
    }
    return MU_OK;
}

/* ---- reading ---- */

static bool take_head(struct mu_fcgi_reader *d, const uint8_t *in, size_t n, size_t *used)
{
    size_t want = (size_t)(MU_FCGI_HEAD - d->head_n), got = n < want ? n : want;

    if (got > 0)
        memcpy(d->head + d->head_n, in, got);
    d->head_n = (uint8_t)(d->head_n + got);
    *used += got;
    return d->head_n == MU_FCGI_HEAD;
}

static void skip_padding(struct mu_fcgi_reader *d, size_t n, size_t *used)
{
    size_t got = n < d->pad ? n : d->pad;

    d->pad = (uint8_t)(d->pad - got);
    *used += got;
}

enum mu_rc mu_fcgi_read(struct mu_fcgi_reader *d, const void *bytes, size_t n,
                        struct mu_fcgi_piece *piece, size_t *used)
{
    const uint8_t *in = bytes;
    size_t got;

    *used = 0;
    *piece = (struct mu_fcgi_piece){ .is_there = false };
    if (!d->is_inside) {
        skip_padding(d, n, used);
        if (*used == n || d->pad > 0)
            return MU_OK;
        /* The version is looked at as soon as it is there: whoever speaks something else may say little and wait. */
        if (d->head_n == 0 && in[*used] != MU_FCGI_VERSION)
            return MU_BAD;
        if (!take_head(d, in + *used, n - *used, used))
            return MU_OK;
        d->left = get16(d->head + 4);
        d->is_inside = true;
    }
    if (d->left > 0 && *used == n)
        return MU_OK;
    piece->is_first = d->left == get16(d->head + 4);
    got = n - *used < d->left ? n - *used : d->left;
    piece->is_there = true;
    piece->type = d->head[1];
    piece->id = get16(d->head + 2);
    piece->len = get16(d->head + 4);
    piece->data = (struct mu_str){ got > 0 ? (const char *)in + *used : NULL, got };
    *used += got;
    d->left -= (uint32_t)got;
    piece->is_last = d->left == 0;
    if (piece->is_last) {
        d->is_inside = false;
        d->head_n = 0;
        d->pad = d->head[6];
    }
    return MU_OK;
}

bool mu_fcgi_is_between(const struct mu_fcgi_reader *d)
{
    return !d->is_inside && d->head_n == 0 && d->pad == 0;
}

/* A length of one or four bytes at *p; false when it is not all there. */
static bool get_len(const uint8_t **p, const uint8_t *end, size_t *len)
{
    if (*p == end)
        return false;
    if (**p < 0x80) {
        *len = *(*p)++;
        return true;
    }
    if (end - *p < 4)
        return false;
    *len = get32(*p) & 0x7fffffffu;
    *p += 4;
    return true;
}

enum mu_rc mu_fcgi_pair_read(struct mu_str *rest, struct mu_fcgi_pair *pair)
{
    const uint8_t *p = (const uint8_t *)rest->p, *end = p + rest->n;
    size_t name_n, value_n;

    if (rest->n == 0)
        return MU_EOF;
    if (!get_len(&p, end, &name_n) || !get_len(&p, end, &value_n))
        return MU_AGAIN;
    if (name_n > (size_t)(end - p) || value_n > (size_t)(end - p) - name_n)
        return MU_AGAIN;
    pair->name = (struct mu_str){ (const char *)p, name_n };
    pair->value = (struct mu_str){ (const char *)p + name_n, value_n };
    p += name_n + value_n;
    *rest = (struct mu_str){ (const char *)p, (size_t)(end - p) };
    return MU_OK;
}

/* ---- an application's answer ---- */

static enum mu_rc bad(struct mu_fcgi_answer *a, const char *why)
{
    a->why = why;
    return MU_BAD;
}

/* May this record be here at all? */
static enum mu_rc check(struct mu_fcgi_answer *a, const struct mu_fcgi_piece *p)
{
    bool is_own = p->type == MU_FCGI_T_TAKE_CLIENT || p->type == MU_FCGI_T_CLIENT_DONE;

    if (p->type == MU_FCGI_T_GET_VALUES_RESULT || p->type == MU_FCGI_T_UNKNOWN)
        return p->id == 0 ? MU_OK : bad(a, "a management record with the id of a request");
    if (p->type != MU_FCGI_T_STDOUT && p->type != MU_FCGI_T_STDERR && p->type != MU_FCGI_T_END &&
        !(is_own && a->may_take))
        return bad(a, "a record of a type that no application sends");
    if (p->id != a->id)
        return bad(a, "a record for a request that was not sent");
    if (p->type == MU_FCGI_T_END && p->len != 8)
        return bad(a, "an end of a request that is not 8 bytes long");
    if (p->type == MU_FCGI_T_CLIENT_DONE && p->len != 16)
        return bad(a, "a CLIENT_DONE that is not 16 bytes long");
    if (p->type == MU_FCGI_T_TAKE_CLIENT && p->len != 0)
        return bad(a, "a TAKE_CLIENT that is not empty");
    if (p->type == MU_FCGI_T_STDOUT && a->is_out_closed && p->len > 0)
        return bad(a, "output behind the end of the output");
    return MU_OK;
}

static void gather(struct mu_fcgi_answer *a, const struct mu_fcgi_piece *p)
{
    if (p->is_first)
        a->small_n = 0;
    if (p->data.n > 0)
        memcpy(a->small + a->small_n, p->data.p, p->data.n); /* check() has seen the length */
    a->small_n = (uint8_t)(a->small_n + p->data.n);
}

static enum mu_rc end_request(struct mu_fcgi_answer *a, struct mu_fcgi_event *e)
{
    if (a->small[4] > MU_FCGI_UNKNOWN_ROLE)
        return bad(a, "an end of a request with a protocol status that there is none of");
    e->type = MU_FCGI_EV_END;
    e->app_status = get32(a->small);
    e->outcome = (enum mu_fcgi_outcome)a->small[4];
    a->is_ended = true;
    return MU_OK;
}

/* What a piece of a record that may be here means. */
static enum mu_rc meaning(struct mu_fcgi_answer *a, const struct mu_fcgi_piece *p,
                          struct mu_fcgi_event *e)
{
    switch (p->type) {
    case MU_FCGI_T_STDOUT:
        a->is_out_closed |= p->len == 0;
        e->type = p->data.n > 0 ? MU_FCGI_EV_OUT : MU_FCGI_EV_NONE;
        e->data = p->data;
        return MU_OK;
    case MU_FCGI_T_STDERR:
        e->type = p->data.n > 0 ? MU_FCGI_EV_ERR : MU_FCGI_EV_NONE;
        e->data = p->data;
        return MU_OK;
    case MU_FCGI_T_TAKE_CLIENT:
        e->type = MU_FCGI_EV_TAKE;
        return MU_OK;
    case MU_FCGI_T_CLIENT_DONE:
        gather(a, p);
        if (!p->is_last)
            return MU_OK;
        e->type = MU_FCGI_EV_DONE;
        e->status = get16(a->small);
        e->bytes = (uint64_t)get32(a->small + 8) << 32 | get32(a->small + 12);
        return MU_OK;
    case MU_FCGI_T_END:
        gather(a, p);
        return p->is_last ? end_request(a, e) : MU_OK;
    default:
        return MU_OK; /* management: nothing was asked, nothing is made of it */
    }
}

enum mu_rc mu_fcgi_answer_read(struct mu_fcgi_answer *a, const void *in, size_t n,
                               struct mu_fcgi_event *e, size_t *used)
{
    struct mu_fcgi_piece p;
    size_t taken;

    *used = 0;
    *e = (struct mu_fcgi_event){ .type = MU_FCGI_EV_NONE };
    a->has_bytes |= n > 0;
    while (*used < n && e->type == MU_FCGI_EV_NONE) {
        enum mu_rc rc = mu_fcgi_read(&a->reader, (const char *)in + *used, n - *used, &p, &taken);

        *used += taken;
        if (rc != MU_OK)
            return bad(a, "bytes that are no FastCGI of version 1");
        if (!p.is_there)
            continue;
        if (a->is_ended)
            return bad(a, "a record behind the end of the request");
        rc = check(a, &p);
        if (rc == MU_OK)
            rc = meaning(a, &p, e);
        if (rc != MU_OK)
            return rc;
    }
    return MU_OK;
}
