"""The FastCGI client and backends that are not there, silent, or hostile: what the client is told, what the log says, and that
nothing of it touches anybody else."""
import contextlib
import os
import socket
import struct
import threading

import pytest

from fcgi_backend import (ABORT, BEGIN, CLIENT, CLIENT_DONE, DATA, END, GET_VALUES, HEAD, ONE_CHILD, PARAMS, STDERR, STDIN, STDOUT,
                          TAKE_CLIENT, UNKNOWN, VALUES, Backend, end, log_lines, logged, record)
from harness import free_ports, unprivileged, wait_until
from rawclient import Client

PASS = 'ProxyPass "/app/" "%s/" %s\n'


@pytest.fixture
def start(serve, beside):
    """start(parameters) serves /app/ by a backend."""
    def run(parameters="retry=0", kind="tcp", config="", **kwargs):
        b = beside(Backend(kind, **kwargs))
        return b, serve(ONE_CHILD + config + PASS % (b.url, parameters))
    return run


def still_serves(s, b, client=None, last=None):
    """The next request is answered as ever, on the same connection if that goes on behind the `last` answer."""
    with contextlib.ExitStack() as stack:
        if last and last["Connection"] == "close":  # behind a 500 or 503, as in httpd
            assert client.is_closed()
            client.s.close()
            client = None
        client = client or stack.enter_context(Client(s))
        client.get("/app/next")
        c = b.expect()
        c.answer("as ever")
        assert client.answer().body == b"as ever"
        assert client.get("/index.html").answer().body == b"hello\n"


# ---- no connection ----

def test_nobody_listens(serve, beside):
    """503, and a line that names the backend and says why, for each way not to be there."""
    port, folder = free_ports(1)[0], beside(Backend("unix"))
    taken = [socket.socket(family) for family in (socket.AF_INET, socket.AF_INET6)]
    for s, host in zip(taken, ("127.0.0.1", "::1")):
        s.bind((host, port))  # so that nobody else will listen there
    stale = os.path.join(folder.folder, "stale")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(stale)
    os.chmod(stale, 0o666)
    with open(os.path.join(folder.folder, "file"), "w"):
        pass
    os.chmod(os.path.join(folder.folder, "file"), 0o666)
    cases = {
        "tcp": ("fcgi://127.0.0.1:%d" % port, "Connection refused", "is the application running"),
        "tcp6": ("fcgi://[::1]:%d" % port, "Connection refused", "is the application running"),
        "name": ("fcgi://localhost:%d" % port, "Connection refused", "is the application running"),
        "none": ("unix:%s/none|fcgi://localhost" % folder.folder, "No such file", "the path"),
        "stale": ("unix:%s|fcgi://localhost" % stale, "Connection refused", "ended"),
        "file": ("unix:%s/file|fcgi://localhost" % folder.folder, "Connection refused", ""),
        "deep": ("unix:%s/file/x|fcgi://localhost" % folder.folder, "Not a directory", ""),
    }
    s = serve("".join('ProxyPass "/%s/" "%s/" retry=0\n' % (name, case[0]) for name, case in cases.items()))
    for name, (url, why, hint) in cases.items():
        assert s.request("POST", "/%s/x" % name, body="abc").status == 503, name
        where = url.partition("|")[0]
        assert hint in logged(s, "[proxy:error]", "[client 127.0.0.1:", where, why), name
    assert s.get("/").body == b"hello\n"
    for t in taken:
        t.close()


@pytest.mark.skipif(not unprivileged(), reason="the server's children are whoever runs the tests")
def test_a_socket_that_the_server_may_not_use(start):
    b, s = start(kind="unix")
    os.chmod(b.path, 0o600)
    assert s.get("/app/x").status == 503
    assert "listen.owner" in logged(s, b.path, "Permission denied")
    os.chmod(b.path, 0o666)
    still_serves(s, b)


def test_a_name_that_nobody_knows(serve):
    s = serve(PASS % ("fcgi://no-such-host.invalid:9000", "retry=0"))
    assert s.get("/app/x").status == 502
    logged(s, "[proxy:error]", "fcgi://no-such-host.invalid:9000")


