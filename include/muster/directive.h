/* Directives: typed tables. The core parses arguments, checks contexts and arity, and merges typed
 * fields. */
#ifndef MUSTER_DIRECTIVE_H
#define MUSTER_DIRECTIVE_H

#include <muster/arena.h>
#include <muster/regex.h>
#include <muster/types.h>

/**
 * Where a directive may stand. The MU_OVR_ bits say which AllowOverride class lets it into
 * .htaccess.
 */
enum {
    MU_IN_GLOBAL = 1, /**< the main server only: process-wide settings */
    MU_IN_VHOST = 2,
    MU_IN_SERVER = MU_IN_GLOBAL | MU_IN_VHOST,
    MU_IN_DIR = 4, /**< <Directory>, <Location>, <Files>, <If> and their Match forms */
    MU_OVR_OPTIONS = 0x10,
    MU_OVR_FILEINFO = 0x20,
    MU_OVR_AUTHCFG = 0x40,
    MU_OVR_INDEXES = 0x80,
    MU_OVR_LIMIT = 0x100,
    MU_OVR_ALL = 0x1f0,
    /** conf room's own: carried out while the tree is read (Define, LoadModule, Include) */
    MU_EXEC_ON_READ = 0x1000,
};

enum mu_kind {
    MU_K_FLAG,     /**< bool: On | Off */
    MU_K_STR,      /**< struct mu_str */
    MU_K_PATH,     /**< struct mu_str, resolved against ServerRoot */
    MU_K_INT,      /**< int64_t within [min, max] */
    MU_K_DURATION, /**< int64_t milliseconds; argument in seconds unless suffixed ms s min h */
    MU_K_ENUM,     /**< int: one of `names` */
    MU_K_LIST,     /**< struct mu_strs: every argument of every occurrence, in order */
    MU_K_CUSTOM,   /**< set() is called with the split arguments */
    MU_K_RAW,      /**< set() is called with one argument: the rest of the line, unsplit */
    MU_K_IGNORED,  /**< accepted without effect; help says why */
    MU_K_REFUSED,  /**< an error; help says why and what to do instead */
};

struct mu_strs {
    struct mu_str *v;
    size_t n;
};

struct mu_enum_name {
    const char *name;
    int value;
};

struct mu_directive;
struct mu_config;
struct mu_vhost;

/** The occurrence being read. */
struct mu_cmd {
    const struct mu_directive *directive;
    struct mu_arena *arena; /**< lives as long as the configuration */
    struct mu_config *config;
    struct mu_vhost *vhost; /**< the server it stands in; the main one outside <VirtualHost> */
    struct mu_str file;
    unsigned line;
    /** MU_IN_GLOBAL, MU_IN_VHOST or MU_IN_DIR, by the innermost section */
    unsigned where;
    struct mu_str section;    /**< path or pattern of the innermost section; p == NULL outside */
    bool section_is_location; /**< <Location> or <LocationMatch> */
    bool is_htaccess;
    uint32_t methods; /**< of an enclosing <Limit>/<LimitExcept>; MU_ANY_METHOD outside */
    /**
     * Of a section that has directives of its own (.inner): set() points it to the zeroed struct
     * that they fill; the row "</Name", if there is one, finds it here again.
     */
    void *inner_conf;
};

/**
 * Report an error at the directive's file:line. Always returns MU_BAD, so that `return
 * mu_cmd_error(…)` reads well.
 */
enum mu_rc mu_cmd_error(struct mu_cmd *cmd, const char *fmt, ...) MU_PRINTF(2, 3);
/** Report a warning; reading goes on. */
void mu_cmd_warn(struct mu_cmd *cmd, const char *fmt, ...) MU_PRINTF(2, 3);
/** Resolve against ServerRoot. */
struct mu_str mu_cmd_path(struct mu_cmd *cmd, struct mu_str path);
/** Parse helpers for custom directives; false (with no message) when it is not one. */
bool mu_parse_flag(struct mu_str s, bool *out);
bool mu_parse_duration_ms(struct mu_str s, int64_t default_unit_ms, int64_t *out);

