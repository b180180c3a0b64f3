"""The three MPMs: their numbers, who serves what, and what waits for whom."""
import contextlib
import os
import re
import resource
import socket
import struct
import subprocess
import threading

import pytest

import harness
from harness import MPM, wait_until

BLOCK = """
LoadModule block_module "{test_modules}/mod_block.so"
<Location /block>
    SetHandler block
</Location>
<Location /pid>
    SetHandler pid
</Location>
"""
PARK = """
LoadModule park_module "{test_modules}/mod_park.so"
<Location /park>
    SetHandler park
</Location>
<Location /release>
    SetHandler release
</Location>
"""
ONE_CHILD = "StartServers 1\nServerLimit 1\nThreadsPerChild 8\nMaxRequestWorkers 8\nMinSpareThreads 1\nMaxSpareThreads 100\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
needs_event = pytest.mark.skipif(MPM != "event", reason="about event")
needs_threads = pytest.mark.skipif(MPM == "prefork", reason="about threads")
needs_prefork = pytest.mark.skipif(MPM != "prefork", reason="about prefork")
needs_capacity = pytest.mark.skipif(MPM == "event", reason="event's capacity is descriptors")


def answer(s, body=b"hello\n"):
    """One answer, with this body."""
    got = b""
    while not got.endswith(b"\r\n\r\n" + body):
        piece = s.recv(4096)
        assert piece, "closed in the middle of an answer: %r" % got
        got += piece
    return got


def ask(s):
    """One request on a kept connection; returns once the whole answer is there."""
    s.sendall(REQUEST)
    return answer(s)


