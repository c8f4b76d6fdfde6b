"""The end of one process is the end of all: otherwise they would wait for it, in jax or on the devices, for minutes or for ever.

A process that fails says so through jax's coordination service. In every other process a thread waits for that, and ends the process.
A process that is killed says nothing, but its connection to process 0 breaks, and process 0 says it. If process 0 is killed, the others
notice it in the same way, since the service outlives it. A process that is stopped, or whose node is lost, is found by the watchdog.
"""

import atexit
import contextlib
import json
import os
import selectors
import socket
import sys
import threading
import time
from types import TracebackType
from typing import Any, NoReturn

from varietas.launch.distributed.environment import Process

KEY = "varietas/end"
INTERRUPTED = 3  # exit status after a signal, or when a process is lost: the same command continues the run
BROKEN = "the connection to another process has broken"  # begins the message of an error that is not the cause
FIRST = 1.0  # seconds by which other processes let process 0 go first
GRACE = 5.0  # seconds in which a process may fail by itself, for the same reason, before it is ended
LONGEST = 5.0  # seconds that a process which ends waits for the service, or for a thread
POLL = 60.0  # seconds between looks at whether anything happens

_ending = threading.RLock()  # never released: the first thread to take it ends the process
_watched: list[tuple[Process, threading.Thread]] = []  # this process and the thread that waits for failures, if there are several
_open: dict[socket.socket, str] = {}  # connections to other processes: the service lives until they close, and jax aborts without it


def watch_for_death(peers: dict[socket.socket, str]) -> None:
    """Ends this process when one of these connections to other processes, given with their names, breaks without a word."""
    _open.update(peers)
    threading.Thread(target=_wait_for_death, args=(peers,), daemon=True).start()


def watch(process: Process) -> None:
    """Ends this process, which is one of several, when another one has failed, or when nothing happens any more.

    An exception that nobody catches ends all processes.
    """

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        usual(kind, error, trace)
        leave(process, "", 1)

    usual, sys.excepthook = sys.excepthook, hook
    waiting = threading.Thread(target=_wait_for_failure, args=(process,), daemon=True)
    waiting.start()
    _watched.append((process, waiting))
    atexit.register(finish)  # runs before jax's own end


def finish() -> None:
    """Waits until all processes are done, at the end of the program. Where there is one process, does nothing.

    The thread that waits for failures ends here: if it returned from jax after Python's end, the process would abort.
    """
    if not _watched:
        return
    from varietas.train.processes import PATIENCE, beside, service

    process, waiting = _watched[0]
    with contextlib.suppress(Exception):
        beside(lambda: service().wait_at_barrier("varietas/finish", round(PATIENCE * 1000)))
        if process.index == 0:
            service().key_value_set(KEY, json.dumps({}))
        waiting.join(LONGEST)  # so nobody closes a connection before all know that this is the end
    _ending.acquire()


def _wait_for_failure(process: Process) -> None:
    from varietas.train.processes import PATIENCE, doing, service, silence

    failed = None
    while failed is None:
        try:
            failed = json.loads(service().blocking_key_value_get(KEY, round(POLL * 1000)))
        except Exception as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                return  # jax ends, or has lost its service and ends this process
        if doing() is not None and silence() > 2 * PATIENCE:  # an evaluation exchanges nothing
            leave(process, f"nothing has happened for {silence() / 3600:.1f} hours: a device or the network hangs", INTERRUPTED)
    if failed:
        time.sleep(failed["grace"])
        _ending.acquire()
        why = f": {failed['message']}" if process.index == 0 and failed["message"] else ""
        _end(f"{process} ends, because {failed['what']}{why}", failed["status"])


def _wait_for_death(peers: dict[socket.socket, str]) -> None:
    """Waits for a connection that breaks without a word."""
    with selectors.DefaultSelector() as selector:
        for connection, name in peers.items():
            selector.register(connection, selectors.EVENT_READ, name)
        name = selector.select()[0][0].data
    if _told() is None:  # otherwise that is the end, or why it ends has been said
        lose(f"{name} has died")


def lose(what: str) -> NoReturn:
    """Ends this process and all others, because one is lost or stuck. The same command continues the run.

    Args:
        what: Which one, and what has happened to it.
    """
    _ending.acquire()
    failed = {"what": what, "message": "", "status": INTERRUPTED, "grace": 0.0}
    if not _watched:
        _end(what, INTERRUPTED)
    process, told = _watched[0][0], _tell(failed)
    _end(f"{process} ends, because {told['what']}" if process.index else told["what"], told["status"])


def leave(process: Process, message: str, status: int) -> NoReturn:
    """Ends this process and all others, which end with the same status.

    Args:
        process: Which process this is.
        message: What to print, "" for nothing. A mistake that all processes find is printed by process 0 alone.
        status: The exit status.
    """
    if message.startswith(BROKEN):  # whoever broke it says so, and ends this process meanwhile
        time.sleep(3 * GRACE)
    elif process.index > 0:
        time.sleep(FIRST)  # process 0 tells first what all find
    _ending.acquire()
    failed = _tell({"what": f"{process} has failed", "message": message, "status": status, "grace": GRACE})
    same = process.index > 0 and failed["message"] == message and str(process) not in failed["what"]
    _end("" if same or not message else f"{process}: {message}" if process.index else message, status)


def _tell(failed: dict[str, Any]) -> dict[str, Any]:
    """Tells all processes of a failure. Returns the one that was told first."""
    from varietas.train.processes import beside, service

    with contextlib.suppress(Exception):  # another process was faster, or the service is lost
        beside(lambda: service().key_value_set(KEY, json.dumps(failed)), LONGEST)
    return _told() or failed


def _told() -> dict[str, Any] | None:
    """Returns the failure that was told; {} at the orderly end, None if there is none or the service does not answer."""
    from varietas.train.processes import beside, service

    if not _watched:
        return None  # jax aborts if it is asked before it has connected
    with contextlib.suppress(Exception):
        return json.loads(beside(lambda: service().key_value_try_get(KEY), LONGEST))
    return None


def _end(message: str, status: int) -> NoReturn:
    """Ends this process at once: its main thread may hang, and jax's own end would wait for processes that have died."""
    from varietas.train.processes import beside
    from varietas.train.run_folder.lock import release

    with contextlib.suppress(OSError):  # standard error may be closed
        if message:
            print(f"varietas: {message}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    with contextlib.suppress(Exception):  # the file system may hang
        beside(release, LONGEST)  # another node would wait for minutes
    os._exit(status)
