"""What a proxy costs, as the kernel counts it: over all of its processes."""

import os

TICKS = os.sysconf("SC_CLK_TCK")


def family(pid):
    """A process and all that have come of it."""
    pids = [pid]
    for parent in pids:
        for task in listing(f"/proc/{parent}/task"):
            pids += map(int, read(f"/proc/{parent}/task/{task}/children").split())
    return pids


def cpu_seconds(pid):
    """utime and stime, children that have ended included; right to a hundredth of a second a process."""
    total = 0
    for one in family(pid):
        # The name in parentheses may hold anything; utime is the 12th field behind it, proc(5).
        fields = read(f"/proc/{one}/stat").rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))
    return total / TICKS


def resident_kib(pid):
    """Resident memory; what several processes share counts once, in parts (Pss)."""
    return sum(field(f"/proc/{one}/smaps_rollup", "Pss:") for one in family(pid))


def field(path, name):
    for line in read(path).splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0


def read(path):
    # A process may end at any moment.
    try:
        with open(path) as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def listing(path):
    try:
        return os.listdir(path)
    except (FileNotFoundError, ProcessLookupError):
        return []
