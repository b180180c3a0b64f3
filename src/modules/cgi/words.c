/* words: what the error log says about scripts: their standard error line by line, why one could not
 * be started, and how it ended when that was not in order.
 */
#include "cgi.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#define LOG(c, level, tag, ...) MU_LOG(&(c)->r->log, "cgi", level, tag, __VA_ARGS__)

/* ---- standard error ---- */

static void put_line(const struct cgi_run *c, struct mu_str text)
{
    while (text.n > 0 && mu_is_space(text.p[text.n - 1]))
        text.n--;
    if (text.n > 0)
        LOG(c, MU_LOG_ERR, "MU1350", "%.*s says: %.*s", MU_FMT(c->name), MU_FMT(text));
}

void cgi_stderr_end(struct cgi_run *c)
{
    if (!c->line)
        return;
    put_line(c, mu_str_n(c->line->text, c->line->n));
    c->line->n = 0;
}

void cgi_stderr(struct cgi_run *c, struct mu_str bytes)
{
    cgi_record_err(c, bytes);
    if (!c->line)
        c->line = mu_new(c->r->arena, struct cgi_line);
    while (c->line && bytes.n > 0) {
        ssize_t end = mu_str_chr(bytes, '\n');
        size_t n = end < 0 ? bytes.n : (size_t)end;
        size_t room = sizeof(c->line->text) - c->line->n;
        bool is_line = end >= 0 && n <= room;

        if (n > room)
            n = room;
        memcpy(c->line->text + c->line->n, bytes.p, n);
        c->line->n += n;
        if (is_line || c->line->n == sizeof(c->line->text)) /* a long line takes several */
            cgi_stderr_end(c);
        bytes = mu_str_sub(bytes, n + is_line, bytes.n);
    }
}

/* ---- starting ---- */

struct reason {
    int err;
    bool is_passing; /* may work later: 503 */
    const char *text;
};

static const struct reason reasons[] = {
    { EACCES, false,
      "it may not be executed: it needs the permission (chmod +x) for the user the server runs as, "
      "and so do the folders above it" },
    { ENOENT, false,
      "the program that its first line names is not there (a CR at the end of that line counts)" },
    { ENOEXEC, false, "it is no program: a script begins with #! and the name of its interpreter" },
    { ENOTDIR, false, "the program that its first line names is not there" },
    { ETXTBSY, true, "it is being written" },
    { E2BIG, false, "its arguments and environment are larger than the system allows" },
    { EAGAIN, true, "there are as many processes as its user may have" },
    { ENOMEM, true, "there is no memory for another process" },
    { EMFILE, true, "there are too many open files in the helper that starts scripts" },
    { ENFILE, true, "there are too many open files in the system" },
    { ETOOMANYREFS, true, "too many scripts are being started" },
    { ECANCELED, true, "the helper that starts scripts found nobody waiting for it" },
    { ECONNREFUSED, true, "the helper that starts scripts is gone" },
    { ECONNRESET, true, "the helper that starts scripts ended; another one is started" },
};

static const struct reason *reason_of(int err)
{
    for (size_t i = 0; i < MU_ARRAY_LEN(reasons); i++) {
        if (reasons[i].err == err)
            return &reasons[i];
    }
    return NULL;
}

enum mu_status cgi_explain_spawn(const struct cgi_run *c, enum mu_rc rc, int err)
{
    const struct reason *why = reason_of(err);
    enum mu_status status =
        why && why->is_passing ? MU_503_SERVICE_UNAVAILABLE : MU_500_INTERNAL_SERVER_ERROR;

    switch (rc) {
    case MU_GONE:
        return mu_body_status(rc);
    case MU_DENIED:
        LOG(c, MU_LOG_ERR, "MU1351", "%.*s is not run: suexec refuses it, see the line before",
            MU_FMT(c->name));
        return cgi_log_error(c->r, c->conf, MU_500_INTERNAL_SERVER_ERROR, "refused by suexec");
    case MU_TIMEOUT:
        LOG(c, MU_LOG_ERR, "MU1352",
            "%.*s was not started in time: the helper that starts scripts is held up",
            MU_FMT(c->name));
        return cgi_log_error(c->r, c->conf, MU_503_SERVICE_UNAVAILABLE, "not started in time");
    default:
        break;
    }
    LOG(c, MU_LOG_ERR, "MU1353", "%.*s cannot be started (%s): %s", MU_FMT(c->name), strerror(err),
        why ? why->text : "this is all the system says");
    return cgi_log_error(c->r, c->conf, status, strerror(err));
}

/* ---- the end ---- */

void cgi_explain_end(const struct cgi_run *c)
{
    int sig;

    if (!c->has_exited || c->is_lost)
        return;
    if (WIFEXITED(c->exit_status)) {
        if (WEXITSTATUS(c->exit_status))
            LOG(c, MU_LOG_INFO, "MU1354", "%.*s ended with status %d", MU_FMT(c->name),
                WEXITSTATUS(c->exit_status));
        return;
    }
    sig = WTERMSIG(c->exit_status);
    LOG(c, MU_LOG_ERR, "MU1355", "%.*s was ended by signal %d (%s)%s", MU_FMT(c->name), sig,
        strsignal(sig),
        sig == SIGXCPU                     ? ": RLimitCPU says how long it may compute"
        : sig == SIGSEGV || sig == SIGABRT ? ": it crashed, or RLimitMEM left it too little memory"
                                           : "");
}
