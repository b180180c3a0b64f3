/* Compiling and writing log formats: the grammar of LogFormat, and the escaping of what clients
 * sent. */
#include "log_format.h"

#include <stdarg.h>
#include <stdio.h>

static bool line_reserve(struct log_line *l, size_t extra)
{
    size_t cap = l->cap;
    char *p;

    if (l->is_failed)
        return false;
    if (l->n + extra <= cap)
        return true;
    while (cap < l->n + extra)
        cap = cap ? cap * 2 : 512;
    p = mu_arena_alloc(l->arena, cap);
    if (!p) {
        l->is_failed = true;
        return false;
    }
    if (l->n)
        memcpy(p, l->p, l->n);
    l->p = p;
    l->cap = cap;
    return true;
}

void log_line_add(struct log_line *l, struct mu_str s)
{
    if (!s.n || !line_reserve(l, s.n))
        return;
    memcpy(l->p + l->n, s.p, s.n);
    l->n += s.n;
}

void log_line_add_escaped(struct log_line *l, struct mu_str s)
{
    static const char hex[] = "0123456789abcdef";
    static const char named[] = "btnv?r"; /* 8 to 13; a form feed goes as \\x0c, as in httpd */

    if (!line_reserve(l, s.n * 4))
        return;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            l->p[l->n++] = (char)c;
            continue;
        }
        l->p[l->n++] = '\\';
        if (c == '"' || c == '\\') {
            l->p[l->n++] = (char)c;
        } else if (c >= 8 && c <= 13 && c != 12) {
            l->p[l->n++] = named[c - 8];
        } else {
            l->p[l->n++] = 'x';
            l->p[l->n++] = hex[c >> 4];
            l->p[l->n++] = hex[c & 15];
        }
    }
}

void log_line_addf(struct log_line *l, const char *fmt, ...)
{
    char buf[256];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(buf, sizeof(buf), fmt, ap);
    va_end(ap);
    if (n > 0)
        log_line_add(l, mu_str_n(buf, (size_t)n < sizeof(buf) ? (size_t)n : sizeof(buf) - 1));
}

/* "200,304" or "!200,304" in front of an item. */
static bool parse_statuses(struct mu_arena *a, struct mu_str *rest, struct log_item *item)
{
    struct mu_str s = *rest;
    uint16_t *v = NULL;
    size_t n = 0;

    if (s.n && s.p[0] == '!') {
        item->is_negated = true;
        s = mu_str_sub(s, 1, s.n);
    }
    while (s.n && s.p[0] >= '0' && s.p[0] <= '9') {
        uint32_t value = 0;
        uint16_t *grown = mu_new_n(a, uint16_t, n + 1);

        if (!grown)
            return false;
        while (s.n && s.p[0] >= '0' && s.p[0] <= '9' && value < 10000) {
            value = value * 10 + (uint32_t)(s.p[0] - '0');
            s = mu_str_sub(s, 1, s.n);
        }
        if (n)
            memcpy(grown, v, n * sizeof(*v));
        v = grown;
        v[n++] = (uint16_t)value;
        if (s.n && s.p[0] == ',')
            s = mu_str_sub(s, 1, s.n);
    }
    item->statuses = v;
    item->statuses_n = n;
    *rest = s;
    return true;
}

/* One item; `rest` stands behind the '%'. Braces, '<' and '>' may come in any order, as in
 * httpd. */
static bool parse_item(struct mu_arena *a, struct mu_str *rest, struct log_format *f,
                       struct log_item *item, struct mu_str *err)
{
    struct mu_str s = *rest;
    int wants = -1;
    size_t used;

    if (!parse_statuses(a, &s, item)) {
        *err = MU_S("out of memory");
        return false;
    }
    while (s.n && (s.p[0] == '<' || s.p[0] == '>' || s.p[0] == '{')) {
        if (s.p[0] == '{') {
            ssize_t end = mu_str_chr(s, '}');

            if (end < 0) {
                *err = MU_S("a '{' without its '}'");
                return false;
            }
            item->arg = mu_str_dup(a, mu_str_sub(s, 1, (size_t)end));
            s = mu_str_sub(s, (size_t)end + 1, s.n);
        } else {
            wants = s.p[0] == '<';
            s = mu_str_sub(s, 1, s.n);
        }
    }
    if (!s.n || !log_item_find(s, &used, item, f)) {
        *err = s.n ? mu_fmt(a, "there is no format item %%%c", s.p[0])
                   : MU_S("a '%' at the end of the format");
        return false;
    }
    if (wants >= 0)
        item->wants_original = wants;
    *rest = mu_str_sub(s, used, s.n);
    return true;
}

/* Text up to the next '%', with \n, \t, \r and \\ resolved. */
static struct mu_str parse_literal(struct mu_arena *a, struct mu_str *rest)
{
    struct mu_str s = *rest;
    char *p = mu_arena_alloc(a, s.n);
    size_t i = 0, n = 0;

    if (!p)
        return MU_STR_NULL;
    while (i < s.n && s.p[i] != '%') {
        char c = s.p[i++];

        if (c == '\\' && i < s.n) {
            c = s.p[i++];
            if (c == 'n')
                c = '\n';
            else if (c == 't')
                c = '\t';
            else if (c == 'r')
                c = '\r';
            else if (c != '\\')
                p[n++] = '\\';
        }
        p[n++] = c;
    }
    *rest = mu_str_sub(s, i, s.n);
    return mu_str_n(p, n);
}

const struct log_format *log_format_compile(struct mu_arena *a, struct mu_str text,
                                            struct mu_str *err)
{
    struct log_format *f = mu_new(a, struct log_format);
    struct log_item *items = mu_new_n(a, struct log_item, text.n + 1);

    *err = MU_S("out of memory");
    if (!f || !items)
        return NULL;
    f->items = items;
    while (text.n) {
        struct log_item *item = &items[f->n];

        if (text.p[0] != '%') {
            item->arg = parse_literal(a, &text);
            if (!item->arg.p)
                return NULL;
        } else {
            text = mu_str_sub(text, 1, text.n);
            if (!parse_item(a, &text, f, item, err))
                return NULL;
        }
        f->n++;
    }
    return f;
}

static bool status_matches(const struct log_item *item, enum mu_status status)
{
    if (!item->statuses_n)
        return true;
    for (size_t i = 0; i < item->statuses_n; i++) {
        if (item->statuses[i] == status)
            return !item->is_negated;
    }
    return item->is_negated;
}

void log_format_write(const struct log_format *f, struct log_line *l, struct mu_req *r)
{
    struct mu_req *original = r, *last = r;

    while (original->prev)
        original = original->prev;
    while (last->next)
        last = last->next;
    for (size_t i = 0; i < f->n; i++) {
        const struct log_item *item = &f->items[i];

        if (!item->fn)
            log_line_add(l, item->arg);
        else if (status_matches(item, last->status))
            item->fn(l, item->wants_original ? original : last, item);
        else
            log_line_add(l, MU_S("-"));
    }
    log_line_add(l, MU_S("\n"));
}
