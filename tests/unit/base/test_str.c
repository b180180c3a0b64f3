/*
 * Borrowed strings: comparison with and without case, searches, numbers, hashes, and the two
 * pattern languages.
 */
#include "unit.h"

#include <muster/list.h>

#include <stdlib.h>

static void test_ieq_folds_ascii_only(void **state)
{
    char a[256];
    char b[256];

    (void)state;
    /* Every byte against every byte, at every place of an eight byte word and of its tail. */
    for (int x = 0; x < 256; x++) {
        for (int y = 0; y < 256; y++) {
            bool want = mu_lower((char)x) == mu_lower((char)y);

            memset(a, 'k', 21);
            memset(b, 'K', 21);
            for (size_t at = 0; at < 21; at += 4) {
                a[at] = (char)x;
                b[at] = (char)y;
                if (mu_str_ieq(mu_str_n(a, 21), mu_str_n(b, 21)) != want)
                    fail_msg("bytes %02x and %02x at %zu", x, y, at);
                a[at] = b[at] = 'q';
            }
        }
    }
    assert_false(mu_str_ieq(MU_S("a"), MU_S("ab")));
    assert_true(mu_str_ieq(MU_STR_NULL, MU_S("")));
    assert_false(mu_str_ieq(MU_S("@"), MU_S("`")));
    assert_false(mu_str_ieq(MU_S("[12345678"), MU_S("{12345678")));
}

static int sign(int v)
{
    return (v > 0) - (v < 0);
}

static void test_cmp(void **state)
{
    static const struct {
        int line;
        struct mu_str a, b;
        int cmp, icmp;
    } rows[] = {
        { __LINE__, MU_S(""), MU_S(""), 0, 0 },
        { __LINE__, { NULL, 0 }, MU_S("a"), -1, -1 },
        { __LINE__, MU_S("a"), MU_S("b"), -1, -1 },
        { __LINE__, MU_S("b"), MU_S("A"), 1, 1 },
        { __LINE__, MU_S("a"), MU_S("A"), 1, 0 },
        { __LINE__, MU_S("ab"), MU_S("a"), 1, 1 },
        { __LINE__, MU_S("\xff"), MU_S("a"), 1, 1 },
        { __LINE__, MU_S("a\0b"), MU_S("a\0c"), -1, -1 },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        check_int(rows[i].line, sign(mu_str_cmp(rows[i].a, rows[i].b)), rows[i].cmp);
        check_int(rows[i].line, sign(mu_str_cmp(rows[i].b, rows[i].a)), -rows[i].cmp);
        check_int(rows[i].line, sign(mu_str_icmp(rows[i].a, rows[i].b)), rows[i].icmp);
        check_int(rows[i].line, sign(mu_str_icmp(rows[i].b, rows[i].a)), -rows[i].icmp);
    }
}

static void test_find(void **state)
{
    struct mu_str s = MU_S("/a/b.c/d.e");

    (void)state;
    assert_int_equal(mu_str_chr(s, '/'), 0);
    assert_int_equal(mu_str_rchr(s, '/'), 6);
    assert_int_equal(mu_str_chr(s, 'z'), -1);
    assert_int_equal(mu_str_rchr(MU_STR_NULL, 'z'), -1);
    assert_int_equal(mu_str_chr(MU_STR_NULL, 'z'), -1);
    assert_int_equal(mu_str_find(s, MU_S("/d")), 6);
    assert_int_equal(mu_str_find(s, MU_S("/x")), -1);
    assert_int_equal(mu_str_find(s, MU_S("")), 0);
    assert_int_equal(mu_str_find(MU_STR_NULL, MU_S("x")), -1);
    assert_true(mu_str_starts(s, MU_S("/a")));
    assert_false(mu_str_starts(MU_S("/"), MU_S("/a")));
    assert_true(mu_str_starts(MU_STR_NULL, MU_STR_NULL));
    assert_true(mu_str_istarts(MU_S("HTTP://x"), MU_S("http://")));
    assert_true(mu_str_ends(s, MU_S(".e")));
    assert_false(mu_str_ends(MU_S("e"), MU_S(".e")));
    check_str(__LINE__, mu_str_sub(s, 1, 2), MU_S("a"));
    check_str(__LINE__, mu_str_sub(s, 8, 99), MU_S(".e"));
    check_str(__LINE__, mu_str_sub(s, 99, 2), MU_S(""));
    check_str(__LINE__, mu_str_trim(MU_S(" \t\r\n x y \v\f")), MU_S("x y"));
    check_str(__LINE__, mu_str_trim(MU_S("  ")), MU_S(""));
}

