/* What a web child in the wrong hands may send to the helper: nothing of it starts a program, stops
 * the helper, or keeps a descriptor open there; and the next request is served. */
#include "spawn_test.h"

#include <sys/mman.h>

enum { FDS_MANY = 32 };

/* A packet as the tests want it, good at first. */
struct packet {
    struct mu_spawn_head head;
    char text[512];
    size_t n; /* of the packet, head included */
    int fds[FDS_MANY];
    size_t fds_n;
    int reply; /* our end */
};

static void put(struct packet *p, const char *s)
{
    size_t n = strlen(s) + 1;

    memcpy(p->text + p->head.text_n, s, n);
    p->head.text_n += (uint32_t)n;
    p->n += n;
}

static void good(struct packet *p)
{
    int pair[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    *p = (struct packet){ .head = { .magic = MU_SPAWN_MAGIC, .argc = 1, .envc = 1, .suexec = -1 },
                          .n = sizeof(p->head),
                          .fds = { pair[1], null, null, null },
                          .fds_n = 4,
                          .reply = pair[0] };
    put(p, "/bin/true");
    put(p, "/");
    put(p, "true");
    put(p, "A=B");
}

static void dispatch(struct packet *p)
{
    union {
        char bytes[CMSG_SPACE(FDS_MANY * sizeof(int))];
        struct cmsghdr head;
    } control = { .bytes = { 0 } };
    size_t text_n = p->n - sizeof(p->head);
    struct iovec iov[2] = { { &p->head, p->n < sizeof(p->head) ? p->n : sizeof(p->head) },
                            { p->text, p->n < sizeof(p->head) ? 0 : text_n } };
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

    if (p->fds_n) {
        control.head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                                         .cmsg_type = SCM_RIGHTS,
                                         .cmsg_len = CMSG_LEN(p->fds_n * sizeof(int)) };
        memcpy(CMSG_DATA(&control.head), p->fds, p->fds_n * sizeof(int));
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(p->fds_n * sizeof(int));
    }
    assert_true(sendmsg(helper.web_fd, &m, MSG_NOSIGNAL) >= 0);
    close(p->fds[0]);
    close(p->fds[1]);
}

/* The word of the answer; 0: the socket was closed without one. */
static uint32_t answer(struct packet *p)
{
    struct mu_spawn_reply r = { 0 };
    ssize_t n = recv(p->reply, &r, sizeof(r), MSG_WAITALL);

    assert_true(n == 0 || n == (ssize_t)sizeof(r));
    close(p->reply);
    return n ? r.word : 0;
}

static void expect_served(void)
{
    struct packet p;

    good(&p);
    dispatch(&p);
    assert_int_equal(answer(&p), MU_SPAWN_STARTED);
}

/* How many descriptors the helper has open. */
static size_t count_fds(void)
{
    char command[64], buf[16];
    FILE *f;

    snprintf(command, sizeof(command), "ls /proc/%d/fd | wc -l", (int)helper.pid);
    f = popen(command, "r");
    assert_non_null(f);
    assert_non_null(fgets(buf, sizeof(buf), f));
    pclose(f);
    return (size_t)atoi(buf);
}

static void expect_fds(size_t n)
{
    for (int i = 0; count_fds() != n; i++) {
        assert_true(i < 2000);
        (void)poll(NULL, 0, 5);
    }
}

static int setup(void **state)
{
    (void)state;
    helper_open();
    helper_start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    helper_finish();
    return 0;
}

static void spoil_magic(struct packet *p)
{
    p->head.magic++;
}
static void spoil_no_words(struct packet *p)
{
    p->head.argc = 0;
}
static void spoil_too_many_words(struct packet *p)
{
    p->head.argc = UINT32_MAX;
}
static void spoil_sum_of_words(struct packet *p)
{
    p->head.argc = p->head.envc = 0x80000000u;
}
static void spoil_missing_word(struct packet *p)
{
    p->head.argc = 2;
    p->head.envc = 1;
}
static void spoil_left_over(struct packet *p)
{
    p->head.envc = 0;
}
static void spoil_no_end(struct packet *p)
{
    p->text[p->head.text_n - 1] = 'x';
}
static void spoil_long_text(struct packet *p)
{
    p->head.text_n += 100;
}
static void spoil_huge_text(struct packet *p)
{
    p->head.text_n = UINT32_MAX;
}
static void spoil_short(struct packet *p)
{
    p->n = sizeof(p->head) - 1;
}
static void spoil_empty(struct packet *p)
{
    p->n = 0;
}
static void spoil_relative(struct packet *p)
{
    p->text[0] = 'b';
}
static void spoil_variable(struct packet *p)
{
    p->text[p->head.text_n - 3] = 'x';
}
static void spoil_few_fds(struct packet *p)
{
    p->fds_n = 3;
}
static void spoil_many_fds(struct packet *p)
{
    for (size_t i = 4; i < FDS_MANY; i++)
        p->fds[i] = STDIN_FILENO;
    p->fds_n = FDS_MANY;
}
static void spoil_memfd_and_text(struct packet *p)
{
    p->fds[4] = STDIN_FILENO;
    p->fds_n = 5;
}

