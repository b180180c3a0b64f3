/*
 * The header table: every id by every spelling, near misses, and what set, merge and unset do to
 * order and to the "seen" bits.
 */
#include "unit.h"

#include <muster/headers.h>

#include "base/fault.h"

static void test_ids(void **state)
{
    (void)state;
    for (int id = 1; id < MU_H_COUNT; id++) {
        struct mu_str name = mu_header_name((enum mu_header_id)id);
        char text[64];

        assert_true(name.n > 0 && name.n < sizeof(text));
        check_int(id, mu_header_id(name), id);
        for (size_t i = 0; i < name.n; i++)
            text[i] = (char)(name.p[i] >= 'a' && name.p[i] <= 'z' ? name.p[i] - 32 : name.p[i]);
        check_int(id, mu_header_id(mu_str_n(text, name.n)), id);
        for (size_t i = 0; i < name.n; i++) {
            text[i] = mu_lower(name.p[i]);
            check_int(id, mu_header_id(mu_str_n(text, i)), mu_header_id(mu_str_n(name.p, i)));
        }
        check_int(id, mu_header_id(mu_str_n(text, name.n)), id);
        for (size_t i = 0; i < name.n; i++) { /* one byte off is another name */
            char kept = text[i];

            text[i] = '~';
            check_int(id, mu_header_id(mu_str_n(text, name.n)), MU_H_OTHER);
            text[i] = kept;
        }
        text[name.n] = 'x';
        check_int(id, mu_header_id(mu_str_n(text, name.n + 1)), MU_H_OTHER);
    }
    assert_int_equal(mu_header_id(MU_STR_NULL), MU_H_OTHER);
    assert_int_equal(mu_header_id(MU_S("X-Some-Very-Long-Field-Name")), MU_H_OTHER);
    assert_int_equal(mu_header_name(MU_H_OTHER).n, 0);
    assert_null(mu_header_name(MU_H_COUNT).p);
}

static struct mu_str dump(struct mu_arena *a, const struct mu_headers *h)
{
    struct mu_str s = MU_S("");

    for (uint32_t i = 0; i < h->n; i++)
        s = mu_str_cat(a, s, h->v[i].name, MU_S("="), h->v[i].value, MU_S(";"));
    return s;
}

static void test_table(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_headers h = { 0 };

    (void)state;
    assert_null(mu_headers_get(&h, MU_S("Host")).p);
    assert_null(mu_headers_get(&h, MU_S("X")).p);
    assert_int_equal(mu_headers_add(a, &h, MU_S("X"), MU_S("1")), MU_OK);
    assert_int_equal(mu_headers_add(a, &h, MU_S("host"), MU_S("h")), MU_OK);
    assert_int_equal(mu_headers_add(a, &h, MU_S("x"), MU_S("2")), MU_OK);
    assert_int_equal(mu_headers_add(a, &h, MU_S("Y"), MU_S("3")), MU_OK);
    check_str(__LINE__, dump(a, &h), MU_S("X=1;host=h;x=2;Y=3;"));
    check_str(__LINE__, mu_headers_get(&h, MU_S("HOST")), MU_S("h"));
    check_str(__LINE__, mu_headers_get_id(&h, MU_H_HOST), MU_S("h"));
    check_str(__LINE__, mu_headers_get(&h, MU_S("x")), MU_S("1"));
    assert_null(mu_headers_get_id(&h, MU_H_RANGE).p);

    assert_int_equal(mu_headers_set(a, &h, MU_S("x"), MU_S("9")), MU_OK);
    check_str(__LINE__, dump(a, &h), MU_S("x=9;host=h;Y=3;"));
    assert_int_equal(mu_headers_merge(a, &h, MU_S("X"), MU_S("8")), MU_OK);
    assert_int_equal(mu_headers_merge(a, &h, MU_S("Vary"), MU_S("a")), MU_OK);
    assert_int_equal(mu_headers_merge(a, &h, MU_S("vary"), MU_S("b")), MU_OK);
    check_str(__LINE__, dump(a, &h), MU_S("x=9, 8;host=h;Y=3;Vary=a, b;"));
    mu_headers_unset(&h, MU_S("HOST"));
    mu_headers_unset(&h, MU_S("y"));
    mu_headers_unset(&h, MU_S("z"));
    check_str(__LINE__, dump(a, &h), MU_S("x=9, 8;Vary=a, b;"));
    assert_null(mu_headers_get_id(&h, MU_H_HOST).p);
    check_str(__LINE__, mu_headers_get(&h, MU_S("x")), MU_S("9, 8"));
    mu_headers_clear(&h);
    assert_int_equal(h.n, 0);
    assert_null(mu_headers_get(&h, MU_S("x")).p);
    mu_arena_destroy(a);
}

