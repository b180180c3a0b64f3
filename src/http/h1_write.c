/*
 * The writer of response heads. Field names and values are taken as they are: what comes from
 * outside the server (a backend, a script, the request itself) goes through mu_h1_field_is_sane
 * first, or a line end in it splits the response.
 */
#include "h1.h"

#include "chars.h"

static char *put(char *out, struct mu_str s)
{
    if (s.n > 0) {
        memcpy(out, s.p, s.n);
    }
    return out + s.n;
}

static char *put_crlf(char *out)
{
    memcpy(out, "\r\n", 2);
    return out + 2;
}

static char *put_status(char *out, uint16_t version, enum mu_status status, struct mu_str reason)
{
    struct mu_str line = mu_status_line(status);

    out = put(out, version == 1000 ? MU_S("HTTP/1.0 ") : MU_S("HTTP/1.1 "));
    if (line.p && !reason.p) {
        return put_crlf(put(out, line));
    }
    *out++ = (char)('0' + (unsigned)status / 100 % 10);
    *out++ = (char)('0' + (unsigned)status / 10 % 10);
    *out++ = (char)('0' + (unsigned)status % 10);
    *out++ = ' ';
    return put_crlf(put(out, reason.p ? reason : mu_status_reason(status)));
}

size_t mu_h1_format_head(char *buf, size_t cap, uint16_t version, enum mu_status status,
                         struct mu_str reason, const struct mu_headers *headers)
{
    /* Status line without the phrase, and the two line ends. */
    size_t need =
        sizeof("HTTP/1.1 200 \r\n\r\n") - 1 + (reason.p ? reason.n : mu_status_reason(status).n);
    char *out = buf;

    for (uint32_t i = 0; i < headers->n; i++) {
        need += headers->v[i].name.n + headers->v[i].value.n + 4;
    }
    if (need > cap) {
        return 0;
    }
    out = put_status(out, version, status, reason);
    for (uint32_t i = 0; i < headers->n; i++) {
        const struct mu_header *f = &headers->v[i];

        out = put(out, f->name);
        memcpy(out, ": ", 2);
        out = put_crlf(put(out + 2, f->value));
    }
    out = put_crlf(out);
    return (size_t)(out - buf);
}

bool mu_h1_field_is_sane(struct mu_str name, struct mu_str value)
{
    return name.n > 0 && mu_ch_span(name, MU_CH_TOKEN) == name.n && mu_ch_is_field_value(value);
}

size_t mu_chunk_head(uint64_t n, char buf[18])
{
    static const char digits[] = "0123456789abcdef";
    unsigned len = n ? (67u - (unsigned)__builtin_clzll(n)) / 4 : 1;

    for (unsigned i = len; i-- > 0; n >>= 4) {
        buf[i] = digits[n & 15];
    }
    memcpy(buf + len, "\r\n", 2);
    return len + 2;
}
