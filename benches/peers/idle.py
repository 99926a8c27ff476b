"""What an idle connection costs in memory."""

import select
import subprocess
import time

import measure
from processes import command, end
from workloads import LOAD

CONNECTIONS = 10_000
# Until what was freed is given back, and what is new is there.
SETTLE = 2
# Until all are open.
PATIENCE = 60


def kib_each(port, pid):
    """Resident memory that each of ten thousand clear-text connections adds, after one request on it."""
    before = measure.resident_kib(pid)
    holder = subprocess.Popen(
        command([LOAD, "idle", f"127.0.0.1:{port}", CONNECTIONS]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        ready, _, _ = select.select([holder.stdout], [], [], PATIENCE)
        if not ready or holder.stdout.readline() != b"open\n":
            raise RuntimeError(f"{CONNECTIONS} connections could not be had")
        time.sleep(SETTLE)
        return (measure.resident_kib(pid) - before) / CONNECTIONS
    finally:
        holder.stdin.close()
        holder.stdout.close()
        end(holder)
