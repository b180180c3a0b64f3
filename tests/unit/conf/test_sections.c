/*
 * test_sections: what becomes of sections: which server has which, in what order, and what a
 * directive is told about the place where it stands.
 */
#include "conf_test.h"

/* "pattern pattern " of a list of sections. */
static void show(struct mu_section *const *list, size_t n, struct mu_buf *out)
{
    for (size_t i = 0; i < n; i++)
        mu_buf_addf(out, "%s%.*s", i ? " " : "", MU_FMT(list[i]->pattern));
}

static void check_list(int row, struct mu_section *const *list, size_t n, const char *want)
{
    struct mu_buf out = { 0 };

    show(list, n, &out);
    check_str(row, mu_buf_str(&out), mu_str_c(want));
    mu_buf_fini(&out);
}

static void test_order(void **state)
{
    struct loaded_conf l = conf_load("<Directory /a/b/c>\n</Directory>\n"
                                     "<DirectoryMatch ^/m1>\n</DirectoryMatch>\n"
                                     "<Directory /a>\n</Directory>\n"
                                     "<Directory ~ ^/m2>\n</Directory>\n"
                                     "<Directory />\n</Directory>\n"
                                     "<Directory /*/x/>\n</Directory>\n"
                                     "<Location /l1>\n</Location>\n"
                                     "<LocationMatch /l2>\n</LocationMatch>\n"
                                     "<Files f1>\n</Files>\n"
                                     "<VirtualHost 127.0.0.1:80 [::1]:80>\n"
                                     "<Directory /b/c>\n</Directory>\n"
                                     "<Directory /v>\n</Directory>\n"
                                     "<DirectoryMatch ^/m3>\n</DirectoryMatch>\n"
                                     "<Location ~ /l3>\n</Location>\n"
                                     "<FilesMatch f2>\n</FilesMatch>\n"
                                     "</VirtualHost>\n"
                                     "<VirtualHost *>\n</VirtualHost>\n"
                                     "<Directory /z>\n</Directory>\n",
                                     NULL);
    struct mu_config *c = conf_ok(__LINE__, &l);
    const struct mu_vhost *v = c->vhosts[1];

    (void)state;
    assert_int_equal(c->vhosts_n, 3);
    assert_ptr_equal(c->vhosts[0], c->main);
    assert_ptr_equal(mu_config_vhost(c, 2), c->vhosts[2]);
    assert_null(mu_config_vhost(c, 3));
    assert_true(c->main->is_main && !v->is_main);
    check_list(__LINE__, c->main->dirs, c->main->dirs_n, "/ /a /z /*/x /a/b/c");
    check_list(__LINE__, c->main->dir_matches, c->main->dir_matches_n, "^/m1 ^/m2");
    check_list(__LINE__, v->dirs, v->dirs_n, "/ /a /z /v /*/x /b/c /a/b/c");
    check_list(__LINE__, v->dir_matches, v->dir_matches_n, "^/m1 ^/m2 ^/m3");
    check_list(__LINE__, v->locations, v->locations_n, "/l1 /l2 /l3");
    check_list(__LINE__, v->files, v->files_n, "f1 f2");
    check_list(__LINE__, c->vhosts[2]->dirs, c->vhosts[2]->dirs_n, "/ /a /z /*/x /a/b/c");
    check_list(__LINE__, c->vhosts[2]->locations, c->vhosts[2]->locations_n, "/l1 /l2");
    assert_int_equal(v->addrs_n, 2);
    check_str(__LINE__, v->addrs[1], MU_S("[::1]:80"));
    check_int(__LINE__, v->line, 19);
    assert_true(v->locations[1]->regex && v->locations[1]->kind == MU_SEC_LOCATION_MATCH);
    assert_true(v->locations[2]->regex && v->locations[2]->kind == MU_SEC_LOCATION_MATCH);
    assert_true(v->files[1]->regex && v->files[1]->kind == MU_SEC_FILES_MATCH);
    assert_null(v->files[0]->regex);
    assert_true(c->main->dirs[3]->is_wild && !c->main->dirs[4]->is_wild);
    conf_free(&l);
}

