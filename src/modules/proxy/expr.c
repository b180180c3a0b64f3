/*
 * expr: conditions of httpd's expression language, as far as ProxyFCGISetEnvIf needs them: comparisons of texts and
 * numbers, regular expressions, -z and -n, and how these are joined. What else there is in httpd is an error that says
 * where understanding ended.
 */
#include "text.h"

enum op { OP_TRUE, OP_FALSE, OP_NOT, OP_AND, OP_OR, OP_EMPTY, OP_MATCH, OP_TEXT, OP_NUMBER };

/* What a comparison must come to. */
enum { LESS = 1, SAME = 2, MORE = 4 };

struct proxy_expr {
    enum op op;
    unsigned wanted; /* LESS, SAME, MORE */
    const struct proxy_expr *a, *b;
    const struct proxy_text *left, *right;
    struct mu_regex *regex;
};

enum { DEPTH_MAX = 20 };

struct parser {
    struct mu_cmd *cmd;
    struct mu_str rest;
    int depth;
};

static const struct proxy_expr *parse_or(struct parser *p);

static const struct proxy_expr *fail(struct parser *p, const char *what)
{
    mu_cmd_error(p->cmd,
                 "the condition is not understood at '%.*s': %s; supported are true, "
                 "comparisons (== != =~ !~ < > -eq …), -z, -n, !, &&, || and parentheses",
                 MU_FMT(p->rest), what);
    return NULL;
}

static struct proxy_expr *node(struct parser *p, enum op op)
{
    struct proxy_expr *e = mu_new(p->cmd->arena, struct proxy_expr);

    if (e)
        e->op = op;
    else
        mu_cmd_error(p->cmd, "out of memory");
    return e;
}

static void skip(struct parser *p, size_t n)
{
    p->rest = mu_str_sub(p->rest, n, p->rest.n);
    while (p->rest.n && mu_is_space(p->rest.p[0]))
        p->rest = mu_str_sub(p->rest, 1, p->rest.n);
}

static bool take(struct parser *p, struct mu_str token)
{
    if (!mu_str_starts(p->rest, token))
        return false;
    skip(p, token.n);
    return true;
}

