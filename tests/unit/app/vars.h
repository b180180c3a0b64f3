/* What the tests of environments share: variables of the answer that mod_envdump gave. */
#ifndef VARS_H
#define VARS_H

#include "../server/req_fixture.h"
#include "mod_envdump.h"

/* The value in the answer's body; NULL when the variable is not there. It must not be there twice. */
static inline const char *var(const char *name)
{
    static char value[1024];
    size_t n = strlen(name);
    const char *found = NULL;

    for (const char *line = text(); line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, n) != 0 || line[n] != '=')
            continue;
        assert_null(found);
        found = line + n + 1;
    }
    if (!found)
        return NULL;
    snprintf(value, sizeof(value), "%.*s", (int)strcspn(found, "\n"), found);
    return value;
}

#define assert_var(name, expected)                                                                 \
    do {                                                                                           \
        const char *v_ = var(name);                                                                \
        if (!v_)                                                                                   \
            fail_msg("no %s in: %s", name, text());                                                \
        assert_string_equal(v_, expected);                                                         \
    } while (0)

/* "@x" is x below the site's root. */
static inline void assert_path_var(const char *name, const char *path)
{
    char full[256];

    snprintf(full, sizeof(full), "%s%s", site->root, path);
    assert_var(name, full);
}

#endif
