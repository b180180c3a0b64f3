/* A request as handlers, hooks and filters see it. */
#ifndef MUSTER_REQUEST_H
#define MUSTER_REQUEST_H

#include <muster/arena.h>
#include <muster/directive.h>
#include <muster/headers.h>
#include <muster/http.h>
#include <muster/log.h>
#include <muster/types.h>

struct mu_module;
struct mu_vhost;

/**
 * Merged configuration of one place (server, directory, location): v[module->index] is that
 * module's conf.
 */
struct mu_dirconf {
    const void *const *v;
};

enum mu_ftype { MU_FT_NONE, MU_FT_REG, MU_FT_DIR, MU_FT_OTHER };

/** What stat said about r->filename. */
struct mu_finfo {
    enum mu_ftype type;
    uint32_t mode;
    uint32_t uid, gid;
    uint32_t nlink;
    uint64_t dev, ino;
    uint64_t size;
    int64_t mtime_ns, ctime_ns;
};

/** Peer and local end of the connection, as text and numbers. */
struct mu_peer {
    struct mu_str client_ip; /**< "192.0.2.1", "2001:db8::1" */
    uint16_t client_port;
    struct mu_str local_ip;
    uint16_t local_port;
    uint64_t conn_id;    /**< unique in the process's life */
    uint32_t keepalives; /**< requests answered before on this connection */
    bool is_tls;
};

struct mu_filter;

struct mu_req {
    struct mu_arena *arena; /**< lives until the access log line is written */
    const struct mu_dirconf *conf;
    const struct mu_vhost *vhost;
    const struct mu_peer *peer;
    struct mu_log_ctx log;

    /* What was asked. */
    enum mu_method method;
    uint16_t version; /**< 1001, 1000, 9, 2000 */
    bool is_head;     /**< HEAD: handlers may ignore it, no body is sent */
    bool has_body;    /**< a request body was announced */
    int64_t body_len; /**< announced Content-Length; -1 when chunked; 0 without a body */
    struct mu_str method_name;
    struct mu_str request_line;
    struct mu_str target; /**< as received */
    struct mu_str host;   /**< from Host or the target, lower case, without port; may be empty */
    uint16_t host_port;
    struct mu_str path;  /**< decoded, normalised; starts with '/' (or is "*") */
    struct mu_str query; /**< raw; p == NULL when there is none */
    struct mu_headers in;
    struct mu_headers trailers;
    int64_t time_us; /**< wall clock at the request's first byte processed */
    int64_t mono_us; /**< monotonic, for durations; 0 unless a log format asks for it */

    /* Where it leads (set by translate and the walk). */
    struct mu_str filename; /**< NUL-terminated */
    struct mu_str path_info;
    struct mu_finfo finfo; /**< of filename */
    /** of an Alias, for CONTEXT_PREFIX and CONTEXT_DOCUMENT_ROOT */
    struct mu_str context_prefix, context_root;

    /* What the type phase found. Empty strings when nothing. */
    struct mu_str handler;
    struct mu_str content_type; /**< with charset parameter when there is one */
    struct mu_str content_encoding;
    struct mu_strs languages;

    /* The answer. */
    enum mu_status status;       /**< of the answer; MU_200_OK to begin with */
    struct mu_str status_reason; /**< replaces the standard phrase when not empty */
    struct mu_headers out;
    /** sent with errors and redirects too (Header always, cookies) */
    struct mu_headers out_always;
    struct mu_str etag;     /**< with quotes; put into the head by the core */
    int64_t last_modified;  /**< seconds; -1 when unknown */
    int64_t content_length; /**< of the answer's body; -1 when unknown */
    bool is_no_range;       /**< this answer takes no Range */

    struct mu_headers notes;
    struct mu_headers env; /**< SetEnv, E=…, REDIRECT_… */
    struct mu_str user, auth_type;
    uint32_t methods_allowed; /**< for Allow */

    /* Relatives. */
    struct mu_req *main;      /**< the request a sub-request belongs to; NULL in the main one */
    struct mu_req *prev;      /**< what an internal redirect came from */
    struct mu_req *next;      /**< what it became */
    struct mu_filter *output; /**< first output filter */
    uint64_t body_sent; /**< body bytes handed to the protocol, without chunked framing (%B) */
    void *priv;         /**< the core's own */
};

/** The merged conf of `m` for this request at this phase. */
#define mu_req_conf(r, m, T) ((const T *)(r)->conf->v[(m)->index])

/** ---- the answer ---- */

