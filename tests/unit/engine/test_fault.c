/*
 * Faults: short transfers, EINTR and spurious EAGAIN everywhere, memory and descriptors that run
 * out. The linker wraps the system calls (see meson.build); a fault is injected by a counter or a
 * coin with a fixed seed.
 */
#include "engine_test.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/uio.h>

static bool is_rough; /* short transfers, interruptions */
static int maps_left = -1, ctls_left = -1, heap_left = -1, sockets_left = -1;
static unsigned seed = 1;
static unsigned injected;

static unsigned dice(unsigned sides)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 16) % sides;
}

static bool runs_out(int *left)
{
    if (*left < 0)
        return false;
    if (*left > 0) {
        --*left;
        return false;
    }
    injected++;
    return true;
}

/** An interruption instead of the call, now and then. */
static bool interrupts(void)
{
    if (!is_rough || dice(4) > 0)
        return false;
    injected++;
    errno = EINTR;
    return true;
}

/** A shorter transfer than asked for. */
static size_t cut(size_t n)
{
    if (!is_rough || n < 2)
        return n;
    injected++;
    return 1 + dice((unsigned)(n < 5000 ? n : 5000));
}

ssize_t __real_mu_sys_recv(int fd, void *buf, size_t n, int flags);
ssize_t __wrap_mu_sys_recv(int fd, void *buf, size_t n, int flags);
ssize_t __real_mu_sys_send(int fd, const void *buf, size_t n, int flags);
ssize_t __wrap_mu_sys_send(int fd, const void *buf, size_t n, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __real_read(int fd, void *buf, size_t n);
ssize_t __wrap_read(int fd, void *buf, size_t n);
ssize_t __real_write(int fd, const void *buf, size_t n);
ssize_t __wrap_write(int fd, const void *buf, size_t n);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int n);
int __real_epoll_wait(int epfd, struct epoll_event *events, int n, int timeout_ms);
int __wrap_epoll_wait(int epfd, struct epoll_event *events, int n, int timeout_ms);
int __real_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __real_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
void *__real_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t off);
void *__wrap_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t off);
void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);

/*
 * Stream sockets are not cut here: the kernel promises that a short transfer means "exhausted", and
 * a wrapper cannot keep that promise. A tiny send buffer makes the kernel itself cut them. Pipes
 * are cut at will.
 */
ssize_t __wrap_mu_sys_recv(int fd, void *buf, size_t n, int flags)
{
    return interrupts() ? -1 : __real_mu_sys_recv(fd, buf, n, flags);
}

ssize_t __wrap_mu_sys_send(int fd, const void *buf, size_t n, int flags)
{
    return interrupts() ? -1 : __real_mu_sys_send(fd, buf, n, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    return interrupts() ? -1 : __real_sendmsg(fd, msg, flags);
}

ssize_t __wrap_read(int fd, void *buf, size_t n)
{
    return interrupts() ? -1 : __real_read(fd, buf, cut(n));
}

ssize_t __wrap_write(int fd, const void *buf, size_t n)
{
    return interrupts() ? -1 : __real_write(fd, buf, cut(n));
}

ssize_t __wrap_writev(int fd, const struct iovec *iov, int n)
{
    assert_true(n > 1);
    return interrupts() ? -1 : __real_write(fd, iov[0].iov_base, cut(iov[0].iov_len));
}

int __wrap_epoll_wait(int epfd, struct epoll_event *events, int n, int timeout_ms)
{
    return interrupts() ? -1 : __real_epoll_wait(epfd, events, n, timeout_ms);
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    return interrupts() ? -1 : __real_poll(fds, n, timeout_ms);
}

int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    if (op == EPOLL_CTL_ADD && runs_out(&ctls_left)) {
        errno = ENOSPC;
        return -1;
    }
    return __real_epoll_ctl(epfd, op, fd, event);
}

