/* server-status?auto: the keys that exporters and monitoring plug-ins parse, in httpd's order and spelling. */
#include "status.h"

#include <muster/clock.h>
#include <stdlib.h>
#include <time.h>

int64_t status_uptime_s(const struct mu_server_view *v)
{
    int64_t up = mu_real_sec() - v->start_time;

    return up > 0 ? up : 1;
}

static void add_unit(struct mu_buf *b, int64_t n, const char *unit)
{
    if (n)
        mu_buf_addf(b, " %lld %s%s", (long long)n, unit, n == 1 ? "" : "s");
}

void status_uptime(struct mu_buf *b, int64_t seconds)
{
    add_unit(b, seconds / 86400, "day");
    add_unit(b, seconds / 3600 % 24, "hour");
    add_unit(b, seconds / 60 % 60, "minute");
    add_unit(b, seconds % 60, "second");
}

void status_letters(struct mu_buf *b, size_t width)
{
    struct mu_worker_view w;

    for (size_t i = 0; mu_worker_view(i, &w); i++) {
        mu_buf_addc(b, w.state ? w.state : '.');
        if (width && (i + 1) % width == 0)
            mu_buf_addc(b, '\n');
    }
}

struct status_workers status_count(void)
{
    struct status_workers n = { 0, 0, 0 };
    struct mu_worker_view w;

    for (size_t i = 0; mu_worker_view(i, &w); i++) {
        n.idle += w.state == '_';
        n.graceful += w.state == 'G';
        n.busy += w.state && strchr("RWKDCL", w.state) != NULL;
    }
    return n;
}

static void add_time(struct mu_buf *b, const char *key, int64_t sec)
{
    char text[80];
    time_t t = (time_t)sec;
    struct tm tm;

    localtime_r(&t, &tm);
    if (strftime(text, sizeof(text), "%A, %d-%b-%Y %H:%M:%S %Z", &tm))
        mu_buf_addf(b, "%s: %s\n", key, text);
}

static void add_load(struct mu_buf *b)
{
    double load[3];

    if (getloadavg(load, 3) == 3)
        mu_buf_addf(b, "Load1: %.2f\nLoad5: %.2f\nLoad15: %.2f\n", load[0], load[1], load[2]);
}

static void add_cpu(struct mu_buf *b, const struct mu_server_view *v, int64_t up)
{
    double user = (double)v->cpu_user_us / 1e6, sys = (double)v->cpu_sys_us / 1e6;
    double cuser = (double)v->cpu_children_user_us / 1e6;
    double csys = (double)v->cpu_children_sys_us / 1e6;

    mu_buf_addf(b, "CPUUser: %g\nCPUSystem: %g\nCPUChildrenUser: %g\nCPUChildrenSystem: %g\n", user,
                sys, cuser, csys);
    mu_buf_addf(b, "CPULoad: %g\n", (user + sys + cuser + csys) / (double)up * 100.0);
}

static void add_rates(struct mu_buf *b, const struct mu_server_view *v, int64_t up)
{
    double accesses = (double)v->total_accesses;

    mu_buf_addf(b, "Uptime: %lld\n", (long long)up);
    mu_buf_addf(b, "ReqPerSec: %g\n", accesses / (double)up);
    mu_buf_addf(b, "BytesPerSec: %g\n", (double)v->total_bytes / (double)up);
    if (v->total_accesses) {
        mu_buf_addf(b, "BytesPerReq: %g\n", (double)v->total_bytes / accesses);
        mu_buf_addf(b, "DurationPerReq: %g\n", (double)v->total_duration_us / 1000.0 / accesses);
    }
}

void status_machine(struct mu_req *r, const struct mu_server_view *v, struct mu_buf *b)
{
    int64_t up = status_uptime_s(v);
    struct status_workers n = status_count();
    const struct mu_status_provider *p;

    mu_buf_addf(b, "%.*s\nServerVersion: %.*s\nServerMPM: %s\n", MU_FMT(mu_req_server_name(r)),
                MU_FMT(mu_req_server_tokens(r)), v->mpm);
    add_time(b, "CurrentTime", mu_real_sec());
    add_time(b, "RestartTime", v->config_time);
    mu_buf_addf(b, "ParentServerConfigGeneration: %llu\nParentServerMPMGeneration: %llu\n",
                (unsigned long long)v->config_generation, (unsigned long long)v->mpm_generation);
    mu_buf_addf(b, "ServerUptimeSeconds: %lld\nServerUptime:", (long long)up);
    status_uptime(b, up);
    mu_buf_addc(b, '\n');
    add_load(b);
    mu_buf_addf(b, "Total Accesses: %llu\nTotal kBytes: %llu\nTotal Duration: %llu\n",
                (unsigned long long)v->total_accesses, (unsigned long long)v->total_bytes / 1024,
                (unsigned long long)v->total_duration_us / 1000);
    add_cpu(b, v, up);
    add_rates(b, v, up);
    mu_buf_addf(b, "BusyWorkers: %u\nGracefulWorkers: %u\nIdleWorkers: %u\n", n.busy, n.graceful,
                n.idle);
    mu_buf_addf(b, "Processes: %u\nStopping: %u\n", v->processes, v->stopping);
    if (v->is_async)
        mu_buf_addf(b,
                    "ConnsTotal: %llu\nConnsAsyncWriting: %llu\nConnsAsyncKeepAlive: %llu\n"
                    "ConnsAsyncClosing: %llu\n",
                    (unsigned long long)v->conns_total, (unsigned long long)v->conns_writing,
                    (unsigned long long)v->conns_keepalive, (unsigned long long)v->conns_closing);
    mu_buf_add(b, MU_S("Scoreboard: "));
    status_letters(b, 0);
    mu_buf_addc(b, '\n');
    for (size_t i = 0; (p = mu_req_status_provider(r, i)); i++) {
        if (p->machine)
            p->machine(r, b);
    }
}
