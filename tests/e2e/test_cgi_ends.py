"""CGI: how scripts end: too late, without a client, without a helper, with a web child, at a restart and at the stop.

A script that is to be ended gets TERM with its whole process group, and KILL if that is not enough; the order is in its notes.
"""
import contextlib
import http.client
import os
import signal

import pytest

import harness
from cgiscripts import is_alive
from harness import wait_until

# Notes its pid and TERM; a child of its own is in its process group.
ENDS = """
signal.signal(signal.SIGTERM, signal.%s)
child = os.fork()
if child == 0:
    gate("never")
    os._exit(0)
def told(*_):
    note("term %%d" %% os.getpid())
    %s
signal.signal(signal.SIGTERM, told)
%s
note("runs %%d %%d" %% (os.getpid(), child))
while True:
    gate("never")
"""
HEAD = 'head(); out("first\\n")'


def obeys(more=""):
    return ENDS % ("SIG_DFL", "os._exit(0)", more)


def ignores(more=""):
    """Neither it nor its child ends by TERM; some time later it says that both are there."""
    return ENDS % ("SIG_IGN", "time.sleep(0.2); os.waitpid(child, os.WNOHANG) == (0, 0) and note(\"lives %d\" % os.getpid())", more)


def running(s, count=1):
    """The pids of scripts and of their children, once `count` have noted them."""
    lines = wait_until("the scripts run", lambda: s.notes("runs") if len(s.notes("runs")) >= count else None)
    return [tuple(int(word) for word in line.split()[1:]) for line in lines]


def helpers(s, name="muster-cgi"):
    found = []
    for p in s.server.children():
        with contextlib.suppress(OSError):
            if p.status()["Name"] == name:
                found.append(p.pid)
    return found


# ---- the client goes away ----

@pytest.mark.parametrize("when", ["before the head", "in the answer", "with half of it unread", "in the body", "with much of it unread"])
def test_the_client_goes_away(cgi, when):
    """The script, which waits for nothing of the client's, and its child get TERM; nobody says that it broke off."""
    s = cgi()
    s.gate("never")
    s.python("ends", obeys(HEAD if when in ("in the answer", "with half of it unread") else ""))
    if when == "in the body":
        c = s.ask("/cgi/ends", "Content-Length: 100000\r\n", "POST").send(b"x" * 1000)
    elif when == "with much of it unread":  # more than its input and the server's buffer hold
        c = s.ask("/cgi/ends", "Content-Length: 120000\r\n", "POST").send(b"x" * 120000)
    else:
        c = s.ask("/cgi/ends")
    script, child = running(s)[0]
    if when == "in the answer":
        assert c.head().status == 200 and c.chunk() == b"first\n"
    s.static_is_served()
    assert is_alive(script) and is_alive(child)
    c.s.close()
    s.await_note("term %d" % script)
    wait_until("both are gone", lambda: not is_alive(script) and not is_alive(child))
    s.await_log("MU1347")
    s.static_is_served()
    assert s.log_lines("MU1209") == []


def test_the_client_of_a_script_that_writes(cgi):
    """It writes on and on; once its client is gone its next write is its last, or it is told."""
    s = cgi()
    s.gate("never")
    s.python("writes", 'signal.signal(signal.SIGPIPE, lambda *_: (note("pipe"), os._exit(0)))\n'
                       'signal.signal(signal.SIGTERM, lambda *_: (note("term"), os._exit(0)))\nhead()\nnote("runs %d" % os.getpid())\n'
                       'while True:\n    out(b"x" * 65536)\n')
    c = s.ask("/cgi/writes")
    assert c.head().status == 200
    pid = running(s)[0][0]
    c.s.close()
    wait_until("it is gone", lambda: not is_alive(pid))
    assert s.notes("term") or s.notes("pipe")  # both, when TERM comes between its note and its end
    assert len(s.notes("term")) <= 1 and len(s.notes("pipe")) <= 1


def test_who_ignores_term_is_killed(cgi):
    """TERM comes first, and is noted; then both are gone, though neither the script nor its child has obeyed."""
    s = cgi()
    s.gate("never")
    s.python("stays", ignores(HEAD))
    clients = [s.ask("/cgi/stays") for _ in range(3)]
    pids = running(s, 3)
    for c in clients:
        c.s.close()
    for script, _ in pids:
        s.await_note("term %d" % script)
        s.await_note("lives %d" % script)
    s.static_is_served()
    wait_until("they are gone", lambda: not any(is_alive(pid) for pair in pids for pid in pair))


