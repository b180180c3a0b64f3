/* mod_env: SetEnv, PassEnv, UnsetEnv: variables for applications, log formats and conditions.
 *
 * Set among the first fix-ups, behind what SetEnvIf found: conditions and logs see that one first,
 * an application gets what SetEnv says, as in httpd. UnsetEnv takes away what an outer section, or
 * an earlier line of the same one, has set.
 */
#include <muster/module.h>
#include <stdlib.h>

struct env_conf {
    struct mu_headers vars;
    struct mu_strs unset; /**< names */
};

extern struct mu_module mu_module_env;

static enum mu_rc push(struct mu_arena *a, struct mu_strs *list, struct mu_str s)
{
    struct mu_str *v = mu_new_n(a, struct mu_str, list->n + 1);

    if (!v)
        return MU_NOMEM;
    if (list->n)
        memcpy(v, list->v, list->n * sizeof(*v));
    v[list->n] = s;
    *list = (struct mu_strs){ v, list->n + 1 };
    return MU_OK;
}

static enum mu_rc put(struct mu_cmd *cmd, struct env_conf *c, struct mu_str name,
                      struct mu_str value)
{
    if (!name.n)
        return mu_cmd_error(cmd, "the name of a variable is empty");
    if (mu_headers_set(cmd->arena, &c->vars, name, value.p ? value : MU_S("")) != MU_OK)
        return mu_cmd_error(cmd, "out of memory");
    return MU_OK;
}

static enum mu_rc set_env(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    ssize_t eq = mu_str_chr(args[0], '=');

    if (eq >= 0)
        return mu_cmd_error(cmd,
                            "'%.*s': there is a '=' in the name of the variable; write \"SetEnv "
                            "name value\", with a space",
                            MU_FMT(args[0]));
    return put(cmd, conf, args[0], n > 1 ? args[1] : MU_S(""));
}

static enum mu_rc pass_env(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *name = mu_cstr(cmd->arena, args[i]);
        const char *value = name ? getenv(name) : NULL;

        if (!value) {
            mu_cmd_warn(cmd, "PassEnv: the server's environment has no variable '%.*s'",
                        MU_FMT(args[i]));
            continue;
        }
        if (put(cmd, conf, args[i], mu_str_dup(cmd->arena, mu_str_c(value))) != MU_OK)
            return MU_BAD;
    }
    return MU_OK;
}

static enum mu_rc unset_env(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct env_conf *c = conf;

    for (size_t i = 0; i < n; i++) {
        mu_headers_unset(&c->vars, args[i]);
        if (push(cmd->arena, &c->unset, args[i]) != MU_OK)
            return mu_cmd_error(cmd, "out of memory");
    }
    return MU_OK;
}

static enum mu_rc merge(struct mu_arena *a, const void *base, const void *over, void *out)
{
    const struct env_conf *b = base, *o = over;
    struct env_conf *c = out;

    *c = (struct env_conf){ .vars = { 0 } };
    for (uint32_t i = 0; i < b->vars.n; i++) {
        if (mu_headers_add(a, &c->vars, b->vars.v[i].name, b->vars.v[i].value) != MU_OK)
            return MU_NOMEM;
    }
    for (size_t i = 0; i < o->unset.n; i++)
        mu_headers_unset(&c->vars, o->unset.v[i]);
    for (uint32_t i = 0; i < o->vars.n; i++) {
        if (mu_headers_set(a, &c->vars, o->vars.v[i].name, o->vars.v[i].value) != MU_OK)
            return MU_NOMEM;
    }
    return MU_OK;
}

static enum mu_status fixup(struct mu_req *r, const void *conf)
{
    const struct env_conf *c = conf;

    for (uint32_t i = 0; i < c->vars.n; i++) {
        if (mu_headers_add(r->arena, &r->env, c->vars.v[i].name, c->vars.v[i].value) != MU_OK)
            return MU_503_SERVICE_UNAVAILABLE;
    }
    return MU_STATUS_NONE;
}

static bool is_active(const void *conf)
{
    return ((const struct env_conf *)conf)->vars.n != 0;
}

#define EVERYWHERE (MU_IN_SERVER | MU_IN_DIR | MU_OVR_FILEINFO)

static const struct mu_directive directives[] = {
    MU_DIR_CALL("SetEnv", EVERYWHERE, 1, 2, set_env, "name of a variable and an optional value"),
    MU_DIR_CALL("PassEnv", EVERYWHERE, 1, -1, pass_env, "names of variables the server itself has"),
    MU_DIR_CALL("UnsetEnv", EVERYWHERE, 1, -1, unset_env, "names of variables to be taken away"),
    MU_DIR_END
};

/* In front of mod_dir's fix-up, whose look-ups begin with what is set here. */
MU_MODULE(env, .conf_size = sizeof(struct env_conf), .directives = directives, .merge = merge,
          .hooks = MU_HOOKS({ MU_PHASE_FIXUP, -10, fixup, false, is_active }));
