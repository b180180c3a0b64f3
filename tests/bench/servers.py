"""The servers that are measured: how each is configured, started, recognised and stopped.

A server runs in the foreground, as the leader of a process group of its own, on a port of 127.0.0.1 that was free, and
bound to one core. Everything it writes lies in one folder that is removed afterwards.
"""
import http.client
import os
import pwd
import grp
import re
import shutil
import signal
import socket
import subprocess
import time

import cpu

HERE = os.path.dirname(os.path.abspath(__file__))
CONF = os.path.join(HERE, "conf")
APACHE_MODULES = "/usr/lib/apache2/modules"
SERVER_CORE = 0


class Missing(Exception):
    """A server that is not there to be measured."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def unprivileged():
    """User and group that servers started as root change to, or None when not root."""
    if os.getuid() != 0:
        return None
    for name in ("www-data", "nobody"):
        try:
            entry = pwd.getpwnam(name)
            return name, grp.getgrgid(entry.pw_gid).gr_name
        except KeyError:
            continue
    return None


def find(program):
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if not path:
        raise Missing("%s is not installed (tools/setup bench)" % program)
    return path


def first_line(command, pattern):
    out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    m = re.search(pattern, out)
    return m[1] if m else out.split("\n", 1)[0]


class Server:
    """One configured server. Subclasses say what to run, with which configuration, and how to ask for a version."""
    title = "?"
    conf = None
    app = None  # what it runs beside itself (applications.py)

    def __init__(self, env, logs=False):
        self.env = env
        self.logs = logs
        self.process = None
        self.port = free_port()
        self.run = None

    def program(self):
        raise NotImplementedError

    def values(self):
        return {}

    def command(self):
        raise NotImplementedError

    def version(self):
        raise NotImplementedError

    def write_conf(self):
        with open(os.path.join(CONF, self.conf), encoding="utf-8") as f:
            text = f.read()
        values = {"RUN": self.run, "ROOT": self.env.docroot, "PORT": str(self.port), "APP": "", "APP_MODULES": "",
                  **self.values()}
        for name, value in values.items():
            text = text.replace("@%s@" % name, value)
        rest = re.search(r"@[A-Z_]+@", text)
        assert not rest, "%s: nobody fills in %s" % (self.conf, rest[0])
        path = os.path.join(self.run, self.conf.removesuffix(".in"))
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def start(self):
        self.program()
        self.run = self.run or self.env.make_run_folder(self.title)
        if self.conf:
            self.conf_path = self.write_conf()
        with open(os.path.join(self.run, "stderr"), "wb") as err:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=err, stderr=err, cwd=self.run,
                start_new_session=True, env=self.command_env(), preexec_fn=self.prepare)
        self.wait_until_ready()

    def command_env(self):
        return None

    def prepare(self):
        """In the new process, before it becomes the server."""
        os.sched_setaffinity(0, {SERVER_CORE})

    def wait_until_ready(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("%s did not start:\n%s" % (self.title, self.said()))

    def said(self):
        """What the server wrote when it was started and to its error log."""
        text = ""
        for name in ("stderr", "error.log"):
            path = os.path.join(self.run, name)
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as f:
                    text += f.read()[-4000:]
        return text

    def check(self, path, expected):
        """The server answers 200 with exactly these bytes, or the measurement would mean nothing."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        c.request("GET", path, headers={"Host": "localhost:%d" % self.port})
        r = c.getresponse()
        body = r.read()
        c.close()
        if r.status != 200 or (expected is not None and body != expected):
            raise RuntimeError("%s answers %s with %d and %d bytes\n%s" % (
                self.title, path, r.status, len(body), self.said()))

    def cpu_ns(self):
        return cpu.tree_ns(self.process.pid)

    def all_ns(self):
        """The server and its applications; None where there are none."""
        return None

    def stop(self):
        if self.process is None:
            return
        pids = cpu.tree(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            print("bench: %s ignores SIGTERM, killed" % self.title)
            self.process.kill()
            self.process.wait()
        for pid in pids[1:]:
            self.end_orphan(pid)
        self.process = None

    def end_orphan(self, pid):
        """A child that outlived its parent (h2o's helper does): ended while it belongs to the session we made."""
        for attempt in range(40):
            try:
                if os.getsid(pid) != self.process.pid:
                    return
                if attempt in (10, 30):
                    os.kill(pid, signal.SIGTERM if attempt == 10 else signal.SIGKILL)
            except ProcessLookupError:
                return
            time.sleep(0.05)
        print("bench: %s left process %d behind" % (self.title, pid))


class Httpd(Server):
    """What reads httpd.conf: Apache and Muster."""
    conf = "httpd.conf.in"
    mpm = None
    modules = None
    defines = ()

    def values(self):
        user = unprivileged()
        return {"MPM": self.mpm, "MODULES": self.modules,
                "USER": "User %s\nGroup %s" % user if user else ""}

    def command(self):
        defines = list(self.defines) + (["LOGS"] if self.logs else [])
        return [self.program(), "-f", self.conf_path, "-DFOREGROUND"] + ["-D" + d for d in defines]


class Apache(Httpd):
    modules = APACHE_MODULES
    defines = ("APACHE",)

    def program(self):
        return find("apache2")

    def version(self):
        return "Apache " + first_line([self.program(), "-v"], r"Apache/(\S+)")


class Muster(Httpd):
    modules = "modules"

    def program(self):
        path = os.path.join(self.env.build, "muster")
        if not os.access(path, os.X_OK):
            raise Missing("%s is not there: make build" % path)
        return path

    def version(self):
        return "Muster " + first_line([self.program(), "-v"], r"Muster/(\S+)")


def with_mpm(base, mpm):
    name = "%s %s" % (base.__name__, mpm)
    return type(name, (base,), {"mpm": mpm, "title": name})


class Nginx(Server):
    title = "nginx"
    conf = "nginx.conf.in"
    file_cache = ""

    def program(self):
        return find("nginx")

    def values(self):
        user = unprivileged()
        return {"USER": "user %s %s;" % user if user else "", "FILE_CACHE": self.file_cache,
                "ACCESS_LOG": "%s/access.log common buffer=64k flush=1s" % self.run if self.logs else "off"}

    def command(self):
        return [self.program(), "-p", self.run, "-c", self.conf_path, "-e", os.path.join(self.run, "error.log")]

    def version(self):
        return "nginx " + first_line([self.program(), "-v"], r"nginx/(\S+)")


class NginxCache(Nginx):
    title = "nginx, open_file_cache"
    file_cache = "open_file_cache max=1000 inactive=60s;\n    open_file_cache_valid 30s;"


class Lighttpd(Server):
    title = "lighttpd"
    conf = "lighttpd.conf.in"

    def program(self):
        return find("lighttpd")

    def values(self):
        user = unprivileged()
        log = 'accesslog.filename = "%s/access.log"\naccesslog.format = "%%h %%l %%u %%t \\"%%r\\" %%>s %%b"' % self.run
        return {"USER": 'server.username = "%s"\nserver.groupname = "%s"' % user if user else "",
                "MODULES": '"mod_accesslog"' if self.logs else "", "ACCESS_LOG": log if self.logs else ""}

    def command(self):
        return [self.program(), "-D", "-f", self.conf_path]

    def version(self):
        return "lighttpd " + first_line([self.program(), "-v"], r"lighttpd/(\S+)")


class H2o(Server):
    title = "h2o"
    conf = "h2o.conf.in"

    def program(self):
        return find("h2o")

    def values(self):
        user = unprivileged()
        log = 'access-log:\n  path: %s/access.log\n  format: "%%h %%l %%u %%t \\"%%r\\" %%s %%b"' % self.run
        return {"USER": "user: %s" % user[0] if user else "", "ACCESS_LOG": log if self.logs else ""}

    def command(self):
        return [self.program(), "-m", "worker", "-c", self.conf_path]

    def version(self):
        return "h2o " + first_line([self.program(), "--version"], r"version (\S+)")


class Floor(Server):
    title = "floor (bare epoll loop)"

    def program(self):
        return self.env.floor

    def command(self):
        return [self.program(), str(self.port)]

    def version(self):
        return "floor.c, gcc " + first_line(["gcc", "--version"], r"\) (\S+)")


MPMS = ("event", "worker", "prefork")
APACHES = {mpm: with_mpm(Apache, mpm) for mpm in MPMS}
MUSTERS = {mpm: with_mpm(Muster, mpm) for mpm in MPMS}
