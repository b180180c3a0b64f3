#!/usr/bin/python3
"""make bench IDLE=1: what those who wait cost, and what others notice of them. The event MPM, one child.

Bytes of memory of an idle connection and of a waiting handler, milliseconds of a normal client's request (median and
99th percentile) alone and beside 2,000 slow heads, 2,000 slow bodies and slowhttptest's attacks, memory after 100,000
requests with restarts between them. Prints a table; a figure beyond its limit makes the exit status 1.
"""
import argparse
import contextlib
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
BASE = """StartServers 1
ServerLimit 1
ThreadsPerChild 25
MaxRequestWorkers 25
ListenerThreads 1
KeepAliveTimeout 3600
MaxKeepAliveRequests 0
TimeOut 3600
RequestReadTimeout header=0 body=0
LoadModule park_module "{test_modules}/mod_park.so"
LoadModule testmux_module "{test_modules}/mod_testmux.so"
<Location /park>
    SetHandler park
</Location>
<Location /parked>
    SetHandler parked
</Location>
<Location /echo>
    SetHandler mux-echo
</Location>
"""


class Figures:
    def __init__(self):
        self.rows, self.is_good = [], True

    def add(self, name, value, unit, limit=None):
        good = limit is None or value <= limit
        form = "%.3f" if unit == "ms" else "%.1f"
        self.is_good &= good
        self.rows.append((name, form % value, unit, "" if limit is None else form % limit, "" if good else "TOO MUCH"))
        print("  ".join(self.rows[-1]), flush=True)

    def table(self):
        rows = [("what", "figure", "unit", "limit", "")] + self.rows
        widths = [max(len(r[i]) for r in rows) for i in range(5)]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(r, widths)).rstrip() for r in rows)


def memory(pid, kind):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(kind + ":"))


def answer(s):
    got = b""
    while not got.endswith(b"hello\n"):
        piece = s.recv(4096)
        if not piece:
            raise ConnectionError("closed in the middle of an answer")
        got += piece


def latencies(server, seconds):
    """Milliseconds of each request of one kept connection, and of a new connection for every tenth."""
    result = []
    end = time.monotonic() + seconds
    with server.connect() as kept:
        while time.monotonic() < end or len(result) < 100:
            is_new = len(result) % 10 == 0
            start = time.perf_counter()
            s = server.connect() if is_new else kept
            s.sendall(REQUEST)
            answer(s)
            result.append((time.perf_counter() - start) * 1000)
            if is_new:
                s.close()
    return result


def p99(values):
    return statistics.quantiles(values, n=100)[98]


