/* Conditional requests: each field alone, all pairs of RFC 9110 section 13.2.2, and If-Range. */
#include "http_test.h"

#include "http/range.h"

/* 2024-01-01 00:00:00 UTC; the days around it; and now. */
#define MODIFIED 1704067200
#define NOW (MODIFIED + 5 * 86400)
#define LM "Mon, 01 Jan 2024 00:00:00 GMT"
#define BEFORE "Sun, 31 Dec 2023 23:59:59 GMT"
#define AFTER "Mon, 01 Jan 2024 00:00:01 GMT"
#define FUTURE "Tue, 02 Jan 2035 00:00:00 GMT"
#define RFC850 "Monday, 01-Jan-24 00:00:00 GMT"
#define ASCTIME "Mon Jan  1 00:00:00 2024"

#define IM "If-Match: "
#define INM "If-None-Match: "
#define IMS "If-Modified-Since: "
#define IUS "If-Unmodified-Since: "

enum { NONE = MU_STATUS_NONE, N304 = MU_304_NOT_MODIFIED, N412 = MU_412_PRECONDITION_FAILED };

struct row {
    int line;
    const char *fields; /* lines */
    int on_get, on_post;
};

/* The representation has the entity tag "v,1" (a comma is allowed in it) and LM. */
static const struct row rows[] = {
    { __LINE__, "", NONE, NONE },
    { __LINE__, "Accept: */*", NONE, NONE },

    { __LINE__, IM "*", NONE, NONE },
    { __LINE__, IM "\"v,1\"", NONE, NONE },
    { __LINE__, IM "\"x\", \"v,1\"", NONE, NONE },
    { __LINE__, IM "\"x\"\n" IM "\"v,1\"", NONE, NONE },
    { __LINE__, IM "\"x\",,\t\"v,1\" ,", NONE, NONE },
    { __LINE__, IM "\"x\"", N412, N412 },
    { __LINE__, IM "W/\"v,1\"", N412, N412 },
    { __LINE__, IM "", N412, N412 },
    { __LINE__, IM "\"v", N412, N412 },
    { __LINE__, IM "v,1", N412, N412 },
    { __LINE__, IM "\"V,1\"", N412, N412 },

    { __LINE__, INM "*", N304, N412 },
    { __LINE__, INM "\"v,1\"", N304, N412 },
    { __LINE__, INM "W/\"v,1\"", N304, N412 },
    { __LINE__, INM "\"x\",W/\"v,1\"", N304, N412 },
    { __LINE__, INM "\"x\"\n" INM "\"v,1\"", N304, N412 },
    { __LINE__, INM "junk, \"v,1\"", N304, N412 },
    { __LINE__, INM "\"v,1\", junk", N304, N412 },
    { __LINE__, INM "\"x\"", NONE, NONE },
    { __LINE__, INM "", NONE, NONE },
    { __LINE__, INM "junk", NONE, NONE },
    { __LINE__, INM "junk\"v,1\"", NONE, NONE },
    { __LINE__, INM "\"v,1\"junk", NONE, NONE },
    { __LINE__, INM "w/\"v,1\"", NONE, NONE },
    { __LINE__, INM "\"x\", *", NONE, NONE },

    { __LINE__, IMS LM, N304, NONE },
    { __LINE__, IMS RFC850, N304, NONE },
    { __LINE__, IMS ASCTIME, N304, NONE },
    { __LINE__, IMS AFTER, N304, NONE },
    { __LINE__, IMS BEFORE, NONE, NONE },
    { __LINE__, IMS FUTURE, NONE, NONE },
    { __LINE__, IMS "yesterday", NONE, NONE },
    { __LINE__, IMS LM "; length=12", N304, NONE },
    { __LINE__, IMS BEFORE ";length=12", NONE, NONE },
    { __LINE__, IMS ";" LM, NONE, NONE },
    { __LINE__, IMS "", NONE, NONE },

    { __LINE__, IUS LM, NONE, NONE },
    { __LINE__, IUS AFTER, NONE, NONE },
    { __LINE__, IUS FUTURE, NONE, NONE },
    { __LINE__, IUS BEFORE, N412, N412 },
    { __LINE__, IUS "Sunday, 31-Dec-23 00:00:00 GMT", N412, N412 },
    { __LINE__, IUS "yesterday", NONE, NONE },

    /* Precedence: a tag field silences the date field of its kind; the failing ones go first. */
    { __LINE__, IM "\"v,1\"\n" IUS BEFORE, NONE, NONE },
    { __LINE__, IM "\"x\"\n" IUS AFTER, N412, N412 },
    { __LINE__, INM "\"x\"\n" IMS LM, NONE, NONE },
    { __LINE__, INM "\"v,1\"\n" IMS BEFORE, N304, N412 },
    { __LINE__, IM "\"v,1\"\n" INM "\"v,1\"", N304, N412 },
    { __LINE__, IM "\"x\"\n" INM "\"v,1\"", N412, N412 },
    { __LINE__, IM "\"v,1\"\n" IMS LM, N304, NONE },
    { __LINE__, IM "\"x\"\n" IMS LM, N412, N412 },
    { __LINE__, IUS LM "\n" INM "\"v,1\"", N304, N412 },
    { __LINE__, IUS BEFORE "\n" INM "\"v,1\"", N412, N412 },
    { __LINE__, IUS LM "\n" IMS LM, N304, NONE },
    { __LINE__, IUS BEFORE "\n" IMS LM, N412, N412 },
    { __LINE__, IUS LM "\n" INM "\"x\"", NONE, NONE },
};

