/* What is around a listing: the page's beginning and end, and the files that HeaderName and
 * ReadmeName put there.
 *
 * Such a file is looked up as if the client had asked for it. HTML is run as a sub-request, so that
 * it may be a script or hold includes; other text is shown as it stands; anything else is passed
 * over.
 */
#include "autoindex.h"

#include <unistd.h>

/* From here on what was made is sent, and the listing has no length in front. */
#define MUCH (64u * 1024)

void ai_flush(struct ai_listing *l)
{
    if (l->b.is_failed)
        l->rc = MU_NOMEM;
    if (l->rc == MU_OK && l->b.n) {
        l->is_streaming = true;
        l->rc = mu_resp_write(l->r, mu_buf_str(&l->b));
    }
    l->b.n = 0;
}

void ai_flush_if_much(struct ai_listing *l)
{
    if (l->b.n >= MUCH)
        ai_flush(l);
}

static void write_preamble(struct ai_listing *l, struct mu_str title)
{
    struct mu_buf *b = &l->b;

    if (l->opts & AI_XHTML)
        mu_buf_add(b, MU_S("<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"\n"
                           "\"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n"
                           "<html xmlns=\"http://www.w3.org/1999/xhtml\">\n"));
    else
        mu_buf_add(b, MU_S("<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\" "
                           "\"http://www.w3.org/TR/html4/strict.dtd\">\n<html>\n"));
    mu_buf_add(b, MU_S(" <head>\n  <title>Index of "));
    mu_buf_add_html(b, title);
    mu_buf_add(b, MU_S("</title>\n"));
    if (l->c->style_sheet.p) {
        mu_buf_add(b, MU_S("  <link rel=\"stylesheet\" href=\""));
        mu_buf_add(b, l->c->style_sheet);
        mu_buf_add(b, l->opts & AI_XHTML ? MU_S("\" type=\"text/css\" />\n")
                                         : MU_S("\" type=\"text/css\">\n"));
    }
    mu_buf_add(b, l->c->head_insert);
    mu_buf_add(b, MU_S(" </head>\n <body>\n"));
}

static void write_heading(struct ai_listing *l, struct mu_str title)
{
    mu_buf_add(&l->b, l->c->style_sheet.p ? MU_S("  <h1 id=\"indextitle\">Index of ")
                                          : MU_S("<h1>Index of "));
    mu_buf_add_html(&l->b, title);
    mu_buf_add(&l->b, MU_S("</h1>\n"));
}

/* ---- files around it ---- */

enum kind { NOTHING, PAGE, TEXT };

static enum kind kind_of(const struct mu_req *sub)
{
    ssize_t end;
    struct mu_str type;

    if (!sub || sub->status != MU_200_OK || sub->finfo.type != MU_FT_REG)
        return NOTHING;
    end = mu_str_chr(sub->content_type, ';');
    type = mu_str_trim(end < 0 ? sub->content_type : mu_str_sub(sub->content_type, 0, (size_t)end));
    if (mu_str_ieq(type, MU_S("text/html")) || mu_str_ieq(type, MU_S("application/xhtml+xml")))
        return PAGE;
    return mu_str_istarts(type, MU_S("text/")) ? TEXT : NOTHING;
}

static struct mu_req *look_up(struct ai_listing *l, struct mu_str name, struct mu_str query)
{
    return name.n ? mu_subreq_lookup(l->r, name, query) : NULL;
}

/* Run a page into the answer. False: it did not work, and nothing of it was sent. */
static bool run_page(struct ai_listing *l, struct mu_req *sub)
{
    enum mu_status status;

    ai_flush(l);
    if (l->rc != MU_OK)
        return true; /* nobody reads it any more */
    status = mu_subreq_run(sub);
    l->is_streaming = true;
    return status == MU_STATUS_NONE || (status >= 200 && status < 300);
}

static void write_text(struct ai_listing *l, int fd)
{
    char piece[8192];
    ssize_t n;

    mu_buf_add(&l->b, MU_S("<pre>\n"));
    while (l->rc == MU_OK && (n = read(fd, piece, sizeof(piece))) > 0) {
        mu_buf_add_html_text(&l->b, mu_str_n(piece, (size_t)n));
        ai_flush_if_much(l);
    }
    mu_buf_add(&l->b, MU_S("</pre>\n"));
}

void ai_write_head(struct ai_listing *l)
{
    struct mu_str title = l->r->path;
    struct mu_req *sub = look_up(l, l->c->header, l->r->query);
    enum kind kind = kind_of(sub);
    bool wants_preamble = true, wants_heading = true;
    int fd;

    while (title.n > 1 && title.p[title.n - 1] == '/')
        title.n--;
    if (kind == PAGE) {
        if (!(l->opts & AI_NO_PREAMBLE))
            write_preamble(l, title);
        wants_heading = !run_page(l, sub);
        wants_preamble = wants_heading && (l->opts & AI_NO_PREAMBLE);
    } else if (kind == TEXT && (fd = ai_open_checked(sub)) >= 0) {
        write_preamble(l, title);
        write_text(l, fd);
        close(fd);
        wants_preamble = wants_heading = false;
    }
    if (wants_preamble)
        write_preamble(l, title);
    if (wants_heading)
        write_heading(l, title);
}

void ai_write_tail(struct ai_listing *l)
{
    struct mu_req *sub = look_up(l, l->c->readme, MU_STR_NULL);
    enum kind kind = kind_of(sub);
    bool wants_signature = true, wants_end = true;
    int fd;

    if (kind == PAGE && run_page(l, sub)) {
        wants_signature = false;
        wants_end = !(l->opts & AI_NO_PREAMBLE);
    } else if (kind == TEXT && (fd = ai_open_checked(sub)) >= 0) {
        write_text(l, fd);
        close(fd);
        wants_signature = false;
    }
    if (wants_signature)
        mu_buf_add(&l->b, mu_req_signature(l->r, MU_S("")));
    if (wants_end)
        mu_buf_add(&l->b, MU_S("</body></html>\n"));
}
