/*
 * request: one request in PHP, from the baton to the last byte. PHP leaves by longjmp where a script
 * ends early (exit in a callback, a client that left, no memory): such jumps end in the zend_try of
 * the function that called PHP, and nothing of ours lies between. What PHP points to lives in the
 * request's arena, which outlives the call.
 */
#include "php.h"

#include "libphp.h"

#include <muster/str.h>

#include <ext/standard/basic_functions.h>
#include <unistd.h>

enum { FIRST_BLOCK = 16 * 1024 }; /* of a body: PHP's own block */

/* ---- php_value and its kin ---- */

static bool parse_bool(struct mu_str s)
{
    bool is_on = false;
    int64_t n = 0;

    if (mu_parse_flag(s, &is_on))
        return is_on;
    return mu_str_ieq(s, MU_S("yes")) || mu_str_ieq(s, MU_S("true")) ||
           (mu_str_i64(s, &n) && n != 0);
}

bool mu_php_is_engine_on(const struct mu_req *r)
{
    size_t n = 0;
    const struct mu_php_value *v = mu_req_php_values(r, &n);

    for (size_t i = 0; i < n; i++) {
        if (mu_str_eq(v[i].name, MU_S("engine")))
            return parse_bool(v[i].value);
    }
    return mu_php_ini.engine;
}

/*
 * An admin's value locks its entry until the end of the request: that is what PHP makes of the
 * stage and the type together. Unknown names are left out without a word, as by httpd: extensions
 * come and go.
 */
static void apply_values(const struct mu_req *r)
{
    size_t n = 0;
    const struct mu_php_value *v = mu_req_php_values(r, &n);

    for (size_t i = 0; i < n; i++) {
        zend_string *name = zend_string_init(v[i].name.p, v[i].name.n, 0);

        (void)zend_alter_ini_entry_chars(name, v[i].value.p ? v[i].value.p : "", v[i].value.n,
                                         v[i].is_admin ? PHP_INI_SYSTEM : PHP_INI_PERDIR,
                                         PHP_INI_STAGE_ACTIVATE);
        zend_string_release(name);
    }
}

/* ---- what PHP is told of the request ---- */

static char *text(struct mu_req *r, struct mu_str s)
{
    return s.p ? (char *)(uintptr_t)mu_cstr(r->arena, s) : NULL;
}

static bool describe(struct mu_php_call *c)
{
    sapi_request_info *info = &SG(request_info);
    struct mu_req *r = c->r;

    SG(server_context) = c;
    SG(sapi_headers).http_response_code = (int)r->status;
    info->request_method = text(r, r->method_name);
    info->query_string = text(r, r->query);
    info->request_uri = text(r, r->path);
    info->path_translated = text(r, r->filename);
    info->content_type = text(r, mu_headers_get_id(&r->in, MU_H_CONTENT_TYPE));
    info->content_length = r->body_len > 0 ? r->body_len : 0;
    info->proto_num = r->version;
    info->argc = 0;
    info->argv = NULL;
    php_handle_auth_data(text(r, mu_headers_get_id(&r->in, MU_H_AUTHORIZATION)));
    if (!info->auth_user && r->user.p)
        info->auth_user = estrndup(r->user.p, r->user.n);
    r->content_length = -1;
    r->last_modified = -1;
    r->etag = MU_STR_NULL;
    r->is_no_range = true;
    return info->request_method && info->request_uri && info->path_translated;
}

static void forget(void)
{
    SG(server_context) = NULL;
    SG(request_info).request_method = NULL;
    SG(request_info).query_string = NULL;
    SG(request_info).request_uri = NULL;
    SG(request_info).path_translated = NULL;
    SG(request_info).content_type = NULL;
}

/*
 * The first block is read before anything of the script runs: a body that is refused (413), that
 * breaks off or that does not come (408) is answered without it.
 */
static enum mu_rc read_first(struct mu_php_call *c)
{
    struct mu_req *r = c->r;
    size_t got = 0;
    char *block;
    enum mu_rc rc;

    if (!r->has_body || r->main)
        return MU_OK;
    block = mu_arena_alloc(r->arena, FIRST_BLOCK);
    if (!block)
        return MU_NOMEM;
    rc = mu_body_read(r, block, FIRST_BLOCK, &got);
    c->first = mu_str_n(block, got);
    return rc == MU_EOF ? MU_OK : rc;
}

/* ---- the script ---- */