@pytest.mark.parametrize("kind,status", [("unix", 503), ("tcp", 504)])
def test_a_queue_that_is_full(start, kind, status):
    """The backend accepts nobody: who finds no room is told so after connectiontimeout, and the others are served."""
    b, s = start("retry=0 connectiontimeout=1", kind, backlog=0)
    crowd = []
    while len(crowd) < 16:  # until the queue takes no more
        f = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
        crowd.append(f)
        f.setblocking(False)
        if f.connect_ex(b.path if kind == "unix" else ("127.0.0.1", b.port)) == 11:
            break
    assert s.get("/app/x").status == status
    logged(s, "[proxy:error]", b.name, "processes are busy" if kind == "unix" else "connectiontimeout=")
    for f in crowd:
        f.close()
    b.stop_listening()


def test_one_that_was_away_is_left_alone_for_a_while(start):
    """retry=: it is not asked again, the client is told when to come back; with retry=0 it is asked at once."""
    for retry, is_asked in (("retry=60", False), ("retry=0", True), ("retry=60 status=+I", True)):
        b, s = start(retry, "unix")
        os.rename(b.path, b.path + ".away")
        a = s.get("/app/x")
        assert a.status == 503 and (a.headers["Retry-After"] is not None) == (not is_asked)
        os.rename(b.path + ".away", b.path)
        if is_asked:
            still_serves(s, b)
            continue
        a = s.get("/app/x")
        assert a.status == 503 and 0 < int(a.headers["Retry-After"]) <= 60 and b.is_idle()
        logged(s, b.name, "retry=")
        assert s.get("/").body == b"hello\n"


def test_one_that_is_switched_off(start):
    b, s = start("status=+D")
    assert s.get("/app/x").status == 503 and b.is_idle()
    logged(s, b.name, "status=")


# ---- no answer ----

@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_closed_without_a_word(start, how, reads, kind):
    b, s = start(kind=kind)
    with Client(s) as client:
        client.get("/app/x", "Content-Length: 3\r\n", "POST").send("abc")
        c = b.accept()
        if reads:
            c.request()
            c.read_body()
        getattr(c, how)()
        assert client.answer().status == 502
        logged(s, "[proxy_fcgi:error]", b.name, "without a word")
        still_serves(s, b, client)
    assert b.is_idle()  # a new connection is not tried again


def test_closed_before_a_large_body_was_read(start):
    b, s = start()
    with Client(s) as client:
        client.get("/app/x", "Content-Length: 3000000\r\n", "POST").send(b"x" * 3_000_000)
        c = b.expect()
        c.read_body(1000)
        c.close()
        assert client.answer().status == 502
        still_serves(s, b, client)


ENDED = [
    ([record(STDOUT, "Content-Ty")], 502), ([record(STDOUT, HEAD)], 502), ([record(STDOUT, HEAD + "some")], 502),
    ([record(STDERR, "oh\n")], 502), ([record(STDOUT, HEAD + "some")[:-2]], 502), ([record(STDOUT, HEAD)[:5]], 502),
    ([record(STDOUT, "Content-Length: 100\r\n" + HEAD + "some"), record(STDOUT), end()], 502),
    ([record(STDOUT), end()], 500), ([end()], 500), ([record(STDOUT, "Content-Type: text/plain"), end()], 500),
    ([record(STDOUT, "Content-Length: 4\r\n" + HEAD + "some")], 200)]


def test_ended_in_the_middle(start):
    """What is not whole is an error; what was announced and came is whole, however it ends."""
    b, s = start(kind="unix")
    for parts, status in ENDED:
        with Client(s) as client:
            client.get("/app/x")
            c = b.expect()
            c.read_body()
            c.send(*parts).close()
            a = client.answer()
            assert a.status == status and (b"some" in a.body) == (status == 200), parts
            still_serves(s, b, client, a)
    logged(s, ":error]", b.name, "of the head")
    wait_until("each is in the log", lambda: len(log_lines(s, ":error]")) >= len(ENDED) - 1)


