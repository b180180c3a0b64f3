/* The file cache: what a name led to (merged configuration, stat), and the small contents and
 * descriptors of files.
 *
 * Each thread has a table of its own, so nothing is locked; sums are kept for the process, so that
 * the directives bound a child however many threads it has. An entry is valid as long as a stat
 * says the same as before: dev, ino, size, mode, owner, mtime and ctime in nanoseconds. Under
 * prefork and worker a watch may stand in for that stat, for a second at the most (watch.c).
 * Entries are counted: the table holds one reference, each exchange that sends from it another.
 */
#include "room.h"
#include "watch.h"

#include <engine/reactor.h>
#include <muster/clock.h>
#include <muster/str.h>
#include <muster/wait.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    BUCKETS_MIN = 64, /**< of a table, powers of two: as many as OpenFileCache, within these */
    BUCKETS_MAX = 1 << 20,
    UNUSED_MS =
        60 *
        /** an entry nobody asked for is dropped after that, so deleted files do not linger */
        1000,
    /** what inotify does not report is found within that time (see watch.c) */
    WATCH_TRUST_MS = 1000,
    SWEEP_EVERY = 256, /**< look-ups between two looks at the oldest entries */
};

struct cache {
    uint32_t epoch;
    uint32_t lookups;
    struct mu_list lru; /**< most recently used first */
    size_t mask;        /**< number of buckets - 1 */
    struct mu_file_entry **buckets;
};

/* Limits and sums of the process. All relaxed: each is a bound of its own, nothing is published
 * through them. */
static _Atomic uint32_t epoch = 1;
static _Atomic uint64_t max_entries, max_bytes, max_fds, max_file;
static _Atomic int64_t trusted_ms;
static _Atomic uint64_t sum_entries, sum_bytes, sum_fds;

static __thread struct cache *own;
static pthread_key_t own_key;
static pthread_once_t own_once = PTHREAD_ONCE_INIT;

static uint64_t get(_Atomic uint64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

static void put(_Atomic uint64_t *v, uint64_t n)
{
    atomic_store_explicit(v, n, memory_order_relaxed);
}

/* Add unless the bound would be passed. */
static bool reserve(_Atomic uint64_t *sum, uint64_t n, _Atomic uint64_t *max)
{
    if (atomic_fetch_add_explicit(sum, n, memory_order_relaxed) + n <= get(max))
        return true;
    atomic_fetch_sub_explicit(sum, n, memory_order_relaxed);
    return false;
}

static void release(_Atomic uint64_t *sum, uint64_t n)
{
    atomic_fetch_sub_explicit(sum, n, memory_order_relaxed);
}

static void entry_unref(struct mu_file_entry *e)
{
    if (--e->refs > 0)
        return;
    if (e->fd >= 0) {
        close(e->fd);
        release(&sum_fds, 1);
    }
    if (e->content)
        release(&sum_bytes, e->fi.size);
    free(e->content);
    free(e);
    release(&sum_entries, 1);
}

static void entry_unref_deferred(void *arg)
{
    entry_unref(arg);
}

static struct mu_file_entry **bucket_of(const struct cache *c, uint64_t hash)
{
    return &c->buckets[hash & c->mask];
}

static void entry_unlink(struct cache *c, struct mu_file_entry *e)
{
    struct mu_file_entry **p = bucket_of(c, e->hash);

    while (*p != e)
        p = &(*p)->chain;
    *p = e->chain;
    mu_list_remove(&e->lru);
    e->is_linked = false;
    entry_unref(e);
}

static void cache_clear(struct cache *c)
{
    while (!mu_list_empty(&c->lru))
        entry_unlink(c, MU_CONTAINER_OF(mu_list_first(&c->lru), struct mu_file_entry, lru));
}

static void own_free(void *arg)
{
    struct cache *c = arg;

    cache_clear(c);
    free(c->buckets);
    free(c);
    own = NULL;
}

/* An empty table of the size that the limits ask for. False: out of memory, the old one stays. */
static bool table_make(struct cache *c)
{
    size_t n = BUCKETS_MIN;
    struct mu_file_entry **v;

    while (n < get(&max_entries) && n < BUCKETS_MAX)
        n *= 2;
    if (c->buckets && n == c->mask + 1)
        return true;
    v = calloc(n, sizeof(struct mu_file_entry *));
    if (!v)
        return c->buckets != NULL;
    free(c->buckets);
    c->buckets = v;
    c->mask = n - 1;
    return true;
}

static void own_key_make(void)
{
    if (pthread_key_create(&own_key, own_free) != 0)
        put(&max_entries, 0);
}

static struct cache *cache_make(void)
{
    struct cache *c;

    pthread_once(&own_once, own_key_make);
    c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    mu_list_init(&c->lru);
    if (get(&max_entries) == 0 || !table_make(c) || pthread_setspecific(own_key, c) != 0) {
        free(c->buckets);
        free(c);
        return NULL;
    }
    own = c;
    return c;
}

/* This thread's cache, emptied when the configuration is another one. NULL when it is off, or on a
 * worker thread, whose exchanges end elsewhere. */
static struct cache *cache_get(void)
{
    uint32_t now =
        atomic_load_explicit(&epoch, memory_order_acquire); /* after configure's limits */
    struct cache *c = own;

    if (get(&max_entries) == 0 || mu_is_offloaded())
        return NULL;
    if (MU_UNLIKELY(!c) && !(c = cache_make()))
        return NULL;
    if (MU_UNLIKELY(c->epoch != now)) {
        cache_clear(c);
        (void)table_make(c);
        c->epoch = now;
    }
    return c;
}

void mu_file_cache_configure(const struct mu_core_conf *core)
{
    struct rlimit rl;
    uint64_t fds = (uint64_t)core->open_files;

    /* Connections come first: the cache takes a quarter of the descriptors at most. */
    if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && fds > rl.rlim_cur / 4)
        fds = rl.rlim_cur / 4;
    put(&max_entries, (uint64_t)core->open_files);
    put(&max_bytes, (uint64_t)core->content_size);
    put(&max_file, (uint64_t)core->content_max_file);
    put(&max_fds, fds);
    atomic_store_explicit(&trusted_ms, core->revalidate_ms, memory_order_relaxed);
    atomic_fetch_add_explicit(
        &epoch, 1, memory_order_release); /* the limits stand before the new epoch is seen */
}

