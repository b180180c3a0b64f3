"""CPU time of a process tree, in nanoseconds, from /proc.

A live task's time comes from its schedstat, which counts nanoseconds; /proc/PID/stat counts ticks of 10 ms, too coarse
for a hundred processes. Tasks that ended are still counted: a thread in its process's stat, a child that was waited for
in its parent's cutime and cstime. So the sum never loses time while the tree's root lives, unless it ignores SIGCHLD: the
kernel then forgets what its children used (Apache's mod_cgid does that). Group counts by a control group, where there is
one to be made: everything that was ever started in it, to the nanosecond.
"""
import contextlib
import os

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _read(path):
    try:
        with open(path, encoding="ascii", errors="replace") as f:
            return f.read()
    except OSError:
        return None


def _stat(pid):
    """The fields of /proc/PID/stat behind the name, which may hold blanks and parentheses itself."""
    text = _read("/proc/%d/stat" % pid)
    return text.rpartition(")")[2].split() if text else None


def tree(root):
    """The process ids of root and of all that descend from it."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = _stat(int(name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(name))
    found, open_pids = [], [root]
    while open_pids:
        pid = open_pids.pop()
        found.append(pid)
        open_pids += children.get(pid, ())
    return found


def _process_ns(pid, with_children=True):
    fields = _stat(pid)
    if not fields:
        return 0
    utime, stime, cutime, cstime = (int(x) for x in fields[11:15])
    live = 0
    try:
        tasks = os.listdir("/proc/%d/task" % pid)
    except OSError:
        tasks = ()
    for task in tasks:
        text = _read("/proc/%d/task/%s/schedstat" % (pid, task))
        if text:
            live += int(text.split()[0])
    return max(live, (utime + stime) * TICK_NS) + ((cutime + cstime) * TICK_NS if with_children else 0)


def tree_ns(root):
    return sum(_process_ns(pid) for pid in tree(root))


def own_ns(root, program):
    """The same for those processes of the tree that run `program`, and nothing that they started and waited for: a
    server without its applications, as long as no process of its own ends."""
    def is_own(pid):
        try:
            return os.path.samefile("/proc/%d/exe" % pid, program)
        except OSError:
            return False

    return sum(_process_ns(pid, False) for pid in tree(root) if is_own(pid))


class Group:
    """A control group of processes; is_there tells whether this machine and user can have one."""
    PLACES = (("/sys/fs/cgroup/cpuacct", "cpuacct.usage"), ("/sys/fs/cgroup", "cpu.stat"))

    def __init__(self, name):
        self.path = None
        for folder, usage in self.PLACES:
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):
                os.mkdir(path)
                if os.path.exists(os.path.join(path, usage)):
                    self.path, self.usage = path, os.path.join(path, usage)
                    return
                os.rmdir(path)

    @property
    def is_there(self):
        return self.path is not None

    def enter(self):
        """The calling process and all it will start belong to the group (between fork and exec)."""
        if self.path:
            with open(os.path.join(self.path, "cgroup.procs"), "w", encoding="ascii") as f:
                f.write("0")

    def ns(self):
        text = _read(self.usage)
        if self.usage.endswith("cpu.stat"):
            return 1000 * int(dict(line.split() for line in text.splitlines())["usage_usec"])
        return int(text)

    def remove(self):
        if self.path:
            with contextlib.suppress(OSError):
                os.rmdir(self.path)
