"""What a run keeps of its jobs, in RUN/jobs: job.json, which `submit` writes, and `history`, to which each job adds lines.

A line of `history` is a time, an event, the number of a job, and for some events a value: `submit JOB`, `start JOB STEP`, `next JOB NEXT`,
`end JOB STATUS`, `stop JOB REASON`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

RECORD = "job.json"  # file in RUN/jobs
HISTORY = "history"  # file in RUN/jobs
FINISHED = "finished"  # file in RUN/jobs: the last job has done all steps


@dataclass(frozen=True)
class Event:
    """A line of `history`."""

    time: datetime  # UTC
    name: str
    job: str
    value: str


def history(run: Path) -> list[Event]:
    """Returns the events of a run's jobs, the oldest first. Lines that cannot be read are left out."""
    file = run / "jobs" / HISTORY
    return list(_parsed(file.read_text("utf-8", "replace"))) if file.is_file() else []


def _parsed(text: str) -> Iterator[Event]:
    for line in text.splitlines():
        parts = line.split(" ", 3)
        try:
            time = datetime.fromisoformat(parts[0])
        except ValueError:
            continue
        if len(parts) >= 3:
            yield Event(time, parts[1], parts[2], parts[3] if len(parts) > 3 else "")
