/* mod_app: the directives that hold for applications whatever way they are run, and what is asked
 * about them.
 *
 * SuexecUserGroup is kept as a numbered list of the configuration: what a process of the server
 * may say to the one that starts programs is a number of that list and nothing else.
 */
#include "app_conf.h"

#include <grp.h>
#include <muster/str.h>
#include <pwd.h>
#include <server/core_conf.h>

/* ---- php_value and its kin ---- */

static enum mu_rc php_put(struct mu_arena *a, struct app_php *list,
                          const struct mu_php_value *value)
{
    struct mu_php_value *v = mu_new_n(a, struct mu_php_value, list->n + 1);
    size_t i = 0;

    if (!v)
        return MU_NOMEM;
    if (list->n)
        memcpy(v, list->v, list->n * sizeof(*v));
    while (i < list->n && !mu_str_eq(v[i].name, value->name))
        i++;
    /* What the administrator fixed further out is not changed from inside. */
    if (i == list->n || value->is_admin || !v[i].is_admin)
        v[i] = *value;
    *list = (struct app_php){ v, i == list->n ? list->n + 1 : list->n };
    return MU_OK;
}

static enum mu_rc php_add(struct mu_cmd *cmd, void *conf, struct mu_php_value value)
{
    struct app_conf *c = conf;

    for (size_t i = 0; i < value.name.n; i++) {
        char b = value.name.p[i];

        if ((unsigned char)b <= ' ' || b == '=' || b == 0x7f)
            return mu_cmd_error(cmd, "'%.*s' is no name of a PHP setting", MU_FMT(value.name));
    }
    /* PHP_VALUE carries one setting a line (FastCGI). */
    if (!value.name.n || (value.value.n && memchr(value.value.p, '\n', value.value.n)))
        return mu_cmd_error(cmd, "a PHP setting has a name and a value in one line");
    if (php_put(cmd->arena, &c->php, &value) != MU_OK)
        return mu_cmd_error(cmd, "out of memory");
    return MU_OK;
}

static bool is_admin_form(const struct mu_cmd *cmd)
{
    return mu_str_istarts(mu_str_c(cmd->directive->name), MU_S("php_admin_"));
}

static enum mu_rc set_php_value(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct mu_str value = mu_str_ieq(args[1], MU_S("none")) ? MU_S("") : args[1];

    (void)n;
    return php_add(cmd, conf, (struct mu_php_value){ args[0], value, is_admin_form(cmd) });
}

static enum mu_rc set_php_flag(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    bool is_on = mu_str_ieq(args[1], MU_S("On")) || mu_str_eq(args[1], MU_S("1"));

    (void)n;
    return php_add(
        cmd, conf,
        (struct mu_php_value){ args[0], is_on ? MU_S("1") : MU_S("0"), is_admin_form(cmd) });
}

static enum mu_rc php_merge(struct mu_arena *a, const struct app_php *base,
                            const struct app_php *over, struct app_php *out)
{
    *out = *base;
    for (size_t i = 0; i < over->n; i++) {
        if (php_put(a, out, &over->v[i]) != MU_OK)
            return MU_NOMEM;
    }
    return MU_OK;
}

const struct mu_php_value *mu_req_php_values(const struct mu_req *r, size_t *n)
{
    const struct app_php *list = &app_conf_of(r)->php;

    *n = list->n;
    return list->v;
}

/* ---- limits ---- */

static bool parse_limit(struct mu_str s, uint64_t *out)
{
    if (!mu_str_ieq(s, MU_S("max")))
        return mu_str_u64(s, out) && *out < UINT64_MAX;
    *out = UINT64_MAX;
    return true;
}

/* soft [hard]; without the second the hard limit stays as it is. */
static enum mu_rc set_limit(struct mu_cmd *cmd, struct mu_app_limit *limit,
                            const struct mu_str *args, size_t n)
{
    struct mu_app_limit l = { .is_set = true, .hard = UINT64_MAX };

    if (!parse_limit(args[0], &l.soft) || (n > 1 && !parse_limit(args[1], &l.hard)))
        return mu_cmd_error(cmd, "found '%.*s', expected a number or max",
                            MU_FMT(args[parse_limit(args[0], &l.soft) ? 1 : 0]));
    if (l.hard != UINT64_MAX && l.soft > l.hard)
        return mu_cmd_error(cmd, "the soft limit %.*s is above the hard limit %.*s",
                            MU_FMT(args[0]), MU_FMT(args[1]));
    *limit = l;
    return MU_OK;
}

static enum mu_rc set_cpu(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    return set_limit(cmd, &((struct app_conf *)conf)->limits.cpu_s, args, n);
}
static enum mu_rc set_mem(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    return set_limit(cmd, &((struct app_conf *)conf)->limits.mem_bytes, args, n);
}
static enum mu_rc set_nproc(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    return set_limit(cmd, &((struct app_conf *)conf)->limits.nproc, args, n);
}

struct mu_app_limits mu_req_app_limits(const struct mu_req *r)
{
    return app_conf_of(r)->limits;
}

/* ---- SuexecUserGroup ---- */

