/* The core module: httpd's core directives, their defaults and their merging.
 *
 * Everything the server room itself is told by the configuration is a field of struct mu_core_conf.
 * The table of what is supported, accepted or refused, and why, for people is docs/core.md.
 */
#include "core_set.h"
#include "room.h"

#include <base/loglevel.h>

#define SRV MU_IN_SERVER
#define DIR_ MU_IN_DIR
#define SRVDIR (MU_IN_SERVER | MU_IN_DIR)

static const struct mu_enum_name slashes_names[] = { { "Off", MU_SLASHES_REFUSE },
                                                     { "On", MU_SLASHES_DECODE },
                                                     { "NoDecode", MU_SLASHES_KEEP },
                                                     { NULL, 0 } };
static const struct mu_enum_name canonical_names[] = {
    { "Off", MU_CANON_OFF }, { "On", MU_CANON_ON }, { "DNS", MU_CANON_DNS }, { NULL, 0 }
};
static const struct mu_enum_name on_off_names[] = { { "Off", 0 }, { "On", 1 }, { NULL, 0 } };
static const struct mu_enum_name path_info_names[] = { { "Default", MU_PATH_INFO_DEFAULT },
                                                       { "Off", MU_PATH_INFO_OFF },
                                                       { "On", MU_PATH_INFO_ON },
                                                       { NULL, 0 } };
static const struct mu_enum_name lookup_names[] = {
    { "Off", MU_LOOKUP_OFF }, { "On", MU_LOOKUP_ON }, { "Double", MU_LOOKUP_DOUBLE }, { NULL, 0 }
};
static const struct mu_enum_name signature_names[] = { { "Off", MU_SIGNATURE_OFF },
                                                       { "On", MU_SIGNATURE_ON },
                                                       { "EMail", MU_SIGNATURE_EMAIL },
                                                       { NULL, 0 } };
static const struct mu_enum_name token_names[] = {
    { "Full", MU_TOKENS_FULL },        { "OS", MU_TOKENS_OS },       { "Minimal", MU_TOKENS_MIN },
    { "Min", MU_TOKENS_MIN },          { "Minor", MU_TOKENS_MINOR }, { "Major", MU_TOKENS_MAJOR },
    { "ProductOnly", MU_TOKENS_PROD }, { "Prod", MU_TOKENS_PROD },   { NULL, 0 }
};
static const struct mu_enum_name trace_names[] = {
    { "off", MU_TRACE_OFF }, { "on", MU_TRACE_ON }, { "extended", MU_TRACE_EXTENDED }, { NULL, 0 }
};

