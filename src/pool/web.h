/* The web children's side of a pool. */
#ifndef MU_POOL_WEB_H
#define MU_POOL_WEB_H

#include <muster/module.h>
#include <pool/board.h>

struct mu_pool;

extern const struct mu_handler mu_pool_handlers[];
extern const struct mu_status_provider mu_pool_status;

/** A process of the pool for r, and a connection to it. */
struct mu_held {
    struct mu_pool *pool;
    struct mu_claim claim;
    int64_t waited_ms; /**< in the queue, in all attempts together */
};

/**
 * Take a process of h->pool for r, waiting in the queue as long as the pool allows (h->waited_ms
 * counts). *status is what to answer when there is none (logged; Retry-After is set).
 * Returns: MU_OK; MU_GONE: the client left, and nothing was begun; MU_LIMIT, MU_TIMEOUT: see
 *          *status.
 * Context: fiber; may suspend.
 */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_pool_take(struct mu_held *h, struct mu_req *r,
                                                    enum mu_status *status);
/** Resident bytes of a process; 0 when the kernel does not show it. */
int64_t mu_pool_memory_of(uint32_t pid);
/** Give it back: MU_SLOT_IDLE after an answer in order, MU_SLOT_DOUBT else. */
void mu_pool_give_back(const struct mu_held *h, enum mu_slot_state to);

#endif
