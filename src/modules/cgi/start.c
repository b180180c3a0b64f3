/* start: a script's words, environment and pipes, and the client's own socket for an nph- script.
 *
 * The server keeps one end of each pipe; the script's ends are closed here as soon as the helper has
 * them. A request without a body reads /dev/null, which this process opens once.
 */
#include "cgi.h"

#include <errno.h>
#include <fcntl.h>
#include <muster/clock.h>
#include <unistd.h>

enum {
    WORDS_MAX = 4095, /* httpd's APACHE_ARG_MAX - 1 */
    START_MS = 30000, /* the helper is busy, or the machine is */
};

static int null_fd = -1;

enum mu_rc cgi_start_open(void)
{
    null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return null_fd < 0 ? MU_EIO : MU_OK;
}

void cgi_start_close(void)
{
    if (null_fd >= 0)
        close(null_fd);
    null_fd = -1;
}

/* ---- words ---- */

/* Percent-decoded; what a shell would look at gets a backslash, as in httpd. NULL: no word, or out
 * of memory. */
static char *word_of(struct mu_arena *a, struct mu_str raw)
{
    char *out = mu_arena_alloc(a, 2 * raw.n + 1);
    size_t n = 0;

    for (size_t i = 0; out && i < raw.n; i++) {
        char b = raw.p[i];

        if (b == '%') {
            int high = i + 2 < raw.n ? mu_hex(raw.p[i + 1]) : -1;
            int low = i + 2 < raw.n ? mu_hex(raw.p[i + 2]) : -1;

            if (high < 0 || low < 0 || high + low == 0)
                return NULL;
            b = (char)(high * 16 + low);
            i += 2;
        }
        if (strchr("&;`'\"|*?~<>^()[]{}$\\\n\xff", b))
            out[n++] = '\\';
        out[n++] = b;
    }
    if (out)
        out[n] = '\0';
    return out;
}

/* RFC 3875 section 4.4: a query without '=' is a search, whose words become arguments. */
static bool is_search(const struct mu_req *r)
{
    return r->query.n && (r->method == MU_M_GET || r->method == MU_M_HEAD) &&
           mu_str_chr(r->query, '=') < 0;
}

/* NULL: out of memory. A search that is none in the end gives no words at all. */
static char **words_of(struct mu_req *r)
{
    struct mu_str rest = is_search(r) ? r->query : MU_STR_NULL, piece;
    size_t most = 2, n = 0;
    char **argv;

    for (size_t i = 0; i < rest.n; i++)
        most += rest.p[i] == '+';
    most = most < WORDS_MAX ? most : WORDS_MAX;
    argv = mu_new_n(r->arena, char *, most + 1);
    if (!argv)
        return NULL;
    argv[n++] = (char *)(uintptr_t)r->filename.p;
    while (n < most && mu_str_split(&rest, '+', &piece)) {
        if (!piece.n)
            continue;
        argv[n] = word_of(r->arena, piece);
        if (!argv[n]) {
            argv[1] = NULL;
            break;
        }
        n++;
    }
    return argv;
}

static const char *folder_of(struct mu_req *r)
{
    ssize_t slash = mu_str_rchr(r->filename, '/');

    return slash > 0 ? mu_cstr(r->arena, mu_str_sub(r->filename, 0, (size_t)slash)) : "/";
}

/* ---- pipes ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* `ours` is the number of the server's end in what pipe2 gives; the other one is the script's. */
static bool open_pipe(struct mu_io *io, int ours, int *theirs)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    mu_io_init(io, ends[ours]);
    *theirs = ends[1 - ours];
    return true;
}

/* The script's three descriptors; those at `is_theirs` are to be closed when it has them. */
static bool open_pipes(struct cgi_run *c, int *fd, bool *is_theirs)
{
    bool has_body = c->r->has_body && !c->r->main;

    fd[0] = has_body ? -1 : null_fd;
    fd[1] = c->client_fd;
    is_theirs[0] = has_body;
    is_theirs[1] = c->client_fd < 0;
    is_theirs[2] = true;
    return (!has_body || open_pipe(&c->in, 1, &fd[0])) &&
           (c->client_fd >= 0 || open_pipe(&c->out, 0, &fd[1])) && open_pipe(&c->err, 0, &fd[2]);
}

/* ---- the client's socket ---- */

/* Of an nph- script only. MU_STATUS_NONE: lent, or relayed; else the client is gone. */
static enum mu_status lend(struct cgi_run *c)
{
    enum mu_rc rc;

    if (!c->nph)
        return MU_STATUS_NONE;
    rc = mu_client_lend(c->r, &c->client_fd);
    if (rc == MU_OK)
        return MU_STATUS_NONE;
    c->client_fd = -1;
    if (rc != MU_DENIED)
        return mu_body_status(rc);
    MU_LOG(&c->r->log, "cgi", MU_LOG_DEBUG, "MU1343",
           "%.*s cannot have the client's socket: what it writes is relayed", MU_FMT(c->name));
    return MU_STATUS_NONE;
}

static enum mu_status out_of_memory(const struct cgi_run *c)
{
    MU_LOG(&c->r->log, "cgi", MU_LOG_ERR, "MU1344",
           "%.*s is not started: out of memory or descriptors", MU_FMT(c->name));
    return MU_503_SERVICE_UNAVAILABLE;
}

static enum mu_status spawn(struct cgi_run *c, struct mu_spawn *s)
{
    bool is_theirs[3] = { false, false, false };
    enum mu_rc rc = MU_NOMEM;
    int err = errno;

    s->fd[0] = s->fd[1] = s->fd[2] = -1;
    if (open_pipes(c, s->fd, is_theirs))
        rc = mu_spawn(s, &c->script, mu_deadline(START_MS), &err);
    for (int i = 0; i < 3; i++) {
        if (is_theirs[i])
            close_fd(&s->fd[i]);
    }
    c->has_script = rc == MU_OK;
    c->has_client = c->has_script && c->client_fd >= 0;
    if (rc == MU_OK)
        return MU_STATUS_NONE;
    if (c->client_fd >= 0) /* it has said nothing: the answer is the server's again */
        (void)mu_client_returned(c->r, MU_STATUS_NONE, 0);
    c->client_fd = -1;
    if (rc == MU_NOMEM)
        return out_of_memory(c);
    return cgi_explain_spawn(c, rc, err);
}

enum mu_status cgi_start(struct cgi_run *c)
{
    struct mu_req *r = c->r;
    struct mu_spawn s = { .path = r->filename.p,
                          .argv = words_of(r),
                          .dir = folder_of(r),
                          .limits = mu_req_app_limits(r),
                          .suexec = mu_req_suexec(r) };
    struct mu_cgi_env env;
    enum mu_status status;

    if (mu_cgi_env_make(r, &env) == MU_OK)
        s.envp = mu_cgi_env_strings(&env);
    if (!s.argv || !s.dir || !s.envp)
        return out_of_memory(c);
    status = lend(c);
    return status == MU_STATUS_NONE ? spawn(c, &s) : status;
}
