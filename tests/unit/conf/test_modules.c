/*
 * test_modules: which modules are on after which LoadModule lines, loading shared objects (built
 * from dso.c), the MPM, and `-L`. DSO_DIR is the folder with the shared objects.
 */
#include <dlfcn.h>
#include <sys/stat.h>

#include "../base/tmpdir.h"
#include "conf_test.h"

/* "core dir ": the active modules in order, the MPM in brackets. */
static void show(const struct mu_config *c, struct mu_buf *out)
{
    for (size_t i = 0; i < c->modules_n; i++) {
        assert_int_equal(c->modules[i]->index, i);
        if (c->modules[i] == c->mpm)
            mu_buf_addf(out, "[%s]", c->mpm_name);
        else
            mu_buf_addf(out, "%s ", c->modules[i]->name);
    }
}

static void test_registry(void **state)
{
    static const struct {
        int row;
        const char *text, *want;
    } rows[] = {
        { __LINE__, "", "core log_config dir alias [event]" },
        { __LINE__, "LoadModule mpm_prefork_module x\n", "core log_config dir alias [prefork]" },
        { __LINE__, "LoadModule mpm_event_module x\nLoadModule dir_module x\n",
          "core log_config [event]dir " },
        { __LINE__, "LoadModule alias_module x\n", "core log_config alias [event]" },
        { __LINE__,
          "DirectoryIndex i\n<IfModule dir_module>\nLoadModule dir_module x\n</IfModule>\n",
          "" }, /* exact, and then nothing loads dir: DirectoryIndex is unknown */
        { __LINE__, "LoadModule unixd_module x\nLoadModule core_module x\n",
          "core log_config [event]" },
        { __LINE__, "LoadModule log_config_module x\n", "core log_config [event]" },
        { __LINE__, "<IfModule !dir_module>\nLoadModule dir_module x\n</IfModule>\n",
          "core log_config dir alias [event]" },
        { __LINE__, "<IfDefine X>\nLoadModule dir_module x\n</IfDefine>\n",
          "core log_config dir alias [event]" },
        { __LINE__, "<IfModule mpm_event_module>\nStartServers 3\n</IfModule>\n",
          "core log_config dir alias [event]" },
        { __LINE__,
          "<IfModule prefork.c>\nStartServers 3\n</IfModule>\nLoadModule mpm_prefork_module x\n"
          "<IfModule prefork.c>\nMinSpareServers 3\n</IfModule>\n",
          "core log_config dir alias [prefork]" },
        { __LINE__,
          "<IfModule mpm_event_module>\nLoadModule alias_module x\n</IfModule>\nLoadModule dir_module x\n",
          "core log_config [event]alias dir " },
        { __LINE__, "<IfDirective ThreadsPerChild>\nThreadsPerChild 3\n</IfDirective>\n",
          "core log_config dir alias [event]" },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct loaded_conf l = conf_load(rows[i].text, NULL);
        struct mu_buf out = { 0 };

        if (l.c)
            show(conf_ok(rows[i].row, &l), &out);
        check_str(rows[i].row, mu_buf_str(&out), mu_str_c(rows[i].want));
        mu_buf_fini(&out);
        conf_free(&l);
    }
}

static void test_has_module(void **state)
{
    struct loaded_conf l = conf_load("LoadModule dir_module x\n", NULL);
    struct mu_config *c = conf_ok(__LINE__, &l);

    (void)state;
    assert_true(mu_config_has_module(c, MU_S("dir")));
    assert_true(mu_config_has_module(c, MU_S("so")));
    assert_true(mu_config_has_module(c, MU_S("mpm_event")));
    assert_false(mu_config_has_module(c, MU_S("alias")));
    assert_null(mu_config_module_handle(c, &test_dir));
    conf_free(&l);
}

/* A program that brings no MPM (a test, a fuzzer) gets none. */
static void test_no_mpm(void **state)
{
    struct mu_module *const only_core[] = { &test_core, NULL };
    struct mu_config_opts opts = { .builtin = only_core };
    struct loaded_conf l =
        conf_load_with("<IfModule mpm_event_module>\nNope\n</IfModule>\n", NULL, opts);
    struct mu_config *c = conf_ok(__LINE__, &l);

    (void)state;
    assert_null(c->mpm);
    assert_string_equal(c->mpm_name, "event");
    conf_free(&l);
}

