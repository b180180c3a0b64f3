/* mod_actions: Action has a program answer for files of a type or handler, Script for a method.
 *
 * The program is reached by an internal redirect to its own address, with the request's path behind
 * it as path information. Which program it is, is decided among the last fix-ups: a handler that a
 * module provides is left alone, as in httpd, where actions are asked last.
 */
#include <muster/http.h>
#include <muster/map.h>
#include <muster/module.h>

struct action {
    struct mu_str script;
    bool is_virtual; /**< there need not be a file */
};

struct actions_conf {
    struct mu_map *actions; /**< type or handler (any case) → struct action; NULL: none */
    struct mu_str scripts[MU_M_COUNT]; /**< by method; p == NULL: none */
    uint32_t methods;                  /**< that have one */
};

/* The handler's name; no configuration says it. */
#define SELF "actions-redirect"
#define NOTE_SCRIPT "actions-script"

extern struct mu_module mu_module_actions;

static enum mu_rc set_action(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct actions_conf *c = conf;
    struct action *a = mu_new(cmd->arena, struct action);

    if (!c->actions)
        c->actions = mu_map_create(cmd->arena, true);
    if (!a || !c->actions)
        return mu_cmd_error(cmd, "out of memory");
    if (n == 3 && !mu_str_ieq(args[2], MU_S("virtual")))
        return mu_cmd_error(cmd, "found '%.*s', the third argument can only be virtual",
                            MU_FMT(args[2]));
    a->script = args[1];
    a->is_virtual = n == 3;
    return mu_map_set(c->actions, args[0], a) == MU_OK ? MU_OK : mu_cmd_error(cmd, "out of memory");
}

static enum mu_rc set_script(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct actions_conf *c = conf;
    enum mu_method m = mu_method_parse(args[0]);

    (void)n;
    if (m == MU_M_OTHER)
        return mu_cmd_error(cmd, "unknown method '%.*s' for Script", MU_FMT(args[0]));
    if (m == MU_M_TRACE)
        return mu_cmd_error(cmd, "TRACE is not allowed for Script");
    if (m == MU_M_HEAD) /* httpd knows no HEAD of its own either */
        m = MU_M_GET;
    c->scripts[m] = args[1];
    c->methods |= MU_METHOD_BIT(m);
    return MU_OK;
}

static enum mu_rc merge(struct mu_arena *a, const void *base, const void *over, void *out)
{
    const struct actions_conf *b = base, *o = over;
    struct actions_conf *c = out;

    for (int m = 0; m < MU_M_COUNT; m++) {
        if (o->scripts[m].p)
            c->scripts[m] = o->scripts[m];
    }
    c->methods |= o->methods;
    if (!o->actions)
        return MU_OK;
    c->actions = mu_map_create(a, true);
    if (!c->actions || mu_map_merge(c->actions, b->actions) != MU_OK)
        return MU_NOMEM;
    return mu_map_merge(c->actions, o->actions);
}

/* By method. A GET without a query is a plain file; two redirects deep, the program is none. */
static struct mu_str script_for_method(const struct mu_req *r, const struct actions_conf *c)
{
    enum mu_method m = r->method == MU_M_HEAD ? MU_M_GET : r->method;

    if ((m == MU_M_GET && !r->query.p) || (r->prev && r->prev->prev))
        return MU_STR_NULL;
    return c->scripts[m];
}

static struct mu_str type_of(const struct mu_req *r)
{
    ssize_t end = mu_str_chr(r->content_type, ';');

    return mu_str_trim(end < 0 ? r->content_type : mu_str_sub(r->content_type, 0, (size_t)end));
}

static enum mu_status choose(struct mu_req *r, const void *conf)
{
    const struct actions_conf *c = conf;
    struct mu_str name = r->handler.n ? r->handler : type_of(r), script;
    const struct action *a = NULL;

    if (r->handler.n && mu_req_has_handler(r, r->handler))
        return MU_STATUS_NONE;
    script = script_for_method(r, c);
    if (c->actions && name.n)
        a = mu_map_get(c->actions, name);
    if (a && !a->is_virtual && r->finfo.type == MU_FT_NONE) {
        MU_LOG(&r->log, "actions", MU_LOG_INFO, "MU1220", "file does not exist: %.*s",
               MU_FMT(r->filename));
        return MU_404_NOT_FOUND;
    }
    if (a) {
        script = a->script;
        mu_req_env_set(r, MU_S("HANDLER"), name); /* REDIRECT_HANDLER to the program */
    }
    if (!script.p)
        return MU_STATUS_NONE;
    mu_req_note_set(r, MU_S(NOTE_SCRIPT), script);
    r->handler = MU_S(SELF);
    return MU_STATUS_NONE;
}

/* Somebody else may have set it: only what was chosen above counts. */
static enum mu_status redirect(struct mu_req *r, const void *conf)
{
    struct mu_str script = mu_req_note(r, MU_S(NOTE_SCRIPT)), path;

    (void)conf;
    if (!script.p)
        return MU_STATUS_NONE;
    path = mu_str_cat(r->arena, script, r->path);
    return path.p ? mu_internal_redirect(r, path, r->query) : MU_503_SERVICE_UNAVAILABLE;
}

static bool is_active(const void *conf)
{
    const struct actions_conf *c = conf;

    return c->actions || c->methods;
}

static const struct mu_directive directives[] = {
    MU_DIR_CALL("Action", MU_IN_SERVER | MU_IN_DIR | MU_OVR_FILEINFO, 2, 3, set_action,
                "a media type or handler, the address of a program, and virtual"),
    MU_DIR_CALL("Script", MU_IN_SERVER | MU_IN_DIR, 2, 2, set_script,
                "a method and the address of a program"),
    MU_DIR_END
};

MU_MODULE(actions, .conf_size = sizeof(struct actions_conf), .directives = directives,
          .merge = merge, .handlers = MU_HANDLERS({ SELF, redirect, MU_ANY_METHOD, false, false }),
          .hooks = MU_HOOKS({ MU_PHASE_FIXUP, 1000, choose, false, is_active }));
