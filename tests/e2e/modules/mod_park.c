/*
 * mod_park: handlers for the load tests. "park" waits until somebody asks for "release" (or the
 * client leaves), "parked" tells how many wait, "stream" sends query-many KiB in small writes. All
 * of them know only the requests of their own thread, so tests that count use one listener of
 * event.
 */
#include <muster/list.h>
#include <muster/module.h>
#include <muster/wait.h>

struct parked {
    struct mu_wake wake;
    struct mu_list link;
};

static _Thread_local struct {
    struct mu_list all;
    uint64_t n;
} here;

static enum mu_status say(struct mu_req *r, uint64_t n)
{
    mu_resp_type(r, MU_S("text/plain"));
    return mu_resp_send(r, MU_200_OK, mu_fmt(r->arena, "%llu\n", (unsigned long long)n));
}

static enum mu_status park(struct mu_req *r, const void *conf)
{
    struct parked me;
    struct mu_wait_item it = { .wake = &me.wake };
    enum mu_rc rc;

    (void)conf;
    if (!here.all.next)
        mu_list_init(&here.all);
    mu_wake_init(&me.wake);
    mu_list_append(&here.all, &me.link);
    here.n++;
    rc = mu_wait(&it, 1, MU_NEVER);
    mu_list_remove(&me.link);
    here.n--;
    return rc == MU_OK ? say(r, 1) : MU_503_SERVICE_UNAVAILABLE;
}

static enum mu_status release(struct mu_req *r, const void *conf)
{
    uint64_t n = here.n;

    (void)conf;
    if (here.all.next) {
        MU_LIST_FOR(l, &here.all)
            mu_wake_raise(&MU_CONTAINER_OF(l, struct parked, link)->wake);
    }
    return say(r, n);
}

static enum mu_status parked(struct mu_req *r, const void *conf)
{
    (void)conf;
    return say(r, here.n);
}

static enum mu_status stream(struct mu_req *r, const void *conf)
{
    uint64_t kib = 0;
    char piece[1024];

    (void)conf;
    (void)mu_str_u64(r->query, &kib);
    mu_resp_type(r, MU_S("text/plain"));
    for (uint64_t i = 0; i < kib; i++) {
        memset(piece, 'a' + (int)(i % 26), sizeof(piece));
        if (mu_resp_write(r, (struct mu_str){ piece, sizeof(piece) }) != MU_OK)
            break;
    }
    return MU_200_OK;
}

MU_MODULE(park, .handlers = MU_HANDLERS({ "park", park, MU_GET, false, false },
                                        { "release", release, MU_GET, false, false },
                                        { "parked", parked, MU_GET, false, false },
                                        { "stream", stream, MU_GET, false, false }));
