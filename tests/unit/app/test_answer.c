/* Answers of applications: heads, bodies, redirects, conditions, X-Sendfile, and ends that are none.
 * Where httpd has an opinion, what is expected is what Debian's apache2 2.4.71 made of the same
 * script. */
#include "../server/req_fixture.h"
#include "mod_envdump.h"

#include <muster/cgi.h>
#include <muster/str.h>
#include <stdlib.h>
#include <unistd.h>

extern struct mu_module mu_module_app, mu_module_mime, mu_module_answer;
static struct mu_module *const modules[] = { &mu_module_app, &mu_module_mime, &mu_module_envdump,
                                             &mu_module_answer, NULL };

/** What the application of the next request writes, and how it ends. */
static struct app {
    const char *pieces[8];
    enum mu_rc why;
    bool flushes;
    size_t more;     /**< bytes of 'x' behind the pieces */
    enum mu_rc last; /**< out: of mu_cgi_answer_bytes */
    bool has_begun, is_head_done;
} app;

static enum mu_status run(struct mu_req *r, const void *conf)
{
    static const char xs[4096] = { [0 ... 4095] = 'x' };
    struct mu_cgi_answer a;
    enum mu_rc rc = MU_OK;
    size_t left = app.more;

    (void)conf;
    mu_cgi_answer_begin(&a, r, MU_S("script test"), app.flushes);
    for (size_t i = 0; app.pieces[i] && rc == MU_OK; i++)
        rc = mu_cgi_answer_bytes(&a, mu_str_c(app.pieces[i]));
    for (; left && rc == MU_OK; left -= left < sizeof(xs) ? left : sizeof(xs))
        rc = mu_cgi_answer_bytes(&a, mu_str_n(xs, left < sizeof(xs) ? left : sizeof(xs)));
    app.last = rc;
    app.has_begun = a.has_begun;
    app.is_head_done = a.is_head_done;
    return mu_cgi_answer_end(&a, rc == MU_OK || rc == MU_EOF ? app.why : rc, MU_502_BAD_GATEWAY);
}

MU_MODULE(answer, .handlers = MU_HANDLERS({ "answer", run, MU_ANY_METHOD, false, false }));

#define SITE                                                                                       \
    "TypesConfig @/mime.types\n<FilesMatch \"\\.app$\">\nSetHandler answer\n</FilesMatch>\n"       \
    "<FilesMatch \"\\.env$\">\nSetHandler envdump\nAcceptPathInfo On\n</FilesMatch>\n"

static int setup(void **state)
{
    int rc = site_setup(state);

    setenv("PATH", "/usr/bin:/bin", 1);
    memset(&app, 0, sizeof(app));
    app.why = MU_EOF;
    site->modules = modules;
    site_file("mime.types", "text/plain txt\nimage/png png\n");
    site_file("htdocs/x.app", "");
    site_file("htdocs/y.env", "");
    site_file("htdocs/a.txt", "hi");
    site_load(SITE);
    return rc;
}

/* The answer to `request` of an application that writes `output` in one piece. */
static struct answer *reply(const char *request, const char *output)
{
    app.pieces[0] = output;
    app.pieces[1] = NULL;
    return ask(request);
}

#define GET "GET /x.app"

static const char *always(const char *name)
{
    static char value[1024];
    struct mu_str s = mu_headers_get(&site->a.r->out_always, mu_str_c(name));

    snprintf(value, sizeof(value), "%.*s", MU_FMT(s));
    return value;
}

static const char *str(struct mu_str s)
{
    static char value[1024];

    snprintf(value, sizeof(value), "%.*s", MU_FMT(s));
    return value;
}

static void test_plain(void **state)
{
    (void)state;
    assert_int_equal(reply(GET, "Content-Type: TEXT/Plain; Charset=X\r\nX-A: 1\n\nbody")->status,
                     200);
    assert_string_equal(text(), "body");
    assert_string_equal(str(site->a.r->content_type), "text/plain; Charset=X");
    assert_string_equal(always("X-A"), "1");
    assert_int_equal(site->a.r->content_length,
                     4); /* all of it was there before the head was sent */
    assert_true(site->a.is_ended && !site->a.is_aborted);
    reply(GET, "\nbody");
    assert_string_equal(text(), "body");
    assert_int_equal(reply(GET, "Content-Type: text/plain\n\n")->status, 200);
    assert_int_equal(site->a.body_n, 0);
    assert_int_equal(site->a.r->content_length, 0);
}

