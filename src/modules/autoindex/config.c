/* The directives of mod_autoindex, and how one scope's go over another's.
 *
 * Of several patterns the first that fits decides, the inner scope's before the outer's; so lists keep the order in
 * which they were written, and merging puts the inner in front.
 */
#include "autoindex.h"

static enum mu_rc item_add(struct mu_cmd *cmd, struct ai_items *items, struct ai_item item)
{
    struct ai_item *v = mu_new_n(cmd->arena, struct ai_item, items->n + 1);

    if (!v)
        return mu_cmd_error(cmd, "out of memory");
    if (items->n)
        memcpy(v, items->v, items->n * sizeof(*v));
    v[items->n] = item;
    *items = (struct ai_items){ v, items->n + 1 };
    return MU_OK;
}

/* A name without wildcards stands for every name that ends in it. */
static struct mu_str item_pattern(struct mu_cmd *cmd, enum ai_by by, struct mu_str to)
{
    if (by == AI_BY_ENCODING)
        return mu_str_dup_lower(cmd->arena, to);
    if (by != AI_BY_PATH)
        return to;
    if (mu_str_eq(to, MU_S("**DIRECTORY**")))
        to = MU_S("^^DIRECTORY^^");
    if (mu_str_chr(to, '*') >= 0 || mu_str_chr(to, '?') >= 0)
        return to;
    return mu_str_cat(cmd->arena, MU_S("*"), to);
}

static enum mu_rc add_items(struct mu_cmd *cmd, struct ai_items *items, enum ai_by by,
                            struct mu_str value, const struct mu_str *to, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct ai_item item = { by, item_pattern(cmd, by, to[i]), value };

        if (!item.pattern.p)
            return mu_cmd_error(cmd, "out of memory");
        if (item_add(cmd, items, item) != MU_OK)
            return MU_BAD;
    }
    return MU_OK;
}

/* "(ALT,/icons/x.gif)" names the text in its place as well. */
static enum mu_rc add_icons(struct mu_cmd *cmd, struct ai_conf *c, enum ai_by by,
                            const struct mu_str *args, size_t n)
{
    struct mu_str icon = args[0];
    ssize_t comma, end;

    if (!mu_str_starts(icon, MU_S("(")))
        return add_items(cmd, &c->icons, by, icon, args + 1, n - 1);
    comma = mu_str_chr(icon, ',');
    end = mu_str_chr(icon, ')');
    if (comma < 0 || end < comma)
        return mu_cmd_error(cmd, "found '%.*s', expected an icon's URL or (text,URL)",
                            MU_FMT(icon));
    if (add_items(cmd, &c->alts, by, mu_str_sub(icon, 1, (size_t)comma), args + 1, n - 1) != MU_OK)
        return MU_BAD;
    icon = mu_str_sub(icon, (size_t)comma + 1, (size_t)end);
    return add_items(cmd, &c->icons, by, icon, args + 1, n - 1);
}

static enum mu_rc set_icon(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    return add_icons(cmd, conf, AI_BY_PATH, args, n);
}
static enum mu_rc set_icon_type(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    return add_icons(cmd, conf, AI_BY_TYPE, args, n);
}
static enum mu_rc set_icon_encoding(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                    size_t n)
{
    return add_icons(cmd, conf, AI_BY_ENCODING, args, n);
}

static enum mu_rc set_alt(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct ai_conf *c = conf;

    return add_items(cmd, &c->alts, AI_BY_PATH, args[0], args + 1, n - 1);
}
static enum mu_rc set_alt_type(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct ai_conf *c = conf;

    return add_items(cmd, &c->alts, AI_BY_TYPE, args[0], args + 1, n - 1);
}
static enum mu_rc set_alt_encoding(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                   size_t n)
{
    struct ai_conf *c = conf;

    return add_items(cmd, &c->alts, AI_BY_ENCODING, args[0], args + 1, n - 1);
}

/* A slash makes it a pattern for the end of the whole file name, a wildcard one for the last part. */
static struct ai_description description_of(struct mu_cmd *cmd, struct mu_str text,
                                            struct mu_str to)
{
    struct ai_description d = { .pattern = to, .text = text };

