"""A FastCGI application that the test plays itself, record by record, and the other things that tests of the client need.

Nothing happens at this backend but what the test asks for: it accepts when accept() is called, reads when something is
read. So the order of what the server does is seen, and hostile answers are a few bytes.
"""
import array
import contextlib
import os
import select
import shutil
import socket
import struct
import tempfile

import harness
from harness import MPM, PATIENCE, wait_until

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR, DATA, GET_VALUES, VALUES, UNKNOWN = range(1, 12)
TAKE_CLIENT, CLIENT, CLIENT_DONE = 200, 201, 202
RESPONDER, KEEP_CONN = 1, 1
COMPLETE, CANT_MPX_CONN, OVERLOADED, UNKNOWN_ROLE = range(4)
HEAD = "Content-Type: text/plain\r\n\r\n"
# One child, so that all clients meet the same kept connections.
ONE_CHILD = ("StartServers 1\nMinSpareServers 1\nMaxSpareServers 2\nServerLimit 1\nMaxRequestWorkers 1\n" if MPM == "prefork" else
             "StartServers 1\nServerLimit 1\nThreadsPerChild 8\nMaxRequestWorkers 8\nMinSpareThreads 1\nMaxSpareThreads 100\n")


def record(kind, content=b"", number=1, version=1, padding=0, length=None):
    """A record; what is not right in it is the caller's wish."""
    if isinstance(content, str):
        content = content.encode()
    return struct.pack(">BBHHBB", version, kind, number, len(content) if length is None else length, padding, 0) + \
        content + b"\0" * padding


def end(status=0, protocol=COMPLETE, number=1):
    return record(END, struct.pack(">IB3x", status, protocol), number)


def reply(text, head=HEAD):
    """A whole answer."""
    return record(STDOUT, head + text) + record(STDOUT) + end()


def pairs(content):
    """(name, value) of a stream of parameters, in order."""
    at, found = 0, []

    def length():
        nonlocal at
        n = content[at]
        at += 1
        if n & 0x80:
            n = struct.unpack(">I", bytes([n & 0x7f]) + content[at:at + 3])[0]
            at += 3
        return n

    while at < len(content):
        name_n, value_n = length(), length()
        assert at + name_n + value_n <= len(content), "parameters end in the middle of one"
        found.append((content[at:at + name_n].decode("latin-1"), content[at + name_n:at + name_n + value_n].decode("latin-1")))
        at += name_n + value_n
    return found


