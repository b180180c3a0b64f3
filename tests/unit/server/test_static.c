/* The default handler: bodies, validators, ranges, methods, and the file cache's coherence. */
#include "req_fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t cached_entries(void)
{
    uint64_t entries, bytes, fds;

    mu_file_cache_usage(&entries, &bytes, &fds);
    return entries;
}

static uint64_t cached_bytes(void)
{
    uint64_t entries, bytes, fds;

    mu_file_cache_usage(&entries, &bytes, &fds);
    return bytes;
}

static void full(char out[512], const char *path)
{
    snprintf(out, 512, "%s/%s", site->root, path);
}

static void test_get(void **state)
{
    (void)state;
    site_file("htdocs/a.txt", "hello");
    site_load("");
    for (int i = 0; i < 3; i++) { /* loaded, then from memory */
        assert_body("GET /a.txt", "hello");
        assert_int_equal(site->a.status, 200);
        assert_true(site->a.is_ended);
        assert_int_equal(site->a.r->content_length, 5);
        assert_true(site->a.r->etag.n > 4 && site->a.r->etag.p[0] == '"');
        assert_true(site->a.r->last_modified > 0);
        assert_int_equal(site->a.r->content_type.n, 0);
        assert_string_equal(field("Accept-Ranges"), "bytes");
    }
    ask("HEAD /a.txt");
    assert_int_equal(site->a.r->content_length, 5);
    assert_int_equal(site->a.body_n, 0);
    assert_body("POST /a.txt", "hello");
}

static void test_missing(void **state)
{
    (void)state;
    site_file("htdocs/a.txt", "hello");
    site_file("htdocs/dir/x", "x");
    site_load("");
    assert_status("GET /none", 404);
    assert_status("GET /none/deep/er", 404);
    assert_status("GET /dir", 404);
    assert_status("GET /dir/", 404);
    assert_status("GET /a.txt/", 404);
    assert_status("GET /a.txt/more", 404);
    assert_status("GET /a%2ftxt", 404);
    assert_status("GET /a%00txt", 404);
    assert_status("GET /%zz", 400);
    assert_status("GET /../a.txt", 400);
    assert_status("GET /dir/../a.txt", 200);
    assert_status("GET //a.txt", 200);
}

static void test_path_info(void **state)
{
    (void)state;
    site_file("htdocs/a.txt", "hello");
    site_load("AcceptPathInfo On");
    assert_body("GET /a.txt/more/of%20it", "hello");
    assert_int_equal(site->a.r->path_info.n, 11);
    assert_memory_equal(site->a.r->path_info.p, "/more/of it", 11);
}

static void test_long_name(void **state)
{
    char request[400] = "GET /";

    (void)state;
    site_load("");
    memset(request + 5, 'a', 300);
    assert_status(request, 403); /* as httpd */
}

static void test_special_file(void **state)
{
    char path[512];

    (void)state;
    full(path, "htdocs/fifo");
    assert_int_equal(mkfifo(path, 0644), 0);
    site_load("");
    assert_status("GET /fifo", 403);
}

static void test_methods(void **state)
{
    (void)state;
    site_file("htdocs/a.txt", "hello");
    site_load("");
    assert_status("PUT /a.txt", 405);
    assert_string_equal(field("Allow"), "GET,POST,OPTIONS,HEAD,TRACE");
    assert_status("FOO /a.txt", 501);
    assert_status("OPTIONS /a.txt", 200);
    assert_string_equal(field("Allow"), "GET,POST,OPTIONS,HEAD,TRACE");
    assert_int_equal(site->a.body_n, 0);
    assert_status("OPTIONS *", 200);
    assert_status("GET *", 400);
    assert_status("TRACE /a.txt\nX-One: 1", 200);
    assert_has(text(), "TRACE /a.txt HTTP/1.1\r\nX-One: 1\r\n\r\n");
    site_load("TraceEnable off");
    assert_status("TRACE /a.txt", 405);
    assert_status("PUT /a.txt", 405);
    assert_string_equal(field("Allow"), "GET,POST,OPTIONS,HEAD");
    assert_status("GET /a.txt\nExpect: miracles", 417);
}

static void test_conditions(void **state)
{
    char request[256], etag[64];

    (void)state;
    site_file("htdocs/a.txt", "hello");
    site_load("");
    ask("GET /a.txt");
    snprintf(etag, sizeof(etag), "%.*s", MU_FMT(site->a.r->etag));
    snprintf(request, sizeof(request), "GET /a.txt\nIf-None-Match: %s", etag);
    assert_status(request, 304);
    assert_int_equal(site->a.body_n, 0);
    assert_status("GET /a.txt\nIf-None-Match: \"other\"", 200);
    assert_status("GET /a.txt\nIf-Match: \"other\"", 412);
    assert_status("POST /a.txt\nIf-None-Match: *", 412);
    assert_status("GET /a.txt\nIf-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT", 200);
    assert_status("GET /a.txt\nIf-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT", 412);
    /* RFC 9110 section 13.2.2: If-None-Match decides alone */
    snprintf(request, sizeof(request),
             "GET /a.txt\nIf-None-Match: \"x\"\nIf-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT");
    assert_status(request, 200);
}

