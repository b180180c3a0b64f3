"""examples/fastcgi: the C library for applications and sendself, which answers its clients by itself where it may."""
import contextlib
import os
import socket
import threading
import zlib

import pytest

import applications
import harness
from fcgi_backend import logged
from harness import unprivileged, wait_until
from rawclient import Client

SENDSELF = harness.program("examples", "fastcgi", "sendself")
LOGGED = 'LogFormat "%>s %B %U" short\nCustomLog "{root}/logs/access.log" short\n'


class SendSelf(applications.Background):
    """sendself on a Unix socket, with a file of `size` bytes in which nothing repeats."""

    def __init__(self, size):
        super().__init__()
        self.data = b"".join((i * 0x9E3779B97F4A7C15 % (1 << 64)).to_bytes(8, "big") for i in range(size // 8))
        with open(self.path("file"), "wb") as f:
            f.write(self.data)
        if unprivileged():
            os.chown(self.folder, unprivileged().pw_uid, -1)
        self.url = "unix:%s|fcgi://localhost" % self.path("socket")

    def start(self):
        self.spawn([SENDSELF, self.path("file"), "unix:" + self.path("socket")], unprivileged())
        wait_until("sendself accepts", lambda: self.accepts(socket.AF_UNIX, self.path("socket")))
        return self


def access(s, count):
    def lines():
        with open(s.path("logs/access.log")) as f:
            return f.read().splitlines()
    return wait_until("%d lines" % count, lambda: lines() if len(lines()) >= count else None)


def test_it_answers_by_itself(serve, beside):
    """The client reads the application's own words, whole; the access log has what the application reports."""
    app = beside(SendSelf(4 << 20))
    s = serve(LOGGED + 'ProxyPass "/own/" "%s/"\nProxyPass "/by/" "%s/b"\n<Location "/own/">\nProxyFCGIPassClient On\n</Location>\n' %
              (app.url, app.url))
    for path, who in (("/own/x", "the application"), ("/by/x", "the server")):
        answer = s.get(path)
        assert (answer.status, answer.headers["X-Answered-By"]) == (200, who)
        assert zlib.crc32(answer.body) == zlib.crc32(app.data)
    for path, who in (("/own/x", "the application"), ("/by/x", "the server")):
        head = s.request("HEAD", path)
        assert (head.headers["X-Answered-By"], head.headers["Content-Length"], head.body) == (who, str(len(app.data)), b"")
    # A line comes when the application has closed its copy of the socket, which may be behind the next one's.
    want = ["200 %d /own/x" % len(app.data), "200 %d /by/x" % len(app.data), "200 0 /own/x", "200 0 /by/x"]
    assert sorted(access(s, 4)) == sorted(want)


@pytest.mark.parametrize("fields,version,why", [
    ("Via: 1.1 proxy\r\n", "1.1", "a proxy has sent it"), ("X-Forwarded-For: 192.0.2.1\r\n", "1.1", "a proxy has sent it"),
    ("", "1.0", None)])
def test_when_it_may(serve, beside, fields, version, why):
    app = beside(SendSelf(1000))
    s = serve('ProxyFCGIPassClient On\nProxyPass "/" "%s/"\n' % app.url)
    with Client(s) as c:
        answer = c.get("/x", fields + "Connection: close\r\n", version=version).answer()
        assert answer["X-Answered-By"] == ("the server" if why else "the application") and answer.body == app.data


def test_a_pipelined_request_is_relayed(serve, beside):
    """What was read of the next request cannot be given away; both are answered."""
    app = beside(SendSelf(1000))
    s = serve('ProxyFCGIPassClient On\nProxyPass "/x" "%s/"\n' % app.url)
    with Client(s) as c:
        c.send("GET /x HTTP/1.1\r\nHost: h\r\n\r\nGET /index.html HTTP/1.1\r\nHost: h\r\n\r\n")
        first = c.answer()
        assert first["X-Answered-By"] == "the server" and first.body == app.data
        assert c.answer().body == b"hello\n"


def test_one_after_the_other_and_a_body(serve, beside):
    """The application is as good as new behind each client, also behind one that leaves in the middle."""
    app = beside(SendSelf(8 << 20))
    s = serve('ProxyFCGIPassClient On\nProxyPass "/" "%s/" enablereuse=on ttl=100ms\n' % app.url)  # its one process can be kept
    for i in range(3):
        with Client(s, receive_buffer=4096) as c:
            c.get("/x")
            assert c.head().status == 200
            c.reset()
        answer = s.request("POST", "/x", body=b"y" * 100_000 * i)
        assert answer.body == app.data and answer.headers["Connection"] == "close"


def test_through_a_pool(serve, beside):
    """The same program finds its socket on descriptor 0, and may take the client with PassClient On."""
    app = beside(SendSelf(1 << 20))
    s = serve(applications.pool("send", "%s %s" % (SENDSELF, app.path("file")), "PassClient On") + 'ProxyPass "/send" "pool:send"\n')
    answers, threads = [], []
    for _ in range(12):
        threads.append(threading.Thread(target=lambda: answers.append(s.get("/send/x"))))
        threads[-1].start()
    for t in threads:
        t.join()
    assert len(answers) == 12
    for a in answers:
        assert a.headers["X-Answered-By"] == "the application" and a.body == app.data


def test_killed_in_the_middle(serve, beside):
    """SIGKILL while it sends its file: the client sees the end, the next one is told 503, files are served."""
    app = beside(SendSelf(8 << 20))
    s = serve('ProxyFCGIPassClient On\nProxyPass "/app/" "%s/" retry=0\n' % app.url)
    with Client(s, receive_buffer=4096) as client:
        client.get("/app/x")
        assert client.head()["X-Answered-By"] == "the application"
        client.read_exactly(1000)
        app.process.kill()
        app.process.wait()
        with contextlib.suppress(ConnectionResetError):
            assert len(client.rest()) < len(app.data) - 1000
    logged(s, "[proxy_fcgi:error]", app.path("socket"), "by itself")
    assert s.get("/app/x").status == 503
    assert s.get("/index.html").body == b"hello\n"
