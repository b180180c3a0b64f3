/*
 * settings: the table of <ApplicationPool> and what its rows parse themselves. A pool's section
 * holds directives of its own and nothing else, so their names can be short; what they say together
 * is checked at the section's end (complete.c), and what pools say to the rest of the configuration
 * when all of it has been read (check.c).
 */
#include "pool/conf.h"

#include "pool/board.h"
#include "pool/web.h"

#include <muster/str.h>
#include <super/super.h>

#define SECONDS_MAX (INT64_C(1000) * INT32_MAX)

static enum mu_rc set_command(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct mu_pool_conf *p = conf;
    char **argv = mu_argv_split(cmd->arena, mu_str_trim(args[0]));

    (void)n;
    p->has_command = true;
    p->argv = NULL;
    if (!argv)
        return mu_cmd_error(cmd, "Command leaves a quote open: %.*s", MU_FMT(args[0]));
    if (!argv[0])
        return mu_cmd_error(cmd, "Command needs a program and its arguments, such as Command "
                                 "/usr/bin/php-cgi8.2");
    if (argv[0][0] != '/')
        return mu_cmd_error(cmd, "Command \"%s\": the program's path must begin with /", argv[0]);
    p->argv = argv;
    return MU_OK;
}

static bool is_variable_name(struct mu_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = mu_lower(s.p[i]);

        if (!(c >= 'a' && c <= 'z') && c != '_' && !(i && c >= '0' && c <= '9'))
            return false;
    }
    return s.n > 0;
}

static enum mu_rc set_environment(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                  size_t n)
{
    struct mu_pool_conf *p = conf;
    struct mu_str *v = mu_new_n(cmd->arena, struct mu_str, p->environment.n + n);

    if (!v)
        return MU_NOMEM;
    for (size_t i = 0; i < n; i++) {
        ssize_t sign = mu_str_chr(args[i], '=');
        struct mu_str name = sign < 0 ? args[i] : mu_str_sub(args[i], 0, (size_t)sign);

        if (!is_variable_name(name))
            return mu_cmd_error(cmd,
                                "Environment \"%.*s\": NAME=VALUE is needed, or a NAME whose value "
                                "is the server's own",
                                MU_FMT(args[i]));
        if (mu_str_eq(name, MU_S("PHP_FCGI_CHILDREN")))
            return mu_cmd_error(cmd, "Environment PHP_FCGI_CHILDREN: the pool starts the "
                                     "processes itself, MaxChildren says how many");
        if (mu_str_eq(name, MU_S("PHP_FCGI_MAX_REQUESTS")))
            return mu_cmd_error(cmd, "Environment PHP_FCGI_MAX_REQUESTS: MaxRequests sets it");
    }
    if (p->environment.n)
        memcpy(v, p->environment.v, p->environment.n * sizeof(*v));
    memcpy(v + p->environment.n, args, n * sizeof(*v));
    p->environment = (struct mu_strs){ .v = v, .n = p->environment.n + n };
    return MU_OK;
}

/* "512M": bytes, or with K, M, G. */
static enum mu_rc set_memory(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct mu_pool_conf *p = conf;
    struct mu_str s = args[0];
    unsigned shift = 0;
    int64_t v;

    (void)n;
    if (s.n > 1) {
        char unit = mu_lower(s.p[s.n - 1]);

        shift = unit == 'k' ? 10 : unit == 'm' ? 20 : unit == 'g' ? 30 : 0;
    }
    if (shift)
        s = mu_str_sub(s, 0, s.n - 1);
    if (!mu_str_i64(s, &v) || v <= 0 || v > INT64_MAX >> shift)
        return mu_cmd_error(
            cmd, "LimitMemory \"%.*s\": a number of bytes is needed, or with K, M or G, as 512M",
            MU_FMT(args[0]));
    p->limit_memory = v << shift;
    return MU_OK;
}

static const struct mu_enum_name managers[] = { { "static", MU_POOL_STATIC },
                                                { "dynamic", MU_POOL_DYNAMIC },
                                                { "ondemand", MU_POOL_ONDEMAND },
                                                { NULL, 0 } };

