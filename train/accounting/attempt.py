"""One start of a run: what it does now, what its seconds went to so far, and the energy it took. Process 0 keeps this in attempts.jsonl.

Seconds are of a clock that never jumps. Only when the attempt began is told by the clock on the wall. A thread writes the last line of the
file anew every second, so that hardly anything is missing after kill -9; the lines before it stay.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import jax
from jax.sharding import Mesh

from varietas.train.accounting.energy import ESTIMATE, Counter, Meter, combined, counters
from varietas.train.accounting.goodput import FILE, INIT, KINDS
from varietas.train.processes import exchange, is_first

WRITTEN_EVERY = 1.0  # seconds


class Attempt:
    """One start of a run.

    Args:
        folder: The run's folder.
        since: When it began, by time.monotonic(); now if not given.
        watts: The power of this process's part of the machine by its figures, for energy that cannot be measured; None if it is unknown.
    """

    def __init__(self, folder: Path, since: float | None = None, watts: float | None = None):
        now = time.monotonic()
        self.folder, self._began = folder, now if since is None else since
        self._wall = time.time() - (now - self._began)
        self._watts = watts
        # What it does, since when, and the seconds of each kind before that. Replaced as a whole: another thread reads it.
        self._state: tuple[str, float, dict[str, float]] = INIT, self._began, dict.fromkeys(KINDS, 0.0)
        self._step: int | None = None
        self._stepped = False  # whether a step is done since it began or went back
        self._meter = Meter([])
        # Hosts and energy of the other processes when all last met, and the energy of this one then.
        self._others: list[tuple[str, dict[str, float]]] = []
        self._met: dict[str, float] = {}
        self._file: BinaryIO | None = None
        self._end = 0  # of the lines that stay
        self._writing = threading.Lock()

    @property
    def doing(self) -> str:
        """What it does now, one of KINDS."""
        return self._state[0]

    def enter(self, kind: str, was: str | None = None) -> str:
        """Begins to do something else.

        Args:
            kind: What, one of KINDS.
            was: What the time since the last call counts as; what was said then if not given.

        Returns:
            What was said then.
        """
        now, (before, since, seconds) = time.monotonic(), self._state
        counted = was or before
        self._state = kind, now, {**seconds, counted: seconds[counted] + now - since}
        return before

    @contextmanager
    def spent(self, kind: str) -> Iterator[None]:
        """Counts the time of a block as that of `kind`."""
        before = self.enter(kind)
        try:
            yield
        finally:
            self.enter(before)

    def seconds(self) -> dict[str, float]:
        """Returns the seconds of each kind, up to now."""
        kind, since, seconds = self._state
        return {**seconds, kind: seconds[kind] + time.monotonic() - since}

    def measure(self, mesh: Mesh) -> None:
        """Begins to count energy."""
        own = list(mesh.local_devices)
        found = counters(own[0].platform, [device.local_hardware_id or 0 for device in own])
        if not found and self._watts is not None:
            begun, watts = time.monotonic(), self._watts
            found = [Counter(ESTIMATE, lambda: watts * (time.monotonic() - begun))]
        self._meter = Meter(found)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keeps the account in the run's folder while the block runs. Process 0 must hold its lock."""
        ended = threading.Event()
        writer = threading.Thread(target=self._write_now_and_then, args=(ended,), daemon=True)
        with _opened(self.folder / FILE) if is_first() else contextlib.nullcontext() as self._file:
            if self._file:
                self._end = self._file.seek(0, os.SEEK_END)
                about = {"host": socket.gethostname(), "job": os.environ.get("SLURM_JOB_ID", ""), "processes": jax.process_count()}
                self._write({"began": round(self._wall, 3), **about}, stays=True)
            writer.start()
            try:
                yield
            finally:
                ended.set()
                writer.join()
                self._write(stays=True)
                self._file = None

    def reach(self, step: int) -> None:
        """Says how many steps of the run are done. All processes do so together. Lines stay of where it begins or goes back."""
        before = self._step
        if before is not None and step < before:
            self._write(stays=True)  # how far it came before it went back
        self._step = step
        if before is None or step < before:
            self._write(stays=True)
        elif not self._stepped:
            self.record()
        self._stepped = before is not None and step > before

    def record(self) -> None:
        """Keeps a line, in all processes together: they tell process 0 the energy that they took."""
        with self._writing:
            self._met = self._meter.joules()
        words = exchange(json.dumps({"host": socket.gethostname(), "joules": self._met}))
        others = (json.loads(word) for process, word in words.items() if process != jax.process_index())
        self._others = [(word["host"], word["joules"]) for word in others]
        self._write(stays=True)

    def _write_now_and_then(self, ended: threading.Event) -> None:
        while not ended.wait(WRITTEN_EVERY):
            with contextlib.suppress(OSError):  # what matters fails loudly elsewhere
                self._write()

    def _write(self, about: dict[str, Any] | None = None, stays: bool = False) -> None:
        """Writes a line after those that stay. `about`: what stands before the account in it."""
        with self._writing:
            own = self._meter.joules()
            if not self._file:
                return
            # What the others have taken since all met is what they had taken then, times what this one has taken more.
            grown = {source: own[source] / met for source, met in self._met.items() if met > 0}
            others = [(host, {source: j * grown.get(source, 1.0) for source, j in joules.items()}) for host, joules in self._others]
            joules = combined([(socket.gethostname(), own), *others])
            record = {
                **(about or {}),
                "step": self._step,
                "doing": self.doing,
                "seconds": {kind: round(value, 3) for kind, value in self.seconds().items() if value},
                "joules": {source: round(value, 1) for source, value in joules.items()},
            }
            self._file.seek(self._end)
            self._file.write(json.dumps(record).encode() + b"\n")
            self._file.truncate()
            self._file.flush()
            if stays:
                os.fsync(self._file.fileno())
                self._end = self._file.tell()


def _opened(path: Path) -> BinaryIO:
    """Opens a file for reading and writing. It ends with a whole line then, or with one that was cut short and is left alone."""
    path.touch()
    file = path.open("rb+")
    if file.seek(0, os.SEEK_END):
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")
    return file
