/*
 * sections: <VirtualHost>, <Directory>, <Files>, <Location> with their Match forms, <Limit> and
 * <LimitExcept>. Which may stand in which is httpd's rule. In the end every server has the main
 * server's sections in front of its own, and <Directory> sections lie in the order of their depth.
 */
#include <muster/http.h>
#include <muster/regex.h>
#include <muster/str.h>

#include <stdlib.h>

#include "base/path.h"
#include "conf/lexer.h"
#include "conf/priv.h"

struct section {
    struct mu_section pub;
    struct mu_vec files;
};

static const struct kind {
    struct mu_str name;
    enum mu_section_kind kind;
    bool is_match;
} kinds[] = {
    { MU_S("<Directory"), MU_SEC_DIRECTORY, false },
    { MU_S("<DirectoryMatch"), MU_SEC_DIRECTORY_MATCH, true },
    { MU_S("<Files"), MU_SEC_FILES, false },
    { MU_S("<FilesMatch"), MU_SEC_FILES_MATCH, true },
    { MU_S("<Location"), MU_SEC_LOCATION, false },
    { MU_S("<LocationMatch"), MU_SEC_LOCATION_MATCH, true },
};

static const struct kind *kind_of(struct mu_str name)
{
    for (size_t i = 0; i < MU_ARRAY_LEN(kinds); i++)
        if (mu_str_ieq(kinds[i].name, name))
            return &kinds[i];
    return NULL;
}

static bool is_directory(enum mu_section_kind k)
{
    return k == MU_SEC_DIRECTORY || k == MU_SEC_DIRECTORY_MATCH;
}

static bool is_files(enum mu_section_kind k)
{
    return k == MU_SEC_FILES || k == MU_SEC_FILES_MATCH;
}

static bool push(struct mu_config *c, struct mu_vec *list, void *item)
{
    if (mu_vec_push(c->arena, list, item) == MU_OK)
        return true;
    mu_conf_nomem(c);
    return false;
}

/* ---- patterns ---- */

static uint32_t count_components(struct mu_str path)
{
    uint32_t n = 0;
    struct mu_str part;

    while (mu_str_split(&path, '/', &part))
        n += part.n > 0;
    return n;
}

static bool compile(struct mu_config *c, const struct mu_node *n, struct mu_section *s)
{
    struct mu_str why = MU_STR_NULL;

    s->regex = mu_regex_compile(c->arena, s->pattern, 0, &why);
    if (!s->regex)
        mu_conf_error(c, n->file, n->line, "%.*s>: Regex could not be compiled: \"%.*s\": %.*s",
                      MU_FMT(n->name), MU_FMT(s->pattern), MU_FMT(why));
    return s->regex != NULL;
}

static bool normalise(struct mu_config *c, const struct mu_node *n, struct mu_section *s)
{
    struct mu_str path = mu_path_normalise(c->arena, s->pattern);

    if (!path.p) {
        mu_conf_nomem(c);
        return false;
    }
    if (path.n > 1 && path.p[path.n - 1] == '/')
        path = mu_str_dup(c->arena, mu_str_sub(path, 0, path.n - 1));
    if (!path.p) {
        mu_conf_nomem(c);
        return false;
    }
    if (!mu_path_is_abs(path))
        mu_conf_warn(c, n->file, n->line,
                     "<Directory \"%.*s\"> is not an absolute path: it matches nothing",
                     MU_FMT(s->pattern));
    s->pattern = path;
    s->components = count_components(path);
    return true;
}

static bool parse_pattern(struct mu_config *c, const struct mu_node *n, const struct kind *k,
                          struct mu_section *s)
{
    struct mu_strs w;
    size_t at = 0;
    bool is_regex = k->is_match;

