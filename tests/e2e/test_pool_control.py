"""Application pools: musterctl pool, which reloads, stops and starts one while the others and the server notice nothing."""
import os
import re
import subprocess
import sys

import applications
from applications import TESTAPP, pool
from harness import unprivileged, wait_until
from poolkit import APP, STATUS, Load, attempt, only_root, pools, static  # noqa: F401

MUSTERCTL = os.path.join(os.path.dirname(applications.harness.MUSTER), "musterctl")


def test_reload_replaces_and_loses_nothing(pools):
    p = pools(*static(2)).start()
    before = p.settled(2)
    web = {c.pid for c in p.server.children()} - set(before)
    held = p.ask(mark="held", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["held"])
    assert p.control("reload", "app").returncode == 0
    wait_until("new ones serve", lambda: len(set(p.pids("idle")) - set(before)) == 2)
    finishing = wait_until("of the old ones that is left which holds a request", lambda: set(p.pids()) & set(before) ==
                           set(p.pids("finishing")) and len(p.pids("finishing")) == 1 and p.pids("finishing"))
    assert set(finishing) < set(before)
    assert p.pid() not in before, "new ones take new requests at once"
    p.open_gate()
    assert held.answer().status == 200
    assert not set(before) & set(p.settled(2))
    assert web <= {c.pid for c in p.server.children()}, "the web children noticed nothing"


def test_reload_of_what_cannot_start_keeps_the_old_ones(pools):
    p = pools(command="/bin/sh")
    broken = p.server.path("marks/broken")
    script = p.server.write("maybe.sh", "#!/bin/sh\n[ -e %s ] && exit 3\nexec %s -m %s\n" % (broken, TESTAPP, p.marks))
    os.chmod(script, 0o755)
    p.server.configure(pool("app", script, *static(2)) + APP % "app" + STATUS)
    p.start()
    before = p.settled(2)
    open(broken, "w").close()
    assert p.control("reload", "app").returncode == 0
    wait_until("it is tried", lambda: len(p.logged("MU0904")) >= 2)
    assert p.pid() in before
    os.unlink(broken)
    wait_until("they are replaced", lambda: len(p.pids("idle")) == 2 and not set(before) & set(p.pids()))
    assert p.text(text="fine") == "fine"


def test_other_pools_notice_nothing(pools):
    other = pool("other", TESTAPP, *static(2)) + '<Location "/other">\n    SetHandler pool:other\n</Location>\n'
    p = pools(*static(2), more=other).start()
    p.settled(2)
    before = wait_until("the other one is up", lambda: len(p.auto("other")["processes"]) == 2 and p.auto("other"))
    for verb in ("reload", "stop", "start"):
        assert p.control(verb, "app").returncode == 0
    p.settled(2)
    after = p.auto("other")
    assert [x["pid"] for x in after["processes"]] == [x["pid"] for x in before["processes"]]


def test_stop_and_start(pools):
    p = pools(*static(2)).start()
    before = p.settled(2)
    clients = [p.ask(mark="held%d" % i, **{"await": p.gate}) for i in range(2)]
    wait_until("both are busy", lambda: len(p.marked()) == 2)
    waits = p.ask(mark="waits")
    wait_until("one waits", lambda: p.auto()["Queue"] == "1")
    assert p.control("stop", "app").returncode == 0
    assert waits.answer().status == 503, "who waits is told at once"
    answer = p.get(text="x")
    assert answer.status == 503 and answer.headers["Retry-After"]
    p.open_gate()
    assert [c.answer().status for c in clients] == [200] * 2, "what was begun is finished"
    wait_until("they end", lambda: p.pids() == [])
    assert "stopped" in p.control("list").stdout
    p.server.graceful()
    assert p.get(text="x").status == 503, "a restart does not start it"
    assert p.control("start", "app").returncode == 0
    assert not set(p.settled(2)) & set(before)
    assert p.text(text="fine") == "fine"
    assert "waits" not in p.marked()


def without_figures(said):
    """What musterctl says of processes, without what changes by itself."""
    return re.sub(r"up \d+ s, \d+ KiB", "", said)


def test_list_status_and_errors(pools):
    p = pools(*static(2)).start()
    pids = p.settled(2)
    p.text(text="x")
    p.settled(2)
    said = p.control("list")
    assert said.returncode == 0 and re.search(r"^app +running +2 +2 +0$", said.stdout, re.M), said.stdout
    said = p.control("status", "app")
    assert "pool app: running, 2 processes of 2" in said.stdout and "requests 1," in said.stdout
    assert all("process %d idle" % pid in said.stdout for pid in pids)
    assert without_figures(p.control("status").stdout) == without_figures(said.stdout)
    for words, why in ((("reload", "none"), 'there is no pool "none"'), (("reload",), "needs the name"),
                       (("dance", "app"), "allowed are list")):
        said = p.control(*words)
        assert said.returncode == 1 and why in said.stderr, said
    assert p.control().returncode == 1
    p.server.stop()
    said = p.control("list")
    assert said.returncode == 1 and "no server with application pools" in said.stderr


