/*
 * Buffers and vectors: growth, escaping, a failed allocation that is remembered, and the map.
 */
#include "unit.h"

#include <muster/buf.h>
#include <muster/map.h>

#include "base/fault.h"

static void test_buf_grows(void **state)
{
    struct mu_buf b = { 0 };

    (void)state;
    for (int i = 0; i < 1000; i++) {
        mu_buf_add(&b, MU_S("ab"));
        mu_buf_addc(&b, 'c');
        mu_buf_addf(&b, "%03d", i);
    }
    assert_false(b.is_failed);
    assert_int_equal(b.n, 6000);
    for (size_t i = 0; i < 1000; i++) {
        char want[16];

        snprintf(want, sizeof(want), "abc%03zu", i);
        assert_memory_equal(b.p + 6 * i, want, 6);
    }
    mu_buf_consume(&b, 5994);
    check_str(__LINE__, mu_buf_str(&b), MU_S("abc999"));
    mu_buf_consume(&b, 0);
    mu_buf_consume(&b, 100);
    assert_int_equal(b.n, 0);
    mu_buf_addf(&b, "%500s", "x");
    assert_int_equal(b.n, 500);
    mu_buf_fini(&b);
    assert_null(b.p);
}

static void test_buf_remembers_failure(void **state)
{
    struct mu_buf b = { 0 };

    (void)state;
    mu_buf_add(&b, MU_S("kept"));
    mu_alloc_fail_after(0);
    mu_buf_addf(&b, "%300s", "x");
    mu_alloc_fail_after(-1);
    assert_true(b.is_failed);
    mu_buf_add(&b, MU_S("not added"));
    mu_buf_addc(&b, 'x');
    mu_buf_addf(&b, "x");
    check_str(__LINE__, mu_buf_str(&b), MU_S("kept"));
    mu_buf_fini(&b);
    assert_false(mu_buf_reserve(&b, SIZE_MAX));
    assert_true(b.is_failed);
    mu_buf_fini(&b);
}

static void test_escapes(void **state)
{
    static const struct {
        int line;
        struct mu_str in, html, text, uri;
    } rows[] = {
        { __LINE__, MU_S(""), MU_S(""), MU_S(""), MU_S("") },
        { __LINE__, MU_S("<a href=\"x\">&'"), MU_S("&lt;a href=&quot;x&quot;&gt;&amp;'"),
          MU_S("&lt;a href=\"x\"&gt;&amp;'"), MU_S("%3ca%20href=%22x%22%3e&'") },
        { __LINE__, MU_S("/a b/~u/$-_.+!*'(),:@&="), MU_S("/a b/~u/$-_.+!*'(),:@&amp;="),
          MU_S("/a b/~u/$-_.+!*'(),:@&amp;="), MU_S("/a%20b/~u/$-_.+!*'(),:@&=") },
        { __LINE__, MU_S("a?b#c%d;"), MU_S("a?b#c%d;"), MU_S("a?b#c%d;"), MU_S("a%3fb%23c%25d;") },
        { __LINE__, MU_S("\xc3\xa4\0z"), MU_S("\xc3\xa4\0z"), MU_S("\xc3\xa4\0z"),
          MU_S("%c3%a4%00z") },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_buf b = { 0 };

        mu_buf_add_html(&b, rows[i].in);
        check_str(rows[i].line, mu_buf_str(&b), rows[i].html);
        mu_buf_consume(&b, b.n);
        mu_buf_add_html_text(&b, rows[i].in);
        check_str(rows[i].line, mu_buf_str(&b), rows[i].text);
        mu_buf_consume(&b, b.n);
        mu_buf_add_uri(&b, rows[i].in);
        check_str(rows[i].line, mu_buf_str(&b), rows[i].uri);
        mu_buf_fini(&b);
    }
}

static void test_vec(void **state)
{
    struct mu_arena *a = mu_arena_create(64);
    struct mu_vec v = { 0 };
    size_t n = 0;

    (void)state;
    for (; n < 300; n++)
        assert_int_equal(mu_vec_push(a, &v, (void *)(n * 16)), MU_OK);
    for (size_t i = 0; i < n; i++)
        assert_ptr_equal(v.v[i], (void *)(i * 16));
    mu_alloc_fail_after(0);
    while (mu_vec_push(a, &v, NULL) == MU_OK)
        n++;
    mu_alloc_fail_after(-1);
    assert_int_equal(v.n, n);
    mu_arena_destroy(a);
}

