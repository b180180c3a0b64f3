/*
 * pools: the table, and how it follows the configuration. A pool is known by its name for as long
 * as anything of it runs: over restarts, and after it has left the configuration. Its queue is the
 * same all the time, so requests that old web children have taken and those of new ones wait in one
 * order; what a configuration changes is what processes are made of (then they are replaced) or how
 * many there are (then they are not).
 */
#include "pool/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <muster/str.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct mu_keeper mu_keeper = { .pools = { &mu_keeper.pools, &mu_keeper.pools },
                               .dir_fd = -1,
                               .poke_fd = -1,
                               .poker_fd = -1,
                               .single_fd = -1 };

struct mu_pool *mu_pool_find(struct mu_str name)
{
    MU_POOL_FOR(p)
    {
        if (mu_str_ieq(mu_str_c(p->name), name))
            return p;
    }
    return NULL;
}

struct mu_pool *mu_pool_create(struct mu_str name, int board_fd)
{
    struct mu_pool *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->board_fd = board_fd;
    p->board = board_fd >= 0 ? mu_board_adopt(board_fd) : mu_board_create(&p->board_fd);
    if (!p->board) {
        free(p);
        return NULL;
    }
    snprintf(p->name, sizeof(p->name), "%.*s", MU_FMT(name));
    mu_list_init(&p->procs);
    mu_list_append(&mu_keeper.pools, &p->link);
    return p;
}

void mu_pool_destroy(struct mu_pool *p)
{
    mu_list_remove(&p->link);
    mu_board_unmap(p->board);
    if (p->board_fd >= 0)
        close(p->board_fd);
    free(p->definition);
    free(p->crashes);
    free(p);
}

struct mu_proc *mu_proc_create(struct mu_pool *p, uint32_t slot, uint64_t serial)
{
    struct mu_proc *x = calloc(1, sizeof(*x));

    if (!x)
        return NULL;
    x->pool = p;
    x->slot = slot;
    x->serial = serial;
    x->listen_fd = x->log_fd = x->probe_fd = -1;
    mu_list_append(&p->procs, &x->link);
    p->procs_n++;
    return x;
}

void mu_proc_destroy(struct mu_proc *x)
{
    const int fds[] = { x->listen_fd, x->log_fd, x->probe_fd };
    char name[64];

    mu_proc_socket_name(name, sizeof(name), x->pool->name, x->slot, x->serial);
    (void)unlinkat(mu_keeper.dir_fd, name, 0);
    for (size_t i = 0; i < MU_ARRAY_LEN(fds); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    mu_list_remove(&x->link);
    x->pool->procs_n--;
    free(x);
}

/* The present configuration of a pool. False: out of memory. */
static bool adapt(struct mu_pool *p, const struct mu_pool_conf *c)
{
    int64_t *crashes = NULL;

    if (c->emergency_threshold &&
        !(crashes = calloc((size_t)c->emergency_threshold, sizeof(*crashes))))
        return false;
    free(p->crashes);
    p->crashes = crashes;
    p->crashes_n = 0;
    p->conf = c;
    mu_pool_open_slow_log(p);
    if (p->is_draining) { /* it came back before all of it had gone */
        p->is_draining = p->is_stopped = false;
        p->ready_epoch = ++p->epoch;
        p->wanted = mu_pool_first(p);
        atomic_store(&p->board->is_closed, 0);
    } else if (!p->definition) {
        p->epoch = p->ready_epoch = 1;
        p->wanted = mu_pool_first(p);
    }
    return true;
}

/* Its processes: started, replaced, or left as they are. */
static void renew(struct mu_pool *p, int64_t now_ms)
{
    struct mu_str wanted = p->conf->definition;
    bool is_same = p->definition && mu_str_eq(mu_str_c(p->definition), wanted);
    char *copy = is_same ? NULL : strndup(wanted.p, wanted.n);
    bool is_first = !p->definition;

    if (copy) { /* without memory for it, the next restart sees another definition: no harm */
        free(p->definition);
        p->definition = copy;
    }
    if (!is_same && !is_first)
        mu_pool_reload(p, now_ms);
    else
        mu_pool_manage(p, now_ms, false);
}

enum mu_rc mu_pools_configure(struct mu_config *config)
{
    const struct mu_pools_conf *all = mu_pools_conf_of(config);

    MU_POOL_FOR(p)
    p->conf = NULL;
    for (size_t i = 0; i < all->n; i++) {
        struct mu_pool *p = mu_pool_find(all->v[i]->name);

        if (!p)
            p = mu_pool_create(all->v[i]->name, -1);
        if (!p || !adapt(p, all->v[i]))
            return mu_config_error(config, "ApplicationPool %.*s cannot be made: %s",
                                   MU_FMT(all->v[i]->name), strerror(errno));
    }
    return MU_OK;
}

void mu_pools_renew(int64_t now_ms)
{
    MU_POOL_FOR(p)
    {
        if (p->conf)
            renew(p, now_ms);
    }
}

void mu_pools_forget(void)
{
    MU_POOL_FOR(p)
    {
        MU_PROC_FOR(x, p)
        free(x);
        mu_board_unmap(p->board);
        free(p->definition);
        free(p->crashes);
        free(p);
    }
    mu_list_init(&mu_keeper.pools);
}
