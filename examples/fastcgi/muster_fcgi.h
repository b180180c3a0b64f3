/*
 * muster_fcgi: a small library for FastCGI applications in C (role responder, one request at a time), which can take
 * over the client's connection from a server that offers it (docs/fcgi-pass-client.md). Blocking calls, one thread per
 * struct; it needs nothing but a C library.
 *
 *     struct mfcgi app;
 *
 *     mfcgi_open(&app, argc > 1 ? argv[1] : NULL);
 *     while (mfcgi_accept(&app)) {
 *         mfcgi_print(&app, "Content-Type: text/plain\r\n\r\nHello, %s\n", mfcgi_param(&app, "REMOTE_ADDR"));
 *         mfcgi_end(&app, 0);
 *     }
 */
#ifndef MUSTER_FCGI_LIBRARY_H
#define MUSTER_FCGI_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** All of an application. Put it anywhere; mfcgi_open() fills it. The fields are the library's. */
struct mfcgi {
    int listener, conn;
    bool keeps_conn; /**< the server wants the connection again */
    bool is_answering;
    uint16_t id;
    struct mfcgi_state *state;
};

/**
 * Where to listen: "unix:/path", "host:port", "[v6]:port"; NULL or "" takes descriptor 0, as a pool of Muster's and
 * spawn-fcgi give it.
 * Returns: false, with errno.
 */
bool mfcgi_open(struct mfcgi *app, const char *where);
void mfcgi_close(struct mfcgi *app);

/** Wait for the next request. Returns: false when listening has come to an end (errno). */
bool mfcgi_accept(struct mfcgi *app);
/** A variable; NULL when there is none. Valid until the request ends. */
const char *mfcgi_param(const struct mfcgi *app, const char *name);
/** Variable `i` in the order of the server; false at the end. */
bool mfcgi_param_at(const struct mfcgi *app, size_t i, const char **name, const char **value);
/** Bytes of the request's body. Returns: how many; 0 at its end; -1: the server has gone, or gave up the request. */
ssize_t mfcgi_read(struct mfcgi *app, void *buf, size_t n);

/** The answer: a head as of CGI ("Status: 404\r\nContent-Type: …\r\n\r\n") and a body. Returns: false: nobody wants it. */
bool mfcgi_write(struct mfcgi *app, const void *data, size_t n);
bool mfcgi_print(struct mfcgi *app, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** A line for the server's error log. */
bool mfcgi_complain(struct mfcgi *app, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/** The request is done. Returns: false: the connection was gone. */
bool mfcgi_end(struct mfcgi *app, uint32_t status);

/**
 * Ask for the client's own socket, before anything was written. It is blocking; what is written to it is what the
 * client reads, so a whole HTTP/1 answer is expected, with "Connection: close". The request's body can still be read.
 * Returns: a descriptor, which the caller closes; -1: not offered, or not possible for this request; answer by
 *          mfcgi_write.
 */
int mfcgi_take_client(struct mfcgi *app);
/**
 * The client was answered: what the access log is to say. Close the descriptor first; mfcgi_end() follows.
 * `bytes` are those of the answer's body.
 */
bool mfcgi_client_done(struct mfcgi *app, unsigned status, uint64_t bytes);

#endif