static void test_map(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_map *m = mu_map_create(a, false);
    struct mu_map *folded = mu_map_create(a, true);
    static char values[1000];
    struct mu_str key;
    void *value;
    size_t it = 0;
    size_t n = 0;

    (void)state;
    assert_null(mu_map_get(m, MU_S("x")));
    assert_null(mu_map_remove(m, MU_S("x")));
    for (int i = 0; i < 1000; i++)
        assert_int_equal(mu_map_set(m, mu_fmt(a, "Key%d", i), &values[i]), MU_OK);
    assert_int_equal(mu_map_len(m), 1000);
    for (int i = 0; i < 1000; i++)
        assert_ptr_equal(mu_map_get(m, mu_fmt(a, "Key%d", i)), &values[i]);
    assert_null(mu_map_get(m, MU_S("key1")));
    assert_null(mu_map_get(m, MU_S("")));

    for (int i = 0; i < 1000; i += 2)
        assert_ptr_equal(mu_map_remove(m, mu_fmt(a, "Key%d", i)), &values[i]);
    assert_int_equal(mu_map_len(m), 500);
    assert_null(mu_map_get(m, MU_S("Key2")));
    while (mu_map_next(m, &it, &key, &value)) {
        check_str(__LINE__, key, mu_fmt(a, "Key%zu", 2 * n + 1));
        assert_ptr_equal(value, &values[2 * n + 1]);
        n++;
    }
    assert_int_equal(n, 500);

    /* A key that comes back stands at the end; a replaced one stays where it is. */
    assert_int_equal(mu_map_set(m, MU_S("Key2"), &values[7]), MU_OK);
    assert_int_equal(mu_map_set(m, MU_S("Key1"), NULL), MU_OK);
    it = 0;
    assert_true(mu_map_next(m, &it, &key, &value));
    check_str(__LINE__, key, MU_S("Key1"));
    assert_null(value);
    while (mu_map_next(m, &it, &key, &value))
        ;
    check_str(__LINE__, key, MU_S("Key2"));
    assert_int_equal(mu_map_len(m), 501);

    assert_int_equal(mu_map_set(folded, MU_S("Content-Type"), &values[1]), MU_OK);
    assert_int_equal(mu_map_set(folded, MU_S("CONTENT-TYPE"), &values[2]), MU_OK);
    assert_ptr_equal(mu_map_get(folded, MU_S("content-type")), &values[2]);
    assert_int_equal(mu_map_len(folded), 1);
    mu_arena_destroy(a);
}

/* Adding and removing for ever must not grow the map for ever. */
static void test_map_reuses_dead_rows(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_map *m = mu_map_create(a, false);
    char keys[64][8];
    size_t used;

    (void)state;
    for (size_t i = 0; i < 64; i++)
        snprintf(keys[i], sizeof(keys[i]), "k%zu", i);
    used = mu_arena_used(a);
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(mu_map_set(m, mu_str_c(keys[i % 64]), keys), MU_OK);
        assert_ptr_equal(mu_map_remove(m, mu_str_c(keys[i % 64])), keys);
    }
    assert_int_equal(mu_map_len(m), 0);
    assert_true(mu_arena_used(a) - used < 32 * 1024);
    mu_arena_destroy(a);
}

static void test_map_out_of_memory(void **state)
{
    struct mu_arena *a = mu_arena_create(64);
    struct mu_map *m = mu_map_create(a, false);
    char keys[100][8];
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < 100; i++)
        snprintf(keys[i], sizeof(keys[i]), "k%zu", i);
    mu_alloc_fail_after(3);
    while (n < 100 && mu_map_set(m, mu_str_c(keys[n]), keys[n]) == MU_OK)
        n++;
    mu_alloc_fail_after(-1);
    assert_in_range(n, 1, 99);
    assert_int_equal(mu_map_len(m), n);
    for (size_t i = 0; i < n; i++)
        assert_ptr_equal(mu_map_get(m, mu_str_c(keys[i])), keys[i]);
    assert_int_equal(mu_map_set(m, mu_str_c(keys[n]), keys[n]), MU_OK);
    mu_arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_grows),
        cmocka_unit_test(test_buf_remembers_failure),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_vec),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_map_reuses_dead_rows),
        cmocka_unit_test(test_map_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
