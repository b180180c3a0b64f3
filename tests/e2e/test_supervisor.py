"""The supervisor: starting, stopping, children that die, hang or go mad, and what is left behind (nothing)."""
import contextlib
import glob
import http.client
import os
import shutil
import signal
import socket
import subprocess
import threading

import pytest

import harness
from harness import Process, wait_until

is_root = os.geteuid() == 0
SCRIBBLE = """
LoadModule scribble_module "{test_modules}/mod_scribble.so"
LoadModule block_module "{test_modules}/mod_block.so"
<Location /scribble>
    SetHandler scribble
</Location>
<Location /pid>
    SetHandler pid
</Location>
<Location /abort>
    SetHandler abort
</Location>
<Location /server-status>
    SetHandler server-status
</Location>
"""


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as s:
        s.bind(("::1", 0))
        return True
    return False


def test_serves_and_leaves_nothing(serve):
    server = serve()
    assert server.get("/").body == b"hello\n"
    assert server.stop() == 0
    assert server.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGWINCH])
def test_each_stop_signal_leaves_nothing(serve, number):
    server = serve(ports=2)
    assert server.stop(number) == 0
    assert server.leftovers() == []


def name(process):
    with contextlib.suppress(OSError):
        return process.status().get("Name", "").strip()
    return ""  # it has ended


def is_at_pipe(process):
    """Does a thread of it wait for room in a pipe?"""
    for task in glob.glob("/proc/%d/task/*/wchan" % process.pid):
        with contextlib.suppress(OSError), open(task) as f:
            if "pipe_w" in f.read():
                return True
    return False


@contextlib.contextmanager
def full_log(server):
    """A server whose error log is a pipe that its logger does not read; the pipe is full. Gives the logger."""
    server.configure("<Location /denied>\n    Require all denied\n</Location>", template=harness.TEMPLATE.replace(
        '"{root}/logs/error.log"', '"|/bin/sh -c \'exec cat >> {root}/logs/piped.log\'"'))
    server.start()
    # A moment after its fork it is not yet what it executes.
    logger = wait_until("the logger runs", lambda: next((p for p in server.children() if name(p) in ("sh", "cat")), None))
    os.kill(logger.pid, signal.SIGSTOP)

    def fill():
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                server.get("/denied")  # a line in the log each

    filler = threading.Thread(target=fill)
    filler.start()
    try:
        wait_until("a child waits for the pipe", lambda: any(is_at_pipe(p) for p in server.children()))
        yield logger
        assert not logger.is_alive()
        assert server.leftovers() == []
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(logger.pid, signal.SIGKILL)
        server.kill_all()
        filler.join()


def test_a_stopped_logger_does_not_keep_the_server_from_stopping(make):
    server = make()
    with full_log(server):
        server.send_signal(signal.SIGTERM)
        wait_until("the server stops", server.has_exited)


def test_a_dead_logger_with_a_full_pipe_is_started_again(make):
    server = make()
    with full_log(server) as logger:
        os.kill(logger.pid, signal.SIGKILL)
        wait_until("another logger reads", lambda: server.get("/").status == 200)
        server.stop()
    with open(server.path("logs", "piped.log")) as f:
        assert "MU0002" in f.read()


def test_starts_with_its_standard_streams_closed(make):
    server = make(daemon=True)
    command = ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *server.command()]
    assert subprocess.run(command, env=server.env, timeout=harness.PATIENCE).returncode == 0
    server.pid = server.read_pid_file()
    server.session = Process(server.pid).session()
    assert server.get("/").body == b"hello\n"
    for fd in range(3):
        assert os.readlink("/proc/%d/fd/%d" % (server.pid, fd)) == "/dev/null"
    server.graceful()
    assert server.get("/").body == b"hello\n"
    server.stop()
    assert server.leftovers() == []


def test_daemon_parent_waits_for_the_server(make):
    server = make(daemon=True)
    server.start()
    assert Process(server.pid).ppid() != os.getpid()
    assert server.get("/").status == 200
    server.stop()
    assert server.leftovers() == []


