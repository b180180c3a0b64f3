/*
 * mod_relay: what handlers that run applications do, for the tests. "drain" hands on what a backend
 * (query: a port of 127.0.0.1) says, without waiting for the client. "lend" gives the client's
 * socket to whoever listens on the Unix socket RelaySocket, tells it there how the request body goes
 * on, and is done when that one closes. "ahead" reads the body ahead and answers its length and its
 * last byte. "prefix:" answers whatever begins so. "field" sets the part of the answer's head that the
 * query names to what must never be sent.
 */
#include <muster/module.h>

#include <netinet/in.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_MS = 60000 };

struct relay_conf {
    struct mu_str socket;
};

static const struct mu_directive directives[] = {
    MU_DIR_STR("RelaySocket", struct relay_conf, socket, MU_IN_SERVER | MU_IN_DIR,
               "the Unix socket that lend gives the client's to"),
    MU_DIR_END
};

static enum mu_status drain(struct mu_req *r, const void *conf)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    uint64_t port = 0;
    struct mu_io io;
    char piece[16384];
    size_t got;
    enum mu_rc rc;

    (void)conf;
    (void)mu_str_u64(r->query, &port);
    sa.sin_port = htons((uint16_t)port);
    if (mu_connect(&io, (struct sockaddr *)&sa, sizeof(sa), mu_deadline(PATIENCE_MS)) != MU_OK)
        return MU_502_BAD_GATEWAY;
    mu_resp_type(r, MU_S("application/octet-stream"));
    mu_resp_spool(r);
    do {
        rc = mu_read(&io, piece, sizeof(piece), &got, mu_deadline(PATIENCE_MS));
        if (rc == MU_OK)
            rc = mu_resp_write(r, mu_str_n(piece, got));
    } while (rc == MU_OK);
    mu_io_close(&io);
    return rc == MU_EOF ? MU_200_OK : mu_resp_abort(r);
}

static bool send_fd(int to, int fd)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } c;
    struct iovec iov = { .iov_base = "L", .iov_len = 1 };
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c)
    };

    memset(&c, 0, sizeof(c));
    c.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
                               .cmsg_level = SOL_SOCKET,
                               .cmsg_type = SCM_RIGHTS };
    memcpy(CMSG_DATA(&c.head), &fd, sizeof(fd));
    return sendmsg(to, &m, MSG_NOSIGNAL) == 1;
}

/** The body goes to `io` as it comes. */
static enum mu_rc pass_body(struct mu_req *r, struct mu_io *io)
{
    char piece[4096];
    size_t got;
    enum mu_rc rc;

    do {
        rc = mu_body_read(r, piece, sizeof(piece), &got);
        if (rc == MU_OK)
            rc = mu_write_all(io, piece, got, mu_deadline(PATIENCE_MS));
    } while (rc == MU_OK);
    return rc == MU_EOF ? MU_OK : rc;
}

static enum mu_status lend_to(struct mu_req *r, struct mu_io *io)
{
    char byte;
    size_t got;
    int fd;

    if (mu_client_lend(r, &fd) != MU_OK)
        return mu_resp_send(r, MU_200_OK, MU_S("relayed\n"));
    if (!send_fd(io->fd, fd))
        return mu_client_returned(r, MU_STATUS_NONE, 0) == MU_STATUS_NONE ? MU_502_BAD_GATEWAY
                                                                          : MU_200_OK;
    if (pass_body(r, io) != MU_OK ||
        mu_read(io, &byte, 1, &got, mu_deadline(PATIENCE_MS)) != MU_EOF)
        return mu_resp_abort(r);
    return mu_client_returned(r, (enum mu_status)207, -1);
}

static enum mu_status lend(struct mu_req *r, const void *conf)
{
    struct mu_str path = ((const struct relay_conf *)conf)->socket;
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    enum mu_status status;
    struct mu_io io;

    if (path.n >= sizeof(sa.sun_path))
        return MU_500_INTERNAL_SERVER_ERROR;
    memcpy(sa.sun_path, path.p, path.n);
    if (mu_connect(&io, (struct sockaddr *)&sa, sizeof(sa), mu_deadline(PATIENCE_MS)) != MU_OK)
        return MU_502_BAD_GATEWAY;
    status = lend_to(r, &io);
    mu_io_close(&io);
    return status;
}

static enum mu_status ahead(struct mu_req *r, const void *conf)
{
    char piece[16384], last = '-';
    uint64_t len;
    size_t got;
    enum mu_rc rc = mu_body_spool(r, &len);

    (void)conf;
    if (rc != MU_OK)
        return mu_body_status(rc);
    while (mu_body_read(r, piece, sizeof(piece), &got) == MU_OK)
        last = piece[got - 1];
    mu_resp_type(r, MU_S("text/plain"));
    return mu_resp_send(r, MU_200_OK, mu_fmt(r->arena, "%llu %c\n", (unsigned long long)len, last));
}

static enum mu_status field(struct mu_req *r, const void *conf)
{
    struct mu_str evil = MU_S("a\r\nX-Evil: 1");

    (void)conf;
    if (mu_str_eq(r->query, MU_S("type")))
        r->content_type = evil;
    else if (mu_str_eq(r->query, MU_S("encoding")))
        r->content_encoding = evil;
    else if (mu_str_eq(r->query, MU_S("etag")))
        r->etag = evil;
    else if (mu_str_eq(r->query, MU_S("reason")))
        r->status_reason = evil;
    else if (mu_str_eq(r->query, MU_S("name")))
        mu_resp_set(r, evil, MU_S("1"));
    else
        mu_resp_set(r, MU_S("X-Value"), evil);
    return mu_resp_send(r, MU_200_OK, MU_S("secret"));
}

static enum mu_status prefixed(struct mu_req *r, const void *conf)
{
    (void)conf;
    mu_resp_type(r, MU_S("text/plain"));
    return mu_resp_send(r, MU_200_OK, r->handler);
}

MU_MODULE(relay, .conf_size = sizeof(struct relay_conf), .directives = directives,
          .handlers = MU_HANDLERS({ "drain", drain, MU_GET, false, false },
                                  { "lend", lend, MU_GET | MU_POST, false, false },
                                  { "ahead", ahead, MU_GET | MU_POST, false, false },
                                  { "field", field, MU_GET, false, false },
                                  { "prefix:", prefixed, MU_GET, false, false }));
