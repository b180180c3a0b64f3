/* Answers: their fields, validators, conditions and ranges, over a body in memory or in a file.
 *
 * mu_resp_send is what handlers call; the static handler joins behind its own conditions at
 * mu_resp_source. Ranges are cut out here, so they are honoured only while no filter stands between
 * handler and protocol that would change the body (RFC 9110 section 14.2 lets a server ignore
 * Range).
 */
#include "room.h"

#include <http/etag.h>
#include <http/multipart.h>
#include <muster/clock.h>
#include <muster/str.h>
#include <muster/wait.h>
#include <sys/random.h>

enum { WINDOW = 64 * 1024 /* read and sent at once where sendfile is switched off */ };

void mu_resp_type(struct mu_req *r, struct mu_str type)
{
    r->content_type = type;
    if (mu_core_req(r)->phases->core->default_charset.n)
        mu_resp_default_charset(r);
}

static void check(struct mu_req *r, enum mu_rc rc)
{
    if (rc == MU_OK)
        return;
    mu_exchange_of(r)->is_field_lost = true; /* the answer becomes a 500 */
    MU_LOG(&r->log, "core", MU_LOG_ERR, "MU0630", "out of memory for a field of the answer");
}

void mu_resp_set(struct mu_req *r, struct mu_str name, struct mu_str value)
{
    check(r, mu_headers_set(r->arena, &r->out, name, value));
}

void mu_resp_add(struct mu_req *r, struct mu_str name, struct mu_str value)
{
    check(r, mu_headers_add(r->arena, &r->out, name, value));
}

void mu_resp_unset(struct mu_req *r, struct mu_str name)
{
    mu_headers_unset(&r->out, name);
}

/* "text/html; level=1" has the type text/html. */
static bool is_type(struct mu_str type, struct mu_str what)
{
    ssize_t end = mu_str_chr(type, ';');

    return mu_str_ieq(mu_str_trim(end < 0 ? type : mu_str_sub(type, 0, (size_t)end)), what);
}

static bool has_charset(struct mu_str type)
{
    ssize_t params = mu_str_chr(type, ';');
    struct mu_str rest, piece;

    if (params < 0)
        return false;
    rest = mu_str_sub(type, (size_t)params + 1, type.n);
    while (mu_str_split(&rest, ';', &piece)) {
        if (mu_str_istarts(mu_str_trim(piece), MU_S("charset=")))
            return true;
    }
    return false;
}

void mu_resp_default_charset(struct mu_req *r)
{
    struct mu_str charset = mu_core_req(r)->phases->core->default_charset, type;

    if (!charset.n || !r->content_type.n || has_charset(r->content_type) ||
        (!is_type(r->content_type, MU_S("text/html")) &&
         !is_type(r->content_type, MU_S("text/plain"))))
        return;
    type = mu_str_cat(r->arena, r->content_type, MU_S("; charset="), charset);
    if (type.p)
        r->content_type = type;
}

/* ---- validators and conditions ---- */

static struct mu_str make_etag(struct mu_req *r, uint32_t bits)
{
    const struct mu_etag_file file = { r->finfo.ino, r->finfo.size, r->finfo.mtime_ns / 1000 };
    char *text = bits ? mu_arena_alloc(r->arena, MU_ETAG_MAX) : NULL;

    return text ? mu_str_n(text, mu_etag_format(bits, &file, r->time_us, text)) : MU_STR_NULL;
}

void mu_resp_file_validators(struct mu_req *r)
{
    int64_t now = r->time_us / 1000000;
    uint32_t bits = mu_core_req(r)->phases->core->file_etag;

    r->etag = make_etag(r, (bits ? bits : MU_ETAG_DEFAULT) & MU_ETAG_ALL);
    r->last_modified = r->finfo.mtime_ns / 1000000000;
    if (r->last_modified > now) /* RFC 9110 section 8.8.2.1 */
        r->last_modified = now;
    if (r->last_modified < 0) /* before 1970, which is known all the same */
        r->last_modified = 0;
}

static bool has_any(const struct mu_headers *h, uint64_t ids)
{
    return (h->seen & ids) != 0;
}

enum mu_status mu_req_conditions(struct mu_req *r)
{
    const uint64_t ids = UINT64_C(1) << MU_H_IF_MATCH | UINT64_C(1) << MU_H_IF_NONE_MATCH |
                         UINT64_C(1) << MU_H_IF_MODIFIED_SINCE |
                         UINT64_C(1) << MU_H_IF_UNMODIFIED_SINCE;
    const struct mu_validators v = { r->etag, r->last_modified, true, r->time_us / 1000000 };

