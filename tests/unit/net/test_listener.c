/*
 * Listeners: what Listen may say, the socket that comes of it, adoption of an inherited one, and
 * what the administrator reads when it cannot be had. Ports are the kernel's choice.
 */
#include "../base/unit.h"

#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct mu_arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = mu_arena_create(0);
    return arena ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    mu_arena_destroy(arena);
    return 0;
}

static void test_parse(void **state)
{
    static const struct {
        int line;
        const char *where, *protocol;
        const char *text; /* NULL: refused, and in_message says why */
        const char *want_protocol, *in_message;
        bool is_wildcard;
    } rows[] = {
        { __LINE__, "127.0.0.1:80", "", "127.0.0.1:80", "http", NULL, false },
        { __LINE__, "127.0.0.1:443", "", "127.0.0.1:443", "https", NULL, false },
        { __LINE__, "127.0.0.1:443", "HTTP", "127.0.0.1:443", "http", NULL, false },
        { __LINE__, "127.0.0.1:8443", "https", "127.0.0.1:8443", "https", NULL, false },
        { __LINE__, "[::1]:80", "", "[::1]:80", "http", NULL, false },
        { __LINE__, "[fe80::1%lo]:80", "", "[fe80::1%lo]:80", "http", NULL, false },
        { __LINE__, "0.0.0.0:80", "", "0.0.0.0:80", "http", NULL, false },
        { __LINE__, "[::]:80", "", "[::]:80", "http", NULL, false },
        { __LINE__, "80", "", "*", "http", NULL, true },
        { __LINE__, "*:80", "", "*", "http", NULL, true },
        { __LINE__, "65535", "", "*", "http", NULL, true },
        { __LINE__, "", "", NULL, NULL, "1 to 65535", false },
        { __LINE__, "0", "", NULL, NULL, "1 to 65535", false },
        { __LINE__, "65536", "", NULL, NULL, "1 to 65535", false },
        { __LINE__, "http", "", NULL, NULL, "1 to 65535", false },
        { __LINE__, "127.0.0.1:", "", NULL, NULL, "1 to 65535", false },
        { __LINE__, "127.0.0.1:x", "", NULL, NULL, "1 to 65535", false },
        { __LINE__, "::1:80", "", NULL, NULL, "brackets", false },
        { __LINE__, "[::1]", "", NULL, NULL, "port is missing", false },
        { __LINE__, "localhost:80", "", NULL, NULL, "host names are not allowed", false },
        { __LINE__, "127.0.0.1", "", NULL, NULL, "1 to 65535", false },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_str err = MU_STR_NULL;
        struct mu_listen want;
        char buf[MU_ADDR_TEXT];
        enum mu_rc rc = mu_listen_parse(arena, mu_str_c(rows[i].where), mu_str_c(rows[i].protocol),
                                        &want, &err);

        check_int(rows[i].line, rc, rows[i].text ? MU_OK : MU_BAD);
        if (rc != MU_OK) {
            if (mu_str_find(err, mu_str_c(rows[i].in_message)) < 0)
                check_str(rows[i].line, err, mu_str_c(rows[i].in_message));
            continue;
        }
        check_int(rows[i].line, want.is_wildcard, rows[i].is_wildcard);
        check_str(rows[i].line, want.protocol, mu_str_c(rows[i].want_protocol));
        if (rows[i].is_wildcard)
            check_int(rows[i].line, mu_addr_is_any(&want.addr), true);
        else
            check_str(rows[i].line, mu_addr_text(&want.addr, buf), mu_str_c(rows[i].text));
    }
}

static struct mu_listen parse(const char *where)
{
    struct mu_str err = MU_STR_NULL;
    struct mu_listen want;

    if (mu_listen_parse(arena, mu_str_c(where), MU_STR_NULL, &want, &err) != MU_OK)
        fail_msg("%s: %.*s", where, MU_FMT(err));
    return want;
}

static void test_duplicates(void **state)
{
    static const struct {
        int line;
        const char *a, *b;
        bool want;
    } rows[] = {
        { __LINE__, "80", "80", true },
        { __LINE__, "80", "*:80", true },
        { __LINE__, "80", "81", false },
        { __LINE__, "127.0.0.1:80", "127.0.0.1:80", true },
        { __LINE__, "127.0.0.1:80", "127.0.0.2:80", false },
        { __LINE__, "[::1]:80", "[0:0::1]:80", true },
        { __LINE__, "[::ffff:127.0.0.1]:80", "127.0.0.1:80", true },
        { __LINE__, "0.0.0.0:80", "[::]:80", false },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_listen a = parse(rows[i].a);
        struct mu_listen b = parse(rows[i].b);

        check_int(rows[i].line, mu_listen_is_dup(&a, &b), rows[i].want);
    }
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);

    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

