/*
 * test_read: what is left of files when they are read. Each row is a file and the tree it becomes:
 * "Name args;" for a directive, "<Name args{…}" for a section.
 */
#include "conf_test.h"

#include <stdlib.h>

struct row {
    int row;
    const char *text, *want;
};

static void run_rows(const struct row *rows, size_t n, const struct memfile *more)
{
    for (size_t i = 0; i < n; i++) {
        struct loaded_conf l = conf_load(rows[i].text, more);
        struct mu_buf out = { 0 };

        conf_show(conf_ok(rows[i].row, &l), &out, false);
        check_str(rows[i].row, mu_buf_str(&out), mu_str_c(rows[i].want));
        mu_buf_fini(&out);
        conf_free(&l);
    }
}
#define RUN(rows, more) run_rows(rows, MU_ARRAY_LEN(rows), more)

static void test_nesting(void **state)
{
    static const struct row rows[] = {
        { __LINE__, "", "" },
        { __LINE__, "List a b\n", "List a b;" },
        { __LINE__, "list  'a b'   c  \n", "list 'a b'   c;" },
        { __LINE__, "\"List\" a\n", "List a;" },
        { __LINE__, "<Directory /x>\nList a\n</Directory>\n", "<Directory /x{List a;}" },
        { __LINE__, "<directory \"/x y\">\nList a\n</DIRECTORY>", "<directory \"/x y\"{List a;}" },
        { __LINE__, "<Directory /x>y> rest is cut\n</Directory> so is this\n",
          "<Directory /x>y{}" },
        { __LINE__,
          "<VirtualHost *:80 [::1]:80>\n<Directory />\n<Files \"*.h\">\nList a\n</Files>\n</Directory>\n"
          "List b\n</VirtualHost>\nList c",
          "<VirtualHost *:80 [::1]:80{<Directory /{<Files \"*.h\"{List a;}}List b;}List c;" },
    };

    (void)state;
    RUN(rows, NULL);
}

static void test_conditions(void **state)
{
    static const struct row rows[] = {
        { __LINE__, "<IfModule mod_dir.c>\nList a\n</IfModule>\nList b", "List a;List b;" },
        { __LINE__, "<IfModule dir_module>\nList a\n</IfModule>\n", "List a;" },
        { __LINE__, "<IfModule !dir_module>\nList a\n</IfModule>\n", "" },
        { __LINE__, "<IfModule ! dir_module>\nList a\n</IfModule>\n", "" },
        { __LINE__, "<IfModule \"!dir_module\">\nList a\n</IfModule>\n", "" },
        { __LINE__, "<IfModule dir>\nList a\n</IfModule>\n", "" },
        { __LINE__, "<IfModule core.c>\n<IfModule http_core.c>\nList a\n</IfModule>\n</IfModule>\n",
          "List a;" },
        { __LINE__,
          "<IfModule mod_so.c>\nList a\n</IfModule>\n<IfModule version_module>\nList b\n</IfModule>",
          "List a;List b;" },
        { __LINE__,
          "<IfModule mod_nope.c>\nAnything goes here ${UNDEFINED}\n<Foo\n<Bar x>\n</Bar>\n</Foo>\n"
          "<Directory>\n</Directory>\n</IfModule>\nList a",
          "List a;" },
        { __LINE__,
          "<IfModule mod_nope.c>\n<IfModule core.c>\nList a\n</IfModule>\nList b\n</IfModule>\nList c",
          "List c;" },
        { __LINE__, "<Directory /x>\n<IfModule core.c>\nList a\n</IfModule>\nList b\n</Directory>",
          "<Directory /x{List a;List b;}" },
        { __LINE__,
          "<IfDefine X>\nList a\n</IfDefine>\nDefine X\n<IfDefine X>\nList b\n</IfDefine>\nUnDefine X\n"
          "<IfDefine X>\nList c\n</IfDefine>\n<IfDefine !X>\nList d\n</IfDefine>",
          "List b;List d;" },
        { __LINE__,
          "<IfFile conf/httpd.conf>\nList a\n</IfFile>\n<IfFile /s/conf>\nList b\n</IfFile>\n"
          "<IfFile nope>\nList c\n</IfFile>\n<IfFile !nope>\nList d\n</IfFile>",
          "List a;List b;List d;" },
        { __LINE__,
          "<IfDirective list>\nList a\n</IfDirective>\n<IfDirective Nope>\nList b\n</IfDirective>\n"
          "<IfDirective Include>\nList c\n</IfDirective>\n<IfDirective Refused>\nList d\n</IfDirective>",
          "List a;List c;" },
        { __LINE__,
          "<IfSection directory>\nList a\n</IfSection>\n<IfSection Macro>\nList b\n</IfSection>\n"
          "<IfSection Group>\nList c\n</IfSection>",
          "List a;List c;" },
    };

    (void)state;
    RUN(rows, NULL);
}

