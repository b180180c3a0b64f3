/* Starting a program for a request, from any process of the server: a single-threaded helper forks
 * (never the threaded server itself), knows the exit, and ends what is left behind. */
#ifndef MUSTER_SPAWN_H
#define MUSTER_SPAWN_H

#include <muster/cgi.h>
#include <muster/wait.h>

struct mu_spawn {
    const char *path;  /**< of the program, absolute */
    char *const *argv; /**< NULL at the end */
    char *const *envp; /**< likewise */
    const char *dir;   /**< its working directory */
    int fd[3];         /**< become 0, 1 and 2; the caller keeps its own copies */
    struct mu_app_limits limits;
    int suexec; /**< mu_req_suexec(), -1: as the server's own user */
};

/** A program that was started: of the fiber that did it. Must be ended. */
struct mu_script {
    struct mu_io channel; /**< readable when it has ended (wait for it with mu_wait) */
    pid_t pid;            /**< for log lines; its process group has the same number */
};

/**
 * Start it as the leader of a process group of its own, with exactly descriptors 0, 1, 2, default
 * signals and the given limits.
 * Returns: MU_OK; MU_EIO: *err is the errno of what failed (execve, chdir …); MU_DENIED: suexec's
 *          checks refused it (logged with the reason); MU_TIMEOUT; MU_GONE; MU_NOMEM.
 */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_spawn(const struct mu_spawn *s, struct mu_script *out,
                                                int64_t deadline_ms, int *err);
/** Wait for its end. *status as of waitpid(2). Returns MU_OK, MU_TIMEOUT, MU_GONE, MU_EIO. */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_script_wait(struct mu_script *s, int *status,
                                                      int64_t deadline_ms);
/** The same without waiting: MU_AGAIN while it runs. */
MU_NODISCARD enum mu_rc mu_script_try_wait(struct mu_script *s, int *status);
/**
 * Of one whose end was not reported yet: is it about to be? It has ended, or closes its descriptors
 * because it ends; one that closed them by itself goes on.
 */
MU_NODISCARD bool mu_script_is_ending(const struct mu_script *s);
/**
 * Done with it, in order. If it runs still its process group gets TERM and, three seconds later,
 * KILL: by the helper, so this does not wait. What a program that has ended left running goes on.
 */
void mu_script_end(struct mu_script *s);
/** Nobody wants it any more: the same, and for what is left of its group when it has ended, too. */
void mu_script_kill(struct mu_script *s);

/* ---- how many run at once, in the whole server ---- */

/** No limit can be higher. */
#define MU_SCRIPT_SLOTS 16384

struct mu_script_limits {
    uint32_t most;          /**< scripts that run at once, at most MU_SCRIPT_SLOTS */
    uint32_t longest_queue; /**< requests that wait at once */
};
/**
 * A place for one more script; waits in line when there is none. `leaves`, unless NULL, is raised
 * when nobody wants the place any more (mu_client_watch).
 * Returns: MU_OK with *slot, to be given back; MU_LIMIT: the queue is full; MU_TIMEOUT; MU_GONE;
 *          MU_NOMEM; MU_EIO: no program can be started in this process.
 */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_script_slot_take(const struct mu_script_limits *l,
                                                           struct mu_wake *leaves,
                                                           int64_t deadline_ms, uint32_t *slot);
void mu_script_slot_give(uint32_t slot);

#endif
