"""`muster serve DIR`: a folder on the web without a configuration file."""
import contextlib
import http.client
import os
import re
import shutil
import signal
import subprocess
import tempfile

import harness
import pytest


class Served:
    """A running `muster serve`, with what it prints in files."""

    def __init__(self, root, *args):
        self.folder = tempfile.mkdtemp(prefix="muster-serve-", dir="/tmp")
        env = dict(os.environ, XDG_RUNTIME_DIR=self.folder)
        with open(self.path("out"), "wb") as out, open(self.path("err"), "wb") as err:
            self.process = subprocess.Popen([harness.MUSTER, "serve", root, *args], stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=err, start_new_session=True, env=env)
        self.pid = self.process.pid

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name):
        with open(self.path(name), errors="surrogateescape") as f:
            return f.read()

    def wait(self):
        """Until it says where it is."""
        def look():
            assert self.process.poll() is None, self.read("err")
            return re.match(r"Muster serves (.*) with the (\w+) MPM on http://(.*):(\d+)/ \(Ctrl-C stops it\)\n",
                            self.read("out"), re.S)
        self.root, self.mpm, self.host, port = harness.wait_until("it is announced", look).groups()
        self.port = int(port)
        harness.wait_until("the children of the start serve", lambda: harness.UP in self.read("err"))
        return self

    def get(self, path):
        client = http.client.HTTPConnection(self.host.strip("[]"), self.port, timeout=harness.PATIENCE)
        try:
            client.request("GET", path)
            r = client.getresponse()
            return harness.Response(r.status, r.headers, r.read())
        finally:
            client.close()

    def family(self):
        return [p for p in harness.processes() if p.session() == self.pid and p.is_alive()]

    def stop(self, number=signal.SIGINT):
        os.kill(self.pid, number)
        harness.wait_until("it ends", lambda: self.process.poll() is not None)
        return self.process.returncode

    def remove(self):
        with contextlib.suppress(AssertionError):       # of a test that failed: what is left of it is killed
            if self.process.poll() is None:
                self.stop(signal.SIGTERM)               # takes its PidFile with it
        for p in self.family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(p.pid, signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def site():
    root = tempfile.mkdtemp(prefix="muster-site-", dir="/tmp")
    os.chmod(root, 0o755)
    os.mkdir(os.path.join(root, "sub"))
    for name, text in (("a.txt", "text\n"), ("sub/index.html", "<p>index\n"), (".htaccess", "Require all granted\n")):
        with open(os.path.join(root, name), "w") as f:
            f.write(text)
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def serve():
    started = []

    def start(root, *args):
        started.append(Served(root, "--mpm", harness.MPM, *args))
        return started[-1]

    yield start
    for s in started:
        s.remove()


def pid_file(s):
    folder = "/run" if os.geteuid() == 0 else s.folder
    return os.path.join(folder, "muster-serve-%d-%s-%d.pid" % (os.geteuid(), s.host, s.port))


def test_it_serves(serve, site):
    s = serve(site, "--port", "0").wait()
    assert (s.root, s.mpm, s.host) == (site, harness.MPM, "127.0.0.1")
    r = s.get("/a.txt")
    assert (r.status, r.body, r.headers["Content-Type"]) == (200, b"text\n", "text/plain; charset=utf-8")
    assert s.get("/sub/").body == b"<p>index\n"
    assert s.get("/sub").status == 301
    assert s.get("/nothing").status == 404
    assert s.get("/.htaccess").status == 403
    assert os.path.exists(pid_file(s))
    assert s.stop() == 0
    assert s.family() == [] and not os.path.exists(pid_file(s))


def test_folders_are_listed(serve, site):
    s = serve(site, "--port=0").wait()
    r = s.get("/")
    assert r.status == 200
    assert b'<a href="a.txt">a.txt</a>' in r.body and b'<a href="sub/">sub/</a>' in r.body
    assert b".htaccess" not in r.body


def test_logs(serve, site):
    s = serve(site, "--port", "0").wait()
    s.get("/a.txt")
    harness.wait_until("the first request is logged", lambda: s.read("out").count("\n") == 2)
    s.get("/nothing")
    form = r'127\.0\.0\.1 - - \[[^]]+\] "GET %s HTTP/1\.1" %d \d+'
    harness.wait_until("both requests are logged", lambda: s.read("out").count("\n") == 3)
    lines = s.read("out").splitlines()
    assert re.fullmatch(form % ("/a.txt", 200), lines[1]) and re.fullmatch(form % ("/nothing", 404), lines[2])
    assert "resuming normal operations" in s.read("err")


def test_graceful_restart_keeps_port_and_pid(serve, site):
    s = serve(site, "--port", "0").wait()
    children = {p.pid for p in s.family()} - {s.pid}
    client = socket_to(s)
    os.kill(s.pid, signal.SIGUSR1)
    harness.wait_until("the restart is through", lambda: s.read("err").count("resuming normal operations") == 2)
    harness.wait_until("new children serve", lambda: {p.pid for p in s.family()} - {s.pid} - children)
    assert s.get("/a.txt").body == b"text\n"
    client.close()
    harness.wait_until("the old children are gone", lambda: not children & {p.pid for p in s.family()})
    assert s.get("/a.txt").body == b"text\n"
    assert s.read("out").count("Muster serves") == 1
    assert s.stop(signal.SIGTERM) == 0
    assert s.family() == []


def socket_to(s):
    """A connection that is busy with nothing, so that the old generation has something to finish."""
    client = http.client.HTTPConnection(s.host, s.port, timeout=harness.PATIENCE)
    client.request("GET", "/a.txt")
    assert client.getresponse().read() == b"text\n"
    return client


@pytest.mark.parametrize("name", ['with "quotes"', "back\\slash", "dollar${HOME}", "glob[1]*", "blank at end ", "line\nbreak",
                                  "ümläut", "%20", "'"])
def test_folders_with_odd_names(serve, site, name):
    odd = os.path.join(site, name)
    os.mkdir(odd)
    with open(os.path.join(odd, "x.txt"), "w") as f:
        f.write("here\n")
    s = serve(odd, "--port", "0").wait()
    assert s.get("/x.txt").body == b"here\n"
    os.kill(s.pid, signal.SIGUSR1)
    harness.wait_until("the restart is through", lambda: s.read("err").count("resuming normal operations") == 2)
    assert s.get("/x.txt").body == b"here\n"


def test_relative_folder_and_given_port(serve, site, monkeypatch):
    monkeypatch.chdir(site)
    port = harness.free_ports(1)[0]
    s = serve("sub", "--port", str(port)).wait()
    assert (s.root, s.port) == (os.path.join(site, "sub"), port)
    assert s.get("/").body == b"<p>index\n"


@pytest.mark.parametrize("bind,host", [("127.0.0.2", "127.0.0.2"), ("localhost", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")])
def test_bind(serve, site, bind, host):
    s = serve(site, "--port", "0", "--bind", bind).wait()
    assert s.host == host
    assert s.get("/a.txt").status == 200


def test_all_addresses(serve, site):
    s = serve(site, "--port", "0", "--bind", "*").wait()
    assert s.get("/a.txt").status == 200
    s.host = "127.0.0.2"
    assert s.get("/a.txt").status == 200


def test_taken_port(serve, site):
    first = serve(site, "--port", "0").wait()
    r = run(site, "--port", str(first.port), "--bind", "0.0.0.0")
    assert r.returncode == 1 and str(first.port) in r.stderr
    r = run(site, "--port", str(first.port))
    assert r.returncode == 1 and r.stderr
    assert first.get("/a.txt").status == 200


def run(*args):
    return subprocess.run([harness.MUSTER, "serve", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=harness.PATIENCE)


@pytest.mark.parametrize("args,word", [
    ((), "Usage: "),
    (("/", "/tmp"), "Usage: "),
    (("--nonsense", "/tmp"), "--nonsense"),
    (("/tmp", "--port"), "--port"),
    (("/nonexistent",), "/nonexistent: No such file or directory"),
    (("/etc/passwd",), "/etc/passwd: Not a directory"),
    (("--port", "x", "/tmp"), "--port x"),
    (("--port", "65536", "/tmp"), "--port 65536"),
    (("--bind", "nowhere", "/tmp"), "--bind nowhere"),
    (("--mpm", "threads", "/tmp"), "--mpm threads"),
])
def test_wrong_command_lines(args, word):
    r = run(*args)
    assert (r.returncode, r.stdout) == (1, "")
    assert word in r.stderr


def test_help():
    r = run("--help")
    assert (r.returncode, r.stderr) == (0, "")
    assert all(word in r.stdout for word in ("--port", "--bind", "--mpm", "DIR"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server has children that are somebody else")
def test_folder_the_children_cannot_read(site):
    os.chmod(site, 0o700)
    r = run(site, "--port", "0")
    assert r.returncode == 1
    assert "cannot be read by %s" % harness.unprivileged().pw_name in r.stderr