/* Open at a port of the kernel's choice and note it in *want. */
static int open_any(struct mu_listen *want, const struct mu_listen_options *o)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    struct mu_str err = MU_STR_NULL;
    struct mu_addr addr;
    int fd;

    want->addr.port = 0;
    fd = mu_listener_open(arena, want, o, &err);
    if (fd < 0)
        fail_msg("%.*s", MU_FMT(err));
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    assert_true(mu_addr_from_sa(&addr, (const struct sockaddr *)&sa, len));
    want->addr.port = addr.port;
    return fd;
}

static int connect_to(const char *host, uint16_t port)
{
    struct sockaddr_storage sa;
    struct mu_addr addr;
    socklen_t len;
    int fd;

    assert_true(mu_addr_parse_ip(mu_str_c(host), &addr));
    addr.port = port;
    len = mu_addr_to_sa(&addr, &sa);
    fd = socket(addr.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (const struct sockaddr *)&sa, len) == 0)
        return fd;
    close(fd);
    return -1;
}

static void test_open(void **state)
{
    struct mu_listen_options o = { .backlog = 17, .send_buffer = 40000, .receive_buffer = 50000 };
    struct mu_listen want = parse("127.0.0.1:1");
    int fd = open_any(&want, &o);
    struct tcp_info info;
    socklen_t len = sizeof(info);
    int client;
    int served;

    (void)state;
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(option(fd, SOL_SOCKET, SO_ACCEPTCONN), 1);
    assert_int_equal(option(fd, SOL_SOCKET, SO_REUSEADDR), 1);
    assert_int_equal(option(fd, SOL_SOCKET, SO_REUSEPORT), 0);
    assert_int_equal(option(fd, SOL_SOCKET, SO_SNDBUF), 80000); /* the kernel doubles it */
    assert_int_equal(option(fd, SOL_SOCKET, SO_RCVBUF), 100000);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT), 0);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    assert_int_equal(info.tcpi_sacked, 17); /* a listener's backlog */

    client = connect_to("127.0.0.1", want.addr.port);
    assert_true(client >= 0);
    served = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(served >= 0);
    assert_int_equal(option(served, IPPROTO_TCP, TCP_NODELAY), 1); /* inherited */
    assert_int_equal(accept4(fd, NULL, NULL, 0), -1);
    assert_int_equal(errno, EAGAIN);
    close(client);
    close(served);
    close(fd);
}

static void test_wildcard_serves_both_families(void **state)
{
    struct mu_listen want = parse("80");
    int fd = open_any(&want, &(struct mu_listen_options){ 0 });
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    struct mu_addr peer;
    char buf[MU_ADDR_TEXT];
    int client = connect_to("127.0.0.1", want.addr.port);
    int served;

    (void)state;
    assert_true(client >= 0);
    served = accept4(fd, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC);
    assert_true(served >= 0);
    assert_true(mu_addr_from_sa(&peer, (const struct sockaddr *)&sa, len));
    check_str(__LINE__, mu_addr_host(&peer, buf), MU_S("127.0.0.1"));
    close(client);
    close(served);
    if (mu_has_ipv6()) {
        client = connect_to("::1", want.addr.port);
        assert_true(client >= 0);
        close(client);
    }
    close(fd);
}

static void test_ipv6_alone_leaves_ipv4_free(void **state)
{
    struct mu_listen v6 = parse("[::]:1");
    struct mu_listen v4 = parse("0.0.0.0:1");
    struct mu_str err = MU_STR_NULL;
    int fd4 = -1;

    (void)state;
    if (!mu_has_ipv6()) { /* then this is what a [::] listener says */
        assert_int_equal(mu_listener_open(arena, &v6, &(struct mu_listen_options){ 0 }, &err), -1);
        assert_true(err.n > 0);
        return;
    }
    /* One that is taken already: then another one. Not the kernel's choice: what it gives to clients
     * may all be taken for IPv4, by connections that ended a while ago. */
    for (int i = 0; i < 50 && fd4 < 0; i++) {
        int fd6;

        v4.addr.port = v6.addr.port = (uint16_t)(10000 + arc4random_uniform(22000));
        fd6 = mu_listener_open(arena, &v6, &(struct mu_listen_options){ 0 }, &err);
        if (fd6 < 0)
            continue;
        fd4 = mu_listener_open(arena, &v4, &(struct mu_listen_options){ 0 }, &err);
        close(fd6);
    }
    assert_true(fd4 >= 0);
    close(fd4);
}

static void test_buckets_share_a_port(void **state)
{
    struct mu_listen_options o = { .has_reuseport = true };
    struct mu_listen want = parse("127.0.0.1:1");
    struct mu_str err = MU_STR_NULL;
    int a = open_any(&want, &o);
    int b = mu_listener_open(arena, &want, &o, &err);

    (void)state;
    assert_true(b >= 0);
    assert_int_equal(option(b, SOL_SOCKET, SO_REUSEPORT), 1);
    close(a);
    close(b);
}

