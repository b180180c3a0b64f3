/*
 * wild: the two pattern languages of the configuration, httpd's '*' and '?' and the shell's
 * fnmatch. Both run in place over unterminated bytes with one backtracking point, so no pattern
 * makes them recurse or take more than pattern times subject steps.
 */
#include <muster/str.h>

bool mu_str_wild(struct mu_str s, struct mu_str pattern, bool icase)
{
    size_t i = 0;
    size_t k = 0;
    size_t star = SIZE_MAX; /* pattern index behind the last '*' */
    size_t star_i = 0;      /* where its run ends */

    while (i < s.n) {
        char c = k < pattern.n ? pattern.p[k] : '\0';

        if (k < pattern.n && c == '*') {
            star = ++k;
            star_i = i;
        } else if (k < pattern.n &&
                   (c == '?' || c == s.p[i] || (icase && mu_lower(c) == mu_lower(s.p[i])))) {
            i++;
            k++;
        } else if (star != SIZE_MAX) {
            k = star;
            i = ++star_i;
        } else {
            return false;
        }
    }
    while (k < pattern.n && pattern.p[k] == '*')
        k++;
    return k == pattern.n;
}

static bool is_between(char c, char lo, char hi)
{
    return (unsigned char)c >= (unsigned char)lo && (unsigned char)c <= (unsigned char)hi;
}

/* POSIX class names in the C locale. */
static bool in_class(struct mu_str name, char c)
{
    bool is_lower = is_between(c, 'a', 'z');
    bool is_upper = is_between(c, 'A', 'Z');
    bool is_digit = is_between(c, '0', '9');
    bool is_alnum = is_lower || is_upper || is_digit;
    bool is_graph = is_between(c, '!', '~');
    const struct {
        struct mu_str name;
        bool is_in;
    } classes[] = {
        { MU_S("alpha"), is_lower || is_upper },
        { MU_S("digit"), is_digit },
        { MU_S("alnum"), is_alnum },
        { MU_S("lower"), is_lower },
        { MU_S("upper"), is_upper },
        { MU_S("space"), mu_is_space(c) },
        { MU_S("blank"), c == ' ' || c == '\t' },
        { MU_S("xdigit"), mu_hex(c) >= 0 },
        { MU_S("punct"), is_graph && !is_alnum },
        { MU_S("graph"), is_graph },
        { MU_S("print"), is_graph || c == ' ' },
        { MU_S("cntrl"), is_between(c, '\0', '\x1f') || c == '\x7f' },
    };

    for (size_t i = 0; i < MU_ARRAY_LEN(classes); i++)
        if (mu_str_eq(classes[i].name, name))
            return classes[i].is_in;
    return false;
}

/* One member character of a bracket, a backslash taken away. */
static char bracket_char(struct mu_str pat, size_t *k)
{
    if (pat.p[*k] == '\\' && *k + 1 < pat.n)
        ++*k;
    return pat.p[(*k)++];
}

/*
 * Match `c` against the bracket expression that starts behind '[' at *k, and move *k behind its
 * ']'. Returns 1 or 0, or -1 when there is no closing bracket: then the '[' is an ordinary
 * character.
 */
static int match_bracket(struct mu_str pat, size_t *k, char c)
{
    size_t i = *k;
    bool is_negated = i < pat.n && (pat.p[i] == '!' || pat.p[i] == '^');
    bool is_in = false;
    size_t first;

    i += is_negated;
    first = i;
    while (i < pat.n && (pat.p[i] != ']' || i == first)) {
        ssize_t close = -1;
        char lo;

        if (pat.p[i] == '[' && i + 1 < pat.n && pat.p[i + 1] == ':')
            close = mu_str_find(mu_str_sub(pat, i + 2, pat.n), MU_S(":]"));
        if (close >= 0) {
            is_in |= in_class(mu_str_n(pat.p + i + 2, (size_t)close), c);
            i += (size_t)close + 4;
            continue;
        }
        lo = bracket_char(pat, &i);
        if (i + 1 < pat.n && pat.p[i] == '-' && pat.p[i + 1] != ']') {
            i++;
            is_in |= is_between(c, lo, bracket_char(pat, &i));
        } else {
            is_in |= c == lo;
        }
    }
    if (i >= pat.n)
        return -1;
    *k = i + 1;
    return is_in != is_negated;
}

/* Match one byte against the pattern item at *k and move behind the item. */
static bool match_one(struct mu_str pat, size_t *k, char c, bool pathname)
{
    size_t i = *k;
    int in;

    switch (pat.p[i]) {
    case '?':
        *k = i + 1;
        return !(pathname && c == '/');
    case '[':
        i++;
        in = match_bracket(pat, &i, c);
        if (in >= 0) {
            *k = i;
            return in && !(pathname && c == '/');
        }
        break;
    case '\\':
        if (i + 1 < pat.n) {
            *k = i + 2;
            return pat.p[i + 1] == c;
        }
        break;
    default:
        break;
    }
    *k += 1;
    return pat.p[*k - 1] == c;
}

bool mu_str_fnmatch(struct mu_str s, struct mu_str pattern, bool pathname)
{
    size_t i = 0;
    size_t k = 0;
    size_t star = SIZE_MAX;
    size_t star_i = 0;

    while (i < s.n) {
        if (k < pattern.n && pattern.p[k] == '*') {
            star = ++k;
            star_i = i;
        } else if (k < pattern.n && match_one(pattern, &k, s.p[i], pathname)) {
            i++;
        } else if (star != SIZE_MAX && !(pathname && s.p[star_i] == '/')) {
            k = star;
            i = ++star_i;
        } else {
            return false;
        }
    }
    while (k < pattern.n && pattern.p[k] == '*')
        k++;
    return k == pattern.n;
}
