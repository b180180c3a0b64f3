/* SetEnv, PassEnv, UnsetEnv, SetEnvIf, BrowserMatch. What is expected is what Debian's apache2
 * 2.4.71 made of the same lines. */
#include "vars.h"

#include <stdlib.h>

extern struct mu_module mu_module_app, mu_module_env, mu_module_setenvif, mu_module_dir;
static struct mu_module *const modules[] = { &mu_module_app,      &mu_module_env,
                                             &mu_module_setenvif, &mu_module_dir,
                                             &mu_module_envdump,  NULL };

#define SITE                                                                                       \
    "AcceptPathInfo On\nDirectoryIndex e.cgi\n"                                                    \
    "<FilesMatch \"\\.cgi$\">\nSetHandler envdump\n</FilesMatch>\n"

static int setup(void **state)
{
    int rc = site_setup(state);

    site->modules = modules;
    site_file("htdocs/e.cgi", "");
    site_file("htdocs/sub/e.cgi", "");
    setenv("PATH", "/usr/bin:/bin", 1);
    setenv("PASSED", "from outside", 1);
    return rc;
}

static void test_set(void **state)
{
    (void)state;
    site_load(SITE "SetEnv P1 a\nSetEnv P2 a\nSetEnv EMPTY\nSetEnv QUOTED \"v w\"\n"
                   "<Location /e.cgi/in>\nUnsetEnv P1\nSetEnv P2 b\nSetEnv P3 c\nSetEnv P4 d\n"
                   "UnsetEnv P4\n</Location>\n");
    ask("GET /e.cgi");
    assert_var("P1", "a");
    assert_var("P2", "a");
    assert_var("EMPTY", "");
    assert_var("QUOTED", "v w");
    ask("GET /e.cgi/in");
    assert_null(var("P1"));
    assert_var("P2", "b");
    assert_var("P3", "c");
    assert_null(var("P4"));
    ask("GET /"); /* an index has them too */
    assert_var("P1", "a");
    site_load_bad("SetEnv a=b c");
    assert_has(site->messages, "with a space");
}

static void test_pass(void **state)
{
    (void)state;
    site_load(SITE "PassEnv PASSED NOT_THERE\nSetEnv GATEWAY_INTERFACE fake\n");
    assert_has(site->messages, "no variable 'NOT_THERE'");
    ask("GET /e.cgi");
    assert_var("PASSED", "from outside");
    assert_var("GATEWAY_INTERFACE", "CGI/1.1");
    assert_null(var("NOT_THERE"));
}

static void test_hosts(void **state)
{
    (void)state;
    site_load(SITE "SetEnv WHO main\nSetEnv ALL x\n<VirtualHost *:80>\nServerName one.test\n"
                   "SetEnv WHO one\nUnsetEnv NOTHING\n</VirtualHost>\n");
    ask("GET /e.cgi\nHost: one.test");
    assert_var("WHO", "one");
    assert_var("ALL", "x");
}

static void test_if(void **state)
{
    (void)state;
    site_load(SITE "SetEnvIf X-T \"(.*)\" SEIV=seif-$1 A1=x\nSetEnvIf X-T b A1=y\n"
                   "SetEnvIf X-T a !A1 A2\nSetEnvIf X-T z A3=! A3=\n");
    ask("GET /e.cgi");
    assert_var("SEIV", "seif-"); /* what is missing is empty */
    assert_var("A1", "x");
    assert_null(var("A2"));
    ask("GET /e.cgi\nX-T: b");
    assert_var("SEIV", "seif-b");
    assert_var("A1", "y");
    ask("GET /e.cgi\nX-T: a\nX-T: c");
    assert_var("SEIV", "seif-a, c");
    assert_null(var("A1"));
    assert_var("A2", "1");
    ask("GET /e.cgi\nX-T: z");
    assert_var("A3", "1");
}

static void test_if_sections(void **state)
{
    (void)state;
    site_load(SITE "SetEnvIf X-T \"(.*)\" SEIV=seif-$1 A1=x\n"
                   "<Location /e.cgi>\nSetEnvIf X-T . LOC=outer OUT=1\n</Location>\n"
                   "<Location /e.cgi/both>\nSetEnv SEIV setenv\nSetEnvIf X-T . LOC=1 A1=loc\n"
                   "SetEnvIf A1 loc CHAIN=1\n</Location>\n");
    ask("GET /e.cgi/both\nX-T: b");
    assert_var("SEIV", "setenv");
    assert_var("A1", "loc");
    assert_var("CHAIN", "1");
    assert_var("LOC", "1"); /* inner lines act last */
    assert_var("OUT", "1");
    ask("GET /e.cgi/other\nX-T: b");
    assert_var("A1", "x");
    assert_null(var("CHAIN"));
}

static void test_if_sources(void **state)
{
    (void)state;
    site_load(SITE
              "SetEnvIf Remote_Addr ^192\\.0\\.2\\. A=1\nSetEnvIf Server_Addr ^127 B=1\n"
              "SetEnvIf Request_Method ^POST$ C=1\nSetEnvIf Request_Protocol ^HTTP/1\\.1$ D=1\n"
              "SetEnvIf Request_URI \"\\.cgi(/.*)?$\" E=$1\nSetEnvIf Remote_Host 9$ F=1\n"
              "SetEnvIf ^X-.*-Id$ (.+) G=$1\nSetEnvIfNoCase Host MAIN H=1\n"
              "SetEnvIf Host MAIN I=1\nBrowserMatch ^Mozilla/[2-4] J=$0 K\n"
              "BrowserMatchNoCase robot L\n");
    ask("POST /e.cgi/p?q\nHost: main.test\nX-One-Id: 1\nX-Two-Id: 2\nUser-Agent: Mozilla/4 ROBOT");
    assert_var("A", "1");
    assert_var("B", "1");
    assert_var("C", "1");
    assert_var("D", "1");
    assert_var("E", "/p");
    assert_var("F", "1");
    assert_var("G", "2");
    assert_var("H", "1");
    assert_null(var("I"));
    assert_var("J", "Mozilla/4");
    assert_var("K", "1");
    assert_var("L", "1");
    site_load_bad("SetEnvIf Host (");
    site_load_bad("SetEnvIf Host a =x");
    site_load_bad("SetEnvIfExpr \"true\" x");
}

/* A request that is led elsewhere has its own variables again, and the old ones under new names. */
static void test_if_redirected(void **state)
{
    (void)state;
    site_load(SITE "SetEnvIf X-T (.*) V=$1\n"
                   "<Location /go>\nSetHandler envgo\nDumpGoTo /e.cgi\nSetEnv G 1\n</Location>\n");
    ask("GET /go\nX-T: b");
    assert_var("V", "b");
    assert_var("REDIRECT_V", "b");
    assert_var("REDIRECT_G", "1");
    assert_null(var("G"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, site_teardown)
        T(test_set),         T(test_pass),       T(test_hosts),         T(test_if),
        T(test_if_sections), T(test_if_sources), T(test_if_redirected),
    };

    return cmocka_run_group_tests_name("vars", tests, NULL, NULL);
}
