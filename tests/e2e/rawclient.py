"""A client that says exactly what it is told to, and reads answers one by one, for tests of the protocol itself."""
import os
import socket
import struct

import harness

MODULES = os.path.join(os.path.dirname(os.path.realpath(harness.MUSTER)), "tests", "e2e", "modules")
# Handlers and the multiplexed protocol of mod_testmux.c.
TESTMUX = """
LoadModule testmux_module "%s/mod_testmux.so"
<Location "/echo">
    SetHandler mux-echo
</Location>
<Location "/wait">
    SetHandler mux-wait
</Location>
""" % MODULES


class Answer:
    def __init__(self, status, reason, headers, body):
        self.status, self.reason, self.headers, self.body = status, reason, headers, body

    def __getitem__(self, name):
        """The value of a field, None when it is not there; several are an error."""
        values = [v for n, v in self.headers if n.lower() == name.lower()]
        assert len(values) < 2, "%s is there %d times" % (name, len(values))
        return values[0] if values else None

    def __repr__(self):
        return "<%d %s %r %r>" % (self.status, self.reason, self.headers, self.body[:100])


class Client:
    """A connection. Reading waits for the bytes, never for a time."""

    def __init__(self, server, port=None, receive_buffer=None):
        self.s = socket.socket()
        if receive_buffer:
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.s.settimeout(harness.PATIENCE)
        self.s.connect(("127.0.0.1", port or server.port))
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    def send(self, data):
        self.s.sendall(data.encode() if isinstance(data, str) else data)
        return self

    def get(self, path="/", fields="", method="GET", version="1.1"):
        host = "Host: localhost\r\n" if version == "1.1" else ""
        return self.send("%s %s HTTP/%s\r\n%s%s\r\n" % (method, path, version, host, fields))

    def _more(self):
        piece = self.s.recv(65536)
        self.buf += piece
        return bool(piece)

    def _take(self, n):
        piece = bytes(self.buf[:n])
        del self.buf[:n]
        return piece

    def _until(self, mark):
        while mark not in self.buf:
            assert self._more(), "closed in the middle of %r" % bytes(self.buf[:200])
        piece = self._take(self.buf.index(mark))
        self._take(len(mark))
        return piece

    def read_exactly(self, n):
        while len(self.buf) < n:
            assert self._more(), "closed %d bytes early" % (n - len(self.buf))
        return self._take(n)

    def _chunked(self):
        pieces = []
        while True:
            pieces.append(self.chunk())
            if not pieces[-1]:
                return b"".join(pieces)

    def chunk(self):
        """The next piece of a chunked body; the last one is empty."""
        n = int(self._until(b"\r\n"), 16)
        data = self.read_exactly(n)
        assert self.read_exactly(2) == b"\r\n"
        return data

    def head(self):
        """Status line and fields; the body is left to be read."""
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, reason = lines[0].split(" ", 2)
        assert version == "HTTP/1.1"
        return Answer(int(status), reason, [tuple(line.split(": ", 1)) for line in lines[1:]], b"")

    def answer(self, method="GET"):
        """The next answer, read to its end and no further."""
        a = self.head()
        if method == "HEAD" or a.status in (204, 304) or a.status < 200:
            return a
        if a["Transfer-Encoding"] == "chunked":
            a.body = self._chunked()
        elif a["Content-Length"] is not None:
            a.body = self.read_exactly(int(a["Content-Length"]))
        else:
            a.body = self.rest()
        return a

    def rest(self):
        """All there is until the server closes; a reset is an error."""
        while self._more():
            pass
        return self._take(len(self.buf))

    def is_closed(self):
        """The server closes without another byte."""
        return self.rest() == b""

    def finish(self):
        self.s.shutdown(socket.SHUT_WR)
        return self

    def reset(self):
        """Leave so that the other side notices at once."""
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.s.close()