    if (mu_words(c->arena, n->args, &w) != MU_OK) {
        mu_conf_nomem(c);
        return false;
    }
    if (!is_regex && w.n > 1 && mu_str_eq(w.v[0], MU_S("~"))) {
        is_regex = true;
        at = 1;
    }
    if (w.n <= at || w.v[at].n == 0) {
        mu_conf_error(c, n->file, n->line, "%.*s> directive requires additional arguments",
                      MU_FMT(n->name));
        return false;
    }
    if (w.n > at + 1) {
        mu_conf_error(c, n->file, n->line, "Multiple %.*s> arguments not (yet) supported: \"%.*s\"",
                      MU_FMT(n->name), MU_FMT(w.v[at + 1]));
        return false;
    }
    s->pattern = w.v[at];
    s->kind = is_regex && !k->is_match ? k->kind + 1 : k->kind;
    if (is_regex)
        return compile(c, n, s);
    s->is_wild = mu_is_pattern(s->pattern);
    return s->kind != MU_SEC_DIRECTORY || normalise(c, n, s);
}
static_assert(MU_SEC_DIRECTORY + 1 == MU_SEC_DIRECTORY_MATCH &&
                  MU_SEC_FILES + 1 == MU_SEC_FILES_MATCH &&
                  MU_SEC_LOCATION + 1 == MU_SEC_LOCATION_MATCH,
              "the Match form comes right after the plain one");

/* ---- what may stand where ---- */

static bool refuse(struct mu_config *c, const struct mu_node *n, const struct mu_scope *s,
                   const char *how)
{
    mu_conf_error(c, n->file, n->line, "%.*s> %s %.*s> %s", MU_FMT(n->name), how,
                  MU_FMT(s->section_name),
                  strcmp(how, "not allowed in") == 0 ? "context" : "section");
    return false;
}

static bool section_may_stand(struct mu_config *c, const struct mu_node *n, const struct kind *k,
                              const struct mu_scope *s)
{
    if (s->where != MU_IN_DIR)
        return true;
    if (!is_files(k->kind))
        return refuse(c, n, s, "not allowed in");
    if (s->methods != MU_ANY_METHOD) {
        mu_conf_error(c, n->file, n->line,
                      "%.*s> cannot occur within <Limit> or <LimitExcept> section",
                      MU_FMT(n->name));
        return false;
    }
    if (!is_directory(s->section->kind) && !is_files(s->section->kind))
        return refuse(c, n, s, "cannot occur within");
    if (is_files(s->section->kind))
        mu_conf_warn(c, n->file, n->line, "%.*s> in a %.*s> section never takes effect",
                     MU_FMT(n->name), MU_FMT(s->section_name));
    return true;
}

/* ---- <Directory>, <Files>, <Location> ---- */

static bool add_section(struct mu_config *c, struct section *sec, const struct mu_scope *s)
{
    struct mu_vhost_lists *v = MU_CONTAINER_OF(s->vhost, struct mu_vhost_lists, pub);
    struct section *outer = s->section ? MU_CONTAINER_OF(s->section, struct section, pub) : NULL;

    if (outer) {
        if (is_files(outer->pub.kind))
            return true;
        if (!push(c, &outer->files, sec))
            return false;
        outer->pub.files = (struct mu_section **)outer->files.v;
        outer->pub.files_n = outer->files.n;
        return true;
    }
    if (is_files(sec->pub.kind))
        return push(c, &v->files, sec);
    if (sec->pub.kind == MU_SEC_DIRECTORY)
        return push(c, &v->dirs, sec);
    return push(c, is_directory(sec->pub.kind) ? &v->dir_matches : &v->locations, sec);
}

static void apply_place(struct mu_config *c, const struct mu_node *n, const struct kind *k,
                        const struct mu_scope *s)
{
    struct section *sec;
    struct mu_scope inner = *s;

    if (!section_may_stand(c, n, k, s))
        return;
    sec = mu_new(c->arena, struct section);
    if (!sec || !(sec->pub.conf = mu_new_n(c->arena, const void *, c->modules_n + 1))) {
        mu_conf_nomem(c);
        return;
    }
    sec->pub.id = ++c->priv->next_section_id;
    sec->pub.file = n->file;
    sec->pub.line = n->line;
    if (!parse_pattern(c, n, k, &sec->pub) || !add_section(c, sec, s))
        return;
    inner.up = s;
    inner.section = &sec->pub;
    inner.section_name = n->name;
    inner.blocks = sec->pub.conf;
    inner.where = MU_IN_DIR;
    mu_apply_nodes(c, n->first, &inner);
}
static_assert(offsetof(struct section, pub) == 0,
              "lists of sections are lists of their public part");

