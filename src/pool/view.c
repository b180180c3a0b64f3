/*
 * view: the pools on the status page. All of it is read from the boards, which every web child has
 * mapped, and from /proc; so the page needs no process of a pool, however busy they are. Numbers and
 * texts are what children and supervisor wrote last.
 */
#include "pool/keeper.h"
#include "pool/web.h"

#include <fcntl.h>
#include <muster/clock.h>
#include <muster/str.h>
#include <stdio.h>
#include <unistd.h>

/** A process as it is shown. */
struct view {
    uint32_t pid;
    const char *state;
    bool is_busy;
    unsigned long long requests;
    int64_t up_s, memory, busy_ms;
    char request[MU_BOARD_REQUEST * 8 + 1], client[MU_BOARD_CLIENT * 8 + 1];
};

/** And a pool. */
struct sums {
    uint32_t processes, idle, busy, waiting;
    int64_t longest_ms;
};

static const char *state_name(const struct mu_slot_info *i, enum mu_slot_state s)
{
    static const char *const names[] = { "none", "starting", "idle",  "busy",
                                         "busy", "in-doubt", "spent", "leaving" };

    if (s < MU_SLOT_NONE || s > MU_SLOT_LEAVING)
        return "unknown";
    if (atomic_load(&i->is_retired) && s != MU_SLOT_LEAVING && s != MU_SLOT_NONE)
        return "finishing";
    return names[s];
}

int64_t mu_pool_memory_of(uint32_t pid)
{
    char path[32], text[128];
    unsigned long long pages = 0;
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%u/statm", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return sscanf(text, "%*u %llu", &pages) == 1 ? (int64_t)pages * sysconf(_SC_PAGESIZE) : 0;
}

/* Slot `at` of the pool; false when there is no process. */
static bool view_slot(struct mu_board *b, uint32_t at, struct view *v)
{
    const struct mu_slot_info *i = &b->info[at];
    enum mu_slot_state s = mu_board_state(b, at);
    int64_t now_ms = mu_now_ms();

    if (s == MU_SLOT_NONE)
        return false;
    *v = (struct view){ .pid = atomic_load(&i->pid),
                        .state = state_name(i, s),
                        .is_busy = s == MU_SLOT_BUSY || s == MU_SLOT_DOUBT,
                        .requests = atomic_load(&i->requests),
                        .up_s = mu_board_elapsed(atomic_load(&i->started_ms), now_ms) / 1000 };
    v->memory = mu_pool_memory_of(v->pid);
    if (v->is_busy) {
        v->busy_ms = mu_board_elapsed(atomic_load(&i->begun_ms), now_ms);
        mu_board_get_text(i->request, MU_BOARD_REQUEST, v->request);
        mu_board_get_text(i->client, MU_BOARD_CLIENT, v->client);
    }
    return true;
}

static struct sums sum(struct mu_board *b)
{
    struct sums t = { 0 };
    int64_t since_ms;

    for (uint32_t i = 0; i < mu_board_slots_end(b); i++) {
        enum mu_slot_state s = mu_board_state(b, i);

        t.processes += s != MU_SLOT_NONE;
        t.idle += s == MU_SLOT_IDLE;
        t.busy += s == MU_SLOT_BUSY || s == MU_SLOT_RESERVED || s == MU_SLOT_DOUBT;
    }
    t.waiting = mu_board_waiting(b, &since_ms);
    if (t.waiting)
        t.longest_ms = mu_board_elapsed(since_ms, mu_now_ms());
    return t;
}

