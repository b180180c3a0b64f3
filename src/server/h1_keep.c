/*
 * h1_keep: what the client has not taken of an answer whose writer must not wait for it (a worker
 * thread, or a fiber after mu_resp_spool): a list of chunks, of which the bytes that were only lent
 * move to memory and then to a temporary file. While the writer is elsewhere the reactor sends on
 * from the list, and minds the client's time; while the writer is at it (is_busy) the reactor keeps
 * away, also from what another thread does to the list on the writer's behalf.
 */
#include <server/h1_conn.h>

#include <errno.h>
#include <fcntl.h>

enum { KEEP_IN_MEMORY = 32 * 1024 /* of an answer, before there is a file */ };

uint64_t mu_h1_keep_max = UINT64_C(1) << 30;

uint64_t mu_h1_pending(const struct mu_h1_exchange *x)
{
    uint64_t total = 0;

    for (size_t i = x->out_i; x->has_pending && i < x->out_n; i++)
        total += mu_h1_chunk_len(&x->out[i]);
    return total;
}

/** What counts against the limit: room in the file that is not given back counts as well. */
static bool is_over(const struct mu_h1_exchange *x)
{
    return (x->spool.cannot_free ? x->spool.len : mu_h1_pending(x)) > mu_h1_keep_max;
}

enum mu_rc mu_h1_append(struct mu_h1_exchange *x, const struct mu_chunk *v, size_t n)
{
    size_t old = x->has_pending ? x->out_n - x->out_i : 0;
    struct mu_chunk *out = x->out;

    if (old + n > x->out_cap) {
        x->out_cap = 2 * (old + n);
        out = mu_arena_alloc(x->x.req.arena, x->out_cap * sizeof(*out));
    }
    if (!out)
        return MU_NOMEM;
    if (old > 0)
        memmove(out, x->out + x->out_i, old * sizeof(*out));
    memcpy(out + old, v, n * sizeof(*out));
    x->out = out;
    x->out_n = old + n;
    x->out_i = 0;
    x->has_pending = true;
    return MU_OK;
}

/** A descriptor that was only lent. */
static enum mu_rc keep_file(struct mu_h1_exchange *x, struct mu_chunk *c)
{
    c->fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
    return c->fd < 0 ? MU_EIO : mu_defer_close(x->x.req.arena, c->fd);
}

static bool fits_memory(const struct mu_h1_exchange *x, const struct mu_chunk *c)
{
    return c->kind == MU_CHUNK_MEM && c->mem.n <= KEEP_IN_MEMORY - x->kept_n;
}

static enum mu_rc keep_mem(struct mu_h1_exchange *x, struct mu_chunk *c)
{
    struct mu_chunk f = { .kind = MU_CHUNK_FILE, .len = c->mem.n };
    enum mu_rc rc;

    if (fits_memory(x, c)) {
        if (!x->kept)
            x->kept = mu_arena_alloc(x->x.req.arena, KEEP_IN_MEMORY);
        if (!x->kept)
            return MU_NOMEM;
        c->mem.p = memcpy(x->kept + x->kept_n, c->mem.p, c->mem.n);
        x->kept_n += (uint32_t)c->mem.n;
        return MU_OK;
    }
    x->kept_n = KEEP_IN_MEMORY; /* what follows goes to the file too, until all is out */
    rc = mu_spool_append(&x->spool, c->mem, &f.off);
    f.fd = x->spool.fd;
    *c = f;
    return rc;
}

/** Do they lie side by side, so that one chunk says it? */
static bool joins(const struct mu_h1_exchange *x, struct mu_chunk *a, const struct mu_chunk *b)
{
    if (a->kind != b->kind || !a->is_exchange_owned || !b->is_exchange_owned)
        return false;
    if (a->kind == MU_CHUNK_MEM && a->mem.p + a->mem.n == b->mem.p)
        a->mem.n += b->mem.n;
    else if (a->kind == MU_CHUNK_FILE && a->fd == x->spool.fd && b->fd == a->fd &&
             a->off + a->len == b->off)
        a->len += b->len;
    else
        return false;
    return true;
}

/** The list stays short, however many pieces are written. */
static void join_pending(struct mu_h1_exchange *x)
{
    size_t to = x->out_i;

    for (size_t i = x->out_i + 1; i < x->out_n; i++) {
        if (!joins(x, &x->out[to], &x->out[i]))
            x->out[++to] = x->out[i];
    }
    x->out_n = to + 1;
}

struct keep_call {
    struct mu_h1_exchange *x;
    bool is_anew; /**< nothing was pending before: the file's room can be used again */
    enum mu_rc rc;
    int err;
};

/** What was lent becomes the exchange's own. May wait for the disk. */
static void keep_run(void *arg)
{
    struct keep_call *k = arg;
    struct mu_h1_exchange *x = k->x;

    if (k->is_anew)
        mu_spool_clear(&x->spool);
    for (size_t i = x->out_i; i < x->out_n && k->rc == MU_OK; i++) {
        struct mu_chunk *c = &x->out[i];

        if (!c->is_exchange_owned && mu_h1_chunk_len(c) > 0)
            k->rc = c->kind == MU_CHUNK_FILE ? keep_file(x, c) : keep_mem(x, c);
        c->is_exchange_owned = true;
    }
    k->err = errno;
    join_pending(x);
    if (x->out[x->out_i].kind == MU_CHUNK_FILE && x->out[x->out_i].fd == x->spool.fd)
        mu_spool_free(&x->spool, x->out[x->out_i].off);
}