/* ---- <Limit> ---- */

static uint32_t method_bit(struct mu_str name)
{
    static const struct {
        struct mu_str name;
        enum mu_method m;
    } methods[] = {
#define X(m) { MU_S(#m), MU_M_##m },
        MU_METHOD_LIST(X)
#undef X
    };

    for (size_t i = 0; i < MU_ARRAY_LEN(methods); i++)
        if (mu_str_eq(methods[i].name, name))
            return MU_METHOD_BIT(methods[i].m) | (methods[i].m == MU_M_GET ? MU_HEAD : 0);
    return 0;
}

static bool parse_methods(struct mu_config *c, const struct mu_node *n, uint32_t *set)
{
    struct mu_strs w;

    *set = 0;
    if (mu_words(c->arena, n->args, &w) != MU_OK) {
        mu_conf_nomem(c);
        return false;
    }
    if (w.n == 0)
        mu_conf_error(c, n->file, n->line, "%.*s> directive requires additional arguments",
                      MU_FMT(n->name));
    for (size_t i = 0; i < w.n; i++) {
        uint32_t bit = method_bit(w.v[i]);

        if (!bit || bit == MU_METHOD_BIT(MU_M_TRACE)) {
            mu_conf_error(c, n->file, n->line,
                          bit ? "TRACE cannot be controlled by %.*s>, see TraceEnable%.*s"
                              : "%.*s>: unknown method \"%.*s\": names are case-sensitive, and "
                                "only methods of HTTP and WebDAV can be told apart",
                          MU_FMT(n->name), bit ? 0 : (int)w.v[i].n, w.v[i].p);
            return false;
        }
        *set |= bit;
    }
    return w.n > 0;
}

static void apply_limit(struct mu_config *c, const struct mu_node *n, const struct mu_scope *s,
                        bool is_except)
{
    struct mu_scope inner = *s;
    uint32_t set;

    if (s->where != MU_IN_DIR) {
        mu_conf_error(
            c, n->file, n->line,
            "%.*s> not allowed here; it is allowed in <Directory>, <Files> and <Location>",
            MU_FMT(n->name));
        return;
    }
    if (!parse_methods(c, n, &set))
        return;
    inner.methods = s->methods & (is_except ? ~set : set);
    if (!inner.methods) {
        mu_conf_error(c, n->file, n->line, "%.*s> directive excludes all methods", MU_FMT(n->name));
        return;
    }
    inner.up = s;
    mu_apply_nodes(c, n->first, &inner);
}

/* ---- <VirtualHost> ---- */

struct mu_vhost_lists *mu_vhost_new(struct mu_config *c, const struct mu_node *n)
{
    struct mu_vhost_lists *v = mu_new(c->arena, struct mu_vhost_lists);

    if (!v || !(v->pub.conf = mu_new_n(c->arena, const void *, c->modules_n + 1)) ||
        !push(c, &c->priv->vhosts, v)) {
        mu_conf_nomem(c);
        return NULL;
    }
    c->vhosts = (struct mu_vhost **)c->priv->vhosts.v;
    c->vhosts_n = c->priv->vhosts.n;
    v->pub.config = c;
    v->pub.is_main = c->vhosts_n == 1;
    v->pub.file = n->file;
    v->pub.line = n->line;
    return v;
}
static_assert(offsetof(struct mu_vhost_lists, pub) == 0,
              "a list of these is a list of their public part");

