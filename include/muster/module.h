/* The module contract. A module is one MU_MODULE(name, …) and what it names; see docs/modules.md
 * and mod_hello. */
#ifndef MUSTER_MODULE_H
#define MUSTER_MODULE_H

#include <muster/buf.h>
#include <muster/directive.h>
#include <muster/list.h>
#include <muster/request.h>
#include <muster/str.h>
#include <muster/wait.h>

#define MU_MODULE_ABI 1u

/** Hooks of a request, in the order they run. */
enum mu_phase {
    MU_PHASE_POST_READ,
    MU_PHASE_TRANSLATE, /**< map r->path to r->filename; the first that sets it ends the phase */
    MU_PHASE_MAP,       /**< after the walk: may look at filename and finfo */
    MU_PHASE_ACCESS,    /**< all must let it pass */
    MU_PHASE_AUTHN,
    MU_PHASE_AUTHZ,
    MU_PHASE_TYPE,
    MU_PHASE_FIXUP,
    MU_PHASE_LOG, /**< the answer is out: must not suspend */
    MU_PHASE_COUNT
};

/**
 * Returns MU_STATUS_NONE to go on, or the status that ends the request. `conf` is the module's
 * merged conf.
 */
typedef enum mu_status mu_hook_fn(struct mu_req *r, const void *conf);

struct mu_hook {
    enum mu_phase phase;
    int order; /**< lower first; 0 is the middle; among equals, module order */
    mu_hook_fn *fn;
    bool may_block;
    /**
     * Is the hook of any use under this merged conf? NULL: always. Asked once per merge, not per
     * request.
     */
    bool (*is_active)(const void *conf);
};

struct mu_handler {
    /**
     * What SetHandler and AddHandler say; "" serves as the default handler; a name that ends in ':'
     * ("proxy:") answers to every handler that begins so.
     */
    const char *name;
    mu_hook_fn *fn;
    /** set of MU_METHOD_BIT; others are answered 405 by the core (OPTIONS by itself) */
    uint32_t methods;
    bool may_block, is_costly;
};

enum mu_threads {
    MU_THREADS_ANY,
    MU_THREADS_NONE /**< one request at a time in a process: prefork only */
};

/**
 * A module's part of the status page. It must not wait: what it shows lies in memory, or in files of
 * the kernel's.
 */
struct mu_status_provider {
    const char *title;                                     /**< heading of its section */
    void (*html)(struct mu_req *r, struct mu_buf *out);    /**< the section's content */
    void (*machine)(struct mu_req *r, struct mu_buf *out); /**< "Key: value" lines */
};

/** How slowly a request may arrive (RequestReadTimeout). 0 = no limit. */
struct mu_read_timeouts {
    int64_t header_ms, header_max_ms; /**< first limit, and the most that MinRate extends it to */
    int64_t body_ms, body_max_ms;
    uint32_t header_rate, body_rate; /**< bytes a second that extend the limit by a second */
};

struct mu_module {
    uint32_t abi;
    uint16_t index;   /**< given by the core at load time */
    bool is_shared;   /**< came from a DSO */
    const char *name; /**< "hello": file mod_hello.c, identifier hello_module */
    size_t conf_size;
    const struct mu_directive *directives;
    const struct mu_handler *handlers; /**< ends with a NULL name */
    const struct mu_hook *hooks;       /**< ends with a NULL fn */
    enum mu_threads threads;
    /** Fill the defaults of the outermost conf (zeroed). */
    void (*init)(void *conf);
    /**
     * After the core has merged the typed fields into *out: merge the rest. `base` is merged,
     * `over` as written.
     */
    enum mu_rc (*merge)(struct mu_arena *a, const void *base, const void *over, void *out);
    /** After everything is read: cross-checks, derived data. Errors through mu_config_error. */
    enum mu_rc (*check)(struct mu_config *config, struct mu_arena *a);
    /** In the supervisor before children start (open logs, shared memory) and in each child. */
    enum mu_rc (*server_start)(struct mu_config *config);
    enum mu_rc (*child_start)(struct mu_config *config);
    void (*child_stop)(struct mu_config *config);
    const struct mu_status_provider *status;
    /** Of a server's merged conf; the first module that answers decides (mod_reqtimeout). */
    const struct mu_read_timeouts *(*read_timeouts)(const void *conf);
    bool wants_timing; /**< needs mono_us and first-byte times when on */
    const void *mpm;   /**< a struct mu_mpm when the module is an MPM; nothing else uses it */
};

