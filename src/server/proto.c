/*
 * proto: the registry of protocols a Listen line can name. "http" is HTTP/1; tests and modules add
 * theirs while the process is still single-threaded, before connections are opened. As in httpd, a
 * name nobody knows ("https" where nothing does TLS) means plain HTTP.
 */
#include <server/conn_internal.h>

#include <muster/str.h>

enum { MAX_PROTOCOLS = 16 };

static const struct mu_protocol *registered[MAX_PROTOCOLS];
static size_t registered_n;

void mu_protocol_register(const struct mu_protocol *p)
{
    for (size_t i = 0; i < registered_n; i++) {
        if (strcmp(registered[i]->name, p->name) == 0) {
            registered[i] =
                p; /* a module loaded anew by the next generation of the configuration */
            return;
        }
    }
    assert(registered_n < MAX_PROTOCOLS);
    registered[registered_n++] = p;
}

const struct mu_protocol *mu_protocol_find(struct mu_str name)
{
    for (size_t i = 0; i < registered_n; i++) {
        if (mu_str_ieq(name, mu_str_c(registered[i]->name)))
            return registered[i];
    }
    return &mu_protocol_http1;
}
