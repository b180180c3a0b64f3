/*
 * options: argv to struct mu_cli. Options that may be repeated (-D, -C, -c) become NULL-terminated vectors; the hidden
 * ones of a restart are taken out first, since they are the supervisor's and not the administrator's.
 */
#include "cli/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The vectors in cli->lists, each with room for all arguments. */
struct lists {
    const char **before, **after, **defines;
    size_t before_n, after_n, defines_n;
};

static void define(struct mu_cli *cli, struct lists *l, const char *name)
{
    l->defines[l->defines_n++] = name;
    if (strcmp(name, "FOREGROUND") == 0 || strcmp(name, "NO_DETACH") == 0)
        cli->super.is_foreground = true;
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

    for (size_t i = 0; i < MU_ARRAY_LEN(words); i++) {
        if (strcmp(word, words[i].name) != 0)
            continue;
        cli->control = words[i].value;
        return true;
    }
    fprintf(stderr, "muster: -k %s: allowed are start, stop, restart, graceful and graceful-stop\n", word);
    return false;
}

static void take(struct mu_cli *cli, struct lists *l, int option)
{
    switch (option) {
    case 'd':
        cli->super.config.server_root = optarg;
        break;
    case 'f':
        cli->super.config.file = optarg;
        break;
    case 'C':
        l->before[l->before_n++] = optarg;
        break;
    case 'c':
        l->after[l->after_n++] = optarg;
        break;
    case 'D':
        define(cli, l, optarg);
        break;
    case 'k':
        if (!parse_control(cli, optarg))
            cli->is_wrong = true;
        break;
    case 'X':
        cli->super.is_single = cli->super.is_foreground = true;
        break;
    case 't':
        cli->action = MU_CLI_TEST;
        break;
    case 'v':
        cli->action = MU_CLI_VERSION;
        break;
    case 'V':
        cli->action = MU_CLI_SETTINGS;
        break;
    case 'h':
        cli->action = MU_CLI_USAGE;
        break;
    default:
        cli->is_wrong = true;
        break;
    }
}

/* The arguments without the hidden options, which go into cli->super. */
static int take_hidden(struct mu_cli *cli, int argc, char **argv, char **rest)
{
    int n = 0;

    for (int i = 0; i < argc; i++) {
        enum mu_rc rc = i ? mu_super_option(argv[i], &cli->super) : MU_NOENT;

        if (rc == MU_NOENT)
            rest[n++] = argv[i];
        else if (rc != MU_OK)
            cli->is_wrong = true;
    }
    rest[n] = NULL;
    return n;
}

enum mu_rc mu_cli_parse(struct mu_cli *cli, int argc, char **argv)
{
    size_t room = (size_t)argc + 1;
    char **rest = calloc(room, sizeof(*rest));
    struct lists l = { 0 };
    int option, n;

    *cli = (struct mu_cli){ .super = { .argv = argv, .rehearse_fd = -1, .takeover_fd = -1, .takeover_exe_fd = -1 } };
    cli->lists = calloc(room * 3, sizeof(*cli->lists));
    if (!rest || !cli->lists) {
        free(rest);
        return MU_NOMEM;
    }
    l.before = cli->lists;
    l.after = cli->lists + room;
    l.defines = cli->lists + 2 * room;
    n = take_hidden(cli, argc, argv, rest);
    while ((option = getopt(n, rest, "D:d:f:C:c:k:XtvVh")) != -1)
        take(cli, &l, option);
    if (optind < n) {
        fprintf(stderr, "muster: %s: there is no such argument\n", rest[optind]);
        cli->is_wrong = true;
    }
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
