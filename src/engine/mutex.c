/*
 * mutex: a count of locks held, so that a fiber which parks with one is caught where it happens and
 * not as a dead-lock later.
 */
#include <engine/internal.h>
#include <muster/mutex.h>

void mu_mutex_lock(struct mu_mutex *m)
{
    int err = pthread_mutex_lock(&m->m);

    assert(err == 0);
    (void)err;
    mu_tl.locks++;
}

void mu_mutex_unlock(struct mu_mutex *m)
{
    int err = pthread_mutex_unlock(&m->m);

    assert(err == 0 && mu_tl.locks > 0);
    (void)err;
    mu_tl.locks--;
}

void mu_assert_no_locks(void)
{
    assert(mu_tl.locks == 0);
}
