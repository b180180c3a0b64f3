/* X-Sendfile: the file that an application names is the answer, with its validators, ranges and
 * sendfile, as if it had been asked for.
 *
 * Which file a name leads to is asked of the kernel: the file is opened without reading it, and
 * where that descriptor really is must lie below the real place of an allowed folder. So neither
 * links nor ".." lead out, and what was checked is what is sent.
 */
#include "app_conf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <muster/str.h>
#include <muster/wait.h>
#include <server/room.h>
#include <stdio.h>
#include <unistd.h>

enum found { FOUND, MISSING, OUTSIDE, UNREADABLE, BUSY };

/** One look-up, on a thread that may wait for the disk. */
struct lookup {
    struct mu_req *r;
    const struct app_conf *conf;
    struct mu_str own; /**< the program's folder; empty when it is no file */
    struct mu_str name;
    struct mu_str real; /**< out: where it was found */
    enum found found;
    int fd;
    struct mu_finfo fi;
};

/* Where an open descriptor really is. p == NULL: nowhere that has a name. */
static struct mu_str real_path(struct mu_arena *a, int fd)
{
    char link[40], path[PATH_MAX];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path));
    if (n <= 0 || (size_t)n >= sizeof(path) || path[0] != '/')
        return MU_STR_NULL;
    return mu_str_dup(a, mu_str_n(path, (size_t)n));
}

static bool is_below(struct mu_str path, struct mu_str folder)
{
    if (folder.n == 1)
        return true; /* "/" */
    return path.n > folder.n && mu_str_starts(path, folder) && path.p[folder.n] == '/';
}

