/*
 * fiber: small stacks that run sequential code. A fiber belongs to one reactor and never changes
 * thread; its struct lies at the top of its own stack. When its function has returned the stack
 * stays prepared at the head of a loop, so that starting the next function is a list removal and a
 * switch: no system call, no zeroing, no allocation. A parked fiber is never freed: it is made
 * runnable, told MU_GONE, and returns.
 */
#include <engine/sanitize.h>
#include <engine/switch.h>
#include <muster/mutex.h>

#include <stdlib.h>

enum {
    KEEP_BYTES = 16 * 1024, /* of a finished fiber's stack; what lies deeper is given back */
    KEEP_BIG_BYTES = 256 * 1024,
    KEEP_DEEP =
        4, /* stacks that may stay deep, so that a busy deep handler is not trimmed each time */
    KEEP_FREE = 512, /* stacks on the free list */
    KEEP_BIG = 4,
    COLOURS = 8, /* tops start at different cache lines: stacks are a fixed stride apart */
    COLOUR_BYTES = 320,
    CALLS_PER_SLICE = 64,
    BYTES_PER_SLICE = 1024 * 1024,
};

_Thread_local struct mu_thread mu_tl;
static void (*park_hook)(struct mu_fiber *f);

void mu_fiber_on_park(void (*hook)(struct mu_fiber *f))
{
    park_hook = hook;
}

/**
 * Leave the running fiber for whoever resumed it. Its own frame outlives the fake stack, so it has
 * none there.
 */
MU_NO_ASAN static void leave(struct mu_fiber *f, bool is_last)
{
    mu_san_leave(&f->ctx, f->back, is_last);
    mu_ctx_switch(&f->ctx.sp, f->back->sp);
    mu_san_arrive(&f->ctx, f->back);
}

MU_NO_ASAN static void fiber_main(void *arg)
{
    struct mu_fiber *f = arg;

    f->ctx.fake = NULL;
    mu_san_arrive(&f->ctx, f->back);
    for (;;) {
        f->fn(f->arg);
        f->state = MU_FIBER_DONE;
        leave(f, true);
    }
}

static void on_timeout(struct mu_timer *t)
{
    struct mu_fiber *f = MU_CONTAINER_OF(t, struct mu_fiber, timer);

    f->is_timed_out = true;
    mu_fiber_make_runnable(f);
}

static struct mu_fiber *fiber_create(struct mu_reactor *r)
{
    struct mu_stack s = { 0 };
    struct mu_fiber *f;
    uintptr_t top;

    if (!mu_stack_map(&s, r->stack_size))
        return NULL;
    top = (uintptr_t)s.base + s.size - sizeof(*f);
    top -= (size_t)(r->colour++ % COLOURS) * COLOUR_BYTES;
    f = (struct mu_fiber *)(top & ~(uintptr_t)63);
    mu_stack_set_mark(&s, (char *)f, KEEP_BYTES);
    *f = (struct mu_fiber){ .reactor = r, .stack = s };
    f->ctx.bottom = s.base;
    f->ctx.size = (size_t)((char *)f - s.base);
    mu_san_ctx_init(&f->ctx, false);
    f->ctx.sp = mu_ctx_prepare(f, fiber_main, f);
    mu_list_init(&f->link);
    mu_list_init(&f->all);
    mu_timer_init(&f->timer, on_timeout);
    return f;
}

static void fiber_destroy(struct mu_fiber *f)
{
    mu_san_ctx_fini(&f->ctx);
    mu_stack_unmap(&f->stack);
}

/** A fiber ended: keep its stack, shallow, or let it go. */
static void fiber_recycle(struct mu_fiber *f)
{
    struct mu_reactor *r = f->reactor;

    f->state = MU_FIBER_IDLE;
    mu_list_remove(&f->all);
    r->fibers_n--;
    if (MU_UNLIKELY(r->free_n >= KEEP_FREE)) {
        fiber_destroy(f);
        return;
    }
    if (r->free_n >= KEEP_DEEP && MU_UNLIKELY(mu_stack_is_deep(&f->stack)))
        mu_stack_trim(&f->stack);
    r->free_n++;
    mu_list_prepend(&r->free_fibers, &f->link);
}

