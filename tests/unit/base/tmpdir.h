/* A temporary directory for one test program, and reading files in it. */
#ifndef TMPDIR_H
#define TMPDIR_H

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#include "unit.h"

static char tmpdir[64];

/** cmocka group setup: make the directory and go there. */
static inline int tmpdir_setup(void **state)
{
    (void)state;
    snprintf(tmpdir, sizeof(tmpdir), "/tmp/muster-unit-XXXXXX");
    return mkdtemp(tmpdir) && chdir(tmpdir) == 0 ? 0 : -1;
}

static inline int tmpdir_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

/** cmocka group teardown. */
static inline int tmpdir_teardown(void **state)
{
    (void)state;
    return nftw(tmpdir, tmpdir_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/** The content of a file, in the arena; p == NULL when it cannot be read. */
static inline struct mu_str slurp(struct mu_arena *a, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *p = mu_arena_alloc(a, 1 << 20);
    size_t n = 0;
    ssize_t r;

    if (fd < 0 || !p)
        return MU_STR_NULL;
    while (n < 1 << 20 && (r = read(fd, p + n, (1 << 20) - n)) > 0)
        n += (size_t)r;
    close(fd);
    return mu_str_n(p, n);
}

#endif