static void test_threads_none(void **state)
{
    struct mu_module single = { .abi = MU_MODULE_ABI,
                                .name = "single",
                                .threads = MU_THREADS_NONE };
    struct mu_module *const with[] = { &test_core, &single, &test_mpm_event, &test_mpm_prefork,
                                       NULL };
    struct mu_config_opts opts = { .builtin = with };
    struct loaded_conf l = conf_load_with("LoadModule single_module x\n", NULL, opts);

    (void)state;
    assert_string_equal(
        l.messages.p,
        "muster: Syntax error on line 1 of /s/conf/httpd.conf:\nmod_single serves one "
        "request at a time in a process, and the event MPM has threads: load mpm_prefork_module, or "
        "take the module out and run the application in processes of its own (an <ApplicationPool>; for "
        "PHP also php-fpm)\n");
    conf_free(&l);
    l = conf_load_with("LoadModule single_module x\nLoadModule mpm_prefork_module x\n", NULL, opts);
    conf_ok(__LINE__, &l);
    conf_free(&l);
}

/* What the core refuses a module may bring; two modules with the same directive are a mistake. */
static void test_tables(void **state)
{
    static const struct mu_directive brings[] = {
        MU_DIR_IGNORED("<If", MU_IN_SERVER, "for this test"), MU_DIR_END
    };
    static const struct mu_directive again[] = { MU_DIR_IGNORED("KeepAlive", MU_IN_SERVER, "again"),
                                                 MU_DIR_END };
    struct mu_module first = { .abi = MU_MODULE_ABI, .name = "first", .directives = brings };
    struct mu_module second = { .abi = MU_MODULE_ABI, .name = "second", .directives = again };
    struct mu_module *const one[] = { &test_core, &first, NULL };
    struct mu_module *const two[] = { &test_core, &second, NULL };
    struct mu_config_opts opts = { .builtin = one };
    struct loaded_conf l = conf_load_with("<If x>\n</If>\n", NULL, opts);

    (void)state;
    conf_ok(__LINE__, &l);
    conf_free(&l);
    opts.builtin = two;
    l = conf_load_with("", NULL, opts);
    assert_string_equal(l.messages.p, "muster: mod_core and mod_second both define KeepAlive\n");
    conf_free(&l);
}

/* ---- shared objects ---- */

static void gather(void *arg, bool is_error, const char *text)
{
    mu_buf_addf(arg, "%s%s\n", is_error ? "" : "[w] ", text);
}

