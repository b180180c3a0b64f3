/*
 * errorlog: the logs, who is heard in them, and the way of a line from the call to one write. The
 * format's language is in logformat.c, the destinations are in logout.c. Logs are made and changed
 * while the configuration is read, and only read while requests are served.
 */
#include "base/errorlog.h"

#include "base/logformat.h"
#include "base/logout.h"

#include <muster/clock.h>
#include <muster/str.h>

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { LINE_CAP = 8192 };

struct mu_log {
    struct mu_logout out;
    const uint8_t *levels;
    const struct mu_logformat *format; /* NULL: the default */
};

static const struct mu_log stderr_log = {
    .out = { .kind = MU_LOGOUT_FILE, .fd = STDERR_FILENO, .spec = { "stderr", 6 } },
};

static const struct mu_log *main_log = &stderr_log;
static mu_errorlog_item_fn request_item;

static pid_t own_pid;
static __thread pid_t own_tid;
static __thread const char *call_file;
static __thread int call_line;

void mu_log_after_fork(void)
{
    own_pid = getpid();
    own_tid = gettid();
}

__attribute__((constructor)) static void watch_forks(void)
{
    own_pid = getpid();
    pthread_atfork(NULL, NULL, mu_log_after_fork);
}

void mu_log_at(const char *file, int line)
{
    call_file = file;
    call_line = line;
}

struct mu_log *mu_errorlog_create(struct mu_arena *a)
{
    struct mu_log *log = mu_new(a, struct mu_log);

    if (log)
        *log = stderr_log;
    return log;
}

enum mu_rc mu_errorlog_open(struct mu_arena *a, struct mu_log *log, struct mu_str dest,
                            struct mu_str root, struct mu_str *err)
{
    struct mu_logout out;
    enum mu_rc rc = mu_logout_open(a, dest, root, &out, err);

    if (rc == MU_OK)
        log->out = out;
    return rc;
}

void mu_errorlog_set_levels(struct mu_log *log, const uint8_t *levels)
{
    log->levels = levels;
}

void mu_errorlog_set_main(const struct mu_log *log)
{
    main_log = log ? log : &stderr_log;
}

void mu_errorlog_set_items(mu_errorlog_item_fn fn)
{
    request_item = fn;
}

static const struct mu_log *log_of(const struct mu_log_ctx *ctx)
{
    return ctx && ctx->log ? ctx->log : main_log;
}

int mu_log_fd(const struct mu_log_ctx *ctx)
{
    const struct mu_logout *out = &log_of(ctx)->out;

    return out->kind == MU_LOGOUT_FILE || out->kind == MU_LOGOUT_PIPE ? out->fd : -1;
}

bool mu_log_is_on(const struct mu_log_ctx *ctx, const char *module, enum mu_log_level level)
{
    const struct mu_log *log = log_of(ctx);
    uint8_t limit = MU_LOG_UNSET;
    uint8_t index;

    /* As in httpd, nothing keeps a notice out of a file: it tells of starts, restarts and stops. */
    if (level == MU_LOG_NOTICE && log->out.kind != MU_LOGOUT_SYSLOG)
        return true;
    if (level > mu_log_ceiling)
        return false;
    index = mu_log_module_find(module);
    if (ctx && ctx->levels)
        limit = mu_log_levels_get(ctx->levels, index);
    if (limit == MU_LOG_UNSET && log->levels)
        limit = mu_log_levels_get(log->levels, index);
    return level <= (limit == MU_LOG_UNSET ? MU_LOG_WARN : limit);
}

enum mu_rc mu_errorlog_set_format(struct mu_arena *a, struct mu_log *log, struct mu_str format,
                                  struct mu_str *err)
{
    struct mu_logformat *compiled = mu_new(a, struct mu_logformat);
    enum mu_rc rc = compiled ? mu_logformat_compile(a, format, compiled, err) : MU_NOMEM;

    if (rc == MU_OK)
        log->format = compiled;
    return rc;
}

/* syslogd writes the time itself. */
static const struct mu_logformat *format_of(const struct mu_log *log)
{
    if (log->format)
        return log->format;
    return log->out.kind == MU_LOGOUT_SYSLOG ? &mu_logformat_default_syslog : &mu_logformat_default;
}

void mu_log_write(const struct mu_log_ctx *ctx, const char *module, enum mu_log_level level,
                  const char *tag, const char *fmt, ...)
{
    const struct mu_log *log = log_of(ctx);
    struct mu_logformat_call c = { .ctx = ctx,
                                   .module = module,
                                   .level = level,
                                   .file = call_file,
                                   .line = call_line,
                                   .pid = own_pid,
                                   .request_item = request_item };
    int saved = errno; /* a caller may print first and decide by errno after */
    char text[LINE_CAP];
    char out[LINE_CAP];
    ssize_t len;
    size_t n = 0;
    int m;
    va_list ap;

    if (own_tid == 0)
        own_tid = gettid();
    if (tag && *tag)
        n = (size_t)snprintf(text, 64, "%.60s: ", tag);
    va_start(ap, fmt);
    m = vsnprintf(text + n, sizeof(text) - n, fmt, ap);
    va_end(ap);
    if (m > 0)
        n += (size_t)m < sizeof(text) - n ? (size_t)m : sizeof(text) - n - 1;
    c.tid = own_tid;
    c.text = mu_str_n(text, n);
    len = mu_logformat_print(format_of(log), &c, out, sizeof(out) - 1);
    if (len >= 0) {
        out[len++] = '\n';
        mu_logout_write(&log->out, level, mu_str_n(out, (size_t)len));
    }
    call_file = NULL;
    errno = saved;
}
