/* Character classes of HTTP/1 and a scan for control characters, shared by the parser's files. */
#ifndef MU_HTTP_CHARS_H
#define MU_HTTP_CHARS_H

#include <muster/types.h>

enum {
    MU_CH_TOKEN = 1,   /**< tchar, RFC 9110 section 5.6.2 */
    MU_CH_VISIBLE = 2, /**< 0x21-0x7e and obs-text */
    MU_CH_REGNAME = 4, /**< what may stand in a host name: letters, digits, '-', '.', '_' */
    MU_CH_HEX = 8,
    MU_CH_SCHEME = 16,     /**< behind the first letter of a scheme */
    MU_CH_UNRESERVED = 32, /**< RFC 3986 section 2.3 */
    MU_CH_PATH = 64,       /**< what httpd leaves unescaped in a path */
};

extern const uint8_t mu_char_class[256];

static inline bool mu_ch_is(char c, unsigned classes)
{
    return (mu_char_class[(unsigned char)c] & classes) != 0;
}

static inline bool mu_ch_is_ows(char c)
{
    return c == ' ' || c == '\t';
}

/** Bytes at the start of s that are of one of `classes`. */
size_t mu_ch_span(struct mu_str s, unsigned classes);
/** Is every byte allowed in a field value: HT, SP, visible, obs-text (RFC 9110 section 5.5)? */
bool mu_ch_is_field_value(struct mu_str s);
/** Without leading and trailing SP and HT. */
struct mu_str mu_ch_trim_ows(struct mu_str s);

#endif
