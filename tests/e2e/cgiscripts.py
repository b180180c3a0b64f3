"""A server with a folder of CGI scripts, and the means by which scripts and tests wait for each other.

Scripts are written by the tests: sh(…), python(…) and c(…) put one into the folder behind /cgi/. A script says what it has
come to with a line in the file of notes (note "word"; one that awaits nothing says nothing), and it stands still at a
gate (gate name) until the test opens that. A gate is a FIFO: who waits there uses no processor time, however many do.
"""
import contextlib
import os
import signal
import socket
import subprocess
import threading
import zlib

import harness
import rawclient
from harness import wait_until

CONFIG = """
ScriptAlias "/cgi/" "{root}/cgi/"
<Directory "{root}/cgi">
    Require all granted
</Directory>
SetEnv RUN "{root}/run"
"""
SH = """#!/bin/sh
note() { echo "$*" >> "$RUN/notes"; }
gate() { : < "$RUN/$1"; }
head() { printf 'Content-Type: text/plain\\n\\n'; }
"""
PYTHON = """#!/usr/bin/python3 -IS
import fcntl, os, resource, signal, socket, stat, sys, time, zlib
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
def note(text):
    with open(os.environ["RUN"] + "/notes", "a") as f:
        f.write(text + "\\n")
def gate(name):
    os.close(os.open(os.environ["RUN"] + "/" + name, os.O_RDONLY))
def out(data):
    data = memoryview(data.encode() if isinstance(data, str) else data)
    while data:
        data = data[os.write(1, data):]
def head():
    out("Content-Type: text/plain\\n\\n")
def read(n):
    got = b""
    while len(got) < n:
        piece = os.read(0, min(n - len(got), 65536))
        if not piece:
            break
        got += piece
    return got
def rest():
    n, crc = 0, 0
    while True:
        piece = os.read(0, 65536)
        if not piece:
            return n, "%08x" % crc
        n, crc = n + len(piece), zlib.crc32(piece, crc)
"""
C = """#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
static const char *in_run(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("RUN"), name);
    return path;
}
static void note(const char *text)
{
    char line[4096];
    int fd = open(in_run("notes"), O_WRONLY | O_APPEND), n = snprintf(line, sizeof line, "%s\\n", text);
    if (fd < 0 || write(fd, line, (size_t)n) != n) _exit(9);
    close(fd);
}
static void gate(const char *name) { close(open(in_run(name), O_RDONLY)); }
static void out(const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = write(1, p, n);
        if (k < 0) { note(strerrorname_np(errno)); _exit(8); }
        p += k, n -= (size_t)k;
    }
}
static void say(const char *text) { out(text, strlen(text)); }
"""


