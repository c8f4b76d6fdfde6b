"""A run is a folder: its config, checkpoints, metrics, tokenizer and reports. Everything a run shows can be made again from it."""

import difflib
import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from varietas.data.files import write_json

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "array-record", "sentencepiece", "ml-collections", "numpy")

# What may change when a run goes on; everything else makes another run.
CHANGEABLE = (
    "train.steps", "train.grad_accum", "mesh.", "checkpoint.", "eval.", "data.workers", "data.corpus", "clean.",
    "model.remat", "model.attention", "model.loss_chunk",
)  # fmt: skip


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"steps": 5}} -> {"train.steps": 5}."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def read_config(run: Path) -> dict[str, Any]:
    """The resolved config of a run. Raises ValueError if the folder is no run."""
    try:
        return json.loads((run / "config.json").read_text("utf-8"))
    except FileNotFoundError:
        siblings = [path.parent.name for path in run.parent.glob("*/config.json")] if run.parent.is_dir() else []
        near = difflib.get_close_matches(run.name, siblings, n=1, cutoff=0.5)
        hint = f"did you mean {run.parent / near[0]}?" if near else "train one with `varietas train --config demo --run DIR`"
        raise ValueError(f"--run {run} is no run folder (no config.json); {hint}") from None
    except ValueError as error:
        raise ValueError(f"{run / 'config.json'} is not valid JSON ({error})") from None


def settle_config(run: Path, config: Mapping[str, Any]) -> list[str]:
    """Stores the config of a run that has no step yet, or compares it with the one stored. Returns what has changed, one text each.

    Raises ValueError that names each field that differs and must not.
    """
    if not (run / "config.json").exists() and run.is_dir() and any(not path.name.startswith(".") for path in run.iterdir()):
        raise ValueError(f"--run {run} holds files but no config.json: it is no run; name a new folder or an empty one")
    if not begun(run):
        write_json(run / "config.json", config)
        return []
    old, new = flatten(read_config(run)), flatten(config)
    differ = {key: f"{key}: {old.get(key)!r} -> {new.get(key)!r}" for key in {**old, **new} if old.get(key) != new.get(key)}
    fixed = [text for key, text in differ.items() if not key.startswith(CHANGEABLE)]
    if fixed:
        raise ValueError(f"--run {run} was started with another config ({'; '.join(fixed)}); give the old values or another --run")
    if differ:
        write_json(run / "config.json", config)
    return list(differ.values())


def begun(run: Path) -> bool:
    """Whether a step was done: only then does a run's config count."""
    metrics, checkpoints = run / "metrics.jsonl", run / "checkpoints"
    return (metrics.exists() and metrics.stat().st_size > 0) or (checkpoints.is_dir() and any(checkpoints.iterdir()))


def environment() -> dict[str, Any]:
    """Machine and versions, for the record."""
    return {
        "varietas": metadata.version("varietas") if _installed("varietas") else "source",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: metadata.version(name) for name in PACKAGES if _installed(name)},
    }


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
