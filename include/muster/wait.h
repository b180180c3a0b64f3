/* Waiting, descriptors, time and blocking work, as modules and the rooms above the engine see them.
 *
 * Code runs on a fiber and is written sequentially. mu_wait() is the only way to suspend; reads,
 * writes, connect, sleep are built on it. On a worker thread (offloaded code) the same calls are
 * made on the caller's behalf by the parked fiber, so they mean the same thing everywhere.
 */
#ifndef MUSTER_WAIT_H
#define MUSTER_WAIT_H

#include <muster/list.h>
#include <muster/types.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/uio.h>

struct mu_reactor;
struct mu_fiber;

enum mu_ready {
    MU_READABLE = 1, /**< a read will not block: data, end of file or an error */
    MU_WRITABLE = 2,
    MU_HANGUP = 4, /**< the peer closed its sending side, or both (RDHUP, HUP, ERR) */
};

/**
 * A non-blocking descriptor known to a reactor. Embed it; it must not move while open. Readiness is
 * remembered (edge-triggered registration, once): a try-call that hits EAGAIN clears it.
 */
struct mu_io {
    int fd;                     /**< -1 when closed */
    uint8_t ready;              /**< enum mu_ready as last known; maintained by the engine */
    uint8_t flags;              /**< engine-private */
    uint16_t slot;              /**< engine-private */
    struct mu_reactor *reactor; /**< NULL until first registered */
    /**
     * Called in the reactor (no fiber) when readiness `events` arrive that no waiting fiber asks
     * for. May be NULL. May close the io and free what embeds it.
     */
    void (*on_ready)(struct mu_io *io, unsigned events);
    struct mu_list waiters; /**< engine-private: fibers in mu_wait on this io */
};

/** No deadline. */
#define MU_NEVER INT64_MAX
/** An absolute deadline `ms` milliseconds from now (the coarse clock); MU_NEVER when ms < 0. */
int64_t mu_deadline(int64_t ms);

/**
 * Run fn(arg) in a reactor's thread soon: see mu_reactor_post(). The storage is the caller's and
 * lives until fn runs.
 */
struct mu_post {
    struct mu_post *next;
    void (*fn)(void *arg);
    void *arg;
};

/** A flag one party raises and one fiber waits for; stays raised until consumed by mu_wait. */
struct mu_wake {
    bool is_raised;
    atomic_bool is_posted;      /**< engine-private: a remote raise is on its way */
    struct mu_list waiters;     /**< engine-private */
    struct mu_reactor *reactor; /**< the reactor whose fibers wait for it */
    struct mu_post post;        /**< engine-private: carries a remote raise */
};
/** Prepare; call on the thread whose fiber will wait. */
void mu_wake_init(struct mu_wake *w);
/** Raise from the same thread (reactor callback or another fiber). */
void mu_wake_raise(struct mu_wake *w);
/**
 * Raise from any thread. The wake must outlive the delivery (the waiter's joins guarantee that).
 */
void mu_wake_raise_remote(struct mu_wake *w);

/**
 * One thing to wait for: exactly one of io and wake is set. A child's exit is an io over its pidfd.
 */
struct mu_wait_item {
    struct mu_io *io;
    unsigned want; /**< enum mu_ready bits for an io */
    struct mu_wake *wake;
    unsigned got;           /**< out: ready bits; 1 for a wake (which is thereby consumed) */
    struct mu_list link;    /**< engine-private */
    struct mu_fiber *fiber; /**< engine-private */
};

/**
 * Park the calling fiber until one of `items` is ready, the deadline passes, or the fiber is
 * cancelled. An io is ready when a bit of `want` is; its `got` shows MU_HANGUP as well. want =
 * MU_HANGUP waits for the peer to leave. Readiness may turn out to be none: try the operation, and
 * wait again on MU_AGAIN.
 * Returns:  MU_OK (some got != 0); MU_TIMEOUT; MU_GONE when cancelled (at once, and for every later
 *           call); MU_NOMEM when the kernel refuses to watch one more descriptor.
 * Units:    deadline_ms on the mu_now_ms() clock; MU_NEVER for none.
 * Context:  fiber, or offloaded code (the parked fiber waits for it); hold no locks.
 */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_wait(struct mu_wait_item *items, size_t n,
                                               int64_t deadline_ms);
/** Let other work of this reactor run. Returns MU_GONE when cancelled. */
MU_MAY_SUSPEND enum mu_rc mu_yield(void);
/** Sleep. Returns MU_OK after `ms`, MU_GONE when cancelled. */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_sleep(int64_t ms);
/** Has the calling fiber been cancelled? */
bool mu_is_cancelled(void);
/**
 * Fairness: account `bytes` moved without waiting and yield when it has become much (mu_read,
 * mu_write_all and their kin do so themselves; loops over mu_try_* on a fiber should). Returns
 * MU_GONE when cancelled.
 */
MU_MAY_SUSPEND enum mu_rc mu_spent(size_t bytes);

/**
 * Take over `fd` (made non-blocking and close-on-exec). It is registered with the calling thread's
 * reactor when first waited for, or at once when on_ready is set before mu_io_watch().
 */
void mu_io_init(struct mu_io *io, int fd);
/**
 * The same for a connected stream socket that is non-blocking and close-on-exec already (accept4
 * and socketpair set both): makes no system call.
 */
void mu_io_init_socket(struct mu_io *io, int fd);
/**
 * Another process may hold a copy of the descriptor: unregister it explicitly before it is closed.
 * Said before that process gets it; a socket has no receive timeout then.
 */
void mu_io_share(struct mu_io *io);
/** Register now, so that on_ready is called. Reactor thread. */
MU_NODISCARD enum mu_rc mu_io_watch(struct mu_io *io);
/** Unregister without closing; returns the descriptor (still non-blocking). */
int mu_io_release(struct mu_io *io);
/** Unregister and close; fibers waiting for it get MU_HANGUP. Safe when closed already. */
void mu_io_close(struct mu_io *io);

