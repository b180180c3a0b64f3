/* Error and redirect answers: ErrorDocument where one is set, else the standard page.
 *
 * The text of the standard pages is what clients and scripts of httpd know, so it is httpd's, sentence by sentence.
 * An ErrorDocument that fails itself does not lead to another one: the first error's page says that it failed.
 */
#include "room.h"

#include <muster/str.h>

/** What a standard page says. %m is the method, %l the location, %a the administrator's address. */
struct page_text {
    enum mu_status status;
    const char *text;
};

static const struct page_text texts[] = {
    { MU_301_MOVED_PERMANENTLY, "<p>The document has moved <a href=\"%l\">here</a>.</p>\n" },
    { MU_302_FOUND, "<p>The document has moved <a href=\"%l\">here</a>.</p>\n" },
    { MU_307_TEMPORARY_REDIRECT, "<p>The document has moved <a href=\"%l\">here</a>.</p>\n" },
    { MU_308_PERMANENT_REDIRECT, "<p>The document has moved <a href=\"%l\">here</a>.</p>\n" },
    { MU_303_SEE_OTHER, "<p>The answer to your request is located <a href=\"%l\">here</a>.</p>\n" },
    { MU_300_MULTIPLE_CHOICES, "" },
    { (enum mu_status)305,
      "<p>This resource is only accessible through the proxy\n<br />\nYou will need "
      "to configure your client to use that proxy.</p>\n" },
    { MU_400_BAD_REQUEST,
      "<p>Your browser sent a request that this server could not understand.<br />\n%n</p>\n" },
    { MU_401_UNAUTHORIZED,
      "<p>This server could not verify that you\nare authorized to access the "
      "document\nrequested.  Either you supplied the wrong\ncredentials (e.g., bad "
      "password), or your\nbrowser doesn't understand how to supply\nthe credentials "
      "required.</p>\n" },
    { (enum mu_status)407,
      "<p>This server could not verify that you\nare authorized to access the "
      "document\nrequested.  Either you supplied the wrong\ncredentials (e.g., bad "
      "password), or your\nbrowser doesn't understand how to supply\nthe credentials "
      "required.</p>\n" },
    { MU_403_FORBIDDEN, "<p>You don't have permission to access this resource.%n</p>\n" },
    { MU_404_NOT_FOUND, "<p>The requested URL was not found on this server.</p>\n" },
    { MU_405_METHOD_NOT_ALLOWED, "<p>The requested method %m is not allowed for this URL.</p>\n" },
    { (enum mu_status)406,
      "<p>An appropriate representation of the requested resource could not be "
      "found on this server.</p>\n" },
    { MU_408_REQUEST_TIMEOUT,
      "<p>Server timeout waiting for the HTTP request from the client.</p>\n" },
    { MU_410_GONE,
      "<p>The requested resource is no longer available on this server and there is no "
      "forwarding address.\nPlease remove all references to this resource.</p>\n" },
    { MU_411_LENGTH_REQUIRED,
      "<p>A request of the requested method %m requires a valid Content-length.<br />\n%n</p>\n" },
    { MU_412_PRECONDITION_FAILED,
      "<p>The precondition on the request for this URL evaluated to false.</p>\n" },
    { MU_413_CONTENT_TOO_LARGE,
      "The requested resource does not allow request data with %m requests, or "
      "the amount of data provided in\nthe request exceeds the capacity "
      "limit.\n" },
    { MU_414_URI_TOO_LONG, "<p>The requested URL's length exceeds the capacity\nlimit for this "
                           "server.<br />\n%n</p>\n" },
    { MU_415_UNSUPPORTED_MEDIA_TYPE,
      "<p>The supplied request data is not in a format\nacceptable for "
      "processing by this resource.</p>\n" },
    { MU_416_RANGE_NOT_SATISFIABLE,
      "<p>None of the range-specifier values in the Range\nrequest-header "
      "field overlap the current extent\nof the selected resource.</p>\n" },
    { MU_421_MISDIRECTED_REQUEST,
      "<p>The client needs a new connection for this\nrequest as the requested "
      "host name does not match\nthe Server Name Indication (SNI) in use for "
      "this\nconnection.</p>\n" },
    { (enum mu_status)422,
      "<p>The server understands the media type of the\nrequest entity, but was unable "
      "to process the\ncontained instructions.</p>\n" },
    { (enum mu_status)423,
      "<p>The requested resource is currently locked.\nThe lock must be released or "
      "proper identification\ngiven before the method can be applied.</p>\n" },
    { (enum mu_status)424,
      "<p>The method could not be performed on the resource\nbecause the requested "
      "action depended on another\naction and that other action failed.</p>\n" },
    { MU_426_UPGRADE_REQUIRED,
      "<p>The requested resource can only be retrieved\nusing SSL.  Either upgrade "
      "your client, or try requesting the page\nusing https://</p>\n" },
    { (enum mu_status)428, "<p>The request is required to be conditional.</p>\n" },
    { (enum mu_status)429,
      "<p>The user has sent too many requests\nin a given amount of time.</p>\n" },
    { MU_431_REQUEST_HEADER_FIELDS_TOO_LARGE,
      "<p>The server refused this request because\nthe request "
      "header fields are too large.%n</p>\n" },
    { (enum mu_status)451,
      "<p>Access to this URL has been denied for legal reasons.<br />\n%n</p>\n" },
    { MU_501_NOT_IMPLEMENTED, "<p>%m not supported for current URL.<br />\n%n</p>\n" },
    { MU_502_BAD_GATEWAY,
      "<p>The proxy server received an invalid\r\nresponse from an upstream server.<br />\r\n%n</p>\n" },
    { MU_503_SERVICE_UNAVAILABLE,
      "<p>The server is temporarily unable to service your\nrequest due to "
      "maintenance downtime or capacity\nproblems. Please try again "
      "later.</p>\n" },
    { MU_504_GATEWAY_TIMEOUT,
      "<p>The gateway did not receive a timely response\nfrom the upstream server "
      "or application.</p>\n" },
    { (enum mu_status)506,
      "<p>A variant for the requested resource\n<pre>\n%n\n</pre>\nis itself a "
      "negotiable resource. This indicates a configuration error.</p>\n" },
    { (enum mu_status)507,
      "<p>The method could not be performed on the resource\nbecause the server is "
      "unable to store the\nrepresentation needed to successfully complete "
      "the\nrequest.  There is insufficient free space left in\nyour storage "
      "allocation.</p>\n" },
    { (enum mu_status)508,
      "<p>The server terminated an operation because\nit encountered an infinite "
      "loop.</p>\n" },
    { (enum mu_status)510,
      "<p>A mandatory extension policy in the request is not\naccepted by the server "
      "for this resource.</p>\n" },
    { (enum mu_status)511, "<p>The client needs to authenticate to gain\nnetwork access.</p>\n" },
};

