/*
 * Paths: decoded once, dots removed whether encoded or not, encoded slashes by policy, with httpd's
 *        results; and the escaping that goes the other way.
 */
#include "http_test.h"

#include <muster/http.h>
#include <stdlib.h>

enum { MERGE = 1 };

struct row {
    int line;
    struct mu_str raw;
    int merge;
    enum mu_encoded_slashes slashes;
    enum mu_rc rc;
    struct mu_str path;
};

#define LIT(s)                                                                                     \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }
#define OK(raw, path)                                                                              \
    {                                                                                              \
        __LINE__, LIT(raw), MERGE, MU_SLASHES_REFUSE, MU_OK, LIT(path)                             \
    }
#define NO(raw, rc)                                                                                \
    {                                                                                              \
        __LINE__, LIT(raw), MERGE, MU_SLASHES_REFUSE, rc, LIT("")                                  \
    }
#define AS(raw, merge, slashes, path)                                                              \
    {                                                                                              \
        __LINE__, LIT(raw), merge, slashes, MU_OK, LIT(path)                                       \
    }
#define NO_AS(raw, merge, slashes, rc)                                                             \
    {                                                                                              \
        __LINE__, LIT(raw), merge, slashes, rc, LIT("")                                            \
    }

static const struct row rows[] = {
    OK("/", "/"),
    OK("/a/b.txt", "/a/b.txt"),
    OK("/a/", "/a/"),
    OK("/a%20b", "/a b"),
    OK("/%41%7a%7E", "/Az~"),
    OK("/%e4%C3%A4", "/\xe4\xc3\xa4"),
    OK("/%0a%5c%3f%23%25", "/\n\\?#%"),
    OK("/%2541", "/%41"),
    OK("/%252e%252e/x", "/%2e%2e/x"),
    OK("/%252f", "/%2f"),
    OK("/+a", "/+a"),

    /* Dot segments, as they stand and hidden. */
    OK("/.", "/"),
    OK("/./", "/"),
    OK("/a/.", "/a/"),
    OK("/a/./b", "/a/b"),
    OK("/a/..", "/"),
    OK("/a/../b", "/b"),
    OK("/a/b/../../c", "/c"),
    OK("/a/%2e%2e/b", "/b"),
    OK("/a/.%2E/b", "/b"),
    OK("/a/%2e/b", "/a/b"),
    OK("/a/%2e%2e", "/"),
    OK("/...", "/..."),
    OK("/a/..b", "/a/..b"),
    OK("/a/b..", "/a/b.."),
    OK("/a/.b", "/a/.b"),
    OK("/a/....//x", "/a/..../x"),
    NO("/..", MU_BAD),
    NO("/../x", MU_BAD),
    NO("/a/../../x", MU_BAD),
    NO("/%2e%2e/x", MU_BAD),
    NO("/%2e./x", MU_BAD),
    NO("/./../x", MU_BAD),
    NO("//../x", MU_BAD),
    NO("/a//../../x", MU_BAD),

    /* Slashes. */
    OK("//", "/"),
    OK("//a///b//", "/a/b/"),
    OK("/a//./b", "/a/b"),
    AS("//a//b", 0, MU_SLASHES_REFUSE, "//a//b"),
    AS("/a//../b", 0, MU_SLASHES_REFUSE, "/a/b"),
    AS("//../b", 0, MU_SLASHES_REFUSE, "/b"),
    NO_AS("//../../b", 0, MU_SLASHES_REFUSE, MU_BAD),
    NO("/a%2fb", MU_NOENT),
    NO("/a%2Fb", MU_NOENT),
    NO("/..%2fx", MU_NOENT),
    AS("/a%2fb%20", MERGE, MU_SLASHES_DECODE, "/a/b "),
    AS("/a%2f..%2fb", MERGE, MU_SLASHES_DECODE, "/b"),
    AS("/a%2f%2e%2e%2fb", MERGE, MU_SLASHES_DECODE, "/b"),
    AS("/a%2f%2fb", MERGE, MU_SLASHES_DECODE, "/a/b"),
    AS("/%2f..%2fb", 0, MU_SLASHES_DECODE, "/b"),
    NO_AS("/%2f..%2f..%2fb", 0, MU_SLASHES_DECODE, MU_BAD),
    NO_AS("/..%2fb", MERGE, MU_SLASHES_DECODE, MU_BAD),
    AS("/a%2fb%20", MERGE, MU_SLASHES_KEEP, "/a%2fb "),
    AS("/a%2Fb", MERGE, MU_SLASHES_KEEP, "/a%2Fb"),
    AS("/a%2f..%2fb", MERGE, MU_SLASHES_KEEP, "/a%2f..%2fb"),
    AS("/a%252fb", MERGE, MU_SLASHES_DECODE, "/a%2fb"),

    /* Bad escapes come before what does not exist. */
    NO("/%", MU_BAD),
    NO("/%4", MU_BAD),
    NO("/%zz", MU_BAD),
    NO("/%4g", MU_BAD),
    NO("/%%41", MU_BAD),
    NO("/%u0041", MU_BAD),
    NO("/a%00b", MU_NOENT),
    NO("/a\0b", MU_NOENT),
    NO("/%00", MU_NOENT),
    NO("/%00%zz", MU_BAD),
    NO("/%2f%zz", MU_BAD),
    NO_AS("/%00", MERGE, MU_SLASHES_DECODE, MU_NOENT),
    NO_AS("/%00", MERGE, MU_SLASHES_KEEP, MU_NOENT),

    NO("", MU_BAD),
    NO("*", MU_BAD),
    NO("a/b", MU_BAD),
    NO("%2fa", MU_BAD),
};

