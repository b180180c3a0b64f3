/* What the tests of this room share: cmocka and a failure that names the table row. */
#ifndef MU_TESTS_HTTP_TEST_H
#define MU_TESTS_HTTP_TEST_H

/* cmocka wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <muster/arena.h>
#include <muster/str.h>
#include <stdio.h>
#include <string.h>

/** Fail with the line of the table row when the claim does not hold. */
#define EXPECT_ROW(row_line, claim)                                                                \
    do {                                                                                           \
        if (!(claim)) {                                                                            \
            fail_msg("table row at line %d: %s", (row_line), #claim);                              \
        }                                                                                          \
    } while (0)

/** Fail with the line of the table row and both texts when they differ. */
#define EXPECT_STR(row_line, got, wanted)                                                          \
    do {                                                                                           \
        struct mu_str got_ = (got), wanted_ = (wanted);                                            \
        if (!mu_str_eq(got_, wanted_)) {                                                           \
            fail_msg("table row at line %d: got '%.*s', wanted '%.*s'", (row_line), MU_FMT(got_),  \
                     MU_FMT(wanted_));                                                             \
        }                                                                                          \
    } while (0)

/** xorshift64*: reproducible bytes for the tests that try many inputs. */
static inline uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * UINT64_C(0x2545f4914f6cdd1d);
}

#endif
