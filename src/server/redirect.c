/* Internal redirects and sub-requests: other requests in the course of one.
 *
 * A redirect makes a new request that answers in the place of the old one (r->next); what the
 * environment held is known to it under REDIRECT_ names. A sub-request is looked up through the
 * same phases, keeps a body of its own out of the client's view until it is run, and then writes
 * into the output of the request it belongs to.
 */
#include "room.h"

#include <muster/str.h>

struct mu_req *mu_req_derive(struct mu_req *r)
{
    struct mu_req *n = mu_new(r->arena, struct mu_req);

    if (!n)
        return NULL;
    n->arena = r->arena;
    n->vhost = r->vhost;
    n->peer = r->peer;
    n->log = r->log;
    n->method = r->method;
    n->version = r->version;
    n->is_head = r->is_head;
    n->method_name = r->method_name;
    n->request_line = r->request_line;
    n->target = r->target;
    n->host = r->host;
    n->host_port = r->host_port;
    n->in = r->in;
    n->time_us = r->time_us;
    n->mono_us = r->mono_us;
    n->status = MU_200_OK;
    n->last_modified = -1;
    n->content_length = -1;
    n->user = r->user;
    n->auth_type = r->auth_type;
    return mu_req_begin(n) == MU_OK ? n : NULL;
}

static void env_rename(struct mu_req *r, struct mu_req *n)
{
    for (uint32_t i = 0; i < r->env.n; i++)
        mu_req_env_set(n, mu_str_cat(n->arena, MU_S("REDIRECT_"), r->env.v[i].name),
                       r->env.v[i].value);
}

/* REDIRECT_URL and its kin are for applications alone and are made with their environment. */
static void env_redirect(struct mu_req *r, struct mu_req *n)
{
    env_rename(r, n);
    mu_req_env_set(n, MU_S("REDIRECT_STATUS"), mu_fmt(n->arena, "%d", (int)r->status));
}

/* The path of a redirect is somebody's text: it is made as clean as a client's. */
static struct mu_str clean_path(struct mu_arena *a, struct mu_str path)
{
    struct mu_str encoded = mu_uri_encode_path(a, path), clean = MU_STR_NULL;

    if (!encoded.p || mu_uri_path_decode(a, encoded, true, MU_SLASHES_DECODE, &clean) != MU_OK)
        return MU_STR_NULL;
    return clean;
}

static struct mu_req *redirect_make(struct mu_req *r, struct mu_str path, struct mu_str query)
{
    struct mu_req *n = mu_req_derive(r);

    if (!n)
        return NULL;
    n->path = clean_path(n->arena, path);
    n->query = query;
    n->has_body = r->has_body;
    n->body_len = r->body_len;
    n->main = r->main;
    n->out_always = r->out_always;
    n->status = r->status;
    n->status_reason = r->status_reason;
    n->methods_allowed = 0;
    mu_core_req(n)->redirects = mu_core_req(r)->redirects + 1;
    mu_core_req(n)->depth = mu_core_req(r)->depth;
    mu_core_req(n)->error = mu_core_req(r)->error;
    env_redirect(r, n);
    if (!n->path.p)
        return NULL;
    n->prev = r;
    r->next = n;
    return n;
}

static bool is_looping(struct mu_req *r)
{
    int64_t max = mu_core_of(r->vhost->base)->max_redirects;

    if ((int64_t)mu_core_req(r)->redirects < max)
        return false;
    MU_LOG(
        &r->log, "core", MU_LOG_ERR, "MU0650",
        "request exceeded the limit of %lld internal redirects due to probable configuration error; "
        "LimitInternalRecursion raises the limit",
        (long long)max);
    return true;
}

enum mu_status mu_internal_redirect(struct mu_req *r, struct mu_str path, struct mu_str query)
{
    struct mu_req *n;

