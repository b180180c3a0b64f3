/*
 * logout: the far end of every log. Files are opened O_APPEND and written a line a call, so
 * processes and threads share them without a lock; a pipe guarantees that only up to PIPE_BUF
 * bytes, so lines are packed into pieces of at most that. syslog is spoken to directly, a
 * datagram a line on a socket that is never connected, so a restarted syslogd is found again, and
 * several logs may use names and facilities of their own, which syslog(3) does not offer.
 */
#include "base/logout.h"

#include "base/path.h"
#include "base/pipelog.h"

#include <muster/str.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <muster/clock.h>

static const char *syslog_path = "/dev/log";

void mu_logout_set_syslog_path(const char *path)
{
    syslog_path = path;
}

static bool facility_by_name(struct mu_str name, int *facility)
{
    static const struct {
        const char *name;
        int facility;
    } facilities[] = {
        { "auth", LOG_AUTH },     { "authpriv", LOG_AUTHPRIV }, { "cron", LOG_CRON },
        { "daemon", LOG_DAEMON }, { "ftp", LOG_FTP },           { "kern", LOG_KERN },
        { "lpr", LOG_LPR },       { "mail", LOG_MAIL },         { "news", LOG_NEWS },
        { "security", LOG_AUTH }, { "syslog", LOG_SYSLOG },     { "user", LOG_USER },
        { "uucp", LOG_UUCP },     { "local0", LOG_LOCAL0 },     { "local1", LOG_LOCAL1 },
        { "local2", LOG_LOCAL2 }, { "local3", LOG_LOCAL3 },     { "local4", LOG_LOCAL4 },
        { "local5", LOG_LOCAL5 }, { "local6", LOG_LOCAL6 },     { "local7", LOG_LOCAL7 },
    };

    for (size_t i = 0; i < MU_ARRAY_LEN(facilities); i++) {
        if (mu_str_ieq(name, mu_str_c(facilities[i].name))) {
            *facility = facilities[i].facility;
            return true;
        }
    }
    return false;
}

/* "syslog", "syslog:facility", "syslog:facility:ident" or "syslog::ident". */
static enum mu_rc open_syslog(struct mu_arena *a, struct mu_str spec, struct mu_logout *out,
                              struct mu_str *err)
{
    struct timeval patience = { .tv_sec = 1 };
    struct mu_str rest = spec;
    struct mu_str facility = MU_STR_NULL;

    out->kind = MU_LOGOUT_SYSLOG;
    out->facility = LOG_LOCAL7;
    out->ident = MU_S("muster");
    mu_str_split(&rest, ':', &facility);
    if (mu_str_split(&rest, ':', &facility) && facility.n &&
        !facility_by_name(facility, &out->facility)) {
        *err =
            mu_fmt(a,
                   "\"%.*s\": there is no syslog facility \"%.*s\"; allowed are local0 to local7, "
                   "daemon, user, auth, authpriv, cron, mail, news, syslog, ftp, lpr, uucp, kern",
                   MU_FMT(spec), MU_FMT(facility));
        return MU_BAD;
    }
    if (rest.n)
        out->ident = mu_str_dup(a, rest);
    out->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (out->fd < 0) {
        *err = mu_fmt(a, "no socket for syslog: %s", strerror(errno));
        return MU_EIO;
    }
    /* A syslogd that hangs costs a line a second, not the server. */
    setsockopt(out->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    return mu_defer_close(a, out->fd);
}

static enum mu_rc open_pipe(struct mu_arena *a, struct mu_str spec, struct mu_logout *out,
                            struct mu_str *err)
{
    enum mu_rc rc;

    out->kind = MU_LOGOUT_PIPE;
    rc = mu_pipelog_open(a, spec, &out->fd, err);
    return rc;
}

static bool is_syslog(struct mu_str spec)
{
    return mu_str_eq(spec, MU_S("syslog")) || mu_str_starts(spec, MU_S("syslog:"));
}

enum mu_rc mu_logout_check(struct mu_arena *a, struct mu_str spec, struct mu_str root,
                           struct mu_str *err)
{
    struct mu_str path, dir;
    struct stat st;

    *err = MU_S("out of memory");
    if (!spec.n || spec.p[0] == '|' || is_syslog(spec) || mu_str_eq(spec, MU_S("stderr")))
        return MU_OK;
    path = mu_path_rooted(a, root, spec);
    dir = path.p ? mu_str_dup(a, mu_path_dir(path)) : path;
    if (!dir.p)
        return MU_NOMEM;
    if (stat(dir.p, &st) == 0 && S_ISDIR(st.st_mode))
        return MU_OK;
    *err = mu_fmt(a, "cannot access directory '%s' for log file '%s'", dir.p, path.p);
    return MU_BAD;
}

static enum mu_rc open_file(struct mu_arena *a, struct mu_str spec, struct mu_str root,
                            struct mu_logout *out, struct mu_str *err)
{
    struct mu_str path = mu_path_rooted(a, root, spec);

