"""Application pools: what their processes are, how many, and what happens to them; over reloads and restarts.

testapp (tests/e2e/apps) is most of the applications; a Python one and php-cgi show that nothing is special about it. How
a pool behaves with more to do than it can is in test_apps_saturation.py.
"""
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

import applications
import rawclient
from applications import TESTAPP, pool, pool_user, query
from harness import Process, unprivileged, wait_until

MUSTERCTL = os.path.join(os.path.dirname(applications.harness.MUSTER), "musterctl")
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


def static(n, *lines):
    return ("ProcessManager static", "MaxChildren %d" % n) + lines


# ---- what a process is ----

def test_exactly_three_descriptors(pools):
    text = pools(*static(1)).start().text("fds")
    found = dict(line.split(" ", 1) for line in text.splitlines())
    assert sorted(found) == ["0", "1", "2", "3"], "and 3 is the connection of this request"
    assert found["0"].startswith("socket:") and found["3"].startswith("socket:")
    assert found["1"].startswith("pipe:") and found["2"] == found["1"]


def test_environment_is_clean(pools):
    p = pools(*static(1, "Environment COLOUR=green HOME=/tmp", "Environment PASSED ABSENT"),
              env={"PASSED": "on", "SECRET": "x"}).start()
    found = dict(line.split("=", 1) for line in p.text("processenv").splitlines())
    expected = {"PATH": "/usr/local/bin:/usr/bin:/bin", "COLOUR": "green", "HOME": "/tmp", "PASSED": "on"}
    if pool_user():
        expected["USER"] = pool_user().pw_name
    assert found == expected


def test_limits_and_place(pools):
    p = pools(*static(1, "LimitCPU 77", "LimitMemory 512M", "LimitFiles 99", "LimitProcesses 321",
                      "WorkingDirectory /usr")).start()
    limits = {f[0]: (int(f[1]), int(f[2])) for f in (line.split() for line in p.text("limits").splitlines())}
    assert limits["cpu"] == (77, 77) and limits["as"] == (512 << 20, 512 << 20)
    assert limits["nofile"] == (99, 99) and limits["nproc"] == (321, 321)
    assert p.text("cwd") == "/usr\n"
    assert p.text(alloc="1000") == "refused\n"
    assert p.text(alloc="10") == "allocated\n"


def test_a_process_group_of_its_own(pools):
    found = dict(re.findall(r"(\w+)=(\d+)", pools(*static(1)).start().text("process")))
    assert found["pid"] == found["pgid"] and found["ppid"] != "1"


@only_root
def test_user_group_and_nothing_of_root(pools):
    p = pools(*static(1)).start()
    user = pool_user()
    assert p.text("ids").startswith("uid=%d gid=%d " % (user.pw_uid, user.pw_gid))
    status = Process(p.pid()).status()
    assert status["Uid"].split() == [str(user.pw_uid)] * 4
    assert status["CapEff"] == status["CapPrm"] == status["CapBnd"] == "0" * 16


@only_root
def test_chroot(pools, make):
    p = pools(more="")
    jail = p.server.path("jail")
    os.makedirs(jail + "/bin")
    os.makedirs(jail + "/work")
    os.chmod(jail, 0o755)
    shutil.copy(TESTAPP, jail + "/bin/app")
    libraries = subprocess.run(["ldd", TESTAPP], stdout=subprocess.PIPE, text=True).stdout
    for path in re.findall(r"(/\S+\.so\S*)", libraries):
        os.makedirs(jail + os.path.dirname(path), exist_ok=True)
        shutil.copy(path, jail + path)
    p.configure(*static(1, "Chroot " + jail, "WorkingDirectory /work"), command="/bin/app")
    p.start()
    assert p.text("cwd") == "/work\n"
    assert os.readlink("/proc/%d/root" % p.settled(1)[0]) == jail


