/*
 * httpdate: HTTP-date in its three forms (RFC 9110 section 5.6.7). Calendar arithmetic is done
 * here, in days since 0000-03-01 of the proleptic Gregorian calendar, because the C library's is
 * slow and looks at the time zone.
 */
#include <muster/clock.h>
#include <muster/str.h>

static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

enum { DAYS_TO_1970 = 719468, DAYS_400Y = 146097, SEC_A_DAY = 86400 };

/* The range that "YYYY" can show: years 0 to 9999. */
static const int64_t sec_min = -62167219200;
static const int64_t sec_max = 253402300799;

struct civil {
    int64_t year;
    unsigned month; /* 1..12 */
    unsigned day;   /* 1..31 */
};

/* A year starts with March here, so that the leap day is its last. */
static int64_t days_from_civil(struct civil c)
{
    int64_t y = c.year - (c.month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * ((int64_t)c.month + (c.month > 2 ? -3 : 9)) + 2) / 5 + c.day - 1;

    return era * DAYS_400Y + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           DAYS_TO_1970;
}

static struct civil civil_from_days(int64_t days_1970)
{
    int64_t d = days_1970 + DAYS_TO_1970;
    int64_t era = (d >= 0 ? d : d - (DAYS_400Y - 1)) / DAYS_400Y;
    int64_t day_of_era = d - era * DAYS_400Y;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t m = (5 * day_of_year + 2) / 153;

    return (struct civil){
        .year = year_of_era + era * 400 + (m >= 10),
        .month = (unsigned)(m < 10 ? m + 3 : m - 9),
        .day = (unsigned)(day_of_year - (153 * m + 2) / 5 + 1),
    };
}

static char *put2(char *p, int64_t v)
{
    *p++ = (char)('0' + v / 10);
    *p++ = (char)('0' + v % 10);
    return p;
}

static char *put(char *p, const char *s, size_t n)
{
    memcpy(p, s, n);
    return p + n;
}

void mu_http_date(int64_t sec, char buf[29])
{
    int64_t day;
    int64_t rest;
    struct civil c;
    char *p = buf;

    sec = sec < sec_min ? sec_min : sec > sec_max ? sec_max : sec;
    day = sec / SEC_A_DAY - (sec % SEC_A_DAY < 0);
    rest = sec - day * SEC_A_DAY;
    c = civil_from_days(day);
    p = put(p, days[((day + 4) % 7 + 7) % 7], 3);
    p = put(p, ", ", 2);
    p = put2(p, c.day);
    p = put(p, " ", 1);
    p = put(p, months[c.month - 1], 3);
    p = put(p, " ", 1);
    p = put2(p, c.year / 100);
    p = put2(p, c.year % 100);
    p = put(p, " ", 1);
    p = put2(p, rest / 3600);
    p = put(p, ":", 1);
    p = put2(p, rest / 60 % 60);
    p = put(p, ":", 1);
    p = put2(p, rest % 60);
    put(p, " GMT", 4);
}

/* What is left of the date being parsed; a step that fails makes all later ones fail. */
struct scan {
    struct mu_str rest;
    bool is_bad;
};

static void expect(struct scan *s, struct mu_str text)
{
    if (!mu_str_starts(s->rest, text))
        s->is_bad = true;
    else
        s->rest = mu_str_sub(s->rest, text.n, s->rest.n);
}

/* Exactly `n` digits; a leading space stands for a zero when `may_pad` (asctime's day). */
static unsigned digits(struct scan *s, size_t n, bool may_pad)
{
    unsigned v = 0;

    for (size_t i = 0; i < n; i++) {
        char c = s->rest.n > i ? s->rest.p[i] : '\0';

        if (c == ' ' && may_pad && i == 0)
            c = '0';
        if (c < '0' || c > '9') {
            s->is_bad = true;
            return 0;
        }
        v = v * 10 + (unsigned)(c - '0');
    }
    s->rest = mu_str_sub(s->rest, n, s->rest.n);
    return v;
}