class Site:
    """One server and what the scripts behind its /cgi/ have to do with the test;
    `before` stands before ScriptAlias, `folders` are made before the start."""

    def __init__(self, make, config="", before="", folders=(), **kwargs):
        self.server = make(before + CONFIG + config, **kwargs)
        self.gates, self.clients, self.threads = {}, [], []
        for folder, mode in (("cgi", 0o755), ("run", 0o777)):
            os.mkdir(self.server.path(folder))
            os.chmod(self.server.path(folder), mode)
        for folder in folders:
            os.makedirs(self.server.path(folder))
        open(self.path("notes"), "w").close()
        os.chmod(self.path("notes"), 0o666)

    def start(self):
        self.server.start()
        return self

    def path(self, *parts):
        return self.server.path("run", *parts)

    # Scripts

    def _script(self, name, text, folder):
        path = self.server.write("%s/%s" % (folder, name), text)
        os.chmod(path, 0o755)
        return path

    def sh(self, name, text, folder="cgi"):
        return self._script(name, SH + text, folder)

    def python(self, name, text, folder="cgi"):
        return self._script(name, PYTHON + text, folder)

    def c(self, name, main, folder="cgi"):
        """A program whose main(argc, argv) has this body."""
        path = self.server.path(folder, name)
        source = C + "int main(int argc, char **argv)\n{\n" + main + "\n}\n"
        subprocess.run(["cc", "-w", "-x", "c", "-o", path, "-"], input=source, text=True, check=True)
        return path

    # What they and the test tell each other

    def notes(self, prefix=""):
        with open(self.path("notes")) as f:
            return [line.rstrip("\n") for line in f if line.endswith("\n") and line.startswith(prefix)]

    def await_note(self, word, count=1):
        wait_until("a script notes %r" % word, lambda: self.notes().count(word) >= count)

    def gate(self, *names):
        for name in names:
            os.mkfifo(self.path(name))
            os.chmod(self.path(name), 0o666)
            self.gates[name] = None

    def open_gate(self, *names):
        """For those who stand there and those who come."""
        for name in names or list(self.gates):
            if self.gates[name] is None:
                self.gates[name] = os.open(self.path(name), os.O_RDWR)

    # Clients

    def client(self, **kwargs):
        self.clients.append(rawclient.Client(self.server, **kwargs))
        return self.clients[-1]

    def ask(self, path, fields="", method="GET", version="1.1"):
        """Send a request and do not wait for its answer."""
        return self.client().get(path, fields, method, version)

    def get(self, path, headers=None):
        return self.server.get(path, headers)

    def post(self, path, body, headers=None):
        return self.server.request("POST", path, headers, body)

    @staticmethod
    def hurry(client):
        """One that took little at a time takes much from now on."""
        client.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        return client

    def background(self, function, *args):
        thread = threading.Thread(target=function, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()
        return thread

    def holder(self, client):
        """The web child that holds a client's connection, once one has accepted it."""
        return wait_until("a child holds it", lambda: self.holder_now(client))

    def holder_now(self, client):
        with open("/proc/net/tcp") as f:
            rows = [line.split() for line in f][1:]
        mine = "%04X" % client.s.getsockname()[1]
        inode = next((row[9] for row in rows if row[2].endswith(":" + mine) and row[1].endswith(":%04X" % self.server.port)), None)
        for p in self.server.children():
            with contextlib.suppress(OSError):
                if any(os.readlink("/proc/%d/fd/%s" % (p.pid, fd)) == "socket:[%s]" % inode
                       for fd in os.listdir("/proc/%d/fd" % p.pid)):
                    return p.pid
        return None

    def kill_holders(self, clients):
        """KILL the web children that hold them, all in one moment: none takes what another leaves."""
        pids = {self.holder(c) for c in clients}
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                os.kill(pid, number)

    def static_is_served(self, times=20):
        client = self.server.client()
        for _ in range(times):
            client.request("GET", "/index.html")
            answer = client.getresponse()
            assert (answer.status, answer.read()) == (200, b"hello\n")
        client.close()

    def await_log(self, text, count=1):
        wait_until("the error log has %r" % text, lambda: self.server.error_log().count(text) >= count)

    def log_lines(self, text):
        return [line for line in self.server.error_log().splitlines() if text in line]

    def access(self, count=1):
        """The lines of logs/access.log, once there are so many: each is written when its answer is out."""
        def read():
            with contextlib.suppress(FileNotFoundError), open(self.server.path("logs/access.log")) as f:
                lines = f.read().splitlines()
                return lines if len(lines) >= count else None
        return wait_until("the access log has %d lines" % count, read)

    def close(self):
        self.open_gate()
        for c in self.clients:
            c.s.close()
        for t in self.threads:
            t.join(harness.PATIENCE)
        for fd in self.gates.values():
            os.close(fd)


def sum_of_rest(client):
    """Length and CRC-32 of all there is until the server closes."""
    n, crc = len(client.buf), zlib.crc32(client.buf)
    while True:
        piece = client.s.recv(1 << 18)
        if not piece:
            return n, crc
        n, crc = n + len(piece), zlib.crc32(piece, crc)


def is_alive(pid):
    return harness.Process(int(pid)).is_alive()


def variables(body):
    """NAME -> value of what env(1) printed."""
    return dict(line.partition("=")[::2] for line in body.decode().splitlines() if "=" in line)
