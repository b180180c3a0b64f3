"""Applications that the tests run behind the server: testapp (tests/e2e/apps), php-fpm, php-cgi, and PHP's own settings.

testapp does what the query string says: `server.get("/app?status=404&text=gone")`; query(…) below quotes it. It is run
by CGI (copied or linked to where scripts lie) or by FastCGI (FcgiApp, or as the Command of a pool).
"""
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.parse

import harness
from harness import unprivileged, wait_until

TESTAPP = harness.program("tests", "e2e", "apps", "testapp")
PHP_VERSION = "8.2"
PHP_FPM = "/usr/sbin/php-fpm" + PHP_VERSION
PHP_CGI = "/usr/bin/php-cgi" + PHP_VERSION
# Extensions of Debian's php packages that the applications need, in an order in which they load.
PHP_EXTENSIONS = ("ctype", "fileinfo", "iconv", "tokenizer", "xml", "dom", "simplexml", "xmlreader", "xmlwriter")

# What keeps Debian's own settings out: the environment of whatever PHP runs in.
PHP_ENV = {"PHP_INI_SCAN_DIR": ""}


def query(*commands, **more):
    """The query string for testapp: query("sum", status="404 Gone", text="a&b"); order is kept."""
    parts = list(commands) + ["%s=%s" % (name, urllib.parse.quote(str(value), safe=""))
                              for name, value in more.items()]
    return "&".join(parts)


def can_execute(path):
    return os.access(path, os.X_OK)


def write_php_ini(folder, opcache=True, **settings):
    """A php.ini of the test's own in `folder`, which has a place for sessions and uploads; returns its path."""
    for name in ("sessions", "tmp"):
        path = os.path.join(folder, name)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, 0o1777)
    values = {"session.save_path": os.path.join(folder, "sessions"), "upload_tmp_dir": os.path.join(folder, "tmp"),
              "sys_temp_dir": os.path.join(folder, "tmp"), "date.timezone": "UTC", "display_errors": "1",
              "log_errors": "1", "html_errors": "0", "cgi.fix_pathinfo": "1", "opcache.enable": int(opcache),
              # A script that has gone or changed is noticed at once, not within two seconds.
              "opcache.revalidate_freq": "0",
              "error_reporting": "E_ALL & ~E_DEPRECATED", **{k.replace("__", "."): v for k, v in settings.items()}}
    lines = ["zend_extension = opcache"] if opcache else []
    lines += ["extension = " + name for name in PHP_EXTENSIONS]
    lines += ['%s = "%s"' % item if item[0] != "error_reporting" else "%s = %s" % item for item in values.items()]
    path = os.path.join(folder, "php.ini")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    return path


class Background:
    """A process beside the server: started in a session of its own, ended by the test that started it."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="muster-app-", dir="/tmp")
        os.chmod(self.folder, 0o755)
        self.process = None

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def spawn(self, command, identity=None, env=None):
        """Run it with its output in the file `output`; as `identity` (a passwd entry) when the tests run as root."""
        user = {"user": identity.pw_uid, "group": identity.pw_gid, "extra_groups": []} if identity else {}
        with open(self.path("output"), "ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/",
                                            start_new_session=True, env=env, **user)

    def output(self):
        with open(self.path("output"), errors="replace") as f:
            return f.read()

    def accepts(self, family, address):
        assert self.process.poll() is None, "it ended:\n" + self.output()
        with contextlib.suppress(OSError), socket.socket(family) as s:
            s.connect(address)
            return True
        return False

    def processes(self):
        return [p for p in harness.processes() if self.process and p.session() == self.process.pid and p.is_alive()]

    def stop(self, number=signal.SIGTERM):
        """End it and what it started; remove its folder."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        for p in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(p.pid, signal.SIGKILL)
        if self.process:
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class FcgiApp(Background):
    """testapp as a FastCGI responder.

    kind        "tcp", "tcp6" or "unix"
    processes   how many serve at once, each one request at a time
    requests    each ends after so many (0: never)
    """

    def __init__(self, kind="tcp", processes=1, requests=0):
        super().__init__()
        self.kind, self.processes_wanted, self.requests = kind, processes, requests
        self.marks = self.path("marks")
        with open(self.marks, "w"):
            os.chmod(self.marks, 0o666)
        if kind == "unix":
            self.socket = socket.AF_UNIX, self.path("socket")
            self.url = "unix:%s|fcgi://localhost" % self.path("socket")
            listen = "unix:" + self.path("socket")
            if unprivileged():
                os.chown(self.folder, unprivileged().pw_uid, -1)
        else:
            host = "::1" if kind == "tcp6" else "127.0.0.1"
            port = harness.free_ports(1)[0]
            self.socket = (socket.AF_INET6 if kind == "tcp6" else socket.AF_INET), (host, port)
            listen = ("[%s]:%d" if kind == "tcp6" else "%s:%d") % (host, port)
            self.url = "fcgi://" + listen
        self.command = [TESTAPP, "-l", listen, "-n", str(processes), "-m", self.marks, "-r", str(requests)]

    def start(self):
        self.spawn(self.command, unprivileged())
        wait_until("testapp accepts", lambda: self.accepts(*self.socket))
        return self

    def marked(self):
        """What the marks say, in order: [(word, pid)]."""
        with open(self.marks) as f:
            return [(word, int(pid)) for word, pid in (line.rsplit(" ", 1) for line in f)]

    def words(self):
        return [word for word, _ in self.marked()]


