/*
 * info: -v, -V, -l, -L, -S, -M and -h. Scripts, control panels and configuration management read
 * these, so the labels, columns and order are httpd's. What belongs to httpd alone (APR, suexec) is
 * left out rather than made up.
 */
#include "cli/info.h"

#include <base/proc.h>
#include <grp.h>
#include <muster/str.h>
#include <pwd.h>
#include <server/core_conf.h>
#include <server/room.h>
#include <string.h>
#include <super/settings.h>
#include <unistd.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define MU_STRING_(x) #x
#define MU_STRING(x) MU_STRING_(x)

void mu_info_usage(const char *name, FILE *to)
{
    int indent = (int)strlen(name) + 7;

    fprintf(to,
            "Usage: %s [-D name] [-d directory] [-f file]\n"
            "%*s [-C \"directive\"] [-c \"directive\"]\n"
            "%*s [-k start|restart|graceful|graceful-stop|stop]\n"
            "%*s [-v] [-V] [-h] [-l] [-L] [-t] [-T] [-S] [-M] [-X]\n"
            "       %s serve DIR [--port N] [--bind ADDRESS] [--mpm event|worker|prefork]\n"
            "       %s pool list|status|reload|stop|start [NAME] [-d directory] [-f file]\n",
            name, indent, "", indent, "", indent, "", name, name);
    fputs(
        "Options:\n"
        "  -D name            : define a name for <IfDefine name>; -DFOREGROUND stays in the foreground\n"
        "  -d directory       : another ServerRoot to start from\n"
        "  -f file            : another configuration file\n"
        "  -C \"directive\"     : carry out the directive before the configuration files\n"
        "  -c \"directive\"     : carry out the directive after the configuration files\n"
        "  -e level           : show start-up messages down to this level (see LogLevel)\n"
        "  -E file            : write start-up messages to this file\n"
        "  -k word            : start the server, or tell the running one to stop or to restart\n"
        "  -v                 : show the version\n"
        "  -V                 : show the version and how the server was built\n"
        "  -h                 : show this list\n"
        "  -l                 : list the modules that are compiled in\n"
        "  -L                 : list the directives\n"
        "  -t -D DUMP_VHOSTS  : show the virtual hosts\n"
        "  -t -D DUMP_RUN_CFG : show what the server would run with\n"
        "  -S                 : the same as -t -D DUMP_VHOSTS -D DUMP_RUN_CFG\n"
        "  -t -D DUMP_MODULES : show the modules that are on\n"
        "  -M                 : the same as -t -D DUMP_MODULES\n"
        "  -t -D DUMP_INCLUDES: show the configuration files that are read\n"
        "  -t -D DUMP_CONFIG  : show the directives that are in force, with file and line\n"
        "  -t                 : check the configuration\n"
        "  -T                 : start without looking whether each DocumentRoot is there\n"
        "  -X                 : debug: one process, in the foreground\n",
        to);
}

void mu_info_version(void)
{
    puts("Server version: Muster/" MU_VERSION " (compatible; Apache/2.4.71)");
    puts("Server built:   " __DATE__ " " __TIME__);
}

static void print_mpm(const struct mu_config *config)
{
    const struct mu_mpm *mpm = config ? mu_config_mpm(config) : NULL;

    printf("Server MPM:     %s\n", mpm ? mpm->name : "");
    if (!mpm)
        return;
    printf("  threaded:     %s\n", mpm->is_threaded ? "yes (fixed thread count)" : "no");
    puts("    forked:     yes (variable process count)");
}

void mu_info_settings(const struct mu_config *config)
{
    char loaded[64] = "";

    pcre2_config(PCRE2_CONFIG_VERSION, loaded);
    mu_info_version();
    printf("Server's Module Magic Number: %u:0\n", MU_MODULE_ABI);
    printf("Server loaded:  PCRE %s\n", loaded);
    puts("Compiled using: PCRE " MU_STRING(PCRE2_MAJOR) "." MU_STRING(PCRE2_MINOR) " " MU_STRING(
        PCRE2_DATE));
    printf("Architecture:   %zu-bit\n", 8 * sizeof(void *));
    print_mpm(config);
    puts("Server compiled with....\n"
         " -D AP_HAVE_RELIABLE_PIPED_LOGS\n"
         " -D HTTPD_ROOT=\"" MU_SERVER_ROOT "\"\n"
         " -D DEFAULT_PIDLOG=\"logs/muster.pid\"\n"
         " -D DEFAULT_ERRORLOG=\"logs/error_log\"\n"
         " -D AP_TYPES_CONFIG_FILE=\"/etc/mime.types\"\n"
         " -D SERVER_CONFIG_FILE=\"conf/muster.conf\"\n"
         " -D MUSTER_MODULES_DIR=\"" MU_MODULES_DIR "\"");
}

