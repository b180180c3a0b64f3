"""What goes wrong outside: clients that vanish at every stage, full disks, no descriptors, no memory, odd ways to write and read."""
import contextlib
import os
import random
import re
import resource
import socket
import struct
import subprocess
import sys
import threading

import pytest

import harness
from harness import MPM, wait_until
from rawclient import TESTMUX, Client

HELLO = {"index.html": "hello\n"}
LARGE = bytes(range(256)) * 40_000  # 10 MB: more than any socket's buffers hold
POST = "POST /echo HTTP/1.1\r\nHost: x\r\n"
STREAM = """
LoadModule park_module "{test_modules}/mod_park.so"
<Location /stream>
    SetHandler stream
</Location>
"""
ONE_CHILD = ("StartServers 1\nMinSpareServers 1\nMaxSpareServers 2\nMaxRequestWorkers 4\n" if MPM == "prefork" else
             "StartServers 1\nServerLimit 1\nThreadsPerChild 8\nMaxRequestWorkers 8\nMinSpareThreads 1\nMaxSpareThreads 100\n")
TWO_CHILDREN = ("MinSpareServers 1\nMaxRequestWorkers 2\n" if MPM == "prefork" else
                "ServerLimit 2\nThreadsPerChild 4\nMaxRequestWorkers 8\n")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the children run as somebody else then")


def sockets(server):
    """How many clients' sockets the children hold, by the system's table."""
    with open("/proc/net/tcp") as f:
        lines = [line.split() for line in f][1:]
    return sum(1 for w in lines if w[1].endswith(":%04X" % server.port) and w[3] != "0A" and w[9] != "0")


def pids(server):
    return sorted(p.pid for p in server.children())


def fin(s):
    s.close()


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def half(s):
    """Says that it is done, waits for a little of what comes, then leaves."""
    s.shutdown(socket.SHUT_WR)
    s.settimeout(0.01)
    with contextlib.suppress(OSError):
        s.recv(1000)
    s.close()


# Clients that vanish

STAGES = {
    "at once": "",
    "in the request line": "GET /ind",
    "in a field": "GET / HTTP/1.1\r\nHost: x\r\nX-Y",
    "before the end of the head": "GET / HTTP/1.1\r\nHost: x\r\n",
    "in a body": POST + "Content-Length: 100000\r\n\r\nsome of it",
    "before the body": POST + "Content-Length: 100000\r\nExpect: 100-continue\r\n\r\n",
    "in a chunk": POST + "Transfer-Encoding: chunked\r\n\r\n100\r\nsome of it",
    "in a chunk's size": POST + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1",
    "in the trailer": POST + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y",
    "in a body nobody reads": "POST /missing HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nsome of it",
    "in the answer": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "in a large answer": "GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
    "in a large answer of a handler": "GET /stream?20000 HTTP/1.1\r\nHost: x\r\n\r\n",
    "in one of many answers": "GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 20,
    "while a handler waits": "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n",
    "while a handler blocks": "GET /block HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("leave", [fin, reset, half])
def test_clients_vanish_at_every_stage(serve, leave):
    """They cost nobody else anything, and nothing of theirs is left."""
    server = serve(TESTMUX + STREAM + ONE_CHILD + "RequestReadTimeout header=20 body=20\nTimeOut 20\n"
                   "LoadModule block_module \"{test_modules}/mod_block.so\"\n<Location /block>\nSetHandler block\n</Location>\n",
                   files=dict(HELLO, large=LARGE))
    assert server.get("/").status == server.get("/large").status == 200
    who = pids(server)
    for stage, text in STAGES.items():
        if stage == "while a handler waits" and leave is not reset:
            continue  # it is not told: who has finished asking may still listen
        for _ in range(1 if "waits" in stage or "blocks" in stage else 4):
            s = server.connect()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.sendall(text.encode())
            if "answer" in stage:
                s.recv(100)
            leave(s)
    assert server.get("/").body == b"hello\n"
    wait_until("nothing of theirs is left", lambda: sockets(server) == 0)
    if MPM != "prefork":
        assert pids(server) == who
    assert "exit signal" not in server.error_log()


def test_half_close_gets_its_answers(serve):
    server = serve(TESTMUX + STREAM, files=dict(HELLO, large=LARGE))
    request = "GET %s HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = server.raw((request % "/" + request % "/large" + request % "/stream?3000" + request % "/missing").encode())
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 3 and answer.count(b"HTTP/1.1 404 Not Found\r\n") == 1
    assert LARGE in answer
    assert server.raw((POST + "Content-Length: 5\r\n\r\nabcde").encode()).endswith(b"abcde\r\n0\r\n\r\n")


# Odd ways to write

def test_one_byte_at_a_time(serve):
    server = serve(TESTMUX, files=HELLO)
    with Client(server) as c:
        for text in ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", POST + "Content-Length: 6\r\n\r\nabcdef",
                     POST + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nT: v\r\n\r\n",
                     "HEAD / HTTP/1.1\r\nHost: x\r\nRange: bytes=1-2\r\n\r\n"):
            for byte in text:
                c.send(byte)
            assert c.answer(text.split()[0]).status in (200, 206)


