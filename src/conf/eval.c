/*
 * eval: the conditional sections, decided while reading and in the order of the lines. A condition
 * that cannot be understood is an error, and its branch is not taken.
 */
#include <muster/regex.h>
#include <muster/str.h>

#include "conf/lexer.h"
#include "conf/priv.h"

static bool take_not(struct mu_str *s)
{
    bool is_not = s->n && s->p[0] == '!';

    if (is_not)
        *s = mu_str_trim(mu_str_sub(*s, 1, s->n));
    return is_not;
}

static bool if_module(struct mu_reader *r, struct mu_str arg)
{
    return mu_modules_is_on(r->c, arg);
}

static bool if_define(struct mu_reader *r, struct mu_str arg)
{
    return mu_map_get(r->c->priv->defines, arg) != NULL;
}

static bool if_file(struct mu_reader *r, struct mu_str arg)
{
    const struct mu_conf_fs *fs = r->c->priv->fs;
    struct mu_str path = mu_conf_path(r->c, arg);

    if (!path.p)
        mu_conf_nomem(r->c);
    return path.p && fs->kind(fs->arg, path.p) != MU_FS_NONE;
}

static bool if_directive(struct mu_reader *r, struct mu_str arg)
{
    const struct mu_known *k = mu_directive_find(r->c, arg);

    if (!k)
        r->c->priv->asked_for_mpm = true;
    return k && k->directive->kind != MU_K_REFUSED;
}

static bool if_section(struct mu_reader *r, struct mu_str arg)
{
    struct mu_str name = mu_str_cat(r->a, MU_S("<"), arg);

    return name.p && if_directive(r, name);
}

/* ---- <IfVersion> ---- */

/* "2.4.71" to three numbers; what is missing is 0. */
static bool parse_version(struct mu_str s, uint64_t v[3])
{
    struct mu_str part;
    size_t i = 0;

    memset(v, 0, 3 * sizeof(v[0]));
    while (mu_str_split(&s, '.', &part))
        if (i == 3 || !mu_str_u64(part, &v[i++]))
            return false;
    return i > 0;
}

static int compare_version(const uint64_t have[3], const uint64_t want[3])
{
    for (size_t i = 0; i < 3; i++)
        if (have[i] != want[i])
            return have[i] < want[i] ? -1 : 1;
    return 0;
}

static bool version_matches(struct mu_reader *r, struct mu_str pattern)
{
    struct mu_str why = MU_STR_NULL;
    struct mu_regex *re;
    struct mu_match m;

    if (pattern.n > 1 && pattern.p[0] == '/' && mu_str_ends(pattern, MU_S("/")))
        pattern = mu_str_sub(pattern, 1, pattern.n - 1);
    re = mu_regex_compile(r->a, pattern, 0, &why);
    if (!re)
        mu_read_error(r, "<IfVersion>: the regular expression \"%.*s\" is wrong: %.*s",
                      MU_FMT(pattern), MU_FMT(why));
    return re && mu_regex_match(re, MU_CONF_HTTPD_VERSION, &m) == MU_OK;
}

/* 1, 0, or -1 when `op` is no operator. */
static int decide(struct mu_str op, int order)
{
    if (mu_str_eq(op, MU_S("=")) || mu_str_eq(op, MU_S("==")))
        return order == 0;
    if (mu_str_eq(op, MU_S(">")))
        return order > 0;
    if (mu_str_eq(op, MU_S(">=")))
        return order >= 0;
    if (mu_str_eq(op, MU_S("<")))
        return order < 0;
    if (mu_str_eq(op, MU_S("<=")))
        return order <= 0;
    return -1;
}

static bool if_version(struct mu_reader *r, struct mu_str args)
{
    bool is_not = args.n > 1 && args.p[0] == '!' && !mu_is_space(args.p[1]);
    struct mu_str op = MU_S("=");
    struct mu_strs w;
    uint64_t have[3];
    uint64_t want[3];
    int is_true;

    if (mu_words(r->a, mu_str_sub(args, is_not, args.n), &w) != MU_OK)
        return mu_conf_nomem(r->c) == MU_OK;
    if (w.n == 2)
        op = w.v[0];
    if (w.n < 1 || w.n > 2) {
        mu_read_error(r, "<IfVersion> takes an operator (= == > >= < <= ~) and a version");
        return false;
    }
    if (mu_str_eq(op, MU_S("~")) ||
        (w.v[w.n - 1].n > 1 && w.v[w.n - 1].p[0] == '/' && decide(op, 0) == 1 && op.p[0] == '='))
        return version_matches(r, w.v[w.n - 1]) != is_not;
    parse_version(MU_CONF_HTTPD_VERSION, have);
    is_true = decide(op, 0);
    if (is_true < 0) {
        mu_read_error(r, "<IfVersion>: unrecognized operator '%.*s'; there are = == > >= < <= ~",
                      MU_FMT(op));
        return false;
    }
    if (!parse_version(w.v[w.n - 1], want)) {
        mu_read_error(r, "<IfVersion>: \"%.*s\" is not a version (major[.minor[.patch]])",
                      MU_FMT(w.v[w.n - 1]));
        return false;
    }
    return (decide(op, compare_version(have, want)) == 1) != is_not;
}

/* ---- all of them ---- */

static const struct {
    struct mu_str name;
    bool (*is_true)(struct mu_reader *r, struct mu_str arg);
    bool wants_all; /* of the line, and deals with '!' itself */
} conditions[] = {
    { MU_S("<IfModule"), if_module, false },   { MU_S("<IfDefine"), if_define, false },
    { MU_S("<IfFile"), if_file, false },       { MU_S("<IfDirective"), if_directive, false },
    { MU_S("<IfSection"), if_section, false }, { MU_S("<IfVersion"), if_version, true },
};

bool mu_eval_section(struct mu_reader *r, struct mu_str name, struct mu_str args, bool *is_true)
{
    for (size_t i = 0; i < MU_ARRAY_LEN(conditions); i++) {
        struct mu_str arg = args;
        bool is_not;

        if (!mu_str_ieq(conditions[i].name, name))
            continue;
        *is_true = false;
        if (conditions[i].wants_all) {
            *is_true = conditions[i].is_true(r, args);
            return true;
        }
        is_not = take_not(&args);
        if (!mu_word_next(r->a, &args, &arg) || arg.n == 0) {
            mu_read_error(r, "%.*s> directive requires additional arguments", MU_FMT(name));
            return true;
        }
        *is_true = conditions[i].is_true(r, arg) != is_not;
        return true;
    }
    return false;
}
