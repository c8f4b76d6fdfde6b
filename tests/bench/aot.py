"""Compiles the training step of configs for machines that are not here, and makes a table of what each device holds and sends.

    python tests/bench/aot.py [--config NAME …] [--machine h100 v5p v6e] [--devices 8 64 …] [--config.FIELD=VALUE …] [--out FILE.md]

The compilers are in .venv/aot, where `make .venv/aot/tpu` and `make .venv/aot/cuda` (3 GB) install them. They are not installed beside jax,
which would load them in every run. launch/plan/compiler.py compiles a step, which takes some twenty seconds.

The global batch is the config's, or the nearest smaller one that the devices can share, with at least one row for each device. Whatever
train.grad_accum is, the batch is divided into as few parts as possible such that a device works on at most ROWS rows at once.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ml_collections import ConfigDict

from varietas.data.files import write_atomically
from varietas.launch.check import check
from varietas.launch.config import load_config
from varietas.launch.plan.compiler import Target, compile_apart, missing
from varietas.launch.plan.job import Job, job_of
from varietas.launch.plan.program import KINDS, Collective
from varietas.launch.resolve import with_values
from varietas.model.flops import train_flops_per_token
from varietas.train.memory import is_out_of_memory

sys.path.append(str(Path(__file__).parents[2] / ".venv" / "aot"))

ROWS = {"eurollm_1p7b": 8, "eurollm_9b": 8}  # of a batch that a device works on at once
HEAD = """# Memory and communication of a step at scale

Written by `make bench-aot`, which compiles the training step of each config for machines that are not here. All figures come from XLA's
compilers; no step was run. The batch is the config's, or the nearest smaller one that the devices can share. Figures are per device and
step:

- rows × parts: the rows that a device works on at once, and the number of parts into which the batch is divided
- TFLOP: computed by formula
- state, held: GiB of parameters and optimiser state, and GiB in all; (!) marks more than the device has
- columns from all-gather to sent: GiB that a device sends, by kind and in all, with the number of exchanges in parentheses
- hidden: the part of the sent bytes that are under way while products are computed
- warnings: the partitioner's warnings of "involuntary full rematerialization"

Arrays that a TPU gathers in the course of a product count as collective-permute.

