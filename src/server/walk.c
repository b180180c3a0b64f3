/* The walks: which sections apply to a request, and what its file name leads to.
 *
 * Order as in httpd: <Directory> sections from the root down (main server's before the virtual
 * host's of equal depth), <DirectoryMatch>, <Files> and <FilesMatch>, and on top of all the
 * <Location> sections. Each step is a look-up in the conf room's table of merged configurations.
 * The result for a name is remembered in the file cache; a hit costs one stat and no step.
 */
#include "room.h"

#include <base/path.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <muster/regex.h>
#include <muster/str.h>
#include <muster/wait.h>
#include <sys/stat.h>
#include <unistd.h>

/* Named groups become MATCH_NAME in the environment. */
static void set_matches(struct mu_req *r, const struct mu_section *s, struct mu_str subject,
                        const struct mu_match *m)
{
    struct mu_str name;
    int group;

    for (size_t i = 0; r && mu_regex_name(s->regex, i, &name, &group); i++) {
        struct mu_str key = mu_str_cat(r->arena, MU_S("MATCH_"), name);

        if (!key.p || group >= m->n || m->g[group].so < 0)
            continue;
        for (char *p = (char *)(uintptr_t)key.p + 6; *p; p++)
            *p = *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
        mu_req_env_set(r, key, mu_str_sub(subject, (size_t)m->g[group].so, (size_t)m->g[group].eo));
    }
}

static bool regex_matches(struct mu_req *r, const struct mu_section *s, struct mu_str subject)
{
    struct mu_match m;

    if (mu_regex_match(s->regex, subject, &m) != MU_OK)
        return false;
    set_matches(r, s, subject, &m);
    return true;
}

/* ---- <Location> ---- */

/* The path with slashes in a row folded: where MergeSlashes is Off, <Location> is still not to be
 * evaded by them. */
static struct mu_str folded_path(struct mu_req *r)
{
    char *out = NULL;
    size_t n = 0;

    for (size_t i = 0; i < r->path.n; i++) {
        bool is_second = i > 0 && r->path.p[i] == '/' && r->path.p[i - 1] == '/';

        if (is_second && !out) {
            out = mu_arena_alloc(r->arena, r->path.n);
            if (!out)
                return MU_STR_NULL;
            memcpy(out, r->path.p, i);
            n = i;
        }
        if (out && !is_second)
            out[n++] = r->path.p[i];
    }
    return out ? mu_str_n(out, n) : r->path;
}

/* `path` is the folded one; <LocationMatch> sees the slashes as they came. */
static bool location_matches(struct mu_req *r, const struct mu_section *s, struct mu_str path)
{
    struct mu_str d = s->pattern;

    if (s->regex)
        return regex_matches(r, s, r->path);
    if (s->is_wild)
        return mu_str_fnmatch(path, d, true);
    if (!mu_str_starts(path, d))
        return false;
    return d.n == 0 || d.p[d.n - 1] == '/' || path.n == d.n || path.p[d.n] == '/';
}

static enum mu_status find_locations(struct mu_req *r)
{
    struct mu_req_core *core = mu_core_req(r);
    const struct mu_vhost *v = r->vhost;
    struct mu_str path = folded_path(r);

    core->located = r->path.p;
    core->locations_n = 0;
    core->locations = mu_new_n(r->arena, const struct mu_section *, v->locations_n);
    if (!core->locations || !path.p)
        return MU_503_SERVICE_UNAVAILABLE;
    for (size_t i = 0; i < v->locations_n; i++) {
        if (location_matches(r, v->locations[i], path))
            core->locations[core->locations_n++] = v->locations[i];
    }
    return MU_STATUS_NONE;
}

enum mu_status mu_walk_locations(struct mu_req *r, const struct mu_dirconf *base)
{
    struct mu_req_core *core = mu_core_req(r);
    const struct mu_dirconf *conf = base;

