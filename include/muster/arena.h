/*
 * Arenas: memory that is freed together. Lifetimes: process > configuration generation >
 * connection > exchange.
 */
#ifndef MUSTER_ARENA_H
#define MUSTER_ARENA_H

#include <muster/types.h>

struct mu_arena_block;
struct mu_arena_defer;

/**
 * Only `cur` and `end` are read outside of arena.c, by the inline allocation below. [cur, end) is
 * free; its length is a multiple of 16. Under AddressSanitizer the two are kept equal, so that
 * every allocation takes the slow path, which unpoisons it: a module built without the sanitizer
 * works with a server built with it, and the other way round.
 */
struct mu_arena {
    char *cur;
    char *end;
    char *start;                   /**< of the current block's space */
    struct mu_arena_block *blocks; /**< beyond the first, newest first */
    struct mu_arena_defer *defers;
    size_t next_size;  /**< of the next block */
    size_t used_prior; /**< handed out of other blocks than the current one */
    char *asan_cur;    /**< what cur and end would be under AddressSanitizer */
    char *asan_end;
    size_t first_size;
};

/**
 * Create an arena whose first block holds `first_block` bytes (0: a default of 4 KiB).
 * Returns: NULL when out of memory.
 * Owns:    caller; destroy with mu_arena_destroy.
 * Context: any thread, but one arena is used by one thread at a time.
 */
struct mu_arena *mu_arena_create(size_t first_block);
/** Run the deferred functions (last first) and free everything. NULL is allowed. */
void mu_arena_destroy(struct mu_arena *a);
/**
 * Run the deferred functions (last first), poison (under ASan) and keep the first block for
 * reuse.
 */
void mu_arena_reset(struct mu_arena *a);
/**
 * `n` bytes aligned for any type, uninitialised.
 * Returns: NULL when out of memory. Prefer mu_new and mu_new_n.
 */
MU_NODISCARD static inline void *mu_arena_alloc(struct mu_arena *a, size_t n);
/** The same, zeroed, `count` times `size`, overflow-checked. */
MU_NODISCARD static inline void *mu_arena_zalloc(struct mu_arena *a, size_t count, size_t size);
/** What mu_arena_alloc does when the current block is full. */
MU_NODISCARD void *mu_arena_alloc_slow(struct mu_arena *a, size_t n);
/** Bytes handed out since creation or reset. */
size_t mu_arena_used(const struct mu_arena *a);

static inline void *mu_arena_alloc(struct mu_arena *a, size_t n)
{
    char *p = a->cur;

    /*
     * n == 0 wraps around and takes the slow path; the free space being a multiple of 16, n fits
     * rounded up too.
     */
    if (MU_UNLIKELY(n - 1 >= (size_t)(a->end - p)))
        return mu_arena_alloc_slow(a, n);
    a->cur = p + ((n + 15) & ~(size_t)15);
    return p;
}

static inline void *mu_arena_zalloc(struct mu_arena *a, size_t count, size_t size)
{
    size_t n;
    void *p;

    if (MU_UNLIKELY(__builtin_mul_overflow(count, size, &n)))
        return NULL;
    p = mu_arena_alloc(a, n);
    return p ? memset(p, 0, n) : NULL;
}

#define mu_new(arena, T) ((T *)mu_arena_zalloc((arena), 1, sizeof(T)))
#define mu_new_n(arena, T, n) ((T *)mu_arena_zalloc((arena), (n), sizeof(T)))

/**
 * Run fn(arg) when the arena is reset or destroyed; last registered first.
 * Returns: MU_NOMEM when it could not be registered (fn has not run).
 */
MU_NODISCARD enum mu_rc mu_defer(struct mu_arena *a, void (*fn)(void *arg), void *arg);
/** Close `fd` when the arena goes. On MU_NOMEM the descriptor is closed at once. */
MU_NODISCARD enum mu_rc mu_defer_close(struct mu_arena *a, int fd);

/** Copy, NUL-terminated behind the last byte. Returns {NULL,0} when out of memory. */
struct mu_str mu_str_dup(struct mu_arena *a, struct mu_str s);
/** Copy in lower case, NUL-terminated. */
struct mu_str mu_str_dup_lower(struct mu_arena *a, struct mu_str s);
/** `n` pieces joined, NUL-terminated. */
struct mu_str mu_str_cat_n(struct mu_arena *a, const struct mu_str *parts, size_t n);
#define mu_str_cat(arena, ...)                                                                     \
    mu_str_cat_n((arena), (const struct mu_str[]){ __VA_ARGS__ },                                  \
                 sizeof((const struct mu_str[]){ __VA_ARGS__ }) / sizeof(struct mu_str))
/** printf into the arena, NUL-terminated. Returns {NULL,0} when out of memory. */
struct mu_str mu_fmt(struct mu_arena *a, const char *fmt, ...) MU_PRINTF(2, 3);
/** A NUL-terminated C string of `s` (always a copy). NULL when out of memory. */
const char *mu_cstr(struct mu_arena *a, struct mu_str s);

#endif
