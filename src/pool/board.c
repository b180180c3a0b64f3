/*
 * board: the words of the queue and the steps between them. A slot's word is [counter:38 | pid:22 |
 * state:4]; the counter goes up with every step, so no word comes twice and a compare-and-swap can
 * only succeed on what was looked at. A ticket's word is [34 bits | bell:6 | pid:22 | state:2]; the
 * 34 bits are its place in the order while it waits, and slot and counter of the process once one
 * is granted. Between its grant and its owner's answer the process is RESERVED in the name of who
 * granted it: nothing has been sent to it, so when either of the two dies it is simply idle again.
 */
#include "pool/board.h"
#include "pool/bell.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

enum ticket_state { TICKET_FREE, TICKET_WAITING, TICKET_GRANTED };

enum {
    PID_BITS = MU_BOARD_PID_BITS,
    SLOT_BITS = 11,
    GRANT_COUNTER_BITS = 23,
    ROUNDS_MAX = MU_POOL_SLOTS, /* of a match: a scribbler must not keep anybody in it */
    TRIES_MAX = 64,             /* likewise */
};

#define PID_MASK ((UINT64_C(1) << PID_BITS) - 1)
#define SEQ_MASK ((UINT64_C(1) << 34) - 1)
#define GRANT_COUNTER_MASK ((UINT64_C(1) << GRANT_COUNTER_BITS) - 1)

static_assert(MU_POOL_SLOTS == 1 << SLOT_BITS, "a grant has room for the number of a slot");
static_assert(SLOT_BITS + GRANT_COUNTER_BITS == 34, "and for the end of its counter");
static_assert(MU_POOL_BELLS == 64, "a ticket has six bits for its bell");

static const int *ringers;
static _Thread_local bool (*own_waiters)(const struct mu_board *b, const struct mu_ticket *t);

/* ---- the memory ---- */

static struct mu_board *map(int fd)
{
    void *p = mmap(NULL, sizeof(struct mu_board), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_NORESERVE, fd, 0);

    return p == MAP_FAILED ? NULL : p;
}

struct mu_board *mu_board_create(int *fd)
{
    struct mu_board *b = NULL;
    int saved;

    *fd = memfd_create("muster-pool", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0)
        return NULL;
    if (ftruncate(*fd, (off_t)sizeof(struct mu_board)) == 0 && fcntl(*fd, F_ADD_SEALS, SEALS) == 0)
        b = map(*fd);
    if (b)
        return b;
    saved = errno;
    close(*fd);
    *fd = -1;
    errno = saved;
    return NULL;
}

struct mu_board *mu_board_adopt(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || (size_t)st.st_size != sizeof(struct mu_board) ||
        (fcntl(fd, F_GET_SEALS) & SEALS) != SEALS)
        return NULL;
    return map(fd);
}

void mu_board_unmap(struct mu_board *b)
{
    if (b)
        munmap(b, sizeof(*b));
}

void mu_board_ringers(const int *fds)
{
    ringers = fds;
}

void mu_board_own_waiters(bool (*wake)(const struct mu_board *b, const struct mu_ticket *t))
{
    own_waiters = wake;
}

/* ---- words ---- */

static uint64_t slot_next(uint64_t before, uint32_t pid, enum mu_slot_state state)
{
    return ((before >> (PID_BITS + 4)) + 1) << (PID_BITS + 4) | (pid & PID_MASK) << 4 |
           (uint64_t)state;
}

static uint64_t slot_counter(uint64_t word)
{
    return word >> (PID_BITS + 4);
}

static bool step(_Atomic uint64_t *at, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong(at, &from, to);
}

static enum ticket_state ticket_state(uint64_t word)
{
    return (enum ticket_state)(word & 3);
}

static uint32_t ticket_pid(uint64_t word)
{
    return (uint32_t)(word >> 2 & PID_MASK);
}

static uint64_t ticket_payload(uint64_t word)
{
    return word >> (2 + PID_BITS + 6);
}

static uint64_t ticket_word(uint64_t payload, struct mu_board_who who, enum ticket_state state)
{
    return payload << (2 + PID_BITS + 6) | (uint64_t)(who.bell & 63) << (2 + PID_BITS) |
           (who.pid & PID_MASK) << 2 | (uint64_t)state;
}

/* The same owner and bell. */
static uint64_t ticket_granted(uint64_t waiting, uint32_t slot, uint64_t slot_word)
{
    uint64_t owner = waiting & ((UINT64_C(1) << (2 + PID_BITS + 6)) - 4);
    uint64_t grant = slot_counter(slot_word) & GRANT_COUNTER_MASK;

    return (grant << SLOT_BITS | slot) << (2 + PID_BITS + 6) | owner | TICKET_GRANTED;
}

