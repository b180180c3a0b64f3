/*
 * spawn_suexec: whom SuexecUserGroup may name, and which scripts run as that one: the checks of
 * httpd's suexec(8). The user, the group and the folders come from the configuration by an index;
 * the request has a path and an environment to say. The path is looked up from a descriptor of the
 * folder downwards, and the program is started from the descriptor of its directory: what was
 * checked is what runs, or something that the target user or root has put in its place.
 */
#include "app/app_conf.h"
#include "app/spawn.h"

#include <conf/config.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <muster/log.h>
#include <muster/module.h>
#include <muster/str.h>
#include <server/core_conf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ID_MIN = 100 }; /* Debian's AP_UID_MIN and AP_GID_MIN: below are the system's own */

#define SAFE_PATH "PATH=/usr/local/bin:/usr/bin:/bin"
#define USER_FOLDER "/public_html"

/* ---- the target ---- */

static bool is_allowed(const struct mu_suexec *s)
{
    if (s->uid >= ID_MIN && s->gid >= ID_MIN)
        return true;
    MU_LOG(NULL, "suexec", MU_LOG_ERR, "MU1323",
           "SuexecUserGroup %s %s: ids below %d (here %u and %u) are the system's own; no script "
           "runs as one of them",
           s->user, s->group, ID_MIN, s->uid, s->gid);
    return false;
}

static int index_of(const struct mu_vhost *v)
{
    const struct app_conf *c = mu_vhost_conf(v, &mu_module_app);

    return c->suexec ? c->suexec->index : -1;
}

static size_t count_servers(const struct mu_config *config)
{
    size_t n = 0;

    while (mu_config_vhost(config, n))
        n++;
    return n;
}

/* The DocumentRoots of all servers that name entry `index`, and the user's own folder. */
static const char **list_roots(const struct mu_config *config, int index, struct mu_arena *a,
                               const struct mu_identity *id)
{
    size_t servers = count_servers(config), n = 0;
    const char **roots = mu_new_n(a, const char *, servers + 2);

    for (size_t i = 0; roots && i < servers; i++) {
        const struct mu_vhost *v = mu_config_vhost(config, i);
        struct mu_str root = mu_core_of(v->base)->document_root;

        if (index_of(v) != index || !root.n)
            continue;
        roots[n] = mu_cstr(a, root);
        if (!roots[n++])
            return NULL;
    }
    if (roots && strcmp(id->home, "/") != 0) {
        struct mu_str own = mu_str_cat(a, mu_str_c(id->home), MU_S(USER_FOLDER), MU_S(""));

        roots[n] = own.p ? mu_cstr(a, own) : NULL;
    }
    return roots;
}

enum mu_rc mu_suexec_resolve(const struct mu_config *config, int index, struct mu_arena *a,
                             struct mu_suexec_target *out)
{
    const struct mu_suexec *s = mu_config_suexec(config, index);
    struct mu_str err = MU_STR_NULL;
    enum mu_rc rc;

    if (!s)
        return MU_NOENT;
    if (!is_allowed(s))
        return MU_DENIED;
    rc = mu_identity_resolve(a, mu_str_c(s->user), mu_str_c(s->group), &out->id, &err);
    if (rc == MU_NOENT || (rc == MU_OK && (out->id.uid != s->uid || out->id.gid != s->gid))) {
        MU_LOG(NULL, "suexec", MU_LOG_ERR, "MU1324", "SuexecUserGroup %s %s: %.*s", s->user,
               s->group, MU_FMT(rc == MU_OK ? MU_S("it is somebody else since the start") : err));
        return MU_DENIED;
    }
    if (rc != MU_OK)
        return rc;
    out->roots = list_roots(config, index, a, &out->id);
    return out->roots ? MU_OK : MU_NOMEM;
}

/* ---- the script ---- */

static int open_beneath(int root, const char *path)
{
    struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };

    return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* What follows the folder in the path; NULL: it is not below it. */
static const char *below(const char *path, const char *root)
{
    size_t n = strlen(root);

    while (n > 1 && root[n - 1] == '/')
        n--;
    return n > 1 && strncmp(path, root, n) == 0 && path[n] == '/' ? path + n + 1 : NULL;
}

static bool has_dots(const char *path)
{
    size_t n = strlen(path);

    return strstr(path, "/../") || strncmp(path, "../", 3) == 0 ||
           (n >= 3 && strcmp(path + n - 3, "/..") == 0);
}

static const char *look_at_dir(int fd, const struct mu_identity *id)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || !S_ISDIR(st.st_mode))
        return "its directory cannot be looked at";
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return "its directory is writable by group or others";
    if (st.st_uid != id->uid || st.st_gid != id->gid)
        return "its directory belongs to another user or group";
    return NULL;
}

