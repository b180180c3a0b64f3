/*
 * limits: what may take only so long. The supervisor measures by its own clock: a word that says the
 * same as when it was last looked at has stood for that time at least. When a child says that a
 * request began between two looks, that is believed, since it lies between the two; anything else
 * is not. A request that is slow is written down once, with what the kernel knows of its process; one
 * that takes too long ends with it.
 */
#include "pool/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <muster/log.h>
#include <muster/str.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
    LOOK_MIN_MS = 20,
    LOOK_MAX_MS = 1000,
    PROBE_LOOK_MS = 100,
    RESERVED_MS = 5000, /* between a grant and its owner's answer */
    CUT_GRACE_MS = 500, /* between SIGTERM and SIGKILL for a process that took too long */
};

void mu_pool_open_slow_log(struct mu_pool *p)
{
    struct mu_config *c = mu_keeper.env.config;
    struct mu_str err = MU_STR_NULL;

    p->slow = (struct mu_logout){ .kind = MU_LOGOUT_NONE };
    if (p->conf->slow_log.n &&
        mu_logout_open(c->arena, p->conf->slow_log, c->server_root, &p->slow, &err) != MU_OK) {
        p->slow = (struct mu_logout){ .kind = MU_LOGOUT_NONE };
        MU_LOG(NULL, "pool", MU_LOG_ERR, "MU0920",
               "pool %s: SlowRequestLog: %.*s; slow requests go to the error log", p->name,
               MU_FMT(err));
    }
}

/* ---- what is it doing? ---- */

static void add_file(struct mu_buf *b, pid_t pid, const char *what)
{
    char path[64], text[2048];
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, sizeof(text));
    if (fd >= 0)
        close(fd);
    while (n > 0 && (text[n - 1] == '\n' || !text[n - 1]))
        n--;
    if (n <= 0)
        return;
    mu_buf_addf(b, "  %s: ", what);
    for (ssize_t i = 0; i < n; i++) {
        if (text[i] == '\n')
            mu_buf_add(b, MU_S("\n    "));
        else
            mu_buf_addc(b, text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?');
    }
    mu_buf_addc(b, '\n');
}

/* The request that children say it has. Texts may be torn, never wrong for longer than a moment. */
struct request {
    char line[MU_BOARD_REQUEST * 8 + 1], script[MU_BOARD_SCRIPT * 8 + 1],
        client[MU_BOARD_CLIENT * 8 + 1];
};

static void get_request(const struct mu_proc *x, struct request *r)
{
    const struct mu_slot_info *i = &x->pool->board->info[x->slot];

    mu_board_get_text(i->request, MU_BOARD_REQUEST, r->line);
    mu_board_get_text(i->script, MU_BOARD_SCRIPT, r->script);
    mu_board_get_text(i->client, MU_BOARD_CLIENT, r->client);
}

static void write_slow(struct mu_proc *x, int64_t ms)
{
    struct mu_buf b = { 0 };
    struct request r;
    char when[40];
    struct tm tm;
    time_t now = time(NULL);

    get_request(x, &r);
    localtime_r(&now, &tm);
    strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S %z", &tm);
    mu_buf_addf(&b, "[%s] pool %s pid %d %lld.%03lld s client %s \"%s\" script %s\n", when,
                x->pool->name, (int)x->pid, (long long)(ms / 1000), (long long)(ms % 1000),
                r.client, r.line, r.script);
    /* Those that this kernel, and this server's rights, show. */
    add_file(&b, x->pid, "syscall");
    add_file(&b, x->pid, "wchan");
    add_file(&b, x->pid, "stack");
    if (x->pool->slow.kind != MU_LOGOUT_NONE && !b.is_failed)
        mu_logout_write(&x->pool->slow, MU_LOG_NOTICE, mu_buf_str(&b));
    else if (!b.is_failed)
        MU_LOG(NULL, "pool", MU_LOG_WARN, "MU0921", "slow request: %.*s", (int)b.n - 1, b.p);
    mu_buf_fini(&b);
}

/* ---- time ---- */

/* Since when the slot says what it says. A request that nobody waits for any more goes on. */
static void measure(struct mu_proc *x, uint64_t word, int64_t now_ms)
{
    const struct mu_slot_info *i = &x->pool->board->info[x->slot];
    enum mu_slot_state was = mu_board_state_of(x->seen_word), is = mu_board_state_of(word);
    int64_t begun = atomic_load(&i->begun_ms);

    if (x->seen_word == word)
        return;
    x->seen_word = word;
    if (was == MU_SLOT_BUSY && is == MU_SLOT_DOUBT)
        return;
    x->seen_ms = now_ms;
    if (is == MU_SLOT_BUSY && begun > x->pool->looked_ms && begun < now_ms)
        x->seen_ms = begun;
}

