"""What the bench starts: each of it ends with the bench, whatever ends that, and is ended by its own id."""

import os
import signal
import subprocess
import time
from contextlib import contextmanager


def command(words):
    # The kernel ends it when the bench is gone, even by SIGKILL.
    return ["setpriv", "--pdeathsig", "TERM", "--", *map(str, words)]


@contextmanager
def running(words, log, environment=None):
    """A process that serves, with its output in the file `log`, until the block ends."""
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command(words),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            # Ctrl-C is the bench's to answer.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


def end(process):
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        # Its children are in the session that was made for it.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def output_of(words, seconds):
    """What a load says, which must have ended after `seconds`; without it where it has failed."""
    process = subprocess.Popen(
        command(words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{words[0]} has not ended within {seconds} s") from None
    finally:
        if process.poll() is None:
            end(process)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: {errors.strip() or out.strip()}")
    return out


def wait_for(what, condition, process, log, seconds=15):
    """Until `condition` holds, while `process` runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            with open(log, errors="replace") as file:
                raise RuntimeError(f"{what} is not ready: {file.read()[-2000:]}")
        time.sleep(0.02)