static void test_split(void **state)
{
    struct mu_str rest = MU_S("a,,b,");
    struct mu_str piece;

    (void)state;
    assert_true(mu_str_split(&rest, ',', &piece));
    check_str(__LINE__, piece, MU_S("a"));
    assert_true(mu_str_split(&rest, ',', &piece));
    check_str(__LINE__, piece, MU_S(""));
    assert_true(mu_str_split(&rest, ',', &piece));
    check_str(__LINE__, piece, MU_S("b"));
    assert_true(mu_str_split(&rest, ',', &piece));
    check_str(__LINE__, piece, MU_S(""));
    assert_false(mu_str_split(&rest, ',', &piece));
    assert_false(mu_str_split(&rest, ',', &piece));
}

static void test_numbers(void **state)
{
    static const struct {
        int line;
        struct mu_str text;
        bool is_u, is_i;
        uint64_t u;
        int64_t i;
    } rows[] = {
        { __LINE__, MU_S("0"), true, true, 0, 0 },
        { __LINE__, MU_S("007"), true, true, 7, 7 },
        { __LINE__, MU_S("18446744073709551615"), true, false, UINT64_MAX, 0 },
        { __LINE__, MU_S("18446744073709551616"), false, false, 0, 0 },
        { __LINE__, MU_S("99999999999999999999"), false, false, 0, 0 },
        { __LINE__, MU_S("9223372036854775807"), true, true, INT64_MAX, INT64_MAX },
        { __LINE__, MU_S("9223372036854775808"), true, false, (uint64_t)INT64_MAX + 1, 0 },
        { __LINE__, MU_S("-9223372036854775808"), false, true, 0, INT64_MIN },
        { __LINE__, MU_S("-9223372036854775809"), false, false, 0, 0 },
        { __LINE__, MU_S("+5"), false, true, 0, 5 },
        { __LINE__, MU_S("-5"), false, true, 0, -5 },
        { __LINE__, MU_S(""), false, false, 0, 0 },
        { __LINE__, MU_S("-"), false, false, 0, 0 },
        { __LINE__, MU_S("--5"), false, false, 0, 0 },
        { __LINE__, MU_S(" 5"), false, false, 0, 0 },
        { __LINE__, MU_S("5 "), false, false, 0, 0 },
        { __LINE__, MU_S("0x5"), false, false, 0, 0 },
        { __LINE__, MU_S("5\0"), false, false, 0, 0 },
        { __LINE__, MU_S("/"), false, false, 0, 0 },
        { __LINE__, MU_S(":"), false, false, 0, 0 },
        { __LINE__, { NULL, 0 }, false, false, 0, 0 },
    };

    (void)state;
    for (size_t k = 0; k < MU_ARRAY_LEN(rows); k++) {
        uint64_t u = 0;
        int64_t i = 0;

        check_int(rows[k].line, mu_str_u64(rows[k].text, &u), rows[k].is_u);
        check_int(rows[k].line, mu_str_i64(rows[k].text, &i), rows[k].is_i);
        check_int(rows[k].line, u == rows[k].u, true);
        check_int(rows[k].line, i == rows[k].i, true);
    }
}

