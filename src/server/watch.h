/* Watching the files behind the cache, so that a hit under prefork and worker costs no stat. */
#ifndef MU_SERVER_WATCH_H
#define MU_SERVER_WATCH_H

#include <muster/request.h>

/**
 * Open the watch of this generation, before its children are forked; without one every hit is
 * stat'ed.
 */
void mu_watch_open(void);
/** Close it (a configuration for an MPM that has no use for it). */
void mu_watch_close(void);

/**
 * Did anything watched change? Costs one system call.
 * Returns: a number that stays the same as long as nothing did; 0 when there is no watch, or
 * another child takes its events in this very moment.
 * Context: any thread of any child; never suspends.
 */
uint64_t mu_watch_generation(void);
/**
 * Watch a regular file and every directory of its absolute path. Call it first, stat the file
 * second: what changes after that stat changes the generation.
 * Returns: false when the path cannot be trusted to it: a link on the way, a file system whose
 *          changes the kernel does not see, no permission, no watch left.
 */
bool mu_watch_path(struct mu_str filename);

#endif
