/*
 * Paths and authorities. The first byte chooses the policy for slashes. A decoded path starts at
 * the root, holds no dot segment and no NUL, and survives encoding and decoding.
 */
#include "fuzz.h"

#include <muster/http.h>
#include <muster/str.h>
#include <stdlib.h>

#include "http/h1.h"

static void check(bool claim)
{
    if (!claim) {
        abort();
    }
}

static void check_decoded(struct mu_arena *a, struct mu_str path, bool merge)
{
    struct mu_str rest = mu_str_sub(path, 1, path.n), piece, again;

    check(path.n > 0 && *path.p == '/' && path.p[path.n] == '\0' && strlen(path.p) == path.n);
    while (mu_str_split(&rest, '/', &piece)) {
        check(!mu_str_eq(piece, MU_S(".")) && !mu_str_eq(piece, MU_S("..")));
        check(!merge || piece.n > 0 || !rest.p);
    }
    check(mu_uri_path_decode(a, mu_uri_encode_path(a, path), merge, MU_SLASHES_REFUSE, &again) ==
          MU_OK);
    check(mu_str_eq(path, again));
}

static void check_authority(struct mu_str s)
{
    struct mu_str host;
    uint16_t port;

    if (mu_h1_authority(s, &host, &port)) {
        check(host.n <= s.n && (host.n == 0 || host.p == s.p));
        for (size_t i = 0; i < host.n; i++) {
            check(host.p[i] > ' ' && host.p[i] < 0x7f && !strchr("/\\@?#%\"<>,", host.p[i]));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mu_arena *a;
    struct mu_str raw, path, escaped;
    bool merge;

    if (size < 2) {
        return 0;
    }
    a = mu_arena_create(0);
    raw = mu_str_n((const char *)data + 1, size - 1);
    merge = data[0] & 4;
    if (mu_uri_path_decode(a, raw, merge, (enum mu_encoded_slashes)((data[0] & 3) % 3), &path) ==
        MU_OK) {
        check_decoded(a, path, merge);
    } else {
        check(!path.p);
    }
    check_authority(raw);
    (void)mu_uri_is_absolute(raw);
    escaped = mu_html_escape(a, raw);
    check(mu_str_chr(escaped, '<') < 0 && mu_str_chr(escaped, '>') < 0 &&
          mu_str_chr(escaped, '"') < 0);
    mu_arena_destroy(a);
    return 0;
}
