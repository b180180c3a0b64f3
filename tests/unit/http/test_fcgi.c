/*
 * FastCGI records: what is written is read again, an application's answer cut at every place, every refusal, and
 * parameters of any length in buffers of any size.
 */
#include "http_test.h"

#include <muster/buf.h>
#include <muster/str.h>
#include <stdlib.h>

#include "http/fcgi.h"

/* ---- an application's answer ---- */

struct row {
    int line;
    struct mu_str in;
    enum mu_rc rc;
    const char *events; /* o"data" e"data" E app/outcome, T, D status/bytes */
    bool may_take;
};

#define LIT(s)                                                                                     \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }
#define OK(in, events)                                                                             \
    {                                                                                              \
        __LINE__, LIT(in), MU_OK, events, false                                                    \
    }
#define NO(in, events)                                                                             \
    {                                                                                              \
        __LINE__, LIT(in), MU_BAD, events, false                                                   \
    }
#define OWN(in, rc, events)                                                                        \
    {                                                                                              \
        __LINE__, LIT(in), rc, events, true                                                        \
    }

/* Headers: version, type, id, length, padding, reserved. */
#define OUT(n) "\1\6\0\1\0" n "\0\0"
#define ERR(n) "\1\7\0\1\0" n "\0\0"
#define END "\1\3\0\1\0\10\0\0"

static const struct row rows[] = {
    OK("", ""),
    OK(OUT("\5") "hello" END "\0\0\0\0\0\0\0\0", "o\"hello\"E0/0"),
    OK(OUT("\5") "hello" OUT("\0") END "\0\0\1\2\0\0\0\0", "o\"hello\"E258/0"),
    OK(OUT("\2") "ab" ERR("\3") "oh!" OUT("\1") "c" ERR("\0"), "o\"ab\"e\"oh!\"o\"c\""),
    OK("\1\6\0\1\0\2\3\77"
       "ab\0\0\0" END "\377\377\377\377\0\1\2\3",
       "o\"ab\"E4294967295/0"),
    OK(END "\0\0\0\0\2\0\0\0", "E0/2"),
    OK(OUT("\0") OUT("\0") ERR("\1") "x", "e\"x\""),
    /* Management records that nobody asked for are skipped. */
    OK("\1\12\0\0\0\3\1\0abc\0" OUT("\1") "x", "o\"x\""),
    OK("\1\13\0\0\0\10\0\0\377\0\0\0\0\0\0\0" OUT("\1") "x", "o\"x\""),
    OK("\1\6\0\1\377\377\0\0x", "o\"x\""),
    OK("\1\6\0\1\0\1\377\0x", "o\"x\""),

    NO("HTTP/1.1 200 OK\r\n", ""),
    NO("\0", ""),
    NO("\2\6\0\1\0\0\0\0", ""),
    NO("\1\0\0\1\0\0\0\0", ""),
    NO("\1\1\0\1\0\10\0\0\0\1\0\0\0\0\0\0", ""),
    NO("\1\2\0\1\0\0\0\0", ""),
    NO("\1\4\0\1\0\0\0\0", ""),
    NO("\1\5\0\1\0\1\0\0x", ""),
    NO("\1\10\0\1\0\1\0\0x", ""),
    NO("\1\11\0\0\0\0\0\0", ""),
    NO("\1\14\0\1\0\0\0\0", ""),
    NO("\1\377\0\1\0\0\0\0", ""),
    NO("\1\12\0\1\0\1\0\0x", ""),
    NO("\1\13\0\1\0\0\0\0", ""),
    NO("\1\6\0\2\0\1\0\0x", ""),
    NO("\1\6\0\0\0\1\0\0x", ""),
    NO("\1\6\1\1\0\1\0\0x", ""),
    NO("\1\3\0\0\0\10\0\0\0\0\0\0\0\0\0\0", ""),
    NO("\1\3\0\1\0\0\0\0", ""),
    NO("\1\3\0\1\0\7\0\0\0\0\0\0\0\0\0", ""),
    NO("\1\3\0\1\0\11\0\0\0\0\0\0\0\0\0\0\0", ""),
    NO("\1\3\0\1\377\377\0\0\0", ""),
    NO(END "\0\0\0\0\4\0\0\0", ""),
    NO(END "\0\0\0\0\377\0\0\0", ""),
    NO(OUT("\0") OUT("\1") "x", ""),
    NO(END "\0\0\0\0\0\0\0\0" OUT("\1") "x", "E0/0"),
    NO(END "\0\0\0\0\0\0\0\0" END "\0\0\0\0\0\0\0\0", "E0/0"),
    NO(OUT("\1") "x\3", "o\"x\""),

    /* The extension: not without having been offered. */
    NO("\1\310\0\1\0\0\0\0", ""),
    NO("\1\312\0\1\0\20\0\0\0\310\0\0\0\0\0\0\0\0\0\0\0\0\0\5", ""),
    OWN("\1\310\0\1\0\0\0\0"
        "\1\312\0\1\0\20\0\0\0\310\0\0\0\0\0\0\0\0\0\1\0\0\0\5" END "\0\0\0\0\0\0\0\0",
        MU_OK, "TD200/4294967301E0/0"),
    OWN("\1\310\0\1\0\1\0\0x", MU_BAD, ""),
    OWN("\1\310\0\0\0\0\0\0", MU_BAD, ""),
    OWN("\1\311\0\1\0\0\0\0", MU_BAD, ""),
    OWN("\1\312\0\1\0\10\0\0\0\0\0\0\0\0\0\0", MU_BAD, ""),
    OWN("\1\312\0\1\0\21\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", MU_BAD, ""),
};

