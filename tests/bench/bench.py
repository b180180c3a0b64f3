#!/usr/bin/python3
"""make bench: what a request costs, in CPU microseconds of the whole process tree, beside the servers people compare.

One run starts every server, then measures in rounds: each round takes every workload and, within it, every server in
turn, beginning with another one each time, so that a slow minute of the machine, or what the workload before has left
to be done, strikes all alike; the figure is the median of the rounds. The server has
core 0, the client (wrk, one thread) core 1. Before each measurement the same load runs for a moment to warm up.

Environment: ROUNDS (7), SECONDS (2) of each measurement, ONLY (words; a workload or a server that holds one of them is
measured), WRITE=1 (the table goes to docs/benchmarks.md instead of build/bench/).
"""
import argparse
import json
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import applications
import report
import servers
from servers import APACHES, MUSTERS, Floor, H2o, Lighttpd, Missing, Nginx, NginxCache

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
CLIENT_CORE = 1

EVENT = [MUSTERS["event"], APACHES["event"], Nginx, NginxCache, Lighttpd, H2o]
PER_CONNECTION = [MUSTERS["worker"], APACHES["worker"], MUSTERS["prefork"], APACHES["prefork"]]


class Workload:
    def __init__(self, name, path, connections, classes, close=False, logs=False):
        self.name, self.path, self.connections = name, path, connections
        self.classes, self.close, self.logs = classes, close, logs


WORKLOADS = [
    Workload("1 KiB, 64 keep-alive connections", "/1k.html", 64, EVENT + PER_CONNECTION + [Floor]),
    Workload("1 KiB, 1,000 keep-alive connections", "/1k.html", 1000, EVENT + [Floor]),
    Workload("100 KiB, 16 keep-alive connections", "/100k.bin", 16, EVENT + PER_CONNECTION),
    Workload("10 MiB, 4 keep-alive connections", "/10m.bin", 4, EVENT),
    Workload("1 KiB, a connection a request", "/1k.html", 64, EVENT + PER_CONNECTION + [Floor], close=True),
    Workload("1 KiB, 64 keep-alive connections, access log", "/1k.html", 64, EVENT + PER_CONNECTION, logs=True),
    Workload("hello.php, 16 keep-alive connections", "/hello.php", 16, applications.PHP),
    Workload("a CGI program in C, 8 keep-alive connections", "/cgi/hello", 8, applications.CGI),
]
CONTENTS = {"/hello.php": applications.HELLO, "/cgi/hello": applications.HELLO}
SIZES = {"/1k.html": 1 << 10, "/100k.bin": 100 << 10, "/10m.bin": 10 << 20}


