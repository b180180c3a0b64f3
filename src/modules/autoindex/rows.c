/* One row of a listing, in each of its three forms. */
#include "autoindex.h"

#include <time.h>

static bool is_styled(const struct ai_listing *l)
{
    return l->c->style_sheet.p != NULL;
}

/* Where an entry's link leads. */
static void write_href(struct ai_listing *l, const struct ai_entry *e)
{
    mu_buf_add_html(&l->b, mu_uri_encode_path(l->r->arena, e->name));
}

static struct mu_str shown_name(const struct ai_entry *e)
{
    return e->is_parent ? MU_S("Parent Directory") : e->name;
}

/* The link with the name in it, cut to `width` with "..>" and padded to it; width 0: as it is. */
static void write_name(struct ai_listing *l, const struct ai_entry *e, size_t width)
{
    struct mu_str name = shown_name(e);

    mu_buf_add(&l->b, MU_S("<a href=\""));
    write_href(l, e);
    mu_buf_add(&l->b, MU_S("\">"));
    if (width && name.n > width) {
        mu_buf_add_html(&l->b, mu_str_sub(name, 0, width - 3));
        mu_buf_add_html(&l->b, MU_S("..>"));
    } else {
        mu_buf_add_html(&l->b, name);
    }
    mu_buf_add(&l->b, MU_S("</a>"));
    if (name.n < width)
        mu_buf_addf(&l->b, "%*s", (int)(width - name.n), "");
}

/* The icon, in a link if so wished; `blank` in its place when there is none. */
static void write_icon(struct ai_listing *l, const struct ai_entry *e, struct mu_str blank)
{
    struct mu_str icon = e->icon.p ? e->icon : l->c->default_icon;

    if (l->opts & AI_ICONS_ARE_LINKS) {
        mu_buf_add(&l->b, MU_S("<a href=\""));
        write_href(l, e);
        mu_buf_add(&l->b, MU_S("\">"));
    }
    if (icon.p)
        ai_write_image(
            l, icon,
            mu_str_cat(l->r->arena, MU_S("["), e->alt.p ? e->alt : MU_S("   "), MU_S("]")));
    else
        mu_buf_add(&l->b, blank);
    if (l->opts & AI_ICONS_ARE_LINKS)
        mu_buf_add(&l->b, MU_S("</a>"));
}

static void write_time(struct ai_listing *l, int64_t sec)
{
    time_t t = (time_t)sec;
    char text[40];
    struct tm tm;
    size_t n = 0;

    if (localtime_r(&t, &tm))
        n = l->opts & AI_OLD_DATE ? strftime(text, sizeof(text), "%d-%b-%Y %H:%M  ", &tm)
                                  : strftime(text, sizeof(text), "%Y-%m-%d %H:%M  ", &tm);
    mu_buf_add(&l->b, mu_str_n(text, n));
}

/* Four characters: "  - ", "972 ", "1.0K", " 10K". */
static void write_size(struct ai_listing *l, int64_t size)
{
    const char *unit = "KMGTPE";
    int64_t rest;

    if (size < 0) {
        mu_buf_add(&l->b, MU_S("  - "));
        return;
    }
    if (size < 973) {
        mu_buf_addf(&l->b, "%3d ", (int)size);
        return;
    }
    for (;; unit++) {
        rest = size & 1023;
        size >>= 10;
        if (size < 973)
            break;
    }
    if (size < 9 || (size == 9 && rest < 973)) {
        rest = (rest * 5 + 256) / 512;
        if (rest >= 10) {
            size++;
            rest = 0;
        }
        mu_buf_addf(&l->b, "%d.%d%c", (int)size, (int)rest, *unit);
        return;
    }
    mu_buf_addf(&l->b, "%3d%c", (int)(size + (rest >= 512)), *unit);
}

/* What a description may take when DescriptionWidth is not said: the room of the columns that are left out as well. */
static size_t description_room(const struct ai_listing *l)
{
    size_t room = l->c->description_width.n;

    if (l->c->description_width.adjust != AI_WIDTH_UNSET)
        return room;
    return room + (l->opts & AI_NO_ICON ? 6 : 0) + (l->opts & AI_NO_MODIFIED ? 19 : 0) +
           (l->opts & AI_NO_SIZE ? 7 : 0);
}

