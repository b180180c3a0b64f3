"""Several exchanges on one connection, by the toy protocol of mod_testmux.c: what HTTP/2 will need works under each MPM."""
import socket
import struct

import harness
import pytest
from rawclient import TESTMUX, Client

OPEN, POST, DATA, END, CANCEL, CREDIT, HEAD, RESET, GOAWAY = range(9)
WINDOW = 16 * 1024
FILES = {"index.html": "hello\n", "a.txt": "first\n", "large": bytes(range(251)) * 4000}
LARGE = len(FILES["large"])


class Mux:
    """A client of the protocol. `streams` holds what each was sent."""

    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=harness.PATIENCE)
        self.buf, self.streams, self.order = b"", {}, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    @staticmethod
    def bytes(stream, kind, payload=b""):
        return struct.pack(">IB", stream, kind) + struct.pack(">I", len(payload))[1:] + payload

    def send(self, stream, kind, payload=b""):
        self.s.sendall(self.bytes(stream, kind, payload))

    def open(self, stream, path, kind=OPEN):
        self.streams[stream] = {"status": None, "body": b"", "credit": 0, "end": None}
        self.send(stream, kind, b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())

    def credit(self, stream, n):
        self.send(stream, CREDIT, struct.pack(">I", n))

    def frame(self):
        """Take the next frame; returns (stream, kind), or None at the end."""
        while len(self.buf) < 8 or len(self.buf) < 8 + int.from_bytes(self.buf[5:8], "big"):
            piece = self.s.recv(65536)
            if not piece:
                return None
            self.buf += piece
        stream, kind = struct.unpack(">IB", self.buf[:5])
        n = int.from_bytes(self.buf[5:8], "big")
        payload, self.buf = self.buf[8:8 + n], self.buf[8 + n:]
        if kind == GOAWAY:
            return stream, kind
        s = self.streams[stream]
        assert s["end"] is None, "a frame behind the end of stream %d" % stream
        if kind == HEAD:
            s["status"] = int(payload.split()[0])
        elif kind == DATA:
            s["body"] += payload
            self.order.append(stream)
        elif kind == CREDIT:
            s["credit"] += struct.unpack(">I", payload)[0]
        elif kind in (END, RESET):
            s["end"] = kind
        return stream, kind

    def until(self, condition):
        while not condition():
            assert self.frame(), "closed early"

    def ended(self, *streams):
        self.until(lambda: all(self.streams[s]["end"] is not None for s in streams))
        return [self.streams[s] for s in streams]


@pytest.fixture
def mux(make):
    port = harness.free_ports(1)[0]
    server = make(TESTMUX + "Listen 127.0.0.1:%d testmux\n" % port, files=FILES)
    server.mux_port = port
    return server.start()


def test_streams_do_not_wait_for_each_other(mux):
    with Mux(mux.mux_port) as m:
        m.open(1, "/wait")
        m.open(2, "/echo", POST)
        m.open(3, "/a.txt")
        m.open(4, "/missing")
        three, four = m.ended(3, 4)
        assert (three["status"], three["body"]) == (200, b"first\n")
        assert four["status"] == 404
        for piece in (b"abc", b"def"):
            m.send(2, DATA, piece)
            m.until(lambda p=piece: m.streams[2]["body"].endswith(p))
        m.until(lambda: m.streams[2]["credit"] >= 3)  # what was consumed may be sent again
        m.send(2, END)
        assert m.ended(2)[0]["end"] == END
        m.until(lambda: m.streams[1]["body"] == b"waiting\n")
        assert m.streams[1]["end"] is None
    # And on the other port the same server speaks HTTP.
    assert mux.get("/a.txt").body == b"first\n"


def test_back_pressure_is_per_stream(mux):
    with Mux(mux.mux_port) as m:
        m.open(1, "/large")
        m.open(2, "/large")
        m.until(lambda: len(m.streams[1]["body"]) == WINDOW and len(m.streams[2]["body"]) == WINDOW)
        m.open(3, "/a.txt")
        m.ended(3)
        assert (len(m.streams[1]["body"]), len(m.streams[2]["body"])) == (WINDOW, WINDOW)
        m.credit(2, LARGE)
        m.ended(2)
        assert len(m.streams[1]["body"]) == WINDOW
        m.credit(1, LARGE)
        m.ended(1)
        assert m.streams[1]["body"] == m.streams[2]["body"] == FILES["large"]


def test_streams_take_turns(mux):
    with Mux(mux.mux_port) as m:
        for s in (1, 2, 3):
            m.open(s, "/large")
        m.until(lambda: all(len(s["body"]) == WINDOW for s in m.streams.values()))
        m.order.clear()
        m.s.sendall(b"".join(m.bytes(s, CREDIT, struct.pack(">I", LARGE)) for s in (1, 2, 3)))
        m.ended(1, 2, 3)
        # Each has begun long before the first is through.
        assert all(s in m.order[:len(m.order) // 2] for s in (1, 2, 3))


def test_one_is_cancelled_and_the_others_are_not(mux):
    with Mux(mux.mux_port) as m:
        m.open(1, "/wait")
        m.open(2, "/large")
        m.open(3, "/echo", POST)
        m.until(lambda: m.streams[1]["body"] and len(m.streams[2]["body"]) == WINDOW)
        m.send(1, CANCEL)
        m.send(2, CANCEL)
        assert [s["end"] for s in m.ended(1, 2)] == [RESET, RESET]
        m.send(3, DATA, b"still here")
        m.send(3, END)
        assert m.ended(3)[0]["body"] == b"still here"
    harness.wait_until("the handler noticed", lambda: "cancelled: /wait" in mux.error_log())


def test_a_lost_connection_cancels_all(mux):
    with Mux(mux.mux_port) as m:
        for s in range(1, 6):
            m.open(s, "/wait")
        m.until(lambda: all(s["body"] for s in m.streams.values()))
        m.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    harness.wait_until("all are cancelled", lambda: mux.error_log().count("cancelled: /wait") == 5)


def test_graceful_restart_lets_streams_end(mux):
    with Mux(mux.mux_port) as m:
        m.open(1, "/echo", POST)
        m.send(1, DATA, b"before ")
        m.until(lambda: m.streams[1]["body"] == b"before ")
        mux.graceful()
        assert m.frame() == (0, GOAWAY)
        m.open(2, "/a.txt")
        assert m.ended(2)[0]["end"] == RESET
        m.send(1, DATA, b"and after")
        m.send(1, END)
        assert m.ended(1)[0]["body"] == b"before and after"
        assert m.frame() is None
    with Client(mux) as c:
        assert c.get("/a.txt").answer().body == b"first\n"
