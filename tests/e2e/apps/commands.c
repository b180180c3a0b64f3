/* The commands of testapp: what stands in the query string, carried out in order. The table is at the end.
 *
 * Nothing is written before the first command that writes, so `status`, `type`, `head` and their kin come first. What
 * takes as long as the test wants waits for a file (`await`); what is done leaves a line in the file of marks. */
#include "app.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void say(struct app *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct app *a, const char *format, ...)
{
    char line[8192];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    app_write(a, line, n < (int)sizeof line ? (size_t)n : sizeof line - 1);
}

/* CRC-32 as zlib's, eight bytes a step, so that a gigabyte is soon summed. */
static uint32_t crc32(uint32_t crc, const uint8_t *p, size_t n)
{
    static uint32_t t[8][256];

    if (!t[0][1]) {
        for (uint32_t i = 0; i < 256; i++) {
            t[0][i] = i;
            for (int k = 0; k < 8; k++)
                t[0][i] = (t[0][i] >> 1) ^ (t[0][i] & 1 ? 0xEDB88320u : 0);
        }
        for (int i = 0; i < 256; i++)
            for (int k = 1; k < 8; k++)
                t[k][i] = (t[k - 1][i] >> 8) ^ t[0][t[k - 1][i] & 255];
    }
    crc = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t v;

        memcpy(&v, p, 8);
        v ^= crc;
        crc = t[7][v & 255] ^ t[6][v >> 8 & 255] ^ t[5][v >> 16 & 255] ^ t[4][v >> 24 & 255] ^
              t[3][v >> 32 & 255] ^ t[2][v >> 40 & 255] ^ t[1][v >> 48 & 255] ^ t[0][v >> 56];
    }
    for (; n > 0; n--, p++)
        crc = (crc >> 8) ^ t[0][(crc ^ *p) & 255];
    return ~crc;
}

static void nap(long ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

    while (nanosleep(&t, &t) && errno == EINTR)
        ;
}

/* ---- the head ---- */

static void add_field(struct app *a, const char *name, const char *value)
{
    a->head_len += (size_t)snprintf(a->head + a->head_len, sizeof a->head - a->head_len, "%s%s\r\n",
                                    name, value);
    if (a->head_len >= sizeof a->head)
        a->head_len = sizeof a->head - 1;
}

static void do_status(struct app *a, const char *v)
{
    add_field(a, "Status: ", v);
}
static void do_type(struct app *a, const char *v)
{
    add_field(a, "Content-Type: ", v);
}
static void do_location(struct app *a, const char *v)
{
    add_field(a, "Location: ", v);
}
static void do_sendfile(struct app *a, const char *v)
{
    add_field(a, "X-Sendfile: ", v);
}
static void do_head(struct app *a, const char *v)
{
    add_field(a, "", v);
}

/* Bytes where the head would be: nothing is added to them. */
static void do_raw(struct app *a, const char *v)
{
    a->has_head = true;
    app_write(a, v, strlen(v));
}

/* ---- what it was given ---- */

static void do_text(struct app *a, const char *v)
{
    app_write(a, v, strlen(v));
}

static void do_env(struct app *a, const char *v)
{
    (void)v;
    for (char **e = a->env; *e; e++)
        say(a, "%s\n", *e);
}

/* The environment of the process itself, which FastCGI does not mix with the request's. */
static void do_processenv(struct app *a, const char *v)
{
    (void)v;
    for (char **e = environ; *e; e++)
        say(a, "%s\n", *e);
}

static void do_var(struct app *a, const char *v)
{
    const char *value = app_env(a, v);

    say(a, value ? "%s\n" : "(unset)\n", value);
}

static void do_cwd(struct app *a, const char *v)
{
    char path[4096];

    (void)v;
    say(a, "%s\n", getcwd(path, sizeof path) ? path : "?");
}

static void do_ids(struct app *a, const char *v)
{
    gid_t groups[64];
    int n = getgroups(64, groups);

    (void)v;
    say(a, "uid=%u gid=%u groups=", (unsigned)geteuid(), (unsigned)getegid());
    for (int i = 0; i < n; i++)
        say(a, i ? ",%u" : "%u", (unsigned)groups[i]);
    say(a, "\n");
}

