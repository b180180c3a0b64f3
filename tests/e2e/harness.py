"""Start real servers for the end-to-end tests, talk to them, stop them, and look at what they leave behind.

    MUSTER   the server to test (default: build/muster of this tree)
    MU_MPM   prefork, worker or event (default): which MPM the configuration names

A Server owns a folder of its own directly under /tmp (readable by the unprivileged user its children run as), which
holds conf/, logs/ and htdocs/, and a session of its own, so that its processes are known and nobody else's are touched.
"""
import atexit
import collections
import contextlib
import fcntl
import http.client
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import termios
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MUSTER = os.path.abspath(os.environ.get("MUSTER") or os.path.join(TOP, "build", "muster"))
MPM = os.environ.get("MU_MPM") or "event"
# Modules that only the tests load, where meson leaves them.
TEST_MODULES = os.path.join(os.path.dirname(MUSTER), "tests", "e2e", "modules")
# What the error log says when the children of the start serve, at log level notice.
UP = "resuming normal operations"
QUIET = ("emerg", "alert", "crit", "error", "warn")
# The longest anything is waited for. Only a failing test gets there; sanitized servers are slow to start.
PATIENCE = float(os.environ.get("MU_PATIENCE") or 60)


def is_open_to_all(path):
    """Can every user reach it? A tree below /root is closed to those that applications run as."""
    while path != "/":
        path = os.path.dirname(path)
        if not os.stat(path).st_mode & 0o001:
            return False
    return True


def program(*names):
    """Path of a program of the build tree, or of a copy of it where every user may run it."""
    path = os.path.join(os.path.dirname(os.path.realpath(MUSTER)), *names)
    if is_open_to_all(path):
        return path
    copies = tempfile.mkdtemp(prefix="muster-programs-")
    atexit.register(shutil.rmtree, copies, True)
    os.chmod(copies, 0o755)
    return shutil.copy(path, copies)

TEMPLATE = """\
{load_mpm}
ServerRoot "{root}"
ServerName localhost
{listen}
PidFile "{root}/logs/muster.pid"
ErrorLog "{root}/logs/error.log"
LogLevel {log_level}
{identity}
DocumentRoot "{root}/htdocs"
<Directory />
    AllowOverride None
    Require all denied
</Directory>
<Directory "{root}/htdocs">
    Require all granted
</Directory>
{config}
"""


def wait_until(what, condition, patience=PATIENCE):
    """Ask again until condition() is true; returns what it answered. Fails the test when it never is."""
    end = time.monotonic() + patience
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < end, "never happened: %s" % what
        time.sleep(0.01)


def await_arrival(s):
    """Until the other side's kernel has all that was sent on the TCP socket s, read or not. What is sent on another
    connection behind this arrives behind it, too; without it nothing says so when there are several processors."""
    wait_until("it has arrived", lambda: fcntl.ioctl(s, termios.TIOCOUTQ, bytes(4)) == bytes(4))


RESERVED = collections.deque()


def reserve(port):
    """No other process that runs these tests is given this port until this one has had a hundred others, or ends."""
    s = socket.socket(socket.AF_UNIX)
    try:
        s.bind("\0muster-e2e-port-%d" % port)
    except OSError:
        s.close()
        return False
    RESERVED.append(s)
    if len(RESERVED) > 100:
        RESERVED.popleft().close()
    return True


def free_ports(count):
    """Ports of 127.0.0.1 that are free now, below those that clients get: no connection takes one meanwhile, nor does another
    test before a server listens there."""
    with contextlib.ExitStack() as stack:
        ports = []
        while len(ports) < count:
            s = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                s.bind(("127.0.0.1", random.SystemRandom().randrange(10000, 32768)))
                if reserve(s.getsockname()[1]):
                    ports.append(s.getsockname()[1])
        return ports


def unprivileged():
    """The user that the children run as when the tests run as root; None when they do not."""
    if os.geteuid() != 0:
        return None
    for name in ("www-data", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("neither www-data nor nobody exists")


class Process:
    """What /proc says of one process; of one that is gone, nothing."""

    def __init__(self, pid):
        self.pid = pid

    def _stat(self):
        try:
            with open("/proc/%d/stat" % self.pid) as f:
                return f.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None

    def is_alive(self):
        stat = self._stat()
        return stat is not None and stat[0] not in "ZX"

    def ppid(self):
        stat = self._stat()
        return int(stat[1]) if stat else 0

    def session(self):
        stat = self._stat()
        return int(stat[3]) if stat else 0

    def status(self):
        """The lines of /proc/PID/status."""
        with open("/proc/%d/status" % self.pid) as f:
            return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)

    def name(self):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return self.status().get("Name")
        return None


