/* The listing itself: column heads, rows, what closes them. Byte for byte as httpd's, on which styles and scripts rely. */
#include "autoindex.h"

static bool is_table(const struct ai_listing *l)
{
    return l->opts & AI_TABLE;
}

static bool is_styled(const struct ai_listing *l)
{
    return l->c->style_sheet.p != NULL;
}

void ai_write_image(struct ai_listing *l, struct mu_str src, struct mu_str alt)
{
    struct mu_buf *b = &l->b;

    mu_buf_add(b, MU_S("<img src=\""));
    mu_buf_add_html(b, src);
    mu_buf_add(b, MU_S("\" alt=\""));
    mu_buf_add(b, alt);
    mu_buf_addc(b, '"');
    if (l->c->icon_width)
        mu_buf_addf(b, " width=\"%lld\"", (long long)l->c->icon_width);
    if (l->c->icon_height)
        mu_buf_addf(b, " height=\"%lld\"", (long long)l->c->icon_height);
    mu_buf_add(b, l->opts & AI_XHTML ? MU_S(" />") : MU_S(">"));
}

/* A column's head; following its link sorts by it, and the other way round when that is the order already. */
static void write_column(struct ai_listing *l, char key, const char *title)
{
    char next = l->key == key && l->direction == 'A' ? 'D' : 'A';

    if (l->opts & AI_NO_COLUMN_SORT) {
        mu_buf_add(&l->b, mu_str_c(title));
        return;
    }
    mu_buf_addf(&l->b, "<a href=\"?C=%c;O=%c%.*s\">%s</a>", key, next, MU_FMT(l->column_args),
                title);
}

/* ---- table ---- */

static void write_table_column(struct ai_listing *l, const char *class, char key, const char *title)
{
    if (is_styled(l))
        mu_buf_addf(&l->b, "<th class=\"%s\">", class);
    else
        mu_buf_add(&l->b, MU_S("<th>"));
    write_column(l, key, title);
    mu_buf_add(&l->b, MU_S("</th>"));
}

static void write_table_icon_head(struct ai_listing *l)
{
    struct mu_str blank = ai_find_named(&l->c->icons, MU_S("^^BLANKICON^^"));

    mu_buf_add(&l->b,
               is_styled(l) ? MU_S("<th class=\"indexcolicon\">") : MU_S("<th valign=\"top\">"));
    if (blank.p)
        ai_write_image(l, blank, MU_S("[ICO]"));
    else
        mu_buf_add(&l->b, MU_S("&nbsp;"));
    mu_buf_add(&l->b, MU_S("</th>"));
}

static void write_table_rule(struct ai_listing *l)
{
    int columns = 1 + !(l->opts & AI_NO_ICON) + !(l->opts & AI_NO_MODIFIED) +
                  !(l->opts & AI_NO_SIZE) + !(l->opts & AI_NO_DESCRIPTION);

    if (l->opts & AI_NO_RULES)
        return;
    mu_buf_addf(&l->b, "   <tr%s><th colspan=\"%d\"><hr%s></th></tr>\n",
                is_styled(l) ? " class=\"indexbreakrow\"" : "", columns,
                l->opts & AI_XHTML ? " /" : "");
}

static void write_table_head(struct ai_listing *l)
{
    mu_buf_add(&l->b, is_styled(l) ? MU_S("  <table id=\"indexlist\">\n   <tr class=\"indexhead\">")
                                   : MU_S("  <table>\n   <tr>"));
    if (!(l->opts & AI_NO_ICON))
        write_table_icon_head(l);
    write_table_column(l, "indexcolname", 'N', "Name");
    if (!(l->opts & AI_NO_MODIFIED))
        write_table_column(l, "indexcollastmod", 'M', "Last modified");
    if (!(l->opts & AI_NO_SIZE))
        write_table_column(l, "indexcolsize", 'S', "Size");
    if (!(l->opts & AI_NO_DESCRIPTION))
        write_table_column(l, "indexcoldesc", 'D', "Description");
    mu_buf_add(&l->b, MU_S("</tr>\n"));
    write_table_rule(l);
}

static void write_table(struct ai_listing *l)
{
    write_table_head(l);
    for (size_t i = 0; i < l->entries.n; i++) {
        ai_write_table_row(l, l->entries.v[i], i);
        ai_flush_if_much(l);
    }
    write_table_rule(l);
    mu_buf_add(&l->b, MU_S("</table>\n"));
}

/* ---- preformatted text ---- */

static void write_fancy_head(struct ai_listing *l, size_t name_width)
{
    struct mu_buf *b = &l->b;
    struct mu_str blank = ai_find_named(&l->c->icons, MU_S("^^BLANKICON^^"));

    mu_buf_add(b, MU_S("<pre>"));
    if (!(l->opts & AI_NO_ICON)) {
        if (blank.p)
            ai_write_image(l, blank, MU_S("Icon "));
        mu_buf_add(b, blank.p ? MU_S(" ") : MU_S("      "));
    }
    write_column(l, 'N', "Name");
    mu_buf_addf(b, "%*s ", (int)name_width - 4, "");
    if (!(l->opts & AI_NO_MODIFIED)) {
        write_column(l, 'M', "Last modified");
        mu_buf_add(b, MU_S("      "));
    }
    if (!(l->opts & AI_NO_SIZE)) {
        write_column(l, 'S', "Size");
        mu_buf_add(b, MU_S("  "));
    }
    if (!(l->opts & AI_NO_DESCRIPTION))
        write_column(l, 'D', "Description");
    if (l->opts & AI_NO_RULES)
        mu_buf_addc(b, '\n');
    else
        mu_buf_add(b, l->opts & AI_XHTML ? MU_S("<hr />") : MU_S("<hr>"));
}

static size_t fancy_name_width(const struct ai_listing *l)
{
    size_t width = l->c->name_width.n;

    for (size_t i = 0; l->c->name_width.adjust == AI_WIDTH_FIT && i < l->entries.n; i++) {
        const struct ai_entry *e = l->entries.v[i];

        if (e->name.n > width)
            width = e->name.n;
    }
    return width;
}

static void write_fancy(struct ai_listing *l)
{
    size_t name_width = fancy_name_width(l);

    write_fancy_head(l, name_width);
    for (size_t i = 0; i < l->entries.n; i++) {
        ai_write_fancy_row(l, l->entries.v[i], name_width);
        ai_flush_if_much(l);
    }
    if (!(l->opts & AI_NO_RULES))
        mu_buf_add(&l->b, l->opts & AI_XHTML ? MU_S("<hr />") : MU_S("<hr>"));
    mu_buf_add(&l->b, MU_S("</pre>\n"));
}

static void write_plain(struct ai_listing *l)
{
    mu_buf_add(&l->b, MU_S("<ul>"));
    for (size_t i = 0; i < l->entries.n; i++) {
        ai_write_plain_row(l, l->entries.v[i]);
        ai_flush_if_much(l);
    }
    mu_buf_add(&l->b, MU_S("</ul>\n"));
}

void ai_write_rows(struct ai_listing *l)
{
    if (is_table(l))
        write_table(l);
    else if (l->opts & AI_FANCY)
        write_fancy(l);
    else
        write_plain(l);
}
