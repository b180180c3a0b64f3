/*
 * stack: address ranges for fibers and big stacks. Each has a guard page at its low end, so an
 * overrun is a fault and not somebody else's data. Pages are committed when first touched and read
 * as zeros until then; that is how a deep excursion is found without a system call: a few words
 * beyond the mark are read, and any that is not zero betrays it. Words of a frame may be zero or
 * skipped, so several places are looked at; one that is missed costs memory until the stack is used
 * again, never correctness.
 */
#include <engine/sanitize.h>

#include <sys/mman.h>
#include <unistd.h>

enum { PEEK_STRIDE = 8192, PEEKS = 4 };

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) & ~(unit - 1);
}

bool mu_stack_map(struct mu_stack *s, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t total = round_up(size, page) + page;
    char *p = mmap(NULL, total, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (p == MAP_FAILED)
        return false;
    if (mprotect(p, page, PROT_NONE) != 0) {
        munmap(p, total);
        return false;
    }
    *s = (struct mu_stack){ .base = p, .size = total, .guard = page };
    mu_san_stack_mapped(s);
    return true;
}

void mu_stack_unmap(struct mu_stack *s)
{
    struct mu_stack copy = *s; /* *s may lie on the stack that goes */

    mu_san_stack_unmapped(&copy);
    munmap(copy.base, copy.size);
}

void mu_stack_set_mark(struct mu_stack *s, const char *top, size_t keep)
{
    size_t kept = round_up((size_t)(s->base + s->size - top) + keep, s->guard);

    /* One page of room below the mark, so that there is something to peek at. */
    s->mark = kept + 2 * s->guard <= s->size ? s->base + s->size - kept : NULL;
}

MU_NO_ASAN MU_NO_TSAN bool mu_stack_is_deep(const struct mu_stack *s)
{
    const char *at = s->mark;
    const char *low = s->base + s->guard;
    uint64_t seen = 0;

    if (!at || !mu_san_may_peek())
        return false;
    for (int i = 0; i < PEEKS && at - low >= 1024; i++, at -= PEEK_STRIDE) {
        const volatile uint64_t *w = (const volatile uint64_t *)(const void *)at;

        seen |= w[-1] | w[-2] | w[-3] | w[-4] | w[-120] | w[-121] | w[-122] | w[-123];
    }
    return seen != 0;
}

void mu_stack_trim(const struct mu_stack *s)
{
    char *low = s->base + s->guard;

    if (s->mark)
        madvise(low, (size_t)(s->mark - low), MADV_DONTNEED);
}