/** Content-Type of the answer; borrowed. */
void mu_resp_type(struct mu_req *r, struct mu_str type);
/**
 * Set, add or unset an answer field. MU_NOMEM is turned into a 500 by the core when the head is
 * made.
 */
void mu_resp_set(struct mu_req *r, struct mu_str name, struct mu_str value);
void mu_resp_add(struct mu_req *r, struct mu_str name, struct mu_str value);
void mu_resp_unset(struct mu_req *r, struct mu_str name);

/**
 * Send a complete answer whose body is `body` (valid until the exchange ends: arena or static
 * memory). Conditional requests, ranges, HEAD and Content-Length are taken care of.
 * Returns:  `status` as sent (304, 206, 416 … where conditions decided so); handlers return it.
 * Context:  fiber or offloaded; may suspend.
 */
MU_MAY_SUSPEND enum mu_status mu_resp_send(struct mu_req *r, enum mu_status status,
                                           struct mu_str body);
/**
 * Send part of a stream: chunked or until close when content_length is unknown. `data` is only
 * borrowed for the call; small pieces are gathered.
 * Returns: MU_OK, MU_GONE (client left), MU_TIMEOUT, MU_NOMEM.
 */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_resp_write(struct mu_req *r, struct mu_str data);
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_resp_printf(struct mu_req *r, const char *fmt, ...)
    MU_PRINTF(2, 3);
/** Send what is gathered now. */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_resp_flush(struct mu_req *r);

/**
 * An error or redirect answer goes out the core's way (ErrorDocument, standard page): return the
 * status from the hook.
 */

/** ---- request body ---- */

/**
 * Read at least one byte of the request body (decoded). Sends 100 Continue first when it is
 * awaited.
 * Returns: MU_OK, MU_EOF, MU_TIMEOUT (408), MU_LIMIT (413), MU_BAD (400), MU_GONE.
 */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_body_read(struct mu_req *r, void *buf, size_t cap,
                                                    size_t *got);
struct mu_wait_item;
/**
 * The same for whoever waits for other things besides (a program that is sent the body while its
 * answer is read).
 * Returns: as mu_body_read, and MU_AGAIN when nothing has arrived: *item is then what to give to
 *          mu_wait, and by *deadline_ms this is to be called again at the latest, which says so when
 *          the client was too slow.
 * Context: fiber; may suspend to send 100 Continue or to read a body that lies in a file.
 */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_body_try_read(struct mu_req *r, void *buf, size_t cap,
                                                        size_t *got, struct mu_wait_item *item,
                                                        int64_t *deadline_ms);
/** Read and drop the rest. Returns as mu_body_read, MU_OK at the end. */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_body_discard(struct mu_req *r);
/** The status that answers a failed body read. */
enum mu_status mu_body_status(enum mu_rc rc);

/**
 * Read the whole body (what is left of it) into memory and, beyond a block of it, a temporary file:
 * mu_body_read() gives it from there, and nobody else waits for a slow client. Repeating it goes
 * back to the beginning, so that the body can be sent once more.
 * Returns: MU_OK, *len is its length (0 without a body) and r->body_len as well, also when it came
 *          chunked; else what mu_body_read would have answered (mu_body_status).
 * Context: fiber or offloaded; may suspend.
 */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_body_spool(struct mu_req *r, uint64_t *len);
/**
 * From now on the answer's body does not wait for a slow client: what it does not take goes to
 * memory and then to a temporary file, up to 1 GiB (above that, writing waits), and is sent while
 * the handler goes on waiting for its application. mu_resp_flush waits as ever. The protocol sends
 * what is left by itself after the handler has returned. A client that takes nothing for TimeOut
 * cancels the fiber.
 */
void mu_resp_spool(struct mu_req *r);

/** ---- lending the client's socket to a program ---- */

/**
 * The client's own socket, for a program that answers by itself: blocking, nothing of the server's
 * waiting to be sent on it. The request body can still be read by mu_body_read. Until it is given
 * back nothing can be written to the answer; the connection closes after this request. A client
 * that leaves cancels the fiber.
 * Returns: MU_OK, *fd is the connection's descriptor (borrowed: dup2 or SCM_RIGHTS it); the caller
 *          calls mu_client_returned, or mu_resp_abort when the program is not known to be done;
 *          MU_DENIED: not possible here, relay instead: TLS, HTTP/2, a sub-request, an answer that
 *          has begun, output filters, bytes of a next request in the buffer; else the client is
 *          gone.
 */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_client_lend(struct mu_req *r, int *fd);
/**
 * The program is done with it: the answer counts as given. `status` and `bytes` are for the access
 * log; bytes < 0: what the kernel says was sent. MU_STATUS_NONE: the program has sent nothing and
 * never will; the request can be answered in the usual way.
 * Returns what the handler returns.
 */
