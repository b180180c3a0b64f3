"""Clients that are too slow: heads, bodies and answers; and what others notice of it."""
import harness
from rawclient import TESTMUX, Client

FILES = {"index.html": "hello\n", "a.txt": "first\n"}
LOG = 'LogFormat "%>s %X %r" state\nCustomLog "{root}/logs/access.log" state\n'


def access_log(server):
    with open(server.path("logs", "access.log")) as f:
        return f.read()


def test_slow_head(serve):
    server = serve("RequestReadTimeout header=2 body=0\n" + LOG, files=FILES)
    with (Client(server) as silent, Client(server).send("GET /a.txt HTTP/1.1\r\nX: ") as slow,
          Client(server).send("GE") as dribbling):
        a = slow.answer()
        assert (a.status, a["Connection"]) == (408, "close")
        assert slow.is_closed()
        assert dribbling.answer().status == 408
        assert silent.is_closed()  # who says nothing is told nothing
    assert server.get("/a.txt").body == b"first\n"


def test_slow_head_on_a_kept_connection(serve):
    server = serve("RequestReadTimeout header=2 body=0\nKeepAliveTimeout 60\n", files=FILES)
    with Client(server) as c:
        assert c.get("/a.txt").answer().status == 200
        assert c.send("GET /a.txt HTTP/1.1\r\n").answer().status == 408
        assert c.is_closed()


def test_slow_body(serve):
    server = serve("RequestReadTimeout header=0 body=1\n" + TESTMUX + LOG +
                   '<Location "/forbidden">\nRequire all denied\n</Location>\n', files=FILES)
    with Client(server) as c:
        c.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
        assert c.answer().status == 408
        assert c.is_closed()
    with Client(server) as c:
        c.send("POST /forbidden HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123")
        assert c.answer().status == 403  # at once; the body that nobody wants is waited for as long as the others
        assert c.is_closed()


def test_time_out_for_the_head_without_reqtimeout(serve):
    server = serve("RequestReadTimeout header=0 body=0\nTimeOut 1\n", files=FILES)
    with Client(server) as c:
        assert c.send("GET /a.t").answer().status == 408
        assert c.is_closed()


def test_a_client_that_does_not_read(serve):
    server = serve("TimeOut 1\n" + LOG, files=dict(FILES, large=b"x" * 50_000_000))
    with Client(server, receive_buffer=4096) as c:
        c.get("/large")
        harness.wait_until("the answer is given up", lambda: "200 X GET /large" in access_log(server))
        assert server.get("/a.txt").body == b"first\n"


def test_an_answer_is_logged_when_it_is_out(serve):
    server = serve(LOG, files=dict(FILES, large=b"x" * 20_000_000))
    with Client(server, receive_buffer=4096) as c:
        c.get("/large")
        c.head()
        assert "GET /large" not in access_log(server)
        c.read_exactly(20_000_000)
        harness.wait_until("the line is there", lambda: "200 + GET /large" in access_log(server))