static struct mu_headers fields_of(struct mu_arena *a, const char *lines)
{
    struct mu_str rest = mu_str_c(lines), line;
    struct mu_headers h = { 0 };

    while (mu_str_split(&rest, '\n', &line)) {
        ssize_t colon = mu_str_chr(line, ':');

        if (colon > 0) {
            assert_int_equal(mu_headers_add(a, &h, mu_str_sub(line, 0, (size_t)colon),
                                            mu_str_sub(line, (size_t)colon + 2, line.n)),
                             MU_OK);
        }
    }
    return h;
}

static const struct mu_validators file = { .etag = { "\"v,1\"", 5 },
                                           .last_modified = MODIFIED,
                                           .exists = true };

static void test_precedence(void **state)
{
    struct mu_arena *a = mu_arena_create(0);

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        struct mu_headers h = fields_of(a, r->fields);

        EXPECT_ROW(r->line, (int)mu_conditions(&h, MU_M_GET, &file, NOW) == r->on_get);
        EXPECT_ROW(r->line, (int)mu_conditions(&h, MU_M_HEAD, &file, NOW) == r->on_get);
        EXPECT_ROW(r->line, (int)mu_conditions(&h, MU_M_POST, &file, NOW) == r->on_post);
        EXPECT_ROW(r->line, (int)mu_conditions(&h, MU_M_PUT, &file, NOW) == r->on_post);
        EXPECT_ROW(r->line, mu_conditions(&h, MU_M_OPTIONS, &file, NOW) == MU_STATUS_NONE);
        EXPECT_ROW(r->line, mu_conditions(&h, MU_M_TRACE, &file, NOW) == MU_STATUS_NONE);
    }
    mu_arena_destroy(a);
}

static enum mu_status on_put(struct mu_arena *a, const char *lines, struct mu_validators v)
{
    struct mu_headers h = fields_of(a, lines);

    return mu_conditions(&h, MU_M_PUT, &v, NOW);
}

static void test_other_validators(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    const struct mu_validators absent = { .last_modified = -1 };
    const struct mu_validators bare = { .last_modified = -1, .exists = true };
    const struct mu_validators weak = { { "W/\"1\"", 5 }, MODIFIED, true, 0 };

    (void)state;
    /* Nothing there: a lost update is stopped, a first upload is let through. */
    assert_int_equal(on_put(a, IM "*", absent), N412);
    assert_int_equal(on_put(a, IM "\"x\"", absent), N412);
    assert_int_equal(on_put(a, INM "*", absent), NONE);
    assert_int_equal(on_put(a, IUS LM, absent), NONE);
    /* Something without validators. */
    assert_int_equal(on_put(a, IM "*", bare), NONE);
    assert_int_equal(on_put(a, IM "\"x\"", bare), N412);
    assert_int_equal(on_put(a, INM "*", bare), N412);
    assert_int_equal(on_put(a, INM "\"x\"", bare), NONE);
    assert_int_equal(on_put(a, INM "x", bare), NONE);
    assert_int_equal(on_put(a, IUS BEFORE, bare), NONE);
    /* A weak tag matches weakly and never strongly. */
    assert_int_equal(on_put(a, IM "W/\"1\"", weak), N412);
    assert_int_equal(on_put(a, IM "\"1\"", weak), N412);
    assert_int_equal(on_put(a, INM "W/\"1\"", weak), N412);
    assert_int_equal(on_put(a, INM "\"1\"", weak), N412);
    mu_arena_destroy(a);
}

struct if_range_row {
    int line;
    const char *fields;
    bool is_honoured;
};

static const struct if_range_row if_ranges[] = {
    { __LINE__, "", true },
    { __LINE__, "If-Range: \"v,1\"", true },
    { __LINE__, "If-Range: \"v,1\" ", true },
    { __LINE__, "If-Range: \"x\"", false },
    { __LINE__, "If-Range: W/\"v,1\"", false },
    { __LINE__, "If-Range: \"v,1\", \"x\"", false },
    { __LINE__, "If-Range: *", false },
    { __LINE__, "If-Range: ", false },
    { __LINE__, "If-Range: junk", false },
    { __LINE__, "If-Range: " LM, true },
    { __LINE__, "If-Range: " RFC850, true },
    { __LINE__, "If-Range: " ASCTIME, true },
    { __LINE__, "If-Range: " BEFORE, false },
    { __LINE__, "If-Range: " AFTER, false },
};

static void test_if_range(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_validators v = file;
    struct mu_headers by_date = fields_of(a, "If-Range: " LM);
    struct mu_headers by_weak = fields_of(a, "If-Range: W/\"1\"");

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(if_ranges); i++) {
        struct mu_headers h = fields_of(a, if_ranges[i].fields);

        EXPECT_ROW(if_ranges[i].line, mu_if_range(&h, &file) == if_ranges[i].is_honoured);
    }
    /* A date is a strong validator once the file is a minute old. */
    v.now = MODIFIED + 59;
    assert_false(mu_if_range(&by_date, &v));
    v.now = MODIFIED + 60;
    assert_true(mu_if_range(&by_date, &v));
    v.now = MODIFIED - 60;
    assert_false(mu_if_range(&by_date, &v));
    v.last_modified = -1;
    assert_false(mu_if_range(&by_date, &v));
    v.etag = MU_S("W/\"1\"");
    assert_false(mu_if_range(&by_weak, &v));
    v.etag = MU_STR_NULL;
    assert_false(mu_if_range(&by_weak, &v));
    mu_arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_other_validators),
        cmocka_unit_test(test_if_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
