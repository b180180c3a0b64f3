/*
 * worker: backends that the configuration says something about, with httpd's names for what it says. A parameter means
 * what it does there, has no effect where there is nothing for it to act on (docs/mod_proxy.md lists these), or is
 * refused with the nearest name.
 */
#include "proxy.h"

const struct proxy_params proxy_default_params = {
    .connect_ms = -1,
    .timeout_ms = -1,
    .retry_ms = 60 * 1000,
    .ttl_ms = 10 * 1000,
    .address_ms = 60 * 1000,
    .max = 8,
};

/* ---- parameters ---- */

enum kind { K_SECONDS, K_NUMBER, K_BOOL, K_NOT, K_FLUSH, K_STATUS, K_TEXT };

struct param {
    const char *name;
    enum kind kind;
    size_t offset; /* of the field in struct proxy_params; 0 with `is_idle` */
    int64_t min, max;
    bool is_idle; /* checked, and without effect */
};

#define FIELD(f) offsetof(struct proxy_params, f)
#define IDLE .is_idle = true
static const struct param params[] = {
    { "connectiontimeout", K_SECONDS, FIELD(connect_ms), 1, INT64_MAX, false },
    { "timeout", K_SECONDS, FIELD(timeout_ms), 1, INT64_MAX, false },
    { "retry", K_SECONDS, FIELD(retry_ms), 0, INT64_MAX, false },
    { "ttl", K_SECONDS, FIELD(ttl_ms), 1, INT64_MAX, false },
    { "addressttl", K_SECONDS, FIELD(address_ms), -1000, INT64_MAX, false },
    { "max", K_NUMBER, FIELD(max), 1, 1000000, false },
    { "enablereuse", K_BOOL, FIELD(reuses), 0, 0, false },
    { "disablereuse", K_NOT, FIELD(reuses), 0, 0, false },
    { "keepalive", K_BOOL, FIELD(has_keepalive), 0, 0, false },
    { "flushpackets", K_FLUSH, FIELD(flush), 0, 0, false },
    { "status", K_STATUS, 0, 0, 0, false },
    { "acquire", K_SECONDS, IDLE, .min = 0, .max = INT64_MAX },
    { "flushwait", K_NUMBER, IDLE, .min = 0, .max = 1000 },
    { "flusher", K_TEXT, IDLE },
    { "iobuffersize", K_NUMBER, IDLE, .min = 512, .max = INT64_MAX },
    { "lbset", K_NUMBER, IDLE, .min = 0, .max = 99 },
    { "loadfactor", K_TEXT, IDLE },
    { "min", K_NUMBER, IDLE, .min = 0, .max = 1000000 },
    { "ping", K_SECONDS, IDLE, .min = 0, .max = INT64_MAX },
    { "receivebuffersize", K_NUMBER, IDLE, .min = 0, .max = INT64_MAX },
    { "redirect", K_TEXT, IDLE },
    { "responsefieldsize", K_NUMBER, IDLE, .min = 0, .max = INT64_MAX },
    { "route", K_TEXT, IDLE },
    { "smax", K_NUMBER, IDLE, .min = 0, .max = 1000000 },
    { "upgrade", K_TEXT, IDLE },
};

enum { NAME_MAX_LEN = 24 };

/* Letters to put in, take out or change. */
static size_t distance(struct mu_str a, struct mu_str b)
{
    size_t row[NAME_MAX_LEN + 1];

    if (a.n > NAME_MAX_LEN)
        a.n = NAME_MAX_LEN;
    for (size_t k = 0; k <= b.n; k++)
        row[k] = k;
    for (size_t i = 0; i < a.n; i++) {
        size_t corner = row[0];

        row[0] = i + 1;
        for (size_t k = 0; k < b.n; k++) {
            size_t best = corner + (mu_lower(a.p[i]) != b.p[k]);

            corner = row[k + 1];
            if (corner + 1 < best)
                best = corner + 1;
            if (row[k] + 1 < best)
                best = row[k] + 1;
            row[k + 1] = best;
        }
    }
    return row[b.n];
}

static const char *nearest(struct mu_str name)
{
    const char *best = params[0].name;

    for (size_t i = 1; i < MU_ARRAY_LEN(params); i++)
        if (distance(name, mu_str_c(params[i].name)) < distance(name, mu_str_c(best)))
            best = params[i].name;
    return best;
}

/* Flags of httpd's workers; those of balancers mean nothing here. */
static enum mu_rc set_status(struct mu_cmd *cmd, struct proxy_params *p, struct mu_str value)
{
    bool is_on = true;

    for (size_t i = 0; i < value.n; i++) {
        switch (mu_lower(value.p[i])) {
        case '+':
            is_on = true;
            break;
        case '-':
            is_on = false;
            break;
        case 'd':
        case 's':
            p->is_disabled = is_on;
            break;
        case 'i':
            p->ignores_errors = is_on;
            break;
        case 'h':
        case 'e':
        case 'n':
        case 'r':
        case 'c':
            break;
        default:
            return mu_cmd_error(cmd, "status: '%c' is no flag; there are D, S, I, H, E, N, R, C",
                                value.p[i]);
        }
    }
    return MU_OK;
}

static enum mu_rc set_flush(struct mu_cmd *cmd, int *field, struct mu_str value)
{
    bool is_on;

    if (mu_str_ieq(value, MU_S("auto")))
        *field = PROXY_FLUSH_AUTO;
    else if (mu_parse_flag(value, &is_on))
        *field = is_on ? PROXY_FLUSH_ON : PROXY_FLUSH_OFF;
    else
        return mu_cmd_error(cmd, "flushpackets: found '%.*s', expected on, off or auto",
                            MU_FMT(value));
    return MU_OK;
}

