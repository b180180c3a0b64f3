/*
 * The chunked decoder: bodies, extensions, trailers, every refusal; each input in one piece, byte
 * by byte and cut at every place, with and without a table for the trailers.
 */
#include "http_test.h"

#include <muster/buf.h>
#include <stdlib.h>

#include "http/h1.h"

struct row {
    int line;
    struct mu_str in;
    enum mu_rc rc;    /* MU_OK: not at its end yet */
    const char *body; /* data, then "|name=value" for each trailer */
    size_t rest;      /* bytes behind the end that are not the body's */
};

#define LIT(s)                                                                                     \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }
#define OK(in, body, rest)                                                                         \
    {                                                                                              \
        __LINE__, LIT(in), MU_EOF, body, rest                                                      \
    }
#define MORE(in, body)                                                                             \
    {                                                                                              \
        __LINE__, LIT(in), MU_OK, body, 0                                                          \
    }
#define NO(in, body)                                                                               \
    {                                                                                              \
        __LINE__, LIT(in), MU_BAD, body, 0                                                         \
    }

static const struct row rows[] = {
    OK("0\r\n\r\n", "", 0),
    OK("5\r\nhello\r\n0\r\n\r\n", "hello", 0),
    OK("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET / ", "hello world", 6),
    OK("a\r\n0123456789\r\n00\r\n\r\n", "0123456789", 0),
    OK("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", 0),
    OK("4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", 0),
    OK("0000000000000002\r\nab\r\n0000000000000000\r\n\r\n", "ab", 0),
    OK("2 \t\r\nab\r\n0\t\r\n\r\n", "ab", 0),
    OK("2;x\r\nab\r\n0;y=z\r\n\r\n", "ab", 0),
    OK("2 ; x = \"a;\\\"\\\\b\x80\t\" ; y\r\nab\r\n0\r\n\r\n", "ab", 0),
    OK("2;x=\"\"\r\nab\r\n0;a;b=c;d=\"e\"\r\n\r\n", "ab", 0),
    OK("1\r\na\r\n0\r\nX: y\r\nZ:\r\n\r\n", "a|X=y|Z=", 0),
    OK("0\r\nX:\t a b \t\r\n\r\nrest", "|X=a b", 4),
    /* What frames, routes or describes the message is dropped from the trailers. */
    OK("0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: b\r\nETag: \"x\"\r\n"
       "content-foo: c\r\nAuthorization: d\r\nX-Forwarded-For: e\r\nSum: f\r\n\r\n",
       "|ETag=\"x\"|Sum=f", 0),

    MORE("", ""),
    MORE("5", ""),
    MORE("5\r", ""),
    MORE("5\r\nhel", "hel"),
    MORE("5\r\nhello\r\n0\r\n", "hello"),
    MORE("5\r\nhello\r\n0\r\n\r", "hello"),
    MORE("0\r\nX: y", ""),
    MORE("7fffffffffffffff\r\nab", "ab"),
    MORE("07fffffffffffff0\r\nab", "ab"),

    NO("\r\n5\r\nhello\r\n", ""),
    NO(" 5\r\nhello\r\n", ""),
    NO("\t5\r\nhello\r\n", ""),
    NO("g\r\n", ""),
    NO("0x5\r\nhello\r\n", ""),
    NO("+5\r\nhello\r\n", ""),
    NO("-5\r\nhello\r\n", ""),
    NO(";a\r\n", ""),
    NO("5 5\r\nhello", ""),
    NO("5,\r\n", ""),
    NO("5\nhello\r\n", ""),
    NO("5\r\r\nhello\r\n", ""),
    NO("5\rhello\r\n", ""),
    NO("5\0\r\nhello\r\n", ""),
    NO("8000000000000000\r\n", ""),
    NO("ffffffffffffffff\r\n", ""),
    NO("10000000000000000\r\n", ""),
    NO("00000000000000005\r\nhello\r\n", ""),
    NO("00000000000000000\r\n\r\n", ""),
    NO("5\r\nhelloX\r\n", "hello"),
    NO("5\r\nhello\n", "hello"),
    NO("5\r\nhello\r5", "hello"),
    NO("5\r\nhello0\r\n\r\n", "hello"),
    NO("5;\r\nhello\r\n", ""),
    NO("5; \r\nhello\r\n", ""),
    NO("5;a;\r\n", ""),
    NO("5;=b\r\n", ""),
    NO("5;a=\r\n", ""),
    NO("5;a=b=c\r\n", ""),
    NO("5;a b\r\n", ""),
    NO("5;a\nb\r\n", ""),
    NO("5;a=\"b\r\n", ""),
    NO("5;a=\"b\nc\"\r\n", ""),
    NO("5;a=\"\\\r\n\"\r\n", ""),
    NO("5;a=\"b\0\"\r\n", ""),
    NO("5;a=\"b\"c\r\n", ""),
    NO("5;a=\"b\"\n", ""),
    NO("5;a\x01\r\n", ""),
    NO("0\r\n\n", ""),
    NO("0\r\n\rx", ""),
    NO("0\r\nX y\r\n\r\n", ""),
    NO("0\r\nX : y\r\n\r\n", ""),
    NO("0\r\n X: y\r\n\r\n", ""),
    NO("0\r\n: y\r\n\r\n", ""),
    NO("0\r\nX\r\n\r\n", ""),
    NO("0\r\nX: y\n\r\n", ""),
    NO("0\r\nX: y\rz\r\n\r\n", ""),
    NO("0\r\nX: y\0\r\n\r\n", ""),
    NO("0\r\nX: y\x7f\r\n\r\n", ""),
    NO("0\r\nA: b\r\n c\r\n\r\n", "|A=b"),
};

