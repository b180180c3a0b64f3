"""Servers with an application pool, for the tests of pools: `from poolkit import pools` gives the fixture."""
import contextlib
import http.client
import os
import re
import subprocess
import threading

import pytest

import applications
import rawclient
from applications import TESTAPP, pool, query
from harness import unprivileged, wait_until

APP = '<Location "/app">\n    SetHandler "pool:%s"\n</Location>\n'
STATUS = '<Location "/status">\n    SetHandler server-status\n</Location>\n'
only_root = pytest.mark.skipif(not unprivileged(), reason="only root can give processes another user")


class Pools:
    """A server with testapp as pool "app" at /app, and a folder that its processes may write to."""

    def __init__(self, make, *lines, more="", command=TESTAPP, name="app", **kwargs):
        self.lines, self.more, self.command, self.name = lines, more, command, name
        self.server = make(**kwargs)
        os.mkdir(self.server.path("marks"))
        os.chmod(self.server.path("marks"), 0o777)
        self.marks, self.gate = self.server.path("marks/list"), self.server.path("marks/gate")
        self.configure()
        self.clients = []
        self.is_scribbled = False  # the test writes over the queue

    def configure(self, *lines, command=None, more=None):
        """Write the configuration, with other lines of the pool when there are any."""
        self.lines, self.command = lines or self.lines, command or self.command
        self.more = self.more if more is None else more
        self.server.configure(pool(self.name, "%s -m %s" % (self.command, self.marks), *self.lines) +
                              APP % self.name + STATUS + self.more)
        return self

    def start(self):
        self.server.start()
        return self

    def get(self, *commands, path="/app", **more):
        return self.server.get("%s?%s" % (path, query(*commands, **more)))

    def text(self, *commands, **more):
        answer = self.get(*commands, **more)
        assert answer.status == 200, (answer, self.server.error_log())
        return answer.body.decode()

    def ask(self, *commands, path="/app", **more):
        """Send a request and do not wait for its answer."""
        self.clients.append(rawclient.Client(self.server).get("%s?%s" % (path, query(*commands, **more))))
        return self.clients[-1]

    def pid(self, **more):
        return int(re.search(r"pid=(\d+)", self.text("process", **more))[1])

    def auto(self, pool_name=None):
        """The pool's part of the status page: numbers by key, and its processes."""
        numbers, processes, prefix = {}, [], "Pool.%s." % (pool_name or self.name)
        for line in self.server.get("/status?auto").body.decode().splitlines():
            if not line.startswith(prefix):
                continue
            key, value = line[len(prefix):].split(": ", 1)
            if key == "Process":
                processes.append(dict(re.findall(r'(\w+)=("[^"]*"|\S*)', value)))
            else:
                numbers[key] = value
        numbers["processes"] = processes
        return numbers

    def pids(self, state=None):
        return sorted(int(p["pid"]) for p in self.auto()["processes"] if state in (None, p["state"]))

    def settled(self, n):
        """The pids, once there are so many processes and all of them are idle."""
        return wait_until("%d processes are idle" % n,
                          lambda: len(self.pids("idle")) == n == len(self.pids()) and self.pids())

    def marked(self):
        with contextlib.suppress(FileNotFoundError), open(self.marks) as f:
            return [line.split()[0] for line in f]
        return []

    def open_gate(self):
        with open(self.gate, "w"):
            pass

    def control(self, *words):
        return subprocess.run([self.server.binary, "pool", *words, "-d", self.server.root, "-f",
                               self.server.path("conf/httpd.conf")], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=60)

    def logged(self, tag):
        return [line for line in self.server.error_log().splitlines() if tag + ":" in line]

    def close(self):
        self.open_gate()
        for c in self.clients:
            c.s.close()


@pytest.fixture
def pools(make):
    made = []

    def prepare(*lines, **kwargs):
        made.append(Pools(make, *lines, **kwargs))
        return made[-1]

    yield prepare
    for p in made:
        p.close()
        assert p.is_scribbled or not p.logged("MU0909"), "the queue was sound all the time"


def static(n, *lines):
    return ("ProcessManager static", "MaxChildren %d" % n) + lines


def attempt(what):
    with contextlib.suppress(OSError, AssertionError, KeyError, http.client.HTTPException):
        return what()
    return None


class Load:
    """Clients that ask for one path again and again, each on new connections; what they were told is kept."""

    def __init__(self, server, path, clients=4):
        self.server, self.path, self.ends, self.lock = server, path, threading.Event(), threading.Lock()
        self.statuses, self.bodies = [], set()
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]

    def run(self):
        while not self.ends.is_set():
            try:
                answer = self.server.get(self.path)
                status, body = answer.status, answer.body.decode()
            except (OSError, http.client.HTTPException) as e:
                status, body = repr(e), ""
            with self.lock:
                self.statuses.append(status)
                self.bodies.add(body)

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        for t in self.threads:
            t.join()

    def count(self, status=200):
        with self.lock:
            return self.statuses.count(status)

    def goes_on(self, n=20):
        """So many more are answered."""
        before = self.count()
        wait_until("requests are answered", lambda: self.count() >= before + n)

    def others(self):
        with self.lock:
            return [s for s in self.statuses if s != 200]
