"""Application pools: what a process of one is, who it runs as, what it is given, and that it may be anything.

testapp (tests/e2e/apps) is most of the applications; a Python one and php-cgi show that nothing is special about it.
"""
import contextlib
import os
import re
import shutil
import subprocess

import pytest

import applications
import rawclient
from applications import TESTAPP, pool, pool_user, query
from harness import Process, unprivileged, wait_until
from poolkit import APP, STATUS, only_root, pools, static  # noqa: F401


def test_exactly_three_descriptors(pools):
    text = pools(*static(1)).start().text("fds")
    found = dict(line.split(" ", 1) for line in text.splitlines())
    assert sorted(found) == ["0", "1", "2", "3"], "and 3 is the connection of this request"
    assert found["0"].startswith("socket:") and found["3"].startswith("socket:")
    assert found["1"].startswith("pipe:") and found["2"] == found["1"]


def targets(pid):
    """What the descriptors of a process stand for; of sockets and pipes their numbers, of shared memory its name."""
    found = set()
    with contextlib.suppress(FileNotFoundError):  # it may end while it is looked at
        for fd in os.listdir("/proc/%d/fd" % pid):
            with contextlib.suppress(OSError):
                found.add(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
    return found


def test_nothing_is_shared_with_the_web_children(pools):
    """Neither sockets nor pipes nor shared memory, over requests, a reload and a restart."""
    p = pools(*static(2)).start()
    p.settled(2)
    p.control("reload", "app")
    p.settled(2)
    p.server.graceful()
    apps = p.settled(2)
    p.text(text="x")
    assert len(apps) == 2
    own = wait_until("a listening socket and a pipe each, once the request's connection is closed",
                     lambda: {len(targets(pid)) for pid in apps} == {2} and [targets(pid) for pid in apps])
    assert not own[0] & own[1]

    def is_apart():
        web = [targets(c.pid) for c in p.server.children() if c.pid not in apps]
        return any(web) and not any(t & (own[0] | own[1]) or any("muster-pool" in x for x in t) for t in web)

    # One that was forked just now has still everything that the supervisor has.
    wait_until("no web child has anything of it; the queue is mapped, and no descriptor is left of it", is_apart)


# As many web children as there are from the beginning.
FIXED = """
<IfModule mpm_prefork_module>
    StartServers 4
    MaxRequestWorkers 4
</IfModule>
<IfModule !mpm_prefork_module>
    StartServers 1
    ServerLimit 1
    ThreadsPerChild 8
    MaxRequestWorkers 8
</IfModule>
"""


def test_no_descriptor_is_leaked(pools):
    """By crashes, reloads and requests: supervisor and web children have as many as before."""
    p = pools(*static(2), "SpawnRate 100", more=FIXED).start()
    p.settled(2)

    def round_trip():
        p.get("crash=kill")
        p.settled(2)
        p.control("reload", "app")
        p.control("list")
        p.control("stop", "app")
        assert p.get(text="x").status == 503
        p.control("start", "app")
        p.settled(2)

    def count():
        return len(os.listdir("/proc/%d/fd" % p.server.pid))

    round_trip()
    before = wait_until("it is quiet", lambda: p.settled(2) and count())
    for _ in range(4):
        round_trip()
    wait_until("as many as before", lambda: count() <= before)


def test_environment_is_clean(pools):
    p = pools(*static(1, "Environment COLOUR=green HOME=/tmp", "Environment PASSED ABSENT"),
              env={"PASSED": "on", "SECRET": "x"}).start()
    found = dict(line.split("=", 1) for line in p.text("processenv").splitlines())
    expected = {"PATH": "/usr/local/bin:/usr/bin:/bin", "COLOUR": "green", "HOME": "/tmp", "PASSED": "on"}
    if pool_user():
        expected["USER"] = pool_user().pw_name
    assert found == expected


def test_limits_and_place(pools):
    p = pools(*static(1, "LimitCPU 77", "LimitMemory 512M", "LimitFiles 99", "LimitProcesses 4321",
                      "WorkingDirectory /usr")).start()
    limits = {f[0]: (int(f[1]), int(f[2])) for f in (line.split() for line in p.text("limits").splitlines())}
    assert limits["cpu"] == (77, 77) and limits["as"] == (512 << 20, 512 << 20)
    assert limits["nofile"] == (99, 99) and limits["nproc"] == (4321, 4321)
    assert p.text("cwd") == "/usr\n"
    assert p.text(alloc="1000") == "refused\n"
    assert p.text(alloc="10") == "allocated\n"


def test_a_process_group_of_its_own(pools):
    found = dict(re.findall(r"(\w+)=(\d+)", pools(*static(1)).start().text("process")))
    assert found["pid"] == found["pgid"] and found["ppid"] != "1"


@only_root
def test_user_group_and_nothing_of_root(pools):
    p = pools(*static(1)).start()
    user = pool_user()
    assert p.text("ids").startswith("uid=%d gid=%d " % (user.pw_uid, user.pw_gid))
    status = Process(p.pid()).status()
    assert status["Uid"].split() == [str(user.pw_uid)] * 4
    assert status["CapEff"] == status["CapPrm"] == status["CapBnd"] == "0" * 16


@only_root
def test_chroot(pools, make):
    p = pools(more="")
    jail = p.server.path("jail")
    os.makedirs(jail + "/bin")
    os.makedirs(jail + "/work")
    os.chmod(jail, 0o755)
    shutil.copy(TESTAPP, jail + "/bin/app")
    libraries = subprocess.run(["ldd", TESTAPP], stdout=subprocess.PIPE, text=True).stdout
    for path in re.findall(r"(/\S+\.so\S*)", libraries):
        os.makedirs(jail + os.path.dirname(path), exist_ok=True)
        shutil.copy(path, jail + path)
    p.configure(*static(1, "Chroot " + jail, "WorkingDirectory /work"), command="/bin/app")
    p.start()
    assert p.text("cwd") == "/work\n"
    assert os.readlink("/proc/%d/root" % p.settled(1)[0]) == jail


@only_root
def test_files_are_named_as_they_are_seen_inside(pools):
    """Of an application in a Chroot; what lies outside of it keeps its name."""
    p = pools()
    jail = p.server.path("jail")
    os.makedirs(jail + "/bin")
    os.makedirs(jail + "/www")
    os.chmod(jail, 0o755)
    shutil.copy(TESTAPP, jail + "/bin/app")
    p.server.write("jail/www/x.app", "script")
    p.configure(*static(1, "Chroot " + jail + "/"), command="/bin/app", more=(
        'DocumentRoot "%s/www"\n<Directory "%s/www">\n    Require all granted\n    SetHandler pool:app\n</Directory>\n'
        'Alias "/out" "{root}/htdocs"\n<Location "/out">\n    SetHandler pool:app\n</Location>\n' % (jail, jail)))
    p.start()
    found = {name: p.get("var=" + name, path="/x.app/info").body.decode().strip()
             for name in ("SCRIPT_FILENAME", "DOCUMENT_ROOT", "PATH_TRANSLATED", "SCRIPT_NAME", "PATH_INFO")}
    assert found == {"SCRIPT_FILENAME": "/www/x.app", "DOCUMENT_ROOT": "/www", "PATH_TRANSLATED": "/www/info",
                     "SCRIPT_NAME": "/x.app", "PATH_INFO": "/info"}
    assert p.get("var=SCRIPT_FILENAME", path="/out/index.html").body.decode().strip() == p.server.path("htdocs/index.html")


def test_what_it_prints_is_in_the_error_log(pools):
    p = pools(command="/bin/sh").configure(*static(1))
    script = p.server.write("say.sh", "#!/bin/sh\necho to stdout\necho to stderr >&2\nexec %s -m %s\n" % (
        TESTAPP, p.marks))
    os.chmod(script, 0o755)
    p.server.configure(pool("app", script, *static(1)) + APP % "app" + STATUS)
    p.start()
    assert p.text(text="fine") == "fine"
    pid = p.settled(1)[0]
    wait_until("the supervisor has read it", lambda: len(p.logged("MU0930")) >= 2)
    lines = [line.split("MU0930: ")[1] for line in p.logged("MU0930")]
    assert lines == ["pool app process %d: to stdout" % pid, "pool app process %d: to stderr" % pid]


def test_sockets_are_the_web_childrens_alone(pools):
    p = pools(*static(2)).start()
    p.settled(2)
    folder = p.server.path("logs/muster.pools")
    assert os.stat(folder).st_mode & 0o777 == (0o710 if unprivileged() else 0o700)
    owners = {name: os.stat(os.path.join(folder, name)) for name in os.listdir(folder)}
    assert sorted(owners) == ["app.0.1", "app.1.2", "control"]
    assert {s.st_mode & 0o777 for s in owners.values()} == {0o600}
    if unprivileged():
        assert owners["app.0.1"].st_uid == unprivileged().pw_uid and owners["control"].st_uid == 0
    p.server.stop()
    assert not os.path.exists(folder)


@pytest.mark.skipif(not applications.can_execute(applications.PHP_CGI), reason="needs php-cgi")
def test_opcache_is_warm_behind_a_restart(serve, beside):
    php = beside(applications.PhpPool("ProcessManager static", "MaxChildren 1", opcache__file_update_protection=0))
    config = php.config + '<FilesMatch "\\.php$">\n    SetHandler "pool:php"\n</FilesMatch>\n'
    server = serve(config, files={"index.html": "x", "other.php": "<?php echo 'other';",
                                  "a.php": "<?php var_dump(opcache_is_script_cached(__DIR__ . '/other.php'));"})
    assert server.get("/a.php").body == b"bool(false)\n"
    assert server.get("/other.php").body == b"other"
    for _ in range(2):
        assert server.get("/a.php").body == b"bool(true)\n"
        server.configure(config + "# changed\n")
        server.graceful()
    assert server.get("/a.php").body == b"bool(true)\n"


PYTHON = r"""
import os, socket, struct, sys
listener = socket.socket(fileno=0)

def record(kind, body):
    return struct.pack(">BBHHBx", 1, kind, 1, len(body), 0) + body

def read(s, n):
    data = b""
    while len(data) < n:
        piece = s.recv(n - len(data))
        if not piece:
            return None
        data += piece
    return data

def pairs(data):
    found, at = {}, 0
    while at < len(data):
        lengths = []
        for _ in range(2):
            n = data[at]
            if n < 128:
                at += 1
            else:
                n = struct.unpack(">I", data[at:at + 4])[0] & 0x7fffffff
                at += 4
            lengths.append(n)
        name = data[at:at + lengths[0]].decode()
        found[name] = data[at + lengths[0]:at + sum(lengths)].decode("latin-1")
        at += sum(lengths)
    return found

while True:
    s, _ = listener.accept()
    params, stdin = b"", b""
    while True:
        head = read(s, 8)
        if head is None:
            break
        _, kind, _, n, padding = struct.unpack(">BBHHBx", head)
        body = read(s, n + padding)[:n]
        if kind == 4:
            params += body
        elif kind == 5 and n:
            stdin += body
        elif kind == 5:
            v = pairs(params)
            text = "python %s %s %d %s\n" % (v["REQUEST_METHOD"], v["REQUEST_URI"], len(stdin), v.get("HTTP_X_WORD"))
            s.sendall(record(6, ("Content-Type: text/plain\r\n\r\n" + text).encode()) + record(6, b"") +
                      record(3, struct.pack(">IB3x", 0, 0)))
            break
    s.close()
"""


def test_an_application_in_python(make):
    server = make(files={"index.html": "x"})
    script = server.write("app.py", PYTHON)
    server.configure(pool("py", "%s %s" % (os.path.realpath("/usr/bin/python3"), script), *static(2)) + APP % "py")
    server.start()
    for i in range(5):
        answer = server.request("POST", "/app/x?i=%d" % i, {"X-Word": "w%d" % i}, b"z" * (i * 40000))
        assert (answer.status, answer.body.decode()) == (200, "python POST /app/x?i=%d %d w%d\n" % (i, i * 40000, i))


@pytest.mark.skipif(not applications.can_execute(applications.PHP_CGI), reason="needs php-cgi")
def test_php(serve, beside):
    php = beside(applications.PhpPool("MaxRequests 3", "ProcessManager static", "MaxChildren 1"))
    server = serve(php.config + '<FilesMatch "\\.php$">\n    SetHandler "pool:php"\n</FilesMatch>\n', files={
        "index.html": "x", "a.php": "<?php echo getmypid(), ' ', $_SERVER['PATH_INFO'] ?? '-', ' ', $_GET['q'] ?? '-';"})
    answers = [server.get("/a.php/info?q=%d" % i).body.decode().split() for i in range(7)]
    assert [a[1:] for a in answers] == [["/info", str(i)] for i in range(7)]
    pids = [a[0] for a in answers]
    assert len(set(pids[0:3])) == len(set(pids[3:6])) == 1 and len(set(pids)) == 3, "three requests each"
    assert server.get("/none.php").status == 404


def test_proxy_pass(pools):
    """ProxyPass gives a pool all addresses below a prefix; there need be no file."""
    p = pools(*static(2), more='ProxyPass "/wiki/static/" "!"\nProxyPass "/wiki/" "pool:app"\n',
              files={"index.html": "x", "wiki/static/a.css": "css"}).start()
    assert p.text(text="fine", path="/wiki/any/where") == "fine"
    assert p.server.get("/wiki/static/a.css").body == b"css"
    answer = p.server.request("POST", "/wiki/x?" + query("sum"), body=b"z" * 100000)
    assert answer.status == 200 and answer.body.split()[0] == b"100000"


def test_body_and_answer_as_they_come(pools):
    """StreamRequests and FlushPackets: a process reads while the client writes, and the client while the process does."""
    p = pools(*static(1, "StreamRequests On", "FlushPackets On")).start()
    c = rawclient.Client(p.server)
    p.clients.append(c)
    c.get("/app?" + query("read=3", "mark=first", "text=one", "flush", "read=3", "mark=second", "text=two"), method="POST",
          fields="Content-Length: 6\r\n")
    c.send("abc")
    wait_until("half a body is read", lambda: p.marked() == ["first"])
    c.head()
    assert c.chunk() == b"one"
    assert p.marked() == ["first"]
    c.send("def")
    assert c.chunk() == b"two"
    assert p.marked() == ["first", "second"]


def test_a_body_is_collected_first(pools):
    """Without StreamRequests: a slow client holds no process."""
    p = pools(*static(1)).start()
    c = rawclient.Client(p.server)
    p.clients.append(c)
    c.get("/app?" + query("sum", mark="slow"), method="POST", fields="Content-Length: 6\r\n").send("abc")
    assert p.text(mark="other", text="fine") == "fine"
    c.send("def")
    assert c.answer().body.split()[0] == b"6"
    assert p.marked() == ["other", "slow"]


SENDSELF = applications.harness.program("examples", "fastcgi", "sendself")


@pytest.mark.parametrize("passes,who", [("On", "the application"), ("Off", "the server")])
def test_an_application_that_answers_the_client_itself(make, passes, who):
    server = make(files={"index.html": "x", "film": b"film" * 50000})
    server.configure(pool("app", "%s %s" % (SENDSELF, server.path("htdocs/film")), *static(1, "PassClient " + passes)) +
                     APP % "app" + STATUS)
    server.start()
    for _ in range(3):
        answer = server.get("/app")
        assert (answer.status, answer.headers["X-Answered-By"]) == (200, who)
        assert answer.body == b"film" * 50000
    wait_until("the process is idle", lambda: b"Pool.app.Idle: 1" in server.get("/status?auto").body)
    assert b"Pool.app.Started: 1" in server.get("/status?auto").body
