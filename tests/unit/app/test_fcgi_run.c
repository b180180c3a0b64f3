/*
 * mu_fcgi_run against scripted applications: what they are told, what becomes of what they say, and what becomes of
 * connections and requests when things go wrong. Every test runs on both backends of the reactor.
 */
#include "fcgi_fixture.h"

#include <stdlib.h>

static enum mu_backend backend;

#define STDOUT(n) "\1\6\0\1\0" n "\0\0"
#define END_OK "\1\3\0\1\0\10\0\0\0\0\0\0\0\0\0\0"

static const struct step hello[] = { { .op = STEP_READ },
                                     { .op = STEP_OUT, .data = { "hello", 5 } },
                                     { .op = STEP_FINISH },
                                     { .op = STEP_DRAIN },
                                     { .op = STEP_END } };
static const struct step dead[] = { { .op = STEP_END } };
static const struct step reads_and_dies[] = { { .op = STEP_READ }, { .op = STEP_END } };

static void expect_answer(const struct scene *s, const char *text)
{
    assert_int_equal(s->answer.n, strlen(text));
    assert_memory_equal(s->answer.p, text, strlen(text));
}

static void expect_log(const char *tag)
{
    if (!strstr(scene_log, tag))
        fail_msg("no %s in the log, but:\n%s", tag, scene_log);
}

static void give_body(struct scene *s, struct mu_str body)
{
    s->req.has_body = true;
    s->req.method = MU_M_POST;
    s->req.method_name = MU_S("POST");
    s->req.body_len = (int64_t)body.n;
    s->body = body;
}

/* ---- in order ---- */

static void simple(void **state)
{
    struct scene s;

    (void)state;
    scene_init(&s, backend);
    scene_app(&s, hello, false);
    scene_run(&s);
    assert_int_equal(s.status, MU_200_OK);
    assert_int_equal(s.why, MU_EOF);
    expect_answer(&s, "hello");
    assert_string_equal(scene_params(&s, 0), "REQUEST_METHOD=GET\n");
    assert_memory_equal(s.apps[0].heard.p, "\1\1\0\1\0\10\0\0\0\1\0\0\0\0\0\0", 16);
    assert_int_equal(s.apps[0].how, MU_FCGI_CLOSE);
    assert_int_equal(s.is_spooling, 1);
    assert_false(scene_heard(&s, 0, MU_FCGI_T_ABORT));
    assert_string_equal(scene_log, "");
    scene_fini(&s);
}

static void body_and_keep(void **state)
{
    struct scene s;

    (void)state;
    scene_init(&s, backend);
    give_body(&s, MU_S("a=b&c=d"));
    s.req.body_len = -1; /* chunked */
    s.o.wants_keep = s.o.flushes = true;
    scene_app(&s, hello, false);
    scene_run(&s);
    assert_int_equal(s.status, MU_200_OK);
    assert_true(mu_str_eq(scene_stdin(&s, 0), MU_S("a=b&c=d")));
    assert_int_equal(s.apps[0].heard.p[10], 1); /* FCGI_KEEP_CONN */
    assert_int_equal(s.apps[0].how, MU_FCGI_KEEP);
    assert_int_equal(s.is_spooling, 0);
    scene_fini(&s);
}

/* What is not in order at the end is not kept. */
static void not_kept(void **state)
{
    static const struct step padding[] = {
        { .op = STEP_READ },
        { .op = STEP_OUT, .data = { "x", 1 } },
        { .op = STEP_SEND, .data = { "\1\3\0\1\0\10\3\0\0\0\0\0\0\0\0\0\0", 17 } },
        { .op = STEP_DRAIN },
        { .op = STEP_END }
    };
    static const struct step junk[] = { { .op = STEP_READ },
                                        { .op = STEP_OUT, .data = { "x", 1 } },
                                        { .op = STEP_SEND,
                                          .data = { END_OK STDOUT("\1") "y", 25 } },
                                        { .op = STEP_DRAIN },
                                        { .op = STEP_END } };
    static const struct step early[] = { { .op = STEP_HEAD },
                                         { .op = STEP_OUT, .data = { "x", 1 } },
                                         { .op = STEP_FINISH },
                                         { .op = STEP_DRAIN },
                                         { .op = STEP_END } };
    static const struct step silent_end[] = { { .op = STEP_READ },
                                              { .op = STEP_OUT, .data = { "x", 1 } },
                                              { .op = STEP_SEND, .data = { STDOUT("\0"), 8 } },
                                              { .op = STEP_END } };
    static const struct step *const scripts[] = { padding, junk, early, silent_end };
    char *big = calloc(1, 100000);

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(scripts); i++) {
        struct scene s;

        scene_init(&s, backend);
        give_body(&s, mu_str_n(big, 100000));
        s.o.wants_keep = true;
        scene_app(&s, scripts[i], false);
        scene_run(&s);
        assert_int_equal(s.status, MU_200_OK);
        expect_answer(&s, "x");
        assert_int_equal(s.apps[0].how, MU_FCGI_CLOSE);
        scene_fini(&s);
    }
    free(big);
}

