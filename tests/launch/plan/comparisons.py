"""The tables of docs/plan.md: the formulas beside compilers and published runs.

    python tests/launch/plan/comparisons.py

writes them into docs/plan.md, each between its two comments.
"""

import re
import statistics
from collections.abc import Iterable
from pathlib import Path

from compiled import cases
from published import RUNS
from scale import PLATFORMS, rows

from varietas.launch.plan.estimate import plan
from varietas.launch.plan.memory import memory

FILE = Path(__file__).parents[3] / "docs" / "plan.md"
GIB = 2**30


def tables() -> dict[str, str]:
    """Returns each table by its name in the comments of docs/plan.md."""
    return {"memory": memory_table(), "published": published_table()}


def memory_table() -> str:
    """Returns how far the formulas for memory are off, by group of compiled steps."""
    groups = {
        "[scale.md](scale.md): H100, v5p, v6e, 8 to 1,024 devices": [
            memory(row.job, PLATFORMS[row.machine]).total / GIB / row.held - 1 for row in rows()
        ],
        "compiled while the formulas were written": [memory(c.job, c.platform).total / c.held - 1 for c in cases() if c.fitted],
        "compiled afterwards, other shapes and meshes": [memory(c.job, c.platform).total / c.held - 1 for c in cases() if not c.fitted],
    }
    lines = [("steps compiled by XLA", "number", "lowest", "highest", "mean distance"), ("---",) * 5]
    for name, off in groups.items():
        lines.append((name, str(len(off)), f"{min(off):+.1%}", f"{max(off):+.1%}", f"{statistics.mean(map(abs, off)):.1%}"))
    return _markdown(lines)


def published_table() -> str:
    """Returns published speeds beside ours."""
    lines = [("run", "devices", "our mesh, remat", "published, tokens/s a device", "planned", "ratio", "calibrates"), ("---",) * 7]
    for run in RUNS:
        ours = plan(run.job, run.machine).tokens_per_second / run.job.devices
        mesh = f"{' × '.join(map(str, run.job.mesh))}, {run.job.model.remat}"
        figures = f"{run.speed:,.0f}", f"{ours:,.0f}", f"{ours / run.speed:.2f}", "yes" if run.calibrates else ""
        lines.append((run.name, f"{run.job.devices:,} {run.machine.device}", mesh, *figures))
    return _markdown(lines)


def _markdown(lines: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def between(name: str) -> re.Pattern[str]:
    """Returns what finds a table, as the second of three groups: the text between its two comments."""
    return re.compile(rf"(<!-- {name} -->\n)(.*?)(\n<!-- end -->)", re.DOTALL)


def main() -> None:
    text = FILE.read_text("utf-8")
    for name, table in tables().items():
        text = between(name).sub(lambda found, table=table: found[1] + table + found[3], text)
    FILE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
