/* Pools over a re-exec: what is written is read back as it was, and what cannot be read leaves every
 * descriptor as it was. */
#include "pool_fake.h"

#include <fcntl.h>
#include <sys/eventfd.h>

static int all[16 + 2 * MU_POOL_BELLS], n_all;

static int keep(int fd)
{
    assert_true(fd >= 0);
    all[n_all++] = fd;
    return fd;
}

static void add_proc(struct mu_pool *p, enum mu_proc_state state)
{
    struct mu_proc *x = fake_proc(p, state, MU_SLOT_IDLE);

    x->pid = 4000 + (pid_t)x->slot;
    x->listen_fd = keep(eventfd(0, EFD_CLOEXEC));
    x->log_fd = keep(eventfd(0, EFD_CLOEXEC));
    x->started_ms = 1;
    x->ready_ms = 2;
    x->kill_ms = 3;
    x->has_kill = state == MU_PROC_LEAVING;
}

static void make_keeper(void)
{
    struct mu_pool *blog, *wiki;

    n_all = 0;
    mu_keeper.dir = strdup("/run/a folder");
    mu_keeper.dir_fd = keep(open("/", O_PATH | O_CLOEXEC));
    mu_keeper.poke_fd = keep(eventfd(0, EFD_CLOEXEC));
    mu_keeper.poker_fd = keep(eventfd(0, EFD_CLOEXEC));
    for (size_t i = 0; i < MU_POOL_BELLS; i++) {
        mu_keeper.bells[i] = keep(eventfd(0, EFD_CLOEXEC));
        mu_keeper.ringers[i] = keep(eventfd(0, EFD_CLOEXEC));
    }
    blog = fake_pool("blog");
    wiki = fake_pool("wiki");
    (void)keep(blog->board_fd);
    (void)keep(wiki->board_fd);
    blog->definition = strdup("argv 3 a\nb\npool wiki 3 1\nproc 1 2 3\n");
    wiki->definition = strdup("");
    blog->epoch = 5;
    blog->ready_epoch = 4;
    blog->is_stopped = true;
    wiki->failures = 3;
    wiki->wanted = 2;
    wiki->hold_until_ms = 123456789012;
    add_proc(blog, MU_PROC_SERVING);
    add_proc(blog, MU_PROC_LEAVING);
    add_proc(wiki, MU_PROC_STARTING);
}

static struct mu_str written(void)
{
    static char text[65536];
    struct mu_buf b = { 0 };

    assert_int_equal(mu_pools_save(&b), MU_OK);
    assert_true(b.n < sizeof(text));
    memcpy(text, b.p, b.n);
    text[b.n] = '\0';
    mu_buf_fini(&b);
    return mu_str_c(text);
}

static void forget(void)
{
    mu_pools_forget();
    free(mu_keeper.dir);
    mu_keeper.dir = NULL;
}

static void all_are_open(void)
{
    for (int i = 0; i < n_all; i++)
        assert_true(fcntl(all[i], F_GETFD) >= 0);
}

static void end_all(void)
{
    for (int i = 0; i < n_all; i++)
        close(all[i]);
    mu_keeper.dir_fd = mu_keeper.poke_fd = mu_keeper.poker_fd = -1;
    mu_board_ringers(NULL);
}

static void there_and_back(void **state)
{
    struct mu_str first;
    struct mu_pool *p;
    char *copy;

    (void)state;
    make_keeper();
    first = written();
    copy = strdup(first.p);
    forget();
    assert_null(mu_pool_find(MU_S("blog")));
    assert_int_equal(mu_pools_restore(mu_str_c(copy)), MU_OK);
    assert_string_equal(written().p, copy);
    p = mu_pool_find(MU_S("BLOG"));
    assert_non_null(p);
    assert_int_equal(p->procs_n, 2);
    assert_int_equal(mu_board_state(p->board, 0), MU_SLOT_IDLE); /* the same memory */
    assert_true(p->is_stopped && !p->is_draining);
    forget();
    all_are_open();
    end_all();
    free(copy);
}

/* Any beginning of it, and any byte of it changed. */
static void rubbish(void **state)
{
    static const char changes[] = { '\0', '9', '-', ' ', '\n', 'x' };
    size_t n;
    char *copy;

    (void)state;
    make_keeper();
    copy = strdup(written().p);
    n = strlen(copy);
    forget();
    for (size_t i = 1; i < n; i++) {
        if (mu_pools_restore(mu_str_n(copy, i)) == MU_OK)
            forget();
        assert_true(mu_list_empty(&mu_keeper.pools));
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < sizeof(changes); k++) {
            char was = copy[i];

            copy[i] = changes[k];
            if (mu_pools_restore(mu_str_n(copy, n)) == MU_OK)
                forget();
            copy[i] = was;
        }
    }
    all_are_open();
    assert_int_equal(mu_pools_restore(mu_str_n(copy, n)), MU_OK);
    forget();
    end_all();
    free(copy);
}

static int fds_seen, pids_seen;

static void see(void *arg, pid_t pid, int fd)
{
    (void)arg;
    fds_seen += fd >= 0;
    pids_seen += pid > 0;
}

/* What an image without pools is told to end and to close is all there is. */
static void everything_is_named(void **state)
{
    (void)state;
    make_keeper();
    fds_seen = pids_seen = 0;
    mu_pools_holds(see, NULL);
    assert_int_equal(fds_seen, n_all);
    assert_int_equal(pids_seen, 3);
    forget();
    end_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(rubbish),
        cmocka_unit_test(everything_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
