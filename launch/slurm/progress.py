"""How far a run is and whether it is well: from its folder, and from the queue where there is Slurm. Imports no jax."""

import contextlib
import math
import os
import shlex
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from varietas.launch.slurm import commands
from varietas.launch.slurm.commands import Queued
from varietas.launch.slurm.record import FINISHED, RECORD, Event, history
from varietas.train.accounting.goodput import Account, read_account
from varietas.train.run_folder.folder import read_record, saved_steps
from varietas.train.run_folder.lock import check_free, held_since
from varietas.train.run_folder.origin import is_release, read_origin, trains
from varietas.train.run_folder.records import last_records, number

DEPTH = 3  # how far below a folder runs are looked for
RECENT = 50  # steps that the speed is taken from
PATIENCE = 20  # a step that takes so many times as long as usual is worth a word
QUIET = 600  # seconds without a step before that
LAST_WORDS = 4  # lines of a log
OK_STATES = ("running", "waiting", "finished", "stopped", "new")


@dataclass(frozen=True)
class Progress:
    """What `status` shows of a run."""

    run: Path
    state: str  # running, waiting, finished, stopped, new; died, missing and unreadable need attention
    note: str  # what else to know, or to do
    step: int  # steps done
    steps: int | None  # steps of the whole run
    loss: float | None  # of the last step
    tokens_per_second: float | None  # median of the last steps
    seconds_left: float | None
    jobs: tuple[str, ...]  # in the queue
    restarts: int
    account: Account | None = None  # where its time and its energy went
    last_words: tuple[str, ...] = ()  # of the log, if the last job died

    @property
    def well(self) -> bool:
        """Whether nothing has to be done."""
        return self.state in OK_STATES


