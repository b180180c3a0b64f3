/*
 * logformat: ErrorLogFormat. A format is compiled once into items; a line is printed from left to
 * right, where a field whose item has nothing to say is taken back to where it began. Message bytes
 * are escaped as httpd escapes them, so no line can be forged by what a client sends.
 */
#include "base/logformat.h"

#include "base/path.h"

#include <muster/clock.h>
#include <muster/str.h>

#include <stdio.h>
#include <time.h>

enum { MIN_LEVEL_ANY = 0, TIME_ITEMS = 3 };

static const struct mu_logformat_item default_items[] = {
    { '"', 0, MIN_LEVEL_ANY, { "[", 1 } },
    { 't', 0, MIN_LEVEL_ANY, { "u", 1 } },
    { '"', 0, MIN_LEVEL_ANY, { "]", 1 } },
    { '"', MU_LOGFORMAT_FIELD, MIN_LEVEL_ANY, { " [", 2 } },
    { 'm', MU_LOGFORMAT_HYPHEN, MIN_LEVEL_ANY, { NULL, 0 } },
    { '"', 0, MIN_LEVEL_ANY, { ":", 1 } },
    { 'l', 0, MIN_LEVEL_ANY, { NULL, 0 } },
    { '"', 0, MIN_LEVEL_ANY, { "]", 1 } },
    { '"', MU_LOGFORMAT_FIELD, MIN_LEVEL_ANY, { " [pid ", 6 } },
    { 'P', 0, MIN_LEVEL_ANY, { NULL, 0 } },
    { '"', 0, MIN_LEVEL_ANY, { ":tid ", 5 } },
    { 'T', 0, MIN_LEVEL_ANY, { NULL, 0 } },
    { '"', 0, MIN_LEVEL_ANY, { "]", 1 } },
    { '"', MU_LOGFORMAT_FIELD, MIN_LEVEL_ANY, { " ", 1 } },
    { 'F', 0, MU_LOG_DEBUG, { NULL, 0 } },
    { '"', 0, MIN_LEVEL_ANY, { ":", 1 } },
    { '"', MU_LOGFORMAT_FIELD, MIN_LEVEL_ANY, { " [client ", 9 } },
    { 'a', 0, MIN_LEVEL_ANY, { NULL, 0 } },
    { '"', 0, MIN_LEVEL_ANY, { "]", 1 } },
    { '"', MU_LOGFORMAT_FIELD, MIN_LEVEL_ANY, { " ", 1 } },
    { 'M', 0, MIN_LEVEL_ANY, { NULL, 0 } },
    { '"', MU_LOGFORMAT_FIELD, MIN_LEVEL_ANY, { ", referer: ", 11 } },
    { 'i', 0, MIN_LEVEL_ANY, { "Referer", 7 } },
};

const struct mu_logformat mu_logformat_default = { default_items, MU_ARRAY_LEN(default_items) };
const struct mu_logformat mu_logformat_default_syslog = {
    default_items + TIME_ITEMS, MU_ARRAY_LEN(default_items) - TIME_ITEMS
};

/* --- ErrorLogFormat, compiled --- */

struct compiler {
    struct mu_arena *arena;
    struct mu_str rest;
    struct mu_logformat_item *items;
    size_t n;
};

static char peek(const struct compiler *c)
{
    return c->rest.n ? c->rest.p[0] : '\0';
}

static void skip(struct compiler *c, size_t n)
{
    c->rest = mu_str_sub(c->rest, n, c->rest.n);
}

static char unescaped(char c)
{
    return (char)(c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c);
}

/* Text up to the next item or field; blanks at its start are the field's. */
static enum mu_rc compile_text(struct compiler *c, uint8_t flags)
{
    char *out = mu_arena_alloc(c->arena, c->rest.n);
    size_t n = 0;
    bool is_leading = true;

    if (!out)
        return MU_NOMEM;
    if (peek(c) == ' ')
        flags |= MU_LOGFORMAT_FIELD;
    while (c->rest.n && peek(c) != '%' && (peek(c) != ' ' || is_leading)) {
        is_leading = is_leading && peek(c) == ' ';
        if (peek(c) == '\\' && c->rest.n > 1) {
            out[n++] = unescaped(c->rest.p[1]);
            skip(c, 2);
        } else {
            out[n++] = peek(c);
            skip(c, 1);
        }
    }
    c->items[c->n++] =
        (struct mu_logformat_item){ .kind = '"', .flags = flags, .arg = mu_str_n(out, n) };
    return MU_OK;
}

