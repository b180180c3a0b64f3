"""Application pools: how many processes there are, and what happens when one dies, hangs, is slow or cannot start."""
import contextlib
import os
import random
import re
import signal
import socket
import struct
import sys

import pytest

from applications import TESTAPP, pool, query
from harness import Process, processes, wait_until
from poolkit import APP, STATUS, Load, attempt, only_root, pools, static  # noqa: F401


# ---- how many ----

def test_static_starts_all(pools):
    p = pools(*static(5)).start()
    p.settled(5)
    assert p.auto()["MaxChildren"] == "5"


def test_dynamic_keeps_spares(pools):
    p = pools("ProcessManager dynamic", "MaxChildren 6", "StartServers 2", "MinSpare 1", "MaxSpare 2").start()
    p.settled(2)
    for _ in range(6):
        p.ask(mark="x", **{"await": p.gate})
    wait_until("all are busy", lambda: len(p.marked()) == 6)
    assert len(p.pids("busy")) == 6
    p.open_gate()
    p.settled(2)


def test_dynamic_starts_again_with_as_many_as_at_first(pools):
    p = pools("ProcessManager dynamic", "MaxChildren 8", "StartServers 4", "MinSpare 1", "MaxSpare 4").start()
    p.settled(4)
    assert p.control("stop", "app").returncode == 0
    wait_until("they end", lambda: p.pids() == [])
    assert p.control("start", "app").returncode == 0
    p.settled(4)


def test_spawn_rate(pools):
    """No more are started in a second: the first serves for a second, long before the last is there."""
    p = pools("ProcessManager static", "MaxChildren 9", "SpawnRate 1").start()
    first = p.ask("text=x", sleep=1000)
    assert first.answer().status == 200
    assert len(p.pids()) < 9, "that takes eight seconds"
    p.settled(9)


def test_ondemand_starts_when_asked_and_ends_when_idle(pools):
    p = pools("ProcessManager ondemand", "MaxChildren 3", "IdleTimeout 300ms").start()
    assert p.pids() == []
    first = p.pid()
    wait_until("it ends", lambda: p.pids() == [] and not Process(first).is_alive())
    clients = [p.ask(mark="x", **{"await": p.gate}) for _ in range(3)]
    wait_until("one for each", lambda: len(p.marked()) == 3)
    p.open_gate()
    assert [c.answer().status for c in clients] == [200] * 3
    wait_until("they end", lambda: p.pids() == [])
    assert p.auto()["Started"] == "4"


def test_max_requests(pools):
    p = pools(*static(1, "MaxRequests 2")).start()
    pids = [p.pid() for _ in range(6)]
    assert pids[0] == pids[1] and pids[2] == pids[3] and pids[4] == pids[5] and len(set(pids)) == 3
    assert not p.logged("MU0904") and not p.logged("MU0906")


# ---- what goes wrong ----

def test_a_crash_is_a_502_and_replaced(pools):
    p = pools(*static(2)).start()
    before = p.settled(2)
    answer = p.server.request("POST", "/app?" + query(mark="x", crash="segv"))
    assert answer.status == 502
    assert p.marked() == ["x"], "what is not idempotent is not tried again"
    after = p.settled(2)
    assert len(set(before) & set(after)) == 1
    assert p.server.get("/app?" + query(mark="y", crash="segv")).status == 502
    assert p.marked() == ["x", "y", "y"], "what is, once"


def test_a_request_is_tried_again(pools):
    """The process dies once, before it has answered anything."""
    p = pools(*static(1))
    flag = p.server.path("marks/once")
    script = p.server.write("once.sh", "#!/bin/sh\nif [ ! -e %s ]; then : > %s; exec %s %s; fi\nexec %s\n" % (
        flag, flag, sys.executable, p.server.write("drop.py", "import socket\nl = socket.socket(fileno=0)\n"
        "while True:\n    s, _ = l.accept()\n    if s.recv(8):\n        raise SystemExit(9)\n    s.close()\n"), TESTAPP))
    os.chmod(script, 0o755)
    p.server.configure(pool("app", script, *static(1)) + APP % "app" + STATUS)
    p.start()
    assert p.text(text="fine") == "fine"
    assert p.auto()["Broken"] == "1" and p.auto()["Started"] == "2"


def test_a_program_that_cannot_run_is_tried_at_growing_distances(pools):
    p = pools(*static(1, "QueueTimeout 300ms"), command="/bin/false").start()
    answer = p.get(text="x")
    assert answer.status == 503 and answer.headers["Retry-After"] == "1"
    pauses = wait_until("four attempts", lambda: [int(m) for m in re.findall(
        r"the next one starts in (\d+) ms", p.server.error_log())][3:] and re.findall(
        r"the next one starts in (\d+) ms", p.server.error_log())[:4])
    assert pauses == ["100", "200", "400", "800"]