/* Both sides send more than fits anywhere, the application before it has read. */
static void both_at_once(void **state)
{
    static const struct step script[] = { { .op = STEP_HEAD },   { .op = STEP_MUCH, .n = 1 << 20 },
                                          { .op = STEP_READ },   { .op = STEP_MUCH, .n = 1 << 20 },
                                          { .op = STEP_FINISH }, { .op = STEP_DRAIN },
                                          { .op = STEP_END } };
    char *big = malloc(1 << 20);

    (void)state;
    for (size_t i = 0; i < 1 << 20; i++)
        big[i] = (char)('0' + i % 71);
    for (int is_slow = 0; is_slow < 2; is_slow++) {
        struct scene s;

        scene_init(&s, backend);
        give_body(&s, mu_str_n(big, 1 << 20));
        s.is_slow = is_slow;
        scene_app(&s, script, false);
        scene_run(&s);
        assert_int_equal(s.status, MU_200_OK);
        assert_int_equal(s.answer.n, 2 << 20);
        assert_true(mu_str_eq(scene_stdin(&s, 0), s.body));
        scene_fini(&s);
    }
    free(big);
}

/* A body that is streamed: the application answers to each piece before there is another. */
static void streamed(void **state)
{
    static const struct step script[] = { { .op = STEP_HEAD },
                                          { .op = STEP_OUT, .data = { "1", 1 } },
                                          { .op = STEP_FEED, .data = { "one", 3 } },
                                          { .op = STEP_OUT, .data = { "2", 1 } },
                                          { .op = STEP_FEED, .data = { "two", 3 } },
                                          { .op = STEP_FEED },
                                          { .op = STEP_READ },
                                          { .op = STEP_OUT, .data = { "3", 1 } },
                                          { .op = STEP_FINISH },
                                          { .op = STEP_DRAIN },
                                          { .op = STEP_END } };
    struct scene s;

    (void)state;
    scene_init(&s, backend);
    give_body(&s, MU_S(""));
    s.req.body_len = 6;
    s.is_fed = s.o.streams_body = s.o.wants_keep = true;
    scene_app(&s, script, false);
    scene_run(&s);
    assert_int_equal(s.status, MU_200_OK);
    assert_int_equal(s.spooled, 0);
    expect_answer(&s, "123");
    assert_true(mu_str_eq(scene_stdin(&s, 0), MU_S("onetwo")));
    assert_int_equal(s.apps[0].how, MU_FCGI_KEEP);
    scene_fini(&s);
}

/* The client's part of a streamed body fails: too large, or too slow. */
static void streamed_badly(void **state)
{
    static const struct step script[] = { { .op = STEP_HEAD },
                                          { .op = STEP_FEED, .data = { "one", 3 } },
                                          { .op = STEP_FEED },
                                          { .op = STEP_DRAIN },
                                          { .op = STEP_END } };
    static const struct {
        enum mu_rc rc;
        enum mu_status status;
    } rows[] = { { MU_LIMIT, MU_413_CONTENT_TOO_LARGE }, { MU_TIMEOUT, MU_408_REQUEST_TIMEOUT } };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct scene s;

        scene_init(&s, backend);
        give_body(&s, MU_S(""));
        s.req.body_len = 6;
        s.is_fed = s.o.streams_body = true;
        s.body_fails = rows[i].rc;
        scene_app(&s, script, false);
        scene_run(&s);
        assert_int_equal(s.status, rows[i].status);
        assert_int_equal(s.apps[0].how, MU_FCGI_ABORT);
        assert_true(scene_heard(&s, 0, MU_FCGI_T_ABORT));
        scene_fini(&s);
    }
}

