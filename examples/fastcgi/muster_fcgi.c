/*
 * muster_fcgi: FastCGI for applications, as simple as a program with one request at a time can have it. What comes from
 * the server is read in one place, always in a way that can receive a descriptor, and sorted: parameters, body, the end
 * of the request, the client. The records are the server's own codec (src/http/fcgi.c).
 */
#include "muster_fcgi.h"

#include <errno.h>
#include <http/fcgi.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { IN_SIZE = 32 * 1024, PARAMS_MAX = 16 * 1024 * 1024, MESSAGE_MAX = 8000 };

/** Bytes that grow. */
struct bytes {
    char *p;
    size_t n, cap;
};

/** Where reading the request stands. */
struct mfcgi_state {
    struct mu_fcgi_reader reader;
    char in[IN_SIZE];
    size_t in_at, in_n;
    bool has_begun, has_params, has_body; /* BEGIN_REQUEST; the ends of PARAMS and STDIN */
    bool is_aborted;
    struct bytes params, body; /* body: not given out yet, from body_at on */
    size_t body_at;
    const char **pairs; /* name, value, name, value, … */
    size_t pairs_n;
    bool is_client_there; /* the answer to TAKE_CLIENT */
    int client;
    char small[8]; /* content of BEGIN_REQUEST and CLIENT */
    size_t small_n;
};

static bool bytes_add(struct bytes *b, const void *p, size_t n)
{
    size_t cap = b->cap ? b->cap : 4096;
    char *grown;

    if (n == 0)
        return true;
    while (cap - b->n < n)
        cap *= 2;
    if (cap != b->cap) {
        grown = realloc(b->p, cap);
        if (!grown)
            return false;
        b->p = grown;
        b->cap = cap;
    }
    memcpy(b->p + b->n, p, n);
    b->n += n;
    return true;
}

/* ---- listening ---- */