/* A description is HTML: a tag takes no room, an entity that of one character. What does not fit ends in '>'. */
static void write_description(struct ai_listing *l, struct mu_str text)
{
    size_t room = description_room(l), i = 0;

    if (l->c->description_width.adjust == AI_WIDTH_FIT)
        room = SIZE_MAX;
    for (; i < text.n && (room || text.p[i] == '<'); i++) {
        char end = text.p[i] == '<' ? '>' : text.p[i] == '&' ? ';' : 0;

        room -= text.p[i] != '<';
        while (end && i < text.n && text.p[i] != end)
            i++;
    }
    if (i >= text.n) {
        mu_buf_add(&l->b, text);
    } else if (i) {
        mu_buf_add(&l->b, mu_str_sub(text, 0, i - 1));
        mu_buf_addc(&l->b, '>');
    }
}

/* ---- the three forms ---- */

static void open_cell(struct ai_listing *l, const char *class, const char *plain)
{
    if (is_styled(l))
        mu_buf_addf(&l->b, "<td class=\"%s\">", class);
    else
        mu_buf_addf(&l->b, "<td%s>", plain);
}

static void open_table_row(struct ai_listing *l, const struct ai_entry *e, size_t i)
{
    const char *parity = i & 1 ? "odd" : "even";

    if (!is_styled(l))
        mu_buf_add(&l->b, MU_S("<tr>"));
    else if (e->alt.p && (l->opts & AI_ALT_CLASS))
        mu_buf_addf(&l->b, "   <tr class=\"%s-%.*s\">", parity,
                    MU_FMT(mu_str_dup_lower(l->r->arena, e->alt)));
    else
        mu_buf_addf(&l->b, "   <tr class=\"%s\">", parity);
}

void ai_write_table_row(struct ai_listing *l, const struct ai_entry *e, size_t i)
{
    struct mu_buf *b = &l->b;

    open_table_row(l, e, i);
    if (!(l->opts & AI_NO_ICON)) {
        open_cell(l, "indexcolicon", " valign=\"top\"");
        write_icon(l, e, MU_S("&nbsp;"));
        mu_buf_add(b, MU_S("</td>"));
    }
    open_cell(l, "indexcolname", "");
    write_name(l, e, l->c->name_width.adjust == AI_WIDTH_FIT ? 0 : l->c->name_width.n);
    mu_buf_add(b, MU_S("</td>"));
    if (!(l->opts & AI_NO_MODIFIED)) {
        open_cell(l, "indexcollastmod", e->mtime == -1 ? "" : " align=\"right\"");
        if (e->mtime != -1)
            write_time(l, e->mtime);
        else
            mu_buf_add(b, MU_S("&nbsp;"));
        mu_buf_add(b, MU_S("</td>"));
    }
    if (!(l->opts & AI_NO_SIZE)) {
        open_cell(l, "indexcolsize", " align=\"right\"");
        write_size(l, e->size);
        mu_buf_add(b, MU_S("</td>"));
    }
    if (!(l->opts & AI_NO_DESCRIPTION)) {
        open_cell(l, "indexcoldesc", "");
        if (e->description.p)
            write_description(l, e->description);
        else
            mu_buf_add(b, MU_S("&nbsp;"));
        mu_buf_add(b, MU_S("</td>"));
    }
    mu_buf_add(b, MU_S("</tr>\n"));
}

void ai_write_fancy_row(struct ai_listing *l, const struct ai_entry *e, size_t name_width)
{
    struct mu_buf *b = &l->b;

    if (!(l->opts & AI_NO_ICON)) {
        write_icon(l, e, MU_S("     "));
        mu_buf_addc(b, ' ');
    }
    write_name(l, e, name_width);
    mu_buf_addc(b, ' ');
    if (!(l->opts & AI_NO_MODIFIED)) {
        if (e->mtime != -1)
            write_time(l, e->mtime);
        else
            mu_buf_add(b, MU_S("                   "));
    }
    if (!(l->opts & AI_NO_SIZE)) {
        write_size(l, e->size);
        mu_buf_add(b, MU_S("  "));
    }
    if (!(l->opts & AI_NO_DESCRIPTION) && e->description.p)
        write_description(l, e->description);
    mu_buf_addc(b, '\n');
}

void ai_write_plain_row(struct ai_listing *l, const struct ai_entry *e)
{
    mu_buf_add(&l->b, MU_S("<li><a href=\""));
    write_href(l, e);
    mu_buf_add(&l->b, MU_S("\"> "));
    mu_buf_add_html(&l->b, shown_name(e));
    mu_buf_add(&l->b, MU_S("</a></li>\n"));
}
