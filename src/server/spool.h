/* A temporary file that holds what a slow client has not taken, or what a slow client sends. */
#ifndef MU_SERVER_SPOOL_H
#define MU_SERVER_SPOOL_H

#include <muster/arena.h>

/** Zero-initialised is empty but for fd, which mu_spool_init sets. */
struct mu_spool {
    struct mu_arena *arena; /**< closes the file when it goes */
    int fd;                 /**< -1: no file yet */
    uint64_t len;
    uint64_t freed;   /**< bytes at the front whose room was given back */
    bool cannot_free; /**< the file system has no holes: only mu_spool_clear gives room back */
};

/** Room is given back in pieces of this, so that it costs little. */
#define MU_SPOOL_STEP (UINT64_C(8) << 20)

/** An empty spool; the file is made when the first byte is written and has no name. */
void mu_spool_init(struct mu_spool *s, struct mu_arena *a);
/**
 * Write behind the end; `data` begins at *off.
 * Returns: MU_OK; MU_EIO (errno; no file could be made, the disk is full); MU_NOMEM.
 * Context: may block on the disk: a worker thread, or offloaded.
 */
MU_NODISCARD enum mu_rc mu_spool_append(struct mu_spool *s, struct mu_str data, uint64_t *off);
/**
 * What lies before `off` was used and is not needed any more: its room is given back, a step at a
 * time. Bytes that are on their way by sendfile(2) stay what they are.
 * Context: may block on the disk, as mu_spool_clear may.
 */
void mu_spool_free(struct mu_spool *s, uint64_t off);
/** Nothing in it is needed any more: begin anew, when that gives back a step or more. */
void mu_spool_clear(struct mu_spool *s);

#endif
