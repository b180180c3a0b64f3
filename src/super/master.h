/* Private to the supervisor: its own tables. Nothing in here lies in shared memory. */
#ifndef MU_SUPER_MASTER_H
#define MU_SUPER_MASTER_H

#include <base/proc.h>
#include <muster/buf.h>
#include <muster/list.h>
#include <net/listener.h>
#include <poll.h>
#include <super/acceptlock.h>
#include <super/child.h>
#include <super/settings.h>
#include <super/spare.h>
#include <super/super.h>

/**
 * Signals taken from the kernel and not acted on yet: a set, so that none is lost and none counts
 * twice.
 */
enum {
    MU_PEND_STOP = 1,          /**< TERM, INT */
    MU_PEND_GRACEFUL_STOP = 2, /**< WINCH */
    MU_PEND_RESTART = 4,       /**< HUP */
    MU_PEND_GRACEFUL = 8,      /**< USR1 */
    MU_PEND_CHILD = 16,
};

/**
 * The children that one configuration started. A new one comes with each restart; old ones end when
 * empty.
 */
struct mu_generation {
    struct mu_list link; /**< mu_super.generations, the present one first */
    uint64_t number;
    struct mu_scoreboard *board;
    struct mu_accept_locks *locks; /**< NULL without Mutex mpm-accept */
    uint8_t *taken;                /**< by place: does a kid of the table hold it? */
    uint32_t kids;
    enum mu_stop asked;
    bool has_been_ready; /**< some child of it has served */
};

/** A child as its parent knows it. */
struct mu_kid {
    pid_t pid;
    struct mu_generation *generation;
    uint32_t place;
    int channel; /**< -1: not listened to any longer, and nothing can be asked */
    bool is_ready, is_leaving, has_term, has_kill, is_deaf;
    enum mu_stop asked;
    uint32_t bytes_seen;
    int64_t started_ms, ready_ms, asked_ms;
};

/** A listening socket, ours. */
struct mu_door {
    struct mu_listener listener;
    bool is_wanted; /**< by the present configuration */
};

/** A rehearsal that runs. */
struct mu_rehearsal {
    pid_t pid; /**< 0: none */
    int fd;
    bool is_hard;     /**< for HUP */
    bool has_failed;  /**< it said so, or broke the protocol */
    bool is_complete; /**< the last record has come */
    int64_t started_ms;
    struct mu_buf messages; /**< what it reported, for the log */
    int tree_fd;
    struct mu_door *doors; /**< sockets it has opened */
    size_t doors_n;
};

/** What the image before said of one group. Text lies in mu_super.state. */
struct mu_given_group {
    struct mu_str name, state;
};
struct mu_given_hold {
    struct mu_str name;
    pid_t pid; /**< 0: none */
    int fd;    /**< -1: none */
};

/** A process that was a group's of which this image knows nothing. */
struct mu_stray {
    pid_t pid;
    int64_t since_ms;
    bool has_kill;
};

/** Groups (group.h) and what belongs to none of them. */
struct mu_groups {
    size_t n, begun;               /**< of opts->groups; the first `begun` have begun */
    const struct mu_group *caller; /**< the one that is being called */
    enum mu_stop asked;
    int64_t asked_ms;
    bool has_kill;
    struct mu_given_group *given;
    size_t given_n;
    struct mu_given_hold *holds;
    size_t holds_n;
    struct mu_stray *strays;
    size_t strays_n;
};

enum mu_super_phase { MU_SUPER_RUNNING, MU_SUPER_GRACEFUL_STOP, MU_SUPER_STOPPING };

struct mu_super {
    const struct mu_super_opts *opts;
    struct mu_config *config;
    const struct mu_super_conf *settings;
    const struct mu_mpm *mpm;
    struct mu_mpm_limits limits;
    struct mu_identity identity;
    struct mu_spare_rate rate;

    struct mu_list generations;
    struct mu_generation *now;
    struct mu_kid *kids;
    size_t kids_n, kids_cap;

    struct mu_door *doors;
    size_t doors_n;
    uint32_t buckets;

    char *exe;      /**< what a restart executes: argv[0], absolute, links not followed, if it is
                         the running binary at first */
    char *cwd;      /**< at start: what relative arguments refer to */
    int exe_fd;     /**< the running image's file, for a fall-back */
    char *pid_path; /**< of the PidFile written; NULL before */
    bool is_daemon;
    bool is_single;
    int parent_fd; /**< a waiting parent's pipe: told when the server runs; -1 */
    /** of a daemon that does not run yet: the standard error it was started with; -1 */
    int terminal_fd;
    int signal_fd;
    int64_t start_time, config_time; /**< seconds since the epoch */