void mu_file_cache_usage(uint64_t *entries, uint64_t *bytes, uint64_t *fds)
{
    *entries = get(&sum_entries);
    *bytes = get(&sum_bytes);
    *fds = get(&sum_fds);
}

uint64_t mu_file_content_max(void)
{
    return get(&max_entries) ? get(&max_file) : 0;
}

bool mu_finfo_same(const struct mu_finfo *a, const struct mu_finfo *b)
{
    return a->ino == b->ino && a->dev == b->dev && a->size == b->size && a->mode == b->mode &&
           a->uid == b->uid && a->gid == b->gid && a->mtime_ns == b->mtime_ns &&
           a->ctime_ns == b->ctime_ns;
}

static uint64_t key_hash(const struct mu_vhost *v, struct mu_str filename)
{
    return mu_str_hash(filename) ^ ((uint64_t)(uintptr_t)v * UINT64_C(0x9e3779b97f4a7c15));
}

/* Drop what nobody has asked for lately, a few at a time. */
static void sweep(struct cache *c, int64_t now)
{
    for (int i = 0; i < 4 && !mu_list_empty(&c->lru); i++) {
        struct mu_file_entry *e = MU_CONTAINER_OF(c->lru.prev, struct mu_file_entry, lru);

        if (now - e->used_ms < UNUSED_MS)
            return;
        entry_unlink(c, e);
    }
}

static uint64_t turn_now(void)
{
    const struct mu_reactor *r = mu_reactor_self();
    uint64_t busy_ns, turns = 0;

    if (r)
        mu_reactor_load(r, &busy_ns, &turns);
    return turns;
}

/*
 * Requests that had begun to arrive before this turn may share one stat of it: it was made after
 * they were sent, so none is answered with an older state than it was sent to.
 */
