/*
 * What mu_fcgi_run does beyond the protocol: the client's socket for applications that ask for it, and the settings of
 * PHP as php-fpm needs them.
 */
#include "fcgi_fixture.h"

#include <stdlib.h>
#include <unistd.h>

static enum mu_backend backend;

#define TAKE                                                                                       \
    {                                                                                              \
        .op = STEP_SEND, .data = { "\1\310\0\1\0\0\0\0", 8 }                                       \
    }
#define LIT(s)                                                                                     \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }

/* ---- the client's socket ---- */

static const struct step takes[] = { { .op = STEP_READ },
                                     TAKE,
                                     { .op = STEP_CLIENT, .data = LIT("HTTP/1.0 200\r\n\r\nhi") },
                                     { .op = STEP_DONE, .n = 206, .data = { NULL, 12345 } },
                                     { .op = STEP_FINISH },
                                     { .op = STEP_DRAIN },
                                     { .op = STEP_END } };

static void passed(void **state)
{
    char buf[64];
    struct scene s;

    (void)state;
    scene_init(&s, backend);
    s.o.passes_client = true;
    scene_app(&s, takes, false);
    scene_run(&s);
    assert_non_null(strstr(scene_params(&s, 0), "MUSTER_PASS_CLIENT=1\n"));
    assert_int_equal(s.lent, 1);
    assert_int_equal(s.returned, 1);
    assert_int_equal(s.returned_status, 206);
    assert_int_equal(s.returned_bytes, 12345);
    assert_int_equal(s.status, 206);
    assert_int_equal(s.begun, 0);
    assert_int_equal(s.aborted, 0);
    assert_int_equal(read(s.lend_pair[1], buf, sizeof(buf)), 18);
    assert_memory_equal(buf, "HTTP/1.0 200\r\n\r\nhi", 18);
    scene_fini(&s);
}

/* The body goes on arriving while the application answers. */
static void passed_before_the_body(void **state)
{
    static const struct step script[] = {
        { .op = STEP_HEAD },   TAKE,
        { .op = STEP_CLIENT }, { .op = STEP_FEED, .data = LIT("body") },
        { .op = STEP_FEED },   { .op = STEP_READ },
        { .op = STEP_FINISH }, { .op = STEP_DRAIN },
        { .op = STEP_END }
    };
    struct scene s;

    (void)state;
    scene_init(&s, backend);
    s.req.has_body = s.is_fed = s.o.streams_body = s.o.passes_client = true;
    s.req.body_len = 4;
    scene_app(&s, script, false);
    scene_run(&s);
    assert_true(mu_str_eq(scene_stdin(&s, 0), MU_S("body")));
    assert_true(scene_heard(&s, 0, MU_FCGI_T_CLIENT));
    assert_int_equal(s.returned_status, MU_200_OK);
    assert_int_equal(s.returned_bytes, -1);
    scene_fini(&s);
}

/* It may not: the application is told, and answers in the usual way. */
static void denied(void **state)
{
    static const struct step script[] = {
        { .op = STEP_READ },   TAKE,
        { .op = STEP_CLIENT }, { .op = STEP_OUT, .data = LIT("relayed") },
        { .op = STEP_FINISH }, { .op = STEP_DRAIN },
        { .op = STEP_END }
    };
    static const char no[] = "\1\311\0\1\0\10\0\0\0\0\0\0\0\0\0\0";
    struct scene s;

    (void)state;
    scene_init(&s, backend);
    s.o.passes_client = true;
    s.lend_gives = MU_DENIED;
    scene_app(&s, script, false);
    scene_run(&s);
    assert_int_equal(s.status, MU_200_OK);
    assert_int_equal(s.answer.n, 7);
    assert_int_equal(s.returned, 0);
    assert_memory_equal(s.apps[0].heard.p + s.apps[0].heard.n - 16, no, 16);
    scene_fini(&s);
}

