/* mod_proxy and mod_proxy_fcgi: which requests go to which backend, what the backend is told, what the
 * configuration may say. The conversation is the test's own: it answers with the variables. Expected values
 * are those of Debian's apache2 2.4.71 unless a comment says otherwise. */
#include "vars.h"

#include <muster/fcgi.h>
#include <stdlib.h>

extern struct mu_module mu_module_app, mu_module_alias, mu_module_mime, mu_module_setenvif,
    mu_module_proxy, mu_module_proxy_fcgi, mu_module_authz_core;
static struct mu_module *const modules[] = {
    &mu_module_app,        &mu_module_setenvif, &mu_module_mime,
    &mu_module_alias,      &mu_module_proxy,    &mu_module_proxy_fcgi,
    &mu_module_authz_core, &mu_module_envdump,  NULL
};

static struct mu_fcgi_opts asked; /* with what the last conversation was begun */
static char asked_name[256];

/* In place of src/app/fcgi_run.c. */
enum mu_status mu_fcgi_run(struct mu_req *r, const struct mu_fcgi_opts *o)
{
    struct mu_cgi_env env;

    asked = *o;
    snprintf(asked_name, sizeof(asked_name), "%.*s", MU_FMT(o->name));
    if (mu_cgi_env_make(r, &env) != MU_OK || (o->adjust && o->adjust(r, &env, o->arg) != MU_OK))
        return MU_503_SERVICE_UNAVAILABLE;
    for (size_t i = 0; i < env.n; i++)
        if (mu_resp_printf(r, "%.*s=%.*s\n", MU_FMT(env.v[i].name), MU_FMT(env.v[i].value)) !=
            MU_OK)
            break;
    return MU_200_OK;
}

/* In place of src/pool. */
bool mu_config_has_pool(const struct mu_config *config, struct mu_str name)
{
    (void)config;
    return !mu_str_eq(name, MU_S("none"));
}

static enum mu_status pool(struct mu_req *r, const void *conf)
{
    (void)conf;
    return mu_fcgi_run(r, &(struct mu_fcgi_opts){ .name = r->handler });
}

MU_MODULE(fakepool, .handlers = MU_HANDLERS({ "pool:", pool, MU_ANY_METHOD, false, false }));

static int setup(void **state)
{
    static struct mu_module *all[MU_ARRAY_LEN(modules) + 1];
    int rc = site_setup(state);

    memcpy(all, modules, sizeof(modules));
    all[MU_ARRAY_LEN(modules) - 1] = &mu_module_fakepool;
    site->modules = all;
    setenv("PATH", "/usr/bin:/bin", 1);
    site_file("mime.types", "text/html html\n");
    site_file("htdocs/x.php", "source");
    site_file("htdocs/plain.html", "plain");
    site_file("srv/y.php", "source");
    return rc;
}

#define SITE "TypesConfig @/mime.types\n"

static void test_prefixes(void **state)
{
    static const struct {
        int line;
        const char *pass, *request, *filename; /* NULL: not passed on */
    } rows[] = {
        { __LINE__, "ProxyPass /a fcgi://h:9/b", "GET /a/x", "proxy:fcgi://h:9/b/x" },
        { __LINE__, "ProxyPass /a fcgi://h:9/b", "GET /a", "proxy:fcgi://h:9/b" },
        { __LINE__, "ProxyPass /a fcgi://h:9/b", "GET /ax", NULL },
        { __LINE__, "ProxyPass /a/ fcgi://h:9/", "GET /a/x", "proxy:fcgi://h:9/x" },
        { __LINE__, "ProxyPass /a/ fcgi://h:9/", "GET /a", NULL },
        { __LINE__, "ProxyPass / fcgi://h", "GET /a%20b%3f", "proxy:fcgi://h/a%20b%3f" },
        { __LINE__, "ProxyPass / fcgi://h:8000/", "GET /a", "proxy:fcgi://h/a" },
        { __LINE__, "ProxyPass / fcgi://[::1]:9/", "GET /a", "proxy:fcgi://[::1]:9/a" },
        { __LINE__, "ProxyPass / unix:/s|fcgi://h/", "GET /a", "proxy:fcgi://h/a" },
        { __LINE__, "ProxyPass /a !\nProxyPass / fcgi://h/", "GET /a/plain.html", NULL },
        { __LINE__, "ProxyPass /a fcgi://1\nProxyPass / fcgi://2/", "GET /a/b",
          "proxy:fcgi://1/b" },
        { __LINE__, "ProxyPass / fcgi://1/\n<Location /a>\nProxyPass fcgi://2\n</Location>",
          "GET /a/b", "proxy:fcgi://2/b" },
        { __LINE__, "ProxyPassMatch ^/(.*\\.php)$ fcgi://h/srv/$1", "GET /d/x.php",
          "proxy:fcgi://h/srv/d/x.php" },
        { __LINE__, "ProxyPassMatch ^/(.*\\.php)$ fcgi://h/srv/$1", "GET /d/x.phps", NULL },
        { __LINE__, "ProxyPassMatch \\.php$ fcgi://h/srv", "GET /x.php",
          "proxy:fcgi://h/srv/x.php" },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        char conf[512];
        const char *got;

        snprintf(conf, sizeof(conf), SITE "%s\n", rows[i].pass);
        site_load(conf);
        memset(&asked, 0, sizeof(asked));
        ask(rows[i].request);
        got = asked.open ? var("SCRIPT_FILENAME") : NULL;
        if (!got != !rows[i].filename || (got && strcmp(got, rows[i].filename) != 0))
            fail_msg("line %d: %s", rows[i].line, got ? got : text());
    }
}

