/* Setters of the core module: directives whose arguments are more than one typed value.
 *
 * Each fills the as-written block of its section; core_module.c merges blocks. Messages say what was found and
 * what is allowed; the conf room adds file and line.
 */
#include "core_set.h"

#include <muster/buf.h>
#include <muster/http.h>
#include <muster/regex.h>
#include <muster/str.h>

#include <base/logformat.h>
#include <base/loglevel.h>

/** A word and the bits it stands for. */
struct word {
    const char *name;
    uint32_t bits;
};

static const struct word *word_find(const struct word *words, struct mu_str s)
{
    for (; words->name; words++) {
        if (mu_str_ieq(s, mu_str_c(words->name)))
            return words;
    }
    return NULL;
}

uint32_t mu_bits_merge(uint32_t base, const struct mu_bits_change *over)
{
    if (over->is_whole)
        return ((over->value & ~over->remove) | over->add);
    return (base & ~over->remove) | over->add;
}

static void bits_change(struct mu_bits_change *c, char sign, uint32_t bits)
{
    if (sign == '+') {
        c->add |= bits;
        c->remove &= ~bits;
    } else if (sign == '-') {
        c->remove |= bits;
        c->add &= ~bits;
    } else {
        c->is_whole = true;
        c->value |= bits;
    }
}

static enum mu_rc illegal_word(struct mu_cmd *cmd, const struct word *words, struct mu_str found)
{
    struct mu_buf allowed = { 0 };

    for (const struct word *w = words; w->name; w++)
        mu_buf_addf(&allowed, "%s%s", w == words ? "" : w[1].name ? ", " : " and ", w->name);
    mu_cmd_error(cmd, "found '%.*s', allowed are %.*s", MU_FMT(found),
                 MU_FMT(mu_buf_str(&allowed)));
    mu_buf_fini(&allowed);
    return MU_BAD;
}

/* Words with or without signs; a mixture is an error as in httpd. "None" empties. */
static enum mu_rc bits_set(struct mu_cmd *cmd, struct mu_bits_change *c, const struct word *words,
                           const struct mu_str *args, size_t n)
{
    bool has_signs = false, has_plain = false;

    for (size_t i = 0; i < n; i++) {
        struct mu_str s = args[i];
        char sign = s.n && (s.p[0] == '+' || s.p[0] == '-') ? s.p[0] : 0;
        const struct word *w = word_find(words, sign ? mu_str_sub(s, 1, s.n) : s);

        if (!w)
            return illegal_word(cmd, words, s);
        has_signs = has_signs || sign;
        has_plain = has_plain || !sign;
        if (has_signs && has_plain)
            return mu_cmd_error(cmd, "either all words start with + or -, or none does");
        if (!sign && i == 0)
            *c = (struct mu_bits_change){ .is_whole = true };
        bits_change(c, sign, w->bits);
    }
    return MU_OK;
}

enum mu_rc mu_core_set_options(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    static const struct word words[] = {
        { "Indexes", MU_OPT_INDEXES },
        { "Includes", MU_OPT_INCLUDES },
        { "IncludesNOEXEC", MU_OPT_INCLUDES | MU_OPT_INCNOEXEC },
        { "FollowSymLinks", MU_OPT_SYMLINKS },
        { "SymLinksIfOwnerMatch", MU_OPT_SYMLINKS_IF_OWNER },
        { "ExecCGI", MU_OPT_EXECCGI },
        { "MultiViews", MU_OPT_MULTIVIEWS },
        { "None", 0 },
        { "All", MU_OPT_ALL },
        { NULL, 0 },
    };

    for (size_t i = 0; i < n; i++) {
        struct mu_str s = mu_str_sub(args[i], 1, args[i].n);

        if ((mu_str_starts(args[i], MU_S("+")) || mu_str_starts(args[i], MU_S("-"))) &&
            (mu_str_ieq(s, MU_S("None")) || mu_str_ieq(s, MU_S("All"))))
            return mu_cmd_error(cmd, "found '%.*s', but None and All stand without + and -",
                                MU_FMT(args[i]));
    }
    return bits_set(cmd, &((struct mu_core_conf *)conf)->options_change, words, args, n);
}

enum mu_rc mu_core_set_file_etag(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                 size_t n)
{
    static const struct word words[] = {
        { "None", MU_ETAG_NONE },
        { "All", MU_ETAG_INODE | MU_ETAG_MTIME | MU_ETAG_SIZE },
        { "INode", MU_ETAG_INODE },
        { "MTime", MU_ETAG_MTIME },
        { "Size", MU_ETAG_SIZE },
        { "Digest", MU_ETAG_MTIME | MU_ETAG_SIZE },
        { NULL, 0 },
    };

