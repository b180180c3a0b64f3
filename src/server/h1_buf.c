/*
 * h1_buf: where a connection's input lies. Reading uses a buffer lent by the reactor; what is no whole
 * request yet moves to the heap, sized to need, and the lent buffer goes back, so that thousands of
 * dribbling clients cost little. What lies on the heap is counted for the process, and
 * RequestHeadMemory bounds it: above that a head may not go on growing.
 */
#include <server/h1_conn.h>

#include <base/fault.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    SMALL_HEAD = 1024, /* so much a connection may always keep, however many there are */
    LOG_EVERY_MS = 10000,
};

/* Relaxed, both: a sum for a bound that need not be exact, and whose turn it is to log. */
static _Atomic uint64_t on_heap;
static _Atomic int64_t logged_ms;
static _Atomic uint32_t refused;

void mu_h1_drop_buf(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);

    if (c->host->is_single)
        mu_io_expect(&c->stream.io, NULL, 0);
    if (h->buf_kind == MU_H1_LENT) {
        mu_reactor_buf_give_back(c->host->reactor, h->buf);
    } else if (h->buf_kind == MU_H1_HEAP) {
        atomic_fetch_sub_explicit(&on_heap, h->cap, memory_order_relaxed);
        free(h->buf);
    }
    h->buf = NULL;
    h->buf_kind = MU_H1_NO_BUF;
    h->cap = h->start = h->n = 0;
}

/** Instead of the present buffer, use `p`, which holds `n` bytes of input. */
static void use(struct mu_conn *c, char *p, uint32_t n, size_t cap, enum mu_h1_buf kind)
{
    struct mu_h1 *h = mu_h1_of(c);

    mu_h1_drop_buf(c);
    h->buf = p;
    h->buf_kind = (uint8_t)kind;
    h->cap = (uint32_t)cap;
    h->n = n;
}

bool mu_h1_buf_set(struct mu_conn *c, const char *in, uint32_t n, size_t cap)
{
    char *p = mu_alloc_fails() ? NULL : malloc(cap);

    if (!p)
        return false;
    memcpy(p, in, n);
    use(c, p, n, cap, MU_H1_HEAP);
    atomic_fetch_add_explicit(&on_heap, cap, memory_order_relaxed);
    return true;
}

bool mu_h1_buf_to_heap(struct mu_conn *c, size_t cap)
{
    const struct mu_h1 *h = mu_h1_of(c);

    return mu_h1_buf_set(c, h->buf + h->start, h->n - h->start, cap);
}

/** Take the reactor's buffer, with what a smaller one of our own holds. */
static bool to_lent(struct mu_conn *c)
{
    const struct mu_h1 *h = mu_h1_of(c);
    uint32_t n = h->n - h->start;
    size_t cap;
    char *p = mu_reactor_buf_borrow(c->host->reactor, &cap);

    if (!p)
        return false;
    assert(n < cap);
    if (n > 0)
        memcpy(p, h->buf + h->start, n);
    use(c, p, n, cap, MU_H1_LENT);
    return true;
}

bool mu_h1_make_room(struct mu_conn *c)
{
    struct mu_h1 *h = mu_h1_of(c);
    uint32_t n = h->n - h->start;

    if (h->buf_kind != MU_H1_LENT && n < 8 * 1024)
        return to_lent(c);
    if (h->start > 0 && h->cap - h->n < h->cap / 2) {
        memmove(h->buf, h->buf + h->start, n);
        h->start = 0;
        h->n = n;
    }
    if (h->n < h->cap)
        return true;
    return h->cap < MU_H1_HEAD_MAX && mu_h1_buf_to_heap(c, (size_t)h->cap * 2);
}

static void log_refusal(const struct mu_core_conf *core, uint64_t sum)
{
    int64_t before = atomic_load_explicit(&logged_ms, memory_order_relaxed), now = mu_now_ms();

    atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);
    if ((before != 0 && now - before < LOG_EVERY_MS) ||
        !atomic_compare_exchange_strong_explicit(&logged_ms, &before, now, memory_order_relaxed,
                                                 memory_order_relaxed))
        return;
    MU_LOG(
        NULL, "core", MU_LOG_WARN, "MU0542",
        "unfinished request heads take %llu bytes, RequestHeadMemory is %lld: %u requests whose heads go on growing "
        "were answered 503 since this was last said. Clients that send slowly and much are an attack, or the limit is too low",
        (unsigned long long)sum, (long long)core->head_memory,
        atomic_exchange_explicit(&refused, 0, memory_order_relaxed));
}

bool mu_h1_buf_may_grow(struct mu_conn *c, size_t cap)
{
    const struct mu_h1 *h = mu_h1_of(c);
    const struct mu_core_conf *core = mu_core_of(c->host->config->main->base);
    uint64_t sum = atomic_load_explicit(&on_heap, memory_order_relaxed);

    if (cap <= SMALL_HEAD || core->head_memory == 0)
        return true;
    if (h->buf_kind == MU_H1_HEAP)
        cap = 0; /* it is counted already */
    if (sum + cap <= (uint64_t)core->head_memory)
        return true;
    log_refusal(core, sum);
    return false;
}
