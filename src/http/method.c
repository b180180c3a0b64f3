/*
 * Method names: the fixed set the server knows by number, and the Allow field built from such a
 * set. Names are case-sensitive (RFC 9110 section 9.1).
 */
#include <muster/http.h>
#include <muster/str.h>

static const struct mu_str names[MU_M_COUNT] = { [MU_M_OTHER] = { "-", 1 },
#define X(m) [MU_M_##m] = { #m, sizeof(#m) - 1 },
                                                 MU_METHOD_LIST(X)
#undef X
};

enum mu_method mu_method_parse(struct mu_str name)
{
    if (MU_LIKELY(name.n == 3 && memcmp(name.p, "GET", 3) == 0)) {
        return MU_M_GET;
    }
    for (unsigned m = MU_M_GET; m < MU_M_COUNT; m++) {
        if (mu_str_eq(name, names[m])) {
            return (enum mu_method)m;
        }
    }
    return MU_M_OTHER;
}

struct mu_str mu_method_name(enum mu_method m)
{
    return names[(unsigned)m < MU_M_COUNT ? m : MU_M_OTHER];
}

size_t mu_method_allow(unsigned mask, char buf[MU_ALLOW_MAX])
{
    size_t n = 0;

    for (unsigned m = MU_M_GET; m < MU_M_COUNT; m++) {
        if (mask & MU_METHOD_BIT(m)) {
            if (n > 0) {
                buf[n++] = ',';
            }
            memcpy(buf + n, names[m].p, names[m].n);
            n += names[m].n;
        }
    }
    return n;
}