/* Of unknown length: collected although it should be streamed, unless that is asked for. */
static void chunked_is_collected(void **state)
{
    (void)state;
    for (int is_asked = 0; is_asked < 2; is_asked++) {
        struct scene s;

        scene_init(&s, backend);
        give_body(&s, MU_S("chunks"));
        s.req.body_len = -1;
        s.o.streams_body = true;
        if (is_asked)
            assert_int_equal(
                mu_headers_set(s.req.arena, &s.req.env, MU_S("proxy-sendchunked"), MU_S("1")),
                MU_OK);
        scene_app(&s, hello, false);
        scene_run(&s);
        assert_int_equal(s.spooled, !is_asked);
        assert_true(mu_str_eq(scene_stdin(&s, 0), MU_S("chunks")));
        scene_fini(&s);
    }
}

static void body_cannot_be_read(void **state)
{
    struct scene s;

    (void)state;
    scene_init(&s, backend);
    give_body(&s, MU_S("x"));
    s.body_fails = MU_LIMIT;
    scene_app(&s, hello, false);
    scene_run(&s);
    assert_int_equal(s.status, MU_413_CONTENT_TOO_LARGE);
    assert_int_equal(s.opened, 0);
    scene_fini(&s);
}

static void stderr_lines(void **state)
{
    static const struct step script[] = {
        { .op = STEP_READ },
        { .op = STEP_SEND, .data = { "\1\7\0\1\0\6\0\0one\ntw", 14 } },
        { .op = STEP_OUT, .data = { "x", 1 } },
        { .op = STEP_SEND, .data = { "\1\7\0\1\0\7\0\0o\r\n\nend", 15 } },
        { .op = STEP_FINISH },
        { .op = STEP_DRAIN },
        { .op = STEP_END }
    };
    struct scene s;

    (void)state;
    scene_init(&s, backend);
    scene_app(&s, script, false);
    scene_run(&s);
    expect_answer(&s, "x");
    assert_string_equal(scene_log, "MU1401 the app says: one\nMU1401 the app says: two\n"
                                   "MU1401 the app says: end\n");
    scene_fini(&s);
}

/* More of it than anybody wants: the application is told to stop. */
static void enough(void **state)
{
    static const struct step a_lot[] = { { .op = STEP_READ },
                                         { .op = STEP_MUCH, .n = 900000 },
                                         { .op = STEP_END } };
    struct scene s;

    (void)state;
    scene_init(&s, backend);
    s.o.wants_keep = true;
    s.answer_gives = MU_EOF;
    scene_app(&s, a_lot, false);
    scene_run(&s);
    assert_int_equal(s.status, MU_200_OK);
    assert_int_equal(s.why, MU_EOF);
    assert_int_equal(s.answer.n, 1); /* the first record of STEP_MUCH */
    assert_int_equal(s.apps[0].how, MU_FCGI_ABORT);
    scene_fini(&s);
}

/* flushpackets=auto: what has come is handed on when the application pauses. */
static void pauses(void **state)
{
    static const struct step script[] = {
        { .op = STEP_READ },   { .op = STEP_OUT, .data = { "x", 1 } },
        { .op = STEP_PAUSE },  { .op = STEP_OUT, .data = { "y", 1 } },
        { .op = STEP_FINISH }, { .op = STEP_DRAIN },
        { .op = STEP_END }
    };

    (void)state;
    for (int is_auto = 0; is_auto < 2; is_auto++) {
        struct scene s;

        scene_init(&s, backend);
        s.o.flushes_pauses = is_auto;
        scene_app(&s, script, false);
        scene_run(&s);
        expect_answer(&s, "xy");
        assert_int_equal(s.flushed > 0, is_auto);
        assert_int_equal(s.is_spooling, !is_auto);
        scene_fini(&s);
    }
}

/* ---- not in order ---- */