void *__wrap_mmap64(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
    if (runs_out(&maps_left)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return __real_mmap64(at, n, prot, flags, fd, off);
}

void *__wrap_malloc(size_t n)
{
    return runs_out(&heap_left) ? NULL : __real_malloc(n);
}

void *__wrap_realloc(void *p, size_t n)
{
    return runs_out(&heap_left) ? NULL : __real_realloc(p, n);
}

int __wrap_socket(int domain, int type, int protocol)
{
    if (runs_out(&sockets_left)) {
        errno = EMFILE;
        return -1;
    }
    return __real_socket(domain, type, protocol);
}

static struct mu_io left, right;
static struct trace seen;

enum { BYTES = 400 * 1000 };

static void sends_all(void *arg)
{
    static uint8_t block[BYTES];
    struct iovec iov[5];

    (void)arg;
    for (size_t i = 0; i < BYTES; i++)
        block[i] = (uint8_t)(i * 13);
    for (size_t i = 0; i < 5; i++)
        iov[i] = (struct iovec){ block + i * (BYTES / 5), BYTES / 5 };
    assert_int_equal(mu_writev_all(&left, iov, 5, MU_NEVER), MU_OK);
    assert_int_equal(mu_write_all(&left, block, BYTES, MU_NEVER), MU_OK);
    mu_io_close(&left);
}

static void receives_all(void *arg)
{
    uint8_t buf[3000];
    size_t n, total = 0;
    enum mu_rc rc;

    (void)arg;
    while ((rc = mu_read(&right, buf, 1 + dice(sizeof(buf)), &n, MU_NEVER)) == MU_OK) {
        for (size_t i = 0; i < n; i++, total++)
            assert_int_equal(buf[i], (uint8_t)((total % BYTES) * 13));
    }
    assert_int_equal(rc, MU_EOF);
    assert_int_equal(total, 2 * BYTES);
    mu_io_close(&right);
}

static void rough_weather(struct mu_reactor *r)
{
    injected = 0;
    is_rough = true;
    run_fiber(r, sends_all, NULL);
    run_fiber(r, receives_all, NULL);
    turn_until_idle(r);
    is_rough = false;
    assert_true(injected > 50);
    mu_reactor_destroy(r);
}

static void test_rough_sockets(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    io_pair(&left, &right);
    assert_int_equal(setsockopt(left.fd, SOL_SOCKET, SO_SNDBUF, &(int){ 4096 }, sizeof(int)), 0);
    rough_weather(r);
}

static void test_rough_pipes(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    int fd[2];

    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    mu_io_init(&left, fd[1]);
    mu_io_init(&right, fd[0]);
    rough_weather(r);
}

static void nothing(void *arg)
{
    (void)arg;
    note(&seen, 'n');
}

static void test_no_memory_for_a_stack(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    seen.n = 0;
    maps_left = 0;
    assert_int_equal(mu_fiber_run(r, nothing, NULL), MU_NOMEM);
    maps_left = -1;
    assert_int_equal(mu_reactor_fibers(r), 0);
    run_fiber(r, nothing, NULL);
    maps_left = 0;
    run_fiber(r, nothing, NULL); /* the stack of the first one serves */
    maps_left = -1;
    assert_string_equal(seen.s, "nn");
    mu_reactor_destroy(r);
}

static void works(void *arg)
{
    (void)arg;
    note(&seen, 'w');
}

static void offloads_without_memory(void *arg)
{
    maps_left = 0;
    mu_offload(works, arg);
    maps_left = -1;
}

static void test_no_memory_for_a_big_stack(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    seen.n = 0;
    run_fiber(r, offloads_without_memory, NULL);
    assert_string_equal(seen.s, "w");
    mu_reactor_destroy(r);
}

static void reads_unwatchable(void *arg)
{
    char c;
    size_t n;

    (void)arg;
    ctls_left = 0;
    assert_int_equal(mu_read(&left, &c, 1, &n, MU_NEVER), MU_NOMEM);
    ctls_left = -1;
    note(&seen, 'm');
    assert_int_equal(mu_read(&left, &c, 1, &n, mu_deadline(1)), MU_TIMEOUT);
    note(&seen, 't');
}

static void test_kernel_watches_no_more(void **state)
{
    struct mu_reactor *r = reactor_of(MU_BACKEND_EPOLL);

    (void)state;
    seen.n = 0;
    io_pair(&left, &right);
    run_fiber(r, reads_unwatchable, NULL);
    turn_until_idle(r);
    assert_string_equal(seen.s, "mt");
    ctls_left = 0;
    mu_io_close(&left);
    mu_io_close(&right);
    io_pair(&left, &right);
    assert_int_equal(mu_io_watch(&left), MU_NOMEM);
    ctls_left = -1;
    mu_io_close(&left);
    mu_io_close(&right);
    mu_reactor_destroy(r);
}

static void waits_without_heap(void *arg)
{
    char c;
    size_t n;

    (void)arg;
    heap_left = 0;
    assert_int_equal(mu_read(&left, &c, 1, &n, MU_NEVER), MU_NOMEM);
    heap_left = -1;
    assert_int_equal(mu_read(&left, &c, 1, &n, mu_deadline(1)), MU_TIMEOUT);
}

static void test_no_heap_for_the_tables(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));
    size_t cap;

    io_pair(&left, &right);
    run_fiber(r, waits_without_heap, NULL);
    turn_until_idle(r);
    heap_left = 0;
    assert_null(mu_reactor_buf_borrow(r, &cap));
    heap_left = -1;
    mu_io_close(&left);
    mu_io_close(&right);
    mu_reactor_destroy(r);
}

