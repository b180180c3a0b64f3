/* Media types by file name extension: a mime.types file, or the built-in table. */
#ifndef MU_MODULES_MIME_TYPES_H
#define MU_MODULES_MIME_TYPES_H

#include <muster/map.h>
#include <muster/module.h>

/**
 * Read a mime.types file: "type ext ext …" a line, '#' begins a comment.
 * Returns: MU_OK with extension → const struct mu_str *type added to `types`; MU_NOENT when it
 *          cannot be opened (errno is valid); MU_NOMEM; MU_EIO.
 */
MU_NODISCARD enum mu_rc mime_types_load(struct mu_arena *a, const char *path, struct mu_map *types);
/** Add the built-in table. */
MU_NODISCARD enum mu_rc mime_types_builtin(struct mu_arena *a, struct mu_map *types);

#endif
