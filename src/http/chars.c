/*
 * Character classes of HTTP/1. One table of 256 bytes answers every question of the parser about a
 * single byte; field values, the bulk of a head, are checked eight bytes at a time in a plain
 * 64-bit register, which needs no instruction set beyond what every target has.
 */
#include "chars.h"

#define T MU_CH_TOKEN
#define V MU_CH_VISIBLE
#define R MU_CH_REGNAME
#define X MU_CH_HEX
#define S MU_CH_SCHEME
#define N MU_CH_UNRESERVED
#define P MU_CH_PATH

const uint8_t mu_char_class[256] = {
    ['!'] = T | V | P,
    ['"'] = V,
    ['#'] = T | V,
    ['$'] = T | V | P,
    ['%'] = T | V,
    ['&'] = T | V | P,
    ['\''] = T | V | P,
    ['('] = V | P,
    [')'] = V | P,
    ['*'] = T | V | P,
    ['+'] = T | V | S | P,
    [','] = V | P,
    ['-'] = T | V | R | S | N | P,
    ['.'] = T | V | R | S | N | P,
    ['/'] = V | P,
    ['0' ... '9'] = T | V | R | X | S | N | P,
    [':'] = V | P,
    [';'] = V | P,
    ['<'] = V,
    ['='] = V | P,
    ['>'] = V,
    ['?'] = V,
    ['@'] = V | P,
    ['A' ... 'F'] = T | V | R | X | S | N | P,
    ['G' ... 'Z'] = T | V | R | S | N | P,
    ['['] = V,
    ['\\'] = V,
    [']'] = V,
    ['^'] = T | V,
    ['_'] = T | V | R | N | P,
    ['`'] = T | V,
    ['a' ... 'f'] = T | V | R | X | S | N | P,
    ['g' ... 'z'] = T | V | R | S | N | P,
    ['{'] = V,
    ['|'] = T | V,
    ['}'] = V,
    ['~'] = T | V | N | P,
    [0x80 ... 0xff] = V,
};

#undef T
#undef V
#undef R
#undef X
#undef S
#undef N
#undef P

size_t mu_ch_span(struct mu_str s, unsigned classes)
{
    size_t i = 0;

    while (i < s.n && mu_ch_is(s.p[i], classes)) {
        i++;
    }
    return i;
}

static bool is_field_byte(char c)
{
    return mu_ch_is(c, MU_CH_VISIBLE) || mu_ch_is_ows(c);
}

/*
 * Bit 7 of a byte is set when that byte of w may be below 0x20 or 0x7f: never missed, exact when no
 * bit is set.
 */
static uint64_t suspects(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t del = w ^ (ones * 0x7f);

    return (((w - ones * 0x20) & ~w) | ((del - ones) & ~del)) & highs;
}

bool mu_ch_is_field_value(struct mu_str s)
{
    size_t i = 0;

    for (; i + 8 <= s.n; i += 8) {
        uint64_t w;

        memcpy(&w, s.p + i, sizeof(w));
        if (MU_LIKELY(!suspects(w))) {
            continue;
        }
        for (size_t k = i; k < i + 8; k++) {
            if (!is_field_byte(s.p[k])) {
                return false;
            }
        }
    }
    for (; i < s.n; i++) {
        if (!is_field_byte(s.p[i])) {
            return false;
        }
    }
    return true;
}

struct mu_str mu_ch_trim_ows(struct mu_str s)
{
    while (s.n > 0 && mu_ch_is_ows(s.p[s.n - 1])) {
        s.n--;
    }
    while (s.n > 0 && mu_ch_is_ows(*s.p)) {
        s.p++;
        s.n--;
    }
    return s;
}
