/*
 * output: what a pool's process prints goes to the error log, line by line, with the pool's name. A
 * bounded amount is read each time; a process that prints more than the log takes waits for its
 * pipe, and nobody else does.
 */
#include "pool/keeper.h"

#include <errno.h>
#include <muster/log.h>
#include <muster/str.h>
#include <unistd.h>

enum { READ_MAX = 16 * 1024 };

static void print_line(struct mu_proc *x)
{
    size_t n = x->line_n;

    x->line_n = 0;
    if (n && x->line[n - 1] == '\r')
        n--;
    if (n)
        MU_LOG(NULL, "pool", MU_LOG_WARN, "MU0930", "pool %s process %d: %.*s", x->pool->name,
               (int)x->pid, (int)n, x->line);
}

static void take(struct mu_proc *x, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '\n') {
            print_line(x);
            continue;
        }
        x->line[x->line_n++] = bytes[i];
        if (x->line_n == sizeof(x->line))
            print_line(x);
    }
}

bool mu_proc_output(struct mu_proc *x)
{
    char bytes[READ_MAX];
    ssize_t n;

    if (x->log_fd < 0)
        return false;
    do
        n = read(x->log_fd, bytes, sizeof(bytes));
    while (n < 0 && errno == EINTR);
    if (n > 0)
        take(x, bytes, (size_t)n);
    return n > 0 || (n < 0 && errno == EAGAIN);
}

void mu_proc_output_end(struct mu_proc *x)
{
    /* A pipe holds 64 KiB; what something it has left behind goes on writing is not waited for. */
    for (unsigned i = 0; i < 64 * 1024 / READ_MAX; i++) {
        if (!mu_proc_output(x))
            break;
    }
    print_line(x);
}
