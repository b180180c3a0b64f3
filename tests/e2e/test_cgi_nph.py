"""nph- scripts: over plain HTTP/1 the client's own socket is the script's standard output, and the server out of the way.

Where bytes of the client's lie in the server, or several exchanges share a connection, the script writes to a pipe and
what it writes is relayed. An example of each looks at descriptor 1 from within and says so by a note.
"""
import os
import re
import select
import zlib

import pytest

import harness
from cgiscripts import sum_of_rest
from harness import wait_until
from rawclient import TESTMUX
from test_cgi_answer import numbered
from test_mux import Mux

MIB = 1 << 20
HEAD = "HTTP/1.1 299 Odd one\\r\\nX-Strange:yes\\r\\nTransfer-Encoding: never\\n\\n"
# What descriptor 1 is, and for whom.
LOOK = """
mode, flags = os.fstat(1).st_mode, fcntl.fcntl(1, fcntl.F_GETFL)
try:
    peer = "%d" % socket.socket(fileno=os.dup(1)).getpeername()[1]
except OSError:
    peer = "none"
note("stdout is %s, peer %s, %s" % ("a socket" if stat.S_ISSOCK(mode) and peer != "none" else "not the client", peer,
                                    "non-blocking" if flags & os.O_NONBLOCK else "blocking"))
"""


def port_of(client):
    return client.s.getsockname()[1]


def handed_over(client):
    return "stdout is a socket, peer %d, blocking" % port_of(client)


def test_the_bytes_are_the_scripts_and_so_is_the_socket(cgi):
    """Not a byte is added, changed or taken away; the connection closes behind them, whatever the client wishes."""
    s = cgi('CustomLog "{root}/logs/access.log" "%r|%>s|%X"\n')
    s.python("nph-odd", LOOK + 'out("%s")\nout(bytes(range(256)))\n' % HEAD)
    for fields, version in (("Connection: keep-alive\r\n", "1.1"), ("", "1.1"), ("", "1.0")):
        c = s.ask("/cgi/nph-odd/info?q", fields, version=version)
        assert c.rest() == HEAD.encode().decode("unicode_escape").encode() + bytes(range(256))
        s.await_note(handed_over(c))
    lines = s.access(3)
    assert [line.split("|")[0] for line in lines] == ["GET /cgi/nph-odd/info?q HTTP/1.1"] * 2 + ["GET /cgi/nph-odd/info?q HTTP/1.0"]
    assert {line.split("|")[2] for line in lines} <= {"-", "X"}, "none was kept"


def test_exactly_three_descriptors(cgi):
    s = cgi(files={"index.html": "hello\n", "a.html": "x" * 5000})
    s.python("nph-fds", 'gate("go")\nout("HTTP/1.0 200 OK\\r\\n\\r\\n")\nfor fd in sorted(map(int, os.listdir("/proc/self/fd"))):\n'
                        '    try:\n        out("%d %d\\n" % (fd, os.fstat(fd).st_ino))\n    except OSError:\n        pass\n')
    s.gate("go")
    others = [s.ask("/a.html") for _ in range(10)] + [s.ask("/cgi/nph-fds") for _ in range(4)]
    s.open_gate("go")
    answers = [c.rest().decode() for c in others[10:]]
    for text in answers:
        assert re.fullmatch(r"HTTP/1\.0 200 OK\r\n\r\n0 \d+\n1 \d+\n2 \d+\n", text), text
    assert len({re.search(r"^1 (\d+)", text, re.M)[1] for text in answers}) == 4


