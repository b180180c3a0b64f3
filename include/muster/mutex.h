/* A mutex that is counted, so that the engine can assert that none is held across a suspension. */
#ifndef MUSTER_MUTEX_H
#define MUSTER_MUTEX_H

#include <muster/types.h>
#include <pthread.h>

struct mu_mutex {
    pthread_mutex_t m;
};

#define MU_MUTEX_INIT                                                                              \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER                                                                  \
    }

/** Lock; held for a few instructions, never across anything that carries MU_MAY_SUSPEND. */
void mu_mutex_lock(struct mu_mutex *m);
/** Unlock, by the thread that locked. */
void mu_mutex_unlock(struct mu_mutex *m);
/** Assert that the calling thread holds no mu_mutex. The engine does so whenever a fiber parks. */
void mu_assert_no_locks(void);

#endif
