/* What the MPMs share inside a child: the listening sockets on a reactor, and the supervisor's stop
 * request. */
#ifndef MU_MPM_GATE_H
#define MU_MPM_GATE_H

#include <super/child.h>

struct mu_gate;

/** One listening socket of the gate. */
struct mu_gate_door {
    struct mu_listen_watch watch;
    const struct mu_listener *listener;
    struct mu_gate *gate;
};

/**
 * The listening sockets of a child, watched by one reactor; one accept for each wake-up of a
 * socket.
 */
struct mu_gate {
    const struct mu_child *child;
    void *mpm;
    /**
     * Asked before each accept; false leaves the connection in the backlog. May pause the gate.
     * NULL: always.
     */
    bool (*may_accept)(struct mu_gate *g);
    /** A connection: non-blocking, close-on-exec. Takes over fd. */
    void (*on_accept)(struct mu_gate *g, int fd, const struct mu_listener *l,
                      const struct mu_addr *peer);

    /* The gate's own. */
    struct mu_gate_door *doors;
    size_t n;
    bool is_paused;  /**< by the MPM */
    bool is_starved; /**< no descriptors left: waits for one to be closed */
    bool is_closed;
    struct mu_timer retry;
    bool is_tight;     /**< they have run out once: looked at before each accept since */
    int fd_high;       /**< a descriptor from here on: too few are left for files and backends */
    int64_t logged_ms; /**< when it was last said that descriptors run out */
};

/**
 * Watch the child's listeners on the calling thread's reactor, paused. The fields above the line
 * are filled in.
 */
MU_NODISCARD enum mu_rc mu_gate_open(struct mu_gate *g, struct mu_reactor *r);
void mu_gate_pause(struct mu_gate *g);
void mu_gate_resume(struct mu_gate *g);
/** Pause for `ms` milliseconds. */
void mu_gate_rest(struct mu_gate *g, int64_t ms);
/** A connection was closed: if descriptors had run out, there is one again. */
void mu_gate_relieve(struct mu_gate *g);
/**
 * Before a graceful close: one more accept for each socket. A connection wakes one process of those
 * that share the socket; the one that came while this process was asked to stop may have woken
 * nobody else.
 */
void mu_gate_last_call(struct mu_gate *g);
/** Watch no more, for good. The sockets stay open. Repeating is harmless. */
void mu_gate_close(struct mu_gate *g);

/**
 * The supervisor's stop request on a reactor: on_stop is called once for each step (graceful, then
 * now).
 */
struct mu_stop_watch {
    struct mu_io io;
    struct mu_timer
        again; /**< the channel stays readable: after the first step it is looked at now and then */
    const struct mu_child *child;
    enum mu_stop seen;
    void (*on_stop)(struct mu_stop_watch *w, enum mu_stop how);
};
MU_NODISCARD enum mu_rc mu_stop_watch(struct mu_stop_watch *w, struct mu_reactor *r,
                                      const struct mu_child *child,
                                      void (*on_stop)(struct mu_stop_watch *w, enum mu_stop how));
void mu_stop_unwatch(struct mu_stop_watch *w);

#endif