/* Is `a` before `b` in the order? Numbers wrap. */
static bool is_before(uint64_t a, uint64_t b)
{
    uint64_t ahead = (b - a) & SEQ_MASK;

    return ahead != 0 && ahead <= SEQ_MASK / 2;
}

static void ring(uint64_t ticket)
{
    if (ringers)
        mu_bell_ring(ringers[ticket >> (2 + PID_BITS) & 63]);
}

/* Who waits in this very thread needs no bell. */
static void tell(const struct mu_board *b, const struct mu_ticket *t)
{
    if (!own_waiters || !own_waiters(b, t))
        ring(t->word);
}

static uint32_t at_most(const _Atomic uint32_t *v, uint32_t limit)
{
    uint32_t n = atomic_load(v);

    return n < limit ? n : limit;
}

uint32_t mu_board_slots_end(struct mu_board *b)
{
    return at_most(&b->slots_end, MU_POOL_SLOTS);
}

uint32_t mu_board_tickets_end(struct mu_board *b)
{
    return at_most(&b->tickets_end, MU_POOL_TICKETS);
}

static void raise_to(_Atomic uint32_t *end, uint32_t n)
{
    uint32_t seen = atomic_load(end);

    for (unsigned i = 0; seen < n && i < TRIES_MAX; i++) {
        if (atomic_compare_exchange_strong(end, &seen, n))
            return;
    }
}

static void count(_Atomic uint64_t *c)
{
    atomic_fetch_add_explicit(c, 1, memory_order_relaxed); /* display: nothing is published by it */
}

/* ---- who comes next ---- */

/* The first that waits. MU_POOL_TICKETS: nobody. */
static uint32_t first_waiting(struct mu_board *b, uint64_t *word)
{
    uint32_t end = mu_board_tickets_end(b), first = MU_POOL_TICKETS;

    for (uint32_t i = 0; i < end; i++) {
        uint64_t w = atomic_load(&b->ticket[i]);

        if (ticket_state(w) != TICKET_WAITING)
            continue;
        if (first == MU_POOL_TICKETS || is_before(ticket_payload(w), ticket_payload(*word))) {
            first = i;
            *word = w;
        }
    }
    return first;
}

static bool has_waiting(struct mu_board *b)
{
    uint32_t end = mu_board_tickets_end(b);

    for (uint32_t i = 0; i < end; i++) {
        if (ticket_state(atomic_load(&b->ticket[i])) == TICKET_WAITING)
            return true;
    }
    return false;
}

/*
 * The first idle process: the same few serve while there is little to do, stay warm, and the others
 * can be told apart as idle.
 */
static uint32_t first_idle(struct mu_board *b, uint64_t *word)
{
    uint32_t end = mu_board_slots_end(b);

    for (uint32_t i = 0; i < end; i++) {
        *word = mu_board_word(b, i);
        if (mu_board_state_of(*word) == MU_SLOT_IDLE &&
            !atomic_load_explicit(&b->info[i].is_retired, memory_order_relaxed))
            return i;
    }
    return MU_POOL_SLOTS;
}

void mu_board_match(struct mu_board *b, uint32_t pid)
{
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        uint64_t waiting = 0, idle = 0, reserved;
        uint32_t t = first_waiting(b, &waiting);
        uint32_t s = t < MU_POOL_TICKETS ? first_idle(b, &idle) : MU_POOL_SLOTS;

        if (s == MU_POOL_SLOTS)
            return;
        reserved = slot_next(idle, pid, MU_SLOT_RESERVED);
        if (!step(&b->slot[s], idle, reserved))
            continue;
        if (step(&b->ticket[t], waiting, ticket_granted(waiting, s, reserved)))
            tell(b, &(struct mu_ticket){ .at = t, .word = waiting });
        else /* it left, or somebody else granted it one */
            (void)step(&b->slot[s], reserved, slot_next(reserved, 0, MU_SLOT_IDLE));
    }
}

/* ---- web children ---- */

static bool take(struct mu_board *b, uint32_t slot, uint64_t from, struct mu_board_who who,
                 struct mu_claim *c)
{
    uint64_t to = slot_next(from, who.pid, MU_SLOT_BUSY);

    if (!step(&b->slot[slot], from, to))
        return false;
    *c = (struct mu_claim){ .slot = slot, .word = to };
    count(&b->counts.requests);
    return true;
}

enum mu_rc mu_board_claim(struct mu_board *b, struct mu_board_who who, struct mu_claim *c)
{
    uint64_t idle;
    uint32_t s;

