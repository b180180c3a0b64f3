/* The environment of an application: RFC 3875 section 4.1, and what httpd's ap_add_common_vars and
 * ap_add_cgi_vars add to it.
 *
 * What the configuration set (r->env) comes first and gives way to everything of the server's own.
 * A client can set HTTP_… alone: fields whose names hold anything but letters, digits and '-' are
 * left out, so that no two fields meet in one variable; Proxy is left out because HTTP_PROXY means
 * something else to many programs.
 */
#include "app_conf.h"

#include <muster/str.h>
#include <server/core_conf.h>
#include <stdlib.h>

enum { OWN_VARS = 40 }; /**< most that the server adds besides fields and r->env */

/** An environment being made. */
struct maker {
    struct mu_cgi_env *env;
    size_t given; /**< entries at the beginning that the configuration made */
    bool is_failed;
};

/* ---- the table ---- */

static enum mu_rc reserve(struct mu_cgi_env *env, size_t more)
{
    struct mu_cgi_var *v;
    size_t cap = env->n + more;

    if (cap <= env->cap)
        return MU_OK;
    cap += env->cap;
    v = mu_new_n(env->r->arena, struct mu_cgi_var, cap);
    if (!v)
        return MU_NOMEM;
    if (env->n)
        memcpy(v, env->v, env->n * sizeof(*v));
    env->v = v;
    env->cap = cap;
    return MU_OK;
}

/* Names are told apart as httpd's tables do it: without case. */
static struct mu_cgi_var *find(const struct mu_cgi_env *env, size_t n, struct mu_str name)
{
    for (size_t i = 0; i < n; i++) {
        if (mu_str_ieq(env->v[i].name, name))
            return &env->v[i];
    }
    return NULL;
}

static bool is_name(struct mu_str name)
{
    return name.n && !memchr(name.p, '=', name.n) && !memchr(name.p, '\0', name.n);
}

enum mu_rc mu_cgi_env_set(struct mu_cgi_env *env, struct mu_str name, struct mu_str value)
{
    struct mu_cgi_var *v = find(env, env->n, name);

    if (!is_name(name) || (value.n && memchr(value.p, '\0', value.n)))
        return MU_BAD;
    if (!v) {
        if (reserve(env, 1) != MU_OK)
            return MU_NOMEM;
        v = &env->v[env->n++];
    }
    *v = (struct mu_cgi_var){ name, value };
    return MU_OK;
}

void mu_cgi_env_unset(struct mu_cgi_env *env, struct mu_str name)
{
    struct mu_cgi_var *v = find(env, env->n, name);

    if (!v)
        return;
    env->n--;
    memmove(v, v + 1, (size_t)(env->v + env->n - v) * sizeof(*v));
}

struct mu_str mu_cgi_env_get(const struct mu_cgi_env *env, struct mu_str name)
{
    const struct mu_cgi_var *v = find(env, env->n, name);

    if (!v)
        return MU_STR_NULL;
    return v->value.p ? v->value : MU_S("");
}

/* A variable of the server's own, of which there is no other but what the configuration gave. */
static void put(struct maker *m, struct mu_str name, struct mu_str value)
{
    struct mu_cgi_var *v = find(m->env, m->given, name);

    if (!v && m->env->n == m->env->cap && reserve(m->env, OWN_VARS) != MU_OK) {
        m->is_failed = true;
        return;
    }
    if (!v)
        v = &m->env->v[m->env->n++];
    *v = (struct mu_cgi_var){ name, value };
}

/* The same for a text that has just been made: without one, memory is out. */
static void put_made(struct maker *m, struct mu_str name, struct mu_str value)
{
    if (!value.p)
        m->is_failed = true;
    put(m, name, value);
}

/* ---- header fields ---- */

/* "X-Name" → "HTTP_X_NAME". p == NULL: the name has other characters, or memory is out. */
static struct mu_str http_name(struct mu_arena *a, struct mu_str field)
{
    char *p = mu_arena_alloc(a, field.n + 5);

    if (!p)
        return MU_STR_NULL;
    memcpy(p, "HTTP_", 5);
    for (size_t i = 0; i < field.n; i++) {
        char c = field.p[i];

        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        else if (c == '-')
            c = '_';
        else if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9'))
            return MU_STR_NULL;
        p[5 + i] = c;
    }
    return mu_str_n(p, field.n + 5);
}

/* Fields that are not passed on as HTTP_…, or not to everybody. */
static bool is_kept_back(const struct mu_req *r, const struct mu_header *f)
{
    switch (f->id) {
    case MU_H_CONTENT_TYPE:
    case MU_H_CONTENT_LENGTH:
        return true;
    case MU_H_AUTHORIZATION:
    case MU_H_PROXY_AUTHORIZATION:
        return !app_conf_of(r)->passes_auth;
    case MU_H_TRANSFER_ENCODING: /* gone with the framing, once the whole body is here */
        return r->has_body && r->body_len >= 0;
    case MU_H_OTHER:
        return mu_str_ieq(f->name, MU_S("Proxy"));
    default:
        return false;
    }
}