/* Whoever is not offered the client sees nothing of all this, whatever the configuration's environment says. */
static void not_offered(void **state)
{
    static const struct step script[] = { { .op = STEP_READ },
                                          { .op = STEP_OUT, .data = LIT("x") },
                                          { .op = STEP_FINISH },
                                          { .op = STEP_DRAIN },
                                          { .op = STEP_END } };

    (void)state;
    for (int i = 0; i < 5; i++) {
        struct scene s;
        struct mu_req other = { 0 };

        scene_init(&s, backend);
        assert_int_equal(
            mu_headers_set(s.req.arena, &s.req.env, MU_S("MUSTER_PASS_CLIENT"), MU_S("1")), MU_OK);
        s.o.passes_client = i > 0;
        s.peer.is_tls = i == 1;
        s.req.version = i == 2 ? 2000 : 1001;
        s.req.main = i == 3 ? &other : NULL;
        if (i == 4)
            assert_int_equal(
                mu_headers_add(s.req.arena, &s.req.in, MU_S("X-Forwarded-For"), MU_S("192.0.2.1")),
                MU_OK);
        scene_app(&s, script, false);
        scene_run(&s);
        assert_null(strstr(scene_params(&s, 0), "MUSTER"));
        assert_int_equal(s.status, MU_200_OK);
        scene_fini(&s);
    }
}

/* An application with the client that breaks the rules, or off. */
static void misused(void **state)
{
    static const struct step twice[] = { { .op = STEP_READ },   TAKE,
                                         { .op = STEP_CLIENT }, TAKE,
                                         { .op = STEP_DRAIN },  { .op = STEP_END } };
    static const struct step output[] = {
        { .op = STEP_READ },   TAKE,
        { .op = STEP_CLIENT }, { .op = STEP_OUT, .data = LIT("x") },
        { .op = STEP_DRAIN },  { .op = STEP_END }
    };
    static const struct step late[] = { { .op = STEP_READ },
                                        { .op = STEP_OUT, .data = LIT("x") },
                                        TAKE,
                                        { .op = STEP_DRAIN },
                                        { .op = STEP_END } };
    static const struct step report[] = {
        { .op = STEP_READ }, { .op = STEP_DONE, .n = 200 }, { .op = STEP_DRAIN }, { .op = STEP_END }
    };
    static const struct step odd_status[] = { { .op = STEP_READ },   TAKE,
                                              { .op = STEP_CLIENT }, { .op = STEP_DONE, .n = 42 },
                                              { .op = STEP_DRAIN },  { .op = STEP_END } };
    static const struct step breaks_off[] = { { .op = STEP_READ },
                                              TAKE,
                                              { .op = STEP_CLIENT, .data = LIT("HTTP/1.0 2") },
                                              { .op = STEP_END } };
    static const struct step too_soon[] = { { .op = STEP_READ }, TAKE, { .op = STEP_END } };
    static const struct {
        int line;
        const struct step *script;
        int aborted; /* the client was given: nobody else can answer */
        const char *tag;
    } rows[] = {
        { __LINE__, twice, 1, "MU1407" },      { __LINE__, output, 1, "MU1407" },
        { __LINE__, late, 0, "MU1407" },       { __LINE__, report, 0, "MU1407" },
        { __LINE__, odd_status, 1, "MU1407" }, { __LINE__, breaks_off, 1, "MU1402" },
        { __LINE__, too_soon, -1, "MU140" },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct scene s;

        scene_init(&s, backend);
        s.o.passes_client = true;
        scene_app(&s, rows[i].script, false);
        scene_run(&s);
        if (!strstr(scene_log, rows[i].tag) ||
            (rows[i].aborted >= 0 && s.aborted != rows[i].aborted))
            fail_msg("line %d: aborted %d, log:\n%s", rows[i].line, s.aborted, scene_log);
        /* Lent and not given, it is taken back; else whoever has it ends the connection. */
        assert_int_equal(s.returned + s.aborted, s.lent);
        assert_int_not_equal(s.apps[0].how, MU_FCGI_KEEP);
        scene_fini(&s);
    }
}

static void client_of_an_application_leaves(void **state)
{
    static const struct step script[] = { { .op = STEP_READ },   TAKE,
                                          { .op = STEP_CLIENT }, { .op = STEP_CANCEL },
                                          { .op = STEP_DRAIN },  { .op = STEP_END } };
    struct scene s;

    (void)state;
    scene_init(&s, backend);
    s.o.passes_client = true;
    scene_app(&s, script, false);
    scene_run(&s);
    assert_true(scene_heard(&s, 0, MU_FCGI_T_ABORT));
    assert_int_equal(s.aborted, 1);
    scene_fini(&s);
}

/* ---- PHP ---- */

static const struct step hello[] = { { .op = STEP_READ },
                                     { .op = STEP_OUT, .data = LIT("x") },
                                     { .op = STEP_FINISH },
                                     { .op = STEP_DRAIN },
                                     { .op = STEP_END } };

struct php {
    int line;
    struct mu_php_value values[3];
    struct mu_str names[3];
    const char *set_before; /* SetEnv PHP_VALUE */
    const char *params;     /* all but the method; NULL: 500 */
};

