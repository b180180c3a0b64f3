"""Restarts: every one is a re-exec. Configuration, MPM, limits, sockets and binary change; no request is lost."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

import harness
from harness import wait_until


def child_pids(server):
    return {p.pid for p in server.children()}


def test_same_pid_other_children(serve):
    server = serve()
    before = child_pids(server)
    server.graceful()
    assert server.process.poll() is None
    assert server.read_pid_file() == server.pid
    wait_until("the old generation ends", lambda: not before & child_pids(server))
    assert child_pids(server)
    assert server.get("/").status == 200


def test_configuration_takes_effect(serve):
    server = serve(files={"index.html": "old\n", "other/index.html": "new\n"})
    assert server.get("/").body == b"old\n"
    server.configure('DocumentRoot "{root}/htdocs/other"')
    server.graceful()
    assert server.get("/").body == b"new\n"


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_bad_configuration_leaves_the_server_running_and_says_why(serve, number):
    server = serve()
    before = child_pids(server)
    server.configure("NoSuchDirective On")
    server.send_signal(number)
    wait_until("the log says why", lambda: "goes on with the old one" in server.error_log())
    assert "NoSuchDirective" in server.error_log()
    assert "conf/httpd.conf" in server.error_log()
    assert before <= child_pids(server)  # there may be a further spare one
    assert server.get("/").status == 200
    server.configure()
    server.graceful()
    assert server.get("/").status == 200


def test_hangup_stops_the_old_children_at_once(serve):
    server = serve("TimeOut 600\nKeepAliveTimeout 600")
    with server.connect() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert s.recv(4096).startswith(b"HTTP/1.1 200")
        before = child_pids(server)
        server.restart(signal.SIGHUP)
        assert s.recv(4096) == b""
    wait_until("the old generation ends", lambda: not before & child_pids(server))
    assert server.get("/").status == 200


@pytest.mark.parametrize("config", ['CustomLog "|/no/such/program" common', 'CustomLog "nowhere/access.log" common'])
def test_hangup_for_modules_that_cannot_start_costs_no_connection(serve, config):
    server = serve("TimeOut 600\nKeepAliveTimeout 600")
    before = child_pids(server)
    with server.connect() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHo")
        harness.await_arrival(s)
        wait_until("a child has the connection", lambda: server.get("/").status == 200)
        server.configure(config)
        server.send_signal(signal.SIGHUP)
        wait_until("the log says why", lambda: "the old one goes on" in server.error_log()
                   or "goes on with the old one" in server.error_log())
        s.sendall(b"st: x\r\nConnection: close\r\n\r\n")
        assert s.makefile("rb").read().endswith(b"hello\n")
    assert before <= child_pids(server)
    server.configure()
    server.restart(signal.SIGHUP)
    wait_until("the first children end", lambda: not before & child_pids(server))


def test_a_busy_old_child_says_that_it_leaves(make):
    """So that nobody has to wait for it: it says so before the restart is through."""
    server = make("StartServers 1\nTimeOut 600\nLogLevel debug")
    server.start()
    with server.connect() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHo")
        harness.await_arrival(s)
        wait_until("a child has the connection", lambda: server.get("/").status == 200)
        before = child_pids(server)
        server.graceful()
        log = server.error_log()
        left = [p for p in before if "child pid %d takes no more connections" % p in log[:log.rindex(harness.UP)]]
        assert before & child_pids(server) <= set(left)
        s.sendall(b"st: x\r\n\r\n")
        assert s.makefile("rb").read().endswith(b"hello\n")
    wait_until("then it ends", lambda: not before & child_pids(server))


def test_mpm_switch(serve):
    server = serve(mpm="prefork")
    for mpm in ["worker", "event", "prefork"]:
        server.configure(mpm=mpm)
        server.graceful()
        assert re.findall(r"MPM (\w+),", server.error_log())[-1] == mpm
        assert server.get("/").status == 200


def test_limits_change_without_a_full_stop(serve):
    server = serve("ServerLimit 2\nThreadLimit 4\nThreadsPerChild 4\nMaxRequestWorkers 8\n", mpm="worker")
    assert "at most 2 children of 4 workers" in server.error_log()
    server.configure("ServerLimit 40\nThreadLimit 200\nThreadsPerChild 100\nMaxRequestWorkers 4000\nStartServers 1\n")
    server.graceful()
    assert "at most 40 children of 100 workers" in server.error_log()


def test_listeners_come_and_go(make):
    server = make(ports=2)
    first, second = server.ports
    server.ports = [first]
    server.configure()
    server.start()
    server.ports = [first, second]
    server.configure()
    server.graceful()
    assert [server.get("/", port=p).status for p in (first, second)] == [200, 200]
    server.ports = [second]
    server.port = second
    server.configure()
    server.graceful()
    assert server.get("/", port=second).status == 200
    wait_until("the removed one is closed", lambda: not server._accepts(first))


def test_new_socket_that_cannot_be_had_is_found_in_rehearsal(serve):
    server = serve()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server.configure("Listen 127.0.0.1:%d" % taken.getsockname()[1])
        server.send_signal(signal.SIGUSR1)
        wait_until("the log says why", lambda: "goes on with the old one" in server.error_log())
        assert "127.0.0.1:%d" % taken.getsockname()[1] in server.error_log()
    assert server.get("/").status == 200


def install(server):
    """A copy of the server of this one's own, which can be replaced."""
    folder = server.path("bin")
    os.mkdir(folder)
    shutil.copy2(harness.MUSTER, os.path.join(folder, "muster"))
    os.symlink(os.path.join(os.path.dirname(harness.MUSTER), "modules"), os.path.join(folder, "modules"))
    server.binary = os.path.join(folder, "muster")


