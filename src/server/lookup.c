/* Looking up names in the file system under httpd's rules for symbolic links, by descriptors.
 *
 * What is checked is what is used: a name is resolved by the kernel in one go (openat2) or
 * component by component on O_PATH descriptors, and the answer is about the descriptor, so no
 * rename or link swapped in between matters. openat2 may be missing (old kernels, seccomp filters
 * that answer EPERM or ENOSYS): then the component way does all.
 */
#include "room.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RESOLVE_CACHED
#define RESOLVE_CACHED 0x20
#endif

/** Learnt once: what this kernel lacks. Relaxed: a hint, each thread would find out the same. */
static atomic_bool has_no_openat2, has_no_cached;

void mu_lookup_disable_openat2(bool is_disabled)
{
    atomic_store_explicit(&has_no_openat2, is_disabled, memory_order_relaxed);
}

static int64_t time_ns(struct statx_timestamp t)
{
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void fill(struct mu_finfo *fi, const struct statx *st)
{
    *fi = (struct mu_finfo){
        .type = S_ISREG(st->stx_mode)   ? MU_FT_REG
                : S_ISDIR(st->stx_mode) ? MU_FT_DIR
                                        : MU_FT_OTHER,
        .mode = st->stx_mode,
        .uid = st->stx_uid,
        .gid = st->stx_gid,
        .nlink = st->stx_nlink,
        .dev = (uint64_t)st->stx_dev_major << 32 | st->stx_dev_minor,
        .ino = st->stx_ino,
        .size = st->stx_size,
        .mtime_ns = time_ns(st->stx_mtime),
        .ctime_ns = time_ns(st->stx_ctime),
    };
}

static enum mu_found found_errno(void)
{
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
        return MU_FOUND_NONE;
    case EACCES:
    case EPERM:
        return MU_FOUND_DENIED;
    case ELOOP:
        return MU_FOUND_LINK;
    case EAGAIN:
        return MU_FOUND_AGAIN;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return MU_FOUND_BUSY;
    }
    return MU_FOUND_ERROR;
}

static enum mu_found stat_at(int dirfd, const char *path, int flags, struct mu_finfo *fi)
{
    struct statx st;

    if (statx(dirfd, path, flags, STATX_BASIC_STATS, &st) != 0)
        return found_errno();
    fill(fi, &st);
    return MU_FOUND;
}

enum mu_found mu_lookup_fstat(int fd, struct mu_finfo *fi)
{
    return stat_at(fd, "", AT_EMPTY_PATH, fi);
}

/* openat2, or -1 with ENOSYS where it is missing; `resolve` loses RESOLVE_CACHED on kernels without
 * it. */
static int open_resolved(const char *path, int flags, uint64_t resolve)
{
    struct open_how how = { .flags = (uint64_t)(unsigned)flags };
    bool is_cached = resolve & RESOLVE_CACHED;
    long fd;

    if (atomic_load_explicit(&has_no_openat2, memory_order_relaxed)) {
        errno = ENOSYS;
        return -1;
    }
    if (is_cached && atomic_load_explicit(&has_no_cached, memory_order_relaxed))
        resolve &= ~(uint64_t)RESOLVE_CACHED;
    how.resolve = resolve;
    fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
    if (fd < 0 && errno == EINVAL && (resolve & RESOLVE_CACHED)) {
        atomic_store_explicit(&has_no_cached, true, memory_order_relaxed);
        how.resolve = resolve & ~(uint64_t)RESOLVE_CACHED;
        fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
    }
    if (fd < 0 &&
        (errno == ENOSYS || errno == EPERM)) { /* EPERM: a seccomp filter; no open here earns it */
        atomic_store_explicit(&has_no_openat2, true, memory_order_relaxed);
        errno = ENOSYS;
    }
    return (int)fd;
}

int mu_lookup_root(void)
{
    return open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* A link that may be followed: to what its own text leads, whatever took its place meanwhile. */
static enum mu_found step_link(int dirfd, int link_fd, enum mu_links links,
                               const struct mu_finfo *link, int *fd, struct mu_finfo *fi)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(link_fd, "", target, sizeof(target) - 1);
    enum mu_found found;

    if (n <= 0)
        return MU_FOUND_DENIED;
    target[n] = '\0';
    *fd = openat(dirfd, target, O_PATH | O_CLOEXEC);
    if (*fd < 0) {
        found = found_errno();
        return found == MU_FOUND_BUSY ? found
                                      : MU_FOUND_DENIED; /* a dangling link: 403, as httpd */
    }
    found = stat_at(*fd, "", AT_EMPTY_PATH, fi);
    if (found == MU_FOUND && links == MU_LINKS_OWNER && fi->uid != link->uid)
        found = MU_FOUND_LINK;
    if (found != MU_FOUND)
        close(*fd);
    return found;
}

