/* server-status for people: figures, processes, the scoreboard, and what each worker does. */
#include "status.h"

#include <muster/clock.h>
#include <time.h>

static const char page_head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<title>Server status</title>\n<style>\n"
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;"
    "color:#1c2430;background:#f7f8fa}\n"
    "h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}\n"
    "table{border-collapse:collapse;width:100%;background:#fff;font-variant-numeric:tabular-nums}\n"
    "th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #e3e6ea;white-space:nowrap}\n"
    "td.r{white-space:normal;word-break:break-all}th{background:#eef1f4}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.5rem}"
    "dt{color:#5b6675}dd{margin:0}\n"
    "pre{background:#fff;padding:1rem;overflow:auto;border:1px solid #e3e6ea}\n"
    ".t{overflow-x:auto}\n</style></head><body>\n";

static void add_term(struct mu_buf *b, const char *term)
{
    mu_buf_addf(b, "<dt>%s</dt><dd>", term);
}

static void add_time(struct mu_buf *b, const char *term, int64_t sec)
{
    char text[80];
    time_t t = (time_t)sec;
    struct tm tm;

    localtime_r(&t, &tm);
    if (!strftime(text, sizeof(text), "%A, %d-%b-%Y %H:%M:%S %Z", &tm))
        return;
    add_term(b, term);
    mu_buf_addf(b, "%s</dd>\n", text);
}

static void add_bytes(struct mu_buf *b, double n)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
    size_t i = 0;

    while (n >= 1024 && i + 1 < MU_ARRAY_LEN(units)) {
        n /= 1024;
        i++;
    }
    mu_buf_addf(b, i ? "%.1f %s" : "%.0f %s", n, units[i]);
}

static void add_figures(struct mu_buf *b, const struct mu_server_view *v)
{
    int64_t up = status_uptime_s(v);
    double cpu = (double)(v->cpu_user_us + v->cpu_sys_us + v->cpu_children_user_us +
                          v->cpu_children_sys_us) /
                 1e6;
    struct status_workers n = status_count();

    add_time(b, "Current time", mu_real_sec());
    add_time(b, "Last (re)start", v->config_time);
    add_term(b, "Generation");
    mu_buf_addf(b, "%llu</dd>\n", (unsigned long long)v->config_generation);
    add_term(b, "Up for");
    status_uptime(b, up);
    mu_buf_add(b, MU_S("</dd>\n"));
    add_term(b, "Requests");
    mu_buf_addf(b, "%llu (%.3g a second)</dd>\n", (unsigned long long)v->total_accesses,
                (double)v->total_accesses / (double)up);
    add_term(b, "Traffic");
    add_bytes(b, (double)v->total_bytes);
    mu_buf_add(b, MU_S(" ("));
    add_bytes(b, (double)v->total_bytes / (double)up);
    mu_buf_add(b, MU_S(" a second"));
    if (v->total_accesses) {
        mu_buf_add(b, MU_S(", "));
        add_bytes(b, (double)v->total_bytes / (double)v->total_accesses);
        mu_buf_addf(b, " and %.3g ms a request",
                    (double)v->total_duration_us / 1000.0 / (double)v->total_accesses);
    }
    mu_buf_add(b, MU_S("</dd>\n"));
    add_term(b, "Processor time");
    mu_buf_addf(b, "%.2f s (%.3g%% of one core)</dd>\n", cpu, cpu / (double)up * 100.0);
    add_term(b, "Workers");
    mu_buf_addf(b, "%u busy, %u idle, %u finishing gracefully</dd>\n", n.busy, n.idle, n.graceful);
}

static void add_processes(struct mu_buf *b)
{
    struct mu_process_view p;

    mu_buf_add(b, MU_S("<h2>Processes</h2>\n<div class=\"t\"><table><tr><th>Slot</th><th>PID</th>"
                       "<th>Stopping</th><th>Connections</th><th>Accepting</th><th>Busy</th>"
                       "<th>Idle</th><th>Writing</th><th>Keep-alive</th><th>Closing</th></tr>\n"));
    for (size_t i = 0; mu_process_view(i, &p); i++)
        mu_buf_addf(b,
                    "<tr><td>%u</td><td>%d</td><td>%s</td><td>%u</td><td>%s</td><td>%u</td>"
                    "<td>%u</td><td>%u</td><td>%u</td><td>%u</td></tr>\n",
                    p.slot, (int)p.pid, p.is_stopping ? "yes" : "no", p.connections,
                    p.is_accepting ? "yes" : "no", p.threads_busy, p.threads_idle, p.writing,
                    p.keepalive, p.closing);
    mu_buf_add(b, MU_S("</table></div>\n"));
}