static void apply_vhost(struct mu_config *c, const struct mu_node *n, const struct mu_scope *s)
{
    struct mu_scope inner = *s;
    struct mu_vhost_lists *v;
    struct mu_strs w;

    if (s->where == MU_IN_DIR) {
        refuse(c, n, s, "not allowed in");
        return;
    }
    if (s->where == MU_IN_VHOST) {
        refuse(c, n, s, "cannot occur within");
        return;
    }
    if (mu_words(c->arena, n->args, &w) != MU_OK) {
        mu_conf_nomem(c);
        return;
    }
    if (w.n == 0) {
        mu_conf_error(c, n->file, n->line, "<VirtualHost> directive requires additional arguments");
        return;
    }
    v = mu_vhost_new(c, n);
    if (!v)
        return;
    v->pub.addrs = w.v;
    v->pub.addrs_n = w.n;
    inner = (struct mu_scope){ .up = s,
                               .vhost = &v->pub,
                               .blocks = v->pub.conf,
                               .section_name = n->name,
                               .where = MU_IN_VHOST,
                               .methods = MU_ANY_METHOD };
    mu_apply_nodes(c, n->first, &inner);
}

bool mu_apply_section(struct mu_config *c, const struct mu_node *n, const struct mu_scope *s)
{
    const struct kind *k = kind_of(n->name);

    if (k)
        apply_place(c, n, k, s);
    else if (mu_str_ieq(n->name, MU_S("<VirtualHost")))
        apply_vhost(c, n, s);
    else if (mu_str_ieq(n->name, MU_S("<Limit")))
        apply_limit(c, n, s, false);
    else if (mu_str_ieq(n->name, MU_S("<LimitExcept")))
        apply_limit(c, n, s, true);
    else
        return false;
    return true;
}

/* ---- the end ---- */

/* Main's list and the vhost's own behind it. */
static struct mu_section **join(struct mu_config *c, const struct mu_vec *main_list,
                                const struct mu_vec *own, size_t *n)
{
    struct mu_section **v = mu_new_n(c->arena, struct mu_section *, main_list->n + own->n + 1);

    *n = 0;
    if (!v) {
        mu_conf_nomem(c);
        return NULL;
    }
    for (size_t i = 0; i < main_list->n; i++)
        v[(*n)++] = main_list->v[i];
    for (size_t i = 0; i < own->n; i++)
        v[(*n)++] = own->v[i];
    return v;
}

/* By depth; ids grow in the order of appearance, the main server's own sections included. */
struct ranked {
    struct mu_section *s;
    size_t at;
};

static int by_depth(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;

    if (x->s->components != y->s->components)
        return x->s->components < y->s->components ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static enum mu_rc sort_dirs(struct mu_config *c, struct mu_vhost *v)
{
    struct ranked *r = mu_new_n(c->arena, struct ranked, v->dirs_n + 1);

    if (!r)
        return mu_conf_nomem(c);
    for (size_t i = 0; i < v->dirs_n; i++)
        r[i] = (struct ranked){ v->dirs[i], i };
    qsort(r, v->dirs_n, sizeof(*r), by_depth);
    for (size_t i = 0; i < v->dirs_n; i++)
        v->dirs[i] = r[i].s;
    return MU_OK;
}

enum mu_rc mu_sections_end(struct mu_config *c)
{
    static const struct mu_vec none;
    const struct mu_vhost_lists *m = MU_CONTAINER_OF(c->main, struct mu_vhost_lists, pub);

    for (size_t i = 0; i < c->vhosts_n; i++) {
        struct mu_vhost_lists *v = MU_CONTAINER_OF(c->vhosts[i], struct mu_vhost_lists, pub);
        bool is_main = v->pub.is_main;

        v->pub.dirs = join(c, is_main ? &none : &m->dirs, &v->dirs, &v->pub.dirs_n);
        v->pub.dir_matches =
            join(c, is_main ? &none : &m->dir_matches, &v->dir_matches, &v->pub.dir_matches_n);
        v->pub.files = join(c, is_main ? &none : &m->files, &v->files, &v->pub.files_n);
        v->pub.locations =
            join(c, is_main ? &none : &m->locations, &v->locations, &v->pub.locations_n);
        if (c->priv->is_out_of_memory || sort_dirs(c, &v->pub) != MU_OK)
            return MU_NOMEM;
    }
    return MU_OK;
}