static void test_what_it_is_told(void **state)
{
    (void)state;
    site_load(SITE "ProxyPass /a fcgi://h:9/srv\n"
                   "SetEnvIf X-How (.+) proxy-fcgi-pathinfo=$1\n");
    ask("GET /a/x.php/in%20fo?q=1");
    assert_string_equal(asked_name, "fcgi://h:9");
    assert_var("SCRIPT_NAME", "/a/x.php/in fo");
    assert_var("SCRIPT_FILENAME", "proxy:fcgi://h:9/srv/x.php/in%20fo");
    assert_var("QUERY_STRING", "q=1");
    assert_null(var("PATH_INFO"));
    ask("GET /a/x.php/in%20fo\nX-How: first-dot");
    assert_var("SCRIPT_NAME", "/a/x.php");
    assert_var("SCRIPT_FILENAME", "proxy:fcgi://h:9/srv/x.php/in%20fo");
    assert_var("PATH_INFO", "/in fo");
    assert_path_var("PATH_TRANSLATED", "/htdocs/in fo");
    ask("GET /a/d.x/y.php/z\nX-How: last-dot");
    assert_var("PATH_INFO", "/z");
    ask("GET /a/in%20fo\nX-How: unescape");
    assert_var("PATH_INFO", "/srv/in fo");
    ask("GET /a/in%20fo\nX-How: yes");
    assert_var("PATH_INFO", "/srv/in%20fo");
    site_load(SITE "ProxyPass /a fcgi://h:9/srv\nProxyFCGIBackendType GENERIC\n");
    ask("GET /a/x%20y");
    assert_var("SCRIPT_FILENAME", "/srv/x%20y");
}

/* A file's handler: what concerns files counts. (httpd tells php-fpm proxy:fcgi://… here too; it takes both.) */
static void test_handler(void **state)
{
    (void)state;
    site_load(SITE "<FilesMatch \\.php$>\nSetHandler \"proxy:unix:/run/My.sock|fcgi://localhost\"\n"
                   "</FilesMatch>\n<Files z.php>\nRequire all denied\n</Files>\n");
    ask("GET /x.php/info?q");
    assert_string_equal(asked_name, "unix:/run/My.sock");
    assert_path_var("SCRIPT_FILENAME", "/htdocs/x.php");
    assert_var("SCRIPT_NAME", "/x.php");
    assert_var("PATH_INFO", "/info");
    assert_body("GET /plain.html", "plain");
    assert_status("GET /z.php", 403);
}

static void test_pool(void **state)
{
    (void)state;
    site_load(SITE "ProxyPass /app pool:blog\nProxyPass /dir/ pool:Wiki\n");
    ask("GET /app/x/y?q");
    assert_string_equal(asked_name, "pool:blog");
    assert_var("SCRIPT_NAME", "/app");
    assert_var("PATH_INFO", "/x/y");
    assert_path_var("SCRIPT_FILENAME", "/htdocs/app");
    ask("GET /app");
    assert_var("SCRIPT_NAME", "/app");
    assert_null(var("PATH_INFO"));
    ask("GET /dir/x.php");
    assert_string_equal(asked_name, "pool:Wiki");
    assert_var("SCRIPT_NAME", "/dir/x.php");
    assert_path_var("SCRIPT_FILENAME", "/htdocs/dir/x.php");
}