static const char *look_at_file(int dir, const char *name, const struct mu_identity *id)
{
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? "there is no such file" : "it cannot be looked at";
    if (!S_ISREG(st.st_mode))
        return "it is no regular file";
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return "it is writable by group or others";
    if (st.st_mode & (S_ISUID | S_ISGID))
        return "it is setuid or setgid";
    if (st.st_uid != id->uid || st.st_gid != id->gid)
        return "it belongs to another user or group";
    if (!(st.st_mode & S_IXUSR))
        return "its owner may not execute it";
    return NULL;
}

/* The directory of `rest` below `root`, which is cut there. -1 with errno. */
static int open_dir_of(const char *root, const char *rest)
{
    const char *slash = strrchr(rest, '/');
    char *dir = slash ? strndup(rest, (size_t)(slash - rest)) : strdup(".");
    int top = dir ? open(root, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    int fd = top >= 0 ? open_beneath(top, *dir ? dir : ".") : -1;

    if (top >= 0)
        close(top);
    free(dir);
    return fd;
}

void mu_suexec_check(const struct mu_suexec_target *t, const char *path,
                     struct mu_suexec_checked *out)
{
    const char *rest = NULL, *slash = strrchr(path, '/');
    size_t i = 0;

    *out = (struct mu_suexec_checked){ .dir_fd = -1, .name = slash ? slash + 1 : "" };
    if (!*out->name || has_dots(path) || strlen(out->name) > NAME_MAX) {
        out->reason = "its path has a '..', or no name at the end";
        return;
    }
    while (t->roots[i] && !(rest = below(path, t->roots[i])))
        i++;
    if (!rest) {
        out->reason = "it lies neither below the DocumentRoot nor in the user's public_html";
        return;
    }
    out->dir_fd = open_dir_of(t->roots[i], rest);
    if (out->dir_fd < 0) {
        out->reason = errno == EXDEV ? "a symbolic link leads out of the DocumentRoot"
                                     : "that user cannot reach its directory";
        return;
    }
    out->reason = look_at_dir(out->dir_fd, &t->id);
    if (!out->reason)
        out->reason = look_at_file(out->dir_fd, out->name, &t->id);
}

/* ---- its environment ---- */

static const char *const safe_prefixes[] = { "HTTP_", "SSL_" };
static const char *const safe_names[] = { "AUTH_TYPE",
                                          "CONTENT_LENGTH",
                                          "CONTENT_TYPE",
                                          "CONTEXT_DOCUMENT_ROOT",
                                          "CONTEXT_PREFIX",
                                          "DATE_GMT",
                                          "DATE_LOCAL",
                                          "DOCUMENT_NAME",
                                          "DOCUMENT_PATH_INFO",
                                          "DOCUMENT_ROOT",
                                          "DOCUMENT_URI",
                                          "GATEWAY_INTERFACE",
                                          "HTTPS",
                                          "LAST_MODIFIED",
                                          "PATH_INFO",
                                          "PATH_TRANSLATED",
                                          "QUERY_STRING",
                                          "QUERY_STRING_UNESCAPED",
                                          "REMOTE_ADDR",
                                          "REMOTE_HOST",
                                          "REMOTE_IDENT",
                                          "REMOTE_PORT",
                                          "REMOTE_USER",
                                          "REDIRECT_ERROR_NOTES",
                                          "REDIRECT_HANDLER",
                                          "REDIRECT_QUERY_STRING",
                                          "REDIRECT_REMOTE_USER",
                                          "REDIRECT_SCRIPT_FILENAME",
                                          "REDIRECT_STATUS",
                                          "REDIRECT_URL",
                                          "REQUEST_METHOD",
                                          "REQUEST_SCHEME",
                                          "REQUEST_URI",
                                          "SCRIPT_FILENAME",
                                          "SCRIPT_NAME",
                                          "SCRIPT_URI",
                                          "SCRIPT_URL",
                                          "SERVER_ADDR",
                                          "SERVER_ADMIN",
                                          "SERVER_NAME",
                                          "SERVER_PORT",
                                          "SERVER_PROTOCOL",
                                          "SERVER_SIGNATURE",
                                          "SERVER_SOFTWARE",
                                          "TZ",
                                          "UNIQUE_ID",
                                          "USER_NAME" };

static bool is_safe(const char *variable)
{
    size_t n = strcspn(variable, "=");

    for (size_t i = 0; i < MU_ARRAY_LEN(safe_prefixes); i++) {
        if (strncmp(variable, safe_prefixes[i], strlen(safe_prefixes[i])) == 0)
            return true;
    }
    for (size_t i = 0; i < MU_ARRAY_LEN(safe_names); i++) {
        if (strlen(safe_names[i]) == n && strncmp(variable, safe_names[i], n) == 0)
            return true;
    }
    return false;
}

void mu_suexec_clean_env(char **envp)
{
    static char path[] = SAFE_PATH;
    size_t kept = 0;

    for (size_t i = 0; envp[i]; i++) {
        if (is_safe(envp[i]))
            envp[kept++] = envp[i];
    }
    envp[kept++] = path;
    envp[kept] = NULL;
}
