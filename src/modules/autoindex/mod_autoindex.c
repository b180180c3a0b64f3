/* mod_autoindex: a page that lists a directory which has no index file, where Options Indexes allows it.
 *
 * The page is made in a buffer and sent with its length; only a very long one, or one with a page of its own above or
 * below, is streamed. Reading directories blocks, so the handler says so.
 */
#include "autoindex.h"

extern struct mu_module mu_module_autoindex;

static enum mu_status refuse(struct mu_req *r)
{
    struct mu_str names = mu_req_note(r, MU_S("dir-index-names"));

    MU_LOG(
        &r->log, "autoindex", MU_LOG_ERR, "MU1100",
        "Cannot serve directory %.*s: No matching DirectoryIndex (%.*s) found, and server-generated "
        "directory index forbidden by Options directive",
        MU_FMT(r->filename), MU_FMT(names.n ? names : MU_S("none")));
    return MU_403_FORBIDDEN;
}

static void free_buffer(void *arg)
{
    mu_buf_fini(arg);
}

static void set_type(struct mu_req *r, const struct ai_conf *c)
{
    struct mu_str type = c->type.p ? c->type : MU_S("text/html");
    struct mu_str charset = c->charset.p ? c->charset : MU_S("ISO-8859-1");

    mu_resp_type(r, mu_str_cat(r->arena, type, MU_S(";charset="), charset));
}

static enum mu_status send_page(struct ai_listing *l)
{
    if (!l->is_streaming)
        return l->b.is_failed ? MU_503_SERVICE_UNAVAILABLE
                              : mu_resp_send(l->r, MU_200_OK, mu_buf_str(&l->b));
    ai_flush(l);
    return MU_200_OK;
}

/* HEAD: nobody wants to know the length so much that the directory is read for it. */
static enum mu_status send_head(struct mu_req *r)
{
    r->status = MU_200_OK;
    (void)!mu_resp_chunks(r, NULL, 0, true);
    return MU_200_OK;
}

static enum mu_status list_directory(struct mu_req *r, const void *conf)
{
    struct ai_listing *l = mu_new(r->arena, struct ai_listing);
    enum mu_status status = MU_STATUS_NONE;

    if (!(mu_req_options(r) & MU_OPT_INDEXES))
        return refuse(r);
    if (!l || mu_defer(r->arena, free_buffer, &l->b) != MU_OK)
        return MU_503_SERVICE_UNAVAILABLE;
    l->r = r;
    l->c = conf;
    ai_query(l);
    set_type(r, l->c);
    if (l->opts & AI_TRACK_MODIFIED) {
        mu_resp_file_validators(r);
        status = mu_req_conditions(r);
    }
    if (status == MU_STATUS_NONE && r->is_head)
        return send_head(r);
    if (status == MU_STATUS_NONE)
        status = ai_read(l);
    if (status != MU_STATUS_NONE)
        return status;
    ai_sort(l);
    ai_write_head(l);
    ai_write_rows(l);
    ai_write_tail(l);
    return send_page(l);
}

MU_MODULE(autoindex, .conf_size = sizeof(struct ai_conf), .directives = ai_directives,
          .init = ai_conf_init, .merge = ai_conf_merge,
          .handlers = MU_HANDLERS({ "httpd/unix-directory", list_directory, MU_GET | MU_HEAD, true,
                                    false }));
