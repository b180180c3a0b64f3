/* The environment of applications. What is expected here is what Debian's apache2 2.4.71 gave its
 * scripts for the same requests (mod_cgi); tests/diff/cases/cgi-env asks it again. */
#include "../server/req_fixture.h"
#include "vars.h"

#include <muster/cgi.h>
#include <muster/str.h>
#include <stdlib.h>

extern struct mu_module mu_module_app, mu_module_alias, mu_module_dir;
static struct mu_module *const modules[] = { &mu_module_app, &mu_module_alias, &mu_module_dir,
                                             &mu_module_envdump, NULL };

#define SITE                                                                                       \
    "ServerAdmin me@main.test\n"                                                                   \
    "Alias /al @/alias\nAliasMatch ^/am/(.*)$ @/alias/$1\n"                                        \
    "AcceptPathInfo On\nDirectoryIndex e.cgi\nServerTokens Prod\n"                                 \
    "<FilesMatch \"\\.cgi$\">\nSetHandler envdump\n</FilesMatch>\n"

static int setup(void **state)
{
    int rc = site_setup(state);

    site->modules = modules;
    site_file("htdocs/e.cgi", "");
    site_file("htdocs/plain.txt", "");
    site_file("htdocs/sub/e.cgi", "");
    site_file("alias/dir/a.cgi", "");
    setenv("PATH", "/usr/bin:/bin:/test", 1);
    unsetenv("TZ");
    unsetenv("LD_LIBRARY_PATH");
    return rc;
}

static void test_plain(void **state)
{
    static const char *const names[] = {
        "GATEWAY_INTERFACE", "SERVER_PROTOCOL", "REQUEST_METHOD",        "QUERY_STRING",
        "REQUEST_URI",       "SCRIPT_NAME",     "SCRIPT_FILENAME",       "PATH",
        "SERVER_SIGNATURE",  "SERVER_SOFTWARE", "SERVER_NAME",           "SERVER_ADDR",
        "SERVER_PORT",       "REMOTE_ADDR",     "REMOTE_PORT",           "DOCUMENT_ROOT",
        "REQUEST_SCHEME",    "CONTEXT_PREFIX",  "CONTEXT_DOCUMENT_ROOT", "SERVER_ADMIN",
        "HTTP_HOST",
    };
    size_t lines = 0;

    (void)state;
    site_load(SITE);
    ask("GET /e.cgi?x=1&y=%41\nHost: h.test:8080");
    assert_var("GATEWAY_INTERFACE", "CGI/1.1");
    assert_var("SERVER_PROTOCOL", "HTTP/1.1");
    assert_var("REQUEST_METHOD", "GET");
    assert_var("QUERY_STRING", "x=1&y=%41");
    assert_var("REQUEST_URI", "/e.cgi?x=1&y=%41");
    assert_var("SCRIPT_NAME", "/e.cgi");
    assert_path_var("SCRIPT_FILENAME", "/htdocs/e.cgi");
    assert_var("PATH", "/usr/bin:/bin:/test");
    assert_var("SERVER_SIGNATURE", "");
    assert_var("SERVER_SOFTWARE", "Muster");
    assert_var("SERVER_NAME", "h.test");
    assert_var("SERVER_PORT", "8080");
    assert_var("SERVER_ADDR", "127.0.0.1");
    assert_var("REMOTE_ADDR", "192.0.2.9");
    assert_var("REMOTE_PORT", "999");
    assert_path_var("DOCUMENT_ROOT", "/htdocs");
    assert_var("REQUEST_SCHEME", "http");
    assert_var("CONTEXT_PREFIX", "");
    assert_path_var("CONTEXT_DOCUMENT_ROOT", "/htdocs");
    assert_var("SERVER_ADMIN", "me@main.test");
    assert_var("HTTP_HOST", "h.test:8080");
    for (const char *p = text(); (p = strchr(p, '\n')) != NULL; p++)
        lines++;
    assert_int_equal(lines, MU_ARRAY_LEN(names)); /* these and no others */
}