/* "#1000" is a number, as in User and Group. */
static bool parse_id(struct mu_str s, uint64_t *id)
{
    return mu_str_starts(s, MU_S("#")) && mu_str_u64(mu_str_sub(s, 1, s.n), id) && *id < UINT32_MAX;
}

static bool find_user(struct mu_str name, const char *text, uint32_t *uid)
{
    const struct passwd *pw;
    uint64_t id;

    if (parse_id(name, &id)) {
        *uid = (uint32_t)id;
        return true;
    }
    pw = getpwnam(text);
    if (pw)
        *uid = pw->pw_uid;
    return pw != NULL;
}

static bool find_group(struct mu_str name, const char *text, uint32_t *gid)
{
    const struct group *gr;
    uint64_t id;

    if (parse_id(name, &id)) {
        *gid = (uint32_t)id;
        return true;
    }
    gr = getgrnam(text);
    if (gr)
        *gid = gr->gr_gid;
    return gr != NULL;
}

static enum mu_rc set_suexec(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct mu_suexec *s = mu_new(cmd->arena, struct mu_suexec);

    (void)n;
    if (!s || !(s->user = mu_cstr(cmd->arena, args[0])) ||
        !(s->group = mu_cstr(cmd->arena, args[1])))
        return mu_cmd_error(cmd, "out of memory");
    s->index = -1;
    if (!find_user(args[0], s->user, &s->uid))
        return mu_cmd_error(cmd, "bad user name '%s': there is no such user", s->user);
    if (!find_group(args[1], s->group, &s->gid))
        return mu_cmd_error(cmd, "bad group name '%s': there is no such group", s->group);
    if (s->uid == 0 || s->gid == 0)
        return mu_cmd_error(cmd, "SuexecUserGroup never names root or root's group, found %s %s",
                            s->user, s->group);
    ((struct app_conf *)conf)->suexec = s;
    return MU_OK;
}

static enum mu_rc set_suexec_switch(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                    size_t n)
{
    bool is_on;

    (void)n;
    if (!mu_parse_flag(args[0], &is_on))
        return mu_cmd_error(cmd, "found '%.*s', expected On or Off", MU_FMT(args[0]));
    ((struct app_conf *)conf)->is_suexec_off = !is_on;
    return MU_OK;
}

static struct app_conf *server_conf(const struct mu_config *config, size_t i)
{
    const struct mu_vhost *v = mu_config_vhost(config, i);

    return v ? (struct app_conf *)(uintptr_t)mu_vhost_conf(v, &mu_module_app) : NULL;
}

/* Number what the servers use, in the order of the servers. */
static enum mu_rc check(struct mu_config *config, struct mu_arena *a)
{
    struct app_conf *first = server_conf(config, 0), *c;
    size_t n = 0;

    while (server_conf(config, n))
        n++;
    first->suexecs = mu_new_n(a, struct mu_suexec *, n);
    if (!first->suexecs)
        return mu_config_error(config, "out of memory");
    for (size_t i = 0; (c = server_conf(config, i)) != NULL; i++) {
        if (!c->suexec || c->suexec->index >= 0)
            continue;
        c->suexec->index = (int)first->suexecs_n;
        first->suexecs[first->suexecs_n++] = c->suexec;
    }
    if (first->is_suexec_off && first->suexecs_n)
        mu_config_warn(config, "SuexecUserGroup is configured, but Suexec is Off: scripts run as "
                               "the server's own user");
    return app_php_names_collect(config, a, first);
}

int mu_req_suexec(const struct mu_req *r)
{
    const struct app_conf *c = mu_vhost_conf(r->vhost, &mu_module_app);

    return c->suexec && !c->is_suexec_off ? c->suexec->index : -1;
}

const struct mu_suexec *mu_config_suexec(const struct mu_config *config, int index)
{
    const struct app_conf *first = server_conf(config, 0);

    return first && index >= 0 && (size_t)index < first->suexecs_n ? first->suexecs[index] : NULL;
}

/* ---- CGIVar, X-Sendfile, path information ---- */

static enum mu_rc set_cgi_var(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct app_conf *c = conf;

    (void)n;
    if (!mu_str_ieq(args[0], MU_S("REQUEST_URI")))
        return mu_cmd_error(cmd, "found '%.*s', the only variable with rules is REQUEST_URI",
                            MU_FMT(args[0]));
    if (!mu_str_ieq(args[1], MU_S("original-uri")) && !mu_str_ieq(args[1], MU_S("current-uri")))
        return mu_cmd_error(cmd, "found '%.*s', allowed are original-uri and current-uri",
                            MU_FMT(args[1]));
    c->uses_current_uri = mu_str_ieq(args[1], MU_S("current-uri"));
    return MU_OK;
}

static enum mu_rc strs_push(struct mu_arena *a, struct mu_strs *list, struct mu_str s)
{
    struct mu_str *v = mu_new_n(a, struct mu_str, list->n + 1);

    if (!v || !s.p)
        return MU_NOMEM;
    if (list->n)
        memcpy(v, list->v, list->n * sizeof(*v));
    v[list->n] = s;
    *list = (struct mu_strs){ v, list->n + 1 };
    return MU_OK;
}