/* Load a file that stands in the temporary folder, from the real file system. */
static struct loaded_conf load_real(const char *text, const char *module_dir, bool has_mpm)
{
    static struct mu_module *const without[] = { &test_core, NULL };
    struct mu_config_opts opts = { .server_root = tmpdir,
                                   .file = "t.conf",
                                   .module_dir = module_dir,
                                   .builtin = has_mpm ? test_builtin : without,
                                   .report = gather };
    struct loaded_conf l = { 0 };
    FILE *f = fopen("t.conf", "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    opts.report_arg = &l.messages;
    l.rc = mu_config_load(&opts, &l.c);
    mu_buf_addc(&l.messages, '\0');
    l.messages.n--;
    return l;
}

static void check_tiny(int row, struct loaded_conf *l)
{
    struct mu_config *c = conf_ok(row, l);
    struct mu_module *tiny = c->modules[c->modules_n - 2]; /* the MPM comes last */
    void *handle = mu_config_module_handle(c, tiny);

    assert_string_equal(tiny->name, "tiny");
    assert_true(tiny->is_shared);
    assert_non_null(handle);
    assert_ptr_equal(dlsym(handle, "mu_module_tiny"), tiny);
    assert_int_equal(*(const int64_t *)mu_vhost_conf(c->main, tiny), 7);
    conf_free(l);
}

static void test_dso(void **state)
{
    struct loaded_conf l;
    char path[512];

    (void)state;
    snprintf(path, sizeof(path), "LoadModule tiny_module %s/mod_tiny.so\nTinyNumber 7\n", DSO_DIR);
    l = load_real(path, NULL, true);
    check_tiny(__LINE__, &l);
    l = load_real("LoadModule tiny_module modules/mod_tiny.so\nTinyNumber 7\n", DSO_DIR, true);
    check_tiny(__LINE__, &l);
    /* The identifier decides: neither a name of its own nor a file that is there and foreign misleads. */
    l = load_real("LoadModule tiny_module modules/libtiny9.so\nTinyNumber 7\n", DSO_DIR, true);
    check_tiny(__LINE__, &l);
    l = load_real("LoadModule tiny_module t.conf\nTinyNumber 7\n", DSO_DIR, true);
    check_tiny(__LINE__, &l);
    assert_int_equal(mkdir("modules", 0755), 0);
    assert_int_equal(symlink(DSO_DIR "/mod_tiny.so", "modules/mod_tiny.so"), 0);
    l = load_real(
        "LoadModule tiny_module modules/mod_tiny.so\n<IfModule mod_tiny.c>\nTinyNumber 7\n</IfModule>\n",
        NULL, true);
    check_tiny(__LINE__, &l);
}

static void test_dso_dump(void **state)
{
    struct loaded_conf l =
        load_real("LoadModule tiny_module modules/mod_tiny.so\nTinyNumber 7\nDirectoryIndex i\n",
                  DSO_DIR, true);
    struct mu_buf tree = { 0 };
    struct mu_config_opts opts = { .builtin = test_builtin };
    struct mu_config *c;

    (void)state;
    mu_config_dump_tree(conf_ok(__LINE__, &l), &tree);
    opts.tree = tree.p;
    opts.tree_len = tree.n;
    assert_int_equal(mu_config_load(&opts, &c), MU_OK);
    assert_int_equal(c->modules_n, l.c->modules_n);
    assert_true(c->modules[c->modules_n - 2]->is_shared);
    mu_config_destroy(c);
    mu_buf_fini(&tree);
    conf_free(&l);
}

static void test_dso_mpm(void **state)
{
    struct loaded_conf l =
        load_real("<IfModule mpm_event_module>\nEventNumber 3\n</IfModule>\n", DSO_DIR, false);
    struct mu_config *c = conf_ok(__LINE__, &l);

    (void)state;
    assert_string_equal(c->mpm_name, "event");
    assert_true(c->mpm->is_shared);
    assert_int_equal(*(const int64_t *)mu_vhost_conf(c->main, c->mpm), 3);
    conf_free(&l);
    l = load_real("", tmpdir, false);
    assert_int_equal(l.rc, MU_BAD);
    assert_true(mu_str_starts(mu_buf_str(&l.messages),
                              MU_S("muster: Cannot load the module mpm_event: there is no "
                                   "file mod_mpm_event.so, nor one of that name in ")));
    conf_free(&l);
}

static void test_bad_dso(void **state)
{
    static const struct {
        int row;
        const char *name, *want;
    } rows[] = {
        { __LINE__, "oldabi",
          "was built for ABI 99 of Muster's modules, this server has 1: build it again\n" },
        { __LINE__, "liar", "mod_liar.so calls itself other_module\n" },
        { __LINE__, "broken", "undefined symbol: mu_nobody_has_this\n" },
    };
    struct loaded_conf l;

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        char text[256];

        snprintf(text, sizeof(text), "LoadModule %s_module modules/mod_%s.so\n", rows[i].name,
                 rows[i].name);
        l = load_real(text, DSO_DIR, true);
        check_int(rows[i].row, l.rc, MU_BAD);
        if (!mu_str_ends(mu_buf_str(&l.messages), mu_str_c(rows[i].want)))
            check_str(rows[i].row, mu_buf_str(&l.messages), mu_str_c(rows[i].want));
        conf_free(&l);
    }
    l = load_real("LoadModule other_module modules/mod_tiny.so\n", DSO_DIR, true);
    assert_true(
        mu_str_ends(mu_buf_str(&l.messages),
                    MU_S("mod_tiny.so is not a module for Muster: it has no mu_module_other\n")));
    conf_free(&l);
}