/**
 * Report an error that belongs to no single directive (or to one at file:line). Always returns
 * MU_BAD.
 */
enum mu_rc mu_config_error(struct mu_config *config, const char *fmt, ...) MU_PRINTF(2, 3);
/** Report a warning; the configuration stays valid. */
void mu_config_warn(struct mu_config *config, const char *fmt, ...) MU_PRINTF(2, 3);
/**
 * The servers of the configuration: 0 is the main one; NULL at the end. And the merged conf of a
 * module there.
 */
const struct mu_vhost *mu_config_vhost(const struct mu_config *config, size_t i);
const void *mu_vhost_conf(const struct mu_vhost *v, const struct mu_module *m);
/** The status providers of the modules that are on, in their order; NULL at the end. */
const struct mu_status_provider *mu_req_status_provider(const struct mu_req *r, size_t i);
/** Is a module of that name ("rewrite") on? */
bool mu_config_has_module(const struct mu_config *config, struct mu_str name);
/** Names of the modules that are on, in order: "core", "http", "alias"; false at the end. */
bool mu_config_module_name(const struct mu_config *config, size_t i, struct mu_str *name);

/**
 * A log destination for access logs: file path, "|program", "||program", "|$command". Opened in
 * server_start, shared by all children; lines shorter than PIPE_BUF never interleave. The same
 * target is opened once.
 * Returns: NULL and a log line when it cannot be opened.
 */
struct mu_log_file;
struct mu_log_file *mu_log_file_open(struct mu_config *config, struct mu_str target);
/** Can there be such a file, as far as can be told without opening it? MU_BAD with a message in *err. For .check. */
enum mu_rc mu_log_file_check(struct mu_config *config, struct mu_str target, struct mu_str *err);
/**
 * One line, newline included. `buffered`: gathered per process up to 4 KiB (BufferedLogs). Any
 * thread.
 */
void mu_log_file_write(struct mu_log_file *f, struct mu_str line, bool buffered);

/** The scoreboard as mod_status shows it (a consistent-enough copy). */
struct mu_worker_view {
    pid_t pid;
    uint32_t child, slot;
    uint64_t generation;
    char state; /**< _ S R W K D C L G I . */
    uint64_t requests_conn, requests_child, requests_slot;
    uint64_t bytes_conn, bytes_child, bytes_slot;
    int64_t last_used_ms; /**< since the last request began or ended */
    int64_t request_us;   /**< duration of the last request */
    uint64_t duration_us; /**< sum over all requests of the slot */
    int64_t cpu_us;
    char client[64], vhost[64], request[128], protocol[16];
};
struct mu_server_view {
    const char *mpm;
    bool is_threaded, is_async;
    uint64_t total_accesses, total_bytes, total_duration_us;
    int64_t start_time, config_time; /**< seconds since the epoch: server start, last (re)start */
    uint64_t config_generation, mpm_generation;
    uint32_t processes, stopping, busy, idle, graceful;
    uint64_t conns_total, conns_writing, conns_keepalive, conns_closing;
    uint32_t server_limit, thread_limit, threads_per_child;
    int64_t cpu_user_us, cpu_sys_us, cpu_children_user_us, cpu_children_sys_us;
};
void mu_server_view(struct mu_server_view *out);
/** Copies slot `i`; false at the end. */
bool mu_worker_view(size_t i, struct mu_worker_view *out);
/** Per-process line for the async MPMs: false at the end. */
struct mu_process_view {
    pid_t pid;
    uint32_t slot;
    bool is_stopping, is_accepting;
    uint32_t connections, threads_busy, threads_idle, writing, keepalive, closing;
};
bool mu_process_view(size_t i, struct mu_process_view *out);

#define MU_HANDLERS(...) ((const struct mu_handler[]){ __VA_ARGS__, { .name = NULL } })
#define MU_HOOKS(...) ((const struct mu_hook[]){ __VA_ARGS__, { .fn = NULL } })
#define MU_MODULE(ident, ...)                                                                      \
    extern struct mu_module mu_module_##ident;                                                     \
    __attribute__((visibility("default"))) struct mu_module mu_module_##ident = {                  \
        .abi = MU_MODULE_ABI, .name = #ident, __VA_ARGS__                                          \
    }

#endif
