"""ProxyFCGIPassClient: the application is handed the client's socket and answers by itself."""
import contextlib
import fcntl
import os
import signal
import struct

import pytest

import applications
from applications import query
from fcgi_backend import (ABORT, CLIENT_DONE, HEAD, ONE_CHILD, STDERR, STDOUT, TAKE_CLIENT, Backend, end, log_lines, logged, record,
                          reply)
from harness import wait_until
from rawclient import Client

OFFER = "MUSTER_PASS_CLIENT"
CONFIG = """
LogFormat "%s %O %B %X %r" pass
CustomLog "{root}/logs/access.log" pass
<Location "/app">
    ProxyFCGIPassClient On
</Location>
ProxyPass "/app/" "URL/" flushpackets=on
ProxyPass "/other/" "URL/other/"
"""
ANSWER = b"HTTP/1.1 203 By The Application\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmine"


def done(status, n):
    return record(CLIENT_DONE, struct.pack(">HHIQ", status, 0, 0, n))


@pytest.fixture
def start(serve, beside):
    def run(kind="unix", config="", pool=""):
        b = beside(Backend(kind))
        return b, serve(pool + CONFIG.replace("URL", b.url) + config)
    return run


def access(s, count):
    """The lines of the access log, when there are so many."""
    def read():
        with contextlib.suppress(FileNotFoundError), open(s.path("logs/access.log")) as f:
            lines = f.read().splitlines()
            return lines if len(lines) >= count else None
        return None
    return wait_until("the access log has %d lines" % count, read)


def works(s, b, client=None):
    with contextlib.ExitStack() as stack:
        client = client or stack.enter_context(Client(s))
        client.get("/app/works")
        b.expect().answer("in the usual way")
        assert client.answer().body == b"in the usual way"


# ---- it answers by itself ----

@pytest.mark.parametrize("reports", [True, False])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_an_application_answers_the_client(start, reports, version):
    """What it writes is what the client gets, byte by byte; then the connection closes, and the access log knows of it."""
    b, s = start()
    with Client(s) as client:
        client.get("/app/x", version=version)
        c = b.expect()
        assert c.params[OFFER] == "1"
        with c.take_client() as f:
            assert f.getpeername() == client.s.getsockname() and f.getsockname()[1] == s.port
            assert not fcntl.fcntl(f, fcntl.F_GETFL) & os.O_NONBLOCK
            f.sendall(ANSWER)
            c.send(done(203, 4) if reports else b"", record(STDOUT), end())
        assert client.rest() == ANSWER
        assert c.rest() == []
    line = access(s, 1)[0]
    if reports:
        assert line == "203 %s - GET /app/x HTTP/%s" % (line.split(" ", 2)[1] + " 4", version)
    else:  # what the kernel counted, head and all
        assert line == "200 %s - GET /app/x HTTP/%s" % (line.split(" ", 2)[1] + " %d" % len(ANSWER), version)
    works(s, b)


def test_a_body_first(start):
    """The body is read from the server as ever; a client that waits for 100 Continue gets it before."""
    b, s = start()
    for fields in ("Content-Length: 5\r\n", "Content-Length: 5\r\nExpect: 100-continue\r\n", "Transfer-Encoding: chunked\r\n"):
        with Client(s) as client:
            client.get("/app/x", fields, "POST")
            if "Expect" in fields:
                assert client.head().status == 100
            client.send("hello" if "Length" in fields else "5\r\nhello\r\n0\r\n\r\n")
            c = b.expect()
            assert c.read_body() == b"hello"
            with c.take_client() as f:
                f.sendall(ANSWER)
                c.send(done(203, 4), end())
            assert client.rest() == ANSWER


def test_a_large_answer_to_a_slow_client(start):
    """Blocking writes, while the client takes its time; nothing is lost, and nobody else waits."""
    b, s = start(pool=ONE_CHILD.replace("MaxRequestWorkers 1\n", "MaxRequestWorkers 2\n").replace("ServerLimit 1\n", "ServerLimit 2\n"))
    body = bytes(i * 7 % 251 for i in range(6_000_000))
    with Client(s, receive_buffer=65536) as client:
        client.get("/app/x")
        c = b.expect()
        pid = os.fork()
        if pid == 0:  # another process answers, as in life
            with contextlib.suppress(BaseException):
                with c.take_client() as f:
                    f.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                c.send(done(200, len(body)), end())
                os._exit(0)
            os._exit(1)
        assert s.get("/index.html").body == b"hello\n"
        a = client.answer()
        assert a.body == body and client.is_closed()
        assert os.waitpid(pid, 0)[1] == 0
    assert any(line.split()[::2][:2] == ["200", str(len(body))] for line in access(s, 2))


