/*
 * merge: blocks as written, and what becomes of several of them. A block remembers which directives
 * were said in it, so merging copies just their fields over the base and leaves the rest to the
 * module. Merged configurations form trees by section id below each server's base; a child once
 * linked is never changed, so look-ups take no lock.
 */
#include <muster/log.h>
#include <muster/str.h>

#include <stdatomic.h>

#include "conf/priv.h"

/* ---- as written ---- */

/* In front of every block's conf. */
struct block_head {
    uint64_t *set; /* a bit for each row of the module's table */
    const struct mu_module *module;
};
static_assert(sizeof(struct block_head) == 16, "a conf behind it is aligned for any type");

static struct block_head *head_of(const void *block)
{
    return (struct block_head *)(uintptr_t)block - 1;
}

static size_t table_len(const struct mu_module *m)
{
    size_t n = 0;

    while (m->directives && m->directives[n].name)
        n++;
    return n;
}

void *mu_block_get(struct mu_config *c, const void **blocks, const struct mu_module *m)
{
    struct block_head *h;

    if (blocks[m->index])
        return (void *)(uintptr_t)blocks[m->index];
    h = mu_arena_zalloc(c->arena, 1, sizeof(*h) + m->conf_size);
    if (!h || !(h->set = mu_new_n(c->arena, uint64_t, table_len(m) / 64 + 1))) {
        mu_conf_nomem(c);
        return NULL;
    }
    h->module = m;
    blocks[m->index] = h + 1;
    return h + 1;
}

void mu_block_mark(void *block, const struct mu_module *m, const struct mu_directive *d)
{
    size_t i = (size_t)(d - m->directives);

    head_of(block)->set[i / 64] |= UINT64_C(1) << (i % 64);
}

bool mu_block_is_marked(const void *block, const struct mu_module *m, const struct mu_directive *d)
{
    size_t i = (size_t)(d - m->directives);

    return head_of(block)->set[i / 64] >> (i % 64) & 1;
}

/* ---- one conf over another ---- */

static const void *merge_conf(struct mu_arena *a, const struct mu_module *m, const void *base,
                              const void *over)
{
    char *out = mu_arena_zalloc(a, 1, m->conf_size);

    if (!out)
        return NULL;
    memcpy(out, base, m->conf_size);
    for (const struct mu_directive *d = m->directives; d && d->name; d++)
        if (d->size && mu_block_is_marked(over, m, d))
            memcpy(out + d->offset, (const char *)over + d->offset, d->size);
    if (m->merge && m->merge(a, base, over, out) != MU_OK)
        return NULL;
    return out;
}

/* ---- merged ones ---- */

struct table;

struct dirconf {
    struct mu_dirconf pub;
    struct mu_config *config;
    const void *derived;
    uint32_t section_id; /* the key below its base */
    _Atomic(struct table *) children;
};

/* Open addressing, at most half full. A slot goes from NULL to a child once and stays. */
struct table {
    size_t cap, n;
    _Atomic(struct dirconf *) slots[];
};

static const void *(*derive)(const struct mu_dirconf *c, struct mu_arena *a);

void mu_dirconf_on_merge(const void *(*fn)(const struct mu_dirconf *c, struct mu_arena *a))
{
    derive = fn;
}

const void *mu_dirconf_derived(const struct mu_dirconf *c)
{
    return MU_CONTAINER_OF(c, const struct dirconf, pub)->derived;
}

/* A copy of base with what `over` says. NULL when out of memory or a module refused. */
static struct dirconf *merge_all(struct mu_config *c, struct mu_arena *a, const void *const *base,
                                 const void *const *over)
{
    struct dirconf *d = mu_new(a, struct dirconf);
    const void **v = mu_new_n(a, const void *, c->modules_n + 1);

    if (!d || !v)
        return NULL;
    for (size_t i = 0; i < c->modules_n; i++) {
        const struct mu_module *m = c->modules[i];

        v[i] = base[i];
        if (over[i] && m->conf_size && !(v[i] = merge_conf(a, m, base[i], over[i])))
            return NULL;
    }
    d->pub.v = v;
    d->config = c;
    return d;
}

static struct dirconf *find_child(const struct table *t, uint32_t id)
{
    struct dirconf *d;

    if (!t)
        return NULL;
    /* acquire: pairs with the release that linked the child, whose members are read next */
    for (size_t i = id & (t->cap - 1);
         (d = atomic_load_explicit(&t->slots[i], memory_order_acquire)) != NULL;
         i = (i + 1) & (t->cap - 1))
        if (d->section_id == id)
            return d;
    return NULL;
}

