"""What a web child in the wrong hands can do to the rest of the server: nothing but to end itself and its own requests."""
import contextlib
import ctypes
import fcntl
import os
import re
import signal
import struct

import pytest

import applications
from applications import TESTAPP
from harness import wait_until

LIBC = ctypes.CDLL(None, use_errno=True)


def is_app(process):
    with contextlib.suppress(OSError), open("/proc/%d/cmdline" % process.pid, "rb") as f:
        return f.read().startswith(TESTAPP.encode())
    return False  # it has ended


def web_children(server):
    return [p for p in server.children() if not is_app(p)]


def app_pool(*lines):
    return applications.pool("app", TESTAPP + " -m {root}/marks", *lines) + '<Location "/app">\nSetHandler "pool:app"\n</Location>\n'


class Stolen:
    """Descriptors of a process, as code that runs in it would have them: pidfd_getfd(2)."""

    def __init__(self, pid):
        self.pidfd = os.pidfd_open(pid)
        self.pid = pid
        self.fds = []

    def take(self, number):
        fd = LIBC.syscall(438, self.pidfd, number, 0)
        self.fds.append(fd)
        return fd

    def eventfds(self):
        return [self.take(int(n)) for n in os.listdir("/proc/%d/fd" % self.pid) if self.target(n) == "anon_inode:[eventfd]"]

    def target(self, number):
        with contextlib.suppress(FileNotFoundError):  # a connection may be closed meanwhile
            return os.readlink("/proc/%d/fd/%s" % (self.pid, number))
        return ""

    def close(self):
        for fd in self.fds + [self.pidfd]:
            os.close(fd)
        self.fds = []


def fill(fd):
    """The next write to this eventfd waits, whoever makes it."""
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)
    try:
        os.write(fd, struct.pack("Q", 1))
        os.read(fd, 8)
        os.write(fd, struct.pack("Q", 2 ** 64 - 2))
    except BlockingIOError:
        pass
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NONBLOCK)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes descriptors of another process")
def test_no_web_child_can_make_the_supervisor_wait(make):
    """A child in the wrong hands makes the bells of the pools' queue blocking ones, and full; the supervisor goes on."""
    s = make(app_pool("ProcessManager static", "MaxChildren 1") + '<Location "/status">\nSetHandler server-status\n</Location>\n', files={"app": "x"})
    os.chmod(s.write("marks", ""), 0o666)
    s.start()
    with s.connect() as holder, s.connect() as waiter:
        holder.sendall(b"POST /app?mark=here&await=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" % s.path("never").encode())
        wait_until("the process is at work", lambda: os.path.getsize(s.path("marks")))
        waiter.sendall(b"GET /app?text=served HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        wait_until("a request waits", lambda: re.search(rb"Pool\.app\.Queue: 1\b", s.get("/status?auto").body))
        stolen = Stolen(web_children(s)[0].pid)
        for fd in stolen.eventfds():
            fill(fd)
        stolen.close()
        before = {p.pid for p in s.children()}
        os.kill(next(p.pid for p in s.children() if is_app(p)), signal.SIGKILL)
        assert waiter.recv(4096).startswith(b"HTTP/1.1 200")
    for pid in before & {p.pid for p in web_children(s)}:
        os.kill(pid, signal.SIGKILL)
    wait_until("the supervisor starts others", lambda: {p.pid for p in web_children(s)} - before)
    assert s.get("/app?text=served").body == b"served"
