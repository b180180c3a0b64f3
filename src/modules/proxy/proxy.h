/*
 * What the files of mod_proxy and mod_proxy_fcgi share: addresses of backends, workers (a backend with its parameters),
 * the ProxyPass entries, connections.
 */
#ifndef MU_MODULES_PROXY_H
#define MU_MODULES_PROXY_H

#include <muster/buf.h>
#include <muster/fcgi.h>
#include <muster/module.h>
#include <muster/mutex.h>
#include <muster/str.h>

extern struct mu_module mu_module_proxy;
extern struct mu_module mu_module_proxy_fcgi;

/* ---- url.c ---- */

enum proxy_scheme { PROXY_FCGI, PROXY_POOL, PROXY_OTHER };

/** "[unix:PATH|]scheme://host[:port][/path]", or "pool:NAME". */
struct proxy_url {
    enum proxy_scheme scheme;
    struct mu_str scheme_name;
    struct mu_str unix_path; /**< NUL-terminated; p == NULL without one */
    struct mu_str host;      /**< lower case, without brackets; "localhost" when it was empty */
    uint16_t port;           /**< 8000 when nothing is said */
    struct mu_str path;      /**< as written, from its '/' on; may be empty. Of a pool: its name */
};

/** Returns NULL, or what is wrong with it (in the arena or static). */
const char *proxy_url_parse(struct mu_arena *a, struct mu_str text, struct proxy_url *u);
/** "fcgi://host[:port]", as httpd spells it in SCRIPT_FILENAME. */
struct mu_str proxy_url_base(struct mu_arena *a, const struct proxy_url *u);
/** What log lines call it: "unix:/run/app.sock", "fcgi://127.0.0.1:9000". */
struct mu_str proxy_url_name(struct mu_arena *a, const struct proxy_url *u);
/** Why a scheme cannot be used, for configuration errors and the log. */
const char *proxy_scheme_complaint(const struct proxy_url *u);

/* ---- worker.c ---- */

enum proxy_flush { PROXY_FLUSH_OFF, PROXY_FLUSH_ON, PROXY_FLUSH_AUTO };

struct proxy_params {
    int64_t connect_ms; /**< -1: as timeout_ms */
    int64_t timeout_ms; /**< -1: ProxyTimeout, then TimeOut */
    int64_t retry_ms;
    int64_t ttl_ms;
    int64_t address_ms;
    int64_t max; /**< connections kept in a process */
    int flush;   /**< enum proxy_flush */
    bool reuses, has_keepalive, is_disabled, ignores_errors;
};

enum { PROXY_ADDRESSES = 4 };

struct proxy_address {
    union {
        struct sockaddr sa;
        struct sockaddr_storage room;
    };
    socklen_t len;
};

struct proxy_addresses {
    struct proxy_address v[PROXY_ADDRESSES];
    size_t n;
};

/** What a process knows of a backend; shared by its threads. */
struct proxy_state {
    atomic_uint kept;            /**< idle connections */
    _Atomic(int64_t) blocked_ms; /**< not asked until then (mu_now_ms) */
    struct mu_mutex lock;        /**< of what follows */
    struct proxy_addresses addresses;
    int64_t addresses_until_ms;
};

/** A backend with parameters: <Proxy>, ProxyPass, ProxySet. */
struct proxy_worker {
    struct proxy_url url;
    struct proxy_params p;
    struct proxy_state *state;
    struct mu_str file;
    unsigned line;
};

struct proxy_workers {
    struct proxy_worker **v;
    size_t n;
};

extern const struct proxy_params proxy_default_params;

/** The worker of exactly that address in `list`, made when there is none. NULL: out of memory. */
struct proxy_worker *proxy_worker_get(struct mu_cmd *cmd, struct proxy_workers *list,
                                      const struct proxy_url *url, bool *is_new);
/** The one that fits `url` best: same host and port, the longest path. NULL: none does. */
const struct proxy_worker *proxy_worker_find(const struct proxy_workers *list,
                                             const struct proxy_url *url);
/** "key=value" */
enum mu_rc proxy_param_set(struct mu_cmd *cmd, struct proxy_params *p, struct mu_str text);

