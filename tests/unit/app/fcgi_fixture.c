/*
 * fcgi_fixture: the request side as the FastCGI client sees it, made of memory, and scripted applications on fibers of
 * the same reactor.
 */
#include "fcgi_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct scene *now; /* the request side's functions know no other way to it */
char scene_log[8192];

/* ---- the log ---- */

bool mu_log_is_on(const struct mu_log_ctx *ctx, const char *module, enum mu_log_level level)
{
    (void)ctx;
    (void)module;
    (void)level;
    return true;
}

void mu_log_at(const char *file, int line)
{
    (void)file;
    (void)line;
}

void mu_log_write(const struct mu_log_ctx *ctx, const char *module, enum mu_log_level level,
                  const char *tag, const char *fmt, ...)
{
    size_t n = strlen(scene_log), room = sizeof(scene_log) - n;
    va_list args;

    (void)ctx;
    (void)module;
    (void)level;
    if (strcmp(tag, "MU0100") == 0)
        return; /* a turn during which others had the processor */
    snprintf(scene_log + n, room, "%s ", tag);
    n = strlen(scene_log);
    va_start(args, fmt);
    vsnprintf(scene_log + n, sizeof(scene_log) - n, fmt, args);
    va_end(args);
    n = strlen(scene_log);
    snprintf(scene_log + n, sizeof(scene_log) - n, "\n");
}

/* ---- the request ---- */

enum mu_rc mu_body_spool(struct mu_req *r, uint64_t *len)
{
    now->spooled++;
    now->body_at = 0;
    *len = now->body.n;
    if (now->body_fails != MU_OK)
        return now->body_fails;
    if (r->has_body)
        r->body_len = (int64_t)now->body.n;
    return mu_yield();
}

enum mu_rc mu_body_read(struct mu_req *r, void *buf, size_t cap, size_t *got)
{
    size_t n = now->body.n - now->body_at;

    (void)r;
    *got = 0;
    if (n == 0)
        return MU_EOF;
    *got = n < cap ? n : cap;
    memcpy(buf, now->body.p + now->body_at, *got);
    now->body_at += *got;
    return MU_OK;
}

enum mu_rc mu_body_try_read(struct mu_req *r, void *buf, size_t cap, size_t *got,
                            struct mu_wait_item *item, int64_t *deadline_ms)
{
    size_t n = now->fed.n < cap ? now->fed.n : cap;

    if (!now->is_fed)
        return mu_body_read(r, buf, cap, got);
    *got = n;
    if (n > 0) {
        memcpy(buf, now->fed.p, n);
        mu_buf_consume(&now->fed, n);
        return MU_OK;
    }
    if (now->feed_has_ended)
        return now->body_fails != MU_OK ? now->body_fails : MU_EOF;
    *item = (struct mu_wait_item){ .wake = &now->feed };
    *deadline_ms = mu_deadline(60000);
    return MU_AGAIN;
}

enum mu_status mu_body_status(enum mu_rc rc)
{
    return rc == MU_LIMIT     ? MU_413_CONTENT_TOO_LARGE
           : rc == MU_TIMEOUT ? MU_408_REQUEST_TIMEOUT
           : rc == MU_NOMEM   ? MU_503_SERVICE_UNAVAILABLE
                              : MU_400_BAD_REQUEST;
}

void mu_resp_spool(struct mu_req *r)
{
    (void)r;
    now->is_spooling = 1;
}

struct mu_str mu_req_env(const struct mu_req *r, struct mu_str name)
{
    return mu_headers_get(&r->env, name);
}

/* ---- environment and answer ---- */

enum mu_rc mu_cgi_env_make(struct mu_req *r, struct mu_cgi_env *env)
{
    *env = (struct mu_cgi_env){ .r = r, .v = mu_new_n(r->arena, struct mu_cgi_var, 64), .cap = 64 };
    if (!env->v || mu_cgi_env_set(env, MU_S("REQUEST_METHOD"), r->method_name) != MU_OK)
        return MU_NOMEM;
    for (uint32_t i = 0; i < r->env.n; i++)
        if (mu_cgi_env_set(env, r->env.v[i].name, r->env.v[i].value) != MU_OK)
            return MU_NOMEM;
    return MU_OK;
}

enum mu_rc mu_cgi_env_set(struct mu_cgi_env *env, struct mu_str name, struct mu_str value)
{
    for (size_t i = 0; i < env->n; i++)
        if (mu_str_eq(env->v[i].name, name)) {
            env->v[i].value = value;
            return MU_OK;
        }
    assert_true(env->n < env->cap);
    env->v[env->n++] = (struct mu_cgi_var){ name, value };
    return MU_OK;
}

