/*
 * sapi: what libphp calls: output, header fields, the request's body, variables, log lines. All of
 * it speaks of the request in SG(server_context), on whose fiber PHP runs, so each call may wait for
 * the client. Whoever left is told to PHP by php_handle_aborted_connection(), which does not return
 * unless the script ignores it: nothing may be held across it.
 */
#include "php.h"

#include "libphp.h"

#include <muster/str.h>

#include <errno.h>
#include <pthread.h>
#include <syslog.h>
#include <unistd.h>

enum {
    SMALL = 4096, /* what mu_resp_write gathers in one go; twice that is a page with a length */
    NAME_ROOM = 128,
};

static bool is_copy;

static void forked(void)
{
    is_copy = SG(server_context) != NULL;
}

void mu_php_watch_forks(void)
{
    static bool is_done;

    if (!is_done)
        (void)pthread_atfork(NULL, NULL, forked);
    is_done = true;
}

bool mu_php_is_copy(void)
{
    return is_copy;
}

static struct mu_php_call *current(void)
{
    return SG(server_context);
}

/* ---- output ---- */

static void left(void)
{
    php_handle_aborted_connection();
}

static size_t write_stderr(const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(STDERR_FILENO, p, n);

        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            break;
        p += w;
        n -= (size_t)w;
    }
    return n;
}

/*
 * Two pieces are gathered where one would be sent at once: a page of up to 8 KiB is known in full
 * before its head and gets a length, as from httpd.
 */
static enum mu_rc put(struct mu_req *r, struct mu_str s)
{
    enum mu_rc rc = MU_OK;

    if (s.n > SMALL && s.n <= 2 * SMALL) {
        rc = mu_resp_write(r, mu_str_sub(s, 0, SMALL));
        s = mu_str_sub(s, SMALL, s.n);
    }
    return rc == MU_OK ? mu_resp_write(r, s) : rc;
}

static size_t on_write(const char *p, size_t n)
{
    struct mu_php_call *c = current();

    if (!c)
        return n - write_stderr(p, n); /* display_startup_errors */
    if (!is_copy && put(c->r, mu_str_n(p, n)) != MU_OK)
        left();
    return n;
}

static void on_flush(void *context)
{
    struct mu_php_call *c = context;

    if (!c || is_copy)
        return;
    sapi_send_headers();
    SG(headers_sent) = 1;
    if (mu_resp_flush(c->r) != MU_OK)
        left();
}

/* ---- header fields ---- */

static int64_t parse_length(struct mu_str s)
{
    uint64_t n = 0;
    size_t digits = 0;

    while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
        digits++;
    return mu_str_u64(mu_str_sub(s, 0, digits), &n) && n <= INT64_MAX ? (int64_t)n : -1;
}

static void unset_field(struct mu_req *r, struct mu_str name)
{
    if (mu_header_id(name) == MU_H_CONTENT_LENGTH)
        r->content_length = -1;
    mu_headers_unset(&r->out, name);
}

/* "Name: value". What belongs to the connection is the server's to say; the core leaves it out. */
static int set_field(struct mu_php_call *c, struct mu_str line, bool replaces)
{
    ssize_t colon = mu_str_chr(line, ':');
    struct mu_str copy, name, value;
    struct mu_req *r = c->r;

    if (colon <= 0)
        return 0;
    copy = mu_str_dup(r->arena, line);
    if (!copy.p)
        return 0;
    name = mu_str_sub(copy, 0, (size_t)colon);
    value = mu_str_trim(mu_str_sub(copy, (size_t)colon + 1, copy.n));
    switch (mu_header_id(name)) {
    case MU_H_CONTENT_TYPE:
        c->type = value;
        break;
    case MU_H_CONTENT_LENGTH:
        r->content_length = parse_length(value);
        break;
    default:
        if (replaces)
            mu_resp_set(r, name, value);
        else
            mu_resp_add(r, name, value);
    }
    return SAPI_HEADER_ADD;
}

static int on_header(sapi_header_struct *h, sapi_header_op_enum op, sapi_headers_struct *all)
{
    struct mu_php_call *c = current();

    (void)all;
    if (!c)
        return 0;
    switch (op) {
    case SAPI_HEADER_DELETE:
        unset_field(c->r, mu_str_n(h->header, h->header_len));
        return 0;
    case SAPI_HEADER_DELETE_ALL:
        mu_headers_clear(&c->r->out);
        c->r->content_length = -1;
        return 0;
    case SAPI_HEADER_ADD:
    case SAPI_HEADER_REPLACE:
        return set_field(c, mu_str_n(h->header, h->header_len), op == SAPI_HEADER_REPLACE);
    default:
        return 0;
    }
}

