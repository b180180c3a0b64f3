/*
 * proc: what a process does to itself around fork and exec, the pid file, and systemd's
 * notification protocol without its library. What runs in a child between fork and exec is
 * async-signal-safe and says so.
 */
#include "base/proc.h"

#include <muster/buf.h>
#include <muster/clock.h>
#include <muster/str.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

void mu_close_from(int first)
{
    long max;

    if (close_range((unsigned)first, ~0u, 0) == 0)
        return;
    max = sysconf(_SC_OPEN_MAX); /* a kernel before 5.9, or a seccomp filter */
    if (max < 0 || max > 1 << 20)
        max = 1 << 20;
    for (int fd = first; fd < max; fd++)
        close(fd);
}

bool mu_stdio_open(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        /* The lowest free number is this one: those below are open by now. */
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return false;
    }
    return true;
}

uint32_t mu_core_count(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

    return n < 1 ? 1 : (uint32_t)n;
}

bool mu_set_cloexec(int fd, bool is_on)
{
    int flags = fcntl(fd, F_GETFD);

    if (flags < 0)
        return false;
    flags = is_on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC;
    return fcntl(fd, F_SETFD, flags) == 0;
}

void mu_terminal_leave(void)
{
    int tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC), null;

    if (tty >= 0) {
        (void)ioctl(tty, TIOCNOTTY);
        close(tty);
    }
    if (!isatty(STDIN_FILENO))
        return;
    null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
        close(null);
    }
}

/* One of those that libc keeps to itself, for threads: its own handler stays, but a program would inherit "ignored",
 * and so whoever started the server may have left it. The kernel's structure begins with the handler. */
static void signal_of_libc_default(int sig)
{
    static const unsigned long dfl[4]; /* SIG_DFL, no flags */
    unsigned long now[4];

    if (syscall(SYS_rt_sigaction, sig, NULL, now, _NSIG / 8) == 0 && now[0] == (uintptr_t)SIG_IGN)
        (void)syscall(SYS_rt_sigaction, sig, dfl, NULL, _NSIG / 8);
}

void mu_signals_default(void)
{
    struct sigaction dfl = { .sa_handler = SIG_DFL };
    sigset_t none;

    for (int sig = 1; sig < _NSIG; sig++) {
        if (sigaction(sig, &dfl, NULL) != 0) /* KILL and STOP, and libc's own */
            signal_of_libc_default(sig);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* One word from *i on, unquoted into w. Returns its end in w, or NULL when a quote is left open. */
static char *split_word(struct mu_str s, size_t *i, char *w)
{
    char quote = '\0';

    for (; *i < s.n; ++*i) {
        char c = s.p[*i];

        if (c == '\\' && quote != '\'' && *i + 1 < s.n)
            *w++ = s.p[++*i];
        else if (quote && c == quote)
            quote = '\0';
        else if (!quote && (c == '"' || c == '\''))
            quote = c;
        else if (!quote && mu_is_space(c))
            break;
        else
            *w++ = c;
    }
    return quote ? NULL : w;
}

char **mu_argv_split(struct mu_arena *a, struct mu_str command)
{
    struct mu_vec words = { 0 };
    char *w =
        mu_arena_alloc(a, command.n + 2); /* n bytes have at most n/2+1 words, each with a NUL */
    size_t i = 0;

    if (!w)
        return NULL;
    for (;;) {
        while (i < command.n && mu_is_space(command.p[i]))
            i++;
        if (i == command.n)
            break;
        if (mu_vec_push(a, &words, w) != MU_OK)
            return NULL;
        w = split_word(command, &i, w);
        if (!w)
            return NULL;
        *w++ = '\0';
    }
    if (mu_vec_push(a, &words, NULL) != MU_OK)
        return NULL;
    return (char **)words.v;
}

enum mu_rc mu_mkdir_all(const char *path, mode_t mode)
{
    char *copy = strdup(path);
    enum mu_rc rc = MU_OK;

    if (!copy)
        return MU_NOMEM;
    for (char *p = copy + 1; *copy && rc == MU_OK; p++) {
        bool is_last = *p == '\0';

        if (*p != '/' && !is_last)
            continue;
        *p = '\0';
        if (mkdir(copy, mode) && errno != EEXIST)
            rc = MU_EIO;
        if (is_last)
            break;
        *p = '/';
    }
    if (rc == MU_OK) {
        struct stat st;

        if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
            errno = ENOTDIR;
            rc = MU_EIO;
        }
    }
    free(copy);
    return rc;
}

static bool write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t w = write(fd, p, n);

        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return false;
        p += w;
        n -= (size_t)w;
    }
    return true;
}