def test_a_hundred_requests_at_once(serve):
    """All in one piece, of every kind, some with bodies; the answers come in their order."""
    server = serve(TESTMUX, files=dict(HELLO, **{"f%d" % i: "number %d" % i * i for i in range(100)}))
    text, expected = "", []
    for i in range(100):
        kind = i % 4
        if kind == 0:
            text += "GET /f%d HTTP/1.1\r\nHost: x\r\n\r\n" % i
            expected.append((200, b"number %d" % i * i))
        elif kind == 1:
            text += POST + "Content-Length: %d\r\n\r\n%s" % (i, "b" * i)
            expected.append((200, b"b" * i))
        elif kind == 2:
            text += POST + "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (i, "c" * i)
            expected.append((200, b"c" * i))
        else:
            text += "GET /none%d HTTP/1.1\r\nHost: x\r\n\r\n" % i
            expected.append((404, None))
    with Client(server) as c:
        writer = threading.Thread(target=c.send, args=(text,))
        writer.start()
        for status, body in expected:
            a = c.answer()
            assert a.status == status and body in (None, a.body)
        writer.join()
        assert c.get("/").answer().body == b"hello\n"


def test_requests_cut_anywhere(serve):
    """Two requests with bodies and a third, cut into pieces at random places: always the same answers."""
    server = serve(TESTMUX + "MaxKeepAliveRequests 0\n", files=HELLO)
    text = (POST + "Content-Length: 5\r\n\r\n12345" + POST + "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n"
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n").encode()
    rng = random.Random(1)
    with Client(server) as c:
        for _ in range(100):
            cuts = sorted(rng.sample(range(1, len(text)), rng.randint(1, 5)))
            for a, b in zip([0, *cuts], [*cuts, len(text)]):
                c.send(text[a:b])
            assert [c.answer().body for _ in range(3)] == [b"12345", b"0123456789", b"hello\n"]


@pytest.mark.parametrize("ranges", [
    ",".join("%d-%d" % (i, i) for i in range(0, 1400, 2)),
    ",".join("0-" for _ in range(1500)),
    ",".join("-%d" % i for i in range(1, 1200)),
    "18446744073709551615-18446744073709551616", "0-9223372036854775807", "-99999999999999999999",
], ids=["many", "all over and over", "suffixes", "beyond 64 bits", "the largest", "a huge suffix"])
def test_strange_ranges(serve, ranges):
    server = serve(files=dict(HELLO, large=LARGE[:100_000]))
    with Client(server) as c:
        a = c.get("/large", "Range: bytes=%s\r\n" % ranges).answer()
        assert a.status in (200, 206, 416)
        assert len(a.body) < 400_000
        assert c.get("/").answer().body == b"hello\n"


# Slow readers

def test_slow_readers_get_everything(serve):
    """Small receive windows, small reads, several at once: files and handlers' answers arrive whole."""
    server = serve(STREAM + ("MaxRequestWorkers 10\n" if MPM == "prefork" else "") + "TimeOut 60\n", files=dict(HELLO, large=LARGE))
    stream = b"".join(bytes([ord("a") + i % 26]) * 1024 for i in range(3000))
    with contextlib.ExitStack() as stack:
        clients = [(stack.enter_context(Client(server, receive_buffer=4096)), path, body)
                   for path, body in (("/large", LARGE), ("/stream?3000", stream)) * 3]
        for c, path, _ in clients:
            c.get(path)
        if MPM == "event":
            assert server.get("/").body == b"hello\n"
        threads = []
        results = {}
        for c, path, body in clients:
            def read(c=c, body=body):
                results[c] = c.answer().body == body and c.get("/").answer().body == b"hello\n"
            threads.append(threading.Thread(target=read))
            threads[-1].start()
        for t in threads:
            t.join()
        assert [results.get(c) for c, _, _ in clients] == [True] * 6


# Files that change while they are sent

@pytest.mark.parametrize("change", ["truncate", "delete", "replace", "grow", "rewrite"])
def test_a_file_changes_while_it_is_sent(serve, change):
    """The answer is what the head announced, or the connection ends early; never another answer's bytes."""
    server = serve(files=dict(HELLO, large=LARGE))
    path = server.path("htdocs", "large")
    with Client(server, receive_buffer=4096) as c:
        c.get("/large").get("/")
        head = c.head()
        length = int(head["Content-Length"])
        assert length == len(LARGE)
        start = c.read_exactly(1000)
        if change == "truncate":
            os.truncate(path, 6_000_000)
        elif change == "delete":
            os.unlink(path)
        elif change == "replace":
            server.write("htdocs/large", b"new")
        elif change == "grow":
            with open(path, "ab") as f:
                f.write(b"more")
        else:
            with open(path, "r+b") as f:
                f.write(b"\0" * 1000)
        if change == "truncate":
            rest = start + c.rest()
            assert len(rest) < length and LARGE.startswith(rest)
        else:
            assert start + c.read_exactly(length - 1000) == LARGE
            assert c.answer().body == b"hello\n"
    assert server.get("/").body == b"hello\n"
    assert "exit signal" not in server.error_log()


# No room

def limit(pid, kind, soft):
    """Change a child's soft limit; None: up to the hard one. Its own user may do that, root in a container perhaps not."""
    script = ("import resource as r; hard = r.prlimit(%d, r.%s)[1]; r.prlimit(%d, r.%s, (%s, hard))"
              % (pid, kind, pid, kind, "hard" if soft is None else soft))
    subprocess.run([sys.executable, "-c", script], check=True, user=harness.unprivileged().pw_uid,
                   group=harness.unprivileged().pw_gid, extra_groups=[])


def settled_pids(server):
    """Of the children that run as their own user already: one that was just forked is nobody's to limit, and serves nobody."""
    found = []
    for p in server.children():
        with contextlib.suppress(OSError, KeyError):
            if set(p.status()["Uid"].split()) == {str(harness.unprivileged().pw_uid)}:
                found.append(p.pid)
    return sorted(found)


def test_logs_on_a_full_disk(serve):
    """Nobody is refused an answer because it cannot be logged. (The harness reads the main server's own ErrorLog.)"""
    server = serve("<VirtualHost *>\nServerName localhost\nDocumentRoot \"{root}/htdocs\"\nCustomLog /dev/full \"%h\"\n"
                   "ErrorLog /dev/full\n</VirtualHost>\n", files=HELLO)
    for _ in range(50):
        assert server.get("/").body == b"hello\n"
        assert server.get("/missing").status == 404
    server.graceful()
    assert server.get("/").body == b"hello\n"


@needs_root
def test_no_descriptor_for_a_file(serve):
    """A connection is there, a file cannot be opened: an error that says so, and all is well when there are some again."""
    server = serve(ONE_CHILD + "KeepAliveTimeout 60\n", files=dict(HELLO, **{"f%d" % i: "x" * 20_000 for i in range(50)}))
    with Client(server) as c:
        assert c.get("/").answer().status == 200
        for i in range(10):  # a connection that ends meanwhile leaves room for one more file
            for pid in settled_pids(server):
                used = set(map(int, os.listdir("/proc/%d/fd" % pid)))
                limit(pid, "RLIMIT_NOFILE", min(set(range(len(used) + 1)) - used))
            status = c.get("/f%d" % i).answer().status
            if status == 503:
                break
        assert status == 503
        for pid in settled_pids(server):
            limit(pid, "RLIMIT_NOFILE", None)
    for i in range(50):
        assert server.get("/f%d" % i).body == b"x" * 20_000
    assert "exit signal" not in server.error_log()


@needs_root
@pytest.mark.skipif(MPM == "event", reason="event has no accept lock")
def test_a_child_without_descriptors_gives_the_accept_lock_away(serve):
    """What a child cannot accept another one does: who waits for descriptors does not hold the lock meanwhile."""
    server = serve("Mutex pthread mpm-accept\nStartServers 2\n" + TWO_CHILDREN)
    children = wait_until("both have settled", lambda: len(settled_pids(server)) == 2 and set(settled_pids(server)))
    for pid in children:
        used = set(map(int, os.listdir("/proc/%d/fd" % pid)))
        limit(pid, "RLIMIT_NOFILE", min(set(range(len(used) + 1)) - used))
    with server.connect() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        said = wait_until("one has none", lambda: re.search(r"pid (\d+):.*cannot accept more", server.error_log()))
        for pid in children - {int(said.group(1))}:
            limit(pid, "RLIMIT_NOFILE", None)
        assert s.recv(4096).startswith(b"HTTP/1.1 200")


def is_sanitized():
    with open(harness.MUSTER, "rb") as f:
        text = f.read()
    return b"__asan_init" in text or b"__tsan_init" in text


@needs_root
@pytest.mark.skipif(is_sanitized(), reason="sanitizers do not live without address space")
@pytest.mark.skipif(MPM != "event", reason="one process with many requests")
def test_no_memory(serve):
    """The address space ends: requests are refused, the child goes on, and serves all of them later."""
    server = serve(ONE_CHILD + "ListenerThreads 1\n" + "TimeOut 600\nLoadModule park_module \"{test_modules}/mod_park.so\"\n"
                   "<Location /park>\nSetHandler park\n</Location>\n<Location /release>\nSetHandler release\n</Location>\n", files=HELLO)
    who = pids(server)
    assert server.get("/").status == 200
    with open("/proc/%d/statm" % who[0]) as f:
        size = int(f.read().split()[0]) * resource.getpagesize()
    limit(who[0], "RLIMIT_AS", size + 30_000_000)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server)).get("/park") for _ in range(1000)]
        refused = []
        for c in clients:
            c.s.setblocking(False)

        def look():
            for c in clients:
                if c in refused:
                    continue
                try:
                    c.s.recv(100)
                except BlockingIOError:
                    continue
                except ConnectionError:
                    pass
                refused.append(c)
            return len(refused) > 100
        wait_until("many are refused", look)
        limit(who[0], "RLIMIT_AS", None)
        wait_until("there is room", lambda: server.get("/").status == 200)
        released = int(server.get("/release").body)
        assert 0 < released < 1000
    assert server.get("/").body == b"hello\n"
    assert pids(server) == who
    assert "exit signal" not in server.error_log()