void mu_cgi_env_unset(struct mu_cgi_env *env, struct mu_str name)
{
    for (size_t i = 0; i < env->n; i++)
        if (mu_str_eq(env->v[i].name, name))
            env->v[i--] = env->v[--env->n];
}

struct mu_str mu_cgi_env_get(const struct mu_cgi_env *env, struct mu_str name)
{
    for (size_t i = 0; i < env->n; i++)
        if (mu_str_eq(env->v[i].name, name))
            return env->v[i].value;
    return MU_STR_NULL;
}

const struct mu_php_value *mu_req_php_values(const struct mu_req *r, size_t *n)
{
    (void)r;
    *n = now->php_n;
    return now->php;
}

const struct mu_str *mu_php_names(const struct mu_vhost *v, size_t *n)
{
    (void)v;
    *n = now->php_names_n;
    return now->php_names;
}

void mu_cgi_answer_begin(struct mu_cgi_answer *a, struct mu_req *r, struct mu_str source,
                         bool flushes)
{
    now->begun++;
    *a = (struct mu_cgi_answer){ .r = r, .source = source, .flushes = flushes };
}

enum mu_rc mu_cgi_answer_bytes(struct mu_cgi_answer *a, struct mu_str bytes)
{
    enum mu_rc rc;

    (void)a;
    mu_buf_add(&now->answer, bytes);
    rc = now->is_slow ? mu_sleep(1) : MU_OK;
    return rc != MU_OK ? rc : now->answer_gives;
}

enum mu_rc mu_cgi_answer_flush(struct mu_cgi_answer *a)
{
    (void)a;
    now->flushed++;
    return MU_OK;
}

enum mu_status mu_cgi_answer_end(struct mu_cgi_answer *a, enum mu_rc why, enum mu_status broken)
{
    (void)a;
    assert_int_equal(now->closed, now->opened); /* the process is free by now */
    now->ended++;
    now->why = why;
    now->broken = broken;
    return why == MU_EOF ? MU_200_OK : broken;
}

/* ---- the client ---- */

enum mu_rc mu_client_lend(struct mu_req *r, int *fd)
{
    (void)r;
    now->lent++;
    if (now->lend_gives != MU_OK)
        return now->lend_gives;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, now->lend_pair), 0);
    *fd = now->lend_pair[0];
    return MU_OK;
}

enum mu_status mu_client_returned(struct mu_req *r, enum mu_status status, int64_t bytes)
{
    (void)r;
    now->returned++;
    now->returned_status = status;
    now->returned_bytes = bytes;
    return status;
}

enum mu_status mu_resp_abort(struct mu_req *r)
{
    now->aborted++;
    return r->status;
}

void mu_client_watch(struct mu_req *r, struct mu_wake *w)
{
    (void)r;
    now->watch = w;
}

bool mu_client_is_sending(struct mu_req *r)
{
    (void)r;
    return !now->is_silent;
}

enum mu_rc mu_client_ask(struct mu_req *r)
{
    (void)r;
    now->asked++;
    mu_wake_raise(&now->was_asked);
    return now->asks_give;
}

/* ---- the applications ---- */

static enum mu_rc open_app(struct mu_req *r, struct mu_fcgi_conn *c, void *arg,
                           enum mu_status *status);

/* More of what the server sends. */
static bool hear(struct app *a)
{
    char buf[700];
    size_t n;
    enum mu_rc rc = mu_read(&a->io, buf, sizeof(buf), &n, MU_NEVER);

    if (rc != MU_OK) {
        a->got_eof = true;
        return false;
    }
    mu_buf_add(&a->heard, mu_str_n(buf, n));
    return true;
}

/* Read until the stream `type` has ended. */
static void hear_stream(struct app *a, enum mu_fcgi_type type)
{
    for (;;) {
        struct mu_fcgi_piece p;
        size_t used;

        if (a->scanned == a->heard.n && !hear(a))
            return;
        assert_int_equal(
            mu_fcgi_read(&a->reader, a->heard.p + a->scanned, a->heard.n - a->scanned, &p, &used),
            MU_OK);
        a->scanned += used;
        if (p.is_there && p.type == type && p.len == 0)
            return;
    }
}

static void say(struct app *a, const void *p, size_t n)
{
    (void)!mu_write_all(&a->io, p, n,
                        MU_NEVER); /* a server that has left is what some tests are about */
}

static void say_record(struct app *a, enum mu_fcgi_type type, struct mu_str data)
{
    uint8_t head[MU_FCGI_HEAD];

    mu_fcgi_head(head, type, 1, data.n);
    say(a, head, sizeof(head));
    say(a, data.p, data.n);
}

