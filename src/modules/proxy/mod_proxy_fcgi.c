/*
 * mod_proxy_fcgi: backends that speak FastCGI. The conversation itself is the server's (mu_fcgi_run); here stands what
 * httpd's module of this name lets a configuration say about it: what the application is told of the script and its
 * path, and last changes to its variables.
 */
#include "expr.h"

#include <sys/stat.h>

enum backend { BACKEND_FPM, BACKEND_GENERIC };

/** One ProxyFCGISetEnvIf. */
struct fixup {
    const struct proxy_expr *condition;
    struct mu_str name;
    const struct proxy_text *value; /**< NULL: the variable is removed */
};

struct fixups {
    const struct fixup **v;
    size_t n;
};

struct fcgi_conf {
    int backend; /**< enum backend */
    struct fixups fixups;
    bool passes_client;
};

/* ---- directives ---- */

static enum mu_rc add_fixup(struct mu_cmd *cmd, struct fixups *l, const struct fixup *f)
{
    const struct fixup **v = mu_new_n(cmd->arena, const struct fixup *, l->n + 1);

    if (!v)
        return MU_NOMEM;
    if (l->n)
        memcpy(v, l->v, l->n * sizeof(*v));
    v[l->n++] = f;
    l->v = v;
    return MU_OK;
}

static enum mu_rc set_env_if(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct fixup *f = mu_new(cmd->arena, struct fixup);
    bool is_removal = mu_str_starts(args[1], MU_S("!"));

    if (!f)
        return MU_NOMEM;
    f->name = is_removal ? mu_str_sub(args[1], 1, args[1].n) : args[1];
    if (!f->name.n || mu_str_chr(f->name, '=') >= 0)
        return mu_cmd_error(cmd, "found '%.*s', expected the name of a variable, or ! and a name",
                            MU_FMT(args[1]));
    if (is_removal && n > 2)
        return mu_cmd_error(cmd, "a variable that is removed takes no value, found '%.*s'",
                            MU_FMT(args[2]));
    f->condition = proxy_expr_parse(cmd, args[0]);
    if (!f->condition)
        return MU_BAD;
    if (!is_removal)
        f->value = proxy_text_parse(cmd, n > 2 ? args[2] : MU_S(""));
    if (!is_removal && !f->value)
        return MU_BAD;
    return add_fixup(cmd, &((struct fcgi_conf *)conf)->fixups, f);
}

static enum mu_rc merge(struct mu_arena *a, const void *base, const void *over, void *out)
{
    const struct fixups *b = &((const struct fcgi_conf *)base)->fixups;
    const struct fixups *o = &((const struct fcgi_conf *)over)->fixups;
    struct fixups *all = &((struct fcgi_conf *)out)->fixups;

    if (!b->n || !o->n) {
        *all = b->n ? *b : *o;
        return MU_OK;
    }
    all->v = mu_new_n(a, const struct fixup *, b->n + o->n);
    if (!all->v)
        return MU_NOMEM;
    memcpy(all->v, b->v, b->n * sizeof(*b->v));
    memcpy(all->v + b->n, o->v, o->n * sizeof(*o->v));
    all->n = b->n + o->n;
    return MU_OK;
}

/* ---- the path ---- */

struct walk {
    const char *path;
    size_t n;
    size_t file_n; /**< bytes of the path that name a file; 0: none do */
};

/* The shortest part of the path, cut at a slash, that is a file. */
static void find_file(void *arg)
{
    struct walk *w = arg;
    char path[4096];
    struct stat st;

    if (w->n >= sizeof(path))
        return;
    for (size_t i = 1; i <= w->n; i++) {
        if (i < w->n && w->path[i] != '/')
            continue;
        memcpy(path, w->path, i);
        path[i] = 0;
        if (stat(path, &st) != 0)
            return;
        if (S_ISREG(st.st_mode)) {
            w->file_n = i;
            return;
        }
    }
}

static struct mu_str decode(struct mu_arena *a, struct mu_str s)
{
    char *p = mu_arena_alloc(a, s.n + 1);
    size_t n = 0;

    if (!p)
        return MU_STR_NULL;
    for (size_t i = 0; i < s.n; i++) {
        int high = i + 2 < s.n && s.p[i] == '%' ? mu_hex(s.p[i + 1]) : -1;
        int low = high >= 0 ? mu_hex(s.p[i + 2]) : -1;

        if (low >= 0 && (high || low)) {
            p[n++] = (char)(high << 4 | low);
            i += 2;
        } else {
            p[n++] = s.p[i];
        }
    }
    p[n] = 0;
    return mu_str_n(p, n);
}

/* Where the path information begins: behind a dot and then a slash. path.n: nowhere. */
static size_t behind_dot(struct mu_str path, ssize_t dot)
{
    ssize_t slash = dot < 0 ? -1 : mu_str_chr(mu_str_sub(path, (size_t)dot, path.n), '/');

    return slash < 0 ? path.n : (size_t)(dot + slash);
}

/*
 * What the path names on this machine, and what is behind it. *is_found: r->filename is that file.
 * Returns false when memory is out.
 */
