"""The lock of a run folder: one process at a time trains in it. `.lock` says who that is.

It is a plain file, since not every shared file system has locks between machines. A thread touches it now and then, so that other machines
see that its process lives. On the machine of that process it counts only as long as the process exists.
"""

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from varietas.data.processes import born

log = logging.getLogger("varietas")

FILE = ".lock"
TOUCHED_EVERY = 30.0  # seconds
STALE_AFTER = 300.0  # seconds without a touch: the process of another machine has ended
SETTLED_AFTER = 1.0  # seconds: if two processes take over a stale lock at once, both see after this time whose it is

_held: dict[Path, Mapping[str, Any]] = {}  # the locks of this process, and what they say


def check_free(run: Path) -> None:
    """Raises ValueError if another process trains in this folder. Nothing is written."""
    holder = _holder(run / FILE)
    if holder is not None and _lives(holder, run / FILE):
        raise ValueError(_refusal(run, holder))


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Holds the lock of a run folder while the block runs. The folder is made if it is missing.

    Raises:
        ValueError: If another process holds the lock.
    """
    run.mkdir(parents=True, exist_ok=True)
    file, own = run / FILE, _self()
    try:
        with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644), "w") as new:
            json.dump(own, new)
    except FileExistsError:
        _take_over(run, own)
    ended = threading.Event()
    toucher = threading.Thread(target=_touch, args=(file, own, ended), daemon=True)
    toucher.start()
    _held[file] = own
    try:
        yield
    finally:
        ended.set()
        toucher.join()
        _give_back(file)


def release() -> None:
    """Gives back the locks that this process holds. Called where a process ends at once."""
    for file in list(_held):
        _give_back(file)


def _give_back(file: Path) -> None:
    if (own := _held.pop(file, None)) is not None and _holder(file) == own:
        file.unlink(missing_ok=True)


def _take_over(run: Path, own: Mapping[str, Any]) -> None:
    """Makes the lock of a process that has ended that of this one."""
    check_free(run)
    file, mine = run / FILE, run / f"{FILE}.{own['host']}.{own['pid']}"
    before = _holder(file)
    mine.write_text(json.dumps(own))
    mine.replace(file)
    time.sleep(SETTLED_AFTER)
    if (holder := _holder(file)) != own:
        raise ValueError(_refusal(run, holder or {}))
    if before is not None:
        log.warning(
            "--run %s: the process that trained it has ended without removing its lock (%s); this one takes over", run, _who(before)
        )


def _touch(file: Path, own: Mapping[str, Any], ended: threading.Event) -> None:
    """Touches the lock until `ended` is set."""
    while not ended.wait(TOUCHED_EVERY):
        with contextlib.suppress(OSError):
            if _holder(file) == own:
                os.utime(file)


def held_since(run: Path) -> datetime | None:
    """Returns when the process that trains a run began to; None if there is none, or if that cannot be read."""
    try:
        return datetime.fromisoformat((_holder(run / FILE) or {})["since"])
    except (KeyError, ValueError, TypeError):
        return None


def _self() -> dict[str, Any]:
    """Returns what the lock says of this process."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "born": born(os.getpid()),
        "namespace": _namespace(),
        "job": os.environ.get("SLURM_JOB_ID", ""),
        "restarts": int(os.environ.get("SLURM_RESTART_COUNT") or 0),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _holder(file: Path) -> dict[str, Any] | None:
    """Returns what a lock says; None if there is none, and an empty dict if it cannot be read, as while it is being written."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.keys() >= _self().keys() else {}


def _lives(holder: Mapping[str, Any], file: Path) -> bool:
    """Whether the process that holds a lock still runs, as far as that can be seen from here."""
    own = _self()
    if _is_here(holder):
        return born(holder["pid"]) in (0, holder["born"])  # process ids are used again
    if own["job"] and holder.get("job") == own["job"] and holder["restarts"] < own["restarts"]:
        return False  # Slurm ends the processes of a job before it starts the job again
    try:
        return time.time() - file.stat().st_mtime < STALE_AFTER
    except FileNotFoundError:
        return False


def _is_here(holder: Mapping[str, Any]) -> bool:
    """Whether the process that holds a lock can be seen from here: it is on this machine, and not in another container."""
    return all(holder.get(name) == value for name, value in (("host", socket.gethostname()), ("namespace", _namespace())))


def _namespace() -> str:
    """Returns which process ids this process sees: those of the machine, or those of a container."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _refusal(run: Path, holder: Mapping[str, Any]) -> str:
    """Returns the text of the error that another process trains in a folder."""
    seen = (
        ""
        if _is_here(holder)
        else f" (if that process no longer exists, start again in {STALE_AFTER / 60:.0f} minutes, or delete {run / FILE})"
    )
    return f"--run {run} is being trained by another process: {_who(holder)}; wait until it ends{seen}, stop it, or give another --run"


def _who(holder: Mapping[str, Any]) -> str:
    """Names the process that holds a lock."""
    job = f"Slurm job {holder['job']}, " if holder.get("job") else ""
    return f"host {holder['host']}, pid {holder['pid']}, {job}since {holder['since']}" if holder else "unknown"
