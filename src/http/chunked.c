/*
 * The chunked decoder: a state machine that never needs more than the byte at hand, so input may be
 * cut anywhere, and that hands out runs of data in place. Every line end is CRLF, sizes have at
 * most 16 digits, extensions are checked and dropped: what two recipients could read in two ways is
 * refused (RFC 9112 section 11.2).
 */
#include "h1.h"

#include <muster/str.h>

#include "chars.h"

#define MAX_DIGITS 16u

enum chunk_state {
    SIZE = 0,   /* hexadecimal digits */
    SIZE_SPACE, /* white space behind the size or an extension */
    EXT_BEFORE, /* behind ';' */
    EXT_NAME,
    EXT_NAME_SPACE, /* behind a name: '=', ';' or the line end */
    EXT_EQUALS,     /* behind '=' */
    EXT_VALUE,
    EXT_QUOTED,
    EXT_ESCAPED, /* behind a backslash in quotes */
    EXT_QUOTE_END,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER, /* start of a trailer line or of the last line */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    END,
};

struct chunk_pass {
    struct mu_chunked *c;
    struct mu_arena *arena;
    struct mu_headers *trailers;
};

/* The state to go to, or a negated mu_rc. */
static int fail(enum mu_rc rc)
{
    return -(int)rc;
}

static int size_digit(struct mu_chunked *c, char byte)
{
    int digit = mu_hex(byte);

    if (digit < 0) {
        if (c->digits == 0) {
            return fail(MU_BAD);
        }
        return byte == ';' ? EXT_BEFORE : byte == '\r' ? SIZE_LF : SIZE_SPACE;
    }
    if (++c->digits > MAX_DIGITS || c->left > (uint64_t)INT64_MAX >> 4) {
        return fail(MU_BAD);
    }
    c->left = c->left << 4 | (unsigned)digit;
    return SIZE;
}

/* Bytes that may end an extension or what stands behind a size. */
static int after_item(char byte)
{
    switch (byte) {
    case ' ':
    case '\t':
        return SIZE_SPACE;
    case ';':
        return EXT_BEFORE;
    case '\r':
        return SIZE_LF;
    default:
        return fail(MU_BAD);
    }
}

static int quoted(char byte, int next)
{
    return mu_ch_is(byte, MU_CH_VISIBLE) || mu_ch_is_ows(byte) ? next : fail(MU_BAD);
}

/* One byte of a chunk-size line behind the digits. */
static int extension_byte(int state, char byte)
{
    bool is_token = mu_ch_is(byte, MU_CH_TOKEN);

    switch (state) {
    case EXT_BEFORE:
        return is_token ? EXT_NAME : mu_ch_is_ows(byte) ? EXT_BEFORE : fail(MU_BAD);
    case EXT_NAME:
        if (is_token) {
            return EXT_NAME;
        }
        /* fall through */
    case EXT_NAME_SPACE:
        return byte == '=' ? EXT_EQUALS : mu_ch_is_ows(byte) ? EXT_NAME_SPACE : after_item(byte);
    case EXT_EQUALS:
        if (byte == '"') {
            return EXT_QUOTED;
        }
        return is_token ? EXT_VALUE : mu_ch_is_ows(byte) ? EXT_EQUALS : fail(MU_BAD);
    case EXT_VALUE:
        return is_token ? EXT_VALUE : after_item(byte);
    case EXT_QUOTED:
        return byte == '"' ? EXT_QUOTE_END : byte == '\\' ? EXT_ESCAPED : quoted(byte, EXT_QUOTED);
    case EXT_ESCAPED:
        return quoted(byte, EXT_QUOTED);
    default: /* SIZE_SPACE, EXT_QUOTE_END */
        return after_item(byte);
    }
}

static int size_line_byte(struct mu_chunked *c, int state, char byte)
{
    if (++c->line > MU_CHUNK_LINE_MAX) {
        return fail(MU_LIMIT);
    }
    if (state == SIZE) {
        int next = size_digit(c, byte);

        return next == SIZE_SPACE ? after_item(byte) : next;
    }
    if (++c->trailer_bytes > MU_CHUNK_EXTRA_MAX) {
        return fail(MU_LIMIT);
    }
    return extension_byte(state, byte);
}

static int end_of_size_line(struct mu_chunked *c, char byte)
{
    if (byte != '\n') {
        return fail(MU_BAD);
    }
    c->line = 0;
    c->digits = 0;
    return c->left > 0 ? DATA : TRAILER;
}

