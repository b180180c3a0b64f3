/* What the files of the request side share: the prepared configuration, a request's private part,
 * the walk.
 *
 * Two levels of preparation: struct mu_server and struct mu_routing are made once by
 * mu_server_prepare and hang from the virtual hosts; struct mu_phases is made once for each merged
 * configuration, when it is first used.
 */
#ifndef MU_SERVER_ROOM_H
#define MU_SERVER_ROOM_H

#include <muster/map.h>
#include <muster/module.h>
#include <server/core_conf.h>
#include <server/exchange.h>

/* ---- prepared configuration ---- */

/** A handler by name; several modules may answer to one. */
struct mu_handler_entry {
    const struct mu_handler *handler;
    const struct mu_module *module;
    const struct mu_handler_entry *next;
};

/** A hook with the conf it is to be given. An array of them ends with fn == NULL. */
struct mu_phase_call {
    mu_hook_fn *fn;
    const void *conf;
    const struct mu_module *module;
    bool may_block;
};

/** How symbolic links are treated at a place. */
enum mu_links { MU_LINKS_FOLLOW, MU_LINKS_OWNER, MU_LINKS_NONE };

/** Derived from one merged configuration. */
struct mu_phases {
    const struct mu_phase_call *phase[MU_PHASE_COUNT];
    const struct mu_handler_entry
        *handler; /**< of SetHandler, resolved; NULL when unset or unknown */
    const struct mu_core_conf *core;
    enum mu_links links;
    bool may_override; /**< AllowOverride or AllowOverrideList is not None */
};

/** A <Directory> section with its depth: "/" is 0, "/srv" 1. */
struct mu_walk_dir {
    const struct mu_section *section;
    uint32_t depth;
};

struct mu_name_table;

/** One a virtual host (vhost->routing). */
struct mu_routing {
    struct mu_server *server;
    struct mu_str docroot;    /**< absolute, without a trailing slash: "" for "/" */
    struct mu_walk_dir *dirs; /**< sorted by depth, stable */
    size_t dirs_n;
    struct mu_log *log; /**< its error log, once opened; NULL: the process's */
    bool is_match_pure; /**< no DirectoryMatch or FilesMatch sets MATCH_ variables */
};

/** One a configuration (main->routing->server). */
struct mu_server {
    const struct mu_config *config;
    struct mu_map *handlers; /**< name → first struct mu_handler_entry */
    const struct mu_handler_entry *default_handlers;
    const struct mu_handler_entry *directory_handlers;
    bool has_type_handlers;   /**< some handler is named like a media type */
    bool has_prefix_handlers; /**< some handler's name ends in ':' */
    bool wants_timing;
    struct mu_name_table *names;
    struct mu_log_file *log_files; /**< opened by mu_log_file_open */
};

static inline const struct mu_routing *mu_routing_of(const struct mu_vhost *v)
{
    return v->routing;
}

/** Install the hook into the conf room; before mu_config_load. Repeating is harmless. */
void mu_phases_init(void);
/** The phases of `conf`; made on first use. NULL when out of memory. Any thread. */
const struct mu_phases *mu_phases_of(const struct mu_dirconf *conf, const struct mu_vhost *v);
/**
 * Handlers of that name, or those whose name ends in ':' and begins it (the longest); or NULL. The
 * name's case counts for nothing.
 */
const struct mu_handler_entry *mu_handler_find(const struct mu_server *s, struct mu_str name);
/** Fill s->handlers from the modules' tables. */
MU_NODISCARD enum mu_rc mu_handlers_prepare(struct mu_server *s, struct mu_arena *a);
/** Fill s->names: which server answers for an address and a Host. Errors are reported. */
MU_NODISCARD enum mu_rc mu_names_prepare(struct mu_server *s, struct mu_arena *a);
/**
 * The server for `r`, whose connection arrived at `base`; *is_named: did a name match (or is none
 * needed)?
 */
