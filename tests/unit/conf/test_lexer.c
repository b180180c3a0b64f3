/*
 * test_lexer: logical lines and words, row by row as httpd 2.4.71 takes them; and the edit distance
 * that the nearest names are made of.
 */
#include "conf/lexer.h"
#include "conf_test.h"

/* Lines are shown as "number:text|"; a line that cannot be used as "number!". */
static void show_lines(struct mu_str text, struct mu_buf *out)
{
    struct mu_lines l;
    struct mu_str line;
    unsigned first;
    enum mu_rc rc;

    mu_lines_init(&l, text);
    while ((rc = mu_lines_next(&l, &line, &first)) != MU_EOF)
        mu_buf_addf(out, "%u%s%.*s|", first, rc == MU_OK ? ":" : "!", rc == MU_OK ? (int)line.n : 0,
                    line.p);
    mu_lines_fini(&l);
}

static void test_lines(void **state)
{
    static const struct {
        int row;
        struct mu_str text;
        const char *want;
    } rows[] = {
        { __LINE__, MU_S(""), "" },
        { __LINE__, MU_S("\n\n \t\n"), "" },
        { __LINE__, MU_S("a b\n"), "1:a b|" },
        { __LINE__, MU_S("a"), "1:a|" },
        { __LINE__, MU_S("  a  \r\n\tb\r\n"), "1:a|2:b|" },
        { __LINE__, MU_S("# c\na # not a comment\n  # c\n"), "2:a # not a comment|" },
        { __LINE__, MU_S("a \\\n  b \\\nc\nd"), "1:a   b c|4:d|" },
        { __LINE__, MU_S("a \\\r\nb\r\n"), "1:a b|" },
        { __LINE__, MU_S("a\\\\\nb\n"), "1:a\\b|" },
        { __LINE__, MU_S("a\\ \nb\n"), "1:a\\|2:b|" },
        { __LINE__, MU_S("a\\\n"), "1:a|" },
        { __LINE__, MU_S("a\\"), "1:a\\|" },
        { __LINE__, MU_S("# comment \\\ngoes on\nb\n"), "3:b|" },
        { __LINE__, MU_S("\\\n# a comment as well\nb\n"), "3:b|" },
        { __LINE__,
          MU_S("\xef\xbb\xbf"
               "a\n"),
          "1:a|" },
        { __LINE__,
          MU_S("a\n\xef\xbb\xbf"
               "b\n"),
          "1:a|2:\xef\xbb\xbf"
          "b|" },
        { __LINE__, MU_S("a\0b\nc\n"), "1!|2:c|" },
        { __LINE__, MU_S("a\rb\n"), "1:a\rb|" },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_buf out = { 0 };

        show_lines(rows[i].text, &out);
        check_str(rows[i].row, mu_buf_str(&out), mu_str_c(rows[i].want));
        mu_buf_fini(&out);
    }
}

/* A line may be long, but not endless; the next one is read as if nothing had been. */
static void test_long_lines(void **state)
{
    struct mu_buf text = { 0 };
    struct mu_lines l;
    struct mu_str line;
    unsigned first;

    (void)state;
    for (size_t i = 0; i < 100000; i++)
        mu_buf_add(&text, MU_S("0123456789 \\\n"));
    mu_buf_add(&text, MU_S("end\n"));
    mu_lines_init(&l, mu_buf_str(&text));
    assert_int_equal(mu_lines_next(&l, &line, &first), MU_OK);
    assert_int_equal(line.n, 100000 * 11 + 3);
    assert_int_equal(mu_lines_next(&l, &line, &first), MU_EOF);
    mu_lines_fini(&l);

    text.n = 0;
    assert_true(mu_buf_reserve(&text, MU_LINE_MAX + 10));
    memset(text.p, 'x', MU_LINE_MAX + 1);
    text.n = MU_LINE_MAX + 1;
    mu_buf_add(&text, MU_S("\nnext\n"));
    mu_lines_init(&l, mu_buf_str(&text));
    assert_int_equal(mu_lines_next(&l, &line, &first), MU_LIMIT);
    assert_int_equal(mu_lines_next(&l, &line, &first), MU_OK);
    check_str(__LINE__, line, MU_S("next"));
    check_int(__LINE__, first, 2);
    mu_lines_fini(&l);
    mu_buf_fini(&text);
}

