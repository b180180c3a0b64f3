/*
 * The part of httpd's expressions that ProxyFCGISetEnvIf needs: a condition about the request and the variables made for
 * the application, and a text with such variables in it. It is no evaluator for other directives: its variables are
 * those of the application. When the whole language comes (<If>, Require expr), these two files give way to it.
 */
#ifndef MU_MODULES_PROXY_EXPR_H
#define MU_MODULES_PROXY_EXPR_H

#include "proxy.h"

struct proxy_expr;
struct proxy_text;

/** What they are evaluated over; the groups of a regular expression that matched stay for $0 to $9. */
struct proxy_scope {
    struct mu_req *r;
    const struct mu_cgi_env *env;
    struct mu_str subject;
    struct mu_match match;
};

/** Returns NULL after reporting what cannot be understood. */
const struct proxy_expr *proxy_expr_parse(struct mu_cmd *cmd, struct mu_str text);
const struct proxy_text *proxy_text_parse(struct mu_cmd *cmd, struct mu_str text);
bool proxy_expr_eval(const struct proxy_expr *e, struct proxy_scope *s);
/** p == NULL: out of memory. */
struct mu_str proxy_text_eval(const struct proxy_text *t, const struct proxy_scope *s);

#endif
