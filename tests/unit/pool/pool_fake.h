/* A pool of the keeper's own table without a server: processes that are rows, or children that only
 * wait for their end. Time is what the test says. */
#ifndef POOL_FAKE_H
#define POOL_FAKE_H

#include "pool_test.h"

#include <muster/str.h>
#include <pool/keeper.h>
#include <signal.h>
#include <sys/wait.h>

static struct mu_pool_conf fake_conf;

static inline struct mu_pool *fake_pool(const char *name)
{
    struct mu_pool *p = mu_pool_create(mu_str_c(name), -1);

    assert_non_null(p);
    fake_conf = (struct mu_pool_conf){ .name = MU_S("t"),
                                       .max_children = 4,
                                       .max_spare = 2,
                                       .min_spare = 1,
                                       .start_servers = 1,
                                       .spawn_rate = 32,
                                       .idle_timeout_ms = 1000,
                                       .start_timeout_ms = 30000,
                                       .stop_timeout_ms = 5000 };
    p->conf = &fake_conf;
    p->epoch = p->ready_epoch = 1;
    return p;
}

static inline struct mu_proc *fake_proc(struct mu_pool *p, enum mu_proc_state state,
                                        enum mu_slot_state slot)
{
    struct mu_proc *x = mu_proc_create(p, p->procs_n, ++p->next_serial);

    assert_non_null(x);
    x->state = state;
    x->epoch = p->epoch;
    mu_board_set(p->board, x->slot, slot);
    return x;
}

/* A child in a group of its own that does nothing. */
static inline void fake_run(struct mu_proc *x)
{
    x->pid = fork();
    assert_true(x->pid >= 0);
    if (x->pid == 0) {
        for (;;)
            pause();
    }
    (void)setpgid(x->pid, x->pid);
}

/* The signal that x ended by; waits for it. */
static inline int fake_end_of(const struct mu_proc *x)
{
    int status = 0;

    assert_int_equal(waitpid(x->pid, &status, 0), x->pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static inline void fake_pool_end(struct mu_pool *p)
{
    MU_PROC_FOR(x, p)
    mu_proc_destroy(x);
    mu_pool_destroy(p);
}

#endif