#define C struct mu_core_conf
static const struct mu_directive directives[] = {
    /* Connections. */
    MU_DIR_DURATION("TimeOut", C, timeout_ms, SRV, 1, INT64_C(86400000) * 365,
                    "Longest time to wait for the client while it reads or writes"),
    MU_DIR_FLAG("KeepAlive", C, keepalive, SRV, "Keep connections for further requests"),
    MU_DIR_DURATION("KeepAliveTimeout", C, keepalive_timeout_ms, SRV, 1, INT64_C(86400000) * 365,
                    "Longest time to wait for the next request of a connection"),
    MU_DIR_INT("MaxKeepAliveRequests", C, max_keepalive_requests, SRV, 0, INT32_MAX,
               "Requests of a connection before it is closed; 0 is unlimited"),
    MU_DIR_INT("LimitRequestLine", C, limit_line, SRV, 0, 1 << 20, "Longest request line in bytes"),
    MU_DIR_INT("LimitRequestFieldSize", C, limit_field, SRV, 0, 1 << 20,
               "Longest header field in bytes"),
    MU_DIR_INT("LimitRequestFields", C, limit_fields, SRV, 0, 32767,
               "Most header fields of a request; 0 is unlimited"),
    MU_DIR_INT("LimitRequestBody", C, limit_body, SRVDIR | MU_OVR_ALL, 0, INT64_MAX,
               "Largest request body in bytes; 0 is unlimited"),
    MU_DIR_CUSTOM("HttpProtocolOptions", C, protocol_options, SRV, 1, 3,
                  mu_core_set_protocol_options,
                  "Strict or Unsafe, RegisteredMethods or LenientMethods, Allow0.9 or Require1.0"),
    MU_DIR_IGNORED("AcceptFilter", MU_IN_GLOBAL,
                   "Accepted without effect: Linux wakes on data anyway"),
    MU_DIR_IGNORED("Protocol", SRV, "Accepted without effect: every listener speaks HTTP/1.1"),
    MU_DIR_IGNORED("Protocols", SRV, "Accepted without effect: this version speaks HTTP/1.1 alone"),
    MU_DIR_IGNORED("ProtocolsHonorOrder", SRV, "Accepted without effect: there is one protocol"),
    MU_DIR_IGNORED("FlushMaxThreshold", SRV,
                   "Accepted without effect: output is bounded by design"),
    MU_DIR_IGNORED("FlushMaxPipelined", SRV,
                   "Accepted without effect: output is bounded by design"),
    MU_DIR_IGNORED("ReadBufferSize", SRVDIR, "Accepted without effect: buffers are the reactor's"),
    MU_DIR_IGNORED("AsyncFilter", SRV, "Accepted without effect: all output may wait"),
    MU_DIR_IGNORED("MergeTrailers", SRV, "Accepted without effect: trailers are never merged"),
    MU_DIR_IGNORED("RegisterHttpMethod", MU_IN_GLOBAL,
                   "Accepted without effect: methods are passed on by name"),

    /* Servers. */
    MU_DIR_PATH("DocumentRoot", C, document_root, SRV, "Folder whose files are served"),
    MU_DIR_CALL("ServerName", SRV, 1, 1, mu_core_set_server_name,
                "[scheme://]name[:port] the server calls itself"),
    { .name = "ServerAlias",
      .kind = MU_K_LIST,
      .where = MU_IN_VHOST,
      .min_args = 1,
      .max_args = -1,
      MU_DIR_FIELD_(C, server_aliases),
      .help = "Other names of a virtual host, with * and ?" },
    MU_DIR_STR("ServerAdmin", C, server_admin, SRV, "Address shown in error pages"),
    MU_DIR_IGNORED("ServerPath", MU_IN_VHOST,
                   "Accepted without effect: every client since 1996 sends a Host"),
    MU_DIR_IGNORED("NameVirtualHost", MU_IN_GLOBAL,
                   "Accepted without effect: several hosts of an address are told apart by name"),
    MU_DIR_FLAG("StrictHostCheck", C, is_strict_host, SRV,
                "Refuse a Host that no virtual host names"),
    MU_DIR_ENUM("UseCanonicalName", C, use_canonical_name, SRVDIR, canonical_names,
                "Where self-referential URLs take the name from"),
    MU_DIR_ENUM("UseCanonicalPhysicalPort", C, use_canonical_port, SRVDIR, on_off_names,
                "Where self-referential URLs take the port from"),
    MU_DIR_ENUM("ServerTokens", C, server_tokens, MU_IN_GLOBAL, token_names,
                "How much the Server field says"),
    MU_DIR_ENUM("ServerSignature", C, server_signature, SRVDIR | MU_OVR_ALL, signature_names,
                "A line about the server at the end of pages it makes"),
    MU_DIR_ENUM("TraceEnable", C, trace_enable, SRV, trace_names, "Answer TRACE"),
    MU_DIR_ENUM("HostnameLookups", C, hostname_lookups, SRVDIR, lookup_names,
                "Look up the names of clients"),
    MU_DIR_FLAG("MergeSlashes", C, merge_slashes, SRV, "Fold // in paths"),
    MU_DIR_ENUM("AllowEncodedSlashes", C, encoded_slashes, SRV, slashes_names,
                "What to do about %2F in paths"),
    { .name = "LimitInternalRecursion",
      .kind = MU_K_CUSTOM,
      .where = SRV,
      .min_args = 1,
      .max_args = 2,
      .set = mu_core_set_recursion,
      .help = "Internal redirects in a row, and sub-requests in each other" },
    MU_DIR_FLAG("ExtendedStatus", C, extended_status, MU_IN_GLOBAL,
                "Keep details of requests for mod_status"),
    MU_DIR_STR("ErrorLog", C, error_log, SRV, "File, |program, syslog[:facility[:tag]] or stderr"),
    MU_DIR_CALL("ErrorLogFormat", SRV, 1, 2, mu_core_set_error_log_format,
                "What a line of the error log looks like"),
    MU_DIR_CALL("LogLevel", SRVDIR, 1, -1, mu_core_set_log_level, "[module:]level …"),
    MU_DIR_CALL("RegexDefaultOptions", MU_IN_GLOBAL, 1, -1, mu_core_set_regex_options,
                "Options of the regular expressions behind this line"),

    MU_DIR_CUSTOM("RequestHeadMemory", C, head_memory, MU_IN_GLOBAL, 1, 1, mu_core_set_size,
                  "Bytes of unfinished request heads a child process keeps; 0: no limit"),

    /* The file cache: Muster's own. */
    MU_DIR_INT("OpenFileCache", C, open_files, MU_IN_GLOBAL, 0, 1 << 20,
               "Files a child process remembers; 0 switches the cache off"),
    MU_DIR_CUSTOM("ContentCacheSize", C, content_size, MU_IN_GLOBAL, 1, 1, mu_core_set_size,
                  "Bytes of small files a child process keeps in memory"),
    MU_DIR_CUSTOM("ContentCacheMaxFile", C, content_max_file, MU_IN_GLOBAL, 1, 1, mu_core_set_size,
                  "Largest file that is kept in memory"),
    MU_DIR_DURATION("CacheRevalidate", C, revalidate_ms, MU_IN_GLOBAL, 0, INT64_C(86400000),
                    "How long a remembered file is trusted without a stat; 0 asks every time"),

    /* Directories. */
    MU_DIR_CALL("Options", SRVDIR | MU_OVR_OPTIONS, 1, -1, mu_core_set_options,
                "What is allowed in a place: FollowSymLinks, Indexes …"),
    MU_DIR_CUSTOM("AllowOverride", C, allow_override, DIR_, 1, -1, mu_core_set_allow_override,
                  "Classes of directives that .htaccess files may hold"),
    MU_DIR_CUSTOM("AllowOverrideList", C, override_list, DIR_, 1, -1, mu_core_set_directory_word,
                  "Directives that .htaccess files may hold"),
    MU_DIR_CUSTOM("AccessFileName", C, access_files, SRV, 1, -1, mu_core_set_directory_word,
                  "Names of .htaccess files"),
    MU_DIR_ENUM("AcceptPathInfo", C, accept_path_info, SRVDIR | MU_OVR_FILEINFO, path_info_names,
                "May more path follow the name of a file?"),
    MU_DIR_CUSTOM("SetHandler", C, handler, SRVDIR | MU_OVR_FILEINFO, 1, 1,
                  mu_core_set_word_or_none, "Handler for everything in a place"),
    MU_DIR_CUSTOM("ForceType", C, forced_type, SRVDIR | MU_OVR_FILEINFO, 1, 1,
                  mu_core_set_word_or_none, "Type of everything in a place"),
    MU_DIR_CUSTOM("AddDefaultCharset", C, default_charset, SRVDIR | MU_OVR_FILEINFO, 1, 1,
                  mu_core_set_default_charset, "charset of text/plain and text/html without one"),
    { .name = "DefaultType",
      .kind = MU_K_CUSTOM,
      .where = SRVDIR | MU_OVR_FILEINFO,
      .min_args = 1,
      .max_args = 1,
      .set = mu_core_set_default_type,
      .help = "Only None is left of it" },
    MU_DIR_CALL("ErrorDocument", SRVDIR | MU_OVR_FILEINFO, 2, 2, mu_core_set_error_document,
                "Status, and a text, a local path or a URL that answers it"),
    MU_DIR_CALL("FileETag", SRVDIR | MU_OVR_FILEINFO, 1, -1, mu_core_set_file_etag,
                "What the ETag of a file is made of: INode MTime Size All None"),
    MU_DIR_FLAG("EnableSendfile", C, enable_sendfile, SRVDIR | MU_OVR_FILEINFO,
                "May the kernel send files by itself?"),
    MU_DIR_FLAG("EnableMMAP", C, enable_mmap, SRVDIR | MU_OVR_FILEINFO,
                "Accepted without effect: files are never mapped, so truncation cannot kill"),
    MU_DIR_FLAG("QualifyRedirectURL", C, qualify_redirect, SRVDIR | MU_OVR_FILEINFO,
                "Is REDIRECT_URL a full URL?"),
    MU_DIR_CUSTOM("MaxRanges", C, max_ranges, SRVDIR, 1, 1, mu_core_set_max_ranges,
                  "Ranges of a request that are honoured"),
    MU_DIR_CUSTOM("MaxRangeOverlaps", C, max_overlaps, SRVDIR, 1, 1, mu_core_set_max_ranges,
                  "Overlapping ranges of a request that are honoured"),
    MU_DIR_CUSTOM("MaxRangeReversals", C, max_reversals, SRVDIR, 1, 1, mu_core_set_max_ranges,
                  "Ranges out of order that are honoured"),
    MU_DIR_CALL("SetInputFilter", SRVDIR | MU_OVR_FILEINFO, 1, 1, mu_core_set_filter,
                "Filters of request bodies"),
    MU_DIR_CALL("SetOutputFilter", SRVDIR | MU_OVR_FILEINFO, 1, 1, mu_core_set_filter,
                "Filters of answers"),
    MU_DIR_CALL("ContentDigest", SRVDIR | MU_OVR_OPTIONS, 1, 1, mu_core_set_content_digest,
                "Content-MD5: no longer part of HTTP"),
    MU_DIR_IGNORED("LimitXMLRequestBody", SRVDIR | MU_OVR_ALL,
                   "Accepted without effect: no module reads XML"),
    MU_DIR_IGNORED("CGIMapExtension", DIR_ | MU_OVR_FILEINFO, "Accepted without effect: NetWare's"),
    MU_DIR_IGNORED("ScriptInterpreterSource", SRVDIR | MU_OVR_FILEINFO,
                   "Accepted without effect: Windows' own"),
    MU_DIR_IGNORED("DefaultRuntimeDir", MU_IN_GLOBAL,
                   "Accepted without effect: nothing but the PidFile is kept in files"),
    MU_DIR_IGNORED("GprofDir", SRV, "Accepted without effect: for profiling httpd"),
    MU_DIR_IGNORED("SeeRequestTail", MU_IN_GLOBAL,
                   "Accepted without effect: mod_status shows the start of requests"),
    MU_DIR_END
};
#undef C