/* A "memfd" that hangs whoever reads it, or changes under the reader. */
static void spoil_pipe_for_memfd(struct packet *p)
{
    int pair[2];

    assert_int_equal(pipe(pair), 0);
    p->fds[4] = pair[0];
    p->fds_n = 5;
    p->n = sizeof(p->head);
}

static void spoil_unsealed(struct packet *p)
{
    int fd = memfd_create("test", MFD_ALLOW_SEALING);

    assert_int_equal(write(fd, p->text, p->head.text_n), (ssize_t)p->head.text_n);
    p->fds[4] = fd;
    p->fds_n = 5;
    p->n = sizeof(p->head);
}

static void spoil_short_memfd(struct packet *p)
{
    p->fds[4] = mu_spawn_text_to_fd(mu_str_n(p->text, p->head.text_n - 1));
    p->fds_n = 5;
    p->n = sizeof(p->head);
}

static void nothing_is_started(void **state)
{
    static void (*const spoil[])(struct packet * p) = {
        spoil_magic,          spoil_no_words,  spoil_too_many_words, spoil_sum_of_words,
        spoil_missing_word,   spoil_left_over, spoil_no_end,         spoil_long_text,
        spoil_huge_text,      spoil_short,     spoil_empty,          spoil_relative,
        spoil_variable,       spoil_few_fds,   spoil_many_fds,       spoil_memfd_and_text,
        spoil_pipe_for_memfd, spoil_unsealed,  spoil_short_memfd,
    };
    size_t before;

    (void)state;
    expect_served();
    expect_fds(before = 3 + 2); /* its socket and the poller's */
    for (size_t i = 0; i < MU_ARRAY_LEN(spoil); i++) {
        struct packet p;
        uint32_t word;

        good(&p);
        spoil[i](&p);
        dispatch(&p);
        word = answer(&p);
        if (word != 0 && word != MU_SPAWN_FAILED)
            fail_msg("packet %zu was answered by word %u", i, word);
        expect_served();
    }
    expect_fds(before);
}

/* A memfd that is as it should be. */
static void memfd_is_taken(void **state)
{
    struct packet p;

    (void)state;
    good(&p);
    p.fds[4] = mu_spawn_text_to_fd(mu_str_n(p.text, p.head.text_n));
    p.fds_n = 5;
    p.n = sizeof(p.head);
    dispatch(&p);
    close(p.fds[4]);
    assert_int_equal(answer(&p), MU_SPAWN_STARTED);
}

/* Descriptors that are not what they should be, in the reply's place. */
static void wrong_reply_socket(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct packet p;
        int pair[2];

        good(&p);
        close(p.fds[0]);
        assert_int_equal(pipe(pair), 0);
        p.fds[0] = kind == 0   ? open("/etc/passwd", O_RDONLY)
                   : kind == 1 ? pair[0]
                               : dup(helper.web_fd);
        dispatch(&p);
        close(pair[1]);
        if (kind != 1)
            close(pair[0]);
        close(p.reply);
        expect_served();
    }
}

/* The wish for a suexec index, at a helper that has no such list. */
static void no_suexec_here(void **state)
{
    struct packet p;

    (void)state;
    good(&p);
    p.head.suexec = 12345;
    dispatch(&p);
    assert_int_equal(answer(&p), MU_SPAWN_STARTED); /* as its own user, which it always is */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_started),
        cmocka_unit_test(memfd_is_taken),
        cmocka_unit_test(wrong_reply_socket),
        cmocka_unit_test(no_suexec_here),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
