/* nph: output of a script that makes the whole answer by itself ("non-parsed headers") and cannot
 * have the client's socket. Its status line becomes a Status field, and the rest is any script's.
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
    struct cgi_status_line *l = c->status_line;
    struct mu_str line = mu_str_n(l->text, l->n), status = status_of(line);
    enum mu_rc rc;

    l->is_over = true;
    if (!status.p) /* the answer tells what is wrong with it */
        return mu_cgi_answer_bytes(&c->answer, line);
    rc = mu_cgi_answer_bytes(&c->answer, MU_S("Status: "));
    if (rc == MU_OK)
        rc = mu_cgi_answer_bytes(&c->answer, status);
    return rc == MU_OK ? mu_cgi_answer_bytes(&c->answer, MU_S("\r\n")) : rc;
}

enum mu_rc cgi_nph_bytes(struct cgi_run *c, struct mu_str bytes)
{
    struct cgi_status_line *l = c->status_line;
    ssize_t lf = mu_str_chr(bytes, '\n');
    size_t n = lf < 0 ? bytes.n : (size_t)lf + 1;
    bool is_whole = lf >= 0;
    enum mu_rc rc;

    if (n > sizeof(l->text) - l->n) {
        n = sizeof(l->text) - l->n;
        is_whole = true;
    }
    memcpy(l->text + l->n, bytes.p, n);
    l->n += n;
    if (!is_whole)
        return MU_OK;
    rc = pass_line(c);
    bytes = mu_str_sub(bytes, n, bytes.n);
    return rc == MU_OK && bytes.n ? mu_cgi_answer_bytes(&c->answer, bytes) : rc;
}