/* One line for each open descriptor and what it is, except the one that lists them. */
static void do_fds(struct app *a, const char *v)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *e;

    (void)v;
    while (dir && (e = readdir(dir))) {
        char path[300], target[1024];
        ssize_t n;

        if (e->d_name[0] == '.' || atoi(e->d_name) == dirfd(dir))
            continue;
        snprintf(path, sizeof path, "/proc/self/fd/%s", e->d_name);
        n = readlink(path, target, sizeof target - 1);
        say(a, "%s %.*s\n", e->d_name, n < 0 ? 0 : (int)n, target);
    }
    if (dir)
        closedir(dir);
}

static void do_limits(struct app *a, const char *v)
{
    static const struct {
        const char *name;
        int number;
    } limits[] = { { "cpu", RLIMIT_CPU },       { "as", RLIMIT_AS },     { "nproc", RLIMIT_NPROC },
                   { "nofile", RLIMIT_NOFILE }, { "core", RLIMIT_CORE }, { "data", RLIMIT_DATA } };

    (void)v;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct rlimit r = { 0 };

        getrlimit((__rlimit_resource_t)limits[i].number, &r);
        say(a, "%s %lld %lld\n", limits[i].name, (long long)r.rlim_cur, (long long)r.rlim_max);
    }
}

/* pid, parent, process group, session; signals that are blocked and ignored. */
static void do_process(struct app *a, const char *v)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[512];

    (void)v;
    say(a, "pid=%d ppid=%d pgid=%d sid=%d\n", getpid(), getppid(), getpgrp(), getsid(0));
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "SigBlk", 6) || !strncmp(line, "SigIgn", 6) ||
            !strncmp(line, "NoNewPrivs", 10))
            say(a, "%s", line);
    if (f)
        fclose(f);
}

/* ---- bodies ---- */

static void do_body(struct app *a, const char *v)
{
    static char buf[65536];
    size_t n;

    (void)v;
    while ((n = app_read(a, buf, sizeof buf)) > 0)
        app_write(a, buf, n);
}

/* Length and CRC-32 of the body (what was not read before). */
static void do_sum(struct app *a, const char *v)
{
    static uint8_t buf[262144];
    unsigned long long all = 0;
    uint32_t crc = 0;
    size_t n;

    (void)v;
    while ((n = app_read(a, buf, sizeof buf)) > 0) {
        crc = crc32(crc, buf, n);
        all += n;
    }
    say(a, "%llu %08x\n", all, crc);
}

/* Up to that many bytes of the body, dropped. */
static void do_read(struct app *a, const char *v)
{
    static char buf[65536];
    unsigned long long left = strtoull(v, NULL, 10);

    while (left > 0) {
        size_t n = app_read(a, buf, left < sizeof buf ? (size_t)left : sizeof buf);

        if (n == 0)
            return;
        left -= n;
    }
}

/* A stream that shows a byte that is lost, doubled or moved: numbered words. Sent, or only summed. */
static uint32_t stream(struct app *a, const char *v, bool is_sent)
{
    static uint64_t words[32768];
    unsigned long long left = strtoull(v, NULL, 10);
    uint64_t number = 0;
    uint32_t crc = 0;

    while (left > 0) {
        size_t n = left < sizeof words ? (size_t)left : sizeof words;

        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            words[i] = ++number * 0x9E3779B97F4A7C15u;
        if (is_sent)
            app_write(a, words, n);
        else
            crc = crc32(crc, (uint8_t *)words, n);
        left -= n;
    }
    return crc;
}

static void do_stream(struct app *a, const char *v)
{
    stream(a, v, true);
}
static void do_streamsum(struct app *a, const char *v)
{
    say(a, "%08x\n", stream(a, v, false));
}

static void do_flush(struct app *a, const char *v)
{
    (void)v;
    app_flush(a);
}

static void do_err(struct app *a, const char *v)
{
    app_err(a, v);
    app_err(a, "\n");
}

/* ---- deeds ---- */