static const struct mu_directive rows[] = {
    MU_DIR_RAW("Command", MU_IN_GLOBAL, set_command,
               "Program and arguments; it finds its listening socket on descriptor 0"),
    MU_DIR_STR("User", struct mu_pool_conf, user, MU_IN_GLOBAL,
               "User the processes run as, by name or #uid; never the web children's"),
    MU_DIR_STR("Group", struct mu_pool_conf, group, MU_IN_GLOBAL,
               "Group the processes run as; the user's own when it is not given"),
    MU_DIR_STR("Chroot", struct mu_pool_conf, chroot, MU_IN_GLOBAL,
               "Root directory of the processes"),
    MU_DIR_STR("WorkingDirectory", struct mu_pool_conf, directory, MU_IN_GLOBAL,
               "Directory the processes start in, inside Chroot; /"),
    MU_DIR_CALL("Environment", MU_IN_GLOBAL, 1, -1, set_environment,
                "NAME=VALUE, or NAME to pass the server's own; else there is PATH, HOME, USER"),
    MU_DIR_INT("LimitCPU", struct mu_pool_conf, limit_cpu_s, MU_IN_GLOBAL, 1, INT32_MAX,
               "Seconds of processor time of a process in its life"),
    MU_DIR_CALL("LimitMemory", MU_IN_GLOBAL, 1, 1, set_memory,
                "Address space of a process in bytes, or with K, M, G"),
    MU_DIR_INT("LimitFiles", struct mu_pool_conf, limit_files, MU_IN_GLOBAL, 8, INT32_MAX,
               "Descriptors of a process"),
    MU_DIR_INT("LimitProcesses", struct mu_pool_conf, limit_processes, MU_IN_GLOBAL, 1, INT32_MAX,
               "Processes that the pool's user may have"),
    MU_DIR_INT("MaxRequests", struct mu_pool_conf, max_requests, MU_IN_GLOBAL, 0, INT32_MAX,
               "Requests after which a process is replaced; 0: never"),
    MU_DIR_ENUM("ProcessManager", struct mu_pool_conf, manager, MU_IN_GLOBAL, managers,
                "static: always MaxChildren; dynamic: by MinSpare and MaxSpare; ondemand: when "
                "requests wait"),
    MU_DIR_INT("MaxChildren", struct mu_pool_conf, max_children, MU_IN_GLOBAL, 1, MU_POOL_CHILDREN,
               "Processes at most"),
    MU_DIR_INT("StartServers", struct mu_pool_conf, start_servers, MU_IN_GLOBAL, 0,
               MU_POOL_CHILDREN, "dynamic: processes at the start"),
    MU_DIR_INT("MinSpare", struct mu_pool_conf, min_spare, MU_IN_GLOBAL, 0, MU_POOL_CHILDREN,
               "dynamic: idle processes below which more are started"),
    MU_DIR_INT("MaxSpare", struct mu_pool_conf, max_spare, MU_IN_GLOBAL, 1, MU_POOL_CHILDREN,
               "dynamic: idle processes above which some are ended"),
    MU_DIR_INT("SpawnRate", struct mu_pool_conf, spawn_rate, MU_IN_GLOBAL, 1, MU_POOL_CHILDREN,
               "Processes started in a second, at most"),
    MU_DIR_DURATION("IdleTimeout", struct mu_pool_conf, idle_timeout_ms, MU_IN_GLOBAL, 1,
                    SECONDS_MAX, "ondemand: a process that is idle for so long is ended"),
    MU_DIR_DURATION("StartTimeout", struct mu_pool_conf, start_timeout_ms, MU_IN_GLOBAL, 1,
                    SECONDS_MAX, "Time a process has until it accepts"),
    MU_DIR_DURATION("StopTimeout", struct mu_pool_conf, stop_timeout_ms, MU_IN_GLOBAL, 1,
                    SECONDS_MAX, "Time a process has between SIGTERM and SIGKILL"),
    MU_DIR_INT("EmergencyRestartThreshold", struct mu_pool_conf, emergency_threshold, MU_IN_GLOBAL,
               0, MU_POOL_CHILDREN,
               "So many crashes within EmergencyRestartInterval replace all processes; 0: never"),
    MU_DIR_DURATION("EmergencyRestartInterval", struct mu_pool_conf, emergency_interval_ms,
                    MU_IN_GLOBAL, 1, SECONDS_MAX, "See EmergencyRestartThreshold"),
    MU_DIR_INT("QueueLength", struct mu_pool_conf, queue_length, MU_IN_GLOBAL, 0, MU_POOL_TICKETS,
               "Requests that may wait for a process, in all web children together"),
    MU_DIR_DURATION("QueueTimeout", struct mu_pool_conf, queue_timeout_ms, MU_IN_GLOBAL, 1,
                    SECONDS_MAX, "Longest time a request waits for a process"),
    MU_DIR_DURATION("RequestTimeout", struct mu_pool_conf, request_timeout_ms, MU_IN_GLOBAL, 0,
                    SECONDS_MAX, "A process that serves a request for so long is ended; 0: never"),
    MU_DIR_DURATION("SlowRequestTimeout", struct mu_pool_conf, slow_timeout_ms, MU_IN_GLOBAL, 0,
                    SECONDS_MAX, "A request that takes longer is written down; 0: none is"),
    MU_DIR_STR("SlowRequestLog", struct mu_pool_conf, slow_log, MU_IN_GLOBAL,
               "File or |program for slow requests; the error log when it is not given"),
    MU_DIR_FLAG("FlushPackets", struct mu_pool_conf, flushes, MU_IN_GLOBAL,
                "Send each piece of an answer as it comes, instead of taking the answer as fast "
                "as the process makes it"),
    MU_DIR_FLAG("StreamRequests", struct mu_pool_conf, is_streaming, MU_IN_GLOBAL,
                "Give a request body to the process while it arrives, instead of waiting for all "
                "of it first"),
    MU_DIR_FLAG("PassClient", struct mu_pool_conf, passes_client, MU_IN_GLOBAL,
                "Lend the client's socket to an application that asks for it (see "
                "ProxyFCGIPassClient)"),
    MU_DIR_END
};