static void say_much(struct app *a, size_t n)
{
    static char block[65535];
    size_t size = 1;

    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (char)('a' + i % 23);
    while (n > 0) {
        size_t len = size < n ? size : n;

        say_record(a, MU_FCGI_T_STDOUT, mu_str_n(block, len));
        n -= len;
        size = size * 7 % 65535 + 1;
    }
}

static void receive_client(struct app *a, struct mu_str words)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    char buf[16];
    struct iovec iov = { buf, sizeof(buf) };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
    };
    struct mu_wait_item it = { .io = &a->io, .want = MU_READABLE };
    struct cmsghdr *c;
    int fd;

    a->io.ready &= (uint8_t)~MU_READABLE;
    if (mu_wait(&it, 1, MU_NEVER) != MU_OK || recvmsg(a->io.fd, &msg, MSG_CMSG_CLOEXEC) != 16)
        return;
    mu_buf_add(&a->heard, mu_str_n(buf, sizeof(buf)));
    c = CMSG_FIRSTHDR(&msg);
    if (!c)
        return;
    memcpy(&fd, CMSG_DATA(c), sizeof(fd));
    assert_int_equal(write(fd, words.p, words.n), words.n);
    close(fd);
}

/* What the client does. */
static void step_client(const struct step *s)
{
    struct mu_wait_item it = { .wake = &now->was_asked };

    if (s->op == STEP_FEED) {
        mu_buf_add(&now->fed, s->data);
        now->feed_has_ended = s->data.n == 0;
        mu_wake_raise(&now->feed);
    } else if (s->op == STEP_CANCEL) {
        mu_fiber_cancel(now->hero);
    } else if (s->op == STEP_WAIT) {
        assert_int_equal(mu_wait(&it, 1, MU_NEVER), MU_OK);
    } else {
        now->is_silent = true;
        if (now->watch)
            mu_wake_raise(now->watch);
    }
}

static void step(struct app *a, const struct step *s)
{
    uint8_t record[24];

    switch (s->op) {
    case STEP_READ:
        hear_stream(a, MU_FCGI_T_STDIN);
        break;
    case STEP_HEAD:
        hear_stream(a, MU_FCGI_T_PARAMS);
        break;
    case STEP_SEND:
        say(a, s->data.p, s->data.n);
        break;
    case STEP_OUT:
        say_record(a, MU_FCGI_T_STDOUT, s->data);
        break;
    case STEP_MUCH:
        say_much(a, s->n);
        break;
    case STEP_FINISH:
        say(a, record, mu_fcgi_end(record, 1, (uint32_t)s->n, MU_FCGI_COMPLETE));
        break;
    case STEP_CUT:
        shutdown(a->io.fd, SHUT_WR);
        break;
    case STEP_DRAIN:
        while (hear(a))
            continue;
        break;
    case STEP_PAUSE:
        (void)!mu_sleep(5);
        break;
    case STEP_STAY:
        (void)!mu_wait(&(struct mu_wait_item){ .io = &a->io, .want = MU_HANGUP }, 1, MU_NEVER);
        a->got_eof = true;
        break;
    case STEP_SHUT:
        shutdown(a->io.fd, SHUT_RD);
        break;
    case STEP_CLIENT:
        receive_client(a, s->data);
        break;
    case STEP_DONE:
        say(a, record, mu_fcgi_client_done(record, 1, (uint16_t)s->n, s->data.n));
        break;
    case STEP_FEED:
    case STEP_CANCEL:
    case STEP_SILENT:
    case STEP_WAIT:
        step_client(s);
        break;
    case STEP_END:
        break;
    }
}

static void act(void *arg)
{
    struct app *a = arg;

    for (const struct step *s = a->script; s->op != STEP_END && !a->got_eof; s++)
        step(a, s);
    mu_io_close(&a->io);
    a->is_over = true;
}

static enum mu_rc open_app(struct mu_req *r, struct mu_fcgi_conn *c, void *arg,
                           enum mu_status *status)
{
    struct scene *s = arg;
    struct app *a = &s->apps[s->opened];
    int fd[2];

    (void)r;
    if (s->opened == s->apps_n) {
        *status = s->open_fails;
        return MU_EIO;
    }
    if (mu_sleep(0) != MU_OK)
        return MU_GONE;
    s->opened++;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    for (int i = 0; i < 2; i++)
        setsockopt(fd[i], SOL_SOCKET, SO_SNDBUF, &(int){ 4096 }, sizeof(int));
    mu_io_init_socket(&c->io, fd[0]);
    mu_io_init_socket(&a->io, fd[1]);
    c->is_reused = a->is_reused;
    c->priv = a;
    assert_int_equal(mu_fiber_run(s->reactor, act, a), MU_OK);
    return MU_OK;
}

