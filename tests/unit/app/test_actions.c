/* Action, Script, ScriptAlias: which program is asked, and what it is told. The expected values are
 * those of Debian's apache2 2.4.71. */
#include "vars.h"

#include <stdlib.h>

extern struct mu_module mu_module_app, mu_module_alias, mu_module_actions, mu_module_mime,
    mu_module_dir;
static struct mu_module *const modules[] = { &mu_module_app,
                                             &mu_module_mime,
                                             &mu_module_alias,
                                             &mu_module_actions,
                                             &mu_module_dir,
                                             &mu_module_envdump,
                                             NULL };

#define SITE "TypesConfig @/mime.types\nScriptAlias /cgi-bin/ @/cgi/\nAcceptPathInfo On\n"

static int setup(void **state)
{
    int rc = site_setup(state);

    site->modules = modules;
    setenv("PATH", "/usr/bin:/bin", 1);
    site_file("mime.types", "text/plain txt\nimage/gif gif\ntext/html html\n");
    site_file("cgi/env", "source");
    site_file("cgi/page.html", "source");
    site_file("cgi/x.foo", "source");
    site_file("htdocs/f.act", "act");
    site_file("htdocs/a.gif", "gif");
    site_file("htdocs/plain.txt", "plain");
    site_file("htdocs/dir/index.act", "act");
    return rc;
}

static void test_action(void **state)
{
    (void)state;
    site_load(SITE "AddHandler act .act\nAction act /cgi-bin/env\nAction image/gif /cgi-bin/env\n"
                   "DirectoryIndex index.act\n");
    ask("GET /f.act/p%20i?q=1\nHost: h");
    assert_var("PATH_INFO", "/f.act/p i");
    assert_path_var("PATH_TRANSLATED", "/htdocs/f.act/p i");
    assert_var("QUERY_STRING", "q=1");
    assert_var("REDIRECT_HANDLER", "act");
    assert_var("REDIRECT_QUERY_STRING", "q=1");
    assert_var("REDIRECT_STATUS", "200");
    assert_var("REDIRECT_URL", "/f.act/p i");
    assert_var("REQUEST_URI", "/f.act/p%20i?q=1");
    assert_var("SCRIPT_NAME", "/cgi-bin/env");
    assert_path_var("SCRIPT_FILENAME", "/cgi/env");
    assert_null(var("HANDLER"));
    ask("POST /a.gif");
    assert_var("REQUEST_METHOD", "POST");
    assert_var("REDIRECT_HANDLER", "image/gif");
    assert_status("GET /none.act", 404);
    ask("GET /dir/?x");
    assert_var("PATH_INFO", "/dir/index.act");
    assert_body("GET /plain.txt", "plain");
}

static void test_virtual(void **state)
{
    (void)state;
    site_load(SITE "Action v /cgi-bin/env virtual\n<Location /virt>\nSetHandler v\n</Location>\n");
    ask("GET /virt/a/b?z");
    assert_var("PATH_INFO", "/virt/a/b");
    assert_var("REDIRECT_HANDLER", "v");
    site_load_bad("Action v /x other");
}

/* A handler that a module provides is not taken away from it; one of nobody is a 500. */
static void test_existing(void **state)
{
    (void)state;
    site_load(SITE "Action envdump /cgi-bin/env\nAction other /cgi-bin/env\n"
                   "<Location /plain.txt>\nSetHandler envdump\n</Location>\n"
                   "<Location /f.act>\nSetHandler nobody\n</Location>\n"
                   "Script POST /cgi-bin/env\n");
    ask("POST /plain.txt");
    assert_var("SCRIPT_NAME", "/plain.txt");
    assert_null(var("REDIRECT_STATUS"));
    assert_status("GET /f.act", 500);
}

