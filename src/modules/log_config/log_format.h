/* LogFormat strings, compiled: what mod_log_config writes for a request. */
#ifndef MU_MODULES_LOG_FORMAT_H
#define MU_MODULES_LOG_FORMAT_H

#include <muster/module.h>

/** A line being made; grows in the request's arena. */
struct log_line {
    struct mu_arena *arena;
    char *p;
    size_t n, cap;
    bool is_failed; /**< out of memory: the line is dropped */
};

void log_line_add(struct log_line *l, struct mu_str s);
/**
 * With quotes, backslashes, control and non-ASCII bytes escaped, so that no client forges a line.
 */
void log_line_add_escaped(struct log_line *l, struct mu_str s);
void log_line_addf(struct log_line *l, const char *fmt, ...) MU_PRINTF(2, 3);

struct log_item;
/** Write one item of `r` (already the original or the final request, as the item asks). */
typedef void log_item_fn(struct log_line *l, struct mu_req *r, const struct log_item *item);

struct log_item {
    log_item_fn *fn;     /**< NULL: literal text in `arg` */
    struct mu_str arg;   /**< what stands in braces */
    bool wants_original; /**< of an internal redirect: the first request, else the last */
    bool is_negated;     /**< the status list says which not */
    const uint16_t *statuses;
    size_t statuses_n;
};

struct log_format {
    const struct log_item *items;
    size_t n;
    bool wants_timing; /**< %D, %T, %^FB */
    bool wants_host;   /**< %h: a name may have to be looked up */
};

/**
 * Compile a LogFormat string. Returns NULL with *err (arena) naming what is wrong.
 */
const struct log_format *log_format_compile(struct mu_arena *a, struct mu_str text,
                                            struct mu_str *err);
/** Append the line for the exchange `r` belongs to, newline included. */
void log_format_write(const struct log_format *f, struct log_line *l, struct mu_req *r);
/** The item for what follows '%' and the braces ("s", "^ti" …); false when there is none. */
bool log_item_find(struct mu_str rest, size_t *used, struct log_item *item,
                   struct log_format *format);

#endif
