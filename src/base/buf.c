/*
 * buf: a byte buffer on the heap that remembers a failed allocation, so that a writer of many
 * pieces checks once, and a vector of pointers in an arena. Contents are always p[0..n); growth
 * doubles.
 */
#include <muster/buf.h>
#include <muster/str.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"

bool mu_buf_reserve(struct mu_buf *b, size_t extra)
{
    size_t need;
    size_t cap;
    char *p;

    if (b->is_failed)
        return false;
    if (b->cap - b->n >= extra)
        return true;
    if (__builtin_add_overflow(b->n, extra, &need) || need > SIZE_MAX / 4) {
        b->is_failed = true;
        return false;
    }
    for (cap = b->cap ? b->cap * 2 : 256; cap < need;)
        cap *= 2;
    p = mu_alloc_fails() ? NULL : realloc(b->p, cap);
    if (!p) {
        b->is_failed = true;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

void mu_buf_add(struct mu_buf *b, struct mu_str s)
{
    if (s.n == 0 || !mu_buf_reserve(b, s.n))
        return;
    memcpy(b->p + b->n, s.p, s.n);
    b->n += s.n;
}

void mu_buf_addc(struct mu_buf *b, char c)
{
    if (mu_buf_reserve(b, 1))
        b->p[b->n++] = c;
}

void mu_buf_addf(struct mu_buf *b, const char *fmt, ...)
{
    va_list ap;
    int n;

    if (!mu_buf_reserve(b, 64))
        return;
    va_start(ap, fmt);
    n = vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->is_failed = true;
        return;
    }
    if ((size_t)n >= b->cap - b->n) {
        if (!mu_buf_reserve(b, (size_t)n + 1))
            return;
        va_start(ap, fmt);
        vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
        va_end(ap);
    }
    b->n += (size_t)n;
}

void mu_buf_consume(struct mu_buf *b, size_t n)
{
    if (n >= b->n) {
        b->n = 0;
        return;
    }
    if (n)
        memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

void mu_buf_fini(struct mu_buf *b)
{
    free(b->p);
    *b = (struct mu_buf){ 0 };
}

static struct mu_str html_entity(char c)
{
    switch (c) {
    case '&':
        return MU_S("&amp;");
    case '<':
        return MU_S("&lt;");
    case '>':
        return MU_S("&gt;");
    case '"':
        return MU_S("&quot;");
    default:
        return MU_STR_NULL;
    }
}

static void add_escaped(struct mu_buf *b, struct mu_str s, bool is_text)
{
    size_t from = 0;

    for (size_t i = 0; i < s.n; i++) {
        struct mu_str entity = html_entity(s.p[i]);

        if (!entity.p || (is_text && s.p[i] == '"'))
            continue;
        mu_buf_add(b, mu_str_sub(s, from, i));
        mu_buf_add(b, entity);
        from = i + 1;
    }
    mu_buf_add(b, mu_str_sub(s, from, s.n));
}

void mu_buf_add_html(struct mu_buf *b, struct mu_str s)
{
    add_escaped(b, s, false);
}

void mu_buf_add_html_text(struct mu_buf *b, struct mu_str s)
{
    add_escaped(b, s, true);
}

static bool is_kept_in_uri(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("$-_.+!*'(),:;@&=/~", c));
}

void mu_buf_add_uri(struct mu_buf *b, struct mu_str s)
{
    static const char digits[] = "0123456789abcdef";
    size_t from = 0;

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (is_kept_in_uri(s.p[i]))
            continue;
        mu_buf_add(b, mu_str_sub(s, from, i));
        mu_buf_add(b, mu_str_n((const char[]){ '%', digits[c >> 4], digits[c & 15] }, 3));
        from = i + 1;
    }
    mu_buf_add(b, mu_str_sub(s, from, s.n));
}

enum mu_rc mu_vec_push(struct mu_arena *a, struct mu_vec *vec, void *item)
{
    if (vec->n == vec->cap) {
        size_t cap = vec->cap ? vec->cap * 2 : 8;
        void **v = mu_new_n(a, void *, cap);

        if (!v)
            return MU_NOMEM;
        if (vec->n)
            memcpy(v, vec->v, vec->n * sizeof(*v));
        vec->v = v;
        vec->cap = cap;
    }
    vec->v[vec->n++] = item;
    return MU_OK;
}
