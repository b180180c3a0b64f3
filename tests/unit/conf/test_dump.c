/*
 * test_dump: a tree that was written and read again is the same, whatever its arguments hold; what
 * is cut short or tampered with is refused. Also: every allocation of a load may fail, and nothing
 * leaks or crashes then.
 */
#include "base/fault.h"
#include "conf_test.h"

static const struct memfile more[] = {
    { "/s/a.conf", MU_S("List from a\n<Files x>\nInclude b.conf\n</Files>\n") },
    { "/s/b.conf", MU_S("List from b\n") },
    { NULL, MU_STR_NULL }
};

static struct loaded_conf load_tree(struct mu_str tree)
{
    struct mu_config_opts opts = { .tree = tree.p,
                                   .tree_len = tree.n,
                                   .server_root = "/elsewhere" };

    return conf_load_with("Nope, this file is not read\n", NULL, opts);
}

static const char *const texts[] = {
    "",
    "List a\n",
    "List \"a \\\" b\" 'c\\'d' e\\\\f\tg\n",
    "Define X \"v w\"\nDefine Y\nUnDefine Z\nList ${X}\n",
    "LoadModule dir_module modules/mod_dir.so\nDirectoryIndex i\n",
    "LoadModule mpm_prefork_module modules/x.so\nStartServers 3\nMinSpareServers 2\n",
    "<IfModule mpm_event_module>\nStartServers 3\n</IfModule>\n",
    "ServerRoot /s/conf\nDocumentRoot x\n",
    "Include a.conf\n<VirtualHost *:80>\n<Directory />\n<Limit GET>\nAdd 3\n</Limit>\n<Files y>\nList q\n</Files>\n"
    "</Directory>\nInclude a.conf\n</VirtualHost>\nList end\nListen 80\nListen [::1]:81 https\n",
    "Raw back\\slash \\n \\t \x01\xff\n",
};

static void test_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(texts); i++) {
        struct loaded_conf first = conf_load(texts[i], more);
        struct mu_config *c = conf_ok((int)i, &first);
        struct loaded_conf second;
        struct mu_buf one = { 0 };
        struct mu_buf two = { 0 };
        struct mu_buf shown[2] = { { 0 }, { 0 } };

        mu_config_dump_tree(c, &one);
        second = load_tree(mu_buf_str(&one));
        mu_config_dump_tree(conf_ok((int)i, &second), &two);
        check_str((int)i, mu_buf_str(&two), mu_buf_str(&one));
        conf_show(c, &shown[0], true);
        conf_show(second.c, &shown[1], true);
        check_str((int)i, mu_buf_str(&shown[1]), mu_buf_str(&shown[0]));
        check_str((int)i, second.c->server_root, c->server_root);
        check_str((int)i, second.c->config_file, c->config_file);
        assert_string_equal(second.c->mpm_name, c->mpm_name);
        assert_ptr_equal(second.c->mpm, c->mpm);
        assert_int_equal(second.c->modules_n, c->modules_n);
        for (size_t k = 0; k < c->modules_n; k++)
            assert_ptr_equal(second.c->modules[k], c->modules[k]);
        assert_int_equal(second.c->listens_n, c->listens_n);
        assert_int_equal(second.c->vhosts_n, c->vhosts_n);
        mu_buf_fini(&one);
        mu_buf_fini(&two);
        mu_buf_fini(&shown[0]);
        mu_buf_fini(&shown[1]);
        conf_free(&first);
        conf_free(&second);
    }
}

/* An argument that no file can hold, and places of several files. */
static void test_odd_arguments(void **state)
{
    struct loaded_conf l = conf_load("Include a.conf\nRaw x\n", more);
    struct mu_config *c = conf_ok(__LINE__, &l);
    struct loaded_conf second;
    struct mu_buf b = { 0 };
    struct mu_node *last = c->tree->last;

    (void)state;
    last->args = MU_S("tab\there\nline \\n \"quoted\" \r end");
    mu_config_dump_tree(c, &b);
    second = load_tree(mu_buf_str(&b));
    check_str(__LINE__, conf_ok(__LINE__, &second)->tree->last->args, last->args);
    check_str(__LINE__, second.c->tree->last->file, MU_S("/s/conf/httpd.conf"));
    check_int(__LINE__, second.c->tree->last->line, 2);
    check_str(__LINE__, second.c->tree->first->next->first->file, MU_S("/s/b.conf"));
    mu_buf_fini(&b);
    conf_free(&l);
    conf_free(&second);
}