    if (MU_LIKELY(!has_any(&r->in, ids)) || r->main || r->status < 200 || r->status > 299)
        return MU_STATUS_NONE;
    return mu_conditions(&r->in, r->method, &v, r->time_us / 1000000);
}

enum mu_status mu_resp_empty(struct mu_req *r, enum mu_status status)
{
    r->status = status;
    r->content_length = mu_status_has_no_body(status) ? -1 : 0;
    (void)!mu_resp_chunks(r, NULL, 0, true);
    return status;
}

/* ---- bodies and ranges ---- */

static struct mu_chunk piece(const struct mu_body_source *src, uint64_t off, uint64_t len)
{
    if (src->mem.p)
        return (struct mu_chunk){ .kind = MU_CHUNK_MEM,
                                  .is_exchange_owned = true,
                                  .fd = -1,
                                  .mem = mu_str_n(src->mem.p + off, (size_t)len) };
    return (struct mu_chunk){
        .kind = MU_CHUNK_FILE, .is_exchange_owned = true, .fd = src->fd, .off = off, .len = len
    };
}

static struct mu_chunk text_chunk(struct mu_str s)
{
    return (struct mu_chunk){ .kind = MU_CHUNK_MEM, .is_exchange_owned = true, .fd = -1, .mem = s };
}

/* Random, so that no body can be made to hold it. */
static struct mu_str make_boundary(struct mu_req *r)
{
    char *text = mu_arena_alloc(r->arena, MU_BOUNDARY_LEN);
    uint64_t seed = 0;

    if (!text)
        return MU_STR_NULL;
    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
        seed = mu_str_hash(r->path) ^ (uint64_t)mu_real_us(); /* early in the machine's life */
    mu_boundary_format(seed, text);
    return mu_str_n(text, MU_BOUNDARY_LEN);
}

/* EnableSendfile Off: a file goes through memory, window by window. */
static enum mu_rc send_by_reading(struct mu_req *r, const struct mu_chunk *file, char *window)
{
    uint64_t at = 0;
    enum mu_rc rc = MU_OK;

    while (at < file->len && rc == MU_OK) {
        size_t n = file->len - at < WINDOW ? (size_t)(file->len - at) : WINDOW, got = 0;
        struct mu_chunk chunk = { .kind = MU_CHUNK_MEM, .fd = -1 };

        rc = mu_file_pread(file->fd, window, n, (off_t)(file->off + at), &got);
        chunk.mem = mu_str_n(window, got);
        if (rc == MU_OK)
            rc = mu_resp_chunks(r, &chunk, 1, false);
        at += got;
    }
    return rc;
}

static bool has_file(const struct mu_chunk *chunks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (chunks[i].kind == MU_CHUNK_FILE && chunks[i].len > 0)
            return true;
    }
    return false;
}

/* The whole body of an answer. */
static void deliver(struct mu_req *r, const struct mu_chunk *chunks, size_t n)
{
    enum mu_rc rc;
    char *window;

    if (MU_LIKELY(mu_core_req(r)->phases->core->enable_sendfile) || r->is_head ||
        !has_file(chunks, n)) {
        (void)!mu_resp_chunks(r, chunks, n, true);
        return;
    }
    window = mu_arena_alloc(r->arena, WINDOW);
    rc = window ? MU_OK : MU_NOMEM;
    for (size_t i = 0; i < n && rc == MU_OK; i++)
        rc = chunks[i].kind == MU_CHUNK_FILE ? send_by_reading(r, &chunks[i], window)
                                             : mu_resp_chunks(r, &chunks[i], 1, false);
    if (rc == MU_OK)
        (void)!mu_resp_chunks(r, NULL, 0, true);
    else
        (void)mu_resp_abort(r); /* cut short or unreadable: nobody must take it for the whole */
}

