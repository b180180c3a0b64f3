/*
 * bell: a socket pair that the supervisor made; a ring is a byte in it. Each listener has an epoll
 * instance of its own on the other end, edge-triggered, so each is told of a byte once, whether
 * it is read or not. Nobody may read it for that: epoll looks again when it delivers, and tells
 * nobody of a socket that is empty by then. The bytes are taken out only before there are so many
 * that a ring would find no room, and whoever takes them rings once more behind that, for those who
 * had not been told of them yet.
 */
#include "pool/bell.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FULL = 64 }; /* bytes; the socket has room for hundreds */

int mu_bell_listen(int hears)
{
    struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
    int fd = epoll_create1(EPOLL_CLOEXEC);

    if (fd >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, hears, &ev) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

void mu_bell_ring(int rings)
{
    /* Not to wait is said here: O_NONBLOCK is the open file's, and any child could take it away. */
    (void)!send(rings, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void mu_bell_hear(int listener, int hears, int rings)
{
    struct epoll_event ev;
    char bytes[256];
    int n = 0;

    (void)epoll_wait(listener, &ev, 1, 0);
    if (ioctl(hears, FIONREAD, &n) != 0 || n < FULL)
        return;
    (void)!recv(hears, bytes, sizeof(bytes), MSG_DONTWAIT);
    mu_bell_ring(rings);
}