def test_musterctl(pools):
    p = pools(*static(1)).start()
    p.settled(1)
    said = subprocess.run([MUSTERCTL, "pool", "list"], stdout=subprocess.PIPE, text=True, timeout=60,
                          env=dict(os.environ, MUSTER_CONFDIR=p.server.root, MUSTER=p.server.binary))
    assert said.returncode == 0 and re.search(r"^app +running", said.stdout, re.M), said


@only_root
def test_only_root_may_control(pools):
    """The socket's mode keeps everybody else out; should that be changed, the kernel's word on who connects does."""
    p = pools(*static(1)).start()
    folder = p.server.path("logs/muster.pools")
    os.chmod(folder, 0o755)
    os.chmod(os.path.join(folder, "control"), 0o666)
    user = unprivileged()
    script = ("import socket,sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
              "s.sendall(b'stop app\\n')\nprint(repr(s.recv(100)))\n")
    said = subprocess.run([sys.executable, "-c", script, os.path.join(folder, "control")], user=user.pw_uid,
                          group=user.pw_gid, extra_groups=[], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "ok" not in said.stdout
    assert p.auto()["State"] == "running"


def test_nothing_is_dropped_by_reloads_under_load(pools):
    """Of this pool or of another one; the web children are the same as before."""
    other = pool("other", TESTAPP, *static(2)) + '<Location "/other">\n    SetHandler pool:other\n</Location>\n'
    p = pools(*static(3), more=other).start()
    p.settled(3)
    with Load(p.server, "/app?text=fine") as load, Load(p.server, "/other?text=fine", 2) as beside:
        for _ in range(4):
            before = p.pids()
            assert p.control("reload", "app").returncode == 0
            wait_until("they are replaced", lambda old=before: not set(old) & set(p.pids()) and len(p.pids()) == 3)
            load.goes_on()
        assert p.control("reload", "other").returncode == 0
        beside.goes_on()
        load.goes_on()
    assert load.others() == beside.others() == [] and load.bodies == beside.bodies == {"fine"}
    assert not p.logged("MU0970") and not p.logged("MU0971")


def test_a_stop_under_load_finishes_what_was_begun(pools):
    """What had a process is answered, what had none is refused; another pool and files are served all the while."""
    other = pool("other", TESTAPP, *static(2)) + '<Location "/other">\n    SetHandler pool:other\n</Location>\n'
    p = pools(*static(3), more=other).start()
    p.settled(3)
    with Load(p.server, "/app?text=fine") as load, Load(p.server, "/other?text=fine", 2) as beside, \
            Load(p.server, "/index.html", 2) as files:
        for _ in range(3):
            load.goes_on()
            assert p.control("stop", "app").returncode == 0
            wait_until("some are refused", lambda n=load.count(503): load.count(503) > n)
            beside.goes_on()
            files.goes_on()
            assert p.control("start", "app").returncode == 0
    assert set(load.others()) == {503} and beside.others() == files.others() == []


def test_reload_ondemand(pools):
    p = pools("ProcessManager ondemand", "MaxChildren 3", "IdleTimeout 60").start()
    first = p.pid()
    held = p.ask(mark="held", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["held"])
    assert p.control("reload", "app").returncode == 0
    second = p.pid()
    assert second != first, "a new one takes new requests at once"
    p.open_gate()
    assert held.answer().status == 200
    wait_until("the old one ends", lambda: p.pids() == [second])


def test_status_tells_of_each_process_without_a_web_child(pools):
    """Every process of the server, of the pool and all places in its queue are taken: musterctl asks the supervisor."""
    room = "<IfModule mpm_prefork_module>\nServerLimit 3\nMaxRequestWorkers 3\n</IfModule>\n" \
           "<IfModule mpm_worker_module>\nServerLimit 1\nStartServers 1\nThreadsPerChild 3\nMaxRequestWorkers 3\n</IfModule>\n"
    p = pools(*static(1), more=room).start()
    pid = p.settled(1)[0]
    p.ask(mark="held", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["held"])
    p.ask(mark="one")
    p.ask(mark="two")
    said = wait_until("both wait", lambda: attempt(lambda: re.search(
        "waiting 2 .longest \\d+ ms.", p.control("status", "app").stdout)) and p.control("status", "app").stdout)
    assert re.search(r"process %d busy, up \d+ s, [1-9]\d* KiB, \d+ requests: GET /app\?mark=held" % pid, said), said