class Bench:
    def __init__(self, harness, args):
        self.harness, self.args, self.figures = harness, args, Figures()

    @contextlib.contextmanager
    def server(self, config=BASE, files=None):
        """A server on the first core; this process and what it starts then go to the second."""
        s = self.harness.Server(config, files=files or {"index.html": "hello\n", "large": b"x" * 300_000}, mpm="event",
                                log_level="warn")
        cores = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(cores)})
            s.start()
            os.sched_setaffinity(0, {max(cores)})
            yield s
        finally:
            os.sched_setaffinity(0, cores)
            s.kill_all()
            s.remove()

    @staticmethod
    def open(server, stack, count, first=b"", is_answered=False):
        for _ in range(count):
            s = stack.enter_context(server.connect())
            if first:
                s.sendall(first)
            if is_answered:
                answer(s)

    def idle(self):
        with self.server() as server, contextlib.ExitStack() as stack:
            pid = server.children()[0].pid
            with contextlib.ExitStack() as warm:
                self.open(server, warm, 300, REQUEST, True)
            time.sleep(0.5)
            before = memory(pid, "Pss_Anon")
            self.open(server, stack, self.args.many, REQUEST, True)
            self.figures.add("idle connection, of %d" % self.args.many, (memory(pid, "Pss_Anon") - before) / self.args.many, "bytes", 600)
            self.figures.add("new request beside them, p99", p99(latencies(server, 1)), "ms")

    def handlers(self):
        with self.server() as server, contextlib.ExitStack() as stack:
            self.open(server, stack, self.args.many, b"GET /park HTTP/1.1\r\nHost: x\r\n\r\n")
            self.harness.wait_until("all wait", lambda: int(server.get("/parked").body) == self.args.many)
            self.figures.add("%d waiting handlers, resident" % self.args.many,
                             memory(server.children()[0].pid, "Rss") / 1e6, "MB", 400)

    def slow(self):
        """The attack is there in every second measurement only, so that both see the same minutes of the machine."""
        kinds = {"slow heads": b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
                 "slow bodies": b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nsome"}
        with self.server() as server:
            for name, first in kinds.items():
                alone, beside = [], []
                for _ in range(self.args.rounds):
                    alone.append(p99(latencies(server, 1)))
                    with contextlib.ExitStack() as stack:
                        self.open(server, stack, self.args.slow, first)
                        beside.append(p99(latencies(server, 1)))
                    time.sleep(0.2)
                self.compare("%d %s" % (self.args.slow, name), alone, beside)

    def compare(self, name, alone, beside):
        self.figures.add("p99 alone", statistics.median(alone), "ms")
        self.figures.add("p99 beside " + name, statistics.median(beside), "ms", 1.5 * statistics.median(alone))

    def slowhttptest(self):
        if not shutil.which("slowhttptest"):
            print("slowhttptest is not installed")
            return
        kinds = {"-H": ["-i", "10"], "-B": ["-i", "10", "-s", "8192"], "-R": ["-a", "1", "-b", "1000"],
                 "-X": ["-w", "10", "-y", "20", "-n", "1", "-z", "32", "-k", "1"]}
        paths = {"-B": "echo", "-R": "large", "-X": "large"}
        with self.server() as server:
            for kind, more in kinds.items():
                alone, beside = [], []
                for _ in range(self.args.rounds):
                    alone.append(p99(latencies(server, 1)))
                    tool = subprocess.Popen(
                        ["slowhttptest", kind, "-c", str(self.args.slow), "-r", str(self.args.slow), "-l", "20", *more, "-u",
                         "http://127.0.0.1:%d/%s" % (server.port, paths.get(kind, ""))],
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                    time.sleep(2)
                    answered = [server.get("/") for _ in range(20)]  # behind those that came before in the backlog
                    assert all(a.status == 200 for a in answered)
                    beside.append(p99(latencies(server, 1)))
                    tool.terminate()
                    tool.wait()
                self.compare("slowhttptest " + kind, alone, beside)

    def requests(self):
        if not shutil.which("ab"):
            print("ab is not installed")
            return
        sizes = []
        with self.server() as server:
            for i in range(10):
                for path in ("/", "/large", "/missing", "/", "/"):
                    out = subprocess.run(["ab", "-q", "-k", "-c8", "-n%d" % self.args.requests,
                                          "http://127.0.0.1:%d%s" % (server.port, path)], capture_output=True, text=True).stdout
                    if not re.search(r"^Failed requests:\s+0$", out, re.M):
                        raise RuntimeError("ab failed:\n" + out)
                sizes.append(memory(server.children()[0].pid, "Pss_Anon"))
                if i % 3 == 2:
                    server.graceful()
                    self.harness.wait_until("one child is left", lambda: len(server.children()) == 1)
        self.figures.add("memory of a child after its first %d requests" % (5 * self.args.requests), sizes[0] / 1e6, "MB")
        self.figures.add("at most, in %d requests and 3 restarts" % (50 * self.args.requests), max(sizes) / 1e6, "MB", sizes[0] / 1e6 + 1)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.path.join(TOP, "build"))
    p.add_argument("--many", type=int, default=10_000)
    p.add_argument("--slow", type=int, default=2000)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--requests", type=int, default=2000)
    p.add_argument("--only", default="idle handlers slow slowhttptest requests")
    args = p.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.environ["MUSTER"] = os.path.join(os.path.abspath(args.build), "muster")
    sys.path.insert(0, os.path.join(TOP, "tests", "e2e"))
    import harness  # noqa: PLC0415: reads MUSTER
    bench = Bench(harness, args)
    for name in args.only.split():
        getattr(bench, name)()
    print("\n" + bench.figures.table())
    return 0 if bench.figures.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
