/*
 * The floor under every server of `make bench`: what Linux alone charges for taking a request and
 * giving an answer.
 *
 * A bare epoll loop that receives whatever arrives, takes it for one request, and sends an answer
 * made beforehand. It parses nothing but the word that ends a connection, looks no file up, arms no
 * timer and logs nothing, so a server that does these things costs more. Usage: floor PORT, on
 * 127.0.0.1, until a signal ends it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BODY_LEN = 1024, MAX_EVENTS = 256 };

struct answer {
    char bytes[2048];
    size_t len;
};

static struct answer keep_alive, closing;

/* The head has the fields that the servers send, so that as many bytes go over the wire. */
static void make_answer(struct answer *a, const char *connection)
{
    int n = snprintf(a->bytes, sizeof(a->bytes),
                     "HTTP/1.1 200 OK\r\n"
                     "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                     "Server: floor\r\n"
                     "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                     "ETag: \"400-5f1e2d3c4b5a6\"\r\n"
                     "Accept-Ranges: bytes\r\n"
                     "Content-Length: %d\r\n%s"
                     "Content-Type: text/html\r\n\r\n",
                     (int)BODY_LEN, connection);

    memset(a->bytes + n, 'x', BODY_LEN);
    a->len = (size_t)n + BODY_LEN;
}

static int listen_on(int port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET,
        .sin_port = htons((unsigned short)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 1024) != 0) {
        perror("floor");
        exit(1);
    }
    return fd;
}

static void take(int poller, int listener)
{
    int one = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP, .data.fd = fd };

    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &ev);
}

/* One request in, one answer out. The answer fits the socket's buffer: a short send means that the
 * peer is gone. */
static void serve(int fd)
{
    const struct answer *a = &keep_alive;
    char in[4096];
    ssize_t got = recv(fd, in, sizeof(in), 0);

    if (got < 0 && errno == EAGAIN)
        return;
    if (got > 0 && memmem(in, (size_t)got, "close", 5) != NULL)
        a = &closing;
    if (got <= 0 || send(fd, a->bytes, a->len, MSG_NOSIGNAL) != (ssize_t)a->len || a == &closing)
        close(fd);
}

int main(int argc, char **argv)
{
    struct epoll_event events[MAX_EVENTS];
    int poller = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(argc > 1 ? atoi(argv[1]) : 0);
    struct epoll_event ev = { .events = EPOLLIN, .data.fd = listener };

    make_answer(&keep_alive, "");
    make_answer(&closing, "Connection: close\r\n");
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &ev);
    for (;;) {
        int n = epoll_wait(poller, events, MAX_EVENTS, -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                take(poller, listener);
            else
                serve(events[i].data.fd);
        }
    }
}
