/*
 * str: comparisons, searches, numbers and hashes over borrowed bytes. Nothing here allocates,
 * knows a locale or reads beyond the length it was given; case is folded for ASCII alone, eight
 * bytes at a time where it pays.
 */
#include <muster/str.h>

#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define REPEAT8(b) ((uint64_t)(b)*0x0101010101010101u)

static inline uint64_t load8(const char *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint64_t load4(const char *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

/*
 * n bytes, 1 to 16, as two words: overlapping loads from both ends, so every byte is in and none
 * outside is read.
 */
static inline void load_1_to_16(const char *p, size_t n, uint64_t *a, uint64_t *b)
{
    if (n >= 8) {
        *a = load8(p);
        *b = load8(p + n - 8);
    } else if (n >= 4) {
        *a = load4(p);
        *b = load4(p + n - 4);
    } else {
        *a = (uint64_t)(unsigned char)p[0] | (uint64_t)(unsigned char)p[n / 2] << 8;
        *b = (unsigned char)p[n - 1];
    }
}

/*
 * ASCII capitals of eight bytes to small letters: bit 7 of each byte says "is a capital", shifted
 * to 0x20.
 */
static inline uint64_t fold8(uint64_t v)
{
    uint64_t low = v & REPEAT8(0x7f);
    uint64_t at_least_a = low + REPEAT8(0x80 - 'A');
    uint64_t beyond_z = low + REPEAT8(0x7f - 'Z');

    return v | ((at_least_a & ~beyond_z & ~v & REPEAT8(0x80)) >> 2);
}

static bool bytes_ieq(const char *a, const char *b, size_t n)
{
    uint64_t a1, a2, b1, b2;

    if (n == 0)
        return true;
    for (; n > 16; n -= 8, a += 8, b += 8)
        if (fold8(load8(a)) != fold8(load8(b)))
            return false;
    load_1_to_16(a, n, &a1, &a2);
    load_1_to_16(b, n, &b1, &b2);
    return ((fold8(a1) ^ fold8(b1)) | (fold8(a2) ^ fold8(b2))) == 0;
}

bool mu_str_ieq(struct mu_str a, struct mu_str b)
{
    return a.n == b.n && bytes_ieq(a.p, b.p, a.n);
}

int mu_str_cmp(struct mu_str a, struct mu_str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int d = n ? memcmp(a.p, b.p, n) : 0;

    return d ? d : (a.n > b.n) - (a.n < b.n);
}

int mu_str_icmp(struct mu_str a, struct mu_str b)
{
    size_t n = a.n < b.n ? a.n : b.n;

    for (size_t i = 0; i < n; i++) {
        int d = (unsigned char)mu_lower(a.p[i]) - (unsigned char)mu_lower(b.p[i]);

        if (d)
            return d;
    }
    return (a.n > b.n) - (a.n < b.n);
}

bool mu_str_starts(struct mu_str s, struct mu_str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

bool mu_str_istarts(struct mu_str s, struct mu_str prefix)
{
    return s.n >= prefix.n && bytes_ieq(s.p, prefix.p, prefix.n);
}

bool mu_str_ends(struct mu_str s, struct mu_str suffix)
{
    return s.n >= suffix.n &&
           (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

ssize_t mu_str_chr(struct mu_str s, char c)
{
    const char *p = s.n ? memchr(s.p, c, s.n) : NULL;

    return p ? p - s.p : -1;
}

ssize_t mu_str_rchr(struct mu_str s, char c)
{
    const char *p = s.n ? memrchr(s.p, c, s.n) : NULL;

    return p ? p - s.p : -1;
}

ssize_t mu_str_find(struct mu_str s, struct mu_str needle)
{
    const char *p;

    if (needle.n == 0)
        return 0;
    p = s.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
    return p ? p - s.p : -1;
}

struct mu_str mu_str_sub(struct mu_str s, size_t from, size_t to)
{
    if (to > s.n)
        to = s.n;
    if (from > to)
        from = to;
    return mu_str_n(s.p ? s.p + from : NULL, to - from);
}

struct mu_str mu_str_trim(struct mu_str s)
{
    while (s.n && mu_is_space(s.p[s.n - 1]))
        s.n--;
    while (s.n && mu_is_space(s.p[0])) {
        s.p++;
        s.n--;
    }
    return s;
}

bool mu_str_split(struct mu_str *rest, char sep, struct mu_str *piece)
{
    ssize_t at;

    if (!rest->p)
        return false;
    at = mu_str_chr(*rest, sep);
    if (at < 0) {
        *piece = *rest;
        *rest = MU_STR_NULL;
    } else {
        *piece = mu_str_n(rest->p, (size_t)at);
        *rest = mu_str_sub(*rest, (size_t)at + 1, rest->n);
    }
    return true;
}

bool mu_str_u64(struct mu_str s, uint64_t *out)
{
    uint64_t v = 0;

    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';

        if (digit > 9 || __builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)digit, &v))
            return false;
    }
    *out = v;
    return true;
}

bool mu_str_i64(struct mu_str s, int64_t *out)
{
    bool is_negative = s.n && s.p[0] == '-';
    uint64_t v;

    if (s.n && (s.p[0] == '-' || s.p[0] == '+'))
        s = mu_str_sub(s, 1, s.n);
    if (!mu_str_u64(s, &v) || v > (uint64_t)INT64_MAX + is_negative)
        return false;
    *out = is_negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

int mu_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = mu_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint64_t seeds[3] = { 0x243f6a8885a308d3u, 0x13198a2e03707344u, 0xa4093822299f31d0u };

/* Before main, hence before any thread and any fork: all processes of a server hash alike. */
__attribute__((constructor)) static void seed_hash(void)
{
    uint64_t random[3];

    if (getrandom(random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
        for (size_t i = 0; i < 3; i++)
            random[i] = ((uint64_t)time(NULL) + i) * 0x9e3779b97f4a7c15u ^ (uintptr_t)&random;
    for (size_t i = 0; i < 3; i++)
        seeds[i] ^= random[i];
}

/* Multiply to 128 bits and fold: every input bit reaches every output bit. */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 m = (unsigned __int128)a * b;

    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* Both factors hold secret bits, so nobody can choose a piece that makes the product zero. */
static inline uint64_t hash_bytes(const char *p, size_t n, bool is_folded)
{
    uint64_t h = seeds[0] ^ n;
    uint64_t a = 0;
    uint64_t b = 0;

    for (; n > 16; n -= 16, p += 16) {
        a = load8(p);
        b = load8(p + 8);
        h = is_folded ? mix(fold8(a) ^ seeds[1], fold8(b) ^ h) : mix(a ^ seeds[1], b ^ h);
    }
    if (n)
        load_1_to_16(p, n, &a, &b);
    if (n && is_folded) {
        a = fold8(a);
        b = fold8(b);
    }
    return mix(mix(a ^ seeds[1], b ^ h), seeds[2]);
}

uint64_t mu_str_hash(struct mu_str s)
{
    return hash_bytes(s.p, s.n, false);
}

uint64_t mu_str_ihash(struct mu_str s)
{
    return hash_bytes(s.p, s.n, true);
}

size_t mu_u64_dec(uint64_t v, char buf[20])
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    char tmp[20];
    char *p = tmp + sizeof(tmp);
    size_t n;

    while (v >= 100) {
        p -= 2;
        memcpy(p, pairs + v % 100 * 2, 2);
        v /= 100;
    }
    if (v >= 10) {
        p -= 2;
        memcpy(p, pairs + v * 2, 2);
    } else {
        *--p = (char)('0' + v);
    }
    n = (size_t)(tmp + sizeof(tmp) - p);
    memcpy(buf, p, n);
    return n;
}