static const char other_text[] =
    "<p>The server encountered an internal error or\nmisconfiguration and was unable to complete\nyour "
    "request.</p>\n<p>Please contact the server administrator at \n %a to inform them of the time this error "
    "occurred,\n and the actions you performed just before this error.</p>\n<p>More information about this "
    "error may be available\nin the server error log.</p>\n";

static void add_expectation(struct mu_buf *b, struct mu_req *r)
{
    struct mu_str expect = mu_headers_join(r->arena, &r->in, MU_H_EXPECT);

    if (expect.n) {
        mu_buf_add(
            b,
            MU_S("<p>The expectation given in the Expect request-header\nfield could not be met by "
                 "this server.\nThe client sent<pre>\n    Expect: "));
        mu_buf_add_html(b, expect);
        mu_buf_add(b, MU_S("\n</pre>\n"));
    } else {
        mu_buf_add(
            b,
            MU_S("<p>No expectation was seen, the Expect request-header \nfield was not presented "
                 "by the client.\n"));
    }
    mu_buf_add(b, MU_S("</p><p>Only the 100-continue expectation is supported.</p>\n"));
}

static void add_text(struct mu_buf *b, struct mu_req *r, const char *text, struct mu_str location)
{
    for (const char *p = text; *p; p++) {
        if (*p != '%') {
            mu_buf_addc(b, *p);
            continue;
        }
        switch (*++p) {
        case 'm':
            mu_buf_add_html(b, r->method_name);
            break;
        case 'l':
            mu_buf_add_html(b, location);
            break;
        case 'a':
            mu_buf_add_html(b, mu_req_admin(r));
            break;
        case 'n':
            mu_buf_add(b, mu_req_note(r, MU_S("error-notes")));
            break;
        }
    }
}

