/*
 * text: what people are shown of a request, in the words of a slot. A reader may see half of one text
 * and half of the next, and never anything but printable ASCII, whatever stands there.
 */
#include "pool/board.h"

void mu_board_put_text(_Atomic uint64_t *words, size_t n, struct mu_str text)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t w = 0;
        size_t at = i * sizeof(w), some = text.n > at ? text.n - at : 0;

        if (some)
            memcpy(&w, text.p + at, some < sizeof(w) ? some : sizeof(w));
        atomic_store_explicit(&words[i], w, memory_order_relaxed);
        if (some < sizeof(w))
            return; /* a zero byte: what stands behind it is not looked at */
    }
}

void mu_board_get_text(const _Atomic uint64_t *words, size_t n, char *out)
{
    char *w = out;

    for (size_t i = 0; i < n; i++) {
        uint64_t v = atomic_load_explicit(&words[i], memory_order_relaxed);
        char bytes[sizeof(v)];

        memcpy(bytes, &v, sizeof(v));
        for (size_t k = 0; k < sizeof(v); k++) {
            if (!bytes[k]) {
                *w = '\0';
                return;
            }
            *w++ = bytes[k] >= 0x20 && bytes[k] < 0x7f ? bytes[k] : '?';
        }
    }
    *w = '\0';
}