static void init(void *conf)
{
    static const struct mu_str access_file = { ".htaccess", 9 };
    struct mu_core_conf *c = conf;

    *c = (struct mu_core_conf){
        .timeout_ms = 60000,
        .keepalive_timeout_ms = 5000,
        .max_keepalive_requests = 100,
        .keepalive = true,
        .limit_line = 8190,
        .limit_field = 8190,
        .limit_fields = 100,
        .limit_body = INT64_C(1) << 30,
        .protocol_options = MU_PROTO_LENIENT | MU_PROTO_ALLOW09,
        .server_tokens = MU_TOKENS_FULL,
        .trace_enable = MU_TRACE_ON,
        .extended_status = true, /* where mod_status is on */
        .merge_slashes = true,
        .max_redirects = 10,
        .max_subrequests = 10,
        .error_log = MU_S("logs/error_log"),
        .open_files = 1000,
        .head_memory = 64 << 20,
        .content_size = 16 << 20,
        .content_max_file = 64 << 10,
        .options = MU_OPT_SYMLINKS,
        .access_files = { (struct mu_str *)(uintptr_t)&access_file, 1 },
        .enable_sendfile = true,
        .enable_mmap = true,
        .max_ranges = 200,
        .max_overlaps = 20,
        .max_reversals = 20,
    };
    mu_core_derive(c);
    mu_phases_init(); /* before the first conf is merged */
}

