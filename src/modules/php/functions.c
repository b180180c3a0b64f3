/*
 * functions: what scripts find only in a web server: apache_request_headers() and its kin, notes and
 * environment of the request, sub-requests. PHP knows them as its module "apache2handler", which is
 * the name that applications ask for.
 */
#include "php.h"

#include "libphp.h"

#include <muster/str.h>

struct mu_php_ini mu_php_ini;

static struct mu_req *request(void)
{
    const struct mu_php_call *c = SG(server_context);

    return c ? c->r : NULL;
}

static struct mu_str of_zend(const zend_string *s)
{
    return s ? mu_str_n(ZSTR_VAL(s), ZSTR_LEN(s)) : MU_STR_NULL;
}

/* A copy that lives as long as the request. */
static struct mu_str keep(struct mu_req *r, const zend_string *s)
{
    return mu_str_dup(r->arena, of_zend(s));
}

static void return_str(zval *return_value, struct mu_str s)
{
    if (s.p)
        ZVAL_STRINGL(return_value, s.p, s.n);
    else
        ZVAL_FALSE(return_value);
}

static void add_str(zval *array, struct mu_str name, struct mu_str value)
{
    add_assoc_stringl_ex(array, name.p, name.n, value.p ? value.p : "", value.n);
}

/* ---- header fields ---- */

/* Fields of one name are one field, as httpd has joined them. */
PHP_FUNCTION(apache_request_headers)
{
    struct mu_req *r = request();

    ZEND_PARSE_PARAMETERS_NONE();
    array_init(return_value);
    for (uint32_t i = 0; r && i < r->in.n; i++) {
        if (mu_headers_first_row(&r->in, i) == i)
            add_str(return_value, r->in.v[i].name,
                    mu_headers_join_row(r->arena, &r->in, i, MU_S(", ")));
    }
}

PHP_FUNCTION(apache_response_headers)
{
    struct mu_req *r = request();

    ZEND_PARSE_PARAMETERS_NONE();
    array_init(return_value);
    for (uint32_t i = 0; r && i < r->out.n; i++)
        add_str(return_value, r->out.v[i].name, r->out.v[i].value);
}

/* ---- notes and environment ---- */

PHP_FUNCTION(apache_note)
{
    zend_string *name, *value = NULL;
    struct mu_req *r = request();

    ZEND_PARSE_PARAMETERS_START(1, 2)
    Z_PARAM_STR(name)
    Z_PARAM_OPTIONAL
    Z_PARAM_STR_OR_NULL(value)
    ZEND_PARSE_PARAMETERS_END();
    if (!r)
        RETURN_FALSE;
    return_str(return_value, mu_req_note(r, of_zend(name)));
    if (value)
        mu_req_note_set(r, keep(r, name), keep(r, value));
}

/* The request that the client made, before internal redirects. */
static struct mu_req *top_of(struct mu_req *r)
{
    while (r && r->prev)
        r = r->prev;
    return r;
}

PHP_FUNCTION(apache_setenv)
{
    zend_string *name, *value;
    bool to_top = false;
    struct mu_php_call *c = SG(server_context);
    struct mu_req *r = request(), *at;

    ZEND_PARSE_PARAMETERS_START(2, 3)
    Z_PARAM_STR(name)
    Z_PARAM_STR(value)
    Z_PARAM_OPTIONAL
    Z_PARAM_BOOL(to_top)
    ZEND_PARSE_PARAMETERS_END();
    if (!r)
        RETURN_FALSE;
    at = to_top ? top_of(r) : r;
    mu_req_env_set(at, keep(r, name), keep(r, value));
    if (at == r && c->has_env)
        (void)!mu_cgi_env_set(&c->env, keep(r, name), keep(r, value));
    RETURN_TRUE;
}

PHP_FUNCTION(apache_getenv)
{
    zend_string *name;
    bool to_top = false;
    struct mu_php_call *c = SG(server_context);
    struct mu_req *r = request();
    struct mu_cgi_env *env;

    ZEND_PARSE_PARAMETERS_START(1, 2)
    Z_PARAM_STR(name)
    Z_PARAM_OPTIONAL
    Z_PARAM_BOOL(to_top)
    ZEND_PARSE_PARAMETERS_END();
    if (!r)
        RETURN_FALSE;
    if (to_top && r->prev) {
        return_str(return_value, mu_req_env(top_of(r), of_zend(name)));
        return;
    }
    env = mu_php_env(c);
    return_str(return_value, env ? mu_cgi_env_get(env, of_zend(name)) : MU_STR_NULL);
}

