"""CGI: how much a script may use, how many run at once, who waits for a place, and that a thousand of them cost no thread."""
import contextlib
import os
import resource
import select
import struct
import threading

import pytest

import harness
from harness import wait_until

# Enough processes and threads for those who wait under every MPM.
ROOM = """
<IfModule mpm_prefork_module>
    StartServers 30
    MaxSpareServers 60
</IfModule>
<IfModule mpm_worker_module>
    StartServers 3
</IfModule>
TimeOut 60
"""
# Says that it runs, waits until the test opens its gate, and is done.
HELD = 'note "ran $QUERY_STRING"; gate go; head; echo "done $QUERY_STRING"\n'


# ---- what a script may use ----

def test_limits_as_the_script_sees_them(cgi):
    s = cgi("""
<Location "/cgi/limited">
    RLimitCPU 100 200
    RLimitMEM 268435456 536870912
    RLimitNPROC 3000 4000
</Location>
<Location "/cgi/soft">
    RLimitCPU 50
    RLimitMEM max
</Location>
""")
    show = 'head()\nfor n in ("CPU", "AS", "NPROC", "NOFILE", "CORE"):\n    out("%s %d %d\\n" % ((n,) + resource.getrlimit(getattr(resource, "RLIMIT_" + n))))\n'
    for name in ("free", "limited", "soft"):
        s.python(name, show)
    free, limited, soft = ({line.split()[0]: line.split()[1:] for line in s.get("/cgi/" + name).body.decode().splitlines()}
                           for name in ("free", "limited", "soft"))
    assert limited["CPU"] == ["100", "200"] and limited["AS"] == ["268435456", "536870912"] and limited["NPROC"] == ["3000", "4000"]
    assert soft["CPU"] == ["50", free["CPU"][1]] and soft["AS"][0] == soft["AS"][1] and soft["NPROC"] == free["NPROC"]
    assert free["CPU"] == ["-1", "-1"] and free["AS"] == ["-1", "-1"]
    assert limited["NOFILE"] == free["NOFILE"]


