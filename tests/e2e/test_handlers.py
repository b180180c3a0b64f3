"""What handlers that run applications rest on: names that are prefixes, bodies and answers that wait for no slow client,
the client's socket in other hands. tests/e2e/modules/mod_relay.c does what such handlers do."""
import array
import contextlib
import os
import socket
import struct
import threading

import pytest

import harness
from harness import wait_until
from rawclient import Client

RELAY = """
LoadModule relay_module "{test_modules}/mod_relay.so"
LogFormat "%>s %X %B %r" state
CustomLog "{root}/logs/access.log" state
RelaySocket "{root}/relay.sock"
<Location /drain>
    SetHandler drain
</Location>
<Location /lend>
    SetHandler lend
</Location>
<Location /ahead>
    SetHandler ahead
</Location>
<Location /field>
    SetHandler field
</Location>
<Location /prefix>
    SetHandler "prefix:unix:{root}/No-Such.Sock|fcgi://localhost/"
</Location>
<Location /unknown>
    SetHandler "unknown:unix:{root}/x"
</Location>
<Location /nobody>
    SetHandler nobody
</Location>
"""
LARGE = 40 * 1024 * 1024
GATHERED = 8192  # small writes of a handler are gathered up to that


def access_log(server):
    with open(server.path("logs", "access.log")) as f:
        return f.read()


