"""-k: starting, restarting and stopping a server from the command line, with httpd's words and exit statuses."""
import os
import signal
import subprocess
import sys

import harness
import pytest


@pytest.fixture
def daemon(make):
    """daemon(config) starts a server by -k start."""
    def start(config="", **kwargs):
        s = make(config, daemon=True, **kwargs)
        k_start(s)
        return s
    return start


def k_start(s, word="start"):
    r = s.run("-k", word)
    assert r.returncode == 0, r.stderr
    s.pid = s.read_pid_file()
    s.session = harness.Process(s.pid).session()
    return r


def wait_gone(s):
    harness.wait_until("the server ends", s.has_exited)


def test_start_leaves_a_server_behind_and_its_pid_file(daemon):
    s = daemon()
    assert s.pid and harness.Process(s.pid).is_alive()
    assert s.get("/").body == b"hello\n"


def test_start_without_k_goes_to_the_background(make):
    s = make()
    r = s.run()
    assert (r.returncode, r.stderr) == (0, "")
    s.pid = s.read_pid_file()
    s.session = harness.Process(s.pid).session()
    assert s.get("/").status == 200


def test_start_when_it_runs(daemon):
    s = daemon()
    r = s.run("-k", "start")
    assert (r.returncode, r.stdout, r.stderr) == (0, "muster (pid %d) already running\n" % s.pid, "")
    assert s.read_pid_file() == s.pid and s.get("/").status == 200


def test_warnings_are_printed_once(make):
    s = make("Define UNUSED\n<IfDefine UNUSED>\nAlias /x ${NO_SUCH_VARIABLE}\n</IfDefine>\n", daemon=True)
    assert s.run("-t").stderr.count("NO_SUCH_VARIABLE") == 1
    assert k_start(s).stderr.count("NO_SUCH_VARIABLE") == 1


def test_failing_start_says_why(make):
    first, second = make(), make()
    first.start()
    second.ports = first.ports
    second.port = first.port
    second.configure()
    r = second.run("-k", "start")
    assert r.returncode != 0
    assert str(first.port) in r.stderr
    assert not os.path.exists(second.path("logs/muster.pid"))
    second.ports = []
    assert first.get("/").status == 200


def test_graceful_takes_the_new_configuration(daemon):
    s = daemon()
    s.write("other/index.html", "other\n")
    os.chmod(s.path("other"), 0o755)
    s.configure('Alias /other "{root}/other"\n<Directory "{root}/other">\nRequire all granted\n</Directory>\n')
    assert s.get("/other/index.html").status == 404
    r = s.run("-k", "graceful")
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "")
    harness.wait_until("the new configuration is in force", lambda: s.get("/other/index.html").status == 200)
    assert s.read_pid_file() == s.pid


def test_restart(daemon):
    s = daemon()
    before = {p.pid for p in s.children()}
    r = s.run("-k", "restart")
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "")
    harness.wait_until("all children are new", lambda: s.children() and not before & {p.pid for p in s.children()})
    assert s.read_pid_file() == s.pid
    harness.wait_until("it serves", lambda: s.get("/").status == 200)


def without_slow_turns(log):
    """MU0100 tells of a slow machine, not of a signal."""
    return [line for line in log.splitlines() if "MU0100" not in line]


@pytest.mark.parametrize("word", ["graceful", "restart", "stop", "graceful-stop", "start"])
def test_a_broken_configuration_leaves_the_server_alone(daemon, word):
    s = daemon()
    children, log = {p.pid for p in s.children()}, s.error_log()
    s.configure("NoSuchDirective\n")
    r = s.run("-k", word)
    assert (r.returncode, r.stdout) == (1, "")
    assert "NoSuchDirective" in r.stderr
    assert s.get("/").status == 200
    assert children <= {p.pid for p in s.children()}
    assert without_slow_turns(s.error_log()) == without_slow_turns(log), "a signal came through"


@pytest.mark.parametrize("word", ["stop", "graceful-stop"])
def test_stop(daemon, word):
    s = daemon()
    r = s.run("-k", word)
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "")
    wait_gone(s)
    assert s.leftovers() == []
    r = s.run("-k", word)
    assert (r.returncode, r.stdout, r.stderr) == (0, "muster (no pid file) not running\n", "")


@pytest.mark.parametrize("word", ["restart", "graceful"])
def test_restart_of_a_server_that_does_not_run_starts_it(make, word):
    s = make(daemon=True)
    r = k_start(s, word)
    assert (r.stdout, r.stderr) == ("muster not running, trying to start\n", "")
    assert s.get("/").status == 200


def finished_pid():
    """The pid of a process that is gone."""
    p = subprocess.Popen([sys.executable, "-c", ""])
    p.wait()
    return p.pid


def test_stale_pid_file(make):
    s = make(daemon=True)
    pid = finished_pid()
    s.write("logs/muster.pid", "%d\n" % pid)
    r = s.run("-k", "stop")
    assert (r.returncode, r.stdout) == (0, "muster (pid %d?) not running\n" % pid)
    k_start(s)
    assert s.pid != pid and s.get("/").status == 200


def test_pid_file_of_another_program(make):
    s = make(daemon=True)
    other = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        path = s.write("logs/muster.pid", "%d\n" % other.pid)
        r = s.run("-k", "stop")
        os.unlink(path)
        assert (r.returncode, r.stdout) == (0, "muster (pid %d?) not running\n" % other.pid)
        assert other.poll() is None
    finally:
        other.communicate()


def test_unreadable_pid_file(make):
    s = make(daemon=True)
    path = s.write("logs/muster.pid", "nothing\n")
    r = s.run("-k", "stop")
    assert (r.returncode, r.stdout) == (0, "muster (no pid in %s) not running\n" % path)
    os.unlink(path)


def test_t_wins_over_k(daemon):
    s = daemon()
    r = s.run("-k", "stop", "-t")
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "Syntax OK\n")
    assert s.get("/").status == 200


def test_a_server_that_went_back_to_its_old_binary_is_still_known(make):
    """It was executed through a descriptor (kernels before 6.14 call it by the number of that), and is no other program."""
    s = make()
    s.start()
    s.configure('PidFile "{root}/nowhere/muster.pid"\n')  # which no rehearsal finds out
    s.send_signal(signal.SIGUSR1)
    harness.wait_until("it went back", lambda: "the old one goes on" in s.error_log())
    s.configure()
    r = s.run("-k", "start")
    assert (r.returncode, r.stdout) == (0, "muster (pid %d) already running\n" % s.pid)
    assert s.run("-k", "stop").stdout == ""
    harness.wait_until("it ends", s.has_exited)
