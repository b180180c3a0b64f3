/*
 * event: listener threads, each an epoll reactor that accepts and serves as many connections as
 * there are descriptors, and ThreadsPerChild worker threads that blocking work is offloaded to. The
 * first listener is the main thread; it also hears the supervisor and publishes how busy the child
 * is. Listeners share nothing but counters; orders to the others are posted to their reactors. A
 * listener that holds far more connections than its siblings, in this child or in others, steps
 * back behind them in the kernel's queue after each accept.
 */
#include "mpm/gate.h"
#include "mpm/numbers.h"

#include <base/proc.h>
#include <errno.h>
#include <muster/clock.h>
#include <muster/log.h>
#include <muster/module.h>
#include <pthread.h>
#include <server/conn.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    THREAD_LIMIT_MAX = 100000,
    LISTENERS_MAX = 256,
    FILE_THREADS = 4,
    TICK_MS = 1000,
    SKIP_MS = 1,    /* how long a listener that is far ahead leaves accepting to its siblings */
    FAR_AHEAD = 32, /* connections more than a sibling has on average */
    SIBLINGS_AGE_MS = 10, /* how old what is known of siblings may be */
    LIMIT_RETRY_MS = 20,  /* when requests, not connections, are at their limit */
};

struct event_conf {
    struct mu_mpm_numbers numbers; /* first: the shared directives name fields of it */
    int64_t listener_threads;      /* 0: auto */
    int64_t factor_permille;       /* AsyncRequestWorkerFactor; MU_UNSET: none */
    bool has_request_limit;
};

struct events;

struct listener {
    struct events *all;
    pthread_t thread;
    struct mu_reactor *reactor;
    struct mu_conn_host host;
    struct mu_gate gate;
    bool is_good, is_leaving;
    bool has_ended;            /* its reactor goes; by `lock` of events */
    bool has_last_call;        /* set before `leave` is posted: the end is a graceful one */
    _Atomic uint32_t open;     /* connections; read by siblings */
    _Atomic uint32_t permille; /* of the last second spent outside of waiting */
    struct mu_timer tick;
    int64_t tick_us;
    uint64_t busy_ns;
    uint32_t others; /* what siblings hold on average, as of others_ms */
    int64_t others_ms;
    struct mu_post leave, abort; /* orders to it, each given at most once */
    struct mu_post gone, ended;  /* its answers to the first listener */
    struct mu_post room;         /* there may be room for a request that waits here */
    _Atomic bool is_room_posted;
};

struct events {
    struct mu_child *child;
    const struct event_conf *conf;
    struct mu_score_child *score;
    struct mu_worker_pool *workers, *files;
    struct mu_stop_watch stop;
    struct listener *v;
    uint32_t n, started, threads;
    enum mu_stop stopping;
    _Atomic uint64_t served;
    struct mu_request_limit limit;
    uint32_t next_room; /* whose turn it is when a request may begin; by `lock` */
    /* listeners that watch no sockets; threads that are through (first listener's thread) */
    uint32_t away, ended;
    struct mu_post enough;
    _Atomic bool is_enough;

    pthread_mutex_t lock; /* of begun, and of the listeners' has_ended */
    pthread_cond_t changed;
    uint32_t begun;
};

static enum mu_rc set_listener_threads(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                       size_t n)
{
    struct event_conf *c = conf;
    uint64_t v;

    (void)n;
    if (mu_str_ieq(args[0], MU_S("auto"))) {
        c->listener_threads = 0;
        return MU_OK;
    }
    if (!mu_str_u64(args[0], &v) || v < 1 || v > LISTENERS_MAX)
        return mu_cmd_error(cmd, "ListenerThreads \"%.*s\": allowed are auto and 1 to %d",
                            MU_FMT(args[0]), LISTENERS_MAX);
    c->listener_threads = (int64_t)v;
    return MU_OK;
}

/* "2", "0.5": thousandths. */
static enum mu_rc set_factor(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct event_conf *c = conf;
    const char *text = mu_cstr(cmd->arena, args[0]);
    char *rest = NULL;
    double v = text ? strtod(text, &rest) : 0;

    (void)n;
    if (!text || rest == text || *rest || !(v > 0 && v <= 1e6))
        return mu_cmd_error(
            cmd, "AsyncRequestWorkerFactor \"%.*s\": a number above 0 is needed, such as 2 or 0.5",
            MU_FMT(args[0]));
    c->factor_permille = (int64_t)(v * 1000);
    return MU_OK;
}