def test_ended_when_a_part_was_at_the_client(start):
    """It cannot be called back: the client sees that it is not complete."""
    b, s = start("flushpackets=on")
    for version in ("1.1", "1.0"):
        with Client(s) as client:
            client.get("/app/x", version=version)
            c = b.expect()
            c.out(HEAD + "first")
            if version == "1.1":
                assert client.head().status == 200 and client.chunk() == b"first"
                c.close()
                assert client.is_closed()
            else:
                client._until(b"\r\n\r\n")
                assert client.read_exactly(5) == b"first"
                c.close()
                with pytest.raises(ConnectionResetError):  # HTTP/1.0 has no other way to tell
                    client.rest()
    assert "middle of its answer" in logged(s, "[proxy_fcgi:error]", b.name)
    still_serves(s, b)


@pytest.mark.parametrize("parts", [[], [record(STDERR, "busy\n")], [record(STDOUT, "Content-")]])
def test_silent_for_too_long(start, parts):
    """504 while the backend still holds the request; it is told to stop."""
    b, s = start("timeout=3")
    with Client(s) as client:
        client.get("/app/x")
        c = b.expect()
        c.read_body()
        c.send(*parts)
        assert client.answer().status == 504
        assert "timeout=" in logged(s, "[proxy_fcgi:error]", b.name, "no word")
        assert c.rest() == [ABORT]
        still_serves(s, b, client)


def test_silent_in_the_middle_of_an_answer(start):
    b, s = start("flushpackets=on", config="ProxyTimeout 3\n")
    with Client(s) as client:
        client.get("/app/x")
        c = b.expect()
        c.read_body()
        c.out(HEAD + "first")
        assert client.head().status == 200 and client.chunk() == b"first"
        assert client.is_closed()
        assert c.rest() == [ABORT]
    still_serves(s, b)


def test_never_accepted(start):
    """The kernel took the connection, the backend never does: all of its processes are busy."""
    b, s = start("timeout=3")
    with Client(s) as client:
        client.get("/app/x")
        assert client.answer().status == 504
        logged(s, "[proxy_fcgi:error]", b.name, "all its processes")
        c = b.accept()
        still_serves(s, b, client)
        assert not c.is_open() or c.rest()[-1:] == [ABORT]


def test_takes_nothing_of_a_large_body(start):
    b, s = start("timeout=3")
    with Client(s) as client:
        client.get("/app/x", "Content-Length: 20000000\r\n", "POST").send(b"x" * 20_000_000)
        b.accept()
        assert client.answer().status == 504
        logged(s, "[proxy_fcgi:error]", b.name)
        still_serves(s, b, client)


# ---- something else than FastCGI ----

def test_a_web_server_at_the_address(serve):
    """The commonest mistake: the log says what speaks there."""
    other = serve()
    s = serve(ONE_CHILD + PASS % ("fcgi://127.0.0.1:%d" % other.port, "retry=0 timeout=10"))
    assert s.request("POST", "/app/x", body="\r\n\r\n").status == 502
    logged(s, "[proxy_fcgi:error]", "127.0.0.1:%d" % other.port, "HTTP")


