"""A gigabyte up and a gigabyte down through every way to run an application, whole, while the server's memory stays flat.

Each way moves 1 GiB on one MPM and 128 MiB on the others, so that the suite ends in time; MU_BIG=1 has 1 GiB everywhere.
Static and sanitized servers move 16 MiB, and the memory of the latter says nothing: freed memory is kept on purpose.
"""
import os
import shutil
import threading
import zlib

import pytest

import applications
import harness
import rawclient
from applications import TESTAPP, query

MIB = 1 << 20
GROWTH = 64 * MIB  # what all processes of the server may take more than before, whatever passes through them
IS_SANITIZED = any(name in os.environ for name in ("ASAN_OPTIONS", "TSAN_OPTIONS"))
IS_PLAIN = os.environ.get("MU_BUILD", "plain") == "plain" and not IS_SANITIZED
# Where a way is shown with the whole gigabyte.
FULL = {"cgi": "event", "fcgi": "worker", "pool": "event", "fpm": "prefork", "mod_php": "prefork"}
WAYS = ["cgi", "fcgi", "pool", "fpm"] + (["mod_php"] if applications.HAS_MOD_PHP else [])

PHP = r"""<?php
ini_set('memory_limit', '32M');
set_time_limit(0);
if (isset($_GET['sum'])) {
    $h = hash_init('crc32b');
    $n = hash_update_stream($h, fopen('php://input', 'rb'));
    echo $n, ' ', hash_final($h), "\n";
    exit;
}
$n = (int)($_GET['stream'] ?? $_GET['streamsum']);
$h = hash_init('crc32b');
header('Content-Type: application/octet-stream');
for ($i = 0; $n > 0; $i++) {
    $piece = substr(str_repeat(pack('J', $i * 0x9E3779B97F4A7C1), 32768), 0, min($n, 262144));
    $n -= strlen($piece);
    if (isset($_GET['stream'])) echo $piece; else hash_update($h, $piece);
}
if (isset($_GET['streamsum'])) echo hash_final($h), "\n";
"""


def size_for(way):
    if not IS_PLAIN:
        return 16 * MIB
    return 1024 * MIB if os.environ.get("MU_BIG") or FULL[way] == harness.MPM else 128 * MIB