static bool is_still_true(struct mu_file_entry *e, int64_t now, bool trusts_turn)
{
    uint64_t turn = turn_now(), watched;
    int64_t trust = atomic_load_explicit(&trusted_ms, memory_order_relaxed);
    struct mu_finfo fi;

    if (trusts_turn && turn && e->checked_turn == turn)
        return true;
    if (trust > 0 && now - e->checked_ms < trust)
        return true;
    watched = mu_watch_generation();
    if (watched && e->watched == watched && now - e->checked_ms < WATCH_TRUST_MS)
        return true;
    if (watched && e->watched == 0)
        e->is_watchable = mu_watch_path(e->filename);
    /* the stat comes after the watch and its generation */
    if (watched)
        e->watched = e->is_watchable ? watched : UINT64_MAX;
    if (mu_lookup_stat(e->filename.p, e->follows, true, &fi) != MU_FOUND ||
        !mu_finfo_same(&fi, &e->fi))
        return false;
    e->checked_ms = now;
    e->checked_turn = turn;
    return true;
}

struct mu_file_entry *mu_file_find(const struct mu_vhost *v, struct mu_str filename,
                                   bool trusts_turn)
{
    struct cache *c = cache_get();
    uint64_t hash;
    struct mu_file_entry *e;
    int64_t now;

    if (!c)
        return NULL;
    now = mu_now_ms();
    if (MU_UNLIKELY(++c->lookups % SWEEP_EVERY == 0))
        sweep(c, now);
    hash = key_hash(v, filename);
    for (e = *bucket_of(c, hash); e; e = e->chain) {
        if (e->hash == hash && e->vhost == v && mu_str_eq(e->filename, filename))
            break;
    }
    if (!e)
        return NULL;
    if (!is_still_true(e, now, trusts_turn)) {
        entry_unlink(c, e);
        return NULL;
    }
    e->used_ms = now;
    if (c->lru.next != &e->lru) {
        mu_list_remove(&e->lru);
        mu_list_prepend(&c->lru, &e->lru);
    }
    return e;
}

void mu_file_forget(struct mu_file_entry *e)
{
    if (e->is_linked && own)
        entry_unlink(own, e);
}

/* Room for `n` more of `sum`, by dropping own entries from the oldest on. Never the youngest: it is
 * being filled. */
static bool make_room(struct cache *c, _Atomic uint64_t *sum, uint64_t n, _Atomic uint64_t *max)
{
    while (!reserve(sum, n, max)) {
        if (n > get(max) || c->lru.prev == c->lru.next)
            return false; /* empty, or the one */
        entry_unlink(c, MU_CONTAINER_OF(c->lru.prev, struct mu_file_entry, lru));
    }
    return true;
}

struct mu_file_entry *mu_file_insert(const struct mu_vhost *v, struct mu_str filename,
                                     const struct mu_dirconf *conf, bool follows,
                                     const struct mu_finfo *fi)
{
    struct cache *c = cache_get();
    struct mu_file_entry *e, **at;
    char *name;

    if (!c || !make_room(c, &sum_entries, 1, &max_entries))
        return NULL;
    e = malloc(sizeof(*e) + filename.n + 1);
    if (!e) {
        release(&sum_entries, 1);
        return NULL;
    }
    name = (char *)(e + 1);
    memcpy(name, filename.p, filename.n);
    name[filename.n] = '\0';
    *e = (struct mu_file_entry){
        .hash = key_hash(v, filename),
        .refs = 1,
        .is_linked = true,
        .follows = follows,
        .vhost = v,
        .conf = conf,
        .filename = { name, filename.n },
        .fi = *fi,
        .used_ms = mu_now_ms(),
        .fd = -1,
    };
    e->checked_ms = e->used_ms;
    at = bucket_of(c, e->hash);
    e->chain = *at;
    *at = e;
    mu_list_prepend(&c->lru, &e->lru);
    return e;
}

enum mu_rc mu_file_hold(struct mu_file_entry *e, struct mu_arena *a)
{
    if (mu_defer(a, entry_unref_deferred, e) != MU_OK)
        return MU_NOMEM;
    e->refs++;
    return MU_OK;
}

bool mu_file_give_fd(struct mu_file_entry *e, int fd)
{
    if (!e->is_linked || e->fd >= 0 || !reserve(&sum_fds, 1, &max_fds))
        return false;
    e->fd = fd;
    return true;
}

bool mu_file_give_content(struct mu_file_entry *e, char *content)
{
    if (!e->is_linked || e->content || !own || !make_room(own, &sum_bytes, e->fi.size, &max_bytes))
        return false;
    if (!e->is_linked) { /* dropped to make room for itself */
        release(&sum_bytes, e->fi.size);
        return false;
    }
    e->content = content;
    return true;
}
