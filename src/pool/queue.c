/*
 * queue: a request waits for a process. In each thread whose requests wait there is one station, which
 * listens to a bell of the board that it may share with others. When it rings the station looks which
 * of its requests have had their turn. It is there only while somebody waits. A second is the longest that anybody sleeps, so a ring that was lost with its ringer costs
 * no more than that.
 *
 * A client that has stopped sending is taken for gone while its request waits: nothing was begun for
 * it. (HTTP allows to finish sending and go on reading; a request that has its process is not cut
 * short for that.)
 */
#include "pool/bell.h"
#include "pool/keeper.h"
#include "pool/web.h"

#include <engine/reactor.h>
#include <muster/clock.h>
#include <muster/log.h>
#include <muster/str.h>
#include <server/exchange.h>
#include <unistd.h>

enum { SLEEP_MAX_MS = 1000 };

/** A request that waits. */
struct waiter {
    struct mu_list link;
    struct mu_pool *pool;
    struct mu_ticket ticket;
    struct mu_wake wake; /* its turn, or its client's end */
};

/** Of the calling thread. */
static _Thread_local struct {
    struct mu_io io; /* listens */
    struct mu_list waiters;
    uint32_t pid; /* 0: who_am_i() has not been asked */
    uint8_t bell;
    bool is_open;
} station;

static bool is_closed(struct mu_pool *p)
{
    return atomic_load(&p->board->is_closed) != 0;
}

static void on_ring(struct mu_io *io, unsigned events)
{
    (void)events;
    mu_bell_hear(io->fd, mu_keeper.bells[station.bell], mu_keeper.ringers[station.bell]);
    MU_LIST_FOR(at, &station.waiters) {
        struct waiter *w = MU_CONTAINER_OF(at, struct waiter, link);

        if (!mu_board_waits(w->pool->board, &w->ticket) || is_closed(w->pool))
            mu_wake_raise(&w->wake);
    }
}

/* A process was granted to a ticket by this thread itself. */
static bool on_grant(const struct mu_board *b, const struct mu_ticket *t)
{
    MU_LIST_FOR(link, &station.waiters) {
        struct waiter *w = MU_CONTAINER_OF(link, struct waiter, link);

        if (w->pool->board == b && w->ticket.at == t->at && w->ticket.word == t->word) {
            mu_wake_raise(&w->wake);
            return true;
        }
    }
    return false;
}

static struct mu_board_who who_am_i(void)
{
    static _Atomic uint32_t next;

    if (!station.pid) { /* once: no web child forks a web child */
        station.pid = (uint32_t)getpid();
        station.bell = (uint8_t)((station.pid + atomic_fetch_add(&next, 1)) % MU_POOL_BELLS);
        mu_list_init(&station.waiters);
        mu_board_own_waiters(on_grant);
    }
    return (struct mu_board_who){ .pid = station.pid, .bell = station.bell };
}

static bool open_station(void)
{
    int fd;

    if (station.is_open)
        return true;
    fd = mu_bell_listen(mu_keeper.bells[station.bell]);
    if (fd < 0)
        return false;
    if (mu_level_watch(mu_reactor_self(), &station.io, fd, on_ring) != MU_OK) {
        close(fd);
        return false;
    }
    station.is_open = true;
    return true;
}

static void close_station(void)
{
    if (!station.is_open || !mu_list_empty(&station.waiters))
        return;
    mu_io_close(&station.io);
    station.is_open = false;
}

/* ---- refusals ---- */

static enum mu_rc refuse(struct mu_pool *p, struct mu_req *r, enum mu_rc why, const char *text,
                         enum mu_status *status)
{
    int64_t seconds = (p->conf->queue_timeout_ms + 999) / 1000;
    struct mu_str value = mu_fmt(r->arena, "%lld", (long long)seconds);

    *status = MU_503_SERVICE_UNAVAILABLE;
    if (value.p)
        (void)!mu_headers_set(r->arena, &r->out_always, MU_S("Retry-After"), value);
    MU_LOG(&r->log, "pool", MU_LOG_ERR, "MU0960", "pool %s: %s; answered 503", p->name, text);
    return why;
}

static enum mu_rc gone(struct mu_pool *p, struct mu_req *r)
{
    atomic_fetch_add_explicit(&p->board->counts.left, 1, memory_order_relaxed);
    MU_LOG(&r->log, "pool", MU_LOG_INFO, "MU0961",
           "pool %s: the client left the queue; its request was not begun", p->name);
    return MU_GONE;
}

/* ---- waiting ---- */

