/* The time of the tests that link fake_clock.c. */
#ifndef FAKE_CLOCK_H
#define FAKE_CLOCK_H

#include <stdint.h>

extern int64_t fake_now_ms;

#endif
