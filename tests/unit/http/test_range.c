/*
 * Ranges: what httpd answers to each value for a file of 1000 bytes, the limits, and the frame of a
 * multipart body.
 */
#include "http_test.h"

#include "http/multipart.h"

struct row {
    int line;
    const char *value;
    enum mu_rc rc;
    const char *ranges;
};

#define OK(value, ranges)                                                                          \
    {                                                                                              \
        __LINE__, value, MU_OK, ranges                                                             \
    }
#define IGNORED(value)                                                                             \
    {                                                                                              \
        __LINE__, value, MU_NOENT, ""                                                              \
    }
#define UNSATISFIABLE(value)                                                                       \
    {                                                                                              \
        __LINE__, value, MU_LIMIT, ""                                                              \
    }

static const struct row rows[] = {
    OK("bytes=0-", "0-999"),
    OK("bytes=0-999", "0-999"),
    OK("bytes=0-0", "0-0"),
    OK("bytes=0-1000", "0-999"),
    OK("bytes=0-9223372036854775807", "0-999"),
    OK("bytes=999-", "999-999"),
    OK("bytes=-1", "999-999"),
    OK("bytes=-1000", "0-999"),
    OK("bytes=-2000", "0-999"),
    OK("BYTES=0-4", "0-4"),
    OK("bytes=0-4,10-14", "0-4 10-14"),
    OK("bytes=0-4, 10-14", "0-4 10-14"),
    OK("bytes=0-4 ,\t10-14 ", "0-4 10-14"),
    OK("bytes=10-14,0-4", "10-14 0-4"),
    OK("bytes=-5,0-4", "995-999 0-4"),
    OK("bytes=0-4,", "0-4"),
    OK("bytes=0-4,,10-14", "0-4 10-14"),
    OK("bytes=0-4,2000-", "0-4"),
    OK("bytes=2000-,0-4", "0-4"),
    OK("bytes=0-4,6-9", "0-4 6-9"),
    /* Neighbours that touch or overlap become one, in either direction. */
    OK("bytes=0-4,5-9", "0-9"),
    OK("bytes=0-4,3-9", "0-9"),
    OK("bytes=5-9,0-4", "0-9"),
    OK("bytes=5-9,0-20", "0-20"),
    OK("bytes=0-20,5-9", "0-20"),
    OK("bytes=0-,0-", "0-999"),
    OK("bytes=0-,-1", "0-999"),
    OK("bytes=0-600,500-", "0-999"),
    OK("bytes=500-999,0-499", "0-999"),
    OK("bytes=0-998,0-998", "0-998"),
    OK("bytes=0-4,10-14,14-20", "0-4 10-20"),
    /* Others stay apart, as long as together they are no more than the whole. */
    OK("bytes=0-499,600-998,100-200", "0-499 600-998 100-200"),
    OK("bytes=100-200,0-50,150-300,40-110", "100-200 0-50 150-300 40-110"),
    IGNORED("bytes=0-400,500-900,100-300"),

    UNSATISFIABLE("bytes=1000-"),
    UNSATISFIABLE("bytes=5000-6000"),
    UNSATISFIABLE("bytes=2000-,3000-"),
    UNSATISFIABLE("bytes=9223372036854775807-"),

    IGNORED(""),
    IGNORED("bytes"),
    IGNORED("bytes="),
    IGNORED("bytes=,"),
    IGNORED("bytes=,0-4"),
    IGNORED("bytes= 0-4"),
    IGNORED("bytes =0-4"),
    IGNORED("lines=0-4"),
    IGNORED("bytes=a"),
    IGNORED("bytes=5"),
    IGNORED("bytes=0-a"),
    IGNORED("bytes=0-4,x"),
    IGNORED("bytes=2000-,x"),
    IGNORED("bytes=5-3"),
    IGNORED("bytes=0-9,7-3"),
    IGNORED("bytes=3000-2000"),
    IGNORED("bytes=-0"),
    IGNORED("bytes=-0,0-4"),
    IGNORED("bytes=-"),
    IGNORED("bytes=--5"),
    IGNORED("bytes=0-4-"),
    IGNORED("bytes=+0-4"),
    IGNORED("bytes=0 -4"),
    IGNORED("bytes=0- 4"),
    IGNORED("bytes=0x1-4"),
    IGNORED("bytes=9223372036854775808-"),
    IGNORED("bytes=99999999999999999999-"),
    IGNORED("bytes=0-99999999999999999999"),
    IGNORED("bytes=-99999999999999999999"),
};

static const struct mu_range_limits defaults = { 200, 20, 20 };