    enum mu_super_phase phase;
    unsigned pending;
    bool is_up; /**< the children of the start serve */
    /** until when the old ones may say that they accept no more; 0: they have, announced */
    int64_t relief_deadline_ms;
    int64_t phase_deadline_ms; /**< GracefulShutdownTimeout */
    int64_t next_tick_ms;
    int64_t up_deadline_ms; /**< until when the children of the start may take */
    uint32_t failures;      /**< children in a row that ended at once */
    int64_t last_failure_ms, hold_until_ms;
    char last_end[160]; /**< how the last one that ended at once did */
    bool was_at_limit;
    int exit_status;
    bool is_over;

    struct mu_rehearsal rehearsal;
    struct mu_groups groups;

    /* A take-over that is not through yet: how to go back. */
    int state_fd, back_exe_fd; /**< -1 when it is, or when there is none */
    struct mu_buf state;
    bool is_adopted; /**< the tables hold all of the state */
};

/** Signed monotonic milliseconds, exact. */
int64_t mu_super_now(void);
/** What the process is called in log lines: the module name of the MPM. */
const char *mu_super_module(const struct mu_super *s);

/* generation.c */
struct mu_generation *mu_generation_create(struct mu_super *s, uint64_t number);
void mu_generation_destroy(struct mu_super *s, struct mu_generation *g);
struct mu_generation *mu_generation_find(struct mu_super *s, uint64_t number);
/** The highest number there is, 0 without any. */
uint64_t mu_generations_newest(struct mu_super *s);
/** Put one of a former image into the list, in front. Takes over the descriptors. */
MU_NODISCARD enum mu_rc mu_generation_adopt(struct mu_super *s, uint64_t number,
                                            struct mu_scoreboard *board,
                                            struct mu_accept_locks *locks);
/** Forget generations that have no child left; what they served is added to the present one. */
void mu_generations_sweep(struct mu_super *s);
/** Free accept locks whose word names none of the generation's children. */
void mu_generations_check_locks(struct mu_super *s);
/** Ask every child of `g` to stop; asking for less than before changes nothing. */
void mu_generation_stop(struct mu_super *s, struct mu_generation *g, enum mu_stop how);

/* kids.c */
struct mu_kid *mu_kid_add(struct mu_super *s, struct mu_generation *g, uint32_t place);
struct mu_kid *mu_kid_find(struct mu_super *s, pid_t pid);
void mu_kid_remove(struct mu_super *s, struct mu_kid *k);
void mu_kid_ask(struct mu_kid *k, enum mu_stop how, int64_t now_ms);
/** Listen to what it says on its channel. */
void mu_kid_hear(struct mu_super *s, struct mu_kid *k);
/**
 * TERM and then KILL for children that do not stop. Returns the time of the next step, INT64_MAX:
 * none.
 */
int64_t mu_kids_press(struct mu_super *s, int64_t now_ms);

/* spawn.c */
/**
 * Start one child in the present generation. MU_LIMIT: no place is free; MU_EIO: fork failed
 * (logged).
 */
MU_NODISCARD enum mu_rc mu_super_spawn(struct mu_super *s);
/** In a process that a group has forked: nothing of the supervisor is left but memory. */
void mu_super_leave(struct mu_super *s);
/** -X: be the one child. Returns its exit status. */
int mu_super_single(struct mu_super *s);

/* doors.c */
/**
 * The doors that `config` wants: adopt those open already, open the rest. Errors go to
 * mu_config_error.
 */
MU_NODISCARD enum mu_rc mu_doors_open(struct mu_super *s);
/** Close what the configuration no longer names. */
void mu_doors_close_unwanted(struct mu_super *s);
void mu_doors_close_all(struct mu_super *s);
MU_NODISCARD bool mu_doors_add(struct mu_door **doors, size_t *n, int fd, uint32_t bucket);

/* prepare.c */
/**
 * Load the configuration (or `tree`), find the MPM, its numbers, the identity. MU_BAD: reported.
 */
MU_NODISCARD enum mu_rc mu_super_load(struct mu_super *s, struct mu_str tree,
                                      void (*report)(void *arg, bool is_error, const char *text),
                                      void *arg);
/** Modules' server_start hooks, the scoreboard of generation `number`. */
MU_NODISCARD enum mu_rc mu_super_begin(struct mu_super *s, uint64_t number);

