/*
 * test_errors: every message there is, word for word, and that one load finds all of them. Rows
 * give the file and what is said; "muster: Syntax error on line N of /s/conf/httpd.conf:" is left
 * out of the row and N stands in front.
 */
#include "conf_test.h"

/* Each of these files includes itself twice: what stops the reading must stop all of it. */
#define TWICE(name) "Nope\nInclude " name "\nInclude " name "\n"
#define HEAD "muster: Syntax error on line "
#define FILE_NAME "/s/conf/httpd.conf"

/* "3: text|" for each message about the main file; others as they are. */
static void shorten(struct mu_str all, struct mu_buf *out)
{
    struct mu_str line;

    while (mu_str_split(&all, '\n', &line)) {
        bool is_warning = mu_str_starts(line, MU_S("[w] "));
        struct mu_str rest = is_warning ? mu_str_sub(line, 4, line.n) : line;
        struct mu_str head = is_warning ? MU_S("muster: Warning on line ") : MU_S(HEAD);
        struct mu_str tail = MU_S(" of " FILE_NAME ":");

        if (line.n == 0)
            continue;
        if (mu_str_starts(rest, head) && mu_str_ends(rest, tail))
            mu_buf_addf(out, "%s%.*s: ", is_warning ? "w" : "", (int)(rest.n - head.n - tail.n),
                        rest.p + head.n);
        else
            mu_buf_addf(out, "%.*s|", MU_FMT(line));
    }
}

struct row {
    int row;
    const char *text, *want;
};

static void run_rows(const struct row *rows, size_t n)
{
    static const struct memfile more[] = { { "/s/loop.conf", MU_S("Include loop.conf\n") },
                                           { "/s/open.conf", MU_S("List a\n<Files x>\n") },
                                           { "/s/close.conf", MU_S("</Files>\n") },
                                           { "/s/twice.conf", MU_S(TWICE("twice.conf")) },
                                           { "/s/deep.conf",
                                             MU_S("<IfModule core.c>\n" TWICE("deep.conf")) },
                                           { NULL, MU_STR_NULL } };

    for (size_t i = 0; i < n; i++) {
        struct loaded_conf l = conf_load(rows[i].text, more);
        struct mu_buf out = { 0 };

        shorten(mu_buf_str(&l.messages), &out);
        check_str(rows[i].row, mu_buf_str(&out), mu_str_c(rows[i].want));
        check_int(rows[i].row, l.rc,
                  rows[i].want[0] == 'w' || rows[i].want[0] == '\0' ? MU_OK : MU_BAD);
        mu_buf_fini(&out);
        conf_free(&l);
    }
}
#define RUN(rows) run_rows(rows, MU_ARRAY_LEN(rows))

#define INVALID(name)                                                                              \
    "Invalid command '" name "', perhaps misspelled or defined by a module not included in the "   \
    "server configuration|"

static void test_structure(void **state)
{
    static const struct row rows[] = {
        { __LINE__, "</Directory>\n", "1: </Directory> without matching <Directory> section|" },
        { __LINE__, "<Directory /x>\n</Files>\nList a\n",
          "2: Expected </Directory> but saw </Files> (<Directory> was opened on line 1)|" },
        { __LINE__, "<Directory /x>\n<Files a>\n</Directory>\nList a\n",
          "3: Expected </Files> but saw </Directory> (<Files> was opened on line 2)|" },
        { __LINE__, "<Directory /x>\n<Files a>\nList a\n",
          "2: <Files> was not closed|1: <Directory> was not closed|" },
        { __LINE__, "<Directory /x\n</Directory\n",
          "1: <Directory> directive missing closing '>'|2: </Directory> directive missing closing '>'|" },
        { __LINE__, "<Directory /x>\n</Directory></VirtualHost>\n",
          "2: Expected </Directory> but saw </Directory></VirtualHost> (<Directory> was opened on line 1)|" },
        { __LINE__, "<IfModule nope.c>\n<IfDefine x>\n</IfModule>\n",
          "3: Expected </IfDefine> but saw </IfModule> (<IfDefine> was opened on line 2)|" },
        { __LINE__, "<IfModule nope.c>\n", "1: <IfModule> was not closed|" },
        { __LINE__, "Include open.conf\n</Files>\n",
          "muster: Syntax error on line 2 of /s/open.conf:|<Files> was not closed|"
          "2: </Files> without matching <Files> section|" },
        { __LINE__, "<Files x>\nInclude close.conf\n</Files>\n",
          "muster: Syntax error on line 1 of /s/close.conf:|</Files> without matching <Files> section|" },
        { __LINE__, "<Foo bar>\nNope\n</Foo>\nNope\n",
          "1: " INVALID("<Foo") "4: " INVALID("Nope") },
    };

    (void)state;
    RUN(rows);
}

