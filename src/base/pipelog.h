/* Piped loggers: programs that read log lines from a pipe. The supervisor keeps them running. */
#ifndef MU_BASE_PIPELOG_H
#define MU_BASE_PIPELOG_H

#include <muster/arena.h>
#include <muster/types.h>

/**
 * Start `spec` ("|program args", "||program args", or "|$command" for the shell), or claim the
 * logger of that very spec that runs already, from another directive or from before a re-exec.
 * Its standard input is a pipe whose both ends this process keeps: when the logger dies, lines
 * wait in the pipe for the next one and none is lost. It gets a session of its own, so that
 * Ctrl-C ends it last, by end of file.
 * Returns: MU_OK with the write end in *fd; MU_BAD, MU_EIO or MU_NOMEM with a message in *err.
 * Owns:    the descriptor belongs to the logger: never close it.
 * Context: the supervisor, single-threaded.
 */
MU_NODISCARD
enum mu_rc mu_pipelog_open(struct mu_arena *a, struct mu_str spec, int *fd, struct mu_str *err);

/**
 * A child of the supervisor ended. If it was a logger, it is started again, on the same pipe, at
 * most once a second (mu_pipelog_tick does what had to wait).
 * Returns: was it a logger?
 */
bool mu_pipelog_on_exit(pid_t pid, int status, int64_t now_ms);

/**
 * Start the loggers whose pause is over, and write lines that are held.
 * Returns: milliseconds until there is something to do again, -1 when nothing waits.
 */
int64_t mu_pipelog_tick(int64_t now_ms);

/**
 * From now on this process is the loggers' supervisor: its own lines never wait for a logger (see
 * mu_pipelog_take), because it is who starts a dead one again. It is single-threaded then.
 */
void mu_pipelog_keep(void);

/**
 * A piece of at most PIPE_BUF bytes, whole lines, for the logger whose write end is `fd`. In the
 * supervisor it is written if the pipe has room; else it is held in memory (up to 64 KiB for each
 * logger) and written when there is room, in order; what finds that full goes to standard error and
 * is counted.
 * Returns: false when this process is not the supervisor, or `fd` no logger's: write it yourself.
 */
bool mu_pipelog_take(int fd, struct mu_str piece);

/**
 * Before another image takes this process over: what is held is written if there is room now, else
 * to standard error.
 */
void mu_pipelog_spill(void);

/** In a serving child after fork: close the read ends, keep the write ends; writing blocks. */
void mu_pipelog_child(void);

/** What survives a re-exec of one logger. */
struct mu_pipelog_state {
    struct mu_str spec; /**< borrowed */
    int write_fd;
    int read_fd;
    pid_t pid; /**< 0 while it waits to be started again */
};

/**
 * All loggers, for the state handed over and for the descriptors to keep open: start with *it ==
 * 0.
 * Returns: false at the end.
 */
bool mu_pipelog_export(size_t *it, struct mu_pipelog_state *state);

/**
 * Take over a logger after a re-exec; its descriptors become close-on-exec. Nobody has claimed it
 * yet. One that waited to be started again is due at once.
 */
MU_NODISCARD
enum mu_rc mu_pipelog_import(const struct mu_pipelog_state *state);

/**
 * When the new configuration has claimed what it names: let go of the rest. Such a logger sees
 * the end of its input when the last child of the old generation has ended, and is not started
 * again.
 */
void mu_pipelog_retire_unclaimed(void);

/**
 * At the end: close all pipes, so that the loggers see the end of their input once the children
 * are gone. A pipe that has no room for lines that are held stays open: repeat the call.
 * Returns: number of loggers that still run; each will be seen by mu_pipelog_on_exit.
 */
size_t mu_pipelog_close_all(void);

/** Pid of some logger that still runs, 0 when there is none: for the last resort of a full stop. */
pid_t mu_pipelog_any_pid(void);

#endif
