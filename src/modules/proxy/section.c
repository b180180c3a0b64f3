/*
 * section: <Proxy> and <ProxyMatch>. Two things can stand in one: parameters of the backend it names (ProxySet), and
 * whether backends that its pattern fits may be asked at all. Any other restriction is refused: it belongs into a
 * <Location>, and to pass it over would open what it was to close.
 */
#include "proxy.h"

/** What a section with access control says. */
struct proxy_rule {
    struct mu_str pattern; /**< "fcgi://…", without unix:, or with wildcards */
    struct mu_regex *regex;
    bool is_wild, is_denied;
};

/** A section while it is read. */
struct section {
    struct proxy_conf *conf;
    struct proxy_worker *worker; /**< NULL: a pattern */
    struct proxy_rule rule;
    bool has_access;
    bool is_order_set, is_allow_last, allows_all, denies_all; /* Order, Allow, Deny */
    bool is_old;                                              /* one of these was there */
};

static bool is_wild(struct mu_str s)
{
    return mu_str_chr(s, '*') >= 0 || mu_str_chr(s, '?') >= 0;
}

static enum mu_rc open_pattern(struct mu_cmd *cmd, struct section *s, struct mu_str pattern,
                               bool is_regex)
{
    struct mu_str err;

    s->rule.pattern = pattern;
    s->rule.is_wild = !is_regex;
    if (!is_regex)
        return MU_OK;
    s->rule.regex = mu_regex_compile(cmd->arena, pattern, 0, &err);
    if (!s->rule.regex)
        return mu_cmd_error(cmd, "the regular expression '%.*s' does not compile: %.*s",
                            MU_FMT(pattern), MU_FMT(err));
    return MU_OK;
}

/* The address of a backend, and parameters. */
static enum mu_rc open_worker(struct mu_cmd *cmd, struct section *s, const struct mu_str *args,
                              size_t n)
{
    struct proxy_url url;
    const char *wrong = proxy_url_parse(cmd->arena, args[0], &url);
    bool is_new;

    if (!wrong && url.scheme == PROXY_POOL)
        wrong = "a pool is described by its <ApplicationPool>";
    if (!wrong)
        wrong = proxy_scheme_complaint(&url);
    if (wrong)
        return mu_cmd_error(cmd, "'%.*s': %s", MU_FMT(args[0]), wrong);
    s->worker = proxy_worker_get(cmd, &s->conf->workers, &url, &is_new);
    s->rule.pattern = mu_str_cat(cmd->arena, proxy_url_base(cmd->arena, &url), url.path);
    if (!s->worker || !s->rule.pattern.p)
        return MU_NOMEM;
    for (size_t i = 1; i < n; i++)
        if (proxy_param_set(cmd, &s->worker->p, args[i]) != MU_OK)
            return MU_BAD;
    return MU_OK;
}

enum mu_rc proxy_section_open(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct section *s = mu_new(cmd->arena, struct section);
    bool is_regex = mu_str_ieq(mu_str_c(cmd->directive->name), MU_S("<ProxyMatch"));

    if (!s)
        return MU_NOMEM;
    if (!is_regex && n == 2 && mu_str_eq(args[0], MU_S("~"))) {
        is_regex = true;
        args++;
        n--;
    }
    s->conf = conf;
    cmd->inner_conf = s;
    if (!is_regex && !is_wild(args[0]))
        return open_worker(cmd, s, args, n);
    if (n != 1)
        return mu_cmd_error(cmd,
                            "found '%.*s' behind a pattern; parameters are those of one backend",
                            MU_FMT(args[1]));
    return open_pattern(cmd, s, args[0], is_regex);
}

enum mu_rc proxy_section_close(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct section *s = cmd->inner_conf;
    struct proxy_conf *c = conf;
    const struct proxy_rule **v;

    (void)args;
    (void)n;
    if (!s->has_access && !s->is_old)
        return MU_OK;
    if (s->is_old && (s->is_allow_last || !s->is_order_set))
        s->rule.is_denied |= s->denies_all && !s->allows_all;
    else if (s->is_old)
        s->rule.is_denied |= s->denies_all || !s->allows_all;
    v = mu_new_n(cmd->arena, const struct proxy_rule *, c->rules.n + 1);
    if (!v)
        return MU_NOMEM;
    if (c->rules.n)
        memcpy(v, c->rules.v, c->rules.n * sizeof(*v));
    v[c->rules.n++] = &s->rule;
    c->rules.v = v;
    return MU_OK;
}

