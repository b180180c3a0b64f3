/*
 * Private to the conf room: the reader, the applier, what a configuration keeps beside its public
 * members.
 */
#ifndef MU_CONF_PRIV_H
#define MU_CONF_PRIV_H

#include <muster/map.h>
#include <pthread.h>
#include <stdarg.h>

#include "conf/config.h"
#include "conf/tree.h"

/** What <IfVersion> compares with. */
#define MU_CONF_HTTPD_VERSION MU_S("2.4.71")
/** The name of the place where -C and -c lines stand. */
#define MU_CONF_CMDLINE MU_S("-C/-c directive")

/** ---- the file system, replaceable for tests and fuzzing ---- */

enum mu_fs_kind { MU_FS_NONE, MU_FS_FILE, MU_FS_DIR, MU_FS_OTHER };

struct mu_conf_fs {
    enum mu_fs_kind (*kind)(void *arg, const char *path);
    /**
     * Whole content of a regular file appended to *out. Returns MU_OK, or MU_EIO with errno set.
     */
    enum mu_rc (*read)(void *arg, const char *path, struct mu_buf *out);
    /** Names in a directory, without "." and "..", in any order. */
    enum mu_rc (*list)(void *arg, struct mu_arena *a, const char *path, struct mu_strs *names);
    bool may_load; /**< are DSOs loaded at all? */
    void *arg;
};
extern const struct mu_conf_fs mu_conf_fs_real;

/** mu_config_load over another file system. */
MU_NODISCARD enum mu_rc mu_config_load_fs(const struct mu_config_opts *opts,
                                          const struct mu_conf_fs *fs, struct mu_config **out);

/** ---- what a configuration keeps ---- */

/** A module that is on. */
struct mu_loaded {
    struct mu_module
        *m; /**< NULL: a part of the server that is no module of its own (so, version …) */
    struct mu_str name; /**< "alias" */
    struct mu_str path; /**< of a DSO: where it was found */
    void *handle;       /**< of a DSO */
    struct mu_str file; /**< of the LoadModule line; p == NULL without one */
    unsigned line;
};

/** What reading found out that would have changed the reading before: then it starts again. */
struct mu_conf_facts {
    bool is_exact; /**< a LoadModule line names a built-in module: exactly the named ones are on */
    bool has_no_mpm; /**< no LoadModule line names an MPM: event is on from the start */
};

/** A directive's table row and whose it is. `module` is NULL for the conf room's own. */
struct mu_known {
    const struct mu_directive *directive;
    struct mu_module *module;
    void *block; /**< of a section's own directive: what it fills; else NULL */
};

/** A file that was read. */
struct mu_included {
    struct mu_str file;
    unsigned line;  /**< of the Include that named it; 0 for the first file */
    unsigned depth; /**< of the first file 1 */
};

struct mu_config_priv {
    const struct mu_config_opts *opts; /**< while loading */
    const struct mu_conf_fs *fs;       /**< while loading */
    struct mu_conf_facts facts;
    bool wants_restart;
    bool asked_for_mpm; /**< a condition depended on it */
    bool is_published;  /**< messages go out at once */
    bool is_out_of_memory;
    bool is_stopped; /**< files include one another without end: nothing more is read */
    uint32_t files_read;
    struct mu_vec messages; /**< of struct message */
    void (*report)(void *arg, bool is_error, const char *text);
    void *report_arg;
    struct mu_map *defines;   /**< name → struct mu_str * (its value; p == NULL: none) */
    struct mu_map *files;     /**< interned file names */
    struct mu_vec loaded;     /**< of struct mu_loaded, in order */
    struct mu_vec load_files; /**< of char *, LoadFile's paths */
    struct mu_vec includes;   /**< of struct mu_included: the files read, in order */
    struct mu_vec vhosts;     /**< what config->vhosts points to */
    struct mu_map *failed;    /**< names of modules whose LoadModule failed */
    struct mu_map *known;     /**< directives by name → struct mu_known */
    uint32_t next_section_id;
    pthread_mutex_t merge_lock;
    struct mu_arena *merge_arena; /**< of what is merged later; under merge_lock */
};

/** ---- messages (report.c) ---- */

/** An error or warning at file:line (line 0: the file alone; file.p NULL: no place). */
void mu_conf_error(struct mu_config *c, struct mu_str file, unsigned line, const char *fmt, ...)
    MU_PRINTF(4, 5);
void mu_conf_warn(struct mu_config *c, struct mu_str file, unsigned line, const char *fmt, ...)
    MU_PRINTF(4, 5);
void mu_conf_vreport(struct mu_config *c, bool is_error, struct mu_str file, unsigned line,
                     const char *fmt, va_list ap) MU_PRINTF(5, 0);
