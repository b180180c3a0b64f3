/* What the files of the engine share: the fiber, the reactor, the poller's vtable, the offload
 * job. */
#ifndef MU_ENGINE_INTERNAL_H
#define MU_ENGINE_INTERNAL_H

#include <engine/fiber.h>
#include <engine/reactor.h>
#include <muster/clock.h>

/** Bits of mu_io.flags. */
enum {
    MU_IO_REGISTERED = 1, /**< the poller knows it */
    MU_IO_OUT = 2,        /**< its registration includes (or will include) writability */
    MU_IO_SOCKET = 4,     /**< send and recv work */
    MU_IO_STREAM = 8,     /**< a short transfer means exhausted (epoll(7)) */
    MU_IO_LEVEL = 16,     /**< level-triggered: readiness is reported, not remembered */
    MU_IO_LISTEN = 32,    /**< one process of several is woken (EPOLLEXCLUSIVE) */
    MU_IO_SHARED = 64,    /**< another process may hold a copy of the descriptor */
    MU_IO_WATCHED = 128,  /**< on_ready is wanted even while no fiber waits */
};

/** A bit of mu_io.ready that nobody can wait for: both directions are closed, nothing will come. */
enum { MU_IO_TORN = 8 };

/**
 * A place to switch to: the saved stack pointer, and what the sanitizers want to know about its
 * stack.
 */
struct mu_ctx {
    void *sp;
    const void *bottom;
    size_t size;
    void *fake; /**< ASan's fake stack while switched out */
    void *tsan; /**< TSan's fiber */
};

/** An address range with a guard page at its low end. */
struct mu_stack {
    char *base; /**< of the mapping, guard included */
    size_t size;
    size_t guard; /**< bytes of it at the low end: a page */
    char *mark;   /**< what lies below is given back after use; NULL: nothing */
    unsigned valgrind_id;
};

enum mu_fiber_state {
    MU_FIBER_IDLE,
    MU_FIBER_RUNNING,
    MU_FIBER_PARKED,
    MU_FIBER_RUNNABLE,
    MU_FIBER_DONE
};

struct mu_job;

/** Lives at the top of its own stack. */
struct mu_fiber {
    struct mu_ctx ctx;
    struct mu_ctx *back; /**< who resumed it */
    struct mu_reactor *reactor;
    void (*fn)(void *arg);
    void *arg;
    enum mu_fiber_state state;
    atomic_bool is_cancelled; /**< written by its own thread, read by its worker too */
    bool is_timed_out;
    bool is_on_big_stack;
    uint32_t calls_spent; /**< since it last parked: see mu_spent */
    size_t bytes_spent;
    struct mu_list link; /**< run queue, or free list */
    struct mu_list all;
    struct mu_timer timer;
    struct mu_job *job; /**< the work it waits for, when offloaded to a thread */
    void *local;
    const char *module;
    struct mu_stack stack;
};

/** A FIFO queue of timers whose due times never decrease. */
struct mu_timer_class {
    struct mu_list queue;
    struct mu_list active; /**< linked in mu_timers.active while the queue may hold something */
    int64_t span_ms;
};

enum { MU_TIMER_SETS = 16, MU_TIMER_WAYS = 4, MU_TIMER_COARSE = 168 };

struct mu_timers {
    struct mu_timer_class exact[MU_TIMER_SETS][MU_TIMER_WAYS];
    struct mu_timer_class coarse[MU_TIMER_COARSE];
    struct mu_list active;
    bool is_expiring;
};

/**
 * The wait call returned: read the clocks, before any event is handed out. Returns how many
 * milliseconds the last reading was old.
 */
int64_t mu_reactor_woke(struct mu_reactor *r);

void mu_timers_init(struct mu_timers *ts);
/** Milliseconds until the next one is due (0 when one is), or -1 when there is none. */
int64_t mu_timers_next(struct mu_timers *ts, int64_t now);
/** Call what is due. */
void mu_timers_expire(struct mu_timers *ts, int64_t now);
void mu_timers_arm(struct mu_timers *ts, struct mu_timer *t, int64_t now, int64_t ms);

/** How a reactor learns of readiness. */
struct mu_poller_ops {
    enum mu_rc (*init)(struct mu_reactor *r);
    void (*fini)(struct mu_reactor *r);
    /** Make sure `want` is reported for io. */
    enum mu_rc (*want)(struct mu_reactor *r, struct mu_io *io, unsigned want);
    /** Forget a registered io; `is_closing`: the descriptor is closed right after. */
    void (*forget)(struct mu_reactor *r, struct mu_io *io, bool is_closing);
    /** Wait (-1: for ever), then hand each event to mu_io_event. */
    void (*wait)(struct mu_reactor *r, int timeout_ms);
};
extern const struct mu_poller_ops mu_poller_epoll;
extern const struct mu_poller_ops mu_poller_single;

/** See mu_io_expect(); `r` has the single-connection backend. */
void mu_ahead_expect(struct mu_reactor *r, struct mu_io *io, void *buf, size_t cap);
/** Bytes read ahead for io, or 0; an expected read is no longer expected once they are gone. */
size_t mu_ahead_take(struct mu_io *io, void *buf, size_t cap);
/** A call that cannot say MSG_DONTWAIT is about to be made on io. */
void mu_ahead_unblock(const struct mu_io *io);
/** Somebody else gets a copy of io's descriptor: the socket is as it was accepted, and stays so. */
void mu_ahead_share(const struct mu_io *io);