def test_what_it_prints_is_in_the_error_log(pools):
    p = pools(command="/bin/sh").configure(*static(1))
    script = p.server.write("say.sh", "#!/bin/sh\necho to stdout\necho to stderr >&2\nexec %s -m %s\n" % (
        TESTAPP, p.marks))
    os.chmod(script, 0o755)
    p.server.configure(pool("app", script, *static(1)) + APP % "app" + STATUS)
    p.start()
    assert p.text(text="fine") == "fine"
    pid = p.settled(1)[0]
    lines = [line.split("MU0930: ")[1] for line in p.logged("MU0930")]
    assert lines == ["pool app process %d: to stdout" % pid, "pool app process %d: to stderr" % pid]


def test_sockets_are_the_web_childrens_alone(pools):
    p = pools(*static(2)).start()
    p.settled(2)
    folder = p.server.path("logs/muster.pools")
    assert os.stat(folder).st_mode & 0o777 == (0o710 if unprivileged() else 0o700)
    owners = {name: os.stat(os.path.join(folder, name)) for name in os.listdir(folder)}
    assert sorted(owners) == ["app.0.1", "app.1.2", "control"]
    assert {s.st_mode & 0o777 for s in owners.values()} == {0o600}
    if unprivileged():
        assert owners["app.0.1"].st_uid == unprivileged().pw_uid and owners["control"].st_uid == 0
    p.server.stop()
    assert not os.path.exists(folder)


PYTHON = r"""
import os, socket, struct, sys
listener = socket.socket(fileno=0)

def record(kind, body):
    return struct.pack(">BBHHBx", 1, kind, 1, len(body), 0) + body

def read(s, n):
    data = b""
    while len(data) < n:
        piece = s.recv(n - len(data))
        if not piece:
            return None
        data += piece
    return data

def pairs(data):
    found, at = {}, 0
    while at < len(data):
        lengths = []
        for _ in range(2):
            n = data[at]
            if n < 128:
                at += 1
            else:
                n = struct.unpack(">I", data[at:at + 4])[0] & 0x7fffffff
                at += 4
            lengths.append(n)
        name = data[at:at + lengths[0]].decode()
        found[name] = data[at + lengths[0]:at + sum(lengths)].decode("latin-1")
        at += sum(lengths)
    return found

while True:
    s, _ = listener.accept()
    params, stdin = b"", b""
    while True:
        head = read(s, 8)
        if head is None:
            break
        _, kind, _, n, padding = struct.unpack(">BBHHBx", head)
        body = read(s, n + padding)[:n]
        if kind == 4:
            params += body
        elif kind == 5 and n:
            stdin += body
        elif kind == 5:
            v = pairs(params)
            text = "python %s %s %d %s\n" % (v["REQUEST_METHOD"], v["REQUEST_URI"], len(stdin), v.get("HTTP_X_WORD"))
            s.sendall(record(6, ("Content-Type: text/plain\r\n\r\n" + text).encode()) + record(6, b"") +
                      record(3, struct.pack(">IB3x", 0, 0)))
            break
    s.close()
"""


def test_an_application_in_python(make):
    server = make(files={"index.html": "x"})
    script = server.write("app.py", PYTHON)
    server.configure(pool("py", "%s %s" % (os.path.realpath("/usr/bin/python3"), script), *static(2)) + APP % "py")
    server.start()
    for i in range(5):
        answer = server.request("POST", "/app/x?i=%d" % i, {"X-Word": "w%d" % i}, b"z" * (i * 40000))
        assert (answer.status, answer.body.decode()) == (200, "python POST /app/x?i=%d %d w%d\n" % (i, i * 40000, i))


@pytest.mark.skipif(not applications.can_execute(applications.PHP_CGI), reason="needs php-cgi")
def test_php(serve, beside):
    php = beside(applications.PhpPool("MaxRequests 3", "ProcessManager static", "MaxChildren 1"))
    server = serve(php.config + '<FilesMatch "\\.php$">\n    SetHandler "pool:php"\n</FilesMatch>\n', files={
        "index.html": "x", "a.php": "<?php echo getmypid(), ' ', $_SERVER['PATH_INFO'] ?? '-', ' ', $_GET['q'] ?? '-';"})
    answers = [server.get("/a.php/info?q=%d" % i).body.decode().split() for i in range(7)]
    assert [a[1:] for a in answers] == [["/info", str(i)] for i in range(7)]
    pids = [a[0] for a in answers]
    assert len(set(pids[0:3])) == len(set(pids[3:6])) == 1 and len(set(pids)) == 3, "three requests each"
    assert server.get("/none.php").status == 404


