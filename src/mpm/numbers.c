/*
 * numbers: httpd's rules for its MPM directives. Every value that httpd would change is changed
 * here, to the same number, with a warning that names both; nothing is refused for being too large
 * or too small.
 */
#include "mpm/numbers.h"

#include <muster/module.h>

enum {
    THREADED_SERVER_LIMIT = 16,
    THREADED_SERVER_LIMIT_MAX = 20000,
    THREAD_LIMIT = 64,
    THREADS = 25,
    START_SERVERS = 3,
    MIN_SPARE = 75,
    MAX_SPARE = 250,
};

void mu_mpm_numbers_init(struct mu_mpm_numbers *n)
{
    *n = (struct mu_mpm_numbers){
        .start_servers = MU_UNSET,
        .server_limit = MU_UNSET,
        .max_workers = MU_UNSET,
        .max_connections = 0,
        .max_fibers = MU_MAX_FIBERS_DEFAULT,
        .threads = MU_UNSET,
        .thread_limit = MU_UNSET,
        .min_spare = MU_UNSET,
        .max_spare = MU_UNSET,
    };
}

uint32_t mu_mpm_number(struct mu_config *config, const char *directive, int64_t written,
                       uint32_t unset, uint32_t lo, uint32_t hi)
{
    uint32_t got;

    if (written == MU_UNSET)
        return unset < hi ? unset : hi;
    got = written < (int64_t)lo ? lo : written > (int64_t)hi ? hi : (uint32_t)written;
    if ((int64_t)got != written)
        mu_config_warn(config, "%s %lld is not possible here: %s to %u", directive,
                       (long long)written, written < (int64_t)lo ? "raised" : "lowered", got);
    return got;
}

uint32_t mu_mpm_connections(const struct mu_mpm_numbers *n)
{
    return n->max_connections < 0 ? 0 : (uint32_t)n->max_connections;
}

uint32_t mu_mpm_fibers(const struct mu_mpm_numbers *n, uint32_t reactors)
{
    uint32_t each = (uint32_t)n->max_fibers / reactors;

    return each > 0 ? each : 1;
}

static void workers(struct mu_config *config, const struct mu_mpm_numbers *n,
                    struct mu_mpm_limits *out)
{
    uint32_t threads = out->workers_per_child;
    uint64_t most = (uint64_t)out->server_limit * threads;
    uint64_t max = n->max_workers == MU_UNSET ? (uint64_t)THREADED_SERVER_LIMIT * THREADS
                   : n->max_workers < 1       ? 1
                                              : (uint64_t)n->max_workers;
    uint64_t got = max < threads ? threads : max - max % threads;

    if (n->max_workers != MU_UNSET && n->max_workers != (int64_t)got)
        mu_config_warn(config,
                       "MaxRequestWorkers %lld is not a multiple of ThreadsPerChild %u: %s to %llu",
                       (long long)n->max_workers, threads, max < threads ? "raised" : "lowered",
                       (unsigned long long)got);
    if (got > most) {
        if (n->max_workers != MU_UNSET)
            mu_config_warn(
                config,
                "MaxRequestWorkers %llu would need %llu child processes, ServerLimit is %u: lowered to %llu",
                (unsigned long long)got, (unsigned long long)(got / threads), out->server_limit,
                (unsigned long long)most);
        got = most;
    }
    out->children_max = (uint32_t)(got / threads);
}

static void spares(struct mu_config *config, const struct mu_mpm_numbers *n,
                   struct mu_mpm_limits *out)
{
    uint32_t lowest;

    out->min_spare =
        mu_mpm_number(config, "MinSpareThreads", n->min_spare, MIN_SPARE, 1, INT32_MAX);
    lowest = out->min_spare > UINT32_MAX / 2 ? UINT32_MAX / 2 : out->min_spare;
    lowest += out->workers_per_child;
    out->max_spare = n->max_spare == MU_UNSET ? MAX_SPARE
                     : n->max_spare < 0       ? 0
                                              : (uint32_t)n->max_spare;
    if (out->max_spare <
        lowest) /* silently, as httpd: the usual reason is a large ThreadsPerChild */
        out->max_spare = lowest;
}

void mu_mpm_thread_limits(struct mu_config *config, const struct mu_mpm_numbers *n,
                          uint32_t thread_limit_max, struct mu_mpm_limits *out)
{
    out->server_limit = mu_mpm_number(config, "ServerLimit", n->server_limit, THREADED_SERVER_LIMIT,
                                      1, THREADED_SERVER_LIMIT_MAX);
    out->thread_limit =
        mu_mpm_number(config, "ThreadLimit", n->thread_limit, THREAD_LIMIT, 1, thread_limit_max);
    out->workers_per_child =
        mu_mpm_number(config, "ThreadsPerChild", n->threads, THREADS, 1, out->thread_limit);
    out->slots_per_child = out->workers_per_child;
    workers(config, n, out);
    spares(config, n, out);
    out->start =
        mu_mpm_number(config, "StartServers", n->start_servers, START_SERVERS, 1, INT32_MAX);
    if (out->start > out->children_max)
        out->start = out->children_max;
    out->max_connections_per_child = mu_mpm_connections(n);
}
