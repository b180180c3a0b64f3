/* Paths as text: nothing here looks at the file system. */
#ifndef MU_BASE_PATH_H
#define MU_BASE_PATH_H

#include <muster/arena.h>
#include <muster/types.h>

/** Does it start with a slash? */
static inline bool mu_path_is_abs(struct mu_str path)
{
    return path.n && path.p[0] == '/';
}

/**
 * `name` below `dir`, with one slash between them; `name` alone when it is absolute or `dir` is
 * empty.
 * Returns: NUL-terminated, in the arena; {NULL,0} when out of memory.
 */
struct mu_str mu_path_join(struct mu_arena *a, struct mu_str dir, struct mu_str name);

/** What is in front of the last slash: "/" for "/x", "." for "x", "/a" for "/a/b". A slice. */
struct mu_str mu_path_dir(struct mu_str path);

/** What is behind the last slash; empty for "/a/". A slice. */
struct mu_str mu_path_base(struct mu_str path);

/** What is behind the last dot of the base name, without it; empty for "x", ".x" and "x.". */
struct mu_str mu_path_ext(struct mu_str path);

/**
 * Lexically: "." and empty segments go, ".." takes the segment before it (never above "/"; kept
 * at the start of a relative path). A trailing slash stays; an empty result is ".".
 * Returns: NUL-terminated, in the arena; {NULL,0} when out of memory.
 */
struct mu_str mu_path_normalise(struct mu_arena *a, struct mu_str path);

/**
 * A file named in the configuration: relative to `root` (ServerRoot) unless absolute, normalised.
 * Returns: NUL-terminated, in the arena; {NULL,0} when out of memory.
 */
struct mu_str mu_path_rooted(struct mu_arena *a, struct mu_str root, struct mu_str path);

#endif
