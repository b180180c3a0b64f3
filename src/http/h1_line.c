/*
 * The request line: method, target, version. Strict (the default) takes one space between them and
 * no fragment; like httpd it lets any visible character stand in the target, since browsers do send
 * "|" and raw UTF-8. Unsafe takes runs of blanks and "http/" in any case as well, nothing more.
 */
#include "h1_internal.h"

#include <muster/str.h>

#include "chars.h"

/* Step over the blanks between two parts of the line; a tab is none, in Unsafe neither, as in
 * httpd. */
static bool skip_gap(const struct mu_h1_pass *pass, struct mu_str *rest)
{
    size_t i = 0;

    if (!pass->limits->is_unsafe) {
        i = rest->n > 0 && *rest->p == ' ';
    } else {
        while (i < rest->n && rest->p[i] == ' ') {
            i++;
        }
    }
    rest->p += i;
    rest->n -= i;
    return i > 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static enum mu_rc take_version(struct mu_h1_pass *pass, struct mu_str s)
{
    const struct mu_str name = { s.p, 5 };

    if (MU_LIKELY(mu_str_eq(s, MU_S("HTTP/1.1")))) {
        pass->head->version = 1001;
        return MU_OK;
    }
    if (s.n != 8 || !is_digit(s.p[5]) || s.p[6] != '.' || !is_digit(s.p[7])) {
        return mu_h1_bad(pass, "malformed protocol version");
    }
    if (!mu_str_eq(name, MU_S("HTTP/")) &&
        !(pass->limits->is_unsafe && mu_str_ieq(name, MU_S("HTTP/")))) {
        return mu_h1_bad(pass, "malformed protocol version");
    }
    if (s.p[5] == '0') {
        return mu_h1_bad(pass, "HTTP/0.9 takes no version");
    }
    if (s.p[5] != '1') {
        return mu_h1_refuse(pass, MU_BAD, MU_505_HTTP_VERSION_NOT_SUPPORTED,
                            "HTTP version not supported");
    }
    /* A minor version above 1 is answered as 1.1 (RFC 9110 section 2.5). */
    pass->head->version = s.p[7] == '0' ? 1000 : 1001;
    return MU_OK;
}

/* A line without a version is a simple request of HTTP/0.9: GET and nothing else. */
static enum mu_rc take_simple(struct mu_h1_pass *pass)
{
    /* "GET HTTP/1.1" lacks a target rather than a version: its sender wants to see a head. */
    if (mu_str_starts(pass->head->target, MU_S("HTTP/"))) {
        return mu_h1_bad(pass, "request line without a target");
    }
    if (!pass->limits->may_09) {
        return mu_h1_bad(pass, "HTTP/0.9 request");
    }
    if (pass->head->method != MU_M_GET) {
        return mu_h1_bad(pass, "HTTP/0.9 request is not a GET");
    }
    pass->head->version = 9;
    return MU_OK;
}

static enum mu_rc take_method(struct mu_h1_pass *pass, struct mu_str *rest)
{
    struct mu_h1_head *head = pass->head;

    head->method_name = (struct mu_str){ rest->p, mu_ch_span(*rest, MU_CH_TOKEN) };
    if (head->method_name.n == 0) {
        return mu_h1_bad(pass, "malformed method");
    }
    head->method = mu_method_parse(head->method_name);
    rest->p += head->method_name.n;
    rest->n -= head->method_name.n;
    if (!skip_gap(pass, rest)) {
        return mu_h1_bad(pass, rest->n ? "malformed method" : "request line without a target");
    }
    return MU_OK;
}

static enum mu_rc take_target(struct mu_h1_pass *pass, struct mu_str *rest)
{
    struct mu_h1_head *head = pass->head;

    head->target = (struct mu_str){ rest->p, mu_ch_span(*rest, MU_CH_VISIBLE) };
    if (head->target.n == 0) {
        return mu_h1_bad(pass, rest->n && *rest->p == ' ' ? "several spaces in the request line"
                                                          : "malformed request target");
    }
    rest->p += head->target.n;
    rest->n -= head->target.n;
    if (rest->n > 0 && !mu_ch_is_ows(*rest->p)) {
        return mu_h1_bad(pass, "forbidden character in the request target");
    }
    return MU_OK;
}

enum mu_rc mu_h1_request_line(struct mu_h1_pass *pass, struct mu_str line)
{
    struct mu_str rest = line;
    enum mu_rc rc;

    pass->head->request_line = line;
    if (pass->limits->is_unsafe) {
        while (rest.n > 0 && mu_ch_is_ows(rest.p[rest.n - 1])) {
            rest.n--;
        }
    }
    rc = take_method(pass, &rest);
    if (rc == MU_OK) {
        rc = take_target(pass, &rest);
    }
    if (rc != MU_OK) {
        return rc;
    }
    if (rest.n == 0) {
        rc = take_simple(pass);
    } else if (!skip_gap(pass, &rest)) {
        rc = mu_h1_bad(pass, "white space other than one space in the request line");
    } else {
        rc = take_version(pass, rest);
    }
    if (rc != MU_OK) {
        return rc;
    }
    if (pass->head->method == MU_M_OTHER && pass->limits->wants_registered_methods) {
        return mu_h1_refuse(pass, MU_BAD, MU_501_NOT_IMPLEMENTED, "method not registered");
    }
    return mu_h1_target(pass);
}