static void test_words(void **state)
{
    static const struct {
        int row;
        const char *text, *want; /* words in brackets */
    } rows[] = {
        { __LINE__, "", "" },
        { __LINE__, "   ", "" },
        { __LINE__, "a", "[a]" },
        { __LINE__, " a  b\tc ", "[a][b][c]" },
        { __LINE__, "\"a b\" c", "[a b][c]" },
        { __LINE__, "'a b' c", "[a b][c]" },
        { __LINE__, "\"\" ''", "[][]" },
        { __LINE__, "\"a\\\"b\"", "[a\"b]" },
        { __LINE__, "'a\\'b'", "[a'b]" },
        { __LINE__, "\"a\\'b\"", "[a\\'b]" },
        { __LINE__, "\"a\\\\\" b", "[a\\][b]" },
        { __LINE__, "\"a\\b\"", "[a\\b]" },
        { __LINE__, "a\\\\b", "[a\\b]" },
        { __LINE__, "a\\ b", "[a\\][b]" },
        { __LINE__, "\"a\"b", "[a][b]" },
        { __LINE__, "a\"b c\"", "[a\"b][c\"]" },
        { __LINE__, "\"open to the end", "[open to the end]" },
        { __LINE__, "\"", "[]" },
        { __LINE__, "\"a\\", "[a\\]" },
        { __LINE__, "a#b #c", "[a#b][#c]" },
    };
    struct mu_arena *a = mu_arena_create(0);

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_buf out = { 0 };
        struct mu_strs w;

        assert_int_equal(mu_words(a, mu_str_c(rows[i].text), &w), MU_OK);
        for (size_t k = 0; k < w.n; k++) {
            mu_buf_addf(&out, "[%.*s]", MU_FMT(w.v[k]));
            assert_int_equal(w.v[k].p[w.v[k].n], '\0');
        }
        check_str(rows[i].row, mu_buf_str(&out), mu_str_c(rows[i].want));
        mu_buf_fini(&out);
    }
    mu_arena_destroy(a);
}

static void test_distance(void **state)
{
    static const struct {
        int row;
        const char *a, *b;
        size_t limit, want;
    } rows[] = {
        { __LINE__, "abc", "abc", 3, 0 },
        { __LINE__, "abc", "ABC", 3, 0 },
        { __LINE__, "DocumentRot", "DocumentRoot", 3, 1 },
        { __LINE__, "DocumentRoto", "DocumentRoot", 3, 1 }, /* a swap is one step */
        { __LINE__, "kitten", "sitting", 5, 3 },
        { __LINE__, "abc", "xyz", 1, 2 },
        { __LINE__, "", "abc", 3, 3 },
        { __LINE__, "", "abc", 2, 3 },
    };
    char text[66];
    struct mu_str too_long = { text, sizeof(text) };

    (void)state;
    memset(text, 'x', sizeof(text));
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_str x = mu_str_c(rows[i].a);
        struct mu_str y = mu_str_c(rows[i].b);

        check_int(rows[i].row, (long long)mu_edit_distance(x, y, rows[i].limit),
                  (long long)rows[i].want);
        check_int(rows[i].row, (long long)mu_edit_distance(y, x, rows[i].limit),
                  (long long)rows[i].want);
    }
    assert_int_equal(mu_edit_distance(too_long, too_long, 4), 5);
}

static void test_httpd_tables(void **state)
{
    (void)state;
    assert_string_equal(mu_httpd_directive_find(MU_S("rewriteengine"))->name, "rewrite");
    assert_string_equal(mu_httpd_directive_find(MU_S("SSLEngine"))->name, "ssl");
    assert_string_equal(mu_httpd_module_find(MU_S("php7"))->name, "php");
    assert_null(mu_httpd_directive_find(MU_S("")));
    assert_null(mu_httpd_directive_find(MU_S("NoSuchThing")));
    assert_null(mu_httpd_module_find(MU_S("no_such_thing")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_words),        cmocka_unit_test(test_distance),
        cmocka_unit_test(test_httpd_tables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
