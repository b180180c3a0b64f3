/*
 * read: files become a tree. A line is a directive that acts now (Include, Define, LoadModule …), a
 * conditional section, or a node. Sections end in the file they began in. What stands in a branch
 * that is not taken is skipped, but its sections must nest. After an error reading goes on, so that
 * one run finds all of them.
 */
#include <muster/str.h>

#include <errno.h>
#include <string.h>

#include "conf/lexer.h"
#include "conf/priv.h"

void mu_read_error(struct mu_reader *r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    mu_conf_vreport(r->c, true, r->file, r->line, fmt, ap);
    va_end(ap);
}

void mu_read_warn(struct mu_reader *r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    mu_conf_vreport(r->c, false, r->file, r->line, fmt, ap);
    va_end(ap);
}

static bool is_skipping(const struct mu_reader *r)
{
    return r->open && r->open->is_skipped;
}

/* Open a section that is called `name` ("<Directory"); nodes of a plain one go below `node`. */
static void push(struct mu_reader *r, struct mu_str name, bool is_skipped, struct mu_node *node)
{
    struct mu_open *o = mu_new(r->a, struct mu_open);

    if (!o) {
        mu_conf_nomem(r->c);
        return;
    }
    *o = (struct mu_open){ .up = r->open,
                           .name = mu_str_dup(r->a, name),
                           .line = r->line,
                           .is_skipped = is_skipped,
                           .saved = r->at };
    r->open = o;
    r->nesting++;
    if (node)
        r->at = node;
}

static void pop(struct mu_reader *r)
{
    r->at = r->open->saved;
    r->open = r->open->up;
    r->nesting--;
}

static bool closes(const struct mu_open *o, struct mu_str name)
{
    return mu_str_ieq(mu_str_sub(o->name, 1, o->name.n), name);
}

/* `word` is "</Directory>". */
static void close_section(struct mu_reader *r, struct mu_str word)
{
    bool is_whole = mu_str_ends(word, MU_S(">"));
    struct mu_str name = mu_str_sub(word, 2, word.n - is_whole);
    const struct mu_open *o = r->open;

    if (!is_whole)
        mu_read_error(r, "%.*s> directive missing closing '>'", MU_FMT(word));
    if (!o) {
        mu_read_error(r, "</%.*s> without matching <%.*s> section", MU_FMT(name), MU_FMT(name));
        return;
    }
    if (!closes(o, name)) {
        mu_read_error(r, "Expected </%.*s> but saw </%.*s> (<%.*s> was opened on line %u)",
                      MU_FMT(mu_str_sub(o->name, 1, o->name.n)), MU_FMT(name),
                      MU_FMT(mu_str_sub(o->name, 1, o->name.n)), o->line);
        while (o && !closes(o, name))
            o = o->up;
        if (!o)
            o = r->open; /* of no section that is open: taken for the innermost one's, misspelled */
    }
    while (r->open != o)
        pop(r);
    pop(r);
}

/* Take the section's arguments: up to the last '>'. */
static struct mu_str section_args(struct mu_reader *r, struct mu_str *name, struct mu_str rest)
{
    ssize_t end = mu_str_rchr(rest, '>');

    if (mu_str_ends(*name, MU_S(">"))) {
        name->n--;
        return MU_S("");
    }
    if (end < 0) {
        mu_read_error(r, "%.*s> directive missing closing '>'", MU_FMT(*name));
        return rest;
    }
    return mu_str_trim(mu_str_sub(rest, 0, (size_t)end));
}

static struct mu_node *add_node(struct mu_reader *r, struct mu_str name, struct mu_str args)
{
    struct mu_node *n = mu_node_add(r->a, r->at, name, args);

    if (!n) {
        mu_conf_nomem(r->c);
        return NULL;
    }
    n->file = r->file;
    n->line = r->line;
    return n;
}

static void open_section(struct mu_reader *r, struct mu_str name, struct mu_str rest)
{
    struct mu_str args = section_args(r, &name, rest);
    bool is_true;

    if (r->nesting >= MU_NEST_MAX) {
        mu_read_error(r, "%.*s> is nested more than %d sections deep", MU_FMT(name), MU_NEST_MAX);
        r->c->priv->is_stopped = true;
    } else if (mu_eval_section(r, name, args, &is_true)) {
        push(r, name, !is_true, NULL);
    } else {
        push(r, name, false, add_node(r, name, args));
    }
}

/* In a branch that is not taken only the nesting counts; variables are left alone. */
static void skip_line(struct mu_reader *r, struct mu_str line)
{
    struct mu_str word;

    if (line.p[0] != '<' || !mu_word_next(r->a, &line, &word))
        return;
    if (mu_str_starts(word, MU_S("</"))) {
        close_section(r, word);
        return;
    }
    if (mu_str_ends(word, MU_S(">")))
        word.n--;
    push(r, word, true, NULL);
}