    if (has_waiting(b))
        return MU_AGAIN;
    while ((s = first_idle(b, &idle)) < MU_POOL_SLOTS) {
        if (take(b, s, idle, who, c))
            return MU_OK;
    }
    return MU_AGAIN;
}

enum mu_rc mu_board_enqueue(struct mu_board *b, struct mu_board_who who, uint32_t limit,
                            int64_t now_ms, struct mu_ticket *t)
{
    uint64_t seq = atomic_fetch_add(&b->next_seq, 1) & SEQ_MASK;
    uint32_t end = limit < MU_POOL_TICKETS ? limit : MU_POOL_TICKETS;

    t->word = ticket_word(seq, who, TICKET_WAITING);
    for (uint32_t i = 0; i < end; i++) {
        if (atomic_load(&b->ticket[i]) != 0)
            continue;
        raise_to(&b->tickets_end, i + 1); /* before it is there: who looks must find it */
        if (!step(&b->ticket[i], 0, t->word))
            continue;
        atomic_store_explicit(&b->since_ms[i], now_ms, memory_order_relaxed);
        t->at = i;
        count(&b->counts.queued);
        mu_board_match(b, who.pid); /* somebody may have become idle since it was looked for */
        return MU_OK;
    }
    count(&b->counts.refused);
    return MU_LIMIT;
}

/* Take what was granted. */
static enum mu_rc accept_grant(struct mu_board *b, struct mu_board_who who,
                               const struct mu_ticket *t, uint64_t granted, struct mu_claim *c)
{
    uint32_t s = (uint32_t)(ticket_payload(granted) & (MU_POOL_SLOTS - 1));
    uint64_t counter = ticket_payload(granted) >> SLOT_BITS;
    uint64_t w = mu_board_word(b, s);

    if (mu_board_state_of(w) == MU_SLOT_RESERVED &&
        (slot_counter(w) & GRANT_COUNTER_MASK) == counter && take(b, s, w, who, c)) {
        (void)step(&b->ticket[t->at], granted, 0);
        return MU_OK;
    }
    /* The process ended meanwhile, or was given back for a granter that died: back to the place it
     * had. */
    if (!step(&b->ticket[t->at], granted, t->word))
        return MU_BAD;
    mu_board_match(b, who.pid);
    return MU_AGAIN;
}

enum mu_rc mu_board_look(struct mu_board *b, struct mu_board_who who, const struct mu_ticket *t,
                         struct mu_claim *c)
{
    uint64_t w = atomic_load(&b->ticket[t->at]);

    if (w == t->word)
        return MU_AGAIN;
    if (ticket_state(w) == TICKET_GRANTED && ticket_pid(w) == (who.pid & PID_MASK))
        return accept_grant(b, who, t, w, c);
    return MU_BAD;
}

void mu_board_leave(struct mu_board *b, struct mu_board_who who, const struct mu_ticket *t)
{
    while (!step(&b->ticket[t->at], t->word, 0)) {
        struct mu_claim c;
        enum mu_rc rc = mu_board_look(b, who, t, &c);

        if (rc == MU_AGAIN)
            continue;
        if (rc == MU_OK) { /* nothing was sent to it */
            atomic_fetch_sub_explicit(&b->counts.requests, 1, memory_order_relaxed);
            (void)mu_board_release(b, who, &c, MU_SLOT_IDLE);
        }
        return;
    }
}

enum mu_slot_state mu_board_release(struct mu_board *b, struct mu_board_who who,
                                    const struct mu_claim *c, enum mu_slot_state to)
{
    if (to == MU_SLOT_IDLE && atomic_load(&b->info[c->slot].is_retired))
        to = MU_SLOT_SPENT;
    if (!step(&b->slot[c->slot], c->word, slot_next(c->word, 0, to)))
        return MU_SLOT_NONE;
    if (to == MU_SLOT_IDLE)
        mu_board_match(b, who.pid);
    return to;
}

bool mu_board_was_late(struct mu_board *b, const struct mu_claim *c)
{
    return atomic_load(&b->info[c->slot].late) == c->word;
}

/* ---- the supervisor ---- */

