/* System calls of the hot path without what libc puts around them. */
#ifndef MU_ENGINE_SYS_H
#define MU_ENGINE_SYS_H

#include <stddef.h>
#include <sys/types.h>

/** recv(2). */
ssize_t mu_sys_recv(int fd, void *buf, size_t n, int flags);
/** send(2). */
ssize_t mu_sys_send(int fd, const void *buf, size_t n, int flags);
/** Give back libc's registration of restartable sequences (rseq(2)) for this thread. */
void mu_sys_leave_rseq(void);

#endif
