/*
 * Addresses and networks: text both ways, the kernel's form both ways, order, and which addresses a
 * network has.
 */
#include "../base/unit.h"

#include "net/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static const struct {
    int line;
    const char *text;
    bool has_port; /* mu_addr_parse takes it, else mu_addr_parse_ip */
    const char *host, *full;
} addresses[] = {
    { __LINE__, "1.2.3.4", false, "1.2.3.4", "1.2.3.4:0" },
    { __LINE__, "255.255.255.255", false, "255.255.255.255", "255.255.255.255:0" },
    { __LINE__, "1.2.3.4:80", true, "1.2.3.4", "1.2.3.4:80" },
    { __LINE__, "::", false, "::", "[::]:0" },
    { __LINE__, "::1", false, "::1", "[::1]:0" },
    { __LINE__, "[::1]", false, "::1", "[::1]:0" },
    { __LINE__, "[::1]:443", true, "::1", "[::1]:443" },
    { __LINE__, "[2001:DB8:0:0::7]:65535", true, "2001:db8::7", "[2001:db8::7]:65535" },
    { __LINE__, "fe80::1%lo", false, "fe80::1%lo", "[fe80::1%lo]:0" },
    { __LINE__, "[fe80::1%1]:80", true, "fe80::1%lo", "[fe80::1%lo]:80" },
    { __LINE__, "fe80::1%99999", false, "fe80::1%99999", "[fe80::1%99999]:0" },
    { __LINE__, "::ffff:1.2.3.4", false, "1.2.3.4", "1.2.3.4:0" },
    { __LINE__, "[::ffff:1.2.3.4]:80", true, "1.2.3.4", "1.2.3.4:80" },
    { __LINE__, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false,
      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:0" },
};

static void test_parse_and_print(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(addresses); i++) {
        struct mu_str text = mu_str_c(addresses[i].text);
        int line = addresses[i].line;
        struct mu_addr ip, addr;
        char buf[MU_ADDR_TEXT];

        check_int(line, mu_addr_parse(text, &addr), addresses[i].has_port);
        check_int(line, mu_addr_parse_ip(text, &ip), !addresses[i].has_port);
        if (!addresses[i].has_port)
            addr = ip;
        check_str(line, mu_addr_host(&addr, buf), mu_str_c(addresses[i].host));
        check_str(line, mu_addr_text(&addr, buf), mu_str_c(addresses[i].full));
        check_int(line, (long long)strlen(buf), (long long)strlen(addresses[i].full));
    }
}

static void test_what_is_no_address(void **state)
{
    static const char *const texts[] = {
        "",
        "1.2.3",
        "1.2.3.256",
        "1.2.3.4.5",
        "1.2.3.4 ",
        "1.2.3.4:",
        "1.2.3.4:65536",
        "1.2.3.4:-1",
        "1.2.3.4%lo",
        "[1.2.3.4]",
        "[::1",
        "[::1]x",
        "fe80::1%",
        "fe80::1%no-such-interface",
        "localhost",
        "localhost:80",
        "12345",
    };
    struct mu_addr addr;

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(texts); i++) {
        check_int((int)i, mu_addr_parse(mu_str_c(texts[i]), &addr), false);
        check_int((int)i, mu_addr_parse_ip(mu_str_c(texts[i]), &addr), false);
    }
    assert_false(mu_addr_parse_ip(mu_str_n("1.2.3.4\0", 8), &addr));
}

static void test_kernel_form(void **state)
{
    static const char *const texts[] = { "1.2.3.4:80", "[::1]:443", "[fe80::1%1]:1", "0.0.0.0:0",
                                         "[::]:8080" };
    struct sockaddr_storage sa;
    struct mu_addr a;
    struct mu_addr b;
    char buf[MU_ADDR_TEXT];
    char longest[200];

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(texts); i++) {
        socklen_t len;

        assert_true(mu_addr_parse(mu_str_c(texts[i]), &a));
        len = mu_addr_to_sa(&a, &sa);
        assert_true(len > 0);
        assert_true(mu_addr_from_sa(&b, (const struct sockaddr *)&sa, len));
        assert_true(mu_addr_eq(&a, &b));
        assert_false(mu_addr_from_sa(&b, (const struct sockaddr *)&sa, len - 1));
    }

    /* An IPv4 client of a dual-stack listener is shown as what it is. */
    struct sockaddr_in6 mapped = { .sin6_family = AF_INET6, .sin6_port = htons(80) };
    inet_pton(AF_INET6, "::ffff:10.0.0.1", &mapped.sin6_addr);
    assert_true(mu_addr_from_sa(&a, (const struct sockaddr *)&mapped, sizeof(mapped)));
    check_str(__LINE__, mu_addr_text(&a, buf), MU_S("10.0.0.1:80"));
    assert_true(mu_addr_parse(MU_S("10.0.0.1:80"), &b));
    assert_true(mu_addr_eq(&a, &b));

    a = (struct mu_addr){ .family = AF_UNIX, .path = "/run/x.sock" };
    assert_true(mu_addr_from_sa(&b, (const struct sockaddr *)&sa, mu_addr_to_sa(&a, &sa)));
    assert_true(mu_addr_eq(&a, &b));
    check_str(__LINE__, mu_addr_text(&b, buf), MU_S("/run/x.sock"));
    a.path = NULL;
    assert_true(mu_addr_from_sa(&b, (const struct sockaddr *)&sa, mu_addr_to_sa(&a, &sa)));
    check_str(__LINE__, mu_addr_text(&b, buf), MU_S("unix:"));
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    a.path = longest;
    assert_int_equal(mu_addr_to_sa(&a, &sa), 0);
    assert_int_equal(mu_addr_text(&a, buf).n, MU_ADDR_TEXT - 1);
    assert_int_equal(mu_addr_to_sa(&(struct mu_addr){ 0 }, &sa), 0);
    check_str(__LINE__, mu_addr_text(&(struct mu_addr){ 0 }, buf), MU_S(""));
    sa.ss_family = AF_NETLINK;
    assert_false(mu_addr_from_sa(&b, (const struct sockaddr *)&sa, sizeof(sa)));
    assert_false(mu_addr_from_sa(&b, (const struct sockaddr *)&sa, 1));
}

