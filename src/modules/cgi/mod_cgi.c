/* mod_cgi: "cgi-script" runs the file as a program of its own for each request (RFC 3875).
 *
 * Whether it may run at all is decided here, in httpd's order; then it gets a place among the
 * scripts that run at once, is started by the helper (start.c), talked to (talk.c), and its place
 * is free again. Nothing here blocks: a fiber waits, no thread.
 */
#include "cgi.h"

#include <stdlib.h>
#include <sys/wait.h>

enum {
    MOST = 1024,
    QUEUE_LENGTH = 1024,
    QUEUE_TIMEOUT_MS = 10 * 1000,
    LOG_LENGTH = 10385760, /* httpd's numbers */
    LOG_BUFFER = 1024,
    EXIT_MS = 100, /* between the end of a script's output and its own, when that is not late */
    REPORT_MS = 10 * 1000, /* until the helper tells of an end, on a machine that has much to do */
    TAIL_MS = 1000,        /* for what it does behind its answer */
};

#define HANDLER "cgi-script"
#define OLD_HANDLER "application/x-httpd-cgi" /* by AddType */

/* ---- may it run? ---- */

/* ScriptAlias leaves this note: what it leads to needs no Options ExecCGI. */
static bool is_script_aliased(const struct mu_req *r)
{
    return mu_str_eq(mu_req_note(r, MU_S("alias-forced-type")), MU_S(HANDLER));
}

static bool is_nph(const struct mu_req *r)
{
    ssize_t slash = mu_str_rchr(r->filename, '/');

    return mu_str_starts(mu_str_sub(r->filename, (size_t)(slash + 1), r->filename.n), MU_S("nph-"));
}

static enum mu_status refuse(struct mu_req *r, const struct cgi_conf *conf, enum mu_status status,
                             const char *why)
{
    MU_LOG(&r->log, "cgi", MU_LOG_ERR, "MU1340", "%.*s is not run: %s", MU_FMT(r->filename), why);
    return cgi_log_error(r, conf, status, why);
}

static enum mu_status check(struct mu_req *r, const struct cgi_conf *conf)
{
    if (!(mu_req_options(r) & MU_OPT_EXECCGI) && !is_script_aliased(r))
        return refuse(r, conf, MU_403_FORBIDDEN, "Options ExecCGI is off in this directory");
    if (r->main && is_nph(r))
        return refuse(r, conf, MU_403_FORBIDDEN, "an nph- script cannot be part of another page");
    if (r->finfo.type == MU_FT_NONE)
        return refuse(r, conf, MU_404_NOT_FOUND, "there is no such file");
    if (r->finfo.type == MU_FT_DIR)
        return refuse(r, conf, MU_403_FORBIDDEN, "it is a directory");
    if (r->path_info.n && !mu_req_accepts_path_info(r, true))
        return refuse(r, conf, MU_404_NOT_FOUND, "AcceptPathInfo Off disallows the path behind it");
    return MU_STATUS_NONE;
}

/* ---- one place among those that run ---- */

static enum mu_status full(struct mu_req *r, const struct cgi_conf *conf, const char *why)
{
    int64_t seconds = (conf->queue_timeout_ms + 999) / 1000;
    struct mu_str value = mu_fmt(r->arena, "%lld", (long long)(seconds > 0 ? seconds : 1));

    if (value.p)
        (void)!mu_headers_set(r->arena, &r->out_always, MU_S("Retry-After"), value);
    MU_LOG(&r->log, "cgi", MU_LOG_ERR, "MU1341",
           "%.*s is not run: %lld scripts run already (CGIMaxProcesses), %s; answered 503",
           MU_FMT(r->filename), (long long)conf->most, why);
    return cgi_log_error(r, conf, MU_503_SERVICE_UNAVAILABLE, why);
}

static enum mu_status take_slot(struct cgi_run *c)
{
    const struct cgi_conf *conf = c->conf;
    const struct mu_script_limits l = { .most = (uint32_t)conf->most,
                                        .longest_queue = (uint32_t)conf->queue_length };
    enum mu_rc rc =
        mu_script_slot_take(&l, &c->leaves, mu_deadline(conf->queue_timeout_ms), &c->slot);

