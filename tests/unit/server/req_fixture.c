/* The site, its configuration and the capturing protocol of the request side's tests. */
#include "req_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <muster/clock.h>
#include <muster/str.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct site *site;

int site_setup(void **state)
{
    (void)state;
    site = calloc(1, sizeof(*site));
    assert_non_null(site);
    snprintf(site->root, sizeof(site->root), "/tmp/muster-req-XXXXXX");
    assert_non_null(mkdtemp(site->root));
    assert_int_equal(chmod(site->root, 0755), 0);
    site_dir("htdocs");
    site_dir("logs");
    return 0;
}

static void config_drop(void)
{
    if (site->arena)
        mu_arena_destroy(site->arena);
    site->arena = NULL;
    if (site->config)
        mu_config_destroy(site->config);
    site->config = NULL;
}

int site_teardown(void **state)
{
    char command[128];

    (void)state;
    config_drop();
    snprintf(command, sizeof(command), "rm -rf '%s'", site->root);
    assert_int_equal(system(command), 0);
    free(site);
    site = NULL;
    return 0;
}

static void full_path(char out[512], const char *path)
{
    assert_true(snprintf(out, 512, "%s/%s", site->root, path) < 512);
}

void site_dir(const char *path)
{
    char full[512];

    full_path(full, path);
    for (char *p = full + strlen(site->root) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
        *p = '/';
    }
    assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
}

void site_file(const char *path, const char *content)
{
    struct timespec times[2];
    char full[512], *slash;
    FILE *f;

    full_path(full, path);
    slash = strrchr(path, '/') ? strdup(path) : NULL;
    if (slash) {
        *strrchr(slash, '/') = '\0';
        site_dir(slash);
        free(slash);
    }
    f = fopen(full, "w");
    assert_non_null(f);
    assert_true(fputs(content, f) >= 0);
    assert_int_equal(fclose(f), 0);
    clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= 3600;
    times[1] = times[0];
    assert_int_equal(utimensat(AT_FDCWD, full, times, 0), 0);
}

void site_link(const char *path, const char *target)
{
    char full[512], to[512];

    full_path(full, path);
    if (target[0] == '@')
        snprintf(to, sizeof(to), "%s%s", site->root, target + 1);
    else
        snprintf(to, sizeof(to), "%s", target);
    assert_int_equal(symlink(to, full), 0);
}

static void report(void *arg, bool is_error, const char *message)
{
    size_t n = strlen(site->messages);

    (void)arg;
    snprintf(site->messages + n, sizeof(site->messages) - n, "%s%s\n",
             is_error ? "" : "warning: ", message);
}

static void write_conf(const char *conf)
{
    char path[512];
    FILE *f;

    full_path(path, "httpd.conf");
    f = fopen(path, "w");
    assert_non_null(f);
    fprintf(
        f,
        "ServerRoot \"%s\"\nServerName main.test\nListen 127.0.0.1:1\nDocumentRoot \"%s/htdocs\"\n",
        site->root, site->root);
    for (; *conf; conf++) {
        if (conf[0] == '@' && conf[1] == '/')
            fputs(site->root, f);
        else
            fputc(*conf, f);
    }
    assert_int_equal(fclose(f), 0);
}

static enum mu_rc load(const char *conf)
{
    static struct mu_module *builtin[16];
    char path[512];
    struct mu_config_opts opts = {
        .server_root = site->root, .file = path, .builtin = builtin, .report = report
    };
    size_t n = 0;
    enum mu_rc rc;

    builtin[n++] = &mu_module_core;
    for (size_t i = 0; site->modules && site->modules[i]; i++)
        builtin[n++] = site->modules[i];
    builtin[n] = NULL;
    config_drop();
    site->messages[0] = '\0';
    write_conf(conf);
    full_path(path, "httpd.conf");
    rc = mu_config_load(&opts, &site->config);
    return rc == MU_OK ? mu_server_prepare(site->config) : rc;
}

void site_load(const char *conf)
{
    if (load(conf) != MU_OK)
        fail_msg("not loaded: %s", site->messages);
}

void site_load_bad(const char *conf)
{
    assert_int_equal(load(conf), MU_BAD);
    assert_true(site->messages[0] != '\0');
}

/* ---- the protocol ---- */

