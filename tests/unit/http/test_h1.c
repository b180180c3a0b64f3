/*
 * The head parser: what is understood, and every refusal with its status. Each row is parsed in one
 * piece, byte by byte and cut in two at every place; then random mutations of the rows are cut at
 * random places. The outcome must be equal.
 */
#include "http_test.h"

#include "h1_check.h"

enum { STRICT = 0, UNSAFE = 1, REGISTERED = 2, OLD = 4 };

struct row {
    int line;
    int options;
    struct mu_str in;
    enum mu_rc rc;
    enum mu_status status;
    const char *problem; /* a part of it; NULL when accepted */
};

#define H "Host: a\r\n"
#define END "\r\n"
#define GET(...) "GET / HTTP/1.1\r\n" H __VA_ARGS__ END
#define POST(...) "POST / HTTP/1.1\r\n" H __VA_ARGS__ END
#define LIT(s)                                                                                     \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }
#define OK(options, text)                                                                          \
    {                                                                                              \
        __LINE__, options, LIT(text), MU_OK, MU_STATUS_NONE, NULL                                  \
    }
#define MORE(options, text)                                                                        \
    {                                                                                              \
        __LINE__, options, LIT(text), MU_AGAIN, MU_STATUS_NONE, NULL                               \
    }
#define BAD(options, text, why)                                                                    \
    {                                                                                              \
        __LINE__, options, LIT(text), MU_BAD, MU_400_BAD_REQUEST, why                              \
    }
#define NO(options, text, status, why)                                                             \
    {                                                                                              \
        __LINE__, options, LIT(text), MU_BAD, status, why                                          \
    }

