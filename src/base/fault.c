/*
 * fault: the switch behind mu_alloc_fail_after. It is compiled into every build, because a test
 * that needs a special build is a test that is not run; the price is one branch where the heap is
 * asked for memory, never in the arena's fast path.
 */
#include "base/fault.h"

__thread int64_t mu_alloc_countdown = -1;

void mu_alloc_fail_after(int64_t n)
{
    mu_alloc_countdown = n;
}
