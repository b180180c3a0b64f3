/* ErrorLogFormat: compiled into items, and a log call printed by them. For base/errorlog.c
 * alone. */
#ifndef MU_BASE_LOGFORMAT_H
#define MU_BASE_LOGFORMAT_H

#include "base/errorlog.h"

#include <muster/arena.h>

enum mu_logformat_flags {
    MU_LOGFORMAT_FIELD = 1,  /**< a field starts here */
    MU_LOGFORMAT_HYPHEN = 2, /**< "-" stands for nothing */
    MU_LOGFORMAT_REQUIRED = 4,
};

struct mu_logformat_item {
    char kind;         /**< the letter; '"' for text */
    uint8_t flags;     /**< of mu_logformat_flags */
    uint8_t min_level; /**< only for lines of this level and more talkative ones */
    struct mu_str arg; /**< what stood in braces, or the text */
};

struct mu_logformat {
    const struct mu_logformat_item *items;
    size_t n;
};

/** MU_ERRORLOG_FORMAT, and the same without the time. */
extern const struct mu_logformat mu_logformat_default;
extern const struct mu_logformat mu_logformat_default_syslog;

/** One log call. */
struct mu_logformat_call {
    const struct mu_log_ctx *ctx;
    const char *module;
    enum mu_log_level level;
    struct mu_str text;
    const char *file; /**< NULL: unknown */
    int line;
    pid_t pid;
    pid_t tid;
    mu_errorlog_item_fn request_item; /**< NULL: nobody knows requests */
};

/** Compile; see mu_errorlog_set_format. */
MU_NODISCARD
enum mu_rc mu_logformat_compile(struct mu_arena *a, struct mu_str text, struct mu_logformat *format,
                                struct mu_str *err);

/**
 * Print the call into buf, without a newline; what does not fit is cut.
 * Returns: its length, or -1 when the format wants no line for it.
 */
ssize_t mu_logformat_print(const struct mu_logformat *format, const struct mu_logformat_call *call,
                           char *buf, size_t cap);

#endif
