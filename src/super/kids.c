/*
 * kids: the supervisor's own table of children. It is filled by fork and emptied by wait; a pid
 * that is signalled comes from here and has not been reaped, so it cannot be another process's.
 * What children say on their channels is one byte of three kinds, and a child that says more than
 * it has to say is not listened to any longer.
 */
#include "super/channel.h"
#include "super/master.h"

#include <errno.h>
#include <muster/log.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* A child that was told to stop at once: a signal after this, and the last one after that. */
enum { TERM_AFTER_MS = 5000, KILL_AFTER_MS = 10000 };

struct mu_kid *mu_kid_add(struct mu_super *s, struct mu_generation *g, uint32_t place)
{
    struct mu_kid *k;

    if (s->kids_n == s->kids_cap) {
        size_t cap = s->kids_cap ? s->kids_cap * 2 : 16;
        struct mu_kid *v = reallocarray(s->kids, cap, sizeof(*v));

        if (!v)
            return NULL;
        s->kids = v;
        s->kids_cap = cap;
    }
    k = &s->kids[s->kids_n++];
    *k = (struct mu_kid){ .generation = g, .place = place, .channel = -1 };
    g->kids++;
    g->taken[place] = 1;
    return k;
}

struct mu_kid *mu_kid_find(struct mu_super *s, pid_t pid)
{
    for (size_t i = 0; i < s->kids_n; i++) {
        if (s->kids[i].pid == pid)
            return &s->kids[i];
    }
    return NULL;
}

void mu_kid_remove(struct mu_super *s, struct mu_kid *k)
{
    if (k->channel >= 0)
        close(k->channel);
    k->generation->kids--;
    k->generation->taken[k->place] = 0;
    *k = s->kids[--s->kids_n];
}

void mu_kid_ask(struct mu_kid *k, enum mu_stop how, int64_t now_ms)
{
    static const char request[2] = { MU_CHANNEL_STOP, MU_CHANNEL_STOP };
    size_t n = (size_t)how - (size_t)k->asked;

    if (how <= k->asked)
        return;
    if (k->channel >= 0)
        (void)!send(k->channel, request, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    k->asked = how;
    k->asked_ms = now_ms;
}

void mu_kid_hear(struct mu_super *s, struct mu_kid *k)
{
    char said[MU_CHANNEL_BYTES_MAX];
    ssize_t n = recv(k->channel, said, sizeof(said), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    for (ssize_t i = 0; i < n; i++) {
        if (said[i] == MU_CHANNEL_READY && !k->is_ready) {
            k->is_ready = k->generation->has_been_ready = true;
            k->ready_ms = mu_super_now();
        } else if (said[i] == MU_CHANNEL_LEAVING && !k->is_leaving) {
            k->is_leaving = true;
            MU_LOG(NULL, mu_super_module(s), MU_LOG_DEBUG, "MU0720",
                   "child pid %d takes no more connections", (int)k->pid);
        }
    }
    if (n > 0)
        k->bytes_seen += (uint32_t)n;
    /* End of file: it ends, or closed its side; either way wait() has the last word. */
    if (n <= 0 || k->bytes_seen >= MU_CHANNEL_BYTES_MAX)
        k->is_deaf = true;
}

static void press_one(struct mu_super *s, struct mu_kid *k, int64_t now_ms)
{
    if (!k->has_kill && now_ms >= k->asked_ms + KILL_AFTER_MS) {
        MU_LOG(NULL, mu_super_module(s), MU_LOG_ERR, "MU0721",
               "child pid %d does not stop: sending it SIGKILL", (int)k->pid);
        k->has_kill = k->has_term = true;
        kill(k->pid, SIGKILL);
    } else if (!k->has_term && now_ms >= k->asked_ms + TERM_AFTER_MS) {
        MU_LOG(NULL, mu_super_module(s), MU_LOG_WARN, "MU0722",
               "child pid %d did not stop when asked: sending it SIGTERM", (int)k->pid);
        k->has_term = true;
        kill(k->pid, SIGTERM);
    }
}

int64_t mu_kids_press(struct mu_super *s, int64_t now_ms)
{
    int64_t next = INT64_MAX;

    for (size_t i = 0; i < s->kids_n; i++) {
        struct mu_kid *k = &s->kids[i];
        int64_t due;

        if (k->asked != MU_STOP_NOW || k->has_kill)
            continue;
        press_one(s, k, now_ms);
        due = k->asked_ms + (k->has_term ? KILL_AFTER_MS : TERM_AFTER_MS);
        if (!k->has_kill && due < next)
            next = due;
    }
    return next;
}
