/*
 * reactor: the turn. One turn asks the poller (sleeping only when there is nothing to run), hands
 * readiness to fibers and callbacks, runs what other threads posted, calls timers that are due, and
 * runs the fibers that were runnable. What those make runnable runs in the same turn for a bounded
 * number of rounds; a fiber that yields comes back after the poller was asked again. An idle
 * reactor makes no system call at all.
 */
#include <engine/sanitize.h>
#include <engine/sys.h>
#include <muster/arena.h>
#include <muster/log.h>

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_FIBERS = 16000,
    BIG_STACK_SIZE = 8 * 1024 * 1024,
    ARENA_SIZE = 8 * 1024,
    ROUNDS = 8, /* of the run queue in one turn */
    SLOW_TURN_MS = 10,
    SLOW_LOG_EVERY_MS = 1000,
};

/**
 * A few nanoseconds a reading; a tick is a few milliseconds, which averages out over many turns.
 */
static int64_t coarse_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static bool reactor_init(struct mu_reactor *r, const struct mu_reactor_opts *o)
{
    r->backend = o->backend;
    r->poller = o->backend == MU_BACKEND_EPOLL ? &mu_poller_epoll : &mu_poller_single;
    r->max_fibers = o->max_fibers ? o->max_fibers : MAX_FIBERS;
    r->stack_size = o->stack_size ? o->stack_size : MU_STACK_SIZE;
    r->big_stack_size = o->big_stack_size ? o->big_stack_size : BIG_STACK_SIZE;
    r->workers = o->workers;
    r->files = o->files;
    mu_list_init(&r->run_queue);
    mu_list_init(&r->yielded);
    mu_list_init(&r->fibers);
    mu_list_init(&r->free_fibers);
    mu_list_init(&r->free_big);
    mu_timers_init(&r->timers);
    mu_san_ctx_init(&r->main, true);
    r->slow_logged_ms = -SLOW_LOG_EVERY_MS;
    r->epfd = -1;
    r->eventfd = -1;
    if (!o->is_alone || o->workers || o->files) {
        r->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (r->eventfd < 0)
            return false;
    }
    if (r->poller->init(r) == MU_OK)
        return true;
    if (r->eventfd >= 0)
        close(r->eventfd);
    return false;
}

struct mu_reactor *mu_reactor_create(const struct mu_reactor_opts *opts)
{
    struct mu_reactor *r;

    assert(!mu_tl.reactor);
    if (posix_memalign((void **)&r, _Alignof(struct mu_reactor), sizeof(*r)) != 0)
        return NULL;
    memset(r, 0, sizeof(*r));
    if (!reactor_init(r, opts)) {
        free(r);
        return NULL;
    }
    mu_tl.reactor = r;
    mu_sys_leave_rseq();
    mu_clock_tick();
    r->left_wait_ns = coarse_ns();
    return r;
}

void mu_reactor_destroy(struct mu_reactor *r)
{
    assert(r == mu_tl.reactor && r->fibers_n == 0 && !mu_tl.fiber);
    /* Acquire: a thread whose post has run already may still be on its way out of
     * mu_reactor_post(). */
    while (atomic_load_explicit(&r->posters, memory_order_acquire) > 0)
        sched_yield();
    mu_fiber_drop_free(r);
    for (uint32_t i = 0; i < r->bufs_n; i++)
        free(r->bufs[i]);
    for (uint32_t i = 0; i < r->arenas_n; i++)
        mu_arena_destroy(r->arenas[i]);
    r->poller->fini(r);
    if (r->eventfd >= 0)
        close(r->eventfd);
    mu_tl.reactor = NULL;
    free(r);
}

struct mu_reactor *mu_reactor_self(void)
{
    return mu_tl.reactor;
}

void mu_reactor_stop(struct mu_reactor *r)
{
    r->is_stopping = true;
}

