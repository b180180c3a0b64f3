/*
 * sendself: an application that answers its clients by itself where the server lets it, and through the server where it
 * does not. It sends one file, as it would a film or a disk image: without the server in the way a download costs
 * neither of the two processes more than sendfile.
 *
 *     sendself FILE [unix:/path/of/socket]        (else descriptor 0, as in an <ApplicationPool>)
 */
#include "muster_fcgi.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_head(const struct mfcgi *app)
{
    const char *method = mfcgi_param(app, "REQUEST_METHOD");

    return method && strcmp(method, "HEAD") == 0;
}

/* The whole answer, in HTTP: nobody else says a word to this client. */
static uint64_t answer_directly(const struct mfcgi *app, int client, int file, off_t size)
{
    off_t at = 0;
    ssize_t n = dprintf(client,
                        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                        "Content-Length: %jd\r\nX-Answered-By: the application\r\n"
                        "Connection: close\r\n\r\n",
                        (intmax_t)size);

    while (n > 0 && at < size && !is_head(app)) {
        n = sendfile(client, file, &at, (size_t)(size - at));
        if (n < 0 && errno == EINTR)
            n = 1;
    }
    return (uint64_t)at;
}

static void answer_by_server(struct mfcgi *app, int file, off_t size)
{
    char buf[32 * 1024];
    ssize_t n;

    if (!mfcgi_print(app,
                     "Content-Type: application/octet-stream\r\nContent-Length: %jd\r\n"
                     "X-Answered-By: the server\r\n\r\n",
                     (intmax_t)size))
        return;
    while (!is_head(app) && (n = read(file, buf, sizeof(buf))) > 0)
        if (!mfcgi_write(app, buf, (size_t)n))
            return;
}

static void serve(struct mfcgi *app, const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC), client;
    struct stat st;

    if (file < 0 || fstat(file, &st) != 0) {
        mfcgi_complain(app, "cannot open %s: %s\n", path, strerror(errno));
        mfcgi_print(app, "Status: 500\r\nContent-Type: text/plain\r\n\r\nThe file is not there.\n");
        mfcgi_end(app, 1);
        return;
    }
    client = mfcgi_take_client(app);
    if (client >= 0) {
        uint64_t bytes = answer_directly(app, client, file, st.st_size);

        close(client);
        mfcgi_client_done(app, 200, bytes);
    } else {
        answer_by_server(app, file, st.st_size);
    }
    close(file);
    mfcgi_end(app, 0);
}

int main(int argc, char **argv)
{
    struct mfcgi app;

    if (argc < 2) {
        fprintf(stderr, "usage: sendself FILE [unix:/path/of/socket]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN); /* a client that leaves ends its answer, not the application */
    if (!mfcgi_open(&app, argc > 2 ? argv[2] : NULL)) {
        fprintf(stderr, "sendself: cannot listen: %s\n", strerror(errno));
        return 1;
    }
    while (mfcgi_accept(&app))
        serve(&app, argv[1]);
    mfcgi_close(&app);
    return 0;
}
