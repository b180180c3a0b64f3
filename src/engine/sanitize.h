/* What the sanitizers and valgrind must be told about stacks. Costs nothing where none of them is
 * built in. */
#ifndef MU_ENGINE_SANITIZE_H
#define MU_ENGINE_SANITIZE_H

#include <engine/internal.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MU_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define MU_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(MU_ASAN)
#define MU_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__) && !defined(MU_TSAN)
#define MU_TSAN 1
#endif

#ifdef MU_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define MU_NO_ASAN __attribute__((no_sanitize("address")))
#else
#define MU_NO_ASAN
#endif
#ifdef MU_TSAN
#include <sanitizer/tsan_interface.h>
#define MU_NO_TSAN __attribute__((no_sanitize("thread")))
#else
#define MU_NO_TSAN
#endif
#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define MU_VALGRIND 1
#endif
#endif

#if defined(MU_ASAN) || defined(MU_TSAN)
enum { MU_STACK_SIZE = 512 * 1024 }; /* instrumented frames are several times as large */
#else
enum { MU_STACK_SIZE = 128 * 1024 };
#endif

/**
 * Just before leaving `from` for `to`; `is_last`: what runs on `from` has ended, its fake stack may
 * go.
 */
MU_NO_ASAN static inline void mu_san_leave(struct mu_ctx *from, struct mu_ctx *to, bool is_last)
{
#ifdef MU_ASAN
    from->fake = NULL;
    __sanitizer_start_switch_fiber(is_last ? NULL : &from->fake, to->bottom, to->size);
#endif
#ifdef MU_TSAN
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
    (void)from;
    (void)to;
    (void)is_last;
}

/**
 * Just after arriving at `at`; the bounds of the stack that was left are noted in `left` (may be
 * NULL).
 */
MU_NO_ASAN static inline void mu_san_arrive(struct mu_ctx *at, struct mu_ctx *left)
{
#ifdef MU_ASAN
    const void *bottom;
    size_t size;

    __sanitizer_finish_switch_fiber(at->fake, &bottom, &size);
    if (left) {
        left->bottom = bottom;
        left->size = size;
    }
#endif
    (void)at;
    (void)left;
}

static inline void mu_san_ctx_init(struct mu_ctx *c, bool is_thread)
{
#ifdef MU_TSAN
    c->tsan = is_thread ? __tsan_get_current_fiber() : __tsan_create_fiber(0);
#endif
    (void)c;
    (void)is_thread;
}

static inline void mu_san_ctx_fini(struct mu_ctx *c)
{
#ifdef MU_TSAN
    __tsan_destroy_fiber(c->tsan);
#endif
    (void)c;
}

static inline void mu_san_stack_mapped(struct mu_stack *s)
{
#ifdef MU_VALGRIND
    s->valgrind_id = VALGRIND_STACK_REGISTER(s->base + s->guard, s->base + s->size);
#endif
    (void)s;
}

static inline void mu_san_stack_unmapped(struct mu_stack *s)
{
#ifdef MU_VALGRIND
    VALGRIND_STACK_DEREGISTER(s->valgrind_id);
#endif
#ifdef MU_ASAN
    ASAN_UNPOISON_MEMORY_REGION(s->base, s->size);
#endif
    (void)s;
}

/** May memory below a stack pointer be read at all? valgrind calls it undefined. */
static inline bool mu_san_may_peek(void)
{
#ifdef MU_VALGRIND
    return RUNNING_ON_VALGRIND == 0;
#else
    return true;
#endif
}

#endif