void mu_fiber_resume(struct mu_fiber *f)
{
    struct mu_fiber *before = mu_tl.fiber;
    struct mu_ctx *here = before ? &before->ctx : &f->reactor->main;

    assert(f->state == MU_FIBER_RUNNABLE || f->state == MU_FIBER_IDLE);
    f->state = MU_FIBER_RUNNING;
    f->back = here;
    if (f->module)
        f->reactor->module = f->module;
    if (f->is_on_big_stack)
        f->reactor->may_be_slow = true;
    mu_tl.fiber = f;
    mu_san_leave(here, &f->ctx, false);
    mu_ctx_switch(&here->sp, f->ctx.sp);
    mu_san_arrive(here, NULL);
    mu_tl.fiber = before;
    if (f->state == MU_FIBER_DONE)
        fiber_recycle(f);
}

enum mu_rc mu_fiber_run(struct mu_reactor *r, void (*fn)(void *arg), void *arg)
{
    struct mu_list *l = r->free_fibers.next;
    struct mu_fiber *f;

    assert(r == mu_tl.reactor);
    if (r->fibers_n >= r->max_fibers)
        return MU_NOMEM;
    if (MU_LIKELY(l != &r->free_fibers)) {
        mu_list_remove(l);
        r->free_n--;
        f = MU_CONTAINER_OF(l, struct mu_fiber, link);
    } else {
        f = fiber_create(r);
        if (!f)
            return MU_NOMEM;
    }
    f->fn = fn;
    f->arg = arg;
    atomic_store_explicit(&f->is_cancelled, false, memory_order_relaxed);
    f->calls_spent = 0;
    f->bytes_spent = 0;
    f->local = NULL;
    f->module = NULL;
    r->fibers_n++;
    mu_list_append(&r->fibers, &f->all);
    mu_fiber_resume(f);
    return MU_OK;
}

void mu_fiber_park(struct mu_fiber *f)
{
    mu_assert_no_locks();
    f->state = MU_FIBER_PARKED;
    f->calls_spent = 0;
    f->bytes_spent = 0;
    if (MU_UNLIKELY(park_hook != NULL))
        park_hook(f);
    leave(f, false);
}

void mu_fiber_make_runnable(struct mu_fiber *f)
{
    if (f->state != MU_FIBER_PARKED)
        return;
    f->state = MU_FIBER_RUNNABLE;
    mu_list_append(&f->reactor->run_queue, &f->link);
}

struct mu_fiber *mu_fiber_self(void)
{
    return mu_tl.job ? mu_tl.job->fiber : mu_tl.fiber;
}

void mu_fiber_cancel(struct mu_fiber *f)
{
    atomic_store_explicit(&f->is_cancelled, true, memory_order_relaxed);
    mu_fiber_make_runnable(f);
}

void mu_fiber_set_local(struct mu_fiber *f, void *p)
{
    f->local = p;
}

void *mu_fiber_local(const struct mu_fiber *f)
{
    return f->local;
}

bool mu_is_cancelled(void)
{
    const struct mu_fiber *f = mu_fiber_self();

    /* Relaxed: a hint for loops; what was cancelled is seen in order at the next wait. */
    return f && atomic_load_explicit(&f->is_cancelled, memory_order_relaxed);
}

static void yield_home(void *arg)
{
    *(enum mu_rc *)arg = mu_yield();
}

enum mu_rc mu_yield(void)
{
    struct mu_fiber *f = mu_tl.fiber;
    enum mu_rc rc;

    if (mu_tl.job) {
        mu_call_home(yield_home, &rc);
        return rc;
    }
    assert(f);
    if (mu_is_cancelled())
        return MU_GONE;
    f->state = MU_FIBER_RUNNABLE; /* in the queue already: nothing else makes it runnable twice */
    mu_list_append(&f->reactor->yielded, &f->link);
    mu_assert_no_locks();
    f->calls_spent = 0;
    f->bytes_spent = 0;
    if (MU_UNLIKELY(park_hook != NULL))
        park_hook(f);
    leave(f, false);
    return mu_is_cancelled() ? MU_GONE : MU_OK;
}

