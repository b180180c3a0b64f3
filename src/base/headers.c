/*
 * headers: the ordered table of a message's fields, and the ids of the names the server itself
 * looks at. A name is told apart by its length and one telling byte, then compared once; a word
 * of "seen" bits answers most questions for absent fields without a look at the table.
 */
#include <muster/headers.h>
#include <muster/str.h>

enum { CAP_FIRST = 16 };

static const struct mu_str names[MU_H_COUNT] = { [MU_H_OTHER] = { "", 0 },
#define X(id, text) [MU_H_##id] = { text, sizeof(text) - 1 },
                                                 MU_HEADER_LIST(X)
#undef X
};

enum { SLOTS = 128, NAME_MAX_LEN = 19 };

static uint8_t id_by_slot[SLOTS];

/* The factors give every name of the list a slot of its own; test_headers fails when one does
 * not. */
static inline size_t slot_of(struct mu_str name)
{
    size_t first = (unsigned char)name.p[0] | 32;
    size_t middle = (unsigned char)name.p[name.n / 2] | 32;
    size_t last = (unsigned char)name.p[name.n - 1] | 32;

    return (8 * name.n + 3 * first + middle + 7 * last) % SLOTS;
}

/* Before main, so that there is one table for all threads. */
__attribute__((constructor)) static void fill_slots(void)
{
    for (unsigned id = 1; id < MU_H_COUNT; id++)
        id_by_slot[slot_of(names[id])] = (uint8_t)id;
}

enum mu_header_id mu_header_id(struct mu_str name)
{
    enum mu_header_id id;

    if (name.n - 1 >= NAME_MAX_LEN) /* 0 wraps around */
        return MU_H_OTHER;
    id = (enum mu_header_id)id_by_slot[slot_of(name)];
    return mu_str_ieq(name, names[id]) ? id : MU_H_OTHER;
}

struct mu_str mu_header_name(enum mu_header_id id)
{
    return (unsigned)id < MU_H_COUNT ? names[id] : MU_STR_NULL;
}

static enum mu_rc grow(struct mu_arena *a, struct mu_headers *h)
{
    uint32_t cap = h->cap ? h->cap * 2 : CAP_FIRST;
    struct mu_header *v;

    if (h->cap > UINT32_MAX / 4)
        return MU_LIMIT;
    v = mu_arena_alloc(a, cap * sizeof(*v));
    if (!v)
        return MU_NOMEM;
    if (h->n)
        memcpy(v, h->v, h->n * sizeof(*v));
    h->v = v;
    h->cap = cap;
    return MU_OK;
}

enum mu_rc mu_headers_add_id(struct mu_arena *a, struct mu_headers *h, enum mu_header_id id,
                             struct mu_str name, struct mu_str value)
{
    if (MU_UNLIKELY(h->n == h->cap)) {
        enum mu_rc rc = grow(a, h);

        if (rc != MU_OK)
            return rc;
    }
    h->v[h->n++] = (struct mu_header){ .name = name, .value = value, .id = id };
    h->seen |= (uint64_t)1 << id;
    return MU_OK;
}

enum mu_rc mu_headers_add(struct mu_arena *a, struct mu_headers *h, struct mu_str name,
                          struct mu_str value)
{
    return mu_headers_add_id(a, h, mu_header_id(name), name, value);
}

static bool is_named(const struct mu_header *f, enum mu_header_id id, struct mu_str name)
{
    return f->id == id && (id != MU_H_OTHER || mu_str_ieq(f->name, name));
}

/* Row of the first field of that name from row `from` on; h->n when there is none. */
static uint32_t row_of(const struct mu_headers *h, uint32_t from, enum mu_header_id id,
                       struct mu_str name)
{
    if (!(h->seen >> id & 1))
        return h->n;
    while (from < h->n && !is_named(&h->v[from], id, name))
        from++;
    return from;
}