/**
 * One read, no waiting.
 * Returns: MU_OK with *got > 0; MU_EOF; MU_AGAIN; MU_GONE (reset by peer); MU_EIO (errno valid).
 */
MU_NODISCARD enum mu_rc mu_try_read(struct mu_io *io, void *buf, size_t cap, size_t *got);
/**
 * One gathered write, no waiting; *sent may be less than asked. MU_MORE via `more` (MSG_MORE on
 * sockets).
 */
MU_NODISCARD enum mu_rc mu_try_writev(struct mu_io *io, const struct iovec *iov, int n, bool more,
                                      size_t *sent);
/**
 * One message on a Unix socket, with copies of `fds` (at most MU_SEND_FDS_MAX) for whoever reads
 * it; no waiting.
 * Returns: MU_OK (all of it was taken, as packet sockets do, or *sent bytes); MU_AGAIN; MU_GONE;
 *          MU_EIO (errno: ETOOMANYREFS when too many descriptors are on their way already).
 */
#define MU_SEND_FDS_MAX 8
MU_NODISCARD enum mu_rc mu_try_send_fds(struct mu_io *io, const void *buf, size_t n, const int *fds,
                                        size_t fds_n, size_t *sent);
/** One sendfile(2); advances *off by *sent. MU_EOF when the file ended before `n` bytes. */
MU_NODISCARD enum mu_rc mu_try_sendfile(struct mu_io *io, int file_fd, off_t *off, size_t n,
                                        size_t *sent);
/** Read at least one byte. Returns MU_OK, MU_EOF, MU_TIMEOUT, MU_GONE, MU_EIO. */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_read(struct mu_io *io, void *buf, size_t cap, size_t *got,
                                               int64_t deadline_ms);
/** Write everything. Returns MU_OK, MU_TIMEOUT, MU_GONE, MU_EIO. */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_write_all(struct mu_io *io, const void *buf, size_t n,
                                                    int64_t deadline_ms);
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_writev_all(struct mu_io *io, struct iovec *iov, int n,
                                                     int64_t deadline_ms);
/**
 * socket + connect to `sa`; *io is initialised on success. Returns MU_OK, MU_TIMEOUT, MU_GONE,
 * MU_EIO (errno).
 */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_connect(struct mu_io *io, const struct sockaddr *sa,
                                                  socklen_t len, int64_t deadline_ms);

/** One direction of a pump. */
struct mu_pipe_dir {
    struct mu_io *from, *to;
    uint64_t bytes;       /**< out: moved */
    bool may_close_early; /**< the peer may stop reading: the direction ends without an error */
    enum mu_rc end;       /**< out: MU_EOF when it ended in order */
};
/**
 * Copy both ways until both directions ended, waiting for whichever can move: never
 * read-all-then-write, so two peers that both write first cannot deadlock (what neither reads goes
 * to a temporary file). An end of file is passed on by shutdown(SHUT_WR), to a pipe by closing it.
 * `b` may be NULL: one way only.
 * Returns: MU_OK when both ended in order, else why it stopped; `end` of each direction tells more.
 * `idle_ms` is the longest time without a byte in either direction.
 */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_pump(struct mu_pipe_dir *a, struct mu_pipe_dir *b,
                                               int64_t idle_ms);

/**
 * Open the exit of a child as an io: readable when the process has ended. Returns MU_EIO when there
 * is no such child.
 */
MU_NODISCARD enum mu_rc mu_io_init_child(struct mu_io *io, pid_t pid);

/**
 * Run fn(arg) where it may block or burn CPU: under event on a worker thread while this fiber is
 * parked, under prefork and worker in place on a big stack. Always joined; nested it is a direct
 * call.
 * Context: fiber. A strict hand-over: fn owns what the fiber owned until it returns.
 */
MU_MAY_SUSPEND void mu_offload(void (*fn)(void *arg), void *arg);
/**
 * The same for short work on files (look-ups, opens): under event on the small file pool, so that handlers that
 * block for long do not delay it; in place elsewhere.
 */
MU_MAY_SUSPEND void mu_offload_file(void (*fn)(void *arg), void *arg);
/** Is the caller offloaded on a worker thread (not on a fiber)? */
bool mu_is_offloaded(void);
/**
 * From offloaded code: run fn(arg) on the parked fiber and wait for it. On a fiber: a direct call.
 */
MU_MAY_SUSPEND void mu_call_home(void (*fn)(void *arg), void *arg);
/**
 * pread for regular files: RWF_NOWAIT first, else on the small file pool (under event) or in place.
 * Returns: MU_OK with *got > 0, MU_EOF, MU_EIO (errno).
 */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_file_pread(int fd, void *buf, size_t n, off_t off,
                                                     size_t *got);

/** A timer: a callback in the reactor. Embed it. */
struct mu_timer {
    struct mu_list link; /**< engine-private */
    int64_t deadline_ms;
    int64_t due_ms; /**< engine-private: when its queue looks at it, never after deadline_ms */
    void (*fn)(struct mu_timer *t);
};
void mu_timer_init(struct mu_timer *t, void (*fn)(struct mu_timer *t));
/**
 * Arm (or re-arm) on the calling thread's reactor for `ms` from now. O(1). Durations should be few
 * and repeated.
 */
void mu_timer_arm(struct mu_timer *t, int64_t ms);
/** Disarm; harmless when not armed. O(1). */
void mu_timer_cancel(struct mu_timer *t);
static inline bool mu_timer_is_armed(const struct mu_timer *t)
{
    return t->link.next && t->link.next != &t->link;
}

#endif