    d.is_path = mu_str_chr(to, '/') >= 0;
    d.is_wild = d.is_path || mu_str_chr(to, '*') >= 0 || mu_str_chr(to, '?') >= 0 ||
                mu_str_chr(to, '[') >= 0;
    if (d.is_wild)
        d.pattern = mu_str_cat(cmd->arena, d.is_path ? MU_S("*/") : MU_S("*"), to, MU_S("*"));
    return d;
}

static enum mu_rc set_description(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                  size_t n)
{
    struct ai_descriptions *list = &((struct ai_conf *)conf)->descriptions;
    struct ai_description *v = mu_new_n(cmd->arena, struct ai_description, list->n + n - 1);

    if (!v)
        return mu_cmd_error(cmd, "out of memory");
    if (list->n)
        memcpy(v, list->v, list->n * sizeof(*v));
    for (size_t i = 1; i < n; i++) {
        v[list->n + i - 1] = description_of(cmd, args[0], args[i]);
        if (!v[list->n + i - 1].pattern.p)
            return mu_cmd_error(cmd, "out of memory");
    }
    *list = (struct ai_descriptions){ v, list->n + n - 1 };
    return MU_OK;
}

static enum mu_rc set_ignore(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct mu_strs *list = &((struct ai_conf *)conf)->ignore;
    struct mu_str *v = mu_new_n(cmd->arena, struct mu_str, list->n + n);

    if (!v)
        return mu_cmd_error(cmd, "out of memory");
    if (list->n)
        memcpy(v, list->v, list->n * sizeof(*v));
    for (size_t i = 0; i < n; i++) {
        ssize_t slash = mu_str_rchr(args[i], '/');

        v[list->n + i] = mu_str_sub(args[i], (size_t)(slash + 1), args[i].n);
    }
    *list = (struct mu_strs){ v, list->n + n };
    return MU_OK;
}

/* ---- merging ---- */

void ai_conf_init(void *conf)
{
    *(struct ai_conf *)conf = (struct ai_conf){
        .is_initial = true,
        .name_width = { 23, AI_WIDTH_UNSET },
        .description_width = { 23, AI_WIDTH_UNSET },
    };
}

/* `n` elements of `size` bytes in front of `m`; NULL when out of memory. */
static void *join(struct mu_arena *a, const void *first, size_t n, const void *then, size_t m,
                  size_t size)
{
    char *v = mu_arena_zalloc(a, n + m, size);

    if (v && n)
        memcpy(v, first, n * size);
    if (v && m)
        memcpy(v + n * size, then, m * size);
    return v;
}

static enum mu_rc join_items(struct mu_arena *a, const struct ai_items *over,
                             const struct ai_items *base, struct ai_items *out)
{
    out->n = over->n + base->n;
    out->v = join(a, over->v, over->n, base->v, base->n, sizeof(*out->v));
    return out->v ? MU_OK : MU_NOMEM;
}

static enum mu_rc merge_lists(struct mu_arena *a, const struct ai_conf *b, const struct ai_conf *o,
                              struct ai_conf *c)
{
    size_t outer = o->resets_ignore ? 0 : b->ignore.n;

    if (join_items(a, &o->icons, &b->icons, &c->icons) != MU_OK ||
        join_items(a, &o->alts, &b->alts, &c->alts) != MU_OK)
        return MU_NOMEM;
    c->descriptions.n = o->descriptions.n + b->descriptions.n;
    c->descriptions.v = join(a, o->descriptions.v, o->descriptions.n, b->descriptions.v,
                             b->descriptions.n, sizeof(*c->descriptions.v));
    c->ignore.n = o->ignore.n + outer;
    c->ignore.v = join(a, o->ignore.v, o->ignore.n, b->ignore.v, outer, sizeof(*c->ignore.v));
    return c->descriptions.v && c->ignore.v ? MU_OK : MU_NOMEM;
}

/*
 * As httpd does it, not as its manual says: options named without a sign hide those with a sign of the same scope, and
 * the outermost scope's signed options come into force in the first inner scope that says anything.
 */
