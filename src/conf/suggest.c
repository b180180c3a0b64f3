/*
 * suggest: the nearest known name for one that is not known, and why a directive is not there:
 * misspelled, of a module that is off, of another MPM, or of one that this version does not have.
 */
#include <muster/str.h>

#include "conf/priv.h"

enum { NAME_MAX_LEN = 64 };

size_t mu_edit_distance(struct mu_str a, struct mu_str b, size_t limit)
{
    size_t rows[3][NAME_MAX_LEN + 1];

    if (a.n > NAME_MAX_LEN || b.n > NAME_MAX_LEN || (a.n > b.n ? a.n - b.n : b.n - a.n) > limit)
        return limit + 1;
    for (size_t j = 0; j <= b.n; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t *row = rows[i % 3];
        const size_t *up = rows[(i + 2) % 3];
        const size_t *up2 = rows[(i + 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            bool is_same = mu_lower(a.p[i - 1]) == mu_lower(b.p[j - 1]);
            size_t best = up[j - 1] + !is_same;

            if (up[j] + 1 < best)
                best = up[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && mu_lower(a.p[i - 1]) == mu_lower(b.p[j - 2]) &&
                mu_lower(a.p[i - 2]) == mu_lower(b.p[j - 1]) && up2[j - 2] + 1 < best)
                best = up2[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[a.n % 3][b.n] > limit ? limit + 1 : rows[a.n % 3][b.n];
}

struct mu_suggest mu_suggest_begin(struct mu_str wanted)
{
    size_t limit = wanted.n < 5 ? 1 : wanted.n < 9 ? 2 : wanted.n / 3;

    return (struct mu_suggest){ .wanted = wanted, .distance = limit > 4 ? 5 : limit + 1 };
}

void mu_suggest_try(struct mu_suggest *s, struct mu_str candidate)
{
    size_t d;

    if (s->distance == 0)
        return;
    d = mu_edit_distance(s->wanted, candidate, s->distance - 1);
    if (d < s->distance) {
        s->distance = d;
        s->best = candidate;
    }
}

/* The built-in module that is off and has the directive. */
static const struct mu_module *off_module(const struct mu_config *c, struct mu_str name)
{
    struct mu_module *const *b = c->priv->opts->builtin;

    for (; b && *b; b++) {
        const struct mu_directive *d = (*b)->directives;

        for (; d && d->name; d++)
            if (mu_str_ieq(mu_str_c(d->name), name))
                return *b;
    }
    return NULL;
}

static struct mu_str nearest_directive(struct mu_config *c, struct mu_str name)
{
    struct mu_suggest s = mu_suggest_begin(name);
    struct mu_str candidate;
    size_t it = 0;

    while (mu_map_next(c->priv->known, &it, &candidate, NULL))
        if ((candidate.p[0] == '<') == (name.p[0] == '<'))
            mu_suggest_try(&s, candidate);
    return s.best;
}

/* The MPM that has the directive, when the one that is on has not. */
static const char *other_mpm(struct mu_str name)
{
    static const char *const mpms[] = { "mpm_prefork", "mpm_worker", "mpm_event" };

    for (size_t i = 0; i < MU_ARRAY_LEN(mpms); i++) {
        struct mu_str rest = mu_str_c(mu_httpd_module_find(mu_str_c(mpms[i]))->directives);
        struct mu_str d;

        while (mu_str_split(&rest, ' ', &d))
            if (mu_str_ieq(d, name))
                return mpms[i];
    }
    return NULL;
}

static struct mu_str explain_module(struct mu_config *c, struct mu_str name)
{
    const struct mu_module *off = off_module(c, name);
    const struct mu_httpd_module *h = mu_httpd_directive_find(name);
    const char *mpm = other_mpm(name);

    if (off && !mu_module_is_mpm(mu_str_c(off->name)))
        return mu_fmt(c->arena,
                      "It belongs to mod_%s, which is not loaded: LoadModule %s_module "
                      "modules/mod_%s.so",
                      off->name, off->name, off->name);
    if (mpm)
        return mu_fmt(c->arena,
                      "It belongs to %s_module, and the MPM is %s here: put it into <IfModule "
                      "%s_module>, or load that MPM",
                      mpm, c->mpm_name ? c->mpm_name : "another", mpm);
    if (h)
        return mu_fmt(c->arena,
                      "It belongs to httpd's mod_%s (%s), which this version of Muster does not "
                      "have%s%s",
                      h->name, h->what, h->instead ? "; " : "", h->instead ? h->instead : "");
    return MU_STR_NULL;
}

struct mu_str mu_explain_unknown(struct mu_config *c, struct mu_str name)
{
    struct mu_str hint = explain_module(c, name);
    struct mu_str near;

    if (!hint.p) {
        near = nearest_directive(c, name);
        if (near.p)
            hint = mu_fmt(c->arena, "The nearest name there is: %.*s", MU_FMT(near));
    }
    return mu_fmt(
        c->arena,
        "Invalid command '%.*s', perhaps misspelled or defined by a module not included in "
        "the server configuration%s%.*s",
        MU_FMT(name), hint.n ? "\n" : "", MU_FMT(hint));
}