# ---- how many ----

def test_static_starts_all(pools):
    p = pools(*static(5)).start()
    p.settled(5)
    assert p.auto()["MaxChildren"] == "5"


def test_dynamic_keeps_spares(pools):
    p = pools("ProcessManager dynamic", "MaxChildren 6", "StartServers 2", "MinSpare 1", "MaxSpare 2").start()
    p.settled(2)
    for _ in range(6):
        p.ask(mark="x", **{"await": p.gate})
    wait_until("all are busy", lambda: len(p.marked()) == 6)
    assert len(p.pids("busy")) == 6
    p.open_gate()
    p.settled(2)


def test_ondemand_starts_when_asked_and_ends_when_idle(pools):
    p = pools("ProcessManager ondemand", "MaxChildren 3", "IdleTimeout 300ms").start()
    assert p.pids() == []
    first = p.pid()
    wait_until("it ends", lambda: p.pids() == [] and not Process(first).is_alive())
    clients = [p.ask(mark="x", **{"await": p.gate}) for _ in range(3)]
    wait_until("one for each", lambda: len(p.marked()) == 3)
    p.open_gate()
    assert [c.answer().status for c in clients] == [200] * 3
    wait_until("they end", lambda: p.pids() == [])
    assert p.auto()["Started"] == "4"


def test_max_requests(pools):
    p = pools(*static(1, "MaxRequests 2")).start()
    pids = [p.pid() for _ in range(6)]
    assert pids[0] == pids[1] and pids[2] == pids[3] and pids[4] == pids[5] and len(set(pids)) == 3
    assert not p.logged("MU0904") and not p.logged("MU0906")


# ---- what goes wrong ----

def test_a_crash_is_a_502_and_replaced(pools):
    p = pools(*static(2)).start()
    before = p.settled(2)
    answer = p.server.request("POST", "/app?" + query(mark="x", crash="segv"))
    assert answer.status == 502
    assert p.marked() == ["x"], "what is not idempotent is not tried again"
    after = p.settled(2)
    assert len(set(before) & set(after)) == 1
    assert p.server.get("/app?" + query(mark="y", crash="segv")).status == 502
    assert p.marked() == ["x", "y", "y"], "what is, once"


def test_a_request_is_tried_again(pools):
    """The process dies once, before it has answered anything."""
    p = pools(*static(1))
    flag = p.server.path("marks/once")
    script = p.server.write("once.sh", "#!/bin/sh\nif [ ! -e %s ]; then : > %s; exec %s %s; fi\nexec %s\n" % (
        flag, flag, sys.executable, p.server.write("drop.py", "import socket\nl = socket.socket(fileno=0)\n"
        "while True:\n    s, _ = l.accept()\n    if s.recv(8):\n        raise SystemExit(9)\n    s.close()\n"), TESTAPP))
    os.chmod(script, 0o755)
    p.server.configure(pool("app", script, *static(1)) + APP % "app" + STATUS)
    p.start()
    assert p.text(text="fine") == "fine"
    assert p.auto()["Broken"] == "1" and p.auto()["Started"] == "2"


def test_a_program_that_cannot_run_is_tried_at_growing_distances(pools):
    p = pools(*static(1, "QueueTimeout 300ms"), command="/bin/false").start()
    answer = p.get(text="x")
    assert answer.status == 503 and answer.headers["Retry-After"] == "1"
    pauses = wait_until("four attempts", lambda: [int(m) for m in re.findall(
        r"the next one starts in (\d+) ms", p.server.error_log())][3:] and re.findall(
        r"the next one starts in (\d+) ms", p.server.error_log())[:4])
    assert pauses == ["100", "200", "400", "800"]


