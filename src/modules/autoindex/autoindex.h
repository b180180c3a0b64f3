/* What the files of mod_autoindex share: the configuration of a place, and one listing while it is made. */
#ifndef MU_MODULES_AUTOINDEX_H
#define MU_MODULES_AUTOINDEX_H

#include <muster/buf.h>
#include <muster/module.h>

/** IndexOptions that are on or off. */
enum {
    AI_NONE = 1, /**< IndexOptions None was said */
    AI_ICONS_ARE_LINKS = 1 << 1,
    AI_SCAN_TITLES = 1 << 2,
    AI_NO_ICON = 1 << 3,
    AI_NO_MODIFIED = 1 << 4,
    AI_NO_SIZE = 1 << 5,
    AI_NO_DESCRIPTION = 1 << 6,
    AI_NO_PREAMBLE = 1 << 7,
    AI_NO_COLUMN_SORT = 1 << 8,
    AI_NO_RULES = 1 << 9,
    AI_FOLDERS_FIRST = 1 << 10,
    AI_VERSION_SORT = 1 << 11,
    AI_TRACK_MODIFIED = 1 << 12,
    AI_FANCY = 1 << 13,
    AI_TABLE = 1 << 14,
    AI_IGNORE_CLIENT = 1 << 15,
    AI_IGNORE_CASE = 1 << 16,
    AI_XHTML = 1 << 17,
    AI_SHOW_FORBIDDEN = 1 << 18,
    AI_ALT_CLASS = 1 << 19,
    AI_OLD_DATE = 1 << 20,
};

/** What an icon or alternative text goes by. */
enum ai_by { AI_BY_PATH, AI_BY_TYPE, AI_BY_ENCODING };

struct ai_item {
    enum ai_by by;
    struct mu_str pattern;
    struct mu_str value;
};

struct ai_items {
    const struct ai_item *v;
    size_t n;
};

struct ai_description {
    struct mu_str pattern;
    struct mu_str text;
    bool is_path; /**< compared with the whole file name, else with its last part */
    bool is_wild; /**< a pattern, else a substring */
};

struct ai_descriptions {
    const struct ai_description *v;
    size_t n;
};

/** A column's width: not said, a number, or as wide as its widest entry. */
enum ai_adjust { AI_WIDTH_UNSET, AI_WIDTH_FIXED, AI_WIDTH_FIT };

struct ai_width {
    size_t n;
    enum ai_adjust adjust;
};

struct ai_conf {
    bool is_initial;                 /**< the defaults, in which nothing was written */
    uint32_t opts;                   /**< named without a sign, and in force once merged */
    uint32_t added, removed;         /**< named with + and - */
    int64_t icon_width, icon_height; /**< 0: no such attribute */
    struct ai_width name_width, description_width;
    char key;       /**< N M S D of IndexOrderDefault; 0: not said */
    char direction; /**< A or D; 0: not said */
    bool resets_ignore;
    struct ai_items icons, alts;
    struct ai_descriptions descriptions;
    struct mu_strs ignore;
    struct mu_str header, readme;
    struct mu_str default_icon, style_sheet, head_insert;
    struct mu_str type, charset;
};

/** What a listing shows in one row. */
struct ai_entry {
    struct mu_str name; /**< with a slash behind a directory; the parent's is its URL path */
    struct mu_str icon, alt, description; /**< p == NULL: none */
    int64_t size;                         /**< -1: not shown */
    int64_t mtime;                        /**< seconds; -1: not shown */
    bool goes_first;                      /**< a directory under FoldersFirst */
    bool is_parent;
};

/** One listing while it is made. */
struct ai_listing {
    struct mu_req *r;
    const struct ai_conf *c;
    uint32_t opts; /**< of the configuration, as the query changed them */
    char key, direction;
    struct mu_str pattern;     /**< P= of the query; p == NULL: everything */
    struct mu_str column_args; /**< what column links carry on: ";F=1;V=1;P=…" */
    struct mu_vec entries;     /**< of struct ai_entry */
    struct mu_buf b;
    enum mu_rc rc;     /**< of what was sent already */
    bool is_streaming; /**< something was sent already */
};

/** config.c: the directives, the defaults, one scope over another. */
extern const struct mu_directive ai_directives[];
void ai_conf_init(void *conf);
enum mu_rc ai_conf_merge(struct mu_arena *a, const void *base, const void *over, void *out);
/** options.c: IndexOptions and IndexOrderDefault. */
enum mu_rc ai_set_options(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n);
enum mu_rc ai_set_order(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n);
/** options.c: what the client's query asks for. */
void ai_query(struct ai_listing *l);

/** A file as the icon, text and description patterns see it. */
struct ai_subject {
    struct mu_str path; /**< file name; or ^^DIRECTORY^^, ^^BLANKICON^^ */
    struct mu_str type, encoding;
    bool is_path_only; /**< directories go by their name alone */
};
/** match.c: the first that fits, p == NULL when none does. */
struct mu_str ai_find(const struct ai_items *items, const struct ai_subject *s);
struct mu_str ai_find_named(const struct ai_items *items, struct mu_str path);
struct mu_str ai_find_description(const struct ai_conf *c, struct mu_str path);
bool ai_is_ignored(const struct ai_conf *c, struct mu_str name);
bool ai_matches_query(struct mu_str name, struct mu_str pattern);

/**
 * entries.c: read the directory into l->entries.
 * Returns: MU_STATUS_NONE, or the status that answers the request.
 */
MU_MAY_SUSPEND enum mu_status ai_read(struct ai_listing *l);
/** Open the very file that a look-up found and checked. -1 when it is no longer that file. */
int ai_open_checked(const struct mu_req *sub);

/** sort.c: bring l->entries into the order asked for. */
void ai_sort(struct ai_listing *l);

/** html.c: the rows and what is around them, into l->b. */
void ai_write_rows(struct ai_listing *l);
/** rows.c: one row of each kind. `i` is its number. */
void ai_write_table_row(struct ai_listing *l, const struct ai_entry *e, size_t i);
void ai_write_fancy_row(struct ai_listing *l, const struct ai_entry *e, size_t name_width);
void ai_write_plain_row(struct ai_listing *l, const struct ai_entry *e);
/** `<img …>` with the width and height configured. */
void ai_write_image(struct ai_listing *l, struct mu_str src, struct mu_str alt);

/** page.c: from the beginning of the page to its heading; from behind the rows to its end. */
MU_MAY_SUSPEND void ai_write_head(struct ai_listing *l);
MU_MAY_SUSPEND void ai_write_tail(struct ai_listing *l);
/** Send what was made so far. */
MU_MAY_SUSPEND void ai_flush(struct ai_listing *l);
/** The same once it has become much, so that a huge directory needs no huge buffer. */
MU_MAY_SUSPEND void ai_flush_if_much(struct ai_listing *l);

#endif