def test_while_the_answer_goes_on(start):
    """The server neither writes to the client nor closes it nor takes it for idle, however long the application takes."""
    b, s = start(config="TimeOut 4\nKeepAliveTimeout 4\n")
    with Client(s) as client:
        client.get("/app/x")
        c = b.expect()
        with c.take_client() as f:
            f.sendall(b"HTTP/1.1 200 OK\r\n\r\nfirst ")
            assert client.head().status == 200 and client.read_exactly(6) == b"first "
            # Somebody else is given up for silence, who began later than this one.
            with Client(s) as other:
                other.get("/other/x")
                silent = b.expect()
                assert other.answer().status == 504 and ABORT in silent.rest()
            f.sendall(b"last")
            assert client.read_exactly(4) == b"last"
            c.send(done(200, 10), end())
        assert client.is_closed()


def test_the_end_is_the_applications(start):
    """The server closes when the application has said that it is done, even if the application keeps its copy."""
    b, s = start()
    with Client(s) as client:
        client.get("/app/x")
        c = b.expect()
        with c.take_client() as f:
            f.sendall(ANSWER)
            c.send(done(203, 4), end())
            assert client.rest() == ANSWER


# ---- it is not lent ----

@pytest.mark.parametrize("more,rest", [("GET /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n", ""),
                                       ("GE", "T /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n")])
def test_not_when_the_next_request_is_there(start, more, rest):
    """Bytes of it lie in the server's buffer: the application is told so, and both are answered, in order."""
    b, s = start()
    with Client(s) as client:
        client.send("GET /app/x HTTP/1.1\r\nHost: localhost\r\n\r\n" + more)
        c = b.expect()
        assert c.take_client() is None
        c.answer("in the usual way")
        assert client.answer().body == b"in the usual way"
        assert client.send(rest).answer().body == b"hello\n"


@pytest.mark.parametrize("field", ["Via: 1.1 front", "Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.1"])
def test_not_for_what_a_proxy_sent(start, field):
    """The connection behind a proxy is not one client's: others' requests come over it next."""
    b, s = start()
    with Client(s) as client:
        client.get("/app/x", field + "\r\n")
        c = b.expect()
        assert OFFER not in c.params
        c.answer("in the usual way")
        assert client.answer().body == b"in the usual way"
        client.get("/app/x")
        c = b.expect()
        assert c.params[OFFER] == "1"
        c.answer("in the usual way")
        assert client.answer().body == b"in the usual way"


@pytest.mark.parametrize("kind,place", [("unix", "other"), ("tcp", "app")])
def test_not_offered(start, kind, place):
    """Where it is not configured, or the socket cannot carry it; and what SetEnv says is no offer. Who asks all the same speaks nonsense."""
    b, s = start(kind, config="SetEnv %s 1\n" % OFFER)
    with Client(s) as client:
        client.get("/%s/x" % place)
        c = b.expect()
        assert OFFER not in c.params
        c.read_body()
        c.send(record(TAKE_CLIENT))
        assert client.answer().status == 502
        assert c.rest() == []
        logged(s, "[proxy_fcgi:error]", b.name, "type")
        client.get("/%s/x" % place)
        b.expect().answer("as ever")
        assert client.answer().body == b"as ever"


def test_an_offer_that_nobody_takes(serve, beside):
    """Applications that know nothing of it answer as if it was not there, on kept connections too."""
    app, fpm = beside(applications.FcgiApp("unix")), beside(applications.Fpm("pm = static\npm.max_children = 1"))
    s = serve('ProxyFCGIPassClient On\nProxyPass "/app/" "%s/" enablereuse=on\n<Files "*.php">\nSetHandler "proxy:%s"\n</Files>\n' % (app.url, fpm.url),
              files={"a.php": "<?php echo $_SERVER['%s'] ?? 'none', ' ', file_get_contents('php://input');" % OFFER})
    with Client(s) as client:
        for i in range(3):
            body = "body %d" % i
            client.get("/app/x?" + query(text="told ", var=OFFER) + "&body", "Content-Length: 6\r\n", "POST").send(body)
            assert client.answer().body == b"told 1\n" + body.encode()
            client.get("/a.php", "Content-Length: 6\r\n", "POST").send(body)
            assert client.answer().body == b"1 " + body.encode()
    assert not log_lines(s, "proxy_fcgi:error")


# ---- what an application may not do ----

def misuse(c, client, name):
    """Returns the socket, when there was one."""
    if name == "after output":
        c.out(HEAD + "first")
        client.head()
        c.send(record(TAKE_CLIENT))
    elif name == "a report of what it has not":
        c.send(done(200, 0))
    elif name == "a socket that is no use":
        c.send(record(TAKE_CLIENT, "x"))
    elif name == "a short report":
        c.send(record(CLIENT_DONE, bytes(15)))
    else:
        f = c.take_client()
        c.send({"twice": record(TAKE_CLIENT), "output beside": record(STDOUT, HEAD + "evil"), "a status of none": done(99, 0),
                "a status beyond": done(600, 0), "two reports": done(200, 4) + done(200, 4)}[name])
        return f
    return None