/* header("HTTP/1.0 404 Not here"): phrase and version are the script's. */
static void take_status_line(struct mu_req *r, struct mu_str line)
{
    if (line.n <= 12 || !mu_str_starts(line, MU_S("HTTP/1.")) || line.p[8] != ' ')
        return;
    r->status_reason = mu_str_dup(r->arena, mu_str_trim(mu_str_sub(line, 12, line.n)));
    if (line.p[7] == '0') {
        r->version = 1000;
        mu_req_env_set(r, MU_S("force-response-1.0"), MU_S("true"));
    }
}

static int on_send_headers(sapi_headers_struct *h)
{
    struct mu_php_call *c = current();
    int code = h->http_response_code;
    struct mu_req *r;

    if (!c || c->is_head_made)
        return SAPI_HEADER_SENT_SUCCESSFULLY;
    r = c->r;
    c->is_head_made = true;
    if (code < 200 || code > 999) {
        MU_LOG(&r->log, "php", MU_LOG_ERR, "MU1603",
               "the script %.*s set the status %d, which no answer can have; 500 is sent",
               MU_FMT(r->filename), code);
        code = MU_500_INTERNAL_SERVER_ERROR;
    }
    r->status = (enum mu_status)code;
    if (h->http_status_line)
        take_status_line(r, mu_str_c(h->http_status_line));
    if (!c->type.p) {
        char *type = sapi_get_default_content_type();

        c->type = mu_str_dup(r->arena, mu_str_c(type));
        efree(type);
    }
    mu_resp_type(r, c->type);
    return SAPI_HEADER_SENT_SUCCESSFULLY;
}

/* ---- the body ---- */

/*
 * The client left, was too slow or sent too much: a script must not take a part of the body for
 * the whole of it.
 */
static void body_broke(struct mu_php_call *c, enum mu_rc rc)
{
    c->body_rc = rc;
    if (!SG(headers_sent))
        SG(sapi_headers).http_response_code = (int)mu_body_status(rc);
    if (c->stage == MU_PHP_RUNNING) {
        PG(ignore_user_abort) = false;
        left();
    }
}

static size_t on_read_post(char *buf, size_t n)
{
    struct mu_php_call *c = current();
    enum mu_rc rc = MU_OK;
    size_t at, got;

    if (!c || is_copy || c->stage == MU_PHP_ENDING || c->body_rc != MU_OK)
        return 0;
    at = c->first.n < n ? c->first.n : n;
    if (at)
        memcpy(buf, c->first.p, at);
    c->first = mu_str_sub(c->first, at, c->first.n);
    while (at < n && rc == MU_OK) {
        rc = mu_body_read(c->r, buf + at, n - at, &got);
        at += rc == MU_OK ? got : 0;
    }
    if (rc == MU_EOF)
        c->body_rc = MU_EOF;
    else if (rc != MU_OK)
        body_broke(c, rc);
    return at;
}

/* Several fields are one list of cookies (RFC 9113 section 8.2.3). */
static char *on_read_cookies(void)
{
    struct mu_php_call *c = current();
    struct mu_req *r = c ? c->r : NULL;

    for (uint32_t i = 0; r && i < r->in.n; i++) {
        if (r->in.v[i].id == MU_H_COOKIE)
            return (char *)(uintptr_t)mu_cstr(r->arena,
                                              mu_headers_join_row(r->arena, &r->in, i, MU_S("; ")));
    }
    return NULL;
}

/* ---- variables ---- */

struct mu_cgi_env *mu_php_env(struct mu_php_call *c)
{
    if (!c->has_env)
        c->has_env = mu_cgi_env_make(c->r, &c->env) == MU_OK;
    return c->has_env ? &c->env : NULL;
}

/* PHP copies it at once, and a script may ask for as many as it likes: one place is enough. */
static char *terminated(struct mu_php_call *c, struct mu_str s)
{
    if (s.n >= c->word_cap) {
        c->word_cap = s.n < NAME_ROOM ? NAME_ROOM : 2 * s.n;
        c->word = mu_arena_alloc(c->r->arena, c->word_cap);
        if (!c->word)
            c->word_cap = 0;
    }
    if (c->word && s.n)
        memcpy(c->word, s.p, s.n);
    if (c->word)
        c->word[s.n] = '\0';
    return c->word;
}

