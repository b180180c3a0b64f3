/*
 * path: joining, splitting and lexical normalisation of file names. Symbolic links are nobody's
 * business here: what may be served is decided by the directory walk, on open descriptors.
 */
#include "base/path.h"

#include <muster/str.h>

struct mu_str mu_path_join(struct mu_arena *a, struct mu_str dir, struct mu_str name)
{
    if (mu_path_is_abs(name) || dir.n == 0)
        return mu_str_dup(a, name);
    if (dir.p[dir.n - 1] == '/')
        return mu_str_cat(a, dir, name);
    return mu_str_cat(a, dir, MU_S("/"), name);
}

struct mu_str mu_path_dir(struct mu_str path)
{
    ssize_t slash = mu_str_rchr(path, '/');

    if (slash < 0)
        return MU_S(".");
    while (slash > 0 && path.p[slash - 1] == '/')
        slash--;
    return mu_str_n(path.p, slash ? (size_t)slash : 1);
}

struct mu_str mu_path_base(struct mu_str path)
{
    ssize_t slash = mu_str_rchr(path, '/');

    return slash < 0 ? path : mu_str_sub(path, (size_t)slash + 1, path.n);
}

struct mu_str mu_path_ext(struct mu_str path)
{
    struct mu_str base = mu_path_base(path);
    ssize_t dot = mu_str_rchr(base, '.');

    return dot <= 0 ? mu_str_sub(base, base.n, base.n) : mu_str_sub(base, (size_t)dot + 1, base.n);
}

static bool is_dot_dot(const char *p, size_t n)
{
    return n == 2 && p[0] == '.' && p[1] == '.';
}

/*
 * Length of out[0..n) without its last segment and the slash before it; n itself when there is
 * none to take.
 */
static size_t without_last(const char *out, size_t n, bool is_abs)
{
    size_t from = n;

    if (n == (size_t)is_abs)
        return is_abs ? n : SIZE_MAX;
    while (from > (size_t)is_abs && out[from - 1] != '/')
        from--;
    if (is_dot_dot(out + from, n - from))
        return SIZE_MAX;
    return from > (size_t)is_abs ? from - 1 : from;
}

struct mu_str mu_path_normalise(struct mu_arena *a, struct mu_str path)
{
    bool is_abs = mu_path_is_abs(path);
    bool has_slash = path.n && path.p[path.n - 1] == '/';
    char *out = mu_arena_alloc(a, path.n + 3);
    size_t n = 0;
    struct mu_str rest = path;
    struct mu_str seg;

    if (!out)
        return MU_STR_NULL;
    if (is_abs)
        out[n++] = '/';
    while (mu_str_split(&rest, '/', &seg)) {
        if (seg.n == 0 || mu_str_eq(seg, MU_S(".")))
            continue;
        if (is_dot_dot(seg.p, seg.n)) {
            size_t shorter = without_last(out, n, is_abs);

            if (shorter != SIZE_MAX) {
                n = shorter;
                continue;
            }
        }
        if (n > (size_t)is_abs)
            out[n++] = '/';
        memcpy(out + n, seg.p, seg.n);
        n += seg.n;
    }
    if (n == 0)
        out[n++] = '.';
    if (has_slash && out[n - 1] != '/')
        out[n++] = '/';
    out[n] = '\0';
    return mu_str_n(out, n);
}

struct mu_str mu_path_rooted(struct mu_arena *a, struct mu_str root, struct mu_str path)
{
    struct mu_str joined = mu_path_join(a, root, path);

    return joined.p ? mu_path_normalise(a, joined) : MU_STR_NULL;
}
