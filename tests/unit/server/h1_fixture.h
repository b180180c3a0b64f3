/* What the tests of the protocol side share: a configuration made by hand, a request side that does
 * what the path says, a host on a real reactor, and a client that is the other end of a socket pair
 * in the same thread. */
#ifndef H1_FIXTURE_H
#define H1_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants those above first. */
#include <cmocka.h>

#include <engine/fiber.h>
#include <muster/wait.h>
#include <server/core_conf.h>
#include <server/exchange.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/** Run the test under both backends. */
#define BOTH(fn)                                                                                   \
    { #fn "/epoll", fn, fixture_setup_epoll, fixture_teardown, NULL },                             \
    {                                                                                              \
#fn "/single", fn, fixture_setup_single, fixture_teardown, NULL                            \
    }

enum { MAX_RECORDS = 512 };

/** What the log phase saw of an exchange. */
struct record {
    char line[128];
    int status;
    char conn_state; /* X, +, - */
    uint64_t body, wire_in, wire_out;
};

struct fixture {
    struct mu_reactor *reactor;
    struct mu_conn_host host;
    struct mu_score_child score;
    struct mu_score_slot slots[2];
    struct mu_core_conf core;
    struct mu_read_timeouts read_timeouts;
    unsigned closed; /* calls of on_closed */
    struct record log[MAX_RECORDS];
    size_t log_n;
    char body[70000]; /* what /echo and /read took */
    size_t body_n;
    enum mu_rc body_rc, write_rc, park_rc;
    struct mu_wake *parked;         /* the fiber of /park waits for it */
    struct mu_worker_pool *workers; /* NULL: offload runs in place */
    unsigned offloads;              /* handlers that came back from where they were offloaded to */
    int file_fd;                    /* /file sends file_len bytes of it */
    uint64_t file_len;
    enum mu_rc lend_rc, spool_rc; /* of /lend, /read-ahead */
    int lent;                     /* the descriptor that /lend was given */
    int asked;                    /* clients of /ask that were told of */
    enum mu_status lent_status;   /* what it says came of it */
    int64_t lent_bytes;
    bool returns_always; /* also when it was cancelled */
    uint64_t spool_len;
    void (*spoil)(struct mu_req *r); /* what /insane sets */
    char big[1 << 20];               /* /big, /borrowed */
};
extern struct fixture *fx;

int fixture_setup_epoll(void **state);
int fixture_setup_single(void **state);
/** Epoll, with worker threads. */
int fixture_setup_workers(void **state);
int fixture_teardown(void **state);

/** A connection; returns the client's end. Small buffers on request, so that answers do not fit. */
int client_open(bool has_small_buffers);
/** The same over TCP, with what buffers the kernel likes. */
int client_open_tcp(void);
/** Send all, turning the reactor when the socket is full. */
void client_send(int fd, const char *text);
void client_send_n(int fd, const char *p, size_t n);
/** Turn until nothing happens any more. */
void settle(void);
/** What has arrived, NUL-terminated, in static storage. *is_end: the server has closed. */
const char *client_read(int fd, bool *is_end);
/**
 * Read and turn until the server closes or nothing comes any more. Returns the bytes read; the
 * first 4 KiB in `head`.
 */
size_t client_drain(int fd, char head[4096], bool *is_end);
/** Turn until `n` offloaded handlers have come back. */
void wait_offloads(unsigned n);
/** Let `ms` pass on the cached clock: timers that are due then strike. */
void advance_clock(int64_t ms);

/** How often `needle` occurs. */
size_t count_of(const char *haystack, const char *needle);

#endif
