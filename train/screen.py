"""What a user sees while a run trains: a progress bar, or a line now and then where there is no terminal."""

import math
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY = 10.0  # seconds between lines if there is no terminal


class Screen:
    """Shows loss, speed and time left in a progress bar, or in a plain line every LINE_EVERY seconds if there is no terminal.

    Args:
        console: Where to print.
        start: The number of steps done already.
        steps: The number of all steps.
    """

    def __init__(self, console: Console, start: int, steps: int):
        self._console, self._steps, self._last = console, steps, -math.inf
        columns = (
            TextColumn("[bold]training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[news]}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal, speed_estimate_period=60)
        self._task = self._bar.add_task("training", total=steps, completed=start, news="")
        self._first: tuple[int, float] | None = None

    def __enter__(self) -> "Screen":
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """Prints a line that stays, above the progress bar."""
        self._console.print(line, highlight=False, soft_wrap=True)

    def show(self, record: dict[str, Any], now: float) -> None:
        """Shows the record of a step. `now` is the time in seconds on any clock."""
        done = record["step"] + 1
        self._first = self._first or (done, now)
        if not self._console.is_terminal and now - self._last < LINE_EVERY and done != self._steps:
            return
        news = f"loss {record['loss']:.3f}  {record['tokens_per_second']:,.0f} tokens/s"
        if self._console.is_terminal:
            self._bar.update(self._task, completed=done, news=news)
            return
        self._last = now
        rate = (done - self._first[0]) / (now - self._first[1]) if now > self._first[1] else 0
        left = f"{(self._steps - done) / rate:,.0f} s left" if rate else "…"
        self._console.print(f"step {done:>6}/{self._steps}  {news}  {left}", highlight=False)
