/*
 * fcgi_words: what the error log says about a FastCGI application: its stderr line by line, and one line for each
 * conversation that failed, with the name of the backend, what happened, and where to look.
 */
#include "fcgi_talk.h"

#include <inttypes.h>
#include <muster/str.h>

#define LOG(t, level, tag, ...) MU_LOG(&(t)->r->log, "proxy_fcgi", level, tag, __VA_ARGS__)

/* ---- stderr ---- */

static void put_line(struct mu_talk *t, struct mu_str text)
{
    while (text.n > 0 && mu_is_space(text.p[text.n - 1]))
        text.n--;
    if (text.n > 0)
        LOG(t, MU_LOG_ERR, "MU1401", "%.*s says: %.*s", MU_FMT(t->o->name), MU_FMT(text));
}

void mu_talk_stderr_end(struct mu_talk *t)
{
    if (!t->line)
        return;
    put_line(t, mu_str_n(t->line->text, t->line->n));
    t->line->n = 0;
}

void mu_talk_stderr(struct mu_talk *t, struct mu_str bytes)
{
    if (!t->line)
        t->line = mu_new(t->r->arena, struct mu_talk_line);
    if (!t->line)
        return;
    while (bytes.n > 0) {
        ssize_t end = mu_str_chr(bytes, '\n');
        size_t n = end < 0 ? bytes.n : (size_t)end;
        size_t room = sizeof(t->line->text) - t->line->n;

        if (n > room)
            n = room;
        memcpy(t->line->text + t->line->n, bytes.p, n);
        t->line->n += n;
        if (end >= 0 && n == (size_t)end) {
            mu_talk_stderr_end(t);
            n++; /* the line end */
        } else if (t->line->n == sizeof(t->line->text)) {
            mu_talk_stderr_end(t); /* a long line takes several */
        }
        bytes = mu_str_sub(bytes, n, bytes.n);
    }
}

/* ---- failures ---- */

static void explain_broken(const struct mu_talk *t)
{
    struct mu_str name = t->o->name;

    if (t->has_client)
        LOG(t, MU_LOG_ERR, "MU1402",
            "%.*s ended while it was answering the client by itself; its own log may say why",
            MU_FMT(name));
    else if (t->has_answer)
        LOG(t, MU_LOG_ERR, "MU1403",
            "%.*s ended in the middle of its answer; if it crashed or was stopped, its own log says "
            "so",
            MU_FMT(name));
    else if (t->in.has_bytes)
        LOG(t, MU_LOG_ERR, "MU1404",
            "%.*s ended before it had answered; if it crashed or was stopped, its own log says so",
            MU_FMT(name));
    else
        LOG(t, MU_LOG_ERR, "MU1405",
            "%.*s took the connection and closed it without a word; it may have crashed or been "
            "stopped (see its own log), or accept connections from other addresses alone",
            MU_FMT(name));
}

static bool speaks_http(const struct mu_talk *t)
{
    struct mu_str first = mu_str_n(t->first, t->first_n);

    return mu_str_starts(first, MU_S("HTTP/")) || mu_str_starts(first, MU_S("<"));
}

static void explain_nonsense(const struct mu_talk *t)
{
    if (speaks_http(t))
        LOG(t, MU_LOG_ERR, "MU1406",
            "%.*s answered in HTTP, not in FastCGI: the address is that of a web server",
            MU_FMT(t->o->name));
    else
        LOG(t, MU_LOG_ERR, "MU1407",
            "%.*s sent %s; is it a FastCGI application that listens there?", MU_FMT(t->o->name),
            t->in.why ? t->in.why : "something else than FastCGI");
}

static void explain_late(const struct mu_talk *t)
{
    if (t->stage != MU_TALK_SENT)
        LOG(t, MU_LOG_ERR, "MU1408",
            "%.*s has read nothing of the request for %" PRId64
            " s: all its processes may be busy, or it is stuck; give it more, or more time",
            MU_FMT(t->o->name), t->o->io_ms / 1000);
    else
        LOG(t, MU_LOG_ERR, "MU1409",
            "no word from %.*s for %" PRId64
            " s: the script may be slow or stuck, or all its processes are busy; give it more time "
            "(timeout=, ProxyTimeout), or more processes",
            MU_FMT(t->o->name), t->o->io_ms / 1000);
}

static void explain_refused(const struct mu_talk *t)
{
    if (t->outcome == MU_FCGI_OVERLOADED)
        LOG(t, MU_LOG_ERR, "MU1411", "%.*s declined the request: it is overloaded",
            MU_FMT(t->o->name));
    else
        LOG(t, MU_LOG_ERR, "MU1412", "%.*s declined the request: %s", MU_FMT(t->o->name),
            t->outcome == MU_FCGI_UNKNOWN_ROLE ? "it is no responder"
                                               : "it wants a connection for each request");
}

static void explain_again(const struct mu_talk *t)
{
    if (t->c.is_reused)
        LOG(t, MU_LOG_DEBUG, "MU1413", "%.*s had closed a kept connection: a new one is made",
            MU_FMT(t->o->name));
    else
        LOG(t, MU_LOG_WARN, "MU1414",
            "%.*s ended before it had answered; the request is sent once more (its own log may say "
            "why it ended)",
            MU_FMT(t->o->name));
}

void mu_talk_explain(const struct mu_talk *t, bool again)
{
    if (again) {
        explain_again(t);
        return;
    }
    switch (t->end) {
    case MU_TALK_BROKEN:
        explain_broken(t);
        break;
    case MU_TALK_NONSENSE:
        explain_nonsense(t);
        break;
    case MU_TALK_LATE:
        explain_late(t);
        break;
    case MU_TALK_REFUSED:
        explain_refused(t);
        break;
    case MU_TALK_TOO_MUCH:
        LOG(t, MU_LOG_ERR, "MU1415", "a parameter for %.*s is longer than FastCGI can say (2 GiB)",
            MU_FMT(t->o->name));
        break;
    case MU_TALK_NO_MEMORY:
        LOG(t, MU_LOG_ERR, "MU1416", "out of memory or descriptors while %.*s was asked",
            MU_FMT(t->o->name));
        break;
    case MU_TALK_CLIENT:
        LOG(t, MU_LOG_DEBUG, "MU1417", "the client left: %.*s is told to stop", MU_FMT(t->o->name));
        break;
    default:
        break;
    }
}