/* Is `real` below the folder called `folder`, wherever that is? */
static bool is_in(struct mu_arena *a, struct mu_str real, struct mu_str folder)
{
    const char *name = mu_cstr(a, folder);
    struct mu_str place = MU_STR_NULL;
    int fd = name ? open(name, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;

    if (fd >= 0) {
        place = real_path(a, fd);
        close(fd);
    }
    return place.p && is_below(real, place);
}

static bool is_allowed(const struct lookup *l)
{
    struct mu_arena *a = l->r->arena;

    if (l->own.n && is_in(a, l->real, l->own))
        return true;
    for (size_t i = 0; i < l->conf->roots.n; i++) {
        if (is_in(a, l->real, l->conf->roots.v[i]))
            return true;
    }
    return false;
}

static enum found found_errno(void)
{
    if (errno == ENOENT || errno == ENOTDIR)
        return MISSING;
    return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? BUSY : UNREADABLE;
}

static enum found open_at(struct lookup *l, int path_fd)
{
    enum mu_found found;

    l->real = real_path(l->r->arena, path_fd);
    if (!l->real.p)
        return OUTSIDE;
    if (!is_allowed(l))
        return OUTSIDE;
    found = mu_lookup_fstat(path_fd, &l->fi);
    if (found == MU_FOUND && l->fi.type == MU_FT_REG)
        found = mu_lookup_reopen(path_fd, &l->fd, &l->fi);
    else if (found == MU_FOUND)
        found = MU_FOUND_DENIED;
    return found == MU_FOUND ? FOUND : found == MU_FOUND_BUSY ? BUSY : UNREADABLE;
}

static enum found try_path(struct lookup *l, struct mu_str path)
{
    const char *name = mu_cstr(l->r->arena, path);
    enum found found;
    int fd;

    if (!name)
        return BUSY;
    fd = open(name, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return found_errno();
    found = open_at(l, fd);
    close(fd);
    return found;
}

static enum found try_below(struct lookup *l, struct mu_str folder)
{
    return try_path(l, mu_str_cat(l->r->arena, folder, MU_S("/"), l->name));
}

/* A relative name is looked for beside the program, then in the folders that are allowed. */
static void lookup_run(void *arg)
{
    struct lookup *l = arg;

    if (mu_str_starts(l->name, MU_S("/"))) {
        l->found = try_path(l, l->name);
        return;
    }
    l->found = l->own.n ? try_below(l, l->own) : MISSING;
    for (size_t i = 0; i < l->conf->roots.n && l->found == MISSING; i++)
        l->found = try_below(l, l->conf->roots.v[i]);
}

/* %XX decoded; p == NULL: a bad escape, or a NUL. */
static struct mu_str unescape(struct mu_arena *a, struct mu_str s)
{
    char *p = mu_arena_alloc(a, s.n + 1);
    size_t n = 0;

    for (size_t i = 0; p && i < s.n; i++) {
        char c = s.p[i];

        if (c == '%') {
            int high = i + 2 < s.n ? mu_hex(s.p[i + 1]) : -1;
            int low = high >= 0 ? mu_hex(s.p[i + 2]) : -1;

            if (low < 0 || (high == 0 && low == 0))
                return MU_STR_NULL;
            c = (char)(high * 16 + low);
            i += 2;
        }
        p[n++] = c;
    }
    return p ? mu_str_n(p, n) : MU_STR_NULL;
}

static struct mu_str folder_of(const struct mu_req *r)
{
    ssize_t slash = mu_str_rchr(r->filename, '/');

    return r->finfo.type == MU_FT_REG && slash > 0 ? mu_str_sub(r->filename, 0, (size_t)slash)
                                                   : MU_STR_NULL;
}

static enum mu_status refuse(const struct lookup *l, struct mu_str source)
{
    switch (l->found) {
    case MISSING:
        MU_LOG(&l->r->log, "app", MU_LOG_ERR, "MU1210", "%.*s: X-Sendfile: there is no '%.*s'",
               MU_FMT(source), MU_FMT(l->name));
        return MU_404_NOT_FOUND;
    case BUSY:
        MU_LOG(&l->r->log, "app", MU_LOG_ERR, "MU1211",
               "%.*s: X-Sendfile: out of descriptors or memory for '%.*s'; raise the limit",
               MU_FMT(source), MU_FMT(l->name));
        return MU_503_SERVICE_UNAVAILABLE;
    case OUTSIDE:
        MU_LOG(&l->r->log, "app", MU_LOG_ERR, "MU1212",
               "%.*s: X-Sendfile: '%.*s' lies in no folder that XSendFilePath allows (it is %.*s)",
               MU_FMT(source), MU_FMT(l->name), MU_FMT(l->real));
        return MU_403_FORBIDDEN;
    default:
        MU_LOG(&l->r->log, "app", MU_LOG_ERR, "MU1213",
               "%.*s: X-Sendfile: '%.*s' is no file that the server may read", MU_FMT(source),
               MU_FMT(l->name));
        return MU_403_FORBIDDEN;
    }
}

/* The type of the file's name, where the application did not say. */
static void take_type(struct mu_req *r, const struct lookup *l)
{
    struct mu_req *t = mu_req_derive(r);

    r->content_type = MU_STR_NULL;
    if (!t)
        return;
    t->main = r;
    t->path = r->path;
    t->filename = l->real;
    t->finfo = l->fi;
    if (mu_req_use(t, r->conf) == MU_OK && mu_req_hooks(t, MU_PHASE_TYPE) == MU_STATUS_NONE &&
        t->content_type.n)
        mu_resp_type(r, t->content_type);
}

/* The application's, unless it said nothing or is not to be believed. */
static void take_validators(struct mu_req *r, const struct app_conf *c)
{
    struct mu_str etag = r->etag;
    int64_t modified = r->last_modified;

    mu_resp_file_validators(r);
    if (etag.n && !c->ignores_etag)
        r->etag = etag;
    if (modified >= 0 && !c->ignores_last_modified)
        r->last_modified = modified;
}

enum mu_status mu_app_send_file(struct mu_req *r, struct mu_str name, bool has_type,
                                struct mu_str source)
{
    const struct app_conf *c = app_conf_of(r);
    struct lookup l = { .r = r, .conf = c, .own = folder_of(r), .name = name, .found = MISSING };
    struct mu_body_source src = { .fd = -1 };

    if (!c->takes_raw_names)
        l.name = unescape(r->arena, name);
    if (l.name.p)
        mu_offload_file(lookup_run, &l);
    else
        l.name = name;
    r->content_length = -1;
    if (l.found != FOUND) {
        r->status_reason = MU_STR_NULL;
        return refuse(&l, source);
    }
    if (mu_defer_close(r->arena, l.fd) != MU_OK)
        return MU_503_SERVICE_UNAVAILABLE;
    r->finfo = l.fi;
    if (!has_type)
        take_type(r, &l);
    take_validators(r, c);
    mu_resp_unset(r, MU_S("Content-Encoding")); /* of what the application did not send */
    mu_resp_unset(r, MU_S("Content-Range"));
    r->content_encoding = MU_STR_NULL;
    src.fd = l.fd;
    src.len = l.fi.size;
    return mu_static_send(r, &src);
}
