"""Application pools over restarts of the server, and at its end."""
import os
import signal

from applications import pool
from harness import Process, unprivileged, wait_until
from poolkit import APP, STATUS, Load, pools, static  # noqa: F401


def test_a_graceful_restart_keeps_an_unchanged_pool(pools):
    p = pools(*static(3)).start()
    before = p.settled(3)
    held = p.ask(mark="held", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["held"])
    p.configure(*p.lines, "QueueLength 7", more="# changed elsewhere\n")
    p.server.graceful()
    assert p.pids() == before
    assert p.pid() in before
    p.open_gate()
    assert held.answer().status == 200
    assert p.settled(3) == before
    assert p.auto()["Started"] == "3"
    # And what was handed over can be used: a process that dies now is seen and replaced.
    os.kill(before[0], signal.SIGKILL)
    wait_until("it is replaced", lambda: len(p.pids("idle")) == 3 and before[0] not in p.pids())


def test_several_restarts_while_requests_wait(pools):
    p = pools(*static(1)).start()
    before = p.settled(1)
    p.ask(mark="held", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["held"])
    for i in range(3):
        p.ask(mark="waits%d" % i)
        wait_until("it waits", lambda n=i: p.auto()["Queue"] == str(n + 1))
        p.server.graceful()
    p.open_gate()
    assert [c.answer().status for c in p.clients] == [200] * 4
    assert p.marked() == ["held", "waits0", "waits1", "waits2"], "in one order over all generations"
    assert p.settled(1) == before


def test_a_changed_pool_is_replaced(pools):
    p = pools(*static(2)).start()
    before = p.settled(2)
    held = p.ask(mark="held", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["held"])
    p.configure(*static(2, "Environment NEW=yes"))
    p.server.graceful()
    wait_until("new ones serve", lambda: len(set(p.pids("idle")) - set(before)) == 2)
    assert "NEW=yes" in p.text("processenv")
    p.open_gate()
    assert held.answer().status == 200
    assert not set(before) & set(p.settled(2))


def test_numbers_change_without_replacing(pools):
    p = pools(*static(2)).start()
    before = p.settled(2)
    p.configure(*static(4))
    p.server.graceful()
    assert set(before) < set(p.settled(4))
    p.configure(*static(1))
    p.server.graceful()
    assert len(set(p.settled(1)) & set(before)) == 1


def test_a_removed_pool_finishes_and_ends(pools):
    p = pools(*static(2)).start()
    before = p.settled(2)
    held = p.ask(mark="held", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["held"])
    p.server.configure(STATUS)
    p.server.graceful()
    assert p.get(text="x").status == 404
    p.open_gate()
    assert held.answer().status == 200
    wait_until("its processes end", lambda: not any(Process(pid).is_alive() for pid in before))
    # It may come back.
    p.configure(*static(2))
    p.server.graceful()
    assert p.text(text="fine") == "fine"


def test_a_pool_can_be_added(pools):
    p = pools(*static(1))
    p.server.configure(STATUS)
    p.start()
    assert p.control("list").returncode == 1
    p.configure()
    p.server.graceful()
    assert p.text(text="fine") == "fine"
    assert p.control("list").returncode == 0


def test_a_restart_that_fails_keeps_the_pools(pools):
    p = pools(*static(2)).start()
    before = p.settled(2)
    p.server.configure(pool("app", "/no/such/program") + APP % "app" + STATUS)
    p.server.send_signal(signal.SIGUSR1)
    wait_until("it is refused", lambda: "/no/such/program" in p.server.error_log())
    assert p.text(text="fine") == "fine" and p.settled(2) == before


def test_a_hard_restart_keeps_the_pools(pools):
    p = pools(*static(2)).start()
    before = p.settled(2)
    p.server.restart(signal.SIGHUP)
    assert p.text(text="fine") == "fine" and p.settled(2) == before


def test_stopping_ends_stubborn_processes(pools):
    """One that ignores TERM is killed; a graceful stop lets requests finish first."""
    p = pools(*static(2, "StopTimeout 300ms")).start()
    p.text("ignoreterm")
    p.text("ignoreterm")
    pids = p.settled(2)
    held = p.ask("flush", mark="held", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["held"])
    p.server.send_signal(signal.SIGWINCH)
    wait_until("it stops", lambda: "SIGWINCH" in p.server.error_log())
    p.open_gate()
    assert held.answer().status == 200
    wait_until("the server ends", p.server.has_exited)
    assert not any(Process(pid).is_alive() for pid in pids)


def test_no_process_outlives_a_server_that_is_killed(pools):
    p = pools(*static(2)).start()
    pids = p.settled(2)
    os.kill(p.server.pid, signal.SIGKILL)
    p.server.process.wait()
    wait_until("they end", lambda: not any(Process(pid).is_alive() for pid in pids))
    # A new server takes the folder over, with the sockets that the old one left.
    wait_until("the old children end", lambda: not p.server.family())
    p.server.start()
    assert p.text(text="fine") == "fine"


def test_one_process_for_debugging(pools):
    """-X: somebody else keeps the pools, and replaces what dies."""
    p = pools(*static(2), args=["-X"], log_level="warn")
    if unprivileged():  # the one process gives up root, and removes its PidFile in the end
        os.chown(p.server.path("logs"), unprivileged().pw_uid, unprivileged().pw_gid)
    p.start()
    first = p.pid()
    os.kill(first, signal.SIGKILL)
    wait_until("it is replaced", lambda: len(p.pids("idle")) == 2 and first not in p.pids())
    assert p.pid() != first
    assert p.control("list").returncode == 0


def test_restarts_and_other_mpms_under_load(pools):
    """The pool is the same all the while: no request is lost, no process replaced, and who waits goes on waiting."""
    p = pools(*static(3)).start()
    before = p.settled(3)
    with Load(p.server, "/app?text=fine") as load:
        for mpm in ("prefork", "worker", "event", "event", p.server.mpm):
            p.server.mpm = mpm
            p.configure(more="# %s\n" % mpm)
            p.server.graceful()
            load.goes_on()
    assert load.others() == [] and load.bodies == {"fine"}
    assert p.settled(3) == before and p.auto()["Started"] == "3"


def test_a_request_that_outlives_its_generation(pools):
    """Held over two restarts; a process that its old web child holds is not given to anybody else."""
    p = pools(*static(1)).start()
    before = p.settled(1)
    held = p.ask("text=one", mark="held", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["held"])
    p.server.graceful()
    p.server.graceful()
    waits = p.ask(mark="waits", text="two")
    wait_until("it waits", lambda: p.auto()["Queue"] == "1")
    assert p.marked() == ["held"]
    p.open_gate()
    assert (held.answer().body, waits.answer().body) == (b"one", b"two")
    assert p.settled(1) == before
