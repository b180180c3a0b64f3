/* What the tests of the request side share: a site in a folder of its own, a configuration over it,
 * and a protocol that keeps what it is given. Requests run in place, without a reactor. */
#ifndef REQ_FIXTURE_H
#define REQ_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants those above first. */
#include <cmocka.h>

#include <server/room.h>

/** An answer. */
struct answer {
    int status;
    struct mu_req *r; /**< that answered; its arena lives until the next ask() */
    char body[70000];
    size_t body_n;
    unsigned files; /**< chunks that are ranges of files */
    bool is_ended, is_aborted;
};

struct site {
    char root[64]; /**< of the folder; files are below root/htdocs */
    struct mu_config *config;
    struct mu_arena *arena; /**< of the present exchange */
    struct mu_exchange *x;
    struct answer a;
    char messages[4096];              /**< of loading */
    struct mu_module *const *modules; /**< further ones, ends with NULL; may be NULL */
};
extern struct site *site;

int site_setup(void **state);
int site_teardown(void **state);
/** Create a file (and its folders) below the root. Its times lie an hour back. */
void site_file(const char *path, const char *content);
void site_dir(const char *path);
/** A symbolic link below the root. A target beginning with '@' is taken from the root. */
void site_link(const char *path, const char *target);
/**
 * Load `conf`, in which '@' in front of a slash stands for the root; fails the test when there are
 * errors.
 */
void site_load(const char *conf);
/** The same, but errors are expected; they are in site->messages. */
void site_load_bad(const char *conf);
/**
 * Ask: "GET /path" with further lines as fields, "GET /x\nHost: a\nRange: bytes=0-1". The answer is
 * site->a.
 */
struct answer *ask(const char *request);
/** A field of the answer, "" when absent. Static storage. */
const char *field(const char *name);
/** The body as text. */
const char *text(void);

#define assert_status(request, code) assert_int_equal(ask(request)->status, (code))
#define assert_body(request, expected)                                                             \
    do {                                                                                           \
        ask(request);                                                                              \
        assert_string_equal(text(), (expected));                                                   \
    } while (0)
#define assert_has(haystack, needle)                                                               \
    do {                                                                                           \
        if (!strstr((haystack), (needle)))                                                         \
            fail_msg("no '%s' in: %s", (needle), (haystack));                                      \
    } while (0)

#endif