enum mu_found mu_lookup_step(int dirfd, const char *name, enum mu_links links, int *fd,
                             struct mu_finfo *fi)
{
    int link_fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct mu_finfo link = { .mode = 0 };
    enum mu_found found;

    if (link_fd < 0)
        return found_errno();
    found = stat_at(link_fd, "", AT_EMPTY_PATH, &link);
    if (found == MU_FOUND && !S_ISLNK(link.mode)) {
        *fd = link_fd;
        *fi = link;
        return MU_FOUND;
    }
    if (found == MU_FOUND)
        found = links == MU_LINKS_NONE ? MU_FOUND_LINK
                                       : step_link(dirfd, link_fd, links, &link, fd, fi);
    close(link_fd);
    return found;
}

/* The whole name, component by component, without a link in it. */
static enum mu_found walk(const char *path, int *fd, struct mu_finfo *fi)
{
    int at = mu_lookup_root(), next;
    enum mu_found found;
    char name[NAME_MAX + 1];

    if (at < 0)
        return found_errno();
    found = stat_at(at, "", AT_EMPTY_PATH, fi);
    while (found == MU_FOUND) {
        size_t n;

        path += strspn(path, "/");
        n = strcspn(path, "/");
        if (n == 0) {
            *fd = at;
            return MU_FOUND;
        }
        if (n > NAME_MAX) {
            errno = ENAMETOOLONG;
            found = MU_FOUND_ERROR;
            break;
        }
        memcpy(name, path, n);
        name[n] = '\0';
        path += n;
        found = mu_lookup_step(at, name, MU_LINKS_NONE, &next, fi);
        if (found == MU_FOUND) {
            close(at);
            at = next;
        }
    }
    close(at);
    return found;
}

static uint64_t resolve_flags(bool follows, bool may_wait)
{
    return (follows ? 0 : (uint64_t)RESOLVE_NO_SYMLINKS) |
           (may_wait ? 0 : (uint64_t)RESOLVE_CACHED);
}

enum mu_found mu_lookup_stat(const char *path, bool follows, bool may_wait, struct mu_finfo *fi)
{
    enum mu_found found;
    int fd;

    if (follows && may_wait)
        return stat_at(AT_FDCWD, path, 0, fi);
    fd = open_resolved(path, O_PATH | O_CLOEXEC, resolve_flags(follows, may_wait));
    if (fd < 0 && errno == ENOSYS)
        found = may_wait ? walk(path, &fd, fi) : MU_FOUND_AGAIN;
    else if (fd < 0)
        found = found_errno();
    else
        found = stat_at(fd, "", AT_EMPTY_PATH, fi);
    if (fd >= 0)
        close(fd);
    return found;
}

/* What an open descriptor is of; closed unless that is a regular file. */
static enum mu_found keep_regular(int fd, struct mu_finfo *fi)
{
    enum mu_found found = stat_at(fd, "", AT_EMPTY_PATH, fi);

    if (found == MU_FOUND && fi->type != MU_FT_REG)
        found = MU_FOUND_DENIED;
    if (found != MU_FOUND)
        close(fd);
    return found;
}

enum mu_found mu_lookup_reopen(int path_fd, int *fd, struct mu_finfo *fi)
{
    char name[40];

    snprintf(name, sizeof(name), "/proc/self/fd/%d", path_fd);
    *fd = open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (*fd < 0)
        return found_errno();
    return keep_regular(*fd, fi);
}

/* By an O_PATH descriptor of the walk, opened through it only when it is a regular file: a device
 * is not touched. */
static enum mu_found open_walked(const char *path, int *fd, struct mu_finfo *fi)
{
    int path_fd;
    enum mu_found found = walk(path, &path_fd, fi);

    if (found != MU_FOUND)
        return found;
    found = fi->type == MU_FT_REG ? mu_lookup_reopen(path_fd, fd, fi) : MU_FOUND_DENIED;
    close(path_fd);
    return found;
}

enum mu_found mu_lookup_open(const char *path, bool follows, bool may_wait, int *fd,
                             struct mu_finfo *fi)
{
    int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

    if (follows && may_wait)
        *fd = open(path, flags);
    else
        *fd = open_resolved(path, flags, resolve_flags(follows, may_wait));
    if (*fd < 0 && errno == ENOSYS && (!may_wait || follows))
        return MU_FOUND_AGAIN;
    if (*fd < 0 && errno == ENOSYS)
        return open_walked(path, fd, fi);
    if (*fd < 0)
        return found_errno();
    return keep_regular(*fd, fi);
}
