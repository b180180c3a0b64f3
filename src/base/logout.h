/*
 * Where log lines go: a file, standard error, syslog, or a piped logger. For error and access
 * logs.
 */
#ifndef MU_BASE_LOGOUT_H
#define MU_BASE_LOGOUT_H

#include <muster/arena.h>
#include <muster/log.h>
#include <muster/types.h>

enum mu_logout_kind { MU_LOGOUT_NONE, MU_LOGOUT_FILE, MU_LOGOUT_PIPE, MU_LOGOUT_SYSLOG };

struct mu_logout {
    enum mu_logout_kind kind;
    int fd;
    int facility;        /**< syslog's, shifted as in <syslog.h> */
    struct mu_str ident; /**< of syslog lines */
    struct mu_str spec;  /**< what it was opened as, absolute */
};

/**
 * Open what ErrorLog or CustomLog name: a path (relative to `root`), "stderr", "/dev/stderr",
 * "/dev/stdout" (duplicates: they need not be files), "syslog[:facility[:ident]]", "|program
 * args", "||program args" or "|$shell command".
 * Returns: MU_OK; MU_BAD, MU_EIO or MU_NOMEM with a message in *err that says what to do.
 * Owns:    the descriptor is closed with the arena; a piped logger's belongs to base/pipelog.h.
 * Context: the supervisor, while it is single-threaded (it forks for a piped logger).
 */
MU_NODISCARD
enum mu_rc mu_logout_open(struct mu_arena *a, struct mu_str spec, struct mu_str root,
                          struct mu_logout *out, struct mu_str *err);

/**
 * Is there a folder for the file that `spec` names? Opens nothing; what is no file passes.
 * Returns: MU_OK; MU_BAD or MU_NOMEM with a message in *err.
 */
MU_NODISCARD
enum mu_rc mu_logout_check(struct mu_arena *a, struct mu_str spec, struct mu_str root,
                           struct mu_str *err);

/**
 * Write lines, each with its newline. One write(2) for a file; for a pipe one for each PIPE_BUF
 * (4096) bytes, cut behind a newline, so that lines of several processes never interleave: a
 * single line longer than that is cut, ends in "...", and loses the rest. For syslog one datagram
 * a line.
 * Context: any thread; blocks while a piped logger's pipe is full, as httpd does. The supervisor
 *          does not block: its lines are held then (mu_pipelog_take).
 */
void mu_logout_write(const struct mu_logout *out, enum mu_log_level level, struct mu_str lines);

/** Name of the socket of syslogd; tests set another one than "/dev/log". */
void mu_logout_set_syslog_path(const char *path);

#endif