enum mu_rc mu_pidfile_write(const char *path, pid_t pid)
{
    char tmp[4096];
    char line[24];
    int n = snprintf(tmp, sizeof(tmp), "%s.%ld", path, (long)getpid());
    int len = snprintf(line, sizeof(line), "%ld\n", (long)pid);
    int fd;
    bool is_ok;

    if (n < 0 || (size_t)n >= sizeof(tmp)) {
        errno = ENAMETOOLONG;
        return MU_EIO;
    }
    unlink(tmp); /* of a process of that number that died here */
    fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return MU_EIO;
    is_ok = write_all(fd, line, (size_t)len);
    is_ok = close(fd) == 0 && is_ok;
    if (is_ok && rename(tmp, path) == 0)
        return MU_OK;
    n = errno;
    unlink(tmp);
    errno = n;
    return MU_EIO;
}

enum mu_rc mu_pidfile_read(const char *path, pid_t *pid)
{
    char line[32];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;
    uint64_t v;

    if (fd < 0)
        return errno == ENOENT ? MU_NOENT : MU_EIO;
    n = read(fd, line, sizeof(line));
    close(fd);
    if (n < 0)
        return MU_EIO;
    if (!mu_str_u64(mu_str_trim(mu_str_n(line, (size_t)n)), &v) || v == 0 || v > INT32_MAX)
        return MU_BAD;
    *pid = (pid_t)v;
    return MU_OK;
}

enum mu_rc mu_sd_notify(const char *state)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    size_t len = name ? strlen(name) : 0;
    size_t n = strlen(state);
    int fd;
    ssize_t sent;

    if (len == 0)
        return MU_NOENT;
    if (len >= sizeof(sa.sun_path) || (name[0] != '/' && name[0] != '@')) {
        errno = EINVAL;
        return MU_EIO;
    }
    memcpy(sa.sun_path, name, len);
    if (name[0] == '@') /* the abstract name space */
        sa.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return MU_EIO;
    sent = sendto(fd, state, n, MSG_NOSIGNAL, (const struct sockaddr *)&sa,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
    close(fd);
    return sent == (ssize_t)n ? MU_OK : MU_EIO;
}

enum mu_rc mu_sd_ready(const char *status)
{
    char text[512];

    snprintf(text, sizeof(text), "READY=1\nMAINPID=%ld%s%s", (long)getpid(),
             status ? "\nSTATUS=" : "", status ? status : "");
    return mu_sd_notify(text);
}

enum mu_rc mu_sd_reloading(void)
{
    char text[64];

    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)mu_mono_us());
    return mu_sd_notify(text);
}

enum mu_rc mu_sd_stopping(void)
{
    return mu_sd_notify("STOPPING=1");
}

#define GIVEN_DESCRIPTORS "MUSTER_DESCRIPTORS"

void mu_descriptors_raise(void)
{
    struct rlimit l;
    char text[24];

    if (getrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur >= l.rlim_max)
        return;
    snprintf(text, sizeof(text), "%llu", (unsigned long long)l.rlim_cur);
    (void)setenv(GIVEN_DESCRIPTORS, text, 0);
    l.rlim_cur = l.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &l);
}

void mu_descriptors_restore(void)
{
    const char *given = getenv(GIVEN_DESCRIPTORS);
    struct rlimit l;
    uint64_t n;

    if (!given || !mu_str_u64(mu_str_c(given), &n) || getrlimit(RLIMIT_NOFILE, &l) != 0 ||
        n >= l.rlim_cur)
        return;
    l.rlim_cur = (rlim_t)n;
    (void)setrlimit(RLIMIT_NOFILE, &l);
}
