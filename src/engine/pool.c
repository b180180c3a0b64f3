/*
 * pool: threads that run offloaded work. An idle worker sleeps on a condition of its own, and the
 * one that became idle last is woken first: its stack and caches are warm, and the threads a quiet
 * server does not need stay asleep. Work that finds nobody idle queues in order.
 */
#include <engine/pool.h>
#include <muster/mutex.h>

#include <signal.h>
#include <stdlib.h>

struct mu_worker {
    struct mu_worker_pool *pool;
    uint32_t index;
    pthread_t thread;
    pthread_cond_t cond;
    struct mu_worker *next_idle;
    struct mu_job *job; /**< handed over while it slept */
    bool has_turn;      /**< its job's turn has come back to it */
};

struct mu_worker_pool {
    struct mu_mutex lock;
    struct mu_worker *idle; /**< last in, first out */
    struct mu_job *first, **last;
    uint32_t threads;
    bool is_ending;
    _Atomic(uint32_t) queued, busy;
    struct mu_worker workers[];
};

static void (*thread_start)(uint32_t index);
static void (*thread_end)(uint32_t index);

void mu_worker_pool_on_thread(void (*start)(uint32_t index), void (*end)(uint32_t index))
{
    thread_start = start;
    thread_end = end;
}

/** Wait on the worker's own condition; the mutex is counted as released meanwhile. */
static void doze(struct mu_worker *w)
{
    pthread_cond_wait(&w->cond, &w->pool->lock.m);
}

/** The next job, or NULL when the pool ends. Called and returns with the lock held. */
static struct mu_job *next_job(struct mu_worker *w)
{
    struct mu_worker_pool *p = w->pool;
    struct mu_job *j = p->first;

    if (j) {
        p->first = j->next;
        if (!p->first)
            p->last = &p->first;
        atomic_fetch_sub_explicit(&p->queued, 1, memory_order_relaxed);
        return j;
    }
    if (p->is_ending)
        return NULL;
    w->next_idle = p->idle;
    p->idle = w;
    while (!w->job && !p->is_ending)
        doze(w);
    j = w->job;
    w->job = NULL;
    return j;
}

static void run_job(struct mu_worker *w, struct mu_job *j)
{
    j->worker = w;
    mu_tl.job = j;
    mu_clock_tick();
    j->fn(j->arg);
    mu_tl.job = NULL;
    j->fn = NULL;
    mu_wake_raise_remote(&j->wake); /* the last touch: the job is the fiber's again */
}

static void *worker_main(void *arg)
{
    struct mu_worker *w = arg;
    struct mu_worker_pool *p = w->pool;
    struct mu_job *j;

    if (thread_start)
        thread_start(w->index);
    mu_mutex_lock(&p->lock);
    while ((j = next_job(w)) != NULL) {
        /* Relaxed: counters for whoever decides about spawning. */
        atomic_fetch_add_explicit(&p->busy, 1, memory_order_relaxed);
        mu_mutex_unlock(&p->lock);
        run_job(w, j);
        mu_mutex_lock(&p->lock);
        atomic_fetch_sub_explicit(&p->busy, 1, memory_order_relaxed);
    }
    mu_mutex_unlock(&p->lock);
    if (thread_end)
        thread_end(w->index);
    return NULL;
}

void mu_pool_submit(struct mu_worker_pool *p, struct mu_job *j)
{
    struct mu_worker *w;

    j->next = NULL;
    mu_mutex_lock(&p->lock);
    w = p->idle;
    if (w) {
        p->idle = w->next_idle;
        w->job = j;
        pthread_cond_signal(&w->cond);
    } else {
        *p->last = j;
        p->last = &j->next;
        atomic_fetch_add_explicit(&p->queued, 1, memory_order_relaxed);
    }
    mu_mutex_unlock(&p->lock);
}

void mu_pool_wake_worker(struct mu_job *j)
{
    struct mu_worker *w = j->worker;

    mu_mutex_lock(&w->pool->lock);
    w->has_turn = true;
    pthread_cond_signal(&w->cond);
    mu_mutex_unlock(&w->pool->lock);
}

void mu_pool_sleep_worker(struct mu_job *j)
{
    struct mu_worker *w = j->worker;

    mu_mutex_lock(&w->pool->lock);
    while (!w->has_turn)
        doze(w);
    w->has_turn = false;
    mu_mutex_unlock(&w->pool->lock);
}

/** Threads with every signal blocked: signals are the business of whoever runs the reactors. */
static uint32_t start_threads(struct mu_worker_pool *p, uint32_t threads, size_t stack_size)
{
    pthread_attr_t attr;
    sigset_t all, before;
    uint32_t started = 0;

    if (pthread_attr_init(&attr) != 0)
        return 0;
    if (stack_size > 0)
        (void)pthread_attr_setstacksize(&attr, stack_size); /* too small: the default is kept */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (started < threads) {
        struct mu_worker *w = &p->workers[started];

        w->pool = p;
        w->index = started;
        pthread_cond_init(&w->cond, NULL);
        if (pthread_create(&w->thread, &attr, worker_main, w) != 0) {
            pthread_cond_destroy(&w->cond);
            break;
        }
        started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return started;
}

struct mu_worker_pool *mu_worker_pool_create(uint32_t threads, size_t stack_size)
{
    struct mu_worker_pool *p = calloc(1, sizeof(*p) + threads * sizeof(struct mu_worker));

    if (!p)
        return NULL;
    pthread_mutex_init(&p->lock.m, NULL);
    p->last = &p->first;
    p->threads = start_threads(p, threads, stack_size);
    if (p->threads == threads)
        return p;
    mu_worker_pool_destroy(p);
    return NULL;
}

void mu_worker_pool_destroy(struct mu_worker_pool *p)
{
    if (!p)
        return;
    mu_mutex_lock(&p->lock);
    assert(!p->first);
    p->is_ending = true;
    for (uint32_t i = 0; i < p->threads; i++)
        pthread_cond_signal(&p->workers[i].cond);
    mu_mutex_unlock(&p->lock);
    for (uint32_t i = 0; i < p->threads; i++) {
        pthread_join(p->workers[i].thread, NULL);
        pthread_cond_destroy(&p->workers[i].cond);
    }
    pthread_mutex_destroy(&p->lock.m);
    free(p);
}

void mu_worker_pool_load(const struct mu_worker_pool *p, uint32_t *queued, uint32_t *busy)
{
    *queued = atomic_load_explicit(&p->queued, memory_order_relaxed);
    *busy = atomic_load_explicit(&p->busy, memory_order_relaxed);
}