static void test_order(void **state)
{
    static const char *const sorted[] = { "0.0.0.0:1",     "1.2.3.4:80",   "1.2.3.4:81",
                                          "1.2.3.5:1",     "[::]:1",       "[::1]:1",
                                          "[fe80::1%1]:1", "[fe80::1%9]:1" };
    struct mu_addr v[MU_ARRAY_LEN(sorted)];

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(sorted); i++)
        assert_true(mu_addr_parse(mu_str_c(sorted[i]), &v[i]));
    for (size_t i = 0; i < MU_ARRAY_LEN(sorted); i++) {
        for (size_t k = 0; k < MU_ARRAY_LEN(sorted); k++) {
            int d = mu_addr_cmp(&v[i], &v[k]);

            check_int((int)(i * 10 + k), (d > 0) - (d < 0), (i > k) - (i < k));
            check_int((int)(i * 10 + k), mu_addr_eq(&v[i], &v[k]), i == k);
        }
    }
    assert_true(mu_addr_eq_host(&v[1], &v[2]));
    assert_false(mu_addr_eq_host(&v[1], &v[3]));
    assert_true(mu_addr_is_any(&v[0]));
    assert_true(mu_addr_is_any(&v[4]));
    assert_false(mu_addr_is_any(&v[5]));
    assert_false(mu_addr_is_any(&(struct mu_addr){ .family = AF_UNIX }));
}

static const struct {
    int line;
    const char *net, *host;
    bool want;
} networks[] = {
    { __LINE__, "10.0.0.0/8", "10.255.1.2", true },
    { __LINE__, "10.0.0.0/8", "11.0.0.1", false },
    { __LINE__, "10.0.0.0/255.0.0.0", "10.9.9.9", true },
    { __LINE__, "192.168.16.0/255.255.240.0", "192.168.31.255", true },
    { __LINE__, "192.168.16.0/255.255.240.0", "192.168.32.0", false },
    { __LINE__, "192.168.16.0/20", "192.168.15.255", false },
    { __LINE__, "10.1", "10.1.2.3", true },
    { __LINE__, "10.1.", "10.1.2.3", true },
    { __LINE__, "10.1", "10.10.2.3", false },
    { __LINE__, "10", "10.10.2.3", true },
    { __LINE__, "10.1.2", "10.1.2.255", true },
    { __LINE__, "10.1/16", "10.1.200.1", true },
    { __LINE__, "10.1.2.3", "10.1.2.3", true },
    { __LINE__, "10.1.2.3", "10.1.2.4", false },
    { __LINE__, "10.1.2.3/32", "10.1.2.3", true },
    { __LINE__, "10.1.2.2/31", "10.1.2.3", true },
    { __LINE__, "10.1.2.2/31", "10.1.2.4", false },
    { __LINE__, "0.0.0.0/0", "200.1.2.3", true },
    { __LINE__, "0.0.0.0/0", "::1", false },
    { __LINE__, "::/0", "::1", true },
    { __LINE__, "::/0", "1.2.3.4", false },
    { __LINE__, "2001:db8::/32", "2001:db8:ffff::1", true },
    { __LINE__, "2001:db8::/32", "2001:db9::1", false },
    { __LINE__, "2001:db8::/33", "2001:db8:8000::1", false },
    { __LINE__, "::1", "::1", true },
    { __LINE__, "::1/128", "::2", false },
    { __LINE__, "::ffff:10.0.0.0/8", "10.1.1.1", true },
};

static void test_networks(void **state)
{
    struct mu_cidr net = { .addr.family = AF_UNIX };
    struct mu_addr addr;

    (void)state;
    assert_false(mu_cidr_has(&net, &(struct mu_addr){ .family = AF_UNIX }));
    for (size_t i = 0; i < MU_ARRAY_LEN(networks); i++) {
        int line = networks[i].line;

        check_int(line, mu_cidr_parse(mu_str_c(networks[i].net), &net), MU_OK);
        check_int(line, mu_addr_parse_ip(mu_str_c(networks[i].host), &addr), true);
        check_int(line, mu_cidr_has(&net, &addr), networks[i].want);
    }
}

static void test_what_is_no_network(void **state)
{
    static const char *const texts[] = { "10.0.0.0/33",
                                         "10.0.0.0/",
                                         "10.0.0.0/255.0.255.0",
                                         "::/129",
                                         "::/255.0.0.0",
                                         "10.1.2.3.4",
                                         "10.256",
                                         "10..1",
                                         ".",
                                         "",
                                         "/8",
                                         "example.com" };
    struct mu_cidr net;

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(texts); i++)
        check_int((int)i, mu_cidr_parse(mu_str_c(texts[i]), &net), MU_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_and_print), cmocka_unit_test(test_what_is_no_address),
        cmocka_unit_test(test_kernel_form),     cmocka_unit_test(test_order),
        cmocka_unit_test(test_networks),        cmocka_unit_test(test_what_is_no_network),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