/* Heads and bodies in turn, and the end. */
static enum mu_status send_parts(struct mu_req *r, const struct mu_body_source *src,
                                 const struct mu_range *ranges, size_t n)
{
    struct mu_chunk *chunks = mu_new_n(r->arena, struct mu_chunk, 2 * n + 1);
    struct mu_str boundary = make_boundary(r), type = r->content_type, text;
    uint64_t total = 0;

    if (!chunks || !boundary.p)
        return MU_503_SERVICE_UNAVAILABLE;
    if (!mu_answer_is_sane(r)) /* the parts have heads, too */
        return MU_500_INTERNAL_SERVER_ERROR;
    for (size_t i = 0; i < n; i++) {
        uint64_t len = ranges[i].last - ranges[i].first + 1;

        text =
            mu_multipart_head(r->arena, boundary, type.n ? type : MU_STR_NULL, ranges[i], src->len);
        if (!text.p)
            return MU_503_SERVICE_UNAVAILABLE;
        chunks[2 * i] = text_chunk(text);
        chunks[2 * i + 1] = piece(src, ranges[i].first, len);
        total += text.n + len;
    }
    text = mu_multipart_end(r->arena, boundary);
    chunks[2 * n] = text_chunk(text);
    r->content_type = mu_multipart_type(r->arena, boundary);
    if (!text.p || !r->content_type.p)
        return MU_503_SERVICE_UNAVAILABLE;
    r->status = MU_206_PARTIAL_CONTENT;
    r->content_length = (int64_t)(total + text.n);
    deliver(r, chunks, 2 * n + 1);
    return r->status;
}

static enum mu_status send_range(struct mu_req *r, const struct mu_body_source *src,
                                 const struct mu_range *range)
{
    struct mu_str text = mu_content_range(r->arena, range, src->len);
    struct mu_chunk chunk = piece(src, range->first, range->last - range->first + 1);

    if (!text.p)
        return MU_503_SERVICE_UNAVAILABLE;
    mu_resp_set(r, MU_S("Content-Range"), text);
    r->status = MU_206_PARTIAL_CONTENT;
    r->content_length = (int64_t)(range->last - range->first + 1);
    deliver(r, &chunk, 1);
    return r->status;
}

static enum mu_status send_whole(struct mu_req *r, const struct mu_body_source *src)
{
    struct mu_chunk chunk = piece(src, 0, src->len);

    r->content_length = (int64_t)src->len;
    deliver(r, &chunk, src->len ? 1 : 0);
    return r->status;
}

/* Range is no list: two of them say nothing (RFC 9110 section 5.3). */
static bool has_one_range(const struct mu_headers *h)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < h->n; i++)
        n += h->v[i].id == MU_H_RANGE;
    return n == 1;
}

/* RFC 9110 section 14.2: Range is defined for GET alone. */
static bool wants_range(struct mu_req *r)
{
    const struct mu_validators v = { r->etag, r->last_modified, true, r->time_us / 1000000 };

    return (r->in.seen >> MU_H_RANGE & 1) && has_one_range(&r->in) && r->status == MU_200_OK &&
           r->method == MU_M_GET && !r->is_no_range && !r->main && !r->output &&
           mu_core_req(r)->phases->core->ranges.max_ranges > 0 && mu_if_range(&r->in, &v);
}

enum mu_status mu_resp_source(struct mu_req *r, const struct mu_body_source *src)
{
    struct mu_range *ranges = NULL;
    size_t n = 0;
    enum mu_rc rc;

    if (MU_LIKELY(!wants_range(r)))
        return send_whole(r, src);
    rc = mu_range_parse(r->arena, mu_headers_get_id(&r->in, MU_H_RANGE), src->len,
                        &mu_core_req(r)->phases->core->ranges, &ranges, &n);
    if (rc == MU_LIMIT) {
        mu_resp_set(r, MU_S("Content-Range"), mu_content_range(r->arena, NULL, src->len));
        return MU_416_RANGE_NOT_SATISFIABLE;
    }
    if (rc == MU_NOMEM)
        return MU_503_SERVICE_UNAVAILABLE;
    if (rc != MU_OK || n == 0)
        return send_whole(r, src);
    return n == 1 ? send_range(r, src, &ranges[0]) : send_parts(r, src, ranges, n);
}

enum mu_status mu_resp_send(struct mu_req *r, enum mu_status status, struct mu_str body)
{
    struct mu_body_source src = { .mem = body, .fd = -1, .len = body.n };
    enum mu_status condition;

    r->status = status;
    if (mu_status_has_no_body(status))
        return mu_resp_empty(r, status);
    if (!src.mem.p)
        src.mem = MU_S("");
    condition = status == MU_200_OK ? mu_req_conditions(r) : MU_STATUS_NONE;
    if (condition != MU_STATUS_NONE)
        return mu_resp_empty(r, condition);
    return mu_resp_source(r, &src);
}