static void test_conditions(void **state)
{
    static const struct row rows[] = {
        { __LINE__, "<IfModule>\nList a\n</IfModule>\n",
          "1: <IfModule> directive requires additional arguments|" },
        { __LINE__, "<IfDefine \"\">\n</IfDefine>\n",
          "1: <IfDefine> directive requires additional arguments|" },
        { __LINE__, "<IfVersion foo 2.4>\n</IfVersion>\n",
          "1: <IfVersion>: unrecognized operator 'foo'; there are = == > >= < <= ~|" },
        { __LINE__, "<IfVersion ! > 2.4>\n</IfVersion>\n",
          "1: <IfVersion> takes an operator (= == > >= < <= ~) and a version|" },
        { __LINE__, "<IfVersion => 2.4>\n</IfVersion>\n",
          "1: <IfVersion>: unrecognized operator '=>'; there are = == > >= < <= ~|" },
        { __LINE__, "<IfVersion>\n</IfVersion>\n",
          "1: <IfVersion> takes an operator (= == > >= < <= ~) and a version|" },
        { __LINE__, "<IfVersion 2.4.71.1>\n</IfVersion>\n",
          "1: <IfVersion>: \"2.4.71.1\" is not a version (major[.minor[.patch]])|" },
        { __LINE__, "<IfVersion > 2.x>\n</IfVersion>\n",
          "1: <IfVersion>: \"2.x\" is not a version (major[.minor[.patch]])|" },
        { __LINE__, "List ${NOT_DEFINED} a\n",
          "w1: Config variable ${NOT_DEFINED} is not defined|" },
        { __LINE__, "Define A \"\"\nList ${A} a\n", "w2: Config variable ${A} is not defined|" },
    };

    (void)state;
    RUN(rows);
}

static void test_directives_on_read(void **state)
{
    static const struct row rows[] = {
        { __LINE__, "Include nope.conf\n",
          "1: Could not open configuration file /s/nope.conf: No such file or directory|" },
        { __LINE__, "Include nope/*.conf\nList a\n",
          "1: No matches for the wildcard '/s/nope/*.conf', failing (use IncludeOptional if required)|" },
        { __LINE__, "Include\n",
          "1: Include takes one argument, but 0 were found (File, folder or pattern to read "
          "here; a pattern must match something)|" },
        { __LINE__, "Include a b\n",
          "1: Include takes one argument, but 2 were found (File, folder or pattern to "
          "read here; a pattern must match something)|" },
        { __LINE__, "Include loop.conf\n",
          "muster: Syntax error on line 1 of /s/loop.conf:|Exceeded maximum include "
          "depth of 128, There appears to be a recursion.|" },
        { __LINE__, "Include twice.conf\n",
          "muster: Syntax error on line 2 of /s/twice.conf:|Exceeded maximum include depth of 128, "
          "There appears to be a recursion.|" },
        { __LINE__, "Include deep.conf\n",
          "muster: Syntax error on line 1 of /s/deep.conf:|<IfModule> is nested more than 100 "
          "sections deep|" },
        { __LINE__, "Define a:b c\n", "1: Define: the name \"a:b\" must not contain ':'|" },
        { __LINE__, "UnDefine a:b\n", "1: UnDefine: the name \"a:b\" must not contain ':'|" },
        { __LINE__, "Define\n",
          "1: Define takes 1-2 arguments, but 0 were found (Name to define as -D does, with "
          "the value ${NAME} stands for)|" },
        { __LINE__, "ServerRoot nope\n",
          "1: ServerRoot must be a valid directory, which \"nope\" is not|" },
        { __LINE__, "ServerRoot /s/conf/httpd.conf\n",
          "1: ServerRoot must be a valid directory, which \"/s/conf/httpd.conf\" is not|" },
        { __LINE__, "<VirtualHost *>\nServerRoot /s\n</VirtualHost>\n",
          "2: ServerRoot cannot occur within <VirtualHost> section|" },
        { __LINE__, "<Directory />\nLoadModule dir_module x\n</Directory>\n",
          "2: LoadModule not allowed in <Directory> context|" },
        { __LINE__, "Error \"stop it\"\nError go on\n", "1: stop it|2: go on|" },
    };

    (void)state;
    RUN(rows);
}

