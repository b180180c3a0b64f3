/*
 * report: what goes wrong, in words. While a configuration is loaded messages are gathered, so that
 * a reading that starts again leaves none behind and all errors come in one go; afterwards they go
 * out at once. The first line has httpd's form ("Syntax error on line 3 of /etc/x.conf:"), which
 * scripts look for.
 */
#include <muster/str.h>

#include <stdio.h>
#include <stdlib.h>

#include "conf/priv.h"

struct message {
    bool is_error;
    const char *text;
};

static void deliver(const struct mu_config *c, bool is_error, const char *text)
{
    if (c->priv->report)
        c->priv->report(c->priv->report_arg, is_error, text);
    else
        fprintf(stderr, "%s\n", text);
}

static void gather(struct mu_config *c, bool is_error, const char *text)
{
    struct message *m = mu_new(c->arena, struct message);

    if (!m || !(m->text = mu_cstr(c->arena, mu_str_c(text)))) {
        c->priv->is_out_of_memory = true;
        return;
    }
    m->is_error = is_error;
    if (mu_vec_push(c->arena, &c->priv->messages, m) != MU_OK)
        c->priv->is_out_of_memory = true;
}

static void add_place(struct mu_buf *b, bool is_error, struct mu_str file, unsigned line)
{
    const char *what = is_error ? "Syntax error" : "Warning";

    if (!file.p)
        mu_buf_addf(b, is_error ? "muster: " : "muster: warning: ");
    else if (line)
        mu_buf_addf(b, "muster: %s on line %u of %.*s:\n", what, line, MU_FMT(file));
    else
        mu_buf_addf(b, "muster: %s in %.*s:\n", what, MU_FMT(file));
}

void mu_conf_vreport(struct mu_config *c, bool is_error, struct mu_str file, unsigned line,
                     const char *fmt, va_list ap)
{
    struct mu_buf b = { 0 };
    char *text = NULL;

    if (is_error)
        c->errors++;
    else
        c->warnings++;
    if (vasprintf(&text, fmt, ap) < 0)
        text = NULL;
    add_place(&b, is_error, file, line);
    mu_buf_add(&b, mu_str_c(text));
    mu_buf_addc(&b, '\0');
    free(text);
    if (!text || b.is_failed)
        c->priv->is_out_of_memory = true;
    else if (c->priv->is_published)
        deliver(c, is_error, b.p);
    else
        gather(c, is_error, b.p);
    mu_buf_fini(&b);
}

void mu_conf_error(struct mu_config *c, struct mu_str file, unsigned line, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    mu_conf_vreport(c, true, file, line, fmt, ap);
    va_end(ap);
}

void mu_conf_warn(struct mu_config *c, struct mu_str file, unsigned line, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    mu_conf_vreport(c, false, file, line, fmt, ap);
    va_end(ap);
}

enum mu_rc mu_conf_nomem(struct mu_config *c)
{
    c->priv->is_out_of_memory = true;
    return MU_NOMEM;
}

void mu_conf_report_flush(struct mu_config *c)
{
    struct mu_config_priv *p = c->priv;

    for (size_t i = 0; i < p->messages.n; i++) {
        const struct message *m = p->messages.v[i];

        deliver(c, m->is_error, m->text);
    }
    p->messages.n = 0;
    p->is_published = true;
    if (p->is_out_of_memory)
        deliver(c, true, "muster: out of memory while reading the configuration");
}

enum mu_rc mu_cmd_error(struct mu_cmd *cmd, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    mu_conf_vreport(cmd->config, true, cmd->file, cmd->line, fmt, ap);
    va_end(ap);
    return MU_BAD;
}

void mu_cmd_warn(struct mu_cmd *cmd, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    mu_conf_vreport(cmd->config, false, cmd->file, cmd->line, fmt, ap);
    va_end(ap);
}

enum mu_rc mu_config_error(struct mu_config *config, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    mu_conf_vreport(config, true, MU_STR_NULL, 0, fmt, ap);
    va_end(ap);
    return MU_BAD;
}

void mu_config_warn(struct mu_config *config, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    mu_conf_vreport(config, false, MU_STR_NULL, 0, fmt, ap);
    va_end(ap);
}