static void print_module_file(const char *name)
{
    if (strcmp(name, "core") == 0)
        puts("  core.c");
    else if (strcmp(name, "http") == 0)
        puts("  http_core.c");
    else if (strncmp(name, "mpm_", 4) == 0)
        printf("  %s.c\n", name + 4);
    else
        printf("  mod_%s.c\n", name);
}

static bool is_listed(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

void mu_info_modules(struct mu_module *const *builtin)
{
    /* As httpd lists them, with the parts of the core that are modules there. */
    static const char *const first[] = { "core",       "so",    "watchdog", "http",
                                         "log_config", "logio", "version",  "unixd" };

    puts("Compiled in modules:");
    for (size_t i = 0; i < MU_ARRAY_LEN(first); i++)
        print_module_file(first[i]);
    for (; *builtin; builtin++) {
        if (!is_listed(first, MU_ARRAY_LEN(first), (*builtin)->name))
            print_module_file((*builtin)->name);
    }
}

void mu_info_directives(const struct mu_config *config, struct mu_module *const *builtin)
{
    size_t n = 0;

    if (config) {
        mu_config_print_directives(config->modules, config->modules_n);
        return;
    }
    while (builtin[n])
        n++;
    mu_config_print_directives(builtin, n);
}

static bool is_elsewhere(struct mu_str log)
{
    return log.p[0] == '/' || log.p[0] == '|' || mu_str_istarts(log, MU_S("syslog")) ||
           mu_str_ieq(log, MU_S("stderr"));
}

/* As httpd writes whom the children run as; "not_used" when the server is not started as root. */
static void print_identity(struct mu_config *config)
{
    const struct mu_super_conf *c = mu_super_conf_of(config);
    const char *unused = geteuid() == 0 ? "" : " not_used";
    struct mu_str err = MU_STR_NULL;
    const struct passwd *user;
    const struct group *group;
    struct mu_identity id;

    if (!c->user.n)
        return;
    if (mu_identity_resolve(config->arena, c->user, c->group, &id, &err) != MU_OK) {
        printf("User: name=\"%.*s\" unknown: %.*s\n", MU_FMT(c->user), MU_FMT(err));
        return;
    }
    user = getpwuid(id.uid);
    printf("User: name=\"%s\" id=%lu%s\n", user ? user->pw_name : "", (unsigned long)id.uid,
           unused);
    group = getgrgid(id.gid);
    printf("Group: name=\"%s\" id=%lu%s\n", group ? group->gr_name : "", (unsigned long)id.gid,
           unused);
}

static void print_run_settings(struct mu_config *c)
{
    const struct mu_super_conf *s = mu_super_conf_of(c);
    const struct mu_core_conf *core = mu_core_of(c->main->base);
    struct mu_str log = core->error_log;
    bool is_relative = log.n && !is_elsewhere(log);

    printf("ServerRoot: \"%.*s\"\n", MU_FMT(c->server_root));
    printf("Main DocumentRoot: \"%.*s\"\n", MU_FMT(core->document_root));
    printf("Main ErrorLog: \"%.*s%s%.*s\"\n", is_relative ? (int)c->server_root.n : 0,
           c->server_root.p, is_relative ? "/" : "", MU_FMT(log));
    puts("Mutex default: dir=\"\" mechanism=none ");
    printf("Mutex mpm-accept: %s\n",
           s->has_accept_lock ? "dir=\"\" mechanism=pthread " : "using_defaults");
    printf("PidFile: \"%s\"\n", mu_super_pid_path(c));
    mu_config_print_defines(c);
    print_identity(c);
}

void mu_info_dump(struct mu_config *config, unsigned dumps)
{
    if (dumps & MU_DUMP_INCLUDES)
        mu_config_print_includes(config);
    if (dumps & MU_DUMP_CONFIG)
        mu_config_print_tree(config);
    if (dumps & MU_DUMP_VHOSTS)
        mu_server_print_vhosts(config);
    if (dumps & MU_DUMP_RUN_CFG)
        print_run_settings(config);
    if (dumps & MU_DUMP_MODULES)
        mu_config_print_modules(config);
}