/* ---- pass.c ---- */

/** One ProxyPass. */
struct proxy_pass {
    struct mu_str from; /**< prefix; unset with regex */
    struct mu_regex *regex;
    struct mu_str to;     /**< as written, without unix:; "!" is `is_exclusion` */
    struct proxy_url url; /**< of `to` */
    bool is_exclusion, is_raw /**< nocanon */;
    const struct mu_vhost *vhost; /**< the server that it stands in */
    struct mu_str file;
    unsigned line;
};

struct proxy_passes {
    const struct proxy_pass **v;
    size_t n;
};

struct proxy_rule;

struct proxy_rules {
    const struct proxy_rule **v;
    size_t n;
};

/** mod_proxy's conf. */
struct proxy_conf {
    struct proxy_passes passes;      /**< of servers, in order */
    struct proxy_workers workers;    /**< of servers */
    struct proxy_rules rules;        /**< of servers: <Proxy> with access control */
    const struct proxy_pass *here;   /**< ProxyPass in a <Location> */
    int64_t timeout_ms;              /**< ProxyTimeout; 0: not set */
    bool inherits;                   /**< ProxyPassInherit */
    bool buffers_requests;           /**< ProxyRequestBuffering */
    struct proxy_override *override; /**< ProxyErrorOverride */
    bool has_fcgi;                   /**< in the main server's: mod_proxy_fcgi is on */
};

enum mu_rc proxy_set_pass(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n);
enum mu_rc proxy_set_pass_match(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                size_t n);
enum mu_rc proxy_set_set(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n);
/** The translate hook. */
enum mu_status proxy_translate(struct mu_req *r, const void *conf);
bool proxy_wants_translate(const void *conf);

/* ---- section.c ---- */

extern const struct mu_directive proxy_section_rows[];
enum mu_rc proxy_section_open(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n);
enum mu_rc proxy_section_close(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n);
/** Does a <Proxy> section forbid `url`, "fcgi://host:port/path"? The last that fits decides. */
bool proxy_is_denied(const struct proxy_rules *rules, struct mu_str url);

/* ---- connect.c ---- */

/** One request to a backend: what `arg` of mu_fcgi_opts points to. */
struct proxy_call {
    const struct proxy_conf *conf;
    struct proxy_url url;
    const struct proxy_worker *worker; /**< NULL: nothing is configured for it */
    const struct proxy_params *p;
    struct mu_str name;
    bool is_handler; /**< by SetHandler: r->filename is a file */
    int64_t io_ms, connect_ms;
    bool (*replaces_error)(struct mu_req *r, enum mu_status status,
                           void *call); /**< ProxyErrorOverride */
    const void *priv;                   /**< of the scheme */
};

MU_MAY_SUSPEND enum mu_rc proxy_open(struct mu_req *r, struct mu_fcgi_conn *c, void *arg,
                                     enum mu_status *status);
void proxy_close(struct mu_req *r, struct mu_fcgi_conn *c, void *arg, enum mu_fcgi_end how);

/* ---- keep.c ---- */

/** Take a kept connection to the call's backend; false: there is none. */
bool proxy_kept_take(const struct proxy_call *call, struct mu_io *io);
/** Keep it, or close it when there are enough. */
void proxy_keep(const struct proxy_call *call, struct mu_io *io);
/** Close all that this thread keeps to that backend: they are as dead as the one that was tried. */
void proxy_kept_drop(const struct proxy_call *call);
/** child_stop: close what the process keeps. */
void proxy_kept_stop(struct mu_config *config);

/* ---- resolve.c ---- */

/** Addresses of the call's backend. Returns MU_OK, MU_GONE, or MU_EIO with *why. */
MU_MAY_SUSPEND enum mu_rc proxy_resolve(const struct proxy_call *call, struct proxy_addresses *out,
                                        const char **why);

/* ---- mod_proxy_fcgi.c ---- */

/** Answer r by the call's backend. */
MU_MAY_SUSPEND enum mu_status proxy_fcgi_run(struct mu_req *r, struct proxy_call *call);

#endif
