/* A growable byte buffer on the heap, and a growable array of pointers in an arena. */
#ifndef MUSTER_BUF_H
#define MUSTER_BUF_H

#include <muster/arena.h>
#include <muster/types.h>

/** p[0..n) is the content, cap the allocation. Zero-initialised is a valid empty buffer. */
struct mu_buf {
    char *p;
    size_t n;
    size_t cap;
    bool is_failed; /**< an allocation failed; later appends do nothing; check once at the end */
};

/** Make room for `extra` more bytes. Returns false (and sets is_failed) when out of memory. */
bool mu_buf_reserve(struct mu_buf *b, size_t extra);
void mu_buf_add(struct mu_buf *b, struct mu_str s);
void mu_buf_addc(struct mu_buf *b, char c);
void mu_buf_addf(struct mu_buf *b, const char *fmt, ...) MU_PRINTF(2, 3);
/** Drop the first `n` bytes. */
void mu_buf_consume(struct mu_buf *b, size_t n);
void mu_buf_fini(struct mu_buf *b);
static inline struct mu_str mu_buf_str(const struct mu_buf *b)
{
    return (struct mu_str){ b->p, b->n };
}
/** HTML-escape `s` (& < > and the double quote, as httpd) into the buffer. */
void mu_buf_add_html(struct mu_buf *b, struct mu_str s);
/** The same for text between tags, where a double quote stays as it is. */
void mu_buf_add_html_text(struct mu_buf *b, struct mu_str s);
/**
 * Percent-encode `s` as a path (keeps unreserved, "/" and sub-delims httpd keeps:
 * $-_.+!*'(),:;@&=/~).
 */
void mu_buf_add_uri(struct mu_buf *b, struct mu_str s);

/** Growable array of pointers. Zero-initialised is valid. */
struct mu_vec {
    void **v;
    size_t n;
    size_t cap;
};
/** Append. Returns MU_NOMEM when the arena is exhausted. */
MU_NODISCARD enum mu_rc mu_vec_push(struct mu_arena *a, struct mu_vec *vec, void *item);

#endif