static void test_pieces(void **state)
{
    (void)state;
    for (int flushes = 0; flushes < 2; flushes++) {
        app = (struct app){ .pieces = { "Content-Ty", "pe: text/plain\r", "\n", "\n", "bo", "dy" },
                            .why = MU_EOF,
                            .flushes = flushes };
        assert_body(GET, "body");
        assert_int_equal(site->a.r->content_length, flushes ? -1 : 4);
        assert_true(app.has_begun && app.is_head_done && app.last == MU_OK);
    }
}

static void test_status(void **state)
{
    (void)state;
    assert_int_equal(reply(GET, "Status: 404 Gone Fishing\n\nmine")->status, 404);
    assert_string_equal(text(), "mine");
    assert_string_equal(str(site->a.r->status_reason), "Gone Fishing");
    assert_int_equal(reply(GET, "Status: 404\n\n")->status, 404);
    assert_int_equal(site->a.body_n, 0); /* no page of ours in its place */
    assert_true(site->a.is_ended);
    assert_int_equal(reply(GET, "Status: 500\n\noops")->status, 500);
    assert_string_equal(text(), "oops");
    assert_int_equal(reply(GET, "Status: abc\n\nkept")->status, 500);
    assert_string_equal(text(), "kept");
    assert_int_equal(reply(GET, "Status: 100 x\n\nkept")->status, 500);
    assert_int_equal(reply(GET, "Status: 301\nLocation: http://x.test/q\n\n")->status, 301);
    assert_string_equal(field("Location"), "http://x.test/q");
    assert_int_equal(site->a.body_n, 0);
    assert_int_equal(reply(GET, "Status: 302 Found\nLocation: /a.txt\n\nown")->status, 302);
    assert_string_equal(text(), "own");
    assert_int_equal(reply(GET, "Status: 204\nContent-Length: 4\n\nbody")->status, 204);
    assert_int_equal(site->a.body_n, 0);
    assert_int_equal(reply(GET, "Status: 304\nETag: \"x\"\n\n")->status, 304);
    assert_string_equal(str(site->a.r->etag), "\"x\"");
}

static void test_fields(void **state)
{
    uint32_t cookies = 0;

    (void)state;
    reply(GET, "Set-Cookie: a=1\nX-M: 1\nset-cookie: b=2\nX-M: 2\nConnection: close, X-Q\n"
               "Keep-Alive: x\nTrailer: a\nDate: yesterday\nServer: me\nUpgrade: h2c\n"
               "Transfer-Encoding: chunked\nProxy-Connection: 1\nContent-Encoding: gzip\n"
               "Content-Language: de\nRetry-After: 5\n\nbody");
    assert_string_equal(always("X-M"), "1, 2");
    for (uint32_t i = 0; i < site->a.r->out_always.n; i++)
        cookies += site->a.r->out_always.v[i].id == MU_H_SET_COOKIE;
    assert_int_equal(cookies, 2);
    assert_string_equal(always("Retry-After"), "5");
    assert_string_equal(field("Content-Encoding"), "gzip");
    assert_string_equal(field("Content-Language"), "de");
    assert_int_equal(site->a.r->out_always.n, 4);
    assert_int_equal(site->a.r->out.n, 2);
    assert_string_equal(text(), "body");
}