struct wrong {
    int line;
    const struct step *script;
    enum mu_status status;
    enum mu_fcgi_end how;
    enum mu_rc why; /* of the answer that was begun; MU_AGAIN: none was */
    const char *tag;
};

static const struct step in_the_middle[] = { { .op = STEP_READ },
                                             { .op = STEP_OUT, .data = { "half", 4 } },
                                             { .op = STEP_END } };
static const struct step in_a_record[] = { { .op = STEP_READ },
                                           { .op = STEP_SEND, .data = { "\1\6\0", 3 } },
                                           { .op = STEP_END } };
static const struct step in_a_piece[] = { { .op = STEP_READ },
                                          { .op = STEP_SEND, .data = { STDOUT("\5") "ha", 10 } },
                                          { .op = STEP_END } };
static const struct step http[] = { { .op = STEP_HEAD },
                                    { .op = STEP_SEND,
                                      .data = { "HTTP/1.1 400 Bad Request\r\n", 26 } },
                                    { .op = STEP_DRAIN },
                                    { .op = STEP_END } };
static const struct step nonsense[] = { { .op = STEP_HEAD },
                                        { .op = STEP_SEND,
                                          .data = { "220 mail.example ESMTP\r\n", 24 } },
                                        { .op = STEP_DRAIN },
                                        { .op = STEP_END } };
static const struct step other_id[] = { { .op = STEP_READ },
                                        { .op = STEP_OUT, .data = { "x", 1 } },
                                        { .op = STEP_SEND, .data = { "\1\6\0\2\0\1\0\0y", 9 } },
                                        { .op = STEP_DRAIN },
                                        { .op = STEP_END } };
static const struct step overloaded[] = { { .op = STEP_READ },
                                          { .op = STEP_SEND,
                                            .data = { "\1\3\0\1\0\10\0\0\0\0\0\0\2\0\0\0", 16 } },
                                          { .op = STEP_DRAIN },
                                          { .op = STEP_END } };
static const struct step no_responder[] = { { .op = STEP_READ },
                                            { .op = STEP_SEND,
                                              .data = { "\1\3\0\1\0\10\0\0\0\0\0\0\3\0\0\0", 16 } },
                                            { .op = STEP_DRAIN },
                                            { .op = STEP_END } };
static const struct step silent[] = { { .op = STEP_READ },
                                      { .op = STEP_DRAIN },
                                      { .op = STEP_END } };
static const struct step silent_later[] = { { .op = STEP_READ },
                                            { .op = STEP_OUT, .data = { "half", 4 } },
                                            { .op = STEP_DRAIN },
                                            { .op = STEP_END } };
static const struct step unasked_client[] = { { .op = STEP_READ },
                                              { .op = STEP_SEND,
                                                .data = { "\1\310\0\1\0\0\0\0", 8 } },
                                              { .op = STEP_DRAIN },
                                              { .op = STEP_END } };

#define WRONG(...)                                                                                 \
    {                                                                                              \
        __LINE__, __VA_ARGS__                                                                      \
    }
static const struct wrong wrongs[] = {
    WRONG(dead, MU_502_BAD_GATEWAY, MU_FCGI_BROKEN, MU_AGAIN, "MU1405"),
    WRONG(reads_and_dies, MU_502_BAD_GATEWAY, MU_FCGI_BROKEN, MU_AGAIN, "MU1405"),
    WRONG(in_a_record, MU_502_BAD_GATEWAY, MU_FCGI_BROKEN, MU_AGAIN, "MU1404"),
    WRONG(in_the_middle, MU_502_BAD_GATEWAY, MU_FCGI_BROKEN, MU_EIO, "MU1403"),
    WRONG(in_a_piece, MU_502_BAD_GATEWAY, MU_FCGI_BROKEN, MU_EIO, "MU1403"),
    WRONG(http, MU_502_BAD_GATEWAY, MU_FCGI_BROKEN, MU_AGAIN, "MU1406"),
    WRONG(nonsense, MU_502_BAD_GATEWAY, MU_FCGI_BROKEN, MU_AGAIN, "MU1407"),
    WRONG(other_id, MU_502_BAD_GATEWAY, MU_FCGI_BROKEN, MU_EIO, "MU1407"),
    WRONG(unasked_client, MU_502_BAD_GATEWAY, MU_FCGI_BROKEN, MU_AGAIN, "MU1407"),
    WRONG(overloaded, MU_503_SERVICE_UNAVAILABLE, MU_FCGI_CLOSE, MU_AGAIN, "MU1411"),
    WRONG(no_responder, MU_502_BAD_GATEWAY, MU_FCGI_CLOSE, MU_AGAIN, "MU1412"),
    WRONG(silent, MU_504_GATEWAY_TIMEOUT, MU_FCGI_LATE, MU_AGAIN, "MU1409"),
    WRONG(silent_later, MU_502_BAD_GATEWAY, MU_FCGI_LATE, MU_TIMEOUT, "MU1409"),
};

