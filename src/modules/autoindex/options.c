/* IndexOptions, IndexOrderDefault, and the same wishes in a client's query: C= O= F= V= P=. */
#include "autoindex.h"

static const struct {
    const char *name;
    uint32_t bit;
} flags[] = {
    { "FancyIndexing", AI_FANCY },
    { "FoldersFirst", AI_FOLDERS_FIRST },
    { "HTMLTable", AI_TABLE },
    { "IconsAreLinks", AI_ICONS_ARE_LINKS },
    { "IgnoreCase", AI_IGNORE_CASE },
    { "IgnoreClient", AI_IGNORE_CLIENT },
    { "ScanHTMLTitles", AI_SCAN_TITLES },
    { "ShowForbidden", AI_SHOW_FORBIDDEN },
    { "SuppressColumnSorting", AI_NO_COLUMN_SORT },
    { "SuppressDescription", AI_NO_DESCRIPTION },
    { "SuppressHTMLPreamble", AI_NO_PREAMBLE },
    { "SuppressIcon", AI_NO_ICON },
    { "SuppressLastModified", AI_NO_MODIFIED },
    { "SuppressRules", AI_NO_RULES },
    { "SuppressSize", AI_NO_SIZE },
    { "TrackModified", AI_TRACK_MODIFIED },
    { "UseOldDateFormat", AI_OLD_DATE },
    { "VersionSort", AI_VERSION_SORT },
    { "XHTML", AI_XHTML },
    { "AddAltClass", AI_ALT_CLASS },
};

/** A word of IndexOptions in its parts. */
struct word {
    struct mu_str name;
    struct mu_str value; /**< behind the '='; p == NULL: there is none */
    char sign;           /**< '+', '-' or 0 */
};

static struct word parse_word(struct mu_str s)
{
    struct word w = { .name = s };
    ssize_t eq;

    if (s.n && (s.p[0] == '+' || s.p[0] == '-')) {
        w.sign = s.p[0];
        w.name = mu_str_sub(s, 1, s.n);
    }
    eq = mu_str_chr(w.name, '=');
    if (eq >= 0) {
        w.value = mu_str_sub(w.name, (size_t)eq + 1, w.name.n);
        w.name = mu_str_sub(w.name, 0, (size_t)eq);
    }
    return w;
}

static uint32_t flag_of(const struct word *w)
{
    for (size_t i = 0; !w->value.p && i < MU_ARRAY_LEN(flags); i++) {
        if (mu_str_ieq(w->name, mu_str_c(flags[i].name)))
            return flags[i].bit;
    }
    return 0;
}

static enum mu_rc parse_icon(struct mu_cmd *cmd, const struct word *w, int64_t usual, int64_t *out)
{
    uint64_t v;

    if (!w->value.p) {
        *out = w->sign == '-' ? 0 : usual;
        return MU_OK;
    }
    if (w->sign == '-')
        return mu_cmd_error(cmd, "-%.*s takes no value", MU_FMT(w->name));
    if (!mu_str_u64(w->value, &v) || v > 10000)
        return mu_cmd_error(cmd, "%.*s: found '%.*s', expected a number of pixels up to 10000",
                            MU_FMT(w->name), MU_FMT(w->value));
    *out = (int64_t)v;
    return MU_OK;
}

static enum mu_rc parse_width(struct mu_cmd *cmd, const struct word *w, size_t least,
                              struct ai_width *out)
{
    uint64_t v;

    if (!w->value.p) {
        if (w->sign != '-')
            return mu_cmd_error(cmd, "%.*s takes a value; only -%.*s stands without one",
                                MU_FMT(w->name), MU_FMT(w->name));
        *out = (struct ai_width){ 23, AI_WIDTH_FIXED };
        return MU_OK;
    }
    if (w->sign == '-')
        return mu_cmd_error(cmd, "-%.*s takes no value", MU_FMT(w->name));
    if (mu_str_starts(w->value, MU_S("*"))) {
        *out = (struct ai_width){ out->n ? out->n : 23, AI_WIDTH_FIT };
        return MU_OK;
    }
    if (!mu_str_u64(w->value, &v) || v < least || v > 10000)
        return mu_cmd_error(cmd, "%.*s: found '%.*s', expected * or a number from %zu to 10000",
                            MU_FMT(w->name), MU_FMT(w->value), least);
    *out = (struct ai_width){ (size_t)v, AI_WIDTH_FIXED };
    return MU_OK;
}

