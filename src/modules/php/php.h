/* mod_php's own: one request on its way through libphp, and what its files call of each other. */
#ifndef MU_PHP_H
#define MU_PHP_H

#include <muster/cgi.h>
#include <muster/module.h>

enum mu_php_stage {
    MU_PHP_STARTING, /**< php_request_startup: a form's body is read here */
    MU_PHP_RUNNING,  /**< the script */
    MU_PHP_ENDING /**< shutdown functions, sessions; what is left of the body is the server's again */
};

/** One request in PHP: SG(server_context) points to it for as long. */
struct mu_php_call {
    struct mu_req *r;
    enum mu_php_stage stage;
    bool has_env;
    bool is_head_made;     /**< status and type stand in r */
    struct mu_cgi_env env; /**< made when it is first asked for */
    char *word;            /**< the last variable that PHP asked for */
    size_t word_cap;
    struct mu_str type;  /**< Content-Type as the script left it */
    struct mu_str first; /**< of the body: read before the script begins */
    enum mu_rc body_rc;  /**< MU_OK, MU_EOF, or why the body ended too early */
};

/** What php_value may set under names of this module. */
struct mu_php_ini {
    bool engine;
    bool last_modified;
};
extern struct mu_php_ini mu_php_ini;

extern struct mu_module mu_module_php;

/* ---- startup.c ---- */

/**
 * Start libphp in this process; children that are forked from it share what it prepares.
 * `ini` is PHPINIDir's folder or file, NULL: the default.
 * Returns: MU_BAD after a log line.
 */
MU_NODISCARD enum mu_rc mu_php_startup(const char *ini);
void mu_php_shutdown(void);

/* ---- request.c ---- */

/**
 * Answer `r` by what the script r->filename says, or with its source in colours.
 * Returns: what a handler returns.
 */
MU_MAY_SUSPEND enum mu_status mu_php_answer(struct mu_req *r, bool is_source);
/** Is `engine` on for `r`? */
bool mu_php_is_engine_on(const struct mu_req *r);

/* ---- sapi.c ---- */

/** Everything that libphp calls, for sapi_startup. */
struct _sapi_module_struct *mu_php_sapi(void);
/** The environment of the request in PHP; NULL: out of memory. */
struct mu_cgi_env *mu_php_env(struct mu_php_call *c);
/** Tell who must not write to the client any more: a copy of this process that a script forked. */
void mu_php_watch_forks(void);
bool mu_php_is_copy(void);

/* ---- functions.c ---- */

/** apache_…(), virtual() and the rest, as PHP's module "apache2handler". */
struct _zend_module_entry *mu_php_functions(void);

/* ---- mod_php.c ---- */

/** What this process serves by. */
extern const struct mu_config *mu_php_config;

/** Does a handler of this module serve `r`? */
bool mu_php_serves(const struct mu_req *r);

/* ---- baton.c ---- */

/**
 * One request at a time in this process: wait for the end of others. `root` tells the requests that
 * belong together: a main one, its sub-requests and what they were redirected to.
 * Returns: MU_OK; MU_LIMIT: `root` has it already, so the wait would be for ever; MU_GONE.
 */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_php_baton_take(const void *root);
void mu_php_baton_give(void);

/* ---- crash.c ---- */

/** In a child: from now on a crash while a script runs is noted in the error log. */
void mu_php_crash_prepare(void);
/** The script of `r` runs; until mu_php_crash_unwatch. */
void mu_php_crash_watch(const struct mu_req *r);
void mu_php_crash_unwatch(void);

#endif
