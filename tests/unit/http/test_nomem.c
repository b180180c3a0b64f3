/*
 * Out of memory at each allocation in turn: every function that takes an arena says so, and the
 * first run without a failure gives the right answer.
 */
#include "http_test.h"

#include "base/fault.h"
#include "http/h1.h"
#include "http/multipart.h"

static enum mu_rc parse(struct mu_arena *a, bool is_unsafe, const char *in)
{
    const struct mu_h1_limits limits = { 8190, 8190, 100, is_unsafe, false, false };
    struct mu_h1_parser p = { 0 };
    struct mu_h1_head head;
    enum mu_status status;
    size_t head_len;
    enum mu_rc rc = mu_h1_parse(&p, &limits, a, in, strlen(in), &head, &head_len, &status);

    assert_true(rc != MU_NOMEM || (status == MU_503_SERVICE_UNAVAILABLE && p.problem));
    return rc;
}

static enum mu_rc run_parse(struct mu_arena *a)
{
    return parse(
        a, false,
        "GET / HTTP/1.1\r\nHost: a\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n"
        "A:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n");
}

static enum mu_rc run_fold(struct mu_arena *a)
{
    return parse(a, true,
                 "GET / HTTP/1.1\r\nHost: a\r\nA: 0123456789012345678901234567890123456789\r\n"
                 " 0123456789012345678901234567890123456789\r\n\r\n");
}

static enum mu_rc run_trailers(struct mu_arena *a)
{
    static const char in[] =
        "0\r\nA: 01234567890123456789012345678901234567890123456789012345678901"
        "2345678901234567890123456789012345678901234567890123456789012345678901"
        "23456789\r\nB: c\r\n\r\n";
    struct mu_headers trailers = { 0 };
    struct mu_chunked c = { 0 };
    struct mu_str data;
    size_t used;

    return mu_chunked_decode(&c, in, sizeof(in) - 1, &data, &used, a, &trailers);
}

static enum mu_rc run_decode(struct mu_arena *a)
{
    struct mu_str path;

    return mu_uri_path_decode(a, MU_S("/a%20b/../cdefghijklmnopqrstuvwxyzabcdefghijklm"), true,
                              MU_SLASHES_REFUSE, &path);
}

static enum mu_rc run_ranges(struct mu_arena *a)
{
    const struct mu_range_limits limits = { 200, 20, 20 };
    struct mu_range *v;
    size_t n;

    return mu_range_parse(a, MU_S("bytes=0-1,3-4,6-7,9-10,12-13,15-16"), 1000, &limits, &v, &n);
}

static enum mu_rc of_text(struct mu_str s)
{
    return s.p ? MU_OK : MU_NOMEM;
}

static enum mu_rc run_encode(struct mu_arena *a)
{
    return of_text(mu_uri_encode_path(a, MU_S("/a path that is longer than the first block is")));
}

static enum mu_rc run_html(struct mu_arena *a)
{
    return of_text(mu_html_escape(a, MU_S("<a text that is longer than the first block is>")));
}

static enum mu_rc run_part(struct mu_arena *a)
{
    return of_text(mu_multipart_head(a, MU_S("0123456789abcdef"), MU_S("text/plain"),
                                     (struct mu_range){ 0, 1 }, 1000));
}

static enum mu_rc run_end(struct mu_arena *a)
{
    return of_text(mu_multipart_type(a, MU_S("0123456789abcdef")));
}

struct row {
    int line;
    enum mu_rc (*run)(struct mu_arena *a);
    enum mu_rc rc; /* when there is memory */
};

static const struct row rows[] = {
    { __LINE__, run_parse, MU_OK },     { __LINE__, run_fold, MU_OK },
    { __LINE__, run_trailers, MU_EOF }, { __LINE__, run_decode, MU_OK },
    { __LINE__, run_ranges, MU_OK },    { __LINE__, run_encode, MU_OK },
    { __LINE__, run_html, MU_OK },      { __LINE__, run_part, MU_OK },
    { __LINE__, run_end, MU_OK },
};

/* Use up the first block, so that the next allocation needs another one. */
static void fill(struct mu_arena *a)
{
    mu_alloc_fail_after(0);
    while (mu_arena_alloc(a, 1)) {
    }
}

static void test_each_allocation_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        enum mu_rc rc = MU_NOMEM;
        int failures = -1;

        for (; rc == MU_NOMEM && failures < 50; failures++) {
            struct mu_arena *a = mu_arena_create(1);

            fill(a);
            mu_alloc_fail_after(failures + 1);
            rc = rows[i].run(a);
            mu_alloc_fail_after(-1);
            mu_arena_destroy(a);
        }
        EXPECT_ROW(rows[i].line, rc == rows[i].rc);
        EXPECT_ROW(rows[i].line, failures > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_each_allocation_fails) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