/* Data of one stream that comes in pieces is one text. */
static void note(struct mu_buf *b, char *last, const struct mu_fcgi_event *e)
{
    char kind = e->type == MU_FCGI_EV_OUT ? 'o' : e->type == MU_FCGI_EV_ERR ? 'e' : 0;

    if (*last && *last != kind)
        mu_buf_addc(b, '"');
    if (kind && *last != kind)
        mu_buf_addf(b, "%c\"", kind);
    *last = kind;
    mu_buf_add(b, e->data);
    if (e->type == MU_FCGI_EV_TAKE)
        mu_buf_addc(b, 'T');
    if (e->type == MU_FCGI_EV_DONE)
        mu_buf_addf(b, "D%u/%llu", e->status, (unsigned long long)e->bytes);
    if (e->type == MU_FCGI_EV_END)
        mu_buf_addf(b, "E%u/%d", e->app_status, (int)e->outcome);
}

static void run(const struct row *row, size_t step)
{
    struct mu_fcgi_answer a = { .id = 1, .may_take = row->may_take };
    struct mu_buf b = { 0 };
    enum mu_rc rc = MU_OK;
    char last = 0;

    for (size_t at = 0; at < row->in.n && rc == MU_OK; at += step) {
        struct mu_str in = mu_str_sub(row->in, at, at + step);
        char *copy = malloc(in.n); /* exactly so long: the sanitizer sees a read beyond */
        size_t off = 0;

        memcpy(copy, in.p, in.n);
        while (off < in.n && rc == MU_OK) {
            struct mu_fcgi_event e;
            size_t used;

            rc = mu_fcgi_answer_read(&a, copy + off, in.n - off, &e, &used);
            assert_true(used > 0 || rc != MU_OK);
            if (rc == MU_OK)
                note(&b, &last, &e);
            off += used;
        }
        free(copy);
    }
    if (last)
        mu_buf_addc(&b, '"');
    mu_buf_addc(&b, 0);
    if (rc != row->rc || strcmp(b.p, row->events) != 0)
        fail_msg("line %d, step %zu: got %d %s, expected %d %s", row->line, step, (int)rc, b.p,
                 (int)row->rc, row->events);
    assert_true(rc == MU_OK || a.why);
    mu_buf_fini(&b);
}