/* The options that carry a value. MU_NOENT: it is none of them. */
static enum mu_rc set_valued(struct mu_cmd *cmd, struct ai_conf *c, const struct word *w)
{
    if (mu_str_ieq(w->name, MU_S("IconWidth")))
        return parse_icon(cmd, w, 20, &c->icon_width);
    if (mu_str_ieq(w->name, MU_S("IconHeight")))
        return parse_icon(cmd, w, 22, &c->icon_height);
    if (mu_str_ieq(w->name, MU_S("NameWidth")))
        return parse_width(cmd, w, 5, &c->name_width);
    if (mu_str_ieq(w->name, MU_S("DescriptionWidth")))
        return parse_width(cmd, w, mu_str_eq(w->value, MU_S("0")) ? 0 : 12, &c->description_width);
    if (w->value.p && mu_str_ieq(w->name, MU_S("Type")))
        c->type = w->value;
    else if (w->value.p && mu_str_ieq(w->name, MU_S("Charset")))
        c->charset = w->value;
    else
        return MU_NOENT;
    return MU_OK;
}

static enum mu_rc set_option(struct mu_cmd *cmd, struct ai_conf *c, struct mu_str arg)
{
    struct word w = parse_word(arg);
    uint32_t bit = flag_of(&w);
    enum mu_rc rc;

    if (mu_str_ieq(w.name, MU_S("None"))) {
        if (w.sign)
            return mu_cmd_error(cmd, "None takes neither + nor -");
        c->opts = AI_NONE;
    } else if (!bit) {
        rc = set_valued(cmd, c, &w);
        if (rc == MU_NOENT)
            return mu_cmd_error(cmd, "there is no index option '%.*s'", MU_FMT(arg));
        if (rc != MU_OK)
            return rc;
    }
    if (w.sign == '+') {
        c->added |= bit;
        c->removed &= ~bit;
    } else if (w.sign == '-') {
        c->removed |= bit;
        c->added &= ~bit;
    } else {
        c->opts |= bit;
        c->added = c->removed = 0;
    }
    return MU_OK;
}

enum mu_rc ai_set_options(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct ai_conf *c = conf;

    for (size_t i = 0; i < n; i++) {
        if (set_option(cmd, c, args[i]) != MU_OK)
            return MU_BAD;
    }
    if ((c->opts & AI_NONE) && (c->opts & ~(uint32_t)AI_NONE))
        return mu_cmd_error(cmd, "None cannot be combined with other options");
    return MU_OK;
}

enum mu_rc ai_set_order(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    static const struct {
        const char *word;
        char key;
    } keys[] = { { "Name", 'N' }, { "Date", 'M' }, { "Size", 'S' }, { "Description", 'D' } };
    struct ai_conf *c = conf;

    (void)n;
    if (mu_str_ieq(args[0], MU_S("Ascending")))
        c->direction = 'A';
    else if (mu_str_ieq(args[0], MU_S("Descending")))
        c->direction = 'D';
    else
        return mu_cmd_error(cmd, "found '%.*s', expected Ascending or Descending", MU_FMT(args[0]));
    for (size_t i = 0; i < MU_ARRAY_LEN(keys); i++) {
        if (mu_str_ieq(args[1], mu_str_c(keys[i].word))) {
            c->key = keys[i].key;
            return MU_OK;
        }
    }
    return mu_cmd_error(cmd, "found '%.*s', expected Name, Date, Size or Description",
                        MU_FMT(args[1]));
}

/* ---- the query ---- */

/** What the column links carry on. */
struct carried {
    char format, version; /**< of F= and V=; 0: not asked for */
    struct mu_str pattern;
};

/* Up to the next '&' or ';'. */
static struct mu_str next_pair(struct mu_str *rest)
{
    size_t n = 0;
    struct mu_str pair;

    while (n < rest->n && rest->p[n] != '&' && rest->p[n] != ';')
        n++;
    pair = mu_str_sub(*rest, 0, n);
    *rest = n < rest->n ? mu_str_sub(*rest, n + 1, rest->n) : MU_STR_NULL;
    return pair;
}

