/*
 * The clock and HTTP dates: against the C library over three thousand years, the three forms, and
 * what is none of them.
 */
#include "unit.h"

#include <muster/clock.h>

#include <pthread.h>
#include <time.h>

static void check_date(int64_t sec)
{
    time_t t = (time_t)sec;
    struct tm tm;
    char want[64];
    char got[29];
    int64_t back;

    gmtime_r(&t, &tm);
    strftime(want, sizeof(want), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    mu_http_date(sec, got);
    check_str(__LINE__, mu_str_n(got, 29), mu_str_c(want));
    assert_true(mu_http_date_parse(mu_str_n(got, 29), &back));
    assert_true(back == sec);
    strftime(want, sizeof(want), "%a %b %e %H:%M:%S %Y", &tm);
    assert_true(mu_http_date_parse(mu_str_c(want), &back));
    assert_true(back == sec);
}

static void test_dates_match_the_library(void **state)
{
    (void)state;
    for (int64_t sec = -30610224000 /* year 1000 */; sec < 64092211200 /* 4001 */;
         sec += 86400 * 11 + 12345)
        check_date(sec);
    check_date(0);
    check_date(951782400);  /* 29 Feb 2000 */
    check_date(4107542400); /* 1 Mar 2100, no leap year */
    check_date(1709251199);
    check_date(253402300799);
}

static void test_dates_beyond_four_digits_are_clamped(void **state)
{
    char text[29];

    (void)state;
    mu_http_date(INT64_MAX, text);
    check_str(__LINE__, mu_str_n(text, 29), MU_S("Fri, 31 Dec 9999 23:59:59 GMT"));
    mu_http_date(INT64_MIN, text);
    check_str(__LINE__, mu_str_n(text, 29), MU_S("Sat, 01 Jan 0000 00:00:00 GMT"));
}

static void test_parse(void **state)
{
    static const struct {
        int line;
        const char *text;
        int64_t sec; /* -1: no date */
    } rows[] = {
        { __LINE__, "Sun, 06 Nov 1994 08:49:37 GMT", 784111777 },
        { __LINE__, "Sunday, 06-Nov-94 08:49:37 GMT", 784111777 },
        { __LINE__, "Sun Nov  6 08:49:37 1994", 784111777 },
        { __LINE__, "Wednesday, 09-Nov-94 08:49:37 GMT", 784370977 },
        { __LINE__, "Thu, 29 Feb 2024 00:00:00 GMT", 1709164800 },
        { __LINE__, "Wed, 31 Dec 2008 23:59:60 GMT", 1230768000 },
        { __LINE__, "Thu, 29 Feb 2023 00:00:00 GMT", -1 },
        { __LINE__, "Sun, 31 Apr 2023 00:00:00 GMT", -1 },
        { __LINE__, "Sun, 00 Nov 1994 08:49:37 GMT", -1 },
        { __LINE__, "Sun, 06 Nov 1994 24:49:37 GMT", -1 },
        { __LINE__, "Sun, 06 Nov 1994 08:60:37 GMT", -1 },
        { __LINE__, "Sun, 06 Nov 1994 08:49:61 GMT", -1 },
        { __LINE__, "Sun, 06 Nov 1994 08:49:37 CET", -1 },
        { __LINE__, "Sun, 06 Nov 1994 08:49:37", -1 },
        { __LINE__, "Sun, 06 Nov 1994 08:49:37 GMT ", -1 },
        { __LINE__, " Sun, 06 Nov 1994 08:49:37 GMT", -1 },
        { __LINE__, "Sun, 6 Nov 1994 08:49:37 GMT", -1 },
        { __LINE__, "Sun, 06 Noe 1994 08:49:37 GMT", -1 },
        { __LINE__, "Xun, 06 Nov 1994 08:49:37 GMT", -1 },
        { __LINE__, "Sunday, 06 Nov 1994 08:49:37 GMT", -1 },
        { __LINE__, "Sun, 06-Nov-94 08:49:37 GMT", -1 },
        { __LINE__, "Sun", -1 },
        { __LINE__, "", -1 },
        { __LINE__, "784111777", -1 },
    };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(rows); i++) {
        struct mu_str text = mu_str_c(rows[i].text);
        int64_t sec = -1;

        check_int(rows[i].line, mu_http_date_parse(text, &sec), rows[i].sec >= 0);
        check_int(rows[i].line, sec, rows[i].sec);
        for (size_t n = 0; n < text.n; n++) /* no prefix is read beyond its end, none is a date */
            check_int(rows[i].line, mu_http_date_parse(mu_str_n(text.p, n), &sec),
                      mu_str_ieq(text, MU_S("Sun, 06 Nov 1994 08:49:37 GMT ")) && n == text.n - 1);
    }
}

/* RFC 850 years: never more than 50 years ahead. */
static void test_two_digit_years(void **state)
{
    time_t now = time(NULL);
    struct tm tm;
    int year;

    (void)state;
    gmtime_r(&now, &tm);
    year = tm.tm_year + 1900;
    for (int y = year - 49; y <= year + 50; y++) {
        char text[64];
        int64_t sec;

        snprintf(text, sizeof(text), "Monday, 01-Jul-%02d 00:00:00 GMT", y % 100);
        assert_true(mu_http_date_parse(mu_str_c(text), &sec));
        now = (time_t)sec;
        gmtime_r(&now, &tm);
        check_int(y, tm.tm_year + 1900, y);
    }
}

static void *read_on_thread(void *arg)
{
    int64_t *ms = arg;

    *ms = mu_now_ms();
    return NULL;
}

static void test_clock_is_cached_until_the_tick(void **state)
{
    int64_t before;
    int64_t other = 0;
    int64_t exact = mu_mono_us();
    time_t sec = time(NULL);
    pthread_t thread;

    (void)state;
    mu_clock_tick();
    before = mu_now_ms();
    assert_true(before >= exact / 1000);
    while (mu_mono_us() / 1000 <= before + 1)
        ;
    assert_true(mu_now_ms() == before);
    assert_int_equal(pthread_create(&thread, NULL, read_on_thread, &other), 0);
    pthread_join(thread, NULL);
    assert_true(other > before); /* a thread that never ticked has a reading of its own */
    assert_true(mu_now_ms() == before);
    mu_clock_tick();
    assert_true(mu_now_ms() > before);
    assert_true(mu_real_sec() * 1000000 <= mu_real_us());
    assert_true(mu_real_sec() >= sec - 1);
}

static void test_date_now(void **state)
{
    struct mu_str date = mu_http_date_now();
    char want[29];

    (void)state;
    mu_http_date(mu_real_sec(), want);
    check_str(__LINE__, date, mu_str_n(want, 29));
    assert_ptr_equal(mu_http_date_now().p, date.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dates_match_the_library),
        cmocka_unit_test(test_dates_beyond_four_digits_are_clamped),
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_two_digit_years),
        cmocka_unit_test(test_clock_is_cached_until_the_tick),
        cmocka_unit_test(test_date_now),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
