/*
 * Regular expressions: httpd's defaults, captures, names, substitution, limits on a small stack,
 * and threads that each bring their own tools.
 */
#include "unit.h"

#include <muster/regex.h>

#include <pthread.h>
#include <stdlib.h>

static struct mu_arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = mu_arena_create(0);
    return arena ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    mu_arena_destroy(arena);
    return 0;
}

static void test_match(void **state)
{
    static const struct {
        int line;
        const char *pattern;
        unsigned flags;
        struct mu_str subject;
        enum mu_rc rc;
        struct mu_str group1;
    } rows[] = {
        { __LINE__, "a(b*)c", 0, MU_S("xabbc"), MU_OK, MU_S("bb") },
        { __LINE__, "a(b*)c", 0, MU_S("xABBc"), MU_NOENT, { NULL, 0 } },
        { __LINE__, "a(b*)c", MU_REGEX_ICASE, MU_S("xABBc"), MU_OK, MU_S("BB") },
        { __LINE__, "^(.*)$", 0, MU_S("a\nb"), MU_OK, MU_S("a\nb") }, /* DOTALL is a default */
        { __LINE__, "^(.*)$", MU_REGEX_NO_DEFAULT, MU_S("a\nb"), MU_NOENT, { NULL, 0 } },
        { __LINE__, "(\\.php)$", 0, MU_S("x.php\n"), MU_NOENT, { NULL, 0 } }, /* DOLLAR_ENDONLY */
        { __LINE__, "(\\.php)$", MU_REGEX_NO_DEFAULT, MU_S("x.php\n"), MU_OK, MU_S(".php") },
        { __LINE__,
          "(\\.php)$",
          MU_REGEX_NO_DEFAULT | MU_REGEX_DOLLAR_ENDONLY,
          MU_S("x.php\n"),
          MU_NOENT,
          { NULL, 0 } },
        { __LINE__, "a (b)", MU_REGEX_EXTENDED, MU_S("ab"), MU_OK, MU_S("b") },
        { __LINE__, "()", 0, { NULL, 0 }, MU_OK, MU_S("") },
        { __LINE__, "(x)", 0, { NULL, 0 }, MU_NOENT, { NULL, 0 } },
        { __LINE__, "a\\x00(b)", 0, MU_S("a\0b"), MU_OK, MU_S("b") },
        { __LINE__, "(?!x)(y)", 0, MU_S("xy"), MU_OK, MU_S("y") },
        { __LINE__, "(\xc3\xa4)", 0, MU_S("\xc3\xa4"), MU_OK, MU_S("\xc3\xa4") },
        { __LINE__, "\\xff(.)", 0, MU_S("\xff\xfe"), MU_OK, MU_S("\xfe") },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_str err = MU_STR_NULL;
        struct mu_regex *re =
            mu_regex_compile(arena, mu_str_c(rows[i].pattern), rows[i].flags, &err);
        struct mu_match m;

        check_str(rows[i].line, err, MU_STR_NULL);
        check_int(rows[i].line, mu_regex_match(re, rows[i].subject, &m), rows[i].rc);
        check_int(rows[i].line, mu_regex_match(re, rows[i].subject, NULL), rows[i].rc);
        if (rows[i].rc != MU_OK)
            continue;
        check_str(rows[i].line, mu_str_sub(rows[i].subject, (size_t)m.g[1].so, (size_t)m.g[1].eo),
                  rows[i].group1);
    }
}

static void test_unset_and_many_groups(void **state)
{
    struct mu_str err;
    struct mu_match m;
    struct mu_regex *re = mu_regex_compile(arena, MU_S("(a)|(b)|(c)"), 0, &err);

    (void)state;
    assert_int_equal(mu_regex_match(re, MU_S("b"), &m), MU_OK);
    assert_int_equal(m.n, 3);
    assert_int_equal(m.g[0].so, 0);
    assert_int_equal(m.g[1].so, -1);
    assert_int_equal(m.g[1].eo, -1);
    assert_int_equal(m.g[2].so, 0);
    assert_int_equal(m.g[3].so, -1);
    assert_int_equal(m.g[9].so, -1);
    re = mu_regex_compile(arena, MU_S("(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)"), 0, &err);
    assert_int_equal(mu_regex_match(re, MU_S("abcdefghijkl"), &m), MU_OK);
    assert_int_equal(m.n, MU_REGEX_GROUPS);
    assert_int_equal(m.g[9].so, 8);
}

static void test_errors(void **state)
{
    struct mu_str err = MU_STR_NULL;

    (void)state;
    assert_null(mu_regex_compile(arena, MU_S("a(b"), 0, &err));
    assert_true(mu_str_find(err, MU_S("parenthesis")) >= 0);
    assert_true(mu_str_find(err, MU_S("offset 3")) >= 0);
    assert_null(mu_regex_compile(arena, MU_S("*"), 0, &err));
    assert_null(mu_regex_compile(arena, MU_S("["), 0, &err));
}

