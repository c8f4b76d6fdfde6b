"""Compiles steps for GPUs and TPUs that are not here, and keeps what they hold and send in compiled.json, for test_plan_memory.py.

    python tests/launch/plan/compiled.py [LINE …]

A line has a target, a config, a number of devices and config fields. Without lines, those of compiled.json are compiled again, which takes
a minute each. It needs the extras plan-cuda and plan-tpu.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from varietas.configs.machines.base import XLA_OVERLAP
from varietas.launch.config import load_config
from varietas.launch.plan.compiler import Compiled, Target, compile_apart
from varietas.launch.plan.job import Job, job_of

FILE = Path(__file__).with_suffix(".json")
PLATFORMS = {"a100": "cuda", "h100": "cuda", "gh200": "cuda", "v5p": "tpu", "v6e": "tpu"}
MEMORY, PER_NODE = 85_000_000_000, 4  # of the devices and nodes


@dataclass(frozen=True)
class Case:
    """A compiled step.

    Attributes:
        line: What was compiled.
        held: Bytes of a device.
        sent: Bytes that a device sends in a step, by kind of collective.
        hidden: Those of them that are sent while products are computed.
        fitted: Whether the constants of launch/plan/memory.py were chosen with this case in view.
    """

    line: str
    held: int
    sent: dict[str, float]
    hidden: dict[str, float]
    fitted: bool

    @property
    def platform(self) -> str:
        """The platform of the target."""
        return PLATFORMS[self.line.split()[0]]

    @property
    def job(self) -> Job:
        """The job of the step."""
        _, config, devices, *fields = self.line.split()
        return job_of(load_config(config, [f"--config.{field}" for field in fields]), int(devices))


def cases() -> list[Case]:
    """Returns all cases of compiled.json."""
    return [Case(**record) for record in json.loads(FILE.read_text("utf-8"))]


def figures(found: Compiled) -> dict[str, object]:
    """Returns what is kept of a compiled step."""
    sent: dict[str, float] = {}
    hidden: dict[str, float] = {}
    for one in found.collectives:
        sent[one.kind] = sent.get(one.kind, 0.0) + one.bytes * one.times
        hidden[one.kind] = hidden.get(one.kind, 0.0) + one.bytes * one.times * one.overlapped
    return {"held": found.held, "sent": sent, "hidden": hidden}


def main() -> None:
    kept = {case.line: {**vars(case)} for case in cases()} if FILE.exists() else {}
    for line in sys.argv[1:] or list(kept):
        case = Case(line, 0, {}, {}, kept.get(line, {}).get("fitted", False))
        name = line.split()[0]
        flags = XLA_OVERLAP.value.removeprefix("${XLA_FLAGS:-} ") if name == "a100" else ""
        found = compile_apart(case.job, Target(name, PER_NODE, MEMORY, flags))
        kept[line] = {"line": line, **figures(found), "fitted": case.fitted}
        print(f"{line}: {found.held / 2**30:.2f} GiB", flush=True)
        FILE.write_text(json.dumps(list(kept.values()), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