static bool is_pool_name(struct mu_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = mu_lower(s.p[i]);

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
            return false;
    }
    return s.n > 0 && s.n <= MU_POOL_NAME_MAX;
}

static void fill_defaults(struct mu_pool_conf *p)
{
    p->limit_cpu_s = p->limit_memory = p->limit_files = p->limit_processes = MU_POOL_UNSET;
    p->start_servers = MU_POOL_UNSET;
    p->manager = MU_POOL_DYNAMIC;
    p->max_children = 5;
    p->min_spare = 1;
    p->max_spare = 3;
    p->spawn_rate = 32;
    p->idle_timeout_ms = 10 * 1000;
    p->start_timeout_ms = 30 * 1000;
    p->stop_timeout_ms = 5 * 1000;
    p->emergency_interval_ms = 60 * 1000;
    p->queue_length = 511;
    p->queue_timeout_ms = 30 * 1000;
}

static enum mu_rc open_pool(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct mu_pools_conf *all = conf;
    const struct mu_pool_conf *other = mu_pool_conf_find(all, args[0]);
    struct mu_pool_conf **v, *p = mu_new(cmd->arena, struct mu_pool_conf);

    (void)n;
    if (!is_pool_name(args[0]))
        return mu_cmd_error(cmd,
                            "<ApplicationPool \"%.*s\">: a name of at most %d letters, digits, '-' "
                            "and '_' is needed",
                            MU_FMT(args[0]), MU_POOL_NAME_MAX);
    if (other)
        return mu_cmd_error(cmd, "<ApplicationPool %.*s> is there already: %.*s:%u",
                            MU_FMT(args[0]), MU_FMT(other->file), other->line);
    v = mu_new_n(cmd->arena, struct mu_pool_conf *, all->n + 1);
    if (!p || !v)
        return MU_NOMEM;
    fill_defaults(p);
    p->name = args[0];
    p->file = cmd->file;
    p->line = cmd->line;
    if (all->n)
        memcpy(v, all->v, all->n * sizeof(struct mu_pool_conf *));
    v[all->n++] = p;
    all->v = v;
    cmd->inner_conf = p;
    return MU_OK;
}

static enum mu_rc close_pool(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    (void)conf;
    (void)args;
    (void)n;
    return mu_pool_complete(cmd, cmd->inner_conf);
}

static const struct mu_directive directives[] = {
    MU_DIR_SECTION("ApplicationPool", MU_IN_GLOBAL, 1, 1, open_pool, rows,
                   "Processes of an application, started and looked after by the server, and the "
                   "queue in front of them"),
    MU_DIR_SECTION_END("ApplicationPool", MU_IN_GLOBAL, close_pool),
    MU_DIR_PATH("ApplicationPoolDir", struct mu_pools_conf, dir, MU_IN_GLOBAL,
                "Folder for the sockets of all pools; beside the PidFile, with .pools at its end"),
    MU_DIR_END
};

static enum mu_rc merge(struct mu_arena *a, const void *base, const void *over, void *out)
{
    const struct mu_pools_conf *o = over;
    struct mu_pools_conf *m = out;

    (void)a;
    (void)base;
    if (o->n) {
        m->v = o->v;
        m->n = o->n;
    }
    return MU_OK;
}

static enum mu_rc check(struct mu_config *config, struct mu_arena *a)
{
    (void)a;
    return mu_pools_check(config);
}

MU_MODULE(pool, .conf_size = sizeof(struct mu_pools_conf), .directives = directives, .merge = merge,
          .check = check, .handlers = mu_pool_handlers, .status = &mu_pool_status);

const struct mu_pools_conf *mu_pools_conf_of(const struct mu_config *config)
{
    return mu_vhost_conf(config->main, &mu_module_pool);
}

const struct mu_pool_conf *mu_pool_conf_find(const struct mu_pools_conf *all, struct mu_str name)
{
    for (size_t i = 0; i < all->n; i++) {
        if (mu_str_ieq(all->v[i]->name, name))
            return all->v[i];
    }
    return NULL;
}

const char *mu_pools_dir(const struct mu_config *config)
{
    const struct mu_pools_conf *all = mu_pools_conf_of(config);
    struct mu_str pid = mu_str_c(mu_super_pid_path(config));

    if (all->dir.n)
        return mu_cstr(config->arena, all->dir);
    if (!pid.p)
        return NULL;
    if (mu_str_ends(pid, MU_S(".pid")))
        pid = mu_str_sub(pid, 0, pid.n - 4);
    return mu_str_cat(config->arena, pid, MU_S(".pools")).p;
}
