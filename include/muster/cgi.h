/* Applications, whatever way they are run: the environment they are given (RFC 3875 section 4.1),
 * the answer they give (section 6), and what the configuration says for all of them. */
#ifndef MUSTER_CGI_H
#define MUSTER_CGI_H

#include <muster/request.h>

/* ---- the environment ---- */

struct mu_cgi_var {
    struct mu_str name, value; /**< no NUL in either, no '=' in the name */
};

/** In order; names are unique. In the request's arena. */
struct mu_cgi_env {
    struct mu_req *r;
    struct mu_cgi_var *v;
    size_t n, cap;
};

/**
 * Fill *env for `r`: the server's and the request's variables, the header fields as HTTP_…, what
 * SetEnv, PassEnv and REDIRECT_ left in r->env. r->env comes first, so no variable of the server
 * can be replaced by it; a header field can set nothing but HTTP_….
 * SCRIPT_NAME, SCRIPT_FILENAME, PATH_INFO and PATH_TRANSLATED follow from r->path, r->filename and
 * r->path_info. CONTENT_LENGTH is set when the length is known (r->body_len, or what mu_body_spool
 * counted).
 * Returns: MU_OK, MU_NOMEM.
 * Context: fiber or offloaded; may suspend (PATH_TRANSLATED looks a file up).
 */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_cgi_env_make(struct mu_req *r, struct mu_cgi_env *env);
/**
 * Replace or add. Names are told apart without case. Bytes are borrowed.
 * Returns: MU_OK, MU_NOMEM; MU_BAD: a name that is empty or holds '=', or a NUL.
 */
MU_NODISCARD enum mu_rc mu_cgi_env_set(struct mu_cgi_env *env, struct mu_str name,
                                       struct mu_str value);
void mu_cgi_env_unset(struct mu_cgi_env *env, struct mu_str name);
/** p == NULL when there is none. */
struct mu_str mu_cgi_env_get(const struct mu_cgi_env *env, struct mu_str name);
/**
 * "NAME=value" strings for execve, with a NULL at the end, and TZ of the server's own. What is not
 * a letter, digit or '_' in a name becomes '_'. NULL: out of memory.
 */
char **mu_cgi_env_strings(const struct mu_cgi_env *env);

/* ---- the answer ---- */

/**
 * What an application writes, taken as it comes: first the head, parsed and checked (Status,
 * Location, Content-Type; nothing that could end or split the server's own head), then the body,
 * sent through r's filters. Local redirects (Location: /path), client redirects, X-Sendfile and
 * HEAD are dealt with here. Put it on the fiber's stack.
 */
struct mu_cgi_answer {
    struct mu_req *r;
    struct mu_str source; /**< for log lines: "script /srv/cgi/a.py", "pool blog" */
    bool flushes;         /**< every piece goes to the client at once (flushpackets, CGI) */
    bool is_head_done;    /**< read: the head is complete, the answer may have begun */
    bool has_begun;       /**< read: bytes of this answer went to the protocol */
    /**
     * Set it behind mu_cgi_answer_begin: shall the core's own page be sent for this error instead of
     * the application's (ProxyErrorOverride)? NULL: never.
     */
    bool (*replaces_error)(struct mu_req *r, enum mu_status status, void *arg);
    void *arg;
    void *priv;
};

void mu_cgi_answer_begin(struct mu_cgi_answer *a, struct mu_req *r, struct mu_str source,
                         bool flushes);
/**
 * The next bytes of the application's output; borrowed for the call. What nobody wants (behind a
 * redirect, X-Sendfile, a status without a body, Content-Length) is dropped for a while, so that
 * the application can finish its work.
 * Returns: MU_OK to go on; MU_EOF: much was dropped already, stop reading, end; MU_BAD: the head is
 *          not one (logged with the reason); MU_GONE, MU_TIMEOUT: the client; MU_NOMEM.
 * Context: fiber or offloaded; may suspend.
 */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_cgi_answer_bytes(struct mu_cgi_answer *a,
                                                           struct mu_str bytes);
/**
 * Send what has been gathered so far. Called by who reads the output, when nothing more is there
 * and before it waits: then output appears as it is produced, and a short answer is still sent in
 * one piece, with its length.
 * Returns: MU_OK, also when there is nothing to send; MU_GONE, MU_TIMEOUT: the client; MU_NOMEM.
 */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_cgi_answer_flush(struct mu_cgi_answer *a);
/**
 * The output has ended. `why`: MU_EOF in order; MU_EIO the application broke off; MU_TIMEOUT it
 * took too long; MU_GONE it is the client who left, or is at fault; MU_BAD, MU_NOMEM. An answer that was begun and not completed is aborted, never
 * made to look complete; if nothing of it was sent yet, an error is answered instead. Carries out
 * local redirects and X-Sendfile. A log line says what was cut off and that a head is missing; why
 * the application broke off or was late is the caller's to log, and so is what the client did.
 * Returns:  what the handler returns: the status of what was sent, or of the error page to send
 *           (500 no head, 502, 504 …; `broken` is the status for MU_EIO and MU_GONE).
 */
MU_MAY_SUSPEND enum mu_status mu_cgi_answer_end(struct mu_cgi_answer *a, enum mu_rc why,
                                                enum mu_status broken);

/* ---- what the configuration says for every application (src/app/mod_app.c) ---- */

/** php_value, php_flag, php_admin_value, php_admin_flag in force for a request, outermost first. */
struct mu_php_value {
    struct mu_str name, value; /**< flags: "1" or "0" */
    bool is_admin;
};
const struct mu_php_value *mu_req_php_values(const struct mu_req *r, size_t *n);
/** Every name that one of these sets anywhere in the configuration `v` belongs to, each once. */
const struct mu_str *mu_php_names(const struct mu_vhost *v, size_t *n);

/**
 * RLimitCPU, RLimitMEM, RLimitNPROC: soft and hard; UINT64_MAX: as high as the process that starts
 * the program may go, so a hard limit of UINT64_MAX is left as it is; is_set false: both are.
 */
struct mu_app_limit {
    bool is_set;
    uint64_t soft, hard;
};
struct mu_app_limits {
    struct mu_app_limit cpu_s, mem_bytes, nproc;
};
struct mu_app_limits mu_req_app_limits(const struct mu_req *r);

/**
 * SuexecUserGroup of the request's server: an index into the configuration's list (the same in
 * every process of a generation), -1 without one.
 */
int mu_req_suexec(const struct mu_req *r);

/** What SuexecUserGroup says; never root. */
struct mu_suexec {
    const char *user, *group; /**< as written; "#1000" is a number */
    uint32_t uid, gid;
    int index;
};
/** Entry `index` of the configuration's list, NULL when there is none. For whoever starts it. */
const struct mu_suexec *mu_config_suexec(const struct mu_config *config, int index);

/** AcceptPathInfo where a handler takes it by default (CGI, PHP): may r have a path_info? */
bool mu_req_accepts_path_info(const struct mu_req *r, bool by_default);

#endif
