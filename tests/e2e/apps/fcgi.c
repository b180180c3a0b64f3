/* The FastCGI side of testapp: one connection and one request at a time, as a PHP process does it.
 *
 * Accepts on the given descriptor, keeps the connection when the server asks for it, answers GET_VALUES, names
 * unknown types, and reads the body only when a command does. SIGTERM and SIGUSR1 end it after the request at hand.
 * A connection that breaks ends the request by longjmp: nothing is held that this would lose. */
#include "app.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BEGIN = 1,
    ABORT,
    END,
    PARAMS,
    STDIN,
    STDOUT,
    STDERR,
    DATA,
    GET_VALUES,
    GET_VALUES_RESULT,
    UNKNOWN
};
enum { KEEP_CONN = 1, RESPONDER = 1, UNKNOWN_ROLE = 3, MAX_VARS = 4096 };

struct record {
    uint8_t type;
    uint16_t id, len;
    uint8_t padding;
};

static struct {
    int fd;
    uint16_t id;
    bool keeps, is_body_done, is_aborted;
    struct record
        body; /**< the STDIN record that is being read; len and padding are what is left of it */
    uint8_t in[65536];
    size_t in_at, in_end;
    uint8_t out[8 + 32768];
    size_t out_len; /**< of the content that is gathered behind the header */
    unsigned served;
} c;

static struct app a;

static jmp_buf lost;
static volatile sig_atomic_t ends;

static void on_signal(int number)
{
    (void)number;
    ends = 1;
}

static void send_all(const void *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(c.fd, p, n, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            longjmp(lost, 1);
        p = (const char *)p + sent;
        n -= (size_t)sent;
    }
}

/* True when there are bytes; false at the end of the connection. */
static bool fill(void)
{
    ssize_t got;

    if (c.in_at < c.in_end)
        return true;
    do
        got = read(c.fd, c.in, sizeof c.in);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        longjmp(lost, 1);
    c.in_at = 0;
    c.in_end = (size_t)got;
    return got > 0;
}

static size_t take(void *p, size_t n)
{
    size_t there;

    if (!fill())
        return 0;
    there = c.in_end - c.in_at;
    if (n > there)
        n = there;
    if (p)
        memcpy(p, c.in + c.in_at, n);
    c.in_at += n;
    return n;
}

static void take_all(void *p, size_t n)
{
    while (n > 0) {
        size_t got = take(p, n);

        if (got == 0)
            longjmp(lost, 1);
        if (p)
            p = (char *)p + got;
        n -= got;
    }
}

/* False at the end of the connection between two records. */
static bool next_record(struct record *r)
{
    uint8_t h[8];

    if (!fill())
        return false;
    take_all(h, 8);
    if (h[0] != 1) {
        fprintf(stderr, "testapp: record of version %u\n", h[0]);
        longjmp(lost, 1);
    }
    *r = (struct record){ .type = h[1],
                          .id = (uint16_t)(h[2] << 8 | h[3]),
                          .len = (uint16_t)(h[4] << 8 | h[5]),
                          .padding = h[6] };
    return true;
}

static void put_header(uint8_t *h, uint8_t type, uint16_t id, size_t len)
{
    const uint8_t bytes[8] = {
        1, type, (uint8_t)(id >> 8), (uint8_t)id, (uint8_t)(len >> 8), (uint8_t)len, 0, 0
    };

    memcpy(h, bytes, 8);
}

static void send_record(uint8_t type, uint16_t id, const void *p, size_t len)
{
    uint8_t h[8 + 1024];

    put_header(h, type, id, len);
    memcpy(h + 8, p, len);
    send_all(h, 8 + len);
}

void fcgi_flush(void)
{
    if (c.out_len == 0)
        return;
    put_header(c.out, STDOUT, c.id, c.out_len);
    send_all(c.out, 8 + c.out_len);
    c.out_len = 0;
}

