/* Reading the directory: what is in it, what of that the client may see, and what is said about each.
 *
 * Every name is looked up as if the client had asked for it, so that a listing never tells of what a request for it
 * would refuse. The directory is opened by its name again; that it is still the one the request was checked for is
 * made sure of by its device and inode.
 */
#include "autoindex.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* As much of a page as is searched for its title. */
#define TITLE_WINDOW 8191

static int64_t time_ns(struct timespec t)
{
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static struct mu_finfo finfo_of(const struct stat *st)
{
    return (struct mu_finfo){
        .type = S_ISREG(st->st_mode)   ? MU_FT_REG
                : S_ISDIR(st->st_mode) ? MU_FT_DIR
                                       : MU_FT_OTHER,
        .mode = st->st_mode,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .nlink = (uint32_t)st->st_nlink,
        .dev = (uint64_t)major(st->st_dev) << 32 | minor(st->st_dev), /* as the core has it */
        .ino = st->st_ino,
        .size = (uint64_t)st->st_size,
        .mtime_ns = time_ns(st->st_mtim),
        .ctime_ns = time_ns(st->st_ctim),
    };
}

int ai_open_checked(const struct mu_req *sub)
{
    int fd = open(sub->filename.p, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct mu_finfo fi;
    struct stat st;

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) == 0) {
        fi = finfo_of(&st);
        if (fi.dev == sub->finfo.dev && fi.ino == sub->finfo.ino && fi.type == sub->finfo.type)
            return fd;
    }
    close(fd);
    errno = ESTALE;
    return -1;
}

/* ---- what is said about an entry ---- */

static bool is_page(const struct mu_req *sub)
{
    static const char *const types[] = { "text/html", "application/xhtml+xml",
                                         "text/x-server-parsed-html" };
    ssize_t end = mu_str_chr(sub->content_type, ';');
    struct mu_str type =
        end < 0 ? sub->content_type : mu_str_sub(sub->content_type, 0, (size_t)end);

    for (size_t i = 0; i < MU_ARRAY_LEN(types); i++) {
        if (mu_str_ieq(mu_str_trim(type), mu_str_c(types[i])))
            return true;
    }
    return false;
}

/* The text between <title> and the next tag, line ends in front of it dropped and others made blanks. */
static struct mu_str title_of(struct mu_arena *a, char *text, size_t n)
{
    static const char tag[] = "<title>";
    size_t from = 0, to;

    while (from + sizeof(tag) - 1 <= n &&
           !mu_str_ieq(mu_str_n(text + from, sizeof(tag) - 1), mu_str_n(tag, sizeof(tag) - 1)))
        from++;
    if (from + sizeof(tag) - 1 > n)
        return MU_STR_NULL;
    from += sizeof(tag) - 1;
    for (to = from; to < n && text[to] != '<'; to++) {
        if (text[to] != '\r' && text[to] != '\n')
            continue;
        if (to == from)
            from++;
        else
            text[to] = ' ';
    }
    return mu_str_dup(a, mu_str_n(text + from, to - from));
}

static struct mu_str find_title(struct mu_req *sub)
{
    char text[TITLE_WINDOW];
    ssize_t n;
    int fd;

    if (sub->status != MU_200_OK || !is_page(sub) || sub->content_encoding.n)
        return MU_STR_NULL;
    fd = ai_open_checked(sub);
    if (fd < 0)
        return MU_STR_NULL;
    n = read(fd, text, sizeof(text));
    close(fd);
    if (n <= 0)
        return MU_STR_NULL;
    n = (ssize_t)strnlen(text, (size_t)n);
    return title_of(sub->arena, text, (size_t)n);
}

static bool is_visible(const struct ai_listing *l, const struct mu_req *sub)
{
    if (sub->finfo.type != MU_FT_DIR && sub->finfo.type != MU_FT_REG)
        return false;
    if (sub->status >= 200 && sub->status < 400)
        return true;
    return (l->opts & AI_SHOW_FORBIDDEN) &&
           (sub->status == MU_401_UNAUTHORIZED || sub->status == MU_403_FORBIDDEN);
}

static struct mu_str or_default(struct mu_str s, struct mu_str fallback)
{
    return s.p ? s : fallback;
}

static void describe(struct ai_listing *l, struct ai_entry *e, struct mu_req *sub,
                     struct mu_str path, bool is_dir)
{
    const struct ai_conf *c = l->c;
    struct ai_subject s = { path, sub->content_type, sub->content_encoding, is_dir };

    e->mtime = sub->finfo.mtime_ns / 1000000000;
    e->icon = ai_find(&c->icons, &s);
    e->alt = ai_find(&c->alts, &s);
    if (is_dir) {
        e->goes_first = l->opts & AI_FOLDERS_FIRST;
        e->icon = or_default(e->icon, ai_find_named(&c->icons, MU_S("^^DIRECTORY^^")));
        e->alt = or_default(e->alt, ai_find_named(&c->alts, MU_S("^^DIRECTORY^^")));
        e->alt = or_default(e->alt, MU_S("DIR"));
    } else {
        e->size = (int64_t)sub->finfo.size;
    }
    e->description = ai_find_description(c, path);
    if (!e->description.p && !is_dir && (l->opts & AI_SCAN_TITLES))
        e->description = find_title(sub);
}