def replace(server, text=None):
    """Install another version: the same program as another file, or a script."""
    new = server.binary + ".new"
    if text is None:
        shutil.copy2(harness.MUSTER, new)
    else:
        with open(new, "w") as f:
            f.write(text)
        os.chmod(new, 0o755)
    os.replace(new, server.binary)


def inode(server):
    return os.stat("/proc/%d/exe" % server.pid).st_ino


def test_a_new_binary_takes_over(make):
    server = make()
    install(server)
    server.start()
    old = inode(server)
    replace(server)
    server.graceful()
    assert inode(server) == os.stat(server.binary).st_ino != old
    assert server.get("/").status == 200


def test_path_is_not_believed(make):
    """Another program of that name, found by PATH or by the folder of the start, is not what a restart executes."""
    for name, folder in (("muster", "bin"), ("./muster", ".")):
        server = make()
        os.makedirs(server.path(folder), exist_ok=True)
        other = server.write(os.path.join(folder, "muster"), "#!/bin/sh\ntouch '%s'\nexit 1\n" % server.path("executed"))
        os.chmod(other, 0o755)
        server.env["PATH"] = server.path(folder) + ":" + os.environ["PATH"]
        server.binary = server.write("start", '#!/bin/bash\ncd "%s"\nexec -a %s "%s" "$@"\n'
                                     % (server.root, name, harness.MUSTER))
        os.chmod(server.binary, 0o755)
        server.start()
        server.graceful()
        assert not os.path.exists(server.path("executed"))
        assert server.get("/").status == 200


def test_a_binary_that_cannot_rehearse_changes_nothing(make):
    server = make()
    install(server)
    server.start()
    old = inode(server)
    replace(server, "#!/bin/sh\nexit 1\n")
    server.send_signal(signal.SIGUSR1)
    wait_until("the log says so", lambda: "goes on with the old one" in server.error_log())
    assert inode(server) == old
    assert server.get("/").status == 200