"""


@dataclass(frozen=True)
class Plan:
    """What XLA makes of a step. All figures are those of one device."""

    config: str
    machine: str
    job: Job
    seconds: float
    state: int
    held: int
    warnings: int
    flops: float
    collectives: list[Collective]


MEMORY = {"h100": 84_978_434_048, "v5p": 95 * 2**30, "v6e": 32 * 2**30}  # bytes of a device
PER_NODE = 4  # devices
DEVICES = {"h100": (8, 64, 256, 1024), "v5p": (8, 64, 1024), "v6e": (8, 64, 256)}


def at_scale(config: ConfigDict, n: int) -> ConfigDict:
    """Returns the config with the nearest smaller batch that n devices can share, and without gradient accumulation."""
    shards = max(1, n // max(1, config.mesh.tensor))
    rows = config.train.batch_size // shards * shards or shards
    return with_values(config, {"train.batch_size": rows, "train.grad_accum": 1})


def plan(name: str, machine: str, config: ConfigDict, n: int, at_once: int, whole: bool) -> Plan:
    """Compiles the step of a config for n devices.

    Args:
        name: Name of the config.
        machine: One of MEMORY.
        config: The config, with a batch that the devices can share.
        n: Number of devices.
        at_once: Maximum number of rows that a device works on at once.
        whole: Whether to wait for a TPU's machine code.

    Raises:
        ValueError: If the config does not fit the devices.
    """
    job = job_of(config, n)
    parts = next(k for k in range(1, job.rows + 1) if job.rows % k == 0 and job.rows // k <= at_once)
    job = replace(job, grad_accum=parts)
    found = compile_apart(job, Target(machine, PER_NODE, MEMORY[machine]), whole)
    flops = train_flops_per_token(job.model, job.seq_len) * job.tokens / n
    return Plan(name, machine, job, found.seconds, found.state, found.held, found.warnings, flops, found.collectives)


def fitting(name: str, machine: str, config: ConfigDict, n: int, whole: bool) -> Plan:
    """Returns the plan with ROWS rows at once, or with half as many, and so on, until the step fits into the devices' memory.

    Raises:
        ValueError: If compiling fails for another reason, or if one row is too much.
    """
    at_once = ROWS.get(name, config.train.batch_size)
    while True:
        try:
            return plan(name, machine, config, n, at_once, whole)
        except ValueError as error:
            if at_once == 1 or not is_out_of_memory(error):
                raise
            at_once //= 2


def describe(p: Plan) -> str:
    """Describes a plan in full: what a device holds, and every kind of array that it sends."""
    data, fsdp, tensor = p.job.mesh
    lines = [
        f"{p.config} on {p.job.devices} {p.machine}, mesh data {data} × fsdp {fsdp} × tensor {tensor}",
        f"batch of {p.job.batch_size} rows in {p.job.grad_accum} parts, {p.job.rows} rows a device at once",
        f"a device holds {p.state / 2**30:.2f} GiB of state, {p.held / 2**30:.2f} GiB in all",
        f"involuntary full rematerializations: {p.warnings}",
        "",
        f"{'MiB sent':>10} {'times':>6} {'hidden':>16}  what",
    ]
    groups: dict[tuple[str, str, int], list[Collective]] = {}
    for one in p.collectives:
        groups.setdefault((one.kind, one.arrays, one.group), []).append(one)
    table = []
    for (kind, arrays, group), members in groups.items():
        mebibytes, hidden = sent(members) / 2**20, sent([one for one in members if one.overlapped]) / 2**20
        table.append((mebibytes, sum(one.times for one in members), hidden, f"{kind} among {group}: {arrays}"))
    for mebibytes, times, hidden, what in sorted(table, key=lambda line: (-line[0], line[3])):
        lines.append(f"{mebibytes:10,.1f} {times:6} {hidden:16,.1f}  {what}")
    return "\n".join(lines) + "\n"


def sent(found: Sequence[Collective]) -> float:
    """Returns the bytes that a device sends in a step."""
    return sum(one.bytes * one.times for one in found)


HEADINGS = (
    "config",
    "devices",
    "data × fsdp × tensor",
    "rows × parts",
    "TFLOP",
    "state",
    "held",
    *KINDS,
    "sent",
    "hidden",
    "warnings",
)


def row(p: Plan) -> list[str]:
    """Returns the row of a plan in the table."""
    data, fsdp, tensor = p.job.mesh
    total = sent(p.collectives)
    full = " (!)" if p.held > MEMORY[p.machine] else ""
    kinds = {kind: [one for one in p.collectives if one.kind == kind] for kind in KINDS}
    return [
        p.config, f"{p.job.devices} {p.machine}", f"{data} × {fsdp} × {tensor}", f"{p.job.rows} × {p.job.grad_accum}",
        f"{p.flops / 1e12:,.0f}", f"{p.state / 2**30:.2f}", f"{p.held / 2**30:.1f}{full}",
        *(f"{sent(of) / 2**30:.2f} ({sum(one.times for one in of)})" if of else "" for of in kinds.values()),
        f"{total / 2**30:.2f}", f"{100 * sent([c for c in p.collectives if c.overlapped]) / max(1, total):.0f} %", str(p.warnings),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", nargs="+", default=["tiny", "demo", *ROWS], metavar="NAME")
    parser.add_argument("--machine", nargs="+", choices=MEMORY, default=list(MEMORY))
    parser.add_argument("--devices", nargs="+", type=int, help="default: 8 to 1,024, as long as the batch has a row for each")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    parser.add_argument("--full", action="store_true", help="print each plan in full")
    parser.add_argument("--whole", action="store_true", help="generate machine code for TPUs too, which takes minutes")
    args, fields = parser.parse_known_args()
    rows = []
    for machine in args.machine:
        if missing(machine):
            sys.exit(f"the compiler for {machine} is not installed; run: make .venv/aot/{'cuda' if machine == 'h100' else 'tpu'}")
    for name in args.config:
        try:
            check(config := load_config(name, fields))
        except ValueError as error:
            sys.exit(str(error))
        for machine in args.machine:
            for n in args.devices or [n for n in DEVICES[machine] if n <= config.train.batch_size]:
                try:
                    p = fitting(name, machine, at_scale(config, n), n, args.whole)
                except ValueError as error:
                    sys.exit(f"{name} on {n} {machine}: {error}")
                rows.append(row(p))
                told = ", ".join(f"{heading} {cell}" for heading, cell in zip(HEADINGS, rows[-1], strict=True) if cell)
                print(describe(p) if args.full else f"{told}, compiled in {p.seconds:.0f} s", flush=True)
    if args.out:
        write(args.out, rows)


def write(file: Path, rows: list[list[str]]) -> None:
    """Writes the table to a Markdown file."""
    lines = [HEADINGS, ["---"] * len(HEADINGS), *rows]
    write_atomically(file, (HEAD + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n").encode())


if __name__ == "__main__":
    main()