static void test_fields(void **state)
{
    (void)state;
    site_load(SITE);
    ask("GET /e.cgi\nX-A: 1\nx-a: 2\nX_U: 3\nX.Y: 4\nProxy: evil\nAuthorization: Basic YTpi\n"
        "Proxy-Authorization: x\nCookie: a=1\nCookie: b=2\n1a: v\nContent_Type: no\nContent-Type: a/b\n"
        "X-Empty:\nScript-Filename: /etc/passwd\nRemote-User: root\nHTTP-X: y");
    assert_var("HTTP_X_A", "1, 2");
    assert_var("HTTP_COOKIE", "a=1, b=2");
    assert_var("HTTP_1A", "v");
    assert_var("CONTENT_TYPE", "a/b");
    assert_var("HTTP_X_EMPTY", "");
    assert_var("HTTP_SCRIPT_FILENAME", "/etc/passwd");
    assert_var("HTTP_HTTP_X", "y");
    assert_path_var("SCRIPT_FILENAME", "/htdocs/e.cgi");
    assert_null(var("HTTP_X_U"));
    assert_null(var("HTTP_X_Y"));
    assert_null(var("HTTP_PROXY"));
    assert_null(var("HTTP_CONTENT_TYPE"));
    assert_null(var("HTTP_AUTHORIZATION"));
    assert_null(var("HTTP_PROXY_AUTHORIZATION"));
    assert_null(var("REMOTE_USER"));
    assert_null(var("HTTPS"));
}

static void test_pass_auth(void **state)
{
    (void)state;
    site_load(SITE "<Location /e.cgi>\nCGIPassAuth On\nDumpUser eve\n</Location>");
    ask("GET /e.cgi\nAuthorization: Basic YTpi\nProxy-Authorization: x");
    assert_var("HTTP_AUTHORIZATION", "Basic YTpi");
    assert_var("HTTP_PROXY_AUTHORIZATION", "x");
    assert_var("REMOTE_USER", "eve");
    assert_var("AUTH_TYPE", "Basic");
    ask("GET /sub/e.cgi\nAuthorization: Basic YTpi");
    assert_null(var("HTTP_AUTHORIZATION"));
    site_load_bad("CGIPassAuth On"); /* as in httpd: not for a whole server */
}

static void test_path_info(void **state)
{
    (void)state;
    site_load(SITE);
    ask("GET /e.cgi/a%20b/c%3f?q");
    assert_var("PATH_INFO", "/a b/c?");
    assert_path_var("PATH_TRANSLATED", "/htdocs/a b/c?");
    assert_var("SCRIPT_NAME", "/e.cgi");
    assert_var("REQUEST_URI", "/e.cgi/a%20b/c%3f?q");
    ask("GET /e.cgi/al/dir/b");
    assert_path_var("PATH_TRANSLATED", "/alias/dir/b");
    ask("GET /e.cgi/");
    assert_var("PATH_INFO", "/");
    assert_path_var("PATH_TRANSLATED", "/htdocs/e.cgi"); /* where "/" leads */
    ask("GET //e.cgi//p//q");
    assert_var("PATH_INFO", "/p/q");
    assert_var("REQUEST_URI", "//e.cgi//p//q");
}

static void test_alias(void **state)
{
    (void)state;
    site_load(SITE);
    ask("GET /al/dir/a.cgi/x/y");
    assert_var("CONTEXT_PREFIX", "/al");
    assert_path_var("CONTEXT_DOCUMENT_ROOT", "/alias");
    assert_var("SCRIPT_NAME", "/al/dir/a.cgi");
    assert_path_var("PATH_TRANSLATED", "/htdocs/x/y");
    assert_path_var("DOCUMENT_ROOT", "/htdocs");
    ask("GET /am/dir/a.cgi/p");
    assert_var("CONTEXT_PREFIX", "");
    assert_path_var("CONTEXT_DOCUMENT_ROOT", "/htdocs");
    assert_var("SCRIPT_NAME", "/am/dir/a.cgi");
    assert_path_var("SCRIPT_FILENAME", "/alias/dir/a.cgi");
}

static void test_index(void **state)
{
    (void)state;
    site_load(SITE);
    ask("GET /sub/?dir=1");
    assert_var("SCRIPT_NAME", "/sub/e.cgi");
    assert_var("REQUEST_URI", "/sub/?dir=1");
    assert_var("QUERY_STRING", "dir=1");
    assert_null(var("REDIRECT_STATUS"));
    assert_null(var("PATH_INFO"));
}

static void test_redirect(void **state)
{
    (void)state;
    site_load(SITE "<Location /go>\nSetHandler envgo\nDumpGoTo /e.cgi/pi\n</Location>\n"
                   "<Location /qq>\nSetHandler envgo\nDumpGoTo /sub/e.cgi\nDumpUser eve\n"
                   "QualifyRedirectURL Off\n</Location>\n"
                   "<Directory @/htdocs/sub>\nQualifyRedirectURL On\n</Directory>\n");
    ask("POST /go/x?a=1\nHost: h");
    assert_var("REDIRECT_STATUS", "200");
    assert_var("REDIRECT_URL", "/go/x");
    assert_var("REDIRECT_QUERY_STRING", "a=1");
    assert_var("REDIRECT_KEPT", "yes");
    assert_null(var("KEPT"));
    assert_var("QUERY_STRING", "b=2");
    assert_var("REQUEST_METHOD", "POST");
    assert_var("REQUEST_URI", "/go/x?a=1");
    assert_var("PATH_INFO", "/pi");
    assert_null(var("REDIRECT_REMOTE_USER"));
    ask("GET /qq/a%20b?x=1\nHost: h:81");
    assert_var("REDIRECT_URL", "http://h:81/qq/a b?x=1");
    assert_var("REDIRECT_QUERY_STRING", "x=1");
}

