"""Apache and Muster, started on the same configuration."""
import contextlib
import grp
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time

from case import HERE, fill
from wire import PATIENCE

CLIENT = "127.0.0.9"


def reserve_port():
    """A port that is free on every address of the loopback network that is used, below those that clients get; and a socket.
    Until that is closed no other runner, and no end-to-end test (see tests/e2e/harness.py), is given the same port."""
    while True:
        port = random.SystemRandom().randrange(10000, 32768)
        held = socket.socket(socket.AF_UNIX)
        with socket.socket() as s, contextlib.suppress(OSError):
            held.bind("\0muster-e2e-port-%d" % port)
            s.bind(("", port))
            return str(port), held
        held.close()


def unprivileged():
    """User and Group lines for servers started as root, which may not serve as root."""
    if os.getuid() != 0:
        return ""
    for name in ("www-data", "nobody"):
        try:
            entry = pwd.getpwnam(name)
            return "User %s\nGroup %s" % (name, grp.getgrgid(entry.pw_gid).gr_name)
        except KeyError:
            continue
    return ""


class DidNotStart(Exception):
    """With what the server said."""


class Httpd:
    """One server: its program, where its modules are, and the addresses it gets."""

    def __init__(self, name, program, modules, addresses, defines):
        self.name, self.program, self.modules = name, program, modules
        self.addr, self.addr2 = addresses
        self.defines = defines
        self.process = None

    def load_lines(self, mpm, names):
        return "\n".join("LoadModule %s_module %s/mod_%s.so" % (n, self.modules, n) for n in ["mpm_" + mpm] + names)

    def start(self, case, mpm, values, base):
        """Write the configuration of a case and start on it."""
        self.run = os.path.join(base, self.name)
        self.logs = os.path.join(self.run, "logs")
        os.makedirs(self.logs)
        values = {**values, "RUN": self.run, "LOGS": self.logs, "ADDR": self.addr, "ADDR2": self.addr2}
        with open(os.path.join(HERE, "preamble.conf"), encoding="utf-8") as f:
            preamble = f.read()
        preamble = preamble.replace("@LOADMODULE@", self.load_lines(mpm, case.modules)).replace("@USER@", unprivileged())
        conf = os.path.join(self.run, "httpd.conf")
        with open(conf, "w", encoding="utf-8", errors="surrogateescape") as f:
            f.write(fill(preamble + "\n" + case.conf, values))
        command = [self.program, "-f", conf, "-DFOREGROUND"] + ["-D" + d for d in self.defines]
        with open(os.path.join(self.run, "stderr"), "wb") as err:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=err, stderr=err, cwd=self.run,
                                            start_new_session=True, env={**os.environ, "TZ": "UTC", "LC_ALL": "C"})
        self.wait_until_ready(int(values["PORT"]))

    def wait_until_ready(self, port):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection((self.addr, port), 1, (CLIENT, 0)).close()
                return
            except OSError:
                time.sleep(0.01)
        state = "ended with status %s" % self.process.poll() if self.process.poll() is not None else "did not listen"
        said = self.said()
        self.stop()
        raise DidNotStart("%s %s\n%s" % (self.name, state, said))

    def said(self):
        text = ""
        for name in ("stderr", "error.log"):
            path = os.path.join(self.run, name)
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as f:
                    text += f.read()
        return text[-6000:]

    def stop(self):
        """Returns a complaint when it did not end as asked, else None."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        complaint = None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        elif process.returncode != 0:
            complaint = "%s ended by itself with status %d" % (self.name, process.returncode)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            complaint = "%s ignored SIGTERM" % self.name
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return complaint


def apache():
    program = shutil.which("apache2", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not program:
        raise DidNotStart("apache2 is not installed (tools/setup test)")
    return Httpd("apache", program, "/usr/lib/apache2/modules", ("127.0.0.1", "127.0.1.1"), ["APACHE"])


def second_apache():
    """Apache once more in Muster's place: whatever differs then is not the server's, but the case's."""
    other = apache()
    return Httpd("muster", other.program, other.modules, ("127.0.0.2", "127.0.1.2"), other.defines)


def muster(program):
    if not os.access(program, os.X_OK):
        raise DidNotStart("%s is not there: make build" % program)
    return Httpd("muster", os.path.abspath(program), "modules", ("127.0.0.2", "127.0.1.2"), [])
