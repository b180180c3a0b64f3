/*
 * serve: `muster serve DIR` is an ordinary server whose configuration is made here instead of read
 * from a file: the lines stand where those of -C do, and the configuration file is /dev/null. A
 * restart executes the same command line again, with what was found out at the first start (the
 * port, above all) written into it. The folder's name reaches the configuration through an
 * environment variable, so that it may hold anything a name may hold.
 */
#include "cli/serve.h"

#include "cli/builtin.h"
#include "cli/serve_opts.h"
#include "cli/startup.h"

#include <base/proc.h>
#include <errno.h>
#include <muster/str.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINES_MAX = 64, BUILTIN_MAX = 64 };

/* Names of the environment by which the configuration below knows what is not a plain word. */
#define ENV_ROOT "MUSTER_SERVE_ROOT"

static const struct mu_serve_opts *opts; /* of this process */
static bool is_first_image;
static int reserved_fd = -1;

/* Directives that every `muster serve` has. Sections of modules that are not there are left out by
 * themselves. */
static const char *const common_lines[] = {
    "ErrorLog /dev/stderr",
    "LogLevel warn",
    "ServerTokens Prod",
    "DocumentRoot \"${" ENV_ROOT "}\"",
    "<Directory />",
    "    Options Indexes FollowSymLinks",
    "    AllowOverride None",
    "    Require all granted",
    "</Directory>",
    "<FilesMatch \"^\\.ht\">",
    "    Require all denied",
    "</FilesMatch>",
    "<IfModule dir_module>",
    "    DirectoryIndex index.html index.htm",
    "</IfModule>",
    "<IfModule mime_module>",
    "    AddCharset utf-8 .txt .md .csv .css .js",
    "</IfModule>",
    "<IfModule autoindex_module>",
    "    IndexOptions FancyIndexing HTMLTable FoldersFirst VersionSort NameWidth=* SuppressDescription Charset=UTF-8",
    "    IndexIgnore .??* *~ *#",
    "</IfModule>",
    "<IfModule mpm_prefork_module>",
    "    StartServers 2",
    "    MinSpareServers 2",
    "    MaxSpareServers 5",
    "</IfModule>",
    "<IfModule !mpm_prefork_module>",
    "    StartServers 1",
    "    MinSpareThreads 5",
    "    MaxSpareThreads 50",
    "</IfModule>",
    "LogFormat \"%h %l %u %t \\\"%r\\\" %>s %b\" common",
    "CustomLog /dev/stdout common",
    NULL
};

/* The module that tells where the server is, once its sockets are open. It is on in `muster serve`
 * alone. */
static enum mu_rc announce(struct mu_config *config)
{
    if (!is_first_image)
        return MU_OK;
    if (reserved_fd >= 0)
        close(reserved_fd);
    reserved_fd = -1;
    printf("Muster serves %s with the %s MPM on %s (Ctrl-C stops it)\n", opts->root,
           config->mpm_name, opts->url);
    fflush(stdout);
    return MU_OK;
}

static struct mu_module serve_module = { .abi = MU_MODULE_ABI,
                                         .name = "serve",
                                         .server_start = announce };

/* "a\"b" for the inside of a quoted argument. */
static char *escaped(const char *s)
{
    char *out = malloc(2 * strlen(s) + 1), *w = out;

    for (; out && *s; s++) {
        if (*s == '"' || *s == '\\')
            *w++ = '\\';
        *w++ = *s;
    }
    if (out)
        *w = '\0';
    return out;
}

static bool export_root(const char *root)
{
    char *text = escaped(root);
    bool is_good = text && setenv(ENV_ROOT, text, 1) == 0;

    free(text);
    return is_good;
}

static int fail(const char *what)
{
    fprintf(stderr, "muster serve: %s\n", what);
    return 1;
}

/*
 * Where the PidFile goes when the system gives the user no folder for such things: a folder below
 * /tmp that nobody else can write to. NULL, and said, when somebody else has made one of that name.
 */
static const char *own_folder(void)
{
    static char path[64];
    struct stat st;

    snprintf(path, sizeof(path), "/tmp/muster-serve-%lu", (unsigned long)geteuid());
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        fprintf(stderr, "muster serve: cannot create %s: %s\n", path, strerror(errno));
        return NULL;
    }
    if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
        !(st.st_mode & (S_IRWXG | S_IRWXO)))
        return path;
    fprintf(
        stderr,
        "muster serve: %s is no folder of this user's own (mode 0700): remove it, or name another "
        "place in XDG_RUNTIME_DIR\n",
        path);
    return NULL;
}

/* A place for the PidFile that belongs to this user, and a name that belongs to this address. NULL
 * is said already. */
static char *pid_file(const struct mu_serve_opts *o)
{
    const char *dir = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");
    struct stat st;
    char *path;

    if (!dir || stat(dir, &st) != 0 || !S_ISDIR(st.st_mode))
        dir = own_folder();
    if (!dir)
        return NULL;
    if (asprintf(&path, "PidFile \"%s/muster-serve-%lu-%s-%u.pid\"", dir, (unsigned long)geteuid(),
                 strcmp(o->bind, "*") == 0 ? "any" : o->bind, o->port) < 0) {
        (void)fail("out of memory");
        return NULL;
    }
    return path;
}