static const char *text_for(enum mu_status status)
{
    for (size_t i = 0; i < MU_ARRAY_LEN(texts); i++) {
        if (texts[i].status == status)
            return texts[i].text;
    }
    return other_text;
}

/* The page of r->status; `second` is the error its ErrorDocument ended in, or MU_STATUS_NONE. */
static struct mu_str make_page(struct mu_req *r, struct mu_str location, enum mu_status second)
{
    struct mu_buf b = { 0 };
    struct mu_str page;

    mu_buf_add(&b, MU_S("<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\" "
                        "\"http://www.w3.org/TR/html4/strict.dtd\">\n<html><head>\n<title>"));
    mu_buf_add(&b, mu_status_line(r->status));
    mu_buf_add(&b, MU_S("</title>\n</head><body>\n<h1>"));
    mu_buf_add(&b, mu_status_reason(r->status));
    mu_buf_add(&b, MU_S("</h1>\n"));
    if (r->status == MU_417_EXPECTATION_FAILED)
        add_expectation(&b, r);
    else
        add_text(&b, r, text_for(r->status), location);
    if (second != MU_STATUS_NONE) {
        mu_buf_add(&b, MU_S("<p>Additionally, a "));
        mu_buf_add(&b, mu_status_line(second));
        mu_buf_add(
            &b, MU_S("\nerror was encountered while trying to use an ErrorDocument to handle the "
                     "request.</p>\n"));
    }
    mu_buf_add(&b, mu_req_signature(r, MU_S("<hr>\n")));
    mu_buf_add(&b, MU_S("</body></html>\n"));
    page = b.is_failed ? MU_STR_NULL : mu_str_dup(r->arena, mu_buf_str(&b));
    mu_buf_fini(&b);
    return page;
}

struct mu_str mu_error_page(struct mu_req *r)
{
    return make_page(r, MU_STR_NULL, MU_STATUS_NONE);
}

struct mu_str mu_req_allow(struct mu_req *r)
{
    static const struct {
        enum mu_method method;
        struct mu_str name;
    } order[] = {
        /* httpd's order; what is not here follows in the order of the method list */
        { MU_M_GET, { "GET", 3 } },
        { MU_M_POST, { "POST", 4 } },
        { MU_M_OPTIONS, { "OPTIONS", 7 } },
        { MU_M_HEAD, { "HEAD", 4 } },
    };
    uint32_t set = r->methods_allowed, rest;
    char buf[MU_ALLOW_MAX];
    struct mu_buf b = { 0 };
    struct mu_str allow;

    if (set)
        set |= MU_METHOD_BIT(MU_M_OPTIONS);
    if (mu_core_of(r->vhost->base)->trace_enable != MU_TRACE_OFF)
        set |= MU_METHOD_BIT(MU_M_TRACE);
    rest = set & (MU_METHOD_BIT(MU_M_COUNT) - 2);
    for (size_t i = 0; i < MU_ARRAY_LEN(order); i++) {
        if (set & MU_METHOD_BIT(order[i].method)) {
            mu_buf_add(&b, b.n ? MU_S(",") : MU_S(""));
            mu_buf_add(&b, order[i].name);
        }
        rest &= ~MU_METHOD_BIT(order[i].method);
    }
    mu_buf_add(&b, b.n && rest ? MU_S(",") : MU_S(""));
    mu_buf_add(&b, mu_str_n(buf, mu_method_allow(rest, buf)));
    allow = mu_str_dup(r->arena, mu_buf_str(&b));
    mu_buf_fini(&b);
    return allow;
}

static bool is_redirect(enum mu_status s)
{
    return s == MU_301_MOVED_PERMANENTLY || s == MU_302_FOUND || s == MU_303_SEE_OTHER ||
           s == MU_307_TEMPORARY_REDIRECT || s == MU_308_PERMANENT_REDIRECT ||
           s == MU_300_MULTIPLE_CHOICES || s == (enum mu_status)305;
}