static void test_ranges(void **state)
{
    (void)state;
    site_file("htdocs/a.txt", "0123456789");
    site_load("");
    assert_body("GET /a.txt\nRange: bytes=2-4", "234");
    assert_int_equal(site->a.status, 206);
    assert_string_equal(field("Content-Range"), "bytes 2-4/10");
    assert_body("GET /a.txt\nRange: bytes=-3", "789");
    assert_body("GET /a.txt\nRange: bytes=8-", "89");
    assert_status("GET /a.txt\nRange: bytes=10-", 416);
    assert_string_equal(field("Content-Range"), "bytes */10");
    assert_has(text(), "Requested Range Not Satisfiable");
    assert_body("GET /a.txt\nRange: items=2-4", "0123456789");
    assert_status("GET /a.txt\nRange: bytes=2-4\nIf-Range: \"other\"", 200);
    assert_status("HEAD /a.txt\nRange: bytes=2-4", 200);
    site_load("MaxRanges none");
    assert_status("GET /a.txt\nRange: bytes=2-4", 200);
    assert_string_equal(field("Accept-Ranges"), "none");
}

static void test_multipart(void **state)
{
    (void)state;
    site_file("htdocs/a.txt", "0123456789");
    site_load("<Files a.txt>\nForceType text/plain\n</Files>");
    assert_status("GET /a.txt\nRange: bytes=0-1,5-6", 206);
    assert_int_equal(site->a.r->content_length, (int64_t)site->a.body_n);
    assert_memory_equal(site->a.r->content_type.p, "multipart/byteranges; boundary=", 31);
    assert_has(text(), "Content-type: text/plain\r\nContent-range: bytes 0-1/10\r\n\r\n01\r\n--");
    assert_has(text(), "Content-range: bytes 5-6/10\r\n\r\n56\r\n--");
    assert_memory_equal(text() + site->a.body_n - 4, "--\r\n", 4);
}

static void test_large(void **state)
{
    char *big = malloc(66001);

    (void)state;
    assert_non_null(big);
    memset(big, 'x', 66000);
    big[66000] = '\0';
    memcpy(big + 65990, "the-end!!!", 10);
    site_file("htdocs/big", big);
    site_load("");
    for (int i = 0; i < 2; i++) {
        assert_status("GET /big", 200);
        assert_int_equal(site->a.body_n, 66000);
        assert_memory_equal(site->a.body, big, 66000);
    }
    assert_int_equal(cached_bytes(), 0); /* by descriptor */
    assert_int_equal(site->a.files, 1);
    assert_body("GET /big\nRange: bytes=-6", "end!!!");
    assert_int_equal(site->a.files, 1);
    site_load("EnableSendfile Off");
    assert_status("GET /big", 200);
    assert_int_equal(site->a.body_n, 66000);
    assert_memory_equal(site->a.body, big, 66000);
    assert_int_equal(site->a.files, 0);
    free(big);
}

/* Whatever is asked for. */
static void test_ranges_without_sendfile(void **state)
{
    char *big = malloc(70001);

    (void)state;
    assert_non_null(big);
    memset(big, 'x', 70000);
    big[70000] = '\0';
    memcpy(big, "begin", 5);
    memcpy(big + 69995, "ended", 5);
    site_file("htdocs/big", big);
    site_load("EnableSendfile Off");
    assert_status("GET /big\nRange: bytes=1-69998", 206);
    assert_int_equal(site->a.body_n, 69998);
    assert_memory_equal(site->a.body, big + 1, 69998);
    assert_int_equal(site->a.r->content_length, 69998);
    assert_int_equal(site->a.files, 0);
    assert_status("GET /big\nRange: bytes=0-4,-5", 206);
    assert_has(text(), "bytes 0-4/70000\r\n\r\nbegin\r\n");
    assert_has(text(), "bytes 69995-69999/70000\r\n\r\nended\r\n");
    assert_int_equal(site->a.r->content_length, (int64_t)site->a.body_n);
    assert_int_equal(site->a.files, 0);
    assert_true(site->a.is_ended);
    assert_status("HEAD /big", 200);
    assert_int_equal(site->a.r->content_length, 70000);
    free(big);
}

/* The table is as large as OpenFileCache asks for, and follows it. */
static void test_many_files(void **state)
{
    static const char *const limits[] = { "OpenFileCache 3000", "OpenFileCache 10",
                                          "OpenFileCache 3000" };
    char name[64], request[64];
    uint64_t entries, bytes, fds;

    (void)state;
    for (int i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof(name), "htdocs/f%d", i);
        site_file(name, name);
    }
    for (size_t k = 0; k < MU_ARRAY_LEN(limits); k++) {
        site_load(limits[k]);
        for (int i = 0; i < 600; i++) {
            (void)snprintf(request, sizeof(request), "GET /f%d", i % 300);
            (void)snprintf(name, sizeof(name), "htdocs/f%d", i % 300);
            assert_body(request, name);
        }
        mu_file_cache_usage(&entries, &bytes, &fds);
        assert_int_equal(entries, k == 1 ? 10 : 300);
    }
}

