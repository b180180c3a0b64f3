/*
 * One conversation with a FastCGI application: what fcgi_run.c (attempts), fcgi_talk.c (both directions),
 * fcgi_pass.c (handing over the client), fcgi_php.c (settings of PHP) and fcgi_words.c (the log) share.
 */
#ifndef MU_APP_FCGI_TALK_H
#define MU_APP_FCGI_TALK_H

#include <http/fcgi.h>
#include <muster/buf.h>
#include <muster/fcgi.h>

/** The only id there is on a connection. */
enum { MU_FCGI_ID = 1 };

/** How a conversation ended. */
enum mu_talk_end {
    MU_TALK_ON,       /**< it goes on */
    MU_TALK_DONE,     /**< the application said that it is done, or has said all there is to say */
    MU_TALK_ENOUGH,   /**< nothing more of it was wanted, and it would not stop */
    MU_TALK_CLIENT,   /**< the client left, or sends or takes nothing (client_rc) */
    MU_TALK_BROKEN,   /**< the application broke off */
    MU_TALK_LATE,     /**< it was silent for too long */
    MU_TALK_NONSENSE, /**< it spoke something else (in.why) */
    MU_TALK_BAD_HEAD, /**< its answer has no head (logged) */
    MU_TALK_REFUSED,  /**< it declined the request (outcome) */
    MU_TALK_TOO_MUCH, /**< the request cannot be said in FastCGI */
    MU_TALK_NO_MEMORY,
};

enum mu_talk_stage { MU_TALK_BEGIN, MU_TALK_PARAMS, MU_TALK_BODY, MU_TALK_SENT };

/** Of stderr, a line that is not complete yet. */
struct mu_talk_line {
    char text[1024];
    size_t n;
};

struct mu_talk {
    struct mu_req *r;
    const struct mu_fcgi_opts *o;
    struct mu_fcgi_conn c;
    enum mu_talk_end end;

    /* To the application. */
    const struct mu_cgi_env *env;
    size_t env_at;
    struct mu_fcgi_params params;
    enum mu_talk_stage stage;
    uint8_t
        *out; /**< borrowed from the reactor while there is something to send: [out_at, out_n) */
    size_t out_at, out_n, out_cap;
    bool has_sent;      /**< anything */
    bool is_deaf;       /**< the application reads no more */
    bool has_lost_body; /**< bytes of a streamed body were read: it cannot be sent again */
    bool awaits_body;   /**< the client's next bytes are not there yet: body_item says what for */
    struct mu_wait_item body_item;
    int64_t body_deadline_ms;

    /* From it. */
    struct mu_fcgi_answer in;
    struct mu_cgi_answer answer; /**< has_answer: it was begun */
    bool has_answer;
    bool
        is_satisfied; /**< nothing more is wanted of its output; `dropped` bytes came all the same */
    bool has_junk;    /**< bytes behind its end: the connection is not kept */
    bool may_keep;    /**< in the end: the connection can carry another request */
    char first[16];   /**< its first bytes, to tell what it speaks */
    uint8_t first_n;
    struct mu_talk_line *line; /**< NULL: it said nothing on stderr */
    enum mu_fcgi_outcome outcome;
    enum mu_rc client_rc;
    int64_t heard_ms; /**< when something last moved */

    /* Is there still a client? */
    struct mu_wake leaves; /**< it has finished sending */
    int64_t ask_ms;        /**< when it is asked; 0: never, so far */
    bool has_asked;

    /* Handing over the client. */
    bool wants_client;     /**< asked for and not answered yet */
    bool is_client_denied; /**< it cannot be lent */
    bool has_client;       /**< given */
    bool has_report;       /**< CLIENT_DONE came */
    int client_fd;         /**< lent; -1: not */
    uint16_t client_status;
    uint64_t client_bytes;
};

/** Talk on t->c until t->end is something; an application that may be at work still is told to stop. */
MU_MAY_SUSPEND void mu_talk_run(struct mu_talk *t);
void mu_talk_begin_answer(struct mu_talk *t);

/* fcgi_pass.c */

/** Tell the application that it may ask for the client. */
MU_NODISCARD enum mu_rc mu_pass_offer(struct mu_req *r, const struct mu_fcgi_opts *o,
                                      struct mu_cgi_env *env);
/** It asks. */
MU_MAY_SUSPEND void mu_pass_asked(struct mu_talk *t);
/** Answer it; the connection stands between two records. MU_AGAIN: no room. */
MU_NODISCARD enum mu_rc mu_pass_answer(struct mu_talk *t);
/** It reports. */
void mu_pass_report(struct mu_talk *t, const struct mu_fcgi_event *e);
/** The conversation is over: a client that was lent and not given is the request's again. */
void mu_pass_take_back(struct mu_talk *t);
/** The conversation is over and the client was given. Returns what the handler returns. */
enum mu_status mu_pass_end(struct mu_talk *t);

/* fcgi_php.c */

/**
 * PHP_VALUE and PHP_ADMIN_VALUE.
 * Returns: MU_OK; MU_BAD: a setting cannot be sent (logged); MU_NOMEM.
 */
MU_NODISCARD enum mu_rc mu_php_settings(struct mu_req *r, struct mu_cgi_env *env);

/** What PHP has built in for a setting; p == NULL: nothing. (fcgi_php_defaults.c) */
struct mu_str mu_php_default(struct mu_str name);

/* fcgi_words.c */

/** Bytes of stderr: a log line for each line. */
void mu_talk_stderr(struct mu_talk *t, struct mu_str bytes);
/** The last line, complete or not. */
void mu_talk_stderr_end(struct mu_talk *t);
/**
 * One line that says how the conversation failed, with the backend and the likely cause; nothing
 * when it went well. `again`: it is going to be repeated.
 */
void mu_talk_explain(const struct mu_talk *t, bool again);

#endif