static void put_child(struct table *t, struct dirconf *d)
{
    size_t i = d->section_id & (t->cap - 1);

    while (
        atomic_load_explicit(&t->slots[i], memory_order_relaxed)) /* under the lock: ours alone */
        i = (i + 1) & (t->cap - 1);
    /* release: who sees the pointer sees the merged conf */
    atomic_store_explicit(&t->slots[i], d, memory_order_release);
    t->n++;
}

/* A table of twice the size with the same children; readers may still be in the old one. */
static struct table *grow(struct mu_arena *a, const struct table *old)
{
    size_t cap = old ? 2 * old->cap : 4;
    struct table *t = mu_arena_zalloc(a, 1, sizeof(*t) + cap * sizeof(t->slots[0]));

    if (!t)
        return NULL;
    t->cap = cap;
    for (size_t i = 0; old && i < old->cap; i++) {
        struct dirconf *d = atomic_load_explicit(&old->slots[i], memory_order_relaxed);

        if (d)
            put_child(t, d);
    }
    return t;
}

static bool says_nothing(const struct mu_config *c, const struct mu_section *section)
{
    for (size_t i = 0; section->conf && i < c->modules_n; i++)
        if (section->conf[i])
            return false;
    return true;
}

/* Under merge_lock. */
static struct dirconf *insert(struct dirconf *base, const struct mu_section *section)
{
    struct mu_config *c = base->config;
    struct mu_arena *a = c->priv->merge_arena;
    struct table *t = atomic_load_explicit(&base->children, memory_order_relaxed);
    struct dirconf *d = find_child(t, section->id);

    if (d)
        return d;
    d = merge_all(c, a, base->pub.v, section->conf);
    if (!d)
        return NULL;
    d->section_id = section->id;
    if (derive)
        d->derived = derive(&d->pub, a);
    if (!t || 2 * (t->n + 1) > t->cap) {
        t = grow(a, t);
        if (!t)
            return NULL;
        put_child(t, d);
        atomic_store_explicit(&base->children, t, memory_order_release); /* with all its slots */
    } else {
        put_child(t, d);
    }
    return d;
}

const struct mu_dirconf *mu_dirconf_merge(const struct mu_dirconf *base,
                                          const struct mu_section *section)
{
    struct dirconf *b = MU_CONTAINER_OF((struct mu_dirconf *)(uintptr_t)base, struct dirconf, pub);
    struct mu_config *c = b->config;
    struct dirconf *d;

    /* acquire: the table's size and slots were written before it was linked */
    d = find_child(atomic_load_explicit(&b->children, memory_order_acquire), section->id);
    if (MU_LIKELY(d != NULL))
        return &d->pub;
    if (says_nothing(c, section))
        return base;
    pthread_mutex_lock(&c->priv->merge_lock);
    d = insert(b, section);
    pthread_mutex_unlock(&c->priv->merge_lock);
    return d ? &d->pub : NULL;
}

/* ---- the servers' own ---- */

static const void **defaults(struct mu_config *c)
{
    const void **v = mu_new_n(c->arena, const void *, c->modules_n + 1);

    if (!v)
        return NULL;
    for (size_t i = 0; i < c->modules_n; i++) {
        const struct mu_module *m = c->modules[i];
        void *conf;

        if (!m->conf_size)
            continue;
        conf = mu_arena_zalloc(c->arena, 1, m->conf_size);
        if (!conf)
            return NULL;
        if (m->init)
            m->init(conf);
        v[i] = conf;
    }
    return v;
}

enum mu_rc mu_merge_bases(struct mu_config *c)
{
    const void *const *base = defaults(c);

    if (!base)
        return mu_conf_nomem(c);
    for (size_t i = 0; i < c->vhosts_n; i++) {
        struct mu_vhost *v = c->vhosts[i];
        struct dirconf *d = merge_all(c, c->arena, base, v->conf);

        if (!d)
            return c->errors ? MU_BAD : mu_conf_nomem(c);
        v->base = &d->pub;
        if (v->is_main)
            base = d->pub.v;
    }
    return MU_OK;
}

void mu_merge_derive_bases(struct mu_config *c)
{
    for (size_t i = 0; derive && i < c->vhosts_n; i++) {
        const struct mu_dirconf *base = c->vhosts[i]->base;
        struct dirconf *d =
            MU_CONTAINER_OF((struct mu_dirconf *)(uintptr_t)base, struct dirconf, pub);

        d->derived = derive(base, c->arena);
    }
}

const void *mu_vhost_conf(const struct mu_vhost *v, const struct mu_module *m)
{
    return v->base->v[m->index];
}
