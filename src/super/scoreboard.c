/*
 * scoreboard: a sealed memfd, mapped shared before the children are forked. All sizes live in the
 * private struct, so whatever a child scribbles into the mapping changes what is displayed and
 * nothing else. Every access through an index checks it against those sizes. Counters are relaxed
 * atomics: they are shown, nothing is published by them.
 */
#include "super/scoreboard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

struct score_header {
    _Alignas(64) _Atomic uint64_t accesses, bytes, duration_us; /* of generations that are over */
};

struct mu_scoreboard {
    char *map;
    size_t size;
    int fd;
    uint32_t children, slots;
};

static_assert(sizeof(struct mu_score_slot) % 64 == 0, "slots must not share cache lines");
static_assert(sizeof(struct mu_score_child) % 64 == 0, "children must not share cache lines");

static uint64_t peek(const _Atomic uint64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

static void poke(_Atomic uint64_t *v, uint64_t to)
{
    atomic_store_explicit(v, to, memory_order_relaxed);
}

/* The accessors behind their checks. */
static struct mu_score_child *child_at(const struct mu_scoreboard *sb, uint32_t child)
{
    char *first = sb->map + sizeof(struct score_header);

    return (struct mu_score_child *)(void *)first + child;
}

static struct mu_score_slot *slot_at(const struct mu_scoreboard *sb, uint32_t child, uint32_t slot)
{
    char *first = sb->map + sizeof(struct score_header) +
                  (size_t)sb->children * sizeof(struct mu_score_child);

    return (struct mu_score_slot *)(void *)first + (size_t)child * sb->slots + slot;
}

static size_t board_size(uint32_t children, uint32_t slots)
{
    size_t n, all, per_child;

    if (__builtin_mul_overflow((size_t)slots, sizeof(struct mu_score_slot), &per_child) ||
        __builtin_add_overflow(per_child, sizeof(struct mu_score_child), &per_child) ||
        __builtin_mul_overflow(per_child, (size_t)children, &n) ||
        __builtin_add_overflow(n, sizeof(struct score_header), &all))
        return 0;
    return all;
}

static struct mu_scoreboard *board_map(int fd, uint32_t children, uint32_t slots)
{
    struct mu_scoreboard *sb = calloc(1, sizeof(*sb));

    if (!sb)
        return NULL;
    sb->size = board_size(children, slots);
    sb->fd = fd;
    sb->children = children;
    sb->slots = slots;
    sb->map = mmap(NULL, sb->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (sb->map == MAP_FAILED) {
        free(sb);
        return NULL;
    }
    return sb;
}

struct mu_scoreboard *mu_scoreboard_create(uint32_t children, uint32_t slots)
{
    size_t size = board_size(children, slots);
    int fd, saved;
    struct mu_scoreboard *sb = NULL;

    if (!size || !children || !slots) {
        errno = EINVAL;
        return NULL;
    }
    fd = memfd_create("muster-scoreboard", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return NULL;
    if (ftruncate(fd, (off_t)size) == 0 && fcntl(fd, F_ADD_SEALS, SEALS) == 0)
        sb = board_map(fd, children, slots);
    if (!sb) {
        saved = errno;
        close(fd);
        errno = saved;
        return NULL;
    }
    for (uint32_t i = 0; i < children; i++) {
        for (uint32_t k = 0; k < slots; k++)
            mu_score_state(mu_scoreboard_slot(sb, i, k), '.');
    }
    return sb;
}

struct mu_scoreboard *mu_scoreboard_adopt(int fd, uint32_t children, uint32_t slots)
{
    size_t size = board_size(children, slots);
    struct stat st;
    struct mu_scoreboard *sb = NULL;

    if (size && children && slots && fstat(fd, &st) == 0 && (size_t)st.st_size == size &&
        (fcntl(fd, F_GET_SEALS) & SEALS) == SEALS)
        sb = board_map(fd, children, slots);
    if (!sb)
        close(fd);
    return sb;
}

void mu_scoreboard_destroy(struct mu_scoreboard *sb)
{
    if (!sb)
        return;
    munmap(sb->map, sb->size);
    mu_scoreboard_forget_fd(sb);
    free(sb);
}

int mu_scoreboard_fd(const struct mu_scoreboard *sb)
{
    return sb->fd;
}

void mu_scoreboard_forget_fd(struct mu_scoreboard *sb)
{
    if (sb->fd >= 0)
        close(sb->fd);
    sb->fd = -1;
}

void mu_scoreboard_freeze(struct mu_scoreboard *sb)
{
    mu_scoreboard_forget_fd(sb);
    (void)mprotect(sb->map, sb->size, PROT_READ);
}

static struct score_header *header(const struct mu_scoreboard *sb)
{
    return (struct score_header *)(void *)sb->map;
}

struct mu_score_child *mu_scoreboard_child(struct mu_scoreboard *sb, uint32_t child)
{
    return child < sb->children ? child_at(sb, child) : NULL;
}

struct mu_score_slot *mu_scoreboard_slot(struct mu_scoreboard *sb, uint32_t child, uint32_t slot)
{
    return child < sb->children && slot < sb->slots ? slot_at(sb, child, slot) : NULL;
}

uint32_t mu_scoreboard_children(const struct mu_scoreboard *sb)
{
    return sb->children;
}

uint32_t mu_scoreboard_slots(const struct mu_scoreboard *sb)
{
    return sb->slots;
}

/* What a child shows of itself starts from nothing; what its place has served over time stays. */
static void child_reset(struct mu_score_child *c, uint32_t pid, uint64_t generation)
{
    atomic_store_explicit(&c->pid, pid, memory_order_relaxed);
    poke(&c->generation, generation);
    atomic_store_explicit(&c->is_stopping, false, memory_order_relaxed);
    atomic_store_explicit(&c->is_accepting, false, memory_order_relaxed);
    atomic_store_explicit(&c->busy, 0, memory_order_relaxed);
    atomic_store_explicit(&c->idle, 0, memory_order_relaxed);
    atomic_store_explicit(&c->connections, 0, memory_order_relaxed);
    atomic_store_explicit(&c->writing, 0, memory_order_relaxed);
    atomic_store_explicit(&c->keepalive, 0, memory_order_relaxed);
    atomic_store_explicit(&c->closing, 0, memory_order_relaxed);
    atomic_store_explicit(&c->offload_queued, 0, memory_order_relaxed);
    atomic_store_explicit(&c->busy_permille, 0, memory_order_relaxed);
}

void mu_scoreboard_begin_child(struct mu_scoreboard *sb, uint32_t child, uint32_t pid,
                               uint64_t generation)
{
    struct mu_score_child *c = mu_scoreboard_child(sb, child);

    if (!c)
        return;
    child_reset(c, pid, generation);
    for (uint32_t i = 0; i < sb->slots; i++) {
        struct mu_score_slot *s = slot_at(sb, child, i);

        atomic_store_explicit(&s->pid, pid, memory_order_relaxed);
        poke(&s->generation, generation);
        poke(&s->conn_accesses, 0);
        poke(&s->conn_bytes, 0);
        poke(&s->child_accesses, 0);
        poke(&s->child_bytes, 0);
        mu_score_state(s, 'S');
    }
}

void mu_scoreboard_end_child(struct mu_scoreboard *sb, uint32_t child)
{
    struct mu_score_child *c = mu_scoreboard_child(sb, child);

    if (!c)
        return;
    child_reset(c, 0, 0);
    for (uint32_t i = 0; i < sb->slots; i++) {
        struct mu_score_slot *s = slot_at(sb, child, i);

        atomic_store_explicit(&s->pid, 0, memory_order_relaxed);
        mu_score_state(s, '.');
    }
}

struct mu_score_totals mu_scoreboard_base(const struct mu_scoreboard *sb)
{
    const struct score_header *h = header(sb);

    return (struct mu_score_totals){ peek(&h->accesses), peek(&h->bytes), peek(&h->duration_us) };
}

void mu_scoreboard_set_base(struct mu_scoreboard *sb, const struct mu_score_totals *base)
{
    struct score_header *h = header(sb);

    poke(&h->accesses, base->accesses);
    poke(&h->bytes, base->bytes);
    poke(&h->duration_us, base->duration_us);
}

struct mu_score_totals mu_scoreboard_sum(const struct mu_scoreboard *sb)
{
    struct mu_score_totals t = { 0, 0, 0 };

    for (uint32_t i = 0; i < sb->children; i++) {
        const struct mu_score_child *c = child_at(sb, i);

        t.accesses += peek(&c->over_accesses);
        t.bytes += peek(&c->over_bytes);
        t.duration_us += peek(&c->over_duration_us);
        for (uint32_t k = 0; k < sb->slots; k++) {
            const struct mu_score_slot *s = slot_at(sb, i, k);

            t.accesses += peek(&s->accesses);
            t.bytes += peek(&s->bytes);
            t.duration_us += peek(&s->duration_us);
        }
    }
    return t;
}
