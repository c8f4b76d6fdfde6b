"""Runs all benchmarks one after the other and writes docs/benchmarks.md and docs/benchmarks.json.

    python tests/bench/run.py [--rounds N] [--only train rows …]

This takes about forty minutes on two cores, which should have nothing else to do. In each benchmark, ours and what it is compared with take
turns.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness import KINDS, SIZES

from varietas.data.files import write_atomically, write_json

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
PARTS = {  # file: heading
    "train": "A training step",
    "rows": "Rows",
    "prepare": "Preparing text",
    "junk": "Junk and good text",
    "identification": "Languages of texts without a label",
    "pii": "Personal data",
    "stream": "A corpus of 100 million documents",
    "checkpoint": "A checkpoint of 1 GB",
    "release": "Import and export",
    "start": "Start",
    "generation": "Generation",
    "harness": "Benchmarks of lm_eval",
    "serve": "Serving",
    "learning": "What a step teaches",
}
GOALS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "train_vs_torch_compile": ("1.0 or more", lambda found: found >= 1.0),
    "train_vs_torch_eager": ("1.15 or more", lambda found: found >= 1.15),
    "loop_overhead": ("below 0.01", lambda found: found < 0.01),
    "rows_vs_memmap": ("0.65 or more", lambda found: found >= 0.65),
    "rows_vs_usual_grain": ("10 or more", lambda found: found >= 10),
    "data_wait_of_step": ("0", lambda found: found <= 0),
    "prepare_vs_sentencepiece": ("0.8 or more", lambda found: found >= 0.8),
    "prepare_cleaning_vs_prepare": ("0.6 or more", lambda found: found >= 0.6),
    "junk_caught_varietas": ("0.9 or more", lambda found: found >= 0.9),
    "odd_forms_lost_varietas": ("0.05 or less", lambda found: found <= 0.05),
    "checkpoint_stall": ("below 0.01 of a minute", lambda found: found < 0.01),
    **{f"harness_{size}_{kind}_vs_hf": ("1.0 or more", lambda found: found >= 1.0) for size in SIZES for kind in KINDS},
    "help_seconds": ("below 0.5", lambda found: found < 0.5),
}
BUSY = 0.5  # cores that other programs use, from which on a warning is printed
MACHINES_DIFFER = (
    "How XLA's code for CPUs compares with torch's depends on the machine. On 2026-11-25, this model ran at 1.07 × the speed of "
    "torch.compile and 1.13 × that of eager torch on an EPYC with AVX2, at 0.77 × and 0.86 × on a Xeon with AVX-512, and at 1.76 × the "
    "speed of plain jax on both."
)
WHY = {  # explanations of missed goals
    "train_vs_torch_compile": MACHINES_DIFFER,
    "train_vs_torch_eager": MACHINES_DIFFER,
    "loop_overhead": "The thread of the training loop works 2 ms per step, half of it while the next step runs (EPYC, 2026-11-26). On "
    "shared machines, the steps of two processes differ by more than that.",
    "data_wait_of_step": "No step waits for data to be read. What remains is the time to take a batch that is ready.",
    "rows_vs_memmap": "The memory map gives one array and checks nothing, while our pipeline gives four arrays of packed rows. Half of "
    "its time goes into reading ArrayRecord files: checksums, and zstd, which saves a fifth of the disk space. Eight H100s at half of "
    "their peak need 400 rows per second for a model of 1.7 B. Worker processes are slower than the background thread, because they "
    "hand rows over through shared memory.",
}
LIBRARIES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "sentencepiece", "torch", "transformers", "safetensors", "lm_eval")


def machine() -> str:
    """Describes the machine: its CPU and the CPU's vector extensions (in virtual machines, names say little), cores and memory."""
    facts = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines() if ":" in line)
    named = {name.strip(): value.strip() for name, value in facts.items()}
    vectors = next((name for name in ("avx512f", "avx2") if name in named.get("flags", "").split()), "no AVX2")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{named.get('model name', platform.machine())}, {vectors}, {os.cpu_count()} cores, {memory:.0f} GiB"


def run(name: str, rounds: int | None) -> dict[str, Any]:
    """Runs one benchmark in a process of its own and returns its results. Ends the program if the benchmark fails."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(found), *([f"--rounds={rounds}"] if rounds else [])]
        if subprocess.run(command).returncode:
            sys.exit(f"{name}.py failed; docs/benchmarks.md was not changed")
        return json.loads(found.read_text("utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="rounds of every benchmark, instead of its own number")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="run only these, and keep the figures of the others")
    args = parser.parse_args()
    file = DOCS / "benchmarks.json"
    record = json.loads(file.read_text("utf-8")) if args.only and file.exists() else {"parts": {}}
    about = {"date": str(date.today()), "machine": machine(), "versions": {name: version(name) for name in LIBRARIES}}
    if (load := os.getloadavg()[0]) > BUSY:
        print(f"other programs use {load:.1f} cores, which distorts figures, above all torch's; run this again later", file=sys.stderr)
    for name in args.only or PARTS:
        print(f"== {PARTS[name]}", flush=True)
        record["parts"][name] = {**run(name, args.rounds), **about}
    record["ratios"] = {name: round(value, 4) for part in record["parts"].values() for name, value in part["ratios"].items()}
    record |= about
    write_json(file, record)
    write_atomically(DOCS / "benchmarks.md", page(record).encode())
    print("wrote docs/benchmarks.md and docs/benchmarks.json")


def missed(figure: str, found: float) -> bool:
    """Returns whether a figure has a goal and misses it."""
    return figure in GOALS and not GOALS[figure][1](found)


def goal(figure: str, found: float) -> str:
    """Returns the goal of a figure and whether it was missed, or "" if there is no goal."""
    return (GOALS[figure][0] if figure in GOALS else "") + (": **missed**" if missed(figure, found) else "")


def _about(record: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return f"Measured on {record['date']}: {record['machine']}; {versions}."


def page(record: dict[str, Any]) -> str:
    """Returns the content of docs/benchmarks.md."""
    lines = ["# Benchmarks", "", f"Written by `make bench`. {_about(record)}"]
    lines += [
        "All figures are medians of rounds, unless their benchmark says otherwise. Where ours is compared with something else, the two "
        "take turns. A figure `…_vs_…` is the time of the other one divided by ours: above 1, ours is faster."
    ]
    for name, heading in PARTS.items():
        if name not in record["parts"]:
            continue
        part = record["parts"][name]
        lines += ["", f"## {heading}", ""]
        if any(part[key] != record[key] for key in ("date", "machine", "versions")):
            lines += [_about(part), ""]
        lines += ["```", *part["lines"], "```", "", "| figure | measured | goal |", "|---|---|---|"]
        lines += [f"| `{figure}` | {value:.3f} | {goal(figure, value)} |" for figure, value in part["ratios"].items()]
        for why in dict.fromkeys(WHY[figure] for figure, value in part["ratios"].items() if figure in WHY and missed(figure, value)):
            lines += ["", why]
    gpu = DOCS / "benchmarks-gpu.json"
    if gpu.exists():
        found = json.loads(gpu.read_text("utf-8"))
        lines += ["", f"## On a GPU ({found['date']})", "", f"{found['what']}, {found['device']}, jax {found['jax']}.", ""]
        lines += [f"- {name}: " + ", ".join(f"{key} {value}" for key, value in values.items()) for name, values in found["found"].items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