    if (is_looping(r))
        return MU_500_INTERNAL_SERVER_ERROR;
    n = redirect_make(r, path, query);
    if (!n)
        return MU_500_INTERNAL_SERVER_ERROR;
    if (!r->main)
        return mu_req_answer(n);
    n->status = mu_req_phases(n);
    if (n->status == MU_STATUS_NONE)
        n->status = MU_200_OK;
    return n->status == MU_200_OK ? mu_subreq_run(n) : n->status;
}

enum mu_status mu_error_redirect(struct mu_req *r, struct mu_str path, struct mu_str query)
{
    struct mu_str notes = mu_req_note(r, MU_S("error-notes"));
    struct mu_req *n;

    /* They reach the document as REDIRECT_REQUEST_METHOD and REDIRECT_ERROR_NOTES. */
    mu_req_env_set(r, MU_S("REQUEST_METHOD"), r->method_name);
    if (notes.p)
        mu_req_env_set(r, MU_S("ERROR_NOTES"), notes);
    n = is_looping(r) ? NULL : redirect_make(r, path, query);
    if (!n) {
        mu_core_req(r)->error = r->status;
        return mu_error_answer(r, MU_500_INTERNAL_SERVER_ERROR);
    }
    mu_core_req(n)->error = r->status;
    n->method = MU_M_GET; /* of HEAD too, as in httpd; is_head keeps the body away */
    n->method_name = MU_S("GET");
    n->has_body = false; /* it belongs to the request that failed */
    n->body_len = 0;
    return mu_req_answer(n);
}

/* ---- sub-requests ---- */

static struct mu_req *sub_make(struct mu_req *r)
{
    int64_t max = mu_core_of(r->vhost->base)->max_subrequests;
    struct mu_req *sub;

    if ((int64_t)mu_core_req(r)->depth >= max) {
        MU_LOG(
            &r->log, "core", MU_LOG_ERR, "MU0651",
            "request exceeded the limit of %lld sub-requests in each other; LimitInternalRecursion raises "
            "the limit",
            (long long)max);
        return NULL;
    }
    sub = mu_req_derive(r);
    if (!sub)
        return NULL;
    sub->main = r;
    sub->method = MU_M_GET;
    sub->method_name = MU_S("GET");
    sub->is_head = false;
    sub->env = r->env;
    mu_core_req(sub)->depth = mu_core_req(r)->depth + 1;
    return sub;
}

/* What a sub-request sets must not show in the request it belongs to. */
static bool sub_env(struct mu_req *sub)
{
    struct mu_headers own = { 0 };

    for (uint32_t i = 0; i < sub->env.n; i++) {
        if (mu_headers_add(sub->arena, &own, sub->env.v[i].name, sub->env.v[i].value) != MU_OK)
            return false;
    }
    sub->env = own;
    return true;
}

/* Of `path` itself when it is absolute, else beside the request's own. */
static struct mu_str sub_path(struct mu_req *r, struct mu_str path)
{
    ssize_t slash = mu_str_rchr(r->path, '/');

    if (!mu_str_starts(path, MU_S("/")))
        path = mu_str_cat(r->arena, mu_str_sub(r->path, 0, (size_t)(slash + 1)), path);
    return path.p ? clean_path(r->arena, path) : path;
}

static void sub_status(struct mu_req *sub, enum mu_status status)
{
    sub->status = status == MU_STATUS_NONE ? MU_200_OK : status;
}

struct mu_req *mu_subreq_lookup(struct mu_req *r, struct mu_str path, struct mu_str query)
{
    struct mu_req *sub = sub_make(r);

    if (!sub || !sub_env(sub))
        return NULL;
    sub->path = sub_path(r, path);
    sub->query = query;
    if (!sub->path.p)
        return NULL;
    sub_status(sub, mu_req_phases(sub));
    return sub;
}

/* The directory r->filename is in, or is, with its slash. */
static struct mu_str directory_of(struct mu_req *r)
{
    ssize_t slash = mu_str_rchr(r->filename, '/');

    if (r->finfo.type == MU_FT_DIR && (size_t)(slash + 1) < r->filename.n)
        return mu_str_cat(r->arena, r->filename, MU_S("/"));
    return mu_str_sub(r->filename, 0, (size_t)(slash + 1));
}

