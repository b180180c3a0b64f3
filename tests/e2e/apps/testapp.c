/* testapp: the program that the tests run as an application, by CGI or by FastCGI.
 *
 * When descriptor 0 is a listening socket, or -l names one, it speaks FastCGI, else CGI. What it does to answer stands in
 * the query string: commands, name or name=value (percent-decoded), separated by '&' and carried out in order. See commands.c.
 *
 * With -n a keeper replaces its processes when they end.
 *
 *   testapp [-l ADDRESS:PORT | -l unix:PATH] [-n PROCESSES] [-m MARKS] [-r REQUESTS]
 */
#include "app.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* ---- CGI and FastCGI alike ---- */

const char *app_env(const struct app *a, const char *name)
{
    size_t n = strlen(name);

    for (char **e = a->env; *e; e++)
        if (!strncmp(*e, name, n) && (*e)[n] == '=')
            return *e + n + 1;
    return NULL;
}

static void write_fd(int fd, const void *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            _exit(3);
        p = (const char *)p + done;
        n -= (size_t)done;
    }
}

size_t app_read(struct app *a, void *buf, size_t cap)
{
    ssize_t got;

    if (a->is_fcgi)
        return fcgi_read(buf, cap);
    do
        got = read(0, buf, cap);
    while (got < 0 && errno == EINTR);
    return got < 0 ? 0 : (size_t)got;
}

static void put_head(struct app *a)
{
    if (a->has_head)
        return;
    a->has_head = true;
    if (!memmem(a->head, a->head_len, "Content-Type", 12))
        app_write(a, "Content-Type: text/plain\r\n", 26);
    app_write(a, a->head, a->head_len);
    app_write(a, "\r\n", 2);
}

void app_write(struct app *a, const void *p, size_t n)
{
    put_head(a);
    if (a->is_fcgi)
        fcgi_write(p, n);
    else
        write_fd(1, p, n);
}

void app_flush(struct app *a)
{
    put_head(a);
    if (a->is_fcgi)
        fcgi_flush();
}

void app_err(struct app *a, const char *text)
{
    if (a->is_fcgi)
        fcgi_err(text);
    else
        write_fd(2, text, strlen(text));
}

void app_write_raw(struct app *a, const void *p, size_t n)
{
    if (a->is_fcgi)
        fcgi_raw(p, n);
    else
        write_fd(1, p, n);
}

bool app_await_abort(struct app *a)
{
    return a->is_fcgi && fcgi_await_abort();
}

/* ---- how it is run ---- */

static int listen_unix(const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    unlink(path);
    if (bind(fd, (struct sockaddr *)&sa, sizeof sa) || listen(fd, 511) || chmod(path, 0666))
        return -1;
    return fd;
}

/* ADDRESS:PORT, [ADDRESS]:PORT */
static int listen_tcp(const char *text)
{
    struct sockaddr_in sa4 = { .sin_family = AF_INET };
    struct sockaddr_in6 sa6 = { .sin6_family = AF_INET6 };
    char address[64] = "";
    unsigned port = 0;
    bool is_v6 = sscanf(text, "[%63[^]]]:%u", address, &port) == 2;
    int fd, on = 1;

    if (!is_v6 && sscanf(text, "%63[^:]:%u", address, &port) != 2)
        return -1;
    sa4.sin_port = sa6.sin6_port = htons((uint16_t)port);
    if (inet_pton(is_v6 ? AF_INET6 : AF_INET, address,
                  is_v6 ? (void *)&sa6.sin6_addr : (void *)&sa4.sin_addr) != 1)
        return -1;
    fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, is_v6 ? (struct sockaddr *)&sa6 : (struct sockaddr *)&sa4,
             is_v6 ? sizeof sa6 : sizeof sa4) ||
        listen(fd, 511))
        return -1;
    return fd;
}

static bool is_listening(int fd)
{
    int on = 0;
    socklen_t n = sizeof on;

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &n) == 0 && on;
}

static void on_end(int number)
{
    (void)number;
    _exit(0);
}

/* Several processes on one listener, each replaced when it ends; TERM ends them all. */
static void serve_by_many(int listener, const char *marks, unsigned max, int processes)
{
    struct sigaction end = { .sa_handler = on_end };
    pid_t parent = getpid();
    int running = 0;

    sigaction(SIGTERM, &end, NULL);
    for (;;) {
        while (running < processes) {
            if (fork() == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() == parent)
                    fcgi_serve(listener, marks, max);
                _exit(0);
            }
            running++;
        }
        if (wait(NULL) > 0)
            running--;
    }
}

static int serve(const char *address, const char *marks, unsigned max, int processes)
{
    int listener = 0;

    if (address)
        listener = strncmp(address, "unix:", 5) ? listen_tcp(address) : listen_unix(address + 5);
    if (listener < 0) {
        fprintf(stderr, "testapp: cannot listen on %s: %s\n", address, strerror(errno));
        return 1;
    }
    if (processes > 0)
        serve_by_many(listener, marks, max, processes);
    fcgi_serve(listener, marks, max);
    return 0;
}

int main(int argc, char **argv)
{
    const char *address = NULL, *marks = NULL;
    int option, processes = 0;
    unsigned max = 0;
    static struct app a;

    if (getenv("GATEWAY_INTERFACE") &&
        !is_listening(0)) { /* arguments would be an indexed query's */
        a.env = environ;
        app_run(&a);
        return (int)a.status;
    }
    while ((option = getopt(argc, argv, "l:n:m:r:")) != -1) {
        switch (option) {
        case 'l':
            address = optarg;
            break;
        case 'n':
            processes = atoi(optarg);
            break;
        case 'm':
            marks = optarg;
            break;
        case 'r':
            max = (unsigned)atoi(optarg);
            break;
        default:
            return 2;
        }
    }
    if (address || is_listening(0))
        return serve(address, marks, max, processes);
    fprintf(stderr, "testapp: neither a CGI request nor a socket to listen on\n");
    return 2;
}