static unsigned month(struct scan *s)
{
    for (unsigned m = 0; m < 12; m++) {
        if (mu_str_starts(s->rest, mu_str_n(months[m], 3))) {
            s->rest = mu_str_sub(s->rest, 3, s->rest.n);
            return m + 1;
        }
    }
    s->is_bad = true;
    return 1;
}

/* "hh:mm:ss" in seconds; a leap second is allowed. */
static int64_t time_of_day(struct scan *s)
{
    unsigned h = digits(s, 2, false);
    unsigned m;
    unsigned sec;

    expect(s, MU_S(":"));
    m = digits(s, 2, false);
    expect(s, MU_S(":"));
    sec = digits(s, 2, false);
    s->is_bad |= h > 23 || m > 59 || sec > 60;
    return (int64_t)h * 3600 + m * 60 + sec;
}

/*
 * RFC 850's two digits: a date that seems more than 50 years ahead is the most recent past one of
 * those digits.
 */
static int64_t full_year(unsigned two_digits)
{
    int64_t this_year = civil_from_days(mu_real_sec() / SEC_A_DAY).year;
    int64_t year = this_year - this_year % 100 + two_digits;

    return year > this_year + 50 ? year - 100 : year;
}

/* The separators of IMF-fixdate and RFC 850's form differ, and the length of the year. */
static int64_t parse_day_first(struct scan *s, struct mu_str sep, bool has_short_year,
                               struct civil *c)
{
    int64_t sec;

    expect(s, MU_S(", "));
    c->day = digits(s, 2, false);
    expect(s, sep);
    c->month = month(s);
    expect(s, sep);
    c->year = has_short_year ? full_year(digits(s, 2, false)) : digits(s, 4, false);
    expect(s, MU_S(" "));
    sec = time_of_day(s);
    expect(s, MU_S(" GMT"));
    return sec;
}

static int64_t parse_asctime(struct scan *s, struct civil *c)
{
    int64_t sec;

    expect(s, MU_S(" "));
    c->month = month(s);
    expect(s, MU_S(" "));
    c->day = digits(s, 2, true);
    expect(s, MU_S(" "));
    sec = time_of_day(s);
    expect(s, MU_S(" "));
    c->year = digits(s, 4, false);
    return sec;
}

static bool is_day_of_month(struct civil c)
{
    struct civil back;

    if (c.day < 1 || c.day > 31)
        return false;
    back = civil_from_days(days_from_civil(c));
    return back.month == c.month && back.day == c.day;
}

static bool take_weekday(struct scan *s, bool *is_long)
{
    static const struct mu_str ends[7] = { MU_S("day"),   MU_S("day"), MU_S("sday"), MU_S("nesday"),
                                           MU_S("rsday"), MU_S("day"), MU_S("urday") };

    for (size_t i = 0; i < 7; i++) {
        if (!mu_str_starts(s->rest, mu_str_n(days[i], 3)))
            continue;
        s->rest = mu_str_sub(s->rest, 3, s->rest.n);
        *is_long = mu_str_starts(s->rest, ends[i]);
        if (*is_long)
            s->rest = mu_str_sub(s->rest, ends[i].n, s->rest.n);
        return true;
    }
    return false;
}

bool mu_http_date_parse(struct mu_str text, int64_t *sec)
{
    struct scan s = { .rest = text };
    struct civil c = { 0 };
    bool is_long;
    int64_t time;

    if (!take_weekday(&s, &is_long))
        return false;
    if (is_long)
        time = parse_day_first(&s, MU_S("-"), true, &c);
    else if (mu_str_starts(s.rest, MU_S(",")))
        time = parse_day_first(&s, MU_S(" "), false, &c);
    else
        time = parse_asctime(&s, &c);
    if (s.is_bad || s.rest.n || !is_day_of_month(c))
        return false;
    *sec = days_from_civil(c) * SEC_A_DAY + time;
    return true;
}