const struct mu_vhost *mu_vhost_for_host(const struct mu_config *c, const struct mu_peer *peer,
                                         const struct mu_vhost *base, struct mu_str host,
                                         bool *is_named);
/** -S: the virtual hosts, in httpd's form. */
void mu_server_print_vhosts(const struct mu_config *c);

/** Derived fields of a core conf (limits). */
void mu_core_derive(struct mu_core_conf *c);
/** core's server_start: error logs of all servers. */
enum mu_rc mu_server_logs_open(struct mu_config *config);
/** Is there a folder for each ErrorLog? Errors are reported. */
enum mu_rc mu_server_logs_check(struct mu_config *config, struct mu_arena *a);
/** Write out what buffered access logs hold. */
void mu_server_logs_flush(const struct mu_config *config);
/** The error log of a server, NULL for the process's. */
const struct mu_log *mu_vhost_log(const struct mu_vhost *v);

/* ---- a request's private part ---- */

struct mu_file_entry;

struct mu_req_core {
    const struct mu_phases *phases;      /**< of r->conf */
    const struct mu_section **locations; /**< that match r->path, in order */
    size_t locations_n;
    const char *located;        /**< r->path.p when they were found */
    struct mu_file_entry *file; /**< of r->filename, held until the exchange ends; or NULL */
    int path_fd;        /**< O_PATH on the file where links were checked one by one, else -1 */
    bool follows;       /**< r->filename was looked up following links freely */
    uint32_t redirects; /**< internal redirects that led here */
    uint32_t depth;     /**< sub-requests around this one */
    /** Of the request whose error this one answers, whatever becomes of it; or MU_STATUS_NONE. */
    enum mu_status error;
};

static inline struct mu_req_core *mu_core_req(const struct mu_req *r)
{
    return r->priv;
}

/** Give r its private part and the defaults of an answer. */
MU_NODISCARD enum mu_rc mu_req_begin(struct mu_req *r);
/** Make `conf` r's: phases and log levels follow. */
MU_NODISCARD enum mu_rc mu_req_use(struct mu_req *r, const struct mu_dirconf *conf);
/**
 * All phases from the location walk up to the fix-ups.
 * Returns: MU_STATUS_NONE to go on to the handler, or the status that ends it.
 */
MU_MAY_SUSPEND enum mu_status mu_req_phases(struct mu_req *r);
/** The same after translation: the file is known already. */
MU_MAY_SUSPEND enum mu_status mu_req_phases_walked(struct mu_req *r);
/** Find and run the handler. */
MU_MAY_SUSPEND enum mu_status mu_req_handle(struct mu_req *r);
/** Run the hooks of a phase until one returns a status. */
MU_MAY_SUSPEND enum mu_status mu_req_hooks(struct mu_req *r, enum mu_phase phase);
/**
 * Phases and handler, then whatever answer their status needs: when it returns, the exchange is
 * answered.
 */
MU_MAY_SUSPEND enum mu_status mu_req_answer(struct mu_req *r);
/** An error or redirect answer: ErrorDocument or the standard page. */
MU_MAY_SUSPEND enum mu_status mu_error_answer(struct mu_req *r, enum mu_status status);
/** Answer r's error by a local path; r->status is kept. */
MU_MAY_SUSPEND enum mu_status mu_error_redirect(struct mu_req *r, struct mu_str path,
                                                struct mu_str query);
/** Allow: of r->methods_allowed, OPTIONS and TRACE as they are answered. */
struct mu_str mu_req_allow(struct mu_req *r);
/** The exchange's answer has begun or the client is gone: nothing else can be sent instead. */
bool mu_req_is_answered(struct mu_req *r);
/** End r's answer: what was gathered and the end of the body. */
MU_MAY_SUSPEND void mu_req_end(struct mu_req *r);
/** Add a charset to r->content_type as AddDefaultCharset says. */
void mu_resp_default_charset(struct mu_req *r);
/** Send an answer without a body: 200 and 204, 304, 412 by conditions. */
MU_MAY_SUSPEND enum mu_status mu_resp_empty(struct mu_req *r, enum mu_status status);
/**
 * The bytes of an answer: memory, or a file when mem.p is NULL. They stay until the exchange ends.
 */
