"""What became of each second of a run's life, read from attempts.jsonl.

An attempt is one start of the run. Its lines hold the seconds that it has spent on each kind of work so far, and the step that it has
reached. What was done between two lines is lost if the run later goes on from an earlier step: in the next attempt, from its checkpoint, or
in the same one. There is a line at each checkpoint, so nothing has to be guessed. Imports no jax.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from varietas.train.accounting.energy import ESTIMATE
from varietas.train.accounting.energy import NAMES as SOURCES
from varietas.train.run_folder.records import mapping, number

FILE = "attempts.jsonl"
STEP, DATA, CHECKPOINT, EVALUATION = "step", "data", "checkpoint", "evaluation"
STATE, COMPILE, INIT = "state", "compile", "init"
KINDS = (STEP, DATA, CHECKPOINT, EVALUATION, STATE, COMPILE, INIT)
LOST, ABSENT = "lost", "not_running"
NAMES = {  # for readers
    STEP: "training steps",
    DATA: "waiting for data",
    CHECKPOINT: "saving checkpoints",
    EVALUATION: "evaluations",
    STATE: "restoring or making the state",
    COMPILE: "compiling",
    INIT: "starting up",
    LOST: "work that was lost",
    ABSENT: "not running",
}
WORK = (STEP, DATA, CHECKPOINT, EVALUATION)  # what is lost when the run goes back
JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True)
class Line:
    """What an attempt had done at one moment."""

    step: int | None  # steps done in the whole run; None until the checkpoint is restored
    seconds: Mapping[str, float]  # of each kind since the attempt began
    joules: Mapping[str, float]  # of each source since the attempt began


@dataclass(frozen=True)
class Attempt:
    """One start of a run."""

    began: float  # Unix time
    host: str
    job: str  # of Slurm; "" without it
    lines: tuple[Line, ...]

    @property
    def seconds(self) -> float:
        """How long it ran, up to its last line."""
        return sum(self.lines[-1].seconds.values())

    @property
    def first(self) -> int | None:
        """The step that it began with."""
        return next((line.step for line in self.lines if line.step is not None), None)

    @property
    def last(self) -> int | None:
        """The step that it reached."""
        return self.lines[-1].step

    @property
    def seconds_to_step(self) -> float | None:
        """Seconds from its beginning until its first step was done; None if there was none."""
        steps = [(line.step, sum(line.seconds.values())) for line in self.lines if line.step is not None]
        return next((seconds for step, seconds in steps if step > steps[0][0]), None)


@dataclass(frozen=True)
class Account:
    """The life of a run: from the beginning of its first attempt to the last line of its last one.

    Attributes:
        attempts: All starts, the oldest first; at least one.
        seconds: Of each kind in KINDS that later steps built on, LOST (work that was done again or given up) and ABSENT (between attempts).
        lost: Seconds of each attempt that are lost.
        joules: Energy by source, of all attempts.
    """

    attempts: tuple[Attempt, ...]
    seconds: Mapping[str, float]
    lost: tuple[float, ...]
    joules: Mapping[str, float]

    @property
    def life(self) -> float:
        """All seconds together."""
        return sum(self.seconds.values())

    @property
    def goodput(self) -> float | None:
        """The share of the life that went into steps which were not lost."""
        return self.seconds[STEP] / self.life if self.life > 0 else None

    @property
    def kwh(self) -> float | None:
        """Energy in kWh; None if it is unknown."""
        return sum(self.joules.values()) / JOULES_PER_KWH if self.joules else None

    @property
    def energy_source(self) -> str:
        """Where the figure of the energy comes from: what was measured and how, or that it is estimated. "" if it is unknown."""
        measured = ", ".join(SOURCES.get(source, source) for source in self.joules if source != ESTIMATE)
        estimated = "estimated from the power of the machine"
        if measured and ESTIMATE in self.joules:
            part = self.joules[ESTIMATE] / max(sum(self.joules.values()), 1e-9)
            return f"measured: {measured}; {part:.0%} of it {estimated}"
        return f"measured: {measured}" if measured else estimated if self.joules else ""

    @property
    def energy_is_estimated(self) -> bool:
        """Whether some of the energy is estimated."""
        return ESTIMATE in self.joules

    @property
    def restarts(self) -> int:
        return len(self.attempts) - 1

    @property
    def seconds_to_step(self) -> float | None:
        """Seconds from the last start to the step after it; None if no step has been done since."""
        return self.attempts[-1].seconds_to_step


def read_account(run: Path) -> Account | None:
    """Returns the account of a run; None if its folder has none."""
    attempts = tuple(_attempts(run / FILE))
    return account(attempts) if attempts else None


def account(attempts: tuple[Attempt, ...]) -> Account:
    """Makes the account of attempts, the oldest first."""
    seconds = {kind: 0.0 for kind in (*KINDS, LOST, ABSENT)}
    lost = []
    joules: dict[str, float] = {}
    resumed: float = float("inf")  # the earliest step that later lines go on from
    for attempt in reversed(attempts):
        gone = 0.0
        for line, before in zip(reversed(attempt.lines), [*reversed(attempt.lines[:-1]), None], strict=True):
            spent = _difference(line.seconds, before.seconds if before else {})
            back = before is not None and line.step is not None and before.step is not None and line.step < before.step
            if back or (line.step is not None and line.step > resumed):
                gone += sum(spent.pop(kind, 0.0) for kind in WORK)
            for kind, value in spent.items():
                seconds[kind] += value
            if line.step is not None:
                resumed = min(resumed, line.step)
        lost.append(gone)
        seconds[LOST] += gone
        for source, value in attempt.lines[-1].joules.items():
            joules[source] = joules.get(source, 0.0) + value
    for one, following in pairwise(attempts):
        seconds[ABSENT] += max(0.0, following.began - one.began - one.seconds)  # the clock may have been set back
    return Account(attempts, seconds, tuple(reversed(lost)), joules)


def _difference(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    return {kind: after.get(kind, 0.0) - before.get(kind, 0.0) for kind in KINDS}


def _attempts(path: Path) -> Iterator[Attempt]:
    """Reads the attempts of a run. Lines that were cut short are left out."""
    began: dict[str, Any] = {}
    lines: list[Line] = []
    for record in _records(path):
        if "began" in record:
            if lines:
                yield _attempt(began, lines)
            began, lines = record, []
        if began:
            step = number(record.get("step"))
            lines.append(Line(None if step is None else int(step), _numbers(record.get("seconds")), _numbers(record.get("joules"))))
    if lines:
        yield _attempt(began, lines)


def _attempt(began: Mapping[str, Any], lines: list[Line]) -> Attempt:
    return Attempt(number(began["began"]) or 0.0, str(began.get("host", "")), str(began.get("job", "")), tuple(lines))


def _records(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return
    for line in text.splitlines():
        try:
            record = mapping(json.loads(line))
        except (ValueError, RecursionError):
            continue
        if "seconds" in record:
            yield record


def _numbers(found: object) -> dict[str, float]:
    return {name: value for name, given in mapping(found).items() if (value := number(given)) is not None}