static void test_redirect_user(void **state)
{
    (void)state;
    site_load(SITE
              "<Location /go>\nSetHandler envgo\nDumpGoTo /e.cgi\nDumpUser eve\n</Location>\n");
    ask("GET /go");
    assert_var("REMOTE_USER", "eve"); /* an internal redirect keeps who it is */
    assert_null(var("REDIRECT_REMOTE_USER"));
}

static void test_error_document(void **state)
{
    (void)state;
    site_load(SITE "ErrorDocument 404 /e.cgi/nf?code=404\nErrorDocument 403 /e.cgi\n"
                   "<Location /noted>\nDumpNotes \"a <note>\"\n</Location>\n"
                   "<Location /e.cgi>\nServerSignature On\n</Location>\n");
    assert_status("POST /missing?x=1\nHost: h\nX-H: 1\nContent-Length: 3", 404);
    assert_var("REDIRECT_STATUS", "404");
    assert_var("REDIRECT_URL", "/missing");
    assert_var("REDIRECT_QUERY_STRING", "x=1");
    assert_var("REDIRECT_REQUEST_METHOD", "POST");
    assert_var("REQUEST_METHOD", "GET");
    assert_var("QUERY_STRING", "code=404");
    assert_var("PATH_INFO", "/nf");
    assert_var("REQUEST_URI", "/missing?x=1");
    assert_var("HTTP_X_H", "1");
    assert_null(var("CONTENT_LENGTH")); /* httpd says 3, but the body is another request's */
    assert_null(var("REDIRECT_ERROR_NOTES"));
    assert_var("SERVER_SIGNATURE", "<address>Muster Server at h Port 80</address>");
    assert_status("GET /noted", 403);
    assert_var("REDIRECT_ERROR_NOTES", "a <note>");
}

static void test_body(void **state)
{
    struct mu_cgi_env env;
    struct mu_req *r;

    (void)state;
    site_load(SITE);
    ask("POST /e.cgi\nContent-Length: 0");
    assert_var("CONTENT_LENGTH", "0");
    ask("GET /e.cgi");
    assert_null(var("CONTENT_LENGTH"));
    /* Chunked, and then collected: its length is known. */
    ask("POST /e.cgi\nTransfer-Encoding: chunked");
    r = site->a.r;
    r->has_body = true;
    r->body_len = -1;
    assert_int_equal(mu_cgi_env_make(r, &env), MU_OK);
    assert_null(mu_cgi_env_get(&env, MU_S("CONTENT_LENGTH")).p);
    assert_true(mu_str_eq(mu_cgi_env_get(&env, MU_S("HTTP_TRANSFER_ENCODING")), MU_S("chunked")));
    r->body_len = 12345;
    assert_int_equal(mu_cgi_env_make(r, &env), MU_OK);
    assert_true(mu_str_eq(mu_cgi_env_get(&env, MU_S("CONTENT_LENGTH")), MU_S("12345")));
    assert_null(mu_cgi_env_get(&env, MU_S("HTTP_TRANSFER_ENCODING")).p);
}

static void test_names(void **state)
{
    (void)state;
    site_load(SITE "UseCanonicalName On\nUseCanonicalPhysicalPort On\n");
    ask("GET /e.cgi\nHost: other.test:99");
    assert_var("SERVER_NAME", "main.test");
    assert_var("SERVER_PORT", "80");
    assert_var("HTTP_HOST", "other.test:99");
    site_load("ServerName https://main.test:8443\n" SITE);
    ask("GET /e.cgi\nHost: a.test");
    assert_var("REQUEST_SCHEME", "https");
    assert_var("SERVER_NAME", "a.test");
    site_load(
        SITE
        "<VirtualHost *:80>\nServerName one.test\nServerAdmin one@one.test\nDocumentRoot @/htdocs/sub\n</VirtualHost>");
    ask("GET /e.cgi\nHost: one.test");
    assert_var("SERVER_ADMIN", "one@one.test");
    assert_path_var("DOCUMENT_ROOT", "/htdocs/sub");
    assert_path_var("CONTEXT_DOCUMENT_ROOT", "/htdocs/sub");
    site->x->peer.is_tls = true; /* its answer's environment, asked for once more */
    site->a.r->host = MU_S("::1");
    {
        struct mu_cgi_env env;

        assert_int_equal(mu_cgi_env_make(site->a.r, &env), MU_OK);
        assert_true(mu_str_eq(mu_cgi_env_get(&env, MU_S("HTTPS")), MU_S("on")));
        assert_true(mu_str_eq(mu_cgi_env_get(&env, MU_S("REQUEST_SCHEME")), MU_S("https")));
        assert_true(mu_str_eq(mu_cgi_env_get(&env, MU_S("SERVER_NAME")), MU_S("[::1]")));
    }
}