void fcgi_write(const void *p, size_t n)
{
    while (n > 0) {
        size_t room = sizeof c.out - 8 - c.out_len, part = n < room ? n : room;

        memcpy(c.out + 8 + c.out_len, p, part);
        c.out_len += part;
        p = (const char *)p + part;
        n -= part;
        if (c.out_len == sizeof c.out - 8)
            fcgi_flush();
    }
}

void fcgi_err(const char *text)
{
    size_t n = strlen(text);

    for (size_t part; n > 0; text += part, n -= part) {
        part = n < 1024 ? n : 1024;
        send_record(STDERR, c.id, text, part);
    }
}

void fcgi_raw(const void *p, size_t n)
{
    fcgi_flush();
    send_all(p, n);
}

/* Records that are no part of a request's streams. */
static void other_record(const struct record *r)
{
    static const uint8_t values[] = "\x0f\x01"
                                    "FCGI_MPXS_CONNS"
                                    "0";
    const uint8_t unknown[8] = { r->type };

    take_all(NULL, (size_t)r->len + r->padding);
    if (r->type == ABORT && r->id == c.id)
        c.is_aborted = true;
    else if (r->type == GET_VALUES && r->id == 0)
        send_record(GET_VALUES_RESULT, 0, values, sizeof values - 1);
    else if (r->id == 0)
        send_record(UNKNOWN, 0, unknown, 8);
}

size_t fcgi_read(void *buf, size_t cap)
{
    while (!c.is_body_done && c.body.len == 0) {
        take_all(NULL, c.body.padding);
        c.body.padding = 0;
        if (!next_record(&c.body))
            longjmp(lost, 1);
        if (c.body.type != STDIN || c.body.id != c.id) {
            other_record(&c.body);
            c.body = (struct record){ 0 };
            c.is_body_done = c.is_aborted;
        } else if (c.body.len == 0) {
            take_all(NULL, c.body.padding);
            c.body.padding = 0;
            c.is_body_done = true;
        }
    }
    if (c.is_body_done)
        return 0;
    cap = take(buf, cap < c.body.len ? cap : c.body.len);
    if (cap == 0)
        longjmp(lost, 1);
    c.body.len = (uint16_t)(c.body.len - cap);
    return cap;
}

bool fcgi_await_abort(void)
{
    char dropped[4096];
    struct record r;

    while (!c.is_aborted && fcgi_read(dropped, sizeof dropped) > 0)
        ;
    while (!c.is_aborted && next_record(&r))
        other_record(&r);
    return c.is_aborted;
}

/* ---- parameters ---- */

static size_t take_length(const uint8_t **p, const uint8_t *end)
{
    size_t n = **p;

    if (n < 128)
        return (*p)++, n;
    if (end - *p < 4)
        return SIZE_MAX;
    n = (size_t)(n & 127) << 24 | (size_t)(*p)[1] << 16 | (size_t)(*p)[2] << 8 | (*p)[3];
    *p += 4;
    return n;
}

/* NAME=value strings of the parameters; the array and the strings are the caller's to free. */
static char **parse_params(const uint8_t *p, size_t len)
{
    char **env = calloc(MAX_VARS + 1, sizeof *env);
    const uint8_t *end = p + len;
    size_t n = 0;

    while (p < end && n < MAX_VARS) {
        size_t name = take_length(&p, end), value = p < end ? take_length(&p, end) : SIZE_MAX;

        if (name > (size_t)(end - p) || value > (size_t)(end - p) - name) {
            fprintf(stderr, "testapp: parameters end in the middle of one\n");
            longjmp(lost, 1);
        }
        env[n] = malloc(name + value + 2);
        memcpy(env[n], p, name);
        env[n][name] = '=';
        memcpy(env[n] + name + 1, p + name, value);
        env[n++][name + 1 + value] = '\0';
        p += name + value;
    }
    return env;
}