static void test_names(void **state)
{
    static const struct row rows[] = {
        { __LINE__, "Nope x\n", "1: " INVALID("Nope") },
        { __LINE__, "DocumentRot /x\n",
          "1: " INVALID("DocumentRot") "The nearest name there is: DocumentRoot|" },
        { __LINE__, "<Directroy /x>\nNope\n</Directroy>\n",
          "1: " INVALID("<Directroy") "The nearest name there is: <Directory|" },
        { __LINE__, "RewriteEngine on\n",
          "1: " INVALID(
              "RewriteEngine") "It belongs to httpd's mod_rewrite "
                               "(RewriteRule), which this version of Muster does not have|" },
        { __LINE__, "LoadModule dir_module x\nAlias /a /b\n",
          "2: " INVALID(
              "Alias") "It belongs to mod_alias, which is not loaded: LoadModule alias_module "
                       "modules/mod_alias.so|" },
        { __LINE__, "MinSpareServers 3\n",
          "1: " INVALID(
              "MinSpareServers") "It belongs to mpm_prefork_module, and the MPM is event here: put it into "
                                 "<IfModule mpm_prefork_module>, or load that MPM|" },
        { __LINE__, "LoadModule mpm_prefork_module x\nThreadsPerChild 3\n",
          "2: " INVALID(
              "ThreadsPerChild") "It belongs to mpm_worker_module, and the MPM is prefork here: put it into "
                                 "<IfModule mpm_worker_module>, or load that MPM|" },
        { __LINE__, "Refused x\n",
          "1: Refused is not in this version of Muster: use Pair instead|" },
        { __LINE__, "<If \"true\">\nNope\n</If>\n",
          "1: <If> is not in this version of Muster: write the directives into <Directory>, <Files> or <Location>|" },
        { __LINE__, "<Directory /x>\n<RequireAll>\nNope\n</RequireAll>\n</Directory>\n",
          "2: <RequireAll> is not in this version of Muster: use Require all granted or Require all denied|" },
        { __LINE__, "Ignored what ever\n", "" },
    };

    (void)state;
    RUN(rows);
}

