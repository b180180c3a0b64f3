/*
 * text: strings with %{VARIABLE}, %{reqenv:NAME}, %{req:Field} and $0 to $9 in them. Which variables there are is
 * checked when the configuration is read; one that has no value is empty.
 */
#include "text.h"

enum part_kind { LITERAL, GROUP, VAR_ENV, VAR_FIELD, VAR_OWN };

struct part {
    enum part_kind kind;
    struct mu_str s; /* the literal, or a name */
    int n;           /* of a group */
};

struct proxy_text {
    struct part *v;
    size_t n;
};

/* Of the request as the server has it, whatever the application is told. */
static const char *const own[] = { "REQUEST_URI", "REQUEST_FILENAME", "SCRIPT_FILENAME",
                                   "THE_REQUEST", "HANDLER" };
/* As the application is told. */
static const char *const told[] = {
    "AUTH_TYPE",      "CONTEXT_DOCUMENT_ROOT", "CONTEXT_PREFIX",  "DOCUMENT_ROOT",
    "HTTPS",          "HTTP_ACCEPT",           "HTTP_COOKIE",     "HTTP_FORWARDED",
    "HTTP_HOST",      "HTTP_REFERER",          "HTTP_USER_AGENT", "PATH_INFO",
    "QUERY_STRING",   "REMOTE_ADDR",           "REMOTE_PORT",     "REMOTE_USER",
    "REQUEST_METHOD", "REQUEST_SCHEME",        "SERVER_ADDR",     "SERVER_ADMIN",
    "SERVER_NAME",    "SERVER_PORT",           "SERVER_PROTOCOL", "SERVER_SOFTWARE",
};

static bool is_in(const char *const *list, size_t n, struct mu_str name)
{
    for (size_t i = 0; i < n; i++)
        if (mu_str_ieq(name, mu_str_c(list[i])))
            return true;
    return false;
}

static bool put(struct mu_cmd *cmd, struct proxy_text *t, struct part part)
{
    struct part *v = mu_new_n(cmd->arena, struct part, t->n + 1);

    if (!v) {
        mu_cmd_error(cmd, "out of memory");
        return false;
    }
    if (t->n)
        memcpy(v, t->v, t->n * sizeof(*v));
    v[t->n++] = part;
    t->v = v;
    return true;
}

bool proxy_text_var(struct mu_cmd *cmd, struct proxy_text *t, struct mu_str function,
                    struct mu_str name)
{
    if (mu_str_ieq(function, MU_S("reqenv")) || mu_str_ieq(function, MU_S("env")))
        return put(cmd, t, (struct part){ .kind = VAR_ENV, .s = name });
    if (mu_str_ieq(function, MU_S("req")) || mu_str_ieq(function, MU_S("http")))
        return put(cmd, t, (struct part){ .kind = VAR_FIELD, .s = name });
    if (!function.n && is_in(own, MU_ARRAY_LEN(own), name))
        return put(cmd, t, (struct part){ .kind = VAR_OWN, .s = name });
    if (!function.n && is_in(told, MU_ARRAY_LEN(told), name))
        return put(cmd, t, (struct part){ .kind = VAR_ENV, .s = name });
    if (function.n)
        mu_cmd_error(cmd, "'%.*s' is no function that is known here; reqenv, env, req and http are",
                     MU_FMT(function));
    else
        mu_cmd_error(cmd,
                     "'%.*s' is no variable that is known here; use reqenv:%.*s for what the "
                     "application is told",
                     MU_FMT(name), MU_FMT(name));
    return false;
}

struct proxy_text *proxy_text_new(struct mu_cmd *cmd)
{
    struct proxy_text *t = mu_new(cmd->arena, struct proxy_text);

    if (!t)
        mu_cmd_error(cmd, "out of memory");
    return t;
}

/* "%{…}" at the front of *s. */
static bool take_var(struct mu_cmd *cmd, struct proxy_text *t, struct mu_str *s)
{
    ssize_t end = mu_str_chr(*s, '}'), colon;
    struct mu_str name, function = MU_S("");

    if (end < 0) {
        mu_cmd_error(cmd, "the '}' of a variable is missing in '%.*s'", MU_FMT(*s));
        return false;
    }
    name = mu_str_sub(*s, 2, (size_t)end);
    *s = mu_str_sub(*s, (size_t)end + 1, s->n);
    colon = mu_str_chr(name, ':');
    if (colon > 0) {
        function = mu_str_sub(name, 0, (size_t)colon);
        name = mu_str_sub(name, (size_t)colon + 1, name.n);
    }
    return proxy_text_var(cmd, t, function, name);
}

bool proxy_text_add(struct mu_cmd *cmd, struct proxy_text *t, struct mu_str s)
{
    while (s.n > 0) {
        size_t n = 0;

        if (mu_str_starts(s, MU_S("%{"))) {
            if (!take_var(cmd, t, &s))
                return false;
            continue;
        }
        if (s.n > 1 && s.p[0] == '$' && s.p[1] >= '0' && s.p[1] <= '9') {
            if (!put(cmd, t, (struct part){ .kind = GROUP, .n = s.p[1] - '0' }))
                return false;
            s = mu_str_sub(s, 2, s.n);
            continue;
        }
        do
            n++;
        while (n < s.n && s.p[n] != '$' && s.p[n] != '%');
        if (!put(cmd, t, (struct part){ .kind = LITERAL, .s = mu_str_sub(s, 0, n) }))
            return false;
        s = mu_str_sub(s, n, s.n);
    }
    return true;
}

const struct proxy_text *proxy_text_parse(struct mu_cmd *cmd, struct mu_str text)
{
    struct proxy_text *t = proxy_text_new(cmd);

    return t && proxy_text_add(cmd, t, text) ? t : NULL;
}

static struct mu_str own_value(const struct mu_req *r, struct mu_str name)
{
    if (mu_str_ieq(name, MU_S("REQUEST_URI")))
        return r->path;
    if (mu_str_ieq(name, MU_S("THE_REQUEST")))
        return r->request_line;
    if (mu_str_ieq(name, MU_S("HANDLER")))
        return r->handler;
    return r->filename;
}

static struct mu_str part_value(const struct part *p, const struct proxy_scope *s)
{
    switch (p->kind) {
    case GROUP:
        if (p->n >= s->match.n || s->match.g[p->n].so < 0)
            return MU_STR_NULL;
        return mu_str_sub(s->subject, (size_t)s->match.g[p->n].so, (size_t)s->match.g[p->n].eo);
    case VAR_ENV:
        return mu_cgi_env_get(s->env, p->s);
    case VAR_FIELD:
        return mu_headers_get(&s->r->in, p->s);
    case VAR_OWN:
        return own_value(s->r, p->s);
    case LITERAL:
        break;
    }
    return p->s;
}

struct mu_str proxy_text_eval(const struct proxy_text *t, const struct proxy_scope *s)
{
    struct mu_str *v = mu_new_n(s->r->arena, struct mu_str, t->n + 1);

    if (!v)
        return MU_STR_NULL;
    for (size_t i = 0; i < t->n; i++)
        v[i] = part_value(&t->v[i], s);
    return mu_str_cat_n(s->r->arena, v, t->n);
}