static enum mu_rc set_number(struct mu_cmd *cmd, const struct param *param, int64_t *field,
                             struct mu_str value)
{
    int64_t v;
    bool is_good = param->kind == K_SECONDS && !mu_str_starts(value, MU_S("-"))
                       ? mu_parse_duration_ms(value, 1000, &v)
                       : mu_str_i64(value, &v);

    if (is_good && param->kind == K_SECONDS && v < 0)
        v *= 1000;
    if (!is_good || v < param->min || v > param->max)
        return mu_cmd_error(
            cmd, "%s: found '%.*s', expected %s from %lld on", param->name, MU_FMT(value),
            param->kind == K_SECONDS ? "seconds (or a number with ms, s, min)" : "a number",
            (long long)(param->kind == K_SECONDS && param->min > 0 ? 0 : param->min));
    *field = v;
    return MU_OK;
}

static enum mu_rc set_bool(struct mu_cmd *cmd, const struct param *param, bool *field,
                           struct mu_str value)
{
    bool is_on;

    if (!mu_parse_flag(value, &is_on))
        return mu_cmd_error(cmd, "%s: found '%.*s', expected on or off", param->name,
                            MU_FMT(value));
    *field = param->kind == K_NOT ? !is_on : is_on;
    return MU_OK;
}

static enum mu_rc set_param(struct mu_cmd *cmd, const struct param *param, struct proxy_params *p,
                            struct mu_str value)
{
    struct proxy_params scrap = *p;
    char *at = (char *)(param->is_idle ? &scrap : p) + param->offset;

    switch (param->kind) {
    case K_SECONDS:
    case K_NUMBER:
        return set_number(cmd, param, (int64_t *)(void *)at, value);
    case K_BOOL:
    case K_NOT:
        return set_bool(cmd, param, (bool *)at, value);
    case K_FLUSH:
        return set_flush(cmd, &p->flush, value);
    case K_STATUS:
        return set_status(cmd, p, value);
    case K_TEXT:
        break;
    }
    return MU_OK;
}

enum mu_rc proxy_param_set(struct mu_cmd *cmd, struct proxy_params *p, struct mu_str text)
{
    ssize_t eq = mu_str_chr(text, '=');
    struct mu_str name = mu_str_sub(text, 0, eq < 0 ? text.n : (size_t)eq);

    if (eq < 0)
        return mu_cmd_error(cmd, "found '%.*s', expected a parameter in the form key=value",
                            MU_FMT(text));
    for (size_t i = 0; i < MU_ARRAY_LEN(params); i++)
        if (mu_str_ieq(name, mu_str_c(params[i].name)))
            return set_param(cmd, &params[i], p, mu_str_sub(text, (size_t)eq + 1, text.n));
    return mu_cmd_error(cmd, "'%.*s' is no parameter of a backend; the nearest one is '%s'",
                        MU_FMT(name), nearest(name));
}

/* ---- workers ---- */

static bool is_same_place(const struct proxy_url *a, const struct proxy_url *b)
{
    return a->scheme == b->scheme && a->port == b->port && mu_str_eq(a->host, b->host);
}

struct proxy_worker *proxy_worker_get(struct mu_cmd *cmd, struct proxy_workers *list,
                                      const struct proxy_url *url, bool *is_new)
{
    struct proxy_worker **v, *w;

    *is_new = false;
    for (size_t i = 0; i < list->n; i++)
        if (is_same_place(&list->v[i]->url, url) && mu_str_eq(list->v[i]->url.path, url->path) &&
            mu_str_eq(list->v[i]->url.unix_path, url->unix_path))
            return list->v[i];
    *is_new = true;
    v = mu_new_n(cmd->arena, struct proxy_worker *, list->n + 1);
    w = mu_new(cmd->arena, struct proxy_worker);
    if (!v || !w || !(w->state = mu_new(cmd->arena, struct proxy_state)))
        return NULL;
    w->state->lock = (struct mu_mutex)MU_MUTEX_INIT;
    w->url = *url;
    w->p = proxy_default_params;
    w->file = cmd->file;
    w->line = cmd->line;
    if (list->n)
        memcpy(v, list->v, list->n * sizeof(*v));
    v[list->n++] = w;
    list->v = v;
    return w;
}

/* Without the slash at its end, and without what the request fills in. */
static struct mu_str worker_path(const struct proxy_worker *w)
{
    struct mu_str path = w->url.path;
    ssize_t dollar = mu_str_chr(path, '$');

    if (dollar >= 0)
        return mu_str_sub(path, 0, (size_t)dollar);
    while (path.n && path.p[path.n - 1] == '/')
        path.n--;
    return path;
}

const struct proxy_worker *proxy_worker_find(const struct proxy_workers *list,
                                             const struct proxy_url *url)
{
    const struct proxy_worker *best = NULL;
    size_t best_n = 0;

    for (size_t i = 0; i < list->n; i++) {
        const struct proxy_worker *w = list->v[i];
        struct mu_str path = worker_path(w);
        /* The one with the very socket before the one that leaves it open. */
        size_t rank = path.n * 2 + 1 + (w->url.unix_path.p != NULL);

        if (!is_same_place(&w->url, url) || !mu_str_starts(url->path, path))
            continue;
        if (w->url.unix_path.p && url->unix_path.p && !mu_str_eq(w->url.unix_path, url->unix_path))
            continue;
        if (rank > best_n) {
            best = w;
            best_n = rank;
        }
    }
    return best;
}
