/* What is written: response heads, status phrases, method names, Allow, entity tags. */
#include "http_test.h"

#include <stdlib.h>

#include "http/etag.h"
#include "http/h1.h"

static struct mu_headers two_fields(struct mu_arena *a)
{
    struct mu_headers h = { 0 };

    assert_int_equal(mu_headers_add(a, &h, MU_S("Server"), MU_S("Muster")), MU_OK);
    assert_int_equal(mu_headers_add(a, &h, MU_S("X-Empty"), MU_S("")), MU_OK);
    return h;
}

struct head_row {
    int line;
    uint16_t version;
    int status;
    const char *reason; /* NULL: the standard one */
    bool has_fields;
    const char *text;
};

static const struct head_row heads[] = {
    { __LINE__, 1001, 200, NULL, true, "HTTP/1.1 200 OK\r\nServer: Muster\r\nX-Empty: \r\n\r\n" },
    { __LINE__, 1000, 404, NULL, false, "HTTP/1.0 404 Not Found\r\n\r\n" },
    { __LINE__, 9, 200, NULL, false, "HTTP/1.1 200 OK\r\n\r\n" },
    { __LINE__, 1001, 100, NULL, false, "HTTP/1.1 100 Continue\r\n\r\n" },
    { __LINE__, 1001, 503, "Busy", false, "HTTP/1.1 503 Busy\r\n\r\n" },
    { __LINE__, 1001, 200, "", false, "HTTP/1.1 200 \r\n\r\n" },
    { __LINE__, 1001, 299, NULL, false, "HTTP/1.1 299 Unknown Reason\r\n\r\n" },
    { __LINE__, 1001, 799, "Odd", false, "HTTP/1.1 799 Odd\r\n\r\n" },
};

/* Exactly enough room is enough, one byte less is not, and nothing is written behind it. */
static void test_format_head(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_headers none = { 0 }, two = two_fields(a);

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(heads); i++) {
        const struct head_row *r = &heads[i];
        const struct mu_headers *h = r->has_fields ? &two : &none;
        size_t cap = strlen(r->text);
        char *buf = malloc(cap);

        EXPECT_ROW(r->line, mu_h1_format_head(buf, cap, r->version, (enum mu_status)r->status,
                                              mu_str_c(r->reason), h) == cap);
        EXPECT_STR(r->line, mu_str_n(buf, cap), mu_str_c(r->text));
        for (size_t less = 0; less < cap; less++) {
            EXPECT_ROW(r->line, mu_h1_format_head(buf, less, r->version, (enum mu_status)r->status,
                                                  mu_str_c(r->reason), h) == 0);
        }
        free(buf);
    }
    mu_arena_destroy(a);
}

static void test_sane_fields(void **state)
{
    (void)state;
    assert_true(mu_h1_field_is_sane(MU_S("X-Y"), MU_S("a b\t\xe4")));
    assert_true(mu_h1_field_is_sane(MU_S("X"), MU_STR_NULL));
    assert_false(mu_h1_field_is_sane(MU_S(""), MU_S("a")));
    assert_false(mu_h1_field_is_sane(MU_S("X "), MU_S("a")));
    assert_false(mu_h1_field_is_sane(MU_S("X:"), MU_S("a")));
    assert_false(mu_h1_field_is_sane(MU_S("X"), MU_S("a\r\nY: b")));
    assert_false(mu_h1_field_is_sane(MU_S("X"), MU_S("abcdefghijkl\nmnop")));
    assert_false(mu_h1_field_is_sane(MU_S("X"), MU_S("a\0")));
}

static void test_status(void **state)
{
    (void)state;
    EXPECT_STR(__LINE__, mu_status_reason(MU_413_CONTENT_TOO_LARGE),
               MU_S("Request Entity Too Large"));
    EXPECT_STR(__LINE__, mu_status_reason(MU_416_RANGE_NOT_SATISFIABLE),
               MU_S("Requested Range Not Satisfiable"));
    EXPECT_STR(__LINE__, mu_status_line(MU_302_FOUND), MU_S("302 Found"));
    EXPECT_STR(__LINE__, mu_status_line((enum mu_status)511),
               MU_S("511 Network Authentication Required"));
    EXPECT_STR(__LINE__, mu_status_reason((enum mu_status)299), MU_S("Unknown Reason"));
    assert_null(mu_status_line((enum mu_status)299).p);
    assert_null(mu_status_line(MU_STATUS_NONE).p);
    assert_null(mu_status_line((enum mu_status)99).p);
    assert_null(mu_status_line((enum mu_status)512).p);
    assert_null(mu_status_line((enum mu_status) - 1).p);
    for (int s = 100; s < 512; s++) {
        struct mu_str line = mu_status_line((enum mu_status)s);

        assert_true(!line.p || (atoi(line.p) == s && line.p[3] == ' ' && line.n > 5));
        assert_int_equal(mu_status_has_no_body((enum mu_status)s), s < 200 || s == 204 || s == 304);
    }
}