    c->has_slot = rc == MU_OK;
    switch (rc) {
    case MU_OK:
        return MU_STATUS_NONE;
    case MU_LIMIT:
        return full(c->r, conf, "and as many requests wait as may (CGIQueueLength)");
    case MU_TIMEOUT:
        return full(c->r, conf, "and none ended within CGIQueueTimeout");
    case MU_GONE:
        MU_LOG(&c->r->log, "cgi", MU_LOG_INFO, "MU1342",
               "the client left before %.*s could be started", MU_FMT(c->name));
        return mu_body_status(rc);
    case MU_NOMEM:
        return MU_503_SERVICE_UNAVAILABLE;
    default:
        return refuse(c->r, conf, MU_503_SERVICE_UNAVAILABLE,
                      "this process has no helper that could start it");
    }
}

/* ---- one run ---- */

static void close_pipes(struct cgi_run *c)
{
    mu_io_close(&c->in);
    mu_io_close(&c->out);
    mu_io_close(&c->err);
    free(c->body);
    c->body = NULL;
}

/* It is over: nothing of it is kept. A script that nobody wants hears so before its input ends, or it
 * might take half a body for the whole. */
static void release(struct cgi_run *c, bool is_wanted)
{
    cgi_stderr_end(c);
    if (c->has_script && is_wanted)
        mu_script_end(&c->script);
    else if (c->has_script)
        mu_script_kill(&c->script);
    c->has_script = false;
    close_pipes(c);
    if (c->has_slot)
        mu_script_slot_give(c->slot);
    c->has_slot = false;
}

/* A script that was ended by a signal did not finish what it wrote; without its helper it was. */
static enum mu_rc how_ended(const struct cgi_run *c)
{
    return c->is_lost || (c->has_exited && WIFSIGNALED(c->exit_status)) ? MU_EIO : MU_EOF;
}

/* Its output has ended. Did it end by that, and how? One that closed its output and goes on is not
 * waited for. */
static void await_end(struct cgi_run *c)
{
    cgi_tail(c, EXIT_MS);
    if (!c->has_exited && mu_script_is_ending(&c->script))
        cgi_tail(c, REPORT_MS);
}

/* The answer goes out before what the script does behind it is awaited; but what is another request's
 * answer is only asked for when this one is over, since it may be a script's, too. */
static enum mu_status finish_in_order(struct cgi_run *c)
{
    bool is_sent = c->answer.has_begun;
    enum mu_status status = MU_200_OK;

    await_end(c);
    if (is_sent)
        status = mu_cgi_answer_end(&c->answer, how_ended(c), MU_500_INTERNAL_SERVER_ERROR);
    if (!c->has_exited)
        cgi_tail(c, TAIL_MS);
    cgi_explain_end(c);
    release(c, true);
    if (is_sent)
        return status;
    return mu_cgi_answer_end(&c->answer, how_ended(c), MU_500_INTERNAL_SERVER_ERROR);
}

static enum mu_status finish_early(struct cgi_run *c)
{
    enum mu_status broken = MU_500_INTERNAL_SERVER_ERROR;
    enum mu_rc why = MU_EOF;

    if (c->end == CGI_BAD_HEAD)
        cgi_tail(c, TAIL_MS); /* it may say what is wrong */
    else
        (void)cgi_hear(c);
    cgi_explain_end(c);
    release(c, false);
    if (c->end == CGI_CLIENT) {
        broken = mu_body_status(c->client_rc);
        why = MU_GONE;
    } else if (c->end != CGI_ENOUGH) {
        why = c->end == CGI_LATE       ? MU_TIMEOUT
              : c->end == CGI_BAD_HEAD ? MU_BAD
              : c->end == CGI_BROKEN   ? MU_EIO
                                       : MU_NOMEM;
    }
    return mu_cgi_answer_end(&c->answer, why, broken);
}

/* It has answered by itself, whoever carried the bytes; what it said, nobody knows. */
static enum mu_status finish_raw(struct cgi_run *c)
{
    bool is_done = c->end == CGI_DONE;

    if (is_done)
        await_end(c);
    else
        (void)cgi_hear(c);
    cgi_explain_end(c);
    release(c, is_done);
    if (!is_done || how_ended(c) != MU_EOF)
        return mu_resp_abort(c->r);
    return c->has_client ? mu_client_returned(c->r, MU_200_OK, -1) : MU_200_OK;
}

static enum mu_status converse(struct cgi_run *c)
{
    enum mu_status status = cgi_start(c);

    if (status != MU_STATUS_NONE)
        return status;
    if (!c->has_client)
        mu_cgi_answer_begin(&c->answer, c->r, c->name, false);
    cgi_talk(c);
    if (c->has_client || (c->nph && c->nph->is_raw))
        return finish_raw(c);
    status = c->end == CGI_DONE ? finish_in_order(c) : finish_early(c);
    if (!c->answer.is_head_done)
        cgi_log_answer(c, status);
    return status;
}