/* Of equal depth: in the order of appearance, however many there are. */
static void test_stable_sort(void **state)
{
    struct mu_buf text = { 0 };
    struct loaded_conf l;
    struct mu_config *c;

    (void)state;
    for (int i = 0; i < 500; i++)
        mu_buf_addf(&text, "<Directory /%s%d>\n</Directory>\n", i % 2 ? "a/" : "", i);
    mu_buf_addc(&text, '\0');
    l = conf_load(text.p, NULL);
    c = conf_ok(__LINE__, &l);
    assert_int_equal(c->main->dirs_n, 500);
    for (size_t i = 1; i < 500; i++) {
        const struct mu_section *a = c->main->dirs[i - 1];
        const struct mu_section *b = c->main->dirs[i];

        assert_true(a->components < b->components ||
                    (a->components == b->components && a->id < b->id));
    }
    conf_free(&l);
    mu_buf_fini(&text);
}

static void test_patterns(void **state)
{
    static const struct {
        int row;
        const char *arg, *pattern;
        uint32_t components;
        bool is_wild;
    } rows[] = {
        { __LINE__, "/", "/", 0, false },
        { __LINE__, "/a", "/a", 1, false },
        { __LINE__, "/a/", "/a", 1, false },
        { __LINE__, "\"/a b/c\"", "/a b/c", 2, false },
        { __LINE__, "//a//b/./c/", "/a/b/c", 3, false },
        { __LINE__, "/a/../b", "/b", 1, false },
        { __LINE__, "/home/*/www", "/home/*/www", 3, true },
        { __LINE__, "/a?", "/a?", 1, true },
        { __LINE__, "/a[bc]", "/a[bc]", 1, true },
        { __LINE__, "/a[bc", "/a[bc", 1, false },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        char text[128];
        struct loaded_conf l;
        const struct mu_section *s;

        snprintf(text, sizeof(text), "<Directory %s>\n</Directory>\n", rows[i].arg);
        l = conf_load(text, NULL);
        s = conf_ok(rows[i].row, &l)->main->dirs[0];
        check_str(rows[i].row, s->pattern, mu_str_c(rows[i].pattern));
        check_int(rows[i].row, s->components, rows[i].components);
        check_int(rows[i].row, s->is_wild, rows[i].is_wild);
        conf_free(&l);
    }
}

static void test_nested_files(void **state)
{
    struct loaded_conf l =
        conf_load("<Directory /a>\nList d\n<Files *.txt>\nList f\n</Files>\n"
                  "<FilesMatch x>\n</FilesMatch>\n<Files b>\n</Files>\n</Directory>\n",
                  NULL);
    struct mu_config *c = conf_ok(__LINE__, &l);
    const struct mu_section *d = c->main->dirs[0];

    (void)state;
    assert_int_equal(c->main->files_n, 0);
    check_list(__LINE__, d->files, d->files_n, "*.txt x b");
    assert_true(d->files[0]->is_wild);
    check_str(__LINE__, ((const struct core_conf *)d->conf[test_core.index])->list.v[0], MU_S("d"));
    check_str(__LINE__, ((const struct core_conf *)d->files[0]->conf[test_core.index])->list.v[0],
              MU_S("f"));
    assert_null(d->files[1]->conf[test_core.index]);
    assert_true(d->id && d->files[0]->id && d->files[0]->id != d->id);
    conf_free(&l);
}

