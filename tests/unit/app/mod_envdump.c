/* mod_envdump: "SetHandler envdump" answers with the environment an application would get. */
#include "mod_envdump.h"

#include <muster/cgi.h>

static enum mu_status dump(struct mu_req *r, const void *conf)
{
    struct mu_cgi_env env;

    (void)conf;
    if (mu_cgi_env_make(r, &env) != MU_OK)
        return MU_503_SERVICE_UNAVAILABLE;
    for (size_t i = 0; i < env.n; i++) {
        if (mu_resp_printf(r, "%.*s=%.*s\n", MU_FMT(env.v[i].name), MU_FMT(env.v[i].value)) !=
            MU_OK)
            return MU_200_OK;
    }
    return MU_200_OK;
}

static enum mu_status go(struct mu_req *r, const void *conf)
{
    mu_req_env_set(r, MU_S("KEPT"), MU_S("yes"));
    return mu_internal_redirect(r, ((const struct envdump_conf *)conf)->to, MU_S("b=2"));
}

/* Somebody has logged in, and something is wrong with what is asked. */
static enum mu_status access_check(struct mu_req *r, const void *conf)
{
    const struct envdump_conf *c = conf;

    if (c->user.n) {
        r->user = c->user;
        r->auth_type = MU_S("Basic");
    }
    if (!c->notes.n)
        return MU_STATUS_NONE;
    mu_req_note_set(r, MU_S("error-notes"), c->notes);
    return MU_403_FORBIDDEN;
}

static const struct mu_directive directives[] = {
    MU_DIR_STR("DumpGoTo", struct envdump_conf, to, MU_IN_SERVER | MU_IN_DIR, "where envgo leads"),
    MU_DIR_STR("DumpUser", struct envdump_conf, user, MU_IN_SERVER | MU_IN_DIR, "who it is"),
    MU_DIR_STR("DumpNotes", struct envdump_conf, notes, MU_IN_SERVER | MU_IN_DIR,
               "403, with notes"),
    MU_DIR_END
};

MU_MODULE(envdump, .conf_size = sizeof(struct envdump_conf), .directives = directives,
          .handlers = MU_HANDLERS({ "envdump", dump, MU_ANY_METHOD, false, false },
                                  { "cgi-script", dump, MU_ANY_METHOD, false, false },
                                  { "envgo", go, MU_ANY_METHOD, false, false }),
          .hooks = MU_HOOKS({ MU_PHASE_ACCESS, 0, access_check, false, NULL }));
