/* Which sections apply to a request, and in which order: httpd's. */
#include "probe.h"
#include "req_fixture.h"

static struct mu_module *const modules[] = { &mu_module_probe, NULL };

static int setup(void **state)
{
    int rc = site_setup(state);

    site->modules = modules;
    site_file("htdocs/a/b/c.txt", "c");
    site_file("htdocs/a/b/d.html", "d");
    return rc;
}

#define MARKS(request, expected)                                                                   \
    do {                                                                                           \
        assert_status(request, 200);                                                               \
        assert_string_equal(field("X-Marks"), (expected));                                         \
    } while (0)

static void test_order(void **state)
{
    (void)state;
    site_load("<Location /a>\nMark L1\n</Location>\n"
              "<LocationMatch \"\\.txt$\">\nMark L2\n</LocationMatch>\n"
              "<Files c.txt>\nMark F1\n</Files>\n"
              "<FilesMatch \"\\.(txt|html)$\">\nMark F2\n</FilesMatch>\n"
              "<DirectoryMatch \"/b/c\">\nMark M1\n</DirectoryMatch>\n"
              "<Directory @/htdocs/a/b>\nMark D3\n<Files *.html>\nMark N1\n</Files>\n</Directory>\n"
              "<Directory @/htdocs/*/b>\nMark W3\n</Directory>\n"
              "<Directory @/htdocs>\nMark D1\n</Directory>\n"
              "<Directory />\nMark D0\n</Directory>\n"
              "Mark S\n");
    MARKS("GET /a/b/c.txt", "S D0 D1 D3 W3 M1 F1 F2 L1 L2");
    MARKS("GET /a/b/d.html", "S D0 D1 D3 W3 F2 N1 L1");
    MARKS("GET /a/b/c.txt", "S D0 D1 D3 W3 M1 F1 F2 L1 L2"); /* remembered */
}

static void test_location_edges(void **state)
{
    (void)state;
    site_file("htdocs/ab/x", "x");
    site_load(
        "<Location /a>\nMark plain\n</Location>\n<Location /a/*/c.txt>\nMark wild\n</Location>\n"
        "<Location /a/b/>\nMark slash\n</Location>\n");
    MARKS("GET /a/b/c.txt", "plain wild slash");
    MARKS("GET /ab/x", "");
}

static void test_vhost_sections_come_later(void **state)
{
    (void)state;
    site_load(
        "<VirtualHost *>\nServerName v.test\nDocumentRoot @/htdocs\nMark V\n"
        "<Directory @/htdocs/a>\nMark VD\n</Directory>\n<Location />\nMark VL\n</Location>\n"
        "</VirtualHost>\n"
        "Mark S\n<Directory @/htdocs/a>\nMark D\n</Directory>\n<Location />\nMark L\n</Location>\n");
    MARKS("GET /a/b/c.txt\nHost: v.test", "S V D VD L VL");
}

static void test_named_groups(void **state)
{
    (void)state;
    site_load("<LocationMatch \"^/a/(?<first>[^/]+)/\">\nMark x\n</LocationMatch>");
    assert_status("GET /a/b/c.txt", 200);
    assert_string_equal(field("X-Env-MATCH_FIRST"), "b");
}

static void test_access_is_asked(void **state)
{
    (void)state;
    site_load("<Directory @/htdocs/a>\nDeny On\n</Directory>\n<Files d.html>\nDeny Off\n</Files>");
    assert_status("GET /a/b/c.txt", 403);
    assert_status("GET /a/b/d.html", 200);
    assert_status("GET /a/b/c.txt", 403);
    assert_status("GET /a/b/none", 403);
    assert_int_equal(probe_logged, 403);
}

static void test_override_guard(void **state)
{
    (void)state;
    site_file("htdocs/a/.htaccess", "Deny On\n");
    site_load("");
    assert_status("GET /a/b/c.txt", 200);
    site_load("<Directory @/htdocs>\nAllowOverride All\n</Directory>");
    assert_status("GET /a/b/c.txt", 500);
    assert_status("GET /a/b/c.txt", 500);
    assert_status("GET /a/none", 500);
    site_load("<Directory @/htdocs/a/b>\nAllowOverride All\n</Directory>");
    assert_status("GET /a/b/c.txt", 200);
    site_file("htdocs/a/b/.htaccess", "");
    assert_status("GET /a/b/c.txt", 500);
    site_load("AccessFileName .other\n<Directory @/htdocs>\nAllowOverride FileInfo\n</Directory>");
    assert_status("GET /a/b/c.txt", 200);
    site_load("<Directory @/htdocs>\nAllowOverrideList Header\n</Directory>");
    assert_status("GET /a/b/c.txt", 500);
}

static void test_unknown_handler_shows_no_source(void **state)
{
    (void)state;
    site_load("<Files c.txt>\nSetHandler application/x-nobody\n</Files>");
    assert_status("GET /a/b/c.txt", 500);
    assert_null(strstr(text(), "c\n"));
    assert_status("GET /a/b/d.html", 200);
    site_load("SetHandler text\n<Files c.txt>\nSetHandler none\n</Files>");
    assert_body("GET /a/b/d.html", "0123456789");
    assert_body("GET /a/b/c.txt", "c");
}

static void test_options_merge(void **state)
{
    (void)state;
    site_load("Options Indexes\n<Directory @/htdocs>\nOptions +ExecCGI -Indexes\n</Directory>\n"
              "<Directory @/htdocs/a>\nOptions None\n</Directory>\n"
              "<Directory @/htdocs/a/b>\nOptions +FollowSymLinks\n</Directory>\n");
    ask("GET /a/b/c.txt");
    assert_int_equal(mu_req_options(site->a.r), MU_OPT_SYMLINKS);
    ask("GET /none");
    assert_int_equal(mu_req_options(site->a.r), MU_OPT_EXECCGI);
}

static void test_errors_are_reported(void **state)
{
    (void)state;
    site_load_bad("Options Indexes +FollowSymLinks\n");
    assert_has(site->messages, "either all words start");
    site_load_bad("<Directory /x>\nAllowOverride Sometimes\n</Directory>\n");
    site_load_bad("ErrorDocument 299 x\n");
    site_load_bad("ErrorDocument 999 x\n");
    site_load_bad("ErrorDocument not-found x\n");
    site_load_bad("SetOutputFilter INCLUDES\n");
    site_load_bad("HttpProtocolOptions Sloppy\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, site_teardown)
        T(test_order),
        T(test_location_edges),
        T(test_vhost_sections_come_later),
        T(test_named_groups),
        T(test_access_is_asked),
        T(test_override_guard),
        T(test_unknown_handler_shows_no_source),
        T(test_options_merge),
        T(test_errors_are_reported),
    };

    return cmocka_run_group_tests_name("sections", tests, NULL, NULL);
}
