/* Which icon, text and description belong to a name, and which names are left out. Of several that
 * fit, the first. */
#include "autoindex.h"

static struct mu_str last_part(struct mu_str path)
{
    ssize_t slash = mu_str_rchr(path, '/');

    return mu_str_sub(path, (size_t)(slash + 1), path.n);
}

static struct mu_str without_params(struct mu_str type)
{
    ssize_t end = mu_str_chr(type, ';');

    return end < 0 ? type : mu_str_trim(mu_str_sub(type, 0, (size_t)end));
}

static bool fits(const struct ai_item *item, const struct ai_subject *s)
{
    if (item->by == AI_BY_PATH || mu_str_starts(s->path, MU_S("^")))
        return mu_str_wild(s->path, item->pattern, false);
    if (s->is_path_only)
        return false;
    /* What is packed goes by its packing: the type is that of its content. */
    if (s->encoding.n)
        return item->by == AI_BY_ENCODING && mu_str_wild(s->encoding, item->pattern, true);
    return item->by == AI_BY_TYPE && s->type.n &&
           mu_str_wild(without_params(s->type), item->pattern, true);
}

struct mu_str ai_find(const struct ai_items *items, const struct ai_subject *s)
{
    for (size_t i = 0; i < items->n; i++) {
        if (fits(&items->v[i], s))
            return items->v[i].value;
    }
    return MU_STR_NULL;
}

struct mu_str ai_find_named(const struct ai_items *items, struct mu_str path)
{
    struct ai_subject s = { .path = path, .is_path_only = true };

    return ai_find(items, &s);
}

struct mu_str ai_find_description(const struct ai_conf *c, struct mu_str path)
{
    struct mu_str name = last_part(path);

    for (size_t i = 0; i < c->descriptions.n; i++) {
        const struct ai_description *d = &c->descriptions.v[i];
        struct mu_str subject = d->is_path ? path : name;

        if (d->is_wild ? mu_str_fnmatch(subject, d->pattern, false)
                       : mu_str_find(subject, d->pattern) >= 0)
            return d->text;
    }
    return MU_STR_NULL;
}

bool ai_is_ignored(const struct ai_conf *c, struct mu_str name)
{
    for (size_t i = 0; i < c->ignore.n; i++) {
        if (mu_str_wild(name, c->ignore.v[i], false))
            return true;
    }
    return false;
}

bool ai_matches_query(struct mu_str name, struct mu_str pattern)
{
    if (!pattern.p)
        return true;
    if (mu_str_starts(name, MU_S(".")) && !mu_str_starts(pattern, MU_S(".")))
        return false;
    return mu_str_fnmatch(name, pattern, false);
}
