/* Heads of applications: fields, line ends, what is refused, however the bytes are cut. */
#include "http_test.h"

#include <http/cgi_head.h>
#include <muster/arena.h>
#include <muster/buf.h>
#include <muster/str.h>
#include <stdlib.h>

static struct mu_arena *arena;
static struct mu_cgi_head_parser p;
static size_t used;

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

static enum mu_rc parse_n(const char *text, size_t n)
{
    mu_cgi_head_init(&p, arena);
    return mu_cgi_head_feed(&p, mu_str_n(text, n), &used);
}

static enum mu_rc parse(const char *text)
{
    return parse_n(text, strlen(text));
}

static void expect(struct mu_str got, const char *wanted)
{
    if (!mu_str_eq(got, mu_str_c(wanted)))
        fail_msg("found '%.*s', expected '%s'", MU_FMT(got), wanted);
}

static void test_fields(void **state)
{
    (void)state;
    assert_int_equal(parse("Content-Type: text/plain\r\nX-A:  1 \nStatus:\t404 Gone  Fishing\r\n"
                           "location:/a?b\nSet-Cookie: a\nSet-Cookie:b\nX-E:\nContent-Length: 4\n\n"
                           "body\n"),
                     MU_OK);
    expect(p.head.type, "text/plain");
    assert_int_equal(p.head.status, 404);
    expect(p.head.reason, "Gone  Fishing");
    expect(p.head.location, "/a?b");
    assert_int_equal(p.head.length, 4);
    assert_int_equal(p.head.fields.n, 4);
    expect(p.head.fields.v[0].value, "1");
    expect(p.head.fields.v[1].value, "a");
    expect(p.head.fields.v[2].value, "b");
    assert_int_equal(p.head.fields.v[2].id, MU_H_SET_COOKIE);
    expect(p.head.fields.v[3].value, "");
    assert_int_equal(parse("\nbody"), MU_OK); /* an empty head is one, as in httpd */
    assert_int_equal(used, 1);
    assert_false(p.head.has_type);
    assert_null(p.head.location.p);
    assert_int_equal(p.head.status, MU_STATUS_NONE);
    assert_int_equal(parse("\r\n"), MU_OK);
    assert_int_equal(used, 2);
    assert_int_equal(parse("X-High: \xc3\xa4\n\n"), MU_OK);
}

static void test_status(void **state)
{
    static const struct {
        const char *text;
        int status;
        const char *reason;
    } rows[] = {
        { "200", 200, "" },      { "404 Not Here", 404, "Not Here" },
        { "599  x ", 599, "x" }, { "404\tx", 404, "x" },
        { "abc", 0, "" },        { "99", 0, "" },
        { "4045 x", 0, "" },     { "600 x", 0, "" },
        { "100 x", 0, "" },      { "199", 0, "" },
        { "", 0, "" },           { "20", 0, "" },
        { "-20", 0, "" },        { "+200", 0, "" },
        { "200OK", 0, "" },
    };
    char text[64];

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        snprintf(text, sizeof(text), "Status: %s\n\n", rows[i].text);
        assert_int_equal(parse(text), MU_OK);
        assert_int_equal(p.head.status, rows[i].status);
        assert_true(p.head.has_status);
        assert_int_equal(p.head.is_status_bad, rows[i].status == 0);
        expect(p.head.reason, rows[i].reason);
    }
}

/* The last one counts; lengths and Locations must agree. */
static void test_twice(void **state)
{
    (void)state;
    assert_int_equal(parse("Status: abc\nStatus: 201 a\nStatus: 202 b\nContent-Type: a/b\n"
                           "Content-Type: c/d\nLocation: /b\nLocation: /b\n\n"),
                     MU_OK);
    assert_int_equal(p.head.status, 202);
    assert_false(p.head.is_status_bad);
    expect(p.head.reason, "b");
    expect(p.head.type, "c/d");
    expect(p.head.location, "/b");
    assert_int_equal(parse("Location: /a\nLocation: /b\n\n"), MU_BAD); /* RFC 3875 section 6.3.2 */
    assert_int_equal(parse("Status: 201\nStatus: 1\n\n"), MU_OK);
    assert_true(p.head.is_status_bad);
    assert_int_equal(p.head.status, MU_STATUS_NONE);
    assert_int_equal(parse("Content-Length: 4\nContent-Length: 4\n\n"), MU_OK);
    assert_int_equal(p.head.length, 4);
    assert_int_equal(parse("Content-Length: 4\nContent-Length: 5\nContent-Length: 4\n\n"), MU_OK);
    assert_int_equal(p.head.length, -1);
}