static const struct mu_directive directives[] = {
    MU_MPM_DIRECTIVES(struct mu_mpm_numbers),
    MU_MPM_THREAD_DIRECTIVES(struct mu_mpm_numbers),
    MU_DIR_CUSTOM(
        "ListenerThreads", struct event_conf, listener_threads, MU_IN_GLOBAL, 1, 1,
        set_listener_threads,
        "Listener threads of a child process, or auto: as many as it takes to cover the cores"),
    MU_DIR_CUSTOM(
        "AsyncRequestWorkerFactor", struct event_conf, factor_permille, MU_IN_GLOBAL, 1, 1,
        set_factor,
        "Connections a child may hold beyond ThreadsPerChild, for each idle worker; no limit when it is not set"),
    MU_DIR_FLAG(
        "EventRequestLimit", struct event_conf, has_request_limit, MU_IN_GLOBAL,
        "On: MaxRequestWorkers bounds all requests, not only those that run on worker threads"),
    MU_DIR_END
};
static_assert(offsetof(struct event_conf, numbers) == 0,
              "the shared directives name fields of numbers");

static void init(void *conf)
{
    struct event_conf *c = conf;

    mu_mpm_numbers_init(&c->numbers);
    c->factor_permille = MU_UNSET;
}

static const struct mu_mpm mpm;
MU_MODULE(mpm_event, .conf_size = sizeof(struct event_conf), .directives = directives, .init = init,
          .mpm = &mpm);

static void limits(struct mu_config *config, struct mu_mpm_limits *out)
{
    const struct event_conf *c = mu_vhost_conf(config->main, &mu_module_mpm_event);
    uint32_t cores = mu_core_count();
    uint32_t n;

    mu_mpm_thread_limits(config, &c->numbers, THREAD_LIMIT_MAX, out);
    /* The children of the start cover the cores together. */
    n = c->listener_threads ? (uint32_t)c->listener_threads : (cores + out->start - 1) / out->start;
    if (n > LISTENERS_MAX)
        n = LISTENERS_MAX;
    out->listeners_per_child = n > out->workers_per_child ? out->workers_per_child : n;
}

