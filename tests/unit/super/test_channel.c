/* A child's view of its stop request: nothing, graceful, at once, and a supervisor that is gone. */
#include "super_test.h"

#include <poll.h>
#include <super/channel.h>
#include <super/child.h>
#include <sys/socket.h>
#include <unistd.h>

struct both {
    int supervisor;
    struct mu_child child;
    struct mu_scoreboard *board;
};

static int set_up(void **state)
{
    static struct both b;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    b = (struct both){ .supervisor = pair[0], .board = mu_scoreboard_create(1, 1) };
    b.child.stop_fd = pair[1];
    b.child.scoreboard = b.board;
    *state = &b;
    return 0;
}

static int tear_down(void **state)
{
    struct both *b = *state;

    close(b->supervisor);
    close(b->child.stop_fd);
    mu_scoreboard_destroy(b->board);
    return 0;
}

static bool is_readable(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, 0) == 1;
}

static void ask(struct both *b)
{
    char c = MU_CHANNEL_STOP;

    assert_int_equal(write(b->supervisor, &c, 1), 1);
}

/* Each look gives the same answer: nothing is consumed. */
static void asked(void **state)
{
    struct both *b = *state;

    assert_int_equal(mu_child_stop_requested(&b->child), MU_STOP_NONE);
    assert_false(is_readable(b->child.stop_fd));
    ask(b);
    for (int i = 0; i < 3; i++) {
        assert_true(is_readable(b->child.stop_fd));
        assert_int_equal(mu_child_stop_requested(&b->child), MU_STOP_GRACEFUL);
    }
    ask(b);
    for (int i = 0; i < 3; i++) {
        assert_true(is_readable(b->child.stop_fd));
        assert_int_equal(mu_child_stop_requested(&b->child), MU_STOP_NOW);
    }
}

static void orphaned(void **state)
{
    struct both *b = *state;

    close(b->supervisor);
    assert_true(is_readable(b->child.stop_fd));
    assert_int_equal(mu_child_stop_requested(&b->child), MU_STOP_GRACEFUL);
    b->supervisor = -1;
}

static void orphaned_after_a_request(void **state)
{
    struct both *b = *state;

    ask(b);
    ask(b);
    close(b->supervisor);
    b->supervisor = -1;
    assert_int_equal(mu_child_stop_requested(&b->child), MU_STOP_NOW);
}

static void speaks(void **state)
{
    struct both *b = *state;
    char said[4];

    mu_child_ready(&b->child);
    mu_child_leaving(&b->child);
    assert_int_equal(read(b->supervisor, said, sizeof(said)), 2);
    assert_int_equal(said[0], MU_CHANNEL_READY);
    assert_int_equal(said[1], MU_CHANNEL_LEAVING);
    assert_true(mu_scoreboard_child(b->board, 0)->is_stopping);
    assert_false(mu_scoreboard_child(b->board, 0)->is_accepting);
}

/* Without Mutex there is no lock, and taking it is a success. */
static void no_lock(void **state)
{
    struct both *b = *state;

    assert_int_equal(mu_accept_lock_take(&b->child), MU_OK);
    mu_accept_lock_release(&b->child);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(orphaned, set_up, tear_down),
        cmocka_unit_test_setup_teardown(orphaned_after_a_request, set_up, tear_down),
        cmocka_unit_test_setup_teardown(speaks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_lock, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
