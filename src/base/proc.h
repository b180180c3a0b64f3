/*
 * What a process does to itself and to its surroundings: descriptors, identity, pid file,
 * systemd.
 */
#ifndef MU_BASE_PROC_H
#define MU_BASE_PROC_H

#include <muster/arena.h>
#include <muster/types.h>

/** Close every descriptor from `first` on. Async-signal-safe: for a child before exec. */
void mu_close_from(int first);

/**
 * First thing in main(): standard input, output and error that whoever started us left closed are
 * opened on /dev/null, so that no descriptor of the server ever gets the number of one of them.
 * Returns: false with errno.
 */
bool mu_stdio_open(void);

/** How many processors this process may run on; at least 1. */
uint32_t mu_core_count(void);

/** Set or clear close-on-exec. Returns false with errno. */
bool mu_set_cloexec(int fd, bool is_on);

/**
 * In a forked child: give up the terminal of a server that runs in the foreground. Whoever has it as
 * its controlling one can put words into the shell it was started from (TIOCSTI).
 */
void mu_terminal_leave(void);

/**
 * In a forked child that is about to exec: default handlers for every signal and an empty signal
 * mask. Async-signal-safe.
 */
void mu_signals_default(void);

/**
 * Split a command into words: blanks separate, single and double quotes group, a backslash takes
 * the next character as it is (inside double quotes too).
 * Returns: NULL-terminated vector in the arena, or NULL when out of memory or a quote is open.
 */
char **mu_argv_split(struct mu_arena *a, struct mu_str command);

/** Who a process is to become, resolved by the supervisor so that a child needs no name service. */
struct mu_identity {
    uid_t uid;
    gid_t gid;
    const gid_t *groups; /**< supplementary, with gid */
    size_t n_groups;
    const char *user; /**< as written, for messages */
    const char *home; /**< of the user, or "/" */
};

/**
 * Resolve User and Group as the configuration writes them: a name, or "#" and a number. Without a
 * group the user's own is taken.
 * Returns: MU_OK; MU_NOENT with a message in *err; MU_NOMEM.
 */
MU_NODISCARD
enum mu_rc mu_identity_resolve(struct mu_arena *a, struct mu_str user, struct mu_str group,
                               struct mu_identity *id, struct mu_str *err);

/**
 * Become `id` for good: groups, gid, uid; bounding, ambient, inheritable, permitted and effective
 * capabilities are emptied, and it is verified that root cannot be had back. Does nothing but the
 * latter when the process is not root and already is `id`.
 * Returns: MU_OK; MU_DENIED with a message in `err`: the caller must exit.
 * Units:   err_cap in bytes.
 */
MU_NODISCARD
enum mu_rc mu_identity_assume(const struct mu_identity *id, char *err, size_t err_cap);

/**
 * The same for a process that starts programs of the administrator's: they keep the capability
 * bounding set, so that a program which gains a user's rights by its file (sendmail) still can.
 */
MU_NODISCARD
enum mu_rc mu_identity_become(const struct mu_identity *id, char *err, size_t err_cap);

/**
 * Empty the ambient, inheritable, permitted and effective capability sets, which needs no
 * capability. Returns: false with errno.
 */
bool mu_capabilities_drop(void);

/** Let the process dump core although it changed its user (CoreDumpDirectory). False with errno. */
bool mu_allow_core_dumps(void);

/**
 * As many descriptors for this process as the administrator's hard limit gives. The limit it was
 * started with is noted in the environment, where later images of the server find it.
 */
void mu_descriptors_raise(void);
/** That limit again, for a program that is about to be run: many ask for no more than it says. */
void mu_descriptors_restore(void);

/** Create a directory and its parents with `mode`. Returns MU_OK also when it exists, or MU_EIO. */
MU_NODISCARD
enum mu_rc mu_mkdir_all(const char *path, mode_t mode);

/**
 * Write `pid` and a newline to `path`: to a new file beside it, then renamed, so a reader sees
 * the old pid or the new one and a symbolic link is replaced, not followed.
 * Returns: MU_OK, or MU_EIO with errno.
 */
MU_NODISCARD
enum mu_rc mu_pidfile_write(const char *path, pid_t pid);

/** The pid in `path`. Returns MU_OK; MU_NOENT (no file); MU_BAD (no pid in it); MU_EIO (errno). */
MU_NODISCARD
enum mu_rc mu_pidfile_read(const char *path, pid_t *pid);

/**
 * Tell systemd: `state` is lines such as "READY=1\nSTATUS=…". Does nothing without NOTIFY_SOCKET.
 * Returns: MU_OK (sent); MU_NOENT (no socket is named); MU_EIO with errno.
 * Spec:    sd_notify(3)
 */
enum mu_rc mu_sd_notify(const char *state);

/** READY=1 with MAINPID and STATUS (may be NULL). */
enum mu_rc mu_sd_ready(const char *status);
/** RELOADING=1 with MONOTONIC_USEC, as Type=notify-reload wants it. */
enum mu_rc mu_sd_reloading(void);
/** STOPPING=1. */
enum mu_rc mu_sd_stopping(void);

#endif