static void poke(void)
{
    (void)!send(mu_keeper.poker_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A process that nothing was sent to. */
static void hand_on(struct mu_board *b, struct mu_board_who who, const struct mu_claim *c)
{
    atomic_fetch_sub_explicit(&b->counts.requests, 1, memory_order_relaxed);
    if (mu_board_release(b, who, c, MU_SLOT_IDLE) == MU_SLOT_SPENT)
        poke();
}

/* Until it is our turn, or there is no sense in waiting any more. The ticket is gone afterwards. */
static enum mu_rc wait_turn(struct waiter *w, struct mu_exchange *x, int64_t deadline_ms,
                            struct mu_claim *c)
{
    struct mu_board *b = w->pool->board;
    struct mu_board_who who = who_am_i();

    for (;;) {
        struct mu_wait_item item = { .wake = &w->wake };
        int64_t until = mu_now_ms() + SLEEP_MAX_MS;
        enum mu_rc waited = mu_wait(&item, 1, until < deadline_ms ? until : deadline_ms);
        enum mu_rc rc = mu_board_look(b, who, &w->ticket, c);

        if (rc == MU_OK && mu_now_ms() > deadline_ms) { /* it was looked at too late */
            hand_on(b, who, c);
            return MU_TIMEOUT;
        }
        if (rc != MU_AGAIN)
            return rc == MU_OK ? MU_OK : MU_NOENT;
        if (waited == MU_TIMEOUT)
            mu_board_match(b, who.pid); /* whoever should have done it may have died */
        if (waited == MU_GONE || !mu_exchange_has_client(x) || is_closed(w->pool) ||
            mu_now_ms() >= deadline_ms) {
            mu_board_leave(b, who, &w->ticket);
            if (waited == MU_GONE || !mu_exchange_has_client(x))
                return MU_GONE;
            return is_closed(w->pool) ? MU_DENIED : MU_TIMEOUT;
        }
    }
}

static enum mu_rc join(struct waiter *w, struct mu_req *r, int64_t deadline_ms, struct mu_claim *c)
{
    struct mu_exchange *x = mu_exchange_of(r);
    enum mu_rc rc;

    (void)who_am_i(); /* the bell, before the station opens at it */
    if (!open_station())
        return MU_NOMEM;
    rc = mu_board_enqueue(w->pool->board, who_am_i(), (uint32_t)w->pool->conf->queue_length,
                          mu_now_ms(), &w->ticket);
    if (rc == MU_OK) {
        mu_wake_init(&w->wake);
        mu_list_append(&station.waiters, &w->link);
        x->client_ends = &w->wake;
        if (!mu_board_waits(w->pool->board, &w->ticket)) /* it was granted on the way */
            mu_wake_raise(&w->wake);
        if (w->pool->conf->manager != MU_POOL_STATIC) /* which has all it can have */
            poke();
        rc = wait_turn(w, x, deadline_ms, c);
        x->client_ends = NULL;
        mu_list_remove(&w->link);
    }
    close_station();
    return rc;
}

static enum mu_rc wait_in_queue(struct mu_held *h, struct mu_req *r, enum mu_status *status)
{
    struct mu_pool *p = h->pool;
    struct waiter w = { .pool = p };
    int64_t begun_ms = mu_now_ms();
    int64_t deadline_ms = begun_ms + p->conf->queue_timeout_ms - h->waited_ms;
    enum mu_rc rc = join(&w, r, deadline_ms, &h->claim);

    h->waited_ms += mu_now_ms() - begun_ms;
    switch (rc) {
    case MU_OK:
        return MU_OK;
    case MU_GONE:
        return gone(p, r);
    case MU_LIMIT:
        return refuse(p, r, rc, "its queue is full (QueueLength)", status);
    case MU_TIMEOUT:
        atomic_fetch_add_explicit(&p->board->counts.late, 1, memory_order_relaxed);
        return refuse(p, r, rc, "no process became free within QueueTimeout", status);
    case MU_DENIED:
        return refuse(p, r, rc, "it was stopped", status);
    default:
        return refuse(p, r, rc, "there is no memory to wait in its queue", status);
    }
}

/* For the supervisor's time limits and for people. */
static void describe(const struct mu_held *h, const struct mu_req *r)
{
    struct mu_slot_info *i = &h->pool->board->info[h->claim.slot];

    atomic_store(&i->begun_ms, mu_now_ms());
    atomic_fetch_add(&i->requests, 1);
    mu_board_put_text(i->request, MU_BOARD_REQUEST, r->request_line);
    mu_board_put_text(i->script, MU_BOARD_SCRIPT, r->filename);
    mu_board_put_text(i->client, MU_BOARD_CLIENT, r->peer->client_ip);
}

enum mu_rc mu_pool_take(struct mu_held *h, struct mu_req *r, enum mu_status *status)
{
    struct mu_pool *p = h->pool;
    enum mu_rc rc;

    if (is_closed(p))
        return refuse(p, r, MU_DENIED, "it is stopped", status);
    rc = mu_board_claim(p->board, who_am_i(), &h->claim);
    if (rc != MU_OK) {
        if (!mu_exchange_has_client(mu_exchange_of(r)))
            return gone(p, r);
        rc = wait_in_queue(h, r, status);
        if (rc != MU_OK)
            return rc;
        /* It may have left in this very moment. */
        if (!mu_exchange_has_client(mu_exchange_of(r))) {
            hand_on(p->board, who_am_i(), &h->claim);
            return gone(p, r);
        }
    }
    describe(h, r);
    return MU_OK;
}

void mu_pool_give_back(const struct mu_held *h, enum mu_slot_state to)
{
    struct mu_board *b = h->pool->board;
    struct mu_slot_info *i = &b->info[h->claim.slot];
    int64_t most = h->pool->conf->max_requests;

    if (to == MU_SLOT_IDLE && most && atomic_load(&i->requests) >= (uint64_t)most)
        to = MU_SLOT_SPENT;
    atomic_store(&i->ended_ms, mu_now_ms());
    to = mu_board_release(b, who_am_i(), &h->claim, to);
    if (to == MU_SLOT_DOUBT || to == MU_SLOT_SPENT)
        poke();
}
