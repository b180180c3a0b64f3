/* Inside mod_cgi: what its files have in common. One struct cgi_run is one script that runs for a
 * request; it lies on the request's fiber. */
#ifndef MU_MODULES_CGI_H
#define MU_MODULES_CGI_H

#include <muster/cgi.h>
#include <muster/module.h>
#include <muster/spawn.h>

struct cgi_conf {
    int64_t timeout_ms; /**< 0: TimeOut */
    int64_t most, queue_length, queue_timeout_ms;
    struct mu_str log; /**< ScriptLog; empty: none */
    int64_t log_length, log_buffer;
};

/** How a conversation with a script ended. */
enum cgi_end {
    CGI_ON,       /**< it goes on */
    CGI_DONE,     /**< its output has ended; or, with the client's socket, the script */
    CGI_ENOUGH,   /**< nobody wants what it still writes */
    CGI_BAD_HEAD, /**< logged */
    CGI_CLIENT,   /**< client_rc */
    CGI_LATE,
    CGI_BROKEN, /**< the helper is gone, and the script with it */
    CGI_NO_MEMORY
};

/** What ScriptLog keeps of a request until it is known whether it is logged. */
struct cgi_record {
    struct mu_buf body, out, err;
};

/** An nph- script. */
struct cgi_nph {
    bool is_raw; /**< what it writes goes to the client as it stands */
    bool
        is_parsed; /**< it cannot: its status line was read, and the rest is a CGI script's answer */
    char line[256]; /**< the status line, as far as it has come */
    size_t n;
};

struct cgi_line {
    char text[2048];
    size_t n;
};

struct cgi_run {
    struct mu_req *r;
    const struct cgi_conf *conf;
    struct mu_str name; /**< for log lines: "script /srv/cgi/a.py" */
    uint32_t slot;
    bool has_slot, has_script;
    struct mu_script script;
    bool has_exited, is_lost; /**< lost: nobody will ever know how it ended */
    int exit_status;          /**< as of waitpid(2), once it has and is not lost */

    struct mu_io in, out, err; /**< the server's ends of its pipes; fd -1: closed */
    int client_fd;             /**< lent; -1 */
    bool has_client;           /**< its standard output is the client's socket */
    struct cgi_nph *nph;       /**< NULL: not an nph- script */
    struct mu_cgi_answer answer;

    /* The body on its way to the script. */
    char *body; /**< on the heap while there is something in it; NULL */
    size_t body_at, body_n;
    bool awaits_body; /**< body_item is worth waiting for */
    struct mu_wait_item body_item;
    int64_t body_deadline_ms;
    bool is_spooling;

    struct mu_wake leaves; /**< the client has finished sending, or left */
    bool has_asked;        /**< which of it was asked */
    int64_t ask_ms;        /**< when it is to be asked; 0: there was no reason yet */
    int64_t timeout_ms, heard_ms;
    int64_t flush_ms; /**< what was taken is sent then at the latest; 0: nothing was */
    enum cgi_end end;
    enum mu_rc client_rc;
    struct cgi_line *line;     /**< of its standard error */
    struct cgi_record *record; /**< NULL without ScriptLog */
};

extern struct mu_module mu_module_cgi;

/* ---- start.c ---- */

/**
 * Start the script: environment, words, pipes, the client's socket for an nph- script where that is
 * possible.
 * Returns: MU_STATUS_NONE when it runs, else the answer (logged); nothing is left open then.
 */
enum mu_status cgi_start(struct cgi_run *c);
/** Every request that brings no body reads this. */
enum mu_rc cgi_start_open(void);
void cgi_start_close(void);

/* ---- talk.c ---- */

/** Both directions at once, until c->end is something else than CGI_ON. */
void cgi_talk(struct cgi_run *c);
/**
 * The output has ended: what the script still says on its standard error, and its end, are awaited
 * for `ms` at the most.
 */
void cgi_tail(struct cgi_run *c, int64_t ms);
/** What lies in the pipe of its standard error now. Returns the bytes. */
size_t cgi_hear(struct cgi_run *c);

/* ---- words.c ---- */

/** Bytes of its standard error, to the error log line by line. */
void cgi_stderr(struct cgi_run *c, struct mu_str bytes);
/** No more of it: the line that was begun. */
void cgi_stderr_end(struct cgi_run *c);
/** Why it could not be started. Returns the answer. */
enum mu_status cgi_explain_spawn(const struct cgi_run *c, enum mu_rc rc, int err);
/** What was unusual about its end. */
void cgi_explain_end(const struct cgi_run *c);

/* ---- script_log.c ---- */

/** Begin to keep what ScriptLog may want. */
void cgi_record_begin(struct cgi_run *c);
void cgi_record_body(struct cgi_run *c, struct mu_str bytes);
void cgi_record_out(struct cgi_run *c, struct mu_str bytes);
void cgi_record_err(struct cgi_run *c, struct mu_str bytes);
void cgi_record_end(struct cgi_run *c);
/** The script gave no answer: all that was kept, to ScriptLog. */
void cgi_log_answer(struct cgi_run *c, enum mu_status status);
/** It was not run. Returns `status`. */
enum mu_status cgi_log_error(struct mu_req *r, const struct cgi_conf *conf, enum mu_status status,
                             const char *why);

/* ---- nph.c ---- */

/** Bytes of an nph- script that does not have the client's socket. Returns as mu_cgi_answer_bytes. */
enum mu_rc cgi_nph_bytes(struct cgi_run *c, struct mu_str bytes);

#endif
