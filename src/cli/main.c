/*
 * main: from the command line to the supervisor, or to what shall be printed instead. Nothing of the server's life is
 * decided here.
 */
#include "cli/builtin.h"
#include "cli/control.h"
#include "cli/options.h"

#include <limits.h>
#include <server/conn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int usage(const char *name, FILE *to)
{
    fprintf(to,
            "Usage: %s [-D name] [-d directory] [-f file]\n"
            "          [-C \"directive\"] [-c \"directive\"]\n"
            "          [-k start|restart|graceful|graceful-stop|stop]\n"
            "          [-v] [-V] [-h] [-t] [-X]\n"
            "  -D name           : define a name for <IfDefine>; FOREGROUND keeps the server in the foreground\n"
            "  -d directory      : another ServerRoot\n"
            "  -f file           : another configuration file\n"
            "  -C \"directive\"    : read a directive before the configuration files\n"
            "  -c \"directive\"    : read a directive after the configuration files\n"
            "  -k word           : start the server, or signal the one that runs\n"
            "  -v                : print the version\n"
            "  -V                : print how the server was built\n"
            "  -t                : check the configuration\n"
            "  -X                : debug: one child, in the foreground, without fork\n",
            name);
    return 1;
}

static void print_version(void)
{
    printf("Server version: Muster/%s (compatible; Apache/2.4.71)\n", MU_VERSION);
}

/* The first of these folders that is there: beside the executable, or as installed. */
static const char *find_modules(void)
{
    static const char *const places[] = { "modules", "../lib/muster/modules", "../libexec/muster" };
    static char path[PATH_MAX];
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    struct stat st;
    char *slash;

    if (n <= 0)
        return NULL;
    self[n] = '\0';
    slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; i < MU_ARRAY_LEN(places); i++) {
        if (snprintf(path, sizeof(path), "%s/%s", self, places[i]) < (int)sizeof(path) && stat(path, &st) == 0 &&
            S_ISDIR(st.st_mode))
            return path;
    }
    return NULL;
}

static int run(const struct mu_cli *cli)
{
    struct mu_config *config;
    struct mu_mpm_limits limits;
    int status = 0;

    if (cli->action == MU_CLI_RUN && cli->control == MU_CTL_NONE)
        return mu_super_run(&cli->super);
    if (mu_super_configure(&cli->super.config, cli->super.prepare, &config, &limits) != MU_OK)
        return 1;
    if (cli->action == MU_CLI_TEST)
        fprintf(stderr, "Syntax OK\n");
    else
        status = mu_cli_control(cli, config);
    mu_config_destroy(config);
    return status < 0 ? mu_super_run(&cli->super) : status;
}

static int act(const struct mu_cli *cli, const char *name)
{
    if (cli->is_wrong)
        return usage(name, stderr);
    switch (cli->action) {
    case MU_CLI_USAGE:
        return usage(name, stdout);
    case MU_CLI_VERSION:
        print_version();
        return 0;
    case MU_CLI_SETTINGS:
        print_version();
        printf(" -D HTTPD_ROOT=\"%s\"\n -D SERVER_CONFIG_FILE=\"conf/httpd.conf\"\n", MU_SERVER_ROOT);
        return 0;
    case MU_CLI_TEST:
    case MU_CLI_RUN:
        break;
    }
    return run(cli);
}

int main(int argc, char **argv)
{
    static struct mu_cli cli; /* to the end: children look into it, too */
    int status;

    if (mu_cli_parse(&cli, argc, argv) != MU_OK) {
        fprintf(stderr, "muster: out of memory\n");
        return 1;
    }
    cli.super.prepare = mu_server_prepare;
    cli.super.config.builtin = mu_builtin_modules;
    cli.super.config.module_dir = find_modules();
    status = act(&cli, argv[0]);
    mu_cli_fini(&cli);
    return status;
}