static const struct row rows[] = {
    /* Whole heads. */
    OK(0, GET()),
    OK(0, GET("A: b\r\nC:d\r\nE:\r\nF:\t g \t\r\nG: \x80\xff h\r\n")),
    OK(0, "GET / HTTP/1.0\r\n\r\n"),
    OK(0, "\r\n\r\n" GET()),
    OK(0, "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n" GET()),
    OK(0, "\r\n" GET() "GET /next HTTP/1.1\r\n"),
    OK(0, "GET /a?b=c%00&d HTTP/1.7\r\n" H END),
    OK(0, "GET /a|b^`{}\\\"<>\xc3\xa4[] HTTP/1.1\r\n" H END),
    OK(0, "FOO!#$%&'*+-.^_`|~ / HTTP/1.1\r\n" H END),
    OK(0, POST("Content-Length: 0\r\n")),
    OK(0, POST("Content-Length: 000012\r\n")),
    OK(0, POST("Content-Length: 9223372036854775807\r\n")),
    OK(0, POST("Transfer-Encoding: chunked\r\n")),
    OK(0, POST("transfer-encoding:\tCHUNKED \r\n")),
    OK(0, POST("Content-Length: 3\r\nExpect: 100-Continue\r\n")),
    OK(0, GET("Expect: more\r\n")),
    OK(0, GET("Connection: keep-alive, close\r\n")),
    OK(0, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"),
    OK(0, "GET http://b:81/x?y HTTP/1.1\r\n" H END),
    OK(0, "GET HTTPS://b?y HTTP/1.1\r\n" H END),
    OK(0, "OPTIONS * HTTP/1.1\r\n" H END),
    OK(0, "OPTIONS / HTTP/1.1\r\n" H END),
    OK(0, "CONNECT b:443 HTTP/1.1\r\n" H END),
    OK(0, "CONNECT [::1]:443 HTTP/1.1\r\n" H END),
    OK(OLD, "GET /\r\n"),
    OK(OLD, "GET /\r\nHost: a\r\n\r\n"),
    OK(UNSAFE, "GET   /  HTTP/1.1 \nHost: a\n\n"),
    OK(UNSAFE, "GET / http/1.1\r\n" H END),
    OK(UNSAFE, "GET /#there HTTP/1.1\r\n" H END),
    OK(UNSAFE, GET("A: b\r\n  c\r\n\td\r\nE: f\r\n")),
    OK(UNSAFE, GET("A:\r\n b\r\n")),
    OK(UNSAFE, GET("A: \x01\x7f\r\n")),

    /* Heads that go on. */
    MORE(0, ""),
    MORE(0, "\r\n"),
    MORE(0, "G"),
    MORE(0, "GET / HTTP/1.1\r\n"),
    MORE(0, "GET / HTTP/1.1\r\n" H),
    MORE(0, "GET / HTTP/1.1\r\n" H "\r"),
    MORE(0, "get it wrong, but without a line end"),

    /* Line ends and bytes that no head holds. */
    BAD(0, "GET / HTTP/1.1\n" H END, "bare LF"),
    BAD(0, "GET / HTTP/1.1\r\nHost: a\n\r\n", "bare LF"),
    BAD(0, "GET / HTTP/1.1\r\n" H "\n", "bare LF"),
    BAD(0, "\n" GET(), "bare LF"),
    BAD(0, GET("A: b\rc\r\n"), "control character"),
    BAD(UNSAFE, GET("A: b\rc\r\n"), "control character"),
    BAD(0, GET("A: b\r\r\n"), "control character"),
    BAD(UNSAFE, GET("A: b\r\r\n"), "control character"),
    BAD(0, "GET /\r HTTP/1.1\r\n" H END, "request target"),
    BAD(UNSAFE, "GET /\r HTTP/1.1\r\n" H END, "request target"),
    BAD(0, GET("A: b\0c\r\n"), "control character"),
    BAD(UNSAFE, GET("A: b\0c\r\n"), "control character"),
    BAD(0, "GET /\0 HTTP/1.1\r\n" H END, "request target"),
    BAD(UNSAFE, "GET /\0 HTTP/1.1\r\n" H END, "request target"),
    BAD(0, GET("A: \x01\r\n"), "control character"),
    BAD(0, GET("A: abcdefghijk\x1fmnopqrst\r\n"), "control character"),
    BAD(0, GET("A: abcdefgh\x7f\r\n"), "control character"),
    BAD(0,
        GET("A: abc\x7f"
            "defghijkl\r\n"),
        "control character"),
    BAD(0, GET("A: abcdefgh\x01ijklmnop\r\n"), "control character"),
    OK(0, GET("A: abc\x80\xff\x7e\x20\x09ghijklmnopqrs\r\n")),
    BAD(UNSAFE, GET("A: b\vc\r\n"), "control character"),
    BAD(0, "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n" GET(), "empty lines"),

    /* Field lines. */
    BAD(0, GET("A : b\r\n"), "white space before the colon"),
    BAD(UNSAFE, GET("A : b\r\n"), "white space before the colon"),
    BAD(0, GET("A\t: b\r\n"), "white space before the colon"),
    BAD(0, GET(" A: b\r\n"), "folded"),
    BAD(0, "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "folded"),
    BAD(UNSAFE, "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "folded"),
    BAD(0, GET("A: b\r\n c\r\n"), "folded"),
    BAD(0, GET("A: b\r\n\tc\r\n"), "folded"),
    BAD(UNSAFE, "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", "folded"),
    BAD(UNSAFE, POST("Content-Length: 1\r\n 2\r\n"), "folded"),
    BAD(UNSAFE, POST("Transfer-Encoding:\r\n chunked\r\n"), "folded"),
    BAD(UNSAFE, GET("A: b\r\n \r\n"), "empty continuation"),
    BAD(UNSAFE, GET("A: b\r\n c\rd\r\n"), "control character"),
    BAD(0, GET("A\r\n"), "without a colon"),
    BAD(0, GET(": b\r\n"), "field name"),
    BAD(0, GET("A(: b\r\n"), "field name"),
    BAD(0, GET("A\xe4: b\r\n"), "field name"),
    BAD(UNSAFE, GET("A B: c\r\n"), "white space"),

    /* The request line. */
    BAD(0, "GET  / HTTP/1.1\r\n" H END, "several spaces"),
    BAD(0, "GET /  HTTP/1.1\r\n" H END, "version"),
    BAD(0, "GET\t/ HTTP/1.1\r\n" H END, "method"),
    BAD(0, "GET /\tHTTP/1.1\r\n" H END, "white space other than"),
    BAD(UNSAFE, "GET\t/ HTTP/1.1\r\n" H END, "method"),
    BAD(UNSAFE, "GET /\tHTTP/1.1\r\n" H END, "white space other than"),
    BAD(OLD, "GET HTTP/1.1\r\n" H END, "without a target"),
    BAD(0, " GET / HTTP/1.1\r\n" H END, "method"),
    BAD(0, "GET / HTTP/1.1 \r\n" H END, "version"),
    BAD(0, "GET / HTTP/1.1 x\r\n" H END, "version"),
    BAD(UNSAFE, "GET / HTTP/1.1 x\r\n" H END, "version"),
    BAD(0, "GET\r\n\r\n", "without a target"),
    BAD(0, "GET \r\n\r\n", "target"),
    BAD(0, "G(T / HTTP/1.1\r\n" H END, "method"),
    BAD(0, "\x16\x03\x01\x02 / HTTP/1.1\r\n" H END, "method"),
    BAD(0, "GET /#x HTTP/1.1\r\n" H END, "fragment"),
    BAD(UNSAFE, "GET # HTTP/1.1\r\n" H END, "fragment"),
    BAD(0, "GET /\x7f HTTP/1.1\r\n" H END, "request target"),
    BAD(0, "GET / http/1.1\r\n" H END, "version"),
    BAD(0, "GET / HTTP/1\r\n" H END, "version"),
    BAD(0, "GET / HTTP/11\r\n" H END, "version"),
    BAD(0, "GET / HTTP/1.10\r\n" H END, "version"),
    BAD(0, "GET / HTTP/01.1\r\n" H END, "version"),
    BAD(0, "GET / HTTP/x.1\r\n" H END, "version"),
    BAD(0, "GET / HTTP/1.x\r\n" H END, "version"),
    BAD(0, "GET / HTTPS/1.1\r\n" H END, "version"),
    BAD(0, "GET / ABCDE1.1\r\n" H END, "version"),
    BAD(OLD, "GET / HTTP/0.9\r\n" H END, "HTTP/0.9"),
    NO(0, "GET / HTTP/2.0\r\n" H END, MU_505_HTTP_VERSION_NOT_SUPPORTED, "version"),
    NO(0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", MU_505_HTTP_VERSION_NOT_SUPPORTED, "version"),
    BAD(0, "GET /\r\n", "HTTP/0.9"),
    BAD(OLD, "POST /\r\n", "not a GET"),
    OK(REGISTERED, GET()),
    NO(REGISTERED, "FOO / HTTP/1.1\r\n" H END, MU_501_NOT_IMPLEMENTED, "registered"),
    NO(REGISTERED, "get / HTTP/1.1\r\n" H END, MU_501_NOT_IMPLEMENTED, "registered"),

    /* Forms of the target. */
    BAD(0, "GET x HTTP/1.1\r\n" H END, "neither"),
    BAD(0, "GET * HTTP/1.1\r\n" H END, "'*'"),
    BAD(0, "GET *x HTTP/1.1\r\n" H END, "neither"),
    BAD(0, "GET http:/x HTTP/1.1\r\n" H END, "neither"),
    BAD(0, "GET http:x HTTP/1.1\r\n" H END, "neither"),
    BAD(0, "GET http HTTP/1.1\r\n" H END, "neither"),
    BAD(0, "GET ftp://a/x HTTP/1.1\r\n" H END, "neither"),
    BAD(0, "GET ://a/ HTTP/1.1\r\n" H END, "neither"),
    BAD(0, "GET http:// HTTP/1.1\r\n" H END, "authority"),
    BAD(0, "GET http:///x HTTP/1.1\r\n" H END, "authority"),
    BAD(0, "GET http://:80/x HTTP/1.1\r\n" H END, "authority"),
    BAD(0, "GET http://u@a/ HTTP/1.1\r\n" H END, "authority"),
    BAD(0, "GET http://u:p@a/ HTTP/1.1\r\n" H END, "authority"),
    BAD(0, "GET http://a:b/ HTTP/1.1\r\n" H END, "authority"),
    BAD(0, "GET http://a/ HTTP/1.1\r\n\r\n", "without Host"),
    BAD(0, "GET http://a/ HTTP/1.1\r\nHost: b/c\r\n\r\n", "Host"),
    BAD(0, "CONNECT / HTTP/1.1\r\n" H END, "CONNECT"),
    BAD(0, "CONNECT a HTTP/1.1\r\n" H END, "CONNECT"),
    BAD(0, "CONNECT a:0 HTTP/1.1\r\n" H END, "CONNECT"),
    BAD(0, "CONNECT :1 HTTP/1.1\r\n" H END, "CONNECT"),
    BAD(0, "CONNECT http://a:1/ HTTP/1.1\r\n" H END, "CONNECT"),

    /* Framing. */
    BAD(0, POST("Content-Length: +5\r\n"), "Content-Length"),
    BAD(0, POST("Content-Length: -5\r\n"), "Content-Length"),
    BAD(0, POST("Content-Length:\r\n"), "Content-Length"),
    BAD(0, POST("Content-Length: 5x\r\n"), "Content-Length"),
    BAD(0, POST("Content-Length: 0x5\r\n"), "Content-Length"),
    BAD(0, POST("Content-Length: 5 5\r\n"), "Content-Length"),
    BAD(0, POST("Content-Length: 5, 6\r\n"), "Content-Length"),
    BAD(0, POST("Content-Length: 5, 5\r\n"), "Content-Length"),
    BAD(0, POST("Content-Length: 5.0\r\n"), "Content-Length"),
    BAD(0, POST("Content-Length: 5\r\nContent-Length: 6\r\n"), "Content-Length"),
    BAD(0, POST("Content-Length: 5\r\nContent-Length: 5\r\n"), "Content-Length"),
    BAD(0, POST("Content-Length: 9223372036854775808\r\n"), "Content-Length"),
    BAD(0, POST("Content-Length: 18446744073709551616\r\n"), "Content-Length"),
    BAD(0, POST("Content-Length: 99999999999999999999999\r\n"), "Content-Length"),
    BAD(UNSAFE, POST("Content-Length: +5\r\n"), "Content-Length"),
    BAD(0, POST("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), "beside"),
    BAD(0, POST("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"), "beside"),
    BAD(UNSAFE, POST("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), "beside"),
    BAD(0, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0"),
    BAD(0, POST("Transfer-Encoding:\r\n"), "malformed Transfer-Encoding"),
    BAD(0, POST("Transfer-Encoding: gzip\r\n"), "end in chunked"),
    BAD(0, POST("Transfer-Encoding: identity\r\n"), "end in chunked"),
    BAD(0, POST("Transfer-Encoding: chunked, gzip\r\n"), "malformed Transfer-Encoding"),
    BAD(0, POST("Transfer-Encoding: chunked, chunked\r\n"), "malformed Transfer-Encoding"),
    BAD(0, POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        "malformed Transfer-Encoding"),
    BAD(0, POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n"),
        "malformed Transfer-Encoding"),
    BAD(0, POST("Transfer-Encoding: ,chunked\r\n"), "malformed Transfer-Encoding"),
    BAD(0, POST("Transfer-Encoding: chunked,\r\n"), "malformed Transfer-Encoding"),
    BAD(0, POST("Transfer-Encoding: chunked;q=1\r\n"), "malformed Transfer-Encoding"),
    BAD(0, POST("Transfer-Encoding: \"chunked\"\r\n"), "malformed Transfer-Encoding"),
    BAD(UNSAFE, POST("Transfer-Encoding: chunked, chunked\r\n"), "malformed Transfer-Encoding"),
    NO(0, POST("Transfer-Encoding: foo\r\n"), MU_501_NOT_IMPLEMENTED, "unknown transfer coding"),
    NO(0, POST("Transfer-Encoding: xchunked\r\n"), MU_501_NOT_IMPLEMENTED, "unknown"),
    NO(0, POST("Transfer-Encoding: foo, chunked\r\n"), MU_501_NOT_IMPLEMENTED, "unknown"),
    NO(0, POST("Transfer-Encoding: gzip, chunked\r\n"), MU_501_NOT_IMPLEMENTED, "unknown"),
    NO(0, POST("Transfer-Encoding: foo\r\nTransfer-Encoding: chunked\r\n"), MU_501_NOT_IMPLEMENTED,
       "unknown"),

    /* Host. */
    BAD(0, "GET / HTTP/1.1\r\n\r\n", "without Host"),
    BAD(0, "GET / HTTP/1.1\r\nHost:\r\n\r\n", "Host"),
    OK(0, "GET / HTTP/1.0\r\nHost:\r\n\r\n"),
    BAD(0, GET("Host: a\r\n"), "several Host"),
    BAD(0, GET("host: b\r\n"), "several Host"),
    BAD(0, "GET / HTTP/1.0\r\n" H H END, "several Host"),
    BAD(0, "GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", "malformed Host"),
    OK(0, "GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n"),
    OK(0, "GET / HTTP/1.0\r\nHost: 192.0.2.1\r\n\r\n"),
    OK(0, "GET / HTTP/1.0\r\nHost: 2.a3-4_5\r\n\r\n"),
    OK(0, "GET / HTTP/1.0\r\nHost: a.b.:80\r\n\r\n"),
    BAD(0, "GET / HTTP/1.0\r\nHost: 127.1\r\n\r\n", "malformed Host"),
    BAD(0, "GET / HTTP/1.0\r\nHost: 1\r\n\r\n", "malformed Host"),
    BAD(0, "GET / HTTP/1.0\r\nHost: 192.0.2.01\r\n\r\n", "malformed Host"),
    BAD(0, "GET / HTTP/1.0\r\nHost: 192.0.2.1.5\r\n\r\n", "malformed Host"),
    BAD(0, "GET / HTTP/1.0\r\nHost: 192.0.2.256\r\n\r\n", "malformed Host"),
    BAD(0, "GET / HTTP/1.0\r\nHost: 1234567890123456\r\n\r\n", "malformed Host"),
    BAD(0, "GET / HTTP/1.0\r\nHost: a.1b\r\n\r\n", "malformed Host"),
    BAD(0, "GET / HTTP/1.0\r\nHost: a.-b\r\n\r\n", "malformed Host"),
};

static struct mu_h1_limits limits_of(int options)
{
    return (struct mu_h1_limits){ .max_line = 8190,
                                  .max_field = 8190,
                                  .max_fields = 100,
                                  .is_unsafe = options & UNSAFE,
                                  .wants_registered_methods = options & REGISTERED,
                                  .may_09 = options & OLD };
}

static void test_outcomes(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        struct mu_h1_limits limits = limits_of(r->options);
        struct h1_outcome o;

        h1_run(&o, &limits, r->in, NULL, 0);
        EXPECT_ROW(r->line, o.rc == r->rc);
        EXPECT_ROW(r->line, o.status == r->status);
        EXPECT_ROW(r->line, (o.problem != NULL) == (r->problem != NULL));
        EXPECT_ROW(r->line, !r->problem || strstr(o.problem, r->problem));
        EXPECT_ROW(r->line, (o.head_len > 0) == (r->rc == MU_OK));
        mu_buf_fini(&o.text);
    }
}

static void test_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        struct mu_h1_limits limits = limits_of(r->options);
        size_t cuts[512];

        assert_true(r->in.n < MU_ARRAY_LEN(cuts));
        for (size_t k = 0; k < r->in.n; k++) {
            cuts[k] = k;
            EXPECT_ROW(r->line, h1_cuts_do_not_matter(&limits, r->in, &cuts[k], 1));
        }
        EXPECT_ROW(r->line, h1_cuts_do_not_matter(&limits, r->in, cuts, r->in.n));
    }
}

/* Change a few bytes: overwrite, remove, repeat, often with a byte that means something. */
static size_t mutate(char *p, size_t n, size_t cap, uint64_t *seed)
{
    static const char telling[] = "\r\n :\t,/?*%0\0\x7f\xff";

    for (uint64_t k = next_random(seed) % 4 + 1; k > 0 && n > 0; k--) {
        size_t at = next_random(seed) % n;
        uint64_t r = next_random(seed);

        switch (r % 4) {
        case 0:
            p[at] = telling[(r >> 8) % (sizeof(telling) - 1)];
            break;
        case 1:
            memmove(p + at, p + at + 1, n - at - 1);
            n--;
            break;
        case 2:
            if (n < cap) {
                memmove(p + at + 1, p + at, n - at);
                n++;
            }
            break;
        default:
            p[at] = (char)(r >> 8);
        }
    }
    return n;
}

static void test_mutations(void **state)
{
    uint64_t seed = 20240601;

    (void)state;
    for (int round = 0; round < 30000; round++) {
        const struct row *r = &rows[next_random(&seed) % MU_ARRAY_LEN(rows)];
        struct mu_h1_limits limits = limits_of((int)(next_random(&seed) % 8));
        char text[600];
        size_t cuts[3], n;

        limits.max_field = (uint32_t)(next_random(&seed) % 4 ? 8190 : 12);
        memcpy(text, r->in.p, r->in.n);
        n = mutate(text, r->in.n, sizeof(text), &seed);
        cuts[0] = next_random(&seed) % (n + 1);
        cuts[1] = cuts[0] + next_random(&seed) % (n + 1 - cuts[0]);
        cuts[2] = cuts[1] + next_random(&seed) % (n + 1 - cuts[1]);
        if (!h1_cuts_do_not_matter(&limits, (struct mu_str){ text, n }, cuts, 3)) {
            fail_msg("round %d, row at line %d: cuts %zu %zu %zu matter", round, r->line, cuts[0],
                     cuts[1], cuts[2]);
        }
    }
}

/* --- what is understood --- */

static enum mu_rc parse(struct mu_arena *a, const char *in, struct mu_h1_head *head)
{
    struct mu_h1_limits limits = limits_of(OLD);
    struct mu_h1_parser p = { 0 };
    enum mu_status status;
    size_t head_len;

    return mu_h1_parse(&p, &limits, a, in, strlen(in), head, &head_len, &status);
}

static void test_origin_form(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_h1_head h;
    static const char in[] = "GET /x/y?q=1?2 HTTP/1.1\r\nHost: WWW.Example.org.:8080\r\n"
                             "User-agent: me \t\r\nX-Y:z\r\n\r\n";

    (void)state;
    assert_int_equal(parse(a, in, &h), MU_OK);
    EXPECT_STR(__LINE__, h.request_line, MU_S("GET /x/y?q=1?2 HTTP/1.1"));
    EXPECT_STR(__LINE__, h.method_name, MU_S("GET"));
    EXPECT_STR(__LINE__, h.target, MU_S("/x/y?q=1?2"));
    EXPECT_STR(__LINE__, h.path, MU_S("/x/y"));
    EXPECT_STR(__LINE__, h.query, MU_S("q=1?2"));
    EXPECT_STR(__LINE__, h.host, MU_S("WWW.Example.org"));
    assert_int_equal(h.host_port, 8080);
    assert_int_equal(h.method, MU_M_GET);
    assert_int_equal(h.version, 1001);
    assert_int_equal(h.framing, MU_BODY_NONE);
    assert_true(h.is_persistent);
    assert_false(h.has_target_host);
    assert_int_equal(h.headers.n, 3);
    assert_int_equal(h.headers.v[1].id, MU_H_USER_AGENT);
    EXPECT_STR(__LINE__, h.headers.v[1].name, MU_S("User-agent"));
    EXPECT_STR(__LINE__, h.headers.v[1].value, MU_S("me"));
    assert_int_equal(h.headers.v[2].id, MU_H_OTHER);
    EXPECT_STR(__LINE__, mu_headers_get(&h.headers, MU_S("x-y")), MU_S("z"));
    /* Zero copy: what was understood lies in the input. */
    assert_ptr_equal(h.path.p, in + 4);
    assert_true(h.headers.v[2].value.p > in && h.headers.v[2].value.p < in + sizeof(in));
    mu_arena_destroy(a);
}

struct target_row {
    int line;
    const char *in;
    const char *path, *query, *host;
    uint16_t port;
};

static const struct target_row targets[] = {
    { __LINE__, "GET /? HTTP/1.1\r\nHost: a\r\n\r\n", "/", "", "a", 0 },
    { __LINE__, "GET //x HTTP/1.1\r\nHost: a\r\n\r\n", "//x", NULL, "a", 0 },
    { __LINE__, "GET http://b/x?y HTTP/1.1\r\nHost: a:1\r\n\r\n", "/x", "y", "b", 0 },
    { __LINE__, "GET http://b:9 HTTP/1.1\r\nHost: a:1\r\n\r\n", "/", NULL, "b", 9 },
    { __LINE__, "GET http://b?y/z HTTP/1.1\r\nHost: a:1\r\n\r\n", "/", "y/z", "b", 0 },
    { __LINE__, "GET http://[::1]:9/x HTTP/1.1\r\nHost: a\r\n\r\n", "/x", NULL, "[::1]", 9 },
    { __LINE__, "GET http://b/ HTTP/1.0\r\n\r\n", "/", NULL, "b", 0 },
    { __LINE__, "OPTIONS * HTTP/1.1\r\nHost: a:1\r\n\r\n", "*", NULL, "a", 1 },
    { __LINE__, "CONNECT c:443 HTTP/1.1\r\nHost: a\r\n\r\n", "c:443", NULL, "c", 443 },
    { __LINE__, "GET / HTTP/1.0\r\n\r\n", "/", NULL, "", 0 },
};

static void test_target_forms(void **state)
{
    struct mu_arena *a = mu_arena_create(0);

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(targets); i++) {
        const struct target_row *r = &targets[i];
        struct mu_h1_head h;

        EXPECT_ROW(r->line, parse(a, r->in, &h) == MU_OK);
        EXPECT_STR(r->line, h.path, mu_str_c(r->path));
        EXPECT_STR(r->line, h.query, mu_str_c(r->query));
        EXPECT_ROW(r->line, (h.query.p != NULL) == (r->query != NULL));
        EXPECT_STR(r->line, h.host, mu_str_c(r->host));
        EXPECT_ROW(r->line, h.host_port == r->port);
        mu_arena_reset(a);
    }
    mu_arena_destroy(a);
}

struct host_row {
    int line;
    const char *in;
    const char *host; /* NULL: refused */
    uint16_t port;
};

static const struct host_row hosts[] = {
    { __LINE__, "a", "a", 0 },
    { __LINE__, "a-b_c.D.example", "a-b_c.D.example", 0 },
    { __LINE__, "a.", "a", 0 },
    { __LINE__, "a.:80", "a", 80 },
    { __LINE__, ".a", ".a", 0 },
    { __LINE__, "", "", 0 },
    { __LINE__, "192.0.2.1:65535", "192.0.2.1", 65535 },
    { __LINE__, "[2001:db8::1]", "[2001:db8::1]", 0 },
    { __LINE__, "[::ffff:192.0.2.1]:8080", "[::ffff:192.0.2.1]", 8080 },
    { __LINE__, ".", NULL, 0 },
    { __LINE__, "a..b", NULL, 0 },
    { __LINE__, "a:", NULL, 0 },
    { __LINE__, "a:0", NULL, 0 },
    { __LINE__, "a:65536", NULL, 0 },
    { __LINE__, "a:000080", NULL, 0 },
    { __LINE__, "a:8a", NULL, 0 },
    { __LINE__, "a:+80", NULL, 0 },
    { __LINE__, "a:80:80", NULL, 0 },
    { __LINE__, "a b", NULL, 0 },
    { __LINE__, "a/b", NULL, 0 },
    { __LINE__, "a\\b", NULL, 0 },
    { __LINE__, "a@b", NULL, 0 },
    { __LINE__, "a,b", NULL, 0 },
    { __LINE__, "a%20b", NULL, 0 },
    { __LINE__, "a?b", NULL, 0 },
    { __LINE__, "a#b", NULL, 0 },
    { __LINE__, "\xc3\xa4", NULL, 0 },
    { __LINE__, "::1", NULL, 0 },
    { __LINE__, "[::1", NULL, 0 },
    { __LINE__, "[]", NULL, 0 },
    { __LINE__, "[::g]", NULL, 0 },
    { __LINE__, "[192.0.2.1]", NULL, 0 },
    { __LINE__, "[fe80::1%eth0]", NULL, 0 },
    { __LINE__, "[v1.x]", NULL, 0 },
    { __LINE__, "[::1]x", NULL, 0 },
    { __LINE__, "[::1]80", NULL, 0 },
    { __LINE__, "[::1]:", NULL, 0 },
    { __LINE__, "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]", NULL, 0 },
};

static void test_hosts(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(hosts); i++) {
        const struct host_row *r = &hosts[i];
        struct mu_str host;
        uint16_t port;

        EXPECT_ROW(r->line, mu_h1_authority(mu_str_c(r->in), &host, &port) == (r->host != NULL));
        if (r->host) {
            EXPECT_STR(r->line, host, mu_str_c(r->host));
            EXPECT_ROW(r->line, port == r->port);
        }
    }
}

struct meaning_row {
    int line;
    const char *in;
    bool is_persistent, expects_continue, expects_unknown;
    enum mu_framing framing;
    uint64_t length;
};

static const struct meaning_row meanings[] = {
    { __LINE__, GET(), true, false, false, MU_BODY_NONE, 0 },
    { __LINE__, GET("Connection: close\r\n"), false, false, false, MU_BODY_NONE, 0 },
    { __LINE__, GET("Connection: x, CLOSE ,y\r\n"), false, false, false, MU_BODY_NONE, 0 },
    { __LINE__, GET("Connection: x\r\nConnection: close\r\n"), false, false, false, MU_BODY_NONE,
      0 },
    { __LINE__, GET("Connection: closed\r\n"), true, false, false, MU_BODY_NONE, 0 },
    { __LINE__, "GET / HTTP/1.0\r\n\r\n", false, false, false, MU_BODY_NONE, 0 },
    { __LINE__, "GET / HTTP/1.0\r\nConnection: Keep-alive\r\n\r\n", true, false, false,
      MU_BODY_NONE, 0 },
    { __LINE__, "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false, false, false,
      MU_BODY_NONE, 0 },
    { __LINE__, "GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", false, false, false, MU_BODY_NONE,
      0 },
    { __LINE__, "GET / HTTP/1.0\r\nExpect: x\r\n\r\n", false, false, true, MU_BODY_NONE, 0 },
    { __LINE__, "GET / HTTP/1.9\r\nHost: a\r\n\r\n", true, false, false, MU_BODY_NONE, 0 },
    { __LINE__, "GET /\r\n", false, false, false, MU_BODY_NONE, 0 },
    { __LINE__, POST("Content-Length: 12\r\nExpect: 100-CONTINUE\r\n"), true, true, false,
      MU_BODY_LENGTH, 12 },
    { __LINE__, POST("Content-Length: 1\r\nExpect: 100-continue, x\r\n"), true, false, true,
      MU_BODY_LENGTH, 1 },
    { __LINE__, POST("Content-Length: 1\r\nExpect:\r\n"), true, false, false, MU_BODY_LENGTH, 1 },
    { __LINE__, POST("Content-Length: 0\r\n"), true, false, false, MU_BODY_NONE, 0 },
    { __LINE__, POST("Transfer-Encoding: chunked\r\n"), true, false, false, MU_BODY_CHUNKED, 0 },
};

static void test_meaning(void **state)
{
    struct mu_arena *a = mu_arena_create(0);

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(meanings); i++) {
        const struct meaning_row *r = &meanings[i];
        struct mu_h1_head h;

        EXPECT_ROW(r->line, parse(a, r->in, &h) == MU_OK);
        EXPECT_ROW(r->line, h.is_persistent == r->is_persistent);
        EXPECT_ROW(r->line, h.expects_continue == r->expects_continue);
        EXPECT_ROW(r->line, h.expects_unknown == r->expects_unknown);
        EXPECT_ROW(r->line, h.framing == r->framing);
        EXPECT_ROW(r->line, h.content_length == r->length);
        mu_arena_reset(a);
    }
    mu_arena_destroy(a);
}

static void test_unfolded_value(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_h1_limits limits = limits_of(UNSAFE);
    struct mu_h1_parser p = { 0 };
    struct mu_h1_head h;
    enum mu_status status;
    size_t head_len;
    static const char in[] = GET("A: b\r\n  c \r\n\td\r\nE:\r\n f\r\n");

    (void)state;
    assert_int_equal(mu_h1_parse(&p, &limits, a, in, sizeof(in) - 1, &h, &head_len, &status),
                     MU_OK);
    EXPECT_STR(__LINE__, mu_headers_get(&h.headers, MU_S("A")), MU_S("b c d"));
    EXPECT_STR(__LINE__, mu_headers_get(&h.headers, MU_S("E")), MU_S("f"));
    mu_arena_destroy(a);
}

/* However many lines a field has, putting it together takes no more than a few times its bytes. */
static void test_memory_of_unfolding(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_h1_limits limits = limits_of(UNSAFE);
    struct mu_h1_parser p = { 0 };
    struct mu_buf in = { 0 };
    struct mu_h1_head h;
    enum mu_status status;
    size_t head_len;

    (void)state;
    limits.max_field = 8190;
    mu_buf_add(&in, MU_S("GET / HTTP/1.1\r\nHost: a\r\n"));
    for (int field = 0; field < 3; field++) {
        mu_buf_add(&in, MU_S("A: b\r\n"));
        for (int i = 0; i < 4000; i++) {
            mu_buf_add(&in, MU_S(" c\n"));
        }
    }
    mu_buf_add(&in, MU_S("\r\n"));
    assert_int_equal(mu_h1_parse(&p, &limits, a, in.p, in.n, &h, &head_len, &status), MU_OK);
    assert_int_equal(h.headers.v[3].value.n, 1 + 4000 * 2);
    assert_true(mu_arena_used(a) < 4 * in.n);
    mu_buf_fini(&in);
    mu_arena_destroy(a);
}

/* What was understood before the error is there for the access log. */
static void test_head_after_error(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_h1_head h;

    (void)state;
    assert_int_equal(parse(a, "PUT /x HTTP/1.1\r\nHost: a\r\nBad\r\n", &h), MU_BAD);
    EXPECT_STR(__LINE__, h.request_line, MU_S("PUT /x HTTP/1.1"));
    assert_int_equal(h.method, MU_M_PUT);
    assert_int_equal(h.version, 1001);
    EXPECT_STR(__LINE__, h.path, MU_S("/x"));
    EXPECT_STR(__LINE__, mu_headers_get_id(&h.headers, MU_H_HOST), MU_S("a"));
    assert_int_equal(parse(a, "nonsense\r\n", &h), MU_BAD);
    EXPECT_STR(__LINE__, h.request_line, MU_S("nonsense"));
    assert_int_equal(h.version, 1000);
    mu_arena_destroy(a);
}

/* --- limits --- */

struct limit_row {
    int line;
    size_t line_len;  /* of the request line */
    size_t field_len; /* of one more field line, 0: none */
    size_t fields;    /* short ones, Host counted */
    bool is_complete; /* does the last line end? */
    enum mu_rc rc;
    enum mu_status status;
};

static const struct limit_row limit_rows[] = {
    { __LINE__, 50, 0, 1, true, MU_OK, MU_STATUS_NONE },
    { __LINE__, 51, 0, 1, true, MU_OK, MU_STATUS_NONE },
    { __LINE__, 52, 0, 1, true, MU_LIMIT, MU_414_URI_TOO_LONG },
    { __LINE__, 5000, 0, 1, true, MU_LIMIT, MU_414_URI_TOO_LONG },
    { __LINE__, 20, 40, 1, true, MU_OK, MU_STATUS_NONE },
    { __LINE__, 20, 41, 1, true, MU_OK, MU_STATUS_NONE },
    { __LINE__, 20, 42, 1, true, MU_LIMIT, MU_431_REQUEST_HEADER_FIELDS_TOO_LARGE },
    { __LINE__, 20, 42, 1, false, MU_LIMIT, MU_431_REQUEST_HEADER_FIELDS_TOO_LARGE },
    { __LINE__, 20, 41, 1, false, MU_AGAIN, MU_STATUS_NONE },
    { __LINE__, 20, 5000, 1, false, MU_LIMIT, MU_431_REQUEST_HEADER_FIELDS_TOO_LARGE },
    { __LINE__, 20, 0, 5, true, MU_OK, MU_STATUS_NONE },
    { __LINE__, 20, 0, 6, true, MU_LIMIT, MU_431_REQUEST_HEADER_FIELDS_TOO_LARGE },
    { __LINE__, 20, 20, 5, true, MU_LIMIT, MU_431_REQUEST_HEADER_FIELDS_TOO_LARGE },
};

static void pad(struct mu_buf *b, char c, size_t n)
{
    while (n-- > 0) {
        mu_buf_addc(b, c);
    }
}

static struct mu_buf limit_input(const struct limit_row *r)
{
    struct mu_buf b = { 0 };

    mu_buf_add(&b, MU_S("GET /"));
    pad(&b, 'x', r->line_len - sizeof("GET / HTTP/1.1") + 1);
    mu_buf_add(&b, MU_S(" HTTP/1.1\r\nHost: a\r\n"));
    for (size_t i = 1; i < r->fields; i++) {
        mu_buf_add(&b, MU_S("A: b\r\n"));
    }
    if (r->field_len > 0) {
        mu_buf_add(&b, MU_S("X: "));
        pad(&b, 'y', r->field_len - 3);
        mu_buf_add(&b, r->is_complete ? MU_S("\r\n") : MU_STR_NULL);
    }
    mu_buf_add(&b, r->is_complete ? MU_S("\r\n") : MU_STR_NULL);
    return b;
}

static void test_limits(void **state)
{
    const struct mu_h1_limits limits = { .max_line = 50, .max_field = 40, .max_fields = 5 };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(limit_rows); i++) {
        const struct limit_row *r = &limit_rows[i];
        struct mu_buf in = limit_input(r);
        struct h1_outcome o;

        h1_run(&o, &limits, mu_buf_str(&in), NULL, 0);
        EXPECT_ROW(r->line, o.rc == r->rc);
        EXPECT_ROW(r->line, o.status == r->status);
        mu_buf_fini(&o.text);
        for (size_t k = 0; k < in.n && k < 300; k++) {
            EXPECT_ROW(r->line, h1_cuts_do_not_matter(&limits, mu_buf_str(&in), &k, 1));
        }
        mu_buf_fini(&in);
    }
}

/* A folded field counts as a whole: eleven bytes here, and twelve with the byte of grace. */
static void test_limit_of_folded_field(void **state)
{
    const struct mu_h1_limits limits = {
        .max_line = 50, .max_field = 11, .max_fields = 2, .is_unsafe = true
    };
    const struct mu_str fits = MU_S("GET / HTTP/1.1\r\nHost: a\r\nX: 45\r\n 234\r\n 67\r\n\r\n");
    const struct mu_str over = MU_S("GET / HTTP/1.1\r\nHost: a\r\nX: 45\r\n 234\r\n 678\r\n\r\n");
    struct h1_outcome o;

    (void)state;
    h1_run(&o, &limits, fits, NULL, 0);
    assert_int_equal(o.rc, MU_OK);
    mu_buf_fini(&o.text);
    h1_run(&o, &limits, over, NULL, 0);
    assert_int_equal(o.rc, MU_LIMIT);
    assert_int_equal(o.status, MU_431_REQUEST_HEADER_FIELDS_TOO_LARGE);
    mu_buf_fini(&o.text);
    for (size_t k = 0; k < over.n; k++) {
        assert_true(h1_cuts_do_not_matter(&limits, fits, &k, k < fits.n));
        assert_true(h1_cuts_do_not_matter(&limits, over, &k, 1));
    }
}

static void test_many_fields_without_limit(void **state)
{
    const struct mu_h1_limits limits = { .max_line = 8190, .max_field = 8190, .max_fields = 0 };
    struct mu_arena *a = mu_arena_create(0);
    struct mu_h1_parser p = { 0 };
    struct mu_buf in = { 0 };
    struct mu_h1_head h;
    enum mu_status status;
    size_t head_len;

    (void)state;
    mu_buf_add(&in, MU_S("GET / HTTP/1.1\r\nHost: a\r\n"));
    for (int i = 0; i < 1000; i++) {
        mu_buf_addf(&in, "X-%d: %d\r\n", i, i * 7);
    }
    mu_buf_add(&in, MU_S("\r\n"));
    assert_int_equal(mu_h1_parse(&p, &limits, a, in.p, in.n, &h, &head_len, &status), MU_OK);
    assert_int_equal(head_len, in.n);
    assert_int_equal(h.headers.n, 1001);
    EXPECT_STR(__LINE__, mu_headers_get(&h.headers, MU_S("x-999")), MU_S("6993"));
    mu_buf_fini(&in);
    mu_arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_origin_form),
        cmocka_unit_test(test_target_forms),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_meaning),
        cmocka_unit_test(test_unfolded_value),
        cmocka_unit_test(test_memory_of_unfolding),
        cmocka_unit_test(test_head_after_error),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_limit_of_folded_field),
        cmocka_unit_test(test_many_fields_without_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
