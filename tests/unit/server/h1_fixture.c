/*
 * h1_fixture: the request side of the protocol tests. What an exchange does is said by its path, so
 * that a test is a conversation and what came of it. Everything the protocol side links against of
 * the other half of the room is here.
 */
#include "h1_fixture.h"

#include "fake_clock.h"
#include <errno.h>
#include <fcntl.h>
#include <muster/clock.h>
#include <muster/str.h>
#include <netinet/in.h>

struct fixture *fx;

static const struct mu_read_timeouts *read_timeouts(const void *conf)
{
    (void)conf;
    return fx->read_timeouts.header_ms || fx->read_timeouts.body_ms ? &fx->read_timeouts : NULL;
}

struct mu_module mu_module_core = { .abi = MU_MODULE_ABI,
                                    .name = "core",
                                    .read_timeouts = read_timeouts };
static struct mu_module *modules[] = { &mu_module_core };
static const void *confs[1];
static struct mu_dirconf dirconf = { confs };
static struct mu_vhost vhost = { .is_main = true, .base = &dirconf };
static struct mu_vhost *vhosts[] = { &vhost };
static struct mu_config config = {
    .modules = modules, .modules_n = 1, .main = &vhost, .vhosts = vhosts, .vhosts_n = 1
};

const struct mu_vhost *mu_vhost_for_addr(const struct mu_config *c, const struct mu_addr *local)
{
    (void)local;
    return c->main;
}

bool mu_server_wants_timing(const struct mu_config *c)
{
    (void)c;
    return true;
}

bool mu_config_has_module(const struct mu_config *c, struct mu_str name)
{
    (void)c;
    (void)name;
    return true;
}

struct mu_str mu_vhost_server_name(const struct mu_vhost *v)
{
    (void)v;
    return MU_S("localhost");
}

struct mu_str mu_req_env(const struct mu_req *r, struct mu_str name)
{
    (void)r;
    (void)name;
    return MU_STR_NULL;
}

struct mu_str mu_req_server_tokens(const struct mu_req *r)
{
    (void)r;
    return MU_S("Muster");
}

void mu_exchange_unserved(struct mu_exchange *x, enum mu_status status)
{
    x->req.status = status;
}

struct mu_str mu_error_page(struct mu_req *r)
{
    (void)r;
    return MU_S("an error\n");
}

void mu_log_exchange(struct mu_exchange *x)
{
    struct record *rec = &fx->log[fx->log_n++];

    assert_true(fx->log_n < MAX_RECORDS);
    (void)snprintf(rec->line, sizeof(rec->line), "%.*s", MU_FMT(x->req.request_line));
    rec->status = (int)x->req.status;
    rec->conn_state = x->is_aborted ? 'X' : x->wants_close ? '-' : '+';
    rec->body = x->req.body_sent;
    rec->wire_in = x->wire_in;
    rec->wire_out = x->wire_out;
}

static void finish(struct mu_req *r, enum mu_status status, struct mu_str body)
{
    struct mu_chunk c = { .kind = MU_CHUNK_MEM, .is_exchange_owned = true, .mem = body };

    r->status = status;
    r->content_type = MU_S("text/plain");
    r->content_length = (int64_t)body.n;
    fx->write_rc = mu_resp_chunks(r, &c, 1, true);
}

static void do_stream(struct mu_req *r)
{
    enum mu_rc rc = MU_OK;

    for (int i = 0; i < 5 && rc == MU_OK; i++) {
        rc = mu_resp_printf(r, "part %d\n", i);
        if (rc == MU_OK && i == 2)
            rc = mu_resp_flush(r);
    }
    fx->write_rc = rc == MU_OK ? mu_resp_chunks(r, NULL, 0, true) : rc;
}

static void do_read(struct mu_req *r, size_t piece)
{
    enum mu_rc rc;
    size_t got;

    do {
        size_t room = sizeof(fx->body) - fx->body_n;

        rc = mu_body_read(r, fx->body + fx->body_n, piece < room ? piece : room, &got);
        fx->body_n += got;
    } while (rc == MU_OK && fx->body_n < sizeof(fx->body));
    fx->body_rc = rc;
    if (rc == MU_EOF)
        finish(r, MU_200_OK, (struct mu_str){ fx->body, fx->body_n });
    else
        finish(r, mu_body_status(rc), MU_S("bad body\n"));
}

