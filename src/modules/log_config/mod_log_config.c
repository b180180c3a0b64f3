/* mod_log_config: the access logs. Formats by name, logs by server, conditions by environment.
 *
 * A virtual host with logs of its own uses those alone, else the main server's; a GlobalLog is written for every
 * server. Names of formats are resolved once everything is read, so that a LogFormat may stand behind its use.
 */
#include "log_format.h"

#include <muster/map.h>

extern struct mu_module mu_module_log_config;
extern struct mu_module mu_module_logio;

/** One CustomLog, TransferLog or GlobalLog. */
struct access_log {
    struct mu_str target; /**< file, or |program */
    struct mu_str
        format_text; /**< a name or a format; p == NULL: the server's TransferLog format */
    const struct log_format *format; /**< resolved by check */
    struct mu_log_file *file;        /**< opened by server_start */
    struct mu_str env;               /**< env=NAME; p == NULL: always */
    bool env_negated;
    bool is_resolved; /**< by check, for better or worse */
    struct mu_str conf_file;
    unsigned line;
};

struct log_list {
    struct access_log **v;
    size_t n;
};

struct log_conf {
    struct log_list logs;
    struct log_list globals;
    struct mu_map *formats;        /**< name → struct mu_str * */
    struct mu_str transfer_format; /**< LogFormat without a name */
    bool is_buffered;
    bool wants_host; /**< set by check: some log of this server has %h */
};

static enum mu_rc list_add(struct mu_arena *a, struct log_list *l, struct access_log *log)
{
    struct access_log **v = mu_new_n(a, struct access_log *, l->n + 1);

    if (!v)
        return MU_NOMEM;
    if (l->n)
        memcpy(v, l->v, l->n * sizeof(*v));
    v[l->n++] = log;
    l->v = v;
    return MU_OK;
}

/* Here rather than by check, so that the error stands with all others, whether or not the format is used. */
static enum mu_rc check_format(struct mu_cmd *cmd, struct mu_str text)
{
    struct mu_str err;

    if (log_format_compile(cmd->arena, text, &err))
        return MU_OK;
    return mu_cmd_error(cmd, "log format \"%.*s\": %.*s", MU_FMT(text), MU_FMT(err));
}

static enum mu_rc set_format(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct log_conf *c = conf;
    struct mu_str *text;

    if (check_format(cmd, args[0]) != MU_OK)
        return MU_BAD;
    if (n == 1) {
        c->transfer_format = args[0];
        return MU_OK;
    }
    if (!c->formats)
        c->formats = mu_map_create(cmd->arena, false);
    text = mu_new(cmd->arena, struct mu_str);
    if (!c->formats || !text || mu_map_set(c->formats, args[1], text) != MU_OK)
        return mu_cmd_error(cmd, "out of memory");
    *text = args[0];
    return MU_OK;
}

static enum mu_rc set_condition(struct mu_cmd *cmd, struct access_log *log, struct mu_str arg)
{
    if (mu_str_istarts(arg, MU_S("expr=")))
        return mu_cmd_error(cmd, "expressions are not in this version; use env=NAME or env=!NAME");
    if (!mu_str_istarts(arg, MU_S("env=")))
        return mu_cmd_error(cmd, "found '%.*s', expected env=NAME or env=!NAME", MU_FMT(arg));
    log->env = mu_str_sub(arg, 4, arg.n);
    if (mu_str_starts(log->env, MU_S("!"))) {
        log->env_negated = true;
        log->env = mu_str_sub(log->env, 1, log->env.n);
    }
    if (!log->env.n)
        return mu_cmd_error(cmd, "env= names no variable");
    return MU_OK;
}

