/*
 * Addresses: a compact form of IPv4, IPv6 and Unix addresses, their text, comparison and
 * networks.
 */
#ifndef MU_NET_ADDR_H
#define MU_NET_ADDR_H

#include <muster/arena.h>
#include <muster/types.h>

#include <sys/socket.h>
#include <sys/un.h>

/** Bytes in network order, numbers in the host's. Zero-initialised is "no address" (AF_UNSPEC). */
struct mu_addr {
    uint16_t family; /**< AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX */
    uint16_t port;
    uint32_t scope;   /**< IPv6 interface index */
    uint8_t ip[16];   /**< the first 4 for AF_INET */
    const char *path; /**< AF_UNIX: borrowed; NULL for an unnamed socket */
};

/** Room for "[address%scope]:port" and a NUL. */
enum { MU_ADDR_TEXT = 80 };

/**
 * From the kernel's form. An IPv4 address mapped into IPv6 becomes IPv4, as httpd shows it.
 * Returns: false for another family, or when `len` is too short.
 * Owns:    the path of a Unix address stays in *sa.
 */
bool mu_addr_from_sa(struct mu_addr *addr, const struct sockaddr *sa, socklen_t len);

/** To the kernel's form. Returns its length, 0 for AF_UNSPEC or a path that is too long. */
socklen_t mu_addr_to_sa(const struct mu_addr *addr, struct sockaddr_storage *sa);

/**
 * "1.2.3.4:80", "[::1]:80", or the path of a Unix socket ("unix:" for an unnamed one).
 * Returns: the text in buf, NUL-terminated.
 */
struct mu_str mu_addr_text(const struct mu_addr *addr, char buf[MU_ADDR_TEXT]);

/** The host alone: "1.2.3.4", "::1", with "%scope" for link-local addresses. */
struct mu_str mu_addr_host(const struct mu_addr *addr, char buf[MU_ADDR_TEXT]);

/**
 * An IP address without a port: "1.2.3.4", "::1", "[::1]", "fe80::1%eth0". Names are not looked
 * up.
 * Returns: false when it is none.
 */
bool mu_addr_parse_ip(struct mu_str text, struct mu_addr *addr);

/** With a port: "1.2.3.4:80", "[::1]:80". Returns false when it is none. */
bool mu_addr_parse(struct mu_str text, struct mu_addr *addr);

/** Same family, address, scope and port (or path)? */
bool mu_addr_eq(const struct mu_addr *a, const struct mu_addr *b);

/** The same without the port. */
bool mu_addr_eq_host(const struct mu_addr *a, const struct mu_addr *b);

/** Order for sorting and searching: family, address, port. */
int mu_addr_cmp(const struct mu_addr *a, const struct mu_addr *b);

/** 0.0.0.0 or ::? */
bool mu_addr_is_any(const struct mu_addr *addr);

/** A network: an address whose first `bits` bits count. */
struct mu_cidr {
    struct mu_addr addr;
    uint8_t bits;
};

/**
 * "10.0.0.0/8", "10.0.0.0/255.0.0.0", "2001:db8::/32", a full address, or the first bytes of an
 * IPv4 address ("10.1", "10.1."), as httpd's Require ip.
 * Returns: MU_OK; MU_BAD.
 */
MU_NODISCARD
enum mu_rc mu_cidr_parse(struct mu_str text, struct mu_cidr *net);

/** Is the address in the network? Never across families. */
bool mu_cidr_has(const struct mu_cidr *net, const struct mu_addr *addr);

#endif