static void do_big(struct mu_req *r, bool is_owned)
{
    struct mu_chunk c = { .kind = MU_CHUNK_MEM,
                          .is_exchange_owned = is_owned,
                          .mem = { fx->big, sizeof(fx->big) } };

    r->content_length = sizeof(fx->big);
    fx->write_rc = mu_resp_chunks(r, &c, 1, true);
}

static void do_file(struct mu_req *r)
{
    struct mu_chunk c = {
        .kind = MU_CHUNK_FILE, .is_exchange_owned = true, .fd = fx->file_fd, .len = fx->file_len
    };

    r->content_length = (int64_t)fx->file_len;
    fx->write_rc = mu_resp_chunks(r, &c, 1, true);
}

/** Announce `said` bytes, write `wrote`. */
static void do_promise(struct mu_req *r, int64_t said, size_t wrote)
{
    struct mu_chunk c = { .kind = MU_CHUNK_MEM,
                          .is_exchange_owned = true,
                          .mem = { fx->big, wrote } };

    r->content_length = said;
    fx->write_rc = mu_resp_chunks(r, &c, 1, true);
}

/** Wait until the test says so. */
static enum mu_rc park(void)
{
    struct mu_wake w;
    struct mu_wait_item it = { .wake = &w };

    mu_wake_init(&w);
    fx->parked = &w;
    fx->park_rc = mu_wait(&it, 1, MU_NEVER);
    fx->parked = NULL;
    return fx->park_rc;
}

static void do_park(struct mu_req *r)
{
    (void)park();
    finish(r, MU_200_OK, MU_S("woken\n"));
}

static void stream_offloaded(void *arg)
{
    do_stream(arg);
}

/**
 * All of `big` in pieces whose memory is used again at once, as a worker thread would produce it.
 */
static void big_offloaded(void *arg)
{
    struct mu_req *r = arg;
    enum mu_rc rc = MU_OK;
    char piece[10000];

    for (size_t at = 0; at < sizeof(fx->big) && rc == MU_OK; at += sizeof(piece)) {
        size_t n = sizeof(fx->big) - at < sizeof(piece) ? sizeof(fx->big) - at : sizeof(piece);

        memcpy(piece, fx->big + at, n);
        rc = mu_resp_write(r, (struct mu_str){ piece, n });
        memset(piece, '-', sizeof(piece));
    }
}

static void echo_offloaded(void *arg)
{
    do_read(arg, 4096);
}

static void do_offload(struct mu_req *r, void (*fn)(void *arg))
{
    mu_body_collect(r);
    mu_offload(fn, r);
    fx->offloads++;
    if (!mu_exchange_of(r)->is_ended && !mu_exchange_of(r)->is_aborted)
        (void)!mu_resp_chunks(r, NULL, 0, true);
}

/** All of `big` in pieces whose memory is used again, then a pause; as often as it says. */
static void do_spool(struct mu_req *r, int times, bool flushes)
{
    enum mu_rc rc = MU_OK;

    mu_resp_spool(r);
    for (int i = 0; i < times && rc == MU_OK; i++) {
        big_offloaded(r);
        rc = flushes ? mu_resp_flush(r) : MU_OK;
        if (rc == MU_OK)
            rc = park();
    }
    fx->write_rc = rc == MU_OK ? mu_resp_chunks(r, NULL, 0, true) : rc;
}

/** The same, but what is waited for is the request's body. */
static void do_spool_read(struct mu_req *r)
{
    mu_resp_spool(r);
    big_offloaded(r);
    fx->body_rc = mu_body_read(r, fx->body, sizeof(fx->body), &fx->body_n);
    fx->write_rc = mu_resp_chunks(r, NULL, 0, true);
}

/**
 * Wait for what the client leaves behind, ask it, and wait once more; `begins`: behind a first piece
 * of the answer.
 */
