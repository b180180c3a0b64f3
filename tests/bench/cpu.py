"""CPU time of a process tree, in nanoseconds, from /proc.

A live task's time comes from its schedstat, which counts nanoseconds; /proc/PID/stat counts ticks of 10 ms, too coarse
for a hundred processes. Tasks that ended are still counted: a thread in its process's stat, a child that was waited for
in its parent's cutime and cstime. So the sum never loses time while the tree's root lives.
"""
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


def _process_ns(pid):
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
    return max(live, (utime + stime) * TICK_NS) + (cutime + cstime) * TICK_NS


def tree_ns(root):
    return sum(_process_ns(pid) for pid in tree(root))