struct result {
    enum mu_rc rc;
    size_t used;
    struct mu_buf body;
};

/* Feed one piece, in an allocation of its own, until it is used up. */
static void feed(struct result *r, struct mu_chunked *c, const char *p, size_t n,
                 struct mu_arena *a, struct mu_headers *trailers)
{
    char *piece = malloc(n ? n : 1);
    size_t at = 0;

    memcpy(piece, p, n);
    do {
        struct mu_str data;
        size_t used;

        r->rc = mu_chunked_decode(c, piece + at, n - at, &data, &used, a, trailers);
        assert_true(used <= n - at);
        assert_true(used > 0 || at == n);
        assert_true(data.n == 0 || (data.p >= piece + at && data.p + data.n == piece + at + used));
        assert_true(data.n == 0 || r->rc == MU_OK);
        mu_buf_add(&r->body, data);
        at += used;
    } while (r->rc == MU_OK && at < n);
    r->used += at;
    free(piece);
}

static struct result decode(struct mu_str in, size_t first, size_t step, bool wants_trailers)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_headers trailers = { 0 };
    struct mu_chunked c = { 0 };
    struct result r = { 0 };
    size_t at = 0, n = first;

    while (at < in.n && r.rc == MU_OK) {
        n = n < in.n - at ? n : in.n - at;
        feed(&r, &c, in.p + at, n, a, wants_trailers ? &trailers : NULL);
        at += n;
        n = step;
    }
    for (uint32_t i = 0; i < trailers.n; i++) {
        mu_buf_addf(&r.body, "|%.*s=%.*s", MU_FMT(trailers.v[i].name), MU_FMT(trailers.v[i].value));
    }
    mu_arena_destroy(a);
    return r;
}

static void check(const struct row *row, size_t first, size_t step)
{
    struct result r = decode(row->in, first, step, true);

    EXPECT_ROW(row->line, r.rc == row->rc);
    EXPECT_STR(row->line, mu_buf_str(&r.body), mu_str_c(row->body));
    if (row->rc != MU_BAD) {
        EXPECT_ROW(row->line, r.used == row->in.n - row->rest);
    }
    mu_buf_fini(&r.body);
    r = decode(row->in, first, step, false);
    EXPECT_ROW(row->line, r.rc == row->rc);
    EXPECT_STR(row->line, mu_buf_str(&r.body), mu_str_n(row->body, strcspn(row->body, "|")));
    mu_buf_fini(&r.body);
}

static void test_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        check(&rows[i], rows[i].in.n, 1);
        check(&rows[i], 1, 1);
        for (size_t k = 1; k < rows[i].in.n; k++) {
            check(&rows[i], k, rows[i].in.n);
        }
    }
}

static void pad(struct mu_buf *b, size_t n)
{
    while (n-- > 0) {
        mu_buf_addc(b, 'x');
    }
}