/* Nothing of the answer that failed stays but what must: Location, Content-Range of a 416, Allow, authentication. */
static struct mu_str reset_fields(struct mu_req *r)
{
    struct mu_str location = mu_headers_get(&r->out, MU_S("Location"));
    struct mu_str range = mu_headers_get_id(&r->out, MU_H_CONTENT_RANGE);
    struct mu_headers challenges = { 0 };

    for (uint32_t i = 0; i < r->out.n; i++) {
        const struct mu_header *h = &r->out.v[i];

        if (h->id == MU_H_WWW_AUTHENTICATE || h->id == MU_H_RETRY_AFTER)
            (void)!mu_headers_add(r->arena, &challenges, h->name, h->value);
    }
    r->out = challenges;
    if (is_redirect(r->status) && location.p)
        mu_resp_set(r, MU_S("Location"), location);
    if (r->status == MU_416_RANGE_NOT_SATISFIABLE && range.p)
        mu_resp_set(r, MU_S("Content-Range"), range);
    if (r->status == MU_405_METHOD_NOT_ALLOWED || r->status == MU_501_NOT_IMPLEMENTED)
        mu_resp_set(r, MU_S("Allow"), mu_req_allow(r));
    r->etag = MU_STR_NULL;
    r->last_modified = -1;
    r->content_length = -1;
    r->content_encoding = MU_STR_NULL;
    r->languages = (struct mu_strs){ NULL, 0 };
    r->output = NULL;
    return is_redirect(r->status) ? location : MU_STR_NULL;
}

static enum mu_status send_page(struct mu_req *r, struct mu_str text)
{
    struct mu_body_source src = { .mem = text, .fd = -1, .len = text.n };

    if (!text.p)
        src = (struct mu_body_source){ .mem = MU_S(""), .fd = -1 };
    r->content_type = mu_req_env(r, MU_S("suppress-error-charset")).p
                          ? MU_S("text/html")
                          : MU_S("text/html; charset=iso-8859-1");
    mu_resp_source(r, &src);
    return r->status;
}

static const struct mu_error_document *find_document(struct mu_req *r)
{
    const struct mu_error_documents *d = &mu_core_req(r)->phases->core->error_documents;

    for (size_t i = 0; i < d->n; i++) {
        if (d->v[i].status == (int)r->status)
            return d->v[i].kind == MU_ERRDOC_DEFAULT ? NULL : &d->v[i];
    }
    return NULL;
}

static enum mu_status use_document(struct mu_req *r, const struct mu_error_document *d)
{
    struct mu_str path = d->value, query = MU_STR_NULL, location;
    ssize_t q;

    if (d->kind == MU_ERRDOC_TEXT) {
        reset_fields(r);
        return send_page(r, d->value);
    }
    if (d->kind == MU_ERRDOC_URL) {
        mu_resp_set(r, MU_S("Location"), d->value);
        r->status = MU_302_FOUND;
        return send_page(r, make_page(r, reset_fields(r), MU_STATUS_NONE));
    }
    q = mu_str_chr(path, '?');
    if (q >= 0) {
        query = mu_str_sub(path, (size_t)q + 1, path.n);
        path = mu_str_sub(path, 0, (size_t)q);
    }
    location = reset_fields(r);
    if (location.n) /* of a redirect it stays, whatever page goes with it */
        (void)!mu_headers_set(r->arena, &r->out_always, MU_S("Location"), location);
    return mu_error_redirect(r, path, query);
}

enum mu_status mu_error_answer(struct mu_req *r, enum mu_status status)
{
    const struct mu_error_document *d;

    if (!mu_status_line(status).p)
        status = MU_500_INTERNAL_SERVER_ERROR;
    if (mu_core_req(r)->error) { /* its ErrorDocument failed: back to the first error */
        r->status = mu_core_req(r)->error;
        return send_page(r, make_page(r, reset_fields(r), status));
    }
    r->status = status;
    d = find_document(r);
    return d ? use_document(r, d) : send_page(r, make_page(r, reset_fields(r), MU_STATUS_NONE));
}
