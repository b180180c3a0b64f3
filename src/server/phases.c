/* Flat hook arrays: which hooks run in which phase under one merged configuration, with their conf
 * at hand.
 *
 * Each merged configuration carries a slot; the arrays are made when it is first used and kept as
 * long as it lives. Two threads may make them at the same time: one wins, the other's are freed.
 * Hooks whose module says that they are of no use under that conf are left out, so a request meets
 * only what acts on it.
 */
#include "room.h"

#include <stdatomic.h>
#include <stdlib.h>

/** What mu_dirconf_derived answers. */
struct slot {
    _Atomic(struct mu_phases *) phases;
};

static void slot_free(void *arg)
{
    struct slot *s = arg;

    free(atomic_load_explicit(&s->phases, memory_order_acquire));
}

static const void *derive(const struct mu_dirconf *c, struct mu_arena *a)
{
    struct slot *s = mu_new(a, struct slot);

    (void)c;
    return s && mu_defer(a, slot_free, s) == MU_OK ? s : NULL;
}

void mu_phases_init(void)
{
    mu_dirconf_on_merge(derive);
}

/** A hook that is on, and where it comes in the order. */
struct active {
    const struct mu_hook *hook;
    const struct mu_module *module;
};

static int active_cmp(const void *pa, const void *pb)
{
    const struct active *a = pa, *b = pb;

    if (a->hook->phase != b->hook->phase)
        return a->hook->phase < b->hook->phase ? -1 : 1;
    if (a->hook->order != b->hook->order)
        return a->hook->order < b->hook->order ? -1 : 1;
    if (a->module->index != b->module->index)
        return a->module->index < b->module->index ? -1 : 1;
    return a->hook < b->hook ? -1 : a->hook > b->hook;
}

/* All hooks of use under `conf`; with list == NULL only their number. */
static size_t collect(const struct mu_config *c, const struct mu_dirconf *conf, struct active *list)
{
    size_t n = 0;

    for (size_t i = 0; i < c->modules_n; i++) {
        const struct mu_module *m = c->modules[i];

        for (const struct mu_hook *h = m->hooks; h && h->fn; h++) {
            if (h->is_active && !h->is_active(conf->v[m->index]))
                continue;
            if (list)
                list[n] = (struct active){ h, m };
            n++;
        }
    }
    return n;
}

static void fill_core(struct mu_phases *p, const struct mu_dirconf *conf, const struct mu_vhost *v)
{
    const struct mu_core_conf *core = mu_core_of(conf);
    const struct mu_routing *routing = mu_routing_of(v);

    p->core = core;
    if (core->handler.n)
        p->handler = mu_handler_find(routing->server, core->handler);
    if (core->options & MU_OPT_SYMLINKS)
        p->links = MU_LINKS_FOLLOW;
    else
        p->links = core->options & MU_OPT_SYMLINKS_IF_OWNER ? MU_LINKS_OWNER : MU_LINKS_NONE;
    p->may_override = core->allow_override != 0 || core->override_list.n != 0;
}

static struct mu_phases *build(const struct mu_dirconf *conf, const struct mu_vhost *v)
{
    const struct mu_config *c = v->config;
    size_t n = collect(c, conf, NULL), k = 0;
    struct active *list = calloc(n + 1, sizeof(*list));
    struct mu_phases *p =
        calloc(1, sizeof(*p) + (n + MU_PHASE_COUNT) * sizeof(struct mu_phase_call));
    struct mu_phase_call *call;

    if (!list || !p) {
        free(list);
        free(p);
        return NULL;
    }
    n = collect(c, conf, list);
    if (n)
        qsort(list, n, sizeof(*list), active_cmp);
    call = (struct mu_phase_call *)(p + 1);
    for (int phase = 0; phase < MU_PHASE_COUNT; phase++) {
        p->phase[phase] = call;
        for (; k < n && list[k].hook->phase == (enum mu_phase)phase; k++, call++) {
            call->fn = list[k].hook->fn;
            call->conf = conf->v[list[k].module->index];
            call->module = list[k].module;
            call->may_block = list[k].hook->may_block;
        }
        call++; /* stays zero: the end */
    }
    free(list);
    fill_core(p, conf, v);
    return p;
}

const struct mu_phases *mu_phases_of(const struct mu_dirconf *conf, const struct mu_vhost *v)
{
    struct slot *s = (struct slot *)(uintptr_t)mu_dirconf_derived(conf);
    struct mu_phases *p, *seen = NULL;

    if (!s)
        return NULL;
    /* Acquire: pairs with the release of the thread that made them. */
    p = atomic_load_explicit(&s->phases, memory_order_acquire);
    if (MU_LIKELY(p != NULL))
        return p;
    p = build(conf, v);
    if (!p)
        return NULL;
    if (atomic_compare_exchange_strong_explicit(&s->phases, &seen, p, memory_order_acq_rel,
                                                memory_order_acquire))
        return p;
    free(p);
    return seen;
}

/* "proxy:unix:/run/a.sock|fcgi://h/" is answered by "proxy:unix:" or "proxy:", if one is there. */
static const struct mu_handler_entry *find_prefix(const struct mu_server *s, struct mu_str name)
{
    for (size_t n = name.n; n > 0; n--) {
        const struct mu_handler_entry *e = NULL;

        if (name.p[n - 1] == ':')
            e = mu_map_get(s->handlers, mu_str_n(name.p, n));
        if (e)
            return e;
    }
    return NULL;
}

const struct mu_handler_entry *mu_handler_find(const struct mu_server *s, struct mu_str name)
{
    const struct mu_handler_entry *e = mu_map_get(s->handlers, name);

    return e || !s->has_prefix_handlers ? e : find_prefix(s, name);
}

static enum mu_rc handler_add(struct mu_server *s, struct mu_arena *a, const struct mu_module *m,
                              const struct mu_handler *h)
{
    struct mu_handler_entry *e = mu_new(a, struct mu_handler_entry);
    struct mu_handler_entry *first = mu_map_get(s->handlers, mu_str_c(h->name));

    if (!e)
        return MU_NOMEM;
    e->handler = h;
    e->module = m;
    if (strchr(h->name, '/') && strcmp(h->name, "httpd/unix-directory") != 0)
        s->has_type_handlers = true;
    if (mu_str_ends(mu_str_c(h->name), MU_S(":")))
        s->has_prefix_handlers = true;
    if (!first)
        return mu_map_set(s->handlers, mu_str_c(h->name), e);
    while (first->next)
        first = (struct mu_handler_entry *)(uintptr_t)first->next;
    first->next = e;
    return MU_OK;
}

enum mu_rc mu_handlers_prepare(struct mu_server *s, struct mu_arena *a)
{
    const struct mu_config *c = s->config;

    s->handlers = mu_map_create(a, true);
    if (!s->handlers)
        return MU_NOMEM;
    /* The core's own default handler comes last: others that serve "" may decline. */
    for (size_t i = 0; i < c->modules_n; i++) {
        for (const struct mu_handler *h = c->modules[i]->handlers; h && h->name; h++) {
            if (c->modules[i] != &mu_module_core && handler_add(s, a, c->modules[i], h) != MU_OK)
                return MU_NOMEM;
        }
    }
    for (const struct mu_handler *h = mu_module_core.handlers; h && h->name; h++) {
        if (handler_add(s, a, &mu_module_core, h) != MU_OK)
            return MU_NOMEM;
    }
    s->default_handlers = mu_map_get(s->handlers, MU_S(""));
    s->directory_handlers = mu_map_get(s->handlers, MU_S("httpd/unix-directory"));
    return MU_OK;
}
