/* The default handler: files, from memory or by descriptor.
 *
 * Small files are kept in memory by the file cache, larger ones as open descriptors. What goes into
 * memory is a consistent copy: the stat before and after reading agree, and the last change is long
 * enough ago that another one would show in its time stamp. A file that is replaced meanwhile is a
 * new entry; one that is cut short while it is sent makes the protocol break the connection off.
 */
#include "room.h"

#include <errno.h>
#include <muster/clock.h>
#include <muster/str.h>
#include <muster/wait.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    /**
     * Time stamps come from a clock that ticks every few milliseconds: a younger file may change
     * unseen.
     */
    SETTLED_NS = 20 * 1000 * 1000,
};

/** An open file of r->filename, with what the descriptor says about it. */
struct opened {
    struct mu_req *r;
    int fd;
    struct mu_finfo fi;
    enum mu_found found;
    bool may_wait;
};

static void open_run(void *arg)
{
    struct opened *o = arg;
    struct mu_req_core *core = mu_core_req(o->r);

    if (core->path_fd >= 0)
        o->found = mu_lookup_reopen(core->path_fd, &o->fd, &o->fi);
    else
        o->found = mu_lookup_open(o->r->filename.p, core->follows, o->may_wait, &o->fd, &o->fi);
}

static enum mu_status open_failed(struct mu_req *r, enum mu_found found)
{
    if (found == MU_FOUND_NONE)
        return MU_404_NOT_FOUND; /* deleted since the walk */
    if (found == MU_FOUND_BUSY) {
        MU_LOG(
            &r->log, "core", MU_LOG_ERR, "MU0640",
            "out of descriptors or memory while opening %.*s: raise the limit or lower OpenFileCache",
            MU_FMT(r->filename));
        return MU_503_SERVICE_UNAVAILABLE;
    }
    MU_LOG(&r->log, "core", MU_LOG_ERR, "MU0641", "file permissions deny server access: %.*s",
           MU_FMT(r->filename));
    return MU_403_FORBIDDEN;
}

/* Open r->filename; r->finfo is then of the descriptor. The walk's entry goes when it was of
 * another file. */
static enum mu_status open_file(struct mu_req *r, int *fd)
{
    struct mu_req_core *core = mu_core_req(r);
    struct opened o = { .r = r, .fd = -1 };

    open_run(&o);
    if (o.found == MU_FOUND_AGAIN) {
        o.may_wait = true;
        mu_offload_file(open_run, &o);
    }
    if (o.found != MU_FOUND)
        return open_failed(r, o.found);
    if (core->file && !mu_finfo_same(&o.fi, &core->file->fi)) {
        mu_file_forget(core->file);
        core->file = NULL;
    }
    r->finfo = o.fi;
    *fd = o.fd;
    return MU_STATUS_NONE;
}

/* All of it, or false: shorter than its stat said, or unreadable. */
static bool read_all(int fd, char *buf, size_t n)
{
    size_t at = 0, got = 0;

    while (at < n) {
        if (mu_file_pread(fd, buf + at, n - at, (off_t)at, &got) != MU_OK)
            return false;
        at += got;
    }
    return true;
}

static bool is_settled(const struct mu_finfo *fi, int64_t read_at_ns)
{
    return read_at_ns - fi->ctime_ns >= SETTLED_NS && read_at_ns - fi->mtime_ns >= SETTLED_NS;
}

/* Did nothing change under the reading? By the descriptor itself. */
static bool is_unchanged(int fd, const struct mu_finfo *fi)
{
    struct mu_finfo now;

    return mu_lookup_fstat(fd, &now) == MU_FOUND && mu_finfo_same(&now, fi);
}

/* Read a small file; into the cache when it is settled. False: it could not be read in one
 * piece. */
static bool load(struct mu_req *r, int fd, struct mu_body_source *src)
{
    struct mu_req_core *core = mu_core_req(r);
    size_t n = (size_t)r->finfo.size;
    int64_t read_at_ns = mu_real_us() * 1000;
    char *buf = malloc(n + 1);

    if (!buf)
        return false;
    if (!read_all(fd, buf, n) || !is_unchanged(fd, &r->finfo)) {
        free(buf);
        return false;
    }
    *src = (struct mu_body_source){ .mem = { buf, n }, .fd = -1, .len = n };
    if (core->file && is_settled(&r->finfo, read_at_ns) && mu_file_give_content(core->file, buf))
        return true;
    if (mu_defer(r->arena, free, buf) == MU_OK)
        return true;
    free(buf);
    return false;
}

/* The file's bytes: of the cache, or loaded into it, or a descriptor. */
static enum mu_status find_source(struct mu_req *r, struct mu_body_source *src)
{
    struct mu_req_core *core = mu_core_req(r);
    const struct mu_file_entry *e = core->file;
    enum mu_status status;
    int fd = -1;

    if (MU_LIKELY(e && (e->content || e->fd >= 0))) {
        *src = (struct mu_body_source){ .mem = { e->content, e->fi.size },
                                        .fd = e->fd,
                                        .len = e->fi.size };
        return MU_STATUS_NONE;
    }
    status = open_file(r, &fd);
    if (status != MU_STATUS_NONE)
        return status;
    if (r->finfo.size <= mu_file_content_max() && load(r, fd, src)) {
        close(fd);
        return MU_STATUS_NONE;
    }
    *src = (struct mu_body_source){ .fd = fd, .len = r->finfo.size };
    if (core->file && mu_file_give_fd(core->file, fd))
        return MU_STATUS_NONE;
    return mu_defer_close(r->arena, fd) == MU_OK ? MU_STATUS_NONE : MU_503_SERVICE_UNAVAILABLE;
}

static enum mu_status check_file(struct mu_req *r)
{
    if (r->finfo.type == MU_FT_REG &&
        (!r->path_info.n || mu_core_req(r)->phases->core->accept_path_info == MU_PATH_INFO_ON))
        return MU_STATUS_NONE;
    if (r->finfo.type == MU_FT_DIR)
        MU_LOG(&r->log, "core", MU_LOG_ERR, "MU0642", "attempt to serve directory: %.*s",
               MU_FMT(r->filename));
    else
        MU_LOG(&r->log, "core", MU_LOG_INFO, "MU0643", "file does not exist: %.*s%.*s",
               MU_FMT(r->filename), MU_FMT(r->path_info));
    return MU_404_NOT_FOUND;
}

enum mu_status mu_static_send(struct mu_req *r, const struct mu_body_source *src)
{
    enum mu_status status;

    if (!r->is_no_range)
        mu_resp_set(r, MU_S("Accept-Ranges"),
                    mu_core_req(r)->phases->core->ranges.max_ranges ? MU_S("bytes") : MU_S("none"));
    status = mu_req_conditions(r);
    if (status != MU_STATUS_NONE)
        return mu_resp_empty(r, status);
    return mu_resp_source(r, src);
}

enum mu_status mu_static_handler(struct mu_req *r, const void *conf)
{
    struct mu_body_source src;
    enum mu_status status;

    (void)conf;
    if (MU_UNLIKELY(r->has_body)) {
        status = mu_body_status(mu_body_drop(r));
        if (status != MU_STATUS_NONE)
            return status;
    }
    status = check_file(r);
    if (status == MU_STATUS_NONE)
        status = find_source(r, &src);
    if (status != MU_STATUS_NONE)
        return status;
    mu_resp_file_validators(r);
    return mu_static_send(r, &src);
}