def test_daemon_parent_reports_failure(make):
    server = make(daemon=True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server.ports = [taken.getsockname()[1]]
        server.configure()
        result = server.run()
    assert result.returncode != 0
    assert "127.0.0.1:%d" % server.ports[0] in result.stderr
    assert server.read_pid_file() == 0
    server.ports = []


def test_children_that_never_start_end_the_server(make):
    server = make('LoadModule stillborn_module "{test_modules}/mod_stillborn.so"', daemon=True)
    result = server.run()
    assert result.returncode != 0
    assert "no child ever became ready" in result.stderr
    assert "no child ever became ready" in server.error_log()
    assert server.read_pid_file() == 0


def test_second_server_is_refused_and_a_stale_pid_file_is_not_in_the_way(serve, make):
    first = serve()
    second = make('PidFile "%s"' % first.path("logs", "muster.pid"), daemon=True)
    result = second.run()
    assert result.returncode != 0
    assert "running already" in result.stderr
    assert first.read_pid_file() == first.pid
    stale = make()
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    stale.write("logs/muster.pid", "%d\n" % gone.pid)
    stale.start()
    assert stale.read_pid_file() == stale.pid


def all_children(server, condition):
    """Does it hold of what /proc says of each child?"""
    with contextlib.suppress(OSError, KeyError):  # one ends meanwhile
        children = [child.status() for child in server.children()]
        return bool(children) and all(condition(status) for status in children)
    return False


@pytest.mark.skipif(not is_root, reason="only root can give up being root")
def test_children_are_unprivileged(serve):
    server = serve()
    user = harness.unprivileged()

    def is_unprivileged(status):
        return (status["Uid"].split() == [str(user.pw_uid)] * 4
                and status["Gid"].split() == [str(user.pw_gid)] * 4
                and "0" not in status["Groups"].split()
                and [status[cap] for cap in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")] == ["0" * 16] * 5)

    # One that was forked just now has still everything that the supervisor has.
    wait_until("every child is unprivileged", lambda: all_children(server, is_unprivileged))


@pytest.mark.skipif(not is_root or not shutil.which("setpriv"), reason="only root can give capabilities away")
@pytest.mark.skipif(not harness.is_open_to_all(harness.MUSTER), reason="other users cannot start this server")
def test_children_of_an_unprivileged_server_get_no_capability(make):
    server = make()
    user = harness.unprivileged()
    os.chown(server.path("logs"), user.pw_uid, user.pw_gid)
    server.binary = server.write("start", '#!/bin/sh\nexec setpriv --reuid=%d --regid=%d --clear-groups '
                                 '--inh-caps=+net_bind_service --ambient-caps=+net_bind_service "%s" "$@"\n'
                                 % (user.pw_uid, user.pw_gid, harness.MUSTER))
    os.chmod(server.binary, 0o755)
    server.start()
    assert Process(server.pid).status()["CapEff"] == "%016x" % (1 << 10)
    wait_until("no child has a capability", lambda: all_children(
        server, lambda status: [status[cap] for cap in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == ["0" * 16] * 4))


@pytest.mark.skipif(not is_root, reason="only root may bind it")
def test_ports_below_1024(make):
    server = make()
    for port in range(1023, 900, -1):
        with contextlib.suppress(OSError), socket.socket() as s:
            s.bind(("127.0.0.1", port))
            if harness.reserve(port):
                break
    else:
        pytest.skip("no port below 1024 is free")
    server.ports, server.port = [port], port
    server.configure()
    assert server.start().get("/").status == 200


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ipv6_and_several_listen_lines(make):
    server = make(ports=3)
    port = server.ports[2]
    server.ports = server.ports[:2]
    server.configure("Listen [::1]:%d" % port)
    server.start()
    assert [server.get("/", port=p).status for p in server.ports] == [200, 200]
    with socket.create_connection(("::1", port), timeout=harness.PATIENCE) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert s.recv(12) == b"HTTP/1.1 200"


def test_a_killed_child_is_replaced_and_logged(serve):
    server = serve()
    victim = server.children()[0]
    os.kill(victim.pid, signal.SIGKILL)
    wait_until("the log names child and signal",
               lambda: "child pid %d exit signal Killed (9)" % victim.pid in server.error_log())
    wait_until("it is replaced", lambda: victim.pid not in [p.pid for p in server.children()] and server.children())
    assert server.get("/").status == 200


def test_a_crashing_child_costs_its_own_request_only(serve):
    server = serve(SCRIBBLE)
    held = server.connect()
    with pytest.raises(Exception):
        server.get("/abort")
    wait_until("the log names the signal", lambda: "exit signal Aborted (6)" in server.error_log())
    held.close()
    assert server.get("/").status == 200


def test_a_child_that_hangs_is_killed_at_shutdown(serve):
    server = serve()
    victim = server.children()[0]
    os.kill(victim.pid, signal.SIGSTOP)
    assert server.stop() == 0
    assert "child pid %d does not stop: sending it SIGKILL" % victim.pid in server.error_log()
    assert server.leftovers() == []


def test_children_end_when_the_supervisor_is_killed(serve):
    server = serve()
    assert server.children()
    server.stop(signal.SIGKILL)
    wait_until("its children notice", lambda: not server.family())
    assert server.leftovers() == [server.path("logs", "muster.pid")]
    os.unlink(server.path("logs", "muster.pid"))


def test_graceful_stop_finishes_what_has_begun(serve):
    server = serve("TimeOut 60")
    with server.connect() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHo")
        harness.await_arrival(s)
        wait_until("a child has the connection", lambda: server.get("/").status == 200)
        server.send_signal(signal.SIGWINCH)
        wait_until("nobody is let in", lambda: not server._accepts(server.port))
        assert server.read_pid_file() == 0
        assert not server.has_exited()
        s.sendall(b"st: x\r\n\r\n")
        answer = s.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"hello\n")
    assert b"connection: close" in answer.lower()
    wait_until("the server ends", server.has_exited)


def test_graceful_shutdown_timeout(serve):
    server = serve("GracefulShutdownTimeout 1\nTimeOut 600\n<IfModule reqtimeout_module>\nRequestReadTimeout header=0 body=0\n"
                   "</IfModule>")
    with server.connect() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHo")
        harness.await_arrival(s)
        wait_until("a child has the connection", lambda: server.get("/").status == 200)
        assert server.stop(signal.SIGWINCH) == 0
        assert "GracefulShutdownTimeout is over" in server.error_log()


def test_control_words(make):
    server = make(daemon=True)
    assert "not running" in server.run("-k", "stop").stdout
    assert server.run("-k", "start").returncode == 0
    server.pid = server.read_pid_file()
    server.session = Process(server.pid).session()
    again = server.run("-k", "start")
    assert again.returncode == 0 and "already running" in again.stdout
    before = server.error_log().count("resuming normal operations")
    assert server.run("-k", "graceful").returncode == 0
    wait_until("it restarts", lambda: server.error_log().count("resuming normal operations") > before)
    server.configure("NoSuchDirective On")
    bad = server.run("-k", "graceful")
    assert bad.returncode == 1 and "NoSuchDirective" in bad.stderr
    assert server.get("/").status == 200
    server.configure()
    assert server.run("-k", "stop").returncode == 0
    wait_until("it stops", server.has_exited)
    assert server.leftovers() == []


def test_control_by_another_name(make):
    """It is the binary that tells whether the PidFile's owner is a server, not what it was called by."""
    server = make(daemon=True)
    server.start()
    server.binary = server.path("httpd")
    os.symlink(harness.MUSTER, server.binary)
    assert "already running" in server.run("-k", "start").stdout
    assert server.run("-k", "stop").returncode == 0
    wait_until("it stops", server.has_exited)
    assert server.leftovers() == []


def test_systemd_is_told(make):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        server = make(env={"NOTIFY_SOCKET": "\0muster-e2e-%d" % os.getpid()})
        notify.bind("\0muster-e2e-%d" % os.getpid())
        notify.settimeout(harness.PATIENCE)
        server.env["NOTIFY_SOCKET"] = "@muster-e2e-%d" % os.getpid()
        server.start()

        def expect(word):
            while word not in notify.recv(4096).decode():
                pass
            return True

        assert expect("READY=1")
        server.send_signal(signal.SIGUSR1)
        assert expect("RELOADING=1") and expect("READY=1")
        server.stop()
        assert expect("STOPPING=1")


def test_debug_mode_is_one_process(make):
    server = make(args=["-X"])
    server.start()
    assert server.get("/").status == 200
    # but for who starts scripts: nobody would do it later
    wait_until("that is all", lambda: [name(p) for p in server.children()] in ([], ["muster-cgi"]))
    server.stop()
    with contextlib.suppress(FileNotFoundError):  # it has given up the right to remove it
        os.unlink(server.path("logs", "muster.pid"))


def test_scribbled_shared_memory_harms_nobody_else(serve):
    """A child overwrites all shared memory with rubbish, again and again."""
    server = serve(SCRIBBLE + "MaxConnectionsPerChild 0\n")
    for _ in range(20):
        assert int(server.get("/scribble").body.split()[0]) > 0
        assert server.get("/").body == b"hello\n"
        assert server.get("/server-status?auto").status == 200
        assert server.get("/server-status").status == 200
    assert "exit signal" not in server.error_log()
    assert not server.has_exited()
    victim = server.children()[0]
    os.kill(victim.pid, signal.SIGKILL)
    wait_until("it is replaced", lambda: victim.pid not in [p.pid for p in server.children()])
    server.graceful()
    assert "Scoreboard" in server.get("/server-status?auto").body.decode()


@pytest.mark.skipif(harness.MPM == "event", reason="event has no accept lock")
def test_a_scribbled_accept_lock_is_freed(serve):
    """The word then names a live process that will never release it."""
    server = serve(SCRIBBLE + "Mutex pthread mpm-accept\nStartServers 3\n")
    words = [1, server.pid, os.getpid(), 0xffffffff] + [p.pid for p in server.children()]
    for word in words:
        assert int(server.get("/scribble?%d" % word).body.split()[0]) > 0
        assert server.get("/").body == b"hello\n"
    assert "exit signal" not in server.error_log()


def test_piped_logger_is_restarted_and_survives_a_restart(make):
    server = make()
    server.configure('ErrorLog "|$cat >>%s"' % server.path("logs", "piped.log"))

    def piped():
        with open(server.path("logs", "piped.log")) as f:
            return f.read()

    def program(pid):
        with contextlib.suppress(OSError):
            return os.readlink("/proc/%d/exe" % pid)
        return ""

    def loggers():
        return [p.pid for p in server.children() if "/bin/" in program(p.pid)]

    server.start()
    wait_until("the log begins", lambda: os.path.exists(server.path("logs", "piped.log")) and "resuming" in piped())
    first = wait_until("there is a logger", loggers)
    server.send_signal(signal.SIGUSR1)
    wait_until("the restart is logged by the same logger", lambda: piped().count("resuming") == 2)
    assert loggers() == first
    os.kill(first[0], signal.SIGKILL)
    second = wait_until("it is started again", lambda: [p for p in loggers() if p not in first])
    server.send_signal(signal.SIGUSR1)
    wait_until("lines arrive again", lambda: piped().count("resuming") == 3)
    assert loggers() == second


@pytest.mark.skipif(harness.MPM == "event", reason="event has no accept lock")
def test_accept_lock_survives_its_holder(serve):
    server = serve("Mutex pthread mpm-accept\nStartServers 3")
    for child in server.children():
        os.kill(child.pid, signal.SIGKILL)  # one of them held it
        assert server.get("/").status == 200
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(server.get("/").status)) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert statuses == [200] * 20
    server.graceful()
    assert server.get("/").status == 200