static void test_defer_accept_is_an_option(void **state)
{
    struct mu_listen_options o = { .defer_accept_s = 30 };
    struct mu_listen want = parse("127.0.0.1:1");
    int fd = open_any(&want, &o);

    (void)state;
    assert_true(option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT) >= 30); /* rounded to retransmissions */
    o.defer_accept_s = 0;
    assert_int_equal(mu_listener_adopt(fd, &o), MU_OK);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT), 0);
    close(fd);
}

static void test_adopt(void **state)
{
    struct mu_listen_options o = { .backlog = 33 };
    struct mu_listen want = parse("127.0.0.1:1");
    struct mu_listen other = parse("127.0.0.1:1");
    int fd = open_any(&want, &(struct mu_listen_options){ 0 });
    int plain = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct mu_listen any;
    struct tcp_info info;
    socklen_t len = sizeof(info);

    (void)state;
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    assert_int_equal(fcntl(fd, F_SETFD, 0), 0);
    assert_true(mu_listener_is(fd, &want));
    other.addr.port = (uint16_t)(want.addr.port + 1);
    assert_false(mu_listener_is(fd, &other));
    assert_false(mu_listener_is(plain, &want));
    assert_false(mu_listener_is(null, &want));
    assert_false(mu_listener_is(9999, &want));
    assert_int_equal(mu_listener_adopt(fd, &o), MU_OK);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    assert_int_equal(info.tcpi_sacked, 33);
    assert_int_equal(mu_listener_adopt(9999, &o), MU_EIO);
    assert_int_equal(errno, EBADF);
    close(fd);
    close(plain);
    close(null);

    /* [::] for IPv6 alone is not what "Listen 80" asks for. */
    any = parse("80");
    fd = open_any(&any, &(struct mu_listen_options){ 0 });
    assert_true(mu_listener_is(fd, &any));
    any.is_wildcard = false;
    assert_int_equal(mu_listener_is(fd, &any), !mu_has_ipv6());
    close(fd);
}

static void check_refused(int line, struct mu_listen *want, int failure, const char *const *parts)
{
    struct mu_str err = MU_STR_NULL;
    int fd = mu_listener_open(arena, want, &(struct mu_listen_options){ 0 }, &err);

    check_int(line, fd, -1);
    check_int(line, errno, failure);
    for (; *parts; parts++)
        if (mu_str_find(err, mu_str_c(*parts)) < 0)
            check_str(line, err, mu_str_c(*parts));
}

static void test_messages(void **state)
{
    struct mu_listen want = parse("127.0.0.1:1");
    struct mu_listen nowhere = parse("192.0.2.1:8080");
    char holder[64];
    char port[32];
    int fd = open_any(&want, &(struct mu_listen_options){ 0 });
    int status;
    pid_t pid;

    (void)state;
    want.file = "/etc/muster/ports.conf";
    want.line = 5;
    snprintf(holder, sizeof(holder), "test_listener (pid %ld)", (long)getpid());
    snprintf(port, sizeof(port), "127.0.0.1:%u", want.addr.port);
    check_refused(__LINE__, &want, EADDRINUSE,
                  (const char *const[]){ "/etc/muster/ports.conf:5:", port,
                                         "Address already in use", holder, NULL });
    close(fd);
    check_refused(__LINE__, &nowhere, EADDRNOTAVAIL,
                  (const char *const[]){ "192.0.2.1:8080", "ip address", NULL });

    pid = fork(); /* a port below 1024 without root */
    if (pid == 0) {
        struct mu_str err = MU_STR_NULL;
        struct mu_listen low = parse("127.0.0.1:81");
        bool is_allowed;

        if (geteuid() == 0 && setuid(65534))
            _exit(1);
        fd = mu_listener_open(arena, &low, &(struct mu_listen_options){ 0 }, &err);
        is_allowed = fd >= 0; /* net.ipv4.ip_unprivileged_port_start may say so */
        _exit(is_allowed || mu_str_find(err, MU_S("ports below 1024 need root")) >= 0 ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_many(void **state)
{
    int fds[80];

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(fds); i++) {
        struct mu_listen want = parse("127.0.0.1:1");

        fds[i] = open_any(&want, &(struct mu_listen_options){ 0 });
    }
    for (size_t i = 0; i < MU_ARRAY_LEN(fds); i++)
        close(fds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_wildcard_serves_both_families),
        cmocka_unit_test(test_ipv6_alone_leaves_ipv4_free),
        cmocka_unit_test(test_buckets_share_a_port),
        cmocka_unit_test(test_defer_accept_is_an_option),
        cmocka_unit_test(test_adopt),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
