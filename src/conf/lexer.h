/* The httpd grammar below the level of directives: logical lines and words. */
#ifndef MU_CONF_LEXER_H
#define MU_CONF_LEXER_H

#include <muster/buf.h>
#include <muster/directive.h>

/** The longest logical line, continuations joined. */
#define MU_LINE_MAX ((size_t)16 * 1024 * 1024)

/** A text being read line by line. Zero the scratch buffer first; mu_lines_fini frees it. */
struct mu_lines {
    struct mu_str text;
    size_t pos;
    unsigned line; /**< number of the last physical line taken */
    struct mu_buf scratch;
};

void mu_lines_init(struct mu_lines *l, struct mu_str text);
void mu_lines_fini(struct mu_lines *l);
/**
 * The next logical line: continuations joined, white space trimmed, empty lines and comments left
 * out. *first is the number of its first physical line. *line is borrowed until the next call.
 * Returns: MU_OK; MU_EOF; MU_LIMIT (longer than MU_LINE_MAX, skipped); MU_BAD (holds a NUL,
 *           skipped); MU_NOMEM.
 */
enum mu_rc mu_lines_next(struct mu_lines *l, struct mu_str *line, unsigned *first);

/**
 * Take the next word off the front of *rest: "..." and '...' with \\ and \quote as escapes, or a
 * run without white space in which \\ is one backslash. White space behind it is taken too. The
 * word is a copy, NUL-terminated.
 * Returns: false when *rest is used up (or out of memory: then rest->p is NULL).
 */
bool mu_word_next(struct mu_arena *a, struct mu_str *rest, struct mu_str *word);
/** All words of `args`. Returns MU_OK or MU_NOMEM. */
MU_NODISCARD enum mu_rc mu_words(struct mu_arena *a, struct mu_str args, struct mu_strs *out);

#endif