static void test_cmd(void **state)
{
    static const struct {
        int row;
        const char *text;
        unsigned where, line;
        const char *section;
        bool is_location;
        uint32_t methods;
    } rows[] = {
        { __LINE__, "CmdInfo\n", MU_IN_GLOBAL, 1, NULL, false, MU_ANY_METHOD },
        { __LINE__, "<VirtualHost *>\nCmdInfo\n</VirtualHost>\n", MU_IN_VHOST, 2, NULL, false,
          MU_ANY_METHOD },
        { __LINE__, "<Directory /a/>\nCmdInfo\n</Directory>\n", MU_IN_DIR, 2, "/a", false,
          MU_ANY_METHOD },
        { __LINE__, "<Location /a/>\nCmdInfo\n</Location>\n", MU_IN_DIR, 2, "/a/", true,
          MU_ANY_METHOD },
        { __LINE__, "<LocationMatch ^/a>\nCmdInfo\n</LocationMatch>\n", MU_IN_DIR, 2, "^/a", true,
          MU_ANY_METHOD },
        { __LINE__, "<Directory /a>\n<Files f>\nCmdInfo\n</Files>\n</Directory>\n", MU_IN_DIR, 3,
          "f", false, MU_ANY_METHOD },
        { __LINE__, "<Directory /a>\n<Limit GET POST>\nCmdInfo\n</Limit>\n</Directory>\n",
          MU_IN_DIR, 3, "/a", false, MU_GET | MU_HEAD | MU_POST },
        { __LINE__, "<Directory /a>\n<LimitExcept GET>\nCmdInfo\n</LimitExcept>\n</Directory>\n",
          MU_IN_DIR, 3, "/a", false, MU_ANY_METHOD & ~(MU_GET | MU_HEAD) },
        { __LINE__,
          "<Location />\n<LimitExcept GET>\n<Limit GET PUT>\nCmdInfo\n</Limit>\n</LimitExcept>\n"
          "</Location>\n",
          MU_IN_DIR, 4, "/", true, MU_METHOD_BIT(MU_M_PUT) },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct loaded_conf l = conf_load(rows[i].text, NULL);
        struct mu_config *c = conf_ok(rows[i].row, &l);

        check_int(rows[i].row, test_last_cmd.where, rows[i].where);
        check_int(rows[i].row, test_last_cmd.line, rows[i].line);
        check_str(rows[i].row, test_last_cmd.section, mu_str_c(rows[i].section));
        check_int(rows[i].row, test_last_cmd.section.p == NULL, rows[i].section == NULL);
        check_int(rows[i].row, test_last_cmd.section_is_location, rows[i].is_location);
        check_int(rows[i].row, test_last_cmd.methods, rows[i].methods);
        check_str(rows[i].row, test_last_cmd.file, MU_S("/s/conf/httpd.conf"));
        assert_ptr_equal(test_last_cmd.config, c);
        assert_ptr_equal(test_last_cmd.vhost, c->vhosts[rows[i].where == MU_IN_VHOST]);
        assert_false(test_last_cmd.is_htaccess);
        conf_free(&l);
    }
}

/* A section of a module: its arguments first, then what stands in it, then its end. */
static void test_module_section(void **state)
{
    struct loaded_conf l =
        conf_load("<Directory /a>\n<Group 3>\nAdd 4\n</Group>\n</Directory>\n", NULL);
    const struct mu_section *s = conf_ok(__LINE__, &l)->main->dirs[0];

    (void)state;
    assert_int_equal(((const struct core_conf *)s->conf[test_core.index])->sum, 7);
    assert_string_equal(test_last_cmd.directive->name, "</Group");
    check_int(__LINE__, test_last_cmd.line, 2);
    conf_free(&l);
}

static void test_listens(void **state)
{
    struct loaded_conf l = conf_load("Listen 8080\nListen [::1]:443 https\n", NULL);
    struct mu_config *c = conf_ok(__LINE__, &l);

    (void)state;
    assert_int_equal(c->listens_n, 2);
    check_str(__LINE__, c->listens[0].text, MU_S("8080"));
    assert_null(c->listens[0].protocol.p);
    check_str(__LINE__, c->listens[1].text, MU_S("[::1]:443"));
    check_str(__LINE__, c->listens[1].protocol, MU_S("https"));
    check_int(__LINE__, c->listens[1].line, 2);
    conf_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),    cmocka_unit_test(test_stable_sort),
        cmocka_unit_test(test_patterns), cmocka_unit_test(test_nested_files),
        cmocka_unit_test(test_cmd),      cmocka_unit_test(test_module_section),
        cmocka_unit_test(test_listens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