    if (r->vhost->locations_n) {
        if (core->located != r->path.p && find_locations(r) != MU_STATUS_NONE)
            return MU_503_SERVICE_UNAVAILABLE;
        for (size_t i = 0; conf && i < core->locations_n; i++)
            conf = mu_dirconf_merge(conf, core->locations[i]);
    }
    if (!conf || mu_req_use(r, conf) != MU_OK)
        return MU_503_SERVICE_UNAVAILABLE;
    return MU_STATUS_NONE;
}

/* ---- <Directory> ---- */

static enum mu_rc take_conf(struct mu_walk *w)
{
    const struct mu_phases *p = w->conf ? mu_phases_of(w->conf, w->vhost) : NULL;

    if (!p)
        return MU_NOMEM;
    w->links = p->links;
    if (p->links > w->strictest)
        w->strictest = p->links;
    w->may_override = p->may_override;
    w->has_override = w->has_override || p->may_override;
    return MU_OK;
}

enum mu_rc mu_walk_begin(struct mu_walk *w, const struct mu_vhost *v, struct mu_req *r,
                         struct mu_arena *a)
{
    *w = (struct mu_walk){ .vhost = v, .conf = v->base, .arena = a, .r = r };
    return mu_walk_enter(w, MU_S(""), 0);
}

static enum mu_rc remember_files(struct mu_walk *w, const struct mu_section *s)
{
    if (w->matched_n == w->matched_cap) {
        size_t cap = w->matched_cap ? 2 * w->matched_cap : 8;
        const struct mu_section **v = mu_new_n(w->arena, const struct mu_section *, cap);

        if (!v)
            return MU_NOMEM;
        if (w->matched_n)
            memcpy(v, w->matched, w->matched_n * sizeof(*v));
        w->matched = v;
        w->matched_cap = cap;
    }
    w->matched[w->matched_n++] = s;
    return MU_OK;
}

static enum mu_rc apply(struct mu_walk *w, const struct mu_section *s)
{
    w->conf = mu_dirconf_merge(w->conf, s);
    if (!w->conf)
        return MU_NOMEM;
    return s->files_n ? remember_files(w, s) : MU_OK;
}

static bool directory_matches(const struct mu_section *s, struct mu_str dir)
{
    if (s->is_wild)
        return mu_str_fnmatch(dir, s->pattern, true);
    return mu_str_eq(s->pattern, dir);
}

enum mu_rc mu_walk_enter(struct mu_walk *w, struct mu_str dir, uint32_t depth)
{
    const struct mu_routing *routing = mu_routing_of(w->vhost);

    if (!dir.n)
        dir = MU_S("/");
    for (; w->next_dir < routing->dirs_n && routing->dirs[w->next_dir].depth <= depth;
         w->next_dir++) {
        const struct mu_walk_dir *d = &routing->dirs[w->next_dir];

        if (d->depth == depth && directory_matches(d->section, dir) &&
            apply(w, d->section) != MU_OK)
            return MU_NOMEM;
    }
    return take_conf(w);
}

static enum mu_rc apply_files(struct mu_walk *w, struct mu_section *const *v, size_t n,
                              struct mu_str name)
{
    for (size_t i = 0; i < n; i++) {
        const struct mu_section *s = v[i];
        bool matches = s->regex     ? regex_matches(w->r, s, name)
                       : s->is_wild ? mu_str_fnmatch(name, s->pattern, true)
                                    : mu_str_eq(name, s->pattern);

        if (matches && apply(w, s) != MU_OK)
            return MU_NOMEM;
    }
    return MU_OK;
}

enum mu_rc mu_walk_end(struct mu_walk *w, struct mu_str filename)
{
    const struct mu_vhost *v = w->vhost;
    ssize_t slash = mu_str_rchr(filename, '/');
    struct mu_str name = mu_str_sub(filename, (size_t)(slash + 1), filename.n);
    size_t matched_n;