static int listen_unix(const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd;

    if (strlen(path) >= sizeof(sa.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(sa.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)unlink(path);
    if (fd >= 0 && (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 || listen(fd, 128) != 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

static int listen_inet(const char *where)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *found;
    const char *port = strrchr(where, ':');
    char host[256];
    int fd = -1, on = 1;
    size_t n;

    errno = EINVAL;
    if (!port || (size_t)(port - where) >= sizeof(host))
        return -1;
    n = (size_t)(port - where);
    if (n >= 2 && where[0] == '[' && where[n - 1] == ']') {
        where++;
        n -= 2;
    }
    memcpy(host, where, n);
    host[n] = 0;
    if (getaddrinfo(n ? host : NULL, port + 1, &hints, &found) != 0)
        return -1;
    for (struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd < 0)
            continue;
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, 128) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

bool mfcgi_open(struct mfcgi *app, const char *where)
{
    *app = (struct mfcgi){ .conn = -1 };
    app->state = calloc(1, sizeof(*app->state));
    if (!app->state)
        return false;
    app->state->client = -1;
    if (!where || !*where)
        app->listener = 0;
    else if (strncmp(where, "unix:", 5) == 0)
        app->listener = listen_unix(where + 5);
    else
        app->listener = listen_inet(where);
    if (app->listener >= 0)
        return true;
    free(app->state);
    app->state = NULL;
    return false;
}

/* ---- reading ---- */

/* The client, if one came with these bytes. */
static void keep_descriptors(struct mfcgi_state *s, struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        int fd;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; (i + 1) * sizeof(fd) <= c->cmsg_len - CMSG_LEN(0); i++) {
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
            if (s->client >= 0)
                close(s->client);
            s->client = fd;
        }
    }
}

static bool receive(struct mfcgi *app)
{
    struct mfcgi_state *s = app->state;
    struct iovec iov = { s->in, sizeof(s->in) };
    union {
        char room[CMSG_SPACE(4 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
    };
    ssize_t n;

    do
        n = recvmsg(app->conn, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return false;
    keep_descriptors(s, &m);
    s->in_at = 0;
    s->in_n = (size_t)n;
    return true;
}

static void keep_small(struct mfcgi_state *s, const struct mu_fcgi_piece *p)
{
    if (p->is_first)
        s->small_n = 0;
    for (size_t i = 0; i < p->data.n && s->small_n < sizeof(s->small); i++)
        s->small[s->small_n++] = p->data.p[i];
}

static bool answer_unknown(struct mfcgi *app, const struct mu_fcgi_piece *p);

static void begin(struct mfcgi *app, const struct mu_fcgi_piece *p)
{
    struct mfcgi_state *s = app->state;

    keep_small(s, p);
    if (!p->is_last || s->small_n < 3)
        return;
    app->id = p->id;
    app->keeps_conn = s->small[2] & MU_FCGI_KEEP_CONN;
    s->has_begun = true;
}

/* Returns false when the connection is of no more use. */
static bool take_piece(struct mfcgi *app, const struct mu_fcgi_piece *p)
{
    struct mfcgi_state *s = app->state;

    if (p->type == MU_FCGI_T_BEGIN && !s->has_begun) {
        begin(app, p);
        return true;
    }
    if (p->id == 0)
        return !p->is_last || answer_unknown(app, p);
    if (!s->has_begun || p->id != app->id)
        return true; /* of a request that is over */
    switch (p->type) {
    case MU_FCGI_T_ABORT:
        s->is_aborted = true;
        return true;
    case MU_FCGI_T_PARAMS:
        s->has_params |= p->len == 0;
        return s->params.n <= PARAMS_MAX && bytes_add(&s->params, p->data.p, p->data.n);
    case MU_FCGI_T_STDIN:
        s->has_body |= p->len == 0;
        return bytes_add(&s->body, p->data.p, p->data.n);
    case MU_FCGI_T_CLIENT:
        keep_small(s, p);
        s->is_client_there |= p->is_last;
        return true;
    default:
        return true;
    }
}

/* The next piece of what the server sends. Returns false when nothing more comes. */
static bool step(struct mfcgi *app)
{
    struct mfcgi_state *s = app->state;
    struct mu_fcgi_piece p;
    size_t used;

    if (s->in_at == s->in_n && !receive(app))
        return false;
    if (mu_fcgi_read(&s->reader, s->in + s->in_at, s->in_n - s->in_at, &p, &used) != MU_OK)
        return false;
    s->in_at += used;
    return !p.is_there || take_piece(app, &p);
}

ssize_t mfcgi_read(struct mfcgi *app, void *buf, size_t n)
{
    struct mfcgi_state *s = app->state;
    size_t left;

    while (s->body_at == s->body.n && !s->has_body && !s->is_aborted) {
        s->body.n = s->body_at = 0;
        if (!step(app))
            return -1;
    }
    if (s->is_aborted)
        return -1;
    left = s->body.n - s->body_at;
    if (n > left)
        n = left;
    if (n > 0)
        memcpy(buf, s->body.p + s->body_at, n);
    s->body_at += n;
    return (ssize_t)n;
}

/* ---- writing ---- */

static bool send_all(struct mfcgi *app, struct iovec *iov, int n)
{
    while (n > 0) {
        struct msghdr m = { .msg_iov = iov, .msg_iovlen = (size_t)n };
        ssize_t sent = sendmsg(app->conn, &m, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        while (n > 0 && (size_t)sent >= iov->iov_len) {
            sent -= (ssize_t)iov->iov_len;
            iov++;
            n--;
        }
        if (n > 0) {
            iov->iov_base = (char *)iov->iov_base + sent;
            iov->iov_len -= (size_t)sent;
        }
    }
    return true;
}

static bool send_record(struct mfcgi *app, enum mu_fcgi_type type, const void *data, size_t n)
{
    uint8_t head[MU_FCGI_HEAD];
    struct iovec iov[2] = { { head, sizeof(head) }, { (void *)(uintptr_t)data, n } };

    mu_fcgi_head(head, type, app->id, n);
    return send_all(app, iov, 2);
}

/* Management records are answered with "unknown" (specification, section 4.2), GET_VALUES with nothing. */
static bool answer_unknown(struct mfcgi *app, const struct mu_fcgi_piece *p)
{
    uint8_t record[MU_FCGI_HEAD + 8] = { 0 };
    bool is_values = p->type == MU_FCGI_T_GET_VALUES;
    struct iovec iov = { record, is_values ? MU_FCGI_HEAD : sizeof(record) };

    mu_fcgi_head(record, is_values ? MU_FCGI_T_GET_VALUES_RESULT : MU_FCGI_T_UNKNOWN, 0,
                 is_values ? 0 : 8);
    record[MU_FCGI_HEAD] = p->type;
    return send_all(app, &iov, 1);
}

bool mfcgi_write(struct mfcgi *app, const void *data, size_t n)
{
    const char *p = data;

    while (n > 0) {
        size_t part = n < MU_FCGI_BODY_MAX ? n : MU_FCGI_BODY_MAX;

        if (!send_record(app, MU_FCGI_T_STDOUT, p, part))
            return false;
        p += part;
        n -= part;
    }
    return true;
}

static bool print(struct mfcgi *app, enum mu_fcgi_type type, const char *format, va_list args)
{
    char text[MESSAGE_MAX];
    int n = vsnprintf(text, sizeof(text), format, args);

    if (n <= 0)
        return n == 0;
    return send_record(app, type, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

bool mfcgi_print(struct mfcgi *app, const char *format, ...)
{
    va_list args;
    bool ok;

    va_start(args, format);
    ok = print(app, MU_FCGI_T_STDOUT, format, args);
    va_end(args);
    return ok;
}

bool mfcgi_complain(struct mfcgi *app, const char *format, ...)
{
    va_list args;
    bool ok;

    va_start(args, format);
    ok = print(app, MU_FCGI_T_STDERR, format, args);
    va_end(args);
    return ok;
}

/* ---- requests ---- */

static void hang_up(struct mfcgi *app)
{
    struct mfcgi_state *s = app->state;

    if (app->conn >= 0)
        close(app->conn);
    app->conn = -1;
    s->reader = (struct mu_fcgi_reader){ 0 };
    s->in_at = s->in_n = 0;
}

static void forget(struct mfcgi *app)
{
    struct mfcgi_state *s = app->state;

    if (s->client >= 0)
        close(s->client);
    s->client = -1;
    free(s->pairs);
    s->pairs = NULL;
    s->pairs_n = s->params.n = s->body.n = s->body_at = s->small_n = 0;
    s->has_begun = s->has_params = s->has_body = s->is_aborted = s->is_client_there = false;
    app->is_answering = false;
}

/* Strings of the parameters: each is moved to where its lengths stood, to make room for a NUL. */
static bool index_params(struct mfcgi_state *s)
{
    struct mu_str rest = { s->params.p, s->params.n };
    struct mu_fcgi_pair pair;
    size_t cap = 0;
    char *to = s->params.p;

    while (mu_fcgi_pair_read(&rest, &pair) == MU_OK) {
        if (s->pairs_n + 2 > cap) {
            const char **grown = realloc(s->pairs, (cap = cap ? 2 * cap : 64) * sizeof(*grown));

            if (!grown)
                return false;
            s->pairs = grown;
        }
        memmove(to, pair.name.p, pair.name.n); /* two bytes of lengths at least stood before it */
        to[pair.name.n] = 0;
        s->pairs[s->pairs_n++] = to;
        to += pair.name.n + 1;
        memmove(to, pair.value.p, pair.value.n);
        to[pair.value.n] = 0;
        s->pairs[s->pairs_n++] = to;
        to += pair.value.n + 1;
    }
    return rest.n == 0;
}

bool mfcgi_accept(struct mfcgi *app)
{
    struct mfcgi_state *s = app->state;

    if (app->is_answering)
        mfcgi_end(app, 1);
    for (;;) {
        if (app->conn < 0) {
            app->conn = accept4(app->listener, NULL, NULL, SOCK_CLOEXEC);
            if (app->conn < 0 && (errno == EINTR || errno == ECONNABORTED))
                continue;
            if (app->conn < 0)
                return false;
        }
        forget(app);
        while (!s->has_params && step(app))
            ;
        if (s->has_params && index_params(s)) {
            app->is_answering = true;
            return true;
        }
        hang_up(app);
    }
}

const char *mfcgi_param(const struct mfcgi *app, const char *name)
{
    const struct mfcgi_state *s = app->state;

    for (size_t i = 0; i < s->pairs_n; i += 2)
        if (strcmp(s->pairs[i], name) == 0)
            return s->pairs[i + 1];
    return NULL;
}

bool mfcgi_param_at(const struct mfcgi *app, size_t i, const char **name, const char **value)
{
    if (2 * i >= app->state->pairs_n)
        return false;
    *name = app->state->pairs[2 * i];
    *value = app->state->pairs[2 * i + 1];
    return true;
}

/* What of the body was not read stands before the next request. */
static bool drain(struct mfcgi *app)
{
    struct mfcgi_state *s = app->state;

    while (!s->has_body && !s->is_aborted) {
        s->body.n = s->body_at = 0;
        if (!step(app))
            return false;
    }
    return !s->is_aborted;
}

bool mfcgi_end(struct mfcgi *app, uint32_t status)
{
    uint8_t record[16];
    struct iovec iov = { record, mu_fcgi_end(record, app->id, status, MU_FCGI_COMPLETE) };
    bool ok = send_all(app, &iov, 1);

    if (!ok || !app->keeps_conn || !drain(app))
        hang_up(app);
    forget(app);
    return ok;
}

/* ---- the client ---- */

int mfcgi_take_client(struct mfcgi *app)
{
    struct mfcgi_state *s = app->state;
    const char *offer = mfcgi_param(app, "MUSTER_PASS_CLIENT");
    int fd;

    if (!offer || strcmp(offer, "1") != 0 || !send_record(app, MU_FCGI_T_TAKE_CLIENT, NULL, 0))
        return -1;
    s->small_n = 0;
    while (!s->is_client_there && !s->is_aborted && step(app))
        ;
    if (!s->is_client_there || s->small_n < 1 || s->small[0] != 1)
        return -1;
    fd = s->client;
    s->client = -1;
    return fd;
}

bool mfcgi_client_done(struct mfcgi *app, unsigned status, uint64_t bytes)
{
    uint8_t record[24];
    struct iovec iov = { record, mu_fcgi_client_done(record, app->id, (uint16_t)status, bytes) };

    return send_all(app, &iov, 1);
}

void mfcgi_close(struct mfcgi *app)
{
    struct mfcgi_state *s = app->state;

    hang_up(app);
    forget(app);
    free(s->params.p);
    free(s->body.p);
    free(s);
    app->state = NULL;
    if (app->listener > 0)
        close(app->listener);
}
