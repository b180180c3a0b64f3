/*
 * include: Include and IncludeOptional. A name without wildcards is a file, or a folder whose files
 * are read all the way down; with wildcards each component of the path is matched on its own. Names
 * are read in byte order. Patterns do not match a leading dot, as in the shell.
 */
#include <muster/str.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "conf/priv.h"

bool mu_is_pattern(struct mu_str s)
{
    bool in_bracket = false;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '*' || s.p[i] == '?' || (s.p[i] == ']' && in_bracket))
            return true;
        if (s.p[i] == '[')
            in_bracket = true;
        if (s.p[i] == '\\')
            i++;
    }
    return false;
}

static int by_name(const void *a, const void *b)
{
    return mu_str_cmp(*(const struct mu_str *)a, *(const struct mu_str *)b);
}

static bool list_sorted(struct mu_reader *r, struct mu_str dir, struct mu_strs *names)
{
    const struct mu_conf_fs *fs = r->c->priv->fs;
    enum mu_rc rc = fs->list(fs->arg, r->a, dir.p, names);

    if (rc == MU_NOMEM)
        mu_conf_nomem(r->c);
    if (rc != MU_OK)
        return false;
    if (names->n)
        qsort(names->v, names->n, sizeof(*names->v), by_name);
    return true;
}

/* A file, or all files below a folder. */
static void include_path(struct mu_reader *r, struct mu_str path, bool is_optional, unsigned level)
{
    const struct mu_conf_fs *fs = r->c->priv->fs;
    struct mu_strs names;

    if (!path.p) {
        mu_conf_nomem(r->c);
        return;
    }
    if (fs->kind(fs->arg, path.p) != MU_FS_DIR) {
        mu_read_file(r, path, is_optional);
        return;
    }
    if (level >= MU_INCLUDE_DIR_DEPTH_MAX) {
        mu_read_error(
            r,
            "Directory %.*s exceeds the maximum include directory nesting level of %d. You "
            "have probably a recursion somewhere.",
            MU_FMT(path), MU_INCLUDE_DIR_DEPTH_MAX);
        r->c->priv->is_stopped = true;
        return;
    }
    if (!list_sorted(r, path, &names)) {
        mu_read_error(r, "Could not open config directory %.*s: %s", MU_FMT(path), strerror(errno));
        return;
    }
    for (size_t i = 0; i < names.n && !mu_read_is_over(r); i++)
        include_path(r, mu_path_join(r->a, path, names.v[i]), false, level + 1);
}

static bool name_matches(struct mu_str name, struct mu_str pattern)
{
    if (name.p[0] == '.' && pattern.p[0] != '.')
        return false;
    return mu_str_fnmatch(name, pattern, true);
}

/*
 * Match the first component of `rest` that holds a wildcard in `dir` and go on with what is behind
 * it.
 * Returns: how many files and folders matched the whole pattern.
 */
static size_t include_glob(struct mu_reader *r, struct mu_str dir, struct mu_str rest,
                           bool is_optional)
{
    const struct mu_conf_fs *fs = r->c->priv->fs;
    struct mu_str part = MU_STR_NULL;
    struct mu_strs names;
    size_t found = 0;

    while (rest.p && mu_str_split(&rest, '/', &part) && !mu_is_pattern(part)) {
        dir = part.n ? mu_path_join(r->a, dir, part) : dir;
        part = MU_STR_NULL;
    }
    if (!dir.p) {
        mu_conf_nomem(r->c);
        return 0;
    }
    if (!part.p) {
        if (fs->kind(fs->arg, dir.p) == MU_FS_NONE)
            return 0;
        include_path(r, dir, is_optional, 0);
        return 1;
    }
    if (fs->kind(fs->arg, dir.p) != MU_FS_DIR || !list_sorted(r, dir, &names))
        return 0;
    for (size_t i = 0; i < names.n && !mu_read_is_over(r); i++)
        if (name_matches(names.v[i], part))
            found += include_glob(r, mu_path_join(r->a, dir, names.v[i]), rest, is_optional);
    return found;
}

void mu_include(struct mu_reader *r, struct mu_str pattern, bool is_optional)
{
    struct mu_str path = mu_conf_path(r->c, pattern);
    size_t found;

    if (!path.p) {
        mu_conf_nomem(r->c);
        return;
    }
    if (!mu_is_pattern(path)) {
        include_path(r, path, is_optional, 0);
        return;
    }
    found = include_glob(r, mu_str_dup(r->a, MU_S("/")), path, is_optional);
    if (found == 0 && !is_optional && !mu_read_is_over(r))
        mu_read_error(
            r, "No matches for the wildcard '%.*s', failing (use IncludeOptional if required)",
            MU_FMT(path));
}