/* Keep a byte of a trailer line; the line outlives the input, which may end in the middle of it. */
static int keep(struct chunk_pass *pass, char byte, int next)
{
    struct mu_chunked *c = pass->c;

    if (++c->line > MU_CHUNK_LINE_MAX || ++c->trailer_bytes > MU_CHUNK_EXTRA_MAX) {
        return fail(MU_LIMIT);
    }
    if (!pass->trailers) {
        return next;
    }
    if (c->line > c->kept_cap) {
        uint32_t cap = c->kept_cap ? c->kept_cap * 2 : 128;
        char *p = mu_arena_alloc(pass->arena, cap);

        if (!p) {
            return fail(MU_NOMEM);
        }
        if (c->kept_cap) {
            memcpy(p, c->kept, c->kept_cap);
        }
        c->kept = p;
        c->kept_cap = cap;
    }
    c->kept[c->line - 1] = byte;
    return next;
}

/*
 * Fields that frame, route, condition or describe the message were needed before its body: too late
 * now, and dangerous. Every field the server itself looks at is one of them, but for ETag.
 */
static bool is_forbidden(struct mu_str name)
{
    enum mu_header_id id = mu_header_id(name);

    return (id != MU_H_OTHER && id != MU_H_ETAG) || mu_str_istarts(name, MU_S("Content-")) ||
           mu_str_ieq(name, MU_S("Max-Forwards")) || mu_str_ieq(name, MU_S("Forwarded")) ||
           mu_str_istarts(name, MU_S("X-Forwarded-"));
}

static int end_of_trailer_line(struct chunk_pass *pass, char byte)
{
    struct mu_chunked *c = pass->c;
    struct mu_str name = { c->kept, c->name_len }, value;

    if (byte != '\n') {
        return fail(MU_BAD);
    }
    if (pass->trailers && !is_forbidden(name)) {
        value = (struct mu_str){ c->kept + c->name_len + 1, c->line - c->name_len - 1 };
        if (mu_headers_add(pass->arena, pass->trailers, name, mu_ch_trim_ows(value)) != MU_OK) {
            return fail(MU_NOMEM);
        }
        c->kept = NULL;
        c->kept_cap = 0;
    }
    c->line = 0;
    c->name_len = 0;
    return TRAILER;
}

static int trailer_byte(struct chunk_pass *pass, int state, char byte)
{
    struct mu_chunked *c = pass->c;

    if (state == TRAILER && byte == '\r') {
        return END_LF;
    }
    if (state == TRAILER_VALUE) {
        if (byte == '\r') {
            return TRAILER_LF;
        }
        return mu_ch_is(byte, MU_CH_VISIBLE) || mu_ch_is_ows(byte) ? keep(pass, byte, TRAILER_VALUE)
                                                                   : fail(MU_BAD);
    }
    if (state == TRAILER_NAME && byte == ':') {
        c->name_len = c->line;
        return keep(pass, byte, TRAILER_VALUE);
    }
    return mu_ch_is(byte, MU_CH_TOKEN) ? keep(pass, byte, TRAILER_NAME) : fail(MU_BAD);
}

static int expect(char byte, char wanted, int next)
{
    return byte == wanted ? next : fail(MU_BAD);
}

/* One byte of framing. Returns the next state or a negated mu_rc. */
static int step(struct chunk_pass *pass, int state, char byte)
{
    switch (state) {
    case SIZE_LF:
        return end_of_size_line(pass->c, byte);
    case DATA_CR:
        return expect(byte, '\r', DATA_LF);
    case DATA_LF:
        return expect(byte, '\n', SIZE);
    case TRAILER:
    case TRAILER_NAME:
    case TRAILER_VALUE:
        return trailer_byte(pass, state, byte);
    case TRAILER_LF:
        return end_of_trailer_line(pass, byte);
    case END_LF:
        return expect(byte, '\n', END);
    default:
        return size_line_byte(pass->c, state, byte);
    }
}

enum mu_rc mu_chunked_decode(struct mu_chunked *c, const char *in, size_t n, struct mu_str *data,
                             size_t *used, struct mu_arena *a, struct mu_headers *trailers)
{
    struct chunk_pass pass = { c, a, trailers };
    size_t i = 0;

    *data = MU_STR_NULL;
    while (i < n && c->state != DATA && c->state != END) {
        int next = step(&pass, c->state, in[i++]);

        if (next < 0) {
            *used = i;
            return (enum mu_rc) - next;
        }
        c->state = (uint8_t)next;
    }
    if (c->state == DATA && i < n) {
        size_t run = n - i < c->left ? n - i : (size_t)c->left;

        *data = (struct mu_str){ in + i, run };
        i += run;
        c->left -= run;
        if (c->left == 0) {
            c->state = DATA_CR;
        }
    }
    *used = i;
    return c->state == END ? MU_EOF : MU_OK;
}