void mu_reactor_post(struct mu_reactor *r, struct mu_post *node)
{
    struct mu_post *head = atomic_load_explicit(&r->posts, memory_order_relaxed);

    /* Relaxed: ordered before the push, so whoever ran the node knows that this is still under
     * way. */
    atomic_fetch_add_explicit(&r->posters, 1, memory_order_relaxed);
    /* seq_cst pairs with prepare_sleep(): either the reactor sees the node, or we see it asleep. */
    do {
        node->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&r->posts, &head, node, memory_order_seq_cst,
                                                    memory_order_relaxed));
    assert(r->eventfd >= 0 || r == mu_tl.reactor);
    if (atomic_load_explicit(&r->is_asleep, memory_order_seq_cst) &&
        atomic_exchange_explicit(&r->is_asleep, false, memory_order_relaxed)) {
        ssize_t n = write(r->eventfd, &(uint64_t){ 1 }, sizeof(uint64_t));

        (void)n; /* cannot fail but when the counter is full, and then it is readable anyway */
    }
    /* Release: the last touch; mu_reactor_destroy() waits for it. */
    atomic_fetch_sub_explicit(&r->posters, 1, memory_order_release);
}

static void run_posts(struct mu_reactor *r)
{
    struct mu_post *node, *in_order = NULL;

    /* Relaxed: a node missed here is seen by prepare_sleep() or in the next turn. */
    if (!atomic_load_explicit(&r->posts, memory_order_relaxed))
        return;
    node = atomic_exchange_explicit(&r->posts, NULL, memory_order_acquire);
    while (node) {
        struct mu_post *next = node->next;

        node->next = in_order;
        in_order = node;
        node = next;
    }
    while (in_order) {
        node = in_order;
        in_order = node->next; /* fn may post the node again */
        node->fn(node->arg);
    }
}

/**
 * About to sleep: say so, then look once more. Sequential consistency on both sides (a Dekker
 * hand-shake) makes it impossible that a poster misses the flag and this misses the node.
 */
static bool prepare_sleep(struct mu_reactor *r)
{
    if (r->eventfd >= 0)
        atomic_store_explicit(&r->is_asleep, true, memory_order_seq_cst);
    return atomic_load_explicit(&r->posts, memory_order_seq_cst) == NULL;
}

static int wait_budget_ms(struct mu_reactor *r, int64_t max_wait_ms)
{
    int64_t next;

    if (r->is_stopping || !mu_list_empty(&r->run_queue) || !mu_list_empty(&r->yielded))
        return 0;
    next = mu_timers_next(&r->timers, mu_now_ms());
    if (next < 0 || (max_wait_ms >= 0 && max_wait_ms < next))
        next = max_wait_ms;
    return next > INT32_MAX ? INT32_MAX : (int)next;
}

/** Log a turn that kept everybody waiting. */
static void check_slow(struct mu_reactor *r)
{
    int64_t now, took;

    /* A thread that serves one connection keeps nobody else waiting. */
    if (r->may_be_slow || r->backend == MU_BACKEND_SINGLE)
        return;
    now = mu_mono_us() / 1000;
    took = now - mu_now_ms(); /* its reading is from the end of the last wait */
    if (took <= SLOW_TURN_MS)
        return;
    if (now - r->slow_logged_ms < SLOW_LOG_EVERY_MS) {
        r->slow_suppressed++;
        return;
    }
    MU_LOG(
        NULL, "core", MU_LOG_INFO, "MU0100",
        "a turn of the event loop took %lld ms (module %s); everything else of this thread waited. "
        "%u more since the last such line. Declare the handler or filter .may_block or .is_costly",
        (long long)took, r->module ? r->module : "core", r->slow_suppressed);
    r->slow_logged_ms = now;
    r->slow_suppressed = 0;
}

