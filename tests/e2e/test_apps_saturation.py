"""An application that has more to do than it can: who waits, for how long, who is told to go, and who notices nothing.

Four processes of php-cgi or testapp in a pool, or of php-fpm. Requests hold their process until the test lets them go
(a file appears), so what is asserted is the order of things; where the configuration names a time, something else that
takes longer shows that it was kept.
"""
import contextlib
import os
import re
import signal
import threading
import time

import pytest

import applications
import rawclient
from applications import TESTAPP, query
from harness import Process, wait_until

PROCESSES = 4
# A script that says that it runs, and then waits for a file.
PHP = r"""<?php
file_put_contents($_SERVER['MARKS'], $_GET['mark'] . ' ' . getmypid() . "\n", FILE_APPEND);
for ($i = 0; isset($_GET['await']) && $i < 6000 && !file_exists($_GET['await']); $i++) { usleep(10000); clearstatcache(); }
if (isset($_GET['sleep'])) usleep(1000 * $_GET['sleep']);
echo 'done ', $_GET['mark'], "\n";
"""
# Enough processes and threads for those who wait under every MPM.
ROOM = """
<IfModule mpm_prefork_module>
    StartServers 40
    MaxSpareServers 60
</IfModule>
<IfModule mpm_worker_module>
    StartServers 3
</IfModule>
TimeOut 60
<Location "/status">
    SetHandler server-status
</Location>
"""


class Site:
    """A server whose /app.php or /run/app is run by four processes of one kind."""

    def __init__(self, make, beside, kind, lines, config=""):
        self.kind = kind
        files = {"index.html": "hello\n", "app.php": PHP}
        if kind == "testapp":
            more = applications.pool("app", TESTAPP, *lines) + 'ProxyPass "/run/" "pool:app"\n'
            self.path = "/run/app"
        else:
            self.app = beside(applications.PhpPool(*lines) if kind == "pool" else applications.Fpm())
            handler = "pool:php" if kind == "pool" else "proxy:" + self.app.url
            more = (self.app.config if kind == "pool" else "") + \
                '<FilesMatch "\\.php$">\n    SetHandler "%s"\n</FilesMatch>\n' % handler
            self.path = "/app.php"
        self.server = make(ROOM + more + config + 'SetEnv MARKS "{root}/marks/list"\n', files=files)
        os.mkdir(self.server.path("marks"))
        os.chmod(self.server.path("marks"), 0o777)
        self.gate = self.server.path("marks/gate")
        self.server.start()
        self.clients = []

    def url(self, mark, **more):
        if self.kind == "testapp" and "sleep" not in more:
            more["text"] = "done %s\n" % mark
        return "%s?%s" % (self.path, query(mark=mark, **more))

    def ask(self, mark, **more):
        """Send a request and do not wait for its answer."""
        c = rawclient.Client(self.server).get(self.url(mark, **more))
        self.clients.append(c)
        return c

    def occupy(self):
        """Every process is busy until open_gate()."""
        self.await_idle()
        busy = [self.ask("busy%d" % i, **{"await": self.gate}) for i in range(PROCESSES)]
        wait_until("all processes are busy", lambda: len(self.ran("busy")) == PROCESSES)
        return busy

    def await_idle(self):
        """All processes of a pool serve, and have nothing to do."""
        if self.kind != "fpm":
            wait_until("all processes are free", lambda: pool_state(self.server, "Idle") == PROCESSES)

    def open_gate(self):
        with open(self.gate, "w"):
            pass

    def ran(self, prefix=""):
        """Marks of what was executed, in order."""
        with contextlib.suppress(FileNotFoundError), open(self.server.path("marks/list")) as f:
            return [line.split()[0] for line in f if line.startswith(prefix)]
        return []

    def static_is_served(self, times=50):
        client = self.server.client()
        for _ in range(times):
            client.request("GET", "/index.html")
            answer = client.getresponse()
            assert (answer.status, answer.read()) == (200, b"hello\n")
        client.close()

    def close(self):
        for c in self.clients:
            c.s.close()


@pytest.fixture
def site(make, beside):
    sites = []

    def start(kind, *lines, **kwargs):
        sites.append(Site(make, beside, kind, lines, **kwargs))
        return sites[-1]

    yield start
    for s in sites:
        s.open_gate()
        s.close()


class Arrivals:
    """Reads answers as they come, each by a thread of its own, and keeps them in order of arrival."""

    def __init__(self):
        self.answers, self.lock, self.threads = [], threading.Lock(), []

    def expect(self, name, client):
        self.threads.append(threading.Thread(target=self.take, args=(name, client)))
        self.threads[-1].start()

    def take(self, name, client):
        try:
            answer = client.answer()
        except (AssertionError, OSError) as e:
            answer = e
        with self.lock:
            self.answers.append((name, answer))

    def names(self):
        with self.lock:
            return [name for name, _ in self.answers]

    def all(self):
        for t in self.threads:
            t.join()
        return self.answers