def test_a_binary_that_cannot_be_executed_after_rehearsal_changes_nothing(make):
    """It rehearses well, and is gone when it should take over."""
    server = make()
    install(server)
    server.start()
    old = inode(server)
    replace(server, '#!/bin/sh\nrm "$0"\nexec "%s" "$@"\n' % harness.MUSTER)
    server.send_signal(signal.SIGUSR1)
    wait_until("the log says so", lambda: "cannot execute" in server.error_log())
    assert inode(server) == old
    assert server.get("/").status == 200
    replace(server)
    server.graceful()
    assert inode(server) != old


def descriptors_beside_channels(server):
    """How many the supervisor holds, without one for each child. A child that is just started is one too many."""
    children = len(child_pids(server))
    return len(os.listdir("/proc/%d/fd" % server.pid)) - children


@pytest.mark.parametrize("config, why", [
    ('LoadModule stillborn_module "{test_modules}/mod_stillborn.so"', "no child ever became ready"),
    ('PidFile "{root}/nowhere/muster.pid"', "cannot write PidFile"),
])
def test_a_take_over_that_fails_is_given_back(make, config, why):
    """Whatever rehearsal cannot see: the old binary goes on with the old configuration and the old children."""
    server = make("Mutex pthread mpm-accept")
    install(server)
    server.start()
    old, before = inode(server), child_pids(server)
    held = descriptors_beside_channels(server)
    replace(server)
    server.configure(config + "\nMutex pthread mpm-accept")
    server.send_signal(signal.SIGUSR1)
    wait_until("the old binary is back", lambda: "the old one goes on" in server.error_log())
    assert why in server.error_log()
    assert inode(server) == old
    assert before <= child_pids(server)
    assert server.get("/").status == 200
    wait_until("nothing of the attempt is held", lambda: descriptors_beside_channels(server) <= held)
    server.configure()
    server.graceful()
    assert inode(server) != old
    assert server.get("/").status == 200
    wait_until("the first children end", lambda: not before & child_pids(server))


def listening_inode(port):
    """Of the socket that listens on 127.0.0.1:port; None: there is none."""
    with open("/proc/net/tcp") as f:
        for row in (line.split() for line in f):
            if row[1] == "0100007F:%04X" % port and row[3] == "0A":
                return row[9]
    return None


def target(path):
    with contextlib.suppress(FileNotFoundError):  # it has been closed meanwhile
        return os.readlink(path)
    return ""


def has_socket(pid, number):
    folder = "/proc/%d/fd" % pid
    with contextlib.suppress(FileNotFoundError):  # it has ended
        return "socket:[%s]" % number in [target(os.path.join(folder, fd)) for fd in os.listdir(folder)]
    return False


def web_children(server):
    """Those that serve: not the helpers, and not the rehearsal, which has the server's name as well."""
    def serves(process):
        try:
            with open("/proc/%d/cmdline" % process.pid, "rb") as f:
                return process.status()["Name"] == "muster" and b"--rehearse" not in f.read()
        except (FileNotFoundError, ProcessLookupError):
            return False
    return {p.pid for p in server.children() if serves(p)}


def test_a_child_started_during_a_rehearsal_has_nothing_of_it(make):
    server = make(ports=2)
    first, second = server.ports
    server.ports = [first]
    server.configure("StartServers 1")
    install(server)
    server.start()
    replace(server, '#!/bin/sh\ncase "$1" in --rehearse*) "{real}" "$@"; r=$?\n'
                    'until [ -e "{go}" ]; do sleep 0.01; done; exit $r;; esac\nexec "{real}" "$@"\n'
            .format(real=harness.MUSTER, go=server.path("go")))
    server.ports = [first, second]
    server.configure()
    server.send_signal(signal.SIGUSR1)
    number = wait_until("the rehearsal opens the new socket", lambda: listening_inode(second))
    wait_until("the supervisor has it", lambda: has_socket(server.pid, number))
    first_ones = web_children(server)
    for pid in first_ones:
        os.kill(pid, signal.SIGKILL)
    fresh = wait_until("they are replaced", lambda: web_children(server) - first_ones)
    wait_until("the replacement serves", lambda: server.get("/", port=first).status == 200)
    # Between its fork and its first steps a child still has every descriptor of the supervisor.
    wait_until("no replacement has the new socket", lambda: not any(has_socket(p, number) for p in fresh))
    server.write("go", "")
    wait_until("the restart is through", lambda: server._accepts(second) and server.get("/", port=second).status == 200)


