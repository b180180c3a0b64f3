/*
 * Paths: joining, splitting and lexical normalisation.
 */
#include "unit.h"

#include "base/path.h"

static void test_parts(void **state)
{
    static const struct {
        int line;
        const char *path, *dir, *base, *ext;
    } rows[] = {
        { __LINE__, "/a/b.html", "/a", "b.html", "html" },
        { __LINE__, "b.tar.gz", ".", "b.tar.gz", "gz" },
        { __LINE__, "/x", "/", "x", "" },
        { __LINE__, "/", "/", "", "" },
        { __LINE__, "", ".", "", "" },
        { __LINE__, "/a/", "/a", "", "" },
        { __LINE__, "/a//b", "/a", "b", "" },
        { __LINE__, "/a.d/.hidden", "/a.d", ".hidden", "" },
        { __LINE__, "/a.d/x.", "/a.d", "x.", "" },
        { __LINE__, "/a.d/x", "/a.d", "x", "" },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_str path = mu_str_c(rows[i].path);

        check_str(rows[i].line, mu_path_dir(path), mu_str_c(rows[i].dir));
        check_str(rows[i].line, mu_path_base(path), mu_str_c(rows[i].base));
        check_str(rows[i].line, mu_path_ext(path), mu_str_c(rows[i].ext));
    }
}

static void test_normalise(void **state)
{
    static const struct {
        int line;
        const char *path, *want;
    } rows[] = {
        { __LINE__, "", "." },         { __LINE__, "/", "/" },
        { __LINE__, "//", "/" },       { __LINE__, ".", "." },
        { __LINE__, "./", "./" },      { __LINE__, "/a/./b//c/", "/a/b/c/" },
        { __LINE__, "/a/../b", "/b" }, { __LINE__, "/a/b/../../c", "/c" },
        { __LINE__, "/..", "/" },      { __LINE__, "/../../a", "/a" },
        { __LINE__, "..", ".." },      { __LINE__, "../../a", "../../a" },
        { __LINE__, "a/../..", ".." }, { __LINE__, "a/..", "." },
        { __LINE__, "a/../b", "b" },   { __LINE__, "a/b/..", "a" },
        { __LINE__, "/a/b/..", "/a" }, { __LINE__, "/a/..", "/" },
        { __LINE__, "...", "..." },    { __LINE__, "/.a/..b", "/.a/..b" },
    };
    struct mu_arena *a = mu_arena_create(0);

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_str got = mu_path_normalise(a, mu_str_c(rows[i].path));

        check_str(rows[i].line, got, mu_str_c(rows[i].want));
        check_int(rows[i].line, got.p[got.n], '\0');
    }
    mu_arena_destroy(a);
}

static void test_join(void **state)
{
    static const struct {
        int line;
        const char *dir, *name, *joined, *rooted;
    } rows[] = {
        { __LINE__, "/etc/muster", "mods/x.so", "/etc/muster/mods/x.so", "/etc/muster/mods/x.so" },
        { __LINE__, "/etc/", "x", "/etc/x", "/etc/x" },
        { __LINE__, "/etc", "/var/../x", "/var/../x", "/x" },
        { __LINE__, "", "x", "x", "x" },
        { __LINE__, "/srv/root", "../logs/error.log", "/srv/root/../logs/error.log",
          "/srv/logs/error.log" },
    };
    struct mu_arena *a = mu_arena_create(0);

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_str dir = mu_str_c(rows[i].dir);
        struct mu_str name = mu_str_c(rows[i].name);

        check_str(rows[i].line, mu_path_join(a, dir, name), mu_str_c(rows[i].joined));
        check_str(rows[i].line, mu_path_rooted(a, dir, name), mu_str_c(rows[i].rooted));
    }
    assert_true(mu_path_is_abs(MU_S("/")));
    assert_false(mu_path_is_abs(MU_S("a")));
    assert_false(mu_path_is_abs(MU_STR_NULL));
    mu_arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_normalise),
        cmocka_unit_test(test_join),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