static void answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++)
        for (size_t step = 1; step <= rows[i].in.n + 1; step++)
            run(&rows[i], step);
}

/* Padding that is not there yet: the request has ended, the connection is not between records. */
static void padding(void **state)
{
    static const char in[] = END "\0\0\0\0\0\0\0";
    struct mu_fcgi_answer a = { .id = 1 };
    struct mu_fcgi_event e;
    char bytes[sizeof(in) + 3];
    size_t used;

    (void)state;
    memset(bytes, 0, sizeof(bytes));
    memcpy(bytes, in, sizeof(in));
    bytes[6] = 3;
    assert_int_equal(mu_fcgi_answer_read(&a, bytes, 16, &e, &used), MU_OK);
    assert_int_equal(e.type, MU_FCGI_EV_END);
    assert_false(mu_fcgi_is_between(&a.reader));
    assert_int_equal(mu_fcgi_answer_read(&a, bytes + 16, 3, &e, &used), MU_OK);
    assert_int_equal(used, 3);
    assert_true(mu_fcgi_is_between(&a.reader));
}

/* ---- what is written ---- */

static void written(void **state)
{
    uint8_t buf[24];
    struct mu_fcgi_answer a = { .id = 513, .may_take = true };
    struct mu_fcgi_event e;
    size_t used;

    (void)state;
    assert_int_equal(mu_fcgi_begin(buf, 1, true), 16);
    assert_memory_equal(buf, "\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0", 16);
    mu_fcgi_begin(buf, 258, false);
    assert_memory_equal(buf, "\1\1\1\2\0\10\0\0\0\1\0\0\0\0\0\0", 16);
    assert_int_equal(mu_fcgi_client_done(buf, 513, 404, 0x123456789abcdef0u), 24);
    assert_int_equal(mu_fcgi_answer_read(&a, buf, 24, &e, &used), MU_OK);
    assert_int_equal(e.type, MU_FCGI_EV_DONE);
    assert_int_equal(e.status, 404);
    assert_true(e.bytes == 0x123456789abcdef0u);
    assert_int_equal(mu_fcgi_end(buf, 513, 0xfedcba98u, MU_FCGI_UNKNOWN_ROLE), 16);
    assert_int_equal(mu_fcgi_answer_read(&a, buf, 16, &e, &used), MU_OK);
    assert_int_equal(e.type, MU_FCGI_EV_END);
    assert_int_equal(e.app_status, 0xfedcba98u);
    assert_int_equal(e.outcome, MU_FCGI_UNKNOWN_ROLE);
}

struct list {
    const struct mu_fcgi_pair *v;
    size_t n, at;
};

static bool next(void *arg, struct mu_fcgi_pair *pair)
{
    struct list *l = arg;

    if (l->at == l->n)
        return false;
    *pair = l->v[l->at++];
    return true;
}

/* Write with `cap` bytes at a time, read the records, and compare the pairs. */
static void params_with(const struct mu_fcgi_pair *v, size_t n, size_t cap)
{
    struct list l = { v, n, 0 };
    struct mu_fcgi_params p;
    struct mu_fcgi_reader d = { 0 };
    struct mu_buf stream = { 0 };
    uint8_t *out = malloc(cap);
    bool is_closed = false;
    struct mu_str rest;

    mu_fcgi_params_begin(&p, 7, next, &l);
    while (!p.is_done) {
        size_t len, at = 0, used;

        assert_int_equal(mu_fcgi_params_write(&p, out, cap, &len), MU_OK);
        assert_true(len <= cap && len > 0);
        while (at < len) {
            struct mu_fcgi_piece piece;

            assert_int_equal(mu_fcgi_read(&d, out + at, len - at, &piece, &used), MU_OK);
            assert_int_equal(piece.type, MU_FCGI_T_PARAMS);
            assert_int_equal(piece.id, 7);
            assert_true(piece.is_last); /* whole records */
            assert_false(is_closed);
            is_closed = piece.len == 0;
            mu_buf_add(&stream, piece.data);
            at += used;
        }
    }
    assert_true(is_closed && mu_fcgi_is_between(&d));
    rest = mu_buf_str(&stream);
    for (size_t i = 0; i < n; i++) {
        struct mu_fcgi_pair pair;

        assert_int_equal(mu_fcgi_pair_read(&rest, &pair), MU_OK);
        assert_true(mu_str_eq(pair.name, v[i].name) && mu_str_eq(pair.value, v[i].value));
    }
    assert_int_equal(mu_fcgi_pair_read(&rest, &(struct mu_fcgi_pair){ 0 }), MU_EOF);
    mu_buf_fini(&stream);
    free(out);
}