static void merge_options(const struct ai_conf *b, const struct ai_conf *o, struct ai_conf *c)
{
    c->added = c->removed = 0;
    c->opts = o->opts;
    if (b->is_initial) {
        c->added = o->added;
        c->removed = o->removed;
        return;
    }
    if (o->opts == 0) {
        c->added = (b->added | o->added) & ~o->removed;
        c->removed = b->removed | o->removed;
        c->opts = b->opts & ~(uint32_t)AI_NONE;
    }
    c->opts = (c->opts | c->added) & ~c->removed;
}

enum mu_rc ai_conf_merge(struct mu_arena *a, const void *base, const void *over, void *out)
{
    const struct ai_conf *b = base, *o = over;
    struct ai_conf *c = out;

    c->is_initial = false;
    merge_options(b, o, c);
    c->icon_width = o->icon_width ? o->icon_width : b->icon_width;
    c->icon_height = o->icon_height ? o->icon_height : b->icon_height;
    c->name_width = o->name_width.adjust != AI_WIDTH_UNSET ? o->name_width : b->name_width;
    c->description_width =
        o->description_width.adjust != AI_WIDTH_UNSET ? o->description_width : b->description_width;
    c->key = o->key ? o->key : b->key;
    c->direction = o->direction ? o->direction : b->direction;
    c->type = o->type.p ? o->type : b->type;
    c->charset = o->charset.p ? o->charset : b->charset;
    return merge_lists(a, b, o, c);
}

#define AI_WHERE (MU_IN_SERVER | MU_IN_DIR | MU_OVR_INDEXES)

const struct mu_directive ai_directives[] = {
    MU_DIR_CALL("AddIcon", AI_WHERE, 2, -1, set_icon,
                "an icon's URL, or (text,URL), and file names"),
    MU_DIR_CALL("AddIconByType", AI_WHERE, 2, -1, set_icon_type,
                "an icon's URL, or (text,URL), and media types"),
    MU_DIR_CALL("AddIconByEncoding", AI_WHERE, 2, -1, set_icon_encoding,
                "an icon's URL, or (text,URL), and content encodings"),
    MU_DIR_CALL("AddAlt", AI_WHERE, 2, -1, set_alt, "text in place of an icon, and file names"),
    MU_DIR_CALL("AddAltByType", AI_WHERE, 2, -1, set_alt_type,
                "text in place of an icon, and media types"),
    MU_DIR_CALL("AddAltByEncoding", AI_WHERE, 2, -1, set_alt_encoding,
                "text in place of an icon, and content encodings"),
    MU_DIR_CALL("AddDescription", AI_WHERE, 2, -1, set_description, "a description and file names"),
    MU_DIR_STR("DefaultIcon", struct ai_conf, default_icon, AI_WHERE,
               "URL of the icon for what has no other"),
    MU_DIR_STR("HeaderName", struct ai_conf, header, AI_WHERE, "file shown above the listing"),
    MU_DIR_STR("IndexHeadInsert", struct ai_conf, head_insert, AI_WHERE,
               "text put into the page's <head>"),
    MU_DIR_CALL("IndexIgnore", AI_WHERE, 1, -1, set_ignore,
                "names and patterns left out of listings"),
    MU_DIR_FLAG("IndexIgnoreReset", struct ai_conf, resets_ignore, AI_WHERE,
                "On: forget what outer sections leave out"),
    MU_DIR_CALL("IndexOptions", AI_WHERE, 0, -1, ai_set_options,
                "options, each with + or - or neither"),
    MU_DIR_CALL("IndexOrderDefault", AI_WHERE, 2, 2, ai_set_order,
                "Ascending or Descending, and Name, Date, Size or Description"),
    MU_DIR_STR("IndexStyleSheet", struct ai_conf, style_sheet, AI_WHERE, "URL of a style sheet"),
    MU_DIR_STR("ReadmeName", struct ai_conf, readme, AI_WHERE, "file shown below the listing"),
    MU_DIR_REFUSED("FancyIndexing", AI_WHERE, "say IndexOptions FancyIndexing instead"),
    MU_DIR_END
};
