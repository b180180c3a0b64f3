/*
 * mod_scribble: a child that is out of its mind, for the tests. Its handler overwrites all shared
 * memory that the server gave it (scoreboard and accept locks, found by name in its own memory map)
 * with rubbish, and answers.
 */
#include <muster/module.h>

#include <stdio.h>
#include <stdlib.h>

/* Races with everybody, which is its purpose: a thread sanitizer need not know. */
__attribute__((no_sanitize("thread"))) static size_t scribble(unsigned char *from,
                                                              unsigned char *to)
{
    for (unsigned char *p = from; p < to; p++)
        *p = (unsigned char)random();
    return (size_t)(to - from);
}

static enum mu_status handler(struct mu_req *r, const void *conf)
{
    FILE *f = fopen("/proc/self/maps", "re");
    size_t bytes = 0;
    char line[512];

    (void)conf;
    while (f && fgets(line, sizeof(line), f)) {
        unsigned long long from, to;
        char may[5];

        if (sscanf(line, "%llx-%llx %4s", &from, &to, may) == 3 && may[1] == 'w' &&
            strstr(line, "memfd:muster-"))
            bytes += scribble((unsigned char *)(uintptr_t)from, (unsigned char *)(uintptr_t)to);
    }
    if (f)
        fclose(f);
    mu_resp_type(r, MU_S("text/plain"));
    return mu_resp_send(r, MU_200_OK, mu_fmt(r->arena, "%zu bytes\n", bytes));
}

MU_MODULE(scribble, .handlers = MU_HANDLERS({ "scribble", handler, MU_GET, false, false }));