static void test_parse(void **state)
{
    struct mu_arena *a = mu_arena_create(0);

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        struct mu_range *v;
        char text[200] = "";
        size_t n, at = 0;

        EXPECT_ROW(r->line,
                   mu_range_parse(a, mu_str_c(r->value), 1000, &defaults, &v, &n) == r->rc);
        for (size_t k = 0; k < n; k++) {
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%llu-%llu", k ? " " : "",
                                   (unsigned long long)v[k].first, (unsigned long long)v[k].last);
        }
        EXPECT_STR(r->line, mu_str_c(text), mu_str_c(r->ranges));
    }
    mu_arena_destroy(a);
}

static void test_empty_file(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_range *v;
    size_t n;

    (void)state;
    assert_int_equal(mu_range_parse(a, MU_S("bytes=0-"), 0, &defaults, &v, &n), MU_NOENT);
    assert_int_equal(mu_range_parse(a, MU_S("bytes=-1"), 0, &defaults, &v, &n), MU_NOENT);
    assert_int_equal(mu_range_parse(a, MU_S("bytes=0-"), 1, &defaults, &v, &n), MU_OK);
    mu_arena_destroy(a);
}

/* `count` elements, each made from its number. */
static enum mu_rc parse_many(const struct mu_range_limits *limits, unsigned count,
                             void (*element)(char *out, unsigned i))
{
    struct mu_arena *a = mu_arena_create(0);
    static char text[20000];
    struct mu_range *v;
    enum mu_rc rc;
    size_t n;

    strcpy(text, "bytes=");
    for (unsigned i = 0; i < count; i++) {
        element(text + strlen(text), i);
    }
    rc = mu_range_parse(a, mu_str_c(text), 10000, limits, &v, &n);
    mu_arena_destroy(a);
    return rc;
}

static void apart(char *out, unsigned i)
{
    sprintf(out, "%u-%u,", i * 4, i * 4);
}

static void overlapping(char *out, unsigned i)
{
    sprintf(out, "%u-%u,", i * 4, i * 4 + 5);
}

static void backwards(char *out, unsigned i)
{
    sprintf(out, "%u-%u,", 9000 - i * 4, 9000 - i * 4 + 5);
}

static void test_limits(void **state)
{
    const struct mu_range_limits free_overlaps = { UINT32_MAX, UINT32_MAX, 20 };
    const struct mu_range_limits none = { 0, 20, 20 }, one = { 1, 0, 0 };

    (void)state;
    assert_int_equal(parse_many(&defaults, 200, apart), MU_OK);
    assert_int_equal(parse_many(&defaults, 201, apart), MU_NOENT);
    assert_int_equal(parse_many(&free_overlaps, 1000, apart), MU_OK);
    assert_int_equal(parse_many(&defaults, 21, overlapping), MU_OK);
    assert_int_equal(parse_many(&defaults, 22, overlapping), MU_NOENT);
    assert_int_equal(parse_many(&free_overlaps, 1000, overlapping), MU_OK);
    assert_int_equal(parse_many(&free_overlaps, 21, backwards), MU_OK);
    assert_int_equal(parse_many(&free_overlaps, 22, backwards), MU_NOENT);
    assert_int_equal(parse_many(&none, 1, apart), MU_NOENT);
    assert_int_equal(parse_many(&one, 1, apart), MU_OK);
    assert_int_equal(parse_many(&one, 2, apart), MU_NOENT);
    assert_int_equal(parse_many(&one, 2, overlapping), MU_NOENT);
}

static void test_multipart(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    char text[MU_BOUNDARY_LEN];
    struct mu_str boundary = { text, sizeof(text) };
    struct mu_range r = { 10, 14 };

    (void)state;
    mu_boundary_format(UINT64_C(0x0573dce49527d3d6), text);
    EXPECT_STR(__LINE__, mu_multipart_type(a, boundary),
               MU_S("multipart/byteranges; boundary=0573dce49527d3d6"));
    EXPECT_STR(__LINE__, mu_multipart_head(a, boundary, MU_S("text/plain"), r, 1000),
               MU_S("\r\n--0573dce49527d3d6\r\nContent-type: text/plain\r\n"
                    "Content-range: bytes 10-14/1000\r\n\r\n"));
    EXPECT_STR(__LINE__, mu_multipart_head(a, boundary, MU_STR_NULL, r, 1000),
               MU_S("\r\n--0573dce49527d3d6\r\nContent-range: bytes 10-14/1000\r\n\r\n"));
    EXPECT_STR(__LINE__, mu_multipart_end(a, boundary), MU_S("\r\n--0573dce49527d3d6--\r\n"));
    EXPECT_STR(__LINE__, mu_content_range(a, &r, 1000), MU_S("bytes 10-14/1000"));
    EXPECT_STR(__LINE__, mu_content_range(a, NULL, 1000), MU_S("bytes */1000"));
    mu_arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_empty_file),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_multipart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
