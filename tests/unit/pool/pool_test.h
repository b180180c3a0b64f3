/* cmocka with the headers it wants first, and a board with bells. */
#ifndef POOL_TEST_H
#define POOL_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants those above first. */
#include <cmocka.h>

#include <pool/board.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int test_bells[MU_POOL_BELLS];

static inline struct mu_board *test_board(void)
{
    struct mu_board *b;
    int fd;

    for (size_t i = 0; i < MU_POOL_BELLS; i++) {
        test_bells[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        assert_true(test_bells[i] >= 0);
    }
    mu_board_bells(test_bells);
    b = mu_board_create(&fd);
    assert_non_null(b);
    close(fd);
    return b;
}

static inline void test_board_end(struct mu_board *b)
{
    mu_board_unmap(b);
    mu_board_bells(NULL);
    for (size_t i = 0; i < MU_POOL_BELLS; i++)
        close(test_bells[i]);
}

/* How often the bell has rung since the last look. */
static inline uint64_t test_rung(unsigned bell)
{
    uint64_t n;

    return read(test_bells[bell], &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

#endif