static void test_names(void **state)
{
    struct mu_str err;
    struct mu_regex *re =
        mu_regex_compile(arena, MU_S("(?<user>\\w+)/(?<page>\\w+)|(?<user>x)"), 0, &err);
    struct mu_str name;
    int group;

    (void)state;
    assert_non_null(re);
    assert_true(mu_regex_name(re, 0, &name, &group));
    check_str(__LINE__, name, MU_S("page"));
    assert_int_equal(group, 2);
    assert_true(mu_regex_name(re, 1, &name, &group));
    check_str(__LINE__, name, MU_S("user"));
    assert_int_equal(group, 1);
    assert_true(mu_regex_name(re, 2, &name, &group));
    check_str(__LINE__, name, MU_S("user")); /* names may be used twice, as in httpd */
    assert_int_equal(group, 3);
    assert_false(mu_regex_name(re, 3, &name, &group));
    re = mu_regex_compile(arena, MU_S("(a)"), 0, &err);
    assert_false(mu_regex_name(re, 0, &name, &group));
}

static void test_defaults(void **state)
{
    struct mu_str err;
    struct mu_regex *re;
    unsigned before = mu_regex_defaults();

    (void)state;
    assert_int_equal(before, MU_REGEX_DOTALL | MU_REGEX_DOLLAR_ENDONLY);
    mu_regex_set_defaults(MU_REGEX_ICASE);
    re = mu_regex_compile(arena, MU_S("^a.b$"), 0, &err);
    mu_regex_set_defaults(before);
    assert_int_equal(mu_regex_match(re, MU_S("AxB\n"), NULL), MU_OK);
    assert_int_equal(mu_regex_match(re, MU_S("A\nB"), NULL), MU_NOENT);
}

static void test_subst(void **state)
{
    static const struct {
        int line;
        const char *tmpl, *want;
    } rows[] = {
        { __LINE__, "", "" },
        { __LINE__, "x", "x" },
        { __LINE__, "$0", "/old/page" },
        { __LINE__, "/new/$1?from=$0", "/new/page?from=/old/page" },
        { __LINE__, "$1$1", "pagepage" },
        { __LINE__, "$2|$3|$9", "||" }, /* unset, and beyond the pattern's groups */
        { __LINE__, "a&b", "a&b" },
        { __LINE__, "\\$1", "$1" },
        { __LINE__, "\\&", "&" },
        { __LINE__, "\\\\$1", "\\page" },
        { __LINE__, "\\x$1", "xpage" },
        { __LINE__, "end\\", "end\\" },
        { __LINE__, "$", "$" },
        { __LINE__, "$x$1$", "$xpage$" },
        { __LINE__, "$10", "page0" },
    };
    struct mu_str err;
    struct mu_regex *re = mu_regex_compile(arena, MU_S("^/old/(\\w+)(x)?$"), 0, &err);
    struct mu_str subject = MU_S("/old/page");
    struct mu_match m;

    (void)state;
    assert_int_equal(mu_regex_match(re, subject, &m), MU_OK);
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_str got = mu_regex_subst(arena, mu_str_c(rows[i].tmpl), subject, &m);

        check_str(rows[i].line, got, mu_str_c(rows[i].want));
        check_int(rows[i].line, got.p[got.n], '\0');
    }
}

static struct mu_regex *slow;
static struct mu_regex *nested;
static struct mu_regex *simple;
static char *long_subject;
enum { LONG = 200000 };

/* What a fiber may do on its small stack. */
static void *match_on_small_stack(void *arg)
{
    struct mu_match m;

    (void)arg;
    if (mu_regex_match(slow, MU_S("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"), &m) != MU_LIMIT)
        return (void *)"a catastrophic pattern must hit a limit";
    /* Needs more than any JIT stack: the interpreter takes over, on the heap. */
    if (mu_regex_match(nested, mu_str_n(long_subject, LONG / 10), &m) != MU_OK)
        return (void *)"a long subject must match";
    for (int i = 0; i < 100; i++)
        if (mu_regex_match(simple, MU_S("GET /index.html"), &m) != MU_OK || m.g[1].so != 5)
            return (void *)"a simple match";
    return NULL;
}

static void test_limits_and_threads(void **state)
{
    struct mu_str err;
    pthread_attr_t attr;
    pthread_t threads[4];
    void *failure;

    (void)state;
    slow = mu_regex_compile(arena, MU_S("^(([a-z])+.)+[A-Z]([a-z])+$"), 0, &err);
    nested = mu_regex_compile(arena, MU_S("^(?:(a)|b)*$"), 0, &err);
    simple = mu_regex_compile(arena, MU_S("/(\\w+)\\.html"), 0, &err);
    long_subject = malloc(LONG);
    assert_non_null(long_subject);
    memset(long_subject, 'a', LONG);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 128 * 1024);
    for (size_t i = 0; i < MU_ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], &attr, match_on_small_stack, NULL), 0);
    for (size_t i = 0; i < MU_ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], &failure);
        if (failure)
            fail_msg("%s", (const char *)failure);
    }
    pthread_attr_destroy(&attr);
    free(long_subject);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_unset_and_many_groups),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_subst),
        cmocka_unit_test(test_limits_and_threads),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
