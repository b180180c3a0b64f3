/* Several threads answer from one configuration: merged configurations, hook arrays and the file
 * cache's sums are shared while they are made. For ThreadSanitizer above all. */
#include "probe.h"
#include "req_fixture.h"

#include <muster/clock.h>
#include <muster/str.h>
#include <pthread.h>
#include <stdlib.h>

enum { THREADS = 4, ROUNDS = 200, FILES = 12 };

/** An exchange whose body goes into a buffer of its own. */
struct one {
    struct mu_exchange x;
    char body[64];
    size_t n;
};

static enum mu_rc one_write(struct mu_exchange *x, const struct mu_chunk *chunks, size_t n,
                            bool is_last)
{
    struct one *o = MU_CONTAINER_OF(x, struct one, x);

    x->is_head_sent = true;
    for (size_t i = 0; i < n; i++) {
        if (chunks[i].kind == MU_CHUNK_MEM && o->n + chunks[i].mem.n <= sizeof(o->body)) {
            memcpy(o->body + o->n, chunks[i].mem.p, chunks[i].mem.n);
            o->n += chunks[i].mem.n;
        }
    }
    x->is_ended = x->is_ended || is_last;
    return MU_OK;
}

static bool ask_one(unsigned file)
{
    static const struct mu_exchange_ops ops = { .write = one_write };
    struct mu_arena *a = mu_arena_create(0);
    struct one *o = mu_new(a, struct one);
    struct mu_req *r = &o->x.req;
    struct mu_str expected = mu_fmt(a, "content %u", file);
    bool is_right;

    o->x.ops = &ops;
    r->arena = a;
    r->peer = &o->x.peer;
    r->vhost = site->config->main;
    r->conf = r->vhost->base;
    r->status = MU_200_OK;
    r->content_length = r->last_modified = -1;
    r->version = 1001;
    r->time_us = mu_real_us();
    r->method = MU_M_GET;
    r->method_name = MU_S("GET");
    o->x.raw_path = mu_fmt(a, "/d%u/f", file);
    mu_process_exchange(&o->x);
    mu_log_exchange(&o->x);
    is_right =
        r->status == MU_200_OK && o->x.is_ended && mu_str_eq(mu_str_n(o->body, o->n), expected);
    mu_arena_destroy(a);
    return is_right;
}

static void *run(void *arg)
{
    uintptr_t wrong = 0;

    for (unsigned i = 0; i < ROUNDS; i++)
        wrong += !ask_one((i + (unsigned)(uintptr_t)arg) % FILES);
    return (void *)wrong;
}

static void test_shared_configuration(void **state)
{
    pthread_t threads[THREADS];
    uint64_t entries, bytes, fds;

    (void)state;
    for (unsigned i = 0; i < FILES; i++) {
        char path[64], content[64];

        snprintf(path, sizeof(path), "htdocs/d%u/f", i);
        snprintf(content, sizeof(content), "content %u", i);
        site_file(path, content);
    }
    site_load(
        "OpenFileCache 20\nContentCacheSize 100\n"
        "<Directory @/htdocs/*>\nOptions Indexes FollowSymLinks\n<Files f>\nOptions +ExecCGI\n</Files>\n"
        "</Directory>\n<LocationMatch \"/d[0-5]/\">\nForceType text/plain\n</LocationMatch>");
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run, (void *)i), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *wrong;

        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
    mu_file_cache_usage(&entries, &bytes, &fds);
    assert_int_equal(entries, 0); /* threads that ended took theirs along */
    assert_int_equal(bytes, 0);
    assert_int_equal(fds, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shared_configuration, site_setup, site_teardown),
    };

    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
