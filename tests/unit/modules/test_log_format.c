/* The grammar of LogFormat and the quoting of what clients sent. The items themselves are compared in tests/diff. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants those above first. */
#include <cmocka.h>

#include <log_config/log_format.h>

static void test_formats(void **state)
{
    static const struct {
        int line;
        const char *format, *want;
    } rows[] = {
        { __LINE__, "", "\n" },
        { __LINE__, "text", "text\n" },
        { __LINE__, "a\\tb\\nc\\\\d\\\"e\\x", "a\tb\nc\\d\\\"e\\x\n" },
        { __LINE__, "%%", "%\n" },
        { __LINE__, "%m %U%q %s", "GET /first?x=1 404\n" },
        { __LINE__, "%>s %<s %>U %<U", "200 404 /second /first\n" },
        { __LINE__, "%200m|%404m|%!200m|%!404,500m", "GET|-|-|GET\n" },
        { __LINE__, "%{X}i|%{x}i|%{None}i", "say \\\"hi\\\"\\x07|say \\\"hi\\\"\\x07|-\n" },
        { __LINE__, "%{X}>i %>{X}i", "- -\n" },
        { __LINE__, "%b %B", "- 0\n" },
        { __LINE__, "%u %l %f %R", "- - - -\n" },
        { __LINE__, "%H", "HTTP/1.1\n" },
    };
    struct mu_arena *a = mu_arena_create(0);
    struct mu_peer peer = { .client_ip = MU_S("192.0.2.1") };
    struct mu_req first = {
        .arena = a, .peer = &peer, .status = MU_404_NOT_FOUND, .version = 1001
    };
    struct mu_req second = { .arena = a, .peer = &peer, .status = MU_200_OK, .version = 1001 };

    (void)state;
    first.method_name = second.method_name = MU_S("GET");
    first.path = MU_S("/first");
    first.query = second.query = MU_S("x=1");
    second.path = MU_S("/second");
    first.next = &second;
    second.prev = &first;
    assert_int_equal(mu_headers_add(a, &first.in, MU_S("X"), MU_S("other")), MU_OK);
    assert_int_equal(mu_headers_add(a, &second.in, MU_S("X"), MU_S("say \"hi\"\a")), MU_OK);
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_str err, want = mu_str_c(rows[i].want);
        const struct log_format *f = log_format_compile(a, mu_str_c(rows[i].format), &err);
        struct log_line l = { .arena = a };

        if (strstr(rows[i].format, "{X}>i"))
            second.in = (struct mu_headers){ 0 };
        if (!f)
            fail_msg("row at line %d: %.*s", rows[i].line, MU_FMT(err));
        log_format_write(f, &l, &first);
        if (!mu_str_eq(mu_str_n(l.p, l.n), want))
            fail_msg("row at line %d: \"%.*s\"", rows[i].line, (int)l.n, l.p);
    }
    mu_arena_destroy(a);
}

static void test_bad_formats(void **state)
{
    static const char *const rows[] = { "%", "%z", "%{x", "%{x}", "%200", "a %>", "%!m %j" };
    struct mu_arena *a = mu_arena_create(0);

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_str err = MU_STR_NULL;

        if (log_format_compile(a, mu_str_c(rows[i]), &err) || !err.n)
            fail_msg("\"%s\" compiles", rows[i]);
    }
    mu_arena_destroy(a);
}

/* No byte that a client chooses ends a line or leaves its quotes. */
static void test_quoting(void **state)
{
    struct mu_arena *a = mu_arena_create(0);

    (void)state;
    for (int c = 0; c < 256; c++) {
        struct log_line l = { .arena = a };
        char byte = (char)c;

        log_line_add_escaped(&l, mu_str_n(&byte, 1));
        assert_true(l.n >= 1 && l.n <= 4);
        assert_true(l.n == 1 ? (l.p[0] == byte && byte != '"' && byte != '\\') : l.p[0] == '\\');
        for (size_t i = 0; i < l.n; i++)
            assert_in_range((unsigned char)l.p[i], 0x20, 0x7e);
    }
    mu_arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_bad_formats),
        cmocka_unit_test(test_quoting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