def test_half_closing_is_no_leaving(cgi):
    """A client that has said all it will say still gets its answer."""
    s = cgi()
    s.sh("cat", "head; gate go; cat; echo end\n")
    s.gate("go")
    plain = s.ask("/cgi/cat", "Connection: close\r\n").finish()
    with_body = s.ask("/cgi/cat", "Connection: close\r\nContent-Length: 4\r\n", "POST").send("text").finish()
    with_much = s.ask("/cgi/cat", "Connection: close\r\nContent-Length: 120000\r\n", "POST").send(b"x" * 120000).finish()
    s.static_is_served()
    s.open_gate("go")
    assert plain.answer().body == b"end\n"
    assert with_body.answer().body == b"textend\n"
    assert with_much.answer().body == b"x" * 120000 + b"end\n"


# ---- too late ----

def test_a_script_that_says_nothing_is_ended(cgi):
    """504 while it still stands there; then TERM; its place in the log says what to change."""
    s = cgi("CGIScriptTimeout 1\nTimeOut 60\n")
    s.gate("never")
    s.python("silent", 'os.write(2, b"still busy\\n")\n' + obeys())
    c = s.ask("/cgi/silent", "Content-Length: 4\r\n", "POST")
    script, child = running(s)[0]  # before its body has ended nobody waits for it
    assert c.send("body").answer().status == 504
    s.await_note("term %d" % script)
    wait_until("both are gone", lambda: not is_alive(script) and not is_alive(child))
    s.await_log("CGIScriptTimeout")
    assert s.log_lines("still busy")


def test_a_script_that_stops_in_its_answer_is_ended(cgi):
    """What it wrote is there, the answer does not look complete, and the script gets TERM."""
    s = cgi("CGIScriptTimeout 1\nTimeOut 60\n")
    s.gate("never")
    s.python("stops", obeys(HEAD))
    c = s.ask("/cgi/stops", "Content-Length: 4\r\n", "POST")
    assert c.head().status == 200 and c.chunk() == b"first\n"
    script = running(s)[0][0]  # before its body has ended nobody waits for it
    assert c.send("body").is_closed()
    s.await_note("term %d" % script)


def test_the_timeout_is_between_two_signs_of_life(cgi):
    """A script that takes longer in all, but never in one go, is left alone; one that reads its body slowly as well."""
    s = cgi("TimeOut 60\nCGIScriptTimeout 5\n")
    s.sh("writes", 'head; for i in 1 2 3; do echo "line $i"; sleep 2; done\n')
    s.sh("reads", "head; cat\n")
    writes = s.ask("/cgi/writes")
    reads = s.ask("/cgi/reads", "Content-Length: 3\r\n", "POST")
    assert writes.head().status == 200
    for i in (1, 2, 3):
        assert writes.chunk() == b"line %d\n" % i
        reads.send(b"x")
    assert writes.chunk() == b"" and reads.answer().body == b"xxx"


def test_a_timeout_of_its_own_for_a_location(cgi):
    """In a section, and by the name of the other module; TimeOut counts where neither is said."""
    s = cgi('TimeOut 4\n<Location "/cgi/patient">\nCGIScriptTimeout 60\n</Location>\n')
    s.sh("slow", "gate one; head; echo done\n")
    s.sh("patient", "gate one; head; echo done\n")
    s.gate("one")
    patient = s.ask("/cgi/patient")
    assert s.ask("/cgi/slow").answer().status == 504
    s.open_gate("one")
    assert patient.answer().body == b"done\n"


# ---- the helper ----

def test_a_helper_that_is_killed_is_replaced(cgi):
    """The scripts it had started are ended, their clients are told, and the next script runs by another one."""
    s = cgi()
    s.gate("never")
    s.sh("quick", "head; echo quick\n")
    assert helpers(s) == []  # none without need
    s.python("ends", obeys())
    c = s.ask("/cgi/ends")
    script = running(s)[0][0]
    for round_ in range(2):
        old = wait_until("there is a helper", lambda: helpers(s))
        assert len(old) == 1
        os.kill(old[0], signal.SIGKILL)
        wait_until("it is gone", lambda: not is_alive(old[0]))
        if round_ == 0:
            s.await_note("term %d" % script)
            assert c.answer().status in (500, 502)
        assert s.get("/cgi/quick").body == b"quick\n"
        assert helpers(s) and helpers(s) != old
    s.await_log(str(old[0]))


