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
#include <sys/socket.h>
#include <unistd.h>

static int test_bells[MU_POOL_BELLS], test_ringers[MU_POOL_BELLS];

static inline struct mu_board *test_board(void)
{
    struct mu_board *b;
    int fd, pair[2];

    for (size_t i = 0; i < MU_POOL_BELLS; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        test_bells[i] = pair[0];
        test_ringers[i] = pair[1];
    }
    mu_board_ringers(test_ringers);
    b = mu_board_create(&fd);
    assert_non_null(b);
    close(fd);
    return b;
}

static inline void test_board_end(struct mu_board *b)
{
    mu_board_unmap(b);
    mu_board_ringers(NULL);
    for (size_t i = 0; i < MU_POOL_BELLS; i++) {
        close(test_bells[i]);
        close(test_ringers[i]);
    }
}

/* How often the bell has rung since the last look. */
static inline uint64_t test_rung(unsigned bell)
{
    char rings[1024];
    ssize_t n = recv(test_bells[bell], rings, sizeof(rings), MSG_DONTWAIT);

    return n > 0 ? (uint64_t)n : 0;
}

#endif
