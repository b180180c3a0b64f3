/* The format items of LogFormat, one small function each; mod_logio's among them. */
#include "log_format.h"

#include <muster/clock.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define DASH MU_S("-")

static void add_or_dash(struct log_line *l, struct mu_str s)
{
    log_line_add(l, s.n ? s : DASH);
}

static void add_escaped_or_dash(struct log_line *l, struct mu_str s)
{
    if (s.p)
        log_line_add_escaped(l, s);
    else
        log_line_add(l, DASH);
}

static void add_u64(struct log_line *l, uint64_t v)
{
    char buf[20];

    log_line_add(l, mu_str_n(buf, mu_u64_dec(v, buf)));
}

static void item_percent(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)r;
    (void)item;
    log_line_add(l, MU_S("%"));
}

static void item_client_ip(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)item;
    add_or_dash(l, r->peer->client_ip);
}

static void item_local_ip(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)item;
    add_or_dash(l, r->peer->local_ip);
}

/* Looked up in the post-read phase where HostnameLookups asks for it; never waits here. */
static void item_host(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)item;
    add_escaped_or_dash(l, mu_req_remote_host(r));
}

static void item_bytes(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)item;
    add_u64(l, r->body_sent);
}

static void item_bytes_clf(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    if (r->body_sent)
        item_bytes(l, r, item);
    else
        log_line_add(l, DASH);
}

/* A field's value; of several with that name all, as the list that they mean. */
static struct mu_str field_values(struct log_line *l, const struct mu_headers *h,
                                  struct mu_str name)
{
    struct mu_str all = MU_STR_NULL;

    for (uint32_t i = 0; i < h->n; i++) {
        if (!mu_str_ieq(h->v[i].name, name))
            continue;
        all = all.p ? mu_str_cat(l->arena, all, MU_S(", "), h->v[i].value) : h->v[i].value;
    }
    return all;
}

static bool next_cookie(struct mu_str *rest, struct mu_str *name, struct mu_str *value)
{
    struct mu_str pair;
    ssize_t eq;

    if (!mu_str_split(rest, ';', &pair))
        return false;
    pair = mu_str_trim(pair);
    eq = mu_str_chr(pair, '=');
    *name = mu_str_trim(eq < 0 ? pair : mu_str_sub(pair, 0, (size_t)eq));
    *value = eq < 0 ? MU_STR_NULL : mu_str_trim(mu_str_sub(pair, (size_t)eq + 1, pair.n));
    return true;
}

static void item_cookie(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    struct mu_str rest = field_values(l, &r->in, MU_S("Cookie")), name, value;

    while (rest.p && next_cookie(&rest, &name, &value)) {
        if (value.n && mu_str_ieq(name, item->arg)) {
            log_line_add_escaped(l, value);
            return;
        }
    }
    log_line_add(l, DASH);
}

static int64_t duration_us(const struct mu_req *r)
{
    int64_t us = r->mono_us ? mu_mono_us() - r->mono_us : mu_real_us() - r->time_us;

    return us > 0 ? us : 0;
}

static void item_duration_us(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)item;
    add_u64(l, (uint64_t)duration_us(r));
}

static void item_duration(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    int64_t us = duration_us(r);

    if (mu_str_eq(item->arg, MU_S("us")))
        add_u64(l, (uint64_t)us);
    else if (mu_str_eq(item->arg, MU_S("ms")))
        add_u64(l, (uint64_t)us / 1000);
    else
        add_u64(l, (uint64_t)us / 1000000);
}

static void item_first_byte(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    int64_t us = mu_req_first_byte_us(r);

    (void)item;
    if (us >= 0)
        add_u64(l, (uint64_t)us);
    else
        log_line_add(l, DASH);
}

static void item_env(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    add_escaped_or_dash(l, mu_req_env(r, item->arg));
}

static void item_filename(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)item;
    add_escaped_or_dash(l, r->filename.n ? r->filename : MU_STR_NULL);
}

static void item_protocol(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)item;
    log_line_add(l, mu_req_protocol(r));
}

static void item_header_in(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    add_escaped_or_dash(l, field_values(l, &r->in, item->arg));
}

static void item_trailer_in(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    add_escaped_or_dash(l, field_values(l, &r->trailers, item->arg));
}

static struct mu_str or_null(struct mu_str s)
{
    return s.n ? s : MU_STR_NULL;
}

/* Without its parameters, as httpd logs it. */
static struct mu_str bare_type(const struct mu_req *r)
{
    ssize_t end = mu_str_chr(r->content_type, ';');

    if (mu_status_has_no_body(r->status))
        return MU_STR_NULL;
    return or_null(end < 0 ? r->content_type
                           : mu_str_trim(mu_str_sub(r->content_type, 0, (size_t)end)));
}