void mu_core_derive(struct mu_core_conf *c)
{
    c->h1 = (struct mu_h1_limits){
        .max_line = (uint32_t)c->limit_line,
        .max_field = (uint32_t)c->limit_field,
        .max_fields = (uint32_t)c->limit_fields,
        .is_unsafe = c->protocol_options & MU_PROTO_UNSAFE,
        .wants_registered_methods = c->protocol_options & MU_PROTO_REGISTERED,
        .may_09 = c->protocol_options & MU_PROTO_ALLOW09,
    };
    c->ranges = (struct mu_range_limits){ (uint32_t)c->max_ranges, (uint32_t)c->max_overlaps,
                                          (uint32_t)c->max_reversals };
}

/* The inner section's document for a status hides the outer one's. */
static enum mu_rc merge_documents(struct mu_arena *a, const struct mu_error_documents *base,
                                  const struct mu_error_documents *over,
                                  struct mu_error_documents *out)
{
    struct mu_error_document *v;
    size_t n = 0;

    *out = over->n ? *over : *base;
    if (!over->n || !base->n)
        return MU_OK;
    v = mu_new_n(a, struct mu_error_document, base->n + over->n);
    if (!v)
        return MU_NOMEM;
    for (size_t i = 0; i < base->n; i++) {
        bool is_hidden = false;

        for (size_t k = 0; k < over->n; k++)
            is_hidden = is_hidden || over->v[k].status == base->v[i].status;
        if (!is_hidden)
            v[n++] = base->v[i];
    }
    memcpy(v + n, over->v, over->n * sizeof(*v));
    *out = (struct mu_error_documents){ v, n + over->n };
    return MU_OK;
}

