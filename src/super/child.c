/*
 * child: the child's side of its channel to the supervisor. The channel is a stream socket pair.
 * The supervisor writes one byte for a graceful stop and another one for a stop at once; the child
 * never reads them, so its end stays readable from the first on and no request can be missed, by
 * any number of threads. Hang-up without a byte means that the supervisor is gone. The child writes
 * one byte when it is ready and one when it leaves by itself.
 */
#include "super/child.h"

#include "super/acceptlock.h"
#include "super/channel.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum mu_stop mu_child_stop_requested(const struct mu_child *child)
{
    char seen[2];
    ssize_t n;

    do
        n = recv(child->stop_fd, seen, sizeof(seen), MSG_PEEK | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n >= 2)
        return MU_STOP_NOW;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return MU_STOP_NONE;
    return MU_STOP_GRACEFUL; /* one byte, end of file, or a channel that is broken */
}

static void tell(const struct mu_child *child, char what)
{
    /* A supervisor that is gone is noticed by the stop request. */
    (void)!send(child->stop_fd, &what, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void mu_child_ready(const struct mu_child *child)
{
    struct mu_score_child *c = mu_scoreboard_child(child->scoreboard, child->index);

    if (c)
        atomic_store_explicit(&c->is_accepting, true, memory_order_relaxed);
    tell(child, MU_CHANNEL_READY);
}

void mu_child_leaving(const struct mu_child *child)
{
    struct mu_score_child *c = mu_scoreboard_child(child->scoreboard, child->index);

    if (c) {
        atomic_store_explicit(&c->is_accepting, false, memory_order_relaxed);
        atomic_store_explicit(&c->is_stopping, true, memory_order_relaxed);
    }
    tell(child, MU_CHANNEL_LEAVING);
}

static bool is_stop_requested(const void *arg)
{
    return mu_child_stop_requested(arg) != MU_STOP_NONE;
}

enum mu_rc mu_accept_lock_take(const struct mu_child *child)
{
    if (!child->accept_lock)
        return MU_OK;
    return mu_accept_lock_acquire(child->accept_lock, (uint32_t)getpid(), is_stop_requested, child)
               ? MU_OK
               : MU_GONE;
}

void mu_accept_lock_release(const struct mu_child *child)
{
    if (child->accept_lock)
        mu_accept_lock_drop(child->accept_lock, (uint32_t)getpid());
}