class Memory:
    """The most that the server's own processes took while this is entered: anonymous and shared pages, and files that
    lie in memory (tmpfs, memfd) and that they have open. The applications' processes are not the server."""

    def __init__(self, server):
        self.server, self.most, self.end = server, 0, threading.Event()
        self.least = self.sample()
        self.thread = threading.Thread(target=self.watch)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()

    def watch(self):
        while not self.end.wait(0.02):
            self.most = max(self.most, self.sample())
        self.most = max(self.most, self.sample())

    def processes(self):
        for p in self.server.family():
            try:
                if os.path.samefile("/proc/%d/exe" % p.pid, harness.MUSTER):
                    yield p
            except OSError:
                pass  # it has just ended

    def sample(self):
        total, files = 0, {}
        for p in self.processes():
            try:
                status = p.status()
                total += sum(int(status[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))
                self.files_in_memory(p.pid, files)
            except (OSError, KeyError):
                pass
        return total + sum(files.values())

    @staticmethod
    def files_in_memory(pid, found):
        for fd in os.listdir("/proc/%d/fd" % pid):
            path = "/proc/%d/fd/%s" % (pid, fd)
            target = os.readlink(path)
            if target.startswith(("/memfd:", "/")) and not target.startswith("/dev/null"):
                st = os.stat(path)
                if target.startswith("/memfd:") or (os.major(st.st_dev) == 0 and is_tmpfs(path)):
                    found[st.st_dev, st.st_ino] = st.st_blocks * 512

    def growth(self):
        return self.most - self.least


def is_tmpfs(path):
    """Does an open file lie in a file system that is memory?"""
    dev = os.stat(path).st_dev
    with open("/proc/self/mountinfo") as f:
        for line in f:
            fields = line.split()
            if fields[2] == "%d:%d" % (os.major(dev), os.minor(dev)):
                return fields[fields.index("-") + 1] in ("tmpfs", "ramfs")
    return False


class Big:
    """A server with one way to run an application at `path`, which takes bodies of `limit` bytes."""

    def __init__(self, make, beside, way, limit):
        config = 'LimitRequestBody %d\n<Location "/small">\n    LimitRequestBody %d\n</Location>\n' % (limit, MIB)
        config += 'TimeOut 600\nRequestReadTimeout header=20-40,MinRate=500\n'
        files = {"index.html": "hello\n"}
        if way in applications.PHP_WAYS and way != "pool":
            php, app = applications.start_php(beside, way, post_max_size="0", memory_limit="64M")
            files["app.php"] = files["small/app.php"] = PHP
            self.path, self.small = "/app.php", "/small/app.php"
            config += php
        else:
            config += self.testapp(beside, way)
            self.path, self.small = "/run/app", "/small/app"
        self.server = make(config, files=files, env=applications.PHP_ENV)
        os.mkdir(self.server.path("cgi"))
        shutil.copy(TESTAPP, self.server.path("cgi/app"))
        self.server.start()

    @staticmethod
    def testapp(beside, way):
        if way == "cgi":
            return ('ScriptAlias "/run/" "{root}/cgi/"\nScriptAlias "/small/" "{root}/cgi/"\n'
                    '<Directory "{root}/cgi">\nRequire all granted\n</Directory>\n')
        if way == "fcgi":
            url = beside(applications.FcgiApp("tcp", processes=2)).url
            return 'ProxyPass "/run/" "%s/"\nProxyPass "/small/" "%s/"\n' % (url, url)
        return applications.pool("big", TESTAPP) + 'ProxyPass "/run/" "pool:big"\nProxyPass "/small/" "pool:big"\n'


@pytest.fixture
def big(make, beside):
    return lambda way, limit: Big(make, beside, way, limit)


def blocks(total):
    """That many bytes in which no megabyte is like another, in pieces."""
    block = os.urandom(MIB - 8)
    for i in range(-(-total // MIB)):
        yield (i.to_bytes(8, "little") + block)[:total - i * MIB]


def send_body(client, total):
    """Returns the CRC-32 of what was sent."""
    crc = 0
    for piece in blocks(total):
        crc = zlib.crc32(piece, crc)
        client.s.sendall(piece)
    return crc


@pytest.mark.parametrize("way", WAYS)
def test_a_gigabyte_up(big, way):
    n = size_for(way)
    b = big(way, n)
    head = "POST %s?sum HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"
    with rawclient.Client(b.server) as c:
        c.send(head % (b.path, 100_000))
        crc = send_body(c, 100_000)
        assert c.answer().body.split() == [b"100000", b"%08x" % crc]
    with Memory(b.server) as memory, rawclient.Client(b.server) as c:
        c.send(head % (b.path, n))
        crc = send_body(c, n)
        assert c.answer().body.split() == [b"%d" % n, b"%08x" % crc]
    if not IS_SANITIZED:
        assert memory.growth() <= GROWTH, "%d MiB" % (memory.growth() // MIB)
    # One byte more is refused before any of it is read.
    with rawclient.Client(b.server) as c:
        c.send(head % (b.path, n + 1))
        assert c.answer().status == 413


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("excess", [0, 1])
def test_a_body_without_a_length_is_counted(big, way, excess):
    """Chunked, exactly as long as is allowed, and one byte longer."""
    b = big(way, 10 * MIB)
    with rawclient.Client(b.server) as c:
        c.send("POST %s?sum HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
               "Transfer-Encoding: chunked\r\n\r\n" % b.small)
        body = next(blocks(MIB)) + b"x" * excess
        try:
            for i in range(0, len(body), 10000):
                piece = body[i:i + 10000]
                c.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
            c.send("0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            assert excess  # it did not wait for the end
        answer = c.answer()
        if excess:
            assert answer.status == 413
        else:
            assert answer.body.split() == [b"%d" % MIB, b"%08x" % zlib.crc32(body)]


@pytest.mark.parametrize("way", WAYS)
def test_a_gigabyte_down(big, way):
    n = size_for(way)
    b = big(way, MIB)
    assert len(b.server.get("%s?%s" % (b.path, query(stream=100_000))).body) == 100_000
    expected = b.server.get("%s?%s" % (b.path, query(streamsum=n))).body.strip().decode()
    buf, crc, got = bytearray(MIB), 0, 0
    with Memory(b.server) as memory:
        client = b.server.client()
        client.request("GET", "%s?%s" % (b.path, query(stream=n)))
        answer = client.getresponse()
        assert answer.status == 200
        while True:
            k = answer.readinto(buf)
            if not k:
                break
            crc = zlib.crc32(memoryview(buf)[:k], crc)
            got += k
        client.close()
    assert (got, "%08x" % crc) == (n, expected)
    if not IS_SANITIZED:
        assert memory.growth() <= GROWTH, "%d MiB" % (memory.growth() // MIB)


@pytest.mark.parametrize("way", WAYS)
def test_a_client_that_does_not_read_costs_no_memory(big, way):
    """It asks for much and takes nothing: what the application writes waits in the application or in a file."""
    n = min(size_for(way), 256 * MIB)
    b = big(way, MIB)
    assert len(b.server.get("%s?%s" % (b.path, query(stream=100_000))).body) == 100_000
    with Memory(b.server) as memory, rawclient.Client(b.server, receive_buffer=4096) as c:
        c.get("%s?%s" % (b.path, query(stream=n)))
        assert c.head().status == 200
        # Others are served meanwhile, and the time that takes is enough for the application to write what it can.
        for _ in range(200):
            assert b.server.get("/").body == b"hello\n"
        if way != "mod_php":
            assert len(b.server.get("%s?%s" % (b.path, query(stream=1_000_000))).body) == 1_000_000
    if not IS_SANITIZED:
        assert memory.growth() <= GROWTH, "%d MiB" % (memory.growth() // MIB)