def test_emergency_restart(pools):
    p = pools(*static(3, "EmergencyRestartThreshold 2", "EmergencyRestartInterval 60")).start()
    before = p.settled(3)
    p.server.request("POST", "/app?" + query(crash="segv"))
    wait_until("it is replaced", lambda: len(p.pids("idle")) == 3 and set(p.pids()) != set(before))
    assert len(set(before) & set(p.settled(3))) == 2
    p.server.request("POST", "/app?" + query(crash="segv"))
    wait_until("all are", lambda: not set(before) & set(p.pids()))
    p.settled(3)
    assert len(p.logged("MU0905")) == 1


def test_request_timeout_ends_a_stuck_process(pools):
    p = pools(*static(1, "RequestTimeout 400ms")).start()
    stuck = p.settled(1)[0]
    answer = p.get("ignoreterm", mark="stuck", **{"await": p.gate})
    assert answer.status == 504
    assert p.marked() == ["stuck"], "and it is not tried again"
    assert p.settled(1) != [stuck] and not Process(stuck).is_alive()
    assert "/app?ignoreterm" in p.logged("MU0922")[0]
    assert p.text(text="fine") == "fine"


def test_slow_requests_are_written_down(pools):
    p = pools(*static(1, "SlowRequestTimeout 100ms", "SlowRequestLog logs/slow.log")).start()
    c = p.ask(mark="slow", **{"await": p.gate})
    slow = p.server.path("logs/slow.log")
    wait_until("it is written down", lambda: os.path.exists(slow) and open(slow).read())
    pid = p.pids("busy")[0]
    p.open_gate()
    assert c.answer().status == 200
    assert p.text(text="quick") == "quick"
    text = open(slow).read()
    assert text.count("pool app pid") == 1
    assert re.match(r"\[[^]]+\] pool app pid %d 0\.\d+ s client 127\.0\.0\.1 \"GET /app\?mark=slow&await" % pid, text)
    if os.geteuid() == 0:
        assert "  syscall: " in text


def test_who_leaves_does_not_set_a_process_free(pools):
    """The client goes; its process is not given to the next one before it has finished."""
    p = pools(*static(1)).start()
    c = p.ask(mark="left", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["left"])
    c.s.close()
    wait_until("that is noticed", lambda: p.pids("in") or [x for x in p.auto()["processes"] if x["state"] != "busy"]
               or p.auto()["Busy"] == "1")
    second = p.ask(mark="second", text="second")
    wait_until("it waits", lambda: p.auto()["Queue"] == "1")
    assert p.marked() == ["left"]
    p.open_gate()
    assert second.answer().body == b"second"
    assert p.marked() == ["left", "second"]


def test_a_web_child_that_dies_does_not_set_a_process_free(pools):
    p = pools(*static(1)).start()
    p.ask(mark="orphan", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["orphan"])
    apps = p.pids()
    for child in p.server.children():
        if child.pid not in apps and b"muster" in open("/proc/%d/cmdline" % child.pid, "rb").read():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
    waiting = wait_until("new children serve", lambda: attempt(lambda: p.ask(mark="next", text="next")))
    wait_until("it waits", lambda: attempt(lambda: p.auto()["Queue"] == "1"))
    assert p.marked() == ["orphan"] and p.pids() == apps
    p.open_gate()
    assert waiting.answer().body == b"next"
    assert p.marked() == ["orphan", "next"] and p.pids() == apps


def attempt(what):
    with contextlib.suppress(OSError, AssertionError, KeyError):
        return what()
    return None


# ---- musterctl pool ----

def test_reload_replaces_and_loses_nothing(pools):
    p = pools(*static(2)).start()
    before = p.settled(2)
    web = {c.pid for c in p.server.children()} - set(before)
    held = p.ask(mark="held", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["held"])
    assert p.control("reload", "app").returncode == 0
    wait_until("new ones serve", lambda: len(set(p.pids("idle")) - set(before)) == 2)
    finishing = p.pids("finishing")
    assert len(finishing) == 1 and set(finishing) < set(before), "the one that holds a request"
    assert p.pid() not in before, "new ones take new requests at once"
    p.open_gate()
    assert held.answer().status == 200
    assert not set(before) & set(p.settled(2))
    assert web <= {c.pid for c in p.server.children()}, "the web children noticed nothing"


