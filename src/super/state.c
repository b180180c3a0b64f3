/*
 * state: the format of what crosses an execve. Two different builds of the server read it, so it is
 * versioned, every record carries its length, unknown records of the optional range are skipped,
 * and a reader that understands less than all of the rest refuses the whole: the old binary is then
 * executed again, which can.
 */
#include "super/state.h"

#include <errno.h>
#include <muster/str.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[8] = { 'M', 'U', 'S', 'T', 'A', 'T', 'E', '\n' };

void mu_state_begin(struct mu_buf *b)
{
    uint32_t version[2] = { MU_STATE_VERSION, 0 };

    mu_buf_add(b, mu_str_n(magic, sizeof(magic)));
    mu_buf_add(b, mu_str_n((const char *)version, sizeof(version)));
}

void mu_state_put(struct mu_buf *b, enum mu_state_key key, const void *head, size_t n,
                  struct mu_str text)
{
    uint64_t h[2] = { key, n + text.n };

    mu_buf_add(b, mu_str_n((const char *)h, sizeof(h)));
    if (n)
        mu_buf_add(b, mu_str_n(head, n));
    if (text.n)
        mu_buf_add(b, text);
}

void mu_state_put_u64(struct mu_buf *b, enum mu_state_key key, uint64_t v)
{
    mu_state_put(b, key, &v, sizeof(v), MU_STR_NULL);
}

bool mu_state_head(struct mu_str *value, void *head, size_t n)
{
    if (value->n < n)
        return false;
    memcpy(head, value->p, n);
    *value = mu_str_n(value->p + n, value->n - n);
    return true;
}

enum mu_rc mu_state_open(struct mu_str all, struct mu_str *at)
{
    char seen[sizeof(magic)];
    uint32_t version[2];

    *at = all;
    if (!mu_state_head(at, seen, sizeof(seen)) || memcmp(seen, magic, sizeof(magic)) != 0 ||
        !mu_state_head(at, version, sizeof(version)) || version[0] != MU_STATE_VERSION)
        return MU_BAD;
    return MU_OK;
}

enum mu_rc mu_state_next(struct mu_str *at, uint32_t *key, struct mu_str *value)
{
    uint64_t h[2];

    if (!mu_state_head(at, h, sizeof(h)) || h[1] > at->n || h[0] > UINT32_MAX)
        return MU_BAD;
    *key = (uint32_t)h[0];
    *value = mu_str_n(at->p, (size_t)h[1]);
    *at = mu_str_n(at->p + h[1], at->n - (size_t)h[1]);
    return *key == MU_STATE_END ? MU_EOF : MU_OK;
}

static bool write_all(int fd, struct mu_str s)
{
    while (s.n) {
        ssize_t n = write(fd, s.p, s.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        s = mu_str_n(s.p + n, s.n - (size_t)n);
    }
    return true;
}

int mu_state_to_fd(struct mu_str bytes)
{
    int fd = memfd_create("muster-state", 0);

    if (fd < 0)
        return -1;
    if (write_all(fd, bytes) && lseek(fd, 0, SEEK_SET) == 0)
        return fd;
    close(fd);
    return -1;
}

enum mu_rc mu_state_from_fd(int fd, struct mu_buf *out)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return MU_EIO;
    if (!mu_buf_reserve(out, (size_t)st.st_size + 1))
        return MU_NOMEM;
    while (out->n < (size_t)st.st_size) {
        ssize_t n = pread(fd, out->p + out->n, (size_t)st.st_size - out->n, (off_t)out->n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return MU_EIO;
        out->n += (size_t)n;
    }
    return MU_OK;
}