/* ---- the server ---- */

PHP_FUNCTION(apache_get_version)
{
    struct mu_req *r = request();

    ZEND_PARSE_PARAMETERS_NONE();
    return_str(return_value, r ? mu_req_server_tokens(r) : MU_STR_NULL);
}

/* As httpd names the files: core, mod_so, http_core, prefork, mod_alias. */
static zend_string *module_title(struct mu_str name)
{
    if (mu_str_eq(name, MU_S("core")))
        return zend_string_init(name.p, name.n, 0);
    if (mu_str_eq(name, MU_S("http")))
        return zend_string_init("http_core", strlen("http_core"), 0);
    if (mu_str_starts(name, MU_S("mpm_")))
        return zend_string_init(name.p + 4, name.n - 4, 0);
    return zend_string_concat2("mod_", 4, name.p, name.n);
}

PHP_FUNCTION(apache_get_modules)
{
    struct mu_req *r = request();
    struct mu_str name;

    ZEND_PARSE_PARAMETERS_NONE();
    array_init(return_value);
    for (size_t i = 0; r && mu_config_module_name(mu_php_config, i, &name); i++)
        add_next_index_str(return_value, module_title(name));
}

/* ---- other requests ---- */

/* A path with its query, looked up. */
static struct mu_req *look_up(struct mu_req *r, const zend_string *uri)
{
    struct mu_str path = keep(r, uri), query = MU_STR_NULL;
    ssize_t mark = mu_str_chr(path, '?');

    if (mark >= 0) {
        query = mu_str_sub(path, (size_t)mark + 1, path.n);
        path = mu_str_sub(path, 0, (size_t)mark);
    }
    return path.p ? mu_subreq_lookup(r, path, query) : NULL;
}

PHP_FUNCTION(virtual)
{
    zend_string *uri;
    struct mu_req *r = request(), *sub;

    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_PATH_STR(uri)
    ZEND_PARSE_PARAMETERS_END();
    sub = r ? look_up(r, uri) : NULL;
    if (!sub || sub->status != MU_200_OK) {
        php_error_docref(NULL, E_WARNING, "Unable to include '%s' - error finding URI",
                         ZSTR_VAL(uri));
        RETURN_FALSE;
    }
    if (mu_php_serves(sub)) {
        php_error_docref(
            NULL, E_WARNING,
            "Unable to include '%s' - it is a PHP page, and PHP serves one request at a "
            "time in a process; include its file instead",
            ZSTR_VAL(uri));
        RETURN_FALSE;
    }
    php_output_end_all();
    php_header();
    if (mu_subreq_run(sub) >= 400) {
        php_error_docref(NULL, E_WARNING, "Unable to include '%s' - request execution failed",
                         ZSTR_VAL(uri));
        RETURN_FALSE;
    }
    RETURN_TRUE;
}

static void property(zval *object, const char *name, struct mu_str value)
{
    if (value.p)
        add_property_stringl(object, name, value.p, value.n);
}

PHP_FUNCTION(apache_lookup_uri)
{
    zend_string *uri;
    struct mu_req *r = request(), *sub;

    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_PATH_STR(uri)
    ZEND_PARSE_PARAMETERS_END();
    sub = r ? look_up(r, uri) : NULL;
    if (!sub) {
        php_error_docref(NULL, E_WARNING, "URI lookup failed '%s'", ZSTR_VAL(uri));
        RETURN_FALSE;
    }
    object_init(return_value);
    add_property_long(return_value, "status", sub->status);
    property(return_value, "the_request", sub->request_line);
    property(return_value, "method", sub->method_name);
    add_property_long(return_value, "mtime", sub->finfo.mtime_ns / 1000000000);
    add_property_long(return_value, "clength", sub->content_length > 0 ? sub->content_length : 0);
    add_property_long(return_value, "chunked", 0);
    property(return_value, "content_type", sub->content_type.n ? sub->content_type : MU_STR_NULL);
    property(return_value, "handler", sub->handler.n ? sub->handler : MU_STR_NULL);
    add_property_long(return_value, "no_cache", 0);
    add_property_long(return_value, "no_local_copy", 0);
    property(return_value, "unparsed_uri", of_zend(uri));
    property(return_value, "uri", sub->path);
    property(return_value, "filename", sub->filename);
    property(return_value, "path_info", sub->path_info.p ? sub->path_info : MU_S(""));
    property(return_value, "args", sub->query);
    add_property_long(return_value, "allowed", 0);
    add_property_long(return_value, "sent_bodyct", 0);
    add_property_long(return_value, "bytes_sent", 0);
    add_property_long(return_value, "request_time", sub->time_us / 1000000);
}

