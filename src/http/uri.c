/*
 * Paths of URIs. Decoding and dot-segment removal happen here, once, before any access check, so
 * that there is one name for a thing and no later stage ever decodes again. Results and their order
 * are httpd's: a path above the root or a bad escape is malformed, an encoded NUL or a refused
 * encoded slash is a thing that does not exist.
 */
#include <muster/http.h>
#include <muster/str.h>

#include "chars.h"

/* The byte "%XX" at p stands for, or -1 when it is no escape. */
static int escape_at(const char *p, const char *end)
{
    if (end - p < 3 || *p != '%' || !mu_ch_is(p[1], MU_CH_HEX) || !mu_ch_is(p[2], MU_CH_HEX)) {
        return -1;
    }
    return mu_hex(p[1]) * 16 + mu_hex(p[2]);
}

/*
 * Unreserved characters mean the same encoded or not (RFC 3986 section 2.3): decode them, so that
 * no dot hides.
 */
static size_t decode_unreserved(char *path, size_t n)
{
    const char *in = path, *end = path + n;
    char *out = path;

    while (in < end) {
        int c = escape_at(in, end);

        if (c > 0 && mu_ch_is((char)c, MU_CH_UNRESERVED)) {
            *out++ = (char)c;
            in += 3;
        } else {
            *out++ = *in++;
        }
    }
    return (size_t)(out - path);
}

/* Length of the dot segment at p: 1 for ".", 2 for "..", 0 for any other. */
static size_t dot_segment(const char *p, const char *end)
{
    size_t dots = 0;

    while (dots < 3 && p + dots < end && p[dots] == '.') {
        dots++;
    }
    return dots <= 2 && (p + dots == end || p[dots] == '/') ? dots : 0;
}

/*
 * Remove "." and ".." segments and, when wanted, empty ones (RFC 3986 section 5.2.4), in place.
 * Returns the new length, 0 when ".." leads above the root. path[0] is '/'.
 */
static size_t normalize(char *path, size_t n, bool merge_slashes)
{
    const char *in = path + 1, *end = path + n;
    char *out = path + 1;

    while (in < end) {
        size_t dots = dot_segment(in, end);

        if (dots == 2) {
            if (out == path + 1) {
                return 0;
            }
            for (out--; out[-1] != '/'; out--) {
            }
        }
        if (dots > 0) {
            in += dots + (in + dots < end);
            continue;
        }
        if (*in == '/' && merge_slashes) {
            in++;
            continue;
        }
        while (in < end && *in != '/') {
            *out++ = *in++;
        }
        if (in < end) {
            *out++ = *in++;
        }
    }
    return (size_t)(out - path);
}

/* Decode what is left, once. Keeps "%2f" as it is written when asked to. */
static enum mu_rc decode_rest(char *path, size_t *n, enum mu_encoded_slashes slashes)
{
    const char *in = path, *end = path + *n;
    char *out = path;
    bool is_missing = false;

    while (in < end) {
        int c = *in == '%' ? escape_at(in, end) : 256;

        if (c < 0) {
            return MU_BAD;
        }
        if (c == 256 || (c == '/' && slashes == MU_SLASHES_KEEP)) {
            *out++ = *in++;
            continue;
        }
        is_missing |= c == 0 || (c == '/' && slashes == MU_SLASHES_REFUSE);
        *out++ = (char)c;
        in += 3;
    }
    *n = (size_t)(out - path);
    return is_missing ? MU_NOENT : MU_OK;
}

enum mu_rc mu_uri_path_decode(struct mu_arena *a, struct mu_str raw, bool merge_slashes,
                              enum mu_encoded_slashes slashes, struct mu_str *path)
{
    size_t n = raw.n;
    enum mu_rc rc;
    char *p;

    *path = MU_STR_NULL;
    if (raw.n == 0 || *raw.p != '/') {
        return MU_BAD;
    }
    /* No request target holds one, but what a module made up may. */
    if (memchr(raw.p, '\0', raw.n)) {
        return MU_NOENT;
    }
    p = mu_arena_alloc(a, raw.n + 1);
    if (!p) {
        return MU_NOMEM;
    }
    memcpy(p, raw.p, n);
    if (memchr(p, '%', n)) {
        size_t before = decode_unreserved(p, n);

        n = normalize(p, before, merge_slashes);
        if (n == 0) {
            return MU_BAD;
        }
        before = n;
        rc = decode_rest(p, &n, slashes);
        if (rc != MU_OK) {
            return rc;
        }
    }
    /* After decoding slashes there may be new segments; without an escape this is the only pass. */
    n = normalize(p, n, merge_slashes);
    if (n == 0) {
        return MU_BAD;
    }
    p[n] = '\0';
    *path = (struct mu_str){ p, n };
    return MU_OK;
}

