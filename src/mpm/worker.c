/*
 * worker: one listener thread, ThreadsPerChild worker threads with a single-connection reactor
 * each. The listener accepts only while a worker is idle, so what cannot be served waits in the
 * backlog, where another process may take it. An accepted socket is handed to the worker that
 * became idle last (its caches are the warmest) by a post to its reactor. The stack of idle workers
 * and the flags beside it are the only things the threads share.
 */
#include "mpm/gate.h"
#include "mpm/numbers.h"

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
    THREAD_LIMIT_MAX = 20000,
    ABORT_PATIENCE_MS =
        3000, /* for workers to leave their connections when they shall stop at once */
};

struct workers;

struct worker {
    struct workers *all;
    pthread_t thread;
    struct mu_reactor *reactor;
    struct mu_conn_host host;
    struct mu_score_slot *slot;
    struct worker *next_idle;
    bool is_good;
    /* The connection on its way from the listener. */
    struct mu_post hand_over;
    int fd;
    const struct mu_listener *listener;
    struct mu_addr peer;
    /* Orders of the listener, each given at most once. */
    struct mu_post drain, abort, end;
};

struct workers {
    struct mu_child *child;
    struct mu_score_child *score;
    struct mu_reactor *reactor; /* the listener's */
    struct mu_gate gate;
    struct mu_stop_watch stop;
    struct worker *v;
    uint32_t n, started;
    size_t stack_size;
    uint64_t served;
    enum mu_stop stopping;
    bool has_lock;

    pthread_mutex_t lock;   /* of what follows */
    pthread_cond_t changed; /* a worker has begun */
    struct worker *idle;
    uint32_t idle_n, begun;
    bool is_awaited, is_posted; /* the listener sleeps until a worker is idle; it was posted to */
    struct mu_post wake;
};

static const struct mu_directive directives[] = { MU_MPM_DIRECTIVES(struct mu_mpm_numbers),
                                                  MU_MPM_THREAD_DIRECTIVES(struct mu_mpm_numbers),
                                                  MU_DIR_END };

static void init(void *conf)
{
    mu_mpm_numbers_init(conf);
}

static const struct mu_mpm mpm;
MU_MODULE(mpm_worker, .conf_size = sizeof(struct mu_mpm_numbers), .directives = directives,
          .init = init, .mpm = &mpm);

static void limits(struct mu_config *config, struct mu_mpm_limits *out)
{
    mu_mpm_thread_limits(config, mu_vhost_conf(config->main, &mu_module_mpm_worker),
                         THREAD_LIMIT_MAX, out);
}

/* In the listener's reactor: a worker has become idle, and closed a connection. The next turn of
 * the loop sees it. */
static void woken(void *arg)
{
    struct workers *w = arg;

    pthread_mutex_lock(&w->lock);
    w->is_posted = false;
    pthread_mutex_unlock(&w->lock);
    mu_gate_relieve(&w->gate);
}

static void publish(struct workers *w)
{
    atomic_store_explicit(&w->score->busy, w->n - w->idle_n, memory_order_relaxed);
    atomic_store_explicit(&w->score->idle, w->idle_n, memory_order_relaxed);
}

/* On the worker's thread. */
static void become_idle(struct worker *me)
{
    struct workers *w = me->all;

    mu_score_state(me->slot, '_');
    pthread_mutex_lock(&w->lock);
    me->next_idle = w->idle;
    w->idle = me;
    w->idle_n++;
    publish(w);
    if (w->is_awaited && !w->is_posted) {
        w->is_awaited = false;
        w->is_posted = true;
        mu_reactor_post(w->reactor, &w->wake);
    }
    pthread_mutex_unlock(&w->lock);
}

/* On the listener's thread: the worker that became idle last, or NULL; then a worker that does will
 * post. */
static struct worker *take_idle(struct workers *w)
{
    struct worker *me;

    pthread_mutex_lock(&w->lock);
    me = w->idle;
    if (me) {
        w->idle = me->next_idle;
        w->idle_n--;
        publish(w);
    }
    pthread_mutex_unlock(&w->lock);
    return me;
}

/* Is there an idle worker, and a descriptor for what it is to serve? With `wants_post` the listener
 * is going to sleep, and wants to be told of the next one. */
static bool can_accept(struct workers *w, bool wants_post)
{
    bool can;

    pthread_mutex_lock(&w->lock);
    can = w->idle != NULL && !w->gate.is_starved;
    w->is_awaited = wants_post && !can;
    pthread_mutex_unlock(&w->lock);
    return can;
}

