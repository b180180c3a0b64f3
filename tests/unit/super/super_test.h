/* cmocka with the headers it wants first. */
#ifndef SUPER_TEST_H
#define SUPER_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants those above first. */
#include <cmocka.h>

#endif