def runs_in(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """Yields the runs in a folder, or the folder itself if it is a run."""
    if is_release(folder):  # what `export` has written has a config.json too
        return
    if (folder / "config.json").is_file() or (folder / "jobs" / RECORD).is_file():
        yield folder
    elif depth and folder.is_dir():
        for child in sorted(folder.iterdir()):
            if child.is_dir() and not child.name.startswith("."):
                yield from runs_in(child, depth - 1)


def progress(run: Path, jobs: Sequence[Queued], asked: bool = True) -> Progress:
    """Returns how far a run is; of one whose records are damaged, which record that is."""
    try:
        return _progress(run, jobs, asked)
    except ValueError as error:
        return Progress(run.absolute(), "unreadable", str(error), 0, None, None, None, None, (), 0)


def _progress(run: Path, jobs: Sequence[Queued], asked: bool) -> Progress:
    """Returns how far a run is.

    Args:
        run: The run's folder.
        jobs: All jobs in the queue.
        asked: Whether the queue could be asked. If not, a run that has jobs may be in it or not.

    Raises:
        ValueError: If config.json or job.json is damaged.
    """
    run = run.absolute()
    record, config = _read(run / "jobs", RECORD), _read(run, "config.json")
    record = record if isinstance(record.get("script"), str) else {}
    metrics, events, account = last_records(run / "metrics.jsonl", RECENT), history(run), read_account(run)
    mine = [job for job in jobs if str(job.script) == record.get("script") and job.index == record.get("index")]
    saved = max(saved_steps(run), default=0)
    step = max(saved, metrics[-1]["step"] + 1 if metrics else 0)
    steps = config.get("train", {}).get("steps") or record.get("steps")
    speeds = [(one["tokens"], one["tokens_per_second"]) for one in metrics if number(one.get("tokens_per_second")) and one.get("tokens")]
    usual = statistics.median(tokens / speed for tokens, speed in speeds) if speeds else None
    quiet = _seconds_of_quiet(run, events)
    if not trains(run):
        state, note, steps = "finished", str(read_origin(run)), None
    elif (steps and saved >= steps) or (run / "jobs" / FINISHED).exists():
        state, note = "finished", ""
    elif mine:
        state, note = _in_queue(mine, events, quiet, usual)
    elif record and asked:
        state, note = _not_in_queue(record, events)
    else:
        state, note = _alone(run, saved, step, quiet, usual)
    return Progress(
        run,
        state,
        note,
        step,
        steps,
        number(metrics[-1].get("loss")) if metrics else None,
        statistics.median(speed for _, speed in speeds) if speeds else None,
        usual * (steps - step) if usual and steps else None,
        tuple(job.job for job in mine),
        max(0, sum(event.name == "start" for event in events) - 1, account.restarts if account else 0),
        account,
        _last_words(record, events) if events and _ended_badly(events) and state not in ("running", "finished") else (),
    )


def _in_queue(mine: list[Queued], events: list[Event], quiet: float, usual: float | None) -> tuple[str, str]:
    """State and note of a run that has jobs in the queue."""
    running = [job for job in mine if job.state != "PENDING"]
    if running:
        job = running[0]
        if usual and quiet > max(QUIET, PATIENCE * usual):
            return "running", f"job {job.job}: no step for {quiet / 60:,.0f} minutes, where a step takes {usual:,.1f} s"
        return "running", f"job {job.job}, {job.nodes} node{'s' * (job.nodes > 1)}, for {job.elapsed}"
    job = mine[0]
    note = f"job {job.job}: {job.waits}" + (f"; expected to start {job.start.replace('T', ' ')}" if job.start else "")
    if events and _ended_badly(events):
        how = commands.ending(events[-1].job)
        if how == "CANCELLED":
            return "waiting", f"job {events[-1].job} was cancelled: the run stops when job {job.job} starts"
        note = f"job {events[-1].job} {_how(events, how)}; {note}"
    return "waiting", note


def _not_in_queue(record: dict[str, Any], events: list[Event]) -> tuple[str, str]:
    """State and note of a run that was submitted, is not finished and has no job."""
    array = "" if record.get("index") is None else f"--array={record['index']} "
    resume = f"sbatch {array}{shlex.quote(record['script'])}"
    if not events:
        return "missing", f"it was submitted and is not in the queue: {resume}"
    last = events[-1]
    if last.name == "stop":
        return ("stopped" if "cancelled" in last.value else "died"), f"{last.value}; to continue: {resume}"
    how = commands.ending(last.job)
    if how == "CANCELLED":
        return "stopped", f"job {last.job} was cancelled; to continue: {resume}"
    return "missing", f"it should be running and is not: job {last.job} {_how(events, how)}; {resume}"


def _alone(run: Path, saved: int, step: int, quiet: float, usual: float | None) -> tuple[str, str]:
    """State and note of a run without Slurm: a process that trains holds its lock."""
    try:
        check_free(run)
    except ValueError:
        slow = usual and quiet > max(QUIET, PATIENCE * usual)
        return "running", f"no step for {quiet / 60:,.0f} minutes, where a step takes {usual:,.1f} s" if slow else ""
    if not step:
        return "new", "no step is done yet"
    if saved == step:
        return "stopped", "the same command continues it"
    return "died", f"its last checkpoint is of step {saved:,}, from which the same command continues"


def _ended_badly(events: list[Event]) -> bool:
    """Whether the last job ended in another way than finished (0) or stopped by a signal (3). Killed, it says nothing at all."""
    return (
        events[-1].name in ("start", "next")
        or (events[-1].name == "end" and events[-1].value not in ("0", "3"))
        or events[-1].name == "stop"
    )


def _how(events: list[Event], slurm: str) -> str:
    """Says how the last job ended."""
    status = events[-1].value if events[-1].name == "end" else ""
    shown = f"ended with status {status}" if status else "was killed"
    return f"{shown} ({slurm})" if slurm not in ("", "FAILED", "COMPLETED") else shown


def _last_words(record: dict[str, Any], events: list[Event]) -> tuple[str, ...]:
    """Returns the last lines that the last job printed, without those of its script. srun, which may speak earlier or later, comes last."""
    file = Path(record.get("script", "")).parent / f"{events[-1].job}.log"
    try:
        with file.open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 16_384))
            lines = log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ()
    said = [line for line in lines if line.strip() and not line.startswith("varietas: job ")]
    of_srun = [line for line in said if line.startswith("srun: ")][-1:]
    own = [line for line in said if not line.startswith("srun: ")][len(of_srun) - LAST_WORDS :]
    return (*own, *of_srun)


def _seconds_of_quiet(run: Path, events: Sequence[Event]) -> float:
    """Returns the seconds since the last step, or since the process or the job began if that was later."""
    moments = [event.time.timestamp() for event in events if event.name == "start"][-1:]
    with contextlib.suppress(OSError):
        moments.append((run / "metrics.jsonl").stat().st_mtime)
    if began := held_since(run):
        moments.append(began.timestamp())
    return time.time() - max(moments, default=-math.inf)


def _read(folder: Path, name: str) -> dict[str, Any]:
    return read_record(folder, name) if (folder / name).is_file() else {}
