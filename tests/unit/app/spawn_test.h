/* A helper of the tests' own: a real one, in a process of its own, asked over its socket. */
#ifndef SPAWN_TEST_H
#define SPAWN_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants those above first. */
#include <cmocka.h>

#include <app/spawn.h>
#include <engine/fiber.h>
#include <engine/reactor.h>
#include <errno.h>
#include <fcntl.h>
#include <muster/str.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/** The helper of this test: its socket, and the one that is asked (what mu_spawn_socket gives). */
struct helper_fixture {
    int web_fd, helper_fd;
    pid_t pid;
};
extern struct helper_fixture helper;

void helper_open(void);  /**< the sockets */
void helper_start(void); /**< the process */
/** Hang up and wait for its end; asserts that it ended well. */
void helper_finish(void);

/** Run fn on a fiber of a reactor until every fiber has ended. */
void on_fiber(enum mu_backend backend, void (*fn)(void *arg), void *arg);
/** Read a pipe to its end into buf, NUL behind it. */
size_t read_end(int fd, char *buf, size_t cap);
/** Does process (or with a negative number group) `pid` exist? Waits for the answer it shall be. */
void await_gone(pid_t pid);

#endif