static void do_ask(struct mu_req *r, bool begins)
{
    struct mu_wake leaves;
    struct mu_wait_item it = { .wake = &leaves };
    enum mu_rc rc = MU_OK;

    mu_wake_init(&leaves);
    mu_client_watch(r, &leaves);
    if (begins) {
        rc = mu_resp_write(r, MU_S("first\n"));
        rc = rc == MU_OK ? mu_resp_flush(r) : rc;
    }
    if (rc == MU_OK)
        rc = mu_wait(&it, 1, MU_NEVER);
    mu_client_watch(r, NULL);
    fx->asked += rc == MU_OK && !mu_client_is_sending(r);
    for (int i = 0; i < 2 && rc == MU_OK; i++) /* said once */
        rc = mu_client_ask(r);
    if (rc == MU_OK)
        rc = park();
    if (rc == MU_OK)
        rc = mu_resp_write(r, MU_S("still here\n"));
    if (rc == MU_OK)
        (void)!mu_resp_chunks(r, NULL, 0, true);
}

static void do_raw(struct mu_req *r)
{
    struct mu_chunk c = { .kind = MU_CHUNK_MEM,
                          .is_exchange_owned = true,
                          .mem = MU_S("HTTP/1.1 299 Raw\r\nX: y\n\nraw") };

    assert_int_equal(mu_resp_raw(r), MU_OK);
    fx->write_rc = mu_resp_chunks(r, &c, 1, true);
}

static void do_lend(struct mu_req *r)
{
    fx->lend_rc = mu_client_lend(r, &fx->lent);
    if (fx->lend_rc != MU_OK) {
        finish(r, MU_200_OK, MU_S("relayed\n"));
        return;
    }
    if (park() != MU_OK && !fx->returns_always) {
        (void)mu_resp_abort(r);
        return;
    }
    if (r->has_body)
        fx->body_rc = mu_body_read(r, fx->body, sizeof(fx->body), &fx->body_n);
    if (mu_client_returned(r, fx->lent_status, fx->lent_bytes) == MU_STATUS_NONE)
        finish(r, MU_200_OK, MU_S("by myself\n"));
}

static void do_cut(struct mu_req *r)
{
    fx->write_rc = mu_resp_write(r, MU_S("half of it"));
    if (fx->write_rc == MU_OK)
        fx->write_rc = mu_resp_flush(r);
    (void)mu_resp_abort(r);
}

/** An answer of which one part is what the test says. */
static void do_insane(struct mu_req *r)
{
    r->etag = MU_S("\"e\"");
    r->content_encoding = MU_S("gzip");
    r->status_reason = MU_S("Fine");
    (void)!mu_headers_add(r->arena, &r->out, MU_S("Connection"), MU_S("Upgrade"));
    (void)!mu_headers_add(r->arena, &r->out_always, MU_S("Set-Cookie"), MU_S("a=b"));
    fx->spoil(r);
    fx->write_rc = mu_resp_write(r, MU_S("secret"));
    if (fx->write_rc == MU_OK)
        fx->write_rc = mu_resp_chunks(r, NULL, 0, true);
}

static void do_read_ahead(struct mu_req *r)
{
    fx->spool_rc = mu_body_spool(r, &fx->spool_len);
    if (fx->spool_rc == MU_OK && r->body_len == (int64_t)fx->spool_len)
        fx->spool_rc = mu_body_read(r, fx->body, 3, &fx->body_n);
    if (fx->spool_rc == MU_OK) { /* once more, from the beginning */
        fx->body_n = 0;
        fx->spool_rc = mu_body_spool(r, &fx->spool_len);
    }
    do_read(r, 4096);
}

