/*
 * fs: the three questions reading asks the file system. Configuration files are regular files or
 * /dev/null; anything else (a FIFO, a device) could make reading wait or never end.
 */
#include <muster/str.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/priv.h"

static enum mu_fs_kind real_kind(void *arg, const char *path)
{
    struct stat st;

    (void)arg;
    if (stat(path, &st) < 0)
        return MU_FS_NONE;
    if (S_ISDIR(st.st_mode))
        return MU_FS_DIR;
    return S_ISREG(st.st_mode) || strcmp(path, "/dev/null") == 0 ? MU_FS_FILE : MU_FS_OTHER;
}

static enum mu_rc real_read(void *arg, const char *path, struct mu_buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n = -1;

    (void)arg;
    if (fd < 0)
        return MU_EIO;
    while (mu_buf_reserve(out, 65536)) {
        n = read(fd, out->p + out->n, 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        out->n += (size_t)n;
    }
    if (out->is_failed)
        errno = ENOMEM;
    if (n < 0 || out->is_failed) {
        int kept = errno;

        close(fd);
        errno = kept;
        return MU_EIO;
    }
    close(fd);
    return MU_OK;
}

static enum mu_rc real_list(void *arg, struct mu_arena *a, const char *path, struct mu_strs *names)
{
    DIR *d = opendir(path);
    struct dirent *e;
    size_t cap = 0;
    enum mu_rc rc = MU_OK;

    (void)arg;
    *names = (struct mu_strs){ NULL, 0 };
    if (!d)
        return MU_EIO;
    while (rc == MU_OK && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (names->n == cap) {
            struct mu_str *v = mu_new_n(a, struct mu_str, cap ? 2 * cap : 16);

            if (v && names->n)
                memcpy(v, names->v, names->n * sizeof(*v));
            cap = cap ? 2 * cap : 16;
            names->v = v;
        }
        if (names->v)
            names->v[names->n] = mu_str_dup(a, mu_str_c(e->d_name));
        rc = names->v && names->v[names->n++].p ? MU_OK : MU_NOMEM;
    }
    closedir(d);
    return rc;
}

const struct mu_conf_fs mu_conf_fs_real = {
    .kind = real_kind,
    .read = real_read,
    .list = real_list,
    .may_load = true,
};