    for (size_t i = 0; i < v->dir_matches_n; i++) {
        if (regex_matches(w->r, v->dir_matches[i], filename) &&
            apply(w, v->dir_matches[i]) != MU_OK)
            return MU_NOMEM;
    }
    if (apply_files(w, v->files, v->files_n, name) != MU_OK)
        return MU_NOMEM;
    matched_n = w->matched_n;
    for (size_t i = 0; i < matched_n; i++) {
        if (apply_files(w, w->matched[i]->files, w->matched[i]->files_n, name) != MU_OK)
            return MU_NOMEM;
    }
    return take_conf(w);
}

/* <Directory> sections for the last component of `path`. httpd takes it for a directory although it is a file, where
 * links are followed without a check; so <Directory "/var/www/secret.txt"> protects a file, and must go on doing so. */
static enum mu_rc enter_last(struct mu_walk *w, struct mu_str path, uint32_t depth,
                             enum mu_ftype type)
{
    bool is_taken = type == MU_FT_DIR || (type == MU_FT_REG && w->links == MU_LINKS_FOLLOW);

    return is_taken && depth > 0 ? mu_walk_enter(w, path, depth) : MU_OK;
}

/* ---- names and the file system ---- */

/** One resolution of r->filename; fits what mu_offload hands over. */
struct resolve {
    struct mu_req *r;
    struct mu_walk w;
    enum mu_status status;
    bool may_wait;
    bool must_wait; /**< out: not answered, ask again with may_wait */
    bool is_plain;  /**< out: one look at the whole name said it all, and would again */
};

/* Component after component; false at the end. *end is where the component ends. */
static bool next_component(struct mu_str path, size_t *start, size_t *end)
{
    *start = *end;
    while (*start < path.n && path.p[*start] == '/')
        (*start)++;
    *end = *start;
    while (*end < path.n && path.p[*end] != '/')
        (*end)++;
    return *end > *start;
}

static bool has_next(struct mu_str path, size_t end)
{
    size_t start;

    return next_component(path, &start, &end);
}

static enum mu_status denied(struct resolve *s, const char *why, struct mu_str path)
{
    MU_LOG(&s->r->log, "core", MU_LOG_ERR, "MU0610", "%s: %.*s", why, MU_FMT(path));
    return MU_403_FORBIDDEN;
}

static enum mu_status refused(struct resolve *s, enum mu_found found, struct mu_str path)
{
    switch (found) {
    case MU_FOUND_LINK:
        return denied(s, "symbolic link not allowed or link target not accessible", path);
    case MU_FOUND_DENIED:
        return denied(s,
                      "access denied: a link leads nowhere, or search permissions are missing on a "
                      "component of the path",
                      path);
    case MU_FOUND_BUSY:
        MU_LOG(&s->r->log, "core", MU_LOG_ERR, "MU0611",
               "out of descriptors or memory while looking up %.*s: %s", MU_FMT(path),
               strerror(errno));
        return MU_503_SERVICE_UNAVAILABLE;
    default:
        MU_LOG(&s->r->log, "core", MU_LOG_ERR, "MU0612", "access to %.*s failed: %s", MU_FMT(path),
               strerror(errno));
        return MU_403_FORBIDDEN;
    }
}

/* Until .htaccess is implemented, one that would have to be obeyed fails the request: never
 * open. */
static enum mu_status check_override(struct resolve *s, int dirfd, struct mu_str dir)
{
    const struct mu_strs *names = &mu_core_of(s->w.conf)->access_files;
    struct stat st;

    for (size_t i = 0; s->w.may_override && i < names->n; i++) {
        const char *name = mu_cstr(s->r->arena, names->v[i]);

        if (!name)
            return MU_503_SERVICE_UNAVAILABLE;
        if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            MU_LOG(
                &s->r->log, "core", MU_LOG_ALERT, "MU0613",
                "%.*s/%s: this version does not read such files; move its directives into a <Directory> "
                "section and say AllowOverride None",
                MU_FMT(dir), name);
            return MU_500_INTERNAL_SERVER_ERROR;
        }
        if (errno == ENOENT || errno == ENOTDIR)
            continue;
        MU_LOG(&s->r->log, "core", MU_LOG_CRIT, "MU0614",
               "%.*s/%s cannot be checked, ensure that it is readable: %s", MU_FMT(dir), name,
               strerror(errno));
        return MU_403_FORBIDDEN;
    }
    return MU_STATUS_NONE;
}