/** What the paths do that are about waiting; false: it is none of them. */
static bool run_waiting_path(struct mu_req *r, struct mu_str path)
{
    if (mu_str_eq(path, MU_S("/spool")))
        do_spool(r, 1, false);
    else if (mu_str_eq(path, MU_S("/spool-twice")))
        do_spool(r, 2, false);
    else if (mu_str_eq(path, MU_S("/spool-flush")))
        do_spool(r, 1, true);
    else if (mu_str_eq(path, MU_S("/spool-read")))
        do_spool_read(r);
    else if (mu_str_eq(path, MU_S("/lend")))
        do_lend(r);
    else if (mu_str_eq(path, MU_S("/ask")))
        do_ask(r, false);
    else if (mu_str_eq(path, MU_S("/ask-behind")))
        do_ask(r, true);
    else if (mu_str_eq(path, MU_S("/raw")))
        do_raw(r);
    else if (mu_str_eq(path, MU_S("/cut")))
        do_cut(r);
    else if (mu_str_eq(path, MU_S("/insane")))
        do_insane(r);
    else if (mu_str_eq(path, MU_S("/read-ahead")))
        do_read_ahead(r);
    else
        return false;
    return true;
}

static void run_path(struct mu_req *r, struct mu_str path)
{
    if (run_waiting_path(r, path))
        return;
    if (mu_str_eq(path, MU_S("/small")))
        finish(r, MU_200_OK, MU_S("hello\n"));
    else if (mu_str_eq(path, MU_S("/stream")))
        do_stream(r);
    else if (mu_str_eq(path, MU_S("/echo")))
        do_read(r, 4096);
    else if (mu_str_eq(path, MU_S("/bytewise")))
        do_read(r, 1);
    else if (mu_str_eq(path, MU_S("/big")))
        do_big(r, true);
    else if (mu_str_eq(path, MU_S("/borrowed")))
        do_big(r, false);
    else if (mu_str_eq(path, MU_S("/file")))
        do_file(r);
    else if (mu_str_eq(path, MU_S("/more")))
        do_promise(r, 10, 20);
    else if (mu_str_eq(path, MU_S("/less")))
        do_promise(r, 20, 10);
    else if (mu_str_eq(path, MU_S("/park")))
        do_park(r);
    else if (mu_str_eq(path, MU_S("/offload")))
        do_offload(r, stream_offloaded);
    else if (mu_str_eq(path, MU_S("/offload-big")))
        do_offload(r, big_offloaded);
    else if (mu_str_eq(path, MU_S("/offload-echo")))
        do_offload(r, echo_offloaded);
    else if (mu_str_eq(path, MU_S("/204")))
        finish(r, (enum mu_status)204, MU_S("not to be seen"));
    else
        finish(r, MU_404_NOT_FOUND, MU_S("no such path\n"));
}

void mu_process_exchange(struct mu_exchange *x)
{
    if (x->bad != MU_STATUS_NONE)
        finish(&x->req, x->bad, MU_S("refused\n"));
    else
        run_path(&x->req, x->raw_path);
}

static void on_closed(struct mu_conn_host *h)
{
    (void)h;
    fx->closed++;
}

static int setup(void **state, enum mu_backend backend, uint32_t threads)
{
    fx = calloc(1, sizeof(*fx));
    assert_non_null(fx);
    *state = fx;
    fx->core = (struct mu_core_conf){
        .timeout_ms = 60000,
        .keepalive_timeout_ms = 5000,
        .max_keepalive_requests = 100,
        .keepalive = true,
        .limit_body = 60000,
        .extended_status = true,
        .h1 = { .max_line = 8190, .max_field = 8190, .max_fields = 100 },
    };
    confs[0] = &fx->core;
    for (size_t i = 0; i < sizeof(fx->big); i++)
        fx->big[i] = (char)('a' + i % 23);
    fx->file_fd = fx->lent = -1;
    fx->lent_status = MU_200_OK;
    fx->lent_bytes = -1;
    for (int i = 0; i < 2; i++)
        mu_score_state(&fx->slots[i], '_');
    fx->workers = threads > 0 ? mu_worker_pool_create(threads, 0) : NULL;
    fx->reactor =
        mu_reactor_create(&(struct mu_reactor_opts){ .backend = backend, .workers = fx->workers });
    assert_non_null(fx->reactor);
    fx->host = (struct mu_conn_host){
        .reactor = fx->reactor,
        .config = &config,
        .score = &fx->score,
        .slots = fx->slots,
        .slots_n = 2,
        .on_closed = on_closed,
    };
    assert_int_equal(mu_conn_host_init(&fx->host), MU_OK);
    return 0;
}

int fixture_setup_epoll(void **state)
{
    return setup(state, MU_BACKEND_EPOLL, 0);
}

