"""Sweeps: one run for each combination of values, each in a folder of its own."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from varietas.launch.config import base_fields, nearest_field

MOST = 1000  # runs of a sweep: Slurm's usual MaxArraySize is 1,001


@dataclass(frozen=True)
class Point:
    """One run: its folder, and the config fields that make it differ from the others, as arguments of `train`."""

    run: Path
    overrides: tuple[str, ...] = ()


def points(run: Path, sweeps: Sequence[str]) -> tuple[Point, ...]:
    """Returns the runs of a sweep, in the order in which the values are given; without sweeps, the one run.

    Args:
        run: The folder of the run, or of all runs of the sweep.
        sweeps: Fields and their values, such as "optim.peak_lr=1e-4,3e-4".

    Raises:
        ValueError: If a sweep cannot be understood, or there are more than MOST runs.
    """
    if not sweeps:
        return (Point(run),)
    values = dict(map(_parsed, sweeps))
    if len(values) < len(sweeps):
        raise ValueError(f"--sweep {' '.join(sweeps)} names a field twice; give all of its values at once, with commas between them")
    last = [field.rsplit(".", 1)[-1] for field in values]
    names = dict(zip(values, last if len(set(last)) == len(last) else values, strict=True))
    found = []
    for chosen in itertools.product(*values.values()):
        setting = dict(zip(values, chosen, strict=True))
        folder = ",".join(f"{names[field]}={value}" for field, value in setting.items())
        found.append(Point(run / folder, tuple(f"--config.{field}={value}" for field, value in setting.items())))
    if len(found) > MOST:
        raise ValueError(f"--sweep asks for {len(found):,} runs; a job array holds {MOST:,}: sweep over fewer values")
    return tuple(found)


def _parsed(sweep: str) -> tuple[str, list[str]]:
    """Parses "optim.peak_lr=1e-4,3e-4"."""
    field, _, values = sweep.removeprefix("--").removeprefix("config.").partition("=")
    listed = [value.strip() for value in values.split(",")]
    if field not in base_fields():
        raise ValueError(f"--sweep {sweep}: there is no field {field}; {nearest_field(field, list(base_fields()))}")
    if not all(listed):
        raise ValueError(f"--sweep {sweep}: expected FIELD=VALUE,VALUE,…, as in --sweep optim.peak_lr=1e-4,3e-4")
    if bad := [value for value in listed if set(value) & set("/\n")]:
        raise ValueError(f"--sweep {sweep}: {bad[0]!r} cannot be part of a folder's name; write one config file for each and submit each")
    if len(set(listed)) < len(listed):
        raise ValueError(f"--sweep {sweep} gives a value twice")
    return field, listed
