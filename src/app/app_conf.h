/* What the directives of mod_app say, merged: for the files of this room. */
#ifndef MU_APP_CONF_H
#define MU_APP_CONF_H

#include <muster/buf.h>
#include <muster/cgi.h>
#include <muster/module.h>

extern struct mu_module mu_module_app;

struct app_php {
    const struct mu_php_value *v; /**< outermost first, a name once */
    size_t n;
};

struct app_conf {
    bool passes_auth;      /**< CGIPassAuth */
    bool uses_current_uri; /**< CGIVar REQUEST_URI current-uri */
    struct mu_app_limits limits;
    struct app_php php;
    struct mu_suexec *suexec;                 /**< SuexecUserGroup, or NULL */
    bool is_suexec_off;                       /**< Suexec Off */
    bool sends_files;                         /**< XSendFile */
    bool ignores_etag, ignores_last_modified; /**< XSendFileIgnore… */
    bool takes_raw_names;                     /**< XSendFileUnescape Off */
    struct mu_strs roots;                     /**< XSendFilePath, outermost first */
    struct mu_suexec **suexecs; /**< of the whole configuration; in the main server's conf */
    size_t suexecs_n;
    struct mu_str *php_names; /**< set anywhere; in the main server's conf */
    size_t php_names_n;
};

static inline const struct app_conf *app_conf_of(const struct mu_req *r)
{
    return mu_req_conf(r, &mu_module_app, struct app_conf);
}

/** Fill first->php_names; `first` is the main server's. Errors are reported. */
MU_NODISCARD enum mu_rc app_php_names_collect(struct mu_config *config, struct mu_arena *a,
                                              struct app_conf *first);
/**
 * Answer r by the file that an application named in X-Sendfile (sendfile.c). Fields of the answer
 * stand in r; `has_type`: the application said what it is.
 * Returns: what the handler returns; 403 and 404 have been logged.
 */
MU_MAY_SUSPEND enum mu_status mu_app_send_file(struct mu_req *r, struct mu_str name, bool has_type,
                                               struct mu_str source);

#endif