static void test_lengths(void **state)
{
    static const char *const junk[] = {
        "-1", "+1", "4x", "", "0x4", "4, 4", "1e3", "9223372036854775808", "99999999999999999999"
    };
    char text[64];

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(junk); i++) {
        snprintf(text, sizeof(text), "Content-Length: %s\n\n", junk[i]);
        assert_int_equal(parse(text), MU_OK);
        assert_int_equal(p.head.length, -1);
        assert_true(p.head.is_length_bad);
    }
    assert_int_equal(parse("Content-Length: 9223372036854775807\n\n"), MU_OK);
    assert_int_equal(p.head.length, INT64_MAX);
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        const char *problem;
    } rows[] = {
#define ROW(t, why) { t, sizeof(t) - 1, why }
        ROW("just text\n\n", "a line without a colon"),
        ROW("HTTP/1.1 200 OK\n\n", "a status line, which only nph- scripts send"),
        ROW("X-A: a\n b\n\n", "a folded line"),
        ROW("X-A: a\n\tb\n\n", "a folded line"),
        ROW("X A: a\n\n", "a malformed name"),
        ROW("X-A : a\n\n", "a malformed name"),
        ROW(": a\n\n", "a malformed name"),
        ROW("X(A: a\n\n", "a malformed name"),
        ROW("X\xc3\xa4: a\n\n", "a malformed name"),
        ROW("X\0A: a\n\n", "a malformed name"),
        ROW("X-A: a\rX-B: b\n\n", "a control character"),
        ROW("X-A: a\r\r\n\n", "a control character"),
        ROW("X-A: a\0b\n\n", "a control character"),
        ROW("X-A: a\x01\n\n", "a control character"),
        ROW("X-A: a\x7f\n\n", "a control character"),
        ROW("Content-Type: a/b\rX: y\n\n", "a control character"),
        ROW("Status: 200 O\x01K\n\n", "a control character"),
        ROW("\r\r\n\n", "a line without a colon"),
        ROW("\0\n\n", "a line without a colon"),
#undef ROW
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        assert_int_equal(parse_n(rows[i].text, rows[i].n), MU_BAD);
        assert_string_equal(p.problem, rows[i].problem);
        assert_true(p.line.n > 0);
    }
}

static void repeat(struct mu_buf *b, const char *piece, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mu_buf_add(b, mu_str_c(piece));
}

static void test_limits(void **state)
{
    struct mu_buf b = { 0 };

    (void)state;
    mu_buf_add(&b, MU_S("X: "));
    repeat(&b, "a", MU_CGI_LINE_MAX - 4);
    mu_buf_add(&b, MU_S("\n\n"));
    assert_int_equal(parse_n(b.p, b.n), MU_OK);
    b.n -= 2;
    mu_buf_add(&b, MU_S("aa\n\n"));
    assert_int_equal(parse_n(b.p, b.n), MU_LIMIT);
    assert_int_equal(parse_n(b.p, b.n - 2), MU_LIMIT); /* without waiting for its end */
    b.n = 0;
    repeat(&b, "X: y\n", MU_CGI_FIELDS_MAX);
    mu_buf_add(&b, MU_S("\n"));
    assert_int_equal(parse_n(b.p, b.n), MU_OK);
    assert_int_equal(p.head.fields.n, MU_CGI_FIELDS_MAX);
    b.n = 0;
    repeat(&b, "X: y\n", MU_CGI_FIELDS_MAX + 1);
    assert_int_equal(parse_n(b.p, b.n), MU_LIMIT);
    b.n = 0;
    for (size_t i = 0; b.n <= MU_CGI_HEAD_MAX; i++) {
        mu_buf_add(&b, MU_S("X: "));
        repeat(&b, "a", 5000);
        mu_buf_add(&b, MU_S("\n"));
    }
    assert_int_equal(parse_n(b.p, b.n), MU_LIMIT);
    mu_buf_fini(&b);
}

static void test_pieces(void **state)
{
    static const char text[] =
        "Content-Type: text/plain\r\nX-Long: 0123456789012345678901234567890123456789\r\n"
        "Status: 201\n\r\nbody";
    const size_t head = sizeof(text) - 1 - 4;

    (void)state;
    for (size_t step = 1; step < head; step++) {
        size_t at = 0;
        enum mu_rc rc = MU_AGAIN;

        mu_cgi_head_init(&p, arena);
        while (rc == MU_AGAIN && at < sizeof(text) - 1) {
            size_t n = sizeof(text) - 1 - at < step ? sizeof(text) - 1 - at : step;
            char *piece = malloc(n); /* gone afterwards: nothing may be borrowed */

            assert_non_null(piece);
            memcpy(piece, text + at, n);
            rc = mu_cgi_head_feed(&p, mu_str_n(piece, n), &used);
            free(piece);
            assert_true(rc == MU_OK || (rc == MU_AGAIN && used == n));
            at += used;
        }
        assert_int_equal(rc, MU_OK);
        assert_int_equal(at, head);
        expect(p.head.type, "text/plain");
        expect(p.head.fields.v[0].value, "0123456789012345678901234567890123456789");
        assert_int_equal(p.head.status, 201);
    }
    assert_int_equal(parse(""), MU_AGAIN);
    assert_int_equal(parse("Content-Type: a/b\n"), MU_AGAIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(test_fields),  T(test_status), T(test_twice),  T(test_lengths),
        T(test_refused), T(test_limits), T(test_pieces),
    };

    return cmocka_run_group_tests_name("cgi_head", tests, NULL, NULL);
}