static void test_parameters(void **state)
{
    (void)state;
    site_load(SITE
              "TimeOut 77\nProxyPass /a fcgi://h/ timeout=5 enablereuse=on flushpackets=on\n"
              "ProxyPass /b fcgi://i/\n<Proxy fcgi://i/>\nProxySet flushpackets=auto\n</Proxy>\n"
              "ProxyPass /c fcgi://j/\n<Location /c>\nProxyRequestBuffering Off\n"
              "ProxyFCGIPassClient On\n</Location>\n");
    ask("GET /a/");
    assert_int_equal(asked.io_ms, 5000);
    assert_true(asked.wants_keep && asked.flushes && !asked.flushes_pauses && !asked.streams_body);
    ask("GET /b/");
    assert_int_equal(asked.io_ms, 77000);
    assert_true(!asked.wants_keep && !asked.flushes && asked.flushes_pauses);
    ask("GET /c/");
    assert_true(asked.streams_body && !asked.may_retry);
    assert_false(asked.passes_client); /* no descriptor goes over a network */
    site_load(SITE "ProxyTimeout 9\nProxyFCGIPassClient On\nProxyPass / unix:/s|fcgi://h/\n");
    ask("GET /");
    assert_int_equal(asked.io_ms, 9000);
    assert_true(asked.passes_client);
}

static void test_virtual_hosts(void **state)
{
    (void)state;
    site_load(SITE "ProxyPass /a fcgi://main/\n<VirtualHost *:80>\nServerName one\n"
                   "ProxyPass /a fcgi://one/\nProxyPass /b fcgi://one/\n</VirtualHost>\n"
                   "<VirtualHost *:80>\nServerName two\nProxyPassInherit Off\n"
                   "ProxyPass /a fcgi://two/\n</VirtualHost>\n");
    ask("GET /a\nHost: one");
    assert_string_equal(asked_name, "fcgi://main:8000");
    ask("GET /b\nHost: one");
    assert_string_equal(asked_name, "fcgi://one:8000");
    ask("GET /a\nHost: two");
    assert_string_equal(asked_name, "fcgi://two:8000");
}

static void test_access(void **state)
{
    (void)state;
    site_load(SITE "ProxyPass /a fcgi://h:1/\nProxyPass /b fcgi://i:1/\n"
                   "<Proxy *>\nRequire all denied\n</Proxy>\n"
                   "<ProxyMatch ^fcgi://h>\nRequire all granted\n</ProxyMatch>\n"
                   "<Location /a/private>\nRequire all denied\n</Location>\n");
    assert_status("GET /a/x", 200);
    assert_status("GET /b/x", 403);
    assert_status("GET /a/private/x", 403);
    site_load(SITE "ProxyPass / fcgi://h/\n<Proxy *>\nOrder deny,allow\nDeny from all\n</Proxy>\n");
    assert_status("GET /x", 403);
    site_load(SITE "<Files x.php>\nSetHandler proxy:fcgi://h/\n</Files>\n"
                   "<Proxy *>\nRequire all denied\n</Proxy>\n");
    assert_status("GET /x.php", 200);
    site_load_bad("<Proxy *>\nRequire ip 192.0.2.1\n</Proxy>\n");
    assert_has(site->messages, "Location");
}

static bool overrides(int status)
{
    return asked.replaces_error(site->a.r, (enum mu_status)status, asked.arg);
}

static void test_errors(void **state)
{
    (void)state;
    site_load(SITE "ProxyPass /a fcgi://h/\nProxyPass /b fcgi://h/\nProxyPass /c fcgi://h/\n"
                   "<Location /b>\nProxyErrorOverride On\n</Location>\n"
                   "<Location /c>\nProxyErrorOverride On 404 503\n</Location>\n");
    ask("GET /a");
    assert_false(overrides(404));
    ask("GET /b");
    assert_true(overrides(404) && overrides(500));
    ask("GET /c");
    assert_true(overrides(404) && overrides(503) && !overrides(500));
    site_load_bad("ProxyErrorOverride On 200\n");
}