def test_reload_of_what_cannot_start_keeps_the_old_ones(pools):
    p = pools(command="/bin/sh")
    broken = p.server.path("marks/broken")
    script = p.server.write("maybe.sh", "#!/bin/sh\n[ -e %s ] && exit 3\nexec %s -m %s\n" % (broken, TESTAPP, p.marks))
    os.chmod(script, 0o755)
    p.server.configure(pool("app", script, *static(2)) + APP % "app" + STATUS)
    p.start()
    before = p.settled(2)
    open(broken, "w").close()
    assert p.control("reload", "app").returncode == 0
    wait_until("it is tried", lambda: len(p.logged("MU0904")) >= 2)
    assert p.pid() in before
    os.unlink(broken)
    wait_until("they are replaced", lambda: len(p.pids("idle")) == 2 and not set(before) & set(p.pids()))
    assert p.text(text="fine") == "fine"


def test_other_pools_notice_nothing(pools):
    other = pool("other", TESTAPP, *static(2)) + '<Location "/other">\n    SetHandler pool:other\n</Location>\n'
    p = pools(*static(2), more=other).start()
    p.settled(2)
    before = wait_until("the other one is up", lambda: len(p.auto("other")["processes"]) == 2 and p.auto("other"))
    for verb in ("reload", "stop", "start"):
        assert p.control(verb, "app").returncode == 0
    p.settled(2)
    after = p.auto("other")
    assert [x["pid"] for x in after["processes"]] == [x["pid"] for x in before["processes"]]


def test_stop_and_start(pools):
    p = pools(*static(2)).start()
    before = p.settled(2)
    clients = [p.ask(mark="held%d" % i, **{"await": p.gate}) for i in range(2)]
    wait_until("both are busy", lambda: len(p.marked()) == 2)
    waits = p.ask(mark="waits")
    wait_until("one waits", lambda: p.auto()["Queue"] == "1")
    assert p.control("stop", "app").returncode == 0
    assert waits.answer().status == 503, "who waits is told at once"
    answer = p.get(text="x")
    assert answer.status == 503 and answer.headers["Retry-After"]
    p.open_gate()
    assert [c.answer().status for c in clients] == [200] * 2, "what was begun is finished"
    wait_until("they end", lambda: p.pids() == [])
    assert "stopped" in p.control("list").stdout
    p.server.graceful()
    assert p.get(text="x").status == 503, "a restart does not start it"
    assert p.control("start", "app").returncode == 0
    assert not set(p.settled(2)) & set(before)
    assert p.text(text="fine") == "fine"
    assert "waits" not in p.marked()


def test_list_status_and_errors(pools):
    p = pools(*static(2)).start()
    pids = p.settled(2)
    p.text(text="x")
    said = p.control("list")
    assert said.returncode == 0 and re.search(r"^app +running +2 +2 +0$", said.stdout, re.M), said.stdout
    said = p.control("status", "app")
    assert "pool app: running, 2 processes of 2" in said.stdout and "requests 1," in said.stdout
    assert all("process %d idle" % pid in said.stdout for pid in pids)
    assert p.control("status").stdout == said.stdout
    for words, why in ((("reload", "none"), 'there is no pool "none"'), (("reload",), "needs the name"),
                       (("dance", "app"), "allowed are list")):
        said = p.control(*words)
        assert said.returncode == 1 and why in said.stderr, said
    assert p.control().returncode == 1
    p.server.stop()
    said = p.control("list")
    assert said.returncode == 1 and "no server with application pools" in said.stderr


def test_musterctl(pools):
    p = pools(*static(1)).start()
    p.settled(1)
    said = subprocess.run([MUSTERCTL, "pool", "list"], stdout=subprocess.PIPE, text=True, timeout=60,
                          env=dict(os.environ, MUSTER_CONFDIR=p.server.root, MUSTER=p.server.binary))
    assert said.returncode == 0 and re.search(r"^app +running", said.stdout, re.M), said