/* A colon before the first slash would make the path a URI with a scheme. */
static bool needs_dot(struct mu_str path)
{
    ssize_t colon = mu_str_chr(path, ':'), slash = mu_str_chr(path, '/');

    return colon >= 0 && (slash < 0 || colon < slash);
}

struct mu_str mu_uri_encode_path(struct mu_arena *a, struct mu_str path)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = needs_dot(path) ? 2 : 0;
    char *p, *out;

    for (size_t i = 0; i < path.n; i++) {
        n += mu_ch_is(path.p[i], MU_CH_PATH) ? 1 : 3;
    }
    p = out = mu_arena_alloc(a, n + 1);
    if (!p) {
        return MU_STR_NULL;
    }
    if (needs_dot(path)) {
        *out++ = '.';
        *out++ = '/';
    }
    for (size_t i = 0; i < path.n; i++) {
        unsigned char c = (unsigned char)path.p[i];

        if (mu_ch_is(path.p[i], MU_CH_PATH)) {
            *out++ = path.p[i];
        } else {
            *out++ = '%';
            *out++ = digits[c >> 4];
            *out++ = digits[c & 15];
        }
    }
    *out = '\0';
    return (struct mu_str){ p, n };
}

static struct mu_str html_entity(char c)
{
    switch (c) {
    case '<':
        return MU_S("&lt;");
    case '>':
        return MU_S("&gt;");
    case '&':
        return MU_S("&amp;");
    case '"':
        return MU_S("&quot;");
    default:
        return MU_STR_NULL;
    }
}

struct mu_str mu_html_escape(struct mu_arena *a, struct mu_str s)
{
    size_t n = 0;
    char *p, *out;

    for (size_t i = 0; i < s.n; i++) {
        struct mu_str entity = html_entity(s.p[i]);

        n += entity.p ? entity.n : 1;
    }
    p = out = mu_arena_alloc(a, n + 1);
    if (!p) {
        return MU_STR_NULL;
    }
    for (size_t i = 0; i < s.n; i++) {
        struct mu_str entity = html_entity(s.p[i]);

        if (entity.p) {
            memcpy(out, entity.p, entity.n);
            out += entity.n;
        } else {
            *out++ = s.p[i];
        }
    }
    *out = '\0';
    return (struct mu_str){ p, n };
}

bool mu_uri_is_absolute(struct mu_str s)
{
    static const struct mu_str known[] = { { "mailto", 6 }, { "news", 4 }, { "urn", 3 },
                                           { "tel", 3 },    { "data", 4 }, { "unix", 4 } };
    struct mu_str scheme = { s.p, mu_ch_span(s, MU_CH_SCHEME) };

    if (scheme.n == 0 || scheme.n == s.n || s.p[scheme.n] != ':' ||
        (unsigned char)(mu_lower(*s.p) - 'a') > 'z' - 'a') {
        return false;
    }
    if (s.n >= scheme.n + 3 && memcmp(s.p + scheme.n, "://", 3) == 0) {
        return true;
    }
    for (size_t i = 0; i < MU_ARRAY_LEN(known); i++) {
        if (mu_str_ieq(scheme, known[i])) {
            return true;
        }
    }
    return false;
}

size_t mu_uri_covers(struct mu_str path, struct mu_str from)
{
    size_t i = 0, k = 0;

    while (k < from.n) {
        if (from.p[k] == '/') {
            if (i >= path.n || path.p[i] != '/')
                return 0;
            while (k < from.n && from.p[k] == '/')
                k++;
            while (i < path.n && path.p[i] == '/')
                i++;
        } else if (i >= path.n || path.p[i++] != from.p[k++]) {
            return 0;
        }
    }
    if (from.n && from.p[from.n - 1] != '/' && i < path.n && path.p[i] != '/')
        return 0;
    return i;
}
