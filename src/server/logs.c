/* Logs of the servers: an error log for each ErrorLog, and the files of access logs, opened by the
 * supervisor.
 *
 * Each destination is opened once however many servers name it, so that a log program is started
 * once. Access log lines go out whole, one write a line; buffered ones are gathered per process and
 * go out in one write of whole lines, at the latest when the child ends.
 */
#include "room.h"

#include <base/errorlog.h>
#include <base/logout.h>
#include <muster/clock.h>
#include <muster/str.h>
#include <pthread.h>
#include <stdio.h>

enum { BUFFER_SIZE = 4096 };

struct mu_log_file {
    struct mu_log_file *next;
    struct mu_logout out;
    struct mu_str target;
    pthread_mutex_t lock; /**< guards what follows */
    size_t n;
    char buffer[BUFFER_SIZE];
};

static struct mu_server *server_of(const struct mu_config *config)
{
    const struct mu_routing *routing = mu_routing_of(config->main);

    return routing ? routing->server : NULL;
}

const struct mu_log *mu_vhost_log(const struct mu_vhost *v)
{
    return mu_routing_of(v)->log;
}

/* The log of the first server that names the same destination in the same form. */
static struct mu_log *same_log(const struct mu_config *config, size_t before,
                               const struct mu_core_conf *core)
{
    for (size_t i = 0; i < before; i++) {
        const struct mu_core_conf *other = mu_core_of(config->vhosts[i]->base);

        if (mu_str_eq(other->error_log, core->error_log) &&
            mu_str_eq(other->error_log_format, core->error_log_format))
            return mu_routing_of(config->vhosts[i])->log;
    }
    return NULL;
}

static enum mu_rc log_open(struct mu_config *config, size_t i)
{
    struct mu_routing *routing = (struct mu_routing *)(uintptr_t)mu_routing_of(config->vhosts[i]);
    const struct mu_core_conf *core = mu_core_of(config->vhosts[i]->base);
    struct mu_str err = MU_STR_NULL;
    struct mu_log *log;

    routing->log = same_log(config, i, core);
    if (routing->log)
        return MU_OK;
    log = mu_errorlog_create(config->arena);
    if (!log)
        return mu_config_error(config, "out of memory");
    if (core->error_log_format.n &&
        mu_errorlog_set_format(config->arena, log, core->error_log_format, &err) != MU_OK)
        return mu_config_error(config, "ErrorLogFormat: %.*s", MU_FMT(err));
    if (mu_errorlog_open(config->arena, log, core->error_log, config->server_root, &err) != MU_OK)
        return mu_config_error(config, "ErrorLog: %.*s", MU_FMT(err));
    mu_errorlog_set_levels(log, core->log_levels);
    routing->log = log;
    return MU_OK;
}

/* What a format item about a request prints. */
static struct mu_str item_text(const struct mu_req *r, char item, struct mu_str arg, char num[32])
{
    switch (item) {
    case 'A':
        return r->peer ? r->peer->local_ip : MU_STR_NULL;
    case 'e':
        return mu_headers_get(&r->env, arg);
    case 'i':
        return mu_headers_get(&r->in, arg);
    case 'n':
        return mu_headers_get(&r->notes, arg);
    case 'k':
        return r->peer ? mu_str_n(num, (size_t)snprintf(num, 32, "%u", r->peer->keepalives))
                       : MU_STR_NULL;
    case 'L':
        return r->peer ? mu_str_n(num, (size_t)snprintf(num, 32, "%llx",
                                                        (unsigned long long)r->peer->conn_id))
                       : MU_STR_NULL;
    case 'v':
        return r->vhost ? mu_vhost_server_name(r->vhost) : MU_STR_NULL;
    case 'V':
        return r->vhost ? mu_req_server_name(r) : MU_STR_NULL;
    }
    return MU_STR_NULL;
}

static size_t log_item(const struct mu_log_ctx *ctx, char item, struct mu_str arg, char *buf,
                       size_t cap)
{
    char num[32];
    struct mu_str s;

    if (!ctx || !ctx->request) {
        s = ctx && item == 'a' ? ctx->client : MU_STR_NULL;
    } else {
        const struct mu_req *r = ctx->request;

        s = item == 'a' ? r->log.client : item_text(r, item, arg, num);
    }
    if (s.n > cap)
        s.n = cap;
    if (s.n)
        memcpy(buf, s.p, s.n);
    return s.n;
}

