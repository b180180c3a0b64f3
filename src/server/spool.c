/*
 * spool: temporary files without a name, so that nothing is left behind however the process ends.
 * Made in TMPDIR or /tmp on first use: most answers and bodies never need one. A place in the file is
 * never written twice: sendfile(2) lends its pages to the socket, and a client that has not taken them
 * yet would be sent something else. Room is given back by whole pages, which the socket may go on
 * holding.
 */
#include <server/spool.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void mu_spool_init(struct mu_spool *s, struct mu_arena *a)
{
    *s = (struct mu_spool){ .arena = a, .fd = -1 };
}

static int open_unnamed(void)
{
    const char *dir = getenv("TMPDIR");
    char name[4096];
    int fd, n;

    if (!dir || dir[0] != '/')
        dir = "/tmp";
    fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
        return fd;
    n = snprintf(name, sizeof(name), "%s/muster-XXXXXX", dir); /* a file system without O_TMPFILE */
    if (n < 0 || (size_t)n >= sizeof(name))
        return -1;
    fd = mkostemp(name, O_CLOEXEC);
    if (fd >= 0)
        unlink(name);
    return fd;
}

static enum mu_rc make_file(struct mu_spool *s)
{
    int fd = open_unnamed();

    if (fd < 0)
        return MU_EIO;
    if (mu_defer_close(s->arena, fd) != MU_OK)
        return MU_NOMEM;
    s->fd = fd;
    return MU_OK;
}

enum mu_rc mu_spool_append(struct mu_spool *s, struct mu_str data, uint64_t *off)
{
    enum mu_rc rc = s->fd < 0 ? make_file(s) : MU_OK;

    *off = s->len;
    while (rc == MU_OK && data.n > 0) {
        ssize_t n = pwrite(s->fd, data.p, data.n, (off_t)s->len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return MU_EIO;
        data.p += n;
        data.n -= (size_t)n;
        s->len += (uint64_t)n;
    }
    return rc;
}

void mu_spool_free(struct mu_spool *s, uint64_t off)
{
    uint64_t end = off / MU_SPOOL_STEP * MU_SPOOL_STEP;

    if (s->cannot_free || end <= s->freed)
        return;
    if (fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)s->freed,
                  (off_t)(end - s->freed)) == 0)
        s->freed = end;
    else if (errno != EINTR)
        s->cannot_free = true;
}

void mu_spool_clear(struct mu_spool *s)
{
    if (s->len < MU_SPOOL_STEP || ftruncate(s->fd, 0) != 0)
        return; /* little: go on behind it */
    s->len = s->freed = 0;
}
