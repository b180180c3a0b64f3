/*
 * The error log: levels per module as httpd's LogLevel, unique tags, httpd's default line format.
 */
#ifndef MUSTER_LOG_H
#define MUSTER_LOG_H

#include <muster/types.h>

/** httpd's levels, most severe first. */
enum mu_log_level {
    MU_LOG_EMERG,
    MU_LOG_ALERT,
    MU_LOG_CRIT,
    MU_LOG_ERR,
    MU_LOG_WARN,
    MU_LOG_NOTICE,
    MU_LOG_INFO,
    MU_LOG_DEBUG,
    MU_LOG_TRACE1,
    MU_LOG_TRACE2,
    MU_LOG_TRACE3,
    MU_LOG_TRACE4,
    MU_LOG_TRACE5,
    MU_LOG_TRACE6,
    MU_LOG_TRACE7,
    MU_LOG_TRACE8,
};

/** a destination with its levels; one for the main server, one for a vhost that names its own */
struct mu_log;

/** Who the line speaks of; any member may be empty. */
struct mu_log_ctx {
    const struct mu_log *log; /**< NULL: the process's main log */
    struct mu_str client;     /**< "address:port" */
    const uint8_t *levels;    /**< levels of the directory (base/loglevel.h), or NULL */
    const void *request;      /**< struct mu_req for ErrorLogFormat's items, or NULL */
};

/**
 * Is (module, level) on in `ctx` (NULL: main log)? `module` is the name without "mod_", such as
 * "core".
 */
bool mu_log_is_on(const struct mu_log_ctx *ctx, const char *module, enum mu_log_level level);

/**
 * One line: "[date] [module:level] [pid N:tid N] [client A] TAG: text". Use MU_LOG.
 * Context: any; never suspends. A line is one write of at most 8 KiB; control bytes are escaped
 *          as httpd does.
 */
void mu_log_write(const struct mu_log_ctx *ctx, const char *module, enum mu_log_level level,
                  const char *tag, const char *fmt, ...) MU_PRINTF(5, 6);

/**
 * The descriptor that lines of `ctx` go to (file or pipe), for who can only write(2) any more: a
 * signal handler. -1: there is none (syslog).
 */
int mu_log_fd(const struct mu_log_ctx *ctx);

/** Where the next mu_log_write of this thread was called from, for ErrorLogFormat's %F. */
void mu_log_at(const char *file, int line);

#define MU_LOG(ctx, module, level, tag, ...)                                                       \
    do {                                                                                           \
        if (mu_log_is_on((ctx), (module), (level))) {                                              \
            mu_log_at(__FILE__, __LINE__);                                                         \
            mu_log_write((ctx), (module), (level), (tag), __VA_ARGS__);                            \
        }                                                                                          \
    } while (0)

#endif