# name: (what is sent, a word of the log line)
HOSTILE = {
    "version 0": ([record(STDOUT, HEAD + "evil", version=0)], "version 1"),
    "version 2": ([record(STDOUT, HEAD + "evil", version=2)], "version 1"),
    "a later record of version 9": ([record(STDERR, "x\n"), record(STDOUT, HEAD, version=9)], "version 1"),
    "a line of text": ([b"hello, this is no FastCGI\r\n"], "version 1"),
    "another protocol": ([b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"], "version 1"),
    "noughts": ([bytes(100_000)], "version 1"),
    "ones": ([b"\xff" * 100_000], "version 1"),
    "its own request": ([record(BEGIN, b"\0\1\1\0\0\0\0\0")], "type"),
    "parameters": ([record(PARAMS, b"\1\1ab")], "type"),
    "a body": ([record(STDIN, "evil")], "type"),
    "an abort": ([record(ABORT)], "type"),
    "data": ([record(DATA, "evil")], "type"),
    "a question": ([record(GET_VALUES, b"\x0e\0FCGI_MAX_CONNS", number=0)], "type"),
    "type 0": ([record(0)], "type"),
    "type 12": ([record(12, "evil")], "type"),
    "type 255": ([record(255, "evil")], "type"),
    "the client, unasked": ([record(CLIENT, bytes(8))], "type"),
    "output for nobody": ([record(STDOUT, HEAD + "evil", number=0)], "not sent"),
    "output for another": ([record(STDOUT, HEAD + "evil", number=2)], "not sent"),
    "output for the last": ([record(STDOUT, HEAD + "evil", number=65535)], "not sent"),
    "words for another": ([record(STDERR, "evil", number=2)], "not sent"),
    "another's end": ([record(STDOUT, HEAD + "evil"), end(number=2)], "not sent"),
    "management with an id": ([record(UNKNOWN, bytes(8))], "management"),
    "values with an id": ([record(VALUES, b"", number=1)], "management"),
    "an empty end": ([record(STDOUT, HEAD + "evil"), record(STDOUT), record(END)], "8 bytes"),
    "a short end": ([record(END, bytes(7))], "8 bytes"),
    "a long end": ([record(END, bytes(9))], "8 bytes"),
    "the longest end": ([record(END, bytes(65535))], "8 bytes"),
    "a status that is none": ([end(protocol=4)], "protocol status"),
    "the last status": ([end(protocol=255)], "protocol status"),
    "output behind its end": ([record(STDOUT, HEAD), record(STDOUT), record(STDOUT, "evil")], "behind the end"),
    "the client's socket, not offered": ([record(TAKE_CLIENT)], "type"),
    "a report, not offered": ([record(CLIENT_DONE, bytes(16))], "type"),
}


def test_hostile_records(start):
    """Each is a 502 with the reason in the log, its connection is closed, and the next request is answered as ever."""
    for kind in ("tcp", "unix"):
        b, s = start("retry=0 enablereuse=on", kind)
        with Client(s) as client:
            for i, (name, (parts, word)) in enumerate(HOSTILE.items()):
                client.get("/app/%d" % i)
                c = b.accept() if not b.conversations or not b.conversations[-1].is_open() else b.conversations[-1]
                c.request()
                c.read_body()
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the first bytes can be enough
                    c.send(*parts)
                a = client.answer()
                assert a.status == 502 and b"evil" not in a.body, (name, a)
                assert c.rest() == [], name
                still_serves(s, b, client)
        lines = [line for line in log_lines(s, "[proxy_fcgi:error]") if "says: " not in line]
        assert len(lines) == len(HOSTILE)
        for line, (name, (_, word)) in zip(lines, HOSTILE.items()):
            assert word in line and b.name in line, (name, line)
        s.stop()


TOLERATED = {
    "padding everywhere": [record(STDERR, "", padding=255), record(STDOUT, HEAD, padding=255), record(STDOUT, "good", padding=7),
                           record(STDOUT, "", padding=1), record(END, bytes(8), padding=255)],
    "no end of the output": [record(STDOUT, HEAD + "good"), end()],
    "management": [record(UNKNOWN, b"\x63" + bytes(7), number=0), record(VALUES, b"", number=0), record(VALUES, b"\x0f\x01FCGI_MPXS_CONNS0", number=0),
                   record(STDOUT, HEAD + "good"), end()],
    "a reserved byte": [record(STDOUT, HEAD + "good")[:7] + b"\xff" + record(STDOUT, HEAD + "good")[8:], end()],
    "bytes in the end that mean nothing": [record(STDOUT, HEAD + "good"), record(END, struct.pack(">IB", 0, 0) + b"\xff\xff\xff")],
    "many small records": [record(STDOUT, byte) for byte in HEAD + "good"] + [end()],
    "a thousand empty lines of stderr": [record(STDERR) for _ in range(1000)] + [record(STDOUT, HEAD + "good"), end()],
}


def test_what_is_odd_and_allowed(start):
    b, s = start("enablereuse=on")
    with Client(s) as client:
        client.get("/app/x")
        c = b.accept()
        for name, parts in TOLERATED.items():
            c.request()
            c.read_body()
            c.send(*parts)
            a = client.answer()
            assert (a.status, a.body) == (200, b"good"), name
            client.get("/app/x")  # all on one connection
        c.request()
        c.answer("last")
        assert client.answer().body == b"last"
    assert not log_lines(s, "[proxy_fcgi:error]")


@pytest.mark.parametrize("what", ["a line", "fields", "a folded field", "stdout of one byte"])
def test_a_head_without_end(start, what):
    """It is refused at some point, and the backend is not read for ever."""
    b, s = start()
    piece = {"a line": b"x" * 60_000, "fields": b"X-Field: value\r\n" * 3000, "a folded field": b" y\r\n" * 3000, "stdout of one byte": b"x"}[what]
    with Client(s) as client:
        client.get("/app/x")
        c = b.expect()
        c.read_body()
        c.out("X-First: 1\r\n" if what == "a folded field" else "X")
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while True:
                c.send(record(STDOUT, piece) if what != "stdout of one byte" else record(STDOUT, piece) * 4000)
                sent += len(piece)
                assert sent < 50_000_000, "it reads on and on"
        a = client.answer()
        assert a.status in (500, 502)
        logged(s, ":error]", b.name)
        still_serves(s, b, client, a)


def test_a_body_without_end_that_nobody_wants(start):
    """Behind a redirect nothing more is read than it takes to be polite."""
    b, s = start()
    with Client(s) as client:
        client.get("/app/x")
        c = b.expect()
        c.read_body()
        c.out("Location: https://example.org/\r\n\r\n")
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while True:
                c.out(b"x" * 60_000)
                sent += 60_000
                assert sent < 50_000_000, "it reads on and on"
        a = client.answer()
        assert (a.status, a["Location"]) == (302, "https://example.org/")
        still_serves(s, b, client)


def test_a_hostile_backend_beside_a_good_one(serve, beside):
    """While one resets, floods and dribbles, requests to the other and to files are answered."""
    good, evil = beside(Backend()), beside(Backend())
    s = serve('ProxyPass "/good/" "%s/"\nProxyPass "/evil/" "%s/" retry=0\n' % (good.url, evil.url))
    ends, over, statuses = threading.Event(), threading.Event(), []

    def play_evil():
        for i in range(1 << 30):
            with contextlib.suppress(OSError, AssertionError, TypeError):
                c = evil.accept()
                if over.is_set():
                    return
                if i % 2:
                    c.request()
                c.send((b"\xff" * 1000, record(STDOUT, "x" * 60_000), record(STDOUT, HEAD, number=7), end(protocol=9))[i % 4])
                c.reset() if i % 3 else c.close()

    def play_good():
        while True:
            c = good.accept()
            if over.is_set():
                return
            c.request()
            c.answer("good")

    def ask_evil():
        while not ends.is_set():
            statuses.append(s.get("/evil/x").status)

    askers = [threading.Thread(target=ask_evil) for _ in range(2)]
    players = [threading.Thread(target=f) for f in (play_evil, play_good)]
    for t in players + askers:
        t.start()
    try:
        client = s.client()
        for i in range(150):
            client.request("GET", "/good/x" if i % 3 else "/index.html")
            answer = client.getresponse()
            assert (answer.status, answer.read()) == (200, b"good" if i % 3 else b"hello\n")
        client.close()
    finally:
        ends.set()
        for t in askers:
            t.join()
        over.set()
        for b in (good, evil):
            socket.create_connection(("127.0.0.1", b.port)).close()
        for t in players:
            t.join()
    assert statuses and set(statuses) <= {500, 502, 503}
