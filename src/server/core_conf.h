/* The core module's merged conf: what httpd's core directives say, for the whole server room. */
#ifndef MU_SERVER_CORE_CONF_H
#define MU_SERVER_CORE_CONF_H

#include <conf/config.h>
#include <http/etag.h>
#include <http/h1.h>
#include <http/range.h>

extern struct mu_module mu_module_core;

/** ErrorDocument for one status. */
enum mu_error_document_kind { MU_ERRDOC_DEFAULT, MU_ERRDOC_TEXT, MU_ERRDOC_LOCAL, MU_ERRDOC_URL };
struct mu_error_document {
    enum mu_error_document_kind kind;
    int status;
    struct mu_str value;
};
struct mu_error_documents {
    const struct mu_error_document *v;
    size_t n;
};

/** A set of bits written either whole or as changes to what stands outside (Options, FileETag). */
struct mu_bits_change {
    bool is_whole; /**< `value` replaces; otherwise add and remove apply */
    uint32_t value, add, remove;
};

/** UseCanonicalName, HostnameLookups and others: what their words mean. */
enum { MU_CANON_OFF, MU_CANON_ON, MU_CANON_DNS };
enum { MU_LOOKUP_OFF, MU_LOOKUP_ON, MU_LOOKUP_DOUBLE };
enum { MU_SIGNATURE_OFF, MU_SIGNATURE_ON, MU_SIGNATURE_EMAIL };
enum { MU_TRACE_OFF, MU_TRACE_ON, MU_TRACE_EXTENDED };
enum { MU_PATH_INFO_DEFAULT, MU_PATH_INFO_OFF, MU_PATH_INFO_ON };
enum {
    MU_TOKENS_PROD,
    MU_TOKENS_MAJOR,
    MU_TOKENS_MINOR,
    MU_TOKENS_MIN,
    MU_TOKENS_OS,
    MU_TOKENS_FULL
};

/** Server-level settings are looked up in vhost->base, directory-level ones in r->conf. */
struct mu_core_conf {
    /* Connection and protocol: of the virtual host chosen by address, then by name. */
    int64_t timeout_ms;                            /**< TimeOut 60 s */
    int64_t keepalive_timeout_ms;                  /**< KeepAliveTimeout 5 s */
    int64_t max_keepalive_requests;                /**< MaxKeepAliveRequests 100; 0 = unlimited */
    bool keepalive;                                /**< KeepAlive On */
    int64_t limit_line, limit_field, limit_fields; /**< LimitRequest… */
    int64_t limit_body;       /**< LimitRequestBody, 1 GiB; 0 = unlimited (per directory) */
    uint8_t protocol_options; /**< HttpProtocolOptions, MU_PROTO_… */
    struct mu_h1_limits h1;   /**< derived from the above by mu_server_prepare */

    /* Server. */
    struct mu_str document_root, server_name, server_admin, server_scheme;
    uint16_t server_port;
    struct mu_strs server_aliases;
    struct mu_str server_path;
    int use_canonical_name, use_canonical_port, server_tokens, server_signature, trace_enable;
    int hostname_lookups;
    bool merge_slashes;
    bool is_strict_host; /**< StrictHostCheck */
    bool extended_status;
    int encoded_slashes;                    /**< enum mu_encoded_slashes, AllowEncodedSlashes */
    int64_t max_redirects, max_subrequests; /**< LimitInternalRecursion 10 10 */
    struct mu_str error_log, error_log_format;

    int64_t head_memory; /**< RequestHeadMemory 64M: of unfinished heads, of a child; 0: no limit */

    /* Process-wide: the file cache. */
    int64_t open_files;       /**< OpenFileCache 1000: descriptors and entries of a child */
    int64_t content_size;     /**< ContentCacheSize 16M: bytes of small files of a child */
    int64_t content_max_file; /**< ContentCacheMaxFile 64K */
    int64_t revalidate_ms;    /**< CacheRevalidate 0 */

    /* Directory. */
    uint32_t options; /**< MU_OPT_…, merged */
    struct mu_bits_change options_change;
    uint32_t allow_override;      /**< MU_OVR_… */
    struct mu_strs override_list; /**< AllowOverrideList */
    struct mu_strs access_files;  /**< AccessFileName */
    struct mu_str handler, forced_type, default_charset;
    int accept_path_info;
    bool enable_sendfile, enable_mmap, qualify_redirect;
    uint32_t file_etag; /**< MU_ETAG_…, merged; 0: FileETag was never said */
    struct mu_bits_change etag_change;
    int64_t max_ranges, max_overlaps, max_reversals;
    struct mu_range_limits ranges; /**< the three above, as the http room wants them */
    struct mu_error_documents error_documents;
    const uint8_t *log_levels; /**< LogLevel (base/loglevel.h), or NULL */
};

enum { MU_PROTO_UNSAFE = 1, MU_PROTO_REGISTERED = 2, MU_PROTO_ALLOW09 = 4, MU_PROTO_LENIENT = 8 };

static inline const struct mu_core_conf *mu_core_of(const struct mu_dirconf *c)
{
    return (const struct mu_core_conf *)c->v[mu_module_core.index];
}

#endif