class Fpm(Background):
    """Debian's php-fpm with a configuration of its own; one socket, one pool `www` and what `pool` adds to it."""

    def __init__(self, pool="pm = static\npm.max_children = 4", more="", opcache=True, **settings):
        super().__init__()
        self.socket = self.path("php.sock")
        self.url = "unix:%s|fcgi://localhost" % self.socket
        self.owner = user = unprivileged()  # whose files the application may write
        identity = "user = %s\nlisten.owner = %s\nlisten.mode = 0600\n" % (user.pw_name, user.pw_name) if user else ""
        write_php_ini(self.folder, opcache, **settings)
        with open(self.path("fpm.conf"), "w", encoding="utf-8") as f:
            f.write("[global]\nerror_log = %s\npid = %s\ndaemonize = no\n[www]\n%slisten = %s\ncatch_workers_output = yes\n"
                    "access.log = %s\n%s\n%s" % (self.path("error.log"), self.path("pid"), identity, self.socket,
                                                 self.path("access.log"), pool, more))

    def start(self):
        self.spawn([PHP_FPM, "-F", "-c", self.path("php.ini"), "-y", self.path("fpm.conf")],
                   env={**os.environ, "PHP_INI_SCAN_DIR": ""})
        wait_until("php-fpm accepts", lambda: self.accepts(socket.AF_UNIX, self.socket))
        return self

    def error_log(self):
        with open(self.path("error.log"), errors="replace") as f:
            return f.read()

    def requests(self):
        """Lines of its access log: what was executed."""
        with open(self.path("access.log"), errors="replace") as f:
            return f.read().splitlines()


def pool_user():
    """The passwd entry of the user that pools run as: never the web children's; None when the tests are not root's."""
    web = unprivileged()
    return web and next(p for p in map(pwd.getpwnam, ("nobody", "daemon")) if p.pw_uid != web.pw_uid)


def pool(name, command, *lines):
    """An <ApplicationPool> whose processes are four, unless a line says otherwise."""
    user = pool_user()
    rows = ["Command " + command] + (["User " + user.pw_name, "Group #%d" % user.pw_gid] if user else [])
    if not any(line.startswith("ProcessManager") for line in lines):
        rows += ["ProcessManager static", "MaxChildren 4"]
    return "<ApplicationPool %s>\n    %s\n</ApplicationPool>\n" % (name, "\n    ".join(rows + list(lines)))



class PhpPool:
    """PHP as a pool of the server's own: php-cgi, with a php.ini in a folder of its own."""

    def __init__(self, *lines, opcache=True, **settings):
        self.folder = tempfile.mkdtemp(prefix="muster-app-", dir="/tmp")
        os.chmod(self.folder, 0o755)
        self.ini = write_php_ini(self.folder, opcache, **settings)
        self.owner = pool_user()
        self.config = pool("php", "%s -c %s" % (PHP_CGI, self.ini), "Environment PHP_INI_SCAN_DIR=", *lines)

    def start(self):
        return self

    def stop(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class ModPhp(PhpPool):
    """PHP inside the server; the line is the one in Debian's mods-available/php8.2.load."""

    def __init__(self, opcache=True, **settings):
        super().__init__(opcache=opcache, **settings)
        self.owner = unprivileged()
        self.config = "LoadModule php_module /usr/lib/apache2/modules/libphp%s.so\nPHPIniDir \"%s\"\n" % (
            PHP_VERSION, self.folder)


PHP_WAYS = ("fpm", "pool", "mod_php")
# It needs a process for each connection; and it is optional (test_mod_php.py says so when it was not built).
HAS_MOD_PHP = harness.MPM == "prefork" and os.path.exists(os.path.join(os.path.dirname(harness.MUSTER), "modules", "mod_php.so"))


def php_ways():
    """The ways to run PHP in this run."""
    return PHP_WAYS if HAS_MOD_PHP else PHP_WAYS[:2]


def start_php(beside, way, **settings):
    """Start what a way needs (beside is the fixture); returns the lines that make *.php run by it, and the thing."""
    if way == "fpm":
        app = beside(Fpm(**settings))
        handler, config = "proxy:" + app.url, ""
    else:
        app = beside((PhpPool if way == "pool" else ModPhp)(**settings))
        handler, config = {"pool": "pool:php", "mod_php": "application/x-httpd-php"}[way], app.config
    return config + '<FilesMatch "\\.php$">\n    SetHandler "%s"\n</FilesMatch>\n' % handler, app
