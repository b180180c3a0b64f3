/*
 * known: the modules of httpd 2.4 and the best known ones from elsewhere, with a word on each and
 * the names of their directives. Only errors are made of it: what Muster has is said by the
 * modules' own tables.
 */
#include <muster/str.h>

#include "conf/priv.h"

const struct mu_httpd_module mu_httpd_modules[] = {
    { "access_compat", "Order, Allow, Deny, Satisfy",
      "use Require all granted or Require all denied", "order allow deny Satisfy" },
    { "actions", "handlers by CGI script", NULL, "Action Script" },
    { "alias", "Alias and Redirect", NULL,
      "Alias ScriptAlias Redirect AliasMatch ScriptAliasMatch RedirectMatch RedirectTemp "
      "RedirectPermanent RedirectRelative AliasPreservePath" },
    { "allowmethods", "AllowMethods", NULL, "AllowMethods" },
    { "asis", "files that hold their own headers", NULL, "" },
    { "auth_basic", "Basic authentication", NULL,
      "AuthBasicProvider AuthBasicAuthoritative AuthBasicFake AuthBasicUseDigestAlgorithm" },
    { "auth_digest", "Digest authentication", NULL,
      "AuthDigestProvider AuthDigestQop AuthDigestNonceLifetime AuthDigestNcCheck "
      "AuthDigestAlgorithm AuthDigestDomain AuthDigestShmemSize" },
    { "auth_form", "form authentication", NULL,
      "AuthFormProvider AuthFormUsername AuthFormPassword AuthFormLocation AuthFormMethod "
      "AuthFormMimetype AuthFormBody AuthFormSize AuthFormLoginRequiredLocation "
      "AuthFormLoginSuccessLocation AuthFormLogoutLocation AuthFormSitePassphrase "
      "AuthFormAuthoritative AuthFormFakeBasicAuth AuthFormDisableNoStore" },
    { "authn_anon", "anonymous users", NULL,
      "Anonymous Anonymous_MustGiveEmail Anonymous_NoUserId Anonymous_VerifyEmail "
      "Anonymous_LogEmail" },
    { "authn_core", "AuthType, AuthName", NULL, "AuthType AuthName <AuthnProviderAlias" },
    { "authn_dbd", "passwords in a database", NULL, "AuthDBDUserPWQuery AuthDBDUserRealmQuery" },
    { "authn_dbm", "passwords in a DBM file", NULL, "AuthDBMUserFile AuthDBMType" },
    { "authn_file", "passwords in a file", NULL, "AuthUserFile" },
    { "authn_socache", "a cache of passwords", NULL,
      "AuthnCacheSOCache AuthnCacheEnable AuthnCacheProvideFor AuthnCacheTimeout "
      "AuthnCacheContext" },
    { "authnz_fcgi", "FastCGI authorizers", NULL,
      "AuthnzFcgiDefineProvider AuthnzFcgiCheckAuthnProvider" },
    { "authnz_ldap", "LDAP authentication", NULL,
      "AuthLDAPURL AuthLDAPBindDN AuthLDAPBindPassword AuthLDAPBindAuthoritative "
      "AuthLDAPRemoteUserIsDN AuthLDAPRemoteUserAttribute AuthLDAPCompareDNOnServer "
      "AuthLDAPSubGroupAttribute AuthLDAPSubGroupClass AuthLDAPMaxSubGroupDepth "
      "AuthLDAPGroupAttribute AuthLDAPGroupAttributeIsDN AuthLDAPDereferenceAliases "
      "AuthLDAPCharsetConfig AuthLDAPAuthorizePrefix AuthLDAPInitialBindAsUser "
      "AuthLDAPInitialBindPattern AuthLDAPSearchAsUser AuthLDAPCompareAsUser" },
    { "authz_core", "Require", NULL,
      "<AuthzProviderAlias Require <RequireAll <RequireAny <RequireNone AuthMerging "
      "AuthzSendForbiddenOnFailure" },
    { "authz_dbd", "groups in a database", NULL,
      "AuthzDBDLoginToReferer AuthzDBDQuery AuthzDBDRedirectQuery" },
    { "authz_dbm", "groups in a DBM file", NULL, "AuthDBMGroupFile AuthzDBMType" },
    { "authz_groupfile", "groups in a file", NULL, "AuthGroupFile" },
    { "authz_host", "Require ip, Require host", NULL, "" },
    { "authz_owner", "Require file-owner", NULL, "" },
    { "authz_user", "Require user, Require valid-user", NULL, "" },
    { "autoindex", "directory listings", NULL,
      "AddIcon AddIconByType AddIconByEncoding AddAlt AddAltByType AddAltByEncoding "
      "IndexOptions IndexOrderDefault IndexIgnore IndexIgnoreReset AddDescription "
      "HeaderName ReadmeName FancyIndexing DefaultIcon IndexStyleSheet IndexHeadInsert" },
    { "brotli", "brotli compression", NULL,
      "BrotliFilterNote BrotliCompressionQuality BrotliCompressionWindow "
      "BrotliCompressionMaxInputBlock BrotliAlterETag" },
    { "bucketeer", "a test of filters", NULL, "" },
    { "buffer", "request and answer buffering", NULL, "BufferSize" },
    { "cache", "HTTP cache", NULL,
      "CacheEnable CacheDisable CacheMaxExpire CacheMinExpire CacheDefaultExpire "
      "CacheQuickHandler CacheIgnoreNoLastMod CacheIgnoreCacheControl CacheStoreExpired "
      "CacheStorePrivate CacheStoreNoStore CacheIgnoreHeaders CacheIgnoreQueryString "
      "CacheIgnoreURLSessionIdentifiers CacheLastModifiedFactor CacheLock CacheLockPath "
      "CacheLockMaxAge CacheHeader CacheDetailHeader CacheKeyBaseURL CacheStaleOnError" },
    { "cache_disk", "HTTP cache on disk", NULL,
      "CacheRoot CacheDirLevels CacheDirLength CacheMinFileSize CacheMaxFileSize "
      "CacheReadSize CacheReadTime" },
    { "cache_socache", "HTTP cache in shared memory", NULL,
      "CacheSocache CacheSocacheMaxTime CacheSocacheMinTime CacheSocacheMaxSize "
      "CacheSocacheReadSize CacheSocacheReadTime" },
    { "case_filter", "a test of filters", NULL, "CaseFilter" },
    { "case_filter_in", "a test of filters", NULL, "CaseFilterIn" },
    { "cern_meta", "CERN meta files", NULL, "MetaFiles MetaDir MetaSuffix" },
    { "cgi", "CGI scripts", NULL, "ScriptLog ScriptLogLength ScriptLogBuffer CGIScriptTimeout" },
    { "cgid", "CGI scripts", NULL,
      "ScriptLog ScriptLogLength ScriptLogBuffer ScriptSock CGIDScriptTimeout" },
    { "charset_lite", "character set translation", NULL,
      "CharsetSourceEnc CharsetDefault CharsetOptions" },
    { "data", "data: URLs", NULL, "" },
    { "dav", "WebDAV", NULL, "DAV DAVBasePath DAVMinTimeout DAVDepthInfinity DAVLockDiscovery" },
    { "dav_fs", "WebDAV", NULL, "DAVLockDB" },
    { "dav_lock", "WebDAV", NULL, "DAVGenericLockDB" },
    { "dbd", "SQL databases", NULL,
      "DBDriver DBDParams DBDPersist DBDPrepareSQL DBDInitSQL DBDMin DBDKeep DBDMax "
      "DBDExptime" },
    { "deflate", "gzip compression", NULL,
      "DeflateFilterNote DeflateWindowSize DeflateBufferSize DeflateMemLevel "
      "DeflateCompressionLevel DeflateInflateLimitRequestBody DeflateInflateRatioLimit "
      "DeflateInflateRatioBurst DeflateAlterEtag" },
    { "dialup", "bandwidth limits", NULL, "ModemStandard" },
    { "dir", "DirectoryIndex", NULL,
      "FallbackResource DirectoryIndex DirectorySlash DirectoryCheckHandler "
      "DirectoryIndexRedirect" },
    { "dumpio", "dumps of input and output", NULL, "DumpIOInput DumpIOOutput" },
    { "echo", "an echo server", NULL, "ProtocolEcho" },
    { "env", "SetEnv, PassEnv", NULL, "PassEnv SetEnv UnsetEnv" },
    { "expires", "Expires headers", NULL, "ExpiresActive ExpiresByType ExpiresDefault" },
    { "ext_filter", "filters by external program", NULL, "ExtFilterOptions ExtFilterDefine" },
    { "fcgid", "FastCGI processes", NULL,
      "FcgidWrapper FcgidIPCDir FcgidProcessTableFile FcgidConnectTimeout "
      "FcgidMaxRequestLen FcgidInitialEnv FcgidMaxProcesses FcgidIOTimeout" },
    { "file_cache", "a cache of open files", "open files are cached anyway", "cachefile mmapfile" },
    { "filter", "filter chains", NULL,
      "FilterDeclare FilterProvider FilterChain FilterTrace AddOutputFilterByType "
      "FilterProtocol" },
    { "headers", "Header, RequestHeader", NULL, "Header RequestHeader" },
    { "heartbeat", "heartbeats", NULL, "HeartbeatAddress" },
    { "heartmonitor", "heartbeats", NULL, "HeartbeatListen HeartbeatStorage HeartbeatMaxServers" },
    { "http", "HTTP", NULL, "KeepAliveTimeout MaxKeepAliveRequests KeepAlive" },
    { "http2", "HTTP/2", NULL,
      "H2MaxSessionStreams H2WindowSize H2MinWorkers H2MaxWorkers H2MaxWorkerIdleSeconds "
      "H2StreamMaxMemSize H2SerializeHeaders H2ModernTLSOnly H2Upgrade H2Direct "
      "H2SessionExtraFiles H2TLSWarmUpSize H2TLSCoolDownSecs H2Push H2PushPriority "
      "H2PushDiarySize H2CopyFiles H2PushResource H2EarlyHints H2Padding H2OutputBuffering "
      "H2StreamTimeout H2MaxDataFrameLen H2MaxHeaderBlockLen H2MaxStreamErrors H2EarlyHint "
      "H2ProxyRequests H2WebSockets" },
    { "ident", "RFC 1413 look-ups", NULL, "IdentityCheck IdentityCheckTimeout" },
    { "imagemap", "server-side image maps", NULL, "ImapMenu ImapDefault ImapBase" },
    { "include", "server-side includes", NULL,
      "XBitHack SSIErrorMsg SSITimeFormat SSIStartTag SSIEndTag SSIUndefinedEcho "
      "SSILegacyExprParser SSILastModified SSIEtag" },
    { "info", "server-info", "musterctl -t -D DUMP_CONFIG and muster -M show the configuration",
      "AddModuleInfo" },
    { "isapi", "ISAPI", NULL,
      "ISAPICacheFile ISAPIReadAheadBuffer ISAPILogNotSupported ISAPIAppendLogToErrors "
      "ISAPIAppendLogToQuery ISAPIFakeAsync" },
    { "lbmethod_bybusyness", "a reverse proxy", NULL, "" },
    { "lbmethod_byrequests", "a reverse proxy", NULL, "" },
    { "lbmethod_bytraffic", "a reverse proxy", NULL, "" },
    { "lbmethod_heartbeat", "a reverse proxy", NULL, "HeartbeatStorage" },
    { "ldap", "LDAP connections", NULL,
      "LDAPSharedCacheSize LDAPSharedCacheFile LDAPCacheEntries LDAPCacheTTL "
      "LDAPOpCacheEntries LDAPOpCacheTTL LDAPTrustedGlobalCert LDAPTrustedClientCert "
      "LDAPTrustedMode LDAPVerifyServerCert LDAPConnectionTimeout LDAPReferrals "
      "LDAPReferralHopLimit LDAPLibraryDebug LDAPTimeout LDAPConnectionPoolTTL LDAPRetries "
      "LDAPRetryDelay" },
    { "log_config", "CustomLog", NULL, "CustomLog GlobalLog TransferLog LogFormat BufferedLogs" },
    { "log_debug", "LogMessage", NULL, "LogMessage" },
    { "log_forensic", "forensic logs", NULL, "ForensicLog" },
    { "logio", "bytes on the wire", NULL, "LogIOTrackTTFB" },
    { "lua", "Lua scripts", NULL,
      "LuaRoot LuaPackagePath LuaPackageCPath LuaAuthzProvider LuaHookPreTranslateName "
      "<LuaHookPreTranslateName LuaHookTranslateName <LuaHookTranslateName LuaHookFixups "
      "<LuaHookFixups LuaHookMapToStorage <LuaHookMapToStorage LuaHookCheckUserID "
      "<LuaHookCheckUserID LuaHookTypeChecker <LuaHookTypeChecker LuaHookAccessChecker "
      "<LuaHookAccessChecker LuaHookAuthChecker <LuaHookAuthChecker LuaHookInsertFilter "
      "LuaHookLog LuaScope LuaInherit LuaCodeCache LuaQuickHandler <LuaQuickHandler "
      "Lua_____ByteCodeHack LuaMapHandler LuaOutputFilter LuaInputFilter" },
    { "macro", "macros", "write the directives out, or Include a file with ${NAME} in it",
      "<Macro Use UndefMacro MacroIgnoreEmptyArgs MacroIgnoreBadNesting" },
    { "md", "certificates by ACME", NULL,
      "MDCertificateAuthority MDCertificateAgreement MDCAChallenges MDCertificateProtocol "
      "MDContactEmail MDDriveMode MDRenewMode MDomain <MDomainSet <MDomain MDMember "
      "MDMembers MDMustStaple MDPortMap MDPrivateKeys MDHttpProxy MDStoreDir MDRenewWindow "
      "MDRequireHttps MDNotifyCmd MDBaseServer MDChallengeDns01 MDChallengeDns01Version "
      "MDCertificateFile MDCertificateKeyFile MDServerStatus MDCertificateStatus "
      "MDWarnWindow MDMessageCmd MDStapling MDStapleOthers MDStaplingKeepResponse "
      "MDStaplingRenewWindow MDCertificateCheck MDActivationDelay MDCACertificateFile "
      "MDHttpProxyCACertificateFile MDExternalAccountBinding MDRetryDelay MDRetryFailover "
      "MDStoreLocks MDMatchNames MDInitialDelay MDCheckInterval MDProfile "
      "MDProfileMandatory MDRenewViaARI" },
    { "mime", "content types", NULL,
      "AddCharset AddEncoding AddHandler AddInputFilter AddLanguage AddOutputFilter AddType "
      "DefaultLanguage MultiviewsMatch RemoveCharset RemoveEncoding RemoveHandler "
      "RemoveInputFilter RemoveLanguage RemoveOutputFilter RemoveType TypesConfig "
      "ModMimeUsePathInfo" },
    { "mime_magic", "content types by content", NULL, "MimeMagicFile" },
    { "mpm_event", "the event MPM", NULL,
      "StartServers MinSpareThreads MaxSpareThreads ThreadsPerChild ServerLimit ThreadLimit "
      "AsyncRequestWorkerFactor" },
    { "mpm_prefork", "the prefork MPM", NULL,
      "StartServers MinSpareServers MaxSpareServers ServerLimit" },
    { "mpm_worker", "the worker MPM", NULL,
      "StartServers MinSpareThreads MaxSpareThreads ThreadsPerChild ServerLimit ThreadLimit" },
    { "negotiation", "content negotiation", NULL,
      "CacheNegotiatedDocs LanguagePriority ForceLanguagePriority" },
    { "nw_ssl", "TLS on NetWare", NULL, "NWSSLTrustedCerts NWSSLUpgradeable SecureListen" },
    { "passenger", "application processes", NULL,
      "PassengerRoot PassengerRuby PassengerDefaultRuby PassengerEnabled PassengerAppRoot" },
    { "perl", "Perl in the server", NULL,
      "PerlModule PerlRequire PerlResponseHandler PerlHandler PerlSetVar PerlOptions "
      "PerlSwitches" },
    { "php", "PHP in the server",
      "it is built where libphp and its headers are: apt-get install libphp-embed php-dev, and make "
      "again; or run PHP in processes of its own (an <ApplicationPool>, or php-fpm)",
      "php_value php_flag php_admin_value php_admin_flag PHPINIDir" },
    { "privileges", "Solaris privileges", NULL,
      "VHostUser VHostGroup VHostSecure VHostCGIMode VHostPrivs VHostCGIPrivs "
      "DTracePrivileges PrivilegesMode" },
    { "proxy", "a reverse proxy", NULL,
      "<Proxy <ProxyMatch ProxyRequests ProxyRemote ProxyRemoteMatch "
      "ProxyPassInterpolateEnv ProxyPass ProxyPassMatch ProxyPassReverse "
      "ProxyPassReverseCookiePath ProxyPassReverseCookieDomain ProxyBlock "
      "ProxyReceiveBufferSize ProxyIOBufferSize ProxyMaxForwards NoProxy ProxyDomain "
      "ProxyVia ProxyErrorOverride ProxyPreserveHost ProxyTimeout ProxyBadHeader "
      "BalancerMember BalancerGrowth BalancerPersist BalancerInherit ProxyPassInherit "
      "ProxyStatus ProxySet ProxySourceAddress ProxyAddHeaders Proxy100Continue" },
    { "proxy_ajp", "a reverse proxy", NULL, "" },
    { "proxy_balancer", "a reverse proxy", NULL, "" },
    { "proxy_connect", "a reverse proxy", NULL, "AllowCONNECT" },
    { "proxy_express", "a reverse proxy", NULL,
      "ProxyExpressEnable ProxyExpressDBMFile ProxyExpressDBMType" },
    { "proxy_fcgi", "a reverse proxy", NULL, "ProxyFCGIBackendType ProxyFCGISetEnvIf" },
    { "proxy_fdpass", "a reverse proxy", NULL, "" },
    { "proxy_ftp", "a reverse proxy", NULL,
      "ProxyFtpListOnWildcard ProxyFtpEscapeWildcards ProxyFtpDirCharset" },
    { "proxy_hcheck", "a reverse proxy", NULL, "ProxyHCTemplate ProxyHCExpr ProxyHCTPsize" },
    { "proxy_html", "a reverse proxy", NULL,
      "ProxyHTMLEvents ProxyHTMLLinks ProxyHTMLURLMap ProxyHTMLDoctype ProxyHTMLFixups "
      "ProxyHTMLMeta ProxyHTMLInterp ProxyHTMLExtended ProxyHTMLStripComments "
      "ProxyHTMLBufSize ProxyHTMLCharsetOut ProxyHTMLEnable" },
    { "proxy_http", "a reverse proxy", NULL, "" },
    { "proxy_http2", "a reverse proxy", NULL, "" },
    { "proxy_scgi", "a reverse proxy", NULL, "ProxySCGISendfile ProxySCGIInternalRedirect" },
    { "proxy_uwsgi", "a reverse proxy", NULL, "" },
    { "proxy_wstunnel", "a reverse proxy", NULL, "ProxyWebsocketFallbackToProxyHttp" },
    { "ratelimit", "bandwidth limits", NULL, "" },
    { "reflector", "an echo handler", NULL, "ReflectorHeader" },
    { "remoteip", "client addresses from a proxy", NULL,
      "RemoteIPHeader RemoteIPProxiesHeader RemoteIPTrustedProxy RemoteIPInternalProxy "
      "RemoteIPTrustedProxyList RemoteIPInternalProxyList RemoteIPProxyProtocol "
      "RemoteIPProxyProtocolExceptions" },
    { "reqtimeout", "RequestReadTimeout", NULL, "RequestReadTimeout" },
    { "request", "kept request bodies", NULL, "KeptBodySize" },
    { "rewrite", "RewriteRule", NULL,
      "RewriteEngine RewriteOptions RewriteBase RewriteCond RewriteRule RewriteMap" },
    { "security2", "ModSecurity", NULL,
      "SecRuleEngine SecRule SecAction SecRequestBodyAccess SecResponseBodyAccess "
      "SecAuditEngine SecAuditLog SecDataDir" },
    { "sed", "edits of bodies", NULL, "OutputSed InputSed" },
    { "session", "sessions", NULL,
      "Session SessionMaxAge SessionHeader SessionEnv SessionInclude SessionExclude "
      "SessionExpiryUpdateInterval" },
    { "session_cookie", "sessions", NULL,
      "SessionCookieName SessionCookieName2 SessionCookieRemove" },
    { "session_crypto", "sessions", NULL,
      "SessionCryptoPassphrase SessionCryptoPassphraseFile SessionCryptoCipher "
      "SessionCryptoDriver" },
    { "session_dbd", "sessions", NULL,
      "SessionDBDSelectLabel SessionDBDInsertLabel SessionDBDUpdateLabel "
      "SessionDBDDeleteLabel SessionDBDPerUser SessionDBDCookieRemove SessionDBDCookieName "
      "SessionDBDCookieName2" },
    { "setenvif", "SetEnvIf, BrowserMatch", NULL,
      "SetEnvIf SetEnvIfNoCase SetEnvIfExpr BrowserMatch BrowserMatchNoCase" },
    { "slotmem_plain", "shared memory", NULL, "" },
    { "slotmem_shm", "shared memory", "only other modules use it: leave it out", "" },
    { "socache_dbm", "a shared cache", NULL, "" },
    { "socache_memcache", "a shared cache", NULL, "MemcacheConnTTL" },
    { "socache_redis", "a shared cache", NULL, "RedisConnPoolTTL RedisTimeout" },
    { "socache_shmcb", "a shared cache", "only other modules use it: leave it out", "" },
    { "speling", "correction of misspelled URLs", NULL,
      "CheckSpelling CheckCaseOnly CheckBasenameMatch" },
    { "ssl", "TLS", NULL,
      "SSLPassPhraseDialog SSLSessionCache SSLCryptoDevice SSLRandomSeed SSLVHostSNIPolicy "
      "SSLEngine SSLFIPS SSLCipherSuite SSLCertificateFile SSLCertificateKeyFile "
      "SSLCertificateChainFile SSLSessionTicketKeyFile SSLCACertificatePath "
      "SSLCACertificateFile SSLCADNRequestPath SSLCADNRequestFile SSLCARevocationPath "
      "SSLCARevocationFile SSLCARevocationCheck SSLVerifyClient SSLVerifyDepth "
      "SSLSessionCacheTimeout SSLProtocol SSLHonorCipherOrder SSLCompression "
      "SSLSessionTickets SSLInsecureRenegotiation SSLUserName SSLStrictSNIVHostCheck "
      "SSLSRPVerifierFile SSLSRPUnknownUserSeed SSLProxyEngine SSLProxyProtocol "
      "SSLProxyCipherSuite SSLProxyVerify SSLProxyVerifyDepth SSLProxyCACertificateFile "
      "SSLProxyCACertificatePath SSLProxyCARevocationPath SSLProxyCARevocationFile "
      "SSLProxyCARevocationCheck SSLProxyMachineCertificateFile "
      "SSLProxyMachineCertificatePath SSLProxyMachineCertificateChainFile "
      "SSLProxyCheckPeerExpire SSLProxyCheckPeerCN SSLProxyCheckPeerName SSLOptions "
      "SSLRequireSSL SSLRequire SSLRenegBufferSize SSLOCSPEnable SSLOCSPDefaultResponder "
      "SSLOCSPOverrideResponder SSLOCSPResponseTimeSkew SSLOCSPResponseMaxAge "
      "SSLOCSPResponderTimeout SSLOCSPUseRequestNonce SSLOCSPProxyURL SSLOCSPNoVerify "
      "SSLOCSPResponderCertificateFile SSLStaplingCache SSLUseStapling "
      "SSLStaplingResponseTimeSkew SSLStaplingResponderTimeout SSLStaplingResponseMaxAge "
      "SSLStaplingStandardCacheTimeout SSLStaplingReturnResponderErrors "
      "SSLStaplingFakeTryLater SSLStaplingErrorCacheTimeout SSLStaplingForceURL "
      "SSLOpenSSLConfCmd SSLLog SSLLogLevel" },
    { "status", "server-status", NULL, "" },
    { "substitute", "edits of bodies", NULL,
      "Substitute SubstituteMaxLineLength SubstituteInheritBefore" },
    { "suexec", "CGI as another user", NULL, "SuexecUserGroup" },
    { "systemd", "systemd notification", "the server notifies systemd by itself", "IdleShutdown" },
    { "tls", "TLS", NULL,
      "TLSEngine TLSCertificate TLSCiphersPrefer TLSCiphersSuppress TLSHonorClientOrder "
      "TLSOptions TLSProtocol TLSProxyCA TLSProxyCiphersPrefer TLSProxyCiphersSuppress "
      "TLSProxyEngine TLSProxyMachineCertificate TLSProxyProtocol TLSSessionCache "
      "TLSStrictSNI" },
    { "unique_id", "UNIQUE_ID", NULL, "" },
    { "unixd", "User, Group", NULL, "User Group ChrootDir Suexec" },
    { "userdir", "UserDir", NULL, "UserDir" },
    { "usertrack", "user tracking cookies", NULL,
      "CookieExpires CookieDomain CookieStyle CookieTracking CookieName CookieSameSite "
      "CookieSecure CookieHttpOnly" },
    { "version", "IfVersion", NULL, "<IfVersion" },
    { "vhost_alias", "mass virtual hosting", NULL,
      "VirtualScriptAlias VirtualDocumentRoot VirtualScriptAliasIP VirtualDocumentRootIP" },
    { "watchdog", "periodic tasks", NULL, "WatchdogInterval" },
    { "wsgi", "Python applications", NULL,
      "WSGIScriptAlias WSGIDaemonProcess WSGIProcessGroup WSGIApplicationGroup "
      "WSGIPythonPath WSGIPythonHome WSGIScriptReloading WSGIPassAuthorization "
      "WSGIImportScript WSGIChunkedRequest WSGISocketPrefix" },
    { "xml2enc", "character sets of XML", NULL, "xml2EncDefault xml2EncAlias xml2StartParse" },
    { .name = NULL },
};

const struct mu_httpd_module *mu_httpd_module_find(struct mu_str name)
{
    const struct mu_httpd_module *m = mu_httpd_modules;

    if (mu_str_eq(name, MU_S("php7")) || mu_str_eq(name, MU_S("php5")))
        name = MU_S("php");
    for (; m->name; m++)
        if (mu_str_eq(mu_str_c(m->name), name))
            return m;
    return NULL;
}

const struct mu_httpd_module *mu_httpd_directive_find(struct mu_str directive)
{
    for (const struct mu_httpd_module *m = mu_httpd_modules; directive.n && m->name; m++) {
        struct mu_str rest = mu_str_c(m->directives);
        struct mu_str name;

        while (mu_str_split(&rest, ' ', &name))
            if (mu_str_ieq(name, directive))
                return m;
    }
    return NULL;
}