static void put_fields(struct maker *m, struct mu_req *r)
{
    for (uint32_t i = 0; i < r->in.n; i++) {
        const struct mu_header *f = &r->in.v[i];
        struct mu_str name;

        if (is_kept_back(r, f) || mu_headers_first_row(&r->in, i) != i)
            continue;
        name = http_name(r->arena, f->name);
        if (name.p) /* RFC 9110 section 5.3 */
            put_made(m, name, mu_headers_join_row(r->arena, &r->in, i, MU_S(", ")));
    }
}

/*
 * RFC 3875 section 4.1.2: the length of the body that the application can read. A request that
 * stands for another one's error has none, whatever the fields of that one said.
 */
static void put_body(struct maker *m, struct mu_req *r)
{
    struct mu_str length = mu_headers_get_id(&r->in, MU_H_CONTENT_LENGTH);
    struct mu_str type = mu_headers_join(r->arena, &r->in, MU_H_CONTENT_TYPE);

    if (r->has_body && r->body_len >= 0)
        put_made(m, MU_S("CONTENT_LENGTH"), mu_fmt(r->arena, "%lld", (long long)r->body_len));
    else if (!r->has_body && mu_str_eq(length, MU_S("0")))
        put(m, MU_S("CONTENT_LENGTH"), length);
    if (type.p)
        put(m, MU_S("CONTENT_TYPE"), type);
}

/* ---- what httpd's common variables are ---- */

static void put_process(struct maker *m, struct mu_req *r)
{
    struct mu_str path = mu_req_env(r, MU_S("PATH"));
    const char *libraries = getenv("LD_LIBRARY_PATH");

    if (!path.p)
        path = mu_str_c(getenv("PATH"));
    put(m, MU_S("PATH"), path.p ? path : MU_S("/usr/local/bin:/usr/bin:/bin"));
    if (libraries)
        put(m, MU_S("LD_LIBRARY_PATH"), mu_str_c(libraries));
}

static struct mu_str server_name(struct mu_req *r)
{
    struct mu_str name = mu_html_escape(r->arena, mu_req_server_name(r));

    if (mu_str_chr(name, ':') >= 0 && name.p[0] != '[')
        return mu_str_cat(r->arena, MU_S("["), name, MU_S("]"));
    return name;
}

static void put_server(struct maker *m, struct mu_req *r)
{
    put_made(m, MU_S("SERVER_SIGNATURE"), mu_req_signature(r, MU_S("")));
    put(m, MU_S("SERVER_SOFTWARE"), mu_req_server_tokens(r));
    put_made(m, MU_S("SERVER_NAME"), server_name(r));
    put(m, MU_S("SERVER_ADDR"), r->peer->local_ip);
    put_made(m, MU_S("SERVER_PORT"), mu_fmt(r->arena, "%u", mu_req_server_port(r)));
    put(m, MU_S("SERVER_ADMIN"), mu_req_admin(r));
    put(m, MU_S("REQUEST_SCHEME"), mu_req_scheme(r));
    if (r->peer->is_tls)
        put(m, MU_S("HTTPS"), MU_S("on"));
    put(m, MU_S("DOCUMENT_ROOT"), mu_req_document_root(r));
    put(m, MU_S("CONTEXT_PREFIX"), r->context_prefix);
    put(m, MU_S("CONTEXT_DOCUMENT_ROOT"),
        r->context_root.n ? r->context_root : mu_req_document_root(r));
}

static void put_client(struct maker *m, struct mu_req *r)
{
    struct mu_str host = mu_req_remote_host(r);

    if (!mu_str_eq(host, r->peer->client_ip))
        put(m, MU_S("REMOTE_HOST"), host);
    put(m, MU_S("REMOTE_ADDR"), r->peer->client_ip);
    put_made(m, MU_S("REMOTE_PORT"), mu_fmt(r->arena, "%u", r->peer->client_port));
    if (r->user.p)
        put(m, MU_S("REMOTE_USER"), r->user);
    if (r->auth_type.n)
        put(m, MU_S("AUTH_TYPE"), r->auth_type);
}

static struct mu_str user_before(const struct mu_req *r)
{
    for (r = r->prev; r; r = r->prev) {
        if (r->user.p)
            return r->user;
    }
    return MU_STR_NULL;
}

/* Where the request was led from. QualifyRedirectURL is that of the place it was led to. */
static void put_redirect(struct maker *m, struct mu_req *r)
{
    struct mu_req *from = r->prev;
    struct mu_str url = from->path, user = user_before(r);

    if (!r->user.p && user.p)
        put(m, MU_S("REDIRECT_REMOTE_USER"), user);
    if (mu_core_of(r->conf)->qualify_redirect) {
        url = mu_req_url(from, from->path);
        if (from->query.p)
            url = mu_str_cat(r->arena, url, MU_S("?"), from->query);
    }
    put_made(m, MU_S("REDIRECT_URL"), url);
    if (from->query.p)
        put(m, MU_S("REDIRECT_QUERY_STRING"), from->query);
}