static void add_worker_row(struct mu_buf *b, const struct mu_worker_view *w)
{
    mu_buf_addf(b,
                "<tr><td>%u-%u</td><td>%d</td><td>%llu/%llu/%llu</td><td>%c</td><td>%.2f</td>"
                "<td>%lld</td><td>%.0f</td><td>",
                w->child, w->slot, (int)w->pid, (unsigned long long)w->requests_conn,
                (unsigned long long)w->requests_child, (unsigned long long)w->requests_slot,
                w->state, (double)w->cpu_us / 1e6, (long long)w->last_used_ms / 1000,
                (double)w->request_us / 1000.0);
    add_bytes(b, (double)w->bytes_slot);
    mu_buf_add(b, MU_S("</td><td>"));
    mu_buf_add_html(b, mu_str_c(w->client));
    mu_buf_add(b, MU_S("</td><td>"));
    mu_buf_add_html(b, mu_str_c(w->protocol));
    mu_buf_add(b, MU_S("</td><td>"));
    mu_buf_add_html(b, mu_str_c(w->vhost));
    mu_buf_add(b, MU_S("</td><td class=\"r\">"));
    mu_buf_add_html(b, mu_str_c(w->request));
    mu_buf_add(b, MU_S("</td></tr>\n"));
}

static void add_worker_line(struct mu_buf *b, const struct mu_worker_view *w)
{
    mu_buf_addf(b, "<p><b>%u-%u</b> (pid %d) %llu requests, state %c: ", w->child, w->slot,
                (int)w->pid, (unsigned long long)w->requests_slot, w->state);
    mu_buf_add_html(b, mu_str_c(w->client));
    mu_buf_addc(b, ' ');
    mu_buf_add_html(b, mu_str_c(w->request));
    mu_buf_add(b, MU_S("</p>\n"));
}

static void add_workers(struct mu_buf *b, bool is_no_table)
{
    struct mu_worker_view w;

    mu_buf_add(b, MU_S("<h2>Requests</h2>\n"));
    if (!is_no_table)
        mu_buf_add(b, MU_S("<div class=\"t\"><table><tr><th>Worker</th><th>PID</th>"
                           "<th>Requests (connection/child/slot)</th><th>State</th><th>CPU s</th>"
                           "<th>Since s</th><th>Took ms</th><th>Sent</th><th>Client</th>"
                           "<th>Protocol</th><th>Server</th><th>Request</th></tr>\n"));
    for (size_t i = 0; mu_worker_view(i, &w); i++) {
        if (w.state == '.' || (!w.requests_slot && w.state == '_'))
            continue;
        if (is_no_table)
            add_worker_line(b, &w);
        else
            add_worker_row(b, &w);
    }
    if (!is_no_table)
        mu_buf_add(b, MU_S("</table></div>\n"));
}

static void add_providers(struct mu_req *r, struct mu_buf *b)
{
    const struct mu_status_provider *p;

    for (size_t i = 0; (p = mu_req_status_provider(r, i)); i++) {
        struct mu_buf part = { 0 };

        if (p->html)
            p->html(r, &part);
        if (part.n) {
            mu_buf_add(b, MU_S("<h2>"));
            mu_buf_add_html(b, mu_str_c(p->title));
            mu_buf_add(b, MU_S("</h2>\n"));
            mu_buf_add(b, mu_buf_str(&part));
        }
        b->is_failed |= part.is_failed;
        mu_buf_fini(&part);
    }
}

void status_html(struct mu_req *r, const struct mu_server_view *v, const struct status_options *o,
                 struct mu_buf *b)
{
    mu_buf_add(b, mu_str_n(page_head, sizeof(page_head) - 1));
    mu_buf_add(b, MU_S("<h1>Server status for "));
    mu_buf_add_html(b, mu_req_server_name(r));
    mu_buf_add(b, MU_S("</h1>\n<dl>\n<dt>Server</dt><dd>"));
    mu_buf_add_html(b, mu_req_server_tokens(r));
    mu_buf_addf(b, "</dd>\n<dt>MPM</dt><dd>%s</dd>\n", v->mpm);
    add_figures(b, v);
    mu_buf_add(b, MU_S("</dl>\n"));
    if (v->is_threaded)
        add_processes(b);
    mu_buf_add(b, MU_S("<h2>Scoreboard</h2>\n<pre>"));
    status_letters(b, 64);
    mu_buf_add(
        b, MU_S("</pre>\n<p><b>_</b> waiting, <b>S</b> starting, <b>R</b> reading, <b>W</b> "
                "writing, <b>K</b> keep-alive, <b>D</b> DNS, <b>C</b> closing, <b>L</b> "
                "logging, <b>G</b> finishing, <b>I</b> idle clean-up, <b>.</b> open slot</p>\n"));
    add_workers(b, o->is_no_table);
    add_providers(r, b);
    mu_buf_add(b, mu_req_signature(r, MU_S("<hr>\n")));
    mu_buf_add(b, MU_S("</body></html>\n"));
}