static const struct php phps[] = {
    { .line = __LINE__, .params = "" },
    { .line = __LINE__,
      .values = { { MU_S("memory_limit"), MU_S("64M"), false },
                  { MU_S("display_errors"), MU_S("1"), false } },
      .params = "PHP_VALUE=memory_limit='64M'\ndisplay_errors='1'\n\n" },
    { .line = __LINE__,
      .values = { { MU_S("precision"), MU_S("5"), false },
                  { MU_S("open_basedir"), MU_S("/srv/a;b"), true } },
      .params = "PHP_VALUE=precision='5'\n\nPHP_ADMIN_VALUE=open_basedir='/srv/a;b'\n\n" },
    /* What other places set goes back to what php.ini says, or PHP itself. */
    { .line = __LINE__,
      .values = { { MU_S("precision"), MU_S("5"), false } },
      .names = { MU_S("precision"), MU_S("memory_limit") },
      .params =
          "memory_limit=128M\nPHP_VALUE=memory_limit=\"${memory_limit}\"\nprecision='5'\n\n" },
    { .line = __LINE__,
      .names = { MU_S("max_input_vars"), MU_S("memory_limit") },
      .params =
          "max_input_vars=1000\nmemory_limit=128M\nPHP_VALUE=max_input_vars=\"${max_input_vars}\"\n"
          "memory_limit=\"${memory_limit}\"\n\n" },
    { .line = __LINE__,
      .values = { { MU_S("precision"), MU_S("5"), false } },
      .set_before = "precision=9",
      .params = "PHP_VALUE=precision=9\nprecision='5'\n\n" },
    /* Quotes. */
    { .line = __LINE__,
      .values = { { MU_S("a"), MU_S("\"${x}\\n\""), false }, { MU_S("b"), MU_S("it's"), false } },
      .params = "PHP_VALUE=a='\"${x}\\n\"'\nb=\"it's\"\n\n" },
    { .line = __LINE__, .values = { { MU_S("a"), MU_S("it's ${x}"), false } } },
    /* More settings than one. */
    { .line = __LINE__, .values = { { MU_S("a"), MU_S("1\nopen_basedir=/"), false } } },
    { .line = __LINE__, .values = { { MU_S("a"), MU_S("1\r"), true } } },
    { .line = __LINE__, .values = { { MU_S("a"), { "1\0", 2 }, true } } },
    { .line = __LINE__, .values = { { MU_S("a\nb"), MU_S("1"), false } } },
    { .line = __LINE__, .values = { { MU_S("a=b"), MU_S("1"), false } } },
    { .line = __LINE__, .values = { { MU_S("a]"), MU_S("1"), false } } },
    /* Nobody could take these back. */
    { .line = __LINE__, .values = { { MU_S("disable_functions"), MU_S("exec"), true } } },
    { .line = __LINE__, .values = { { MU_S("extension"), MU_S("x.so"), true } } },
};

static void php_row(const struct php *row)
{
    struct scene s;
    size_t method = strlen("REQUEST_METHOD=GET\n");

    scene_init(&s, backend);
    s.php = row->values;
    while (s.php_n < 3 && row->values[s.php_n].name.n)
        s.php_n++;
    s.php_names = row->names;
    while (s.php_names_n < 3 && row->names[s.php_names_n].n)
        s.php_names_n++;
    if (row->set_before)
        assert_int_equal(
            mu_headers_set(s.req.arena, &s.req.env, MU_S("PHP_VALUE"), mu_str_c(row->set_before)),
            MU_OK);
    scene_app(&s, hello, false);
    scene_run(&s);
    if (!row->params) {
        if (s.status != MU_500_INTERNAL_SERVER_ERROR || s.opened || !strstr(scene_log, "MU1420"))
            fail_msg("line %d: status %d, log:\n%s", row->line, s.status, scene_log);
    } else if (strcmp(scene_params(&s, 0) + method, row->params) != 0) {
        fail_msg("line %d: %s", row->line, scene_params(&s, 0));
    }
    scene_fini(&s);
}

static void php(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(phps); i++)
        php_row(&phps[i]);
}

#define T(f) cmocka_unit_test(f)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(passed),  T(passed_before_the_body),          T(denied), T(not_offered),
        T(misused), T(client_of_an_application_leaves), T(php),
    };
    int failed = 0;

    for (backend = MU_BACKEND_EPOLL; backend <= MU_BACKEND_SINGLE; backend++)
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
