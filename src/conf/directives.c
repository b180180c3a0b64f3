/*
 * directives: one occurrence of a typed directive, from its words to the field of a block. The
 * table row says all there is to check; what a module checks itself it checks in its set().
 */
#include <muster/str.h>

#include <stdio.h>

#include "conf/lexer.h"
#include "conf/priv.h"

bool mu_parse_flag(struct mu_str s, bool *out)
{
    *out = mu_str_ieq(s, MU_S("on"));
    return *out || mu_str_ieq(s, MU_S("off"));
}

bool mu_parse_duration_ms(struct mu_str s, int64_t default_unit_ms, int64_t *out)
{
    static const struct {
        struct mu_str suffix;
        int64_t ms;
    } units[] = {
        { MU_S("ms"), 1 },      { MU_S("s"), 1000 },        { MU_S("mi"), 60000 },
        { MU_S("min"), 60000 }, { MU_S("h"), 3600 * 1000 },
    };
    size_t digits = 0;
    int64_t unit = default_unit_ms;
    int64_t v;

    while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
        digits++;
    if (digits < s.n) {
        struct mu_str suffix = mu_str_sub(s, digits, s.n);

        unit = 0;
        for (size_t i = 0; i < MU_ARRAY_LEN(units); i++)
            if (mu_str_ieq(units[i].suffix, suffix))
                unit = units[i].ms;
    }
    return unit && mu_str_i64(mu_str_sub(s, 0, digits), &v) &&
           !__builtin_mul_overflow(v, unit, out);
}

struct mu_str mu_cmd_path(struct mu_cmd *cmd, struct mu_str path)
{
    return mu_conf_path(cmd->config, path);
}

/* ---- the kinds ---- */

static enum mu_rc nomem(struct mu_cmd *cmd)
{
    return mu_conf_nomem(cmd->config);
}

static enum mu_rc set_flag(struct mu_cmd *cmd, void *field, struct mu_str arg)
{
    if (mu_parse_flag(arg, field))
        return MU_OK;
    return mu_cmd_error(cmd, "%s must be On or Off, but \"%.*s\" was found", cmd->directive->name,
                        MU_FMT(arg));
}

static enum mu_rc set_int(struct mu_cmd *cmd, int64_t *field, struct mu_str arg)
{
    const struct mu_directive *d = cmd->directive;

    if (mu_str_i64(arg, field) && *field >= d->min && *field <= d->max)
        return MU_OK;
    return mu_cmd_error(cmd, "%s must be a number from %lld to %lld, but \"%.*s\" was found",
                        d->name, (long long)d->min, (long long)d->max, MU_FMT(arg));
}

static enum mu_rc set_duration(struct mu_cmd *cmd, int64_t *field, struct mu_str arg)
{
    const struct mu_directive *d = cmd->directive;

    if (!mu_parse_duration_ms(arg, 1000, field))
        return mu_cmd_error(
            cmd,
            "%s must be a time in seconds, or with a unit (ms, s, min, h), but \"%.*s\" "
            "was found",
            d->name, MU_FMT(arg));
    if (*field >= d->min && *field <= d->max)
        return MU_OK;
    return mu_cmd_error(cmd, "%s must be from %lld to %lld ms, but \"%.*s\" was found", d->name,
                        (long long)d->min, (long long)d->max, MU_FMT(arg));
}

static enum mu_rc set_enum(struct mu_cmd *cmd, int *field, struct mu_str arg)
{
    struct mu_buf allowed = { 0 };

    for (const struct mu_enum_name *e = cmd->directive->names; e->name; e++) {
        if (mu_str_ieq(mu_str_c(e->name), arg)) {
            *field = e->value;
            mu_buf_fini(&allowed);
            return MU_OK;
        }
        mu_buf_addf(&allowed, "%s%s", allowed.n ? " | " : "", e->name);
    }
    mu_cmd_error(cmd, "%s must be one of %.*s, but \"%.*s\" was found", cmd->directive->name,
                 MU_FMT(mu_buf_str(&allowed)), MU_FMT(arg));
    mu_buf_fini(&allowed);
    return MU_BAD;
}

static enum mu_rc set_list(struct mu_cmd *cmd, struct mu_strs *list, const struct mu_strs *w)
{
    struct mu_str *v = mu_new_n(cmd->arena, struct mu_str, list->n + w->n);

    if (!v)
        return nomem(cmd);
    if (list->n)
        memcpy(v, list->v, list->n * sizeof(*v));
    memcpy(v + list->n, w->v, w->n * sizeof(*v));
    list->v = v;
    list->n += w->n;
    return MU_OK;
}

static enum mu_rc set_one(struct mu_cmd *cmd, void *field, struct mu_str arg)
{
    struct mu_str *str = field;

    switch (cmd->directive->kind) {
    case MU_K_FLAG:
        return set_flag(cmd, field, arg);
    case MU_K_INT:
        return set_int(cmd, field, arg);
    case MU_K_DURATION:
        return set_duration(cmd, field, arg);
    case MU_K_ENUM:
        return set_enum(cmd, field, arg);
    case MU_K_PATH:
        *str = mu_cmd_path(cmd, arg);
        return str->p ? MU_OK : nomem(cmd);
    default:
        *str = arg;
        return MU_OK;
    }
}

