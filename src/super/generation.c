/*
 * generation: what one configuration's children share, a scoreboard and the accept locks. The
 * present generation is the first of the list; older ones stay until their last child has ended,
 * over as many restarts as that takes. What they served is then added to the present board's base,
 * so totals never go back.
 */
#include "super/master.h"

#include <stdlib.h>

/* Places beyond the limit: children that leave keep theirs while their replacements serve. */
static uint32_t places_for(const struct mu_mpm_limits *l)
{
    uint32_t most = l->children_max > UINT32_MAX / 2 ? UINT32_MAX : l->children_max * 2;

    return most < l->server_limit ? l->server_limit : most;
}

struct mu_generation *mu_generation_create(struct mu_super *s, uint64_t number)
{
    struct mu_generation *g = calloc(1, sizeof(*g));
    uint32_t places = places_for(&s->limits);

    if (!g)
        return NULL;
    g->number = number;
    g->board = mu_scoreboard_create(places, s->limits.slots_per_child);
    g->taken = calloc(places, 1);
    if (s->settings->has_accept_lock)
        g->locks = mu_accept_locks_create(s->buckets);
    mu_list_init(&g->link);
    if (!g->board || !g->taken || (s->settings->has_accept_lock && !g->locks)) {
        mu_generation_destroy(s, g);
        return NULL;
    }
    mu_list_prepend(&s->generations, &g->link);
    return g;
}

void mu_generation_destroy(struct mu_super *s, struct mu_generation *g)
{
    if (!g)
        return;
    if (s->now == g)
        s->now = NULL;
    mu_list_remove(&g->link);
    mu_scoreboard_destroy(g->board);
    mu_accept_locks_destroy(g->locks);
    free(g->taken);
    free(g);
}

enum mu_rc mu_generation_adopt(struct mu_super *s, uint64_t number, struct mu_scoreboard *board,
                               struct mu_accept_locks *locks)
{
    struct mu_generation *g = calloc(1, sizeof(*g));

    if (g)
        g->taken = calloc(mu_scoreboard_children(board), 1);
    if (!g || !g->taken) {
        free(g);
        mu_scoreboard_destroy(board);
        mu_accept_locks_destroy(locks);
        return MU_NOMEM;
    }
    g->number = number;
    g->board = board;
    g->locks = locks;
    g->has_been_ready = true;
    mu_list_prepend(&s->generations, &g->link);
    return MU_OK;
}

uint64_t mu_generations_newest(struct mu_super *s)
{
    uint64_t newest = 0;

    MU_LIST_FOR(at, &s->generations) {
        const struct mu_generation *g = MU_CONTAINER_OF(at, struct mu_generation, link);

        if (g->number > newest)
            newest = g->number;
    }
    return newest;
}

struct mu_generation *mu_generation_find(struct mu_super *s, uint64_t number)
{
    MU_LIST_FOR(at, &s->generations) {
        struct mu_generation *g = MU_CONTAINER_OF(at, struct mu_generation, link);

        if (g->number == number)
            return g;
    }
    return NULL;
}

void mu_generations_sweep(struct mu_super *s)
{
    MU_LIST_FOR_SAFE(at, &s->generations) {
        struct mu_generation *g = MU_CONTAINER_OF(at, struct mu_generation, link);
        struct mu_score_totals base, sum;

        if (g == s->now || g->kids || !s->now || !s->is_up)
            continue;
        /* As in httpd, HUP (whose old children stop at once) begins to count anew. */
        if (g->asked != MU_STOP_NOW) {
            base = mu_scoreboard_base(s->now->board);
            sum = mu_scoreboard_sum(g->board);
            base.accesses += sum.accesses;
            base.bytes += sum.bytes;
            base.duration_us += sum.duration_us;
            mu_scoreboard_set_base(s->now->board, &base);
        }
        mu_generation_destroy(s, g);
    }
}

/* Whose locks are looked at, and who may hold them. */
struct holders {
    const struct mu_super *s;
    const struct mu_generation *g;
};

static bool is_holder(const void *arg, uint32_t pid)
{
    const struct holders *h = arg;

    for (size_t i = 0; i < h->s->kids_n; i++) {
        const struct mu_kid *k = &h->s->kids[i];

        if (k->generation == h->g && (uint32_t)k->pid == pid)
            return true;
    }
    return false;
}

void mu_generations_check_locks(struct mu_super *s)
{
    MU_LIST_FOR(at, &s->generations) {
        struct mu_generation *g = MU_CONTAINER_OF(at, struct mu_generation, link);
        struct holders h = { .s = s, .g = g };

        if (g->locks)
            mu_accept_locks_check(g->locks, is_holder, &h);
    }
}

void mu_generation_stop(struct mu_super *s, struct mu_generation *g, enum mu_stop how)
{
    int64_t now = mu_super_now();

    if (how > g->asked)
        g->asked = how;
    for (size_t i = 0; i < s->kids_n; i++) {
        if (s->kids[i].generation == g)
            mu_kid_ask(&s->kids[i], how, now);
    }
    if (g->locks)
        mu_accept_locks_wake(g->locks);
}