/* The same size, and the times put back: only ctime tells. */
static void test_change_in_place(void **state)
{
    (void)state;
    site_file("htdocs/a.txt", "first");
    site_load("");
    assert_body("GET /a.txt", "first");
    site_file("htdocs/a.txt", "other");
    assert_body("GET /a.txt", "other");
    site_file("htdocs/a.txt", "longer than before");
    assert_body("GET /a.txt", "longer than before");
    site_file("htdocs/a.txt", "");
    assert_body("GET /a.txt", "");
    assert_int_equal(site->a.r->content_length, 0);
}

static void test_young_file_is_not_kept(void **state)
{
    char path[512];

    (void)state;
    site_load("");
    full(path, "htdocs/a.txt");
    for (char c = 'a'; c <= 'z'; c++) { /* faster than the kernel's clock ticks */
        char content[2] = { c, 0 };
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, content, 1), 1);
        close(fd);
        assert_body("GET /a.txt", content);
    }
}

static void test_replaced_and_removed(void **state)
{
    char from[512], to[512];

    (void)state;
    site_file("htdocs/a.txt", "first");
    site_file("htdocs/b.txt", "other");
    site_load("");
    assert_body("GET /a.txt", "first");
    full(from, "htdocs/b.txt");
    full(to, "htdocs/a.txt");
    assert_int_equal(rename(from, to), 0);
    assert_body("GET /a.txt", "other");
    assert_int_equal(unlink(to), 0);
    assert_status("GET /a.txt", 404);
    assert_int_equal(mkdir(to, 0755), 0);
    assert_status("GET /a.txt", 404);
    assert_int_equal(rmdir(to), 0);
    site_file("htdocs/a.txt", "again");
    assert_body("GET /a.txt", "again");
}

static void test_bounds(void **state)
{
    char name[64], request[64];

    (void)state;
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "htdocs/f%d", i);
        site_file(name, "0123456789012345678901234567890123456789");
    }
    usleep(30 * 1000); /* ctime cannot be put back: let the files settle */
    site_load("OpenFileCache 8\nContentCacheSize 200");
    for (int i = 0; i < 60; i++) {
        snprintf(request, sizeof(request), "GET /f%d", i % 20);
        assert_body(request, "0123456789012345678901234567890123456789");
        assert_true(cached_entries() <= 8);
        assert_true(cached_bytes() <= 200);
    }
    assert_true(cached_bytes() > 0);
    site_load("OpenFileCache 0");
    assert_body("GET /f1", "0123456789012345678901234567890123456789");
    assert_body("GET /f1", "0123456789012345678901234567890123456789");
    mu_file_cache_configure(mu_core_of(site->config->main->base));
}

static void test_etag_kinds(void **state)
{
    (void)state;
    site_file("htdocs/a.txt", "hello");
    site_load("FileETag Size");
    ask("GET /a.txt");
    assert_memory_equal(site->a.r->etag.p, "\"5\"", 3);
    site_load("FileETag None");
    ask("GET /a.txt");
    assert_int_equal(site->a.r->etag.n, 0);
    site_load("FileETag All\n<Directory />\nFileETag -MTime -INode\n</Directory>");
    ask("GET /a.txt");
    assert_memory_equal(site->a.r->etag.p, "\"5\"", 3);
    site_load("FileETag None\n<Directory />\nFileETag +Size\n</Directory>");
    ask("GET /a.txt");
    assert_memory_equal(site->a.r->etag.p, "\"5\"", 3);
    site_load("FileETag +Size"); /* from nothing, not from the default: as httpd counts */
    ask("GET /a.txt");
    assert_memory_equal(site->a.r->etag.p, "\"5\"", 3);
    site_load("FileETag -MTime"); /* nothing is left of nothing: the default */
    ask("GET /a.txt");
    assert_memory_equal(site->a.r->etag.p, "\"5-", 3);
}

static void test_charset(void **state)
{
    (void)state;
    site_file("htdocs/a.txt", "hello");
    site_load("AddDefaultCharset utf-8\n<Files *.txt>\nForceType text/plain\n</Files>");
    ask("GET /a.txt");
    assert_memory_equal(site->a.r->content_type.p, "text/plain; charset=utf-8", 25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, site_setup, site_teardown)
        T(test_get),
        T(test_missing),
        T(test_path_info),
        T(test_long_name),
        T(test_special_file),
        T(test_methods),
        T(test_conditions),
        T(test_ranges),
        T(test_multipart),
        T(test_large),
        T(test_ranges_without_sendfile),
        T(test_many_files),
        T(test_change_in_place),
        T(test_young_file_is_not_kept),
        T(test_replaced_and_removed),
        T(test_bounds),
        T(test_etag_kinds),
        T(test_charset),
    };

    return cmocka_run_group_tests_name("static", tests, NULL, NULL);
}
