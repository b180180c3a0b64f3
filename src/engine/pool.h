/* The worker threads, as offload sees them: hand a job over, pass the turn back and forth. */
#ifndef MU_ENGINE_POOL_H
#define MU_ENGINE_POOL_H

#include <engine/internal.h>

/** Give the job to an idle worker (the one that slept least long), or queue it. Any thread. */
void mu_pool_submit(struct mu_worker_pool *p, struct mu_job *j);
/** On the fiber's side: the sleeping worker of `j` has the turn. */
void mu_pool_wake_worker(struct mu_job *j);
/** On the worker's side: sleep until the fiber has passed the turn. */
void mu_pool_sleep_worker(struct mu_job *j);

#endif