static enum mu_rc set_log(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct log_conf *c = conf;
    struct access_log *log = mu_new(cmd->arena, struct access_log);
    bool is_global = mu_str_ieq(mu_str_c(cmd->directive->name), MU_S("GlobalLog"));

    if (!log)
        return mu_cmd_error(cmd, "out of memory");
    log->target = mu_str_starts(args[0], MU_S("|")) ? args[0] : mu_cmd_path(cmd, args[0]);
    log->format_text = n > 1 ? args[1] : MU_STR_NULL;
    log->conf_file = cmd->file;
    log->line = cmd->line;
    if (n > 2 && set_condition(cmd, log, args[2]) != MU_OK)
        return MU_BAD;
    if (n > 1 && mu_str_chr(args[1], '%') >= 0 && check_format(cmd, args[1]) != MU_OK)
        return MU_BAD; /* without a percent sign it may be a name that is given later */
    if (list_add(cmd->arena, is_global ? &c->globals : &c->logs, log) != MU_OK)
        return mu_cmd_error(cmd, "out of memory");
    return MU_OK;
}

static enum mu_rc merge(struct mu_arena *a, const void *base, const void *over, void *out)
{
    const struct log_conf *b = base, *o = over;
    struct log_conf *c = out;

    c->logs = o->logs.n ? o->logs : b->logs;
    if (o->globals.n)
        c->globals = o->globals;
    if (o->transfer_format.p)
        c->transfer_format = o->transfer_format;
    if (!o->formats)
        return MU_OK;
    c->formats = mu_map_create(a, false);
    if (!c->formats || mu_map_merge(c->formats, b->formats) != MU_OK ||
        mu_map_merge(c->formats, o->formats) != MU_OK)
        return MU_NOMEM;
    return MU_OK;
}

/* ---- after reading ---- */

#define COMMON_FORMAT MU_S("%h %l %u %t \"%r\" %>s %b")

static enum mu_rc resolve(struct mu_config *config, struct mu_arena *a, const struct log_conf *c,
                          struct access_log *log)
{
    const struct mu_str *named;
    struct mu_str text = log->format_text, err;

    if (!text.p)
        text = c->transfer_format.p ? c->transfer_format : COMMON_FORMAT;
    named = c->formats ? mu_map_get(c->formats, text) : NULL;
    if (named)
        text = *named;
    else if (mu_str_eq(text, MU_S("common")) || mu_str_eq(text, MU_S("CLF")))
        text = COMMON_FORMAT;
    log->format = log_format_compile(a, text, &err);
    if (!log->format)
        return mu_config_error(config, "%.*s:%u: log format \"%.*s\": %.*s", MU_FMT(log->conf_file),
                               log->line, MU_FMT(text), MU_FMT(err));
    if (mu_log_file_check(config, log->target, &err) != MU_OK)
        return mu_config_error(config, "%.*s:%u: %.*s", MU_FMT(log->conf_file), log->line,
                               MU_FMT(err));
    return MU_OK;
}

/* Servers without logs of their own share those of the main one: each log is looked at once. */
static enum mu_rc resolve_all(struct mu_config *config, struct mu_arena *a, struct log_conf *c,
                              struct log_list *l)
{
    enum mu_rc rc = MU_OK;

    for (size_t i = 0; i < l->n; i++) {
        struct access_log *log = l->v[i];

        if (!log->is_resolved && resolve(config, a, c, log) != MU_OK)
            rc = MU_BAD;
        log->is_resolved = true;
        if (!log->format)
            continue;
        mu_module_log_config.wants_timing |= log->format->wants_timing;
        c->wants_host = c->wants_host || log->format->wants_host;
    }
    return rc;
}

/* The merged confs are this module's until the configuration is published, which is after this hook. */
static struct log_conf *conf_of(const struct mu_vhost *v)
{
    return (struct log_conf *)(uintptr_t)mu_vhost_conf(v, &mu_module_log_config);
}

static enum mu_rc check(struct mu_config *config, struct mu_arena *a)
{
    const struct mu_vhost *v;
    enum mu_rc rc = MU_OK;

