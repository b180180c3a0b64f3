/*
 * stream: the ends of a transport's life. What is called for every read and write is inline in
 * stream.h; a plain socket has no operations of its own, so this file is all there is besides. A
 * closed stream is a plain one whose descriptor is -1.
 */
#include "net/stream.h"

#include <sys/socket.h>

void mu_stream_end(struct mu_stream *s)
{
    if (s->ops)
        s->ops->end(s);
    else if (s->io.fd >= 0)
        (void)shutdown(s->io.fd,
                       SHUT_WR); /* fails when the peer is gone already: closing is next anyway */
}

void mu_stream_close(struct mu_stream *s)
{
    const struct mu_stream_ops *ops = s->ops;

    s->ops = NULL;
    if (ops)
        ops->free(s);
    mu_io_close(&s->io);
}
