/* Symbolic links under the three policies, with and without openat2, and on descriptors while names
 * change. */
#include "req_fixture.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int setup(void **state)
{
    int rc = site_setup(state);

    site_file("htdocs/real/a.txt", "a");
    site_file("outside/o.txt", "o");
    site_link("htdocs/file", "real/a.txt");
    site_link("htdocs/dir", "real");
    site_link("htdocs/out", "@/outside");
    site_link("htdocs/dangling", "nowhere");
    site_link("htdocs/loop", "loop");
    return rc;
}

static int setup_old_kernel(void **state)
{
    mu_lookup_disable_openat2(true);
    return setup(state);
}

static int teardown(void **state)
{
    mu_lookup_disable_openat2(false);
    return site_teardown(state);
}

static void test_follow(void **state)
{
    (void)state;
    site_load("<Directory @/htdocs>\nOptions FollowSymLinks\n</Directory>");
    for (int i = 0; i < 2; i++) {
        assert_body("GET /file", "a");
        assert_body("GET /dir/a.txt", "a");
        assert_body("GET /out/o.txt", "o");
        assert_status("GET /dangling", 403);
        assert_status("GET /loop", 403);
        assert_status("GET /dir/none", 404);
    }
}

static void test_none(void **state)
{
    (void)state;
    site_load("<Directory @/htdocs>\nOptions None\n</Directory>");
    for (int i = 0; i < 2; i++) {
        assert_body("GET /real/a.txt", "a");
        assert_status("GET /file", 403);
        assert_status("GET /dir/a.txt", 403);
        assert_status("GET /out/o.txt", 403);
        assert_status("GET /dangling", 403);
        assert_status("GET /real/none", 404);
    }
}

static void test_links_above_are_allowed(void **state)
{
    (void)state;
    site_link("web", "@/htdocs");
    site_load("DocumentRoot @/web\n<Directory @/web>\nOptions None\n</Directory>");
    assert_body("GET /real/a.txt", "a"); /* /web itself stands where links are allowed */
    assert_status("GET /file", 403);
    site_load("DocumentRoot @/web\n<Directory />\nOptions None\n</Directory>");
    assert_status("GET /real/a.txt", 403);
}

static void test_owner(void **state)
{
    char path[512];

    (void)state;
    site_load("<Directory @/htdocs>\nOptions SymLinksIfOwnerMatch\n</Directory>");
    assert_body("GET /file", "a");
    assert_body("GET /dir/a.txt", "a");
    assert_body("GET /out/o.txt", "o");
    if (getuid() != 0)
        return; /* nobody else can give files away */
    snprintf(path, sizeof(path), "%s/outside", site->root);
    assert_int_equal(chown(path, 65534, 65534), 0);
    assert_status("GET /out/o.txt", 403);
    snprintf(path, sizeof(path), "%s/htdocs/file", site->root);
    assert_int_equal(lchown(path, 65534, 65534), 0);
    assert_status("GET /file", 403);
    assert_body("GET /dir/a.txt", "a");
}

/* A directory that was plain when it was remembered becomes a link. */
static void test_swap(void **state)
{
    char real[512], away[512];

    (void)state;
    site_load("<Directory @/htdocs>\nOptions None\n</Directory>");
    assert_body("GET /real/a.txt", "a");
    snprintf(real, sizeof(real), "%s/htdocs/real", site->root);
    snprintf(away, sizeof(away), "%s/htdocs/away", site->root);
    assert_int_equal(rename(real, away), 0);
    assert_int_equal(symlink("away", real), 0);
    assert_status("GET /real/a.txt", 403);
    assert_body("GET /away/a.txt", "a");
}

/* What was checked is what is used, whatever the name leads to afterwards. */
static void test_step_holds_what_it_saw(void **state)
{
    int root = mu_lookup_root(), tmp, dir, docs, fd;
    struct mu_finfo fi;
    char path[512], buf[8] = "";

    (void)state;
    assert_true(root >= 0);
    assert_int_equal(mu_lookup_step(root, "tmp", MU_LINKS_NONE, &tmp, &fi), MU_FOUND);
    assert_int_equal(mu_lookup_step(tmp, site->root + 5, MU_LINKS_NONE, &dir, &fi), MU_FOUND);
    assert_int_equal(mu_lookup_step(dir, "outside", MU_LINKS_NONE, &docs, &fi), MU_FOUND);
    close(root);
    close(tmp);
    close(dir);
    assert_int_equal(mu_lookup_step(docs, "o.txt", MU_LINKS_NONE, &dir, &fi), MU_FOUND);
    snprintf(path, sizeof(path), "%s/outside/o.txt", site->root);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(mu_lookup_reopen(dir, &fd, &fi), MU_FOUND);
    assert_int_equal(read(fd, buf, sizeof(buf)), 1);
    assert_string_equal(buf, "o");
    close(fd);
    close(dir);
    assert_int_equal(mu_lookup_step(docs, "o.txt", MU_LINKS_NONE, &dir, &fi), MU_FOUND_LINK);
    close(docs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define OLD(f) { #f " without openat2", f, setup_old_kernel, teardown, NULL }
        T(test_follow),   T(test_none),   T(test_links_above_are_allowed),
        T(test_owner),    T(test_swap),   T(test_step_holds_what_it_saw),
        OLD(test_follow), OLD(test_none), OLD(test_links_above_are_allowed),
        OLD(test_owner),  OLD(test_swap),
    };

    return cmocka_run_group_tests_name("links", tests, NULL, NULL);
}