    for (size_t i = 0; i < n; i++) {
        if (mu_str_ends(args[i], MU_S("igest")))
            mu_cmd_warn(cmd, "Digest is made of size and modification time here");
    }
    return bits_set(cmd, &((struct mu_core_conf *)conf)->etag_change, words, args, n);
}

/* "Options=Indexes,FollowSymLinks" limits which options an .htaccess may set; the class is what counts here. */
static bool override_bits(struct mu_str s, uint32_t *bits)
{
    static const struct word words[] = {
        { "None", 0 },
        { "All", MU_OVR_ALL },
        { "AuthConfig", MU_OVR_AUTHCFG },
        { "FileInfo", MU_OVR_FILEINFO },
        { "Indexes", MU_OVR_INDEXES },
        { "Limit", MU_OVR_LIMIT },
        { "Options", MU_OVR_OPTIONS },
        { NULL, 0 },
    };
    ssize_t eq = mu_str_chr(s, '=');
    struct mu_str name = eq < 0 ? s : mu_str_sub(s, 0, (size_t)eq);
    const struct word *w;

    if (eq >= 0 && mu_str_ieq(name, MU_S("Nonfatal"))) {
        *bits = 0;
        return true;
    }
    if (eq >= 0 && !mu_str_ieq(name, MU_S("Options")))
        return false;
    w = word_find(words, name);
    *bits = w ? w->bits : 0;
    return w != NULL;
}

enum mu_rc mu_core_set_allow_override(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                      size_t n)
{
    struct mu_core_conf *c = conf;

    if (cmd->section_is_location)
        mu_cmd_warn(cmd, "AllowOverride has no effect in <Location>: only <Directory> is asked");
    c->allow_override = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;

        if (!override_bits(args[i], &bits))
            return mu_cmd_error(cmd,
                                "found '%.*s', allowed are All, None, AuthConfig, FileInfo, "
                                "Indexes, Limit, Options[=…] and Nonfatal=…",
                                MU_FMT(args[i]));
        c->allow_override |= bits;
    }
    return MU_OK;
}

/* [scheme://]name[:port] */
enum mu_rc mu_core_set_server_name(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                   size_t n)
{
    struct mu_core_conf *c = conf;
    struct mu_str s = args[0];
    ssize_t scheme = mu_str_find(s, MU_S("://")), colon, bracket;
    uint64_t port = 0;

    (void)n;
    c->server_scheme = MU_STR_NULL;
    if (scheme >= 0) {
        c->server_scheme = mu_str_dup_lower(cmd->arena, mu_str_sub(s, 0, (size_t)scheme));
        s = mu_str_sub(s, (size_t)scheme + 3, s.n);
    }
    colon = mu_str_rchr(s, ':');
    bracket = mu_str_rchr(s, ']');
    if (colon > bracket) {
        struct mu_str digits = mu_str_sub(s, (size_t)colon + 1, s.n);

        if (!mu_str_u64(digits, &port) || port < 1 || port > 65535)
            return mu_cmd_error(cmd, "'%.*s' is no port", MU_FMT(digits));
        s = mu_str_sub(s, 0, (size_t)colon);
    }
    if (!s.n)
        return mu_cmd_error(cmd, "ServerName is [scheme://]name[:port]");
    c->server_name = mu_str_dup(cmd->arena, s);
    c->server_port = (uint16_t)port;
    return c->server_name.p ? MU_OK : mu_cmd_error(cmd, "out of memory");
}

static enum mu_error_document_kind document_kind(struct mu_str s)
{
    if (mu_str_ieq(s, MU_S("default")))
        return MU_ERRDOC_DEFAULT;
    if (s.n && s.p[0] == '/')
        return MU_ERRDOC_LOCAL;
    return mu_uri_is_absolute(s) && mu_str_find(s, MU_S("://")) > 0 ? MU_ERRDOC_URL
                                                                    : MU_ERRDOC_TEXT;
}

enum mu_rc mu_core_set_error_document(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                      size_t n)
{
    struct mu_core_conf *c = conf;
    struct mu_error_document *v;
    struct mu_str text = n > 1 ? args[1] : MU_STR_NULL;
    uint64_t status;
    size_t k = 0;

