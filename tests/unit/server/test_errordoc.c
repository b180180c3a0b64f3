/* Error and redirect answers, ErrorDocument in its kinds, internal redirects and sub-requests. */
#include "probe.h"
#include "req_fixture.h"

static struct mu_module *const modules[] = { &mu_module_probe, NULL };

static int setup(void **state)
{
    int rc = site_setup(state);

    site->modules = modules;
    site_file("htdocs/a.txt", "a");
    site_file("htdocs/err.html", "sorry");
    site_file("htdocs/part.txt", "part");
    return rc;
}

static void test_standard_page(void **state)
{
    (void)state;
    site_load("ServerAdmin me@main.test");
    assert_status("GET /none", 404);
    assert_string_equal(
        text(), "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\" "
                "\"http://www.w3.org/TR/html4/strict.dtd\">\n<html><head>\n<title>404 Not "
                "Found</title>\n</head><body>\n<h1>Not Found</h1>\n<p>The requested URL was not "
                "found on this server.</p>\n</body></html>\n");
    assert_int_equal(site->a.r->content_length, (int64_t)site->a.body_n);
    assert_true(site->a.is_ended);
    assert_memory_equal(site->a.r->content_type.p, "text/html; charset=iso-8859-1", 29);
    assert_status("P<T /none", 501);
    assert_has(text(), "P&lt;T not supported");
}

static void test_signature(void **state)
{
    (void)state;
    site_load("ServerSignature On\nServerTokens Prod");
    ask("GET /none\nHost: name.test:81");
    assert_has(text(), "<hr>\n<address>Muster Server at name.test Port 81</address>\n</body>");
    site_load("ServerSignature EMail\nServerAdmin me@main.test\nUseCanonicalName On");
    ask("GET /none\nHost: name.test:81");
    assert_has(text(), "<a href=\"mailto:me@main.test\">main.test</a> Port 80</address>");
}

static void test_unknown_status(void **state)
{
    (void)state;
    site_load("<Location /t>\nSetHandler teapot\n</Location>");
    assert_status("GET /t", 500); /* it has no name: as httpd */
    assert_true(site->a.is_ended);
}

static void test_handler_prefixes(void **state)
{
    (void)state;
    site_load("<Location /t>\nSetHandler \"probe:unix:/run/a.sock|fcgi://x/\"\n</Location>\n"
              "<Location /u>\nSetHandler Probe:One\n</Location>\n"
              "<Location /v>\nSetHandler probe:text:x\n</Location>\n"
              "<Location /w>\nSetHandler probe\n</Location>\n"
              "<Location /x>\nSetHandler other:probe:\n</Location>\n"
              "<Location /y>\nSetHandler probe:\n</Location>");
    assert_body("GET /t", "probe:unix:/run/a.sock|fcgi://x/");
    assert_body("GET /u", "Probe:One");
    assert_body("GET /v", "0123456789");
    assert_body("GET /y", "probe:");
    assert_status("POST /t", 405);
    assert_status("GET /w", 500);
    assert_status("GET /x", 500);
}

static void test_text(void **state)
{
    (void)state;
    site_load("ErrorDocument 404 \"not <here>\"\n<Directory @/htdocs/sub>\nErrorDocument 404 "
              "default\n</Directory>");
    site_dir("htdocs/sub");
    assert_body("GET /none", "not <here>");
    assert_int_equal(site->a.status, 404);
    ask("GET /sub/none");
    assert_has(text(), "The requested URL was not found");
}

static void test_local(void **state)
{
    (void)state;
    site_load("ErrorDocument 404 /err.html?x=1\nErrorDocument 405 /err.html");
    assert_body("GET /none?q=2", "sorry");
    assert_int_equal(site->a.status, 404);
    assert_string_equal(field("X-Env-REDIRECT_STATUS"), "404");
    assert_string_equal(field("X-Env-REDIRECT_REQUEST_METHOD"), "GET");
    assert_string_equal(field("X-Env-REDIRECT_URL"), ""); /* for applications alone */
    assert_int_equal(site->a.r->query.n, 3);
    assert_body("PUT /a.txt", "sorry");
    assert_int_equal(site->a.status, 405);
    assert_int_equal(probe_logged, 405);
    assert_status("GET /none\nRange: bytes=0-1\nIf-None-Match: *", 404);
    assert_string_equal(text(), "sorry");
}