static void test_length(void **state)
{
    (void)state;
    app.flushes = true; /* so that it is not counted but said */
    reply(GET, "Content-Length: 4\n\nbody");
    assert_int_equal(site->a.r->content_length, 4);
    assert_string_equal(text(), "body");
    assert_true(site->a.is_ended && !site->a.is_aborted);
    reply(GET, "Content-Length: 2\n\nbody"); /* the rest cannot be sent */
    assert_string_equal(text(), "bo");
    assert_true(site->a.is_ended && !site->a.is_aborted);
    reply(GET, "Content-Length: 20\n\nbody");
    assert_true(site->a.is_aborted && !site->a.is_ended);
    reply(GET, "Content-Length: 4x\n\nbody");
    assert_int_equal(site->a.r->content_length, -1);
    assert_true(site->a.is_ended && !site->a.is_aborted);
    reply(GET, "Content-Length: 4\nContent-Length: 5\n\nbody");
    assert_int_equal(site->a.r->content_length, -1);
    reply("HEAD /x.app", "Content-Length: 20\n\n");
    assert_int_equal(site->a.r->content_length, 20);
    assert_true(site->a.is_ended && !site->a.is_aborted);
    app.flushes = false; /* nothing was sent yet: an error can be */
    assert_int_equal(reply(GET, "Content-Length: 20\nStatus: 502 x\nX-A: 1\n\nbody")->status, 502);
    assert_has(text(), "<h1>Bad Gateway</h1>");
    assert_false(site->a.is_aborted);
}

static void test_no_head(void **state)
{
    static const char *const bad[] = {
        "",
        "just text\n\nbody",
        "X-A: 1",
        "X-A: 1\n",
        "HTTP/1.1 200 OK\n\nbody",
        "X A: 1\n\n",
        "X-A: a\rSet-Cookie: b\n\nbody",
        "X-A: 1\n folded\n\n",
        "X-A: a\x01\n\n",
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(bad); i++) {
        assert_int_equal(reply(GET, bad[i])->status, 500);
        assert_has(text(), "<h1>Internal Server Error</h1>");
        assert_string_equal(always("X-A"), "");
        assert_false(app.is_head_done || app.has_begun);
    }
    app.why = MU_EIO;
    assert_int_equal(reply(GET, "X-A: 1\n")->status, 502);
    app.why = MU_TIMEOUT;
    assert_int_equal(reply(GET, "X-A: 1\n")->status, 504);
    app.why = MU_NOMEM;
    assert_int_equal(reply(GET, "X-A: 1\n")->status, 503);
}

static void test_error_document(void **state)
{
    (void)state;
    site_load(SITE "ErrorDocument 500 /y.env\nErrorDocument 404 /y.env\n");
    assert_int_equal(reply("GET /x.app?q=1\nX-H: v", "no head")->status, 500);
    assert_has(text(), "REDIRECT_STATUS=500\n");
    assert_has(text(), "REDIRECT_ERROR_NOTES=premature end of script headers\n");
    assert_has(text(), "REDIRECT_SCRIPT_NAME=/x.app\n"); /* all that the script had */
    assert_has(text(), "REDIRECT_HTTP_X_H=v\n");
    reply(GET, "a < b\n\n");
    assert_has(text(), "REDIRECT_ERROR_NOTES=malformed header from script: a line without a colon");
    assert_int_equal(reply(GET, "Status: 404\n\nmine")->status, 404);
    assert_string_equal(text(), "mine");
    site_load(SITE "ErrorDocument 404 /x.app\n"); /* one that fails itself: the first error stays */
    assert_int_equal(reply("GET /none", "no head")->status, 404);
    assert_has(text(), "<h1>Not Found</h1>");
    assert_has(text(), "Additionally, a 500 Internal Server Error");
    app.why = MU_EIO;
    assert_int_equal(reply("GET /none", "Status: 410\n\nbo")->status, 404);
    assert_has(text(), "Additionally, a 502 Bad Gateway");
}