static enum mu_rc add_entry(struct ai_listing *l, const struct ai_entry *entry)
{
    struct ai_entry *e = mu_new(l->r->arena, struct ai_entry);

    if (!e)
        return MU_NOMEM;
    *e = *entry;
    return mu_vec_push(l->r->arena, &l->entries, e);
}

static enum mu_rc add_name(struct ai_listing *l, struct mu_str dir, struct mu_str name,
                           const struct mu_finfo *fi)
{
    struct mu_arena *a = l->r->arena;
    bool is_dir = fi->type == MU_FT_DIR;
    struct ai_entry e = { .size = -1, .mtime = -1 };
    struct mu_req *sub;
    struct mu_str path;

    name = mu_str_dup(a, name);
    sub = name.p ? mu_subreq_lookup_file(l->r, name, fi) : NULL;
    if (!sub)
        return MU_NOMEM;
    if (!is_visible(l, sub))
        return MU_OK;
    path = mu_str_cat(a, dir, name);
    e.name = is_dir ? mu_str_cat(a, name, MU_S("/")) : name;
    if (!path.p || !e.name.p)
        return MU_NOMEM;
    if (l->opts & (AI_FANCY | AI_TABLE))
        describe(l, &e, sub, path, is_dir);
    return add_entry(l, &e);
}

/* ---- the directory ---- */

/* The way up, which the patterns know as "/this/directory/..". */
static enum mu_rc add_parent(struct ai_listing *l, struct mu_str dir)
{
    const struct ai_conf *c = l->c;
    struct ai_entry e = { .size = -1, .mtime = -1, .is_parent = true };
    struct mu_str path = l->r->path, there = mu_str_cat(l->r->arena, dir, MU_S(".."));

    if (!there.p)
        return MU_NOMEM;
    while (path.n && path.p[path.n - 1] == '/')
        path.n--;
    if (!path.n || ai_is_ignored(c, MU_S("..")))
        return MU_OK;
    e.name = mu_str_sub(path, 0, (size_t)(mu_str_rchr(path, '/') + 1));
    if (l->opts & (AI_FANCY | AI_TABLE)) {
        e.icon = or_default(ai_find_named(&c->icons, there),
                            ai_find_named(&c->icons, MU_S("^^DIRECTORY^^")));
        e.alt = or_default(ai_find_named(&c->alts, there),
                           ai_find_named(&c->alts, MU_S("^^DIRECTORY^^")));
        e.alt = or_default(e.alt, MU_S("PARENTDIR"));
        e.description = ai_find_description(c, there);
    }
    return add_entry(l, &e);
}

static bool is_dots(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static enum mu_rc read_entries(struct ai_listing *l, DIR *d, struct mu_str dir)
{
    enum mu_rc rc = add_parent(l, dir);
    struct dirent *ent;

    while (rc == MU_OK && (ent = readdir(d))) {
        struct mu_str name = mu_str_c(ent->d_name);
        struct mu_finfo fi;
        struct stat st;

        if (mu_is_cancelled())
            return MU_GONE;
        if (is_dots(ent->d_name) || !ai_matches_query(name, l->pattern) ||
            ai_is_ignored(l->c, name))
            continue;
        if (fstatat(dirfd(d), ent->d_name, &st, 0) != 0)
            continue; /* gone meanwhile, or a link that leads nowhere */
        fi = finfo_of(&st);
        if (fi.type != MU_FT_OTHER)
            rc = add_name(l, dir, name, &fi);
    }
    return rc;
}

static enum mu_status cannot_open(struct mu_req *r)
{
    int err = errno;

    MU_LOG(&r->log, "autoindex", MU_LOG_ERR, "MU1101",
           "cannot open directory %.*s for a listing: %s", MU_FMT(r->filename), strerror(err));
    return err == EMFILE || err == ENFILE || err == ENOMEM ? MU_503_SERVICE_UNAVAILABLE
                                                           : MU_403_FORBIDDEN;
}

enum mu_status ai_read(struct ai_listing *l)
{
    struct mu_req *r = l->r;
    int fd = ai_open_checked(r);
    struct mu_str dir = r->filename;
    enum mu_rc rc;
    DIR *d;

    d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        if (fd >= 0)
            close(fd);
        return cannot_open(r);
    }
    if (!mu_str_ends(dir, MU_S("/")))
        dir = mu_str_cat(r->arena, dir, MU_S("/"));
    rc = dir.p ? read_entries(l, d, dir) : MU_NOMEM;
    closedir(d);
    return rc == MU_OK ? MU_STATUS_NONE : MU_503_SERVICE_UNAVAILABLE;
}