static void test_decode(void **state)
{
    struct mu_arena *a = mu_arena_create(0);

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        char *raw = malloc(r->raw.n + 1);
        struct mu_str path;

        memcpy(raw, r->raw.p, r->raw.n);
        EXPECT_ROW(r->line, mu_uri_path_decode(a, mu_str_n(raw, r->raw.n), r->merge, r->slashes,
                                               &path) == r->rc);
        EXPECT_STR(r->line, path, r->path);
        EXPECT_ROW(r->line, r->rc != MU_OK || path.p[path.n] == '\0');
        free(raw);
    }
    mu_arena_destroy(a);
}

/* Whatever the input: a path that was let through has no dot segment and stays below the root. */
static void test_no_dot_survives(void **state)
{
    static const char pieces[][8] = {
        "/", ".", "..", "%2e", "%2E", "%2f", "a", "%25", "//", "%5c"
    };
    struct mu_arena *a = mu_arena_create(0);
    uint64_t seed = 7;

    (void)state;
    for (int round = 0; round < 50000; round++) {
        char raw[100] = "/";
        struct mu_str path, rest, piece;
        enum mu_encoded_slashes slashes = (enum mu_encoded_slashes)(next_random(&seed) % 3);

        for (uint64_t k = next_random(&seed) % 12; k > 0; k--) {
            strcat(raw, pieces[next_random(&seed) % MU_ARRAY_LEN(pieces)]);
        }
        if (mu_uri_path_decode(a, mu_str_c(raw), next_random(&seed) % 2, slashes, &path) != MU_OK) {
            continue;
        }
        assert_true(path.n > 0 && path.p[0] == '/' && strlen(path.p) == path.n);
        rest = path;
        while (mu_str_split(&rest, '/', &piece)) {
            if (mu_str_eq(piece, MU_S(".")) || mu_str_eq(piece, MU_S(".."))) {
                fail_msg("'%s' became '%s'", raw, path.p);
            }
        }
        mu_arena_reset(a);
    }
    mu_arena_destroy(a);
}

static void test_encode_path(void **state)
{
    static const struct {
        int line;
        const char *in, *out;
    } table[] = {
        { __LINE__, "", "" },
        { __LINE__, "/a b/%.txt", "/a%20b/%25.txt" },
        { __LINE__, "/azAZ09$-_.+!*'(),:;@&=/~", "/azAZ09$-_.+!*'(),:;@&=/~" },
        { __LINE__, "/;?#\"<>[]\\^`{|}", "/;%3f%23%22%3c%3e%5b%5d%5c%5e%60%7b%7c%7d" },
        { __LINE__, "/\x01\x7f\x80\xff", "/%01%7f%80%ff" },
        { __LINE__, "a:b", "./a:b" },
        { __LINE__, "a/b:c", "a/b:c" },
        { __LINE__, "/a:b", "/a:b" },
    };
    struct mu_arena *a = mu_arena_create(0);

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(table); i++) {
        EXPECT_STR(table[i].line, mu_uri_encode_path(a, mu_str_c(table[i].in)),
                   mu_str_c(table[i].out));
    }
    mu_arena_destroy(a);
}

/* Encoding and decoding are each other's inverse for every byte but NUL and slash. */
static void test_encode_and_back(void **state)
{
    struct mu_arena *a = mu_arena_create(0);
    char path[256] = "/";
    struct mu_str back;

    (void)state;
    for (int c = 1; c < 256; c++) {
        path[c] = c == '/' ? 'x' : (char)c;
    }
    assert_int_equal(mu_uri_path_decode(a, mu_uri_encode_path(a, mu_str_n(path, 256)), true,
                                        MU_SLASHES_REFUSE, &back),
                     MU_OK);
    EXPECT_STR(__LINE__, back, mu_str_n(path, 256));
    mu_arena_destroy(a);
}

static void test_html_escape(void **state)
{
    struct mu_arena *a = mu_arena_create(0);

    (void)state;
    EXPECT_STR(__LINE__, mu_html_escape(a, MU_S("<a href=\"x\">R&D's</a>")),
               MU_S("&lt;a href=&quot;x&quot;&gt;R&amp;D's&lt;/a&gt;"));
    EXPECT_STR(__LINE__, mu_html_escape(a, MU_S("")), MU_S(""));
    mu_arena_destroy(a);
}

static void test_is_absolute(void **state)
{
    static const struct {
        int line;
        const char *in;
        bool is_absolute;
    } table[] = {
        { __LINE__, "http://a/", true },   { __LINE__, "HTTPS://a", true },
        { __LINE__, "svn+ssh://a", true }, { __LINE__, "mailto:a@b", true },
        { __LINE__, "urn:x", true },       { __LINE__, "/a", false },
        { __LINE__, "a", false },          { __LINE__, "", false },
        { __LINE__, "//a/b", false },      { __LINE__, "a:b", false },
        { __LINE__, "http:/a", false },    { __LINE__, "://a", false },
        { __LINE__, "1http://a", false },  { __LINE__, "ht_tp://a", false },
        { __LINE__, "http:", false },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(table); i++) {
        EXPECT_ROW(table[i].line,
                   mu_uri_is_absolute(mu_str_c(table[i].in)) == table[i].is_absolute);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),      cmocka_unit_test(test_no_dot_survives),
        cmocka_unit_test(test_encode_path), cmocka_unit_test(test_encode_and_back),
        cmocka_unit_test(test_html_escape), cmocka_unit_test(test_is_absolute),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