static void test_arguments(void **state)
{
    static const struct row rows[] = {
        { __LINE__, "KeepAlive\n", "1: KeepAlive must be On or Off, but nothing was found|" },
        { __LINE__, "KeepAlive on off\n",
          "1: KeepAlive must be On or Off, but more than one argument was found|" },
        { __LINE__, "KeepAlive 3\n", "1: KeepAlive must be On or Off, but \"3\" was found|" },
        { __LINE__, "timeout\n", "1: Timeout takes one argument, Time in seconds (found: 0)|" },
        { __LINE__, "ServerName \"\"\n",
          "1: ServerName takes one argument, Name of the server (found: 1)|" },
        { __LINE__, "ServerName a b\n",
          "1: ServerName takes one argument, Name of the server (found: 2)|" },
        { __LINE__, "Timeout 3x\n",
          "1: Timeout must be a time in seconds, or with a unit (ms, s, min, h), but \"3x\" was found|" },
        { __LINE__, "Timeout -1\n",
          "1: Timeout must be a time in seconds, or with a unit (ms, s, min, h), but \"-1\" was found|" },
        { __LINE__, "Timeout 101\n",
          "1: Timeout must be from 0 to 100000 ms, but \"101\" was found|" },
        { __LINE__, "Timeout 9999999999999999\n",
          "1: Timeout must be a time in seconds, or with a unit (ms, s, min, "
          "h), but \"9999999999999999\" was found|" },
        { __LINE__, "Number 11\n",
          "1: Number must be a number from -5 to 10, but \"11\" was found|" },
        { __LINE__, "Number -6\n",
          "1: Number must be a number from -5 to 10, but \"-6\" was found|" },
        { __LINE__, "Number 1k\n",
          "1: Number must be a number from -5 to 10, but \"1k\" was found|" },
        { __LINE__, "Level mid\n", "1: Level must be one of low | high, but \"mid\" was found|" },
        { __LINE__, "List\n", "1: List requires at least one argument, Some words (found: 0)|" },
        { __LINE__, "Pair\n", "1: Pair takes 1-2 arguments, One word or two (found: 0)|" },
        { __LINE__, "Pair a b c\n", "1: Pair takes 1-2 arguments, One word or two (found: 3)|" },
        { __LINE__, "Pair bad\n", "1: Pair: \"bad\" is bad|" },
        { __LINE__, "Pair silent\n", "1: Pair: these arguments cannot be used; One word or two|" },
        { __LINE__, "CmdInfo x\n", "1: CmdInfo takes no arguments, Nothing (found: 1)|" },
        { __LINE__, "ThreeWords a b\n",
          "1: ThreeWords takes three arguments, Three words (found: 2)|" },
        { __LINE__, "TwoOrMore a\n",
          "1: TwoOrMore requires at least two arguments, Two words or more (found: 1)|" },
    };

    (void)state;
    RUN(rows);
}

static void test_contexts(void **state)
{
    static const struct row rows[] = {
        { __LINE__, "<Directory /x>\nDocumentRoot /y\n</Directory>\n",
          "2: DocumentRoot not allowed in <Directory> context; it is allowed outside all sections and in "
          "<VirtualHost>|" },
        { __LINE__,
          "<VirtualHost *>\n<Location /x>\nOnlyGlobal y\n</Location>\nOnlyGlobal z\n</VirtualHost>\n",
          "3: OnlyGlobal not allowed in <Location> context; it is allowed outside all sections|"
          "5: OnlyGlobal cannot occur within <VirtualHost> section; it is allowed outside all sections|" },
        { __LINE__, "OnlyVhost a\n",
          "1: OnlyVhost not allowed here; it is allowed in <VirtualHost>|" },
        { __LINE__, "OnlyDir a\n<VirtualHost *>\nOnlyDir b\n</VirtualHost>\n",
          "1: OnlyDir not allowed here; it is allowed in <Directory>, <Files> and <Location>|"
          "3: OnlyDir not allowed here; it is allowed in <Directory>, <Files> and <Location>|" },
        { __LINE__, "<VirtualHost *>\nListen 80\n</VirtualHost>\n",
          "2: Listen cannot occur within <VirtualHost> section; it is allowed outside all sections|" },
        { __LINE__, "<Group 3>\n</Group>\n",
          "1: <Group> not allowed here; it is allowed in <Directory>, <Files> and <Location>|" },
    };

    (void)state;
    RUN(rows);
}