struct call {
    struct mu_req *r;
    const struct cgi_conf *conf;
    enum mu_status status;
};

static void run_home(void *arg)
{
    struct call *call = arg;
    struct mu_req *r = call->r;
    struct cgi_run c = { .r = r,
                         .conf = call->conf,
                         .name = mu_fmt(r->arena, "script %.*s", MU_FMT(r->filename)),
                         .in = { .fd = -1 },
                         .out = { .fd = -1 },
                         .err = { .fd = -1 },
                         .client_fd = -1 };

    c.timeout_ms = c.conf->timeout_ms ? c.conf->timeout_ms : mu_req_timeout_ms(r);
    mu_wake_init(&c.leaves);
    mu_client_watch(r, &c.leaves);
    if (!mu_client_is_sending(r)) /* before there was anybody to be told */
        mu_wake_raise(&c.leaves);
    if (is_nph(r))
        c.nph = mu_new(r->arena, struct cgi_nph);
    cgi_record_begin(&c);
    call->status = c.name.p ? take_slot(&c) : MU_503_SERVICE_UNAVAILABLE;
    if (call->status == MU_STATUS_NONE)
        call->status = converse(&c);
    mu_client_watch(r, NULL);
    release(&c, false);
    cgi_record_end(&c);
}

static enum mu_status handle(struct mu_req *r, const void *conf)
{
    struct call call = { .r = r, .conf = conf };

    call.status = check(r, conf);
    if (call.status == MU_STATUS_NONE)
        mu_call_home(run_home, &call); /* a handler that may block can be behind this one */
    return call.status;
}

/* ---- the module ---- */

static void init(void *conf)
{
    *(struct cgi_conf *)conf = (struct cgi_conf){ .most = MOST,
                                                  .queue_length = QUEUE_LENGTH,
                                                  .queue_timeout_ms = QUEUE_TIMEOUT_MS,
                                                  .log_length = LOG_LENGTH,
                                                  .log_buffer = LOG_BUFFER };
}

static enum mu_rc child_start(struct mu_config *config)
{
    (void)config;
    return cgi_start_open();
}

static void child_stop(struct mu_config *config)
{
    (void)config;
    cgi_start_close();
}

#define C struct cgi_conf
#define SRVDIR (MU_IN_SERVER | MU_IN_DIR)
static const struct mu_directive directives[] = {
    MU_DIR_DURATION("CGIScriptTimeout", C, timeout_ms, SRVDIR, 0, INT32_MAX,
                    "the longest time in which a script says nothing; 0: TimeOut"),
    MU_DIR_DURATION("CGIDScriptTimeout", C, timeout_ms, SRVDIR, 0, INT32_MAX,
                    "another name of CGIScriptTimeout"),
    MU_DIR_INT("CGIMaxProcesses", C, most, MU_IN_GLOBAL, 1, MU_SCRIPT_SLOTS,
               "how many scripts run at once in the whole server"),
    MU_DIR_INT("CGIQueueLength", C, queue_length, MU_IN_GLOBAL, 0, 1000000,
               "how many requests wait at once for one of them to end"),
    MU_DIR_DURATION("CGIQueueTimeout", C, queue_timeout_ms, MU_IN_GLOBAL, 0, INT32_MAX,
                    "how long a request waits for that; then it is answered 503"),
    MU_DIR_PATH("ScriptLog", C, log, MU_IN_SERVER, "file that tells about scripts that failed"),
    MU_DIR_INT("ScriptLogLength", C, log_length, MU_IN_SERVER, 0, INT64_MAX,
               "size in bytes above which nothing more is written to it"),
    MU_DIR_INT("ScriptLogBuffer", C, log_buffer, MU_IN_SERVER, 0, 16777216,
               "how many bytes of a request's body it gets"),
    MU_DIR_IGNORED("ScriptSock", MU_IN_GLOBAL,
                   "Accepted without effect: scripts are started over a socket without a name"),
    MU_DIR_END
};
#undef C

MU_MODULE(cgi, .conf_size = sizeof(struct cgi_conf), .directives = directives, .init = init,
          .child_start = child_start, .child_stop = child_stop,
          .handlers = MU_HANDLERS({ HANDLER, handle, MU_ANY_METHOD, false, false },
                                  { OLD_HANDLER, handle, MU_ANY_METHOD, false, false }));
