/* mod_authz_core: Require all granted | denied, with httpd's merging; what it cannot decide it refuses to start with.
 *
 * Several Require lines of one section are alternatives. An inner section replaces the outer one's lines unless
 * AuthMerging says otherwise. Where nothing is required, everybody may enter.
 */
#include <muster/module.h>

extern struct mu_module mu_module_authz_core;

enum authz_merging { AUTHZ_OFF, AUTHZ_AND, AUTHZ_OR };

struct authz_rule {
    bool is_granted;
    uint32_t methods; /**< of an enclosing <Limit> */
};

/** Alternatives written in one place, joined to those of the outer place by `merging`. */
struct authz_rules {
    const struct authz_rule *v;
    size_t n;
    enum authz_merging merging;
    const struct authz_rules *outer;
};

struct authz_conf {
    const struct authz_rules *rules; /**< NULL: nothing is required */
    int merging;
};

static enum mu_rc set_require(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct authz_conf *c = conf;
    struct authz_rules *rules = mu_new(cmd->arena, struct authz_rules);
    size_t have = c->rules ? c->rules->n : 0;
    struct authz_rule *v = mu_new_n(cmd->arena, struct authz_rule, have + 1);

    if (!rules || !v)
        return mu_cmd_error(cmd, "out of memory");
    if (!mu_str_ieq(args[0], MU_S("all")))
        return mu_cmd_error(cmd,
                            "found 'Require %.*s', allowed are 'Require all granted' and "
                            "'Require all denied': this version knows no other provider, and "
                            "ignoring one would change who may see what",
                            MU_FMT(args[0]));
    if (n != 2 || (!mu_str_ieq(args[1], MU_S("granted")) && !mu_str_ieq(args[1], MU_S("denied"))))
        return mu_cmd_error(cmd, "'Require all' is followed by granted or denied");
    if (have)
        memcpy(v, c->rules->v, have * sizeof(*v));
    v[have] = (struct authz_rule){ mu_str_ieq(args[1], MU_S("granted")), cmd->methods };
    *rules = (struct authz_rules){ v, have + 1, AUTHZ_OFF, NULL };
    c->rules = rules;
    return MU_OK;
}

static enum mu_rc merge(struct mu_arena *a, const void *base, const void *over, void *out)
{
    const struct authz_conf *b = base, *o = over;
    struct authz_conf *c = out;
    struct authz_rules *rules;

    if (!o->rules)
        return MU_OK;
    c->rules = o->rules;
    if (o->merging == AUTHZ_OFF || !b->rules)
        return MU_OK;
    rules = mu_new(a, struct authz_rules);
    if (!rules)
        return MU_NOMEM;
    *rules = *o->rules;
    rules->merging = (enum authz_merging)o->merging;
    rules->outer = b->rules;
    c->rules = rules;
    return MU_OK;
}

/* Denied as soon as nothing grants; lines of a <Limit> for other methods do not count. */
static bool is_granted(const struct authz_rules *rules, uint32_t method_bit)
{
    bool any = false, granted = false, here;

    for (size_t i = 0; i < rules->n; i++) {
        if (!(rules->v[i].methods & method_bit))
            continue;
        any = true;
        granted = granted || rules->v[i].is_granted;
    }
    here = !any || granted;
    if (!rules->outer)
        return here;
    if (rules->merging == AUTHZ_AND)
        return here && is_granted(rules->outer, method_bit);
    return (any && granted) || is_granted(rules->outer, method_bit);
}

static enum mu_status authorize(struct mu_req *r, const void *conf)
{
    const struct authz_conf *c = conf;
    enum mu_method m = r->method == MU_M_HEAD ? MU_M_GET : r->method;

    if (is_granted(c->rules, MU_METHOD_BIT(m)))
        return MU_STATUS_NONE;
    MU_LOG(&r->log, "authz_core", MU_LOG_ERR, "MU1050",
           "client denied by server configuration: %.*s",
           MU_FMT(r->filename.n ? r->filename : r->path));
    return MU_403_FORBIDDEN;
}

static bool is_active(const void *conf)
{
    return ((const struct authz_conf *)conf)->rules != NULL;
}

static const struct mu_enum_name merging_names[] = {
    { "Off", AUTHZ_OFF }, { "And", AUTHZ_AND }, { "Or", AUTHZ_OR }, { NULL, 0 }
};

static const struct mu_directive directives[] = {
    MU_DIR_CALL("Require", MU_IN_DIR | MU_OVR_AUTHCFG, 1, -1, set_require,
                "all granted, or all denied"),
    MU_DIR_ENUM("AuthMerging", struct authz_conf, merging, MU_IN_DIR | MU_OVR_AUTHCFG,
                merging_names, "how this section's requirements join those of the outer one"),
    MU_DIR_REFUSED("AuthzProviderAlias", MU_IN_SERVER,
                   "this version has no authorization providers but 'all'"),
    MU_DIR_END
};

MU_MODULE(authz_core, .conf_size = sizeof(struct authz_conf), .directives = directives,
          .merge = merge, .hooks = MU_HOOKS({ MU_PHASE_AUTHZ, 0, authorize, false, is_active }));
