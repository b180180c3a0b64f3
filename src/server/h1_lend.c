/*
 * h1_lend: the client's socket in other hands. A program that answers by itself writes with blocking
 * calls, so O_NONBLOCK goes, which both have in common; the server's own calls do without it. What
 * the program has sent is asked of the kernel. While it may be writing nothing here shuts the socket
 * down or sends on it; reading the request body goes on.
 */
#include <server/h1_conn.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

/** Bytes given to the kernel for the client since the connection began; 0 when it does not count. */
static uint64_t sent_so_far(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);

    memset(&info, 0, sizeof(info));
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return 0;
    return info.tcpi_bytes_sent - info.tcpi_bytes_retrans + info.tcpi_notsent_bytes;
}

static bool set_nonblocking(int fd, bool is_nonblocking)
{
    int mode = fcntl(fd, F_GETFL);

    if (mode < 0)
        return false;
    mode = is_nonblocking ? mode | O_NONBLOCK : mode & ~O_NONBLOCK;
    return fcntl(fd, F_SETFL, mode) == 0;
}

enum mu_rc mu_h1_lend(struct mu_exchange *mx, int *fd)
{
    struct mu_h1_exchange *x = mu_h1_exchange_of(mx);
    struct mu_conn *c = mx->conn;

    if (c->stream.ops || mx->req.version < 1000 || x->has_pending || !mu_h1_body_covers_input(x))
        return MU_DENIED;
    mu_io_share(&c->stream.io);
    if (!set_nonblocking(c->stream.io.fd, false))
        return MU_DENIED;
    x->lent_at = sent_so_far(c->stream.io.fd);
    x->was_lent = true;
    *fd = c->stream.io.fd;
    return MU_OK;
}

uint64_t mu_h1_take_back(struct mu_exchange *mx)
{
    struct mu_h1_exchange *x = mu_h1_exchange_of(mx);
    int fd = mx->conn->stream.io.fd;
    uint64_t sent = sent_so_far(fd);

    (void)set_nonblocking(fd, true);
    return sent > x->lent_at ? sent - x->lent_at : 0;
}
