"""What a review of the parts that run applications found, each with the scenario that showed it."""
import contextlib
import os
import pty
import re
import signal

import pytest

import applications
import harness
import rawclient
from applications import TESTAPP
from harness import wait_until


FEW = 120


def is_app(process):
    with contextlib.suppress(OSError), open("/proc/%d/cmdline" % process.pid, "rb") as f:
        return f.read().startswith(TESTAPP.encode())
    return False  # it has ended


def web_children(server):
    return [p for p in server.children() if not is_app(p)]


def child_peaks(server):
    """Kilobytes of memory that each web child has had at most."""
    return {p.pid: int(p.status()["VmHWM"].split()[0]) for p in web_children(server)}


def app_pool(*lines):
    return applications.pool("app", TESTAPP, *lines) + '<Location "/app">\nSetHandler "pool:app"\n</Location>\n'


def test_fields_of_one_name_take_no_square_of_memory(make):
    """100 fields of 8000 bytes are one variable of 800 KB; joining two at a time took 50 times as much."""
    s = make(app_pool("ProcessManager static", "MaxChildren 1") + 'SetEnvIf X-A nothing found=1\n',
             files={"index.html": "x", "app": "x"}).start()
    assert s.get("/app?var=HTTP_HOST").status == 200
    before = child_peaks(s)
    fields = "".join("X-A: %03d%s\r\n" % (i, "x" * 8000) for i in range(90))
    with rawclient.Client(s) as c:
        answer = c.get("/app?var=HTTP_X_A", fields).answer()
    assert answer.status == 200 and answer.body.startswith(b"000xxx")
    after = child_peaks(s)
    assert max(after[pid] - before[pid] for pid in before) < 12 * 1024, (before, after)


def test_an_error_page_by_an_application_is_not_given_the_body(make):
    """The body belongs to the request that failed, also where bodies are streamed."""
    s = make(app_pool("StreamRequests On") + 'ErrorDocument 403 "/app?body&text=end"\n<Location "/none">\nRequire all denied\n</Location>\n',
             files={"app": "x"}).start()
    answer = s.request("POST", "/none", {"Content-Type": "text/plain"}, b"secret body")
    assert answer.status == 403 and answer.body == b"end"


def test_a_local_redirect_leaves_no_body_to_be_taken_for_a_request(make):
    """The application answered before it was given the body; what is left of that is no request."""
    s = make(app_pool("StreamRequests On"), files={"app": "x", "there.txt": "there"}).start()
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    with s.connect() as c:
        c.sendall(b"POST /app?location=/there.txt HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (len(smuggled) + 4))
        got = b""
        while b"there" not in got.split(b"\r\n\r\n", 1)[-1]:
            piece = c.recv(65536)
            assert piece
            got += piece
        c.sendall(b"abcd" + smuggled + b"GET /there.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        rest = b""
        while True:
            piece = c.recv(65536)
            if not piece:
                break
            rest += piece
    assert rest.count(b"HTTP/1.1 ") <= 1 and b"404" not in rest
    assert "/smuggled" not in s.error_log()


def terminal_of(process):
    """The number of its controlling terminal, 0: none; and what its standard input is."""
    with open("/proc/%d/stat" % process.pid) as f:
        number = int(f.read().rsplit(")", 1)[1].split()[4])
    return number, os.readlink("/proc/%d/fd/0" % process.pid)


def test_nobody_has_the_terminal_of_a_server_in_the_foreground(make):
    """Who has could put words into the shell that the server was started from (TIOCSTI)."""
    s = make(app_pool(), files={"app": "x"})
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(s.binary, s.command("-DFOREGROUND"))
    s.pid = s.session = pid
    try:
        wait_until("it serves", lambda: harness.UP in s.error_log() and s.error_log().count(" serves\n") == 4)
        assert s.get("/app?text=x").body == b"x"
        children = s.children()
        assert terminal_of(harness.Process(pid))[0]
        assert [is_app(p) for p in children].count(True) == 4
        for p in children:  # one that was just forked gives it up with its first steps
            wait_until("child %d has no terminal" % p.pid, lambda p=p: has_no_terminal(p))
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        os.close(terminal)


def has_no_terminal(process):
    number, stdin = terminal_of(process)
    return number == 0 and "pts" not in stdin


def failed_starts(server):
    return len(re.findall("MU1344|MU1353", server.error_log()))


def open_files(process):
    return os.listdir("/proc/%d/fd" % process.pid)


@pytest.mark.skipif(harness.MPM != "event", reason="one child has many connections at once under event alone")
def test_scripts_get_no_strange_descriptor_when_there_are_few(make):
    """More scripts at once than there are descriptors for: each start that fails gives back what is its own, and nothing
    that it shares with others (the /dev/null that scripts without a body read)."""
    s = make('ScriptAlias "/cgi/" "{root}/cgi/"\n<Directory "{root}/cgi">\nRequire all granted\n</Directory>\n'
             "StartServers 1\nServerLimit 1\nThreadsPerChild 64\nThreadLimit 64\nMaxRequestWorkers 64\nListenerThreads 1\n"
             "KeepAliveTimeout 600\n")
    os.chmod(s.write("cgi/a", "#!/bin/sh\necho Content-Type: text/plain\necho\nreadlink /proc/$$/fd/0\n"), 0o755)
    os.chmod(s.write("cgi/held", "#!/bin/sh\ncat >/dev/null\nwhile [ ! -e %s ]; do sleep 0.01; done\necho Content-Type: text/plain\necho\n"
                     % s.path("go")), 0o755)
    os.chmod(s.write("limited", "#!/bin/sh\nulimit -n %d\nexec %s \"$@\"\n" % (FEW, s.binary)), 0o755)
    s.binary = s.path("limited")
    s.start()
    child = next(p for p in s.children() if p.status()["Name"] == "muster")
    for free in (16, 20, 22, 24, 26, 28, 30):
        clients, statuses = [], []
        with contextlib.ExitStack() as stack:
            while len(open_files(child)) < FEW - free:
                clients.append(stack.enter_context(rawclient.Client(s)))
                first = clients[-1].get("/cgi/a").answer()
                assert first.status == 503 or first.body == b"/dev/null\n", first
            refused = failed_starts(s)
            for c in clients:
                c.send("POST /cgi/held HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
            wait_until("there are too few descriptors", lambda n=refused: failed_starts(s) > n)
            s.write("go", "")
            statuses = [c.answer().status for c in clients]
        os.unlink(s.path("go"))
        assert 503 in statuses and not set(statuses) - {200, 503}, statuses
        wait_until("they are closed", lambda: len(open_files(child)) < FEW - 30)
        assert [s.get("/cgi/a").body for _ in range(3)] == [b"/dev/null\n"] * 3
    assert "MU1344" in s.error_log()  # also before there were pipes