/* loop.c */
int mu_super_loop(struct mu_super *s);
bool mu_super_signals(struct mu_super *s);
void mu_super_reap(struct mu_super *s);
/** The log lines that say that this generation serves. */
void mu_super_announce(const struct mu_super *s);

/* maintain.c */
/** Spare arithmetic, replacements, back-off; `is_tick` once a second. */
void mu_super_maintain(struct mu_super *s, int64_t now_ms, bool is_tick);
/** A child of the table has ended. */
void mu_super_child_ended(struct mu_super *s, struct mu_kid *k, int status);
/** The server cannot go on: log, and go back to the old binary if this is a take-over. */
void mu_super_fail(struct mu_super *s, const char *why);

/* rehearse.c */
/**
 * The rehearsing process itself: read, open, answer on opts->rehearse_fd. Returns its exit status.
 */
int mu_rehearse(struct mu_super *s);
/** Start one for HUP or USR1; one that runs is given up. */
void mu_rehearsal_start(struct mu_super *s, bool is_hard);
void mu_rehearsal_hear(struct mu_super *s);
void mu_rehearsal_give_up(struct mu_super *s);
/** The process of a rehearsal was reaped. */
void mu_rehearsal_ended(struct mu_super *s, int status);

/* reexec.c */
/**
 * The arguments of the first start with one hidden option more (and no other), and the path of the
 * binary for the first of them. NULL: out of memory.
 */
char **mu_reexec_argv(const struct mu_super *s, const char *option);
/** Whether the descriptors that the state names survive the next execve. */
void mu_reexec_keep(struct mu_super *s, bool is_kept);
/** The same, for those of piped loggers alone. */
void mu_reexec_keep_loggers(bool is_kept);
/** Hand everything over to the new image. Returns only when that failed (logged). */
void mu_reexec(struct mu_super *s);
/**
 * Start the server from the state of opts->takeover_fd, ready for the loop. Does not return when it
 * must go back.
 */
MU_NODISCARD enum mu_rc mu_takeover(struct mu_super *s);
/** The take-over has succeeded: forget how to go back. */
void mu_takeover_done(struct mu_super *s);
/** Execute the previous binary with the state it wrote. Does not return when it can be executed. */
void mu_reexec_back(struct mu_super *s, const char *why);

/* takeover.c */
/** Write (or move) the PidFile. MU_BAD: reported. */
MU_NODISCARD enum mu_rc mu_super_pid_file(struct mu_super *s);

/* groups.c */
/** What the groups say of a configuration. */
MU_NODISCARD enum mu_rc mu_groups_check(const struct mu_super_opts *opts, struct mu_config *config);
/** Let all begin, with what the image before wrote. MU_BAD: reported; the first ones stay begun. */
MU_NODISCARD enum mu_rc mu_groups_begin(struct mu_super *s);
/** A record of the state, before they begin. */
MU_NODISCARD enum mu_rc mu_groups_take(struct mu_super *s, uint32_t key, struct mu_str value);
/** The take-over is through: processes that no group of this image knows are ended. */
void mu_groups_settle(struct mu_super *s);
/** Into the state of a re-exec. Returns false when a group cannot say what it has. */
MU_NODISCARD bool mu_groups_save(struct mu_super *s, struct mu_buf *b);
void mu_groups_keep(struct mu_super *s, bool is_kept);
size_t mu_groups_count(const struct mu_super *s);
/** Of group `i`: as watch() and hear(). */
size_t mu_groups_watch(struct mu_super *s, size_t i, struct pollfd *fds, size_t room);
void mu_groups_hear(struct mu_super *s, size_t i, const struct pollfd *fds, size_t n);
/** Ask all what they have heard, when there is no memory for a poll over everything. */
void mu_groups_hear_all(struct mu_super *s);
bool mu_groups_child_ended(struct mu_super *s, pid_t pid, int status);
void mu_groups_kid_ended(struct mu_super *s, pid_t pid);
/** Do what is due. Returns when to be called next. */
int64_t mu_groups_tick(struct mu_super *s, int64_t now_ms);
void mu_groups_stop(struct mu_super *s, enum mu_stop how);
bool mu_groups_are_empty(struct mu_super *s);
/** Stop them at once and wait for it: a start that failed, the end of -X. */
void mu_groups_finish(struct mu_super *s);
/** In a web child. */
void mu_groups_in_child(struct mu_super *s);

/* view.c */
/** Give the status views their sources; inherited by children. */
void mu_view_set(const struct mu_super *s);

#endif