static void test_inherited(void **state)
{
    (void)state;
    site_load(SITE
              "AddHandler act .act\nAction act /cgi-bin/page.html\nAction image/gif /cgi-bin/env\n"
              "<Directory @/htdocs>\nAction ACT /cgi-bin/env\n</Directory>\n");
    ask("GET /f.act");
    assert_var("SCRIPT_NAME", "/cgi-bin/env");
    ask("GET /a.gif");
    assert_var("SCRIPT_NAME", "/cgi-bin/env");
}

static void test_script(void **state)
{
    (void)state;
    site_load(SITE "Script PUT /cgi-bin/env\nScript GET /cgi-bin/page.html\n");
    ask("PUT /plain.txt");
    assert_var("SCRIPT_NAME", "/cgi-bin/env");
    assert_var("PATH_INFO", "/plain.txt");
    assert_var("REQUEST_METHOD", "PUT");
    assert_null(var("REDIRECT_HANDLER"));
    ask("PUT /new/file.txt"); /* it need not be there */
    assert_var("PATH_INFO", "/new/file.txt");
    assert_body("GET /plain.txt", "plain");
    ask("GET /plain.txt?find=x");
    assert_var("SCRIPT_NAME", "/cgi-bin/page.html");
    assert_status("DELETE /plain.txt", 405);
    site_load_bad("Script TRACE /x");
    site_load_bad("Script FOO /x");
}

static void test_script_alias(void **state)
{
    (void)state;
    site_load(SITE "ScriptAliasMatch ^/sam/([a-z]+)$ @/cgi/$1\n"
                   "<Location /sal>\nScriptAlias @/cgi/env\n</Location>\n"
                   "Alias /plain/ @/cgi/\nScriptAlias /one @/cgi/env\n");
    ask("GET /cgi-bin/env/x");
    assert_var("SCRIPT_NAME", "/cgi-bin/env");
    assert_var("CONTEXT_PREFIX", "/cgi-bin/");
    assert_path_var("CONTEXT_DOCUMENT_ROOT", "/cgi/");
    assert_string_equal(mu_req_note(site->a.r, MU_S("alias-forced-type")).p, "cgi-script");
    ask("GET /cgi-bin/page.html"); /* whatever it is called */
    assert_var("SCRIPT_NAME", "/cgi-bin/page.html");
    ask("GET /sam/env");
    assert_path_var("SCRIPT_FILENAME", "/cgi/env");
    assert_var("CONTEXT_PREFIX", "");
    assert_path_var("CONTEXT_DOCUMENT_ROOT", "/htdocs");
    ask("GET /sal/p");
    assert_path_var("SCRIPT_FILENAME", "/cgi/env");
    assert_var("CONTEXT_PREFIX", "");
    ask("GET /one/p");
    assert_var("PATH_INFO", "/p");
    assert_var("CONTEXT_PREFIX", "/one");
    assert_body("GET /plain/env", "source"); /* an Alias is none, even to the same folder */
    site_load_bad("ScriptAlias /x");
    assert_has(site->messages, "ScriptAlias takes a URL path and a file path");
    site_load_bad("<Directory />\nScriptAlias /x /y\n</Directory>");
}

/* What sections say of the file comes later and wins; None says nothing. */
static void test_script_alias_overridden(void **state)
{
    (void)state;
    site_load(SITE "<Directory @/cgi>\nAddHandler foo .foo\n</Directory>\n"
                   "<Location /cgi-bin/page.html>\nSetHandler none\n</Location>\n");
    assert_status("GET /cgi-bin/x.foo", 500); /* nobody's handler: its source is not shown */
    assert_null(strstr(text(), "source"));
    ask("GET /cgi-bin/page.html");
    assert_var("SCRIPT_NAME", "/cgi-bin/page.html");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, site_teardown)
        T(test_action),
        T(test_virtual),
        T(test_existing),
        T(test_inherited),
        T(test_script),
        T(test_script_alias),
        T(test_script_alias_overridden),
    };

    return cmocka_run_group_tests_name("actions", tests, NULL, NULL);
}
