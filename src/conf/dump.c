/*
 * dump: the resolved tree as text, and back. It is what a rehearsal hands to the server that
 * restarts: one record a line, fields separated by tabs, with backslash escapes, so that arguments
 * may hold anything. Reading it needs no file and asks no condition, so the server runs with
 * exactly what was rehearsed.
 *
 *   muster-tree 1
 *   R server-root, C config-file, D name [value], M module [path], L file of LoadFile
 *   F file (of the records below), N line name args, + line name args (a section begins), - (it ends)
 */
#include <muster/str.h>

#include "conf/priv.h"

#define MAGIC "muster-tree 1"
enum { FIELDS_MAX = 4 };

/* ---- writing ---- */

static void put_field(struct mu_buf *b, struct mu_str s)
{
    mu_buf_addc(b, '\t');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\' || s.p[i] == '\t' || s.p[i] == '\n') {
            mu_buf_addc(b, '\\');
            mu_buf_addc(b, s.p[i] == '\t' ? 't' : s.p[i] == '\n' ? 'n' : '\\');
        } else {
            mu_buf_addc(b, s.p[i]);
        }
    }
}

static void put(struct mu_buf *b, char tag, struct mu_str one, struct mu_str two)
{
    mu_buf_addc(b, tag);
    put_field(b, one);
    if (two.p)
        put_field(b, two);
    mu_buf_addc(b, '\n');
}

static void put_node(struct mu_buf *b, const struct mu_node *n, struct mu_str *file)
{
    if (n->file.p != file->p) { /* file names are interned */
        *file = n->file;
        put(b, 'F', n->file, MU_STR_NULL);
    }
    mu_buf_addf(b, "%c\t%u", mu_node_is_section(n) ? '+' : 'N', n->line);
    put_field(b, n->name);
    put_field(b, n->args);
    mu_buf_addc(b, '\n');
}

/* Nesting is limited while reading, hence here. */
static void put_nodes(struct mu_buf *b, const struct mu_node *first, struct mu_str *file)
{
    for (const struct mu_node *n = first; n; n = n->next) {
        put_node(b, n, file);
        if (!mu_node_is_section(n))
            continue;
        put_nodes(b, n->first, file);
        mu_buf_add(b, MU_S("-\n"));
    }
}

static void put_modules(struct mu_buf *b, const struct mu_config *c)
{
    for (size_t i = 0; i < c->priv->load_files.n; i++)
        put(b, 'L', mu_str_c(c->priv->load_files.v[i]), MU_STR_NULL);
    for (size_t i = 0; i < c->priv->loaded.n; i++) {
        const struct mu_loaded *l = c->priv->loaded.v[i];

        put(b, 'M', l->name, l->path);
    }
}

void mu_config_dump_tree(const struct mu_config *c, struct mu_buf *out)
{
    struct mu_str file = MU_STR_NULL;
    struct mu_str name;
    void *value;
    size_t it = 0;

    mu_buf_add(out, MU_S(MAGIC "\n"));
    put(out, 'R', c->server_root, MU_STR_NULL);
    put(out, 'C', c->config_file, MU_STR_NULL);
    while (mu_map_next(c->priv->defines, &it, &name, &value))
        put(out, 'D', name, *(const struct mu_str *)value);
    put_modules(out, c);
    put_nodes(out, c->tree->first, &file);
}

/* ---- reading ---- */

struct restorer {
    struct mu_config *c;
    struct mu_node *at;
    struct mu_str file;
    struct mu_str v[FIELDS_MAX];
    size_t n;
    unsigned depth;
};

static struct mu_str unescape(struct mu_arena *a, struct mu_str s)
{
    struct mu_str out = mu_str_dup(a, s);
    char *w = (char *)(uintptr_t)out.p;