enum mu_status mu_client_returned(struct mu_req *r, enum mu_status status, int64_t bytes);
/**
 * Cut the answer short: the connection is closed so that nobody takes it for complete.
 * Returns what the handler returns.
 */
enum mu_status mu_resp_abort(struct mu_req *r);

/**
 * From now on what is written is the answer as it stands on the wire, head included, and the
 * connection closes behind it.
 * Returns: MU_OK; MU_DENIED: not possible here: HTTP/2, a sub-request, an answer that has begun,
 *          output filters.
 */
MU_NODISCARD enum mu_rc mu_resp_raw(struct mu_req *r);

/** ---- clients that leave ---- */

struct mu_wake;
/**
 * `w` is raised when the client has finished sending. It may have left, or merely wait for its
 * answer; nothing tells the one from the other. NULL ends it, before the handler returns or leads
 * the request elsewhere. (A client that certainly left cancels the fiber in any case.)
 */
void mu_client_watch(struct mu_req *r, struct mu_wake *w);
/** Has the client not finished sending? One system call. */
bool mu_client_is_sending(struct mu_req *r);
/**
 * Say something that changes nothing, where there is such a thing (HTTP/1.1: 100 Continue before the
 * head, a leading zero of the next chunk's size behind it): a client that only waits takes no notice;
 * one that has left answers with a reset, which cancels the fiber. Once in an answer.
 * Returns: MU_OK, also when nothing could be said; MU_GONE, MU_TIMEOUT.
 */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_client_ask(struct mu_req *r);

/** ---- other requests ---- */

/**
 * Run all phases but the handler for `path` (decoded; relative to r's directory when it lacks a
 * leading '/'), as a sub-request of r: to learn its status, file and type. Lives in r's arena.
 * Returns: NULL when out of memory; otherwise ->status tells (MU_200_OK: it may be run).
 */
MU_MAY_SUSPEND struct mu_req *mu_subreq_lookup(struct mu_req *r, struct mu_str path,
                                               struct mu_str query);
/**
 * The same for a file name in r->filename's directory whose stat is known (listings): no stat is
 * made.
 */
MU_MAY_SUSPEND struct mu_req *mu_subreq_lookup_file(struct mu_req *r, struct mu_str name,
                                                    const struct mu_finfo *fi);
/**
 * The request `sub` was looked up for becomes what `sub` found: path, query, file, type, handler,
 * configuration. The hook that calls it then returns MU_STATUS_NONE, and the handler phase serves
 * that file (DirectoryIndex).
 */
void mu_subreq_adopt(struct mu_req *sub);
/** Run a looked-up sub-request's handler; its body goes into r's output. */
MU_MAY_SUSPEND enum mu_status mu_subreq_run(struct mu_req *sub);
/**
 * Answer r by another local path (with its query) as if that had been asked; environment gets
 * REDIRECT_ names.
 * Returns: the final status; hooks and handlers return it at once. 500 after ten in a row
 *          (LimitInternalRecursion).
 */
MU_MAY_SUSPEND enum mu_status mu_internal_redirect(struct mu_req *r, struct mu_str path,
                                                   struct mu_str query);

/** ---- facts ---- */

/** "http" or "https". */
struct mu_str mu_req_scheme(const struct mu_req *r);
/** "HTTP/1.1" and so on, of the request. */
struct mu_str mu_req_protocol(const struct mu_req *r);
/** Host for self-referential URLs, by UseCanonicalName. */
struct mu_str mu_req_server_name(const struct mu_req *r);
/**
 * ServerName of a server, whatever the client called it (%v); the machine's name when there is
 * none.
 */
struct mu_str mu_vhost_server_name(const struct mu_vhost *v);
/** Port of a server's ServerName, or its scheme's own (%p). */
uint16_t mu_vhost_server_port(const struct mu_vhost *v);
/** Port for self-referential URLs, by UseCanonicalPhysicalPort. */
uint16_t mu_req_server_port(const struct mu_req *r);
/** "scheme://host[:port]path", path encoded already. */
struct mu_str mu_req_url(struct mu_req *r, struct mu_str encoded_path);
/** "Muster/0.1.0 …" as ServerTokens says. */
struct mu_str mu_req_server_tokens(const struct mu_req *r);
/** The signature line of ServerSignature with `before` in front of it, HTML; empty when it is off. */
struct mu_str mu_req_signature(struct mu_req *r, struct mu_str before);
/** TimeOut of the request's server: what waiting for an application takes when nothing else is said. */
int64_t mu_req_timeout_ms(const struct mu_req *r);
/** ServerAdmin, DocumentRoot of the request's server. */
struct mu_str mu_req_admin(const struct mu_req *r);
struct mu_str mu_req_document_root(const struct mu_req *r);
/**
 * Name of the remote host as HostnameLookups allows (else the address). May suspend (name look-up,
 * offloaded).
 */
