/* The supervisor's side of the pools: its own tables. Nothing in here lies in shared memory. */
#ifndef MU_POOL_KEEPER_H
#define MU_POOL_KEEPER_H

#include <base/logout.h>
#include <muster/buf.h>
#include <muster/list.h>
#include <pool/board.h>
#include <pool/conf.h>
#include <pool/group.h>
#include <super/spare.h>

enum mu_proc_state {
    MU_PROC_STARTING, /**< it has not accepted yet */
    MU_PROC_SERVING,
    MU_PROC_LEAVING, /**< it was told to end */
};

/** A process of a pool. */
struct mu_proc {
    struct mu_list link;
    struct mu_pool *pool;
    pid_t pid;
    uint32_t slot;
    uint64_t serial; /**< unique in the pool's life; part of the socket's name */
    uint64_t epoch;  /**< which reload of the pool it belongs to */
    enum mu_proc_state state;
    bool has_kill;
    int listen_fd; /**< the supervisor's copy: is somebody waiting to be accepted? */
    int log_fd;    /**< its standard output and error */
    int probe_fd;  /**< a connection that tells whether it accepts; -1: none */
    int64_t started_ms, ready_ms, kill_ms; /**< kill_ms: when SIGKILL is due */
    int64_t accepted_ms;                   /**< the probe has left the queue; 0: not yet */
    /* How long the slot says the same, by this side's own clock. */
    uint64_t seen_word;
    int64_t seen_ms;
    uint64_t slow_word; /**< of the request that was written down last */
    char line[1024];    /**< of its output, not ended yet */
    size_t line_n;
};

/** A pool, for as long as something of it runs. */
struct mu_pool {
    struct mu_list link;
    char name[MU_POOL_NAME_MAX + 1];
    const struct mu_pool_conf *conf; /**< NULL: no longer in the configuration */
    char *definition;                /**< what the present epoch's processes are made of */
    struct mu_board *board;
    int board_fd;
    struct mu_list procs;
    uint32_t procs_n;
    uint64_t epoch;       /**< of processes that are started now */
    uint64_t ready_epoch; /**< of the last ones that serve: those before take no more requests */
    uint64_t next_serial;
    bool is_stopped;  /**< by the administrator */
    bool is_draining; /**< and this: because it is in the configuration no more */
    bool was_at_limit;
    uint32_t wanted; /**< at least so many are to be started first (start, reload); 0: reached */
    uint32_t failures;
    int64_t hold_until_ms; /**< no process is started before */
    int64_t *crashes;      /**< when, the last conf->emergency_threshold ones */
    size_t crashes_n;
    struct mu_spare_rate rate;
    uint32_t started; /**< in the present second */
    int64_t second_ms;
    int64_t looked_ms; /**< when the slots were last looked at for their time limits */
    struct mu_logout slow;
};

struct mu_control;

/** All pools. One in a process. */
struct mu_keeper {
    struct mu_group_env env;
    struct mu_list pools;
    char *dir;
    int dir_fd; /**< O_PATH: sockets are reached through it, whatever the way to it allows */
    /* Socket pairs, each with the end that hears first: calls on sockets can say that they do not wait. */
    int poke_fd, poker_fd; /**< web children ask for a look */
    int bells[MU_POOL_BELLS], ringers[MU_POOL_BELLS];
    enum mu_stop stopping;
    int64_t next_tick_ms, mute_until_ms;
    struct mu_control *control;
    pid_t single_pid; /**< -X: the process that keeps the pools in the supervisor's place */
    int single_fd;
};
extern struct mu_keeper mu_keeper;