static void take(struct answer *a, const struct mu_chunk *c)
{
    size_t room = sizeof(a->body) - 1 - a->body_n;
    ssize_t n = 0;

    if (c->kind == MU_CHUNK_MEM) {
        assert_true(c->mem.n <= room);
        memcpy(a->body + a->body_n, c->mem.p, c->mem.n);
        n = (ssize_t)c->mem.n;
    } else if (c->kind == MU_CHUNK_FILE) {
        assert_true(c->len <= room);
        a->files++;
        n = pread(c->fd, a->body + a->body_n, (size_t)c->len, (off_t)c->off);
        assert_true(n >= 0);
    }
    a->body_n += (size_t)n;
}

static enum mu_rc proto_write(struct mu_exchange *x, const struct mu_chunk *chunks, size_t n,
                              bool is_last)
{
    x->is_head_sent = true;
    for (size_t i = 0; i < n && !x->req.is_head; i++)
        take(&site->a, &chunks[i]);
    x->is_ended = x->is_ended || is_last;
    return MU_OK;
}

static enum mu_rc proto_body(struct mu_exchange *x, void *buf, size_t cap, size_t *got)
{
    (void)x;
    (void)buf;
    (void)cap;
    *got = 0;
    return MU_EOF;
}

static const struct mu_exchange_ops ops = { .write = proto_write, .body_read = proto_body };

static struct mu_str word(struct mu_str *rest, char sep)
{
    struct mu_str s = MU_STR_NULL;

    (void)mu_str_split(rest, sep, &s);
    return s;
}

/* "name:80" → host, port. */
static void set_host(struct mu_req *r, struct mu_str value)
{
    uint64_t port = 0;

    r->host = mu_str_dup_lower(r->arena, word(&value, ':'));
    if (value.n)
        assert_true(mu_str_u64(value, &port));
    r->host_port = (uint16_t)port;
}

static void set_fields(struct mu_req *r, struct mu_str rest)
{
    struct mu_str line;

    while (mu_str_split(&rest, '\n', &line)) {
        struct mu_str name = word(&line, ':'), value = mu_str_trim(line);

        assert_int_equal(mu_headers_add(r->arena, &r->in, name, value), MU_OK);
        if (mu_str_ieq(name, MU_S("Host")))
            set_host(r, value);
        if (mu_str_ieq(name, MU_S("Expect")))
            mu_exchange_of(r)->expects_unknown = !mu_str_ieq(value, MU_S("100-continue"));
    }
}

static void exchange_begin(const char *request)
{
    struct mu_str rest, line;
    struct mu_req *r;
    ssize_t q;

    if (site->arena)
        mu_arena_destroy(site->arena);
    site->arena = mu_arena_create(0);
    site->x = mu_new(site->arena, struct mu_exchange);
    assert_non_null(site->x);
    site->x->ops = &ops;
    site->x->peer = (struct mu_peer){ .client_ip = MU_S("192.0.2.9"),
                                      .client_port = 999,
                                      .local_ip = MU_S("127.0.0.1"),
                                      .local_port = 80 };
    r = &site->x->req;
    r->arena = site->arena;
    r->peer = &site->x->peer;
    r->vhost = site->config->main;
    r->conf = r->vhost->base;
    r->status = MU_200_OK;
    r->content_length = r->last_modified = -1;
    r->version = 1001;
    r->time_us = mu_real_us();
    rest = mu_str_dup(site->arena, mu_str_c(request));
    line = word(&rest, '\n');
    r->request_line = mu_str_cat(site->arena, line, MU_S(" HTTP/1.1"));
    r->method_name = word(&line, ' ');
    r->method = mu_method_parse(r->method_name);
    r->is_head = r->method == MU_M_HEAD;
    r->target = line;
    q = mu_str_chr(line, '?');
    site->x->raw_path = q < 0 ? line : mu_str_sub(line, 0, (size_t)q);
    if (q >= 0)
        r->query = mu_str_sub(line, (size_t)q + 1, line.n);
    r->host = MU_S("main.test");
    set_fields(r, rest);
}

struct answer *ask(const char *request)
{
    memset(&site->a, 0, sizeof(site->a));
    exchange_begin(request);
    mu_process_exchange(site->x);
    site->a.r = mu_exchange_answer(site->x);
    site->a.status = (int)site->a.r->status;
    site->a.is_ended = site->x->is_ended;
    site->a.is_aborted = site->x->is_aborted;
    mu_log_exchange(site->x);
    mu_buf_fini(&site->x->gather);
    return &site->a;
}

const char *field(const char *name)
{
    static char value[1024];
    struct mu_str s = mu_headers_get(&site->a.r->out, mu_str_c(name));

    snprintf(value, sizeof(value), "%.*s", MU_FMT(s));
    return value;
}

const char *text(void)
{
    site->a.body[site->a.body_n] = '\0';
    return site->a.body;
}
