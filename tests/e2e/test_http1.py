"""HTTP/1.1 as clients see it: framing in both directions, pipelining, limits, refusals, large and changing files."""
import hashlib
import os
import socket

import harness
import pytest
from rawclient import TESTMUX, Client

# Answered without a look at the request's body.
FORBIDDEN = '<Location "/forbidden">\nRequire all denied\n</Location>\n'
FILES = {"index.html": "hello\n", "a.txt": "first\n", "b.txt": "second\n", "one": "1" * 1024}


@pytest.fixture
def server(serve):
    return serve(TESTMUX + FORBIDDEN + "LimitRequestBody 100000\nKeepAliveTimeout 60\n", files=FILES)


def test_pipelined_answers_come_in_order(server):
    paths = ["/a.txt", "/b.txt", "/one", "/missing"] * 20
    with Client(server) as c:
        c.send("".join("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % p for p in paths))
        answers = [c.answer() for _ in paths]
        assert [a.status for a in answers] == [200, 200, 200, 404] * 20
        assert [a.body for a in answers[:2]] == [b"first\n", b"second\n"]
        assert c.finish().is_closed()


def test_a_head_may_dribble(server):
    with Client(server) as c:
        for byte in "\r\nGET /a.txt HTTP/1.1\r\nHost: localhost\r\nX-Y: z\r\n\r\nGET /b.t":
            c.send(byte)
        assert c.answer().body == b"first\n"
        c.send("xt HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert c.answer().body == b"second\n"


@pytest.mark.parametrize("head, status", [
    ("GET / HTTP/1.1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
    ("GET / HTTP/1.1\nHost: a\n\n", 400),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: unheard-of, chunked\r\n\r\n", 501),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    ("POST /missing HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n", 400),
    ("GET /" + "a" * 9000 + " HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: " + "a" * 9000 + "\r\n\r\n", 431),
    ("GET / HTTP/1.1\r\nHost: a\r\n" + "X: y\r\n" * 101 + "\r\n", 431),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n", 413),
])
def test_refused_and_closed(server, head, status):
    """What follows such a head is never taken for a request; the client reads the answer whole, not a reset."""
    with Client(server) as c:
        c.send(head + "GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert c.answer().status == status
        assert c.is_closed()


def test_a_chunked_body_that_grows_too_large(server):
    with Client(server) as c:
        c.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(40):
                c.send(b"fa0\r\n" + b"x" * 4000 + b"\r\n")
        except OSError:
            pass
        received = b""
        with pytest.raises((OSError, AssertionError)):  # what was echoed before was not the whole answer
            while True:
                received += c.answer().body
        assert len(received) <= 100000


def test_a_broken_body_breaks_the_answer(server):
    """What was echoed already must not look like a whole answer."""
    with Client(server) as c:
        c.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n")
        assert c.head().status == 200
        assert c.rest() == b"3\r\nabc\r\n"


def test_a_broken_body_never_destroys_what_was_sent(server):
    """The client goes on sending: what has been echoed must reach it, and then the end, not a reset."""
    with Client(server) as c:
        c.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert c.head().status == 200
        c.send(b"junk" * 100000)
        assert c.rest() == b"5\r\nhello\r\n"


@pytest.mark.parametrize("pieces", [97, 4096, 100000])
def test_chunked_both_ways(server, pieces):
    body = bytes(range(256)) * 200
    with Client(server) as c:
        c.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        framed = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(p), p) for p in
                          (body[i:i + 4000] for i in range(0, len(body), 4000))) + b"0\r\nTrailer: x\r\n\r\n"
        for i in range(0, len(framed), pieces):
            c.send(framed[i:i + pieces])
        a = c.answer()
        assert a["Transfer-Encoding"] == "chunked" and a.body == body
        assert c.get("/a.txt").answer().body == b"first\n"


def test_body_by_length_and_what_nobody_reads(server):
    with Client(server) as c:
        c.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        c.send("def" "GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
        assert c.answer().body == b"abcdef"
        assert c.answer().body == b"first\n"
        c.send("POST /forbidden HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
        assert c.answer().status == 403  # before the rest has come
        c.send("cdeGET /b.txt HTTP/1.1\r\nHost: a\r\n\r\n")
        assert c.answer().body == b"second\n"


def test_an_unread_body_never_destroys_the_answer(server):
    """The server closes, but takes what is on its way first: a reset would discard the answer."""
    with Client(server) as c:
        c.send("POST /forbidden HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n")
        for _ in range(40):
            c.send(b"x" * 50000)
        assert c.finish().answer().status == 403
        assert c.is_closed()


def test_expect_continue(server):
    head = "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: %s\r\n\r\n"
    with Client(server) as c:
        c.send(head % ("/echo", "100-continue"))
        assert c.answer().status == 100
        c.send("body")
        assert c.answer().body == b"body"
        c.send(head % ("/forbidden", "100-Continue"))
        a = c.answer()  # it is not wanted, so it is not asked for
        assert (a.status, a["Connection"]) == (403, "close")
        assert c.is_closed()
    with Client(server) as c:
        c.send(head % ("/echo", "100-continue\r\nExpect: miracles"))
        assert c.answer().status == 417


def test_head_says_what_get_says(server):
    os.utime(server.path("htdocs", "one"), (1, 1000000000))  # the tag of a file of this second is weak for a while
    with Client(server) as c:
        get = c.get("/one").answer()
        head = c.get("/one", method="HEAD").answer("HEAD")
        assert [f for f in get.headers if f[0] != "Date"] == [f for f in head.headers if f[0] != "Date"]
        assert c.get("/a.txt").answer().body == b"first\n"


def test_http10_and_09(server):
    with Client(server) as c:
        a = c.get("/a.txt", version="1.0").answer()
        assert (a.body, a["Connection"]) == (b"first\n", "close")
        assert c.is_closed()
    with Client(server) as c:
        a = c.get("/a.txt", "Connection: Keep-Alive\r\n", version="1.0").answer()
        assert (a["Connection"], a["Keep-Alive"]) == ("Keep-Alive", "timeout=60, max=100")
        c.send("POST /echo HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 3\r\n\r\nabc")
        a = c.answer()  # of unknown length, and 1.0 knows no chunks
        assert (a.body, a["Connection"], a["Transfer-Encoding"]) == (b"abc", "close", None)
    with Client(server) as c:
        assert c.send("GET /a.txt\r\n").rest() == b"first\n"


def test_targets(server):
    with Client(server) as c:
        assert c.get("http://localhost/a.txt").answer().body == b"first\n"
        assert c.get("*", method="OPTIONS").answer().status == 200
        assert c.get("/./x/../%61.txt").answer().body == b"first\n"


def test_half_close_is_answered(server):
    assert server.raw(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n").endswith(b"\r\n\r\nfirst\n")


@pytest.mark.parametrize("receive_buffer", [None, 4096])
def test_large_file(server, receive_buffer):
    content = os.urandom(1 << 20) * 12
    server.write("htdocs/large", content)
    with Client(server, receive_buffer=receive_buffer) as c:
        c.get("/large").get("/a.txt")
        a = c.answer()
        assert hashlib.sha1(a.body).digest() == hashlib.sha1(content).digest()
        assert c.answer().body == b"first\n"


def test_a_file_cut_short_ends_the_connection(server):
    """The client is neither left waiting nor given the next answer as part of this one."""
    path = server.write("htdocs/shrinks", b"x" * 30_000_000)
    with Client(server, receive_buffer=4096) as c:
        c.get("/shrinks").get("/a.txt")
        head = c.head()
        os.truncate(path, 1000)
        rest = c.rest()
        assert head["Content-Length"] == "30000000"
        assert len(rest) < 30_000_000 and b"first" not in rest


def test_a_file_replaced_is_sent_as_it_was(server):
    server.write("htdocs/changes", b"a" * 20_000_000)
    with Client(server, receive_buffer=4096) as c:
        c.get("/changes")
        head = c.head()
        server.write("htdocs/changes", b"b" * 1000)
        assert c.read_exactly(int(head["Content-Length"])) == b"a" * 20_000_000
        assert c.get("/changes").answer().body == b"b" * 1000


def test_a_client_that_leaves_frees_its_handler(server):
    with Client(server) as c:
        c.get("/wait")
        assert c.head().status == 200
        # Not merely a half-close: the connection is torn down.
        c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    harness.wait_until("the handler is cancelled", lambda: "cancelled: /wait" in server.error_log())
