/*
 * spawn_slots: how many scripts run at once in the whole server. A table in shared memory has a word
 * for each script that may run, which holds the pid of the web child it runs for: taken by
 * compare-and-swap, so there is no lock that a dying child could hold, and what a dead one held is
 * found by its pid. Who must wait stands in line in its own process, first come first served; the
 * first of each line also hears of places that other processes free (an eventfd).
 */
#include "app/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <muster/clock.h>
#include <muster/mutex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LAYOUT = 1,
    KIDS = 4096,          /* processes whose lines are counted; further ones wait uncounted */
    LOOK_AGAIN_MS = 1000, /* whatever somebody did to the table */
};

/* The last one: no child can add one that keeps the next image of the supervisor from mapping it. */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

struct kid {
    _Atomic uint32_t pid; /* 0: free */
    _Atomic uint32_t waiting;
};

struct table {
    uint32_t layout;
    _Atomic uint32_t waiting; /* processes with a line, about: is the event worth a system call? */
    struct kid kids[KIDS];
    _Atomic uint32_t owner[MU_SCRIPT_SLOTS]; /* pid of the web child, 0: free */
};

struct mu_spawn_slots {
    int fd, event_fd;
    struct table *t;
};

struct waiter {
    struct mu_list link;
    int fd;         /* an event of its own */
    bool is_told;   /* that it is the first; under the lock */
    bool was_first; /* when it came; its own */
};

static struct mu_spawn_slots *slots; /* this process's */
static struct mu_mutex line_lock = MU_MUTEX_INIT;
static struct mu_list line = { &line, &line };

/* ---- the table ---- */