static void test_broken(void **state)
{
    (void)state;
    app.flushes = true;
    app.why = MU_EIO;
    reply(GET, "X-A: 1\n\nbo");
    assert_true(site->a.is_aborted && !site->a.is_ended);
    app.why = MU_TIMEOUT;
    reply(GET, "X-A: 1\n\nbo");
    assert_true(site->a.is_aborted && !site->a.is_ended);
    reply(GET, "Content-Length: 2\n\nbo"); /* all that was announced is there */
    assert_true(!site->a.is_aborted && site->a.is_ended);
    app.flushes = false;
    assert_int_equal(reply(GET, "X-A: 1\nETag: \"x\"\n\nbo")->status, 504);
    assert_false(site->a.is_aborted);
    assert_int_equal(site->a.r->etag.n, 0);
    app.why = MU_EIO;
    assert_int_equal(reply(GET, "Status: 502\n\nbo")->status, 502);
    assert_has(text(), "<h1>Bad Gateway</h1>");
}

static void test_client_redirect(void **state)
{
    (void)state;
    assert_int_equal(
        reply(GET, "Location: http://x.test/a\nX-B: 1\nSet-Cookie: a=b\nContent-Type: a/b\n\nmine")
            ->status,
        302);
    assert_string_equal(field("Location"), "http://x.test/a");
    assert_string_equal(always("X-B"), "1");
    assert_string_equal(always("Set-Cookie"), "a=b");
    assert_has(text(), "<a href=\"http://x.test/a\">here</a>");
    assert_string_equal(str(site->a.r->content_type), "text/html; charset=iso-8859-1");
    assert_int_equal(reply(GET, "Location: foo/bar\n\n")->status, 302);
    assert_string_equal(field("Location"), "foo/bar");
    reply(GET, "Location: http://b.test/\nLocation: http://b.test/\nStatus: 200\n\nx");
    assert_int_equal(site->a.status, 302);
    assert_string_equal(field("Location"), "http://b.test/");
    assert_int_equal(reply(GET, "Location: http://a.test/\nLocation: http://b.test/\n\n")->status,
                     500);
    assert_int_equal(reply(GET, "Location:\n\nbody")->status, 200);
    assert_string_equal(text(), "body");
}

static void test_local_redirect(void **state)
{
    (void)state;
    assert_int_equal(
        reply("POST /x.app?a=1\nX-H: v", "Location: /a.txt?x#y\nX-B: 1\n\nignored")->status, 200);
    assert_string_equal(text(), "hi");
    assert_string_equal(always("X-B"), "1");
    assert_string_equal(field("Location"), "");
    assert_int_equal(site->a.r->method, MU_M_GET);
    reply("POST /x.app?a=1\nContent-Length: 3", "Status: 200 OK\nLocation: /y.env/p%20i?b=2\n\n");
    assert_has(text(), "REQUEST_METHOD=GET\n");
    assert_has(text(), "QUERY_STRING=b=2\n");
    assert_has(text(), "PATH_INFO=/p i\n");
    assert_has(text(), "REDIRECT_STATUS=200\n");
    assert_has(text(), "REDIRECT_URL=/x.app\n");
    assert_has(text(), "REDIRECT_QUERY_STRING=a=1\n");
    assert_has(text(), "REDIRECT_REQUEST_METHOD=POST\n");
    assert_has(text(), "REDIRECT_GATEWAY_INTERFACE=CGI/1.1\n");
    assert_null(strstr(text(), "CONTENT_LENGTH=3\n"));
    assert_int_equal(reply(GET, "Location: /missing\n\n")->status, 404);
    assert_int_equal(reply(GET, "Location: /../x\n\n")->status, 500);
    assert_int_equal(reply(GET, "Location: /a%zz\n\n")->status, 500);
    assert_int_equal(reply(GET, "Location: /a%2fb\n\n")->status, 404);
    assert_int_equal(reply(GET, "Location: /x.app\n\n")->status, 500); /* for ever */
}

static void test_dropped(void **state)
{
    (void)state;
    app.more = 100000;
    assert_int_equal(reply(GET, "Location: /a.txt\n\n")->status, 200);
    assert_int_equal(app.last, MU_OK); /* it may finish what it does */
    assert_string_equal(text(), "hi");
    app.more = 2000000;
    assert_int_equal(reply(GET, "Status: 204\n\n")->status, 204);
    assert_int_equal(app.last, MU_EOF);
    assert_int_equal(site->a.body_n, 0);
}

