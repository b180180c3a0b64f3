/*
 * Entity tags of files. The form is httpd's to the byte, so that caches filled by an httpd before
 * stay valid and a farm may mix both.
 */
#include "etag.h"

static char *put_hex(char *out, uint64_t v)
{
    static const char digits[] = "0123456789abcdef";
    unsigned n = v ? (67u - (unsigned)__builtin_clzll(v)) / 4 : 1;

    for (unsigned i = n; i-- > 0; v >>= 4) {
        out[i] = digits[v & 15];
    }
    return out + n;
}

size_t mu_etag_format(unsigned parts, const struct mu_etag_file *file, int64_t now_us,
                      char buf[MU_ETAG_MAX])
{
    const uint64_t values[] = { file->inode, file->size, (uint64_t)file->mtime_us };
    char *out = buf;

    if (!(parts & MU_ETAG_ALL)) {
        return 0;
    }
    /* Compared this way round, a time stamp far in the past cannot overflow. */
    if (file->mtime_us > now_us - 1000000) {
        *out++ = 'W';
        *out++ = '/';
    }
    *out++ = '"';
    for (unsigned i = 0; i < MU_ARRAY_LEN(values); i++) {
        if (parts >> i & 1) {
            if (out[-1] != '"') {
                *out++ = '-';
            }
            out = put_hex(out, values[i]);
        }
    }
    *out++ = '"';
    return (size_t)(out - buf);
}
