"""An application pool to which everything happens at once, in an order that chance makes: nothing of it is left afterwards."""
import contextlib
import os
import random
import signal

import pytest

from harness import MPM, wait_until
from poolkit import Load, pools, static  # noqa: F401

PROCESSES = 4
ACTIONS = 40


class Chaos:
    def __init__(self, p, seed):
        self.p, self.chance = p, random.Random(seed)

    def kill(self, pids):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def app_pids(self):
        said = self.p.control("status", "app").stdout
        return [int(line.split()[1]) for line in said.splitlines() if line.startswith("  process ")]

    def kill_a_process(self):
        self.kill(self.app_pids()[:1])

    def kill_all_processes(self):
        self.kill(self.app_pids())

    def kill_a_web_child(self):
        apps = self.app_pids()
        web = [c.pid for c in self.p.server.children() if c.pid not in apps and is_web_child(c.pid)]
        self.kill(self.chance.sample(web, 1) if web else [])

    def reload(self):
        assert self.p.control("reload", "app").returncode == 0

    def stop_and_start(self):
        assert self.p.control("stop", "app").returncode == 0
        assert self.p.control("start", "app").returncode == 0

    def crash(self):
        with contextlib.suppress(Exception):
            self.p.get(crash="abort")

    def restart(self):
        self.p.server.mpm = self.chance.choice(["prefork", "worker", "event"])
        self.p.configure(more="# %d\n" % self.chance.randrange(1000))
        self.p.server.graceful()

    def redefine(self):
        """Other processes, by a restart."""
        self.p.configure(*static(PROCESSES, "Environment A=%d" % self.chance.randrange(1000)))
        self.p.server.graceful()

    def step(self):
        kinds = [self.kill_a_process, self.kill_all_processes, self.kill_a_web_child, self.reload, self.stop_and_start,
                 self.crash, self.restart, self.redefine]
        self.chance.choice(kinds)()


def is_web_child(pid):
    """It has the queues mapped, and is not the helper that starts scripts (which closes what it does not need)."""
    with contextlib.suppress(OSError), open("/proc/%d/maps" % pid) as f:
        return "muster-pool" in f.read() and bool(os.readlink("/proc/%d/exe" % pid))
    return False


@pytest.mark.parametrize("seed", [1, 2])
def test_everything_at_once(pools, seed):
    p = pools(*static(PROCESSES, "QueueTimeout 5", "SpawnRate 1000")).start()
    p.settled(PROCESSES)
    chaos = Chaos(p, seed)
    with Load(p.server, "/app?text=fine&sleep=5", 6) as load:
        for _ in range(ACTIONS):
            chaos.step()
            load.goes_on(5)
    wait_until("nobody waits, and all processes are idle again",
               lambda: len(p.settled(PROCESSES)) == PROCESSES and p.auto()["Queue"] == "0")
    for _ in range(3 * PROCESSES):
        assert p.text(text="fine") == "fine"
    # A client of a web child that was killed sees its connection end; everybody else was told something.
    told = {s for s in load.others() if not isinstance(s, str)}
    assert told <= {502, 503}, told
    assert load.bodies - {""} <= {"fine"} | {b for b in load.bodies if "50" in b}
    sockets = os.listdir(p.server.path("logs/muster.pools"))
    assert len(sockets) == PROCESSES + 1, sockets
    p.server.mpm = MPM
