/*
 * pools: `muster pool list|status|reload|stop|start [NAME] [options]`. The configuration tells where
 * the sockets of the server's pools are, one of which is for questions; what comes back is printed,
 * and its last line is the exit status.
 */
#include "cli/pools.h"

#include <errno.h>
#include <fcntl.h>
#include <muster/buf.h>
#include <muster/str.h>
#include <pool/ask.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "Usage: muster pool list|status|reload|stop|start [NAME] [-d directory] "
    "[-f file]\n";

int mu_cli_pool_words(int argc, char **argv, struct mu_pool_words *words)
{
    int taken = 2;

    if (argc < 2 || strcmp(argv[1], "pool") != 0)
        return 0;
    *words = (struct mu_pool_words){ NULL, NULL };
    if (taken < argc && argv[taken][0] != '-')
        words->verb = argv[taken++];
    if (taken < argc && argv[taken][0] != '-')
        words->name = argv[taken++];
    memmove(argv + 1, argv + taken, (size_t)(argc - taken + 1) * sizeof(*argv));
    return argc - taken + 1;
}

/* All lines but the last; the last one says how it went. */
static int print_answer(struct mu_str answer)
{
    struct mu_str last;
    ssize_t at;

    while (answer.n && answer.p[answer.n - 1] == '\n')
        answer.n--;
    at = mu_str_rchr(answer, '\n');
    last = mu_str_sub(answer, (size_t)(at + 1), answer.n);
    printf("%.*s", MU_FMT(mu_str_sub(answer, 0, (size_t)(at + 1))));
    if (mu_str_eq(last, MU_S("ok")))
        return 0;
    fprintf(stderr, "muster pool: %.*s\n", MU_FMT(last.n ? last : MU_S("the server said nothing")));
    return 1;
}

static int ask(const char *dir, const struct mu_pool_words *words)
{
    struct mu_buf answer = { 0 };
    char line[128];
    int status;

    snprintf(line, sizeof(line), "%s%s%s\n", words->verb, words->name ? " " : "",
             words->name ? words->name : "");
    if (mu_pool_ask(dir, line, &answer) == MU_OK) {
        status = print_answer(mu_buf_str(&answer));
    } else {
        fprintf(stderr, "muster pool: no server with application pools answers in %s: %s\n", dir,
                strerror(errno));
        status = 1;
    }
    mu_buf_fini(&answer);
    return status;
}

int mu_cli_pool(const struct mu_cli *cli, const struct mu_pool_words *words)
{
    struct mu_mpm_limits limits;
    struct mu_config *config;
    const char *dir;
    int status = 1;

    if (!words->verb || cli->is_wrong ||
        strlen(words->verb) + (words->name ? strlen(words->name) : 0) > 100) {
        fputs(usage, stderr);
        return 1;
    }
    if (mu_super_configure(&cli->super.config, NULL, &config, &limits) != MU_OK)
        return 1;
    dir = mu_pools_dir(config);
    if (dir)
        status = ask(dir, words);
    mu_config_destroy(config);
    return status;
}