static bool split_at_file(struct mu_req *r, struct mu_str url_path, bool *is_found)
{
    struct mu_str path = decode(r->arena, url_path);
    struct walk walk = { path.p, path.n, 0 };

    if (!path.p)
        return false;
    mu_offload_file(find_file, &walk);
    *is_found = walk.file_n > 0;
    r->path_info = *is_found ? mu_str_sub(path, walk.file_n, path.n) : MU_STR_NULL;
    if (!*is_found)
        return true;
    r->filename = mu_str_dup(r->arena, mu_str_sub(path, 0, walk.file_n));
    return r->filename.p;
}

/*
 * The variable proxy-fcgi-pathinfo says how to tell the path information from the rest of a ProxyPass address; without
 * it the application does. *is_found: r->filename is the file's own name. Returns false when memory is out.
 */
static bool split_path(struct mu_req *r, const struct proxy_call *call, bool *is_found)
{
    struct mu_str how = mu_req_env(r, MU_S("proxy-fcgi-pathinfo")), path = call->url.path, info;

    *is_found = false;
    if (!how.p || call->is_handler)
        return true;
    if (mu_str_ieq(how, MU_S("full")))
        return split_at_file(r, path, is_found);
    info = path;
    if (mu_str_ieq(how, MU_S("first-dot")))
        info = mu_str_sub(path, behind_dot(path, mu_str_chr(path, '.')), path.n);
    else if (mu_str_ieq(how, MU_S("last-dot")))
        info = mu_str_sub(path, behind_dot(path, mu_str_rchr(path, '.')), path.n);
    else if (!mu_str_ieq(how, MU_S("unescape"))) {
        r->path_info = path;
        return true;
    }
    r->path_info = info.n ? decode(r->arena, info) : MU_STR_NULL;
    return !info.n || r->path_info.p;
}

/*
 * php-fpm knows "proxy:fcgi://host:port/path" as SCRIPT_FILENAME and finds out itself where in it the script ends; others
 * are told the path.
 */
static void set_filename(struct mu_req *r, const struct proxy_call *call,
                         const struct fcgi_conf *conf)
{
    if (!call->is_handler && conf->backend == BACKEND_GENERIC)
        r->filename = call->url.path.n ? call->url.path : MU_S("/");
}

/* ---- requests ---- */

static enum mu_rc adjust(struct mu_req *r, struct mu_cgi_env *env, void *arg)
{
    const struct proxy_call *call = arg;
    const struct fcgi_conf *conf = call->priv;
    enum mu_rc rc = MU_OK;

    for (size_t i = 0; i < conf->fixups.n && rc == MU_OK; i++) {
        const struct fixup *f = conf->fixups.v[i];
        struct proxy_scope scope = { .r = r, .env = env };
        struct mu_str value;

        if (!proxy_expr_eval(f->condition, &scope))
            continue;
        if (!f->value) {
            mu_cgi_env_unset(env, f->name);
            continue;
        }
        value = proxy_text_eval(f->value, &scope);
        rc = value.p ? mu_cgi_env_set(env, f->name, value) : MU_NOMEM;
    }
    return rc;
}

enum mu_status proxy_fcgi_run(struct mu_req *r, struct proxy_call *call)
{
    const struct fcgi_conf *conf = mu_req_conf(r, &mu_module_proxy_fcgi, struct fcgi_conf);
    struct mu_fcgi_opts o = {
        .name = call->name,
        .io_ms = call->io_ms,
        .streams_body = !call->conf->buffers_requests,
        .flushes = call->p->flush == PROXY_FLUSH_ON,
        .flushes_pauses = call->p->flush == PROXY_FLUSH_AUTO,
        .wants_keep = call->p->reuses,
        .passes_client = conf->passes_client && call->url.unix_path.p,
        .adjust = conf->fixups.n ? adjust : NULL,
        .replaces_error = call->replaces_error,
        .open = proxy_open,
        .close = proxy_close,
        .arg = call,
    };
    bool is_found;

    call->priv = conf;
    if (!split_path(r, call, &is_found))
        return MU_503_SERVICE_UNAVAILABLE;
    if (!is_found)
        set_filename(r, call, conf);
    return mu_fcgi_run(r, &o);
}

/* ---- the module ---- */

static const struct mu_enum_name backends[] = { { "FPM", BACKEND_FPM },
                                                { "GENERIC", BACKEND_GENERIC },
                                                { NULL, 0 } };

#define SRVDIR (MU_IN_SERVER | MU_IN_DIR | MU_OVR_FILEINFO)
static const struct mu_directive directives[] = {
    MU_DIR_ENUM("ProxyFCGIBackendType", struct fcgi_conf, backend, SRVDIR, backends,
                "FPM: php-fpm finds the script in the address; GENERIC: the path is told"),
    MU_DIR_CALL("ProxyFCGISetEnvIf", SRVDIR, 2, 3, set_env_if,
                "a condition, a variable for the application (or ! and one to remove), its value"),
    MU_DIR_FLAG("ProxyFCGIPassClient", struct fcgi_conf, passes_client, MU_IN_SERVER | MU_IN_DIR,
                "On: an application on a Unix socket may take over the client's connection"),
    MU_DIR_END
};

MU_MODULE(proxy_fcgi, .conf_size = sizeof(struct fcgi_conf), .directives = directives,
          .merge = merge);