/* What the parts of a body may be long; `before` + n times 'x' + `after`. */
static enum mu_rc with_padding(struct mu_str before, size_t n, struct mu_str after, size_t repeat)
{
    struct mu_buf in = { 0 };
    struct result r;

    while (repeat-- > 0) {
        mu_buf_add(&in, before);
        pad(&in, n);
        mu_buf_add(&in, after);
    }
    r = decode(mu_buf_str(&in), in.n, 1, true);
    mu_buf_fini(&r.body);
    mu_buf_fini(&in);
    return r.rc;
}

static void test_limits(void **state)
{
    const struct mu_str size = MU_S("1;"), behind = MU_S("\r\na\r\n"), last = MU_S("0\r\nX:");

    (void)state;
    assert_int_equal(with_padding(size, MU_CHUNK_LINE_MAX - 3, behind, 1), MU_OK);
    assert_int_equal(with_padding(size, MU_CHUNK_LINE_MAX - 2, behind, 1), MU_LIMIT);
    assert_int_equal(with_padding(size, MU_CHUNK_EXTRA_MAX, MU_STR_NULL, 1), MU_LIMIT);
    assert_int_equal(with_padding(last, MU_CHUNK_LINE_MAX - 2, MU_S("\r\n\r\n"), 1), MU_EOF);
    assert_int_equal(with_padding(last, MU_CHUNK_LINE_MAX - 1, MU_S("\r\n\r\n"), 1), MU_LIMIT);
    /* Extensions cannot make a body of a few bytes cost megabytes. */
    assert_int_equal(with_padding(size, 1000, behind, 60), MU_OK);
    assert_int_equal(with_padding(size, 1000, behind, 70), MU_LIMIT);
}

static void test_trailers_together(void **state)
{
    struct mu_buf in = { 0 };
    struct result r;

    (void)state;
    mu_buf_add(&in, MU_S("0\r\n"));
    for (int i = 0; i < 100; i++) {
        mu_buf_add(&in, MU_S("A: "));
        pad(&in, 1000);
        mu_buf_add(&in, MU_S("\r\n"));
    }
    r = decode(mu_buf_str(&in), in.n, 1, true);
    assert_int_equal(r.rc, MU_LIMIT);
    mu_buf_fini(&r.body);
    mu_buf_fini(&in);
}

static void test_after_the_end(void **state)
{
    struct mu_chunked c = { 0 };
    struct mu_str data;
    size_t used;

    (void)state;
    assert_int_equal(mu_chunked_decode(&c, "0\r\n\r\nab", 7, &data, &used, NULL, NULL), MU_EOF);
    assert_int_equal(used, 5);
    assert_int_equal(mu_chunked_decode(&c, "ab", 2, &data, &used, NULL, NULL), MU_EOF);
    assert_int_equal(used, 0);
    assert_int_equal(data.n, 0);
}

/* What the writer of chunk heads writes, the decoder reads back. */
static void test_chunk_head(void **state)
{
    static const struct {
        int line;
        uint64_t n;
        const char *text;
    } heads[] = {
        { __LINE__, 1, "1\r\n" },
        { __LINE__, 15, "f\r\n" },
        { __LINE__, 16, "10\r\n" },
        { __LINE__, 0x1a2b, "1a2b\r\n" },
        { __LINE__, INT64_MAX, "7fffffffffffffff\r\n" },
        { __LINE__, UINT64_MAX, "ffffffffffffffff\r\n" },
        { __LINE__, 0, "0\r\n" },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(heads); i++) {
        char buf[18];

        EXPECT_STR(heads[i].line, mu_str_n(buf, mu_chunk_head(heads[i].n, buf)),
                   mu_str_c(heads[i].text));
    }
    for (unsigned shift = 0; shift < 63; shift++) {
        struct mu_chunked c = { 0 };
        struct mu_str data;
        size_t used;
        char buf[18];
        size_t n = mu_chunk_head(UINT64_C(1) << shift, buf);

        assert_int_equal(mu_chunked_decode(&c, buf, n, &data, &used, NULL, NULL), MU_OK);
        assert_int_equal(used, n);
        assert_true(c.left == UINT64_C(1) << shift);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),         cmocka_unit_test(test_limits),
        cmocka_unit_test(test_trailers_together), cmocka_unit_test(test_after_the_end),
        cmocka_unit_test(test_chunk_head),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