static void test_dec(void **state)
{
    static const uint64_t v[] = { 0,     1,     9,        10,         99,        100,
                                  12345, 99999, 10000000, 4294967296, UINT64_MAX };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(v); i++) {
        char want[32];
        char got[20];
        size_t n = mu_u64_dec(v[i], got);

        snprintf(want, sizeof(want), "%llu", (unsigned long long)v[i]);
        check_str(__LINE__, mu_str_n(got, n), mu_str_c(want));
    }
    assert_int_equal(mu_hex('0'), 0);
    assert_int_equal(mu_hex('f'), 15);
    assert_int_equal(mu_hex('F'), 15);
    assert_int_equal(mu_hex('g'), -1);
    assert_int_equal(mu_hex('@'), -1);
    assert_int_equal(mu_hex('\0'), -1);
}

static void test_hash(void **state)
{
    char text[64];
    size_t buckets[256] = { 0 };

    (void)state;
    for (size_t n = 0; n < sizeof(text); n++) {
        for (size_t i = 0; i < n; i++)
            text[i] = (char)('A' + i % 26);
        char *exact = malloc(n ? n : 1); /* reading past the end is an error under ASan */

        assert_non_null(exact);
        memcpy(exact, text, n);
        assert_true(mu_str_hash(mu_str_n(exact, n)) == mu_str_hash(mu_str_n(text, n)));
        for (size_t i = 0; i < n; i++)
            exact[i] = mu_lower(exact[i]);
        assert_true(mu_str_ihash(mu_str_n(exact, n)) == mu_str_ihash(mu_str_n(text, n)));
        if (n)
            assert_false(mu_str_hash(mu_str_n(exact, n)) == mu_str_hash(mu_str_n(text, n)));
        free(exact);
    }
    assert_false(mu_str_hash(MU_S("a")) == mu_str_hash(MU_S("a\0")));
    for (unsigned i = 0; i < 256 * 64; i++) {
        int n = snprintf(text, sizeof(text), "/path/to/file%u", i);

        buckets[mu_str_hash(mu_str_n(text, (size_t)n)) % 256]++;
    }
    for (size_t i = 0; i < 256; i++) /* 64 expected; ten standard deviations are 80 */
        assert_in_range(buckets[i], 1, 144);
}

static void test_wild(void **state)
{
    static const struct {
        int line;
        const char *s, *pattern;
        bool want, want_icase;
    } rows[] = {
        { __LINE__, "", "", true, true },
        { __LINE__, "", "*", true, true },
        { __LINE__, "", "?", false, false },
        { __LINE__, "a", "", false, false },
        { __LINE__, "www.example.com", "*.example.com", true, true },
        { __LINE__, "WWW.Example.COM", "*.example.com", false, true },
        { __LINE__, "example.com", "*.example.com", false, false },
        { __LINE__, "abc", "a?c", true, true },
        { __LINE__, "abc", "a*", true, true },
        { __LINE__, "abc", "*c", true, true },
        { __LINE__, "abcbc", "a*bc", true, true },
        { __LINE__, "abcbd", "a*bc", false, false },
        { __LINE__, "a/b", "a*b", true, true },
        { __LINE__, "abc", "abc*****", true, true },
        { __LINE__, "abc", "***abc", true, true },
        { __LINE__, "abc", "a**?", true, true },
        { __LINE__, "abc", "????", false, false },
        { __LINE__, "a*", "a\\*", false, false }, /* no escapes in this language */
        { __LINE__, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
          "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*c", false, false },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_str s = mu_str_c(rows[i].s);
        struct mu_str p = mu_str_c(rows[i].pattern);

        check_int(rows[i].line, mu_str_wild(s, p, false), rows[i].want);
        check_int(rows[i].line, mu_str_wild(s, p, true), rows[i].want_icase);
    }
}