static struct table *map(int fd)
{
    void *p = mmap(NULL, sizeof(struct table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    return p == MAP_FAILED ? NULL : p;
}

static int make_table(void)
{
    int fd = memfd_create("muster-scripts", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd >= 0 &&
        (ftruncate(fd, (off_t)sizeof(struct table)) != 0 || fcntl(fd, F_ADD_SEALS, SEALS) != 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool has_layout(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_size == (off_t)sizeof(struct table);
}

struct mu_spawn_slots *mu_spawn_slots_open(int fd, int event_fd)
{
    struct mu_spawn_slots *s = calloc(1, sizeof(*s));
    bool is_new = fd < 0 || event_fd < 0 || !has_layout(fd);

    if (!s)
        return NULL;
    s->fd = is_new ? make_table() : fd;
    s->event_fd = is_new ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : event_fd;
    s->t = s->fd >= 0 && s->event_fd >= 0 ? map(s->fd) : NULL;
    if (!s->t) {
        if (is_new && s->fd >= 0)
            close(s->fd);
        if (is_new && s->event_fd >= 0)
            close(s->event_fd);
        free(s);
        return NULL;
    }
    if (is_new && fd >= 0)
        close(fd);
    if (is_new && event_fd >= 0)
        close(event_fd);
    s->t->layout = LAYOUT;
    return s;
}

void mu_spawn_slots_close(struct mu_spawn_slots *s)
{
    if (!s)
        return;
    if (slots == s)
        slots = NULL;
    munmap(s->t, sizeof(*s->t));
    close(s->fd);
    close(s->event_fd);
    free(s);
}

void mu_spawn_slots_fds(const struct mu_spawn_slots *s, int *fd, int *event_fd)
{
    *fd = s->fd;
    *event_fd = s->event_fd;
}

void mu_spawn_slots_use(struct mu_spawn_slots *s)
{
    slots = s;
}

/* Processes that wait may look again. */
static void ring(const struct mu_spawn_slots *s)
{
    uint64_t one = 1;

    (void)!write(s->event_fd, &one, sizeof(one));
}

/*
 * In the supervisor, which does not ring: a web child could have made the eventfd a blocking one (the
 * flag is the open file's, which they share) and filled it. Who waits looks again within a second.
 */
void mu_spawn_slots_forget(struct mu_spawn_slots *s, pid_t pid)
{
    for (size_t i = 0; i < MU_SCRIPT_SLOTS; i++) {
        uint32_t owner = (uint32_t)pid;

        /* relaxed: a slot guards no memory */
        (void)atomic_compare_exchange_strong_explicit(&s->t->owner[i], &owner, 0,
                                                      memory_order_relaxed, memory_order_relaxed);
    }
    for (size_t i = 0; i < KIDS; i++) {
        struct kid *k = &s->t->kids[i];

        uint32_t waited;

        if (atomic_load_explicit(&k->pid, memory_order_relaxed) != (uint32_t)pid)
            continue;
        waited = atomic_exchange_explicit(&k->waiting, 0, memory_order_relaxed);
        atomic_fetch_sub_explicit(&s->t->waiting, waited, memory_order_relaxed);
        /* release: whoever takes the place finds its count at 0 */
        atomic_store_explicit(&k->pid, 0, memory_order_release);
    }
}

/* ---- taking and giving ---- */

static bool take_free(uint32_t most, uint32_t *slot)
{
    static atomic_uint hint; /* of this process: where to look first */
    uint32_t me = (uint32_t)getpid(), from = atomic_load_explicit(&hint, memory_order_relaxed);

    for (uint32_t k = 0; k < most; k++) {
        uint32_t i = (from + k) % most, nobody = 0;

        /* seq_cst: see count_me */
        if (atomic_load_explicit(&slots->t->owner[i], memory_order_seq_cst) == 0 &&
            atomic_compare_exchange_strong_explicit(&slots->t->owner[i], &nobody, me,
                                                    memory_order_relaxed, memory_order_relaxed)) {
            atomic_store_explicit(&hint, i + 1, memory_order_relaxed);
            *slot = i;
            return true;
        }
    }
    return false;
}

/* This process's entry; NULL when all are taken. */
static struct kid *my_kid(void)
{
    uint32_t me = (uint32_t)getpid();

    for (uint32_t k = 0; k < KIDS; k++) {
        struct kid *kid = &slots->t->kids[(me + k) % KIDS];
        uint32_t pid = atomic_load_explicit(&kid->pid, memory_order_relaxed);

        if (pid == me)
            return kid;
        /* acquire: see mu_spawn_slots_forget */
        if (pid == 0 && atomic_compare_exchange_strong_explicit(
                            &kid->pid, &pid, me, memory_order_acquire, memory_order_relaxed))
            return kid;
    }
    return NULL;
}

static uint32_t count_waiting(void)
{
    uint32_t n = 0;

    for (size_t i = 0; i < KIDS; i++)
        n += atomic_load_explicit(&slots->t->kids[i].waiting, memory_order_seq_cst);
    return n;
}

/* Under the lock, which also keeps two threads of a process from entering it twice. */
static void count_me(bool is_coming)
{
    uint32_t change = is_coming ? 1 : UINT32_MAX;
    struct kid *k = my_kid();

    /* seq_cst: of two processes that come at once, one at least counts both */
    if (k)
        atomic_fetch_add_explicit(&k->waiting, change, memory_order_seq_cst);
    /* seq_cst: whoever frees a slot afterwards sees that somebody waits, or the one who waits sees
     * the slot free */
    atomic_fetch_add_explicit(&slots->t->waiting, change, memory_order_seq_cst);
}

/*
 * One more that waits, unless `longest` do. Other processes come at the same time: each counts itself
 * first and looks second, so never are there too many; of some who step back for one another, the
 * last finds room and tries again. Under the lock.
 */
static bool join_waiting(uint32_t longest)
{
    while (count_waiting() < longest) {
        count_me(true);
        if (count_waiting() <= longest)
            return true;
        count_me(false);
    }
    return false;
}

/* Who stands first looks for a place. Under the lock. */
static void tell_first(void)
{
    struct mu_list *l = mu_list_first(&line);
    struct waiter *w = l ? MU_CONTAINER_OF(l, struct waiter, link) : NULL;
    uint64_t one = 1;

    if (w && !w->is_told)
        (void)!write(w->fd, &one, sizeof(one));
    if (w)
        w->is_told = true;
}

/* MU_OK: in line; MU_EOF: there is no need; MU_LIMIT: too many wait already. */
static enum mu_rc enter_line(struct waiter *w, const struct mu_script_limits *l, uint32_t *slot)
{
    enum mu_rc rc = MU_OK;

    mu_mutex_lock(&line_lock);
    if (mu_list_empty(&line) && take_free(l->most, slot))
        rc = MU_EOF;
    else if (!join_waiting(l->longest_queue))
        rc = MU_LIMIT;
    else if ((w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
        rc = MU_NOMEM;
    if (rc == MU_NOMEM)
        count_me(false);
    if (rc == MU_OK) {
        w->was_first = w->is_told = mu_list_empty(&line);
        mu_list_append(&line, &w->link);
    }
    mu_mutex_unlock(&line_lock);
    return rc;
}

static void leave_line(struct waiter *w)
{
    mu_mutex_lock(&line_lock);
    mu_list_remove(&w->link);
    count_me(false);
    tell_first();
    mu_mutex_unlock(&line_lock);
}

/* Until `event` is readable. MU_GONE: whoever waits has left. */
static enum mu_rc await(struct mu_io *event, struct mu_wake *leaves, int64_t deadline_ms)
{
    struct mu_wait_item items[2] = { { .io = event, .want = MU_READABLE }, { .wake = leaves } };
    enum mu_rc rc = mu_wait(items, leaves ? 2 : 1, deadline_ms);

    return rc == MU_OK && leaves && items[1].got ? MU_GONE : rc;
}

/* Until those before have gone. `turn` is over the waiter's own event. */
static enum mu_rc await_turn(struct mu_io *turn, struct mu_wake *leaves, int64_t deadline_ms)
{
    uint64_t told;
    size_t got;
    enum mu_rc rc = MU_OK;

    while (rc == MU_OK && (rc = mu_try_read(turn, &told, sizeof(told), &got)) == MU_AGAIN)
        rc = await(turn, leaves, deadline_ms);
    return rc;
}

/* The first in line: until a slot is free. One who reads the event reads all rings, and others do not
 * hear of them any more: so whoever got a slot rings again, as long as others wait. */
static enum mu_rc await_slot(uint32_t most, struct mu_wake *leaves, int64_t deadline_ms,
                             uint32_t *slot)
{
    struct mu_io event;
    enum mu_rc rc = MU_OK;
    int fd = fcntl(slots->event_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

    if (fd < 0)
        return MU_NOMEM;
    mu_io_init(&event, fd);
    mu_io_share(&event);
    while (rc == MU_OK && !take_free(most, slot)) {
        int64_t again = mu_deadline(LOOK_AGAIN_MS);
        uint64_t rings;
        size_t got;

        if (mu_try_read(&event, &rings, sizeof(rings), &got) == MU_OK)
            continue;
        rc = await(&event, leaves, again < deadline_ms ? again : deadline_ms);
        if (rc == MU_TIMEOUT && mu_now_ms() < deadline_ms)
            rc = MU_OK;
    }
    mu_io_close(&event);
    if (rc == MU_OK && atomic_load_explicit(&slots->t->waiting, memory_order_relaxed) > 1)
        ring(slots);
    return rc;
}

enum mu_rc mu_script_slot_take(const struct mu_script_limits *l, struct mu_wake *leaves,
                               int64_t deadline_ms, uint32_t *slot)
{
    struct waiter w = { .fd = -1 };
    struct mu_io turn;
    enum mu_rc rc;

    if (!slots)
        return MU_EIO;
    mu_list_init(&w.link);
    rc = enter_line(&w, l, slot);
    if (rc != MU_OK)
        return rc == MU_EOF ? MU_OK : rc;
    mu_io_init(&turn, w.fd);
    rc = w.was_first ? MU_OK : await_turn(&turn, leaves, deadline_ms);
    if (rc == MU_OK)
        rc = await_slot(l->most, leaves, deadline_ms, slot);
    leave_line(&w);
    mu_io_close(&turn);
    return rc;
}

void mu_script_slot_give(uint32_t slot)
{
    uint32_t me = (uint32_t)getpid();

    if (!slots || slot >= MU_SCRIPT_SLOTS)
        return;
    /* seq_cst: see count_me */
    (void)atomic_compare_exchange_strong_explicit(&slots->t->owner[slot], &me, 0,
                                                  memory_order_seq_cst, memory_order_relaxed);
    if (atomic_load_explicit(&slots->t->waiting, memory_order_seq_cst) > 0)
        ring(slots);
}