def test_misuse(start):
    """The client is closed, or told 502 when it was never lent; the log says why, and everything else goes on."""
    b, s = start()
    for name in ("after output", "a report of what it has not", "a socket that is no use", "a short report", "twice", "output beside",
                 "a status of none", "a status beyond", "two reports"):
        with Client(s) as client:
            client.get("/app/x")
            c = b.expect()
            c.read_body()
            f = misuse(c, client, name)
            if f:
                f.close()
                assert client.is_closed(), name
            elif name == "after output":
                assert client.chunk() == b"first" and client.is_closed()
            else:
                assert client.answer().status == 502, name
            assert c.rest() in ([], [ABORT]), name
        works(s, b)
    wait_until("each is in the log", lambda: len(log_lines(s, "[proxy_fcgi:error]")) == 9)


def test_taken_and_given_up(start):
    """An application that takes the client, writes nothing and ends in order: the client is closed, not left waiting."""
    b, s = start()
    with Client(s) as client:
        client.get("/app/x")
        c = b.expect()
        c.take_client().close()
        c.send(end())
        assert client.is_closed()
    works(s, b)


def test_stderr_beside(start):
    b, s = start()
    with Client(s) as client:
        client.get("/app/x")
        c = b.expect()
        with c.take_client() as f:
            c.send(record(STDERR, "a word in between\n"))
            f.sendall(ANSWER)
            c.send(done(203, 4), end())
        assert client.rest() == ANSWER
    logged(s, b.name, "a word in between")


# ---- ends ----

def killed(b, before=b""):
    """The next conversation is held by a process of its own, which is killed when it has the client and has written `before`."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            c = b.expect()
            f = c.take_client()
            f.sendall(before)
            os.write(writable, b"x")
            signal.pause()
        os._exit(1)
    assert os.read(readable, 1) == b"x"
    os.close(readable)
    os.close(writable)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst"])
def test_a_killed_application(start, before):
    """SIGKILL while it answers: the client's connection ends, the server says so in its log, and serves on."""
    b, s = start()
    with Client(s) as client:
        client.get("/app/x")
        killed(b, before)
        with contextlib.suppress(ConnectionResetError):
            assert client.rest() == before
    assert "by itself" in logged(s, "[proxy_fcgi:error]", b.name)
    assert "GET /app/x" in access(s, 1)[0]
    works(s, b)


def test_killed_again_and_again(start):
    """Ten times in one server process: no descriptor stays behind, and no child was lost."""
    b, s = start(pool=ONE_CHILD)
    works(s, b)
    child = {p.pid: len(os.listdir("/proc/%d/fd" % p.pid)) for p in s.children()}
    for _ in range(10):
        with Client(s) as client:
            client.get("/app/x")
            killed(b)
            with contextlib.suppress(ConnectionResetError):
                assert client.is_closed()
    works(s, b)
    for pid, count in child.items():
        wait_until("as many descriptors as before", lambda: len(os.listdir("/proc/%d/fd" % pid)) <= count)  # noqa: B023


def test_a_client_that_leaves(start):
    """The application learns of it from the server too, by ABORT_REQUEST, though it may not write at all. (It is torn down: one that
    has merely finished sending gets its answer.)"""
    b, s = start()
    client = Client(s).get("/app/x")
    c = b.expect()
    c.read_body()
    with c.take_client():
        client.reset()  # a FIN says no more than that it has finished sending
        assert c.rest() == [ABORT]
    works(s, b)


def test_a_client_that_has_finished_sending(start):
    """… is no client that has left."""
    b, s = start()
    with Client(s) as client:
        client.get("/app/x").finish()
        c = b.expect()
        with c.take_client() as f:
            f.sendall(ANSWER)
            c.send(done(203, 4), end())
        assert client.rest() == ANSWER


def test_a_restart_in_between(start):
    """A graceful restart waits for who answers a client by himself."""
    b, s = start()
    with Client(s) as client:
        client.get("/app/x")
        c = b.expect()
        with c.take_client() as f:
            s.graceful()
            works(s, b)
            f.sendall(ANSWER)
            c.send(done(203, 4), end())
        assert client.rest() == ANSWER
    assert any(line.startswith("203 ") for line in access(s, 2))


def test_on_a_kept_connection_to_the_application(serve, beside):
    """enablereuse=on: behind a client that was answered by the application, the connection serves the next."""
    b = beside(Backend("unix"))
    s = serve(ONE_CHILD + 'ProxyFCGIPassClient On\nProxyPass "/app/" "%s/" enablereuse=on\n' % b.url)
    with Client(s) as client:
        client.get("/app/x")
        c = b.expect()
        assert c.keeps
        c.read_body()
        with c.take_client() as f:
            f.sendall(ANSWER)
            c.send(done(203, 4), record(STDOUT), end())
        assert client.rest() == ANSWER
    with Client(s) as client:
        client.get("/app/y")
        wait_until("it comes", lambda: not b.is_idle() or c.is_readable())
        c = c if b.is_idle() else b.accept()  # a connection is kept by the thread that had it
        assert c.request()["REQUEST_URI"] == "/app/y"
        c.send(reply("usual"))
        assert client.answer().body == b"usual"