@only_root
def test_only_root_may_control(pools):
    """The socket's mode keeps everybody else out; should that be changed, the kernel's word on who connects does."""
    p = pools(*static(1)).start()
    folder = p.server.path("logs/muster.pools")
    os.chmod(folder, 0o755)
    os.chmod(os.path.join(folder, "control"), 0o666)
    user = unprivileged()
    script = ("import socket,sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
              "s.sendall(b'stop app\\n')\nprint(repr(s.recv(100)))\n")
    said = subprocess.run([sys.executable, "-c", script, os.path.join(folder, "control")], user=user.pw_uid,
                          group=user.pw_gid, extra_groups=[], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "ok" not in said.stdout
    assert p.auto()["State"] == "running"


# ---- restarts of the server ----

def test_a_graceful_restart_keeps_an_unchanged_pool(pools):
    p = pools(*static(3)).start()
    before = p.settled(3)
    held = p.ask(mark="held", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["held"])
    p.configure(*p.lines, "QueueLength 7", more="# changed elsewhere\n")
    p.server.graceful()
    assert p.pids() == before
    assert p.pid() in before
    p.open_gate()
    assert held.answer().status == 200
    assert p.settled(3) == before
    assert p.auto()["Started"] == "3"
    # And what was handed over can be used: a process that dies now is seen and replaced.
    os.kill(before[0], signal.SIGKILL)
    wait_until("it is replaced", lambda: len(p.pids("idle")) == 3 and before[0] not in p.pids())


def test_several_restarts_while_requests_wait(pools):
    p = pools(*static(1)).start()
    before = p.settled(1)
    p.ask(mark="held", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["held"])
    for i in range(3):
        p.ask(mark="waits%d" % i)
        wait_until("it waits", lambda n=i: p.auto()["Queue"] == str(n + 1))
        p.server.graceful()
    p.open_gate()
    assert [c.answer().status for c in p.clients] == [200] * 4
    assert p.marked() == ["held", "waits0", "waits1", "waits2"], "in one order over all generations"
    assert p.settled(1) == before


def test_a_changed_pool_is_replaced(pools):
    p = pools(*static(2)).start()
    before = p.settled(2)
    held = p.ask(mark="held", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["held"])
    p.configure(*static(2, "Environment NEW=yes"))
    p.server.graceful()
    wait_until("new ones serve", lambda: len(set(p.pids("idle")) - set(before)) == 2)
    assert "NEW=yes" in p.text("processenv")
    p.open_gate()
    assert held.answer().status == 200
    assert not set(before) & set(p.settled(2))


def test_numbers_change_without_replacing(pools):
    p = pools(*static(2)).start()
    before = p.settled(2)
    p.configure(*static(4))
    p.server.graceful()
    assert set(before) < set(p.settled(4))
    p.configure(*static(1))
    p.server.graceful()
    assert len(set(p.settled(1)) & set(before)) == 1


def test_a_removed_pool_finishes_and_ends(pools):
    p = pools(*static(2)).start()
    before = p.settled(2)
    held = p.ask(mark="held", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["held"])
    p.server.configure(STATUS)
    p.server.graceful()
    assert p.get(text="x").status == 404
    p.open_gate()
    assert held.answer().status == 200
    wait_until("its processes end", lambda: not any(Process(pid).is_alive() for pid in before))
    # It may come back.
    p.configure(*static(2))
    p.server.graceful()
    assert p.text(text="fine") == "fine"


def test_a_pool_can_be_added(pools):
    p = pools(*static(1))
    p.server.configure(STATUS)
    p.start()
    assert p.control("list").returncode == 1
    p.configure()
    p.server.graceful()
    assert p.text(text="fine") == "fine"
    assert p.control("list").returncode == 0


def test_a_restart_that_fails_keeps_the_pools(pools):
    p = pools(*static(2)).start()
    before = p.settled(2)
    p.server.configure(pool("app", "/no/such/program") + APP % "app" + STATUS)
    p.server.send_signal(signal.SIGUSR1)
    wait_until("it is refused", lambda: "/no/such/program" in p.server.error_log())
    assert p.text(text="fine") == "fine" and p.settled(2) == before


def test_a_hard_restart_keeps_the_pools(pools):
    p = pools(*static(2)).start()
    before = p.settled(2)
    p.server.restart(signal.SIGHUP)
    assert p.text(text="fine") == "fine" and p.settled(2) == before


def test_stopping_ends_stubborn_processes(pools):
    """One that ignores TERM is killed; a graceful stop lets requests finish first."""
    p = pools(*static(2, "StopTimeout 300ms")).start()
    p.text("ignoreterm")
    p.text("ignoreterm")
    pids = p.settled(2)
    held = p.ask("flush", mark="held", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["held"])
    p.server.send_signal(signal.SIGWINCH)
    wait_until("it stops", lambda: "SIGWINCH" in p.server.error_log())
    p.open_gate()
    assert held.answer().status == 200
    wait_until("the server ends", p.server.has_exited)
    assert not any(Process(pid).is_alive() for pid in pids)


def test_no_process_outlives_a_server_that_is_killed(pools):
    p = pools(*static(2)).start()
    pids = p.settled(2)
    os.kill(p.server.pid, signal.SIGKILL)
    p.server.process.wait()
    wait_until("they end", lambda: not any(Process(pid).is_alive() for pid in pids))
    # A new server takes the folder over, with the sockets that the old one left.
    wait_until("the old children end", lambda: not p.server.family())
    p.server.start()
    assert p.text(text="fine") == "fine"


def test_one_process_for_debugging(pools):
    """-X: somebody else keeps the pools, and replaces what dies."""
    p = pools(*static(2), args=["-X"], log_level="warn")
    if unprivileged():  # the one process gives up root, and removes its PidFile in the end
        os.chown(p.server.path("logs"), unprivileged().pw_uid, unprivileged().pw_gid)
    p.start()
    first = p.pid()
    os.kill(first, signal.SIGKILL)
    wait_until("it is replaced", lambda: len(p.pids("idle")) == 2 and first not in p.pids())
    assert p.pid() != first
    assert p.control("list").returncode == 0


# ---- the status page ----

def test_status_page(pools):
    p = pools(*static(2)).start()
    p.settled(2)
    p.ask(mark="<b>", **{"await": p.gate})
    p.ask(mark="two", **{"await": p.gate})
    wait_until("both are busy", lambda: len(p.marked()) == 2)
    p.ask(mark="three")
    wait_until("one waits", lambda: p.auto()["Queue"] == "1")
    found = p.auto()
    assert found["Processes"] == found["Busy"] == "2" and found["Idle"] == "0" and found["State"] == "running"
    assert float(found["LongestWait"]) >= 0
    for process in found["processes"]:
        assert process["state"] == "busy" and int(process["memory"]) > 10000 and process["client"] == "127.0.0.1"
        assert process["request"].startswith('"GET /app?mark=')
    page = p.server.get("/status").body.decode()
    assert "<h2>Application pools</h2>" in page and "<h3>app</h3>" in page and "1 of 511 waiting" in page
    assert all("<td>%d</td><td>busy</td>" % pid in page for pid in p.pids())
    assert "mark=two" in page


# ---- the configuration ----

def user_line():
    return "User %s\n" % pool_user().pw_name if pool_user() else ""


ERRORS = [
    ("<ApplicationPool a>\n</ApplicationPool>", "ApplicationPool a: Command is missing"),
    ("<ApplicationPool a>\nCommand php-cgi\n</ApplicationPool>", "the program's path must begin with /"),
    ("<ApplicationPool a>\nCommand /no/such\n{user}</ApplicationPool>", "Command: /no/such: No such file"),
    ("<ApplicationPool a>\nCommand /etc/passwd\n{user}</ApplicationPool>", "/etc/passwd is no program"),
    ("<ApplicationPool a>\nCommand /bin/true 'x\n{user}</ApplicationPool>", "leaves a quote open"),
    ("<ApplicationPool a>\nCommand /bin/true\nUser no-such-user\n</ApplicationPool>", 'there is no user "no-such-user"'),
    ("<ApplicationPool a>\nCommand /bin/true\nUser root\n</ApplicationPool>", 'User "root" is root'),
    ("<ApplicationPool a/b>\n</ApplicationPool>", "a name of at most 32 letters"),
    ("<ApplicationPool a>\nCommand /bin/true\n{user}</ApplicationPool>\n<ApplicationPool A>\n</ApplicationPool>",
     "<ApplicationPool A> is there already"),
    ("<ApplicationPool a>\nCommand /bin/true\n{user}MinSpare 5\n</ApplicationPool>", "MinSpare 5 is above MaxSpare 3"),
    ("<ApplicationPool a>\nCommand /bin/true\n{user}StartServers 9\n</ApplicationPool>",
     "StartServers 9 is above MaxChildren 5"),
    ("<ApplicationPool a>\nMaxChildren 0\n</ApplicationPool>", "MaxChildren must be a number from 1 to 1000"),
    ("<ApplicationPool a>\nProcessManager lazy\n</ApplicationPool>", "must be one of static | dynamic | ondemand"),
    ("<ApplicationPool a>\nLimitMemory lots\n</ApplicationPool>", 'LimitMemory "lots"'),
    ("<ApplicationPool a>\nEnvironment 1A=b\n</ApplicationPool>", 'Environment "1A=b"'),
    ("<ApplicationPool a>\nEnvironment PHP_FCGI_CHILDREN=4\n</ApplicationPool>", "MaxChildren says how many"),
    ("<ApplicationPool a>\nCommand /bin/true\n{user}WorkingDirectory work\n</ApplicationPool>", "must begin with /"),
    ("<ApplicationPool a>\nMaxChild 4\n</ApplicationPool>", "the nearest one is 'MaxChildren'"),
    ("<ApplicationPool a>\nServerName x\n</ApplicationPool>", "is no directive of <ApplicationPool>"),
    ('<Location "/x">\nSetHandler "pool:none"\n</Location>', "there is no <ApplicationPool none>"),
    ('<Directory "{root}/htdocs">\n<Files "*.x">\nSetHandler pool:none\n</Files>\n</Directory>',
     "there is no <ApplicationPool none>"),
    ('<VirtualHost *:1>\n<Location "/x">\nSetHandler pool:none\n</Location>\n</VirtualHost>',
     "there is no <ApplicationPool none>"),
    ("<VirtualHost *:1>\n<ApplicationPool a>\nCommand /bin/true\n</ApplicationPool>\n</VirtualHost>", "ApplicationPool"),
]
if unprivileged():
    ERRORS += [
        ("<ApplicationPool a>\nCommand /bin/true\n</ApplicationPool>", "User is missing"),
        ("<ApplicationPool a>\nCommand /bin/true\nUser %s\n</ApplicationPool>" % unprivileged().pw_name,
         "is the web children's own"),
        ("<ApplicationPool a>\nCommand /bin/true\n{user}Chroot /no/such\n</ApplicationPool>", "Chroot: /no/such is no folder"),
    ]


@pytest.mark.parametrize("text,expected", ERRORS)
def test_errors_are_found_at_start(make, text, expected):
    server = make(text.replace("{user}", user_line()))
    said = server.run("-t")
    assert said.returncode != 0 and expected in said.stderr, said.stderr
    assert said.stderr.count(expected) == 1 and re.search(r"httpd\.conf:\d+: ", said.stderr), said.stderr


def test_a_pool_that_htaccess_misspells(pools):
    p = pools(*static(1), more='<Directory "{root}/htdocs">\nAllowOverride All\n</Directory>\n',
              files={"d/.htaccess": 'SetHandler "pool:misspelt"\n', "d/a.txt": "secret"}).start()
    answer = p.server.get("/d/a.txt")
    assert answer.status == 500 and b"secret" not in answer.body


def test_directives_are_listed(make):
    text = make().run("-L").stdout
    assert "<ApplicationPool (mod_pool.c)\n" in text
    assert re.search(r"^QueueTimeout \(mod_pool\.c\)\n\t.*\n\tAllowed in \*\.conf only inside <ApplicationPool>$", text, re.M)
