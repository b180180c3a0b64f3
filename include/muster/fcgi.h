/* The FastCGI client: one request to an application process, whoever found the process (mod_proxy,
 * a pool). FastCGI specification 1.0, role responder. */
#ifndef MUSTER_FCGI_H
#define MUSTER_FCGI_H

#include <muster/cgi.h>
#include <muster/wait.h>

/** A connection to an application process. */
struct mu_fcgi_conn {
    struct mu_io io;
    bool is_reused; /**< it served before: found stale, the request may be sent on another */
    void *priv;     /**< of whoever opened it */
};

/** How a connection is given back. */
enum mu_fcgi_end {
    MU_FCGI_KEEP,   /**< in order, and the application agreed to keep it */
    MU_FCGI_CLOSE,  /**< in order; it ends */
    MU_FCGI_STALE,  /**< it was reused and dead: open() is called again */
    MU_FCGI_ABORT,  /**< the client left, or we gave up: the application may be at work still */
    MU_FCGI_BROKEN, /**< the application broke off, or spoke nonsense */
    MU_FCGI_LATE,   /**< it was silent for longer than io_ms */
};

struct mu_fcgi_opts {
    struct mu_str name;  /**< for log lines: "fcgi://127.0.0.1:9000", "pool blog" */
    int64_t io_ms;       /**< longest silence of the application */
    bool streams_body;   /**< send the body as it comes (ProxyRequestBuffering off) */
    bool flushes;        /**< hand each piece on at once (flushpackets on); no spooling then */
    bool flushes_pauses; /**< … what has come, when the application pauses (auto); likewise */
    bool wants_keep;     /**< FCGI_KEEP_CONN */
    bool passes_client;  /**< ProxyFCGIPassClient: lend the client's socket, if possible */
    bool may_retry;      /**< nothing answered, idempotent method: once more after BROKEN */
    /** Last changes to the environment (ProxyFCGIBackendType, ProxyFCGISetEnvIf). May be NULL. */
    enum mu_rc (*adjust)(struct mu_req *r, struct mu_cgi_env *env, void *arg);
    /** As in struct mu_cgi_answer. May be NULL. */
    bool (*replaces_error)(struct mu_req *r, enum mu_status status, void *arg);
    /**
     * A connected socket in c->io. On failure *status is what to answer (503, 504; the reason has
     * been logged; Retry-After has been set in r->out_always where it makes sense).
     * Returns: MU_OK; MU_GONE: the client left; anything else: see *status.
     */
    enum mu_rc (*open)(struct mu_req *r, struct mu_fcgi_conn *c, void *arg, enum mu_status *status);
    /** Called once for each open() that succeeded; closes c->io unless it is kept. */
    void (*close)(struct mu_req *r, struct mu_fcgi_conn *c, void *arg, enum mu_fcgi_end how);
    void *arg;
};

/**
 * Answer r by an application: collect the body (unless streams_body), open, send, relay, close.
 * Returns: what the handler returns.
 * Context: fiber; may suspend.
 */
MU_MAY_SUSPEND enum mu_status mu_fcgi_run(struct mu_req *r, const struct mu_fcgi_opts *o);

/** Is there an <ApplicationPool> of that name? For checks, when everything has been read. */
bool mu_config_has_pool(const struct mu_config *config, struct mu_str name);

#endif
