/* mod_autoindex's pure parts: order, patterns, queries. What it sends is compared with httpd's in tests/diff. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants those above first. */
#include <cmocka.h>

#include <autoindex/autoindex.h>

struct fixture {
    struct mu_req r;
    struct ai_conf c;
    struct ai_listing l;
};

static struct fixture *setup(void)
{
    struct mu_arena *a = mu_arena_create(0);
    struct fixture *f = mu_new(a, struct fixture);

    f->r.arena = a;
    ai_conf_init(&f->c);
    f->l.r = &f->r;
    f->l.c = &f->c;
    return f;
}

static void teardown(struct fixture *f)
{
    mu_arena_destroy(f->r.arena);
}

static void add(struct fixture *f, const char *name, int64_t size, int64_t mtime)
{
    struct ai_entry *e = mu_new(f->r.arena, struct ai_entry);

    *e = (struct ai_entry){ .name = mu_str_c(name), .size = size, .mtime = mtime };
    e->is_parent = name[0] == '/';
    e->goes_first = (f->l.opts & AI_FOLDERS_FIRST) && mu_str_ends(e->name, MU_S("/"));
    assert_int_equal(mu_vec_push(f->r.arena, &f->l.entries, e), MU_OK);
}

/* Names in the order of the listing, with a blank between them. */
static void check_order(int line, struct fixture *f, const char *want)
{
    struct mu_buf b = { 0 };

    ai_sort(&f->l);
    for (size_t i = 0; i < f->l.entries.n; i++) {
        const struct ai_entry *e = f->l.entries.v[i];

        mu_buf_addf(&b, "%s%.*s", i ? " " : "", MU_FMT(e->name));
    }
    mu_buf_addc(&b, '\0');
    if (strcmp(b.p, want) != 0)
        print_error("line %d:\n", line);
    assert_string_equal(b.p, want);
    mu_buf_fini(&b);
}

static void test_order_of_names(void **state)
{
    static const struct {
        int line;
        uint32_t opts;
        char direction;
        const char *names[8];
        const char *want;
    } rows[] = {
        { __LINE__, 0, 'A', { "b", "a", "C", "/up/", "a10", "a9" }, "/up/ C a a10 a9 b" },
        { __LINE__, 0, 'D', { "b", "a", "C", "/up/" }, "/up/ b a C" },
        { __LINE__, AI_IGNORE_CASE, 'A', { "b", "a", "C", "A", "_" }, "_ A a b C" },
        { __LINE__, AI_FOLDERS_FIRST, 'D', { "b", "a/", "c/", "z" }, "c/ a/ z b" },
        { __LINE__, AI_VERSION_SORT, 'A', { "a10", "a9", "a 11", "a1.2" }, "a1.2 a9 a10 a 11" },
        { __LINE__,
          AI_VERSION_SORT,
          'A',
          { "1.10", "1.9", "1.09", "1.090" },
          "1.09 1.090 1.9 1.10" },
        { __LINE__, AI_VERSION_SORT, 'A', { "a", "\xc3\xbc" }, "\xc3\xbc a" },
        { __LINE__, AI_VERSION_SORT | AI_IGNORE_CASE, 'A', { "B2", "b10", "B1" }, "B1 B2 b10" },
        { __LINE__, AI_VERSION_SORT, 'A', { "x01", "x1", "x001", "x" }, "x x001 x01 x1" },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct fixture *f = setup();

        f->l.opts = rows[i].opts;
        f->l.key = 'N';
        f->l.direction = rows[i].direction;
        for (size_t k = 0; rows[i].names[k]; k++)
            add(f, rows[i].names[k], 0, 0);
        check_order(rows[i].line, f, rows[i].want);
        teardown(f);
    }
}

static void test_order_of_columns(void **state)
{
    static const struct {
        int line;
        char key, direction;
        const char *want;
    } rows[] = {
        { __LINE__, 'S', 'A', "/ dir/ b c a" },
        { __LINE__, 'S', 'D', "/ a c b dir/" },
        { __LINE__, 'M', 'A', "/ c dir/ a b" },
        { __LINE__, 'D', 'A', "/ a b c dir/" },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct fixture *f = setup();

        f->l.key = rows[i].key;
        f->l.direction = rows[i].direction;
        add(f, "a", 30, 5);
        add(f, "b", 10, 5);
        add(f, "c", 20, 1);
        add(f, "dir/", -1, 2);
        add(f, "/", -1, -1);
        check_order(rows[i].line, f, rows[i].want);
        teardown(f);
    }
}