static void test_fnmatch(void **state)
{
    static const struct {
        int line;
        const char *s, *pattern;
        bool want, want_pathname;
    } rows[] = {
        { __LINE__, "", "", true, true },
        { __LINE__, "/a/b", "/*/b", true, true },
        { __LINE__, "/a/b/c", "/*/c", true, false },
        { __LINE__, "/a/b/c", "/*", true, false },
        { __LINE__, "/home/joe/public_html", "/home/*/public_html", true, true },
        { __LINE__, "/home/joe/x/public_html", "/home/*/public_html", true, false },
        { __LINE__, "/a", "?a", true, false },
        { __LINE__, "/a", "[/]a", true, false },
        { __LINE__, "a1", "a[0-9]", true, true },
        { __LINE__, "ax", "a[0-9]", false, false },
        { __LINE__, "ax", "a[!0-9]", true, true },
        { __LINE__, "ax", "a[^0-9]", true, true },
        { __LINE__, "a/", "a[!0-9]", true, false },
        { __LINE__, "a]", "a[]]", true, true },
        { __LINE__, "a-", "a[a-]", true, true },
        { __LINE__, "a]", "a[\\]]", true, true },
        { __LINE__, "ab", "a[b", false, false },
        { __LINE__, "a[b", "a[b", true, true },
        { __LINE__, "a*", "a\\*", true, true },
        { __LINE__, "ab", "a\\*", false, false },
        { __LINE__, "a\\", "a\\", true, true },
        { __LINE__, "aZ9", "a[[:upper:]][[:digit:]]", true, true },
        { __LINE__, "az9", "a[[:upper:]][[:digit:]]", false, false },
        { __LINE__, "a b", "a[[:space:]x]b", true, true },
        { __LINE__, "a[b", "a[[:]b", true, true },
        { __LINE__, ".htaccess", ".ht*", true, true },
        { __LINE__, "file.html~", "*~", true, true },
        { __LINE__, "x.bak", "*.ba[ck]", true, true },
        { __LINE__, "/a/xb/cy", "/*/*b/c*", true, true },
        { __LINE__, "abcabd", "*abd", true, true },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_str s = mu_str_c(rows[i].s);
        struct mu_str p = mu_str_c(rows[i].pattern);

        check_int(rows[i].line, mu_str_fnmatch(s, p, false), rows[i].want);
        check_int(rows[i].line, mu_str_fnmatch(s, p, true), rows[i].want_pathname);
    }
}

struct item {
    struct mu_list node;
    char name;
};

static struct mu_str names_of(struct mu_list *head, char *buf)
{
    size_t n = 0;

    MU_LIST_FOR(pos, head)
        buf[n++] = MU_CONTAINER_OF(pos, struct item, node)->name;
    return mu_str_n(buf, n);
}

static void test_list(void **state)
{
    struct mu_list head;
    struct item v[3] = { { .name = 'a' }, { .name = 'b' }, { .name = 'c' } };
    char buf[8];

    (void)state;
    mu_list_init(&head);
    assert_true(mu_list_empty(&head));
    assert_null(mu_list_first(&head));
    mu_list_append(&head, &v[1].node);
    mu_list_append(&head, &v[2].node);
    mu_list_prepend(&head, &v[0].node);
    check_str(__LINE__, names_of(&head, buf), MU_S("abc"));
    assert_ptr_equal(mu_list_first(&head), &v[0].node);
    mu_list_remove(&v[1].node);
    mu_list_remove(&v[1].node);
    check_str(__LINE__, names_of(&head, buf), MU_S("ac"));
    mu_list_insert_before(&v[2].node, &v[1].node);
    check_str(__LINE__, names_of(&head, buf), MU_S("abc"));
    MU_LIST_FOR_SAFE(pos, &head)
        mu_list_remove(pos);
    assert_true(mu_list_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ieq_folds_ascii_only),
        cmocka_unit_test(test_cmp),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_dec),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_wild),
        cmocka_unit_test(test_fnmatch),
        cmocka_unit_test(test_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