    if (!mu_str_u64(args[0], &status) || status > 599 || !mu_status_line((enum mu_status)status).p)
        return mu_cmd_error(cmd, "'%.*s' is no status that HTTP knows", MU_FMT(args[0]));
    if (text.n && text.p[0] == '"') /* the old way: a lone quote in front */
        text = mu_str_sub(text, 1, text.n);
    if (status == 401 && document_kind(text) == MU_ERRDOC_URL) {
        mu_cmd_warn(cmd, "a URL cannot answer a 401: the client would never be asked for a "
                         "password; ignored");
        return MU_OK;
    }
    v = mu_new_n(cmd->arena, struct mu_error_document, c->error_documents.n + 1);
    if (!v)
        return mu_cmd_error(cmd, "out of memory");
    for (size_t i = 0; i < c->error_documents.n; i++) {
        if (c->error_documents.v[i].status != (int)status)
            v[k++] = c->error_documents.v[i];
    }
    v[k++] = (struct mu_error_document){ document_kind(text), (int)status,
                                         mu_str_dup(cmd->arena, text) };
    c->error_documents = (struct mu_error_documents){ v, k };
    return MU_OK;
}

/* The module of "module:level": one that is on, or a part of the server that logs by a name of its own. */
static bool is_log_module(const struct mu_cmd *cmd, struct mu_str word)
{
    ssize_t colon = mu_str_chr(word, ':');
    struct mu_str name;

    if (colon < 0)
        return true;
    name = mu_log_module_name(mu_str_sub(word, 0, (size_t)colon));
    for (size_t i = 0; i < cmd->config->modules_n; i++) {
        if (mu_str_eq(name, mu_str_c(cmd->config->modules[i]->name)))
            return true;
    }
    return mu_config_has_module(cmd->config, name) || mu_str_eq(name, MU_S("spawn")) ||
           mu_str_eq(name, MU_S("suexec"));
}

enum mu_rc mu_core_set_log_level(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                 size_t n)
{
    struct mu_core_conf *c = conf;
    uint8_t *levels = mu_new_n(cmd->arena, uint8_t, MU_LOG_MODULES);

    if (!levels)
        return mu_cmd_error(cmd, "out of memory");
    if (c->log_levels)
        memcpy(levels, c->log_levels, MU_LOG_MODULES);
    else
        mu_log_levels_init(levels);
    for (size_t i = 0; i < n; i++) {
        if (mu_log_levels_add(levels, args[i]) != MU_OK)
            return mu_cmd_error(cmd,
                                "found '%.*s', allowed is [module:]level, level being one of "
                                "emerg, alert, crit, error, warn, notice, info, debug, trace1 "
                                "to trace8",
                                MU_FMT(args[i]));
        if (!is_log_module(cmd, args[i]))
            return mu_cmd_error(cmd, "found '%.*s', but no module of that name is on",
                                MU_FMT(args[i]));
    }
    c->log_levels = levels;
    return MU_OK;
}

enum mu_rc mu_core_set_protocol_options(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                        size_t n)
{
    static const struct {
        const char *name;
        uint8_t set, clear;
    } words[] = {
        { "Strict", 0, MU_PROTO_UNSAFE },
        { "Unsafe", MU_PROTO_UNSAFE, 0 },
        { "RegisteredMethods", MU_PROTO_REGISTERED, MU_PROTO_LENIENT },
        { "LenientMethods", MU_PROTO_LENIENT, MU_PROTO_REGISTERED },
        { "Allow0.9", MU_PROTO_ALLOW09, 0 },
        { "Require1.0", 0, MU_PROTO_ALLOW09 },
    };
    struct mu_core_conf *c = conf;
    uint8_t options = MU_PROTO_LENIENT | MU_PROTO_ALLOW09;

    for (size_t i = 0; i < n; i++) {
        size_t k = 0;

        while (k < MU_ARRAY_LEN(words) && !mu_str_ieq(args[i], mu_str_c(words[k].name)))
            k++;
        if (k == MU_ARRAY_LEN(words))
            return mu_cmd_error(cmd,
                                "found '%.*s', allowed are Strict or Unsafe, RegisteredMethods "
                                "or LenientMethods, Allow0.9 or Require1.0",
                                MU_FMT(args[i]));
        options = (uint8_t)((options & ~words[k].clear) | words[k].set);
    }
    c->protocol_options = options;
    return MU_OK;
}

/* Off, On (iso-8859-1) or a name. */
enum mu_rc mu_core_set_default_charset(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                       size_t n)
{
    struct mu_core_conf *c = conf;
    bool is_on;

