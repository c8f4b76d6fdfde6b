"""Measures import and export of a model of 0.2 B parameters beside the disk, and how much memory they take.

    python tests/bench/release.py [--rounds 3]

The disk reads and writes as many bytes as each verb does, in one piece. All writing ends with fsync, and no file that is read is in the
system's cache. Each verb runs in a process of its own, which has done the same with a tiny model before: starting is not counted.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from figures import Peak, arguments, timed, write
from rich.console import Console

import varietas

SHAPE = {
    "model.d_model": 1024,
    "model.d_ff": 2816,
    "model.n_layers": 12,
    "model.n_heads": 16,
    "model.n_kv_heads": 16,
    "model.vocab_size": 32768,
}
BRIEF = {"train.steps": 1, "train.batch_size": 1, "data.seq_len": 32, "data.embedded_vocab_size": 1024, "checkpoint.every": 0}
LARGEST = 4 * 32768 * 1024  # bytes of the largest tensor, the embedding, in float32
PARAMETERS = LARGEST + 12 * 4 * (4 * 1024 * 1024 + 3 * 1024 * 2816 + 2 * 1024) + 4 * 1024
PIECE = 1 << 26  # bytes that the disk reads and writes at once
QUIET = Console(quiet=True)
Verb = Callable[[Path, Path], object]  # takes what is read and what is written


def export(run: Path, out: Path, form: str = "") -> None:
    opened = varietas.Run.open(run, console=QUIET)
    opened.export_gguf(out, form=form) if form else opened.export(out)


VERBS: dict[str, Verb] = {
    "import": varietas.import_model,
    "export hf": export,
    **{f"export {form}": partial(export, form=form) for form in ("f16", "q8_0", "q4_k")},
}


def make(folder: Path, shape: dict[str, object]) -> None:
    """Makes a release in bfloat16, its weights as good as random."""
    run = varietas.Run("base", {**BRIEF, **shape}, folder=folder / "trained", console=QUIET)
    run.train()
    run.export(folder / "release", dtype="bfloat16")


def files_in(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in files_in(path))


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def on_disk(path: Path) -> None:
    """Waits until files are on disk, and drops them from the system's cache."""
    for file in files_in(path):
        with file.open("rb") as opened:
            os.fsync(opened)
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measured(verb: str, tiny: tuple[Path, Path], large: tuple[Path, Path]) -> tuple[float, float, int]:
    """Returns the seconds of a verb, those of all cores together, and the peak of its memory in bytes."""
    VERBS[verb](*tiny)

    def work() -> None:
        VERBS[verb](*large)
        on_disk(large[1])

    begun = time.process_time()
    with Peak() as peak:
        seconds = timed(work)
    return seconds, time.process_time() - begun, peak.bytes


def disk(source: Path, scratch: Path, n: int) -> float:
    """Returns the seconds in which the files of `source` are read as they are, and n bytes are written."""
    blob = np.random.default_rng(0).integers(256, size=PIECE, dtype=np.uint8)  # does not compress

    def plain() -> None:
        for file in files_in(source):
            with file.open("rb", buffering=0) as opened:
                while opened.readinto(into):
                    pass
        with scratch.open("wb", buffering=0) as opened:
            for at in range(0, n, PIECE):
                opened.write(blob[: n - at])
            os.fsync(opened)

    into = bytearray(PIECE)
    seconds = timed(plain)
    scratch.unlink()
    return seconds


def main() -> None:
    args = arguments(__doc__, rounds=3).parse_args()
    seconds: dict[str, list[tuple[float, float, float]]] = {verb: [] for verb in VERBS}  # ours, ours of all cores, and the disk's
    memory: dict[str, list[int]] = {verb: [] for verb in VERBS}
    moved: dict[str, tuple[int, int]] = {}  # bytes read and written
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as alone:
        tiny, large = Path(name) / "tiny", Path(name) / "large"
        for folder, shape in ((tiny, {}), (large, SHAPE)):
            alone.submit(make, folder, shape).result()
        for n in range(args.rounds):
            for verb in VERBS:
                read, made = ("release", f"run{n}") if verb == "import" else (f"run{n}", "out")
                source, out = large / read, large / made
                on_disk(source)
                ours, of_cores, peak = alone.submit(measured, verb, (tiny / read, tiny / made), (source, out)).result()
                moved[verb] = size(source), size(out)
                on_disk(source)
                seconds[verb].append((ours, of_cores, disk(source, large / "scratch", moved[verb][1])))
                memory[verb].append(peak)
                if made == "out":
                    remove(tiny / made)
                    remove(out)
            remove(large / f"run{n}")
    of_all = f"{PARAMETERS / 1e9:.2f} GB of parameters in float32, of which the largest tensor has {LARGEST / 1e9:.2f} GB"
    lines = [
        f"{of_all}; rounds: {args.rounds}",
        f"load average at the end: {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores; above them, seconds are mostly waiting for a core",
    ]
    ratios = {}
    for verb in VERBS:
        (ours, of_cores, plain), peak = np.median(seconds[verb], axis=0), float(np.median(memory[verb]))
        read, written = moved[verb]
        name = verb.replace(" ", "_")
        ratios |= {f"{name}_vs_disk": plain / ours, f"{name}_memory": (peak - PARAMETERS) / LARGEST}
        lines.append(
            f"{verb:12} reads {read / 1e9:.2f} GB, writes {written / 1e9:.2f} GB: {ours:6.2f} s ({of_cores:5.2f} s of cores), the disk "
            f"{plain:5.2f} s; memory: the parameters and {(peak - PARAMETERS) / LARGEST:.1f} × the largest tensor"
        )
    write(args.json, ratios, lines)


if __name__ == "__main__":
    main()