class Environment:
    """The folder of one run: the document root, five levels deep, and a folder for each server."""

    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.base = tempfile.mkdtemp(prefix="muster-bench-", dir="/tmp")
        os.chmod(self.base, 0o755)
        self.docroot = os.path.join(self.base, "srv", "www", "htdocs")
        os.makedirs(self.docroot)
        self.contents = {}
        for path, size in SIZES.items():
            self.contents[path] = (b"0123456789abcdef" * (size // 16 + 1))[:size]
            with open(self.docroot + path, "wb") as f:
                f.write(self.contents[path])
        self.contents.update(CONTENTS)
        self.floor = os.path.join(self.base, "floor")
        applications.write_programs(self, os.path.join(HERE, "hello_cgi.c"))

    def compile_floor(self):
        subprocess.run(["gcc", "-std=c17", "-D_GNU_SOURCE", "-O2", "-o", self.floor, os.path.join(HERE, "floor.c")],
                       check=True)

    def make_run_folder(self, title):
        path = tempfile.mkdtemp(prefix=re.sub(r"\W+", "-", title) + "-", dir=self.base)
        user = servers.unprivileged()
        if user:
            shutil.chown(path, *user)
        return path

    def remove(self):
        shutil.rmtree(self.base, ignore_errors=True)


class Sample:
    """all_us: with the applications, where there are any."""

    def __init__(self, us, all_us, rate, busy):
        self.us, self.all_us, self.rate, self.busy = us, all_us, rate, busy


def wrk(server, workload, seconds):
    """Run wrk; returns requests done, seconds taken and the errors it saw."""
    command = ["taskset", "-c", str(CLIENT_CORE), "wrk", "-t1", "-c%d" % workload.connections, "-d%ds" % seconds,
               "--timeout", "10s"]
    if workload.close:
        command += ["-H", "Connection: close"]
    command.append("http://127.0.0.1:%d%s" % (server.port, workload.path))
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    m = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", run.stdout)
    if run.returncode != 0 or not m:
        raise RuntimeError("wrk: %s" % run.stdout)
    unit = {"ms": 0.001, "s": 1, "m": 60}[m[3]]
    errors = re.findall(r"(?:Socket errors|Non-2xx).*", run.stdout)
    return int(m[1]), float(m[2]) * unit, errors


def measure(server, workload, seconds, warm_seconds):
    """One sample, and what went wrong while it was taken."""
    if warm_seconds:
        wrk(server, workload, warm_seconds)
    before, all_before, start = server.cpu_ns(), server.all_ns(), time.monotonic()
    requests, took, errors = wrk(server, workload, seconds)
    spent, elapsed = server.cpu_ns() - before, time.monotonic() - start
    together = None if all_before is None else server.all_ns() - all_before
    if requests == 0:
        raise RuntimeError("%s answered nothing" % server.title)
    return Sample(spent / 1000 / requests, together and together / 1000 / requests, requests / took,
                  (together or spent) / 1e9 / elapsed), errors


class Bench:
    def __init__(self, args):
        self.args = args
        self.env = Environment(args.build)
        self.running = {}
        self.missing = {}
        self.samples = {}
        self.failures = []

    def selected(self, workload):
        """The server classes of a workload that the filter and the machine leave over."""
        words = [w.lower() for w in self.args.only.replace(",", " ").split()]
        names = [w for w in words if any(w in x.name.lower() for x in WORKLOADS)]
        titles = [w for w in words if w not in names]
        if names and not all(w in workload.name.lower() for w in names):
            return []
        return [c for c in workload.classes if c.title not in self.missing and
                (not titles or any(t in c.title.lower() for t in titles))]

    def server(self, cls, workload):
        """The running server of a class; logging ones are separate from those that do not log."""
        key = cls, workload.logs
        if key not in self.running:
            server = cls(self.env, workload.logs)
            self.running[key] = server
            server.start()
        return self.running[key]

    def start_all(self):
        for workload in self.args.workloads:
            for cls in workload.classes:
                try:
                    cls(self.env).program()
                except Missing as e:
                    if cls.title not in self.missing:
                        print("bench: skipped: %s: %s" % (cls.title, e), flush=True)
                    self.missing[cls.title] = str(e)
        for workload in self.args.workloads:
            for cls in self.selected(workload):
                server = self.server(cls, workload)
                server.check(workload.path, None if cls is Floor else self.env.contents[workload.path])

    def versions(self):
        found = {}
        for server in self.running.values():
            found.setdefault(server.version())
        found["wrk " + servers.first_line(["wrk", "-v"], r"wrk (?:debian/)?(\S+)")] = None
        return list(found)

    def round(self, number):
        for workload in self.args.workloads:
            classes = list(self.selected(workload))
            first = number % max(len(classes), 1)
            for cls in classes[first:] + classes[:first]:
                server = self.server(cls, workload)
                sample, errors = measure(server, workload, self.args.seconds, 0 if self.args.smoke and number else 1)
                self.samples.setdefault(workload.name, {}).setdefault(cls.title, []).append(sample)
                together = "" if sample.all_us is None else "  %9.2f us with the application" % sample.all_us
                print("%d/%d  %-46s %-26s %9.2f us  %8.0f/s  %3.0f%%%s" % (
                    number + 1, self.args.rounds, workload.name, cls.title, sample.us, sample.rate,
                    100 * sample.busy, together), flush=True)
                for error in errors:
                    self.complain(workload, cls, error.strip())

    def complain(self, workload, cls, error):
        """An error that wrk saw is a failure of Muster, and a remark about anybody else."""
        text = "%s: %s: %s" % (workload.name, cls.title, error)
        if issubclass(cls, servers.Muster):
            self.failures.append(text)
        else:
            print("bench: note: " + text, flush=True)

    def run(self):
        self.env.compile_floor()
        self.start_all()
        versions = self.versions()
        print("bench: " + "; ".join(versions), flush=True)
        for number in range(self.args.rounds):
            self.round(number)
        return versions

    def stop(self):
        for server in self.running.values():
            server.stop()
        self.env.remove()


def medians(samples):
    """Workload -> server -> (median, least, most) microseconds and the median rate."""
    result = {}
    for workload, by_server in samples.items():
        for title, taken in by_server.items():
            us = [s.us for s in taken]
            result.setdefault(workload, {})[title] = {
                "us": statistics.median(us), "min": min(us), "max": max(us),
                "rate": statistics.median(s.rate for s in taken),
                "busy": statistics.median(s.busy for s in taken)}
            if taken[0].all_us is not None:
                result[workload][title]["all"] = statistics.median(s.all_us for s in taken)
    return result


def parse_args():
    env = os.environ
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.path.join(TOP, "build"))
    p.add_argument("--rounds", type=int, default=int(env.get("ROUNDS") or 7))
    p.add_argument("--seconds", type=int, default=int(env.get("SECONDS") or 2))
    p.add_argument("--only", default=env.get("ONLY") or "")
    p.add_argument("--write", action="store_true", default=env.get("WRITE") == "1")
    p.add_argument("--smoke", action="store_true", help="one round of a second, four workloads: does it all work?")
    args = p.parse_args()
    args.workloads = WORKLOADS
    if args.smoke:
        args.rounds = args.seconds = 1
        args.workloads = [WORKLOADS[i] for i in (0, 4, 6, 7)]
    return args


def write_results(args, bench, versions):
    figures = medians(bench.samples)
    folder = os.path.join(args.build, "bench")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "results.json"), "w", encoding="utf-8") as f:
        json.dump({"versions": versions, "figures": figures}, f, indent=1)
    text = report.markdown(args, figures, versions, bench.missing)
    path = os.path.join(TOP, "docs", "benchmarks.md") if args.write else os.path.join(folder, "benchmarks.md")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    print("\n" + text)
    print("bench: written to " + os.path.relpath(path))


def main():
    args = parse_args()
    if not {servers.SERVER_CORE, CLIENT_CORE} <= os.sched_getaffinity(0):
        sys.exit("bench: two cores are needed, one for the server and one for the client")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 8192), hard), hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.sched_setaffinity(0, {CLIENT_CORE})
    bench = Bench(args)
    try:
        versions = bench.run()
    except KeyboardInterrupt:
        sys.exit("bench: interrupted")
    except RuntimeError as e:
        sys.exit("bench: %s" % e)
    finally:
        bench.stop()
    if not bench.samples:
        sys.exit("bench: nothing was measured")
    write_results(args, bench, versions)
    for failure in bench.failures:
        print("bench: FAILED: " + failure)
    return bool(bench.failures)


if __name__ == "__main__":
    sys.exit(main())