/* What may stand between '%' and the letter. Returns false when a brace is left open. */
static bool compile_modifiers(struct compiler *c, struct mu_logformat_item *it)
{
    for (;; skip(c, 1)) {
        char ch = peek(c);

        if (ch == '{') {
            ssize_t end = mu_str_chr(c->rest, '}');

            if (end < 0)
                return false;
            it->arg = mu_str_sub(c->rest, 1, (size_t)end);
            skip(c, (size_t)end);
        } else if (ch == '-') {
            it->flags |= MU_LOGFORMAT_HYPHEN;
        } else if (ch == '+') {
            it->flags |= MU_LOGFORMAT_REQUIRED;
        } else if (ch >= '0' && ch <= '9') {
            unsigned level = it->min_level * 10u + (unsigned)(ch - '0');

            it->min_level = (uint8_t)(level > MU_LOG_TRACE8 ? MU_LOG_TRACE8 : level);
        } else {
            return true;
        }
    }
}

static enum mu_rc compile_item(struct compiler *c, uint8_t flags, struct mu_str *err)
{
    struct mu_logformat_item it = { .flags = flags };
    struct mu_str from = c->rest;

    skip(c, 1);
    if (!compile_modifiers(c, &it)) {
        *err = mu_fmt(c->arena, "\"%.*s\" lacks a \"}\"", MU_FMT(from));
        return MU_BAD;
    }
    it.kind = peek(c);
    if (it.kind == '\0' || !strchr("%aAeEFiklLmMnPTtvV", it.kind)) {
        *err = mu_fmt(c->arena,
                      "unknown item \"%.*s\"; allowed are %%%% %%a %%A %%{}e %%E "
                      "%%F %%{}i %%k %%l %%L %%m %%M %%{}n %%P %%T %%t %%v %%V",
                      (int)(from.n - c->rest.n + (c->rest.n > 0)), from.p);
        return MU_BAD;
    }
    skip(c, 1);
    if (it.kind == '%')
        it = (struct mu_logformat_item){ .kind = '"', .flags = flags, .arg = MU_S("%") };
    c->items[c->n++] = it;
    return MU_OK;
}

enum mu_rc mu_logformat_compile(struct mu_arena *a, struct mu_str text, struct mu_logformat *format,
                                struct mu_str *err)
{
    struct compiler c = { .arena = a };
    uint8_t flags = 0;
    enum mu_rc rc = MU_OK;

    c.rest = mu_str_dup(a, text); /* arguments point into it */
    c.items = mu_new_n(a, struct mu_logformat_item, text.n + 1);
    if (!c.items || !c.rest.p)
        return MU_NOMEM;
    while (c.rest.n && rc == MU_OK) {
        if (mu_str_starts(c.rest, MU_S("% "))) {
            flags = MU_LOGFORMAT_FIELD;
            skip(&c, 2);
            continue;
        }
        rc = peek(&c) == '%' ? compile_item(&c, flags, err) : compile_text(&c, flags);
        flags = 0;
    }
    if (rc != MU_OK)
        return rc;
    *format = (struct mu_logformat){ c.items, c.n };
    return MU_OK;
}

/* --- a line --- */

/* p[0..n) of cap bytes; what does not fit is cut. */
struct line {
    char *p;
    size_t n;
    size_t cap;
};

static void put(struct line *l, struct mu_str s)
{
    size_t room = l->cap - l->n;
    size_t n = s.n < room ? s.n : room;

    if (n)
        memcpy(l->p + l->n, s.p, n);
    l->n += n;
}

static void put_num(struct line *l, uint64_t v)
{
    char dec[20];

    put(l, mu_str_n(dec, mu_u64_dec(v, dec)));
}

static bool needs_escape(unsigned char c)
{
    return c < ' ' || c > '~' || c == '\\';
}

static void put_escaped_byte(struct line *l, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    char esc[4] = { '\\', 'x', digits[c >> 4], digits[c & 15] };
    const char *letter = c ? memchr("\b\n\r\t\v\\", c, 6) : NULL;

    if (letter) {
        esc[1] = "bnrtv\\"[letter - "\b\n\r\t\v\\"];
        put(l, mu_str_n(esc, 2));
        return;
    }
    put(l, mu_str_n(esc, 4));
}

/* As httpd: \b \n \r \t \v \\ by letter, other bytes that do not print as \xhh; quotes stand. */
static void put_escaped(struct line *l, struct mu_str s)
{
    size_t from = 0;

    for (size_t i = 0; i < s.n && l->n < l->cap; i++) {
        if (!needs_escape((unsigned char)s.p[i]))
            continue;
        put(l, mu_str_sub(s, from, i));
        put_escaped_byte(l, (unsigned char)s.p[i]);
        from = i + 1;
    }
    put(l, mu_str_sub(s, from, s.n));
}

