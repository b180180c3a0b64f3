/* Operations on borrowed strings. None allocates but those that take an arena (see arena.h). */
#ifndef MUSTER_STR_H
#define MUSTER_STR_H

#include <muster/types.h>

/** Wrap a C string. NULL gives the empty string with p == NULL. */
static inline struct mu_str mu_str_c(const char *s)
{
    return (struct mu_str){ s, s ? strlen(s) : 0 };
}

static inline struct mu_str mu_str_n(const char *p, size_t n)
{
    return (struct mu_str){ p, n };
}

static inline bool mu_str_eq(struct mu_str a, struct mu_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/** ASCII case folding; locale never matters. */
static inline char mu_lower(char c)
{
    return (c >= 'A' && c <= 'Z') ? (char)(c + ('a' - 'A')) : c;
}
static inline bool mu_is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/** ASCII case-insensitive equality. */
bool mu_str_ieq(struct mu_str a, struct mu_str b);
/** Like strcmp on bytes: <0, 0, >0. */
int mu_str_cmp(struct mu_str a, struct mu_str b);
/** Like strcasecmp on bytes, ASCII only. */
int mu_str_icmp(struct mu_str a, struct mu_str b);
bool mu_str_starts(struct mu_str s, struct mu_str prefix);
bool mu_str_istarts(struct mu_str s, struct mu_str prefix);
bool mu_str_ends(struct mu_str s, struct mu_str suffix);
/** Index of the first `c`, or -1. */
ssize_t mu_str_chr(struct mu_str s, char c);
/** Index of the last `c`, or -1. */
ssize_t mu_str_rchr(struct mu_str s, char c);
/** Index of the first occurrence of `needle`, or -1. */
ssize_t mu_str_find(struct mu_str s, struct mu_str needle);
/** Bytes [from, to) clamped to the string. */
struct mu_str mu_str_sub(struct mu_str s, size_t from, size_t to);
/** Without leading and trailing white space (SP, HT, CR, LF, VT, FF). */
struct mu_str mu_str_trim(struct mu_str s);
/**
 * Take the next piece up to `sep` off the front of *rest into *piece.
 * Returns: false when *rest is exhausted (rest->p == NULL).
 */
bool mu_str_split(struct mu_str *rest, char sep, struct mu_str *piece);
/** Decimal, whole string, no sign, no space. Returns false on junk or overflow. */
bool mu_str_u64(struct mu_str s, uint64_t *out);
/** Decimal with an optional sign. */
bool mu_str_i64(struct mu_str s, int64_t *out);
/** Hexadecimal digit value or -1. */
int mu_hex(char c);
/**
 * 64-bit hash, eight bytes a step, seeded once per process and its children (resists hash
 * flooding in bounded tables).
 */
uint64_t mu_str_hash(struct mu_str s);
/** Same, folding ASCII case. */
uint64_t mu_str_ihash(struct mu_str s);
/** Shell-style match as httpd's ap_strcmp_match: '*' any run, '?' one byte; `icase` folds ASCII. */
bool mu_str_wild(struct mu_str s, struct mu_str pattern, bool icase);
/** fnmatch(3) with FNM_PATHNAME semantics when `pathname`: '*' and '?' do not match '/'. */
bool mu_str_fnmatch(struct mu_str s, struct mu_str pattern, bool pathname);
/**
 * Write `v` in decimal into buf (no NUL).
 * Returns: number of bytes, at most 20.
 */
size_t mu_u64_dec(uint64_t v, char buf[20]);

#endif