static void test_conditions(void **state)
{
    static const char head[] = "ETag: \"abc\"\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\n"
                               "Content-Type: text/plain\n\nbody";

    (void)state;
    assert_int_equal(reply(GET "\nIf-None-Match: \"abc\"", head)->status, 304);
    assert_int_equal(site->a.body_n, 0);
    assert_true(site->a.is_ended);
    assert_int_equal(reply(GET "\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", head)->status,
                     304);
    assert_int_equal(reply(GET "\nIf-Match: \"zzz\"", head)->status, 412);
    assert_int_equal(reply(GET "\nIf-None-Match: \"zzz\"", head)->status, 200);
    assert_string_equal(text(), "body");
    assert_string_equal(str(site->a.r->etag), "\"abc\"");
    assert_int_equal(site->a.r->last_modified, 784111777);
    /* Who names a status means it; and only GET has conditions here, as in httpd. */
    assert_int_equal(
        reply(GET "\nIf-None-Match: \"abc\"", "Status: 200\nETag: \"abc\"\n\nx")->status, 200);
    assert_int_equal(reply("POST /x.app\nIf-None-Match: \"abc\"", head)->status, 200);
    reply(GET, "Last-Modified: foo\n\nx");
    assert_int_equal(site->a.r->last_modified, -1);
    reply(GET, "Last-Modified: Sun, 06 Nov 2094 08:49:37 GMT\n\nx");
    assert_int_equal(site->a.r->last_modified, site->a.r->time_us / 1000000);
    assert_int_equal(reply(GET "\nRange: bytes=0-1", head)->status, 200);
}

/* ---- X-Sendfile ---- */

static void files_setup(void)
{
    site_file("files/a.png", "0123456789");
    site_file("files/sub/b.txt", "below");
    site_file("files/c d.txt", "space");
    site_file("other/secret.txt", "secret");
    site_file("filesystem/x.txt", "neighbour");
    site_link("files/out.txt", "@/other/secret.txt");
    site_link("files/in.txt", "@/files/sub/b.txt");
    site_link("files/dir", "@/other");
    site_link("linked", "@/files");
    site_file("htdocs/beside.txt", "beside");
}

static struct answer *send_file(const char *request, const char *name)
{
    static char output[600];
    const char *root = strchr(name, '@');

    snprintf(output, sizeof(output), "X-A: 1\nx-sendfile: %s%s\n\nignored", root ? site->root : "",
             root ? root + 1 : name);
    return reply(request, output);
}

static void test_send_file(void **state)
{
    (void)state;
    files_setup();
    site_load(SITE "XSendFile On\nXSendFilePath @/files\n");
    assert_int_equal(send_file(GET, "@/files/a.png")->status, 200);
    assert_string_equal(text(), "0123456789");
    assert_int_equal(site->a.r->content_length, 10);
    assert_string_equal(str(site->a.r->content_type), "image/png");
    assert_string_equal(field("Accept-Ranges"), "bytes");
    assert_true(site->a.r->etag.n > 0 && site->a.r->last_modified > 0);
    assert_string_equal(always("X-A"), "1");
    assert_string_equal(always("X-Sendfile"), "");
    assert_string_equal(field("X-Sendfile"), "");
    assert_int_equal(send_file(GET "\nRange: bytes=2-4", "@/files/a.png")->status, 206);
    assert_string_equal(text(), "234");
    assert_int_equal(
        send_file(GET "\nIf-Modified-Since: Sun, 06 Nov 2094 08:49:37 GMT", "@/files/a.png")
            ->status,
        200); /* a date in the future says nothing */
    assert_int_equal(send_file(GET "\nIf-None-Match: *", "@/files/a.png")->status, 304);
    assert_int_equal(send_file("HEAD /x.app", "@/files/a.png")->status, 200);
    assert_int_equal(site->a.r->content_length, 10);
    reply(GET, "Content-Type: a/b\nETag: \"mine\"\nContent-Length: 99\nContent-Encoding: gzip\n"
               "X-Sendfile: sub/b.txt\n\n");
    assert_string_equal(text(), "below");
    assert_string_equal(str(site->a.r->content_type), "a/b");
    assert_string_equal(str(site->a.r->etag), "\"mine\"");
    assert_int_equal(site->a.r->content_length, 5);
    assert_string_equal(field("Content-Encoding"), "");
    assert_int_equal(send_file(GET, "c%20d.txt")->status, 200);
    assert_int_equal(send_file(GET, "c d.txt")->status, 200);
    assert_int_equal(send_file(GET, "beside.txt")->status, 200); /* the program's own folder */
}