static void failures(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(wrongs); i++) {
        const struct wrong *w = &wrongs[i];
        struct scene s;

        scene_init(&s, backend);
        if (w->how == MU_FCGI_LATE)
            s.o.io_ms = 1000; /* what the application says before comes sooner, on any machine */
        scene_app(&s, w->script, false);
        scene_run(&s);
        if (s.status != w->status || s.apps[0].how != w->how || s.opened != 1 ||
            (w->why == MU_AGAIN ? s.begun : s.why != w->why) || !strstr(scene_log, w->tag) ||
            strchr(scene_log, '\n') != scene_log + strlen(scene_log) - 1)
            fail_msg("line %d: status %d, ended %d, begun %d, why %d, log:\n%s", w->line, s.status,
                     s.apps[0].how, s.begun, s.why, scene_log);
        assert_int_equal(scene_heard(&s, 0, MU_FCGI_T_ABORT), w->how == MU_FCGI_LATE);
        scene_fini(&s);
    }
}

/* It does not even take the request in. */
static void never_reads(void **state)
{
    static const struct step script[] = { { .op = STEP_STAY }, { .op = STEP_END } };
    static char big[100000];
    struct scene s;

    (void)state;
    scene_init(&s, backend);
    give_body(&s, mu_str_n(big, sizeof(big)));
    s.o.io_ms = 20;
    scene_app(&s, script, false);
    scene_run(&s);
    assert_int_equal(s.status, MU_504_GATEWAY_TIMEOUT);
    expect_log("MU1408");
    scene_fini(&s);
}

static void bad_head(void **state)
{
    struct scene s;

    (void)state;
    scene_init(&s, backend);
    s.answer_gives = MU_BAD;
    scene_app(&s, hello, false);
    scene_run(&s);
    assert_int_equal(s.why, MU_BAD);
    assert_int_equal(s.apps[0].how, MU_FCGI_ABORT);
    scene_fini(&s);
}

/* An application that answers without reading the body, and is gone before all of it was sent. */
static void deaf(void **state)
{
    static const struct step script[] = { { .op = STEP_HEAD },
                                          { .op = STEP_SHUT },
                                          { .op = STEP_OUT, .data = { "no", 2 } },
                                          { .op = STEP_FINISH },
                                          { .op = STEP_END } };
    char *big = calloc(1, 1 << 20);
    struct scene s;

    (void)state;
    scene_init(&s, backend);
    give_body(&s, mu_str_n(big, 1 << 20));
    s.o.wants_keep = true;
    scene_app(&s, script, false);
    scene_run(&s);
    assert_int_equal(s.status, MU_200_OK);
    expect_answer(&s, "no");
    assert_int_equal(s.apps[0].how, MU_FCGI_CLOSE);
    scene_fini(&s);
    free(big);
}

/* ---- once more ---- */

static void stale(void **state)
{
    struct scene s;

    (void)state;
    scene_init(&s, backend);
    give_body(&s, MU_S("sent again"));
    scene_app(&s, dead, true);
    scene_app(&s, reads_and_dies, true);
    scene_app(&s, hello, false);
    scene_run(&s);
    assert_int_equal(s.status, MU_200_OK);
    assert_int_equal(s.opened, 3);
    assert_int_equal(s.apps[0].how, MU_FCGI_STALE);
    assert_int_equal(s.apps[1].how, MU_FCGI_STALE);
    assert_int_equal(s.apps[2].how, MU_FCGI_CLOSE);
    assert_true(mu_str_eq(scene_stdin(&s, 1), s.body));
    assert_true(mu_str_eq(scene_stdin(&s, 2), s.body));
    expect_answer(&s, "hello");
    expect_log("MU1413");
    scene_fini(&s);
}

