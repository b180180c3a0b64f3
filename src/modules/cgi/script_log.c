/* script_log: ScriptLog, a file for whoever writes scripts: for each one that gave no answer what was
 * asked, what it got and what it wrote, in httpd's format. Nothing of it is kept or made without the
 * directive. An entry is one write, so entries of several processes do not mix.
 */
#include "cgi.h"

#include <errno.h>
#include <fcntl.h>
#include <muster/clock.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { KEPT = 16 * 1024 /* of output, and of standard error */ };

/* ---- keeping ---- */

void cgi_record_begin(struct cgi_run *c)
{
    if (c->conf->log.n)
        c->record = mu_new(c->r->arena, struct cgi_record);
}

void cgi_record_end(struct cgi_run *c)
{
    if (!c->record)
        return;
    mu_buf_fini(&c->record->body);
    mu_buf_fini(&c->record->out);
    mu_buf_fini(&c->record->err);
    c->record = NULL;
}

static void keep(struct mu_buf *b, struct mu_str bytes, size_t most)
{
    if (b->n < most)
        mu_buf_add(b, mu_str_sub(bytes, 0, most - b->n));
}

void cgi_record_body(struct cgi_run *c, struct mu_str bytes)
{
    if (c->record)
        keep(&c->record->body, bytes, (size_t)c->conf->log_buffer);
}

void cgi_record_out(struct cgi_run *c, struct mu_str bytes)
{
    if (c->record)
        keep(&c->record->out, bytes, KEPT);
}

void cgi_record_err(struct cgi_run *c, struct mu_str bytes)
{
    if (c->record)
        keep(&c->record->err, bytes, KEPT);
}

/* ---- writing ---- */

struct entry {
    const struct cgi_conf *conf;
    struct mu_arena *arena;
    struct mu_str text;
    int err;
};

static void write_entry(void *arg)
{
    struct entry *e = arg;
    const char *path = mu_cstr(e->arena, e->conf->log);
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
    struct stat st;

    if (fd < 0) {
        e->err = errno;
        return;
    }
    if (fstat(fd, &st) == 0 && (int64_t)st.st_size <= e->conf->log_length &&
        write(fd, e->text.p, e->text.n) < 0)
        e->err = errno;
    close(fd);
}

static void put(struct mu_req *r, const struct cgi_conf *conf, struct mu_buf *text)
{
    struct entry e = { .conf = conf, .arena = r->arena, .text = mu_buf_str(text) };

    if (!text->is_failed)
        mu_offload_file(write_entry, &e);
    if (e.err)
        MU_LOG(
            &r->log, "cgi", MU_LOG_WARN, "MU1360",
            "ScriptLog %.*s cannot be written: %s; the user that the server runs as needs a file "
            "of its own there",
            MU_FMT(conf->log), strerror(e.err));
    mu_buf_fini(text);
}

static const char *protocol(const struct mu_req *r)
{
    return r->version == 9      ? "HTTP/0.9"
           : r->version == 1000 ? "HTTP/1.0"
           : r->version == 2000 ? "HTTP/2.0"
                                : "HTTP/1.1";
}

static void put_head(struct mu_buf *b, const struct mu_req *r, enum mu_status status)
{
    time_t now = (time_t)(mu_real_us() / 1000000);
    char when[32];
    struct tm tm;

    if (!localtime_r(&now, &tm) || !strftime(when, sizeof(when), "%a %b %d %H:%M:%S %Y", &tm))
        when[0] = '\0';
    mu_buf_addf(b, "%%%% [%s] %.*s %.*s%s%.*s %s\n", when, MU_FMT(r->method_name), MU_FMT(r->path),
                r->query.n ? "?" : "", MU_FMT(r->query), protocol(r));
    mu_buf_addf(b, "%%%% %d %.*s\n", status, MU_FMT(r->filename));
}

enum mu_status cgi_log_error(struct mu_req *r, const struct cgi_conf *conf, enum mu_status status,
                             const char *why)
{
    struct mu_buf b = { 0 };

    if (!conf->log.n)
        return status;
    put_head(&b, r, status);
    mu_buf_addf(&b, "%%error\n%s\n", why);
    put(r, conf, &b);
    return status;
}

/* The lines of a head, and the first that is none. */
static size_t head_length(struct mu_str out)
{
    struct mu_str rest = out, line;
    size_t n = 0;

    while (rest.n && mu_str_split(&rest, '\n', &line)) {
        n += line.n + 1;
        if (mu_str_chr(line, ':') < 0)
            break;
    }
    return n < out.n ? n : out.n;
}

static void put_part(struct mu_buf *b, const char *title, struct mu_str text)
{
    if (!text.n)
        return;
    mu_buf_add(b, mu_str_c(title));
    mu_buf_add(b, text);
    mu_buf_addc(b, '\n');
}

void cgi_log_answer(struct cgi_run *c, enum mu_status status)
{
    struct mu_req *r = c->r;
    struct mu_buf b = { 0 };
    struct mu_str out;
    size_t head;

    if (!c->record)
        return;
    out = mu_buf_str(&c->record->out);
    head = head_length(out);
    put_head(&b, r, status);
    mu_buf_add(&b, MU_S("%request\n"));
    for (uint32_t i = 0; i < r->in.n; i++)
        mu_buf_addf(&b, "%.*s: %.*s\n", MU_FMT(r->in.v[i].name), MU_FMT(r->in.v[i].value));
    put_part(&b, "\n", mu_buf_str(&c->record->body));
    mu_buf_add(&b, MU_S("%response\n"));
    put_part(&b, "", mu_str_sub(out, 0, head));
    put_part(&b, "%stdout\n", mu_str_sub(out, head, out.n));
    put_part(&b, "%stderr\n", mu_buf_str(&c->record->err));
    put(r, c->conf, &b);
}