MU_MAY_SUSPEND struct mu_str mu_req_remote_host(struct mu_req *r);
/**
 * Environment: request table, then process environment where PassEnv asked; p == NULL when unset.
 */
struct mu_str mu_req_env(const struct mu_req *r, struct mu_str name);
void mu_req_env_set(struct mu_req *r, struct mu_str name, struct mu_str value);
void mu_req_note_set(struct mu_req *r, struct mu_str name, struct mu_str value);
struct mu_str mu_req_note(const struct mu_req *r, struct mu_str name);
/** Does some module answer to that handler's name? */
bool mu_req_has_handler(const struct mu_req *r, struct mu_str name);
/** Bits of Options in force here. */
enum {
    MU_OPT_INDEXES = 1,
    MU_OPT_INCLUDES = 2,
    MU_OPT_SYMLINKS = 4,
    MU_OPT_EXECCGI = 8,
    MU_OPT_INCNOEXEC = 16,
    MU_OPT_SYMLINKS_IF_OWNER = 32,
    MU_OPT_MULTIVIEWS = 64,
    MU_OPT_ALL = MU_OPT_INDEXES | MU_OPT_INCLUDES | MU_OPT_SYMLINKS | MU_OPT_EXECCGI
};
uint32_t mu_req_options(const struct mu_req *r);
/**
 * Wire bytes in and out of this request, heads and framing included (mod_logio); valid in the log
 * phase.
 */
void mu_req_wire_bytes(const struct mu_req *r, uint64_t *in, uint64_t *out);
/**
 * Microseconds from the first byte of the request to the first of the answer (%^FB); -1 when not
 * measured.
 */
int64_t mu_req_first_byte_us(const struct mu_req *r);
/** 'X' aborted before the answer was complete, '+' kept alive, '-' closed after the answer (%X). */
char mu_req_conn_state(const struct mu_req *r);

/** ---- output filters (push model) ---- */

enum mu_chunk_kind {
    MU_CHUNK_MEM,  /**< mem */
    MU_CHUNK_FILE, /**< bytes [off, off + len) of fd */
    MU_CHUNK_FLUSH /**< send what came before now */
};

struct mu_chunk {
    enum mu_chunk_kind kind;
    /** bytes or descriptor stay valid until the exchange ends; else for the call only */
    bool is_exchange_owned;
    int fd;
    struct mu_str mem;
    uint64_t off, len;
};

/** Level of a filter in the chain; lower runs first (nearer to the handler). */
enum mu_filter_level {
    MU_FILTER_RESOURCE = 10,
    MU_FILTER_CONTENT_SET = 20,
    MU_FILTER_PROTOCOL = 30
};

struct mu_filter_type {
    const char *name;
    enum mu_filter_level level;
    /** Given `n` chunks; `is_last` ends the body (n may be 0). Calls mu_filter_next. */
    enum mu_rc (*write)(struct mu_filter *f, const struct mu_chunk *chunks, size_t n, bool is_last);
    bool may_block, is_costly; /**< then the chain from here runs offloaded */
};

struct mu_filter {
    const struct mu_filter_type *type;
    struct mu_filter *next;
    struct mu_req *r;
    void *ctx;
};

/** Insert at its level, before filters of the same level. Before the first byte is written. */
MU_NODISCARD enum mu_rc mu_filter_add(struct mu_req *r, const struct mu_filter_type *type,
                                      void *ctx);
/** Pass on. */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_filter_next(struct mu_filter *f,
                                                      const struct mu_chunk *chunks, size_t n,
                                                      bool is_last);
/** Send chunks through r's filters (handlers that serve files, proxies). */
MU_NODISCARD MU_MAY_SUSPEND enum mu_rc mu_resp_chunks(struct mu_req *r,
                                                      const struct mu_chunk *chunks, size_t n,
                                                      bool is_last);
/**
 * Evaluate the conditional fields against r->etag and r->last_modified; MU_STATUS_NONE, 304 or 412.
 */
enum mu_status mu_req_conditions(struct mu_req *r);
/** Set r->etag from r->finfo as FileETag says, and r->last_modified. */
void mu_resp_file_validators(struct mu_req *r);

#endif
