/*
 * subst: ${NAME} in a line, from Define or else the environment. It happens once for each logical
 * line, before words are taken, so that a value with blanks becomes several arguments; what a value
 * brings is not looked at again.
 */
#include <muster/str.h>

#include <stdlib.h>

#include "conf/priv.h"

/* {NULL,0}: there is no such variable. */
static struct mu_str lookup(struct mu_reader *r, struct mu_str name)
{
    const struct mu_str *value = mu_map_get(r->c->priv->defines, name);
    const char *key;

    if (value && value->p)
        return *value;
    key = mu_cstr(r->a, name);
    if (!key) {
        mu_conf_nomem(r->c);
        return MU_STR_NULL;
    }
    return mu_str_c(getenv(key));
}

struct mu_str mu_subst(struct mu_reader *r, struct mu_str line)
{
    struct mu_buf out = { 0 };
    struct mu_str result;
    ssize_t at;

    if (mu_str_find(line, MU_S("${")) < 0)
        return line;
    while ((at = mu_str_find(line, MU_S("${"))) >= 0) {
        struct mu_str rest = mu_str_sub(line, (size_t)at, line.n);
        ssize_t end = mu_str_chr(rest, '}');
        struct mu_str name;
        struct mu_str value;

        if (end < 0)
            break;
        mu_buf_add(&out, mu_str_sub(line, 0, (size_t)at));
        name = mu_str_sub(rest, 2, (size_t)end);
        value = lookup(r, name);
        if (value.p) {
            mu_buf_add(&out, value);
        } else {
            /* ${map:key|default} is mod_rewrite's, not ours */
            if (mu_str_chr(name, ':') < 0)
                mu_read_warn(r, "Config variable ${%.*s} is not defined", MU_FMT(name));
            mu_buf_add(&out, mu_str_sub(rest, 0, (size_t)end + 1));
        }
        line = mu_str_sub(rest, (size_t)end + 1, rest.n);
    }
    mu_buf_add(&out, line);
    result = out.is_failed ? MU_STR_NULL : mu_str_dup(r->a, mu_buf_str(&out));
    mu_buf_fini(&out);
    return result;
}

enum mu_rc mu_define(struct mu_config *c, struct mu_str name, struct mu_str value)
{
    struct mu_str *v = mu_new(c->arena, struct mu_str);
    struct mu_str key = mu_str_dup(c->arena, name);

    if (!v || !key.p)
        return mu_conf_nomem(c);
    if (value.p)
        *v = mu_str_dup(c->arena, value);
    if ((value.p && !v->p) || mu_map_set(c->priv->defines, key, v) != MU_OK)
        return mu_conf_nomem(c);
    return MU_OK;
}
