/* The order of a listing: the way up first, folders if so wished, then the column asked for, then the name.
 *
 * VersionSort compares runs of digits as numbers ("file9" before "file10"); digits behind a zero are a fraction and
 * are compared from the left. Bytes above 127 count as negative there, as in httpd on the usual machines.
 */
#include "autoindex.h"

#include <stdlib.h>

static int sign(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static signed char at(struct mu_str s, size_t i)
{
    return i < s.n ? (signed char)s.p[i] : 0;
}

static bool is_digit(signed char c)
{
    return c >= '0' && c <= '9';
}

static signed char upper(signed char c)
{
    return c >= 'a' && c <= 'z' ? (signed char)(c - 'a' + 'A') : c;
}

/* Two runs of digits that begin no fraction: the longer is the larger, of equal length the first difference decides. */
static int compare_numbers(struct mu_str a, struct mu_str b)
{
    int first_difference = 0;

    for (size_t i = 0;; i++) {
        bool has_a = is_digit(at(a, i)), has_b = is_digit(at(b, i));

        if (!has_a && !has_b)
            return first_difference;
        if (!has_a || !has_b)
            return has_a ? 1 : -1;
        if (!first_difference)
            first_difference = sign(at(a, i), at(b, i));
    }
}

static int compare_fractions(struct mu_str a, struct mu_str b)
{
    for (size_t i = 0;; i++) {
        bool has_a = is_digit(at(a, i)), has_b = is_digit(at(b, i));

        if (!has_a && !has_b)
            return 0;
        if (!has_a || !has_b)
            return has_a ? 1 : -1;
        if (at(a, i) != at(b, i))
            return sign(at(a, i), at(b, i));
    }
}

static struct mu_str skip_spaces(struct mu_str s)
{
    while (s.n && mu_is_space(s.p[0]))
        s = mu_str_sub(s, 1, s.n);
    return s;
}

static int compare_versions(struct mu_str a, struct mu_str b, bool folds_case)
{
    for (;;) {
        signed char ca, cb;
        int result;

        a = skip_spaces(a);
        b = skip_spaces(b);
        ca = at(a, 0);
        cb = at(b, 0);
        if (is_digit(ca) && is_digit(cb)) {
            result = ca == '0' || cb == '0' ? compare_fractions(a, b) : compare_numbers(a, b);
            if (result)
                return result;
        }
        if (!a.n && !b.n)
            return 0;
        if (folds_case) {
            ca = upper(ca);
            cb = upper(cb);
        }
        if (ca != cb)
            return sign(ca, cb);
        a = mu_str_sub(a, 1, a.n);
        b = mu_str_sub(b, 1, b.n);
    }
}

static int compare_names(const struct ai_listing *l, struct mu_str a, struct mu_str b)
{
    bool folds_case = l->opts & AI_IGNORE_CASE;
    int result = 0;

    if (l->opts & AI_VERSION_SORT) {
        if (folds_case)
            result = compare_versions(a, b, true);
        if (!result)
            result = compare_versions(a, b, false);
    }
    if (!result && folds_case)
        result = mu_str_icmp(a, b);
    return result ? result : mu_str_cmp(a, b);
}

static int compare_key(const struct ai_listing *l, const struct ai_entry *a,
                       const struct ai_entry *b)
{
    switch (l->key) {
    case 'M':
        return sign(a->mtime, b->mtime);
    case 'S':
        return sign(a->size, b->size);
    case 'D':
        return l->opts & AI_VERSION_SORT ? compare_versions(a->description, b->description, false)
                                         : mu_str_cmp(a->description, b->description);
    default:
        return 0;
    }
}

static int compare(const void *pa, const void *pb, void *arg)
{
    const struct ai_listing *l = arg;
    const struct ai_entry *a = *(struct ai_entry *const *)pa, *b = *(struct ai_entry *const *)pb;
    int result;

    if (a->is_parent != b->is_parent)
        return a->is_parent ? -1 : 1;
    if (a->goes_first != b->goes_first)
        return a->goes_first ? -1 : 1;
    if (l->direction == 'D') {
        const struct ai_entry *other = a;

        a = b;
        b = other;
    }
    result = compare_key(l, a, b);
    return result ? result : compare_names(l, a->name, b->name);
}

void ai_sort(struct ai_listing *l)
{
    if (l->entries.n)
        qsort_r(l->entries.v, l->entries.n, sizeof(*l->entries.v), compare, l);
}
