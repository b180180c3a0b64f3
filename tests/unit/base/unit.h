/* What the unit tests share: cmocka with its headers, and checks that name the row of a table. */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants those above first. */
#include <cmocka.h>

#include <muster/arena.h>
#include <muster/str.h>

/** Fail, naming the table row at `line`, unless the strings are equal. */
static inline void check_str(int line, struct mu_str got, struct mu_str want)
{
    if (mu_str_eq(got, want))
        return;
    print_error("row at line %d: got \"%.*s\", want \"%.*s\"\n", line, MU_FMT(got), MU_FMT(want));
    fail();
}

/** Fail, naming the table row at `line`, unless the numbers are equal. */
static inline void check_int(int line, long long got, long long want)
{
    if (got == want)
        return;
    print_error("row at line %d: got %lld, want %lld\n", line, got, want);
    fail();
}

#endif
