/* Time: a coarse clock each reactor turn refreshes, and exact readings where they are worth a
 * call. */
#ifndef MUSTER_CLOCK_H
#define MUSTER_CLOCK_H

#include <muster/types.h>

/**
 * Monotonic milliseconds, from the calling thread's cached reading (refreshed by mu_clock_tick).
 */
int64_t mu_now_ms(void);
/** Wall clock in microseconds since the epoch, exact (vDSO). */
int64_t mu_real_us(void);
/** Wall clock seconds since the epoch from the cached reading. */
int64_t mu_real_sec(void);
/** Monotonic microseconds, exact. */
int64_t mu_mono_us(void);
/** Refresh the calling thread's cached reading; the reactor calls it once a turn. */
void mu_clock_tick(void);
/**
 * The current IMF-fixdate (29 bytes, RFC 9110 section 5.6.7), cached per second and thread.
 * Owns: static storage of the thread; valid until the next call.
 */
struct mu_str mu_http_date_now(void);
/** Format `sec` as IMF-fixdate into buf (29 bytes, not NUL-terminated). */
void mu_http_date(int64_t sec, char buf[29]);
/** Parse any of the three HTTP-date forms. Returns false when it is none. */
bool mu_http_date_parse(struct mu_str s, int64_t *sec);

#endif