#define MU_POOL_FOR(p)                                                                             \
    for (struct mu_list *p##_at_ = mu_keeper.pools.next, *p##_next_ = p##_at_->next;               \
         p##_at_ != &mu_keeper.pools; p##_at_ = p##_next_, p##_next_ = p##_at_->next)              \
        for (struct mu_pool *p = MU_CONTAINER_OF(p##_at_, struct mu_pool, link); p; p = NULL)
#define MU_PROC_FOR(x, p)                                                                          \
    for (struct mu_list *x##_at_ = (p)->procs.next, *x##_next_ = x##_at_->next;                    \
         x##_at_ != &(p)->procs; x##_at_ = x##_next_, x##_next_ = x##_at_->next)                   \
        for (struct mu_proc *x = MU_CONTAINER_OF(x##_at_, struct mu_proc, link); x; x = NULL)

/* pools.c: making and forgetting */
struct mu_pool *mu_pool_find(struct mu_str name);
/** A pool without processes. `board_fd` -1: a new board. NULL: out of memory or descriptors. */
struct mu_pool *mu_pool_create(struct mu_str name, int board_fd);
/** Nothing of it runs any more. */
void mu_pool_destroy(struct mu_pool *p);
/** Bring the table in line with the configuration; no process is touched. MU_BAD: reported. */
MU_NODISCARD enum mu_rc mu_pools_configure(struct mu_config *config);
/** And then the processes. */
void mu_pools_renew(int64_t now_ms);
/** Free the table and nothing of what it stands for: another image looks after that. */
void mu_pools_forget(void);
struct mu_proc *mu_proc_create(struct mu_pool *p, uint32_t slot, uint64_t serial);
void mu_proc_destroy(struct mu_proc *x);

/* start.c */
/** Start one process. MU_LIMIT: no slot is free; MU_EIO: it could not be (logged). */
MU_NODISCARD enum mu_rc mu_proc_start(struct mu_pool *p, int64_t now_ms);
/** "NAME.SLOT.SERIAL", the name of its socket. */
void mu_proc_socket_name(char *out, size_t cap, const char *pool, uint32_t slot, uint64_t serial);
/** Connect to a socket of the folder. -1 and errno. */
int mu_pool_connect(int dir_fd, const char *name);
/** The address of a name in the folder. */
socklen_t mu_pool_address(int dir_fd, const char *name, void *sockaddr_un);

/* life.c */
/** Find out whether it accepts (again). */
void mu_proc_probe(struct mu_proc *x, int64_t now_ms);
/** Does it take no more requests, since it is of an epoch before, or the pool was stopped? */
bool mu_proc_is_old(const struct mu_proc *x);
/** Something happened on probe_fd, or time has passed. */
void mu_proc_probe_look(struct mu_proc *x, int64_t now_ms);
/** Tell it to end; by SIGKILL after `grace_ms`. */
void mu_proc_leave(struct mu_proc *x, int64_t now_ms, int64_t grace_ms);
/** Its process was reaped. x is gone afterwards. */
void mu_proc_ended(struct mu_proc *x, int status, int64_t now_ms);
/** What children left in the slots: processes in doubt, spent, retired. */
void mu_pool_look(struct mu_pool *p, int64_t now_ms);
/** Replace all processes; the old ones finish what they hold. */
void mu_pool_reload(struct mu_pool *p, int64_t now_ms);
void mu_pool_stop(struct mu_pool *p);
void mu_pool_start(struct mu_pool *p);
/** SIGKILL where it is due. Returns when it is next, INT64_MAX: nowhere. */
int64_t mu_pool_press(struct mu_pool *p, int64_t now_ms);
/**
 * A start came to nothing: the next one waits, longer each time. Returns how long; 0: it is one of
 * several that failed together, and the pause for them has begun.
 */
int64_t mu_pool_failed(struct mu_pool *p, int64_t now_ms);
/** Time between SIGTERM and SIGKILL. */
int64_t mu_pool_grace_ms(const struct mu_pool *p);

/* manage.c */
/** How many processes are to be started before anything else says how many there are. */
uint32_t mu_pool_first(const struct mu_pool *p);
/** What the arithmetic says. False: out of memory. */
MU_NODISCARD bool mu_pool_plan(struct mu_pool *p, bool is_tick, struct mu_spare_plan *plan);
/** How many processes there are to be; `is_tick` once a second. */
void mu_pool_manage(struct mu_pool *p, int64_t now_ms, bool is_tick);

/* mend.c */
/** Write back what web children have written over. Once a second. */
void mu_pool_mend(struct mu_pool *p);

/* limits.c */
/**
 * RequestTimeout, SlowRequestTimeout, IdleTimeout, StartTimeout. Returns when to look again at the
 * latest.
 */
int64_t mu_pool_limits(struct mu_pool *p, int64_t now_ms);
/** Open what SlowRequestLog names. */
void mu_pool_open_slow_log(struct mu_pool *p);

/* output.c */
/** Lines of its standard output and error, to the error log. False: end of file. */
bool mu_proc_output(struct mu_proc *x);
/** The rest of it, when the process has ended. */
void mu_proc_output_end(struct mu_proc *x);

/* handover.c */
MU_NODISCARD enum mu_rc mu_pools_save(struct mu_buf *out);
/** Take over what the image before wrote. MU_BAD: not understood; nothing was closed. */
MU_NODISCARD enum mu_rc mu_pools_restore(struct mu_str state);
/** Each process and each descriptor of the state. */
void mu_pools_holds(void (*visit)(void *arg, pid_t pid, int fd), void *arg);

/* control.c */
/** The socket for musterctl, in the folder. A failure is logged; the pools run without it. */
void mu_control_open(void);
void mu_control_close(void);
int mu_control_fd(void); /**< the listening socket, -1 */
void mu_control_adopt(int fd);
size_t mu_control_watch(struct pollfd *fds, size_t room);
void mu_control_hear(const struct pollfd *fds, size_t n, int64_t now_ms);
int64_t mu_control_tick(int64_t now_ms);
void mu_control_forget(void); /**< in another process */

/* keeper.c */
/** The parts of the group's life that run where the pools are kept. */
size_t mu_keeper_watch(struct pollfd *fds, size_t room);
void mu_keeper_hear(const struct pollfd *fds, size_t n, int64_t now_ms);
bool mu_keeper_child_ended(pid_t pid, int status, int64_t now_ms);
int64_t mu_keeper_tick(int64_t now_ms);
void mu_keeper_stop(enum mu_stop how, int64_t now_ms);
bool mu_keeper_is_empty(void);
void mu_keeper_in_child(void);
int64_t mu_keeper_now(void);

/* single.c */
/** -X: start the process that keeps the pools. */
MU_NODISCARD enum mu_rc mu_single_begin(void);

#endif
