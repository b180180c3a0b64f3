/* mod_reqtimeout: RequestReadTimeout, how slowly a request may arrive. The protocol code does the timing. */
#include <muster/module.h>

extern struct mu_module mu_module_reqtimeout;

struct reqtimeout_conf {
    struct mu_read_timeouts t;
    bool has_header, has_body; /**< written in this scope */
};

/* "20" or "20-40", in seconds. */
static bool parse_range(struct mu_str s, int64_t *first_ms, int64_t *max_ms, bool *has_max)
{
    ssize_t dash = mu_str_chr(s, '-');
    uint64_t lo, hi = 0;

    if (!mu_str_u64(dash < 0 ? s : mu_str_sub(s, 0, (size_t)dash), &lo) || lo > 1000000)
        return false;
    *has_max = dash >= 0;
    if (*has_max &&
        (!mu_str_u64(mu_str_sub(s, (size_t)dash + 1, s.n), &hi) || hi < lo || hi > 1000000))
        return false;
    *first_ms = (int64_t)lo * 1000;
    *max_ms = (int64_t)hi * 1000;
    return true;
}

/* "header=20-40,MinRate=500" */
static enum mu_rc set_stage(struct mu_cmd *cmd, struct reqtimeout_conf *c, struct mu_str arg)
{
    ssize_t eq = mu_str_chr(arg, '=');
    struct mu_str rest, range, opt, name = mu_str_sub(arg, 0, eq < 0 ? arg.n : (size_t)eq);
    int64_t first, most;
    uint64_t rate = 0;
    bool has_max;

    if (eq < 0)
        return mu_cmd_error(cmd, "found '%.*s', expected header=…, body=… or handshake=…",
                            MU_FMT(arg));
    rest = mu_str_sub(arg, (size_t)eq + 1, arg.n);
    if (!mu_str_split(&rest, ',', &range) || !parse_range(range, &first, &most, &has_max))
        return mu_cmd_error(cmd, "found '%.*s', expected seconds such as 20 or 20-40",
                            MU_FMT(range));
    while (mu_str_split(&rest, ',', &opt)) {
        if (!mu_str_istarts(opt, MU_S("MinRate=")) ||
            !mu_str_u64(mu_str_sub(opt, 8, opt.n), &rate) || rate == 0 || rate > UINT32_MAX)
            return mu_cmd_error(cmd, "found '%.*s', expected MinRate=<bytes a second>",
                                MU_FMT(opt));
    }
    if (has_max && !rate)
        return mu_cmd_error(cmd, "a range of seconds needs MinRate");
    if (mu_str_ieq(name, MU_S("header"))) {
        c->t.header_ms = first;
        c->t.header_max_ms = most;
        c->t.header_rate = (uint32_t)rate;
        c->has_header = true;
    } else if (mu_str_ieq(name, MU_S("body"))) {
        c->t.body_ms = first;
        c->t.body_max_ms = most;
        c->t.body_rate = (uint32_t)rate;
        c->has_body = true;
    } else if (!mu_str_ieq(name, MU_S("handshake"))) {
        return mu_cmd_error(cmd, "found '%.*s', the stages are handshake, header and body",
                            MU_FMT(name));
    }
    return MU_OK;
}

static void init(void *conf)
{
    *(struct reqtimeout_conf *)conf = (struct reqtimeout_conf){
        .t = { .header_ms = 20000,
               .header_max_ms = 40000,
               .header_rate = 500,
               .body_ms = 20000,
               .body_rate = 500 },
    };
}

static enum mu_rc set_timeouts(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (set_stage(cmd, conf, args[i]) != MU_OK)
            return MU_BAD;
    }
    return MU_OK;
}

static enum mu_rc merge(struct mu_arena *a, const void *base, const void *over, void *out)
{
    const struct reqtimeout_conf *o = over;
    struct reqtimeout_conf *c = out;

    (void)a;
    (void)base;
    if (o->has_header) {
        c->t.header_ms = o->t.header_ms;
        c->t.header_max_ms = o->t.header_max_ms;
        c->t.header_rate = o->t.header_rate;
    }
    if (o->has_body) {
        c->t.body_ms = o->t.body_ms;
        c->t.body_max_ms = o->t.body_max_ms;
        c->t.body_rate = o->t.body_rate;
    }
    return MU_OK;
}

static const struct mu_read_timeouts *timeouts(const void *conf)
{
    return &((const struct reqtimeout_conf *)conf)->t;
}

static const struct mu_directive directives[] = {
    MU_DIR_CALL(
        "RequestReadTimeout", MU_IN_SERVER, 1, 3, set_timeouts,
        "header=20-40,MinRate=500 body=20,MinRate=500: seconds, their extension, bytes a second"),
    MU_DIR_END
};

MU_MODULE(reqtimeout, .conf_size = sizeof(struct reqtimeout_conf), .directives = directives,
          .init = init, .merge = merge, .read_timeouts = timeouts);