/* ---- what may stand in one ---- */

static enum mu_rc set_params(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct section *s = conf;

    if (!s->worker)
        return mu_cmd_error(cmd,
                            "ProxySet needs a <Proxy> that names one backend, without a pattern");
    for (size_t i = 0; i < n; i++)
        if (proxy_param_set(cmd, &s->worker->p, args[i]) != MU_OK)
            return MU_BAD;
    return MU_OK;
}

#define CANNOT                                                                                     \
    "in <Proxy> all can be granted or denied, nothing else; put the restriction into a <Location>"

static enum mu_rc set_require(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct section *s = conf;
    bool is_granted = n == 2 && mu_str_ieq(args[1], MU_S("granted"));

    if (n != 2 || !mu_str_ieq(args[0], MU_S("all")) ||
        (!is_granted && !mu_str_ieq(args[1], MU_S("denied"))))
        return mu_cmd_error(cmd, CANNOT);
    s->has_access = true;
    s->rule.is_denied = !is_granted;
    return MU_OK;
}

static enum mu_rc set_order(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct section *s = conf;

    (void)n;
    s->is_allow_last = mu_str_ieq(args[0], MU_S("deny,allow"));
    if (!s->is_allow_last && !mu_str_ieq(args[0], MU_S("allow,deny")))
        return mu_cmd_error(cmd, "found '%.*s', expected deny,allow or allow,deny",
                            MU_FMT(args[0]));
    s->is_order_set = s->is_old = true;
    return MU_OK;
}

static enum mu_rc set_allow(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct section *s = conf;

    if (n != 2 || !mu_str_ieq(args[0], MU_S("from")) || !mu_str_ieq(args[1], MU_S("all")))
        return mu_cmd_error(cmd, CANNOT);
    s->is_old = true;
    if (mu_str_ieq(mu_str_c(cmd->directive->name), MU_S("Deny")))
        s->denies_all = true;
    else
        s->allows_all = true;
    return MU_OK;
}

static enum mu_rc set_charset(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    (void)conf;
    (void)n;
    return mu_str_ieq(args[0], MU_S("off"))
               ? MU_OK
               : mu_cmd_error(cmd, "only Off can be said in <Proxy>; put it into a <Location>");
}

#define ELSEWHERE "it cannot be carried out in <Proxy>; put it into a <Location>"
const struct mu_directive proxy_section_rows[] = {
    MU_DIR_CALL("ProxySet", MU_IN_SERVER, 1, -1, set_params, "parameters of the backend"),
    MU_DIR_CALL("Require", MU_IN_SERVER, 1, -1, set_require, "all granted or all denied"),
    MU_DIR_CALL("Order", MU_IN_SERVER, 1, 1, set_order, "deny,allow or allow,deny"),
    MU_DIR_CALL("Allow", MU_IN_SERVER, 1, -1, set_allow, "from all"),
    MU_DIR_CALL("Deny", MU_IN_SERVER, 1, -1, set_allow, "from all"),
    MU_DIR_CALL("AddDefaultCharset", MU_IN_SERVER, 1, 1, set_charset, "Off"),
    MU_DIR_REFUSED("AuthType", MU_IN_SERVER, ELSEWHERE),
    MU_DIR_REFUSED("AuthName", MU_IN_SERVER, ELSEWHERE),
    MU_DIR_REFUSED("AuthUserFile", MU_IN_SERVER, ELSEWHERE),
    MU_DIR_REFUSED("Satisfy", MU_IN_SERVER, ELSEWHERE),
    MU_DIR_REFUSED("BalancerMember", MU_IN_SERVER, "balancers come with a later version"),
    MU_DIR_END
};

/* ---- requests ---- */

static bool fits(const struct proxy_rule *rule, struct mu_str url)
{
    if (rule->regex)
        return mu_regex_match(rule->regex, url, &(struct mu_match){ 0 }) == MU_OK;
    return rule->is_wild ? mu_str_wild(url, rule->pattern, false)
                         : mu_str_starts(url, rule->pattern);
}

bool proxy_is_denied(const struct proxy_rules *rules, struct mu_str url)
{
    bool is_denied = false;

    for (size_t i = 0; i < rules->n; i++)
        if (fits(rules->v[i], url))
            is_denied = rules->v[i]->is_denied;
    return is_denied;
}
