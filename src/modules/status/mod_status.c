/* mod_status: "SetHandler server-status" shows the live state of the server, for people or (?auto) for programs.
 *
 * It reads the scoreboard alone, so it costs the other workers nothing.
 */
#include "status.h"

extern struct mu_module mu_module_status;

static struct status_options parse_options(struct mu_str query)
{
    struct status_options o = { .is_auto = false };
    struct mu_str opt;

    while (mu_str_split(&query, '&', &opt)) {
        if (mu_str_eq(opt, MU_S("auto")))
            o.is_auto = true;
        else if (mu_str_eq(opt, MU_S("notable")))
            o.is_no_table = true;
        else if (mu_str_eq(opt, MU_S("refresh")))
            o.refresh_s = 10;
        else if (mu_str_starts(opt, MU_S("refresh=")) &&
                 !mu_str_u64(mu_str_sub(opt, 8, opt.n), &o.refresh_s))
            o.refresh_s = 10;
    }
    return o;
}

static enum mu_status status(struct mu_req *r, const void *conf)
{
    struct status_options o = parse_options(r->query);
    struct mu_server_view v;
    struct mu_buf b = { 0 };
    enum mu_status s;

    (void)conf;
    mu_server_view(&v);
    if (o.refresh_s)
        mu_resp_set(r, MU_S("Refresh"), mu_fmt(r->arena, "%llu", (unsigned long long)o.refresh_s));
    mu_resp_type(r, o.is_auto ? MU_S("text/plain; charset=ISO-8859-1")
                              : MU_S("text/html; charset=utf-8"));
    if (o.is_auto)
        status_machine(r, &v, &b);
    else
        status_html(r, &v, &o, &b);
    s = b.is_failed ? MU_503_SERVICE_UNAVAILABLE
                    : mu_resp_send(r, MU_200_OK, mu_str_dup(r->arena, mu_buf_str(&b)));
    mu_buf_fini(&b);
    return s;
}

MU_MODULE(status,
          .handlers = MU_HANDLERS({ "server-status", status, MU_GET | MU_HEAD, false, false }));