static bool all_idle(struct workers *w)
{
    bool is;

    pthread_mutex_lock(&w->lock);
    is = w->idle_n == w->started;
    w->is_awaited = !is;
    pthread_mutex_unlock(&w->lock);
    return is;
}

static void on_closed(struct mu_conn_host *h)
{
    become_idle(h->mpm);
}

static void take_over(void *arg)
{
    struct worker *me = arg;

    if (mu_conn_open(&me->host, me->fd, me->listener, &me->peer) != MU_OK)
        become_idle(me);
}

static void drain(void *arg)
{
    mu_conn_host_drain(&((struct worker *)arg)->host);
}

static void abort_all(void *arg)
{
    mu_conn_host_abort(&((struct worker *)arg)->host);
}

static void end(void *arg)
{
    mu_reactor_stop(((struct worker *)arg)->reactor);
}

static bool worker_begin(struct worker *me)
{
    struct workers *w = me->all;
    const struct mu_mpm_numbers *numbers =
        mu_vhost_conf(w->child->config->main, &mu_module_mpm_worker);
    struct mu_reactor_opts opts = { .backend = MU_BACKEND_SINGLE,
                                    .max_fibers = mu_mpm_fibers(numbers, w->n),
                                    .big_stack_size = w->stack_size };

    me->reactor = mu_reactor_create(&opts);
    if (!me->reactor)
        return false;
    me->host = (struct mu_conn_host){ .reactor = me->reactor,
                                      .config = w->child->config,
                                      .score = w->score,
                                      .slots = me->slot,
                                      .slots_n = 1,
                                      .is_single = true,
                                      .mpm = me,
                                      .on_closed = on_closed };
    return mu_conn_host_init(&me->host) == MU_OK;
}

static void *worker_main(void *arg)
{
    struct worker *me = arg;
    struct workers *w = me->all;

    me->is_good = worker_begin(me);
    if (me->is_good)
        become_idle(me);
    pthread_mutex_lock(&w->lock);
    w->begun++;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    if (!me->is_good)
        return NULL;
    mu_reactor_run(me->reactor);
    mu_conn_host_fini(&me->host);
    mu_reactor_destroy(me->reactor);
    return NULL;
}

static void on_accept(struct mu_gate *g, int fd, const struct mu_listener *l,
                      const struct mu_addr *peer)
{
    struct workers *w = g->mpm;
    struct worker *me = take_idle(w);

    w->served++;
    me->fd = fd; /* may_accept made sure that there is one, and this thread alone takes them */
    me->listener = l;
    me->peer = *peer;
    mu_reactor_post(me->reactor, &me->hand_over);
}

static bool may_accept(struct mu_gate *g)
{
    struct workers *w = g->mpm;
    uint32_t most = w->child->limits->max_connections_per_child;

    return (!most || w->served < most) && can_accept(w, false);
}

static void tell_all(struct workers *w, size_t order)
{
    for (uint32_t i = 0; i < w->started; i++)
        mu_reactor_post(w->v[i].reactor, (struct mu_post *)(void *)((char *)&w->v[i] + order));
}

static void leave(struct workers *w, enum mu_stop how)
{
    bool is_first = w->stopping == MU_STOP_NONE;

    w->stopping = how;
    if (how == MU_STOP_GRACEFUL)
        mu_gate_last_call(&w->gate);
    mu_gate_close(&w->gate);
    if (is_first) {
        mu_child_leaving(w->child);
        tell_all(w, offsetof(struct worker, drain));
    }
    if (how == MU_STOP_NOW)
        tell_all(w, offsetof(struct worker, abort));
}

static void on_stop(struct mu_stop_watch *s, enum mu_stop how)
{
    leave(MU_CONTAINER_OF(s, struct workers, stop), how);
}

static void give_lock(struct workers *w)
{
    if (w->has_lock)
        mu_accept_lock_release(w->child);
    w->has_lock = false;
}

/* One step of the listener: the gate is open exactly while a worker is idle and the accept lock, if
 * any, is held. While the gate rests the lock is another process's, which may have descriptors. */
static void listen_once(struct workers *w)
{
    uint64_t before = w->served;

    if (!can_accept(w, true)) {
        give_lock(w);
        mu_gate_pause(&w->gate);
        mu_reactor_turn(w->reactor, -1);
        return;
    }
    if (w->child->accept_lock && !w->has_lock) {
        mu_gate_pause(&w->gate);
        w->has_lock = mu_accept_lock_take(w->child) == MU_OK;
        if (!w->has_lock) { /* asked to stop: the turn sees it */
            mu_reactor_turn(w->reactor, -1);
            return;
        }
    }
    mu_gate_resume(&w->gate);
    mu_reactor_turn(w->reactor, -1);
    if (w->served != before)
        give_lock(w);
}