def test_output_comes_as_it_is_produced(cgi):
    s = cgi()
    s.sh("nph-lines", 'printf "HTTP/1.1 200 OK\\r\\n\\r\\none\\n"; gate one; note past; echo two\n')
    s.gate("one")
    c = s.ask("/cgi/nph-lines")
    assert c._until(b"\r\n\r\n") == b"HTTP/1.1 200 OK" and c.read_exactly(4) == b"one\n"
    assert s.notes() == []
    s.open_gate("one")
    assert c.rest() == b"two\n"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_ten_megabytes_while_its_stdin_is_still_arriving(cgi, framing):
    """Blocking writes of 10 MiB to the socket from which the server still reads the script's body."""
    s = cgi()
    s.c("nph-much", r"""
    static char block[65536];
    unsigned long long n = 0, sum = 0;
    ssize_t k;
    char b[65536], line[100];
    say("HTTP/1.1 200 OK\r\n\r\n");
    k = read(0, b, 6);
    note(k == 6 && !memcmp(b, "first\n", 6) ? "has first" : "has not");
    for (int i = 0; i < 160; i++) {
        memset(block, 'a' + i % 26, sizeof block);
        out(block, sizeof block);
    }
    note("wrote");
    while ((k = read(0, b, sizeof b)) > 0)
        for (ssize_t i = 0; i < k; i++)
            n++, sum = sum * 31 + (unsigned char)b[i];
    if (k < 0) note(strerrorname_np(errno));
    snprintf(line, sizeof line, "%llu %llu", n, sum & 0xffffffff);
    say(line);
    return 0;""")
    chunked = framing == "chunked"
    body = numbered(3 * MIB)
    c = s.client(receive_buffer=65536)
    c.get("/cgi/nph-much", "Transfer-Encoding: chunked\r\n" if chunked else "Content-Length: %d\r\n" % (len(body) + 6), "POST")
    c.send(b"6\r\nfirst\n\r\n" if chunked else b"first\n")
    s.await_note("has first")

    def part(data):
        c.send(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)

    part(body[:1000])
    assert c._until(b"\r\n\r\n") == b"HTTP/1.1 200 OK"
    # Half of the body is sent while half of the output is read, then the rest of the output, then of the body.
    sender = s.background(part, body[1000:20000])
    expected = b"".join(bytes([97 + i % 26]) * 65536 for i in range(160))
    assert c.read_exactly(5 * MIB) == expected[:5 * MIB]
    sender.join()
    assert c.read_exactly(5 * MIB) == expected[5 * MIB:]
    s.await_note("wrote")
    part(body[20000:])
    if chunked:
        c.send("0\r\n\r\n")
    total = 0
    for byte in body:
        total = (total * 31 + byte) & 0xFFFFFFFFFFFFFFFF
    assert c.rest() == b"%d %d" % (len(body), total & 0xFFFFFFFF)
    assert not s.notes("E")


def test_who_waits_for_100_continue_is_told_before_the_script_begins(cgi):
    s = cgi()
    s.python("nph-body", LOOK + 'out("HTTP/1.1 200 OK\\r\\n\\r\\n%d %s\\n" % rest())\n')
    c = s.ask("/cgi/nph-body", "Content-Length: 4\r\nExpect: 100-continue\r\n", "POST")
    assert c.head().status == 100
    assert c.send("body").rest() == b"HTTP/1.1 200 OK\r\n\r\n4 %08x\n" % zlib.crc32(b"body")
    assert s.notes() == [handed_over(c)]


def test_a_slow_client_of_a_large_answer(cgi):
    """The server waits for nothing meanwhile, and the script is held back by the socket itself."""
    s = cgi()
    s.python("nph-much", LOOK + 'out("HTTP/1.1 200 OK\\r\\n\\r\\n")\nblock = b"".join(b"%07d\\n" % i for i in range(131072))\n'
                                'for i in range(32):\n    out(block)\n    note("wrote %d" % i)\n')
    c = s.client(receive_buffer=4096).get("/cgi/nph-much")
    s.await_note(handed_over(c))

    def stands_still():
        before = len(s.notes("wrote"))
        s.static_is_served(50)
        return len(s.notes("wrote")) == before

    wait_until("the script is held back", stands_still)
    assert len(s.notes("wrote")) < 32
    assert c._until(b"\r\n\r\n") == b"HTTP/1.1 200 OK"
    crc = 0
    for _ in range(32):
        crc = zlib.crc32(numbered(MIB), crc)
    assert sum_of_rest(s.hurry(c)) == (32 * MIB, crc)
    assert len(s.notes("wrote")) == 32


