/*
 * mod_block: handlers for the tests that wait without the engine's knowledge. "block" holds the
 * thread it runs on, until the file that the query names is there, without one for a second, and
 * declares that it may; "pid" tells which process answers; "abort" ends the process by a signal.
 */
#include <muster/module.h>

#include <stdlib.h>
#include <unistd.h>

static enum mu_status answer(struct mu_req *r)
{
    mu_resp_type(r, MU_S("text/plain"));
    return mu_resp_send(r, MU_200_OK, mu_fmt(r->arena, "%d\n", (int)getpid()));
}

static void wait_for(const char *path)
{
    while (access(path, F_OK) != 0)
        usleep(10000);
}

static enum mu_status block(struct mu_req *r, const void *conf)
{
    (void)conf;
    if (r->query.n)
        wait_for(mu_cstr(r->arena, r->query));
    else
        sleep(1);
    return answer(r);
}

static enum mu_status pid(struct mu_req *r, const void *conf)
{
    (void)conf;
    return answer(r);
}

static enum mu_status die(struct mu_req *r, const void *conf)
{
    (void)r;
    (void)conf;
    abort();
}

MU_MODULE(block, .handlers = MU_HANDLERS({ "block", block, MU_GET, true, false },
                                         { "pid", pid, MU_GET, false, false },
                                         { "abort", die, MU_GET, false, false }));
