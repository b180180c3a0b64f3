/* A stream of bytes to a peer: a plain socket, or something that wraps one (TLS) behind a small
 * vtable.
 *
 * The plain case costs one predictable branch over the engine's own calls. All calls try once and
 * never wait; they return what mu_try_read and its kin return.
 */
#ifndef MU_NET_STREAM_H
#define MU_NET_STREAM_H

#include <muster/wait.h>

struct mu_stream;

/**
 * A wrapped transport. Every member is set, but sendfile when file bytes must pass through memory.
 */
struct mu_stream_ops {
    enum mu_rc (*read)(struct mu_stream *s, void *buf, size_t cap, size_t *got);
    enum mu_rc (*writev)(struct mu_stream *s, const struct iovec *iov, int n, bool more,
                         size_t *sent);
    enum mu_rc (*sendfile)(struct mu_stream *s, int fd, off_t *off, size_t n, size_t *sent);
    /** Nothing more will be written: close_notify, then shutdown(SHUT_WR). */
    void (*end)(struct mu_stream *s);
    /** Free what the transport keeps; the descriptor is closed by the caller. */
    void (*free)(struct mu_stream *s);
};

struct mu_stream {
    struct mu_io io;
    const struct mu_stream_ops *ops; /**< NULL: a plain socket */
};

/** Over a connected, non-blocking, close-on-exec socket. Makes no system call. */
static inline void mu_stream_init(struct mu_stream *s, int fd)
{
    mu_io_init_socket(&s->io, fd);
    s->ops = NULL;
}

MU_NODISCARD static inline enum mu_rc mu_stream_read(struct mu_stream *s, void *buf, size_t cap,
                                                     size_t *got)
{
    return MU_UNLIKELY(s->ops != NULL) ? s->ops->read(s, buf, cap, got)
                                       : mu_try_read(&s->io, buf, cap, got);
}

MU_NODISCARD static inline enum mu_rc mu_stream_writev(struct mu_stream *s, const struct iovec *iov,
                                                       int n, bool more, size_t *sent)
{
    return MU_UNLIKELY(s->ops != NULL) ? s->ops->writev(s, iov, n, more, sent)
                                       : mu_try_writev(&s->io, iov, n, more, sent);
}

/** Can file bytes be sent without passing through memory? */
static inline bool mu_stream_has_sendfile(const struct mu_stream *s)
{
    return !s->ops || s->ops->sendfile;
}

MU_NODISCARD static inline enum mu_rc mu_stream_sendfile(struct mu_stream *s, int fd, off_t *off,
                                                         size_t n, size_t *sent)
{
    return MU_UNLIKELY(s->ops != NULL) ? s->ops->sendfile(s, fd, off, n, sent)
                                       : mu_try_sendfile(&s->io, fd, off, n, sent);
}

/** Tell the peer that nothing more follows; reading goes on. */
void mu_stream_end(struct mu_stream *s);
/** Close the descriptor and free what wraps it. Harmless when closed already. */
void mu_stream_close(struct mu_stream *s);

#endif