static void test_url(void **state)
{
    (void)state;
    site_load("ErrorDocument 404 http://other.test/x");
    assert_status("GET /none", 302);
    assert_string_equal(field("Location"), "http://other.test/x");
    assert_has(text(), "<a href=\"http://other.test/x\">here</a>");
}

static void test_failing_document(void **state)
{
    (void)state;
    site_load(
        "ErrorDocument 404 /missing.html\nErrorDocument 403 /denied/x\n<Location /denied>\nDeny On\n"
        "</Location>");
    assert_status("GET /none", 404);
    assert_has(text(), "Additionally, a 404 Not Found\nerror was encountered");
    assert_status("GET /denied/a", 403);
    assert_has(text(), "Additionally, a 403 Forbidden\n");
}

static void test_internal_redirect(void **state)
{
    (void)state;
    site_load("<Location /go>\nSetHandler redirect\nRedirectTo /a.txt\n</Location>\n"
              "<Location /up>\nSetHandler redirect\nRedirectTo /x/../a.txt\n</Location>\n"
              "<Location /spin>\nSetHandler redirect\nRedirectTo /spin\n</Location>\n");
    assert_body("GET /go", "a");
    assert_int_equal(site->a.status, 200);
    assert_string_equal(field("X-Env-REDIRECT_KEPT"), "yes");
    assert_string_equal(field("X-Env-REDIRECT_STATUS"), "200");
    assert_int_equal(site->a.r->query.n, 3);
    assert_body("GET /up", "a");
    assert_status("GET /spin", 500);
    assert_true(site->a.is_ended);
}

static void test_subrequests(void **state)
{
    (void)state;
    site_load("<Location /page>\nSetHandler include\n</Location>");
    probe_logs = 0;
    assert_body("GET /page", "<part|0>");
    assert_true(site->a.is_ended);
    assert_int_equal(probe_logs, 1);
}

static void test_lookup_file(void **state)
{
    struct mu_finfo fi = { .type = MU_FT_REG, .size = 77 };
    struct mu_req *sub;

    (void)state;
    site_load("<Files part.txt>\nDeny On\n</Files>");
    ask("GET /");
    sub = mu_subreq_lookup_file(site->a.r, MU_S("a.txt"), &fi);
    assert_non_null(sub);
    assert_int_equal(sub->status, 200);
    assert_int_equal(sub->finfo.size, 77);
    sub = mu_subreq_lookup_file(site->a.r, MU_S("part.txt"), &fi);
    assert_int_equal(sub->status, 403);
    assert_null(mu_subreq_lookup_file(site->a.r, MU_S("../x"), &fi));
}

static void test_send(void **state)
{
    (void)state;
    site_load("<Location /t>\nSetHandler text\n</Location>");
    assert_body("GET /t", "0123456789");
    assert_body("GET /t\nRange: bytes=3-5", "345");
    assert_status("GET /t\nIf-None-Match: \"fixed\"", 304);
    assert_status("PUT /t", 405);
    assert_string_equal(field("Allow"), "GET,OPTIONS,HEAD,TRACE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, site_teardown)
        T(test_standard_page),
        T(test_signature),
        T(test_unknown_status),
        T(test_handler_prefixes),
        T(test_text),
        T(test_local),
        T(test_url),
        T(test_failing_document),
        T(test_internal_redirect),
        T(test_subrequests),
        T(test_lookup_file),
        T(test_send),
    };

    return cmocka_run_group_tests_name("errordoc", tests, NULL, NULL);
}
