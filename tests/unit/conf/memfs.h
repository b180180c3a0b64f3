/* A file system in memory for the tests and the fuzz target of the conf room: files by absolute
 * path, folders implied. */
#ifndef MEMFS_H
#define MEMFS_H

#include <errno.h>
#include <muster/buf.h>
#include <muster/str.h>

#include "conf/priv.h"

struct memfile {
    const char *path; /**< NULL at the end of a list */
    struct mu_str text;
};

static inline enum mu_fs_kind memfs_kind(void *arg, const char *path)
{
    size_t n = strlen(path);

    if (n == 1)
        return MU_FS_DIR;
    n -= path[n - 1] == '/';
    for (const struct memfile *f = arg; f->path; f++) {
        if (strncmp(f->path, path, n) != 0)
            continue;
        if (f->path[n] == '/')
            return MU_FS_DIR;
        if (f->path[n] == '\0')
            return MU_FS_FILE;
    }
    return MU_FS_NONE;
}

static inline enum mu_rc memfs_read(void *arg, const char *path, struct mu_buf *out)
{
    for (const struct memfile *f = arg; f->path; f++) {
        if (strcmp(f->path, path) != 0)
            continue;
        mu_buf_add(out, f->text);
        errno = ENOMEM;
        return out->is_failed ? MU_EIO : MU_OK;
    }
    errno = ENOENT;
    return MU_EIO;
}

/* The names come in the order of the list, a folder as often as it has files: the reader must sort,
 * not rely on it. */
static inline enum mu_rc memfs_list(void *arg, struct mu_arena *a, const char *path,
                                    struct mu_strs *names)
{
    size_t n = strlen(path);
    size_t count = 0;

    n -= n > 0 && path[n - 1] == '/';
    for (const struct memfile *f = arg; f->path; f++)
        count++;
    *names = (struct mu_strs){ mu_new_n(a, struct mu_str, count + 1), 0 };
    if (!names->v)
        return MU_NOMEM;
    for (const struct memfile *f = arg; f->path; f++) {
        struct mu_str rest;
        struct mu_str name;
        bool is_new = true;

        if (strncmp(f->path, path, n) != 0 || f->path[n] != '/')
            continue;
        rest = mu_str_c(f->path + n + 1);
        if (!mu_str_split(&rest, '/', &name))
            continue;
        for (size_t i = 0; i < names->n; i++)
            is_new = is_new && !mu_str_eq(names->v[i], name);
        if (is_new && !(names->v[names->n++] = mu_str_dup(a, name)).p)
            return MU_NOMEM;
    }
    return MU_OK;
}

static inline struct mu_conf_fs memfs_of(const struct memfile *files)
{
    return (struct mu_conf_fs){
        .kind = memfs_kind, .read = memfs_read, .list = memfs_list, .arg = (void *)(uintptr_t)files
    };
}

#endif