static void test_last_changes(void **state)
{
    (void)state;
    site_load(SITE "ProxyPass / fcgi://h/\nSetEnvIf Remote_Addr . GIVEN=abc123\n"
                   "ProxyFCGISetEnvIf \"reqenv('GIVEN') =~ m#^([a-z]+)(\\d+)$#\" SPLIT \"$2-$1\"\n"
                   "ProxyFCGISetEnvIf \"%{REQUEST_METHOD} == 'POST'\" METHOD post\n"
                   "ProxyFCGISetEnvIf \"-z %{reqenv:NONE} && -n req('X-There')\" FIELD "
                   "\"<%{req:X-There}>\"\n"
                   "ProxyFCGISetEnvIf true !SERVER_SOFTWARE\nProxyFCGISetEnvIf true EMPTY\n"
                   "ProxyFCGISetEnvIf \"!(false || 10 -lt 9)\" NUMBERS yes\n"
                   "ProxyFCGISetEnvIf \"reqenv('SPLIT') == '123-abc'\" CHAIN \"%{reqenv:SPLIT}!\"\n"
                   "<Location /in>\nProxyFCGISetEnvIf true CHAIN inner\n</Location>\n");
    ask("GET /x\nX-There: yes");
    assert_var("SPLIT", "123-abc");
    assert_var("CHAIN", "123-abc!");
    assert_var("FIELD", "<yes>");
    assert_var("NUMBERS", "yes");
    assert_var("EMPTY", "");
    assert_null(var("METHOD"));
    assert_null(var("SERVER_SOFTWARE"));
    ask("POST /in/x");
    assert_var("METHOD", "post");
    assert_var("CHAIN", "inner");
    assert_null(var("FIELD"));
}

static void test_mistakes(void **state)
{
    static const struct {
        const char *conf, *says;
    } rows[] = {
        { "ProxyPass /a http://h/", "later version" },
        { "ProxyPass /a gopher://h/", "scheme" },
        { "ProxyPass /a nothing", "no address" },
        { "ProxyPass /a fcgi://:1/", "host" },
        { "ProxyPass /a fcgi://h:0/", "port" },
        { "ProxyPass /a fcgi://::1:9/", "brackets" },
        { "ProxyPass /a unix:/s", "'|'" },
        { "ProxyPass /a unix:s|fcgi://h/", "absolute" },
        { "ProxyPass a fcgi://h/", "begin with '/'" },
        { "ProxyPass fcgi://h/", "<Location>" },
        { "ProxyPass /a pool:", "ApplicationPool" },
        { "ProxyPass /a pool:x timeout=3", "ApplicationPool" },
        { "ProxyPass /a pool:none", "no <ApplicationPool none>" },
        { "ProxyPass /a fcgi://h/ timeuot=3", "nearest one is 'timeout'" },
        { "ProxyPass /a fcgi://h/ timeout=x", "seconds" },
        { "ProxyPass /a fcgi://h/ max=0", "number" },
        { "ProxyPass /a fcgi://h/ enablereuse=maybe", "on or off" },
        { "ProxyPassMatch ( fcgi://h/", "does not compile" },
        { "<Directory @/htdocs>\nProxyPass fcgi://h/\n</Directory>", "<Location>" },
        { "ProxyRequests On", "forward proxy" },
        { "ProxyRemote * http://h:1", "forward proxy" },
        { "BalancerMember fcgi://h", "later version" },
        { "<Proxy balancer://x>\n</Proxy>", "later version" },
        { "<Proxy *>\nProxySet max=3\n</Proxy>", "one backend" },
        { "ProxyFCGIBackendType OTHER", "FPM" },
        { "ProxyFCGISetEnvIf \"1 -eq\" A b", "expected" },
        { "ProxyFCGISetEnvIf \"%{NONSENSE} == 'a'\" A b", "NONSENSE" },
        { "ProxyFCGISetEnvIf \"file('/etc/passwd') == 'a'\" A b", "no function" },
        { "ProxyFCGISetEnvIf \"(true\" A b", "')'" },
        { "ProxyFCGISetEnvIf \"true true\" A b", "nothing more" },
        { "ProxyFCGISetEnvIf true A=b c", "name of a variable" },
        { "ProxyFCGISetEnvIf true !A c", "no value" },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        char conf[256];

        snprintf(conf, sizeof(conf), "%s\n", rows[i].conf);
        site_load_bad(conf);
        if (!strstr(site->messages, rows[i].says))
            fail_msg("%s: %s", rows[i].conf, site->messages);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_prefixes, setup, site_teardown),
        cmocka_unit_test_setup_teardown(test_what_it_is_told, setup, site_teardown),
        cmocka_unit_test_setup_teardown(test_handler, setup, site_teardown),
        cmocka_unit_test_setup_teardown(test_pool, setup, site_teardown),
        cmocka_unit_test_setup_teardown(test_parameters, setup, site_teardown),
        cmocka_unit_test_setup_teardown(test_virtual_hosts, setup, site_teardown),
        cmocka_unit_test_setup_teardown(test_access, setup, site_teardown),
        cmocka_unit_test_setup_teardown(test_errors, setup, site_teardown),
        cmocka_unit_test_setup_teardown(test_last_changes, setup, site_teardown),
        cmocka_unit_test_setup_teardown(test_mistakes, setup, site_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