static unsigned long long counted(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

static const char *condition(const struct mu_pool *p)
{
    return atomic_load(&p->board->is_closed) ? "stopped" : "running";
}

/* ---- for people ---- */

static void add_row(struct mu_buf *out, const struct view *v)
{
    mu_buf_addf(out,
                "<tr><td>%u</td><td>%s</td><td>%llu</td><td>%lld</td><td>%.1f</td><td>%.3f</td>"
                "<td>",
                v->pid, v->state, v->requests, (long long)v->up_s,
                (double)v->memory / (1024.0 * 1024.0), (double)v->busy_ms / 1000.0);
    mu_buf_add_html(out, mu_str_c(v->client));
    mu_buf_add(out, MU_S("</td><td class=\"r\">"));
    mu_buf_add_html(out, mu_str_c(v->request));
    mu_buf_add(out, MU_S("</td></tr>\n"));
}

static void add_pool(struct mu_buf *out, struct mu_pool *p)
{
    const struct mu_board_counts *c = &p->board->counts;
    struct sums t = sum(p->board);
    struct view v;

    mu_buf_addf(out,
                "<h3>%s</h3>\n<dl><dt>State</dt><dd>%s</dd>\n<dt>Processes</dt><dd>%u of %lld: "
                "%u busy, %u idle</dd>\n<dt>Queue</dt><dd>%u of %lld waiting, the longest for %.3f "
                "s</dd>\n",
                p->name, condition(p), t.processes, (long long)p->conf->max_children, t.busy,
                t.idle, t.waiting, (long long)p->conf->queue_length, (double)t.longest_ms / 1000.0);
    mu_buf_addf(out,
                "<dt>Requests</dt><dd>%llu, %llu of them queued</dd>\n<dt>Refused</dt><dd>%llu "
                "queue full, %llu waited too long, %llu left the queue</dd>\n<dt>Trouble</dt><dd>"
                "%llu broken answers, %llu crashes, %llu processes started</dd></dl>\n",
                counted(&c->requests), counted(&c->queued), counted(&c->refused), counted(&c->late),
                counted(&c->left), counted(&c->broken), counted(&c->crashed), counted(&c->started));
    mu_buf_add(out, MU_S("<div class=\"t\"><table><tr><th>PID</th><th>State</th><th>Requests</th>"
                         "<th>Up s</th><th>Memory MB</th><th>Busy s</th><th>Client</th>"
                         "<th>Request</th></tr>\n"));
    for (uint32_t i = 0; i < mu_board_slots_end(p->board); i++) {
        if (view_slot(p->board, i, &v))
            add_row(out, &v);
    }
    mu_buf_add(out, MU_S("</table></div>\n"));
}

static void html(struct mu_req *r, struct mu_buf *out)
{
    (void)r;
    MU_POOL_FOR(p)
    {
        if (p->conf)
            add_pool(out, p);
    }
}

/* ---- for programs ---- */

static void add_numbers(struct mu_buf *out, const char *name, const struct mu_pool *p)
{
    const struct mu_board_counts *c = &p->board->counts;
    const struct {
        const char *key;
        const _Atomic uint64_t *v;
    } rows[] = {
        { "Requests", &c->requests },  { "Queued", &c->queued },   { "QueueFull", &c->refused },
        { "QueueTimeouts", &c->late }, { "QueueLeft", &c->left },  { "Broken", &c->broken },
        { "Crashed", &c->crashed },    { "Started", &c->started },
    };

    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++)
        mu_buf_addf(out, "Pool.%s.%s: %llu\n", name, rows[i].key, counted(rows[i].v));
}

/* The request stands in quotes; one in it is written as in an address. */
static void add_process(struct mu_buf *out, const char *name, const struct view *v)
{
    mu_buf_addf(out,
                "Pool.%s.Process: pid=%u state=%s requests=%llu uptime=%lld memory=%lld busy=%.3f "
                "client=%s request=\"",
                name, v->pid, v->state, v->requests, (long long)v->up_s, (long long)v->memory,
                (double)v->busy_ms / 1000.0, v->client);
    for (const char *c = v->request; *c; c++) {
        if (*c == '"')
            mu_buf_add(out, MU_S("%22"));
        else
            mu_buf_addc(out, *c);
    }
    mu_buf_add(out, MU_S("\"\n"));
}

static void add_lines(struct mu_buf *out, struct mu_pool *p)
{
    struct sums t = sum(p->board);
    struct view v;

    mu_buf_addf(out, "Pool.%s.State: %s\nPool.%s.Processes: %u\nPool.%s.MaxChildren: %lld\n",
                p->name, condition(p), p->name, t.processes, p->name,
                (long long)p->conf->max_children);
    mu_buf_addf(out,
                "Pool.%s.Idle: %u\nPool.%s.Busy: %u\nPool.%s.Queue: %u\nPool.%s.LongestWait: "
                "%.3f\n",
                p->name, t.idle, p->name, t.busy, p->name, t.waiting, p->name,
                (double)t.longest_ms / 1000.0);
    add_numbers(out, p->name, p);
    for (uint32_t i = 0; i < mu_board_slots_end(p->board); i++) {
        if (view_slot(p->board, i, &v))
            add_process(out, p->name, &v);
    }
}

static void machine(struct mu_req *r, struct mu_buf *out)
{
    (void)r;
    MU_POOL_FOR(p)
    {
        if (p->conf)
            add_lines(out, p);
    }
}

const struct mu_status_provider mu_pool_status = { .title = "Application pools",
                                                   .html = html,
                                                   .machine = machine };
