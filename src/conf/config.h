/* The configuration: from files to an immutable, merged, shared structure.
 *
 * Steps: lex and parse files into a tree (Include, Define, If… evaluated on the way; every node
 * keeps file:line) → apply typed directives section by section → check hooks → publish. All errors
 * are collected and reported together.
 */
#ifndef MU_CONF_CONFIG_H
#define MU_CONF_CONFIG_H

#include <muster/buf.h>
#include <muster/module.h>

struct mu_node; /**< tree.h: one directive or section */

/** A section of per-directory configuration, as written. */
enum mu_section_kind {
    MU_SEC_DIRECTORY,
    MU_SEC_DIRECTORY_MATCH, /**< also <Directory ~> */
    MU_SEC_FILES,
    MU_SEC_FILES_MATCH,
    MU_SEC_LOCATION,
    MU_SEC_LOCATION_MATCH,
};

struct mu_section {
    enum mu_section_kind kind;
    uint32_t id;            /**< unique in the configuration */
    struct mu_str pattern;  /**< normalised: <Directory> without a trailing slash ("/" stays) */
    bool is_wild;           /**< holds ? * [ : matched with fnmatch, path-wise */
    uint32_t components;    /**< of a plain or wild <Directory> */
    struct mu_regex *regex; /**< the Match forms */
    struct mu_str file;
    unsigned line;
    const void **conf; /**< as-written blocks by module index; NULL where nothing was said */
    struct mu_section **files; /**< nested <Files>/<FilesMatch>, in order */
    size_t files_n;
};

/**
 * A server: the main one or a <VirtualHost>. Sections of the main server come first, then its own.
 */
struct mu_vhost {
    struct mu_config *config;
    bool is_main;
    struct mu_str file;
    unsigned line;
    struct mu_str *addrs; /**< arguments of <VirtualHost>, as written */
    size_t addrs_n;
    struct mu_section *
        *dirs; /**< plain and wild <Directory>: by components, stable; then nothing else */
    size_t dirs_n;
    struct mu_section **dir_matches; /**< in order of appearance */
    size_t dir_matches_n;
    struct mu_section **files;
    size_t files_n;
    struct mu_section **locations;
    size_t locations_n;
    const void **conf;             /**< as written at server level, by module index */
    const struct mu_dirconf *base; /**< merged: defaults ← main server ← this server */
    const void *routing;           /**< the server room's own */
};

struct mu_listen_spec {
    struct mu_str text; /**< "[::1]:80" as written */
    struct mu_str protocol;
    struct mu_str file;
    unsigned line;
};

struct mu_config {
    struct mu_arena *arena;
    struct mu_module **modules; /**< the active ones, by index */
    size_t modules_n;
    struct mu_vhost *main;
    struct mu_vhost **vhosts; /**< [0] is main */
    size_t vhosts_n;
    struct mu_str server_root, config_file;
    struct mu_listen_spec *listens;
    size_t listens_n;
    struct mu_node *tree;
    const char *mpm_name; /**< "prefork", "worker", "event" or another loaded one */
    struct mu_module
        *mpm; /**< the MPM's module: its directives, and mu_mpm_* found by the server room */
    uint32_t errors, warnings;
    /* private members of the conf room follow in config.c */
    struct mu_config_priv *priv;
};

/** What the command line says. */
struct mu_config_opts {
    const char *server_root; /**< -d, or NULL: built-in */
    const char *file; /**< -f, or NULL: conf/muster.conf, then conf/httpd.conf, under the root */
    const char *const *before;        /**< -C lines, NULL-terminated, or NULL */
    const char *const *after;         /**< -c lines */
    const char *const *defines;       /**< -D names */
    struct mu_module *const *builtin; /**< NULL-terminated, from the cli room */
    const char *module_dir; /**< where LoadModule looks when ServerRoot has no such file */
    const char *tree; /**< a resolved tree from a rehearsal (tree_len bytes): files are not read */
    size_t tree_len;
    void (*report)(void *arg, bool is_error, const char *text); /**< each message; NULL: stderr */
    void *report_arg;
};

/**
 * Read and apply.
 * Returns: MU_OK and *out; MU_BAD when there were errors (each was reported).
 * Owns:    caller; mu_config_destroy.
 */
MU_NODISCARD enum mu_rc mu_config_load(const struct mu_config_opts *opts, struct mu_config **out);
void mu_config_destroy(struct mu_config *c);
/**
 * Serialise the resolved tree (Includes, Defines and conditions done), with file:line of each node.
 */
void mu_config_dump_tree(const struct mu_config *c, struct mu_buf *out);

/**
 * The dlopen handle a module came from, for further symbols of its DSO; NULL: built in, or not on.
 */
void *mu_config_module_handle(const struct mu_config *c, const struct mu_module *m);

/**
 * Merge `section` over `base`. The result is computed once for each pair and kept; lookup takes no
 * lock.
 * Returns: `base` when the section says nothing; NULL when out of memory.
 * Context: any thread.
 */
const struct mu_dirconf *mu_dirconf_merge(const struct mu_dirconf *base,
                                          const struct mu_section *section);
/**
 * Let the room above derive data once for each merged conf (flat hook arrays): called when a
 * dirconf is made. `derive` returns what mu_dirconf_derived() will answer.
 */
void mu_dirconf_on_merge(const void *(*derive)(const struct mu_dirconf *c, struct mu_arena *a));
const void *mu_dirconf_derived(const struct mu_dirconf *c);

/** -L: every directive with its module, contexts and help. */
void mu_config_print_directives(struct mu_module *const *modules, size_t n);
/** -M: the modules that are on, "static" or "shared". */
void mu_config_print_modules(const struct mu_config *c);
/** -D DUMP_RUN_CFG: a line for each name that is defined. */
void mu_config_print_defines(const struct mu_config *c);
/** -D DUMP_INCLUDES: the files that were read, with the line that named each. */
void mu_config_print_includes(const struct mu_config *c);
/** -D DUMP_CONFIG: the resolved tree, in configuration syntax, with file and line in comments. */
void mu_config_print_tree(const struct mu_config *c);
/** Where `v` itself says `directive` last. Returns: does it say it at all? */
bool mu_config_where(const struct mu_config *c, const struct mu_vhost *v, struct mu_str directive,
                     struct mu_str *file, unsigned *line);

#endif
