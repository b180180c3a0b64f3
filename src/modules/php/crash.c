/*
 * crash: the last words of a child that a script brought down. PHP runs inside the server, so a
 * fault in it or in one of its extensions, or a recursion beyond the end of the stack, ends the
 * process; the supervisor sees a signal, and only the process knew the script. A handler on a stack
 * of its own writes one line to the error log's descriptor and lets the signal do what it would
 * have done: core dump, sanitizer's report, exit status. It calls nothing that is not safe in a
 * signal handler, and reads only what was put into static memory before.
 */
#include "php.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { STACK_SIZE = 64 * 1024, LINE_MAX_BYTES = 2048 };

static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
static const char *const names[] = { "SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT" };
static struct sigaction before[MU_ARRAY_LEN(signals)];
static char stack[STACK_SIZE];
static long utc_offset_s; /* of the local time when the child started */

/* What runs. */
static struct {
    volatile sig_atomic_t is_on;
    int fd;
    char client[64];
    char script[1024];
    char target[512];
} note;

struct line {
    char text[LINE_MAX_BYTES];
    size_t n;
};

static void add(struct line *l, const char *s)
{
    for (; *s && l->n < sizeof(l->text) - 1; s++) {
        unsigned char c = (unsigned char)*s;

        l->text[l->n++] = c < 0x20 || c == 0x7f ? '?' : *s;
    }
}

static void add_number(struct line *l, long v, int digits)
{
    char text[24];
    int at = (int)sizeof(text) - 1;

    text[at] = '\0';
    do {
        text[--at] = (char)('0' + v % 10);
        v /= 10;
        digits--;
    } while ((v > 0 || digits > 0) && at > 0);
    add(l, text + at);
}

static long days_of_year(long year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 366 : 365;
}

static long days_of_month(long year, long month)
{
    static const long days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

    return days[month] + (month == 1 && days_of_year(year) == 366 ? 1 : 0);
}

/* "[Fri Nov 21 14:44:52.123456 2025]": localtime() is not for signal handlers. */
static void add_time(struct line *l)
{
    static const char days[] = "Thu\0Fri\0Sat\0Sun\0Mon\0Tue\0Wed";
    static const char months[] = "Jan\0Feb\0Mar\0Apr\0May\0Jun\0Jul\0Aug\0Sep\0Oct\0Nov\0Dec";
    struct timespec now;
    long second, day, left, year = 1970, month = 0;

    clock_gettime(CLOCK_REALTIME, &now);
    second = (long)now.tv_sec + utc_offset_s;
    day = left = second / 86400;
    second %= 86400;
    for (; left >= days_of_year(year); year++)
        left -= days_of_year(year);
    for (; left >= days_of_month(year, month); month++)
        left -= days_of_month(year, month);
    add(l, "[");
    add(l, days + day % 7 * 4);
    add(l, " ");
    add(l, months + month * 4);
    add(l, " ");
    add_number(l, left + 1, 2);
    add(l, " ");
    add_number(l, second / 3600, 2);
    add(l, ":");
    add_number(l, second / 60 % 60, 2);
    add(l, ":");
    add_number(l, second % 60, 2);
    add(l, ".");
    add_number(l, now.tv_nsec / 1000, 6);
    add(l, " ");
    add_number(l, year, 4);
    add(l, "] ");
}

static void write_note(const char *name)
{
    static struct line l;
    long pid = (long)getpid();

    l.n = 0;
    add_time(&l);
    add(&l, "[php:crit] [pid ");
    add_number(&l, pid, 1);
    add(&l, ":tid ");
    add_number(&l, pid, 1);
    add(&l, "] [client ");
    add(&l, note.client);
    add(&l, "] MU1610: the script ");
    add(&l, note.script);
    add(&l, " ended this process with ");
    add(&l, name);
    add(&l, " (a fault in PHP or an extension, or recursion without an end), asked for by ");
    add(&l, note.target);
    l.text[l.n++] = '\n';
    (void)!write(note.fd, l.text, l.n);
}

static void crashed(int sig, siginfo_t *info, void *context)
{
    size_t i = 0;

    (void)context;
    while (i < MU_ARRAY_LEN(signals) - 1 && signals[i] != sig)
        i++;
    if (note.is_on) {
        note.is_on = 0;
        write_note(names[i]);
    }
    sigaction(sig, &before[i], NULL);
    /* A fault happens again on return; what was sent by somebody has to be sent again. */
    if (info->si_code <= 0 || sig == SIGABRT)
        raise(sig);
}

/* A stack that somebody (a sanitizer) has set already is as good. */
static bool have_stack(void)
{
    stack_t ours = { .ss_sp = stack, .ss_size = sizeof(stack) }, old;

    if (sigaltstack(NULL, &old) == 0 && !(old.ss_flags & SS_DISABLE))
        return true;
    return sigaltstack(&ours, NULL) == 0;
}

void mu_php_crash_prepare(void)
{
    struct sigaction sa = { .sa_sigaction = crashed, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    time_t now = time(NULL);
    struct tm tm;

    if (localtime_r(&now, &tm))
        utc_offset_s = tm.tm_gmtoff;
    if (!have_stack())
        return;
    sigemptyset(&sa.sa_mask);
    for (size_t i = 0; i < MU_ARRAY_LEN(signals); i++)
        sigaction(signals[i], &sa, &before[i]);
}

static void keep(char *to, size_t cap, struct mu_str s)
{
    size_t n = s.n < cap - 1 ? s.n : cap - 1;

    if (n)
        memcpy(to, s.p, n);
    to[n] = '\0';
}

void mu_php_crash_watch(const struct mu_req *r)
{
    int fd = mu_log_fd(&r->log);

    note.fd = fd >= 0 ? fd : STDERR_FILENO;
    keep(note.client, sizeof(note.client), r->log.client);
    keep(note.script, sizeof(note.script), r->filename);
    keep(note.target, sizeof(note.target), r->request_line);
    note.is_on = 1;
}

void mu_php_crash_unwatch(void)
{
    note.is_on = 0;
}