static void test_versions(void **state)
{
    static const struct {
        int row;
        const char *arg;
        bool want;
    } rows[] = {
        { __LINE__, "2.4.71", true },     { __LINE__, "2.4", false },
        { __LINE__, "= 2.4.71", true },   { __LINE__, "== 2.4.71", true },
        { __LINE__, ">= 2.4", true },     { __LINE__, ">= 2.4.72", false },
        { __LINE__, "> 2.4.70", true },   { __LINE__, "> 2.4.71", false },
        { __LINE__, "< 2.5", true },      { __LINE__, "<= 2.4.71", true },
        { __LINE__, "< 2.4.71", false },  { __LINE__, "!< 2.4", true },
        { __LINE__, "!= 2.4.71", false }, { __LINE__, "!2.4.71", false },
        { __LINE__, "~ 2\\.4", true },    { __LINE__, "~ ^2\\.2", false },
        { __LINE__, "!~ ^2\\.2", true },  { __LINE__, "/^2\\.4\\./", true },
        { __LINE__, "= /^2.2/", false },  { __LINE__, "> 2", true },
        { __LINE__, "< 3", true },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        char text[128];
        struct loaded_conf l;

        snprintf(text, sizeof(text), "<IfVersion %s>\nList a\n</IfVersion>\n", rows[i].arg);
        l = conf_load(text, NULL);
        check_int(rows[i].row, conf_ok(rows[i].row, &l)->tree->first != NULL, rows[i].want);
        conf_free(&l);
    }
}

static void test_variables(void **state)
{
    static const struct row rows[] = {
        { __LINE__, "Define A x\nList ${A} a${A}b\n", "List x axb;" },
        { __LINE__, "Define A \"x y\"\nList ${A}\n", "List x y;" },
        { __LINE__, "Define A List\n${A} a\n", "List a;" },
        { __LINE__, "Define A x\n<Directory /${A}/>\n</Directory>\n", "<Directory /x/{}" },
        { __LINE__, "Define A x\nDefine A y\nList ${A}\n", "List y;" },
        { __LINE__, "Define A '${MU_TEST_ENV}'\nDefine B \"$${A}\"\nList ${B}\n",
          "List $from outside;" },
        { __LINE__, "List ${MU_TEST_ENV}\n", "List from outside;" },
        { __LINE__, "Define MU_TEST_ENV inside\nList ${MU_TEST_ENV}\n", "List inside;" },
        { __LINE__, "Define A x\nUnDefine A\nDefine A y\nList ${A}\n", "List y;" },
        { __LINE__, "List ${map:x} $A ${ a$\n", "List ${map:x} $A ${ a$;" },
        { __LINE__, "Define A ${B:x}\nList ${A}\n", "List ${B:x};" },
        { __LINE__, "Define A /s/conf\nInclude ${A}/x/a.conf\nList ${HERE}\n",
          "List a;List ${HERE;" },
    };
    static const struct memfile more[] = {
        { "/s/conf/x/a.conf", MU_S("List a\nDefine HERE ${HERE\n") }, { NULL, MU_STR_NULL }
    };

    (void)state;
    setenv("MU_TEST_ENV", "from outside", 1);
    RUN(rows, more);
}

static const struct memfile tree[] = {
    { "/s/conf.d/b.conf", MU_S("List b") },
    { "/s/conf.d/a.conf", MU_S("List a\n") },
    { "/s/conf.d/.hidden.conf", MU_S("List hidden\n") },
    { "/s/conf.d/sub/c.conf", MU_S("List c\r\n") },
    { "/s/sites/two/site.conf", MU_S("List two\n") },
    { "/s/sites/one/site.conf", MU_S("List one\n") },
    { "/s/sites/one/other.txt", MU_S("List other\n") },
    { "/s/inner.conf", MU_S("<Files x>\nInclude conf.d/a.conf\n</Files>\n") },
    { NULL, MU_STR_NULL },
};

