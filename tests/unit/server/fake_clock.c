/* fake_clock: stands in for base's clock, so that a test says how late it is instead of waiting for
 * it. */
#include <muster/clock.h>

#include "fake_clock.h"

int64_t fake_now_ms = 1000000;

void mu_clock_tick(void)
{
}

int64_t mu_now_ms(void)
{
    return fake_now_ms;
}

int64_t mu_mono_us(void)
{
    return fake_now_ms * 1000;
}

int64_t mu_real_us(void)
{
    return INT64_C(784111777000000) + fake_now_ms * 1000;
}

int64_t mu_real_sec(void)
{
    return mu_real_us() / 1000000;
}

struct mu_str mu_http_date_now(void)
{
    return MU_S("Sun, 06 Nov 1994 08:49:37 GMT");
}