struct mu_directive {
    const char *name;
    enum mu_kind kind;
    unsigned where;
    int min_args, max_args; /**< for CUSTOM; max_args -1 = any number */
    /** the field in the module's conf; size 0: merged by the module alone */
    size_t offset, size;
    int64_t min, max;                 /**< MU_K_INT, and MU_K_DURATION in ms */
    const struct mu_enum_name *names; /**< MU_K_ENUM, ends with a NULL name */
    /**
     * CUSTOM and RAW. `conf` is the module's as-written block of this section. Return MU_BAD
     * through mu_cmd_error.
     */
    enum mu_rc (*set)(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n);
    const char *help;
    /**
     * MU_K_CUSTOM, name "<Name": the directives that may stand in this section and nowhere else;
     * their fields are offsets in cmd->inner_conf. NULL: the section holds ordinary directives.
     */
    const struct mu_directive *inner;
};

#define MU_DIR_FIELD_(T, field) .offset = offsetof(T, field), .size = sizeof(((T *)0)->field)
/* clang-format off */
#define MU_DIR_FLAG(n, T, field, w, h)                                                             \
    { .name = n, .kind = MU_K_FLAG, .where = (w), MU_DIR_FIELD_(T, field), .help = h }
#define MU_DIR_STR(n, T, field, w, h)                                                              \
    { .name = n, .kind = MU_K_STR, .where = (w), MU_DIR_FIELD_(T, field), .help = h }
#define MU_DIR_PATH(n, T, field, w, h)                                                             \
    { .name = n, .kind = MU_K_PATH, .where = (w), MU_DIR_FIELD_(T, field), .help = h }
#define MU_DIR_INT(n, T, field, w, lo, hi, h)                                                      \
    { .name = n, .kind = MU_K_INT, .where = (w), MU_DIR_FIELD_(T, field), .min = (lo),             \
      .max = (hi), .help = h }
#define MU_DIR_DURATION(n, T, field, w, lo, hi, h)                                                 \
    { .name = n, .kind = MU_K_DURATION, .where = (w), MU_DIR_FIELD_(T, field), .min = (lo),        \
      .max = (hi), .help = h }
#define MU_DIR_ENUM(n, T, field, w, nm, h)                                                         \
    { .name = n, .kind = MU_K_ENUM, .where = (w), MU_DIR_FIELD_(T, field), .names = (nm),        \
      .help = h }
#define MU_DIR_LIST(n, T, field, w, h)                                                             \
    { .name = n, .kind = MU_K_LIST, .where = (w), MU_DIR_FIELD_(T, field), .help = h }
/** A custom directive whose result is one field that the core copies when it was set. */
#define MU_DIR_CUSTOM(n, T, field, w, lo, hi, fn, h)                                               \
    { .name = n, .kind = MU_K_CUSTOM, .where = (w), MU_DIR_FIELD_(T, field), .min_args = (lo),     \
      .max_args = (hi), .set = (fn), .help = h }
/** A custom directive that the module merges in its own merge hook. */
#define MU_DIR_CALL(n, w, lo, hi, fn, h)                                                           \
    { .name = n, .kind = MU_K_CUSTOM, .where = (w), .min_args = (lo), .max_args = (hi),            \
      .set = (fn), .help = h }
/** A section "<Name ARGS>" with directives of its own; and what happens at its end. */
#define MU_DIR_SECTION(n, w, lo, hi, fn, rows, h)                                                  \
    { .name = "<" n, .kind = MU_K_CUSTOM, .where = (w), .min_args = (lo), .max_args = (hi),        \
      .set = (fn), .inner = (rows), .help = h }
#define MU_DIR_SECTION_END(n, w, fn)                                                               \
    { .name = "</" n, .kind = MU_K_CUSTOM, .where = (w), .max_args = -1, .set = (fn),              \
      .help = "end of the section" }
#define MU_DIR_RAW(n, w, fn, h)                                                                    \
    { .name = n, .kind = MU_K_RAW, .where = (w), .set = (fn), .help = h }
#define MU_DIR_IGNORED(n, w, h)                                                                    \
    { .name = n, .kind = MU_K_IGNORED, .where = (w), .max_args = -1, .help = h }
#define MU_DIR_REFUSED(n, w, h)                                                                    \
    { .name = n, .kind = MU_K_REFUSED, .where = (w), .max_args = -1, .help = h }
#define MU_DIR_END { .name = NULL }
/* clang-format on */

#endif