/* ---- arity and context ---- */

static bool has_right_count(struct mu_cmd *cmd, const struct mu_strs *w)
{
    const struct mu_directive *d = cmd->directive;
    bool is_single = d->kind != MU_K_CUSTOM && d->kind != MU_K_LIST;
    int min = d->kind == MU_K_CUSTOM ? d->min_args : 1;
    int max = is_single ? 1 : d->kind == MU_K_LIST ? -1 : d->max_args;
    char want[64];

    if (w->n >= (size_t)min && (max < 0 || w->n <= (size_t)max) && !(is_single && w->v[0].n == 0))
        return true;
    if (d->kind == MU_K_FLAG) {
        mu_cmd_error(cmd, "%s must be On or Off, but %s was found", d->name,
                     w->n > 1 ? "more than one argument" : "nothing");
        return false;
    }
    if (max == 0)
        snprintf(want, sizeof(want), "takes no arguments");
    else if (max < 0)
        snprintf(want, sizeof(want), "requires at least %s argument%s",
                 min == 1   ? "one"
                 : min == 2 ? "two"
                            : "three",
                 min == 1 ? "" : "s");
    else if (min == max && max <= 3)
        snprintf(want, sizeof(want), "takes %s argument%s",
                 max == 1   ? "one"
                 : max == 2 ? "two"
                            : "three",
                 max == 1 ? "" : "s");
    else
        snprintf(want, sizeof(want), "takes %d-%d arguments", min, max);
    mu_cmd_error(cmd, "%s %s, %s (found: %zu)", d->name, want, d->help ? d->help : "", w->n);
    return false;
}

static const char *allowed_where(unsigned where)
{
    switch (where & (MU_IN_SERVER | MU_IN_DIR)) {
    case MU_IN_GLOBAL:
        return "outside all sections";
    case MU_IN_VHOST:
        return "in <VirtualHost>";
    case MU_IN_SERVER:
        return "outside all sections and in <VirtualHost>";
    case MU_IN_DIR:
        return "in <Directory>, <Files> and <Location>";
    case MU_IN_GLOBAL | MU_IN_DIR:
        return "outside all sections and in <Directory>, <Files> and <Location>";
    case MU_IN_VHOST | MU_IN_DIR:
        return "in <VirtualHost>, <Directory>, <Files> and <Location>";
    default:
        return "everywhere";
    }
}

static bool may_stand_here(struct mu_cmd *cmd, const struct mu_scope *s)
{
    const struct mu_directive *d = cmd->directive;
    const char *gt = d->name[0] == '<' ? ">" : "";

    if (d->where & s->where)
        return true;
    if (s->where == MU_IN_VHOST && (d->where & MU_IN_GLOBAL))
        mu_cmd_error(cmd, "%s%s cannot occur within <VirtualHost> section; it is allowed %s",
                     d->name, gt, allowed_where(d->where));
    else if (s->where == MU_IN_DIR)
        mu_cmd_error(cmd, "%s%s not allowed in %.*s> context; it is allowed %s", d->name, gt,
                     MU_FMT(s->section_name), allowed_where(d->where));
    else
        mu_cmd_error(cmd, "%s%s not allowed here; it is allowed %s", d->name, gt,
                     allowed_where(d->where));
    return false;
}

/* ---- Listen and Error ---- */

/* The port of "[::1]:80", "192.0.2.1:80" or "80"; *host is what stands before it, empty for "*". */
static const char *split_listen(struct mu_str s, struct mu_str *host, uint64_t *port)
{
    ssize_t colon = mu_str_rchr(s, ':');
    struct mu_str number = s;

    *host = MU_S("");
    if (colon >= 0 && !mu_str_ends(s, MU_S("]"))) {
        *host = mu_str_sub(s, 0, (size_t)colon);
        number = mu_str_sub(s, (size_t)colon + 1, s.n);
        if (host->n == 0 || (mu_str_chr(*host, ':') >= 0 && host->p[0] != '['))
            return "Invalid address or port";
    }
    if (mu_str_eq(*host, MU_S("*")))
        *host = MU_S("");
    if (!mu_str_u64(number, port))
        return "Port must be specified";
    return *port < 1 || *port > 65535 ? "Invalid address or port" : NULL;
}

static const struct mu_listen_spec *same_listen(const struct mu_config *c, struct mu_str host,
                                                uint64_t port)
{
    for (size_t i = 0; i < c->listens_n; i++) {
        struct mu_str other;
        uint64_t other_port;

        if (!split_listen(c->listens[i].text, &other, &other_port) && port == other_port &&
            mu_str_ieq(host, other))
            return &c->listens[i];
    }
    return NULL;
}

static void add_listen(struct mu_config *c, const struct mu_listen_spec *spec)
{
    struct mu_listen_spec *v = mu_new_n(c->arena, struct mu_listen_spec, c->listens_n + 1);

    if (!v) {
        mu_conf_nomem(c);
        return;
    }
    if (c->listens_n)
        memcpy(v, c->listens, c->listens_n * sizeof(*v));
    v[c->listens_n++] = *spec;
    c->listens = v;
}