void mu_read_line(struct mu_reader *r, struct mu_str line)
{
    struct mu_str name;

    if (is_skipping(r)) {
        skip_line(r, line);
        return;
    }
    line = mu_subst(r, line);
    if (!line.p || (!mu_word_next(r->a, &line, &name) && !line.p)) {
        mu_conf_nomem(r->c);
        return;
    }
    if (name.n == 0)
        return;
    if (mu_str_starts(name, MU_S("</")))
        close_section(r, name);
    else if (name.p[0] == '<')
        open_section(r, name, line);
    else if (!mu_exec_directive(r, name, line))
        add_node(r, name, line);
}

void mu_read_end(struct mu_reader *r)
{
    while (r->open) {
        r->line = r->open->line;
        mu_read_error(r, "%.*s> was not closed", MU_FMT(r->open->name));
        pop(r);
    }
}

static void read_text(struct mu_reader *r, struct mu_str text)
{
    struct mu_lines lines;
    struct mu_str line;
    enum mu_rc rc;

    mu_lines_init(&lines, text);
    while (!mu_read_is_over(r) && (rc = mu_lines_next(&lines, &line, &r->line)) != MU_EOF) {
        if (rc == MU_OK)
            mu_read_line(r, line);
        else if (rc == MU_LIMIT)
            mu_read_error(r, "the line is longer than %zu bytes", MU_LINE_MAX);
        else if (rc == MU_BAD)
            mu_read_error(r, "the line holds a NUL byte");
        else
            mu_conf_nomem(r->c);
    }
    if (!mu_read_is_over(r))
        mu_read_end(r);
    mu_lines_fini(&lines);
}

/* One copy of each file's name. */
static struct mu_str intern(struct mu_config *c, struct mu_str path)
{
    struct mu_str *kept = mu_map_get(c->priv->files, path);

    if (kept)
        return *kept;
    kept = mu_new(c->arena, struct mu_str);
    if (!kept)
        return MU_STR_NULL;
    *kept = mu_str_dup(c->arena, path);
    return kept->p && mu_map_set(c->priv->files, *kept, kept) == MU_OK ? *kept : MU_STR_NULL;
}

static const char *why_unreadable(enum mu_fs_kind kind)
{
    return kind == MU_FS_OTHER ? "not a regular file" : strerror(errno);
}

/* Files that include one another would be read for ever, or exponentially often: nothing more
 * is. */
static bool is_endless(struct mu_reader *up, unsigned depth)
{
    struct mu_config_priv *p = up->c->priv;

    if (depth > MU_INCLUDE_DEPTH_MAX)
        mu_read_error(up, "Exceeded maximum include depth of %d, There appears to be a recursion.",
                      MU_INCLUDE_DEPTH_MAX);
    else if (++p->files_read > MU_FILES_MAX)
        mu_read_error(up, "Exceeded maximum of %d included files, There appears to be a recursion.",
                      MU_FILES_MAX);
    else
        return false;
    p->is_stopped = true;
    return true;
}

/* For -D DUMP_INCLUDES. Files of -C and -c lines stand where those of the first file do. */
static bool note_file(const struct mu_reader *r)
{
    struct mu_included *f = mu_new(r->a, struct mu_included);

    if (!f)
        return false;
    *f = (struct mu_included){ .file = r->file,
                               .line = r->up->line,
                               .depth = r->depth + (r->up->depth == 0 && r->up->file.p) };
    return mu_vec_push(r->a, &r->c->priv->includes, f) == MU_OK;
}

void mu_read_file(struct mu_reader *up, struct mu_str path, bool is_optional)
{
    const struct mu_conf_fs *fs = up->c->priv->fs;
    struct mu_reader r = { .c = up->c,
                           .a = up->a,
                           .up = up,
                           .at = up->at,
                           .depth = up->depth + 1,
                           .nesting = up->nesting };
    enum mu_fs_kind kind = fs->kind(fs->arg, path.p);
    struct mu_buf text = { 0 };

    if (mu_read_is_over(up) || is_endless(up, r.depth))
        return;
    if (is_optional && kind == MU_FS_NONE)
        return;
    r.file = intern(up->c, path);
    errno = ENOENT;
    if (!r.file.p || !note_file(&r))
        mu_conf_nomem(up->c);
    else if (kind != MU_FS_FILE || fs->read(fs->arg, path.p, &text) != MU_OK)
        mu_read_error(up, "Could not open configuration file %.*s: %s", MU_FMT(path),
                      why_unreadable(kind));
    else
        read_text(&r, mu_buf_str(&text));
    mu_buf_fini(&text);
}