static uint32_t load(const _Atomic uint32_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

/* What a listener beside this one holds: in this child exactly, in others as their scoreboard
 * claims. */
static uint32_t siblings_average(struct listener *l)
{
    struct events *e = l->all;
    struct mu_scoreboard *sb = e->child->scoreboard;
    uint64_t sum = 0;
    uint32_t n = 0, places = mu_scoreboard_children(sb);

    for (uint32_t i = 0; i < e->n; i++) {
        if (&e->v[i] == l)
            continue;
        sum += load(&e->v[i].open);
        n++;
    }
    for (uint32_t i = 0; i < places; i++) {
        const struct mu_score_child *c = mu_scoreboard_child(sb, i);

        if (i == e->child->index || !load(&c->pid) ||
            atomic_load_explicit(&c->is_stopping, memory_order_relaxed))
            continue;
        sum += load(&c->connections);
        n += e->n;
    }
    return n ? (uint32_t)(sum / n) : UINT32_MAX;
}

/* Far ahead of the others? A claim that lies costs a millisecond for each accept, no more. */
static bool is_far_ahead(struct listener *l)
{
    int64_t now_ms = mu_now_ms();

    if (now_ms - l->others_ms >= SIBLINGS_AGE_MS) {
        l->others = siblings_average(l);
        l->others_ms = now_ms;
    }
    return l->others < UINT32_MAX / 4 && load(&l->open) > l->others * 2 + FAR_AHEAD;
}

static bool has_limit(const struct events *e)
{
    return e->conf->has_request_limit || e->conf->factor_permille != MU_UNSET;
}

/* The administrator's own limits, when they are set. */
static bool is_full(const struct events *e)
{
    uint32_t busy = load(&e->limit.running), closing = load(&e->score->closing);
    uint64_t open = 0;

    if (e->conf->has_request_limit && busy >= e->threads)
        return true;
    if (e->conf->factor_permille == MU_UNSET)
        return false;
    for (uint32_t i = 0; i < e->n; i++)
        open += load(&e->v[i].open);
    open -= closing < open ? closing : open;
    return open * 1000 >= (uint64_t)e->threads * 1000 +
                              (uint64_t)(e->threads - busy) * (uint64_t)e->conf->factor_permille;
}

/* One place, one listener: the next in turn with a request that waits. It passes on what it cannot use. */
static void on_room(struct mu_request_limit *limit)
{
    struct events *e = MU_CONTAINER_OF(limit, struct events, limit);
    bool is_given = false;

    pthread_mutex_lock(&e->lock);
    for (uint32_t i = 0; i < e->n && !is_given; i++) {
        struct listener *l = &e->v[e->next_room++ % e->n];

        is_given = !l->has_ended && load(&l->host.held_n) > 0;
        if (is_given && !atomic_exchange_explicit(&l->is_room_posted, true, memory_order_acq_rel))
            mu_reactor_post(l->reactor, &l->room);
    }
    pthread_mutex_unlock(&e->lock);
}

static void go_on(void *arg)
{
    struct listener *l = arg;

    atomic_store_explicit(&l->is_room_posted, false, memory_order_release);
    mu_conn_host_go_on(&l->host);
}

/* MaxConnectionsPerChild is reached. */
static bool has_enough(const struct events *e)
{
    uint32_t most = e->child->limits->max_connections_per_child;

    return most && atomic_load_explicit(&e->served, memory_order_relaxed) >= most;
}

static bool may_accept(struct mu_gate *g)
{
    struct listener *l = g->mpm;

    if (!is_full(l->all))
        return true;
    mu_gate_rest(g, LIMIT_RETRY_MS);
    return false;
}

/* The first listener stays until the others are through: it is the one that hears the
 * supervisor. */
static void end_if_empty(struct listener *l)
{
    const struct events *e = l->all;
    bool is_last = l != &e->v[0] || (e->away == e->n && e->ended + 1 == e->n);

    if (l->is_leaving && is_last && load(&l->open) == 0)
        mu_reactor_stop(l->reactor);
}

static void count(struct listener *l, uint32_t by)
{
    atomic_fetch_add_explicit(&l->open, by, memory_order_relaxed);
}

static void on_closed(struct mu_conn_host *h)
{
    struct listener *l = h->mpm;

    count(l, UINT32_MAX);
    mu_gate_relieve(&l->gate);
    end_if_empty(l);
}

static void on_accept(struct mu_gate *g, int fd, const struct mu_listener *from,
                      const struct mu_addr *peer)
{
    struct listener *l = g->mpm;
    struct events *e = l->all;

    count(l, 1);
    atomic_fetch_add_explicit(&e->served, 1, memory_order_relaxed);
    if (mu_conn_open(&l->host, fd, from, peer) != MU_OK)
        count(l, UINT32_MAX);
    /* This connection woke nobody else, so it was taken; but the next ones shall. Watching anew
     * queues behind them. */
    if (is_far_ahead(l))
        mu_gate_rest(g, SKIP_MS);
    if (!has_enough(e))
        return;
    mu_gate_pause(g);
    if (!atomic_exchange_explicit(&e->is_enough, true, memory_order_relaxed))
        mu_reactor_post(e->v[0].reactor, &e->enough);
}

/* Utilisation of the last second, from what the reactor counts. */
static void measure(struct listener *l)
{
    int64_t now_us = mu_mono_us(), passed_us = now_us - l->tick_us;
    uint64_t busy_ns, turns, permille;

    mu_reactor_load(l->reactor, &busy_ns, &turns);
    permille = passed_us > 0 ? (busy_ns - l->busy_ns) / (uint64_t)passed_us : 0;
    atomic_store_explicit(&l->permille, permille > 1000 ? 1000 : (uint32_t)permille,
                          memory_order_relaxed);
    l->busy_ns = busy_ns;
    l->tick_us = now_us;
}

static void publish(struct events *e)
{
    uint32_t most = 0, queued = 0, busy = 0;

    for (uint32_t i = 0; i < e->n; i++)
        most = load(&e->v[i].permille) > most ? load(&e->v[i].permille) : most;
    mu_worker_pool_load(e->workers, &queued, &busy);
    atomic_store_explicit(&e->score->busy_permille, most, memory_order_relaxed);
    atomic_store_explicit(&e->score->offload_queued, queued, memory_order_relaxed);
    busy = load(&e->score->busy);
    atomic_store_explicit(&e->score->idle, busy < e->threads ? e->threads - busy : 0,
                          memory_order_relaxed);
}

static void on_tick(struct mu_timer *t)
{
    struct listener *l = MU_CONTAINER_OF(t, struct listener, tick);

    mu_timer_arm(&l->tick, TICK_MS);
    measure(l);
    if (l == &l->all->v[0])
        publish(l->all);
}

/* In the first listener: one more no longer watches the sockets. The last one's copies can be
 * closed. */
static void note_gone(void *arg)
{
    struct events *e = arg;

    if (++e->away == e->n) {
        mu_child_close_listeners(e->child);
        mu_child_leaving(e->child);
    }
    end_if_empty(&e->v[0]);
}

static void note_ended(void *arg)
{
    struct events *e = arg;

    e->ended++;
    end_if_empty(&e->v[0]);
}

static void leave(void *arg)
{
    struct listener *l = arg;

    if (l->has_last_call)
        mu_gate_last_call(&l->gate);
    mu_gate_close(&l->gate);
    mu_reactor_post(l->all->v[0].reactor, &l->gone);
    l->is_leaving = true;
    mu_conn_host_drain(&l->host);
    end_if_empty(l);
}

static void abort_all(void *arg)
{
    struct listener *l = arg;

    mu_conn_host_abort(&l->host);
}

/* To a listener that may be through with everything, and take its reactor with it. */
static void tell(struct listener *l, struct mu_post *what)
{
    pthread_mutex_lock(&l->all->lock);
    if (!l->has_ended)
        mu_reactor_post(l->reactor, what);
    pthread_mutex_unlock(&l->all->lock);
}

static void leave_all(struct events *e, enum mu_stop how)
{
    bool is_first = e->stopping == MU_STOP_NONE;

    e->stopping = how;
    if (is_first)
        atomic_store_explicit(&e->score->is_stopping, true, memory_order_relaxed);
    for (uint32_t i = e->n; i-- > 0;) { /* this thread's own last */
        struct listener *l = &e->v[i];

        if (is_first) {
            l->has_last_call = how == MU_STOP_GRACEFUL;
            tell(l, &l->leave);
        }
        if (how == MU_STOP_NOW)
            tell(l, &l->abort);
    }
}

static void on_stop(struct mu_stop_watch *s, enum mu_stop how)
{
    leave_all(MU_CONTAINER_OF(s, struct events, stop), how);
}

/* MaxConnectionsPerChild: a successor may start while the last connections are served. */
static void on_enough(void *arg)
{
    struct events *e = arg;

    if (e->stopping == MU_STOP_NONE)
        leave_all(e, MU_STOP_GRACEFUL);
}

static bool listener_begin(struct listener *l)
{
    struct events *e = l->all;
    struct mu_reactor_opts opts = { .backend = MU_BACKEND_EPOLL,
                                    .max_fibers = mu_mpm_fibers(&e->conf->numbers, e->n),
                                    .workers = e->workers,
                                    .files = e->files };

    l->reactor = mu_reactor_create(&opts);
    if (!l->reactor)
        return false;
    l->host = (struct mu_conn_host){ .reactor = l->reactor,
                                     .config = e->child->config,
                                     .score = e->score,
                                     .slots = mu_scoreboard_slot(e->child->scoreboard,
                                                                 e->child->index, 0),
                                     .slots_n = e->threads,
                                     .mpm = l,
                                     .on_closed = on_closed,
                                     .limit = has_limit(e) ? &e->limit : NULL };
    l->gate = (struct mu_gate){
        .child = e->child, .mpm = l, .may_accept = may_accept, .on_accept = on_accept
    };
    mu_timer_init(&l->tick, on_tick);
    if (mu_conn_host_init(&l->host) != MU_OK || mu_gate_open(&l->gate, l->reactor) != MU_OK)
        return false;
    l->tick_us = mu_mono_us();
    mu_timer_arm(&l->tick, TICK_MS);
    return true;
}

static void listener_end(struct listener *l)
{
    mu_timer_cancel(&l->tick);
    mu_gate_close(&l->gate);
    mu_conn_host_fini(&l->host);
    mu_reactor_destroy(l->reactor);
}

static void *listener_main(void *arg)
{
    struct listener *l = arg;
    struct events *e = l->all;

    l->is_good = listener_begin(l);
    pthread_mutex_lock(&e->lock);
    e->begun++;
    pthread_cond_signal(&e->changed);
    pthread_mutex_unlock(&e->lock);
    if (!l->is_good)
        return NULL;
    mu_gate_resume(&l->gate);
    mu_reactor_run(l->reactor);
    pthread_mutex_lock(&e->lock);
    l->has_ended = true;
    pthread_mutex_unlock(&e->lock);
    if (load(&e->limit.waiting) > 0)
        on_room(&e->limit); /* its turn may have been this thread's, which did not get to it */
    listener_end(l);
    mu_reactor_post(e->v[0].reactor, &l->ended);
    return NULL;
}

static bool start_others(struct events *e)
{
    sigset_t all, before;
    bool is_good = true;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (e->started = 1; e->started < e->n; e->started++) {
        if (pthread_create(&e->v[e->started].thread, NULL, listener_main, &e->v[e->started]) != 0)
            break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_mutex_lock(&e->lock);
    while (e->begun + 1 < e->started)
        pthread_cond_wait(&e->changed, &e->lock);
    pthread_mutex_unlock(&e->lock);
    for (uint32_t i = 1; i < e->started; i++)
        is_good &= e->v[i].is_good;
    return is_good && e->started == e->n;
}

static void init_listeners(struct events *e)
{
    for (uint32_t i = 0; i < e->n; i++) {
        struct listener *l = &e->v[i];

        l->all = e;
        l->leave = (struct mu_post){ .fn = leave, .arg = l };
        l->abort = (struct mu_post){ .fn = abort_all, .arg = l };
        l->gone = (struct mu_post){ .fn = note_gone, .arg = e };
        l->ended = (struct mu_post){ .fn = note_ended, .arg = e };
        l->room = (struct mu_post){ .fn = go_on, .arg = l };
    }
}

static bool start(struct events *e, struct mu_child *child)
{
    e->child = child;
    e->conf = mu_vhost_conf(child->config->main, &mu_module_mpm_event);
    e->score = mu_scoreboard_child(child->scoreboard, child->index);
    e->threads = child->limits->workers_per_child;
    e->n = child->limits->listeners_per_child;
    e->limit.most = e->threads;
    e->limit.on_room = on_room;
    e->enough = (struct mu_post){ .fn = on_enough, .arg = e };
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->changed, NULL);
    e->workers =
        mu_worker_pool_create(e->threads, mu_mpm_common_of(child->config).thread_stack_size);
    e->files = mu_worker_pool_create(FILE_THREADS, 0);
    e->v = calloc(e->n, sizeof(*e->v));
    if (!e->workers || !e->files || !e->v)
        return false;
    init_listeners(e);
    e->v[0].is_good = listener_begin(&e->v[0]);
    if (!e->v[0].is_good || mu_stop_watch(&e->stop, e->v[0].reactor, child, on_stop) != MU_OK)
        return false;
    for (uint32_t i = 0; i < e->threads; i++)
        mu_score_state(mu_scoreboard_slot(child->scoreboard, child->index, i), '_');
    publish(e);
    return start_others(e);
}

static int child_main(struct mu_child *child)
{
    static struct events e;

    if (mu_server_child_start(child->config, child->scoreboard) != MU_OK)
        return MU_CHILD_FAILED;
    if (!start(&e, child)) {
        MU_LOG(NULL, mu_module_mpm_event.name, MU_LOG_ALERT, "MU0820",
               "cannot start %u listener and %u worker threads: %s", e.n, e.threads,
               strerror(errno));
        _exit(MU_CHILD_FAILED);
    }
    mu_child_ready(child);
    mu_gate_resume(&e.v[0].gate);
    mu_reactor_run(e.v[0].reactor);
    for (uint32_t i = 1; i < e.n; i++)
        pthread_join(e.v[i].thread, NULL);
    mu_stop_unwatch(&e.stop);
    listener_end(&e.v[0]);
    mu_worker_pool_destroy(e.workers);
    mu_worker_pool_destroy(e.files);
    mu_server_child_stop(child->config);
    free(e.v);
    return 0;
}

static const struct mu_mpm mpm = { .name = "event",
                                   .is_threaded = true,
                                   .is_async = true,
                                   .limits = limits,
                                   .child_main = child_main };