/* One line "WORD PID" in the file of marks (the variable MARKS, or -m): how often and in which order things ran. */
static void do_mark(struct app *a, const char *v)
{
    const char *path = app_env(a, "MARKS");
    int fd = open(path       ? path
                  : a->marks ? a->marks
                             : "/dev/null",
                  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    char line[1024];

    snprintf(line, sizeof line, "%s %d\n", v, getpid());
    if (fd < 0)
        return;
    if (write(fd, line, strlen(line)) < 0)
        app_err(a, "testapp: the mark is lost\n");
    close(fd);
}

static void do_sleep(struct app *a, const char *v)
{
    (void)a;
    nap(atol(v));
}

/* Until the file is there: the test decides how long something takes. */
static void do_await(struct app *a, const char *v)
{
    (void)a;
    for (int i = 0; i < 12000 && access(v, F_OK) != 0; i++)
        nap(10);
}

static void do_spin(struct app *a, const char *v)
{
    clock_t end = clock() + atol(v) * (CLOCKS_PER_SEC / 1000);

    (void)a;
    while (clock() < end)
        ;
}

static void do_alloc(struct app *a, const char *v)
{
    size_t n = (size_t)strtoull(v, NULL, 10) << 20;
    char *p = malloc(n);

    say(a, p ? "allocated\n" : "refused\n");
    if (p)
        memset(p, 1, n);
    free(p);
}

/* A process that outlives its parent for a while, holding the same descriptors; its end is marked. */
static void do_fork(struct app *a, const char *v)
{
    pid_t pid = fork();

    if (pid < 0)
        say(a, "refused\n");
    if (pid != 0)
        return;
    nap(atol(v));
    do_mark(a, "orphan");
    _exit(0);
}

static void do_ignoreterm(struct app *a, const char *v)
{
    (void)a, (void)v;
    signal(SIGTERM, SIG_IGN);
}

static void do_awaitabort(struct app *a, const char *v)
{
    (void)v;
    do_mark(a, app_await_abort(a) ? "aborted" : "closed");
}

/* ---- ends ---- */

static void do_exit(struct app *a, const char *v)
{
    a->status = (uint32_t)strtoul(v, NULL, 10);
}

static void do_protocol(struct app *a, const char *v)
{
    a->protocol_status = (uint8_t)atoi(v);
}

static void do_hangup(struct app *a, const char *v)
{
    (void)v;
    if (a->is_fcgi && a->has_head)
        fcgi_flush();
    a->is_cut = true;
}

static void do_crash(struct app *a, const char *v)
{
    if (a->has_head)
        app_flush(a);
    signal(SIGABRT, SIG_DFL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    raise(!strcmp(v, "abort") ? SIGABRT : !strcmp(v, "kill") ? SIGKILL : SIGSEGV);
}

/* Bytes in hexadecimal that are put where the server expects a record. */
static void do_garbage(struct app *a, const char *v)
{
    for (unsigned byte; sscanf(v, "%2x", &byte) == 1; v += 2) {
        char one = (char)byte;

        app_write_raw(a, &one, 1);
    }
}

/* ---- the language ---- */

static const struct command {
    const char *name;
    void (*run)(struct app *a, const char *value);
} commands[] = {
    { "status", do_status },
    { "type", do_type },
    { "location", do_location },
    { "sendfile", do_sendfile },
    { "head", do_head },
    { "raw", do_raw },
    { "text", do_text },
    { "env", do_env },
    { "processenv", do_processenv },
    { "var", do_var },
    { "cwd", do_cwd },
    { "ids", do_ids },
    { "fds", do_fds },
    { "limits", do_limits },
    { "process", do_process },
    { "body", do_body },
    { "sum", do_sum },
    { "read", do_read },
    { "stream", do_stream },
    { "streamsum", do_streamsum },
    { "flush", do_flush },
    { "err", do_err },
    { "mark", do_mark },
    { "sleep", do_sleep },
    { "await", do_await },
    { "spin", do_spin },
    { "alloc", do_alloc },
    { "fork", do_fork },
    { "ignoreterm", do_ignoreterm },
    { "awaitabort", do_awaitabort },
    { "exit", do_exit },
    { "protocol", do_protocol },
    { "hangup", do_hangup },
    { "crash", do_crash },
    { "garbage", do_garbage },
};

static char *decode(char *text)
{
    char *out = text;

    for (char *in = text; *in; in++) {
        unsigned byte;

        if (*in == '%' && sscanf(in + 1, "%2x", &byte) == 1) {
            *out++ = (char)byte;
            in += 2;
        } else
            *out++ = *in;
    }
    *out = '\0';
    return text;
}

static void run_command(struct app *a, char *text)
{
    char *value = strchr(text, '=');

    if (value)
        *value++ = '\0';
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (!strcmp(commands[i].name, text)) {
            commands[i].run(a, value ? decode(value) : "");
            return;
        }
    }
    say(a, "no command %s\n", text);
}

void app_run(struct app *a)
{
    const char *query = app_env(a, "QUERY_STRING");
    char *text = strdup(query && *query ? query : "text=Hello%0a"), *rest = text, *part;

    while (!a->is_cut && (part = strsep(&rest, "&")))
        run_command(a, part);
    if (!a->is_cut)
        app_flush(a);
    free(text);
}
