/*
 * How long one request head takes to parse and one response head to write: nanoseconds each, the
 * best of several rounds. Not a test: it prints, it does not judge. Run it on an idle core when the
 * parser changes.
 */
#include <muster/clock.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/h1.h"

#define ROUNDS 7
#define TURNS 200000

static const char browser[] =
    "GET /index.html?from=here HTTP/1.1\r\nHost: www.example.org:8080\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: de,en-US;q=0.7,en;q=0.3\r\nAccept-Encoding: gzip, deflate, br\r\n"
    "Connection: keep-alive\r\nIf-None-Match: \"400-60dd710212000\"\r\n\r\n";
static const char wrk[] = "GET /1k.html HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

static size_t total;

static void parse(struct mu_arena *a, struct mu_str in)
{
    static const struct mu_h1_limits limits = { .max_line = 8190,
                                                .max_field = 8190,
                                                .max_fields = 100 };
    struct mu_h1_parser p = { 0 };
    struct mu_h1_head head;
    enum mu_status status;
    size_t head_len;

    mu_arena_reset(a);
    if (mu_h1_parse(&p, &limits, a, in.p, in.n, &head, &head_len, &status) != MU_OK) {
        abort();
    }
    total += head_len;
}

static void write_head(struct mu_arena *a, struct mu_str in)
{
    static struct mu_header fields[] = {
        { { "Date", 4 }, { "Mon, 01 Jan 2024 00:00:00 GMT", 29 }, MU_H_DATE },
        { { "Server", 6 }, { "Muster", 6 }, MU_H_SERVER },
        { { "Last-Modified", 13 }, { "Mon, 01 Jan 2024 00:00:00 GMT", 29 }, MU_H_LAST_MODIFIED },
        { { "ETag", 4 }, { "\"400-60dd710212000\"", 19 }, MU_H_ETAG },
        { { "Accept-Ranges", 13 }, { "bytes", 5 }, MU_H_ACCEPT_RANGES },
        { { "Content-Length", 14 }, { "1024", 4 }, MU_H_CONTENT_LENGTH },
        { { "Content-Type", 12 }, { "text/html", 9 }, MU_H_CONTENT_TYPE },
    };
    const struct mu_headers headers = { .v = fields, .n = MU_ARRAY_LEN(fields) };
    char buf[1024];

    (void)a;
    (void)in;
    total += mu_h1_format_head(buf, sizeof(buf), 1001, MU_200_OK, MU_STR_NULL, &headers);
}

static void measure(const char *what, void (*work)(struct mu_arena *a, struct mu_str in),
                    struct mu_str in)
{
    struct mu_arena *a = mu_arena_create(0);
    int64_t best = INT64_MAX;

    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = mu_mono_us(), spent;

        for (int turn = 0; turn < TURNS; turn++) {
            work(a, in);
        }
        spent = mu_mono_us() - start;
        best = spent < best ? spent : best;
    }
    printf("%-32s %7.1f ns\n", what, (double)best * 1000 / TURNS);
    mu_arena_destroy(a);
}

int main(void)
{
    measure("parse, a browser's 8 lines", parse, (struct mu_str){ browser, sizeof(browser) - 1 });
    measure("parse, wrk's 2 lines", parse, (struct mu_str){ wrk, sizeof(wrk) - 1 });
    measure("write, 7 fields", write_head, MU_STR_NULL);
    return total == 0;
}