/* In such a pattern a backslash means itself; for mu_str_fnmatch it is doubled. */
static struct mu_str plain_backslashes(struct mu_arena *a, struct mu_str s)
{
    struct mu_buf b = { 0 };
    struct mu_str out;

    if (mu_str_chr(s, '\\') < 0)
        return s;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\')
            mu_buf_addc(&b, '\\');
        mu_buf_addc(&b, s.p[i]);
    }
    out = mu_str_dup(a, mu_buf_str(&b));
    mu_buf_fini(&b);
    return out;
}

/* %XX decoded; p == NULL when an escape is malformed or stands for what no file name holds. */
static struct mu_str decode_pattern(struct mu_arena *a, struct mu_str s)
{
    char *p = mu_arena_alloc(a, s.n + 1);
    size_t n = 0;

    if (!p)
        return MU_STR_NULL;
    for (size_t i = 0; i < s.n; i++) {
        int hi, lo;

        if (s.p[i] != '%') {
            p[n++] = s.p[i];
            continue;
        }
        if (i + 2 >= s.n)
            return MU_STR_NULL;
        hi = mu_hex(s.p[i + 1]);
        lo = mu_hex(s.p[i + 2]);
        i += 2;
        if (hi < 0 || lo < 0 || hi * 16 + lo == 0 || hi * 16 + lo == '/')
            return MU_STR_NULL;
        p[n++] = (char)(hi * 16 + lo);
    }
    p[n] = '\0';
    return mu_str_n(p, n);
}

static void apply_format(struct ai_listing *l, char format)
{
    l->opts &= ~(uint32_t)(AI_FANCY | AI_TABLE);
    if (format != '0')
        l->opts |= AI_FANCY;
    if (format == '2')
        l->opts |= AI_TABLE;
}

/* One wish. False: it is none, and what stands behind it counts for nothing either. */
static bool apply_pair(struct ai_listing *l, struct mu_str pair, struct carried *carried)
{
    static const struct {
        char name;
        const char *values;
    } known[] = { { 'C', "NMSD" }, { 'O', "AD" }, { 'F', "012" }, { 'V', "01" } };
    bool is_known = false;

    if (mu_str_starts(pair, MU_S("P="))) {
        carried->pattern = decode_pattern(l->r->arena, mu_str_sub(pair, 2, pair.n));
        return true;
    }
    if (pair.n != 3 || pair.p[1] != '=' || !pair.p[2])
        return false;
    for (size_t i = 0; i < MU_ARRAY_LEN(known); i++)
        is_known = is_known || (pair.p[0] == known[i].name && strchr(known[i].values, pair.p[2]));
    if (!is_known)
        return false;
    if (pair.p[0] == 'C') {
        l->key = pair.p[2];
    } else if (pair.p[0] == 'O') {
        l->direction = pair.p[2];
    } else if (pair.p[0] == 'F') {
        apply_format(l, pair.p[2]);
        carried->format = pair.p[2];
    } else {
        l->opts =
            pair.p[2] == '1' ? l->opts | AI_VERSION_SORT : l->opts & ~(uint32_t)AI_VERSION_SORT;
        carried->version = pair.p[2];
    }
    return true;
}

void ai_query(struct ai_listing *l)
{
    struct mu_str rest = l->r->query;
    struct carried c = { .format = 0 };
    struct mu_buf b = { 0 };

    l->key = l->c->key ? l->c->key : 'N';
    l->direction = l->c->direction ? l->c->direction : 'A';
    l->opts = l->c->opts;
    if (l->opts & AI_IGNORE_CLIENT) {
        l->opts |= AI_NO_COLUMN_SORT;
        return;
    }
    while (rest.n && apply_pair(l, next_pair(&rest), &c))
        ;
    if (c.format)
        mu_buf_addf(&b, ";F=%c", c.format);
    if (c.version)
        mu_buf_addf(&b, ";V=%c", c.version);
    if (c.pattern.n) {
        l->pattern = plain_backslashes(l->r->arena, c.pattern);
        mu_buf_add(&b, MU_S(";P="));
        mu_buf_add_uri(&b, c.pattern);
    }
    l->column_args = mu_str_dup(l->r->arena, mu_buf_str(&b));
    mu_buf_fini(&b);
}
