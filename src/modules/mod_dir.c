/* mod_dir: what a directory's URL means: the slash behind it, its index file, a fallback for what is missing.
 *
 * Runs among the fix-ups. An index that is found takes the request over (mu_subreq_adopt); errors of an index
 * other than 404 are answered rather than covered by a listing.
 */
#include <muster/buf.h>
#include <muster/module.h>

extern struct mu_module mu_module_dir;

struct dir_conf {
    struct mu_strs index;
    struct mu_str fallback;
    bool wants_slash;
    bool checks_handler;
    int index_redirect; /**< 0: serve in place, else the status of the redirect */
};

static enum mu_rc set_index(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct dir_conf *c = conf;
    struct mu_str *v = mu_new_n(cmd->arena, struct mu_str, c->index.n + n);
    size_t k = c->index.n;

    if (!v)
        return mu_cmd_error(cmd, "out of memory");
    if (k)
        memcpy(v, c->index.v, k * sizeof(*v));
    for (size_t i = 0; i < n; i++) {
        if (n == 1 && mu_str_ieq(args[i], MU_S("disabled")))
            k = 0;
        else
            v[k++] = args[i];
    }
    c->index = (struct mu_strs){ v, k };
    return MU_OK;
}

static enum mu_rc set_index_redirect(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                     size_t n)
{
    struct dir_conf *c = conf;
    bool is_on;
    uint64_t v;

    (void)n;
    if (mu_parse_flag(args[0], &is_on))
        c->index_redirect = is_on ? MU_302_FOUND : 0;
    else if (mu_str_ieq(args[0], MU_S("temp")))
        c->index_redirect = MU_302_FOUND;
    else if (mu_str_ieq(args[0], MU_S("permanent")))
        c->index_redirect = MU_301_MOVED_PERMANENTLY;
    else if (mu_str_ieq(args[0], MU_S("seeother")))
        c->index_redirect = MU_303_SEE_OTHER;
    else if (mu_str_u64(args[0], &v) && v >= 300 && v < 400)
        c->index_redirect = (int)v;
    else
        return mu_cmd_error(cmd,
                            "found '%.*s', allowed are on, off, temp, permanent, seeother and "
                            "a number from 300 to 399",
                            MU_FMT(args[0]));
    return MU_OK;
}

static enum mu_status add_slash(struct mu_req *r)
{
    struct mu_str url;

    if (r->method != MU_M_GET && mu_req_env(r, MU_S("redirect-carefully")).p)
        return MU_STATUS_NONE;
    url = mu_str_cat(r->arena, mu_uri_encode_path(r->arena, r->path), MU_S("/"));
    if (r->query.p)
        url = mu_str_cat(r->arena, url, MU_S("?"), r->query);
    mu_resp_set(r, MU_S("Location"), mu_req_url(r, url));
    return MU_301_MOVED_PERMANENTLY;
}

/* What a candidate's look-up means for the request: it is taken, it decides the status, or it is passed over. */
enum verdict { TAKEN, ANSWERED, PASSED };

static enum verdict judge(struct mu_req *r, struct mu_req *sub, size_t candidates,
                          enum mu_status *status)
{
    if (sub->status == MU_200_OK && sub->finfo.type == MU_FT_REG)
        return TAKEN;
    if ((sub->status >= 300 && sub->status < 400) ||
        (sub->status == MU_401_UNAUTHORIZED && candidates == 1)) {
        for (uint32_t i = 0; i < sub->out.n; i++)
            mu_resp_add(r, sub->out.v[i].name, sub->out.v[i].value);
        *status = sub->status;
        return ANSWERED;
    }
    if (sub->status != MU_404_NOT_FOUND && sub->status != MU_200_OK)
        *status = sub->status;
    return PASSED;
}

static void split_query(struct mu_req *r, struct mu_str name, struct mu_str *path,
                        struct mu_str *query)
{
    ssize_t q = mu_str_chr(name, '?');

    *path = q < 0 ? name : mu_str_sub(name, 0, (size_t)q);
    *query = q < 0 ? r->query : mu_str_sub(name, (size_t)q + 1, name.n);
}

/* For who answers in the index's place: what was looked for in vain. */
static void note_names(struct mu_req *r, const struct dir_conf *c)
{
    struct mu_buf b = { 0 };

    for (size_t i = 0; i < c->index.n; i++) {
        if (i)
            mu_buf_addc(&b, ',');
        mu_buf_add(&b, c->index.v[i]);
    }
    mu_req_note_set(r, MU_S("dir-index-names"), mu_str_dup(r->arena, mu_buf_str(&b)));
    mu_buf_fini(&b);
}