static bool is_word_char(char c)
{
    c = mu_lower(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* A run of letters, digits and '_', which may begin with '-'. */
static struct mu_str peek_word(const struct parser *p)
{
    size_t n = p->rest.n && p->rest.p[0] == '-' ? 1 : 0;

    while (n < p->rest.n && is_word_char(p->rest.p[n]))
        n++;
    return mu_str_sub(p->rest, 0, n);
}

/* '…' or "…" in front; the quotes are not part of *out. */
static bool take_quoted(struct parser *p, struct mu_str *out)
{
    struct mu_buf b = { 0 };
    size_t i = 1;

    for (; i < p->rest.n && p->rest.p[i] != p->rest.p[0]; i++) {
        if (p->rest.p[i] == '\\' && i + 1 < p->rest.n)
            i++;
        mu_buf_addc(&b, p->rest.p[i]);
    }
    if (i < p->rest.n)
        *out = mu_str_dup(p->cmd->arena, mu_buf_str(&b));
    mu_buf_fini(&b);
    if (i >= p->rest.n)
        return false;
    skip(p, i + 1);
    return true;
}

/* function('argument') */
static const struct proxy_text *parse_function(struct parser *p, struct mu_str name)
{
    struct proxy_text *t = proxy_text_new(p->cmd);
    struct mu_str arg;

    skip(p, name.n);
    if (!take(p, MU_S("(")) || !p->rest.n || (p->rest.p[0] != '\'' && p->rest.p[0] != '"') ||
        !take_quoted(p, &arg) || !take(p, MU_S(")"))) {
        fail(p, "a function has one argument in quotes, as in reqenv('NAME')");
        return NULL;
    }
    return t && proxy_text_var(p->cmd, t, name, arg) ? t : NULL;
}

static bool is_number(struct mu_str s)
{
    int64_t v;

    return mu_str_i64(s, &v);
}

static const struct proxy_text *parse_text(struct parser *p)
{
    struct mu_str word = peek_word(p), text;
    ssize_t end;

    if (p->rest.n && (p->rest.p[0] == '\'' || p->rest.p[0] == '"')) {
        if (take_quoted(p, &text))
            return proxy_text_parse(p->cmd, text);
        fail(p, "the quote at its end is missing");
        return NULL;
    }
    if (mu_str_starts(p->rest, MU_S("%{"))) {
        end = mu_str_chr(p->rest, '}');
        text = mu_str_sub(p->rest, 0, end < 0 ? p->rest.n : (size_t)end + 1);
        skip(p, text.n);
        return proxy_text_parse(p->cmd, text);
    }
    if (word.n && is_number(word)) {
        skip(p, word.n);
        return proxy_text_parse(p->cmd, word);
    }
    if (word.n && word.n < p->rest.n && p->rest.p[word.n] == '(')
        return parse_function(p, word);
    fail(p, "a text in quotes, a %{VARIABLE}, a function or a number is expected");
    return NULL;
}

/* /…/flags or m#…#flags */
static bool parse_regex(struct parser *p, struct proxy_expr *e)
{
    size_t i, start = mu_str_starts(p->rest, MU_S("m")) ? 2 : 1;
    struct mu_str pattern, err;
    unsigned flags = 0;
    char quote;

    if (p->rest.n < start + 1 || (start == 1 && p->rest.p[0] != '/'))
        return fail(p, "a regular expression is expected: /…/ or m#…#");
    quote = p->rest.p[start - 1];
    for (i = start; i < p->rest.n && p->rest.p[i] != quote; i++)
        if (p->rest.p[i] == '\\')
            i++;
    if (i >= p->rest.n)
        return fail(p, "the end of the regular expression is missing");
    pattern = mu_str_sub(p->rest, start, i);
    for (i++; i < p->rest.n && is_word_char(p->rest.p[i]); i++) {
        if (p->rest.p[i] != 'i' && p->rest.p[i] != 's')
            return fail(p, "a regular expression can have the flags i and s");
        flags |= p->rest.p[i] == 'i' ? MU_REGEX_ICASE : MU_REGEX_DOTALL;
    }
    e->regex = mu_regex_compile(p->cmd->arena, pattern, flags, &err);
    if (!e->regex) {
        mu_cmd_error(p->cmd, "the regular expression '%.*s' does not compile: %.*s",
                     MU_FMT(pattern), MU_FMT(err));
        return false;
    }
    skip(p, i);
    return true;
}

static const struct proxy_expr *negate(struct parser *p, const struct proxy_expr *e)
{
    struct proxy_expr *not = e ? node(p, OP_NOT) : NULL;

    if (not )
        not ->a = e;
    return not ;
}

static const struct proxy_expr *parse_match(struct parser *p, const struct proxy_text *left)
{
    struct proxy_expr *e = node(p, OP_MATCH);

    if (!e || !parse_regex(p, e))
        return NULL;
    e->left = left;
    return e;
}

static const struct {
    struct mu_str token;
    enum op op;
    unsigned wanted;
} comparisons[] = {
    { MU_S("=="), OP_TEXT, SAME },
    { MU_S("!="), OP_TEXT, LESS | MORE },
    { MU_S("<="), OP_TEXT, LESS | SAME },
    { MU_S(">="), OP_TEXT, MORE | SAME },
    { MU_S("="), OP_TEXT, SAME },
    { MU_S("<"), OP_TEXT, LESS },
    { MU_S(">"), OP_TEXT, MORE },
    { MU_S("-eq"), OP_NUMBER, SAME },
    { MU_S("-ne"), OP_NUMBER, LESS | MORE },
    { MU_S("-lt"), OP_NUMBER, LESS },
    { MU_S("-le"), OP_NUMBER, LESS | SAME },
    { MU_S("-gt"), OP_NUMBER, MORE },
    { MU_S("-ge"), OP_NUMBER, MORE | SAME },
};

static const struct proxy_expr *parse_comparison(struct parser *p)
{
    const struct proxy_text *left = parse_text(p);
    struct proxy_expr *e;

    if (!left)
        return NULL;
    if (take(p, MU_S("=~")))
        return parse_match(p, left);
    if (take(p, MU_S("!~")))
        return negate(p, parse_match(p, left));
    for (size_t i = 0; i < MU_ARRAY_LEN(comparisons); i++) {
        if (!take(p, comparisons[i].token))
            continue;
        e = node(p, comparisons[i].op);
        if (!e)
            return NULL;
        e->wanted = comparisons[i].wanted;
        e->left = left;
        e->right = parse_text(p);
        return e->right ? e : NULL;
    }
    return fail(p, "a comparison is expected");
}

static const struct proxy_expr *parse_empty(struct parser *p)
{
    struct proxy_expr *e = node(p, OP_EMPTY);

    if (!e)
        return NULL;
    e->left = parse_text(p);
    return e->left ? e : NULL;
}

static const struct proxy_expr *parse_not(struct parser *p)
{
    const struct proxy_expr *e;
    struct mu_str word = peek_word(p);

    if (++p->depth > DEPTH_MAX)
        return fail(p, "it is nested too deeply");
    if (!mu_str_starts(p->rest, MU_S("!=")) && take(p, MU_S("!"))) {
        e = negate(p, parse_not(p));
    } else if (take(p, MU_S("("))) {
        e = parse_or(p);
        if (e && !take(p, MU_S(")")))
            e = fail(p, "a ')' is missing");
    } else if (mu_str_ieq(word, MU_S("true")) || mu_str_ieq(word, MU_S("false"))) {
        skip(p, word.n);
        e = node(p, word.n == 4 ? OP_TRUE : OP_FALSE);
    } else if (mu_str_eq(word, MU_S("-z")) || mu_str_eq(word, MU_S("-n"))) {
        skip(p, word.n);
        e = parse_empty(p);
        if (word.p[1] == 'n')
            e = negate(p, e);
    } else {
        e = parse_comparison(p);
    }
    p->depth--;
    return e;
}

static const struct proxy_expr *parse_row(struct parser *p, enum op op, struct mu_str token,
                                          const struct proxy_expr *(*parse)(struct parser *p))
{
    const struct proxy_expr *e = parse(p);

    while (e && take(p, token)) {
        struct proxy_expr *both = node(p, op);

        if (!both)
            return NULL;
        both->a = e;
        both->b = parse(p);
        e = both->b ? both : NULL;
    }
    return e;
}

static const struct proxy_expr *parse_and(struct parser *p)
{
    return parse_row(p, OP_AND, MU_S("&&"), parse_not);
}

static const struct proxy_expr *parse_or(struct parser *p)
{
    return parse_row(p, OP_OR, MU_S("||"), parse_and);
}

const struct proxy_expr *proxy_expr_parse(struct mu_cmd *cmd, struct mu_str text)
{
    struct parser p = { .cmd = cmd, .rest = text };
    const struct proxy_expr *e;

    skip(&p, 0);
    e = parse_or(&p);
    return !e || p.rest.n == 0 ? e : fail(&p, "nothing more is expected");
}

/* ---- evaluation ---- */

static bool compare(const struct proxy_expr *e, struct proxy_scope *s)
{
    struct mu_str left = proxy_text_eval(e->left, s), right = proxy_text_eval(e->right, s);
    int64_t a = 0, b = 0;

    if (e->op == OP_TEXT) {
        a = mu_str_cmp(left, right);
    } else { /* as atoi: what is no number counts as 0 */
        (void)mu_str_i64(mu_str_trim(left), &a);
        (void)mu_str_i64(mu_str_trim(right), &b);
    }
    return e->wanted & (a < b ? LESS : a > b ? MORE : SAME);
}

static bool match(const struct proxy_expr *e, struct proxy_scope *s)
{
    struct mu_str subject = proxy_text_eval(e->left, s);
    struct mu_match m;

    if (mu_regex_match(e->regex, subject, &m) != MU_OK)
        return false;
    s->subject = subject;
    s->match = m;
    return true;
}

bool proxy_expr_eval(const struct proxy_expr *e, struct proxy_scope *s)
{
    switch (e->op) {
    case OP_FALSE:
        return false;
    case OP_NOT:
        return !proxy_expr_eval(e->a, s);
    case OP_AND:
        return proxy_expr_eval(e->a, s) && proxy_expr_eval(e->b, s);
    case OP_OR:
        return proxy_expr_eval(e->a, s) || proxy_expr_eval(e->b, s);
    case OP_EMPTY:
        return proxy_text_eval(e->left, s).n == 0;
    case OP_MATCH:
        return match(e, s);
    case OP_TEXT:
    case OP_NUMBER:
        return compare(e, s);
    case OP_TRUE:
        break;
    }
    return true;
}