static void apply_listen(struct mu_cmd *cmd, struct mu_str args)
{
    const struct mu_listen_spec *same;
    const char *why;
    struct mu_strs w;
    struct mu_str host;
    uint64_t port;

    if (mu_words(cmd->arena, args, &w) != MU_OK) {
        nomem(cmd);
        return;
    }
    if (w.n < 1 || w.n > 2) {
        mu_cmd_error(cmd, "Listen takes 1-2 arguments, %s (found: %zu)", cmd->directive->help, w.n);
        return;
    }
    why = split_listen(w.v[0], &host, &port);
    if (why) {
        mu_cmd_error(
            cmd, "Listen: %s in \"%.*s\"; allowed are port, address:port and [IPv6 address]:port",
            why, MU_FMT(w.v[0]));
        return;
    }
    same = same_listen(cmd->config, host, port);
    if (same)
        mu_cmd_error(
            cmd,
            "Cannot define multiple Listeners on the same IP:port (%.*s stands on line %u of %.*s)",
            MU_FMT(same->text), same->line, MU_FMT(same->file));
    else
        add_listen(cmd->config,
                   &(struct mu_listen_spec){ .text = w.v[0],
                                             .line = cmd->line,
                                             .file = cmd->file,
                                             .protocol = w.n > 1 ? w.v[1] : MU_STR_NULL });
}

static void apply_own(struct mu_cmd *cmd, struct mu_str args)
{
    struct mu_str word;

    if (strcmp(cmd->directive->name, "Listen") == 0) {
        apply_listen(cmd, args);
        return;
    }
    /* Error: one quoted string, or the line as it is */
    if (args.n && (args.p[0] == '"' || args.p[0] == '\'') && mu_word_next(cmd->arena, &args, &word))
        args = word;
    mu_cmd_error(cmd, "%.*s", MU_FMT(args));
}

/* ---- all kinds ---- */

static enum mu_rc set_custom(struct mu_cmd *cmd, void *block, const struct mu_strs *w)
{
    uint32_t errors = cmd->config->errors;
    enum mu_rc rc = cmd->directive->set(cmd, block, w->v, w->n);

    if (rc == MU_NOMEM)
        nomem(cmd);
    else if (rc != MU_OK && cmd->config->errors == errors)
        mu_cmd_error(cmd, "%s: these arguments cannot be used; %s", cmd->directive->name,
                     cmd->directive->help);
    return rc;
}

static void set_field(struct mu_cmd *cmd, const struct mu_known *k, const struct mu_scope *s,
                      const struct mu_strs *w)
{
    const struct mu_directive *d = k->directive;
    char *block = k->block ? k->block : mu_block_get(cmd->config, s->blocks, k->module);
    enum mu_rc rc;

    if (!block)
        return;
    if (d->kind == MU_K_CUSTOM || d->kind == MU_K_RAW)
        rc = set_custom(cmd, block, w);
    else if (d->kind == MU_K_LIST)
        rc = set_list(cmd, (struct mu_strs *)(void *)(block + d->offset), w);
    else
        rc = set_one(cmd, block + d->offset, w->v[0]);
    if (rc == MU_OK && !k->block)
        mu_block_mark(block, k->module, d);
}

void mu_apply_directive(struct mu_config *c, const struct mu_node *n, const struct mu_known *k,
                        const struct mu_scope *s, void **inner_conf)
{
    const struct mu_directive *d = k->directive;
    struct mu_cmd cmd = {
        .directive = d,
        .arena = c->arena,
        .config = c,
        .vhost = s->vhost,
        .file = n->file,
        .line = n->line,
        .where = s->where,
        .methods = s->methods,
        .section = s->section ? s->section->pattern : MU_STR_NULL,
        .section_is_location = s->section && (s->section->kind == MU_SEC_LOCATION ||
                                              s->section->kind == MU_SEC_LOCATION_MATCH),
        .inner_conf = inner_conf ? *inner_conf : NULL,
    };
    struct mu_strs args = { NULL, 0 };
    struct mu_str raw = n->args;

    if (d->kind == MU_K_REFUSED) {
        mu_cmd_error(&cmd, "%s%s is not in this version of Muster: %s", d->name,
                     d->name[0] == '<' ? ">" : "", d->help);
        return;
    }
    if ((!k->block && !may_stand_here(&cmd, s)) || d->kind == MU_K_IGNORED)
        return;
    if (!k->module) {
        apply_own(&cmd, raw);
        return;
    }
    if (d->kind != MU_K_RAW && mu_words(c->arena, raw, &args) != MU_OK) {
        mu_conf_nomem(c);
        return;
    }
    if (d->kind == MU_K_RAW)
        args = (struct mu_strs){ &raw, 1 };
    if (d->kind == MU_K_RAW || has_right_count(&cmd, &args))
        set_field(&cmd, k, s, &args);
    if (inner_conf)
        *inner_conf = cmd.inner_conf;
}
