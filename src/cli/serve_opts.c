/*
 * serve_opts: the arguments of `muster serve`. A port of 0 is settled before the server starts,
 * because a restart must come back to the same one: a socket that is bound but does not listen
 * keeps it from others until the server has it.
 */
#include "cli/serve_opts.h"

#include <errno.h>
#include <getopt.h>
#include <muster/str.h>
#include <net/addr.h>
#include <net/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEFAULT_PORT = 8080 };

static int usage(const char *name, FILE *to, int status)
{
    fprintf(to, "Usage: %s serve DIR [--port N] [--bind ADDRESS] [--mpm NAME]\n", name);
    fputs(
        "Serves the folder DIR, without a configuration file, until Ctrl-C. Folders without index.html are listed.\n"
        "  --port N        : port to listen on (8080); 0 takes a free one\n"
        "  --bind ADDRESS  : address to listen on (127.0.0.1, this machine alone); * is all of them\n"
        "  --mpm NAME      : event, worker or prefork (event)\n"
        "Requests are logged to standard output, errors to standard error.\n",
        to);
    return status;
}

static bool parse_port(struct mu_serve_opts *o, const char *text)
{
    uint64_t v;

    if (mu_str_u64(mu_str_c(text), &v) && v <= 65535) {
        o->port = (unsigned)v;
        return true;
    }
    fprintf(stderr, "muster serve: --port %s: allowed is a number from 0 to 65535\n", text);
    return false;
}

static bool parse_bind(struct mu_serve_opts *o, const char *text)
{
    struct mu_addr addr;

    o->bind = strcmp(text, "localhost") == 0 ? "127.0.0.1" : text;
    if (strcmp(o->bind, "*") == 0 ||
        (o->bind[0] != '[' && mu_addr_parse_ip(mu_str_c(o->bind), &addr)))
        return true;
    fprintf(stderr,
            "muster serve: --bind %s: allowed is an address (127.0.0.1, ::1, 0.0.0.0) or *\n",
            text);
    return false;
}

static bool parse_mpm(struct mu_serve_opts *o, const char *text)
{
    static const char *const names[] = { "event", "worker", "prefork" };

    for (size_t i = 0; i < MU_ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            o->mpm = names[i];
            return true;
        }
    }
    fprintf(stderr, "muster serve: --mpm %s: allowed are event, worker and prefork\n", text);
    return false;
}

static bool parse_root(struct mu_serve_opts *o, const char *text)
{
    struct stat st;

    o->root = realpath(text, NULL);
    if (o->root && stat(o->root, &st) == 0 && !S_ISDIR(st.st_mode))
        errno = ENOTDIR;
    else if (o->root)
        return true;
    fprintf(stderr, "muster serve: cannot serve %s: %s\n", text, strerror(errno));
    return false;
}

/* Returns -1 to go on, else the exit status. */
static int take(struct mu_serve_opts *o, int option, const char *arg)
{
    switch (option) {
    case 'p':
        return parse_port(o, arg) ? -1 : 1;
    case 'b':
        return parse_bind(o, arg) ? -1 : 1;
    case 'm':
        return parse_mpm(o, arg) ? -1 : 1;
    case 'h':
        return usage(o->name, stdout, 0);
    default:
        return usage(o->name, stderr, 1);
    }
}

int mu_serve_parse(struct mu_serve_opts *o, int argc, char **argv)
{
    static const struct option options[] = { { "port", required_argument, NULL, 'p' },
                                             { "bind", required_argument, NULL, 'b' },
                                             { "mpm", required_argument, NULL, 'm' },
                                             { "help", no_argument, NULL, 'h' },
                                             { NULL, 0, NULL, 0 } };
    int status = -1, option;

    *o = (struct mu_serve_opts){
        .name = argv[0], .bind = "127.0.0.1", .mpm = "event", .port = DEFAULT_PORT
    };
    optind = 1;
    while (status < 0 && (option = getopt_long(argc, argv, "h", options, NULL)) != -1)
        status = take(o, option, optarg);
    if (status >= 0)
        return status;
    if (argc - optind != 2) /* "serve" and DIR: options may stand on either side */
        return usage(o->name, stderr, 1);
    return parse_root(o, argv[optind + 1]) ? -1 : 1;
}

/* What Listen would open: for all addresses one socket for both families, where there are two. */
static struct mu_addr address_of(const struct mu_serve_opts *o)
{
    struct mu_addr addr = { 0 };
    const char *text = strcmp(o->bind, "*") != 0 ? o->bind : mu_has_ipv6() ? "::" : "0.0.0.0";

    (void)mu_addr_parse_ip(mu_str_c(text), &addr);
    addr.port = (uint16_t)o->port;
    return addr;
}

bool mu_serve_reserve(struct mu_serve_opts *o, int *fd)
{
    struct mu_addr addr = address_of(o);
    struct sockaddr_storage sa;
    socklen_t len = mu_addr_to_sa(&addr, &sa);
    int on = 1;

    if (o->port != 0)
        return true;
    *fd = socket(addr.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd >= 0 && setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        bind(*fd, (struct sockaddr *)&sa, len) == 0 &&
        getsockname(*fd, (struct sockaddr *)&sa, &len) == 0 &&
        mu_addr_from_sa(&addr, (struct sockaddr *)&sa, len)) {
        o->port = addr.port;
        return true;
    }
    fprintf(stderr, "muster serve: no free port on %s: %s\n", o->bind, strerror(errno));
    return false;
}

bool mu_serve_argv(struct mu_serve_opts *o)
{
    struct mu_addr addr = address_of(o);
    struct mu_addr shown = addr;
    char text[MU_ADDR_TEXT];
    size_t n = 0;

    if (mu_addr_is_any(&addr))
        (void)mu_addr_parse_ip(
            addr.family == AF_INET6 && strcmp(o->bind, "*") != 0 ? MU_S("::1") : MU_S("127.0.0.1"),
            &shown);
    shown.port = (uint16_t)o->port;
    snprintf(o->url, sizeof(o->url), "http://%.*s/", MU_FMT(mu_addr_text(&shown, text)));
    snprintf(o->port_text, sizeof(o->port_text), "%u", o->port);
    o->argv[n++] = (char *)(uintptr_t)o->name;
    o->argv[n++] = (char *)(uintptr_t) "serve";
    o->argv[n++] = (char *)(uintptr_t) "--port";
    o->argv[n++] = o->port_text;
    o->argv[n++] = (char *)(uintptr_t) "--bind";
    o->argv[n++] = (char *)(uintptr_t)o->bind;
    o->argv[n++] = (char *)(uintptr_t) "--mpm";
    o->argv[n++] = (char *)(uintptr_t)o->mpm;
    o->argv[n++] = o->root;
    o->argv[n] = NULL;
    return o->port != 0;
}