struct mu_req *mu_subreq_lookup_file(struct mu_req *r, struct mu_str name,
                                     const struct mu_finfo *fi)
{
    struct mu_req *sub = sub_make(r);
    ssize_t slash = mu_str_rchr(r->path, '/');
    enum mu_status status;

    if (!sub || !sub_env(sub) || mu_str_chr(name, '/') >= 0)
        return NULL;
    /* A directory is looked up as the client would ask for it in the end: with its slash. */
    sub->path = mu_str_cat(r->arena, mu_str_sub(r->path, 0, (size_t)(slash + 1)), name,
                           fi->type == MU_FT_DIR ? MU_S("/") : MU_S(""));
    sub->filename = mu_str_cat(r->arena, directory_of(r), name);
    sub->context_prefix = r->context_prefix;
    sub->context_root = r->context_root;
    if (!sub->path.p || !sub->filename.p)
        return NULL;
    status = mu_walk_known(sub, fi);
    if (status == MU_STATUS_NONE)
        status = mu_req_phases_walked(sub);
    sub_status(sub, status);
    return sub;
}

void mu_subreq_adopt(struct mu_req *sub)
{
    struct mu_req *r = sub->main;
    struct mu_req_core *core = mu_core_req(r), *from = mu_core_req(sub);

    r->path = sub->path;
    r->query = sub->query;
    r->filename = sub->filename;
    r->path_info = sub->path_info;
    r->finfo = sub->finfo;
    r->context_prefix = sub->context_prefix;
    r->context_root = sub->context_root;
    r->handler = sub->handler;
    r->content_type = sub->content_type;
    r->content_encoding = sub->content_encoding;
    r->languages = sub->languages;
    r->env = sub->env;
    r->conf = sub->conf;
    r->log.levels = sub->log.levels;
    for (uint32_t i = 0; i < sub->notes.n; i++)
        mu_req_note_set(r, sub->notes.v[i].name, sub->notes.v[i].value);
    for (uint32_t i = 0; i < sub->out.n; i++)
        mu_resp_add(r, sub->out.v[i].name, sub->out.v[i].value);
    for (uint32_t i = 0; i < sub->out_always.n; i++) {
        if (mu_headers_add(r->arena, &r->out_always, sub->out_always.v[i].name,
                           sub->out_always.v[i].value) != MU_OK)
            return;
    }
    core->phases = from->phases;
    core->locations = from->locations;
    core->locations_n = from->locations_n;
    core->located = from->located;
    core->file = from->file;
    core->path_fd = from->path_fd;
    core->follows = from->follows;
    if (!r->output)
        r->output = sub->output;
    for (struct mu_filter *f = r->output; f; f = f->next)
        f->r = r;
}

/* The end of a sub-request's chain: its body goes on through the filters of the request it belongs
 * to. */
static enum mu_rc pass_on(struct mu_filter *f, const struct mu_chunk *chunks, size_t n,
                          bool is_last)
{
    (void)is_last;
    return n ? mu_filter_next(f, chunks, n, false) : MU_OK;
}

static const struct mu_filter_type sub_end = {
    .name = "SUBREQ",
    .level =
        (enum mu_filter_level)(MU_FILTER_PROTOCOL + 100), /* behind all of the sub-request's own */
    .write = pass_on,
};

enum mu_status mu_subreq_run(struct mu_req *sub)
{
    struct mu_filter *end = mu_new(sub->arena, struct mu_filter), **at = &sub->output;
    enum mu_status status;

    if (!end)
        return MU_503_SERVICE_UNAVAILABLE;
    *end = (struct mu_filter){ .type = &sub_end, .next = sub->main->output, .r = sub };
    while (*at)
        at = &(*at)->next;
    *at = end;
    status = mu_req_handle(sub);
    if (status == MU_STATUS_NONE)
        status = sub->status;
    if (!mu_exchange_of(sub)->is_aborted && mu_resp_chunks(sub, NULL, 0, true) != MU_OK)
        mu_exchange_of(sub)->is_aborted = true;
    return status;
}
