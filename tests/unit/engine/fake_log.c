/* fake_log: stands in for the error log, so that the engine's tests can see what was logged. */
#include <muster/log.h>
#include <stdarg.h>
#include <stdio.h>

#include "engine_test.h"

unsigned log_lines;
char log_last[512];

bool mu_log_is_on(const struct mu_log_ctx *ctx, const char *module, enum mu_log_level level)
{
    (void)ctx;
    (void)module;
    return level <= MU_LOG_INFO;
}

void mu_log_at(const char *file, int line)
{
    (void)file;
    (void)line;
}

void mu_log_write(const struct mu_log_ctx *ctx, const char *module, enum mu_log_level level,
                  const char *tag, const char *fmt, ...)
{
    va_list args;
    int n = snprintf(log_last, sizeof(log_last), "%s ", tag);

    (void)ctx;
    (void)module;
    (void)level;
    va_start(args, fmt);
    vsnprintf(log_last + n, sizeof(log_last) - (size_t)n, fmt, args);
    va_end(args);
    log_lines++;
}