enum { MU_EPOLL_BATCH = 256, MU_REACTOR_BUFS = 64, MU_REACTOR_ARENAS = 64 };
enum { MU_BUF_SIZE = 16 * 1024 };

struct pollfd;
struct epoll_event;

/** The epoll backend's own. */
struct mu_epoll {
    struct mu_io **table; /**< by descriptor; an event whose tag differs from io->slot is stale */
    size_t table_n;
    uint16_t tag;
    struct epoll_event *events;
};

/** A read in place of a wait: mu_io_expect(). */
struct mu_ahead {
    struct mu_io *io; /**< whose next read is known; NULL: none */
    char *buf;
    size_t cap;
    size_t got;        /**< bytes read into buf that mu_try_read() has yet to hand out */
    int64_t polled_ms; /**< when all that is waited for was asked last */
    /* What is known of one connection while its descriptor is registered. */
    const struct mu_io *known;
    uint8_t quick;    /**< waits in a row that were short */
    bool has_timeout; /**< SO_RCVTIMEO is set */
    bool is_blocking; /**< O_NONBLOCK was taken off */
    bool is_refused;  /**< somebody else needs the flag */
};

/** The single-connection backend's own: what is waited for, in the order of the pollfd array. */
struct mu_single {
    struct mu_io **set; /**< NULL: a hole */
    struct pollfd *fds;
    size_t n, cap;
    bool has_holes;
    int listen_epfd; /**< -1 until the first listener */
    uint32_t listeners;
    struct mu_ahead ahead;
};

struct mu_reactor {
    const struct mu_poller_ops *poller;
    enum mu_backend backend;
    int epfd;    /**< -1 under the single-connection backend */
    int eventfd; /**< -1 when alone */
    union {
        struct mu_epoll epoll;
        struct mu_single single;
    };

    struct mu_ctx main; /**< the thread's own stack */
    struct mu_list run_queue;
    struct mu_list yielded; /**< run in the next turn, after the poller was asked */
    struct mu_list fibers;  /**< all alive */
    uint32_t fibers_n, max_fibers;
    struct mu_list free_fibers;
    uint32_t free_n, colour;
    size_t stack_size, big_stack_size;
    struct mu_list free_big;

    struct mu_timers timers;
    bool is_stopping;
    const char *module; /**< noted last in this turn */
    bool may_be_slow;   /**< blocking work ran in place in this turn, as it is meant to here */
    int64_t slow_logged_ms;
    uint32_t slow_suppressed;
    int64_t left_wait_ns;
    _Atomic(uint64_t) busy_ns, turns;

    struct mu_worker_pool *workers, *files;
    char *bufs[MU_REACTOR_BUFS];
    struct mu_arena *arenas[MU_REACTOR_ARENAS];
    uint32_t bufs_n, arenas_n;

    /* Written by other threads: a line of its own. */
    _Alignas(64) _Atomic(struct mu_post *) posts; /**< last in, first out */
    atomic_bool is_asleep;     /**< in, or about to enter, a wait that may block */
    _Atomic(uint32_t) posters; /**< threads in mu_reactor_post */
};

/** Work handed to a thread, and calls back to the fiber: whoever has the turn runs fn. */
struct mu_job {
    void (*fn)(void *arg); /**< NULL: your call has returned */
    void *arg;
    int err; /**< errno of the call that returned */
    struct mu_fiber *fiber;
    struct mu_wake wake;      /**< the fiber's turn */
    struct mu_wait_item item; /**< the fiber, waiting for it */
    struct mu_worker *worker; /**< NULL until taken */
    struct mu_job *next;
};

/** What runs on the calling thread. */
struct mu_thread {
    struct mu_reactor *reactor;
    struct mu_fiber *fiber;
    struct mu_job *job; /**< a worker thread's */
    uint32_t locks;
};
extern _Thread_local struct mu_thread mu_tl;

/** Readiness `bits` arrived: remember them, wake fibers, or call on_ready. */
void mu_io_event(struct mu_io *io, unsigned bits);
/** Fields of an unregistered io over fd. */
void mu_io_reset(struct mu_io *io, int fd, unsigned flags);

/** Park until made runnable. Runs on the fiber. */
void mu_fiber_park(struct mu_fiber *f);
/** PARKED becomes RUNNABLE; else nothing happens. */
void mu_fiber_make_runnable(struct mu_fiber *f);
/** Run a parked or fresh fiber until it parks or ends. */
void mu_fiber_resume(struct mu_fiber *f);
/** Free what the reactor keeps for later fibers. */
void mu_fiber_drop_free(struct mu_reactor *r);
/** Wait for `w` even when cancelled: what is handed over is always joined. `it` is storage. */
void mu_wait_joined(struct mu_wake *w, struct mu_wait_item *it);
/**
 * Call fn(arg) on a big stack of the fiber's reactor. Returns false when there is no memory for
 * one.
 */
bool mu_fiber_call_big(struct mu_fiber *f, void (*fn)(void *arg), void *arg);

/** Map `size` bytes and a guard page. */
bool mu_stack_map(struct mu_stack *s, size_t size);
void mu_stack_unmap(struct mu_stack *s);
/** Of a stack that starts at `top`, keep about `keep` bytes after use. */
void mu_stack_set_mark(struct mu_stack *s, const char *top, size_t keep);
/** Was anything below the mark touched? A few reads of shared zero pages. */
bool mu_stack_is_deep(const struct mu_stack *s);
/** Give what lies below the mark back to the kernel. */
void mu_stack_trim(const struct mu_stack *s);

#endif