/* Fields that the request keeps as members; the protocol writes them when the head is made. */
static struct mu_str member_field(struct log_line *l, const struct mu_req *r, enum mu_header_id id)
{
    char date[29];

    switch (id) {
    case MU_H_CONTENT_TYPE:
        return bare_type(r);
    case MU_H_CONTENT_ENCODING:
        return or_null(r->content_encoding);
    case MU_H_CONTENT_LANGUAGE:
        return r->languages.n ? r->languages.v[0] : MU_STR_NULL;
    case MU_H_ETAG:
        return or_null(r->etag);
    case MU_H_CONTENT_LENGTH:
        return r->content_length < 0 ? MU_STR_NULL
                                     : mu_fmt(l->arena, "%lld", (long long)r->content_length);
    case MU_H_LAST_MODIFIED:
        if (r->last_modified < 0)
            return MU_STR_NULL;
        mu_http_date(r->last_modified, date);
        return mu_str_dup(l->arena, mu_str_n(date, sizeof(date)));
    default:
        return MU_STR_NULL;
    }
}

static void item_header_out(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    struct mu_str v = mu_headers_get(&r->out, item->arg);

    if (!v.p)
        v = mu_headers_get(&r->out_always, item->arg);
    if (!v.p)
        v = member_field(l, r, mu_header_id(item->arg));
    add_escaped_or_dash(l, v);
}

static void item_keepalives(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)item;
    /* A last request is not counted, as in httpd: the connection is not kept alive for it. */
    add_u64(l, r->peer->keepalives - (r->peer->keepalives && mu_req_conn_state(r) == '-'));
}

static void item_dash(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)r;
    (void)item;
    log_line_add(l, DASH);
}

static void item_method(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)item;
    add_escaped_or_dash(l, r->method_name.n ? r->method_name : MU_STR_NULL);
}

static void item_note(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    add_escaped_or_dash(l, mu_req_note(r, item->arg));
}

static void item_port(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    if (mu_str_ieq(item->arg, MU_S("remote")))
        add_u64(l, r->peer->client_port);
    else if (mu_str_ieq(item->arg, MU_S("local")))
        add_u64(l, r->peer->local_port);
    else
        add_u64(l, mu_vhost_server_port(r->vhost));
}

static void item_pid(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)r;
    if (mu_str_ieq(item->arg, MU_S("tid")))
        add_u64(l, (uint64_t)gettid());
    else if (mu_str_ieq(item->arg, MU_S("hextid")))
        log_line_addf(l, "%x", (unsigned)gettid());
    else
        add_u64(l, (uint64_t)getpid());
}

static void item_query(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)item;
    if (!r->query.p)
        return;
    log_line_add(l, MU_S("?"));
    log_line_add_escaped(l, r->query);
}

static void item_request_line(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)item;
    add_escaped_or_dash(l, r->request_line.n ? r->request_line : MU_STR_NULL);
}

static void item_handler(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)item;
    if (!r->handler.n && r->finfo.type == MU_FT_DIR)
        log_line_add(l, MU_S("httpd/unix-directory"));
    else
        add_escaped_or_dash(l, or_null(r->handler));
}

static void item_status(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)item;
    if (r->status)
        add_u64(l, (uint64_t)r->status);
    else
        log_line_add(l, DASH);
}

/* "[10/Oct/2000:13:55:36 -0700]", made once a second and thread. */
static void add_clf_time(struct log_line *l, int64_t sec)
{
    static _Thread_local int64_t cached_sec = INT64_MIN;
    static _Thread_local char cached[64];
    static _Thread_local size_t cached_n;

    if (sec != cached_sec) {
        time_t t = (time_t)sec;
        struct tm tm;

        localtime_r(&t, &tm);
        cached_n = strftime(cached, sizeof(cached), "[%d/%b/%Y:%H:%M:%S %z]", &tm);
        cached_sec = sec;
    }
    log_line_add(l, mu_str_n(cached, cached_n));
}

static void add_strftime(struct log_line *l, int64_t us, struct mu_str format)
{
    char buf[512];
    const char *fmt = mu_cstr(l->arena, format);
    time_t t = (time_t)(us / 1000000);
    struct tm tm;

    localtime_r(&t, &tm);
    if (fmt)
        log_line_add(l, mu_str_n(buf, strftime(buf, sizeof(buf), fmt, &tm)));
}

