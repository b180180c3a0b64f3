"""The FastCGI client: in which order bodies, answers and farewells move, seen from both ends at once."""
import contextlib
import select
import threading

import pytest

import applications
from applications import query
from fcgi_backend import ABORT, HEAD, STDIN, STDOUT, Backend, end, log_lines, logged, record, reply
from harness import wait_until
from rawclient import Client

STREAMED = 'ProxyPass "/app/" "%s/"\n<Location "/app">\nProxyRequestBuffering Off\n</Location>\n'


@pytest.fixture
def start(serve, beside):
    """start(line) serves /app/ by a backend; %s in the line is its address."""
    def run(line='ProxyPass "/app/" "%s/"\n', kind="tcp"):
        b = beside(Backend(kind))
        return b, serve(line % b.url)
    return run


def post(client, path, fields):
    return client.get(path, "Content-Type: text/plain\r\n" + fields, "POST")


# ---- bodies ----

@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_collected_first(start, chunked):
    """Who sends half of a body has no connection to the backend; who comes later and sends all is served before."""
    b, s = start()
    with Client(s) as slow, Client(s) as quick:
        post(slow, "/app/slow", "Expect: 100-continue\r\n" + ("Transfer-Encoding: chunked\r\n" if chunked else "Content-Length: 10\r\n"))
        assert slow.head().status == 100  # the server is at it
        slow.send("5;x=y\r\nhello\r\n" if chunked else "hello")
        for i in range(3):
            post(quick, "/app/quick", "Content-Length: 5\r\n").send("quick")
            c = b.expect()
            assert c.params["REQUEST_URI"] == "/app/quick"
            c.answer("done")
            assert quick.answer().body == b"done"
        slow.send("5\r\nworld\r\n0\r\nTrailer: t\r\n\r\n" if chunked else "world")
        c = b.expect()
        assert c.params["REQUEST_URI"] == "/app/slow" and c.params["CONTENT_LENGTH"] == "10"
        assert "HTTP_TRANSFER_ENCODING" not in c.params or c.params["HTTP_TRANSFER_ENCODING"] == "chunked"
        assert c.read_body() == b"helloworld"
        c.answer("slowly")
        assert slow.answer().body == b"slowly"