/* A kept connection that has said something was alive: the request may have been carried out. */
static void not_stale(void **state)
{
    static const struct step *const scripts[] = { in_a_record, in_the_middle };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(scripts); i++) {
        struct scene s;

        scene_init(&s, backend);
        give_body(&s, MU_S("once"));
        s.o.may_retry = true; /* but it is a POST */
        scene_app(&s, scripts[i], true);
        scene_app(&s, hello, false);
        scene_run(&s);
        assert_int_equal(s.status, MU_502_BAD_GATEWAY);
        assert_int_equal(s.opened, 1);
        assert_int_equal(s.apps[0].how, MU_FCGI_BROKEN);
        scene_fini(&s);
    }
}

/* What was streamed cannot be sent again; what was not read yet can. */
static void stale_and_streamed(void **state)
{
    (void)state;
    for (int is_read = 0; is_read < 2; is_read++) {
        struct scene s;

        scene_init(&s, backend);
        give_body(&s, MU_S("once"));
        s.o.streams_body = true;
        s.is_fed = !is_read;
        s.feed_has_ended = false;
        scene_app(&s, is_read ? reads_and_dies : dead, true);
        if (!is_read) {
            static const struct step later[] = { { .op = STEP_HEAD },
                                                 { .op = STEP_FEED, .data = { "once", 4 } },
                                                 { .op = STEP_FEED },
                                                 { .op = STEP_READ },
                                                 { .op = STEP_OUT, .data = { "hello", 5 } },
                                                 { .op = STEP_FINISH },
                                                 { .op = STEP_DRAIN },
                                                 { .op = STEP_END } };
            scene_app(&s, later, false);
        } else {
            scene_app(&s, hello, false);
        }
        scene_run(&s);
        assert_int_equal(s.status, is_read ? MU_502_BAD_GATEWAY : MU_200_OK);
        assert_int_equal(s.opened, is_read ? 1 : 2);
        scene_fini(&s);
    }
}

static void retry(void **state)
{
    static const struct {
        int line;
        bool may_retry, is_post;
        const struct step *first, *second;
        int opened;
        enum mu_status status;
    } rows[] = {
        { __LINE__, true, false, reads_and_dies, hello, 2, MU_200_OK },
        { __LINE__, true, false, in_a_record, hello, 2, MU_200_OK },
        { __LINE__, true, false, reads_and_dies, reads_and_dies, 2, MU_502_BAD_GATEWAY },
        { __LINE__, true, false, in_the_middle, hello, 1, MU_502_BAD_GATEWAY },
        { __LINE__, true, false, nonsense, hello, 1, MU_502_BAD_GATEWAY },
        { __LINE__, true, true, reads_and_dies, hello, 1, MU_502_BAD_GATEWAY },
        { __LINE__, false, false, reads_and_dies, hello, 1, MU_502_BAD_GATEWAY },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct scene s;

        scene_init(&s, backend);
        if (rows[i].is_post)
            give_body(&s, MU_S("x"));
        s.o.may_retry = rows[i].may_retry;
        scene_app(&s, rows[i].first, false);
        scene_app(&s, rows[i].second, false);
        scene_app(&s, hello, false);
        scene_run(&s);
        if (s.status != rows[i].status || s.opened != rows[i].opened)
            fail_msg("line %d: status %d, opened %d\n%s", rows[i].line, s.status, s.opened,
                     scene_log);
        scene_fini(&s);
    }
}

static void not_opened(void **state)
{
    struct scene s;

    (void)state;
    scene_init(&s, backend);
    s.open_fails = MU_504_GATEWAY_TIMEOUT;
    scene_run(&s);
    assert_int_equal(s.status, MU_504_GATEWAY_TIMEOUT);
    scene_fini(&s);
}

/* ---- the client leaves ---- */