@pytest.mark.parametrize("kind", ["testapp", "pool"])
def test_nobody_waits_beyond_the_deadline(site, kind):
    """Those who found no process within QueueTimeout get a 503 while all processes are still busy; they are never run."""
    s = site(kind, "QueueTimeout 1", "QueueLength 100")
    busy = s.occupy()
    arrivals = Arrivals()
    for i in range(20):
        arrivals.expect("late%d" % i, s.ask("late%d" % i))
    s.static_is_served()
    for name, answer in arrivals.all():
        assert answer.status == 503, (name, answer)
        assert int(answer["Retry-After"]) > 0
    assert s.ran("late") == []
    s.open_gate()
    assert [c.answer().status for c in busy] == [200] * PROCESSES
    s.await_idle()
    assert s.ask("after").answer().body == b"done after\n"
    assert s.ran() == ["busy%d" % i for i in sorted(range(PROCESSES), key=lambda i: s.ran().index("busy%d" % i))] + ["after"]


def test_the_deadline_is_kept(site):
    """A second's wait ends while those that were there before have their processes still, and not before it is over."""
    s = site("testapp", "QueueTimeout 1")
    arrivals = Arrivals()
    for c in s.occupy():
        arrivals.expect("busy", c)
    begun = time.monotonic()
    arrivals.expect("late", s.ask("late"))
    wait_until("it is told to go", lambda: arrivals.names() == ["late"])
    assert time.monotonic() >= begun + 0.9  # the server counts from the beginning of a turn of its event loop
    s.open_gate()
    assert [(name, a.status) for name, a in arrivals.all()] == [("late", 503)] + [("busy", 200)] * PROCESSES


@pytest.mark.parametrize("kind", ["testapp", "pool"])
def test_a_full_queue_says_so_at_once(site, kind):
    """Across all web children no more than QueueLength wait; who comes then is told so before any of those has left."""
    s = site(kind, "QueueTimeout 60", "QueueLength 8")
    s.occupy()
    arrivals = Arrivals()
    for i in range(24):
        arrivals.expect("waiting%d" % i, s.ask("waiting%d" % i))
    wait_until("all but eight are answered", lambda: len(arrivals.names()) == 16)
    assert all(a.status == 503 and int(a["Retry-After"]) > 0 for _, a in arrivals.answers)
    s.static_is_served()
    assert len(arrivals.names()) == 16 and s.ran("waiting") == []
    s.open_gate()
    served = [name for name, a in arrivals.all()[16:] if a.status == 200]
    assert len(served) == 8 and sorted(s.ran("waiting")) == sorted(served)


@pytest.mark.parametrize("kind", ["testapp", "pool"])
def test_first_come_first_served(site, kind):
    s = site(kind, "QueueTimeout 60", "ProcessManager static", "MaxChildren 1")
    s.ask("busy0", **{"await": s.gate})
    wait_until("the process is busy", lambda: s.ran("busy") == ["busy0"])
    for i in range(12):
        before = pool_state(s.server, "Queue")
        s.ask("n%02d" % i)
        wait_until("it waits", lambda n=before: pool_state(s.server, "Queue") == n + 1)
    s.open_gate()
    assert [c.answer().status for c in s.clients] == [200] * 13
    assert s.ran("n") == ["n%02d" % i for i in range(12)]


def pool_state(server, key):
    """Idle, Busy, Queue … of the pool, as the status page says it; -1 while no web child can say it."""
    found = None
    with contextlib.suppress(OSError):
        found = re.search(r"^Pool\.\w+\.%s: (\d+)$" % key, server.get("/status?auto").body.decode(), re.M)
    return int(found[1]) if found else -1


@pytest.mark.parametrize("kind", ["testapp", "pool"])
def test_who_hangs_up_is_never_executed(site, kind):
    """They leave the queue, and their places are free for others, while every process is busy."""
    s = site(kind, "QueueTimeout 60", "QueueLength 10")
    s.occupy()
    for i in range(10):
        s.ask("gone%d" % i)
    wait_until("the queue is full", lambda: pool_state(s.server, "Queue") == 10)
    assert s.ask("over").answer().status == 503
    for c in s.clients[PROCESSES:PROCESSES + 10]:
        c.s.close()
    wait_until("the server has seen them leave", lambda: pool_state(s.server, "Queue") == 0)
    arrivals = Arrivals()
    for i in range(10):
        arrivals.expect(i, s.ask("stays%d" % i))
    wait_until("ten others found room", lambda: pool_state(s.server, "Queue") == 10)
    s.open_gate()
    assert [a.status for _, a in arrivals.all()] == [200] * 10
    assert s.ran("gone") == [] and len(s.ran("stays")) == 10