/* Whom the children run as when the server is started as root; NULL when it is not. */
static const char *unprivileged_user(void)
{
    if (geteuid() != 0)
        return NULL;
    return getpwnam("www-data") ? "www-data" : "nobody";
}

/* Can that user read the folder? Asked in a child process that becomes the user. */
static bool is_readable_by(const char *user, const char *root)
{
    struct mu_arena *a = mu_arena_create(0);
    struct mu_str err = MU_STR_NULL;
    struct mu_identity id;
    char why[256];
    int status = 1;
    pid_t pid;

    if (!a || mu_identity_resolve(a, mu_str_c(user), MU_STR_NULL, &id, &err) != MU_OK) {
        mu_arena_destroy(a);
        return true; /* the supervisor will say what is wrong with that user */
    }
    pid = fork();
    if (pid == 0)
        _exit(mu_identity_assume(&id, why, sizeof(why)) != MU_OK || access(root, R_OK | X_OK) == 0
                  ? 0
                  : 1);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    mu_arena_destroy(a);
    return pid < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* The lines of the configuration, NULL-terminated. They live as long as the process. */
static bool make_lines(const struct mu_serve_opts *o, char *pid_line, const char *user,
                       const char **lines)
{
    const char *listen = strcmp(o->bind, "*") == 0 ? "" : o->bind;
    bool is_v6 = strchr(listen, ':') != NULL;
    char *made[4] = { NULL };
    size_t n = 0;
    int rc = asprintf(&made[0], "LoadModule mpm_%s_module modules/mod_mpm_%s.so", o->mpm, o->mpm);

    rc = rc < 0 ? rc
                : asprintf(&made[1], "Listen %s%s%s%s%u", is_v6 ? "[" : "", listen,
                           is_v6 ? "]" : "", *listen ? ":" : "", o->port);
    rc = rc < 0 ? rc : asprintf(&made[2], "ServerName localhost:%u", o->port);
    made[3] = pid_line;
    if (rc < 0)
        return false;
    for (size_t i = 0; i < MU_ARRAY_LEN(made); i++)
        lines[n++] = made[i];
    if (user) {
        lines[n++] = strcmp(user, "nobody") == 0 ? "User nobody" : "User www-data";
        lines[n++] = strcmp(user, "nobody") == 0 ? "Group nogroup" : "Group www-data";
    }
    for (size_t i = 0; common_lines[i]; i++)
        lines[n++] = common_lines[i];
    lines[n] = NULL;
    static_assert(MU_ARRAY_LEN(common_lines) + MU_ARRAY_LEN(made) + 3 <= LINES_MAX,
                  "room for all lines");
    return true;
}

static struct mu_module *const *with_serve_module(struct mu_module *const *builtin)
{
    static struct mu_module *all[BUILTIN_MAX];
    size_t n = 0;

    while (n < BUILTIN_MAX - 2 && builtin[n]) {
        all[n] = builtin[n];
        n++;
    }
    all[n++] = &serve_module;
    all[n] = NULL;
    return all;
}

static int run(struct mu_serve_opts *o, struct mu_cli *cli)
{
    static const char *lines[LINES_MAX];
    const char *user = unprivileged_user();
    char *pid_line;

    if (is_first_image && user && !is_readable_by(user, o->root)) {
        fprintf(
            stderr,
            "muster serve: %s cannot be read by %s, as whom the children of a server started as root run: give others "
            "the right to read it (chmod o+rX), or start the server as somebody else\n",
            o->root, user);
        return 1;
    }
    if (is_first_image && !mu_serve_reserve(o, &reserved_fd))
        return 1;
    pid_line = pid_file(o);
    if (!pid_line)
        return 1;
    if (!mu_serve_argv(o) || !export_root(o->root) || !make_lines(o, pid_line, user, lines))
        return fail("out of memory");
    cli->super.argv = o->argv;
    cli->super.groups = mu_builtin_groups;
    cli->super.is_foreground = true;
    cli->super.config.server_root = "/";
    cli->super.config.file = "/dev/null";
    cli->super.config.before = lines;
    cli->super.config.builtin = with_serve_module(mu_builtin_modules);
    mu_startup_begin(cli);
    return mu_super_run(&cli->super);
}

int mu_serve(int argc, char **argv, const char *module_dir)
{
    static struct mu_cli cli = {
        .super = { .rehearse_fd = -1, .takeover_fd = -1, .takeover_exe_fd = -1 },
        .level = MU_LOG_NOTICE
    };
    static struct mu_serve_opts o;
    char **rest = calloc((size_t)argc + 1, sizeof(*rest));
    int n = rest ? mu_cli_take_hidden(&cli.super, argc, argv, rest) : -1;
    int status = n < 0 ? 1 : mu_serve_parse(&o, n, rest);

    free(rest);
    if (n < 0)
        return fail("cannot understand the command line of a restart");
    if (status >= 0)
        return status;
    opts = &o;
    is_first_image = cli.super.rehearse_fd < 0 && cli.super.takeover_fd < 0;
    cli.super.config.module_dir = module_dir;
    return run(&o, &cli);
}