int fixture_setup_single(void **state)
{
    return setup(state, MU_BACKEND_SINGLE, 0);
}

int fixture_setup_workers(void **state)
{
    return setup(state, MU_BACKEND_EPOLL, 2);
}

int fixture_teardown(void **state)
{
    (void)state;
    mu_conn_host_abort(&fx->host);
    settle();
    assert_int_equal(fx->host.connections, 0);
    assert_int_equal(fx->host.requests_running, 0);
    assert_int_equal(atomic_load(&fx->score.busy), 0);
    assert_int_equal(atomic_load(&fx->score.writing) + atomic_load(&fx->score.keepalive) +
                         atomic_load(&fx->score.closing) + atomic_load(&fx->score.connections),
                     0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(atomic_load(&fx->slots[i].state), '_');
    mu_conn_host_fini(&fx->host);
    mu_reactor_destroy(fx->reactor);
    if (fx->workers)
        mu_worker_pool_destroy(fx->workers);
    if (fx->file_fd >= 0)
        close(fx->file_fd);
    free(fx);
    return 0;
}

void settle(void)
{
    for (int i = 0; i < 12; i++)
        mu_reactor_turn(fx->reactor, 0);
}

void wait_offloads(unsigned n)
{
    while (fx->offloads < n)
        mu_reactor_turn(fx->reactor, 1000);
    settle();
}

void advance_clock(int64_t ms)
{
    fake_now_ms += ms;
    settle();
}

int client_open_tcp(void)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct mu_addr peer = { .family = AF_INET, .port = 4711, .ip = { 127, 0, 0, 1 } };
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd, c;
    socklen_t len = sizeof(sa);

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(l, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(l, 1), 0);
    assert_int_equal(getsockname(l, (struct sockaddr *)&sa, &len), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    c = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(c >= 0);
    close(l);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(mu_conn_open(&fx->host, c, NULL, &peer), MU_OK);
    return fd;
}

int client_open(bool has_small_buffers)
{
    struct mu_addr peer = { .family = AF_INET, .port = 4711, .ip = { 192, 0, 2, 1 } };
    int fd[2], size = 4096;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    if (has_small_buffers) {
        assert_int_equal(setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
        assert_int_equal(setsockopt(fd[1], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
    }
    assert_int_equal(mu_conn_open(&fx->host, fd[0], NULL, &peer), MU_OK);
    return fd[1];
}

void client_send_n(int fd, const char *p, size_t n)
{
    for (int idle = 0; n > 0 && idle < 100;) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

        if (sent > 0) {
            p += sent;
            n -= (size_t)sent;
            idle = 0;
        } else {
            idle++;
        }
        settle();
    }
    assert_int_equal(n, 0);
}

void client_send(int fd, const char *text)
{
    client_send_n(fd, text, strlen(text));
}

const char *client_read(int fd, bool *is_end)
{
    static char text[1 << 16];
    size_t n = 0;

    *is_end = false;
    settle();
    for (;;) {
        ssize_t got = recv(fd, text + n, sizeof(text) - 1 - n, 0);

        if (got <= 0) {
            *is_end = got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
            break;
        }
        n += (size_t)got;
        settle();
    }
    text[n] = '\0';
    return text;
}

size_t client_drain(int fd, char head[4096], bool *is_end)
{
    static char piece[1 << 16];
    size_t total = 0;

    *is_end = false;
    for (int idle = 0; idle < 20;) {
        ssize_t got = recv(fd, piece, sizeof(piece), 0);

        if (got > 0) {
            if (total < 4095)
                memcpy(head + total, piece,
                       (size_t)got < 4095 - total ? (size_t)got : 4095 - total);
            total += (size_t)got;
            idle = 0;
        } else if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
            *is_end = true;
            break;
        } else {
            idle++;
        }
        settle();
    }
    head[total < 4095 ? total : 4095] = '\0';
    return total;
}

size_t count_of(const char *haystack, const char *needle)
{
    size_t n = 0;

    for (const char *p = haystack; (p = strstr(p, needle)) != NULL; p += strlen(needle))
        n++;
    return n;
}