static void client_leaves(void **state)
{
    static const struct step before[] = {
        { .op = STEP_READ }, { .op = STEP_CANCEL }, { .op = STEP_DRAIN }, { .op = STEP_END }
    };
    static const struct step after[] = { { .op = STEP_READ },
                                         { .op = STEP_OUT, .data = { "half", 4 } },
                                         { .op = STEP_CANCEL },
                                         { .op = STEP_DRAIN },
                                         { .op = STEP_END } };
    static const struct step *const scripts[] = { before, after };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(scripts); i++) {
        struct scene s;

        scene_init(&s, backend);
        s.o.wants_keep = s.o.may_retry = true;
        scene_app(&s, scripts[i], true);
        scene_run(&s);
        assert_int_equal(s.opened, 1);
        assert_int_equal(s.apps[0].how, MU_FCGI_ABORT);
        assert_true(s.apps[0].got_eof);
        assert_true(scene_heard(&s, 0, MU_FCGI_T_ABORT));
        scene_fini(&s);
    }
}

/* It has finished sending: it is asked once whether it is there. */
static void client_is_silent(void **state)
{
    static const struct step stays[] = {
        { .op = STEP_READ },   { .op = STEP_SILENT },
        { .op = STEP_WAIT },   { .op = STEP_OUT, .data = { "here", 4 } },
        { .op = STEP_FINISH }, { .op = STEP_DRAIN },
        { .op = STEP_END }
    };
    static const struct step leaves[] = {
        { .op = STEP_READ }, { .op = STEP_SILENT }, { .op = STEP_DRAIN }, { .op = STEP_END }
    };

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct scene s;

        scene_init(&s, backend);
        s.asks_give = i == 0 ? MU_OK : MU_GONE;
        scene_app(&s, i == 0 ? stays : leaves, false);
        scene_run(&s);
        assert_int_equal(s.asked, 1);
        assert_null(s.watch);
        assert_int_equal(s.apps[0].how, i == 0 ? MU_FCGI_CLOSE : MU_FCGI_ABORT);
        assert_int_equal(s.answer.n, i == 0 ? 4 : 0);
        scene_fini(&s);
    }
}

static struct scene *watched;
static int parks, cancel_at;

static void on_park(struct mu_fiber *f)
{
    if (f == watched->hero && ++parks == cancel_at)
        mu_fiber_cancel(f);
}

/* Cancelled at each of its suspension points in turn: connections are closed, nothing is left. */
static void cancelled_everywhere(void **state)
{
    static const struct step script[] = { { .op = STEP_HEAD },   { .op = STEP_MUCH, .n = 30000 },
                                          { .op = STEP_READ },   { .op = STEP_MUCH, .n = 30000 },
                                          { .op = STEP_FINISH }, { .op = STEP_DRAIN },
                                          { .op = STEP_END } };
    static char big[50000];
    bool is_through = false;

    (void)state;
    for (cancel_at = 1; !is_through; cancel_at++) {
        struct scene s;

        scene_init(&s, backend);
        give_body(&s, mu_str_n(big, sizeof(big)));
        s.is_slow = s.o.wants_keep = true;
        scene_app(&s, dead, true);
        scene_app(&s, script, false);
        watched = &s;
        parks = 0;
        mu_fiber_on_park(on_park);
        scene_run(&s);
        mu_fiber_on_park(NULL);
        is_through = parks < cancel_at;
        if (is_through)
            assert_int_equal(s.answer.n, 60000);
        scene_fini(&s);
    }
    assert_true(cancel_at > 10);
}

#define T(f) cmocka_unit_test(f)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(simple),
        T(body_and_keep),
        T(not_kept),
        T(both_at_once),
        T(streamed),
        T(streamed_badly),
        T(chunked_is_collected),
        T(body_cannot_be_read),
        T(stderr_lines),
        T(enough),
        T(pauses),
        T(failures),
        T(never_reads),
        T(bad_head),
        T(deaf),
        T(stale),
        T(not_stale),
        T(stale_and_streamed),
        T(retry),
        T(not_opened),
        T(client_leaves),
        T(client_is_silent),
        T(cancelled_everywhere),
    };
    int failed = 0;

    for (backend = MU_BACKEND_EPOLL; backend <= MU_BACKEND_SINGLE; backend++)
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
