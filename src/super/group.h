/* Other processes that the supervisor owns beside its web children: the spawn helpers, the
 * application pools. A group is one static object; the cli room lists them (mu_super_opts.groups).
 * Everything here is called in the supervisor, single-threaded, with all signals blocked, unless it
 * says otherwise. */
#ifndef MU_SUPER_GROUP_H
#define MU_SUPER_GROUP_H

#include <base/proc.h>
#include <muster/buf.h>
#include <poll.h>
#include <super/child.h>

/** What a group may know of the server it belongs to. Lives as long as the supervisor. */
struct mu_group_env {
    struct mu_config *config;
    const struct mu_identity *identity; /**< User and Group of the web children */
    uint64_t generation;
    /**
     * -X: this process becomes the one child; nobody will poll, tick or reap until it ends. Then
     * stop() is called without the privileges of the start, and tick() and child_ended() until
     * is_empty() or five seconds have passed.
     */
    bool is_single;
    /**
     * In a process just forked by the group: close what is the supervisor's (channels, signalfd,
     * listening sockets, scoreboards) and, by their in_child(), the other groups'; default signals,
     * no mask. The group's own descriptors are the group's to close.
     */
    void (*leave_supervisor)(void);
    /** Does a web child of an earlier configuration still run? */
    bool (*has_older_kids)(void);
};

struct mu_group {
    const char *name; /**< of its part in the state that a restart hands over: "spawn", "pool" */
    /** Checked in rehearsal and at start, before anything runs. Errors by mu_config_error. May be
     *  NULL. */
    enum mu_rc (*check)(struct mu_config *config);
    /**
     * A configuration begins: at start and after each re-exec; privileges are whole, no web child
     * of this generation runs yet, and they inherit what is made here. `state` is what save() of
     * the image before wrote (n == 0 at a first start or when that image had no such group). The
     * image before may be the next one that failed: what it started is in the state as well. The
     * descriptors in it are made close-on-exec afterwards by keep(false).
     * Returns MU_BAD after undoing and logging (mu_config_error): the server does not start, or the
     * old binary takes over again with the same state.
     */
    enum mu_rc (*begin)(const struct mu_group_env *env, struct mu_str state);
    /** Put descriptors to poll for (events filled in); at most `room`. Returns how many it wants. */
    size_t (*watch)(struct pollfd *fds, size_t room);
    /** Those of watch(), some with revents. */
    void (*hear)(const struct pollfd *fds, size_t n, int64_t now_ms);
    /** Was `pid` (just reaped) the group's? */
    bool (*child_ended)(pid_t pid, int status, int64_t now_ms);
    /** A web child ended: what it held in shared memory is to be given back. May be NULL. */
    void (*kid_ended)(pid_t pid, int64_t now_ms);
    /** Do what is due; returns when to be called next at the latest, INT64_MAX: never. */
    int64_t (*tick)(int64_t now_ms);
    /**
     * The server ends. MU_STOP_GRACEFUL comes when the last web child has ended (until then they
     * need what they have), MU_STOP_NOW at once. Asked again it can only be stricter. The group
     * signals its processes itself; what is left ten seconds after MU_STOP_NOW and named by holds()
     * is killed by the supervisor.
     */
    void (*stop)(enum mu_stop how, int64_t now_ms);
    /** Nothing of it runs any more. The supervisor ends when all groups say so. */
    bool (*is_empty)(void);
    /**
     * Call visit() for each process and for each descriptor that the state names (pid 0, fd -1:
     * none). It is how an image that lacks this group knows what to end and to close, so nothing is
     * lost without a word. May be NULL when there never is any.
     */
    void (*holds)(void (*visit)(void *arg, pid_t pid, int fd), void *arg);
    /** The take-over is through: there is no way back to the image before. May be NULL. */
    void (*settled)(void);
    /** For a re-exec: descriptors by number, pids, names; whatever begin() needs. */
    enum mu_rc (*save)(struct mu_buf *out);
    /** The descriptors that the state names survive execve, or no longer. */
    void (*keep)(bool is_kept);
    /** In a web child just forked: close what is the supervisor's alone. */
    void (*in_child)(void);
};

#endif