/* The walk ends at path[0, end): what follows is path information. */
static enum mu_status cut(struct resolve *s, struct mu_str path, size_t end)
{
    struct mu_req *r = s->r;

    if (end < path.n && r->finfo.type != MU_FT_DIR) {
        r->path_info = mu_str_sub(path, end, path.n);
        r->filename = mu_str_dup(r->arena, mu_str_sub(path, 0, end));
        if (!r->filename.p)
            return MU_503_SERVICE_UNAVAILABLE;
    }
    return MU_STATUS_NONE;
}

static enum mu_status keep_path_fd(struct resolve *s, int fd)
{
    if (mu_defer_close(s->r->arena, fd) != MU_OK)
        return MU_503_SERVICE_UNAVAILABLE;
    mu_core_req(s->r)->path_fd = fd;
    return MU_STATUS_NONE;
}

/* The component that ends at `end` is a file, open as `fd`. */
static enum mu_status end_at_file(struct resolve *s, int fd, struct mu_str path, size_t end,
                                  uint32_t depth)
{
    if (keep_path_fd(s, fd) != MU_STATUS_NONE)
        return MU_503_SERVICE_UNAVAILABLE;
    if (end == path.n && enter_last(&s->w, path, depth, MU_FT_REG) != MU_OK)
        return MU_503_SERVICE_UNAVAILABLE;
    return cut(s, path, end);
}

/* One step down from *at. Sets *is_end when the walk is over. */
static enum mu_status step(struct resolve *s, int *at, struct mu_str path, size_t start, size_t end,
                           uint32_t depth, bool *is_end)
{
    struct mu_str here = mu_str_sub(path, 0, end);
    char name[NAME_MAX + 1];
    enum mu_found found;
    int next = -1;

    *is_end = true;
    if (end - start > NAME_MAX) {
        errno = ENAMETOOLONG;
        return refused(s, MU_FOUND_ERROR, here);
    }
    memcpy(name, path.p + start, end - start);
    name[end - start] = '\0';
    found = mu_lookup_step(*at, name, s->w.links, &next, &s->r->finfo);
    if (found == MU_FOUND_NONE) {
        s->r->finfo = (struct mu_finfo){ .type = MU_FT_NONE };
        return cut(s, path, end);
    }
    if (found != MU_FOUND)
        return refused(s, found, here);
    if (s->r->finfo.type == MU_FT_REG)
        return end_at_file(s, next, path, end, depth);
    if (s->r->finfo.type == MU_FT_OTHER) {
        close(next);
        return denied(s, "neither a file nor a directory", here);
    }
    close(*at);
    *at = next;
    *is_end = false;
    if (mu_walk_enter(&s->w, here, depth) != MU_OK)
        return MU_503_SERVICE_UNAVAILABLE;
    return check_override(s, *at, here);
}

/* Component by component on descriptors: where links, .htaccess files or path information are to be
 * told apart. */
static enum mu_status resolve_slowly(struct resolve *s)
{
    struct mu_str path = s->r->filename;
    size_t start, end = 0;
    uint32_t depth = 0;
    bool is_end = false;
    enum mu_status status;
    int at = mu_lookup_root();

    if (at < 0)
        return refused(s, MU_FOUND_BUSY, path);
    s->r->finfo = (struct mu_finfo){ .type = MU_FT_DIR };
    if (mu_walk_begin(&s->w, s->r->vhost, s->r, s->r->arena) != MU_OK)
        status = MU_503_SERVICE_UNAVAILABLE;
    else
        status = check_override(s, at, MU_S(""));
    while (status == MU_STATUS_NONE && !is_end && next_component(path, &start, &end))
        status = step(s, &at, path, start, end, ++depth, &is_end);
    close(at);
    return status;
}