/* Broken-down local time, once a second and thread. */
static const struct tm *local_time(time_t sec)
{
    static __thread struct tm tm;
    static __thread time_t tm_sec = -1;

    if (sec != tm_sec) {
        localtime_r(&sec, &tm);
        tm_sec = sec;
    }
    return &tm;
}

/* "Fri Sep 09 10:42:29 2011", with 'u' or 'm' a fraction; with 'c' "2011-09-09 10:42:29". */
static void put_time(struct line *l, struct mu_str arg)
{
    static const char day_month[] = "SunMonTueWedThuFriSatJanFebMarAprMayJunJulAugSepOctNovDec";
    bool is_compact = mu_str_chr(arg, 'c') >= 0;
    int64_t us = mu_real_us();
    const struct tm *tm = local_time((time_t)(us / 1000000));
    char fraction[16] = "";
    char text[96];
    int n;

    if (mu_str_chr(arg, 'u') >= 0)
        snprintf(fraction, sizeof(fraction), ".%06d", (int)(us % 1000000));
    else if (mu_str_chr(arg, 'm') >= 0)
        snprintf(fraction, sizeof(fraction), ".%03d", (int)(us % 1000000 / 1000));
    if (is_compact)
        n = snprintf(text, sizeof(text), "%04d-%02d-%02d %02d:%02d:%02d%s", tm->tm_year + 1900,
                     tm->tm_mon + 1, tm->tm_mday, tm->tm_hour, tm->tm_min, tm->tm_sec, fraction);
    else
        n = snprintf(text, sizeof(text), "%.3s %.3s %02d %02d:%02d:%02d%s %d",
                     day_month + 3 * tm->tm_wday, day_month + 21 + 3 * tm->tm_mon, tm->tm_mday,
                     tm->tm_hour, tm->tm_min, tm->tm_sec, fraction, tm->tm_year + 1900);
    put(l, mu_str_n(text, (size_t)n));
}

static void put_place(struct line *l, const struct mu_logformat_call *c)
{
    if (!c->file)
        return;
    put(l, mu_path_base(mu_str_c(c->file)));
    put(l, MU_S("("));
    put_num(l, (uint64_t)c->line);
    put(l, MU_S(")"));
}

/* What only the server room knows; without it, at least the client's address is in the context. */
static void put_request_item(struct line *l, const struct mu_logformat_call *c,
                             const struct mu_logformat_item *it)
{
    char text[1024];
    size_t n = 0;

    if (c->request_item && c->ctx)
        n = c->request_item(c->ctx, it->kind, it->arg, text, sizeof(text));
    if (n == 0 && it->kind == 'a' && c->ctx)
        put_escaped(l, c->ctx->client);
    put_escaped(l, mu_str_n(text, n < sizeof(text) ? n : sizeof(text)));
}

static void put_item(struct line *l, const struct mu_logformat_call *c,
                     const struct mu_logformat_item *it)
{
    switch (it->kind) {
    case '"':
        put(l, it->arg);
        break;
    case 'F':
        put_place(l, c);
        break;
    case 'l':
        put(l, mu_str_c(mu_log_level_name(c->level)));
        break;
    case 'm':
        put(l, mu_str_c(c->module));
        break;
    case 'M':
        put_escaped(l, c->text);
        break;
    case 'P':
        put_num(l, (uint64_t)c->pid);
        break;
    case 'T':
        put_num(l, (uint64_t)c->tid);
        break;
    case 't':
        put_time(l, it->arg);
        break;
    case 'E':
        break;
    default:
        put_request_item(l, c, it);
        break;
    }
}

ssize_t mu_logformat_print(const struct mu_logformat *format, const struct mu_logformat_call *c,
                           char *buf, size_t cap)
{
    struct line l = { .p = buf, .cap = cap };
    size_t field_start = 0;
    bool is_skipping = false;

    for (size_t i = 0; i < format->n; i++) {
        const struct mu_logformat_item *it = &format->items[i];
        size_t before;

        if (it->flags & MU_LOGFORMAT_FIELD) {
            if (!is_skipping)
                field_start = l.n;
            is_skipping = false;
        }
        if (is_skipping && it->kind != 'M')
            continue;
        before = l.n;
        if (it->min_level <= (uint8_t)c->level)
            put_item(&l, c, it);
        if (l.n > before || it->kind == 'M' || (it->kind == '"' && it->arg.n == 0))
            continue;
        if (it->min_level <= (uint8_t)c->level && it->flags & MU_LOGFORMAT_REQUIRED)
            return -1;
        if (it->min_level <= (uint8_t)c->level && it->flags & MU_LOGFORMAT_HYPHEN) {
            put(&l, MU_S("-"));
            continue;
        }
        l.n = field_start;
        is_skipping = true;
    }
    return (ssize_t)l.n;
}