/** Out of memory: reported once, the load fails. Always MU_NOMEM. */
enum mu_rc mu_conf_nomem(struct mu_config *c);
/** Hand all collected messages over; from now on they go out at once. */
void mu_conf_report_flush(struct mu_config *c);

/** ---- reading (read.c, eval.c, exec.c, include.c, subst.c) ---- */

/**
 * How deep sections may nest, Include counted through, and how deep files and folders are included.
 */
enum {
    MU_NEST_MAX = 100,
    MU_INCLUDE_DEPTH_MAX = 128,
    MU_INCLUDE_DIR_DEPTH_MAX = 20,
    MU_FILES_MAX = 65536
};

/** A section that is open in the file being read. */
struct mu_open {
    struct mu_open *up;
    struct mu_str name; /**< "<Directory" */
    unsigned line;
    bool is_skipped;       /**< a condition that is not true, or inside one */
    bool is_condition;     /**< its nodes belong to the section around it */
    struct mu_node *saved; /**< where nodes go when it is closed */
};

/** One file (or the -C lines) being read. */
struct mu_reader {
    struct mu_config *c;
    struct mu_arena *a;
    struct mu_reader *up; /**< the file that includes it */
    struct mu_node *at;   /**< nodes go below this one */
    struct mu_open *open;
    unsigned nesting; /**< how many are open */
    struct mu_str file;
    unsigned line;  /**< of the directive being read */
    unsigned depth; /**< of files including one another */
};

/** Has reading come to an end before the files have? */
static inline bool mu_read_is_over(const struct mu_reader *r)
{
    const struct mu_config_priv *p = r->c->priv;

    return p->wants_restart || p->is_out_of_memory || p->is_stopped;
}
void mu_read_error(struct mu_reader *r, const char *fmt, ...) MU_PRINTF(2, 3);
void mu_read_warn(struct mu_reader *r, const char *fmt, ...) MU_PRINTF(2, 3);
/** Read the file `path` (absolute) below up->at. `is_optional`: it may be missing. */
void mu_read_file(struct mu_reader *up, struct mu_str path, bool is_optional);
/** Read one line as if it stood in r's file. */
void mu_read_line(struct mu_reader *r, struct mu_str line);
/** Report what was not closed, and close it. */
void mu_read_end(struct mu_reader *r);
/**
 * Is `name` ("<IfModule") a conditional section? Then *is_true is its value; a bad one is reported
 * and false.
 */
bool mu_eval_section(struct mu_reader *r, struct mu_str name, struct mu_str args, bool *is_true);
/** Carry out a directive that acts while reading. Returns false when `name` is none of them. */
bool mu_exec_directive(struct mu_reader *r, struct mu_str name, struct mu_str args);
/** Files and folders by `pattern`, relative to ServerRoot. */
void mu_include(struct mu_reader *r, struct mu_str pattern, bool is_optional);
/** Replace ${NAME}. {NULL,0} when out of memory. */
struct mu_str mu_subst(struct mu_reader *r, struct mu_str line);
MU_NODISCARD enum mu_rc mu_define(struct mu_config *c, struct mu_str name, struct mu_str value);
/** `path` against ServerRoot; NUL-terminated. {NULL,0} when out of memory. */
struct mu_str mu_conf_path(struct mu_config *c, struct mu_str path);
/**
 * The conf room's own directives, those that act while reading and the sections, ends with a NULL
 * name.
 */
extern const struct mu_directive mu_conf_directives[];

/** ---- modules (modules.c, dso.c, known.c) ---- */

/** Make the conf room's own directives known. */
MU_NODISCARD enum mu_rc mu_modules_prepare(struct mu_config *c);
/** Put on what is on before a line is read. */
MU_NODISCARD enum mu_rc mu_modules_begin(struct mu_config *c);
void mu_modules_load(struct mu_reader *r, struct mu_str identifier, struct mu_str path);
void mu_modules_load_file(struct mu_reader *r, struct mu_str path);
/** No MPM was named: load event. Then number the modules and fill config->modules. */
MU_NODISCARD enum mu_rc mu_modules_end(struct mu_config *c);
/**
 * Put on a module without a LoadModule line's checks: from a serialised tree. False when there is
 * no such thing.
 */
bool mu_modules_restore(struct mu_config *c, struct mu_str name, struct mu_str path);
MU_NODISCARD enum mu_rc mu_modules_restore_file(struct mu_config *c, struct mu_str path);
/** By "mod_x.c", "x_module" or the odd file name of some (core.c, http_core.c, event.c). */
bool mu_modules_is_on(struct mu_config *c, struct mu_str arg);
const struct mu_loaded *mu_modules_find(const struct mu_config *c, struct mu_str name);
bool mu_module_is_mpm(struct mu_str name);
/** The table row of a directive that is on; NULL when there is none. */
const struct mu_known *mu_directive_find(struct mu_config *c, struct mu_str name);