def processes():
    return [Process(int(name)) for name in os.listdir("/proc") if name.isdigit()]


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __repr__(self):
        return "<Response %d %r>" % (self.status, self.body[:200])


class Server:
    """One server and its folder. Use the `serve` fixture, which stops it and checks what is left.

    config      lines appended to the template
    template    a whole configuration instead of TEMPLATE ({root}, {port} and the like are filled in)
    files       {"path under htdocs": str or bytes}
    mpm         the MPM to name in LoadModule; "" names none
    ports       how many ports of 127.0.0.1 to listen on; self.ports, self.port is the first
    args        more arguments of the command line
    daemon      start it as a daemon (without -DFOREGROUND)
    """

    def __init__(self, config="", template=TEMPLATE, files=None, mpm=None, ports=1, args=(), binary=None,
                 daemon=False, log_level="info", env=None):
        self.binary = binary or MUSTER
        self.mpm = MPM if mpm is None else mpm
        self.root = tempfile.mkdtemp(prefix="muster-e2e-", dir="/tmp")
        os.chmod(self.root, 0o755)
        self.ports = free_ports(ports)
        self.port = self.ports[0] if self.ports else None
        self.args, self.daemon, self.log_level = list(args), daemon, log_level
        self.env = dict(os.environ, **(env or {}))
        self.template = template
        self.process = None   # the Popen of a foreground server
        self.pid = None       # of the supervisor
        self.session = None
        for folder in ("conf", "logs", "htdocs"):
            os.mkdir(os.path.join(self.root, folder))
        for path, content in (files or {"index.html": "hello\n"}).items():
            self.write("htdocs/" + path, content)
        self.configure(config)

    # The folder

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def write(self, path, content):
        """Put a file into the folder in one step, so that a running server sees the old or the new one."""
        full = self.path(path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full + ".new", "wb") as f:
            f.write(content.encode() if isinstance(content, str) else content)
        os.replace(full + ".new", full)
        return full

    def configure(self, config="", mpm=None, template=None):
        """Write the configuration file; a running server takes it with the next restart."""
        if mpm is not None:
            self.mpm = mpm
        user = unprivileged()
        values = {
            "root": self.root, "port": self.port, "log_level": self.log_level,
            "test_modules": TEST_MODULES,
            "load_mpm": "LoadModule mpm_%s_module modules/mod_mpm_%s.so" % (self.mpm, self.mpm) if self.mpm else "",
            "listen": "\n".join("Listen 127.0.0.1:%d" % port for port in self.ports),
            "identity": "User %s\nGroup #%d" % (user.pw_name, user.pw_gid) if user else "",
        }
        values["config"] = self._fill(config, values)
        self.write("conf/httpd.conf", self._fill(template or self.template, values))

    @staticmethod
    def _fill(text, values):
        """Replace {name} where name is a value; other braces are the configuration's own."""
        return re.sub(r"\{(\w+)\}", lambda m: str(values.get(m[1], m[0])), text)

    def error_log(self):
        try:
            with open(self.path("logs", "error.log"), errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def read_pid_file(self):
        try:
            with open(self.path("logs", "muster.pid")) as f:
                return int(f.read().strip() or 0)
        except (FileNotFoundError, ValueError):
            return 0

    # Its life

    def command(self, *more):
        return [self.binary, "-d", self.root, "-f", self.path("conf", "httpd.conf"), *self.args, *more]

    def run(self, *more, **kwargs):
        """Run the command line to its end and return what it printed."""
        return subprocess.run(self.command(*more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=PATIENCE, env=self.env, **kwargs)

    def start(self):
        """Start and return once it serves: the PidFile is there and the ports accept."""
        if self.daemon:
            self.start_daemon()
        else:
            with open(self.path("logs", "stderr"), "ab") as err:
                self.process = subprocess.Popen(self.command("-DFOREGROUND"), stdin=subprocess.DEVNULL, stdout=err,
                                                stderr=err, start_new_session=True, env=self.env)
            self.session = self.process.pid
            wait_until("the server starts", self._has_started)
            self.pid = self.process.pid
        for port in self.ports:
            wait_until("port %d accepts" % port, lambda p=port: self._accepts(p))
        if self.log_level not in QUIET and os.path.exists(self.path("logs", "error.log")):
            wait_until("the children of the start serve", lambda: UP in self.error_log())
        return self

    def start_daemon(self):
        result = self.run()
        assert result.returncode == 0, "start failed: %s%s" % (result.stdout, result.stderr)
        self.pid = self.read_pid_file()
        assert self.pid, "the parent returned before the PidFile was there"
        self.session = Process(self.pid).session()

    def _has_started(self):
        assert self.process.poll() is None, "the server ended with status %d:\n%s" % (
            self.process.returncode, self.output())
        return self.read_pid_file() == self.process.pid

    def output(self):
        """What it printed itself."""
        try:
            with open(self.path("logs", "stderr"), errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def _accepts(self, port):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
            return True
        return False

    def send_signal(self, number):
        os.kill(self.pid, number)

    def children(self):
        """Processes whose parent is the supervisor."""
        return [p for p in processes() if p.ppid() == self.pid and p.is_alive()]

    def family(self):
        """Every live process of the server's session."""
        return [p for p in processes() if self.session and p.session() == self.session and p.is_alive()]

    def has_exited(self):
        if self.process:
            return self.process.poll() is not None
        return not Process(self.pid).is_alive()

    def graceful(self):
        """USR1, and wait until the new configuration is in force and the old generation told to go."""
        return self.restart(signal.SIGUSR1)

    def restart(self, number):
        before = self.error_log().count(UP)
        self.send_signal(number)
        wait_until("the restart is through", lambda: self.error_log().count(UP) > before or self._gone())
        return self

    def _gone(self):
        assert not self.has_exited(), "the server is gone"
        return False

    def stop(self, number=signal.SIGTERM):
        """Stop and wait for the end; returns the exit status of a foreground server."""
        if self.pid and not self.has_exited():
            self.send_signal(number)
        if self.pid:
            wait_until("the server stops", self.has_exited)
        return self.process.returncode if self.process else None

    def kill_all(self):
        """Whatever is left of this server, when a test has failed."""
        pid = self.read_pid_file()
        if not self.session and pid and self._is_mine(pid):  # a daemon whose start the test did not see end well
            self.session = Process(pid).session()
        for p in self.family() + ([Process(self.process.pid)] if self.process else []):
            with contextlib.suppress(ProcessLookupError):
                os.kill(p.pid, signal.SIGKILL)
        if self.process:
            self.process.wait()

    def _is_mine(self, pid):
        with contextlib.suppress(OSError), open("/proc/%d/cmdline" % pid, "rb") as f:
            return self.root.encode() in f.read()
        return False

    def leftovers(self):
        """What a stopped server must not leave: processes, listening ports, its PidFile, shared memory."""
        found = ["process %d: %s" % (p.pid, p.name()) for p in self.family() if p.name()]
        found += ["port %d still accepts" % port for port in self.ports if self._accepts(port)]
        found += [self.path("logs", name) for name in os.listdir(self.path("logs")) if name.endswith((".pid", ".lock"))]
        found += ["/dev/shm/" + name for name in os.listdir("/dev/shm") if "muster" in name]
        return found

    def remove(self):
        shutil.rmtree(self.root, ignore_errors=True)

    # Talking to it

    def connect(self, port=None):
        s = socket.create_connection(("127.0.0.1", port or self.port), timeout=PATIENCE)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def client(self, port=None):
        """A keep-alive client (http.client)."""
        return http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=PATIENCE)

    def request(self, method="GET", path="/", headers=None, body=None, port=None):
        client = self.client(port)
        try:
            client.request(method, path, body=body, headers=headers or {})
            answer = client.getresponse()
            return Response(answer.status, answer.headers, answer.read())
        finally:
            client.close()

    def get(self, path="/", headers=None, port=None):
        return self.request("GET", path, headers, port=port)

    def raw(self, data, port=None):
        """Send bytes, half-close, and return all that comes back."""
        with self.connect(port) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            answer = bytearray()
            while True:
                piece = s.recv(65536)
                if not piece:
                    return bytes(answer)
                answer += piece
