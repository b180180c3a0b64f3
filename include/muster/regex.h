/* Regular expressions (PCRE2) with match limits and a JIT stack a thread. */
#ifndef MUSTER_REGEX_H
#define MUSTER_REGEX_H

#include <muster/arena.h>
#include <muster/types.h>

struct mu_regex;
#define MU_REGEX_GROUPS 10

/** Captures as offsets into the subject; unset groups have so == -1. */
struct mu_match {
    struct {
        ssize_t so, eo;
    } g[MU_REGEX_GROUPS];
    int n; /**< highest group that took part, plus one */
};

enum {
    MU_REGEX_ICASE = 1,
    MU_REGEX_DOLLAR_ENDONLY = 2,
    MU_REGEX_DOTALL = 4,
    MU_REGEX_EXTENDED = 8,
    MU_REGEX_NO_DEFAULT = 16, /**< do not add the defaults of mu_regex_set_defaults */
};

/**
 * Flags every compilation adds unless it says MU_REGEX_NO_DEFAULT (RegexDefaultOptions). From the
 * start these are DOTALL and DOLLAR_ENDONLY, as in httpd since 2.4.40. Names of groups may be
 * used twice, as in httpd.
 * Context: while the configuration is read.
 */
void mu_regex_set_defaults(unsigned flags);
unsigned mu_regex_defaults(void);

/**
 * Compile; lives as long as the arena.
 * Returns: NULL and a message in *err (in the arena) when the pattern is wrong.
 */
struct mu_regex *mu_regex_compile(struct mu_arena *a, struct mu_str pattern, unsigned flags,
                                  struct mu_str *err);
/**
 * Match anywhere in `subject`.
 * Returns: MU_OK; MU_NOENT when it does not match; MU_LIMIT when a match limit was hit.
 * Context: any thread.
 */
enum mu_rc mu_regex_match(const struct mu_regex *re, struct mu_str subject, struct mu_match *m);
/**
 * Number of the named group `i` gives, for MATCH_name variables: iterate names with 0.. until
 * false.
 */
bool mu_regex_name(const struct mu_regex *re, size_t i, struct mu_str *name, int *group);
/**
 * Replace $0..$9 in `tmpl` by groups of `subject`; a backslash makes the character behind it
 * literal and goes away, and "&" is an ordinary character, as in httpd 2.4's ap_pregsub (it was a
 * group in httpd 2.2).
 * Returns: {NULL,0} when out of memory.
 */
struct mu_str mu_regex_subst(struct mu_arena *a, struct mu_str tmpl, struct mu_str subject,
                             const struct mu_match *m);

#endif
