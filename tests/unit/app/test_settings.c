/* What the configuration says for all applications: php_value and its kin, limits, suexec,
 * AcceptPathInfo. */
#include "../server/req_fixture.h"

#include <muster/cgi.h>
#include <muster/str.h>

extern struct mu_module mu_module_app;
static struct mu_module *const modules[] = { &mu_module_app, NULL };

static int setup(void **state)
{
    int rc = site_setup(state);

    site->modules = modules;
    site_file("htdocs/a.txt", "a");
    site_file("htdocs/sub/b.txt", "b");
    return rc;
}

/* "name=value" of each, in order; '!' behind those that scripts may not change. */
static const char *php(const char *request)
{
    static char text[512];
    const struct mu_php_value *v;
    size_t n, at = 0;

    ask(request);
    v = mu_req_php_values(site->a.r, &n);
    text[0] = '\0';
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%.*s=%.*s%s", i ? "," : "",
                               MU_FMT(v[i].name), MU_FMT(v[i].value), v[i].is_admin ? "!" : "");
    return text;
}

static void test_php(void **state)
{
    (void)state;
    site_load(
        "php_value memory_limit 64M\nphp_flag display_errors On\nphp_admin_value open_basedir /srv\n"
        "php_admin_flag engine Off\nphp_value auto_prepend_file none\n"
        "<Directory @/htdocs/sub>\nphp_value memory_limit 128M\nphp_value open_basedir /\n"
        "php_admin_value display_errors 0\nphp_flag extra 1\nphp_flag extra yes\n"
        "php_value memory_limit 256M\n</Directory>\n");
    assert_string_equal(php("GET /a.txt"), "memory_limit=64M,display_errors=1,open_basedir=/srv!,"
                                           "engine=0!,auto_prepend_file=");
    assert_string_equal(php("GET /sub/b.txt"),
                        "memory_limit=256M,display_errors=0!,open_basedir=/srv!,engine=0!,"
                        "auto_prepend_file=,extra=0");
    site_load("");
    assert_string_equal(php("GET /a.txt"), "");
    site_load_bad("php_value \"a b\" c");
    site_load_bad("php_value a=b c");
    site_load_bad("php_value a");
}

static void test_limits(void **state)
{
    struct mu_app_limits l;

    (void)state;
    site_load("RLimitCPU 10 20\nRLimitMEM max\n<Location /sub>\nRLimitCPU 5\nRLimitNPROC 3 max\n"
              "</Location>\n");
    ask("GET /a.txt");
    l = mu_req_app_limits(site->a.r);
    assert_true(l.cpu_s.is_set && l.cpu_s.soft == 10 && l.cpu_s.hard == 20);
    assert_true(l.mem_bytes.is_set && l.mem_bytes.soft == UINT64_MAX);
    assert_false(l.nproc.is_set);
    ask("GET /sub/b.txt");
    l = mu_req_app_limits(site->a.r);
    assert_true(l.cpu_s.is_set && l.cpu_s.soft == 5 && l.cpu_s.hard == UINT64_MAX);
    assert_true(l.nproc.is_set && l.nproc.soft == 3 && l.nproc.hard == UINT64_MAX);
    site_load_bad("RLimitCPU ten");
    assert_has(site->messages, "found 'ten'");
    site_load_bad("RLimitCPU 10 x");
    assert_has(site->messages, "found 'x'");
    site_load_bad("RLimitCPU 10 5");
}

static void test_suexec(void **state)
{
    (void)state;
    site_load(
        "<VirtualHost *:80>\nServerName one.test\nSuexecUserGroup #1001 #1002\n</VirtualHost>\n"
        "<VirtualHost *:80>\nServerName two.test\n</VirtualHost>\n"
        "<VirtualHost *:80>\nServerName three.test\nSuexecUserGroup nobody nogroup\n"
        "</VirtualHost>\n");
    ask("GET /a.txt\nHost: one.test");
    assert_int_equal(mu_req_suexec(site->a.r), 0);
    ask("GET /a.txt\nHost: two.test");
    assert_int_equal(mu_req_suexec(site->a.r), -1);
    ask("GET /a.txt\nHost: three.test");
    assert_int_equal(mu_req_suexec(site->a.r), 1);
    assert_int_equal(mu_config_suexec(site->config, 0)->uid, 1001);
    assert_int_equal(mu_config_suexec(site->config, 0)->gid, 1002);
    assert_string_equal(mu_config_suexec(site->config, 1)->user, "nobody");
    assert_null(mu_config_suexec(site->config, 2));
    assert_null(mu_config_suexec(site->config, -1));
    site_load("SuexecUserGroup nobody nogroup\n<VirtualHost *:80>\nServerName one.test\n"
              "</VirtualHost>\n");
    ask("GET /a.txt\nHost: one.test");
    assert_int_equal(mu_req_suexec(site->a.r), 0); /* as the main server says */
    assert_null(mu_config_suexec(site->config, 1));
    site_load("Suexec Off\nSuexecUserGroup nobody nogroup\n");
    assert_has(site->messages, "Suexec is Off");
    ask("GET /a.txt");
    assert_int_equal(mu_req_suexec(site->a.r), -1);
    site_load_bad("SuexecUserGroup no-such-user nogroup");
    assert_has(site->messages, "bad user name 'no-such-user'");
    site_load_bad("SuexecUserGroup nobody no-such-group");
    site_load_bad("SuexecUserGroup root nogroup");
    site_load_bad("SuexecUserGroup nobody #0");
    site_load_bad("<Location />\nSuexecUserGroup nobody nogroup\n</Location>");
}

static void test_path_info(void **state)
{
    (void)state;
    site_load("<Location /a.txt>\nAcceptPathInfo Off\n</Location>\n<Location /sub>\n"
              "AcceptPathInfo On\n</Location>\n");
    ask("GET /a.txt");
    assert_false(mu_req_accepts_path_info(site->a.r, true));
    ask("GET /sub/b.txt");
    assert_true(mu_req_accepts_path_info(site->a.r, false));
    ask("GET /");
    assert_true(mu_req_accepts_path_info(site->a.r, true));
    assert_false(mu_req_accepts_path_info(site->a.r, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, site_teardown)
        T(test_php),
        T(test_limits),
        T(test_suexec),
        T(test_path_info),
    };

    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