static void show_source(struct mu_req *r)
{
    zend_syntax_highlighter_ini colours;

    php_get_highlight_struct(&colours);
    highlight_file(r->filename.p, &colours);
}

static void run_script(struct mu_req *r)
{
    zend_file_handle file;

    zend_stream_init_filename(&file, r->filename.p);
    file.primary_script = 1;
    (void)php_execute_script(&file);
    zend_destroy_file_handle(&file);
}

static bool begin(struct mu_php_call *c)
{
    bool is_ok = false;

    zend_first_try
    {
        apply_values(c->r);
        is_ok = php_request_startup() == SUCCESS;
    }
    zend_end_try();
    return is_ok;
}

static void run(struct mu_php_call *c, bool is_source)
{
    struct mu_req *r = c->r;

    if (mu_php_ini.last_modified)
        r->last_modified = r->finfo.mtime_ns / 1000000000;
    zend_try
    {
        if (is_source)
            show_source(r);
        else
            run_script(r);
    }
    zend_end_try();
}

/* For %{mod_php_memory_usage}n in a log format. */
static void note_memory(struct mu_req *r)
{
    char *digits = mu_arena_alloc(r->arena, 20);

    if (digits)
        mu_req_note_set(r, MU_S("mod_php_memory_usage"),
                        mu_str_n(digits, mu_u64_dec(zend_memory_peak_usage(1), digits)));
}

/* As httpd shows it in the access log: the name the script was given, whoever checked it. */
static void note_user(struct mu_req *r)
{
    if (!r->user.p && SG(request_info).auth_user)
        r->user = mu_str_dup(r->arena, mu_str_c(SG(request_info).auth_user));
}

/* All of PHP's part. Returns false when the script could not begin. */
static bool serve(struct mu_php_call *c, bool is_source)
{
    bool has_begun;

    c->stage = MU_PHP_STARTING;
    has_begun = begin(c) && c->body_rc <= MU_EOF;
    if (has_begun) {
        c->stage = MU_PHP_RUNNING;
        run(c, is_source);
        note_memory(c->r);
    } else {
        c->is_head_made = true; /* what PHP has to say of it is not the answer */
        zend_try
        {
            php_output_discard_all();
        }
        zend_end_try();
        php_output_set_status(PHP_OUTPUT_DISABLED);
    }
    if (mu_php_is_copy())
        _exit(0); /* what a script forked has done its work; the answer is its parent's */
    note_user(c->r);
    c->stage = MU_PHP_ENDING;
    php_request_shutdown(NULL);
    return has_begun;
}

static enum mu_status refuse(struct mu_php_call *c, enum mu_rc rc)
{
    enum mu_status status = mu_body_status(rc);

    mu_headers_clear(&c->r->out); /* what PHP had prepared: X-Powered-By */
    return status != MU_STATUS_NONE ? status : MU_500_INTERNAL_SERVER_ERROR;
}

static enum mu_status answer(struct mu_php_call *c, bool is_source)
{
    struct mu_req *r = c->r;
    bool has_begun = false;

    mu_php_crash_watch(r);
    if (describe(c))
        has_begun = serve(c, is_source);
    forget();
    mu_php_crash_unwatch();
    if (!has_begun || (c->body_rc > MU_EOF && !c->is_head_made))
        return refuse(c, c->body_rc);
    /* Complete, and said so here: an empty page with the status 404 or 500 is the script's answer. */
    if (!r->main)
        (void)!mu_resp_chunks(r, NULL, 0, true);
    return r->status;
}

static const void *root_of(const struct mu_req *r)
{
    while (r->main || r->prev)
        r = r->main ? r->main : r->prev;
    return r;
}

enum mu_status mu_php_answer(struct mu_req *r, bool is_source)
{
    struct mu_php_call c = { .r = r };
    enum mu_status status;
    enum mu_rc rc = mu_php_baton_take(root_of(r));

    if (rc == MU_LIMIT) {
        MU_LOG(
            &r->log, "php", MU_LOG_ERR, "MU1604",
            "%.*s: a PHP page cannot be part of a PHP page by a sub-request, since PHP serves one "
            "request at a time in a process; include the file in the script instead",
            MU_FMT(r->filename));
        return MU_500_INTERNAL_SERVER_ERROR;
    }
    if (rc != MU_OK)
        return mu_resp_abort(r);
    rc = read_first(&c);
    status = rc == MU_OK ? answer(&c, is_source) : mu_body_status(rc);
    mu_php_baton_give();
    return status;
}
