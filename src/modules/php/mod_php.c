/*
 * mod_php: PHP inside the server, on libphp. A SAPI of Muster's own that carries httpd's name,
 * since applications and OPcache ask for it; handlers by the names that configurations use; one
 * request at a time in a process, so only where processes have one thread.
 */
#include "php.h"

#include <muster/str.h>

#include <sys/stat.h>

struct php_conf {
    struct mu_str ini; /**< PHPINIDir */
};

const struct mu_config *mu_php_config;

static enum mu_status decline(struct mu_req *r)
{
    /* engine off: whoever asked for PHP by SetHandler gets the file, as from httpd */
    r->handler = MU_STR_NULL;
    return MU_STATUS_NONE;
}

static enum mu_status check(struct mu_req *r)
{
    if (r->path_info.n && !mu_req_accepts_path_info(r, true))
        return MU_404_NOT_FOUND;
    if (r->finfo.type == MU_FT_NONE) {
        MU_LOG(&r->log, "php", MU_LOG_ERR, "MU1600", "script '%.*s' not found or unable to stat",
               MU_FMT(r->filename));
        return MU_404_NOT_FOUND;
    }
    if (r->finfo.type == MU_FT_DIR) {
        MU_LOG(&r->log, "php", MU_LOG_ERR, "MU1602", "attempt to invoke directory '%.*s' as script",
               MU_FMT(r->filename));
        return MU_403_FORBIDDEN;
    }
    return MU_STATUS_NONE;
}

static enum mu_status run(struct mu_req *r, bool is_source)
{
    enum mu_status status;

    if (!mu_php_is_engine_on(r))
        return decline(r);
    status = check(r);
    return status == MU_STATUS_NONE ? mu_php_answer(r, is_source) : status;
}

static enum mu_status run_script(struct mu_req *r, const void *conf)
{
    (void)conf;
    return run(r, false);
}

static enum mu_status show_source(struct mu_req *r, const void *conf)
{
    (void)conf;
    return run(r, true);
}

/* PHP goes deep on the C stack: .may_block gives it a big one, and its calls may block indeed. */
static const struct mu_handler handlers[] = {
    { "application/x-httpd-php", run_script, MU_ANY_METHOD, true, false },
    { "php-script", run_script, MU_ANY_METHOD, true, false },
    { "php8-script", run_script, MU_ANY_METHOD, true, false },
    { "application/x-httpd-php-source", show_source, MU_ANY_METHOD, true, false },
    { .name = NULL },
};

bool mu_php_serves(const struct mu_req *r)
{
    struct mu_str name = r->handler.n ? r->handler : r->content_type;

    for (const struct mu_handler *h = handlers; h->name; h++) {
        if (mu_str_ieq(name, mu_str_c(h->name)))
            return true;
    }
    return false;
}

static const struct php_conf *conf_of(const struct mu_config *config)
{
    return mu_vhost_conf(mu_config_vhost(config, 0), &mu_module_php);
}

static enum mu_rc set_ini(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct php_conf *c = conf;
    struct stat st;

    (void)n;
    if (c->ini.n) {
        mu_cmd_warn(cmd, "PHPINIDir: only the first one holds, %.*s", MU_FMT(c->ini));
        return MU_OK;
    }
    c->ini = mu_cmd_path(cmd, args[0]);
    if (!c->ini.p)
        return mu_cmd_error(cmd, "out of memory");
    if (stat(c->ini.p, &st) != 0)
        return mu_cmd_error(
            cmd, "PHPINIDir: found '%.*s', which is not there; name the folder of php.ini",
            MU_FMT(c->ini));
    return MU_OK;
}

static const struct mu_directive directives[] = {
    MU_DIR_CUSTOM("PHPINIDir", struct php_conf, ini, MU_IN_GLOBAL, 1, 1, set_ini,
                  "folder of php.ini (or the file itself)"),
    MU_DIR_END
};

static enum mu_rc server_start(struct mu_config *config)
{
    mu_php_config = config;
    return mu_php_startup(conf_of(config)->ini.p);
}

static enum mu_rc child_start(struct mu_config *config)
{
    (void)config;
    mu_php_crash_prepare();
    return MU_OK;
}

static void child_stop(struct mu_config *config)
{
    (void)config;
    mu_php_shutdown();
}

MU_MODULE(php, .conf_size = sizeof(struct php_conf), .directives = directives, .handlers = handlers,
          .threads = MU_THREADS_NONE, .server_start = server_start, .child_start = child_start,
          .child_stop = child_stop);