static bool needs_disk(const struct mu_h1_exchange *x, bool is_anew)
{
    if (is_anew && x->spool.len >= MU_SPOOL_STEP)
        return true;
    for (size_t i = x->out_i; i < x->out_n; i++) {
        if (!x->out[i].is_exchange_owned && !fits_memory(x, &x->out[i]))
            return true;
    }
    return false;
}

static enum mu_rc keep(struct mu_h1_exchange *x, bool is_anew)
{
    struct keep_call k = { .x = x, .is_anew = is_anew, .rc = MU_OK };

    if (needs_disk(x, is_anew))
        mu_offload_file(keep_run, &k);
    else
        keep_run(&k);
    if (k.rc != MU_OK)
        MU_LOG(
            &x->x.req.log, "core", MU_LOG_ERR, "MU0533",
            "no room in memory or the temporary folder for what the client does not take (%s); its answer is cut off",
            strerror(k.err));
    return k.rc;
}

/** Is it known that the socket takes nothing? */
static bool is_known_full(const struct mu_h1_exchange *x)
{
    const struct mu_conn *c = x->x.conn;

    return c->is_watched && !(c->stream.io.ready & MU_WRITABLE);
}

/** As much of the list as goes now; all that is above the limit is waited for. */
static enum mu_rc send_pending(struct mu_h1_exchange *x)
{
    enum mu_rc rc = MU_OK;

    while (x->has_pending && rc == MU_OK) {
        if (is_over(x)) {
            rc = mu_h1_send_down(x, mu_h1_keep_max);
        } else {
            if (is_known_full(x))
                return MU_AGAIN;
            rc = mu_h1_send_slice(x, x->out, x->out_n, &x->out_i);
        }
        x->has_pending = x->out_i < x->out_n;
    }
    return rc;
}

enum mu_rc mu_h1_send_or_leave(struct mu_h1_exchange *x, struct mu_chunk *v, size_t n)
{
    size_t i = 0;
    enum mu_rc rc = send_pending(x);
    bool is_anew = !x->has_pending;

    while (i < n && rc == MU_OK)
        rc = mu_h1_send_slice(x, v, n, &i);
    if (rc != MU_AGAIN)
        return rc;
    if (is_anew)
        x->kept_n = 0;
    rc = mu_h1_append(x, v + i, n - i);
    if (rc == MU_OK)
        rc = keep(x, is_anew);
    /* The disk may have been waited for, and room announced meanwhile to nobody. */
    if (rc == MU_OK && (x->x.conn->stream.io.ready & MU_WRITABLE))
        rc = send_pending(x);
    return rc == MU_AGAIN ? MU_OK : rc;
}

void mu_h1_sink_enter(struct mu_h1_exchange *x)
{
    x->is_busy = true;
}

void mu_h1_sink_leave(struct mu_h1_exchange *x)
{
    struct mu_conn *c = x->x.conn;

    x->is_busy = false;
    if (x->has_pending && !x->x.is_ended && !x->x.is_aborted) {
        mu_h1_of(c)->wants_turn = false;
        mu_timer_arm(&c->timer, mu_core_of(x->x.req.vhost->base)->timeout_ms);
    } else if (mu_timer_is_armed(&c->timer)) {
        mu_timer_cancel(&c->timer);
    }
}

/** The writer is elsewhere, perhaps on another thread: it learns of it when it comes back. */
static void lose(struct mu_h1_exchange *x, enum mu_rc rc)
{
    mu_timer_cancel(&x->x.conn->timer);
    x->lost = rc;
    if (x->x.fiber)
        mu_fiber_cancel(x->x.fiber);
}

void mu_h1_send_beside(struct mu_h1_exchange *x)
{
    struct mu_conn *c = x->x.conn;
    struct mu_h1 *h = mu_h1_of(c);
    uint64_t before = x->x.wire_out;
    enum mu_rc rc;

    if (x->is_busy || !x->has_pending || x->lost != MU_OK)
        return;
    rc = mu_h1_send_some(x, x->out, x->out_n, &x->out_i);
    x->has_pending = x->out_i < x->out_n;
    h->wants_turn = rc == MU_OK && x->has_pending;
    if (rc != MU_OK && rc != MU_AGAIN)
        lose(x, rc);
    else if (h->wants_turn)
        mu_timer_arm(&c->timer, 0);
    else if (!x->has_pending)
        mu_timer_cancel(&c->timer);
    else if (x->x.wire_out != before || !mu_timer_is_armed(&c->timer))
        mu_timer_arm(&c->timer, mu_core_of(x->x.req.vhost->base)->timeout_ms);
}

void mu_h1_beside_timeout(struct mu_h1_exchange *x)
{
    if (x->is_busy || !x->has_pending)
        return; /* the writer minds its own time */
    if (mu_h1_of(x->x.conn)->wants_turn)
        mu_h1_send_beside(x);
    else
        lose(x, MU_TIMEOUT);
}