/* %{[begin:|end:]sec|msec|usec|msec_frac|usec_frac|strftime}t */
static void item_time(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    struct mu_str format = item->arg;
    int64_t us = r->time_us;

    if (mu_str_starts(format, MU_S("begin:"))) {
        format = mu_str_sub(format, 6, format.n);
    } else if (mu_str_starts(format, MU_S("end:"))) {
        format = mu_str_sub(format, 4, format.n);
        us = mu_real_us();
    }
    if (!format.n)
        add_clf_time(l, us / 1000000);
    else if (mu_str_eq(format, MU_S("sec")))
        add_u64(l, (uint64_t)us / 1000000);
    else if (mu_str_eq(format, MU_S("msec")))
        add_u64(l, (uint64_t)us / 1000);
    else if (mu_str_eq(format, MU_S("usec")))
        add_u64(l, (uint64_t)us);
    else if (mu_str_eq(format, MU_S("msec_frac")))
        log_line_addf(l, "%03d", (int)(us / 1000 % 1000));
    else if (mu_str_eq(format, MU_S("usec_frac")))
        log_line_addf(l, "%06d", (int)(us % 1000000));
    else
        add_strftime(l, us, format);
}

static void item_user(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)item;
    if (r->user.p && !r->user.n)
        log_line_add(l, MU_S("\"\""));
    else
        add_escaped_or_dash(l, r->user);
}

static void item_path(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)item;
    add_escaped_or_dash(l, r->path.n ? r->path : MU_STR_NULL);
}

static void item_server_name(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)item;
    add_escaped_or_dash(l, mu_vhost_server_name(r->vhost));
}

static void item_server_name_used(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    (void)item;
    add_escaped_or_dash(l, mu_req_server_name(r));
}

static void item_conn_state(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    char c = mu_req_conn_state(r);

    (void)item;
    log_line_add(l, mu_str_n(&c, 1));
}

static void item_wire_in(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    uint64_t in, out;

    (void)item;
    mu_req_wire_bytes(r, &in, &out);
    add_u64(l, in);
}

static void item_wire_out(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    uint64_t in, out;

    (void)item;
    mu_req_wire_bytes(r, &in, &out);
    add_u64(l, out);
}

static void item_wire_sum(struct log_line *l, struct mu_req *r, const struct log_item *item)
{
    uint64_t in, out;

    (void)item;
    mu_req_wire_bytes(r, &in, &out);
    add_u64(l, in + out);
}

/* Longer names before their prefixes: the first that fits is taken. */
static const struct {
    const char *name;
    log_item_fn *fn;
    bool wants_original, wants_timing, wants_host;
} items[] = {
    { "^FB", item_first_byte, true, true, false },
    { "^ti", item_trailer_in, false, false, false },
    { "^to", item_dash, false, false, false },
    { "%", item_percent, false, false, false },
    { "a", item_client_ip, false, false, false },
    { "A", item_local_ip, false, false, false },
    { "b", item_bytes_clf, false, false, false },
    { "B", item_bytes, false, false, false },
    { "C", item_cookie, false, false, false },
    { "D", item_duration_us, true, true, false },
    { "e", item_env, false, false, false },
    { "f", item_filename, false, false, false },
    { "h", item_host, false, false, true },
    { "H", item_protocol, false, false, false },
    { "i", item_header_in, false, false, false },
    { "I", item_wire_in, false, false, false },
    { "k", item_keepalives, false, false, false },
    { "l", item_dash, false, false, false },
    { "L", item_dash, false, false, false },
    { "m", item_method, false, false, false },
    { "n", item_note, false, false, false },
    { "o", item_header_out, false, false, false },
    { "O", item_wire_out, false, false, false },
    { "p", item_port, false, false, false },
    { "P", item_pid, false, false, false },
    { "q", item_query, false, false, false },
    { "r", item_request_line, true, false, false },
    { "R", item_handler, false, false, false },
    { "s", item_status, true, false, false },
    { "S", item_wire_sum, false, false, false },
    { "t", item_time, false, false, false },
    { "T", item_duration, true, true, false },
    { "u", item_user, false, false, false },
    { "U", item_path, true, false, false },
    { "v", item_server_name, false, false, false },
    { "V", item_server_name_used, false, false, false },
    { "X", item_conn_state, false, false, false },
    { "x", item_dash, false, false, false },
    { "c", item_dash, false, false, false },
};

bool log_item_find(struct mu_str rest, size_t *used, struct log_item *item,
                   struct log_format *format)
{
    for (size_t i = 0; i < MU_ARRAY_LEN(items); i++) {
        struct mu_str name = mu_str_c(items[i].name);

        if (!mu_str_starts(rest, name))
            continue;
        item->fn = items[i].fn;
        item->wants_original = items[i].wants_original;
        format->wants_timing = format->wants_timing || items[i].wants_timing;
        format->wants_host = format->wants_host || items[i].wants_host;
        *used = name.n;
        return true;
    }
    return false;
}
