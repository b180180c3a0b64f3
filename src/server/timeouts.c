/*
 * timeouts: how slowly a request may arrive. RequestReadTimeout's limits come from whichever module
 * has them (mod_reqtimeout) and grow with the bytes received; deadlines are worked out when a timer
 * strikes, so that receiving costs nothing.
 */
#include <server/conn_internal.h>

const struct mu_read_timeouts *mu_conn_read_timeouts(struct mu_conn *c, const struct mu_vhost *v)
{
    const struct mu_host_priv *p = mu_host_priv(c->host);

    for (size_t i = 0; i < p->read_limiters_n; i++) {
        const struct mu_module *m = p->read_limiters[i];
        const struct mu_read_timeouts *t = m->read_timeouts(v->base->v[m->index]);

        if (t)
            return t;
    }
    return NULL;
}

int64_t mu_rate_limit_ms(int64_t first_ms, int64_t max_ms, uint32_t rate, uint64_t bytes)
{
    int64_t limit = first_ms;

    if (rate > 0)
        limit += (int64_t)(bytes < (UINT64_C(1) << 40) ? bytes * 1000 / rate : INT64_MAX / 2);
    return max_ms > 0 && limit > max_ms ? max_ms : limit;
}
