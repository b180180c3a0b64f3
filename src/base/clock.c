/*
 * clock: one coarse reading a thread, refreshed by its reactor once a turn, so that timers, dates
 * and log lines of a turn cost a memory read each. A thread that never ticked gets its first
 * reading on demand.
 */
#include <muster/clock.h>
#include <muster/str.h>

#include <time.h>

struct reading {
    int64_t mono_ms; /* 0: never read */
    int64_t real_sec;
    int64_t date_sec; /* what `date` shows */
    char date[29];
};

static __thread struct reading now;

static int64_t read_us(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void mu_clock_tick(void)
{
    now.mono_ms = read_us(CLOCK_MONOTONIC) / 1000;
    now.real_sec = read_us(CLOCK_REALTIME_COARSE) / 1000000; /* some ms old, but cheap */
}

int64_t mu_now_ms(void)
{
    if (MU_UNLIKELY(now.mono_ms == 0))
        mu_clock_tick();
    return now.mono_ms;
}

int64_t mu_real_sec(void)
{
    if (MU_UNLIKELY(now.mono_ms == 0))
        mu_clock_tick();
    return now.real_sec;
}

int64_t mu_real_us(void)
{
    return read_us(CLOCK_REALTIME);
}

int64_t mu_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

struct mu_str mu_http_date_now(void)
{
    int64_t sec = mu_real_sec();

    if (MU_UNLIKELY(sec != now.date_sec)) {
        mu_http_date(sec, now.date);
        now.date_sec = sec;
    }
    return mu_str_n(now.date, sizeof(now.date));
}