static void test_sections(void **state)
{
    static const struct row rows[] = {
        { __LINE__, "<Directory /x>\n<Directory /y>\n</Directory>\n</Directory>\n",
          "2: <Directory> not allowed in <Directory> context|" },
        { __LINE__, "<Directory /x>\n<Location /y>\n</Location>\n</Directory>\n",
          "2: <Location> not allowed in <Directory> context|" },
        { __LINE__, "<Location /x>\n<Files y>\n</Files>\n</Location>\n",
          "2: <Files> cannot occur within <Location> section|" },
        { __LINE__, "<Files x>\n<Files y>\n</Files>\n</Files>\n",
          "w2: <Files> in a <Files> section never takes effect|" },
        { __LINE__, "<Directory />\n<Limit GET>\n<Files x>\n</Files>\n</Limit>\n</Directory>\n",
          "3: <Files> cannot occur within <Limit> or <LimitExcept> section|" },
        { __LINE__, "<VirtualHost *>\n<VirtualHost *>\n</VirtualHost>\n</VirtualHost>\n",
          "2: <VirtualHost> cannot occur within <VirtualHost> section|" },
        { __LINE__, "<Files x>\n<VirtualHost *>\n</VirtualHost>\n</Files>\n",
          "2: <VirtualHost> not allowed in <Files> context|" },
        { __LINE__, "<VirtualHost>\n</VirtualHost>\n",
          "1: <VirtualHost> directive requires additional arguments|" },
        { __LINE__, "<Directory>\n</Directory>\n<Directory \"\">\n</Directory>\n",
          "1: <Directory> directive requires additional arguments|"
          "3: <Directory> directive requires additional arguments|" },
        { __LINE__, "<FilesMatch a b>\n</FilesMatch>\n",
          "1: Multiple <FilesMatch> arguments not (yet) supported: "
          "\"b\"|" },
        { __LINE__, "<Directory ~ /a /b>\n</Directory>\n",
          "1: Multiple <Directory> arguments not (yet) supported: "
          "\"/b\"|" },
        { __LINE__, "<Directory x>\n</Directory>\n",
          "w1: <Directory \"x\"> is not an absolute path: it matches nothing|" },
        { __LINE__, "<Limit GET>\n</Limit>\n",
          "1: <Limit> not allowed here; it is allowed in <Directory>, <Files> and <Location>|" },
        { __LINE__, "<Directory />\n<Limit>\n</Limit>\n</Directory>\n",
          "2: <Limit> directive requires additional arguments|" },
        { __LINE__, "<Directory />\n<Limit get>\n</Limit>\n</Directory>\n",
          "2: <Limit>: unknown method \"get\": names are case-sensitive, and only methods of HTTP and WebDAV can be "
          "told apart|" },
        { __LINE__, "<Directory />\n<LimitExcept TRACE>\n</LimitExcept>\n</Directory>\n",
          "2: TRACE cannot be controlled by <LimitExcept>, see TraceEnable|" },
        { __LINE__, "<Directory />\n<Limit GET>\n<Limit PUT>\n</Limit>\n</Limit>\n</Directory>\n",
          "3: <Limit> directive excludes all methods|" },
    };

    (void)state;
    RUN(rows);
}

static void test_regexes(void **state)
{
    static const char *const texts[] = { "<DirectoryMatch \"(\">\n</DirectoryMatch>\n",
                                         "<Directory ~ \"(\">\n</Directory>\n",
                                         "<FilesMatch \"(\">\n</FilesMatch>\n",
                                         "<LocationMatch \"(\">\n</LocationMatch>\n",
                                         "<IfVersion ~ \"(\">\n</IfVersion>\n" };

    (void)state;
    for (size_t i = 0; i < MU_ARRAY_LEN(texts); i++) {
        struct loaded_conf l = conf_load(texts[i], NULL);

        assert_int_equal(l.rc, MU_BAD);
        assert_true(mu_str_starts(mu_buf_str(&l.messages), MU_S(HEAD "1 of " FILE_NAME ":\n<")));
        assert_true(mu_str_find(mu_buf_str(&l.messages), MU_S("\"(\"")) > 0);
        conf_free(&l);
    }
}