static void sweep_ticket(struct mu_board *b, uint32_t i, uint32_t pid)
{
    uint64_t w = atomic_load(&b->ticket[i]);
    uint32_t s = (uint32_t)(ticket_payload(w) & (MU_POOL_SLOTS - 1));
    uint64_t counter = ticket_payload(w) >> SLOT_BITS, granted;

    if (ticket_state(w) == TICKET_FREE || ticket_pid(w) != (pid & PID_MASK))
        return;
    /* A matcher may grant it between the look and the step: then once more. */
    if (!step(&b->ticket[i], w, 0)) {
        w = atomic_load(&b->ticket[i]);
        s = (uint32_t)(ticket_payload(w) & (MU_POOL_SLOTS - 1));
        counter = ticket_payload(w) >> SLOT_BITS;
        if (ticket_pid(w) != (pid & PID_MASK) || !step(&b->ticket[i], w, 0))
            return;
    }
    if (ticket_state(w) != TICKET_GRANTED)
        return;
    granted = mu_board_word(b, s);
    if (mu_board_state_of(granted) == MU_SLOT_RESERVED &&
        (slot_counter(granted) & GRANT_COUNTER_MASK) == counter)
        (void)step(&b->slot[s], granted, slot_next(granted, 0, MU_SLOT_IDLE));
}

static void sweep_slot(struct mu_board *b, uint32_t i, uint32_t pid)
{
    uint64_t w = mu_board_word(b, i);

    if (mu_board_owner_of(w) != (pid & PID_MASK))
        return;
    if (mu_board_state_of(w) == MU_SLOT_RESERVED)
        (void)step(&b->slot[i], w, slot_next(w, 0, MU_SLOT_IDLE));
    else if (mu_board_state_of(w) == MU_SLOT_BUSY)
        (void)step(&b->slot[i], w, slot_next(w, 0, MU_SLOT_DOUBT));
}

void mu_board_sweep(struct mu_board *b, uint32_t pid)
{
    for (uint32_t i = 0; i < mu_board_tickets_end(b); i++)
        sweep_ticket(b, i, pid);
    for (uint32_t i = 0; i < mu_board_slots_end(b); i++)
        sweep_slot(b, i, pid);
    mu_board_match(b, 0);
    /* It may have granted something and died before it rang the bell. */
    mu_board_wake_all(b);
}

void mu_board_set(struct mu_board *b, uint32_t slot, enum mu_slot_state to)
{
    uint64_t w = mu_board_word(b, slot);

    raise_to(&b->slots_end, slot + 1);
    for (unsigned i = 0; i < TRIES_MAX; i++) {
        if (atomic_compare_exchange_strong(&b->slot[slot], &w, slot_next(w, 0, to)))
            return;
    }
    atomic_store(&b->slot[slot], slot_next(w, 0, to)); /* somebody scribbles */
}

bool mu_board_swap(struct mu_board *b, uint32_t slot, enum mu_slot_state from,
                   enum mu_slot_state to)
{
    uint64_t w = mu_board_word(b, slot);

    return mu_board_state_of(w) == from && step(&b->slot[slot], w, slot_next(w, 0, to));
}

bool mu_board_cut(struct mu_board *b, uint32_t slot, uint64_t word)
{
    /* First what its holder will look at when its connection breaks. */
    atomic_store(&b->info[slot].late, word);
    return step(&b->slot[slot], word, slot_next(word, 0, MU_SLOT_LEAVING));
}

bool mu_board_mend(struct mu_board *b, uint32_t slot, uint64_t word, enum mu_slot_state to)
{
    raise_to(&b->slots_end, slot + 1);
    return step(&b->slot[slot], word, slot_next(word, 0, to));
}

uint32_t mu_board_audit(struct mu_board *b, bool (*lives)(uint32_t pid))
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < mu_board_tickets_end(b); i++) {
        uint64_t w = atomic_load(&b->ticket[i]);
        bool is_one = ticket_state(w) == TICKET_WAITING || ticket_state(w) == TICKET_GRANTED;

        if (w && !(is_one && lives(ticket_pid(w))))
            n += step(&b->ticket[i], w, 0);
    }
    return n;
}

void mu_board_wake_all(struct mu_board *b)
{
    uint64_t rung = 0;

    for (uint32_t i = 0; i < mu_board_tickets_end(b); i++) {
        uint64_t w = atomic_load(&b->ticket[i]);
        uint64_t bit = UINT64_C(1) << (w >> (2 + PID_BITS) & 63);

        if (ticket_state(w) == TICKET_FREE || (rung & bit))
            continue;
        rung |= bit;
        ring(w);
    }
}

uint32_t mu_board_waiting(struct mu_board *b, int64_t *since_ms)
{
    uint32_t n = 0, end = mu_board_tickets_end(b);

    *since_ms = INT64_MAX;
    for (uint32_t i = 0; i < end; i++) {
        int64_t since;

        if (ticket_state(atomic_load(&b->ticket[i])) != TICKET_WAITING)
            continue;
        n++;
        since = atomic_load_explicit(&b->since_ms[i], memory_order_relaxed);
        if (since < *since_ms)
            *since_ms = since;
    }
    return n;
}