def leave(s):
    """Close with a reset: nothing more is wanted."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def capacity(workers, children=None):
    """Directives for that many workers in all."""
    if MPM == "prefork":
        return "StartServers 1\nMinSpareServers 1\nMaxSpareServers 2\nMaxRequestWorkers %d\n" % workers
    return ("StartServers 1\nServerLimit %d\nThreadsPerChild %d\nMaxRequestWorkers %d\nMinSpareThreads 1\n"
            % (children or 1, workers // (children or 1), workers))


def held(server, count):
    """That many keep-alive connections, each of which has been answered once."""
    stack, connections = contextlib.ExitStack(), []
    for _ in range(count):
        connections.append(stack.enter_context(server.connect()))
        ask(connections[-1])
    return stack, connections


def threads_of(server):
    return sum(len(os.listdir("/proc/%d/task" % p.pid)) for p in server.children())


# Which MPM

def test_event_when_none_is_named(make):
    server = make(mpm="", daemon=True)
    assert server.run("-t").returncode == 0
    server.start()
    assert "MPM event," in server.error_log()


def test_two_are_an_error(make):
    others = [m for m in ("prefork", "worker", "event") if m != MPM]
    server = make("LoadModule mpm_%s_module modules/mod_mpm_%s.so" % (others[0], others[0]))
    result = server.run("-t")
    assert result.returncode == 1
    assert "mpm_" in result.stderr


@pytest.mark.parametrize("directive, owners", [
    ("AsyncRequestWorkerFactor 2", ["event"]),
    ("ListenerThreads auto", ["event"]),
    ("MinSpareServers 5", ["prefork"]),
    ("MaxSpareServers 10", ["prefork"]),
    ("MinSpareThreads 25", ["worker", "event"]),
    ("ThreadsPerChild 25", ["worker", "event"]),
    ("ThreadLimit 64", ["worker", "event"]),
    ("StartServers 2", ["prefork", "worker", "event"]),
    ("MaxRequestWorkers 100", ["prefork", "worker", "event"]),
    ("MaxClients 100", ["prefork", "worker", "event"]),
    ("MaxConnectionsPerChild 0", ["prefork", "worker", "event"]),
    ("MaxConnectionsPerChild -1", ["prefork", "worker", "event"]),
    ("MaxRequestsPerChild 0", ["prefork", "worker", "event"]),
    ("MaxMemFree 2048", ["prefork", "worker", "event"]),
    ("ScoreBoardFile logs/scoreboard", ["prefork", "worker", "event"]),
    ("Mutex file:logs default", ["prefork", "worker", "event"]),
    ("GracefulShutdownTimeout 5", ["prefork", "worker", "event"]),
])
def test_each_mpm_knows_its_directives(make, directive, owners):
    server = make(directive)
    result = server.run("-t")
    assert (result.returncode == 0) == (MPM in owners), result.stderr
    if MPM not in owners:
        assert directive.split()[0] in result.stderr
    server.configure("".join("<IfModule mpm_%s_module>\n%s\n</IfModule>\n" % (m, directive) for m in owners))
    assert server.run("-t").returncode == 0


@pytest.mark.parametrize("config, mpms, said", [
    ("ThreadLimit 10\nThreadsPerChild 20\nMaxRequestWorkers 100", ["worker", "event"], "ThreadsPerChild 20"),
    ("ThreadsPerChild 25\nMaxRequestWorkers 99", ["worker", "event"], "lowered to 75"),
    ("ThreadsPerChild 25\nMaxRequestWorkers 10", ["worker", "event"], "raised to 25"),
    ("ServerLimit 2\nThreadsPerChild 25\nMaxRequestWorkers 100", ["worker", "event"], "lowered to 50"),
    ("ServerLimit 10\nMaxRequestWorkers 20", ["prefork"], "lowered to 10"),
    ("ServerLimit 300000", ["prefork"], "lowered to 200000"),
    ("StartServers 0", ["prefork", "worker", "event"], "raised to 1"),
])
def test_numbers_are_clamped_with_a_warning(make, config, mpms, said):
    if MPM not in mpms:
        pytest.skip("not of this MPM")
    result = make(config).run("-t")
    assert result.returncode == 0
    assert said in result.stderr


# Who serves

def test_many_connections_at_once(serve):
    server = serve("KeepAliveTimeout 600\n" + capacity(12))
    stack, connections = held(server, 12)
    with stack:
        for s in connections:
            assert ask(s).startswith(b"HTTP/1.1 200")


@needs_capacity
def test_what_exceeds_capacity_waits_in_the_backlog(serve):
    server = serve("KeepAliveTimeout 600\n" + capacity(2))
    stack, (first, second) = held(server, 2)
    with stack, server.connect() as third:
        third.sendall(REQUEST)
        for s in (first, second, first, second):
            ask(s)
        third.setblocking(False)
        with pytest.raises(BlockingIOError):
            third.recv(1)
        third.settimeout(harness.PATIENCE)
        first.close()
        assert third.recv(4096).startswith(b"HTTP/1.1 200")


@needs_prefork
def test_spare_servers_come_and_go(serve):
    server = serve("StartServers 1\nMinSpareServers 2\nMaxSpareServers 3\nMaxRequestWorkers 20\nKeepAliveTimeout 600")
    wait_until("two are spare", lambda: len(server.children()) >= 2)
    stack, _ = held(server, 6)
    with stack:
        wait_until("two are spare beside six", lambda: len(server.children()) >= 8)
    wait_until("they go again", lambda: len(server.children()) <= 3)
    assert server.get("/").status == 200


@needs_threads
def test_thread_count(serve):
    server = serve("StartServers 2\nThreadsPerChild 7\nMaxRequestWorkers 14\nMinSpareThreads 1\n")
    assert len(server.children()) == 2
    assert all(len(os.listdir("/proc/%d/task" % p.pid)) >= 8 for p in server.children())


def test_max_connections_per_child(serve):
    # With several listener threads one may be accepting while another one counts the last.
    one = "ListenerThreads 1\n" if MPM == "event" else ""
    server = serve(BLOCK + capacity(4) + one + "MaxConnectionsPerChild 5\n")
    pids = [server.get("/pid").body for _ in range(40)]
    assert len(set(pids)) > 2
    assert all(pids.count(pid) <= 5 for pid in pids)
    assert "exit signal" not in server.error_log()


def test_a_blocking_handler_delays_nobody_else(serve):
    """It waits on its thread. Others of the same child (under prefork: of the others) are answered meanwhile."""
    config = ONE_CHILD if MPM != "prefork" else "StartServers 3\n"
    server = serve(BLOCK + config)
    order = []

    def run(name, path):
        assert server.get(path).status == 200
        order.append(name)

    blocked = threading.Thread(target=run, args=("blocked", "/block?" + server.path("go")))
    blocked.start()
    for _ in range(20):
        run("other", "/pid")
    server.write("go", "")
    blocked.join()
    assert order == ["other"] * 20 + ["blocked"]


@needs_threads
def test_blocking_handlers_run_beside_each_other(serve):
    server = serve(BLOCK + ONE_CHILD)
    pids = []
    threads = [threading.Thread(target=lambda: pids.append(server.get("/block").body)) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(pids) == 8 and len(set(pids)) == 1


@needs_event
def test_more_blocking_handlers_than_workers(serve):
    server = serve(BLOCK + "StartServers 1\nServerLimit 1\nThreadsPerChild 2\nMaxRequestWorkers 2\n")
    order = []  # /pid is asked for the first time: looking it up needs no worker either

    def run(name, path):
        assert server.get(path).status == 200
        order.append(name)

    threads = [threading.Thread(target=run, args=("blocked", "/block?" + server.path("go"))) for _ in range(6)]
    for t in threads:
        t.start()
    run("other", "/pid")
    server.write("go", "")
    for t in threads:
        t.join()
    assert order == ["other"] + ["blocked"] * 6


@needs_event
@pytest.mark.parametrize("listeners", ["auto", "1", "3"])
def test_idle_connections_take_no_worker(serve, listeners):
    server = serve("ListenerThreads %s\nStartServers 1\nServerLimit 1\nThreadsPerChild 4\nMaxRequestWorkers 4\n"
                   "KeepAliveTimeout 600\n" % listeners)
    before = threads_of(server)
    stack, connections = held(server, 200)
    with stack:
        assert threads_of(server) == before
        for s in connections[::20]:
            ask(s)
        assert server.get("/").status == 200
        server.graceful()
    assert server.get("/").status == 200


def connections_of(server):
    status = server.get("/server-status?auto").body.decode()
    return int(re.search(r"^ConnsTotal: (\d+)$", status, re.M)[1])


@needs_event
def test_listeners_share_the_connections(serve):
    server = serve("ListenerThreads 2\nStartServers 2\nServerLimit 2\nThreadsPerChild 4\nMaxRequestWorkers 8\nKeepAliveTimeout 600\n"
                   "<Location /server-status>\nSetHandler server-status\n</Location>\n")
    stack, connections = held(server, 300)
    with stack:
        wait_until("all are counted", lambda: connections_of(server) >= 300)
        for s in connections:
            ask(s)


@needs_event
def test_async_request_worker_factor_limits_connections(serve):
    """Two threads, both idle, factor 1: a child takes connections while it has less than 2 + 2 × 1."""
    server = serve("AsyncRequestWorkerFactor 1\nStartServers 1\nServerLimit 1\nThreadsPerChild 2\nMaxRequestWorkers 2\n"
                   "KeepAliveTimeout 600\n")
    stack, connections = held(server, 4)
    with stack, server.connect() as fifth:
        fifth.sendall(REQUEST)
        for s in connections * 3:
            ask(s)
        fifth.setblocking(False)
        with pytest.raises(BlockingIOError):
            fifth.recv(1)
        fifth.settimeout(harness.PATIENCE)
        connections[0].close()
        assert fifth.recv(4096).startswith(b"HTTP/1.1 200")


@needs_event
def test_event_request_limit(serve):
    """All workers are busy: with EventRequestLimit On nothing new is accepted until one is not."""
    server = serve(BLOCK + "EventRequestLimit On\nStartServers 1\nServerLimit 1\nThreadsPerChild 2\nMaxRequestWorkers 2\n")
    order = []

    def run(name, path):
        assert server.get(path).status == 200
        order.append(name)

    threads = [threading.Thread(target=run, args=("block", "/block")) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert order == ["block"] * 6
    run("pid", "/pid")


@needs_event
def test_event_request_limit_holds_kept_connections(serve):
    """Two places, and both are taken: requests of kept connections wait their turn, in the order they came in."""
    server = serve(PARK + "EventRequestLimit On\nListenerThreads 1\nStartServers 1\nServerLimit 1\nThreadsPerChild 2\n"
                   "MaxRequestWorkers 2\nKeepAliveTimeout 600\n")
    stack, (a, b, c, d, e, f) = held(server, 6)
    with stack:
        for s, path in (a, b"/park"), (b, b"/park"), (c, b"/"), (d, b"/"):
            s.sendall(REQUEST.replace(b"/", path, 1))
            harness.await_arrival(s)
        # The one listener sees this last. What is no request needs no place.
        e.sendall(b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
        assert e.recv(4096).startswith(b"HTTP/1.1 400")
        for s in (c, d):
            s.setblocking(False)
            with pytest.raises(BlockingIOError):
                s.recv(1)
            s.settimeout(harness.PATIENCE)
        d.close()  # a client that leaves while it waits
        leave(a)   # and one that has a place
        answer(c)
        f.sendall(REQUEST.replace(b"/", b"/release", 1))
        answer(f, b"1\n")
        answer(b, b"1\n")
        for s in (b, c, f):
            ask(s)


@needs_event
@pytest.mark.parametrize("listeners", [1, 3])
def test_event_request_limit_loses_nobody(serve, listeners):
    """More clients than places, on several threads: whoever waits has its turn, though places come back elsewhere."""
    server = serve(BLOCK + "EventRequestLimit On\nListenerThreads %d\nStartServers 1\nServerLimit 1\nThreadsPerChild 3\n"
                   "MaxRequestWorkers 3\nKeepAliveTimeout 600\nMaxKeepAliveRequests 0\n" % listeners,
                   files={"index.html": "hello\n"})
    stack, connections = held(server, 12)
    with stack:
        for _ in range(100):
            for s in connections:
                s.sendall(REQUEST)
            for s in connections:
                assert answer(s).startswith(b"HTTP/1.1 200")
        for s in connections[:6]:
            s.sendall(REQUEST.replace(b"/", b"/block", 1))
        for s in connections[6:]:
            s.sendall(REQUEST)
        for s in connections[6:]:
            assert answer(s).startswith(b"HTTP/1.1 200")
        for s in connections[:6]:
            assert s.recv(4096).startswith(b"HTTP/1.1 200")


def start_with_descriptors(server, limit):
    original = subprocess.Popen

    def limited(*args, **kwargs):
        return original(*args, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)), **kwargs)

    subprocess.Popen = limited
    try:
        server.start()
    finally:
        subprocess.Popen = original


@needs_event
def test_running_out_of_descriptors(make):
    """What cannot be accepted waits; it is served when connections have been closed."""
    server = make("StartServers 1\nServerLimit 1\nThreadsPerChild 2\nMaxRequestWorkers 2\nKeepAliveTimeout 600\n")
    start_with_descriptors(server, 64)
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(server.connect()) for _ in range(128)]
        wait_until("the log says so", lambda: "waiting until one is closed" in server.error_log())
        ask(many[0])
        last = many.pop()
        last.sendall(REQUEST)
        for s in many[1:]:
            s.close()
        answer(last)
        ask(many[0])


@needs_event
def test_waiting_connections_leave_descriptors_to_files(make):
    """For each connection that is closed one that waits is let in, never two: each new file can still be opened."""
    names = ["%d.txt" % n for n in range(24)]
    server = make("StartServers 1\nServerLimit 1\nThreadsPerChild 2\nMaxRequestWorkers 2\nKeepAliveTimeout 600\n",
                  files={name: "hello\n" for name in names})
    start_with_descriptors(server, 64)
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(server.connect()) for _ in range(128)]
        wait_until("the log says so", lambda: "waiting until one is closed" in server.error_log())
        for name, leaving in zip(names, many[1:]):
            leaving.close()
            many[0].sendall(REQUEST.replace(b"/", b"/" + name.encode(), 1))
            answer(many[0])


# Stopping children

def test_a_request_in_progress_is_finished_when_its_child_goes(serve):
    server = serve(BLOCK + capacity(4))
    done = []
    slow = threading.Thread(target=lambda: done.append(server.get("/block").status))
    slow.start()
    wait_until("it has begun or is done", lambda: server.get("/pid").status == 200)
    server.graceful()
    slow.join()
    assert done == [200]


def test_restart_with_connections_in_every_state(serve):
    """Idle, in the middle of a head, and not begun: all are answered or closed in order."""
    server = serve("KeepAliveTimeout 600\n" + capacity(12))
    stack, (idle,) = held(server, 1)
    with stack, server.connect() as half, server.connect() as silent:
        half.sendall(b"GET / HTTP/1.1\r\nHo")
        ask(idle)
        server.graceful()
        # Whoever has accepted it, an old child or, from the backlog, a new one that would keep it alive.
        half.sendall(b"st: x\r\nConnection: close\r\n\r\n")
        answer = half.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"hello\n")
        silent.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = silent.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"hello\n")
