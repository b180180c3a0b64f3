/* nph: scripts that make the whole answer by themselves ("non-parsed headers") and cannot have the
 * client's socket. Where the connection is the client's alone their bytes are passed on as they
 * stand; else the status line becomes a Status field, and the rest is any script's.
 */
#include "cgi.h"

/* "HTTP/1.0 404 Not Found": what stands behind the first blank. p == NULL: it is no status line. */
static struct mu_str status_of(struct mu_str line)
{
    ssize_t blank = mu_str_chr(line, ' ');

    if (!mu_str_starts(line, MU_S("HTTP/")) || blank < 0)
        return MU_STR_NULL;
    return mu_str_trim(mu_str_sub(line, (size_t)blank, line.n));
}

/* The line is whole, or too long to be one. */
static enum mu_rc pass_line(struct cgi_run *c)
{
    struct mu_str line = mu_str_n(c->nph->line, c->nph->n), status = status_of(line);
    enum mu_rc rc;

    c->nph->is_parsed = true;
    if (!status.p) /* the answer tells what is wrong with it */
        return mu_cgi_answer_bytes(&c->answer, line);
    rc = mu_cgi_answer_bytes(&c->answer, MU_S("Status: "));
    if (rc == MU_OK)
        rc = mu_cgi_answer_bytes(&c->answer, status);
    return rc == MU_OK ? mu_cgi_answer_bytes(&c->answer, MU_S("\r\n")) : rc;
}

static enum mu_rc take_line(struct cgi_run *c, struct mu_str *bytes)
{
    struct cgi_nph *nph = c->nph;
    ssize_t lf = mu_str_chr(*bytes, '\n');
    size_t n = lf < 0 ? bytes->n : (size_t)lf + 1, room = sizeof(nph->line) - nph->n;
    bool is_whole = lf >= 0 || n > room;

    n = n < room ? n : room;
    memcpy(nph->line + nph->n, bytes->p, n);
    nph->n += n;
    *bytes = mu_str_sub(*bytes, n, bytes->n);
    return is_whole ? pass_line(c) : MU_OK;
}

enum mu_rc cgi_nph_bytes(struct cgi_run *c, struct mu_str bytes)
{
    enum mu_rc rc = MU_OK;

    if (!c->nph->is_raw && !c->nph->is_parsed && !c->nph->n)
        c->nph->is_raw = mu_resp_raw(c->r) == MU_OK;
    if (c->nph->is_raw)
        return mu_resp_write(c->r, bytes);
    if (!c->nph->is_parsed)
        rc = take_line(c, &bytes);
    return rc == MU_OK && bytes.n ? mu_cgi_answer_bytes(&c->answer, bytes) : rc;
}