static char **read_params(void)
{
    static uint8_t all[1 << 20];
    size_t len = 0;
    struct record r;

    for (;;) {
        if (!next_record(&r))
            longjmp(lost, 1);
        if (r.type != PARAMS || r.id != c.id) {
            other_record(&r);
            continue;
        }
        if (len + r.len > sizeof all)
            longjmp(lost, 1);
        take_all(all + len, r.len);
        take_all(NULL, r.padding);
        if (r.len == 0)
            return parse_params(all, len);
        len += r.len;
    }
}

static void free_env(char **env)
{
    for (char **e = env; e && *e; e++)
        free(*e);
    free(env);
}

/* ---- requests ---- */

static void end_request(uint32_t app_status, uint8_t protocol_status)
{
    const uint8_t end[8] = { (uint8_t)(app_status >> 24), (uint8_t)(app_status >> 16),
                             (uint8_t)(app_status >> 8), (uint8_t)app_status, protocol_status };

    fcgi_flush();
    if (protocol_status == 0)
        send_record(STDOUT, c.id, "", 0);
    send_record(END, c.id, end, 8);
}

/* False: nothing more comes on this connection. */
static bool begin_request(void)
{
    uint8_t body[8];
    struct record r;

    for (;;) {
        if (!next_record(&r))
            return false;
        if (r.type == BEGIN && r.len == 8)
            break;
        other_record(&r);
    }
    take_all(body, 8);
    take_all(NULL, r.padding);
    c.id = r.id;
    c.keeps = body[2] & KEEP_CONN;
    c.is_body_done = c.is_aborted = false;
    c.body = (struct record){ 0 };
    c.out_len = 0;
    if ((body[0] << 8 | body[1]) == RESPONDER)
        return true;
    end_request(0, UNKNOWN_ROLE);
    return false;
}

static bool answer(const char *marks)
{
    char dropped[65536];

    if (!begin_request())
        return false;
    free_env(a.env);
    memset(&a, 0, sizeof a);
    a.is_fcgi = true;
    a.marks = marks;
    a.env = read_params();
    c.served++;
    app_run(&a);
    if (a.is_cut)
        return false;
    if (c.keeps) /* what is left of this body must not be read as the next request */
        while (fcgi_read(dropped, sizeof dropped) > 0)
            ;
    end_request(a.status, a.protocol_status);
    return c.keeps;
}

/* A connection, or -1 when it is time to end. Signals are seen here only, so none is missed. */
static int accept_next(int listener, const sigset_t *open_mask)
{
    while (!ends) {
        struct pollfd p = { .fd = listener, .events = POLLIN };
        int fd =
            ppoll(&p, 1, NULL, open_mask) > 0 ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;

        if (fd >= 0)
            return fd;
    }
    return -1;
}

/* A kept connection waits for its next request or the order to end. */
static bool has_more(const sigset_t *open_mask)
{
    struct pollfd p = { .fd = c.fd, .events = POLLIN };

    while (!ends && c.in_at == c.in_end) {
        if (ppoll(&p, 1, NULL, open_mask) > 0)
            break;
    }
    return !ends;
}

static void serve_connection(const char *marks, unsigned max, const sigset_t *open_mask)
{
    c.in_at = c.in_end = 0;
    if (setjmp(lost))
        return;
    while (answer(marks) && (!max || c.served < max) && has_more(open_mask))
        ;
}

void fcgi_serve(int listener, const char *marks, unsigned max)
{
    struct sigaction end = { .sa_handler = on_signal };
    sigset_t blocked, open_mask;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, &open_mask);
    sigdelset(&open_mask, SIGTERM);
    sigdelset(&open_mask, SIGUSR1);
    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGUSR1, &end, NULL);
    while (!max || c.served < max) {
        c.fd = accept_next(listener, &open_mask);
        if (c.fd < 0)
            return;
        serve_connection(marks, max, &open_mask);
        close(c.fd);
    }
}