def test_the_servers_own_need_of_descriptors_is_not_the_scripts(cgi):
    """The server takes as many as it may; a script has the limit that the server was started with, after a restart as well."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1234, hard))
    try:
        s = cgi()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    s.python("limit", 'head()\nout("%d %d\\n" % resource.getrlimit(resource.RLIMIT_NOFILE))\n')
    assert s.get("/cgi/limit").body == b"1234 %d\n" % hard
    s.server.graceful()
    assert s.get("/cgi/limit").body == b"1234 %d\n" % hard


TRY = r"""
    say("Content-Type: text/plain\n\n");
    char *p = malloc(300 << 20);
    say(p ? "memory " : "no memory ");
    pid_t child = fork();
    if (child == 0) _exit(0);
    say(child > 0 ? "fork\n" : errno == EAGAIN ? "no fork\n" : "?\n");
    return 0;"""


def test_limits_are_kept(cgi):
    """Memory that is not given, a process that is not made, a loop that is ended; and without limits all of it works."""
    s = cgi('<Location "/cgi/limited">\nRLimitMEM 100000000\nRLimitNPROC 1\n</Location>\n<Location "/cgi/spin">\nRLimitCPU 1 2\n</Location>\n')
    s.c("free", TRY)
    s.c("limited", TRY)
    s.c("spin", 'for (volatile unsigned i = 0;; i++);')
    assert s.get("/cgi/free").body == b"memory fork\n"
    assert s.get("/cgi/limited").body == b"no memory no fork\n"
    answer = s.ask("/cgi/spin").answer()
    assert answer.status == 500
    s.await_log("/cgi/spin")
    assert s.get("/cgi/free").status == 200


# ---- how many at once ----

class Queue:
    """A server with one script, held at a gate, of which `most` run at once."""

    def __init__(self, cgi, most, length, timeout, more=""):
        self.s = s = cgi(ROOM + "CGIMaxProcesses %d\nCGIQueueLength %d\nCGIQueueTimeout %s\n%s" % (most, length, timeout, more))
        s.sh("held", HELD)
        s.gate("go")
        self.most = most

    def ask(self, name):
        return self.s.ask("/cgi/held?" + name)

    def occupy(self):
        busy = [self.ask("busy%d" % i) for i in range(self.most)]
        wait_until("all places are taken", lambda: len(self.s.notes("ran busy")) == self.most)
        return busy

    def waiting(self):
        """How many stand in line, in all processes: the second number of the table that these share."""
        for fd in os.listdir("/proc/%d/fd" % self.s.server.pid):
            path = "/proc/%d/fd/%s" % (self.s.server.pid, fd)
            with contextlib.suppress(FileNotFoundError):  # of a child that has come or gone meanwhile
                if os.readlink(path).startswith("/memfd:muster-scripts"):
                    with open(path, "rb") as f:
                        return struct.unpack("II", f.read(8))[1]
        raise AssertionError("there is no such table")

    def await_waiting(self, n):
        wait_until("%d wait" % n, lambda: self.waiting() == n)

    def fill(self, n, fields="", method="GET"):
        """n that wait, and so the queue is full: one more is told so."""
        waiting = [self.s.ask("/cgi/held?gone", fields, method) for _ in range(n)]
        self.await_waiting(n)
        assert refused(self.ask("over"))
        return waiting

    def enter(self, name):
        """One that waits."""
        n = self.waiting()
        c = self.ask(name)
        self.await_waiting(n + 1)
        return c


def refused(client):
    answer = client.answer()
    client.s.close()
    return answer.status == 503 and int(answer["Retry-After"]) > 0


def test_no_more_than_so_many_run(cgi):
    """In the whole server, whichever of its processes a request came to; the others follow as places are free."""
    q = Queue(cgi, 3, 100, 60)
    busy = q.occupy()
    waiting = [q.ask("waits%d" % i) for i in range(12)]
    q.s.static_is_served(100)
    assert len(q.s.notes("ran")) == 3
    assert not select.select([c.s for c in waiting], [], [], 0)[0]
    q.s.open_gate("go")
    assert [c.answer().body for c in busy] == [b"done busy%d\n" % i for i in range(3)]
    assert [c.answer().body for c in waiting] == [b"done waits%d\n" % i for i in range(12)]
    assert len(q.s.notes("ran")) == 15


def test_nobody_waits_beyond_the_deadline(cgi):
    """503 with Retry-After while all places are still taken; who was told so is never run."""
    q = Queue(cgi, 2, 100, 1)
    busy = q.occupy()
    late = [q.ask("late%d" % i) for i in range(8)]
    assert all(refused(c) for c in late)
    assert not select.select([c.s for c in busy], [], [], 0)[0]
    q.s.static_is_served()
    q.s.open_gate("go")
    assert [c.answer().status for c in busy] == [200, 200]
    wait_until("a place is free", lambda: q.ask("after").answer().body == b"done after\n")
    assert sorted(q.s.notes("ran")) == ["ran after", "ran busy0", "ran busy1"]
    q.s.await_log("CGIMaxProcesses")


def test_a_full_queue_says_so_at_once(cgi):
    q = Queue(cgi, 1, 4, 60)
    q.occupy()
    asked = [q.ask("asked%d" % i) for i in range(12)]
    wait_until("all but four are answered", lambda: len(select.select([c.s for c in asked], [], [], 0)[0]) == 8)
    told = set(select.select([c.s for c in asked], [], [], 0)[0])
    assert all(refused(c) for c in asked if c.s in told)
    q.s.static_is_served()
    assert len(q.s.notes("ran")) == 1
    q.s.open_gate("go")
    assert all(c.answer().status == 200 for c in asked if c.s not in told)
    assert len(q.s.notes("ran asked")) == 4


def test_who_hangs_up_is_never_executed(cgi):
    """They leave the queue while all places are taken, and their places in it are free for others."""
    q = Queue(cgi, 1, 3, 60)
    busy = q.occupy()
    for c in q.fill(3):
        c.s.close()
    q.await_waiting(0)
    stays = [q.enter("stays%d" % i) for i in range(3)]
    q.s.open_gate("go")
    assert [c.answer().status for c in busy + stays] == [200] * 4
    assert q.s.notes("ran gone") == [] and q.s.notes("ran over") == [] and len(q.s.notes("ran stays")) == 3


def test_who_hangs_up_with_a_body_is_never_executed(cgi):
    q = Queue(cgi, 1, 1, 60)
    busy = q.occupy()
    for c in q.fill(1, "Content-Length: 500000\r\n", "POST"):
        c.send(b"x" * 1000).s.close()
    q.await_waiting(0)
    c = q.enter("stays")
    q.s.open_gate("go")
    assert [c.answer().status for c in busy + [c]] == [200] * 2
    assert q.s.notes("ran gone") == []


def test_a_place_is_free_when_its_script_is_gone(cgi):
    """By its end, by its client's, by its timeout, and by the death of the process that asked for it."""
    q = Queue(cgi, 1, 10, 60, '<Location "/cgi/late">\nCGIScriptTimeout 1\n</Location>\n')
    s = q.s
    s.sh("quick", "head; echo quick\n")
    for name in ("holds", "late"):
        s.python(name, 'note("holds %d" % os.getpid())\ngate("never")\n')
    s.gate("never")
    for _ in range(3):
        assert s.get("/cgi/quick").body == b"quick\n"
    c = s.ask("/cgi/holds")
    wait_until("it runs", lambda: s.notes("holds"))
    c.s.close()
    assert s.get("/cgi/quick").body == b"quick\n"
    assert s.get("/cgi/late").status == 504
    assert s.get("/cgi/quick").body == b"quick\n"


