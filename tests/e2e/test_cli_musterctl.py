"""musterctl: what apachectl and a2enmod and its kin do, on a tree laid out as Debian's /etc/apache2."""
import contextlib
import os
import re
import shutil
import subprocess
import tempfile

import harness
import pytest

MUSTERCTL = os.path.join(os.path.dirname(harness.MUSTER), "musterctl")

# The tree as Debian ships it, directive for directive; @…@ is what a test on a shared machine must choose itself.
ENVVARS = """\
unset HOME
if [ "${APACHE_CONFDIR##/etc/apache2-}" != "${APACHE_CONFDIR}" ] ; then
    SUFFIX="-${APACHE_CONFDIR##/etc/apache2-}"
else
    SUFFIX=
fi
export APACHE_RUN_USER=@user@
export APACHE_RUN_GROUP=@group@
export APACHE_PID_FILE=@root@/run$SUFFIX/apache2.pid
export APACHE_RUN_DIR=@root@/run$SUFFIX
export APACHE_LOCK_DIR=@root@/lock$SUFFIX
export APACHE_LOG_DIR=@root@/log$SUFFIX
export LANG=C
export LANG
"""
APACHE2 = """\
DefaultRuntimeDir ${APACHE_RUN_DIR}
PidFile ${APACHE_PID_FILE}
Timeout 300
KeepAlive On
MaxKeepAliveRequests 100
KeepAliveTimeout 5
User ${APACHE_RUN_USER}
Group ${APACHE_RUN_GROUP}
HostnameLookups Off
ErrorLog ${APACHE_LOG_DIR}/error.log
LogLevel warn
IncludeOptional mods-enabled/*.load
IncludeOptional mods-enabled/*.conf
Include ports.conf
<Directory />
	Options FollowSymLinks
	AllowOverride None
	Require all denied
</Directory>
<Directory /usr/share>
	AllowOverride None
	Require all granted
</Directory>
<Directory @root@/www/>
	Options Indexes FollowSymLinks
	AllowOverride None
	Require all granted
</Directory>
AccessFileName .htaccess
<FilesMatch "^\\.ht">
	Require all denied
</FilesMatch>
LogFormat "%v:%p %h %l %u %t \\"%r\\" %>s %O \\"%{Referer}i\\" \\"%{User-Agent}i\\"" vhost_combined
LogFormat "%h %l %u %t \\"%r\\" %>s %O \\"%{Referer}i\\" \\"%{User-Agent}i\\"" combined
LogFormat "%h %l %u %t \\"%r\\" %>s %O" common
LogFormat "%{Referer}i -> %U" referer
LogFormat "%{User-agent}i" agent
IncludeOptional conf-enabled/*.conf
IncludeOptional sites-enabled/*.conf
"""
PORTS = """\
Listen 127.0.0.1:@port@
<IfModule ssl_module>
	Listen 443
</IfModule>
<IfModule mod_gnutls.c>
	Listen 443
</IfModule>
"""
SITE = """\
<VirtualHost *:@port@>
	ServerAdmin webmaster@localhost
	DocumentRoot @root@/www/html
	ErrorLog ${APACHE_LOG_DIR}/error.log
	CustomLog ${APACHE_LOG_DIR}/access.log combined
</VirtualHost>
"""
CONFS = {
    "charset": "#AddDefaultCharset UTF-8\n",
    "localized-error-pages": "#ErrorDocument 500 \"The server made a boo boo.\"\n",
    "other-vhosts-access-log": "CustomLog ${APACHE_LOG_DIR}/other_vhosts_access.log vhost_combined\n",
    "security": "ServerTokens OS\nServerSignature On\nTraceEnable Off\n",
    "serve-cgi-bin": """\
<IfModule mod_alias.c>
	<IfModule mod_cgi.c>
		Define ENABLE_USR_LIB_CGI_BIN
	</IfModule>
	<IfModule mod_cgid.c>
		Define ENABLE_USR_LIB_CGI_BIN
	</IfModule>
	<IfDefine ENABLE_USR_LIB_CGI_BIN>
		ScriptAlias /cgi-bin/ /usr/lib/cgi-bin/
		<Directory "/usr/lib/cgi-bin">
			AllowOverride None
			Options +ExecCGI -MultiViews +SymLinksIfOwnerMatch
			Require all granted
		</Directory>
	</IfDefine>
</IfModule>
""",
}
# The modules that Debian enables, what each depends on, and its .conf.
MODULES = {
    "access_compat": ("authn_core", None),
    "alias": ("", 'Alias /icons/ "/usr/share/apache2/icons/"\n<Directory "/usr/share/apache2/icons">\n'
                  "\tOptions FollowSymlinks\n\tAllowOverride None\n\tRequire all granted\n</Directory>\n"),
    "auth_basic": ("authn_core", None),
    "authn_core": ("", None),
    "authn_file": ("", None),
    "authz_core": ("", None),
    "authz_host": ("authz_core", None),
    "authz_user": ("authz_core", None),
    "autoindex": ("", "IndexOptions FancyIndexing VersionSort HTMLTable NameWidth=* DescriptionWidth=* Charset=UTF-8\n"
                      "AddIconByEncoding (CMP,/icons/compressed.gif) x-compress x-gzip x-bzip2\n"
                      "AddIconByType (TXT,/icons/text.gif) text/*\nAddIcon /icons/binary.gif .bin .exe\n"
                      "AddIcon /icons/folder.gif ^^DIRECTORY^^\nAddIcon /icons/blank.gif ^^BLANKICON^^\n"
                      "DefaultIcon /icons/unknown.gif\nReadmeName README.html\nHeaderName HEADER.html\n"
                      "IndexIgnore .??* *~ *# RCS CVS *,v *,t\n"),
    "deflate": ("filter", "<IfModule mod_filter.c>\n\tAddOutputFilterByType DEFLATE text/html text/plain\n</IfModule>\n"),
    "dir": ("", "DirectoryIndex index.html index.cgi index.pl index.php index.xhtml index.htm\n"),
    "env": ("", None),
    "filter": ("", None),
    "mime": ("", "TypesConfig /etc/mime.types\nAddType application/x-compress .Z\nAddType application/x-gzip .gz .tgz\n"
                 "AddLanguage de .de\nRemoveType  es\nAddLanguage es .es\nAddCharset ISO-8859-1   .iso8859-1  .latin1\n"
                 "AddCharset UTF-8            .utf8\nAddHandler type-map var\nAddType text/html .shtml\n"
                 "<IfModule mod_include.c>\n\tAddOutputFilter INCLUDES .shtml\n</IfModule>\n"),
    "mpm_event": ("", "StartServers            2\nMinSpareThreads         25\nMaxSpareThreads         75\n"
                      "ThreadLimit             64\nThreadsPerChild         25\nMaxRequestWorkers       150\n"
                      "MaxConnectionsPerChild  0\n"),
    "negotiation": ("", "LanguagePriority en de\nForceLanguagePriority Prefer Fallback\n"),
    "reqtimeout": ("", "RequestReadTimeout header=20-40,minrate=500\nRequestReadTimeout body=10,minrate=500\n"),
    "setenvif": ("", 'BrowserMatch "Mozilla/2" nokeepalive\n'),
    "status": ("", "<Location /server-status>\n\tSetHandler server-status\n\tRequire local\n</Location>\nExtendedStatus On\n"
                   "<IfModule mod_proxy.c>\n\tProxyStatus On\n</IfModule>\n"),
}
OTHER_MPMS = {
    "mpm_worker": ("mpm_event mpm_prefork", MODULES["mpm_event"][1]),
    "mpm_prefork": ("mpm_event mpm_worker", "StartServers            5\nMinSpareServers         5\n"
                    "MaxSpareServers         10\nMaxRequestWorkers       150\nMaxConnectionsPerChild  0\n"),
}
# What Muster has not got, or not all that Debian's .conf asks of it.
MISSING = ["access_compat", "auth_basic", "authn_core", "authn_file", "authz_host", "authz_user", "deflate", "filter",
           "negotiation"]