static enum mu_status try_index(struct mu_req *r, const struct dir_conf *c)
{
    enum mu_status found = MU_STATUS_NONE;

    for (size_t i = 0; i < c->index.n; i++) {
        struct mu_str path, query;
        struct mu_req *sub;

        split_query(r, c->index.v[i], &path, &query);
        sub = mu_subreq_lookup(r, path, query);
        if (!sub)
            return MU_503_SERVICE_UNAVAILABLE;
        switch (judge(r, sub, c->index.n, &found)) {
        case TAKEN:
            if (c->index_redirect) {
                mu_resp_set(r, MU_S("Location"),
                            mu_req_url(r, mu_uri_encode_path(r->arena, sub->path)));
                return (enum mu_status)c->index_redirect;
            }
            mu_subreq_adopt(sub);
            return MU_STATUS_NONE;
        case ANSWERED:
            return found;
        case PASSED:
            break;
        }
    }
    if (found == MU_STATUS_NONE && c->index.n && !r->main)
        note_names(r, c);
    return found;
}

static enum mu_status fixup_dir(struct mu_req *r, const struct dir_conf *c)
{
    if (!mu_str_ends(r->path, MU_S("/")))
        return c->wants_slash ? add_slash(r) : MU_STATUS_NONE;
    if (c->checks_handler && r->handler.n && !mu_str_eq(r->handler, MU_S("httpd/unix-directory")))
        return MU_STATUS_NONE;
    return try_index(r, c);
}

static enum mu_status fixup_missing(struct mu_req *r, const struct dir_conf *c)
{
    enum mu_status found = MU_STATUS_NONE;
    struct mu_str path, query;
    struct mu_req *sub;

    if (!c->fallback.n || mu_str_ieq(c->fallback, MU_S("disabled")))
        return MU_STATUS_NONE;
    split_query(r, c->fallback, &path, &query);
    if (mu_str_eq(r->path, path))
        return MU_STATUS_NONE;
    sub = mu_subreq_lookup(r, path, query);
    if (!sub)
        return MU_503_SERVICE_UNAVAILABLE;
    if (judge(r, sub, 1, &found) == TAKEN)
        mu_subreq_adopt(sub);
    return found;
}

static enum mu_status fixup(struct mu_req *r, const void *conf)
{
    const struct dir_conf *c = conf;

    if (r->finfo.type == MU_FT_DIR)
        return fixup_dir(r, c);
    if (r->finfo.type == MU_FT_NONE && r->filename.n && !r->handler.n)
        return fixup_missing(r, c);
    return MU_STATUS_NONE;
}

static void init(void *conf)
{
    static const struct mu_str index_html[] = { { "index.html", 10 } };
    struct dir_conf *c = conf;

    c->index = (struct mu_strs){ (struct mu_str *)(uintptr_t)index_html, 1 };
    c->wants_slash = true;
}

static const struct mu_directive directives[] = {
    MU_DIR_CUSTOM("DirectoryIndex", struct dir_conf, index,
                  MU_IN_SERVER | MU_IN_DIR | MU_OVR_INDEXES, 1, -1, set_index,
                  "names tried in turn when a directory is asked for, or disabled"),
    MU_DIR_CUSTOM("DirectoryIndexRedirect", struct dir_conf, index_redirect,
                  MU_IN_SERVER | MU_IN_DIR | MU_OVR_INDEXES, 1, 1, set_index_redirect,
                  "on, off, or the status: redirect to the index instead of serving it in place"),
    MU_DIR_FLAG("DirectorySlash", struct dir_conf, wants_slash,
                MU_IN_SERVER | MU_IN_DIR | MU_OVR_INDEXES,
                "redirect a directory's URL without a slash to the one with it"),
    MU_DIR_FLAG("DirectoryCheckHandler", struct dir_conf, checks_handler,
                MU_IN_SERVER | MU_IN_DIR | MU_OVR_INDEXES,
                "step aside when another handler is set for the directory"),
    MU_DIR_STR("FallbackResource", struct dir_conf, fallback,
               MU_IN_SERVER | MU_IN_DIR | MU_OVR_INDEXES,
               "URL path served for what matches no file, or disabled"),
    MU_DIR_END
};

MU_MODULE(dir, .conf_size = sizeof(struct dir_conf), .directives = directives, .init = init,
          .hooks = MU_HOOKS({ MU_PHASE_FIXUP, 100, fixup, false, NULL }));
