/* LogLevel: a level for everything and levels for modules, as a byte a module. */
#ifndef MU_BASE_LOGLEVEL_H
#define MU_BASE_LOGLEVEL_H

#include <muster/log.h>
#include <muster/types.h>

enum {
    MU_LOG_MODULES = 128, /**< length of a table; entry 0 is the level of what is not named */
    MU_LOG_UNSET = 0xff,  /**< as the directory or server around it says */
};

/** "emerg" … "trace8". */
const char *mu_log_level_name(enum mu_log_level level);

/** Level by name, without case. Returns false when there is no such level. */
bool mu_log_level_parse(struct mu_str name, enum mu_log_level *level);

/**
 * "core", "core_module", "mod_core.c" and "core.c" are spellings of one name, cgid and cgi names of one module; a view of
 * the name log calls have.
 */
struct mu_str mu_log_module_name(struct mu_str spelled);

/**
 * The number of a module in level tables; a name seen for the first time gets the next one.
 * Returns: 1..MU_LOG_MODULES-1, or 0 (the level of everything) when there are too many.
 * Context: any thread; meant for configuration time.
 */
uint8_t mu_log_module_index(struct mu_str name);

/** All entries MU_LOG_UNSET. */
void mu_log_levels_init(uint8_t levels[MU_LOG_MODULES]);

/**
 * One word of LogLevel: "info" sets the level of everything and forgets the modules' own,
 * "ssl:warn" sets a module's.
 * Returns: MU_OK, or MU_BAD when the level is none.
 */
MU_NODISCARD
enum mu_rc mu_log_levels_add(uint8_t levels[MU_LOG_MODULES], struct mu_str word);

/** `over`'s entries where they are set, else `base`'s. `out` may be either. */
void mu_log_levels_merge(uint8_t out[MU_LOG_MODULES], const uint8_t base[MU_LOG_MODULES],
                         const uint8_t over[MU_LOG_MODULES]);

/** The level of a module by its table entry, or entry 0; MU_LOG_UNSET when both are unset. */
uint8_t mu_log_levels_get(const uint8_t *levels, uint8_t module);

/**
 * The most talkative level any table of this process has asked for: what is beyond it is off
 * without a look at names. Raised by mu_log_levels_add, never lowered.
 */
extern uint8_t mu_log_ceiling;

/** The module's number if it was given one, else 0. Lock-free; for log calls. */
uint8_t mu_log_module_find(const char *name);

#endif
