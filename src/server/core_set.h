/* Setters of the core module's directive table whose arguments need more than a typed field. */
#ifndef MU_SERVER_CORE_SET_H
#define MU_SERVER_CORE_SET_H

#include "core_conf.h"

/**
 * One row's setter: parses `args` into the as-written struct mu_core_conf. See struct mu_directive.
 */
/* clang-format off */
#define MU_CORE_SETTERS(X)                                                                         \
    X(options) X(allow_override) X(server_name) X(error_document) X(log_level) X(file_etag)        \
    X(protocol_options) X(default_charset) X(max_ranges) X(size) X(default_type)                   \
    X(regex_options) X(recursion) X(word_or_none) X(filter) X(error_log_format)                    \
    X(content_digest) X(directory_word)
/* clang-format on */

#define X(n)                                                                                       \
    enum mu_rc mu_core_set_##n(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n);
MU_CORE_SETTERS(X)
#undef X

/** Apply `over` to the merged set `base`; *out gets the change as the next section sees it. */
uint32_t mu_bits_merge(uint32_t base, const struct mu_bits_change *over);

#endif
