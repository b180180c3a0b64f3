/*
 * complete: the end of an <ApplicationPool>. Who the processes are to be is found out here, in
 * whatever process reads the configuration, so that starting one later needs no name service; their
 * environment is made; and all that a process is made of is written down as one text, by which a
 * restart sees whether it is still the same pool.
 */
#include "pool/conf.h"

#include <muster/str.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static enum mu_rc check_path(struct mu_cmd *cmd, const char *name, struct mu_str path)
{
    if (!path.n || path.p[0] == '/')
        return MU_OK;
    return mu_cmd_error(cmd, "ApplicationPool: %s \"%.*s\" must begin with /", name, MU_FMT(path));
}

/* Of what the processes will see as `path`; `root` is their Chroot. */
static const char *seen_from_outside(struct mu_cmd *cmd, struct mu_str root, const char *path)
{
    return root.n ? mu_str_cat(cmd->arena, root, mu_str_c(path)).p : path;
}

static enum mu_rc check_folder(struct mu_cmd *cmd, const char *name, const char *path)
{
    struct stat st;

    if (path && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return MU_OK;
    return mu_cmd_error(cmd, "ApplicationPool: %s: %s is no folder", name, path ? path : "");
}

static enum mu_rc check_program(struct mu_cmd *cmd, const struct mu_pool_conf *p)
{
    const char *path = seen_from_outside(cmd, p->chroot, p->argv[0]);
    struct stat st;

    if (!path)
        return MU_NOMEM;
    if (stat(path, &st) != 0)
        return mu_cmd_error(cmd, "ApplicationPool %.*s: Command: %s: %s", MU_FMT(p->name), path,
                            strerror(errno));
    if (!S_ISREG(st.st_mode) || !(st.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)))
        return mu_cmd_error(cmd, "ApplicationPool %.*s: Command: %s is no program", MU_FMT(p->name),
                            path);
    return MU_OK;
}

static enum mu_rc check_places(struct mu_cmd *cmd, const struct mu_pool_conf *p)
{
    const char *dir = mu_cstr(cmd->arena, p->directory.n ? p->directory : MU_S("/"));

    if (check_path(cmd, "Chroot", p->chroot) != MU_OK ||
        check_path(cmd, "WorkingDirectory", p->directory) != MU_OK)
        return MU_BAD;
    if (p->chroot.n && geteuid() != 0)
        return mu_cmd_error(cmd, "ApplicationPool %.*s: Chroot needs a server started as root",
                            MU_FMT(p->name));
    if (!dir)
        return MU_NOMEM;
    if (p->chroot.n && check_folder(cmd, "Chroot", mu_cstr(cmd->arena, p->chroot)) != MU_OK)
        return MU_BAD;
    if (check_folder(cmd, "WorkingDirectory", seen_from_outside(cmd, p->chroot, dir)) != MU_OK)
        return MU_BAD;
    return check_program(cmd, p);
}

static enum mu_rc find_identity(struct mu_cmd *cmd, struct mu_pool_conf *p)
{
    struct mu_str err = MU_STR_NULL;
    bool is_root = geteuid() == 0;

    if (!p->user.n && !is_root)
        return p->group.n
                   ? mu_cmd_error(cmd, "ApplicationPool %.*s: Group needs a User", MU_FMT(p->name))
                   : MU_OK;
    if (!p->user.n)
        return mu_cmd_error(cmd,
                            "ApplicationPool %.*s: User is missing: say as whom its processes "
                            "shall run (not as root, and not as the web children)",
                            MU_FMT(p->name));
    if (mu_identity_resolve(cmd->arena, p->user, p->group, &p->identity, &err) != MU_OK)
        return mu_cmd_error(cmd, "ApplicationPool %.*s: %.*s", MU_FMT(p->name), MU_FMT(err));
    if (p->identity.uid == 0)
        return mu_cmd_error(cmd, "ApplicationPool %.*s: User \"%.*s\" is root", MU_FMT(p->name),
                            MU_FMT(p->user));
    if (!is_root && p->identity.uid != geteuid())
        return mu_cmd_error(cmd,
                            "ApplicationPool %.*s: User \"%.*s\" needs a server started as root",
                            MU_FMT(p->name), MU_FMT(p->user));
    return MU_OK;
}

static enum mu_rc check_numbers(struct mu_cmd *cmd, struct mu_pool_conf *p)
{
    if (p->manager != MU_POOL_DYNAMIC)
        return MU_OK;
    if (p->min_spare > p->max_spare)
        return mu_cmd_error(cmd, "ApplicationPool %.*s: MinSpare %lld is above MaxSpare %lld",
                            MU_FMT(p->name), (long long)p->min_spare, (long long)p->max_spare);
    if (p->min_spare > p->max_children)
        return mu_cmd_error(cmd, "ApplicationPool %.*s: MinSpare %lld is above MaxChildren %lld",
                            MU_FMT(p->name), (long long)p->min_spare, (long long)p->max_children);
    if (p->start_servers > p->max_children)
        return mu_cmd_error(
            cmd, "ApplicationPool %.*s: StartServers %lld is above MaxChildren %lld",
            MU_FMT(p->name), (long long)p->start_servers, (long long)p->max_children);
    if (p->start_servers == MU_POOL_UNSET)
        p->start_servers = p->min_spare + (p->max_spare - p->min_spare) / 2;
    if (p->start_servers > p->max_children)
        p->start_servers = p->max_children;
    return MU_OK;
}