def test_static_files_beside_a_saturated_php_fpm(site):
    """php-fpm knows no deadline for those who wait: the server's own ends their wait, and files are served meanwhile."""
    s = site("fpm", config="ProxyTimeout 2\n")
    s.occupy()
    arrivals = Arrivals()
    for i in range(20):
        arrivals.expect("late%d" % i, s.ask("late%d" % i))
    s.static_is_served(200)
    assert {a.status for _, a in arrivals.all()} <= {503, 504}
    assert s.ran("late") == []
    s.open_gate()
    wait_until("php-fpm serves again", lambda: s.ask("after").answer().status == 200)


# ---- processes that die ----

def pool_pids(server, program):
    """The live processes of a pool by their program's name."""
    found = []
    for p in server.family():
        with contextlib.suppress(OSError), open("/proc/%d/cmdline" % p.pid, "rb") as f:
            if os.path.basename(f.read().split(b"\0")[0]).decode() == program:
                found.append(p.pid)
    return sorted(found)


def all_pids(server, program):
    """The pids of a pool that is complete; None of one that is not."""
    found = pool_pids(server, program)
    return found if len(found) == PROCESSES else None


class Load:
    """Clients that ask without end, and what they were told."""

    def __init__(self, site, clients):
        self.site, self.ends, self.statuses, self.lock = site, threading.Event(), [], threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(clients)]

    def run(self, number):
        while not self.ends.is_set():
            answer = self.site.server.get(self.site.url("load%d" % number))
            with self.lock:
                self.statuses.append((time.monotonic(), answer.status))

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        for t in self.threads:
            t.join()

    def good_since(self, moment):
        with self.lock:
            return [at for at, status in self.statuses if at > moment and status == 200]


@pytest.mark.parametrize("kind,program", [("testapp", "testapp"), ("pool", os.path.basename(applications.PHP_CGI))])
def test_every_process_killed_under_load(site, kind, program):
    """The pool is back within a second (in the best of some: the machine has other work), with all its processes, and
    no request was left without an answer."""
    s = site(kind, "QueueTimeout 20")
    with Load(s, 8) as load:
        wait_until("it serves", lambda: len(load.good_since(0)) > 20)
        took = []
        while len(took) < 3 or (min(took) >= 1 and len(took) < 10):
            old = wait_until("all are there", lambda: all_pids(s.server, program))
            if len(took) >= 3:  # those that ended young are started again at growing distances
                time.sleep(4)
            for pid in old:
                os.kill(pid, signal.SIGKILL)
            killed = time.monotonic()
            # Four answers, so that it is not one process that has come back.
            took.append(wait_until("it serves again", lambda at=killed: load.good_since(at)[3:4])[0] - killed)
            wait_until("all are replaced", lambda o=set(old): not o & set(all_pids(s.server, program) or o))
            s.static_is_served()
    assert min(took) < 1, took
    statuses = [status for _, status in load.statuses]
    assert set(statuses) <= {200, 502, 503}, set(statuses)
    # A process holds one request: no more can have been lost, and those that may be tried again were.
    assert len([x for x in statuses if x != 200]) <= len(took) * PROCESSES


def test_a_web_child_that_dies_holds_nothing_back(site):
    """kill -9 of a web child whose requests hold all processes and whose others wait: nothing of that stays taken."""
    s = site("testapp", "QueueTimeout 60", "QueueLength 8", "StopTimeout 1")
    s.occupy()
    for i in range(8):
        s.ask("waits%d" % i)
    wait_until("the queue is full", lambda: pool_state(s.server, "Queue") == 8)
    assert s.ask("over").answer().status == 503
    web = [p.pid for p in s.server.children() if p.pid not in pool_pids(s.server, "testapp") and serves(p.pid)]
    for number in (signal.SIGSTOP, signal.SIGKILL):  # none takes what another leaves
        for pid in web:
            os.kill(pid, number)
    wait_until("they are gone", lambda: not any(Process(pid).is_alive() for pid in web))
    s.open_gate()
    wait_until("all processes are free", lambda: pool_state(s.server, "Idle") == PROCESSES)
    assert pool_state(s.server, "Queue") == 0
    arrivals = Arrivals()
    for i in range(PROCESSES + 8):
        arrivals.expect(i, s.ask("after%d" % i))
    assert [a.status for _, a in arrivals.all()] == [200] * (PROCESSES + 8)
    assert s.ran("waits") == [], "nobody was there any more to be answered"


def target(path):
    with contextlib.suppress(OSError):  # of a connection that is closed meanwhile, for example
        return os.readlink(path)
    return ""


def serves(pid):
    """Is it a process of the server itself that holds connections of clients?"""
    with contextlib.suppress(OSError):
        return any(target("/proc/%d/fd/%s" % (pid, fd)).startswith("socket:") for fd in os.listdir("/proc/%d/fd" % pid))
    return False