static void test_listens(void **state)
{
#define ALLOWED "; allowed are port, address:port and [IPv6 address]:port|"
    static const struct row rows[] = {
        { __LINE__, "Listen 80\nListen 127.0.0.1:80 https\nListen [::1]:80\nListen 81\n", "" },
        { __LINE__, "Listen 80\nListen 80\n",
          "2: Cannot define multiple Listeners on the same IP:port (80 stands on line 1 of /s/conf/httpd.conf)|" },
        { __LINE__, "Listen *:80\nListen 80\n",
          "2: Cannot define multiple Listeners on the same IP:port (*:80 stands on line 1 of /s/conf/httpd.conf)|" },
        { __LINE__, "Listen [::A]:80\nListen [::a]:80\n",
          "2: Cannot define multiple Listeners on the same IP:port "
          "([::A]:80 stands on line 1 of /s/conf/httpd.conf)|" },
        { __LINE__, "Listen\n",
          "1: Listen takes 1-2 arguments, [address:]port to accept connections on, with an "
          "optional protocol (found: 0)|" },
        { __LINE__, "Listen foo\n", "1: Listen: Port must be specified in \"foo\"" ALLOWED },
        { __LINE__, "Listen [::1]\n", "1: Listen: Port must be specified in \"[::1]\"" ALLOWED },
        { __LINE__, "Listen a:\n", "1: Listen: Port must be specified in \"a:\"" ALLOWED },
        { __LINE__, "Listen 0\n", "1: Listen: Invalid address or port in \"0\"" ALLOWED },
        { __LINE__, "Listen 65536\n", "1: Listen: Invalid address or port in \"65536\"" ALLOWED },
        { __LINE__, "Listen ::1:80\n", "1: Listen: Invalid address or port in \"::1:80\"" ALLOWED },
        { __LINE__, "Listen :80\n", "1: Listen: Invalid address or port in \":80\"" ALLOWED },
    };

    (void)state;
    RUN(rows);
}

static void test_modules(void **state)
{
    static const struct row rows[] = {
        { __LINE__, "LoadModule\n",
          "1: LoadModule takes two arguments, but 0 were found (Identifier and file of a "
          "module to switch on)|" },
        { __LINE__, "LoadModule dir x\n",
          "1: LoadModule: \"dir\" is no module identifier: those end in _module|" },
        { __LINE__, "LoadModule _module x\n",
          "1: LoadModule: \"_module\" is no module identifier: those end in _module|" },
        { __LINE__,
          "LoadModule ssl_module modules/mod_ssl.so\nSSLEngine on\n<IfModule ssl_module>\nNope\n</IfModule>\n",
          "1: LoadModule ssl_module: this version of Muster does not have httpd's mod_ssl (TLS)|" },
        { __LINE__, "LoadModule access_compat_module modules/mod_access_compat.so\n",
          "1: LoadModule access_compat_module: this version of Muster does not have httpd's mod_access_compat (Order, "
          "Allow, Deny, Satisfy); use Require all granted or Require all denied|" },
        { __LINE__, "LoadModule aliass_module modules/mod_alias.so\n",
          "1: Cannot load modules/mod_alias.so into server as aliass_module: there is no file modules/mod_alias.so; "
          "the nearest module there is: alias_module|" },
        { __LINE__, "LoadModule foo_module modules/mod_foo.so\n",
          "1: Cannot load modules/mod_foo.so into server as foo_module: there is no file modules/mod_foo.so|" },
        { __LINE__, "LoadModule foo_module conf/httpd.conf\n",
          "1: Cannot load conf/httpd.conf into server as foo_module: /s/conf/httpd.conf is not a module for Muster: it "
          "has no mu_module_foo|" },
        { __LINE__, "LoadModule mpm_event_module a\nLoadModule mpm_prefork_module b\n",
          "2: More than one MPM loaded: mpm_prefork_module here, mpm_event_module on line 1 of "
          "/s/conf/httpd.conf|" },
        { __LINE__, "<IfModule mpm_event_module>\nLoadModule mpm_prefork_module b\n</IfModule>\n",
          "2: More than one MPM loaded: mpm_prefork_module stands in a section for mpm_event_module|" },
        { __LINE__, "LoadModule dir_module a\nLoadModule dir_module a\n",
          "w2: module dir_module is already loaded, skipping|" },
        { __LINE__, "LoadFile nope.so\n",
          "1: Cannot load nope.so into server: loading is switched off|" },
    };

    (void)state;
    RUN(rows);
}