struct mu_body_source {
    struct mu_str mem;
    int fd;
    uint64_t len;
};
/** Send r's body: whole, or the ranges that are asked for. Conditions have been dealt with. */
MU_MAY_SUSPEND enum mu_status mu_resp_source(struct mu_req *r, const struct mu_body_source *src);
/**
 * As r begins: connection, server, request line, input; an empty answer. NULL when out of memory.
 */
struct mu_req *mu_req_derive(struct mu_req *r);

/* ---- the walk ---- */

/** Sections of <Location> for r->path over `base`. */
enum mu_status mu_walk_locations(struct mu_req *r, const struct mu_dirconf *base);
/** From r->filename to r->finfo, r->path_info and r->conf. */
MU_MAY_SUSPEND enum mu_status mu_walk_directories(struct mu_req *r);
/**
 * The same when the file's stat is known: the file system is asked only where links or .htaccess
 * matter.
 */
MU_MAY_SUSPEND enum mu_status mu_walk_known(struct mu_req *r, const struct mu_finfo *fi);

/**
 * Only the configuration of a walk, without the file system: what `filename` gets as a directory or
 * file.
 */
struct mu_walk {
    const struct mu_vhost *vhost;
    struct mu_req *r; /**< for MATCH_ variables and log lines; may be NULL */
    const struct mu_dirconf *conf;
    const struct mu_section **matched; /**< <Directory> sections that hold nested <Files> */
    size_t matched_n, matched_cap;
    size_t next_dir;                 /**< in routing->dirs */
    enum mu_links links, strictest;  /**< of the present place; of all places so far */
    bool may_override, has_override; /**< this place, some place may hold .htaccess files */
    struct mu_arena *arena;
};
MU_NODISCARD enum mu_rc mu_walk_begin(struct mu_walk *w, const struct mu_vhost *v, struct mu_req *r,
                                      struct mu_arena *a);
/** Enter the directory `dir` ("" is the root), one deeper than the one before. */
MU_NODISCARD enum mu_rc mu_walk_enter(struct mu_walk *w, struct mu_str dir, uint32_t depth);
/** <DirectoryMatch>, <Files> and <FilesMatch> for the whole name. */
MU_NODISCARD enum mu_rc mu_walk_end(struct mu_walk *w, struct mu_str filename);

/* ---- the file system, by descriptors (lookup.c) ---- */

enum mu_found {
    MU_FOUND,        /**< *fi is filled */
    MU_FOUND_NONE,   /**< there is no such file */
    MU_FOUND_DENIED, /**< permission, or a link that may not be followed */
    MU_FOUND_LINK,   /**< a symbolic link where none is allowed */
    MU_FOUND_AGAIN,  /**< would have to wait for the disk */
    MU_FOUND_BUSY,   /**< out of descriptors or memory: try later */
    MU_FOUND_ERROR,  /**< anything else; errno is valid */
};

/**
 * What `path` is. `follows`: links are followed freely; otherwise a link anywhere on it is
 * MU_FOUND_LINK. `may_wait` false: MU_FOUND_AGAIN rather than waiting for the disk (or where the
 * kernel cannot tell).
 */
enum mu_found mu_lookup_stat(const char *path, bool follows, bool may_wait, struct mu_finfo *fi);
/**
 * Open a regular file for reading, treated likewise; *fi is of the descriptor. Others are
 * MU_FOUND_DENIED.
 */
enum mu_found mu_lookup_open(const char *path, bool follows, bool may_wait, int *fd,
                             struct mu_finfo *fi);