def test_an_answer_that_was_begun_is_not_begun_again(pools):
    p = pools(*static(1, "FlushPackets On")).start()
    c = p.ask("text=begun", "flush", mark="x", **{"await": p.gate, "crash": "segv"})
    assert c.head().status == 200
    assert c.chunk() == b"begun"
    p.open_gate()
    assert c.rest() == b"", "no end of the body: the client can tell that something is missing"
    p.settled(1)
    assert p.marked() == ["x"]


def test_all_killed_under_load(pools):
    """The pool serves again before something is done that takes long and began when its processes were killed."""
    clock = pool("clock", TESTAPP, *static(2)) + '<Location "/clock">\n    SetHandler pool:clock\n</Location>\n'
    p = pools(*static(4), more=clock).start()
    p.settled(4)
    with Load(p.server, "/app?text=fine") as load:
        load.goes_on()
        for _ in range(2):
            long = p.ask(sleep=20000, path="/clock")
            for pid in p.pids():
                os.kill(pid, signal.SIGKILL)
            load.goes_on()
            long.s.setblocking(False)
            with pytest.raises(BlockingIOError):
                long.s.recv(1)
            p.settled(4)
    assert set(load.others()) <= {502}, "a request that met two of them"
    assert load.bodies <= {"fine"} | {b for b in load.bodies if "502" in b}


def test_several_that_fail_together_are_one_failure(pools):
    p = pools(*static(3, "QueueTimeout 100ms"), command="/bin/false").start()
    pauses = wait_until("three attempts", lambda: [re.findall(r"starts in (\d+) ms", line)[0]
                                                   for line in p.logged("MU0904")][2:])
    assert pauses[0] == "400"
    assert p.get(text="x").status == 503


def test_a_process_that_never_accepts(pools):
    p = pools(*static(1, "StartTimeout 200ms", "QueueTimeout 100ms"), command="/bin/sh -c 'exec sleep 100'").start()
    wait_until("it is given up", lambda: len(p.logged("MU0923")) >= 2)
    assert "did not accept a connection within StartTimeout" in p.logged("MU0923")[0]
    assert p.get(text="x").status == 503


def test_what_a_process_started_ends_with_it(pools):
    """A process group is a process: nothing of it is left when it has crashed."""
    p = pools(*static(1)).start()
    pid = p.pid()
    p.text(fork=60000)
    left = [x for x in processes() if group(x.pid) == pid]
    assert len(left) == 2
    p.server.request("POST", "/app?crash=kill")
    wait_until("all of it is gone", lambda: not any(x.is_alive() for x in left))


def group(pid):
    with contextlib.suppress(OSError):
        return os.getpgid(pid)
    return None


def test_cpu_time_has_a_limit(pools):
    p = pools(*static(1, "LimitCPU 1")).start()
    assert p.server.request("POST", "/app?spin=60000").status == 502
    assert p.text(text="fine") == "fine"


def test_emergency_restart(pools):
    p = pools(*static(3, "EmergencyRestartThreshold 2", "EmergencyRestartInterval 60")).start()
    before = p.settled(3)
    p.server.request("POST", "/app?" + query(crash="segv"))
    wait_until("it is replaced", lambda: len(p.pids("idle")) == 3 and set(p.pids()) != set(before))
    assert len(set(before) & set(p.settled(3))) == 2
    p.server.request("POST", "/app?" + query(crash="segv"))
    wait_until("all are", lambda: not set(before) & set(p.pids()))
    p.settled(3)
    assert len(p.logged("MU0905")) == 1


def test_request_timeout_ends_a_stuck_process(pools):
    p = pools(*static(1, "RequestTimeout 3")).start()
    stuck = p.settled(1)[0]
    answer = p.get("ignoreterm", mark="stuck", **{"await": p.gate})
    assert answer.status == 504
    assert p.marked() == ["stuck"], "and it is not tried again"
    assert p.settled(1) != [stuck] and not Process(stuck).is_alive()
    assert "/app?ignoreterm" in p.logged("MU0922")[0]
    assert p.text(text="fine") == "fine"


