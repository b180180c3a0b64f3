/*
 * The frame of a multipart/byteranges body (RFC 9110 section 14.6), in httpd's form. Pure text, no
 * I/O.
 */
#ifndef MU_HTTP_MULTIPART_H
#define MU_HTTP_MULTIPART_H

#include "range.h"

/** Hexadecimal digits of a boundary. */
#define MU_BOUNDARY_LEN 16

/**
 * Write the boundary for a seed (a random number, or time and a counter: it must not be guessable
 * from content).
 */
void mu_boundary_format(uint64_t seed, char buf[MU_BOUNDARY_LEN]);
/**
 * The head of a part, with the line end that closes the part before it: "\r\n--B\r\nContent-type:
 * ...\r\n Content-range: bytes 0-4/1000\r\n\r\n". `type` with p == NULL leaves the type out.
 * Returns: p == NULL when out of memory.
 */
struct mu_str mu_multipart_head(struct mu_arena *a, struct mu_str boundary, struct mu_str type,
                                struct mu_range r, uint64_t len);
/** What ends the body: "\r\n--B--\r\n". */
struct mu_str mu_multipart_end(struct mu_arena *a, struct mu_str boundary);
/** "multipart/byteranges; boundary=B". */
struct mu_str mu_multipart_type(struct mu_arena *a, struct mu_str boundary);
/**
 * "bytes 0-4/1000", a Content-Range value; with r == NULL the one of a 416: "bytes *" + "/1000".
 */
struct mu_str mu_content_range(struct mu_arena *a, const struct mu_range *r, uint64_t len);

#endif