def test_relayed_when_the_next_request_is_there_already(cgi):
    """Bytes of the client's in the server's hands: the script writes to the server, which hands it on; then it closes."""
    s = cgi()
    s.python("nph-odd", LOOK + 'out("%s")\nout(bytes(range(256)))\nnote("ran")\n' % HEAD)
    get = "GET /cgi/nph-odd HTTP/1.1\r\nHost: localhost\r\n\r\n"
    c = s.client().send(get + "GET /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert c.rest() == HEAD.encode().decode("unicode_escape").encode() + bytes(range(256))
    s.await_note("ran")
    assert len(s.notes("stdout is not the client")) == 1, s.notes()
    # Behind the body of a request as well.
    s.python("nph-body", LOOK + 'out("HTTP/1.1 200 OK\\r\\n\\r\\n%d %s\\n" % rest())\n')
    c = s.client().send("POST /cgi/nph-body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody" + get)
    assert c.rest() == b"HTTP/1.1 200 OK\r\n\r\n4 %08x\n" % zlib.crc32(b"body")
    assert s.notes().count("ran") == 1


def test_a_second_request_is_not_answered(cgi):
    """What comes once the socket is the script's is nobody's: it is not executed, and nothing of the server's is mixed in."""
    s = cgi()
    s.sh("nph-wait", 'printf "HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\none"; gate go\n')
    s.sh("count", "note counted; head\n")
    s.gate("go")
    c = s.ask("/cgi/nph-wait")
    assert c.answer().body == b"one"
    c.get("/cgi/count").get("/index.html")
    s.static_is_served()
    s.open_gate("go")
    try:
        assert c.is_closed()
    except ConnectionResetError:
        pass  # it had sent what nobody took
    assert s.get("/cgi/count").status == 200
    assert s.notes() == ["counted"]


def test_relayed_where_exchanges_share_a_connection(cgi):
    """What HTTP/2 will be: the toy protocol. Its client gets the script's body, and other streams go on beside it."""
    port = harness.free_ports(1)[0]
    s = cgi(TESTMUX + "Listen 127.0.0.1:%d testmux\n" % port, files={"index.html": "hello\n"})
    s.python("nph-mux", LOOK + 'out("HTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\n\\r\\none\\n")\ngate("go")\nout("two\\n")\n')
    s.gate("go")
    with Mux(port) as m:
        m.open(1, "/cgi/nph-mux")
        m.until(lambda: b"one\n" in m.streams[1]["body"])
        m.open(3, "/index.html")
        assert m.ended(3)[0]["body"] == b"hello\n" and m.streams[1]["end"] is None
        s.open_gate("go")
        body = m.ended(1)[0]["body"]
    assert (m.streams[1]["status"], body) == (200, b"one\ntwo\n")
    assert len(s.notes("stdout is not the client")) == 1


def test_it_says_nothing(cgi):
    """No error page is put where the script's answer would be: its socket is closed, and its stderr is in the log."""
    s = cgi('CustomLog "{root}/logs/access.log" "%r"\n')
    s.sh("nph-silent", 'echo "why it is silent" >&2\nexit 3\n')
    c = s.ask("/cgi/nph-silent")
    assert c.rest() == b""
    s.await_log("why it is silent")
    s.access(1)
    s.static_is_served()


def test_one_that_cannot_be_started_is_an_error_of_the_server(cgi):
    s = cgi()
    s.server.write("cgi/nph-none", "#!/no/such/interpreter\n")
    os.chmod(s.server.path("cgi/nph-none"), 0o755)
    answer = s.ask("/cgi/nph-none").answer()
    assert answer.status == 500
    assert s.ask("/cgi/nph-missing").answer().status == 404
    s.await_log("nph-none")


def test_the_client_goes_away(cgi):
    """The script, which writes nothing and reads nothing, is told by TERM."""
    s = cgi()
    s.python("nph-wait", 'signal.signal(signal.SIGTERM, lambda *_: (note("term"), os._exit(0)))\n'
                         'out("HTTP/1.1 200 OK\\r\\n\\r\\n")\nnote("runs %d" % os.getpid())\ngate("never")\n')
    s.gate("never")
    c = s.ask("/cgi/nph-wait")
    wait_until("it runs", lambda: s.notes("runs"))
    c.s.close()
    s.await_note("term")


def test_the_end_of_the_script_is_the_end_of_the_connection(cgi):
    """Not before, however long it stands still, and though its request wished for more."""
    s = cgi()
    s.python("nph-close", 'out("HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nall")\nnote("wrote")\ngate("go")\nnote("goes")\n')
    s.gate("go")
    c = s.ask("/cgi/nph-close", "Connection: keep-alive\r\n")
    assert c.answer().body == b"all"
    s.static_is_served()
    assert not select.select([c.s], [], [], 0)[0]
    s.open_gate("go")
    assert c.is_closed()
    assert s.notes() == ["wrote", "goes"]