    if (!w)
        return out;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '\\' && i + 1 < s.n) {
            c = s.p[++i];
            c = c == 't' ? '\t' : c == 'n' ? '\n' : c;
        }
        *w++ = c;
    }
    *w = '\0';
    out.n = (size_t)(w - out.p);
    return out;
}

static enum mu_rc split(struct restorer *r, struct mu_str line)
{
    struct mu_str field;

    r->n = 0;
    if (mu_str_chr(line, '\0') >= 0)
        return MU_BAD;
    while (mu_str_split(&line, '\t', &field)) {
        if (r->n == FIELDS_MAX)
            return MU_BAD;
        r->v[r->n] = unescape(r->c->arena, field);
        if (!r->v[r->n++].p)
            return mu_conf_nomem(r->c);
    }
    for (size_t i = r->n; i < FIELDS_MAX; i++)
        r->v[i] = MU_STR_NULL;
    return MU_OK;
}

static enum mu_rc restore_node(struct restorer *r, bool is_section)
{
    struct mu_node *n;
    uint64_t line;

    if (r->n != 4 || !mu_str_u64(r->v[1], &line) || line > UINT32_MAX || r->v[2].n == 0 ||
        (r->v[2].p[0] == '<') != is_section || (is_section && r->depth >= MU_NEST_MAX))
        return MU_BAD;
    n = mu_node_add(r->c->arena, r->at, r->v[2], r->v[3]);
    if (!n)
        return mu_conf_nomem(r->c);
    n->file = r->file;
    n->line = (unsigned)line;
    if (is_section) {
        r->at = n;
        r->depth++;
    }
    return MU_OK;
}

static enum mu_rc restore_end(struct restorer *r)
{
    if (!r->at->parent || r->n != 1)
        return MU_BAD;
    r->at = r->at->parent;
    r->depth--;
    return MU_OK;
}

static enum mu_rc restore_record(struct restorer *r)
{
    if (r->v[0].n != 1 || (r->v[0].p[0] != '-' && r->n < 2))
        return MU_BAD;
    switch (r->v[0].p[0]) {
    case 'R':
        r->c->server_root = r->v[1];
        return MU_OK;
    case 'C':
        r->c->config_file = r->v[1];
        return MU_OK;
    case 'D':
        return mu_define(r->c, r->v[1], r->v[2]);
    case 'M':
        return mu_modules_restore(r->c, r->v[1], r->v[2]) ? MU_OK : MU_BAD;
    case 'L':
        return mu_modules_restore_file(r->c, r->v[1]);
    case 'F':
        r->file = r->v[1];
        return MU_OK;
    case 'N':
        return restore_node(r, false);
    case '+':
        return restore_node(r, true);
    case '-':
        return restore_end(r);
    default:
        return MU_BAD;
    }
}

enum mu_rc mu_tree_restore(struct mu_config *c, struct mu_str text)
{
    struct restorer r = { .c = c, .at = c->tree };
    struct mu_str line;
    enum mu_rc rc;
    unsigned no = 1;

    if (!mu_str_split(&text, '\n', &line) || !mu_str_eq(line, MU_S(MAGIC))) {
        mu_conf_error(c, MU_STR_NULL, 0,
                      "the tree of the rehearsal does not begin with \"" MAGIC "\"");
        return MU_BAD;
    }
    while (mu_str_split(&text, '\n', &line)) {
        no++;
        if (line.n == 0)
            continue;
        rc = split(&r, line);
        if (rc == MU_OK)
            rc = restore_record(&r);
        if (rc == MU_NOMEM)
            return rc;
        if (rc != MU_OK) {
            mu_conf_error(c, MU_STR_NULL, 0, "the tree of the rehearsal cannot be used: record %u",
                          no);
            return MU_BAD;
        }
    }
    if (!c->server_root.p || !c->config_file.p || r.at != c->tree) {
        mu_conf_error(c, MU_STR_NULL, 0, "the tree of the rehearsal is cut short");
        return MU_BAD;
    }
    return MU_OK;
}
