/*
 * startup: messages about the configuration, filtered by -e and sent where -E says, and the check
 * that each DocumentRoot is there, which httpd makes at every start (-T leaves it out). An image
 * that takes a running server over finds standard error where it shall be, and its tree rehearsed:
 * it does neither.
 */
#include "cli/startup.h"

#include <base/errorlog.h>
#include <base/path.h>
#include <errno.h>
#include <fcntl.h>
#include <muster/buf.h>
#include <muster/str.h>
#include <server/conn.h>
#include <server/core_conf.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct mu_cli *cli; /* of this process */
static bool is_holding;
static struct mu_buf held;

static void print_held(void)
{
    if (held.n)
        fprintf(stderr, "%.*s", (int)held.n, held.p);
    mu_buf_fini(&held);
    held = (struct mu_buf){ 0 };
}

static void report(void *arg, bool is_error, const char *text)
{
    (void)arg;
    if (!is_error && cli->level < MU_LOG_WARN)
        return;
    if (is_holding && !is_error) {
        mu_buf_add(&held, mu_str_c(text));
        mu_buf_addc(&held, '\n');
        return;
    }
    print_held();
    fprintf(stderr, "%s\n", text);
}

void mu_startup_hold(void)
{
    is_holding = true;
}

void mu_startup_release(bool is_printed)
{
    is_holding = false;
    if (!is_printed)
        mu_buf_fini(&held);
    print_held();
}

/* As in httpd, a virtual host may come before its folder: others shall not stand still for it. */
static enum mu_rc check_document_root(struct mu_config *c, const struct mu_vhost *v)
{
    struct mu_str root = mu_core_of(v->base)->document_root, file;
    const char *path = mu_cstr(c->arena, root);
    struct stat st;
    unsigned line;

    if (!root.n || !mu_config_where(c, v, MU_S("DocumentRoot"), &file, &line))
        return MU_OK;
    if (!path)
        return mu_config_error(c, "out of memory");
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return MU_OK;
    if (!v->is_main) {
        mu_config_warn(c, "%.*s:%u: DocumentRoot '%s' does not exist", MU_FMT(file), line, path);
        return MU_OK;
    }
    return mu_config_error(c, "%.*s:%u: DocumentRoot '%s' is not a directory, or is not readable",
                           MU_FMT(file), line, path);
}

static void print_debug(const struct mu_config *c)
{
    for (size_t i = 0; i < c->modules_n; i++) {
        if (mu_config_module_handle(c, c->modules[i]))
            fprintf(stderr, "muster: debug: loaded module %s_module\n", c->modules[i]->name);
    }
    fprintf(stderr, "muster: debug: read %.*s, ServerRoot %.*s\n", MU_FMT(c->config_file),
            MU_FMT(c->server_root));
}

static enum mu_rc prepare(struct mu_config *c)
{
    enum mu_rc rc = MU_OK;

    if (cli->level >= MU_LOG_DEBUG)
        print_debug(c);
    for (size_t i = 0; !cli->skips_document_roots && i < c->vhosts_n; i++) {
        if (check_document_root(c, c->vhosts[i]) != MU_OK)
            rc = MU_BAD;
    }
    return mu_server_prepare(c) == MU_OK ? rc : MU_BAD;
}

/* -E: standard error becomes the file, until ErrorLog takes over. */
static void replace_stderr(const char *name)
{
    const char *root =
        cli->super.config.server_root ? cli->super.config.server_root : MU_SERVER_ROOT;
    struct mu_arena *a = mu_arena_create(0);
    struct mu_str path = a ? mu_path_rooted(a, mu_str_c(root), mu_str_c(name)) : MU_STR_NULL;
    int fd = path.p ? open(path.p, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;

    if (fd < 0) {
        fprintf(stderr, "muster: could not open error log file %s: %s\n", path.p ? path.p : name,
                strerror(errno));
    } else {
        dup2(fd, STDERR_FILENO);
        close(fd);
    }
    mu_arena_destroy(a);
}

/* The server's own messages before ErrorLog is open follow -e, too. */
static void set_log_level(enum mu_log_level level)
{
    static uint8_t levels[MU_LOG_MODULES];
    static struct mu_arena *arena; /* as long as the process */
    struct mu_log *log;

    arena = mu_arena_create(0);
    log = arena ? mu_errorlog_create(arena) : NULL;
    if (!log)
        return;
    mu_log_levels_init(levels);
    if (mu_log_levels_add(levels, mu_str_c(mu_log_level_name(level))) != MU_OK)
        return;
    mu_errorlog_set_levels(log, levels);
    mu_errorlog_set_main(log);
}

void mu_startup_begin(struct mu_cli *c)
{
    bool is_first = c->super.rehearse_fd < 0 && c->super.takeover_fd < 0;

    cli = c;
    /* The image before, executed again through a descriptor, would be called by its number. */
    if (c->super.is_fallback)
        prctl(PR_SET_NAME, mu_cli_name(c->super.argv));
    c->super.config.report = report;
    c->super.prepare = is_first || c->super.rehearse_fd >= 0 ? prepare : mu_server_prepare;
    if (!is_first)
        return;
    if (c->error_file)
        replace_stderr(c->error_file);
    if (c->level != MU_LOG_NOTICE)
        set_log_level(c->level);
}
