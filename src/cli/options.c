/*
 * options: argv to struct mu_cli. Options that may be repeated (-D, -C, -c) become NULL-terminated
 * vectors; the hidden ones of a restart are taken out first, since they are the supervisor's and
 * not the administrator's. As in httpd, -v, -l and -h answer at once, whatever stands behind them,
 * and an argument that is no option is an error.
 */
#include "cli/options.h"

#include <base/loglevel.h>
#include <muster/str.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The vectors in cli->lists, each with room for all arguments. */
struct lists {
    const char **before, **after, **defines;
    size_t before_n, after_n, defines_n;
};

const char *mu_cli_name(char *const *argv)
{
    const char *slash = argv[0] ? strrchr(argv[0], '/') : NULL;

    if (slash)
        return slash + 1;
    return argv[0] ? argv[0] : "muster";
}

static void add_define(struct lists *l, const char *name)
{
    for (size_t i = 0; i < l->defines_n; i++) {
        if (strcmp(l->defines[i], name) == 0)
            return;
    }
    l->defines[l->defines_n++] = name;
}

/* A name for <IfDefine>; some of them are requests to the server itself. */
static void define(struct mu_cli *cli, struct lists *l, const char *name)
{
    static const struct {
        const char *name;
        unsigned dump;
    } dumps[] = { { "DUMP_VHOSTS", MU_DUMP_VHOSTS },
                  { "DUMP_RUN_CFG", MU_DUMP_RUN_CFG },
                  { "DUMP_MODULES", MU_DUMP_MODULES },
                  { "DUMP_INCLUDES", MU_DUMP_INCLUDES },
                  { "DUMP_CONFIG", MU_DUMP_CONFIG } };

    add_define(l, name);
    if (strcmp(name, "FOREGROUND") == 0 || strcmp(name, "NO_DETACH") == 0)
        cli->super.is_foreground = true;
    if (strcmp(name, "DEBUG") == 0 || strcmp(name, "ONE_PROCESS") == 0)
        cli->super.is_single = cli->super.is_foreground = true;
    for (size_t i = 0; i < MU_ARRAY_LEN(dumps); i++) {
        if (strcmp(name, dumps[i].name) != 0)
            continue;
        cli->dumps |= dumps[i].dump;
        if (cli->action == MU_CLI_RUN)
            cli->action = MU_CLI_TEST;
    }
}

static bool parse_control(struct mu_cli *cli, const char *word)
{
    static const struct {
        const char *name;
        enum mu_cli_control value;
    } words[] = { { "start", MU_CTL_START },
                  { "stop", MU_CTL_STOP },
                  { "restart", MU_CTL_RESTART },
                  { "graceful", MU_CTL_GRACEFUL },
                  { "graceful-stop", MU_CTL_GRACEFUL_STOP } };

    if (cli->control != MU_CTL_NONE) {
        fprintf(stderr, "muster: -k %s: there may be one -k\n", word);
        return false;
    }
    for (size_t i = 0; i < MU_ARRAY_LEN(words); i++) {
        if (strcmp(word, words[i].name) != 0)
            continue;
        cli->control = words[i].value;
        return true;
    }
    fprintf(stderr, "muster: -k %s: allowed are start, restart, graceful, graceful-stop and stop\n",
            word);
    return false;
}

static bool parse_level(struct mu_cli *cli, const char *word)
{
    if (mu_log_level_parse(mu_str_c(word), &cli->level))
        return true;
    fprintf(
        stderr,
        "muster: -e %s: allowed are emerg, alert, crit, error, warn, notice, info, debug and trace1 to trace8\n",
        word);
    return false;
}

/* -v, -V, -l, -L, -h and -t and its kin: what is to be done. */
static bool take_action(struct mu_cli *cli, struct lists *l, int option)
{
    static const struct {
        int option;
        enum mu_cli_action action;
    } actions[] = { { 'v', MU_CLI_VERSION }, { 'V', MU_CLI_SETTINGS },   { 'l', MU_CLI_MODULES },
                    { 'h', MU_CLI_USAGE },   { 'L', MU_CLI_DIRECTIVES }, { 't', MU_CLI_TEST } };

    for (size_t i = 0; i < MU_ARRAY_LEN(actions); i++) {
        if (option != actions[i].option)
            continue;
        if (option != 't' || cli->action == MU_CLI_RUN)
            cli->action = actions[i].action;
        cli->wants_syntax_ok = cli->wants_syntax_ok || option == 't';
        return true;
    }
    if (option == 'S') {
        define(cli, l, "DUMP_VHOSTS");
        define(cli, l, "DUMP_RUN_CFG");
    } else if (option == 'M') {
        define(cli, l, "DUMP_MODULES");
    }
    return option == 'S' || option == 'M';
}