enum mu_rc mu_spent(size_t bytes)
{
    struct mu_fiber *f = mu_tl.fiber;

    if (!f || mu_tl.job)
        return MU_OK; /* a callback cannot yield, a worker thread starves nobody */
    f->calls_spent++;
    f->bytes_spent += bytes;
    if (MU_LIKELY(f->calls_spent < CALLS_PER_SLICE && f->bytes_spent < BYTES_PER_SLICE))
        return MU_OK;
    return mu_yield();
}

/** A stack for mu_fiber_call_big; its struct lies at its top. */
struct big_stack {
    struct mu_list link;
    struct mu_stack stack;
};

static struct big_stack *big_borrow(struct mu_reactor *r)
{
    struct mu_list *l = mu_list_first(&r->free_big);
    struct mu_stack s = { 0 };
    struct big_stack *b;

    if (l) {
        mu_list_remove(l);
        return MU_CONTAINER_OF(l, struct big_stack, link);
    }
    if (!mu_stack_map(&s, r->big_stack_size))
        return NULL;
    b = (struct big_stack *)(void *)(s.base + s.size - ((sizeof(*b) + 63) & ~(size_t)63));
    mu_stack_set_mark(&s, (char *)b, KEEP_BIG_BYTES);
    b->stack = s;
    return b;
}

static void big_give_back(struct mu_reactor *r, struct big_stack *b)
{
    size_t kept = 0;

    MU_LIST_FOR(l, &r->free_big)
        kept++;
    if (kept >= KEEP_BIG) {
        mu_stack_unmap(&b->stack);
        return;
    }
    if (mu_stack_is_deep(&b->stack))
        mu_stack_trim(&b->stack);
    mu_list_prepend(&r->free_big, &b->link);
}

struct big_call {
    struct mu_fiber *f;
    struct mu_ctx *small;
    void (*fn)(void *arg);
    void *arg;
};

/** Runs on the big stack, which is the fiber's own for as long. */
MU_NO_ASAN static void big_main(void *arg)
{
    struct big_call *c = arg;
    struct mu_ctx here = { .fake = NULL };

    mu_san_arrive(&here, c->small);
    c->fn(c->arg);
#ifdef MU_ASAN
    __sanitizer_start_switch_fiber(NULL, c->small->bottom, c->small->size);
#endif
}

bool mu_fiber_call_big(struct mu_fiber *f, void (*fn)(void *arg), void *arg)
{
    struct big_stack *b = big_borrow(f->reactor);
    const void *bottom = f->ctx.bottom;
    size_t size = f->ctx.size;
    struct mu_ctx small = { .bottom = bottom, .size = size };
    struct big_call c = { f, &small, fn, arg };

    if (!b)
        return false;
    f->is_on_big_stack = true;
    f->reactor->may_be_slow = true;
    f->ctx.bottom = b->stack.base;
    f->ctx.size = (size_t)((char *)b - b->stack.base);
#ifdef MU_ASAN
    __sanitizer_start_switch_fiber(&small.fake, f->ctx.bottom, f->ctx.size);
#endif
    mu_ctx_call(b, big_main, &c);
    mu_san_arrive(&small, NULL);
    f->ctx.bottom = bottom;
    f->ctx.size = size;
    f->is_on_big_stack = false;
    big_give_back(f->reactor, b);
    return true;
}

void mu_fiber_drop_free(struct mu_reactor *r)
{
    MU_LIST_FOR_SAFE(l, &r->free_fibers)
        fiber_destroy(MU_CONTAINER_OF(l, struct mu_fiber, link));
    mu_list_init(&r->free_fibers);
    r->free_n = 0;
    MU_LIST_FOR_SAFE(b, &r->free_big)
        mu_stack_unmap(&MU_CONTAINER_OF(b, struct big_stack, link)->stack);
    mu_list_init(&r->free_big);
}