static void test_methods(void **state)
{
    char buf[MU_ALLOW_MAX];

    (void)state;
    for (unsigned m = MU_M_GET; m < MU_M_COUNT; m++) {
        assert_int_equal(mu_method_parse(mu_method_name((enum mu_method)m)), m);
    }
    assert_int_equal(mu_method_parse(MU_S("get")), MU_M_OTHER);
    assert_int_equal(mu_method_parse(MU_S("GETX")), MU_M_OTHER);
    assert_int_equal(mu_method_parse(MU_S("GE")), MU_M_OTHER);
    assert_int_equal(mu_method_parse(MU_S("-")), MU_M_OTHER);
    assert_int_equal(mu_method_parse(MU_STR_NULL), MU_M_OTHER);
    EXPECT_STR(__LINE__, mu_method_name((enum mu_method)99), MU_S("-"));
    EXPECT_STR(__LINE__, mu_str_n(buf, mu_method_allow(MU_GET | MU_HEAD | MU_POST, buf)),
               MU_S("GET,HEAD,POST"));
    assert_int_equal(mu_method_allow(0, buf), 0);
    assert_int_equal(mu_method_allow(MU_METHOD_BIT(MU_M_OTHER), buf), 0);
    assert_true(mu_method_allow(MU_ANY_METHOD, buf) <= sizeof(buf));
}

struct etag_row {
    int line;
    unsigned parts;
    struct mu_etag_file file;
    int64_t now_us;
    const char *text;
};

#define SEC INT64_C(1000000)

static const struct etag_row etags[] = {
    /* httpd's own tag of a file of 26 bytes from 2024-01-01 00:00:00. */
    { __LINE__,
      MU_ETAG_DEFAULT,
      { 7, 26, 1704067200 * SEC },
      1704067300 * SEC,
      "\"1a-60dd710212000\"" },
    { __LINE__,
      MU_ETAG_ALL,
      { 0x1234, 26, 1704067200 * SEC },
      1704067300 * SEC,
      "\"1234-1a-60dd710212000\"" },
    { __LINE__, MU_ETAG_INODE, { 0x1234, 26, 0 }, SEC, "\"1234\"" },
    { __LINE__, MU_ETAG_SIZE, { 7, 0, 0 }, SEC, "\"0\"" },
    { __LINE__, MU_ETAG_INODE | MU_ETAG_MTIME, { 7, 26, 255 }, 9 * SEC, "\"7-ff\"" },
    /* Young files. */
    { __LINE__, MU_ETAG_SIZE, { 7, 26, 100 * SEC }, 101 * SEC, "\"1a\"" },
    { __LINE__, MU_ETAG_SIZE, { 7, 26, 100 * SEC }, 101 * SEC - 1, "W/\"1a\"" },
    { __LINE__, MU_ETAG_SIZE, { 7, 26, 100 * SEC }, 99 * SEC, "W/\"1a\"" },
    { __LINE__, MU_ETAG_DEFAULT, { 7, 14, -5 * SEC }, 99 * SEC, "\"e-ffffffffffb3b4c0\"" },
    { __LINE__,
      MU_ETAG_ALL,
      { UINT64_MAX, UINT64_MAX, INT64_MAX },
      0,
      "W/\"ffffffffffffffff-ffffffffffffffff-7fffffffffffffff\"" },
    { __LINE__, 0, { 7, 26, 0 }, SEC, "" },
};

static void test_etags(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(etags); i++) {
        const struct etag_row *r = &etags[i];
        char buf[MU_ETAG_MAX];

        EXPECT_STR(r->line, mu_str_n(buf, mu_etag_format(r->parts, &r->file, r->now_us, buf)),
                   mu_str_c(r->text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_head), cmocka_unit_test(test_sane_fields),
        cmocka_unit_test(test_status),      cmocka_unit_test(test_methods),
        cmocka_unit_test(test_etags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
