/* The head of an application's output, taken in whatever pieces it comes.
 *
 * An application is trusted no further than a client: a name that is no token, a CR, a NUL or
 * another control character in a value, a folded line are refused, never repaired, since each of
 * them could end or split the head that the server makes of it.
 */
#include <http/cgi_head.h>

#include <muster/arena.h>
#include <muster/str.h>

#include "chars.h"

enum { FIRST_KEPT = 256, SHOWN = 60 };

void mu_cgi_head_init(struct mu_cgi_head_parser *p, struct mu_arena *a)
{
    *p = (struct mu_cgi_head_parser){ .arena = a, .head = { .length = -1 } };
}

static enum mu_rc refuse(struct mu_cgi_head_parser *p, enum mu_rc rc, const char *problem,
                         struct mu_str line)
{
    p->problem = problem;
    p->line = mu_str_sub(line, 0, SHOWN);
    return rc;
}

/* ---- the fields of CGI's own ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "404", "404 Not Found". Interim answers are the server's own to give. */
static void take_status(struct mu_cgi_head *h, struct mu_str v)
{
    bool is_number = v.n >= 3 && is_digit(v.p[0]) && is_digit(v.p[1]) && is_digit(v.p[2]) &&
                     (v.n == 3 || mu_ch_is_ows(v.p[3]));
    int status = is_number ? (v.p[0] - '0') * 100 + (v.p[1] - '0') * 10 + (v.p[2] - '0') : 0;

    h->has_status = true;
    h->is_status_bad = status < 200 || status > 599;
    h->status = h->is_status_bad ? MU_STATUS_NONE : (enum mu_status)status;
    h->reason = h->is_status_bad ? MU_STR_NULL : mu_ch_trim_ows(mu_str_sub(v, 3, v.n));
}

static void take_length(struct mu_cgi_head *h, struct mu_str v)
{
    uint64_t n;

    if (!mu_str_u64(v, &n) || n > INT64_MAX || (h->length >= 0 && h->length != (int64_t)n))
        h->is_length_bad = true;
    h->length = h->is_length_bad ? -1 : (int64_t)n;
}

static enum mu_rc take_field(struct mu_cgi_head_parser *p, struct mu_str name, struct mu_str value)
{
    struct mu_cgi_head *h = &p->head;
    enum mu_header_id id = mu_header_id(name);

    switch (id) {
    case MU_H_CONTENT_TYPE:
        h->has_type = true;
        h->type = value;
        return MU_OK;
    case MU_H_CONTENT_LENGTH:
        take_length(h, value);
        return MU_OK;
    case MU_H_LOCATION:
        if (h->location.n && !mu_str_eq(h->location, value))
            return refuse(p, MU_BAD, "a second Location, which leads elsewhere", value);
        h->location = value;
        return MU_OK;
    default:
        if (id == MU_H_OTHER && mu_str_ieq(name, MU_S("Status"))) {
            take_status(h, value);
            return MU_OK;
        }
        return mu_headers_add_id(p->arena, &h->fields, id, name, value);
    }
}

/* ---- lines ---- */

static const char *name_problem(struct mu_str line, size_t name_n)
{
    if (mu_str_starts(line, MU_S("HTTP/")))
        return "a status line, which only nph- scripts send";
    if (mu_ch_is_ows(line.p[0]))
        return "a folded line";
    return name_n == line.n || mu_str_chr(line, ':') < 0 ? "a line without a colon"
                                                         : "a malformed name";
}

/* Without its line end; not empty. */
static enum mu_rc take_line(struct mu_cgi_head_parser *p, struct mu_str line)
{
    size_t name_n = mu_ch_span(line, MU_CH_TOKEN);
    struct mu_str value;

    if (name_n == 0 || name_n == line.n || line.p[name_n] != ':')
        return refuse(p, MU_BAD, name_problem(line, name_n), line);
    value = mu_str_sub(line, name_n + 1, line.n);
    if (!mu_ch_is_field_value(value))
        return refuse(p, MU_BAD, "a control character", line);
    if (++p->lines > MU_CGI_FIELDS_MAX)
        return refuse(p, MU_LIMIT, "too many fields", line);
    line = mu_str_dup(p->arena, line);
    if (!line.p)
        return MU_NOMEM;
    return take_field(p, mu_str_sub(line, 0, name_n),
                      mu_ch_trim_ows(mu_str_sub(line, name_n + 1, line.n)));
}

/* The rest of `in` is the beginning of a line, or what follows it. */
static enum mu_rc keep(struct mu_cgi_head_parser *p, struct mu_str in)
{
    uint32_t need = p->kept_n + (uint32_t)in.n, cap = p->kept_cap ? p->kept_cap : FIRST_KEPT;
    char *room;

    while (cap < need)
        cap *= 2;
    if (cap != p->kept_cap) {
        room = mu_arena_alloc(p->arena, cap);
        if (!room)
            return MU_NOMEM;
        if (p->kept_n)
            memcpy(room, p->kept, p->kept_n);
        p->kept = room;
        p->kept_cap = cap;
    }
    if (in.n)
        memcpy(p->kept + p->kept_n, in.p, in.n);
    p->kept_n = need;
    return MU_OK;
}

/* One line off the front of *in, its LF included. MU_AGAIN: there is none yet, the rest is kept. */
static enum mu_rc next_line(struct mu_cgi_head_parser *p, struct mu_str *in, struct mu_str *line)
{
    const char *lf = in->n ? memchr(in->p, '\n', in->n) : NULL;
    size_t n = lf ? (size_t)(lf - in->p) + 1 : in->n;

    if (n > MU_CGI_LINE_MAX || p->kept_n + n > MU_CGI_LINE_MAX)
        return refuse(p, MU_LIMIT, "a line that is too long",
                      p->kept_n ? mu_str_n(p->kept, p->kept_n) : *in);
    p->bytes += (uint32_t)n;
    if (p->bytes > MU_CGI_HEAD_MAX)
        return refuse(p, MU_LIMIT, "a head that is too long", *in);
    *line = mu_str_n(in->p, n);
    if ((!lf || p->kept_n) && n) {
        if (keep(p, *line) != MU_OK)
            return MU_NOMEM;
        *line = mu_str_n(p->kept, p->kept_n);
    }
    *in = mu_str_sub(*in, n, in->n);
    if (lf)
        p->kept_n = 0;
    return lf ? MU_OK : MU_AGAIN;
}

enum mu_rc mu_cgi_head_feed(struct mu_cgi_head_parser *p, struct mu_str in, size_t *used)
{
    struct mu_str rest = in, line;
    enum mu_rc rc;

    do {
        rc = next_line(p, &rest, &line);
        if (rc != MU_OK)
            break;
        line.n--;
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (line.n == 0)
            break;
        rc = take_line(p, line);
    } while (rc == MU_OK);
    *used = in.n - rest.n;
    return rc;
}
