"""A run is a folder: its config, checkpoints, metrics, tokenizer and reports. Everything a run shows can be made again from it."""

import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from varietas.data.corpus.corpus import Corpus
from varietas.data.corpus.sources import Sources
from varietas.data.files import read_json, write_json
from varietas.data.packages import version_of

VISIBLE_AFTER = 60.0  # seconds: network file systems show a new file to other nodes with some delay
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "array-record", "sentencepiece", "ml-collections", "numpy")


def read_record(run: Path, name: str) -> dict[str, Any]:
    """Reads a JSON file of a run folder.

    Raises:
        ValueError: If the file is missing or damaged.
    """
    file = run / name
    try:
        return read_json(file, "restore it from a copy")
    except FileNotFoundError:
        raise ValueError(f"{file} is missing; train the run first, or restore the file from a copy") from None


def check_data(run: Path, corpus: Corpus | Sources) -> None:
    """Checks that a corpus is the one that a run was trained on, wherever it lies now.

    Raises:
        ValueError: If its digest or that of its tokenizer is another one.
    """
    if not begun(run) or not (run / "mixture.json").exists():
        return
    recorded = read_record(run, "mixture.json")
    for name, found in data_identity(corpus).items():
        if name in recorded and recorded[name] != found:
            raise ValueError(
                f"data.corpus {corpus.path}: its {name} is {found[:12]}…, but {run} was trained on {recorded[name][:12]}…; "
                "give the corpus that the run began with, or another --run"
            )


def data_identity(corpus: Corpus | Sources) -> dict[str, str]:
    """Returns the digests that say whether two corpora hold the same data."""
    return {"corpus_digest": corpus.digest, "tokenizer_digest": corpus.manifest["tokenizer_digest"]}


def begun(run: Path) -> bool:
    """Whether a step was done: a run's config counts only from then on."""
    metrics, checkpoints = run / "metrics.jsonl", run / "checkpoints"
    return (metrics.exists() and metrics.stat().st_size > 0) or (checkpoints.is_dir() and any(checkpoints.iterdir()))


def saved_steps(run: Path) -> list[int]:
    """Returns the steps that have a complete checkpoint, ascending, without opening any. An empty folder is none."""
    folder = run / "checkpoints"
    return sorted(int(path.name) for path in folder.glob("[0-9]*/") if path.name.isdigit() and _holds_files(path))


def _holds_files(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except FileNotFoundError:  # a run that goes on has deleted it meanwhile
        return False


def saved_step(run: Path, step: int | None = None) -> int:
    """Returns `step`, or the newest one that has a checkpoint.

    Raises:
        ValueError: If there is no such checkpoint.
    """
    steps = saved_steps(run)
    if not steps:
        raise ValueError(f"{run} has no checkpoint yet; train it first")
    if step is not None and step not in steps:
        raise ValueError(f"{run} has no checkpoint after step {step}; it has: {', '.join(map(str, steps))}")
    return steps[-1] if step is None else step


def check_shared(run: Path) -> None:
    """Checks that this process sees the folder that process 0 has made. Every process writes its part of the checkpoints there.

    Raises:
        ValueError: If it does not.
    """
    end = time.monotonic() + VISIBLE_AFTER
    while not (run / "config.json").exists():
        if time.monotonic() > end:
            raise ValueError(f"--run {run} has no config.json here, although process 0 has written it; give a folder that all nodes share")
        time.sleep(0.5)


def environment() -> dict[str, Any]:
    """Returns machine and library versions, for environment.json."""
    return {
        "varietas": version_of("varietas") or "source",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: version for name in PACKAGES if (version := version_of(name))},
    }


def add_to_environment(run: Path, **facts: Any) -> None:
    """Adds facts to environment.json."""
    write_json(run / "environment.json", {**read_record(run, "environment.json"), **facts})
