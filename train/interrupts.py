"""SIGTERM, SIGUSR1 and Ctrl-C while a run trains: the last step is saved before the program ends.

The loop asks once a step whether a signal has come. Where it may wait longer than that, for a compiler, a batch or an evaluation, the
signal ends the wait.

Further SIGTERM and SIGUSR1 change nothing while the run saves: Slurm may send one after the other. Only a second Ctrl-C stops at once.

A signal to one of several processes is a signal to all. They stop at the same place: where they ask together, once a step and between the
parts of an evaluation. What they do together is not cut short elsewhere, because the others would wait for ever.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

import jax

from varietas.train.processes import exchange

T = TypeVar("T")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)  # Slurm sends the first or the last before its time limit (sbatch --signal)


class _Interrupted(BaseException):
    """A signal ends a wait. Like KeyboardInterrupt it is no Exception, so that nobody catches it by accident."""


class Interrupts:
    """Whether a signal has come, and what it cuts short."""

    def __init__(self) -> None:
        self.came = False
        self._waiting = False

    def note(self) -> None:
        """Called by the signal handler."""
        self.came = True
        if self._waiting:
            self._waiting = False
            raise _Interrupted

    def came_to_any(self) -> bool:
        """Whether a signal has come to any process. All processes ask together, and wait for each other."""
        if exchange("signal" if self.came else ""):
            self.came = True
            return True
        return False  # a signal that has come since then counts the next time

    def ask(self) -> None:
        """Ends the work that `wait` waits for, in all processes, if a signal has come to any of them. One process needs no such place."""
        if jax.process_count() > 1 and self.came_to_any():
            raise _Interrupted

    def wait(self, work: Callable[[], T], together: bool = False) -> T | None:
        """Returns the result of `work`, or None as soon as a signal comes, or if one has come before.

        Args:
            work: What to do.
            together: Whether all processes do it together. If there are several, a signal then ends it only where it calls `ask`.
        """
        try:
            if together and jax.process_count() > 1:
                self.ask()
                return work()
            return self._wait(work)
        except _Interrupted:
            return None

    def _wait(self, work: Callable[[], T]) -> T | None:
        """A function of its own, since a signal may come at any of these lines, also at those of `finally`."""
        self._waiting = True
        try:
            return None if self.came else work()
        finally:
            self._waiting = False

    def wait_beside(self, work: Callable[[], T], together: bool = False) -> T | None:
        """Does the same for work that compiles: Python cannot handle signals in a thread while XLA compiles in it.

        After a signal the work goes on in its own thread, and Python waits for it before it exits. Only os._exit does not.
        """
        if together and jax.process_count() > 1:
            return self.wait(work, together)
        beside = ThreadPoolExecutor(1)
        try:
            return self.wait(beside.submit(work).result)
        finally:
            beside.shutdown(wait=False, cancel_futures=True)


@contextmanager
def interruptible() -> Iterator[Interrupts]:
    """Notes signals instead of ending the program; a second Ctrl-C has its usual effect. Off the main thread no signal is noted."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return

    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in SIGNALS}  # known before the first handler can be called

    def handler(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            signal.signal(number, before[signal.SIGINT])
        interrupts.note()

    try:
        for number in SIGNALS:
            signal.signal(number, handler)
        yield interrupts
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)