static void test_all_in_one_go(void **state)
{
    static const struct memfile more[] = { { "/s/a.conf", MU_S("Nope\n") }, { NULL, MU_STR_NULL } };
    static const char *const after[] = { "KeepAlive perhaps", NULL };
    struct mu_config_opts opts = { .after = after };
    struct loaded_conf l = conf_load_with(
        "Include a.conf\nInclude nope.conf\nKeepAlive maybe\n<Files x>\n", more, opts);

    (void)state;
    assert_int_equal(l.rc, MU_BAD);
    assert_null(l.c);
    assert_string_equal(
        l.messages.p, HEAD
        "2 of " FILE_NAME ":\nCould not open configuration file /s/nope.conf: No "
        "such file or directory\n" HEAD "4 of " FILE_NAME ":\n<Files> was not closed\n" HEAD
        "1 of /s/a.conf:\nInvalid command 'Nope', perhaps misspelled or defined by a module not "
        "included in the server configuration\n" HEAD "3 of " FILE_NAME
        ":\nKeepAlive must be On or Off, but \"maybe\" was found\n"
        "muster: Syntax error in -C/-c directive:\nKeepAlive must be On or Off, but \"perhaps\" was "
        "found\n");
    conf_free(&l);
}

static void test_no_file(void **state)
{
    struct mu_config_opts opts = { .file = "/nope.conf" };
    struct loaded_conf l = conf_load_with("", NULL, opts);

    (void)state;
    assert_int_equal(l.rc, MU_BAD);
    assert_string_equal(
        l.messages.p,
        "muster: Could not open configuration file /nope.conf: No such file or directory\n");
    conf_free(&l);
}

static void test_checks(void **state)
{
    static const struct row rows[] = {
        { __LINE__, "ServerName refuse\n", "muster: the name is refuse|" },
        { __LINE__, "ServerName silent\n", "muster: mod_core refuses the configuration|" },
        { __LINE__, "ServerName refuse\nNope\n", "2: " INVALID("Nope") },
    };
    struct loaded_conf l = conf_load("ServerName warn\n", NULL);

    (void)state;
    RUN(rows);
    assert_int_equal(l.rc, MU_OK);
    assert_int_equal(l.c->warnings, 1);
    assert_string_equal(l.messages.p, "[w] muster: warning: the name is warn\n");
    conf_free(&l);
}

static void test_deep_nesting(void **state)
{
    struct mu_buf text = { 0 };
    struct loaded_conf l;

    (void)state;
    for (size_t i = 0; i < 101; i++)
        mu_buf_add(&text, MU_S("<IfModule core.c>\n"));
    for (size_t i = 0; i < 101; i++)
        mu_buf_add(&text, MU_S("</IfModule>\n"));
    mu_buf_addc(&text, '\0');
    l = conf_load(text.p, NULL);
    assert_string_equal(l.messages.p, HEAD "101 of " FILE_NAME
                                           ":\n<IfModule> is nested more than 100 sections deep\n");
    conf_free(&l);
    mu_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_directives_on_read),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_contexts),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_regexes),
        cmocka_unit_test(test_listens),
        cmocka_unit_test(test_modules),
        cmocka_unit_test(test_all_in_one_go),
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_checks),
        cmocka_unit_test(test_deep_nesting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
