"""`varietas.compare`, and the names by which `varietas evaluate` knows several models: RUN, RUN@STEP, RUN@int8, RUN@STEP@int4."""

from dataclasses import dataclass
from pathlib import Path

from varietas.launch.flags import SMALL
from varietas.launch.models.quantizing import Small
from varietas.train.statistics.paired import Comparison, Difference, compare

__all__ = ["Comparison", "Difference", "Named", "compare", "named"]


@dataclass(frozen=True)
class Named:
    """A model of a run: a checkpoint, perhaps in a small form."""

    name: str
    run: Path
    step: int | None
    small: Small | None


def named(name: str) -> Named:
    """Finds the model that a name stands for. A folder that exists may have any name."""
    run, step, small = name, None, None
    while not Path(run).exists() and "@" in run:
        run, _, end = run.rpartition("@")
        if end in SMALL and small is None:
            small = Small(end)
        elif end.isascii() and end.isdigit() and step is None:
            step = int(end)
        else:
            raise ValueError(f"--run {name}: after @ comes the step of a checkpoint or {' or '.join(SMALL)}, found {end!r}")
    return Named(name, Path(run), step, small)