/** What an open descriptor is. */
enum mu_found mu_lookup_fstat(int fd, struct mu_finfo *fi);
/** The root directory, to step from. -1 and errno. */
int mu_lookup_root(void);
/**
 * One component below `dirfd`, checked on descriptors: *fd is an O_PATH descriptor of what it leads
 * to. A link is followed as `links` says; MU_LINKS_OWNER compares the owners of link and target.
 */
enum mu_found mu_lookup_step(int dirfd, const char *name, enum mu_links links, int *fd,
                             struct mu_finfo *fi);
/** Open for reading the regular file that an O_PATH descriptor holds. */
enum mu_found mu_lookup_reopen(int path_fd, int *fd, struct mu_finfo *fi);
/** Make the next calls of this process do without openat2 (tests). */
void mu_lookup_disable_openat2(bool is_disabled);

/* ---- the file cache (file_cache.c) ---- */

struct mu_file_entry {
    struct mu_list lru;
    struct mu_file_entry *chain;
    uint64_t hash;
    uint32_t refs;  /**< requests that use it, and the table */
    bool is_linked; /**< in the table */
    bool follows;   /**< how to look it up again: links are followed, or there is none */
    const struct mu_vhost *vhost;
    const struct mu_dirconf *conf; /**< after directories and files */
    struct mu_str filename;        /**< key, NUL-terminated */
    struct mu_finfo fi;
    int64_t used_ms, checked_ms;
    uint64_t checked_turn; /**< of the reactor; 0: none */
    /** mu_watch_generation() before the last stat; 0: not tried yet */
    uint64_t watched;
    bool is_watchable; /**< mu_watch_path() succeeded */
    int fd;            /**< open for reading, or -1 */
    char *content;     /**< the whole file, or NULL */
};

/**
 * The entry for (v, filename) of this thread, revalidated; NULL when there is none or it changed.
 * `trusts_turn`: a stat made in this turn of the reactor is good enough (see
 * mu_exchange.was_waiting).
 */
struct mu_file_entry *mu_file_find(const struct mu_vhost *v, struct mu_str filename,
                                   bool trusts_turn);
/**
 * Remember a walk's result. NULL when the cache is off or full, or memory is out: go on without.
 */
struct mu_file_entry *mu_file_insert(const struct mu_vhost *v, struct mu_str filename,
                                     const struct mu_dirconf *conf, bool follows,
                                     const struct mu_finfo *fi);
/** Keep `e` until the arena goes. On MU_NOMEM the entry is not held. */
MU_NODISCARD enum mu_rc mu_file_hold(struct mu_file_entry *e, struct mu_arena *a);
/** Drop it from the table: it turned out to be of another time. */
void mu_file_forget(struct mu_file_entry *e);
/** Give it the open descriptor; false: there are enough, it stays the caller's. */
bool mu_file_give_fd(struct mu_file_entry *e, int fd);
/** Give it e->fi.size bytes from malloc; false: no room, they stay the caller's. */
bool mu_file_give_content(struct mu_file_entry *e, char *content);
/** Largest file whose content is kept; 0 when the cache is off. */
uint64_t mu_file_content_max(void);
/** Is it the same file in the same state? */
bool mu_finfo_same(const struct mu_finfo *a, const struct mu_finfo *b);
/** New limits; every thread forgets what it holds when it next looks. */
void mu_file_cache_configure(const struct mu_core_conf *core);
/** Entries, bytes of content and descriptors held by this process (tests, mod_status). */
void mu_file_cache_usage(uint64_t *entries, uint64_t *bytes, uint64_t *fds);

/**
 * Send a file whose validators stand in r: conditions, ranges, EnableSendfile. Returns what the
 * handler returns.
 */
MU_MAY_SUSPEND enum mu_status mu_static_send(struct mu_req *r, const struct mu_body_source *src);
/** The default handler. */
MU_MAY_SUSPEND enum mu_status mu_static_handler(struct mu_req *r, const void *conf);

#endif