/* ---- the environment ---- */

struct env {
    struct mu_arena *arena;
    struct mu_vec v;
    bool is_failed;
};

static size_t name_len(const char *s)
{
    return strcspn(s, "=");
}

/* "NAME=value": replaces one of that name. */
static void env_put(struct env *e, const char *pair)
{
    if (!pair) {
        e->is_failed = true;
        return;
    }
    for (size_t i = 0; i < e->v.n; i++) {
        const char *old = e->v.v[i];

        if (name_len(old) == name_len(pair) && memcmp(old, pair, name_len(pair)) == 0) {
            e->v.v[i] = (void *)(uintptr_t)pair;
            return;
        }
    }
    e->is_failed |= mu_vec_push(e->arena, &e->v, (void *)(uintptr_t)pair) != MU_OK;
}

static void env_put_written(struct env *e, struct mu_str word)
{
    const char *text = mu_cstr(e->arena, word), *value;

    if (!text || strchr(text, '=')) {
        env_put(e, text);
        return;
    }
    value = getenv(text);
    if (value)
        env_put(e, mu_fmt(e->arena, "%s=%s", text, value).p);
}

/* php-cgi ends by itself after 500 requests unless it is told otherwise. */
static bool is_php(const char *path)
{
    const char *slash = strrchr(path, '/');

    return strncmp(slash ? slash + 1 : path, "php", 3) == 0;
}

static enum mu_rc make_environment(struct mu_cmd *cmd, struct mu_pool_conf *p)
{
    struct env e = { .arena = cmd->arena };

    env_put(&e, "PATH=/usr/local/bin:/usr/bin:/bin");
    if (p->identity.user) {
        env_put(&e, mu_fmt(e.arena, "HOME=%s", p->identity.home).p);
        env_put(&e, mu_fmt(e.arena, "USER=%s", p->identity.user).p);
    }
    for (size_t i = 0; i < p->environment.n; i++)
        env_put_written(&e, p->environment.v[i]);
    if (is_php(p->argv[0]))
        env_put(&e, mu_fmt(e.arena, "PHP_FCGI_MAX_REQUESTS=%lld", (long long)p->max_requests).p);
    if (e.is_failed || mu_vec_push(e.arena, &e.v, NULL) != MU_OK)
        return MU_NOMEM;
    p->envp = (char **)e.v.v;
    return MU_OK;
}

/* ---- the definition ---- */

static void add_strings(struct mu_buf *b, const char *name, char *const *v)
{
    for (; *v; v++)
        mu_buf_addf(b, "%s %zu %s\n", name, strlen(*v), *v);
}

static enum mu_rc write_definition(struct mu_cmd *cmd, struct mu_pool_conf *p)
{
    struct mu_buf b = { 0 };

    add_strings(&b, "argv", p->argv);
    add_strings(&b, "env", p->envp);
    mu_buf_addf(&b, "identity %d %u %u\n", p->identity.user != NULL, (unsigned)p->identity.uid,
                (unsigned)p->identity.gid);
    for (size_t i = 0; i < p->identity.n_groups; i++)
        mu_buf_addf(&b, "group %u\n", (unsigned)p->identity.groups[i]);
    mu_buf_addf(&b, "places %zu %.*s %zu %.*s\n", p->chroot.n, MU_FMT(p->chroot), p->directory.n,
                MU_FMT(p->directory));
    mu_buf_addf(&b, "limits %lld %lld %lld %lld\n", (long long)p->limit_cpu_s,
                (long long)p->limit_memory, (long long)p->limit_files,
                (long long)p->limit_processes);
    if (!b.is_failed)
        p->definition = mu_str_dup(cmd->arena, mu_buf_str(&b));
    mu_buf_fini(&b);
    return p->definition.p ? MU_OK : MU_NOMEM;
}

enum mu_rc mu_pool_complete(struct mu_cmd *cmd, struct mu_pool_conf *p)
{
    enum mu_rc rc = MU_OK;

    if (p->has_command && !p->argv)
        return MU_BAD; /* its own line said why */
    if (!p->argv)
        return mu_cmd_error(cmd,
                            "ApplicationPool %.*s: Command is missing: the program to start, such "
                            "as Command /usr/bin/php-cgi8.2",
                            MU_FMT(p->name));
    if (check_places(cmd, p) != MU_OK)
        rc = MU_BAD;
    if (find_identity(cmd, p) != MU_OK)
        rc = MU_BAD;
    if (check_numbers(cmd, p) != MU_OK)
        rc = MU_BAD;
    if (rc == MU_OK)
        rc = make_environment(cmd, p);
    return rc == MU_OK ? write_definition(cmd, p) : rc;
}
