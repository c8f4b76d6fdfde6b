"""When a process began, and worker processes that do not outlive the one that started them."""

import multiprocessing
import os
import signal
import time
from pathlib import Path
from threading import Thread


def tie_to_parent() -> None:
    """Makes a worker process end with its parent, even if the parent is killed, and ignore Ctrl-C.

    A terminal sends Ctrl-C to workers too, but the parent ends them when it has finished its own work.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_it() -> None:
        parent.join()
        time.sleep(1)  # by then this process waits for a reader: ended while it makes shared memory, it would leave it behind
        os._exit(1)

    Thread(target=end_with_it, daemon=True).start()


def born(pid: int) -> int | None:
    """Returns when a process began, in ticks of the kernel's clock; 0 if that cannot be seen, None if there is no such process."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else int(fields[18])  # killed, but still in the table of processes
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass
    except OSError:
        return None
    return 0  # not Linux, or the process of another user that /proc hides


def began() -> float:
    """Returns when this process began, as time.monotonic() would have said it; now, if the kernel does not tell."""
    now, ticks = time.monotonic(), born(os.getpid())
    if not ticks:
        return now
    return now - max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
