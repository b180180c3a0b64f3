/* A reactor: poller, timers, run queue, fibers of one thread. MPMs are policies over these. */
#ifndef MU_ENGINE_REACTOR_H
#define MU_ENGINE_REACTOR_H

#include <muster/wait.h>

enum mu_backend {
    MU_BACKEND_EPOLL, /**< many connections */
    /** one connection: poll(2) over the few descriptors waited for, no registration calls */
    MU_BACKEND_SINGLE,
};

struct mu_worker_pool; /**< threads that run offloaded work, one pool a process */

struct mu_reactor_opts {
    enum mu_backend backend;
    uint32_t max_fibers;            /**< 0: 16,000 */
    size_t stack_size;              /**< 0: 128 KiB (more under sanitizers) */
    size_t big_stack_size;          /**< for offload in place; 0: 8 MiB, lazily committed */
    struct mu_worker_pool *workers; /**< NULL: offload runs in place on a big stack */
    struct mu_worker_pool *files;   /**< small pool for file reads; NULL: in place */
    bool is_alone; /**< no other thread ever posts to it (prefork): no eventfd in its wait set */
};

/** Create the reactor of the calling thread; NULL when out of memory or descriptors. */
struct mu_reactor *mu_reactor_create(const struct mu_reactor_opts *opts);
/** All fibers must have ended (asserted). */
void mu_reactor_destroy(struct mu_reactor *r);
/** The calling thread's reactor, or NULL. */
struct mu_reactor *mu_reactor_self(void);
/** Turn until mu_reactor_stop(). */
void mu_reactor_run(struct mu_reactor *r);
/**
 * One turn: wait at most `max_wait_ms` (-1: until something happens), run callbacks, timers,
 * fibers.
 */
void mu_reactor_turn(struct mu_reactor *r, int64_t max_wait_ms);
/**
 * End mu_reactor_run after this turn (one asked for before it counts too). Own thread, or any
 * thread through mu_reactor_post.
 */
void mu_reactor_stop(struct mu_reactor *r);
/**
 * Run node->fn(node->arg) in the reactor's thread soon. Any thread. `node` is the caller's storage
 * and lives until fn runs (struct mu_post is in wait.h).
 */
void mu_reactor_post(struct mu_reactor *r, struct mu_post *node);
/** Fibers alive (running or parked). */
uint32_t mu_reactor_fibers(const struct mu_reactor *r);
/** Are most of the fibers there may be still to be had? What can do without one need not then. */
bool mu_reactor_has_fibers(const struct mu_reactor *r);
/** Cancel every fiber (shutdown); they return normally in the next turns. */
void mu_reactor_cancel_all(struct mu_reactor *r);
/**
 * Name of the module that runs now, for the log line about a turn over 10 ms. NULL: the core. Only
 * the epoll backend logs it, and not for turns in which blocking work ran in place.
 */
void mu_reactor_note_module(const char *name);
/**
 * Nanoseconds this reactor has been out of its wait call, and turns made: the listener's
 * utilisation.
 */
void mu_reactor_load(const struct mu_reactor *r, uint64_t *busy_ns, uint64_t *turns);

/**
 * A listening socket: level-triggered with EPOLLEXCLUSIVE, one accept a wake-up.
 * on_ready is called in the reactor; pause removes it from the poller, resume adds it again.
 */
struct mu_listen_watch {
    struct mu_io io; /**< first member; not used with mu_try_* */
    bool is_paused;
};
MU_NODISCARD enum mu_rc mu_listen_watch(struct mu_reactor *r, struct mu_listen_watch *w, int fd,
                                        void (*on_ready)(struct mu_io *io, unsigned events));
void mu_listen_pause(struct mu_listen_watch *w);
void mu_listen_resume(struct mu_listen_watch *w);
void mu_listen_unwatch(struct mu_listen_watch *w);
/**
 * A level-triggered descriptor that is not read by the engine (the stop request of the supervisor).
 * Same shape.
 */
MU_NODISCARD enum mu_rc mu_level_watch(struct mu_reactor *r, struct mu_io *io, int fd,
                                       void (*on_ready)(struct mu_io *io, unsigned events));

/**
 * Say where the next mu_try_read() of a watched stream socket will go, before its reactor waits.
 * Nothing has to come of it. But a reactor that serves this connection alone may then wait in the
 * read itself, which spares the other call; `buf` stays the caller's and valid until on_ready is
 * called (which reads into it), io is closed or released, or another buffer (NULL: none) is named.
 * Such a wait ends after a tenth of a second at the latest, and all that is watched is asked once in
 * that time: posts and a stop request are seen within a fifth of a second. Not for a stream whose
 * calls are made by a library: they would find a socket that blocks.
 */
void mu_io_expect(struct mu_io *io, void *buf, size_t cap);

/**
 * The read buffer the reactor lends: `*cap` bytes (at least 16 KiB), from a free list. One is
 * borrowed while a request head or body is being read and given back when the connection is idle.
 * Returns NULL when out of memory, as mu_reactor_arena_borrow does.
 */
char *mu_reactor_buf_borrow(struct mu_reactor *r, size_t *cap);
void mu_reactor_buf_give_back(struct mu_reactor *r, char *buf);
/** Exchange arenas, from a free list (reset when given back). */
struct mu_arena;
struct mu_arena *mu_reactor_arena_borrow(struct mu_reactor *r);
void mu_reactor_arena_give_back(struct mu_reactor *r, struct mu_arena *a);

/**
 * `threads` workers with `stack_size` bytes of stack (0: the system's default). NULL when out of
 * memory.
 */
struct mu_worker_pool *mu_worker_pool_create(uint32_t threads, size_t stack_size);
/** Joins; there must be no work left. */
void mu_worker_pool_destroy(struct mu_worker_pool *p);
/** Work queued and not yet taken, and workers busy: what drives spawning. */
void mu_worker_pool_load(const struct mu_worker_pool *p, uint32_t *queued, uint32_t *busy);
/**
 * Run at the start and end of each worker thread (scoreboard slots, module thread hooks). Set
 * before create.
 */
void mu_worker_pool_on_thread(void (*start)(uint32_t index), void (*end)(uint32_t index));

#endif
