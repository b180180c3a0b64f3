/*
 * arena: bump allocation with one owner. The arena's own struct lives in front of its first
 * block, so an arena costs one malloc; blocks grow geometrically up to 256 KiB, and what would
 * waste half a block gets a block of its own.
 *
 * Invariant: the free space is a multiple of 16 bytes long and starts at an address aligned to
 * 16. Under AddressSanitizer all free space is poisoned, cur == end, and 16 poisoned bytes follow
 * every allocation.
 */
#include <muster/arena.h>
#include <muster/str.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fault.h"

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif

#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
enum { IS_ASAN = 1, REDZONE = 16 };
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
enum { IS_ASAN = 0, REDZONE = 0 };
#endif

enum { ALIGN = 16, FIRST_DEFAULT = 4096, FIRST_MIN = 64, BLOCK_MAX = 256 * 1024 };

struct mu_arena_block {
    struct mu_arena_block *next;
    size_t size;
};

struct mu_arena_defer {
    struct mu_arena_defer *next;
    void (*fn)(void *arg);
    void *arg;
};

#define ROUND_UP(n) (((n) + ALIGN - 1) & ~(size_t)(ALIGN - 1))
#define ARENA_HEAD ROUND_UP(sizeof(struct mu_arena))
#define BLOCK_HEAD ROUND_UP(sizeof(struct mu_arena_block))

static_assert(ALIGN >= _Alignof(max_align_t), "arena memory suits any type");

static void set_space(struct mu_arena *a, char *start, size_t size)
{
    POISON(start, size);
    a->start = start;
    a->asan_cur = start;
    a->asan_end = start + size;
    a->cur = start;
    a->end = IS_ASAN ? start : start + size;
}

struct mu_arena *mu_arena_create(size_t first_block)
{
    size_t size = first_block ? first_block : FIRST_DEFAULT;
    struct mu_arena *a;

    if (size < FIRST_MIN)
        size = FIRST_MIN;
    if (size > SIZE_MAX / 4)
        return NULL;
    size = ROUND_UP(size);
    a = mu_alloc_fails() ? NULL : malloc(ARENA_HEAD + size);
    if (!a)
        return NULL;
    *a = (struct mu_arena){ .first_size = size, .next_size = 2 * size };
    set_space(a, (char *)a + ARENA_HEAD, size);
    return a;
}

static void run_defers(struct mu_arena *a)
{
    struct mu_arena_defer *d;

    while ((d = a->defers) != NULL) { /* a function may register another one */
        a->defers = d->next;
        d->fn(d->arg);
    }
}

static void free_blocks(struct mu_arena *a)
{
    struct mu_arena_block *b = a->blocks;

    a->blocks = NULL;
    while (b) {
        struct mu_arena_block *next = b->next;

        UNPOISON((char *)b + BLOCK_HEAD, b->size);
        free(b);
        b = next;
    }
}

void mu_arena_destroy(struct mu_arena *a)
{
    if (!a)
        return;
    run_defers(a);
    free_blocks(a);
    UNPOISON((char *)a + ARENA_HEAD, a->first_size);
    free(a);
}

void mu_arena_reset(struct mu_arena *a)
{
    if (MU_UNLIKELY(a->defers != NULL))
        run_defers(a);
    if (MU_UNLIKELY(a->blocks != NULL)) {
        free_blocks(a);
        a->next_size = 2 * a->first_size;
    }
    a->used_prior = 0;
    set_space(a, (char *)a + ARENA_HEAD, a->first_size);
}

size_t mu_arena_used(const struct mu_arena *a)
{
    const char *cur = IS_ASAN ? a->asan_cur : a->cur;

    return a->used_prior + (size_t)(cur - a->start);
}

static struct mu_arena_block *block_new(struct mu_arena *a, size_t size)
{
    struct mu_arena_block *b = mu_alloc_fails() ? NULL : malloc(BLOCK_HEAD + size);

    if (!b)
        return NULL;
    b->next = a->blocks;
    b->size = size;
    a->blocks = b;
    return b;
}

