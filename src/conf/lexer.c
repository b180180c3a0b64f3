/*
 * lexer: logical lines and words of the httpd grammar. A line goes on when a backslash stands right
 * before its end (LF or CRLF), whatever stands before the backslash; a comment is a line whose
 * first character is '#', and it goes on likewise. Words are as ap_getword_conf has them. Nothing
 * here knows a directive.
 */
#include <muster/directive.h>
#include <muster/str.h>

#include "conf/lexer.h"

void mu_lines_init(struct mu_lines *l, struct mu_str text)
{
    if (mu_str_starts(text, MU_S("\xef\xbb\xbf")))
        text = mu_str_sub(text, 3, text.n);
    *l = (struct mu_lines){ .text = text };
}

void mu_lines_fini(struct mu_lines *l)
{
    mu_buf_fini(&l->scratch);
}

/*
 * One physical line without its end. *is_continued: the backslash is gone and the next line
 * follows.
 */
static struct mu_str physical(struct mu_lines *l, bool *is_continued)
{
    struct mu_str rest = mu_str_sub(l->text, l->pos, l->text.n);
    ssize_t lf = mu_str_chr(rest, '\n');
    struct mu_str s = lf < 0 ? rest : mu_str_sub(rest, 0, (size_t)lf);

    l->pos += s.n + (lf >= 0);
    l->line++;
    if (s.n && s.p[s.n - 1] == '\r')
        s.n--;
    *is_continued = lf >= 0 && s.n && s.p[s.n - 1] == '\\';
    if (*is_continued)
        s.n--;
    return s;
}

static enum mu_rc logical(struct mu_lines *l, struct mu_str *out)
{
    bool is_continued;
    bool is_long = false;
    struct mu_str s = physical(l, &is_continued);

    *out = s;
    if (is_continued) {
        l->scratch.n = 0;
        mu_buf_add(&l->scratch, s);
        while (is_continued && l->pos < l->text.n) {
            s = physical(l, &is_continued);
            is_long = is_long || l->scratch.n + s.n > MU_LINE_MAX;
            if (!is_long)
                mu_buf_add(&l->scratch, s);
        }
        *out = mu_buf_str(&l->scratch);
        if (l->scratch.is_failed)
            return MU_NOMEM;
    }
    return is_long || out->n > MU_LINE_MAX ? MU_LIMIT : MU_OK;
}

enum mu_rc mu_lines_next(struct mu_lines *l, struct mu_str *line, unsigned *first)
{
    while (l->pos < l->text.n) {
        enum mu_rc rc;

        *first = l->line + 1;
        rc = logical(l, line);
        *line = mu_str_trim(*line);
        if (rc != MU_OK)
            return rc;
        if (line->n == 0 || line->p[0] == '#')
            continue;
        return mu_str_chr(*line, '\0') >= 0 ? MU_BAD : MU_OK;
    }
    return MU_EOF;
}

/* Length of the word at the front of `s`, without its opening quote. */
static size_t word_len(struct mu_str s, char quote)
{
    size_t i = 0;

    if (!quote) {
        while (i < s.n && !mu_is_space(s.p[i]))
            i++;
        return i;
    }
    while (i < s.n && s.p[i] != quote) {
        bool is_escape =
            s.p[i] == '\\' && i + 1 < s.n && (s.p[i + 1] == quote || s.p[i + 1] == '\\');

        i += is_escape ? 2 : 1;
    }
    return i;
}

static struct mu_str unescape(struct mu_arena *a, struct mu_str s, char quote)
{
    struct mu_str out = mu_str_dup(a, s);
    char *w = (char *)(uintptr_t)out.p;

    if (!w)
        return out;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\' && i + 1 < s.n && (s.p[i + 1] == '\\' || (quote && s.p[i + 1] == quote)))
            i++;
        *w++ = s.p[i];
    }
    *w = '\0';
    out.n = (size_t)(w - out.p);
    return out;
}

static struct mu_str skip_space(struct mu_str s)
{
    size_t i = 0;

    while (i < s.n && mu_is_space(s.p[i]))
        i++;
    return mu_str_sub(s, i, s.n);
}

bool mu_word_next(struct mu_arena *a, struct mu_str *rest, struct mu_str *word)
{
    struct mu_str s = skip_space(*rest);
    char quote;
    size_t n;

    *rest = s;
    if (s.n == 0)
        return false;
    quote = s.p[0] == '"' || s.p[0] == '\'' ? s.p[0] : '\0';
    if (quote)
        s = mu_str_sub(s, 1, s.n);
    n = word_len(s, quote);
    *word = unescape(a, mu_str_sub(s, 0, n), quote);
    if (!word->p) {
        *rest = MU_STR_NULL;
        return false;
    }
    *rest = skip_space(mu_str_sub(s, n + (quote && n < s.n), s.n));
    return true;
}

enum mu_rc mu_words(struct mu_arena *a, struct mu_str args, struct mu_strs *out)
{
    size_t cap = 0;
    struct mu_str word;

    *out = (struct mu_strs){ NULL, 0 };
    if (!args.p)
        return MU_OK;
    while (mu_word_next(a, &args, &word)) {
        if (out->n == cap) {
            struct mu_str *v;

            cap = cap ? 2 * cap : 4;
            v = mu_new_n(a, struct mu_str, cap);
            if (!v)
                return MU_NOMEM;
            if (out->n)
                memcpy(v, out->v, out->n * sizeof(*v));
            out->v = v;
        }
        out->v[out->n++] = word;
    }
    return args.p ? MU_OK : MU_NOMEM;
}
