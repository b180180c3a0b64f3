/* Listening sockets: what Listen says, opened or adopted. */
#ifndef MU_NET_LISTENER_H
#define MU_NET_LISTENER_H

#include "net/addr.h"

#include <muster/arena.h>
#include <muster/types.h>

/** One Listen directive, resolved. */
struct mu_listen {
    struct mu_addr addr;
    bool is_wildcard; /**< no address was given: all of IPv4 and, where there is it, of IPv6 */
    struct mu_str
        protocol;     /**< "http" or "https" (the default for port 443), or another one given */
    const char *file; /**< of the directive, for messages; may be NULL */
    unsigned line;
};

/**
 * Parse the arguments of "Listen [address:]port [protocol]". IPv6 addresses stand in brackets;
 * host names are not allowed. "*:80" is "80". A wildcard becomes [::] when the machine has IPv6,
 * to be opened for both families, else 0.0.0.0.
 * Returns: MU_OK; MU_BAD with a message in *err (in the arena).
 */
MU_NODISCARD
enum mu_rc mu_listen_parse(struct mu_arena *a, struct mu_str where, struct mu_str protocol,
                           struct mu_listen *want, struct mu_str *err);

/** Would both want the same socket? Duplicates are an error in httpd, and here. */
bool mu_listen_is_dup(const struct mu_listen *a, const struct mu_listen *b);

/** Does this machine have IPv6? Asked once. */
bool mu_has_ipv6(void);

/** An open listening socket. Several buckets of one Listen are several of these. */
struct mu_listener {
    struct mu_listen want;
    int fd; /**< -1 once this process has closed its copy */
    uint32_t bucket;
};

struct mu_listen_options {
    int backlog;        /**< ListenBacklog; 0: 511 */
    int send_buffer;    /**< SendBufferSize; 0: the kernel's */
    int receive_buffer; /**< ReceiveBufferSize; 0: the kernel's */
    bool has_reuseport; /**< one of several buckets of the same address (ListenCoresBucketsRatio) */
    unsigned defer_accept_s; /**< TCP_DEFER_ACCEPT, as AcceptFilter does; 0: off, the default */
};

/**
 * Open, bind and listen: SO_REUSEADDR, close-on-exec, non-blocking; TCP_NODELAY, which accepted
 * sockets inherit on Linux, so it costs no call a connection.
 * Returns: a descriptor, or -1 with a message in *err that names the address, the system's reason
 *          and what to do about it; errno is kept.
 */
int mu_listener_open(struct mu_arena *a, const struct mu_listen *want,
                     const struct mu_listen_options *options, struct mu_str *err);

/**
 * Is `fd`, inherited from the server before a re-exec or from systemd, the listening socket that
 * `want` asks for? Compares address, port and IPV6_V6ONLY by asking the kernel.
 */
bool mu_listener_is(int fd, const struct mu_listen *want);

/**
 * Make an inherited listening socket one's own: close-on-exec, non-blocking, the options applied,
 * the backlog by listening again.
 * Returns: MU_OK; MU_EIO with errno.
 */
MU_NODISCARD
enum mu_rc mu_listener_adopt(int fd, const struct mu_listen_options *options);

#endif
