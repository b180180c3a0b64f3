/*
 * map: an insertion-ordered hash map in an arena. Entries stand in an array in the order they
 * came; an open-addressed index of entry numbers (power of two, at most half full) finds them. A
 * removed entry stays as a dead row until the next growth, so iteration is safe against removal,
 * and never moves rows while no key is added.
 */
#include <muster/map.h>
#include <muster/str.h>

struct entry {
    struct mu_str key;
    void *value;
    uint64_t hash;
    bool is_dead;
};

struct mu_map {
    struct mu_arena *arena;
    struct entry *rows;
    uint32_t *index; /* row number plus one; 0: free */
    size_t n_rows;   /* dead ones included */
    size_t n_live;
    size_t cap; /* of rows; the index has twice as many slots */
    bool is_icase;
};

enum { CAP_FIRST = 8 };

struct mu_map *mu_map_create(struct mu_arena *a, bool icase)
{
    struct mu_map *m = mu_new(a, struct mu_map);

    if (!m)
        return NULL;
    m->arena = a;
    m->is_icase = icase;
    return m;
}

static uint64_t hash_key(const struct mu_map *m, struct mu_str key)
{
    return m->is_icase ? mu_str_ihash(key) : mu_str_hash(key);
}

static struct entry *find(const struct mu_map *m, struct mu_str key, uint64_t hash)
{
    size_t mask = 2 * m->cap - 1;

    if (m->n_live == 0)
        return NULL;
    for (size_t i = hash & mask; m->index[i]; i = (i + 1) & mask) {
        struct entry *e = &m->rows[m->index[i] - 1];

        if (e->hash == hash && !e->is_dead &&
            (m->is_icase ? mu_str_ieq(e->key, key) : mu_str_eq(e->key, key)))
            return e;
    }
    return NULL;
}

static void index_row(struct mu_map *m, size_t row)
{
    size_t mask = 2 * m->cap - 1;
    size_t i = m->rows[row].hash & mask;

    while (m->index[i])
        i = (i + 1) & mask;
    m->index[i] = (uint32_t)row + 1;
}

/*
 * Room for one more row: twice the live ones, without the dead. The old arrays stay in the arena.
 */
static enum mu_rc grow(struct mu_map *m)
{
    size_t cap = m->n_live < CAP_FIRST / 2 ? CAP_FIRST : m->cap;
    struct entry *rows;
    uint32_t *index;
    size_t n = 0;

    while (cap < 2 * m->n_live)
        cap *= 2;
    if (cap > UINT32_MAX / 4)
        return MU_LIMIT;
    rows = mu_new_n(m->arena, struct entry, cap);
    index = mu_new_n(m->arena, uint32_t, 2 * cap);
    if (!rows || !index)
        return MU_NOMEM;
    for (size_t i = 0; i < m->n_rows; i++)
        if (!m->rows[i].is_dead)
            rows[n++] = m->rows[i];
    m->rows = rows;
    m->index = index;
    m->cap = cap;
    m->n_rows = n;
    for (size_t i = 0; i < n; i++)
        index_row(m, i);
    return MU_OK;
}

void *mu_map_get(const struct mu_map *m, struct mu_str key)
{
    struct entry *e = m->n_live ? find(m, key, hash_key(m, key)) : NULL;

    return e ? e->value : NULL;
}

enum mu_rc mu_map_set(struct mu_map *m, struct mu_str key, void *value)
{
    uint64_t hash = hash_key(m, key);
    struct entry *e = find(m, key, hash);

    if (e) {
        e->value = value;
        return MU_OK;
    }
    if (m->n_rows == m->cap) {
        enum mu_rc rc = grow(m);

        if (rc != MU_OK)
            return rc;
    }
    m->rows[m->n_rows] = (struct entry){ .key = key, .value = value, .hash = hash };
    index_row(m, m->n_rows);
    m->n_rows++;
    m->n_live++;
    return MU_OK;
}

void *mu_map_remove(struct mu_map *m, struct mu_str key)
{
    struct entry *e = find(m, key, hash_key(m, key));

    if (!e)
        return NULL;
    e->is_dead = true;
    m->n_live--;
    return e->value;
}

size_t mu_map_len(const struct mu_map *m)
{
    return m->n_live;
}

bool mu_map_next(const struct mu_map *m, size_t *it, struct mu_str *key, void **value)
{
    while (*it < m->n_rows && m->rows[*it].is_dead)
        ++*it;
    if (*it >= m->n_rows)
        return false;
    if (key)
        *key = m->rows[*it].key;
    if (value)
        *value = m->rows[*it].value;
    ++*it;
    return true;
}

enum mu_rc mu_map_merge(struct mu_map *to, const struct mu_map *from)
{
    struct mu_str key;
    void *value;
    size_t it = 0;

    while (from && mu_map_next(from, &it, &key, &value)) {
        if (mu_map_set(to, key, value) != MU_OK)
            return MU_NOMEM;
    }
    return MU_OK;
}
