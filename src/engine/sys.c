/*
 * sys: libc's recv and send are cancellation points, which costs two atomic operations a call in a
 * process with threads; no thread here is ever cancelled that way. And libc registers each thread for
 * restartable sequences, so that the kernel writes to the thread's memory whenever it comes back from
 * a switch: one twentieth of a request where every connection has its thread. Code that has such
 * sequences sees that the thread is not registered (cpu_id below 0) and goes its other way, as on
 * kernels that know nothing of them; libc's sched_getcpu does.
 */
#include <engine/sanitize.h>
#include <engine/sys.h>

#include <sys/rseq.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(MU_ASAN) || defined(MU_TSAN)
/* The sanitizers look into libc's. */

ssize_t mu_sys_recv(int fd, void *buf, size_t n, int flags)
{
    return recv(fd, buf, n, flags);
}

ssize_t mu_sys_send(int fd, const void *buf, size_t n, int flags)
{
    return send(fd, buf, n, flags);
}

#else

ssize_t mu_sys_recv(int fd, void *buf, size_t n, int flags)
{
    return syscall(SYS_recvfrom, fd, buf, n, flags, NULL, NULL);
}

ssize_t mu_sys_send(int fd, const void *buf, size_t n, int flags)
{
    return syscall(SYS_sendto, fd, buf, n, flags, NULL, 0);
}

#endif

void mu_sys_leave_rseq(void)
{
    struct rseq *r = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);

    if (__rseq_size > 0)
        (void)syscall(SYS_rseq, r, sizeof(*r), RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
}