static void test_load_file(void **state)
{
    struct loaded_conf l = load_real("LoadFile " DSO_DIR "/mod_tiny.so\n", NULL, true);
    struct mu_buf tree = { 0 };

    (void)state;
    mu_config_dump_tree(conf_ok(__LINE__, &l), &tree);
    assert_true(mu_str_find(mu_buf_str(&tree), MU_S("\nL\t" DSO_DIR "/mod_tiny.so\n")) > 0);
    mu_buf_fini(&tree);
    conf_free(&l);
    l = load_real("LoadFile nope.so\n", NULL, true);
    assert_int_equal(l.rc, MU_BAD);
    conf_free(&l);
}

/* Folders, links, a FIFO: what reading asks the real file system. */
static void test_real_files(void **state)
{
    struct loaded_conf l;
    FILE *f;

    (void)state;
    assert_int_equal(mkdir("c.d", 0755), 0);
    f = fopen("c.d/b.conf", "w");
    fputs("List b\n", f);
    fclose(f);
    f = fopen("c.d/a.conf", "w");
    fputs("List a\n", f);
    fclose(f);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    l = load_real("Include c.d\nInclude /dev/null\nInclude c.d/*.conf\n", NULL, true);
    assert_int_equal(
        ((const struct core_conf *)mu_vhost_conf(conf_ok(__LINE__, &l)->main, &test_core))->list.n,
        4);
    conf_free(&l);
    l = load_real("Include fifo\n", NULL, true);
    assert_true(mu_str_ends(mu_buf_str(&l.messages), MU_S("/fifo: not a regular file\n")));
    conf_free(&l);
    assert_int_equal(symlink(".", "c.d/loop"), 0);
    l = load_real("Include c.d\n", NULL, true);
    assert_true(mu_str_find(mu_buf_str(&l.messages),
                            MU_S("exceeds the maximum include directory nesting level")) > 0);
    conf_free(&l);
}

static void test_print(void **state)
{
    struct mu_module *const modules[] = { &test_core, &test_dir, &test_mpm_event };
    struct mu_arena *a = mu_arena_create(0);
    int saved = dup(1);
    int fd = open("out", O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct mu_str out;

    (void)state;
    fflush(stdout);
    assert_true(fd >= 0 && dup2(fd, 1) == 1);
    mu_config_print_directives(modules, 3);
    fflush(stdout);
    dup2(saved, 1);
    close(saved);
    close(fd);
    out = slurp(a, "out");
    assert_true(mu_str_starts(
        out, MU_S("<Directory (core.c)\n\tDirectives for a directory and what lies below it\n"
                  "\tAllowed in *.conf only outside <Directory>, <Files>, <Location>, or <If>\n")));
    assert_true(
        mu_str_find(
            out, MU_S("\n<Files (core.c)\n\tDirectives for files whose name matches\n\tAllowed in "
                      "*.conf anywhere and in .htaccess\n\twhen AllowOverride isn't None\n")) > 0);
    assert_true(
        mu_str_find(
            out,
            MU_S("\nOnlyDir (core.c)\n\tOf a directory\n\tAllowed in *.conf only inside "
                 "<Directory>, <Files>, <Location>, or <If> and in .htaccess\n\twhen AllowOverride "
                 "includes Indexes or Limit\n")) > 0);
    assert_true(mu_str_find(out, MU_S("\nDirectorySlash (mod_dir.c)\n")) > 0);
    assert_true(mu_str_find(out, MU_S("\nStartServers (event.c)\n")) > 0);
    assert_int_equal(mu_str_find(out, MU_S("Refused")), -1);
    assert_int_equal(mu_str_find(out, MU_S("</Group")), -1);
    mu_arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registry),   cmocka_unit_test(test_has_module),
        cmocka_unit_test(test_no_mpm),     cmocka_unit_test(test_threads_none),
        cmocka_unit_test(test_tables),     cmocka_unit_test(test_dso),
        cmocka_unit_test(test_dso_dump),   cmocka_unit_test(test_dso_mpm),
        cmocka_unit_test(test_bad_dso),    cmocka_unit_test(test_load_file),
        cmocka_unit_test(test_real_files), cmocka_unit_test(test_print),
    };

    return cmocka_run_group_tests(tests, tmpdir_setup, tmpdir_teardown);
}
