/* mod_probe: "Mark x" leaves its mark in X-Marks in merge order; handlers that redirect, include
 * and stream. */
#include "probe.h"

#include <muster/module.h>

struct probe_conf {
    struct mu_str marks;
    struct mu_str redirect;
    bool denies;
};

unsigned probe_logs;
int probe_logged;

static enum mu_rc set_mark(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct probe_conf *c = conf;

    (void)n;
    c->marks = c->marks.n ? mu_str_cat(cmd->arena, c->marks, MU_S(" "), args[0])
                          : mu_str_dup(cmd->arena, args[0]);
    return c->marks.p ? MU_OK : MU_NOMEM;
}

static enum mu_rc merge(struct mu_arena *a, const void *base, const void *over, void *out)
{
    const struct probe_conf *b = base, *o = over;
    struct probe_conf *c = out;

    if (b->marks.n && o->marks.n)
        c->marks = mu_str_cat(a, b->marks, MU_S(" "), o->marks);
    else
        c->marks = b->marks.n ? b->marks : o->marks;
    return MU_OK;
}

static enum mu_status fixup(struct mu_req *r, const void *conf)
{
    const struct probe_conf *c = conf;

    mu_resp_set(r, MU_S("X-Marks"), c->marks);
    mu_resp_set(r, MU_S("X-File"), r->filename);
    mu_resp_set(r, MU_S("X-Info"), r->path_info);
    for (uint32_t i = 0; i < r->env.n; i++)
        mu_resp_set(r, mu_str_cat(r->arena, MU_S("X-Env-"), r->env.v[i].name), r->env.v[i].value);
    return MU_STATUS_NONE;
}

static enum mu_status access_check(struct mu_req *r, const void *conf)
{
    (void)r;
    return ((const struct probe_conf *)conf)->denies ? MU_403_FORBIDDEN : MU_STATUS_NONE;
}

static bool is_access_active(const void *conf)
{
    return ((const struct probe_conf *)conf)->denies;
}

static enum mu_status log_hook(struct mu_req *r, const void *conf)
{
    (void)conf;
    probe_logs++;
    probe_logged = (int)r->status;
    return MU_STATUS_NONE;
}

static enum mu_status redirect(struct mu_req *r, const void *conf)
{
    mu_req_env_set(r, MU_S("KEPT"), MU_S("yes"));
    return mu_internal_redirect(r, ((const struct probe_conf *)conf)->redirect, MU_S("q=1"));
}

/* Shows two sub-requests around some text of its own. */
static enum mu_status include(struct mu_req *r, const void *conf)
{
    struct mu_req *sub = mu_subreq_lookup(r, MU_S("part.txt"), MU_STR_NULL);

    (void)conf;
    if (!sub || sub->status != MU_200_OK)
        return MU_500_INTERNAL_SERVER_ERROR;
    if (mu_resp_write(r, MU_S("<")) != MU_OK || mu_subreq_run(sub) != MU_200_OK ||
        mu_resp_write(r, MU_S("|")) != MU_OK)
        return MU_200_OK;
    sub = mu_subreq_lookup(r, MU_S("missing.txt"), MU_STR_NULL);
    (void)!mu_resp_printf(r, "%d>", sub && sub->finfo.type == MU_FT_REG);
    return MU_200_OK;
}

static enum mu_status text(struct mu_req *r, const void *conf)
{
    (void)conf;
    r->etag = MU_S("\"fixed\"");
    mu_resp_type(r, MU_S("text/plain"));
    return mu_resp_send(r, MU_200_OK, MU_S("0123456789"));
}

static enum mu_status teapot(struct mu_req *r, const void *conf)
{
    (void)r;
    (void)conf;
    return (enum mu_status)418;
}

/* Answers to every handler that begins with "probe:", and says which it was. */
static enum mu_status prefixed(struct mu_req *r, const void *conf)
{
    (void)conf;
    return mu_resp_send(r, MU_200_OK, r->handler);
}

static const struct mu_directive directives[] = {
    MU_DIR_CALL("Mark", MU_IN_SERVER | MU_IN_DIR, 1, 1, set_mark, "a word for X-Marks"),
    MU_DIR_STR("RedirectTo", struct probe_conf, redirect, MU_IN_SERVER | MU_IN_DIR,
               "where redirect leads"),
    MU_DIR_FLAG("Deny", struct probe_conf, denies, MU_IN_SERVER | MU_IN_DIR, "answer 403"),
    MU_DIR_END
};

MU_MODULE(probe, .conf_size = sizeof(struct probe_conf), .directives = directives, .merge = merge,
          .handlers = MU_HANDLERS({ "redirect", redirect, MU_GET | MU_HEAD, false, false },
                                  { "include", include, MU_GET, false, false },
                                  { "text", text, MU_GET | MU_HEAD, false, false },
                                  { "teapot", teapot, MU_GET, false, false },
                                  { "probe:", prefixed, MU_GET, false, false },
                                  { "probe:text:", text, MU_GET, false, false }),
          .hooks = MU_HOOKS({ MU_PHASE_FIXUP, 0, fixup, false, NULL },
                            { MU_PHASE_ACCESS, 0, access_check, false, is_access_active },
                            { MU_PHASE_LOG, 0, log_hook, false, NULL }));