    if (!path.p)
        return MU_NOMEM;
    out->kind = MU_LOGOUT_FILE;
    out->spec = path;
    if (mu_str_eq(spec, MU_S("stderr")) || mu_str_eq(spec, MU_S("/dev/stderr")))
        out->fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    else if (mu_str_eq(spec, MU_S("/dev/stdout")))
        out->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    else
        out->fd = open(path.p, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
    if (out->fd < 0) {
        *err = mu_fmt(a, "cannot open log file \"%s\": %s%s", path.p, strerror(errno),
                      errno == ENOENT   ? " (create its directory first)"
                      : errno == EACCES ? " (start as root, or let this user write there)"
                                        : "");
        return MU_EIO;
    }
    return mu_defer_close(a, out->fd);
}

enum mu_rc mu_logout_open(struct mu_arena *a, struct mu_str spec, struct mu_str root,
                          struct mu_logout *out, struct mu_str *err)
{
    *out = (struct mu_logout){ .kind = MU_LOGOUT_NONE, .fd = -1, .spec = spec };
    if (spec.n == 0) {
        *err = MU_S("the name of the log is empty");
        return MU_BAD;
    }
    if (spec.p[0] == '|')
        return open_pipe(a, spec, out, err);
    if (is_syslog(spec))
        return open_syslog(a, spec, out, err);
    return open_file(a, spec, root, out, err);
}

static void write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t w = write(fd, p, n);

        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return; /* a full disk: there is nobody left to tell */
        p += w;
        n -= (size_t)w;
    }
}

/*
 * Length of the longest run of whole lines that a pipe takes in one piece; 0: the first is too
 * long.
 */
static size_t pipe_piece(struct mu_str lines)
{
    if (lines.n <= PIPE_BUF)
        return lines.n;
    return (size_t)(mu_str_rchr(mu_str_sub(lines, 0, PIPE_BUF), '\n') + 1);
}

/* The supervisor never waits for a logger; everybody else does. */
static void put_piece(int fd, struct mu_str piece)
{
    if (!mu_pipelog_take(fd, piece))
        write_all(fd, piece.p, piece.n);
}

static void write_pipe(int fd, struct mu_str lines)
{
    static const char mark[] = "...\n";

    while (lines.n) {
        size_t n = pipe_piece(lines);

        if (n == 0) {
            char cut[PIPE_BUF];
            ssize_t end = mu_str_chr(lines, '\n');

            memcpy(cut, lines.p, sizeof(cut));
            memcpy(cut + sizeof(cut) - (sizeof(mark) - 1), mark, sizeof(mark) - 1);
            put_piece(fd, mu_str_n(cut, sizeof(cut)));
            n = end < 0 ? lines.n : (size_t)end + 1;
        } else {
            put_piece(fd, mu_str_sub(lines, 0, n));
        }
        lines = mu_str_sub(lines, n, lines.n);
    }
}

/* RFC 3164 as syslogd's local socket wants it: "<priority>Mmm dd hh:mm:ss ident[pid]: text". */
static void write_syslog(const struct mu_logout *out, enum mu_log_level level, struct mu_str line)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int severity = level < MU_LOG_DEBUG ? (int)level : LOG_DEBUG;
    time_t now = (time_t)mu_real_sec();
    char stamp[32] = "";
    char head[128];
    struct tm tm;
    int n;
    struct iovec iov[2];
    struct msghdr msg = {
        .msg_name = &sa, .msg_namelen = sizeof(sa), .msg_iov = iov, .msg_iovlen = 2
    };

    localtime_r(&now, &tm);
    strftime(stamp, sizeof(stamp), "%b %e %H:%M:%S", &tm);
    n = snprintf(head, sizeof(head), "<%d>%s %.*s[%ld]: ", out->facility | severity, stamp,
                 (int)(out->ident.n < 64 ? out->ident.n : 64), out->ident.p, (long)getpid());
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", syslog_path);
    iov[0] = (struct iovec){ .iov_base = head, .iov_len = (size_t)n };
    iov[1] = (struct iovec){ .iov_base = (char *)line.p, .iov_len = line.n };
    while (sendmsg(out->fd, &msg, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

void mu_logout_write(const struct mu_logout *out, enum mu_log_level level, struct mu_str lines)
{
    struct mu_str line;

    switch (out->kind) {
    case MU_LOGOUT_NONE:
        break;
    case MU_LOGOUT_FILE:
        write_all(out->fd, lines.p, lines.n);
        break;
    case MU_LOGOUT_PIPE:
        write_pipe(out->fd, lines);
        break;
    case MU_LOGOUT_SYSLOG:
        while (mu_str_split(&lines, '\n', &line))
            if (line.n)
                write_syslog(out, level, mu_str_trim(line));
        break;
    }
}