static void test_join_and_growth(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_headers h = { 0 };

    (void)state;
    assert_null(mu_headers_join(a, &h, MU_H_ACCEPT).p);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(mu_headers_add(a, &h, MU_S("X-Other"), MU_S("o")), MU_OK);
        if (i % 33 == 0)
            assert_int_equal(mu_headers_add(a, &h, MU_S("accept"), mu_fmt(a, "v%d", i)), MU_OK);
    }
    assert_int_equal(h.n, 104);
    check_str(__LINE__, mu_headers_join(a, &h, MU_H_ACCEPT), MU_S("v0, v33, v66, v99"));
    mu_headers_unset(&h, MU_S("Accept"));
    assert_int_equal(h.n, 100);
    assert_int_equal(mu_headers_set(a, &h, MU_S("x-other"), MU_S("p")), MU_OK);
    check_str(__LINE__, dump(a, &h), MU_S("x-other=p;"));
    mu_arena_destroy(a);
}

static void test_join_row(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_headers h = { 0 };
    size_t before;

    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(mu_headers_add(a, &h, i % 2 ? MU_S("X-A") : MU_S("x-a"),
                                        i % 10 ? MU_S("") : mu_fmt(a, "%d", i)),
                         MU_OK);
        assert_int_equal(mu_headers_add(a, &h, MU_S("X-B"), MU_STR_NULL), MU_OK);
        assert_int_equal(mu_headers_first_row(&h, h.n - 2), 0);
        assert_int_equal(mu_headers_first_row(&h, h.n - 1), 1);
    }
    check_str(__LINE__, mu_headers_join_row(a, &h, 160, MU_S(";")),
              MU_S("80;;;;;;;;;;90;;;;;;;;;"));
    check_str(__LINE__, mu_headers_join_row(a, &h, 198, MU_S(", ")), MU_S(""));
    /* As much memory as the text takes, however many pieces it is made of. */
    before = mu_arena_used(a);
    assert_int_equal(mu_headers_join_row(a, &h, 1, MU_S(", ")).n, 2 * 99);
    assert_true(mu_arena_used(a) - before < 2 * 99 + 1 + 32);
    mu_arena_destroy(a);
}

static void test_out_of_memory(void **state)
{
    struct mu_arena *a = mu_arena_create(64);
    struct mu_headers h = { 0 };

    (void)state;
    mu_alloc_fail_after(0);
    assert_int_equal(mu_headers_add(a, &h, MU_S("Host"), MU_S("x")), MU_NOMEM);
    assert_int_equal(h.n, 0);
    mu_alloc_fail_after(-1);
    assert_int_equal(mu_headers_add(a, &h, MU_S("Host"), MU_S("x")), MU_OK);
    mu_alloc_fail_after(0);
    while (mu_arena_alloc(a, 16))
        ;
    assert_int_equal(mu_headers_merge(a, &h, MU_S("Host"), MU_S("y")), MU_NOMEM);
    check_str(__LINE__, mu_headers_get(&h, MU_S("Host")), MU_S("x"));
    mu_alloc_fail_after(-1);
    mu_arena_destroy(a);
}

static void test_tokens(void **state)
{
    static const struct {
        int line;
        const char *list, *token;
        bool want;
    } rows[] = {
        { __LINE__, "close", "close", true },
        { __LINE__, "Keep-Alive, CLOSE", "close", true },
        { __LINE__, "keep-alive,\tclose ,x", "close", true },
        { __LINE__, "closed", "close", false },
        { __LINE__, "x-close", "close", false },
        { __LINE__, "", "close", false },
        { __LINE__, ",,close", "close", true },
        { __LINE__, "close x", "close", false },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++)
        check_int(rows[i].line, mu_list_has_token(mu_str_c(rows[i].list), mu_str_c(rows[i].token)),
                  rows[i].want);
    assert_false(mu_list_has_token(MU_STR_NULL, MU_S("close")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_join_and_growth),
        cmocka_unit_test(test_join_row),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_tokens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