static void test_reactor_without_memory(void **state)
{
    struct mu_reactor_opts o = { .backend = MU_BACKEND_EPOLL };

    (void)state;
    ctls_left = 0;
    assert_null(mu_reactor_create(&o));
    ctls_left = -1;
    heap_left = 0;
    assert_null(mu_reactor_create(&o));
    heap_left = -1;
    assert_null(mu_reactor_self());
}

static void connects_without_descriptors(void *arg)
{
    struct sockaddr_in sa = { .sin_family = AF_INET };
    struct mu_io io;

    (void)arg;
    sockets_left = 0;
    assert_int_equal(mu_connect(&io, (struct sockaddr *)&sa, sizeof(sa), MU_NEVER), MU_EIO);
    assert_int_equal(errno, EMFILE);
    assert_int_equal(io.fd, -1);
    mu_io_close(&io);
    sockets_left = -1;
}

static void test_no_descriptor_to_connect(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    run_fiber(r, connects_without_descriptors, NULL);
    assert_int_equal(mu_reactor_fibers(r), 0);
    mu_reactor_destroy(r);
}

static void pumps_without_memory(void *arg)
{
    struct mu_pipe_dir there = { .from = &left, .to = &right }, back = { &right, &left, 0, 0, 0 };

    (void)arg;
    for (int i = 0; i < 2; i++) {
        heap_left = i;
        assert_int_equal(mu_pump(&there, &back, -1), MU_NOMEM);
        heap_left = -1;
        assert_int_equal(there.end, MU_NOMEM);
    }
}

static void test_no_memory_to_pump(void **state)
{
    struct mu_reactor *r = reactor_of(BACKEND(state));

    io_pair(&left, &right);
    run_fiber(r, pumps_without_memory, NULL);
    mu_io_close(&left);
    mu_io_close(&right);
    mu_reactor_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_rough_sockets),
        BOTH(test_rough_pipes),
        BOTH(test_no_memory_for_a_stack),
        BOTH(test_no_memory_for_a_big_stack),
        cmocka_unit_test(test_kernel_watches_no_more),
        BOTH(test_no_heap_for_the_tables),
        cmocka_unit_test(test_reactor_without_memory),
        BOTH(test_no_descriptor_to_connect),
        BOTH(test_no_memory_to_pump),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