/* Drop the fields of that name from row `from` on, keeping the order of the others. */
static void drop_from(struct mu_headers *h, uint32_t from, enum mu_header_id id, struct mu_str name)
{
    uint32_t kept = from = row_of(h, from, id, name);

    for (uint32_t i = from; i < h->n; i++)
        if (!is_named(&h->v[i], id, name))
            h->v[kept++] = h->v[i];
    h->n = kept;
}

enum mu_rc mu_headers_set(struct mu_arena *a, struct mu_headers *h, struct mu_str name,
                          struct mu_str value)
{
    enum mu_header_id id = mu_header_id(name);
    uint32_t row = row_of(h, 0, id, name);

    if (row == h->n)
        return mu_headers_add_id(a, h, id, name, value);
    h->v[row].name = name;
    h->v[row].value = value;
    drop_from(h, row + 1, id, name);
    return MU_OK;
}

enum mu_rc mu_headers_merge(struct mu_arena *a, struct mu_headers *h, struct mu_str name,
                            struct mu_str value)
{
    enum mu_header_id id = mu_header_id(name);
    uint32_t row = row_of(h, 0, id, name);
    struct mu_str joined;

    if (row == h->n)
        return mu_headers_add_id(a, h, id, name, value);
    joined = mu_str_cat(a, h->v[row].value, MU_S(", "), value);
    if (!joined.p)
        return MU_NOMEM;
    h->v[row].value = joined;
    return MU_OK;
}

void mu_headers_unset(struct mu_headers *h, struct mu_str name)
{
    enum mu_header_id id = mu_header_id(name);

    drop_from(h, 0, id, name);
    if (id != MU_H_OTHER)
        h->seen &= ~((uint64_t)1 << id);
}

struct mu_str mu_headers_get(const struct mu_headers *h, struct mu_str name)
{
    uint32_t row = row_of(h, 0, mu_header_id(name), name);

    return row < h->n ? h->v[row].value : MU_STR_NULL;
}

const struct mu_header *mu_headers_find(const struct mu_headers *h, enum mu_header_id id)
{
    for (uint32_t i = 0; i < h->n; i++)
        if (h->v[i].id == id)
            return &h->v[i];
    return NULL;
}

uint32_t mu_headers_first_row(const struct mu_headers *h, uint32_t row)
{
    return row_of(h, 0, h->v[row].id, h->v[row].name);
}

struct mu_str mu_headers_join_row(struct mu_arena *a, const struct mu_headers *h, uint32_t row,
                                  struct mu_str between)
{
    const struct mu_header *f = &h->v[row];
    size_t len = f->value.n;
    uint32_t more = 0;
    char *p, *at;

    for (uint32_t i = row + 1; (i = row_of(h, i, f->id, f->name)) < h->n; i++, more++)
        len += between.n + h->v[i].value.n;
    if (more == 0)
        return f->value.p ? f->value : MU_S("");
    p = at = mu_arena_alloc(a, len + 1);
    if (!p)
        return MU_STR_NULL;
    for (uint32_t i = row; i < h->n; i = row_of(h, i + 1, f->id, f->name)) {
        at = i == row ? at : mempcpy(at, between.p, between.n);
        if (h->v[i].value.n)
            at = mempcpy(at, h->v[i].value.p, h->v[i].value.n);
    }
    *at = '\0';
    return mu_str_n(p, len);
}

struct mu_str mu_headers_join(struct mu_arena *a, const struct mu_headers *h, enum mu_header_id id)
{
    uint32_t row = row_of(h, 0, id, names[id]);

    return row < h->n ? mu_headers_join_row(a, h, row, MU_S(", ")) : MU_STR_NULL;
}

bool mu_list_has_token(struct mu_str list, struct mu_str token)
{
    struct mu_str piece;

    while (mu_str_split(&list, ',', &piece))
        if (mu_str_ieq(mu_str_trim(piece), token))
            return true;
    return false;
}
