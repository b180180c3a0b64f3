/* Bells: what wakes those who wait for a process. Several may listen to one, in any process. */
#ifndef MU_POOL_BELL_H
#define MU_POOL_BELL_H

/**
 * Listen to the bell `hears`. Returns: a descriptor of the caller's own that is readable once for any
 * rings since it was last heard (mu_bell_hear), -1 with errno; close(2) ends it.
 */
int mu_bell_listen(int hears);
/** `listener` was readable: it no longer is. Before the look at what the ring was about. `rings`: the
 * other end of the bell. */
void mu_bell_hear(int listener, int hears, int rings);
/** Ring. Never waits. */
void mu_bell_ring(int rings);

#endif
