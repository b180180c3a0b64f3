/*
 * main: from the command line to the supervisor, or to what shall be printed instead. Nothing of
 * the server's life is decided here.
 */
#include "cli/builtin.h"
#include "cli/control.h"
#include "cli/info.h"
#include "cli/options.h"
#include "cli/pools.h"
#include "cli/serve.h"
#include "cli/startup.h"

#include <base/proc.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <super/settings.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_directory(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Where the server's own modules are: beside the executable (a build tree), or as installed,
 * wherever that was moved. */
static const char *find_modules(void)
{
    static const char *const places[] = { "modules", MU_MODULES_FROM_EXE };
    static char path[PATH_MAX];
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    self[n > 0 ? n : 0] = '\0';
    slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; slash && i < MU_ARRAY_LEN(places); i++) {
        if (snprintf(path, sizeof(path), "%s/%s", self, places[i]) < (int)sizeof(path) &&
            is_directory(path))
            return path;
    }
    return is_directory(MU_MODULES_DIR) ? MU_MODULES_DIR : NULL;
}

/* -V and -L read the configuration for a part of what they print; the rest is printed in any
 * case. */
static int print_with_config(const struct mu_cli *cli)
{
    struct mu_config *config = NULL;
    struct mu_mpm_limits limits;
    int status = 0;

    mu_startup_hold();
    if (mu_super_configure(&cli->super.config, cli->super.prepare, &config, &limits) != MU_OK)
        status = 1;
    mu_startup_release(false);
    if (cli->action == MU_CLI_SETTINGS)
        mu_info_settings(config);
    else
        mu_info_directives(config, mu_builtin_modules);
    mu_config_destroy(config);
    return status;
}

static int test(const struct mu_cli *cli)
{
    struct mu_config *config;
    struct mu_mpm_limits limits;
    struct mu_identity identity;
    bool is_silent = cli->dumps & (MU_DUMP_VHOSTS | MU_DUMP_RUN_CFG | MU_DUMP_MODULES);
    int status = 0;

    if (mu_super_configure(&cli->super.config, cli->super.prepare, &config, &limits) != MU_OK)
        return 1;
    mu_info_dump(config, cli->dumps);
    if (mu_super_check_groups(&cli->super, config) != MU_OK)
        status = 1;
    else if (!is_silent && mu_super_identity(config, &identity) != MU_OK)
        status = 1;
    else if (!is_silent && cli->wants_syntax_ok)
        fprintf(stderr, "Syntax OK\n");
    mu_config_destroy(config);
    return status;
}

static int control(const struct mu_cli *cli)
{
    struct mu_config *config;
    struct mu_mpm_limits limits;
    int status;

    mu_startup_hold(); /* a start reads the configuration again, and says the same */
    if (mu_super_configure(&cli->super.config, cli->super.prepare, &config, &limits) != MU_OK) {
        mu_startup_release(true);
        return 1;
    }
    status = mu_cli_control(cli, config);
    mu_startup_release(status >= 0);
    mu_config_destroy(config);
    return status < 0 ? mu_super_run(&cli->super) : status;
}

/* The images of a restart have the arguments of the first start, -k start among them. */
static bool is_image(const struct mu_cli *cli)
{
    return cli->super.rehearse_fd >= 0 || cli->super.takeover_fd >= 0;
}

static int act(const struct mu_cli *cli, const char *name)
{
    if (cli->is_wrong || cli->action == MU_CLI_USAGE) {
        mu_info_usage(name, stderr);
        return 1;
    }
    switch (cli->action) {
    case MU_CLI_HELP:
        mu_info_usage(name, stdout);
        return 0;
    case MU_CLI_VERSION:
        mu_info_version();
        return 0;
    case MU_CLI_MODULES:
        mu_info_modules(mu_builtin_modules);
        return 0;
    case MU_CLI_SETTINGS:
    case MU_CLI_DIRECTIVES:
        return print_with_config(cli);
    case MU_CLI_TEST:
        return test(cli);
    case MU_CLI_USAGE:
    case MU_CLI_RUN:
        break;
    }
    return cli->control == MU_CTL_NONE || is_image(cli) ? mu_super_run(&cli->super) : control(cli);
}

/* Is it `muster serve …`? The hidden options of a restart stand in front of the word. */
static bool is_serve(int argc, char **argv)
{
    struct mu_super_opts scratch = { 0 };
    int i = 1;

    while (i < argc && mu_super_option(argv[i], &scratch) == MU_OK)
        i++;
    return i < argc && strcmp(argv[i], "serve") == 0;
}

int main(int argc, char **argv)
{
    static struct mu_cli cli; /* to the end: children look into it, too */
    struct mu_pool_words words;
    int status, rest;

    if (!mu_stdio_open())
        return 1;
    if (is_serve(argc, argv))
        return mu_serve(argc, argv, find_modules());
    rest = mu_cli_pool_words(argc, argv, &words);
    if (rest)
        argc = rest;
    if (mu_cli_parse(&cli, argc, argv) != MU_OK) {
        fprintf(stderr, "muster: out of memory\n");
        return 1;
    }
    cli.super.config.builtin = mu_builtin_modules;
    cli.super.groups = mu_builtin_groups;
    cli.super.config.module_dir = find_modules();
    mu_startup_begin(&cli);
    status = rest ? mu_cli_pool(&cli, &words) : act(&cli, argv[0] ? argv[0] : "muster");
    mu_cli_fini(&cli);
    return status;
}
