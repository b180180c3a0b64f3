/*
 * acceptlock: a futex word that names its holder. Taking it is one compare-and-swap; the waiters
 * sleep in the kernel with a time limit, so neither a lost wake-up nor a word full of rubbish keeps
 * them from seeing a stop request. A dead holder is found twice: the supervisor frees what a reaped
 * child held, and a waiter whose sleep ran out asks whether the holder still exists (when the
 * supervisor is gone too). A word that names a live process that is no child is the supervisor's to
 * clear.
 */
#include "super/acceptlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define HAS_WAITERS 0x80000000u
#define PATIENCE_NS 250000000L

struct mu_accept_locks {
    struct mu_accept_lock *v;
    uint32_t n;
    int fd;
};

static struct mu_accept_locks *locks_map(int fd, uint32_t n)
{
    struct mu_accept_locks *l = calloc(1, sizeof(*l));
    void *p;

    if (!l)
        return NULL;
    p = mmap(NULL, n * sizeof(struct mu_accept_lock), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        free(l);
        return NULL;
    }
    *l = (struct mu_accept_locks){ .v = p, .n = n, .fd = fd };
    return l;
}

struct mu_accept_locks *mu_accept_locks_create(uint32_t n)
{
    struct mu_accept_locks *l = NULL;
    int fd = memfd_create("muster-accept", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int saved;

    if (fd < 0)
        return NULL;
    if (ftruncate(fd, (off_t)(n * sizeof(struct mu_accept_lock))) == 0 &&
        fcntl(fd, F_ADD_SEALS, SEALS) == 0)
        l = locks_map(fd, n);
    if (!l) {
        saved = errno;
        close(fd);
        errno = saved;
    }
    return l;
}

struct mu_accept_locks *mu_accept_locks_adopt(int fd, uint32_t n)
{
    struct mu_accept_locks *l = NULL;
    struct stat st;

    if (n && fstat(fd, &st) == 0 && (size_t)st.st_size == n * sizeof(struct mu_accept_lock) &&
        (fcntl(fd, F_GET_SEALS) & SEALS) == SEALS)
        l = locks_map(fd, n);
    if (!l)
        close(fd);
    return l;
}

void mu_accept_locks_destroy(struct mu_accept_locks *l)
{
    if (!l)
        return;
    munmap(l->v, l->n * sizeof(struct mu_accept_lock));
    if (l->fd >= 0)
        close(l->fd);
    free(l);
}

int mu_accept_locks_fd(const struct mu_accept_locks *l)
{
    return l->fd;
}

uint32_t mu_accept_locks_count(const struct mu_accept_locks *l)
{
    return l->n;
}

struct mu_accept_lock *mu_accept_locks_at(struct mu_accept_locks *l, uint32_t i)
{
    return i < l->n ? &l->v[i] : NULL;
}

static void futex_wait(_Atomic uint32_t *word, uint32_t expected)
{
    struct timespec limit = { .tv_sec = 0, .tv_nsec = PATIENCE_NS };

    syscall(SYS_futex, word, FUTEX_WAIT, expected, &limit, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
}

static bool swap(_Atomic uint32_t *word, uint32_t from, uint32_t to)
{
    /* acquire and release: what one holder did to the sockets is seen by the next */
    return atomic_compare_exchange_strong_explicit(word, &from, to, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

/* No process has that number: a holder that died unseen, or rubbish. */
static bool is_nobody(uint32_t holder)
{
    return holder > INT32_MAX || (kill((pid_t)holder, 0) != 0 && errno == ESRCH);
}

bool mu_accept_lock_acquire(struct mu_accept_lock *l, uint32_t pid,
                            bool (*is_over)(const void *arg), const void *arg)
{
    uint32_t mine = pid;

    for (;;) {
        uint32_t seen = atomic_load_explicit(&l->word, memory_order_relaxed);

        /* Its own pid: a dead holder's, whose number this process was given. */
        if ((seen & ~HAS_WAITERS) == 0 || (seen & ~HAS_WAITERS) == pid) {
            if (swap(&l->word, seen, mine | (seen & HAS_WAITERS)))
                return true;
            continue;
        }
        if (is_over(arg))
            return false;
        if (!(seen & HAS_WAITERS) && !swap(&l->word, seen, seen | HAS_WAITERS))
            continue;
        seen |= HAS_WAITERS;
        futex_wait(&l->word, seen);
        mine = pid | HAS_WAITERS; /* there may be others that sleep: wake one when it is dropped */
        if (atomic_load_explicit(&l->word, memory_order_relaxed) == seen &&
            is_nobody(seen & ~HAS_WAITERS))
            (void)swap(&l->word, seen, 0);
    }
}

void mu_accept_lock_drop(struct mu_accept_lock *l, uint32_t pid)
{
    if (swap(&l->word, pid, 0))
        return;
    if (swap(&l->word, pid | HAS_WAITERS, 0))
        futex_wake(&l->word, 1);
}

void mu_accept_locks_recover(struct mu_accept_locks *l, uint32_t pid)
{
    for (uint32_t i = 0; i < l->n; i++) {
        uint32_t seen = atomic_load_explicit(&l->v[i].word, memory_order_relaxed);

        if ((seen & ~HAS_WAITERS) == pid && swap(&l->v[i].word, seen, 0))
            futex_wake(&l->v[i].word, INT32_MAX);
    }
}

void mu_accept_locks_check(struct mu_accept_locks *l,
                           bool (*is_holder)(const void *arg, uint32_t pid), const void *arg)
{
    for (uint32_t i = 0; i < l->n; i++) {
        uint32_t seen = atomic_load_explicit(&l->v[i].word, memory_order_relaxed);

        if (seen && !is_holder(arg, seen & ~HAS_WAITERS) && swap(&l->v[i].word, seen, 0))
            futex_wake(&l->v[i].word, INT32_MAX);
    }
}

void mu_accept_locks_wake(struct mu_accept_locks *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        futex_wake(&l->v[i].word, INT32_MAX);
}