def test_a_web_child_that_dies_gives_its_places_back(cgi):
    q = Queue(cgi, 2, 10, 60)
    busy = q.occupy()
    waiting = [q.ask("waits%d" % i) for i in range(2)]
    q.s.static_is_served()
    q.s.kill_holders(busy + waiting)
    for c in busy + waiting:
        with contextlib.suppress(ConnectionResetError):
            assert c.rest() == b""
    c = q.ask("after")
    wait_until("there is a place again", lambda: q.s.notes("ran after"))
    q.s.open_gate("go")
    assert c.answer().body == b"done after\n"
    assert q.s.notes("ran waits") == []


def test_requests_in_a_burst_all_run(cgi):
    """No wake-up is lost: a hundred short scripts through two places."""
    s = cgi(ROOM + "CGIMaxProcesses 2\nCGIQueueLength 1000\nCGIQueueTimeout 60\n")
    s.c("short", 'say("Content-Type: text/plain\\n\\n");\nsay(getenv("QUERY_STRING"));\nreturn 0;')
    wrong = []

    def ask(number):
        for i in range(10):
            answer = s.get("/cgi/short?%d=%d" % (number, i))
            if answer.body != b"%d=%d" % (number, i):
                wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, wrong[:3]


# ---- a thousand ----

SANITIZED = any(name in os.environ for name in ("ASAN_OPTIONS", "TSAN_OPTIONS"))
COUNT = {"event": 1000, "worker": 150, "prefork": 60}[harness.MPM] // (4 if SANITIZED else 1)
CROWD = """
CGIMaxProcesses 2000
TimeOut 600
<IfModule mpm_prefork_module>
    ServerLimit 80
    MaxRequestWorkers 80
    StartServers 70
    MaxSpareServers 80
</IfModule>
<IfModule mpm_worker_module>
    StartServers 7
    ThreadsPerChild 25
    MaxRequestWorkers 200
    MaxSpareThreads 200
</IfModule>
<IfModule mpm_event_module>
    StartServers 2
    ServerLimit 2
    ThreadsPerChild 4
    MaxRequestWorkers 8
    MaxSpareThreads 8
    MinSpareThreads 1
</IfModule>
"""


def test_static_requests_beside_scripts_that_sleep(cgi):
    """A thousand under event, whose eight threads are all free; elsewhere as many as leave some process or thread free."""
    s = cgi(CROWD, log_level="notice")
    s.c("sleeps", 'note("runs");\ngate("go");\nnote("woke");\nsay("Content-Type: text/plain\\n\\nslept\\n");\nreturn 0;')
    s.gate("go")
    asked = []
    for _ in range(COUNT):
        asked.append(s.ask("/cgi/sleeps"))
    wait_until("all of them run", lambda: os.path.getsize(s.path("notes")) == 5 * COUNT)
    s.static_is_served(200)
    for _ in range(10):
        assert s.get("/index.html").body == b"hello\n"
    assert s.get("/none").status == 404
    assert s.notes("woke") == []
    poll = select.poll()
    for c in asked:
        poll.register(c.s, select.POLLIN)
    assert poll.poll(0) == []
    s.open_gate("go")
    assert all(c.answer().body == b"slept\n" for c in asked)
    assert len(s.notes("woke")) == COUNT


def take(client, n):
    """Chunks, until there are n bytes."""
    got = b""
    while len(got) < n:
        got += client.chunk()
    return got


@pytest.mark.skipif(harness.MPM != "event", reason="the others hold a process or a thread for each request")
def test_scripts_that_read_and_write_slowly_hold_no_thread_either(cgi):
    """With one thread in all: forty bodies half sent, forty answers half read."""
    s = cgi("StartServers 1\nServerLimit 1\nThreadsPerChild 1\nMaxRequestWorkers 1\nMinSpareThreads 1\nMaxSpareThreads 2\nTimeOut 60\n")
    s.sh("cat", 'note runs; head; echo begun; cat\n')
    asked = [s.ask("/cgi/cat", "Content-Length: 10\r\n", "POST").send(b"12345") for _ in range(40)]
    wait_until("all of them run", lambda: s.notes().count("runs") == 40)
    for c in asked:
        assert c.head().status == 200
        assert take(c, 11) == b"begun\n12345"
    s.static_is_served(100)
    for c in asked:
        c.send(b"67890")
        assert take(c, 5) == b"67890" and c.chunk() == b""