static void test_query(void **state)
{
    static const struct {
        int line;
        const char *query;
        char key, direction;
        uint32_t opts;
        const char *pattern, *args;
    } rows[] = {
        { __LINE__, NULL, 'N', 'A', AI_FANCY, NULL, "" },
        { __LINE__, "C=S;O=D", 'S', 'D', AI_FANCY, NULL, "" },
        { __LINE__, "C=S&O=D", 'S', 'D', AI_FANCY, NULL, "" },
        { __LINE__, "C=X;O=D", 'N', 'A', AI_FANCY, NULL, "" },
        { __LINE__, "O=D;C=", 'N', 'D', AI_FANCY, NULL, "" },
        { __LINE__, "C=S;;O=D", 'S', 'A', AI_FANCY, NULL, "" },
        { __LINE__, "F=2;V=1", 'N', 'A', AI_FANCY | AI_TABLE | AI_VERSION_SORT, NULL, ";F=2;V=1" },
        { __LINE__, "F=0", 'N', 'A', 0, NULL, ";F=0" },
        { __LINE__, "P=a*;C=M", 'M', 'A', AI_FANCY, "a*", ";P=a*" },
        { __LINE__, "P=%22%3c", 'N', 'A', AI_FANCY, "\"<", ";P=%22%3c" },
        { __LINE__, "P=%5c", 'N', 'A', AI_FANCY, "\\\\", ";P=%5c" },
        { __LINE__, "P=%2f;O=D", 'N', 'D', AI_FANCY, NULL, "" },
        { __LINE__, "P=%0;O=D", 'N', 'D', AI_FANCY, NULL, "" },
        { __LINE__, "P=%", 'N', 'A', AI_FANCY, NULL, "" },
        { __LINE__, "P=", 'N', 'A', AI_FANCY, NULL, "" },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct fixture *f = setup();

        f->c.opts = AI_FANCY;
        f->r.query = mu_str_c(rows[i].query);
        ai_query(&f->l);
        if (f->l.key != rows[i].key || f->l.direction != rows[i].direction ||
            f->l.opts != rows[i].opts || !mu_str_eq(f->l.pattern, mu_str_c(rows[i].pattern)) ||
            !mu_str_eq(f->l.column_args, mu_str_c(rows[i].args)))
            fail_msg("row at line %d: %c %c %x \"%.*s\" \"%.*s\"", rows[i].line, f->l.key,
                     f->l.direction, f->l.opts, MU_FMT(f->l.pattern), MU_FMT(f->l.column_args));
        teardown(f);
    }
}

static void test_the_client_is_ignored(void **state)
{
    struct fixture *f = setup();

    (void)state;
    f->c.opts = AI_IGNORE_CLIENT;
    f->c.key = 'M';
    f->r.query = MU_S("C=S;O=D;F=2");
    ai_query(&f->l);
    assert_int_equal(f->l.key, 'M');
    assert_int_equal(f->l.direction, 'A');
    assert_int_equal(f->l.opts, AI_IGNORE_CLIENT | AI_NO_COLUMN_SORT);
    teardown(f);
}

static void test_find(void **state)
{
    static const struct ai_item v[] = {
        { AI_BY_TYPE, { "text/*", 6 }, { "text", 4 } },
        { AI_BY_ENCODING, { "x-gzip", 6 }, { "packed", 6 } },
        { AI_BY_PATH, { "*.txt", 5 }, { "name", 4 } },
        { AI_BY_PATH, { "*^^DIRECTORY^^", 14 }, { "dir", 3 } },
        { AI_BY_PATH, { "*..", 3 }, { "up", 2 } },
    };
    static const struct ai_items items = { v, MU_ARRAY_LEN(v) };
    static const struct {
        int line;
        struct ai_subject s;
        const char *want;
    } rows[] = {
        { __LINE__, { { "/d/a.txt", 8 }, { "text/plain", 10 }, { NULL, 0 }, false }, "text" },
        { __LINE__,
          { { "/d/a.txt", 8 }, { "Text/HTML; charset=x", 20 }, { NULL, 0 }, false },
          "text" },
        { __LINE__, { { "/d/a.gz", 7 }, { "text/plain", 10 }, { "X-GZIP", 6 }, false }, "packed" },
        { __LINE__, { { "/d/a.txt", 8 }, { "text/plain", 10 }, { "br", 2 }, false }, "name" },
        { __LINE__, { { "/d/a.txt", 8 }, { "text/plain", 10 }, { NULL, 0 }, true }, "name" },
        { __LINE__, { { "^^DIRECTORY^^", 13 }, { NULL, 0 }, { NULL, 0 }, true }, "dir" },
        { __LINE__, { { "/d/..", 5 }, { NULL, 0 }, { NULL, 0 }, true }, "up" },
        { __LINE__, { { "/d/a", 4 }, { "image/png", 9 }, { NULL, 0 }, false }, NULL },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_str got = ai_find(&items, &rows[i].s);

        if (!mu_str_eq(got, mu_str_c(rows[i].want)))
            fail_msg("row at line %d: \"%.*s\"", rows[i].line, MU_FMT(got));
    }
}

static void test_query_pattern(void **state)
{
    (void)state;
    assert_true(ai_matches_query(MU_S("a.txt"), MU_STR_NULL));
    assert_true(ai_matches_query(MU_S("a.txt"), MU_S("*.t[wx]t")));
    assert_false(ai_matches_query(MU_S(".hidden"), MU_S("*")));
    assert_true(ai_matches_query(MU_S(".hidden"), MU_S(".*")));
    assert_false(ai_matches_query(MU_S("A"), MU_S("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_names), cmocka_unit_test(test_order_of_columns),
        cmocka_unit_test(test_query),          cmocka_unit_test(test_the_client_is_ignored),
        cmocka_unit_test(test_find),           cmocka_unit_test(test_query_pattern),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