static void cut(struct mu_proc *x, uint64_t word, int64_t ms, int64_t now_ms)
{
    struct request r;

    if (!mu_board_cut(x->pool->board, x->slot, word))
        return;
    get_request(x, &r);
    MU_LOG(NULL, "pool", MU_LOG_ERR, "MU0922",
           "pool %s: process %d is ended after %lld.%03lld s of one request (RequestTimeout): "
           "\"%s\" script %s",
           x->pool->name, (int)x->pid, (long long)(ms / 1000), (long long)(ms % 1000), r.line,
           r.script);
    mu_proc_leave(x, now_ms, CUT_GRACE_MS);
}

static void look_at_request(struct mu_proc *x, uint64_t word, int64_t now_ms)
{
    const struct mu_pool_conf *c = x->pool->conf;
    int64_t ms = now_ms - x->seen_ms;

    if (c->slow_timeout_ms && ms >= c->slow_timeout_ms && x->slow_word != word &&
        mu_board_state_of(word) == MU_SLOT_BUSY) {
        x->slow_word = word;
        write_slow(x, ms);
    }
    if (c->request_timeout_ms && ms >= c->request_timeout_ms)
        cut(x, word, ms, now_ms);
}

static void look_at_idle(struct mu_proc *x, uint64_t word, int64_t now_ms)
{
    struct mu_pool *p = x->pool;

    if (p->conf->manager != MU_POOL_ONDEMAND || now_ms - x->seen_ms < p->conf->idle_timeout_ms)
        return;
    if (mu_board_word(p->board, x->slot) == word &&
        mu_board_swap(p->board, x->slot, MU_SLOT_IDLE, MU_SLOT_LEAVING))
        mu_proc_leave(x, now_ms, mu_pool_grace_ms(p));
}

/* Whoever it is kept for does not come: is stopped, or was never there. Nothing was sent to it. */
static void look_at_reserved(struct mu_proc *x, uint64_t word, int64_t now_ms)
{
    if (now_ms - x->seen_ms >= RESERVED_MS &&
        mu_board_mend(x->pool->board, x->slot, word, MU_SLOT_IDLE))
        mu_board_match(x->pool->board, 0);
}

static void look_at_start(struct mu_proc *x, int64_t now_ms)
{
    if (!x->pool->conf || now_ms - x->started_ms < x->pool->conf->start_timeout_ms)
        return;
    MU_LOG(NULL, "pool", MU_LOG_ERR, "MU0923",
           "pool %s: process %d did not accept a connection within StartTimeout (%lld s); it must "
           "speak FastCGI on descriptor 0",
           x->pool->name, (int)x->pid, (long long)(x->pool->conf->start_timeout_ms / 1000));
    (void)mu_pool_failed(x->pool, now_ms);
    mu_proc_leave(x, now_ms, CUT_GRACE_MS);
}

static void look_at(struct mu_proc *x, int64_t now_ms)
{
    uint64_t word = mu_board_word(x->pool->board, x->slot);
    enum mu_slot_state s = mu_board_state_of(word);

    if (x->state == MU_PROC_STARTING) {
        look_at_start(x, now_ms);
    } else if (x->state == MU_PROC_SERVING) {
        measure(x, word, now_ms);
        if (s == MU_SLOT_RESERVED)
            look_at_reserved(x, word, now_ms);
        if (!x->pool->conf)
            return;
        if (s == MU_SLOT_BUSY || s == MU_SLOT_DOUBT)
            look_at_request(x, word, now_ms);
        else if (s == MU_SLOT_IDLE)
            look_at_idle(x, word, now_ms);
    }
}

static int64_t within(int64_t ms, int64_t next)
{
    if (ms < LOOK_MIN_MS)
        ms = LOOK_MIN_MS;
    return ms < next ? ms : next;
}

int64_t mu_pool_limits(struct mu_pool *p, int64_t now_ms)
{
    int64_t next = LOOK_MAX_MS;

    MU_PROC_FOR(x, p)
    {
        bool is_asked =
            x->state == MU_PROC_STARTING ||
            (x->state == MU_PROC_SERVING && mu_board_state(p->board, x->slot) == MU_SLOT_DOUBT);

        if (is_asked) {
            mu_proc_probe(x, now_ms); /* where it could not be sent before */
            mu_proc_probe_look(x, now_ms);
            next = PROBE_LOOK_MS;
        }
        look_at(x, now_ms);
    }
    p->looked_ms = now_ms;
    if (p->conf && p->conf->request_timeout_ms)
        next = within(p->conf->request_timeout_ms / 4, next);
    if (p->conf && p->conf->slow_timeout_ms)
        next = within(p->conf->slow_timeout_ms / 4, next);
    if (p->conf && p->conf->manager == MU_POOL_ONDEMAND)
        next = within(p->conf->idle_timeout_ms / 4, next);
    if (p->hold_until_ms > now_ms)
        next = within(p->hold_until_ms - now_ms, next);
    return now_ms + next;
}
