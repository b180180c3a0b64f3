"""Sending raw requests and reading what comes back, byte for byte as far as HTTP/1 framing lets one know its end."""
import select
import socket
import time

PATIENCE = 60.0                     # seconds that anything may take; only a failing request takes so long
NO_BODY = ("204", "304")


class Response:
    def __init__(self):
        self.status = ""            # "200", or "" for a response without a status line (HTTP/0.9)
        self.line = b""
        self.headers = []           # (lower-case name, value) as they came
        self.body = b""
        self.trailers = []
        self.wire_len = 0
        self.sent_len = 0           # of the request, when it was sent by itself

    def header(self, name):
        return [v for n, v in self.headers if n == name]

    def says_close(self):
        """The connection ends after this response, by its own words."""
        tokens = b",".join(self.header(b"connection")).lower().replace(b" ", b"").split(b",")
        if b"close" in tokens:
            return True
        return self.line.startswith(b"HTTP/1.0") and b"keep-alive" not in tokens


class Closed(Exception):
    """The server closed (or reset) the connection before the response was complete."""


class Late(Exception):
    """The server did not answer in time."""


class Reader:
    def __init__(self, sock):
        self.sock = sock
        self.data = b""
        self.taken = 0

    def more(self):
        ready, _, _ = select.select([self.sock], [], [], PATIENCE)
        if not ready:
            raise Late
        try:
            got = self.sock.recv(65536)
        except ConnectionError:
            got = b""
        if not got:
            raise Closed
        self.data += got

    def take(self, n):
        while len(self.data) < n:
            self.more()
        out, self.data = self.data[:n], self.data[n:]
        self.taken += n
        return out

    def line(self):
        while b"\n" not in self.data:
            self.more()
        return self.take(self.data.index(b"\n") + 1).rstrip(b"\r\n")

    def rest(self):
        try:
            while True:
                self.more()
        except Closed:
            return self.take(len(self.data))

    def fields(self):
        found = []
        while line := self.line():
            name, _, value = line.partition(b":")
            found.append((name.lower(), value.strip()))
        return found

    def chunked(self, response):
        while size := int(self.line().split(b";")[0], 16):
            response.body += self.take(size)
            self.line()
        response.trailers = self.fields()


def read_response(reader, method):
    """The next response to a request with this method, after any 1xx ones, which are returned too."""
    before = []
    while True:
        r = Response()
        start = reader.taken
        while len(reader.data) < 5:
            reader.more()
        if not reader.data.startswith(b"HTTP/"):
            r.body = reader.rest()
            return before, r
        r.line = reader.line()
        r.status = r.line.split(b" ")[1].decode("latin-1")
        r.headers = reader.fields()
        if r.status.startswith("1") and r.status != "101":
            before.append(r)
            continue
        read_body(reader, r, method)
        r.wire_len = reader.taken - start
        return before, r


def read_body(reader, r, method):
    if method == "HEAD" or r.status in NO_BODY:
        return
    if b"chunked" in [v.lower() for v in r.header(b"transfer-encoding")]:
        reader.chunked(r)
    elif r.header(b"content-length"):
        r.body = reader.take(int(r.header(b"content-length")[0]))
    else:
        r.body = reader.rest()


class Talk:
    """All that came back on one connection."""

    def __init__(self):
        self.responses = []         # one for each request that was answered
        self.informational = []     # for each response, the 1xx statuses before it
        self.end = "open"           # how it ended: open, closed, or late
        self.extra = b""            # what came after the last awaited response


def finish(sock, reader, talk, options):
    """See how the connection ends: by the server, or by us while the server would go on."""
    if "half" not in options and not (talk.responses and talk.responses[-1].says_close()):
        ready, _, _ = select.select([sock], [], [], 1.0 if "patient" in options else 0.004)
        if not ready:
            sock.shutdown(socket.SHUT_WR)
            talk.extra = reader.rest()
            return
    talk.extra = reader.rest()
    talk.end = "closed"


def converse(sock, connection, result):
    """Take the steps of a connection; fills in the result as far as it gets."""
    reader = Reader(sock)
    try:
        for step in connection.steps:
            try:
                sock.sendall(step.data)
                if "half" in connection.options and step is connection.steps[-1]:
                    sock.shutdown(socket.SHUT_WR)
            except ConnectionError:
                pass                # it may have answered already; what it said counts
            for method in step.methods:
                before, response = read_response(reader, method)
                response.sent_len = len(step.data) if len(step.methods) == 1 else 0
                result.informational.append([b.status for b in before])
                result.responses.append(response)
        finish(sock, reader, result, connection.options)
    except Closed:
        result.end = "closed"
        result.extra = reader.data
    except Late:
        result.end = "late"
        result.extra = reader.data
    except (ValueError, IndexError, OSError) as e:
        result.end = "unreadable response: %s" % e
        result.extra = reader.data


def talk(source, address, connection):
    """Send a connection's steps and collect what comes back."""
    result = Talk()
    try:
        sock = socket.create_connection(address, PATIENCE, (source, 0))
    except OSError as e:
        result.end = "not connected: %s" % e
        return result
    with sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        converse(sock, connection, result)
    return result


def read_new_lines(path, offset, wanted, patience=1.0):
    """Lines added to a log since `offset`, waiting a moment until there are `wanted` of them; and the new offset."""
    deadline = time.monotonic() + patience
    while True:
        try:
            with open(path, "rb") as f:
                f.seek(offset)
                data = f.read()
        except FileNotFoundError:
            data = b""
        if data.count(b"\n") >= wanted or time.monotonic() > deadline:
            return data.splitlines(), offset + len(data)
        time.sleep(0.002)
