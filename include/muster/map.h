/* Hash map from strings to pointers, in an arena. Keys are borrowed: they must live as long as the
 * map. */
#ifndef MUSTER_MAP_H
#define MUSTER_MAP_H

#include <muster/arena.h>
#include <muster/types.h>

struct mu_map;

/** Create; `icase` folds ASCII case in keys. NULL when out of memory. */
struct mu_map *mu_map_create(struct mu_arena *a, bool icase);
/** Value of `key`, or NULL. */
void *mu_map_get(const struct mu_map *m, struct mu_str key);
/** Set or replace. A NULL value is stored as such. */
MU_NODISCARD enum mu_rc mu_map_set(struct mu_map *m, struct mu_str key, void *value);
/** Set every pair of `from`, which may be NULL. */
MU_NODISCARD enum mu_rc mu_map_merge(struct mu_map *to, const struct mu_map *from);
/** Remove; returns the old value or NULL. */
void *mu_map_remove(struct mu_map *m, struct mu_str key);
size_t mu_map_len(const struct mu_map *m);
/**
 * Iterate in insertion order: start with *it = 0.
 * Returns: false at the end.
 */
bool mu_map_next(const struct mu_map *m, size_t *it, struct mu_str *key, void **value);

#endif