/* Returns false when the option or its argument is none. */
static bool take(struct mu_cli *cli, struct lists *l, int option)
{
    if (take_action(cli, l, option))
        return true;
    switch (option) {
    case 'd':
        cli->super.config.server_root = optarg;
        return true;
    case 'f':
        cli->super.config.file = optarg;
        return true;
    case 'C':
        l->before[l->before_n++] = optarg;
        return true;
    case 'c':
        l->after[l->after_n++] = optarg;
        return true;
    case 'D':
        define(cli, l, optarg);
        return true;
    case 'k':
        return parse_control(cli, optarg);
    case 'e':
        return parse_level(cli, optarg);
    case 'E':
        cli->error_file = optarg;
        return true;
    case 'T':
        cli->skips_document_roots = true;
        return true;
    case 'X':
        define(cli, l, "DEBUG");
        return true;
    case ':':
        fprintf(stderr, "muster: option requires an argument -- %c\n", optopt);
        return false;
    default:
        fprintf(stderr, "muster: illegal option -- %c\n", optopt);
        return false;
    }
}

int mu_cli_take_hidden(struct mu_super_opts *super, int argc, char **argv, char **rest)
{
    bool is_good = true;
    int n = 0;

    for (int i = 0; i < argc; i++) {
        enum mu_rc rc = i ? mu_super_option(argv[i], super) : MU_NOENT;

        if (rc == MU_NOENT)
            rest[n++] = argv[i];
        else
            is_good = is_good && rc == MU_OK;
    }
    rest[n] = NULL;
    return is_good ? n : -1;
}

static bool answers_at_once(const struct mu_cli *cli)
{
    return cli->action == MU_CLI_VERSION || cli->action == MU_CLI_MODULES ||
           cli->action == MU_CLI_USAGE;
}

static void parse(struct mu_cli *cli, struct lists *l, int argc, char **argv)
{
    int option;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        cli->action = MU_CLI_HELP;
        return;
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        cli->action = MU_CLI_VERSION;
        return;
    }
    opterr = 0;
    optind = 1;
    while (!cli->is_wrong && !answers_at_once(cli) &&
           (option = getopt(argc, argv, "+:D:d:f:C:c:k:e:E:XtTSMvVlLh")) != -1)
        cli->is_wrong = !take(cli, l, option);
    if (!cli->is_wrong && !answers_at_once(cli) && optind < argc) {
        fprintf(stderr, "muster: %s: there is no such argument\n", argv[optind]);
        cli->is_wrong = true;
    }
}

enum mu_rc mu_cli_parse(struct mu_cli *cli, int argc, char **argv)
{
    size_t room = (size_t)argc * 2 + 4; /* an option may define two names, and -X one more */
    char **rest = calloc(room, sizeof(*rest));
    struct lists l = { 0 };
    int n;

    *cli = (struct mu_cli){
        .super = { .argv = argv, .rehearse_fd = -1, .takeover_fd = -1, .takeover_exe_fd = -1 },
        .level = MU_LOG_NOTICE
    };
    cli->lists = calloc(room * 3, sizeof(*cli->lists));
    if (!rest || !cli->lists) {
        free(rest);
        return MU_NOMEM;
    }
    l.before = cli->lists;
    l.after = cli->lists + room;
    l.defines = cli->lists + 2 * room;
    n = mu_cli_take_hidden(&cli->super, argc, argv, rest);
    if (n < 0)
        cli->is_wrong = true;
    else
        parse(cli, &l, n, rest);
    cli->super.config.before = l.before;
    cli->super.config.after = l.after;
    cli->super.config.defines = l.defines;
    free(rest);
    return MU_OK;
}

void mu_cli_fini(struct mu_cli *cli)
{
    free(cli->lists);
    cli->lists = NULL;
}