    (void)n;
    if (!mu_parse_flag(args[0], &is_on))
        c->default_charset = mu_str_dup(cmd->arena, args[0]);
    else
        c->default_charset = is_on ? MU_S("iso-8859-1") : MU_S("");
    return MU_OK;
}

/* MaxRanges and its kin: a number, "default", "none" or "unlimited". */
enum mu_rc mu_core_set_max_ranges(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                  size_t n)
{
    int64_t *field = (int64_t *)(void *)((char *)conf + cmd->directive->offset);
    bool is_ranges = mu_str_ieq(mu_str_c(cmd->directive->name), MU_S("MaxRanges"));
    uint64_t v;

    (void)n;
    if (mu_str_ieq(args[0], MU_S("default")))
        v = is_ranges ? 200 : 20;
    else if (mu_str_ieq(args[0], MU_S("none")))
        v = 0;
    else if (mu_str_ieq(args[0], MU_S("unlimited")))
        v = UINT32_MAX;
    else if (!mu_str_u64(args[0], &v) || v < 1 || v >= UINT32_MAX)
        return mu_cmd_error(cmd,
                            "found '%.*s', allowed are a positive number, default, none and "
                            "unlimited",
                            MU_FMT(args[0]));
    *field = (int64_t)v;
    return MU_OK;
}

/* Bytes, with a suffix K, M or G. */
enum mu_rc mu_core_set_size(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    int64_t *field = (int64_t *)(void *)((char *)conf + cmd->directive->offset);
    struct mu_str s = args[0];
    uint64_t v, unit = 1;

    (void)n;
    switch (s.n ? mu_lower(s.p[s.n - 1]) : 0) {
    case 'k':
        unit = 1024;
        break;
    case 'm':
        unit = 1024 * 1024;
        break;
    case 'g':
        unit = 1024 * 1024 * 1024;
        break;
    }
    if (unit > 1)
        s.n--;
    if (!mu_str_u64(s, &v) || v > (uint64_t)INT64_MAX / unit)
        return mu_cmd_error(cmd,
                            "found '%.*s', allowed is a number of bytes, with K, M or G behind "
                            "it",
                            MU_FMT(args[0]));
    *field = (int64_t)(v * unit);
    return MU_OK;
}

enum mu_rc mu_core_set_default_type(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                    size_t n)
{
    (void)conf;
    (void)n;
    if (!mu_str_ieq(args[0], MU_S("none")))
        mu_cmd_warn(cmd, "DefaultType has no effect but as 'DefaultType None'; use mod_mime's "
                         "AddType or ForceType");
    return MU_OK;
}

enum mu_rc mu_core_set_regex_options(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                     size_t n)
{
    static const struct word words[] = {
        { "ICASE", MU_REGEX_ICASE },
        { "EXTENDED", MU_REGEX_EXTENDED },
        { "DOTALL", MU_REGEX_DOTALL },
        { "DOLLAR_ENDONLY", MU_REGEX_DOLLAR_ENDONLY },
        { NULL, 0 },
    };
    unsigned flags = mu_regex_defaults();

    (void)conf;
    for (size_t i = 0; i < n; i++) {
        struct mu_str s = args[i];
        char sign = s.n && (s.p[0] == '+' || s.p[0] == '-') ? s.p[0] : 0;
        const struct word *w;

        if (sign)
            s = mu_str_sub(s, 1, s.n);
        if (!sign && mu_str_ieq(s, MU_S("none"))) {
            flags = 0;
            continue;
        }
        w = word_find(words, s);
        if (!w)
            return mu_cmd_error(cmd,
                                "found '%.*s', allowed are none, ICASE, EXTENDED, DOTALL and "
                                "DOLLAR_ENDONLY, with + or - in front",
                                MU_FMT(args[i]));
        if (!sign && i == 0)
            flags = 0;
        flags = sign == '-' ? flags & ~w->bits : flags | w->bits;
    }
    mu_regex_set_defaults(flags);
    return MU_OK;
}

/* LimitInternalRecursion redirects [subrequests] */
enum mu_rc mu_core_set_recursion(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                 size_t n)
{
    struct mu_core_conf *c = conf;
    uint64_t v[2];

    for (size_t i = 0; i < 2; i++) {
        if (!mu_str_u64(args[i < n ? i : 0], &v[i]) || v[i] < 1 || v[i] > 100)
            return mu_cmd_error(cmd, "found '%.*s', allowed are numbers from 1 to 100",
                                MU_FMT(args[i < n ? i : 0]));
    }
    c->max_redirects = (int64_t)v[0];
    c->max_subrequests = (int64_t)v[1];
    return MU_OK;
}

