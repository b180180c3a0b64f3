/* The status page's two forms: lines for programs, a page for people. */
#ifndef MU_MODULES_STATUS_H
#define MU_MODULES_STATUS_H

#include <muster/buf.h>
#include <muster/module.h>

struct status_options {
    bool is_auto;       /**< ?auto: "Key: value" lines */
    bool is_no_table;   /**< ?notable: a list instead of the table of requests */
    uint64_t refresh_s; /**< ?refresh=N */
};

/** "Key: value" lines under the keys exporters know. */
void status_machine(struct mu_req *r, const struct mu_server_view *v, struct mu_buf *b);
/** The page. */
void status_html(struct mu_req *r, const struct mu_server_view *v, const struct status_options *o,
                 struct mu_buf *b);
/** The scoreboard's letters, all workers; `width` 0: no line breaks. */
void status_letters(struct mu_buf *b, size_t width);
/** Workers by their letters, so that the sums agree with the scoreboard shown beside them. */
struct status_workers {
    uint32_t busy, idle, graceful;
};
struct status_workers status_count(void);
/** "3 hours 2 minutes 1 second". */
void status_uptime(struct mu_buf *b, int64_t seconds);
/** Seconds since the server started, at least 1. */
int64_t status_uptime_s(const struct mu_server_view *v);

#endif
