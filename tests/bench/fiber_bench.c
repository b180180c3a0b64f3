/* fiber_bench: nanoseconds of what the engine does most: starting a fiber, switching, yielding,
 * timers, a wake-up. */
#include <engine/internal.h>

#include <muster/clock.h>
#include <stdio.h>

enum { ROUNDS = 5 * 1000 * 1000 };

static bool is_over;
static struct mu_timer timer;

static void report(const char *what, int64_t since_us, long n)
{
    printf("%-44s %7.1f ns\n", what, (double)(mu_mono_us() - since_us) * 1000.0 / (double)n);
}

static void nothing(void *arg)
{
    (void)arg;
}

static void parks(void *arg)
{
    while (!is_over)
        mu_fiber_park(arg ? arg : mu_fiber_self());
}

static void yields(void *arg)
{
    (void)arg;
    while (!is_over)
        (void)mu_yield();
}

static void on_timer(struct mu_timer *t)
{
    (void)t;
}

static void bench_start(struct mu_reactor *r)
{
    int64_t t = mu_mono_us();

    for (long i = 0; i < ROUNDS; i++) {
        if (mu_fiber_run(r, nothing, NULL) != MU_OK)
            return;
    }
    report("start a fiber and come back", t, ROUNDS);
}

static void bench_switch(struct mu_reactor *r)
{
    struct mu_fiber *f;
    int64_t t;

    is_over = false;
    if (mu_fiber_run(r, parks, NULL) != MU_OK)
        return;
    f = MU_CONTAINER_OF(r->fibers.next, struct mu_fiber, all);
    t = mu_mono_us();
    for (long i = 0; i < ROUNDS; i++) {
        f->state = MU_FIBER_RUNNABLE;
        mu_fiber_resume(f);
    }
    report("resume and park (a round trip)", t, ROUNDS);
    is_over = true;
    f->state = MU_FIBER_RUNNABLE;
    mu_fiber_resume(f);
}

/** With 1,000 fibers in line the turn itself (one epoll_wait) hardly counts. */
static void bench_yield(struct mu_reactor *r)
{
    int64_t t;

    is_over = false;
    for (int i = 0; i < 1000; i++) {
        if (mu_fiber_run(r, yields, NULL) != MU_OK)
            return;
    }
    t = mu_mono_us();
    for (long i = 0; i < ROUNDS / 1000; i++)
        mu_reactor_turn(r, 0);
    report("yield, 1,000 fibers", t, ROUNDS);
    is_over = true;
    mu_reactor_turn(r, 0);
}

static void bench_turn(struct mu_reactor *r)
{
    int64_t t = mu_mono_us();

    for (long i = 0; i < ROUNDS / 10; i++)
        mu_reactor_turn(r, 0);
    report("an empty turn (one epoll_wait)", t, ROUNDS / 10);
}

static void bench_timer(struct mu_reactor *r)
{
    int64_t t = mu_mono_us();

    (void)r;
    mu_timer_init(&timer, on_timer);
    for (long i = 0; i < ROUNDS; i++)
        mu_timer_arm(&timer, 5000);
    mu_timer_cancel(&timer);
    report("arm a timer again", t, ROUNDS);
}

int main(void)
{
    struct mu_reactor *r = mu_reactor_create(&(struct mu_reactor_opts){ .is_alone = true });

    if (!r)
        return 1;
    bench_start(r);
    bench_switch(r);
    bench_yield(r);
    bench_turn(r);
    bench_timer(r);
    mu_reactor_destroy(r);
    return 0;
}
