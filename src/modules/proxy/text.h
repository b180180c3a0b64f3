/* Between text.c and expr.c: texts put together piece by piece. */
#ifndef MU_MODULES_PROXY_TEXT_H
#define MU_MODULES_PROXY_TEXT_H

#include "expr.h"

/** Empty. NULL after reporting. */
struct proxy_text *proxy_text_new(struct mu_cmd *cmd);
/** Append `s` with the variables in it; false after reporting. */
bool proxy_text_add(struct mu_cmd *cmd, struct proxy_text *t, struct mu_str s);
/** Append a variable: function "" is none; likewise. */
bool proxy_text_var(struct mu_cmd *cmd, struct proxy_text *t, struct mu_str function,
                    struct mu_str name);

#endif