static char *on_getenv(const char *name, size_t n)
{
    struct mu_php_call *c = current();
    struct mu_cgi_env *env = c ? mu_php_env(c) : NULL;
    struct mu_str value = env ? mu_cgi_env_get(env, mu_str_n(name, n)) : MU_STR_NULL;

    return value.p ? terminated(c, value) : NULL;
}

/* May the name stand in an array as it is, without PHP's rewriting of dots, spaces and brackets? */
static bool is_plain_name(struct mu_str name)
{
    if (!name.n || (name.p[0] >= '0' && name.p[0] <= '9'))
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (!(c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
              (c >= '0' && c <= '9')))
            return false;
    }
    return true;
}

/* What an input filter (ext/filter) takes it registers itself. */
static void register_variable(struct mu_req *r, struct mu_str name, struct mu_str value,
                              zval *array)
{
    char on_stack[NAME_ROOM];
    const char *key = on_stack;
    char *text = (char *)(uintptr_t)(value.p ? value.p : "");
    size_t n = value.n;
    zval v;

    if (name.n < sizeof(on_stack)) {
        memcpy(on_stack, name.p, name.n);
        on_stack[name.n] = '\0';
    } else {
        key = mu_cstr(r->arena, name);
    }
    if (!key || !sapi_module.input_filter(PARSE_SERVER, key, &text, value.n, &n))
        return;
    if (is_plain_name(name)) {
        ZVAL_STRINGL_FAST(&v, text, n);
        zend_hash_str_update(Z_ARRVAL_P(array), key, name.n, &v);
    } else {
        php_register_variable_safe(key, text, n, array);
    }
}

static void on_variables(zval *array)
{
    struct mu_php_call *c = current();
    struct mu_cgi_env *env = c ? mu_php_env(c) : NULL;

    if (!env)
        return;
    for (size_t i = 0; i < env->n; i++)
        register_variable(c->r, env->v[i].name, env->v[i].value, array);
    register_variable(c->r, MU_S("PHP_SELF"), c->r->path, array);
}

/* ---- facts ---- */

static zend_stat_t *on_stat(void)
{
    static zend_stat_t st;
    struct mu_php_call *c = current();
    const struct mu_finfo *fi = c ? &c->r->finfo : NULL;

    memset(&st, 0, sizeof(st));
    if (!fi)
        return &st;
    st.st_mode = fi->mode;
    st.st_uid = fi->uid;
    st.st_gid = fi->gid;
    st.st_dev = (dev_t)fi->dev;
    st.st_ino = (ino_t)fi->ino;
    st.st_nlink = fi->nlink;
    st.st_size = (off_t)fi->size;
    st.st_mtime = (time_t)(fi->mtime_ns / 1000000000);
    st.st_ctime = (time_t)(fi->ctime_ns / 1000000000);
    st.st_atime = st.st_mtime;
    return &st;
}

static zend_result on_request_time(double *t)
{
    struct mu_php_call *c = current();

    if (!c)
        return FAILURE;
    *t = (double)c->r->time_us / 1000000.0;
    return SUCCESS;
}

/* syslog's levels are httpd's. */
static void on_log(const char *message, int syslog_type)
{
    struct mu_php_call *c = current();
    int type = LOG_PRI(syslog_type);
    struct mu_str text = mu_str_trim(mu_str_c(message));

    MU_LOG(c ? &c->r->log : NULL, "php", (enum mu_log_level)type, "MU1601", "%.*s", MU_FMT(text));
}

static void on_error(int type, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    (void)type;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    on_log(text, LOG_ERR);
}

static int on_startup(sapi_module_struct *m)
{
    return php_module_startup(m, mu_php_functions());
}

struct _sapi_module_struct *mu_php_sapi(void)
{
    /* The name is what OPcache and applications look for. */
    static char name[] = "apache2handler", pretty[] = "Muster (mod_php)";
    static sapi_module_struct m = {
        .name = name,
        .pretty_name = pretty,
        .startup = on_startup,
        .shutdown = php_module_shutdown_wrapper,
        .ub_write = on_write,
        .flush = on_flush,
        .get_stat = on_stat,
        .getenv = on_getenv,
        .sapi_error = on_error,
        .header_handler = on_header,
        .send_headers = on_send_headers,
        .read_post = on_read_post,
        .read_cookies = on_read_cookies,
        .register_server_variables = on_variables,
        .log_message = on_log,
        .get_request_time = on_request_time,
        .php_ini_ignore_cwd = 1,
    };

    return &m;
}