def test_a_state_given_back_untouched(make):
    """A new binary that does not understand the state gives it back as it is, which a script does here."""
    server = make()
    install(server)
    server.start()
    before = child_pids(server)
    replace(server, """#!/usr/bin/python3
import os, sys
os.execv({real!r}, [a.replace("--takeover=", "--fallback=") for a in sys.argv])
""".format(real=harness.MUSTER))
    server.send_signal(signal.SIGUSR1)
    wait_until("it is given back", lambda: "the old one goes on" in server.error_log())
    assert before <= child_pids(server)  # there may be a further spare one
    assert server.get("/").status == 200
    replace(server)
    server.graceful()
    assert server.get("/").status == 200
    wait_until("the first children end", lambda: not before & child_pids(server))


def test_no_stop_signal_is_lost_at_any_moment_of_a_restart(make):
    """TERM at growing distances from USR1, through rehearsal, execve and take-over: it always ends the server."""
    for step in range(25):
        server = make("StartServers 1")
        server.start()
        server.send_signal(signal.SIGUSR1)
        time.sleep(step * 0.002)
        assert server.stop() == 0
        assert server.leftovers() == []


def test_no_restart_signal_is_lost(serve):
    """Many at once may become one, but the last change of the file is always taken."""
    server = serve(files={"%d/index.html" % i: "%d\n" % i for i in range(30)})
    for i in range(30):
        server.configure('DocumentRoot "{root}/htdocs/%d"' % i)
        server.send_signal(signal.SIGUSR1)
        time.sleep(0.003)
    wait_until("the last one is in force", lambda: server.get("/").body == b"29\n")


def test_kept_alive_connection_is_ended_in_order(serve):
    """It gets one more answer with Connection: close, or is closed while idle; never is a request half answered."""
    server = serve("KeepAliveTimeout 60\nMaxKeepAliveRequests 0")
    with server.connect() as s:
        f = s.makefile("rb")

        def ask():
            """True: answered; the second says whether it was the last. False: closed instead."""
            status = b""
            with contextlib.suppress(ConnectionError):  # it was closed a while ago
                s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                status = f.readline()
            if not status:
                return False, True
            assert status == b"HTTP/1.1 200 OK\r\n"
            head = list(iter(f.readline, b"\r\n"))
            assert f.read(6) == b"hello\n"
            return True, b"connection: close\r\n" in [line.lower() for line in head]

        assert ask() == (True, False)
        server.graceful()
        is_last = False
        while not is_last:
            is_answered, is_last = ask()
        if is_answered:
            assert f.read() == b""


def test_a_long_answer_outlives_several_restarts(serve):
    body = os.urandom(1 << 20) * 32
    server = serve(files={"big": body, "index.html": "hello\n"})
    with server.connect() as s:
        s.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        f = s.makefile("rb")
        while f.readline() != b"\r\n":
            pass
        got = f.read(1000)
        first = child_pids(server)
        for _ in range(3):
            server.graceful()
        assert first & child_pids(server)
        got += f.read()
    assert got == body
    wait_until("then its child ends", lambda: not first & child_pids(server))


def test_bucket_count(serve):
    server = serve("ListenCoresBucketsRatio 1")
    assert server.get("/").status == 200
    server.graceful()
    assert server.get("/").status == 200


