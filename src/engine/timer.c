/*
 * timer: FIFO queues, one a duration. Timers of one duration fall due in the order they were armed,
 * so arming and cancelling are list operations and the next expiry is the earliest head of the few
 * queues in use. A duration is looked up in a small set-associative table; one that finds its set
 * taken goes to a coarse class that looks at it too early by at most a fifth, and is armed again
 * for what is left. So the number of queues is bounded whatever deadlines come.
 */
#include <engine/internal.h>

/** Longer spans fall due never in practice; also keeps the coarse classes within their table. */
#define SPAN_MAX ((int64_t)1 << 41)

static_assert(MU_TIMER_SETS == 16, "exact_class hashes to four bits");

static void class_init(struct mu_timer_class *c, int64_t span_ms)
{
    mu_list_init(&c->queue);
    mu_list_init(&c->active);
    c->span_ms = span_ms;
}

/** Four classes an octave: their spans are 4, 5, 6, 7, 8, 10, 12, 14, 16, 20 ... */
static struct mu_timer_class *coarse_class(struct mu_timers *ts, int64_t ms)
{
    unsigned octave;

    if (ms < 4)
        return &ts->coarse[ms];
    octave = 63 - (unsigned)__builtin_clzll((unsigned long long)ms) - 2;
    return &ts->coarse[octave * 4 + (unsigned)(ms >> octave)];
}

void mu_timers_init(struct mu_timers *ts)
{
    mu_list_init(&ts->active);
    ts->is_expiring = false;
    for (size_t i = 0; i < MU_TIMER_SETS; i++) {
        for (size_t k = 0; k < MU_TIMER_WAYS; k++)
            class_init(&ts->exact[i][k], -1);
    }
    for (size_t i = 0; i < MU_TIMER_COARSE; i++) {
        size_t octave = i < 8 ? 0 : i / 4 - 1;

        class_init(&ts->coarse[i], i < 8 ? (int64_t)i : (int64_t)(4 + i % 4) << octave);
    }
}

/** The queue of exactly this duration, an idle one taken over for it, or NULL. */
static struct mu_timer_class *exact_class(struct mu_timers *ts, int64_t ms)
{
    uint64_t hash = (uint64_t)ms * UINT64_C(0x9e3779b97f4a7c15);
    struct mu_timer_class *set = ts->exact[hash >> 60];
    struct mu_timer_class *idle = NULL;

    for (size_t k = 0; k < MU_TIMER_WAYS; k++) {
        if (set[k].span_ms == ms)
            return &set[k];
        if (mu_list_empty(&set[k].queue))
            idle = &set[k];
    }
    if (idle)
        idle->span_ms = ms;
    return idle;
}

static void enqueue(struct mu_timers *ts, struct mu_timer *t, int64_t now, int64_t ms)
{
    struct mu_timer_class *c = exact_class(ts, ms);

    if (!c)
        c = coarse_class(ts, ms);
    t->due_ms = now + c->span_ms;
    mu_list_append(&c->queue, &t->link);
    if (mu_list_empty(&c->active))
        mu_list_append(&ts->active, &c->active);
}

void mu_timers_arm(struct mu_timers *ts, struct mu_timer *t, int64_t now, int64_t ms)
{
    /* At least a millisecond while timers are being called: one that arms itself for 0 must not
     * spin there. */
    int64_t least = ts->is_expiring ? 1 : 0;

    ms = ms < least ? least : ms < SPAN_MAX ? ms : SPAN_MAX;
    if (t->link.next)
        mu_list_remove(&t->link);
    t->deadline_ms = now + ms;
    enqueue(ts, t, now, ms);
}

static struct mu_timer *head_of(const struct mu_timer_class *c)
{
    return MU_CONTAINER_OF(c->queue.next, struct mu_timer, link);
}

/**
 * The queue whose head is due first; *second_ms: when the next one's is. NULL: there are no timers.
 */
static struct mu_timer_class *earliest(struct mu_timers *ts, int64_t *second_ms)
{
    struct mu_timer_class *first = NULL;

    *second_ms = INT64_MAX;
    MU_LIST_FOR_SAFE(l, &ts->active) {
        struct mu_timer_class *c = MU_CONTAINER_OF(l, struct mu_timer_class, active);
        int64_t due_ms;

        if (mu_list_empty(&c->queue)) {
            mu_list_remove(l);
            continue;
        }
        due_ms = head_of(c)->due_ms;
        if (!first || due_ms < head_of(first)->due_ms) {
            if (first)
                *second_ms = head_of(first)->due_ms;
            first = c;
        } else if (due_ms < *second_ms) {
            *second_ms = due_ms;
        }
    }
    return first;
}

int64_t mu_timers_next(struct mu_timers *ts, int64_t now)
{
    int64_t second_ms;
    const struct mu_timer_class *c = earliest(ts, &second_ms);

    if (!c)
        return -1;
    return head_of(c)->due_ms > now ? head_of(c)->due_ms - now : 0;
}

/** Fire what is due in `c` before anything else is. */
static void expire_class(struct mu_timers *ts, struct mu_timer_class *c, int64_t until, int64_t now)
{
    while (!mu_list_empty(&c->queue)) {
        struct mu_timer *t = head_of(c);

        if (t->due_ms > until)
            break;
        mu_list_remove(&t->link);
        if (t->deadline_ms > now)
            enqueue(ts, t, now, t->deadline_ms - now);
        else
            t->fn(t);
    }
}

void mu_timers_expire(struct mu_timers *ts, int64_t now)
{
    struct mu_timer_class *c;
    int64_t second_ms;

    ts->is_expiring = true;
    while ((c = earliest(ts, &second_ms)) != NULL && head_of(c)->due_ms <= now)
        expire_class(ts, c, second_ms < now ? second_ms : now, now);
    ts->is_expiring = false;
}

void mu_timer_init(struct mu_timer *t, void (*fn)(struct mu_timer *t))
{
    mu_list_init(&t->link);
    t->deadline_ms = 0;
    t->due_ms = 0;
    t->fn = fn;
}

struct timer_call {
    struct mu_timer *t;
    int64_t ms;
};

static void arm_home(void *arg)
{
    const struct timer_call *c = arg;

    mu_timer_arm(c->t, c->ms);
}

static void cancel_home(void *arg)
{
    mu_timer_cancel(arg);
}

void mu_timer_arm(struct mu_timer *t, int64_t ms)
{
    if (MU_UNLIKELY(mu_tl.job != NULL)) {
        mu_call_home(arm_home, &(struct timer_call){ t, ms });
        return;
    }
    mu_timers_arm(&mu_tl.reactor->timers, t, mu_now_ms(), ms);
}

void mu_timer_cancel(struct mu_timer *t)
{
    if (MU_UNLIKELY(mu_tl.job != NULL))
        mu_call_home(cancel_home, t);
    else if (mu_timer_is_armed(t))
        mu_list_remove(&t->link);
}

int64_t mu_deadline(int64_t ms)
{
    int64_t now;

    if (ms < 0)
        return MU_NEVER;
    if (MU_UNLIKELY(mu_tl.job != NULL))
        mu_clock_tick(); /* a worker thread has no turns */
    now = mu_now_ms();
    return ms < MU_NEVER - now ? now + ms : MU_NEVER;
}