def pattern(n):
    """Bytes of which none could stand for another: numbers, four bytes each."""
    return struct.pack(">%dI" % (n // 4), *range(n // 4))


class Backend:
    """Listens on a port; sends `data` to whoever connects and closes. `done` is set when all was taken."""

    def __init__(self, data):
        self.s = socket.create_server(("127.0.0.1", 0))
        self.port = self.s.getsockname()[1]
        self.data = data
        self.done = threading.Event()
        self.error = None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            c, _ = self.s.accept()
            with c:
                c.settimeout(harness.PATIENCE)
                c.sendall(self.data)
                c.shutdown(socket.SHUT_WR)
                assert c.recv(1) == b""  # the server has closed: it has read everything
            self.done.set()
        except OSError as e:
            self.error = e

    def close(self):
        self.s.close()
        self.thread.join()


@pytest.fixture
def backend():
    made = []

    def make(data):
        made.append(Backend(data))
        return made[-1]

    yield make
    for b in made:
        b.close()


class Borrower:
    """Listens on the Unix socket: take() returns the client's socket and the conversation about it."""

    def __init__(self, server):
        self.path = server.path("relay.sock")
        self.s = socket.socket(socket.AF_UNIX)
        self.s.bind(self.path)
        os.chmod(self.path, 0o777)
        self.s.listen(8)
        self.s.settimeout(harness.PATIENCE)

    def take(self):
        talk, _ = self.s.accept()
        talk.settimeout(harness.PATIENCE)
        _, control, _, _ = talk.recvmsg(1, socket.CMSG_SPACE(4))
        fds = array.array("i")
        fds.frombytes(control[0][2][:4])
        client = socket.socket(fileno=fds[0])
        assert os.get_blocking(client.fileno())
        client.settimeout(None)
        assert os.get_blocking(client.fileno())
        return client, talk

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()


# Names

def test_handlers_by_prefix(serve):
    server = serve(RELAY)
    assert server.get("/prefix").body.decode() == "prefix:unix:%s/No-Such.Sock|fcgi://localhost/" % server.root


def test_an_unknown_handler_shows_nothing(serve):
    server = serve(RELAY, files={"unknown": "secret\n", "nobody": "secret\n", "a.txt": "a\n"})
    for path in ("/unknown", "/nobody"):
        answer = server.get(path)
        assert answer.status == 500 and b"secret" not in answer.body
    assert 'handler "unknown:unix:' in server.error_log()
    assert 'MU0620' in server.error_log() and 'handler "nobody" not found' in server.error_log()


@pytest.mark.parametrize("part,named", [
    ("type", "Content-Type"), ("encoding", "Content-Encoding"), ("etag", "ETag"), ("reason", "reason phrase"),
    ("name", "a"), ("value", "X-Value")])
def test_a_head_that_would_be_split_is_never_sent(serve, part, named):
    server = serve(RELAY)
    answer = server.raw(b"GET /field?%s HTTP/1.1\r\nHost: a\r\n\r\n" % part.encode())
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"Evil" not in answer and b"secret" not in answer
    assert answer.count(b"HTTP/1.1") == 1 and b"<h1>Internal Server Error</h1>" in answer
    assert "MU0520: the answer for \"/field\" is not sent, 500 instead: its " + named in server.error_log()
    wait_until("it is logged", lambda: "500 - " in access_log(server))


# Answers that do not wait

def test_a_backend_is_done_while_the_client_has_not_read(serve, backend):
    """The client reads nothing until the backend has been read to its end; then it gets everything, in order."""
    server = serve(RELAY)
    data = pattern(LARGE)
    b = backend(data)
    with Client(server, receive_buffer=65536) as c:
        c.get("/drain?%d" % b.port)
        assert b.done.wait(harness.PATIENCE), b.error
        assert "/drain" not in access_log(server)
        assert c.answer().body == data
        assert c.get("/prefix").answer().status == 200
    wait_until("it is logged", lambda: "200 + %d GET /drain" % LARGE in access_log(server))


def test_the_client_reads_while_the_backend_thinks(serve):
    """What the client did not take at once reaches it although the handler waits for the backend alone."""
    server = serve(RELAY)
    data = pattern(8 * 1024 * 1024)
    with socket.create_server(("127.0.0.1", 0)) as s, Client(server, receive_buffer=65536) as c:
        c.get("/drain?%d" % s.getsockname()[1])
        b, _ = s.accept()
        with b:
            b.sendall(data)
            assert c.head()["Transfer-Encoding"] == "chunked"
            body = bytearray()
            while len(body) < len(data) - GATHERED:  # the backend has neither closed nor said more
                body += c.chunk()
            b.sendall(b"more")
        while True:
            piece = c.chunk()
            body += piece
            if not piece:
                break
    assert body == data + b"more"


def test_a_client_that_leaves_meanwhile(serve):
    server = serve(RELAY)
    with socket.create_server(("127.0.0.1", 0)) as s:
        with Client(server, receive_buffer=65536) as c:
            c.get("/drain?%d" % s.getsockname()[1])
            b, _ = s.accept()
            b.sendall(pattern(4 * 1024 * 1024))
            c.head()
        with b:  # the client is gone; the backend says nothing more, and is left all the same
            b.settimeout(harness.PATIENCE)
            with contextlib.suppress(ConnectionResetError):
                assert b.recv(1) == b""
    wait_until("it is logged", lambda: "200 X" in access_log(server))


def test_nothing_stays_in_the_temporary_folder(serve, backend, tmp_path):
    os.chmod(tmp_path, 0o777)
    for part in list(tmp_path.parents)[:2]:
        os.chmod(part, 0o755)
    server = serve(RELAY, env={"TMPDIR": str(tmp_path)})
    data = pattern(4 * 1024 * 1024)
    b = backend(data)
    with Client(server, receive_buffer=65536) as c:
        c.get("/drain?%d" % b.port)
        assert b.done.wait(harness.PATIENCE), b.error
        assert os.listdir(tmp_path) == []  # it has no name there
        assert c.answer().body == data


# Bodies that are read ahead

@pytest.mark.parametrize("size", [0, 5, 65535, 65536, 3_000_000])
def test_a_body_is_read_ahead(serve, size):
    server = serve(RELAY)
    body = b"x" * (size - 1) + b"e" if size else b""
    expected = b"%d %s\n" % (size, b"e" if size else b"-")
    with Client(server) as c:
        c.send("POST /ahead HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size).send(body)
        assert c.answer().body == expected
        c.send("POST /ahead HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        assert c.answer().status == 100
        if size:
            c.send("%x\r\n" % size).send(body).send("\r\n")
        c.send("0\r\n\r\n")
        assert c.answer().body == expected


def test_a_body_ahead_that_is_too_large_or_too_slow(serve):
    server = serve(RELAY + "LimitRequestBody 1000\nRequestReadTimeout header=0 body=1\n")
    with Client(server) as c:
        assert c.send("POST /ahead HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n").answer().status == 413
    with Client(server) as c:
        c.send("POST /ahead HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + "x" * 1001)
        assert c.answer().status == 413
    with Client(server) as c:
        assert c.send("POST /ahead HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n1").answer().status == 408


# The client's socket in other hands

def test_a_program_answers_by_itself(serve):
    """Ten megabytes by blocking writes while the request's body is still arriving."""
    server = serve(RELAY)
    data = pattern(10 * 1024 * 1024)
    with Borrower(server) as borrower, Client(server, receive_buffer=65536) as c:
        c.send("POST /lend HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n0123456789")
        client, talk = borrower.take()
        writer = threading.Thread(target=client.sendall, args=(b"HTTP/1.1 200 Mine\r\n\r\n" + data,))
        writer.start()
        assert c._until(b"\r\n\r\n") == b"HTTP/1.1 200 Mine"
        assert talk.recv(100) == b"0123456789"
        c.send("abcdefghij")
        assert talk.recv(100) == b"abcdefghij"
        assert c.read_exactly(len(data)) == data
        writer.join()
        talk.close()
        assert c.is_closed()  # though the program keeps its copy for a while
        client.close()
    wait_until("it is logged", lambda: "207 - %d POST /lend" % (len(data) + 21) in access_log(server))
    assert server.get("/prefix").status == 200


def test_the_end_waits_for_the_program(serve):
    """A client that has said everything and finished: its answer still comes, from the program alone."""
    server = serve(RELAY)
    with Borrower(server) as borrower, Client(server) as c:
        c.get("/lend").finish()
        client, talk = borrower.take()
        client.sendall(b"HTTP/1.1 200 Mine\r\n\r\nfirst ")
        assert c.read_exactly(27) == b"HTTP/1.1 200 Mine\r\n\r\nfirst "
        client.sendall(b"second")
        client.close()
        talk.close()
        assert c.rest() == b"second"


def test_a_client_that_leaves_the_program(serve):
    server = serve(RELAY)
    with Borrower(server) as borrower:
        with Client(server) as c:
            c.get("/lend")
            client, talk = borrower.take()
            c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert talk.recv(1) == b""  # the server gives up; the program sees it
        client.close()
    wait_until("it is logged", lambda: "X 0 GET /lend" in access_log(server))


def test_a_stop_does_not_shut_down_what_is_lent(serve):
    server = serve(RELAY)
    with Borrower(server) as borrower, Client(server) as c:
        c.get("/lend")
        client, talk = borrower.take()
        server.stop()
        client.sendall(b"HTTP/1.1 200 Mine\r\n\r\nlate")
        client.close()
        assert c.rest() == b"HTTP/1.1 200 Mine\r\n\r\nlate"
        talk.close()


def test_with_a_further_request_behind_it_the_answer_is_relayed(serve):
    server = serve(RELAY)
    with Borrower(server), Client(server) as c:
        c.send("GET /lend HTTP/1.1\r\nHost: a\r\n\r\nGET /prefix HTTP/1.1\r\nHost: a\r\n\r\n")
        assert c.answer().body == b"relayed\n"
        assert c.answer().body.startswith(b"prefix:")