UNREADABLE = MISSING + ["status"]


class Tree:
    """A copy of Debian's /etc/apache2 with its default modules, site and snippets enabled."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="muster-tree-", dir="/tmp")
        os.chmod(self.root, 0o755)
        self.port = harness.free_ports(1)[0]
        user = harness.unprivileged()
        self.values = {"root": self.root, "port": str(self.port), "user": user.pw_name if user else "nobody",
                       "group": "#%d" % user.pw_gid if user else "nogroup"}
        for folder in ("log", "lock", "www/html"):
            os.makedirs(self.path(folder))
        self.write("www/html/index.html", "it works\n")
        for name, text in (("envvars", ENVVARS), ("apache2.conf", APACHE2), ("ports.conf", PORTS),
                           ("sites-available/000-default.conf", SITE)):
            self.write("etc/" + name, text)
        for name, text in CONFS.items():
            self.write("etc/conf-available/%s.conf" % name, text)
        for name, (depends, conf) in MODULES.items():
            head = "# Conflicts: mpm_worker mpm_prefork\n" if name == "mpm_event" else ""
            self._module(name, head or ("# Depends: %s\n" % depends if depends else ""), conf)
        for name, (conflicts, conf) in OTHER_MPMS.items():
            self._module(name, "# Conflicts: %s\n" % conflicts, conf)
        for kind in ("mods", "sites", "conf"):
            os.mkdir(self.path("etc", kind + "-enabled"))
        for name in MODULES:
            self._enable("mods", name + ".load")
            if MODULES[name][1]:
                self._enable("mods", name + ".conf")
        self._enable("sites", "000-default.conf")
        for name in CONFS:
            self._enable("conf", name + ".conf")

    def _module(self, name, head, conf):
        self.write("etc/mods-available/%s.load" % name,
                   "%sLoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n" % (head, name, name))
        if conf:
            self.write("etc/mods-available/%s.conf" % name, conf)

    def _enable(self, kind, name):
        os.symlink("../%s-available/%s" % (kind, name), self.path("etc", kind + "-enabled", name))

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def write(self, path, text):
        full = self.path(path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w") as f:
            f.write(re.sub(r"@(\w+)@", lambda m: self.values.get(m[1], m[0]), text))

    def enabled(self, kind):
        return set(os.listdir(self.path("etc", kind + "-enabled")))

    def ctl(self, *args, **env):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("APACHE_")}
        return subprocess.run([MUSTERCTL, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=harness.PATIENCE, stdin=subprocess.DEVNULL,
                              env=dict(clean, MUSTER_CONFDIR=self.path("etc"), **env))

    def read(self, path):
        try:
            with open(self.path(path)) as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def pid(self):
        return int(self.read("run/apache2.pid") or 0)

    def get(self, path="/", **headers):
        return harness.Server.request(self, path=path, headers=headers)

    def client(self, port=None):
        return harness.Server.client(self, port)

    def processes(self):
        """Of the server, found by what they were started with."""
        found = []
        for p in harness.processes():
            try:
                with open("/proc/%d/cmdline" % p.pid, "rb") as f:
                    words = f.read().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if self.path("etc").encode() in words and words[0].endswith(b"/muster") and p.is_alive():
                found.append(p)
        return found

    def kill(self):
        """KILL what there is, also what was forked meanwhile; returns whether there was nothing."""
        found = self.processes()
        for p in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(p.pid, 9)
        return not found


@pytest.fixture
def tree():
    t = Tree()
    yield t
    harness.wait_until("everything is gone", t.kill)
    shutil.rmtree(t.root)


@pytest.fixture
def usable(tree):
    """With what Muster has not got switched off."""
    r = tree.ctl("dismod", "-q", *UNREADABLE)
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "")
    if harness.MPM != "event":
        assert tree.ctl("dismod", "-q", "mpm_event").returncode == 0
        assert tree.ctl("enmod", "-q", "mpm_" + harness.MPM).returncode == 0
    return tree


# The tree itself


def test_debian_tree_names_what_is_not_there(tree):
    r = tree.ctl("configtest")
    assert (r.returncode, r.stdout) == (1, "")
    for name in MISSING:
        assert "LoadModule %s_module: this version of Muster does not have httpd's mod_%s" % (name, name) in r.stderr
        assert re.search(r"on line \d of %s:" % tree.path("etc/mods-enabled/%s.load" % name), r.stderr)
    assert "Require local" in r.stderr and tree.path("etc/mods-enabled/status.conf") in r.stderr
    for name in set(MODULES) - set(UNREADABLE):
        assert "/%s.load" % name not in r.stderr and "/%s.conf" % name not in r.stderr
    for other in ("apache2.conf", "ports.conf", "conf-enabled", "sites-enabled"):
        assert other not in r.stderr


def test_debian_tree_without_them(usable):
    r = usable.ctl("configtest")
    assert (r.returncode, r.stdout) == (0, "")
    assert r.stderr.endswith("Syntax OK\n")
    assert "${" not in r.stderr, "a variable of envvars is not known"
    modules = usable.ctl("-M").stdout
    assert " mpm_%s_module " % harness.MPM in modules
    assert " alias_module (static)" in modules and " status_module" not in modules
    hosts = usable.ctl("-S").stdout
    assert re.search(r"^\*:%d +\S+ \(%s:1\)$" % (usable.port, usable.path("etc/sites-enabled/000-default.conf")), hosts, re.M)
    assert 'PidFile: "%s"' % usable.path("run/apache2.pid") in hosts


def test_life_of_the_debian_tree(usable):
    r = usable.ctl("start")
    assert r.returncode == 0, r.stderr
    pid = usable.pid()
    assert pid
    r = usable.get("/", **{"User-Agent": "test"})
    assert (r.status, r.body) == (200, b"it works\n")
    assert r.headers["Server"].startswith("Muster/")
    assert usable.get("/.htaccess").status == 403
    harness.wait_until("it is logged", lambda: re.search(
        r'^127\.0\.0\.1 - - \[[^]]+\] "GET / HTTP/1\.1" 200 \d+ "-" "test"$', usable.read("log/access.log"), re.M))
    assert "already running" in usable.ctl("start").stdout
    os.mkdir(usable.path("www/html/list"))
    assert b"Index of /list" in usable.get("/list/").body
    assert usable.ctl("dismod", "autoindex").returncode == 0
    r = usable.ctl("graceful")
    assert (r.returncode, r.stdout) == (0, "")
    harness.wait_until("the module is off", lambda: usable.get("/list/").status != 200)
    assert usable.pid() == pid
    assert usable.ctl("stop").returncode == 0
    harness.wait_until("it ends", lambda: not usable.processes())
    assert not os.path.exists(usable.path("run/apache2.pid"))


@pytest.mark.parametrize("verb", ["graceful", "restart"])
def test_reload_with_errors_leaves_the_server_alone(usable, verb):
    assert usable.ctl("start").returncode == 0
    log = usable.read("log/error.log")
    usable.write("etc/conf-enabled/mistake.conf", "NoSuchDirective\n")
    r = usable.ctl(verb)
    assert r.returncode == 1
    assert "NoSuchDirective" in r.stderr
    assert usable.get("/").status == 200
    assert usable.read("log/error.log") == log
    os.unlink(usable.path("etc/conf-enabled/mistake.conf"))
    assert usable.ctl(verb).returncode == 0
    harness.wait_until("it restarts", lambda: usable.read("log/error.log").count("resuming normal operations") == 2)


def test_graceful_stop(usable):
    assert usable.ctl("start").returncode == 0
    assert usable.ctl("graceful-stop").returncode == 0
    harness.wait_until("it ends", lambda: not usable.processes())
    r = usable.ctl("stop")
    assert r.returncode == 0 and "not running" in r.stdout


def test_change_of_the_mpm_takes_effect(usable):
    other = "worker" if harness.MPM == "prefork" else "prefork"
    assert usable.ctl("start").returncode == 0
    assert usable.ctl("dismod", "mpm_" + harness.MPM).returncode == 0
    assert usable.ctl("enmod", "mpm_" + other).returncode == 0
    assert usable.ctl("graceful").returncode == 0
    harness.wait_until("the other MPM runs", lambda: "mpm_%s:notice" % other in usable.read("log/error.log"))
    assert usable.get("/").status == 200


def test_options_are_handed_on(usable):
    assert usable.ctl("-v").stdout.startswith("Server version: Muster/")
    assert usable.ctl("-t").returncode == 0
    r = usable.ctl("-Z")
    assert r.returncode == 1 and "illegal option -- Z" in r.stderr


def test_arguments_of_envvars(usable):
    with open(usable.path("etc/envvars"), "a") as f:
        f.write("export APACHE_ARGUMENTS='-D FROM_ENVVARS'\n")
    assert "Define: FROM_ENVVARS\n" in usable.ctl("-S").stdout


def test_usage(tree):
    r = tree.ctl()
    assert (r.returncode, r.stdout) == (1, "") and "Usage: musterctl" in r.stderr
    r = tree.ctl("help")
    assert (r.returncode, r.stderr) == (0, "") and tree.path("etc") in r.stdout


def test_status(usable):
    usable.write("etc/mods-available/status.conf", "<Location /server-status>\n\tSetHandler server-status\n</Location>\n")
    assert usable.ctl("enmod", "-q", "status").returncode == 0
    assert usable.ctl("start").returncode == 0
    url = "http://127.0.0.1:%d/server-status" % usable.port
    r = usable.ctl("status", STATUSURL=url)
    assert r.returncode == 0, r.stderr
    assert "ServerMPM: %s\n" % harness.MPM in r.stdout
    assert "<html" in usable.ctl("fullstatus", STATUSURL=url).stdout.lower()
    r = usable.ctl("status", STATUSURL="http://127.0.0.1:%d/nothing" % usable.port)
    assert r.returncode == 1 and "STATUSURL" in r.stderr


# Switching


def test_dismod_and_enmod(tree):
    r = tree.ctl("dismod", "alias")
    assert (r.returncode, r.stderr) == (0, "")
    assert r.stdout == "Module alias disabled.\nTo activate the new configuration, run: musterctl graceful\n"
    assert not {"alias.load", "alias.conf"} & tree.enabled("mods")
    assert tree.ctl("dismod", "alias").stdout == "Module alias already disabled\n"
    r = tree.ctl("enmod", "alias.load")
    assert r.stdout.startswith("Enabling module alias.\n")
    assert os.readlink(tree.path("etc/mods-enabled/alias.conf")) == "../mods-available/alias.conf"
    assert os.readlink(tree.path("etc/mods-enabled/alias.load")) == "../mods-available/alias.load"
    assert tree.ctl("enmod", "alias").stdout == "Module alias already enabled\n"


def test_dependencies(tree):
    r = tree.ctl("dismod", "filter")
    assert (r.returncode, r.stdout) == (1, "")
    assert "deflate" in r.stderr and "filter.load" in tree.enabled("mods")
    r = tree.ctl("dismod", "-f", "authz_core")
    assert r.returncode == 0
    assert not {"authz_core.load", "authz_host.load", "authz_user.load"} & tree.enabled("mods")
    assert "authn_core.load" in tree.enabled("mods")
    r = tree.ctl("enmod", "authz_user")
    assert r.returncode == 0
    assert "Considering dependency authz_core for authz_user:\n" in r.stdout
    assert {"authz_core.load", "authz_user.load"} < tree.enabled("mods")


def test_modules_that_depend_on_one_another(tree):
    tree._module("egg", "# Depends: hen\n", None)
    tree._module("hen", "# Depends: egg\n", None)
    assert tree.ctl("enmod", "egg").returncode == 0
    assert {"egg.load", "hen.load"} < tree.enabled("mods")


def test_conflicts(tree):
    r = tree.ctl("enmod", "mpm_worker")
    assert (r.returncode, r.stdout) == (1, "")
    assert "mpm_event" in r.stderr and "mpm_worker.load" not in tree.enabled("mods")
    assert tree.ctl("dismod", "mpm_event").returncode == 0
    assert tree.ctl("enmod", "mpm_worker").returncode == 0
    assert {"mpm_worker.load", "mpm_worker.conf"} < tree.enabled("mods")


def test_sites_and_snippets(tree):
    tree.write("etc/sites-available/shop.conf", "")
    assert tree.ctl("ensite", "shop", "000-default").returncode == 0
    assert tree.enabled("sites") == {"000-default.conf", "shop.conf"}
    r = tree.ctl("dissite", "000-default.conf")
    assert r.stdout.startswith("Site 000-default disabled.\n")
    assert tree.enabled("sites") == {"shop.conf"}
    assert tree.ctl("disconf", "security").stdout.startswith("Conf security disabled.\n")
    assert tree.ctl("enconf", "security").returncode == 0
    assert tree.enabled("conf") == {name + ".conf" for name in CONFS}


def test_patterns(tree):
    r = tree.ctl("dismod", "-f", "auth*")
    assert r.returncode == 0
    assert not [name for name in tree.enabled("mods") if name.startswith("auth")]
    r = tree.ctl("enmod", "xyz*")
    assert r.returncode == 1 and "xyz*" in r.stderr


def test_what_cannot_be_switched(tree):
    before = tree.enabled("mods")
    for args, status in ((("enmod", "nothing"), 1), (("dismod", "nothing"), 1), (("enmod", "../x"), 2), (("enmod", ""), 2),
                         (("enmod", ".hidden"), 2), (("enmod",), 2), (("enmod", "-x", "alias"), 2)):
        r = tree.ctl(*args)
        assert (r.returncode, r.stdout) == (status, ""), args
        assert r.stderr, args
    assert tree.enabled("mods") == before
    assert "alias" in tree.ctl("enmod").stderr, "the choices are not shown"


def test_one_bad_name_does_not_stop_the_others(tree):
    r = tree.ctl("dismod", "nothing", "dir")
    assert r.returncode == 1
    assert "dir.load" not in tree.enabled("mods")


def test_real_files_are_left_alone(tree):
    tree.write("etc/sites-enabled/own.conf", "# mine\n")
    r = tree.ctl("dissite", "own")
    assert r.returncode == 1 and tree.read("etc/sites-enabled/own.conf") == "# mine\n"
    assert tree.ctl("dissite", "-f", "own").returncode == 0
    assert "own.conf" not in tree.enabled("sites")


def test_dangling_links(tree):
    os.unlink(tree.path("etc/mods-available/dir.load"))
    os.unlink(tree.path("etc/mods-available/dir.conf"))
    assert tree.ctl("dismod", "dir").returncode == 0
    assert not {"dir.load", "dir.conf"} & tree.enabled("mods")
    os.symlink("../mods-available/gone.load", tree.path("etc/mods-enabled/gone.load"))
    assert tree.ctl("enmod", "gone").returncode == 1
    assert "gone.load" not in tree.enabled("mods")


def test_quiet(tree):
    r = tree.ctl("dismod", "-q", "dir")
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "")


def test_not_a_debian_tree(tree):
    shutil.rmtree(tree.path("etc/mods-available"))
    r = tree.ctl("enmod", "alias")
    assert r.returncode == 1 and "mods-available" in r.stderr