/* Sections for all directories in front of the last component. */
static enum mu_rc enter_parents(struct mu_walk *w, struct mu_str path, size_t *start, size_t *end,
                                uint32_t *depth)
{
    *end = 0;
    *depth = 0;
    while (next_component(path, start, end)) {
        ++*depth;
        if (!has_next(path, *end))
            break;
        if (mu_walk_enter(w, mu_str_sub(path, 0, *end), *depth) != MU_OK)
            return MU_NOMEM;
    }
    return MU_OK;
}

static bool is_climbing(struct mu_str path)
{
    size_t start, end = 0;

    while (next_component(path, &start, &end)) {
        if (end - start == 2 && path.p[start] == '.' && path.p[start + 1] == '.')
            return true;
    }
    return false;
}

/* Only the last component is missing, and it is no dangling link: what a 404 mostly is. False: look
 * closer. */
static bool is_plainly_missing(struct resolve *s, size_t start, size_t end, bool follows)
{
    struct mu_req *r = s->r;
    struct mu_str path = r->filename;
    const char *parent = mu_cstr(r->arena, mu_str_sub(path, 0, start));
    const char *name = mu_cstr(r->arena, mu_str_sub(path, 0, end));
    struct mu_finfo fi;
    char byte;

    if (!parent || !name || mu_lookup_stat(parent, follows, s->may_wait, &fi) != MU_FOUND ||
        fi.type != MU_FT_DIR)
        return false;
    if (readlink(name, &byte, 1) >= 0 || errno != ENOENT)
        return false;
    s->status = cut(s, path, end);
    return true;
}

/* The usual case: one system call about the whole name. False: look closer. */
static bool resolve_quickly(struct resolve *s)
{
    struct mu_req *r = s->r;
    size_t start, end;
    uint32_t depth;
    bool follows;
    enum mu_found found;

    if (mu_walk_begin(&s->w, r->vhost, r, r->arena) != MU_OK ||
        enter_parents(&s->w, r->filename, &start, &end, &depth) != MU_OK) {
        s->status = MU_503_SERVICE_UNAVAILABLE;
        return true;
    }
    if (s->w.has_override)
        return false;
    follows = s->w.strictest == MU_LINKS_FOLLOW;
    found = mu_lookup_stat(r->filename.p, follows, s->may_wait, &r->finfo);
    if (found == MU_FOUND_AGAIN) {
        s->must_wait = true;
        return true;
    }
    if (found == MU_FOUND_NONE && depth > 0)
        return is_plainly_missing(s, start, end, follows);
    if (found != MU_FOUND || r->finfo.type == MU_FT_OTHER)
        return false;
    if (enter_last(&s->w, mu_str_sub(r->filename, 0, end), depth, r->finfo.type) != MU_OK) {
        s->status = MU_503_SERVICE_UNAVAILABLE;
        return true;
    }
    if (s->w.has_override)
        return false;
    mu_core_req(r)->follows = follows;
    s->is_plain = true;
    return true;
}

static void resolve(void *arg)
{
    struct resolve *s = arg;
    struct mu_req *r = s->r;

    s->status = MU_STATUS_NONE;
    s->must_wait = false;
    s->is_plain = false;
    r->finfo = (struct mu_finfo){ .type = MU_FT_NONE };
    if (!resolve_quickly(s)) {
        if (!s->may_wait) {
            s->must_wait = true;
            return;
        }
        s->status = resolve_slowly(s);
    }
    if (s->status != MU_STATUS_NONE || s->must_wait)
        return;
    if (mu_walk_end(&s->w, r->filename) != MU_OK)
        s->status = MU_503_SERVICE_UNAVAILABLE;
}