static enum mu_rc merge_levels(struct mu_arena *a, const struct mu_core_conf *base,
                               const struct mu_core_conf *over, struct mu_core_conf *out)
{
    uint8_t *levels;

    out->log_levels = over->log_levels ? over->log_levels : base->log_levels;
    if (!over->log_levels || !base->log_levels)
        return MU_OK;
    levels = mu_new_n(a, uint8_t, MU_LOG_MODULES);
    if (!levels)
        return MU_NOMEM;
    mu_log_levels_merge(levels, base->log_levels, over->log_levels);
    out->log_levels = levels;
    return MU_OK;
}

/* What the conf room's field-wise merging cannot do. */
static enum mu_rc merge(struct mu_arena *a, const void *base, const void *over, void *out)
{
    const struct mu_core_conf *b = base, *o = over;
    struct mu_core_conf *c = out;

    c->options = mu_bits_merge(b->options, &o->options_change);
    c->file_etag = mu_bits_merge(b->file_etag, &o->etag_change);
    if (c->file_etag & MU_ETAG_ALL)
        c->file_etag &= ~(uint32_t)MU_ETAG_NONE;
    if (o->server_name.n) {
        c->server_name = o->server_name;
        c->server_scheme = o->server_scheme;
        c->server_port = o->server_port;
    }
    c->error_log_format = o->error_log_format.n ? o->error_log_format : b->error_log_format;
    c->max_redirects = o->max_redirects ? o->max_redirects : b->max_redirects;
    c->max_subrequests = o->max_subrequests ? o->max_subrequests : b->max_subrequests;
    mu_core_derive(c);
    if (merge_documents(a, &b->error_documents, &o->error_documents, &c->error_documents) != MU_OK)
        return MU_NOMEM;
    return merge_levels(a, b, o, c);
}

MU_MODULE(core, .conf_size = sizeof(struct mu_core_conf), .directives = directives,
          .handlers = MU_HANDLERS(
              { "", mu_static_handler, MU_GET | MU_HEAD | MU_POST, false, false },
              { "default-handler", mu_static_handler, MU_GET | MU_HEAD | MU_POST, false, false }),
          .init = init, .merge = merge, .check = mu_server_logs_check,
          .server_start = mu_server_logs_open);