static void params(void **state)
{
    static char big[200000];
    struct mu_fcgi_pair v[] = {
        { MU_S("A"), MU_S("") },
        { MU_S("REQUEST_METHOD"), MU_S("GET") },
        { MU_S(""), MU_S("nameless") },
        { MU_S("SHORT"), { big, 127 } },
        { MU_S("LONG"), { big, 128 } },
        { { big, 300 }, { big, 70000 } },
        { MU_S("HUGE"), { big, sizeof(big) } },
        { MU_S("LAST"), MU_S("x") },
    };

    (void)state;
    memset(big, 'b', sizeof(big));
    for (size_t cap = 2 * MU_FCGI_HEAD + 1; cap < 600; cap++)
        for (size_t n = 0; n <= 5; n++)
            params_with(v, n, cap);
    params_with(v, MU_ARRAY_LEN(v), 2 * MU_FCGI_HEAD + 1);
    params_with(v, MU_ARRAY_LEN(v), 4096);
    params_with(v, MU_ARRAY_LEN(v), 65535 + 16);
    params_with(v, MU_ARRAY_LEN(v), 300000);
}

static void too_long(void **state)
{
    uint8_t out[64], head[MU_FCGI_NAME_HEAD_MAX];
    struct mu_fcgi_pair v = { MU_S("N"), { "", (size_t)INT32_MAX + 1 } };
    struct list l = { &v, 1, 0 };
    struct mu_fcgi_params p;
    size_t n;

    (void)state;
    mu_fcgi_params_begin(&p, 1, next, &l);
    assert_int_equal(mu_fcgi_params_write(&p, out, sizeof(out), &n), MU_LIMIT);
    assert_true(mu_fcgi_pair_head(127, INT32_MAX, head, &n));
    assert_int_equal(n, 5);
    assert_memory_equal(head, "\177\377\377\377\377", 5);
    assert_false(mu_fcgi_pair_head((size_t)INT32_MAX + 1, 0, head, &n));
}

/* A stream of pairs that ends too early, at every place. */
static void cut_pairs(void **state)
{
    static const char in[] = "\3\200\0\0\2abcde\200\0\0\1\0f";
    const size_t n = sizeof(in) - 1;

    (void)state;
    for (size_t cut = 0; cut <= n; cut++) {
        struct mu_str rest = { in, cut };
        struct mu_fcgi_pair pair;
        enum mu_rc rc = mu_fcgi_pair_read(&rest, &pair);

        assert_int_equal(rc, cut == 0 ? MU_EOF : cut < 10 ? MU_AGAIN : MU_OK);
        if (rc != MU_OK)
            continue;
        assert_true(mu_str_eq(pair.name, MU_S("abc")) && mu_str_eq(pair.value, MU_S("de")));
        rc = mu_fcgi_pair_read(&rest, &pair);
        assert_int_equal(rc, cut == 10 ? MU_EOF : cut < n ? MU_AGAIN : MU_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers), cmocka_unit_test(padding),  cmocka_unit_test(written),
        cmocka_unit_test(params),  cmocka_unit_test(too_long), cmocka_unit_test(cut_pairs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
