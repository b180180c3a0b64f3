/*
 * loglevel: the registry of module names and the level tables. Names are only ever added, under a
 * mutex and before the count is published, so log calls of any thread read without one.
 */
#include "base/loglevel.h"

#include <muster/str.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { NAME_CAP = 32 };

static const char level_names[][8] = {
    "emerg",  "alert",  "crit",   "error",  "warn",   "notice", "info",   "debug",
    "trace1", "trace2", "trace3", "trace4", "trace5", "trace6", "trace7", "trace8",
};
static_assert(MU_ARRAY_LEN(level_names) == MU_LOG_TRACE8 + 1, "a name for each level");

static char modules[MU_LOG_MODULES][NAME_CAP]; /* entry 0 is unused */
static _Atomic unsigned n_modules = 1;
static pthread_mutex_t modules_lock = PTHREAD_MUTEX_INITIALIZER;

uint8_t mu_log_ceiling = MU_LOG_WARN;

const char *mu_log_level_name(enum mu_log_level level)
{
    return (unsigned)level < MU_ARRAY_LEN(level_names) ? level_names[level] : "unknown";
}

bool mu_log_level_parse(struct mu_str name, enum mu_log_level *level)
{
    for (size_t i = 0; i < MU_ARRAY_LEN(level_names); i++) {
        if (mu_str_ieq(name, mu_str_c(level_names[i]))) {
            *level = (enum mu_log_level)i;
            return true;
        }
    }
    return false;
}

struct mu_str mu_log_module_name(struct mu_str name)
{
    if (mu_str_ends(name, MU_S(".c")))
        name.n -= 2;
    if (mu_str_ends(name, MU_S("_module")))
        name.n -= 7;
    if (mu_str_starts(name, MU_S("mod_")))
        name = mu_str_sub(name, 4, name.n);
    if (mu_str_eq(name, MU_S("cgid")))
        name.n--; /* httpd's other edition of mod_cgi, which is one module here */
    return name;
}

/*
 * Acquire pairs with the release in mu_log_module_index: a name is complete before it is counted.
 */
static uint8_t find(struct mu_str name)
{
    unsigned n = atomic_load_explicit(&n_modules, memory_order_acquire);

    for (unsigned i = 1; i < n; i++)
        if (strncmp(modules[i], name.p, name.n) == 0 && modules[i][name.n] == '\0')
            return (uint8_t)i;
    return 0;
}

uint8_t mu_log_module_find(const char *name)
{
    size_t n = strlen(name);

    return n < NAME_CAP ? find(mu_str_n(name, n)) : 0;
}

uint8_t mu_log_module_index(struct mu_str name)
{
    unsigned n;
    uint8_t i;

    name = mu_log_module_name(name);
    if (name.n == 0 || name.n >= NAME_CAP || memchr(name.p, '\0', name.n))
        return 0;
    pthread_mutex_lock(&modules_lock);
    i = find(name);
    n = atomic_load_explicit(&n_modules, memory_order_relaxed); /* only changed under the lock */
    if (i == 0 && n < MU_LOG_MODULES) {
        memcpy(modules[n], name.p, name.n);
        i = (uint8_t)n;
        atomic_store_explicit(&n_modules, n + 1, memory_order_release);
    }
    pthread_mutex_unlock(&modules_lock);
    return i;
}

void mu_log_levels_init(uint8_t levels[MU_LOG_MODULES])
{
    memset(levels, MU_LOG_UNSET, MU_LOG_MODULES);
}

enum mu_rc mu_log_levels_add(uint8_t levels[MU_LOG_MODULES], struct mu_str word)
{
    ssize_t colon = mu_str_chr(word, ':');
    struct mu_str name = colon < 0 ? word : mu_str_sub(word, (size_t)colon + 1, word.n);
    enum mu_log_level level;

    if (!mu_log_level_parse(name, &level))
        return MU_BAD;
    if (colon < 0) {
        mu_log_levels_init(levels);
        levels[0] = (uint8_t)level;
    } else {
        uint8_t module = mu_log_module_index(mu_str_sub(word, 0, (size_t)colon));

        if (module == 0)
            return MU_BAD;
        levels[module] = (uint8_t)level;
    }
    if (level > mu_log_ceiling)
        mu_log_ceiling = (uint8_t)level;
    return MU_OK;
}

void mu_log_levels_merge(uint8_t out[MU_LOG_MODULES], const uint8_t base[MU_LOG_MODULES],
                         const uint8_t over[MU_LOG_MODULES])
{
    for (size_t i = 0; i < MU_LOG_MODULES; i++)
        out[i] = over[i] == MU_LOG_UNSET ? base[i] : over[i];
}

uint8_t mu_log_levels_get(const uint8_t *levels, uint8_t module)
{
    uint8_t own = levels[module];

    return own == MU_LOG_UNSET ? levels[0] : own;
}
