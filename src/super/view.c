/*
 * view: the scoreboards as a status page shows them. A child inherits the supervisor's tables by
 * fork, so it knows the boards of its own and of the generations before it, mapped; a child of an
 * older generation does not know the newer ones. All is copied out and cleaned on the way: strings
 * in shared memory may be torn or rubbish.
 */
#include "super/master.h"

#include <muster/clock.h>
#include <sys/resource.h>
#include <time.h>

static const struct mu_super *source;

void mu_view_set(const struct mu_super *s)
{
    source = s;
}

static uint32_t peek32(const _Atomic uint32_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

static uint64_t peek64(const _Atomic uint64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

static int64_t peek_time(const _Atomic int64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

static bool peek_flag(const _Atomic uint8_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed) != 0;
}

static uint32_t at_most(uint32_t v, uint32_t limit)
{
    return v < limit ? v : limit;
}

/* Printable, terminated. The worker may be writing it: relaxed loads, byte by byte, take what is
 * there. */
static void copy_text(char *to, const char *from, size_t cap)
{
    size_t i;

    for (i = 0; i + 1 < cap; i++) {
        char c = __atomic_load_n(&from[i], __ATOMIC_RELAXED);

        if (!c)
            break;
        to[i] = c >= 0x20 && c < 0x7f ? c : '?';
    }
    to[i] = '\0';
}

static char clean_state(char c)
{
    static const char known[] = "_SRWKDCLGI.";

    return c && strchr(known, c) ? c : '?';
}

/* The n-th place that is shown: of the present generation all up to ServerLimit, beyond and of old
 * ones the taken. */
static struct mu_generation *find_place(size_t n, uint32_t *place)
{
    MU_LIST_FOR(at, (struct mu_list *)(uintptr_t)&source->generations) {
        struct mu_generation *g = MU_CONTAINER_OF(at, struct mu_generation, link);
        uint32_t places = mu_scoreboard_children(g->board);

        for (uint32_t i = 0; i < places; i++) {
            const struct mu_score_child *c = mu_scoreboard_child(g->board, i);

            if (!(g == source->now && i < source->limits.server_limit) && !peek32(&c->pid))
                continue;
            if (n-- == 0) {
                *place = i;
                return g;
            }
        }
    }
    return NULL;
}

static void copy_slot(struct mu_worker_view *out, const struct mu_score_slot *s)
{
    int64_t start = peek_time(&s->start_us), stop = peek_time(&s->stop_us), now = mu_mono_us();
    int64_t last = stop > start ? stop : start;

    out->pid = (pid_t)peek32(&s->pid);
    out->generation = peek64(&s->generation);
    out->state = clean_state(atomic_load_explicit(&s->state, memory_order_relaxed));
    out->requests_conn = peek64(&s->conn_accesses);
    out->requests_child = peek64(&s->child_accesses);
    out->requests_slot = peek64(&s->accesses);
    out->bytes_conn = peek64(&s->conn_bytes);
    out->bytes_child = peek64(&s->child_bytes);
    out->bytes_slot = peek64(&s->bytes);
    out->last_used_ms = last > 0 && last <= now ? (now - last) / 1000 : 0;
    out->request_us = stop > start && start > 0 ? stop - start : 0;
    out->duration_us = peek64(&s->duration_us);
    out->cpu_us = peek_time(&s->cpu_us);
    copy_text(out->client, s->client, sizeof(out->client));
    copy_text(out->vhost, s->vhost, sizeof(out->vhost));
    copy_text(out->request, s->request, sizeof(out->request));
    copy_text(out->protocol, s->protocol, sizeof(out->protocol));
}

bool mu_worker_view(size_t i, struct mu_worker_view *out)
{
    /* A reader walks from 0 on: where the last call was is remembered, so the walk is not
     * quadratic. */
    static _Thread_local struct {
        size_t base, n;
        uint32_t place, slots;
        struct mu_generation *g;
    } at;
    const struct mu_score_child *c;

    if (!source)
        return false;
    if (i == 0)
        at.base = at.n = at.slots = 0;
    while (i >= at.base + at.slots || i < at.base) {
        if (i < at.base)
            at.base = at.n = at.slots = 0;
        at.base += at.slots;
        at.g = find_place(at.n++, &at.place);
        if (!at.g) {
            at.base = at.n = at.slots = 0;
            return false;
        }
        at.slots = mu_scoreboard_slots(at.g->board);
    }
    c = mu_scoreboard_child(at.g->board, at.place);
    memset(out, 0, sizeof(*out));
    out->child = at.place;
    out->slot = (uint32_t)(i - at.base);
    copy_slot(out, mu_scoreboard_slot(at.g->board, at.place, out->slot));
    /* A worker of a child that is on its way out is finishing gracefully; a terminated one was
     * never busy. */
    if ((at.g != source->now || peek_flag(&c->is_stopping)) && out->state != '.' && peek32(&c->pid))
        out->state = 'G';
    return true;
}

bool mu_process_view(size_t i, struct mu_process_view *out)
{
    const struct mu_score_child *c;
    struct mu_generation *g;
    uint32_t place, workers;
    size_t seen = 0;

    for (size_t n = 0; source && (g = find_place(n, &place)); n++) {
        c = mu_scoreboard_child(g->board, place);
        if (!peek32(&c->pid) || seen++ != i)
            continue;
        workers = mu_scoreboard_slots(g->board);
        *out = (struct mu_process_view){
            .pid = (pid_t)peek32(&c->pid),
            .slot = place,
            .is_stopping = g != source->now || peek_flag(&c->is_stopping),
            .is_accepting = peek_flag(&c->is_accepting),
            .connections = peek32(&c->connections),
            .threads_busy = at_most(peek32(&c->busy), workers),
            .writing = peek32(&c->writing),
            .keepalive = peek32(&c->keepalive),
            .closing = peek32(&c->closing),
        };
        out->threads_idle = workers - out->threads_busy;
        return true;
    }
    return false;
}

static void add_processes(struct mu_server_view *out)
{
    struct mu_process_view p;

    for (size_t i = 0; mu_process_view(i, &p); i++) {
        out->processes++;
        out->stopping += p.is_stopping;
        out->conns_total += p.connections;
        out->conns_writing += p.writing;
        out->conns_keepalive += p.keepalive;
        out->conns_closing += p.closing;
        if (p.is_stopping) {
            out->graceful += p.threads_busy;
        } else {
            out->busy += p.threads_busy;
            out->idle += p.threads_idle;
        }
    }
}

static void add_totals(struct mu_server_view *out)
{
    struct mu_score_totals t = mu_scoreboard_base(source->now->board);

    MU_LIST_FOR(at, (struct mu_list *)(uintptr_t)&source->generations) {
        struct mu_score_totals sum =
            mu_scoreboard_sum(MU_CONTAINER_OF(at, struct mu_generation, link)->board);

        t.accesses += sum.accesses;
        t.bytes += sum.bytes;
        t.duration_us += sum.duration_us;
    }
    out->total_accesses = t.accesses;
    out->total_bytes = t.bytes;
    out->total_duration_us = t.duration_us;
}

static int64_t micros(struct timeval t)
{
    return (int64_t)t.tv_sec * 1000000 + t.tv_usec;
}

void mu_server_view(struct mu_server_view *out)
{
    struct rusage self, children;

    memset(out, 0, sizeof(*out));
    if (!source || !source->now)
        return;
    out->mpm = source->mpm->name;
    out->is_threaded = source->mpm->is_threaded;
    out->is_async = source->mpm->is_async;
    out->start_time = source->start_time;
    out->config_time = source->config_time;
    out->config_generation = source->now->number + 1;
    out->mpm_generation = source->now->number;
    out->server_limit = source->limits.server_limit;
    out->thread_limit = source->limits.thread_limit;
    out->threads_per_child = source->limits.workers_per_child;
    add_processes(out);
    add_totals(out);
    if (getrusage(RUSAGE_SELF, &self) != 0 || getrusage(RUSAGE_CHILDREN, &children) != 0)
        return;
    out->cpu_user_us = micros(self.ru_utime);
    out->cpu_sys_us = micros(self.ru_stime);
    out->cpu_children_user_us = micros(children.ru_utime);
    out->cpu_children_sys_us = micros(children.ru_stime);
}