/** Is the file a module for Muster, as far as its symbols tell? It is not loaded. */
bool mu_dso_is_ours(struct mu_arena *a, const struct mu_conf_fs *fs, struct mu_str path,
                    struct mu_str name);
/** dlopen `path` and take mu_module_<name> out of it. On failure *why says so (in `a`). */
struct mu_module *mu_dso_open(struct mu_arena *a, const struct mu_conf_fs *fs, struct mu_str path,
                              struct mu_str name, void **handle, struct mu_str *why);

/** What httpd 2.4 has: its modules with a word on each, and the directives of each. */
struct mu_httpd_module {
    const char *name;       /**< "ssl" */
    const char *what;       /**< "TLS" */
    const char *instead;    /**< what to do, or NULL */
    const char *directives; /**< names, separated by blanks */
};
extern const struct mu_httpd_module mu_httpd_modules[]; /**< ends with a NULL name */
const struct mu_httpd_module *mu_httpd_module_find(struct mu_str name);
/** The module of httpd that defines `directive`, or NULL. */
const struct mu_httpd_module *mu_httpd_directive_find(struct mu_str directive);

/** ---- names (suggest.c) ---- */

/** The best of several candidates so far. */
struct mu_suggest {
    struct mu_str wanted;
    struct mu_str best; /**< p == NULL: nothing near */
    size_t distance;
};
struct mu_suggest mu_suggest_begin(struct mu_str wanted);
void mu_suggest_try(struct mu_suggest *s, struct mu_str candidate);
/**
 * Edit distance (insert, delete, replace, swap of neighbours), ASCII case folded; more than `limit`
 * is limit + 1.
 */
size_t mu_edit_distance(struct mu_str a, struct mu_str b, size_t limit);
/** Why is there no directive of that name, in words: the text of the error. */
struct mu_str mu_explain_unknown(struct mu_config *c, struct mu_str name);

/** ---- applying (apply.c, directives.c, sections.c) ---- */

/** Where directives are applied to. */
struct mu_scope {
    const struct mu_scope *up;
    struct mu_vhost *vhost;
    struct mu_section *section; /**< NULL at server level */
    const void **blocks;        /**< as written, by module index */
    struct mu_str section_name; /**< "<Directory" */
    unsigned where;
    uint32_t methods;
};

void mu_apply_nodes(struct mu_config *c, const struct mu_node *first, const struct mu_scope *s);
/** Is `n` one of the core's sections? Then it has been applied. */
bool mu_apply_section(struct mu_config *c, const struct mu_node *n, const struct mu_scope *s);
/**
 * Apply one directive by its table row. `inner_conf`, where it is not NULL, is the cmd's: what a
 * section's opening leaves there its end is given.
 */
void mu_apply_directive(struct mu_config *c, const struct mu_node *n, const struct mu_known *k,
                        const struct mu_scope *s, void **inner_conf);
/** Listen: into config->listens. */
void mu_apply_listen(struct mu_config *c, const struct mu_node *n, const struct mu_scope *s);
/** Lists being gathered while sections are applied. */
struct mu_vhost_lists {
    struct mu_vhost pub;
    struct mu_vec dirs, dir_matches, files, locations;
};
struct mu_vhost_lists *mu_vhost_new(struct mu_config *c, const struct mu_node *n);
/** Main server's sections in front of each vhost's; sorting. */
MU_NODISCARD enum mu_rc mu_sections_end(struct mu_config *c);
/** Is it a shell pattern (holds ? or * or [..])? */
bool mu_is_pattern(struct mu_str s);

/** ---- blocks and merging (merge.c) ---- */

/**
 * The module's as-written block in `blocks`, made when it is not there. NULL when out of memory.
 */
void *mu_block_get(struct mu_config *c, const void **blocks, const struct mu_module *m);
/** Note that the directive (a row of the module's table) was said in this block. */
void mu_block_mark(void *block, const struct mu_module *m, const struct mu_directive *d);
bool mu_block_is_marked(const void *block, const struct mu_module *m, const struct mu_directive *d);
/** Merge defaults, main server and vhost into v->base for every vhost. */
MU_NODISCARD enum mu_rc mu_merge_bases(struct mu_config *c);
/** Derive the base confs (after the check hooks). */
void mu_merge_derive_bases(struct mu_config *c);

/** ---- serialised trees (dump.c) ---- */

/** Rebuild defines, modules and tree from opts->tree. */
MU_NODISCARD enum mu_rc mu_tree_restore(struct mu_config *c, struct mu_str text);

#endif