@pytest.mark.parametrize("n", [0, 1, 65536, 5_000_000])
def test_a_chunked_body_gets_a_length(start, n):
    """Small ones from memory, large ones from a file; nothing of them is lost, doubled or moved."""
    b, s = start(kind="unix")
    body = bytes(i * 31 % 251 for i in range(1000)) * (n // 1000) + b"z" * (n % 1000)
    with Client(s) as client:
        post(client, "/app/x", "Transfer-Encoding: chunked\r\n")
        for at in range(0, n, 70_001):
            piece = body[at:at + 70_001]
            client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        client.send("0\r\n\r\n")
        c = b.expect()
        assert c.params["CONTENT_LENGTH"] == str(n)
        assert c.read_body() == body
        c.answer("done")
        assert client.answer().body == b"done"


def test_a_request_without_a_body(start):
    """The stream of the body is there and empty, and no length is claimed."""
    b, s = start()
    with Client(s) as client:
        client.get("/app/x")
        c = b.expect()
        assert c.params.get("CONTENT_LENGTH", "0") in ("", "0")
        assert c.record() == (STDIN, 1, b"")
        c.is_body_done = True
        c.answer("done")
        assert client.answer().body == b"done"


def test_request_buffering_off(start):
    """Each part is at the backend before the client sends the next; the answer begins while the body goes on."""
    b, s = start(STREAMED.replace('"\n', '" flushpackets=on\n', 1))
    with Client(s) as client:
        post(client, "/app/x", "Content-Length: 15\r\n").send("hello")
        c = b.expect()
        assert c.params["CONTENT_LENGTH"] == "15"
        assert c.read_body(5) == b"hello"
        client.send("world")
        assert c.read_body(5) == b"world"
        c.out(HEAD + "first")
        assert client.head().status == 200 and client.chunk() == b"first"
        client.send("again")
        assert c.read_body() == b"again"
        c.send(record(STDOUT, "second"), end())
        assert client.chunk() == b"second" and client.chunk() == b""


def test_request_buffering_off_and_no_length(start):
    """A chunked body is collected all the same, so that there is a CONTENT_LENGTH; with proxy-sendchunked it streams without."""
    b, s = start(STREAMED)
    with Client(s) as slow, Client(s) as quick:
        post(slow, "/app/slow", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n")
        assert slow.head().status == 100
        slow.send("5\r\nhello\r\n")
        quick.get("/app/quick")
        c = b.expect()
        assert c.params["REQUEST_URI"] == "/app/quick"
        c.answer("done")
        slow.send("0\r\n\r\n")
        c = b.expect()
        assert c.params["CONTENT_LENGTH"] == "5" and c.read_body() == b"hello"


def test_proxy_sendchunked(start):
    b, s = start(STREAMED + "SetEnv proxy-sendchunked 1\n")
    with Client(s) as client:
        post(client, "/app/slow", "Transfer-Encoding: chunked\r\n").send("5\r\nhello\r\n")
        c = b.expect()
        assert "CONTENT_LENGTH" not in c.params and c.read_body(5) == b"hello"
        client.send("5\r\nworld\r\n0\r\n\r\n")
        assert c.read_body() == b"world"
        c.answer("done")
        assert client.answer().body == b"done"


@pytest.mark.parametrize("line", ['ProxyPass "/app/" "%s/"\n', STREAMED])
def test_neither_side_waits_for_the_other(serve, beside, line):
    """An application that writes all before it reads, and one that reads nothing at all."""
    app = beside(applications.FcgiApp("unix"))
    s = serve(line % app.url)
    n = 6_000_000
    body = b"x" * n
    answer = s.request("POST", "/app/x?" + query(stream=n, text="sum ") + "&sum", body=body)
    assert answer.status == 200 and answer.body[n:n + 11] == b"sum %d" % n
    answer = s.request("POST", "/app/x?" + query(text="not interested"), body=body)
    assert (answer.status, answer.body) == (200, b"not interested")


def test_too_large_a_body_never_reaches_the_application(start):
    b, s = start('LimitRequestBody 1000\nProxyPass "/app/" "%s/"\n')
    for fields, body in (("Content-Length: 1001\r\n", "x" * 1001), ("Transfer-Encoding: chunked\r\n", "3e9\r\n%s\r\n0\r\n\r\n" % ("x" * 1001))):
        with Client(s) as client:
            assert post(client, "/app/x", fields).send(body).answer().status == 413
    assert b.is_idle()


# ---- answers ----

@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_slow_client_does_not_hold_the_application(start, kind):
    """The backend has written all of a large answer and sees the end of the connection; then the client begins to read."""
    b, s = start(kind=kind)
    n, piece = 20_000_000, bytes(i * 13 % 251 for i in range(50_000))
    with Client(s, receive_buffer=4096) as client:
        client.get("/app/x", version="1.0")
        c = b.expect()
        c.read_body()
        c.out(HEAD)
        for _ in range(n // len(piece)):
            c.out(piece)
        c.send(record(STDOUT), end())
        assert c.rest() == []  # nobody has read a byte of it yet
        assert b" 200 " in client._until(b"\r\n\r\n")
        for i in range(n // len(piece)):
            assert client.read_exactly(len(piece)) == piece, i
        assert client.is_closed()


def test_one_process_and_many_slow_clients(serve, beside):
    """All are run, one behind the other, by the one process of an application, and then they read."""
    app = beside(applications.FcgiApp("unix"))
    s = serve('ProxyPass "/app/" "%s/"\n' % app.url)
    clients = [Client(s, receive_buffer=4096) for _ in range(4)]
    for i, client in enumerate(clients):
        client.get("/app/x?" + query(stream=3_000_000, mark="done%d" % i))
        wait_until("it is run", lambda i=i: app.words() == ["done%d" % k for k in range(i + 1)])
    assert s.get("/app/x?" + query(text="quick")).body == b"quick"
    sizes = [len(client.answer().body) for client in clients]
    assert sizes == [3_000_000] * 4
    for client in clients:
        client.s.close()


def test_flushpackets_on(start):
    """Each piece is at the client before the backend writes the next; the head too, without a body."""
    b, s = start('ProxyPass "/app/" "%s/" flushpackets=on\n')
    with Client(s) as client:
        client.get("/app/x")
        c = b.expect()
        c.out(HEAD)
        assert client.head()["Transfer-Encoding"] == "chunked"
        for i in range(5):
            c.out("piece %d" % i)
            assert client.chunk() == b"piece %d" % i
        c.send(record(STDOUT), end())
        assert client.chunk() == b""


def test_flushpackets_auto(start):
    """What has come is handed on when the backend pauses."""
    b, s = start('ProxyPass "/app/" "%s/" flushpackets=auto\n')
    with Client(s) as client:
        client.get("/app/x")
        c = b.expect()
        for i in range(3):
            c.send(record(STDOUT, (HEAD if i == 0 else "") + "one"), record(STDOUT, " and two"))
            if i == 0:
                assert client.head()["Transfer-Encoding"] == "chunked"
            found = b""
            while len(found) < 11:
                found += client.chunk()
            assert found == b"one and two"
        c.send(record(STDOUT), end())
        assert client.chunk() == b""


def test_without_flushpackets(start):
    """Pieces are gathered: a short answer has a length, though it was written in ten parts."""
    b, s = start()
    with Client(s) as client:
        client.get("/app/x")
        c = b.expect()
        for piece in (HEAD[:5], HEAD[5:], "a", "b", "c", "d", "e", "f"):
            c.out(piece)
        c.send(record(STDOUT), end())
        a = client.answer()
        assert (a.body, a["Content-Length"], a["Transfer-Encoding"]) == (b"abcdef", "6", None)


def test_an_answer_byte_by_byte(start):
    """Records may be cut anywhere, and padded."""
    b, s = start()
    whole = b"".join([record(STDOUT, HEAD, padding=255), record(7, "a word\n", padding=3), record(STDOUT, "body", padding=1),
                      record(11, b"\x63" + bytes(7), number=0), record(10, b"", number=0, padding=7), record(STDOUT), end()])
    with Client(s) as client:
        for step in (1, 7, 9):
            client.get("/app/x")
            c = b.expect()
            for at in range(0, len(whole), step):
                c.send(whole[at:at + step])
            assert client.answer().body == b"body"
    logged(s, "a word", b.name)


@pytest.mark.parametrize("close", [True, False])
def test_the_end_of_the_output_is_the_end(start, close):
    """An application that ends its output and then the connection, or dies, has answered all there was."""
    b, s = start()
    with Client(s) as client:
        client.get("/app/x")
        c = b.expect()
        c.read_body()
        c.send(record(STDOUT, HEAD + "all of it"), record(STDOUT))
        if close:
            c.close()
        else:
            c.hang_up()
        a = client.answer()
        assert (a.status, a.body, a["Content-Length"]) == (200, b"all of it", "9")


# ---- who leaves ----

def test_a_client_that_leaves_is_not_worked_for(serve, beside):
    """The application is told by ABORT_REQUEST."""
    app = beside(applications.FcgiApp("tcp"))
    s = serve('ProxyPass "/app/" "%s/"\nProxyPass "/kept/" "%s/k/" enablereuse=on\n' % (app.url, app.url))
    for i, place in enumerate(("app", "kept")):
        with Client(s) as client:
            client.get("/%s/x?mark=began&awaitabort" % place)
            wait_until("it works", lambda i=i: app.words() == ["began", "aborted"] * i + ["began"])
        wait_until("it was told", lambda i=i: app.words() == ["began", "aborted"] * (i + 1))
    assert s.get("/app/x?text=fine").body == b"fine"


def leave_while_waiting(client, c):
    client.s.close()


def leave_in_the_answer(client, c):
    c.out(HEAD + "first")
    assert client.head().status == 200 and client.chunk() == b"first"
    client.s.close()


def torn_in_the_answer(client, c):
    c.out(HEAD + "first")
    assert client.head().status == 200
    client.reset()


@pytest.mark.parametrize("leave", [leave_while_waiting, leave_in_the_answer, torn_in_the_answer])
def test_abort_is_the_last_word(start, leave):
    """ABORT_REQUEST and the end of the connection, and what the application still says is nobody's. Nobody says that it broke off."""
    b, s = start('ProxyPass "/app/" "%s/" flushpackets=on enablereuse=on\n')
    client = Client(s).get("/app/x")
    c = b.expect()
    c.read_body()
    leave(client, c)
    assert c.rest() == [ABORT]
    with Client(s) as client:
        client.get("/app/y")
        c = b.expect()
        assert c.params["REQUEST_URI"] == "/app/y"
        c.answer("fine")
        assert client.answer().body == b"fine"
    assert "MU1209" not in s.error_log()


def test_a_client_that_has_finished_sending(start):
    """… has not left: it gets its answer, before the head and in the middle of it."""
    b, s = start('ProxyPass "/app/" "%s/" flushpackets=on\n')
    for version in ("1.1", "1.0"):
        with Client(s) as client, Client(s) as other:
            client.get("/app/x", version=version).finish()
            c = b.expect()
            c.read_body()
            other.get("/app/other")
            b.expect().answer("other")
            assert other.answer().body == b"other" and c.is_open() and not c.is_readable()
            c.out(HEAD + "first")
            head = client._until(b"\r\n\r\n")
            assert b" 200 " in head
            c.send(record(STDOUT, " last"), record(STDOUT), end())
            assert (client._chunked() if version == "1.1" else client.rest()) == b"first last"


def test_half_a_body_is_never_a_whole_one(start):
    """A client that leaves in the middle of a streamed body: the application sees an abort, not the end of the body."""
    b, s = start(STREAMED)
    client = post(Client(s), "/app/x", "Content-Length: 10\r\n").send("hello")
    c = b.expect()
    assert c.read_body(5) == b"hello"
    client.s.close()
    assert c.rest() == [ABORT]


def test_half_a_body_is_never_executed(start):
    """… and of a collected one nothing reaches the application."""
    b, s = start()
    for fields, part in (("Content-Length: 10\r\n", "hello"), ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
                         ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\nnonsense\r\n")):
        with Client(s) as client:
            post(client, "/app/half", "Expect: 100-continue\r\n" + fields)
            assert client.head().status == 100
            client.send(part).finish()
            client.rest()
    with Client(s) as client:
        client.get("/app/next")
        c = b.expect()
        assert c.params["REQUEST_URI"] == "/app/next"
        c.answer("fine")
        assert client.answer().body == b"fine"
    assert b.is_idle()


def test_a_client_that_leaves_an_answer_in_the_spool(start):
    """The backend was done long ago; the answer goes, and the server is as before."""
    b, s = start()
    for _ in range(3):
        client = Client(s, receive_buffer=4096).get("/app/x")
        c = b.expect()
        c.read_body()
        for i in range(100):
            c.out((HEAD if i == 0 else "") + "x" * 60_000)
        c.send(record(STDOUT), end())
        assert c.rest() == []
        client.head()
        client.s.close()
    with Client(s) as client:
        client.get("/app/y")
        b.expect().answer("fine")
        assert client.answer().body == b"fine"
    assert not log_lines(s, ":crit]") and not log_lines(s, ":alert]")


def test_many_at_once(start):
    """Sixteen clients, sixteen conversations, answered in the opposite order."""
    b, s = start('<IfModule mpm_prefork_module>\nStartServers 20\n</IfModule>\nProxyPass "/app/" "%s/"\n')
    clients = {}
    for i in range(16):
        clients["/app/%d" % i] = Client(s).get("/app/%d" % i)
    talks = [b.expect() for _ in clients]
    assert {c.params["REQUEST_URI"] for c in talks} == set(clients)
    for c in reversed(talks):
        path = c.params["REQUEST_URI"]
        c.answer("for " + path)
        assert clients[path].answer().body == b"for " + path.encode()
        clients[path].s.close()


def test_an_application_that_reads_slowly(start):
    """A large body waits for it, without a byte lost, while others are served."""
    b, s = start(STREAMED)
    body = bytes(i * 7 % 253 for i in range(3_000_000))
    with Client(s) as client, Client(s) as other:
        post(client, "/app/x", "Content-Length: %d\r\n" % len(body))
        sender = threading.Thread(target=client.send, args=(body,))
        sender.start()
        with contextlib.ExitStack() as stack:
            stack.callback(sender.join)
            c = b.expect()
            for i in range(3):
                other.get("/app/other")
                o = b.expect()
                assert o.params["REQUEST_URI"] == "/app/other"
                o.answer("quick")
                assert other.answer().body == b"quick"
                assert c.read_body(1000) == body[i * 1000:i * 1000 + 1000]
            assert c.read_body() == body[3000:]
        c.send(reply("done"))
        assert client.answer().body == b"done"
        assert not select.select([client.s], [], [], 0)[0]