/* ---- what CGI's own are ---- */

/*
 * What of the path is not path information. The two need not have the same bytes (an alias may have
 * changed them), so as much as agrees from the end counts, cut at a slash, as in httpd.
 */
static struct mu_str script_name(const struct mu_req *r)
{
    size_t at = r->path.n, k = r->path_info.n;

    if (r->main)
        return r->path;
    while (at > 0 && k > 0 && r->path.p[at - 1] == r->path_info.p[k - 1]) {
        at--;
        k--;
    }
    while (at < r->path.n && r->path.p[at] != '/')
        at++;
    return mu_str_sub(r->path, 0, at);
}

/* Where the path information would lead if it had been asked for. */
static void put_translated(struct maker *m, struct mu_req *r)
{
    struct mu_req *sub = mu_subreq_lookup(r, r->path_info, MU_STR_NULL);

    if (sub && sub->filename.n)
        put_made(m, MU_S("PATH_TRANSLATED"), mu_str_cat(r->arena, sub->filename, sub->path_info));
}

static void put_cgi(struct maker *m, struct mu_req *r)
{
    put(m, MU_S("SCRIPT_FILENAME"), r->filename);
    put(m, MU_S("GATEWAY_INTERFACE"), MU_S("CGI/1.1"));
    put(m, MU_S("SERVER_PROTOCOL"), r->main ? MU_S("INCLUDED") : mu_req_protocol(r));
    put(m, MU_S("REQUEST_METHOD"), r->method_name);
    put(m, MU_S("QUERY_STRING"), r->query);
    put(m, MU_S("REQUEST_URI"), app_conf_of(r)->uses_current_uri ? r->path : r->target);
    put(m, MU_S("SCRIPT_NAME"), r->path_info.n ? script_name(r) : r->path);
    if (r->path_info.n) {
        put(m, MU_S("PATH_INFO"), r->path_info);
        put_translated(m, r);
    }
}

/* What SetEnv and its kin left, and the REDIRECT_ names. */
static void put_given(struct maker *m, struct mu_req *r)
{
    for (uint32_t i = 0; i < r->env.n; i++) {
        if (mu_cgi_env_set(m->env, r->env.v[i].name, r->env.v[i].value) == MU_NOMEM)
            m->is_failed = true;
    }
    m->given = m->env->n;
}

enum mu_rc mu_cgi_env_make(struct mu_req *r, struct mu_cgi_env *env)
{
    struct maker m = { .env = env };

    *env = (struct mu_cgi_env){ .r = r };
    if (reserve(env, r->env.n + r->in.n + OWN_VARS) != MU_OK)
        return MU_NOMEM;
    put_given(&m, r);
    put_fields(&m, r);
    put_body(&m, r);
    put_process(&m, r);
    put_server(&m, r);
    put_client(&m, r);
    if (r->prev)
        put_redirect(&m, r);
    put_cgi(&m, r);
    return m.is_failed ? MU_NOMEM : MU_OK;
}

/* ---- for execve ---- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/*
 * "NAME=value". Shells know letters, digits and '_' in names alone; what the configuration calls
 * otherwise gets '_' there, as in httpd.
 */
static char *string_of(struct mu_arena *a, const struct mu_cgi_var *v)
{
    char *s = mu_arena_alloc(a, v->name.n + v->value.n + 2);

    if (!s)
        return NULL;
    for (size_t i = 0; i < v->name.n; i++) {
        char c = v->name.p[i];

        s[i] = is_letter(c) || (i > 0 && c >= '0' && c <= '9') ? c : '_';
    }
    s[v->name.n] = '=';
    if (v->value.n)
        memcpy(s + v->name.n + 1, v->value.p, v->value.n);
    s[v->name.n + 1 + v->value.n] = '\0';
    return s;
}

/* Is it another variable's name now? Then that one, which was called so, is left alone. */
static bool is_taken(const struct mu_cgi_env *env, const struct mu_cgi_var *v, const char *s)
{
    struct mu_str made = mu_str_n(s, v->name.n);

    return !mu_str_eq(made, v->name) && find(env, env->n, made);
}

char **mu_cgi_env_strings(const struct mu_cgi_env *env)
{
    struct mu_arena *a = env->r->arena;
    char **list = mu_new_n(a, char *, env->n + 2);
    const char *zone = getenv("TZ");
    size_t n = 0;

    if (!list)
        return NULL;
    for (size_t i = 0; i < env->n; i++) {
        char *s = string_of(a, &env->v[i]);

        if (!s)
            return NULL;
        if (!is_taken(env, &env->v[i], s))
            list[n++] = s;
    }
    if (zone && !find(env, env->n, MU_S("TZ"))) {
        const struct mu_cgi_var v = { MU_S("TZ"), mu_str_c(zone) };

        list[n] = string_of(a, &v);
        if (!list[n])
            return NULL;
    }
    return list;
}
