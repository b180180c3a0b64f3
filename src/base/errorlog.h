/*
 * Error log destinations: opening them, their levels, and ErrorLogFormat. The log calls are in
 * muster/log.h.
 */
#ifndef MU_BASE_ERRORLOG_H
#define MU_BASE_ERRORLOG_H

#include "base/loglevel.h"

#include <muster/arena.h>
#include <muster/log.h>
#include <muster/types.h>

/** httpd's default for a threaded server. */
#define MU_ERRORLOG_FORMAT                                                                         \
    "[%{u}t] [%-m:%l] [pid %P:tid %T] %7F: %E: [client\\ %a] %M% ,\\ referer\\ %{Referer}i"

/**
 * A log in the arena that goes to standard error, at level warn, in the default format.
 * Returns: NULL when out of memory.
 */
struct mu_log *mu_errorlog_create(struct mu_arena *a);

/**
 * Send the log to `dest` (see mu_logout_open for what may be named).
 * Returns: MU_OK, or an error with a message in *err; the log then goes on as before.
 */
MU_NODISCARD
enum mu_rc mu_errorlog_open(struct mu_arena *a, struct mu_log *log, struct mu_str dest,
                            struct mu_str root, struct mu_str *err);

/**
 * Use ErrorLogFormat's language: %% %a %{c}a %A %{name}e %E %F %{name}i %k %l %L %{c}L %{C}L %m
 * %M %{name}n %P %T %{g}T %t %{u}t %{m}t %{c}t %{cu}t %v %V; "\ " is a blank, "% " separates
 * fields and prints nothing. An item that has nothing to say takes its field (up to the blank
 * before it) with it; %-x prints "-" instead, %+x drops the line, %7x applies from level 7
 * (debug) on. %E is always empty: Muster's messages carry the system's error text themselves.
 * Returns: MU_OK; MU_BAD with a message in *err; MU_NOMEM.
 */
MU_NODISCARD
enum mu_rc mu_errorlog_set_format(struct mu_arena *a, struct mu_log *log, struct mu_str format,
                                  struct mu_str *err);

/** Levels of the log; the table is borrowed. What it leaves unset is at warn. */
void mu_errorlog_set_levels(struct mu_log *log, const uint8_t *levels);

/** The log of all lines without one of their own. NULL: back to standard error. */
void mu_errorlog_set_main(const struct mu_log *log);

/**
 * Writes what an item of the format that base does not know prints (a A e i k L n v V) to `buf`,
 * unescaped. Returns its length, 0 for nothing. Called with ctx->request set or not.
 */
typedef size_t (*mu_errorlog_item_fn)(const struct mu_log_ctx *ctx, char item, struct mu_str arg,
                                      char *buf, size_t cap);

/** Who knows requests (the server room) says so once at start. */
void mu_errorlog_set_items(mu_errorlog_item_fn fn);

/**
 * Forget the cached pid and thread id. Runs by itself after fork; call it after a raw clone.
 */
void mu_log_after_fork(void);

#endif
