/*
 * mod_scribble: a child that is out of its mind, for the tests. Its handler overwrites all shared
 * memory that the server gave it (scoreboard and accept locks, found by name in its own memory map)
 * with rubbish, and answers. With a number for a query, that number is written instead, to the
 * accept locks alone.
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

__attribute__((no_sanitize("thread"))) static size_t write_words(uint32_t word, uint32_t *from,
                                                                 uint32_t *to)
{
    for (uint32_t *p = from; p < to; p++)
        *p = word;
    return (size_t)(to - from) * sizeof(word);
}

static size_t harm(struct mu_str query, uintptr_t from, uintptr_t to)
{
    uint64_t word;

    if (mu_str_u64(query, &word))
        return write_words((uint32_t)word, (uint32_t *)from, (uint32_t *)to);
    return scribble((unsigned char *)from, (unsigned char *)to);
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
            strstr(line, r->query.n ? "memfd:muster-accept" : "memfd:muster-"))
            bytes += harm(r->query, (uintptr_t)from, (uintptr_t)to);
    }
    if (f)
        fclose(f);
    mu_resp_type(r, MU_S("text/plain"));
    return mu_resp_send(r, MU_200_OK, mu_fmt(r->arena, "%zu bytes\n", bytes));
}

MU_MODULE(scribble, .handlers = MU_HANDLERS({ "scribble", handler, MU_GET, false, false }));