static enum mu_rc set_root(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct mu_str path = mu_cmd_path(cmd, args[0]);
    const char *text = path.p ? mu_cstr(cmd->arena, path) : NULL;

    (void)n;
    if (!text || strs_push(cmd->arena, &((struct app_conf *)conf)->roots, mu_str_c(text)) != MU_OK)
        return mu_cmd_error(cmd, "out of memory");
    return MU_OK;
}

static enum mu_rc set_unescape(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    bool is_on;

    (void)n;
    if (!mu_parse_flag(args[0], &is_on))
        return mu_cmd_error(cmd, "found '%.*s', expected On or Off", MU_FMT(args[0]));
    ((struct app_conf *)conf)->takes_raw_names = !is_on;
    return MU_OK;
}

bool mu_req_accepts_path_info(const struct mu_req *r, bool by_default)
{
    int said = mu_core_of(r->conf)->accept_path_info;

    return said == MU_PATH_INFO_DEFAULT ? by_default : said == MU_PATH_INFO_ON;
}

/* ---- the module ---- */

static enum mu_rc merge(struct mu_arena *a, const void *base, const void *over, void *out)
{
    const struct app_conf *b = base, *o = over;
    struct app_conf *c = out;

    for (size_t i = 0; i < o->roots.n; i++) {
        if (strs_push(a, &c->roots, o->roots.v[i]) != MU_OK)
            return MU_NOMEM;
    }
    return php_merge(a, &b->php, &o->php, &c->php);
}

#define SRVDIR (MU_IN_SERVER | MU_IN_DIR)
#define C struct app_conf
static const struct mu_directive directives[] = {
    MU_DIR_FLAG("CGIPassAuth", C, passes_auth, MU_IN_DIR | MU_OVR_AUTHCFG,
                "On: applications see the Authorization field"),
    MU_DIR_CUSTOM("CGIVar", C, uses_current_uri, SRVDIR | MU_OVR_FILEINFO, 2, 2, set_cgi_var,
                  "REQUEST_URI, and original-uri or current-uri"),
    MU_DIR_CUSTOM("RLimitCPU", C, limits.cpu_s, SRVDIR | MU_OVR_ALL, 1, 2, set_cpu,
                  "soft and hard limit of CPU seconds of scripts; max is the largest allowed"),
    MU_DIR_CUSTOM("RLimitMEM", C, limits.mem_bytes, SRVDIR | MU_OVR_ALL, 1, 2, set_mem,
                  "soft and hard limit of memory of scripts in bytes"),
    MU_DIR_CUSTOM("RLimitNPROC", C, limits.nproc, SRVDIR | MU_OVR_ALL, 1, 2, set_nproc,
                  "soft and hard limit of processes of scripts"),
    MU_DIR_CUSTOM("SuexecUserGroup", C, suexec, MU_IN_SERVER, 2, 2, set_suexec,
                  "user and group that a server's scripts run as"),
    MU_DIR_CUSTOM("Suexec", C, is_suexec_off, MU_IN_GLOBAL, 1, 1, set_suexec_switch,
                  "Off: SuexecUserGroup has no effect"),
    MU_DIR_CALL("php_value", SRVDIR | MU_OVR_OPTIONS, 2, 2, set_php_value,
                "name and value of a PHP setting"),
    MU_DIR_CALL("php_flag", SRVDIR | MU_OVR_OPTIONS, 2, 2, set_php_flag,
                "name of a PHP setting, and On or Off"),
    MU_DIR_CALL("php_admin_value", SRVDIR, 2, 2, set_php_value,
                "the same, not to be changed by scripts"),
    MU_DIR_CALL("php_admin_flag", SRVDIR, 2, 2, set_php_flag,
                "the same, not to be changed by scripts"),
    MU_DIR_FLAG("XSendFile", C, sends_files, SRVDIR | MU_OVR_FILEINFO,
                "On: the file that an application names in X-Sendfile is the answer"),
    MU_DIR_CALL("XSendFilePath", SRVDIR, 1, 1, set_root,
                "folder whose files may be named in X-Sendfile"),
    MU_DIR_FLAG("XSendFileIgnoreEtag", C, ignores_etag, SRVDIR | MU_OVR_FILEINFO,
                "On: the file's ETag instead of the application's"),
    MU_DIR_FLAG("XSendFileIgnoreLastModified", C, ignores_last_modified, SRVDIR | MU_OVR_FILEINFO,
                "On: the file's Last-Modified instead of the application's"),
    MU_DIR_CUSTOM("XSendFileUnescape", C, takes_raw_names, SRVDIR | MU_OVR_FILEINFO, 1, 1,
                  set_unescape, "Off: names in X-Sendfile are taken as they stand"),
    MU_DIR_END
};
#undef C

MU_MODULE(app, .conf_size = sizeof(struct app_conf), .directives = directives, .merge = merge,
          .check = check);

/* Parts of the server by now, whose names LoadModule and <IfModule> know. */
MU_MODULE(suexec);
MU_MODULE(xsendfile);