static void *take(struct mu_arena *a, size_t n, size_t full)
{
    char **cur = IS_ASAN ? &a->asan_cur : &a->cur;
    char *end = IS_ASAN ? a->asan_end : a->end;
    char *p = *cur;

    if (full > (size_t)(end - p))
        return NULL;
    *cur = p + full;
    UNPOISON(p, n);
    return p;
}

void *mu_arena_alloc_slow(struct mu_arena *a, size_t n)
{
    size_t full;
    struct mu_arena_block *b;
    void *p;

    if (n > SIZE_MAX / 2)
        return NULL;
    if (n == 0)
        n = 1;
    full = ROUND_UP(n) + REDZONE;
    p = take(a, n, full);
    if (p)
        return p;
    if (full > a->next_size / 2) { /* a block of its own; the current one goes on being used */
        b = block_new(a, full);
        if (!b)
            return NULL;
        a->used_prior += full;
        POISON((char *)b + BLOCK_HEAD, full);
        UNPOISON((char *)b + BLOCK_HEAD, n);
        return (char *)b + BLOCK_HEAD;
    }
    b = block_new(a, a->next_size);
    if (!b)
        return NULL;
    a->used_prior = mu_arena_used(a);
    set_space(a, (char *)b + BLOCK_HEAD, b->size);
    if (a->next_size < BLOCK_MAX)
        a->next_size *= 2;
    return take(a, n, full);
}

enum mu_rc mu_defer(struct mu_arena *a, void (*fn)(void *arg), void *arg)
{
    struct mu_arena_defer *d = mu_arena_alloc(a, sizeof(*d));

    if (!d)
        return MU_NOMEM;
    *d = (struct mu_arena_defer){ .next = a->defers, .fn = fn, .arg = arg };
    a->defers = d;
    return MU_OK;
}

static void close_fd(void *arg)
{
    close((int)(intptr_t)arg);
}

enum mu_rc mu_defer_close(struct mu_arena *a, int fd)
{
    enum mu_rc rc = mu_defer(a, close_fd, (void *)(intptr_t)fd);

    if (rc != MU_OK)
        close(fd);
    return rc;
}

struct mu_str mu_str_dup(struct mu_arena *a, struct mu_str s)
{
    char *p = mu_arena_alloc(a, s.n + 1);

    if (!p)
        return MU_STR_NULL;
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return mu_str_n(p, s.n);
}

struct mu_str mu_str_dup_lower(struct mu_arena *a, struct mu_str s)
{
    char *p = mu_arena_alloc(a, s.n + 1);

    if (!p)
        return MU_STR_NULL;
    for (size_t i = 0; i < s.n; i++)
        p[i] = mu_lower(s.p[i]);
    p[s.n] = '\0';
    return mu_str_n(p, s.n);
}

struct mu_str mu_str_cat_n(struct mu_arena *a, const struct mu_str *parts, size_t n)
{
    size_t len = 0;
    char *p;
    char *w;

    for (size_t i = 0; i < n; i++)
        if (__builtin_add_overflow(len, parts[i].n, &len))
            return MU_STR_NULL;
    p = w = mu_arena_alloc(a, len + 1);
    if (!p)
        return MU_STR_NULL;
    for (size_t i = 0; i < n; i++) {
        if (parts[i].n)
            memcpy(w, parts[i].p, parts[i].n);
        w += parts[i].n;
    }
    *w = '\0';
    return mu_str_n(p, len);
}

struct mu_str mu_fmt(struct mu_arena *a, const char *fmt, ...)
{
    char small[512];
    va_list ap;
    int n;
    char *p;

    va_start(ap, fmt);
    n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    if (n < 0)
        return MU_STR_NULL;
    if ((size_t)n < sizeof(small))
        return mu_str_dup(a, mu_str_n(small, (size_t)n));
    p = mu_arena_alloc(a, (size_t)n + 1);
    if (!p)
        return MU_STR_NULL;
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return mu_str_n(p, (size_t)n);
}

const char *mu_cstr(struct mu_arena *a, struct mu_str s)
{
    return mu_str_dup(a, s).p;
}