static void close_app(struct mu_req *r, struct mu_fcgi_conn *c, void *arg, enum mu_fcgi_end how)
{
    struct app *a = c->priv;

    (void)r;
    assert_false(a->is_closed);
    a->is_closed = true;
    a->how = how;
    ((struct scene *)arg)->closed++;
    mu_io_close(&c->io);
}

/* ---- what they heard ---- */

static struct mu_str stream_of(struct scene *s, int n, enum mu_fcgi_type type, bool *is_there)
{
    struct mu_str rest = mu_buf_str(&s->apps[n].heard), out;
    struct mu_fcgi_reader d = { 0 };
    struct mu_buf b = { 0 };

    *is_there = false;
    while (rest.n > 0) {
        struct mu_fcgi_piece p;
        size_t used;

        assert_int_equal(mu_fcgi_read(&d, rest.p, rest.n, &p, &used), MU_OK);
        if (p.is_there && p.type == type) {
            *is_there = true;
            mu_buf_add(&b, p.data);
        }
        rest = mu_str_sub(rest, used, rest.n);
    }
    out = mu_str_dup(s->req.arena, mu_buf_str(&b));
    mu_buf_fini(&b);
    return out;
}

const char *scene_params(struct scene *s, int n)
{
    bool is_there;
    struct mu_str rest = stream_of(s, n, MU_FCGI_T_PARAMS, &is_there);
    struct mu_str text = MU_S("");
    struct mu_fcgi_pair p;

    while (mu_fcgi_pair_read(&rest, &p) == MU_OK)
        text = mu_str_cat(s->req.arena, text, p.name, MU_S("="), p.value, MU_S("\n"));
    assert_int_equal(rest.n, 0);
    return mu_cstr(s->req.arena, text);
}

struct mu_str scene_stdin(struct scene *s, int n)
{
    bool is_there;

    return stream_of(s, n, MU_FCGI_T_STDIN, &is_there);
}

bool scene_heard(struct scene *s, int n, enum mu_fcgi_type type)
{
    bool is_there;

    (void)stream_of(s, n, type, &is_there);
    return is_there;
}

/* ---- the scene ---- */

void scene_init(struct scene *s, enum mu_backend backend)
{
    *s = (struct scene){ .open_fails = MU_503_SERVICE_UNAVAILABLE, .lend_pair = { -1, -1 } };
    now = s;
    scene_log[0] = 0;
    s->reactor = mu_reactor_create(&(struct mu_reactor_opts){ .backend = backend });
    assert_non_null(s->reactor);
    s->req = (struct mu_req){ .arena = mu_arena_create(0),
                              .peer = &s->peer,
                              .method = MU_M_GET,
                              .method_name = MU_S("GET"),
                              .version = 1001,
                              .status = MU_200_OK };
    s->o = (struct mu_fcgi_opts){
        .name = MU_S("the app"), .io_ms = 60000, .open = open_app, .close = close_app, .arg = s
    };
    mu_wake_init(&s->feed);
    mu_wake_init(&s->was_asked);
}

void scene_app(struct scene *s, const struct step *script, bool is_reused)
{
    struct app *a = &s->apps[s->apps_n++];

    *a = (struct app){ .scene = s, .script = script, .is_reused = is_reused };
}

static void hero(void *arg)
{
    struct scene *s = arg;

    s->hero = mu_fiber_self();
    s->status = mu_fcgi_run(&s->req, &s->o);
    s->hero = NULL;
    s->is_over = true;
}

void scene_run(struct scene *s)
{
    assert_int_equal(mu_fiber_run(s->reactor, hero, s), MU_OK);
    while (mu_reactor_fibers(s->reactor) > 0)
        mu_reactor_turn(s->reactor, -1);
    assert_true(s->is_over);
    assert_int_equal(s->opened, s->closed);
    assert_int_equal(s->begun, s->ended);
}

void scene_fini(struct scene *s)
{
    for (int i = 0; i < s->apps_n; i++)
        mu_buf_fini(&s->apps[i].heard);
    for (int i = 0; i < 2; i++)
        if (s->lend_pair[i] >= 0)
            close(s->lend_pair[i]);
    mu_buf_fini(&s->answer);
    mu_buf_fini(&s->fed);
    mu_arena_destroy(s->req.arena);
    mu_reactor_destroy(s->reactor);
}
