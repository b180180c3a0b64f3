/* What the engine's tests share: cmocka with its headers, reactors of both backends, socket pairs,
 * a fake log. */
#ifndef ENGINE_TEST_H
#define ENGINE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants those above first. */
#include <cmocka.h>

#include <engine/fiber.h>
#include <engine/reactor.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/** A reactor of the calling thread, or the test fails. */
static inline struct mu_reactor *reactor_of(enum mu_backend backend)
{
    struct mu_reactor *r = mu_reactor_create(&(struct mu_reactor_opts){ .backend = backend });

    assert_non_null(r);
    return r;
}

/** Turn until no fiber is alive. */
static inline void turn_until_idle(struct mu_reactor *r)
{
    while (mu_reactor_fibers(r) > 0)
        mu_reactor_turn(r, -1);
}

/** Turn `n` times without sleeping. */
static inline void turn_n(struct mu_reactor *r, int n)
{
    while (n-- > 0)
        mu_reactor_turn(r, 0);
}

static inline void run_fiber(struct mu_reactor *r, void (*fn)(void *arg), void *arg)
{
    assert_int_equal(mu_fiber_run(r, fn, arg), MU_OK);
}

/** A connected pair of non-blocking stream sockets. */
static inline void socket_pair(int fd[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
}

static inline void io_pair(struct mu_io *a, struct mu_io *b)
{
    int fd[2];

    socket_pair(fd);
    mu_io_init_socket(a, fd[0]);
    mu_io_init_socket(b, fd[1]);
}

/** Events in the order in which they happened, one letter each. */
struct trace {
    char s[128];
    size_t n;
};
static inline void note(struct trace *t, char c)
{
    assert_true(t->n + 1 < sizeof(t->s));
    t->s[t->n++] = c;
    t->s[t->n] = '\0';
}

/** Run the test under both backends: the function gets the backend by its state. */
#define BOTH(fn)                                                                                   \
    { #fn "/epoll", fn, NULL, NULL, (void *)(uintptr_t)MU_BACKEND_EPOLL },                         \
    {                                                                                              \
#fn "/single", fn, NULL, NULL, (void *)(uintptr_t)MU_BACKEND_SINGLE                        \
    }
#define BACKEND(state) ((enum mu_backend)(uintptr_t) * (state))

/** fake_log.c: the lines written so far, and the last one's tag and text. */
extern unsigned log_lines;
extern char log_last[512];

#endif