static void test_send_file_walls(void **state)
{
    (void)state;
    files_setup();
    site_load(SITE "XSendFile On\nXSendFilePath @/linked\n");
    assert_int_equal(send_file(GET, "@/files/in.txt")->status, 200);
    assert_string_equal(text(), "below");
    assert_int_equal(send_file(GET, "@/linked/a.png")->status, 200);
    assert_int_equal(send_file(GET, "@/files/out.txt")->status, 403);
    assert_null(strstr(text(), "secret"));
    assert_int_equal(send_file(GET, "@/files/dir/secret.txt")->status, 403);
    assert_int_equal(send_file(GET, "@/files/../other/secret.txt")->status, 403);
    assert_int_equal(send_file(GET, "../other/secret.txt")->status, 403);
    assert_int_equal(send_file(GET, "@/files/%2e%2e/other/secret.txt")->status, 403);
    assert_int_equal(send_file(GET, "@/filesystem/x.txt")->status, 403);
    assert_int_equal(send_file(GET, "/etc/passwd")->status, 403);
    assert_int_equal(send_file(GET, "/dev/zero")->status, 403);
    assert_int_equal(send_file(GET, "/proc/self/fd/0")->status, 403);
    assert_int_equal(send_file(GET, "@/files")->status, 403);
    assert_int_equal(send_file(GET, "@/files/sub")->status, 403);
    assert_int_equal(send_file(GET, "@/files/none")->status, 404);
    assert_int_equal(send_file(GET, "@/files/a.png%00.txt")->status, 404);
    assert_int_equal(send_file(GET, "@/files/a%zz")->status, 404);
    assert_string_equal(always("X-Sendfile"), "");
}

static void test_send_file_settings(void **state)
{
    (void)state;
    files_setup();
    site_load(SITE "XSendFilePath @/files\n"); /* not switched on: no file, and no name of one */
    assert_int_equal(send_file(GET, "@/files/a.png")->status, 200);
    assert_string_equal(text(), "ignored");
    assert_string_equal(always("X-Sendfile"), "");
    site_load(SITE "XSendFile On\n<Location /x.app>\nXSendFilePath @/files\nXSendFileUnescape Off\n"
                   "XSendFileIgnoreEtag On\nXSendFileIgnoreLastModified On\n</Location>\n");
    assert_int_equal(send_file(GET, "c%20d.txt")->status, 404);
    assert_int_equal(send_file(GET, "c d.txt")->status, 200);
    reply(GET,
          "ETag: \"mine\"\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\nX-Sendfile: a.png\n\n");
    assert_string_not_equal(str(site->a.r->etag), "\"mine\"");
    assert_true(site->a.r->last_modified > 784111777);
    site_load(SITE "XSendFile On\nXSendFilePath @/other\n<Location /x.app>\nXSendFilePath @/files\n"
                   "</Location>\nEnableSendfile Off\n");
    assert_int_equal(send_file(GET, "secret.txt")->status, 200); /* folders add up */
    assert_int_equal(send_file(GET, "a.png")->status, 200);
    assert_string_equal(text(), "0123456789");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, site_teardown)
        T(test_plain),          T(test_pieces),          T(test_status),
        T(test_fields),         T(test_length),          T(test_no_head),
        T(test_error_document), T(test_broken),          T(test_client_redirect),
        T(test_local_redirect), T(test_dropped),         T(test_conditions),
        T(test_send_file),      T(test_send_file_walls), T(test_send_file_settings),
    };

    return cmocka_run_group_tests_name("answer", tests, NULL, NULL);
}
