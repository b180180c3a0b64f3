/*
 * fcgi_php: php_value and its kin for php-fpm, as the parameters PHP_VALUE and PHP_ADMIN_VALUE: lines of an ini file.
 *
 * php-fpm never takes such a value back: its process keeps it for whatever request it serves next (PHP's bug 53611). So
 * where some place of the configuration sets a name and the place of this request does not, it is sent all the same, with the
 * value of php.ini: "name=${name}", which PHP looks up there, and in the parameters of the request if php.ini does not
 * say. What PHP itself has built in is therefore sent as a parameter of that name.
 */
#include "fcgi_talk.h"

#include <muster/module.h>
#include <muster/str.h>

/* These cannot be taken back at all. */
static const struct mu_str for_good[] = { MU_S("disable_functions"), MU_S("disable_classes"),
                                          MU_S("extension"), MU_S("zend_extension") };

static bool is_name(struct mu_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = mu_lower(s.p[i]);

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_' && c != '.' && c != '-')
            return false;
    }
    return s.n > 0;
}

/* The quote that keeps `s` as it is in an ini file; 0: there is none. */
static char quote_for(struct mu_str s)
{
    bool has_single = false, has_other = false;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\n' || s.p[i] == '\r' || s.p[i] == 0)
            return 0;
        has_single |= s.p[i] == '\'';
        has_other |= s.p[i] == '"' || s.p[i] == '\\' || s.p[i] == '$';
    }
    if (!has_single)
        return '\'';
    return has_other ? 0 : '"';
}

static enum mu_rc refuse(struct mu_req *r, const struct mu_php_value *v, const char *why)
{
    MU_LOG(&r->log, "proxy_fcgi", MU_LOG_ERR, "MU1420",
           "php_value '%.*s' cannot be sent to PHP: %s", MU_FMT(v->name), why);
    return MU_BAD;
}

static enum mu_rc put_value(struct mu_req *r, struct mu_buf *b, const struct mu_php_value *v)
{
    char quote = quote_for(v->value);

    if (!is_name(v->name))
        return refuse(r, v, "that is no name of a setting");
    for (size_t i = 0; i < MU_ARRAY_LEN(for_good); i++)
        if (mu_str_ieq(v->name, for_good[i]))
            return refuse(r, v,
                          "php-fpm would keep it for all requests to come, whoever they are for; "
                          "set it in the file of its pool");
    if (!quote)
        return refuse(r, v, "its value has a line end, or quotes of both kinds");
    mu_buf_addf(b, "%.*s=%c%.*s%c\n", MU_FMT(v->name), quote, MU_FMT(v->value), quote);
    return MU_OK;
}

static bool is_set_here(const struct mu_php_value *v, size_t n, struct mu_str name)
{
    for (size_t i = 0; i < n; i++)
        if (mu_str_eq(v[i].name, name))
            return true;
    return false;
}

static enum mu_rc offer_built_in(struct mu_cgi_env *env, struct mu_str name)
{
    struct mu_str value = mu_php_default(name);

    return value.p ? mu_cgi_env_set(env, name, value) : MU_OK;
}

/* Whatever an earlier request may have left in the process. */
static enum mu_rc put_others(struct mu_req *r, struct mu_cgi_env *env, struct mu_buf *b)
{
    size_t n, names_n;
    const struct mu_php_value *v = mu_req_php_values(r, &n);
    const struct mu_str *names = mu_php_names(r->vhost, &names_n);
    enum mu_rc rc = MU_OK;

    for (size_t i = 0; i < names_n && rc == MU_OK; i++) {
        if (is_set_here(v, n, names[i]) || !is_name(names[i]))
            continue;
        mu_buf_addf(b, "%.*s=\"${%.*s}\"\n", MU_FMT(names[i]), MU_FMT(names[i]));
        rc = offer_built_in(env, names[i]);
    }
    return rc;
}

/* Behind what SetEnv says: the last one of a name counts. */
static enum mu_rc set_lines(struct mu_cgi_env *env, struct mu_str name, struct mu_buf *b)
{
    struct mu_str before = mu_cgi_env_get(env, name), text;

    if (b->is_failed)
        return MU_NOMEM;
    if (b->n == 0)
        return MU_OK;
    text = mu_str_cat(env->r->arena, before, before.n ? MU_S("\n") : MU_S(""), mu_buf_str(b));
    return text.p ? mu_cgi_env_set(env, name, text) : MU_NOMEM;
}

enum mu_rc mu_php_settings(struct mu_req *r, struct mu_cgi_env *env)
{
    struct mu_buf user = { 0 }, admin = { 0 };
    size_t n;
    const struct mu_php_value *v = mu_req_php_values(r, &n);
    enum mu_rc rc = put_others(r, env, &user);

    for (size_t i = 0; i < n && rc == MU_OK; i++)
        rc = put_value(r, v[i].is_admin ? &admin : &user, &v[i]);
    if (rc == MU_OK)
        rc = set_lines(env, MU_S("PHP_VALUE"), &user);
    if (rc == MU_OK)
        rc = set_lines(env, MU_S("PHP_ADMIN_VALUE"), &admin);
    mu_buf_fini(&user);
    mu_buf_fini(&admin);
    return rc;
}