static void test_request_uri(void **state)
{
    (void)state;
    site_load(SITE "<Location /e.cgi/cur>\nCGIVar REQUEST_URI current-uri\n</Location>");
    ask("GET /e.cgi/cur/a%20b?q");
    assert_var("REQUEST_URI", "/e.cgi/cur/a b");
    ask("GET /e.cgi/?q");
    assert_var("REQUEST_URI", "/e.cgi/?q");
    site_load_bad("<Location />\nCGIVar REMOTE_ADDR x\n</Location>");
    site_load_bad("<Location />\nCGIVar REQUEST_URI x\n</Location>");
}

/* What the configuration sets never replaces what the server knows. */
static void test_given(void **state)
{
    struct mu_cgi_env env;
    struct mu_req *r;
    char **strings;
    size_t n = 0;

    (void)state;
    site_load(SITE);
    ask("GET /e.cgi/set\nX-B: real");
    r = site->a.r;
    mu_req_env_set(r, MU_S("server_name"), MU_S("fake"));
    mu_req_env_set(r, MU_S("HTTP_X_B"), MU_S("fake"));
    mu_req_env_set(r, MU_S("HTTP_X_A"), MU_S("given"));
    mu_req_env_set(r, MU_S("PATH_INFO"), MU_S("fake"));
    mu_req_env_set(r, MU_S("PATH"), MU_S("/given"));
    mu_req_env_set(r, MU_S("REMOTE_USER"), MU_S("given"));
    mu_req_env_set(r, MU_S("1lower.case-x"), MU_S("y"));
    mu_req_env_set(r, MU_S("SCRIPT-NAME"), MU_S("fake"));
    mu_req_env_set(r, MU_S("a=b"), MU_S("fake"));
    mu_req_env_set(r, MU_S("EMPTY"), MU_STR_NULL);
    assert_int_equal(mu_cgi_env_make(r, &env), MU_OK);
    assert_true(mu_str_eq(mu_cgi_env_get(&env, MU_S("SERVER_NAME")), MU_S("main.test")));
    assert_true(mu_str_eq(mu_cgi_env_get(&env, MU_S("HTTP_X_B")), MU_S("real")));
    assert_true(mu_str_eq(mu_cgi_env_get(&env, MU_S("HTTP_X_A")), MU_S("given")));
    assert_true(mu_str_eq(mu_cgi_env_get(&env, MU_S("PATH_INFO")), MU_S("/set")));
    assert_true(mu_str_eq(mu_cgi_env_get(&env, MU_S("PATH")), MU_S("/given")));
    assert_true(mu_str_eq(mu_cgi_env_get(&env, MU_S("REMOTE_USER")), MU_S("given")));
    assert_null(mu_cgi_env_get(&env, MU_S("a=b")).p);
    mu_cgi_env_unset(&env, MU_S("http_x_a"));
    assert_null(mu_cgi_env_get(&env, MU_S("HTTP_X_A")).p);
    assert_int_equal(mu_cgi_env_set(&env, MU_S("A=B"), MU_S("x")), MU_BAD);
    assert_int_equal(mu_cgi_env_set(&env, MU_S("AB"), mu_str_n("a\0b", 3)), MU_BAD);
    setenv("TZ", "UTC", 1);
    strings = mu_cgi_env_strings(&env);
    unsetenv("TZ");
    assert_non_null(strings);
    for (bool has_zone = false; strings[n] || !has_zone; n++) {
        assert_non_null(strings[n]);
        has_zone = has_zone || strcmp(strings[n], "TZ=UTC") == 0;
        assert_null(strstr(strings[n], "fake"));
        assert_true(strncmp(strings[n], "SCRIPT_NAME=", 12) != 0 ||
                    strcmp(strings[n], "SCRIPT_NAME=/e.cgi") == 0);
        if (strchr(strings[n], 'x') && strstr(strings[n], "lower"))
            assert_string_equal(strings[n], "_lower_case_x=y");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, site_teardown)
        T(test_plain),          T(test_fields), T(test_pass_auth), T(test_path_info),
        T(test_alias),          T(test_index),  T(test_redirect),  T(test_redirect_user),
        T(test_error_document), T(test_body),   T(test_names),     T(test_request_uri),
        T(test_given),
    };

    return cmocka_run_group_tests_name("env", tests, NULL, NULL);
}