static void test_includes(void **state)
{
    static const struct row rows[] = {
        { __LINE__, "Include conf.d/a.conf\n", "List a;" },
        { __LINE__, "Include \"/s/conf.d/a.conf\"\nList z", "List a;List z;" },
        { __LINE__, "Include conf.d/*.conf\n", "List a;List b;" },
        { __LINE__, "Include conf.d/[ab].conf\n", "List a;List b;" },
        { __LINE__, "Include conf.d/?.conf\n", "List a;List b;" },
        { __LINE__, "Include conf.d/.h*\n", "List hidden;" },
        { __LINE__, "Include conf.d\n", "List hidden;List a;List b;List c;" },
        { __LINE__, "Include conf.d/\n", "List hidden;List a;List b;List c;" },
        { __LINE__, "Include conf.d/*\n", "List a;List b;List c;" },
        { __LINE__, "Include sites/*/site.conf\n", "List one;List two;" },
        { __LINE__, "Include sites/*/\n", "List other;List one;List two;" },
        { __LINE__, "Include s*/o*/*.txt\n", "List other;" },
        { __LINE__,
          "IncludeOptional nope.conf\nIncludeOptional no/*.conf\nIncludeOptional conf.d/x*/y\nList a",
          "List a;" },
        { __LINE__, "IncludeOptional conf.d/b.conf\n", "List b;" },
        { __LINE__, "<Directory /x>\nInclude inner.conf\n</Directory>\n",
          "<Directory /x{<Files x{List a;}}" },
        { __LINE__, "ServerRoot /s/sites\nInclude one/site.conf\n", "List one;" },
        { __LINE__, "<IfModule nope.c>\nInclude nope.conf\n</IfModule>\n", "" },
    };

    (void)state;
    RUN(rows, tree);
}

static void test_places(void **state)
{
    struct loaded_conf l =
        conf_load("# one\nList a\n\nList b \\\n  c\nInclude conf.d/a.conf\nList d\n", tree);
    struct mu_config *c = conf_ok(__LINE__, &l);
    struct mu_buf out = { 0 };

    (void)state;
    conf_show(c, &out, true);
    check_str(__LINE__, mu_buf_str(&out), MU_S("2:List a;4:List b   c;1:List a;7:List d;"));
    check_str(__LINE__, c->tree->first->file, MU_S("/s/conf/httpd.conf"));
    check_str(__LINE__, c->tree->first->next->next->file, MU_S("/s/conf.d/a.conf"));
    mu_buf_fini(&out);
    conf_free(&l);
}

static void test_command_line(void **state)
{
    static const char *const before[] = { "<IfDefine D>", "List first", "</IfDefine>",
                                          "  ",           "Define X y", NULL };
    static const char *const after[] = { "List last ${X}", NULL };
    static const char *const defines[] = { "D", NULL };
    struct mu_config_opts opts = { .before = before, .after = after, .defines = defines };
    struct loaded_conf l = conf_load_with("List ${X}\n", NULL, opts);
    struct mu_buf out = { 0 };

    (void)state;
    conf_show(conf_ok(__LINE__, &l), &out, true);
    check_str(__LINE__, mu_buf_str(&out), MU_S("0:List first;1:List y;0:List last y;"));
    mu_buf_fini(&out);
    conf_free(&l);
}

static void test_main_file(void **state)
{
    static const struct memfile other[] = { { "/r/conf/muster.conf", MU_S("List m\n") },
                                            { "/r/conf/httpd.conf", MU_S("List h\n") },
                                            { "/q/conf/httpd.conf", MU_S("List q\n") },
                                            { "/q/else.conf", MU_S("List else\n") },
                                            { NULL, MU_STR_NULL } };
    static const struct {
        int row;
        const char *root, *file, *want;
    } rows[] = {
        { __LINE__, "/r", NULL, "List m;" },
        { __LINE__, "/q", NULL, "List q;" },
        { __LINE__, "/q/", "else.conf", "List else;" },
        { __LINE__, "/r", "/q/./else.conf", "List else;" },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_config_opts opts = { .server_root = rows[i].root, .file = rows[i].file };
        struct loaded_conf l = conf_load_with("", other, opts);
        struct mu_buf out = { 0 };

        conf_show(conf_ok(rows[i].row, &l), &out, false);
        check_str(rows[i].row, mu_buf_str(&out), mu_str_c(rows[i].want));
        mu_buf_fini(&out);
        conf_free(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nesting),      cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_versions),     cmocka_unit_test(test_variables),
        cmocka_unit_test(test_includes),     cmocka_unit_test(test_places),
        cmocka_unit_test(test_command_line), cmocka_unit_test(test_main_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