static void account_turn(struct mu_reactor *r)
{
    int64_t busy = coarse_ns() - r->left_wait_ns;

    /* Relaxed: single writer, read for statistics. */
    atomic_store_explicit(&r->busy_ns,
                          atomic_load_explicit(&r->busy_ns, memory_order_relaxed) + (uint64_t)busy,
                          memory_order_relaxed);
    atomic_store_explicit(&r->turns, atomic_load_explicit(&r->turns, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    if (MU_UNLIKELY(busy >= (SLOW_TURN_MS / 2) * 1000000)) {
        check_slow(r);
        mu_clock_tick(); /* so that the wait ends when the next timer is due, not as much later */
    }
    r->may_be_slow = false;
    r->module = NULL;
}

static void wait_for_events(struct mu_reactor *r, int64_t max_wait_ms)
{
    int timeout_ms;
    bool may_sleep;

    account_turn(r);
    timeout_ms = wait_budget_ms(r, max_wait_ms);
    may_sleep = timeout_ms != 0;
    if (may_sleep && !prepare_sleep(r))
        timeout_ms = 0;
    r->poller->wait(r, timeout_ms);
    /* Relaxed: a poster that still sees it set only writes to the eventfd in vain. */
    if (may_sleep)
        atomic_store_explicit(&r->is_asleep, false, memory_order_relaxed);
}

static void move_all(struct mu_list *from, struct mu_list *to)
{
    if (mu_list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    mu_list_init(from);
}

static void run_fibers(struct mu_reactor *r)
{
    struct mu_list round;

    move_all(&r->yielded, &r->run_queue);
    for (int i = 0; i < ROUNDS && !mu_list_empty(&r->run_queue); i++) {
        mu_list_init(&round);
        move_all(&r->run_queue, &round);
        while (!mu_list_empty(&round)) {
            struct mu_list *l = round.next;

            mu_list_remove(l);
            mu_fiber_resume(MU_CONTAINER_OF(l, struct mu_fiber, link));
        }
    }
}

/**
 * After the poller waited and before it hands out events, so that timers armed by callbacks start
 * from now.
 */
int64_t mu_reactor_woke(struct mu_reactor *r)
{
    int64_t before = mu_now_ms();

    mu_clock_tick();
    r->left_wait_ns = coarse_ns();
    return mu_now_ms() - before;
}

void mu_reactor_turn(struct mu_reactor *r, int64_t max_wait_ms)
{
    assert(r == mu_tl.reactor && !mu_tl.fiber);
    wait_for_events(r, max_wait_ms);
    run_posts(r);
    mu_timers_expire(&r->timers, mu_now_ms());
    run_fibers(r);
}

void mu_reactor_run(struct mu_reactor *r)
{
    while (!r->is_stopping) /* a stop asked for before counts */
        mu_reactor_turn(r, -1);
    r->is_stopping = false;
}

uint32_t mu_reactor_fibers(const struct mu_reactor *r)
{
    return r->fibers_n;
}

bool mu_reactor_has_fibers(const struct mu_reactor *r)
{
    return r->fibers_n <= r->max_fibers / 4;
}

void mu_reactor_cancel_all(struct mu_reactor *r)
{
    MU_LIST_FOR(l, &r->fibers)
        mu_fiber_cancel(MU_CONTAINER_OF(l, struct mu_fiber, all));
}

void mu_reactor_note_module(const char *name)
{
    if (mu_tl.fiber)
        mu_tl.fiber->module = name;
    if (mu_tl.reactor && name)
        mu_tl.reactor->module = name;
}

void mu_reactor_load(const struct mu_reactor *r, uint64_t *busy_ns, uint64_t *turns)
{
    *busy_ns = atomic_load_explicit(&r->busy_ns, memory_order_relaxed);
    *turns = atomic_load_explicit(&r->turns, memory_order_relaxed);
}

char *mu_reactor_buf_borrow(struct mu_reactor *r, size_t *cap)
{
    *cap = MU_BUF_SIZE;
    return r->bufs_n > 0 ? r->bufs[--r->bufs_n] : malloc(MU_BUF_SIZE);
}

void mu_reactor_buf_give_back(struct mu_reactor *r, char *buf)
{
    if (buf && r->bufs_n < MU_REACTOR_BUFS)
        r->bufs[r->bufs_n++] = buf;
    else
        free(buf);
}

struct mu_arena *mu_reactor_arena_borrow(struct mu_reactor *r)
{
    return r->arenas_n > 0 ? r->arenas[--r->arenas_n] : mu_arena_create(ARENA_SIZE);
}

void mu_reactor_arena_give_back(struct mu_reactor *r, struct mu_arena *a)
{
    if (!a)
        return;
    if (r->arenas_n < MU_REACTOR_ARENAS) {
        mu_arena_reset(a);
        r->arenas[r->arenas_n++] = a;
    } else {
        mu_arena_destroy(a);
    }
}
