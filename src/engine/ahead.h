/* Waiting in a read: what the single-connection poller asks of ahead.c. */
#ifndef MU_ENGINE_AHEAD_H
#define MU_ENGINE_AHEAD_H

#include <engine/internal.h>

/** The wait took `ms`; `has_hits`: it ended because something happened. */
void mu_ahead_note(struct mu_ahead *a, int64_t ms, bool has_hits);
/** One connection is waited for: may that be done in its read? */
bool mu_ahead_may_wait(struct mu_reactor *r, int timeout_ms);
/** Wait in the read, for a bounded time, and hand out the event. */
void mu_ahead_wait(struct mu_reactor *r);
/** io leaves the poller; one that is not closed becomes non-blocking again. */
void mu_ahead_forget(struct mu_ahead *a, const struct mu_io *io, bool is_closing);

#endif