/* ---- tables ---- */

/* clang-format off */
/* cppcheck-suppress unknownMacro ; it does not see PHP's headers */
ZEND_BEGIN_ARG_WITH_RETURN_TYPE_MASK_EX(arg_version, 0, 0, MAY_BE_STRING | MAY_BE_FALSE)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arg_array, 0, 0, IS_ARRAY, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arg_virtual, 0, 1, _IS_BOOL, 0)
ZEND_ARG_TYPE_INFO(0, uri, IS_STRING, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_OBJ_TYPE_MASK_EX(arg_lookup, 0, 1, stdClass, MAY_BE_FALSE)
ZEND_ARG_TYPE_INFO(0, filename, IS_STRING, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_MASK_EX(arg_note, 0, 1, MAY_BE_STRING | MAY_BE_FALSE)
ZEND_ARG_TYPE_INFO(0, note_name, IS_STRING, 0)
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, note_value, IS_STRING, 1, "null")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arg_setenv, 0, 2, _IS_BOOL, 0)
ZEND_ARG_TYPE_INFO(0, variable, IS_STRING, 0)
ZEND_ARG_TYPE_INFO(0, value, IS_STRING, 0)
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, walk_to_top, _IS_BOOL, 0, "false")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_MASK_EX(arg_getenv, 0, 1, MAY_BE_STRING | MAY_BE_FALSE)
ZEND_ARG_TYPE_INFO(0, variable, IS_STRING, 0)
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, walk_to_top, _IS_BOOL, 0, "false")
ZEND_END_ARG_INFO()

static const zend_function_entry functions[] = {
    ZEND_FE(apache_get_modules, arg_array)
    ZEND_FE(apache_get_version, arg_version)
    ZEND_FE(apache_getenv, arg_getenv)
    ZEND_FE(apache_lookup_uri, arg_lookup)
    ZEND_FE(apache_note, arg_note)
    ZEND_FE(apache_request_headers, arg_array)
    ZEND_FE(apache_response_headers, arg_array)
    ZEND_FE(apache_setenv, arg_setenv)
    ZEND_FALIAS(getallheaders, apache_request_headers, arg_array)
    ZEND_FE(virtual, arg_virtual)
    ZEND_FE_END
};

PHP_INI_BEGIN()
    STD_PHP_INI_BOOLEAN("engine", "1", PHP_INI_ALL, OnUpdateBool, engine, struct mu_php_ini, mu_php_ini)
    STD_PHP_INI_BOOLEAN("last_modified", "0", PHP_INI_ALL, OnUpdateBool, last_modified,
                        struct mu_php_ini, mu_php_ini)
PHP_INI_END()
/* clang-format on */

static PHP_MINIT_FUNCTION(muster)
{
    (void)type;
    REGISTER_INI_ENTRIES();
    return SUCCESS;
}

static PHP_MSHUTDOWN_FUNCTION(muster)
{
    (void)type;
    UNREGISTER_INI_ENTRIES();
    return SUCCESS;
}

static PHP_MINFO_FUNCTION(muster)
{
    struct mu_req *r = request();

    php_info_print_table_start();
    php_info_print_table_row(2, "Server",
                             r ? mu_cstr(r->arena, mu_req_server_tokens(r)) : "Muster/" MU_VERSION);
    php_info_print_table_row(2, "Requests", "one at a time in a process");
    php_info_print_table_end();
    DISPLAY_INI_ENTRIES();
}

struct _zend_module_entry *mu_php_functions(void)
{
    static zend_module_entry entry = {
        STANDARD_MODULE_HEADER,
        .name = "apache2handler",
        .functions = functions,
        .module_startup_func = PHP_MINIT(muster),
        .module_shutdown_func = PHP_MSHUTDOWN(muster),
        .info_func = PHP_MINFO(muster),
        .version = PHP_VERSION,
        STANDARD_MODULE_PROPERTIES,
    };

    return &entry;
}
