"""Many at once: idle connections, slow clients, waiting handlers; and what is left of memory and descriptors after them.

Figures in seconds are taken by tests/bench/idle.py. These tests look at the order of events, and at bytes.
"""
import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess

import pytest

import harness
from harness import MPM, wait_until
from rawclient import TESTMUX

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ONE_CHILD = "StartServers 1\nServerLimit 1\nThreadsPerChild 8\nMaxRequestWorkers 8\nMinSpareThreads 1\nMaxSpareThreads 100\n"
PARK = """
LoadModule park_module "{test_modules}/mod_park.so"
<Location /park>
    SetHandler park
</Location>
<Location /parked>
    SetHandler parked
</Location>
<Location /release>
    SetHandler release
</Location>
"""
needs_event = pytest.mark.skipif(MPM != "event", reason="about event")
needs_capacity = pytest.mark.skipif(MPM == "event", reason="event's capacity is descriptors")


def is_sanitized():
    with open(harness.MUSTER, "rb") as f:
        return re.search(rb"__[at]san_init", f.read()) is not None


SANITIZED = is_sanitized()
MANY = 1000 if SANITIZED else 10_000
SLOW = 200 if SANITIZED else 2000


@pytest.fixture(autouse=True, scope="module")
def descriptors():
    """This process holds the other end of every connection; the server inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = MANY + 1000
    if hard != resource.RLIM_INFINITY and hard < need:
        pytest.skip("needs %d descriptors" % need)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, need), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory(pid):
    """Bytes by kind, as /proc/PID/smaps_rollup counts them."""
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in f if line.endswith("kB\n")}


def answer(s):
    """One answer, whose body is "hello" and a line feed."""
    got = b""
    while not got.endswith(b"\r\n\r\nhello\n"):
        piece = s.recv(4096)
        assert piece, "closed in the middle of an answer: %r" % got
        got += piece
    return got


def ask(s):
    s.sendall(REQUEST)
    return answer(s)


def connections(server, stack, count, first=b""):
    """That many connections, each of which has said `first`."""
    result = []
    for _ in range(count):
        s = stack.enter_context(server.connect())
        if first:
            s.sendall(first)
        result.append(s)
    return result


def reset(s):
    """Leave without a farewell. (One who only says that he has finished may still be waiting for the answer.)"""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def is_silent(s):
    """Nothing has been answered and the connection stands."""
    s.setblocking(False)
    try:
        s.recv(1)
        return False
    except BlockingIOError:
        return True
    finally:
        s.settimeout(harness.PATIENCE)


# Idle

@needs_event
def test_ten_thousand_idle_connections(serve):
    """At most 600 bytes of memory each, and a new client does not wait for them."""
    server = serve(ONE_CHILD + "ListenerThreads 1\nKeepAliveTimeout 3600\nMaxKeepAliveRequests 0\nTimeOut 3600\n"
                   "RequestReadTimeout header=0\n")
    child = server.children()[0].pid
    with contextlib.ExitStack() as warm:
        for s in connections(server, warm, 300, REQUEST):
            answer(s)
    wait_until("they are gone", lambda: len(os.listdir("/proc/%d/fd" % child)) < 100)
    before = memory(child)["Pss_Anon"]
    with contextlib.ExitStack() as stack:
        idle = connections(server, stack, MANY)
        for s in idle:
            ask(s)
        growth = memory(child)["Pss_Anon"] - before
        assert server.get("/").body == b"hello\n"
        assert all(is_silent(s) for s in idle[::100])
        for s in idle[::100]:
            ask(s)
        if not SANITIZED:
            assert growth <= 600 * MANY, "%.0f bytes each" % (growth / MANY)
    wait_until("they are gone", lambda: len(os.listdir("/proc/%d/fd" % child)) < 100)
    assert server.get("/").body == b"hello\n"


@needs_event
def test_a_listener_far_ahead_of_its_sibling_leaves_nobody_waiting(serve):
    """One client after the other: each is answered before the next one comes, whoever holds how many."""
    server = serve("StartServers 2\nServerLimit 2\nThreadsPerChild 4\nMaxRequestWorkers 8\nKeepAliveTimeout 3600\nListenerThreads 1\n")
    with contextlib.ExitStack() as stack:
        def one_more():
            ask(stack.enter_context(server.connect()))
            return [len(os.listdir("/proc/%d/fd" % p.pid)) for p in server.children()]

        for _ in range(200):
            held = one_more()
        assert len(held) == 2, held
        # The one that is behind may have had no processor all the while.
        wait_until("each holds its share", lambda: min(one_more()) > 40)


# Slow

HALF_HEAD = b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "
HALF_BODY = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nsome"


@needs_event
@pytest.mark.parametrize("first", [HALF_HEAD, HALF_BODY], ids=["head", "body"])
def test_slow_clients_are_not_in_the_way(serve, first):
    server = serve(TESTMUX + ONE_CHILD + "ListenerThreads 1\nRequestReadTimeout header=0 body=0\nTimeOut 3600\n"
                   "KeepAliveTimeout 3600\n")
    with contextlib.ExitStack() as stack:
        slow = connections(server, stack, SLOW, first)
        with server.connect() as normal:
            for i in range(100):
                ask(normal)
                slow[i].sendall(b"a")
        if first == HALF_HEAD:
            assert all(is_silent(s) for s in slow)
            slow[-1].sendall(b"\r\n\r\n")
            answer(slow[-1])
        else:
            slow[-1].sendall(b"b" * 996)
            got = b""
            while got.count(b"b") < 996:
                got += slow[-1].recv(4096)
            assert got.startswith(b"HTTP/1.1 200")
    assert server.get("/").body == b"hello\n"


def busy_workers(server):
    text = server.get("/server-status?auto").body.decode()
    return int(re.search(r"^BusyWorkers: (\d+)$", text, re.M)[1])


@needs_capacity
@pytest.mark.parametrize("first", [HALF_HEAD, HALF_BODY, b""], ids=["head", "body", "silent"])
def test_slow_clients_give_back_what_they_hold(serve, first):
    """More of them than there are processes or threads. When the time is over, everybody else is served again."""
    capacity = "StartServers 2\nMinSpareServers 1\nMaxSpareServers 2\nMaxRequestWorkers 8\n" if MPM == "prefork" else ONE_CHILD
    server = serve(TESTMUX + capacity + "RequestReadTimeout header=1 body=1\n"
                   "<Location /server-status>\nSetHandler server-status\n</Location>\n")
    with contextlib.ExitStack() as stack:
        slow = connections(server, stack, 12, first)
        with server.connect() as normal:
            normal.sendall(REQUEST)  # waits behind them, in the backlog
            for s in slow:
                while s.recv(4096):
                    pass
            answer(normal)
        wait_until("no worker is held", lambda: busy_workers(server) == 1)
    if MPM == "prefork":
        wait_until("the processes are back", lambda: len(server.children()) <= 2)
    assert "exit signal" not in server.error_log()


@pytest.mark.plain
@pytest.mark.skipif(not shutil.which("slowhttptest"), reason="needs slowhttptest")
@pytest.mark.parametrize("kind", ["-H", "-B", "-R", "-X"], ids=["head", "body", "ranges", "read"])
def test_slowhttptest(serve, kind):
    """The tool's four attacks for a few seconds; a normal client is answered during each of them (event) or after it."""
    server = serve(TESTMUX + "RequestReadTimeout header=2-4,MinRate=500 body=2-4,MinRate=500\nTimeOut 3\n",
                   files={"index.html": "hello\n", "large": b"x" * 1_000_000})
    more = {"-H": ["-i", "1"], "-B": ["-i", "1", "-s", "8192"], "-R": ["-a", "1", "-b", "1000"],
            "-X": ["-w", "10", "-y", "20", "-n", "1", "-z", "32", "-k", "1"]}[kind]
    path = {"-B": "echo", "-X": "large", "-R": "large"}.get(kind, "")
    tool = subprocess.Popen(["slowhttptest", kind, "-c", "300", "-r", "300", "-l", "5", *more, "-u",
                             "http://127.0.0.1:%d/%s" % (server.port, path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    answers = 0
    while tool.poll() is None:
        if MPM == "event":
            assert server.get("/").body == b"hello\n"
            answers += 1
    assert MPM != "event" or answers > 10
    assert server.get("/").body == b"hello\n"
    assert "exit signal" not in server.error_log()


# Waiting handlers

def number_at(server, path):
    return int(server.get(path).body)


@needs_event
def test_ten_thousand_handlers_wait_at_once(serve):
    """In less than 400 MB; and again, in what the times before have left."""
    server = serve(PARK + ONE_CHILD + "ListenerThreads 1\nTimeOut 3600\n")
    child = server.children()[0].pid
    peaks = []
    for _ in range(3):
        with contextlib.ExitStack() as stack:
            waiting = connections(server, stack, MANY, b"GET /park HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_until("all wait", lambda: number_at(server, "/parked") == MANY)
            peaks.append(memory(child)["Rss"])
            assert all(is_silent(s) for s in waiting[::100])
            assert number_at(server, "/release") == MANY
            for s in waiting:
                assert s.recv(15).startswith(b"HTTP/1.1 200 OK")
        wait_until("none waits", lambda: number_at(server, "/parked") == 0)
    if not SANITIZED:
        assert max(peaks) < 400_000_000 and peaks[2] < peaks[1] * 1.1, peaks


@needs_event
def test_waiting_handlers_end_with_their_clients(serve):
    server = serve(PARK + ONE_CHILD + "ListenerThreads 1\nTimeOut 3600\n")
    with contextlib.ExitStack() as stack:
        waiting = connections(server, stack, 100, b"GET /park HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until("all wait", lambda: number_at(server, "/parked") == 100)
        for s in waiting:
            reset(s)
        wait_until("none waits", lambda: number_at(server, "/parked") == 0)


def access_log(server):
    with open(server.path("logs", "access.log")) as f:
        return f.read()


@needs_event
def test_more_handlers_than_max_fibers(serve):
    """They are refused, not queued, and what runs is not harmed."""
    server = serve(PARK + ONE_CHILD + "ListenerThreads 1\nTimeOut 3600\nMaxFibers 10\n"
                   'LogFormat "%>s %B %r %{Host}i" state\nCustomLog "{root}/logs/access.log" state\n')
    with contextlib.ExitStack() as stack:
        waiting = connections(server, stack, 9, b"GET /park HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until("all wait", lambda: number_at(server, "/parked") == 9)
        tenth = stack.enter_context(server.connect())
        tenth.sendall(b"GET /park HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until("there is no more room", lambda: server.get("/").status == 503)
        wait_until("the log says why", lambda: "MaxFibers" in server.error_log())
        wait_until("the refusal is logged", lambda: "503 0 GET / HTTP/1.1 127.0.0.1:%d\n" % server.port in access_log(server))
        reset(tenth)
        wait_until("there is room again", lambda: server.get("/").status == 200)
        assert number_at(server, "/release") == 9
        for s in waiting:
            assert s.recv(15).startswith(b"HTTP/1.1 200 OK")


@needs_event
def test_slow_bodies_that_nobody_wants_hold_no_fibers(serve):
    """While there are fibers a file waits for the body that came with its request, as in httpd. When they run short each
    client has its answer before its body is there, and its next request is served behind it."""
    server = serve(PARK + ONE_CHILD + "ListenerThreads 1\nTimeOut 3600\nRequestReadTimeout header=0 body=0\nMaxFibers 8\n")
    sized = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbegin"
    chunked = b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\nbegin"
    with contextlib.ExitStack() as stack:
        connections(server, stack, 4, b"GET /park HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until("all wait", lambda: number_at(server, "/parked") == 4)
        slow = [(s, end) for first, end in ((sized, b""), (chunked, b"\r\n0\r\n\r\n"))
                for s in connections(server, stack, SLOW // 2, first)]
        for s, _ in slow:
            answer(s)
        for _ in range(20):  # one after the other: looking for the file may take a fiber each
            s = connections(server, stack, 1, sized.replace(b"/", b"/missing", 1))[0]
            assert s.recv(15) == b"HTTP/1.1 404 No"
        assert number_at(server, "/parked") == 4
        for s, end in slow[::50]:
            s.sendall(b"x" * 995 + end)
            ask(s)
        assert all(is_silent(s) for s, _ in slow)


@needs_event
def test_slow_bodies_for_files_leave_fibers_to_others(serve):
    server = serve(PARK + ONE_CHILD + "ListenerThreads 1\nTimeOut 3600\nRequestReadTimeout header=0 body=0\nMaxFibers 8\n")
    with contextlib.ExitStack() as stack:
        slow = connections(server, stack, SLOW, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(20):
            assert server.get("/").body == b"hello\n"
        for s in slow:
            s.sendall(b"x" * 1000)
            answer(s)


@needs_event
def test_unfinished_heads_do_not_fill_the_memory(serve):
    """Above RequestHeadMemory the heads that go on growing are refused; who says little is served."""
    server = serve(ONE_CHILD + "ListenerThreads 1\nTimeOut 3600\nRequestReadTimeout header=0 body=0\nRequestHeadMemory 100K\n")
    with contextlib.ExitStack() as stack:
        dribbling = connections(server, stack, 50, b"GET / HTTP/1.1\r\nX: y\r\n")
        growing = connections(server, stack, 100, b"GET / HTTP/1.1\r\nX: " + b"y" * 4000)
        wait_until("the log says why", lambda: "RequestHeadMemory is 102400" in server.error_log())
        assert server.get("/", {"X": "y" * 4000}).body == b"hello\n"
        for s in dribbling:
            s.sendall(b"Host: x\r\n\r\n")
            answer(s)
        for s in growing[-50:]:
            assert s.recv(12) == b"HTTP/1.1 503"
        growing[0].sendall(b"\r\nHost: x\r\n\r\n")
        answer(growing[0])
        assert server.error_log().count("MU0542") < 10  # not one for each: one in ten seconds


# What is left

def ab(server, path, count, *more):
    out = subprocess.run(["ab", "-q", "-k", "-c4", "-n%d" % count, *more, "http://127.0.0.1:%d%s" % (server.port, path)],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    assert re.search(r"^Complete requests:\s+%d$" % count, out, re.M) and re.search(r"^Failed requests:\s+0$", out, re.M), out


@pytest.mark.skipif(not shutil.which("ab"), reason="needs ab")
def test_memory_and_descriptors_are_flat(serve):
    """Requests of all sorts over and over, then again with a restart in between: nothing grows."""
    capacity = "StartServers 1\nMinSpareServers 1\nMaxSpareServers 2\nMaxRequestWorkers 4\n" if MPM == "prefork" else ONE_CHILD
    server = serve(TESTMUX + capacity + "ListenBacklog 500\nMaxKeepAliveRequests 0\nCustomLog \"{root}/logs/access.log\" \"%h %r %>s\"\n"
                   "Redirect /gone http://localhost/new\n<Location /server-status>\nSetHandler server-status\n</Location>\n",
                   files={"index.html": "hello\n", "large": b"x" * 300_000, "dir/index.html": "dir\n"})
    body = server.write("post", "x" * 5000)
    count = 100 if SANITIZED else 300

    def exercise():
        for path, more in [("/", []), ("/large", []), ("/missing", []), ("/dir", []), ("/gone", []), ("/server-status", ["-l"]),
                           ("/large", ["-H", "Range: bytes=0-1,5-9,100-"]), ("/echo", ["-p", body]),
                           ("/", ["-H", "If-None-Match: *"]), ("/%2e%2e/x", [])]:
            ab(server, path, count, *more)

    def look():
        children = server.children()
        with contextlib.suppress(OSError, KeyError, ZeroDivisionError):  # a spare one may end meanwhile
            return (sum(len(os.listdir("/proc/%d/fd" % p.pid)) for p in children) / len(children),
                    max(memory(p.pid)["Anonymous"] for p in children), own_descriptors())
        return None

    def own_descriptors():
        """Of the supervisor, without those that it has for each of its children."""
        return len(os.listdir("/proc/%d/fd" % server.pid)) - len(server.children())

    def state():
        wait_until("the spare ones are gone", lambda: len(server.children()) <= 2)
        return wait_until("none ends meanwhile", look)

    def is_flat(now):
        # A worker that had not served yet has opened its own few.
        return now[0] <= before[0] + 20 and now[2] <= before[2] and (SANITIZED or now[1] <= before[1] + 300_000)

    exercise()
    exercise()
    before = state()
    for _ in range(3):
        exercise()
    wait_until("all is as before: %s" % (before,), lambda: is_flat(state()))
    for _ in range(5):
        server.send_signal(signal.SIGUSR1)
        exercise()
    wait_until("one generation is left", lambda: len(server.children()) <= 2)
    wait_until("the restarts have given back what they took: %s" % (before,), lambda: is_flat(state()))