enum mu_rc mu_server_logs_open(struct mu_config *config)
{
    mu_errorlog_set_items(log_item);
    for (size_t i = 0; i < config->vhosts_n; i++) {
        if (log_open(config, i) != MU_OK)
            return MU_BAD;
    }
    mu_errorlog_set_main(mu_vhost_log(config->main));
    return MU_OK;
}

enum mu_rc mu_server_logs_check(struct mu_config *config, struct mu_arena *a)
{
    enum mu_rc rc = MU_OK;

    for (size_t i = 0; i < config->vhosts_n; i++) {
        const struct mu_vhost *v = config->vhosts[i];
        struct mu_str target = mu_core_of(v->base)->error_log, file, err;
        unsigned line = 0;
        bool is_said = mu_config_where(config, v, MU_S("ErrorLog"), &file, &line);

        if ((!is_said && !v->is_main) ||
            mu_logout_check(a, target, config->server_root, &err) == MU_OK)
            continue;
        if (is_said)
            rc =
                mu_config_error(config, "%.*s:%u: ErrorLog: %.*s", MU_FMT(file), line, MU_FMT(err));
        else
            rc = mu_config_error(config, "ErrorLog: %.*s", MU_FMT(err));
    }
    return rc;
}

enum mu_rc mu_log_file_check(struct mu_config *config, struct mu_str target, struct mu_str *err)
{
    return mu_logout_check(config->arena, target, config->server_root, err);
}

static void log_file_fini(void *arg)
{
    struct mu_log_file *f = arg;

    pthread_mutex_destroy(&f->lock);
}

struct mu_log_file *mu_log_file_open(struct mu_config *config, struct mu_str target)
{
    struct mu_server *s = server_of(config);
    struct mu_str err = MU_STR_NULL;
    struct mu_log_file *f;

    for (f = s ? s->log_files : NULL; f; f = f->next) {
        if (mu_str_eq(f->target, target))
            return f;
    }
    f = mu_new(config->arena, struct mu_log_file);
    if (!s || !f || pthread_mutex_init(&f->lock, NULL) != 0)
        return NULL;
    if (mu_defer(config->arena, log_file_fini, f) != MU_OK)
        return NULL;
    f->target = mu_str_dup(config->arena, target);
    if (!f->target.p ||
        mu_logout_open(config->arena, target, config->server_root, &f->out, &err) != MU_OK) {
        MU_LOG(NULL, "core", MU_LOG_CRIT, "MU0601", "%.*s", MU_FMT(err));
        return NULL;
    }
    f->next = s->log_files;
    s->log_files = f;
    return f;
}

static void flush_locked(struct mu_log_file *f)
{
    if (f->n)
        mu_logout_write(&f->out, MU_LOG_INFO, mu_str_n(f->buffer, f->n));
    f->n = 0;
}

void mu_log_file_write(struct mu_log_file *f, struct mu_str line, bool buffered)
{
    if (!buffered) {
        mu_logout_write(&f->out, MU_LOG_INFO, line);
        return;
    }
    pthread_mutex_lock(&f->lock);
    if (f->n + line.n > sizeof(f->buffer))
        flush_locked(f);
    if (line.n > sizeof(f->buffer)) {
        mu_logout_write(&f->out, MU_LOG_INFO, line);
    } else {
        memcpy(f->buffer + f->n, line.p, line.n);
        f->n += line.n;
    }
    pthread_mutex_unlock(&f->lock);
}

void mu_server_logs_flush(const struct mu_config *config)
{
    struct mu_server *s = server_of(config);

    for (struct mu_log_file *f = s ? s->log_files : NULL; f; f = f->next) {
        /* Held by a thread that is left behind while it writes: nothing of it can be waited for. */
        if (pthread_mutex_trylock(&f->lock) != 0)
            continue;
        flush_locked(f);
        pthread_mutex_unlock(&f->lock);
    }
}
