"""What a user sees while benchmarks run: a progress bar, or a line now and then where there is no terminal."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY = 10.0  # seconds between lines if there is no terminal


class Bar:
    """Shows how many answers of a task there are.

    It writes to what is standard output when it is made: lm_eval's own output is dropped while it runs.

    Args:
        console: Where to print.
        n_tasks: The number of all tasks.
    """

    def __init__(self, console: Console, n_tasks: int):
        self._console = Console(file=console.file, width=console.width, force_terminal=console.is_terminal, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        quiet = not console.is_terminal
        self._bar = Progress(*columns, console=self._console, disable=quiet, redirect_stdout=False, redirect_stderr=False)
        self._task = self._bar.add_task("loading the model", total=None)
        self._n_tasks, self._nth, self._name, self._said = n_tasks, 0, "", time.monotonic()
        self._what, self._done, self._total = "", 0, 0

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()

    def task(self, name: str) -> None:
        """Says that the next task begins."""
        self._nth, self._name = self._nth + 1, name

    def begin(self, what: str, total: int) -> None:
        """Says what is computed now, and how many answers it gives."""
        self._what, self._done, self._total = what, 0, total
        self._bar.reset(self._task, total=total, description=self._where())

    def advance(self, n: int) -> None:
        """Says that `n` more answers are there."""
        self._done += n
        self._bar.update(self._task, completed=self._done)
        if not self._console.is_terminal and time.monotonic() - self._said > LINE_EVERY:
            self._said = time.monotonic()
            self._console.print(f"{self._where()}: {self._done:,} of {self._total:,}", soft_wrap=True)

    def _where(self) -> str:
        return f"task {self._nth} of {self._n_tasks}, {self._name}: {self._what}"