static void test_errors_keep_their_place(void **state)
{
    struct loaded_conf l =
        load_tree(MU_S("muster-tree 1\nR\t/s\nC\t/s/c\nM\tcore\nM\tmpm_event\nF\t/s/c\n"
                       "N\t17\tKeepAlive\tmaybe\n"));

    (void)state;
    assert_int_equal(l.rc, MU_BAD);
    assert_string_equal(
        l.messages.p, "muster: Syntax error on line 17 of /s/c:\nKeepAlive must be On or Off, but "
                      "\"maybe\" was found\n");
    conf_free(&l);
}

static void test_refused(void **state)
{
#define BEGIN "muster-tree 1\nR\t/s\nC\t/s/c\n"
    static const struct {
        int row;
        struct mu_str tree;
        const char *want;
    } rows[] = {
        { __LINE__, MU_S("x"), "does not begin with \"muster-tree 1\"" },
        { __LINE__, MU_S("muster-tree 2\n"), "does not begin with \"muster-tree 1\"" },
        { __LINE__, MU_S("muster-tree 1\n"), "is cut short" },
        { __LINE__, MU_S(BEGIN "+\t1\t<Files\tx\n"), "is cut short" },
        { __LINE__, MU_S(BEGIN "-\n"), "cannot be used: record 4" },
        { __LINE__, MU_S(BEGIN "N\t1\tList\n"), "cannot be used: record 4" },
        { __LINE__, MU_S(BEGIN "N\tx\tList\ta\n"), "cannot be used: record 4" },
        { __LINE__, MU_S(BEGIN "N\t1\t<List\ta\n"), "cannot be used: record 4" },
        { __LINE__, MU_S(BEGIN "+\t1\tList\ta\n"), "cannot be used: record 4" },
        { __LINE__, MU_S(BEGIN "N\t1\t\ta\n"), "cannot be used: record 4" },
        { __LINE__, MU_S(BEGIN "N\t1\tList\ta\tb\n"), "cannot be used: record 4" },
        { __LINE__, MU_S(BEGIN "Q\tx\n"), "cannot be used: record 4" },
        { __LINE__, MU_S(BEGIN "NN\t1\tList\ta\n"), "cannot be used: record 4" },
        { __LINE__, MU_S(BEGIN "N\t1\tList\ta\0b\n"), "cannot be used: record 4" },
        { __LINE__, MU_S(BEGIN "M\n"), "cannot be used: record 4" },
        { __LINE__, MU_S(BEGIN "M\tnope\n"), "Cannot load the module nope" },
        { __LINE__, MU_S(BEGIN "L\t/nope.so\n"), "Cannot load /nope.so" },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct loaded_conf l = load_tree(rows[i].tree);

        check_int(rows[i].row, l.rc, MU_BAD);
        assert_null(l.c);
        if (mu_str_find(mu_buf_str(&l.messages), mu_str_c(rows[i].want)) < 0)
            check_str(rows[i].row, mu_buf_str(&l.messages), mu_str_c(rows[i].want));
        conf_free(&l);
    }
}

/* Lets the n-th allocation fail, and all after it, until the load gets through. */
static int64_t fail_until_ok(const char *text, enum mu_rc want)
{
    for (int64_t n = 0; n < 100000; n++) {
        struct loaded_conf l;
        enum mu_rc rc;

        mu_alloc_fail_after(n);
        l = conf_load(text, more);
        mu_alloc_fail_after(-1);
        rc = l.rc;
        assert_true(rc == MU_OK || rc == MU_BAD || rc == MU_NOMEM);
        assert_int_equal(rc == MU_OK, l.c != NULL);
        if (rc == MU_OK)
            assert_int_equal(l.c->errors, 0);
        /* a load that has seen no failure says what it would always have said */
        if (rc == want && l.messages.n && !l.messages.is_failed &&
            mu_str_find(mu_buf_str(&l.messages), MU_S("out of memory")) < 0) {
            conf_free(&l);
            return n;
        }
        if (rc == want && rc == MU_OK) {
            conf_free(&l);
            return n;
        }
        conf_free(&l);
    }
    return -1;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(texts); i++)
        assert_true(fail_until_ok(texts[i], MU_OK) > 0);
    assert_true(fail_until_ok(
                    "Include a.conf\nNope\n<If x>\n</If>\nKeepAlive x\nLoadModule dirr_module x\n",
                    MU_BAD) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_odd_arguments),
        cmocka_unit_test(test_errors_keep_their_place),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