/* A word in lower case; "None" keeps the empty one (SetHandler, ForceType). */
enum mu_rc mu_core_set_word_or_none(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                    size_t n)
{
    struct mu_str *field = (struct mu_str *)(void *)((char *)conf + cmd->directive->offset);

    (void)n;
    if (mu_str_find(args[0], MU_S("%{")) >= 0)
        return mu_cmd_error(cmd, "found '%.*s': expressions are not in this version",
                            MU_FMT(args[0]));
    if (mu_str_ieq(args[0], MU_S("none")))
        *field = MU_S("");
    else if (mu_str_chr(args[0], ':') >= 0) /* "proxy:unix:/run/My.sock": more than a name */
        *field = mu_str_dup(cmd->arena, args[0]);
    else
        *field = mu_str_dup_lower(cmd->arena, args[0]);
    return field->p ? MU_OK : mu_cmd_error(cmd, "out of memory");
}

/* Compression may be left out without anybody seeing more; anything else would change what is shown. */
enum mu_rc mu_core_set_filter(struct mu_cmd *cmd, void *conf, const struct mu_str *args, size_t n)
{
    struct mu_str rest = args[0], name;

    (void)conf;
    (void)n;
    while (mu_str_split(&rest, ';', &name)) {
        if (mu_str_ieq(name, MU_S("none")) || mu_str_ieq(name, MU_S("DEFLATE")) ||
            mu_str_ieq(name, MU_S("BROTLI_COMPRESS")) || mu_str_ieq(name, MU_S("RATE_LIMIT")))
            continue;
        return mu_cmd_error(cmd,
                            "there is no filter '%.*s' in this version; without it content "
                            "would be shown that it hides or changes",
                            MU_FMT(name));
    }
    if (!mu_str_ieq(args[0], MU_S("none")))
        mu_cmd_warn(cmd, "this version has no such filter yet: answers go out unchanged");
    return MU_OK;
}

static bool has_message(const struct mu_logformat *f)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->items[i].kind == 'M')
            return true;
    }
    return false;
}

/* [connection|request] format: the plain form is what messages look like. */
enum mu_rc mu_core_set_error_log_format(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                        size_t n)
{
    struct mu_core_conf *c = conf;
    struct mu_str err = MU_S("out of memory");
    struct mu_logformat format;

    if (n == 1) {
        if (mu_logformat_compile(cmd->arena, args[0], &format, &err) != MU_OK)
            return mu_cmd_error(cmd, "ErrorLogFormat: %.*s", MU_FMT(err));
        if (!has_message(&format))
            return mu_cmd_error(cmd, "ErrorLogFormat must hold the message, %%M");
        c->error_log_format = mu_str_dup(cmd->arena, args[0]);
        return c->error_log_format.p ? MU_OK : mu_cmd_error(cmd, "out of memory");
    }
    if (!mu_str_ieq(args[0], MU_S("connection")) && !mu_str_ieq(args[0], MU_S("request")))
        return mu_cmd_error(cmd, "found '%.*s', allowed are connection and request",
                            MU_FMT(args[0]));
    mu_cmd_warn(cmd, "no additional line is written for a connection or request");
    return MU_OK;
}

enum mu_rc mu_core_set_content_digest(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                      size_t n)
{
    bool is_on;

    (void)conf;
    (void)n;
    if (!mu_parse_flag(args[0], &is_on))
        return mu_cmd_error(cmd, "found '%.*s', allowed are On and Off", MU_FMT(args[0]));
    if (is_on)
        mu_cmd_warn(cmd, "Content-MD5 has left HTTP (RFC 7231 appendix B): none is sent");
    return MU_OK;
}

/* AccessFileName and AllowOverrideList: the words of the last line count. */
enum mu_rc mu_core_set_directory_word(struct mu_cmd *cmd, void *conf, const struct mu_str *args,
                                      size_t n)
{
    struct mu_strs *field = (struct mu_strs *)(void *)((char *)conf + cmd->directive->offset);
    struct mu_str *v = mu_new_n(cmd->arena, struct mu_str, n);
    size_t k = 0;

    for (size_t i = 0; v && i < n; i++) {
        if (!mu_str_ieq(args[i], MU_S("none")) || field->n)
            v[k++] = mu_str_dup(cmd->arena, args[i]);
    }
    *field = (struct mu_strs){ v, k };
    return v ? MU_OK : mu_cmd_error(cmd, "out of memory");
}
