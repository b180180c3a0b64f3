/* Which server answers: by address, port and name. */
#include "req_fixture.h"

#include <muster/str.h>

static const char hosts[] =
    "<VirtualHost *:80>\nServerName first.test\nServerAlias *.wild.test www.first.test\n</VirtualHost>\n"
    "<VirtualHost *:80>\nServerName second.test:8080\nServerAlias a.wild.test\n</VirtualHost>\n"
    "<VirtualHost 127.0.0.1:80 [::1]:80>\nServerName local.test\n</VirtualHost>\n"
    "<VirtualHost _default_>\nServerName any.test\n</VirtualHost>\n";

static void assert_server(const char *ip, uint16_t port, const char *host, const char *expected)
{
    struct mu_peer peer = { .local_ip = mu_str_c(ip), .local_port = port };
    const struct mu_vhost *v;
    bool is_named;

    v = mu_vhost_for_host(site->config, &peer, site->config->main, mu_str_c(host), &is_named);
    if (!mu_str_eq(mu_vhost_server_name(v), mu_str_c(expected)))
        fail_msg("%s:%u %s: %.*s, not %s", ip, port, host, MU_FMT(mu_vhost_server_name(v)),
                 expected);
}

static void test_names(void **state)
{
    (void)state;
    site_load(hosts);
    assert_server("192.0.2.1", 80, "second.test", "second.test");
    assert_server("192.0.2.1", 80, "SECOND.test", "second.test");
    assert_server("192.0.2.1", 80, "www.first.test", "first.test");
    assert_server("192.0.2.1", 80, "x.wild.test", "first.test");
    assert_server("192.0.2.1", 80, "a.wild.test", "first.test"); /* the first host that matches */
    assert_server("192.0.2.1", 80, "unknown", "first.test");
    assert_server("192.0.2.1", 80, "", "first.test");
    assert_server("192.0.2.1", 81, "second.test", "any.test");
    assert_server("127.0.0.1", 80, "second.test", "local.test");
    assert_server("::1", 80, "whatever", "local.test");
    assert_server("127.0.0.1", 81, "local.test", "any.test");
}

static void test_no_hosts(void **state)
{
    (void)state;
    site_load("");
    assert_server("192.0.2.1", 80, "unknown", "main.test");
    site_load("<VirtualHost *:81>\nServerName other.test\n</VirtualHost>");
    assert_server("192.0.2.1", 80, "other.test", "main.test");
    assert_server("192.0.2.1", 81, "main.test", "other.test");
}

static void test_by_address(void **state)
{
    struct mu_addr addr;

    (void)state;
    site_load(hosts);
    assert_true(mu_addr_parse(MU_S("127.0.0.1:80"), &addr));
    assert_true(mu_str_eq(mu_vhost_server_name(mu_vhost_for_addr(site->config, &addr)),
                          MU_S("local.test")));
    assert_true(mu_addr_parse(MU_S("192.0.2.7:80"), &addr));
    assert_true(mu_str_eq(mu_vhost_server_name(mu_vhost_for_addr(site->config, &addr)),
                          MU_S("first.test")));
    assert_true(mu_addr_parse(MU_S("[2001:db8::1]:9"), &addr));
    assert_true(
        mu_str_eq(mu_vhost_server_name(mu_vhost_for_addr(site->config, &addr)), MU_S("any.test")));
}

static void test_requests(void **state)
{
    (void)state;
    site_file("one/x", "one");
    site_file("two/x", "two");
    site_load("<VirtualHost *>\nServerName one.test\nDocumentRoot @/one\n</VirtualHost>\n"
              "<VirtualHost *>\nServerName two.test\nDocumentRoot @/two\nServerAdmin two@two.test\n"
              "</VirtualHost>");
    assert_body("GET /x\nHost: one.test", "one");
    assert_body("GET /x\nHost: two.test", "two");
    assert_body("GET /x\nHost: TWO.test.", "two");
    assert_body("GET /x\nHost: two.test:99", "two");
    assert_body("GET /x\nHost: else", "one");
}

static void test_strict(void **state)
{
    (void)state;
    site_file("htdocs/x", "x");
    site_load("StrictHostCheck On");
    assert_status("GET /x\nHost: main.test", 200);
    assert_status("GET /x\nHost: else", 400);
}

static void test_server_name_forms(void **state)
{
    (void)state;
    site_load("ServerName https://name.test:8443\nUseCanonicalName On\n");
    ask("GET /none");
    assert_true(mu_str_eq(mu_req_url(site->a.r, MU_S("/p")), MU_S("https://name.test:8443/p")));
    site_load("UseCanonicalName Off");
    ask("GET /none\nHost: shown.test:81");
    assert_true(mu_str_eq(mu_req_url(site->a.r, MU_S("/p")), MU_S("http://shown.test:81/p")));
    site_load_bad("ServerName name:0\n");
    site_load_bad("<VirtualHost *:99999>\n</VirtualHost>\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, site_setup, site_teardown)
        T(test_names),    T(test_no_hosts), T(test_by_address),
        T(test_requests), T(test_strict),   T(test_server_name_forms),
    };

    return cmocka_run_group_tests_name("vhost", tests, NULL, NULL);
}