def test_requests_while_helpers_are_killed(cgi):
    """None is left without an answer, and the service goes on."""
    s = cgi()
    s.sh("quick", "head; echo quick\n")
    statuses, ends = [], []

    def ask():
        while not ends:
            try:
                statuses.append(s.get("/cgi/quick").status)
            except http.client.IncompleteRead:  # of an answer that had begun
                statuses.append(502)

    threads = [s.background(ask) for _ in range(4)]
    try:
        for _ in range(3):
            before = len(statuses)
            wait_until("it serves", lambda b=before: statuses[b:].count(200) > 8)
            for pid in helpers(s):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        before = len(statuses)
        wait_until("it serves again", lambda: statuses[before:].count(200) > 8)
    finally:
        ends.append(True)
        for t in threads:
            t.join()
    assert set(statuses) <= {200, 500, 502, 503}, set(statuses)
    assert s.get("/cgi/quick").status == 200


def test_a_script_cannot_hurt_the_helper(cgi):
    """What a script does to its parent, as far as its rights go, does not stop the next one."""
    s = cgi()
    s.sh("hostile", "head; kill -TERM $PPID; kill -KILL $PPID; echo tried\n")
    s.sh("quick", "head; echo quick\n")
    s.ask("/cgi/hostile").answer()
    for _ in range(3):
        assert s.get("/cgi/quick").body == b"quick\n"


# ---- web children, restarts, the stop ----

def test_a_web_child_that_dies_takes_its_scripts_with_it(cgi):
    s = cgi()
    s.gate("never")
    s.python("ends", obeys())
    s.sh("quick", "head; echo quick\n")
    c = s.ask("/cgi/ends")
    script, child = running(s)[0]
    s.kill_holders([c])
    s.await_note("term %d" % script)
    wait_until("both are gone", lambda: not is_alive(script) and not is_alive(child))
    assert s.get("/cgi/quick").body == b"quick\n"


def test_a_graceful_restart_lets_scripts_finish(cgi):
    """Before and after it scripts run; the one that was running writes its answer to the end."""
    s = cgi()
    s.sh("slow", 'head; echo first; note runs; gate go; echo last\n')
    s.sh("quick", "head; echo quick\n")
    s.gate("go")
    c = s.ask("/cgi/slow")
    assert c.head().status == 200 and c.chunk() == b"first\n"
    for _ in range(2):
        s.server.graceful()
        assert s.get("/cgi/quick").body == b"quick\n"
    s.open_gate("go")
    assert c.chunk() == b"last\n" and c.chunk() == b""
    c.s.close()
    wait_until("the old helpers are gone", lambda: len(helpers(s)) <= 1)


def test_nothing_is_left_when_the_server_stops(cgi):
    """Not even a script that obeys no TERM, nor its child."""
    s = cgi()
    s.gate("never")
    s.python("stays", ignores(HEAD))
    clients = [s.ask("/cgi/stays") for _ in range(2)]
    pids = running(s, 2)
    s.server.stop()
    for c in clients:
        with contextlib.suppress(ConnectionResetError):
            c.rest()
    wait_until("they are gone", lambda: not any(is_alive(pid) for pair in pids for pid in pair))


def test_a_script_that_closed_its_output_is_not_waited_for(cgi):
    """The answer is complete when the script has closed its output, whatever it does afterwards; it may finish that."""
    s = cgi()
    s.python("closes", 'head()\nout("all\\n")\nos.close(1)\nnote("closed")\ngate("go")\nos.write(2, b"afterwards\\n")\nnote("finished")\n')
    s.gate("go")
    c = s.ask("/cgi/closes", "Connection: close\r\n")
    assert c.answer().body == b"all\n"
    s.await_note("closed")
    assert s.notes() == ["closed"]
    s.open_gate("go")
    s.await_note("finished")
    s.static_is_served()


def test_no_zombies(cgi):
    s = cgi()
    s.sh("quick", "head; echo quick\n")
    for _ in range(20):
        assert s.get("/cgi/quick").status == 200

    def zombies():
        return [p.pid for p in harness.processes() if p.ppid() in helpers(s) and not p.is_alive()]

    wait_until("all are waited for", lambda: helpers(s) and not zombies())
