/*
 * Entity tags of files, in httpd's form: "inode-size-mtime" in hexadecimal, by what FileETag names.
 */
#ifndef MU_HTTP_ETAG_H
#define MU_HTTP_ETAG_H

#include <muster/types.h>

/** What FileETag puts into the tag. None of them: no tag. */
enum {
    MU_ETAG_INODE = 1,
    MU_ETAG_SIZE = 2,
    MU_ETAG_MTIME = 4,
    MU_ETAG_DEFAULT = MU_ETAG_SIZE | MU_ETAG_MTIME,
    MU_ETAG_ALL = MU_ETAG_INODE | MU_ETAG_SIZE | MU_ETAG_MTIME,
    MU_ETAG_NONE = 8, /**< "None" was said; nothing at all means MU_ETAG_DEFAULT */
};

/** Room for any tag: W/, quotes, three numbers of 16 digits, two dashes. */
#define MU_ETAG_MAX 56

struct mu_etag_file {
    uint64_t inode;
    uint64_t size;
    int64_t mtime_us; /**< microseconds since the epoch, as httpd counts them */
};

/**
 * Write the tag with its quotes. It is weak while the file is younger than a second at `now_us`,
 * since it could change again without a trace in its time.
 * Returns: its length; 0 when `parts` is 0: send none.
 */
size_t mu_etag_format(unsigned parts, const struct mu_etag_file *file, int64_t now_us,
                      char buf[MU_ETAG_MAX]);

#endif