    mu_module_log_config.wants_timing = false;
    for (size_t i = 0; (v = mu_config_vhost(config, i)); i++) {
        struct log_conf *c = conf_of(v);

        if (resolve_all(config, a, c, &c->globals) != MU_OK)
            rc = MU_BAD;
        if (resolve_all(config, a, c, &c->logs) != MU_OK)
            rc = MU_BAD;
    }
    return rc;
}

static enum mu_rc open_all(struct mu_config *config, struct log_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i]->file)
            continue;
        l->v[i]->file = mu_log_file_open(config, l->v[i]->target);
        if (!l->v[i]->file)
            return MU_EIO;
    }
    return MU_OK;
}

static enum mu_rc server_start(struct mu_config *config)
{
    const struct mu_vhost *v;

    for (size_t i = 0; (v = mu_config_vhost(config, i)); i++) {
        struct log_conf *c = conf_of(v);

        if (open_all(config, &c->globals) != MU_OK || open_all(config, &c->logs) != MU_OK)
            return MU_EIO;
    }
    return MU_OK;
}

/* ---- requests ---- */

/* Asked of the request as the client sent it: an internal redirect renames its variables to REDIRECT_… */
static bool is_wanted(const struct access_log *log, struct mu_req *r)
{
    while (r->prev)
        r = r->prev;
    return !log->env.p || (mu_req_env(r, log->env).p != NULL) != log->env_negated;
}

static void write_all(const struct log_list *l, const struct log_conf *c, struct mu_req *r)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct access_log *log = l->v[i];
        struct log_line line = { .arena = r->arena };

        if (!is_wanted(log, r))
            continue;
        log_format_write(log->format, &line, r);
        if (!line.is_failed)
            mu_log_file_write(log->file, mu_str_n(line.p, line.n), c->is_buffered);
    }
}

static enum mu_status log_request(struct mu_req *r, const void *conf)
{
    const struct log_conf *c = mu_vhost_conf(r->vhost, &mu_module_log_config);

    (void)conf;
    write_all(&c->globals, c, r);
    write_all(&c->logs, c, r);
    return MU_STATUS_NONE;
}

/* The log phase must not wait, so a name is looked up while the request may still wait. */
static enum mu_status look_up_host(struct mu_req *r, const void *conf)
{
    const struct log_conf *c = conf;

    if (c->wants_host)
        (void)mu_req_remote_host(r);
    return MU_STATUS_NONE;
}

static const struct mu_directive directives[] = {
    MU_DIR_CALL("LogFormat", MU_IN_SERVER, 1, 2, set_format, "a log format, and a name for it"),
    MU_DIR_CALL("CustomLog", MU_IN_SERVER, 2, 3, set_log,
                "a file or |program, a format or its name, and env=[!]NAME"),
    MU_DIR_CALL("GlobalLog", MU_IN_GLOBAL, 2, 3, set_log,
                "as CustomLog, for all virtual hosts too"),
    MU_DIR_CALL("TransferLog", MU_IN_SERVER, 1, 1, set_log,
                "a file or |program, in the last format that was given without a name"),
    MU_DIR_FLAG("BufferedLogs", struct log_conf, is_buffered, MU_IN_GLOBAL,
                "gather lines in memory before they are written"),
    MU_DIR_END
};

MU_MODULE(log_config, .conf_size = sizeof(struct log_conf), .directives = directives,
          .merge = merge, .check = check, .server_start = server_start,
          .hooks = MU_HOOKS({ MU_PHASE_POST_READ, 0, look_up_host, false, NULL },
                            { MU_PHASE_LOG, 0, log_request, false, NULL }));

/* mod_logio: its items (%I %O %S %^FB) are always there; the name is for LoadModule and <IfModule>. */
static const struct mu_directive logio_directives[] = {
    MU_DIR_IGNORED("LogIOTrackTTFB", MU_IN_SERVER | MU_IN_DIR,
                   "the first byte is timed whenever a format has %^FB"),
    MU_DIR_END
};

MU_MODULE(logio, .directives = logio_directives);
