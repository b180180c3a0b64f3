/*
 * Status phrases: httpd's texts, because pages, logs and scripts show them. Kept as whole "404 Not
 * Found" strings so that the writer copies one slice; the phrase alone is that slice without its
 * first four bytes.
 */
#include <muster/http.h>

#define FIRST 100
#define LAST 511

#define LINE(code, text) [(code)-FIRST] = { #code " " text, sizeof(#code " " text) - 1 }

static const struct mu_str lines[LAST - FIRST + 1] = {
    LINE(100, "Continue"),
    LINE(101, "Switching Protocols"),
    LINE(102, "Processing"),
    LINE(103, "Early Hints"),
    LINE(200, "OK"),
    LINE(201, "Created"),
    LINE(202, "Accepted"),
    LINE(203, "Non-Authoritative Information"),
    LINE(204, "No Content"),
    LINE(205, "Reset Content"),
    LINE(206, "Partial Content"),
    LINE(207, "Multi-Status"),
    LINE(208, "Already Reported"),
    LINE(226, "IM Used"),
    LINE(300, "Multiple Choices"),
    LINE(301, "Moved Permanently"),
    LINE(302, "Found"),
    LINE(303, "See Other"),
    LINE(304, "Not Modified"),
    LINE(305, "Use Proxy"),
    LINE(307, "Temporary Redirect"),
    LINE(308, "Permanent Redirect"),
    LINE(400, "Bad Request"),
    LINE(401, "Unauthorized"),
    LINE(402, "Payment Required"),
    LINE(403, "Forbidden"),
    LINE(404, "Not Found"),
    LINE(405, "Method Not Allowed"),
    LINE(406, "Not Acceptable"),
    LINE(407, "Proxy Authentication Required"),
    LINE(408, "Request Timeout"),
    LINE(409, "Conflict"),
    LINE(410, "Gone"),
    LINE(411, "Length Required"),
    LINE(412, "Precondition Failed"),
    LINE(413, "Request Entity Too Large"),
    LINE(414, "Request-URI Too Long"),
    LINE(415, "Unsupported Media Type"),
    LINE(416, "Requested Range Not Satisfiable"),
    LINE(417, "Expectation Failed"),
    LINE(421, "Misdirected Request"),
    LINE(422, "Unprocessable Entity"),
    LINE(423, "Locked"),
    LINE(424, "Failed Dependency"),
    LINE(425, "Too Early"),
    LINE(426, "Upgrade Required"),
    LINE(428, "Precondition Required"),
    LINE(429, "Too Many Requests"),
    LINE(431, "Request Header Fields Too Large"),
    LINE(451, "Unavailable For Legal Reasons"),
    LINE(500, "Internal Server Error"),
    LINE(501, "Not Implemented"),
    LINE(502, "Bad Gateway"),
    LINE(503, "Service Unavailable"),
    LINE(504, "Gateway Timeout"),
    LINE(505, "HTTP Version Not Supported"),
    LINE(506, "Variant Also Negotiates"),
    LINE(507, "Insufficient Storage"),
    LINE(508, "Loop Detected"),
    LINE(510, "Not Extended"),
    LINE(511, "Network Authentication Required"),
};

struct mu_str mu_status_line(enum mu_status s)
{
    unsigned i = (unsigned)s - FIRST;

    return i < MU_ARRAY_LEN(lines) ? lines[i] : MU_STR_NULL;
}

struct mu_str mu_status_reason(enum mu_status s)
{
    struct mu_str line = mu_status_line(s);

    return line.p ? (struct mu_str){ line.p + 4, line.n - 4 } : MU_S("Unknown Reason");
}

bool mu_status_has_no_body(enum mu_status s)
{
    return (s >= 100 && s < 200) || s == MU_204_NO_CONTENT || s == MU_304_NOT_MODIFIED;
}