static enum mu_status use_entry(struct mu_req *r, struct mu_file_entry *e)
{
    struct mu_req_core *core = mu_core_req(r);

    r->finfo = e->fi;
    core->follows = e->follows;
    if (mu_file_hold(e, r->arena) == MU_OK)
        core->file = e;
    return mu_req_use(r, e->conf) == MU_OK ? MU_STATUS_NONE : MU_503_SERVICE_UNAVAILABLE;
}

static void remember(struct resolve *s)
{
    struct mu_req *r = s->r;
    struct mu_file_entry *e;

    if (!s->is_plain || s->w.has_override || !mu_routing_of(r->vhost)->is_match_pure)
        return;
    e = mu_file_insert(r->vhost, r->filename, s->w.conf, mu_core_req(r)->follows, &r->finfo);
    if (e && mu_file_hold(e, r->arena) == MU_OK)
        mu_core_req(r)->file = e;
}

/* Sections are written for plain names: "//" and "." components, which an Alias can make, must not hide a file from
 * its <Directory>. MU_STATUS_NONE: r->filename is plain. */
static enum mu_status make_plain(struct mu_req *r)
{
    if (!mu_str_starts(r->filename, MU_S("/")) || is_climbing(r->filename)) {
        MU_LOG(&r->log, "core", MU_LOG_ERR, "MU0615", "%.*s is no absolute, plain file name",
               MU_FMT(r->filename));
        return MU_500_INTERNAL_SERVER_ERROR;
    }
    if (mu_str_find(r->filename, MU_S("//")) < 0 && mu_str_find(r->filename, MU_S("/.")) < 0)
        return MU_STATUS_NONE;
    r->filename = mu_path_normalise(r->arena, r->filename);
    return r->filename.p ? MU_STATUS_NONE : MU_503_SERVICE_UNAVAILABLE;
}

enum mu_status mu_walk_directories(struct mu_req *r)
{
    struct resolve s = { .r = r };
    bool was_waiting = mu_exchange_of(r)->was_waiting;
    struct mu_file_entry *e = mu_file_find(r->vhost, r->filename, was_waiting);
    const char *asked = r->filename.p;
    enum mu_status status;

    if (e)
        return use_entry(r, e);
    status = make_plain(r);
    if (status != MU_STATUS_NONE)
        return status;
    if (r->filename.p != asked && (e = mu_file_find(r->vhost, r->filename, was_waiting)))
        return use_entry(r, e);
    resolve(&s);
    if (s.must_wait) {
        s.may_wait = true;
        mu_offload_file(resolve, &s);
    }
    if (s.status != MU_STATUS_NONE)
        return s.status;
    remember(&s);
    return mu_req_use(r, s.w.conf) == MU_OK ? MU_STATUS_NONE : MU_503_SERVICE_UNAVAILABLE;
}

enum mu_status mu_walk_known(struct mu_req *r, const struct mu_finfo *fi)
{
    struct mu_walk w;
    size_t start, end;
    uint32_t depth;
    enum mu_status status = make_plain(r);

    if (status != MU_STATUS_NONE)
        return status;
    if (mu_walk_begin(&w, r->vhost, r, r->arena) != MU_OK ||
        enter_parents(&w, r->filename, &start, &end, &depth) != MU_OK)
        return MU_503_SERVICE_UNAVAILABLE;
    if (enter_last(&w, mu_str_sub(r->filename, 0, end), depth, fi->type) != MU_OK)
        return MU_503_SERVICE_UNAVAILABLE;
    if (w.strictest != MU_LINKS_FOLLOW || w.has_override ||
        (fi->type != MU_FT_REG && fi->type != MU_FT_DIR))
        return mu_walk_directories(r);
    r->finfo = *fi;
    mu_core_req(r)->follows = true;
    if (mu_walk_end(&w, r->filename) != MU_OK || mu_req_use(r, w.conf) != MU_OK)
        return MU_503_SERVICE_UNAVAILABLE;
    return MU_STATUS_NONE;
}
