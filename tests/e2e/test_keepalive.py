"""Persistent connections: what is announced, when they end, and what a restart does to them."""
import contextlib
import signal

import pytest

import harness
from rawclient import TESTMUX, Client

FILES = {"index.html": "hello\n", "a.txt": "first\n"}
LARGE = bytes(range(256)) * 40_000
STREAM = """
LoadModule park_module "{test_modules}/mod_park.so"
<Location "/stream">
    SetHandler stream
</Location>
"""


def test_announced_as_httpd_does(serve):
    server = serve("MaxKeepAliveRequests 3\n", files=FILES)
    with Client(server) as c:
        for left in (3, 2, 1):
            a = c.get("/a.txt", "Connection: keep-alive\r\n").answer()
            assert (a["Keep-Alive"], a["Connection"]) == ("timeout=5, max=%d" % left, "Keep-Alive")
        a = c.get("/a.txt", "Connection: keep-alive\r\n").answer()
        assert (a["Keep-Alive"], a["Connection"]) == (None, "close")
        assert c.is_closed()
    with Client(server) as c:
        a = c.get("/a.txt").answer()  # who does not ask is not told
        assert (a["Keep-Alive"], a["Connection"]) == (None, None)
        a = c.get("/a.txt", "Connection: close\r\n").answer()
        assert a["Connection"] == "close"
        assert c.is_closed()


def test_off(serve):
    server = serve("KeepAlive Off\n", files=FILES)
    with Client(server) as c:
        assert c.get("/a.txt", "Connection: keep-alive\r\n").answer()["Connection"] == "close"
        assert c.is_closed()


def test_unlimited(serve):
    server = serve("MaxKeepAliveRequests 0\nKeepAliveTimeout 7\n", files=FILES)
    with Client(server) as c:
        for _ in range(250):
            assert c.get("/a.txt", "Connection: keep-alive\r\n").answer()["Keep-Alive"] == "timeout=7"


def test_an_idle_connection_is_closed_in_order(serve):
    server = serve("KeepAliveTimeout 500ms\n", files=FILES)
    with Client(server) as c:
        assert c.get("/a.txt").answer().body == b"first\n"
        assert c.is_closed()


@pytest.mark.parametrize("status, path", [(404, "/missing"), (403, "/forbidden"), (301, "/folder")])
def test_errors_keep_the_connection(serve, status, path):
    server = serve('<Location "/forbidden">\nRequire all denied\n</Location>\n',
                   files=dict(FILES, **{"folder/x": "", "forbidden": ""}))
    with Client(server) as c:
        assert c.get(path).answer().status == status
        assert c.get("/a.txt").answer().body == b"first\n"


def test_graceful_restart_answers_what_is_open(serve):
    """One more answer with Connection: close, or closed while idle; a request that is under way is finished."""
    server = serve("KeepAliveTimeout 60\n" + TESTMUX, files=FILES)
    if server.mpm != "event":
        # Under these a process or thread holds one connection: its clients come one after the other.
        server.configure("StartServers 4\nKeepAliveTimeout 60\n" + TESTMUX)
        server.graceful()
    with Client(server) as idle, Client(server) as half, Client(server) as body:
        assert idle.get("/a.txt", "Connection: keep-alive\r\n").answer()["Connection"] == "Keep-Alive"
        half.send("GET /a.txt HTTP/1.1\r\nHo")
        harness.await_arrival(half.s)
        body.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        assert body.head().status == 200
        server.graceful()
        body.send("def")
        assert b"def" in body.rest()
        half.send("st: a\r\n\r\n")
        a = half.answer()
        assert (a.body, a["Connection"]) == (b"first\n", "close")
        assert half.is_closed()
        try:
            a = idle.get("/a.txt", "Connection: keep-alive\r\n").answer()
        except (AssertionError, OSError):
            pass  # closed while idle
        else:
            assert (a.body, a["Connection"]) == (b"first\n", "close")
    assert server.get("/a.txt").body == b"first\n"


def test_a_busy_client_is_told_of_a_restart(serve):
    """Its next request always comes at once, and it may have as many as it likes: it hears of the restart all the same."""
    config = "StartServers 4\n" if harness.MPM == "prefork" else ""
    server = serve(config + "KeepAliveTimeout 60\nMaxKeepAliveRequests 0\n", files=FILES)
    with Client(server) as c:
        for _ in range(50):
            assert c.get("/a.txt").answer()["Connection"] is None
        server.send_signal(signal.SIGUSR1)
        harness.wait_until("it is told", lambda: c.get("/a.txt").answer()["Connection"] == "close")
        assert c.is_closed()
    assert server.get("/a.txt").body == b"first\n"


@pytest.fixture
def quick(serve):
    """quick(…) is a client whose requests came one right after the other: its thread may wait for the next in a read."""
    stack = contextlib.ExitStack()

    def start(config="", receive_buffer=None):
        server = serve(TESTMUX + config, files=dict(FILES, large=LARGE))
        c = stack.enter_context(Client(server, receive_buffer=receive_buffer))
        for _ in range(10):
            assert c.get("/a.txt").answer().body == b"first\n"
        c.server = server
        return c

    with stack:
        yield start


def test_quick_then_a_body_in_pieces(quick):
    c = quick()
    c.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    for i in range(10):
        c.server.get("/a.txt")  # a while
        c.send(b"%04d" % i * 2500)
    assert c.answer().body == b"".join(b"%04d" % i * 2500 for i in range(10))
    assert c.get("/a.txt").answer().body == b"first\n"


def test_quick_then_a_body_that_nobody_wants(quick):
    c = quick()
    c.send("POST /missing HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + "x" * 10)
    c.send("x" * 99_990)
    assert c.answer().status == 404
    assert c.get("/a.txt").answer().body == b"first\n"


@pytest.mark.parametrize("path", ["/large", "/stream?20000"])
def test_quick_then_an_answer_that_is_not_read(quick, path):
    """A thread that sends and a client that does not read: TimeOut counts, for files and for handlers."""
    c = quick("TimeOut 1\nCustomLog \"{root}/logs/access.log\" \"%X %U%q\"\n" + STREAM, receive_buffer=4096)
    c.get(path)
    with open(c.server.path("logs", "access.log")) as f:
        harness.wait_until("it is given up", lambda: "X %s\n" % path in f.readline())
    assert c.server.get("/a.txt").body == b"first\n"


def test_quick_then_a_slow_reader(quick):
    c = quick(receive_buffer=4096)
    for _ in range(3):
        c.get("/large").get("/a.txt")
        assert c.answer().body == LARGE and c.answer().body == b"first\n"


@pytest.mark.parametrize("config", ["KeepAliveTimeout 2500ms\n", "KeepAliveTimeout 3\n"])
def test_quick_then_nothing(quick, config):
    assert quick(config).is_closed()


def test_quick_then_half_a_head(quick):
    c = quick("RequestReadTimeout header=3\n")
    assert c.send("GET /a.txt HTTP/1.1\r\nHo").answer().status == 408
    assert c.is_closed()


def test_quick_then_the_end(quick):
    c = quick()
    assert c.get("/a.txt").finish().answer().body == b"first\n"
    assert c.is_closed()
    with Client(c.server) as other:
        other.get("/a.txt").answer()
