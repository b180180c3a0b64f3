/*
 * The incremental parser of a request head. It works by lines: a line is looked at once it is
 * complete, and only its length before, so the answer never depends on how the bytes were cut by
 * the network. The first call keeps what it finds as it goes (nearly every head arrives in one
 * piece). When the head is incomplete, later calls check the syntax of new lines alone, since the
 * buffer may move in between, and a last pass over the whole head fills the result. So each byte is
 * read at most three times, however slowly it dribbles in, and an error shows as soon as its line
 * ends.
 */
#include "h1_internal.h"

#include "chars.h"

/* Empty lines skipped before a request line: old browsers send one behind the body of a POST. */
#define MAX_EMPTY_LINES 10u

enum parser_state { IN_START, IN_FIELDS };

/*
 * Longest content of the present line. httpd lets one byte more pass than is configured; so do we.
 */
static size_t max_line(const struct mu_h1_parser *p, const struct mu_h1_limits *limits)
{
    return (size_t)(p->state == IN_START ? limits->max_line : limits->max_field) + 1;
}

/* The part of a line that has arrived so far: is it too long already, whatever follows? */
static bool is_over(struct mu_str part, size_t max)
{
    return part.n > max + 1 || (part.n == max + 1 && part.p[part.n - 1] != '\r');
}

static enum mu_rc refuse_length(const struct mu_h1_parser *p, struct mu_h1_pass *pass,
                                struct mu_str line)
{
    if (p->state == IN_START) {
        pass->head->request_line = (struct mu_str){ line.p, max_line(p, pass->limits) };
        return mu_h1_refuse(pass, MU_LIMIT, MU_414_URI_TOO_LONG, "request line too long");
    }
    return mu_h1_refuse(pass, MU_LIMIT, MU_431_REQUEST_HEADER_FIELDS_TOO_LARGE,
                        "header field too long");
}

static enum mu_rc start_line(struct mu_h1_parser *p, struct mu_h1_pass *pass, struct mu_str line)
{
    if (line.n == 0) {
        return ++p->fields > MAX_EMPTY_LINES ? mu_h1_bad(pass, "too many empty lines") : MU_AGAIN;
    }
    enum mu_rc rc = mu_h1_request_line(pass, line);

    if (rc != MU_OK) {
        return rc;
    }
    p->fields = 0;
    p->state = IN_FIELDS;
    return pass->head->version == 9 ? MU_OK : MU_AGAIN;
}

static enum mu_rc field_line(struct mu_h1_parser *p, struct mu_h1_pass *pass, struct mu_str line)
{
    enum mu_rc rc;

    if (line.n == 0) {
        return MU_OK;
    }
    if (mu_ch_is_ows(*line.p)) {
        size_t total = p->field_bytes + line.n;

        if (!p->may_fold) {
            return mu_h1_bad(pass, "folded or indented header field");
        }
        if (total > max_line(p, pass->limits)) {
            return refuse_length(p, pass, line);
        }
        p->field_bytes = (uint32_t)total;
        rc = mu_h1_fold_line(pass, line);
    } else {
        if (pass->limits->max_fields != 0 && p->fields >= pass->limits->max_fields) {
            return mu_h1_refuse(pass, MU_LIMIT, MU_431_REQUEST_HEADER_FIELDS_TOO_LARGE,
                                "too many header fields");
        }
        p->fields++;
        p->field_bytes = (uint32_t)line.n;
        rc = mu_h1_field_line(pass, line, &p->may_fold);
    }
    return rc == MU_OK ? MU_AGAIN : rc;
}

/*
 * A complete line, still with its CR. Lengths come first, so that a line cut in two is judged like
 * a whole one.
 */
static enum mu_rc whole_line(struct mu_h1_parser *p, struct mu_h1_pass *pass, struct mu_str line)
{
    bool has_cr = line.n > 0 && line.p[line.n - 1] == '\r';

    line.n -= has_cr;
    if (line.n > max_line(p, pass->limits)) {
        return refuse_length(p, pass, line);
    }
    if (!has_cr && !pass->limits->is_unsafe) {
        if (p->state == IN_START) {
            pass->head->request_line = line;
        }
        return mu_h1_bad(pass, "line ends with a bare LF");
    }
    return p->state == IN_START ? start_line(p, pass, line) : field_line(p, pass, line);
}

/* MU_OK: the head is complete and its lines are well-formed; MU_AGAIN: more bytes are needed. */
static enum mu_rc take_lines(struct mu_h1_parser *p, struct mu_h1_pass *pass, const char *buf,
                             size_t n)
{
    enum mu_rc rc = MU_AGAIN;

    while (rc == MU_AGAIN) {
        const char *lf = n > p->scanned ? memchr(buf + p->scanned, '\n', n - p->scanned) : NULL;
        struct mu_str line = { buf + p->line_start, n - p->line_start };

        if (!lf) {
            p->scanned = n;
            return is_over(line, max_line(p, pass->limits)) ? refuse_length(p, pass, line)
                                                            : MU_AGAIN;
        }
        line.n = (size_t)(lf - line.p);
        p->scanned = p->line_start = (size_t)(lf - buf) + 1;
        rc = whole_line(p, pass, line);
    }
    return rc;
}

static void reset_head(struct mu_h1_head *head)
{
    *head = (struct mu_h1_head){ .version = 1000 };
}

enum mu_rc mu_h1_parse(struct mu_h1_parser *p, const struct mu_h1_limits *limits,
                       struct mu_arena *a, const char *buf, size_t n, struct mu_h1_head *head,
                       size_t *head_len, enum mu_status *status)
{
    struct mu_h1_pass pass = { .limits = limits, .head = head };
    enum mu_rc rc;

    *head_len = 0;
    *status = MU_STATUS_NONE;
    reset_head(head);
    if (p->scanned > 0) {
        rc = take_lines(p, &pass, buf, n);
        if (rc == MU_AGAIN) {
            return rc;
        }
        *p = (struct mu_h1_parser){ 0 };
        reset_head(head);
    }
    pass.arena = a;
    rc = take_lines(p, &pass, buf, n);
    if (rc == MU_OK) {
        rc = mu_h1_finish(&pass);
    }
    if (rc == MU_OK) {
        *head_len = p->line_start;
    }
    p->problem = pass.problem;
    *status = pass.status;
    return rc;
}