class Verifier(threading.Thread):
    """A client that checks each answer. Errors are what no client may see: reset, refused, cut short, not 200."""

    def __init__(self, server, keep_alive):
        super().__init__()
        self.server, self.keep_alive = server, keep_alive
        self.is_over, self.count, self.errors = False, 0, []

    def run(self):
        while not self.is_over:
            try:
                self.converse()
            except Exception as e:  # noqa: BLE001: whatever it is, the test shows it
                self.errors.append(repr(e))

    def converse(self):
        with self.server.connect() as s:
            f = s.makefile("rb")
            for i in range(50 if self.keep_alive else 1):
                try:
                    s.sendall(b"GET /data HTTP/1.1\r\nHost: x\r\n%s\r\n" % (b"" if self.keep_alive else b"Connection: close\r\n"))
                    status = f.readline()
                except ConnectionError:
                    status = b""
                if not status and i > 0:
                    return  # closed while it was idle
                assert status == b"HTTP/1.1 200 OK\r\n", status
                closes = False
                while (line := f.readline()) not in (b"\r\n", b""):
                    closes |= line.lower() == b"connection: close\r\n"
                assert f.read(len(DATA)) == DATA
                self.count += 1
                if closes:
                    return


DATA = bytes(range(256)) * 40


def wait_for_answers(clients, more):
    """Until each client has got that many more answers."""
    goals = [(c, c.count + more) for c in clients]
    wait_until("every client is answered", lambda: all(c.count >= goal for c, goal in goals))


def run_load(server, disturb):
    """wrk, ab and verifying clients all at once, while `disturb` does its worst. Returns the clients' reports."""
    url = "http://127.0.0.1:%d/data" % server.port
    clients = [Verifier(server, keep_alive) for keep_alive in (True, True, False)]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(["wrk", "-t1", "-c8", "-d30s", "--timeout", "60s", url], **pipe) as wrk, \
         subprocess.Popen(["ab", "-q", "-k", "-c4", "-s60", "-t30", "-n10000000", url], **pipe) as ab:
        for c in clients:
            c.start()
        try:
            wait_for_answers(clients, 1)
            disturb(clients)
        finally:
            for c in clients:
                c.is_over = True
            for c in clients:
                c.join()
            for tool in (wrk, ab):
                tool.send_signal(signal.SIGINT)
            reports = [tool.communicate()[0] for tool in (wrk, ab)]
    return clients, reports


@pytest.mark.skipif(not shutil.which("wrk") or not shutil.which("ab"), reason="needs wrk and ab")
def test_restarts_under_load(serve):
    server = serve("MaxKeepAliveRequests 0", files={"data": DATA}, log_level="notice")

    def disturb(clients):
        for _ in range(20):
            server.graceful()
            wait_for_answers(clients, 50)
        for mpm in ["prefork", "worker", "event", "prefork"]:
            server.configure("MaxKeepAliveRequests 0", mpm=mpm)
            server.graceful()
            wait_for_answers(clients, 50)

    clients, (wrk, ab) = run_load(server, disturb)
    assert [c.errors for c in clients] == [[], [], []]
    assert all(c.count > 0 for c in clients)
    assert "Socket errors" not in wrk and "Non-2xx" not in wrk and "requests in" in wrk, wrk
    assert "Failed requests:        0" in ab and "Non-2xx" not in ab and "apr_" not in ab, ab


def test_a_killed_child_costs_at_most_what_it_was_serving(serve):
    """Each client has one request at a time, so each kill may cost each of them one at most, and no more."""
    server = serve("MaxKeepAliveRequests 0", files={"data": DATA})
    clients = [Verifier(server, True) for _ in range(3)]
    for c in clients:
        c.start()
    kills = 0
    for _ in range(5):
        wait_for_answers(clients, 20)
        victim = server.children()[0]
        os.kill(victim.pid, signal.SIGKILL)
        kills += 1
        wait_until("it is replaced", lambda: victim.pid not in child_pids(server) and server.get("/data").status == 200)
    for c in clients:
        c.is_over = True
    for c in clients:
        c.join()
    assert all(len(c.errors) <= kills for c in clients), [c.errors for c in clients]
    assert all(c.count > 0 for c in clients)