static void listen_all(struct workers *w)
{
    uint64_t most = w->child->limits->max_connections_per_child;

    while (w->stopping == MU_STOP_NONE) {
        if (most && w->served >= most) {
            leave(w, MU_STOP_GRACEFUL);
            break;
        }
        listen_once(w);
    }
    give_lock(w);
    mu_child_close_listeners(w->child);
}

/* Wait for the workers. False: they do not come in time, and shall be left behind. */
static bool finish(struct workers *w)
{
    int64_t until = MU_NEVER;

    while (!all_idle(w)) {
        int64_t now_ms = mu_now_ms();

        if (w->stopping == MU_STOP_NOW && until == MU_NEVER)
            until = now_ms + ABORT_PATIENCE_MS;
        if (now_ms >= until)
            return false;
        mu_reactor_turn(w->reactor, until == MU_NEVER ? -1 : until - now_ms);
    }
    return true;
}

static void join_all(struct workers *w)
{
    tell_all(w, offsetof(struct worker, end));
    for (uint32_t i = 0; i < w->started; i++)
        pthread_join(w->v[i].thread, NULL);
}

static bool start_one(struct workers *w, const pthread_attr_t *attr)
{
    struct worker *me = &w->v[w->started];

    me->all = w;
    me->slot = mu_scoreboard_slot(w->child->scoreboard, w->child->index, w->started);
    me->hand_over = (struct mu_post){ .fn = take_over, .arg = me };
    me->drain = (struct mu_post){ .fn = drain, .arg = me };
    me->abort = (struct mu_post){ .fn = abort_all, .arg = me };
    me->end = (struct mu_post){ .fn = end, .arg = me };
    return pthread_create(&me->thread, attr, worker_main, me) == 0;
}

/* All threads run, each with its reactor; signals stay with the listener's thread. */
static bool start_all(struct workers *w)
{
    pthread_attr_t attr;
    sigset_t all, before;
    bool is_good = true;

    pthread_attr_init(&attr);
    if (w->stack_size)
        (void)pthread_attr_setstacksize(&attr, w->stack_size);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (w->started = 0; w->started < w->n && start_one(w, &attr); w->started++)
        continue;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    pthread_mutex_lock(&w->lock);
    while (w->begun < w->started)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
    for (uint32_t i = 0; i < w->started; i++)
        is_good &= w->v[i].is_good;
    return is_good && w->started == w->n;
}

static bool init_workers(struct workers *w, struct mu_child *child)
{
    struct mu_reactor_opts opts = { .backend = MU_BACKEND_EPOLL };

    w->child = child;
    w->score = mu_scoreboard_child(child->scoreboard, child->index);
    w->n = child->limits->workers_per_child;
    w->stack_size = mu_mpm_common_of(child->config).thread_stack_size;
    w->v = calloc(w->n, sizeof(*w->v));
    w->wake = (struct mu_post){ .fn = woken, .arg = w };
    w->gate = (struct mu_gate){
        .child = child, .mpm = w, .may_accept = may_accept, .on_accept = on_accept
    };
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->reactor = mu_reactor_create(&opts);
    return w->v && w->reactor && mu_gate_open(&w->gate, w->reactor) == MU_OK &&
           mu_stop_watch(&w->stop, w->reactor, child, on_stop) == MU_OK;
}

static int child_main(struct mu_child *child)
{
    static struct workers w;

    if (mu_server_child_start(child->config, child->scoreboard) != MU_OK)
        return MU_CHILD_FAILED;
    if (!init_workers(&w, child) || !start_all(&w)) {
        MU_LOG(NULL, mu_module_mpm_worker.name, MU_LOG_ALERT, "MU0810",
               "cannot start %u worker threads: %s", w.n, strerror(errno));
        _exit(MU_CHILD_FAILED);
    }
    mu_child_ready(child);
    listen_all(&w);
    if (!finish(&w)) { /* threads are still in blocking calls: nothing of theirs may be torn down */
        mu_server_child_abandon(child->config);
        _exit(0);
    }
    join_all(&w);
    mu_gate_close(&w.gate);
    mu_stop_unwatch(&w.stop);
    mu_server_child_stop(child->config);
    mu_reactor_destroy(w.reactor);
    free(w.v);
    return 0;
}

static const struct mu_mpm mpm = {
    .name = "worker", .is_threaded = true, .limits = limits, .child_main = child_main
};