class Conversation:
    """One connection of the server's."""

    def __init__(self, s):
        self.s = s
        s.settimeout(PATIENCE)
        self.buf = b""
        self.body = b""       # of STDIN, what was read and not asked for
        self.is_body_done = False

    def close(self):
        self.s.close()

    def reset(self):
        """Close so that the other side gets an error (over TCP), whatever it has sent."""
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.s.close()

    def hang_up(self):
        """No more comes from here; what the server sends can be read all the same."""
        self.s.shutdown(socket.SHUT_WR)

    # What the server sends

    def _exactly(self, n):
        """Fewer bytes only at the end of the connection."""
        while len(self.buf) < n:
            try:
                piece = self.s.recv(262144)
            except ConnectionResetError:
                piece = b""
            if not piece:
                break
            self.buf += piece
        piece, self.buf = self.buf[:n], self.buf[n:]
        return piece

    def record(self):
        """(type, id, content), or None when the server has closed."""
        head = self._exactly(8)
        if not head:
            return None
        assert len(head) == 8, "the connection ends in the head of a record"
        version, kind, number, length, padding, _ = struct.unpack(">BBHHBB", head)
        assert version == 1
        content = self._exactly(length + padding)
        assert len(content) == length + padding, "the connection ends in the middle of a record"
        return kind, number, content[:length]

    def request(self):
        """The head of the next request: sets role, keeps, id, pairs (in order) and params (by name); returns params."""
        kind, self.id, content = self.record()
        assert (kind, len(content)) == (BEGIN, 8)
        self.role, flags = struct.unpack(">HB5x", content)
        self.keeps = bool(flags & KEEP_CONN)
        stream = b""
        while True:
            kind, number, content = self.record()
            assert (kind, number) == (PARAMS, self.id)
            if not content:
                break
            stream += content
        self.pairs = pairs(stream)
        self.params = dict(self.pairs)
        assert len(self.params) == len(self.pairs), "a name is there twice"
        self.body, self.is_body_done = b"", False
        return self.params

    def some_body(self):
        """The content of one STDIN record; empty at the end."""
        if self.is_body_done:
            return b""
        found = self.record()
        assert found and found[:2] == (STDIN, self.id), found
        self.is_body_done = not found[2]
        return found[2]

    def read_body(self, n=None):
        """n bytes of the body, or all that is left of it."""
        while not self.is_body_done and (n is None or len(self.body) < n):
            self.body += self.some_body()
        n = len(self.body) if n is None else n
        piece, self.body = self.body[:n], self.body[n:]
        return piece

    def rest(self):
        """Types of the records until the server closes."""
        return [found[0] for found in iter(self.record, None)]

    def is_readable(self):
        """Is something there to be read, or the end?"""
        return bool(self.buf or select.select([self.s], [], [], 0)[0])

    def is_open(self):
        """Has the server not closed it by now?"""
        if self.buf or not self.is_readable():
            return True
        try:
            return self.s.recv(1, socket.MSG_PEEK) != b""
        except ConnectionResetError:
            return False

    def take_client(self):
        """Ask for the client (ProxyFCGIPassClient); its socket, or None when the server keeps it."""
        self.send(record(TAKE_CLIENT))
        fds = array.array("i")
        while True:
            while len(self.buf) < 8 or len(self.buf) < 8 + struct.unpack(">H", self.buf[4:6])[0] + self.buf[6]:
                data, ancillary, _, _ = self.s.recvmsg(262144, socket.CMSG_SPACE(16))
                assert data, "the server has closed"
                self.buf += data
                for level, kind, content in ancillary:
                    assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                    fds.frombytes(content)
            kind, number, content = self.record()
            assert number == self.id
            if kind == CLIENT:
                break
            assert kind == STDIN
            self.body += content
            self.is_body_done = not content
        assert len(content) == 8 and content[0] == len(fds) and content[1:] == bytes(7)
        return socket.socket(fileno=fds[0]) if fds else None

    # What is sent to it

    def send(self, *parts):
        self.s.sendall(b"".join(parts))
        return self

    def await_arrival(self):
        harness.await_arrival(self.s)

    def out(self, text):
        return self.send(record(STDOUT, text))

    def answer(self, text="", head=HEAD):
        """Read what is left of the request, then the whole answer."""
        self.read_body()
        return self.send(reply(text, head))


class Backend:
    """Where the server connects to: `kind` is tcp, tcp6 or unix. Start it by the fixture `beside`."""

    def __init__(self, kind="tcp", backlog=128):
        self.kind, self.backlog = kind, backlog
        self.folder = tempfile.mkdtemp(prefix="muster-app-", dir="/tmp")
        os.chmod(self.folder, 0o755)
        self.path = os.path.join(self.folder, "socket")
        self.conversations = []
        self.listener = None

    def start(self):
        family = {"tcp": socket.AF_INET, "tcp6": socket.AF_INET6, "unix": socket.AF_UNIX}[self.kind]
        self.listener = socket.socket(family)
        if self.kind == "unix":
            self.listener.bind(self.path)
            os.chmod(self.path, 0o666)
            self.url, self.name = "unix:%s|fcgi://localhost" % self.path, "unix:" + self.path
        else:
            host = "127.0.0.1" if self.kind == "tcp" else "::1"
            self.port = harness.free_ports(1)[0]
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind((host, self.port))
            self.url = self.name = "fcgi://%s:%d" % ("[::1]" if self.kind == "tcp6" else host, self.port)
        self.listener.listen(self.backlog)
        self.listener.settimeout(PATIENCE)
        return self

    def accept(self):
        """The next connection."""
        c = Conversation(self.listener.accept()[0])
        self.conversations.append(c)
        return c

    def expect(self):
        """The next connection with the head of its request."""
        c = self.accept()
        c.request()
        return c

    def is_idle(self):
        """Nobody waits to be accepted."""
        return not select.select([self.listener], [], [], 0)[0]

    def stop_listening(self):
        self.listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def stop(self):
        for c in self.conversations:
            c.close()
        if self.listener:
            self.listener.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def logged(server, *words):
    """The first line of the error log that holds all of `words`, once it is there."""
    def find():
        return next((line for line in server.error_log().splitlines() if all(word in line for word in words)), None)
    return wait_until("the log says %s" % ", ".join(words), find)


def log_lines(server, word):
    return [line for line in server.error_log().splitlines() if word in line]
