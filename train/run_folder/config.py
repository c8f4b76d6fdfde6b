"""The config that a run began with, and which of its fields may still change."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from varietas.data.hints import nearest
from varietas.train.run_folder.folder import begun, read_record
from varietas.train.run_folder.origin import check_trains

# Fields that may change while a run goes on. A change of any other field makes another run. The digests of corpus and tokenizer decide
# whether the data is the same, wherever it lies.
CHANGEABLE = (
    "train.steps", "train.grad_accum", "train.stuck_after", "train.on_", "train.check_every", "mesh.", "checkpoint.", "eval.",
    "data.workers", "data.corpus", "data.on_corrupt", "data.embedded_vocab_size", "clean.", "model.remat", "model.attention",
    "model.loss_chunk",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """A config field that has another value than when the run began."""

    field: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.field}: {self.old!r} -> {self.new!r}"


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested fields: {"train": {"steps": 5}} becomes {"train.steps": 5}."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def read_config(run: Path) -> dict[str, Any]:
    """Reads the resolved config of a run.

    Raises:
        ValueError: If the folder is not a run, or its config is not valid JSON.
    """
    if not (run / "config.json").exists():
        siblings = [path.parent.name for path in run.parent.glob("*/config.json")] if run.parent.is_dir() else []
        near = nearest(run.name, siblings, 0.5)
        hint = f"did you mean {run.parent / near}?" if near else "train one with `varietas train --config demo --run DIR`"
        raise ValueError(f"--run {run} is not a run folder (it has no config.json); {hint}")
    return read_record(run, "config.json")


def changes(run: Path, config: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[Change]:
    """Compares a config with the one that a run began with. Nothing is written.

    Args:
        run: The run's folder.
        config: The config.
        defaults: The value of each field in configs/base.py, by its dotted name. It counts where the run began before there was the field.

    Returns:
        The fields that differ and may; none if the run has not done a step yet.

    Raises:
        ValueError: If a field differs that must not, or if the folder holds something else than a run that trains.
    """
    if not (run / "config.json").exists() and run.is_dir() and any(map(_is_content, run.iterdir())):
        raise ValueError(f"--run {run} holds files but no config.json, so it is not a run; name a new folder or an empty one")
    check_trains(run)
    if not begun(run):
        return []
    old, new = {**defaults, **flatten(read_config(run))}, flatten(config)
    differ = [Change(field, old.get(field), new.get(field)) for field in {**old, **new} if old.get(field) != new.get(field)]
    fixed = [change for change in differ if not change.field.startswith(CHANGEABLE)]
    if fixed:
        raise ValueError(
            f"--run {run} was started with another config ({'; '.join(map(str, fixed))}); give the old values or another --run"
        )
    return differ


def _is_content(path: Path) -> bool:
    """Whether a file makes a folder something else than an empty one. A new file system has a lost+found, a run that waits has jobs."""
    return not path.name.startswith(".") and path.name not in ("lost+found", "jobs")