@pytest.mark.parametrize("log", ["logs/slow.log", '"|$exec cat >> {root}/logs/slow.log"'])
def test_slow_requests_are_written_down(pools, log):
    p = pools(*static(1, "SlowRequestTimeout 3", "SlowRequestLog " + log)).start()
    c = p.ask(mark="slow", **{"await": p.gate})
    slow = p.server.path("logs/slow.log")
    wait_until("it is written down", lambda: os.path.exists(slow) and open(slow).read())
    pid = p.pids("busy")[0]
    p.open_gate()
    assert c.answer().status == 200
    assert p.text(text="quick") == "quick"
    p.server.graceful()  # which opens it again
    text = open(slow).read()
    assert text.count("pool app pid") == 1
    assert re.match(r"\[[^]]+\] pool app pid %d \d+\.\d+ s client 127\.0\.0\.1 \"GET /app\?mark=slow&await" % pid, text)
    if os.geteuid() == 0:
        assert "  syscall: " in text


def test_who_leaves_does_not_set_a_process_free(pools):
    """The client goes; its process is not given to the next one before it has finished."""
    p = pools(*static(1)).start()
    c = p.ask(mark="left", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["left"])
    c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.s.close()
    wait_until("that is noticed", lambda: p.pids("in-doubt"))
    second = p.ask(mark="second", text="second")
    wait_until("it waits", lambda: p.auto()["Queue"] == "1")
    assert p.marked() == ["left"]
    p.open_gate()
    assert second.answer().body == b"second"
    assert p.marked() == ["left", "second"]


def is_muster(process):
    with contextlib.suppress(OSError), open("/proc/%d/cmdline" % process.pid, "rb") as f:
        return b"muster" in f.read()
    return False


def test_a_web_child_that_dies_does_not_set_a_process_free(pools):
    p = pools(*static(1)).start()
    p.ask(mark="orphan", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["orphan"])
    for i in range(3):
        p.ask(mark="swept")
        wait_until("it waits", lambda n=i: p.auto()["Queue"] == str(n + 1))
    apps = p.pids()
    web = [child for child in p.server.children() if child.pid not in apps and is_muster(child)]
    for child in web:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
    wait_until("they are gone", lambda: not any(child.is_alive() for child in web))
    wait_until("nobody waits any more", lambda: attempt(lambda: p.auto()["Queue"] == "0"))
    waiting = wait_until("new children serve", lambda: attempt(lambda: p.ask(mark="next", text="next")))
    wait_until("it waits", lambda: attempt(lambda: p.auto()["Queue"] == "1"))
    assert p.marked() == ["orphan"] and p.pids() == apps
    p.open_gate()
    assert waiting.answer().body == b"next"
    assert p.marked() == ["orphan", "next"] and p.pids() == apps


def boards(pid):
    """Where a process has the queues of pools mapped: addresses and lengths."""
    with contextlib.suppress(OSError), open("/proc/%d/maps" % pid) as f:
        ranges = [line.split()[0].split("-") for line in f if "muster-pool" in line]
        return [(int(a, 16), int(b, 16) - int(a, 16)) for a, b in ranges]
    return []


@only_root
@pytest.mark.parametrize("seed", range(2))
def test_a_web_child_that_scribbles_over_the_queue(pools, seed):
    """All of the shared memory, at random, in the name of a web child: the supervisor goes on, the pool comes back with the
    processes it had, and another pool notices nothing."""
    other = pool("other", TESTAPP, *static(2)) + '<Location "/other">\n    SetHandler pool:other\n</Location>\n'
    p = pools(*static(3, "QueueTimeout 1"), more=other).start()
    p.settled(3)
    p.text(text="needle")
    before = wait_until("the other pool is up", lambda: [x["pid"] for x in p.auto("other")["processes"]][1:] and p.auto("other"))
    rubbish, p.is_scribbled = random.Random(seed), True
    child = next(c for c in p.server.children() if len(boards(c.pid)) == 2)
    with open("/proc/%d/mem" % child.pid, "r+b", 0) as memory:
        at, length = next(b for b in boards(child.pid) if memory.seek(b[0]) and b"text=needle" in memory.read(b[1]))
        for part in range(0, length, 65536):
            memory.seek(at + part)
            memory.write(rubbish.randbytes(min(65536, length - part)))
    wait_until("it is mended", lambda: p.logged("MU0909"))
    wait_until("it serves again", lambda: p.get(text="fine").status == 200)
    p.settled(3)
    assert p.text(text="fine") == "fine"
    assert p.control("list").returncode == 0 and p.control("status").returncode == 0
    assert [x["pid"] for x in p.auto("other")["processes"]] == [x["pid"] for x in before["processes"]]
    assert {line.split("pool ")[1].split(":")[0] for line in p.logged("MU0909")} == {"app"}
    p.server.graceful()
    assert p.text(text="fine") == "fine"
