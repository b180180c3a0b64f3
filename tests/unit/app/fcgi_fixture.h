/*
 * For the tests of mu_fcgi_run: a request whose body, answer and client are the test's own, and applications that
 * follow a script, each at the other end of a socket pair.
 */
#ifndef FCGI_FIXTURE_H
#define FCGI_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants those above first. */
#include <cmocka.h>

#include <engine/fiber.h>
#include <engine/reactor.h>
#include <http/fcgi.h>
#include <muster/buf.h>
#include <muster/fcgi.h>
#include <muster/str.h>

enum { APPS_MAX = 8 };

/** What an application does, step by step; after the last one it closes. */
struct step {
    enum {
        STEP_END,
        STEP_READ,   /**< the whole request */
        STEP_HEAD,   /**< its parameters */
        STEP_SEND,   /**< data as it is */
        STEP_OUT,    /**< data as stdout */
        STEP_MUCH,   /**< n bytes of stdout in records of many sizes */
        STEP_FINISH, /**< END_REQUEST */
        STEP_CUT,    /**< shut down its sending side and read on */
        STEP_DRAIN,  /**< read until the server closes */
        STEP_PAUSE,  /**< let the server run dry */
        STEP_STAY,   /**< read nothing until the server closes */
        STEP_SHUT,   /**< read no more, but stay */
        STEP_CLIENT, /**< read one record with the client, write data to it */
        STEP_DONE,   /**< CLIENT_DONE with status n and the bytes of data */
        STEP_FEED,   /**< the client sends data, the next piece of a streamed body */
        STEP_CANCEL, /**< the client leaves */
        STEP_SILENT, /**< the client has finished sending; asked whether it is there it gives asks_give */
        STEP_WAIT, /**< until it was asked */
    } op;
    struct mu_str data;
    size_t n;
};

struct app {
    struct scene *scene;
    const struct step *script;
    struct mu_io io;
    struct mu_buf heard; /**< all it read */
    bool is_reused;
    bool got_eof; /**< the server has closed its end */
    bool is_over;
    size_t scanned; /**< of `heard`, by STEP_READ and STEP_HEAD */
    struct mu_fcgi_reader reader;
    enum mu_fcgi_end how;
    bool is_closed;
};

struct scene {
    struct mu_reactor *reactor;
    struct mu_fiber *hero;
    struct mu_req req;
    struct mu_peer peer;
    struct mu_fcgi_opts o;
    enum mu_status status; /**< what mu_fcgi_run returned */
    bool is_over;

    struct app apps[APPS_MAX];
    int apps_n, opened, closed;
    enum mu_status open_fails; /**< when apps are used up */

    struct mu_str body;
    size_t body_at;
    bool is_fed;       /**< streamed: mu_body_try_read gives only what STEP_FEED brought */
    struct mu_buf fed; /**< not read yet */
    bool feed_has_ended;
    enum mu_rc body_fails; /**< at its end */
    struct mu_wake feed;
    int spooled, is_spooling;

    struct mu_buf answer;
    int begun, ended, flushed;
    bool is_slow;            /**< each piece of the answer waits for the client */
    enum mu_rc answer_gives; /**< what mu_cgi_answer_bytes returns */
    enum mu_rc why;
    enum mu_status broken;

    enum mu_rc lend_gives;
    int lend_pair[2]; /**< [0] is lent, [1] the test's */
    int lent, returned, aborted;
    enum mu_status returned_status;
    int64_t returned_bytes;

    struct mu_wake *watch; /**< raised when the client has finished sending */
    struct mu_wake was_asked;
    bool is_silent;
    enum mu_rc asks_give;
    int asked;

    const struct mu_php_value *php;
    size_t php_n;
    const struct mu_str *php_names;
    size_t php_names_n;
};

/** Parameters as text: "NAME=value\n…", of what application `n` heard. In the scene's arena. */
const char *scene_params(struct scene *s, int n);
/** Stdin that it heard. */
struct mu_str scene_stdin(struct scene *s, int n);
/** Is there a record of that type? */
bool scene_heard(struct scene *s, int n, enum mu_fcgi_type type);
void scene_init(struct scene *s, enum mu_backend backend);
/** The next application that is opened follows `script`. */
void scene_app(struct scene *s, const struct step *script, bool is_reused);
/** Run the request until all is over. */
void scene_run(struct scene *s);
void scene_fini(struct scene *s);
/** What was logged: the tags and texts, a line each. */
extern char scene_log[8192];

#endif
