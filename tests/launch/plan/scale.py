"""The rows of docs/scale.md: what XLA's compilers make of steps on machines that are not here."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from varietas.launch.config import load_config
from varietas.launch.plan.job import Job, job_of
from varietas.launch.resolve import with_values

FILE = Path(__file__).parents[3] / "docs" / "scale.md"
KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
PLATFORMS = {"h100": "cuda", "v5p": "tpu", "v6e": "tpu"}


@dataclass(frozen=True)
class Row:
    """A compiled step. Memory and bytes sent are GiB of one device."""

    name: str
    machine: str
    job: Job
    state: float
    held: float
    sent: dict[str, float]


def rows() -> list[Row]:
    """Returns the rows of the models that are trained on accelerators; `tiny` and `demo` are rounded to nothing."""
    found = []
    for line in FILE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not cells[0].startswith("eurollm"):
            continue
        config, (n, machine), mesh = load_config(cells[0]), cells[1].split(), tuple(map(int, cells[2].split(" × ")))
        at_once, parts = map(int, cells[3].split(" × "))
        batch = at_once * parts * mesh[0] * mesh[1]
        fields = dict(zip(("mesh.data", "mesh.fsdp", "mesh.tensor"), mesh, strict=True))
        job = job_of(with_values(config, {"train.batch_size": batch, "train.grad_accum": 1, **fields}), int(n))
        job = replace(job, grad_accum=parts)
        sent = {kind: float((re.match(r"[\d.]+", cell) or ["0"])[0]) for kind, cell in zip(KINDS, cells[7:12], strict=True)}
        held = float(cells[6].removesuffix(" (!)"))
        found.append(Row(f"{cells[0]} on {cells[1]}", machine, job, float(cells[5]), held, sent))
    return found
